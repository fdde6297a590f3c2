from __future__ import annotations

import os
import shutil
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch

from finecausal_cli.batch import BatchConfig
from finecausal_cli.batch import pipeline as pipeline_module
from finecausal_cli.batch.pipeline import BatchLimit, JobScorer, Outcome, ReadJob, score_jobs, score_reads
from finecausal_cli.errors import UsageError, VideoError
from finecausal_cli.scoring import ScoreOptions
from finecausal_cli.scoring.prepared_dive import PreparedDive
from finecausal_cli.scoring.scorer import Scorer
from finecausal_cli.video import worker as child

if TYPE_CHECKING:
    from collections.abc import Callable

    from finecausal_cli.batch.records import Job

OF_107B = {"dive": "107b", "height_m": 10.0}
CHOICES = [{}, OF_107B, {"exemplar": "e2", "voters": 1}, {"difficulty": 2.5}, {"start_s": 0.4, "end_s": 1.6}]


@pytest.mark.parametrize(("workers", "batch_size"), [(1, 1), (2, 4)])
@pytest.mark.thorough
def test_rows_equal_dives_scored_one_by_one(
    scorer: Scorer, film: Path, make_job: Callable[..., Job], workers: int, batch_size: int
) -> None:
    jobs = [make_job(film, **options) for options in CHOICES]
    config = BatchConfig(workers=workers, batch_size=batch_size)
    rows = {outcome.row.key: outcome.row for outcome in score_jobs(scorer, jobs, config)}
    assert len(rows) == len(CHOICES)
    for job, options in zip(jobs, CHOICES, strict=True):
        alone = scorer.score(str(film), ScoreOptions(attention=False, force=True, **options))
        row = rows[job.key]
        assert row.mark == pytest.approx(alone.mark, abs=1e-4)
        assert row.entry_marks == pytest.approx(alone.stages[2].marks, abs=1e-4)
        assert (row.score is None, row.error_kind) == ((True, "no_number") if alone.score is None else (False, None))
        assert row.assessment is not None
        assert [vote.exemplar for vote in row.assessment.votes] == [vote.exemplar for vote in alone.votes]
        assert row.assessment.notes == alone.notes
        if alone.score is not None:
            assert row.score == pytest.approx(alone.score, abs=1e-4)
            assert row.entry_points == pytest.approx(alone.stages[2].contribution, abs=1e-4)
            assert row.interval_low == pytest.approx(alone.interval.low, abs=1e-4)
        assert (row.dive, row.difficulty, row.decoder) == (alone.dive, alone.difficulty, alone.provenance.decoder)


@pytest.mark.thorough
def test_judging_together_changes_nothing_and_keeps_attention_where_asked(scorer: Scorer, film: Path) -> None:
    from finecausal_cli.video.reader import read_clip

    options = [ScoreOptions(force=True, **choice) for choice in CHOICES[:4]]
    clip = read_clip(film, geometry=scorer.model.config.geometry, frame_size=scorer.frame_size)
    together = scorer.score_clips([clip] * 4, [options[0], *(replace(one, attention=False) for one in options[1:])])
    for found, choice in zip(together, options, strict=True):
        assert found.value == pytest.approx(scorer.score(str(film), choice).value, abs=1e-4)
    assert [found.attention is not None for found in together] == [True, False, False, False]
    alone = scorer.score(str(film), options[0]).attention
    assert together[0].attention.stages[2] == pytest.approx(alone.stages[2], abs=1e-5)


