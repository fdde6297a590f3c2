"""Training of a network that reads bodies: simulated bodies with the reader's errors, and films as they are read.

First the backbone learns to tell from a track what the judges saw (deductions, faults, the execution, the dive
number); then everything is trained on pairs of dives of one number, as the paper's network is. Some flights are
frozen, shuffled, reversed or another dive's: these score nothing.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from finecausal_cli.athlete.track import BodyTrack, track_features
from finecausal_cli.data.batch import pairs_of, stage_execution
from finecausal_cli.diving import parse_dive_number
from finecausal_cli.errors import DatasetError
from finecausal_cli.model.config import STAGE_WEIGHTS, ModelConfig
from finecausal_cli.model.frame_encoder import PARTS, values_of
from finecausal_cli.model.skeleton_encoder import VECTOR_FEATURES
from finecausal_cli.scoring.tracks import TrackCache
from finecausal_cli.training.body_film import LOSSES, BodyFilm
from finecausal_cli.training.pairs import EXECUTION_SPREAD, STAGE_SPREAD
from finecausal_cli.training.run import init_model
from finecausal_cli.training.skeleton_calibration import (
    build_body_bank,
    calibrate_numbers,
    encode_exemplars,
    encode_tracks,
    judge_films,
    measure_familiarity,
    spread_bodies,
)
from finecausal_cli.training.track_errors import (
    SEEN,
    JudgedBody,
    LeanErrors,
    SplashErrors,
    measure_errors,
    poses_are_its_own,
    read_bodies,
    read_films,
)
from finecausal_cli.training.trainer import Callbacks, Task, Trainer, TrainerConfig, start_accelerator, warmed_cosine
from finecausal_cli.weights import StoredFamiliarity, StoredInterval, WeightsInfo
from finecausal_cli.weights.hub import bank_folder
from finecausal_cli.weights.store import load_weights, save_weights

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from finecausal_cli.athlete.reader import AthleteReader
    from finecausal_cli.model.finecausal import FineCausal
    from finecausal_cli.model.outputs import Encoding
    from finecausal_cli.training import SkeletonOptions
    from finecausal_cli.training.checkpoint import Progress

logger = logging.getLogger(__name__)

ERRORS_NAME: Final = "errors.npz"
BEST: Final = "best"

_TARGETS: Final = len(SEEN) + len(STAGE_WEIGHTS) + 1
_WARMUP: Final = 80
_NUMBER_WEIGHT, _TRANSITION_WEIGHT, _SEEN_WEIGHT = 0.35, 0.3, 0.5
_TRANSITION_BALANCE: Final = 8.0
_BODIES_A_BATCH: Final = 48
_GROUP, _GROUPS = 4, 6
_SEEN_TWICE: Final = 0.35
"""Share of the groups with two looks at one dive (another camera, other errors), which must not differ in points."""

_FEWEST_SPLASHES: Final = 20
"""Held-out films that tell the errors of splashes."""

_FREQUENCY: Final = 0.75
"""Power of a number's share: rare numbers are drawn more often than they are dived."""


@dataclass(frozen=True)
class BodyBatch:
    """Tracks of U dives with their labels, and the pairs among them.

    Attributes:
        tracks: float32 [U, TRACK_CHANNELS, F].
        targets: float32 [U, K], NaN where unknown; all unknown of a flight that is none any more.
        numbers: int64 [U, parts of a dive number].
        execution: float32 [U], 0..30.
        stages: float32 [U, G], execution that each stage costs, 0 or less; NaN where unknown.
        transitions: int64 [U, 2].
        is_dive: bool [U], False where the flight was taken away.
        pairs: int64 [P, 2], query and exemplar.
    """

    tracks: Tensor
    targets: Tensor
    numbers: Tensor
    execution: Tensor
    stages: Tensor
    transitions: Tensor
    is_dive: Tensor
    pairs: Tensor


