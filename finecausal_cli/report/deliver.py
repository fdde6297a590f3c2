"""Hand a verdict, an explanation or a comparison over: as a table or JSON, to standard output or a file."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from finecausal_cli.report.document import to_json
from finecausal_cli.report.terminal import open_console
from finecausal_cli.whole_file import whole_file

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from rich.console import Console

    from finecausal_cli.assess.assessment import Value

T = TypeVar("T", bound="Value")


def deliver(
    value: T,
    output_format: str,
    output: Path | None,
    print_table: Callable[[T, Console], None],
) -> None:
    """Write a value where and how the user wants it.

    Args:
        value: The verdict.
        output_format: ``table`` or ``json``.
        output: A file, or None for standard output.
        print_table: Prints it for a person.

    Raises:
        OutputError: The file cannot be written.
    """
    if output is None:
        console = open_console()
        if output_format == "json":
            console.file.write(to_json(value) + "\n")
        else:
            print_table(value, console)
        return
    with whole_file(output, "the result") as part, part.open("w", encoding="utf-8") as stream:
        if output_format == "json":
            stream.write(to_json(value) + "\n")
        else:
            print_table(value, open_console(stream))
