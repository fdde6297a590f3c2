"""A clip as the network takes it: 96 frames, how they are sampled, resized and cropped."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import cv2
import numpy as np

from finecausal_cli.errors import UsageError, VideoError

if TYPE_CHECKING:
    from numpy.typing import NDArray


# The clip, before it becomes a tensor.

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


@dataclass(frozen=True, slots=True, repr=False)
class Clip:
    """96 frames of one dive at the working size of the model, and their source.

    Attributes:
        frames: uint8 [96, height, width, 3], RGB, scaled by the picture geometry but not yet cropped.
        source_frames: int64 [96], zero-based frame index in the source of each sampled frame.
        fps: Frames a second of the source.
        source: Path the clip was read from, as given.
        decoder: Which decoder produced the frames: ``decord``, ``pyav`` or ``frames``.
        notes: Caveats for the user, e.g. that fewer than 96 distinct frames exist.
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

    def __repr__(self) -> str:
        height, width = self.frames.shape[1:3]
        span = f"{self.times_s[0]:.2f} to {self.end_s:.2f} s"
        return f"Clip({self.source!r}, {len(self.frames)} frames of {width} x {height}, {span}, {self.decoder})"

    def time_s(self, frame: int) -> float:
        """Return the time in the source, in seconds, of a sampled frame (0..95)."""
        return float(self.times_s[frame])


# Sampling: which 96 frames of a dive.

_UNEVEN = 1.5
"""Longest gap between two frames, over the median, above which the frame rate counts as variable."""

_SLACK_S = 1e-3
"""Tolerance of times rounded to milliseconds."""


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
    """Spread 96 samples evenly over the time of a clip; by index if its frame rate is constant.

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
    targets = np.linspace(times[0], times[-1], CLIP_FRAMES)
    after = np.clip(np.searchsorted(times, targets), 1, len(times) - 1)
    is_before = targets - times[after - 1] <= times[after] - targets
    return first + np.where(is_before, after - 1, after).astype(np.int64)


def is_uneven(times_s: NDArray[np.float64]) -> bool:
    """Whether the frame rate varies: a frame is shown much longer than most."""
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
    """Refuse invalid times.

    Raises:
        UsageError: A time is negative or not a number, or the end does not lie after the start.
    """
    for name, time_s in (("start", start_s), ("end", end_s)):
        if time_s is not None and not (math.isfinite(time_s) and time_s >= 0):
            raise UsageError(f"The {name} must be a number of seconds from 0 on, not {time_s}.", where=f"--{name}")
    if end_s is not None and end_s <= (start_s or 0.0):
        what = f"The end at {end_s:g} s does not lie after the start at {start_s or 0.0:g} s."
        raise UsageError(what, where="--end")


def replace_corrupt_frames(indices: NDArray[np.int64], decodable: NDArray[np.bool_], first: int) -> NDArray[np.int64]:
    """Replace each sample that cannot be decoded by the nearest decodable frame before it.

    Args:
        indices: int64 [96], sampled frames.
        decodable: bool [frames], which frames decode, counted from ``first``; True at every clip's first sample.
        first: Index of the first frame of ``decodable``.

    Returns:
        int64 [96], all decodable.
    """
    latest = np.maximum.accumulate(np.where(decodable, np.arange(len(decodable)), -1))
    return first + latest[indices - first].astype(np.int64)


def check_enough(indices: NDArray[np.int64], where: str) -> str | None:
    """Refuse a clip that does not fill one snippet; return the caveat of one that repeats frames.

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
        return f"the clip has {distinct} distinct frames for {CLIP_FRAMES} samples, so some repeat"
    return None


# Resizing of pictures and masks to the working size of the network.

Geometry = Literal["fit", "squeeze"]
"""Resizing of pictures; part of the configuration of the weights."""

FRAME_SIZE = 112
"""Default side, in pixels, of the square that the network sees."""

_FIT_SHORT_SIDE = 128 / 112
"""Short side of the working picture over the crop, in ``fit``."""

_SQUEEZE_HEIGHT = 200 / 112
"""Height of the working picture over the crop, in ``squeeze``: the released code resizes to 112 x 200."""

FOREGROUND = 128
"""Least grey value of the athlete in a mask: half of 255, rounded up."""


def working_size(
    height: int, width: int, geometry: Geometry, frame_size: int = FRAME_SIZE, sample_aspect: float = 1.0
) -> tuple[int, int]:
    """Return the size to which a picture is scaled before it is cropped.

    ``fit`` keeps the aspect of the scene and brings the short side to 128/112 of the crop. ``squeeze`` makes every
    picture as wide as the crop and 200/112 as high, whatever its aspect, as the released code does.

    Args:
        height: Height of the upright picture in pixels.
        width: Width of the upright picture in pixels.
        geometry: ``fit`` or ``squeeze``.
        frame_size: Side of the crop in pixels.
        sample_aspect: Width of one pixel of the picture over its height.

    Returns:
        Height and width in pixels.
    """
    if geometry == "squeeze":
        return round(frame_size * _SQUEEZE_HEIGHT), frame_size
    short_side = round(frame_size * _FIT_SHORT_SIDE)
    aspect = width * sample_aspect / height
    return (short_side, round(short_side * aspect)) if aspect >= 1 else (round(short_side / aspect), short_side)


