"""Draw the athlete on a picture: outline, skeleton, and the path of the flight so far."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import cv2
import numpy as np

from finecausal_cli.assess.athlete_track import SEEN, largest_part, path_until
from finecausal_cli.athlete.skeleton import BONES, JOINTS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from finecausal_cli.assess.athlete_track import AthleteTrack

Colour = tuple[int, int, int]

_LINE_SHARE: Final = 1 / 320
"""Width of a line over the short side of the picture."""

_SURE: Final = 0.3
"""Confidence from which on a joint is drawn."""

_SUBPIXELS: Final = 3
"""Bits after the point in what OpenCV is told."""

_LEFT: Final[Colour] = (120, 220, 120)
_RIGHT: Final[Colour] = (250, 150, 120)
_TRUNK: Final[Colour] = (255, 255, 255)
_PATH: Final[Colour] = (255, 238, 0)


def draw_athlete(picture: NDArray[np.uint8], track: AthleteTrack, sample: int, time_s: float, colour: Colour) -> bool:
    """Draw what is known of the athlete onto a picture.

    Args:
        picture: uint8 [height, width, 3], RGB, the decoded upright picture; changed in place.
        track: The athlete in the sampled frames.
        sample: Which sampled frame is nearest.
        time_s: When the picture is shown, seconds of the file.
        colour: Of the outline.

    Returns:
        Whether there is an outline among it.
    """
    line = max(1, round(min(picture.shape[:2]) * _LINE_SHARE))
    _draw_path(picture, track, time_s, line)
    frame = track.frames[sample]
    if track.outlines is None or track.windows is None or frame.confidence < SEEN:
        return False
    _draw_outline(picture, track.outlines[sample], track.windows[sample], colour, line)
    draw_skeleton(picture, frame.joints, line)
    return True


def draw_skeleton(picture: NDArray[np.uint8], joints: dict[str, tuple[float, float, float]], line: int) -> None:
    """Draw the bones between joints that are sure enough; left green, right orange, the trunk white."""
    for begin, end in BONES:
        ends = [joints.get(JOINTS[place]) for place in (begin, end)]
        if any(one is None or one[2] < _SURE for one in ends):
            continue
        a, b = ((round(one[0] * 2**_SUBPIXELS), round(one[1] * 2**_SUBPIXELS)) for one in ends if one is not None)
        side = JOINTS[end][-2:]
        colour = _LEFT if side == "_l" else _RIGHT if side == "_r" else _TRUNK
        cv2.line(picture, a, b, (0, 0, 0), line + 2, cv2.LINE_AA, _SUBPIXELS)
        cv2.line(picture, a, b, colour, line, cv2.LINE_AA, _SUBPIXELS)


def _draw_outline(
    picture: NDArray[np.uint8], outline: NDArray[np.float32], window: NDArray[np.float64], colour: Colour, line: int
) -> None:
    x, y, side = (float(value) for value in window)
    pixels = max(2, round(side))
    athlete = largest_part(outline)
    scaled = cv2.resize(np.where(athlete, outline, 0), (pixels, pixels), interpolation=cv2.INTER_LINEAR)
    corner = (round(x - side / 2), round(y - side / 2))
    found, _ = cv2.findContours(
        (scaled >= 0.5).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE, offset=corner
    )
    cv2.polylines(picture, found, isClosed=True, color=(0, 0, 0), thickness=line + 2, lineType=cv2.LINE_AA)
    cv2.polylines(picture, found, isClosed=True, color=colour, thickness=line, lineType=cv2.LINE_AA)


def _draw_path(picture: NDArray[np.uint8], track: AthleteTrack, time_s: float, line: int) -> None:
    if track.flight is None:
        return
    points = path_until(track.flight, time_s)
    if len(points) < 2:
        return
    whole = np.rint(points * 2**_SUBPIXELS).astype(np.int32)[:, None]
    cv2.polylines(
        picture, [whole], isClosed=False, color=(0, 0, 0), thickness=line + 2, lineType=cv2.LINE_AA, shift=_SUBPIXELS
    )
    cv2.polylines(picture, [whole], isClosed=False, color=_PATH, thickness=line, lineType=cv2.LINE_AA, shift=_SUBPIXELS)
