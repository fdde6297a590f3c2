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


def spearman(true: ArrayLike, predicted: ArrayLike) -> float:
    """Return Spearman's rank correlation rho, -1..1; NaN if either side is constant."""
    true, predicted = _pair(true, predicted)
    if np.ptp(true) == 0 or np.ptp(predicted) == 0:
        return float("nan")
    return float(stats.spearmanr(true, predicted).statistic)


def relative_l2(true: ArrayLike, predicted: ArrayLike) -> float:
    """Return R-l2 (x100): 100 times the mean squared error relative to the range of the true scores.

    NaN if all true scores are equal. Source: 100 / N * sum(((p - s) / (s_max - s_min))^2), as the released
    FineParser and FineCausal code computes it.
    """
    true, predicted = _pair(true, predicted)
    spread = np.ptp(true)
    if spread == 0:
        return float("nan")
    return float(100 * np.mean(((predicted - true) / spread) ** 2))


def temporal_iou(true: Transitions, predicted: Transitions) -> float:
    """Return intersection over union of [flight start, entry start) in sampled frames, 0..1."""
    intersection = max(0, min(true[1], predicted[1]) - max(true[0], predicted[0]))
    union = max(0, true[1] - true[0]) + max(0, predicted[1] - predicted[0]) - intersection
    return intersection / union if union else 0.0


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
) -> tuple[float, float]:
    """Return a percentile bootstrap interval for Spearman's rho; NaN if no resample has one."""
    true, predicted = _pair(true, predicted)
    rng = np.random.default_rng(seed)
    draws = rng.integers(len(true), size=(resamples, len(true)))
    ranks = [stats.rankdata(side[draws], axis=1) - (len(true) + 1) / 2 for side in (true, predicted)]
    covariance, (spread, other_spread) = (ranks[0] * ranks[1]).sum(1), ((side**2).sum(1) for side in ranks)
    defined = spread * other_spread > 0
    if not defined.any():
        return float("nan"), float("nan")
    rhos = covariance[defined] / np.sqrt(spread[defined] * other_spread[defined])
    tail = 100 * (1 - level) / 2
    low, high = np.percentile(rhos, [tail, 100 - tail])
    return float(low), float(high)


def _pair(true: ArrayLike, predicted: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    left, right = np.asarray(true, dtype=np.float64), np.asarray(predicted, dtype=np.float64)
    if left.shape != right.shape or left.ndim != 1:
        raise ValueError(f"two lists of one length are meant, not {left.shape} and {right.shape}")
    return left, right
