"""An explanation in the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rich.text import Text

from finecausal_cli.report.console import (
    PERCENT,
    STAGE_ATTENTION_CAPTION,
    STAGE_WORDS,
    Row,
    Section,
    add_row,
    hundredths_that_add_up,
    is_quiet,
    new_table,
    node_attention_section,
    print_section,
    print_table,
    printable,
    signed,
    stage_attention_rows,
    words,
)
from finecausal_cli.report.score import (
    NODE_NAMES,
    candidates,
    contributions,
    exemplar_votes,
    exemplars_in_words,
    later_notes,
    print_provenance,
    print_score_panel,
)
from finecausal_cli.video import CLIP_FRAMES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from finecausal_cli.scoring.results import (
        Assessment,
        Explanation,
        GraphAttention,
        Measurement,
        MeasurementName,
        Ranking,
        Replacement,
        Snippet,
        StageIntervention,
        StageName,
    )


# Tables of an explanation, shared by terminal and page.

_TOLERANCE_DIGITS = 6
_LEAST = 0.005
"""Smallest change that is shown, points: it rounds to 0.01."""

_SECONDS_IN_MINUTE = 60
_MINUTES_IN_HOUR = 60

REPLACED_BY: Final[dict[Replacement, str]] = {
    "exemplar": "the exemplars' stage",
    "bank_mean": "the bank's mean stage",
    "bank_best": "the bank's best stage",
}

_DOWNSTREAM = "Best first. A stage can change later stages (downstream), never earlier ones."


def time_code(seconds: float) -> str:
    """Write a time in a video to the hundredth of a second: ``0:01.64``, ``1:02:03.45``."""
    hundredths = round(seconds * 100)
    minutes, rest = divmod(hundredths, _SECONDS_IN_MINUTE * 100)
    hours, minutes = divmod(minutes, _MINUTES_IN_HOUR)
    clock = f"{hours}:{minutes:02d}" if hours else f"{minutes}"
    return f"{clock}:{rest // 100:02d}.{rest % 100:02d}"


def shown_change(explanation: Explanation, score: float) -> float:
    """Return the difference of another score and the dive's, of the rounded scores."""
    return round(score, 2) - round(explanation.assessment.value, 2)


MEASURED: Final[dict[MeasurementName, str]] = {
    "air_time": "time in the air",
    "file_air_time": "the same in the file",
    "rise": "rise above the take-off",
    "takeoff_velocity": "upwards at the take-off",
    "entry_velocity": "downwards at the entry",
    "distance": "distance travelled",
    "total_turn": "total turn",
    "half_somersaults": "half somersaults",
    "half_twists": "half twists",
    "rotation": "fastest rotation",
    "opening": "opening before the entry",
    "takeoff_lean": "lean at the take-off",
    "entry_angle": "angle at the entry",
    "splash": "size of the splash",
}
"""What each fact is called."""

_DIGITS: Final[dict[str, int]] = {"s": 2, "m": 2, "m/s": 1, "0..1": 2}
_SIGNED: Final = ("takeoff_lean", "entry_angle")
_WITHOUT_UNIT: Final = ("half_somersaults", "half_twists", "splash")


def measured_section(measurements: Sequence[Measurement]) -> Section:
    """Return what was measured of a dive, each fact with its usual error, or why it cannot be told."""
    return Section(
        "Measured facts",
        "Measured in the video; nothing is judged. Lean: 0 is upright, + to where the dive travels. "
        "Entry: 0 is vertical, + turned too far, - too little. ±: 68% of the errors on simulated footage are smaller.",
        ("fact", "measured", ""),
        tuple((MEASURED[fact.name], *fact_in_words(fact)) for fact in measurements),
    )


def fact_in_words(fact: Measurement) -> tuple[str, str]:
    """Return the value of a fact with its unit, and how sure it is; or a dash, and why it is not told."""
    if fact.value is None:
        return "-", fact.reason or ""
    digits = _DIGITS.get(fact.unit, 0)
    unit = "" if fact.name in _WITHOUT_UNIT else f" {fact.unit}"
    sign = "+" if fact.name in _SIGNED else ""
    sure = [] if fact.error is None else [f"± {fact.error:.{digits}f}{unit}"]
    if fact.probability is not None:
        sure.append(f"{fact.probability:.0%} sure")
    return f"{fact.value:{sign}.{digits}f}{unit}", ", ".join(sure)


