"""Train the network that sizes splashes, on pictures about the entries of simulated dives.

Only these pictures are rendered, which takes a fifth of a second a dive: thousands of splashes cost what a hundred
whole films do. Windows are cut wider than they are read, so that drawing a batch can shift, scale and mirror them.
"""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final, cast

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from finecausal_cli.athlete.reader import AthleteReader, load_network, save_network
from finecausal_cli.athlete.splash import (
    FEWEST_LOOKS,
    LOOKS_S,
    TOLERANCE_S,
    WINDOW_M,
    WINDOW_PX,
    SplashNetwork,
    looks_at,
    splash_loss,
)
from finecausal_cli.athlete.track import AFTER_S, BEFORE_S
from finecausal_cli.atomic import atomic_write
from finecausal_cli.data.datasets import read_dataset
from finecausal_cli.device import resolve_device
from finecausal_cli.errors import DatasetError, VideoError
from finecausal_cli.scoring.tracks import read_track
from finecausal_cli.simulator.recording import find_photos, plan_dataset
from finecausal_cli.simulator.wild import render_wild
from finecausal_cli.tracking import crop_window
from finecausal_cli.training import require_one_process
from finecausal_cli.training.athlete_sequence import LR_FLOOR
from finecausal_cli.training.track_errors import read_seen
from finecausal_cli.training.trainer import Callbacks, Task, Trainer, TrainerConfig, linear_cosine, start_accelerator
from finecausal_cli.video import CLIP_FRAMES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from finecausal_cli.simulator.recording import DatasetPlan
    from finecausal_cli.training import SplashOptions

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

_CLIP_SHARE: Final = 0.15
"""Share of the windows whose last pictures are taken away: clips that end in the splash."""

_FILMED_SHARE: Final = 0.375
"""Share of a batch whose windows are found in films. Where all were cut by the truth, those of 76 other films were read
with a median error of 0.134, with this share of 0.103 (500 steps more)."""

_FILMED_SHIFT_M: Final = 0.1
_WARMUP: Final = 100


def cut_entry(plan: DatasetPlan, index: int) -> dict[str, NDArray[Any]] | None:
    """Render the pictures about a dive's entry and cut the windows; None where the film lacks them.

    Returns:
        ``pictures`` uint8 [K, `CUT_PX`, `CUT_PX`, 3], ``known`` bool [K] and ``size``, that of the splash, 0 to 1.
    """
    simulated = plan.dive(index)
    rng = np.random.default_rng(np.random.SeedSequence((plan.seed, index, 99)))
    if rng.random() < _REDRAWN:
        simulated = replace(simulated, seen=replace(simulated.seen, splash=float(rng.beta(1.0, 1.4))))
    config = plan.wild_config(index, simulated)
    motion, camera, real_s = simulated.motion, config.camera, config.timing.real_s
    since = real_s - motion.contact_s
    step = (BEFORE_S + motion.contact_s - motion.leave_s + AFTER_S) / (CLIP_FRAMES - 1)  # a clip's, which reading sees
    wanted = np.round((np.array(LOOKS_S) + rng.normal(0, _ENTRY_SD_S)) / step) * step
    nearest = np.abs(since[None] - wanted[:, None]).argmin(axis=1)
    known = np.abs(since[nearest] - wanted) <= max(TOLERANCE_S, float(np.median(np.diff(real_s))))
    if not known[:FEWEST_LOOKS].all():
        return None
    frames = sorted(set(nearest[known].tolist()))
    shown = {frame: each.frame for frame, each in zip(frames, render_wild(simulated, config, frames), strict=True)}
    contact = np.array([motion.contact_s + rng.normal(0, _ENTRY_SD_S)])
    centre = camera.screen(motion.track(motion.centre, contact))[0][:2] + rng.normal(0, _PLACE_SD_M, 2)
    scale, drift = float(np.exp(rng.normal(0, _SCALE_SD))), rng.normal(0, _DRIFT_SD_M, 2)
    pictures = np.zeros((len(LOOKS_S), CUT_PX, CUT_PX, 3), np.uint8)
    for look in np.flatnonzero(known).tolist():
        view = camera.views(motion, real_s[nearest[look : look + 1]])[0]
        middle = view[:, :2] @ (centre + drift * LOOKS_S[look]) + view[:, 2]
        window = np.array([*middle, CUT_M * camera.scale(view) * scale])
        pictures[look] = crop_window(shown[nearest[look]], window, CUT_PX)
    return {"pictures": pictures, "known": known, "size": np.float32(simulated.seen.splash)}


