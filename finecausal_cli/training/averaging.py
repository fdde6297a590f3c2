"""A running mean of the weights: what is validated and kept when ``ema`` is on."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

Tensors = tuple[Tensor, ...] | list[Tensor]

_WARMUP = 10
"""After n steps the mean keeps at most (1 + n) / (10 + n) of itself, or a short run would end near where it began."""


def averaged(model: nn.Module, decay: float) -> AveragedModel:
    """Return a copy of a network that follows it: new = kept share * old + rest * current, buffers too.

    Args:
        model: The network; give it to ``update_parameters`` after each step.
        decay: Share that the mean keeps at a step, 0..1, reached as the run goes on.
    """

    def follow(means: Tensors, currents: Tensors, count: Tensor | int) -> None:
        done = int(count)
        kept = min(decay, (1 + done) / (_WARMUP + done))
        if means[0].is_floating_point():
            torch._foreach_lerp_(means, currents, 1 - kept)
        else:  # counters
            torch._foreach_copy_(means, currents)

    mean = AveragedModel(model, multi_avg_fn=follow, use_buffers=True)
    mean.requires_grad_(requires_grad=False)
    return mean.eval()
