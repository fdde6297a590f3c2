"""The simulated athlete: body, poses, and the faults of a dive."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace
from math import erf, radians, sqrt
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Mapping

    from finecausal_cli.diving import DiveNumber


# The athlete's body: segment lengths, masses and joints.
#
# Lengths, masses, centres of mass and radii of gyration are those of de Leva, P. (1996), "Adjustments to Zatsiorsky-
# Seluyanov's segment inertia parameters", Journal of Biomechanics 29(9), tables 1 and 4.
#
# Body axes: x to the front, y to the athlete's left, z along the pelvis towards the head. The origin is the middle of
# the hips. Angles are in radians.

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


def _limb(angle: Array, side: Array) -> Array:
    """Return the unit vector of a limb that hangs down at angle 0 and swings forward, turned sideways by ``side``."""
    across = np.cos(side)
    return _vectors(np.sin(angle) * across, np.sin(side), -np.cos(angle) * across)


def _vectors(x: Array, y: Array, z: Array) -> Array:
    """Join coordinates [...] to vectors [..., 3]; a third of the time of ``np.stack``."""
    out = np.empty((*x.shape, 3))
    out[..., 0], out[..., 1], out[..., 2] = x, y, z
    return out


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

        def add_joint(name: str, value: Array) -> Array:
            out[..., JOINT[name], :] = value
            return value

        middle, upper = angle["spine"] * 0.5, angle["spine"]
        navel = add_joint("navel", -_limb(zero, zero) * self.length_m("lower_trunk"))
        chest = add_joint("chest", navel - _limb(-middle, zero) * self.length_m("middle_trunk"))
        along = -_limb(-upper, zero)
        collar = add_joint("collar", chest + along * self.length_m("upper_trunk"))
        neck = add_joint("neck", collar + along * self.length_m("collar_to_neck"))
        add_joint("vertex", neck - _limb(-(upper + angle["neck"]), zero) * self.length_m("head"))

        left = np.array([0.0, 1.0, 0.0])
        for side, sign in (("l", 1.0), ("r", -1.0)):
            arm = angle["arm"] + sign * angle["arm_split"] / 2
            elbow = angle["elbow"] + sign * angle["elbow_split"] / 2
            rise = _SHOULDER_RISE_M * (1 - np.cos(np.clip(arm, 0, np.pi))) / 2 - self.length_m("collar_to_shoulder")
            overhead = (1 - np.cos(np.clip(arm, 0, np.pi))) / 2
            width = self.length_m("half_shoulders") * (1 - 0.22 * overhead)
            shoulder = add_joint(f"shoulder_{side}", collar + along * rise[..., None] + sign * left * width[..., None])
            outwards = sign * (angle["wing"] - 0.16 * overhead)
            hand = arm - upper + elbow
            bent = add_joint(f"elbow_{side}", shoulder + _limb(arm - upper, outwards) * self.length_m("upper_arm"))
            wrist = add_joint(f"wrist_{side}", bent + _limb(hand, outwards * 0.6) * self.length_m("forearm"))
            add_joint(f"finger_{side}", wrist + _limb(hand, outwards * 0.3) * self.length_m("hand"))

            hip = angle["hip"] + sign * angle["hip_split"] / 2
            knee = angle["knee"] + sign * angle["knee_split"] / 2
            socket = add_joint(f"hip_{side}", np.broadcast_to(sign * left * self.length_m("half_hips"), navel.shape))
            # Straight legs close at the ankles; bent knees that part still bring the feet together.
            thigh_side = sign * (angle["spread"] - 0.06)
            shank_side = sign * (angle["spread"] * (1 - 1.7 * np.clip(knee / 2, 0, 1)) - 0.06)
            bend = add_joint(f"knee_{side}", socket + _limb(hip, thigh_side) * self.length_m("thigh"))
            ankle = add_joint(f"ankle_{side}", bend + _limb(hip - knee, shank_side) * self.length_m("shank"))
            sole = _limb(hip - knee + angle["ankle"], shank_side * 0.5) * self.length_m("foot")
            drop = _limb(hip - knee, shank_side) * 0.2 * self.length_m("foot")
            heel = add_joint(f"heel_{side}", ankle + drop - _HEEL_FRACTION * sole)
            add_joint(f"toe_{side}", heel + sole)
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


# How athletes differ that no judge minds.

_BENT_FROM_HALVES = 3
"""Half somersaults from which on a forward dive leaves the board well bent."""

_FEW_TWISTS = 4
"""Most half twists for which the flight has time after a pike."""


@dataclass(frozen=True, slots=True)
class Style:
    """How an athlete dives that dive; the defaults are the stretched take-off that was simulated at first.

    In forward and inward dives hips and trunk bend while the feet push: filmed divers of multiple somersaults leave the
    board with the trunk nearly level. Forward twists are begun out of a pike, most others from the take-off on. Divers
    open 0.2 to 0.5 s before the water; late is who opens later than planned. Who stands rises less than who leaps.

    Attributes:
        bend: Flexion of the hips when the board is left, radians.
        closing: Time in which the position is closed, relative to a slow one's.
        twist_after: Share of the flight before the twist, in a pike; 0 twists from the take-off on.
        opening: Time from the opening to the water, relative to an early one's.
        push: Speed upwards of a good take-off, relative to that after a run-up.
        ride: How long the feet stay on a springboard with the legs straight, while it recoils, seconds: filmed divers
            0.15 to 0.2. Where all left it as their legs got straight, take-offs of films were read 0.1 s early.
    """

    bend: float = 0.0
    closing: float = 1.0
    twist_after: float = 0.0
    opening: float = 1.0
    push: float = 1.0
    ride: float = 0.0

    @classmethod
    def draw(cls, rng: np.random.Generator, dive: DiveNumber, *, hurdle: bool) -> Style:
        """Draw the style of a dive that begins with a hurdle, or standing."""
        forward = dive.direction in (1, 4) and not dive.armstand
        usual, spread = (62.0, 18.0) if dive.half_somersaults >= _BENT_FROM_HALVES else (25.0, 14.0)
        bend, closing = float(np.clip(rng.normal(usual, spread), 0.0, 100.0)), float(rng.uniform(0.6, 1.0))
        after = float(rng.uniform(0.12, 0.32)) if rng.random() < (0.85 if forward else 0.15) else 0.0
        piked = dive.half_twists and dive.half_somersaults >= _BENT_FROM_HALVES
        few = dive.half_twists <= _FEW_TWISTS and not dive.armstand
        opening = float(rng.uniform(0.68, 1.04))
        push = 1.0 if dive.armstand else float(rng.uniform(*((0.94, 1.02) if hurdle else (0.84, 0.98))))
        ride = 0.0 if dive.armstand else float(rng.uniform(0.04, 0.22))
        return cls(radians(bend) if forward else 0.0, closing, after if piked and few else 0.0, opening, push, ride)


STRETCHED = Style()
"""As every athlete began before."""


# What can go wrong in a dive, by stage.
#
# Every fault is a number from 0 (none) to 1 (gross). A fault acts on the motion, never on a mark directly: the judges
# see only what the motion shows.

TAKEOFF_FAULTS = ("low_takeoff", "leaning_takeoff", "close_to_board", "unsteady_start")
FLIGHT_FAULTS = ("loose_position", "knees_apart", "flexed_feet", "crossed_twist", "late_opening")
ENTRY_FAULTS = ("short_rotation", "over_rotation", "arched_entry", "arms_apart", "big_splash")

STAGE_FAULTS: Mapping[str, tuple[str, ...]] = {
    "takeoff": TAKEOFF_FAULTS,
    "flight": FLIGHT_FAULTS,
    "entry": ENTRY_FAULTS,
}
"""Which faults belong to which stage."""

SHARED = 0.45
"""Correlation of every fault with the dive's general quality."""

