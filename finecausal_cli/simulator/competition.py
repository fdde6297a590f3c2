"""Draw dives as competitions have them: numbers, heights, level of execution, faults, lengths, spread of a panel.

What is counted in competition (`diving.competition`) says how often a number is dived and how it is marked. The marks
of a simulated dive still follow from its motion: a mark is drawn from the number's distribution, faults are drawn
whose deductions come to about that, and judges then mark what the motion shows. Nothing is corrected afterwards.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from math import erf, sqrt
from typing import TYPE_CHECKING

import numpy as np

from finecausal_cli.diving import apparatus, heights_for, parse_dive_number
from finecausal_cli.diving.competition import competition_statistics
from finecausal_cli.simulator.athlete import RARITY, SHARED, STAGE_FAULTS, STAGE_SHARED, Faults
from finecausal_cli.simulator.judging import expect, merit

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from finecausal_cli.diving import DiveNumber

COMPETITION_HEIGHTS_M = (3.0, 10.0)
"""Heights at which international competitions, and so the clips of FineDiving, are held."""


# Which number from which height.


@lru_cache(maxsize=16)
def counted_numbers(dives: tuple[str, ...], height_m: float | None) -> tuple[tuple[DiveNumber, ...], tuple[float, ...]]:
    """Return the numbers and how often each was dived, at ``height_m`` if given; a number that was not counted, once.

    Args:
        dives: Dive numbers, listed at the height.
        height_m: The only height, or None for any.
    """
    numbers = tuple(parse_dive_number(text) for text in dives)
    counted = competition_statistics().numbers
    shares = []
    for number in numbers:
        times = float(counted[number].dives) if number in counted else 1.0
        if height_m is not None:
            by_height = counted_heights(number, tuple(heights_for(number)))
            times *= dict(zip(heights_for(number), by_height, strict=True))[height_m] / sum(by_height)
        shares.append(times)
    return numbers, tuple(shares) if any(shares) else (1.0,) * len(numbers)


def counted_heights(number: DiveNumber, heights_m: Sequence[float]) -> list[float]:
    """Return how often a number was dived from each of ``heights_m``; alike from 3 m and 10 m where that is unknown."""
    counted = competition_statistics().numbers.get(number)
    shares = [float(counted.heights_m.get(height, 0)) if counted else 0.0 for height in heights_m]
    if not any(shares):
        shares = [float(height in COMPETITION_HEIGHTS_M) for height in heights_m]
    return shares if any(shares) else [1.0] * len(shares)


# How well it is done: a mark, and faults that cost as much.

_LEAST, _WORST = 0.02, 0.92
_GROSS_BELOW, _GROSS_STEP = 6.3, 1.2
"""Marks from here down come from a gross fault or two rather than from many small ones: surely one a step below."""

_GROSS = (0.62, 1.0)
_GROSS_FAULTS = ("low_takeoff", "loose_position", "late_opening", "short_rotation", "over_rotation", "big_splash")

_TAIL_LOW, _TAIL_HIGH = ((0.0, -1.4), (0.01, -0.8)), ((0.99, 0.5), (1.0, 1.0))
"""Marks beyond the 5% and 95% of a number: as all numbers together have them (4.5 against 3.5; 8.83 against 9.33)."""

_LOWEST_MARK, _HIGHEST_MARK = 2.2, 9.9


def draw_mark(rng: np.random.Generator, dive: DiveNumber) -> float:
    """Draw the mark 0..10 that a dive is to earn, from its number's distribution in competition."""
    statistics = competition_statistics()
    counted = statistics.marks_of(dive)
    share = float(rng.random())
    marks = counted.marks
    if marks is None:  # too few of the number: all numbers, moved and scaled
        every = statistics.all
        assert every.marks is not None  # noqa: S101 - for mypy
        mark = counted.mean + (every.marks.at(share) - every.mean) * _scale(counted.dives, counted.sd, every.sd)
    else:
        low, high = marks.values[0], marks.values[-1]
        shares = [part for part, _ in _TAIL_LOW] + list(marks.shares) + [part for part, _ in _TAIL_HIGH]
        values = [low + more for _, more in _TAIL_LOW] + list(marks.values) + [high + more for _, more in _TAIL_HIGH]
        mark = float(np.interp(share, shares, values))
    return float(np.clip(mark, _LOWEST_MARK, _HIGHEST_MARK))


def _scale(dives: int, sd: float, all_sd: float) -> float:
    """Return the spread of a rarely counted number relative to all, drawn towards 1."""
    return (dives * sd / all_sd + 5) / (dives + 5)


