"""The score of a dive in the terminal."""

from __future__ import annotations

import logging
import os
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

from rich.text import Text

from finecausal_cli.athlete.track import AFTER_S, BEFORE_S
from finecausal_cli.batch.inputs import MANIFEST_SUFFIXES
from finecausal_cli.diving import COUNTING_MARKS, MAX_MARK, describe_dive, parse_dive_number
from finecausal_cli.errors import DiveNumberError, FinecausalError
from finecausal_cli.report.console import (
    STAGE_ATTENTION_CAPTION,
    STAGE_WORDS,
    Section,
    facts_grid,
    hundredths_that_add_up,
    is_quiet,
    node_attention_section,
    page_columns,
    path_fact,
    print_panel,
    print_section,
    printable,
    signed,
    stage_attention_rows,
)
from finecausal_cli.report.output import deliver
from finecausal_cli.scoring import ScoreOptions, keep_corrections, with_corrections
from finecausal_cli.scoring.dive_reading import ReadAhead, Viewing, viewing_of
from finecausal_cli.scoring.dives import SLOW_FROM
from finecausal_cli.scoring.results import NODE_TYPES, Assessment, Unscored
from finecausal_cli.video import CLIP_FRAMES
from finecausal_cli.weights import SIMULATED_ONLY, caveat_of, read_manifest
from finecausal_cli.weights.hub import SCHEME, list_readers, resolve_weights

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from rich.console import Console

    from finecausal_cli.errors import RefusedError
    from finecausal_cli.scoring.results import Attention, Vote

logger = logging.getLogger(__name__)


NODE_NAMES: Final = tuple(name.replace("_", " ") for name in NODE_TYPES)


# The assessment of one dive at 80 columns. Numbers are rounded so that columns still add up as shown.


def print_assessment(assessment: Assessment, console: Console) -> None:
    """Print the result: score, stages, exemplars' votes, attention where present, provenance and caveats."""
    print_score_panel(assessment, console)
    if assessment.candidates:
        print_section(candidates(assessment), console)
    print_section(contributions(assessment), console)
    print_section(exemplar_votes(assessment), console)
    if assessment.attention is not None:
        for section in attention_sections(assessment, assessment.attention):
            print_section(section, console)
    print_provenance(assessment, console)


def first_lines(assessment: Assessment) -> list[str]:
    """Return what every form of a result says first: that it was forced, and what the weights were trained on."""
    forced, caveat = assessment.forced, caveat_of(assessment.provenance.trained_on)
    warning = None if forced is None else f"SCORED BY FORCE, though {forced}: these points may mean nothing."
    return [line for line in (warning, caveat) if line is not None]


def print_first_lines(lines: Sequence[str], console: Console) -> None:
    """Print what must be read before a result."""
    for line in lines:
        style = "yellow" if line == SIMULATED_ONLY else "bold red"
        console.print(Text(printable(line, console), style=style), width=page_columns(console))


def print_score_panel(assessment: Assessment, console: Console) -> None:
    """Print the panel: score, interval, mark and difficulty; warnings first."""
    print_first_lines(first_lines(assessment), console)
    facts: list[tuple[str | Text, str | Text]] = [
        ("dive", _dive_in_words(assessment)),
        ("", Text(printable(assessment.dive_from, console), style="dim")),
        *((label, text) for label, text in (("height", height_in_words(assessment)),) if text),
        ("mark", f"{assessment.mark:.2f} of {MAX_MARK:g} a judge (execution {assessment.execution:.2f} of 30)"),
        ("difficulty", difficulty_in_words(assessment)),
        *(("", text) for text in (range_in_words(assessment),) if text),
        *(("no points", text) for text in (assessment.points_withheld,) if text),
        *(("interval", text.removeprefix("interval ")) for text in (interval_in_words(assessment),) if text),
        *(("others", text) for text in (competition_in_words(assessment),) if text),
        *_flight_facts(assessment),
        *path_fact(assessment.source, console),
    ]
    headline = Text.assemble((f"{assessment.value:.2f}", "bold green"), f" {assessment.unit}")
    if assessment.unit == "marks":
        headline.append(f" of {MAX_MARK:g}, no points")
    if assessment.interval is not None:
        interval = assessment.interval
        headline.append(f"    {interval.level:.0%} interval {interval.low:.2f} to {interval.high:.2f}")
    print_panel(assessment.source, headline, facts_grid(facts, console), console)


def height_in_words(assessment: Assessment) -> str:
    """Return where the height comes from, unless it was given; empty where nothing is said of it."""
    if assessment.height_from in ("", "given"):
        return ""
    return ", ".join(filter(None, (_metres(assessment), assessment.height_from)))


