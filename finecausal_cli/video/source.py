"""Sources of frames: the interface of every decoder, the probing of a file, folders of pictures."""

from __future__ import annotations

import atexit
import os
import re
import shutil
import stat
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import av
import numpy as np
from av.stream import Disposition
from PIL import Image

from finecausal_cli.errors import UsageError, VideoError
from finecausal_cli.video import is_uneven

if TYPE_CHECKING:
    from collections.abc import Iterator

    from av.container import InputContainer
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream
    from numpy.typing import NDArray

    from finecausal_cli.errors import ErrorKind


# The facts of a video, and the interface of every decoder.

ASSUMED_FPS = 25.0
"""Frames a second of sources without a frame rate: a folder of frames, a raw stream."""


@dataclass(frozen=True, slots=True)
class VideoInfo:
    """Facts of a video, known before it is decoded.

    Attributes:
        path: The file or folder, as given.
        container: FFmpeg's name of the file format, or ``folder``.
        codec: FFmpeg's name of the codec, or the kind of image in a folder.
        width: Width of the stored picture in pixels, before it is turned upright.
        height: Height of the stored picture in pixels, before it is turned upright.
        frames: Number of frames present.
        fps: Frames a second, on average.
        duration_s: When the last frame ends, counted from the start of the first.
        rotation: Degrees (0, 90, 180, 270), counter-clockwise, that turn the stored picture upright.
        sample_aspect: Width of one stored pixel over its height.
        bits: Bits of one sample of one colour.
        notes: Caveats for the user.
    """

    path: str
    container: str
    codec: str
    width: int
    height: int
    frames: int
    fps: float
    duration_s: float
    rotation: int = 0
    sample_aspect: float = 1.0
    bits: int = 8
    notes: tuple[str, ...] = ()

    @property
    def is_sideways(self) -> bool:
        """Whether turning the picture upright swaps its width and height."""
        return self.rotation % 180 == 90

    @property
    def upright_size(self) -> tuple[int, int]:
        """Height and width, in pixels, of the upright picture that the decoders give."""
        return (self.width, self.height) if self.is_sideways else (self.height, self.width)

    @property
    def upright_sample_aspect(self) -> float:
        """Width of one pixel of the upright picture over its height."""
        return 1 / self.sample_aspect if self.is_sideways else self.sample_aspect


class VideoSource(Protocol):
    """A decoder of one video.

    Attributes:
        name: Name of the decoder: ``decord``, ``pyav`` or ``frames``.
        info: Facts of the video.
    """

    name: str
    info: VideoInfo

    def frames(self, indices: NDArray[np.int64]) -> Iterator[NDArray[np.uint8]]:
        """Decode chosen frames, one at a time.

        Args:
            indices: int64, strictly rising, zero-based.

        Yields:
            uint8 [height, width, 3], RGB, upright, in stored pixels (``info.sample_aspect`` is not applied).

        Raises:
            VideoError: One of the frames cannot be decoded.
        """
        ...


class InspectedSource(VideoSource, Protocol):
    """A source that also knows the times of its frames and which of them are decodable.

    Attributes:
        times_s: float64 [frames], time of each frame, counted from the first.
    """

    times_s: NDArray[np.float64]

    def decodable(self, first: int, last: int) -> NDArray[np.bool_]:
        """Return which frames from ``first`` to ``last``, inclusive, decode undamaged: bool [last - first + 1]."""
        ...


def check_path(path: str | os.PathLike[str]) -> Path:
    """Check that a path is a folder or a regular, readable, non-empty file, without opening it: pipes could block.

    Returns:
        The path, absolute, so that no decoder takes ``a:b.mp4`` for the address of something else.

    Raises:
        VideoError: It is missing, forbidden, empty, or neither a file nor a folder.
    """
    try:
        status = os.stat(path)  # noqa: PTH116 - Path.stat would refuse names that are no valid text
    except FileNotFoundError as error:
        raise VideoError("There is no such file or folder.", where=path, kind="missing") from error
    except (OSError, ValueError) as error:
        cause = getattr(error, "strerror", None) or str(error)
        kind: ErrorKind = "no_permission" if isinstance(error, PermissionError) else "unreadable"
        raise VideoError(f"The file cannot be opened: {cause}.", where=path, kind=kind) from error
    if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
        what = "This is a pipe or a device, not a video file or a folder of frames."
        raise VideoError(what, where=path, kind="not_a_file")
    if not os.access(path, os.R_OK):
        raise VideoError("The file cannot be opened: no permission to read it.", where=path, kind="no_permission")
    if stat.S_ISREG(status.st_mode) and status.st_size == 0:
        raise VideoError("The file is empty.", where=path, kind="empty")
    return Path(path).absolute()


