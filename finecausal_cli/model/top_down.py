"""Foreground from deep to shallow: what is known of where the athlete is, made sharper depth by depth.

The paper's parser adds up four depths, upsampled by a linear map each. At the small pictures of ``compact`` that
blurs the athlete, a few pixels wide, into a cloud (IoU 0.39 on simulated dives). Here every depth is joined with what
the deeper ones found, and the last step looks at the picture itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Sequence

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
