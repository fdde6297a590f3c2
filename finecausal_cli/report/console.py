"""The terminal: tables, progress, rounding, where output goes."""

from __future__ import annotations

import io
import math
import os
import sys
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import TracebackType

    from typing_extensions import Self

    from finecausal_cli.scoring.dive_reading import ReadAhead


# Where tables are printed: a terminal, a pipe or a log file, in any encoding.

PAGE_COLUMNS = 80
"""Nothing of ours is wider, so that a log reads as the terminal did."""

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
    """Return our own text as the stream can hold it, e.g. ``2 1/2`` for ``2½`` where it is not UTF-8."""
    return text if _is_utf8(console.encoding) else text.translate(_SPELLED_OUT).replace("  ", " ")


def printable(text: str, console: Console) -> str:
    """Return text from outside with what would drive the terminal, or break its encoding, shown as escapes."""
    return "".join(char if _can_show(char, console.encoding) else _escaped(char) for char in text)


def shorten(text: str, columns: int) -> str:
    """Keep the end of a long name, where names differ, behind ``...``."""
    if cell_len(text) <= columns:
        return text
    while cell_len(text) > columns - 3:
        text = text[1:]
    return f"...{text}"


def _can_show(char: str, encoding: str) -> bool:
    return char.isprintable() and (_is_utf8(encoding) or char == char.encode(encoding, "ignore").decode(encoding))


def _escaped(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")


def _is_utf8(encoding: str) -> bool:
    return encoding.lower().replace("_", "-").startswith("utf")


# The look that every table of a report shares.


def page_columns(console: Console) -> int:
    """Return how wide a report is: the terminal's width, at most 80."""
    return min(console.width, PAGE_COLUMNS)


def print_section(title: str, explanation: str, console: Console) -> None:
    """Print a heading and, below it, how to read the table that follows."""
    console.print()
    console.print(Text(title, style="bold"))
    console.print(Text(words(explanation, console), style="dim"), width=page_columns(console))


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


def set_footer(table: Table, cells: Sequence[str]) -> None:
    """Put the sums below a table."""
    for column, cell in zip(table.columns, cells, strict=True):
        column.footer = cell


def print_table(table: Table, console: Console) -> None:
    """Print a table no wider than the page."""
    console.print(table, width=page_columns(console))


# Show on standard error that something is going on; silent where nobody watches.


def error_console() -> Console:
    """Return the console for everything that is not data."""
    return Console(stderr=True, highlight=False, markup=False, emoji=False)


@contextmanager
def working(what: str) -> Iterator[None]:
    """Show a spinner while a block runs, on a terminal only."""
    console = error_console()
    if console.is_terminal:
        with console.status(f"{what} ..."):
            yield
    else:
        yield


@contextmanager
def searching(what: str, ahead: ReadAhead | None) -> Iterator[None]:
    """Show a spinner while a block runs, and how far the search in a video is; on a terminal only."""
    console = error_console()
    if not console.is_terminal:
        yield
        return
    with console.status(f"{what} ...") as status:
        if ahead is not None:
            ahead.progress = lambda share: status.update(f"{what} ... searched {share:.0%} of the video")
        yield


def progress_bar(console: Console) -> Progress:
    """Return a progress bar with count, time spent and time left; it vanishes when done."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )


class BarDisplay:
    """A context in which a progress bar stands on standard error; silent where nobody watches.

    Args:
        quiet: Show nothing, lines neither.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self._console = error_console()
        self._console.quiet = quiet
        self._bar = progress_bar(self._console)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()


# Numbers as a reader sees them: rounded, and still adding up.

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
