"""Train the networks that tell the contact with the water and size the splash, on pictures about simulated entries.

Only these pictures are rendered, which takes a third of a second a dive: thousands of entries cost what a hundred
whole films do. Windows are cut wider than they are read, so that drawing a batch can shift, scale and mirror them.
"""

from __future__ import annotations

import hashlib
import json
import logging
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final, cast

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from finecausal_cli.athlete.entry import (
    CONTACT_BINS_S,
    CONTACT_LOOKS_S,
    FEWEST_ABOUT,
    FEWEST_LOOKS,
    SPLASH_LOOKS_S,
    TOLERANCE_S,
    WINDOW_M,
    WINDOW_PX,
    ContactNetwork,
    SplashNetwork,
    SplashSize,
    contact_looks,
    contact_loss,
    contact_moment,
    nearest_pictures,
    splash_looks,
    splash_loss,
)
from finecausal_cli.athlete.reader import AthleteReader, load_network, save_network
from finecausal_cli.athlete.track import AFTER_S, BEFORE_S
from finecausal_cli.atomic import atomic_write
from finecausal_cli.data.datasets import read_dataset
from finecausal_cli.device import resolve_device
from finecausal_cli.errors import DatasetError, VideoError
from finecausal_cli.scoring.tracks import read_track
from finecausal_cli.simulator.recording import find_photos, plan_dataset
from finecausal_cli.simulator.wild import render_wild
from finecausal_cli.tracking import crop_window
from finecausal_cli.training import EntryPart, require_one_process
from finecausal_cli.training.athlete_sequence import LR_FLOOR
from finecausal_cli.training.trainer import Callbacks, Task, Trainer, TrainerConfig, linear_cosine, start_accelerator
from finecausal_cli.video import CLIP_FRAMES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from finecausal_cli.simulator.dive import SimulatedDive
    from finecausal_cli.simulator.recording import DatasetPlan
    from finecausal_cli.simulator.wild import WildSceneConfig
    from finecausal_cli.training import EntryOptions

    Report = Callable[[str, int, int, Mapping[str, float]], None]

logger = logging.getLogger(__name__)

CUT_PX: Final = 96
"""Side of a stored window, pixels."""

CUT_M: Final = 1.4 * WINDOW_M
"""What it shows, metres."""

_A_SHARD: Final = 500
_REDRAWN: Final = 0.6
"""Share of the dives whose splash is drawn anew, whatever the body does: else its size would be told by the body's
lean, and big ones, which are rare, would hardly be seen."""

_ENTRY_SD_S, _PLACE_SD_M, _SCALE_SD, _DRIFT_SD_M = 0.035, 0.12, 0.1, 0.05
_SHIFT_SD_M, _ZOOM_SD = 0.3, 0.1
"""Errors of the entry's time and place, of the scale, and of the camera's motion, as the search of dives has them; and
those that every batch adds. With a third of these shifts windows as they are found were read with rho 0.66."""

_FAR_SHARE, _FAR_S = 0.2, 0.16
"""Share of the entries that the search is taken to miss by more, and by how much at most, real seconds."""

_SINKING_M_S, _SINKING_M = 9.0, 1.0
"""How fast and how far the window follows the body into the water, as ``tracking`` has it."""

_MOVED_SD_S: Final = 0.02
"""By how much the entry from which contacts are counted is moved in half of a batch."""

_CLIP_SHARE: Final = 0.15
"""Share of the windows whose last pictures are taken away: clips that end in the splash."""

_CLIP_S: Final = (0.03, 0.3)
"""When such clips end after the contact, real seconds."""

_FILMED_SHARE: Final = 0.375
"""Share of a batch whose windows are found in films. Where all were cut by the truth, splashes of 76 other films were
read with a median error of 0.134, with this share of 0.103 (500 steps more)."""

_FILMED_SHIFT_M: Final = 0.1
_WARMUP: Final = 100

Entry = dict[str, Any]
"""``pictures`` uint8 [K, S, S, 3], ``known`` bool [K], ``since`` float32 [K] (of contacts alone) and ``truth``."""

# Pictures about entries: rendered alone, or found in films.


