"""Read a clip: open the source, choose its frames, decode and resize them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, Literal, TypeVar

import numpy as np

from finecausal_cli.errors import UsageError, VideoError
from finecausal_cli.video import (
    FOREGROUND,
    FRAME_SIZE,
    Clip,
    Geometry,
    check_enough,
    check_range,
    frame_range,
    replace_corrupt_frames,
    resize,
    sample_times,
    working_size,
)
from finecausal_cli.video.decoders import DecordSource, PyAVSource, decord_suits, pyav_does_as_well
from finecausal_cli.video.source import FolderSource, check_path
from finecausal_cli.video.worker import pack_clip, read_within, serve_tasks

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from finecausal_cli.video.source import InspectedSource, VideoInfo, VideoSource


# Path -> Clip, for training and scoring alike: from a file to 96 frames at the working size.

T = TypeVar("T")

Decoder = Literal["auto", "decord", "pyav"]
"""``auto`` is PyAV, in the pass that checks the frames, and decord for the few kinds of video of which PyAV would give
other pixels."""

_MIN_DECODABLE = 0.8
"""Share of a clip's frames that must decode for it to be scored."""

_LONG_S = 20.0
"""Upper bound of the duration of a single dive, in slow motion too."""

_WORTH_SEEKING = 250
"""Frames before a clip above which seeking is faster; PyAV seeks correctly, decord does not."""

_MOST_ASPECT = 8.0
"""Largest ratio of sides that ``fit`` accepts: a longer strip would fill the memory."""


def probe(path: str | os.PathLike[str]) -> VideoInfo:
    """Return the facts of a video file or a folder of frames, decoding one picture at most.

    Raises:
        VideoError: It is missing, unreadable, or holds no pictures.
    """
    return open_source(path).info


def read_clip(
    path: str | os.PathLike[str],
    *,
    geometry: Geometry = "fit",
    frame_size: int = FRAME_SIZE,
    start_s: float | None = None,
    end_s: float | None = None,
    shift: int = 0,
    decoder: Decoder = "auto",
    timeout_s: float | None = None,
) -> Clip:
    """Read 96 frames, evenly spaced, from a video file or a folder of frames.

    Each frame is brought to the working size as it is decoded, so memory stays small whatever the resolution. A
    file with up to a fifth of its frames damaged is read with the frame before in their place and a note.

    Args:
        path: Video file or folder of images.
        geometry: Resizing of the pictures; see ``working_size``.
        frame_size: Side of the square the network sees, in pixels.
        start_s: Start of the dive, seconds; None for the beginning of the file.
        end_s: End of the dive, seconds, exclusive; None for the end of the file.
        shift: Draw the last frame this many frames earlier (temporal shift in training, 0 to 3).
        decoder: ``auto``, ``decord`` or ``pyav``; ignored for a folder of frames.
        timeout_s: Time limit in seconds, kept by reading in another process; None reads in this process.

    Returns:
        The clip, with its decoder and caveats.

    Raises:
        VideoError: The file cannot be opened, decoded or sampled, or reading took longer than ``timeout_s``.
        UsageError: ``start_s``, ``end_s`` or ``timeout_s`` are invalid.
    """
    check_range(start_s, end_s)
    options = {"geometry": geometry, "frame_size": frame_size, "start_s": start_s, "end_s": end_s}
    if timeout_s is not None:
        if not timeout_s > 0:
            raise UsageError(f"The time limit must be more than 0 s, not {timeout_s}.", where="timeout")
        return read_within(timeout_s, path, {**options, "shift": shift, "decoder": decoder})
    source = open_source(path)
    info = source.info
    check_shape(info, geometry)
    first, last = frame_range(source.times_s, info.duration_s, start_s, end_s, info.path)
    sampled = sample_frames(source, first, last, scaler(info, geometry, frame_size), shift=shift, decoder=decoder)
    notes = (*info.notes, *sampled.notes, length_note(source, first, last))
    return sampled.clip(np.stack(sampled.prepared), tuple(note for note in notes if note))


