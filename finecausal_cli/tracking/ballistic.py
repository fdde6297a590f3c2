"""The search for free fall: paths, x linear and y quadratic in time, that have motion all along them."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np

from finecausal_cli.tracking.motion import SMOOTH_GAIN, peaks, sample

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from finecausal_cli.tracking.motion import Heat

GRAVITY = 9.81
"""Metres a second, each second."""

SLOWNESS = (1.0, 2.0, 4.0, 7.0)
"""How many times slower than life the paths are sought."""

_PEAKS = 8
FLOOR = 1.5
"""Least heat, in grey values, of a place where something moves."""

FULL_HEAT = 20.0
"""Heat beyond which a place counts no more."""

_TRIES_PER_FRAME = 400
"""Triples of peaks drawn for each frame."""

_STEPS_S = (0.12, 0.40)
"""Real seconds between the three peaks that a path is laid through."""

_SCALES = (0.016, 0.5)
"""Pixels in a metre over the long side of the picture, least and most."""

_LEAST_AIR_S = 0.45
_MOST_RISE_S, _MOST_FALL_S = 0.85, 1.75
"""Real seconds over which a path is followed, up to its highest point and down from there."""

_LEAST_FALL = 0.12
"""Fall from the highest point over the long side of the picture."""

_COARSE_S, _FINE_S = 0.09, 0.04
"""Real seconds between the moments at which proposed and kept paths are looked at."""

_GAP_S = 0.2
"""Longest real time over which the athlete may not be seen to move."""

_BESIDE_M = 1.7
"""How far from the path nothing should move."""

_BESIDE_WEIGHT = 0.7
_TILT = 0.3
"""Most sideways acceleration over the downward one: the camera may be held askew."""

_KEPT = 96
"""Paths that are refined."""

_SAME_SHARE = 0.4
"""Two paths that share less of the time of the shorter one are two."""

_SAME_M = 1.3
"""Two paths closer than this, in metres on average, are one."""


_GRID = tuple(one.ravel() for one in np.meshgrid(np.linspace(-1.3, 1.3, 17), np.linspace(-1.3, 1.3, 17)))
_GRID_WEIGHT = np.exp(-(_GRID[0] ** 2 + _GRID[1] ** 2))
"""Places around a middle, in radii, and how much each counts."""


@dataclass(frozen=True, slots=True)
class Paths:
    """Ballistic paths, arrays over paths.

    Attributes:
        middle: int64 [paths], frame from which they are followed.
        slow: float64 [paths], how many times slower than life they are taken to be.
        x: float64 [paths, 3], coefficients of 1, t, t^2 in pixels of the world, t from the time of the middle.
        y: float64 [paths, 3].
        first: int64 [paths], first frame with motion on the path.
        last: int64 [paths], last one.
        score: float64 [paths]; 0 for what is no flight.
    """

    middle: NDArray[np.int64]
    slow: NDArray[np.float64]
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    first: NDArray[np.int64]
    last: NDArray[np.int64]
    score: NDArray[np.float64]

    def take(self, chosen: NDArray[np.int64] | NDArray[np.bool_]) -> Paths:
        """Return some of the paths."""
        return Paths(*(getattr(self, one.name)[chosen] for one in fields(self)))

    def __len__(self) -> int:
        return len(self.middle)


def join(parts: list[Paths]) -> Paths:
    """Put paths one behind the other."""
    return Paths(*(np.concatenate([getattr(part, one.name) for part in parts]) for one in fields(Paths)))


def apex(paths: Paths) -> NDArray[np.float64]:
    """When paths are highest, float64 [paths], seconds of the file from the time of their middle."""
    return np.asarray(-paths.y[:, 1] / (2 * paths.y[:, 2]))


class BallisticSearch:
    """Seeks the paths of free fall in the heat of one stretch of film.

    Args:
        heat: What moves.
        seed: Seed of the triples that are tried.
    """

    def __init__(self, heat: Heat, seed: int = 0) -> None:
        self.heat = heat
        self.times = heat.camera.times_s
        self.to_picture = heat.camera.to_picture
        self.zoom = heat.camera.zoom
        self._affine = [np.ascontiguousarray(self.to_picture[:, row, column]) for row in (0, 1) for column in (0, 1, 2)]
        self.gap_s = float(np.median(np.diff(self.times))) if len(self.times) > 1 else 1.0
        self.long_side = max(heat.raw.shape[1:])
        self._rng = np.random.default_rng(seed)
        points, self._values = peaks(heat, _PEAKS, FLOOR)
        to_world = np.linalg.inv(self.to_picture)
        self._peaks = np.einsum("fij,fkj->fki", to_world[:, :2, :2], points) + to_world[:, None, :2, 2]

    def find(self) -> Paths:
        """Return refined paths, best first, no two of which are the same."""
        candidates = [self._best(self.follow(self._proposals(slow), _COARSE_S), _KEPT // 2) for slow in SLOWNESS]
        paths = self._best(join(candidates), _KEPT)
        for _ in range(4):
            if not len(paths):
                break
            paths = self.follow(self.fitted(paths))
            paths = paths.take(paths.score > 0)
        return self._best(paths, _KEPT)

    def _proposals(self, slow: float) -> Paths:
        """Lay paths through triples of peaks that fit a fall."""
        frames, tries = len(self.times), _TRIES_PER_FRAME * len(self.times)
        low, high = (round(step * slow / self.gap_s) for step in _STEPS_S)
        step = self._rng.integers(max(2, low), max(3, high + 1), tries)
        first = self._rng.integers(0, frames, tries)
        # The higher of two draws twice: strong peaks are tried more often.
        drawn = self._rng.integers(0, _PEAKS, (2, tries, 3)).min(axis=0)
        index = first[:, None] + step[:, None] * np.arange(3)
        possible = index[:, 2] < frames
        index, drawn = index[possible], drawn[possible]
        possible = (self._values[index, drawn] > 0).all(axis=1)
        possible &= self.heat.camera.shots[index[:, 0]] == self.heat.camera.shots[index[:, 2]]
        index, drawn = index[possible], drawn[possible]
        middle = index[:, 1]
        t = self.times[index] - self.times[middle][:, None]
        x, y = _through(t, self._peaks[index, drawn, 0]), _through(t, self._peaks[index, drawn, 1])
        slowness = np.full(len(middle), slow)
        paths = Paths(middle, slowness, x, y, middle, middle, np.zeros(len(middle)))
        # Small triples say little of the sideways pull: what lies within the breadth of an athlete is taken as none.
        sagging = np.abs(x[:, 2]) * t[:, 2] ** 2 * self.zoom[middle]
        fits = self._is_plausible(paths) & (sagging < 0.025 * self.long_side + _TILT * y[:, 2] * t[:, 2] ** 2)
        x[:, 2] = 0
        return paths.take(fits)

    def _is_plausible(self, paths: Paths) -> NDArray[np.bool_]:
        """Tell whether the pull is downward and fits a picture of a person."""
        scale = 2 * paths.y[:, 2] * paths.slow**2 / GRAVITY * self.zoom[paths.middle]
        return np.asarray((scale > _SCALES[0] * self.long_side) & (scale < _SCALES[1] * self.long_side))

    def metre(self, paths: Paths) -> NDArray[np.float64]:
        """float64 [paths], pixels of the world in a metre."""
        return np.asarray(2 * paths.y[:, 2] * paths.slow**2 / GRAVITY)

    def follow(self, paths: Paths, every_s: float = _FINE_S) -> Paths:
        """Follow paths from their middle to both sides while something moves on them, and score them.

        Args:
            paths: All of one slowness, or nearly.
            every_s: Real seconds between the moments looked at.
        """
        parts = [
            self._follow(paths.take(np.arange(start, min(start + 2000, len(paths)))), every_s)
            for start in range(0, len(paths), 2000)
        ]
        return join(parts) if parts else paths

    def _window(self, paths: Paths, stride: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Frames around the middle of each path, int64 [paths, steps], and which exist in its shot."""
        slow = float(paths.slow.max())
        reach = int(np.ceil((_MOST_RISE_S + _MOST_FALL_S) * slow / self.gap_s / stride))
        index = paths.middle[:, None] + stride * np.arange(-reach, reach + 1)
        inside = (index >= 0) & (index < len(self.times))
        index = np.clip(index, 0, len(self.times) - 1)
        inside &= self.heat.camera.shots[index] == self.heat.camera.shots[paths.middle][:, None]
        real = (self.times[index] - self.times[paths.middle][:, None] - apex(paths)[:, None]) / paths.slow[:, None]
        inside &= (real > -_MOST_RISE_S) & (real < _MOST_FALL_S)
        return index, inside

    def position(self, paths: Paths, index: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return where the paths lie in the world at frames int64 [paths, steps]."""
        return _at(paths.x, paths.middle, self.times, index), _at(paths.y, paths.middle, self.times, index)

    def picture(
        self, index: NDArray[np.int64], x: NDArray[np.float64], y: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Bring places of the world to pixels of the heat at frames."""
        a, b, c, d, e, f = (part[index] for part in self._affine)
        return a * x + b * y + c, d * x + e * y + f

    def contrast(self, paths: Paths, index: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Measure how much hotter the paths are than what lies beside them, and where they are in the picture."""
        x, y = self.picture(index, *self.position(paths, index))
        here, inside = sample(self.heat.smooth, index, x, y)
        away = np.clip(
            _BESIDE_M * self.metre(paths)[:, None] * self.zoom[index], 0.06 * self.long_side, 0.5 * self.long_side
        )
        beside, known = np.zeros_like(here), np.zeros_like(here)
        for over, down in ((-1, 0), (1, 0), (0, -1), (0, 1)):
            value, seen = sample(self.heat.smooth, index, x + over * away, y + down * away)
            beside += value
            known += seen
        beside /= np.maximum(known, 1)
        return np.asarray(np.maximum(here - _BESIDE_WEIGHT * beside, 0) / SMOOTH_GAIN, np.float32), inside

    def _follow(self, paths: Paths, every_s: float) -> Paths:
        if not len(paths):
            return paths
        stride = max(1, int(every_s * float(paths.slow.max()) / self.gap_s))
        index, inside = self._window(paths, stride)
        hot, shown = self.contrast(paths, index)
        seen = (hot > FLOOR) & inside & shown
        steps = index.shape[1]
        middle = steps // 2
        most = np.maximum(2, _GAP_S * paths.slow / self.gap_s / stride)[:, None]
        # Known to be unseen: a frame whose camera is unknown is no gap.
        last = _reach(seen[:, middle:], most)
        first = _reach(seen[:, middle::-1], most)
        rows = np.arange(len(paths))
        start, end = middle - first, middle + last
        column = np.arange(steps)
        part = (column >= start[:, None]) & (column <= end[:, None])
        seconds = self.times[index[rows, end]] - self.times[index[rows, start]]
        y = self.position(paths, index)[1] * self.zoom[paths.middle][:, None]
        highest = np.where(part, y, np.inf).min(axis=1)
        fall = (y[rows, end] - highest) / self.long_side
        strength = (np.minimum(hot, FULL_HEAT) * part * seen).sum(axis=1) / FULL_HEAT * self.gap_s * stride
        coverage = (part & seen).sum(axis=1) / np.maximum(part.sum(axis=1), 1)
        is_fall = (seconds > _LEAST_AIR_S * paths.slow) & (fall > _LEAST_FALL) & self._is_plausible(paths)
        score = np.where(is_fall, strength * np.sqrt(np.maximum(fall, 0)) * coverage**2 / np.sqrt(paths.slow), 0)
        return Paths(paths.middle, paths.slow, paths.x, paths.y, index[rows, start], index[rows, end], score)

    def fitted(self, paths: Paths) -> Paths:
        """Lay each path anew, by least squares, through the middles of the heat along it; its middle moves along."""
        steps = 48
        index = np.rint(paths.first[:, None] + (paths.last - paths.first)[:, None] * np.linspace(0, 1, steps)).astype(
            np.int64
        )
        x, y, weight = self.centres(paths, index)
        middle = (paths.first + paths.last) // 2
        t = self.times[index] - self.times[middle][:, None]
        new_x = _least_squares(t, x, weight, 2)
        new_y = _least_squares(t, y, weight, 3)
        return Paths(middle, paths.slow, np.pad(new_x, ((0, 0), (0, 1))), new_y, paths.first, paths.last, paths.score)

    def fit(self, path: Paths, first_s: float, last_s: float) -> Paths | None:
        """Lay one path anew through the athlete from one file time to another; None if that gives no fall."""
        frames = np.flatnonzero((self.times >= first_s) & (self.times <= last_s))
        frames = frames[self.heat.camera.shots[frames] == self.heat.camera.shots[path.middle[0]]]
        if len(frames) < 5:
            return None
        bounded = Paths(path.middle, path.slow, path.x, path.y, frames[:1], frames[-1:], path.score)
        for _ in range(2):
            bounded = self.fitted(bounded)
            if not self._is_plausible(bounded)[0]:
                return None
        return bounded

    def centres(
        self, paths: Paths, index: NDArray[np.int64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Find the middle of the heat around paths at frames.

        Returns:
            x and y in the world, and the weight of each, float64 [paths, steps].
        """
        px, py = self.picture(index, *self.position(paths, index))
        radius = np.clip(
            1.0 * self.metre(paths)[:, None] * self.zoom[index], 0.03 * self.long_side, 0.2 * self.long_side
        )
        grid = np.linspace(-1, 1, 7)
        over, down = (one.ravel() for one in np.meshgrid(grid, grid))
        x = px[..., None] + radius[..., None] * over
        y = py[..., None] + radius[..., None] * down
        value, _ = sample(self.heat.smooth, np.broadcast_to(index[..., None], x.shape), x, y)
        weight = value / SMOOTH_GAIN * np.exp(-(over**2 + down**2) * 1.5)
        total = weight.sum(axis=-1)
        safe = np.maximum(total, 1e-6)
        px = np.where(total > 0, (weight * x).sum(axis=-1) / safe, px)
        py = np.where(total > 0, (weight * y).sum(axis=-1) / safe, py)
        to_world = np.linalg.inv(self.to_picture)[index]
        wx = to_world[..., 0, 0] * px + to_world[..., 0, 1] * py + to_world[..., 0, 2]
        wy = to_world[..., 1, 0] * px + to_world[..., 1, 1] * py + to_world[..., 1, 2]
        return wx, wy, np.sqrt(np.minimum(total, 200.0)) * (total > 8 * FLOOR) + 1e-3

    def shifted(self, frame: int, point: NDArray[np.float64], radius: float) -> tuple[NDArray[np.float64], float]:
        """Move a place of the world to the middle of the heat around it in one frame.

        Returns:
            The place, float64 [2], and the mean heat around it.
        """
        matrix = self.to_picture[frame]
        centre = matrix[:2, :2] @ point + matrix[:2, 2]
        heat = 0.0
        frames = np.full(_GRID[0].shape, frame)
        for _ in range(3):
            x, y = centre[0] + radius * _GRID[0], centre[1] + radius * _GRID[1]
            value, _ = sample(self.heat.raw, frames, x, y)
            weight = value * _GRID_WEIGHT
            heat = float(weight.sum())
            if heat <= 0:
                return point, 0.0
            centre = np.array([(weight * x).sum(), (weight * y).sum()]) / heat
        back = np.linalg.inv(matrix)
        return back[:2, :2] @ centre + back[:2, 2], heat / float(_GRID_WEIGHT.sum())

    def _best(self, paths: Paths, count: int) -> Paths:
        """Return the best paths, dropping those that are the same as a better one."""
        order = np.argsort(-paths.score, kind="stable")
        order = order[paths.score[order] > 0][: 12 * count]
        chosen: list[int] = []
        metre = self.metre(paths)
        for candidate in order.tolist():
            if len(chosen) >= count:
                break
            if not chosen or not self._same(paths, metre, candidate, np.array(chosen)).any():
                chosen.append(candidate)
        return paths.take(np.array(chosen, np.int64))

    def _same(self, paths: Paths, metre: NDArray[np.float64], one: int, others: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Tell which of other paths overlap with one in time and lie on it."""
        first, last = np.maximum(paths.first[one], paths.first[others]), np.minimum(paths.last[one], paths.last[others])
        length = paths.last - paths.first
        overlaps = last - first >= _SAME_SHARE * np.minimum(length[one], length[others])
        same = np.zeros(len(others), np.bool_)
        if not overlaps.any():
            return same
        near = np.flatnonzero(overlaps)
        rows = others[near]
        share = np.linspace(0, 1, 7)
        index = np.rint(first[near, None] + (last - first)[near, None] * share).astype(np.int64)
        there, here = (
            [_at(part, paths.middle[row], self.times, index) for part in (paths.x[row], paths.y[row])]
            for row in (rows, np.full(len(rows), one))
        )
        apart = np.hypot(here[0] - there[0], here[1] - there[1]).mean(axis=1)
        metre = np.minimum(metre[rows], metre[one])
        smallest = 0.05 * self.long_side / self.zoom[index].max(axis=1)
        same[near] = apart < _SAME_M * np.maximum(metre, smallest)
        return same


def _at(
    parabola: NDArray[np.float64], middle: NDArray[np.int64], times: NDArray[np.float64], index: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Values of parabolas, float64 [rows, 3], at frames int64 [rows, steps]."""
    t = times[index] - times[middle][:, None]
    return np.asarray(parabola[:, :1] + t * (parabola[:, 1:2] + t * parabola[:, 2:]))


def _reach(seen: NDArray[np.bool_], most: NDArray[np.float64]) -> NDArray[np.int64]:
    """How far each row goes on from its start until it is unseen for too long: int64 [rows], of the last seen."""
    column = np.arange(seen.shape[1])
    last = np.maximum.accumulate(np.where(seen, column, 0), axis=1)
    broken = column - last > most
    end = np.where(broken.any(axis=1), broken.argmax(axis=1), seen.shape[1]) - 1
    return np.asarray(last[np.arange(len(seen)), end])


def _through(t: NDArray[np.float64], v: NDArray[np.float64]) -> NDArray[np.float64]:
    """Coefficients of the parabola through three points, the second at t = 0: float64 [rows, 3]."""
    before, after = t[:, 0], t[:, 2]
    slope_before, slope_after = (v[:, 1] - v[:, 0]) / -before, (v[:, 2] - v[:, 1]) / after
    bend = (slope_after - slope_before) / (after - before)
    return np.stack([v[:, 1], slope_after - bend * after, bend], axis=1)


def _least_squares(
    t: NDArray[np.float64], v: NDArray[np.float64], weight: NDArray[np.float64], terms: int
) -> NDArray[np.float64]:
    """Weighted fit of a polynomial in each row: float64 [rows, terms]."""
    powers = t[..., None] ** np.arange(terms)
    weighted = powers * weight[..., None]
    normal = np.einsum("rsi,rsj->rij", weighted, powers) + 1e-9 * np.eye(terms)
    right = np.einsum("rsi,rs->ri", weighted, v)
    return np.asarray(np.linalg.solve(normal, right[..., None])[..., 0])
