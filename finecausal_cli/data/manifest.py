"""Manifests: one table, a row a dive, read the same by every command."""

from __future__ import annotations

import csv
import difflib
import io
import json
import logging
import math
import os
import re
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path, PureWindowsPath
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError
from pydantic_core import PydanticCustomError

from finecausal_cli.data import Dive, Kind, Problem, Split, refuse
from finecausal_cli.diving import MAX_EXECUTION, MAX_MARK, parse_dive_number
from finecausal_cli.diving import difficulty as listed_difficulty
from finecausal_cli.errors import DatasetError, FinecausalError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from finecausal_cli.data import Report

__all__ = [
    "COLUMNS",
    "MANIFEST_NAME",
    "MANIFEST_NAMES",
    "ManifestRow",
    "find_manifest",
    "locate_file",
    "read_manifest",
    "read_rows",
]

logger = logging.getLogger(__name__)


# The row model: how the text of each column is parsed, whatever the format of the file.

_NUMBER = re.compile(
    r"[+-]?(?:\d+(?:[.,]\d*)?|[.,]\d+)(?:e[+-]?\d+)?|[+-]?(?:nan|inf|infinity)", re.IGNORECASE | re.ASCII
)
_SPLITS: dict[str, Split] = {"train": "train", "val": "val", "test": "test"}


def _wrong(what: str, hint: str | None = None) -> PydanticCustomError:
    return PydanticCustomError("cell", "{what}", {"what": what, "hint": hint})


def _parse_number(text: str) -> float:
    """Parse a finite number from 0 on, with a decimal point or a decimal comma."""
    if not _NUMBER.fullmatch(text):
        raise _wrong(f"{text!r} is not a number")
    value = float(text.replace(",", "."))
    if not math.isfinite(value) or value < 0:
        raise _wrong(f"{text} is out of range", "0 or more is meant")
    return value


def _parse_difficulty(text: str) -> float:
    value = _parse_number(text)
    if value == 0:
        raise _wrong("0 is out of range", "more than 0 is meant")
    return value


def _parse_frame(text: str) -> int:
    value = _parse_number(text)
    if value != int(value):
        raise _wrong(f"{text} is not a frame index", "a whole number is meant")
    return int(value)


def _parse_dive(text: str) -> str:
    try:
        return str(parse_dive_number(text))
    except FinecausalError as error:
        raise _wrong(error.what, error.hint) from None


def _parse_numbers(text: str, name: str) -> list[float]:
    parts = text.split()
    if not all(_NUMBER.fullmatch(part) for part in parts):
        raise _wrong(f"{text!r} is not a list of {name}", "separate them by blanks")
    return [float(part.replace(",", ".")) for part in parts]


def _parse_marks(text: str) -> tuple[float, ...]:
    marks = _parse_numbers(text, "marks")
    for mark in marks:
        if not 0 <= mark <= MAX_MARK:
            raise _wrong(f"{mark:g} is out of range", "a mark is 0 to 10")
    return tuple(marks)


def _parse_deductions(text: str) -> tuple[float, ...]:
    points = _parse_numbers(text, "points")
    for value in points:
        if not 0 <= value < math.inf:
            raise _wrong(f"{value:g} is out of range", "0 or more is meant")
    if len(points) != 3:
        raise _wrong(f"{len(points)} numbers", "three are meant: take-off, flight and entry")
    return tuple(points)


def _parse_split(text: str) -> Split:
    if text not in _SPLITS:
        raise _wrong(f"{text!r} is not a split", "train, val or test")
    return _SPLITS[text]


_DATE = re.compile(r"(\d{1,2})\.(\d{1,2})\.(\d{4})(?: (\d{1,2}:\d{2}(?::\d{2})?))?", re.ASCII)


def _parse_date(text: str) -> str:
    """Read ``2026-05-31``, ``2026/05/31`` or ``31.05.2026``, perhaps with a time; return it as ISO 8601."""
    match = _DATE.fullmatch(text)
    if match:
        day, month, year, time = match.groups()
        text = f"{year}-{month:>02}-{day:>02}" + (f"T{time:0>5}" if time else "")
    elif re.match(r"\d{4}/\d{2}/\d{2}", text):
        text = text.replace("/", "-")
    try:
        when = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        raise _wrong(f"{text!r} is not a date", "write it like 2026-05-31 or 31.05.2026") from None
    return when.date().isoformat() if len(text) <= len("2026-05-31") else when.isoformat()


