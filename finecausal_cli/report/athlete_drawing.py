"""Draw the athlete on a picture: outline, skeleton, and the path of the flight so far."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import cv2
import numpy as np

from finecausal_cli.assess.athlete_track import SEEN, largest_part, path_until, to_picture
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


@dataclass(frozen=True, slots=True)
class Excerpt:
    """Which part of the source picture a drawn picture shows, and how large.

    Attributes:
        left: Of the part, pixels of the source picture.
        top: Of the part.
        across: Pixels drawn for one of the source, along x.
        down: The same along y.
    """

    left: float = 0.0
    top: float = 0.0
    across: float = 1.0
    down: float = 1.0

    def place(self, points: NDArray[np.float64]) -> NDArray[np.int32]:
        """Bring points [..., 2] of the source picture into the drawn one, in fractions of a pixel for OpenCV."""
        drawn = (np.asarray(points, np.float64) - (self.left, self.top)) * (self.across, self.down)
        return np.rint(np.clip(drawn, -1e5, 1e5) * 2**_SUBPIXELS).astype(np.int32)


def draw_athlete(
    picture: NDArray[np.uint8],
    track: AthleteTrack,
    sample: int,
    time_s: float,
    colour: Colour,
    excerpt: Excerpt | None = None,
) -> bool:
    """Draw what is known of the athlete onto a picture.

    Args:
        picture: uint8 [height, width, 3], RGB; changed in place.
        track: The athlete in the sampled frames.
        sample: Which sampled frame is nearest.
        time_s: When the picture is shown, seconds of the file.
        colour: Of the outline.
        excerpt: What the picture shows of the source's; all of it at its own size when absent.

    Returns:
        Whether there is an outline among it.
    """
    where = excerpt or Excerpt()
    line = max(1, round(min(picture.shape[:2]) * _LINE_SHARE))
    if track.flight is not None:
        path = path_until(track.flight, time_s)
        if len(path) > 1:
            _draw_lines(picture, [where.place(path)[:, None]], _PATH, line, is_closed=False)
    frame = track.frames[sample]
    if track.outlines is None or track.windows is None or frame.confidence < SEEN:
        return False
    _draw_lines(picture, trace(track.outlines[sample], track.windows[sample], where), colour, line, is_closed=True)
    draw_skeleton(picture, frame.joints, line, where)
    return True


def draw_skeleton(
    picture: NDArray[np.uint8], joints: dict[str, tuple[float, float, float]], line: int, where: Excerpt
) -> None:
    """Draw the bones between joints that are sure enough; left green, right orange, the trunk white."""
    for begin, end in BONES:
        ends = [joints.get(JOINTS[place]) for place in (begin, end)]
        known = [one[:2] for one in ends if one is not None and one[2] >= _SURE]
        if len(known) == len(ends):
            side = JOINTS[end][-2:]
            colour = _LEFT if side == "_l" else _RIGHT if side == "_r" else _TRUNK
            _draw_lines(picture, [where.place(np.array(known))[:, None]], colour, line, is_closed=False)


def trace(outline: NDArray[np.float32], window: NDArray[np.float64], where: Excerpt) -> list[NDArray[np.int32]]:
    """Return the border of the athlete as closed lines for OpenCV.

    Args:
        outline: float32 [h, h], probability of athlete over the window.
        window: Centre x, centre y and side, pixels of the source picture.
        where: What is drawn on.
    """
    fine = 4 * outline.shape[0]
    scaled = cv2.resize(np.where(largest_part(outline), outline, 0), (fine, fine), interpolation=cv2.INTER_LINEAR)
    found, _ = cv2.findContours((scaled >= 0.5).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return [where.place(to_picture(np.asarray(one, np.float64) + 0.5, window, fine)) for one in found]


def _draw_lines(
    picture: NDArray[np.uint8], lines: list[NDArray[np.int32]], colour: Colour, width: int, *, is_closed: bool
) -> None:
    # A dark line below a light one shows on water, on skin and on a white board.
    for shade, thickness in (((0, 0, 0), width + 2), (colour, width)):
        cv2.polylines(picture, lines, is_closed, shade, thickness, cv2.LINE_AA, _SUBPIXELS)
