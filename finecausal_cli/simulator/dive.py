"""A simulated dive: its motion, timing, sub-actions and judges' marks."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from math import ceil
from typing import TYPE_CHECKING, Any

import numpy as np

from finecausal_cli.diving import apparatus, difficulty, execution_from_marks, final_score, heights_for
from finecausal_cli.errors import UsageError
from finecausal_cli.simulator import competition
from finecausal_cli.simulator.athlete import STRETCHED, Athlete, Faults, Style, draw_faults, draw_quality
from finecausal_cli.simulator.judging import Observation, deductions, judge, merit, observe, panel_sigma
from finecausal_cli.simulator.motion import GRAVITY, Motion, flight_time, simulate_motion
from finecausal_cli.simulator.stance import Stance

if TYPE_CHECKING:
    from finecausal_cli.diving import DiveNumber
    from finecausal_cli.simulator import DrawName
    from finecausal_cli.simulator.athlete import Array


FPS = 25
"""Frames a second of every clip."""

_CENTRE_ABOVE_BOARD_M, _CENTRE_AT_ENTRY_M = 1.1, 1.2
_LONGEST_END = 0.78
"""Longest part before (after) the flight relative to the rest of the clip: the dive leaves the board in the clip's
first half and meets the water in its second, as the network expects of it."""

_SHORTEST_CLIP_S = 72 / FPS
"""The shortest clip of FineDiving has 63 frames; a low take-off takes some of these away."""


_EASED = 24
"""How often the faults of a dive that is not to fail are eased, by a quarter: a double somersault stretched from 1 m,
of a body that leaves the board bent, turned by 73 degrees too far without any, and fails."""

_PANELS = ((7, 0.8), (5, 0.15), (3, 0.05))


@dataclass(frozen=True, slots=True)
class SimulatedDive:
    """Everything about one dive except its picture.

    Attributes:
        dive: The dive number.
        height_m: Board height, metres.
        difficulty: Degree of difficulty from the list.
        seed: Seed that the dive was drawn from.
        quality: General quality, standard deviations.
        faults: The causes.
        motion: The motion.
        seen: What the judges saw.
        marks: The judges' marks.
        duration_s: Length of the clip.
    """

    dive: DiveNumber
    height_m: float
    difficulty: float
    seed: tuple[int, ...]
    quality: float
    faults: Faults
    motion: Motion
    seen: Observation
    marks: tuple[float, ...]
    duration_s: float

    @property
    def score(self) -> float:
        """Final score: the counting marks times the difficulty."""
        return final_score(self.marks, self.difficulty)

    @property
    def execution(self) -> float:
        """Sum of the counting marks, 0..30."""
        return execution_from_marks(self.marks)

    @property
    def frames(self) -> int:
        """Number of frames of the clip."""
        return int(self.duration_s * FPS)

    @property
    def twist_start(self) -> int:
        """First frame at which the feet (the hands in an armstand) have left the board."""
        return ceil(self.motion.leave_s * FPS - 1e-9)

    @property
    def entry_start(self) -> int:
        """First frame at which the water has been touched."""
        return ceil(self.motion.contact_s * FPS - 1e-9)

    def record(self) -> dict[str, Any]:
        """Return the causes, the physics and the marks as plain data."""
        motion = self.motion
        return {
            "dive": str(self.dive),
            "height_m": self.height_m,
            "difficulty": self.difficulty,
            "score": self.score,
            "execution": self.execution,
            "judges": list(self.marks),
            "frames": self.frames,
            "fps": FPS,
            "twist_start": self.twist_start,
            "entry_start": self.entry_start,
            "dive_seed": list(self.seed),
            "quality": round(self.quality, 6),
            "faults": {name: round(value, 6) for name, value in self.faults.as_dict().items()},
            "seen": {k: round(v, 6) if isinstance(v, float) else v for k, v in asdict(self.seen).items()},
            "deductions": {stage: round(points, 6) for stage, points in deductions(self.seen).items()},
            "physics": {
                "sex": motion.athlete.sex,
                "stature_m": round(motion.athlete.stature_m, 4),
                "mass_kg": round(motion.athlete.mass_kg, 3),
                "momentum_kgm2_s": round(motion.momentum, 4),
                "flight_s": round(motion.contact_s - motion.leave_s, 5),
                "open_s": round(motion.open_s, 5),
                "planned_open_s": round(motion.planned_open_s, 5),
            },
        }


def _cut(rng: np.random.Generator, flight_s: float, draw: DrawName) -> tuple[float, float]:
    """Draw how much of the time before leaving the board and after the first contact the clip shows, seconds.

    Clips are as long as FineDiving's: 63 to 273 frames, half of them longer than about 100.
    """
    if draw == "classic":
        generous = rng.normal(0.0, 0.28)
        before_s = float(np.clip(1.36 * np.exp(generous + rng.normal(0.0, 0.30)), 0.5, 4.6))
        after_s = float(np.clip(1.12 * np.exp(generous + rng.normal(0.0, 0.32)), 0.5, 4.6))
    else:
        before_s, after_s = (frames / FPS for frames in competition.draw_ends(rng))
    missing_s = max(_SHORTEST_CLIP_S - flight_s - before_s - after_s, 0.0)
    before_s, after_s = before_s + missing_s / 2, after_s + missing_s / 2
    before_s = min(before_s, _LONGEST_END * (flight_s + after_s))
    return before_s, min(after_s, _LONGEST_END * (before_s + flight_s))


def intended_speeds(rng: np.random.Generator, dive: DiveNumber, height_m: float) -> tuple[float, float]:
    """Draw the speeds (outwards, upwards; m/s) of the athlete's good take-off."""
    if dive.armstand:
        return float(rng.normal(1.75, 0.07)), float(np.clip(rng.normal(0.9, 0.08), 0.6, 1.2))
    if apparatus(height_m) == "springboard":
        return float(rng.normal(1.0, 0.07)), float(np.clip(rng.normal(5.0, 0.16), 4.5, 5.5))
    away = dive.direction in (2, 4)
    return float(rng.normal(1.0, 0.07)), float(np.clip(rng.normal(2.8 if away else 3.05, 0.13), 2.3, 3.5))


