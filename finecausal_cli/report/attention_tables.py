"""Where the model looked, as two tables: kinds of nodes of the intervention graph, and stages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from finecausal_cli.assess.assessment import NODE_TYPES
from finecausal_cli.report.layout import add_row, new_table, print_section, print_table
from finecausal_cli.report.rounding import signed

if TYPE_CHECKING:
    from rich.console import Console

    from finecausal_cli.assess.assessment import Assessment, Attention

_PERCENT = 100.0


def print_node_attention(attention: Attention, console: Console) -> None:
    """Print how much each kind of node listens to each, in percent, and the difference from no preference."""
    print_section(
        "Graph attention by kind of node",
        f"Each column listens to the rows. Percent of its attention for one node of that kind; in brackets the "
        f"difference from no preference, {_PERCENT * attention.node_uniform:.2f}.",
        console,
    )
    names = [name.replace("_", " ") for name in NODE_TYPES]
    table = new_table("from / to", *names)
    for name, row in zip(names, attention.node_types, strict=True):
        add_row(table, name, *(_against_uniform(cell, attention.node_uniform) for cell in row))
    print_table(table, console)


def print_stage_attention(attention: Attention, assessment: Assessment, console: Console) -> None:
    """Print how much each stage attends to itself and to the earlier ones, in percent."""
    print_section(
        "Stage attention of the query",
        "Each row shares 100 percent among the columns; a stage sees itself and earlier stages only.",
        console,
    )
    names = [stage.name for stage in assessment.stages]
    table = new_table("stage", *names)
    for index, (name, row) in enumerate(zip(names, attention.stages, strict=True)):
        cells = [f"{_PERCENT * cell:.1f}" for cell in row[: index + 1]]
        later = ["-" if cell == 0 else f"{_PERCENT * cell:.1f}" for cell in row[index + 1 :]]
        add_row(table, name, *cells, *later)
    print_table(table, console)


def _against_uniform(cell: float, uniform: float) -> Text:
    difference = _PERCENT * (cell - uniform)
    style = "green" if difference > 0 else "red"
    return Text.assemble(f"{_PERCENT * cell:.2f} ", (f"({signed(difference)})", style))
