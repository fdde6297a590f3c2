"""Two dives against each other: for a person at a terminal, and as one page that needs nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich import box
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from finecausal_cli.report import comparison_rows as rows
from finecausal_cli.report.explanation import print_rows
from finecausal_cli.report.filmstrip import STAGE_COLOURS, Reel, key_frames
from finecausal_cli.report.layout import add_row, page_columns
from finecausal_cli.report.page import render_page
from finecausal_cli.report.terminal import printable
from finecausal_cli.version import __version__
from finecausal_cli.whole_file import whole_file

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

    from finecausal_cli.assess.comparison import Comparison
    from finecausal_cli.assess.foreground import Evidence

_TEMPLATE = "comparison_page.html"


def print_comparison(comparison: Comparison, console: Console) -> None:
    """Print who is better and by how much, then the tables behind it; limits and provenance last."""
    for name, dive in (("A", comparison.query), ("B", comparison.exemplar)):
        if dive.forced is not None:
            said = f"COMPARED BY FORCE, though of {name} {printable(dive.forced, console)}: this may mean nothing."
            console.print(Text(said, style="bold red"), width=page_columns(console))
    content = Table.grid()
    content.add_row(Text(rows.standing(comparison), style="bold green"))
    content.add_row(_named(rows.facts(comparison), console))
    columns = page_columns(console)
    title = Text("A against B", style="bold cyan")
    console.print(Panel(content, title=title, title_align="left", box=box.ROUNDED, width=columns, padding=(0, 2)))
    for section in rows.all_sections(comparison):
        print_rows(section, console)
    made = comparison.provenance
    end = [("note", limit) for limit in rows.limits_of_comparison(comparison)]
    end.append(("weights", f"{made.weights} ({made.weights_digest[:12]})"))
    decoders = " and ".join(dict.fromkeys((comparison.query.decoder, comparison.exemplar.decoder)))
    run = f"{made.device}, {made.precision}, decoded by {decoders}, {made.seconds:.1f} s, finecausal {made.version}"
    end.append(("run", run))
    console.print()
    console.print(_named(end, console), width=columns)


def write_comparison_page(path: Path, comparison: Comparison, evidence: tuple[Evidence, Evidence]) -> None:
    """Write the page, with the key frames of both dives side by side, as one file without any request to elsewhere.

    Raises:
        OutputError: The file cannot be written.
    """
    text = comparison_page(comparison, evidence)
    with whole_file(path, "the report") as part:
        part.write_text(text, encoding="utf-8", errors="replace")


def comparison_page(comparison: Comparison, evidence: tuple[Evidence, Evidence]) -> str:
    """Return the page; everything from outside is escaped."""
    strips = [key_frames(reel) for reel in reels_of(comparison, evidence)]
    return render_page(
        _TEMPLATE,
        version=__version__,
        a=comparison.query.source,
        b=comparison.exemplar.source,
        standing=rows.standing(comparison),
        facts=rows.facts(comparison),
        summary=rows.summarise_comparison(comparison),
        stages=[
            (stage.name, list(zip("AB", (strip[stage.name] for strip in strips), times, strict=True)))
            for stage, *times in zip(
                comparison.stages,
                rows.segments(comparison, "query"),
                rows.segments(comparison, "exemplar"),
                strict=True,
            )
        ],
        colours=STAGE_COLOURS,
        tables=rows.all_sections(comparison),
        limits=rows.limits_of_comparison(comparison),
        made=comparison.provenance,
    )


def reels_of(comparison: Comparison, evidence: tuple[Evidence, Evidence]) -> tuple[Reel, Reel]:
    """Return both dives as reels whose key frames are aligned by stage."""
    query, exemplar = evidence
    return (
        Reel(comparison.query.source, query, rows.stage_borders(comparison, "query")),
        Reel(comparison.exemplar.source, exemplar, rows.stage_borders(comparison, "exemplar")),
    )


def _named(facts: list[tuple[str, str]], console: Console) -> Table:
    lines = Table.grid(padding=(0, 2))
    lines.add_column(style="dim", no_wrap=True)
    lines.add_column(overflow="fold")
    for name, said in facts:
        add_row(lines, name, printable(said, console))
    return lines
