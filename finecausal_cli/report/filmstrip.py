"""Key frames of a dive, stage by stage, with the predicted athlete outlined: for files, and for a page."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, get_args

import cv2
import numpy as np
from PIL import Image

from finecausal_cli.assess.assessment import StageName
from finecausal_cli.assess.foreground import cut_square
from finecausal_cli.report.athlete_drawing import Excerpt, draw_athlete
from finecausal_cli.report.explanation_rows import time_code
from finecausal_cli.report.hud import STAGE_COLOURS as OVERLAY_COLOURS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from finecausal_cli.assess.assessment import Assessment
    from finecausal_cli.assess.comparison import ComparedDive
    from finecausal_cli.assess.foreground import Evidence

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
class Reel:
    """A dive to be shown.

    Attributes:
        name: What it is called, from outside.
        evidence: Its pictures.
        borders: First sampled frame of each stage, and 96.
    """

    name: str
    evidence: Evidence
    borders: tuple[int, int, int, int]

    @classmethod
    def of(cls, dive: Assessment | ComparedDive, evidence: Evidence) -> Reel:
        """Show a dive that was scored, or one of two that were compared."""
        takeoff, flight, entry = dive.stages
        borders = (takeoff.start_frame, flight.start_frame, entry.start_frame, entry.end_frame)
        return cls(dive.source, evidence, borders)


@dataclass(frozen=True)
class KeyFrame:
    """One picture of a filmstrip.

    Attributes:
        stage: Where in the dive.
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
        """Stage and time, for those who do not see the picture."""
        return f"{self.stage} at {time_code(self.time_s)}, athlete outlined, {self.athlete:.1%} of the picture"

    def data_uri(self) -> str:
        """Return the picture as a JPEG that a page carries within itself."""
        stream = io.BytesIO()
        Image.fromarray(self.picture).save(stream, "JPEG", quality=_JPEG_QUALITY, optimize=True)
        return f"data:image/jpeg;base64,{base64.b64encode(stream.getvalue()).decode('ascii')}"


def key_frames(reel: Reel, side: int = _TILE) -> dict[StageName, list[KeyFrame]]:
    """Take each stage's first frame and three more, evenly spread over it.

    Frames of two dives at the same place of a stage are the same share of the way through it, so that strips can be
    held side by side. A stage shorter than that repeats frames; one of no frame has none.

    Args:
        reel: The dive.
        side: Of the pictures, in pixels.
    """
    return {
        stage: [_key_frame(reel, stage, frame, side) for frame in _spread(start, end)]
        for stage, start, end in zip(STAGES, reel.borders[:-1], reel.borders[1:], strict=True)
    }


def outline(picture: NDArray[np.uint8], mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a picture with the border of the athlete drawn on it.

    Args:
        picture: uint8 [height, width, 3], RGB.
        mask: uint8 [height, width], 1 where the athlete is.
    """
    drawn = np.ascontiguousarray(picture).copy()
    found, _ = cv2.findContours(np.ascontiguousarray(mask), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    width = max(1, round(min(mask.shape) * _OUTLINE_SHARE))
    for colour, thickness in zip(_OUTLINE, (2 * width + 1, width), strict=True):
        cv2.drawContours(drawn, found, -1, colour, thickness, cv2.LINE_AA)
    return drawn


def _key_frame(reel: Reel, stage: StageName, frame: int, side: int) -> KeyFrame:
    evidence = reel.evidence
    square = evidence.square(frame)
    mask = cut_square(evidence.masks[frame], square)
    way = cv2.INTER_AREA if side < min(square[2:]) else cv2.INTER_CUBIC
    picture = cv2.resize(cut_square(evidence.frames[frame], square), (side, side), interpolation=way)
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
    """Draw the athlete as the reader sees it, and the path; where there is no reader, as the scoring network does."""
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
