"""Pretrain an encoder to predict the motion of simulated dives."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from finecausal_cli.data.cache import ClipCache
from finecausal_cli.data.datasets import assign_splits, read_dataset
from finecausal_cli.errors import TrainingError
from finecausal_cli.model.config import FRAMES, SNIPPET_FRAMES, SNIPPET_STRIDE
from finecausal_cli.model.frame_encoder import FRAME_FEATURES, FrameBackbone, FrameParser, cut_frames
from finecausal_cli.model.i3d import to_channels_last
from finecausal_cli.training import PretrainOptions, check_precision, require_one_process
from finecausal_cli.training.checkpoint import (
    PRETRAINING_NAME,
    describe_data,
    ensure_new_run_dir,
    read_run,
    write_run,
)
from finecausal_cli.training.motion_snippets import SEEN, SnippetDataset, Snippets, collate_snippets
from finecausal_cli.training.run import init_model
from finecausal_cli.training.trainer import Callbacks, Task, Trainer, TrainerConfig, start_accelerator, warmed_cosine
from finecausal_cli.weights import WeightsInfo
from finecausal_cli.weights.store import save_weights

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from finecausal_cli.data import Dive
    from finecausal_cli.model.config import ModelConfig
    from finecausal_cli.model.finecausal import FineCausal
    from finecausal_cli.model.i3d import I3D
    from finecausal_cli.training.checkpoint import Progress
    from finecausal_cli.training.motion_snippets import Scale


def counts_of_seen(options: PretrainOptions) -> list[float]:
    """Return how much an error of each of `SEEN` counts: [K]."""
    return [options.counts.get(stretch, 1.0) for stretch in SEEN.values()]


# The trunks that are taught, what reads the targets off their features, and how wrong that is.

HIDDEN = 256
"""Values that everything asked of one frame is read from."""

SHARP = 0.2
"""Errors of the motion, in its standard deviations, from which on they count as they are and not squared."""

FOREGROUND_EVERY = 8
"""One frame in so many (of an I3D, one snippet) is asked for its foreground, which costs as much as the trunk."""

_DROPOUT = 0.2
_MOTION_WEIGHT, _PIXELS_WEIGHT = 2, 4
"""Weights of the losses of the motion and of the foreground's pixels; those of the others are 1."""


@dataclass(frozen=True)
class HeadOutputs:
    """What is read off one trunk's features of B snippets.

    Attributes:
        motion: [B, 16, M].
        stage: Logits [B, 16, 3].
        seen: [B, K], of the whole snippet.
        seen_by_frame: [B, 16, K], of single frames; None where the trunk does not read such.
    """

    motion: Tensor
    stage: Tensor
    seen: Tensor
    seen_by_frame: Tensor | None

    def losses(self, batch: Snippets, counts: Tensor) -> dict[str, Tensor]:
        """Return the losses by name; ``counts`` [K] as for `error_of_shown`."""
        each = functional.smooth_l1_loss(self.motion.float(), batch.motion, beta=SHARP, reduction="none").mean(-1)
        losses = {
            "motion": _MOTION_WEIGHT * (each * batch.visible).sum() / batch.visible.sum().clamp(min=1),
            "stage": functional.cross_entropy(self.stage.float().flatten(0, 1), batch.stage.flatten()),
            "seen": error_of_shown(self.seen, batch.seen, batch.shown, counts),
        }
        if self.seen_by_frame is not None:
            truth = batch.seen[:, None]
            losses["seen_by_frame"] = error_of_shown(self.seen_by_frame, truth, batch.shown_by_frame, counts)
        return losses


@dataclass(frozen=True)
class MaskPrediction:
    """The foreground of some frames (of an I3D, of some snippets).

    Attributes:
        logits: [N, ..., H, W].
        mask: What they should show, the same shape.
    """

    logits: Tensor
    mask: Tensor

    def loss(self) -> Tensor:
        """Return cross entropy of the pixels and Dice loss of the whole."""
        logits = self.logits.float()
        chance = logits.sigmoid()
        overlap = 2 * (chance * self.mask).sum() / (chance.sum() + self.mask.sum() + 1)
        return _PIXELS_WEIGHT * functional.binary_cross_entropy_with_logits(logits, self.mask) + 1 - overlap


