from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from finecausal_cli.batch.inputs import Item, Shard
from finecausal_cli.batch.records import Journal, merge_journals
from finecausal_cli.errors import DatasetError, UsageError
from finecausal_cli.scoring import ScoreOptions

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from finecausal_cli.batch.records import Row

ITEMS = [Item(f"clips/{number:04d}.mp4", "", ScoreOptions()) for number in range(900)]


def test_every_dive_belongs_to_exactly_one_share_and_the_shares_are_alike() -> None:
    shares = [[item for item in ITEMS if Shard(index, 3).holds(item)] for index in (1, 2, 3)]
    assert sorted(item.source for share in shares for item in share) == [item.source for item in ITEMS]
    # Binomial: 300 of 900 give or take 14; five times that would be no chance.
    assert all(230 < len(share) < 370 for share in shares)


def test_a_share_does_not_depend_on_what_else_is_there_nor_on_the_machine() -> None:
    # sha256("clips/0000.mp4") begins with 64 bits that are 2 modulo 3, as sha256sum and bc say.
    assert [Shard(index, 3).holds(ITEMS[0]) for index in (1, 2, 3)].count(True) == 1
    assert Shard(1, 1).holds(Item("bad\udcff.mp4", "", ScoreOptions()))


@pytest.mark.parametrize("text", ["", "2", "0/3", "4/3", "-1/3", "1/0", "a/b", "1/3/5", "1.5/3"])
def test_what_is_no_share(text: str) -> None:
    with pytest.raises(UsageError, match="--shard"):
        Shard.parse(text)


def test_a_share_is_read() -> None:
    assert Shard.parse("2/8") == Shard(2, 8)


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    def write(name: str, *rows: Row) -> Path:
        with Journal(tmp_path / name) as journal:
            for row in rows:
                journal.append(row)
        return tmp_path / name

    return write


def test_merging_keeps_one_row_a_dive_a_score_before_a_failure_then_the_later(
    write: Callable[..., Path], make_row: Callable[..., Row]
) -> None:
    first = write("1.jsonl", make_row("a.mp4", 10.0), make_row("b.mp4", 20.0), make_row("c.mp4", None))
    second = write("2.jsonl", make_row("b.mp4", None), make_row("c.mp4", 30.0), make_row("a.mp4", 11.0))
    third = write("3.jsonl", make_row("d.mp4", None), make_row("d.mp4", None), make_row("a.mp4", 1.0, start_s=4.0))
    merged = merge_journals([first, second, third])
    rows = [(row.source, row.start_s, row.score) for row in merged.rows()]
    assert rows == [
        ("b.mp4", None, 20.0),
        ("c.mp4", None, 30.0),
        ("a.mp4", None, 11.0),
        ("d.mp4", None, None),
        ("a.mp4", 4.0, 1.0),
    ]
    assert merged.replaced == 4


def test_merging_keeps_rows_of_one_video_with_other_dive_numbers(
    write: Callable[..., Path], make_row: Callable[..., Row]
) -> None:
    """A row is its video, its times and its options; a recognised number is no option."""
    given = {"dive_from": "given", "difficulty": 3.0, "difficulty_from": "listed for 107B at 10 m"}
    first = write("1.jsonl", make_row(dive="107B", **given), make_row(dive="301B", **given), make_row(dive="405C"))
    second = write("2.jsonl", make_row(score=None, dive="107b"), make_row(score=50.0, dive="301B", **given))
    third = write("3.jsonl", make_row(dive="5253B", dive_from="recognised"), make_row(dive=None, score=70.0))
    merged = merge_journals([first, second, third])
    assert [(row.dive, row.score) for row in merged.rows()] == [
        ("107B", 60.0),
        ("405C", 60.0),
        ("301B", 50.0),
        (None, 70.0),
    ]


def test_merging_names_what_is_no_file_of_results(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text('{"video": "a.mp4"}\n')
    with pytest.raises(DatasetError, match=r"x\.jsonl: line 1 is no row of results"):
        merge_journals([tmp_path / "x.jsonl"])
