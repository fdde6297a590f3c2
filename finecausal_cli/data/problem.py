"""What is wrong with a dataset, as a value: the first one stops a run, and a check collects them all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from finecausal_cli.errors import DatasetError

Kind = Literal[
    "manifest", "annotation", "dive number", "score", "split", "boundaries", "video", "frames", "masks", "duplicate",
    "exemplars",
]  # fmt: skip
"""``manifest``: a cell or row; ``annotation``: an entry of a pickle; ``exemplars``: nobody to compare a dive with."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong.

    Attributes:
        kind: What it concerns.
        where: The file or folder it was found in.
        what: What is wrong, in plain words, with the place in the file.
        hint: What the user can do about it.
        dive: Key of the dive it concerns, if it is one.
        stops: Whether nothing sensible can be read in its place, so that a run must not go on by itself.
    """

    kind: Kind
    where: str
    what: str
    hint: str | None = None
    dive: str | None = None
    stops: bool = True

    def error(self) -> DatasetError:
        """Return the same as an error to raise."""
        return DatasetError(self.what, where=self.where, hint=self.hint)


Report = Callable[[Problem], object]
"""Takes a problem while a dataset is read. If it returns, the dive is left out, or read without what is wrong."""


def refuse(problem: Problem) -> None:
    """Stop at the first problem that stops a run; be silent about the others, which ``dataset check`` lists.

    Raises:
        DatasetError: The problem.
    """
    if problem.stops:
        raise problem.error()
