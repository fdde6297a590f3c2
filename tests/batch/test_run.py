from __future__ import annotations

import os
import shutil
import signal
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from finecausal_cli.batch import BatchConfig
from finecausal_cli.batch import runner as runner_module
from finecausal_cli.batch.inputs import find_inputs
from finecausal_cli.batch.pipeline import Outcome
from finecausal_cli.batch.records import Journal, RunSettings, failed_row, read_result_rows
from finecausal_cli.batch.runner import BatchRunner, BatchStats, Reporter, plan_batch, run_plan
from finecausal_cli.errors import UsageError, VideoError
from finecausal_cli.scoring import ScoreOptions
from finecausal_cli.weights import WeightsInfo

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from finecausal_cli.batch.records import Job

SETTING = RunSettings("w" * 64, "b" * 64, "fp32")


class Maker:
    """Scores by counting, fails what is called bad, and keeps what it was asked for."""

    def __init__(self, make_row, *, dies_after: int | None = None) -> None:
        self.asked: list[str] = []
        self.closed = False
        self._make_row = make_row
        self._dies_after = dies_after

    def __call__(self, jobs: Iterable[Job]) -> Iterator[Outcome]:
        try:
            for count, job in enumerate(jobs):
                if count == self._dies_after:
                    raise KeyboardInterrupt
                self.asked.append(job.item.source)
                if "bad" in job.item.source:
                    row = failed_row(job, VideoError("no video", kind="not_a_video"))
                else:
                    row = self._make_row(job.item.source, 10.0 * len(self.asked), key=job.key, sha256=job.sha256)
                    times = {"start_s": job.item.options.start_s, "end_s": job.item.options.end_s}
                    row = row.model_copy(update=times)
                yield Outcome(row, None)
        finally:
            self.closed = True


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "d").mkdir()
    for name in ("a.mp4", "bad.mp4", "c.mp4"):
        (tmp_path / "d" / name).write_bytes(name.encode())
    return tmp_path / "d"


@pytest.fixture
def run(folder: Path, make_row):
    """Run a batch over the folder into out.jsonl, and return what was asked for and the stats."""

    def go(options: ScoreOptions | None = None, setting: RunSettings = SETTING, **how):
        maker = Maker(make_row, dies_after=how.pop("dies_after", None))
        fail_fast = how.pop("fail_fast", False)
        items = find_inputs(["d"], options or ScoreOptions()).items
        stats = BatchStats()
        with Journal(folder.parent / "out.jsonl") as journal:
            plan = plan_batch(items, setting, read_result_rows(journal.path), **how)
            try:
                run_plan(plan, maker, stats, journal=journal, fail_fast=fail_fast)
            except KeyboardInterrupt:
                assert maker.closed
        return maker.asked, stats

    return go


def on_disk(folder: Path) -> list[tuple[str, str]]:
    return [(row.source, row.status) for row in read_result_rows(folder.parent / "out.jsonl")]


ALL = [("d/a.mp4", "scored"), ("d/bad.mp4", "failed"), ("d/c.mp4", "scored")]


def test_a_second_run_does_nothing_and_ends_as_the_first_did(run, folder: Path) -> None:
    asked, first = run()
    assert (asked, on_disk(folder)) == ([name for name, _ in ALL], ALL)
    assert (first.scored, first.failed, first.known, first.missing, first.exit_code) == (2, 1, 0, 0, 1)
    before = (folder.parent / "out.jsonl").read_bytes()
    asked, second = run()
    assert (asked, second.scored, second.failed, second.known, second.exit_code) == ([], 0, 0, 3, 1)
    assert [row.source for row in second.rows] == [name for name, _ in ALL]
    assert (folder.parent / "out.jsonl").read_bytes() == before


def test_an_interrupted_run_goes_on_where_it_stopped(run, folder: Path) -> None:
    asked, stats = run(dies_after=1)
    assert (asked, stats.missing, stats.exit_code) == (["d/a.mp4"], 2, 1)
    asked, stats = run()
    assert (asked, stats.known, stats.missing) == (["d/bad.mp4", "d/c.mp4"], 1, 0)
    assert on_disk(folder) == ALL


