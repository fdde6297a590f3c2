"""Spatial action parser of the paper (section 3.1): mask features, and the athlete's segmentation, from an I3D."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from finecausal_cli.model.i3d import I3D

# Four depths of an I3D each give 16 maps. They are upsampled to full size in two ways: one map a depth (the side
# outputs, for the loss) and one map from all depths (the foreground). The released code upsamples 16 to 16 channels
# and mixes the 64 results down to one; both steps are linear, so here they are one kernel of 16 to 1 channels, with
# equal results in a tenth of the time.

ForegroundRequest = Literal["none", "fused", "all"]
"""Nothing, the foreground, or the four side outputs followed by the foreground."""

SIDE_CHANNELS = 16
SIDE_STRIDES = ((2, 2, 2), (2, 4, 4), (2, 8, 8), (4, 16, 16))
"""Factor (time, height, width) from each tapped layer back to the snippet; kernels are twice as long."""


def upsample(x: Tensor, kernel: Tensor, stride: tuple[int, int, int]) -> Tensor:
    """Apply a transposed convolution whose kernel is twice its stride and whose padding is half of it.

    Every output voxel depends on two inputs an axis. So the voxels at one offset within a stride are an ordinary
    2 x 2 x 2 convolution of the input, and the results of all offsets interleave.

    Args:
        x: [B, c, t, h, w].
        kernel: [c, 1, 2 * stride_t, 2 * stride_h, 2 * stride_w], as for a transposed convolution.
        stride: Even factors (time, height, width).

    Returns:
        [B, t * stride_t, h * stride_h, w * stride_w].
    """
    channels = x.shape[1]
    a, b, c = stride
    offsets = kernel.reshape(channels, 2, a, 2, b, 2, c).flip(1, 3, 5).permute(2, 4, 6, 0, 1, 3, 5)
    maps = functional.conv3d(x, offsets.reshape(a * b * c, channels, 2, 2, 2), padding=1)
    batch, _, t, h, w = maps.shape
    full = maps.reshape(batch, a, b, c, t, h, w).permute(0, 4, 1, 5, 2, 6, 3).reshape(batch, t * a, h * b, w * c)
    return full[:, a // 2 : -a // 2, b // 2 : -b // 2, c // 2 : -c // 2]


def _trilinear(stride: tuple[int, int, int]) -> Tensor:
    """Return the kernel [2a, 2b, 2c] with which `upsample` interpolates linearly."""
    a, b, c = (1 - (torch.arange(2 * s) + 0.5 - s).abs() / s for s in stride)
    return a[:, None, None] * b[:, None] * c


class SideHead(nn.Module):
    """Map one tapped layer to its side output and its share of the foreground."""

    def __init__(self, inputs: int, stride: tuple[int, int, int]) -> None:
        super().__init__()
        self.stride = stride
        self.prepare = nn.Conv3d(inputs, SIDE_CHANNELS, 1, bias=False)
        self.score = nn.Conv3d(SIDE_CHANNELS, 1, 1)
        interpolate = _trilinear(stride)[None, None]
        self.side_kernel = nn.Parameter(interpolate.clone())
        mix = torch.randn(SIDE_CHANNELS, 1, 1, 1, 1) / math.sqrt(SIDE_CHANNELS * len(SIDE_STRIDES))
        self.fused_kernel = nn.Parameter(mix * interpolate)

    def forward(self, tap: Tensor, *, side: bool) -> tuple[Tensor, Tensor | None]:
        """Return the share of the foreground and, with `side`, the side output: logits [B, 16, H, W]."""
        maps = self.prepare(tap)
        share = upsample(maps, self.fused_kernel, self.stride)
        return share, upsample(self.score(maps), self.side_kernel, self.stride) if side else None


class ForegroundHeads(nn.Module):
    """Predict the foreground of each frame from the tapped layers."""

    def __init__(self, tap_channels: tuple[int, ...]) -> None:
        super().__init__()
        pairs = zip(tap_channels, SIDE_STRIDES, strict=True)
        self.sides = nn.ModuleList(SideHead(channels, stride) for channels, stride in pairs)
        self.bias = nn.Parameter(torch.zeros(1))

    def forward(self, taps: tuple[Tensor, ...], *, sides: bool) -> tuple[Tensor, ...]:
        """Return logits [B, 16, H, W]: with `sides` the side outputs, shallow to deep; then the foreground."""
        results = [head(tap, side=sides) for head, tap in zip(self.sides, taps, strict=True)]
        fused = sum((share for share, _ in results), start=self.bias)
        return (*(side for _, side in results if side is not None), fused)


class SpatialActionParser(nn.Module):
    """Compute mask features and, on request, the foreground.

    Args:
        width: Width multiplier of the I3D.
        shared: Project the video features and use the video backbone's taps, in place of a second I3D (the paper).
    """

    def __init__(self, width: float, *, shared: bool) -> None:
        super().__init__()
        backbone = I3D(width)
        self.trunk = None if shared else backbone
        self.project = nn.Linear(backbone.features, backbone.features) if shared else None
        self.heads = ForegroundHeads(backbone.tap_channels)

    def forward(
        self, snippets: Tensor, video: Tensor, video_taps: tuple[Tensor, ...], foreground: ForegroundRequest
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Parse snippets.

        Args:
            snippets: [B, 3, 16, H, W].
            video: [B, D], the video features; used only when shared.
            video_taps: Tapped layers of the video backbone; used only when shared.
            foreground: Foreground logits to compute.

        Returns:
            Mask features [B, D], and logits [B, 16, H, W], the foreground last.
        """
        if self.trunk is not None:
            mask, taps = self.trunk(snippets, taps=foreground != "none")
        else:
            assert self.project is not None  # noqa: S101 -- exactly one of the two exists
            mask, taps = self.project(video), video_taps
        return mask, () if foreground == "none" else self.predict_mask(taps, sides=foreground == "all")

    def predict_mask(self, taps: tuple[Tensor, ...], *, sides: bool) -> tuple[Tensor, ...]:
        """Return logits [B, 16, H, W]: with `sides` the side outputs first; the foreground last."""
        logits: tuple[Tensor, ...] = self.heads(taps, sides=sides)
        return logits
