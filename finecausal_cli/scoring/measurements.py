"""Measured facts of a dive: times, rise, velocities, turns, opening, angles, distance; each with its usual error.

What is measured is the athlete's track (``athlete.track.BodyTrack``) and the turns counted in it, without any weights
that judge; the network that recognises dive numbers helps to count. `docs/measurements.md` has the convention of the
angles and the errors found on simulated footage.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from finecausal_cli.athlete import JOINT
from finecausal_cli.athlete.track import track_features
from finecausal_cli.athlete.turns import (
    GRAVITY_M_S2,
    MOST_HALVES,
    body_axis,
    body_inertia,
    count_turns,
    free_fall,
)
from finecausal_cli.diving import listed_dives
from finecausal_cli.scoring.results import Measurement

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch
    from numpy.typing import NDArray

    from finecausal_cli.athlete.track import BodyTrack
    from finecausal_cli.athlete.turns import BodyTurns
    from finecausal_cli.model.finecausal import FineCausal
    from finecausal_cli.scoring.assessment import Height
    from finecausal_cli.scoring.dives import LocatedDive
    from finecausal_cli.scoring.results import MeasurementName, MeasurementReason

    Array = NDArray[np.float64]

_FEWEST_FRAMES: Final = 8
SIDE_ON: Final = 0.35
"""Cosine of the camera's angle off the side below which it looks along the dive: angles are hardly seen."""

_CLOSED_DEG: Final = 90.0
"""Bend of the hips, held for a quarter of the flight, from which on there is something to open."""

_OPENING: Final = 0.8
"""Share of the closed bend below which a body opens."""

_NO_TWIST_BEND_DEG: Final = 130.0
"""Bend of the hips early in the flight from which on there is no twist: a body twists when it is long."""

_LEAN_S: Final = (-0.15, 0.0)
"""Real time before the take-off over which the line from the ankles to the neck is averaged. Of four windows and five
lines it is nearest to the truth on simulated footage; the trunk alone is off by 15 degrees."""

_MOST_LEAN_DEG: Final = 60.0
"""Lean beyond which nobody stands on the board any more: the take-off is at another time."""

_TURNED_AT_TAKEOFF_DEG: Final = 30.0
"""How far a trunk has turned at the take-off, between upright and level: the whole turns in it are told from there."""

_ENTRY_S: Final = (-0.12, 0.03)
"""Real time about the entry in which the axis of the body is followed, for its direction at the first contact."""

_JOINTS_ERROR_DEG: Final = 12.0
_USUALLY_SURE, _JOINTS_ERROR_POWER = 0.65, 4
_ABOUT_ENTRY_S: Final = 0.08
"""Error of the angle at the entry by the joints, beside that which the network of the entry expects of its own: so many
degrees at the usual mean confidence of the joints about the entry, and by what power of it more where they are less
sure. Of 187 wild films the joints are within 8 degrees in 69%, the network in 70%, both together in 75% (with 6 degrees
72%)."""

_TRUNK_ERROR_DEG: Final = 12.0
"""Error of the pelvis' direction at the take-off that is expected of the trunk's joints; of 94 wild films it was 13 in
the median and 19 in 68%, as the trunk bends."""

_LEAST_REST: Final = 0.05
"""Radians by which a frame may be off the line through its neighbours and still count in full."""

_MISREAD: Final = 0.7
"""Radians from the likeliest direction of the trunk beyond which a frame is misread."""

_NARROWEST: Final = 0.35
"""Least cosine of the camera's angle off the side by which horizontal lengths are corrected."""

_SAME_FRAME_S: Final = 1e-4

_BENDS: Final = {
    "hips_deg": ("neck", "hip", "knee", 180.0),
    "knees_deg": ("hip", "knee", "ankle", 180.0),
    "shoulders_deg": ("pelvis", "shoulder", "elbow", 0.0),
    "elbows_deg": ("shoulder", "elbow", "wrist", 180.0),
}
"""For each angle the joints before, at and behind it, and the angle between the lines that counts as 0."""

_RATE_OVER_S: Final = 0.12
"""Real time over which the fastest rotation is averaged."""

CENTRE_ABOVE_BOARD_M: Final = 1.1
CENTRE_AT_ENTRY_M: Final = 1.2
"""Heights of the centre of mass above the board at the take-off and above the water at the first contact."""

