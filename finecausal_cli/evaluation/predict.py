"""Predict a dataset's scores and measure the errors, over all dives and by group."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

from finecausal_cli.diving import parse_dive_number
from finecausal_cli.diving.competition import competition_statistics
from finecausal_cli.errors import DiveNumberError
from finecausal_cli.retrieval.bank import Bank, Exemplar
from finecausal_cli.retrieval.voting import choose_voters, compare_with_exemplars

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from numpy.typing import ArrayLike, NDArray

    from finecausal_cli.model.finecausal import FineCausal
    from finecausal_cli.retrieval.bank import EncodedDives, ForegroundCounts

__all__ = ["ErrorSummary", "Prediction", "bank_of", "mean_execution", "predict", "summarise"]


# Metrics on plain arrays.

Transitions = tuple[int, int]
Interval = tuple[float, float]


def spearman(true: ArrayLike, predicted: ArrayLike) -> float:
    """Return Spearman's rank correlation rho, -1..1; NaN if either side is constant."""
    from scipy import stats  # takes half a second, and every command imports this module

    true, predicted = _pair(true, predicted)
    if np.ptp(true) == 0 or np.ptp(predicted) == 0:
        return float("nan")
    return float(stats.spearmanr(true, predicted).statistic)


def relative_l2(true: ArrayLike, predicted: ArrayLike, *, spread: float | None = None) -> float:
    """Return R-l2 (x100): 100 times the mean squared error relative to the range of the true scores.

    NaN if all true scores are equal. Source: 100 / N * sum(((p - s) / (s_max - s_min))^2), as the released
    FineParser and FineCausal code computes it.

    Args:
        true: True scores.
        predicted: Predicted scores.
        spread: s_max - s_min where these dives are part of a split; their own range if absent.
    """
    true, predicted = _pair(true, predicted)
    spread = float(np.ptp(true)) if spread is None else spread
    if spread == 0:
        return float("nan")
    return float(100 * np.mean(((predicted - true) / spread) ** 2))


def temporal_iou(true: Transitions, predicted: Transitions) -> float:
    """Return intersection over union of [flight start, entry start) in sampled frames, 0..1."""
    intersection = max(0, min(true[1], predicted[1]) - max(true[0], predicted[0]))
    union = max(0, true[1] - true[0]) + max(0, predicted[1] - predicted[0]) - intersection
    return intersection / union if union else 0.0


def reference_temporal_iou(true: Transitions, per_exemplar: Sequence[Transitions]) -> float:
    """Return the tIoU of a dive as the released code computes it: the mean over its exemplars, 0..1.

    The query's predicted transitions differ from exemplar to exemplar. The plain protocol takes the tIoU of their mean;
    this one takes the tIoU with each exemplar, and thresholds the mean. The released test loop reads the query's rows
    only.

    Args:
        true: The query's true transitions.
        per_exemplar: The query's predicted transitions in each pair, at least one.
    """
    return float(np.mean([temporal_iou(true, predicted) for predicted in per_exemplar]))


def average_iou_at(overlaps: Sequence[float], threshold: float) -> float:
    """Return AIoU@threshold: the share of dives whose tIoU reaches the threshold."""
    return float(np.mean(np.asarray(overlaps, dtype=np.float64) >= threshold))


def foreground_scores(counts: Iterable[ForegroundCounts]) -> tuple[float, float]:
    """Return IoU and F1 of the foreground, micro-averaged over the pixels of all dives; 1 if both sides are empty."""
    both = true = predicted = 0
    for count in counts:
        both, true, predicted = both + count.both, true + count.true, predicted + count.predicted
    if true + predicted == 0:
        return 1.0, 1.0
    return both / (true + predicted - both), 2 * both / (true + predicted)


