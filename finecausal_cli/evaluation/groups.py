"""The same predictions by dive number and by difficulty: where the model is good and where its interval holds."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

from finecausal_cli.evaluation.metrics import relative_l2, spearman
from finecausal_cli.evaluation.summary import finite

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from finecausal_cli.evaluation.predict import Prediction

LEAST_FOR_RHO = 5
"""Dives that a rank correlation needs to say anything: of two dives it is always 1 or -1."""

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
        bias: Mean of predicted minus true score, points: above 0 the model is too kind.
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
    groups = _group(predictions, lambda one: one.number or "unknown", half_width)
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
    for one in predictions:
        members[name_of(one)].append(one)
    spread = float(np.ptp([one.score for one in predictions])) if predictions else 0.0
    return [_measure(name, group, spread, half_width) for name, group in members.items()]


def _measure(name: str, group: Sequence[Prediction], spread: float, half_width: float | None) -> Group:
    true, predicted = [one.score for one in group], [one.predicted for one in group]
    errors = np.subtract(predicted, true)
    overlaps = [one.temporal_iou for one in group if one.temporal_iou is not None]
    return Group(
        name=name,
        dives=len(group),
        rho=finite(spearman(true, predicted)) if len(group) >= LEAST_FOR_RHO else None,
        relative_l2=finite(relative_l2(true, predicted, spread=spread)),
        mean_absolute_error=float(np.abs(errors).mean()),
        bias=float(errors.mean()),
        temporal_iou=float(np.mean(overlaps)) if overlaps else None,
        coverage=None if half_width is None else sum(is_covered(one, half_width) for one in group) / len(group),
    )
