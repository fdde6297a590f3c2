"""The positions of the sport as joint angles, with the faults that show in them."""

from __future__ import annotations

from math import radians
from typing import TYPE_CHECKING

import numpy as np

from finecausal_cli.simulator.body import Array, Pose

if TYPE_CHECKING:
    from finecausal_cli.simulator.faults import Faults

HEELS_DOWN = radians(90)
"""Ankle angle of a foot that stands flat under an upright shank."""


def _degrees(**angles: float) -> Pose:
    return Pose(**{name: radians(value) for name, value in angles.items()})


def vector(pose: Pose) -> Array:
    """Return the pose as the row that `Athlete.joints` takes."""
    return np.array(pose, dtype=float)


def stand(arms: float = 0.0) -> Pose:
    """Return a standing pose, arms at ``arms`` degrees (0 down, 180 overhead)."""
    return _degrees(ankle=90, arm=arms, elbow=4, wing=6 + 10 * np.sin(np.radians(arms)))


def crouch(depth: float, arms: float) -> Pose:
    """Return a crouch before the jump; ``depth`` 1 is a deep one."""
    return _degrees(hip=75 * depth, knee=85 * depth, ankle=90, spine=12 * depth, arm=arms, elbow=12, wing=10)


def stride(side: int) -> Pose:
    """Return the moment a walking foot lands: ``side`` 1 has the left leg in front, -1 the right one."""
    return _degrees(
        hip=4, hip_split=46 * side, knee=8, knee_split=-10 * side, ankle=90, arm=4, arm_split=-38 * side, wing=8
    )


def swing(side: int) -> Pose:
    """Return the middle of a step: the leg of ``side`` (1 left, -1 right) passes the standing one, knee bent."""
    return _degrees(hip=9, hip_split=14 * side, knee=24, knee_split=44 * side, ankle=90, arm=4, elbow=8, wing=8)


def leave(feet: float) -> Pose:
    """Return the stretched pose in which the feet leave the board; ``feet`` 1 are not pointed."""
    return _degrees(hip=4, knee=3, ankle=14 + 50 * feet, arm=165, elbow=6, wing=8)


def handstand(split: float) -> Pose:
    """Return a handstand; ``split`` 1 parts the legs visibly."""
    return _degrees(ankle=14, arm=178, elbow=2, neck=-22, spine=-4, hip=4 * split, hip_split=34 * split)


def reach(faults: Faults) -> Pose:
    """Return the arms-up straight pose on the way into the position."""
    return _feet(_degrees(hip=8, arm=160, elbow=12, wing=8), faults)


def _feet(pose: Pose, faults: Faults) -> Pose:
    return pose._replace(ankle=radians(14 + 62 * faults.flexed_feet))


def _legs(pose: Pose, apart: float, bend: float) -> Pose:
    """Part the legs: sideways, and one before the other so that it shows from the side."""
    return pose._replace(
        spread=pose.spread + radians(30 * apart),
        hip_split=pose.hip_split + radians(26 * apart),
        knee_split=pose.knee_split + radians(30 * apart * bend),
        knee=pose.knee + radians(9 * apart),
    )


def tuck(faults: Faults) -> Pose:
    """Return the tuck; loose, it opens at hips and knees."""
    loose = faults.loose_position
    pose = _degrees(
        hip=132 - 48 * loose,
        knee=142 - 46 * loose,
        spine=44 - 26 * loose,
        neck=22 - 12 * loose,
        arm=62 - 4 * loose,
        elbow=22,
        wing=6,
    )
    return _legs(_feet(pose, faults), faults.knees_apart, bend=1.0)


def pike(faults: Faults) -> Pose:
    """Return the closed pike; loose, it opens at the hips and the knees soften."""
    loose = faults.loose_position
    pose = _degrees(
        hip=134 - 52 * loose,
        knee=2 + 20 * loose,
        spine=42 - 24 * loose,
        neck=16,
        arm=104 - 22 * loose,
        elbow=28,
        wing=4,
    )
    return _legs(_feet(pose, faults), faults.knees_apart, bend=0.3)


