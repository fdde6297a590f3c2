from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from finecausal_cli.batch.runner import BatchStats, Plan
from finecausal_cli.report.batch import print_failures, print_line, print_summary, spent, summarise_rows

if TYPE_CHECKING:
    from collections.abc import Callable

    from finecausal_cli.batch.records import Row


def console(columns: int = 80) -> Console:
    return Console(file=io.StringIO(), width=columns, highlight=False, markup=False, emoji=False)


def text_of(page: Console) -> str:
    return page.file.getvalue()  # type: ignore[attr-defined]


def stats_of(*rows: Row, of: int | None = None, **run: object) -> BatchStats:
    stats = BatchStats(**run)  # type: ignore[arg-type]
    keys = [(row.clip_key, row.key) for row in rows]
    keys += [((f"missing{number}", None, None), "k") for number in range((of or len(rows)) - len(rows))]
    stats.plan(Plan((), (), (), tuple(keys)))
    for row in rows:
        stats.add(row)
    return stats


def test_the_summary_of_hand_worked_rows(make_batch_row: Callable[..., Row]) -> None:
    rows = [make_batch_row(name, score) for name, score in (("a", 50.0), ("b", 80.0), ("c", 71.0), ("d", 61.0))]
    found = summarise_rows([*rows, make_batch_row("e", None), make_batch_row("f", None, error_kind="timeout")])
    assert (found.count, found.scored, found.failed) == (6, 4, 2)
    assert (found.mean, found.median) == (65.5, 66.0)
    assert (found.best.source, found.worst.source) == ("b", "a")
    assert found.failures == (("not_a_video", 1), ("timeout", 1))
    assert summarise_rows(rows[:3]).median == 71.0
    assert summarise_rows([]).mean is None


@pytest.mark.parametrize("columns", [40, 80, 140])
def test_a_dive_is_one_line_whatever_its_name(columns: int, make_batch_row: Callable[..., Row]) -> None:
    names = ["a.mp4", "very/long/" * 30 + "end.mp4", "two\nlines\x1b[31m.mp4", "跳水" * 30 + ".mp4"]
    for name in names:
        for row in (make_batch_row(name, 61.5, interval_low=40.0, interval_high=80.0), make_batch_row(name, None)):
            page = console(columns)
            print_line(row, page)
            (line,) = text_of(page).splitlines()
            assert "\x1b" not in line
            assert line.endswith(".mp4")
            if columns >= 80:
                assert len(line) <= 80
                assert ("61.50" in line) is row.is_scored


def test_failures_say_why_and_stay_on_the_page(make_batch_row: Callable[..., Row]) -> None:
    rows = [make_batch_row(f"clip{number}.mp4", None, error="what is wrong " * 9) for number in range(25)]
    page = console()
    print_failures([make_batch_row("good.mp4"), *rows], page)
    text = text_of(page)
    assert max(map(len, text.splitlines())) <= 80
    assert "clip19.mp4" in text
    assert "clip20.mp4" not in text
    assert "and 5 more" in text
    assert "good.mp4" not in text


def test_the_summary_says_what_was_done_and_what_was_known(make_batch_row: Callable[..., Row]) -> None:
    page = console()
    print_summary(stats_of(make_batch_row("a", 50.0), make_batch_row("b", None), seconds=30.0), page)
    text = " ".join(text_of(page).split())
    assert "2 0 0 1 - 50.00 50.00 50.00 50.00" in text
    withheld = make_batch_row("c", 60.0).model_copy(update={"score": None, "mark": 7.0, "error_kind": "no_number"})
    page = console()
    print_summary(stats_of(make_batch_row("a", 50.0), withheld, seconds=30.0), page)
    assert "2 1 0 0 7.00 50.00" in " ".join(text_of(page).split())  # the one without points is counted as such
    assert "2 in 30 s, 4 a minute" in text
    assert "Nothing to do" not in text
    known = BatchStats(seconds=1.0)
    rows = (make_batch_row("a", 50.0), make_batch_row("b", None))
    known.plan(Plan((), (), rows, tuple((row.clip_key, row.key) for row in rows)))
    page = console()
    print_summary(known, page)
    assert "Nothing to do: all 2 rows are there already." in text_of(page)
    assert "--retry-failed" in text_of(page)


def test_an_interruption_says_what_is_missing(make_batch_row: Callable[..., Row]) -> None:
    page = console()
    print_summary(stats_of(make_batch_row("a", 50.0), of=3, seconds=5.0, stopped="interrupted"), page)
    assert "1 of 3" in text_of(page)
    assert "interrupted; 2 without a row" in text_of(page)


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.4, "0 s"), (59.4, "59 s"), (185, "3:05 min"), (7800, "2:10:00 h"), (59.6, "1:00 min")]
)
def test_times_as_people_read_them(seconds: float, said: str) -> None:
    assert spent(seconds) == said
