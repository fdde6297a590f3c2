"""Count what a body does in the air, and tell which dive numbers that rules out.

Nothing here is learnt but thresholds. A body in the air keeps its angular momentum, so it turns the faster the more
closed it is: with the inertia read from the joints, one number (the whole turn) gives the trunk's direction in every
frame, but for a small deviation. All turns are tried, with two starts (feet, hands) and several angles of the camera,
and what the frames say of each is added up.

Half twists are not counted: the reader does not see the line of the shoulders in the air (0.05 m wide in the median
where it is 0.18 m in the picture), and fitted to it, 1 of 147 twisting dives had the right count. What is seen is
whether the body bends early, as it does where it need not twist first.

Angles are radians, counter-clockwise from the right of the picture. Shapes: T frames of the flight, J joints, D
deviations.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final

import numpy as np

from finecausal_cli.athlete import JOINT
from finecausal_cli.diving import listed_dives, parse_dive_number
from finecausal_cli.diving.competition import competition_statistics

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from finecausal_cli.athlete.track import BodyTrack
    from finecausal_cli.diving import DiveNumber

    Array = NDArray[np.float64]

MOST_HALVES: Final = 11
"""Most half somersaults of a dive number, 1011C."""

_FEWEST_FRAMES: Final = 8
_LEAST_SEEN: Final = 0.5

_AROUND_S, _AFTER_S = 0.06, 0.02
"""Real time before the take-off and after the entry of the frames that count."""

_SAME_FRAME_S: Final = 1e-4

_CAMERA: Final = (1.0, 0.7, 0.4, 0.12)
"""Cosine of the camera's angle off the side: how much of a horizontal length the picture shows."""

_TURNS: Final = np.arange(0.4, 10.01, 0.2) * np.pi
_DEVIATIONS: Final = np.radians(np.arange(-216, 217, 9))
_STEP: Final = float(_DEVIATIONS[1] - _DEVIATIONS[0])

_START_SPREAD, _END_SPREAD = 0.4, 0.35
_BENT, _BENT_SPREAD, _BENT_SHARE = 0.9, 0.45, 0.5
"""How far the trunk has turned already, radians, where a body leaves its feet bent, as most do that turn forwards; the
standard deviation of that, and the share of such bodies."""

_WRONG_END: Final = 0.02
"""Probability that the take-off or the entry is found at a wrong time, and the body can have any direction there."""

_RATE_SPREAD: Final = 0.3
"""Error of the predicted turn between two frames, share of it."""

_DRIFT: Final = 1.0
"""The same of a body at rest, radians a second."""

_TURNED_OVER, _NOWHERE = 0.12, 0.12
"""Probability that a frame is read upside down, and that it says nothing."""

_TEMPER: Final = 0.3
"""Weight of one frame: errors of neighbouring frames are alike."""

_INERTIA_POWER: Final = 0.7
"""Measured joints are noisy, so the inertia of a closed body is read too small."""

_ARMSTANDS: Final = 0.08

_AS_LISTED: Final = 0.3
"""Part of the listed numbers, beside those of competition, in how common a count is: not everybody competes."""

_COMMON_SHARE: Final = 0.03
"""Weight of the usual prior in one that is given: it may be wrong."""

_OUTWARDS_M_S, _OUTWARDS_SPREAD, _STANDING_M_S = 1.1, 0.5, 0.1
"""Usual speed outwards of a dive, the standard deviation of its logarithm as it is read, and what counts as none."""

GRAVITY_M_S2: Final = 9.81
_RISES_M_S, _RISE_SPREADS = (3.7, 0.8), (1.0, 0.4)
_RISE_ERROR_M_S: Final = 0.5
_WRONG_RISE: Final = 0.005
"""Speeds upwards at the take-off from the feet and from an armstand, their standard deviations (500 simulated dives:
1.9 to 5.5 and 0.6 to 1.1), the error of one that is read, and the least likelihood of any."""

_FALLING_M_S: Final = -1.2
"""Speed upwards at the take-off below which that was found too late: in every dive the body rises at first, or from an
armstand begins to fall. Turns before it would be missed."""