@dataclass(frozen=True, slots=True)
class SampledFrames(Generic[T]):
    """The 96 sampled frames of a clip, prepared.

    Attributes:
        source: The video.
        indices: int64 [96], frame index in the source of each.
        prepared: The prepared value of each; the same object where a frame repeats.
        decoder: The decoder used.
        notes: Caveats of damage and repetition.
    """

    source: InspectedSource
    indices: NDArray[np.int64]
    prepared: list[T]
    decoder: str
    notes: tuple[str, ...]

    @property
    def times_s(self) -> NDArray[np.float64]:
        """Time of each frame, seconds."""
        return self.source.times_s[self.indices]

    def clip(
        self, frames: NDArray[np.uint8], notes: tuple[str, ...], windows: NDArray[np.float64] | None = None
    ) -> Clip:
        """Return the clip whose pictures at the working size are ``frames``."""
        info, after = self.source.info, int(self.indices[-1]) + 1
        end_s = float(self.source.times_s[after]) if after < info.frames else info.duration_s
        return Clip(
            frames,
            self.indices,
            info.fps,
            info.path,
            self.decoder,
            notes,
            self.times_s,
            end_s=end_s,
            windows=windows,
            source_size=info.upright_size,
        )


def sample_frames(
    source: InspectedSource,
    first: int,
    last: int,
    prepare: Callable[[int, NDArray[np.uint8]], T],
    *,
    shift: int = 0,
    decoder: Decoder = "auto",
) -> SampledFrames[T]:
    """Sample 96 frames of a part of a source, replace damaged ones, and prepare each while it is decoded.

    Args:
        source: An opened video.
        first: Index of the part's first frame.
        last: Index of its last frame, inclusive.
        prepare: Maps a frame's index and picture, uint8 [height, width, 3], RGB, upright, to the value to keep.
        shift: Draw the last frame this many frames earlier.
        decoder: As for ``read_clip``.

    Raises:
        VideoError: The frames are damaged, too few, or cannot be decoded.
    """
    info = source.info
    distinct, positions = np.unique(sample_times(source.times_s, first, last, shift=shift), return_inverse=True)
    collected: list[T] | None = None
    if isinstance(source, PyAVSource) and _suits_one_pass(info, decoder):
        # Most files are undamaged; then these are the frames, and no second pass is needed.
        decodable, collected = source.decodable_and_collected(first, last, distinct, prepare)
    else:
        decodable = source.decodable(first, last)
    damage = _check_decodable(decodable, info.path)
    first_decodable, last_decodable = np.flatnonzero(decodable)[[0, -1]].tolist()
    indices = sample_times(source.times_s, first + first_decodable, first + last_decodable, shift=shift)
    indices = replace_corrupt_frames(indices, decodable, first)
    repeats = check_enough(indices, info.path)
    if decoder == "auto" and damage:
        decoder = "pyav"
    if collected is not None and not damage:
        prepared, used = [collected[position] for position in positions.tolist()], source.name
    else:
        prepared, used = _decode_prepared(source, decoder, indices, prepare)
    return SampledFrames(source, indices, prepared, used, tuple(note for note in (damage, repeats) if note))