def draw_faults_worth(rng: np.random.Generator, dive: DiveNumber, height_m: float, mark: float) -> tuple[float, Faults]:
    """Draw faults that cost about 10 - ``mark`` points, and the general quality that goes with them.

    Faults correlate through quality and within a stage as in `athlete.draw_faults`; here the quality is solved for.

    Args:
        rng: Random generator.
        dive: Decides which faults can occur.
        height_m: Height of the board, metres.
        mark: The mark to come near to, 0..10.
    """
    own = sqrt(1 - SHARED**2 - STAGE_SHARED**2)
    latent = {
        name: STAGE_SHARED * stage + own * float(rng.normal())
        for names in STAGE_FAULTS.values()
        for stage in (float(rng.normal()),)
        for name in names
    }
    excluded = {
        "close_to_board" if rng.random() < 0.5 else "leaning_takeoff",
        "over_rotation" if rng.random() < 0.6 else "short_rotation",
    } | ({"crossed_twist"} if not dive.half_twists else set())
    gross = _draw_gross(rng, mark, excluded)

    def faults_at(quality: float) -> Faults:
        values = {}
        for name, own_part in latent.items():
            share = 0.5 * (1 + erf((own_part - SHARED * quality) / sqrt(2)))
            values[name] = 0.0 if name in excluded else _LEAST + (_WORST - _LEAST) * share**RARITY
        return Faults(**{name: max(value, gross.get(name, 0.0)) for name, value in values.items()})

    springboard = apparatus(height_m) == "springboard"
    low, high = -12.0, 12.0
    for _ in range(26):
        middle = (low + high) / 2
        is_too_good = merit(expect(dive, faults_at(middle), springboard=springboard)) > mark
        low, high = (low, middle) if is_too_good else (middle, high)
    quality = (low + high) / 2
    return quality, faults_at(quality)


def draw_lost(rng: np.random.Generator) -> float:
    """Draw how far a failed dive goes astray, as the fault ``lost``."""
    return float(rng.uniform(0.05, 0.999))


def eased(faults: Faults) -> Faults:
    """Return faults with less of what spoils the rotation, for a dive that failed though it was not to fail."""
    names = ("low_takeoff", "loose_position", "late_opening", "short_rotation", "over_rotation", "crossed_twist")
    return replace(faults, **{name: 0.75 * getattr(faults, name) for name in names})


def _draw_gross(rng: np.random.Generator, mark: float, excluded: set[str]) -> Mapping[str, float]:
    """Draw gross faults for a low mark: one, or two for a very low one."""
    order, sizes, share = rng.permutation(len(_GROSS_FAULTS)), rng.uniform(*_GROSS, 2), float(rng.random())
    possible = [_GROSS_FAULTS[index] for index in order if _GROSS_FAULTS[index] not in excluded]
    missing = (_GROSS_BELOW - mark) / _GROSS_STEP
    count = int(share < missing) + int(share < missing - 1)
    return dict(zip(possible[:count], (float(size) for size in sizes), strict=False))


# How long a clip is.

_SHARE_CUT_ALIKE, _CUT_SIGMA_FRAMES = 0.5, 3.0
"""More than half of the clips of FineDiving are 97 to 107 frames long, whatever their parts; the others vary freely."""

_SHORTEST_ENDS, _LONGEST_ENDS = (6.0, 17.0), (95.0, 80.0)


def draw_ends(rng: np.random.Generator) -> tuple[float, float]:
    """Draw how many frames at 25 a second a clip shows before the flight and after it.

    Together with a flight as long as the annotated ones a clip has the annotated length. The annotated flight is not
    the time in the air, which gravity decides.
    """
    frames = competition_statistics().stage_frames
    before, flight, after = (
        float(_with_tails(share, frames[stage].shares, frames[stage].values))
        for stage, share in zip(("takeoff", "flight", "entry"), rng.random(3), strict=True)
    )
    is_alike, length = rng.random() < _SHARE_CUT_ALIKE, float(rng.normal(frames["clip"].at(0.5), _CUT_SIGMA_FRAMES))
    if is_alike:
        after = max(length - flight - before, frames["entry"].at(0.05))
    return (
        float(np.clip(before, _SHORTEST_ENDS[0], _LONGEST_ENDS[0])),
        float(np.clip(after, _SHORTEST_ENDS[1], _LONGEST_ENDS[1])),
    )


def _with_tails(share: float, shares: Sequence[float], values: Sequence[float]) -> float:
    """Interpolate a value; beyond the outermost shares, go on half as far again as from there to the quartile."""
    low, high = values[0] - (values[1] - values[0]) / 2, values[-1] + (values[-1] - values[-2]) / 2
    return float(np.interp(share, [0.0, *shares, 1.0], [low, *values, high]))
