"""Decode a video file with PyAV: every format FFmpeg knows, and the judge of which frames are sound."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Generic, TypeVar

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from finecausal_cli.errors import VideoError
from finecausal_cli.video.source import check_path
from finecausal_cli.video.survey import opened, packets, survey

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator

    from av.video.frame import VideoFrame
    from numpy.typing import NDArray

T = TypeVar("T")

_THREADS = 2
"""Frames decoded at once; more would fight over the cores with the other reading processes of a batch."""

_PREDICTED = 4
"""Frames shown just before a damaged one that may have been predicted from it (B-frames)."""


class PyAVSource:
    """A video file, decoded by PyAV from its start or, where its stamps allow it, from the key frame before a clip."""

    name = "pyav"

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Look through the file.

        Raises:
            VideoError: See ``survey``.
        """
        found = survey(path)
        self._file = check_path(path)
        self._stamps = found.stamps
        self.info = found.info
        self.times_s = found.times_s

    def sound(self, first: int, last: int) -> NDArray[np.bool_]:
        """Tell which frames from ``first`` to ``last``, inclusive, decode undamaged: bool [last - first + 1].

        Decoders hide damage: they repeat or patch pictures and carry on. All frames from a damaged one to the next
        key frame count as damaged, for they are predicted from it.
        """
        return self._judged(first, last, lambda *_: None)

    def sound_and_kept(
        self,
        first: int,
        last: int,
        indices: NDArray[np.int64],
        prepare: Callable[[int, NDArray[np.uint8]], T],
    ) -> tuple[NDArray[np.bool_], list[T] | None]:
        """Tell which frames are sound and keep chosen ones on the same pass: half the work of two.

        Args:
            first: Index of the first frame to judge.
            last: Index of the last one, inclusive.
            indices: int64, strictly rising, of the frames to keep.
            prepare: Makes of a frame's index and picture what is kept.

        Returns:
            What ``sound`` returns, and what was kept; None in their place unless all of them were met and are
            alike in size and colours and not interlaced, for then decoders, or the order of the passes, could differ.
        """
        keeper = _Keeper(self, indices.tolist(), prepare)
        sound = self._judged(first, last, keeper.offer)
        return sound, keeper.kept if keeper.is_complete else None

    def _judged(self, first: int, last: int, offer: Callable[[int, VideoFrame], None]) -> NDArray[np.bool_]:
        sound = np.zeros(last - first + 1, dtype=np.bool_)
        is_damaged = False
        for index, frame in self._decoded(first, last):
            if frame is not None:
                offer(index, frame)
            if frame is None or frame.is_corrupt:
                is_damaged = True
                sound[max(0, index - first - _PREDICTED) : max(0, index - first)] = False
            elif frame.key_frame:
                is_damaged = False
            if frame is not None and index >= first:
                sound[index - first] = not is_damaged
        return sound

    def frames(self, indices: NDArray[np.int64]) -> Iterator[NDArray[np.uint8]]:
        """Decode chosen frames; see ``VideoSource.frames``."""
        wanted = indices.tolist()
        decoded = self._decoded(wanted[0], wanted[-1])
        # One reformatter for the pass: each holds megabytes, and frames would otherwise make their own.
        reformatter = VideoReformatter()
        for target in wanted:
            frame = next((frame for index, frame in decoded if index == target and frame is not None), None)
            if frame is None:
                raise VideoError(f"Frame {target} cannot be decoded.", where=self.info.path, kind="damaged")
            yield self.upright_rgb(frame, reformatter)

    def upright_rgb(self, frame: VideoFrame, reformatter: VideoReformatter) -> NDArray[np.uint8]:
        """Turn what the decoder gives into uint8 [height, width, 3], RGB, upright.

        Raises:
            VideoError: FFmpeg cannot convert these colours.
        """
        try:
            # On one thread: sharing out pictures as small as most are costs more processor time than it saves.
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
                # A file without an index refuses to seek and stays at its start, which serves as well.
                with suppress(av.FFmpegError):
                    container.seek(int(self._stamps[first]), stream=stream)
            following = 0
            for packet in packets(container, stream, self.info.path):
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


class _Keeper(Generic[T]):
    """Keeps what is made of chosen frames of a pass, until one of them gives reason to doubt that decoders agree."""

    def __init__(self, source: PyAVSource, wanted: list[int], prepare: Callable[[int, NDArray[np.uint8]], T]) -> None:
        self.kept: list[T] = []
        self._source = source
        self._wanted = wanted
        self._prepare = prepare
        self._reformatter = VideoReformatter()
        self._first_kind: tuple[object, ...] | None = None
        self._is_given_up = False

    @property
    def is_complete(self) -> bool:
        """Whether every frame that was wanted is there."""
        return not self._is_given_up and len(self.kept) == len(self._wanted)

    def offer(self, index: int, frame: VideoFrame) -> None:
        """Keep the frame if it is the next one wanted."""
        if self._is_given_up or self.is_complete or index != self._wanted[len(self.kept)]:
            return
        info = self._source.info
        kind = (frame.width, frame.height, frame.format.name, frame.colorspace, frame.color_range)
        self._first_kind = self._first_kind or kind
        is_plain = kind == self._first_kind and kind[:2] == (info.width, info.height)
        if frame.is_corrupt or frame.interlaced_frame or not is_plain:
            self._give_up()
            return
        try:
            self.kept.append(self._prepare(index, self._source.upright_rgb(frame, self._reformatter)))
        except VideoError:  # it is raised again by the pass that needs the frame, unless another decoder can
            self._give_up()

    def _give_up(self) -> None:
        self._is_given_up = True
        self.kept.clear()


def _position(stamps: NDArray[np.int64], stamp: int | None) -> int | None:
    if stamp is None:
        return None
    index = int(np.searchsorted(stamps, stamp))
    return index if index < len(stamps) and stamps[index] == stamp else None
