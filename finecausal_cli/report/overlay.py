"""The dive as a video with what the model saw drawn on it: its outline of the athlete, the stage, the points so far."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from finecausal_cli.errors import UsageError
from finecausal_cli.report.athlete_drawing import draw_athlete
from finecausal_cli.report.hud import STAGE_COLOURS, WHITE, Hud
from finecausal_cli.report.progress import error_console, progress_bar
from finecausal_cli.video.footage import open_footage
from finecausal_cli.video.write import write_video

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from finecausal_cli.assess.assessment import Assessment
    from finecausal_cli.assess.foreground import Evidence
    from finecausal_cli.video.footage import Footage

_LINE_SHARE = 1 / 320
"""Width of the outline over the short side of the picture."""

_MARK_SHARE = 1 / 24
"""Length of the corner marks of what the network sees, over the short side of the picture."""

_MARK_STRENGTH = 0.55

_LEAST_SIDE = 16
"""A picture narrower or lower than this has no room for anything."""


def overlay_clip(path: Path, assessment: Assessment, evidence: Evidence) -> None:
    """Write the assessed clip with what the model saw drawn on it, with a progress bar on a terminal.

    Args:
        path: MP4 file to write.
        assessment: The verdict; it names the source.
        evidence: The athlete in the sampled frames.

    Raises:
        UsageError: The picture is too small to draw on.
        VideoError: A frame cannot be decoded.
        OutputError: The file cannot be written.
    """
    footage = open_footage(assessment.source, assessment.clip_start_s, assessment.clip_end_s)
    with progress_bar(error_console()) as progress:
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
    it hides less of the predicted athlete.

    Args:
        path: MP4 file to write; it appears whole or not at all.
        footage: Every frame of the clip that was assessed.
        assessment: The verdict.
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
    hud = Hud(assessment, (0, *starts[1:], len(footage)), footage.size)
    at = _least_hiding(evidence.masks, footage.size, hud.height)
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
        colour = STAGE_COLOURS[hud.stage_at(index)]
        if evidence.track is None or not draw_athlete(picture, evidence.track, known, time_s, colour):
            _draw_outlines(picture, outline, colour)
        hud.draw(picture[at], index, time_s)
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
    found, _ = cv2.findContours((scaled >= 0.5).astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    return tuple(np.asarray(line, np.int32) for line in found)


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
            for place in ((slice(y, y + line), columns), (rows, slice(x, x + line))):
                light = picture[place] * (1 - _MARK_STRENGTH) + np.array(WHITE) * _MARK_STRENGTH
                picture[place] = light.astype(np.uint8)


def _least_hiding(masks: NDArray[np.uint8], size: tuple[int, int], strip: int) -> slice:
    """Return the rows of the picture, at its bottom or its top, in which less of the athlete is seen over the clip."""
    rows = max(1, round(strip * masks.shape[1] / size[0]))
    if masks[:, -rows:].sum() <= masks[:, :rows].sum():
        return slice(size[0] - strip, size[0])
    return slice(0, strip)
