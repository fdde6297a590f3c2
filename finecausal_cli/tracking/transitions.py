"""When the flight begins and ends: the leaving of the support and the first contact with the water.

Both are read in the picture that a slit along the path of flight gives: height over time, in metres and real seconds
from the highest point. At the entry, what fell leaves the path, and motion stays where the water is: the splash. The
take-off is the kink of the athlete's own track: before it, the push of the support bends the track away from free fall.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from finecausal_cli.tracking.ballistic import GRAVITY, Paths, apex
from finecausal_cli.tracking.motion import sample

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from finecausal_cli.tracking.ballistic import BallisticSearch

REACH_M = 1.0
"""From the middle of an athlete, stretched, to the hands or feet that meet the water first."""

_HALF_WIDTH_M = 0.7
_CELL_M = 0.1
_CELL_S = 0.02
_TOP_M, _BOTTOM_M = -2.5, 16.0
"""What the slit shows, metres below the highest point of the path."""

_START_S, _END_S = -1.6, 2.6
"""When the slit begins and ends, real seconds from the highest point."""

_SATURATION = 25.0

_LEAST_FALL_S = 0.35
"""Real seconds from the highest point within which no athlete reaches the water."""


@dataclass(frozen=True, slots=True)
class Slit:
    """Height over time along one path.

    Attributes:
        heat: float64 [heights, moments], mean over the breadth of a splash, as a share of that on the path.
        known: float64 [heights, moments], share that lies in the picture.
        apex_s: File time of the highest point of the path.
        slow: How many times slower than life.
    """

    heat: NDArray[np.float64]
    known: NDArray[np.float64]
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
    heights = top + np.arange(_TOP_M, _BOTTOM_M, _CELL_M) * metre
    frames = np.abs(times[None] - moments[:, None]).argmin(axis=1)
    there = (
        search.heat.known[frames] & (shots[frames] == shots[middle]) & (np.abs(times[frames] - moments) < search.gap_s)
    )
    since = moments - times[middle]
    across = np.linspace(-_HALF_WIDTH_M, _HALF_WIDTH_M, 7) * metre
    x = np.polynomial.polynomial.polyval(since, path.x[0])
    shape = len(across), len(heights), len(moments)
    world_x = np.broadcast_to(x[None, None] + across[:, None, None], shape)
    world_y = np.broadcast_to(heights[None, :, None], shape)
    index = np.broadcast_to(frames[None, None], shape)
    value, inside = sample(search.heat.raw, index, *search.picture(index, world_x, world_y))
    inside &= there
    heat = np.where(inside, np.minimum(value, _SATURATION), 0).mean(axis=0)
    return Slit(heat.astype(np.float64), inside.mean(axis=0), apex_s, slow)


def entry_scores(slit: Slit) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Score moments as the first contact with the water.

    Returns:
        Real seconds from the highest point, and how well each, as the entry, explains the slit.
    """
    box = _Boxes(slit)
    moments = np.arange(_LEAST_FALL_S, _END_S - 0.1, 0.01)
    water = GRAVITY / 2 * moments**2 + REACH_M
    after = box.mean(moments, (0.06, 0.5), water, (-0.5, 0.7))
    before = box.mean(moments, (-0.5, -0.15), water, (-0.5, 0.7))
    above = box.mean(moments, (0.25, 0.55), water, (-2.6, -1.2))
    falling = box.on_path(moments, (-0.4, 0.0))
    beyond = box.on_path(moments, (0.22, 0.45))
    score = after + falling - before - above - beyond
    return moments, score / max(float(np.percentile(falling, 80)), 1e-6)


class _Boxes:
    """Means of a slit over boxes around moments, from its integral."""

    def __init__(self, slit: Slit) -> None:
        self._heat = _integral(slit.heat)
        self._known = _integral(slit.known)
        t = np.arange(_START_S, _END_S, _CELL_S)
        y = GRAVITY / 2 * t**2
        centre = np.rint((y - _TOP_M) / _CELL_M).astype(np.int64)
        low, high = (np.clip(centre + by, 0, len(slit.heat)) for by in (-6, 7))
        columns = np.arange(len(t))
        heat, known = (np.vstack([np.zeros(len(t)), np.cumsum(one, axis=0)]) for one in (slit.heat, slit.known))
        self._path_heat = np.r_[0, np.cumsum(heat[high, columns] - heat[low, columns])]
        self._path_known = np.r_[0, np.cumsum(known[high, columns] - known[low, columns])]

    def mean(
        self,
        moments: NDArray[np.float64],
        span_s: tuple[float, float],
        heights: NDArray[np.float64],
        span_m: tuple[float, float],
    ) -> NDArray[np.float64]:
        """Mean heat from ``moments`` + span and ``heights`` + span; 0 where the picture does not show it."""
        left, right = (_cell(moments + by, _START_S, _CELL_S, self._heat.shape[1]) for by in span_s)
        top, bottom = (_cell(heights + by, _TOP_M, _CELL_M, self._heat.shape[0]) for by in span_m)
        heat, known = (
            one[bottom, right] - one[top, right] - one[bottom, left] + one[top, left]
            for one in (self._heat, self._known)
        )
        return np.asarray(heat / np.maximum(known, 1))

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
_PUSH = (8.0, 60.0)
"""Bounds of a sixth of how fast the support's push ends, metres a second cubed: from a step to a springboard."""

