"""Every frame of a dive, at its own size and pace; the network looks at 96 of them, a person at all."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from finecausal_cli.errors import VideoError
from finecausal_cli.video.reader import open_source
from finecausal_cli.video.sampling import frame_range

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from finecausal_cli.video.source import InspectedSource, VideoInfo

_EVEN_PACE_S = 2e-3
"""Containers round the time of a frame to a millisecond or so; anything further off is a varying frame rate."""


@dataclass(frozen=True, slots=True)
class Footage:
    """A video, or a part of it, that can be played from the beginning as often as one likes.

    Attributes:
        info: What the whole video is.
        first: Index in the video of the first frame.
        times_s: float64 [frames + 1], rising from 0: when each frame is shown, and when the last one ends.
    """

    info: VideoInfo
    first: int
    times_s: NDArray[np.float64]
    _source: InspectedSource = field(repr=False)

    def __len__(self) -> int:
        """Return how many frames there are."""
        return len(self.times_s) - 1

    @property
    def size(self) -> tuple[int, int]:
        """Height and width, in pixels, of every frame."""
        return self.info.upright_size

    @property
    def is_even(self) -> bool:
        """Whether the frames follow each other at the pace of ``info.fps``."""
        even = np.arange(len(self.times_s)) / self.info.fps
        return bool(np.abs(self.times_s - even).max() <= _EVEN_PACE_S)

    def frames(self) -> Iterator[NDArray[np.uint8]]:
        """Decode one frame after the other; a damaged one is the sound one before it, or the first that is sound.

        Yields:
            uint8 [height, width, 3], RGB, upright.

        Raises:
            VideoError: Nothing can be decoded, or the size of the picture changes on the way.
        """
        sound = self._source.sound(self.first, self.first + len(self) - 1)
        places = np.flatnonzero(sound)
        if not len(places):
            raise VideoError("None of the frames can be decoded.", where=self.info.path)
        shown = places[np.maximum(np.searchsorted(places, np.arange(len(self)), side="right") - 1, 0)]
        _, repeats = np.unique(shown, return_counts=True)
        for count, index, picture in zip(repeats, places, self._source.frames(places + self.first), strict=True):
            if picture.shape[:2] != self.size:
                what = f"The size of the picture changes at frame {self.first + int(index)}."
                raise VideoError(what, where=self.info.path, hint="convert it to one size")
            for _ in range(count):
                yield picture


def open_footage(path: str | os.PathLike[str], start_s: float | None = None, end_s: float | None = None) -> Footage:
    """Open a video file or a folder of frames to play it.

    Args:
        path: Video file or folder of images.
        start_s: Where the dive starts, in seconds; None for the beginning of the file.
        end_s: Where it ends, in seconds, exclusive; None for the end of the file.

    Raises:
        VideoError: It is missing, unreadable, holds no pictures, or none at these times.
        UsageError: ``start_s`` or ``end_s`` make no sense.
    """
    source = open_source(path)
    first, last = frame_range(source.times_s, source.info.duration_s, start_s, end_s, source.info.path)
    ends = np.append(source.times_s, source.info.duration_s)
    times_s = ends[first : last + 2] - ends[first]
    return Footage(source.info, first, times_s, source)
