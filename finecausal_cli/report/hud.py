"""The strip over a played dive: which stage it is, where in the clip, and how the score has come together so far."""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from finecausal_cli.report.rounding import hundredths_that_add_up, signed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from finecausal_cli.assess.assessment import Assessment

Colour = tuple[int, int, int]

# Okabe and Ito's sky blue, orange and reddish purple (lightened): told apart by everybody, on water and on black.
STAGE_COLOURS: Final[tuple[Colour, Colour, Colour]] = ((86, 180, 233), (240, 170, 20), (235, 130, 190))
WHITE: Final[Colour] = (255, 255, 255)
_GREY: Final[Colour] = (170, 170, 170)

_SHADE = 0.32
"""How much of the picture shines through the strip."""

_UNPLAYED = 0.4
"""Brightness of the part of the timeline that is still to come."""

_LEAST_TEXT = 11.0
_TEXT_SHARE = 0.016
"""Letters are this many pixels high at least, and grow by this share of the short side: 15 at 256, 28 at 1080."""

_TIMELINE_SHARE = 0.6
"""Share of the strip's width for the timeline; the rest is for the points."""

_MOST_HEIGHT_SHARE = 0.3
"""A strip higher than this share of the picture would hide the dive; it goes without its line of text."""


class _Layout(NamedTuple):
    """Where things are in the strip, in pixels."""

    text: int
    gap: int
    bar: int
    height: int
    has_text: bool


class Hud:
    """A strip along the top or the bottom of every frame.

    The timeline shows the stages in their colours, with a cursor. Beside it, from the exemplars' mean score (the white
    line), each stage that has begun adds its points to the left or to the right; the network judges whole stages, so
    the sum moves at their borders, not within.

    Args:
        assessment: The verdict.
        borders: First frame played of each stage, and the number of frames played: 0 <= ... <= last.
        size: Height and width of the frames in pixels.
    """

    def __init__(self, assessment: Assessment, borders: Sequence[int], size: tuple[int, int]) -> None:
        self._names = [stage.name for stage in assessment.stages]
        contributions = [stage.contribution for stage in assessment.stages]
        start, *parts = hundredths_that_add_up([assessment.exemplar_score, *contributions], assessment.score)
        self._parts = parts
        self._sums = list(accumulate([start, *parts]))
        self._borders = list(borders)
        self._width = size[1]
        self._layout = _lay_out(size)
        self._font = ImageFont.load_default(self._layout.text)

    @property
    def height(self) -> int:
        """Height of the strip in pixels."""
        return self._layout.height

    def stage_at(self, frame: int) -> int:
        """Return which stage (0, 1 or 2) a frame played belongs to."""
        return min(max(bisect_right(self._borders, frame) - 1, 0), len(self._names) - 1)

    def draw(self, strip: NDArray[np.uint8], frame: int, time_s: float) -> None:
        """Draw the strip for one frame onto the part of the picture that it covers.

        Args:
            strip: uint8 [``height``, width, 3], RGB; changed in place.
            frame: Which frame is played, 0 for the first.
            time_s: When that is in the source, seconds.
        """
        image = Image.fromarray((strip * _SHADE).astype(np.uint8))
        pen = ImageDraw.Draw(image)
        layout, stage = self._layout, self.stage_at(frame)
        left, right = layout.gap, self._width - 1 - layout.gap
        middle = left + round((right - left) * _TIMELINE_SHARE)
        top = layout.height - layout.gap - layout.bar
        self._draw_timeline(pen, (left, top, middle, top + layout.bar - 1), frame)
        self._draw_points(pen, (middle + 3 * layout.gap, top, right, top + layout.bar - 1), stage)
        if layout.has_text:
            self._write(pen, (left, right), stage, time_s)
        strip[:] = np.asarray(image)

    def _write(self, pen: ImageDraw.ImageDraw, sides: tuple[int, int], stage: int, time_s: float) -> None:
        left, right = sides
        base = self._layout.gap + self._layout.text
        room = right - left
        name, points, total = self._names[stage], signed(self._parts[stage]), f"{self._sums[stage + 1]:.2f}"
        for said in (f"{points} points, so far {total}", f"{points}, so far {total}", f"{points} = {total}", total):
            used = pen.textlength(f"{name}   {said}", self._font)
            if used <= room:
                pen.text((right, base), said, WHITE, self._font, anchor="rs")
                break
        pen.text((left, base), name, STAGE_COLOURS[stage], self._font, anchor="ls")
        clock = f"{time_s:.2f} s"
        beside = pen.textlength(f"{name}  ", self._font)
        if used + pen.textlength(f"   {clock}", self._font) <= room:
            pen.text((left + beside, base), clock, _GREY, self._font, anchor="ls")

    def _draw_timeline(self, pen: ImageDraw.ImageDraw, box: tuple[int, int, int, int], frame: int) -> None:
        left, top, right, bottom = box
        frames = self._borders[-1]

        def x(place: float) -> int:
            return left + round((right - left) * place / frames)

        now = x(frame + 0.5)
        line = max(1, self._layout.gap // 3)
        for colour, begin, end in zip(STAGE_COLOURS, self._borders[:-1], self._borders[1:], strict=True):
            if end <= begin:
                continue
            dim = tuple(round(_UNPLAYED * part) for part in colour)
            pen.rectangle((x(begin), top, x(end), bottom), dim)
            if now > x(begin):
                pen.rectangle((x(begin), top, min(x(end), now), bottom), colour)
        for border in self._borders[1:-1]:
            pen.rectangle((x(border) - line // 2, top, x(border) - line // 2 + line - 1, bottom), (0, 0, 0))
        pen.rectangle((now - line - 1, top - 2 * line, now + line + 1, bottom + 2 * line), WHITE, (0, 0, 0))

    def _draw_points(self, pen: ImageDraw.ImageDraw, box: tuple[int, int, int, int], stage: int) -> None:
        left, top, right, bottom = box
        low, high = min(self._sums), max(self._sums)
        span = max(high - low, 0.01)
        rows = len(self._parts)
        row = (bottom + 1 - top) / rows

        def x(points: float) -> int:
            return left + round((right - left) * (points - low) / span)

        pen.line((x(self._sums[0]), top, x(self._sums[0]), bottom), WHITE, max(1, self._layout.gap // 4))
        for place in range(stage + 1):
            begin, end = sorted((x(self._sums[place]), x(self._sums[place + 1])))
            above, below = round(top + place * row), round(top + (place + 1) * row) - 1
            pen.rectangle((begin, above, max(end, begin + 1), max(above, below - (row > 2))), STAGE_COLOURS[place])


def _lay_out(size: tuple[int, int]) -> _Layout:
    short = min(size)
    text = round(_LEAST_TEXT + _TEXT_SHARE * short)
    gap = max(2, round(text / 4))
    bar = max(3, 3 * round(text / 4))
    height = gap + text + gap + bar + gap
    has_text = height <= _MOST_HEIGHT_SHARE * size[0]
    if not has_text:
        height = min(gap + bar + gap, size[0])
    return _Layout(text, gap, bar, height, has_text)
