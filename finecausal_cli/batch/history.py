"""History: the dives of each athlete over time, out of a file of results, with a trend where there are enough."""

from __future__ import annotations

import csv
import io
import math
from collections import defaultdict
from datetime import date, datetime
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, Final, Literal

from pydantic import Field, ValidationError

from finecausal_cli.batch.records import COLUMNS, Row, read_result_rows
from finecausal_cli.errors import DatasetError, UsageError
from finecausal_cli.scoring.results import Value
from finecausal_cli.weights import TrainedOn  # noqa: TC001 - pydantic reads it

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

HISTORY_VERSION: Final = 1
"""Raised whenever a reader of an older JSON could misread a newer one."""

TREND_DIVES: Final = 5
TREND_DAYS: Final = 3
TREND_SPAN_DAYS: Final = 14
"""Fewest dives of a trend, fewest days on which they were, and fewest days from the first to the last."""

TREND_LEVEL: Final = 0.95
_MONTH_DAYS: Final = 30.0


class PastDive(Value):
    """One dive of the past that has a mark."""

    date: str = Field(description="ISO 8601.")
    date_from: Literal["manifest", "file"] = Field(description="Where the date comes from: file is its time of change.")
    dive: str | None = Field(description="Dive number; None where it is not sure.")
    dive_from: str | None = Field(description="Where the number comes from.")
    height_m: float | None
    mark: float = Field(description="Mean of the counting marks, 0 to 10.")
    score: float | None = Field(description="Final score, points; None without a sure number.")
    interval_low: float | None
    interval_high: float | None
    source: str
    start_s: float | None = Field(description="Where the dive starts in the source, if that was given.")
    dive_index: int | None


class Trend(Value):
    """Change of the mark with time: the slope of a straight line through the dives, by least squares."""

    marks_a_month: float = Field(description="Slope, marks of a judge in 30 days.")
    low: float = Field(description="Lower end of its interval.")
    high: float = Field(description="Upper end.")
    level: float = Field(description="Coverage of the interval by Student's t, if dives scatter alike and by chance.")
    is_clear: bool = Field(description="Whether the interval lies on one side of zero.")


class NumberHistory(Value):
    """The dives of one dive number."""

    dive: str | None
    count: int
    marks: tuple[float, ...] = Field(description="In the order of time.")
    best: PastDive = Field(description="The highest mark; the later of equal ones.")
    last: PastDive
    trend: Trend | None
    no_trend: str | None = Field(description="Why no trend is given.")


class DiverHistory(Value):
    """The dives of one athlete."""

    diver: str
    diver_from: Literal["manifest", "folder"]
    dives: tuple[PastDive, ...] = Field(description="In the order of time.")
    numbers: tuple[NumberHistory, ...] = Field(description="The most frequent number first; the unknown one last.")


class History(Value):
    """What a file of results tells of athletes over time."""

    schema_version: Literal[1] = HISTORY_VERSION
    source: str = Field(description="The results.")
    divers: tuple[DiverHistory, ...] = Field(description="By name.")
    without_mark: int = Field(description="Selected rows that were left out: no mark, or no date.")
    trained_on: tuple[TrainedOn, ...] = Field(description="Which dives the weights of the rows were trained on.")
    notes: tuple[str, ...]


# From a file to rows.


def read_results(path: Path) -> list[Row]:
    """Read the rows of results as ``finecausal score`` writes them: CSV or JSON Lines.

    Raises:
        DatasetError: The file is missing, or holds something else; names the row.
        UsageError: It is of another format.
    """
    if path.suffix.lower() == ".jsonl":
        return [row.light() for row in read_result_rows(path)]
    if path.suffix.lower() != ".csv":
        hint = "name a .csv or .jsonl that finecausal score has written, or its folder of results"
        raise UsageError("history reads CSV and JSON Lines", where=path, hint=hint)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise DatasetError(f"the results cannot be read: {why}", where=path) from None
    return list(_parse_csv(text, path))