def cut_splash(plan: DatasetPlan, index: int) -> Entry | None:
    """Render the pictures after a dive's entry, at `SPLASH_LOOKS_S`; None where the film lacks them.

    The truth is the size of the splash, 0 to 1. Windows are `CUT_PX` pixels, and show `CUT_M`.
    """
    simulated = plan.dive(index)
    rng = np.random.default_rng(np.random.SeedSequence((plan.seed, index, 99)))
    if rng.random() < _REDRAWN:
        simulated = replace(simulated, seen=replace(simulated.seen, splash=float(rng.beta(1.0, 1.4))))
    config = plan.wild_config(index, simulated)
    motion, real_s, looks = simulated.motion, config.timing.real_s, np.array(SPLASH_LOOKS_S)
    since, step = real_s - motion.contact_s, _step_s(simulated)
    wanted = np.round((looks + rng.normal(0, _ENTRY_SD_S)) / step) * step
    nearest, known = nearest_pictures(since, wanted, _near_s(since))
    if not known[:FEWEST_LOOKS].all():
        return None
    contact = np.array([motion.contact_s + rng.normal(0, _ENTRY_SD_S)])
    centre = config.camera.screen(motion.track(motion.centre, contact))[:, :2]
    pictures = _windows(simulated, config, nearest, known, np.repeat(centre, len(looks), axis=0), looks, rng)
    return {"pictures": pictures, "known": known, "truth": np.float32(simulated.seen.splash)}


def cut_contact(plan: DatasetPlan, index: int) -> Entry | None:
    """Render the pictures about a dive's entry, at `CONTACT_LOOKS_S`; None where the film lacks them.

    The truth is when the body first touches the water, real seconds from the entry as the search might find it.
    """
    simulated = plan.dive(index)
    rng = np.random.default_rng(np.random.SeedSequence((plan.seed, index, 77)))
    config = plan.wild_config(index, simulated)
    motion, real_s, looks = simulated.motion, config.timing.real_s, np.array(CONTACT_LOOKS_S)
    error = rng.uniform(-_FAR_S, _FAR_S) if rng.random() < _FAR_SHARE else rng.normal(0, _ENTRY_SD_S)
    since, step = real_s - motion.contact_s - error, _step_s(simulated)
    begin = rng.uniform(0, step)
    wanted = np.round((looks - begin) / step) * step + begin
    nearest, known = nearest_pictures(since, wanted, _near_s(since))
    if known[:7].sum() < FEWEST_ABOUT or since[-1] < -error + _CLIP_S[0]:
        return None
    centre = motion.track(motion.centre, motion.contact_s + error + np.minimum(since[nearest], 0.0)).copy()
    centre[:, 2] -= np.clip(since[nearest] * _SINKING_M_S, 0.0, _SINKING_M)
    pictures = _windows(simulated, config, nearest, known, config.camera.screen(centre)[:, :2], since[nearest], rng)
    return {
        "pictures": pictures,
        "known": known,
        "since": since[nearest].astype(np.float32),
        "truth": np.float32(-error),
    }


def _step_s(simulated: SimulatedDive) -> float:
    """Return the real seconds between the frames that are sampled of a dive."""
    return float(BEFORE_S + simulated.motion.contact_s - simulated.motion.leave_s + AFTER_S) / (CLIP_FRAMES - 1)


def _near_s(since: NDArray[np.float64]) -> float:
    """Return how far a frame may be from the moment that is wanted."""
    return max(TOLERANCE_S, float(np.median(np.diff(since))))


def _windows(
    simulated: SimulatedDive,
    config: WildSceneConfig,
    nearest: NDArray[np.int64],
    known: NDArray[np.bool_],
    centres: NDArray[np.float64],
    since: NDArray[np.float64],
    rng: np.random.Generator,
) -> NDArray[np.uint8]:
    """Render frames [K] and cut windows about centres [K, 2] of the scene, with the errors of a search."""
    frames = sorted(set(nearest[known].tolist()))
    shown = {frame: each.frame for frame, each in zip(frames, render_wild(simulated, config, frames), strict=True)}
    camera, real_s = config.camera, config.timing.real_s
    centres = centres + rng.normal(0, _PLACE_SD_M, 2)
    scale, drift = float(np.exp(rng.normal(0, _SCALE_SD))), rng.normal(0, _DRIFT_SD_M, 2)
    pictures = np.zeros((len(nearest), CUT_PX, CUT_PX, 3), np.uint8)
    for look in np.flatnonzero(known).tolist():
        view = camera.views(simulated.motion, real_s[nearest[look : look + 1]])[0]
        middle = view[:, :2] @ (centres[look] + drift * since[look]) + view[:, 2]
        window = np.array([*middle, CUT_M * camera.scale(view) * scale])
        pictures[look] = crop_window(shown[nearest[look]], window, CUT_PX)
    return pictures


