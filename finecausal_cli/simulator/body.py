"""The athlete's body: segment lengths, masses and joints.

Lengths, masses, centres of mass and radii of gyration are those of de Leva, P. (1996), "Adjustments to
Zatsiorsky-Seluyanov's segment inertia parameters", Journal of Biomechanics 29(9), tables 1 and 4.

Body axes: x to the front, y to the athlete's left, z along the pelvis towards the head. The origin is the middle
of the hips. Angles are in radians.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

JOINTS = (
    "pelvis",
    "navel",
    "chest",
    "collar",
    "neck",
    "vertex",
    *(f"{joint}_{side}" for side in "lr" for joint in ("shoulder", "elbow", "wrist", "finger")),
    *(f"{joint}_{side}" for side in "lr" for joint in ("hip", "knee", "ankle", "heel", "toe")),
)
"""Points that forward kinematics places, in the order of its output."""

JOINT = {name: number for number, name in enumerate(JOINTS)}
"""Index of each joint in ``JOINTS``."""


class Segment(NamedTuple):
    """One rigid part between two joints.

    ``mass`` is a fraction of body mass, ``centre`` and ``gyration`` (about the transverse axis) are fractions of
    the length, counted from the first joint; each is a (male, female) pair.
    """

    start: str
    end: str
    mass: tuple[float, float]
    centre: tuple[float, float]
    gyration: tuple[float, float]


_LIMBS = (
    ("shoulder", "elbow", (0.0271, 0.0255), (0.5772, 0.5754), (0.269, 0.260)),
    ("elbow", "wrist", (0.0162, 0.0138), (0.4574, 0.4559), (0.265, 0.257)),
    ("wrist", "finger", (0.0061, 0.0056), (0.3624, 0.3427), (0.235, 0.208)),
    ("hip", "knee", (0.1416, 0.1478), (0.4095, 0.3612), (0.329, 0.364)),
    ("knee", "ankle", (0.0433, 0.0481), (0.4395, 0.4352), (0.246, 0.263)),
    ("heel", "toe", (0.0137, 0.0129), (0.4415, 0.4014), (0.245, 0.279)),
)

SEGMENTS: tuple[Segment, ...] = (
    Segment("neck", "vertex", (0.0694, 0.0668), (0.4998, 0.5158), (0.315, 0.296)),
    Segment("collar", "chest", (0.1596, 0.1545), (0.2999, 0.2077), (0.454, 0.499)),
    Segment("chest", "navel", (0.1633, 0.1465), (0.4502, 0.4512), (0.383, 0.354)),
    Segment("navel", "pelvis", (0.1117, 0.1247), (0.6115, 0.4920), (0.551, 0.402)),
    *(
        Segment(f"{start}_{side}", f"{end}_{side}", mass, centre, gyration)
        for side in "lr"
        for start, end, mass, centre, gyration in _LIMBS
    ),
)
"""The 16 segments of de Leva's model (the trunk in three parts)."""

_LENGTHS_MM = {
    "lower_trunk": (145.7, 181.5),
    "middle_trunk": (215.5, 205.3),
    "upper_trunk": (170.7, 142.5),
    "collar_to_neck": (40.0, 85.0),
    "head": (242.9, 243.7),
    "upper_arm": (281.7, 275.1),
    "forearm": (268.9, 264.3),
    "hand": (187.9, 172.0),
    "thigh": (422.2, 368.5),
    "shank": (440.3, 438.6),
    "foot": (258.1, 228.3),
    "collar_to_shoulder": (16.4, 16.0),
    "half_shoulders": (172.0, 158.0),
    "half_hips": (85.0, 88.0),
}
_STATURE_MM = (1741.0, 1735.0)
_TRUNK_LONG_AXIS_INERTIA = 0.0047
"""Inertia of trunk and head about the long axis as a fraction of mass (m^2 kg/kg), from de Leva's radii."""

_HEEL_FRACTION = 0.26
_SHOULDER_RISE_M = 0.07
"""How far the shoulder rises when the arm is overhead (scapular elevation)."""


class Pose(NamedTuple):
    """Joint angles of one instant, or arrays of them over time, in radians.

    Left and right differ by the ``*_split`` values: left = value + split / 2, right = value - split / 2.

    Attributes:
        hip: Flexion of both hips; 0 is straight.
        knee: Flexion of both knees; 0 is straight.
        ankle: Angle from the shank's line to the foot; pi/2 is a flexed foot, 0.2 a pointed one.
        spread: Abduction of each thigh.
        hip_split: Difference between left and right hip.
        knee_split: Difference between left and right knee.
        spine: Forward bend of the trunk over both of its joints; negative is an arch.
        neck: Forward bend of the head.
        arm: Flexion of both shoulders; 0 is down, pi overhead.
        arm_split: Difference between left and right shoulder.
        elbow: Flexion of both elbows.
        elbow_split: Difference between left and right elbow.
        wing: Abduction of each arm.
    """

    hip: float = 0.0
    knee: float = 0.0
    ankle: float = 0.2
    spread: float = 0.0
    hip_split: float = 0.0
    knee_split: float = 0.0
    spine: float = 0.0
    neck: float = 0.0
    arm: float = 0.0
    arm_split: float = 0.0
    elbow: float = 0.0
    elbow_split: float = 0.0
    wing: float = 0.0


def _limb(angle: Array, side: Array) -> Array:
    """Return the unit vector of a limb that hangs down at angle 0 and swings forward, turned sideways by ``side``."""
    return np.stack([np.sin(angle) * np.cos(side), np.sin(side), -np.cos(angle) * np.cos(side)], axis=-1)


