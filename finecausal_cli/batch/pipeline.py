"""Decode and score dives side by side, in order and with bounded memory."""

from __future__ import annotations

import os
import queue
import time
from dataclasses import dataclass
from functools import partial
from threading import Event, Lock, Thread
from typing import TYPE_CHECKING, Final, TypeVar

import torch

from finecausal_cli.batch.records import Row, failed_row, scored_row, unscored_row
from finecausal_cli.errors import FinecausalError, UsageError
from finecausal_cli.scoring.athlete_track import prepare_subject
from finecausal_cli.scoring.dive_reading import read_dives, read_each, reading_process
from finecausal_cli.scoring.results import Unscored

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from types import TracebackType

    from finecausal_cli.batch.records import Job
    from finecausal_cli.scoring.athlete_track import Subject
    from finecausal_cli.scoring.dive_reading import DivesRead, Viewing
    from finecausal_cli.scoring.results import Assessment
    from finecausal_cli.scoring.scorer import Scorer
    from finecausal_cli.video.worker import WorkerProcess


# One job -> its rows: one, unless all dives of a video are asked for.
#
# Whatever is wrong with a clip becomes a row too; nothing here raises for it.

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


# Jobs -> rows on this machine: clips are read ahead in processes of their own while others are judged.
#
# Memory stays flat: no more clips wait than the judges take at once. Rows come as they are ready, so one slow clip
# holds back nobody; what a row says does not depend on its neighbours.

T = TypeVar("T")

_MOST_WORKERS = 16
_MOST_JUDGES = 4
_GPU_BATCH = 8
_PATIENCE_S = 0.2
"""How often a waiting thread looks whether it should stop."""


@dataclass(frozen=True, slots=True)
class PipelineOptions:
    """How to use this machine. Nothing here changes a number by more than 1e-4.

    Attributes:
        workers: Processes that read clips; None for one a core, 16 at most.
        batch_size: Most dives judged in one pass; None for 1 on a CPU, whose cache one clip fills, and 8 on a GPU.
        timeout_s: Most seconds that reading one clip may take without any progress.
    """

    workers: int | None = None
    batch_size: int | None = None
    timeout_s: float = TIMEOUT_S

    def __post_init__(self) -> None:
        for flag, value in (("--workers", self.workers), ("--batch-size", self.batch_size)):
            if value is not None and value < 1:
                raise UsageError(f"{value} is too few", where=flag, hint="1 or more")
        if not self.timeout_s > 0:
            raise UsageError(f"a time limit of {self.timeout_s:g} s", where="--timeout", hint="more than 0")


def score_jobs(
    scorer: Scorer, jobs: Iterable[Job], options: PipelineOptions | None = None
) -> Iterator[tuple[Row, ...]]:
    """Score dives and give the rows of each job as they are ready, in any order.

    Close the iterator when it is not run to its end: reading processes are ended, what is under way is dropped.

    Args:
        scorer: Judges.
        jobs: The dives; asked for no faster than they are read.
        options: How to use this machine.
    """
    line = _Pipeline(scorer, iter(jobs), options or PipelineOptions())
    try:
        yield from line.run()
    finally:
        line.stop()


class _Pipeline:
    """Readers, then judges, with a short queue between them."""

    def __init__(self, scorer: Scorer, jobs: Iterator[Job], options: PipelineOptions) -> None:
        there = cores()
        is_cpu = scorer.computes[0].type == "cpu"
        self._judges: Final = min(there, _MOST_JUDGES) if is_cpu else 1
        # Also where judges need the cores as well: reading a clip may take longer than judging it with a small network,
        # and a reader that is ahead waits.
        self._workers: Final = options.workers or min(there, _MOST_WORKERS)
        self._batch: Final = options.batch_size or (1 if is_cpu else _GPU_BATCH)
        self._timeout_s: Final = options.timeout_s
        self._scorer = scorer
        self._viewing = scorer.viewing
        self._jobs = jobs
        self._jobs_lock = Lock()
        self._clips: queue.Queue[ReadJob | None] = queue.Queue(self._judges * self._batch + 1)
        self._rows: queue.Queue[tuple[Row, ...] | BaseException | None] = queue.Queue(4 * _MOST_WORKERS)
        self._stopping = Event()
        self._processes = [reading_process() for _ in range(self._workers)]
        self._readers_left = self._workers
        self._threads: list[Thread] = []
        # Threads of one pass wait for each other; passes side by side do not.
        self._threads_before: Final = torch.get_num_threads()
        self._threads_each: Final = max(1, self._threads_before // self._judges)

    def run(self) -> Iterator[tuple[Row, ...]]:
        torch.set_num_threads(self._threads_each)
        bodies: list[Callable[[], None]] = [partial(self._read, process) for process in self._processes]
        bodies += [self._judge] * self._judges
        self._threads = [Thread(target=self._guarded, args=(body,), daemon=True) for body in bodies]
        for thread in self._threads:
            thread.start()
        judges_left = self._judges
        while judges_left:
            rows = self._rows.get()
            if isinstance(rows, BaseException):
                raise rows
            if rows is None:
                judges_left -= 1
            else:
                yield rows

    def stop(self) -> None:
        self._stopping.set()
        for process in self._processes:
            process.close()
        for thread in self._threads:
            thread.join()
        torch.set_num_threads(self._threads_before)

    def _guarded(self, body: Callable[[], None]) -> None:
        try:
            body()
        except BaseException as error:  # carried to the thread that asked for the rows
            self._put(self._rows, error)

    def _read(self, process: WorkerProcess) -> None:
        while not self._stopping.is_set():
            with self._jobs_lock:
                job = next(self._jobs, None)
            if job is None:
                break
            for read in read_job(process, job, self._viewing, self._timeout_s):
                if isinstance(read.dive, Exception) or not read.dive.clips:
                    self._put(self._rows, tuple(judge_jobs(self._scorer, [read])))
                else:
                    self._put(self._clips, read)
                if self._stopping.is_set():
                    break
        with self._jobs_lock:
            self._readers_left -= 1
            is_last = not self._readers_left
        if is_last:
            for _ in range(self._judges):
                self._put(self._clips, None)

    def _judge(self) -> None:
        is_over = False
        while not is_over and not self._stopping.is_set():
            read = self._take()
            is_over = read[-1:] == [None]
            clips = [one for one in read if one is not None]
            for row in judge_jobs(self._scorer, clips) if clips else ():
                self._put(self._rows, (row,))
        self._put(self._rows, None)

    def _take(self) -> list[ReadJob | None]:
        """Wait for a clip, then take those that are there as well, up to a batch; None says that there are no more."""
        taken: list[ReadJob | None] = []
        while not self._stopping.is_set() and not taken:
            try:
                taken.append(self._clips.get(timeout=_PATIENCE_S))
            except queue.Empty:
                continue
        while taken and taken[-1] is not None and len(taken) < self._batch:
            try:
                taken.append(self._clips.get_nowait())
            except queue.Empty:
                break
        return taken

    def _put(self, into: queue.Queue[T], what: T) -> None:
        while not self._stopping.is_set():
            try:
                into.put(what, timeout=_PATIENCE_S)
            except queue.Full:
                continue
            return


def cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
