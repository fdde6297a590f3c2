"""The score of a dive in the terminal."""

from __future__ import annotations

import os
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

from rich import box
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from finecausal_cli.batch.inputs import MANIFEST_SUFFIXES
from finecausal_cli.diving import MAX_EXECUTION, describe_dive, parse_dive_number
from finecausal_cli.errors import DiveNumberError, FinecausalError
from finecausal_cli.report.console import (
    add_row,
    error_console,
    hundredths_that_add_up,
    new_table,
    page_columns,
    print_section,
    print_table,
    printable,
    set_footer,
    shorten,
    signed,
    words,
)
from finecausal_cli.report.output import deliver
from finecausal_cli.scoring import ScoreOptions, keep_corrections, resolve_corrections
from finecausal_cli.scoring.dive_reading import ReadAhead, viewing_of
from finecausal_cli.scoring.dives import SLOW_FROM
from finecausal_cli.scoring.results import NODE_TYPES, Assessment, Unscored
from finecausal_cli.video import CLIP_FRAMES
from finecausal_cli.weights import read_manifest
from finecausal_cli.weights.hub import SCHEME, list_readers, resolve_weights

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from rich.console import Console

    from finecausal_cli.errors import RefusedError
    from finecausal_cli.scoring.results import Attention, Stage


# Where the model looked, as two tables: kinds of nodes of the intervention graph, and stages.

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


# The verdict on one dive for a person: a panel and tables that read well at 80 columns.
#
# ``finecausal score`` prints ``print_assessment``; ``explanation.py`` puts parts of it among the reasons. Numbers are
# rounded so that the columns that are sums still add up as shown.

_BAR_CELLS = 10
_COLUMNS_FOR_BARS = 75


def print_assessment(assessment: Assessment, console: Console) -> None:
    """Print the verdict: score, stages, voters, attention where present, provenance and caveats."""
    print_verdict(assessment, console)
    print_stages(assessment, console)
    print_votes(assessment, console)
    _print_attention(assessment, console)
    print_provenance(assessment, console)


def print_verdict(assessment: Assessment, console: Console) -> None:
    """Print the panel: the score, how sure it is, and what it is made of; before it, if it was scored by force."""
    if assessment.forced is not None:
        said = f"SCORED BY FORCE, though {printable(assessment.forced, console)}: these points may mean nothing."
        console.print(Text(said, style="bold red"), width=page_columns(console))
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="dim", no_wrap=True)
    facts.add_column(overflow="fold")
    add_row(facts, "dive", _dive_in_words(assessment, console))
    add_row(facts, "", Text(printable(assessment.dive_from, console), style="dim"))
    add_row(facts, "execution", f"{assessment.execution:.2f} of {MAX_EXECUTION:g}, score / difficulty")
    add_row(
        facts,
        "difficulty",
        f"{difficulty_in_digits(assessment.difficulty)}, {printable(assessment.difficulty_from, console)}",
    )
    for label, said in (("flight", flight_in_words(assessment)), ("", athlete_in_words(assessment))):
        if said:
            add_row(facts, label, said)
    headline = Text.assemble((f"{assessment.score:.2f}", "bold green"), " points")
    if assessment.interval is not None:
        interval = assessment.interval
        headline.append(f"    {interval.level:.0%} interval {interval.low:.2f} to {interval.high:.2f}")
    content = Table.grid()
    content.add_row(headline)
    content.add_row(facts)
    columns = page_columns(console)
    title = Text(shorten(printable(assessment.source, console), columns - 8), style="bold cyan")
    console.print(Panel(content, title=title, title_align="left", box=box.ROUNDED, width=columns, padding=(0, 2)))


def flight_in_words(found: Assessment | Unscored) -> str:
    """Say when the flight is, in the file and in real time; nothing where that is not known."""
    begin, end = found.flight_start_s, found.entry_start_s
    if begin is None or end is None:
        known = (("take-off", begin), ("entry", end))
        return ", ".join(f"{name} at {time:.2f} s" for name, time in known if time is not None)
    scale = found.time_scale or 1.0
    said = f"{begin:.2f} to {end:.2f} s"
    if scale < SLOW_FROM:
        return f"{said}, {end - begin:.2f} s in the air"
    return f"{said} of the file, {(end - begin) / scale:.2f} s in the air: {scale:.1f} times slow motion"


def athlete_in_words(found: Assessment | Unscored) -> str:
    """Say in how many frames the athlete is seen; nothing without a reader."""
    return "" if found.athlete_seen is None else f"athlete seen in {found.athlete_seen} of {CLIP_FRAMES} frames"


def _dive_in_words(assessment: Assessment, console: Console) -> str:
    if assessment.dive is None:
        said = "not known"
    else:
        said = printable(assessment.dive, console)
        try:
            said += f"  {words(describe_dive(parse_dive_number(assessment.dive)), console)}"
        except DiveNumberError:
            said += "  (not a dive number)"
    return said if assessment.height_m is None else f"{said}, {assessment.height_m:g} m"