_Number = Annotated[float, BeforeValidator(_parse_number)]
_Frame = Annotated[int, BeforeValidator(_parse_frame)]


class ManifestRow(BaseModel):
    """One dive of a manifest. Cells may be empty but for ``video``.

    Attributes:
        video: A video file or a folder of frames, beside or below the manifest.
        score: Final score.
        difficulty: Degree of difficulty; may follow from ``dive`` and ``height_m``.
        dive: Dive number.
        height_m: Height of the board or platform.
        twist_start: Frame of the video at which the flight begins.
        entry_start: Frame of the video at which the entry begins.
        mask: Foreground masks: a video, or a folder of pictures.
        judges: The judges' marks, separated by blanks.
        deductions: Points off for take-off, flight and entry.
        split: ``train``, ``val`` or ``test``.
        start_s: Start of the dive in its video, seconds.
        end_s: End of the dive in its video, seconds.
        diver: Who dives, for ``finecausal history``.
        date: When, ISO 8601: ``2026-05-31``, perhaps with a time.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    video: str = ""
    score: _Number | None = None
    difficulty: Annotated[float, BeforeValidator(_parse_difficulty)] | None = None
    dive: Annotated[str, BeforeValidator(_parse_dive)] | None = None
    height_m: _Number | None = None
    twist_start: _Frame | None = None
    entry_start: _Frame | None = None
    mask: str = ""
    judges: Annotated[tuple[float, ...], BeforeValidator(_parse_marks)] = ()
    deductions: Annotated[tuple[float, float, float], BeforeValidator(_parse_deductions)] | None = None
    split: Annotated[Split, BeforeValidator(_parse_split)] | None = None
    start_s: _Number | None = None
    end_s: _Number | None = None
    diver: str = ""
    date: Annotated[str, BeforeValidator(_parse_date)] = ""

    @property
    def key(self) -> str:
        """Name of the dive: its video and, where the row gives them, its times."""
        if self.start_s is None and self.end_s is None:
            return self.video
        start, end = (("" if time_s is None else f"{time_s:g}") for time_s in (self.start_s, self.end_s))
        return f"{self.video} [{start}-{end} s]"


COLUMNS = tuple(ManifestRow.model_fields)
"""Every column a manifest may have. Only ``video`` must be there."""

_COLUMNS_HINT = f"a manifest's columns are {', '.join(COLUMNS)}"


@dataclass(frozen=True, slots=True)
class CellError:
    """What is wrong with a cell.

    Attributes:
        column: Its column; None for the row as a whole.
        what: What is wrong.
        hint: What to do.
    """

    column: str | None
    what: str
    hint: str | None = None


@dataclass(frozen=True, slots=True)
class Cells:
    """One row as text.

    Attributes:
        row: Line of a text file, or row of a table, counted from 1.
        texts: Text of each column that is there, without blanks around it; empty where nothing is given.
        errors: Cells that are no text, number or list of numbers.
    """

    row: int
    texts: dict[str, str]
    errors: tuple[CellError, ...] = ()

    def parse(self) -> tuple[ManifestRow, list[CellError]]:
        """Parse every cell. A wrong one is empty in the row and named among the errors."""
        given = {column: text for column, text in self.texts.items() if text and column in COLUMNS}
        try:
            return ManifestRow.model_validate(given), [*self.errors]
        except ValidationError as error:
            wrong = {str(each["loc"][0]): each.get("ctx", {}) for each in error.errors()}
        errors = [CellError(column, str(facts["what"]), facts["hint"]) for column, facts in wrong.items()]
        rest = {column: text for column, text in given.items() if column not in wrong}
        return ManifestRow.model_validate(rest), [*self.errors, *errors]


# From a file to rows of text: CSV, JSON Lines or Parquet.


def read_rows(manifest: Path) -> list[Cells]:
    """Read a manifest in the format of its suffix; unknown columns are logged and ignored.

    CSV may be separated by commas, semicolons or tabs, in UTF-8 or UTF-16, as spreadsheets write it. Blank rows are
    skipped.

    Raises:
        DatasetError: It is missing, of no known format, unreadable, or has no column ``video``.
    """
    rows, note = _read_table(manifest)
    if note:
        logger.warning("%s: %s", manifest, note)
    return rows


def _read_table(manifest: Path) -> tuple[list[Cells], str | None]:
    """Return the rows, and a note on unknown columns."""
    suffix = manifest.suffix.lower()
    if suffix not in _FORMATS:
        hint = "name one, or the folder of one"
        if suffix in (".xlsx", ".xls", ".ods", ".numbers"):
            hint = "save the sheet as CSV UTF-8"
        raise DatasetError("a manifest is a .csv, .jsonl or .parquet file", where=manifest, hint=hint)
    read, name = _FORMATS[suffix]
    try:
        rows = list(read(manifest))
    except FileNotFoundError:
        raise DatasetError(
            "no such manifest", where=manifest, hint="name a folder with dives.csv, or the file itself"
        ) from None
    except csv.Error as error:
        raise DatasetError(f"not a readable {name} file: {error}", where=manifest) from None
    except OSError as error:
        raise DatasetError(f"cannot be read: {error.strerror or error}", where=manifest) from None
    names = list(dict.fromkeys(column for cells in rows for column in cells.texts if column not in COLUMNS))
    note = f"unknown columns are ignored: {', '.join(map(_name_with_guess, names))}" if names else None
    return [cells for cells in rows if cells.errors or any(cells.texts.get(column) for column in COLUMNS)], note


_OTHER_NAMES = {
    "video": "file filename file_name path clip video_path video_file datei dateiname fichier archivo",
    "dive": "dive_number dive_no number code sprung sprungnummer",
    "height_m": "height platform board höhe hauteur altura",
    "score": "points total punkte",
    "diver": "athlete name springer springerin",
    "date": "day datum fecha",
}


def _guess(name: str, columns: Sequence[str] = COLUMNS) -> str | None:
    """Return the column that is meant by a name that is none."""
    named = (column for column in columns if name in _OTHER_NAMES.get(column, "").split())
    return next(named, None) or next(iter(difflib.get_close_matches(name, columns, n=1)), None)


def _name_with_guess(name: str) -> str:
    guess = _guess(name)
    return f"{name!r} (meant {guess!r}?)" if guess else repr(name)


def _read_csv(manifest: Path) -> Iterator[Cells]:
    text = _decode(manifest, "CSV")
    delimiter, is_stated = _delimiter(text)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    if is_stated:
        next(reader)
    header: list[str] | None = None
    for values in reader:
        if not any(value.strip() for value in values):  # a blank line, or one of separators alone
            continue
        if header is None:
            header = _checked_header(manifest, values)
            continue
        texts = {name: value.strip() for name, value in zip(header, values, strict=False) if name}
        errors: tuple[CellError, ...] = ()
        if any(value.strip() for value in values[len(header) :]):
            hint = "quote cells that hold a comma, decimal commas too" if delimiter == "," else None
            errors = (CellError(None, "more cells than columns", hint),)
        yield Cells(reader.line_num, texts, errors)
    if header is None:
        _checked_header(manifest, [])


def _decode(manifest: Path, name: str) -> str:
    """Return the text of a file in UTF-8 or UTF-16, with or without a byte order mark."""
    data = manifest.read_bytes()
    if data.startswith(b"PK\x03\x04"):
        hint = "save the sheet as CSV UTF-8"
        raise DatasetError(f"not a readable {name} file: it is a workbook of a spreadsheet", where=manifest, hint=hint)
    encoding = "utf-8-sig"
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        encoding = "utf-16"
    elif 0 in data[:2]:
        encoding = "utf-16-be" if data[0] == 0 else "utf-16-le"
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        what = f"not a readable {name} file: line {line} is not {encoding.removesuffix('-sig').upper()}"
        seems = "" if encoding != "utf-8-sig" or 0 in data else "it seems to be Windows-1252; "
        raise DatasetError(what, where=manifest, hint=f"{seems}save it as CSV UTF-8") from None


def _delimiter(text: str) -> tuple[str, bool]:
    """Return what separates the columns, and whether Excel's first line ``sep=;`` says so."""
    first = next((line for line in io.StringIO(text, newline=None) if line.strip()), "")
    stated = re.fullmatch(r'"?sep=([,;\t])"?', first.rstrip("\n "), re.IGNORECASE)
    if stated:
        return stated[1], True

    def columns(delimiter: str) -> tuple[bool, int]:
        names = [_column(name) for name in next(csv.reader([first], delimiter=delimiter), [])]
        return "video" in names, len(names)

    return max(",;\t", key=columns), False


