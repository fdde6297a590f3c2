"""The stance: standing, run-up, hurdle, crouch and jump, or the armstand; up to when the board is left."""

from __future__ import annotations

from dataclasses import dataclass
from math import pi, radians
from typing import TYPE_CHECKING

import numpy as np

from finecausal_cli.simulator import athlete as poses
from finecausal_cli.simulator.athlete import JOINT, STRETCHED, Array, Athlete, Faults, Pose, Style, ease

if TYPE_CHECKING:
    from finecausal_cli.diving import DiveNumber


@dataclass(frozen=True, slots=True)
class Keys:
    """Key poses, interpolated smoothly and held outside.

    Attributes:
        times: [K] seconds, increasing.
        rows: [K, angles] poses.
    """

    times: Array
    rows: Array

    @classmethod
    def of(cls, keys: list[tuple[float, Pose]]) -> Keys:
        """Build from (time, pose) pairs; a key that is not later than the one before it is moved just behind it."""
        times = np.array([time for time, _ in keys])
        for k in range(1, len(times)):
            times[k] = max(times[k], times[k - 1] + 0.02)
        return cls(times, np.stack([poses.vector(pose) for _, pose in keys]))

    def at(self, times: Array) -> Array:
        """Return the poses [N, angles] at ``times`` [N]."""
        after = np.clip(np.searchsorted(self.times, times, side="right"), 1, len(self.times) - 1)
        share = ease((times - self.times[after - 1]) / (self.times[after] - self.times[after - 1]))[:, None]
        return np.asarray(self.rows[after - 1] * (1 - share) + self.rows[after] * share)


_ANKLE, _HIP, _KNEE = (Pose._fields.index(name) for name in ("ankle", "hip", "knee"))

_DISTANT_PAST_S = -60.0
_HOP_S, _HOP_TIME_S = -0.95, 0.45
_HOP_LENGTH_M, _HOP_RISE_M = 0.85, 0.34
_STEP_S, _STEP_LENGTH_M = 0.46, 0.62
_RECOIL_S, _FULL_RIDE_S = 0.24, 0.12
"""Time of a board from its lowest point to its rest, and the ride from which on it throws the body alone."""


def turn_x(points: Array, angle: Array) -> Array:
    """Turn [..., P, 3] about the x axis: a positive ``angle`` tips the head towards +y."""
    cos, sin = np.cos(angle)[..., None], np.sin(angle)[..., None]
    x, y, z = points[..., 0], points[..., 1], points[..., 2]
    return np.stack([x, y * cos + z * sin, z * cos - y * sin], axis=-1)


def turn_y(points: Array, angle: Array) -> Array:
    """Turn [..., P, 3] about the y axis: a positive ``angle`` [...] tips the head towards +x."""
    cos, sin = np.cos(angle)[..., None], np.sin(angle)[..., None]
    x, y, z = points[..., 0], points[..., 1], points[..., 2]
    return np.stack([x * cos + z * sin, y, z * cos - x * sin], axis=-1)


def turn_z(points: Array, angle: Array) -> Array:
    """Turn [..., P, 3] about the z axis by ``angle`` [...], front towards left."""
    cos, sin = np.cos(angle)[..., None], np.sin(angle)[..., None]
    x, y, z = points[..., 0], points[..., 1], points[..., 2]
    return np.stack([x * cos - y * sin, x * sin + y * cos, z], axis=-1)


