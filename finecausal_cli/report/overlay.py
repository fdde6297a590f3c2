"""Draw scores, stages and the athlete into pictures: the overlay video and strips of key frames."""

from __future__ import annotations

import base64
import io
from bisect import bisect_right
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Final, NamedTuple, get_args

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from finecausal_cli.errors import UsageError
from finecausal_cli.report.console import STAGE_WORDS, hundredths_that_add_up, progress_bar, signed
from finecausal_cli.report.drawing import SHADE, WHITE, Caption, Colour, Excerpt, draw_athlete, text_size
from finecausal_cli.report.explanation import time_code
from finecausal_cli.report.score import first_lines, interval_in_words
from finecausal_cli.scoring.background import cut_square
from finecausal_cli.scoring.results import StageName
from finecausal_cli.video.reader import open_footage
from finecausal_cli.video.writer import write_video

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from finecausal_cli.scoring.background import Evidence
    from finecausal_cli.scoring.comparison_results import ComparedDive
    from finecausal_cli.scoring.results import Assessment
    from finecausal_cli.video.reader import Footage


# The strip of the overlay: timeline, current stage and the running score.

# Okabe and Ito's sky blue, orange and reddish purple (lightened): safe for colour blindness, on water and on black.
OVERLAY_COLOURS: Final[tuple[Colour, Colour, Colour]] = ((86, 180, 233), (240, 170, 20), (235, 130, 190))
_GREY: Final[Colour] = (170, 170, 170)

_UNPLAYED = 0.4
"""Brightness of the part of the timeline that is still to come."""

_TIMELINE_SHARE = 0.6
"""Share of the strip's width for the timeline; the rest is for the points."""

_MOST_HEIGHT_SHARE = 0.3
"""Above this share of the picture the strip leaves out its line of text, so as not to hide the dive."""


class _Layout(NamedTuple):
    """Sizes in the strip, pixels."""

    text: int
    gap: int
    bar: int
    height: int
    has_text: bool


