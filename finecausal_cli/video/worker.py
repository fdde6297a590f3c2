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
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from threading import Lock, Timer
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from finecausal_cli.errors import ErrorKind, FinecausalError, UsageError, VideoError
from finecausal_cli.video import Clip

if TYPE_CHECKING:
    from types import TracebackType

    from numpy.typing import NDArray
    from typing_extensions import Self

_START = (
    "import importlib, json, sys; sys.path[:] = json.loads(sys.argv[1]); importlib.import_module(sys.argv[2]).serve()"
)
"""What the process runs. ``multiprocessing`` would run the caller's main module again, and refuses to serve daemons."""

_GRACE_S = 2
"""Seconds after the time limit at which the process ends by itself, should the one that started it be gone."""

_ERRORS: dict[ErrorKind, type[FinecausalError]] = {"bad_option": UsageError}
"""What to raise for an error of the process, by its kind; ``VideoError`` for all others."""

_LENGTH = struct.Struct("<Q")
_LAST_WORDS = 4096
"""Bytes of a dead process's last output that may hold its last line."""

_PROGRESS_S = 0.5
"""Least seconds between two reports of progress."""

Arrays = dict[str, "NDArray[Any]"]
Answer = tuple[dict[str, Any], Arrays]
"""Facts that JSON can hold, and arrays by name."""

Progress = Callable[[float], None]
"""Told which share of the work is done, 0 to 1."""


def read_within(timeout_s: float, path: str | os.PathLike[str], options: Mapping[str, Any]) -> Clip:
    """Call ``read_clip(path, **options)`` in a new process, and kill it after ``timeout_s`` seconds.

    Raises:
        VideoError: What ``read_clip`` raised; or it took longer, or crashed.
    """
    with DecodeWorker() as process:
        return process.read(path, options, timeout_s=timeout_s, startup_s=timeout_s)


class WorkerProcess:
    """A process that does one task after the other, and is replaced when it hangs or dies. Not for two threads.

    Another thread may call ``close`` while this one waits; then waiting ends with a ``VideoError``.

    Args:
        module: Its function ``serve`` is what the process runs.
    """

    def __init__(self, module: str = "finecausal_cli.video.reader") -> None:
        self._module = module
        self._process: subprocess.Popen[bytes] | None = None
        self._words: IO[bytes] | None = None
        self._is_closed = False
        self._has_said_hello = False
        self._starting = Lock()  # or a process could start just after another thread has closed this

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def pid(self) -> int | None:
        """Number of the process; None while there is none."""
        return None if self._process is None else self._process.pid

    def start(self) -> None:
        """Start the process, unless it runs; it gets ready while others work."""
        with self._starting:
            if not self._is_closed and (self._process is None or self._process.poll() is not None):
                self._start()

    def ask(
        self,
        path: str | os.PathLike[str],
        options: Mapping[str, Any],
        *,
        timeout_s: float,
        startup_s: float = 120.0,
        progress: Progress = lambda _: None,
    ) -> Answer:
        """Give the process a task, and kill it when nothing is heard of it for ``timeout_s`` seconds.

        Args:
            path: Video file or folder of frames.
            options: What JSON can hold.
            timeout_s: Most seconds for this task, or until the next report of progress.
            startup_s: Most seconds that the process may take to start, if it has to; they do not count as the task's.
            progress: Told of the process's progress.

        Raises:
            VideoError: The task raised it; or it took longer, or crashed.
            UsageError: The task raised it.
        """
        if self._is_closed:
            raise VideoError("Reading was stopped.", where=path)
        self.start()
        self._await_hello(path, startup_s)
        request = {"path": os.fspath(path), "options": dict(options), "alarm_s": math.ceil(timeout_s) + _GRACE_S}
        with self._killed_after(timeout_s) as late:
            try:
                self._pipe("stdin").write(json.dumps(request).encode() + b"\n")
                self._pipe("stdin").flush()
                answer = _receive(self._pipe("stdout"))
                while answer is not None and "progress" in answer[0]:
                    late.postpone()
                    progress(answer[0]["progress"])
                    answer = _receive(self._pipe("stdout"))
            except (OSError, ValueError):  # it has died, or was closed meanwhile
                answer = None
        if answer is None:
            raise self._ended(path, timeout_s if late.is_set else None)
        if "error" in answer[0]:
            raise _error(*answer[0]["error"])
        return answer

    def close(self) -> None:
        """End the process, whatever it is doing."""
        with self._starting:
            self._is_closed = True
            process = self._process
            if process is not None:
                process.kill()
                self._forget()

    def _await_hello(self, path: str | os.PathLike[str], startup_s: float) -> None:
        if self._has_said_hello:
            return
        with self._killed_after(startup_s) as late:
            try:
                self._has_said_hello = bool(self._pipe("stdout").readline())
            except (OSError, ValueError):  # closed meanwhile
                self._has_said_hello = False
        if not self._has_said_hello:
            raise self._ended(path, startup_s if late.is_set else None)

    def _start(self) -> None:
        self._forget()
        self._has_said_hello = False
        # A file, not a pipe: nobody has to empty it.
        self._words = tempfile.TemporaryFile(mode="a+b")  # noqa: SIM115 - closed by _forget
        # S603: the command is this interpreter and our own words; the path travels as data.
        self._process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-c", _START, json.dumps(sys.path), self._module],
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