@pytest.mark.thorough
def test_what_is_wrong_becomes_a_row_and_stops_nobody(
    scorer: Scorer, dives: Path, make_job: Callable[..., Job]
) -> None:
    os.mkfifo(dives / "pipe.mp4")
    good = make_job(dives / "a.mp4")
    wrong = {
        make_job(dives / "text.mp4").key: "not_a_video",
        make_job(dives / "gone.mp4").key: "missing",
        make_job(dives / "pipe.mp4").key: "not_a_file",
        make_job(dives / "a.mp4", dive="987Z").key: "bad_option",
        make_job(dives / "a.mp4", exemplar="nobody").key: "no_exemplar",
        make_job(dives / "a.mp4", start_s=5.0).key: "out_of_range",
        make_job(dives / "a.mp4", start_s=2.0, end_s=1.0).key: "bad_option",
    }
    jobs = [make_job(dives / name) for name in ("text.mp4", "gone.mp4", "pipe.mp4")]
    jobs += [make_job(dives / "a.mp4", dive="987Z"), make_job(dives / "a.mp4", exemplar="nobody")]
    jobs += [make_job(dives / "a.mp4", start_s=5.0), make_job(dives / "a.mp4", start_s=2.0, end_s=1.0), good]
    rows = {outcome.row.key: outcome.row for outcome in score_jobs(scorer, jobs, BatchConfig(batch_size=3))}
    assert rows.pop(good.key).is_scored
    assert {key: row.error_kind for key, row in rows.items()} == wrong
    assert all(row.error and "\n" not in row.error and row.score is None for row in rows.values())