def cut_entries(
    what: EntryPart,
    plan: DatasetPlan,
    count: int,
    out: Path,
    *,
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> list[Path]:
    """Cut the windows of dives into files that are kept; what is there is not cut again.

    Returns:
        The files, some hundred dives each.
    """
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    kind = KINDS[what]
    out.mkdir(parents=True, exist_ok=True)
    stamp = out / "plan.json"
    facts = json.dumps({**plan.stamp(), "looks_s": kind.looks_s, "cut_m": CUT_M}, sort_keys=True)
    if not stamp.is_file() or stamp.read_text(encoding="utf-8") != facts:
        for old in out.glob("entries-*.npz"):
            old.unlink()
        with atomic_write(stamp, "the plan of the entries") as part:
            part.write_text(facts, encoding="utf-8")
    files = []
    with ExitStack() as stack:
        each: Callable[..., Iterable[dict[str, NDArray[Any]] | None]] = map  # with one, in this process
        if workers > 1:
            pool = stack.enter_context(ProcessPoolExecutor(workers, mp_context=get_context("spawn")))
            each = partial(pool.map, chunksize=8)
        for first in range(0, count, _A_SHARD):
            last = min(first + _A_SHARD, count)
            files.append(out / f"entries-{first:06d}-{last:06d}.npz")
            if not files[-1].is_file():
                cut = each(partial(kind.cut, plan), range(first, last))
                _write(files[-1], [entry for entry in cut if entry])
            if progress is not None:
                progress(last, count)
    return files


class _EntryRecorder:
    """An athlete reader that keeps the pictures about the entry, as they are found, instead of reading them."""

    def __init__(self, reader: AthleteReader) -> None:
        self._reader = reader
        self.splash: tuple[NDArray[Any], ...] | None = None
        self.contact: tuple[NDArray[Any], ...] | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reader, name)

    def size_splash(self, pictures: NDArray[np.uint8], since_entry_s: NDArray[np.float64]) -> None:
        """Keep the pictures."""
        self.splash = splash_looks(pictures, since_entry_s)

    def find_contact(
        self, pictures: NDArray[np.uint8], since_entry_s: NDArray[np.float64]
    ) -> tuple[float, float] | None:
        """Keep the pictures; for a splash they are wanted from the contact on as it is read."""
        self.contact = contact_looks(pictures, since_entry_s)
        return self._reader.find_contact(pictures, since_entry_s)


