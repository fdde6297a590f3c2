"""An explanation for a person at a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from finecausal_cli.report import attention_rows, explanation_rows
from finecausal_cli.report.explanation_words import limits_of, summarise_explanation
from finecausal_cli.report.layout import add_row, new_table, print_section, print_table
from finecausal_cli.report.tables import print_provenance, print_stages, print_verdict, print_votes
from finecausal_cli.report.terminal import printable, words

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from finecausal_cli.assess.explanation import Explanation
    from finecausal_cli.report.explanation_rows import Section

_SNIPPETS_SHOWN = 5


def print_explanation(explanation: Explanation, console: Console) -> None:
    """Print the verdict, what it says in words, and the tables behind it; voters, provenance and limits last."""
    assessment = explanation.assessment
    print_verdict(assessment, console)
    console.print()
    console.print(Text("In short", style="bold"))
    _print_points(summarise_explanation(explanation), console)
    print_rows(explanation_rows.timeline(explanation), console)
    print_stages(assessment, console)
    for section in explanation_rows.interventions(explanation):
        print_rows(section, console)
    if explanation.backgrounds:
        print_rows(explanation_rows.backgrounds(explanation), console)
    print_rows(explanation_rows.checks(explanation), console)
    graph = explanation.graph_attention
    if graph is not None:
        print_rows(attention_rows.snippets(explanation, _SNIPPETS_SHOWN), console)
        print_rows(attention_rows.node_attention(graph), console)
    stages = attention_rows.stage_attention(explanation)
    if stages is not None:
        print_rows(stages, console)
    print_votes(assessment, console)
    console.print()
    console.print(Text("Limits", style="bold"))
    _print_points(limits_of(explanation), console)
    print_provenance(assessment, console, notes=False)


def print_rows(section: Section, console: Console) -> None:
    """Print a table under its heading; what comes from outside cannot drive the terminal."""
    print_section(section.title, printable(words(section.say, console), console), console)
    table = new_table(*(words(heading, console) for heading in section.headings))
    for row in section.rows:
        add_row(table, *(printable(words(cell, console), console) for cell in row))
    print_table(table, console)


def _print_points(lines: Sequence[str], console: Console) -> None:
    """Print sentences as a list whose lines hang."""
    table = new_table("", "")
    table.show_header, table.box, table.padding = False, None, (0, 1, 0, 0)
    table.columns[1].justify = "left"
    for line in lines:
        add_row(table, "-", printable(words(line, console), console))
    print_table(table, console)