def bootstrap_interval(
    true: ArrayLike, predicted: ArrayLike, *, seed: int = 0, resamples: int = 1000, level: float = 0.95
) -> Interval:
    """Return a percentile bootstrap interval for Spearman's rho; NaN if no resample has one."""
    true, predicted = _pair(true, predicted)
    from scipy import stats

    draws = _draw(len(true), seed, resamples)
    ranks = [stats.rankdata(side[draws], axis=1) - (len(true) + 1) / 2 for side in (true, predicted)]
    covariance, (spread, other_spread) = (ranks[0] * ranks[1]).sum(1), ((side**2).sum(1) for side in ranks)
    defined = spread * other_spread > 0
    if not defined.any():
        return float("nan"), float("nan")
    return _percentiles(covariance[defined] / np.sqrt(spread[defined] * other_spread[defined]), level)


def bootstrap_l2_interval(
    true: ArrayLike, predicted: ArrayLike, *, seed: int = 0, resamples: int = 1000, level: float = 0.95
) -> Interval:
    """Return a percentile bootstrap interval for R-l2 (x100); NaN if all true scores are equal.

    The range of the true scores is that of the split and not resampled: a resample can only narrow it, which would
    overstate the error.
    """
    true, predicted = _pair(true, predicted)
    spread = np.ptp(true)
    if spread == 0:
        return float("nan"), float("nan")
    errors = 100 * ((predicted - true) / spread) ** 2
    return _percentiles(errors[_draw(len(true), seed, resamples)].mean(1), level)


def share_interval(hits: int, trials: int, *, level: float = 0.95) -> Interval:
    """Return Wilson's score interval of a share such as AIoU@d or a coverage.

    Unlike a bootstrap, it has a width where the share is 1.
    """
    from scipy import stats

    interval = stats.binomtest(hits, trials).proportion_ci(confidence_level=level, method="wilson")
    return float(interval.low), float(interval.high)


def _draw(dives: int, seed: int, resamples: int) -> NDArray[np.int64]:
    return np.random.default_rng(seed).integers(dives, size=(resamples, dives))


def _percentiles(drawn: NDArray[np.float64], level: float) -> Interval:
    tail = 100 * (1 - level) / 2
    low, high = np.percentile(drawn, [tail, 100 - tail])
    return float(low), float(high)