def timeline(explanation: Explanation) -> Section:
    """Time, foreground share and attention of each stage."""
    graph = explanation.graph_attention
    caption = "When each stage is in the video; how much of the picture the predicted athlete takes."
    if graph is not None:
        caption += " Attention: the graph's attention to the query that falls on the stage, 1.00 without preference."
    shares = explanation.foreground.stages
    attention = (None, None, None) if graph is None else graph.stage_shares
    rows = [
        (
            STAGE_WORDS[stage.name],
            time_code(stage.start_s),
            time_code(stage.end_s),
            f"{stage.start_frame}-{stage.end_frame - 1}" if stage.end_frame > stage.start_frame else "none",
            f"{share:.1%}",
            *(() if weight is None else (f"{weight:.2f}",)),
        )
        for stage, share, weight in zip(explanation.assessment.stages, shares, attention, strict=True)
    ]
    headings = ("stage", "from", "to", "of 96 frames", "athlete")
    return Section("Timeline", caption, headings if graph is None else (*headings, "attention"), tuple(rows))


def interventions(explanation: Explanation) -> list[Section]:
    """The score with each stage replaced, best first; one table for each kind of replacement."""
    assessment = explanation.assessment
    exemplars = len(assessment.votes)
    tables = []
    for ranking in explanation.rankings:
        by_stage = _by_stage(explanation, ranking)
        rows = []
        for name in _ranked(explanation, ranking):
            change = shown_change(explanation, by_stage[name].score)
            parts = hundredths_that_add_up(by_stage[name].stage_changes, change)
            rows.append(
                (
                    STAGE_WORDS[name],
                    f"{by_stage[name].score:.2f}",
                    signed(change),
                    *(signed(part) for part in parts),
                    f"{by_stage[name].voters_gaining}/{exemplars}",
                )
            )
        headings = (
            "replaced",
            assessment.value_name,
            "change",
            *(f"in {STAGE_WORDS[stage.name]}" for stage in assessment.stages),
            "gain",
        )
        tables.append(
            Section(
                f"Interventions: {REPLACED_BY[ranking.replaced_by]}",
                _intervention_caption(explanation, ranking),
                headings,
                tuple(rows),
            )
        )
    return tables


def _by_stage(explanation: Explanation, ranking: Ranking) -> dict[StageName, StageIntervention]:
    return {item.stage: item for item in explanation.interventions if item.replaced_by == ranking.replaced_by}


def _ranked(explanation: Explanation, ranking: Ranking) -> list[StageName]:
    """Return the stages of a ranking that have frames, best first."""
    present = {stage.name for stage in explanation.assessment.stages if not stage.is_empty}
    return [name for name in ranking.stages if name in present]


def bank_in_words(explanation: Explanation, ranking: Ranking) -> str | None:
    """Return which dives of the bank give the replacement, or None where each exemplar gives its own."""
    if ranking.replaced_by == "bank_mean" and explanation.bank_mean is not None:
        return f"the bank's {explanation.bank_mean.exemplars} dives of {explanation.bank_mean.dive}"
    if ranking.replaced_by == "bank_best" and explanation.bank_best is not None:
        best = explanation.bank_best
        return f"the bank's {f'{best.exemplars} best dives' if best.exemplars > 1 else 'best dive'} of {best.dive}"
    return None


def _intervention_caption(explanation: Explanation, ranking: Ranking) -> str:
    bank = bank_in_words(explanation, ranking)
    source = "each exemplar's own" if bank is None else f"the mean of {bank}"
    name = explanation.assessment.value_name
    return f"The {name}, had one stage been {source}; gain: exemplars by which the {name} rises. {_DOWNSTREAM}"


def backgrounds(explanation: Explanation) -> Section:
    """The score before other backgrounds."""
    name = explanation.assessment.value_name
    return Section(
        "Background interventions",
        f"The predicted athlete before another background, encoded again. A {name} of the dive alone changes little.",
        ("background", name, "change"),
        tuple(
            (background.description, f"{background.score:.2f}", signed(shown_change(explanation, background.score)))
            for background in explanation.backgrounds
        ),
    )


