"""What the athlete means to do in the air: when to close, twist, open and line up."""

from __future__ import annotations

from dataclasses import dataclass
from math import pi, radians
from typing import TYPE_CHECKING

import numpy as np

from finecausal_cli.simulator import poses

if TYPE_CHECKING:
    from finecausal_cli.diving.number import DiveNumber
    from finecausal_cli.simulator.body import Array, Pose
    from finecausal_cli.simulator.faults import Faults

_TWIST_START_S = 0.08
_MANY_TWISTS = 4
"""Half-twists from which the athlete lines up later to have time for them."""

_UNDER_TWIST = radians(62)
"""Twist that is missing at the end of the most crossed twist."""


def ease(share: Array) -> Array:
    """Return the smooth step of ``share``, which is clipped to 0..1."""
    share = np.clip(share, 0.0, 1.0)
    return np.asarray(share * share * (3 - 2 * share))


def steady(share: Array, ramp: float = 0.12) -> Array:
    """Return a step from 0 to 1 whose rate is constant but for a linear rise and fall over ``ramp`` at the ends."""
    share = np.clip(share, 0.0, 1.0)
    near = np.minimum(share, 1 - share)
    part = np.where(near < ramp, near**2 / (2 * ramp), near - ramp / 2) / (1 - ramp)
    return np.asarray(np.where(share < 0.5, part, 1 - part))


@dataclass(frozen=True, slots=True)
class Keys:
    """Poses at instants, eased in between and held outside.

    Attributes:
        times: [K] seconds, increasing.
        rows: [K, angles] poses.
    """

    times: Array
    rows: Array

    @classmethod
    def of(cls, keys: list[tuple[float, Pose]]) -> Keys:
        """Build from (time, pose) pairs; a key that is not later than its forerunner is moved just behind it."""
        times = np.array([time for time, _ in keys])
        for k in range(1, len(times)):
            times[k] = max(times[k], times[k - 1] + 0.02)
        return cls(times, np.stack([poses.vector(pose) for _, pose in keys]))

    def at(self, times: Array) -> Array:
        """Return the poses [N, angles] at ``times`` [N]."""
        after = np.clip(np.searchsorted(self.times, times, side="right"), 1, len(self.times) - 1)
        before = after - 1
        share = ease((times - self.times[before]) / (self.times[after] - self.times[before]))[:, None]
        return np.asarray(self.rows[before] * (1 - share) + self.rows[after] * share)


@dataclass(frozen=True, slots=True)
class FlightPlan:
    """The plan of one flight; times count from the moment the board is left.

    Attributes:
        dive: The dive number.
        faults: Faults that show in the positions.
        duration_s: Flight time the athlete counts on.
        twist_sign: 1 or -1: twist to the left or to the right.
    """

    dive: DiveNumber
    faults: Faults
    duration_s: float
    twist_sign: int = 1

    @property
    def head_first(self) -> bool:
        """Whether the hands meet the water first."""
        halves = self.dive.half_somersaults + (1 if self.dive.armstand else 0)
        return halves % 2 == 1

    @property
    def has_shape(self) -> bool:
        """Whether a tuck or pike is held, whose opening the athlete can time."""
        return self.dive.position in "BC" or (self.dive.half_twists > 0 and self.dive.half_somersaults >= 3)

    @property
    def close_s(self) -> float:
        """When the tuck or pike is closed (before any twist has pushed it back)."""
        return float(np.interp(self.dive.half_somersaults, [1, 3, 5, 8], [0.40, 0.32, 0.26, 0.22]))

    @property
    def open_s(self) -> float:
        """When the athlete means to open."""
        halves = self.dive.half_somersaults
        lead = float(np.interp(halves, [1, 3, 5, 7, 9], [0.50, 0.52, 0.47, 0.40, 0.35]))
        if self.dive.half_twists >= _MANY_TWISTS:
            lead = min(lead, 0.40)
        return max(self.duration_s - lead, self.duration_s * 0.5)

    @property
    def twist_window(self) -> tuple[float, float]:
        """First and last moment of the twist."""
        if not self.dive.half_twists:
            return 0.0, 0.0
        wanted = 0.24 + 0.16 * self.dive.half_twists
        if self.dive.position in "BC":
            # The more twists, the less of the flight is left for the pike or tuck.
            part = float(np.interp(self.dive.half_twists, [2, 6], [0.62, 0.84]))
            room = part * (self.open_s - 0.18 - _TWIST_START_S)
        else:
            room = self.open_s - (0.14 if self.has_shape else 0.0) - _TWIST_START_S
        return _TWIST_START_S, _TWIST_START_S + min(wanted, max(room, 0.3 * self.duration_s))

    def twist(self, times: Array) -> Array:
        """Return the twist angle [N] at ``times`` [N], radians."""
        if not self.dive.half_twists:
            return np.zeros_like(times)
        start, end = self.twist_window
        total = self.dive.half_twists * pi - _UNDER_TWIST * self.faults.crossed_twist**1.5
        return np.asarray(self.twist_sign * total * steady((times - start) / (end - start)))

    def _shape(self) -> Pose:
        if not self.dive.half_somersaults:
            return poses.stretched(self.faults, head_first=True)
        if self.dive.position == "C":
            return poses.tuck(self.faults)
        if self.dive.position == "B":
            return poses.pike(self.faults)
        return poses.open_pike(self.faults) if self.has_shape else poses.straight(self.faults)

    def keys(self, open_s: float) -> Keys:
        """Return the poses of the flight when the athlete opens at ``open_s``."""
        faults, shape = self.faults, self._shape()
        line = poses.stretched(faults, head_first=self.head_first)
        keys = [(0.0, poses.leave(faults.flexed_feet))]
        closed = self.close_s
        if self.dive.half_twists:
            start, end = self.twist_window
            wrapped = poses.twist(faults)
            keys += [(start + 0.06, wrapped), (max(end - 0.08, start + 0.1), wrapped)]
            closed = end + (0.18 if self.has_shape else 0.14)
        elif self.dive.flying:
            closed = 0.52 * open_s
            keys += [(0.2, poses.straight(faults)), (0.3 * open_s, poses.straight(faults))]
        else:
            keys += [(0.4 * closed, poses.reach(faults))]
        unfolding = 0.17 * (1 + 0.35 * faults.late_opening)
        half_open = line._replace(
            hip=0.12 * shape.hip + 0.9 * line.hip,
            knee=0.08 * shape.knee + 0.9 * line.knee,
            arm=0.45 * shape.arm + 0.55 * line.arm,
            elbow=0.35,
        )
        keys += [
            (closed, shape),
            (max(open_s, closed + 0.03), shape),
            (open_s + unfolding, half_open),
            (open_s + unfolding + 0.12, line),
        ]
        return Keys.of(keys)
