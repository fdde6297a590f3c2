"""The backbone that reads bodies in place of pictures: temporal convolutions over joints, path and splash (ours)."""

from __future__ import annotations

from functools import lru_cache
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


def mirror_tracks(tracks: Tensor) -> Tensor:
    """Return tracks [..., TRACK_CHANNELS, F] as they are in the mirrored picture, with left and right exchanged."""
    order, sign = _mirrored_channels()
    return tracks[..., order, :] * tracks.new_tensor(sign)[:, None]


_MIDDLE_JOINTS, _SIDE_JOINTS, _SIDE_LIMBS = 3, 6, 4


@lru_cache(maxsize=1)
def _mirrored_channels() -> tuple[list[int], list[float]]:
    """Return from which channel each one comes, and its sign; in the order of ``athlete.track.track_features``."""
    left, right = (range(first, first + _SIDE_JOINTS) for first in (_MIDDLE_JOINTS, _MIDDLE_JOINTS + _SIDE_JOINTS))
    joints = [*range(_MIDDLE_JOINTS), *right, *left]
    limbs = [*range(_SIDE_LIMBS, 2 * _SIDE_LIMBS), *range(_SIDE_LIMBS)]
    places = [2 * joint + axis for joint in joints for axis in (0, 1)]
    order: list[int] = []
    sign: list[float] = []
    for part, signs in (
        (places, [-1.0, 1.0] * len(joints)),  # right and up
        (places, [1.0, -1.0] * len(joints)),  # along and across the trunk
        (joints, [1.0] * len(joints)),  # confidence
        (range(3), [-1.0, 1.0, -1.0]),  # cosine and sine of the trunk's direction, its spin
        (range(4), [-1.0, 1.0, -1.0, 1.0]),  # path and speed
        (range(7), [1.0] * 7),  # whether it is seen, stages, times
        (limbs, [1.0] * len(limbs)),  # cosines
        (limbs, [-1.0] * len(limbs)),  # and sines of the limbs' angles
        (range(3), [1.0] * 3),  # area and splash
        (range(3), [1.0, -1.0, 1.0]),  # lean: its size, itself, how sure it is
    ):
        order += [len(sign) + index for index in part]
        sign += signs
    return order, sign


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
