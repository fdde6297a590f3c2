"""What a file of moving pictures is, and the one interface behind which every decoder stands."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from finecausal_cli.errors import VideoError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

    from finecausal_cli.errors import ErrorKind

ASSUMED_FPS = 25.0
"""Frames a second where the source does not say: a folder of frames, a raw stream."""


@dataclass(frozen=True, slots=True)
class VideoInfo:
    """What is known of a video before it is decoded.

    Attributes:
        path: The file or folder, as given.
        container: FFmpeg's name of the file format, or ``folder``.
        codec: FFmpeg's name of the codec, or the kind of image in a folder.
        width: Width of the stored picture in pixels, before it is turned upright.
        height: Height of the stored picture in pixels, before it is turned upright.
        frames: Number of frames present.
        fps: Frames a second, on average.
        duration_s: When the last frame ends, counted from the start of the first.
        rotation: Degrees (0, 90, 180, 270), counter-clockwise, that turn the stored picture upright.
        sample_aspect: Width of one stored pixel over its height.
        bits: Bits of one sample of one colour.
        notes: Caveats worth showing to a person.
    """

    path: str
    container: str
    codec: str
    width: int
    height: int
    frames: int
    fps: float
    duration_s: float
    rotation: int = 0
    sample_aspect: float = 1.0
    bits: int = 8
    notes: tuple[str, ...] = ()

    @property
    def is_sideways(self) -> bool:
        """Whether turning the picture upright swaps its width and height."""
        return self.rotation % 180 == 90

    @property
    def upright_size(self) -> tuple[int, int]:
        """Height and width, in pixels, of the upright picture that the decoders give."""
        return (self.width, self.height) if self.is_sideways else (self.height, self.width)

    @property
    def upright_sample_aspect(self) -> float:
        """Width of one pixel of the upright picture over its height."""
        return 1 / self.sample_aspect if self.is_sideways else self.sample_aspect


class VideoSource(Protocol):
    """One way to get frames out of a video.

    Attributes:
        name: Which decoder this is, for the provenance: ``decord``, ``pyav`` or ``frames``.
        info: What is known of the video.
    """

    name: str
    info: VideoInfo

    def frames(self, indices: NDArray[np.int64]) -> Iterator[NDArray[np.uint8]]:
        """Decode chosen frames, one at a time.

        Args:
            indices: int64, strictly rising, zero-based.

        Yields:
            uint8 [height, width, 3], RGB, upright, in stored pixels (``info.sample_aspect`` is not applied).

        Raises:
            VideoError: One of the frames cannot be decoded.
        """
        ...


class InspectedSource(VideoSource, Protocol):
    """A source that also knows when its frames are shown and which of them are sound.

    Attributes:
        times_s: float64 [frames], when each frame is shown, counted from the first.
    """

    times_s: NDArray[np.float64]

    def sound(self, first: int, last: int) -> NDArray[np.bool_]:
        """Tell which frames from ``first`` to ``last``, inclusive, decode undamaged: bool [last - first + 1]."""
        ...


def check_path(path: str | os.PathLike[str]) -> Path:
    """Make sure that a path is a folder or a regular, readable, non-empty file, without opening it.

    Opening a pipe or a device could block for ever.

    Returns:
        The path, absolute, so that no decoder takes ``a:b.mp4`` for the address of something else.

    Raises:
        VideoError: It is missing, forbidden, empty, or neither a file nor a folder.
    """
    try:
        status = os.stat(path)  # noqa: PTH116 - Path.stat would refuse names that are no valid text
    except FileNotFoundError as error:
        raise VideoError("There is no such file or folder.", where=path, kind="missing") from error
    except (OSError, ValueError) as error:
        cause = getattr(error, "strerror", None) or str(error)
        kind: ErrorKind = "no_permission" if isinstance(error, PermissionError) else "unreadable"
        raise VideoError(f"The file cannot be opened: {cause}.", where=path, kind=kind) from error
    if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
        what = "This is a pipe or a device, not a video file or a folder of frames."
        raise VideoError(what, where=path, kind="not_a_file")
    if not os.access(path, os.R_OK):
        raise VideoError("The file cannot be opened: no permission to read it.", where=path, kind="no_permission")
    if stat.S_ISREG(status.st_mode) and status.st_size == 0:
        raise VideoError("The file is empty.", where=path, kind="empty")
    return Path(path).absolute()
