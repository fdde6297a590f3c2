"""``finecausal dive``: what a dive number means and how difficult it is."""

from __future__ import annotations

from enum import Enum
from typing import Annotated

import typer


class DiveFormat(str, Enum):
    """How to print a dive."""

    TABLE = "table"
    JSON = "json"


def dive(
    number: Annotated[list[str], typer.Argument(help="Dive number such as 5253B; any case, blanks allowed.")],
    height: Annotated[
        float | None, typer.Option(help="Height in metres: 1, 3, 5, 7.5 or 10. Without it, every listed height.")
    ] = None,
    output_format: Annotated[DiveFormat, typer.Option("--format", help="How to print it.")] = DiveFormat.TABLE,
) -> None:
    """Say what a dive number means, digit by digit, and its degree of difficulty."""
    from finecausal_cli.diving.number import parse_dive_number
    from finecausal_cli.report.dive_card import dive_json, print_dive
    from finecausal_cli.report.terminal import open_console

    parsed = parse_dive_number(" ".join(number))
    if output_format is DiveFormat.JSON:
        typer.echo(dive_json(parsed, height))
    else:
        print_dive(parsed, height, open_console())