# Share of the body's mass at points between two joints; rounded from tables of segments of the body.
_MASSES: Final = (
    ("head", "neck", 0.5, 0.08),
    ("pelvis", "neck", 0.25, 0.25),
    ("pelvis", "neck", 0.75, 0.25),
    *((f"hip_{side}", f"knee_{side}", 0.5, 0.10) for side in "lr"),
    *((f"knee_{side}", f"ankle_{side}", 0.5, 0.06) for side in "lr"),
    *((f"shoulder_{side}", f"elbow_{side}", 0.5, 0.028) for side in "lr"),
    *((f"elbow_{side}", f"wrist_{side}", 0.5, 0.022) for side in "lr"),
)


def body_inertia(joints_m: NDArray[np.floating]) -> tuple[Array, Array]:
    """Return the middle of the mass [T, 2] and the inertia by mass about it [T], square metres, of joints [T, J, 2]."""
    centre, moments = _mass_moments(joints_m)
    return centre, np.asarray(moments[:, 0, 0] + moments[:, 1, 1])


def body_axis(joints_m: NDArray[np.floating]) -> Array:
    """Return the direction of the body's long axis [T], radians in 0..pi, of joints [T, J, 2].

    It is the axis about which the mass has the least inertia, so it follows the whole body: of simulated bodies at the
    water it differs from the pelvis' by 0.8 degrees, where the line from the ankles to the neck does by 8.
    """
    moments = _mass_moments(joints_m)[1]
    return np.asarray(np.arctan2(2 * moments[:, 0, 1], moments[:, 0, 0] - moments[:, 1, 1]) / 2 % np.pi)


def _mass_moments(joints_m: NDArray[np.floating]) -> tuple[Array, Array]:
    """Return the middle of the mass [T, 2] and the second moments about it [T, 2, 2], square metres."""
    joints = np.asarray(joints_m, np.float64)
    share = np.array([part for _, _, part, _ in _MASSES])[:, None]
    first = joints[:, [JOINT[name] for name, *_ in _MASSES]]
    second = joints[:, [JOINT[name] for _, name, *_ in _MASSES]]
    points, mass = first * (1 - share) + second * share, np.array([mass for *_, mass in _MASSES])
    mass = mass / mass.sum()
    centre = np.einsum("tpc,p->tc", points, mass)
    about = points - centre[:, None]
    return centre, np.einsum("tpi,tpj,p->tij", about, about, mass)


def free_fall(times_s: Array, centre_m: Array) -> tuple[float, float]:
    """Return the speed upwards at time 0 and the speed to the right of a body in free fall, m/s.

    Args:
        times_s: [T], real seconds.
        centre_m: [T, 2], the middle of the mass in the still world, right and up.
    """
    height = centre_m[:, 1] + GRAVITY_M_S2 / 2 * times_s**2
    keep = np.ones(len(times_s), bool)
    speed = 0.0
    for _ in range(3):
        speed, start = np.polyfit(times_s[keep], height[keep], 1)
        rest = np.abs(height - start - speed * times_s)
        keep = rest <= max(2.5 * float(np.median(rest)), 0.05)
    return float(speed), float(np.polyfit(times_s, centre_m[:, 0], 1)[0])


@dataclass(frozen=True, slots=True)
class Rotation:
    """How the trunk turns in a flight.

    Attributes:
        halves: [12, 2], probability of each count of half somersaults, 0..11, starting on the feet and on the hands.
        likelihood: [12, 2], the same without how common each count is; the largest is 1.
        counter_clockwise: Probability of this sense in the picture.
        camera: Mean cosine of the camera's angle off the side, 0..1.
        times_s: [T], real seconds since the take-off.
        angle: [T], the likeliest direction of the trunk, unwrapped.
    """

    halves: Array
    likelihood: Array
    counter_clockwise: float
    camera: float
    times_s: Array
    angle: Array


