"""Compare the heads with and without the two causal modules on one frozen trunk: minutes instead of hours on a CPU.

``python -m benchmarks.ablation DATASET [--weights compact] [--seeds 2]``. Every dive is encoded once by the trunk of
the given weights; for each variant and seed, everything behind it is trained from scratch on the same pairs, and
scores the dataset's test dives. What the trunk learned, it learned with both modules on; training whole networks is
``finecausal train --ablate``.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import track
from rich.table import Table

from finecausal_cli.data.cache import ClipCache
from finecausal_cli.data.open import read_dataset
from finecausal_cli.data.places import default_cache
from finecausal_cli.data.splits import assign_splits
from finecausal_cli.evaluation.predict import Summary, bank_of, mean_execution, predict, summarise
from finecausal_cli.exemplars.encode import EncodedDives, encode_dives
from finecausal_cli.training.heads import HeadOptions, train_heads
from finecausal_cli.weights.registry import resolve_weights
from finecausal_cli.weights.store import load_weights

if TYPE_CHECKING:
    from collections.abc import Sequence

    from finecausal_cli.data.dive import Dive
    from finecausal_cli.model.finecausal import FineCausal
    from finecausal_cli.model.outputs import Encoding

VARIANTS = {
    "full": {},
    "no GAT": {"gat": False},
    "no TCA": {"tca": False},
    "neither": {"gat": False, "tca": False},
}
VOTERS = 10


@dataclass(frozen=True)
class Task:
    """What every variant is trained and tested on."""

    training: EncodedDives
    test: EncodedDives

    @property
    def lesson(self) -> tuple[Sequence[Dive], Encoding, Sequence[tuple[int, int] | None]]:
        """What heads are trained on."""
        return self.training.dives, self.training.encodings, self.training.transitions


def measure(task: Task, model: FineCausal) -> Summary:
    """Score the test dives against the training dives."""
    bank = bank_of(task.training, name="training dives", weights_digest="ablation")
    baseline = mean_execution((dive.number, dive.execution) for dive in task.training.dives)
    return summarise(predict(model, task.test, bank, baseline=baseline, voters=VOTERS))


def main(dataset: Path, weights: str, seeds: int, epochs: int, limit: int | None, cache: Path) -> None:
    """Train and measure all variants and print the table."""
    loaded = load_weights(resolve_weights(weights))
    clips = ClipCache(cache, geometry=loaded.config.geometry, frame_size=loaded.config.frame_size)
    dives = assign_splits([dive for dive in read_dataset(dataset) if dive.score is not None])
    training, test = ([dive for dive in dives if dive.split == split] for split in ("train", "test"))
    errors = Console(stderr=True)
    encoded = [
        encode_dives(loaded.model, list(track(part, f"encoding {name}", console=errors)), clips)
        for name, part in (("training dives", training[:limit]), ("test dives", test))
    ]
    task = Task(encoded[0], encoded[1])
    table = Table("variant", "seed", "rho", "R-l2", "AIoU@0.5", "AIoU@0.75", "mean error")
    last: Summary | None = None
    for name, change in VARIANTS.items():
        rhos = []
        for seed in range(seeds):
            config = loaded.config.model_copy(update=change)
            options = HeadOptions(epochs=epochs, seed=seed, gate=False)
            last = measure(task, train_heads(config, *task.lesson, options))
            rhos.append(last.rho)
            figures = (last.rho, last.relative_l2, last.aiou_50 or 0.0, last.aiou_75 or 0.0, last.mean_absolute_error)
            table.add_row(name, str(seed), *(f"{figure:.3f}" for figure in figures))
            errors.print(f"{name}, seed {seed}: rho {last.rho:.3f}")
        table.add_row(name, "mean", f"{statistics.mean(rhos):.3f}", "", "", "", "", end_section=True)
    if last is not None:
        baseline = (f"{last.baseline_rho:.3f}", f"{last.baseline_relative_l2:.3f}", "", "")
        table.add_row("mean of each number", "", *baseline, f"{last.baseline_mean_absolute_error:.3f}")
    Console().print(f"{len(encoded[0].dives)} training dives, {len(test)} test dives, {epochs} epochs")
    Console().print(table)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--weights", default="compact")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--train", type=int, default=None, help="use only the first so many training dives")
    parser.add_argument("--cache", type=Path, default=None)
    given = parser.parse_args(sys.argv[1:])
    main(given.dataset, given.weights, given.seeds, given.epochs, given.train, given.cache or default_cache())