_PUSH_S = 0.3
"""Real seconds over which the push falls to nothing before a take-off."""

_OUTLIER_M = 0.35


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
    world_x, world_y = (one[0] for one in search.place(path, frames[None]))
    off, pace = np.zeros(2), np.zeros(2)
    places, heats = np.zeros((len(frames), 2)), np.zeros(len(frames))
    for step, frame in enumerate(frames.tolist()):
        radius = max(_TRACK_RADIUS_M * metre * float(search.zoom[frame]), 0.03 * search.long_side)
        start = np.array([world_x[step], world_y[step]]) + (off + pace) * metre
        place, heat = search.shifted(frame, start, radius)
        found = (place - [world_x[step], world_y[step]]) / metre
        if heat > 0:
            pace = 0.5 * pace + 0.5 * (found - off) if step else pace
            off = found
        places[step], heats[step] = off, heat
    return places, heats


def takeoff_s(search: BallisticSearch, path: Paths) -> float:
    """Find the kink of the athlete's track at which free fall begins, file time."""
    times, slow = search.times, float(path.slow[0])
    apex_s = float(times[path.middle[0]] + apex(path)[0])
    shot = search.heat.camera.shots == search.heat.camera.shots[path.middle[0]]
    frames = np.flatnonzero(shot & (times > apex_s - 1.0 * slow) & (times < apex_s + 0.35 * slow))[::-1]
    if len(frames) < 4:
        return float(times[path.first[0]])
    off, heat = track(search, path, frames)
    real = (times[frames] - apex_s) / slow
    weight = np.minimum(heat / max(float(np.median(heat[real > -0.2])), 1e-6), 1.0)
    return apex_s + slow * _kink(real, off[:, 1], weight)


def _kink(real: NDArray[np.float64], off: NDArray[np.float64], weight: NDArray[np.float64]) -> float:
    """Fit ``off`` = 0 after the kink and a push that ends there, cubic, before it; return when it is, real seconds."""
    best, found = np.inf, float(real.min())
    for moment in np.arange(max(-0.9, float(real.min())), 0.1, 0.01):
        before = np.maximum(moment - real, 0)
        near = np.minimum(before, _PUSH_S)
        shape = -(near**3 + 3 * _PUSH_S**2 * (before - near))
        sum_of = float((weight * shape * shape * (before < _PUSH_S)).sum())
        push = float((weight * shape * off * (before < _PUSH_S)).sum()) / sum_of if sum_of > 0 else _PUSH[0]
        push = min(max(push, _PUSH[0]), _PUSH[1])
        wrong = np.minimum((off - push * shape) ** 2, _OUTLIER_M**2)
        cost = float((weight * wrong).sum())
        if cost < best:
            best, found = cost, float(moment)
    return found


_ROUNDS = 3


def refine(search: BallisticSearch, path: Paths) -> tuple[Paths, float, float, float]:
    """Lay one path through its free fall alone, and find when that begins and ends.

    Returns:
        The path; take-off and entry in file time; how well the slit shows the entry.
    """
    times, slow = search.times, float(path.slow[0])
    began, ended, sure = float(times[path.first[0]]), float(times[path.last[0]]), 0.0
    for turn in range(_ROUNDS):
        slit = slit_along(search, path)
        moments, scores = entry_scores(slit)
        best = int(scores.argmax())
        ended, sure = slit.apex_s + float(moments[best]) * slow, float(scores[best])
        began = takeoff_s(search, path)
        if turn < _ROUNDS - 1:
            # What is certain to be free fall: at first only what lies near the highest point and after.
            first_s = max(began, slit.apex_s - 0.25 * slow) if turn == 0 else began + 0.03 * slow
            fitted = search.fit(path, first_s, ended)
            path = fitted if fitted is not None else path
    return path, began, ended, sure
