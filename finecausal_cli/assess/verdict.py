"""Turn the votes on a dive into the parts of an ``Assessment``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from finecausal_cli.assess.assessment import Assessment, Attention, Interval, Stage, Vote
from finecausal_cli.diving.difficulty import difficulty as listed_difficulty
from finecausal_cli.diving.judging import MAX_EXECUTION
from finecausal_cli.diving.number import parse_dive_number
from finecausal_cli.errors import DiveNumberError, UsageError
from finecausal_cli.model.attention import UNIFORM_ATTENTION, node_type_attention
from finecausal_cli.model.config import STAGE_WEIGHTS, STAGES
from finecausal_cli.video.clip import CLIP_FRAMES

if TYPE_CHECKING:
    from finecausal_cli.assess.assessment import Provenance
    from finecausal_cli.assess.hearing import Hearing
    from finecausal_cli.assess.score_options import ScoreOptions
    from finecausal_cli.exemplars.bank import Bank
    from finecausal_cli.exemplars.choice import Choice
    from finecausal_cli.exemplars.vote import Ballot
    from finecausal_cli.video.clip import Clip
    from finecausal_cli.weights.info import StoredInterval


def stages_of(clip: Clip, ballot: Ballot, difficulty: float) -> tuple[Stage, Stage, Stage]:
    """Return the stages, cut at the mean over voters of the query's transitions; contributions in points."""
    flight, entry = (round(frame) for frame in ballot.transitions.double().mean(0).tolist())
    borders = (0, flight, entry, CLIP_FRAMES)
    times = [clip.time_s(frame) for frame in borders[:-1]]
    times.append(clip.end_s)
    differences = ballot.pairs.stage_deltas[:, 0].cpu().double().mean(0).tolist()
    first, second, third = (
        Stage(
            name=name,
            start_frame=borders[place],
            end_frame=borders[place + 1],
            start_s=times[place],
            end_s=times[place + 1],
            difference=differences[place],
            weight=STAGE_WEIGHTS[place],
            contribution=differences[place] * STAGE_WEIGHTS[place] * difficulty,
        )
        for place, name in enumerate(STAGES)
    )
    return first, second, third


def attention_of(ballot: Ballot) -> Attention | None:
    """Return the attention averaged over the voters; None if it was not kept or the network has none."""
    nodes, stages = ballot.pairs.node_attention, ballot.pairs.stage_attention
    if nodes is None or stages is None:
        return None
    types = node_type_attention(nodes[:, -1]).mean(0).cpu().double().tolist()
    between_stages = stages[:, 0].mean((0, 1)).cpu().double().tolist()
    return Attention(
        node_types=tuple(tuple(row) for row in types),
        node_uniform=UNIFORM_ATTENTION,
        stages=tuple(tuple(row) for row in between_stages),
    )


def votes_of(bank: Bank, choice: Choice, ballot: Ballot, difficulty: float) -> tuple[Vote, ...]:
    """Return what each voter says, in voting order."""
    rows = zip(
        choice.places,
        choice.similarities,
        ballot.pairs.stage_deltas[:, 0].cpu().double().tolist(),
        ballot.pairs.delta[:, 0].cpu().double().tolist(),
        ballot.executions.tolist(),
        strict=True,
    )
    return tuple(
        Vote(
            exemplar=bank.exemplars[place].id,
            dive=bank.exemplars[place].dive or "unknown",
            execution=bank.exemplars[place].execution,
            similarity=similarity,
            stage_differences=(stages[0], stages[1], stages[2]),
            difference=difference,
            score=execution * difficulty,
        )
        for place, similarity, stages, difference, execution in rows
    )


def interval_of(stored: StoredInterval | None, score: float, difficulty: float) -> Interval | None:
    """Return the interval about a score, within what judges can give; None if the weights state none."""
    if stored is None:
        return None
    half = stored.execution_half_width * difficulty
    low, high = (min(max(0.0, end), MAX_EXECUTION * difficulty) for end in (score - half, score + half))
    return Interval(low=low, high=high, level=stored.level)


def difficulty_of(bank: Bank, choice: Choice, options: ScoreOptions) -> tuple[float, str]:
    """Return a dive's difficulty and where it comes from: given, listed, or that of the most similar voter.

    Raises:
        UsageError: The dive that was named is not listed at its height.
    """
    if options.difficulty is not None:
        return options.difficulty, "given"
    number = options.dive or choice.dive
    if number is not None and options.height_m is not None:
        listed = _listed(number, options.height_m)
        if listed is not None:
            return listed, f"listed for {number} at {options.height_m:g} m"
        if options.dive is not None:
            raise UsageError(
                f"{number} has no listed difficulty at {options.height_m:g} m",
                where="--height",
                hint="give --difficulty",
            )
    nearest = max(zip(choice.similarities, choice.places, strict=True))[1]
    exemplar = bank.exemplars[nearest]
    return exemplar.difficulty, f"that of the most similar voter, {exemplar.id}"


def _listed(number: str, height_m: float) -> float | None:
    try:
        return listed_difficulty(parse_dive_number(number), height_m)
    except DiveNumberError:  # what somebody called the dives of a bank
        return None


def assessment_of(
    clip: Clip,
    choice: Choice,
    hearing: Hearing,
    options: ScoreOptions,
    difficulty_from: str,
    interval: Interval | None,
    provenance: Provenance,
) -> Assessment:
    """Put everything that is known of a scored dive together.

    Args:
        clip: The clip.
        choice: Who voted and why.
        hearing: The votes.
        options: What was asked.
        difficulty_from: Where the difficulty comes from, in words.
        interval: About the score.
        provenance: What computed it.
    """
    ballot, difficulty, execution = hearing.ballot, hearing.difficulty, hearing.ballot.execution
    notes = [*choice.caveats, *clip.notes]
    if not 0 <= execution <= MAX_EXECUTION:
        notes.append(f"execution {execution:.1f} lies outside the 0..30 that judges can give: the model is guessing")
    return Assessment(
        source=clip.source,
        score=hearing.score,
        execution=execution,
        difficulty=difficulty,
        difficulty_from=difficulty_from,
        dive=choice.dive,
        dive_from=choice.dive_from,
        height_m=options.height_m,
        exemplar_score=float(ballot.exemplar_executions.mean()) * difficulty,
        interval=interval,
        stages=stages_of(clip, ballot, difficulty),
        votes=votes_of(hearing.bank, choice, ballot, difficulty),
        attention=attention_of(ballot) if options.attention else None,
        provenance=provenance,
        notes=tuple(notes),
    )
