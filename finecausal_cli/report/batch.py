"""A batch in the terminal: rows, statistics, a dry run."""

from __future__ import annotations

import sys
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from rich.cells import cell_len
from rich.text import Text

from finecausal_cli.batch.records import options_that_matter
from finecausal_cli.batch.runner import Reporter
from finecausal_cli.report.console import (
    add_row,
    error_console,
    is_quiet,
    new_table,
    open_console,
    page_columns,
    print_table,
    printable,
    progress_bar,
    shorten,
)
from finecausal_cli.report.score import print_first_lines
from finecausal_cli.weights import caveat_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path
    from types import TracebackType

    from rich.console import Console

    from finecausal_cli.batch.inputs import Item
    from finecausal_cli.batch.pipeline import Outcome
    from finecausal_cli.batch.records import Row
    from finecausal_cli.batch.runner import BatchStats, Plan
    from finecausal_cli.retrieval.bank import Bank
    from finecausal_cli.weights import WeightsInfo


class RowWriter(Protocol):
    """Writes rows to a stream as they come."""

    def add(self, row: Row) -> None:
        """Write a row."""

    def close(self) -> None:
        """Write the end."""


# What a batch says in words and figures, for the screen and for the page alike.


@dataclass(frozen=True, slots=True)
class BatchSummary:
    """The figures of a batch.

    Attributes:
        count: Dives with a row.
        scored: Of these, those with a score.
        mean: Mean score, points; None without any.
        median: Median score, points; None without any.
        mean_mark: Mean mark, 0..10, of the dives with a mark, which need no score; None without any.
        best: Row of the highest score; None without any.
        worst: Row of the lowest score; None without any.
        withheld: Dives without points, as their clip lacks a part of them or their number is not sure.
        refused: Clips that show no dive to judge.
        failed: Clips that could not be read or judged.
        failures: How many have no score, by kind, the most frequent first.
    """

    count: int
    scored: int
    mean: float | None
    median: float | None
    mean_mark: float | None
    best: Row | None
    worst: Row | None
    withheld: int
    refused: int
    failed: int
    failures: tuple[tuple[str, int], ...]


def caveats_of(rows: Sequence[Row]) -> list[str]:
    """Return what must be read before the figures of rows: what their weights were trained on."""
    return [caveat for caveat in dict.fromkeys(caveat_of(row.trained_on) for row in rows) if caveat is not None]


