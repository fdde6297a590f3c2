"""Leave whole events out: test on competitions that no training dive was filmed at.

A random split puts dives of one final, with its pool, cameras and judges, on both sides. A network that has learned
the place rather than the dive does well there and badly at a competition it has not seen.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from finecausal_cli.data.splits import assign_splits
from finecausal_cli.errors import DatasetError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from finecausal_cli.data.dive import Dive

TEST_SHARE = 0.25
"""Share of the dives that the held-out events aim at: FineDiving's own split has 749 of 3000."""

_ROUND = re.compile(r"_r\d+$")


def event_of(key: str) -> str:
    """Return the event that a dive belongs to: its key without the last part and without the round.

    In FineDiving a key is ``<competition>/<index>`` and the rounds of one final are competitions of their own
    (``FINADivingWorldCup2021_Men3m_final_r1``): they share pool, cameras and divers, so they stay together.
    In a manifest the event is the folder of the video. A key without a folder has the empty event.
    """
    return _ROUND.sub("", key.rpartition("/")[0])


def split_by_event(dives: Sequence[Dive], *, seed: int = 0, test_share: float = TEST_SHARE) -> list[Dive]:
    """Give every dive a split such that no event is on both sides.

    Events are taken in a drawn order, each if it brings the test set closer to its share. What remains is divided into
    training and validation as `assign_splits` does. A split that the dataset names is not looked at.

    Args:
        dives: The dataset.
        seed: Same seed, same split, whatever the order of the rows; not the seed of a run.
        test_share: Share of the dives to aim at, 0..1.

    Returns:
        The dives in their order, with ``split`` set.

    Raises:
        DatasetError: All dives are of one event.
    """
    sizes: dict[str, int] = defaultdict(int)
    for dive in dives:
        sizes[event_of(dive.key)] += 1
    if len(sizes) < 2:
        raise DatasetError(
            f"all {len(dives)} dives are of one event",
            hint="a split by events needs two: FineDiving's competitions, or one folder of videos for each event",
        )
    held_out = _choose(sizes, seed, test_share)
    rest = [replace(dive, split="train") for dive in dives if event_of(dive.key) not in held_out]
    splits = {dive.key: dive.split for dive in assign_splits(rest)}
    return [replace(dive, split=splits.get(dive.key, "test")) for dive in dives]


def _choose(sizes: dict[str, int], seed: int, test_share: float) -> set[str]:
    names = sorted(sizes)
    order = [names[place] for place in np.random.default_rng(seed).permutation(len(names))]
    wanted = test_share * sum(sizes.values())
    taken: set[str] = set()
    count = 0
    for name in order:
        closer = abs(count + sizes[name] - wanted) < abs(count - wanted)
        if closer and len(taken) < len(names) - 1:
            taken.add(name)
            count += sizes[name]
    return taken or {min(order, key=lambda name: (sizes[name], order.index(name)))}