def trunk_rotation(
    times_s: Array,
    joints_m: Array,
    confidence: Array,
    air_s: float,
    travel_m_s: float | None = None,
    prior: Array | None = None,
    rise_m_s: float | None = None,
) -> Rotation:
    """Return how the trunk turns.

    Args:
        times_s: [T], real seconds since the take-off, rising, of the frames in the air.
        joints_m: [T, J, 2], right and up, any origin.
        confidence: [T, J], 0..1.
        air_s: Real seconds in the air.
        travel_m_s: Speed across the picture; where it is given, it says how far off the side the camera is, and counts
            are as common as in competition. None leaves every angle, and every listed number, alike.
        prior: [12, 2], prior probability of each count and start; None takes them as common as said.
        rise_m_s: Speed upwards at the take-off: from an armstand nobody leaps. None where it is not known.
    """
    trunk = joints_m[:, JOINT["neck"]] - joints_m[:, JOINT["pelvis"]]
    trunk = trunk / max(float(np.quantile(np.hypot(*trunk.T), 0.9)), 1e-3)
    sure = np.sqrt(np.clip(confidence[:, JOINT["neck"]] * confidence[:, JOINT["pelvis"]], 0, 1))
    share = _shares(times_s, joints_m, air_s)

    cameras = np.array(_CAMERA)[:, None, None, None]
    bases = np.array([np.pi / 2, -np.pi / 2])[None, :, None, None]
    turns = np.concatenate([-_TURNS[::-1], _TURNS])[None, None, :, None]
    start = np.stack([[_at_the_start(base, turn) for turn in turns[0, 0, :, 0]] for base in bases[0, :, 0, 0]])
    belief = np.broadcast_to(start, (len(_CAMERA), *start.shape))
    for frame in range(len(times_s)):
        if frame:
            turned = np.abs(turns[0, 0, :, 0]) * (share[frame] - share[frame - 1])
            belief = _spread(belief, turned, times_s[frame] - times_s[frame - 1])
        angle = bases + turns * share[frame] + _DEVIATIONS
        belief = belief + _TEMPER * _likelihood(angle, cameras, trunk[frame], sure[frame])

    counts = np.arange(MOST_HALVES + 1)
    whole = np.abs(turns[0, 0, :, 0]) / np.pi
    sign = np.sign(turns[0, 0, :, 0])
    common = _priors() if travel_m_s is None else _competition_priors()
    prior = common if prior is None else (1 - _COMMON_SHARE) * prior + _COMMON_SHARE * common
    end = (whole[:, None] + sign[:, None] * _DEVIATIONS / np.pi)[None] - counts[:, None, None]  # [count, turn, D]
    log_end = _at_an_end(end * np.pi / _END_SPREAD)
    joint = np.stack([_log_sum(belief + log_end[count], (3,)) for count in counts])  # [count, camera, base, turn]
    with np.errstate(divide="ignore"):
        joint = joint + np.log(prior)[:, None, :, None]
    if travel_m_s is not None:
        joint = joint + _camera_likelihood(abs(travel_m_s))[None, :, None, None]
    if rise_m_s is not None:
        joint = joint + _start_likelihood(rise_m_s)[None, None, :, None]
    weight = np.exp(joint - joint.max())
    weight /= weight.sum()
    count, camera, base, turn = np.unravel_index(int(weight.argmax()), weight.shape)
    best = trunk, sure, times_s, share
    halves = weight.sum((1, 3))
    likelihood = np.divide(halves, prior, out=np.zeros_like(halves), where=prior > 0)
    return Rotation(
        halves=halves,
        likelihood=likelihood / likelihood.max(),
        counter_clockwise=float(weight[:, :, :, sign > 0].sum()),
        camera=float((weight.sum((0, 2, 3)) * np.array(_CAMERA)).sum()),
        times_s=times_s,
        angle=_likeliest(
            best, _CAMERA[camera], float(bases[0, base, 0, 0]), float(turns[0, 0, turn, 0]), log_end[count, turn]
        ),
    )


def _at_an_end(deviations: Array) -> Array:
    """Return the log likelihood of deviations from upright, in their spreads, at the take-off or the entry."""
    normal = np.exp(-0.5 * deviations**2)
    return np.asarray(np.log((1 - _WRONG_END) * normal + _WRONG_END * np.exp(-0.5 * (deviations / 6) ** 2)))


