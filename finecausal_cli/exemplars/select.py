"""Pick which judged dives become exemplars: a few of each number, spread over the range of execution."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from finecausal_cli.data.dive import Dive


def spread_exemplars(dives: Sequence[Dive], per_number: int) -> list[Dive]:
    """Choose up to ``per_number`` dives of each number: the middle one of as many equal parts by rank of execution.

    So among many dives the extremes are not chosen: a failed dive, say, whose 0 tells nothing of what was done well.

    Args:
        dives: Dives with scores.
        per_number: Most dives of one number, 1 or more.

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
        ranks = [int((place + 0.5) * len(ranked) / count) for place in range(count)]
        chosen += [ranked[rank] for rank in ranks]
    return chosen
