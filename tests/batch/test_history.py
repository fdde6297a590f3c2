"""The dives of an athlete over time, out of results as ``finecausal score`` writes them."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import pytest
from scipy import stats

from finecausal_cli.batch.history import build_history, fit_trend, read_results
from finecausal_cli.batch.inputs import find_inputs
from finecausal_cli.batch.pipeline import Outcome
from finecausal_cli.batch.records import Journal, RunSettings, read_result_rows
from finecausal_cli.batch.runner import BatchStats, plan_batch, run_plan
from finecausal_cli.errors import DatasetError, UsageError
from finecausal_cli.report.files import plan_target, write_files
from finecausal_cli.scoring import ScoreOptions


@pytest.fixture
def make_past(make_row):
    """Make rows of one athlete's 107B, a mark each, so many days apart."""

    def make(marks, days, diver="Anna", **more):
        return [
            make_row(
                f"clips/{day}.mp4",
                mark=mark,
                dive="107B",
                dive_from="given",
                diver=diver,
                date=(date(2026, 3, 1) + timedelta(days=day)).isoformat(),
                **more,
            )
            for mark, day in zip(marks, days, strict=True)
        ]

    return make


def number_of(rows):
    return build_history(rows, "r.csv").divers[0].numbers[0]


def test_a_trend_is_the_line_of_least_squares_with_the_interval_of_students_t(make_past):
    days, marks = (0, 7, 14, 21, 28, 40), (6.0, 6.5, 6.2, 6.9, 6.6, 7.3)
    line = stats.linregress(days, marks)
    half = stats.t.ppf(0.975, 4) * line.stderr
    trend = number_of(make_past(marks, days)).trend
    assert trend.marks_a_month == pytest.approx(30 * line.slope)
    assert (trend.low, trend.high) == pytest.approx((30 * (line.slope - half), 30 * (line.slope + half)))
    assert trend.is_clear


@pytest.mark.parametrize(
    ("days", "why"),
    [
        ((0, 10, 20, 30), "4 of the 5 dives"),
        ((0, 0, 20, 20, 20), "2 of the 3 days"),
        ((0, 1, 2, 3, 13), "13 of the 14 days"),
    ],
)
def test_without_enough_dives_days_or_weeks_there_is_no_trend_and_the_reason_is_said(make_past, days, why):
    number = number_of(make_past([6.0] * len(days), days))
    assert number.trend is None
    assert number.no_trend.startswith(why)


def test_the_interval_holds_the_true_slope_as_often_as_it_says(make_past):
    rng, days = np.random.default_rng(0), (0, 5, 9, 16, 22, 30, 41)
    held = 0
    for _ in range(300):
        marks = 5 + 0.5 * np.array(days) / 30 + rng.normal(0, 0.4, len(days))
        trend = number_of(make_past(marks.tolist(), days)).trend
        held += trend.low <= 0.5 <= trend.high
    assert 0.92 <= held / 300 <= 0.98


def test_dives_are_in_the_order_of_time_with_the_best_and_the_last(make_past):
    number = number_of(make_past((6.0, 7.0, 6.5), (20, 0, 10)))
    assert number.marks == (7.0, 6.5, 6.0)
    assert (number.best.mark, number.best.date) == (7.0, "2026-03-01")
    assert (number.last.mark, number.last.date) == (6.0, "2026-03-21")


def test_without_a_manifest_the_folder_is_the_diver_and_the_file_tells_the_time(make_row):
    rows = [make_row("meet/ben/1.mp4", mark=5.0, file_time="2026-04-02T10:00:00+00:00")]
    history = build_history(rows, "r.csv")
    (diver,) = history.divers
    assert (diver.diver, diver.diver_from, diver.dives[0].date_from) == ("ben", "folder", "file")
    assert any("by the time of the file" in note for note in history.notes)


def test_dives_of_an_unsure_number_are_shown_apart_and_have_no_trend(make_row):
    rows = [
        make_row(
            f"a/{day}.mp4", None, mark=5.0, diver="A", date=f"2026-04-{day:02}", dive_from="not sure: perhaps 107B"
        )
        for day in (1, 5, 9, 20, 28)
    ]
    (number,) = build_history(rows, "r.csv").divers[0].numbers
    assert (number.dive, number.count, number.trend) == (None, 5, None)


