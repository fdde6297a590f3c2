"""A contact sheet, so that a person can look at dives."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Sequence

Frame = NDArray[np.uint8]


def contact_sheet(rows: Sequence[tuple[str, Sequence[Frame]]], columns: int = 8) -> Frame:
    """Return a picture with one row of evenly spaced frames for each (caption, frames)."""
    strips = []
    for caption, frames in rows:
        chosen = [frames[k] for k in np.linspace(0, len(frames) - 1, columns).astype(int)]
        strip = np.concatenate(chosen, axis=1).copy()
        cv2.putText(strip, caption, (8, 24), cv2.FONT_HERSHEY_SIMPLEX, 0.7, (0, 0, 0), 4, cv2.LINE_AA)
        cv2.putText(strip, caption, (8, 24), cv2.FONT_HERSHEY_SIMPLEX, 0.7, (255, 255, 255), 1, cv2.LINE_AA)
        strips.append(strip)
    return np.concatenate(strips, axis=0)


def save_picture(path: str | os.PathLike[str], picture: Frame) -> None:
    """Write an RGB picture; the name's end decides the format."""
    cv2.imwrite(os.fspath(path), picture[..., ::-1])