def _metres(assessment: Assessment) -> str:
    return "" if assessment.height_m is None else f"{assessment.height_m:g} m"


def difficulty_in_words(assessment: Assessment) -> str:
    """Return the difficulty and where it comes from."""
    if assessment.difficulty is None:
        return assessment.difficulty_from
    return f"{difficulty_in_digits(assessment.difficulty)}, {assessment.difficulty_from}"


def range_in_words(assessment: Assessment) -> str:
    """Return the points that the possible heights give; empty where one is sure."""
    bounds = assessment.points_range
    return "" if bounds is None else f"{bounds[0]:.2f} to {bounds[1]:.2f} points by the heights that are possible"


def interval_in_words(assessment: Assessment) -> str:
    """Return that the interval is withheld or widened, and why; empty if it is neither."""
    if assessment.interval_withheld is not None:
        return f"interval withheld: {assessment.interval_withheld}"
    if assessment.interval_factor > 1 and assessment.familiarity is not None:
        factor, distance = assessment.interval_factor, assessment.familiarity.distance
        return f"{factor:.1f} times wider: the clip is {distance:.1f} times farther from the calibration dives than 95%"
    return ""


def competition_in_words(assessment: Assessment) -> str:
    """Return how dives of this number were marked and, where points are given, how many were worse; or nothing."""
    known = assessment.competition
    if known is None:
        return ""
    share = known.better_than
    return known.text if share is None else f"{known.text}; this one is better than {share:.0%} of them"


def _flight_facts(result: Assessment | Unscored) -> list[tuple[str | Text, str | Text]]:
    labelled = (("flight", flight_in_words(result)), ("", athlete_in_words(result)))
    return [(label, text) for label, text in labelled if text]


def flight_in_words(result: Assessment | Unscored) -> str:
    """Return begin, end and duration of the flight; empty where unknown."""
    begin, end = result.flight_start_s, result.entry_start_s
    if begin is None or end is None:
        known = (("take-off", begin), ("entry", end))
        return ", ".join(f"{name} at {time:.2f} s" for name, time in known if time is not None)
    scale = result.time_scale or 1.0
    span = f"{begin:.2f} to {end:.2f} s"
    if scale < SLOW_FROM:
        return f"{span}, {end - begin:.2f} s in the air"
    return f"{span} of the file, {(end - begin) / scale:.2f} s in the air: {scale:.1f} times slow motion"


def athlete_in_words(result: Assessment | Unscored) -> str:
    """Return in how many frames the athlete is seen; empty without a reader."""
    return "" if result.athlete_seen is None else f"athlete seen in {result.athlete_seen} of {CLIP_FRAMES} frames"


def _dive_in_words(assessment: Assessment) -> str:
    if assessment.dive is None:
        text = "not known"
    else:
        try:
            meaning = describe_dive(parse_dive_number(assessment.dive))
        except DiveNumberError:
            meaning = "(not a dive number)"
        text = f"{assessment.dive}  {meaning}"
    return text if height_in_words(assessment) else ", ".join(filter(None, (text, _metres(assessment))))


def exemplars_in_words(assessment: Assessment) -> str:
    """Return ``exemplar ID`` or, e.g., ``5 exemplars``."""
    votes = assessment.votes
    return f"exemplar {votes[0].exemplar}" if len(votes) == 1 else f"{len(votes)} exemplars"


def candidates(assessment: Assessment) -> Section:
    """The likeliest dive numbers, with what each would give."""
    rows = [
        (
            candidate.dive,
            f"{candidate.probability:.0%}",
            "not listed" if candidate.difficulty is None else _span(candidate.difficulty, difficulty_in_digits),
            "-" if candidate.score is None else _span(candidate.score, "{:.2f}".format),
        )
        for candidate in assessment.candidates
    ]
    return Section(
        "Likeliest dive numbers",
        "What each would give, at the heights that are possible. Name the number with --dive.",
        ("dive", "probability", "difficulty", "points"),
        rows,
    )


def _span(bounds: tuple[float, float], written: Callable[[float], str]) -> str:
    low, high = (written(value) for value in bounds)
    return low if low == high else f"{low} to {high}"


