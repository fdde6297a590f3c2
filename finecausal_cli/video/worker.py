"""Worker processes for decoding: a decoder that hangs or crashes can be killed alone.

A process is reused, since its start takes longer than most clips. Protocol: the process writes one line of JSON when it
is ready; for each line of input it answers with the length of a header, the header as JSON, and the bytes of the arrays
named in the header.
"""

from __future__ import annotations

import json
import logging
import math
import os
import signal
import struct
import subprocess
import sys
import tempfile
import time
import traceback
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

logger = logging.getLogger(__name__)

_START = (
    "import importlib, json, sys; sys.path[:] = json.loads(sys.argv[1]); importlib.import_module(sys.argv[2]).serve()"
)
"""The program. ``multiprocessing`` would import the caller's main module again, and cannot be used in daemons."""

_GRACE_S = 2
"""Seconds after the time limit at which an orphaned process ends itself."""

_ERRORS: dict[ErrorKind, type[FinecausalError]] = {"bad_option": UsageError}
"""Error classes by kind; ``VideoError`` for all others."""

_LENGTH = struct.Struct("<Q")
_LOG_TAIL = 4096
"""Bytes at the end of a dead process's output in which its last line is searched."""

_PROGRESS_S = 0.5
"""Least seconds between two reports of progress."""

Arrays = dict[str, "NDArray[Any]"]
Answer = tuple[dict[str, Any], Arrays]
"""Facts that JSON can hold, and arrays by name."""

Progress = Callable[[float], None]
"""Called with the share of the work that is done, 0 to 1."""


def read_within(timeout_s: float, path: str | os.PathLike[str], options: Mapping[str, Any]) -> Clip:
    """Call ``read_clip(path, **options)`` in a new process, and kill it after ``timeout_s`` seconds.

    Raises:
        VideoError: What ``read_clip`` raised; or it took longer, or crashed.
    """
    with DecodeWorker() as process:
        return process.read(path, options, timeout_s=timeout_s, startup_s=timeout_s)


