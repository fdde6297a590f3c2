"""Show the exemplars of a bank."""

from __future__ import annotations

from typing import TYPE_CHECKING

from finecausal_cli.report.layout import add_row, new_table, print_table
from finecausal_cli.report.terminal import printable

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from rich.console import Console

    from finecausal_cli.exemplars.bank import Exemplar


def print_exemplars(exemplars: Sequence[Exemplar], console: Console) -> None:
    """Print one line an exemplar."""
    table = new_table("exemplar", "dive", "height, m", "difficulty", "execution", "score")
    for one in exemplars:
        height = "-" if one.height_m is None else f"{one.height_m:g}"
        add_row(
            table,
            printable(one.id, console),
            one.dive or "-",
            height,
            f"{one.difficulty:g}",
            f"{one.execution:.2f}",
            f"{one.execution * one.difficulty:.2f}",
        )
    print_table(table, console)


def print_exemplar(exemplar: Exemplar, folder: Path, console: Console) -> None:
    """Print all that is known of one exemplar."""
    facts = {
        "exemplar": exemplar.id,
        "dive": exemplar.dive or "-",
        "height": "-" if exemplar.height_m is None else f"{exemplar.height_m:g} m",
        "difficulty": f"{exemplar.difficulty:g}",
        "execution": f"{exemplar.execution:.2f}",
        "score": f"{exemplar.execution * exemplar.difficulty:.2f}",
        "picture": "-" if exemplar.thumbnail is None else str(folder / exemplar.thumbnail),
        "origin": exemplar.origin or "-",
    }
    for name, value in facts.items():
        console.print(f"{name:<11} {printable(value, console)}", soft_wrap=True)