UNITS: Final[dict[MeasurementName, str]] = {
    "air_time": "s",
    "file_air_time": "s",
    "rise": "m",
    "takeoff_velocity": "m/s",
    "entry_velocity": "m/s",
    "distance": "m",
    "total_turn": "deg",
    "half_somersaults": "half somersaults",
    "half_twists": "half twists",
    "rotation": "deg/s",
    "opening": "s",
    "takeoff_lean": "deg",
    "entry_angle": "deg",
    "splash": "0..1",
}
"""Every fact and its unit, in the order in which they are shown."""

_COUNTS: Final = ("half_somersaults", "half_twists")

REASONS: Final[dict[MeasurementReason, str]] = {
    "no_dive": "no dive is found",
    "no_takeoff": "the take-off is not in the clip",
    "no_entry": "the entry is not in the clip",
    "not_read": "the athlete is not read",
    "not_seen": "the athlete is not seen well enough in the air, or falls already at the take-off",
    "camera_along": "the camera looks along the dive",
    "turns_unsure": "the turns are not counted surely",
    "twists_hidden": "half twists are not seen; that there is none shows in an early bend alone",
    "never_closed": "the body is not closed long enough to open",
    "no_splash": "the water is not seen long enough after the entry",
}
"""The sentence for each reason."""

ERRORS_FILE: Final = Path(__file__).with_name("measured_errors.json")
"""Written by ``python -m benchmarks.measurements DATASET --write``."""


@lru_cache(maxsize=1)
def measured_errors() -> dict[str, Any]:
    """Return the errors of every fact on simulated films as filmed.

    Returns:
        ``films`` and ``dataset``; and ``facts``, by name: ``measured`` (share of the films), ``median``, ``p68``,
        ``p90`` of the absolute error in the fact's unit, ``p68_along`` where the camera looks along the dive (the
        others are without these films) and, where a tolerance is set, ``within``: the share of all films, those where
        it is not measured among them.
    """
    return dict(json.loads(ERRORS_FILE.read_text(encoding="utf-8")))


def usual_error(name: MeasurementName, *, along: bool = False) -> float | None:
    """Return the error, in the unit of a fact, below which 68% of the errors were; None where it was not measured.

    Args:
        name: The fact.
        along: Whether the camera looks along the dive.
    """
    found = measured_errors()["facts"].get(name, {})
    error = found.get("p68_along", found.get("p68")) if along else found.get("p68")
    return None if error is None else float(error)


@dataclass(frozen=True, slots=True)
class RawMeasurements:
    """What a track gives, before it is decided what may be told. Angles are degrees, velocities metres a second."""

    rise_m: float
    takeoff_m_s: float
    entry_m_s: float
    distance_m: float
    turn: float
    rotation: float
    opening_s: float | None
    lean: float
    entry: float


def measure_dive(
    track: BodyTrack | None,
    turns: BodyTurns | None = None,
    *,
    time_scale: float = 1.0,
    height_m: float | None = None,
    missing: MeasurementReason = "not_read",
) -> tuple[Measurement, ...]:
    """Measure a dive.

    Args:
        track: What is read of it; None where the athlete or the ends of the flight are not known.
        turns: What was counted in it; counted here if absent.
        time_scale: Times slower than real time, of the file.
        height_m: Height of the board, metres, if it is known: then the velocities follow from it and the time.
        missing: Why there is no track.

    Returns:
        One measurement for each fact of ``UNITS``, in that order; its value is None where the clip cannot tell.
    """
    if track is None:
        return tuple(_unknown(name, missing) for name in UNITS)
    known: dict[MeasurementName, Measurement] = {
        "air_time": _known("air_time", track.air_s),
        "file_air_time": _known("file_air_time", track.air_s * time_scale),
        "splash": _unknown("splash", "no_splash") if track.splash is None else _known("splash", track.splash),
    }
    turns = turns or count_turns(track, by_travel=True)
    if turns is not None:
        known |= {fact.name: fact for fact in _of_the_flight(track, turns, height_m)}
    return tuple(known.get(name) or _unknown(name, "not_seen") for name in UNITS)


