"""The look that every table of a report shares."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich import box
from rich.table import Table
from rich.text import Text

from finecausal_cli.report.terminal import PAGE_COLUMNS, words

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console


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