def summarise_rows(rows: Sequence[Row]) -> BatchSummary:
    """Count rows, and find the mean, the median, the best and the worst."""
    ranked = sorted(
        ((row.score, row) for row in rows if row.score is not None), key=lambda pair: (pair[0], pair[1].source)
    )
    scores = [score for score, _ in ranked]
    kinds = Counter(row.error_kind or "failed" for row in rows if row.score is None)
    middle = len(scores) // 2
    marks = [row.mark for row in rows if row.mark is not None]
    return BatchSummary(
        count=len(rows),
        scored=len(scores),
        mean=sum(scores) / len(scores) if scores else None,
        median=(scores[middle] + scores[-1 - middle]) / 2 if scores else None,
        mean_mark=sum(marks) / len(marks) if marks else None,
        best=ranked[-1][1] if ranked else None,
        worst=ranked[0][1] if ranked else None,
        withheld=sum(row.is_scored and row.score is None for row in rows),
        refused=sum(row.status == "refused" for row in rows),
        failed=sum(row.status == "failed" for row in rows),
        failures=tuple(sorted(kinds.items(), key=lambda kind: (-kind[1], kind[0]))),
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


# A batch on the screen: a line a dive as they come, how far it is, and the sum of it.

_INTERVAL_COLUMNS = 15
_DIVE_COLUMNS = 6
_LEAST_NAME_COLUMNS = 12
_SHARE_OF_MESSAGE = 0.55


class BatchReporter(Reporter):
    """Rows on standard output as they come, a bar with rate and time left on standard error, and the summary.

    Use it as a context manager, so that the bar goes whatever happens.

    Args:
        writer: Writes rows for programs; without one, each is a line for people.
        write_files: Writes the files of the batch when it has ended, and returns their paths.
    """

    def __init__(
        self, *, writer: RowWriter | None = None, write_files: Callable[[], Sequence[Path]] = lambda: ()
    ) -> None:
        self._bar = progress_bar()
        # On one terminal the bar has to make room for a line, and it can do that only for its own console.
        shares_terminal = sys.stdout.isatty() and sys.stderr.isatty() and not is_quiet()
        self._console = self._bar.console if shares_terminal else open_console()
        self._writer = writer
        self._write_files = write_files
        self._task = self._bar.add_task("", total=None)

    def __enter__(self) -> BatchReporter:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(BrokenPipeError):
            self._bar.stop()

    def begin(self, weights: WeightsInfo) -> None:
        """Say first what the weights were trained on; rows for programs say it themselves."""
        caveat = caveat_of(weights.trained_on)
        if caveat is not None and self._writer is None:
            print_first_lines([caveat], self._console)

    def start(self, task: str, total: int | None) -> None:
        """Begin a part of the work."""
        self._bar.reset(self._task, total=total, description=task)

    def advance(self) -> None:
        """Count one dive."""
        self._bar.advance(self._task)

    def show(self, outcome: Outcome) -> None:
        """Count one dive, and write its row or its line."""
        self.advance()
        if self._writer is None:
            print_line(outcome.row, self._console)
        else:
            self._writer.add(outcome.row)

    def finish(self, stats: BatchStats) -> None:
        """Write the files, and print failures and the summary."""
        self.start("writing the results", None)
        written = self._write_files()
        self._bar.stop()
        console = open_console()
        if self._writer is not None:
            self._writer.close()
            print_failures(stats.rows, error_console(quiet=False))
            console = error_console()
        else:
            print_failures(stats.rows, console)
        print_summary(stats, console)
        if written:
            files = ", ".join(str(path) for path in written)
            console.print(printable(f"written: {files}", console), soft_wrap=True, style="dim")


def print_line(row: Row, console: Console) -> None:
    """Print one dive in one line: score, interval, dive number, name; or that it has none, why, and its name."""
    columns = page_columns(console)
    name = dive_name(row, console)
    if row.score is not None:
        head = Text(f"{points(row.score):>7}", style="bold green")
        head.append(f"  {interval(row):<{_INTERVAL_COLUMNS}}  ", style="dim")
        head.append(f"{printable(row.dive or '?', console):<{_DIVE_COLUMNS}}  ", style="not bold default")
        if row.forced is not None:
            head.append("forced: ", style="bold red")
        head.append(shorten(name, max(_LEAST_NAME_COLUMNS, columns - cell_len(head.plain))), style="not bold default")
    else:
        status = "none" if row.is_scored else row.status
        head = Text(f"{status:>7}", style="bold red" if row.status == "failed" else "bold yellow")
        mark = "" if row.mark is None else f"mark {row.mark:.2f}, "
        head.append(f"  {mark}{row.error_kind}: ", style="not bold red")
        head.append(shorten(name, max(_LEAST_NAME_COLUMNS, columns - cell_len(head.plain))), style="not bold default")
    console.print(head, soft_wrap=True)


def dive_name(row: Row, console: Console) -> str:
    """Return what a row is called: its source, the requested part of it, and which of the dives there."""
    name = printable(row.source, console)
    if row.start_s is not None or row.end_s is not None:
        start, end = ("" if time_s is None else f"{time_s:g}" for time_s in (row.start_s, row.end_s))
        name += f" [{start}-{end} s]"
    return name if row.dive_index is None else f"{name} #{row.dive_index}"


def print_summary(stats: BatchStats, console: Console) -> None:
    """Print what became of a batch."""
    rows = stats.rows
    new = stats.scored + stats.failed + stats.refused
    console.print()
    if not new and not stats.stopped:
        console.print(Text(f"Nothing to do: all {len(rows)} rows are there already.", style="bold"))
    print_figures(summarise_rows(rows), console, of=len(stats.keys))
    facts = []
    if new:
        rate = f", {60 * new / stats.seconds:.0f} a minute" if stats.seconds > 1 else ""
        facts.append(f"{new} in {spent(stats.seconds)}{rate}")
    if stats.known:
        facts.append(f"{stats.known} known from before")
    if stats.stopped:
        facts.append(f"{stats.stopped}; {stats.missing} without a row")
    if facts:
        _print_fact("run", "; ".join(facts), console)
    if any(row.status == "failed" for row in rows) and not new:
        _print_fact("", "--retry-failed tries the failed ones again", console)


def print_figures(summary: BatchSummary, console: Console, *, of: int | None = None) -> None:
    """Print count, dives without points, refusals, failures, mean, median, best and worst.

    Args:
        summary: The figures.
        console: Where to print.
        of: How many dives there should be rows of.
    """
    headings = ("dives", "no points", "refused", "failed", "mean mark", "mean points", "median", "best", "worst")
    table = new_table(*headings)
    add_row(
        table,
        f"{summary.count}" if of is None or of <= summary.count else f"{summary.count} of {of}",
        Text(f"{summary.withheld}", style="yellow" if summary.withheld else ""),
        Text(f"{summary.refused}", style="yellow" if summary.refused else ""),
        Text(f"{summary.failed}", style="red" if summary.failed else ""),
        points(summary.mean_mark),
        points(summary.mean),
        points(summary.median),
        points(summary.best.score if summary.best else None),
        points(summary.worst.score if summary.worst else None),
    )
    print_table(table, console)
    for label, row in (("best", summary.best), ("worst", summary.worst)):
        if row is not None and summary.scored > 1:
            _print_fact(label, dive_name(row, console), console)
    if summary.failures:
        _print_fact("why", ", ".join(f"{count} {kind}" for kind, count in summary.failures), console)


def _print_fact(label: str, text: str, console: Console) -> None:
    columns = page_columns(console)
    line = Text(f"{label:<8}", style="dim")
    shown = text if label == "" or label not in ("best", "worst") else shorten(text, columns - 8)
    line.append(shown, style="not dim")
    console.print(line, width=columns)


def print_failures(rows: list[Row], console: Console, *, most: int = 20) -> None:
    """Print why dives have no score, each in words."""
    failed = [row for row in rows if row.score is None]
    if not failed:
        return
    columns = page_columns(console)
    table = new_table("no score", footer=False)
    table.add_column("why", overflow="fold", max_width=int(columns * _SHARE_OF_MESSAGE))
    for row in failed[:most]:
        name = shorten(dive_name(row, console), columns - int(columns * _SHARE_OF_MESSAGE) - 4)
        add_row(table, name, f"{row.error_kind}: {printable(row.error or '', console)}")
    console.print()
    print_table(table, console)
    if len(failed) > most:
        console.print(Text(f"and {len(failed) - most} more: see column 'error' of the results", style="dim"))


# What a batch would do: the dives, what is known of them, and the exemplars that they would be compared with.

_NAME_COLUMNS = 36


def print_dry_run(plan: Plan, items: Sequence[Item], bank: Bank, console: Console) -> None:
    """Print each dive with what would be done and with what exemplars, then the counts."""
    columns = page_columns(console)
    todo, copies = ({job.row_key for job in jobs} for jobs in ((*plan.jobs, *plan.copies), plan.copies))
    done = {(row.clip_key, row.key): row for row in plan.done}
    table = new_table("dive")
    for heading in ("number", "exemplars", "would be"):
        table.add_column(heading, overflow="fold")
    counts: Counter[str] = Counter()
    for item, key in zip(items, plan.keys, strict=True):
        if key not in todo:
            action = f"left: {done[key].status}"
        elif item.problem is not None:
            action = "left out: wrong in the manifest"
        else:
            action = "copied" if key in copies else "scored"
        counts[action] += 1
        name = shorten(printable(item.source, console), min(_NAME_COLUMNS, columns - 40))
        number = printable(str(options_that_matter(item.options)["dive"] or "?"), console)
        add_row(table, name, number, _exemplars(item, bank), action)
    print_table(table, console)
    shown = ", ".join(f"{count} {action}" for action, count in counts.items())
    console.print()
    console.print(Text(f"{len(items)} dives: {shown}. Nothing was done.", style="bold"), width=columns)


def _exemplars(item: Item, bank: Bank) -> str:
    options = item.options
    if options.exemplar is not None:
        return options.exemplar
    if options.dive is None:
        return f"{min(options.voters, len(bank.exemplars))} nearest"
    same = len(bank.of_dive(str(options_that_matter(options)["dive"])))
    if not same:
        return f"{min(options.voters, len(bank.exemplars))} nearest"
    return f"{min(options.voters, same)} of {same} of its number"