def read_masks(
    path: str | os.PathLike[str],
    source_frames: NDArray[np.int64],
    *,
    geometry: Geometry = "fit",
    frame_size: int = FRAME_SIZE,
    size: tuple[int, int] | None = None,
) -> NDArray[np.uint8]:
    """Read the foreground masks of sampled frames from a mask video or a folder of images, one a frame of the clip.

    The athlete is white. Pixels are thresholded at half. Masks without a value above 1 are 0/1 labels.

    Args:
        path: Mask video or folder of images.
        source_frames: int64 [96], never falling; ``Clip.source_frames``.
        geometry: Resizing of the pictures.
        frame_size: Side of the square the network sees, in pixels.
        size: Height and width of the result, e.g. of the clip's frames if masks may be stored smaller than the video;
            None computes it from the masks' own size by ``geometry``.

    Returns:
        uint8 [96, working height, working width], 1 for the athlete and 0 for everything else.

    Raises:
        VideoError: The masks cannot be opened or decoded, or there are fewer than the clip has frames.
    """
    source = open_source(path)
    info = source.info
    if source_frames[-1] >= info.frames:
        what = f"There are {info.frames} masks, and frame {int(source_frames[-1])} of the clip has none."
        raise VideoError(what, where=info.path, hint="give one mask for every frame of the clip")
    if not source.decodable(0, int(source_frames[-1]))[source_frames].all():
        raise VideoError("Some of the masks needed are missing or damaged.", where=info.path)
    if size is None:
        check_shape(info, geometry)
        size = working_size(*info.upright_size, geometry, frame_size, info.upright_sample_aspect)
    target = size
    scaled, _ = _decode_prepared(
        source, "auto", source_frames, lambda _, mask: resize(_brightest(mask), target, geometry)
    )
    masks = np.stack(scaled)
    least = 1 if masks.max() == 1 else FOREGROUND
    return (masks >= least).astype(np.uint8)


