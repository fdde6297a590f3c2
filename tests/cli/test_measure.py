"""``finecausal measure`` as a user runs it: tables, files, what is not told, what is not measured again."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import jsonschema
import numpy as np
import pytest

from finecausal_cli.video.writer import write_video

EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "dives"
DIVE = EXAMPLES / "107B-10m-good.mp4"


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """A folder with a clip in which nothing falls, and one that is no video."""
    folder = tmp_path_factory.mktemp("clips")
    write_video(folder / "black.mp4", [np.zeros((96, 128, 3), np.uint8)] * 60, 25)
    (folder / "broken.mp4").write_bytes(b"no video")
    return folder


def test_a_clip_without_a_dive_is_refused_with_its_reason_in_json(finecausal, clips):
    done = finecausal("measure", clips / "black.mp4", "--format", "json")
    assert (done.returncode, done.stderr) == (1, "")
    said = json.loads(done.stdout)
    jsonschema.validate(said, json.loads(finecausal("schema", "measure").stdout))
    assert (said["status"], said["error_kind"], said["measurements"]) == ("refused", "black", [])


def test_a_file_that_is_no_video_is_one_line_and_exit_code_1(finecausal, clips):
    done = finecausal("measure", clips / "broken.mp4")
    assert (done.returncode, done.stdout) == (1, "")
    assert len(done.stderr.splitlines()) == 1
    assert "broken.mp4" in done.stderr


def test_a_folder_is_a_row_each_and_a_rerun_measures_only_what_failed(finecausal, clips, tmp_path):
    out = tmp_path / "facts.csv"
    done = finecausal("measure", clips, "-o", out)
    assert done.returncode == 1
    with out.open(encoding="utf-8", newline="") as stream:
        rows = {Path(row["source"]).name: row for row in csv.DictReader(stream)}
    assert {name: row["status"] for name, row in rows.items()} == {"black.mp4": "refused", "broken.mp4": "failed"}
    assert rows["broken.mp4"]["error"]
    assert "0 measured, 1 refused, 1 failed" in done.stdout
    (clips / "broken.mp4").rename(clips / "moved.mp4")
    try:
        again = finecausal("measure", clips, "-o", out)
    finally:
        (clips / "moved.mp4").rename(clips / "broken.mp4")
    journal = [json.loads(line) for line in out.with_name("facts.csv.journal.jsonl").read_text().splitlines()]
    kept = next(row for row in journal if row["source"].endswith("black.mp4"))
    assert kept["seconds"] == pytest.approx(float(rows["black.mp4"]["seconds"]), abs=1e-9)  # not measured again
    assert "1 refused, 2 failed" in again.stdout  # the row of a clip that is gone stays


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["-o", "facts.doc"], "does not say its format"),
        (["--joints", "a.c3d"], "the name of --joints does not say its format"),
        (["--joints", "a.trc", "--all-dives"], ".trc holds one dive"),
        (["--takeoff", "2", "--entry", "1"], "does not lie after the take-off"),
        (["--dive", "107B"], "No such option"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_read(finecausal, clips, arguments, said):
    done = finecausal("measure", clips / "black.mp4", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr


@pytest.mark.thorough
@pytest.mark.parametrize("width", ["40", "80"])
def test_a_dive_is_a_table_of_its_facts_at_the_width_of_the_terminal(finecausal, monkeypatch, width):
    monkeypatch.setenv("COLUMNS", width)
    done = finecausal("measure", DIVE, "--height", "10")
    assert (done.returncode, done.stderr) == (0, "")
    assert max(map(len, done.stdout.splitlines())) <= int(width)
    assert "Measured facts" in done.stdout


@pytest.mark.thorough
def test_a_dive_is_measured_as_it_was_simulated_and_its_joints_are_written(finecausal, tmp_path):
    done = finecausal("measure", DIVE, "--height", "10", "--format", "json", "--joints", tmp_path / "a.csv")
    assert (done.returncode, done.stderr) == (0, "")
    said = json.loads(done.stdout)
    jsonschema.validate(said, json.loads(finecausal("schema", "measure").stdout))
    facts = {fact["name"]: fact["value"] for fact in said["measurements"]}
    true = json.loads(DIVE.with_suffix(".json").read_text(encoding="utf-8"))
    assert facts["air_time"] == pytest.approx(true["physics"]["flight_s"], abs=0.08)
    assert facts["total_turn"] == pytest.approx(7 * 180, rel=0.05)
    assert facts["entry_angle"] == pytest.approx(true["seen"]["entry_deg"], abs=12)
    with (tmp_path / "a.csv").open(encoding="utf-8", newline="") as stream:
        trunk = [float(row["trunk_deg"]) for row in csv.DictReader(stream) if row["stage"] == "flight"]
    assert trunk[-1] - trunk[0] == pytest.approx(7 * 180, abs=90)
    explained = json.loads(finecausal("explain", DIVE, "--height", "10", "--no-backgrounds", "--format", "json").stdout)
    assert {fact["name"]: fact["value"] for fact in explained["measurements"]} == pytest.approx(facts, nan_ok=True)


@pytest.mark.thorough
def test_a_clip_that_begins_in_the_air_says_that_the_take_off_is_missing(finecausal):
    done = finecausal("measure", DIVE, "--start", "1.4", "--format", "json")
    said = json.loads(done.stdout)
    assert (done.returncode, said["flight_start_s"]) == (0, None)
    assert {fact["value"] for fact in said["measurements"]} == {None}
    assert {fact["reason_kind"] for fact in said["measurements"]} == {"no_takeoff"}


@pytest.mark.thorough
def test_nothing_that_judges_is_loaded():
    """The network is there for its dive numbers; neither exemplars nor what compares with them are."""
    judging = ("torch_geometric", "finecausal_cli.retrieval.voting", "finecausal_cli.scoring.scorer")
    code = (
        "import sys; from finecausal_cli import measure; measure(sys.argv[1]); "
        f"print([name for name in sys.modules if name in {judging!r}])"
    )
    done = subprocess.run([sys.executable, "-c", code, str(DIVE)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
