"""Frames out of a folder of images."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from finecausal_cli.errors import VideoError
from finecausal_cli.video.source import ASSUMED_FPS, VideoInfo

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from finecausal_cli.errors import ErrorKind

PICTURE_SUFFIXES = {".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}
"""What the frames of a dive are called."""

VIDEO_SUFFIXES = {".avi", ".gif", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".ts", ".webm", ".wmv"}
"""What a video is called in a folder of them."""

FEWEST_FRAMES = 16
"""A folder with fewer images than one snippet needs, and with videos in it or below, is meant as one of videos."""

_LAST_NUMBER = re.compile(r"(\d+)\D*$")

_MOST_PLACES_PER_FILE = 2
"""With more gaps than frames the numbers mean something else, such as milliseconds."""

_UNREADABLE = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)
"""What Pillow raises for a broken image."""


class FolderSource:
    """A folder of images, one a frame, ordered by the number in their names, or by name where not all have one.

    A number missing in between is a frame that cannot be decoded: it keeps its place, so the time line stays whole.
    Numbers may start anywhere and rise in equal steps (0, 2, 4, ...).
    """

    name = "frames"

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """List the folder and look at its first image.

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
            notes=(f"A folder of frames has no frame rate; times assume {ASSUMED_FPS:g} frames a second.",),
        )

    def sound(self, first: int, last: int) -> NDArray[np.bool_]:
        """Tell which frames from ``first`` to ``last``, inclusive, are there: bool [last - first + 1]."""
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
    """Give every image its frame index, the first one 0."""
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
        what = "The folder holds no frames (jpg, png, bmp, tif or webp images)."
        raise VideoError(what, where=path, kind="no_frames")
    files.sort(key=lambda file: file.name)
    found = [_LAST_NUMBER.search(file.stem) for file in files]
    numbers = [int(match.group(1)) for match in found if match]
    if len(numbers) < len(files):
        return dict(enumerate(files))
    by_number = dict(zip(numbers, files, strict=True))
    if len(by_number) < len(files):
        raise VideoError("Two images of the folder have the same number.", where=path, kind="unsupported")
    first, *others = sorted(by_number)
    step = min((after - before for before, after in zip([first, *others], others, strict=False)), default=1)
    if any((number - first) % step for number in others):
        step = 1
    places = (max(by_number) - first) // step + 1
    if places > _MOST_PLACES_PER_FILE * len(files):
        what = f"Only {len(files)} of the frames numbered {first} to {max(by_number)} are there."
        raise VideoError(what, where=path, kind="damaged")
    return {(number - first) // step: file for number, file in by_number.items()}


def _refuse_videos(path: str) -> None:
    """Say so if a folder, or the folders in it, hold videos: one of them is meant."""
    found = sorted(file for pattern in ("*", "*/*") for file in Path(path).glob(pattern) if _is_video(file))
    if found:
        what = "a folder of 1 video" if len(found) == 1 else f"a folder of {len(found)} videos"
        raise VideoError(
            f"This is {what}, not a dive.", where=path, hint=f"give one of them: {found[0]}", kind="not_a_dive"
        )


def _is_video(file: Path) -> bool:
    return file.suffix.lower() in VIDEO_SUFFIXES and file.name[0] != "." and file.is_file()
