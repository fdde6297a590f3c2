"""``finecausal score`` with many dives, as a user meets it."""

from __future__ import annotations

import csv
import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from finecausal_cli.cli import app
from finecausal_cli.errors import UsageError
from finecausal_cli.scoring.scorer import Scorer

EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "dives"


@pytest.fixture(scope="module")
def loaded() -> Scorer:
    return Scorer.load("compact", device="cpu")


@pytest.fixture
def score(loaded, monkeypatch, capsys):
    """Run ``finecausal score`` in this process with weights that are loaded already: exit code and both streams."""
    monkeypatch.setattr(Scorer, "load", classmethod(lambda *_, **__: loaded))
    monkeypatch.setenv("COLUMNS", "80")

    def run(*arguments):
        code = 0
        try:
            app(["score", *map(str, arguments)])
        except SystemExit as ended:
            code = ended.code or 0
        shown = capsys.readouterr()
        return code, shown.out, shown.err

    return run


@pytest.fixture
def dives(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "dives"
    folder.mkdir()
    for name in ("107B-10m-good", "107B-10m-poor"):
        shutil.copy(EXAMPLES / f"{name}.mp4", folder)
    (folder / "text.mp4").write_text("no video")
    return folder


def rows_of(path):
    return {Path(row["source"]).name: row for row in map(json.loads, Path(path).read_text().splitlines())}


@pytest.mark.thorough
def test_a_folder_is_scored_and_a_second_run_does_nothing_and_says_so(score, dives, loaded):
    from finecausal_cli.scoring import ScoreOptions

    code, out, err = score("dives", "-o", "out", "--dive", "107B", "--height", "10")
    assert (code, err) == (1, "")
    assert max(map(len, out.splitlines())) <= 80
    assert "\x1b" not in out
    assert "not_a_video: dives/text.mp4" in out
    rows = rows_of("out/results.jsonl")
    for name in ("107B-10m-good.mp4", "107B-10m-poor.mp4"):
        alone = loaded.score(f"dives/{name}", ScoreOptions(dive="107B", height_m=10.0))
        assert rows[name]["score"] == pytest.approx(alone.score, abs=1e-4)
        assert f"{alone.score:.2f}" in out
        assert rows[name]["assessment"]["dive"] == "107B"
    with Path("out/results.csv").open(newline="") as stream:
        assert [row["status"] for row in csv.DictReader(stream)] == ["scored", "scored", "failed"]
    assert "text.mp4" in Path("out/report.html").read_text()
    before = Path("out/results.jsonl").read_bytes()
    code, out, _ = score("dives", "-o", "out", "--dive", "107b", "--height", "10")
    assert (code, Path("out/results.jsonl").read_bytes()) == (1, before)
    assert "Nothing to do: all 3 rows are there already." in out
    code, out, _ = score("dives", "-o", "out", "--dive", "107B", "--height", "10", "--retry-failed")
    assert (code, "1 in" in out, "2 known from before" in out) == (1, True, True)
    assert len(rows_of("out/results.jsonl")) == 3


def parsed(text, output_format):
    if output_format == "csv":
        return list(csv.DictReader(text.splitlines()))
    return json.loads(text) if output_format == "json" else [json.loads(line) for line in text.splitlines()]


def test_fail_fast_stops_and_says_so(score, dives):
    shutil.move(dives / "text.mp4", dives / "0.mp4")
    code, out, _ = score("dives", "-o", "r.jsonl", "--most-exemplars", "1", "--fail-fast", "--workers", "1")
    assert code == 1
    assert "stopped at the first failure; 2 without a row" in out
    assert list(rows_of("r.jsonl")) == ["0.mp4"]


@pytest.mark.thorough
def test_rows_are_alone_on_standard_output(score, dives):
    for output_format in ("jsonl", "json", "csv"):
        code, out, err = score("dives", "--format", output_format, "--most-exemplars", "1")
        assert code == 1
        assert sorted(row["status"] for row in parsed(out, output_format)) == ["failed", "scored", "scored"]
        assert "dives" in err
        assert "failed" in err


@pytest.mark.thorough
def test_one_dive_as_a_row_and_without_failures_the_code_is_0(score, dives):
    code, out, _ = score("dives/107B-10m-good.mp4", "--format", "jsonl", "--most-exemplars", "1")
    assert (code, json.loads(out)["source"]) == (0, "dives/107B-10m-good.mp4")
    code, out, err = score("dives/107B-10m-good.mp4", "-o", "r.parquet", "--most-exemplars", "1")
    assert (code, err) == (0, "")
    assert "written: r.parquet, r.parquet.journal.jsonl" in out


@pytest.mark.thorough
def test_one_dive_goes_where_the_output_says_in_the_format_that_its_name_says(score, dives):
    clip = ("dives/107B-10m-good.mp4", "--most-exemplars", "1", "--dive", "107B")
    assert score(*clip, "-o", "a.json")[:2] == (0, "")
    whole = json.loads(Path("a.json").read_text())
    assert whole["schema_version"] == 4
    assert score(*clip, "-o", "a.txt")[0] == 0
    assert f"{whole['score']:.2f} points" in Path("a.txt").read_text()
    assert score(*clip, "-o", "new/")[0] == 0
    assert sorted(path.name for path in Path("new").iterdir() if path.name[0] != ".") == [
        "report.html",
        "results.csv",
        "results.jsonl",
    ]
    Path("link.json").symlink_to("a.json")
    Path("a.json").write_text("old")
    assert score(*clip, "-o", "link.json")[0] == 0
    assert Path("link.json").is_symlink()
    assert json.loads(Path("a.json").read_text())["score"] == pytest.approx(whole["score"], abs=1e-4)
    code, out, _ = score(*clip, "-o", "/dev/null", "--format", "csv")
    assert (code, "written" in out, Path("/dev/null").is_char_device()) == (0, False, True)


def test_lists_shares_and_merge(score, dives, capsys):
    (dives / "more.mp4").write_text("no video either")
    Path("list.txt").write_text("dives/107B-10m-good.mp4\ndives/text.mp4\ndives/more.mp4\n")
    for share in (1, 2):
        score("--from-file", "list.txt", "--shard", f"{share}/2", "-o", f"s{share}.jsonl", "--most-exemplars", "1")
    found = [rows_of(f"s{share}.jsonl") if Path(f"s{share}.jsonl").exists() else {} for share in (1, 2)]
    assert not set(found[0]) & set(found[1])
    assert len(found[0]) + len(found[1]) == 3
    with pytest.raises(SystemExit) as ended:
        app(["merge", "all.csv", *(f"s{share}.jsonl" for share in (1, 2))])
    assert not ended.value.code
    assert "3 rows from 2 files" in capsys.readouterr().out
    with Path("all.csv").open(newline="") as stream:
        assert [Path(row["source"]).name for row in csv.DictReader(stream)] == sorted({**found[0], **found[1]})


def test_a_dry_run_lists_and_writes_nothing(score, dives):
    code, out, _ = score("dives", "-o", "out", "--dry-run", "--dive", "107B")
    assert code == 0
    assert "3 dives: 3 scored. Nothing was done." in out
    assert "of its number" in out
    assert not Path("out").exists()


def test_a_dry_run_with_a_wrong_row_fails_as_the_run_would(score, dives):
    Path("dives/dives.csv").write_text("video,dive,date\n107B-10m-good.mp4,107B,yesterday\n")
    code, out, _ = score("dives", "--dry-run")
    assert code == 1
    assert "left out: wrong in the manifest" in out


def test_a_manifest_gives_each_dive_its_number(score, dives):
    Path("dives/dives.csv").write_text(
        "video,dive,height_m,start_s,end_s\n107B-10m-good.mp4,107B,10,,\n107B-10m-poor.mp4,,,0.5,4\ntext.mp4,999Z,,,\n"
    )
    code, _, _ = score("dives", "-o", "r.jsonl", "--most-exemplars", "1")
    assert code == 1
    rows = rows_of("r.jsonl")
    assert rows["text.mp4"]["error_kind"] == "not_a_video"
    assert (rows["107B-10m-good.mp4"]["dive"], rows["107B-10m-good.mp4"]["difficulty"]) == ("107B", 3.0)
    assert (rows["107B-10m-poor.mp4"]["start_s"], rows["107B-10m-poor.mp4"]["end_s"]) == (0.5, 4.0)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "Missing argument PATH"),
        (["dives", "--shard", "3/2"], "--shard"),
        (["dives", "--format", "parquet"], "cannot be printed"),
        (["dives", "--overwrite"], "-o"),
        (["dives", "-o", "x.txt"], "format"),
        (["dives/107B-10m-good.mp4", "-o", "x.xlsx"], "format"),
        (["dives", "--timeout", "0"], "--timeout"),
        (["--from-file", "nowhere.txt"], "nowhere.txt"),
        (["*.avi"], "no file matches"),
        (["dives", "-o", "dives/text.mp4", "--format", "csv"], "over a dive"),
    ],
)
def test_wrong_usage(score, dives, arguments, says):
    with pytest.raises(UsageError, match=says) as caught:
        score(*arguments)
    assert caught.value.exit_code == 2