def cut_entries(
    plan: DatasetPlan, count: int, out: Path, *, workers: int = 1, progress: Callable[[int, int], None] | None = None
) -> list[Path]:
    """Cut the windows of dives into files that are kept; what is there is not cut again.

    Returns:
        The files, some hundred dives each.
    """
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    out.mkdir(parents=True, exist_ok=True)
    stamp, facts = out / "plan.json", json.dumps({**plan.stamp(), "looks_s": LOOKS_S, "cut_m": CUT_M}, sort_keys=True)
    if not stamp.is_file() or stamp.read_text(encoding="utf-8") != facts:
        for old in out.glob("entries-*.npz"):
            old.unlink()
        with atomic_write(stamp, "the plan of the entries") as part:
            part.write_text(facts, encoding="utf-8")
    files = []
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        for first in range(0, count, _A_SHARD):
            last = min(first + _A_SHARD, count)
            files.append(out / f"entries-{first:06d}-{last:06d}.npz")
            if not files[-1].is_file():
                cut = [each for each in pool.map(partial(cut_entry, plan), range(first, last), chunksize=8) if each]
                _write(files[-1], cut)
            if progress is not None:
                progress(last, count)
    return files


class _EntryRecorder:
    """An athlete reader that keeps the pictures about the entry, as they are found, instead of sizing the splash."""

    def __init__(self, reader: AthleteReader) -> None:
        self._reader = reader
        self.looks: tuple[NDArray[np.uint8], NDArray[np.bool_]] | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reader, name)

    def size_splash(self, pictures: NDArray[np.uint8], since_entry_s: NDArray[np.float64]) -> None:
        """Keep the pictures."""
        self.looks = looks_at(pictures, since_entry_s)


def read_entries(
    dataset: Path, reader: AthleteReader, out: Path, *, progress: Callable[[int, int], None] | None = None
) -> Path:
    """Find the dives of simulated films and keep the windows about their entries, with the errors of the search.

    Returns:
        A file as `cut_entries` writes them, but of windows that show `WINDOW_M`.

    Raises:
        DatasetError: None of the films shows an entry.
    """
    file = out / f"films-{hashlib.sha256(f'{dataset.resolve()} {reader.digest}'.encode()).hexdigest()[:16]}.npz"
    if file.is_file():
        return file
    dives, kept = read_dataset(dataset), []
    for done, dive in enumerate(dives):
        recorder = _EntryRecorder(reader)
        seen = read_seen(dive)
        try:
            read_track(dive.video, cast("AthleteReader", recorder))
        except VideoError as error:
            logger.info("passed over: %s", error)
        if recorder.looks is not None and "splash" in seen:
            pictures, known = recorder.looks
            kept.append({"pictures": pictures, "known": known, "size": np.float32(seen["splash"])})
        if progress is not None:
            progress(done + 1, len(dives))
    if not kept:
        raise DatasetError("no film shows an entry whose splash is known", where=dataset)
    _write(file, kept)
    return file


def _write(file: Path, entries: Sequence[Mapping[str, Any]]) -> None:
    arrays: dict[str, Any] = {name: np.stack([each[name] for each in entries]) for name in entries[0]}
    with atomic_write(file, "windows of entries") as part, part.open("wb") as stream:
        np.savez(stream, allow_pickle=False, **arrays)


Entries = tuple["NDArray[np.uint8]", "NDArray[np.bool_]", "NDArray[np.float32]"]
"""uint8 [B, K, S, S, 3], bool [B, K] and float32 [B]: pictures, which of them are known, sizes."""


class EntrySet:
    """Windows about entries, of which batches are drawn.

    Args:
        files: As `cut_entries` writes them.
        side_m: What the windows show, metres.
        shift_m: Standard deviation of the shifts, metres.
    """

    def __init__(self, files: Sequence[Path], side_m: float = CUT_M, shift_m: float = _SHIFT_SD_M) -> None:
        parts = [dict(np.load(file, allow_pickle=False)) for file in files]
        self.pictures, self.known, self.sizes = (
            np.concatenate([part[name] for part in parts]) for name in ("pictures", "known", "size")
        )
        side = self.pictures.shape[2]
        self._scale, self._shift_px = WINDOW_PX * side_m / (side * WINDOW_M), shift_m * side / side_m

    def __len__(self) -> int:
        return len(self.sizes)

    def plain(self, first: int, last: int) -> Entries:
        """Return windows as they are read."""
        middle = np.full(2, self.pictures.shape[2] / 2)
        matrix = _matrix(self._scale, middle, mirrored=False)
        shown = np.stack([_shown(pictures, matrix) for pictures in self.pictures[first:last]])
        return shown, self.known[first:last], self.sizes[first:last]

    def draw(self, rng: np.random.Generator, count: int) -> Entries:
        """Draw windows, made harder to read."""
        rows = rng.integers(0, len(self), count)
        known = self.known[rows].copy()
        cut = rng.random(count) < _CLIP_SHARE
        known[cut] &= np.arange(len(LOOKS_S)) < rng.integers(FEWEST_LOOKS, len(LOOKS_S), count)[cut, None]
        return np.stack([self._vary(self.pictures[row], rng) for row in rows]), known, self.sizes[rows]

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


