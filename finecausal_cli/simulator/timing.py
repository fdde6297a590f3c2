"""How a dive is recorded in time: which part of it, at which frame rate, in slow motion or not."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from finecausal_cli.simulator.body import Array
    from finecausal_cli.simulator.motion import Motion

_RATES = (
    (10.0, 0.06),
    (15.0, 0.08),
    (24.0, 0.10),
    (25.0, 0.26),
    (30000 / 1001, 0.14),
    (30.0, 0.22),
    (50.0, 0.05),
    (60000 / 1001, 0.05),
    (60.0, 0.04),
)
"""Frames a second and how often they are drawn."""

_SLOW_SHARE, _VARIABLE_SHARE, _LATE_SHARE, _EARLY_SHARE, _PLAIN_SHARE = 0.12, 0.05, 0.08, 0.07, 0.2
_MOST_FRAMES = 420
_LONGEST_LEAD_S, _LONGEST_TAIL_S = 6.0, 4.0
_LEAST_FRAMES_AFTER = 2
_TICKS = 90_000


@dataclass(frozen=True, slots=True)
class Timing:
    """The part of a dive that a file shows, and its clock.

    Attributes:
        fps: Frames a second of the file.
        time_scale: Seconds of the file for one second of the dive; above 1 in slow motion.
        start_s: The dive's time at the file's first frame.
        times_s: [frames + 1] when each frame is shown, and when the last one ends, seconds of the file.
        variable: Whether the frames come at an uneven pace.
        kind: whole (with a lead-in), plain, late (begins just before the take-off) or early (ends in the splash).
    """

    fps: float
    time_scale: float
    start_s: float
    times_s: Array
    variable: bool
    kind: str

    @property
    def frames(self) -> int:
        """Number of frames."""
        return len(self.times_s) - 1

    @property
    def real_s(self) -> Array:
        """The dive's time at each frame, [frames]."""
        return np.asarray(self.start_s + self.times_s[:-1] / self.time_scale)

    @classmethod
    def even(cls, fps: float, frames: int) -> Timing:
        """Return the timing of a clip that shows all of a dive, frame by frame at its own pace."""
        return cls(fps, 1.0, 0.0, np.arange(frames + 1) / fps, False, "plain")

    def first_at(self, real_s: float) -> int:
        """Return the first frame at or after a moment of the dive."""
        return int(np.searchsorted(self.real_s, real_s - 1e-9))

    def in_file(self, real_s: float) -> float:
        """Return the file's time at a moment of the dive."""
        return (real_s - self.start_s) * self.time_scale

    def record(self) -> dict[str, Any]:
        """Return the facts as plain data."""
        return {
            "time_scale": round(self.time_scale, 6),
            "start_s": round(self.start_s, 6),
            "variable_rate": self.variable,
            "part": self.kind,
        }


def draw_lead(rng: np.random.Generator) -> tuple[str, float, float]:
    """Draw which part of a dive a file shows, and the seconds before and after what a clip cut to the dive has."""
    drawn = float(rng.random())
    lead, tail, short = (float(value) for value in rng.uniform(0, (_LONGEST_LEAD_S, _LONGEST_TAIL_S, 1)))
    if drawn < _LATE_SHARE:
        return "late", 0.0, 0.0
    if drawn < _LATE_SHARE + _EARLY_SHARE:
        return "early", lead if short < 0.5 else 0.0, 0.0
    if drawn < _LATE_SHARE + _EARLY_SHARE + _PLAIN_SHARE:
        return "plain", 0.0, 0.0
    return "whole", lead, tail if short < 0.7 else 0.0


def draw_timing(rng: np.random.Generator, motion: Motion, duration_s: float, kind: str) -> Timing:
    """Draw the clock of a file that shows a dive of ``duration_s``; at most 420 frames, so long ones are cut."""
    rates, shares = (np.array(column) for column in zip(*_RATES, strict=True))
    fps = float(rates[int(rng.choice(len(rates), p=shares / shares.sum()))])
    slow, variable = rng.random(2) < (_SLOW_SHARE, _VARIABLE_SHARE)
    drawn_scale = float(rng.choice([2.0, 3.0, 4.0, 5.0, 8.0]) if rng.random() < 0.6 else rng.uniform(1.8, 8.0))
    scale = drawn_scale if slow else 1.0
    before, after, splash = (float(value) for value in rng.uniform((0.4, 0.3, 0.08), (1.4, 0.9, 0.35)))
    start, stop = 0.0, duration_s
    if kind == "late":
        start = max(motion.leave_s - 0.2, 0.0)
    elif kind == "early":
        stop = motion.contact_s + splash
    if slow:
        start, stop = max(start, motion.leave_s - before), min(stop, motion.contact_s + after)
    while (stop - start) * scale * fps > _MOST_FRAMES:
        slower = rates[rates < fps - 1]
        if not len(slower) or fps <= 24:
            break
        fps = float(slower.max())
    excess = (stop - start) - _MOST_FRAMES / (scale * fps)
    if excess > 0:
        spare = max(motion.leave_s - before - start, 0.0)
        start += min(excess, spare)
        excess -= min(excess, spare)
        stop = max(stop - excess, min(stop, motion.contact_s + after))
    # A file in slow motion may still be too long: then it is slowed down less.
    scale = max(min(scale, _MOST_FRAMES / ((stop - start) * fps)), 1.0)
    flight = ceil((motion.contact_s - start) * scale * fps) + _LEAST_FRAMES_AFTER
    frames = max(int((stop - start) * scale * fps), flight)
    times = np.arange(frames + 1) / fps
    if variable:
        times[1:-1] += rng.uniform(-0.35, 0.35, frames - 1) / fps
        times = np.rint(times * _TICKS) / _TICKS
    return Timing(fps, scale, start, times, bool(variable), kind)
