"""Temporal action parser: at which frames a dive passes from stage to stage (paper section 3.3)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from finecausal_cli.model.config import FRAMES, SNIPPETS
from finecausal_cli.model.double_conv import halving_convs

_WIDTHS = (SNIPPETS, 12, 24, 48, 96, FRAMES)
_HALVINGS = len(_WIDTHS) - 2


class TemporalActionParser(nn.Module):
    """Give every frame the odds of being the first or the last transition.

    The snippets are channels and the convolutions run along the features, as in the released code. The last
    layer's 96 channels are the frames.

    Args:
        features: D, length of a snippet's features.
    """

    def __init__(self, features: int) -> None:
        super().__init__()
        row = features >> _HALVINGS
        self.convs = halving_convs(_WIDTHS)
        last = nn.Linear(row, 2)
        nn.init.constant_(last.bias, -math.log(FRAMES - 1))  # one frame in 96 is a transition
        self.classify = nn.Sequential(
            nn.Linear(row, 2 * row), nn.ReLU(inplace=True), nn.Linear(2 * row, row), nn.ReLU(inplace=True), last
        )

    def forward(self, features: Tensor) -> Tensor:
        """Map features [B, S, D] to logits [B, F, 2] for (first, last) transition."""
        logits: Tensor = self.classify(self.convs(features))
        return logits


def locate_transitions(logits: Tensor) -> Tensor:
    """Pick the most likely frames.

    Args:
        logits: [..., F, 2].

    Returns:
        int64 [..., 2], zero-based: the first transition in the first half of the clip, the last one in the second half.
    """
    half = FRAMES // 2
    first = logits[..., :half, 0].argmax(dim=-1)
    last = logits[..., half:, 1].argmax(dim=-1) + half
    return torch.stack((first, last), dim=-1)
