"""A history in the terminal, as CSV and as JSON."""

from __future__ import annotations

import csv
import io
from datetime import datetime
from typing import TYPE_CHECKING, Final, Literal

from rich.text import Text

from finecausal_cli.batch import RESULTS_NAME
from finecausal_cli.batch.history import (
    HISTORY_VERSION,
    TREND_DAYS,
    TREND_DIVES,
    TREND_LEVEL,
    TREND_SPAN_DAYS,
    History,
    build_history,
    read_results,
)
from finecausal_cli.report.console import (
    Section,
    is_quiet,
    open_console,
    page_columns,
    print_section,
    printable,
    shorten,
    signed,
)
from finecausal_cli.report.output import schema_of, to_json
from finecausal_cli.report.score import print_first_lines
from finecausal_cli.weights import caveat_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from rich.console import Console

    from finecausal_cli.batch.history import DiverHistory, NumberHistory, PastDive

HistoryFormat = Literal["table", "json", "csv"]

_STEPS: Final = "▁▂▃▄▅▆▇█"
_WIDE: Final = 60
"""Columns from which a table has room for more marks, and for points beside them."""

_CSV_COLUMNS: Final = (
    "diver", "date", "date_from", "dive", "height_m", "mark", "score", "interval_low", "interval_high", "source",
    "start_s", "dive_index",
)  # fmt: skip


def deliver_history(
    results: Path, output_format: HistoryFormat, *, diver: str | None = None, dive: str | None = None
) -> None:
    """Print the history that a file of results tells.

    Args:
        results: A CSV or JSON Lines of results, or a folder of results.
        output_format: ``table``, ``json`` or ``csv``.
        diver: Only this athlete.
        dive: Only this dive number, in its canonical form.

    Raises:
        DatasetError: The results cannot be read, or are something else.
        UsageError: No dive is left.
    """
    path = results / RESULTS_NAME if results.is_dir() else results
    history = build_history(read_results(path), str(results), diver=diver, dive=dive)
    console = open_console()
    if output_format == "json":
        console.file.write(to_json(history) + "\n")
    elif output_format == "csv":
        console.file.write(history_csv(history))
    else:
        print_history(history, console)


def history_schema() -> str:
    """Return the JSON Schema of a history."""
    return schema_of(History, "history", HISTORY_VERSION)


def history_csv(history: History) -> str:
    """Return the dives as CSV, a line each, in the order of time; empty where nothing is known."""
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(_CSV_COLUMNS)
    for diver in history.divers:
        for past in diver.dives:
            writer.writerow([diver.diver, *(getattr(past, name) for name in _CSV_COLUMNS[1:])])
    return table.getvalue()


def print_history(history: History, console: Console) -> None:
    """Print each athlete's dive numbers with marks over time, best, last and trend; of a single one every dive too."""
    print_first_lines([text for text in map(caveat_of, history.trained_on) if text is not None], console)
    for diver in history.divers:
        print_section(_numbers(diver, console), console)
    if len(history.divers) == 1:
        print_section(_dives(history.divers[0], console), console)
    given = [number for diver in history.divers for number in diver.numbers if number.trend is not None]
    how = (
        f"A trend needs {TREND_DIVES} dives on {TREND_DAYS} days over {TREND_SPAN_DAYS} days. It is the slope of a "
        f"straight line, marks in 30 days, with its {TREND_LEVEL:.0%} interval"
    )
    rest = ": the scatter of the dives, not errors that all marks share." if given else "; no number has as many."
    left_out = f"note: without a mark, and left out: {history.without_mark}" if history.without_mark else ""
    notes = () if is_quiet() else (*(f"note: {note}" for note in history.notes), left_out)
    for text in filter(None, (how + rest, *notes)):
        console.print(Text(printable(text, console), style="dim"), width=page_columns(console))


def _numbers(diver: DiverHistory, console: Console) -> Section:
    is_wide = page_columns(console) >= _WIDE
    first, last = (_date(past) for past in (diver.dives[0], diver.dives[-1]))
    count = len(diver.dives)
    when = f"on {first}" if first == last else f"from {first} to {last}"
    dives = "1 dive" if count == 1 else f"{count} dives"
    marks = "Marks of a judge, 0 to 10" + ("; points in brackets, where the number is sure." if is_wide else ".")
    name = diver.diver if diver.diver_from == "manifest" else f"{diver.diver} (folder)"
    headings = ("dive", "dives", "marks", "best", "last", "trend in 30 days" if is_wide else "trend")
    rows = [
        (
            number.dive or "not sure",
            str(number.count),
            sparkline(number.marks, console, most=10 if is_wide else 6),
            _mark(number.best, with_points=is_wide),
            _mark(number.last, with_points=is_wide),
            _trend(number),
        )
        for number in diver.numbers
    ]
    return Section(name, f"{dives} {when}. {marks}", headings, rows)


def _dives(diver: DiverHistory, console: Console) -> Section:
    columns = page_columns(console)
    headings = ("date", "dive", "mark", "points", *(("file",) if columns >= _WIDE else ()))
    rows = [
        (
            _date(past) + (" (file)" if past.date_from == "file" else ""),
            past.dive or "?",
            f"{past.mark:.2f}",
            "-" if past.score is None else f"{past.score:.2f}",
            shorten(past.source.replace("\\", "/").rpartition("/")[2], max(10, columns - 46)),
        )[: len(headings)]
        for past in diver.dives
    ]
    return Section("Every dive", "", headings, rows)


def _date(past: PastDive) -> str:
    return datetime.fromisoformat(past.date.replace("Z", "+00:00")).date().isoformat()


def _mark(past: PastDive, *, with_points: bool) -> str:
    return f"{past.mark:.2f}" + (f" ({past.score:.1f})" if with_points and past.score is not None else "")


def _trend(number: NumberHistory) -> str:
    trend = number.trend
    if trend is None:
        return "-"
    between = f"{signed(trend.marks_a_month)} ({signed(trend.low)} to {signed(trend.high)})"
    return between if trend.is_clear else f"not clear: {between}"


def sparkline(marks: Sequence[float], console: Console, *, most: int) -> str:
    """Draw the last marks as bars from the lowest to the highest; as whole numbers where the stream has no bars.

    Args:
        marks: 0 to 10, in the order of time.
        console: Where it is printed.
        most: Most marks shown.
    """
    shown = marks[-most:]
    if not console.encoding.lower().startswith("utf"):
        return " ".join(f"{mark:.0f}" for mark in shown)
    low, high = min(shown), max(shown)
    if high - low < 0.005:  # as printed they are equal
        return _STEPS[3] * len(shown)
    return "".join(_STEPS[round((mark - low) / (high - low) * (len(_STEPS) - 1))] for mark in shown)
