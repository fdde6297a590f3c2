"""The backbone that reads bodies in place of pictures: temporal convolutions over joints, path and splash (ours)."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from finecausal_cli.model.config import SNIPPET_FRAMES, SNIPPET_STRIDE

TRACK_CHANNELS: Final = 111
"""Numbers that describe a body at one moment: ``athlete.track.CHANNELS``."""

VECTOR_FEATURES: Final = 128
"""Features of one frame, as many as the ``frames`` backbone has: the dive-number classifier reads either."""

FAMILIAR_AXES: Final = 24
"""Axes along which a dive's distance from the calibration dives is measured."""

_DILATIONS: Final = (1, 2, 4, 8, 16, 1)
_KERNEL: Final = 5
_DROPOUT: Final = 0.15


class TemporalBlock(nn.Module):
    """A dilated convolution over time, then one over features, around a shortcut, pre-norm."""

    def __init__(self, features: int, dilation: int) -> None:
        super().__init__()
        padding = dilation * (_KERNEL // 2)
        self.norm = nn.GroupNorm(8, features)
        self.conv_a = nn.Conv1d(features, features, _KERNEL, padding=padding, dilation=dilation)
        self.conv_b = nn.Conv1d(features, features, 1)
        self.dropout = nn.Dropout(_DROPOUT)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, features, F] to the same shape."""
        result: Tensor = x + self.dropout(self.conv_b(functional.gelu(self.conv_a(self.norm(x)))))
        return result


class SkeletonBackbone(nn.Module):
    """Encode tracks of bodies.

    Args:
        width: Width multiplier: D = 1024 * width.
    """

    familiar: Tensor
    familiar_distance: Tensor

    def __init__(self, width: float) -> None:
        super().__init__()
        self.features = round(1024 * width)
        self.enter = nn.Conv1d(TRACK_CHANNELS, VECTOR_FEATURES, 1)
        self.blocks = nn.Sequential(*(TemporalBlock(VECTOR_FEATURES, dilation) for dilation in _DILATIONS))
        self.leave = nn.GroupNorm(8, VECTOR_FEATURES)
        self.snippet = nn.Linear(2 * VECTOR_FEATURES, self.features)
        # Mean and whitened axes of the encodings of calibration dives, and the distance that 95% of them keep.
        self.register_buffer("familiar", torch.zeros(1 + FAMILIAR_AXES, self.features))
        self.register_buffer("familiar_distance", torch.zeros(()))

    def unfamiliarity(self, fused: Tensor) -> Tensor:
        """Return how far dives are from the calibration dives [B], 1 for the farthest but 5% of these.

        Args:
            fused: [B, S, D], fused features.
        """
        away = fused.mean(dim=1) - self.familiar[0]
        distance = (away @ self.familiar[1:].T).square().mean(dim=1).sqrt()
        return distance / self.familiar_distance.clamp(min=1e-6)

    def forward(self, tracks: Tensor) -> tuple[Tensor, Tensor]:
        """Map tracks [B, TRACK_CHANNELS, F] to video features [B, S, D] and frame vectors [B, F, 128]."""
        vectors = self.leave(self.blocks(self.enter(tracks)))
        cut = vectors.unfold(2, SNIPPET_FRAMES, SNIPPET_STRIDE)
        pooled = torch.cat([cut.mean(-1), cut.amax(-1)], dim=1).transpose(1, 2)
        return functional.relu(self.snippet(pooled)), vectors.transpose(1, 2)


class SkeletonParser(nn.Module):
    """Mask features of a track, from its video features: which of them belong to the athlete's own doing.

    There is no picture, so there is neither a backbone of its own nor a foreground to decode.
    """

    trunk: None = None
    heads: None = None

    def __init__(self, features: int) -> None:
        super().__init__()
        self.project = nn.Linear(features, features)

    def forward(self, video: Tensor) -> Tensor:
        """Map [B, S, D] to mask features, before the sigmoid, of the same shape."""
        mask: Tensor = self.project(video)
        return mask