@dataclass(frozen=True, slots=True)
class Stance:
    """The athlete on the board; times are negative and end at 0, when the board is left.

    Attributes:
        dive: The dive number.
        athlete: The athlete.
        faults: Faults, of which those of the take-off matter here.
        height_m: Height of the board above the water.
        duration_s: Time from the clip's first frame to leaving the board.
        springboard: Whether the board gives.
        hurdle: Whether the athlete arrives with a hop.
        steps: Steps of the run-up before the hop.
        phase: Phase of the sway, radians.
        style: How the athlete dives, whatever the faults.
    """

    dive: DiveNumber
    athlete: Athlete
    faults: Faults
    height_m: float
    duration_s: float
    springboard: bool
    hurdle: bool
    steps: int
    phase: float
    style: Style = STRETCHED

    @property
    def facing(self) -> float:
        """Turn about the vertical at the start: 0 looks over the water, pi away from it."""
        return pi if self.dive.direction in (2, 4) else 0.0

    @property
    def sense(self) -> int:
        """1 when the somersault tips the head away from the board (an upright start), -1 towards it."""
        return -1 if self.dive.direction in ((3,) if self.dive.armstand else (3, 4)) else 1

    @property
    def lean(self) -> float:
        """Lean of the body away from the board when it is left, radians."""
        usual = 0.15 if self.sense > 0 else 0.05
        return usual + 0.30 * self.faults.leaning_takeoff - 0.07 * self.faults.close_to_board

    def board_dip(self, times: Array) -> Array:
        """Return the height of the board's tip above its rest [N], metres; 0 for a platform."""
        if not self.springboard:
            return np.zeros_like(times)
        deep = -(0.55 - 0.22 * self.faults.low_takeoff)
        pressed = deep * np.sin(np.clip((times + 0.5) / 0.5, 0, 1) * pi) ** 1.5
        if self.style.ride:  # the board throws the body: it passes its rest at full speed
            down, up = np.clip((times + 0.5) / (0.5 - _RECOIL_S), 0, 1), np.clip(1 + times / _RECOIL_S, 0, 1)
            thrown = deep * np.where(times < -_RECOIL_S, np.sin(0.5 * pi * down) ** 2, np.cos(0.5 * pi * up))
            pressed = pressed + min(1.0, self.style.ride / _FULL_RIDE_S) * (thrown - pressed)
        ringing = 0.16 * np.exp(-np.clip(times, 0, None) * 2.6) * np.sin(2 * pi * 3.1 * times) * (times > 0)
        return np.asarray(pressed + ringing)

    def _keys(self) -> Keys:
        faults = self.faults
        if self.dive.armstand:
            hold = poses.handstand(faults.unsteady_start)
            push = poses.handstand(0.3 * faults.unsteady_start)._replace(elbow=radians(14), ankle=radians(14))
            return Keys.of([(_DISTANT_PAST_S, hold), (-0.45, hold), (-0.2, push), (0.0, push)])
        depth = 0.95 - 0.4 * faults.low_takeoff
        wobble = 40 * faults.unsteady_start
        landing = 0.45 if self.hurdle else 0.0
        bend, push = self.style.bend, poses.crouch(0.45 * depth, 90)
        ride = self.style.ride if self.springboard else 0.0
        straight = [(-ride, poses.leave(faults.flexed_feet, 0.3 * bend))] if ride else []
        return Keys.of(
            [
                (_DISTANT_PAST_S, poses.stand(8 + wobble)),
                *self._gait(),
                (_HOP_S - 0.2, poses.stand(8 + wobble)),
                (-0.85, poses.stand(150 if self.hurdle else 95)),
                (-0.5, poses.crouch(landing + 0.05, 60 if self.hurdle else 20)),
                (-0.26 - 0.8 * ride, poses.crouch(depth, -25)),
                (-0.10 - ride, push._replace(hip=max(push.hip, (0.5 if ride else 0.85) * bend))),
                *straight,
                (0.0, poses.leave(faults.flexed_feet, bend)),
            ]
        )

    @property
    def _walk_s(self) -> tuple[float, float]:
        """First and last moment of the run-up."""
        end = _HOP_S - 0.2
        return end - self.steps * _STEP_S, end

    def _gait(self) -> list[tuple[float, Pose]]:
        """Return the poses of the run-up: a leg swings through, its foot lands, the other one follows."""
        keys: list[tuple[float, Pose]] = []
        start, _ = self._walk_s
        for step in range(self.steps):
            side = 1 if step % 2 == 0 else -1
            landing = start + (step + 1) * _STEP_S
            keys.append((landing - 0.55 * _STEP_S, poses.swing(side)))
            if step + 1 < self.steps:
                keys.append((landing, poses.stride(side)))
        return keys

    def _anchor(self, times: Array) -> Array:
        """Return the position of the toes (hands in an armstand) [N, 3]."""
        x, z = np.full_like(times, -0.03), self.height_m + self.board_dip(times)
        if self.hurdle:
            share = np.clip((times - _HOP_S) / _HOP_TIME_S, 0, 1)
            x = x - _HOP_LENGTH_M * (1 - share)
            z = z + 4 * _HOP_RISE_M * share * (1 - share)
        if self.steps:
            start, end = self._walk_s
            share = np.clip((times - start) / (end - start), 0, 1)
            x = x - _STEP_LENGTH_M * self.steps * (1 - ease(share))
        return np.stack([x, np.zeros_like(times), z], axis=-1)

    def _sway(self, times: Array) -> Array:
        amount = radians(10) * self.faults.unsteady_start + radians(0.5)
        fade = 1 - ease((times + 0.7) / 0.4)
        return np.asarray(amount * fade * (np.sin(2 * pi * 0.9 * times + self.phase) + 0.4 * np.sin(14 * times)))

    def _plant(self, rows: Array, pitch: Array, times: Array) -> Array:
        """Keep the soles flat under the pitch of the body until the heels lift for the jump."""
        forward = pitch * (1 if self.facing == 0 else -1)
        flat = poses.HEELS_DOWN + forward - rows[:, _HIP] + rows[:, _KNEE]
        lift = ease((times + 0.13) / 0.13)
        rows = rows.copy()
        rows[:, _ANKLE] = flat * (1 - lift) + rows[:, _ANKLE] * lift
        return rows

    def track(self, times: Array) -> tuple[Array, Array, Array]:
        """Return poses [N, angles], somersault angle [N] and centre of mass [N, 3] at ``times`` <= 0."""
        rows = self._keys().at(times)
        sway = self._sway(times)
        if self.dive.armstand:
            lean = self.lean * ease((times + 0.5) / 0.5)
            pitch = pi + lean + sway
            support = [JOINT["wrist_l"], JOINT["wrist_r"], JOINT["finger_l"], JOINT["finger_r"]]
            body = turn_z(self.athlete.joints(rows), np.full_like(times, self.facing))
            hold = body[:, support].mean(axis=1)
            centre = self._centre(body)
            return rows, pitch, self._anchor(times) + turn_y((centre - hold)[:, None], pitch)[:, 0]
        pitch = np.zeros_like(times)
        toes = [JOINT["toe_l"], JOINT["toe_r"]]
        soles = [*toes, JOINT["heel_l"], JOINT["heel_r"]]
        lean = self.lean * ease((times + 0.3) / 0.3)
        for _ in range(3):
            rows = self._plant(rows, pitch, times)
            body = turn_z(self.athlete.joints(rows), np.full_like(times, self.facing))
            arm = self._centre(body) - body[:, soles].mean(axis=1)
            pitch = lean + sway - np.arctan2(arm[:, 0], arm[:, 2])
        centre = self._centre(body)
        turned = turn_y(body - centre[:, None], pitch)
        ground = turned[:, toes].mean(axis=1)
        ground[:, 2] = turned[:, soles, 2].min(axis=1)  # of two feet the lower one stands
        return rows, pitch, self._anchor(times) - ground

    def _centre(self, body: Array) -> Array:
        points, mass = self.athlete.masses(body)
        return np.asarray(np.einsum("npc,p->nc", points, mass) / mass.sum())
