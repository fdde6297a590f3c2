"""From judges' marks to a score, in exact arithmetic.

Execution is what the counting marks add up to, 0..30 for three counting judges; final score = execution *
difficulty. Marks are half points and difficulties tenths, so every score here is exact to 0.01.
"""

from __future__ import annotations

import math
from decimal import ROUND_HALF_UP, Decimal
from typing import TYPE_CHECKING

from finecausal_cli.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_MARK = 10.0
MAX_EXECUTION = 30.0
"""Three counting marks of 10."""

_DROPPED_EACH_END = {3: 0, 5: 1, 7: 2}
_SYNCHRO_SHARE = Decimal("0.6")
_GRADES = (
    (10.0, "excellent"),
    (8.5, "very good"),
    (7.0, "good"),
    (5.0, "satisfactory"),
    (2.5, "deficient"),
    (0.5, "unsatisfactory"),
    (0.0, "failed"),
)


def execution_from_marks(marks: Sequence[float]) -> float:
    """Add up the three counting marks of an individual dive.

    Args:
        marks: 3, 5 or 7 marks, 0..10 in half points. Of 5 the highest and the lowest are dropped, of 7 the two
            highest and the two lowest.

    Returns:
        Execution, 0..30 in half points.

    Raises:
        UsageError: When the number of judges or a mark is impossible.
    """
    if len(marks) not in _DROPPED_EACH_END:
        raise UsageError(f"{len(marks)} marks", where="marks", hint="a panel has 3, 5 or 7 judges")
    return float(sum(_counting(marks, _DROPPED_EACH_END[len(marks)])))


def execution_from_synchro_marks(marks: Sequence[float]) -> float:
    """Scale the marks of a synchronised dive to three counting judges.

    Args:
        marks: Either the 5 counting marks, or all 11 in the order diver 1's execution (3), diver 2's
            execution (3), synchronisation (5); of these each panel's highest and lowest are dropped.

    Returns:
        Execution: the five counting marks times 0.6, 0..30, exact to 0.1.

    Raises:
        UsageError: When the number of judges or a mark is impossible.
    """
    if len(marks) == 5:
        counting = _counting(marks, 0)
    elif len(marks) == 11:
        counting = [mark for panel in (marks[:3], marks[3:6], marks[6:]) for mark in _counting(panel, 1)]
    else:
        raise UsageError(
            f"{len(marks)} marks for a synchronised dive", where="marks", hint="give the 5 counting marks or all 11"
        )
    return float(sum(counting) * _SYNCHRO_SHARE)


def final_score(marks: Sequence[float], difficulty: float, *, synchro: bool = False) -> float:
    """Return the final score of a dive: execution times difficulty, to 0.01.

    Args:
        marks: As in ``execution_from_marks`` or, with ``synchro``, ``execution_from_synchro_marks``.
        difficulty: Degree of difficulty, above 0.
        synchro: Whether the marks are those of a synchronised dive.

    Raises:
        UsageError: When a mark, their number or the difficulty is impossible.
    """
    execution = execution_from_synchro_marks(marks) if synchro else execution_from_marks(marks)
    if not (math.isfinite(difficulty) and difficulty > 0):
        raise UsageError(f"difficulty {difficulty:g}", where="difficulty", hint="it is above 0, such as 3.2")
    product = Decimal(str(execution)) * Decimal(str(difficulty))
    return float(product.quantize(Decimal("0.01"), rounding=ROUND_HALF_UP))


def describe_mark(mark: float) -> str:
    """Return the word the rules use for a mark, from ``failed`` (0) to ``excellent`` (10).

    Raises:
        UsageError: When the mark is not 0..10 in half points.
    """
    checked = _exact(mark)
    return next(word for lowest, word in _GRADES if checked >= Decimal(lowest))


def _counting(marks: Sequence[float], dropped_each_end: int) -> list[Decimal]:
    """Return the marks that count, once the same number of high and low ones is dropped."""
    ranked = sorted(_exact(mark) for mark in marks)
    return ranked[dropped_each_end : len(ranked) - dropped_each_end]


def _exact(mark: float) -> Decimal:
    if not (math.isfinite(mark) and 0 <= mark <= MAX_MARK and float(2 * mark).is_integer()):
        raise UsageError(f"mark {mark:g}", where="marks", hint="a mark is 0 to 10 in half points, such as 7.5")
    return Decimal(float(mark))
