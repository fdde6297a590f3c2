"""Decide which dives meet in a training batch.

A batch is made of groups of dives of one number; every two dives of a group are a pair. A group of g dives
gives g (g - 1) / 2 pairs from g encodings, so encoding, the costly part, is done once a dive and not once a pair.
"""

from __future__ import annotations

from collections import defaultdict
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

Group = tuple[int, ...]


def plan_epoch(
    numbers: Sequence[str | None], *, group: int, groups_per_batch: int, seed: int, epoch: int
) -> list[list[Group]]:
    """Lay out one epoch: every dive is in it at least once.

    A dive left over when its number is divided into groups is joined by another dive of the same number; a dive
    whose number nobody shares is joined by any other.

    Args:
        numbers: Dive number of each dive, None if unknown (the unknown form one class).
        group: Dives in a group, 2 or more.
        groups_per_batch: Groups in a batch.
        seed: Seed of the run.
        epoch: Index of the epoch; with the seed it fixes the plan.

    Returns:
        Batches of groups of indices into ``numbers``.

    Raises:
        ValueError: Fewer than two dives, or a group of fewer than two.
    """
    if len(numbers) < 2 or group < 2:
        raise ValueError("pairs need two dives and groups of two")
    rng = np.random.default_rng((seed, epoch))
    members: dict[str, list[int]] = defaultdict(list)
    for index, number in enumerate(numbers):
        members[number or ""].append(index)
    groups: list[Group] = []
    for _, indices in sorted(members.items()):
        shuffled = [indices[place] for place in rng.permutation(len(indices))]
        groups += [tuple(shuffled[start : start + group]) for start in range(0, len(shuffled), group)]
    groups = [_with_partner(one, members[numbers[one[0]] or ""], len(numbers), rng) for one in groups]
    order = [groups[place] for place in rng.permutation(len(groups))]
    return [order[start : start + groups_per_batch] for start in range(0, len(order), groups_per_batch)]


def _with_partner(group: Group, same_number: Sequence[int], dives: int, rng: np.random.Generator) -> Group:
    if len(group) > 1:
        return group
    others = [index for index in same_number if index != group[0]]
    if not others:
        others = [index for index in range(dives) if index != group[0]]
    return (group[0], others[int(rng.integers(len(others)))])


def pairs_of(groups: Sequence[Group]) -> list[tuple[int, int]]:
    """List the pairs of a batch as places in its flattened list of dives."""
    pairs: list[tuple[int, int]] = []
    start = 0
    for group in groups:
        pairs += list(combinations(range(start, start + len(group)), 2))
        start += len(group)
    return pairs
