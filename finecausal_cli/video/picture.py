"""Bring one picture, or one mask, to the working size of the network."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

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

_FEWEST_HALVED = 2
"""Least side of a halved picture; a smaller one has pixels that touch both borders at once."""

_ONE_BITS = 22
"""Pillow weighs with integers in which 2 ** 22 is one."""

_NEAR, _FAR = (round(share / 7 * 2**_ONE_BITS) for share in (3, 1))
"""Weights, to Pillow, of the two nearest and of the third pixel, for a pixel of the border of a halved picture."""

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
    """Scale one picture to the working size: bilinear with antialiasing, exactly Pillow's (so the released code's).

    Args:
        frame: uint8 [height, width, 3], RGB, upright.
        geometry: ``fit`` or ``squeeze``.
        frame_size: Side of the crop in pixels.
        sample_aspect: Width of one pixel of the picture over its height.

    Returns:
        uint8 [working height, working width, 3].
    """
    height, width, _ = frame.shape
    return resize(frame, working_size(height, width, geometry, frame_size, sample_aspect))


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
    scaled = resize(mask, working_size(height, width, geometry, frame_size, sample_aspect))
    return (scaled >= FOREGROUND).astype(np.uint8)


def resize(picture: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Scale uint8 [height, width] or [height, width, 3] to ``size`` (height, width): bilinear with antialiasing."""
    height, width = size
    if picture.shape[:2] == (2 * height, 2 * width) and min(size) >= _FEWEST_HALVED:
        return _halve(picture)
    scaled = Image.fromarray(np.ascontiguousarray(picture)).resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(scaled)


def _halve(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Scale uint8 [height, width] or [height, width, 3] to half its size as Pillow would, to the bit, at half the cost.

    A video 256 pixels high, the usual size of a stored dive, is brought to half by the default ``fit``. There all
    pixels but those of the border have the same weights, 1, 3, 3 and 1 eighths, so that whole planes are added at once.
    """
    if picture.ndim == 2:
        return _halve_plane(picture).astype(np.uint8)
    halved = np.empty((picture.shape[0] // 2, picture.shape[1] // 2, picture.shape[2]), np.uint8)
    for channel in range(picture.shape[2]):
        halved[..., channel] = _halve_plane(picture[..., channel])
    return halved


def _halve_plane(plane: NDArray[np.uint8]) -> NDArray[np.uint16]:
    """Halve the width, round to whole numbers, then halve the height: the order in which Pillow does it."""
    pairs = np.ascontiguousarray(plane).view("<u2")
    narrow = _merge(pairs & np.uint16(0xFF), pairs >> np.uint16(8), axis=1)
    return _merge(narrow[0::2], narrow[1::2], axis=0)


def _merge(even: NDArray[np.uint16], odd: NDArray[np.uint16], axis: int) -> NDArray[np.uint16]:
    """Weigh 1, 3, 3, 1 along an axis of which the even and the odd places are given; the border as Pillow does."""
    merged = even + odd
    merged *= np.uint16(3)
    inner, left, right = (np.moveaxis(array, axis, 0) for array in (merged, even, odd))
    inner[1:] += right[:-1]
    inner[:-1] += left[1:]
    inner += np.uint16(4)
    inner >>= np.uint16(3)
    for border, near, other, far in ((0, left[0], right[0], left[1]), (-1, left[-1], right[-1], right[-2])):
        total = np.uint32(_NEAR) * near + np.uint32(_NEAR) * other + np.uint32(_FAR) * far
        inner[border] = (total + np.uint32(1 << (_ONE_BITS - 1))) >> np.uint32(_ONE_BITS)
    return merged