def open_pike(faults: Faults) -> Pose:
    """Return the wide pike with which a twisting dive is squared before the entry."""
    loose = faults.loose_position
    pose = _degrees(hip=92 - 22 * loose, knee=2 + 22 * loose, spine=18, neck=8, arm=92, elbow=4, wing=38)
    return _legs(_feet(pose, faults), faults.knees_apart, bend=0.3)


def straight(faults: Faults) -> Pose:
    """Return the straight position, arms at the sides; loose, hips and knees bend."""
    loose = faults.loose_position
    pose = _degrees(hip=2 + 40 * loose, knee=2 + 46 * loose, spine=-8 + 14 * loose, arm=18, elbow=6, wing=24)
    return _legs(_feet(pose, faults), faults.knees_apart, bend=0.6)


def twist(faults: Faults) -> Pose:
    """Return the wrapped twist: one arm over the head, the other across the chest."""
    crossed = max(faults.crossed_twist, 0.5 * faults.loose_position)
    pose = _degrees(
        hip=4 + 34 * crossed,
        knee=3 + 40 * crossed,
        hip_split=30 * crossed,
        knee_split=34 * crossed,
        spread=12 * crossed,
        spine=4,
        neck=6,
        arm=100 - 12 * crossed,
        arm_split=110,
        elbow=105 - 50 * crossed,
        elbow_split=-25,
        wing=-6 + 34 * crossed,
    )
    return _legs(_feet(pose, faults), faults.knees_apart, bend=0.4)


def stretched(faults: Faults, *, head_first: bool) -> Pose:
    """Return the line-up pose at the water: arms overhead head first, at the sides feet first."""
    arch, arms = faults.arched_entry, faults.arms_apart
    pose = _degrees(
        hip=2 - 30 * arch,
        knee=2 + 38 * arch,
        hip_split=10 * arch,
        spine=-2 - 34 * arch,
        neck=-6 - 22 * arch,
        arm=(178 - 16 * arms) if head_first else (6 + 44 * arms),
        arm_split=62 * arms,
        elbow=2 + 14 * arms,
        wing=(2 + 22 * arms) if head_first else (4 + 34 * arms),
    )
    return _legs(_feet(pose, faults), 0.4 * faults.knees_apart, bend=0.4)


# Spread of each angle (degrees) about the dive's own and the range that a body allows.
_VARIED: dict[str, tuple[float, float, float]] = {
    "hip": (28, -25, 150),
    "knee": (24, 0, 150),
    "ankle": (18, 5, 100),
    "spread": (6, -3, 40),
    "hip_split": (12, -60, 60),
    "knee_split": (12, -60, 60),
    "spine": (12, -35, 60),
    "neck": (16, -40, 45),
    "arm": (48, -20, 190),
    "arm_split": (30, -120, 120),
    "elbow": (30, 0, 145),
    "elbow_split": (20, -60, 60),
    "wing": (20, -10, 90),
}


def varied(rng: np.random.Generator, times_s: Array, rows: Array) -> Array:
    """Return poses [N, angles] that wander about those given, as no dive of the list does.

    A network that learns joints from listed dives alone takes what it has not met, say arms overhead on the way into a
    pike, for the pose next to it.

    Args:
        rng: What decides how.
        times_s: float64 [N], rising.
        rows: float64 [N, angles], in the order of ``Pose``, radians.
    """
    out = rows.copy()
    for column, name in enumerate(Pose._fields):
        spread, low, high = _VARIED[name]
        wander = np.full(len(times_s), float(rng.normal(0, 0.7)))
        for _ in range(3):
            rate_hz, phase = rng.uniform(0.2, 1.6), rng.uniform(0, 2 * np.pi)
            wander += rng.normal(0, 0.5) * np.sin(2 * np.pi * rate_hz * times_s + phase)
        out[:, column] = np.clip(rows[:, column] + radians(spread) * wander, radians(low), radians(high))
    return np.asarray(out)