def _at_the_start(base: float, turn: float) -> Array:
    """Return the log likelihood of the deviations at the take-off [D]: upright, or bent already the way it turns."""
    upright = _at_an_end(_DEVIATIONS / _START_SPREAD)
    if base < 0:
        return upright
    bent = _at_an_end((np.sign(turn) * _DEVIATIONS - _BENT) / _BENT_SPREAD)
    share_of_bent = _BENT_SHARE * _START_SPREAD / _BENT_SPREAD  # both normal densities in the units of the upright one
    return np.asarray(np.logaddexp(upright + np.log(1 - _BENT_SHARE), bent + np.log(share_of_bent)))


def _shares(times_s: Array, joints_m: Array, air_s: float) -> Array:
    """Return the share of the whole turn that is done at each time, by a constant angular momentum."""
    inertia = body_inertia(joints_m)[1]
    for _ in range(2):
        inertia = np.convolve(np.pad(inertia, 1, mode="edge"), (0.25, 0.5, 0.25), "valid")
    rate = np.clip(inertia / max(float(np.median(inertia)), 1e-6), 0.3, 3.0) ** -_INERTIA_POWER
    done = np.concatenate([[0.0], np.cumsum((rate[1:] + rate[:-1]) / 2 * np.diff(times_s))])
    before, after = max(0.0, times_s[0]) * rate[0], max(0.0, air_s - times_s[-1]) * rate[-1]
    return np.asarray((done + before) / max(done[-1] + before + after, 1e-6))


def _likelihood(angle: Array, camera: Array | float, trunk: Array, sure: float) -> Array:
    """Return the log likelihood of one frame's trunk [2] for directions as seen by cameras."""
    x, y = camera * np.cos(angle), np.sin(angle)
    spread = 0.18 + 0.35 * (1 - sure)
    along = x * trunk[0] + y * trunk[1]
    squares = x * x + y * y + float(trunk @ trunk)
    scale = 0.5 / spread**2
    right = np.exp(-scale * (squares - 2 * along))
    over = np.exp(-scale * (squares + 2 * along))
    flat = spread**2 * 2  # a uniform density over a disk of radius 1, in the units of the others
    return np.asarray(np.log((1 - _TURNED_OVER - _NOWHERE) * right + _TURNED_OVER * over + _NOWHERE * flat))


def _spread(belief: Array, turned: Array, step_s: float) -> Array:
    """Let the deviation [..., H, D] change between two frames, by a normal error that grows with the turn [H]."""
    spread = np.sqrt((_RATE_SPREAD * turned) ** 2 + (_DRIFT * step_s) ** 2 + 0.03**2)
    levels = np.clip(np.round(np.log2(spread / _STEP) * 2), -4, 4)
    peak = belief.max(axis=-1, keepdims=True)
    shares, out = np.exp(belief - peak), np.empty(belief.shape)
    for level in np.unique(levels):
        rows = levels == level
        out[..., rows, :] = shares[..., rows, :] @ _kernel(float(level))
    return np.asarray(np.log(out + 1e-30) + peak)


@lru_cache(maxsize=16)
def _kernel(level: float) -> Array:
    far = np.subtract.outer(np.arange(len(_DEVIATIONS)), np.arange(len(_DEVIATIONS)))
    kernel = np.exp(-0.5 * (far / 2 ** (level / 2)) ** 2)
    return np.asarray(kernel / np.exp(-0.5 * (np.arange(-40, 41) / 2 ** (level / 2)) ** 2).sum())


def _log_sum(values: Array, axes: tuple[int, ...]) -> Array:
    peak = values.max(axis=axes, keepdims=True)
    return np.asarray(np.log(np.exp(values - peak).sum(axis=axes)) + peak.squeeze(axes))


