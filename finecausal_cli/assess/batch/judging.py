"""One job -> its rows: one, unless all dives of a video are asked for.

Whatever is wrong with a clip becomes a row too; nothing here raises for it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from finecausal_cli.assess.assessment import Unscored
from finecausal_cli.assess.batch.row import Row, failed_row, scored_row, unscored_row
from finecausal_cli.assess.dive_reading import read_dives, reading_process
from finecausal_cli.assess.located import prepare_subjects
from finecausal_cli.errors import FinecausalError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from finecausal_cli.assess.assessment import Assessment
    from finecausal_cli.assess.batch.identity import Job
    from finecausal_cli.assess.dive_reading import DivesRead, Viewing
    from finecausal_cli.assess.located import Subject
    from finecausal_cli.assess.scorer import Scorer
    from finecausal_cli.video.child import WorkerProcess

TIMEOUT_S = 120.0
"""A clip of which nothing is heard for longer hangs its decoder."""


@dataclass(frozen=True, slots=True)
class ReadJob:
    """A job whose dives were read, or why they were not.

    Attributes:
        job: The job.
        dives: Its dives, or what went wrong.
        started: When reading began, by ``time.perf_counter``.
    """

    job: Job
    dives: DivesRead | Exception
    started: float


class JobScorer:
    """A scorer and one reading process, ready to turn jobs into rows; what an actor of a cluster holds.

    Close it, or use it as a context manager: the reading process ends with it.

    Args:
        scorer: Judges.
        timeout_s: Most seconds that reading one clip may take without any progress.
    """

    def __init__(self, scorer: Scorer, *, timeout_s: float = TIMEOUT_S) -> None:
        self._scorer = scorer
        self._timeout_s = timeout_s
        self._process = reading_process()

    def __enter__(self) -> JobScorer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def row(self, job: Job) -> Row:
        """Read and judge one dive; of several, the first. Never raises for a bad clip."""
        return self.rows([job])[0][0]

    def rows(self, jobs: Sequence[Job]) -> list[tuple[Row, ...]]:
        """Read videos one after the other and judge them together; the rows of each, in the order of the jobs."""
        viewing = self._scorer.viewing
        return judge_jobs(self._scorer, [read_job(self._process, job, viewing, self._timeout_s) for job in jobs])

    def close(self) -> None:
        """End the reading process."""
        self._process.close()


def read_job(process: WorkerProcess, job: Job, viewing: Viewing, timeout_s: float) -> ReadJob:
    """Find and read the dives of a job in another process. Never raises for a bad clip."""
    started = time.perf_counter()
    if job.item.problem is not None:
        return ReadJob(job, job.item.problem, started)
    try:
        dives: DivesRead | Exception = read_dives(
            job.item.path, job.item.options.wanted, viewing, process=process, timeout_s=timeout_s
        )
    except Exception as error:
        dives = error
    return ReadJob(job, dives, started)


def judge_jobs(scorer: Scorer, read: Sequence[ReadJob]) -> list[tuple[Row, ...]]:
    """Judge dives together; the rows of each job, in their order. Never raises for a bad clip."""
    found: list[list[Subject | Row]] = [_prepare(scorer, one) for one in read]
    waiting = [
        (job, place)
        for job, subjects in enumerate(found)
        for place, subject in enumerate(subjects)
        if not isinstance(subject, Row)
    ]
    rows = _judge_together(scorer, [(read[job], found[job][place]) for job, place in waiting])
    for (job, place), row in zip(waiting, rows, strict=True):
        found[job][place] = row
    return [
        _numbered(one.job, [row for row in rows if isinstance(row, Row)]) for one, rows in zip(read, found, strict=True)
    ]


def _prepare(scorer: Scorer, read: ReadJob) -> list[Subject | Row]:
    """Return what there is to judge, and rows in place of what is not."""
    if isinstance(read.dives, Exception):
        return [failed_row(read.job, read.dives, seconds=time.perf_counter() - read.started)]
    item = read.job.item
    try:
        subjects = prepare_subjects(read.dives, item.options, scorer.reader, source=item.path, notes=item.notes)
    except Exception as error:
        return [failed_row(read.job, error, seconds=time.perf_counter() - read.started)]
    return [
        unscored_row(read.job, one, seconds=time.perf_counter() - read.started) if isinstance(one, Unscored) else one
        for one in subjects
    ]


def _judge_together(scorer: Scorer, waiting: Sequence[tuple[ReadJob, Subject | Row]]) -> list[Row]:
    """Judge subjects together; should that raise, one by one."""
    subjects = [subject for _, subject in waiting if not isinstance(subject, Row)]
    if not subjects:
        return []
    reads = [read for read, _ in waiting]
    try:
        verdicts = scorer.judge_subjects(
            subjects, [read.job.item.options for read in reads], started=[read.started for read in reads]
        )
    except Exception as error:
        if len(waiting) == 1:
            return [failed_row(reads[0].job, error, seconds=time.perf_counter() - reads[0].started)]
        return [_judge_together(scorer, [one])[0] for one in waiting]
    return [_row(read, verdict) for read, verdict in zip(reads, verdicts, strict=True)]


def _row(read: ReadJob, verdict: Assessment | Unscored | FinecausalError) -> Row:
    seconds = time.perf_counter() - read.started
    if isinstance(verdict, FinecausalError):
        return failed_row(read.job, verdict, seconds=seconds)
    if isinstance(verdict, Unscored):
        return unscored_row(read.job, verdict, seconds=seconds)
    return scored_row(read.job, verdict)


def _numbered(job: Job, rows: list[Row]) -> tuple[Row, ...]:
    """Number the rows of a video of which all dives were asked for."""
    if not job.item.options.all_dives:
        return tuple(rows)
    return tuple(
        row.model_copy(update={"dive_index": place, "dives_found": len(rows)})
        for place, row in enumerate(rows, start=1)
    )
