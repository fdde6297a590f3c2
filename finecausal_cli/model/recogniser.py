"""Recognise the dive number from the frames, one part of the number at a time (ours, not the paper's).

A number is a sentence about the motion: which way the body turns, how often, how it is held. So its parts are told
apart, not the numbers: a number that was never seen is recognised by parts that were. What the trunk's frames say of
turn and posture is read in its order over the whole dive; the snippets' features, made to tell good from bad, have lost
most of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from finecausal_cli.diving.number import POSITIONS
from finecausal_cli.model.config import FRAMES
from finecausal_cli.model.frames import FRAME_FEATURES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from finecausal_cli.diving.number import DiveNumber

PARTS = {"group": 7, "flying": 2, "direction": 5, "half_somersaults": 12, "half_twists": 10, "position": len(POSITIONS)}
"""The parts of a dive number, and how many values each may have, counted from 0."""

OPINIONS = sum(PARTS.values())
"""K, values in which a recogniser says what it thinks of a dive."""

_CHANNELS = 128
_HALVINGS = 4
_HIDDEN = 256
_DROPOUT = 0.3


class NumberRecogniser(nn.Module):
    """Say of every part of a dive's number how likely each value is."""

    temperature: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.standardise = nn.BatchNorm1d(FRAME_FEATURES, affine=False)
        self.look = nn.Linear(FRAME_FEATURES, _CHANNELS)
        self.order = nn.ModuleList(
            nn.Sequential(
                nn.Conv1d(_CHANNELS, _CHANNELS, 5, stride=2, padding=2), nn.GroupNorm(1, _CHANNELS), nn.ReLU()
            )
            for _ in range(_HALVINGS)
        )
        self.decide = nn.Sequential(
            nn.Dropout(_DROPOUT),
            nn.Linear(_CHANNELS * FRAMES // 2**_HALVINGS, _HIDDEN),
            nn.ReLU(),
            nn.Dropout(_DROPOUT),
            nn.Linear(_HIDDEN, OPINIONS),
        )
        self.register_buffer("temperature", torch.ones(()))

    def forward(self, vectors: Tensor) -> Tensor:
        """Map the frames' vectors [B, F, 128] to logits [B, K], part after part in the order of `PARTS`."""
        seen = functional.relu(self.look(self.standardise(vectors.transpose(1, 2)).transpose(1, 2)))
        ordered = functional.dropout(seen, _DROPOUT, self.training).transpose(1, 2)
        for halve in self.order:
            ordered = halve(ordered)
        logits: Tensor = self.decide(ordered.flatten(1)) / self.temperature
        return logits


def values_of(number: DiveNumber) -> list[int]:
    """Return the values of a number's parts, in the order of `PARTS`."""
    return [
        number.group,
        int(number.flying),
        number.direction,
        number.half_somersaults,
        number.half_twists,
        [*POSITIONS].index(number.position),
    ]


def log_chances(opinions: Tensor, numbers: Sequence[DiveNumber]) -> Tensor:
    """Return how likely each of some numbers is, if it is one of them.

    Args:
        opinions: [B, K], what a recogniser said.
        numbers: N numbers, 1 or more.

    Returns:
        Logarithms of probabilities [B, N] that add up to 1.
    """
    values = torch.tensor([values_of(number) for number in numbers], device=opinions.device)
    parts = torch.split_with_sizes(opinions.float(), [*PARTS.values()], dim=1)
    each = [functional.log_softmax(part, 1)[:, values[:, place]] for place, part in enumerate(parts)]
    return functional.log_softmax(torch.stack(each).sum(0), 1)
