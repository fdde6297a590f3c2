"""Measured facts of a dive: time, rise, speed, rotation, opening, angles and distance, each with its usual error.

What is measured is the athlete's track (``athlete.track.BodyTrack``) and the turns counted in it, without any weights
that judge. `docs/measurements.md` has the convention of the angles and the errors found on simulated footage.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from finecausal_cli.athlete import JOINT
from finecausal_cli.athlete.turns import GRAVITY_M_S2, body_inertia, count_turns, free_fall, hip_bend
from finecausal_cli.scoring.results import Measurement

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from finecausal_cli.athlete.track import BodyTrack
    from finecausal_cli.athlete.turns import BodyTurns
    from finecausal_cli.scoring.results import MeasurementName

    Array = NDArray[np.float64]

_FEWEST_FRAMES: Final = 8
_SIDE_ON: Final = 0.5
"""Cosine of the camera's angle off the side below which angles in the plane of the dive are not told."""

_CLOSED_DEG: Final = 90.0
"""Bend of the hips, held for a quarter of the flight, from which on there is something to open."""

_OPENING: Final = 0.8
"""Share of the closed bend below which a body opens."""

_LEAN_S: Final = (-0.15, 0.0)
_ENTRY_S: Final = (-0.04, 0.02)
"""Real time around take-off and entry over which the line of the body is averaged. Of four windows and five lines
each, these are nearest to the truth on simulated footage: ankles to neck on the board, where the trunk alone is off by
15 degrees, and knees to neck at the water, where the feet are read worst."""

_RATE_OVER_S: Final = 0.12
"""Real time over which the fastest rotation is averaged."""

UNITS: Final[dict[MeasurementName, str]] = {
    "air_time": "s",
    "rise": "m",
    "takeoff_speed": "m/s",
    "distance": "m",
    "half_somersaults": "half somersaults",
    "rotation": "deg/s",
    "opening": "s",
    "takeoff_lean": "deg",
    "entry_angle": "deg",
    "splash": "0..1",
}
"""Every fact and its unit, in the order in which they are shown."""


USUAL_ERRORS: Final[dict[MeasurementName, float]] = {
    "air_time": 0.04,
    "rise": 0.17,
    "takeoff_speed": 0.52,
    "distance": 0.32,
    "rotation": 72.0,
    "opening": 0.05,
    "takeoff_lean": 8.0,
    "entry_angle": 12.0,
}
"""68% of the errors were smaller, on simulated footage as filmed, where the fact is told; docs/measurements.md."""


@dataclass(frozen=True, slots=True)
class RawMeasurements:
    """What a track gives, before it is decided what may be told. Angles are degrees."""

    rise_m: float
    takeoff_m_s: float
    distance_m: float
    rotation: float
    opening_s: float | None
    lean: float
    entry: float


def measure_dive(track: BodyTrack | None, turns: BodyTurns | None = None) -> tuple[Measurement, ...]:
    """Measure a dive.

    Args:
        track: What is read of it; None where the athlete or the ends of the flight are not known.
        turns: What was counted in it; counted here if absent.

    Returns:
        One measurement for each fact of ``UNITS``, in that order; its value is None where the clip cannot tell.
    """
    if track is None:
        return tuple(_unknown(name, "the athlete or an end of the flight is not read") for name in UNITS)
    facts = [_known("air_time", track.air_s)]
    turns = turns or count_turns(track)
    if turns is None:
        why = "the athlete is not seen well enough in the air, or falls already at the take-off"
        facts += [_unknown(name, why) for name in UNITS if name not in ("air_time", "splash")]
    else:
        facts += _of_the_flight(track, turns)
    facts.append(
        _unknown("splash", "the splash is not measured") if track.splash is None else _known("splash", track.splash)
    )
    return tuple(facts)


