"""A comparison of two dives in the terminal and as a page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from finecausal_cli.atomic import atomic_write
from finecausal_cli.config import __version__
from finecausal_cli.diving import COUNTING_MARKS
from finecausal_cli.report.console import (
    STAGE_ATTENTION_CAPTION,
    STAGE_WORDS,
    Row,
    Section,
    facts_grid,
    file_name,
    hundredths_that_add_up,
    is_quiet,
    node_attention_section,
    page_columns,
    print_panel,
    print_section,
    signed,
    stage_attention_rows,
)
from finecausal_cli.report.explanation import time_code
from finecausal_cli.report.output import render_page
from finecausal_cli.report.overlay import STAGE_COLOURS, KeyFrameStrip, key_frames
from finecausal_cli.report.score import difficulty_in_digits, later_notes, print_first_lines
from finecausal_cli.scoring.dives import SLOW_FROM
from finecausal_cli.weights import caveat_of

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

    from finecausal_cli.scoring.background import Evidence
    from finecausal_cli.scoring.comparison_results import Comparison, PairAttention, PairSide


# Text and tables of a comparison of dives A and B, shared by terminal and page.

_NODE_NAMES = ("A", "B", "A fused", "B fused")
_EQUAL = 0.005
"""Below this, two values read the same at two decimals."""


def unit(comparison: Comparison) -> tuple[float, str]:
    """Return what turns execution into what is shown, and its name: points with a known difficulty, else marks."""
    return (1 / COUNTING_MARKS, "marks") if comparison.difficulty is None else (comparison.difficulty, "points")


def standing(comparison: Comparison) -> str:
    """Say in one line which dive is better, and by how much."""
    factor, name = unit(comparison)
    shown = comparison.difference * factor
    if abs(shown) < _EQUAL:
        return "A and B are equal to 0.01"
    return f"A is {abs(shown):.2f} {name} {'above' if shown > 0 else 'below'} B"


def summarise_comparison(comparison: Comparison) -> list[str]:
    """Return sentences of measured quantities: the leader, the largest stage, the effect of exchanging that stage."""
    factor, name = unit(comparison)
    sentences = [f"{standing(comparison)}."]
    largest = max(comparison.stages, key=lambda stage: abs(stage.contribution))
    share = largest.contribution * factor
    if abs(share) >= _EQUAL:
        leader = "A" if share > 0 else "B"
        sentences.append(f"The largest part is the {STAGE_WORDS[largest.name]}: {abs(share):.2f} {name} for {leader}.")
        for exchange in comparison.exchanges:
            if exchange.stage == largest.name:
                letter, other = _letters(exchange.given_to)
                after = signed(exchange.difference * factor)
                sentences.append(
                    f"Had {letter} had {other}'s {STAGE_WORDS[exchange.stage]}, A minus B would be {after}."
                )
    return sentences


def facts(comparison: Comparison) -> list[tuple[str, str]]:
    """Return sources, difficulty and scores by name."""
    difficulty = comparison.difficulty
    degree = "" if difficulty is None else f"{difficulty_in_digits(difficulty)}, "
    rows = [
        *_named("A", comparison.query.source),
        *_named("B", comparison.exemplar.source),
        *(("numbers", text) for text in (_numbers(comparison),) if text),
        ("difficulty", f"{degree}{comparison.difficulty_from}"),
    ]
    origins = {"A": "that of B and the difference", "B": comparison.execution_from}
    for letter, dive in (("A", comparison.query), ("B", comparison.exemplar)):
        if dive.execution is not None:
            points = "" if dive.score is None else f"{dive.score:.2f} points, "
            origin = origins[letter]
            mark = f"mark {dive.execution / COUNTING_MARKS:.2f} (execution {dive.execution:.2f})"
            rows.append((f"score of {letter}", f"{points}{mark}: {origin}"))
    if comparison.exemplar.execution is None:
        rows.append(("scores", comparison.execution_from))
    return rows


def _numbers(comparison: Comparison) -> str:
    """Say that the dives are, or may be, of different numbers; empty if they are of one."""
    first, second = (dive.dive or comparison.dive for dive in (comparison.query, comparison.exemplar))
    if first is not None and first == second:
        return ""
    is_sure = first is not None and second is not None
    return f"A {first or 'not sure'}, B {second or 'not sure'}: {'' if is_sure else 'perhaps '}different dives"


def _named(letter: str, source: str) -> list[tuple[str, str]]:
    """Return the name of a dive's file and, where that is more, where it lies."""
    name = file_name(source)
    return [(letter, name)] if name == source else [(letter, name), ("", source)]


