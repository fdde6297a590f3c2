"""The clip a model sees, before it becomes a tensor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

CLIP_FRAMES = 96
"""Frames sampled from every clip (paper section 4.2)."""

SNIPPET_FRAMES = 16
"""Consecutive sampled frames in one snippet."""

SNIPPET_STRIDE = 10
"""Sampled frames between the starts of neighbouring snippets."""

SNIPPET_STARTS = tuple(range(0, CLIP_FRAMES - SNIPPET_FRAMES + 1, SNIPPET_STRIDE))
"""First sampled frame of each snippet: 0, 10, ..., 80."""

SNIPPETS = len(SNIPPET_STARTS)
"""Snippets in a clip: 9."""


@dataclass(frozen=True, slots=True)
class Clip:
    """96 frames of one dive at the model's working size, with where they came from.

    Attributes:
        frames: uint8 [96, height, width, 3], RGB, scaled by the picture geometry but not yet cropped.
        source_frames: int64 [96], zero-based frame index in the source of each sampled frame.
        fps: Frames a second of the source.
        source: Path the clip was read from, as given.
        decoder: Which decoder produced the frames: ``decord``, ``pyav`` or ``frames``.
        notes: Caveats worth showing to a person, e.g. that fewer than 96 distinct frames exist.
        times_s: float64 [96], when each sampled frame is shown in the source, seconds; at an even pace when absent.
        end_s: When the last sampled frame ends in the source, seconds.
        windows: float64 [96, 3], the square of the upright source picture that each frame shows: centre x, centre y
            and side, in pixels; None where frames show the whole picture.
        source_size: Height and width of the upright source picture, pixels; None if not known.
    """

    frames: NDArray[np.uint8]
    source_frames: NDArray[np.int64]
    fps: float
    source: str
    decoder: str
    notes: tuple[str, ...] = ()
    times_s: NDArray[np.float64] = None  # type: ignore[assignment] # never None once it is made
    end_s: float = 0.0
    windows: NDArray[np.float64] | None = None
    source_size: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        if self.times_s is None:
            object.__setattr__(self, "times_s", self.source_frames / self.fps)
        if not self.end_s:
            object.__setattr__(self, "end_s", float(self.source_frames[-1] + 1) / self.fps)

    def time_s(self, frame: int) -> float:
        """Return the time in the source, in seconds, of a sampled frame (0..95)."""
        return float(self.times_s[frame])