class PredictionHeads(nn.Module):
    """Read everything that is asked off a trunk, which is taught through it.

    Args:
        trunk: The trunk.
        motion: M, values of motion a frame.
        seen: K, things judges see.
    """

    def __init__(self, trunk: I3D | FrameBackbone, motion: int, seen: int) -> None:
        super().__init__()
        self.trunk = trunk
        features = trunk.features
        by_frame = isinstance(trunk, FrameBackbone)
        self.shared = nn.Linear(FRAME_FEATURES, HIDDEN) if by_frame else nn.Linear(features, SNIPPET_FRAMES * HIDDEN)
        self.motion = nn.Linear(HIDDEN, motion)
        self.stage = nn.Linear(HIDDEN, 3)
        self.seen_by_frame = nn.Linear(HIDDEN, seen) if by_frame else None
        self.seen = nn.Sequential(
            nn.Linear(features, features), nn.ReLU(), nn.Dropout(_DROPOUT), nn.Linear(features, seen)
        )

    def forward(self, pictures: Tensor, *, taps: bool) -> tuple[HeadOutputs, tuple[Tensor, ...]]:
        """Answer for snippets [B, 3, 16, H, W]; give the trunk's depths too when asked."""
        if isinstance(self.trunk, FrameBackbone):
            vectors, kept = self.trunk.read_frames(cut_frames(pictures), taps=taps)
            vectors = vectors.reshape(len(pictures), SNIPPET_FRAMES, FRAME_FEATURES)
            features = self.trunk.join(vectors)
        else:
            features, kept = self.trunk(pictures, taps=taps)
            vectors = features
        hidden = functional.relu(self.shared(vectors).reshape(len(pictures), SNIPPET_FRAMES, HIDDEN))
        by_frame = None if self.seen_by_frame is None else self.seen_by_frame(hidden)
        return HeadOutputs(self.motion(hidden), self.stage(hidden), self.seen(features), by_frame), kept


class PretrainModel(nn.Module):
    """A network's trunk or trunks and its foreground. Two trunks are asked the same; the second draws the foreground.

    Args:
        network: The network; of its other modules none is touched.
        motion: M, values of motion a frame.
        seen: K, things judges see.
    """

    def __init__(self, network: FineCausal, motion: int, seen: int) -> None:
        super().__init__()
        self.parser = network.parser
        trunks = [network.video_trunk, *(() if self.parser.trunk is None else (self.parser.trunk,))]
        self.readers = nn.ModuleList(PredictionHeads(trunk, motion, seen) for trunk in trunks)

    def forward(self, batch: Snippets, every: int) -> tuple[list[HeadOutputs], MaskPrediction]:
        """Answer for each trunk, the video features' first; of the foreground one frame (or snippet) in ``every``."""
        answers: list[HeadOutputs] = []
        taps: tuple[Tensor, ...] = ()
        for reader in self.readers:
            found, taps = reader(batch.pictures, taps=reader is self.readers[-1])
            answers.append(found)
        return answers, self._draw(tuple(tap[::every] for tap in taps), batch, every)

    def _draw(self, taps: tuple[Tensor, ...], batch: Snippets, every: int) -> MaskPrediction:
        if isinstance(self.parser, FrameParser):
            return MaskPrediction(
                self.parser.heads(taps, cut_frames(batch.pictures)[::every]), batch.mask.flatten(0, 1)[::every]
            )
        return MaskPrediction(self.parser.predict_mask(taps, sides=False)[-1], batch.mask[::every])

    def losses(self, batch: Snippets, counts: Tensor) -> dict[str, Tensor]:
        """Return the losses of a batch by name, added up over the trunks; ``counts`` [K] as for `error_of_shown`."""
        answers, outline = self(batch, FOREGROUND_EVERY)
        each = [one.losses(batch, counts) for one in answers]
        told = {name: torch.stack([losses[name] for losses in each]).sum() for name in each[0]}
        return {**told, "foreground": outline.loss()}


def error_of_shown(found: Tensor, truth: Tensor, shown: Tensor, counts: Tensor) -> Tensor:
    """Return the mean squared error of what is shown.

    Args:
        found: [..., K].
        truth: The same, or what broadcasts to it.
        shown: bool [..., K]; what is not shown is not asked.
        counts: [K], how much an error of each counts.
    """
    squared = (found.float() - truth).square().where(shown, torch.zeros((), device=found.device))
    return (squared.flatten(0, -2).sum(0) / shown.flatten(0, -2).sum(0).clamp(min=1) * counts).mean()


# What a pupil has understood of dives that it was not taught.

STARTS = range(0, FRAMES - SNIPPET_FRAMES + 1, SNIPPET_STRIDE)
"""Snippets of a whole dive, as the network cuts them."""


@dataclass(frozen=True)
class ValidationMetrics:
    """What is understood of some dives.

    Attributes:
        stage: Share of the frames whose stage is told right, 0..1.
        foreground_iou: IoU of all their foreground pixels together, 0..1.
        seen: Pearson's correlation of what is read off the snippets that show a thing, averaged over a dive, with what
            the judges saw, by its name in `SEEN`; None where either is the same in all dives.
    """

    stage: float
    foreground_iou: float
    seen: dict[str, float | None]

    def figures(self) -> dict[str, Any]:
        """Return all of them by name."""
        return {"stage": self.stage, "foreground_iou": self.foreground_iou, **self.seen}


