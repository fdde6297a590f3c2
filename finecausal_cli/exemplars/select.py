"""Pick which judged dives become exemplars: a few of each number, spread over the range of execution."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from finecausal_cli.data.dive import Dive


def spread_exemplars(dives: Sequence[Dive], per_number: int) -> list[Dive]:
    """Choose up to ``per_number`` dives of each number, evenly spaced by rank of execution, both ends included.

    Args:
        dives: Dives with scores.
        per_number: Most dives of one number, 1 or more; with 1 the median is taken.

    Returns:
        The chosen dives, by number, then by execution.
    """
    by_number: dict[str, list[Dive]] = defaultdict(list)
    for dive in dives:
        by_number[dive.number or ""].append(dive)
    chosen: list[Dive] = []
    for _, members in sorted(by_number.items()):
        ranked = sorted(members, key=lambda dive: (dive.execution, dive.key))
        count = min(per_number, len(ranked))
        if count == 1:
            ranks = [(len(ranked) - 1) // 2]
        else:
            ranks = [round(place * (len(ranked) - 1) / (count - 1)) for place in range(count)]
        chosen += [ranked[rank] for rank in ranks]
    return chosen