def checks(explanation: Explanation) -> Section:
    """Consistency of the explanation with the score and with itself."""
    checked = explanation.checks
    limit = f"{checked.tolerance:g}"
    jitter, deletion = checked.jitter, checked.deletion
    rows = [
        (
            "exemplars' score and contributions add up to the score",
            f"off by {checked.decomposition_error:.{_TOLERANCE_DIGITS}f}",
            _status(checked.decomposition_error <= checked.tolerance, limit),
        ),
        (
            "all three stages the exemplar's own: the exemplar against itself",
            f"off by {checked.self_error:.{_TOLERANCE_DIGITS}f}",
            _status(checked.self_error <= checked.tolerance, limit),
        ),
        ("an exemplar against itself", f"{checked.self_difference:.4f}", "0 if both directions agree"),
        (
            f"stage borders moved by up to {jitter.frames} frames, {jitter.shifts} ways",
            f"{jitter.mean:.2f} on average",
            f"at most {jitter.largest:.2f}",
        ),
    ]
    frozen = checked.frozen_flight
    if frozen is not None:
        rows.append(
            (
                f"flight frozen: its first picture in all {frozen.frames} frames",
                f"{frozen.score:.2f} ({signed(shown_change(explanation, frozen.score))})",
                "listens to the flight" if frozen.moves else "hardly listens to the flight",
            )
        )
    if deletion is not None:
        rows.append(
            (
                f"snippet {deletion.snippet}, with most attention, removed",
                f"{signed(deletion.change)}",
                f"others {deletion.others:.2f} on average",
            )
        )
    return Section(
        "Consistency",
        f"What must hold, and how stable the {explanation.assessment.value_name} is; in {explanation.unit}.",
        ("check", "measured", ""),
        tuple(rows),
    )


def _status(within: bool, limit: str) -> str:
    return f"holds (limit {limit})" if within else f"FAILS (limit {limit})"


# Tables of attention.

_TELLS: Final = 2.0
"""How many times more the most attended snippet must change the score than another one, if attention tells."""


def attention_in_words(explanation: Explanation) -> str | None:
    """Return whether the attention tells what matters, by deletion of snippets; None without attention."""
    deletion = explanation.checks.deletion
    if deletion is None:
        return None
    size, others = abs(deletion.change), deletion.others
    tells = size >= max(_TELLS * others, _LEAST)
    verdict = "Attention tells what matters here" if tells else "Attention does not tell what matters here"
    return (
        f"{verdict}: without the most attended snippet the {explanation.assessment.value_name} changes by {size:.2f} "
        f"{explanation.unit}, without another one by {others:.2f} on average."
    )


def snippets(explanation: Explanation, most: int | None = None) -> Section:
    """The snippets, most attended first.

    Args:
        explanation: What to show.
        most: Show so many; None shows all nine.
    """
    deletion = explanation.checks.deletion
    ranked = sorted(explanation.snippets, key=lambda snippet: (-(snippet.attention or 0.0), snippet.index))
    chosen = ranked[:most]
    caption = (
        f"Share of the attention to the query that falls on each snippet of 16 frames; without preference "
        f"{PERCENT / len(ranked):.1f}%. Without it: change of the "
        f"{explanation.assessment.value_name} with the snippet removed, {explanation.unit}."
    )
    if len(chosen) < len(ranked):
        caption = f"The {len(chosen)} of {len(ranked)} with most. {caption}"
    caption = " ".join(part for part in (attention_in_words(explanation), caption) if part)
    changes = None if deletion is None else deletion.changes
    return Section(
        "Snippets by attention",
        caption,
        ("snippet", "from", "to", "stage", "attention", "without it"),
        tuple(
            (
                str(snippet.index),
                time_code(snippet.start_s),
                time_code(snippet.end_s),
                _stages_of_snippet(snippet, explanation.assessment),
                "-" if snippet.attention is None else f"{snippet.attention:.1%}",
                "-" if changes is None else signed(changes[snippet.index]),
            )
            for snippet in chosen
        ),
    )


def _stages_of_snippet(snippet: Snippet, assessment: Assessment) -> str:
    """Name the stage, with the share of its frames there unless all are."""
    shares = {stage.name: share for stage, share in zip(assessment.stages, snippet.stage_shares, strict=True)}
    share = shares[snippet.stage]
    name = STAGE_WORDS[snippet.stage]
    return name if share > 0.995 else f"{name} {share:.0%}"


def node_attention(graph: GraphAttention) -> Section:
    """Attention between kinds of node."""
    return node_attention_section(NODE_NAMES, graph.node_types, graph.uniform, _which(graph))


def which_attention(graph: GraphAttention) -> str:
    """Name layer and head of the attention shown."""
    layer = f"mean of {graph.layers} layers" if graph.layer is None else f"layer {graph.layer} of {graph.layers}"
    head = f"mean of {graph.heads} heads" if graph.head is None else f"head {graph.head} of {graph.heads}"
    return f"{layer}, {head}"


def _which(graph: GraphAttention) -> str:
    layers_and_heads = which_attention(graph)
    return f"{layers_and_heads[0].upper()}{layers_and_heads[1:]}."