def simulate_dive(
    dive: DiveNumber,
    height_m: float,
    seed: tuple[int, ...],
    faults: Faults | None = None,
    more_s: tuple[float, float] = (0.0, 0.0),
    *,
    draw: DrawName = "competition",
    failed: bool = False,
) -> SimulatedDive:
    """Simulate one dive.

    Args:
        dive: The dive number.
        height_m: A height at which the dive is listed.
        seed: Seed of everything that happens to the athlete and the judges (not of the picture).
        faults: The faults; drawn when None.
        more_s: Time that is shown before and after what a clip cut to the dive has, seconds.
        draw: How faults, lengths and the spread of the panel are drawn.
        failed: Whether faults are drawn that make the dive fail: marks of 0.

    Raises:
        UsageError: When the dive is not listed at the height.
    """
    listed = difficulty(dive, height_m)
    if listed is None:
        known = ", ".join(f"{height:g}" for height in heights_for(dive)) or "no height"
        raise UsageError(f"{dive} is not listed at {height_m:g} m", where="dives", hint=f"it is listed at: {known}")
    rng = np.random.default_rng(np.random.SeedSequence((*seed, 0)))
    athlete = Athlete.draw(rng)
    speeds = intended_speeds(rng, dive, height_m)
    hurdle = not dive.armstand and dive.direction in (1, 3) and rng.random() < (1.0 if height_m <= 3 else 0.35)
    steps = int(rng.integers(2, 5)) if hurdle else 0
    # Drawn apart, so that all else is as it was before athletes had a style.
    styled = np.random.default_rng(np.random.SeedSequence((*seed, 4)))
    style = STRETCHED if draw == "classic" else Style.draw(styled, dive, hurdle=hurdle)
    speeds = (speeds[0], style.push * speeds[1])
    flight_s = flight_time(speeds[1], height_m + _CENTRE_ABOVE_BOARD_M, _CENTRE_AT_ENTRY_M)
    before_s, after_s = (cut + more for cut, more in zip(_cut(rng, flight_s, draw), more_s, strict=True))
    phase, twist_sign = float(rng.uniform(0, 2 * np.pi)), 1 if rng.random() < 0.5 else -1
    quality, drawn = draw_dive_faults(rng, dive, height_m, draw, failed=failed)
    springboard = apparatus(height_m) == "springboard"
    intended_rise_m = speeds[1] ** 2 / (2 * GRAVITY)

    def dived(faults: Faults) -> tuple[Motion, Observation]:
        stance = Stance(dive, athlete, faults, height_m, before_s, springboard, hurdle, steps, phase, style)
        motion = simulate_motion(stance, speeds, twist_sign, after_s)
        return motion, observe(motion, faults, intended_rise_m)

    chosen = drawn if faults is None else faults
    motion, seen = dived(chosen)
    if draw != "classic" and faults is None:
        for _ in range(_EASED if seen.failed and not failed else 0):
            chosen = competition.eased(chosen)
            motion, seen = dived(chosen)
            if not seen.failed:
                break
        if failed and not seen.failed:
            chosen = replace(chosen, lost=1.0)
            motion, seen = dived(chosen)
    judges = int(rng.choice([size for size, _ in _PANELS], p=[share for _, share in _PANELS]))
    sigma = panel_sigma(merit(seen)) if draw != "classic" else None
    marks = tuple(judge(rng, seen, judges, sigma))
    return SimulatedDive(dive, height_m, listed, seed, quality, chosen, motion, seen, marks, motion.contact_s + after_s)