def contributions(assessment: Assessment) -> Section:
    """From the exemplars' mean to the dive, stage by stage, in marks and in points; each column adds up as shown."""
    stages = assessment.stages
    columns = [hundredths_that_add_up([assessment.exemplar_mark, *(stage.marks for stage in stages)], assessment.mark)]
    if assessment.unit == "points":
        values = (assessment.exemplar_value, *assessment.stage_values)
        columns.append(hundredths_that_add_up(values, assessment.value))
    longest = max(1e-9, *(abs(value) for value in columns[0][1:]))
    rows = [
        (
            STAGE_WORDS[stage.name],
            f"{stage.start_s:.2f}-{stage.end_s:.2f}",
            *(signed(column[row]) for column in columns),
        )
        for row, stage in enumerate(stages, 1)
    ]
    first = "exemplar" if len(assessment.votes) == 1 else exemplars_in_words(assessment)
    return Section(
        "Stages against the exemplars",
        "What each stage wins or loses against the exemplars, in marks of a judge (0 to 10)"
        + (" and in points, which are marks × 3 × difficulty." if len(columns) > 1 else "."),
        ("stage", "time (s)", *("marks", "points")[: len(columns)]),
        [
            (first, "", *(f"{column[0]:.2f}" for column in columns)),
            *rows,
            ("the dive", "", *(f"{sum(column):.2f}" for column in columns)),
        ],
        adds_up=True,
        bars=(None, *(value / longest for value in columns[0][1:])),
    )


def _by_one(vote: Vote) -> float:
    """Return the mark by one exemplar alone."""
    return (vote.execution + vote.calibration + vote.difference) / COUNTING_MARKS


def exemplar_votes(assessment: Assessment) -> Section:
    """The score or the mark by each exemplar alone, and how the exemplars were chosen."""
    votes, unit = assessment.votes, assessment.unit
    has_banks, is_calibrated = len({vote.bank for vote in votes}) > 1, any(vote.calibration for vote in votes)
    its_mark = "its mark, calibrated," if is_calibrated else "its mark"
    rows = [
        (
            f"{vote.bank}: {vote.exemplar}" if has_banks else vote.exemplar,
            vote.dive,
            f"{vote.similarity:.3f}",
            f"{(vote.execution + vote.calibration) / COUNTING_MARKS:.2f}",
            signed(vote.difference / COUNTING_MARKS),
            f"{_by_one(vote) if vote.score is None else vote.score:.2f}",
        )
        for vote in votes
    ]
    if len(votes) > 1:
        count = len(votes) * COUNTING_MARKS
        mark = sum(vote.execution + vote.calibration for vote in votes) / count
        difference = sum(vote.difference for vote in votes) / count
        rows.append(("mean", "", "", f"{mark:.2f}", signed(difference), f"{assessment.value:.2f}"))
    alone = f"Score of the dive by each exemplar alone: ({its_mark} + difference) × 3 × difficulty."
    if unit == "marks":
        alone = f"Mark of the dive by each exemplar alone: {its_mark} + difference."
    return Section(
        "Exemplars",
        f"{alone} Chosen: {assessment.provenance.exemplars_chosen}.",
        ("exemplar", "dive", "similarity", "its mark", "difference", assessment.value_name),
        rows,
        adds_up=len(votes) > 1,
    )


def attention_sections(assessment: Assessment, attention: Attention) -> tuple[Section, Section]:
    """Attention by kind of node of the graph, and by stage."""
    names = [STAGE_WORDS[stage.name] for stage in assessment.stages]
    return (
        node_attention_section(NODE_NAMES, attention.node_types, attention.node_uniform, ""),
        Section(
            "Stage attention of the query",
            STAGE_ATTENTION_CAPTION,
            ("stage", *names),
            stage_attention_rows(names, attention.stages),
        ),
    )


def print_provenance(assessment: Assessment, console: Console, *, notes: bool = True) -> None:
    """Print weights, bank and run, and the caveats unless they are printed elsewhere."""
    made = assessment.provenance
    run = f"{made.device}, {made.precision}, decoded by {made.decoder}, {made.seconds:.1f} s"
    facts: list[tuple[str | Text, str | Text]] = [
        ("weights", f"{made.weights} ({made.weights_digest[:12]}): {made.weights_note}"),
        ("bank", f"{made.bank} ({made.bank_digest[:12]})"),
        ("run", f"{run}, finecausal {made.version}"),
        *(note_facts(assessment.notes) if notes else ()),
    ]
    console.print()
    console.print(facts_grid(facts, console), width=page_columns(console))


def note_facts(notes: Sequence[str]) -> list[tuple[str | Text, str | Text]]:
    """Return the notes but for the first line, as facts of a panel; none with --quiet."""
    return [] if is_quiet() else [(Text("note", style="yellow"), note) for note in later_notes(notes)]


def later_notes(notes: Sequence[str]) -> list[str]:
    """Leave out the note that is the first line already."""
    return [note for note in notes if note != SIMULATED_ONLY]


def difficulty_in_digits(value: float) -> str:
    """Write a difficulty with at least one and at most three decimals."""
    return f"{value:.1f}" if round(value, 1) == round(value, 3) else f"{round(value, 3):g}"