class DecodeWorker(WorkerProcess):
    """A process that reads one clip after the other."""

    def read(
        self,
        path: str | os.PathLike[str],
        options: Mapping[str, Any],
        *,
        timeout_s: float,
        startup_s: float = 120.0,
    ) -> Clip:
        """Call ``read_clip(path, **options)`` in the process; see ``ask``.

        Raises:
            VideoError: What ``read_clip`` raised; or it took longer, or crashed.
            UsageError: What ``read_clip`` raised.
        """
        return unpack_clip(*self.ask(path, options, timeout_s=timeout_s, startup_s=startup_s), path)


class _Deadline:
    """Kills a process unless the block ends, or the deadline is put off, before so many seconds."""

    def __init__(self, process: subprocess.Popen[bytes], seconds: float) -> None:
        self.is_set = False
        self._process = process
        self._seconds = seconds
        self._timer = self._new()

    def __enter__(self) -> _Deadline:
        self._timer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()

    def postpone(self) -> None:
        """Begin to count anew."""
        self._timer.cancel()
        self._timer = self._new()
        self._timer.start()

    def _new(self) -> Timer:
        timer = Timer(self._seconds, self._strike)
        timer.daemon = True
        return timer

    def _strike(self) -> None:
        self.is_set = True
        self._process.kill()


def serve_tasks(work: Callable[[str, dict[str, Any], Progress], Answer]) -> None:
    """Do what each line of standard input asks for, and answer on standard output with the result, or the error.

    Args:
        work: Does one task: path, options, and whom to tell of progress.
    """
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
                facts, arrays = work(request["path"], request["options"], _reporter(answer, request["alarm_s"]))
            except FinecausalError as error:
                _send(answer, {"error": [error.what, error.where, error.hint, error.kind]})
            else:
                _send(answer, facts, **arrays)
            _set_alarm(0)


def _reporter(answer: IO[bytes], alarm_s: int) -> Progress:
    """Return what reports progress, not too often; each report puts the alarm off."""
    last = time.monotonic()

    def report(share: float) -> None:
        nonlocal last
        if time.monotonic() - last >= _PROGRESS_S:
            last = time.monotonic()
            _set_alarm(alarm_s)
            _send(answer, {"progress": share})

    return report


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


def _receive(stream: IO[bytes]) -> Answer | None:
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


def _error(what: str, where: str | None, hint: str | None, kind: ErrorKind) -> FinecausalError:
    return _ERRORS.get(kind, VideoError)(what, where=where, hint=hint, kind=kind)


def pack_clip(clip: Clip) -> Answer:
    """Take a clip apart for the way between processes."""
    facts = {
        "fps": clip.fps,
        "decoder": clip.decoder,
        "notes": clip.notes,
        "end_s": clip.end_s,
        "size": clip.source_size,
    }
    arrays: Arrays = {"frames": clip.frames, "source_frames": clip.source_frames, "times_s": clip.times_s}
    if clip.windows is not None:
        arrays["windows"] = clip.windows
    return facts, arrays


def unpack_clip(facts: dict[str, Any], arrays: Arrays, path: str | os.PathLike[str]) -> Clip:
    """Put a clip together again."""
    return Clip(
        frames=arrays["frames"],
        source_frames=arrays["source_frames"],
        fps=facts["fps"],
        source=os.fspath(path),
        decoder=facts["decoder"],
        notes=tuple(facts["notes"]),
        times_s=arrays["times_s"],
        end_s=facts["end_s"],
        windows=arrays.get("windows"),
        source_size=None if facts["size"] is None else (facts["size"][0], facts["size"][1]),
    )
