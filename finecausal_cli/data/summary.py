"""What a dataset holds, in figures."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from finecausal_cli.data.splits import assign_splits

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from finecausal_cli.data.dive import Dive


@dataclass(frozen=True, slots=True)
class Spread:
    """Least, quartiles and most of some values."""

    least: float
    lower_quartile: float
    median: float
    upper_quartile: float
    most: float


@dataclass(frozen=True, slots=True)
class Summary:
    """A dataset in figures; they count the dives that can be read.

    Attributes:
        dives: All of them.
        splits: Dives in each split, as training and evaluation divide them.
        splits_given: Whether the dataset names its splits.
        numbers: Dives of each dive number, most frequent first; ``""`` where it is unknown.
        heights_m: Dives at each height, lowest first; ``""`` where it is unknown.
        scored: Dives with a score.
        scores: Spread of the final scores; None without any.
        frames: Spread of the clips' lengths, frames; None where none can be looked into.
        judged: Dives with judges' marks.
        masked: Dives with foreground masks.
        flights: Dives whose start of the flight is known.
        entries: Dives whose start of the entry is known.
        deductions: Dives whose stages' deductions are known.
    """

    dives: int
    splits: Mapping[str, int]
    splits_given: bool
    numbers: Mapping[str, int]
    heights_m: Mapping[str, int]
    scored: int
    scores: Spread | None
    frames: Spread | None
    judged: int
    masked: int
    flights: int
    entries: int
    deductions: int


def summarise(dives: Sequence[Dive], frames: Iterable[int]) -> Summary:
    """Count.

    Args:
        dives: The dives that can be read.
        frames: Lengths of their clips, as far as they are known.
    """
    splits = Counter(str(dive.split) for dive in assign_splits(dives))
    numbers = Counter(dive.number or "" for dive in dives)
    heights = Counter(dive.height_m for dive in dives)
    known = sorted(height for height in heights if height is not None)
    scores = [dive.score for dive in dives if dive.score is not None]
    return Summary(
        dives=len(dives),
        splits={split: splits[split] for split in ("train", "val", "test")},
        splits_given=any(dive.split is not None for dive in dives),
        numbers=dict(sorted(numbers.items(), key=lambda one: (-one[1], one[0]))),
        heights_m={f"{height:g}": heights[height] for height in known}
        | ({"": heights[None]} if None in heights else {}),
        scored=len(scores),
        scores=_spread(scores),
        frames=_spread(list(frames)),
        judged=sum(bool(dive.judges) for dive in dives),
        masked=sum(dive.mask is not None for dive in dives),
        flights=sum(dive.twist_start is not None for dive in dives),
        entries=sum(dive.entry_start is not None for dive in dives),
        deductions=sum(dive.deductions is not None for dive in dives),
    )


def _spread(values: Sequence[float]) -> Spread | None:
    if not values:
        return None
    return Spread(*(float(one) for one in np.quantile(np.asarray(values, np.float64), (0, 0.25, 0.5, 0.75, 1))))