class WorkerProcess:
    """A process that runs one task after the other, and is replaced when it hangs or dies. Not thread-safe.

    Only ``close`` may be called from another thread; a waiting call then raises ``VideoError``.

    Args:
        module: Module whose function ``serve`` the process runs.
    """

    def __init__(self, module: str = "finecausal_cli.video.reader") -> None:
        self._module = module
        self._process: subprocess.Popen[bytes] | None = None
        self._stderr: IO[bytes] | None = None
        self._is_closed = False
        self._is_ready = False
        self._starting = Lock()  # against a start just after another thread called close

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def pid(self) -> int | None:
        """Id of the process; None while there is none."""
        return None if self._process is None else self._process.pid

    def start(self) -> None:
        """Start the process in the background, unless it runs."""
        with self._starting:
            if not self._is_closed and (self._process is None or self._process.poll() is not None):
                self._start()

    def run(
        self,
        path: str | os.PathLike[str],
        options: Mapping[str, Any],
        *,
        timeout_s: float,
        startup_s: float = 120.0,
        progress: Progress = lambda _: None,
    ) -> Answer:
        """Run a task in the process; kill it after ``timeout_s`` seconds without progress.

        Args:
            path: Video file or folder of frames.
            options: Values that JSON can hold.
            timeout_s: Time limit of the task, counted anew at every report of progress.
            startup_s: Time limit of the start of the process, which does not count for the task.
            progress: Called with the progress of the task.

        Raises:
            VideoError: The task raised it, or what nobody foresaw (kind ``unexpected``); or it took longer, or crashed.
            UsageError: The task raised it.
        """
        if self._is_closed:
            raise VideoError("Reading was stopped.", where=path)
        self.start()
        self._await_ready(path, startup_s)
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
            raise self._failure(path, timeout_s if late.is_set else None)
        if "error" in answer[0]:
            for line in answer[0].get("traceback", "").splitlines():
                logger.debug("%s", line)
            raise _error(*answer[0]["error"])
        return answer

    def close(self) -> None:
        """Kill the process."""
        with self._starting:
            self._is_closed = True
            process = self._process
            if process is not None:
                process.kill()
                self._release()

    def _await_ready(self, path: str | os.PathLike[str], startup_s: float) -> None:
        if self._is_ready:
            return
        with self._killed_after(startup_s) as late:
            try:
                self._is_ready = bool(self._pipe("stdout").readline())
            except (OSError, ValueError):  # closed meanwhile
                self._is_ready = False
        if not self._is_ready:
            raise self._failure(path, startup_s if late.is_set else None)

    def _start(self) -> None:
        self._release()
        self._is_ready = False
        # A file, not a pipe, which would have to be emptied.
        self._stderr = tempfile.TemporaryFile(mode="a+b")  # noqa: SIM115 - closed by _release
        # S603: the command is this interpreter and a constant; the path travels as data.
        self._process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-c", _START, json.dumps(sys.path), self._module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
        )

    def _pipe(self, name: str) -> IO[bytes]:
        pipe: IO[bytes] | None = getattr(self._process, name, None)
        if pipe is None:
            raise OSError("closed")
        return pipe

    def _killed_after(self, seconds: float) -> _Deadline:
        assert self._process is not None  # noqa: S101 - it was started
        return _Deadline(self._process, seconds)

    def _failure(self, path: str | os.PathLike[str], limit_s: float | None) -> VideoError:
        """Clean up after the process; return the error of how it ended."""
        if self._is_closed:
            return VideoError("Reading was stopped.", where=path)
        process, log = self._process, self._stderr
        assert process is not None  # noqa: S101 - it was started
        if limit_s is None:
            with suppress(subprocess.TimeoutExpired):  # it may still be dying: wait for its exit code
                process.wait(_GRACE_S)
        process.kill()
        code = process.wait()
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        if code >= 0 and log is not None:
            log.seek(max(0, log.tell() - _LOG_TAIL))
            lines = log.read().decode(errors="replace").strip().splitlines()
            how = lines[-1] if lines else how
        self._release()
        if limit_s is not None:
            what = f"Reading took longer than {limit_s:g} s."
            return VideoError(what, where=path, hint="allow more time", kind="timeout")
        return VideoError(f"The decoder crashed ({how}).", where=path, kind="crashed")

    def _release(self) -> None:
        process, log = self._process, self._stderr
        self._process = self._stderr = None
        if process is not None:
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    with suppress(OSError):
                        pipe.close()
            process.wait()
        if log is not None:
            log.close()


class DecodeWorker(WorkerProcess):
    """A process that reads clips."""

    def read(
        self,
        path: str | os.PathLike[str],
        options: Mapping[str, Any],
        *,
        timeout_s: float,
        startup_s: float = 120.0,
    ) -> Clip:
        """Call ``read_clip(path, **options)`` in the process; see ``run``.

        Raises:
            VideoError: What ``read_clip`` raised; or it took longer, or crashed.
            UsageError: What ``read_clip`` raised.
        """
        return unpack_clip(*self.run(path, options, timeout_s=timeout_s, startup_s=startup_s), path)


class _Deadline:
    """Kills a process unless the block ends, or the deadline is postponed, within so many seconds."""

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
        """Restart the timer."""
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
    """Run the task of each line of standard input; write its result, or its error, to standard output.

    Args:
        work: Runs one task of a path and options; calls its third argument with the progress.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the parent ends this one
    answer = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # output of decoders must not mix with the answer
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
            except MemoryError:  # as one that a decoder dies of: another process has room again
                raise
            except Exception as error:
                why = f"{type(error).__name__}: {' '.join(str(error).split())}"
                parts = [f"an error of this program: {why}", request["path"], None, "unexpected"]
                _send(answer, {"error": parts, "traceback": traceback.format_exc()})
            else:
                _send(answer, facts, **arrays)
            _set_alarm(0)


def _reporter(answer: IO[bytes], alarm_s: int) -> Progress:
    """Return a function that reports progress, at a limited rate, and resets the alarm."""
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
    """Return facts and arrays; None if the stream ends early."""
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
    """Serialise a clip for the way between processes."""
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
    """Deserialise a clip."""
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
