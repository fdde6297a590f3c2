"""Manifests: a CSV row a dive."""

from __future__ import annotations

import csv
import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from finecausal_cli.data import Dive, Kind, Problem, Split, refuse
from finecausal_cli.diving import MAX_EXECUTION, MAX_MARK, parse_dive_number
from finecausal_cli.diving import difficulty as listed_difficulty
from finecausal_cli.errors import DatasetError, FinecausalError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from finecausal_cli.data import Report

__all__ = ["COLUMNS", "MANIFEST_NAME", "MANIFEST_NAMES", "find_manifest", "read_manifest"]


# The rows of a manifest as text cells, from CSV, JSON Lines or Parquet.

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
    "deductions",
    "split",
)
"""Every column a manifest may have. Only ``video`` must be there."""

_COLUMNS_HINT = f"the columns are {', '.join(COLUMNS)}"


@dataclass(frozen=True, slots=True)
class Cells:
    """One row.

    Attributes:
        row: Line of a text file, or row of a table, counted from 1.
        texts: Text of each column that is there, without blanks around it; empty where nothing is given.
        wrong: The column that cannot be read as text (None for the row as a whole), and why.
    """

    row: int
    texts: dict[str, str]
    wrong: tuple[tuple[str | None, str], ...] = ()


def read_rows(manifest: Path, extra: Sequence[str] = ()) -> list[Cells]:
    """Read a manifest, in the format that its name tells.

    Args:
        manifest: The file.
        extra: Columns that it may have besides ``COLUMNS``.

    Raises:
        DatasetError: It is missing, of no known format, unreadable, or has no usable header.
    """
    read = _FORMATS.get(manifest.suffix.lower())
    if read is None:
        raise DatasetError(
            "a manifest is a .csv, .jsonl or .parquet file", where=manifest, hint="name one, or the folder of one"
        )
    try:
        return list(read(manifest, (*COLUMNS, *extra)))
    except FileNotFoundError:
        raise DatasetError(
            "no such manifest", where=manifest, hint="name a folder with dives.csv, or the file itself"
        ) from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(f"not a readable {_NAMES[manifest.suffix.lower()]} file: {error}", where=manifest) from None
    except OSError as error:
        raise DatasetError(f"cannot be read: {error.strerror or error}", where=manifest) from None


def _read_csv(manifest: Path, columns: Sequence[str]) -> Iterator[Cells]:
    with manifest.open(newline="", encoding="utf-8-sig") as stream:
        reader = csv.DictReader(stream)
        header = [name.strip() for name in reader.fieldnames or []]
        _check_header(manifest, header, columns)
        reader.fieldnames = header
        for row in reader:
            more: tuple[tuple[str | None, str], ...] = ((None, "more cells than columns"),) if None in row else ()
            yield Cells(reader.line_num, {name: _text(row[name]) for name in header}, more)


def _read_jsonl(manifest: Path, columns: Sequence[str]) -> Iterator[Cells]:
    with manifest.open(encoding="utf-8-sig") as stream:
        for line, text in enumerate(stream, start=1):
            if not text.strip():
                continue
            try:
                record = json.loads(text, object_pairs_hook=_distinct)
            except (ValueError, RecursionError) as error:
                yield Cells(line, {}, ((None, f"not a JSON object: {error}"),))
                continue
            if isinstance(record, dict):
                yield _cells(line, record, columns)
            else:
                yield Cells(line, {}, ((None, "not a JSON object"),))


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(pairs)
    if len(record) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{next(name for name in names if names.count(name) > 1)!r} occurs twice")
    return record


def _read_parquet(manifest: Path, columns: Sequence[str]) -> Iterator[Cells]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    if manifest.stat().st_size == 0:
        raise DatasetError("not a readable Parquet file: it is empty", where=manifest)
    try:
        # One thread and no memory map: a manifest is small, and a damaged one must not take the process along.
        with pq.ParquetFile(manifest) as file:
            _check_header(manifest, file.schema_arrow.names, columns)
            records = file.read(use_threads=False).to_pylist()
    except (pa.ArrowException, ValueError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # of the file, not of what is in it
        said = " ".join(str(error).split())
        raise DatasetError(f"not a readable Parquet file: {said}", where=manifest) from None
    for row, record in enumerate(records, start=1):
        yield _cells(row, record, columns)


def _check_header(manifest: Path, header: Sequence[str], columns: Sequence[str]) -> None:
    if "video" not in header:
        raise DatasetError("no column 'video'", where=manifest, hint=_COLUMNS_HINT)
    unknown = [name for name in header if name not in columns]
    if unknown:
        raise DatasetError(f"unknown column {unknown[0]!r}", where=manifest, hint=_COLUMNS_HINT)
    repeated = [name for name in columns if header.count(name) > 1]
    if repeated:
        raise DatasetError(f"column {repeated[0]!r} occurs twice", where=manifest)


def _cells(row: int, record: dict[str, Any], columns: Sequence[str]) -> Cells:
    """Turn typed values into the text that a CSV file would hold, so that one set of rules serves every format."""
    texts: dict[str, str] = {}
    wrong: list[tuple[str | None, str]] = []
    for name, value in record.items():
        if name not in columns:
            wrong.append((None, f"unknown column {name!r}"))
            continue
        try:
            texts[name] = _text(value)
        except TypeError as error:
            texts[name] = ""
            wrong.append((name, str(error)))
    return Cells(row, texts, tuple(wrong))


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, list) and all(isinstance(one, (int, float)) and not isinstance(one, bool) for one in value):
        return " ".join(str(one) for one in value)
    raise TypeError(f"a {type(value).__name__} is neither text nor a number nor a list of numbers")


