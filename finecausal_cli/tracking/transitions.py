"""Take-off and entry of a flight along its path: two small networks, and how large the body is there."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from safetensors.numpy import load_file

from finecausal_cli.tracking.ballistic import GRAVITY, Paths, apex
from finecausal_cli.tracking.motion import sample

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from finecausal_cli.tracking.ballistic import BallisticSearch


# When take-off and entry are: small convolutional networks read both in the strip of heat along a path.
#
# The strip follows the path of free fall, so that an athlete in flight is a level band in its middle. Before the
# take-off the band bends away, for the support carries the athlete; at the entry it ends, and the splash, which stays
# in the world, runs off upward. The networks see heat alone, no colours, so that what they learnt from simulated
# dives holds for filmed ones. ``benchmarks/moments.py`` trains them.

CELL_S = 0.025
MOMENTS_S = np.arange(-1.4, 2.4 - CELL_S / 2, CELL_S)
"""Columns of the strip, real seconds from the highest point of the path."""

DOWN_M = np.linspace(-3.0, 3.0, 41)
"""Rows of the strip, metres below the path."""

_BANDS_M = ((-1.5, -1.2, -0.9), (-0.6, -0.35), (-0.15, 0.0, 0.15), (0.35, 0.6), (0.9, 1.2, 1.5))
"""Where the heat is averaged across the path, metres ahead of it: behind, at the body, ahead."""

_ACROSS_M = np.concatenate(_BANDS_M)

CHANNELS = len(_BANDS_M) + 2

_NOISE = 3.0
"""Heat, in grey values, that is not clear."""

_FULL_HEAT = 60.0

_LEAST_STRIP_FALL_S, _LATEST_TAKEOFF_S, _LEAST_AIR_S = 0.3, 0.3, 0.35
"""Earliest entry and latest take-off, real seconds from the highest point, and least time between them."""

_PEAK_CELLS = 3
"""Cells to both sides of the likeliest one over which the moment is averaged."""

_WEIGHTS = Path(__file__).with_name("moments.safetensors")


@dataclass(frozen=True, slots=True)
class Moments:
    """How likely take-off and entry are at each of ``MOMENTS_S``.

    Attributes:
        takeoff: float64 [moments], sums to 1.
        entry: float64 [moments], sums to 1.
    """

    takeoff: NDArray[np.float64]
    entry: NDArray[np.float64]


def strip_along(search: BallisticSearch, path: Paths) -> NDArray[np.float32]:
    """Cut the heat along one path.

    Returns:
        float32 [channels, heights, moments], 0 to 1: how clearly something moves in each band across the path, in the
        direction of flight; the heat on the path itself; and what share of the bands the picture shows.
    """
    times, slow, shots = search.times, float(path.slow[0]), search.heat.camera.shots
    middle = int(path.middle[0])
    metre = float(search.metre(path)[0])
    file_s = MOMENTS_S * slow + float(times[middle] + apex(path)[0])
    frames = np.searchsorted(times, file_s).clip(1, len(times) - 1)
    frames = frames - (file_s - times[frames - 1] < times[frames] - file_s)
    there = search.heat.known[frames] & (shots[frames] == shots[middle])
    there &= np.abs(times[frames] - file_s) < max(search.gap_s, CELL_S * slow)
    # The path where the frame was taken, which is not quite where the moment is.
    since = times[frames] - times[middle]
    x, y = (np.polynomial.polynomial.polyval(since, one[0]) for one in (path.x, path.y))
    forward = 1.0 if path.x[0, 1] >= 0 else -1.0
    shape = len(_ACROSS_M), len(DOWN_M), len(MOMENTS_S)
    world_x = np.broadcast_to(x + (forward * _ACROSS_M * metre)[:, None, None], shape)
    world_y = np.broadcast_to(y + (DOWN_M * metre)[:, None], shape)
    index = np.broadcast_to(frames, shape)
    heat, inside = sample(search.heat.raw, index, *search.picture(index, world_x, world_y))
    inside &= there
    ends = np.cumsum([len(band) for band in _BANDS_M])[:-1]
    count = np.stack([part.sum(axis=0) for part in np.split(inside, ends)])
    mean = np.stack([part.sum(axis=0) for part in np.split(heat * inside, ends)]) / np.maximum(count, 1)
    known = count > 0
    # The same heat is clear before calm water and nothing before stands that move.
    around = _median_of_columns(mean, known)
    clear = np.where(known, np.clip((mean - around) / (mean + around + _NOISE), 0, 1), 0)
    level = np.sqrt(np.minimum(mean[len(mean) // 2], _FULL_HEAT) / _FULL_HEAT)
    return np.concatenate([clear, level[None], known.mean(axis=0)[None]]).astype(np.float32)


def _median_of_columns(values: NDArray[np.float64], known: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Median of what is known in each column, over bands and heights: float64 [moments], 0 where nothing is."""
    flat, seen = values.reshape(-1, values.shape[2]), known.reshape(-1, values.shape[2])
    ordered = np.sort(np.where(seen, flat, np.inf), axis=0)
    count = seen.sum(axis=0)
    column = np.arange(flat.shape[1])
    low, high = (ordered[np.maximum(rank, 0), column] for rank in ((count - 1) // 2, count // 2 - (count == 0)))
    return np.where(count > 0, (low + high) / 2, 0.0)


def find_moments(moments: Moments) -> tuple[float, float]:
    """Return the likeliest take-off and entry, real seconds from the highest point."""
    entry = _peak(np.where(MOMENTS_S > _LEAST_STRIP_FALL_S, moments.entry, 0))
    latest = min(entry - _LEAST_AIR_S, _LATEST_TAKEOFF_S)
    return _peak(np.where(latest > MOMENTS_S, moments.takeoff, 0)), entry


def _peak(probability: NDArray[np.float64]) -> float:
    """Mean moment around the likeliest."""
    best = int(probability.argmax())
    near = slice(max(0, best - _PEAK_CELLS), best + _PEAK_CELLS + 1)
    return float(np.average(MOMENTS_S[near], weights=probability[near] + 1e-12))


def read_moments(strip: NDArray[np.float32]) -> Moments:
    """Run the networks, in NumPy, on float32 [channels, heights, moments]; 5 ms each."""
    # Two that were trained apart err apart: on filmed clips the mean of both was better than either.
    logits = np.mean([_log_softmax(_run(strip, weights)) for weights in _networks()], axis=0)
    takeoff, entry = np.exp(_log_softmax(logits))
    return Moments(takeoff, entry)


def _run(strip: NDArray[np.float32], weights: dict[str, NDArray[np.float32]]) -> NDArray[np.float64]:
    """Run one network: float64 [2, moments], logits of take-off and entry."""
    maps = _relu(_convolve(strip, weights, "c1", stride=2))
    maps = _relu(_convolve(maps, weights, "c2", stride=2, dilation=2))
    row = _relu(_convolve(maps, weights, "c3"))
    row = np.concatenate([row, weights["pos"][:, None]])
    row = _relu(_convolve(row, weights, "c4", dilation=2))
    row = _relu(_convolve(row, weights, "c5", dilation=2))
    return _convolve(row, weights, "c6")[:, 0].astype(np.float64)


def _log_softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    shifted = logits - logits.max(axis=1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))


def _convolve(
    maps: NDArray[np.float32], weights: dict[str, NDArray[np.float32]], name: str, stride: int = 1, dilation: int = 1
) -> NDArray[np.float32]:
    """Convolve float32 [channels, rows, moments]: rows with a stride and unpadded, moments dilated and padded."""
    weight, bias = weights[name + ".weight"], weights[name + ".bias"]
    if weight.ndim == 3:
        weight = weight[:, :, None]
    rows, columns = weight.shape[2:]
    side = dilation * (columns - 1) // 2
    padded = np.pad(maps, ((0, 0), (0, 0), (side, side)))
    parts = np.lib.stride_tricks.sliding_window_view(padded, (rows, dilation * (columns - 1) + 1), axis=(1, 2))
    parts = parts[:, ::stride, :, :, ::dilation]
    channels, high, wide = parts.shape[:3]
    flat = parts.transpose(0, 3, 4, 1, 2).reshape(channels * rows * columns, high * wide)
    # NumPy's product wakes threads for every small matrix, which costs more than it saves; OpenCV's does not.
    offset = np.repeat(bias[:, None], flat.shape[1], axis=1)
    out = cv2.gemm(weight.reshape(len(weight), -1), flat, 1.0, offset, 1.0)
    return np.asarray(out.reshape(len(weight), high, wide), np.float32)


def _relu(maps: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.maximum(maps, 0)


@cache
def _networks() -> tuple[dict[str, NDArray[np.float32]], ...]:
    """Weights of each network; in the file their names begin with its number."""
    stored = load_file(_WEIGHTS)
    numbers = sorted({name.split(".")[0] for name in stored})
    return tuple(
        {name[len(number) + 1 :]: value.astype(np.float32) for name, value in stored.items() if name.startswith(number)}
        for number in numbers
    )


# Take-off and entry of a flight along its path, and how large the body is there.

# How large what falls is: its breadth in the heat, and what follows from it for slow motion.

BODY_RADIUS_M = 0.45
"""Where the heat around a turning athlete has fallen to half. Measured 0.37 to 0.59 m, in pictures and simulations."""

_RADIUS_ERROR = 0.45
"""Standard deviation of its logarithm, with what blur and small pictures add."""

_SLOW_RADIUS_ERROR = 0.6
"""The same where the film is known to be slow: few frames of blur, many poses."""

_AIR_S, _AIR_ERROR_S = 1.4, 0.35
"""Time in the air of dives from 1 to 10 m, mean and standard deviation."""

_SLOW_MOTION_COST = 1.5
"""How much less likely, as a logarithm, a clip is in slow motion than at its own speed."""

_HEIGHTS_M = np.array([1.0, 3.0, 5.0, 7.5, 10.0, 10.0])
_RISES_S = np.array([0.45, 0.45, 0.27, 0.27, 0.26, 0.08])
_RISE_ERRORS_S = np.array([0.1, 0.1, 0.08, 0.08, 0.06, 0.05])
_OFTEN = np.array([0.2, 0.25, 0.15, 0.12, 0.2, 0.08])
"""Springboards, platforms and the armstand: heights, real time from the take-off to the highest point of the body's
middle, its spread with what the search errs, and how often they are dived from. With the shares of competitions, of
five slow dives from 1 m and 5 m four were estimated a quarter to a third too fast; with these, and limbs, three."""

_BELOW_M = 0.06
"""How much farther than the board is high the body's middle drops until the hands are in the water."""

_FALL_ERROR = 0.05
"""Standard deviation of the logarithm of the time from the highest point to the water."""

_SCALES = np.r_[1.0, np.geomspace(1.6, 10.0, 60)]

_ANGLES = np.arange(16) / 16 * 2 * np.pi


def body_radius(search: BallisticSearch, path: Paths) -> float:
    """Return where the heat around the falling athlete has sunk to half, in pixels of the world."""
    times = search.times
    from_s = times[path.middle[0]] + apex(path)[0] - 0.1 * path.slow[0]
    first = min(max(int(path.first[0]), int(np.searchsorted(times, from_s))), int(path.last[0]) - 2)
    index = np.arange(max(first, 0), int(path.last[0]) + 1)
    index = index[search.heat.known[index]]
    if not len(index):
        return 0.0
    x, y, _ = search.centres(path, index[None])
    x, y = search.picture(index, x[0], y[0])
    zoom = search.zoom[index] / search.zoom[index].mean()
    radii = np.arange(0, 0.35 * search.long_side)
    at = zoom[:, None, None] * radii[None, :, None]
    place_x, place_y = x[:, None, None] + at * np.cos(_ANGLES), y[:, None, None] + at * np.sin(_ANGLES)
    frames = np.broadcast_to(index[:, None, None], place_x.shape)
    heat, inside = sample(search.heat.raw, frames, place_x, place_y)
    ring = np.minimum(heat, 40.0).sum(axis=(0, 2)) / np.maximum(inside.sum(axis=(0, 2)), 1)
    ring = ring - np.percentile(ring[min(10, len(ring) // 2) :], 20)
    middle = float(ring[:3].mean())
    below = np.flatnonzero(ring < 0.5 * middle)
    if middle <= 0 or not len(below):
        return float(radii[-1])
    last = max(int(below[0]), 1)
    # Between the last ring above and the first one below.
    share = (ring[last - 1] - 0.5 * middle) / max(float(ring[last - 1] - ring[last]), 1e-6)
    return float((last - 1 + np.clip(share, 0, 1)) / search.zoom[index].mean())


def time_scale(radius_ratio: float, air_s: float) -> float:
    """Tell how many times slower than life a fall is shown.

    Args:
        radius_ratio: Radius of what falls over that of a body, in metres that the pull gives at real speed.
        air_s: Time in the air, file time.
    """
    scale = float(_SCALES[int(implausibility(radius_ratio, air_s, _SCALES).argmin())])
    if scale == 1.0:
        return scale
    # How slow it is the time in the air tells better than the size of a body.
    slow = _SCALES[1:]
    return float(slow[int(implausibility(radius_ratio, air_s, slow, _SLOW_RADIUS_ERROR).argmin())])


def slow_motion_scale(
    radius_ratio: float, rise_s: float, fall_s: float, radius_error: float = _SLOW_RADIUS_ERROR
) -> float:
    """Tell how many times slower than life a dive in slow motion is shown, from when it is highest.

    A springboard throws the athlete up for half of the time of the fall, a platform for a sixth: the share of the rise
    tells the height, and the height the real time of the fall.

    Args:
        radius_ratio: Radius of what falls over that of a body, in metres that the pull gives at real speed.
        rise_s: File time from the take-off to the highest point of the path.
        fall_s: File time from there to the entry.
        radius_error: Standard deviation of the logarithm of the ratio.
    """
    scales = np.geomspace(1.6, 12.0, 400)
    expected = np.sqrt(2 * (_HEIGHTS_M + _BELOW_M) / GRAVITY + _RISES_S**2)
    fall = np.log(fall_s / scales[:, None] / expected) / _FALL_ERROR
    rise = (rise_s / scales[:, None] - _RISES_S) / _RISE_ERRORS_S
    likelihood = (_OFTEN / _RISE_ERRORS_S * np.exp(-(fall**2 + rise**2) / 2)).sum(axis=1)
    size = np.log(np.sqrt(max(radius_ratio, 1e-3)) / scales) / (radius_error / 2)
    return float(scales[int((np.log(likelihood + 1e-30) - size**2 / 2).argmax())])


def implausibility(
    radius_ratio: float, air_s: float, scales: NDArray[np.float64], radius_error: float = _RADIUS_ERROR
) -> NDArray[np.float64]:
    """Say how little body and time in the air fit time scales: minus logarithms of their likelihood, 0 at best."""
    # A fall shown n times slower has the pull of a scene n^2 times smaller.
    size = np.log(np.sqrt(max(radius_ratio, 1e-3)) / scales) / (radius_error / 2)
    air = (air_s / scales - _AIR_S) / _AIR_ERROR_S
    return np.asarray(size**2 / 2 + air**2 / 2 + np.where(scales > 1, _SLOW_MOTION_COST, 0))


def diameters(
    search: BallisticSearch, path: Paths, index: NDArray[np.int64], x: NDArray[np.float64], y: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Estimate the athlete's longest extent, float64 [frames], in pixels of the heat, around places in its pixels."""
    metre = float(search.metre(path)[0]) * search.zoom[index]
    grid = np.linspace(-1.3, 1.3, 27)
    over, down = (one.ravel() for one in np.meshgrid(grid, grid))
    disc = np.hypot(over, down) <= 1.3
    over, down = over[disc], down[disc]
    frames = np.broadcast_to(index[:, None], (len(index), len(over)))
    heat, _ = sample(search.heat.raw, frames, x[:, None] + metre[:, None] * over, y[:, None] + metre[:, None] * down)
    heat = np.clip(heat - 0.3 * np.percentile(heat, 95, axis=1)[:, None], 0, None)
    total = np.maximum(heat.sum(axis=1), 1e-6)
    mean_x, mean_y = (heat * over).sum(axis=1) / total, (heat * down).sum(axis=1) / total
    dx, dy = over - mean_x[:, None], down - mean_y[:, None]
    xx, yy, xy = ((heat * one).sum(axis=1) / total for one in (dx * dx, dy * dy, dx * dy))
    longest = (xx + yy) / 2 + np.sqrt(((xx - yy) / 2) ** 2 + xy**2)
    # A rod's length is 3.5 of its standard deviations, a disc's diameter 4.
    return np.asarray(np.clip(3.7 * np.sqrt(longest), 0.6, 2.4) * metre)


# When the flight begins and ends: the leaving of the support and the first contact with the water.
#
# A small network reads both moments in the strip of heat along the path (``moments``); then the path is laid anew
# through its free fall alone, and read again. How well an entry shows is measured apart from that, for the
# confidence: in a slit of height over time, what fell leaves the path and motion stays where the water is.

REACH_M = 1.0
"""From the middle of an athlete, stretched, to the hands or feet that meet the water first."""

_SPLASH_ACROSS_M = np.array([-1.3, -1.05, -0.8, -0.4, -0.2, 0.0, 0.2, 0.4, 0.8, 1.05, 1.3])
_BODY_M = 0.5
"""Where the slit is sampled, metres from the path, and how far that is the breadth of a body."""

_CELL_M = 0.1
_CELL_S = 0.02
_TOP_M, _BOTTOM_M = -2.5, 16.0
"""What the slit shows, metres below the highest point of the path."""

_START_S, _END_S = -1.6, 2.6
"""When the slit begins and ends, real seconds from the highest point."""


_LEAST_FALL_S = 0.35
"""Real seconds from the highest point within which no athlete reaches the water."""

_ENTRY_WEIGHTS = np.array([0.3, 2.9, -2.1, -6.1, 3.8, 0.1, -0.1, -1.5, 2.5, 0.1, 3.1]) / 4
"""Of the features of an entry: a logistic choice of the moment, fitted to 71 clips, most of them simulated with random
cameras, light and codecs."""


@dataclass(frozen=True, slots=True)
class Slit:
    """Height over time along one path.

    Attributes:
        middle: float64 [heights, moments], how clearly something moves within the breadth of a body, 0 to 1.
        sides: float64 [heights, moments], the same to both sides, within the breadth of a splash.
        known: bool [heights, moments], what lies in the picture.
        apex_s: File time of the highest point of the path.
        slow: How many times slower than life.
    """

    middle: NDArray[np.float64]
    sides: NDArray[np.float64]
    known: NDArray[np.bool_]
    apex_s: float
    slow: float


def slit_along(search: BallisticSearch, path: Paths) -> Slit:
    """Cut the heat along one path."""
    times, slow, shots = search.times, float(path.slow[0]), search.heat.camera.shots
    middle = int(path.middle[0])
    metre = float(search.metre(path)[0])
    since_apex = float(apex(path)[0])
    apex_s = float(times[middle]) + since_apex
    top = float(np.polynomial.polynomial.polyval(since_apex, path.y[0]))
    moments = np.arange(_START_S, _END_S, _CELL_S) * slow + apex_s
    # No lower than an entry may be.
    latest = (times[path.last[0]] - apex_s) / slow + 0.35
    bottom = min(_BOTTOM_M, max(GRAVITY / 2 * latest**2, 2.0) + REACH_M + 2.0)
    heights = top + np.arange(_TOP_M, bottom, _CELL_M) * metre
    frames = np.abs(times[None] - moments[:, None]).argmin(axis=1)
    there = search.heat.known[frames] & (shots[frames] == shots[middle])
    there &= np.abs(times[frames] - moments) < search.gap_s
    x = np.polynomial.polynomial.polyval(moments - times[middle], path.x[0])
    shape = len(_SPLASH_ACROSS_M), len(heights), len(moments)
    world_x = np.broadcast_to(x[None, None] + (_SPLASH_ACROSS_M * metre)[:, None, None], shape)
    world_y = np.broadcast_to(heights[None, :, None], shape)
    index = np.broadcast_to(frames[None, None], shape)
    value, inside = sample(search.heat.raw, index, *search.picture(index, world_x, world_y))
    inside &= there
    near = np.abs(_SPLASH_ACROSS_M) <= _BODY_M
    known = inside[near].mean(axis=0) > 0.5
    middle_heat, sides_heat = (_mean(value[part], inside[part]) for part in (near, ~near))
    # The same heat is clear before calm water and nothing before stands that move.
    around = _columns_median(middle_heat, known)
    return Slit(_clear(middle_heat, around, known), _clear(sides_heat, around, known), known, apex_s, slow)


def _mean(value: NDArray[np.float32], inside: NDArray[np.bool_]) -> NDArray[np.float64]:
    return np.asarray((value * inside).sum(axis=0) / np.maximum(inside.sum(axis=0), 1), np.float64)


def _columns_median(heat: NDArray[np.float64], known: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Median over the heights in the picture at each moment, float64 [moments]."""
    return _quantile(heat.T, known.T, 0.5)


def _quantile(values: NDArray[np.float64], known: NDArray[np.bool_], share: float) -> NDArray[np.float64]:
    """Quantile of what is known in each row, 0 where nothing is; NumPy's own goes row by row."""
    ordered = np.sort(np.where(known, values, np.inf), axis=1)
    count = known.sum(axis=1)
    picked = ordered[np.arange(len(values)), (share * np.maximum(count - 1, 0)).astype(np.int64)]
    return np.asarray(np.where(count > 0, picked, 0.0))


def _clear(heat: NDArray[np.float64], around: NDArray[np.float64], known: NDArray[np.bool_]) -> NDArray[np.float64]:
    """How far heat stands out from what is around at the time, and from what is always there at the height."""
    clear = np.where(known, np.clip((heat - around) / (heat + around + _NOISE), 0, 1), 0)
    return np.asarray(np.where(known, np.clip(clear - _quantile(clear, known, 0.3)[:, None], 0, 1), 0))


def entry_features(slit: Slit) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Describe what the slit shows around each moment, if that were the first contact with the water.

    Returns:
        Real seconds from the highest point, float64 [moments]; and means of boxes, float64 [moments, features].
    """
    middle, sides = _Boxes(slit.middle, slit.known), _Boxes(slit.sides, slit.known)
    moments = np.arange(_LEAST_FALL_S, _END_S - 0.1, 0.01)
    water = GRAVITY / 2 * moments**2 + REACH_M
    features = [
        middle.on_path(moments, (-0.4, -0.1)),
        middle.on_path(moments, (-0.1, 0.0)),
        middle.on_path(moments, (0.05, 0.15)),
        middle.on_path(moments, (0.2, 0.4)),
        middle.mean(moments, (0.1, 0.5), water, (-0.5, 0.6)),
        middle.mean(moments, (-0.5, -0.15), water, (-0.5, 0.6)),
        middle.mean(moments, (0.25, 0.55), water, (-2.6, -1.2)),
        middle.mean(moments, (0.1, 0.5), water, (0.9, 2.0)),
        sides.mean(moments, (0.04, 0.3), water, (-0.6, 0.6)),
        sides.mean(moments, (-0.35, -0.04), water, (-0.6, 0.6)),
        middle.share(moments, (0.1, 0.5), water, (-0.5, 0.6)),
    ]
    return moments, np.stack(features, axis=1)


def water_evidence(slit: Slit) -> float:
    """How well the slit shows an entry, wherever it shows it best."""
    return float((entry_features(slit)[1] @ _ENTRY_WEIGHTS).max())


class _Boxes:
    """Means of a slit over boxes around moments, from its integral."""

    def __init__(self, heat: NDArray[np.float64], known: NDArray[np.bool_]) -> None:
        self._heat = _integral(heat)
        self._known = _integral(known.astype(np.float64))
        t = np.arange(_START_S, _END_S, _CELL_S)
        centre = np.rint((GRAVITY / 2 * t**2 - _TOP_M) / _CELL_M).astype(np.int64)
        low, high = (np.clip(centre + by, 0, len(heat)) for by in (-6, 7))
        columns = np.arange(len(t))
        down, seen = (np.vstack([np.zeros(len(t)), np.cumsum(one, axis=0)]) for one in (heat, known))
        self._path_heat = np.r_[0, np.cumsum(down[high, columns] - down[low, columns])]
        self._path_known = np.r_[0, np.cumsum(seen[high, columns] - seen[low, columns])]

    def mean(
        self,
        moments: NDArray[np.float64],
        span_s: tuple[float, float],
        heights: NDArray[np.float64],
        span_m: tuple[float, float],
    ) -> NDArray[np.float64]:
        """Mean heat from ``moments`` + span and ``heights`` + span; 0 where the picture does not show it."""
        heat, known = (self._sum(one, moments, span_s, heights, span_m) for one in (self._heat, self._known))
        return np.asarray(heat / np.maximum(known, 1))

    def share(
        self,
        moments: NDArray[np.float64],
        span_s: tuple[float, float],
        heights: NDArray[np.float64],
        span_m: tuple[float, float],
    ) -> NDArray[np.float64]:
        """Share of such a box that the picture shows."""
        cells = (span_s[1] - span_s[0]) / _CELL_S * (span_m[1] - span_m[0]) / _CELL_M
        return np.clip(self._sum(self._known, moments, span_s, heights, span_m) / cells, 0, 1)

    @staticmethod
    def _sum(
        integral: NDArray[np.float64],
        moments: NDArray[np.float64],
        span_s: tuple[float, float],
        heights: NDArray[np.float64],
        span_m: tuple[float, float],
    ) -> NDArray[np.float64]:
        left, right = (_cell(moments + by, _START_S, _CELL_S, integral.shape[1]) for by in span_s)
        top, bottom = (_cell(heights + by, _TOP_M, _CELL_M, integral.shape[0]) for by in span_m)
        return np.asarray(integral[bottom, right] - integral[top, right] - integral[bottom, left] + integral[top, left])

    def on_path(self, moments: NDArray[np.float64], span_s: tuple[float, float]) -> NDArray[np.float64]:
        """Mean heat on the path from ``moments`` + span."""
        left, right = (_cell(moments + by, _START_S, _CELL_S, len(self._path_heat)) for by in span_s)
        known = self._path_known[right] - self._path_known[left]
        return np.asarray((self._path_heat[right] - self._path_heat[left]) / np.maximum(known, 1))


def _cell(value: NDArray[np.float64], start: float, size: float, count: int) -> NDArray[np.int64]:
    return np.clip(np.rint((value - start) / size).astype(np.int64), 0, count - 1)


def _integral(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.pad(values.cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))


_TRACK_RADIUS_M = 0.8


def track(
    search: BallisticSearch, path: Paths, frames: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Follow the middle of what moves, frame by frame, from a place on the path.

    Args:
        search: The heat.
        path: One path.
        frames: Their numbers in the order in which they are followed; on the first one the athlete is on the path.

    Returns:
        float64 [frames, 2], metres from the path, x and y; and float64 [frames], heat around that place.
    """
    metre = float(search.metre(path)[0])
    world_x, world_y = (one[0] for one in search.position(path, frames[None]))
    off, pace = np.zeros(2), np.zeros(2)
    offsets, heats = np.zeros((len(frames), 2)), np.zeros(len(frames))
    for step, frame in enumerate(frames.tolist()):
        radius = max(_TRACK_RADIUS_M * metre * float(search.zoom[frame]), 0.03 * search.long_side)
        start = np.array([world_x[step], world_y[step]]) + (off + pace) * metre
        point, heat = search.shifted(frame, start, radius)
        offset = (point - [world_x[step], world_y[step]]) / metre
        if heat > 0:
            pace = 0.5 * pace + 0.5 * (offset - off) if step else pace
            off = offset
        offsets[step], heats[step] = off, heat
    return offsets, heats


_ROUNDS = 3


@dataclass(frozen=True, slots=True)
class Ends:
    """Begin and end of a flight.

    Attributes:
        takeoff_s: First frame in the air, file time.
        entry_s: First frame in contact with the water, file time.
        water: How well the slit shows the entry.
        shown: How likely it is that the shot shows the entry, and does not end before, 0 to 1.
    """

    takeoff_s: float
    entry_s: float
    water: float
    shown: float


def refine(search: BallisticSearch, path: Paths) -> tuple[Paths, Ends]:
    """Lay one path through its free fall alone, and find when that begins and ends."""
    slow = float(path.slow[0])
    for turn in range(_ROUNDS):
        apex_s = float(search.times[path.middle[0]] + apex(path)[0])
        moments = read_moments(strip_along(search, path))
        takeoff, entry = find_moments(moments)
        began, ended = apex_s + takeoff * slow, apex_s + entry * slow
        if turn < _ROUNDS - 1:
            # What is certain to be free fall: at first only what lies near the highest point and after.
            first_s = max(began, apex_s - 0.25 * slow) if turn == 0 else began + 0.03 * slow
            fitted = search.fit(path, first_s, ended)
            path = fitted if fitted is not None else path
    # The first frame that shows it comes half a frame later on average.
    late = search.gap_s / 2
    shots = search.heat.camera.shots
    last_s = float(search.times[np.flatnonzero(shots == shots[path.middle[0]])[-1]])
    shown = float(moments.entry[apex_s + MOMENTS_S * slow <= last_s].sum())
    return path, Ends(began + late, ended + late, water_evidence(slit_along(search, path)), shown)
