"""Show what is in a dataset and what is wrong with it."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from finecausal_cli.report.layout import add_row, page_columns
from finecausal_cli.report.progress import BarDisplay
from finecausal_cli.report.terminal import printable, words

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.console import Console
    from rich.progress import TaskID

    from finecausal_cli.data.check import DatasetCheck
    from finecausal_cli.data.problem import Problem
    from finecausal_cli.data.summary import Spread, Summary

_FORMAT = 1
"""Version of the JSON."""

_MOST_NUMBERS = 12
"""Dive numbers that the table names; JSON names them all."""


def print_dataset(check: DatasetCheck, console: Console) -> None:
    """Print every problem, grouped by what it concerns, and the figures of what can be read."""
    by_kind: dict[str, list[Problem]] = defaultdict(list)
    for problem in check.problems:
        by_kind[problem.kind].append(problem)
    for kind, problems in by_kind.items():
        console.print(Text(f"{kind} ({len(problems)})", style="bold"))
        for problem in problems:
            _print_problem(problem, check.path, console)
        console.print()
    _print_summary(check, console)
    found = len(check.problems)
    verdict = Text("Nothing is wrong.", style="green") if not found else Text(f"{found} problems.", style="bold red")
    console.print(Text("1 problem.", style="bold red") if found == 1 else verdict)


def dataset_json(check: DatasetCheck) -> str:
    """Return every problem and the figures as JSON."""
    content = {
        "format": _FORMAT,
        "path": str(check.path),
        "layout": check.layout,
        "clean": not check.problems,
        "problems": [asdict(problem) for problem in check.problems],
        "summary": asdict(check.summary),
    }
    return json.dumps(content, indent=2)


def _print_problem(problem: Problem, root: Path, console: Console) -> None:
    hint = f" ({problem.hint})" if problem.hint else ""
    text = Text(words(printable(f"{_relative(problem.where, root)}: {problem.what}{hint}", console), console))
    if console.is_terminal:
        console.print(Padding(text, (0, 0, 0, 2)), width=page_columns(console))
    else:
        console.print(text, soft_wrap=True)  # one line a problem, for grep


def _relative(where: str, root: Path) -> str:
    """Name a file as seen from the dataset's folder."""
    folder = root if root.is_dir() else root.parent
    for base in (folder, folder.resolve()):
        if Path(where).is_relative_to(base) and where != str(base):
            return str(Path(where).relative_to(base))
    return where


def _print_summary(check: DatasetCheck, console: Console) -> None:
    summary = check.summary
    facts = {
        "dataset": f"{check.path}, {check.layout}",
        "dives": f"{summary.dives} that can be read",
        "splits": _counts(summary.splits) + ("" if summary.splits_given else " (drawn; the dataset names none)"),
        "dive numbers": _numbers(summary.numbers),
        "heights": _counts({f"{height} m" if height else "unknown": n for height, n in summary.heights_m.items()}),
        "scores": f"{_of(summary.scored, summary)}{_spread(summary.scores)}",
        "judges' marks": _of(summary.judged, summary),
        "lengths": f"in frames{_spread(summary.frames)}" if summary.frames else "unknown",
        "masks": _of(summary.masked, summary),
        "transitions": f"flight {_of(summary.flights, summary)}, entry {_of(summary.entries, summary)}",
        "deductions": _of(summary.deductions, summary),
    }
    lines = Table.grid(padding=(0, 2))
    lines.add_column(style="dim", no_wrap=True)
    lines.add_column(overflow="fold")
    for name, value in facts.items():
        add_row(lines, name, words(printable(value, console), console))
    console.print(lines, width=page_columns(console))


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items()) or "none"


def _of(count: int, summary: Summary) -> str:
    return "all" if count == summary.dives and count else f"{count} of {summary.dives}" if count else "none"


def _numbers(numbers: Mapping[str, int]) -> str:
    named = {number or "unknown": count for number, count in numbers.items()}
    shown = dict(list(named.items())[:_MOST_NUMBERS])
    more = f", and {len(named) - len(shown)} more" if len(named) > len(shown) else ""
    return f"{len(numbers) - ('' in numbers)}: {_counts(shown)}{more}"


def _spread(spread: Spread | None) -> str:
    if spread is None:
        return ""
    values = (spread.least, spread.lower_quartile, spread.median, spread.upper_quartile, spread.most)
    least, lower, median, upper, most = (f"{round(value, 2):g}" for value in values)
    return f", {least} to {most}, half of them {lower} to {upper}, median {median}"


class CheckProgress(BarDisplay):
    """A bar on standard error while the files are looked at; silent where nobody watches."""

    def __init__(self) -> None:
        super().__init__()
        self._task: TaskID | None = None

    def start(self, dives: int) -> None:
        """Begin to count."""
        self._task = self._bar.add_task("looking at dives", total=dives)

    def advance(self) -> None:
        """Count one dive."""
        if self._task is not None:
            self._bar.advance(self._task)
