"""Before the feet leave the board: standing, hurdle, crouch and jump, or the armstand."""

from __future__ import annotations

from dataclasses import dataclass
from math import pi, radians
from typing import TYPE_CHECKING

import numpy as np

from finecausal_cli.simulator import poses
from finecausal_cli.simulator.body import JOINT, Array, Athlete, Pose
from finecausal_cli.simulator.plan import Keys, ease

if TYPE_CHECKING:
    from finecausal_cli.diving.number import DiveNumber
    from finecausal_cli.simulator.faults import Faults

_ANKLE = Pose._fields.index("ankle")
_HIP = Pose._fields.index("hip")
_KNEE = Pose._fields.index("knee")

_LONG_AGO_S = -60.0
_HOP_S, _HOP_TIME_S = -0.95, 0.45
_HOP_LENGTH_M, _HOP_RISE_M = 0.85, 0.34
_STEP_S, _STEP_LENGTH_M = 0.46, 0.62


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
        athlete: Who dives.
        faults: Faults of the take-off show here.
        height_m: Height of the board above the water.
        duration_s: Time from the clip's first frame to leaving the board; what happened before is not shown.
        springboard: Whether the board gives.
        hurdle: Whether the athlete arrives with a hop.
        steps: Steps of the run-up before the hop.
        phase: Phase of the sway, radians.
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
        """Return how far the board's tip stands above its rest [N], metres; 0 for a platform."""
        if not self.springboard:
            return np.zeros_like(times)
        deep = -(0.55 - 0.22 * self.faults.low_takeoff)
        pressed = deep * np.sin(np.clip((times + 0.5) / 0.5, 0, 1) * pi) ** 1.5
        ringing = 0.16 * np.exp(-np.clip(times, 0, None) * 2.6) * np.sin(2 * pi * 3.1 * times) * (times > 0)
        return np.asarray(pressed + ringing)

    def _keys(self) -> Keys:
        faults = self.faults
        if self.dive.armstand:
            hold = poses.handstand(faults.unsteady_start)
            push = poses.handstand(0.3 * faults.unsteady_start)._replace(elbow=radians(14), ankle=radians(14))
            return Keys.of([(_LONG_AGO_S, hold), (-0.45, hold), (-0.2, push), (0.0, push)])
        depth = 0.95 - 0.4 * faults.low_takeoff
        wobble = 40 * faults.unsteady_start
        landing = 0.45 if self.hurdle else 0.0
        return Keys.of(
            [
                (_LONG_AGO_S, poses.stand(8 + wobble)),
                *self._gait(),
                (_HOP_S - 0.2, poses.stand(8 + wobble)),
                (-0.85, poses.stand(150 if self.hurdle else 95)),
                (-0.5, poses.crouch(landing + 0.05, 60 if self.hurdle else 20)),
                (-0.26, poses.crouch(depth, -25)),
                (-0.10, poses.crouch(0.45 * depth, 90)),
                (0.0, poses.leave(faults.flexed_feet)),
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
        """Return where the toes (hands in an armstand) are [N, 3]."""
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
            return rows, pitch, self._anchor(times) + self._turned(centre - hold, pitch)
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

    @staticmethod
    def _turned(offset: Array, pitch: Array) -> Array:
        return turn_y(offset[:, None, :], pitch)[:, 0]
