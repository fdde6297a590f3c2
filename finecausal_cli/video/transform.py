"""Clip -> tensor: crop to the square the network sees, mirror, normalise. Frames and masks alike."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

MEAN = (0.485, 0.456, 0.406)
"""Mean of red, green and blue over ImageNet, in 0 to 1."""

STD = (0.229, 0.224, 0.225)
"""Standard deviation of red, green and blue over ImageNet, in 0 to 1."""

Offset = tuple[int, int]
"""Top and left of a crop, in pixels."""


def centre_offset(height: int, width: int, frame_size: int) -> Offset:
    """Return the offset of the crop in the middle (evaluation).

    Raises:
        ValueError: The picture is smaller than the crop.
    """
    _check_fits(height, width, frame_size)
    return (height - frame_size) // 2, (width - frame_size) // 2


def random_offset(height: int, width: int, frame_size: int, rng: np.random.Generator) -> Offset:
    """Draw the offset of a crop (training). Give the same one to the frames and to the masks of a dive.

    Raises:
        ValueError: The picture is smaller than the crop.
    """
    _check_fits(height, width, frame_size)
    return int(rng.integers(height - frame_size + 1)), int(rng.integers(width - frame_size + 1))


def crop(
    pictures: NDArray[Any], frame_size: int, offset: Offset | np.random.Generator | str = "centre"
) -> NDArray[Any]:
    """Cut one square from every picture of a clip.

    Args:
        pictures: [96, height, width, 3] frames or [96, height, width] masks.
        frame_size: Side of the square in pixels.
        offset: Its top and left, ``"centre"``, or a generator to draw them with.

    Returns:
        A view, [96, frame_size, frame_size, 3] or [96, frame_size, frame_size].

    Raises:
        ValueError: The square does not fit into the picture there, or ``offset`` is another word.
    """
    height, width = pictures.shape[1:3]
    if isinstance(offset, np.random.Generator):
        offset = random_offset(height, width, frame_size, offset)
    elif isinstance(offset, str):
        if offset != "centre":
            raise ValueError(f"A crop lies at an offset or in the centre, not at {offset!r}.")
        offset = centre_offset(height, width, frame_size)
    top, left = offset
    if not (0 <= top <= height - frame_size and 0 <= left <= width - frame_size):
        raise ValueError(f"A crop of {frame_size} at {offset} leaves a picture of {height} x {width}.")
    return pictures[:, top : top + frame_size, left : left + frame_size]


def mirror(pictures: NDArray[Any]) -> NDArray[Any]:
    """Swap left and right of every picture: [96, height, width, 3] frames or [96, height, width] masks; a view."""
    return pictures[:, :, ::-1]


def normalise(frames: NDArray[np.uint8] | torch.Tensor) -> torch.Tensor:
    """Turn pixels into what the network reads: channels first, in units of ImageNet's spread around its mean.

    Args:
        frames: uint8 [..., 96, size, size, 3], RGB.

    Returns:
        float32 [..., 3, 96, size, size], contiguous, on the device of ``frames``.

    Raises:
        ValueError: The pixels are not uint8.
    """
    import torch  # reading a clip must not wait for torch

    pixels = frames if isinstance(frames, torch.Tensor) else torch.from_numpy(np.array(frames))
    if pixels.dtype != torch.uint8:
        raise ValueError(f"Pixels are uint8 from 0 to 255, not {pixels.dtype}.")
    pixels = pixels.movedim(-1, -4).to(torch.float32, memory_format=torch.contiguous_format)
    mean, std = (torch.tensor(values, device=pixels.device).view(3, 1, 1, 1) for values in (MEAN, STD))
    return pixels.div_(255).sub_(mean).div_(std)


def _check_fits(height: int, width: int, frame_size: int) -> None:
    if min(height, width) < frame_size:
        raise ValueError(f"A crop of {frame_size} does not fit into a picture of {height} x {width}.")
