"""Frames -> file: H.264 for pictures, lossless FFV1 for masks. A file appears whole or not at all."""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, cast

import av
import numpy as np

from finecausal_cli.errors import OutputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from av.video.stream import VideoStream
    from numpy.typing import NDArray

_BT709 = 1
"""FFmpeg's number for the BT.709 matrix, primaries and transfer, which every player knows."""

_LIMITED_RANGE = 1
"""FFmpeg's number for luma from 16 to 235."""

_MAX_DENOMINATOR = 90_000
"""Finest clock of a frame rate, in ticks a second (that of broadcast video)."""


def write_video(
    path: str | os.PathLike[str],
    frames: Iterable[NDArray[np.uint8]],
    fps: float,
    *,
    crf: int = 18,
    preset: str = "veryfast",
) -> None:
    """Write RGB frames as H.264 (yuv420p, BT.709) in an MP4 that starts to play before it is fully loaded.

    The encoder runs on one thread and leaves out version stamps of the container, so equal frames give equal
    bytes. A side of odd length, which yuv420p cannot hold, gets its last row or column doubled.

    Args:
        path: File to write; an existing one is replaced at the end, in one step.
        frames: uint8 [height, width, 3], RGB, all of one size. Consumed one at a time.
        fps: Frames a second.
        crf: Constant rate factor of x264, 0 (lossless) to 51; 18 is visually lossless.
        preset: Speed preset of x264.

    Raises:
        OutputError: There are no frames, or the file cannot be written (disk full, no permission).
        ValueError: A frame is not uint8 [height, width, 3], or its size differs from the first.
    """
    # x264's macroblock-tree rate control reads memory it never set, so its bytes change from run to run: without it.
    options = {"crf": str(crf), "preset": preset, "threads": "1", "x264-params": "mbtree=0"}
    with _whole_file(path) as part:
        _encode(part, path, map(_even_rgb, frames), fps, ("mp4", "libx264", "yuv420p", "rgb24"), options)


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
    with _whole_file(path) as part:
        _encode(part, path, map(_black_and_white, masks), fps, ("matroska", "ffv1", "gray", "gray"), {"threads": "1"})


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


def _encode(
    part: Path,
    path: str | os.PathLike[str],
    pictures: Iterator[NDArray[np.uint8]],
    fps: float,
    formats: tuple[str, str, str, str],
    options: dict[str, str],
) -> None:
    container_format, codec, stored, given = formats
    first = next(pictures, None)
    if first is None:
        raise OutputError("There are no frames to write.", where=path)
    muxing = {"movflags": "+faststart", "fflags": "+bitexact"} if container_format == "mp4" else {"fflags": "+bitexact"}
    with _one_line_errors(path):
        container = av.open(str(part.absolute()), "w", format=container_format, options=muxing)
    with container:
        rate = Fraction(fps).limit_denominator(_MAX_DENOMINATOR)
        stream = cast("VideoStream", container.add_stream(codec, rate=rate, options=options))
        stream.height, stream.width = first.shape[:2]
        stream.pix_fmt = stored
        context = stream.codec_context
        context.thread_count = 1
        if given == "rgb24":
            context.colorspace = context.color_primaries = context.color_trc = _BT709
            context.color_range = _LIMITED_RANGE
        for picture in chain((first,), pictures):
            if picture.shape != first.shape:
                raise ValueError(f"All frames must have one size, not {first.shape[:2]} and {picture.shape[:2]}.")
            frame = av.VideoFrame.from_ndarray(picture, format=given)
            if given == "rgb24":
                frame = frame.reformat(format=stored, dst_colorspace=_BT709, dst_color_range=_LIMITED_RANGE)
            with _one_line_errors(path):
                container.mux(stream.encode(frame))
        with _one_line_errors(path):
            container.mux(stream.encode(None))
            container.close()


@contextmanager
def _one_line_errors(path: str | os.PathLike[str]) -> Iterator[None]:
    """Say in one line what stopped the writing."""
    try:
        yield
    except (OSError, av.FFmpegError) as error:
        cause = getattr(error, "strerror", None) or str(error)
        hint = "check the folder, its rights and the free space"
        raise OutputError(f"Cannot write the video: {cause}.", where=path, hint=hint) from error


@contextmanager
def _whole_file(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary name beside ``path`` that becomes ``path`` only when the block ends well."""
    whole = Path(path)
    part = whole.with_name(f".{whole.name}.{os.getpid()}.part")
    try:
        yield part
        with _one_line_errors(path):
            with part.open("rb+") as file:
                os.fsync(file.fileno())
            part.replace(whole)
    finally:
        with suppress(OSError):
            part.unlink()
