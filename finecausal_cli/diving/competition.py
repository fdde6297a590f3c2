"""How dives were marked in competition: how often each number was dived, and the marks it was given. No torch.

The numbers are aggregates of the published annotation of FineDiving (Xu et al., CVPR 2022), 3,000 dives of events up
to 2021; the file beside this module says how they are defined. No single dive is kept.
"""

from __future__ import annotations

import json
from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from finecausal_cli.diving import COUNTING_MARKS, parse_dive_number

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from finecausal_cli.diving import DiveNumber

_FILE = "competition_statistics.json"
_COUNTED_FOR_MEAN = 3
"""Dives from which a number's own mean mark is known."""

_ALL_SHARES = (0.0, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 1.0)
_NUMBER_SHARES = tuple(round(0.05 * step, 2) for step in range(1, 20))
_STAGE_SHARES = (0.05, 0.25, 0.5, 0.75, 0.95)


@dataclass(frozen=True, slots=True)
class Quantiles:
    """The distribution of a quantity, as the values that some shares of all dives stay below.

    Attributes:
        shares: Rising, within 0..1.
        values: The value at each share, never falling.
    """

    shares: tuple[float, ...]
    values: tuple[float, ...]

    def at(self, share: float) -> float:
        """Return the value that a share 0..1 of the dives stays below; the outermost one beyond the known shares."""
        return _interpolate(share, self.shares, self.values)

    def share_below(self, value: float) -> float:
        """Return the share of dives, 0..1, below a value; of those that equal it, half.

        Beyond the known values the outermost known share is returned: 0.05 or 0.95 for a dive number.
        """
        low, high = bisect_left(self.values, value), bisect_right(self.values, value)
        if low < high:  # the value is one of those known, perhaps at several shares
            return (self.shares[low] + self.shares[high - 1]) / 2
        return _interpolate(value, self.values, self.shares)


def _interpolate(x: float, xs: Sequence[float], ys: Sequence[float]) -> float:
    """Interpolate linearly between points with rising ``xs``; constant outside."""
    above = bisect_right(xs, x)
    if above in (0, len(xs)):
        return ys[0] if above == 0 else ys[-1]
    part = (x - xs[above - 1]) / (xs[above] - xs[above - 1])
    return ys[above - 1] + part * (ys[above] - ys[above - 1])


@dataclass(frozen=True, slots=True)
class CompetitionMarks:
    """The marks of some dives in competition. A dive's mark is the mean of its counted marks, 0..10.

    Attributes:
        dives: How many were counted.
        mean: Their mean mark.
        sd: Standard deviation of the marks.
        marks: Their distribution, or None where fewer than ten dives were counted.
        heights_m: How many were from 3 m and from 10 m, where the height is known.
    """

    dives: int
    mean: float
    sd: float
    marks: Quantiles | None
    heights_m: Mapping[float, int]

    @property
    def is_own_mean(self) -> bool:
        """Whether enough dives were counted for a mean of their own; otherwise ``mean`` is that of all dives."""
        return self.dives >= _COUNTED_FOR_MEAN

    def central(self, level: float = 0.9) -> tuple[float, float] | None:
        """Return the marks between which a share ``level`` of the dives lies, or None where too few were counted.

        Args:
            level: Share 0..0.9 for a dive number, 0..1 for all dives.
        """
        tail = (1 - level) / 2
        return None if self.marks is None else (self.marks.at(tail), self.marks.at(1 - tail))

    def share_below(self, mark: float) -> float | None:
        """Return the share of dives, 0..1, with a lower mark; None where too few were counted.

        Half of the dives with the same mark count. For a dive number the share is 0.05 or more and 0.95 or less.

        Args:
            mark: Mean of the counted marks, 0..10: execution / 3, or points / difficulty / 3.
        """
        return None if self.marks is None else self.marks.share_below(mark)

    def points(self, difficulty: float) -> float:
        """Return the points of the mean mark at a difficulty."""
        return COUNTING_MARKS * self.mean * difficulty