def test_only_what_changed_is_scored_again(run, folder: Path) -> None:
    run()
    (folder / "c.mp4").write_bytes(b"another dive")
    asked, stats = run()
    assert asked == ["d/c.mp4"]
    assert on_disk(folder) == ALL
    assert stats.rows[2].score == 10.0


@pytest.mark.parametrize("name", ["weights_digest", "bank_digest", "precision"])
def test_another_judge_scores_everything_again_in_the_place_of_the_old_rows(run, folder: Path, name: str) -> None:
    run()
    asked, _ = run(
        setting=RunSettings(**{**{field: getattr(SETTING, field) for field in RunSettings.__slots__}, name: "x"})
    )
    assert len(asked) == 3
    assert on_disk(folder) == ALL
    assert len(run(ScoreOptions(dive="107B"))[0]) == 3


def test_failures_are_tried_again_only_when_asked(run, folder: Path) -> None:
    run()
    asked, stats = run(retry_failed=True)
    assert (asked, stats.known, stats.failed) == (["d/bad.mp4"], 2, 1)
    assert sorted(on_disk(folder)) == ALL
    (folder / "bad.mp4").write_bytes(b"repaired")
    assert run()[0] == ["d/bad.mp4"]


def test_overwrite_scores_everything_again(run, folder: Path) -> None:
    run()
    assert len(run(overwrite=True)[0]) == 3
    assert on_disk(folder) == ALL


def test_fail_fast_stops_at_the_first_failure(run) -> None:
    asked, stats = run(fail_fast=True)
    assert asked == ["d/a.mp4", "d/bad.mp4"]
    assert (stats.missing, stats.exit_code) == (1, 1)


def test_the_same_content_under_another_name_is_copied_not_scored(run, folder: Path) -> None:
    run()
    shutil.copy(folder / "a.mp4", folder / "again.mp4")
    asked, stats = run()
    assert (asked, stats.known, stats.scored) == ([], 4, 0)
    rows = {row.source: row for row in stats.rows}
    assert rows["d/again.mp4"].score == rows["d/a.mp4"].score
    assert len(on_disk(folder)) == 4


def test_rows_of_other_dives_stay(run, folder: Path) -> None:
    run()
    (folder / "a.mp4").unlink()
    _, stats = run()
    assert [row.source for row in stats.rows] == ["d/bad.mp4", "d/c.mp4"]
    assert on_disk(folder) == ALL


@pytest.fixture
def run_manifest(folder: Path, make_row):
    """Run the dives of a manifest into out.jsonl, and return what was scored and the rows."""

    def go(*lines: str):
        (folder.parent / "dives.csv").write_text("\n".join(("video,dive,start_s,end_s", *lines)) + "\n")
        maker, stats = Maker(make_row), BatchStats()
        inputs = find_inputs(["dives.csv"], ScoreOptions())
        with Journal(folder.parent / "out.jsonl") as journal:
            run_plan(plan_batch(inputs.items, SETTING, read_result_rows(journal.path)), maker, stats, journal=journal)
        return len(maker.asked), len(on_disk(folder)), stats, inputs.notes

    return go


def test_one_video_with_two_dive_numbers_is_two_rows_that_resume(run_manifest) -> None:
    lines = ("d/a.mp4,107B,,", "d/a.mp4,301B,,", "d/a.mp4,107B,0.5,4", "d/c.mp4,,,")
    scored, kept, stats, notes = run_manifest(*lines)
    assert (scored, kept, len(stats.rows), stats.missing, notes) == (4, 4, 4, 0, ())
    scored, kept, stats, _ = run_manifest(*lines)
    assert (scored, kept, stats.known, stats.exit_code) == (0, 4, 4, 0)
    scored, kept, stats, _ = run_manifest(*lines, "d/a.mp4,405C,,")
    assert (scored, kept, stats.known) == (1, 5, 4)


def test_a_row_that_the_manifest_no_longer_names_gives_way(run_manifest) -> None:
    run_manifest("d/a.mp4,107B,,", "d/a.mp4,301B,,", "d/c.mp4,,,")
    scored, kept, stats, _ = run_manifest("d/a.mp4,301B,,")
    assert (scored, kept, len(stats.rows)) == (0, 2, 1)  # c.mp4 is another clip: its row stays