STAGE_SHARED = 0.45
"""Correlation of every fault with the quality of its stage."""

_LEAST, _WORST = 0.11, 0.78
"""Range of the faults that are drawn: nobody dives without any."""

RARITY = 2.1
"""Exponent that makes small faults common and gross ones rare."""

FAILURE_RATE = 0.002
"""Share of dives in which the athlete loses the dive altogether."""


@dataclass(frozen=True, slots=True)
class Faults:
    """The faults of one dive, each from 0 to 1.

    Attributes:
        low_takeoff: Too little vertical speed.
        leaning_takeoff: The body falls away from the board: too far out and lower.
        close_to_board: Too little distance from the board.
        unsteady_start: Balance not held; in an armstand, a wobble.
        loose_position: A tuck or pike that is not closed; a straight body that bends.
        knees_apart: Legs or knees that part.
        flexed_feet: Toes not pointed.
        crossed_twist: Legs part and the body bends in the twist, which ends short.
        late_opening: The athlete holds the position too long.
        short_rotation: The athlete comes out too early.
        over_rotation: The athlete comes out too late to stop the rotation.
        arched_entry: A hollow back at the water.
        arms_apart: Arms not closed overhead (or not at the sides).
        big_splash: The hands or feet do not open the water.
        lost: Above 0 when the athlete loses the dive at take-off, which then fails: too little rotation, most of it
            missing at 1; below 1 together with over-rotation too much.
    """

    low_takeoff: float = 0.0
    leaning_takeoff: float = 0.0
    close_to_board: float = 0.0
    unsteady_start: float = 0.0
    loose_position: float = 0.0
    knees_apart: float = 0.0
    flexed_feet: float = 0.0
    crossed_twist: float = 0.0
    late_opening: float = 0.0
    short_rotation: float = 0.0
    over_rotation: float = 0.0
    arched_entry: float = 0.0
    arms_apart: float = 0.0
    big_splash: float = 0.0
    lost: float = 0.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not 0 <= value <= 1:
                raise ValueError(f"fault {field.name} must lie in 0..1, not {value}")

    @property
    def lost_rise(self) -> float:
        """Share of the upward speed that a bad take-off loses."""
        return 0.22 * self.low_takeoff + 0.08 * self.leaning_takeoff + 0.04 * self.unsteady_start

    def as_dict(self) -> dict[str, float]:
        """Return name -> value."""
        return asdict(self)