# A clip without points.

EXIT_REFUSED = 1


def print_result(result: Assessment | Unscored, console: Console) -> None:
    """Print an assessment, or why there is none."""
    if isinstance(result, Assessment):
        print_assessment(result, console)
    else:
        print_unscored(result, console)


def print_unscored(unscored: Unscored, console: Console) -> None:
    """Print one panel: why there are no points, what to do, and what is known."""
    forced = [] if unscored.forced is None else [f"TAKEN BY FORCE, though {unscored.forced}: no points all the same."]
    print_first_lines([*forced, *(note for note in unscored.notes if note == SIMULATED_ONLY)], console)
    head = "REFUSED" if unscored.status == "refused" else "NO POINTS"
    facts: list[tuple[str | Text, str | Text]] = []
    if unscored.dive is not None:
        facts.append(("dive", f"{unscored.dive}, {unscored.dive_from}"))
    facts += _flight_facts(unscored)
    facts += note_facts(unscored.notes)
    headline = Text.assemble((head, "bold red"), f"  {printable(unscored.message, console)}")
    facts += path_fact(unscored.source, console)
    print_panel(unscored.source, headline, facts_grid(facts, console), console)


def deliver_unscored(error: RefusedError, output_format: str, output: Path | None, *others: Path | None) -> int:
    """Write a result without points, and return the exit code.

    Args:
        error: Refusal that carries the result.
        output_format: ``table`` or ``json``.
        output: A file, or None for standard output.
        others: Files that are not written, as there are no points.

    Raises:
        RefusedError: It carries no result.
        OutputError: The file cannot be written.
    """
    result = error.found
    if not isinstance(result, Unscored):
        raise error
    deliver(result, output_format, output, print_unscored)
    skipped = [str(path) for path in others if path is not None]
    if skipped:
        logger.warning("note: not written, as there are no points to explain: %s", ", ".join(skipped))
    return exit_code(result)


def exit_code(result: Any) -> int:
    """Return the exit code of a result: 1 for a refused clip."""
    return EXIT_REFUSED if isinstance(result, Unscored) and result.status == "refused" else 0


def store_corrections(path: str, options: ScoreOptions, result: object = None) -> None:
    """Store the corrections of a dive beside its clip, unless it was refused with them; print a note if that fails."""
    if isinstance(result, Unscored) and result.status == "refused":
        return
    for note in keep_corrections(path, options.corrections, options.start_s, options.end_s):
        logger.warning("note: %s", note)


# Read-ahead: the dive is searched and read while torch is imported and weights are loaded, which takes as long.

_USUAL_SQUARE: Final = 256
"""Square side of the bundled athlete reader; with another reader the file is read again."""


@contextmanager
def reading_ahead(path: str, options: Mapping[str, Any], weights: str) -> Iterator[ReadAhead | None]:
    """Read a file ahead while a block runs.

    Args:
        path: The file.
        options: Arguments of ``ScoreOptions``.
        weights: The scoring weights.

    Yields:
        The reader; None for anything but a plain video file, and where an error is reported later.
    """
    ahead = _begin(path, options, weights)
    if ahead is None:
        yield None
        return
    with ahead:
        yield ahead


@contextmanager
def measuring_ahead(path: str, options: ScoreOptions) -> Iterator[ReadAhead | None]:
    """Read a file ahead, as the athlete reader alone wants it, while a block runs; see ``reading_ahead``."""
    if not _is_plain(path) or not list_readers():
        yield None
        return
    try:
        known, _ = with_corrections(path, options)
        wanted = known.wanted
    except FinecausalError:  # reported by whoever measures
        yield None
        return
    viewing = Viewing("fit", 112, None, _USUAL_SQUARE, (BEFORE_S, AFTER_S))
    with ReadAhead(path, wanted, viewing, timeout_s=known.timeout_s or 120.0) as ahead:
        yield ahead


def _is_plain(path: str) -> bool:
    is_file = os.path.isfile(path) and os.path.splitext(path)[1].lower() not in MANIFEST_SUFFIXES  # noqa: PTH113, PTH122
    return is_file and find_spec("av") is not None


def _begin(path: str, options: Mapping[str, Any], weights: str) -> ReadAhead | None:
    if not _is_plain(path) or weights.startswith(SCHEME):
        return None
    try:
        known, _ = with_corrections(path, ScoreOptions(**options))
        config = read_manifest(resolve_weights(weights)).model
    except (FinecausalError, OSError, ValueError):
        return None
    viewing = viewing_of(config, _USUAL_SQUARE if list_readers() else None)
    return ReadAhead(path, known.wanted, viewing, timeout_s=known.timeout_s or 120.0)
