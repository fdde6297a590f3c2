"""Read a local dataset described by a manifest: one row a dive, beside the videos."""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from finecausal_cli.data.dive import Dive, Split
from finecausal_cli.diving.difficulty import difficulty as listed_difficulty
from finecausal_cli.diving.judging import MAX_EXECUTION, MAX_MARK
from finecausal_cli.diving.number import parse_dive_number
from finecausal_cli.errors import DatasetError, FinecausalError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

MANIFEST_NAME = "dives.csv"

COLUMNS = (
    "video",
    "score",
    "difficulty",
    "dive",
    "height_m",
    "twist_start",
    "entry_start",
    "mask",
    "judges",
    "split",
)
"""Every column a manifest may have. Only ``video`` must be there."""

_SPLITS: dict[str, Split] = {"train": "train", "val": "val", "test": "test"}


def read_manifest(path: Path, *, allow_outside: bool = False) -> list[Dive]:
    """Read a manifest.

    Args:
        path: A ``.csv`` file, or a folder that holds ``dives.csv``.
        allow_outside: Accept paths that lead out of the manifest's folder.

    Returns:
        The dives in the order of the rows.

    Raises:
        DatasetError: The manifest is missing, not text, empty, or a row is wrong; names file, row and column.
    """
    manifest = path / MANIFEST_NAME if path.is_dir() else path
    rows = _read_rows(manifest)
    if not rows:
        raise DatasetError("no dives: the manifest has a header and no rows", where=manifest)
    _refuse_repeats(manifest, rows)
    return [_Row(manifest, line, row, allow_outside).dive() for line, row in rows]


def _read_rows(manifest: Path) -> list[tuple[int, dict[str, str]]]:
    try:
        with manifest.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream)
            header = [name.strip() for name in reader.fieldnames or []]
            _check_header(manifest, header)
            reader.fieldnames = header
            return [(reader.line_num, _clean(manifest, reader.line_num, row)) for row in reader]
    except FileNotFoundError:
        raise DatasetError(
            "no such manifest", where=manifest, hint=f"name a folder with {MANIFEST_NAME}, or the file itself"
        ) from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(f"not a readable CSV file: {error}", where=manifest) from None
    except OSError as error:
        raise DatasetError(f"cannot be read: {error.strerror}", where=manifest) from None


def _check_header(manifest: Path, header: list[str]) -> None:
    if "video" not in header:
        raise DatasetError("no column 'video'", where=manifest, hint=f"the columns are {', '.join(COLUMNS)}")
    unknown = [name for name in header if name not in COLUMNS]
    if unknown:
        raise DatasetError(
            f"unknown column {unknown[0]!r}", where=manifest, hint=f"the columns are {', '.join(COLUMNS)}"
        )
    repeated = [name for name in COLUMNS if header.count(name) > 1]
    if repeated:
        raise DatasetError(f"column {repeated[0]!r} occurs twice", where=manifest)


def _clean(manifest: Path, line: int, row: Mapping[str | None, object]) -> dict[str, str]:
    if None in row:
        raise DatasetError(f"row {line}: more cells than columns", where=manifest)
    return {str(name): "" if cell is None else str(cell).strip() for name, cell in row.items()}


def _refuse_repeats(manifest: Path, rows: list[tuple[int, dict[str, str]]]) -> None:
    seen: dict[str, int] = {}
    for line, row in rows:
        first = seen.setdefault(row["video"], line)
        if first != line and row["video"]:
            raise DatasetError(
                f"row {line}, column 'video': {row['video']!r} is listed twice, first in row {first}",
                where=manifest,
                hint="one row a dive",
            )