def all_sections(comparison: Comparison) -> list[Section]:
    """Return every table, in reading order."""
    sections = [contributions(comparison), borders(comparison), exchanges(comparison)]
    if comparison.attention is not None:
        sections += [node_attention(comparison.attention), stage_attention(comparison, comparison.attention)]
    return sections


def contributions(comparison: Comparison) -> Section:
    """What each stage adds to the difference, in marks and in points; each column adds up as shown."""
    factors = {"marks": 1 / COUNTING_MARKS, unit(comparison)[1]: unit(comparison)[0]}
    columns = [
        hundredths_that_add_up(
            [stage.contribution * factor for stage in comparison.stages], comparison.difference * factor
        )
        for factor in factors.values()
    ]
    rows = [
        (STAGE_WORDS[stage.name], *(signed(column[row]) for column in columns))
        for row, stage in enumerate(comparison.stages)
    ]
    return Section(
        "Stages, A minus B",
        "What each stage adds to A minus B: in marks of a judge (0 to 10)"
        + (", and in points." if len(factors) > 1 else "."),
        ("stage", *factors),
        (*rows, ("A minus B", *(signed(sum(column)) for column in columns))),
        adds_up=True,
    )


def borders(comparison: Comparison) -> Section:
    """Begin, in its video, and real duration of each stage in both dives."""
    rows: list[Row] = []
    scales = [dive.time_scale or 1.0 for dive in (comparison.query, comparison.exemplar)]
    for first, second in zip(comparison.query.stages, comparison.exemplar.stages, strict=True):
        durations = [
            round((stage.end_s - stage.start_s) / scale, 2)
            for stage, scale in zip((first, second), scales, strict=True)
        ]
        rows.append(
            (
                STAGE_WORDS[first.name],
                time_code(first.start_s),
                f"{durations[0]:.2f}",
                time_code(second.start_s),
                f"{durations[1]:.2f}",
                signed(durations[0] - durations[1]),
            )
        )
    return Section(
        "When, and how long in real time",
        f"Where each stage begins in its video; how many seconds of real time it lasts{_slow(comparison)}; how much "
        "longer it is in A.",
        ("stage", "A begins", "A lasts", "B begins", "B lasts", "A longer"),
        tuple(rows),
    )


def _slow(comparison: Comparison) -> str:
    """Say, in brackets, which of the videos show their dive in slow motion, or may do so."""
    parts = [
        f"the speed of {letter} is not known: taken as real"
        if dive.time_scale is None
        else f"{letter} is shown {dive.time_scale:.1f} times slower"
        for letter, dive in (("A", comparison.query), ("B", comparison.exemplar))
        if dive.time_scale is None or dive.time_scale >= SLOW_FROM
    ]
    return f" ({', '.join(parts)})" if parts else ""


def exchanges(comparison: Comparison) -> Section:
    """The difference with one stage of a dive replaced by the other's."""
    factor, name = unit(comparison)
    before = round(comparison.difference * factor, 2)
    rows: list[Row] = []
    for exchange in comparison.exchanges:
        letter, other = _letters(exchange.given_to)
        after = round(exchange.difference * factor, 2)
        parts = hundredths_that_add_up([part * factor for part in exchange.stage_changes], after - before)
        change = signed(after - before)
        rows.append(
            (
                f"{letter} with {other}'s {STAGE_WORDS[exchange.stage]}",
                signed(after),
                change,
                *(signed(part) for part in parts),
            )
        )
    return Section(
        "Interventions: stages exchanged",
        f"A minus B, {name}, had one dive had the other's stage; and what that changes in each stage. A stage can "
        "change later stages, never earlier ones.",
        ("exchange", "A minus B", "change", *(f"in {STAGE_WORDS[stage.name]}" for stage in comparison.stages)),
        tuple(rows),
    )


def node_attention(attention: PairAttention) -> Section:
    """Attention between kinds of node."""
    which = "Mean of all layers and heads."
    return node_attention_section(_NODE_NAMES, attention.node_types, attention.node_uniform, which)


def stage_attention(comparison: Comparison, attention: PairAttention) -> Section:
    """Attention of each stage to itself and to earlier stages, for both dives."""
    names = [STAGE_WORDS[stage.name] for stage in comparison.stages]
    return Section(
        "Stage attention",
        STAGE_ATTENTION_CAPTION,
        ("dive: stage", *names),
        [
            row
            for letter, matrix in (("A", attention.query_stages), ("B", attention.exemplar_stages))
            for row in stage_attention_rows([f"{letter}: {name}" for name in names], matrix)
        ],
    )


def segments(comparison: Comparison, which: PairSide) -> list[tuple[str, str, str]]:
    """Return name, begin and end of each stage of one dive, for headings."""
    dive = comparison.query if which == "query" else comparison.exemplar
    return [(stage.name, time_code(stage.start_s), time_code(stage.end_s)) for stage in dive.stages]


