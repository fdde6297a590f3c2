"""The tables of an explanation as text, the same on a terminal and on a page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from finecausal_cli.report.rounding import hundredths_that_add_up, signed

if TYPE_CHECKING:
    from finecausal_cli.assess.assessment import Assessment
    from finecausal_cli.assess.explanation import Explanation, Ranking, Replacement

Row = tuple[str, ...]

_TOLERANCE_DIGITS = 6
_SECONDS_IN_MINUTE = 60
_MINUTES_IN_HOUR = 60

REPLACED_BY: Final[dict[Replacement, str]] = {
    "exemplar": "the exemplars' stage",
    "bank_mean": "the bank's mean stage",
    "bank_best": "the bank's best stage",
}

_DOWNSTREAM = "Best first. A stage can change later stages (downstream), never earlier ones."


@dataclass(frozen=True, slots=True)
class Section:
    """One table with what it takes to read it.

    Attributes:
        title: Heading.
        say: How to read it.
        headings: Of the columns; the first one names the rows.
        rows: As long as the headings.
        adds_up: Whether the last row is the sum of the others.
    """

    title: str
    say: str
    headings: Row
    rows: tuple[Row, ...]
    adds_up: bool = False


def time_code(seconds: float) -> str:
    """Write a time in a video to the hundredth of a second: ``0:01.64``, ``1:02:03.45``."""
    hundredths = round(seconds * 100)
    minutes, rest = divmod(hundredths, _SECONDS_IN_MINUTE * 100)
    hours, minutes = divmod(minutes, _MINUTES_IN_HOUR)
    clock = f"{hours}:{minutes:02d}" if hours else f"{minutes}"
    return f"{clock}:{rest // 100:02d}.{rest % 100:02d}"


def exemplars_in_words(assessment: Assessment) -> str:
    """Return who the dive is held against: ``exemplar ID`` or ``5 exemplars``."""
    votes = assessment.votes
    return f"exemplar {votes[0].exemplar}" if len(votes) == 1 else f"{len(votes)} exemplars"


def shown_change(explanation: Explanation, score: float) -> float:
    """Return by how much another score differs from the dive's, as a reader of both rounded scores finds it."""
    return round(score, 2) - round(explanation.assessment.score, 2)


def timeline(explanation: Explanation) -> Section:
    """When each stage is, how much of the picture the athlete takes, how much attention it gets."""
    graph = explanation.graph_attention
    say = "When each stage is in the video; how much of the picture the predicted athlete takes."
    if graph is not None:
        say += " Attention: the graph's attention to the query that falls on the stage, 1.00 without preference."
    shares = explanation.foreground.stages
    attention = (None, None, None) if graph is None else graph.stage_shares
    rows = [
        (
            stage.name,
            time_code(stage.start_s),
            time_code(stage.end_s),
            f"{stage.start_frame}-{stage.end_frame - 1}" if stage.end_frame > stage.start_frame else "none",
            f"{share:.1%}",
            *(() if drawn is None else (f"{drawn:.2f}",)),
        )
        for stage, share, drawn in zip(explanation.assessment.stages, shares, attention, strict=True)
    ]
    headings = ("stage", "from", "to", "of 96 frames", "athlete")
    return Section("Timeline", say, headings if graph is None else (*headings, "attention"), tuple(rows))


def contributions(assessment: Assessment) -> Section:
    """From the exemplars' mean score to the score, stage by stage; adds up as shown."""
    stages = assessment.stages
    parts = [assessment.exemplar_score, *(stage.contribution for stage in stages)]
    start, *shown = hundredths_that_add_up(parts, assessment.score)
    rows = [
        (stage.name, signed(stage.difference * assessment.difficulty), f"{stage.weight:.0%}", signed(value))
        for stage, value in zip(stages, shown, strict=True)
    ]
    return Section(
        "Contributions",
        "Points won or lost against the exemplars, times the weight of the stage: from their mean to the score.",
        ("stage", "against exemplars", "weight", "points"),
        (
            (exemplars_in_words(assessment), "", "", f"{start:.2f}"),
            *rows,
            ("score", "", "", f"{sum((start, *shown)):.2f}"),
        ),
        adds_up=True,
    )


