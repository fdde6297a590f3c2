"""Share a batch among machines without an engine, and join what they found."""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from finecausal_cli.assess.batch.journal import read_rows
from finecausal_cli.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from finecausal_cli.assess.batch.inputs import Item
    from finecausal_cli.assess.batch.row import Place, Row

_SHARD = re.compile(r"([0-9]+)/([0-9]+)")


@dataclass(frozen=True, slots=True)
class Shard:
    """One of ``count`` equal machines, counted from 1."""

    index: int
    count: int

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Read ``i/n``.

        Raises:
            UsageError: It is something else, or i is not 1 to n.
        """
        match = _SHARD.fullmatch(text)
        if match is not None:
            index, count = (int(one) for one in match.groups())
            if 1 <= index <= count:
                return cls(index, count)
        raise UsageError(f"{text!r} is no share", where="--shard", hint="i/n with i from 1 to n, e.g. 2/8")

    def holds(self, item: Item) -> bool:
        """Tell whether a dive is this machine's: decided by its name as given, so every machine decides alike."""
        digest = hashlib.sha256(os.fsencode(item.source)).digest()
        return int.from_bytes(digest[:8], "big") % self.count == self.index - 1


@dataclass(frozen=True, slots=True)
class Merged:
    """What several files of results hold together: the line that counts for each dive.

    Attributes:
        journals: The files.
        lines: For each file, the numbers (from 0) of its rows that count.
        replaced: Rows that gave way to another of the same dive.
    """

    journals: tuple[Path, ...]
    lines: tuple[frozenset[int], ...]
    replaced: int

    def rows(self) -> Iterator[Row]:
        """Give the rows that count, file after file; one at a time, for they may be many."""
        for journal, wanted in zip(self.journals, self.lines, strict=True):
            yield from (row for number, row in enumerate(read_rows(journal)) if number in wanted)


def merge_journals(journals: Sequence[Path]) -> Merged:
    """Find the row that counts for each dive: a score before a failure, then the later one.

    Raises:
        DatasetError: A file is missing, unreadable or holds no rows of results.
    """
    best: dict[tuple[Place, int | None], tuple[bool, int, int]] = {}
    seen = 0
    for place_of_file, journal in enumerate(journals):
        for number, row in enumerate(read_rows(journal)):
            seen += 1
            found = (row.is_scored, place_of_file, number)
            dive = row.place, row.dive_index
            best[dive] = max(best.get(dive, found), found)
    lines = tuple(
        frozenset(number for _, file, number in best.values() if file == index) for index in range(len(journals))
    )
    return Merged(tuple(journals), lines, seen - len(best))
