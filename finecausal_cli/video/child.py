"""Read clips in a process that can be killed: a decoder that hangs or crashes takes nothing else with it.

The process lives as long as it behaves, for its start takes longer than most clips. It speaks first (one line of
JSON, so that the time it takes to start is nobody's time limit), then answers each line it is sent: the length of a
header, the header as JSON, and the bytes of the arrays that the header names.
"""

from __future__ import annotations

import json
import math
import os
import signal
import struct
import subprocess
import sys
import tempfile
from contextlib import suppress
from threading import Timer
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from finecausal_cli.errors import ErrorKind, FinecausalError, UsageError, VideoError
from finecausal_cli.video.clip import Clip

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from numpy.typing import NDArray

_START = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from finecausal_cli.video import child; child.serve()"
)
"""What the process runs. ``multiprocessing`` would run the caller's main module again, and refuses to serve daemons."""

_GRACE_S = 2
"""Seconds after the time limit at which the process ends by itself, should the one that started it be gone."""

_ERRORS: dict[ErrorKind, type[FinecausalError]] = {"bad_option": UsageError}
"""What to raise for an error of the process, by its kind; ``VideoError`` for all others."""

_LENGTH = struct.Struct("<Q")
_LAST_WORDS = 4096
"""Bytes of a dead process's last output that may hold its last line."""


def read_within(timeout_s: float, path: str | os.PathLike[str], options: Mapping[str, Any]) -> Clip:
    """Call ``read_clip(path, **options)`` in a new process, and kill it after ``timeout_s`` seconds.

    Raises:
        VideoError: What ``read_clip`` raised; or it took longer, or crashed.
    """
    with ReadingProcess() as process:
        return process.read(path, options, timeout_s=timeout_s, startup_s=timeout_s)


class ReadingProcess:
    """A process that reads one clip after the other, and is replaced when it hangs or dies. Not for two threads.

    Another thread may call ``close`` while this one reads; then reading ends with a ``VideoError``.
    """

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._words: IO[bytes] | None = None
        self._is_closed = False

    def __enter__(self) -> ReadingProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def pid(self) -> int | None:
        """Number of the process; None while there is none."""
        return None if self._process is None else self._process.pid

    def read(
        self,
        path: str | os.PathLike[str],
        options: Mapping[str, Any],
        *,
        timeout_s: float,
        startup_s: float = 120.0,
    ) -> Clip:
        """Call ``read_clip(path, **options)`` in the process, and kill the process after ``timeout_s`` seconds.

        Args:
            path: Video file or folder of frames.
            options: Arguments of ``read_clip``.
            timeout_s: Most seconds for this clip.
            startup_s: Most seconds that the process may take to start, if it has to; they do not count as the clip's.

        Raises:
            VideoError: What ``read_clip`` raised; or it took longer, or crashed.
        UsageError: What ``read_clip`` raised.
        """
        if self._is_closed:
            raise VideoError("Reading was stopped.", where=path)
        if self._process is None or self._process.poll() is not None:
            self._start()
            with self._killed_after(startup_s) as late:
                try:
                    says_hello = bool(self._pipe("stdout").readline())
                except (OSError, ValueError):  # closed meanwhile
                    says_hello = False
            if not says_hello:
                raise self._ended(path, startup_s if late.is_set else None)
        request = {"path": os.fspath(path), "options": dict(options), "alarm_s": math.ceil(timeout_s) + _GRACE_S}
        with self._killed_after(timeout_s) as late:
            try:
                self._pipe("stdin").write(json.dumps(request).encode() + b"\n")
                self._pipe("stdin").flush()
                answer = _receive(self._pipe("stdout"))
            except (OSError, ValueError):  # it has died, or was closed meanwhile
                answer = None
        if answer is None:
            raise self._ended(path, timeout_s if late.is_set else None)
        return _unpack(answer, path)

    def close(self) -> None:
        """End the process, whatever it is doing."""
        self._is_closed = True
        process = self._process
        if process is not None:
            process.kill()
            self._forget()

    def _start(self) -> None:
        self._forget()
        # A file, not a pipe: nobody has to empty it.
        self._words = tempfile.TemporaryFile(mode="a+b")  # noqa: SIM115 - closed by _forget
        # S603: the command is this interpreter and our own words; the path travels as data.
        self._process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-c", _START, json.dumps(sys.path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._words,
        )

    def _pipe(self, name: str) -> IO[bytes]:
        pipe: IO[bytes] | None = getattr(self._process, name, None)
        if pipe is None:
            raise OSError("closed")
        return pipe

    def _killed_after(self, seconds: float) -> _Deadline:
        assert self._process is not None  # noqa: S101 - it was started
        return _Deadline(self._process, seconds)

    def _ended(self, path: str | os.PathLike[str], limit_s: float | None) -> VideoError:
        """Clear up after the process and say how it ended."""
        if self._is_closed:
            return VideoError("Reading was stopped.", where=path)
        process, words = self._process, self._words
        assert process is not None  # noqa: S101 - it was started
        if limit_s is None:
            with suppress(subprocess.TimeoutExpired):  # it has fallen silent, but may still be dying: let it say how
                process.wait(_GRACE_S)
        process.kill()
        code = process.wait()
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        if code >= 0 and words is not None:
            words.seek(max(0, words.tell() - _LAST_WORDS))
            lines = words.read().decode(errors="replace").strip().splitlines()
            how = lines[-1] if lines else how
        self._forget()
        if limit_s is not None:
            what = f"Reading took longer than {limit_s:g} s."
            return VideoError(what, where=path, hint="allow more time", kind="timeout")
        return VideoError(f"The decoder crashed ({how}).", where=path, kind="crashed")

    def _forget(self) -> None:
        process, words = self._process, self._words
        self._process = self._words = None
        if process is not None:
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    with suppress(OSError):
                        pipe.close()
            process.wait()
        if words is not None:
            words.close()


