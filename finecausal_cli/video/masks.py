"""Masks of the athlete, as they are used to cut the athlete out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MARGIN = 1 / 32
"""Width that is added around the athlete, over the side of the square: masks cut fingers and toes off."""


def widen(masks: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Dilate masks [F, height, width] by a 32nd of their height."""
    margin = max(1, round(masks.shape[1] * _MARGIN))
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * margin + 1, 2 * margin + 1))
    return np.stack([cv2.dilate(mask.astype(np.uint8), disc) for mask in masks]).astype(bool)