def _likeliest(
    frames: tuple[Array, Array, Array, Array], camera: float, base: float, turn: float, log_end: Array
) -> Array:
    """Return the likeliest direction of the trunk [T] for one hypothesis, by the Viterbi algorithm."""
    trunk, sure, times_s, share = frames
    score, trail = _at_the_start(base, turn), []
    far = np.subtract.outer(_DEVIATIONS, _DEVIATIONS)
    for frame in range(len(trunk)):
        if frame:
            turned = abs(turn) * (share[frame] - share[frame - 1])
            variance = (_RATE_SPREAD * turned) ** 2 + (_DRIFT * (times_s[frame] - times_s[frame - 1])) ** 2 + 0.03**2
            candidates = score[None] - 0.5 * far**2 / variance
            trail.append(candidates.argmax(1))
            score = candidates.max(1)
        angle = base + turn * share[frame] + _DEVIATIONS
        score = score + _TEMPER * _likelihood(angle, camera, trunk[frame], float(sure[frame]))
    index = int((score + log_end).argmax())
    indices = [index]
    for before in reversed(trail):
        index = int(before[index])
        indices.append(index)
    return np.asarray(base + turn * share + _DEVIATIONS[indices[::-1]])


@lru_cache(maxsize=1)
def _priors() -> Array:
    """Return the probability of each count of half somersaults [12, 2], starting on the feet and on the hands."""
    prior = np.zeros((MOST_HALVES + 1, 2))
    for dive in listed_dives():
        prior[dive.half_somersaults, int(dive.armstand)] += 1
    prior = np.sqrt(prior)
    prior /= prior.sum(axis=0)
    return np.asarray(prior * np.array([1 - _ARMSTANDS, _ARMSTANDS]))


@lru_cache(maxsize=1)
def _competition_priors() -> Array:
    """Return the same as the counts are dived in competition, with a part of those that are listed."""
    prior = np.zeros((MOST_HALVES + 1, 2))
    for dive, marks in competition_statistics().numbers.items():
        prior[dive.half_somersaults, int(dive.armstand)] += marks.dives
    return np.asarray((1 - _AS_LISTED) * prior / prior.sum() + _AS_LISTED * _priors())


def _camera_likelihood(across_m_s: float) -> Array:
    """Return the log likelihood of each camera, if a dive travels so fast across its picture."""
    expected = np.log(np.maximum(_OUTWARDS_M_S * np.array(_CAMERA), _STANDING_M_S))
    off = (np.log(max(across_m_s, _STANDING_M_S)) - expected) / _OUTWARDS_SPREAD
    return np.asarray(np.log(0.95 * np.exp(-0.5 * off**2) + 0.05))


def _start_likelihood(rise_m_s: float) -> Array:
    """Return the log likelihood of a start on the feet and on the hands, if the body leaves so fast upwards."""
    off = (rise_m_s - np.array(_RISES_M_S)) / np.hypot(_RISE_SPREADS, _RISE_ERROR_M_S)
    return np.asarray(np.log(np.exp(-0.5 * off**2) + _WRONG_RISE))


# What the body looks like in the air: bent or straight, how early, and to which side.

_NARROWEST: Final = 0.4
"""Least cosine of the camera's angle off the side by which horizontal lengths are corrected."""


@dataclass(frozen=True, slots=True)
class Shape:
    """Bends and directions in the flight.

    Attributes:
        hip: Upper quartile of the bend of the hips, degrees; 0 is straight.
        knee: The same of the knees.
        early: Bend of the hips between 22 and 44% of the flight, degrees.
        front: How far the body bends towards the side that it turns to, -1..1: without a twist positive in dives that
            turn forwards (forward, inward), negative in those that turn backwards (back, reverse).
        away: Speed at which it travels to the side to which its head tips, m/s: positive in forward and back dives,
            negative in reverse and inward ones.
    """

    hip: float
    knee: float
    early: float
    front: float
    away: float


