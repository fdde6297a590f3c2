"""The terminal: sections of a report, progress, rounding."""

from __future__ import annotations

import io
import logging
import math
import os
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Final

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.panel import Panel
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from types import TracebackType

    from rich.table import Column
    from typing_extensions import Self

    from finecausal_cli.scoring.dive_reading import ReadAhead
    from finecausal_cli.scoring.results import StageName


# Output streams: a terminal, a pipe or a log file, in any encoding.

PAGE_COLUMNS = 80
"""Widest output, so that a log has the same lines as the terminal."""

_SPELLED_OUT = str.maketrans(
    {"½": " 1/2", "×": "x", "±": "+/-", "−": "-", "–": "-", "…": "...", "·": "-", "█": "#", "→": "->"}
)


def open_console(file: IO[str] | None = None) -> Console:
    """Return a console for results that never fails on the encoding of its stream.

    Width follows the terminal, 80 columns where there is none. There are no escapes in a pipe, in a file or with
    ``NO_COLOR``. A character that the stream cannot hold is written as its code.

    Args:
        file: Where to print; standard output when absent.
    """
    stream = sys.stdout if file is None else file
    if isinstance(stream, io.TextIOWrapper) and not _is_utf8(stream.encoding):
        stream.reconfigure(errors="backslashreplace")
    colours = None if os.environ.get("NO_COLOR") else "auto"
    return Console(file=stream, color_system=colours, highlight=False, emoji=False, markup=False)  # type: ignore[arg-type]


def words(text: str, console: Console) -> str:
    """Return program text in characters that the stream can encode, e.g. ``2 1/2`` for ``2½`` where it is not UTF-8."""
    return text if _is_utf8(console.encoding) else text.translate(_SPELLED_OUT).replace("  ", " ")


def printable(text: str, console: Console) -> str:
    """Return external text with control characters and unencodable characters as escapes."""
    return "".join(char if _can_show(char, console.encoding) else _escaped(char) for char in text)


def shorten(text: str, columns: int) -> str:
    """Shorten a long name to ``...`` and its end."""
    if cell_len(text) <= columns:
        return text
    while cell_len(text) > columns - 3:
        text = text[1:]
    return f"...{text}"


def file_name(source: str) -> str:
    """Return the name of a file or a folder for a title; the whole of what names no file, such as ``-``."""
    return source.rstrip("/\\").replace("\\", "/").rpartition("/")[2] or source


def _can_show(char: str, encoding: str) -> bool:
    return char.isprintable() and (_is_utf8(encoding) or char == char.encode(encoding, "ignore").decode(encoding))