def slow_for(name: str, deed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let reading processes do something else with one file."""
    program = (
        "import json, sys, os, time; sys.path[:] = json.loads(sys.argv[1])\n"
        "from finecausal_cli.scoring import dives, dive_reading\n"
        "find = dives.search_dives\n"
        f"dives.search_dives = lambda path, **o: ({deed}) if path.endswith({name!r}) else find(path, **o)\n"
        "dive_reading.serve()"
    )
    monkeypatch.setattr(child, "_START", program)


@pytest.mark.thorough
def test_a_decoder_that_hangs_costs_one_time_limit_and_one_that_crashes_nothing(
    scorer: Scorer, dives: Path, make_job: Callable[..., Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    slow_for("hangs.mp4", "time.sleep(600)", monkeypatch)
    shutil.copy(dives / "a.mp4", dives / "hangs.mp4")
    jobs = [make_job(dives / name) for name in ("hangs.mp4", "a.mp4", "b.mp4")]
    begun = time.monotonic()
    outcomes = score_jobs(scorer, jobs, BatchConfig(workers=1, timeout_s=6.0))
    rows = {Path(outcome.row.source).name: outcome.row for outcome in outcomes}
    assert rows["hangs.mp4"].error_kind == "timeout"
    assert "longer than 6 s" in rows["hangs.mp4"].error
    assert 6.0 <= rows["hangs.mp4"].seconds < 60
    assert rows["a.mp4"].is_scored
    assert rows["b.mp4"].is_scored
    assert time.monotonic() - begun < 90


@pytest.mark.skipif(sys.platform == "win32", reason="needs signals")
@pytest.mark.thorough
def test_a_process_that_dies_is_replaced(
    scorer: Scorer, dives: Path, make_job: Callable[..., Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    slow_for("b.mp4", "os.kill(os.getpid(), 11)", monkeypatch)
    with JobScorer(scorer, timeout_s=60) as one:
        rows = [one.rows([make_job(dives / name)])[0][0] for name in ("a.mp4", "b.mp4", "a.mp4")]
    assert [row.error_kind for row in rows] == ["no_number", "crashed", "no_number"]
    assert rows[0].mark == pytest.approx(rows[2].mark, abs=1e-9)


@pytest.mark.thorough
def test_a_mistake_of_ours_is_the_row_of_the_dive_that_met_it(
    scorer: Scorer, dives: Path, make_job: Callable[..., Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    score_prepared = Scorer.score_prepared

    def stumble(self, prepared, options, **how):
        if any(one.voters == 3 for one in options):
            raise ZeroDivisionError("three\nvoters")
        return score_prepared(self, prepared, options, **how)

    monkeypatch.setattr(Scorer, "score_prepared", stumble)
    jobs = [make_job(dives / "a.mp4"), make_job(dives / "a.mp4", voters=3), make_job(dives / "b.mp4")]
    with JobScorer(scorer) as one:
        rows = one.rows(jobs)
    assert [row.error_kind for (row,) in rows] == ["no_number", "unexpected", "no_number"]
    assert rows[1][0].error == "ZeroDivisionError: three voters"


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (IndexError("of ours"), "unexpected"),
        (VideoError("an error of this program", kind="unexpected"), "unexpected"),
        (VideoError("The decoder crashed", kind="crashed"), "crashed"),
    ],
)
def test_where_a_mistake_of_ours_was_made_is_logged_for_those_who_ask(
    film: Path, make_job: Callable[..., Job], caplog: pytest.LogCaptureFixture, error: Exception, kind: str
) -> None:
    caplog.set_level("DEBUG", "finecausal_cli")
    assert Outcome.of(ReadJob(make_job(film), error, 0.0), error).row.error_kind == kind
    logged = [record.exc_info[1] for record in caplog.records if record.exc_info]
    assert logged == ([error] if isinstance(error, IndexError) else [])


class SmallMemory:
    """Scores a dive by its index; more than ``most`` in one pass, or dive 3, do not fit."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.passes: list[list[int]] = []

    def score_prepared(self, dives, options, *, started):
        indices = [dive.index for dive in dives]
        self.passes.append(indices)
        if len(indices) > self.most or 3 in indices:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return [ValueError(index) for index in indices]


@pytest.mark.parametrize(
    ("most", "passes", "size"),
    [
        (8, [[0, 1, 2, 3], [0, 1], [2, 3], [2], [3], [4]], 1),
        (1, [[0, 1, 2, 3], [0, 1], [0], [1], [2], [3], [4]], 1),
    ],
)
def test_out_of_memory_halves_the_batch_and_goes_on(
    film: Path,
    make_job: Callable[..., Job],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    most: int,
    passes: list[list[int]],
    size: int,
) -> None:
    monkeypatch.setattr(pipeline_module, "_prepare", lambda _, read: PreparedDive(None, None, read.index, 1, ()))
    reads = [ReadJob(make_job(film), None, 0.0, index, 5) for index in range(5)]
    memory, limit = SmallMemory(most), BatchLimit(4)
    outcomes = score_reads(memory, reads, limit)
    assert (memory.passes, limit.size) == (passes, size)
    assert [outcome.row.dive_index for outcome in outcomes] == [0, 1, 2, 3, 4]
    wrong = [outcome.result for outcome in outcomes]
    assert [error.args[0] for error in wrong if isinstance(error, ValueError)] == [0, 1, 2, 4]
    assert isinstance(wrong[3], torch.OutOfMemoryError)
    assert "out of memory with 4 dives in one pass: going on with 2" in caplog.text


def test_a_batch_that_fits_keeps_its_size(
    film: Path, make_job: Callable[..., Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline_module, "_prepare", lambda _, read: PreparedDive(None, None, read.index, 1, ()))
    memory, limit = SmallMemory(4), BatchLimit(4)
    outcomes = score_reads(memory, [ReadJob(make_job(film), None, 0.0, index, 9) for index in (5, 6, 7, 8, 9)], limit)
    assert (memory.passes, limit.size, len(outcomes)) == ([[5, 6, 7, 8], [9]], 4, 5)


def test_closing_early_ends_the_processes_and_gives_the_threads_back(
    scorer: Scorer, dives: Path, make_job: Callable[..., Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    started = []
    process = pipeline_module.reading_process
    monkeypatch.setattr(pipeline_module, "reading_process", lambda: started.append(process()) or started[-1])
    threads = torch.get_num_threads()
    asked = []
    jobs = (asked.append(count) or make_job(dives / "a.mp4") for count in range(10_000))
    rows = score_jobs(scorer, jobs, BatchConfig(workers=2))
    assert next(rows).row.is_scored
    assert [one.pid is not None for one in started] == [True, True]
    rows.close()
    assert [one.pid for one in started] == [None, None]
    assert torch.get_num_threads() == threads
    assert len(asked) < 40  # read ahead, but not far


def test_no_jobs_give_no_rows(scorer: Scorer) -> None:
    assert list(score_jobs(scorer, [])) == []


@pytest.mark.parametrize("wrong", [{"workers": 0}, {"batch_size": 0}, {"timeout_s": 0}, {"timeout_s": float("nan")}])
def test_options_that_make_no_sense(wrong: dict[str, float]) -> None:
    with pytest.raises(UsageError):
        BatchConfig(**wrong)
