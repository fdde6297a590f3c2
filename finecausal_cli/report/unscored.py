"""A clip without points for a person: why, what to do, and what is known of it all the same."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich import box
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from finecausal_cli.assess.assessment import Assessment, Unscored
from finecausal_cli.assess.corrections import keep_corrections
from finecausal_cli.report.deliver import deliver
from finecausal_cli.report.layout import add_row, page_columns
from finecausal_cli.report.progress import error_console
from finecausal_cli.report.tables import athlete_in_words, flight_in_words, print_assessment
from finecausal_cli.report.terminal import printable, shorten

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

    from finecausal_cli.assess.score_options import ScoreOptions
    from finecausal_cli.errors import RefusedError

EXIT_REFUSED = 1


def print_finding(found: Assessment | Unscored, console: Console) -> None:
    """Print a verdict, or why there is none."""
    if isinstance(found, Assessment):
        print_assessment(found, console)
    else:
        print_unscored(found, console)


def print_unscored(found: Unscored, console: Console) -> None:
    """Print one panel: why there are no points, what to do, and what is known."""
    head = "REFUSED" if found.status == "refused" else "NO POINTS"
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="dim", no_wrap=True)
    facts.add_column(overflow="fold")
    if found.dive is not None:
        add_row(facts, "dive", printable(f"{found.dive}, {found.dive_from}", console))
    for label, said in (("flight", flight_in_words(found)), ("", athlete_in_words(found))):
        if said:
            add_row(facts, label, said)
    for note in found.notes:
        add_row(facts, Text("note", style="yellow"), printable(note, console))
    content = Table.grid()
    content.add_row(Text.assemble((head, "bold red"), f"  {printable(found.message, console)}"))
    if facts.row_count:
        content.add_row(facts)
    columns = page_columns(console)
    title = Text(shorten(printable(found.source, console), columns - 8), style="bold cyan")
    console.print(Panel(content, title=title, title_align="left", box=box.ROUNDED, width=columns, padding=(0, 2)))


def deliver_unscored(error: RefusedError, output_format: str, output: Path | None, *others: Path | None) -> int:
    """Deliver what stands in place of a verdict, and return the exit code.

    Args:
        error: What was raised in place of a verdict.
        output_format: ``table`` or ``json``.
        output: A file, or None for standard output.
        others: What would have been written too, and is not.

    Raises:
        RefusedError: It says no more than that.
        OutputError: The file cannot be written.
    """
    found = error.found
    if not isinstance(found, Unscored):
        raise error
    deliver(found, output_format, output, print_unscored)
    left = [str(path) for path in others if path is not None]
    if left:
        _note(f"not written, for there are no points to explain: {', '.join(left)}")
    return exit_code(found)


def exit_code(found: Any) -> int:
    """Return the exit code of a verdict: 1 for what is refused."""
    return EXIT_REFUSED if isinstance(found, Unscored) and found.status == "refused" else 0


def keep(path: str, options: ScoreOptions) -> None:
    """Keep what the options say of a dive beside its clip, and say so if that fails."""
    for note in keep_corrections(path, options.corrections, options.start_s, options.end_s):
        _note(note)


def _note(text: str) -> None:
    console = error_console()
    console.print(f"note: {printable(text, console)}", soft_wrap=True, style="dim")