class ScoreOverlay:
    """A strip along the top or the bottom of every frame.

    The timeline shows the stages in their colours, with a cursor. Beside it, from the exemplars' mean score (the white
    line), each stage that has begun adds its points to the left or to the right; the network judges whole stages, so
    the sum moves at their borders, not within.

    Args:
        assessment: The assessment.
        borders: First frame played of each stage, and the number of frames played: 0 <= ... <= last.
        size: Height and width of the frames in pixels.
    """

    def __init__(self, assessment: Assessment, borders: Sequence[int], size: tuple[int, int]) -> None:
        self._names = [STAGE_WORDS[stage.name] for stage in assessment.stages]
        values = (assessment.exemplar_value, *assessment.stage_values)
        start, *parts = hundredths_that_add_up(values, assessment.value)
        self._unit = assessment.unit
        self._parts = parts
        self._sums = list(accumulate([start, *parts]))
        self._borders = list(borders)
        self._width = size[1]
        self._layout = _layout_of(size)
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
        image = Image.fromarray((strip * SHADE).astype(np.uint8))
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
        available = right - left
        name, points, total = self._names[stage], signed(self._parts[stage]), f"{self._sums[stage + 1]:.2f}"
        for text in (
            f"{points} {self._unit}, so far {total}",
            f"{points}, so far {total}",
            f"{points} = {total}",
            total,
        ):
            width = pen.textlength(f"{name}   {text}", self._font)
            if width <= available:
                pen.text((right, base), text, WHITE, self._font, anchor="rs")
                break
        pen.text((left, base), name, OVERLAY_COLOURS[stage], self._font, anchor="ls")
        clock = f"{time_s:.2f} s"
        name_width = pen.textlength(f"{name}  ", self._font)
        if width + pen.textlength(f"   {clock}", self._font) <= available:
            pen.text((left + name_width, base), clock, _GREY, self._font, anchor="ls")

    def _draw_timeline(self, pen: ImageDraw.ImageDraw, box: tuple[int, int, int, int], frame: int) -> None:
        left, top, right, bottom = box
        frames = self._borders[-1]

        def x(position: float) -> int:
            return left + round((right - left) * position / frames)

        now = x(frame + 0.5)
        line = max(1, self._layout.gap // 3)
        for colour, begin, end in zip(OVERLAY_COLOURS, self._borders[:-1], self._borders[1:], strict=True):
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
        for index in range(stage + 1):
            begin, end = sorted((x(self._sums[index]), x(self._sums[index + 1])))
            above, below = round(top + index * row), round(top + (index + 1) * row) - 1
            pen.rectangle((begin, above, max(end, begin + 1), max(above, below - (row > 2))), OVERLAY_COLOURS[index])


def _layout_of(size: tuple[int, int]) -> _Layout:
    text = text_size(size)
    gap = max(2, round(text / 4))
    bar = max(3, 3 * round(text / 4))
    height = gap + text + gap + bar + gap
    has_text = height <= _MOST_HEIGHT_SHARE * size[0]
    if not has_text:
        height = min(gap + bar + gap, size[0])
    return _Layout(text, gap, bar, height, has_text)


# Key frames by stage, with the predicted athlete outlined.

STAGES: Final[tuple[StageName, ...]] = get_args(StageName)

FRAMES_OF_STAGE: Final = 4
"""Key frames of each stage: its first one and three more, evenly spread."""

STAGE_COLOURS: Final[dict[StageName, str]] = {
    stage: "#{:02x}{:02x}{:02x}".format(*colour) for stage, colour in zip(STAGES, OVERLAY_COLOURS, strict=True)
}
"""The colours of the stages in the overlay too."""

_TILE = 288
"""Side in pixels of a key frame in a file."""

_JPEG_QUALITY = 82

_OUTLINE: Final = ((0, 0, 0), (255, 238, 0))
"""Yellow on black is seen on water, sky and skin."""

_OUTLINE_SHARE = 1 / 144
"""Width of the outline over the side of the tile."""


@dataclass(frozen=True)
class KeyFrameStrip:
    """A dive whose key frames are shown.

    Attributes:
        name: Name of the dive; external text.
        evidence: Its pictures.
        borders: First sampled frame of each stage, and 96.
    """

    name: str
    evidence: Evidence
    borders: tuple[int, int, int, int]

    @classmethod
    def of(cls, dive: Assessment | ComparedDive, evidence: Evidence) -> KeyFrameStrip:
        """Return the strip of a scored or compared dive."""
        takeoff, flight, entry = dive.stages
        borders = (takeoff.start_frame, flight.start_frame, entry.start_frame, entry.end_frame)
        return cls(dive.source, evidence, borders)


@dataclass(frozen=True)
class KeyFrame:
    """One picture of a filmstrip.

    Attributes:
        stage: Stage of the dive.
        frame: Sampled frame, 0..95.
        time_s: Time in the source, seconds.
        athlete: Share of the square that the predicted athlete takes, 0..1.
        picture: uint8 [side, side, 3], RGB: the square that the network sees, the athlete outlined.
    """

    stage: StageName
    frame: int
    time_s: float
    athlete: float
    picture: NDArray[np.uint8]

    @property
    def caption(self) -> str:
        """Stage, time and share of the athlete, as alternative text."""
        when = f"{STAGE_WORDS[self.stage]} at {time_code(self.time_s)}"
        return f"{when}, athlete outlined, {self.athlete:.1%} of the picture"

    def data_uri(self) -> str:
        """Return the picture as a JPEG data URI."""
        stream = io.BytesIO()
        Image.fromarray(self.picture).save(stream, "JPEG", quality=_JPEG_QUALITY, optimize=True)
        return f"data:image/jpeg;base64,{base64.b64encode(stream.getvalue()).decode('ascii')}"


def key_frames(strip: KeyFrameStrip, side: int = _TILE) -> dict[StageName, list[KeyFrame]]:
    """Return each stage's first frame and three more, evenly spread over it.

    Frames at the same index are at the same share of the stage, so that the strips of two dives can be compared. A
    stage of fewer than four frames repeats frames; an empty one has none.

    Args:
        strip: The dive.
        side: Of the pictures, in pixels.
    """
    return {
        stage: [_key_frame(strip, stage, frame, side) for frame in _spread(start, end)]
        for stage, start, end in zip(STAGES, strip.borders[:-1], strip.borders[1:], strict=True)
    }


def outline(picture: NDArray[np.uint8], mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a picture with the border of the athlete drawn on it.

    Args:
        picture: uint8 [height, width, 3], RGB.
        mask: uint8 [height, width], 1 where the athlete is.
    """
    drawn = np.ascontiguousarray(picture).copy()
    contours, _ = cv2.findContours(np.ascontiguousarray(mask), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    width = max(1, round(min(mask.shape) * _OUTLINE_SHARE))
    for colour, thickness in zip(_OUTLINE, (2 * width + 1, width), strict=True):
        cv2.drawContours(drawn, contours, -1, colour, thickness, cv2.LINE_AA)
    return drawn


def _key_frame(strip: KeyFrameStrip, stage: StageName, frame: int, side: int) -> KeyFrame:
    evidence = strip.evidence
    square = evidence.square(frame)
    mask = cut_square(evidence.masks[frame], square)
    interpolation = cv2.INTER_AREA if side < min(square[2:]) else cv2.INTER_CUBIC
    picture = cv2.resize(cut_square(evidence.frames[frame], square), (side, side), interpolation=interpolation)
    scaled = cv2.resize(mask.astype(np.float32), (side, side), interpolation=cv2.INTER_LINEAR) >= 0.5
    return KeyFrame(
        stage=stage,
        frame=frame,
        time_s=evidence.time_s(frame),
        athlete=float(mask.mean()),
        picture=_with_athlete(evidence, frame, np.asarray(picture, np.uint8), scaled.astype(np.uint8)),
    )


def _with_athlete(
    evidence: Evidence, frame: int, picture: NDArray[np.uint8], mask: NDArray[np.uint8]
) -> NDArray[np.uint8]:
    """Draw the athlete and the path as the reader sees them; without a reader, the scoring network's foreground."""
    track = evidence.track
    if track is None or evidence.source_size is None:
        return outline(picture, mask)
    tall, wide = (len_of / own for len_of, own in zip(evidence.frames.shape[1:3], evidence.source_size, strict=True))
    top, left, height, width = evidence.square(frame)
    side = picture.shape[0]
    excerpt = Excerpt(left / wide, top / tall, wide * side / width, tall * side / height)
    drawn = np.ascontiguousarray(picture).copy()
    is_outlined = draw_athlete(drawn, track, frame, evidence.time_s(frame), _OUTLINE[1], excerpt)
    return drawn if is_outlined else outline(drawn, mask)


def _spread(start: int, end: int) -> Sequence[int]:
    if end <= start:
        return ()
    return [start + (end - start) * step // FRAMES_OF_STAGE for step in range(FRAMES_OF_STAGE)]


# The overlay video: outline of the athlete, stage, points so far.

_LINE_SHARE = 1 / 320
"""Width of the outline over the short side of the picture."""

_MARK_SHARE = 1 / 24
"""Length of the corner marks of the network's input square, over the short side of the picture."""

_MARK_STRENGTH = 0.55

_LEAST_SIDE = 16
"""Smallest side of a picture that can be drawn on, pixels."""


def overlay_clip(path: Path, assessment: Assessment, evidence: Evidence) -> None:
    """Write the overlay video of an assessed clip, with a progress bar on a terminal.

    Args:
        path: MP4 file to write.
        assessment: The assessment; it names the source.
        evidence: The athlete in the sampled frames.

    Raises:
        UsageError: The picture is too small to draw on.
        VideoError: A frame cannot be decoded.
        OutputError: The file cannot be written.
    """
    footage = open_footage(assessment.source, assessment.clip_start_s, assessment.clip_end_s)
    with progress_bar() as progress:
        task = progress.add_task("overlay", total=len(footage))
        write_overlay(path, footage, assessment, evidence, advance=lambda: progress.advance(task))


def write_overlay(
    path: Path,
    footage: Footage,
    assessment: Assessment,
    evidence: Evidence,
    *,
    advance: Callable[[], object] = lambda: None,
) -> None:
    """Write the footage, frame for frame, with the outline of the athlete, the stage and the points so far.

    Each frame carries the outline of the sampled frame nearest to it. Corner marks show the square that the network
    sees; outside of it nothing is predicted. The strip with the stages lies along the bottom, or along the top where
    it hides less of the predicted athlete; what must be read first stands along the other edge.

    Args:
        path: MP4 file to write; it appears whole or not at all.
        footage: Every frame of the clip that was assessed.
        assessment: The assessment.
        evidence: The predicted athlete in the sampled frames.
        advance: Called after each frame.

    Raises:
        UsageError: The picture is too small to draw on.
        VideoError: A frame cannot be decoded.
        OutputError: The file cannot be written.
    """
    if min(footage.size) < _LEAST_SIDE:
        height, width = footage.size
        raise UsageError(f"a picture of {width}x{height} is too small for an overlay", where=footage.info.path)
    write_video(
        path,
        _drawn(footage, assessment, evidence, advance),
        footage.info.fps,
        times_s=None if footage.is_even else footage.times_s,
        sample_aspect=footage.info.upright_sample_aspect,
    )


def _drawn(
    footage: Footage, assessment: Assessment, evidence: Evidence, advance: Callable[[], object]
) -> Iterator[NDArray[np.uint8]]:
    sampled = evidence.source_frames - footage.first
    starts = [
        int(sampled[stage.start_frame]) if stage.start_frame < len(sampled) else len(footage)
        for stage in assessment.stages
    ]
    overlay = ScoreOverlay(assessment, (0, *starts[1:], len(footage)), footage.size)
    at = _least_hiding(evidence.masks, footage.size, overlay.height)
    caption = Caption(list(filter(None, (*first_lines(assessment), interval_in_words(assessment)))), footage.size)
    nearest = nearest_samples(sampled, len(footage))
    first_s = evidence.time_s(0) - float(footage.times_s[max(0, int(sampled[0]))])
    known = -1
    outline: tuple[NDArray[np.int32], ...] = ()
    for index, frame in enumerate(footage.frames()):
        picture, time_s = frame.copy(), first_s + float(footage.times_s[index])
        if nearest[index] != known:
            known = int(nearest[index])
            outline = outlines(evidence.masks[known], footage.size)
            corners = _corners(evidence, known, footage.size)
        _mark_corners(picture, corners)
        colour = OVERLAY_COLOURS[overlay.stage_at(index)]
        if evidence.track is None or not draw_athlete(picture, evidence.track, known, time_s, colour):
            _draw_outlines(picture, outline, colour)
        overlay.draw(picture[at], index, time_s)
        caption.draw(picture, at_top=at.start > 0)
        yield picture
        advance()


def nearest_samples(sampled: NDArray[np.int64], frames: int) -> NDArray[np.int64]:
    """Return, for every frame, which sampled frame is nearest in time; the earlier of two equally near.

    Args:
        sampled: int64 [96], never falling; frame index of each sample.
        frames: How many frames there are.

    Returns:
        int64 [frames], 0..95.
    """
    after = np.clip(np.searchsorted(sampled, np.arange(frames)), 1, len(sampled) - 1)
    is_before = np.arange(frames) - sampled[after - 1] <= sampled[after] - np.arange(frames)
    return np.where(is_before, after - 1, after).astype(np.int64)


def outlines(mask: NDArray[np.uint8], size: tuple[int, int]) -> tuple[NDArray[np.int32], ...]:
    """Trace the athlete in a mask of the whole picture, brought to another size.

    Args:
        mask: uint8 [height, width], 1 for the athlete; it covers exactly what the picture covers.
        size: Height and width of the picture in pixels.

    Returns:
        Closed lines, int32 [points, 1, 2] (x, y) each, in pixels of the picture.
    """
    height, width = size
    scaled = cv2.resize(mask.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
    contours, _ = cv2.findContours((scaled >= 0.5).astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    return tuple(np.asarray(line, np.int32) for line in contours)


def _draw_outlines(
    picture: NDArray[np.uint8], outline: tuple[NDArray[np.int32], ...], colour: tuple[int, int, int]
) -> None:
    line = max(1, round(min(picture.shape[:2]) * _LINE_SHARE))
    # A dark line below a light one shows on water, on skin and on a white board.
    cv2.polylines(picture, outline, isClosed=True, color=(0, 0, 0), thickness=line + 2, lineType=cv2.LINE_AA)
    cv2.polylines(picture, outline, isClosed=True, color=colour, thickness=line, lineType=cv2.LINE_AA)


def _corners(evidence: Evidence, sample: int, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Bring the square that the network sees to the size of the footage: left, top, right, bottom, inclusive."""
    top, left, height, width = evidence.square(sample)
    down, along = size[0] / evidence.frames.shape[1], size[1] / evidence.frames.shape[2]
    right, bottom = round((left + width) * along) - 1, round((top + height) * down) - 1
    return (
        min(max(0, round(left * along)), size[1] - 1),
        min(max(0, round(top * down)), size[0] - 1),
        max(0, min(right, size[1] - 1)),
        max(0, min(bottom, size[0] - 1)),
    )


def _mark_corners(picture: NDArray[np.uint8], corners: tuple[int, int, int, int]) -> None:
    left, top, right, bottom = corners
    short = min(picture.shape[:2])
    line, length = max(1, round(short * _LINE_SHARE)), max(3, round(short * _MARK_SHARE))
    for y, rows in (
        (top, slice(top, top + length)),
        (
            max(0, bottom + 1 - line),
            slice(max(0, bottom + 1 - length), bottom + 1),
        ),
    ):
        for x, columns in (
            (left, slice(left, left + length)),
            (max(0, right + 1 - line), slice(max(0, right + 1 - length), right + 1)),
        ):
            for area in ((slice(y, y + line), columns), (rows, slice(x, x + line))):
                light = picture[area] * (1 - _MARK_STRENGTH) + np.array(WHITE) * _MARK_STRENGTH
                picture[area] = light.astype(np.uint8)


def _least_hiding(masks: NDArray[np.uint8], size: tuple[int, int], strip: int) -> slice:
    """Return the rows of the picture, at its bottom or its top, in which less of the athlete is seen over the clip."""
    rows = max(1, round(strip * masks.shape[1] / size[0]))
    if masks[:, -rows:].sum() <= masks[:, :rows].sum():
        return slice(size[0] - strip, size[0])
    return slice(0, strip)