def _pair(true: ArrayLike, predicted: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    left, right = np.asarray(true, dtype=np.float64), np.asarray(predicted, dtype=np.float64)
    if left.shape != right.shape or left.ndim != 1:
        raise ValueError(f"expected two lists of equal length, not {left.shape} and {right.shape}")
    return left, right


# Metrics of a set of predictions.

OVERLAPS = (0.5, 0.75)
"""Thresholds of AIoU in the field's tables."""


@dataclass(frozen=True, slots=True)
class ErrorSummary:
    """Metrics over a set of dives. None without the labels that it needs; NaN where it is not defined.

    Attributes:
        dives: How many there are.
        rho: Spearman's rank correlation of predicted and true scores.
        rho_low: Lower end of its 95% bootstrap interval.
        rho_high: Upper end.
        relative_l2: R-l2 (x100).
        aiou_50: Share of dives whose tIoU reaches 0.5; the query's own prediction.
        aiou_75: The same for 0.75.
        foreground_iou: IoU of the foreground over all pixels.
        baseline_rho: Rho of the mean execution of each dive number, times the difficulty.
        baseline_relative_l2: R-l2 of the same.
        relative_l2_low: Lower end of the 95% bootstrap interval of R-l2.
        relative_l2_high: Upper end.
        mean_absolute_error: Mean distance of the predicted from the true score, points.
        baseline_mean_absolute_error: The same of the baseline.
        aiou_50_low: Lower end of Wilson's 95% interval of the share.
        aiou_50_high: Upper end.
        aiou_75_low: The same for 0.75.
        aiou_75_high: Upper end.
        reference_aiou_50: AIoU@0.5 in the released code's protocol, for comparison with published tables.
        reference_aiou_75: AIoU@0.75 in the same.
        foreground_f1: F1 of the foreground over all pixels.
        difficulty_rho: Rho of the difficulty times the mean mark in competition, which needs no picture; None where it
            is not defined, as for the next.
        difficulty_relative_l2: R-l2 of the same.
        difficulty_mean_absolute_error: Mean absolute error of the same, points.
        number_rho: Rho of the difficulty times the mean mark of the dive number in competition.
        number_relative_l2: R-l2 of the same.
        number_mean_absolute_error: Mean absolute error of the same, points.
    """

    dives: int
    rho: float
    rho_low: float
    rho_high: float
    relative_l2: float
    aiou_50: float | None
    aiou_75: float | None
    foreground_iou: float | None
    baseline_rho: float
    baseline_relative_l2: float
    relative_l2_low: float | None = None
    relative_l2_high: float | None = None
    mean_absolute_error: float | None = None
    baseline_mean_absolute_error: float | None = None
    aiou_50_low: float | None = None
    aiou_50_high: float | None = None
    aiou_75_low: float | None = None
    aiou_75_high: float | None = None
    reference_aiou_50: float | None = None
    reference_aiou_75: float | None = None
    foreground_f1: float | None = None
    difficulty_rho: float | None = None
    difficulty_relative_l2: float | None = None
    difficulty_mean_absolute_error: float | None = None
    number_rho: float | None = None
    number_relative_l2: float | None = None
    number_mean_absolute_error: float | None = None

    def figures(self) -> dict[str, float | int | None]:
        """Return every metric by name, None for NaN."""
        return {name: finite(value) for name, value in asdict(self).items()}


def finite(value: float | None) -> float | None:
    """Return a metric, or None for NaN."""
    return None if value is None or math.isnan(value) else value


def summarise(predictions: Sequence[Prediction], foreground: Sequence[ForegroundCounts | None] = ()) -> ErrorSummary:
    """Compute the metrics of a set of predictions, one or more."""
    true = [prediction.score for prediction in predictions]
    predicted = [prediction.predicted for prediction in predictions]
    baseline = [prediction.baseline for prediction in predictions]
    overlaps = [prediction.temporal_iou for prediction in predictions if prediction.temporal_iou is not None]
    shares = [average_iou_at(overlaps, threshold) if overlaps else None for threshold in OVERLAPS]
    spans = [_share_interval(overlaps, threshold) for threshold in OVERLAPS]
    averaged = [prediction.reference_iou for prediction in predictions if prediction.reference_iou is not None]
    reference = [average_iou_at(averaged, threshold) if averaged else None for threshold in OVERLAPS]
    masks = [counts for counts in foreground if counts is not None]
    iou, f1 = foreground_scores(masks) if masks else (None, None)
    by_difficulty, by_number = zip(*map(competition_points, predictions), strict=True)
    low, high = bootstrap_interval(true, predicted)
    l2_low, l2_high = bootstrap_l2_interval(true, predicted)
    return ErrorSummary(
        dives=len(predictions),
        rho=spearman(true, predicted),
        rho_low=low,
        rho_high=high,
        relative_l2=relative_l2(true, predicted),
        aiou_50=shares[0],
        aiou_75=shares[1],
        foreground_iou=iou,
        baseline_rho=spearman(true, baseline),
        baseline_relative_l2=relative_l2(true, baseline),
        relative_l2_low=l2_low,
        relative_l2_high=l2_high,
        mean_absolute_error=_mean_distance(true, predicted),
        baseline_mean_absolute_error=_mean_distance(true, baseline),
        aiou_50_low=spans[0][0],
        aiou_50_high=spans[0][1],
        aiou_75_low=spans[1][0],
        aiou_75_high=spans[1][1],
        reference_aiou_50=reference[0],
        reference_aiou_75=reference[1],
        foreground_f1=f1,
        difficulty_rho=finite(spearman(true, by_difficulty)),
        difficulty_relative_l2=finite(relative_l2(true, by_difficulty)),
        difficulty_mean_absolute_error=_mean_distance(true, by_difficulty),
        number_rho=finite(spearman(true, by_number)),
        number_relative_l2=finite(relative_l2(true, by_number)),
        number_mean_absolute_error=_mean_distance(true, by_number),
    )


def competition_points(prediction: Prediction) -> tuple[float, float]:
    """Return what a dive is worth without a look at it: its difficulty times a mean mark in competition.

    Returns:
        Points with the mean mark of all dives, and with that of the dive number (of all, if it was not counted).
    """
    statistics = competition_statistics()
    try:
        number = parse_dive_number(prediction.number) if prediction.number else None
    except DiveNumberError:  # a dataset's own name for a dive
        number = None
    return statistics.all.points(prediction.difficulty), statistics.marks_of(number).points(prediction.difficulty)


def _share_interval(overlaps: Sequence[float], threshold: float) -> tuple[float, float] | tuple[None, None]:
    if not overlaps:
        return None, None
    return share_interval(sum(overlap >= threshold for overlap in overlaps), len(overlaps))


def _mean_distance(true: Sequence[float], predicted: Sequence[float]) -> float:
    return float(np.mean(np.abs(np.subtract(predicted, true))))


# Scores of encoded dives against a bank, and the baseline.


@dataclass(frozen=True, slots=True)
class Prediction:
    """Prediction for one dive of a dataset.

    Attributes:
        key: The dive.
        number: Its dive number.
        score: Its true score.
        predicted: The model's score.
        baseline: Mean execution of the training dives of its number, times its difficulty.
        difficulty: Its difficulty.
        transitions: Predicted sampled frames of flight and entry, the mean over exemplars.
        temporal_iou: Against the true transitions; None if those are unknown.
        voters: Number of exemplars.
        true_transitions: True sampled frames of flight and entry; None if unknown.
        reference_iou: Mean over exemplars of the query's tIoU; None if the true transitions are unknown.
        recognised: The dive number by which exemplars were chosen; None if they were chosen by similarity and no
            number is in the majority.
    """

    key: str
    number: str | None
    score: float
    predicted: float
    baseline: float
    difficulty: float
    transitions: Transitions
    temporal_iou: float | None
    voters: int
    true_transitions: Transitions | None = None
    reference_iou: float | None = None
    recognised: str | None = None


def bank_of(encoded: EncodedDives, *, name: str, weights_digest: str) -> Bank:
    """Turn encoded training dives into a bank."""
    exemplars = tuple(
        Exemplar(
            id=dive.key, dive=dive.number, height_m=dive.height_m, difficulty=dive.difficulty, execution=dive.execution
        )
        for dive in encoded.dives
    )
    return Bank(name, exemplars, encoded.encodings, weights_digest)


def predict(
    model: FineCausal,
    queries: EncodedDives,
    bank: Bank,
    *,
    baseline: dict[str, float],
    voters: int = 10,
    dive_given: bool = True,
    seed: int = 0,
    advance: Callable[[], object] = lambda: None,
) -> list[Prediction]:
    """Score every encoded dive.

    Args:
        model: The network, in evaluation mode.
        queries: The dives to score, with true scores.
        bank: The exemplars.
        baseline: Mean execution by dive number, from ``mean_execution``.
        voters: Most exemplars a dive.
        dive_given: Choose exemplars by the dive number; otherwise without it. The difficulty is known either way.
        seed: Seed of the exemplars' order.
        advance: Called after each dive.
    """
    predictions: list[Prediction] = []
    for index, dive in enumerate(queries.dives):
        query = queries.encodings.select([index])
        choice = choose_voters(bank, query, dive=dive.number if dive_given else None, voters=voters, seed=seed)
        (votes,) = compare_with_exemplars(model, [query], bank, [choice.indices])
        _, flight, entry, _ = votes.borders
        per_exemplar = [(first, last) for first, last in votes.transitions.tolist()]
        true = queries.transitions[index]
        predictions.append(
            Prediction(
                key=dive.key,
                number=dive.number,
                score=dive.execution * dive.difficulty,
                predicted=votes.execution * dive.difficulty,
                baseline=baseline.get(dive.number or "", baseline[""]) * dive.difficulty,
                difficulty=dive.difficulty,
                transitions=(flight, entry),
                temporal_iou=None if true is None else temporal_iou(true, (flight, entry)),
                voters=len(choice.indices),
                true_transitions=true,
                reference_iou=None if true is None else reference_temporal_iou(true, per_exemplar),
                recognised=choice.dive,
            )
        )
        advance()
    return predictions


def mean_execution(judged: Iterable[tuple[str | None, float]]) -> dict[str, float]:
    """Return the mean execution by dive number; the mean of all under the empty name.

    Args:
        judged: Dive number and execution of each dive.
    """
    by_number: dict[str, list[float]] = defaultdict(list)
    for number, execution in judged:
        by_number[""].append(execution)
        if number is not None:
            by_number[number].append(execution)
    return {number: float(np.mean(executions)) for number, executions in by_number.items()}


# Metrics by dive number and by difficulty.

LEAST_FOR_RHO = 5
"""Fewest dives for a rank correlation: of two dives it is always 1 or -1."""

BAND = 0.5
"""Width of a band of difficulty."""


@dataclass(frozen=True, slots=True)
class Group:
    """Figures of the dives of one number or one band of difficulty.

    Attributes:
        name: The number, or the band, e.g. ``2.5-2.9``.
        dives: How many.
        rho: Spearman's rho among them; None for fewer than `LEAST_FOR_RHO`, or if it is not defined.
        relative_l2: R-l2 (x100) with the range of the whole split, so that the mean over groups, weighted by dives,
            is the R-l2 of the split.
        mean_absolute_error: Points.
        bias: Mean of predicted minus true score, points: above 0 the model scores too high.
        temporal_iou: Mean tIoU; None if no dive has true transitions.
        coverage: Share of dives inside the stated interval; None if there is none.
    """

    name: str
    dives: int
    rho: float | None
    relative_l2: float | None
    mean_absolute_error: float
    bias: float
    temporal_iou: float | None
    coverage: float | None

    def figures(self) -> dict[str, str | float | int | None]:
        """Return every figure by name."""
        return asdict(self)


def group_by_number(predictions: Sequence[Prediction], half_width: float | None = None) -> tuple[Group, ...]:
    """Return the figures of each dive number, the commonest first.

    Args:
        predictions: All dives of the split.
        half_width: Half-width of the stated interval in execution units; None if there is none.
    """
    groups = _group(predictions, lambda prediction: prediction.number or "unknown", half_width)
    return tuple(sorted(groups, key=lambda group: (-group.dives, group.name)))


def group_by_difficulty(predictions: Sequence[Prediction], half_width: float | None = None) -> tuple[Group, ...]:
    """Return the figures of each half point of difficulty, the easiest first; see `group_by_number`."""
    return tuple(sorted(_group(predictions, _band, half_width), key=lambda group: float(group.name.partition("-")[0])))


def is_covered(prediction: Prediction, half_width: float) -> bool:
    """Say whether a dive's true score lies inside the interval of that half-width in execution units."""
    return abs(prediction.predicted - prediction.score) <= half_width * prediction.difficulty


def _band(prediction: Prediction) -> str:
    low = math.floor(prediction.difficulty / BAND + 1e-9) * BAND  # 3.0 may be stored as 2.9999999
    return f"{low:.1f}-{low + BAND - 0.1:.1f}"


def _group(
    predictions: Sequence[Prediction], name_of: Callable[[Prediction], str], half_width: float | None
) -> list[Group]:
    members: dict[str, list[Prediction]] = defaultdict(list)
    for prediction in predictions:
        members[name_of(prediction)].append(prediction)
    spread = float(np.ptp([prediction.score for prediction in predictions])) if predictions else 0.0
    return [_measure(name, group, spread, half_width) for name, group in members.items()]


def _measure(name: str, group: Sequence[Prediction], spread: float, half_width: float | None) -> Group:
    true, predicted = [prediction.score for prediction in group], [prediction.predicted for prediction in group]
    errors = np.subtract(predicted, true)
    overlaps = [prediction.temporal_iou for prediction in group if prediction.temporal_iou is not None]
    return Group(
        name=name,
        dives=len(group),
        rho=finite(spearman(true, predicted)) if len(group) >= LEAST_FOR_RHO else None,
        relative_l2=finite(relative_l2(true, predicted, spread=spread)),
        mean_absolute_error=float(np.abs(errors).mean()),
        bias=float(errors.mean()),
        temporal_iou=float(np.mean(overlaps)) if overlaps else None,
        coverage=None
        if half_width is None
        else sum(is_covered(prediction, half_width) for prediction in group) / len(group),
    )