def draw_dive_faults(
    rng: np.random.Generator, dive: DiveNumber, height_m: float, draw: DrawName, *, failed: bool = False
) -> tuple[float, Faults]:
    """Draw the general quality of a dive, standard deviations, and its faults.

    Args:
        rng: Random generator.
        dive: The dive number.
        height_m: Height of the board, metres.
        draw: How.
        failed: Whether to draw faults that make the dive fail; the competition draw only.
    """
    if draw == "classic":
        quality = draw_quality(rng)
        return quality, draw_faults(rng, dive, quality)
    quality, faults = competition.draw_faults_worth(rng, dive, height_m, competition.draw_mark(rng, dive))
    return quality, replace(faults, lost=competition.draw_lost(rng)) if failed else faults


# How a dive is recorded in time: which part of it, at which frame rate, in slow motion or not.

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


# The steps of a dive in the vocabulary of FineDiving: 'Back', '2.5 Soms.Pike', '1.5 Twists', 'Entry'.
#
# The data set's authors number 42 names. Known of that table are 1-7, the kinds of 8-28 (somersaults) and 29-35
# (twists), and 36-42. The 21 and 7 names in between are the counts that its 52 dive numbers need beyond those listed
# from 37 on. Their exact order is not known to us; ours ascends by count and, for equal counts, by the position's
# name as 37, 39 and 40 do. Read the numbers through the table, never by heart.

_DIRECTIONS = ("Forward", "Back", "Reverse", "Inward")
_ARMSTAND_DIRECTIONS = ("Arm.Forward", "Arm.Back", "Arm.Reverse")
_SOMERSAULTS = (1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.5)
_POSITIONS = ("Pike", "Straight", "Tuck")
_TWISTS = (0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5)


def _somersaults(count: float, position: str) -> str:
    return f"{count:g} Som{'s' if count > 1 else ''}.{position}"


def _twists(count: float) -> str:
    return f"{count:g} Twist{'s' if count > 1 else ''}"


ENTRY, BACKGROUND = "Entry", "Background"

SUB_ACTIONS: dict[int, str] = dict(
    enumerate(
        (
            *_DIRECTIONS,
            *_ARMSTAND_DIRECTIONS,
            *(_somersaults(count, position) for count in _SOMERSAULTS for position in _POSITIONS),
            *map(_twists, _TWISTS),
            ENTRY,
            _somersaults(0.5, "Pike"),
            BACKGROUND,
            _somersaults(0.5, "Straight"),
            _somersaults(0.5, "Tuck"),
            _twists(4.0),
            _twists(4.5),
        ),
        start=1,
    )
)
"""Name of every label of FineDiving."""