@dataclass(frozen=True, slots=True)
class _Row:
    manifest: Path
    line: int
    cells: Mapping[str, str]
    allow_outside: bool

    def dive(self) -> Dive:
        number = self._number()
        height_m = self._decimal("height_m")
        difficulty = self._difficulty(number, height_m)
        return Dive(
            key=self.cells["video"],
            video=self._path("video", required=True),
            score=self._score(difficulty),
            difficulty=difficulty,
            number=number,
            height_m=height_m,
            twist_start=self._frame("twist_start"),
            entry_start=self._entry_start(),
            mask=self._path("mask") if self.cells.get("mask") else None,
            judges=self._judges(),
            split=self._split(),
        )

    def _problem(self, column: str, what: str, hint: str | None = None) -> DatasetError:
        return DatasetError(f"row {self.line}, column {column!r}: {what}", where=self.manifest, hint=hint)

    def _number(self) -> str | None:
        cell = self.cells.get("dive", "")
        if not cell:
            return None
        try:
            return str(parse_dive_number(cell))
        except FinecausalError as error:
            raise self._problem("dive", error.what, error.hint) from None

    def _difficulty(self, number: str | None, height_m: float | None) -> float:
        given = self._decimal("difficulty")
        if given == 0:
            raise self._problem("difficulty", "0 is out of range", "more than 0 is meant")
        if given is not None:
            return given
        listed: float | None = None
        if number is not None and height_m is not None:
            try:
                listed = listed_difficulty(parse_dive_number(number), height_m)
            except FinecausalError as error:
                raise self._problem("height_m", error.what, error.hint) from None
        if listed is None:
            raise self._problem(
                "difficulty", "missing, and not to be had from dive and height_m", "give the degree of difficulty"
            )
        return listed

    def _score(self, difficulty: float) -> float | None:
        score = self._decimal("score")
        if score is not None and score > MAX_EXECUTION * difficulty * (1 + 1e-9):
            most = f"three tens at difficulty {difficulty:g} make {MAX_EXECUTION * difficulty:g}"
            raise self._problem("score", f"{score:g} is out of range", most)
        return score

    def _decimal(self, column: str) -> float | None:
        cell = self.cells.get(column, "")
        if not cell:
            return None
        try:
            value = float(cell)
        except ValueError:
            raise self._problem(column, f"{cell!r} is not a number") from None
        if not math.isfinite(value) or value < 0:
            raise self._problem(column, f"{cell} is out of range", "0 or more is meant")
        return value

    def _frame(self, column: str) -> int | None:
        value = self._decimal(column)
        if value is None:
            return None
        if value != int(value):
            raise self._problem(column, f"{value} is not a frame index", "a whole number is meant")
        return int(value)

    def _entry_start(self) -> int | None:
        twist, entry = self._frame("twist_start"), self._frame("entry_start")
        if twist is not None and entry is not None and entry <= twist:
            raise self._problem("entry_start", f"{entry} is not after twist_start {twist}", "the flight comes first")
        return entry

    def _judges(self) -> tuple[float, ...]:
        cell = self.cells.get("judges", "")
        try:
            marks = tuple(float(mark) for mark in cell.split())
        except ValueError:
            raise self._problem("judges", f"{cell!r} is not a list of marks", "separate them by blanks") from None
        wrong = [mark for mark in marks if not 0 <= mark <= MAX_MARK]
        if wrong:
            raise self._problem("judges", f"{wrong[0]:g} is out of range", "a mark is 0 to 10")
        return marks

    def _split(self) -> Split | None:
        cell = self.cells.get("split", "")
        if not cell:
            return None
        if cell not in _SPLITS:
            raise self._problem("split", f"{cell!r} is not a split", "train, val or test")
        return _SPLITS[cell]

    def _path(self, column: str, *, required: bool = False) -> Path:
        cell = self.cells.get(column, "")
        if required and not cell:
            raise self._problem(column, "empty", "name the video")
        root = self.manifest.parent.resolve()
        path = root / cell
        try:
            inside, exists = path.resolve().is_relative_to(root), path.exists()
        except (OSError, RuntimeError, ValueError) as error:  # a loop of links, too long a name, a zero byte
            raise self._problem(column, f"{cell!r} cannot be looked at: {error}") from None
        if not self.allow_outside and not inside:
            raise self._problem(
                column, f"{cell!r} leads out of the dataset's folder", "a manifest names files beside or below it"
            )
        if not exists:
            raise self._problem(column, f"{cell!r} does not exist")
        return path
