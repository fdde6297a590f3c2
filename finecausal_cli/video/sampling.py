"""Which 96 frames of a dive are looked at."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from finecausal_cli.errors import UsageError, VideoError
from finecausal_cli.video.clip import CLIP_FRAMES, SNIPPET_FRAMES

if TYPE_CHECKING:
    from numpy.typing import NDArray

_UNEVEN = 1.5
"""Longest time between two frames, over the median, from which on the frame rate is said to vary."""

_SLACK_S = 1e-3
"""A time given in milliseconds still means the frame it was rounded from."""


def sample_indices(first: int, last: int, *, shift: int = 0) -> NDArray[np.int64]:
    """Spread 96 samples evenly over a clip.

    Args:
        first: Index of the clip's first frame.
        last: Index of its last frame, inclusive.
        shift: Draw the last sample this many frames earlier (0 to 3 in training), but never before ``first``.

    Returns:
        int64 [96], never falling, from ``first`` to ``last - shift``; a clip of fewer frames repeats some.

    Raises:
        ValueError: ``first`` or ``shift`` is negative, or ``last`` lies before ``first``.
    """
    if first < 0 or shift < 0 or last < first:
        raise ValueError(f"Cannot sample from frame {first} to {last} with a shift of {shift}.")
    return np.linspace(first, max(first, last - shift), CLIP_FRAMES).astype(np.int64)


def sample_times(times_s: NDArray[np.float64], first: int, last: int, *, shift: int = 0) -> NDArray[np.int64]:
    """Spread 96 samples evenly over the time of a clip: by number where its frames follow each other at one pace.

    Args:
        times_s: float64 [frames], rising; when each frame of the source is shown.
        first: Index of the clip's first frame.
        last: Index of its last frame, inclusive.
        shift: As for ``sample_indices``.

    Returns:
        int64 [96], never falling.
    """
    if not is_uneven(times_s[first : last + 1]):
        return sample_indices(first, last, shift=shift)
    times = times_s[first : max(first, last - shift) + 1]
    wanted = np.linspace(times[0], times[-1], CLIP_FRAMES)
    after = np.clip(np.searchsorted(times, wanted), 1, len(times) - 1)
    is_before = wanted - times[after - 1] <= times[after] - wanted
    return first + np.where(is_before, after - 1, after).astype(np.int64)


def is_uneven(times_s: NDArray[np.float64]) -> bool:
    """Tell whether a frame is shown much longer than most: the frame rate varies."""
    gaps = np.diff(times_s)
    return bool(len(gaps) and gaps.max() > _UNEVEN * np.median(gaps))


def frame_range(
    times_s: NDArray[np.float64], duration_s: float, start_s: float | None, end_s: float | None, where: str
) -> tuple[int, int]:
    """Find the frames shown from ``start_s`` up to, but not at, ``end_s``.

    Args:
        times_s: float64 [frames], rising; when each frame is shown, counted from the first.
        duration_s: When the last frame ends.
        start_s: Start of the dive, or None for the first frame.
        end_s: End of the dive, or None for the end of the clip.
        where: The file, for errors.

    Returns:
        Index of the first and of the last frame, both inclusive.

    Raises:
        UsageError: A time is negative or not a number, or the end does not lie after the start.
        VideoError: A time lies beyond the clip, or no frame is shown in between.
    """
    check_range(start_s, end_s)
    start, end = start_s or 0.0, duration_s if end_s is None else end_s
    for name, time_s in (("start", start), ("end", end)):
        if time_s > duration_s + _SLACK_S or (name == "start" and time_s >= duration_s):
            raise VideoError(
                f"The {name} at {time_s:g} s lies beyond the clip, which ends at {duration_s:.2f} s.",
                where=where,
                kind="out_of_range",
            )
    first = int(np.searchsorted(times_s, start - _SLACK_S))
    last = int(np.searchsorted(times_s, end - _SLACK_S)) - 1 if end_s is not None else len(times_s) - 1
    if last < first:
        raise VideoError(f"No frame is shown between {start:g} s and {end:g} s.", where=where, kind="out_of_range")
    return first, last


def check_range(start_s: float | None, end_s: float | None) -> None:
    """Refuse times that contradict themselves, whatever the clip.

    Raises:
        UsageError: A time is negative or not a number, or the end does not lie after the start.
    """
    for name, time_s in (("start", start_s), ("end", end_s)):
        if time_s is not None and not (math.isfinite(time_s) and time_s >= 0):
            raise UsageError(f"The {name} must be a number of seconds from 0 on, not {time_s}.", where=name)
    if end_s is not None and end_s <= (start_s or 0.0):
        raise UsageError(f"The end at {end_s:g} s does not lie after the start at {start_s or 0.0:g} s.", where="end")


def stand_in(indices: NDArray[np.int64], sound: NDArray[np.bool_], first: int) -> NDArray[np.int64]:
    """Replace each sample that cannot be decoded by the nearest sound frame before it.

    Args:
        indices: int64 [96], sampled frames.
        sound: bool [frames], which frames decode, counted from ``first``; True at every clip's first sample.
        first: Index of the frame that ``sound`` begins with.

    Returns:
        int64 [96], every one of them sound.
    """
    latest = np.maximum.accumulate(np.where(sound, np.arange(len(sound)), -1))
    return first + latest[indices - first].astype(np.int64)


def check_enough(indices: NDArray[np.int64], where: str) -> str | None:
    """Refuse a clip that does not fill one snippet, and word the caveat of one that repeats frames.

    Args:
        indices: int64 [96], sampled frames.
        where: The file, for errors.

    Returns:
        The caveat, or None where all 96 frames are distinct.

    Raises:
        VideoError: Fewer than 16 distinct frames: no snippet would show a movement.
    """
    distinct = len(np.unique(indices))
    if distinct < SNIPPET_FRAMES:
        frames = "frame" if distinct == 1 else "frames"
        raise VideoError(
            f"The clip has {distinct} {frames}; a score needs at least {SNIPPET_FRAMES}, better {CLIP_FRAMES}.",
            where=where,
            hint="give the whole dive, from take-off to entry, at its full frame rate",
            kind="too_short",
        )
    if distinct < CLIP_FRAMES:
        return f"The clip has {distinct} distinct frames for {CLIP_FRAMES} samples, so some repeat."
    return None
