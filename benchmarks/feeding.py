"""Measure how fast training is fed: with a stand-in for the network that takes a fixed time a step.

It needs no GPU. Run it alone, on an idle machine, on simulated dives (``finecausal simulate``):
``python -m benchmarks.feeding DATASET --workers 0 2``. With ``--device cuda`` batches are pinned, copied and prepared
on the GPU in every step, before the stand-in.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from finecausal_cli.data.batch import BackgroundSwap
from finecausal_cli.data.cache import ClipCache, fill, load_ahead
from finecausal_cli.device import available_cores, resolve_device
from finecausal_cli.model.config import PRESETS
from finecausal_cli.training import PretrainOptions
from finecausal_cli.training.batches import ClipVariation
from finecausal_cli.training.motion_pretraining import HeldOutDives, PretrainData, SnippetBatches
from finecausal_cli.training.motion_snippets import Snippets
from finecausal_cli.training.trainer import Task, Trainer, TrainerConfig, start_accelerator

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from finecausal_cli.data import Dive

STEP_S = 1 / 60
"""What a step of the network takes: pretraining on a GPU is to make 60 a second."""

DIVES, SNIPPETS = 8, 2
"""Sixteen snippets a step."""


class StandIn(Task[Snippets]):
    """Takes a fixed time a step in place of a network.

    Args:
        data: Simulated dives.
        options: Of the pretraining whose batches are read.
        step_s: Seconds a step; a validated dive takes as long.
        device: Where batches are brought; on a GPU they are prepared there.
    """

    def __init__(self, data: PretrainData, options: PretrainOptions, step_s: float, device: torch.device) -> None:
        self.network: nn.Module = nn.Linear(1, 1)
        scale = data.training.scale()
        self.batch = SnippetBatches(data.training, scale, options, (options.seed, 0))
        self.held_out_batch = HeldOutDives(data.held_out, scale)
        self._held_out, self._step_s, self._device = len(data.held_out), step_s, device

    def held_out_count(self, *, is_last: bool) -> int:
        """Return how many dives a validation reads."""
        return self._held_out

    def loss(self, network: nn.Module, batch: Snippets, device: torch.device) -> tuple[Tensor, dict[str, Tensor]]:
        """Return a loss of nothing, after a while."""
        self._take(batch)
        loss: Tensor = network.weight.sum()  # type: ignore[operator]
        return loss, {}

    def validate(
        self, network: nn.Module, device: torch.device, *, is_last: bool = True, held_out: Iterator[Any] | None = None
    ) -> dict[str, Any]:
        """Read the held-out dives, each of which takes a step's time."""
        for batch in self.held_out(is_last=is_last) if held_out is None else held_out:
            self._take(batch)
        return {}

    def lr_factor(self, step: int, steps: int) -> float:
        """Return one."""
        return 1.0

    def _take(self, batch: Snippets) -> None:
        if self._device.type == "cuda":
            batch.to(self._device).prepare()
            torch.cuda.synchronize(self._device)
        time.sleep(self._step_s)


@dataclass(frozen=True)
class Fed:
    """How a stand-in was fed by so many processes.

    Attributes:
        workers: Processes that cut snippets ahead; 0 cuts them in between.
        steps_per_s: Steps a second, validations included.
        waiting: Share of the time in which it waited for a batch, 0..1.
    """

    workers: int
    steps_per_s: float
    waiting: float


def feed(
    data: PretrainData, workers: int, *, steps: int, step_s: float, device: torch.device, validate_every: int | None
) -> Fed:
    """Run a stand-in for some steps, with the trainer and the batches of pretraining."""
    options = PretrainOptions(dives=DIVES, snippets=SNIPPETS, at_takeoff=0.4)
    task = StandIn(data, options, step_s, device)
    config = TrainerConfig(steps=steps, lr=1e-9, validate_every=validate_every, workers=workers)
    trainer = Trainer(task, config, start_accelerator(device))
    began = time.perf_counter()
    trainer.fit()
    seconds = time.perf_counter() - began
    return Fed(workers, steps / seconds, trainer.waiting_share)


def cutting_s(data: PretrainData, batches: int = 20) -> float:
    """Return the processor time in which one process cuts a batch, seconds."""
    cut = SnippetBatches(data.training, data.training.scale(), PretrainOptions(dives=DIVES, snippets=SNIPPETS), (0, 0))
    cut(batches)
    began = time.process_time()
    for step in range(batches):
        cut(step)
    return (time.process_time() - began) / batches


def rate_of_views(clips: ClipCache, dives: Sequence[Dive], workers: int, swap: BackgroundSwap | None) -> float:
    """Return how many views a second are read and varied, to be encoded: three a dive."""
    vary = ClipVariation(clips, clips.frame_size, 3, swap)
    began = time.perf_counter()
    views = sum(len(one.frames) for one in load_ahead(vary, dives, workers=workers))
    return views / (time.perf_counter() - began)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.feeding", description=__doc__.splitlines()[0])
    parser.add_argument("dataset", type=Path, help="simulated dives")
    parser.add_argument("--preset", choices=("compact", "finecausal", "reference"), default="finecausal")
    parser.add_argument("--workers", type=int, nargs="+", default=[0, available_cores()])
    parser.add_argument("--steps", type=int, default=240)
    parser.add_argument("--validate-every", type=int, help="steps between validations; none by default")
    parser.add_argument("--step-ms", type=float, default=STEP_S * 1000, help="what a step of the stand-in takes")
    parser.add_argument("--swap-backgrounds", type=float, default=0.5, help="share of the views before others")
    parser.add_argument("--cache", type=Path, help="folder of decoded clips; a new one is filled by default")
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    device, config, console = resolve_device(args.device), PRESETS[args.preset], Console(width=80)
    with tempfile.TemporaryDirectory() as folder:
        clips = ClipCache(args.cache or Path(folder), geometry=config.geometry, frame_size=config.frame_size)
        data = PretrainData.read(args.dataset, clips)
        dives = [dive for dive in data.dives if dive.split != "test"]
        began = time.perf_counter()
        filled = sum(1 for _ in fill(clips, dives))
        seconds = time.perf_counter() - began
        console.print(
            f"cache: {filled} clips in {seconds:.1f} s on {available_cores()} cores: {filled / seconds:.1f}/s"
        )
        seconds = cutting_s(data)
        console.print(f"a batch is cut in {seconds * 1000:.1f} ms of processor time: {1 / seconds:.0f}/s a process")
        fed = Table("workers", "steps/s", "waits", title=f"{DIVES * SNIPPETS} snippets a step of {args.step_ms:.1f} ms")
        for workers in args.workers:
            found = feed(
                data,
                workers,
                steps=args.steps,
                step_s=args.step_ms / 1000,
                device=device,
                validate_every=args.validate_every,
            )
            fed.add_row(str(workers), f"{found.steps_per_s:.1f}", f"{found.waiting:.0%}")
        console.print(fed)
        views = Table("workers", "plain", f"swapped {args.swap_backgrounds:g}", title="views a second, to be encoded")
        swap = BackgroundSwap(dives, clips, args.swap_backgrounds)
        for workers in args.workers:
            rates = [rate_of_views(clips, dives, workers, each) for each in (None, swap)]
            views.add_row(str(workers), *(f"{rate:.0f}" for rate in rates))
        console.print(views)


if __name__ == "__main__":
    main()
