"""The size of a splash, from windows about the entry (ours)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

if TYPE_CHECKING:
    from numpy.typing import NDArray

LOOKS_S: Final = (0.05, 0.12, 0.2, 0.3, 0.4, 0.55, 0.75)
"""Real times after the entry of the pictures that are read. The first shows the water nearly as it was: before the
entry the window still follows the athlete, and shows another place."""

WINDOW_PX: Final = 64
"""Side of the pictures, pixels."""

WINDOW_M: Final = 3.0
"""What they show, metres: the square of the still world where the body was last seen (``athlete_window``)."""

TOLERANCE_S: Final = 0.06
"""How far a picture may be from its time."""

FEWEST_LOOKS: Final = 3
"""Looks without which nothing is said: those up to 0.2 s, when a splash stands at its highest."""

_CHANNELS: Final = (24, 48, 64, 96)
_HIDDEN: Final = 128


class SplashSize(NamedTuple):
    """Sizes of B splashes.

    Attributes:
        size: [B], 0 (rip) to 1.
        log_spread: [B], log of the standard deviation of the error that is expected.
    """

    size: Tensor
    log_spread: Tensor


class SplashNetwork(nn.Module):
    """Size a splash: every picture beside the first, which hardly has it, by convolutions; then all together."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        inside = 6
        for outside in _CHANNELS:
            layers += [
                nn.Conv2d(inside, outside, 3, stride=2, padding=1, bias=False),
                nn.BatchNorm2d(outside),
                nn.ReLU(inplace=True),
            ]
            inside = outside
        self.look = nn.Sequential(*layers)
        self.judge = nn.Sequential(
            nn.Linear(len(LOOKS_S) * (2 * inside + 1), _HIDDEN), nn.GELU(), nn.Dropout(0.1), nn.Linear(_HIDDEN, 2)
        )

    def forward(self, pictures: Tensor, known: Tensor) -> SplashSize:
        """Size splashes.

        Args:
            pictures: uint8 [B, K, S, S, 3], RGB, at `LOOKS_S`.
            known: bool [B, K], False where there is no such picture; the first ones are always there.
        """
        pixels = pictures.permute(0, 1, 4, 2, 3).float() / 127.5 - 1
        pixels = torch.where(known[:, :, None, None, None], pixels, pixels[:, :1])
        beside = torch.cat([pixels, pixels - pixels[:, :1]], dim=2)
        maps = self.look(beside.flatten(0, 1))
        seen = torch.cat([maps.mean((2, 3)), maps.amax((2, 3))], dim=1).reshape(*known.shape, -1)
        seen = torch.cat([seen * known[..., None], known[..., None].to(seen)], dim=2)
        predicted = self.judge(seen.flatten(1))
        return SplashSize(torch.sigmoid(predicted[:, 0]), predicted[:, 1].clamp(-5, 1))


def splash_loss(predicted: SplashSize, truth: Tensor) -> Tensor:
    """Return the Huber loss of the sizes plus the Gaussian likelihood of their errors given the spreads."""
    error = predicted.size - truth
    huber = functional.smooth_l1_loss(predicted.size, truth, beta=0.1)
    likelihood = (0.5 * (error.detach() / predicted.log_spread.exp()) ** 2 + predicted.log_spread).mean()
    return 4 * huber + 0.1 * likelihood


def looks_at(
    crops: NDArray[np.uint8], real_times_s: NDArray[np.float64]
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]] | None:
    """Choose the pictures about an entry.

    Args:
        crops: uint8 [N, R, R, 3], RGB, squares of `WINDOW_M` that hold their place after the entry.
        real_times_s: float64 [N], real seconds since the entry, rising.

    Returns:
        uint8 [K, S, S, 3] and bool [K], which of them there are; None where the entry itself is not shown.
    """
    wanted = np.array(LOOKS_S)
    nearest = np.abs(real_times_s[None] - wanted[:, None]).argmin(axis=1)
    known = np.abs(real_times_s[nearest] - wanted) <= TOLERANCE_S
    if not known[:FEWEST_LOOKS].all():
        return None
    size = (WINDOW_PX, WINDOW_PX)
    pictures = np.stack([cv2.resize(crop, size, interpolation=cv2.INTER_AREA) for crop in crops[nearest]])
    return np.asarray(pictures, np.uint8), known
