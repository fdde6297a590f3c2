"""Turn the votes on a dive into its assessment: number, height, difficulty, stages, interval, caveats."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from math import exp, sqrt
from typing import TYPE_CHECKING, Final

from finecausal_cli.diving import COUNTING_MARKS, HEIGHTS_M, MAX_EXECUTION, apparatus, heights_for, parse_dive_number
from finecausal_cli.diving.competition import competition_marks, describe_competition
from finecausal_cli.errors import DiveNumberError, UsageError
from finecausal_cli.model.causal import UNIFORM_ATTENTION, node_type_attention
from finecausal_cli.model.config import STAGE_WEIGHTS, STAGES
from finecausal_cli.retrieval import NOT_SURE, RECOGNISED
from finecausal_cli.scoring.dives import SLOW_FROM
from finecausal_cli.scoring.results import (
    Assessment,
    Attention,
    Candidate,
    Competition,
    Interval,
    Stage,
    StageSpan,
    Vote,
)
from finecausal_cli.weights import caveat_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from finecausal_cli.diving import DiveNumber
    from finecausal_cli.retrieval.bank import Bank
    from finecausal_cli.retrieval.voting import Choice, ExemplarVotes, VotingContext
    from finecausal_cli.scoring import ScoreOptions
    from finecausal_cli.scoring.dives import LocatedDive
    from finecausal_cli.scoring.results import Familiarity, Provenance, Range
    from finecausal_cli.video import Clip
    from finecausal_cli.weights import StoredInterval


# From which height: given, or told from the real time in the air.
#
# The middle of the body falls freely from the take-off to the entry. It leaves the board a body's half above it, rises
# by what the take-off gives, and is a body's half above the water when the hands touch. How long it takes tells of the
# height; and how long it rises and falls tells how deep the fall is.

_GRAVITY: Final = 9.81
_CENTRE_ABOVE_BOARD_M: Final = 1.1
_CENTRE_AT_ENTRY_M: Final = 1.2

_RISES_M: Final = {"springboard": (0.3, 1.3), "platform": (0.2, 0.6), "armstand": (0.0, 0.08)}
"""Least and most that the middle of the body rises. Good take-offs rise by 1.27 m from a springboard and by 0.35 to
0.5 m from a platform (simulator); who stands on a springboard instead of leaping rises less. Assumed, and wide."""

_AIR_ERROR_S: Final = 0.06
"""Standard deviation of the time in the air as the search finds it."""

_SLOW_ERROR_S: Final = 0.25
"""The same in slow motion, whose real time is only estimated."""

_DROP_ERROR_M: Final = 1.3
"""Standard deviation of the depth of the fall, as rise and fall of the path tell it, about the height. On simulated
films it is 0.4 m too deep, and within 1.3 m of that in nine of ten; of three filmed dives, whose cameras stand near,
0.6 to 1.7 m too shallow. So wide, it says nothing of 1 m or 3 m, and all of 3 m or 10 m: of 185 films the height was
sure in 46 by the time alone, in 120 with the depth, all of them right (with narrower rises than these)."""

_AGAINST: Final = 0.02
"""Likelihood that is left to a height which the time or the depth contradicts: one path in thirty is read wrongly."""

_PRIOR: Final[Mapping[float, float]] = {1.0: 1.0, 3.0: 1.0, 5.0: 0.2, 7.5: 0.2, 10.0: 1.0}
"""How much likelier the heights of competitions are."""

_SURE_HEIGHT: Final = 0.8
"""Probability from which on a height is sure."""

_POSSIBLE_HEIGHT: Final = 0.05
"""Probability from which on a height is named."""


@dataclass(frozen=True, slots=True)
class Height:
    """What is known of the height of a dive.

    Attributes:
        metres: Given, or told surely; None otherwise.
        source: Where it comes from, in words.
        candidates: What it can be, metres, likeliest first; one where it is sure, none where nothing tells.
    """

    metres: float | None
    source: str
    candidates: tuple[float, ...] = ()


def air_range_s(height_m: float, *, armstand: bool = False) -> tuple[float, float]:
    """Return the least and the most that a dive from a height is usually in the air, seconds."""
    least, most = (
        sqrt(2 * rise_m / _GRAVITY)
        + sqrt(2 * (rise_m + height_m + _CENTRE_ABOVE_BOARD_M - _CENTRE_AT_ENTRY_M) / _GRAVITY)
        for rise_m in _RISES_M["armstand" if armstand else apparatus(height_m)]
    )
    return least, most


def _by_air(air_s: float, height_m: float, error_s: float, *, armstand: bool) -> float:
    """Return how likely a height is by the time in the air, at most 1."""
    least, most = air_range_s(height_m, armstand=armstand)
    return exp(-0.5 * (max(least - air_s, air_s - most, 0.0) / error_s) ** 2)


def tell_height(given_m: float | None, number: str | None, dive: LocatedDive | None) -> Height:
    """Tell the height of a dive.

    Args:
        given_m: What the user says.
        number: The dive number, if it is sure: a dive is dived only from the heights where it is listed.
        dive: Where it is in its video; None if nobody looked for it.
    """
    if given_m is not None:
        return Height(given_m, "given", (given_m,))
    if dive is None or dive.air_s is None or dive.time_scale is None:
        return Height(None, "not known: no time in the air tells it")
    parsed = _parsed(number)
    heights = HEIGHTS_M if parsed is None else (tuple(heights_for(parsed)) or HEIGHTS_M)
    is_slow = dive.time_scale >= SLOW_FROM
    error_s = _SLOW_ERROR_S if is_slow else _AIR_ERROR_S
    by_air = {
        height: max(_by_air(dive.air_s, height, error_s, armstand=armstand) for armstand in _starts(parsed, height))
        for height in heights
    }
    drop_m = None if is_slow else dive.drop_m
    evidence = f"the {dive.air_s:.2f} s in the air" + ("" if drop_m is None else f" and a fall of {drop_m:.1f} m")
    if max(by_air.values()) < exp(-0.5 * 3**2):  # farther than three deviations from every height
        return Height(None, f"not known: {evidence} fit no height")
    likely = {height: _PRIOR[height] * max(by_air[height], _AGAINST) * _by_drop(drop_m, height) for height in heights}
    total = sum(likely.values())
    ranked = sorted((height for height in heights), key=lambda height: -likely[height])
    if likely[ranked[0]] / total >= _SURE_HEIGHT and not is_slow:
        return Height(ranked[0], f"told from {evidence}", (ranked[0],))
    possible = tuple(height for height in ranked if likely[height] / total >= _POSSIBLE_HEIGHT)
    names = ", or ".join(f"{height:g} m" for height in possible)
    slow = ", slow motion" if is_slow else ""
    if set(possible) == set(HEIGHTS_M):
        return Height(None, f"not known from {evidence}{slow}", possible)
    return Height(None, f"not sure: {names} by {evidence}{slow}", possible)


def _by_drop(drop_m: float | None, height_m: float) -> float:
    """Return how likely a height is by the depth of the fall, at most 1."""
    if drop_m is None:
        return 1.0
    off = (drop_m - height_m) / _DROP_ERROR_M
    return max(exp(-0.5 * off**2), _AGAINST)


def _starts(number: DiveNumber | None, height_m: float) -> tuple[bool, ...]:
    """Return whether the dive may start from an armstand: as its number says; only platforms have armstands."""
    if number is not None:
        return (number.armstand,)
    return (False, True) if apparatus(height_m) == "platform" else (False,)


def _parsed(number: str | None) -> DiveNumber | None:
    try:
        return None if number is None else parse_dive_number(number)
    except DiveNumberError:  # what somebody called the dives of a bank
        return None


# The difficulty: given, listed for a sure number at its height, or none.


@dataclass(frozen=True, slots=True)
class Degree:
    """The difficulty of a dive.

    Attributes:
        difficulty: None where no points can be given.
        source: Where it comes from, in words.
        bounds: Lowest and highest difficulty at the heights that are possible; None where one is sure.
        withheld: Why no points are given and what to do; None if they are.
    """

    difficulty: float | None
    source: str
    bounds: Range | None = None
    withheld: str | None = None


def resolve_degree(bank: Bank, choice: Choice, options: ScoreOptions, height: Height, *, is_sure: bool) -> Degree:
    """Return a dive's difficulty and where it comes from.

    Args:
        bank: The exemplars.
        choice: The voters, and the number.
        options: How the dive is to be scored.
        height: From which height it is.
        is_sure: Whether the number is sure enough for points.

    Raises:
        UsageError: The dive that was named is not listed at the height that was given.
    """
    if options.difficulty is not None:
        return Degree(options.difficulty, "given")
    number = choice.dive
    if not is_sure or number is None:
        withheld = "the dive number is not sure: name it with --dive, or give --difficulty"
        return Degree(None, "not known, as the dive number is not sure", withheld=withheld)
    parsed = _parsed(number)
    listed = {} if parsed is None else heights_for(parsed)
    at_height = {metres: listed[metres] for metres in height.candidates if metres in listed}
    if options.height_m is not None and not at_height and parsed is not None:
        where = f"{number} has no listed difficulty at {options.height_m:g} m"
        if options.dive is not None:
            raise UsageError(where, where="--height", hint="give --difficulty")
        return Degree(None, where, withheld=f"{where}: name the number with --dive, or give --difficulty")
    if at_height:
        return _at_heights(number, at_height, height)
    nearest = bank.exemplars[max(zip(choice.similarities, choice.indices, strict=True))[1]]
    bounds = (min(listed.values()), max(listed.values())) if len(set(listed.values())) > 1 else None
    source = f"that of the most similar voter, {nearest.id}, as the height is not known: give --height"
    return Degree(nearest.difficulty, source, bounds)


def _at_heights(number: str, difficulties: Mapping[float, float], height: Height) -> Degree:
    """Return the difficulty at the likeliest of the possible heights, and the others if they differ."""
    (likeliest, value), *others = difficulties.items()
    if not others:
        told = "" if height.source == "given" else f", {height.source}"
        return Degree(value, f"listed for {number} at {likeliest:g} m{told}")
    if len(set(difficulties.values())) == 1:
        names = " and ".join(f"{metres:g} m" for metres in difficulties)
        return Degree(value, f"listed for {number} at {names} alike")
    rest = ", ".join(f"{degree:.1f} at {metres:g} m" for metres, degree in others)
    bounds = (min(difficulties.values()), max(difficulties.values()))
    return Degree(value, f"listed for {number} at {likeliest:g} m, the likeliest height; {rest}: give --height", bounds)


def build_candidates(choice: Choice, height: Height, execution: float) -> tuple[Candidate, ...]:
    """Return the likeliest numbers with what each would give.

    Args:
        choice: The number's candidates.
        height: Where listed difficulties are looked up; at every height where nothing is known of it.
        execution: Of the dive, 0..30.
    """
    candidates = []
    for number, probability in choice.candidates:
        parsed = _parsed(number)
        listed = {} if parsed is None else heights_for(parsed)
        degrees = [listed[metres] for metres in height.candidates or tuple(listed) if metres in listed]
        bounds = (min(degrees), max(degrees)) if degrees else None
        points = None if bounds is None else (execution * bounds[0], execution * bounds[1])
        candidates.append(Candidate(dive=number, probability=probability, difficulty=bounds, score=points))
    return tuple(candidates)


def build_competition(number: str | None, mark: float | None) -> Competition | None:
    """Return how dives of a number were marked in competition; None for a number that was not counted.

    Args:
        number: The dive number, if it is sure.
        mark: The dive's own mark, 0..10; None where no points are given, and then it is not placed among them.
    """
    parsed = _parsed(number)
    marks = None if parsed is None else competition_marks(parsed)
    text = None if parsed is None else describe_competition(parsed)
    if marks is None or text is None:
        return None
    below = None if mark is None else marks.share_below(mark)
    return Competition(dives=marks.dives, mean_mark=marks.mean, marks=marks.central(), better_than=below, text=text)


# Stages, votes and attention.


def build_stages(clip: Clip, votes: ExemplarVotes, difficulty: float | None) -> tuple[Stage, Stage, Stage]:
    """Return the stages, cut at the mean over voters of the query's transitions; in marks and, if known, in points."""
    first, second, third = (
        Stage(
            **span.model_dump(),
            difference=difference,
            weight=weight,
            contribution=None if difficulty is None else difference * weight * difficulty,
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


def build_votes(bank: Bank, choice: Choice, votes: ExemplarVotes, difficulty: float | None) -> tuple[Vote, ...]:
    """Return what each voter says, in voting order."""
    rows = zip(
        choice.indices,
        choice.similarities,
        votes.stage_differences.tolist(),
        votes.differences.tolist(),
        votes.exemplar_executions.tolist(),
        strict=True,
    )
    return tuple(
        Vote(
            exemplar=bank.exemplars[index].id,
            bank=bank.part_of(index).name,
            dive=bank.exemplars[index].dive or "unknown",
            execution=bank.exemplars[index].execution,
            similarity=similarity,
            stage_differences=(stages[0], stages[1], stages[2]),
            difference=difference,
            calibration=start - bank.exemplars[index].execution,
            score=None if difficulty is None else (start + difference) * difficulty,
        )
        for index, similarity, stages, difference, start in rows
    )


# The interval: what the calibration dives tell of a dive like them.


def build_interval(
    stored: StoredInterval | None,
    execution: float,
    difficulty: float | None,
    familiarity: Familiarity | None = None,
    bounds: Range | None = None,
) -> tuple[Interval | None, str | None, float]:
    """Return the interval about a score, or about a mark where there is no difficulty, within what judges can give.

    Args:
        stored: What the weights state; None if they state none.
        execution: Of the dive, 0..30.
        difficulty: None where no points are given.
        familiarity: How far the clip lies from the calibration dives; None takes it for one of them.
        bounds: Lowest and highest difficulty at the heights that are possible, all of which the interval covers; None
            where one is sure.

    Returns:
        The interval, why it is withheld, and how many times wider it is than on calibration dives.
    """
    if stored is None:
        return None, None, 1.0
    factor = 1.0
    if familiarity is not None and familiarity.distance > familiarity.limit:
        times = f"{familiarity.distance:.1f} times farther from the calibration dives than 95% of them"
        return None, f"the clip is {times}", 1.0
    if familiarity is not None and familiarity.distance > 1:
        factor = familiarity.factor
    half, scale = stored.execution_half_width * factor, difficulty or 1 / COUNTING_MARKS
    possible = (scale, scale, *(bounds or ())) if difficulty is not None else (scale,)
    low = min(max(0.0, execution - half), MAX_EXECUTION) * min(possible)
    high = min(max(0.0, execution + half), MAX_EXECUTION) * max(possible)
    unit = "marks" if difficulty is None else "points"
    return Interval(low=low, high=high, level=stored.level, unit=unit), None, factor


def is_number_sure(choice: Choice, familiarity: Familiarity | None = None) -> bool:
    """Tell whether a dive number is sure enough for points: given, or recognised on a clip like the calibration dives.

    Args:
        choice: The number, and how sure it is.
        familiarity: How far the clip lies from the calibration dives; beyond its limit no certainty is known to hold.
    """
    is_like_them = familiarity is None or familiarity.distance <= familiarity.limit
    return choice.is_sure and (is_like_them or not choice.candidates)


# The assessment.


def build_assessment(
    clip: Clip,
    choice: Choice,
    context: VotingContext,
    options: ScoreOptions,
    provenance: Provenance,
    *,
    degree: Degree,
    height: Height,
    stored: StoredInterval | None = None,
    familiarity: Familiarity | None = None,
) -> Assessment:
    """Put everything that is known of a scored clip together.

    Args:
        clip: The clip.
        choice: Which exemplars were chosen and why.
        context: Their votes, with the difficulty of ``degree``.
        options: How the clip was to be scored.
        provenance: What computed it.
        degree: The difficulty.
        height: From which height the dive is.
        stored: The interval that the weights state.
        familiarity: How far the clip lies from the calibration dives; None where that is not measured.
    """
    votes, difficulty, execution = context.votes, context.difficulty, context.votes.execution
    caveat = caveat_of(provenance.trained_on)
    is_sure = is_number_sure(choice, familiarity)
    caveats = [NOT_SURE if each == RECOGNISED and not is_sure else each for each in choice.caveats]
    notes = [*([] if caveat is None else [caveat]), *caveats, *clip.notes]
    if votes.is_held:
        end = "0, a failed dive" if execution < MAX_EXECUTION / 2 else f"{MAX_EXECUTION / COUNTING_MARKS:g}"
        notes.append(f"the differences lead beyond what judges can give: the mark is held at {end}")
    dive = choice.dive if is_sure else None
    interval, withheld, factor = build_interval(stored, execution, difficulty, familiarity, degree.bounds)
    mark, exemplar_execution = execution / COUNTING_MARKS, float(votes.exemplar_executions.mean())
    bounds = None if degree.bounds is None or difficulty is None else degree.bounds
    return Assessment(
        source=clip.source,
        score=None if difficulty is None else context.score,
        points_withheld=degree.withheld,
        points_range=None if bounds is None else (execution * bounds[0], execution * bounds[1]),
        execution=execution,
        mark=mark,
        difficulty=difficulty,
        difficulty_from=degree.source,
        dive=dive,
        dive_from=choice.dive_from if is_sure else _unsure(choice),
        candidates=() if is_sure else build_candidates(choice, height, execution),
        height_m=height.metres,
        height_from=height.source,
        height_candidates=height.candidates,
        competition=build_competition(dive, None if difficulty is None else mark),
        exemplar_score=None if difficulty is None else exemplar_execution * difficulty,
        exemplar_mark=exemplar_execution / COUNTING_MARKS,
        interval=interval,
        interval_withheld=withheld,
        interval_factor=factor,
        familiarity=familiarity,
        stages=build_stages(clip, votes, difficulty),
        votes=build_votes(context.bank, choice, votes, difficulty),
        attention=build_attention(votes) if options.attention else None,
        provenance=provenance,
        notes=tuple(notes),
    )


def _unsure(choice: Choice) -> str:
    perhaps = ", ".join(f"{number} {probability:.0%}" for number, probability in choice.candidates)
    return f"not sure: perhaps {perhaps}" if perhaps else choice.dive_from