def test_what_is_named_twice_alike_is_kept_once_and_named_by_row(run_manifest) -> None:
    scored, kept, _, notes = run_manifest("d/a.mp4,107B,,", "d/c.mp4,,,", "d/a.mp4,107B,,")
    assert (scored, kept) == (2, 2)
    assert notes == ("1 dive was named more than once with the same options and kept once: dives.csv: row 4",)


def test_a_watched_file_that_changes_has_one_row(run, folder: Path, make_row) -> None:
    stats, maker = BatchStats(), Maker(make_row)
    for content in (b"first", b"second"):
        (folder / "a.mp4").write_bytes(content)
        run_plan(plan_batch(find_inputs(["d/a.mp4"], ScoreOptions()).items, SETTING), maker, stats)
    assert (len(stats.rows), stats.missing, stats.rows[0].score) == (1, 0, 20.0)


INFO = WeightsInfo(note="made up", trained_on="simulated")


class Told(Reporter):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.tasks: list[tuple[str, int | None]] = []
        self.shown: list[str] = []
        self.finished: BatchStats | None = None
        self.weights: list[WeightsInfo] = []

    def begin(self, weights: WeightsInfo) -> None:
        self.weights.append(weights)

    def start(self, task: str, total: int | None) -> None:
        self.tasks.append((task, total))

    def show(self, outcome: Outcome) -> None:
        self.shown.append(outcome.row.source)

    def finish(self, stats: BatchStats) -> None:
        self.finished = stats


@pytest.fixture
def runner(folder: Path, monkeypatch: pytest.MonkeyPatch, make_row):
    """Make a runner over the folder whose scoring is done by ``scored``."""

    def make(scored=None, **options) -> BatchRunner:
        scored = scored or Maker(make_row)
        monkeypatch.setattr(RunSettings, "of", classmethod(lambda *_: SETTING))
        monkeypatch.setattr(runner_module, "score_jobs", lambda scorer, jobs, config, ahead: scored(jobs))
        return BatchRunner(BatchConfig(("d",), **options), scorer=SimpleNamespace(info=INFO))

    return make


@pytest.mark.parametrize(
    ("number", "stopped", "code"), [("SIGTERM", "terminated", 143), ("SIGINT", "interrupted", 130)]
)
def test_a_signal_ends_a_run_that_keeps_what_is_done(runner, folder, make_row, number, stopped, code) -> None:
    def scored(jobs):
        for outcome in Maker(make_row)(jobs):
            yield outcome
            os.kill(os.getpid(), getattr(signal, number))

    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where the tests run in the background
    reporter, journal = Told(), folder.parent / "out.jsonl"
    run = runner(scored)
    stats = run.run(run.find(), reporter, journal=journal)
    assert (stats.stopped, stats.exit_code, stats.missing) == (stopped, code, 2)
    assert reporter.finished is stats
    assert on_disk(folder) == ALL[:1]
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    rest = Told()
    run = runner()
    assert run.run(run.find(), rest, journal=journal).exit_code == 1  # bad.mp4
    assert rest.shown == ["d/bad.mp4", "d/c.mp4"]
    assert on_disk(folder) == ALL
    assert rest.weights == [INFO]
    assert rest.tasks == [("loading the weights", None), ("looking", 3), ("scoring", 2)]


def test_a_watch_ends_at_the_first_failure_where_that_is_asked_for(runner, folder, monkeypatch) -> None:
    monkeypatch.setattr(runner_module, "watch", lambda find, score, stop: (score(find()), stop.is_set())[1] or 1 / 0)
    run = runner(watch=True, fail_fast=True)
    assert run.run(run.find()).failed == 1


@pytest.mark.parametrize(
    "options", [{"watch": True, "dry_run": True}, {"overwrite": True, "retry_failed": True}, {"workers": 0}]
)
def test_options_that_cannot_be_meant_together_are_refused(options) -> None:
    with pytest.raises(UsageError):
        BatchConfig(("d",), **options)