@torch.no_grad()
def validate_pretraining(
    pupil: PretrainModel, shelf: SnippetDataset, scale: Scale, dives: int, device: torch.device
) -> ValidationMetrics:
    """Look at the first dives of a shelf, whole and as they are.

    Args:
        pupil: Who is asked; of two trunks, the video features' one.
        shelf: The dives.
        scale: How targets are standardised.
        dives: Most dives to look at.
        device: Where the pupil is.

    Raises:
        VideoError: A clip cannot be read.
    """
    was_training = pupil.training
    pupil.eval()
    found, truth, right, total, both, either = [], [], 0, 0, 0, 0
    for place in range(min(dives, len(shelf))):
        batch = collate_snippets(shelf.cut(place, STARTS, None), scale, None).to(device)
        (said, *_), outline = pupil(batch, 1)
        right, total = right + int((said.stage.argmax(2) == batch.stage).sum()), total + batch.stage.numel()
        drawn, mask = outline.logits > 0, outline.mask > 0
        both, either = both + int((drawn & mask).sum()), either + int((drawn | mask).sum())
        shown = batch.shown.float()
        found.append(((said.seen * shown).sum(0) / shown.sum(0).clamp(min=1)).cpu().numpy())
        truth.append(batch.seen[0].cpu().numpy())
    pupil.train(was_training)
    pairs = zip(SEEN, np.array(found).T, np.array(truth).T, strict=True)
    return ValidationMetrics(
        stage=right / total,
        foreground_iou=both / max(either, 1),
        seen={name: correlation(guessed, true) for name, guessed, true in pairs},
    )


def correlation(left: np.ndarray[Any, Any], right: np.ndarray[Any, Any]) -> float | None:
    """Return Pearson's correlation of two rows of numbers; None where one of them does not vary."""
    with np.errstate(invalid="ignore", divide="ignore"):
        r = float(np.corrcoef(left, right)[0, 1]) if len(left) > 1 else math.nan
    return r if math.isfinite(r) else None


# A whole pretraining: from simulated dives to weights whose trunks know what is to be seen in them.

CHECKPOINT_NAME = "pretraining.pt"

NOTE = "no scores yet, only trunks that were taught the motion of"
"""What such weights are, before the dives are named."""

WARMUP = 100
"""Steps over which the learning rate rises."""

VAL_SUBSET = 40
"""Validation dives that are looked at before the end, where all are."""

_DIGITS = 8
"""Digits of a digest (hex) that random numbers follow from."""


def pretrain(
    dataset: Path,
    folder: Path,
    *,
    config: ModelConfig,
    options: PretrainOptions,
    cache: Path | None,
    device: torch.device,
    resume: bool = False,
    command: Sequence[str] = (),
    callbacks: Callbacks | None = None,
) -> Path:
    """Teach the trunks of a network what the simulator knows of its dives.

    Args:
        dataset: Where simulated dives are; validation dives are looked at, test dives left alone.
        folder: The run's folder, and that of the weights. Without ``resume`` it must hold neither yet.
        config: The network.
        options: The run. With ``resume`` the run's own options and network are used.
        cache: Folder of decoded clips; None decodes every time.
        device: Where to compute.
        resume: Go on with the run in ``folder``.
        command: The command line, to be recorded.
        callbacks: Called as the run goes on.

    Returns:
        The folder.

    Raises:
        TrainingError: The run cannot start or be resumed.
        DatasetError: The dataset is wrong, or its dives are not simulated ones.
        WeightsError: The weights to start from cannot be trusted or do not fit.
        VideoError: A clip cannot be read.
    """
    require_one_process("pretraining")
    started = read_run(folder, PretrainOptions, PRETRAINING_NAME) if resume else None
    if started is None:
        ensure_new_run_dir(folder)
    else:
        config, options = started.config, started.options
    check_precision(options.precision, config, device)
    data = _Data.read(dataset, ClipCache(cache, geometry=config.geometry, frame_size=config.frame_size))
    described = describe_data(dataset, data.dives, options)
    if started is not None and started.labels_sha256 != described["labels_sha256"]:
        raise TrainingError("the run was started on other dives", where=dataset, hint="start anew elsewhere")
    # What a checkpoint goes on from has been loaded long ago, and may be gone.
    is_begun = started is not None and (folder / CHECKPOINT_NAME).exists()
    network, begun = init_model(config, init=None if is_begun else options.init, seed=options.seed)
    if started is not None:
        begun = started.begun
    calls = callbacks or Callbacks()
    calls.data(len(data.training), len(data.held_out), options.steps)
    for dives in (data.training, data.held_out):
        dives.make_ready(calls.decoded)
    if started is None:  # only now: a run that could not begin may be begun again
        write_run(
            folder, config, options, dataset, data.dives,
            begun=begun, processes=1, command=command, name=PRETRAINING_NAME,
        )  # fmt: skip
    accelerator = start_accelerator(device, options.precision)
    seed = _seed_sequence(options, begun)
    task = _PretrainTask(to_channels_last(network), data, options, seed, folder, described, calls.validated)
    settings = TrainerConfig(
        steps=options.steps,
        lr=options.lr,
        weight_decay=options.weight_decay,
        clip_norm=options.clip_norm,
        validate_every=options.save_every,
        checkpoint_every=options.save_every,
        seed=seed,
        workers=options.workers,
    )
    trainer = Trainer(task, settings, accelerator, folder, checkpoint_name=CHECKPOINT_NAME)
    if started is not None:
        trainer.resume(missing_ok=True)
    trainer.fit(calls)
    return folder


