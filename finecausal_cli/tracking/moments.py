"""When take-off and entry are: small convolutional networks read both in the strip of heat along a path.

The strip follows the path of free fall, so that an athlete in flight is a level band in its middle. Before the take-off
the band bends away, for the support carries the athlete; at the entry it ends, and the splash, which stays in the
world, runs off upward. The networks see heat alone, no colours, so that what they learnt from simulated dives holds for
filmed ones. ``benchmarks/moments.py`` trains them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from safetensors.numpy import load_file

from finecausal_cli.tracking.ballistic import Paths, apex
from finecausal_cli.tracking.motion import sample

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from finecausal_cli.tracking.ballistic import BallisticSearch

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

_LEAST_FALL_S, _LATEST_TAKEOFF_S, _LEAST_AIR_S = 0.3, 0.3, 0.35
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
    around = _columns_median(mean, known)
    clear = np.where(known, np.clip((mean - around) / (mean + around + _NOISE), 0, 1), 0)
    level = np.sqrt(np.minimum(mean[len(mean) // 2], _FULL_HEAT) / _FULL_HEAT)
    return np.concatenate([clear, level[None], known.mean(axis=0)[None]]).astype(np.float32)


def _columns_median(values: NDArray[np.float64], known: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Median of what is known in each column, over bands and heights: float64 [moments], 0 where nothing is."""
    flat, seen = values.reshape(-1, values.shape[2]), known.reshape(-1, values.shape[2])
    ordered = np.sort(np.where(seen, flat, np.inf), axis=0)
    count = seen.sum(axis=0)
    column = np.arange(flat.shape[1])
    low, high = (ordered[np.maximum(place, 0), column] for place in ((count - 1) // 2, count // 2 - (count == 0)))
    return np.where(count > 0, (low + high) / 2, 0.0)


def find_moments(moments: Moments) -> tuple[float, float]:
    """Return the likeliest take-off and entry, real seconds from the highest point."""
    entry = _peak(np.where(MOMENTS_S > _LEAST_FALL_S, moments.entry, 0))
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