def stage_attention(explanation: Explanation, *, layers: bool = True) -> Section | None:
    """Attention of each stage to itself and earlier stages; None in a network without TCA.

    Args:
        explanation: What to show.
        layers: Show every layer and head, and not the mean alone.
    """
    attention = explanation.stage_attention
    if attention is None:
        return None
    names = [STAGE_WORDS[stage.name] for stage in explanation.assessment.stages]
    several_heads = any(len(layer) > 1 for layer in attention.matrices)
    rows: list[Row] = []
    for number, layer in enumerate(attention.matrices if layers else (), 1):
        for head, matrix in enumerate(layer, 1):
            which = f"layer {number}, head {head}" if several_heads else f"layer {number}"
            rows += stage_attention_rows([f"{which}: {name}" for name in names], matrix)
    if len(rows) != len(names):
        rows += stage_attention_rows([f"mean: {name}" for name in names], attention.mean)
    return Section(
        "Stage attention of the query",
        STAGE_ATTENTION_CAPTION,
        ("layer: stage", *names),
        tuple(rows),
    )


# The summary in sentences. It states measured quantities only: no advice, no cause that was not measured.

LIMITS: Final = (
    "The network predicts where a stage begins and ends. Weights trained without stage labels need not follow the "
    "usual meaning of a stage, and another training run may divide the same score differently among the stages.",
    "Differences are relative to the exemplars, not to a perfect dive: against weaker exemplars the same dive loses "
    "less.",
    "Attention shows where the model looks, not what changes the score; the interventions show that.",
)
"""Limits of every explanation, whatever the weights."""


def summarise_explanation(explanation: Explanation) -> list[str]:
    """Return the summary, most informative sentences first."""
    assessment = explanation.assessment
    sentences = [_standing(assessment), *_extremes(explanation), *_gains(explanation)]
    return [*sentences, *_moves(explanation), *_silence(explanation)]


def limits_of(explanation: Explanation, *, notes: bool = True) -> list[str]:
    """Return the limits of these weights, of this dive, which are its notes, and of every explanation."""
    assessment = explanation.assessment
    note = assessment.provenance.weights_note
    return [
        f"These weights: {note}",
        *(later_notes(tuple(dict.fromkeys((*assessment.notes, *explanation.notes)))) if notes else ()),
        *LIMITS,
    ]


def _standing(assessment: Assessment) -> str:
    value, start, unit = assessment.value, assessment.exemplar_value, assessment.unit
    gap, verb = value - start, "scores" if unit == "points" else "gets"
    exemplars = exemplars_in_words(assessment)
    against = f"the mean of {exemplars}" if len(assessment.votes) > 1 else exemplars
    if abs(gap) < _LEAST:
        return f"The dive {verb} {value:.2f} {unit}, as much as {against}."
    side = "more" if gap > 0 else "less"
    same = f"{start:.2f} at the same difficulty" if unit == "points" else f"{start:.2f}"
    return f"The dive {verb} {value:.2f} {unit}, {abs(gap):.2f} {side} than {against} ({same})."


def _silence(explanation: Explanation) -> list[str]:
    """Say of which stages nothing is said, stages with the same reason together."""
    by_reason: dict[str, list[str]] = {}
    for name, why in explanation.unsure_stages.items():
        by_reason.setdefault(why, []).append(STAGE_WORDS[name])
    return [f"Nothing is said of {_listed(stages)}: {why}." for why, stages in by_reason.items()]


