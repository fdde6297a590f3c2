"""Two dives beside each other as a video, in step at take-off and entry."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from finecausal_cli.athlete import JOINTS
from finecausal_cli.errors import UsageError
from finecausal_cli.report import VideoOptions
from finecausal_cli.report.comparison import first_lines, standing, unit
from finecausal_cli.report.console import STAGE_WORDS, hundredths_that_add_up, progress_bar, signed
from finecausal_cli.report.drawing import WHITE, Caption, Excerpt, draw_athlete, draw_path, draw_skeleton, text_size
from finecausal_cli.report.overlay import OVERLAY_COLOURS
from finecausal_cli.scoring.athlete_track import SEEN
from finecausal_cli.video.reader import open_footage
from finecausal_cli.video.writer import write_video

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from finecausal_cli.report import Drawing
    from finecausal_cli.scoring.background import Evidence
    from finecausal_cli.scoring.comparison_results import ComparedDive, Comparison
    from finecausal_cli.video.reader import Footage

# The clock that both dives follow: real time of dive A, with B brought into step between take-off and entry.

_MOST_BEFORE_S: Final = 2.0
"""Real time before the take-off that is shown at most: the last steps of an approach."""

_MOST_AFTER_S: Final = 1.5
"""Real time after the entry that is shown at most: the splash rises and falls."""


@dataclass(frozen=True, slots=True)
class Moments:
    """When things happen in one dive, seconds of its file.

    Attributes:
        begin_s: The clip begins.
        takeoff_s: The athlete leaves the board.
        entry_s: The athlete meets the water; not before the take-off.
        end_s: The clip ends.
        time_scale: Times slower than real time, 1 = normal.
    """

    begin_s: float
    takeoff_s: float
    entry_s: float
    end_s: float
    time_scale: float = 1.0

    @classmethod
    def of(cls, dive: ComparedDive, evidence: Evidence) -> Moments:
        """Return the moments as they are read, else as the network sets the borders of its stages."""
        begin, end = evidence.time_s(0), evidence.time_s(len(evidence.source_frames) - 1)
        takeoff = dive.stages[1].start_s if dive.flight_start_s is None else dive.flight_start_s
        entry = dive.stages[2].start_s if dive.entry_start_s is None else dive.entry_start_s
        takeoff = min(max(takeoff, begin), end)
        return cls(begin, takeoff, min(max(entry, takeoff), end), end, dive.time_scale or 1.0)

    @property
    def before_s(self) -> float:
        """Real time before the take-off."""
        return (self.takeoff_s - self.begin_s) / self.time_scale

    @property
    def air_s(self) -> float:
        """Real time in the air."""
        return (self.entry_s - self.takeoff_s) / self.time_scale

    @property
    def after_s(self) -> float:
        """Real time after the entry."""
        return (self.end_s - self.entry_s) / self.time_scale


@dataclass(frozen=True, slots=True)
class Clock:
    """The common clock: real seconds, 0 where the video begins.

    Before the take-off and after the entry both dives run in real time, and the one whose clip is shorter rests on its
    first or last frame. In the air A runs in real time, and B a little faster or slower, so that both enter together.

    Attributes:
        takeoff_s: When both take off.
        entry_s: When both enter the water.
        end_s: When the video ends.
    """

    takeoff_s: float
    entry_s: float
    end_s: float

    @classmethod
    def of(cls, first: Moments, second: Moments) -> Clock:
        """Return the clock of two dives, A first."""
        before = min(max(first.before_s, second.before_s), _MOST_BEFORE_S)
        after = min(max(first.after_s, second.after_s), _MOST_AFTER_S)
        return cls(before, before + first.air_s, before + first.air_s + after)

    def file_time(self, time_s: float, dive: Moments) -> float:
        """Return which moment of a dive's file is shown at a time of the clock."""
        if time_s < self.takeoff_s:
            shown = dive.takeoff_s - (self.takeoff_s - time_s) * dive.time_scale
        elif time_s < self.entry_s:
            share = (time_s - self.takeoff_s) / (self.entry_s - self.takeoff_s)
            shown = dive.takeoff_s + share * (dive.entry_s - dive.takeoff_s)
        else:
            shown = dive.entry_s + (time_s - self.entry_s) * dive.time_scale
        return min(max(shown, dive.begin_s), dive.end_s)