class SkeletonNetwork(nn.Module):
    """The network and the heads that teach its backbone what judges see."""

    def __init__(self, model: FineCausal) -> None:
        super().__init__()
        self.model = model
        self.look = nn.Linear(VECTOR_FEATURES, 2)
        self.tell = nn.Sequential(
            nn.Linear(5 * VECTOR_FEATURES, 256), nn.GELU(), nn.Dropout(0.1), nn.Linear(256, _TARGETS)
        )

    def forward(self, tracks: Tensor, transitions: Tensor) -> tuple[Encoding, Tensor]:
        """Return the encoding of tracks, and what the heads tell of them [U, K]."""
        encoding, vectors = self.model.encode_tracks(tracks)
        frame = torch.arange(vectors.shape[1], device=vectors.device)
        first, entry = transitions[:, :1], transitions[:, 1:]
        stages = torch.stack([frame < first, (frame >= first) & (frame < entry), frame >= entry], dim=1).to(vectors)
        means = torch.einsum("bgt,btc->bgc", stages, vectors) / stages.sum(-1, keepdim=True).clamp(min=1)
        attention = (self.look(vectors) - 1e4 * (1 - stages[:, 1, :, None])).softmax(dim=1)
        looked = torch.einsum("btk,btc->bkc", attention, vectors)
        told: Tensor = self.tell(torch.cat([means, looked], dim=1).flatten(1))
        return encoding, told