def scale_frame(
    frame: NDArray[np.uint8], geometry: Geometry, frame_size: int = FRAME_SIZE, sample_aspect: float = 1.0
) -> NDArray[np.uint8]:
    """Scale one picture to the working size; see `resize`.

    Args:
        frame: uint8 [height, width, 3], RGB, upright.
        geometry: ``fit`` or ``squeeze``.
        frame_size: Side of the crop in pixels.
        sample_aspect: Width of one pixel of the picture over its height.

    Returns:
        uint8 [working height, working width, 3].
    """
    height, width, _ = frame.shape
    return resize(frame, working_size(height, width, geometry, frame_size, sample_aspect), geometry)


def resize(picture: NDArray[np.uint8], size: tuple[int, int], geometry: Geometry) -> NDArray[np.uint8]:
    """Scale uint8 [height, width] or [height, width, 3] to ``size`` (height, width); shrinking counts every pixel.

    ``fit`` takes the mean of the area that a pixel covers, which costs next to nothing; ``squeeze`` Pillow's bilinear
    filter with antialiasing, as the released code does.
    """
    height, width = size
    if geometry == "squeeze":
        from PIL import Image  # loaded for this geometry alone

        scaled = Image.fromarray(np.ascontiguousarray(picture)).resize((width, height), Image.Resampling.BILINEAR)
        return np.asarray(scaled)
    shrinks = height <= picture.shape[0] and width <= picture.shape[1]
    interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(picture, (width, height), interpolation=interpolation), np.uint8)


# Cropping to the input of the network, and mirroring; frames and masks alike.

MEAN = (0.485, 0.456, 0.406)
"""Mean of red, green and blue over ImageNet, in 0 to 1."""

STD = (0.229, 0.224, 0.225)
"""Standard deviation of red, green and blue over ImageNet, in 0 to 1."""

Offset = tuple[int, int]
"""Top and left of a crop, in pixels."""


def centre_offset(height: int, width: int, frame_size: int) -> Offset:
    """Return the offset of the crop in the middle (evaluation).

    Raises:
        ValueError: The picture is smaller than the crop.
    """
    _check_fits(height, width, frame_size)
    return (height - frame_size) // 2, (width - frame_size) // 2


def random_offset(height: int, width: int, frame_size: int, rng: np.random.Generator) -> Offset:
    """Draw the offset of a crop (training). Give the same one to the frames and to the masks of a dive.

    Raises:
        ValueError: The picture is smaller than the crop.
    """
    _check_fits(height, width, frame_size)
    return int(rng.integers(height - frame_size + 1)), int(rng.integers(width - frame_size + 1))


def crop(
    pictures: NDArray[Any], frame_size: int, offset: Offset | np.random.Generator | str = "centre"
) -> NDArray[Any]:
    """Cut one square from every picture of a clip.

    Args:
        pictures: [96, height, width, 3] frames or [96, height, width] masks.
        frame_size: Side of the square in pixels.
        offset: Its top and left, ``"centre"``, or a generator to draw them with.

    Returns:
        A view, [96, frame_size, frame_size, 3] or [96, frame_size, frame_size].

    Raises:
        ValueError: The square does not fit into the picture there, or ``offset`` is another word.
    """
    height, width = pictures.shape[1:3]
    if isinstance(offset, np.random.Generator):
        offset = random_offset(height, width, frame_size, offset)
    elif isinstance(offset, str):
        if offset != "centre":
            raise ValueError(f"A crop lies at an offset or in the centre, not at {offset!r}.")
        offset = centre_offset(height, width, frame_size)
    top, left = offset
    if not (0 <= top <= height - frame_size and 0 <= left <= width - frame_size):
        raise ValueError(f"A crop of {frame_size} at {offset} leaves a picture of {height} x {width}.")
    return pictures[:, top : top + frame_size, left : left + frame_size]


def mirror(pictures: NDArray[Any]) -> NDArray[Any]:
    """Swap left and right of every picture: [96, height, width, 3] frames or [96, height, width] masks; a view."""
    return pictures[:, :, ::-1]


def _check_fits(height: int, width: int, frame_size: int) -> None:
    if min(height, width) < frame_size:
        raise ValueError(f"A crop of {frame_size} does not fit into a picture of {height} x {width}.")


# Masks used to cut the athlete out.

_MARGIN = 1 / 32
"""Margin around the athlete, as a share of the square's side: masks miss fingers and toes."""


def dilate(masks: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Dilate masks [F, height, width] by a 32nd of their height."""
    margin = max(1, round(masks.shape[1] * _MARGIN))
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * margin + 1, 2 * margin + 1))
    return np.stack([cv2.dilate(mask.astype(np.uint8), disc) for mask in masks]).astype(bool)
