"""What pictures about the ends of a flight tell: moments, leans, and the size of the splash (ours)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from finecausal_cli.athlete.network import Backbone, normalised
from finecausal_cli.athlete.track import FLAT_ERROR_DEG, FLAT_LEAN_DEG

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from finecausal_cli.athlete import End

    Crops = NDArray[np.uint8]
    Times = NDArray[np.float64]

SPLASH_LOOKS_S: Final = (0.05, 0.12, 0.2, 0.3, 0.4, 0.55, 0.75)
"""Real times after the entry of the pictures that tell the splash. The first shows the water nearly as it was."""

WINDOW_PX: Final = 64
"""Side of the pictures of a splash, and of what the small backbone sees of an end, pixels."""

END_PX: Final = 128
"""Side of the pictures of an end, pixels: a foot leaves the board, or a hand meets the water, by a pixel a frame."""

WINDOW_M: Final = 3.0
"""What they show, metres: the square around the body (``athlete_window``), of a splash around its place in the still
world (``splash_window``)."""

TOLERANCE_S: Final = 0.06
"""How far a picture may be from its time."""

FEWEST_LOOKS: Final = 3
"""Looks without which nothing is said of the splash: those up to 0.2 s, when it stands at its highest."""

END_LOOKS_S: Final[Mapping[End, tuple[float, ...]]] = {
    "takeoff": (-0.34, -0.24, -0.16, -0.1, -0.05, 0.0, 0.05, 0.1, 0.16, 0.24),
    "contact": (-0.24, -0.16, -0.1, -0.05, 0.0, 0.05, 0.1, 0.16, 0.24, 0.34),
}
"""Real times of the pictures that tell an end, from where the search of dives found it."""

END_BINS_S: Final = np.arange(-30, 31) * 0.01
"""Moments that a network chooses from, real seconds from where the search found the end."""

_NEAR_S: Final = 0.1
FEWEST_NEAR: Final = 4
"""Fewest pictures in the flight and up to 0.1 s outside of it from which an end is predicted."""

_PEAK_BINS: Final = 4
"""Bins to both sides of the likeliest one over which the moment is averaged."""

LEAN_UNIT_DEG: Final = 20.0
"""Lean that a network's output of 1 stands for: bodies are so far from vertical."""

FLAT_DEG: Final = 60.0
"""Lean from which on a body lands flat, on its belly, its back or its other end: judges give 0 from 62 degrees on."""

_SURELY_FLAT: Final = 2.2
"""Logit, 90%, from which on a body is taken to land flat. At 50% five of 193 wild dives were that did not fail, at 90%
one, which leans by 57 degrees."""

_CHANNELS: Final = (24, 48, 64, 96)
_HIDDEN: Final = 128
_STAGES, _STAGE_CHANNELS = 5, 112
"""Stages of an athlete reader's backbone through which ends are looked at, up to a sixteenth of the picture."""

_PLACED, _REDUCED, _WIDTH, _JUDGED, _DROPOUT = 12, 16, 128, 160, 0.2
_OF_LEAN: Final = 2.0
"""Weight of the error of leans beside the cross entropy with the moments."""

_OF_REAL: Final = 0.5
"""The same of whether there is such an end, and of whether the body lands flat."""


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


def size_splashes(network: nn.Module, pictures: Tensor, known: Tensor) -> SplashSize:
    """Size splashes, each also in its mirrored picture, in which it is as large.

    Args:
        network: A `SplashNetwork`, in evaluation mode.
        pictures: As it takes them, of B entries.
        known: The same.
    """
    seen, mirrored = network(pictures, known), network(pictures.flip(3), known)
    return SplashSize((seen.size + mirrored.size) / 2, (seen.log_spread + mirrored.log_spread) / 2)


def splash_loss(predicted: SplashSize, truth: Tensor) -> Tensor:
    """Return the Huber loss of the sizes plus the Gaussian likelihood of their errors given the spreads."""
    error = predicted.size - truth
    huber = functional.smooth_l1_loss(predicted.size, truth, beta=0.1)
    likelihood = (0.5 * (error.detach() / predicted.log_spread.exp()) ** 2 + predicted.log_spread).mean()
    return 4 * huber + 0.1 * likelihood