@dataclass(frozen=True)
class CompetitionStatistics:
    """Everything that was counted.

    Attributes:
        source: Where the counts come from.
        all: The marks of all dives.
        numbers: The marks by dive number, the most frequent one first; numbers of fewer than three dives have the
            mean and standard deviation of all dives.
        failed_share: Share of all dives with a mark of 2 or less.
        panel_sd: Mean standard deviation of a panel of seven by its median mark: (least median mark, deviation),
            rising.
        stage_frames: Distribution of the lengths of ``takeoff``, ``flight``, ``entry`` and ``clip``, frames at 25 a
            second.
    """

    source: str
    all: CompetitionMarks
    numbers: Mapping[DiveNumber, CompetitionMarks]
    failed_share: float
    panel_sd: tuple[tuple[float, float], ...]
    stage_frames: Mapping[str, Quantiles]

    def marks_of(self, dive: DiveNumber | None) -> CompetitionMarks:
        """Return the marks of a dive number, or those of all dives if it is None or was not counted."""
        return self.all if dive is None else self.numbers.get(dive, self.all)


@lru_cache(maxsize=1)
def competition_statistics() -> CompetitionStatistics:
    """Return what was counted in competition."""
    text = resources.files("finecausal_cli.diving").joinpath(_FILE).read_text(encoding="utf-8")
    table: dict[str, Any] = json.loads(text)
    heights = {3.0: 0, 10.0: 0}
    numbers: dict[DiveNumber, CompetitionMarks] = {}
    for number, row in sorted(table["numbers"].items(), key=lambda item: -item[1]["dives"]):
        of_number = {float(height): int(count) for height, count in row["heights_m"].items()}
        heights = {height: count + of_number.get(height, 0) for height, count in heights.items()}
        quantiles = row.get("mark_quantiles_5_to_95_by_5")
        numbers[parse_dive_number(number)] = CompetitionMarks(
            dives=int(row["dives"]),
            mean=float(row.get("mark_mean", table["mark_mean"])),
            sd=float(row.get("mark_sd", table["mark_sd"])),
            marks=None if quantiles is None else Quantiles(_NUMBER_SHARES, tuple(map(float, quantiles))),
            heights_m=MappingProxyType(of_number),
        )
    every = CompetitionMarks(
        dives=int(table["dives"]),
        mean=float(table["mark_mean"]),
        sd=float(table["mark_sd"]),
        marks=Quantiles(_ALL_SHARES, tuple(map(float, table["mark_quantiles_0_1_5_25_50_75_95_99_100"]))),
        heights_m=MappingProxyType(heights),
    )
    panels = table["panel_of_seven"]["sd_mean_by_median_mark"]
    return CompetitionStatistics(
        source=str(table["source"]),
        all=every,
        numbers=MappingProxyType(numbers),
        failed_share=float(table["share_with_mark_at_most_2"]),
        panel_sd=tuple((float(span.split("-")[0]), float(value)) for span, value in panels.items()),
        stage_frames=MappingProxyType(
            {
                stage: Quantiles(_STAGE_SHARES, tuple(map(float, values)))
                for stage, values in table["stage_frames_quantiles_5_25_50_75_95"].items()
            }
        ),
    )


def competition_marks(dive: DiveNumber | None = None) -> CompetitionMarks | None:
    """Return the marks of a dive number in competition, or of all dives; None for a number that was not counted."""
    statistics = competition_statistics()
    return statistics.all if dive is None else statistics.numbers.get(dive)


def describe_competition(dive: DiveNumber | None = None) -> str | None:
    """Say how a dive number, or all of them, was marked in competition; None for a number that was not counted.

    For example ``107B in competition (324 dives): mean mark 7.04, 90% from 4.9 to 8.5``.
    """
    counted = competition_marks(dive)
    if counted is None:
        return None
    which = "all numbers" if dive is None else str(dive)
    text = f"{which} in competition ({counted.dives:,} dive{'' if counted.dives == 1 else 's'})"
    central = counted.central()
    if central is not None:
        return f"{text}: mean mark {counted.mean:.2f}, 90% from {central[0]:.1f} to {central[1]:.1f}"
    return f"{text}: mean mark {counted.mean:.2f}" if counted.is_own_mean else f"{text}: too few to say"