def _parse_csv(text: str, path: Path) -> Iterator[Row]:
    reader = csv.DictReader(io.StringIO(text, newline=""))
    missing = [name for name in ("source", "status", "mark", "key") if name not in (reader.fieldnames or ())]
    if missing:
        found = ", ".join((reader.fieldnames or ["none"])[:8])
        what = f"not results of finecausal score: no column {missing[0]!r}; the first columns are {found}"
        raise DatasetError(what, where=path, hint="name the file that score -o has written")
    for number, cells in enumerate(reader, start=2):
        given: dict[str, Any] = {name: cells[name] for name in COLUMNS if cells.get(name)}
        try:
            yield Row.model_validate({**given, "row_version": int(given.get("row_version", 3))})
        except (ValidationError, ValueError) as error:
            first = error.errors()[0] if isinstance(error, ValidationError) else None
            why = str(error) if first is None else f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
            raise DatasetError(f"line {number} is no row of results: {why}", where=path) from None


# From rows to histories.


def build_history(rows: Sequence[Row], source: str, *, diver: str | None = None, dive: str | None = None) -> History:
    """Put the dives of each athlete in the order of time.

    Args:
        rows: Of results, in any order.
        source: Their file, for the result.
        diver: Only this athlete; upper and lower case do not matter.
        dive: Only this dive number, in its canonical form.

    Raises:
        UsageError: No dive is left; names the athletes or numbers that are there.
    """
    marked = [(row, past) for row in rows if (past := _past(row)) is not None]
    of_diver = [each for each in marked if _is_of(each[0], diver)]
    if diver is not None and not of_diver:
        raise UsageError(
            f"no dive of {diver!r}", where="--diver", hint=_listed("divers", [_diver_of(row)[0] for row, _ in marked])
        )
    chosen = [each for each in of_diver if dive is None or each[1].dive == dive]
    if dive is not None and not chosen:
        raise UsageError(
            f"no {dive}", where="--dive", hint=_listed("numbers", [past.dive or "not sure" for _, past in of_diver])
        )
    if not chosen:
        raise UsageError("no dive with a mark and a date", where=source, hint="score some first: finecausal score -o")
    by_diver: dict[tuple[str, str], list[PastDive]] = defaultdict(list)
    for row, past in chosen:
        by_diver[_diver_of(row)].append(past)
    divers = [_history(who, how, dives) for (who, how), dives in by_diver.items()]
    kept = [row for row, _ in chosen]
    selected = [row for row in rows if _is_of(row, diver) and (dive is None or _sure_number(row) == dive)]
    return History(
        source=source,
        divers=tuple(sorted(divers, key=lambda each: each.diver.lower())),
        without_mark=len(selected) - len(kept),
        trained_on=tuple(dict.fromkeys(row.trained_on for row in kept)),
        notes=tuple(_notes(kept, divers)),
    )


def _listed(what: str, names: Sequence[str]) -> str:
    names = sorted(set(names))
    more = f" and {len(names) - 10} more" if len(names) > 10 else ""
    return f"{what} here: {', '.join(names[:10]) or 'none'}{more}"


def _diver_of(row: Row) -> tuple[str, Literal["manifest", "folder"]]:
    if row.diver:
        return row.diver, "manifest"
    return PurePath(row.source).parent.name or "(no folder)", "folder"


def _is_of(row: Row, diver: str | None) -> bool:
    """Tell whether a row is of an athlete; of None are all."""
    return diver is None or _diver_of(row)[0].lower() == diver.lower()


def _sure_number(row: Row) -> str | None:
    return None if (row.dive_from or "").startswith("not sure") else row.dive


def _past(row: Row) -> PastDive | None:
    when = row.date or row.file_time
    if row.mark is None or when is None:
        return None
    try:
        _day(when)
    except ValueError:
        return None
    return PastDive(
        date=when,
        date_from="manifest" if row.date else "file",
        dive=_sure_number(row),
        dive_from=row.dive_from,
        height_m=row.height_m,
        mark=row.mark,
        score=row.score,
        interval_low=row.interval_low,
        interval_high=row.interval_high,
        source=row.source,
        start_s=row.start_s,
        dive_index=row.dive_index,
    )