def splash_looks(crops: Crops, real_times_s: Times) -> tuple[NDArray[np.uint8], NDArray[np.bool_]] | None:
    """Choose the pictures about an entry that tell the splash.

    Args:
        crops: uint8 [N, R, R, 3], RGB, squares of `WINDOW_M` around the place of the entry.
        real_times_s: float64 [N], real seconds since the entry, rising.

    Returns:
        uint8 [K, S, S, 3] and bool [K], which of them there are; None where the entry itself is not shown.
    """
    nearest, known = nearest_pictures(real_times_s, SPLASH_LOOKS_S, TOLERANCE_S)
    return (_resized(crops[nearest], WINDOW_PX), known) if known[:FEWEST_LOOKS].all() else None


def nearest_pictures(
    times_s: Times, looks_s: Sequence[float] | Times, most_s: float
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return the number [K] of the picture nearest to each look, and whether it is no farther than ``most_s``."""
    away = np.abs(times_s[None] - np.asarray(looks_s)[:, None])
    return away.argmin(axis=1), away.min(axis=1) <= most_s


def _resized(crops: Crops, side: int) -> NDArray[np.uint8]:
    return np.asarray(
        np.stack([cv2.resize(crop, (side, side), interpolation=cv2.INTER_AREA) for crop in crops]), np.uint8
    )


# An end of the flight. In every picture the body is on, above, in or under what it leaves or meets, and a splash is so
# old: together they tell the moment more exactly than the frames are apart, and how the body leans then. A body turns
# by 10 degrees in 0.03 s, which is what the search of dives errs; and where joints blur, its shape may still be seen.


class EndOutputs(NamedTuple):
    """What a network tells of B ends.

    Attributes:
        logits: [B, bins], of `END_BINS_S`.
        lean: [B], how far the body has turned beyond the vertical, counter-clockwise in the picture, in
            `LEAN_UNIT_DEG`.
        log_spread: [B], log of the error that is expected of it, in the same unit.
        flat: [B], logit of the probability that it leans by more than `FLAT_DEG`: a dive that failed. To which side
            can hardly be seen then, and a lean between both sides says nothing.
        real: [B], logit of the probability that there is such an end.
        axes: [B, K, 2], cosine and sine of twice the direction of the body's long axis in each picture, right and up:
            what the pictures are taught to show.
    """

    logits: Tensor
    lean: Tensor
    log_spread: Tensor
    flat: Tensor
    real: Tensor
    axes: Tensor


class EndReading(NamedTuple):
    """What is read of an end.

    Attributes:
        moment_s: When it is, real seconds from where the search found it.
        moment_sd_s: Standard deviation of that.
        lean_deg: How far the body has turned beyond the vertical at that moment, as it turns in the plane of the dive;
            counter-clockwise in the picture.
        lean_error_deg: Mean error that is expected of it.
        probability: That there is such an end, 0..1: low where what falls lands on a floor or a bed.
    """

    moment_s: float
    moment_sd_s: float
    lean_deg: float
    lean_error_deg: float
    probability: float


class EndNetwork(nn.Module):
    """Tell an end of the flight: every picture by what two backbones see in it, with its time; then all together.

    One backbone is small and learnt for the end. The other is the first stages of an athlete reader's, frozen; the
    network keeps its own copy, so that a reader may be trained further without it. With the small one alone, taught
    three times as long, 90% of the contacts of 193 wild films were read within 0.05 s and 70% of their leans within 8
    degrees; with both 93% and 76%.
    """

    def __init__(self) -> None:
        super().__init__()
        count, inside = len(END_LOOKS_S["contact"]), _CHANNELS[-1]
        self.backbone = Backbone().first_stages(_STAGES).requires_grad_(False).eval()
        self.reduce = _reduction(_STAGE_CHANNELS)
        self.look = _convolutions(3)
        self.place = nn.Conv2d(inside, _PLACED, 1)
        self.each = nn.Sequential(nn.Linear(16 * _PLACED + 2 * inside + _REDUCED * 64 + 2, _WIDTH), nn.GELU())
        self.axis = nn.Linear(_WIDTH, 2)
        self.beside = nn.Sequential(nn.Conv1d(_WIDTH, _WIDTH, 3, padding=1), nn.GELU())
        self.judge = nn.Sequential(
            nn.Dropout(_DROPOUT),
            nn.Linear(_WIDTH * count, _JUDGED),
            nn.GELU(),
            nn.Dropout(_DROPOUT),
            nn.Linear(_JUDGED, len(END_BINS_S) + 4),
        )

    def look_through(self, backbone: Backbone) -> None:
        """Take over the first stages of an athlete reader's backbone."""
        self.backbone.load_state_dict(backbone.first_stages(_STAGES).state_dict())

    def train(self, mode: bool = True) -> EndNetwork:
        """Set the mode of all but the frozen stages."""
        super().train(mode)
        self.backbone.eval()
        return self

    def features(self, pictures: Tensor) -> Tensor:
        """Return what the frozen stages see in pictures uint8 [B, K, 128, 128, 3]: [B, K, C, 8, 8]."""
        pixels = pictures.flatten(0, 1).permute(0, 3, 1, 2).float()
        with torch.no_grad():
            maps: Tensor = self.backbone(normalised(pixels))
        return maps.reshape(*pictures.shape[:2], *maps.shape[1:])

    def forward(self, pictures: Tensor, known: Tensor, since_s: Tensor, features: Tensor | None = None) -> EndOutputs:
        """Tell ends.

        Args:
            pictures: uint8 [B, K, 128, 128, 3], RGB, near the looks of the end; [B, K, 64, 64, 3], as `halved` returns
                them, will do where the features are given.
            known: bool [B, K], False where there is no such picture.
            since_s: float [B, K], when each was taken, real seconds from where the search found the end.
            features: What `features` returns of the pictures, where that is known already.
        """
        features = self.features(pictures) if features is None else features
        small = pictures if pictures.shape[2] == WINDOW_PX else halved(pictures)
        pixels = small.permute(0, 1, 4, 2, 3).float() / 127.5 - 1
        maps = self.look(pixels.flatten(0, 1))
        reduced = self.reduce(features.flatten(0, 1).float().contiguous(memory_format=torch.channels_last))
        seen = torch.cat([self.place(maps).flatten(1), maps.mean((2, 3)), maps.amax((2, 3)), reduced.flatten(1)], dim=1)
        there = known[..., None].to(seen)
        seen = torch.cat([seen.reshape(*known.shape, -1) * there, there, 5 * since_s[..., None] * there], dim=2)
        each = self.each(seen) * there
        axes = self.axis(each)
        each = each + self.beside(each.transpose(1, 2)).transpose(1, 2)
        predicted = self.judge(each.flatten(1))
        lean, log_spread, real, flat = predicted[:, -4:].unbind(dim=1)
        return EndOutputs(predicted[:, :-4], lean, log_spread.clamp(-4, 2), flat, real, axes)


def halved(pictures: Tensor) -> Tensor:
    """Return pictures uint8 [B, K, S, S, 3] at half their size, the mean of every four pixels."""
    pixels = pictures.flatten(0, 1).permute(0, 3, 1, 2).float()
    small = functional.avg_pool2d(pixels, 2).round().to(torch.uint8).permute(0, 2, 3, 1)
    return small.reshape(*pictures.shape[:2], *small.shape[1:])


def _reduction(channels: int) -> nn.Sequential:
    """Map features [B, channels, 8, 8] to [B, 16, 8, 8]."""
    inside = 3 * _REDUCED
    return nn.Sequential(
        nn.Conv2d(channels, inside, 1, bias=False),
        nn.BatchNorm2d(inside),
        nn.ReLU(inplace=True),
        nn.Conv2d(inside, inside, 3, padding=1, bias=False),
        nn.BatchNorm2d(inside),
        nn.ReLU(inplace=True),
        nn.Conv2d(inside, _REDUCED, 1),
    )


def end_loss(outputs: EndOutputs, truth: Tensor, flat_deg: float = FLAT_DEG) -> Tensor:
    """Return the loss of the moments, of the leans, of the axes, and of whether there is such an end.

    The cross entropy with the moments, each spread over the bins beside it; the likelihood of the leans' errors as of a
    Laplace distribution, whose middle is the median, few of which may be far off; and the squared error of the axes,
    from which the pictures learn to see the body: with the leans alone they had not begun to after 1,200 steps.

    Args:
        outputs: Of B ends.
        truth: [B, 2 + K], moments, seconds; leans, degrees, counter-clockwise in the picture; and directions of the
            axis in the pictures, degrees, NaN where it is not seen. All NaN where there is no such end.
        flat_deg: Lean from which on a body lands flat: how far it leans more is not learnt.
    """
    real = truth[:, 0].isfinite()
    found = functional.binary_cross_entropy_with_logits(outputs.real, real.float())
    outputs, truth = EndOutputs(*(each[real] for each in outputs)), truth[real]
    moment_s, lean = truth[:, 0], truth[:, 1] / LEAN_UNIT_DEG
    bins = torch.as_tensor(END_BINS_S, dtype=torch.float32, device=truth.device)
    target = torch.exp(-0.5 * ((bins - moment_s[:, None]) / 0.012) ** 2)
    target = target / target.sum(dim=1, keepdim=True).clamp(min=1e-12)
    is_flat = (truth[:, 1].abs() > flat_deg).float()
    leaning = 1 - is_flat
    error = (outputs.lean - lean).abs() * leaning
    likelihood = (error.detach() / outputs.log_spread.exp() + outputs.log_spread * leaning).mean()
    found = found + functional.binary_cross_entropy_with_logits(outputs.flat, is_flat)
    seen, twice = truth[:, 2:].isfinite(), torch.deg2rad(2 * truth[:, 2:].nan_to_num())
    off = (outputs.axes - torch.stack([twice.cos(), twice.sin()], dim=-1)).square().sum(dim=-1)
    axes = (off * seen).sum() / seen.sum().clamp(min=1)
    moments = functional.cross_entropy(outputs.logits, target)
    return moments + _OF_LEAN * error.mean() + 0.1 * likelihood + axes + _OF_REAL * found


def read_ends(network: nn.Module, looks: tuple[Tensor, Tensor, Tensor]) -> list[EndReading]:
    """Read ends, each also in its mirrored picture, which shows the same moment and the opposite lean.

    Args:
        network: An `EndNetwork`, in evaluation mode.
        looks: As it takes them, of B ends.
    """
    pictures, known, since_s = looks
    seen, mirrored = network(pictures, known, since_s), network(pictures.flip(3), known, since_s)
    logits, spread = (seen.logits + mirrored.logits) / 2, (seen.log_spread + mirrored.log_spread) / 2
    flat, real = (seen.flat + mirrored.flat) / 2, (seen.real + mirrored.real) / 2
    return end_readings(EndOutputs(logits, (seen.lean - mirrored.lean) / 2, spread, flat, real, seen.axes))


def end_readings(outputs: EndOutputs) -> list[EndReading]:
    """Return what the outputs of a network say of B ends."""
    moment, spread = _moments(outputs.logits)
    lean, error = (LEAN_UNIT_DEG * each.double().cpu().numpy() for each in (outputs.lean, outputs.log_spread.exp()))
    is_flat = outputs.flat.cpu().numpy() > _SURELY_FLAT
    lean = np.where(is_flat, np.copysign(FLAT_LEAN_DEG, lean), lean)
    error = np.where(is_flat, FLAT_ERROR_DEG, error)
    real = outputs.real.double().sigmoid().cpu().numpy()
    return [EndReading(*map(float, row)) for row in zip(moment, spread, lean, error, real, strict=True)]


def _moments(logits: Tensor) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the moments [B] that logits [B, bins] tell, and their standard deviations [B], real seconds."""
    probability = logits.float().softmax(dim=1).cpu().numpy().astype(np.float64)
    away = np.abs(np.arange(probability.shape[1]) - probability.argmax(axis=1)[:, None])
    near = np.where(away <= _PEAK_BINS, probability, 0.0)
    moment = near @ END_BINS_S / near.sum(axis=1)
    spread = np.sqrt((probability * (END_BINS_S - moment[:, None]) ** 2).sum(axis=1))
    return moment, spread


def end_looks(
    end: End, crops: Crops, real_times_s: Times
) -> tuple[NDArray[np.uint8], NDArray[np.bool_], NDArray[np.float32]] | None:
    """Choose the pictures that tell an end.

    Args:
        end: Which end.
        crops: uint8 [N, R, R, 3], RGB, squares of `WINDOW_M` that follow the body, and hold their place outside of the
            flight.
        real_times_s: float64 [N], real seconds since the end as the search found it, rising.

    Returns:
        uint8 [K, `END_PX`, `END_PX`, 3]; bool [K], which of them there are; float32 [K], when they were taken. None
        where too few pictures show the moment.
    """
    if len(real_times_s) < FEWEST_NEAR:
        return None
    gap_s = float(np.median(np.diff(real_times_s)))
    nearest, known = nearest_pictures(real_times_s, END_LOOKS_S[end], max(TOLERANCE_S, gap_s))
    if not shows_end(end, known):
        return None
    return _resized(crops[nearest], END_PX), known, real_times_s[nearest].astype(np.float32)


def shows_end(end: End, known: NDArray[np.bool_]) -> bool:
    """Tell whether the looks that there are show an end: enough of those in the flight and up to 0.1 s outside."""
    looks = np.array(END_LOOKS_S[end]) * (1 if end == "contact" else -1)
    return int(known[looks <= _NEAR_S + 1e-9].sum()) >= FEWEST_NEAR