class SplashTask(Task[Entries]):
    """Train the splash network.

    Args:
        network: The network.
        train: Windows to train on.
        held_out: Windows to validate on.
        films: Windows as they are found in films, a share of every batch.
        batch_size: Splashes a step.
        seed: Of the draws.
    """

    def __init__(
        self,
        network: SplashNetwork,
        train: EntrySet,
        held_out: EntrySet,
        *,
        films: EntrySet | None = None,
        batch_size: int = 32,
        seed: int = 0,
    ) -> None:
        self.network: nn.Module = network
        self._train, self._held_out, self._films = train, held_out, films
        self._batch_size, self._seed = batch_size, seed
        self.batch = self._batch

    def _batch(self, step: int) -> Entries:
        rng = np.random.default_rng(np.random.SeedSequence((self._seed, step, 17)))
        if self._films is None:
            return self._train.draw(rng, self._batch_size)
        filmed = round(_FILMED_SHARE * self._batch_size)
        drawn, found = self._train.draw(rng, self._batch_size - filmed), self._films.draw(rng, filmed)
        return (
            np.concatenate([drawn[0], found[0]]),
            np.concatenate([drawn[1], found[1]]),
            np.concatenate([drawn[2], found[2]]),
        )

    def loss(self, network: nn.Module, batch: Any, device: torch.device) -> tuple[Tensor, Mapping[str, Tensor]]:
        """Return the loss of a step."""
        pictures, known, sizes = (torch.from_numpy(each).to(device) for each in batch)
        loss = splash_loss(network(pictures, known), sizes)
        return loss, {"splash": loss}

    def validate(self, network: nn.Module, device: torch.device, *, is_last: bool = True) -> Mapping[str, float]:
        """Return the error on the held-out windows, beside the spread of their sizes, and the rank correlation."""
        from scipy.stats import spearmanr

        predicted, truth = [], self._held_out.sizes
        for first in range(0, len(truth), self._batch_size):
            pictures, known, _ = self._held_out.plain(first, min(first + self._batch_size, len(truth)))
            shown = (torch.from_numpy(each).to(device) for each in (pictures, known))
            predicted.append(network(*shown).size.float().cpu().numpy())
        error = np.concatenate(predicted) - truth
        return {
            "splash_rmse": float(np.sqrt((error**2).mean())),
            "splash_sd": float(truth.std()),
            "splash_rho": float(spearmanr(np.concatenate(predicted), truth)[0]),
        }

    def lr_factor(self, step: int, steps: int) -> float:
        """Return the share of the peak rate."""
        return linear_cosine(step, steps, _WARMUP, LR_FLOOR)


def train_splash(run: SplashOptions, report: Report | None = None) -> Path:
    """Train a splash network, or resume its training, and write it with the other networks of a reader.

    Args:
        run: Data and options.
        report: Called with the phase, the steps done, their number and the losses.

    Returns:
        The folder of the reader.

    Raises:
        DatasetError: A dataset is wrong, or none of its films shows an entry.
        WeightsError: The reader it is for cannot be read.
        TrainingError: The loss is no longer a finite number, or the folder holds another run.
    """
    require_one_process("training the splash network")
    report = report or (lambda *_: None)
    stored = load_network(run.reader)
    photos = () if run.backgrounds is None else find_photos(run.backgrounds)
    sets = []
    for name, seed, count in (("train", run.seed, run.dives), ("validation", run.seed + 1, run.held_out)):
        plan = plan_dataset(seed, world="wild", photos=photos)
        files = cut_entries(
            plan, count, run.out / name, workers=run.workers, progress=partial(_count, report, f"rendering {name}")
        )
        sets.append(EntrySet(files))
    films = None
    if run.films:
        reader = AthleteReader(stored.network, stored.sequence, digest=str(stored.config["digest"]))
        report_films = partial(_count, report, "reading films")
        read = [read_entries(dataset, reader, run.out, progress=report_films) for dataset in run.films]
        films = EntrySet(read, WINDOW_M, _FILMED_SHIFT_M)
    torch.manual_seed(run.seed)
    task = SplashTask(SplashNetwork(), sets[0], sets[1], films=films, seed=run.seed)
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
    (run.out / "splash").mkdir(parents=True, exist_ok=True)
    trainer = Trainer(task, config, start_accelerator(resolve_device(run.device)), run.out / "splash")
    trainer.resume(missing_ok=True)
    figures = trainer.fit(
        Callbacks(step=lambda at, losses: report("training the splash network", at.step, run.steps, losses))
    )
    network = SplashNetwork()
    network.load_state_dict({name: value.cpu() for name, value in trainer.best_network.state_dict().items()})
    known = {"format_version", "digest", "network", "sequence"}
    facts = {name: value for name, value in stored.config.items() if name not in known}
    facts["splash_held_out_simulated"] = {**figures, "dives": run.dives, "steps": run.steps, "seed": run.seed}
    folder = run.out / "reader"
    save_network(folder, stored.network.config, stored.network.state_dict(), facts, stored.sequence, network)
    return folder


def _count(report: Report, phase: str, done: int, of: int) -> None:
    report(phase, done, of, {})
