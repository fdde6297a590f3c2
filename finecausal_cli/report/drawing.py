"""Draw onto pictures: the athlete's outline, skeleton and path, and lines of text that must be read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from finecausal_cli.athlete import BONES, JOINTS
from finecausal_cli.scoring.athlete_track import SEEN, largest_part, path_until, to_picture

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from finecausal_cli.scoring.athlete_track import AthleteTrack

Colour = tuple[int, int, int]

WHITE: Final[Colour] = (255, 255, 255)

SHADE: Final = 0.32
"""Brightness of the picture behind text."""

_LEAST_TEXT = 11.0
_TEXT_SHARE = 0.016
"""Letters are this many pixels high at least, and grow by this share of the short side: 15 at 256, 28 at 1080."""


def text_size(size: tuple[int, int]) -> int:
    """Return the height of letters, pixels, for a picture of this height and width."""
    return round(_LEAST_TEXT + _TEXT_SHARE * min(size))


# Lines of text along an edge of every frame.

_MOST_CAPTION_SHARE = 0.2
"""Share of the picture's height that a caption may take; smaller letters are used, 8 pixels at least."""

_LEAST_CAPTION_TEXT = 8


class Caption:
    """Text along the top or the bottom of every frame, wrapped to the width.

    Args:
        lines: What it says; without any, nothing is drawn.
        size: Height and width of the frames, pixels.
    """

    def __init__(self, lines: Sequence[str], size: tuple[int, int]) -> None:
        self._letters: NDArray[np.uint8] | None = None
        text = 3 * text_size(size) // 4 if lines else 0
        while text > 0 and self._letters is None:
            drawn = self._drawn(lines, size[1], text)
            if len(drawn) <= _MOST_CAPTION_SHARE * size[0] or text <= _LEAST_CAPTION_TEXT:
                self._letters = drawn[: size[0]]
            text -= 1

    @staticmethod
    def _drawn(lines: Sequence[str], width: int, text: int) -> NDArray[np.uint8]:
        font = ImageFont.load_default(text)
        pen = ImageDraw.Draw(Image.new("L", (1, 1)))
        wrapped: list[str] = []
        for line in lines:
            wrapped.append("")
            for word in line.split():
                longer = f"{wrapped[-1]} {word}".strip()
                if pen.textlength(longer, font) > width - text:
                    wrapped.append(word)
                else:
                    wrapped[-1] = longer
        step = round(1.3 * text)
        image = Image.new("L", (width, step * len(wrapped) + text // 2))
        pen = ImageDraw.Draw(image)
        for row, line in enumerate(wrapped):
            pen.text((text // 2, step * (row + 1)), line, 255, font, anchor="ls")
        return np.asarray(image, np.uint8)

    @property
    def lines(self) -> NDArray[np.uint8] | None:
        """The letters, uint8 [height, width], white on black; None where nothing is said."""
        return self._letters

    def draw(self, picture: NDArray[np.uint8], *, at_top: bool) -> None:
        """Draw it onto a picture, uint8 [height, width, 3], in place."""
        if self._letters is None:
            return
        rows = slice(0, len(self._letters)) if at_top else slice(len(picture) - len(self._letters), len(picture))
        share = self._letters[..., None] / 255.0
        picture[rows] = (SHADE * (1 - share) * picture[rows] + share * np.array(WHITE)).astype(np.uint8)


# The athlete drawn on a picture: outline, skeleton, and the path of the flight so far.

_BONE_SHARE: Final = 1 / 320
"""Width of a line over the short side of the picture."""

_SURE: Final = 0.3
"""Confidence from which on a joint is drawn."""

_SUBPIXELS: Final = 3
"""Fractional bits of OpenCV coordinates."""

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

    def transform(self, points: NDArray[np.float64]) -> NDArray[np.int32]:
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
    *,
    skeleton: bool = True,
) -> bool:
    """Draw outline, skeleton and path of the athlete onto a picture.

    Args:
        picture: uint8 [height, width, 3], RGB; changed in place.
        track: The athlete in the sampled frames.
        sample: Which sampled frame is nearest.
        time_s: When the picture is shown, seconds of the file.
        colour: Of the outline.
        excerpt: What the picture shows of the source's; all of it at its own size when absent.
        skeleton: Draw the bones, too.

    Returns:
        Whether there is an outline among it.
    """
    where = excerpt or Excerpt()
    line = max(1, round(min(picture.shape[:2]) * _BONE_SHARE))
    draw_path(picture, track, time_s, line, where)
    frame = track.frames[sample]
    if track.outlines is None or track.windows is None or frame.confidence < SEEN:
        return False
    _draw_lines(picture, trace(track.outlines[sample], track.windows[sample], where), colour, line, is_closed=True)
    if skeleton:
        draw_skeleton(picture, frame.joints, line, where)
    return True


def draw_path(picture: NDArray[np.uint8], track: AthleteTrack, time_s: float, line: int, where: Excerpt) -> None:
    """Draw the path of the flight so far, where it is known."""
    if track.flight is not None:
        path = path_until(track.flight, time_s)
        if len(path) > 1:
            _draw_lines(picture, [where.transform(path)[:, None]], _PATH, line, is_closed=False)


def draw_skeleton(
    picture: NDArray[np.uint8], joints: dict[str, tuple[float, float, float]], line: int, where: Excerpt
) -> None:
    """Draw the bones between confident joints; left green, right orange, trunk white."""
    for begin, end in BONES:
        ends = [joints.get(JOINTS[index]) for index in (begin, end)]
        points = [joint[:2] for joint in ends if joint is not None and joint[2] >= _SURE]
        if len(points) == len(ends):
            side = JOINTS[end][-2:]
            colour = _LEFT if side == "_l" else _RIGHT if side == "_r" else _TRUNK
            _draw_lines(picture, [where.transform(np.array(points))[:, None]], colour, line, is_closed=False)


def trace(outline: NDArray[np.float32], window: NDArray[np.float64], where: Excerpt) -> list[NDArray[np.int32]]:
    """Return the border of the athlete as closed lines for OpenCV.

    Args:
        outline: float32 [h, h], probability of athlete over the window.
        window: Centre x, centre y and side, pixels of the source picture.
        where: What is drawn on.
    """
    fine = 4 * outline.shape[0]
    scaled = cv2.resize(np.where(largest_part(outline), outline, 0), (fine, fine), interpolation=cv2.INTER_LINEAR)
    contours, _ = cv2.findContours((scaled >= 0.5).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return [where.transform(to_picture(np.asarray(contour, np.float64) + 0.5, window, fine)) for contour in contours]


def _draw_lines(
    picture: NDArray[np.uint8], lines: list[NDArray[np.int32]], colour: Colour, width: int, *, is_closed: bool
) -> None:
    # A dark line below a light one shows on water, on skin and on a white board.
    for shade, thickness in (((0, 0, 0), width + 2), (colour, width)):
        cv2.polylines(picture, lines, is_closed, shade, thickness, cv2.LINE_AA, _SUBPIXELS)
