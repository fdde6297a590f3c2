"""Divide dives into training, validation and test sets, the same way for everybody."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from finecausal_cli.data.dive import Dive, Split


_LEAST_VALIDATION = 2
"""Validation dives of a small dataset: a rank correlation needs two."""


_ROUNDING = 1e-9
"""Shares such as 1/3 of 4 and 1/3 of 2 add up to a little less than 2."""


def assign_splits(dives: Sequence[Dive], *, seed: int = 0, val_share: float = 0.1) -> list[Dive]:
    """Give every dive a split.

    Dives that name theirs keep it. If no dive names one, a quarter of each dive number goes to the test set.
    If none is ``val``, ``val_share`` of each dive number's training dives becomes the validation set, so that
    a choice of checkpoint never looks at the test set.

    Args:
        dives: The dataset.
        seed: Same seed, same split, whatever the order of the rows. Training and evaluation must agree on it, or dives
            trained on are tested on: it is not the seed of a run.
        val_share: Share of the training dives to validate on, 0..1; but two dives at least unless it is 0.

    Returns:
        The dives in their order, with ``split`` set.
    """
    splits: dict[str, Split] = {dive.key: dive.split or "train" for dive in dives}
    if all(dive.split is None for dive in dives):
        _move(dives, splits, "test", 0.25, seed)
    if "val" not in splits.values() and val_share > 0:
        training = sum(split == "train" for split in splits.values())
        _move(dives, splits, "val", max(val_share, _LEAST_VALIDATION / max(training, 1)), seed + 1)
    return [replace(dive, split=splits[dive.key]) for dive in dives]


def _move(dives: Sequence[Dive], splits: dict[str, Split], target: Split, share: float, seed: int) -> None:
    """Move a share of the training dives of each number to another split, and always leave it one.

    What rounding owes is carried over to the next number, one dive at most: a long row of numbers with a single
    dive each must not empty the first number that has more.
    """
    by_number: dict[str, list[str]] = defaultdict(list)
    for dive in dives:
        if splits[dive.key] == "train":
            by_number[dive.number or ""].append(dive.key)
    rng = np.random.default_rng(seed)
    owed = 0.0
    for _, keys in sorted(by_number.items()):
        shuffled = [sorted(keys)[index] for index in rng.permutation(len(keys))]
        owed += share * len(keys)
        take = min(int(owed + _ROUNDING), len(keys) - 1)
        owed = min(owed - take, 1.0)
        for key in shuffled[:take]:
            splits[key] = target
