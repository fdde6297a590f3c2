"""A comparison of two dives in the terminal and as a page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich import box
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from finecausal_cli.atomic import atomic_write
from finecausal_cli.report.console import add_row, hundredths_that_add_up, page_columns, printable, signed
from finecausal_cli.report.explanation import Section, print_rows, time_code
from finecausal_cli.report.output import render_page
from finecausal_cli.report.overlay import STAGE_COLOURS, KeyFrameStrip, key_frames
from finecausal_cli.version import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from rich.console import Console

    from finecausal_cli.scoring.background import Evidence
    from finecausal_cli.scoring.results import Comparison, PairAttention, Place, Row3


# Two dives, A and B, against each other as words and tables, the same on a terminal and on a page.

Row = tuple[str, ...]

_PERCENT = 100.0
_NODE_NAMES = ("A", "B", "A fused", "B fused")
_EQUAL = 0.005
"""Below this, two values read the same at two decimals."""


def unit(comparison: Comparison) -> tuple[float, str]:
    """Return what turns execution units into what is shown, and its name: points where the difficulty is known."""
    return (1.0, "of execution") if comparison.difficulty is None else (comparison.difficulty, "points")


def standing(comparison: Comparison) -> str:
    """Say in one line which dive is better, and by how much."""
    factor, name = unit(comparison)
    shown = comparison.difference * factor
    if abs(shown) < _EQUAL:
        return "A and B are equal to 0.01"
    return f"A is {abs(shown):.2f} {name} {'above' if shown > 0 else 'below'} B"


def summarise_comparison(comparison: Comparison) -> list[str]:
    """Return sentences of measured quantities only: who leads, where most of it comes from, what an exchange does."""
    factor, name = unit(comparison)
    said = [f"{standing(comparison)}."]
    largest = max(comparison.stages, key=lambda stage: abs(stage.contribution))
    share = largest.contribution * factor
    if abs(share) >= _EQUAL:
        leader = "A" if share > 0 else "B"
        said.append(f"The largest part is the {largest.name}: {abs(share):.2f} {name} for {leader}.")
        for one in comparison.exchanges:
            if one.stage == largest.name:
                letter, other = _given(one.given_to)
                after = signed(one.difference * factor)
                said.append(f"Had {letter} had {other}'s {one.stage}, A minus B would be {after}.")
    return said


def facts(comparison: Comparison) -> list[tuple[str, str]]:
    """Return what the comparison rests on, by name."""
    difficulty = comparison.difficulty
    degree = "" if difficulty is None else f"{difficulty:g}, "
    found = [
        ("A", comparison.query.source),
        ("B", comparison.exemplar.source),
        ("difficulty", f"{degree}{comparison.difficulty_from}"),
    ]
    origins = {"A": "that of B and the difference", "B": comparison.execution_from}
    for letter, dive in (("A", comparison.query), ("B", comparison.exemplar)):
        if dive.execution is not None:
            points = "" if dive.score is None else f"{dive.score:.2f} points, "
            origin = origins[letter]
            found.append((f"score of {letter}", f"{points}execution {dive.execution:.2f}: {origin}"))
    if comparison.exemplar.execution is None:
        found.append(("scores", comparison.execution_from))
    return found


def all_sections(comparison: Comparison) -> list[Section]:
    """Return every table, in reading order."""
    found = [contributions(comparison), borders(comparison), exchanges(comparison)]
    if comparison.attention is not None:
        found += [node_attention(comparison.attention), stage_attention(comparison, comparison.attention)]
    return found


def contributions(comparison: Comparison) -> Section:
    """What each stage adds to the difference; adds up as shown."""
    factor, name = unit(comparison)
    values = [stage.contribution * factor for stage in comparison.stages]
    shown = hundredths_that_add_up(values, comparison.difference * factor)
    rows = [
        (stage.name, signed(stage.difference * factor), f"{stage.weight:.0%}", signed(value))
        for stage, value in zip(comparison.stages, shown, strict=True)
    ]
    return Section(
        "Stages, A minus B",
        f"Difference of each stage times its weight, {name}: what the stage adds to A minus B.",
        ("stage", "difference", "weight", name),
        (*rows, ("A minus B", "", "", signed(sum(shown)))),
        adds_up=True,
    )


def borders(comparison: Comparison) -> Section:
    """When each stage takes place in both dives."""
    rows: list[Row] = []
    for first, second in zip(comparison.query.stages, comparison.exemplar.stages, strict=True):
        lasts = [round(one.end_s - one.start_s, 2) for one in (first, second)]
        rows.append(
            (
                first.name,
                time_code(first.start_s),
                f"{lasts[0]:.2f}",
                time_code(second.start_s),
                f"{lasts[1]:.2f}",
                signed(lasts[0] - lasts[1]),
            )
        )
    return Section(
        "When",
        "Where each stage begins in its video and how long it lasts, seconds; how much longer it is in A.",
        ("stage", "A begins", "A lasts", "B begins", "B lasts", "A longer"),
        tuple(rows),
    )


def exchanges(comparison: Comparison) -> Section:
    """What the difference would be, had one dive had the other's stage."""
    factor, name = unit(comparison)
    before = round(comparison.difference * factor, 2)
    rows: list[Row] = []
    for one in comparison.exchanges:
        letter, other = _given(one.given_to)
        after = round(one.difference * factor, 2)
        parts = hundredths_that_add_up([part * factor for part in one.stage_changes], after - before)
        change = signed(after - before)
        rows.append((f"{letter} with {other}'s {one.stage}", signed(after), change, *(signed(part) for part in parts)))
    return Section(
        "Interventions: stages exchanged",
        f"A minus B, {name}, had one dive had the other's stage; and what that changes in each stage. A stage can "
        "change later stages, never earlier ones.",
        ("exchange", "A minus B", "change", *(f"in {stage.name}" for stage in comparison.stages)),
        tuple(rows),
    )


