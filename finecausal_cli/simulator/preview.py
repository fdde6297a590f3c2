"""A contact sheet, so that a person can look at dives."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from finecausal_cli.errors import OutputError
from finecausal_cli.simulator.render import render
from finecausal_cli.whole_file import whole_file

if TYPE_CHECKING:
    from collections.abc import Sequence
    from os import PathLike

    from finecausal_cli.simulator.dataset_plan import DatasetPlan

Frame = NDArray[np.uint8]

_COLUMNS = 10
_TILE = 192
"""Columns around the middle that are shown of each frame."""


def draw_preview(plan: DatasetPlan, dives: int) -> Frame:
    """Return a contact sheet of the first dives of a plan, one row each, from just before take-off to the splash."""
    rows = []
    for index in range(dives):
        simulated = plan.dive(index)
        last = min(simulated.entry_start + 8, simulated.frames - 1)
        chosen = np.linspace(max(simulated.twist_start - 6, 0), last, _COLUMNS).astype(int).tolist()
        frames = [frame for frame, _ in render(simulated, plan.setting(index, simulated), chosen)]
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
