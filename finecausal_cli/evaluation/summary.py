"""The figures of a set of predictions (metrics.md of the design; see evaluation.metrics for the formulas)."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

from finecausal_cli.evaluation.metrics import (
    average_iou_at,
    bootstrap_interval,
    bootstrap_l2_interval,
    foreground_scores,
    relative_l2,
    share_interval,
    spearman,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from finecausal_cli.evaluation.predict import Prediction
    from finecausal_cli.exemplars.encode import ForegroundCounts

OVERLAPS = (0.5, 0.75)
"""Thresholds of AIoU in the field's tables."""


@dataclass(frozen=True, slots=True)
class Summary:
    """Metrics over a set of dives. None where nobody labelled what it needs; NaN where it is not defined.

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

    def figures(self) -> dict[str, float | int | None]:
        """Return every figure by name, None for one that is not a number: JSON has no NaN."""
        return {name: finite(value) for name, value in asdict(self).items()}


def finite(value: float | None) -> float | None:
    """Return a figure, or None if it is not a number."""
    return None if value is None or math.isnan(value) else value


def summarise(predictions: Sequence[Prediction], foreground: Sequence[ForegroundCounts | None] = ()) -> Summary:
    """Compute the metrics of a set of predictions, one or more."""
    true = [one.score for one in predictions]
    predicted = [one.predicted for one in predictions]
    baseline = [one.baseline for one in predictions]
    overlaps = [one.temporal_iou for one in predictions if one.temporal_iou is not None]
    shares = [average_iou_at(overlaps, threshold) if overlaps else None for threshold in OVERLAPS]
    spans = [_share_interval(overlaps, threshold) for threshold in OVERLAPS]
    averaged = [one.reference_iou for one in predictions if one.reference_iou is not None]
    reference = [average_iou_at(averaged, threshold) if averaged else None for threshold in OVERLAPS]
    masks = [counts for counts in foreground if counts is not None]
    iou, f1 = foreground_scores(masks) if masks else (None, None)
    low, high = bootstrap_interval(true, predicted)
    l2_low, l2_high = bootstrap_l2_interval(true, predicted)
    return Summary(
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
    )


def _share_interval(overlaps: Sequence[float], threshold: float) -> tuple[float, float] | tuple[None, None]:
    if not overlaps:
        return None, None
    return share_interval(sum(overlap >= threshold for overlap in overlaps), len(overlaps))


def _mean_distance(true: Sequence[float], predicted: Sequence[float]) -> float:
    return float(np.mean(np.abs(np.subtract(predicted, true))))
