"""Frame encoder: a 2-D network over single frames, and the dive-number classifier on it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from finecausal_cli.diving import POSITIONS
from finecausal_cli.model.config import FRAMES, SNIPPET_FRAMES, SNIPPET_STRIDE
from finecausal_cli.model.segmentation import DEPTH_CHANNELS, join_depths

if TYPE_CHECKING:
    from collections.abc import Sequence

    from finecausal_cli.diving import DiveNumber
    from finecausal_cli.model.segmentation import ForegroundRequest


# A trunk that looks at single frames first and at their order second: what ``compact`` has in place of the I3D.
#
# An I3D of a size that a CPU can train sees little of a dive's flight: most of its arithmetic goes into the first 7 x
# 7 x 7 convolution, every frame is computed once for each snippet that holds it, and where a limb is, is lost in the
# mean over the whole snippet. Here a two-dimensional network reads every frame once, keeping where things are, and a
# small network reads the sixteen results of a snippet in their order. As with an I3D, a snippet's features depend on
# its own frames alone.

CHANNELS = (64, 192, 384, 640)
"""Channels at the four depths of the frame network, at width 1; a depth halves the picture."""

FRAME_FEATURES = 128
"""Length of one frame's vector, at every width."""

_GRID = 7
"""Cells a side in which a frame's vector tells where things are."""

_GRID_CHANNELS = 32
_ORDER_CHANNELS = 192
_FULL_SIZE_CHANNELS = 8
_STEM_KERNEL = 5
_CHANNEL_STEP = 8

_AT_ONCE = 32
"""Frames that a CPU reads at once where nothing is learned: their maps stay in its cache."""


def cut_frames(clips: Tensor) -> Tensor:
    """Cut clips or snippets [B, 3, F, H, W] into frames [B * F, 3, H, W], clip by clip."""
    return clips.transpose(1, 2).flatten(0, 1).contiguous(memory_format=torch.channels_last)


def by_snippet(frames: Tensor) -> Tensor:
    """Cut what is known of every frame, [B, F, ...], into overlapping snippets [B, S, 16, ...]."""
    return frames.unfold(1, SNIPPET_FRAMES, SNIPPET_STRIDE).movedim(-1, 2)


