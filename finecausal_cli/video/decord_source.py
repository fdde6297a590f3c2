"""Decode a video file with decord: the fast path for the formats it is right about."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np

from finecausal_cli.errors import VideoError
from finecausal_cli.video.source import VideoInfo, check_path

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

    from numpy.typing import NDArray

_CONTAINERS = {"mov", "matroska"}

_CODECS = {"h264", "hevc", "vp9"}
"""Codecs trusted to decord's old FFmpeg. Others crash it on damaged files (seen with FFV1), and are rare."""

_NO_FRAME_MADE_UP = 1e-9
"""Share of frames that decord may replace by a copy of the last good one before it gives up: practically none."""

_THREADS = 2


def decord_suits(info: VideoInfo) -> bool:
    """Tell whether decord, whose FFmpeg dates from 2020, reads this kind of video exactly as PyAV does."""
    return bool(_CONTAINERS & set(info.container.split(","))) and info.codec in _CODECS and info.bits == 8


def pyav_does_as_well(info: VideoInfo) -> bool:
    """Tell whether PyAV gives the very bytes that decord would, so that one decoder can do for both.

    Measured on 150 kinds of H.264, HEVC and VP9. Where a side is odd, colours stored at half the resolution are
    brought to full size in different ways; and so are those of interlaced frames, which only the frames show.
    """
    return not decord_suits(info) or not (info.width % 2 or info.height % 2)


class DecordSource:
    """A video file, decoded by decord from its start, frame after frame.

    Not by random access: where key frames are open, or stamps unusual, decord's seeking silently gives other frames
    than those asked for (measured on open-GOP H.264 and on AVI, WMV and MPEG). In order it is right, and faster too.
    """

    name = "decord"

    def __init__(self, info: VideoInfo) -> None:
        """Open a file that has been looked through.

        Args:
            info: What PyAV found in it.

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
            # Another library may have told decord to hand out its own kind of tensor.
            frame = np.asarray(picture.asnumpy() if hasattr(picture, "asnumpy") else picture)
            if frame.shape != (*self.info.upright_size, 3):  # it pads pictures narrower than three pixels
                raise VideoError(f"decord gives frame {target} another size.", where=self.info.path)
            yield frame

    def _opened(self) -> Any:
        cpu = self._decord.cpu(0)
        try:
            return self._decord.VideoReader(self._file, ctx=cpu, num_threads=_THREADS, fault_tol=_NO_FRAME_MADE_UP)
        except self._errors as error:
            raise VideoError("decord cannot open the file.", where=self.info.path) from error


def _load(path: str) -> tuple[ModuleType, tuple[type[Exception], ...]]:
    """Import decord, quietly; return it with everything it is known to raise."""
    # Made-up frames raise an error here, so its warning about them would only be noise.
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