_FORMATS: dict[str, Callable[[Path, Sequence[str]], Iterator[Cells]]] = {
    ".csv": _read_csv,
    ".jsonl": _read_jsonl,
    ".parquet": _read_parquet,
}
_NAMES = {".csv": "CSV", ".jsonl": "JSON Lines", ".parquet": "Parquet"}


# Read a local dataset described by a manifest: one row a dive, beside the videos.

MANIFEST_NAME = "dives.csv"
MANIFEST_NAMES = (MANIFEST_NAME, "dives.jsonl", "dives.parquet")
"""What a manifest is called in the folder of a dataset."""

_KINDS: dict[str, Kind] = {
    "video": "video",
    "mask": "masks",
    "dive": "dive number",
    "score": "score",
    "split": "split",
    "twist_start": "boundaries",
    "entry_start": "boundaries",
}

_SPLITS: dict[str, Split] = {"train": "train", "val": "val", "test": "test"}

_ROUNDING = 1e-9
"""Three tens at difficulty 3.3 are a little less than 99 in binary."""


def find_manifest(folder: Path) -> Path | None:
    """Return the manifest of a folder, or None where there is none.

    Raises:
        DatasetError: There are several.
    """
    found = [folder / name for name in MANIFEST_NAMES if (folder / name).exists()]
    if len(found) > 1:
        names = " and ".join(manifest.name for manifest in found)
        raise DatasetError(f"two manifests, {names}", where=folder, hint="name the one that is meant")
    return found[0] if found else None


def read_manifest(path: Path, *, allow_outside: bool = False, report: Report = refuse) -> list[Dive]:
    """Read a manifest.

    Args:
        path: A ``.csv``, ``.jsonl`` or ``.parquet`` file, or a folder that holds one called ``dives``.
        allow_outside: Accept paths that lead out of the manifest's folder.
        report: Told of every wrong cell; by default the first one is raised. If it returns, the row is left out.

    Returns:
        The dives in the order of the rows.

    Raises:
        DatasetError: The manifest is missing, unreadable, empty, or a row is wrong; names file, row and column.
    """
    manifest = find_manifest(path) or path / MANIFEST_NAME if path.is_dir() else path
    rows = read_rows(manifest)
    if not rows:
        raise DatasetError("no dives: the manifest has no rows", where=manifest)
    seen: dict[str, int] = {}
    read = [_Row(manifest, cells, allow_outside, report).dive(seen) for cells in rows]
    return [dive for dive in read if dive is not None]