# Standard input as a video: decoders seek in files, and read in processes that have another standard input.

STANDARD_INPUT = "standard input"
"""What results call a video that was read from there."""

_STANDARD_INPUT = frozenset(("-", "/dev/stdin", "/dev/fd/0", "/proc/self/fd/0"))


def is_standard_input(path: str | os.PathLike[str]) -> bool:
    """Tell whether a path means standard input."""
    return os.fspath(path) in _STANDARD_INPUT


def local_file(path: str | os.PathLike[str]) -> str:
    """Return the path itself, or of standard input a temporary copy that goes when the process ends.

    Raises:
        UsageError: Standard input is a terminal.
    """
    return _spooled() if is_standard_input(path) else os.fspath(path)


@lru_cache(maxsize=1)  # it can be read but once
def _spooled() -> str:
    if sys.stdin is None or sys.stdin.isatty():
        hint = "pipe one into the command, or name a file"
        raise UsageError("no video on standard input, which is a terminal", where="-", hint=hint)
    folder = tempfile.mkdtemp(prefix="finecausal-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    path = os.path.join(folder, "standard-input")  # noqa: PTH118 - a str, as every path of a clip
    with open(path, "wb") as copy:  # noqa: PTH123
        shutil.copyfileobj(sys.stdin.buffer, copy)
    return path


def as_given(text: str) -> str:
    """Return text with ``standard input`` wherever the path of its temporary copy stands."""
    return text.replace(_spooled(), STANDARD_INPUT) if _spooled.cache_info().currsize else text


# Probing of a video file: format, streams, the time of every frame, completeness.

_FORMATS = (
    "apng,asf,avi,dv,flv,gif,h264,hevc,ivf,jpeg_pipe,m4v,matroska,mov,mpeg,mpegts,mpegvideo,mxf,nut,obu,ogg,png_pipe"
)
"""Self-contained formats. A playlist could name other files, or an address in the network."""

_TIMED_FORMATS = {"mov", "matroska"}
"""Formats with exact presentation time stamps, by which pictures can be identified."""

_LEAST_PRESENT = 0.8
"""Share of the announced length below which a file is refused as cut short."""

_WHOLE = 0.98
"""Share of the announced length above which a file counts as complete."""

_PLAUSIBLE_RATE_ERROR = 0.01
"""Largest relative difference between the frame rate in the header and the one counted."""

_PLAUSIBLE_SAMPLE_ASPECT = 4.0
"""Largest ratio of a pixel's sides in cameras and broadcasts; anything beyond is a broken header."""


@dataclass(frozen=True, slots=True)
class ContainerInfo:
    """Result of one pass over the packets of a file.

    Attributes:
        info: Facts of the video.
        times_s: float64 [frames], time of each frame, counted from the first.
        stamps: int64 [frames], the same as presentation time stamps of the stream; None if they are unreliable.
    """

    info: VideoInfo
    times_s: NDArray[np.float64]
    stamps: NDArray[np.int64] | None


@dataclass(slots=True)
class _Packets:
    """Counts and time stamps of the packets of a stream."""

    total: int
    stamps: list[int | None]
    last_duration: int


@contextmanager
def opened(file: Path, path: str | os.PathLike[str]) -> Iterator[tuple[InputContainer, VideoStream]]:
    """Open a file and choose its video stream: the default one, of several the largest.

    Args:
        file: Absolute path.
        path: The same as given by the user, for errors.

    Raises:
        VideoError: The file is no video, or holds audio only.
    """
    options = {"format_whitelist": _FORMATS, "protocol_whitelist": "file"}
    try:
        container = av.open(f"file:{file}", options=options)
    except (av.FFmpegError, OSError, ValueError) as error:
        what, kind = _why_not_open(file, error)
        raise VideoError(what, where=path, kind=kind) from error
    with container:
        streams = _pictures(container)
        if not streams:
            holds = "sound but no pictures" if container.streams.audio else "no pictures of a known kind"
            raise VideoError(f"The file holds {holds}.", where=path, kind="no_frames")
        yield (
            container,
            max(streams, key=lambda one: (bool(one.disposition & Disposition.default), one.width * one.height)),
        )


def packets(
    container: InputContainer, stream: VideoStream, path: str | os.PathLike[str]
) -> Iterator[Packet[VideoStream]]:
    """Yield every packet of a stream, then the empty one that flushes the decoder; a broken end is an end.

    Raises:
        VideoError: Another stream begins in the middle of the file, which PyAV cannot handle.
    """
    demuxed = container.demux(stream)
    while True:
        try:
            packet = next(demuxed, None)
        except av.FFmpegError:
            return
        except IndexError as error:
            what = "Another stream begins in the middle of the file, or it is damaged."
            raise VideoError(what, where=path, hint="convert it to MP4", kind="unsupported") from error
        if packet is None:
            return
        yield packet


def probe_container(path: str | os.PathLike[str]) -> ContainerInfo:
    """Read the time of every packet of a video file, and decode its first picture.

    The last file is remembered until it changes: a dive is searched, sampled and shown, each from an own pass.

    Raises:
        VideoError: The file is missing, is no video, holds no picture that can be decoded, or misses a fifth or more.
    """
    file = check_path(path)
    status = file.stat()
    return _probed(os.fspath(path), file, (status.st_ino, status.st_size, status.st_mtime_ns))


@lru_cache(maxsize=1)
def _probed(path: str, file: Path, version: tuple[int, ...]) -> ContainerInfo:  # noqa: ARG001 - part of the key
    """Probe a file; ``version`` tells whether it is still the one that is remembered."""
    with opened(file, path) as (container, stream):
        picture, counted = _read_packets(container, stream, path)
        unit = float(stream.time_base or 0)
        is_timed = bool(_TIMED_FORMATS & set(container.format.name.split(",")))
        stamps = _rising(counted.stamps) if is_timed and unit > 0 else None
        frames = len(counted.stamps)
        notes = _stream_notes(container, stream)
        if stamps is None:
            fps = _announced_fps(stream)
            if not fps:
                notes += (f"the file does not say its frame rate; times assume {ASSUMED_FPS:g} frames a second",)
            fps = fps or ASSUMED_FPS
            times_s = np.arange(frames) / fps
            duration_s = frames / fps
        else:
            times_s = (stamps - stamps[0]) * unit
            fps = _counted_fps(stream, times_s)
            duration_s = float(times_s[-1]) + (counted.last_duration * unit or 1 / fps)
        cut_short = _length_note(container, stream, counted.total, duration_s, path)
        # The last packets of a file cut short leave gaps, as they are stored in another order than shown.
        notes += cut_short or _rate_note(times_s, fps)
        info = _describe(path, container, stream, picture, (frames, fps, duration_s), notes)
    return ContainerInfo(info, times_s, stamps)


def _read_packets(
    container: InputContainer, stream: VideoStream, path: str | os.PathLike[str]
) -> tuple[VideoFrame, _Packets]:
    """Count the packets, decoding only until a first picture appears."""
    picture: VideoFrame | None = None
    cause = ""
    counted = _Packets(0, [], 0)
    for packet in packets(container, stream, path):
        if picture is None:
            try:
                picture = next(iter(packet.decode()), None)
            except av.FFmpegError as error:
                cause = f": {error.strerror}"
        counted.total += packet.dts is not None or packet.size > 0
        if packet.size and not packet.is_discard:
            counted.stamps.append(packet.pts)
            counted.last_duration = packet.duration or 0
    if picture is None or not counted.stamps:
        codec = stream.codec_context.name
        what = f"No picture of the file can be decoded (codec {codec}){cause}."
        raise VideoError(what, where=path, kind="no_frames")
    return picture, counted


def _rising(stamps: list[int | None]) -> NDArray[np.int64] | None:
    """Sort time stamps into display order; None unless each frame has its own."""
    distinct = {stamp for stamp in stamps if stamp is not None}
    return np.array(sorted(distinct), dtype=np.int64) if len(distinct) == len(stamps) else None


def _announced_fps(stream: VideoStream) -> float:
    return float(stream.average_rate or stream.guessed_rate or stream.base_rate or 0)


def _counted_fps(stream: VideoStream, times_s: NDArray[np.float64]) -> float:
    """Return the exact rate of the header (30000/1001) if it agrees with the frames, whose times are rounded."""
    announced = _announced_fps(stream)
    if len(times_s) < 2:
        return announced or ASSUMED_FPS
    counted = float((len(times_s) - 1) / times_s[-1])
    return announced if abs(announced - counted) <= _PLAUSIBLE_RATE_ERROR * counted else counted


def _rate_note(times_s: NDArray[np.float64], fps: float) -> tuple[str, ...]:
    if is_uneven(times_s):
        return (f"the frame rate varies about {fps:.2f} a second; frames are sampled by the time they are shown at",)
    return ()


def _length_note(
    container: InputContainer, stream: VideoStream, packet_count: int, duration_s: float, path: str | os.PathLike[str]
) -> tuple[str, ...]:
    """Compare the packets with the length in the header."""
    present = packet_count / stream.frames if stream.frames else 1.0
    if stream.duration and stream.time_base:
        present = min(present, duration_s / float(stream.duration * stream.time_base))
    elif container.duration:
        share = duration_s / (container.duration / av.time_base)
        # The length of the file may be that of its audio, which is no reason to refuse it.
        present = min(present, share if len(container.streams) == 1 else max(share, _LEAST_PRESENT))
    if present < _LEAST_PRESENT:
        what = f"The file is cut short: only {present:.0%} of its announced length is there."
        raise VideoError(what, where=path, hint="copy or download it again", kind="truncated")
    if present < _WHOLE:
        return (f"the pictures end at {duration_s:.2f} s, before the file's announced end; it may be cut short",)
    return ()


def _pictures(container: InputContainer) -> list[VideoStream]:
    """List the video streams of a known codec, without the cover image of an audio file."""
    streams = [stream for stream in container.streams.video if stream.codec_context is not None]
    return [stream for stream in streams if not stream.disposition & Disposition.attached_pic]


def _stream_notes(container: InputContainer, stream: VideoStream) -> tuple[str, ...]:
    streams = len(_pictures(container))
    if streams == 1:
        return ()
    return (f"the file holds {streams} video streams; number {stream.index} ({stream.width}x{stream.height}) is read",)


def _describe(
    path: str | os.PathLike[str],
    container: InputContainer,
    stream: VideoStream,
    picture: VideoFrame,
    extent: tuple[int, float, float],
    notes: tuple[str, ...],
) -> VideoInfo:
    frames, fps, duration_s = extent
    sample_aspect = float(stream.sample_aspect_ratio or 0)
    if not 1 / _PLAUSIBLE_SAMPLE_ASPECT <= sample_aspect <= _PLAUSIBLE_SAMPLE_ASPECT:
        sample_aspect = 1.0
    return VideoInfo(
        path=os.fspath(path),
        container=container.format.name,
        codec=stream.codec_context.codec.canonical_name,
        width=picture.width,
        height=picture.height,
        frames=frames,
        fps=fps,
        duration_s=duration_s,
        rotation=round(picture.rotation / 90) * 90 % 360,
        sample_aspect=sample_aspect,
        bits=picture.format.components[0].bits,
        notes=notes,
    )


def _why_not_open(file: Path, error: Exception) -> tuple[str, ErrorKind]:
    with file.open("rb") as content:
        is_mp4 = content.read(12)[4:8] == b"ftyp"
    if is_mp4:
        return "The file is cut short or was never finished: the index of this MP4 is missing or broken.", "truncated"
    cause = getattr(error, "strerror", None) or str(error)
    return f"This is not a video that can be read: {cause}.", "not_a_video"


# A folder of images.

PICTURE_SUFFIXES = {".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}
"""Suffixes of frames of a dive."""

VIDEO_SUFFIXES = {".avi", ".gif", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".ts", ".webm", ".wmv"}
"""Suffixes of videos in a folder."""

FEWEST_FRAMES = 16
"""A folder of fewer images than a snippet, with videos in it or below, is a folder of videos."""

_LAST_NUMBER = re.compile(r"(\d+)\D*$")

_MAX_FRAMES_PER_FILE = 2
"""With more gaps than frames the numbers mean something else, such as milliseconds."""

_UNREADABLE = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)
"""What Pillow raises for a broken image."""


class FolderSource:
    """A folder of images, one a frame, ordered by the number in their names, or by name if not all have one.

    A missing number is a frame that cannot be decoded: later frames keep their times.
    Numbers may start anywhere and rise in equal steps (0, 2, 4, ...).
    """

    name = "frames"

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """List the folder and read its first image.

        Raises:
            VideoError: The folder holds no image, cannot be listed, two images have one number, or the first is broken.
        """
        self._path = os.fspath(path)
        self._files = _frame_files(self._path)
        first = self._read(min(self._files))
        frames = max(self._files) + 1
        self.times_s: NDArray[np.float64] = np.arange(frames) / ASSUMED_FPS
        self.info = VideoInfo(
            path=self._path,
            container="folder",
            codec=self._files[0].suffix.lower().lstrip("."),
            width=first.shape[1],
            height=first.shape[0],
            frames=frames,
            fps=ASSUMED_FPS,
            duration_s=frames / ASSUMED_FPS,
            notes=(f"a folder of frames has no frame rate; times assume {ASSUMED_FPS:g} frames a second",),
        )

    def decodable(self, first: int, last: int) -> NDArray[np.bool_]:
        """Return which frames from ``first`` to ``last``, inclusive, exist: bool [last - first + 1]."""
        return np.array([index in self._files for index in range(first, last + 1)])

    def frames(self, indices: NDArray[np.int64]) -> Iterator[NDArray[np.uint8]]:
        """Read chosen images; see ``VideoSource.frames``."""
        for index in indices.tolist():
            if index not in self._files:
                raise VideoError(f"Frame {index} is missing in the folder.", where=self._path, kind="damaged")
            yield self._read(index)

    def _read(self, index: int) -> NDArray[np.uint8]:
        file = self._files[index]
        try:
            with Image.open(file) as image:
                return np.asarray(image.convert("RGB"))
        except _UNREADABLE as error:
            raise VideoError("The image is broken and cannot be decoded.", where=file, kind="damaged") from error


def _frame_files(path: str) -> dict[int, Path]:
    """Return the images by frame index, the first one 0."""
    try:
        files = [
            file for file in Path(path).iterdir() if file.suffix.lower() in PICTURE_SUFFIXES and file.name[0] != "."
        ]
        files = [file for file in files if file.is_file()]
    except OSError as error:
        kind: ErrorKind = "no_permission" if isinstance(error, PermissionError) else "unreadable"
        raise VideoError(f"The folder cannot be listed: {error.strerror}.", where=path, kind=kind) from error
    if len(files) < FEWEST_FRAMES:
        _refuse_videos(path)
    if not files:
        what = "The folder holds no videos and no frames (jpg, png, bmp, tif or webp images)."
        raise VideoError(what, where=path, kind="no_frames")
    files.sort(key=lambda file: file.name)
    matches = [_LAST_NUMBER.search(file.stem) for file in files]
    numbers = [int(match.group(1)) for match in matches if match]
    if len(numbers) < len(files):
        return dict(enumerate(files))
    by_number = dict(zip(numbers, files, strict=True))
    if len(by_number) < len(files):
        raise VideoError("Two images of the folder have the same number.", where=path, kind="unsupported")
    first, *others = sorted(by_number)
    step = min((after - before for before, after in zip([first, *others], others, strict=False)), default=1)
    if any((number - first) % step for number in others):
        step = 1
    frames = (max(by_number) - first) // step + 1
    if frames > _MAX_FRAMES_PER_FILE * len(files):
        what = f"Only {len(files)} of the frames numbered {first} to {max(by_number)} are there."
        raise VideoError(what, where=path, kind="damaged")
    return {(number - first) // step: file for number, file in by_number.items()}


def _refuse_videos(path: str) -> None:
    """Raise an error if a folder, or the folders in it, hold videos."""
    videos = sorted(file for pattern in ("*", "*/*") for file in Path(path).glob(pattern) if _is_video(file))
    if videos:
        what = "a folder of 1 video" if len(videos) == 1 else f"a folder of {len(videos)} videos"
        raise VideoError(
            f"This is {what}, not a dive.", where=path, hint=f"give one of them: {videos[0]}", kind="not_a_dive"
        )


def _is_video(file: Path) -> bool:
    return file.suffix.lower() in VIDEO_SUFFIXES and file.name[0] != "." and file.is_file()
