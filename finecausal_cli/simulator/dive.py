"""One simulated dive: from a dive number and seeds to motion, faults and marks."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from math import ceil
from typing import TYPE_CHECKING, Any

import numpy as np

from finecausal_cli.diving.difficulty import apparatus, difficulty, heights_for
from finecausal_cli.diving.judging import execution_from_marks, final_score
from finecausal_cli.errors import UsageError
from finecausal_cli.simulator.body import Athlete
from finecausal_cli.simulator.faults import Faults, draw_faults, draw_quality
from finecausal_cli.simulator.judges import Observation, deductions, judge, observe
from finecausal_cli.simulator.motion import GRAVITY, Motion, flight_time, simulate_motion
from finecausal_cli.simulator.stance import Stance

if TYPE_CHECKING:
    from finecausal_cli.diving.number import DiveNumber

FPS = 25
"""Frames a second of every clip."""

_CENTRE_ABOVE_BOARD_M, _CENTRE_AT_ENTRY_M = 1.1, 1.2
_LONGEST_END = 0.78
"""Longest part before (after) the flight relative to the rest of the clip: the dive leaves the board in the clip's
first half and meets the water in its second, as the network expects of it."""

_SHORTEST_CLIP_S = 72 / FPS
"""The shortest clip of FineDiving has 63 frames; a low take-off takes some of these away."""

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


def _cut(rng: np.random.Generator, flight_s: float) -> tuple[float, float]:
    """Draw how much of the time before leaving the board and after the first contact the clip shows, seconds.

    Clips are as long as FineDiving's: 63 to 273 frames, half of them longer than about 100.
    """
    generous = rng.normal(0.0, 0.28)
    before_s = float(np.clip(1.36 * np.exp(generous + rng.normal(0.0, 0.30)), 0.5, 4.6))
    after_s = float(np.clip(1.12 * np.exp(generous + rng.normal(0.0, 0.32)), 0.5, 4.6))
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
) -> SimulatedDive:
    """Simulate one dive.

    Args:
        dive: The dive number.
        height_m: A height at which the dive is listed.
        seed: Seed of everything that happens to the athlete and the judges (not of the picture).
        faults: The faults; drawn when None.
        more_s: Time that is shown before and after what a clip cut to the dive has, seconds.

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
    flight_s = flight_time(speeds[1], height_m + _CENTRE_ABOVE_BOARD_M, _CENTRE_AT_ENTRY_M)
    before_s, after_s = (cut + more for cut, more in zip(_cut(rng, flight_s), more_s, strict=True))
    phase, twist_sign = float(rng.uniform(0, 2 * np.pi)), 1 if rng.random() < 0.5 else -1
    quality = draw_quality(rng)
    drawn = draw_faults(rng, dive, quality)
    faults = drawn if faults is None else faults
    stance = Stance(
        dive, athlete, faults, height_m, before_s, apparatus(height_m) == "springboard", hurdle, steps, phase
    )
    motion = simulate_motion(stance, speeds, twist_sign, after_s)
    seen = observe(motion, faults, speeds[1] ** 2 / (2 * GRAVITY))
    judges = int(rng.choice([size for size, _ in _PANELS], p=[share for _, share in _PANELS]))
    marks = tuple(judge(rng, seen, judges))
    return SimulatedDive(dive, height_m, listed, seed, quality, faults, motion, seen, marks, motion.contact_s + after_s)