_LEAST_FPS, _MOST_FPS = 24.0, 60.0


def frame_rate(source_fps: float, slow: float) -> float:
    """Return the frames a second of the video: a whole number of them for each of the source's, 24 at least.

    Args:
        source_fps: Frames per real second of the source that has more.
        slow: Times slower than real time.
    """
    shown = source_fps / slow
    repeats = max(1, math.ceil(_LEAST_FPS / shown - 1e-6))
    return min(shown * repeats, _MOST_FPS)


# One dive: its pictures at the size of the video, with the athlete drawn on.

_AFTER_ENTRY_S: Final = 0.12
"""Real time after the entry up to which a body is drawn: then it is under water."""

_SLACK_S: Final = 1e-3
"""Rounding of time stamps."""


class _Panel:
    """Pictures of one dive; asked for moments that only rise, it decodes each frame once."""

    def __init__(
        self, dive: ComparedDive, evidence: Evidence, moments: Moments, span_s: tuple[float, float], draw: Drawing
    ) -> None:
        self.footage = _footage(dive, evidence, span_s)
        self.fps = self.footage.info.fps * moments.time_scale
        self.moments = moments
        self._times = self._file_times(evidence)
        self._draw: Drawing = draw
        self._track = evidence.track
        self._samples_s = np.array([evidence.time_s(index) for index in range(len(evidence.source_frames))])
        self._size = (2, 2)

    def _file_times(self, evidence: Evidence) -> NDArray[np.float64]:
        sample = int(np.argmax(evidence.source_frames >= self.footage.first))
        offset = int(evidence.source_frames[sample]) - self.footage.first
        inside = min(max(offset, 0), len(self.footage) - 1)
        return self.footage.times_s[:-1] + (evidence.time_s(sample) - float(self.footage.times_s[inside]))

    @property
    def aspect(self) -> float:
        """Width over height, as it is to be seen."""
        height, width = self.footage.size
        return width * self.footage.info.upright_sample_aspect / height

    def pictures(self, times_s: NDArray[np.float64], size: tuple[int, int]) -> Iterator[NDArray[np.uint8]]:
        """Yield the picture shown at each time [K], rising; uint8 [height, width, 3]. Equal ones are one array."""
        self._size = size
        wanted = np.maximum(np.searchsorted(self._times, times_s + _SLACK_S, side="right") - 1, 0)
        frames = enumerate(self.footage.frames())
        index, frame = next(frames)
        drawn, shown = self._drawn(frame, index), index
        for want in wanted.tolist():
            while index < want:
                index, frame = next(frames)
            if index != shown:
                drawn, shown = self._drawn(frame, index), index
            yield drawn

    def _drawn(self, frame: NDArray[np.uint8], index: int) -> NDArray[np.uint8]:
        height, width = self._size
        shrinks = height < frame.shape[0]
        interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
        picture = np.asarray(cv2.resize(frame, (width, height), interpolation=interpolation), np.uint8)
        time_s, track = float(self._times[index]), self._track
        wet_s = self.moments.entry_s + _AFTER_ENTRY_S * self.moments.time_scale
        if track is None or track.outlines is None or self._draw == "none":
            return picture
        where = Excerpt(0.0, 0.0, width / frame.shape[1], height / frame.shape[0])
        line = max(2, round(min(picture.shape[:2]) / 240))
        if time_s > wet_s:
            draw_path(picture, track, time_s, line, where)
            return picture
        sample = int(np.abs(self._samples_s - time_s).argmin())
        if self._draw == "outline":
            draw_athlete(picture, track, sample, time_s, OVERLAY_COLOURS[0], where, skeleton=False)
        else:
            draw_path(picture, track, time_s, line, where)
            if track.frames[sample].confidence >= SEEN:
                draw_skeleton(picture, self._joints(time_s), line, where)
        return picture

    def _joints(self, time_s: float) -> dict[str, tuple[float, float, float]]:
        """Return the joints at any time, between the two samples about it."""
        assert self._track is not None  # noqa: S101 - only asked for where there is one
        after = int(np.clip(np.searchsorted(self._samples_s, time_s), 1, len(self._samples_s) - 1))
        first, last = self._samples_s[after - 1 : after + 1]
        share = 1.0 if last <= first else float(np.clip((time_s - first) / (last - first), 0, 1))
        ends = [self._track.frames[index].joints for index in (after - 1, after)]
        if not all(ends):
            return {}
        values = (1 - share) * np.array([ends[0][name] for name in JOINTS]) + share * np.array(
            [ends[1][name] for name in JOINTS]
        )
        return {name: (x, y, sure) for name, (x, y, sure) in zip(JOINTS, values.tolist(), strict=True)}


