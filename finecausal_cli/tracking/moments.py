"""Where take-off and entry lie in a flight: a small network on the strip of heat along its path."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from safetensors.numpy import load_file

from finecausal_cli.tracking.ballistic import Paths, apex
from finecausal_cli.tracking.motion import sample

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from finecausal_cli.tracking.ballistic import BallisticSearch

START_S, END_S, CELL_S = -1.4, 2.4, 0.025
MOMENTS_S = START_S + CELL_S * np.arange(round((END_S - START_S) / CELL_S))

DOWN_M = np.linspace(-3.0, 3.0, 41)

_BANDS_M = ((-1.5, -1.2, -0.9), (-0.6, -0.35), (-0.15, 0.0, 0.15), (0.35, 0.6), (0.9, 1.2, 1.5))
_ACROSS_M = np.concatenate(_BANDS_M)

_NOISE = 3.0

_LEAST_FALL_S = 0.3
_LATEST_TAKEOFF_S = 0.3
_LEAST_AIR_S = 0.35

_WEIGHTS = Path(__file__).with_name("moments.safetensors")


def strip_along(search: BallisticSearch, path: Paths) -> NDArray[np.float32]:
    """Cut the heat along a path, float32 [channels, heights, moments], heights relative to the path."""
    times, slow, shots = search.times, float(path.slow[0]), search.heat.camera.shots
    middle = int(path.middle[0])
    metre = float(search.metre(path)[0])
    apex_s = float(times[middle] + apex(path)[0])
    file_s = MOMENTS_S * slow + apex_s
    frames = np.searchsorted(times, file_s).clip(1, len(times) - 1)
    frames = frames - (file_s - times[frames - 1] < times[frames] - file_s)
    there = search.heat.known[frames] & (shots[frames] == shots[middle])
    there &= np.abs(times[frames] - file_s) < max(search.gap_s, CELL_S * slow)
    # The path where the frame was taken, not where the moment is.
    since = times[frames] - times[middle]
    polyval = np.polynomial.polynomial.polyval
    x, y = polyval(since, path.x[0]), polyval(since, path.y[0])
    forward = 1.0 if path.x[0, 1] >= 0 else -1.0
    shape = len(_ACROSS_M), len(DOWN_M), len(MOMENTS_S)
    world_x = np.broadcast_to(x + (forward * _ACROSS_M * metre)[:, None, None], shape)
    world_y = np.broadcast_to(y + (DOWN_M * metre)[:, None], shape)
    index = np.broadcast_to(frames, shape)
    heat, inside = sample(search.heat.raw, index, *search.picture(index, world_x, world_y))
    inside &= there
    bands = np.cumsum([len(band) for band in _BANDS_M])[:-1]
    total = np.stack([part.sum(axis=0) for part in np.split(heat * inside, bands)])
    count = np.stack([part.sum(axis=0) for part in np.split(inside, bands)])
    mean = total / np.maximum(count, 1)
    known = count > 0
    # The same heat is clear before calm water and nothing before stands that move.
    around = np.array(
        [
            np.median(column[seen]) if seen.any() else 0.0
            for column, seen in zip(mean.reshape(-1, shape[2]).T, known.reshape(-1, shape[2]).T, strict=True)
        ]
    )
    clear = np.where(known, np.clip((mean - around) / (mean + around + _NOISE), 0, 1), 0)
    level = np.sqrt(np.minimum(mean[2], 60.0) / 60.0)
    shown = known.mean(axis=0)
    return np.concatenate([clear, level[None], shown[None]]).astype(np.float32)


@dataclass(frozen=True, slots=True)
class Moments:
    """How likely each moment is the take-off and the entry.

    Attributes:
        takeoff: float64 [moments], probabilities.
        entry: float64 [moments].
    """

    takeoff: NDArray[np.float64]
    entry: NDArray[np.float64]


def read_moments(strip: NDArray[np.float32]) -> Moments:
    """Run the network on one strip."""
    weights = _weights()
    maps = _relu(_convolve(strip, weights, "c1", stride=2))
    maps = _relu(_convolve(maps, weights, "c2", stride=2, dilation=2))
    row = _relu(_convolve(maps, weights, "c3"))
    row = np.concatenate([row, weights["pos"][:, None]])
    row = _relu(_convolve(row, weights, "c4", dilation=2))
    row = _relu(_convolve(row, weights, "c5", dilation=2))
    logits = _convolve(row, weights, "c6")[:, 0].astype(np.float64)
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    takeoff, entry = odds / odds.sum(axis=1, keepdims=True)
    return Moments(takeoff, entry)


def find_moments(moments: Moments) -> tuple[float, float]:
    """Return the likeliest take-off and entry, real seconds from the highest point."""
    entry = _middle(np.where(MOMENTS_S > _LEAST_FALL_S, moments.entry, 0))
    takeoff = _middle(np.where(MOMENTS_S < min(entry - _LEAST_AIR_S, _LATEST_TAKEOFF_S), moments.takeoff, 0))
    return takeoff, entry


def _middle(chance: NDArray[np.float64]) -> float:
    """Mean moment around the likeliest."""
    best = int(chance.argmax())
    near = slice(max(0, best - 3), best + 4)
    return float(np.average(MOMENTS_S[near], weights=chance[near] + 1e-12))


def _convolve(
    maps: NDArray[np.float32], weights: dict[str, NDArray[np.float32]], name: str, stride: int = 1, dilation: int = 1
) -> NDArray[np.float32]:
    """Convolve float32 [channels, rows, moments]: rows valid and with a stride, moments padded and dilated."""
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
    out = weight.reshape(len(weight), -1) @ flat + bias[:, None]
    return np.asarray(out.reshape(len(weight), high, wide), np.float32)


def _relu(maps: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.maximum(maps, 0)


@cache
def _weights() -> dict[str, NDArray[np.float32]]:
    return {name: value.astype(np.float32) for name, value in load_file(_WEIGHTS).items()}