def _listed(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _extremes(explanation: Explanation) -> list[str]:
    assessment, unsure = explanation.assessment, explanation.unsure_stages
    stages = zip(assessment.stage_values, assessment.stages, strict=True)
    values = sorted((value, stage.name) for value, stage in stages if not stage.is_empty)
    (lost, worst), (won, best) = values[0], values[-1]
    exemplars, unit = exemplars_in_words(assessment), assessment.unit
    if max(-lost, won) < _LEAST and not unsure:
        return [f"No stage wins or loses a {unit[:-1]} against {exemplars}."]
    sentences = []
    if lost <= -_LEAST and worst not in unsure:
        sentences.append(f"Most lost at {STAGE_WORDS[worst]}: {signed(lost)} {unit} against {exemplars}.")
    if won >= _LEAST and best not in unsure:
        sentences.append(f"Most won at {STAGE_WORDS[best]}: {signed(won)} {unit} against {exemplars}.")
    return sentences


def _gains(explanation: Explanation) -> list[str]:
    best = [(ranking, _ranked(explanation, ranking)[0]) for ranking in explanation.rankings]
    return [
        _gain(explanation, ranking, _by_stage(explanation, ranking)[stage])
        for ranking, stage in best
        if stage not in explanation.unsure_stages
    ]


def _gain(explanation: Explanation, ranking: Ranking, best: StageIntervention) -> str:
    bank = bank_in_words(explanation, ranking)
    exemplars = "the exemplars" if len(explanation.assessment.votes) > 1 else "the exemplar"
    name = explanation.assessment.value_name
    if best.change < _LEAST:
        return f"No stage of {bank or exemplars} in place of the dive's own would raise the {name}."
    stage = STAGE_WORDS[best.stage]
    source = f"the {stage} of {exemplars}" if bank is None else f"the mean {stage} of {bank}"
    names = [stage.name for stage in explanation.assessment.stages]
    downstream = sum(best.stage_changes[names.index(best.stage) + 1 :])
    count = len(explanation.assessment.votes)
    change = shown_change(explanation, best.score)
    sentence = f"With {source} the {name} would be {best.score:.2f} ({signed(change)})"
    if abs(downstream) >= _LEAST:
        sentence += f", {signed(downstream)} of it in later stages"
    if count > 1:
        sentence += f"; {best.voters_gaining} of {count} {name}s would rise"
    jitter = explanation.checks.jitter
    if best.change <= jitter.largest:
        sentence += (
            f". That is no more than moving the stage borders by {jitter.frames} frames can do ({jitter.largest:.2f})"
        )
    return f"{sentence}."


def _moves(explanation: Explanation) -> list[str]:
    """What the score does with the flight frozen, and at most with other backgrounds (whole, or before the entry)."""
    sentences, frozen = [], explanation.checks.frozen_flight
    if frozen is not None:
        name, change = explanation.assessment.value_name, signed(shown_change(explanation, frozen.score))
        listens = "listens to the flight" if frozen.moves else "hardly listens to the flight"
        sentences.append(f"With the flight frozen the {name} would be {frozen.score:.2f} ({change}): it {listens}.")
    for phrase, is_whole in (
        ("With another background", True),
        ("With another background before the entry only", False),
    ):
        changes = [
            abs(shown_change(explanation, background.score))
            for background in explanation.backgrounds
            if (background.end_frame == CLIP_FRAMES) == is_whole
        ]
        if changes:
            name, unit = explanation.assessment.value_name, explanation.unit
            sentences.append(f"{phrase}, the {name} changes by {max(changes):.2f} {unit} at most.")
    return sentences


# The terminal output.

_SNIPPETS_SHOWN = 3


def explanation_sections(explanation: Explanation, *, snippets_shown: int | None = None) -> list[Section]:
    """Return every table, in reading order: measured facts, interventions, the score's parts, attention last.

    Args:
        explanation: What to show.
        snippets_shown: Most snippets, and the stages' attention as its mean alone; None shows all.
    """
    graph, stages = explanation.graph_attention, stage_attention(explanation, layers=snippets_shown is None)
    return [
        *([candidates(explanation.assessment)] if explanation.assessment.candidates else []),
        *([measured_section(explanation.measurements)] if explanation.measurements else []),
        *interventions(explanation),
        contributions(explanation.assessment),
        timeline(explanation),
        *([backgrounds(explanation)] if explanation.backgrounds else []),
        checks(explanation),
        exemplar_votes(explanation.assessment),
        *([] if graph is None else [snippets(explanation, snippets_shown), node_attention(graph)]),
        *([] if stages is None else [stages]),
    ]


def print_explanation(explanation: Explanation, console: Console) -> None:
    """Print score, summary, measured facts and tables; attention, limits and provenance last."""
    assessment = explanation.assessment
    print_score_panel(assessment, console)
    console.print()
    console.print(Text("In short", style="bold"))
    _print_points(summarise_explanation(explanation), console)
    for section in explanation_sections(explanation, snippets_shown=_SNIPPETS_SHOWN):
        print_section(section, console)
    console.print()
    console.print(Text("Limits", style="bold"))
    _print_points(limits_of(explanation, notes=not is_quiet()), console)
    print_provenance(assessment, console, notes=False)


def _print_points(lines: Sequence[str], console: Console) -> None:
    """Print sentences as a list with hanging indents."""
    table = new_table("", "")
    table.show_header, table.box, table.padding = False, None, (0, 1, 0, 0)
    table.columns[1].justify = "left"
    for line in lines:
        add_row(table, "-", printable(words(line, console), console))
    print_table(table, console)