def _column(name: str) -> str:
    return name.strip().lower()


def _checked_header(manifest: Path, names: Sequence[str]) -> list[str]:
    header = [_column(name) for name in names]
    if "video" not in header:
        there = f"; the columns are {', '.join(repr(name) for name in header)}" if any(header) else ""
        meant = next((name for name in header if _guess(name, ("video",))), None)
        hint = f"rename {meant!r} to 'video'; {_COLUMNS_HINT}" if meant else _COLUMNS_HINT
        raise DatasetError(f"no column 'video'{there}", where=manifest, hint=hint)
    for name in COLUMNS:
        if header.count(name) > 1:
            raise DatasetError(f"column {name!r} occurs twice", where=manifest)
    return header


def _read_jsonl(manifest: Path) -> Iterator[Cells]:
    for line, text in enumerate(io.StringIO(_decode(manifest, "JSON Lines"), newline=None), start=1):
        if not text.strip():
            continue
        try:
            record = json.loads(text, object_pairs_hook=_distinct)
        except (ValueError, RecursionError) as error:
            yield Cells(line, {}, (CellError(None, f"not a JSON object: {error}"),))
            continue
        if isinstance(record, dict):
            yield _cells(line, record)
        else:
            yield Cells(line, {}, (CellError(None, "not a JSON object"),))


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(pairs)
    if len(record) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{next(name for name in names if names.count(name) > 1)!r} occurs twice")
    return record


