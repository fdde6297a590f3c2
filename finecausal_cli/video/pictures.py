"""A video that was read, decoded once more for people: the sampled pictures, whole, and an excerpt for a page.

That a file could be decoded once does not say that it can be again. Where a time limit is set, all of this runs in a
process that can be killed, as reading does: one of its own, or the one that read the dive, which hands tasks without
its own options to ``run_task``.
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import cv2
import numpy as np

from finecausal_cli.errors import FinecausalError, VideoError
from finecausal_cli.video import resize
from finecausal_cli.video.reader import open_footage, open_source
from finecausal_cli.video.worker import WorkerProcess, serve_tasks
from finecausal_cli.video.writer import write_video

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from finecausal_cli.video import Clip
    from finecausal_cli.video.reader import Footage
    from finecausal_cli.video.worker import Answer, Progress


# Pictures of the sampled frames.


def sampled_like(
    path: str | os.PathLike[str],
    clip: Clip,
    short_side: int,
    *,
    timeout_s: float | None = None,
    process: WorkerProcess | None = None,
) -> NDArray[np.uint8]:
    """Read the sampled frames of a clip again, whole, for people to look at.

    Args:
        path: The video file or folder of frames.
        clip: Whose frames.
        short_side: Of the pictures, pixels, at most.
        timeout_s: Most seconds without any progress; None works in this process and sets no limit.
        process: A process to do it in, which runs ``run_task``; one is made where a time limit needs it.

    Returns:
        uint8 [96, height, width, 3].

    Raises:
        VideoError: A frame cannot be decoded any more, or it took too long (kind ``timeout``), or the decoder crashed.
    """
    distinct, indices = np.unique(clip.source_frames, return_inverse=True)
    options = {"task": "pictures", "frames": distinct.tolist(), "short_side": short_side}
    _, arrays = _ask(path, options, timeout_s, process)
    return np.asarray(arrays["pictures"][indices], np.uint8)


def _read_pictures(path: str, frames: list[int], short_side: int, progress: Progress) -> NDArray[np.uint8]:
    """Return frames of a video by index, shrunk: uint8 [frames, height, width, 3]."""
    source = open_source(path)
    height, width = source.info.upright_size
    tall, wide = height, width * source.info.upright_sample_aspect
    shrink = min(1.0, short_side / min(tall, wide))
    size = max(1, round(tall * shrink)), max(1, round(wide * shrink))
    made: list[NDArray[np.uint8]] = []
    try:
        for frame in source.frames(np.array(frames, np.int64)):
            made.append(resize(frame, size, "fit"))
            progress(len(made) / len(frames))
    except FinecausalError as error:
        raise VideoError("The frames cannot be decoded once more.", where=path, kind="damaged") from error
    return np.stack(made)


# The excerpt: part of a video as H.264 that every browser plays, small enough to be embedded in a page.

_SIDES: Final = (480, 360, 256)
"""Short sides of the excerpt, pixels: the first whose file is small enough."""

_MOST_BYTES: Final = 5_000_000
"""Of the excerpt: as text in the page it takes a third more, and the page stays below 8 MB."""

_QUALITY: Final = 25
"""Constant rate factor. A clip of 5 s at 454x256 takes 0.6 MB, one at 720p 1 to 3 MB."""

_KEYFRAMES: Final = 10
"""Frames between keyframes: a step back decodes ten at most."""


@dataclass(frozen=True, slots=True)
class Excerpt:
    """What is known of an excerpt besides its file.

    Attributes:
        first: Index in the video of the first frame.
        times_s: float64 [frames + 1], rising from 0: when each frame is shown, and when the last one ends.
        size: Height and width of the source, pixels.
        aspect: Width over height, as it is to be seen.
    """

    first: int
    times_s: NDArray[np.float64]
    size: tuple[int, int]
    aspect: float


def write_excerpt(
    target: Path,
    path: str | os.PathLike[str],
    start_s: float | None = None,
    end_s: float | None = None,
    *,
    timeout_s: float | None = None,
    process: WorkerProcess | None = None,
) -> Excerpt:
    """Encode part of a video, every frame at its own time, shrunk until it can be embedded.

    Args:
        target: MP4 file to write. A process that is killed may leave a part of it beside it: give a folder that goes.
        path: The video file or folder of frames.
        start_s: Where the part starts, seconds; None for the beginning of the file.
        end_s: Where it ends, seconds, exclusive; None for the end of the file.
        timeout_s: Most seconds without any progress; None works in this process and sets no limit.
        process: A process to do it in, which runs ``run_task``; one is made where a time limit needs it.

    Raises:
        VideoError: A frame cannot be decoded, or it took too long (kind ``timeout``), or the decoder crashed; or
            another process could not write the file (kind ``failed``).
        OutputError: This process cannot write the file.
        UsageError: ``start_s`` or ``end_s`` are invalid.
    """
    options = {"task": "excerpt", "target": str(target.absolute()), "start_s": start_s, "end_s": end_s}
    facts, arrays = _ask(path, options, timeout_s, process)
    return Excerpt(facts["first"], arrays["times_s"], (facts["size"][0], facts["size"][1]), facts["aspect"])


def _encode(target: Path, path: str, start_s: float | None, end_s: float | None, progress: Progress) -> Excerpt:
    footage = open_footage(path, start_s, end_s)
    for side in _SIDES:
        write_video(
            target,
            _shrunk(footage, side, progress),
            footage.info.fps,
            crf=_QUALITY,
            threads=2,
            keyframes=_KEYFRAMES,
            times_s=None if footage.is_even else footage.times_s,
        )
        if target.stat().st_size <= _MOST_BYTES:
            break
    height, width = footage.size
    aspect = width * footage.info.upright_sample_aspect / height
    return Excerpt(footage.first, footage.times_s, footage.size, aspect)


def _shrunk(footage: Footage, side: int, progress: Progress) -> Iterator[NDArray[np.uint8]]:
    height, width = footage.size
    wide = width * footage.info.upright_sample_aspect
    scale = min(1.0, side / min(height, wide))
    size = max(2, 2 * round(wide * scale / 2)), max(2, 2 * round(height * scale / 2))
    for count, frame in enumerate(footage.frames(), start=1):
        yield np.asarray(cv2.resize(frame, size, interpolation=cv2.INTER_AREA), np.uint8)
        progress(count / len(footage))


# Both as tasks of a process.


def serve() -> None:
    """Serve ``run_task`` over standard input: the main function of a ``WorkerProcess``."""
    serve_tasks(run_task)


def run_task(path: str, options: dict[str, Any], progress: Progress) -> Answer:
    """Run one of the tasks that ``sampled_like`` and ``write_excerpt`` ask for.

    Args:
        path: The video file or folder of frames.
        options: ``task``, and what belongs to it.
        progress: Told after each frame which share of the frames is done; an excerpt that is too large begins anew.

    Returns:
        Facts that JSON can hold, and arrays.

    Raises:
        VideoError: The video cannot be read.
        OutputError: The excerpt cannot be written.
        UsageError: The times of the excerpt are invalid.
    """
    if options["task"] == "pictures":
        return {}, {"pictures": _read_pictures(path, options["frames"], options["short_side"], progress)}
    made = _encode(Path(options["target"]), path, options["start_s"], options["end_s"], progress)
    return {"first": made.first, "size": made.size, "aspect": made.aspect}, {"times_s": made.times_s}


def _ask(
    path: str | os.PathLike[str], options: dict[str, Any], timeout_s: float | None, process: WorkerProcess | None
) -> Answer:
    """Run a task here, or in a process where there is a time limit."""
    if timeout_s is None:
        return run_task(os.fspath(path), options, lambda _: None)
    with ExitStack() as stack:
        worker = process or stack.enter_context(WorkerProcess(__name__))
        return worker.run(path, options, timeout_s=timeout_s)
