"""Frame encoder: a 2-D network over single frames, and the dive-number classifier on it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from finecausal_cli.diving import POSITIONS
from finecausal_cli.model.config import FRAMES, SNIPPET_FRAMES, SNIPPET_STRIDE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from finecausal_cli.diving import DiveNumber
    from finecausal_cli.model.segmentation import ForegroundRequest


# The backbone of ``compact``, in place of the I3D: a 2-D network over single frames, then temporal convolutions.
#
# An I3D that a CPU can train resolves little of a dive's flight: most of its arithmetic goes into the first 7 x 7 x 7
# convolution, overlapping snippets compute a frame several times, and the mean over a snippet loses where limbs are.
# Here every frame is encoded once, on a grid that keeps positions, and 1-d convolutions read the sixteen vectors of a
# snippet. As with an I3D, the features of a snippet depend on its own frames only.

CHANNELS = (64, 192, 384, 640)
"""Channels of the four depths at width 1; each depth halves the resolution."""

FRAME_FEATURES = 128
"""Length of one frame's vector, at every width."""

_GRID = 7
"""Side of the grid that a frame is pooled to, cells."""

_GRID_CHANNELS = 32
_DEPTH_CHANNELS = 16
_ORDER_CHANNELS = 192
_FULL_SIZE_CHANNELS = 8
_STEM_KERNEL = 5
_CHANNEL_STEP = 8

_CPU_BATCH = 32
"""Frames a batch on a CPU in evaluation mode, so that their maps stay in its cache."""


def cut_frames(clips: Tensor) -> Tensor:
    """Cut clips or snippets [B, 3, F, H, W] into frames [B * F, 3, H, W], clip by clip."""
    return clips.transpose(1, 2).flatten(0, 1).contiguous(memory_format=torch.channels_last)


def by_snippet(frames: Tensor) -> Tensor:
    """Cut values of every frame, [B, F, ...], into overlapping snippets [B, S, 16, ...]."""
    return frames.unfold(1, SNIPPET_FRAMES, SNIPPET_STRIDE).movedim(-1, 2)