def interventions(explanation: Explanation) -> list[Section]:
    """The score with each stage replaced, best first; one table for each kind of replacement."""
    assessment = explanation.assessment
    voters = len(assessment.votes)
    tables = []
    for ranking in explanation.rankings:
        found = {one.stage: one for one in explanation.interventions if one.replaced_by == ranking.replaced_by}
        rows = []
        for name in ranking.stages:
            change = shown_change(explanation, found[name].score)
            parts = hundredths_that_add_up(found[name].stage_changes, change)
            rows.append(
                (
                    name,
                    f"{found[name].score:.2f}",
                    signed(change),
                    *(signed(part) for part in parts),
                    f"{found[name].voters_gaining}/{voters}",
                )
            )
        headings = ("replaced", "score", "change", *(f"in {stage.name}" for stage in assessment.stages), "gain")
        tables.append(
            Section(
                f"Interventions: {REPLACED_BY[ranking.replaced_by]}",
                _intervention_say(explanation, ranking),
                headings,
                tuple(rows),
            )
        )
    return tables


def bank_in_words(explanation: Explanation, ranking: Ranking) -> str | None:
    """Return whose mean stage replaces the dive's, or None where each exemplar's own does."""
    if ranking.replaced_by == "bank_mean" and explanation.bank_mean is not None:
        return f"the bank's {explanation.bank_mean.exemplars} dives of {explanation.bank_mean.dive}"
    if ranking.replaced_by == "bank_best" and explanation.bank_best is not None:
        best = explanation.bank_best
        return f"the bank's {f'{best.exemplars} best dives' if best.exemplars > 1 else 'best dive'} of {best.dive}"
    return None


def _intervention_say(explanation: Explanation, ranking: Ranking) -> str:
    bank = bank_in_words(explanation, ranking)
    whose = "each exemplar's own" if bank is None else f"the mean of {bank}"
    return f"The score, had one stage been {whose}; gain: voters whose verdict rises. {_DOWNSTREAM}"


def backgrounds(explanation: Explanation) -> Section:
    """The score before other backgrounds."""
    return Section(
        "Background interventions",
        "The predicted athlete put before another background, and the clip encoded again: a model that reads the dive "
        "moves little.",
        ("background", "score", "change"),
        tuple(
            (one.description, f"{one.score:.2f}", signed(shown_change(explanation, one.score)))
            for one in explanation.backgrounds
        ),
    )


def checks(explanation: Explanation) -> Section:
    """Whether the explanation is consistent with the score and with itself."""
    found = explanation.checks
    limit = f"{found.tolerance:g}"
    jitter, deletion = found.jitter, found.deletion
    rows = [
        (
            "exemplars' score and contributions add up to the score",
            f"off by {found.decomposition_error:.{_TOLERANCE_DIGITS}f}",
            _holds(found.decomposition_error <= found.tolerance, limit),
        ),
        (
            "all three stages the exemplar's own: the exemplar against itself",
            f"off by {found.self_error:.{_TOLERANCE_DIGITS}f}",
            _holds(found.self_error <= found.tolerance, limit),
        ),
        ("an exemplar against itself", f"{found.self_difference:.4f}", "0 if both directions agree"),
        (
            f"stage borders moved by up to {jitter.frames} frames, {jitter.shifts} ways",
            f"{jitter.mean:.2f} on average",
            f"at most {jitter.largest:.2f}",
        ),
    ]
    if deletion is not None:
        rows.append(
            (
                f"snippet {deletion.snippet}, with most attention, taken away",
                f"{signed(deletion.change)}",
                f"others {deletion.others:.2f} on average",
            )
        )
    return Section(
        "Consistency", "What must hold, and how stable the score is; in points.", ("check", "found", ""), tuple(rows)
    )


def _holds(within: bool, limit: str) -> str:
    return f"holds (limit {limit})" if within else f"FAILS (limit {limit})"


def voters(assessment: Assessment) -> Section:
    """What each exemplar says."""
    votes = assessment.votes
    rows = [
        (
            vote.exemplar,
            vote.dive,
            f"{vote.similarity:.3f}",
            f"{vote.execution:.2f}",
            signed(vote.difference),
            f"{vote.score:.2f}",
        )
        for vote in votes
    ]
    return Section(
        "Voters",
        f"Score of the dive by each exemplar alone: (its execution + difference) × difficulty. Chosen: "
        f"{assessment.provenance.exemplars_chosen}.",
        ("exemplar", "dive", "similarity", "execution", "difference", "score"),
        tuple(rows),
    )
