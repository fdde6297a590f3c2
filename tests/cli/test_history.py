"""``finecausal history`` and standard input, as a user meets them."""

from __future__ import annotations

import io
import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import jsonschema
import numpy as np
import pytest

from finecausal_cli.batch.records import Row, to_line
from finecausal_cli.report.history import history_schema
from finecausal_cli.video import source
from finecausal_cli.video.source import local_file
from finecausal_cli.video.writer import write_video


@pytest.fixture
def results(tmp_path):
    rows = [
        Row(
            source=f"clips/{day}.mp4", status="scored", key=str(day), version="0", mark=6 + day / 20, score=50.0 + day,
            dive="107B", dive_from="given", diver=diver, date=f"2026-05-{day:02}", trained_on="simulated",
        )
        for diver, days in (("Anna", (1, 5, 9, 16, 20)), ("Ben", (2, 3)))
        for day in days
    ]  # fmt: skip
    path = tmp_path / "results.jsonl"
    path.write_bytes(b"".join(map(to_line, rows)))
    return path


def test_a_history_shows_each_diver_with_bars_and_a_trend_where_there_are_enough(finecausal, results):
    done = finecausal("history", results)
    assert done.returncode == 0, done.stderr
    assert "5 dives from 2026-05-01 to 2026-05-20" in done.stdout
    assert "▁" in done.stdout
    assert "+1.50 (+1.50 to +1.50)" in done.stdout  # a twentieth of a mark a day, on a line
    ben = next(line for line in done.stdout.splitlines() if line.startswith("107B") and " 2 " in line)
    assert ben.rstrip().endswith("-")
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_quiet_leaves_out_the_notes(finecausal, results, log_level):
    failed = Row(source="c.mp4", status="failed", key="c", version="0", error_kind="missing")
    results.write_bytes(results.read_bytes() + to_line(failed))
    assert "note: without a mark" in finecausal("history", results).stdout
    quiet = finecausal("-q", "history", results)
    assert quiet.returncode == 0
    assert "note:" not in quiet.stdout
    assert "2026-05-20" in quiet.stdout


def test_a_history_as_json_follows_its_schema_and_as_csv_has_a_line_a_dive(finecausal, results):
    history = json.loads(finecausal("history", results, "--format", "json", "--diver", "anna").stdout)
    jsonschema.validate(history, json.loads(history_schema()))
    assert [past["date"] for past in history["divers"][0]["dives"]][-1] == "2026-05-20"
    lines = finecausal("history", results, "--format", "csv").stdout.splitlines()
    assert (lines[0].split(",")[:6], len(lines)) == (["diver", "date", "date_from", "dive", "height_m", "mark"], 8)


def test_a_file_whose_name_reads_as_an_option_is_told_how_to_be_named(finecausal, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("-dash.mp4").write_bytes(b"")
    done = finecausal("score", "-dash.mp4")
    assert done.returncode == 2
    assert "write ./-dash.mp4, or put -- before the names" in done.stderr


@pytest.fixture
def spooling():
    source._spooled.cache_clear()
    yield
    source._spooled.cache_clear()


class Stdin(io.TextIOWrapper):
    def isatty(self):
        return False


@pytest.mark.parametrize("name", ["-", "/dev/stdin"])
def test_standard_input_is_copied_once_and_any_other_path_stays(monkeypatch, spooling, name):
    monkeypatch.setattr(sys, "stdin", Stdin(io.BytesIO(b"a video")))
    copy = local_file(name)
    assert Path(copy).read_bytes() == b"a video"
    assert local_file("-") == copy
    assert local_file("dive.mp4") == "dive.mp4"


@pytest.mark.parametrize("command", ["score", "explain", "measure"])
def test_an_error_of_standard_input_names_it_and_no_temporary_file(finecausal, monkeypatch, spooling, command):
    monkeypatch.setattr(sys, "stdin", Stdin(io.BytesIO(b"")))
    done = finecausal(command, "-", "--format", "json")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "finecausal: standard input: The file is empty.\n"


def test_what_is_refused_of_standard_input_is_json_that_names_it(finecausal, monkeypatch, spooling, tmp_path):
    write_video(tmp_path / "black.mp4", [np.zeros((96, 128, 3), np.uint8)] * 60, 25)
    monkeypatch.setattr(sys, "stdin", Stdin(io.BytesIO((tmp_path / "black.mp4").read_bytes())))
    done = finecausal("compare", "-", tmp_path / "black.mp4", "--format", "json")
    assert (done.returncode, json.loads(done.stdout)["source"]) == (1, "standard input")


def test_a_terminal_is_no_video(finecausal, monkeypatch, spooling):
    controller, terminal = pty.openpty()
    with os.fdopen(terminal) as stream:
        monkeypatch.setattr(sys, "stdin", stream)
        done = finecausal("score", "-")
    os.close(controller)
    assert done.returncode == 2
    assert "standard input, which is a terminal" in done.stderr


@pytest.mark.thorough
def test_a_video_from_a_pipe_is_scored_and_leaves_no_file_behind(tmp_path):
    video = Path(__file__).resolve().parents[2] / "examples" / "dives" / "107B-10m-good.mp4"
    command = [sys.executable, "-m", "finecausal_cli", "score", "-", "--dive", "107B", "--height", "10", "--format"]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with video.open("rb") as stream:
        done = subprocess.run([*command, "json"], stdin=stream, capture_output=True, env=environment, check=True)
    assert json.loads(done.stdout)["source"] == "standard input"
    assert list(tmp_path.iterdir()) == []
