"""Segmentation of the athlete from features of the encoder: the spatial action parser."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from finecausal_cli.model.i3d import I3D

if TYPE_CHECKING:
    from collections.abc import Sequence


# Foreground from deep to shallow: what is known of where the athlete is, made sharper depth by depth.
#
# The paper's parser adds up four depths, upsampled by a linear map each. At the small pictures of ``compact`` that
# blurs the athlete, a few pixels wide, into a cloud (IoU 0.39 on simulated dives). Here every depth is joined with
# what the deeper ones found, and the last step looks at the picture itself.

DEPTH_CHANNELS = 16
"""Channels at every depth."""

NARROW_CHANNELS = 4
"""Channels that are brought to full size."""

PICTURE_CHANNELS = 8
"""Channels at full size, where they cost most."""


def join_depths(lateral: nn.ModuleList, smooth: nn.ModuleList, taps: Sequence[Tensor]) -> Tensor:
    """Go from deep to shallow, each depth added to what the deeper ones found.

    Args:
        lateral: Brings each depth, shallow to deep, to the same channels.
        smooth: Looks at each sum.
        taps: The depths, [B, c, ...], one a module at least.
    """
    found: Tensor | None = None
    for narrow, look, tap in zip(reversed(lateral), reversed(smooth), reversed(taps), strict=True):
        here = narrow(tap)
        if found is not None:
            here = here + functional.interpolate(found, size=here.shape[2:], mode="nearest")
        found = look(here)
    assert found is not None  # noqa: S101 -- there is at least one depth
    return found


class TopDownForeground(nn.Module):
    """Predict the foreground of each frame from the tapped layers and the pictures.

    Args:
        tap_channels: Channels of the tapped layers, shallow to deep.
    """

    def __init__(self, tap_channels: tuple[int, ...]) -> None:
        super().__init__()
        self.lateral = nn.ModuleList(nn.Conv3d(channels, DEPTH_CHANNELS, 1) for channels in tap_channels)
        self.smooth = nn.ModuleList(
            nn.Sequential(
                nn.Conv3d(DEPTH_CHANNELS, DEPTH_CHANNELS, 3, padding=1),
                nn.GroupNorm(4, DEPTH_CHANNELS),
                nn.ReLU(inplace=True),
            )
            for _ in tap_channels
        )
        self.narrow = nn.Conv3d(DEPTH_CHANNELS, NARROW_CHANNELS, 1)
        self.draw = nn.Sequential(
            nn.Conv3d(NARROW_CHANNELS + 3, PICTURE_CHANNELS, (1, 3, 3), padding=(0, 1, 1)),
            nn.ReLU(inplace=True),
            nn.Conv3d(PICTURE_CHANNELS, 1, 1),
        )

    def forward(self, taps: tuple[Tensor, ...], snippets: Tensor) -> Tensor:
        """Return logits [B, 16, H, W] for the tapped layers and the snippets [B, 3, 16, H, W]."""
        found = join_depths(self.lateral, self.smooth, taps)
        full = functional.interpolate(
            self.narrow(found), size=snippets.shape[2:], mode="trilinear", align_corners=False
        )
        logits: Tensor = self.draw(torch.cat((full, snippets), dim=1))
        return logits[:, 0]


# Spatial action parser: where the athlete is, and features that know it (paper section 3.1).
#
# Four depths of an I3D each give 16 maps. They are upsampled to full size in two ways: one map a depth (the side
# outputs, for the loss) and one map from all depths (the foreground). The released code upsamples 16 to 16 channels
# and mixes the 64 results down to one; both steps are linear, so here they are one kernel of 16 to 1 channels, which
# computes the same in a tenth of the time.

ForegroundRequest = Literal["none", "fused", "all"]
"""Nothing, the foreground alone, or the four side outputs followed by the foreground."""

SIDE_CHANNELS = 16
SIDE_STRIDES = ((2, 2, 2), (2, 4, 4), (2, 8, 8), (4, 16, 16))
"""Factor (time, height, width) from each tapped layer back to the snippet; kernels are twice as long."""


def upsample(x: Tensor, kernel: Tensor, stride: tuple[int, int, int]) -> Tensor:
    """Apply a transposed convolution whose kernel is twice its stride and whose padding is half of it.

    Every output voxel sees two inputs an axis. So all voxels at the same offset within a stride are one ordinary
    2 x 2 x 2 convolution of the input, and the offsets interleave to the result.

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
    """Read one tapped layer: 16 maps, the side output and this depth's share of the foreground."""

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
        """Return the share of the foreground and, when asked, the side output, both logits [B, 16, H, W]."""
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
        """Return logits [B, 16, H, W]: the side outputs, shallow to deep, if asked, then the foreground."""
        results = [head(tap, side=sides) for head, tap in zip(self.sides, taps, strict=True)]
        fused = sum((share for share, _ in results), start=self.bias)
        return (*(side for _, side in results if side is not None), fused)


class SpatialActionParser(nn.Module):
    """Give mask features, and the foreground itself when asked.

    Args:
        width: Width multiplier of the I3D.
        shared: Read another trunk's features and taps through a linear map, in place of an I3D of its own.
        top_down: Read the foreground off from deep to shallow, in place of the paper's sum.
    """

    def __init__(self, width: float, *, shared: bool, top_down: bool = False) -> None:
        super().__init__()
        trunk = I3D(width)
        self.trunk = None if shared else trunk
        self.project = nn.Linear(trunk.features, trunk.features) if shared else None
        self.heads: ForegroundHeads | TopDownForeground = (
            TopDownForeground(trunk.tap_channels) if top_down else ForegroundHeads(trunk.tap_channels)
        )

    def forward(
        self, snippets: Tensor, video: Tensor, video_taps: tuple[Tensor, ...], foreground: ForegroundRequest
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Parse snippets.

        Args:
            snippets: [B, 3, 16, H, W].
            video: [B, D], the video trunk's features; read only when shared.
            video_taps: The video trunk's tapped layers; read only when shared.
            foreground: Which foreground logits to compute.

        Returns:
            Mask features [B, D], and logits [B, 16, H, W] as the heads give them, the foreground last, none unless
            asked.
        """
        if self.trunk is not None:
            mask, taps = self.trunk(snippets, taps=foreground != "none")
        else:
            assert self.project is not None  # noqa: S101 -- exactly one of the two exists
            mask, taps = self.project(video), video_taps
        return mask, () if foreground == "none" else self.find(taps, snippets, sides=foreground == "all")

    def find(self, taps: tuple[Tensor, ...], snippets: Tensor, *, sides: bool) -> tuple[Tensor, ...]:
        """Return logits [B, 16, H, W], the foreground last; where there are side outputs, they come first if asked."""
        if isinstance(self.heads, TopDownForeground):
            return (self.heads(taps, snippets),)
        found: tuple[Tensor, ...] = self.heads(taps, sides=sides)
        return found