def _escaped(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")


def _is_utf8(encoding: str) -> bool:
    return encoding.lower().replace("_", "-").startswith("utf")


# Sections of a report, printed here and rendered into pages by ``page_table.html``.

Row = tuple[str, ...]

PERCENT: Final = 100.0


@dataclass(frozen=True, slots=True)
class Section:
    """One table with its title and caption.

    Attributes:
        title: Heading.
        caption: How to read the table; may be empty.
        headings: Of the columns; the first column names the rows.
        rows: As long as the headings.
        adds_up: Whether the last row sums up the others.
        bars: A share of -1..1 for each of the first rows, drawn as a bar on a terminal; empty without.
    """

    title: str
    caption: str
    headings: Row
    rows: Sequence[Row]
    adds_up: bool = False
    bars: tuple[float | None, ...] = ()


_BAR_CELLS = 10
_COLUMNS_FOR_BARS = 75


def page_columns(console: Console) -> int:
    """Return how wide a report is: the terminal's width, at most 80."""
    return min(console.width, PAGE_COLUMNS)


def print_section(section: Section, console: Console) -> None:
    """Print a table under its heading; text from outside cannot drive the terminal."""
    print_heading(section.title, section.caption, console)
    body = section.rows[:-1] if section.adds_up else section.rows
    table = new_table(*(words(heading, console) for heading in section.headings), footer=section.adds_up)
    if section.bars:
        table.add_column("", no_wrap=True, overflow="crop")
    for index, row in enumerate(body):
        cells: list[str | Text] = [printable(words(cell, console), console) for cell in row]
        if section.bars:
            cells.append(_bar(section.bars[index], console))
        add_row(table, *cells)
    if section.adds_up:
        last = [printable(words(cell, console), console) for cell in section.rows[-1]]
        for column, cell in zip(table.columns, [*last, ""], strict=False):
            column.footer = Text(cell)
    print_table(table, console)


def _bar(share: float | None, console: Console) -> Text:
    """Draw a share of -1..1 as a bar, red below zero; nothing where there is no room."""
    if share is None or page_columns(console) < _COLUMNS_FOR_BARS:
        return Text("")
    cells = round(abs(share) * _BAR_CELLS)
    return Text(words("█" * cells, console), style="green" if share > 0 else "red")


def print_heading(title: str, caption: str, console: Console) -> None:
    """Print a heading and, below it, how to read the table that follows."""
    console.print()
    console.print(Text(title, style="bold"))
    if caption:
        console.print(Text(printable(words(caption, console), console), style="dim"), width=page_columns(console))


def new_table(first: str, *numbers: str, footer: bool = False) -> Table:
    """Return an empty table: a column of names, then columns of numbers. Cells fold on a page too narrow for them."""
    table = Table(box=box.SIMPLE, show_edge=False, pad_edge=False, show_footer=footer, footer_style="bold")
    table.add_column(first, overflow="fold")
    for heading in numbers:
        table.add_column(heading, justify="right", overflow="fold")
    return table


def add_row(table: Table, *cells: str | Text) -> None:
    """Add a row whose strings are shown as they are, never read as markup."""
    table.add_row(*(Text(cell) if isinstance(cell, str) else cell for cell in cells))


_BETWEEN = 3
"""Cells between two columns of a table."""

_LONGEST_WORD = 16
"""Longer words of a cell, such as paths and digests, may be folded; those of a heading never."""


def print_table(table: Table, console: Console) -> None:
    """Print a table no wider than the page. Where whole words do not fit side by side, rows become lists.

    Words of a column with ``no_wrap`` are never folded there, however long.
    """
    room = page_columns(console)
    if not table.show_header:
        console.print(table, width=room)
        return
    cells = [_plain_cells(column, footer=table.show_footer) for column in table.columns]
    longest = [room if column.no_wrap else _LONGEST_WORD for column in table.columns]
    widths = _column_widths(cells, longest, room - _BETWEEN * (len(cells) - 1))
    if widths is None:
        _print_rows_as_lists(cells, console, room)
        return
    for column, width in zip(table.columns, widths, strict=True):
        column.width = width
    console.print(table, width=room)


def _plain_cells(column: Column, *, footer: bool) -> list[str]:
    """Return heading and cells of a column."""
    parts = [column.header, *column.cells, *([column.footer] if footer else [])]
    return [part.plain if isinstance(part, Text) else str(part) for part in parts]


def table_width(rows: Sequence[Sequence[str]]) -> int:
    """Return how wide a table is whose cells are not folded."""
    widths = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
    return sum(widths) + _BETWEEN * (len(widths) - 1)


def _column_widths(cells: Sequence[Sequence[str]], longest: Sequence[int], room: int) -> list[int] | None:
    """Share the room among columns so that no word up to the longest is split; None where there is too little."""
    least, most = [], []
    for (heading, *rest), limit in zip(cells, longest, strict=True):
        words = [min(cell_len(word), limit) for cell in rest for word in cell.split()]
        least.append(max([cell_len(word) for word in heading.split()] + words, default=0))
        most.append(max(cell_len(cell) for cell in (heading, *rest)))
    spare = room - sum(least)
    if spare < 0:
        return None
    for index in sorted(range(len(least)), key=lambda index: most[index] - least[index]):
        wanted = min(most[index] - least[index], spare)
        least[index] += wanted
        spare -= wanted
    return least


def _print_rows_as_lists(cells: Sequence[Sequence[str]], console: Console, room: int) -> None:
    headings = [heading for heading, *_ in cells]
    if headings[0]:
        console.print(Text(f"{headings[0]}:", style="dim"), width=room)
    for row in zip(*(rest for _, *rest in cells), strict=True):
        console.print(Text(row[0] or "-", style="bold", overflow="fold"), width=room)
        grid = Table.grid(padding=(0, 2))
        grid.add_column(style="dim", no_wrap=True)
        grid.add_column(overflow="fold")
        for heading, cell in zip(headings[1:], row[1:], strict=True):
            if cell:
                grid.add_row(Text(f"  {heading}".rstrip()), Text(cell))
        console.print(grid, width=room)


def facts_grid(facts: Iterable[tuple[str | Text, str | Text]], console: Console) -> Table:
    """Return names with their values beside them. Strings may come from outside."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in facts:
        add_row(grid, name, printable(words(value, console), console) if isinstance(value, str) else value)
    return grid


def path_fact(source: str, console: Console) -> list[tuple[str | Text, str | Text]]:
    """Return where a file lies, for the facts of a panel whose title is its name; empty where the name says it all."""
    return [] if file_name(source) == source else [("file", Text(printable(source, console), style="dim"))]


def print_panel(source: str, headline: Text, facts: Table, console: Console) -> None:
    """Print the panel that opens a result: the name of its file on the border, a headline, and facts."""
    content = Table.grid()
    content.add_row(headline)
    if facts.row_count:
        content.add_row(facts)
    columns = page_columns(console)
    title = Text(shorten(printable(file_name(source), console), columns - 8), style="bold cyan")
    console.print(Panel(content, title=title, title_align="left", box=box.ROUNDED, width=columns, padding=(0, 2)))


def node_attention_section(
    names: Sequence[str], shares: Sequence[Sequence[float]], uniform: float, which: str
) -> Section:
    """Return how much each kind of node attends to each.

    Args:
        names: Of the kinds.
        shares: Attention of the column's kind to one node of the row's kind, 0..1.
        uniform: Attention without preference.
        which: Which layers and heads, as a sentence; may be empty.
    """
    caption = (
        f"{which} Each column attends to the rows: percent of its attention per node of that kind; in brackets the "
        f"difference from no preference, {PERCENT * uniform:.2f}."
    )
    rows = [
        (name, *(f"{PERCENT * cell:.2f} ({signed(PERCENT * (cell - uniform))})" for cell in row))
        for name, row in zip(names, shares, strict=True)
    ]
    return Section("Graph attention by kind of node", caption.strip(), ("from / to", *names), rows)


STAGE_ATTENTION_CAPTION: Final = (
    "Each row shares 100 percent among the columns; a stage sees itself and earlier stages only."
)


def stage_attention_rows(labels: Sequence[str], matrix: Sequence[Sequence[float]]) -> list[Row]:
    """Write a matrix whose rows sum to 1 in percent, with a dash for a stage that lies ahead."""
    return [
        (
            label,
            *("-" if column > index and cell == 0 else f"{PERCENT * cell:.1f}" for column, cell in enumerate(row)),
        )
        for index, (label, row) in enumerate(zip(labels, matrix, strict=True))
    ]


# Progress and notes on standard error. Progress is hidden without a terminal, both with --quiet.


def is_quiet() -> bool:
    """Tell whether the log shows errors alone, as --quiet has it."""
    return logging.getLogger("finecausal_cli").getEffectiveLevel() >= logging.ERROR


def error_console(*, quiet: bool | None = None) -> Console:
    """Return a console on standard error.

    Args:
        quiet: Print nothing; None follows `is_quiet`.
    """
    is_silent = is_quiet() if quiet is None else quiet
    return Console(stderr=True, highlight=False, markup=False, emoji=False, quiet=is_silent)


@contextmanager
def working(what: str) -> Iterator[None]:
    """Show what is done and for how long already while a block runs; on a terminal only."""
    with searching(what, None):
        yield


@contextmanager
def searching(what: str, ahead: ReadAhead | None) -> Iterator[None]:
    """Show how far the dive search is and how long it will take, then how long the rest takes; on a terminal only."""
    console = error_console()
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn(), _Remaining())
    with Progress(*columns, console=console, transient=True, disable=console.quiet or not console.is_terminal) as bar:
        task = bar.add_task(what, total=None)

        def show(share: float) -> None:
            is_searched = share >= 1
            description, total = (what, None) if is_searched else ("searching the video", 1.0)
            if bar.tasks[task].total != total:
                bar.reset(task, total=total, description=description)
            bar.update(task, completed=0.0 if is_searched else share)

        if ahead is not None:
            ahead.progress = show
        yield


_COLUMNS_FOR_TIME_SPENT = 60
_PER_SECOND = 1.0
"""Speed from which it is given by the second; by the minute below."""


class _Rate(ProgressColumn):
    """Steps done a second or a minute."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else rate_in_words(speed))


class _Remaining(TimeRemainingColumn):
    """The time left, with a word that tells it from the time spent."""

    def render(self, task: Task) -> Text:
        return Text.assemble(super().render(task), " left") if task.total is not None and task.speed else Text("")


def rate_in_words(per_second: float) -> str:
    """Write a rate as people read it: ``12/s``, ``7.5/min``."""
    value, unit = (per_second, "s") if per_second >= _PER_SECOND else (60 * per_second, "min")
    return f"{value:.0f}/{unit}" if value >= 10 else f"{value:.1f}/{unit}"


def progress_bar(console: Console | None = None) -> Progress:
    """Return a progress bar with count, rate, time spent and time left; it vanishes when done.

    Args:
        console: Where it is drawn; standard error when absent. A narrow one has room for the time left alone.
    """
    console = console or error_console()
    is_wide = console.width >= _COLUMNS_FOR_TIME_SPENT
    times = (TimeElapsedColumn(), _Remaining()) if is_wide else (TimeRemainingColumn(compact=True),)
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        _Rate(),
        *times,
        console=console,
        transient=True,
        disable=console.quiet or not console.is_terminal,
    )