class SkeletonTask(Task[BodyBatch]):
    """Train on bodies, first alone, then in pairs.

    Args:
        network: What is trained.
        bodies: Simulated bodies.
        films: Films as read; may be none.
        film: Shows bodies with the reader's errors.
        options: The run.
        validation: Held-out films.
    """

    network: SkeletonNetwork

    def __init__(
        self,
        network: SkeletonNetwork,
        bodies: Sequence[JudgedBody],
        films: Sequence[JudgedBody],
        film: BodyFilm,
        options: SkeletonOptions,
        validation: Sequence[JudgedBody],
        keep: Callable[[FineCausal, Mapping[str, Any], Progress], None],
    ) -> None:
        self.network, self.options, self._film, self._keep = network, options, film, keep
        self.bodies, self._films, self._validation = bodies, films, validation
        self._by_number = by_number(bodies)
        self._films_by_number = by_number(films)
        self._names = list(self._by_number)
        shares = np.array([len(self._by_number[name]) for name in self._names], np.float64) ** _FREQUENCY
        self._shares = shares / shares.sum()
        self.batch = self._batch

    def _batch(self, step: int) -> BodyBatch:
        rng = np.random.default_rng((self.options.seed, step))
        if step < self.options.alone_steps:
            names = [self._names[rng.choice(len(self._names), p=self._shares)] for _ in range(_BODIES_A_BATCH)]
            return self._collate(
                [(self._draw(name, rng), rng.random() < self.options.lost / 4) for name in names], [], rng
            )
        chosen, groups = [], []
        for group in range(_GROUPS):
            name = self._names[rng.choice(len(self._names), p=self._shares)]
            drawn = [self._draw(name, rng) for _ in range(_GROUP)]
            if rng.random() < _SEEN_TWICE:
                drawn[-1] = drawn[0]
            chosen += [(body, rng.random() < self.options.lost) for body in drawn]
            groups.append(tuple(range(group * _GROUP, (group + 1) * _GROUP)))
        return self._collate(chosen, groups, rng)

    def _draw(self, name: str, rng: np.random.Generator) -> JudgedBody:
        films = self._films_by_number.get(name)
        if films and rng.random() < self.options.filmed:
            return films[int(rng.integers(len(films)))]
        bodies = self._by_number[name]
        return bodies[int(rng.integers(len(bodies)))]

    def _collate(
        self, chosen: Sequence[tuple[JudgedBody, bool]], groups: Sequence[tuple[int, ...]], rng: np.random.Generator
    ) -> BodyBatch:
        tracks = [self.show(body, rng, lost=lost) for body, lost in chosen]
        is_dive = [not lost or body.motion is None for body, lost in chosen]
        unknown = np.full(_TARGETS, np.nan, np.float32)
        labels = [
            (body.targets, body.dive.execution, stage_execution(body.dive))
            if whole
            else (unknown, 0.0, (math.nan,) * 3)
            for (body, _), whole in zip(chosen, is_dive, strict=True)
        ]
        return BodyBatch(
            tracks=torch.from_numpy(np.stack([_features(track, rng) for track in tracks])),
            targets=torch.from_numpy(np.stack([targets for targets, _, _ in labels])),
            numbers=torch.tensor([values_of(body.number) for body, _ in chosen]),
            execution=torch.tensor([execution for _, execution, _ in labels], dtype=torch.float32),
            stages=torch.tensor([stages for _, _, stages in labels], dtype=torch.float32),
            transitions=torch.tensor([track.transitions for track in tracks]),
            is_dive=torch.tensor(is_dive),
            pairs=torch.tensor(pairs_of(groups), dtype=torch.long).reshape(-1, 2),
        )

    def show_whole(self, body: JudgedBody, rng: np.random.Generator) -> BodyTrack:
        """Return a simulated body as it may be read in a clip that shows all of the dive."""
        assert body.motion is not None  # noqa: S101 -- exemplars are bodies
        return self._film(body.motion, body.number.position, rng, whole=True)

    def show(self, body: JudgedBody, rng: np.random.Generator, *, lost: bool = False) -> BodyTrack:
        """Return a body as it may be read."""
        if body.motion is None:
            return self._film.reread(body, rng)
        position = body.number.position
        if not lost:
            return self._film(body.motion, position, rng)
        loss = LOSSES[int(rng.integers(len(LOSSES)))]
        other = None
        if loss == "foreign":
            names = [name for name in self._names if name != str(body.number)]
            others = self._by_number[names[int(rng.integers(len(names)))]] if names else [body]
            other = others[int(rng.integers(len(others)))].motion
        return self._film(body.motion, position, rng, loss=loss, other=other)

    def loss(self, network: nn.Module, batch: BodyBatch, device: torch.device) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss of a batch: what is told of each dive, its number; of pairs, their differences."""
        network = cast("SkeletonNetwork", network)
        encoding, told = network(batch.tracks.to(device), batch.transitions.to(device))
        targets = batch.targets.to(device)
        known = ~targets.isnan()
        losses = {"seen": functional.smooth_l1_loss(told[known], targets[known], beta=0.5)}
        whole = batch.is_dive.to(device)
        losses["number"] = _number_loss(encoding, batch.numbers.to(device), whole)
        if not len(batch.pairs):
            execution = functional.smooth_l1_loss(told[whole, -1], targets[whole, -1], beta=0.5)
            return 2 * losses["seen"] + execution + 2 * losses["number"], losses
        query, exemplar = batch.pairs.to(device).unbind(dim=1)
        transitions = batch.transitions.to(device)
        pairs = network.model.compare(
            encoding.select(query), encoding.select(exemplar), transitions=transitions[batch.pairs.to(device)]
        )
        execution, stages = batch.execution.to(device), batch.stages.to(device)
        difference = (execution[query] - execution[exemplar]) / EXECUTION_SPREAD
        losses["regression"] = functional.smooth_l1_loss(pairs.delta[:, 0] / EXECUTION_SPREAD, difference, beta=0.4)
        of_stages = (stages[query] - stages[exemplar]) / STAGE_SPREAD
        certain = ~of_stages.isnan().any(dim=1)
        weights = torch.tensor(STAGE_WEIGHTS, device=device)
        if bool(certain.any()):
            weighted = pairs.stage_deltas[certain, 0] * weights / STAGE_SPREAD
            losses["stages"] = functional.smooth_l1_loss(weighted, of_stages[certain], beta=0.4)
        frames = functional.one_hot(transitions[batch.pairs.to(device)], pairs.frame_logits.shape[2]).transpose(-1, -2)
        losses["transitions"] = functional.binary_cross_entropy_with_logits(
            pairs.frame_logits, frames.float(), pos_weight=torch.tensor(_TRANSITION_BALANCE, device=device)
        )
        total = losses["regression"] + losses.get("stages", torch.zeros(())) + _SEEN_WEIGHT * losses["seen"]
        return total + _TRANSITION_WEIGHT * losses["transitions"] + _NUMBER_WEIGHT * losses["number"], losses

    def lr_factor(self, step: int, steps: int) -> float:
        """Return the share of the peak rate: one cosine for the bodies alone, a lower one for the pairs."""
        alone = self.options.alone_steps
        if step < alone:
            return max(0.1, warmed_cosine(step, alone, min(_WARMUP, alone)))
        return self.options.pair_lr / self.options.lr * warmed_cosine(step - alone, max(1, steps - alone), _WARMUP)

    def validate(
        self, network: nn.Module, device: torch.device, *, is_last: bool = True, held_out: Iterator[Any] | None = None
    ) -> dict[str, Any]:
        """Return how well held-out films are judged against simulated bodies of their number, and recognised."""
        judged = judge_films(cast("SkeletonNetwork", network).model, self._validation, self.exemplars(device), device)
        return {} if judged is None else judged.figures()

    def exemplars(self, device: torch.device) -> tuple[Encoding, list[JudgedBody]]:
        """Return a few simulated bodies of each number, with their encodings first."""
        chosen = spread_bodies(self.bodies, self.options.exemplars)
        return encode_exemplars(self.network.model, chosen, self.show_whole, device), chosen

    def keep(self, network: nn.Module, metrics: Mapping[str, Any], progress: Progress, *, is_best: bool) -> None:
        """Keep the last network: validation has too few films to choose by."""
        self._keep(cast("SkeletonNetwork", network).model, metrics, progress)


def by_number(bodies: Sequence[JudgedBody]) -> dict[str, list[JudgedBody]]:
    """Group bodies by their dive number, numbers in order."""
    grouped: dict[str, list[JudgedBody]] = {}
    for body in bodies:
        grouped.setdefault(str(body.number), []).append(body)
    return dict(sorted(grouped.items()))


def _features(track: BodyTrack, rng: np.random.Generator) -> NDArray[np.float32]:
    """Return the features of a track, of some a few channels dropped."""
    features = track_features(track)
    if rng.random() < 0.3:
        features[:-_KEPT_CHANNELS] *= (rng.random(len(features) - _KEPT_CHANNELS) >= 0.03)[:, None]
    return features


_KEPT_CHANNELS: Final = 28
"""Stage, times, limbs' angles, area, splash and lean are never dropped."""


