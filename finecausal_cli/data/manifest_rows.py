"""The rows of a manifest as text cells, from CSV, JSON Lines or Parquet."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from finecausal_cli.errors import DatasetError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

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
