"""Read a clip in a process that can be killed: a decoder that hangs or crashes takes nothing else with it."""

from __future__ import annotations

import io
import json
import math
import os
import signal
import subprocess
import sys
from typing import Any

import numpy as np

from finecausal_cli.errors import VideoError
from finecausal_cli.video.clip import Clip

_START = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from finecausal_cli.video import child; child.serve()"
)
"""What the process runs. ``multiprocessing`` would run the caller's main module again, and refuses to serve daemons."""

_GRACE_S = 2
"""Seconds after the time limit at which the process ends by itself, should the one that started it be gone."""


def read_within(timeout_s: float, path: str | os.PathLike[str], options: dict[str, Any]) -> Clip:
    """Call ``read_clip(path, **options)`` in a new process, and kill it after ``timeout_s`` seconds.

    Raises:
        VideoError: What ``read_clip`` raised; or it took longer, or crashed.
    """
    request = json.dumps({"path": os.fspath(path), "options": options, "alarm_s": math.ceil(timeout_s) + _GRACE_S})
    command = [sys.executable, "-c", _START, json.dumps(sys.path)]
    try:
        # S603: the command is this interpreter and our own words; the path travels as data.
        done = subprocess.run(command, input=request.encode(), capture_output=True, timeout=timeout_s, check=False)  # noqa: S603
    except subprocess.TimeoutExpired as error:
        raise VideoError(f"Reading took longer than {timeout_s:g} s.", where=path, hint="allow more time") from error
    if done.returncode != 0:
        raise VideoError(f"The decoder crashed ({_how_it_ended(done)}).", where=path)
    return _unpack(done.stdout, path)


def serve() -> None:
    """Do what standard input asks for, and answer on standard output with the clip, or the error, as arrays."""
    from finecausal_cli.video.reader import read_clip  # the reader imports this module

    answer = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # whatever a decoder prints must not mix with the answer
    request = json.load(sys.stdin)
    if hasattr(signal, "alarm"):
        signal.alarm(request["alarm_s"])
    try:
        packed = _pack(read_clip(request["path"], **request["options"]))
    except VideoError as error:
        packed = _pack_arrays({"error": [error.what, error.where, error.hint]})
    with answer:
        answer.write(packed)


def _pack(clip: Clip) -> bytes:
    facts = {"fps": clip.fps, "source": clip.source, "decoder": clip.decoder, "notes": clip.notes}
    return _pack_arrays(facts, frames=clip.frames, source_frames=clip.source_frames)


def _pack_arrays(facts: dict[str, Any], **arrays: Any) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, facts=np.array(json.dumps(facts)), **arrays)
    return buffer.getvalue()


def _unpack(packed: bytes, path: str | os.PathLike[str]) -> Clip:
    with np.load(io.BytesIO(packed), allow_pickle=False) as arrays:
        facts = json.loads(str(arrays["facts"]))
        if "error" in facts:
            what, where, hint = facts["error"]
            raise VideoError(what, where=where, hint=hint)
        return Clip(
            frames=arrays["frames"],
            source_frames=arrays["source_frames"],
            fps=facts["fps"],
            source=os.fspath(path),
            decoder=facts["decoder"],
            notes=tuple(facts["notes"]),
        )


def _how_it_ended(done: subprocess.CompletedProcess[bytes]) -> str:
    if done.returncode < 0:
        return f"signal {-done.returncode}"
    last_words = done.stderr.decode(errors="replace").strip().splitlines()
    return last_words[-1] if last_words else f"exit code {done.returncode}"