def _number_loss(encoding: Encoding, numbers: Tensor, whole: Tensor) -> Tensor:
    assert encoding.number_logits is not None  # noqa: S101 -- the preset has a classifier
    parts = torch.split_with_sizes(encoding.number_logits, [*PARTS.values()], dim=1)
    each = [functional.cross_entropy(part[whole], numbers[whole, index]) for index, part in enumerate(parts)]
    return torch.stack(each).mean()


def train_skeleton(
    options: SkeletonOptions,
    reader: AthleteReader,
    device: torch.device,
    *,
    config: ModelConfig | None = None,
    callbacks: Callbacks | None = None,
    read: Callable[[], object] = lambda: None,
) -> Path:
    """Train a network that reads bodies; a stopped run goes on.

    Args:
        options: Data and steps.
        reader: Reads the films.
        device: Where to compute.
        config: The network; by default the preset ``skeleton``, less what ``options.ablate`` names.
        callbacks: Called as the run goes on.
        read: Called after each film that is read.

    Returns:
        The folder of the weights.

    Raises:
        DatasetError: A dataset is wrong or holds nothing of use.
        TrainingError: The run cannot be continued.
    """
    bodies = [body for folder in options.bodies for body in read_bodies(folder)]
    if len(bodies) < _GROUP:
        raise DatasetError("too few bodies with scores and dive numbers", where=options.bodies[0])
    cache = TrackCache(options.cache, reader)
    films, held_out = (read_films(each, cache, read) for each in (options.films, options.validation))
    errors = measure_errors(films)
    options.out.mkdir(parents=True, exist_ok=True)
    errors.write(options.out / ERRORS_NAME)
    # The networks of splash and contact may have been trained on the films: their errors are those on held-out films.
    unseen = held_out if len(held_out) >= _FEWEST_SPLASHES else films
    splashes, leans = SplashErrors.of(unseen), LeanErrors.of(unseen)
    films = [film for film in films if poses_are_its_own(film)]
    model, origin = init_model(config or options.network(), init=options.init, seed=options.seed)
    film = BodyFilm(errors, splashes, leans)
    folder = options.out / BEST

    def keep(
        trained: FineCausal,
        metrics: Mapping[str, Any],
        progress: Progress,
        interval: StoredInterval | None = None,
        familiarity: StoredFamiliarity | None = None,
    ) -> None:
        facts = {
            "step": progress.step,
            "validation": dict(metrics),
            "init": origin,
            "bodies": len(bodies),
            "films": len(films),
            "splash_error": splashes.rmse(),
            "options": _without_folders(options),
        }
        note = "trained on simulated dives only; not calibrated for filmed ones"
        info = WeightsInfo(
            note=note, training=facts, interval=interval, trained_on="simulated", familiarity=familiarity
        )
        save_weights(folder, trained, info.facts())

    task = SkeletonTask(SkeletonNetwork(model), bodies, films, film, options, held_out, keep)
    trainer_config = TrainerConfig(
        steps=options.alone_steps + options.pair_steps,
        lr=options.lr,
        weight_decay=0.03,
        clip_norm=5.0,
        validate_every=options.validate_every,
        checkpoint_every=options.validate_every,
        log_losses=True,
        seed=(options.seed,),
    )
    trainer = Trainer(task, trainer_config, start_accelerator(device), options.out, checkpoint_name="last.pt")
    trainer.resume(missing_ok=True)
    calls = callbacks or Callbacks()
    calls.data(len(bodies), len(held_out), trainer_config.steps)
    trainer.fit(calls)
    finish(
        task, (*films, *held_out), held_out, folder, keep=partial(keep, model, progress=trainer.progress), device=device
    )
    return folder