def flight_shape(
    times_s: Array, joints_m: Array, confidence: Array, path_m: Array, air_s: float, rotation: Rotation
) -> Shape:
    """Return bends and directions.

    Args:
        times_s: [T], as in ``trunk_rotation``.
        joints_m: [T, J, 2], the same.
        confidence: [T, J], the same.
        path_m: [T, 2], the pelvis in the still world, right and up.
        air_s: Real seconds in the air.
        rotation: How the trunk turns.
    """
    share = times_s / air_s
    middle = _frames(share, 0.12, 0.88)
    camera = max(rotation.camera, _NARROWEST)
    hips, knees, sides, weights = _bends(joints_m / np.array([camera, 1.0]), confidence)
    sense = 1 - 2 * rotation.counter_clockwise
    speed = free_fall(times_s, path_m + body_inertia(joints_m)[0] - joints_m[:, JOINT["pelvis"]])[1]
    early = [float(np.median(hips[_frames(share, begin, begin + 0.12)])) for begin in (0.22, 0.32, 0.42)]
    return Shape(
        hip=float(np.quantile(hips[middle], 0.75)),
        knee=float(np.quantile(knees[middle], 0.75)),
        early=float(np.mean(early)),
        front=sense * float(np.average(sides[middle], weights=weights[middle])),
        away=sense * speed / camera,
    )


def _frames(share: Array, begin: float, end: float) -> NDArray[np.intp]:
    """Return the frames within shares of the flight, the nearest one if there is none."""
    inside = np.flatnonzero((share > begin) & (share < end))
    return inside if len(inside) else np.array([np.abs(share - (begin + end) / 2).argmin()])


def _bends(joints: Array, confidence: Array) -> tuple[Array, Array, Array, Array]:
    """Return the bend of hips and of knees, degrees [T], the side of the hips' bend, -1..1 [T, 2], and its weights."""
    down = joints[:, JOINT["pelvis"]] - joints[:, JOINT["neck"]]
    hips, knees, weights = [], [], []
    for side in "lr":
        hip, knee, ankle = (joints[:, JOINT[f"{name}_{side}"]] for name in ("hip", "knee", "ankle"))
        hips.append(_between(down, knee - hip))
        knees.append(_between(knee - hip, ankle - knee))
        weights.append(confidence[:, JOINT[f"hip_{side}"]] * confidence[:, JOINT[f"knee_{side}"]] + 1e-3)
    bend = np.stack(hips, 1)
    size = [np.degrees(np.abs(np.stack(each, 1)).mean(1)) for each in (hips, knees)]
    return size[0], size[1], np.sin(bend / 2), np.stack(weights, 1)


def _between(first: Array, second: Array) -> Array:
    """Return the angle from the first to the second of vectors [T, 2], radians, counter-clockwise positive."""
    cross = first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0]
    return np.asarray(np.arctan2(cross, (first * second).sum(1)))


# What is ruled out. The thresholds lie where hardly any of the 179 dives they were set on has its own number beyond.

_LEAST_PROBABILITY: Final = 0.0015
"""Probability of a count and a start from which on they are possible."""

_SURE: Final = 0.9
"""Probability from which on the count of half somersaults is sure: 97% of 142 tested ones are right."""

_SIDE_ON: Final = 0.35
"""Cosine of the camera's angle from which on bends and sides are seen."""

_MOST_FROM_HANDS_M_S: Final = 2.5
"""Speed upwards at the take-off from which on a dive did not start on the hands: 29 armstand dives of wild films are
read to rise by 1.4 m/s at most."""

_EARLY_BEND_DEG, _NO_EARLY_BEND_DEG = 130.0, 35.0
_FRONT, _AWAY_M_S = 0.46, 0.8
_STRAIGHT_KNEES_DEG, _BENT_KNEES_DEG = 45.0, 155.0
_LEAST_PIKE_DEG, _LEAST_TUCK_DEG, _MOST_STRAIGHT_DEG = 60.0, 85.0, 135.0