def node_attention(attention: PairAttention) -> Section:
    """How much each kind of node listens to each."""
    return Section(
        "Graph attention by kind of node",
        "Mean of all layers and heads. Each column listens to the rows: percent of its attention for one node of that "
        f"kind; in brackets the difference from no preference, {_PERCENT * attention.node_uniform:.2f}.",
        ("from / to", *_NODE_NAMES),
        tuple(
            (name, *(f"{_PERCENT * cell:.2f} ({signed(_PERCENT * (cell - attention.node_uniform))})" for cell in row))
            for name, row in zip(_NODE_NAMES, attention.node_types, strict=True)
        ),
    )


def stage_attention(comparison: Comparison, attention: PairAttention) -> Section:
    """How much each stage of both dives attends to itself and to earlier ones."""
    names = [stage.name for stage in comparison.stages]
    return Section(
        "Stage attention",
        "Each row shares 100 percent among the columns; a stage sees itself and earlier stages only.",
        ("dive: stage", *names),
        (*_causal_rows("A", names, attention.query_stages), *_causal_rows("B", names, attention.exemplar_stages)),
    )


def segments(comparison: Comparison, place: Place) -> list[tuple[str, str, str]]:
    """Return name, begin and end of each stage of one dive, for headings."""
    dive = comparison.query if place == "query" else comparison.exemplar
    return [(stage.name, time_code(stage.start_s), time_code(stage.end_s)) for stage in dive.stages]


def limits_of_comparison(comparison: Comparison) -> list[str]:
    """Return every caveat: of the weights, of both clips, and how exactly the order of the dives only changes signs."""
    factor, name = unit(comparison)
    said = [f"The weights: {comparison.provenance.weights_note}."]
    said += [f"A: {note}" for note in comparison.query.notes]
    said += [f"B: {note}" for note in comparison.exemplar.notes]
    said += comparison.notes
    if comparison.antisymmetric:
        off = comparison.reversal_error * factor
        said.append(f"With A and B exchanged every difference is the negated one, to {off:.1g} {name} of rounding.")
    return said


