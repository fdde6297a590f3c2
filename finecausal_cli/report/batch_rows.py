"""What a batch says in words and figures, for the screen and for the page alike."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from finecausal_cli.assess.batch.row import Row


@dataclass(frozen=True, slots=True)
class Summary:
    """The figures of a batch.

    Attributes:
        count: Dives with a row.
        scored: Of these, those with a score.
        mean: Mean score, points; None without any.
        median: Median score, points; None without any.
        best: Row of the highest score; None without any.
        worst: Row of the lowest score; None without any.
        refused: Clips that show no dive to judge.
        failed: Clips that could not be read or judged.
        failures: How many have no score, by kind, the most frequent first.
    """

    count: int
    scored: int
    mean: float | None
    median: float | None
    best: Row | None
    worst: Row | None
    refused: int
    failed: int
    failures: tuple[tuple[str, int], ...]


def summarise_rows(rows: Sequence[Row]) -> Summary:
    """Count rows, and find the mean, the median, the best and the worst."""
    ranked = sorted(
        ((row.score, row) for row in rows if row.score is not None), key=lambda one: (one[0], one[1].source)
    )
    scores = [score for score, _ in ranked]
    kinds = Counter(row.error_kind or "failed" for row in rows if row.score is None)
    middle = len(scores) // 2
    return Summary(
        count=len(rows),
        scored=len(scores),
        mean=sum(scores) / len(scores) if scores else None,
        median=(scores[middle] + scores[-1 - middle]) / 2 if scores else None,
        best=ranked[-1][1] if ranked else None,
        worst=ranked[0][1] if ranked else None,
        refused=sum(row.status == "refused" for row in rows),
        failed=sum(row.status == "failed" for row in rows),
        failures=tuple(sorted(kinds.items(), key=lambda one: (-one[1], one[0]))),
    )


def points(value: float | None) -> str:
    """Write points, or a dash where there are none."""
    return "-" if value is None else f"{value:.2f}"


def interval(row: Row) -> str:
    """Write the interval of a row, or nothing where there is none."""
    if row.interval_low is None or row.interval_high is None:
        return ""
    return f"{row.interval_low:.1f} to {row.interval_high:.1f}"


def spent(seconds: float) -> str:
    """Write a time as people read it: 48 s, 3:05 min, 2:10:00 h."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes}:{rest:02d} min"
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d} h"
