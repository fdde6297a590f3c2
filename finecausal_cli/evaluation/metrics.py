"""The field's metrics, on plain arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import ArrayLike, NDArray

    from finecausal_cli.exemplars.encode import ForegroundCounts

Transitions = tuple[int, int]
Interval = tuple[float, float]


def spearman(true: ArrayLike, predicted: ArrayLike) -> float:
    """Return Spearman's rank correlation rho, -1..1; NaN if either side is constant."""
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


def reference_temporal_iou(true: Transitions, per_voter: Sequence[Transitions]) -> float:
    """Return the tIoU of a dive as the released code counts it: the mean over its voters, 0..1.

    Every voter sees the query's transitions a little differently. The plain protocol takes the tIoU of the one
    prediction that they make together; this one takes each voter's tIoU, then the mean, and thresholds only that.
    (The released test loop reads the query's rows alone, although the exemplar's lie beside them.)

    Args:
        true: The query's true transitions.
        per_voter: The query's predicted transitions in each pair, at least one.
    """
    return float(np.mean([temporal_iou(true, predicted) for predicted in per_voter]))


def average_iou_at(overlaps: Sequence[float], threshold: float) -> float:
    """Return AIoU@threshold: the share of dives whose tIoU reaches the threshold."""
    return float(np.mean(np.asarray(overlaps, dtype=np.float64) >= threshold))


def foreground_scores(counts: Iterable[ForegroundCounts]) -> tuple[float, float]:
    """Return IoU and F1 of the foreground, micro-averaged over the pixels of all dives; 1 if both sides are empty."""
    both = true = predicted = 0
    for one in counts:
        both, true, predicted = both + one.both, true + one.true, predicted + one.predicted
    if true + predicted == 0:
        return 1.0, 1.0
    return both / (true + predicted - both), 2 * both / (true + predicted)


def bootstrap_interval(
    true: ArrayLike, predicted: ArrayLike, *, seed: int = 0, resamples: int = 1000, level: float = 0.95
) -> Interval:
    """Return a percentile bootstrap interval for Spearman's rho; NaN if no resample has one."""
    true, predicted = _pair(true, predicted)
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

    The range of the true scores belongs to the split and stays; only the dives are drawn anew. Drawing the range
    too would widen it never and narrow it often, and so overstate the error.
    """
    true, predicted = _pair(true, predicted)
    spread = np.ptp(true)
    if spread == 0:
        return float("nan"), float("nan")
    errors = 100 * ((predicted - true) / spread) ** 2
    return _percentiles(errors[_draw(len(true), seed, resamples)].mean(1), level)


def share_interval(hits: int, trials: int, *, level: float = 0.95) -> Interval:
    """Return Wilson's score interval of a share such as AIoU@d or a coverage.

    A bootstrap would say that a share of 1 is certain, however few dives it was counted on; this does not.
    """
    found = stats.binomtest(hits, trials).proportion_ci(confidence_level=level, method="wilson")
    return float(found.low), float(found.high)


def _draw(dives: int, seed: int, resamples: int) -> NDArray[np.int64]:
    return np.random.default_rng(seed).integers(dives, size=(resamples, dives))


def _percentiles(drawn: NDArray[np.float64], level: float) -> Interval:
    tail = 100 * (1 - level) / 2
    low, high = np.percentile(drawn, [tail, 100 - tail])
    return float(low), float(high)


def _pair(true: ArrayLike, predicted: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    left, right = np.asarray(true, dtype=np.float64), np.asarray(predicted, dtype=np.float64)
    if left.shape != right.shape or left.ndim != 1:
        raise ValueError(f"two lists of one length are meant, not {left.shape} and {right.shape}")
    return left, right
