"""Where tables are printed: a terminal, a pipe or a log file, in any encoding."""

from __future__ import annotations

import io
import os
import sys
from typing import IO

from rich.cells import cell_len
from rich.console import Console

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