def read_entries(
    what: EntryPart,
    dataset: Path,
    reader: AthleteReader,
    out: Path,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Find the dives of simulated films and keep the windows about their entries, with the errors of the search.

    Args:
        what: ``splash`` or ``contact``.
        dataset: Simulated films.
        reader: The athlete reader; for contacts one without a contact network.
        out: Folder for the file.
        progress: Called with the films that are read, and their number.

    Returns:
        A file as `cut_entries` writes them, but of windows that show `WINDOW_M`.

    Raises:
        DatasetError: None of the films shows an entry.
    """
    name = hashlib.sha256(f"{what} {dataset.resolve()} {reader.digest}".encode()).hexdigest()[:16]
    file = out / f"films-{name}.npz"
    if file.is_file():
        return file
    dives, kept = read_dataset(dataset), []
    for done, dive in enumerate(dives):
        recorder, record = _EntryRecorder(reader), dive.video.parent.parent / "meta" / f"{dive.video.stem}.json"
        truth = json.loads(record.read_text(encoding="utf-8")) if record.is_file() else {}
        try:
            stored = read_track(dive.video, cast("AthleteReader", recorder))
        except VideoError as error:
            logger.info("passed over: %s", error)
        else:
            if truth and what == "splash" and recorder.splash is not None:
                kept.append(_entry(recorder.splash, truth["seen"]["splash"]))
            if truth and what == "contact" and recorder.contact is not None:
                error_s = (truth["entry_start_s"] - stored.entry_s) / stored.time_scale
                if abs(error_s) < CONTACT_BINS_S[-1]:
                    kept.append(_entry(recorder.contact, error_s))
        if progress is not None:
            progress(done + 1, len(dives))
    if not kept:
        raise DatasetError("no film shows an entry whose truth is known", where=dataset)
    _write(file, kept)
    return file


def _entry(looks: tuple[NDArray[Any], ...], truth: float) -> Entry:
    return {**dict(zip(("pictures", "known", "since"), looks, strict=False)), "truth": np.float32(truth)}


def _write(file: Path, entries: Sequence[Entry]) -> None:
    arrays: dict[str, Any] = {name: np.stack([each[name] for each in entries]) for name in entries[0]}
    with atomic_write(file, "windows of entries") as part, part.open("wb") as stream:
        np.savez(stream, allow_pickle=False, **arrays)


# Batches of them.

Batch = tuple["NDArray[Any]", ...]
"""What the network is given, [B, ...], and last the truth [B]."""


class EntrySet:
    """Windows about entries, of which batches are drawn.

    Args:
        files: As `cut_entries` writes them.
        side_m: What the windows show, metres.
        shift_m: Standard deviation of the shifts, metres.
    """

    def __init__(self, files: Sequence[Path], side_m: float = CUT_M, shift_m: float = _SHIFT_SD_M) -> None:
        parts = [dict(np.load(file, allow_pickle=False)) for file in files]
        self.pictures, self.known, self.truth = (
            np.concatenate([part[name] for part in parts]) for name in ("pictures", "known", "truth")
        )
        self.since = np.concatenate([part["since"] for part in parts]) if "since" in parts[0] else None
        side = self.pictures.shape[2]
        self._scale, self._shift_px = WINDOW_PX * side_m / (side * WINDOW_M), shift_m * side / side_m

    def __len__(self) -> int:
        return len(self.truth)

    def plain(self, first: int, last: int) -> Batch:
        """Return windows as they are read."""
        middle = np.full(2, self.pictures.shape[2] / 2)
        matrix = _matrix(self._scale, middle, mirrored=False)
        shown = np.stack([_shown(pictures, matrix) for pictures in self.pictures[first:last]])
        since = () if self.since is None else (self.since[first:last],)
        return shown, self.known[first:last], *since, self.truth[first:last]

    def draw(self, rng: np.random.Generator, count: int) -> Batch:
        """Draw windows, made harder to read."""
        rows = rng.integers(0, len(self), count)
        known, truth = self.known[rows].copy(), self.truth[rows]
        cut = rng.random(count) < _CLIP_SHARE
        if self.since is None:
            looks = known.shape[1]
            known[cut] &= np.arange(looks) < rng.integers(FEWEST_LOOKS, looks, count)[cut, None]
            return np.stack([self._vary(self.pictures[row], rng) for row in rows]), known, truth
        since = self.since[rows]
        known[cut] &= since[cut] < (truth + rng.uniform(*_CLIP_S, count))[cut, None]
        moved = np.where(rng.random(count) < 0.5, rng.normal(0, _MOVED_SD_S, count), 0.0).astype(np.float32)
        pictures = np.stack([self._vary(self.pictures[row], rng) for row in rows])
        return pictures, known, since - moved[:, None], truth - moved

    def _vary(self, pictures: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
        """Return windows shifted, scaled, mirrored, with other light and the marks of another codec."""
        middle = np.full(2, pictures.shape[1] / 2) + rng.normal(0, self._shift_px, 2)
        scale = self._scale * float(np.exp(rng.normal(0, _ZOOM_SD)))
        matrix = _matrix(scale, middle, mirrored=rng.random() < 0.5)
        gain, offset = rng.uniform(0.75, 1.25) * rng.normal(1, 0.08, 3), rng.normal(0, 12)
        quality = int(rng.integers(25, 90)) if rng.random() < 0.4 else None
        blur = float(rng.uniform(0.3, 1.2)) if rng.random() < 0.3 else 0.0
        noise = float(rng.uniform(2, 10)) if rng.random() < 0.3 else 0.0
        if quality is not None:
            pictures = np.stack([_compressed(each, quality) for each in pictures])
        if blur:
            pictures = np.stack([np.asarray(cv2.GaussianBlur(each, (0, 0), blur), np.uint8) for each in pictures])
        lit = _shown(pictures, matrix) * gain + offset
        if noise:
            lit = lit + rng.normal(0, noise, lit.shape)
        return np.clip(lit, 0, 255).astype(np.uint8)


def _matrix(scale: float, middle: NDArray[np.float64], *, mirrored: bool) -> NDArray[np.float64]:
    """Return the map [2, 3] that brings a place of a stored window to the middle of what is read."""
    axes = np.diag([-scale if mirrored else scale, scale])
    return np.column_stack([axes, WINDOW_PX / 2 - axes @ middle])


def _shown(pictures: NDArray[np.uint8], matrix: NDArray[np.float64]) -> NDArray[np.uint8]:
    size = (WINDOW_PX, WINDOW_PX)
    cut = [cv2.warpAffine(each, matrix, size, borderMode=cv2.BORDER_REPLICATE) for each in pictures]
    return np.asarray(np.stack(cut), np.uint8)


def _compressed(picture: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)


@dataclass(frozen=True)
class EntryKind:
    """What is read of an entry.

    Attributes:
        looks_s: When the pictures are taken, real seconds from the entry.
        cut: Renders those of a dive.
        network: Makes the network.
        loss: From its output and the truth.
        figures: Errors of its outputs, and what to compare them with.
    """

    looks_s: tuple[float, ...]
    cut: Callable[[DatasetPlan, int], Entry | None]
    network: Callable[[], nn.Module]
    loss: Callable[[Any, Tensor], Tensor]
    figures: Callable[[Sequence[Any], NDArray[np.float32]], Mapping[str, float]]


def _splash_figures(outputs: Sequence[SplashSize], truth: NDArray[np.float32]) -> Mapping[str, float]:
    """Return the error, beside the spread of the sizes, and the rank correlation."""
    from scipy.stats import spearmanr

    predicted = np.concatenate([each.size.float().cpu().numpy() for each in outputs])
    return {
        "splash_rmse": float(np.sqrt(((predicted - truth) ** 2).mean())),
        "splash_sd": float(truth.std()),
        "splash_rho": float(spearmanr(predicted, truth)[0]),
    }


def _contact_figures(outputs: Sequence[Tensor], truth: NDArray[np.float32]) -> Mapping[str, float]:
    """Return the median and the 90% quantile of the errors, seconds, beside the median of those of the search."""
    error = np.abs(np.concatenate([contact_moment(each)[0] for each in outputs]) - truth)
    return {
        "contact_median_s": float(np.median(error)),
        "contact_p90_s": float(np.quantile(error, 0.9)),
        "search_median_s": float(np.median(np.abs(truth))),
    }


KINDS: Final[Mapping[EntryPart, EntryKind]] = {
    "splash": EntryKind(SPLASH_LOOKS_S, cut_splash, SplashNetwork, splash_loss, _splash_figures),
    "contact": EntryKind(CONTACT_LOOKS_S, cut_contact, ContactNetwork, contact_loss, _contact_figures),
}


class EntryTask(Task[Batch]):
    """Train one of the networks.

    Args:
        kind: What is read.
        network: The network.
        train: Windows to train on.
        held_out: Windows to validate on.
        films: Windows as they are found in films, a share of every batch.
        batch_size: Entries a step.
        seed: Of the draws.
    """

    def __init__(
        self,
        kind: EntryKind,
        network: nn.Module,
        train: EntrySet,
        held_out: EntrySet,
        *,
        films: EntrySet | None = None,
        batch_size: int = 32,
        seed: int = 0,
    ) -> None:
        self.network: nn.Module = network
        self._kind = kind
        self._train, self._held_out, self._films = train, held_out, films
        self._batch_size, self._seed = batch_size, seed
        self.batch = self._batch

    def _batch(self, step: int) -> Batch:
        rng = np.random.default_rng(np.random.SeedSequence((self._seed, step, 17)))
        if self._films is None:
            return self._train.draw(rng, self._batch_size)
        filmed = round(_FILMED_SHARE * self._batch_size)
        parts = self._train.draw(rng, self._batch_size - filmed), self._films.draw(rng, filmed)
        return tuple(np.concatenate(pair) for pair in zip(*parts, strict=True))

    def loss(self, network: nn.Module, batch: Any, device: torch.device) -> tuple[Tensor, Mapping[str, Tensor]]:
        """Return the loss of a step."""
        *given, truth = (torch.from_numpy(each).to(device) for each in batch)
        loss = self._kind.loss(network(*given), truth)
        return loss, {"entry": loss}

    def validate(
        self, network: nn.Module, device: torch.device, *, is_last: bool = True, held_out: Iterator[Any] | None = None
    ) -> Mapping[str, float]:
        """Return the errors on the held-out windows, as they are read."""
        outputs = []
        for first in range(0, len(self._held_out), self._batch_size):
            *given, _ = self._held_out.plain(first, min(first + self._batch_size, len(self._held_out)))
            outputs.append(network(*(torch.from_numpy(each).to(device) for each in given)))
        return self._kind.figures(outputs, self._held_out.truth)

    def lr_factor(self, step: int, steps: int) -> float:
        """Return the share of the peak rate."""
        return linear_cosine(step, steps, _WARMUP, LR_FLOOR)


def train_entry(what: EntryPart, run: EntryOptions, report: Report | None = None) -> Path:
    """Train one of the networks, or resume its training, and write it with the other networks of a reader.

    Args:
        what: ``splash`` or ``contact``.
        run: Data and options.
        report: Called with the phase, the steps done, their number and the losses.

    Returns:
        The folder of the reader.

    Raises:
        DatasetError: A dataset is wrong, or none of its films shows an entry.
        WeightsError: The reader it is for cannot be read.
        TrainingError: The loss is no longer a finite number, or the folder holds another run.
    """
    require_one_process(f"training the {what} network")
    report, kind = report or (lambda *_: None), KINDS[what]
    stored = load_network(run.reader)
    photos = () if run.backgrounds is None else find_photos(run.backgrounds)
    sets = []
    for name, seed, count in (("train", run.seed, run.dives), ("validation", run.seed + 1, run.held_out)):
        plan, count_done = plan_dataset(seed, world="wild", photos=photos), partial(_count, report, f"rendering {name}")
        sets.append(EntrySet(cut_entries(what, plan, count, run.out / name, workers=run.workers, progress=count_done)))
    films = None
    if run.films:
        # A splash is looked for from the contact on as it is read, a contact from the entry that the search finds.
        known_contact = stored.contact if what == "splash" else None
        digest = str(stored.config["digest"])
        reader = AthleteReader(stored.network, stored.sequence, None, known_contact, digest=digest)
        reading = partial(_count, report, "reading films")
        read = [read_entries(what, dataset, reader, run.out, progress=reading) for dataset in run.films]
        films = EntrySet(read, WINDOW_M, _FILMED_SHIFT_M)
    torch.manual_seed(run.seed)
    task = EntryTask(kind, kind.network(), sets[0], sets[1], films=films, seed=run.seed)
    config = TrainerConfig(
        steps=run.steps,
        lr=run.lr,
        weight_decay=1e-2,
        clip_norm=5.0,
        ema=0.995,
        validate_every=max(run.steps // 6, 1),
        log_losses=True,
        seed=(run.seed,),
        workers=1,
    )
    (run.out / what).mkdir(parents=True, exist_ok=True)
    trainer = Trainer(task, config, start_accelerator(resolve_device(run.device)), run.out / what)
    trainer.resume(missing_ok=True)
    figures = trainer.fit(
        Callbacks(step=lambda at, losses: report(f"training the {what} network", at.step, run.steps, losses))
    )
    network = kind.network()
    network.load_state_dict({name: value.cpu() for name, value in trainer.best_network.state_dict().items()})
    known = {"format_version", "digest", "network", "sequence"}
    facts = {name: value for name, value in stored.config.items() if name not in known}
    facts[f"{what}_held_out_simulated"] = {**figures, "dives": run.dives, "steps": run.steps, "seed": run.seed}
    splash = network if isinstance(network, SplashNetwork) else stored.splash
    contact = network if isinstance(network, ContactNetwork) else stored.contact
    folder = run.out / "reader"
    save_network(folder, stored.network.config, stored.network.state_dict(), facts, stored.sequence, splash, contact)
    return folder


def _count(report: Report, phase: str, done: int, of: int) -> None:
    report(phase, done, of, {})
