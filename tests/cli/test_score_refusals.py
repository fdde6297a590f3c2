"""Files that show no dive, or half of one, as a user meets them: streams, exit codes, the file beside the clip."""

import csv
import json
import shutil
from pathlib import Path

import jsonschema
import numpy as np
import pytest

from finecausal_cli.video.writer import write_video

EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "dives"
DIVE = EXAMPLES / "107B-10m-good.mp4"
OF_107B = ("--dive", "107B", "--height", "10")


@pytest.fixture(scope="module")
def black(tmp_path_factory):
    path = tmp_path_factory.mktemp("black") / "black.mp4"
    write_video(path, [np.zeros((96, 128, 3), np.uint8)] * 60, 25)
    return path


@pytest.fixture
def dive(tmp_path):
    return Path(shutil.copy(DIVE, tmp_path / "dive.mp4"))


def test_a_black_clip_is_refused_with_json_on_standard_output_and_exit_code_1(finecausal, black):
    done = finecausal("score", black, "--format", "json")
    assert (done.returncode, done.stderr) == (1, "")
    said = json.loads(done.stdout)
    jsonschema.validate(said, json.loads(finecausal("schema", "unscored").stdout))
    assert (said["status"], said["reason"], said["score"]) == ("refused", "black", None)
    assert (said["flight_start_s"], said["entry_start_s"], said["time_scale"]) == (None, None, None)
    assert (said["athlete"], said["forced"]) == ([], None)
    assert "--force takes it as it is" in said["message"]


def test_as_a_table_it_is_one_panel_of_80_columns(finecausal, black):
    done = finecausal("score", black)
    assert (done.returncode, done.stderr) == (1, "")
    assert "REFUSED  its picture is black" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert "\x1b" not in done.stdout


def test_explain_and_compare_refuse_it_too_and_write_nothing_else(finecausal, black, tmp_path):
    page = tmp_path / "why.html"
    done = finecausal("explain", black, "--format", "json", "--html", page)
    assert done.returncode == 1
    assert json.loads(done.stdout)["reason"] == "black"
    assert "not written" in done.stderr
    assert not page.exists()
    done = finecausal("compare", DIVE, black, "--format", "json")
    assert done.returncode == 1
    assert Path(json.loads(done.stdout)["source"]).name == "black.mp4"


def test_by_force_it_is_scored_and_the_first_line_says_so(finecausal, black):
    of_pictures = ("--force", "--weights", "compact", *OF_107B)
    done = finecausal("score", black, *of_pictures)
    assert done.returncode == 0
    assert done.stdout.startswith("SCORED BY FORCE, though its picture is black")
    forced = json.loads(finecausal("score", black, *of_pictures, "--format", "json").stdout)
    assert forced["forced"] == "its picture is black or empty"
    assert forced["score"] is not None


def test_weights_that_judge_bodies_have_nothing_to_judge_even_by_force(finecausal, black):
    done = finecausal("score", black, "--force", *OF_107B, "--format", "json")
    assert done.returncode == 0
    found = json.loads(done.stdout)
    assert found["score"] is None
    assert "joints are not read" in found["message"]
    assert found["forced"] == "its picture is black or empty"
    assert finecausal("score", black, "--force", *OF_107B).stdout.startswith("TAKEN BY FORCE, though its picture is")
    row = json.loads(finecausal("score", black, "--force", *OF_107B, "--format", "jsonl").stdout)
    assert row["forced"] == found["forced"]


def test_in_a_batch_it_is_a_row(finecausal, black, tmp_path):
    target = tmp_path / "rows.csv"
    done = finecausal("score", black, DIVE, "-o", target, *OF_107B)
    assert done.returncode == 1
    assert "refused  black: " in done.stdout
    with target.open(newline="") as stream:
        rows = {Path(row["source"]).name: row for row in csv.DictReader(stream)}
    assert (rows["black.mp4"]["status"], rows["black.mp4"]["error_kind"]) == ("refused", "black")
    assert rows["black.mp4"]["score"] == ""
    assert rows[DIVE.name]["status"] == "scored"
    assert float(rows[DIVE.name]["flight_start_s"]) == pytest.approx(0.84, abs=0.2)
    again = finecausal("score", black, DIVE, "-o", target, *OF_107B)
    assert "Nothing to do" in again.stdout


@pytest.mark.thorough
def test_a_correction_is_kept_beside_the_clip_and_used_again(finecausal, dive):
    done = finecausal("score", dive, *OF_107B, "--entry", "2.6", "--format", "json")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["entry_start_s"] == 2.6
    kept = json.loads(dive.with_name("dive.mp4.finecausal.json").read_text())
    assert kept["dives"][0]["entry_s"] == 2.6
    again = json.loads(finecausal("score", dive, *OF_107B, "--format", "json").stdout)
    assert again["entry_start_s"] == 2.6
    assert any("as corrected earlier" in note for note in again["notes"])
    rows = finecausal("score", dive, *OF_107B, "--format", "jsonl")
    assert json.loads(rows.stdout)["entry_start_s"] == 2.6


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--athlete", "somebody"], "--athlete"),
        (["--takeoff", "3", "--entry", "2"], "--entry"),
        (["--all-dives", "--takeoff", "3"], "--all-dives"),
        ([EXAMPLES / "107B-10m-poor.mp4", "--takeoff", "3"], "of one dive"),
    ],
)
def test_corrections_that_make_no_sense_are_wrong_usage(finecausal, dive, arguments, says):
    done = finecausal("score", dive, *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert says in done.stderr
    assert [path.name for path in dive.parent.iterdir()] == ["dive.mp4"]


@pytest.mark.parametrize("command", ["score", "measure", "explain"])
def test_corrections_that_a_run_refuses_are_not_kept(finecausal, dive, command):
    done = finecausal(command, dive, "--takeoff", "99")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.strip() == "finecausal: --takeoff: 99 s lies beyond the clip, which ends at 3.68 s"
    done = finecausal(command, dive, "--athlete", "1,1")
    assert done.returncode == 1
    assert "nobody falls freely where --athlete points to" in " ".join(done.stdout.replace("│", "").split())
    assert [path.name for path in dive.parent.iterdir()] == ["dive.mp4"]


def test_all_dives_of_a_file_are_rows(finecausal, dive):
    done = finecausal("score", dive, "--all-dives", *OF_107B, "--format", "json")
    assert done.returncode == 0
    rows = json.loads(done.stdout)
    assert [row["dive_index"] for row in rows] == list(range(1, len(rows) + 1))
    assert {row["dives_found"] for row in rows} == {len(rows)}
