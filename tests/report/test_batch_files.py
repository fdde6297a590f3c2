from __future__ import annotations

import csv
import io
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow.parquet as pq
import pytest

from finecausal_cli.batch import BatchConfig
from finecausal_cli.batch.records import COLUMNS, Journal, Row
from finecausal_cli.errors import UsageError
from finecausal_cli.report.files import (
    BatchTarget,
    check_batch_target,
    find_journal,
    is_whole_result,
    merge_results,
    plan_target,
    row_writer,
    write_file,
    write_files,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from finecausal_cli.batch import BatchFormat

NAMES = ["a, b.mp4", "new\nline.mp4", 'quo"te.mp4', "ünicode.mp4", "bad\udcff.mp4"]
READABLE = [*NAMES[:-1], "bad\\udcff.mp4"]


@pytest.fixture
def rows(make_batch_row: Callable[..., Row]) -> list[Row]:
    return [make_batch_row(name, None if name.startswith("new") else 61.5, voters=5) for name in NAMES]


def test_csv_is_read_back_cell_by_cell(tmp_path: Path, rows: list[Row]) -> None:
    write_file(tmp_path / "r.csv", "csv", rows)
    with (tmp_path / "r.csv").open(newline="", encoding="utf-8") as stream:
        found = list(csv.DictReader(stream))
    assert tuple(found[0]) == COLUMNS
    assert [row["source"] for row in found] == READABLE
    assert (found[0]["score"], found[0]["error_kind"], found[0]["voters"]) == ("61.5", "", "5")
    assert (found[1]["score"], found[1]["status"], found[1]["error_kind"]) == ("", "failed", "not_a_video")


def test_parquet_has_typed_columns(tmp_path: Path, rows: list[Row]) -> None:
    write_file(tmp_path / "r.parquet", "parquet", rows)
    table = pq.read_table(tmp_path / "r.parquet")
    assert tuple(table.column_names) == COLUMNS
    assert table["source"].to_pylist() == READABLE
    assert table["score"].to_pylist() == [61.5, None, 61.5, 61.5, 61.5]
    kinds = {name: str(table.schema.field(name).type) for name in ("score", "voters", "row_version", "key", "start_s")}
    assert kinds == {"score": "double", "voters": "int64", "row_version": "int64", "key": "string", "start_s": "double"}


def test_an_empty_batch_has_headers_and_an_empty_array(tmp_path: Path) -> None:
    for ending in ("csv", "json", "jsonl", "parquet"):
        write_file(tmp_path / f"r.{ending}", ending, [])
    assert (tmp_path / "r.csv").read_text() == ",".join(COLUMNS) + "\n"
    assert json.loads((tmp_path / "r.json").read_text()) == []
    assert (tmp_path / "r.jsonl").read_bytes() == b""
    assert pq.read_table(tmp_path / "r.parquet").num_rows == 0


def test_json_is_one_array_of_whole_rows(rows: list[Row]) -> None:
    stream = io.BytesIO()
    writer = row_writer("json", stream)
    for row in rows:
        writer.add(row)
    writer.close()
    found = json.loads(stream.getvalue())
    assert [Row.model_validate(one) for one in found] == rows


def test_files_are_sorted_by_name_whoever_was_ready_first(tmp_path: Path, make_batch_row: Callable[..., Row]) -> None:
    target = plan_target(tmp_path / "out")
    with Journal(target.journal) as journal:
        for name in ("c.mp4", "a.mp4", "b.mp4"):
            journal.append(make_batch_row(name))
    write_files(target)
    with (tmp_path / "out" / "results.csv").open(newline="") as stream:
        assert [row["source"] for row in csv.DictReader(stream)] == ["a.mp4", "b.mp4", "c.mp4"]
    page = (tmp_path / "out" / "report.html").read_text().replace("\u00a0", " ")
    assert "3 scored, 0 without points, 0 refused, 0 failed" in page


def test_the_name_says_the_format(tmp_path: Path) -> None:
    (tmp_path / "there.d").mkdir()
    for folder in (tmp_path / "there.d", tmp_path / "new"):
        target = plan_target(folder)
        assert target.journal == folder / "results.jsonl"
        assert dict(target.files) == {"csv": folder / "results.csv", "html": folder / "report.html"}
    assert plan_target(tmp_path / "r.jsonl") == BatchTarget(tmp_path / "r.jsonl", tmp_path / "r.jsonl")
    for ending in ("csv", "parquet", "json", "html"):
        target = plan_target(tmp_path / f"r.{ending}")
        assert target.journal == tmp_path / f"r.{ending}.journal.jsonl"
        assert target.files == ((ending, tmp_path / f"r.{ending}"),)
        assert find_target(target) == target.journal
    assert plan_target(tmp_path / "r.txt", "csv").files == (("csv", tmp_path / "r.txt"),)


def test_one_place_decides_what_the_output_is(tmp_path: Path) -> None:
    """A trailing slash is a folder; a link is what it leads to; a pipe and a device take rows as they come."""
    assert plan_target(f"{tmp_path}/new.d/").journal == tmp_path / "new.d" / "results.jsonl"
    (tmp_path / "real.csv").touch()
    (tmp_path / "link.csv").symlink_to("real.csv")
    assert plan_target(tmp_path / "link.csv").files == (("csv", tmp_path / "link.csv"),)
    assert plan_target("/dev/null", "csv") == BatchTarget(Path("/dev/null"), stream="csv")
    os.mkfifo(tmp_path / "pipe.jsonl")
    assert plan_target(tmp_path / "pipe.jsonl").stream == "jsonl"
    with pytest.raises(UsageError, match="as they come"):
        plan_target("/dev/null")
    assert plan_target(None, "jsonl") == BatchTarget(stream="jsonl")
    assert plan_target(None, "table") == BatchTarget()


@pytest.mark.parametrize(
    ("output", "asked", "is_whole"),
    [
        (None, None, True),
        (None, "json", True),
        (None, "csv", False),
        ("a.json", None, True),
        ("a.txt", None, True),
        ("a.csv", None, False),
        ("a.html", None, False),
        ("new/", None, False),
        ("new", None, False),
        ("a.json", "jsonl", False),
    ],
)
def test_a_single_dive_is_whole_unless_a_row_is_asked_for(
    output: str | None, asked: BatchFormat | None, is_whole: bool
) -> None:
    assert is_whole_result(BatchConfig(("a.mp4",), output=output, output_format=asked)) is is_whole
    assert not is_whole_result(BatchConfig(("a.mp4",), output=output, output_format=asked, all_dives=True))


def test_an_unknown_ending_is_refused_for_one_dive_too() -> None:
    with pytest.raises(UsageError, match="does not say its format"):
        is_whole_result(BatchConfig(("a.mp4",), output="a.xlsx"))


def find_target(target: BatchTarget) -> Path:
    target.journal.touch()
    return find_journal(target.output)


@pytest.mark.parametrize(
    ("name", "asked", "says"),
    [
        ("r.txt", None, "does not say its format"),
        ("r.csv", "json", "says otherwise"),
        ("r.csv", "table", "for the screen"),
        ("", "csv", "is a folder"),
    ],
)
def test_names_that_contradict_the_format(tmp_path: Path, name: str, asked: str | None, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        plan_target(tmp_path / name, asked)


def test_nothing_that_is_read_is_written_over(tmp_path: Path) -> None:
    from finecausal_cli.batch.inputs import find_inputs
    from finecausal_cli.scoring import ScoreOptions

    (tmp_path / "frames").mkdir()
    (tmp_path / "frames" / "1.jpg").touch()
    (tmp_path / "a.csv").write_text("video\nx.html\n")
    (tmp_path / "x.html").touch()
    named = [str(tmp_path / name) for name in ("frames", "a.csv")]
    items = find_inputs(named, ScoreOptions()).items
    for name, says in (("x.html", "over a dive"), ("frames/r.csv", "among the frames"), ("a.csv", "the manifest")):
        with pytest.raises(UsageError, match=says):
            check_batch_target(plan_target(tmp_path / name), items, named)
    check_batch_target(plan_target(tmp_path / "r.csv"), items, named)


def test_results_are_merged_into_a_folder_that_a_slash_says(
    tmp_path: Path, make_batch_row: Callable[..., Row], capsys: pytest.CaptureFixture[str]
) -> None:
    with Journal(tmp_path / "1.jsonl") as journal:
        journal.append(make_batch_row("a.mp4"))
    merge_results(f"{tmp_path}/new.d/", [tmp_path / "1.jsonl"])
    assert "1 row from 1 file" in capsys.readouterr().out
    assert (tmp_path / "new.d" / "results.csv").is_file()
    with pytest.raises(UsageError, match="a pipe or a device"):
        merge_results("/dev/null", [tmp_path / "1.jsonl"])


def test_results_that_are_not_there_are_named(tmp_path: Path) -> None:
    (tmp_path / "r.csv").touch()
    with pytest.raises(UsageError, match=r"r\.csv\.journal\.jsonl is missing"):
        find_journal(tmp_path / "r.csv")