def _without_folders(options: SkeletonOptions) -> dict[str, Any]:
    """Return the options of a run but for where its data lay."""
    folders = {"bodies", "films", "validation", "out", "cache", "device", "init"}
    return {name: value for name, value in options.to_dict().items() if name not in folders}


def finish(
    task: SkeletonTask,
    films: Sequence[JudgedBody],
    held_out: Sequence[JudgedBody],
    folder: Path,
    *,
    keep: Callable[..., None],
    device: torch.device,
) -> None:
    """Calibrate a trained network on films, store it, and make its bank.

    Args:
        task: What was trained.
        films: All films, which tell how dives are usually read.
        held_out: Those that took no part in training.
        folder: Of the weights.
        keep: Stores the network with metrics, interval and familiarity.
        device: Where to compute.
    """
    model = task.network.model.eval()
    calibrate_numbers(model, held_out, [parse_dive_number(name) for name in by_number(task.bodies)], device)
    measure_familiarity(model, encode_tracks(model, [film.read.track for film in films if film.read], device))
    encodings, exemplars = task.exemplars(device)
    judged = judge_films(model, held_out, (encodings, exemplars), device)
    if judged is None:
        keep(metrics={})
    else:
        keep(metrics=judged.figures(), interval=judged.interval(), familiarity=judged.familiarity(model))
    digest = load_weights(folder).digest
    build_body_bank(encodings, exemplars, task.show_whole, bank_folder(folder), weights_digest=digest)