@dataclass(frozen=True, slots=True)
class Athlete:
    """One athlete.

    Attributes:
        sex: Which column of de Leva's tables applies.
        stature_m: Standing height.
        mass_kg: Body mass.
        build: Girth relative to the average for the stature.
    """

    sex: Literal["male", "female"]
    stature_m: float
    mass_kg: float
    build: float = 1.0

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Athlete:
        """Draw an athlete: divers are short and lean."""
        female = bool(rng.random() < 0.5)
        stature = float(np.clip(rng.normal(1.61 if female else 1.70, 0.05), 1.48, 1.84))
        build = float(np.clip(rng.normal(1.0, 0.05), 0.88, 1.12))
        return cls("female" if female else "male", stature, (20.5 if female else 22.5) * stature**2 * build, build)

    @property
    def column(self) -> int:
        """Column of the (male, female) tables."""
        return 0 if self.sex == "male" else 1

    @property
    def long_axis_inertia(self) -> float:
        """Inertia of trunk and head about the long axis, kg m^2 (the limbs add their own)."""
        return _TRUNK_LONG_AXIS_INERTIA * self.mass_kg * (self.stature_m / 1.74) ** 2

    def length_m(self, part: str) -> float:
        """Return a length of ``_LENGTHS_MM`` scaled to the athlete's stature."""
        return _LENGTHS_MM[part][self.column] / _STATURE_MM[self.column] * self.stature_m

    def joints(self, pose: Array) -> Array:
        """Place the joints.

        Args:
            pose: [..., len(Pose._fields)] joint angles.

        Returns:
            [..., len(JOINTS), 3] positions in body axes, metres.
        """
        angle = dict(zip(Pose._fields, np.moveaxis(pose, -1, 0), strict=True))
        zero = np.zeros(pose.shape[:-1])
        out = np.zeros((*pose.shape[:-1], len(JOINTS), 3))

        def place(name: str, value: Array) -> Array:
            out[..., JOINT[name], :] = value
            return value

        middle, upper = angle["spine"] * 0.5, angle["spine"]
        navel = place("navel", -_limb(zero, zero) * self.length_m("lower_trunk"))
        chest = place("chest", navel - _limb(-middle, zero) * self.length_m("middle_trunk"))
        along = -_limb(-upper, zero)
        collar = place("collar", chest + along * self.length_m("upper_trunk"))
        neck = place("neck", collar + along * self.length_m("collar_to_neck"))
        place("vertex", neck - _limb(-(upper + angle["neck"]), zero) * self.length_m("head"))

        left = np.array([0.0, 1.0, 0.0])
        for side, sign in (("l", 1.0), ("r", -1.0)):
            arm = angle["arm"] + sign * angle["arm_split"] / 2
            elbow = angle["elbow"] + sign * angle["elbow_split"] / 2
            rise = _SHOULDER_RISE_M * (1 - np.cos(np.clip(arm, 0, np.pi))) / 2 - self.length_m("collar_to_shoulder")
            overhead = (1 - np.cos(np.clip(arm, 0, np.pi))) / 2
            width = self.length_m("half_shoulders") * (1 - 0.22 * overhead)
            shoulder = place(f"shoulder_{side}", collar + along * rise[..., None] + sign * left * width[..., None])
            outwards = sign * (angle["wing"] - 0.16 * overhead)
            hand = arm - upper + elbow
            bent = place(f"elbow_{side}", shoulder + _limb(arm - upper, outwards) * self.length_m("upper_arm"))
            wrist = place(f"wrist_{side}", bent + _limb(hand, outwards * 0.6) * self.length_m("forearm"))
            place(f"finger_{side}", wrist + _limb(hand, outwards * 0.3) * self.length_m("hand"))

            hip = angle["hip"] + sign * angle["hip_split"] / 2
            knee = angle["knee"] + sign * angle["knee_split"] / 2
            socket = place(f"hip_{side}", np.broadcast_to(sign * left * self.length_m("half_hips"), navel.shape))
            # Straight legs close at the ankles; bent knees that part still bring the feet together.
            thigh_side = sign * (angle["spread"] - 0.06)
            shank_side = sign * (angle["spread"] * (1 - 1.7 * np.clip(knee / 2, 0, 1)) - 0.06)
            bend = place(f"knee_{side}", socket + _limb(hip, thigh_side) * self.length_m("thigh"))
            ankle = place(f"ankle_{side}", bend + _limb(hip - knee, shank_side) * self.length_m("shank"))
            sole = _limb(hip - knee + angle["ankle"], shank_side * 0.5) * self.length_m("foot")
            drop = _limb(hip - knee, shank_side) * 0.2 * self.length_m("foot")
            heel = place(f"heel_{side}", ankle + drop - _HEEL_FRACTION * sole)
            place(f"toe_{side}", heel + sole)
        return out

    def masses(self, joints: Array) -> tuple[Array, Array]:
        """Return point masses that carry the mass, centre and transverse inertia of every segment.

        A segment of mass m with its centre at c and radius of gyration k equals two points of m / 2 at c - k and
        c + k along its axis.

        Args:
            joints: [..., len(JOINTS), 3] positions.

        Returns:
            Points [..., 2 * segments, 3] in metres and masses [2 * segments] in kg, summing to ``mass_kg``.
        """
        column = self.column
        start = joints[..., [JOINT[s.start] for s in SEGMENTS], :]
        span = joints[..., [JOINT[s.end] for s in SEGMENTS], :] - start
        centre = np.array([s.centre[column] for s in SEGMENTS])[:, None]
        gyration = np.array([s.gyration[column] for s in SEGMENTS])[:, None]
        mass = np.array([s.mass[column] for s in SEGMENTS])
        mass = mass / mass.sum() * self.mass_kg
        points = np.concatenate([start + (centre - gyration) * span, start + (centre + gyration) * span], axis=-2)
        return points, np.concatenate([mass, mass]) / 2