def stage_borders(comparison: Comparison, place: Place) -> tuple[int, int, int, int]:
    """Return the first sampled frame of each stage of one dive, and 96."""
    stages = (comparison.query if place == "query" else comparison.exemplar).stages
    return stages[0].start_frame, stages[1].start_frame, stages[2].start_frame, stages[2].end_frame


def _given(given_to: Place) -> tuple[str, str]:
    return ("A", "B") if given_to == "query" else ("B", "A")


def _causal_rows(letter: str, names: Sequence[str], matrix: tuple[Row3, Row3, Row3]) -> list[Row]:
    """Write a matrix whose rows sum to 1 in percent, with a dash for a stage that lies ahead."""
    return [
        (
            f"{letter}: {name}",
            *("-" if place > stage and cell == 0 else f"{_PERCENT * cell:.1f}" for place, cell in enumerate(row)),
        )
        for stage, (name, row) in enumerate(zip(names, matrix, strict=True))
    ]


# Two dives against each other: for a person at a terminal, and as one page that needs nothing else.

_TEMPLATE = "comparison_page.html"


def print_comparison(comparison: Comparison, console: Console) -> None:
    """Print who is better and by how much, then the tables behind it; limits and provenance last."""
    for name, dive in (("A", comparison.query), ("B", comparison.exemplar)):
        if dive.forced is not None:
            said = f"COMPARED BY FORCE, though of {name} {printable(dive.forced, console)}: this may mean nothing."
            console.print(Text(said, style="bold red"), width=page_columns(console))
    content = Table.grid()
    content.add_row(Text(standing(comparison), style="bold green"))
    content.add_row(_named(facts(comparison), console))
    columns = page_columns(console)
    title = Text("A against B", style="bold cyan")
    console.print(Panel(content, title=title, title_align="left", box=box.ROUNDED, width=columns, padding=(0, 2)))
    for section in all_sections(comparison):
        print_rows(section, console)
    made = comparison.provenance
    end = [("note", limit) for limit in limits_of_comparison(comparison)]
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
    with atomic_write(path, "the report") as part:
        part.write_text(text, encoding="utf-8", errors="replace")


def comparison_page(comparison: Comparison, evidence: tuple[Evidence, Evidence]) -> str:
    """Return the page; everything from outside is escaped."""
    strips = [key_frames(reel) for reel in reels_of(comparison, evidence)]
    return render_page(
        _TEMPLATE,
        version=__version__,
        a=comparison.query.source,
        b=comparison.exemplar.source,
        standing=standing(comparison),
        facts=facts(comparison),
        summary=summarise_comparison(comparison),
        stages=[
            (stage.name, list(zip("AB", (strip[stage.name] for strip in strips), times, strict=True)))
            for stage, *times in zip(
                comparison.stages,
                segments(comparison, "query"),
                segments(comparison, "exemplar"),
                strict=True,
            )
        ],
        colours=STAGE_COLOURS,
        tables=all_sections(comparison),
        limits=limits_of_comparison(comparison),
        made=comparison.provenance,
    )


def reels_of(comparison: Comparison, evidence: tuple[Evidence, Evidence]) -> tuple[KeyFrameStrip, KeyFrameStrip]:
    """Return both dives as reels whose key frames are aligned by stage."""
    query, exemplar = evidence
    return (
        KeyFrameStrip(comparison.query.source, query, stage_borders(comparison, "query")),
        KeyFrameStrip(comparison.exemplar.source, exemplar, stage_borders(comparison, "exemplar")),
    )


def _named(facts: list[tuple[str, str]], console: Console) -> Table:
    lines = Table.grid(padding=(0, 2))
    lines.add_column(style="dim", no_wrap=True)
    lines.add_column(overflow="fold")
    for name, said in facts:
        add_row(lines, name, printable(said, console))
    return lines