class BarDisplay:
    """Context manager of a progress bar on standard error; hidden without a terminal.

    Args:
        quiet: Show neither bar nor lines.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self._console = error_console(quiet=quiet or is_quiet())
        self._bar = progress_bar(self._console)

    @property
    def bar(self) -> Progress:
        """The bar."""
        return self._bar

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()


# Words.

STAGE_WORDS: Final[dict[StageName, str]] = {"takeoff": "take-off", "flight": "flight", "entry": "entry"}
"""What people call the stages."""


# Rounding.

HUNDREDTHS = 100
_TOLERANCE = 0.015
"""More than rounding can explain, also where the total is a difference of two rounded values."""


def hundredths_that_add_up(parts: Sequence[float], total: float) -> list[float]:
    """Round parts to 0.01 so that the rounded parts add up to the rounded total.

    Largest remainder: all are rounded down, then those that lost most get 0.01 back; each ends within 0.02 of
    its value.

    Args:
        parts: Values that add up to ``total`` but for floating point.
        total: Their sum, or that sum rounded.

    Raises:
        ValueError: When the parts do not add up to the total.
    """
    if abs(math.fsum(parts) - total) > _TOLERANCE:
        raise ValueError(f"parts {list(parts)} add up to {math.fsum(parts)}, not to {total}")
    scaled = [round(part * HUNDREDTHS, 6) for part in parts]
    counts = [math.floor(value) for value in scaled]
    missing = round(total * HUNDREDTHS) - sum(counts)
    by_loss = sorted(range(len(parts)), key=lambda index: counts[index] - scaled[index])
    for step in range(abs(missing)):
        index = by_loss[step % len(parts)] if missing > 0 else by_loss[-1 - step % len(parts)]
        counts[index] += 1 if missing > 0 else -1
    return [count / HUNDREDTHS for count in counts]


def signed(value: float, digits: int = 2) -> str:
    """Write a change with its sign, and zero without a minus."""
    return f"{round(value, digits) + 0.0:+.{digits}f}"
