"""What judges see of a simulated dive, what it costs, and the marks they give."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import degrees, sqrt
from typing import TYPE_CHECKING

import numpy as np

from finecausal_cli.diving.competition import competition_statistics
from finecausal_cli.simulator.motion import UNDER_TWIST

if TYPE_CHECKING:
    from finecausal_cli.diving import DiveNumber
    from finecausal_cli.simulator.athlete import Faults
    from finecausal_cli.simulator.motion import Motion


NOISE_SIGMA = 0.3
"""Standard deviation of one judge's mark about what the panel sees."""

_BIAS_SIGMA = 0.12
_LEAN_DEG = 17
_FAILED_ANGLE_DEG = 62.0
_FAILED_TWIST_DEG = 90.0


@dataclass(frozen=True, slots=True)
class Observation:
    """What the motion shows to a judge.

    Attributes:
        rise: Height gained over the board relative to a good take-off, minus 1.
        lean_deg: Lean beyond the usual when the board is left.
        clearance: How much of the usual distance from the board is missing, 0..1.
        steadiness: Sway before the take-off, 0..1.
        openness: How far the position is from closed (straight), 0..1.
        legs_apart: 0..1.
        feet: Flexion of the feet, 0..1.
        crossed: Untidiness of the twist, 0..1.
        late_s: Delay of the opening behind the plan, measured to the water, seconds.
        entry_deg: Rotation at contact beyond vertical; negative is short.
        twist_deg: Twist missing at contact.
        arch: 0..1.
        arms: 0..1.
        splash: Size of the splash, 0..1.
        failed: Whether the rules give 0.
    """

    rise: float
    lean_deg: float
    clearance: float
    steadiness: float
    openness: float
    legs_apart: float
    feet: float
    crossed: float
    late_s: float
    entry_deg: float
    twist_deg: float
    arch: float
    arms: float
    splash: float
    failed: bool


def splash_size(entry_deg: float, twist_deg: float, faults: Faults, *, head_first: bool) -> float:
    """Return the size of the splash, 0 (rip) to 1, from the angle and alignment at the water and the hands' work."""
    angle = (abs(entry_deg) / 40) ** 1.2
    size = 0.04 + 0.75 * angle + 0.22 * faults.arched_entry + 0.22 * faults.arms_apart + 0.62 * faults.big_splash
    size += 0.1 * min(twist_deg / 60, 1.0) + (0.0 if head_first else 0.08)
    return float(np.clip(size, 0.02, 1.0))


def observe(motion: Motion, faults: Faults, intended_rise_m: float) -> Observation:
    """Measure what a judge can see.

    Args:
        motion: The dive.
        faults: Faults of form, which show directly in the positions.
        intended_rise_m: Height the centre of mass gains after a good take-off, metres.
    """
    flight = (motion.times >= motion.leave_s) & (motion.times <= motion.contact_s)
    heights = motion.centre[flight, 2]
    entry, twist = degrees(motion.entry_error), degrees(motion.twist_error)
    lead = motion.contact_s - motion.leave_s - motion.open_s
    planned = motion.planned_lead_s
    return Observation(
        rise=float(heights.max() - heights[0]) / intended_rise_m - 1,
        lean_deg=_LEAN_DEG * faults.leaning_takeoff,
        clearance=faults.close_to_board,
        steadiness=faults.unsteady_start,
        openness=faults.loose_position,
        legs_apart=faults.knees_apart,
        feet=faults.flexed_feet,
        crossed=faults.crossed_twist,
        late_s=max(planned - lead, 0.0),
        entry_deg=entry,
        twist_deg=twist,
        arch=faults.arched_entry,
        arms=faults.arms_apart,
        splash=splash_size(entry, twist, faults, head_first=motion.head_first),
        failed=abs(entry) > _FAILED_ANGLE_DEG or twist >= _FAILED_TWIST_DEG,
    )


def deductions(seen: Observation) -> dict[str, float]:
    """Return the points every stage costs, out of 10."""
    takeoff = 1.0 * min(max(-seen.rise, 0.0) / 0.38, 1.3) + 0.034 * seen.lean_deg + 0.5 * seen.clearance
    takeoff += 0.5 * seen.steadiness
    flight = 0.95 * seen.openness + 0.5 * seen.legs_apart + 0.45 * seen.feet + 0.65 * seen.crossed
    flight += 0.7 * min(seen.late_s / 0.2, 1.0)
    entry = 1.05 * min(abs(seen.entry_deg) / 40, 1.4) + 0.5 * seen.arch + 0.4 * seen.arms + 1.1 * seen.splash
    entry += 0.6 * min(seen.twist_deg / 60, 1.0)
    return {"takeoff": takeoff, "flight": flight, "entry": entry}


def merit(seen: Observation) -> float:
    """Return the mark before judges differ about it; it may lie outside 0..10."""
    return 10.0 - sum(deductions(seen).values())


