"""Decoders: decord, PyAV, and a scanner of whole files at a small size."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import av
import cv2
import numpy as np
from av.filter import Graph
from av.video.reformatter import Interpolation, VideoReformatter

from finecausal_cli.errors import VideoError
from finecausal_cli.video.source import FolderSource, VideoInfo, check_path, opened, packets, probe_container

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType

    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream
    from numpy.typing import NDArray


# decord: the fast path for formats that it decodes correctly.

_CONTAINERS = {"mov", "matroska"}

_CODECS = {"h264", "hevc", "vp9"}
"""Codecs trusted to decord's old FFmpeg. Others crash it on damaged files (seen with FFV1), and are rare."""

_FAULT_TOLERANCE = 1e-9
"""Share of frames that decord may replace by a copy of the last good one: practically none."""

_THREADS = 2


def decord_suits(info: VideoInfo) -> bool:
    """Whether decord, whose FFmpeg dates from 2020, decodes this kind of video exactly as PyAV does."""
    return bool(_CONTAINERS & set(info.container.split(","))) and info.codec in _CODECS and info.bits == 8


def pyav_does_as_well(info: VideoInfo) -> bool:
    """Whether PyAV gives the same bytes as decord.

    Measured on 150 kinds of H.264, HEVC and VP9. They upsample chroma differently where a side is odd, and in
    interlaced frames, which only decoding shows.
    """
    return not decord_suits(info) or not (info.width % 2 or info.height % 2)


class DecordSource:
    """A video file, decoded by decord sequentially from its start.

    Not by random access: with open GOPs or unusual time stamps decord's seeking silently returns wrong frames (measured
    on open-GOP H.264 and on AVI, WMV and MPEG). In order it is right, and faster too.
    """

    name = "decord"

    def __init__(self, info: VideoInfo) -> None:
        """Open a probed file.

        Args:
            info: Facts of the file by PyAV.

        Raises:
            VideoError: decord is not installed, cannot open the file, or counts other frames in it.
        """
        self.info = info
        self._file = os.fspath(check_path(info.path))
        self._errors: tuple[type[Exception], ...]
        self._decord, self._errors = _load(info.path)
        frames = len(self._opened())
        if frames != info.frames:
            raise VideoError(f"decord counts {frames} frames where the file holds {info.frames}.", where=info.path)

    def frames(self, indices: NDArray[np.int64]) -> Iterator[NDArray[np.uint8]]:
        """Decode chosen frames; see ``VideoSource.frames``."""
        reader = self._opened()
        position = 0
        for target in indices.tolist():
            try:
                while position <= target:
                    picture = reader.next()
                    position += 1
            except self._errors as error:
                raise VideoError(
                    f"decord cannot decode frame {position}.", where=self.info.path, kind="damaged"
                ) from error
            # Another library may have set decord's bridge to its own kind of tensor.
            frame = np.asarray(picture.asnumpy() if hasattr(picture, "asnumpy") else picture)
            if frame.shape != (*self.info.upright_size, 3):  # it pads pictures narrower than three pixels
                raise VideoError(f"decord gives frame {target} another size.", where=self.info.path)
            yield frame

    def _opened(self) -> Any:
        cpu = self._decord.cpu(0)
        try:
            return self._decord.VideoReader(self._file, ctx=cpu, num_threads=_THREADS, fault_tol=_FAULT_TOLERANCE)
        except self._errors as error:
            raise VideoError("decord cannot open the file.", where=self.info.path) from error


def _load(path: str) -> tuple[ModuleType, tuple[type[Exception], ...]]:
    """Import decord without its warnings; return it and the errors that it raises."""
    # Duplicated frames raise an error here, so its warning about them is not needed.
    os.environ.setdefault("DECORD_DUPLICATE_WARNING_THRESHOLD", "1.0")
    try:
        import decord
        from decord._ffi.base import DECORDLimitReachedError
    except (ImportError, OSError) as error:
        raise VideoError("decord is not installed here.", where=path, hint="choose the decoder pyav") from error
    decord.logging.set_level(decord.logging.QUIET)
    return decord, (
        decord.DECORDError,
        DECORDLimitReachedError,
        RuntimeError,
        AssertionError,
        StopIteration,
        UnicodeError,
    )


# PyAV: every format of FFmpeg; decides which frames are decodable.

T = TypeVar("T")


_SKIPPABLE = {"h264", "hevc"}
"""Codecs of which frames that no other is predicted from may be left out."""

_PREDICTED = 4
"""Frames shown before a damaged one that may be predicted from it (B-frames)."""