def command(*arguments):
    return [sys.executable, "-m", "finecausal_cli", "score", *map(str, arguments)]


def wait_for(is_so, process, seconds=120):
    end = time.monotonic() + seconds
    while not is_so() and time.monotonic() < end and process.poll() is None:
        time.sleep(0.02)
    assert is_so()


def lines_in(path):
    return path.read_bytes().count(b"\n") if path.exists() else 0


@pytest.mark.slow
def test_killed_at_any_moment_and_run_again_the_rows_are_those_of_one_run(dives, tmp_path):
    for number in range(12):
        shutil.copy(dives / "107B-10m-good.mp4", dives / f"{number}.mp4")
        with (dives / f"{number}.mp4").open("ab") as stream:
            stream.write(bytes([0, 0, 0, 9]) + b"free" + bytes([number]))
    whole, cut = (tmp_path / f"{name}.jsonl" for name in ("whole", "cut"))
    arguments = ("--most-exemplars", "1", dives, "-o")
    assert subprocess.run(command(*arguments, whole), capture_output=True, check=False).returncode == 1
    for rows in (0, 1, 3, 6, 8, 11):
        process = subprocess.Popen(command(*arguments, cut), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for(lambda rows=rows: lines_in(cut) >= rows, process)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert subprocess.run(command(*arguments, cut), capture_output=True, check=False).returncode == 1
    found = [rows_of(path) for path in (whole, cut)]
    assert lines_in(cut) == lines_in(whole) == 15
    for one in (row for rows in found for row in rows.values()):
        one.pop("seconds")
        (one["assessment"] or {"provenance": {}})["provenance"].pop("seconds", None)
    assert found[0] == found[1]


@pytest.mark.slow
def test_interrupted_by_hand_the_results_are_whole_and_the_code_is_130(dives, tmp_path):
    for number in range(40):
        shutil.copy(dives / "107B-10m-good.mp4", dives / f"{number}.mp4")
        with (dives / f"{number}.mp4").open("ab") as stream:
            stream.write(bytes([0, 0, 0, 9]) + b"free" + bytes([number]))
    out = tmp_path / "out"
    process = subprocess.Popen(command("--most-exemplars", "1", dives, "-o", out), stdout=subprocess.PIPE, text=True)
    wait_for(lambda: lines_in(out / "results.jsonl") >= 2, process)
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted" in said
    with (out / "results.csv").open(newline="") as stream:
        assert len(list(csv.DictReader(stream))) == lines_in(out / "results.jsonl")


@pytest.mark.slow
def test_watching_scores_what_appears_until_it_is_interrupted(dives, tmp_path):
    (dives / "text.mp4").unlink()
    out = tmp_path / "r.jsonl"
    process = subprocess.Popen(
        command("--watch", "--most-exemplars", "1", dives, "-o", out),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_for(lambda: lines_in(out) == 2, process)
    shutil.copy(EXAMPLES / "626C-10m-excellent.mp4", dives)
    wait_for(lambda: lines_in(out) == 3, process)
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 0, said
    assert "626C-10m-excellent.mp4" in rows_of(out)