def _convolve(inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


class Depth(nn.Module):
    """Downsample by two, then a residual block (He et al., CVPR 2016)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.halve = _convolve(inputs, outputs, stride=2)
        self.look = _convolve(outputs, outputs)
        self.settle = nn.Sequential(nn.Conv2d(outputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, inputs, h, w] to [N, outputs, h / 2, w / 2]."""
        halved = self.halve(x)
        return functional.relu(halved + self.settle(self.look(halved)))


class FrameBackbone(nn.Module):
    """Encode snippets frame by frame.

    Args:
        width: Multiplier of the channel counts; the output has ``1024 * width`` features.
    """

    def __init__(self, width: float) -> None:
        super().__init__()
        self.width = width
        self.features = round(1024 * width)
        self.tap_channels = tuple(
            max(_CHANNEL_STEP, round(channels * width / _CHANNEL_STEP) * _CHANNEL_STEP) for channels in CHANNELS
        )
        first, *deeper = self.tap_channels
        self.stem = _convolve(3, first, _STEM_KERNEL, 2)
        self.depths = nn.ModuleList(
            Depth(inputs, outputs) for inputs, outputs in zip(self.tap_channels, deeper, strict=False)
        )
        self.locate = nn.Sequential(*_convolve(deeper[-1], _GRID_CHANNELS, 1), nn.AdaptiveAvgPool2d(_GRID))
        self.describe = nn.Linear(_GRID_CHANNELS * _GRID**2, FRAME_FEATURES)
        self.order = nn.Sequential(
            nn.Conv1d(FRAME_FEATURES, _ORDER_CHANNELS, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv1d(_ORDER_CHANNELS, _ORDER_CHANNELS, 3, stride=2, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv1d(_ORDER_CHANNELS, _ORDER_CHANNELS, 3, stride=2, padding=1),
            nn.ReLU(inplace=True),
        )
        self.sum_up = nn.Linear(_ORDER_CHANNELS * SNIPPET_FRAMES // 4, self.features)

    def read_frames(self, frames: Tensor, *, taps: bool = False) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Encode frames [N, 3, H, W] as vectors [N, 128]; with `taps`, return the four depths [N, c, h, w] too."""
        if not self.training and frames.device.type == "cpu" and len(frames) > _CPU_BATCH:
            parts = [self.read_frames(part, taps=taps) for part in torch.split(frames, _CPU_BATCH)]
            kept = tuple(torch.cat(level) for level in zip(*(maps for _, maps in parts), strict=True))
            return torch.cat([vectors for vectors, _ in parts]), kept
        x = self.stem(frames)
        kept_maps = [x]
        for depth in self.depths:
            x = depth(x)
            kept_maps.append(x)
        vectors: Tensor = self.describe(self.locate(x).flatten(1))
        return vectors, tuple(kept_maps) if taps else ()

    def join(self, vectors: Tensor) -> Tensor:
        """Map the frame vectors of snippets [..., 16, 128] to features [..., D]."""
        ordered = self.order(vectors.flatten(0, -3).transpose(1, 2))
        features: Tensor = functional.relu(self.sum_up(ordered.flatten(1)))
        return features.reshape(*vectors.shape[:-2], -1)

    def read_clips(self, clips: Tensor, *, taps: bool = False) -> tuple[Tensor, Tensor, tuple[Tensor, ...]]:
        """Encode clips [B, 3, F, H, W], each frame once.

        Returns:
            Features [B, S, D], frame vectors [B, F, 128], and with `taps` the depths of all frames, clip by clip.
        """
        vectors, kept = self.read_frames(cut_frames(clips), taps=taps)
        vectors = vectors.reshape(len(clips), -1, FRAME_FEATURES)
        return self.join(by_snippet(vectors)), vectors, kept

    def forward(self, snippets: Tensor, *, taps: bool = False) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Encode snippets [B, 3, 16, H, W] as features [B, D]; with `taps`, return the depths of their frames too."""
        vectors, kept = self.read_frames(cut_frames(snippets), taps=taps)
        return self.join(vectors.reshape(len(snippets), -1, FRAME_FEATURES)), kept


class FrameForeground(nn.Module):
    """Predict the foreground of single frames: a feature pyramid, then a mask head that also reads the picture.

    The paper's parser adds up four depths, each upsampled linearly. At the small pictures of ``compact`` that blurs an
    athlete a few pixels wide (IoU 0.39 on simulated dives).

    Args:
        tap_channels: Channels of the four depths, shallow to deep.
    """

    def __init__(self, tap_channels: Sequence[int]) -> None:
        super().__init__()
        self.lateral = nn.ModuleList(nn.Conv2d(channels, _DEPTH_CHANNELS, 1) for channels in tap_channels)
        self.smooth = nn.ModuleList(_convolve(_DEPTH_CHANNELS, _DEPTH_CHANNELS) for _ in tap_channels)
        self.draw = nn.Sequential(  # the mask head, by its name in files
            nn.Conv2d(_DEPTH_CHANNELS + 3, _FULL_SIZE_CHANNELS, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(_FULL_SIZE_CHANNELS, 1, 1),
        )

    def forward(self, taps: tuple[Tensor, ...], frames: Tensor) -> Tensor:
        """Return logits [N, H, W] for the depths and the frames [N, 3, H, W]."""
        maps = self._merge_depths(taps)
        full = functional.interpolate(maps, size=frames.shape[2:], mode="bilinear", align_corners=False)
        logits: Tensor = self.draw(torch.cat((full, frames), dim=1))
        return logits[:, 0]

    def _merge_depths(self, taps: tuple[Tensor, ...]) -> Tensor:
        """Go from deep to shallow, adding the upsampled map of the deeper levels at each."""
        merged: Tensor | None = None
        for lateral, smooth, tap in zip(reversed(self.lateral), reversed(self.smooth), reversed(taps), strict=True):
            level = lateral(tap)
            if merged is not None:
                level = level + functional.interpolate(merged, size=level.shape[2:], mode="nearest")
            merged = smooth(level)
        assert merged is not None  # noqa: S101 -- there is at least one depth
        return merged


class FrameParser(nn.Module):
    """The spatial action parser on a `FrameBackbone`.

    Args:
        video_backbone: Backbone of the video features.
        shared: Use its features and depths, in place of a second backbone of the same size.
    """

    def __init__(self, video_backbone: FrameBackbone, *, shared: bool) -> None:
        super().__init__()
        features = video_backbone.features
        self.trunk = None if shared else FrameBackbone(video_backbone.width)
        self.project = nn.Linear(features, features) if shared else None
        self.heads = FrameForeground(video_backbone.tap_channels)

    def forward(
        self, clips: Tensor, video: Tensor, video_taps: tuple[Tensor, ...], foreground: ForegroundRequest
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Parse clips.

        Args:
            clips: [B, 3, F, H, W].
            video: [B, S, D], the video features; used only when shared.
            video_taps: Depths of the video backbone; used only when shared.
            foreground: Whether to predict the foreground; there are no side outputs.

        Returns:
            Mask features [B, S, D], and the foreground's logits [B, S, 16, H, W] unless `foreground` is ``none``.
        """
        if self.trunk is not None:
            mask, _, taps = self.trunk.read_clips(clips, taps=foreground != "none")
        else:
            assert self.project is not None  # noqa: S101 -- exactly one of the two exists
            mask, taps = self.project(video), video_taps
        return mask, () if foreground == "none" else (by_snippet(self.predict_mask(taps, clips)),)

    def predict_mask(self, taps: tuple[Tensor, ...], clips: Tensor) -> Tensor:
        """Return the foreground's logits [B, F, H, W] for the depths of all frames of clips [B, 3, F, H, W]."""
        logits: Tensor = self.heads(taps, cut_frames(clips))
        return logits.reshape(len(clips), -1, *logits.shape[1:])


# Dive-number classifier (ours, not the paper's): one softmax for each part of the number.
#
# A dive number encodes the motion: direction, somersaults, twists, position. Classifying the parts recognises numbers
# that no training dive had. It reads the frame vectors over the whole dive; the features of snippets, trained for
# quality, have lost most of the direction and the posture.

PARTS = {"group": 7, "flying": 2, "direction": 5, "half_somersaults": 12, "half_twists": 10, "position": len(POSITIONS)}
"""Parts of a dive number, with their number of classes."""

NUMBER_LOGITS = sum(PARTS.values())
"""K, logits of all parts together."""

_CHANNELS = 128
_HALVINGS = 4
_HIDDEN = 256
_DROPOUT = 0.3


class DiveNumberClassifier(nn.Module):
    """Classify every part of a dive number."""

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
            nn.Linear(_HIDDEN, NUMBER_LOGITS),
        )
        self.register_buffer("temperature", torch.ones(()))

    def forward(self, vectors: Tensor) -> Tensor:
        """Map frame vectors [B, F, 128] to logits [B, K], part after part in the order of `PARTS`."""
        x = functional.relu(self.look(self.standardise(vectors.transpose(1, 2)).transpose(1, 2)))
        ordered = functional.dropout(x, _DROPOUT, self.training).transpose(1, 2)
        for halve in self.order:
            ordered = halve(ordered)
        logits: Tensor = self.decide(ordered.flatten(1)) / self.temperature
        return logits


def values_of(number: DiveNumber) -> list[int]:
    """Return the class of each part of a number, in the order of `PARTS`."""
    return [
        number.group,
        int(number.flying),
        number.direction,
        number.half_somersaults,
        number.half_twists,
        [*POSITIONS].index(number.position),
    ]


def log_probs(logits: Tensor, numbers: Sequence[DiveNumber]) -> Tensor:
    """Return log-probabilities of dive numbers, given that it is one of them.

    Args:
        logits: [B, K], output of the classifier.
        numbers: N numbers, 1 or more.

    Returns:
        Log-probabilities [B, N], normalised over the N numbers.
    """
    values = torch.tensor([values_of(number) for number in numbers], device=logits.device)
    parts = torch.split_with_sizes(logits.float(), [*PARTS.values()], dim=1)
    each = [functional.log_softmax(part, 1)[:, values[:, index]] for index, part in enumerate(parts)]
    return functional.log_softmax(torch.stack(each).sum(0), 1)
