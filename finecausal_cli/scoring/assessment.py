"""Turn the votes on a dive into its assessment: stages, votes, difficulty, interval, caveats."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from finecausal_cli.diving import COUNTING_MARKS, MAX_EXECUTION, parse_dive_number
from finecausal_cli.diving import difficulty as listed_difficulty
from finecausal_cli.errors import DiveNumberError, UsageError
from finecausal_cli.model.causal import UNIFORM_ATTENTION, node_type_attention
from finecausal_cli.model.config import STAGE_WEIGHTS, STAGES
from finecausal_cli.scoring.results import (
    Assessment,
    Attention,
    Interval,
    Provenance,
    Stage,
    StageSpan,
    Vote,
)
from finecausal_cli.weights import caveat_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from finecausal_cli.retrieval.bank import Bank
    from finecausal_cli.retrieval.voting import Choice, ExemplarVotes, VotingContext
    from finecausal_cli.scoring import ScoreOptions
    from finecausal_cli.video import Clip
    from finecausal_cli.weights import StoredInterval


def build_stages(clip: Clip, votes: ExemplarVotes, difficulty: float) -> tuple[Stage, Stage, Stage]:
    """Return the stages, cut at the mean over voters of the query's transitions; contributions in points."""
    first, second, third = (
        Stage(
            **span.model_dump(),
            difference=difference,
            weight=weight,
            contribution=difference * weight * difficulty,
            marks=difference * weight / COUNTING_MARKS,
        )
        for span, difference, weight in zip(
            build_spans(clip, votes.borders), votes.stage_differences.mean(0).tolist(), STAGE_WEIGHTS, strict=True
        )
    )
    return first, second, third


def build_spans(clip: Clip, borders: Sequence[int]) -> tuple[StageSpan, StageSpan, StageSpan]:
    """Return when each stage takes place, from the four borders of the stages in sampled frames."""
    times_s = [*(clip.time_s(frame) for frame in borders[:-1]), clip.end_s]
    first, second, third = (
        StageSpan(name=name, start_frame=start, end_frame=end, start_s=start_s, end_s=end_s)
        for name, (start, end), (start_s, end_s) in zip(STAGES, pairwise(borders), pairwise(times_s), strict=True)
    )
    return first, second, third


def build_attention(votes: ExemplarVotes) -> Attention | None:
    """Return the attention averaged over the voters; None if it was not kept or the network has none."""
    nodes, stages = votes.pairs.node_attention, votes.pairs.stage_attention
    if nodes is None or stages is None:
        return None
    types = node_type_attention(nodes[:, -1]).mean(0).cpu().double().tolist()
    between_stages = stages[:, 0].mean((0, 1)).cpu().double().tolist()
    return Attention(
        node_types=tuple(tuple(row) for row in types),
        node_uniform=UNIFORM_ATTENTION,
        stages=tuple(tuple(row) for row in between_stages),
    )


def build_votes(bank: Bank, choice: Choice, votes: ExemplarVotes, difficulty: float) -> tuple[Vote, ...]:
    """Return what each voter says, in voting order."""
    rows = zip(
        choice.indices,
        choice.similarities,
        votes.stage_differences.tolist(),
        votes.pairs.delta[:, 0].cpu().double().tolist(),
        votes.executions.tolist(),
        strict=True,
    )
    return tuple(
        Vote(
            exemplar=bank.exemplars[index].id,
            dive=bank.exemplars[index].dive or "unknown",
            execution=bank.exemplars[index].execution,
            similarity=similarity,
            stage_differences=(stages[0], stages[1], stages[2]),
            difference=difference,
            score=execution * difficulty,
        )
        for index, similarity, stages, difference, execution in rows
    )


def build_interval(stored: StoredInterval | None, score: float, difficulty: float) -> Interval | None:
    """Return the interval about a score, within what judges can give; None if the weights state none."""
    if stored is None:
        return None
    half = stored.execution_half_width * difficulty
    low, high = (min(max(0.0, end), MAX_EXECUTION * difficulty) for end in (score - half, score + half))
    return Interval(low=low, high=high, level=stored.level)


def resolve_difficulty(bank: Bank, choice: Choice, options: ScoreOptions) -> tuple[float, str]:
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
    nearest = max(zip(choice.similarities, choice.indices, strict=True))[1]
    exemplar = bank.exemplars[nearest]
    return exemplar.difficulty, f"that of the most similar voter, {exemplar.id}"


def _listed(number: str, height_m: float) -> float | None:
    try:
        return listed_difficulty(parse_dive_number(number), height_m)
    except DiveNumberError:  # what somebody called the dives of a bank
        return None


def build_assessment(
    clip: Clip,
    choice: Choice,
    context: VotingContext,
    options: ScoreOptions,
    difficulty_from: str,
    interval: Interval | None,
    provenance: Provenance,
) -> Assessment:
    """Put everything that is known of a scored clip together.

    Args:
        clip: The clip.
        choice: Which exemplars were chosen and why.
        context: Their votes.
        options: How the clip was to be scored.
        difficulty_from: Where the difficulty comes from, in words.
        interval: About the score.
        provenance: What computed it.
    """
    votes, difficulty, execution = context.votes, context.difficulty, context.votes.execution
    caveat = caveat_of(provenance.trained_on)
    notes = [*([] if caveat is None else [caveat]), *choice.caveats, *clip.notes]
    if not 0 <= execution <= MAX_EXECUTION:
        notes.append(f"execution {execution:.1f} lies outside the 0..30 that judges can give: the model is guessing")
    return Assessment(
        source=clip.source,
        score=context.score,
        execution=execution,
        mark=execution / COUNTING_MARKS,
        difficulty=difficulty,
        difficulty_from=difficulty_from,
        dive=choice.dive,
        dive_from=choice.dive_from,
        height_m=options.height_m,
        exemplar_score=float(votes.exemplar_executions.mean()) * difficulty,
        exemplar_mark=float(votes.exemplar_executions.mean()) / COUNTING_MARKS,
        interval=interval,
        stages=build_stages(clip, votes, difficulty),
        votes=build_votes(context.bank, choice, votes, difficulty),
        attention=build_attention(votes) if options.attention else None,
        provenance=provenance,
        notes=tuple(notes),
    )