def _seed_sequence(options: PretrainOptions, begun: dict[str, Any]) -> tuple[int, int]:
    """Return what all chance is drawn from: the seed, and what the run goes on from.

    So of two runs, one of which goes on where the other ended, the second does not see the same snippets again.
    """
    return options.seed, int(begun.get("digest", "0")[:_DIGITS], 16)


@dataclass(frozen=True)
class _Data:
    """The dives of a run.

    Attributes:
        dives: All of them.
        training: Those that are learned from.
        held_out: Those to validate on.
    """

    dives: list[Dive]
    training: SnippetDataset
    held_out: SnippetDataset

    @classmethod
    def read(cls, dataset: Path, clips: ClipCache) -> _Data:
        """Read what is known of all dives.

        Raises:
            DatasetError: It is not that of simulated dives.
            TrainingError: They are too few.
        """
        dives = assign_splits(read_dataset(dataset))
        training, held_out = (
            SnippetDataset([dive for dive in dives if dive.split == split], clips) for split in ("train", "val")
        )
        if not (len(training) and len(held_out)):
            raise TrainingError(
                f"{len(training)} training and {len(held_out)} validation dives",
                where=dataset,
                hint="simulate more dives",
            )
        return cls(dives, training, held_out)


class _PretrainTask(Task[Snippets]):
    """Train the backbones of a network on what the simulator knows of its dives."""

    def __init__(
        self,
        model: FineCausal,
        data: _Data,
        options: PretrainOptions,
        seed: tuple[int, int],
        folder: Path,
        described: dict[str, Any],
        validated: Callable[[ValidationMetrics], object],
    ) -> None:
        first = data.training.targets[0]
        self.network: nn.Module = PretrainModel(model, first.motion.shape[1], len(first.seen))
        self._model, self._data, self._options, self._seed = model, data, options, seed
        self._folder, self._described, self._validated = folder, described, validated
        self._scale = data.training.scale()
        self._counts = torch.tensor(counts_of_seen(options))

    def batch(self, step: int) -> Snippets:
        """Return the snippets of a step, drawn from seed and step."""
        options, training = self._options, self._data.training
        rng = np.random.default_rng((*self._seed, step))
        chosen = rng.choice(len(training), min(options.dives, len(training)), replace=False)
        cuts = [
            cut
            for index in chosen.tolist()
            for cut in training.cut(index, training.draw(index, options.snippets, rng, options.at_takeoff), rng)
        ]
        return collate_snippets(cuts, self._scale, rng)

    def loss(self, network: nn.Module, batch: Snippets, device: torch.device) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the sum of the losses, and each."""
        losses = cast("PretrainModel", network).losses(batch.to(device), self._counts.to(device))
        return torch.stack([*losses.values()]).sum(), losses

    def validate(self, network: nn.Module, device: torch.device, *, is_last: bool = True) -> dict[str, Any]:
        """Return the metrics on some validation dives, in the end on all."""
        held_out = self._data.held_out
        count = len(held_out) if is_last else VAL_SUBSET
        metrics = validate_pretraining(cast("PretrainModel", network), held_out, self._scale, count, device)
        self._validated(metrics)
        return metrics.figures()

    def keep(self, network: nn.Module, metrics: Mapping[str, Any], progress: Progress, *, is_best: bool) -> None:
        """Save the weights."""
        note = f"{NOTE} {len(self._data.training)} dives of the dataset {self._described['dataset']}"
        facts = {"step": progress.step, "understood": metrics, **self._described}
        save_weights(self._folder, self._model, WeightsInfo(note=note, training=facts).facts())

    def lr_factor(self, step: int, steps: int) -> float:
        """Return the share of the peak rate."""
        return warmed_cosine(step, steps, WARMUP)
