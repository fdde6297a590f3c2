"""Stage features: cut a dive at its transitions and describe each stage by a few tokens (paper section 3.3)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from finecausal_cli.model.config import SNIPPET_STRIDE, SNIPPETS, STAGE_TOKENS, STAGES, TOKEN_FEATURES
from finecausal_cli.model.double_conv import double_conv

SAMPLES = 4
"""Steps each stage is resampled to, however long it lasts."""


def resample(sequence: Tensor, start: Tensor, end: Tensor, samples: int) -> Tensor:
    """Cut a span from every sequence and interpolate it linearly, ends included.

    Spans are clipped to the sequence and hold one element at least; a span of one element is repeated.

    Args:
        sequence: [B, length, c].
        start: int64 [B], first element.
        end: int64 [B], exclusive.
        samples: Elements in the result.

    Returns:
        [B, samples, c].
    """
    batch, length, _ = sequence.shape
    start = start.clamp(0, length - 1)
    end = torch.maximum(end.clamp(max=length), start + 1)
    spacing = (end - start - 1).to(sequence.dtype) / (samples - 1)
    position = spacing[:, None] * torch.arange(samples, device=sequence.device)
    below = position.long()
    share = (position - below)[..., None]
    below = below + start[:, None]
    above = torch.minimum(below + 1, end[:, None] - 1)
    rows = torch.arange(batch, device=sequence.device)[:, None]
    return torch.lerp(sequence[rows, below], sequence[rows, above], share)


def stage_spans(transitions: Tensor) -> tuple[tuple[Tensor, Tensor], ...]:
    """Find the snippets of each stage, the same ones for both dives of a pair.

    Args:
        transitions: int64 [B, 2, 2], frames of (first, last) transition for query and exemplar.

    Returns:
        (start, end) for each stage, int64 [B], neighbours overlapping by one or two snippets.
    """
    first, last = torch.div(transitions.sum(dim=1), 2 * SNIPPET_STRIDE, rounding_mode="floor").unbind(dim=-1)
    return (torch.zeros_like(first), first + 1), (first, last + 1), (last - 1, torch.full_like(last, SNIPPETS))


class StageReducer(nn.Module):
    """Turn one stage, resampled to 4 steps of D features, into 12 tokens of 64."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.convs = nn.Sequential(double_conv(SAMPLES, 8), double_conv(8, STAGE_TOKENS))
        self.reduce = nn.Sequential(
            nn.Linear(features, features // 2),
            nn.ReLU(inplace=True),
            nn.Linear(features // 2, features // 4),
            nn.ReLU(inplace=True),
            nn.Linear(features // 4, TOKEN_FEATURES),
            nn.ReLU(inplace=True),
        )

    def forward(self, stage: Tensor) -> Tensor:
        """Map [B, 4, D] to tokens [B, T, 64]."""
        tokens: Tensor = self.reduce(self.convs(stage))
        return tokens


class StageFeatures(nn.Module):
    """Describe the three stages of both dives, one reducer a stage."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.reducers = nn.ModuleDict({stage: StageReducer(features) for stage in STAGES})

    def pool(self, features: Tensor, transitions: Tensor) -> Tensor:
        """Cut and resample: features [B, 2, S, D] and transitions int64 [B, 2, 2] to [B, 2, G, 4, D]."""
        flat = features.flatten(0, 1)
        stages = [
            resample(flat, start.repeat_interleave(2), end.repeat_interleave(2), SAMPLES)
            for start, end in stage_spans(transitions)
        ]
        return torch.stack(stages, dim=1).reshape(-1, 2, len(STAGES), *stages[0].shape[1:])

    def forward(self, features: Tensor, transitions: Tensor) -> Tensor:
        """Map features [B, 2, S, D], cut at transitions int64 [B, 2, 2], to tokens [B, 2, G, T, 64]."""
        pooled = self.pool(features, transitions)
        tokens = [
            reducer(stage.flatten(0, 1))
            for reducer, stage in zip(self.reducers.values(), pooled.unbind(dim=2), strict=True)
        ]
        return torch.stack(tokens, dim=1).reshape(-1, 2, len(STAGES), STAGE_TOKENS, TOKEN_FEATURES)
