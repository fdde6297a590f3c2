"""What the judges see and the marks they give."""

from __future__ import annotations

from dataclasses import dataclass
from math import degrees
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from finecausal_cli.simulator.faults import Faults
    from finecausal_cli.simulator.motion import Motion

NOISE_SIGMA = 0.3
"""Standard deviation of one judge's mark about what the panel sees."""

_BIAS_SIGMA = 0.12
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
        lean_deg=17 * faults.leaning_takeoff,
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


def judge(rng: np.random.Generator, seen: Observation, judges: int) -> list[float]:
    """Return the marks of a panel: half points from 0 to 10.

    Args:
        rng: Source of the judges' bias and noise.
        seen: What there was to see.
        judges: 3, 5 or 7.
    """
    if seen.failed:
        return [0.0] * judges
    merit = 10.0 - sum(deductions(seen).values())
    raw = merit + rng.normal(0, _BIAS_SIGMA, judges) + rng.normal(0, NOISE_SIGMA, judges)
    return [float(mark) for mark in np.clip(np.round(2 * raw) / 2, 0.5, 10.0)]
