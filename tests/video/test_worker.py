from __future__ import annotations

import logging
import os
import subprocess
import sys
import time
from threading import Timer
from typing import TYPE_CHECKING

import numpy as np
import pytest

from finecausal_cli.errors import UsageError, VideoError
from finecausal_cli.video import worker
from finecausal_cli.video.reader import read_clip

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def test_a_process_of_its_own_gives_the_same_clip(numbered: Callable[..., Path]) -> None:
    path = numbered(40)
    here = read_clip(path, geometry="squeeze", frame_size=64, start_s=0.4, end_s=1.5, shift=1, decoder="pyav")
    there = read_clip(
        path, geometry="squeeze", frame_size=64, start_s=0.4, end_s=1.5, shift=1, decoder="pyav", timeout_s=60
    )
    assert np.array_equal(here.frames, there.frames)
    assert np.array_equal(here.source_frames, there.source_frames)
    assert there.source_frames.dtype == np.int64
    assert (here.fps, here.source, here.decoder, here.notes) == (there.fps, there.source, there.decoder, there.notes)
    assert here.notes


def test_errors_cross_over_in_all_their_parts(numbered: Callable[..., Path]) -> None:
    path = numbered(5)
    errors = []
    for timeout_s in (None, 60):
        with pytest.raises(VideoError) as caught:
            read_clip(path, timeout_s=timeout_s)
        errors.append((caught.value.what, caught.value.where, caught.value.hint))
    assert errors[0] == errors[1]


