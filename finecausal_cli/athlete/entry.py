"""What pictures about an entry tell: the moment of first contact with the water, and the size of the splash (ours)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Crops = NDArray[np.uint8]
    Times = NDArray[np.float64]

SPLASH_LOOKS_S: Final = (0.05, 0.12, 0.2, 0.3, 0.4, 0.55, 0.75)
"""Real times after the entry of the pictures that tell the splash. The first shows the water nearly as it was: before
the entry the window still follows the athlete, and shows another place."""

WINDOW_PX: Final = 64
"""Side of the pictures, pixels."""

WINDOW_M: Final = 3.0
"""What they show, metres: the square of the still world where the body was last seen (``athlete_window``)."""

TOLERANCE_S: Final = 0.06
"""How far a picture may be from its time."""

FEWEST_LOOKS: Final = 3
"""Looks without which nothing is said of the splash: those up to 0.2 s, when it stands at its highest."""

CONTACT_LOOKS_S: Final = (-0.24, -0.16, -0.1, -0.05, 0.0, 0.05, 0.1, 0.16, 0.24, 0.34)
"""Real times of the pictures that tell the contact, from the entry as the search of dives found it."""

CONTACT_BINS_S: Final = np.arange(-30, 31) * 0.01
"""Moments of contact that the network chooses from, real seconds from that entry."""

FEWEST_ABOUT: Final = 4
"""Looks of the first seven, up to 0.1 s, without which no contact is predicted."""

_PEAK_BINS: Final = 4
"""Bins to both sides of the likeliest one over which the moment is averaged."""

_CHANNELS: Final = (24, 48, 64, 96)
_HIDDEN: Final = 128


def _convolutions(channels: int) -> nn.Sequential:
    """Map pictures [B, channels, 64, 64] to [B, 96, 4, 4]."""
    layers: list[nn.Module] = []
    for outside in _CHANNELS:
        layers += [
            nn.Conv2d(channels, outside, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(outside),
            nn.ReLU(inplace=True),
        ]
        channels = outside
    return nn.Sequential(*layers)


# The splash.


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
        self.look, inside = _convolutions(6), _CHANNELS[-1]
        self.judge = nn.Sequential(
            nn.Linear(len(SPLASH_LOOKS_S) * (2 * inside + 1), _HIDDEN),
            nn.GELU(),
            nn.Dropout(0.1),
            nn.Linear(_HIDDEN, 2),
        )

    def forward(self, pictures: Tensor, known: Tensor) -> SplashSize:
        """Size splashes.

        Args:
            pictures: uint8 [B, K, S, S, 3], RGB, at `SPLASH_LOOKS_S`.
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


def splash_looks(crops: Crops, real_times_s: Times) -> tuple[NDArray[np.uint8], NDArray[np.bool_]] | None:
    """Choose the pictures about an entry that tell the splash.

    Args:
        crops: uint8 [N, R, R, 3], RGB, squares of `WINDOW_M` that hold their place after the entry.
        real_times_s: float64 [N], real seconds since the entry, rising.

    Returns:
        uint8 [K, S, S, 3] and bool [K], which of them there are; None where the entry itself is not shown.
    """
    nearest, known = nearest_pictures(real_times_s, SPLASH_LOOKS_S, TOLERANCE_S)
    return (_small(crops[nearest]), known) if known[:FEWEST_LOOKS].all() else None


