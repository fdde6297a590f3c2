from __future__ import annotations

import errno
import json
import os
from typing import TYPE_CHECKING

import pytest

from finecausal_cli.batch import records as journal_module
from finecausal_cli.batch.records import ROW_VERSION, Journal, read_result_rows, to_line
from finecausal_cli.errors import DatasetError, OutputError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from finecausal_cli.batch.records import Row


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "out" / "results.jsonl"


def scores(path: Path) -> list[tuple[str, float | None]]:
    return [(row.source, row.score) for row in read_result_rows(path)]


def test_rows_come_back_whatever_their_names(path: Path, make_row: Callable[..., Row]) -> None:
    names = ["a.mp4", "with\nbreak.mp4", "ünicode 跳水.mp4", "bad\udcff.mp4", '"quoted", and more.mp4']
    with Journal(path) as journal:
        for name in names:
            journal.append(make_row(name, score=None if name == "a.mp4" else 61.25))
    assert [row.source for row in read_result_rows(path)] == names
    assert len(path.read_bytes().splitlines()) == len(names)
    assert all(json.loads(line)["row_version"] == ROW_VERSION for line in path.read_bytes().splitlines())


@pytest.mark.parametrize("lost", [1, 2, 30, 200])
def test_a_torn_last_line_is_cut_off_and_its_dive_asked_for_again(
    path: Path, lost: int, make_row: Callable[..., Row]
) -> None:
    with Journal(path) as journal:
        for name in ("a.mp4", "b.mp4"):
            journal.append(make_row(name))
    path.write_bytes(path.read_bytes()[:-lost])
    assert scores(path) == [("a.mp4", 60.0)]
    with Journal(path) as journal:
        assert path.read_bytes() == to_line(make_row("a.mp4"))
        journal.append(make_row("b.mp4", 70.0))
    assert scores(path) == [("a.mp4", 60.0), ("b.mp4", 70.0)]


def test_a_first_line_that_is_torn_leaves_an_empty_file(path: Path, make_row: Callable[..., Row]) -> None:
    for length in (1, 10, 100):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(to_line(make_row())[:length])
        with Journal(path):
            assert path.read_bytes() == b""


@pytest.mark.parametrize("content", [b"my notes", b"my notes\nof today", b'{"score": 3}\n', b"[1, 2]\n", b"\x89PNG"])
def test_a_file_of_something_else_stays_as_it_is(path: Path, content: bytes, make_row: Callable[..., Row]) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(DatasetError, match="line 1"), Journal(path) as journal:
        list(read_result_rows(journal.path))
    assert path.read_bytes() == content


def test_there_is_one_writer_at_a_time(path: Path, make_row: Callable[..., Row]) -> None:
    with Journal(path) as journal:
        journal.append(make_row())
        with pytest.raises(OutputError, match="another run is writing"), Journal(path):
            pass
    with Journal(path) as journal:
        journal.append(make_row("b.mp4"))
    assert len(scores(path)) == 2


def test_a_full_disk_is_one_line_and_leaves_whole_rows(
    path: Path, make_row: Callable[..., Row], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with Journal(path) as journal:
        journal.append(make_row())
        with monkeypatch.context() as patch:
            patch.setattr(journal_module.os, "fsync", full)
            with pytest.raises(OutputError, match="No space left"):
                journal.append(make_row("b.mp4"))
        journal.append(make_row("c.mp4"))
    assert [name for name, _ in scores(path)] == ["a.mp4", "c.mp4"]


def test_dropping_rows_keeps_the_others_and_goes_on(path: Path, make_row: Callable[..., Row]) -> None:
    with Journal(path) as journal:
        for name in ("a.mp4", "b.mp4", "c.mp4"):
            journal.append(make_row(name))
        assert journal.drop(lambda row: row.source == "b.mp4") == 1
        assert journal.drop(lambda row: row.source == "b.mp4") == 0
        journal.append(make_row("b.mp4", 50.0))
    assert scores(path) == [("a.mp4", 60.0), ("c.mp4", 60.0), ("b.mp4", 50.0)]


def test_a_missing_file_is_named(path: Path) -> None:
    with pytest.raises(DatasetError, match=r"results\.jsonl"):
        list(read_result_rows(path))


def test_a_row_of_the_first_version_is_still_read_but_without_its_verdict(
    path: Path, make_row: Callable[..., Row]
) -> None:
    row = json.loads(to_line(make_row("a.mp4")))
    new = ("time_scale", "clip_start_s", "clip_end_s", "athlete_seen", "forced", "dive_index", "dives_found")
    old = {name: value for name, value in row.items() if name not in new}
    path.parent.mkdir()
    path.write_text(json.dumps({**old, "row_version": 1, "assessment": {"schema_version": 2}}) + "\n")
    (found,) = read_result_rows(path)
    assert (found.score, found.assessment, found.row_version) == (60.0, None, 1)
