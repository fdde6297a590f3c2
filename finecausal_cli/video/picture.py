"""Bring one picture, or one mask, to the working size of the network."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import cv2
import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from numpy.typing import NDArray

Geometry = Literal["fit", "squeeze"]
"""How a picture is brought to size; part of the configuration of the weights."""

FRAME_SIZE = 112
"""Default side, in pixels, of the square that the network sees."""

_FIT_SHORT_SIDE = 128 / 112
"""Short side of the working picture over the crop, in ``fit``."""

_SQUEEZE_HEIGHT = 200 / 112
"""Height of the working picture over the crop, in ``squeeze``: the released code resizes to 112 x 200."""

FOREGROUND = 128
"""Least grey value of the athlete in a mask: half of 255, rounded up."""


def working_size(
    height: int, width: int, geometry: Geometry, frame_size: int = FRAME_SIZE, sample_aspect: float = 1.0
) -> tuple[int, int]:
    """Return the size to which a picture is scaled before it is cropped.

    ``fit`` keeps the aspect of the scene and brings the short side to 128/112 of the crop. ``squeeze`` makes every
    picture as wide as the crop and 200/112 as high, whatever its aspect, as the released code does.

    Args:
        height: Height of the upright picture in pixels.
        width: Width of the upright picture in pixels.
        geometry: ``fit`` or ``squeeze``.
        frame_size: Side of the crop in pixels.
        sample_aspect: Width of one pixel of the picture over its height.

    Returns:
        Height and width in pixels.
    """
    if geometry == "squeeze":
        return round(frame_size * _SQUEEZE_HEIGHT), frame_size
    short_side = round(frame_size * _FIT_SHORT_SIDE)
    aspect = width * sample_aspect / height
    return (short_side, round(short_side * aspect)) if aspect >= 1 else (round(short_side / aspect), short_side)


def scale_frame(
    frame: NDArray[np.uint8], geometry: Geometry, frame_size: int = FRAME_SIZE, sample_aspect: float = 1.0
) -> NDArray[np.uint8]:
    """Scale one picture to the working size; see `resize`.

    Args:
        frame: uint8 [height, width, 3], RGB, upright.
        geometry: ``fit`` or ``squeeze``.
        frame_size: Side of the crop in pixels.
        sample_aspect: Width of one pixel of the picture over its height.

    Returns:
        uint8 [working height, working width, 3].
    """
    height, width, _ = frame.shape
    return resize(frame, working_size(height, width, geometry, frame_size, sample_aspect), geometry)


def scale_mask(
    mask: NDArray[np.uint8], geometry: Geometry, frame_size: int = FRAME_SIZE, sample_aspect: float = 1.0
) -> NDArray[np.uint8]:
    """Scale a foreground mask as its picture is scaled, and decide each pixel.

    Args:
        mask: uint8 [height, width], 0 to 255, the athlete white.
        geometry: ``fit`` or ``squeeze``.
        frame_size: Side of the crop in pixels.
        sample_aspect: Width of one pixel of the picture over its height.

    Returns:
        uint8 [working height, working width], 1 where at least half of the pixel is athlete, else 0.
    """
    height, width = mask.shape
    scaled = resize(mask, working_size(height, width, geometry, frame_size, sample_aspect), geometry)
    return (scaled >= FOREGROUND).astype(np.uint8)


def resize(picture: NDArray[np.uint8], size: tuple[int, int], geometry: Geometry) -> NDArray[np.uint8]:
    """Scale uint8 [height, width] or [height, width, 3] to ``size`` (height, width); shrinking counts every pixel.

    ``fit`` takes the mean of the area that a pixel covers, which costs next to nothing; ``squeeze`` Pillow's bilinear
    filter with antialiasing, as the released code does.
    """
    height, width = size
    if geometry == "squeeze":
        scaled = Image.fromarray(np.ascontiguousarray(picture)).resize((width, height), Image.Resampling.BILINEAR)
        return np.asarray(scaled)
    shrinks = height <= picture.shape[0] and width <= picture.shape[1]
    way = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(picture, (width, height), interpolation=way), np.uint8)