def _read_parquet(manifest: Path) -> Iterator[Cells]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    if manifest.stat().st_size == 0:
        raise DatasetError("not a readable Parquet file: it is empty", where=manifest)
    try:
        # One thread and no memory map: a manifest is small, and a damaged one must not take the process along.
        with pq.ParquetFile(manifest) as file:
            _checked_header(manifest, file.schema_arrow.names)
            records = file.read(use_threads=False).to_pylist()
    except (pa.ArrowException, ValueError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # of the file, not of what is in it
        message = " ".join(str(error).split())
        raise DatasetError(f"not a readable Parquet file: {message}", where=manifest) from None
    for row, record in enumerate(records, start=1):
        yield _cells(row, record)


def _cells(row: int, record: Mapping[str, Any]) -> Cells:
    """Turn typed values into the text of a CSV file, so that one model parses every format."""
    texts: dict[str, str] = {}
    errors = []
    for name, value in record.items():
        column = _column(name)
        try:
            texts[column] = _text(value) if column in COLUMNS else ""
        except TypeError as error:
            texts[column] = ""
            errors.append(CellError(column, str(error)))
    return Cells(row, texts, tuple(errors))


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, date):  # a time of day as well in its subclass
        return value.isoformat()
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, list) and all(isinstance(part, (int, float)) and not isinstance(part, bool) for part in value):
        return " ".join(str(part) for part in value)
    raise TypeError(f"a {type(value).__name__} is neither text nor a number nor a list of numbers")


_FORMATS: dict[str, tuple[Callable[[Path], Iterator[Cells]], str]] = {
    ".csv": (_read_csv, "CSV"),
    ".jsonl": (_read_jsonl, "JSON Lines"),
    ".parquet": (_read_parquet, "Parquet"),
}


# Paths in a manifest: of files beside or below it.