def _brightest(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the largest of the three channels [height, width], 28 times as fast as a reduction would."""
    return np.asarray(np.maximum(np.maximum(picture[..., 0], picture[..., 1]), picture[..., 2]), np.uint8)


def open_source(path: str | os.PathLike[str]) -> InspectedSource:
    """Open a video file or a folder of frames with the decoder that tells which frames are decodable.

    Raises:
        VideoError: It is missing, unreadable, or holds no pictures.
    """
    return FolderSource(path) if check_path(path).is_dir() else PyAVSource(path)


def scaler(
    info: VideoInfo, geometry: Geometry, frame_size: int
) -> Callable[[int, NDArray[np.uint8]], NDArray[np.uint8]]:
    """Return a function that resizes a frame to the working size."""
    size = working_size(*info.upright_size, geometry, frame_size, info.upright_sample_aspect)
    return lambda _, frame: resize(frame, size, geometry)


def _decode_prepared(
    source: InspectedSource,
    decoder: Decoder,
    indices: NDArray[np.int64],
    prepare: Callable[[int, NDArray[np.uint8]], T],
) -> tuple[list[T], str]:
    """Decode each distinct frame once, with the first decoder that succeeds, and prepare it."""
    distinct, positions = np.unique(indices, return_inverse=True)
    failure: VideoError | None = None
    for attempt in _attempts(source, decoder, int(distinct[0])):
        try:
            opened = attempt()
            prepared = [
                prepare(index, frame)
                for index, frame in zip(distinct.tolist(), _all_of_one_size(opened, distinct), strict=True)
            ]
            return [prepared[position] for position in positions.tolist()], opened.name
        except VideoError as error:
            failure = error
    assert failure is not None  # noqa: S101 - there is always one attempt
    raise failure


def _suits_one_pass(info: VideoInfo, decoder: Decoder) -> bool:
    return decoder == "pyav" or (decoder == "auto" and pyav_does_as_well(info))


def _attempts(source: InspectedSource, decoder: Decoder, first: int) -> Iterator[Callable[[], VideoSource]]:
    is_file = isinstance(source, PyAVSource)
    suits = decoder == "decord" or (decoder == "auto" and decord_suits(source.info) and first < _WORTH_SEEKING)
    if is_file and suits:
        yield lambda: DecordSource(source.info)
    if not is_file or decoder != "decord":
        yield lambda: source


def _all_of_one_size(source: VideoSource, indices: NDArray[np.int64]) -> Iterator[NDArray[np.uint8]]:
    size = source.info.upright_size
    for index, frame in zip(indices.tolist(), source.frames(indices), strict=True):
        if frame.shape[:2] != size:
            what = (
                f"The picture changes from {size[1]}x{size[0]} to {frame.shape[1]}x{frame.shape[0]} at frame {index}."
            )
            raise VideoError(what, where=source.info.path, kind="unsupported")
        yield frame


def check_shape(info: VideoInfo, geometry: Geometry) -> None:
    """Refuse a picture that ``fit`` would turn into a strip.

    Raises:
        VideoError: Its sides differ too much.
    """
    height, width = info.upright_size
    aspect = width * info.upright_sample_aspect / height
    if geometry == "fit" and not 1 / _MOST_ASPECT <= aspect <= _MOST_ASPECT:
        what = f"A picture of {width}x{height} is too narrow to show a dive."
        raise VideoError(what, where=info.path, kind="unsupported")


def _check_decodable(decodable: NDArray[np.bool_], path: str) -> str | None:
    good, all_frames = int(decodable.sum()), len(decodable)
    if good == all_frames:
        return None
    if good < _MIN_DECODABLE * all_frames or not good:
        what = f"The video is damaged: only {good} of {all_frames} frames can be decoded."
        raise VideoError(what, where=path, hint="copy or download it again", kind="damaged")
    return f"{all_frames - good} of {all_frames} frames are lost or damaged and left out."


def length_note(source: InspectedSource, first: int, last: int) -> str | None:
    """Return the caveat of a clip that is longer than a dive."""
    seconds = float(source.times_s[last] - source.times_s[first])
    if seconds <= _LONG_S:
        return None
    return f"the clip lasts {seconds:.0f} s, longer than a dive; give its start and end"


def serve() -> None:
    """Serve ``read_clip`` over standard input: the main function of a ``WorkerProcess``."""
    serve_tasks(lambda path, options, _: pack_clip(read_clip(path, **options)))


# Footage: every frame of a dive, at its own size and pace, for people.

_EVEN_PACE_S = 2e-3
"""Rounding of time stamps by containers; larger deviations are a variable frame rate."""


@dataclass(frozen=True, slots=True)
class Footage:
    """A video, or a part of it, that can be played repeatedly.

    Attributes:
        info: Facts of the whole video.
        first: Index in the video of the first frame.
        times_s: float64 [frames + 1], rising from 0: when each frame is shown, and when the last one ends.
    """

    info: VideoInfo
    first: int
    times_s: NDArray[np.float64]
    _source: InspectedSource = field(repr=False)

    def __len__(self) -> int:
        """Number of frames."""
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
        """Decode frame by frame; a damaged one repeats the decodable one before it, or shows the first.

        Yields:
            uint8 [height, width, 3], RGB, upright.

        Raises:
            VideoError: Nothing can be decoded, or the size of the picture changes on the way.
        """
        decodable = np.flatnonzero(self._source.decodable(self.first, self.first + len(self) - 1))
        if not len(decodable):
            raise VideoError("None of the frames can be decoded.", where=self.info.path)
        latest = np.searchsorted(decodable, np.arange(len(self)), side="right") - 1
        shown = decodable[np.maximum(latest, 0)]
        _, repeats = np.unique(shown, return_counts=True)
        for count, index, picture in zip(repeats, decodable, self._source.frames(decodable + self.first), strict=True):
            if picture.shape[:2] != self.size:
                what = f"The size of the picture changes at frame {self.first + int(index)}."
                raise VideoError(what, where=self.info.path, hint="convert it to one size")
            for _ in range(count):
                yield picture


def open_footage(path: str | os.PathLike[str], start_s: float | None = None, end_s: float | None = None) -> Footage:
    """Open a video file or a folder of frames to play it.

    Args:
        path: Video file or folder of images.
        start_s: Start of the dive, seconds; None for the beginning of the file.
        end_s: End of the dive, seconds, exclusive; None for the end of the file.

    Raises:
        VideoError: It is missing, unreadable, holds no pictures, or none at these times.
        UsageError: ``start_s`` or ``end_s`` are invalid.
    """
    source = open_source(path)
    first, last = frame_range(source.times_s, source.info.duration_s, start_s, end_s, source.info.path)
    ends = np.append(source.times_s, source.info.duration_s)
    times_s = ends[first : last + 2] - ends[first]
    return Footage(source.info, first, times_s, source)