class PyAVSource:
    """A video file, decoded by PyAV from its start or, where its stamps allow it, from the key frame before a clip."""

    name = "pyav"

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Probe the file.

        Raises:
            VideoError: See ``probe_container``.
        """
        container = probe_container(path)
        self._file = check_path(path)
        self._stamps = container.stamps
        self.info = container.info
        self.times_s = container.times_s

    def decodable(self, first: int, last: int) -> NDArray[np.bool_]:
        """Return which frames from ``first`` to ``last``, inclusive, decode undamaged: bool [last - first + 1].

        Decoders conceal damage: they repeat or patch pictures. All frames from a damaged one to the next
        key frame count as damaged, for they are predicted from it.
        """
        return self._check_frames(first, last, lambda *_: None)

    def decodable_and_collected(
        self,
        first: int,
        last: int,
        indices: NDArray[np.int64],
        prepare: Callable[[int, NDArray[np.uint8]], T],
    ) -> tuple[NDArray[np.bool_], list[T] | None]:
        """Check a range of frames and collect some of them in one pass: half the work of two.

        Args:
            first: Index of the first frame to check.
            last: Index of the last one, inclusive.
            indices: int64, strictly rising, of the frames to collect.
            prepare: Maps a frame's index and picture to the value to collect.

        Returns:
            The result of ``decodable``, and the values; None in their place if a frame is missing, interlaced, or of
            another size or colour format than the first: then other decoders could give other pictures.
        """
        collector = _FrameCollector(self, indices.tolist(), prepare)
        decodable = self._check_frames(first, last, collector.add)
        return decodable, collector.values if collector.is_complete else None

    def _check_frames(self, first: int, last: int, on_frame: Callable[[int, VideoFrame], None]) -> NDArray[np.bool_]:
        decodable = np.zeros(last - first + 1, dtype=np.bool_)
        is_damaged = False
        for index, frame in self._decoded(first, last):
            if frame is not None:
                on_frame(index, frame)
            if frame is None or frame.is_corrupt:
                is_damaged = True
                decodable[max(0, index - first - _PREDICTED) : max(0, index - first)] = False
            elif frame.key_frame:
                is_damaged = False
            if frame is not None and index >= first:
                decodable[index - first] = not is_damaged
        return decodable

    def frames(self, indices: NDArray[np.int64]) -> Iterator[NDArray[np.uint8]]:
        """Decode chosen frames; see ``VideoSource.frames``."""
        targets = indices.tolist()
        decoded = self._decoded(targets[0], targets[-1])
        # One reformatter for the pass: each holds megabytes, and frames would otherwise make their own.
        reformatter = VideoReformatter()
        for target in targets:
            frame = next((frame for index, frame in decoded if index == target and frame is not None), None)
            if frame is None:
                raise VideoError(f"Frame {target} cannot be decoded.", where=self.info.path, kind="damaged")
            yield self.upright_rgb(frame, reformatter)

    def upright_rgb(self, frame: VideoFrame, reformatter: VideoReformatter) -> NDArray[np.uint8]:
        """Convert a decoded frame to uint8 [height, width, 3], RGB, upright.

        Raises:
            VideoError: FFmpeg cannot convert these colours.
        """
        try:
            # One thread: more cost more processor time than they save on small pictures.
            converted = reformatter.reformat(frame, format="rgb24", threads=1)
        except (av.FFmpegError, OSError, ValueError) as error:
            what = f"The colours of the video ({frame.format.name}) cannot be converted."
            raise VideoError(what, where=self.info.path, kind="unsupported") from error
        picture = np.asarray(converted.to_ndarray(), np.uint8)
        turns = self.info.rotation // 90
        return np.ascontiguousarray(np.rot90(picture, turns)) if turns else picture

    def _decoded(self, first: int, last: int) -> Iterator[tuple[int, VideoFrame | None]]:
        """Decode up to frame ``last``: each picture with its index, and None where a packet fails."""
        with opened(self._file, self.info.path) as (container, stream):
            stream.thread_type, stream.codec_context.thread_count = "AUTO", _THREADS
            if self._stamps is not None and first > 0:
                # A file without an index cannot seek and stays at its start, which is right too.
                with suppress(av.FFmpegError):
                    container.seek(int(self._stamps[first]), stream=stream)
            following = 0
            skips = self._stamps is not None and self.info.codec in _SKIPPABLE
            for packet in packets(container, stream, self.info.path):
                if skips and packet.pts is not None and self._stamps is not None:
                    # On the way from a key frame to the clip only what others are predicted from: half of the frames.
                    is_before = packet.pts < int(self._stamps[first])
                    stream.codec_context.skip_frame = "NONREF" if is_before else "DEFAULT"
                try:
                    pictures = packet.decode()
                except av.FFmpegError:
                    yield following, None
                    continue
                for picture in pictures:
                    index = following if self._stamps is None else _position(self._stamps, picture.pts)
                    if index is None or index > last:
                        continue
                    yield index, picture
                    following = index + 1
                if following > last:
                    return


class _FrameCollector(Generic[T]):
    """Collects prepared frames of a pass, unless a frame is of a kind on which decoders may differ."""

    def __init__(self, source: PyAVSource, indices: list[int], prepare: Callable[[int, NDArray[np.uint8]], T]) -> None:
        self.values: list[T] = []
        self._source = source
        self._indices = indices
        self._prepare = prepare
        self._reformatter = VideoReformatter()
        self._first_kind: tuple[object, ...] | None = None
        self._has_failed = False

    @property
    def is_complete(self) -> bool:
        """Whether every frame has been collected."""
        return not self._has_failed and len(self.values) == len(self._indices)

    def add(self, index: int, frame: VideoFrame) -> None:
        """Prepare the frame if it is the next one to collect."""
        if self._has_failed or self.is_complete or index != self._indices[len(self.values)]:
            return
        info = self._source.info
        kind = (frame.width, frame.height, frame.format.name, frame.colorspace, frame.color_range)
        self._first_kind = self._first_kind or kind
        is_plain = kind == self._first_kind and kind[:2] == (info.width, info.height)
        if frame.is_corrupt or frame.interlaced_frame or not is_plain:
            self._fail()
            return
        try:
            self.values.append(self._prepare(index, self._source.upright_rgb(frame, self._reformatter)))
        except VideoError:  # raised again when the frame is decoded, unless another decoder succeeds
            self._fail()

    def _fail(self) -> None:
        self._has_failed = True
        self.values.clear()


def _position(stamps: NDArray[np.int64], stamp: int | None) -> int | None:
    if stamp is None:
        return None
    index = int(np.searchsorted(stamps, stamp))
    return index if index < len(stamps) and stamps[index] == stamp else None


# Scanner: a whole video once, in order, as small upright pictures of square pixels, for the dive search.

INTERLACED_NOTE = "the video is interlaced; it was deinterlaced for the search"

_COARSE = 2.5
"""Pixels of the video in one small pixel from which on its deblocking filter is left out."""

_EARLY = 0.35
"""Tolerance of rounded time stamps, as a share of the least interval between frames."""


@dataclass(frozen=True, slots=True)
class SmallFrame:
    """One frame of a scan.

    Attributes:
        time_s: When it is shown, counted from the first frame of the file.
        picture: uint8 [height, width, 3], RGB, upright, of square pixels, at the size of the scan.
    """

    time_s: float
    picture: NDArray[np.uint8]


class Scanner:
    """Decodes the frames of a file or a folder one after the other, at a small size.

    Attributes:
        info: What the video is.
        size: Height and width of the small pictures, in pixels.
        to_full: Pixels of the decoded upright picture in one small pixel, along x and along y.
        notes: Caveats for the user; complete after the last frame.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        side: int,
        most_fps: float,
        start_s: float | None = None,
        end_s: float | None = None,
    ) -> None:
        """Probe the file.

        Args:
            path: Video file or folder of frames.
            side: Long side of the small pictures in pixels; smaller ones stay as they are.
            most_fps: Frames beyond this rate are skipped.
            start_s: First time, seconds.
            end_s: Last time, seconds.

        Raises:
            VideoError: The file is missing, is no video, or cannot be decoded.
        """
        self._file = check_path(path)
        self._folder = FolderSource(path) if self._file.is_dir() else None
        self._stamps: NDArray[np.int64] | None = None
        if self._folder is not None:
            self.info: VideoInfo = self._folder.info
        else:
            container = probe_container(path)
            self.info, self._stamps = container.info, container.stamps
        height, width = self.info.upright_size
        aspect = self.info.upright_sample_aspect
        # Pixels are made square by shrinking, never by enlarging.
        square = (height, width * aspect) if aspect < 1 else (height / aspect, float(width))
        shrink = min(1.0, side / max(square))
        self.size = max(1, round(square[0] * shrink)), max(1, round(square[1] * shrink))
        self.to_full = width / self.size[1], height / self.size[0]
        self.notes: list[str] = []
        self._least_gap = (1 - _EARLY) / most_fps
        self._start_s, self._end_s = start_s or 0.0, np.inf if end_s is None else end_s

    @property
    def duration_s(self) -> float:
        """Duration of the whole video, seconds."""
        return self.info.duration_s

    def frames(self) -> Iterator[SmallFrame]:
        """Decode the frames from the first time to the last, in order; damaged ones are skipped."""
        last = -np.inf
        for time_s, picture in self._images() if self._folder is not None else self._pictures():
            if time_s > self._end_s:
                return
            if time_s >= self._start_s and time_s - last >= self._least_gap:
                last = time_s
                yield SmallFrame(time_s, picture())

    def _images(self) -> Iterator[tuple[float, _Lazy]]:
        assert self._folder is not None  # noqa: S101 - checked by the caller
        for index, time_s in enumerate(self._folder.times_s):
            if self._folder.decodable(index, index)[0]:
                yield float(time_s), _Lazy(self, index=index)

    def _pictures(self) -> Iterator[tuple[float, _Lazy]]:
        reformatter = VideoReformatter()
        following = 0
        with opened(self._file, self.info.path) as (container, stream):
            stream.thread_type = "AUTO"
            if self.to_full[0] >= _COARSE:
                # Blocks of the codec vanish when so many pixels are averaged; smoothing them takes a fifth of the time.
                stream.codec_context.options = {"skip_loop_filter": "all"}
            unit = float(stream.time_base or 0)
            if self._stamps is not None and self._start_s > 0:
                # A file without an index cannot seek and stays at its start, which is right too.
                with suppress(av.FFmpegError):
                    container.seek(int(self._stamps[0] + self._start_s / unit), stream=stream)
            for frame in self._deinterlaced(self._decoded(packets(container, stream, self.info.path)), stream):
                if self._stamps is None or frame.pts is None:
                    time_s = following / self.info.fps
                else:
                    # FFmpeg's yadif counts in half units.
                    time_s = frame.pts * float(frame.time_base or unit) - int(self._stamps[0]) * unit
                following += 1
                yield time_s, _Lazy(self, frame=frame, reformatter=reformatter)

    @staticmethod
    def _decoded(stream: Iterator[av.Packet[VideoStream]]) -> Iterator[VideoFrame]:
        for packet in stream:
            with suppress(av.FFmpegError):
                yield from packet.decode()

    def _deinterlaced(self, frames: Iterator[VideoFrame], stream: VideoStream) -> Iterator[VideoFrame]:
        """Pass the frames through FFmpeg's yadif from the first one that is flagged as interlaced."""
        graph: Graph | None = None
        for frame in frames:
            if graph is None and frame.interlaced_frame:
                graph = _yadif(stream)
                self.notes.append(INTERLACED_NOTE)
            if graph is None:
                yield frame
                continue
            graph.push(frame)
            yield from _filtered(graph)
        if graph is not None:
            graph.push(None)
            yield from _filtered(graph)

    def shrink(self, frame: VideoFrame, reformatter: VideoReformatter) -> NDArray[np.uint8]:
        """Bring a decoded frame to the size of the scan, upright."""
        height, width = self.size[::-1] if self.info.is_sideways else self.size
        try:
            small = reformatter.reformat(
                frame, width=width, height=height, format="rgb24", interpolation=Interpolation.AREA, threads=1
            )
        except (av.FFmpegError, OSError, ValueError) as error:
            what = f"The colours of the video ({frame.format.name}) cannot be converted."
            raise VideoError(what, where=self.info.path, kind="unsupported") from error
        picture = np.asarray(small.to_ndarray(), np.uint8)
        turns = self.info.rotation // 90
        return np.ascontiguousarray(np.rot90(picture, turns)) if turns else picture

    def shrink_image(self, index: int) -> NDArray[np.uint8]:
        """Read an image of the folder and bring it to the size of the scan."""
        assert self._folder is not None  # noqa: S101 - checked by the caller
        picture = next(self._folder.frames(np.array([index])))
        return np.asarray(cv2.resize(picture, self.size[::-1], interpolation=cv2.INTER_AREA), np.uint8)


@dataclass(frozen=True, slots=True)
class _Lazy:
    """A picture that is converted on demand."""

    scanner: Scanner
    frame: VideoFrame | None = None
    reformatter: VideoReformatter | None = None
    index: int = 0

    def __call__(self) -> NDArray[np.uint8]:
        if self.frame is None or self.reformatter is None:
            return self.scanner.shrink_image(self.index)
        return self.scanner.shrink(self.frame, self.reformatter)


def _yadif(stream: VideoStream) -> Graph:
    graph = Graph()
    source = graph.add_buffer(template=stream)
    # One frame for each, and only those that are flagged.
    yadif, sink = graph.add("yadif", "mode=send_frame:deint=interlaced"), graph.add("buffersink")
    source.link_to(yadif)
    yadif.link_to(sink)
    graph.configure()
    return graph


def _filtered(graph: Graph) -> Iterator[VideoFrame]:
    while True:
        try:
            frame = graph.pull()
        except (av.BlockingIOError, av.EOFError):
            return
        if isinstance(frame, av.VideoFrame):
            yield frame
