"""A contact sheet, so that a person can look at dives."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from finecausal_cli.errors import OutputError
from finecausal_cli.simulator.camera import HEIGHT
from finecausal_cli.simulator.layout import Take
from finecausal_cli.whole_file import whole_file

if TYPE_CHECKING:
    from collections.abc import Sequence
    from os import PathLike

    from finecausal_cli.simulator.dataset_plan import DatasetPlan

Frame = NDArray[np.uint8]

_COLUMNS = 10
_BEFORE_S, _AFTER_S = 0.24, 0.32
"""Time that is shown before the take-off and after the first contact with the water."""

_TILE = 192
"""Columns around the middle that are shown of each frame."""


def draw_preview(plan: DatasetPlan, dives: int) -> Frame:
    """Return a contact sheet of the first dives of a plan, one row each, from just before take-off to the splash."""
    rows = []
    for index in range(dives):
        take = Take.of(plan, index)
        simulated, timing = take.simulated, take.timing
        first = timing.first_at(simulated.motion.leave_s - _BEFORE_S)
        last = min(timing.first_at(simulated.motion.contact_s + _AFTER_S), timing.frames - 1)
        chosen = np.linspace(first, last, _COLUMNS).astype(int).tolist()
        frames = [frame for frame, _ in take.pictures(chosen)]
        rows.append((f"{simulated.dive} {simulated.height_m:g} m  {simulated.score:.1f}", frames))
    return contact_sheet(rows)


def contact_sheet(rows: Sequence[tuple[str, Sequence[Frame]]]) -> Frame:
    """Return a picture with one row of frames for each (caption, frames); rows are equally long."""
    strips = []
    for caption, frames in rows:
        tiles = [_middle(frame) for frame in frames]
        strip = np.ascontiguousarray(np.concatenate(tiles, axis=1))
        for colour, width in (((0, 0, 0), 3), ((255, 255, 255), 1)):
            cv2.putText(strip, caption, (6, 18), cv2.FONT_HERSHEY_SIMPLEX, 0.5, colour, width, cv2.LINE_AA)
        strips.append(strip)
    return np.concatenate(strips, axis=0)


def _middle(frame: Frame) -> Frame:
    width = round(frame.shape[1] * HEIGHT / frame.shape[0])
    if frame.shape[0] != HEIGHT:
        frame = np.asarray(cv2.resize(frame, (width, HEIGHT), interpolation=cv2.INTER_AREA), np.uint8)
    if width < _TILE:
        spare = _TILE - width
        frame = np.pad(frame, ((0, 0), (spare // 2, spare - spare // 2), (0, 0)))
    left = (frame.shape[1] - _TILE) // 2
    return np.asarray(frame[:, left : left + _TILE], np.uint8)


def save_picture(path: str | PathLike[str], picture: Frame) -> None:
    """Write an RGB picture as PNG.

    Raises:
        OutputError: When it cannot be written.
    """
    encoded, data = cv2.imencode(".png", picture[..., ::-1])
    if not encoded:
        raise OutputError("the picture cannot be encoded", where=path)
    with whole_file(path, "the contact sheet") as part:
        part.write_bytes(data.tobytes())
