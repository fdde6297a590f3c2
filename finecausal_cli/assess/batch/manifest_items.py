"""What a manifest says of each dive to score. Its scores, masks and boundaries are of no account here."""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING, Any

from finecausal_cli.data.manifest_rows import read_rows
from finecausal_cli.errors import DatasetError, FinecausalError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from finecausal_cli.data.manifest_rows import Cells

TIMES = ("start_s", "end_s")
"""Columns that a manifest may have only to be scored: where the dive starts and ends in its video, seconds."""

_NUMBERS = ("difficulty", "height_m", *TIMES)

Found = tuple[str, FinecausalError | None, dict[str, Any]]


def read_manifest_items(path: Path, *, allow_outside: bool = False) -> Iterator[Found]:
    """Read the dives of a manifest; a row that is wrong stops nothing.

    Args:
        path: A ``.csv``, ``.jsonl`` or ``.parquet`` file.
        allow_outside: Accept paths that lead out of the manifest's folder.

    Yields:
        The video as a path, what is wrong with the row (or None), and the fields of ``ScoreOptions`` that it sets.

    Raises:
        DatasetError: The manifest is missing, unreadable, or has no usable header.
    """
    for cells in read_rows(path, TIMES):
        yield _read_row(path, cells, allow_outside=allow_outside)


def _read_row(manifest: Path, cells: Cells, *, allow_outside: bool) -> Found:
    place = f"{manifest}: row {cells.row}"
    wrong = [what if column is None else f"column {column!r}: {what}" for column, what in cells.wrong]
    changes: dict[str, Any] = {}
    video = cells.texts.get("video", "")
    if not video:
        wrong.append("column 'video': empty")
        source = place
    else:
        folder = os.path.dirname(manifest)  # noqa: PTH120 - "" where the manifest is here: nobody writes "./"
        source = os.path.join(folder, video)  # noqa: PTH118 - a name with a zero byte is a row that fails
        if not allow_outside and not _is_inside(source, manifest.parent):
            wrong.append(f"column 'video': {video!r} leads out of the manifest's folder (--allow-outside)")
    if cells.texts.get("dive"):
        changes["dive"] = cells.texts["dive"]
    for column in _NUMBERS:
        text = cells.texts.get(column, "")
        if text:
            try:
                changes[column] = _number(text)
            except ValueError:
                wrong.append(f"column {column!r}: {text!r} is not a number from 0 on")
    problem = DatasetError(wrong[0], where=place, kind="bad_option") if wrong else None
    return source, problem, changes


def _number(text: str) -> float:
    value = float(text)
    if not math.isfinite(value) or value < 0:
        raise ValueError(text)
    return value


def _is_inside(source: str, folder: Path) -> bool:
    try:
        inside = os.path.commonpath((os.path.realpath(source), os.path.realpath(folder)))
        return inside == os.path.realpath(folder)
    except (OSError, ValueError):  # a zero byte: reading it will say so
        return True