def print_stages(assessment: Assessment, console: Console) -> None:
    """Print what each stage wins or loses against the exemplars; the last column adds up to the score."""
    print_section(
        "Stages against the exemplars",
        "Points won or lost against the exemplars, times the weight of the stage: from their mean to the score.",
        console,
    )
    stages = assessment.stages
    contributions = [stage.contribution for stage in stages]
    start, *shown = hundredths_that_add_up([assessment.exemplar_score, *contributions], assessment.score)
    longest = max(1e-9, *(abs(value) for value in shown))
    table = new_table("stage", "time (s)", "against exemplars", "weight", "points", footer=True)
    table.add_column("", no_wrap=True, overflow="crop")
    add_row(table, _exemplars(assessment), "", "", "", f"{start:.2f}")
    for stage, value in zip(stages, shown, strict=True):
        add_row(
            table,
            stage.name,
            _time_range(stage),
            signed(stage.difference * assessment.difficulty),
            f"{stage.weight:.0%}",
            signed(value),
            _bar(value / longest, console),
        )
    set_footer(table, ["score", "", "", "", f"{sum((start, *shown)):.2f}", ""])
    print_table(table, console)


def print_votes(assessment: Assessment, console: Console) -> None:
    """Print what each exemplar says, and how the exemplars were chosen."""
    votes = assessment.votes
    print_section(
        "Voters",
        "Score of the dive by each exemplar alone: (its execution + difference) × difficulty.",
        console,
    )
    table = new_table("exemplar", "dive", "similarity", "execution", "difference", "score", footer=len(votes) > 1)
    for vote in votes:
        add_row(
            table,
            printable(vote.exemplar, console),
            printable(vote.dive, console),
            f"{vote.similarity:.3f}",
            f"{vote.execution:.2f}",
            signed(vote.difference),
            f"{vote.score:.2f}",
        )
    execution = sum(vote.execution for vote in votes) / len(votes)
    difference = sum(vote.difference for vote in votes) / len(votes)
    set_footer(table, ["mean", "", "", f"{execution:.2f}", signed(difference), f"{assessment.score:.2f}"])
    print_table(table, console)
    console.print(
        Text(f"chosen: {printable(assessment.provenance.exemplars_chosen, console)}"), width=page_columns(console)
    )


def _print_attention(assessment: Assessment, console: Console) -> None:
    if assessment.attention is not None:
        print_node_attention(assessment.attention, console)
        print_stage_attention(assessment.attention, assessment, console)


def print_provenance(assessment: Assessment, console: Console, *, notes: bool = True) -> None:
    """Print what produced the verdict and, unless another place shows them, the caveats."""
    made = assessment.provenance
    lines = Table.grid(padding=(0, 2))
    lines.add_column(style="dim", no_wrap=True)
    lines.add_column(overflow="fold")
    add_row(
        lines,
        "weights",
        f"{printable(made.weights, console)} ({made.weights_digest[:12]}): {printable(made.weights_note, console)}",
    )
    add_row(lines, "bank", f"{printable(made.bank, console)} ({made.bank_digest[:12]})")
    run = f"{made.device}, {made.precision}, decoded by {made.decoder}, {made.seconds:.1f} s"
    add_row(lines, "run", f"{run}, finecausal {made.version}")
    for note in assessment.notes if notes else ():
        add_row(lines, Text("note", style="yellow"), printable(note, console))
    console.print()
    console.print(lines, width=page_columns(console))


def _exemplars(assessment: Assessment) -> str:
    count = len(assessment.votes)
    return "exemplar" if count == 1 else f"{count} exemplars"


def _time_range(stage: Stage) -> str:
    return f"{stage.start_s:.2f}-{stage.end_s:.2f}"


def _bar(share: float, console: Console) -> Text:
    """Draw a share of -1..1 as a bar, red below zero; nothing where there is no room."""
    cells = round(abs(share) * _BAR_CELLS) if page_columns(console) >= _COLUMNS_FOR_BARS else 0
    return Text(words("█" * cells, console), style="green" if share > 0 else "red")


def difficulty_in_digits(value: float) -> str:
    """Write a difficulty with at least one and at most three decimals."""
    return f"{value:.1f}" if round(value, 1) == round(value, 3) else f"{round(value, 3):g}"


# A clip without points for a person: why, what to do, and what is known of it all the same.

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


# Begin to find and read a dive before torch is imported and the weights are loaded: that takes as long.

_USUAL_SQUARE: Final = 256
"""Side of the squares for the athlete reader that comes with the package; for another one the file is read again."""


@contextmanager
def reading_ahead(path: str, options: Mapping[str, Any], weights: str) -> Iterator[ReadAhead | None]:
    """Read a file ahead while a block runs.

    Args:
        path: The only dive that is asked for.
        options: Arguments of ``ScoreOptions``.
        weights: The weights that will judge.

    Yields:
        What reads; None where it is no plain video file, or something is wrong that is said better later.
    """
    ahead = _begin(path, options, weights)
    if ahead is None:
        yield None
        return
    with ahead:
        yield ahead


def _begin(path: str, options: Mapping[str, Any], weights: str) -> ReadAhead | None:
    is_file = os.path.isfile(path) and os.path.splitext(path)[1].lower() not in MANIFEST_SUFFIXES  # noqa: PTH113, PTH122
    if not is_file or weights.startswith(SCHEME) or find_spec("av") is None:
        return None
    try:
        asked = ScoreOptions(**options)
        corrections, _ = resolve_corrections(path, asked.corrections, asked.start_s, asked.end_s)
        config = read_manifest(resolve_weights(weights)).model
    except (FinecausalError, OSError, ValueError):
        return None
    viewing = viewing_of(config, _USUAL_SQUARE if list_readers() else None)
    return ReadAhead(path, asked.corrected(corrections).wanted, viewing, timeout_s=asked.timeout_s or 120.0)