@dataclass(frozen=True, slots=True)
class CountRecogniser:
    """Tells how many half somersaults a dive has, by the network that recognises dive numbers in a body's track.

    Of 100 simulated films the count is sure in 81% with it, of which 97.5% are right. With the weights before, and
    stretched athletes, 89% of 269 were right with it, and 84% of 330 by the turns alone.

    Attributes:
        model: A network that reads bodies, with a classifier of dive numbers.
        digest: Digest of its weights; empty where nobody asks for it.
    """

    model: FineCausal
    digest: str = ""

    @classmethod
    def load(cls, device: torch.device | str = "cpu") -> CountRecogniser:
        """Load the network that comes with the package.

        Raises:
            WeightsError: It is missing.
        """
        from finecausal_cli.weights.hub import resolve_weights
        from finecausal_cli.weights.store import load_weights

        loaded = load_weights(resolve_weights(), device)
        return cls(loaded.model, loaded.digest)

    def __call__(self, track: BodyTrack) -> Array:
        """Return the probability of each count [12, 2], from the feet and from the hands."""
        import torch

        from finecausal_cli.model.frame_encoder import log_probs

        device, numbers = next(self.model.parameters()).device, listed_dives()
        with torch.inference_mode():
            logits = self.model.encode(torch.from_numpy(track_features(track))[None].to(device)).number_logits
            assert logits is not None  # noqa: S101 -- the preset has a classifier
            probabilities = log_probs(logits, numbers)[0].exp().double().cpu().numpy()
        counts = np.zeros((MOST_HALVES + 1, 2))
        for number, probability in zip(numbers, probabilities, strict=True):
            counts[number.half_somersaults, int(number.armstand)] += probability
        return counts


@dataclass(frozen=True, slots=True)
class ReadDive:
    """A dive ready to be measured: what ``measure`` and ``explain`` both begin with.

    Attributes:
        track: The body at real speed; None where the athlete or the ends of the flight are not known.
        turns: What was counted in it; None where the athlete is not seen well enough.
        time_scale: Times slower than real time, of the file.
        height: Height of the board.
        missing: Why there is no track.
    """

    track: BodyTrack | None
    turns: BodyTurns | None
    time_scale: float
    height: Height
    missing: MeasurementReason = "not_read"

    @classmethod
    def of(
        cls,
        dive: LocatedDive,
        track: BodyTrack | None,
        given_height_m: float | None = None,
        recognise: CountRecogniser | None = None,
    ) -> ReadDive:
        """Prepare a dive that is located and read.

        Args:
            dive: Where it is.
            track: What is read of it; None where the athlete or the ends of the flight are not known.
            given_height_m: Height of the board, metres, as the user says; told from the time in the air if absent.
            recognise: Helps to count half somersaults; without it they are counted by the track alone.
        """
        from finecausal_cli.scoring.assessment import tell_height

        height, scale = tell_height(given_height_m, None, dive), dive.time_scale or 1.0
        if track is None:
            missing: MeasurementReason = "not_read"
            if dive.takeoff_s is None or dive.entry_s is None:
                missing = "no_takeoff" if dive.takeoff_s is None else "no_entry"
            return cls(None, None, scale, height, missing)
        prior = None if recognise is None else recognise(track)
        return cls(track, count_turns(track, by_travel=True, prior=prior), scale, height)

    def measure(self) -> tuple[Measurement, ...]:
        """Measure it."""
        return measure_dive(
            self.track,
            self.turns,
            time_scale=self.time_scale,
            height_m=self.height.metres,
            missing=self.missing,
        )


def _of_the_flight(track: BodyTrack, turns: BodyTurns, height_m: float | None) -> list[Measurement]:
    raw = measure_track(track, turns, height_m)
    halves, sure = turns.half_somersaults
    unsure: MeasurementReason | None = None if turns.sure else "turns_unsure"
    end_on: MeasurementReason | None = "camera_along" if turns.rotation.camera < SIDE_ON else None
    counted = _known("half_somersaults", halves, probability=sure)
    if unsure:
        counted = _unknown("half_somersaults", unsure, probability=sure, more=_between(turns.possible_half_somersaults))
    return [
        _known("rise", raw.rise_m),
        _known("takeoff_velocity", raw.takeoff_m_s),
        _known("entry_velocity", raw.entry_m_s),
        _known("distance", raw.distance_m),
        _known("total_turn", raw.turn, probability=sure),
        counted,
        _known("half_twists", 0.0)
        if turns.shape.early > _NO_TWIST_BEND_DEG
        else _unknown("half_twists", "twists_hidden"),
        _told("rotation", end_on or unsure, raw.rotation),
        _told("opening", end_on or (None if raw.opening_s is not None else "never_closed"), raw.opening_s),
        _told("takeoff_lean", end_on or ("not_seen" if abs(raw.lean) > _MOST_LEAN_DEG else None), raw.lean),
        _known("entry_angle", raw.entry, error=usual_error("entry_angle", along=end_on is not None)),
    ]


