"""Frames -> file: H.264 for pictures, lossless FFV1 for masks, written atomically."""

from __future__ import annotations

from collections import deque
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple, cast

import av
import numpy as np
from av.codec.context import Flags
from av.video.reformatter import VideoReformatter

from finecausal_cli.atomic import atomic_write
from finecausal_cli.errors import OutputError

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from av.video.stream import VideoStream
    from numpy.typing import NDArray

_BT709 = 1
"""FFmpeg's number of the BT.709 matrix, primaries and transfer, which every player supports."""

_LIMITED_RANGE = 1
"""FFmpeg's number for luma from 16 to 235."""

_MAX_DENOMINATOR = 90_000
"""Finest clock of a frame rate, in ticks a second (that of broadcast video)."""

_MOST_ASPECT_TERM = 255
"""Largest term of a pixel aspect that every player reads, e.g. 64:45."""


class _Timing(NamedTuple):
    """Times of the frames, and the aspect of their pixels; see ``write_video``."""

    fps: float
    times_s: NDArray[np.float64] | None = None
    sample_aspect: float = 1.0

    @property
    def rate(self) -> Fraction:
        return Fraction(self.fps).limit_denominator(_MAX_DENOMINATOR)

    def stamp(self, frame: av.VideoFrame, index: int) -> None:
        """Set the time stamp and duration of a frame; without times, the encoder counts frames."""
        if self.times_s is not None:
            begin, end = (round(float(time_s) * _MAX_DENOMINATOR) for time_s in self.times_s[index : index + 2])
            frame.pts, frame.duration, frame.time_base = begin, end - begin, Fraction(1, _MAX_DENOMINATOR)


class _Format(NamedTuple):
    """FFmpeg's names of the container, the codec, and the pixel formats of the file and of the input."""

    container: str
    codec: str
    stored: str
    source: str


def write_video(
    path: str | os.PathLike[str],
    frames: Iterable[NDArray[np.uint8]],
    fps: float,
    *,
    crf: int = 18,
    preset: str = "veryfast",
    threads: int = 1,
    keyframes: int | None = None,
    times_s: NDArray[np.float64] | None = None,
    sample_aspect: float = 1.0,
    ahead: int = 0,
) -> None:
    """Write RGB frames as H.264 (yuv420p, BT.709) in an MP4 that starts to play before it is fully loaded.

    Version stamps of the container are left out, so equal frames give equal bytes. A side of odd length, which yuv420p
    cannot hold, gets its last row or column doubled.

    Args:
        path: File to write; an existing one is replaced at the end, in one step.
        frames: uint8 [height, width, 3], RGB, all of one size. Consumed one at a time.
        fps: Frames a second.
        crf: Constant rate factor of x264, 0 (lossless) to 51; 18 is visually lossless.
        preset: Speed preset of x264.
        threads: Of the encoder; each number of them gives bytes of its own.
        keyframes: Most frames from one keyframe to the next: the fewer, the faster a player seeks and the larger the
            file. None leaves it to the encoder (250).
        times_s: float64 [frames + 1], rising from 0: the time of each frame, and the end of the last one. None for a
            constant frame rate ``fps``.
        sample_aspect: Width of one pixel over its height.
        ahead: Frames that a second thread takes from ``frames`` while earlier ones are encoded; 0 is without.

    Raises:
        OutputError: There are no frames, or the file cannot be written (disk full, no permission).
        ValueError: A frame is not uint8 [height, width, 3], or its size differs from the first.
    """
    # x264's macroblock-tree rate control reads uninitialised memory, so its bytes change from run to run: off.
    options = {"crf": str(crf), "preset": preset, "threads": str(threads), "x264-params": "mbtree=0"}
    if keyframes is not None:
        options["g"] = str(keyframes)
    codec = _Format("mp4", "libx264", "yuv420p", "rgb24")
    pictures = map(_even_rgb, frames)
    _write(path, _made_ahead(pictures, ahead), _Timing(fps, times_s, sample_aspect), codec, options)


