"""What training minimises: foreground, transitions, regression and stages, weighted by learned uncertainty.

The first three are the paper's. The fourth is ours: the paper's loss sees the stages only in their weighted sum, which
many other divisions among the stages give as well. Where it is known what each stage cost a dive (simulated dives
know), the fourth holds every stage to its own share.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from finecausal_cli.data.cache import NO_TRANSITION
from finecausal_cli.model.config import STAGE_WEIGHTS
from finecausal_cli.video.clip import CLIP_FRAMES, SNIPPET_FRAMES, SNIPPET_STARTS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from finecausal_cli.data.batch import PairBatch
    from finecausal_cli.model.outputs import PairOutput

LOSS_NAMES = ("foreground", "transitions", "regression", "stages")
"""The four losses, in the order of the learned weights."""

FOCAL_GAMMA = 2.0
FOCAL_ALPHA = 0.75
"""Weight of foreground pixels against background ones: an athlete covers a few percent of the picture."""

EXECUTION_SPREAD = 5.0
"""Typical spread of execution between dives; puts the regression loss on the scale of the other losses."""

STAGE_SPREAD = EXECUTION_SPREAD / math.sqrt(len(STAGE_WEIGHTS))
"""Spread of one stage's share, if independent stages of equal spread make that of the whole."""


class UncertaintyWeights(nn.Module):
    """Weight losses by learned uncertainty: sum of L / (2 s^2) + log(1 + s^2).

    Source: Kendall et al. 2018, in the positive form of Liebel and Koerner 2018 that the released code uses.
    """

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(len(LOSS_NAMES)))

    def forward(self, losses: Mapping[str, Tensor], shares: Mapping[str, float] | None = None) -> Tensor:
        """Combine the losses that are present; a batch without masks, say, has no foreground loss.

        Args:
            losses: Mean losses by name.
            shares: Of the targets of a whole batch, the share that each of these means is over; all by default. What a
                batch's parts give then adds up to what the batch gives.
        """
        total = self.scale.new_zeros(())
        for place, name in enumerate(LOSS_NAMES):
            if name in losses:
                variance = self.scale[place].square()
                weighed = losses[name] / (2 * variance) + torch.log1p(variance)
                total = total + weighed * (1.0 if shares is None else shares[name])
        return total


def count_targets(batch: PairBatch) -> dict[str, int]:
    """Count what each loss is a mean over: masks, transitions, pairs and stages that are known."""
    transitions = torch.stack([batch.transitions[batch.query], batch.transitions[batch.exemplar]])
    stages = batch.stage_execution[batch.query] - batch.stage_execution[batch.exemplar]
    return {
        "foreground": int(batch.has_mask.sum()),
        "transitions": int((transitions != NO_TRANSITION).sum()),
        "regression": len(batch.query),
        "stages": int((~stages.isnan()).sum()),
    }


def foreground_loss(logits: Sequence[Tensor], batch: PairBatch) -> Tensor | None:
    """Focal loss of the mask predictions (Lin et al. 2017), averaged over pixels, then over predictions.

    Args:
        logits: Mask predictions [U, 9, 16, S, S].
        batch: The batch; dives without a mask do not count.

    Returns:
        A scalar, or None if no dive has a mask.
    """
    if not bool(batch.has_mask.any()):
        return None
    snippets = [batch.masks[:, start : start + SNIPPET_FRAMES] for start in SNIPPET_STARTS]
    target = torch.stack(snippets, 1)[batch.has_mask].to(logits[0].dtype)
    return torch.stack([_focal(one[batch.has_mask], target) for one in logits]).mean()


def _focal(logits: Tensor, target: Tensor) -> Tensor:
    entropy = functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
    wrongness = 1 - torch.exp(-entropy)
    alpha = FOCAL_ALPHA * target + (1 - FOCAL_ALPHA) * (1 - target)
    return (alpha * wrongness**FOCAL_GAMMA * entropy).mean()


def transition_loss(pairs: PairOutput, batch: PairBatch) -> Tensor | None:
    """Binary cross-entropy of the 96 frame probabilities against the one frame where a stage begins.

    Returns:
        A scalar, or None if no transition is known.
    """
    transitions = torch.stack([batch.transitions[batch.query], batch.transitions[batch.exemplar]], 1)
    known = (transitions != NO_TRANSITION).unsqueeze(2)
    if not bool(known.any()):
        return None
    target = functional.one_hot(transitions.clamp(min=0), CLIP_FRAMES).transpose(2, 3)
    known_frames = known.expand(-1, -1, CLIP_FRAMES, -1)
    entropy = functional.binary_cross_entropy_with_logits(
        pairs.frame_logits, target.to(pairs.frame_logits.dtype), reduction="none"
    )
    return entropy[known_frames].mean()


def regression_loss(pairs: PairOutput, batch: PairBatch) -> Tensor:
    """Mean squared error of the execution difference, in both directions, in units of ``EXECUTION_SPREAD``."""
    difference = batch.execution[batch.query] - batch.execution[batch.exemplar]
    target = torch.stack([difference, -difference], 1)
    return functional.mse_loss(pairs.delta / EXECUTION_SPREAD, target / EXECUTION_SPREAD)


def stage_loss(pairs: PairOutput, batch: PairBatch) -> Tensor | None:
    """Mean squared error of what each stage adds to the difference, in both directions, in units of ``STAGE_SPREAD``.

    Returns:
        A scalar, or None if of no pair both dives' stages are known.
    """
    difference = batch.stage_execution[batch.query] - batch.stage_execution[batch.exemplar]
    target = torch.stack([difference, -difference], 1)
    known = ~target.isnan()
    if not bool(known.any()):
        return None
    added = pairs.stage_deltas * pairs.stage_deltas.new_tensor(STAGE_WEIGHTS)
    return functional.mse_loss(added[known] / STAGE_SPREAD, target[known] / STAGE_SPREAD)


def all_losses(
    foreground: Sequence[Tensor] | None, pairs: PairOutput, batch: PairBatch, *, stages: bool = True
) -> dict[str, Tensor]:
    """Compute every loss whose targets the batch has, by name; ``stages`` says whether the fourth is wanted."""
    losses: dict[str, Tensor] = {"regression": regression_loss(pairs, batch)}
    for name, loss in (
        ("foreground", None if foreground is None else foreground_loss(foreground, batch)),
        ("transitions", transition_loss(pairs, batch)),
        ("stages", stage_loss(pairs, batch) if stages else None),
    ):
        if loss is not None:
            losses[name] = loss
    return losses