class PathError(Exception):
    """A path in a manifest leads nowhere that it may."""

    def __init__(self, what: str, hint: str | None = None) -> None:
        self.what, self.hint = what, hint
        super().__init__(what)


def locate_file(manifest: Path, cell: str, *, allow_outside: bool) -> str:
    """Return the path of a file named in a manifest; it need not exist.

    Backslashes of Windows are accepted in relative paths.

    Raises:
        PathError: It leads out of the manifest's folder, is an absolute path of Windows elsewhere, or cannot be
            resolved.
    """
    folder = os.path.dirname(manifest)  # noqa: PTH120 - "" where the manifest is here: nobody writes "./"
    path = os.path.join(folder, cell)  # noqa: PTH118 - a name with a zero byte is a row that fails
    try:
        if os.name != "nt" and "\\" in cell and not os.path.lexists(path):
            windows = PureWindowsPath(cell)
            if windows.drive or windows.root:
                beside = os.path.lexists(os.path.join(folder, windows.name))  # noqa: PTH118
                hint = f"write {windows.name!r}, which lies beside the manifest" if beside else None
                raise PathError(f"{cell!r} is a path of Windows", hint or "write paths from the manifest's folder on")
            path = os.path.join(folder, windows.as_posix())  # noqa: PTH118
        root = os.path.realpath(folder)
        is_inside = os.path.commonpath((os.path.realpath(path, strict=False), root)) == root
    except (OSError, ValueError) as error:  # too long a name, a zero byte
        raise PathError(f"{cell!r} cannot be looked at: {error}") from None
    if not allow_outside and not is_inside:
        raise PathError(f"{cell!r} leads out of the manifest's folder", "--allow-outside accepts it")
    return path


# Read a dataset described by a manifest, beside the videos.

MANIFEST_NAME = "dives.csv"
MANIFEST_NAMES = (MANIFEST_NAME, "dives.jsonl", "dives.parquet")
"""Names of a manifest in the folder of a dataset."""

_KINDS: dict[str, Kind] = {
    "video": "video",
    "mask": "masks",
    "dive": "dive number",
    "score": "score",
    "split": "split",
    "twist_start": "boundaries",
    "entry_start": "boundaries",
    "end_s": "boundaries",
}

_ROUNDING = 1e-9
"""Three tens at difficulty 3.3 are a little less than 99 in binary."""


def find_manifest(folder: Path) -> Path | None:
    """Return the manifest of a folder, or None where there is none.

    Raises:
        DatasetError: There are several.
    """
    manifests = [folder / name for name in MANIFEST_NAMES if (folder / name).exists()]
    if len(manifests) > 1:
        names = " and ".join(manifest.name for manifest in manifests)
        raise DatasetError(f"two manifests, {names}", where=folder, hint="name the one that is meant")
    return manifests[0] if manifests else None


def read_manifest(path: Path, *, allow_outside: bool = False, report: Report = refuse) -> list[Dive]:
    """Read a manifest.

    Args:
        path: A ``.csv``, ``.jsonl`` or ``.parquet`` file, or a folder that holds one called ``dives``.
        allow_outside: Accept paths that lead out of the manifest's folder.
        report: Called with every problem; by default the first wrong cell is raised. If it returns, the row is left
            out.

    Returns:
        The dives in the order of the rows.

    Raises:
        DatasetError: The manifest is missing, unreadable, empty, or a row is wrong; names file, row and column.
    """
    manifest = find_manifest(path) or path / MANIFEST_NAME if path.is_dir() else path
    rows, note = _read_table(manifest)
    if note and report is refuse:
        logger.warning("%s: %s", manifest, note)
    elif note:
        report(Problem("manifest", str(manifest), note, stops=False))
    if not rows:
        raise DatasetError("no dives: the manifest has no rows", where=manifest)
    first_rows: dict[str, int] = {}
    dives = [_DiveReader(manifest, cells, allow_outside, report).read(first_rows) for cells in rows]
    return [dive for dive in dives if dive is not None]


