"""Calibrate execution with a few judged dives: a shift and a scale, their leave-one-out error, an interval.

The dives of one's own footage are predicted by exemplars from elsewhere, and compared with what judges gave. From the
differences follow a shift of execution and, with more dives, a scale about their mean. Few dives must not do harm, so
both are shrunk: the shift towards 0, the scale towards 1, and dives that fit badly weigh less (Huber's weights).

Numbers are execution units (score / difficulty, 0 to 30). Arrays are float64 [dives].
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from finecausal_cli.diving import COUNTING_MARKS
from finecausal_cli.weights import StoredInterval

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

FEWEST: Final = 5
"""Judged dives from which on a shift is applied."""

FEWEST_FOR_SCALE: Final = 8
"""Judged dives from which on a scale is fitted too."""

FEWEST_FOR_INTERVAL: Final = 10
"""Judged dives from which on their errors give an interval. A 90% interval needs 9 at the least."""

LEVEL: Final = 0.9
"""Stated coverage of the interval."""

_PRIOR_DIVES: Final = 1.0
"""Dives without a difference that the shift is shrunk by.

Five dives were drawn 400 times among 43 in amateur style, predicted by ``compact``: bias 0.9, spread of the errors 2.7.
Their shift takes nothing off the error of the others (0.2%, spread over the draws 14%). With two units of bias added to
the predictions it takes 32% off (9%); shrunk by two dives 31%. A shift shrunk by its standard error (James and Stein)
is worse in both cases.
"""

_PRIOR_SPREAD: Final = 100.0
"""Ridge of the scale: the sum of squared deviations at which half of the slope is believed. It is the squared ratio of
a usual error (2 units) to a usual deviation of the scale from 1 (0.2)."""

_LEAST_SCALE, _MOST_SCALE = 0.5, 2.0

_HUBER: Final = 1.345
"""Standardised residuals above this weigh less; 95% efficient for normal errors (Huber 1964)."""

_LEAST_SPREAD: Final = 0.5
"""Least spread of the residuals that is believed: judges give half points."""

_ROUNDS: Final = 20


@dataclass(frozen=True, slots=True)
class Calibration:
    """How predicted executions are corrected: ``scale * execution + offset``.

    Attributes:
        scale: Factor; 1 with few dives.
        offset: Added after it.
        shift: Change of an execution like the mean of those it was fitted to.
        dives: How many judged dives it was fitted to.
    """

    scale: float
    offset: float
    shift: float
    dives: int

    def apply(self, execution: Floats) -> Floats:
        """Return corrected executions."""
        return np.asarray(self.scale * execution + self.offset, np.float64)

    def in_words(self) -> str:
        """Say what it does, e.g. ``+0.47 marks by 12 judged dives, scale 1.08``."""
        scale = "" if self.scale == 1.0 else f", scale {self.scale:.2f}"
        return f"{self.shift / COUNTING_MARKS:+.2f} marks by {self.dives} judged dives{scale}"


def fit_calibration(predicted: Floats, judged: Floats) -> Calibration:
    """Fit shift and scale to judged dives.

    Args:
        predicted: Their executions as predicted.
        judged: Their executions as judged; of the same length, 1 or more.
    """
    count, centre = len(predicted), float(predicted.mean())
    around, difference = predicted - centre, judged - predicted
    ridge = _PRIOR_SPREAD if count >= FEWEST_FOR_SCALE else math.inf
    shift, slope = float(np.median(difference)), 0.0
    weights = np.ones(count)
    for _ in range(_ROUNDS):
        residual = difference - shift - slope * around
        spread = max(_LEAST_SPREAD, float(1.4826 * np.median(np.abs(residual))))
        weights = np.minimum(1.0, _HUBER * spread / np.maximum(np.abs(residual), 1e-12))
        slope = float((weights * around * (difference - shift)).sum() / ((weights * around**2).sum() + ridge))
        shift = float((weights * (difference - slope * around)).sum() / weights.sum())
    shift *= float(weights.sum()) / (float(weights.sum()) + _PRIOR_DIVES)
    scale = min(max(1.0 + slope, _LEAST_SCALE), _MOST_SCALE)
    return Calibration(scale, shift + (1.0 - scale) * centre, shift, count)


def fit_without_each(predicted: Floats, judged: Floats) -> list[Calibration | None]:
    """Fit to all dives but one, for each; None where too few are left.

    One fewer than ``FEWEST`` is enough here: it stands for a calibration with that many.
    """
    kept = ~np.eye(len(predicted), dtype=bool)
    if len(predicted) < FEWEST:
        return [None] * len(predicted)
    return [fit_calibration(predicted[rest], judged[rest]) for rest in kept]


def conformal_interval(errors: Floats, level: float = LEVEL) -> StoredInterval | None:
    """Return the interval that leave-one-out errors give; None with too few of them.

    The half-width is the smallest error that at least ``level * (dives + 1)`` of the dives do not exceed, as in the
    jackknife of Barber et al. 2021 (arXiv 1905.02928).

    Args:
        errors: Predicted minus judged execution, each without the dive itself.
        level: Stated coverage.
    """
    count = len(errors)
    rank = math.ceil(level * (count + 1) - 1e-9)
    if count < FEWEST_FOR_INTERVAL or rank > count:
        return None
    return StoredInterval(level=level, execution_half_width=float(np.sort(np.abs(errors))[rank - 1]))


@dataclass(frozen=True)
class LeaveOneOut:
    """Judged dives of one's own, each predicted by the bank without itself.

    Attributes:
        ids: Their identifiers.
        difficulties: Their difficulties.
        judged: Their executions as judged.
        before: As predicted without calibration.
        after: As predicted with a calibration by the other dives; equal to ``before`` with too few dives.
        parts: Names of the parts of the bank.
        calibrations: Of each part, by all dives; None for votes that stay as they are.
        is_wanted: Whether a calibration was asked for.
        is_alone: Whether no exemplars from elsewhere vote, whose votes could be calibrated.
    """

    ids: tuple[str, ...]
    difficulties: Floats
    judged: Floats
    before: Floats
    after: Floats
    parts: tuple[str, ...]
    calibrations: tuple[Calibration | None, ...]
    is_wanted: bool = True
    is_alone: bool = False

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def is_calibrated(self) -> bool:
        """Whether any votes are corrected."""
        return any(calibration is not None for calibration in self.calibrations)

    @property
    def error_before(self) -> float:
        """Mean absolute error without calibration, points."""
        return float((np.abs(self.before - self.judged) * self.difficulties).mean())

    @property
    def error_after(self) -> float:
        """Mean absolute error with calibration, points."""
        return float((np.abs(self.after - self.judged) * self.difficulties).mean())

    @property
    def interval(self) -> StoredInterval | None:
        """The interval that the errors give; None with too few dives."""
        return conformal_interval(self.after - self.judged)

    @property
    def in_words(self) -> str | None:
        """How votes are corrected, e.g. ``votes of bundled +0.47 marks by 6 judged dives``; None if not."""
        named = zip(self.parts, self.calibrations, strict=True)
        words = [f"votes of {name} {each.in_words()}" for name, each in named if each is not None]
        return ", ".join(words) or None

    @property
    def note(self) -> str:
        """What a person should know of a score: how it is calibrated and how well."""
        errors = f"mean error of each by the others {self.error_before:.1f}"
        if self.in_words is not None:
            return f"calibrated: {self.in_words}; {errors} -> {self.error_after:.1f} points"
        if self.is_alone:
            return f"not calibrated, for only dives of your own vote; {errors} points"
        if self.is_wanted:
            return f"not calibrated: {self._of_own}, {FEWEST} are needed"
        return f"not calibrated, as asked; {self._of_own}, {errors} points"

    @property
    def interval_withheld(self) -> str | None:
        """Why there is no interval; None if there is one."""
        return None if self.interval is not None else f"{self._of_own}, {FEWEST_FOR_INTERVAL} are needed for one"

    @property
    def _of_own(self) -> str:
        return "1 judged dive of your own" if len(self) == 1 else f"{len(self)} judged dives of your own"
