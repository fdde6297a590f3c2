"""From a dive's files to its sampled frames and masks at working size, nothing kept on disk."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
from PIL import Image

from finecausal_cli.errors import VideoError
from finecausal_cli.video.clip import Clip
from finecausal_cli.video.picture import scale_frame
from finecausal_cli.video.reader import read_clip, read_masks
from finecausal_cli.video.sampling import check_enough, sample_indices
from finecausal_cli.video.source import ASSUMED_FPS

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from finecausal_cli.data.dive import Dive, FrameRange

_UNREADABLE = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)


def read_dive(
    dive: Dive, *, geometry: Literal["fit", "squeeze"], frame_size: int, timeout_s: float | None = None
) -> tuple[Clip, NDArray[np.uint8] | None]:
    """Read the sampled frames of a dive and their masks.

    Args:
        dive: The dive.
        geometry: How pictures are brought to size.
        frame_size: Side of the square that the network sees, pixels.
        timeout_s: Most seconds that a video may take to decode; None for no limit.

    Returns:
        The clip, and uint8 [96, height, width] of 0 and 1 of the same size, or None where the dive has no masks.

    Raises:
        VideoError: Frames or masks cannot be read.
    """
    if dive.frames is None:
        clip = read_clip(dive.video, geometry=geometry, frame_size=frame_size, timeout_s=timeout_s)
    else:
        clip = _read_range(dive.video, dive.frames, geometry, frame_size)
    if dive.mask is None:
        return clip, None
    # Of the frames' size, because masks may be stored smaller than the video.
    return clip, read_masks(dive.mask, clip.source_frames, geometry=geometry, size=clip.frames.shape[1:3])


def _read_range(folder: Path, frames: FrameRange, geometry: Literal["fit", "squeeze"], frame_size: int) -> Clip:
    """Read a dive from the pictures of an untrimmed video, of which there may be hundreds of thousands."""
    indices = sample_indices(0, len(frames) - 1)
    repeats = check_enough(indices, str(folder))
    distinct, places = np.unique(indices, return_inverse=True)
    scaled = [_read_picture(frames.picture(folder, int(index)), geometry, frame_size) for index in distinct]
    if len({picture.shape for picture in scaled}) > 1:
        raise VideoError(f"The pictures of frames {frames.first} to {frames.last} differ in shape.", where=folder)
    notes = (repeats,) if repeats else ()
    return Clip(np.stack(scaled)[places], indices, ASSUMED_FPS, str(folder), "frames", notes)


def _read_picture(file: Path, geometry: Literal["fit", "squeeze"], frame_size: int) -> NDArray[np.uint8]:
    try:
        with Image.open(file) as image:
            return scale_frame(np.asarray(image.convert("RGB")), geometry, frame_size)
    except FileNotFoundError:
        raise VideoError("This frame of the dive is missing.", where=file) from None
    except _UNREADABLE as error:
        raise VideoError("The image is broken and cannot be decoded.", where=file) from error