def _of_the_flight(track: BodyTrack, turns: BodyTurns) -> list[Measurement]:
    raw = measure_track(track, turns)
    halves, sure = turns.half_somersaults
    facts = [
        _known("rise", raw.rise_m),
        _known("takeoff_speed", raw.takeoff_m_s),
        _known("distance", raw.distance_m),
        _known("half_somersaults", halves, probability=sure)
        if turns.sure
        else _unknown("half_somersaults", _between(turns.possible_half_somersaults), probability=sure),
    ]
    unsure = "the turns are not counted surely" if not turns.sure else None
    end_on = "the camera looks along the dive" if turns.rotation.camera < _SIDE_ON else None
    facts.append(_told("rotation", end_on or unsure, raw.rotation))
    closed = "the body is not closed long enough to open" if raw.opening_s is None else None
    facts.append(_told("opening", end_on or closed, raw.opening_s))
    facts.append(_told("takeoff_lean", end_on, raw.lean))
    facts.append(_told("entry_angle", end_on or unsure, raw.entry))
    return facts


def measure_track(track: BodyTrack, turns: BodyTurns) -> RawMeasurements:
    """Measure everything in a track, whatever can be told of it."""
    air_s = track.air_s
    frames = np.flatnonzero(np.concatenate([[True], np.diff(track.times_s) > 1e-4]))
    times = track.times_s[frames]
    joints, path = (np.asarray(values[frames], np.float64) for values in (track.joints_m, track.path_m))
    air = np.flatnonzero((times >= -0.02) & (times <= air_s + 0.02))
    if len(air) < _FEWEST_FRAMES:
        air = np.argsort(np.abs(times - air_s / 2))[:_FEWEST_FRAMES]
        air.sort()
    centre = path + body_inertia(joints)[0]
    rise_m_s, across_m_s = free_fall(times[air], centre[air])
    flat = joints / np.array([max(turns.rotation.camera, _SIDE_ON), 1.0])
    travel = np.sign(across_m_s) or 1.0
    sense = 1.0 if turns.rotation.counter_clockwise > 0.5 else -1.0
    upright = 90.0 if turns.rotation.halves[:, 1].sum() < 0.5 else -90.0
    return RawMeasurements(
        rise_m=max(rise_m_s, 0.0) ** 2 / (2 * GRAVITY_M_S2),
        takeoff_m_s=float(np.hypot(rise_m_s, across_m_s)),
        distance_m=abs(across_m_s) * air_s,
        rotation=_fastest(turns.rotation.times_s, turns.rotation.angle),
        opening_s=_opening(times[air], hip_bend(flat[air]), air_s),
        lean=-travel * _off(_direction_near(times, _line(flat, "ankle"), _LEAN_S), upright),
        entry=sense * _off(_direction_near(times - air_s, _line(flat, "knee"), _ENTRY_S), 90.0, half_turns=True),
    )


def _line(joints: Array, begin: str) -> Array:
    """Return the line from the middle of two joints, ankles or knees, to the neck [T, 2]."""
    middle = joints[:, [JOINT[f"{begin}_l"], JOINT[f"{begin}_r"]]].mean(axis=1)
    return np.asarray(joints[:, JOINT["neck"]] - middle)


def _direction_near(times: Array, line: Array, window_s: tuple[float, float]) -> float:
    """Return the median direction of a line within a span of time, degrees."""
    near = np.flatnonzero((times >= window_s[0]) & (times <= window_s[1]))
    if not len(near):
        near = np.array([np.abs(times - sum(window_s) / 2).argmin()])
    unit = line[near] / np.maximum(np.linalg.norm(line[near], axis=1, keepdims=True), 1e-6)
    x, y = np.median(unit, axis=0)
    return float(np.degrees(np.arctan2(y, x)))


def _off(angle: float, vertical: float, *, half_turns: bool = False) -> float:
    """Return how far a direction is from vertical, degrees, counter-clockwise positive."""
    turn = 180.0 if half_turns else 360.0
    return float((angle - vertical + turn / 2) % turn - turn / 2)


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
    if len(counts) < 2:
        return "the turns are not counted surely"
    return f"the turns are not counted surely: {counts[0]} to {counts[-1]}"


def _known(name: MeasurementName, value: float, probability: float | None = None) -> Measurement:
    return Measurement(
        name=name, value=float(value), unit=UNITS[name], error=USUAL_ERRORS.get(name), probability=probability
    )


def _told(name: MeasurementName, why_not: str | None, value: float | None) -> Measurement:
    return _unknown(name, why_not or "it is not read") if why_not or value is None else _known(name, value)


def _unknown(name: MeasurementName, reason: str, probability: float | None = None) -> Measurement:
    return Measurement(name=name, value=None, unit=UNITS[name], error=None, probability=probability, reason=reason)