def _footage(dive: ComparedDive, evidence: Evidence, span_s: tuple[float, float]) -> Footage:
    """Open the frames of a span of the file."""
    begin, end = span_s
    step = 1.0 / evidence.fps
    start = None if begin <= step else begin
    try:
        return open_footage(dive.source, start, end + step)
    except UsageError:  # the span ends with the file
        return open_footage(dive.source, start)


# The whole picture: names above, the dives, and the stages below with a cursor.

_MOST_WIDTH: Final = 1440
"""Of both dives together, pixels: at 1920 the encoder takes nearly twice as long, and a phone shows no more."""
_MOST_HEIGHT: Final = 720
_LEAST_HEIGHT: Final = 360
"""Height of the dives in the video, pixels: smaller clips are enlarged, for text and skeleton to be legible."""

_AHEAD: Final = 4
"""Frames that are composed while others are encoded."""

_GAP: Final = 4
_INK: Final = (14, 17, 22)
_FAINT: Final = (150, 158, 166)
_UNPLAYED, _RESTING = 0.35, 0.62
"""Brightness of the part of the stages that is still to come, and of the words of the stages that are not played."""


class _Stage:
    """Everything of the picture but the dives: names, clocks, stages, what must be read first."""

    def __init__(
        self,
        comparison: Comparison,
        titles: Sequence[str],
        clock: Clock,
        sizes: Sequence[tuple[int, int]],
        slow: float,
    ) -> None:
        self.sizes = sizes
        self._clock, self._slow = clock, slow
        height, self.width = sizes[0][0], sum(size[1] for size in sizes) + _GAP
        text = min(text_size((height, self.width)), max(11, round(self.width / 46)))
        self._font = ImageFont.load_default(text)
        self._line = round(1.5 * text)
        self._comparison, self._titles = comparison, titles
        factor, _ = unit(comparison)
        parts = [stage.contribution * factor for stage in comparison.stages]
        self._parts = hundredths_that_add_up(parts, comparison.difference * factor)
        self._warning = Caption(first_lines(comparison), (height, self.width)).lines
        self.top = self._line
        self._bar = max(8, text // 2)
        below = 2 * self._line + self._bar + text // 2 + (0 if self._warning is None else len(self._warning))
        self.height = self.top + height + below
        self.height += self.height % 2
        self._canvas = self._still()
        self._strips = [self._stages(brightness) for brightness in (_UNPLAYED, 1.0)]
        self._labels = [self._labelled(current) for current in range(len(self._parts))]

    def _still(self) -> NDArray[np.uint8]:
        image = Image.new("RGB", (self.width, self.height), _INK)
        pen = ImageDraw.Draw(image)
        left = 0
        clock_width = pen.textlength("  -00.00 s", self._font)
        for letter, size, title in zip("AB", self.sizes, self._titles, strict=True):
            name = self._fitting(pen, f"{letter}  {title}", size[1] - clock_width - self._line)
            pen.text((left + self._line // 2, self.top // 2), name, WHITE, self._font, anchor="lm")
            left += size[1] + _GAP
        row = self._row(0)
        pace = "real time" if self._slow == 1 else f"{self._slow:g} times slower"
        pen.text((self.width - self._line // 2, row), pace, _FAINT, self._font, anchor="rm")
        room = self.width - self._line - pen.textlength(f"{pace}  ", self._font)
        text = f"{standing(self._comparison)}. A minus B, {unit(self._comparison)[1]}, by stage:"
        pen.text((self._line // 2, row), self._fitting(pen, text, room), WHITE, self._font, "lm")
        canvas = np.array(image)
        if self._warning is not None:
            canvas[self.height - len(self._warning) :] = self._warning[..., None]
        return canvas

    def _fitting(self, pen: ImageDraw.ImageDraw, text: str, room: float) -> str:
        """Shorten a text from its end until it fits."""
        if pen.textlength(text, self._font) <= room:
            return text
        while text and pen.textlength(f"{text}...", self._font) > room:
            text = text[:-1]
        return f"{text}..."

    def _row(self, index: int) -> int:
        """Return the middle of a line of text below the dives."""
        begin = self.top + self.sizes[0][0]
        return begin + self._line // 2 + (0 if index == 0 else self._line + self._bar)

    def _x(self, time_s: float) -> int:
        return round((self.width - 1) * min(max(time_s / max(self._clock.end_s, 1e-6), 0), 1))

    def _stages(self, brightness: float) -> NDArray[np.uint8]:
        strip = np.zeros((self._bar, self.width, 3), np.uint8)
        borders = (0.0, self._clock.takeoff_s, self._clock.entry_s, self._clock.end_s)
        for colour, begin, end in zip(OVERLAY_COLOURS, borders[:-1], borders[1:], strict=True):
            strip[:, self._x(begin) : self._x(end) + 1] = np.multiply(colour, brightness).astype(np.uint8)
        for border in borders[1:-1]:
            strip[:, max(0, self._x(border) - 1) : self._x(border) + 1] = _INK
        return strip

    def _labelled(self, current: int) -> NDArray[np.uint8]:
        """Write what each stage adds to A minus B; the current one in its full colour."""
        image = Image.new("RGB", (self.width, self._line), _INK)
        pen = ImageDraw.Draw(image)
        names = [STAGE_WORDS[stage.name] for stage in self._comparison.stages]
        texts = [f"{name} {signed(part)}" for name, part in zip(names, self._parts, strict=True)]
        begins = (0.0, self._clock.takeoff_s, self._clock.entry_s)
        for index, (text, left) in enumerate(zip(texts, self._lefts(pen, texts, begins), strict=True)):
            share = 1.0 if index == current else _RESTING
            shade = tuple(round(share * each) for each in OVERLAY_COLOURS[index])
            pen.text((left, self._line // 2), text, shade, self._font, anchor="lm")
        return np.asarray(image, np.uint8)

    def _lefts(self, pen: ImageDraw.ImageDraw, texts: Sequence[str], begins: Sequence[float]) -> list[int]:
        """Return where texts begin: below their stages, or in columns where the stages are too short for them."""
        margin, lefts, free = self._line // 2, [], 0.0
        for text, begin in zip(texts, begins, strict=True):
            lefts.append(round(max(self._x(begin) + (0 if begin else margin), free)))
            free = lefts[-1] + pen.textlength(text, self._font) + margin
        if free <= self.width:
            return lefts
        return [round(self.width * index / len(texts)) + margin for index in range(len(texts))]

    def compose(
        self, pictures: Sequence[NDArray[np.uint8]], time_s: float, file_s: Sequence[float]
    ) -> NDArray[np.uint8]:
        """Return one frame of the video, uint8 [height, width, 3].

        Args:
            pictures: Of both dives.
            time_s: Of the clock.
            file_s: Which moment of each file is shown.
        """
        canvas = self._canvas.copy()
        height, left = self.sizes[0][0], 0
        for picture in pictures:
            canvas[self.top : self.top + height, left : left + picture.shape[1]] = picture
            left += picture.shape[1] + _GAP
        self._write_clocks(canvas, file_s)
        bar = self.top + height + self._line
        now = self._x(time_s)
        canvas[bar : bar + self._bar] = self._strips[0]
        canvas[bar : bar + self._bar, :now] = self._strips[1][:, :now]
        canvas[max(0, bar - 3) : bar + self._bar + 3, max(0, now - 1) : now + 2] = WHITE
        current = 0 if time_s < self._clock.takeoff_s else 1 if time_s < self._clock.entry_s else 2
        below = bar + self._bar + 3
        canvas[below : below + self._line] = self._labels[current]
        return canvas

    def _write_clocks(self, canvas: NDArray[np.uint8], file_s: Sequence[float]) -> None:
        image = Image.fromarray(canvas[: self.top])
        pen, right = ImageDraw.Draw(image), 0
        for size, time_s in zip(self.sizes, file_s, strict=True):
            right += size[1]
            pen.text((right - self._line // 2, self.top // 2), f"{time_s:.2f} s", _FAINT, self._font, anchor="rm")
            right += _GAP
        canvas[: self.top] = np.asarray(image)


def panel_sizes(heights: Sequence[int], aspects: Sequence[float]) -> list[tuple[int, int]]:
    """Return height and width of both dives in the video, pixels, all even: equally high, as wide as they are.

    Args:
        heights: Of the sources, pixels.
        aspects: Width over height of the sources.
    """
    height = min(max(*heights, _LEAST_HEIGHT), _MOST_HEIGHT, (_MOST_WIDTH - _GAP) / sum(aspects))
    even = 2 * max(1, math.floor(height / 2))
    return [(even, 2 * max(8, math.floor(even * aspect / 2))) for aspect in aspects]


def write_side_by_side_video(
    path: Path,
    comparison: Comparison,
    evidence: tuple[Evidence, Evidence],
    options: VideoOptions | None = None,
    *,
    titles: Sequence[str] | None = None,
    advance: Callable[[], object] = lambda: None,
) -> int:
    """Write both dives beside each other as H.264 that browsers and phones play; return the number of frames.

    Args:
        path: MP4 file to write; it appears whole or not at all.
        comparison: The comparison; it names the sources.
        evidence: What is read of the athletes of A and B.
        options: Slow motion, and what is drawn.
        titles: Names of A and B above their pictures; the names of the files if absent.
        advance: Called after each frame.

    Raises:
        VideoError: A frame cannot be decoded.
        OutputError: The file cannot be written.
    """
    options = options or VideoOptions()
    dives = (comparison.query, comparison.exemplar)
    moments = [Moments.of(dive, seen) for dive, seen in zip(dives, evidence, strict=True)]
    clock = Clock.of(*moments)
    panels = [
        _Panel(dive, seen, when, (clock.file_time(0.0, when), clock.file_time(clock.end_s, when)), options.draw)
        for dive, seen, when in zip(dives, evidence, moments, strict=True)
    ]
    fps = frame_rate(max(panel.fps for panel in panels), options.slow)
    frames = max(1, round(clock.end_s * options.slow * fps))
    times_s = (np.arange(frames) / (fps * options.slow)).astype(np.float64)
    sizes = panel_sizes([panel.footage.size[0] for panel in panels], [panel.aspect for panel in panels])
    stage = _Stage(comparison, titles or [Path(dive.source).name for dive in dives], clock, sizes, options.slow)

    def composed() -> Iterator[NDArray[np.uint8]]:
        shown = [np.array([clock.file_time(each, when) for each in times_s.tolist()]) for when in moments]
        pictures = (panel.pictures(at, size) for panel, at, size in zip(panels, shown, sizes, strict=True))
        for time_s, a_s, b_s, *pair in zip(times_s.tolist(), *shown, *pictures, strict=True):
            yield stage.compose(pair, time_s, (float(a_s), float(b_s)))
            advance()

    write_video(path, composed(), fps, crf=20, preset="superfast", threads=2, ahead=_AHEAD)
    return frames


def side_by_side_clip(
    path: Path,
    comparison: Comparison,
    evidence: tuple[Evidence, Evidence],
    options: VideoOptions,
    titles: Sequence[str] | None = None,
) -> None:
    """Write the video of ``write_side_by_side_video``, with a progress bar on a terminal."""
    with progress_bar() as progress:
        task = progress.add_task("side by side", total=None)
        write_side_by_side_video(
            path, comparison, evidence, options, titles=titles, advance=lambda: progress.advance(task)
        )
