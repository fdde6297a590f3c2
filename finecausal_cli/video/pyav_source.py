"""Decode a video file with PyAV: every format FFmpeg knows, and the judge of which frames are sound."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from finecausal_cli.errors import VideoError
from finecausal_cli.video.source import check_path
from finecausal_cli.video.survey import opened, packets, survey

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator

    from av.video.frame import VideoFrame
    from numpy.typing import NDArray

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
        sound = np.zeros(last - first + 1, dtype=np.bool_)
        is_damaged = False
        for index, frame in self._decoded(first, last):
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
            picture = reformatter.reformat(frame, format="rgb24").to_ndarray()
            yield np.ascontiguousarray(np.rot90(picture, self.info.rotation // 90))

    def _decoded(self, first: int, last: int) -> Iterator[tuple[int, VideoFrame | None]]:
        """Decode up to frame ``last``: each picture with its index, and None where a packet fails."""
        with opened(self._file, self.info.path) as (container, stream):
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


def _position(stamps: NDArray[np.int64], stamp: int | None) -> int | None:
    if stamp is None:
        return None
    index = int(np.searchsorted(stamps, stamp))
    return index if index < len(stamps) and stamps[index] == stamp else None
