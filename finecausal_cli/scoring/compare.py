"""Compare two clips with each other, as the network compares a dive with an exemplar."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from finecausal_cli.config import __version__
from finecausal_cli.diving import COUNTING_MARKS, MAX_EXECUTION, parse_dive_number
from finecausal_cli.diving import difficulty as listed_difficulty
from finecausal_cli.errors import FinecausalError, UsageError
from finecausal_cli.model.causal import UNIFORM_ATTENTION, node_type_attention
from finecausal_cli.model.config import STAGE_WEIGHTS, STAGES
from finecausal_cli.retrieval.bank import Bank, Exemplar
from finecausal_cli.retrieval.voting import VotingContext
from finecausal_cli.scoring import CompareOptions, ScoreOptions
from finecausal_cli.scoring.assessment import build_spans
from finecausal_cli.scoring.background import gather_evidence
from finecausal_cli.scoring.comparison_results import (
    ComparedDive,
    ComparedStage,
    Comparison,
    ComparisonProvenance,
    Exchange,
    PairAttention,
)
from finecausal_cli.scoring.explain import view_graph
from finecausal_cli.scoring.prepared_dive import refused_error
from finecausal_cli.video import CLIP_FRAMES
from finecausal_cli.video.pictures import sampled_like
from finecausal_cli.weights import caveat_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from finecausal_cli.model.finecausal import FineCausal
    from finecausal_cli.model.outputs import Encoding, PairOutput
    from finecausal_cli.retrieval.voting import ExemplarVotes
    from finecausal_cli.scoring.background import Evidence
    from finecausal_cli.scoring.comparison_results import PairSide
    from finecausal_cli.scoring.dive_reading import ReadAhead
    from finecausal_cli.scoring.prepared_dive import PreparedDive
    from finecausal_cli.scoring.results import Row3
    from finecausal_cli.scoring.scorer import Scorer

_QUERY, _EXEMPLAR = 0, 1


@dataclass(frozen=True)
class _EncodedDive:
    """A clip, encoded, with its pictures if they are asked for."""

    prepared: PreparedDive
    encoding: Encoding
    evidence: Evidence | None


def compare_dives(
    scorer: Scorer,
    query: str | os.PathLike[str],
    exemplar: str | os.PathLike[str],
    options: CompareOptions | None = None,
    *,
    ahead: tuple[ReadAhead | None, ReadAhead | None] = (None, None),
) -> tuple[Comparison, tuple[Evidence, Evidence] | None]:
    """Compare two dives, stage by stage.

    Args:
        scorer: The weights, and the bank if it is to be asked.
        query: A video file or a folder of frames.
        exemplar: The same; this dive plays the exemplar.
        options: How.
        ahead: Have begun to read the two dives.

    Returns:
        The comparison; and the pictures of both dives if ``picture_size`` or ``tracks`` asks for them.

    Raises:
        RefusedError: A clip shows no dive; its ``found`` says what there is.
        VideoError: A clip cannot be read.
        UsageError: Dive number or height is wrong, or a score is given without a difficulty.
    """
    started = time.perf_counter()
    options = options or CompareOptions()
    number = None if options.dive is None else str(parse_dive_number(options.dive))
    options = replace(options, dive=number)
    degree, degree_from = _difficulty(options)
    execution, execution_from = _given_execution(options, degree)
    first = _encode(scorer, os.fspath(query), options.query_range_s, options, ahead[0])
    second = _encode(scorer, os.fspath(exemplar), options.exemplar_range_s, options, ahead[1])
    # The second dive is a bank of one; its execution, if it is known, is added afterwards.
    only = Exemplar(id="B", dive=options.dive, height_m=options.height_m, difficulty=degree or 1.0, execution=0.0)
    bank = Bank(os.fspath(exemplar), (only,), second.encoding, scorer.weights[1])
    context = VotingContext.build(scorer.model, first.encoding, bank, (0,), difficulty=degree or 1.0, hold=False)
    pairs, reversal_error = context.votes.pairs, _reversal_error(context)
    stages = _stages(context.votes, degree)
    difference = sum(stage.contribution for stage in stages)
    if options.ask_bank:
        execution, execution_from = _ask_bank(scorer, second, options)
    after = None if execution is None else execution + difference
    numbers = [options.dive or scorer.recognise(each.encoding, each.prepared.body_track) for each in (first, second)]
    name, digest = scorer.weights
    comparison = Comparison(
        query=_dive(first.prepared, pairs, _QUERY, after, degree, numbers[_QUERY]),
        exemplar=_dive(second.prepared, pairs, _EXEMPLAR, execution, degree, numbers[_EXEMPLAR]),
        dive=options.dive,
        height_m=options.height_m,
        difficulty=degree,
        difficulty_from=degree_from,
        execution_from=execution_from,
        difference=difference,
        points=None if degree is None else difference * degree,
        stages=stages,
        exchanges=exchange_stages(scorer.model, pairs),
        attention=_attention(context.votes),
        antisymmetric=scorer.model.config.antisymmetric,
        reversal_error=reversal_error,
        provenance=ComparisonProvenance(
            version=__version__,
            weights=name,
            weights_digest=digest,
            weights_note=scorer.info.note,
            trained_on=scorer.info.trained_on,
            device=str(scorer.device),
            precision=scorer.precision,
            seconds=time.perf_counter() - started,
        ),
        notes=_notes(scorer, numbers, after, reversal_error),
    )
    if first.evidence is None or second.evidence is None:
        return comparison, None
    return comparison, (first.evidence, second.evidence)


def exchange_stages(model: FineCausal, pairs: PairOutput) -> tuple[Exchange, ...]:
    """Give each dive the other's stages, one at a time, and let the later stages follow.

    Args:
        model: The network, in evaluation mode.
        pairs: The comparison of one pair.

    Returns:
        Six exchanges: by stage with the exemplar's stage given to the query, then the other way.
    """
    before = _weighed(pairs.stage_deltas)
    exchanges: list[Exchange] = []
    sides: tuple[tuple[PairSide, int], ...] = (("query", _QUERY), ("exemplar", _EXEMPLAR))
    for given_to, receives in sides:
        for stage, name in enumerate(STAGES):
            tokens = _with_stage(pairs.tokens, receives, stage)
            static = None if pairs.static_tokens is None else _with_stage(pairs.static_tokens, receives, stage)
            with torch.inference_mode():
                after = _weighed(model.regress(tokens, static).stage_deltas)
            takeoff, flight, entry = (later - earlier for later, earlier in zip(after, before, strict=True))
            exchanges.append(
                Exchange(
                    stage=name,
                    given_to=given_to,
                    difference=sum(after),
                    change=takeoff + flight + entry,
                    stage_changes=(takeoff, flight, entry),
                )
            )
    return tuple(exchanges)


def _with_stage(tokens: Tensor, receives: int, stage: int) -> Tensor:
    changed = tokens.clone()
    changed[:, receives, stage] = tokens[:, 1 - receives, stage]
    return changed


def _weighed(stage_deltas: Tensor) -> list[float]:
    """Return the contribution of each stage of the first pair, query minus exemplar, execution units."""
    differences = stage_deltas[0, _QUERY].cpu().double().tolist()
    return [difference * weight for difference, weight in zip(differences, STAGE_WEIGHTS, strict=True)]


def _encode(
    scorer: Scorer,
    path: str,
    range_s: tuple[float | None, float | None],
    options: CompareOptions,
    ahead: ReadAhead | None,
) -> _EncodedDive:
    start_s, end_s = range_s
    how = ScoreOptions(start_s=start_s, end_s=end_s, timeout_s=options.timeout_s, force=options.force)
    prepared = scorer.locate(path, how, ahead=ahead)
    clip = prepared.dive_clip.clip
    if not scorer.sees(prepared):
        raise refused_error(prepared.withheld())
    is_wanted = options.picture_size is not None or options.tracks
    encoding = scorer.encode_dive(prepared, foreground=is_wanted)
    evidence, pictures = None, None
    if options.picture_size is not None:
        process = None if ahead is None else ahead.process
        pictures = sampled_like(path, clip, options.picture_size, timeout_s=options.timeout_s, process=process)
    if is_wanted:
        logits = None if encoding.foreground is None else encoding.foreground[-1][0]
        evidence = gather_evidence(clip, scorer.foreground(prepared, logits), pictures, prepared.track)
    return _EncodedDive(prepared, replace(encoding, foreground=None), evidence)


def _reversal_error(context: VotingContext) -> float:
    """Compare the dives in the other order, too, to see that nothing but the sign changes."""
    with torch.inference_mode():
        swapped = context.model.compare(context.voters, context.query)
    return float((context.votes.pairs.stage_deltas[:, 0] + swapped.stage_deltas[:, 0]).abs().max())


def _difficulty(options: CompareOptions) -> tuple[float | None, str]:
    if options.difficulty is not None:
        return options.difficulty, "given"
    if options.dive is not None and options.height_m is not None:
        listed = listed_difficulty(parse_dive_number(options.dive), options.height_m)
        where = f"{options.dive} at {options.height_m:g} m"
        if listed is None:
            raise UsageError(f"no difficulty is listed for {where}", where="--height", hint="give --difficulty")
        return listed, f"listed for {where}"
    return None, "not known: give --difficulty, or --dive and --height"


def _given_execution(options: CompareOptions, degree: float | None) -> tuple[float | None, str]:
    if options.execution is not None:
        return options.execution, "given"
    if options.score is None:
        return None, "not known: give --execution, --score or --ask-bank"
    if degree is None:
        hint = "give --difficulty, or --dive and --height"
        raise UsageError("a score needs a difficulty", where="--score", hint=hint)
    if options.score > degree * MAX_EXECUTION:
        what = f"{options.score:g} points are more than judges can give at difficulty {degree:g}"
        raise UsageError(what, where="--score", hint=f"{degree * MAX_EXECUTION:g} at most")
    return options.score / degree, f"given score / {degree:g}"


def _ask_bank(scorer: Scorer, exemplar: _EncodedDive, options: CompareOptions) -> tuple[float, str]:
    how = ScoreOptions(dive=options.dive, voters=options.voters, seed=options.seed, attention=False)
    (voted,) = scorer.vote([exemplar.encoding], [how], [exemplar.prepared.body_track])
    if isinstance(voted, FinecausalError):
        raise voted
    choice, votes = voted
    return votes.execution, f"judged by the bank: {choice.how}"


def _dive(
    prepared: PreparedDive,
    pairs: PairOutput,
    side: int,
    execution: float | None,
    degree: float | None,
    number: str | None,
) -> ComparedDive:
    clip, dive = prepared.dive_clip.clip, prepared.dive_clip.dive
    flight, entry = pairs.transitions[0, side].cpu().tolist()
    return ComparedDive(
        source=clip.source,
        decoder=clip.decoder,
        stages=build_spans(clip, (0, flight, entry, CLIP_FRAMES)),
        execution=execution,
        score=None if execution is None or degree is None else execution * degree,
        notes=(*dive.missing, *dive.notes, *prepared.notes, *clip.notes),
        flight_start_s=dive.takeoff_s,
        entry_start_s=dive.entry_s,
        time_scale=dive.time_scale,
        dive=number,
        forced=prepared.forced,
    )


def _stages(votes: ExemplarVotes, degree: float | None) -> tuple[ComparedStage, ComparedStage, ComparedStage]:
    first, second, third = (
        ComparedStage(
            name=name,
            difference=difference,
            weight=weight,
            contribution=difference * weight,
            points=None if degree is None else difference * weight * degree,
            marks=difference * weight / COUNTING_MARKS,
        )
        for name, difference, weight in zip(STAGES, votes.stage_differences[0].tolist(), STAGE_WEIGHTS, strict=True)
    )
    return first, second, third


def _attention(votes: ExemplarVotes) -> PairAttention | None:
    graph, stages = view_graph(votes, None, None), votes.pairs.stage_attention
    if graph is None or stages is None:
        return None
    types = node_type_attention(torch.from_numpy(graph)[..., None]).tolist()
    query, exemplar = stages[0].mean(1).cpu().double().tolist()
    return PairAttention(
        node_types=tuple(tuple(row) for row in types),
        node_uniform=UNIFORM_ATTENTION,
        query_stages=_three_by_three(query),
        exemplar_stages=_three_by_three(exemplar),
    )


def _three_by_three(rows: Sequence[Sequence[float]]) -> tuple[Row3, Row3, Row3]:
    first, second, third = ((a, b, c) for a, b, c in rows)
    return first, second, third


def _notes(
    scorer: Scorer, numbers: Sequence[str | None], execution: float | None, reversal_error: float
) -> tuple[str, ...]:
    notes = [note for note in (caveat_of(scorer.info.trained_on), _note_of_numbers(numbers)) if note is not None]
    if execution is not None and not 0 <= execution <= MAX_EXECUTION:
        notes.append(f"execution {execution:.1f} of A lies outside the 0..30 that judges can give: a guess")
    if not scorer.model.config.antisymmetric:
        notes.append(
            "these weights read a pair in its order: in the other order the numbers are not exactly the negated ones "
            f"(a stage is off by up to {reversal_error:.2f} of execution)"
        )
    return tuple(notes)


def _note_of_numbers(numbers: Sequence[str | None]) -> str | None:
    """Say why the comparison may contradict two scores; None for dives that are surely of one number."""
    unknown = [letter for letter, number in zip("AB", numbers, strict=True) if number is None]
    score = "score compares each with exemplars of its own number, and may rank the two otherwise"
    if unknown:
        return (
            f"the dive number of {' and '.join(unknown)} is not sure: this may compare the bodies of different dives; "
            f"{score}. If both are of one number, give it with --dive"
        )
    first, second = numbers
    if first == second:
        return None
    return f"A is {first}, B {second}: this compares the bodies of different dives; {score}"