def _convolve(inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


class Depth(nn.Module):
    """Halve a picture and look at it once more (a residual block of He et al. 2016)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.halve = _convolve(inputs, outputs, stride=2)
        self.look = _convolve(outputs, outputs)
        self.settle = nn.Sequential(nn.Conv2d(outputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, inputs, h, w] to [N, outputs, h / 2, w / 2]."""
        halved = self.halve(x)
        return functional.relu(halved + self.settle(self.look(halved)))


class FrameTrunk(nn.Module):
    """Turn snippets into feature vectors, frame by frame.

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
        """Describe frames [N, 3, H, W] by vectors [N, 128]; give the four depths [N, c, h, w] too when asked."""
        if not self.training and frames.device.type == "cpu" and len(frames) > _AT_ONCE:
            parts = [self.read_frames(part, taps=taps) for part in torch.split(frames, _AT_ONCE)]
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
        """Read the frames of snippets in their order: [..., 16, 128] to features [..., D]."""
        ordered = self.order(vectors.flatten(0, -3).transpose(1, 2))
        features: Tensor = functional.relu(self.sum_up(ordered.flatten(1)))
        return features.reshape(*vectors.shape[:-2], -1)

    def read_clips(self, clips: Tensor, *, taps: bool = False) -> tuple[Tensor, Tensor, tuple[Tensor, ...]]:
        """Read clips [B, 3, F, H, W], a frame once however many snippets hold it.

        Returns:
            Features [B, S, D], the frames' vectors [B, F, 128], and the depths of all frames, clip by clip, when asked.
        """
        found, kept = self.read_frames(cut_frames(clips), taps=taps)
        vectors = found.reshape(len(clips), -1, FRAME_FEATURES)
        return self.join(by_snippet(vectors)), vectors, kept

    def forward(self, snippets: Tensor, *, taps: bool = False) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Compute features [B, D] of snippets [B, 3, 16, H, W], and the depths of all their frames when asked."""
        vectors, kept = self.read_frames(cut_frames(snippets), taps=taps)
        return self.join(vectors.reshape(len(snippets), -1, FRAME_FEATURES)), kept


class FrameForeground(nn.Module):
    """Predict the foreground of single frames from deep to shallow, the picture last.

    Args:
        tap_channels: Channels of the four depths, shallow to deep.
    """

    def __init__(self, tap_channels: Sequence[int]) -> None:
        super().__init__()
        self.lateral = nn.ModuleList(nn.Conv2d(channels, DEPTH_CHANNELS, 1) for channels in tap_channels)
        self.smooth = nn.ModuleList(_convolve(DEPTH_CHANNELS, DEPTH_CHANNELS) for _ in tap_channels)
        self.draw = nn.Sequential(
            nn.Conv2d(DEPTH_CHANNELS + 3, _FULL_SIZE_CHANNELS, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(_FULL_SIZE_CHANNELS, 1, 1),
        )

    def forward(self, taps: tuple[Tensor, ...], frames: Tensor) -> Tensor:
        """Return logits [N, H, W] for the depths and the frames [N, 3, H, W]."""
        found = join_depths(self.lateral, self.smooth, taps)
        full = functional.interpolate(found, size=frames.shape[2:], mode="bilinear", align_corners=False)
        logits: Tensor = self.draw(torch.cat((full, frames), dim=1))
        return logits[:, 0]


class FrameParser(nn.Module):
    """The spatial action parser of a network whose trunk reads single frames.

    Args:
        trunk: That trunk, which gives the video features.
        shared: Read that trunk's features and depths, in place of a second trunk of the same kind.
    """

    def __init__(self, trunk: FrameTrunk, *, shared: bool) -> None:
        super().__init__()
        self.trunk = None if shared else FrameTrunk(trunk.width)
        self.project = nn.Linear(trunk.features, trunk.features) if shared else None
        self.heads = FrameForeground(trunk.tap_channels)

    def forward(
        self, clips: Tensor, video: Tensor, video_taps: tuple[Tensor, ...], foreground: ForegroundRequest
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Parse clips.

        Args:
            clips: [B, 3, F, H, W].
            video: [B, S, D], the video trunk's features; read only when shared.
            video_taps: The video trunk's depths; read only when shared.
            foreground: Whether the foreground is asked for; there are no side outputs.

        Returns:
            Mask features [B, S, D], and the foreground's logits [B, S, 16, H, W] alone if asked.
        """
        if self.trunk is not None:
            mask, _, taps = self.trunk.read_clips(clips, taps=foreground != "none")
        else:
            assert self.project is not None  # noqa: S101 -- exactly one of the two exists
            mask, taps = self.project(video), video_taps
        return mask, () if foreground == "none" else (by_snippet(self.find(taps, clips)),)

    def find(self, taps: tuple[Tensor, ...], clips: Tensor) -> Tensor:
        """Return the foreground's logits [B, F, H, W] for the depths of all frames of clips [B, 3, F, H, W]."""
        logits: Tensor = self.heads(taps, cut_frames(clips))
        return logits.reshape(len(clips), -1, *logits.shape[1:])


# Recognise the dive number from the frames, one part of the number at a time (ours, not the paper's).
#
# A number is a sentence about the motion: which way the body turns, how often, how it is held. So its parts are told
# apart, not the numbers: a number that was never seen is recognised by parts that were. What the trunk's frames say
# of turn and posture is read in its order over the whole dive; the snippets' features, made to tell good from bad,
# have lost most of it.

PARTS = {"group": 7, "flying": 2, "direction": 5, "half_somersaults": 12, "half_twists": 10, "position": len(POSITIONS)}
"""The parts of a dive number, and how many values each may have, counted from 0."""

OPINIONS = sum(PARTS.values())
"""K, values in which a recogniser says what it thinks of a dive."""

_CHANNELS = 128
_HALVINGS = 4
_HIDDEN = 256
_DROPOUT = 0.3


class DiveNumberClassifier(nn.Module):
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


def log_probs(opinions: Tensor, numbers: Sequence[DiveNumber]) -> Tensor:
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