def measure_track(track: BodyTrack, turns: BodyTurns, height_m: float | None = None) -> RawMeasurements:
    """Measure everything in a track, whatever can be told of it."""
    body, air_s = Kinematics.of(track, turns), track.air_s
    times, air = body.times_s, _air(body.times_s, air_s)
    rise_m_s, across_m_s = free_fall(times[air], body.centre_m[air])
    takeoff_m_s = rise_m_s if height_m is None else _velocity_from(air_s, height_m)
    lean, entry = body.lean(), body.entry_angle(air_s)
    at_takeoff = body.turned_at_takeoff()
    if track.leans_deg is not None:
        (read_takeoff, takeoff_error), (read_entry, error) = np.asarray(track.leans_deg, np.float64).tolist()
        by_joints = _JOINTS_ERROR_DEG * (_USUALLY_SURE / max(body.confidence_about(air_s), 0.1)) ** _JOINTS_ERROR_POWER
        at_takeoff = _joined(at_takeoff, _TRUNK_ERROR_DEG, body.sense * read_takeoff, takeoff_error)
        entry = _joined(entry, by_joints, body.sense * read_entry, error)
    return RawMeasurements(
        rise_m=max(takeoff_m_s, 0.0) ** 2 / (2 * GRAVITY_M_S2),
        takeoff_m_s=takeoff_m_s,
        entry_m_s=GRAVITY_M_S2 * air_s - takeoff_m_s,
        distance_m=abs(across_m_s) * air_s,
        turn=180.0 * turns.half_somersaults[0] + entry - at_takeoff,
        rotation=_fastest(turns.rotation.times_s, turns.rotation.angle),
        opening_s=_opening(times[air], body.hip_deg[air], air_s),
        lean=-body.travel * body.sense * lean,
        entry=entry,
    )


def _joined(by_joints: float, joints_error: float, read: float, error: float) -> float:
    """Join an angle by the joints with that which a network reads, by the squares of their errors."""
    if np.isnan(read):
        return by_joints
    return by_joints + joints_error**2 / (joints_error**2 + error**2) * (read - by_joints)


def _velocity_from(air_s: float, height_m: float) -> float:
    """Return the velocity upwards at the take-off that a fall from a height takes so long with, m/s."""
    fall_m = height_m + CENTRE_ABOVE_BOARD_M - CENTRE_AT_ENTRY_M
    return GRAVITY_M_S2 * air_s / 2 - fall_m / max(air_s, 0.2)


# The body over time, in coordinates that do not change sides and do not jump.


