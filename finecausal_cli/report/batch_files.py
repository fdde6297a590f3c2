"""The rows of a batch as files: JSON Lines, JSON, CSV, Parquet. One row at a time, however many there are."""

from __future__ import annotations

import csv
import io
from itertools import islice
from typing import IO, TYPE_CHECKING, Any, get_args

from finecausal_cli.assess.batch.journal import read_rows, to_line
from finecausal_cli.assess.batch.row import COLUMNS, Row
from finecausal_cli.errors import OutputError
from finecausal_cli.report.batch_page import batch_page
from finecausal_cli.whole_file import whole_file

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    import pyarrow as pa

    from finecausal_cli.report.batch_target import BatchTarget, FileFormat

_ROW_GROUP = 1000


def write_files(target: BatchTarget) -> None:
    """Make the files of a batch out of its journal, sorted by name, each whole or not at all.

    Raises:
        OutputError: A file cannot be written.
    """
    for file_format, path in target.files:
        rows = read_rows(target.journal)
        write_file(path, file_format, sort_rows(rows if file_format == "json" else (row.light() for row in rows)))


def sort_rows(rows: Iterable[Row]) -> list[Row]:
    """Return rows by name of the source: the same order whoever was ready first."""
    return sorted(rows, key=lambda row: (row.source, row.start_s or 0.0, row.end_s or 0.0, row.dive_index or 0))


def write_file(path: Path, file_format: FileFormat, rows: Iterable[Row]) -> None:
    """Write rows in one format.

    Raises:
        OutputError: The file cannot be written.
    """
    with whole_file(path, "the results") as part:
        if file_format == "parquet":
            _write_parquet(part, rows)
            return
        with part.open("wb") as stream:
            if file_format == "html":
                stream.write(batch_page([row.light() for row in rows]).encode("utf-8", "replace"))
                return
            writer = row_writer(file_format, stream)
            for row in rows:
                writer.add(row)
            writer.close()


class JsonLinesWriter:
    """One object a line."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream

    def add(self, row: Row) -> None:
        """Write a row."""
        self._stream.write(to_line(row))
        self._stream.flush()

    def close(self) -> None:
        """Write the end."""


class JsonWriter(JsonLinesWriter):
    """One array of objects."""

    def __init__(self, stream: IO[bytes]) -> None:
        super().__init__(stream)
        self._is_first = True

    def add(self, row: Row) -> None:
        """Write a row."""
        self._stream.write((b"[\n" if self._is_first else b",\n") + to_line(row).rstrip(b"\n"))
        self._is_first = False

    def close(self) -> None:
        """Write the end."""
        self._stream.write(b"[]\n" if self._is_first else b"\n]\n")
        self._stream.flush()


class CsvWriter(JsonLinesWriter):
    """A table in UTF-8: a header, then a line a row; empty where nothing is known."""

    def __init__(self, stream: IO[bytes]) -> None:
        super().__init__(stream)
        self._write(COLUMNS)

    def add(self, row: Row) -> None:
        """Write a row."""
        self._write([cell for _, cell in _cells(row)])
        self._stream.flush()

    def _write(self, cells: Iterable[object]) -> None:
        line = io.StringIO(newline="")
        csv.writer(line, lineterminator="\n").writerow(cells)
        self._stream.write(line.getvalue().encode("utf-8", "backslashreplace"))


def row_writer(file_format: FileFormat, stream: IO[bytes]) -> JsonLinesWriter:
    """Return what writes rows to a stream as they come."""
    kinds = {"jsonl": JsonLinesWriter, "json": JsonWriter, "csv": CsvWriter}
    return kinds[file_format](stream)


def _write_parquet(path: Path, rows: Iterable[Row]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = _schema()
    remaining = iter(rows)
    try:
        with pq.ParquetWriter(path, schema) as writer:
            while group := [dict(_cells(row)) for row in islice(remaining, _ROW_GROUP)]:
                writer.write_table(pa.Table.from_pylist(group, schema=schema))
    except pa.ArrowException as error:
        raise OutputError(f"the results cannot be written as Parquet: {error}", where=path) from error


def _schema() -> pa.Schema:
    import pyarrow as pa

    kinds = {int: pa.int64(), float: pa.float64()}
    fields = []
    for name in COLUMNS:
        annotation = Row.model_fields[name].annotation
        alternatives = set(get_args(annotation)) or {annotation}
        kind = next((kinds[each] for each in kinds if each in alternatives), pa.string())
        fields.append((name, pa.int64() if name == "row_version" else kind))
    return pa.schema(fields)


def _cells(row: Row) -> list[tuple[str, Any]]:
    """Return the columns of a row; text that is no valid Unicode is written with escapes."""
    values = [(name, getattr(row, name)) for name in COLUMNS]
    return [
        (name, value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value)
        for name, value in values
    ]
