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

import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table

from finecausal_cli.data.batch import PairBatch, stage_execution
from finecausal_cli.data.cache import ClipCache
from finecausal_cli.data.open import read_dataset
from finecausal_cli.data.pairing import pairs_of, plan_epoch
from finecausal_cli.data.places import default_cache
from finecausal_cli.data.splits import assign_splits
from finecausal_cli.evaluation.predict import Summary, bank_of, mean_execution, predict, summarise
from finecausal_cli.exemplars.encode import EncodedDives, encode_dives
from finecausal_cli.model.finecausal import FineCausal
from finecausal_cli.training.losses import UncertaintyWeights, all_losses
from finecausal_cli.training.step import rate_at
from finecausal_cli.weights.registry import resolve_weights
from finecausal_cli.weights.store import load_weights

if TYPE_CHECKING:
    from finecausal_cli.model.config import ModelConfig

VARIANTS = {
    "full": {},
    "no GAT": {"gat": False},
    "no TCA": {"tca": False},
    "neither": {"gat": False, "tca": False},
}
GROUP, GROUPS, LEARNING_RATE, WEIGHT_DECAY, CLIP_NORM, VOTERS = 4, 3, 1e-3, 1e-2, 5.0, 10


@dataclass(frozen=True)
class Task:
    """What every variant is trained and tested on."""

    training: EncodedDives
    test: EncodedDives
    epochs: int


def batch_of(task: Task, indices: list[int], pairs: list[tuple[int, int]]) -> PairBatch:
    """Return the targets of a batch without its pictures, which the heads do not read."""
    dives = [task.training.dives[index] for index in indices]
    transitions = [task.training.transitions[index] or (-1, -1) for index in indices]
    nothing = torch.zeros(len(indices), 0)
    return PairBatch(
        clips=nothing,
        masks=nothing,
        has_mask=torch.zeros(len(indices), dtype=torch.bool),
        transitions=torch.tensor(transitions),
        execution=torch.tensor([dive.execution for dive in dives], dtype=torch.float32),
        stage_execution=torch.tensor([stage_execution(dive) for dive in dives], dtype=torch.float32),
        query=torch.tensor([query for query, _ in pairs]),
        exemplar=torch.tensor([exemplar for _, exemplar in pairs]),
    )


def train_heads(task: Task, config: ModelConfig, seed: int) -> FineCausal:
    """Train everything behind the trunk."""
    torch.manual_seed(seed)
    model, weights = FineCausal(config).train(), UncertaintyWeights()
    frozen = {id(p) for trunk in (model.video_trunk, model.parser) if trunk is not None for p in trunk.parameters()}
    heads = [p for p in model.parameters() if id(p) not in frozen]
    optimizer = torch.optim.AdamW(
        [{"params": heads}, {"params": [*weights.parameters()], "lr": 10 * LEARNING_RATE, "weight_decay": 0.0}],
        lr=LEARNING_RATE,
        weight_decay=WEIGHT_DECAY,
    )
    numbers = [dive.number for dive in task.training.dives]
    plans = [
        plan_epoch(numbers, group=GROUP, groups_per_batch=GROUPS, seed=seed, epoch=epoch)
        for epoch in range(task.epochs)
    ]
    steps = sum(map(len, plans))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate_at(step, steps, 0.05))
    for groups in (groups for plan in plans for groups in plan):
        indices = [index for group in groups for index in group]
        batch = batch_of(task, indices, pairs_of(groups))
        encodings = task.training.encodings.select(indices)
        known = torch.stack([batch.transitions[batch.query], batch.transitions[batch.exemplar]], 1)
        pairs = model.compare(
            encodings.select(batch.query),
            encodings.select(batch.exemplar),
            transitions=None if bool((known < 0).any()) else known,
        )
        loss = weights(all_losses(None, pairs, batch))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(heads, CLIP_NORM)
        optimizer.step()
        schedule.step()
    return model.eval()


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
    task = Task(encoded[0], encoded[1], epochs)
    table = Table("variant", "seed", "rho", "R-l2", "AIoU@0.5", "AIoU@0.75", "mean error")
    last: Summary | None = None
    for name, change in VARIANTS.items():
        rhos = []
        for seed in range(seeds):
            config = loaded.config.model_copy(update=change)
            last = measure(task, train_heads(task, config, seed))
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
