"""The truth of a batch: one row a line, on the disk as soon as it is known, whole whatever happens.

A process killed while it writes leaves at most one line that is not whole, the last one; it is cut off when the file
is opened again. A row is asked for again only if it is not in the file, so nothing is lost and nothing doubled.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from typing import IO, TYPE_CHECKING

from filelock import FileLock, Timeout
from pydantic import ValidationError

from finecausal_cli.assess.batch.row import Row
from finecausal_cli.errors import DatasetError, OutputError
from finecausal_cli.whole_file import whole_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from types import TracebackType

_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


class Journal:
    """Rows on disk, written by one process at a time. Use it as a context manager.

    Args:
        path: The file, JSON Lines; made when missing.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        # Hidden, and left behind: removing a lock file would let two writers hold "the" lock.
        self._lock = FileLock(path.with_name(f".{path.name}.lock"))
        self._stream: IO[bytes] | None = None

    def __enter__(self) -> Journal:
        """Keep other writers out, and cut off what a killed one left unfinished.

        Raises:
            OutputError: Another process writes to it, or it cannot be written.
            DatasetError: It holds something that is no row.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._lock.acquire(blocking=False)
        except Timeout:
            hint = "wait for it, or write to another file"
            raise OutputError("another run is writing to it", where=self.path, hint=hint) from None
        except OSError as error:
            raise self._unwritable(error) from error
        try:
            self._cut_off_unfinished_line()
            self._open()
        except BaseException:
            self._lock.release()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()
        self._lock.release()

    def append(self, row: Row) -> None:
        """Add a row; when this returns it is on the disk.

        Raises:
            OutputError: The disk is full, or gone. What was there before stays whole.
        """
        assert self._stream is not None  # noqa: S101 - used within the context
        line = to_line(row)
        whole = self._stream.seek(0, os.SEEK_END)
        try:
            while line:  # a file without a buffer may take less than it was given
                line = line[self._stream.write(line) :]
            os.fsync(self._stream.fileno())
        except OSError as error:
            with contextlib.suppress(OSError):
                self._stream.truncate(whole)
            raise self._unwritable(error) from error

    def drop(self, is_stale: Callable[[Row], bool]) -> int:
        """Take rows out, in one step; return how many.

        Raises:
            OutputError: The file cannot be written; then it is as it was.
        """
        dropped = 0
        if not any(is_stale(row) for row in read_rows(self.path)):
            return 0
        self._close()
        with whole_file(self.path, "the results") as part, part.open("wb") as stream:
            for row in read_rows(self.path):
                if is_stale(row):
                    dropped += 1
                else:
                    stream.write(to_line(row))
        self._open()
        return dropped

    def _open(self) -> None:
        try:
            self._stream = self.path.open("ab", buffering=0)
        except OSError as error:
            raise self._unwritable(error) from error

    def _close(self) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def _cut_off_unfinished_line(self) -> None:
        if not self.path.exists():
            return
        try:
            with self.path.open("rb+") as stream:
                end = _end_of_whole_lines(stream)
                if end < stream.seek(0, os.SEEK_END):
                    if not _begins_as_a_row(stream):  # what never was a journal must not be cut
                        raise _no_row(self.path, 1, "it begins as something else")
                    stream.truncate(end)
                    os.fsync(stream.fileno())
        except OSError as error:
            raise self._unwritable(error) from error

    def _unwritable(self, error: OSError) -> OutputError:
        what = f"the results cannot be written: {error.strerror or error}"
        return OutputError(what, where=self.path, hint="check the folder, its rights and the free space")


def to_line(row: Row) -> bytes:
    """Return a row as one line of JSON, with everything that it holds."""
    text = json.dumps(row.model_dump(mode="json"), ensure_ascii=False, allow_nan=False)
    return (_LONE_SURROGATE.sub(lambda match: f"\\u{ord(match.group()):04x}", text) + "\n").encode()


def read_rows(path: Path) -> Iterator[Row]:
    """Read the rows of a journal one by one; a last line that is not whole is left out, as if it were not there yet.

    Raises:
        DatasetError: The file is missing, unreadable, or a line of it is no row.
    """
    try:
        with path.open("rb") as stream:
            for number, line in enumerate(stream, start=1):
                if not line.endswith(b"\n"):
                    return
                if line.strip():
                    yield _parse(line, path, number)
    except OSError as error:
        raise DatasetError(f"the results cannot be read: {error.strerror or error}", where=path) from error


def _parse(line: bytes, path: Path, number: int) -> Row:
    try:
        # Not by pydantic's own reader of JSON: a name that is no valid text is written as escapes that it refuses.
        return Row.model_validate(json.loads(line))
    except ValidationError as error:
        first = error.errors()[0]
        raise _no_row(path, number, f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    except ValueError:
        raise _no_row(path, number, "it is no line of JSON") from None


def _no_row(path: Path, number: int, why: str) -> DatasetError:
    what = f"line {number} is no row of results: {why}"
    return DatasetError(what, where=path, hint="name another file, or move this one away")


def _end_of_whole_lines(stream: IO[bytes]) -> int:
    """Return where the last line that ends with a line break ends."""
    size = position = stream.seek(0, os.SEEK_END)
    chunk = 1 << 16
    while position > 0:
        start = max(0, position - chunk)
        stream.seek(start)
        found = stream.read(position - start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        position = start
    return 0 if size else size


def _begins_as_a_row(stream: IO[bytes]) -> bool:
    stream.seek(0)
    begin = b'{"row_version"'
    return begin.startswith(stream.read(len(begin)))