@dataclass(frozen=True, slots=True)
class Kinematics:
    """A body in the plane of its dive, for each frame that is read of it; T frames, J joints.

    Lengths are metres, right where the dive travels, and up, from the pelvis at the take-off. Angles are degrees.

    Attributes:
        rows: int64 [T], the samples of the track that are distinct frames.
        times_s: [T], real seconds since the take-off.
        joints_m: [T, J, 2], joints.
        picture_m: [T, J, 2], joints about the pelvis as the picture shows them, whatever the angle of the camera.
        centre_m: [T, 2], the centre of mass.
        trunk_deg: [T], direction from pelvis to neck: 0 upright, growing the way that the dive turns, without jumps.
        hips_deg: [T, 2], bend of the left and the right hip: 0 straight, 180 folded.
        knees_deg: [T, 2], the same of the knees.
        shoulders_deg: [T, 2], angle between trunk and upper arm: 0 at the side, 180 overhead.
        elbows_deg: [T, 2], bend of the elbows.
        sense: 1 where the dive turns counter-clockwise in the picture, else -1.
        travel: 1 where it travels to the right of the picture, else -1.
        confidence: [T, J], of the joints, 0..1.
        start_deg: Where the trunk is before the take-off, in the turns of ``trunk_deg``: on the feet or on the hands.
    """

    rows: NDArray[np.int64]
    times_s: Array
    joints_m: Array
    picture_m: Array
    centre_m: Array
    trunk_deg: Array
    hips_deg: Array
    knees_deg: Array
    shoulders_deg: Array
    elbows_deg: Array
    sense: float
    travel: float
    confidence: Array
    start_deg: float

    @classmethod
    def of(cls, track: BodyTrack, turns: BodyTurns) -> Kinematics:
        """Follow a body through a track."""
        rows = np.flatnonzero(np.concatenate([[True], np.diff(track.times_s) > _SAME_FRAME_S]))
        times = track.times_s[rows]
        joints, path = (np.asarray(values[rows], np.float64) for values in (track.joints_m, track.path_m))
        centre = path + body_inertia(joints)[0]
        air = _air(times, track.air_s)
        travel = float(np.sign(free_fall(times[air], centre[air])[1]) or 1.0)
        sense = 1.0 if turns.rotation.counter_clockwise > 0.5 else -1.0
        flat = joints / np.array([max(turns.rotation.camera, _NARROWEST), 1.0])
        trunk = _trunk(times, flat, turns, sense)
        start = 180.0 if turns.on_hands else 0.0
        # A body that turns forwards leaves the board bent: its trunk has turned by up to 100 degrees already.
        ahead = float(np.interp(0.0, times, trunk)) - start - _TURNED_AT_TAKEOFF_DEG
        return cls(
            rows=rows,
            times_s=times,
            joints_m=(flat + path[:, None]) * np.array([travel, 1.0]),
            picture_m=joints,
            centre_m=centre * np.array([travel, 1.0]),
            trunk_deg=trunk,
            start_deg=start + 360.0 * round(ahead / 360.0),
            sense=sense,
            travel=travel,
            confidence=np.asarray(track.confidence[rows], np.float64),
            **{name: _bend(flat, *parts) for name, parts in _BENDS.items()},
        )

    @property
    def hip_deg(self) -> Array:
        """Mean bend of both hips [T]."""
        return np.asarray(self.hips_deg.mean(axis=1))

    def lean(self) -> float:
        """Return how far the line from the ankles to the neck leans at the take-off, the way that the dive turns."""
        ankles = self.joints_m[:, [JOINT["ankle_l"], JOINT["ankle_r"]]].mean(axis=1)
        angle = _direction_near(self.times_s, self.joints_m[:, JOINT["neck"]] - ankles, _LEAN_S)
        upright = 90.0 if self.start_deg % 360.0 == 0.0 else -90.0
        return self.travel * self.sense * _off(angle, upright)

    def turned_at_takeoff(self) -> float:
        """Return how far the trunk has turned beyond the vertical when the board is left, degrees."""
        return float(np.interp(0.0, self.times_s, self.trunk_deg)) - self.start_deg

    def confidence_about(self, time_s: float) -> float:
        """Return the mean confidence of the joints about a time, 0..1; 0 where they are not read."""
        near = np.abs(self.times_s - time_s) < _ABOUT_ENTRY_S
        return float(self.confidence[near].mean()) if near.any() else 0.0

    def entry_angle(self, air_s: float) -> float:
        """Return how far the body has turned beyond the vertical when it meets the water, degrees."""
        gap = float(np.median(np.diff(self.times_s)))
        contact_s = air_s - gap / 2  # the first frame that shows it is half a frame late on average
        angle = _unwrapped(body_axis(self.picture_m), self.times_s, contact_s)
        near = np.argsort(np.abs(self.times_s - contact_s))[:2]
        window = (self.times_s >= contact_s + _ENTRY_S[0] - gap / 2) & (
            self.times_s <= contact_s + _ENTRY_S[1] + gap / 2
        )
        window[near] = True
        return self.sense * float(np.degrees(_line_at(self.times_s[window] - contact_s, angle[window]) - np.pi / 2))


def _trunk(times: Array, joints: Array, turns: BodyTurns, sense: float) -> Array:
    """Return the direction of the trunk [T], degrees from upright the way that the dive turns, without jumps.

    In the flight the likeliest turn says where a half turn is hidden; a frame read upside down follows it.
    """
    line = joints[:, JOINT["neck"]] - joints[:, JOINT["pelvis"]]
    seen, likeliest = np.arctan2(line[:, 1], line[:, 0]), turns.rotation
    flying = (times >= likeliest.times_s[0]) & (times <= likeliest.times_s[-1])
    expected = np.interp(times, likeliest.times_s, likeliest.angle)
    away = (seen - expected + np.pi) % (2 * np.pi) - np.pi
    angle = expected + np.where(flying & (np.abs(away) > _MISREAD), 0.0, away)
    first, last = np.flatnonzero(flying)[[0, -1]]
    angle[: first + 1] = np.unwrap(angle[first::-1])[::-1]
    angle[last:] = np.unwrap(angle[last:])
    return np.asarray(np.degrees(sense * (angle - np.pi / 2)))


