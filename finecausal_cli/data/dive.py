"""One dive of a dataset: where its pictures are and what is known of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from pathlib import Path

Split = Literal["train", "val", "test"]


@dataclass(frozen=True, slots=True)
class FrameRange:
    """The frames of one dive among those of an untrimmed video, one picture a frame.

    Attributes:
        name: How the pictures are called, with ``{frame}`` for their number, e.g. ``{frame:06d}.jpg``.
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
        twist_start: Clip frame at which the flight begins, or None.
        entry_start: Clip frame at which the entry begins, or None.
        mask: Foreground masks (a video or a folder of pictures, one a frame), or None.
        judges: The judges' marks; empty if unknown.
        deductions: Points a judge takes off for take-off, flight and entry, each 0 or more; None if unknown, as it is
            for filmed dives: simulated ones know it.
        split: The part of the dataset it belongs to; None if the dataset does not say.
        frames: Which pictures of the folder ``video`` are this dive's; None if they all are.
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

    @property
    def execution(self) -> float:
        """Score divided by difficulty, 0..30; rounded, because 42.0 / 1.4 is a little more than 30 in binary.

        Raises:
            ValueError: The score is unknown.
        """
        if self.score is None:
            raise ValueError(f"{self.key} has no score")
        return round(self.score / self.difficulty, 9)