class _Deadline:
    """Kills a process unless the block ends before so many seconds."""

    def __init__(self, process: subprocess.Popen[bytes], seconds: float) -> None:
        self.is_set = False
        self._process = process
        self._timer = Timer(seconds, self._strike)
        self._timer.daemon = True

    def __enter__(self) -> _Deadline:
        self._timer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()

    def _strike(self) -> None:
        self.is_set = True
        self._process.kill()


def serve() -> None:
    """Do what each line of standard input asks for, and answer on standard output with the clip, or the error."""
    from finecausal_cli.video.reader import read_clip  # the reader imports this module

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends Ctrl-C to all; who started this process ends it
    answer = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # whatever a decoder prints must not mix with the answer
    with suppress(BrokenPipeError), answer:
        answer.write(b"{}\n")
        answer.flush()
        for line in sys.stdin:
            request = json.loads(line)
            _set_alarm(request["alarm_s"])
            try:
                clip = read_clip(request["path"], **request["options"])
            except FinecausalError as error:
                _send(answer, {"error": [error.what, error.where, error.hint, error.kind]})
            else:
                facts = {"fps": clip.fps, "source": clip.source, "decoder": clip.decoder, "notes": clip.notes}
                _send(answer, facts, frames=clip.frames, source_frames=clip.source_frames)
            _set_alarm(0)


def _set_alarm(seconds: int) -> None:
    if hasattr(signal, "alarm"):
        signal.alarm(seconds)


def _send(answer: IO[bytes], facts: dict[str, Any], **arrays: NDArray[Any]) -> None:
    shapes = {name: [array.dtype.str, array.shape] for name, array in arrays.items()}
    header = json.dumps({"facts": facts, "arrays": shapes}).encode()
    answer.write(_LENGTH.pack(len(header)) + header)
    for array in arrays.values():
        answer.write(np.ascontiguousarray(array).data)
    answer.flush()


def _receive(stream: IO[bytes]) -> tuple[dict[str, Any], dict[str, NDArray[Any]]] | None:
    """Return facts and arrays; None if the stream ends before they do."""
    length = stream.read(_LENGTH.size)
    if len(length) < _LENGTH.size:
        return None
    header = stream.read(*_LENGTH.unpack(length))
    if len(header) < _LENGTH.unpack(length)[0]:
        return None
    message = json.loads(header)
    arrays = {}
    for name, (dtype, shape) in message["arrays"].items():
        array = np.empty(shape, np.dtype(dtype))
        # Every buffered stream has `readinto`; the type of a pipe does not say so.
        if stream.readinto(array.reshape(-1).view(np.uint8)) < array.nbytes:  # type: ignore[attr-defined]
            return None
        arrays[name] = array
    return message["facts"], arrays


def _unpack(answer: tuple[dict[str, Any], dict[str, NDArray[Any]]], path: str | os.PathLike[str]) -> Clip:
    facts, arrays = answer
    if "error" in facts:
        what, where, hint, kind = facts["error"]
        known: ErrorKind = kind
        raise _ERRORS.get(known, VideoError)(what, where=where, hint=hint, kind=known)
    return Clip(
        frames=arrays["frames"],
        source_frames=arrays["source_frames"],
        fps=facts["fps"],
        source=os.fspath(path),
        decoder=facts["decoder"],
        notes=tuple(facts["notes"]),
    )