def judge(rng: np.random.Generator, seen: Observation, judges: int, sigma: float | None = None) -> list[float]:
    """Return the marks of a panel: half points from 0 to 10.

    Args:
        rng: Source of the judges' bias and noise.
        seen: What there was to see.
        judges: 3, 5 or 7.
        sigma: Standard deviation of a judge about what is seen; None for that of the classic draw.
    """
    if seen.failed:
        return [0.0] * judges
    bias, noise = rng.normal(0, _BIAS_SIGMA, judges), rng.normal(0, NOISE_SIGMA, judges)
    scale = 1.0 if sigma is None else sigma / sqrt(_BIAS_SIGMA**2 + NOISE_SIGMA**2)
    raw = merit(seen) + scale * bias + scale * noise
    return [float(mark) for mark in np.clip(np.round(2 * raw) / 2, 0.5, 10.0)]


# How far judges differ in competition.

_ROUNDING_VARIANCE = 0.25 / 12
"""Of marks in half points."""

_SEEN_BY_SEVEN = 0.959
"""Mean of the standard deviation of seven normal values whose own is 1."""

_SIGMA_MARKS = (3.7, 5.0, 6.5, 7.75, 8.8)
"""Marks that stand for the levels at which the spread within panels was counted."""


@lru_cache(maxsize=1)
def _panel_sigmas() -> tuple[float, ...]:
    counted = (sd / _SEEN_BY_SEVEN for _, sd in competition_statistics().panel_sd)
    return tuple(sqrt(sd**2 - _ROUNDING_VARIANCE) for sd in counted)


def panel_sigma(mark: float) -> float:
    """Return the standard deviation of a judge's mark, before it is rounded, about a merit of ``mark``."""
    return float(np.interp(mark, _SIGMA_MARKS, _panel_sigmas()))


# What judges will see, told from the faults before there is a motion.

_FEW_HALVES = 2


def _expected_entry_deg(dive: DiveNumber, faults: Faults, lost: float, *, springboard: bool) -> float:
    """Estimate the angle at the water, degrees; least squares over 2,700 simulated dives, faults from 0 to 1.

    What a take-off loses costs a springboard more, and many somersaults more; an opening that comes too late cannot
    come much later when time is short or the position open.
    """
    loose, short, over = faults.loose_position, faults.short_rotation, faults.over_rotation
    board = lost * springboard
    if dive.half_twists:
        return -0.3 - 10 * lost - 30 * board - 22 * short + 29 * over - 2.2 * loose + 3.5 * faults.crossed_twist
    if dive.half_somersaults <= _FEW_HALVES:
        return -9.4 * lost - 14.9 * board - 26.9 * short + 29.3 * over - 2 * loose
    more = dive.half_somersaults - 7
    entry = -(25.5 + 8.6 * more) * lost - 50.6 * board - 23.8 * short - (15.2 + 4.6 * more) * loose
    return entry + (50.4 - 87.3 * lost - 42 * loose) * over + 0.9 * faults.late_opening


def _expected_late_s(dive: DiveNumber, faults: Faults, lost: float, *, springboard: bool) -> float:
    """Estimate how late the athlete opens, seconds; from the same dives."""
    loose, short, over, late = faults.loose_position, faults.short_rotation, faults.over_rotation, faults.late_opening
    board = lost * springboard
    if dive.half_twists:
        held = 0.10 * late + 0.11 * lost + 0.24 * board - 0.07 * short + 0.08 * over
        return max(held + 0.045 * loose - 0.04 * faults.crossed_twist, 0.0)
    if dive.half_somersaults <= _FEW_HALVES:
        return max(0.03 + 0.09 * late + 0.08 * lost + 0.2 * board - 0.11 * short + 0.12 * over + 0.04 * loose, 0.0)
    return max(0.115 * late + 0.15 * lost + 0.17 * board - 0.055 * short + 0.05 * over + 0.12 * loose, 0.0)


def expect(dive: DiveNumber, faults: Faults, *, springboard: bool) -> Observation:
    """Estimate what `observe` will measure, in a thousandth of the time of a simulated motion.

    Rise and twist are exact; the angle at the water is off by 3 degrees and the opening by 0.02 s (standard deviation).
    """
    lost = faults.lost_rise
    entry = _expected_entry_deg(dive, faults, lost, springboard=springboard)
    twist = degrees(UNDER_TWIST * faults.crossed_twist**1.5) if dive.half_twists else 0.0
    return Observation(
        rise=(1 - lost) ** 2 - 1,
        lean_deg=_LEAN_DEG * faults.leaning_takeoff,
        clearance=faults.close_to_board,
        steadiness=faults.unsteady_start,
        openness=faults.loose_position,
        legs_apart=faults.knees_apart,
        feet=faults.flexed_feet,
        crossed=faults.crossed_twist,
        late_s=_expected_late_s(dive, faults, lost, springboard=springboard),
        entry_deg=entry,
        twist_deg=twist,
        arch=faults.arched_entry,
        arms=faults.arms_apart,
        splash=splash_size(entry, twist, faults, head_first=dive.head_first),
        failed=False,
    )