def test_rows_of_different_weights_are_not_compared_without_a_word(make_past):
    rows = make_past((6.0,), (0,), weights_digest="a") + make_past((6.5,), (5,), weights_digest="b")
    assert any("different weights" in note for note in build_history(rows, "r.csv").notes)


def test_what_is_said_of_the_rows_is_said_of_those_that_are_asked_for(make_past, make_row):
    anna = make_past((6.0, 6.2), (0, 3), weights_digest="a", trained_on="filmed")
    ben = [row.model_copy(update={"diver": "Ben", "weights_digest": "b", "trained_on": "simulated"}) for row in anna]
    other = [row.model_copy(update={"dive": "5253B", "trained_on": "both"}) for row in anna[:1]]
    failed = [make_row("a.mp4", None, diver=diver, date="2026-03-01", dive="107B") for diver in ("Anna", "Ben", "Ben")]
    rows = [*anna, *ben, *other, *failed]
    every = build_history(rows, "r.csv")
    assert (every.without_mark, set(every.trained_on)) == (3, {"filmed", "simulated", "both"})
    assert any("different weights" in note for note in every.notes)
    one = build_history(rows, "r.csv", diver="anna")
    assert (one.without_mark, set(one.trained_on)) == (1, {"filmed", "both"})
    assert not any("different weights" in note for note in one.notes)
    number = build_history(rows, "r.csv", diver="Anna", dive="5253B")
    assert (number.without_mark, number.trained_on) == (0, ("both",))


def test_a_name_that_is_not_there_is_refused_with_those_that_are(make_past):
    rows = make_past((6.0,), (0,))
    assert build_history(rows, "r.csv", diver="ANNA").divers[0].diver == "Anna"
    with pytest.raises(UsageError, match=r"divers here: Anna"):
        build_history(rows, "r.csv", diver="Bob")
    with pytest.raises(UsageError, match=r"numbers here: 107B"):
        build_history(rows, "r.csv", dive="5253B")


def test_a_table_that_is_no_results_is_refused_with_its_columns(tmp_path):
    (tmp_path / "t.csv").write_text("video,score\na.mp4,3\n")
    with pytest.raises(DatasetError, match=r"no column 'source'; the first columns are video, score"):
        read_results(tmp_path / "t.csv")


def test_two_weeks_scored_into_one_file_are_one_history(tmp_path, monkeypatch, make_row):
    """Manifest, journal, CSV, history: the columns diver and date arrive, and the first week stays."""
    monkeypatch.chdir(tmp_path)
    setting, target = RunSettings("w" * 64, "b" * 64, "fp32"), plan_target("results.csv")

    def score(week, date_in_sheet, mark):
        (tmp_path / week).mkdir(exist_ok=True)
        (tmp_path / week / "a.mp4").write_bytes(week.encode())
        manifest = f"video;diver;date\r\na.mp4;Zoë Weiß;{date_in_sheet}\r\n"
        (tmp_path / week / "dives.csv").write_text(manifest, encoding="utf-8-sig")
        asked = []

        def outcomes(jobs):
            for job in jobs:
                asked.append(job.item.source)
                labels = {"diver": job.item.diver, "date": job.item.date, "file_time": job.file_time}
                yield Outcome(make_row(job.item.source, key=job.key, mark=mark, sha256=job.sha256, **labels), None)

        with Journal(target.journal) as journal:
            plan = plan_batch(find_inputs([week], ScoreOptions()).items, setting, read_result_rows(journal.path))
            run_plan(plan, outcomes, BatchStats(), journal=journal)
            write_files(target)
        return asked

    assert score("week-1", "01.05.2026", 6.0) == ["week-1/a.mp4"]
    assert score("week-2", "2026-05-09", 6.5) == ["week-2/a.mp4"]
    assert score("week-2", "2026-05-10", 6.5) == []  # another date is no reason to score again
    (diver,) = build_history(read_results(tmp_path / "results.csv"), "results.csv").divers
    assert diver.diver == "Zoë Weiß"
    assert [(past.date, past.mark) for past in diver.dives] == [("2026-05-01", 6.0), ("2026-05-10", 6.5)]
    assert all(row.file_time for row in read_results(tmp_path / "results.csv"))


def test_a_fit_needs_no_scatter():
    assert fit_trend([]) == (None, "0 of the 5 dives that a trend needs")
