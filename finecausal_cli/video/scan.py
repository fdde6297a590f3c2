"""Decode a whole video once, in order, as small upright pictures of square pixels: what a search looks at."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import av
import cv2
import numpy as np
from av.filter import Graph
from av.video.reformatter import Interpolation, VideoReformatter

from finecausal_cli.errors import VideoError
from finecausal_cli.video.folder_source import FolderSource
from finecausal_cli.video.source import check_path
from finecausal_cli.video.survey import opened, packets, survey

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator

    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream
    from numpy.typing import NDArray

    from finecausal_cli.video.source import VideoInfo

INTERLACED_NOTE = "The video is interlaced; it was deinterlaced for the search."

_EARLY = 0.35
"""Share of the least interval by which a frame may come early and still be kept: time stamps are rounded."""


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
        notes: What is worth saying to a person; complete when the frames are through.
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
        """Look through the file.

        Args:
            path: Video file or folder of frames.
            side: Long side of the small pictures in pixels; smaller ones stay as they are.
            most_fps: Frames beyond this rate are passed over.
            start_s: First time wanted, seconds.
            end_s: Last time wanted, seconds.

        Raises:
            VideoError: The file is missing, is no video, or cannot be decoded.
        """
        self._file = check_path(path)
        self._folder = FolderSource(path) if self._file.is_dir() else None
        self._stamps: NDArray[np.int64] | None = None
        if self._folder is not None:
            self.info: VideoInfo = self._folder.info
        else:
            found = survey(path)
            self.info, self._stamps = found.info, found.stamps
        height, width = self.info.upright_size
        aspect = self.info.upright_sample_aspect
        # Pixels are made square by shrinking the side that they are longer along.
        square = (height, width * aspect) if aspect < 1 else (height / aspect, float(width))
        shrink = min(1.0, side / max(square))
        self.size = max(1, round(square[0] * shrink)), max(1, round(square[1] * shrink))
        self.to_full = width / self.size[1], height / self.size[0]
        self.notes: list[str] = []
        self._least_gap = (1 - _EARLY) / most_fps
        self._start_s, self._end_s = start_s or 0.0, np.inf if end_s is None else end_s

    @property
    def duration_s(self) -> float:
        """How long the whole video is, in seconds."""
        return self.info.duration_s

    def frames(self) -> Iterator[SmallFrame]:
        """Decode the frames from the first time to the last, in order; what cannot be decoded is passed over."""
        last = -np.inf
        for time_s, picture in self._images() if self._folder is not None else self._pictures():
            if time_s > self._end_s:
                return
            if time_s >= self._start_s and time_s - last >= self._least_gap:
                last = time_s
                yield SmallFrame(time_s, picture())

    def _images(self) -> Iterator[tuple[float, _Lazy]]:
        assert self._folder is not None  # noqa: S101 - the caller has looked
        for index, time_s in enumerate(self._folder.times_s):
            if self._folder.sound(index, index)[0]:
                yield float(time_s), _Lazy(self, index=index)

    def _pictures(self) -> Iterator[tuple[float, _Lazy]]:
        reformatter = VideoReformatter()
        following = 0
        with opened(self._file, self.info.path) as (container, stream):
            stream.thread_type = "AUTO"
            unit = float(stream.time_base or 0)
            if self._stamps is not None and self._start_s > 0:
                # A file without an index refuses to seek and stays at its start, which serves as well.
                with suppress(av.FFmpegError):
                    container.seek(int(self._stamps[0] + self._start_s / unit), stream=stream)
            for frame in self._deinterlaced(self._decoded(packets(container, stream, self.info.path)), stream):
                if self._stamps is None or frame.pts is None:
                    time_s = following / self.info.fps
                else:
                    time_s = (frame.pts - int(self._stamps[0])) * unit
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
            yield from _pulled(graph)
        if graph is not None:
            graph.push(None)
            yield from _pulled(graph)

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
        assert self._folder is not None  # noqa: S101 - the caller has looked
        picture = next(self._folder.frames(np.array([index])))
        return np.asarray(cv2.resize(picture, self.size[::-1], interpolation=cv2.INTER_AREA), np.uint8)


@dataclass(frozen=True, slots=True)
class _Lazy:
    """A picture that is converted only when it is wanted."""

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


def _pulled(graph: Graph) -> Iterator[VideoFrame]:
    while True:
        try:
            frame = graph.pull()
        except (av.BlockingIOError, av.EOFError):
            return
        if isinstance(frame, av.VideoFrame):
            yield frame
