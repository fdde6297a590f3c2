"""The far layer's geometry: a picture in screen metres."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from finecausal_cli.simulator.styles import Colour

Picture = NDArray[np.uint8]

FAR_RATE = 30
"""Pixels per metre of the far layer."""

FAR_LEFT_M, FAR_RIGHT_M, FAR_BOTTOM_M, FAR_TOP_M = -16.0, 18.0, 0.0, 15.0
"""Extent of the far layer in screen metres."""


def row(height_m: float) -> int:
    """Return the row of the far layer at a height."""
    return round((FAR_TOP_M - height_m) * FAR_RATE)


def scaled(colour: Colour, factor: float) -> Colour:
    """Return a colour made brighter or darker."""
    red, green, blue = (min(255, int(channel * factor)) for channel in colour)
    return red, green, blue
