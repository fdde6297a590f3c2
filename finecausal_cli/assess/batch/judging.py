"""One job -> its rows: one, unless all dives of a video are asked for.

Whatever is wrong with a clip becomes a row too; nothing here raises for it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from finecausal_cli.assess.assessment import Unscored
from finecausal_cli.assess.batch.row import Row, failed_row, scored_row, unscored_row
from finecausal_cli.assess.dive_reading import read_dives, read_each, reading_process
from finecausal_cli.assess.located import prepare_subject
from finecausal_cli.errors import FinecausalError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
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
    """A dive of a job, or why there is none.

    Attributes:
        job: The job.
        dive: What was read of it, or what went wrong.
        started: When reading began, by ``time.perf_counter``.
        index: Which of the dives in the video it is, from 1, where all are asked for.
        of: How many there are.
    """

    job: Job
    dive: DivesRead | Exception
    started: float
    index: int | None = None
    of: int | None = None


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
        if any(job.item.options.all_dives for job in jobs):  # however many they are: one at a time
            return [tuple(judge_jobs(self._scorer, [one])[0] for one in self._read(job)) for job in jobs]
        reads = [next(iter(self._read(job))) for job in jobs]
        return [(row,) for row in judge_jobs(self._scorer, reads)]

    def _read(self, job: Job) -> Iterator[ReadJob]:
        return read_job(self._process, job, self._scorer.viewing, self._timeout_s)

    def close(self) -> None:
        """End the reading process."""
        self._process.close()


def read_job(process: WorkerProcess, job: Job, viewing: Viewing, timeout_s: float) -> Iterator[ReadJob]:
    """Find and read the dives of a job in another process, one or all of them. Never raises for a bad clip."""
    started = time.perf_counter()
    item = job.item
    if item.problem is not None:
        yield ReadJob(job, item.problem, started)
        return
    index = of = None
    try:
        if not item.options.all_dives:
            yield ReadJob(
                job, read_dives(item.path, item.options.wanted, viewing, process=process, timeout_s=timeout_s), started
            )
            return
        each = read_each(item.path, item.options.wanted, viewing, process=process, timeout_s=timeout_s)
        for index, read in enumerate(each, start=1):
            of = max(1, len(read.search.dives))
            yield ReadJob(job, read, started, index, of)
            started = time.perf_counter()
    except Exception as error:
        yield ReadJob(job, error, started, None if index is None else index + 1, of)


def judge_jobs(scorer: Scorer, read: Sequence[ReadJob]) -> list[Row]:
    """Judge dives together; a row for each, in their order. Never raises for a bad clip."""
    found = [_prepare(scorer, one) for one in read]
    places = [place for place, subject in enumerate(found) if not isinstance(subject, Row)]
    rows = dict(zip(places, _judge_together(scorer, [(read[place], found[place]) for place in places]), strict=True))
    return [
        _numbered(one, subject if isinstance(subject, Row) else rows[place])
        for place, (one, subject) in enumerate(zip(read, found, strict=True))
    ]


def _prepare(scorer: Scorer, read: ReadJob) -> Subject | Row:
    """Return what there is to judge, or a row in place of what is not."""
    item = read.job.item
    try:
        if isinstance(read.dive, Exception):
            raise read.dive
        subject = prepare_subject(read.dive, item.options, scorer.reader, source=item.path, notes=item.notes)
    except Exception as error:
        return failed_row(read.job, error, seconds=time.perf_counter() - read.started)
    if isinstance(subject, Unscored):
        return unscored_row(read.job, subject, seconds=time.perf_counter() - read.started)
    return subject


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


def _numbered(read: ReadJob, row: Row) -> Row:
    """Number the row of a video of which all dives were asked for."""
    return row if read.index is None else row.model_copy(update={"dive_index": read.index, "dives_found": read.of})
