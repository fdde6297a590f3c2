"""Where in a film somebody dives: camera motion, what moves in the static scene, who falls freely. No torch.

`flights.find_flights` searches; the window here follows the athlete of a flight.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
from scipy.ndimage import gaussian_filter1d

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from finecausal_cli.tracking.flights import Flight

# Where to look: a smooth square window around the athlete, as a camera operator would frame it.

_SMOOTH_S = 0.12
"""Standard deviation, in real seconds, over which the window's side is smoothed."""

_LEAST_SIDE = 16.0
"""Least side of a window in pixels."""

SPLASH_BELOW_BODY_M = 0.4
"""How far the middle of the window around a splash lies below the body's middle at the touch, metres: 0.8 above the
water, for the middle of a stretched body is 1.2 above it."""

_SPLASH_SIDE_M = 3.0
"""Side of that window, metres: that of the window around the athlete."""


def athlete_window(
    flight: Flight,
    times_s: NDArray[np.float64],
    size: tuple[int, int],
    *,
    reach_m: float = 2.4,
    margin: float = 1.25,
) -> NDArray[np.float64]:
    """Lay a square around the athlete at each time.

    Before the first and after the last place that is known the window holds that place of the still world: it goes
    along with the camera.

    Args:
        flight: Where the athlete is.
        times_s: float64 [times], file time, in any order.
        size: Height and width of the picture in pixels; no side is longer than twice the longer one.
        reach_m: Longest extent of an athlete with stretched arms, in metres.
        margin: Side of the window over that.

    Returns:
        float64 [times, 3]: x and y of the middle and the side, in pixels of the decoded upright picture. The window
        may reach beyond the picture.
    """
    times = np.clip(np.asarray(times_s, np.float64), flight.times_s[0], flight.times_s[-1])
    steps = np.diff(flight.times_s)
    sigma = _SMOOTH_S * flight.time_scale / max(float(np.median(steps)) if len(steps) else 1.0, 1e-3)
    metre = np.exp(gaussian_filter1d(np.log(flight.px_per_m), sigma, mode="nearest"))
    known = np.stack([np.interp(times, flight.times_s, flight.centres[:, axis]) for axis in (0, 1)], axis=1)
    side = np.interp(times, flight.times_s, metre) * reach_m * margin
    centre, zoom = _held(flight, known, times, np.asarray(times_s, np.float64))
    beyond = np.asarray(times_s) != times
    centre = np.where(beyond[:, None], centre, known)
    side = np.clip(np.where(beyond, side * zoom, side), _LEAST_SIDE, 2.0 * max(size))
    return np.column_stack([centre, side])


def splash_window(
    flight: Flight, entry_s: float, times_s: NDArray[np.float64], size: tuple[int, int]
) -> NDArray[np.float64]:
    """Lay a square around the place of the still world where the athlete meets the water, at each time.

    From below the surface to 2 m above it, as high as drops fly. The window of the athlete goes on with the body under
    water: in a third of the worst read splashes of films it cut off their upper half.

    Args:
        flight: Where the athlete is.
        entry_s: When the athlete meets the water, file time.
        times_s: float64 [times], file time.
        size: Height and width of the picture in pixels; no side is longer than twice the longer one.

    Returns:
        float64 [times, 3], as ``athlete_window``.
    """
    at = float(np.clip(entry_s, flight.times_s[0], flight.times_s[-1]))
    place = np.array([np.interp(at, flight.times_s, flight.centres[:, axis]) for axis in (0, 1)])
    metre = float(np.interp(at, flight.times_s, flight.px_per_m))
    place[1] += SPLASH_BELOW_BODY_M * metre
    centre, zoom = _held(flight, place[None], np.array([at]), np.asarray(times_s, np.float64))
    return np.column_stack([centre, np.clip(_SPLASH_SIDE_M * metre * zoom, _LEAST_SIDE, 2.0 * max(size))])


def _held(
    flight: Flight, places: NDArray[np.float64], from_s: NDArray[np.float64], to_s: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return where places [times or 1, 2] of the still world at some times lie at others, and how much larger."""
    moved = flight.camera.at_times(to_s) @ np.linalg.inv(flight.camera.at_times(from_s))
    centres = (moved[:, :2, :2] @ places[:, :, None])[:, :, 0] + moved[:, :2, 2]
    return centres, np.sqrt(np.abs(np.linalg.det(moved[:, :2, :2])))


def crop_window(frame: NDArray[np.uint8], window: NDArray[np.float64], out_size: int) -> NDArray[np.uint8]:
    """Cut a window out of a picture, repeating the picture's edge where the window reaches beyond it.

    Args:
        frame: uint8 [height, width, 3].
        window: float64 [3]: x and y of the middle and the side, in pixels; a pixel's middle lies at its number + 0.5.
        out_size: Side of the result in pixels.

    Returns:
        uint8 [out_size, out_size, 3].
    """
    x, y, side = (float(value) for value in window)
    scale = out_size / side
    if scale <= 0.5:
        # Shrinking by warping would skip pixels: first take the mean of those that fall together.
        shrink = int(1 / scale)
        height, width = (max(1, round(length / shrink)) for length in frame.shape[:2])
        small = _shrunk_around(frame, (height, width), shrink, window)
        x, y, scale = x * width / frame.shape[1], y * height / frame.shape[0], scale * frame.shape[0] / height
        frame = small
    matrix = np.array([[scale, 0, out_size / 2 - scale * x], [0, scale, out_size / 2 - scale * y]])
    # Pixels are counted from their middles.
    matrix[:, 2] += 0.5 * scale - 0.5
    cut = cv2.warpAffine(frame, matrix, (out_size, out_size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(cut, np.uint8)


def _shrunk_around(
    frame: NDArray[np.uint8], size: tuple[int, int], step: int, window: NDArray[np.float64]
) -> NDArray[np.uint8]:
    """Shrink a picture by the mean of ``step`` x ``step`` pixels; only around the window where that means the same."""
    if (size[0] * step, size[1] * step) != frame.shape[:2]:
        return np.asarray(cv2.resize(frame, size[::-1], interpolation=cv2.INTER_AREA), np.uint8)
    small = np.empty((*size, 3), np.uint8)
    parts = []
    for middle, length in zip(window[1::-1], size, strict=True):
        # Two cells more than the window: the warp reads the neighbours of its outermost pixels.
        first = np.clip(np.floor((middle - window[2] / 2) / step) - 2, 0, length - 1)
        last = np.clip(np.ceil((middle + window[2] / 2) / step) + 2, first + 1, length)
        parts.append(slice(int(first), int(last)))
    rows, columns = parts
    region = frame[rows.start * step : rows.stop * step, columns.start * step : columns.stop * step]
    shape = columns.stop - columns.start, rows.stop - rows.start
    small[rows, columns] = cv2.resize(region, shape, interpolation=cv2.INTER_AREA)
    return small