def limits_of_comparison(comparison: Comparison) -> list[str]:
    """Return every caveat: of the weights, of both clips, and the error of antisymmetry."""
    factor, name = unit(comparison)
    sentences = [f"The weights: {comparison.provenance.weights_note}."]
    sentences += [f"A: {note}" for note in comparison.query.notes]
    sentences += [f"B: {note}" for note in comparison.exemplar.notes]
    sentences += later_notes(comparison.notes)
    if comparison.antisymmetric:
        off = comparison.reversal_error * factor
        sentences.append(
            f"With A and B exchanged every difference is the negated one, to {off:.1g} {name} of rounding."
        )
    return sentences


def stage_borders(comparison: Comparison, which: PairSide) -> tuple[int, int, int, int]:
    """Return the first sampled frame of each stage of one dive, and 96."""
    stages = (comparison.query if which == "query" else comparison.exemplar).stages
    return stages[0].start_frame, stages[1].start_frame, stages[2].start_frame, stages[2].end_frame


def _letters(given_to: PairSide) -> tuple[str, str]:
    return ("A", "B") if given_to == "query" else ("B", "A")


# The terminal output and the self-contained page.

_TEMPLATE = "comparison_page.html"


def first_lines(comparison: Comparison) -> list[str]:
    """Return what both forms say first: that it was forced, and what the weights were trained on."""
    lines = [
        f"COMPARED BY FORCE, though of {name} {dive.forced}: this may mean nothing."
        for name, dive in (("A", comparison.query), ("B", comparison.exemplar))
        if dive.forced is not None
    ]
    caveat = caveat_of(comparison.provenance.trained_on)
    return lines if caveat is None else [*lines, caveat]


def print_comparison(comparison: Comparison, console: Console) -> None:
    """Print the result, the tables behind it, limits and provenance."""
    print_first_lines(first_lines(comparison), console)
    print_panel(
        "A against B", Text(standing(comparison), style="bold green"), facts_grid(facts(comparison), console), console
    )
    for section in all_sections(comparison):
        print_section(section, console)
    made = comparison.provenance
    end = [] if is_quiet() else [("note", limit) for limit in limits_of_comparison(comparison)]
    end.append(("weights", f"{made.weights} ({made.weights_digest[:12]})"))
    decoders = " and ".join(dict.fromkeys((comparison.query.decoder, comparison.exemplar.decoder)))
    run = f"{made.device}, {made.precision}, decoded by {decoders}, {made.seconds:.1f} s, finecausal {made.version}"
    end.append(("run", run))
    console.print()
    console.print(facts_grid(end, console), width=page_columns(console))


def write_comparison_page(path: Path, comparison: Comparison, evidence: tuple[Evidence, Evidence]) -> None:
    """Write the page, with the key frames of both dives side by side, as one self-contained file.

    Raises:
        OutputError: The file cannot be written.
    """
    text = comparison_page(comparison, evidence)
    with atomic_write(path, "the report") as part:
        part.write_text(text, encoding="utf-8", errors="replace")


def comparison_page(comparison: Comparison, evidence: tuple[Evidence, Evidence]) -> str:
    """Return the page; everything from outside is escaped."""
    frames_of_dives = [key_frames(strip) for strip in strips_of(comparison, evidence)]
    return render_page(
        _TEMPLATE,
        version=__version__,
        first_lines=first_lines(comparison),
        a=file_name(comparison.query.source),
        b=file_name(comparison.exemplar.source),
        standing=standing(comparison),
        facts=facts(comparison),
        summary=summarise_comparison(comparison),
        stages=[
            (stage.name, list(zip("AB", (frames[stage.name] for frames in frames_of_dives), times, strict=True)))
            for stage, *times in zip(
                comparison.stages,
                segments(comparison, "query"),
                segments(comparison, "exemplar"),
                strict=True,
            )
        ],
        colours=STAGE_COLOURS,
        words=STAGE_WORDS,
        tables=all_sections(comparison),
        limits=limits_of_comparison(comparison),
        made=comparison.provenance,
    )


def strips_of(comparison: Comparison, evidence: tuple[Evidence, Evidence]) -> tuple[KeyFrameStrip, KeyFrameStrip]:
    """Return the key-frame strips of both dives, aligned by stage."""
    query, exemplar = evidence
    return (
        KeyFrameStrip(comparison.query.source, query, stage_borders(comparison, "query")),
        KeyFrameStrip(comparison.exemplar.source, exemplar, stage_borders(comparison, "exemplar")),
    )