def _day(when: str) -> date:
    return datetime.fromisoformat(when.replace("Z", "+00:00")).date()


def _in_time(past: PastDive) -> tuple[date, str, float, int]:
    return _day(past.date), past.date, past.start_s or 0.0, past.dive_index or 0


def _history(diver: str, diver_from: Any, dives: Sequence[PastDive]) -> DiverHistory:
    ordered = sorted(dives, key=_in_time)
    by_number: dict[str | None, list[PastDive]] = defaultdict(list)
    for past in ordered:
        by_number[past.dive].append(past)
    numbers = [_number(number, each) for number, each in by_number.items()]
    numbers.sort(key=lambda each: (each.dive is None, -each.count, each.dive or ""))
    return DiverHistory(diver=diver, diver_from=diver_from, dives=tuple(ordered), numbers=tuple(numbers))


def _number(number: str | None, dives: Sequence[PastDive]) -> NumberHistory:
    marks = tuple(past.mark for past in dives)
    trend, why = (None, "the dive number is not sure") if number is None else fit_trend(dives)
    best = max(dives, key=lambda past: (past.mark, _in_time(past)))
    return NumberHistory(
        dive=number, count=len(dives), marks=marks, best=best, last=dives[-1], trend=trend, no_trend=why
    )


def fit_trend(dives: Sequence[PastDive]) -> tuple[Trend | None, str | None]:
    """Fit a straight line through the marks over days.

    The interval is that of ordinary least squares with Student's t: it holds the scatter from dive to dive, and no
    error that all marks share.

    Args:
        dives: Of one number, in the order of time.

    Returns:
        The trend, or why there is none: too few dives, days or weeks.
    """
    days = [_day(past.date).toordinal() for past in dives]
    if len(dives) < TREND_DIVES:
        return None, f"{len(dives)} of the {TREND_DIVES} dives that a trend needs"
    if len(set(days)) < TREND_DAYS:
        return None, f"{len(set(days))} of the {TREND_DAYS} days that a trend needs"
    if days[-1] - days[0] < TREND_SPAN_DAYS:
        return None, f"{days[-1] - days[0]} of the {TREND_SPAN_DAYS} days that a trend spans at least"
    from scipy.stats import t as student

    count, marks = len(days), [past.mark for past in dives]
    mean_day, mean_mark = sum(days) / count, sum(marks) / count
    spread = sum((day - mean_day) ** 2 for day in days)
    slope = sum((day - mean_day) * (mark - mean_mark) for day, mark in zip(days, marks, strict=True)) / spread
    left = sum((mark - mean_mark - slope * (day - mean_day)) ** 2 for day, mark in zip(days, marks, strict=True))
    half = float(student.ppf(0.5 + TREND_LEVEL / 2, count - 2)) * math.sqrt(left / (count - 2) / spread)
    low, high = (_MONTH_DAYS * (slope + side * half) for side in (-1, 1))
    trend = Trend(
        marks_a_month=_MONTH_DAYS * slope, low=low, high=high, level=TREND_LEVEL, is_clear=low > 0 or high < 0
    )
    return trend, None


def _notes(rows: Sequence[Row], divers: Sequence[DiverHistory]) -> Iterator[str]:
    shown = [past for diver in divers for past in diver.dives]
    from_files = sum(past.date_from == "file" for past in shown)
    if from_files:
        yield f"{_dives(from_files)} by the time of the file: give dates in a manifest's column 'date'"
    folders = [diver.diver for diver in divers if diver.diver_from == "folder"]
    if folders:
        yield f"{len(folders)} of {len(divers)} divers by the folder's name: give names in a column 'diver'"
    if len({(row.weights_digest, row.bank_digest) for row in rows}) > 1:
        yield "the rows were scored with different weights or exemplars, so a change may be theirs: score all again"
    unsure = sum(past.dive is None for past in shown)
    if unsure:
        yield f"{_dives(unsure)} without a sure number: give it with --dive or in a column 'dive'"


def _dives(count: int) -> str:
    return "1 dive" if count == 1 else f"{count} dives"