def draw_quality(rng: np.random.Generator) -> float:
    """Draw a dive's general quality; 0 is average, 1 a standard deviation better."""
    return float(rng.normal())


def draw_faults(rng: np.random.Generator, dive: DiveNumber, quality: float) -> Faults:
    """Draw faults that correlate moderately with each other through quality, and more within a stage.

    Args:
        rng: Random generator.
        dive: Decides which faults can occur (no crossed twist without a twist).
        quality: From `draw_quality`.
    """
    values: dict[str, float] = {}
    own = sqrt(1 - SHARED**2 - STAGE_SHARED**2)
    for names in STAGE_FAULTS.values():
        stage = float(rng.normal())
        for name in names:
            latent = -SHARED * quality + STAGE_SHARED * stage + own * float(rng.normal())
            share = 0.5 * (1 + erf(latent / sqrt(2)))
            values[name] = _LEAST + (_WORST - _LEAST) * share**RARITY
    if rng.random() < 0.5:
        values["close_to_board"] *= 0.0
    else:
        values["leaning_takeoff"] *= 0.0
    if rng.random() < 0.6:
        values["over_rotation"] *= 0.0
    else:
        values["short_rotation"] *= 0.0
    faults = Faults(**values, lost=float(rng.random() < FAILURE_RATE))
    return faults if dive.half_twists else replace(faults, crossed_twist=0.0)


# The positions of the sport as joint angles, with the faults that show in them.

HEELS_DOWN = radians(90)
"""Ankle angle of a foot that stands flat under an upright shank."""


def _degrees(**angles: float) -> Pose:
    return Pose(**{name: radians(value) for name, value in angles.items()})


def vector(pose: Pose) -> Array:
    """Return the pose as the row that `Athlete.joints` recordings."""
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


def leave(feet: float, bend: float = 0.0) -> Pose:
    """Return the pose in which the feet leave the board; ``feet`` 1 are not pointed.

    The hips are bent by ``bend`` radians already, arms and head on their way down; at 0 the body is stretched.
    """
    pose = _degrees(hip=4, knee=3, ankle=14 + 50 * feet, arm=165, elbow=6, wing=8)
    return pose._replace(hip=pose.hip + bend, spine=0.25 * bend, neck=0.15 * bend, arm=pose.arm - 0.45 * bend)


def handstand(split: float) -> Pose:
    """Return a handstand; ``split`` 1 parts the legs visibly."""
    return _degrees(ankle=14, arm=178, elbow=2, neck=-22, spine=-4, hip=4 * split, hip_split=34 * split)


def reach(faults: Faults, bend: float = 0.0) -> Pose:
    """Return the pose on the way into the position: straight, arms up, where the hips left unbent."""
    pose = _degrees(hip=8, arm=160, elbow=12, wing=8)
    bent = pose._replace(hip=pose.hip + 1.2 * bend, spine=0.35 * bend, neck=0.2 * bend, arm=pose.arm - 0.55 * bend)
    return _feet(bent, faults)


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
