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


# Path -> Clip: the one way, for training and scoring alike, from a file to 96 frames at the working size.

T = TypeVar("T")

Decoder = Literal["auto", "decord", "pyav"]
"""Which decoder to use; ``auto`` is PyAV, on the pass that judges the frames, and decord for the few kinds of video of
which PyAV would give other pixels."""

_LEAST_SOUND = 0.8
"""Share of a clip's frames that must decode for it to be scored."""

_LONG_S = 20.0
"""A single dive, even in slow motion, is shorter than this."""

_WORTH_SEEKING = 250
"""Frames before a clip from which on it pays to seek, which PyAV does rightly and decord does not."""

_MOST_ASPECT = 8.0
"""Widest (or highest) picture that ``fit`` accepts, as the ratio of its sides: its strip would fill the memory."""


def probe(path: str | os.PathLike[str]) -> VideoInfo:
    """Look into a video file or a folder of frames, decoding no more than one picture.

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
        geometry: How pictures are brought to size; see ``picture.working_size``.
        frame_size: Side of the square the network sees, in pixels.
        start_s: Where the dive starts, in seconds; None for the beginning of the file.
        end_s: Where it ends, in seconds, exclusive; None for the end of the file.
        shift: Draw the last frame this many frames earlier (temporal shift in training, 0 to 3).
        decoder: ``auto``, ``decord`` or ``pyav``; a folder of frames has no choice.
        timeout_s: Read in a process of its own and kill it after so many seconds; None reads in this process.

    Returns:
        The clip, with the decoder used and every caveat.

    Raises:
        VideoError: The file cannot be opened, decoded or sampled, or reading took longer than ``timeout_s``.
        UsageError: ``start_s``, ``end_s`` or ``timeout_s`` make no sense.
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
    found = sample_frames(source, first, last, scaler(info, geometry, frame_size), shift=shift, decoder=decoder)
    notes = (*info.notes, *found.notes, length_note(source, first, last))
    return found.clip(np.stack(found.prepared), tuple(note for note in notes if note))


@dataclass(frozen=True, slots=True)
class SampledFrames(Generic[T]):
    """What was made of the 96 sampled frames of a clip.

    Attributes:
        source: Where they come from.
        indices: int64 [96], frame index in the source of each.
        prepared: What was made of each; one object where a frame repeats.
        decoder: Which decoder gave them.
        notes: Caveats of damage and repetition.
    """

    source: InspectedSource
    indices: NDArray[np.int64]
    prepared: list[T]
    decoder: str
    notes: tuple[str, ...]

    @property
    def times_s(self) -> NDArray[np.float64]:
        """When each is shown, seconds."""
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
    """Sample 96 frames of a part of a source, judge which are sound, and prepare each while it is decoded.

    Args:
        source: An opened video.
        first: Index of the part's first frame.
        last: Index of its last frame, inclusive.
        prepare: Makes of a frame's index and picture, uint8 [height, width, 3], RGB, upright, what is to be kept.
        shift: Draw the last frame this many frames earlier.
        decoder: As for ``read_clip``.

    Raises:
        VideoError: The frames are damaged, too few, or cannot be decoded.
    """
    info = source.info
    distinct, places = np.unique(sample_times(source.times_s, first, last, shift=shift), return_inverse=True)
    kept: list[T] | None = None
    if isinstance(source, PyAVSource) and _suits_one_pass(info, decoder):
        # Most files are sound; then these are the frames, and they need not be decoded again.
        sound, kept = source.sound_and_kept(first, last, distinct, prepare)
    else:
        sound = source.sound(first, last)
    damage = _check_sound(sound, info.path)
    first_sound, last_sound = np.flatnonzero(sound)[[0, -1]].tolist()
    indices = sample_times(source.times_s, first + first_sound, first + last_sound, shift=shift)
    indices = replace_corrupt_frames(indices, sound, first)
    repeats = check_enough(indices, info.path)
    if decoder == "auto" and damage:
        decoder = "pyav"
    if kept is not None and not damage:
        prepared, used = [kept[place] for place in places.tolist()], source.name
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

    The athlete is white. A pixel is athlete where at least half of it is. Masks that hold nothing above 1 are
    taken for 0/1 labels.

    Args:
        path: Mask video or folder of images.
        source_frames: int64 [96], never falling; ``Clip.source_frames``.
        geometry: How pictures are brought to size.
        frame_size: Side of the square the network sees, in pixels.
        size: Height and width to bring the masks to, instead of what ``geometry`` makes of their own size. Give that
            of the clip's frames where masks may be stored smaller than the video.

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
    if not source.sound(0, int(source_frames[-1]))[source_frames].all():
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
    """Open a video file or a folder of frames with the decoder that judges which frames are sound.

    Raises:
        VideoError: It is missing, unreadable, or holds no pictures.
    """
    return FolderSource(path) if check_path(path).is_dir() else PyAVSource(path)


def scaler(
    info: VideoInfo, geometry: Geometry, frame_size: int
) -> Callable[[int, NDArray[np.uint8]], NDArray[np.uint8]]:
    """Return what brings a frame of a video to the working size."""
    size = working_size(*info.upright_size, geometry, frame_size, info.upright_sample_aspect)
    return lambda _, frame: resize(frame, size, geometry)


def _decode_prepared(
    source: InspectedSource,
    decoder: Decoder,
    indices: NDArray[np.int64],
    prepare: Callable[[int, NDArray[np.uint8]], T],
) -> tuple[list[T], str]:
    """Decode each distinct frame once, with the first decoder that manages, and prepare it at once."""
    distinct, places = np.unique(indices, return_inverse=True)
    failure: VideoError | None = None
    for attempt in _attempts(source, decoder, int(distinct[0])):
        try:
            opened = attempt()
            made = [
                prepare(index, frame)
                for index, frame in zip(distinct.tolist(), _all_of_one_size(opened, distinct), strict=True)
            ]
            return [made[place] for place in places.tolist()], opened.name
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


def _check_sound(sound: NDArray[np.bool_], path: str) -> str | None:
    good, all_frames = int(sound.sum()), len(sound)
    if good == all_frames:
        return None
    if good < _LEAST_SOUND * all_frames or not good:
        what = f"The video is damaged: only {good} of {all_frames} frames can be decoded."
        raise VideoError(what, where=path, hint="copy or download it again", kind="damaged")
    return f"{all_frames - good} of {all_frames} frames are lost or damaged and left out."


def length_note(source: InspectedSource, first: int, last: int) -> str | None:
    """Return the caveat of a clip that is longer than a dive."""
    seconds = float(source.times_s[last] - source.times_s[first])
    if seconds <= _LONG_S:
        return None
    return f"The clip lasts {seconds:.0f} s, longer than a dive; give its start and end."


def serve() -> None:
    """Read the clips that standard input asks for: what a ``WorkerProcess`` runs."""
    serve_tasks(lambda path, options, _: pack_clip(read_clip(path, **options)))


# Every frame of a dive, at its own size and pace; the network looks at 96 of them, a person at all.

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
