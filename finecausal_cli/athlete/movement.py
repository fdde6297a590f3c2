"""What moves before the still world, in the squares that go with a body.

A dark athlete before a dark wall, or one in the blur of an old clip, is hardly seen in one picture and plainly in how
it differs from those shortly before and after. The squares go with the body, so the still world moves in them; by the
camera's motion each neighbour is laid where it belongs before it is compared.

Shapes: N squares, S their side. Needs no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOVEMENT_CHANNELS: Final = 4
"""How much each pixel differs from the picture before and after, grey values; and where these show the place, 255."""

LAG_S: Final = 0.07
"""Real time between a picture and those that it is compared with: a body that falls has left its place by then."""

SHORTEST_LAG_S, LONGEST_LAG_S = 0.02, 0.15
"""Nearest and farthest picture that is compared."""

_KERNEL: Final = np.ones((3, 3), np.uint8)
"""Differences within a pixel's neighbours are none: the camera's motion is known to about a pixel."""


def neighbours(real_times_s: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return which pictures each is compared with: int64 [N, 2], before and after, -1 where there is none.

    Args:
        real_times_s: float64 [N], when each was taken, real time, rising.
    """
    found = np.full((len(real_times_s), 2), -1, np.int64)
    if not len(found):
        return found
    for side, sign in enumerate((-1, 1)):
        lag_s = sign * (real_times_s[None] - real_times_s[:, None])
        fits = (lag_s >= SHORTEST_LAG_S) & (lag_s <= LONGEST_LAG_S)
        away = np.where(fits, np.abs(lag_s - LAG_S), np.inf)
        found[:, side] = np.where(fits.any(axis=1), away.argmin(axis=1), -1)
    return found


def to_square(window: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    """Return the map [3, 3] from a picture's pixels to those of a square (``tracking.crop_window``) cut out of it.

    Args:
        window: Centre x, centre y and side of the square, pixels of the picture.
        size: Its side in its own pixels.
    """
    x, y, side = (float(value) for value in window)
    scale = size / side
    # A pixel's middle lies at its number + 0.5.
    half = np.array([0.5 * scale - 0.5] * 2)
    shift = size / 2 - scale * np.array([x, y]) + half
    return np.array([[scale, 0, shift[0]], [0, scale, shift[1]], [0, 0, 1.0]])


def moved_between(
    here: NDArray[np.uint8], other: NDArray[np.uint8], matrix: NDArray[np.float64]
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Compare a picture with another of the same still world.

    Args:
        here: uint8 [S, S, 3].
        other: uint8 [R, R, 3].
        matrix: float64 [3, 3], from the pixels of the other to where the same places of the still world lie here.

    Returns:
        uint8 [S, S], how much each pixel differs, in the colour that differs most; and uint8 [S, S], 255 where the
        other shows the place, elsewhere both are 0.
    """
    size, affine = here.shape[1::-1], matrix[:2]
    there = cv2.warpAffine(other, affine, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    shown = np.full(other.shape[:2], 255, np.uint8)
    known = np.asarray(cv2.warpAffine(shown, affine, size, flags=cv2.INTER_NEAREST), np.uint8)
    # Beyond the darkest and the brightest of the pixels around.
    over = cv2.subtract(here, cv2.dilate(there, _KERNEL))
    under = cv2.subtract(cv2.erode(there, _KERNEL), here)
    red, green, blue = cv2.split(cv2.max(over, under))
    differs = cv2.max(cv2.max(red, green), blue)
    return np.asarray(cv2.bitwise_and(differs, known), np.uint8), known


def read_movement(
    pictures: NDArray[np.uint8],
    windows: NDArray[np.float64],
    to_picture: NDArray[np.float64],
    real_times_s: NDArray[np.float64],
) -> NDArray[np.uint8]:
    """Return what moves in squares: uint8 [N, S, S, `MOVEMENT_CHANNELS`].

    Args:
        pictures: uint8 [N, S, S, 3], RGB, the squares.
        windows: float64 [N, 3], where each was cut: centre x, centre y and side, pixels of the picture.
        to_picture: float64 [N, 3, 3], from the still world to the picture at each time (``Camera.at_times``).
        real_times_s: float64 [N], when each was taken, real time, rising.
    """
    size = pictures.shape[1]
    to_squares = [to_square(window, size) @ camera for window, camera in zip(windows, to_picture, strict=True)]
    moved = np.zeros((*pictures.shape[:3], MOVEMENT_CHANNELS), np.uint8)
    for index, others in enumerate(neighbours(real_times_s)):
        for side, other in enumerate(others.tolist()):
            if other >= 0:
                matrix = to_squares[index] @ np.linalg.inv(to_squares[other])
                moved[index, ..., side], moved[index, ..., 2 + side] = moved_between(
                    pictures[index], pictures[other], matrix
                )
    return moved
