"""Measure what the clip cache spares training: the same batches decoded each time, and from a warm cache."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from rich.table import Table

from finecausal_cli.data.batch import collate
from finecausal_cli.data.cache import ClipCache
from finecausal_cli.data.open import read_dataset
from finecausal_cli.model.config import PRESETS
from finecausal_cli.model.finecausal import FineCausal
from finecausal_cli.training.losses import UncertaintyWeights, all_losses
from finecausal_cli.video.transform import normalise

if TYPE_CHECKING:
    from finecausal_cli.data.batch import PairBatch

DATASET = Path(__file__).resolve().parent.parent / "examples" / "dataset"
CLIPS = 8
PRESET = "compact"


def measure(repeats: int = 4) -> tuple[float, float, float]:
    """Return seconds for a batch of `CLIPS` decoded, the same from a warm cache, and one training step on it."""
    config = PRESETS[PRESET]
    dives = [dive for dive in read_dataset(DATASET) if dive.score is not None][:CLIPS]
    groups = [tuple(range(len(dives)))]

    def batch(cache: ClipCache, epoch: int) -> PairBatch:
        return collate(groups, dives, cache.load, frame_size=config.frame_size, seed=0, epoch=epoch)

    def shortest(cache: ClipCache) -> float:
        batch(cache, 0)
        times = []
        for epoch in range(repeats):
            started = time.perf_counter()
            batch(cache, epoch)
            times.append(time.perf_counter() - started)
        return min(times)

    with tempfile.TemporaryDirectory() as folder:
        decoded, cached = (
            shortest(ClipCache(where, geometry=config.geometry, frame_size=config.frame_size))
            for where in (None, Path(folder))
        )
        one = batch(ClipCache(Path(folder), geometry=config.geometry, frame_size=config.frame_size), 0)
    return decoded, cached, _step(one, repeats // 2)


def _step(batch: PairBatch, repeats: int) -> float:
    model, weights = FineCausal(PRESETS[PRESET]).train(), UncertaintyWeights()
    clips = torch.stack([normalise(each.numpy()) for each in batch.clips])
    times = []
    for _ in range(repeats + 1):
        started = time.perf_counter()
        encoding = model.encode(clips, foreground="all")
        pairs = model.compare(encoding.select(batch.query), encoding.select(batch.exemplar))
        weights(all_losses(encoding.foreground, pairs, batch)).backward()
        times.append(time.perf_counter() - started)
    return min(times[1:])


def table(decoded: float, cached: float, step: float) -> Table:
    """Return the measurement as a table."""
    shown = Table("what", "seconds", "ratio", title=f"training, batches of {CLIPS} clips, {PRESET}")
    shown.add_row("a batch, clips and masks decoded", f"{decoded:.3f}", f"{decoded / cached:.1f} x the cache")
    shown.add_row("the same from a warm cache", f"{cached:.3f}", "")
    shown.add_row("forward and backward", f"{step:.3f}", "")
    shown.add_row("a step, decoding each time", f"{decoded + step:.3f}", f"{(decoded + step) / (cached + step):.2f} x")
    shown.add_row("a step, warm cache", f"{cached + step:.3f}", f"waits {100 * cached / (cached + step):.1f}% of it")
    return shown