def stand_in(program: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the process run something else than the reader."""
    monkeypatch.setattr(worker, "_START", program)


def test_a_decoder_that_hangs_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mark = tmp_path / "pid"
    stand_in(f"import os, time; open({str(mark)!r}, 'w').write(str(os.getpid())); time.sleep(600)", monkeypatch)
    begun = time.monotonic()
    with pytest.raises(VideoError, match=r"Reading took longer than 3 s") as caught:
        read_clip("dive.mp4", timeout_s=3)
    assert caught.value.where == "dive.mp4"
    assert time.monotonic() - begun < 60
    with pytest.raises(ProcessLookupError):
        os.kill(int(mark.read_text()), 0)


@pytest.mark.skipif(sys.platform == "win32", reason="needs signals")
def test_a_decoder_that_crashes_takes_nothing_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in("import os; os.kill(os.getpid(), 11)", monkeypatch)
    with pytest.raises(VideoError, match=r"The decoder crashed \(signal 11\)"):
        read_clip("dive.mp4", timeout_s=30)


def test_a_mistake_of_ours_is_told_in_its_last_line(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in("raise MemoryError('no room')", monkeypatch)
    with pytest.raises(VideoError, match=r"The decoder crashed \(MemoryError: no room\)") as caught:
        read_clip("dive.mp4", timeout_s=30)
    assert "\n" not in str(caught.value)


def test_chatter_does_not_mix_with_the_answer(numbered: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(
        "import os\n"
        "from finecausal_cli.video import reader\n"
        "read = reader.read_clip\n"
        "reader.read_clip = lambda *a, **k: (os.write(1, b'noise'), os.write(2, b'noise'), read(*a, **k))[2]\n"
        "reader.serve()",
        monkeypatch,
    )
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    assert read_clip(numbered(40), timeout_s=60).frames.shape == (96, 128, 192, 3)


@pytest.mark.skipif(not hasattr(__import__("signal"), "alarm"), reason="needs alarms")
def test_an_orphan_ends_by_itself(tmp_path: Path) -> None:
    request = '{"path": "/nowhere", "options": {}, "alarm_s": 1}'
    program = (
        "import time\n"
        "from finecausal_cli.video import reader\n"
        "reader.read_clip = lambda *a, **k: time.sleep(600)\n"
        "reader.serve()"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", program], input=request.encode(), env=env, timeout=60, check=False)
    assert done.returncode == -14


OPTIONS = {"geometry": "squeeze", "frame_size": 32}


def test_one_process_reads_many_clips_and_outlives_bad_ones(numbered: Callable[..., Path], tmp_path: Path) -> None:
    path = numbered(40)
    (tmp_path / "text.mp4").write_text("no video")
    with worker.DecodeWorker() as process:
        first = process.read(path, OPTIONS, timeout_s=60)
        pid = process.pid
        kinds = []
        for bad in (tmp_path / "text.mp4", tmp_path / "gone.mp4"):
            with pytest.raises(VideoError) as caught:
                process.read(bad, OPTIONS, timeout_s=60)
            kinds.append(caught.value.kind)
        with pytest.raises(UsageError, match="from 0 on"):
            process.read(path, {**OPTIONS, "start_s": -1.0}, timeout_s=60)
        again = process.read(path, OPTIONS, timeout_s=60)
        assert process.pid == pid
    assert kinds == ["not_a_video", "missing"]
    assert np.array_equal(first.frames, read_clip(path, **OPTIONS).frames)
    assert np.array_equal(first.frames, again.frames)
    assert first.frames.flags.writeable
    assert process.pid is None
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    with pytest.raises(VideoError, match="stopped"):
        process.read(path, OPTIONS, timeout_s=60)


def hang_or_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(
        "import json, os, sys, time; sys.path[:] = json.loads(sys.argv[1])\n"
        "from finecausal_cli.video import reader\n"
        "read = reader.read_clip\n"
        "deeds = {'hang': lambda: time.sleep(600), 'crash': lambda: os.kill(os.getpid(), 11), 'raise': lambda: 1 / 0}\n"
        "reader.read_clip = lambda path, **o: deeds[path]() if path in deeds else read(path, **o)\n"
        "reader.serve()",
        monkeypatch,
    )


@pytest.mark.skipif(sys.platform == "win32", reason="needs signals")
@pytest.mark.parametrize(
    ("path", "kind", "says"),
    [
        ("hang", "timeout", "longer than 1 s"),
        ("crash", "crashed", "signal 11"),
    ],
)
def test_a_process_that_hangs_or_dies_is_replaced(
    path: str, kind: str, says: str, numbered: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    hang_or_crash(monkeypatch)
    good = numbered(40)
    with worker.DecodeWorker() as process:
        process.read(good, OPTIONS, timeout_s=60)
        pid = process.pid
        with pytest.raises(VideoError, match=says) as caught:
            process.read(path, OPTIONS, timeout_s=1 if path == "hang" else 60)
        assert (caught.value.kind, caught.value.where) == (kind, path)
        assert process.read(good, OPTIONS, timeout_s=60).frames.shape == (96, 57, 32, 3)
        assert process.pid != pid
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_mistake_of_ours_is_told_from_a_decoder_that_crashes(
    numbered: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    hang_or_crash(monkeypatch)
    caplog.set_level(logging.DEBUG, "finecausal_cli")
    with worker.DecodeWorker() as process:
        with pytest.raises(VideoError, match="an error of this program: ZeroDivisionError") as caught:
            process.read("raise", OPTIONS, timeout_s=60)
        pid = process.pid
        assert process.read(numbered(40), OPTIONS, timeout_s=60).frames.shape == (96, 57, 32, 3)
        assert process.pid == pid
    assert (caught.value.kind, caught.value.where) == ("unexpected", "raise")
    assert "Traceback (most recent call last):" in caplog.messages
    assert caplog.messages[-1] == "ZeroDivisionError: division by zero"
    assert {record.levelno for record in caplog.records} == {logging.DEBUG}


def test_closing_from_elsewhere_ends_a_hanging_read(monkeypatch: pytest.MonkeyPatch) -> None:
    hang_or_crash(monkeypatch)
    process = worker.DecodeWorker()
    Timer(3, process.close).start()
    begun = time.monotonic()
    with pytest.raises(VideoError, match="stopped"):
        process.read("hang", OPTIONS, timeout_s=500)
    assert time.monotonic() - begun < 100


def test_the_time_that_the_process_takes_to_start_is_not_the_clips(
    numbered: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "_START", "import time; time.sleep(2);" + worker._START)
    with worker.DecodeWorker() as process:
        assert process.read(numbered(40), OPTIONS, timeout_s=1.9).frames.shape == (96, 57, 32, 3)
