"""Measure training steps with and without cached clips and cached views of a frozen backbone, on one batch."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from rich.table import Table

from finecausal_cli.data.batch import collate, normalise
from finecausal_cli.data.cache import ClipCache
from finecausal_cli.data.datasets import read_dataset
from finecausal_cli.model.config import PRESETS
from finecausal_cli.model.finecausal import FineCausal
from finecausal_cli.model.i3d import to_channels_last
from finecausal_cli.training.batches import Views
from finecausal_cli.training.pairs import UncertaintyWeights, all_losses

if TYPE_CHECKING:
    from collections.abc import Callable

    from finecausal_cli.data.batch import PairBatch
    from finecausal_cli.model.outputs import Encoding

DATASET = Path(__file__).resolve().parent.parent / "examples" / "dataset"
CLIPS = 8
PRESET = "compact"


@dataclass(frozen=True)
class Times:
    """Seconds for a batch of `CLIPS` clips.

    Attributes:
        decoded: Reading it from videos and masks.
        cached: Reading it from a warm clip cache.
        trained: Forward and backward through the whole network.
        encoded: Forward through a frozen backbone.
        kept: Reading its cached views of the frozen backbone.
        heads: Forward and backward through the heads.
    """

    decoded: float
    cached: float
    trained: float
    encoded: float
    kept: float
    heads: float


def measure(repeats: int = 4) -> Times:
    """Measure all six; the shortest of several repeats each."""
    config = PRESETS[PRESET]
    dives = [dive for dive in read_dataset(DATASET) if dive.score is not None][:CLIPS]
    groups = [tuple(range(len(dives)))]
    model = to_channels_last(FineCausal(config))
    with tempfile.TemporaryDirectory() as folder:
        none, warm = (
            ClipCache(where, geometry=config.geometry, frame_size=config.frame_size) for where in (None, Path(folder))
        )
        views = Views(model, warm, Path(folder), 2)

        def batch(cache: ClipCache) -> PairBatch:
            return collate(groups, dives, cache.load, frame_size=config.frame_size, seed=0, epoch=0)

        def kept() -> PairBatch:
            return views.collate(groups, dives, seed=0, epoch=0)

        pairs, stored = batch(warm), kept().encoding
        assert stored is not None  # noqa: S101 -- views have encodings
        frozen = model.for_inference()
        return Times(
            decoded=_shortest(lambda: batch(none), repeats),
            cached=_shortest(lambda: batch(warm), repeats),
            trained=_shortest(lambda: _train_step(model, pairs, None), repeats // 2),
            encoded=_shortest(lambda: _forward(frozen, pairs), repeats // 2),
            kept=_shortest(kept, repeats),
            heads=_shortest(lambda: _train_step(model, pairs, stored), repeats),
        )


def _shortest(work: Callable[[], object], repeats: int) -> float:
    work()
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return min(times)


def _train_step(model: FineCausal, batch: PairBatch, stored: Encoding | None) -> None:
    weights = UncertaintyWeights()
    model.train().zero_grad()
    encoding = (
        model.encode(normalise(batch.clips), foreground="all")
        if stored is None
        else model.project_mask_features(stored)
    )
    pairs = model.compare(encoding.select(batch.query), encoding.select(batch.exemplar))
    weights(all_losses(encoding.foreground, pairs, batch)).backward()


def _forward(model: FineCausal, batch: PairBatch) -> None:
    with torch.inference_mode():
        model.encode(normalise(batch.clips))


def table(times: Times) -> Table:
    """Return the measurement as a table."""
    shown = Table("what", "seconds", "ratio", title=f"training, batches of {CLIPS} clips, {PRESET}, fp32")
    feeding = f"{times.decoded / times.cached:.0f} x the cache"
    shown.add_row("a batch, clips and masks decoded", f"{times.decoded:.3f}", feeding)
    shown.add_row("the same from a warm cache", f"{times.cached:.3f}", "", end_section=True)
    for name, each_time, warm, work in (
        ("whole network", times.decoded, times.cached, times.trained),
        ("frozen backbone", times.decoded + times.encoded, times.kept, times.heads),
    ):
        before, after = each_time + work, warm + work
        kept = "clips" if work is times.trained else "views"
        shown.add_row(f"{name}: a step, decoding each time", f"{before:.3f}", "")
        waits = f"{before / after:.1f} x, waits {warm / after:.1%} of it"
        shown.add_row(f"{name}: a step, {kept} kept", f"{after:.3f}", waits, end_section=True)
    return shown