class _DiveReader:
    """Turns a row into a dive, and checks it against the other cells and the files."""

    def __init__(self, manifest: Path, cells: Cells, allow_outside: bool, report: Report) -> None:
        self._manifest, self._cells, self._allow_outside, self._report = manifest, cells, allow_outside, report
        self._row, self._errors = cells.parse()

    def read(self, first_rows: dict[str, int]) -> Dive | None:
        """Return the dive; None if a cell is wrong. Every cell is checked, whatever the others hold.

        Args:
            first_rows: Row in which each dive was first named; this row is added.
        """
        row = self._row
        if self._cells.texts:
            video, difficulty = self._video(first_rows), self._difficulty()
            mask = self._path("mask") if row.mask else None
            if row.score and difficulty and row.score > MAX_EXECUTION * difficulty * (1 + _ROUNDING):
                most = f"three tens at difficulty {difficulty:g} make {MAX_EXECUTION * difficulty:g}"
                self._add("score", f"{row.score:g} is out of range", most)
            if row.twist_start is not None and row.entry_start is not None and row.entry_start <= row.twist_start:
                what = f"{row.entry_start} is not after twist_start {row.twist_start}"
                self._add("entry_start", what, "the flight comes first")
            if row.end_s is not None and row.end_s <= (row.start_s or 0.0):
                self._add("end_s", f"{row.end_s:g} is not after start_s {row.start_s or 0:g}")
        if self._errors:
            order = (None, "video", "dive", "height_m", "difficulty", *COLUMNS)
            for error in sorted(self._errors, key=lambda error: order.index(error.column)):
                self._tell(error)
            return None
        assert video is not None and difficulty is not None  # noqa: PT018, S101 -- else there is an error
        return Dive(
            key=row.key,
            video=video,
            score=row.score,
            difficulty=difficulty,
            number=row.dive,
            height_m=row.height_m,
            twist_start=row.twist_start,
            entry_start=row.entry_start,
            mask=mask,
            judges=row.judges,
            deductions=row.deductions,
            split=row.split,
            start_s=row.start_s,
            end_s=row.end_s,
            diver=row.diver,
            date=row.date,
        )

    def _add(self, column: str, what: str, hint: str | None = None) -> None:
        self._errors.append(CellError(column, what, hint))

    def _tell(self, error: CellError) -> None:
        where = f"row {self._cells.row}" + ("" if error.column is None else f", column {error.column!r}")
        kind = _KINDS.get(error.column or "", "manifest")
        key = self._row.key if self._row.video else None
        self._report(Problem(kind, str(self._manifest), f"{where}: {error.what}", error.hint, dive=key))

    def _video(self, first_rows: dict[str, int]) -> Path | None:
        if not self._row.video:
            self._add("video", "empty", "name the video")
            return None
        key = self._row.key
        first = first_rows.setdefault(key, self._cells.row)
        if first != self._cells.row:
            self._add("video", f"{key!r} is listed twice, first in row {first}", "one row a dive")
        return self._path("video")

    def _path(self, column: str) -> Path | None:
        cell = self._cells.texts[column]
        try:
            manifest = self._manifest.parent.resolve() / self._manifest.name
            path = Path(locate_file(manifest, cell, allow_outside=self._allow_outside))
            if not path.exists():
                raise PathError(f"{cell!r} does not exist")
        except PathError as error:
            self._add(column, error.what, error.hint)
        except (OSError, RuntimeError, ValueError) as error:  # a loop of links, too long a name
            self._add(column, f"{cell!r} cannot be looked at: {error}")
        else:
            return path
        return None

    def _difficulty(self) -> float | None:
        row = self._row
        if row.difficulty is not None or self._cells.texts.get("difficulty"):
            return row.difficulty
        wrong = {error.column for error in self._errors}
        listed: float | None = None
        if row.dive is not None and row.height_m is not None:
            try:
                listed = listed_difficulty(parse_dive_number(row.dive), row.height_m)
            except FinecausalError as error:
                self._add("height_m", error.what, error.hint)
                return None
        if listed is None and not wrong & {"dive", "height_m"}:
            self._add("difficulty", "missing, and not to be had from dive and height_m", "give the difficulty")
        return listed
