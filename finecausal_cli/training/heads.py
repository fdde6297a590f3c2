"""Train what stands behind the trunk on encodings made once: minutes instead of hours on a CPU.

A trunk that stays as it is gives a dive the same features every time, so they are computed once. What is lost is
augmentation and a trunk that goes on learning; ``finecausal train --init`` has both.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch

from finecausal_cli.data.batch import PairBatch, stage_execution
from finecausal_cli.data.cache import NO_TRANSITION
from finecausal_cli.data.pairing import Group, pairs_of, plan_epoch
from finecausal_cli.model.finecausal import FineCausal
from finecausal_cli.training.losses import UncertaintyWeights, all_losses
from finecausal_cli.training.step import rate_at

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from finecausal_cli.data.dive import Dive
    from finecausal_cli.model.config import ModelConfig
    from finecausal_cli.model.outputs import Encoding

_WARMUP, _WEIGHT_DECAY, _CLIP_NORM, _SCALE_FACTOR = 0.05, 1e-2, 5.0, 10


@dataclass(frozen=True)
class HeadOptions:
    """How to train.

    Attributes:
        epochs: Times every dive is seen.
        group: Dives of one number in a group; every two of them are a pair.
        groups_per_batch: Groups in an optimiser step.
        lr: Peak learning rate.
        seed: Fixes initial weights, order and dropout.
        gate: Whether the map to the mask features, where trunks are shared, is trained too.
    """

    epochs: int = 12
    group: int = 4
    groups_per_batch: int = 3
    lr: float = 1e-3
    seed: int = 0
    gate: bool = True


def train_heads(
    config: ModelConfig,
    dives: Sequence[Dive],
    encodings: Encoding,
    transitions: Sequence[tuple[int, int] | None],
    options: HeadOptions,
    *,
    report: Callable[[int, int, float], object] = lambda *_: None,
) -> FineCausal:
    """Train everything behind the trunk from scratch.

    Args:
        config: The network.
        dives: The training dives.
        encodings: Theirs, in order, by the trunk that the network shall have.
        transitions: Sampled frames at which flight and entry begin; None where unknown.
        options: How.
        report: Called with step, steps and loss after each step.

    Returns:
        A network in evaluation mode; its trunk is not the one that made the encodings.
    """
    torch.manual_seed(options.seed)
    model, weights = FineCausal(config).train(), UncertaintyWeights()
    gate = model.parser.project if options.gate else None
    frozen = {id(each) for part in (model.video_trunk, model.parser) for each in part.parameters()}
    heads = [each for each in model.parameters() if id(each) not in frozen]
    heads += [] if gate is None else [*gate.parameters()]
    parts: list[dict[str, Any]] = [
        {"params": heads},
        {"params": [*weights.parameters()], "lr": _SCALE_FACTOR * options.lr, "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(parts, lr=options.lr, weight_decay=_WEIGHT_DECAY)
    plan = _plan(dives, options)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate_at(step, len(plan), _WARMUP))
    for step, groups in enumerate(plan):
        indices = [index for group in groups for index in group]
        batch = _targets([dives[each] for each in indices], [transitions[each] for each in indices], pairs_of(groups))
        seen = encodings.select(indices)
        if gate is not None:
            seen = replace(seen, mask=gate(seen.video))
        known = torch.stack([batch.transitions[batch.query], batch.transitions[batch.exemplar]], 1)
        pairs = model.compare(
            seen.select(batch.query),
            seen.select(batch.exemplar),
            transitions=None if bool((known == NO_TRANSITION).any()) else known,
        )
        loss = weights(all_losses(None, pairs, batch))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(heads, _CLIP_NORM)
        optimizer.step()
        schedule.step()
        report(step, len(plan), float(loss.detach()))
    return model.eval()


def _plan(dives: Sequence[Dive], options: HeadOptions) -> list[list[Group]]:
    numbers = [dive.number for dive in dives]
    return [
        groups
        for epoch in range(options.epochs)
        for groups in plan_epoch(
            numbers, group=options.group, groups_per_batch=options.groups_per_batch, seed=options.seed, epoch=epoch
        )
    ]


def _targets(
    dives: Sequence[Dive], transitions: Sequence[tuple[int, int] | None], pairs: Sequence[tuple[int, int]]
) -> PairBatch:
    """Return the targets of a batch without its pictures, which the heads do not read."""
    nothing = torch.zeros(len(dives), 0)
    return PairBatch(
        clips=nothing,
        masks=nothing,
        has_mask=torch.zeros(len(dives), dtype=torch.bool),
        transitions=torch.tensor([one or (NO_TRANSITION, NO_TRANSITION) for one in transitions]),
        execution=torch.tensor([dive.execution for dive in dives], dtype=torch.float32),
        stage_execution=torch.tensor([stage_execution(dive) for dive in dives], dtype=torch.float32),
        query=torch.tensor([query for query, _ in pairs]),
        exemplar=torch.tensor([exemplar for _, exemplar in pairs]),
    )
