"""A writer that is killed at any moment loses nothing, leaves nothing behind and goes on where it was."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from finecausal_cli.errors import OutputError
from finecausal_cli.simulator.dataset import write_dataset

COUNT = 4
MANY = 60
SEED = 9
SHORT = {"dives": ["101B", "401B"], "height_m": 1.0}
"""Dives that are soon over, and so rendered."""

pytestmark = pytest.mark.skipif(not hasattr(os, "killpg"), reason="no process groups here")


def start(out: Path, layout: str, workers: int = 2, count: int = COUNT) -> subprocess.Popen[str]:
    """Start the command in a process group of its own."""
    command = [sys.executable, "-m", "finecausal_cli", "simulate", str(out), "--count", str(count)]
    command += ["--seed", str(SEED), "--dives", ",".join(SHORT["dives"]), "--height", str(SHORT["height_m"])]
    command += ["--format", layout, "--workers", str(workers)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )


def wait_for_records(out: Path, number: int, process: subprocess.Popen[str]) -> None:
    while len(list((out / "meta").glob("[0-9]*.json"))) < number:
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.002)


def files_of(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


@pytest.fixture(scope="module")
def whole(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[str, bytes]]:
    """A layout and the files of an uninterrupted run with one worker."""
    out = tmp_path_factory.mktemp(request.param)
    write_dataset(out, COUNT, SEED, layout=request.param, **SHORT)
    return request.param, files_of(out)


@pytest.mark.parametrize(
    ("whole", "finished"),
    [
        ("manifest", 1),
        pytest.param("finediving", 1, marks=pytest.mark.thorough),
        *(pytest.param(name, done, marks=pytest.mark.slow) for name in ("manifest", "finediving") for done in (0, 3)),
    ],
    indirect=["whole"],
)
def test_a_killed_run_goes_on_to_the_same_bytes(whole, tmp_path, finished):
    layout, files = whole
    process = start(tmp_path, layout)
    wait_for_records(tmp_path, finished, process)
    if finished == 0:
        while not list(tmp_path.rglob(".*.part")):
            assert process.poll() is None
            time.sleep(0.002)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=30)
    assert files_of(tmp_path) != files
    again = start(tmp_path, layout)
    printed, _ = again.communicate(timeout=120)
    assert again.returncode == 0, printed
    assert files_of(tmp_path) == files


def test_workers_end_when_whoever_started_them_is_killed(tmp_path):
    process = start(tmp_path, "manifest", workers=2, count=MANY)
    wait_for_records(tmp_path, 1, process)
    process.kill()
    # The workers hold the other end of the pipe: it is closed when the last of them is gone.
    process.communicate(timeout=20)
    assert len(list((tmp_path / "meta").glob("[0-9]*.json"))) < MANY / 4


@pytest.fixture
def interruptible():
    """Ctrl-C as in the foreground: tests started in the background ignore it, and so would what they start."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("finished", [0, pytest.param(1, marks=pytest.mark.thorough)])
def test_an_interrupted_run_ends_soon_and_without_a_traceback(interruptible, tmp_path, finished):
    process = start(tmp_path, "manifest", workers=2, count=MANY)
    try:
        while not (tmp_path / "plan.json").exists():
            assert process.poll() is None
            time.sleep(0.002)
        time.sleep(0.1)  # the workers are starting
        wait_for_records(tmp_path, finished, process)
        os.killpg(process.pid, signal.SIGINT)
        printed, _ = process.communicate(timeout=60)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate(timeout=30)
    assert process.returncode == 130
    assert printed == ""
    assert len(list((tmp_path / "meta").glob("[0-9]*.json"))) < MANY / 4
    assert not list(tmp_path.rglob(".*.part"))


@pytest.mark.parametrize("layout", ["manifest", "finediving"])
def test_what_killed_writers_left_is_cleared_up(tmp_path, layout):
    leftovers = {
        "manifest": ["videos/.00000.mp4.123.part", "masks/.00000.mkv.123.part", ".dives.csv.123.part"],
        "finediving": ["FineDiving/01/.1.123.part/00001.jpg", "FineDiving_HM/01/.1.123.part/00001.jpg"],
    }[layout]
    for name in [*leftovers, "meta/.00000.json.123.part", ".plan.json.123.part"]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"half")
    mine = tmp_path / ".mine.part"
    mine.write_bytes(b"not a dataset's")
    write_dataset(tmp_path, 1, SEED, layout=layout, **SHORT)
    assert list(tmp_path.rglob(".*.part")) == [mine]


def test_a_second_run_at_once_is_refused(tmp_path):
    pytest.importorskip("fcntl")
    process = start(tmp_path, "manifest", workers=1)
    try:
        wait_for_records(tmp_path, 1, process)
        with pytest.raises(OutputError, match="another run"):
            write_dataset(tmp_path, COUNT, SEED, **SHORT)
    finally:
        process.kill()
        process.communicate(timeout=20)