@dataclass(slots=True)
class _Row:
    manifest: Path
    cells: Cells
    allow_outside: bool
    report: Report
    is_sound: bool = True

    def dive(self, seen: dict[str, int]) -> Dive | None:
        """Read the row, every cell of it whatever the others hold; None if one is wrong.

        Args:
            seen: Row in which each video was first named; this row is added.
        """
        for column, what in self.cells.wrong:
            self._problem(column, what)
        if not self.cells.texts:
            return None
        video = self._video(seen)
        number = self._number()
        height_m = self._decimal("height_m")
        difficulty = self._difficulty(number, height_m)
        score = self._score(difficulty)
        twist_start, entry_start = self._boundaries()
        mask = self._path("mask") if self._cell("mask") else None
        judges = self._marks()
        deductions = self._deductions()
        split = self._split()
        if not self.is_sound or video is None or difficulty is None:
            return None
        return Dive(
            key=self._cell("video"),
            video=video,
            score=score,
            difficulty=difficulty,
            number=number,
            height_m=height_m,
            twist_start=twist_start,
            entry_start=entry_start,
            mask=mask,
            judges=judges,
            deductions=deductions,
            split=split,
        )

    def _cell(self, column: str) -> str:
        return self.cells.texts.get(column, "")

    def _problem(self, column: str | None, what: str, hint: str | None = None) -> None:
        place = f"row {self.cells.row}" if column is None else f"row {self.cells.row}, column {column!r}"
        kind = _KINDS.get(column or "", "manifest")
        self.is_sound = False
        self.report(Problem(kind, str(self.manifest), f"{place}: {what}", hint, dive=self._cell("video") or None))

    def _video(self, seen: dict[str, int]) -> Path | None:
        cell = self._cell("video")
        if not cell:
            self._problem("video", "empty", "name the video")
            return None
        first = seen.setdefault(cell, self.cells.row)
        if first != self.cells.row:
            self._problem("video", f"{cell!r} is listed twice, first in row {first}", "one row a dive")
        return self._path("video")

    def _number(self) -> str | None:
        cell = self._cell("dive")
        try:
            return str(parse_dive_number(cell)) if cell else None
        except FinecausalError as error:
            self._problem("dive", error.what, error.hint)
            return None

    def _difficulty(self, number: str | None, height_m: float | None) -> float | None:
        given = self._decimal("difficulty")
        if given == 0:
            self._problem("difficulty", "0 is out of range", "more than 0 is meant")
            return None
        if given is not None or self._cell("difficulty"):
            return given
        listed: float | None = None
        if number is not None and height_m is not None:
            try:
                listed = listed_difficulty(parse_dive_number(number), height_m)
            except FinecausalError as error:
                self._problem("height_m", error.what, error.hint)
                return None
        if listed is None and (self.is_sound or not self._cell("dive") or not self._cell("height_m")):
            what = "missing, and not to be had from dive and height_m"
            self._problem("difficulty", what, "give the degree of difficulty")
        return listed

    def _score(self, difficulty: float | None) -> float | None:
        score = self._decimal("score")
        if score is not None and difficulty is not None and score > MAX_EXECUTION * difficulty * (1 + _ROUNDING):
            most = f"three tens at difficulty {difficulty:g} make {MAX_EXECUTION * difficulty:g}"
            self._problem("score", f"{score:g} is out of range", most)
        return score

    def _decimal(self, column: str) -> float | None:
        cell = self._cell(column)
        if not cell:
            return None
        try:
            value = float(cell)
        except ValueError:
            self._problem(column, f"{cell!r} is not a number")
            return None
        if not math.isfinite(value) or value < 0:
            self._problem(column, f"{cell} is out of range", "0 or more is meant")
            return None
        return value

    def _frame(self, column: str) -> int | None:
        value = self._decimal(column)
        if value is not None and value != int(value):
            self._problem(column, f"{value} is not a frame index", "a whole number is meant")
            return None
        return None if value is None else int(value)

    def _boundaries(self) -> tuple[int | None, int | None]:
        twist, entry = self._frame("twist_start"), self._frame("entry_start")
        if twist is not None and entry is not None and entry <= twist:
            self._problem("entry_start", f"{entry} is not after twist_start {twist}", "the flight comes first")
        return twist, entry

    def _numbers(self, column: str, called: str) -> tuple[float, ...]:
        cell = self._cell(column)
        try:
            return tuple(float(one) for one in cell.split())
        except ValueError:
            self._problem(column, f"{cell!r} is not a list of {called}", "separate them by blanks")
            return ()

    def _marks(self) -> tuple[float, ...]:
        marks = self._numbers("judges", "marks")
        wrong = [mark for mark in marks if not 0 <= mark <= MAX_MARK]
        if wrong:
            self._problem("judges", f"{wrong[0]:g} is out of range", "a mark is 0 to 10")
        return marks

    def _deductions(self) -> tuple[float, float, float] | None:
        points = self._numbers("deductions", "points")
        if not points:
            return None
        wrong = [one for one in points if not 0 <= one < math.inf]
        if wrong:
            self._problem("deductions", f"{wrong[0]:g} is out of range", "0 or more is meant")
        if len(points) != 3:
            self._problem("deductions", f"{len(points)} numbers", "three are meant: take-off, flight and entry")
            return None
        return points[0], points[1], points[2]

    def _split(self) -> Split | None:
        cell = self._cell("split")
        if cell and cell not in _SPLITS:
            self._problem("split", f"{cell!r} is not a split", "train, val or test")
        return _SPLITS.get(cell)

    def _path(self, column: str) -> Path | None:
        cell = self._cell(column)
        root = self.manifest.parent.resolve()
        path = root / cell
        try:
            inside, exists = path.resolve().is_relative_to(root), path.exists()
        except (OSError, RuntimeError, ValueError) as error:  # a loop of links, too long a name, a zero byte
            self._problem(column, f"{cell!r} cannot be looked at: {error}")
            return None
        if not self.allow_outside and not inside:
            hint = "a manifest names files beside or below it"
            self._problem(column, f"{cell!r} leads out of the dataset's folder", hint)
        elif not exists:
            self._problem(column, f"{cell!r} does not exist")
        return path