def _bend(joints: Array, first: str, middle: str, last: str, straight: float) -> Array:
    """Return the angle at the left and the right ``middle`` [T, 2], degrees, 0 where the limb is ``straight``."""
    sides = []
    for side in "lr":
        a, b, c = (joints[:, JOINT.get(name, JOINT.get(f"{name}_{side}", 0))] for name in (first, middle, last))
        u, v = a - b, c - b
        cross = u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0]
        sides.append(np.abs(straight - np.degrees(np.arctan2(np.abs(cross), (u * v).sum(axis=1)))))
    return np.stack(sides, axis=1)


def _air(times: Array, air_s: float) -> NDArray[np.intp]:
    """Return the frames in the air, the nearest ones where there are few."""
    air = np.flatnonzero((times >= -0.02) & (times <= air_s + 0.02))
    return air if len(air) >= _FEWEST_FRAMES else np.sort(np.argsort(np.abs(times - air_s / 2))[:_FEWEST_FRAMES])


def _unwrapped(axis: Array, times: Array, at_s: float) -> Array:
    """Return an axis [T], which has no ends, without jumps, and within a quarter turn of vertical at a time."""
    angle = np.unwrap(axis, period=np.pi)
    there = int(np.abs(times - at_s).argmin())
    return np.asarray(angle - np.round((angle[there] - np.pi / 2) / np.pi) * np.pi)


def _line_at(times: Array, values: Array) -> float:
    """Return the value at time 0 of a line through values, few of which may be far off."""
    weights = np.ones(len(times))
    fit = np.zeros(2)
    for _ in range(5):
        fit = np.polyfit(times, values, 1, w=np.sqrt(weights))
        rest = np.abs(values - np.polyval(fit, times))
        weights = 1 / np.maximum(1.0, rest / max(1.5 * float(np.median(rest)), _LEAST_REST))
    return float(fit[1])


def _direction_near(times: Array, line: Array, window_s: tuple[float, float]) -> float:
    """Return the median direction of a line within a span of time, degrees."""
    near = np.flatnonzero((times >= window_s[0]) & (times <= window_s[1]))
    if not len(near):
        near = np.array([np.abs(times - sum(window_s) / 2).argmin()])
    unit = line[near] / np.maximum(np.linalg.norm(line[near], axis=1, keepdims=True), 1e-6)
    x, y = np.median(unit, axis=0)
    return float(np.degrees(np.arctan2(y, x)))


def _off(angle: float, vertical: float) -> float:
    """Return how far a direction is from vertical, degrees, counter-clockwise positive."""
    return float((angle - vertical + 180.0) % 360.0 - 180.0)


def _fastest(times: Array, angle: Array) -> float:
    """Return the fastest rotation over a short time, degrees a second."""
    moments = np.arange(times[0], times[-1] - _RATE_OVER_S, 0.02)
    if not len(moments):
        return float(np.degrees(abs(angle[-1] - angle[0])) / max(times[-1] - times[0], 1e-3))
    turned = np.interp(moments + _RATE_OVER_S, times, angle) - np.interp(moments, times, angle)
    return float(np.degrees(np.abs(turned).max()) / _RATE_OVER_S)


def _opening(times: Array, bend: Array, air_s: float) -> float | None:
    """Return how long before the entry the hips last begin to open, seconds; None without a closed body."""
    closed = float(np.quantile(bend, 0.75))
    if closed < _CLOSED_DEG:
        return None
    return float(air_s - times[np.flatnonzero(bend >= _OPENING * closed)[-1]])


def _between(counts: Sequence[int]) -> str:
    return f": {counts[0]} to {counts[-1]}" if len(counts) > 1 else ""


def _known(
    name: MeasurementName, value: float, probability: float | None = None, error: float | None = None
) -> Measurement:
    error = usual_error(name) if error is None and name not in _COUNTS else error
    return Measurement(name=name, value=float(value), unit=UNITS[name], error=error, probability=probability)


def _told(name: MeasurementName, why_not: MeasurementReason | None, value: float | None) -> Measurement:
    return _unknown(name, why_not or "not_read") if why_not or value is None else _known(name, value)


def _unknown(
    name: MeasurementName, why: MeasurementReason, probability: float | None = None, more: str = ""
) -> Measurement:
    return Measurement(
        name=name,
        value=None,
        unit=UNITS[name],
        error=None,
        probability=probability,
        reason_kind=why,
        reason=REASONS[why] + more,
    )