_LABELS = {name: label for label, name in SUB_ACTIONS.items()}

_PIKE_FROM_HALVES = 3
"""Half-somersaults from which a free dive is held in an open pike; with fewer the body stays straight."""

_TWIST_BEGUN, _TWIST_DONE = 0.05, 0.95
"""Shares of the whole twist between which an annotator would see the body twist."""

_SHORTEST_STEP = 8
"""Frames of somersault beside a twist below which nobody would mark a step of its own."""


@dataclass(frozen=True, slots=True)
class Steps:
    """The steps of one clip.

    Attributes:
        transitions: Frames at which a new step begins, increasing: first the flight, last the entry.
        labels: Label of every step, one more than the transitions.
    """

    transitions: tuple[int, ...]
    labels: tuple[int, ...]


def flight_labels(dive: DiveNumber) -> tuple[int, int, int | None]:
    """Return the labels of a dive's take-off, somersault and twist, the last None without a twist.

    Raises:
        UsageError: When FineDiving has no name for one of them, as for four somersaults.
    """
    names = [_direction(dive), _somersaults(dive.half_somersaults / 2, _position(dive))]
    if dive.half_twists:
        names.append(_twists(dive.half_twists / 2))
    missing = [name for name in names if name not in _LABELS]
    if missing:
        raise UsageError(
            f"{dive} has a step that FineDiving has no name for: {missing[0]}",
            where="dives",
            hint="leave it out, or write the format manifest",
        )
    labels = [_LABELS[name] for name in names]
    return labels[0], labels[1], labels[2] if dive.half_twists else None


def _direction(dive: DiveNumber) -> str:
    if dive.direction == 0:
        return "an armstand without direction"
    return (_ARMSTAND_DIRECTIONS if dive.armstand else _DIRECTIONS)[dive.direction - 1]


def _position(dive: DiveNumber) -> str:
    if dive.position == "D":
        return "Pike" if dive.half_somersaults >= _PIKE_FROM_HALVES else "Straight"
    return {"A": "Straight", "B": "Pike", "C": "Tuck"}[dive.position]


def divide_into_steps(simulated: SimulatedDive, *, marks_entry: bool = True) -> Steps:
    """Divide a clip into the steps that an annotator of FineDiving would mark.

    A twisting dive has a twist step and a somersault step in the flight, in the order in which the body does them;
    a twist in mid-flight has somersaults on both sides.

    Args:
        simulated: The dive.
        marks_entry: Whether the entry is called so; a few dives of the real data lack that label.

    Raises:
        UsageError: When FineDiving has no name for a step.
    """
    takeoff, somersault, twist = flight_labels(simulated.dive)
    start, end = simulated.twist_start, simulated.entry_start
    flight = [(start, somersault)]
    if twist is not None:
        begun, done = find_twist(simulated)
        flight = [(start, somersault), (begun, twist), (done, somersault)]
        if end - done < _SHORTEST_STEP and end - done <= begun - start:
            flight = [(start, somersault), (min(max(begun, start + 1), end - 1), twist)]
        elif begun - start < _SHORTEST_STEP:
            flight = [(start, twist), (min(max(done, start + 1), end - 1), somersault)]
    last = _LABELS[ENTRY if marks_entry else BACKGROUND]
    return Steps((*(frame for frame, _ in flight), end), (takeoff, *(label for _, label in flight), last))


def find_twist(simulated: SimulatedDive) -> tuple[int, int]:
    """Return the first frame of the flight in which the body twists and the first in which it no longer does."""
    frames = np.arange(simulated.twist_start, simulated.entry_start + 1)
    motion = simulated.motion
    angle = motion.track(motion.twist, frames / FPS)
    turned = np.abs(angle - angle[0])
    begun = int(np.argmax(turned > _TWIST_BEGUN * turned.max()))
    done = int(np.argmax(turned >= _TWIST_DONE * turned.max()))
    return int(frames[begun]), int(frames[done])
