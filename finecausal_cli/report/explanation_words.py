"""An explanation in plain words, made of measured quantities only: never advice, never a cause nobody measured."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from finecausal_cli.report.explanation_rows import bank_in_words, exemplars_in_words, shown_change
from finecausal_cli.report.rounding import signed
from finecausal_cli.video.clip import CLIP_FRAMES

if TYPE_CHECKING:
    from finecausal_cli.assess.assessment import Assessment, StageName
    from finecausal_cli.assess.explanation import Explanation, Ranking, StageIntervention

STAGE_WORDS: Final[dict[StageName, str]] = {"takeoff": "take-off", "flight": "flight", "entry": "entry"}

LIMITS: Final = (
    "Where a stage begins and ends is the weights' own finding. In weights that were trained without stage labels "
    "nothing ties a stage to what people call by its name, and another training may share the same score out "
    "differently among the stages.",
    "Differences are measured against exemplars, not against a perfect dive: the same dive loses less beside weaker "
    "exemplars.",
    "Attention says where the model looked, not what moved the score; the interventions say that.",
)
"""What holds for every explanation, whatever the weights."""

_LEAST = 0.005
"""Points that round to 0.01: less is nothing, as shown."""


def summarise_explanation(explanation: Explanation) -> list[str]:
    """Return the summary, a sentence or two each, the most telling first."""
    assessment = explanation.assessment
    sentences = [_standing(assessment), *_extremes(assessment), *_gains(explanation)]
    return [*sentences, *_moves(explanation)]


def limits_of(explanation: Explanation) -> list[str]:
    """Return what a reader must know before trusting the numbers: of these weights, of this dive, of every dive."""
    assessment = explanation.assessment
    note = assessment.provenance.weights_note
    return [f"These weights: {note}", *dict.fromkeys((*assessment.notes, *explanation.notes)), *LIMITS]


def _standing(assessment: Assessment) -> str:
    gap = assessment.score - assessment.exemplar_score
    whom = exemplars_in_words(assessment)
    against = f"the mean of {whom}" if len(assessment.votes) > 1 else whom
    if abs(gap) < _LEAST:
        return f"The dive scores {assessment.score:.2f} points, as much as {against}."
    side = "more" if gap > 0 else "less"
    begin = f"The dive scores {assessment.score:.2f} points, {abs(gap):.2f} {side} than {against}"
    return f"{begin} ({assessment.exemplar_score:.2f} at the same difficulty)."


def _extremes(assessment: Assessment) -> list[str]:
    stages = sorted(assessment.stages, key=lambda stage: stage.contribution)
    worst, best = stages[0], stages[-1]
    whom = exemplars_in_words(assessment)
    said = []
    if worst.contribution <= -_LEAST:
        said.append(f"Most lost at {STAGE_WORDS[worst.name]}: {signed(worst.contribution)} points against {whom}.")
    if best.contribution >= _LEAST:
        said.append(f"Most won at {STAGE_WORDS[best.name]}: {signed(best.contribution)} points against {whom}.")
    return said or [f"No stage wins or loses a point against {whom}."]


def _gains(explanation: Explanation) -> list[str]:
    said = []
    for ranking in explanation.rankings:
        first = ranking.stages[0]
        best = next(
            one for one in explanation.interventions if (one.stage, one.replaced_by) == (first, ranking.replaced_by)
        )
        said.append(_gain(explanation, ranking, best))
    return said


def _gain(explanation: Explanation, ranking: Ranking, best: StageIntervention) -> str:
    bank = bank_in_words(explanation, ranking)
    exemplars = "the exemplars" if len(explanation.assessment.votes) > 1 else "the exemplar"
    if best.change < _LEAST:
        return f"No stage of {bank or exemplars} in place of the dive's own would raise the score."
    stage = STAGE_WORDS[best.stage]
    whose = f"the {stage} of {exemplars}" if bank is None else f"the mean {stage} of {bank}"
    names = [stage.name for stage in explanation.assessment.stages]
    downstream = sum(best.stage_changes[names.index(best.stage) + 1 :])
    voters = len(explanation.assessment.votes)
    change = shown_change(explanation, best.score)
    said = f"With {whose} the score would be {best.score:.2f} ({signed(change)})"
    if abs(downstream) >= _LEAST:
        said += f", {signed(downstream)} of it in later stages"
    if voters > 1:
        said += f"; {best.voters_gaining} of {voters} verdicts would rise"
    jitter = explanation.checks.jitter
    if best.change <= jitter.largest:
        said += (
            f". That is no more than moving the stage borders by {jitter.frames} frames can do ({jitter.largest:.2f})"
        )
    return f"{said}."


def _moves(explanation: Explanation) -> list[str]:
    """Say how far another background moves the score at most, over the whole clip and over a part of it."""
    said = []
    for words, changes in (
        ("Before another background", [one for one in explanation.backgrounds if one.end_frame == CLIP_FRAMES]),
        (
            "With the background replaced before the entry only",
            [one for one in explanation.backgrounds if one.end_frame < CLIP_FRAMES],
        ),
    ):
        if changes:
            most = max(abs(shown_change(explanation, one.score)) for one in changes)
            said.append(f"{words}, the score moves by {most:.2f} points at most.")
    return said