def write_mask_video(path: str | os.PathLike[str], masks: Iterable[NDArray[np.uint8]], fps: float) -> None:
    """Write foreground masks, losslessly, as FFV1 gray in Matroska: athlete 255, everything else 0.

    Args:
        path: File to write; an existing one is replaced at the end, in one step.
        masks: uint8 or bool [height, width], all of one size; anything but 0 is the athlete. Consumed one at a time.
        fps: Frames a second.

    Raises:
        OutputError: There are no masks, or the file cannot be written (disk full, no permission).
        ValueError: A mask is not [height, width], or its size differs from the first.
    """
    _write(
        path, map(_black_and_white, masks), _Timing(fps), _Format("matroska", "ffv1", "gray", "gray"), {"threads": "1"}
    )


def _made_ahead(pictures: Iterator[NDArray[np.uint8]], count: int) -> Iterator[NDArray[np.uint8]]:
    """Yield the same pictures, of which a second thread makes so many ahead."""
    if count == 0:
        yield from pictures
        return
    with ThreadPoolExecutor(1) as pool:
        waiting = deque(pool.submit(next, pictures, None) for _ in range(count))
        while (picture := waiting.popleft().result()) is not None:
            yield picture
            waiting.append(pool.submit(next, pictures, None))


def _even_rgb(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3:
        raise ValueError(f"A frame must be uint8 [height, width, 3], not {frame.dtype} {list(frame.shape)}.")
    height, width = frame.shape[:2]
    if height % 2 or width % 2:
        frame = np.pad(frame, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    return np.ascontiguousarray(frame)


def _black_and_white(mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    if mask.ndim != 2:
        raise ValueError(f"A mask must be [height, width], not {list(mask.shape)}.")
    return np.where(mask != 0, np.uint8(255), np.uint8(0))


def _write(
    path: str | os.PathLike[str],
    pictures: Iterator[NDArray[np.uint8]],
    timing: _Timing,
    codec: _Format,
    options: dict[str, str],
) -> None:
    first = next(pictures, None)
    if first is None:
        raise OutputError("There are no frames to write.", where=path)
    with atomic_write(path, "The video") as part:
        try:
            _encode(part, first, pictures, timing, codec, options)
        except av.FFmpegError as error:
            raise OSError(error.errno, error.strerror) from error


def _encode(
    part: Path,
    first: NDArray[np.uint8],
    others: Iterator[NDArray[np.uint8]],
    timing: _Timing,
    codec: _Format,
    options: dict[str, str],
) -> None:
    muxing = {"fflags": "+bitexact"} | ({"movflags": "+faststart"} if codec.container == "mp4" else {})
    is_colour = codec.source == "rgb24"
    with av.open(str(part.absolute()), "w", format=codec.container, options=muxing) as container:
        stream = cast("VideoStream", container.add_stream(codec.codec, rate=timing.rate, options=options))
        stream.height, stream.width = first.shape[:2]
        stream.pix_fmt = codec.stored
        context = stream.codec_context
        context.thread_count = int(options["threads"])
        if timing.times_s is not None:
            context.time_base = Fraction(1, _MAX_DENOMINATOR)
            context.flags |= Flags.frame_duration  # or the encoder guesses the duration of the last frame
        if timing.sample_aspect != 1:
            context.sample_aspect_ratio = Fraction(timing.sample_aspect).limit_denominator(_MOST_ASPECT_TERM)
        if is_colour:
            context.colorspace = context.color_primaries = context.color_trc = _BT709
            context.color_range = _LIMITED_RANGE
        reformatter = VideoReformatter()
        for index, picture in enumerate(chain((first,), others)):
            if picture.shape != first.shape:
                raise ValueError(f"All frames must have one size, not {first.shape[:2]} and {picture.shape[:2]}.")
            frame = av.VideoFrame.from_ndarray(picture, format=codec.source)
            if is_colour:
                frame = reformatter.reformat(
                    frame, format=codec.stored, dst_colorspace=_BT709, dst_color_range=_LIMITED_RANGE
                )
            timing.stamp(frame, index)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
