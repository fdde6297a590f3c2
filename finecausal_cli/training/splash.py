"""Train the network that sizes splashes, on pictures about the entries of simulated dives.

Only these pictures are rendered, which takes a fifth of a second a dive: thousands of splashes cost what a hundred
whole films do. Windows are cut wider than they are read, so that drawing a batch can shift, scale and mirror them.
"""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from finecausal_cli.athlete.reader import load_network, save_network
from finecausal_cli.athlete.splash import (
    FEWEST_LOOKS,
    LOOKS_S,
    TOLERANCE_S,
    WINDOW_M,
    WINDOW_PX,
    SplashNetwork,
    splash_loss,
)
from finecausal_cli.athlete.track import AFTER_S, BEFORE_S
from finecausal_cli.atomic import atomic_write
from finecausal_cli.device import resolve_device
from finecausal_cli.simulator.recording import find_photos, plan_dataset
from finecausal_cli.simulator.wild import render_wild
from finecausal_cli.tracking import crop_window
from finecausal_cli.training import require_one_process
from finecausal_cli.training.trainer import Callbacks, Task, Trainer, TrainerConfig, linear_cosine, start_accelerator
from finecausal_cli.video import CLIP_FRAMES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from finecausal_cli.simulator.recording import DatasetPlan
    from finecausal_cli.training import SplashOptions

    Report = Callable[[str, int, int, Mapping[str, float]], None]

CUT_PX: Final = 96
"""Side of a stored window, pixels."""

CUT_M: Final = 1.4 * WINDOW_M
"""What it shows, metres."""

_A_SHARD: Final = 500
_REDRAWN: Final = 0.6
"""Share of the dives whose splash is drawn anew, whatever the body does: else its size would be told by the body's
lean, and big ones, which are rare, would hardly be seen."""

_ENTRY_SD_S, _PLACE_SD_M, _SCALE_SD, _DRIFT_SD_M = 0.035, 0.12, 0.1, 0.05
"""Errors of the entry's time and place, of the scale, and of the camera's motion, as the search of dives has them."""

_CLIP_SHARE: Final = 0.15
"""Share of the windows whose last pictures are taken away: clips that end in the splash."""

_WARMUP: Final = 100
LR_FLOOR: Final = 0.02


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
                with atomic_write(files[-1], "windows of entries") as part, part.open("wb") as stream:
                    arrays = {name: np.stack([each[name] for each in cut]) for name in cut[0]}
                    np.savez(stream, allow_pickle=False, **arrays)
            if progress is not None:
                progress(last, count)
    return files


class EntrySet:
    """Windows about entries, of which batches are drawn.

    Args:
        files: As `cut_entries` writes them.
    """

    def __init__(self, files: list[Path]) -> None:
        parts = [dict(np.load(file, allow_pickle=False)) for file in files]
        self.pictures, self.known, self.sizes = (
            np.concatenate([part[name] for part in parts]) for name in ("pictures", "known", "size")
        )

    def __len__(self) -> int:
        return len(self.sizes)

    def plain(self, first: int, last: int) -> tuple[NDArray[np.uint8], NDArray[np.bool_], NDArray[np.float32]]:
        """Return windows as they are read: pictures, which are known, sizes."""
        rows = range(first, last)
        return (
            np.stack([_shown(self.pictures[row], _plain()) for row in rows]),
            self.known[first:last],
            self.sizes[rows],
        )

    def draw(
        self, rng: np.random.Generator, count: int
    ) -> tuple[NDArray[np.uint8], NDArray[np.bool_], NDArray[np.float32]]:
        """Draw windows, made harder to read."""
        rows = rng.integers(0, len(self), count)
        known = self.known[rows].copy()
        cut = rng.random(count) < _CLIP_SHARE
        known[cut] &= np.arange(len(LOOKS_S)) < rng.integers(FEWEST_LOOKS, len(LOOKS_S), count)[cut, None]
        return np.stack([_vary(self.pictures[row], rng) for row in rows]), known, self.sizes[rows]


def _plain() -> NDArray[np.float64]:
    scale = WINDOW_PX * CUT_M / (CUT_PX * WINDOW_M)
    shift = (WINDOW_PX - scale * CUT_PX) / 2
    return np.array([[scale, 0, shift], [0, scale, shift]])


def _shown(pictures: NDArray[np.uint8], matrix: NDArray[np.float64]) -> NDArray[np.uint8]:
    size = (WINDOW_PX, WINDOW_PX)
    cut = [cv2.warpAffine(each, matrix, size, borderMode=cv2.BORDER_REPLICATE) for each in pictures]
    return np.asarray(np.stack(cut), np.uint8)


def _vary(pictures: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return windows shifted, scaled, mirrored, with other light and the marks of another codec."""
    matrix = _plain() * float(np.exp(rng.normal(0, 0.06)))
    middle = np.full(2, CUT_PX / 2) + rng.normal(0, 2.5, 2)
    if rng.random() < 0.5:
        matrix[0, 0] *= -1
    matrix[:, 2] = WINDOW_PX / 2 - matrix[:, :2] @ middle
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


def _compressed(picture: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)


class SplashTask(Task["tuple[NDArray[np.uint8], NDArray[np.bool_], NDArray[np.float32]]"]):
    """Train the splash network.

    Args:
        network: The network.
        train: Windows to train on.
        held_out: Windows to validate on.
        batch_size: Splashes a step.
        seed: Of the draws.
    """

    def __init__(
        self, network: SplashNetwork, train: EntrySet, held_out: EntrySet, *, batch_size: int = 32, seed: int = 0
    ) -> None:
        self.network: nn.Module = network
        self._train, self._held_out = train, held_out
        self._batch_size, self._seed = batch_size, seed
        self.batch = self._batch

    def _batch(self, step: int) -> tuple[NDArray[np.uint8], NDArray[np.bool_], NDArray[np.float32]]:
        return self._train.draw(np.random.default_rng(np.random.SeedSequence((self._seed, step, 17))), self._batch_size)

    def loss(self, network: nn.Module, batch: Any, device: torch.device) -> tuple[Tensor, Mapping[str, Tensor]]:
        """Return the loss of a step."""
        pictures, known, sizes = (torch.from_numpy(each).to(device) for each in batch)
        loss = splash_loss(network(pictures, known), sizes)
        return loss, {"splash": loss}

    def validate(self, network: nn.Module, device: torch.device, *, is_last: bool = True) -> Mapping[str, float]:
        """Return the error on the held-out windows, beside the spread of their sizes, and the rank correlation."""
        from scipy.stats import spearmanr

        told, truth = [], self._held_out.sizes
        for first in range(0, len(truth), self._batch_size):
            pictures, known, _ = self._held_out.plain(first, min(first + self._batch_size, len(truth)))
            shown = (torch.from_numpy(each).to(device) for each in (pictures, known))
            told.append(network(*shown).size.float().cpu().numpy())
        error = np.concatenate(told) - truth
        return {
            "splash_rmse": float(np.sqrt((error**2).mean())),
            "splash_sd": float(truth.std()),
            "splash_rho": float(spearmanr(np.concatenate(told), truth)[0]),
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
    torch.manual_seed(run.seed)
    task = SplashTask(SplashNetwork(), sets[0], sets[1], seed=run.seed)
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