@dataclass(frozen=True, slots=True)
class BodyTurns:
    """What was counted in a flight.

    Attributes:
        rotation: Half somersaults, start and sense.
        shape: Bends and directions.
        rise_m_s: Speed upwards at the take-off.
    """

    rotation: Rotation
    shape: Shape
    rise_m_s: float

    @property
    def half_somersaults(self) -> tuple[int, float]:
        """The likeliest count of half somersaults, and its probability."""
        halves = self.rotation.halves.sum(axis=1)
        return int(halves.argmax()), float(halves.max())

    @property
    def on_hands(self) -> bool:
        """Whether the dive starts on the hands."""
        feet, hands = self.rotation.halves.sum(axis=0)
        return bool(hands > feet)

    @property
    def sure(self) -> bool:
        """Whether the count of half somersaults is sure."""
        return self.half_somersaults[1] >= _SURE

    @property
    def possible_half_somersaults(self) -> tuple[int, ...]:
        """Counts of half somersaults that are possible."""
        possible = (self.rotation.halves >= _LEAST_PROBABILITY).any(axis=1)
        return tuple(np.flatnonzero(possible).tolist())

    def allows(self, number: DiveNumber | str) -> bool:
        """Tell whether a dive of this number can be what was seen.

        Raises:
            DiveNumberError: It is no dive number.
        """
        dive = parse_dive_number(number) if isinstance(number, str) else number
        if self.rotation.halves[dive.half_somersaults, int(dive.armstand)] < _LEAST_PROBABILITY:
            return False
        if dive.armstand and self.rise_m_s > _MOST_FROM_HANDS_M_S:
            return False
        return self.rotation.camera < _SIDE_ON or (self._allows_direction(dive) and self._allows_shape(dive))

    def log_evidence(self, number: DiveNumber) -> float:
        """Return the log of how likely what was counted is for a dive of this number; 0 for the count that fits best.

        Minus infinity where it rules the number out.
        """
        if not self.allows(number):
            return -math.inf
        return math.log(self.rotation.likelihood[number.half_somersaults, int(number.armstand)])

    def _allows_direction(self, dive: DiveNumber) -> bool:
        if dive.direction == 0:
            return True
        away = 1 if dive.direction in (1, 2) else -1
        front = 1 if dive.direction in (1, 4) else -1
        if away * self.shape.away < -_AWAY_M_S:
            return False
        return dive.twisting or front * self.shape.front >= -_FRONT

    def _allows_shape(self, dive: DiveNumber) -> bool:
        shape = self.shape
        if dive.twisting and shape.early > _EARLY_BEND_DEG:
            return False
        if dive.position in "AD":
            return shape.hip <= _MOST_STRAIGHT_DEG
        if not dive.twisting and not dive.flying and dive.half_somersaults > 2 and shape.early < _NO_EARLY_BEND_DEG:
            return False
        if dive.position == "B":
            return shape.hip >= _LEAST_PIKE_DEG and shape.knee <= _BENT_KNEES_DEG
        return shape.hip >= _LEAST_TUCK_DEG and shape.knee >= _STRAIGHT_KNEES_DEG


def count_turns(track: BodyTrack, *, by_travel: bool = False, prior: Array | None = None) -> BodyTurns | None:
    """Count what the body does between take-off and entry.

    Args:
        track: What is read of the dive.
        by_travel: Let the speed across the picture tell the camera's angle, and competition how common a count is:
            more counts are right, and none is ruled out by much.
        prior: [12, 2], prior probability of each count of half somersaults, 0..11, from the feet and from the hands, by
            a network that recognises dive numbers; None if there is none.

    Returns:
        The counts; None where the athlete is seen in too few frames of the flight to count anything, or falls already
        at what was taken for the take-off.
    """
    air_s = track.air_s
    first = np.concatenate([[True], np.diff(track.times_s) > _SAME_FRAME_S])
    frames = np.flatnonzero(first & (track.times_s >= -_AROUND_S) & (track.times_s <= air_s + _AFTER_S))
    if len(frames) < _FEWEST_FRAMES or float(track.seen[frames].mean()) < _LEAST_SEEN:
        return None
    times_s, joints, confidence, path = (
        np.asarray(values[frames], np.float64)
        for values in (track.times_s, track.joints_m, track.confidence, track.path_m)
    )
    rise_m_s, travel_m_s = free_fall(times_s, path + body_inertia(joints)[0])
    if rise_m_s < _FALLING_M_S:
        return None
    rotation = trunk_rotation(times_s, joints, confidence, air_s, travel_m_s if by_travel else None, prior, rise_m_s)
    shape = flight_shape(times_s, joints, confidence, path, air_s, rotation)
    return BodyTurns(rotation, shape, rise_m_s)
