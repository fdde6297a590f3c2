"""Datasets: a dive, and what can be wrong with it."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, ClassVar, Literal

from finecausal_cli.config import OptionGroup, option
from finecausal_cli.errors import DatasetError

# One dive of a dataset: its files and its labels.

Split = Literal["train", "val", "test"]


@dataclass(frozen=True, slots=True)
class FrameRange:
    """The frames of one dive among those of an untrimmed video, one picture a frame.

    Attributes:
        name: Pattern of the pictures' names, with ``{frame}`` for their number, e.g. ``{frame:06d}.jpg``.
        first: Number of the dive's first frame.
        last: Number of its last frame, inclusive.
    """

    name: str
    first: int
    last: int

    def __len__(self) -> int:
        return self.last - self.first + 1

    def picture(self, folder: Path, index: int) -> Path:
        """Return the picture of clip frame ``index`` (0-based)."""
        return folder / self.name.format(frame=self.first + index)


@dataclass(frozen=True, slots=True)
class Dive:
    """One dive of a dataset.

    Attributes:
        key: Name of the dive, unique in its dataset.
        video: A video file or a folder of frames.
        score: Final score, or None if unknown.
        difficulty: Degree of difficulty.
        number: Canonical dive number, e.g. ``107B``, or None if unknown.
        height_m: Height of the board or platform, or None if unknown.
        twist_start: Frame of the video or folder at which the flight begins, or None.
        entry_start: Frame of the video or folder at which the entry begins, or None.
        mask: Foreground masks (a video or a folder of pictures, one a frame), or None.
        judges: The judges' marks; empty if unknown.
        deductions: Points a judge takes off for take-off, flight and entry, each 0 or more; None if unknown, as it is
            for filmed dives: simulated ones know it.
        split: Its part of the dataset; None if unknown.
        frames: The pictures of the folder ``video`` that belong to this dive; None for all.
        start_s: Start of the dive in its video, seconds; None for the video's start.
        end_s: End of the dive in its video, seconds; None for the video's end.
        diver: Who dives; empty if unknown.
        date: When, ISO 8601; empty if unknown.
    """

    key: str
    video: Path
    score: float | None
    difficulty: float
    number: str | None = None
    height_m: float | None = None
    twist_start: int | None = None
    entry_start: int | None = None
    mask: Path | None = None
    judges: tuple[float, ...] = ()
    deductions: tuple[float, float, float] | None = None
    split: Split | None = None
    frames: FrameRange | None = None
    start_s: float | None = None
    end_s: float | None = None
    diver: str = ""
    date: str = ""

    @property
    def execution(self) -> float:
        """Score divided by difficulty, 0..30; rounded, because 42.0 / 1.4 is a little more than 30 in binary.

        Raises:
            ValueError: The score is unknown.
        """
        if self.score is None:
            raise ValueError(f"{self.key} has no score")
        return round(self.score / self.difficulty, 9)


# Problems of a dataset: the first one stops a run, a check collects them all.

Kind = Literal[
    "manifest", "annotation", "dive number", "score", "split", "boundaries", "video", "frames", "masks", "duplicate",
    "exemplars",
]  # fmt: skip
"""``manifest``: a cell or row; ``annotation``: an entry of a pickle; ``exemplars``: no dive to compare with."""


@dataclass(frozen=True, slots=True)
class Problem:
    """A problem of a dataset.

    Attributes:
        kind: Its kind.
        where: The file or folder.
        what: What is wrong, with the position in the file.
        hint: What the user can do.
        dive: Key of the dive, if it concerns one.
        stops: Whether a run must stop, because nothing sensible can be read instead.
    """

    kind: Kind
    where: str
    what: str
    hint: str | None = None
    dive: str | None = None
    stops: bool = True

    def error(self) -> DatasetError:
        """Return the problem as an error to raise."""
        return DatasetError(self.what, where=self.where, hint=self.hint)


_VARIES = re.compile(r"'[^']*'|\"[^\"]*\"|\S*/\S*|\d+(?:[.,]\d+)*")
"""What tells two problems of one kind apart: names, paths and numbers."""


def group_problems(problems: Iterable[Problem]) -> list[tuple[Problem, ...]]:
    """Put problems together that say the same of other dives, in the order of the first of each."""
    groups: dict[tuple[object, ...], list[Problem]] = {}
    for problem in problems:
        key = problem.kind, problem.stops, _VARIES.sub("", problem.what), _VARIES.sub("", problem.hint or "")
        groups.setdefault(key, []).append(problem)
    return [tuple(group) for group in groups.values()]


Report = Callable[[Problem], object]
"""Called with a problem while a dataset is read. If it returns, the dive is left out, or read without what is wrong."""


def refuse(problem: Problem) -> None:
    """Raise the first problem that stops a run; ignore the others, which ``dataset check`` lists.

    Raises:
        DatasetError: The problem.
    """
    if problem.stops:
        raise problem.error()


_SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")


def frame_names(folder: Path) -> set[str]:
    """Return the names, without suffix, of the pictures of a folder.

    Raises:
        OSError: The folder cannot be listed.
    """
    with os.scandir(folder) as listing:
        names = [entry.name for entry in listing]
    return {name.rsplit(".", 1)[0] for name in names if name.lower().endswith(_SUFFIXES) and name[0] != "."}


# Where a dataset keeps its parts, as options of the commands that read one.


@dataclass(frozen=True)
class LayoutOptions(OptionGroup):
    """Where a dataset keeps its parts; the fields are arguments of ``read_dataset``."""

    panel: ClassVar[str] = "Reading the dataset"

    annotations: Path | None = option(
        None, "Folder of the pickled annotations, if not in or just below the dataset.", metavar="DIR"
    )
    frames: str | None = option(None, "Path pattern of MTL-AQA's frames, with {video} and {frame}.", metavar="PATTERN")
    allow_outside: bool = option(False, "Accept a manifest's paths that lead out of its folder.")

    def arguments(self) -> dict[str, Any]:
        """Return the arguments of ``read_dataset``."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in values.items() if value is not None}
