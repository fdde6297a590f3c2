"""How large what falls is: its breadth in the heat, and what follows from it for slow motion."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from finecausal_cli.tracking.ballistic import apex
from finecausal_cli.tracking.motion import sample

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from finecausal_cli.tracking.ballistic import BallisticSearch, Paths

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