def nearest_pictures(
    times_s: Times, looks_s: Sequence[float] | Times, most_s: float
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return the number [K] of the picture nearest to each look, and whether it is no farther than ``most_s``."""
    away = np.abs(times_s[None] - np.asarray(looks_s)[:, None])
    return away.argmin(axis=1), away.min(axis=1) <= most_s


def _small(crops: Crops) -> NDArray[np.uint8]:
    size = (WINDOW_PX, WINDOW_PX)
    return np.asarray(np.stack([cv2.resize(crop, size, interpolation=cv2.INTER_AREA) for crop in crops]), np.uint8)


# The first contact with the water. In every picture the body is above, in or under it, and a splash is so old: together
# they tell the moment more exactly than the frames are apart. A body turns by 10 degrees in 0.03 s, which is what the
# search of dives errs.


class ContactNetwork(nn.Module):
    """Tell the moment of contact: every picture by convolutions, with its time; then all together."""

    def __init__(self) -> None:
        super().__init__()
        count, inside, kept, width = len(CONTACT_LOOKS_S), _CHANNELS[-1], 12, 96
        self.look = _convolutions(3)
        self.place = nn.Conv2d(inside, kept, 1)
        self.each = nn.Sequential(nn.Linear(16 * kept + 2 * inside + 2, width), nn.GELU())
        self.beside = nn.Sequential(nn.Conv1d(width, width, 3, padding=1), nn.GELU())
        self.judge = nn.Sequential(
            nn.Linear(width * count, _HIDDEN), nn.GELU(), nn.Dropout(0.1), nn.Linear(_HIDDEN, len(CONTACT_BINS_S))
        )

    def forward(self, pictures: Tensor, known: Tensor, since_s: Tensor) -> Tensor:
        """Return logits [B, bins] of `CONTACT_BINS_S`.

        Args:
            pictures: uint8 [B, K, 64, 64, 3], RGB, near `CONTACT_LOOKS_S`.
            known: bool [B, K], False where there is no such picture.
            since_s: float [B, K], when each was taken, real seconds from the entry as it was found.
        """
        pixels = pictures.permute(0, 1, 4, 2, 3).float() / 127.5 - 1
        maps = self.look(pixels.flatten(0, 1))
        seen = torch.cat([self.place(maps).flatten(1), maps.mean((2, 3)), maps.amax((2, 3))], dim=1)
        there = known[..., None].to(seen)
        seen = torch.cat([seen.reshape(*known.shape, -1) * there, there, 5 * since_s[..., None] * there], dim=2)
        each = self.each(seen) * there
        each = each + self.beside(each.transpose(1, 2)).transpose(1, 2)
        logits: Tensor = self.judge(each.flatten(1))
        return logits


def contact_loss(logits: Tensor, truth_s: Tensor) -> Tensor:
    """Return the cross entropy with the moments [B], each spread over the bins beside it."""
    bins = torch.as_tensor(CONTACT_BINS_S, dtype=torch.float32, device=logits.device)
    target = torch.exp(-0.5 * ((bins - truth_s[:, None]) / 0.012) ** 2)
    return functional.cross_entropy(logits, target / target.sum(dim=1, keepdim=True).clamp(min=1e-12))


def contact_moment(logits: Tensor) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the moments [B] that logits [B, bins] tell, and their standard deviations [B], real seconds."""
    probability = logits.float().softmax(dim=1).cpu().numpy().astype(np.float64)
    away = np.abs(np.arange(probability.shape[1]) - probability.argmax(axis=1)[:, None])
    near = np.where(away <= _PEAK_BINS, probability, 0.0)
    moment = near @ CONTACT_BINS_S / near.sum(axis=1)
    spread = np.sqrt((probability * (CONTACT_BINS_S - moment[:, None]) ** 2).sum(axis=1))
    return moment, spread


def contact_looks(
    crops: Crops, real_times_s: Times
) -> tuple[NDArray[np.uint8], NDArray[np.bool_], NDArray[np.float32]] | None:
    """Choose the pictures that tell the contact.

    Args:
        crops: uint8 [N, R, R, 3], RGB, squares of `WINDOW_M` that follow the body and hold their place in the water.
        real_times_s: float64 [N], real seconds since the entry as the search found it, rising.

    Returns:
        uint8 [K, S, S, 3]; bool [K], which of them there are; float32 [K], when they were taken. None where too few
        pictures show the moment.
    """
    if len(real_times_s) < FEWEST_ABOUT:
        return None
    gap_s = float(np.median(np.diff(real_times_s)))
    nearest, known = nearest_pictures(real_times_s, CONTACT_LOOKS_S, max(TOLERANCE_S, gap_s))
    if known[:7].sum() < FEWEST_ABOUT:
        return None
    return _small(crops[nearest]), known, real_times_s[nearest].astype(np.float32)
