"""Look into a video file without decoding it: is it one, what is in it, when is each frame shown, is it all there."""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import av
import numpy as np
from av.stream import Disposition

from finecausal_cli.errors import VideoError
from finecausal_cli.video.sampling import is_uneven
from finecausal_cli.video.source import ASSUMED_FPS, VideoInfo, check_path

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from av.container import InputContainer
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream
    from numpy.typing import NDArray

    from finecausal_cli.errors import ErrorKind

_FORMATS = (
    "apng,asf,avi,dv,flv,gif,h264,hevc,ivf,jpeg_pipe,m4v,matroska,mov,mpeg,mpegts,mpegvideo,mxf,nut,obu,ogg,png_pipe"
)
"""Formats that hold their pictures themselves. A playlist could name other files, or an address in the network."""

_TIMED_FORMATS = {"mov", "matroska"}
"""Formats whose packets say exactly when their picture is shown, so that a picture can be told by its time."""

_LEAST_PRESENT = 0.8
"""Share of the announced length below which a file is refused as cut short."""

_WHOLE = 0.98
"""Share of the announced length from which on a file counts as whole."""

_PLAUSIBLE_RATE_ERROR = 0.01
"""Largest relative difference between the frame rate in the header and the one counted."""

_PLAUSIBLE_SAMPLE_ASPECT = 4.0
"""Most lopsided pixel that any camera or broadcast uses; anything beyond is a broken header."""


@dataclass(frozen=True, slots=True)
class Survey:
    """What one pass over the packets of a file has shown.

    Attributes:
        info: What the video is.
        times_s: float64 [frames], when each frame is shown, counted from the first.
        stamps: int64 [frames], the same as presentation stamps of the stream; None where they cannot be relied on.
    """

    info: VideoInfo
    times_s: NDArray[np.float64]
    stamps: NDArray[np.int64] | None


@dataclass(slots=True)
class _Packets:
    """What is kept of the packets of a stream."""

    seen: int
    stamps: list[int | None]
    last_duration: int


@contextmanager
def opened(file: Path, path: str | os.PathLike[str]) -> Iterator[tuple[InputContainer, VideoStream]]:
    """Open a file and choose its video stream: the default one, of several the largest.

    Args:
        file: Absolute path.
        path: The same as the user gave it, for errors.

    Raises:
        VideoError: The file is no video, or holds sound only.
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
    """Give every packet of a stream, then the empty one that flushes the decoder; a broken end is an end.

    Raises:
        VideoError: Another stream begins in the middle of the file, which PyAV cannot bear.
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


def survey(path: str | os.PathLike[str]) -> Survey:
    """Look through a video file: every packet's time, and the first picture.

    Raises:
        VideoError: The file is missing, is no video, holds no picture that can be decoded, or misses a fifth or more.
    """
    file = check_path(path)
    with opened(file, path) as (container, stream):
        picture, found = _look_through(container, stream, path)
        unit = float(stream.time_base or 0)
        is_timed = bool(_TIMED_FORMATS & set(container.format.name.split(",")))
        stamps = _rising(found.stamps) if is_timed and unit > 0 else None
        frames = len(found.stamps)
        notes = _stream_notes(container, stream)
        if stamps is None:
            fps = _announced_fps(stream)
            if not fps:
                notes += (f"The file does not say its frame rate; times assume {ASSUMED_FPS:g} frames a second.",)
            fps = fps or ASSUMED_FPS
            times_s = np.arange(frames) / fps
            duration_s = frames / fps
        else:
            times_s = (stamps - stamps[0]) * unit
            fps = _counted_fps(stream, times_s)
            duration_s = float(times_s[-1]) + (found.last_duration * unit or 1 / fps)
        cut_short = _length_note(container, stream, found.seen, duration_s, path)
        # The last packets of a file cut short leave gaps, as they are stored in another order than shown.
        notes += cut_short or _rate_note(times_s, fps)
        info = _describe(path, container, stream, picture, (frames, fps, duration_s), notes)
    return Survey(info, times_s, stamps)


def _look_through(
    container: InputContainer, stream: VideoStream, path: str | os.PathLike[str]
) -> tuple[VideoFrame, _Packets]:
    """Count the packets, decoding only until a first picture appears."""
    picture: VideoFrame | None = None
    cause = ""
    found = _Packets(0, [], 0)
    for packet in packets(container, stream, path):
        if picture is None:
            try:
                picture = next(iter(packet.decode()), None)
            except av.FFmpegError as error:
                cause = f": {error.strerror}"
        found.seen += packet.dts is not None or packet.size > 0
        if packet.size and not packet.is_discard:
            found.stamps.append(packet.pts)
            found.last_duration = packet.duration or 0
    if picture is None or not found.stamps:
        codec = stream.codec_context.name
        what = f"No picture of the file can be decoded (codec {codec}){cause}."
        raise VideoError(what, where=path, kind="no_frames")
    return picture, found


def _rising(stamps: list[int | None]) -> NDArray[np.int64] | None:
    """Sort stamps into the order of display; None unless each frame has its own."""
    known = {stamp for stamp in stamps if stamp is not None}
    return np.array(sorted(known), dtype=np.int64) if len(known) == len(stamps) else None


def _announced_fps(stream: VideoStream) -> float:
    return float(stream.average_rate or stream.guessed_rate or stream.base_rate or 0)


def _counted_fps(stream: VideoStream, times_s: NDArray[np.float64]) -> float:
    """Prefer the exact rate of the header (30000/1001) where it agrees with the frames, whose times are rounded."""
    announced = _announced_fps(stream)
    if len(times_s) < 2:
        return announced or ASSUMED_FPS
    counted = float((len(times_s) - 1) / times_s[-1])
    return announced if abs(announced - counted) <= _PLAUSIBLE_RATE_ERROR * counted else counted


def _rate_note(times_s: NDArray[np.float64], fps: float) -> tuple[str, ...]:
    if is_uneven(times_s):
        return (f"The frame rate varies about {fps:.2f} a second; frames are sampled by the time they are shown at.",)
    return ()


def _length_note(
    container: InputContainer, stream: VideoStream, seen: int, duration_s: float, path: str | os.PathLike[str]
) -> tuple[str, ...]:
    """Compare what is there with what the header announces."""
    present = seen / stream.frames if stream.frames else 1.0
    if stream.duration and stream.time_base:
        present = min(present, duration_s / float(stream.duration * stream.time_base))
    elif container.duration:
        share = duration_s / (container.duration / av.time_base)
        # The length of the whole file may be that of its sound, which is no reason to refuse the pictures.
        present = min(present, share if len(container.streams) == 1 else max(share, _LEAST_PRESENT))
    if present < _LEAST_PRESENT:
        what = f"The file is cut short: only {present:.0%} of its announced length is there."
        raise VideoError(what, where=path, hint="copy or download it again", kind="truncated")
    if present < _WHOLE:
        return (f"The pictures end at {duration_s:.2f} s, before the file's announced end; it may be cut short.",)
    return ()


def _pictures(container: InputContainer) -> list[VideoStream]:
    """List the video streams of a known codec, without the cover image that a sound file may carry."""
    streams = [stream for stream in container.streams.video if stream.codec_context is not None]
    return [stream for stream in streams if not stream.disposition & Disposition.attached_pic]


def _stream_notes(container: InputContainer, stream: VideoStream) -> tuple[str, ...]:
    streams = len(_pictures(container))
    if streams == 1:
        return ()
    return (f"The file holds {streams} video streams; number {stream.index} ({stream.width}x{stream.height}) is read.",)


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
