"""Decode and score dives side by side, in order and with bounded memory."""

from __future__ import annotations

import logging
import queue
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice
from threading import Event, Lock, Thread
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

import torch

from finecausal_cli.batch import TIMEOUT_S, BatchConfig
from finecausal_cli.batch.records import Row, failed_row, scored_row, unscored_row
from finecausal_cli.device import available_cores
from finecausal_cli.errors import FinecausalError
from finecausal_cli.scoring.dive_reading import read_dives, read_each, reading_process
from finecausal_cli.scoring.prepared_dive import PreparedDive, prepare_dive
from finecausal_cli.scoring.results import Unscored

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from types import TracebackType

    from finecausal_cli.batch.records import Job
    from finecausal_cli.scoring.dive_reading import DivesRead, ReadAhead, Viewing
    from finecausal_cli.scoring.results import Assessment
    from finecausal_cli.scoring.scorer import Scorer
    from finecausal_cli.video.worker import WorkerProcess

logger = logging.getLogger(__name__)


# One job -> the outcomes of its dives: one, unless all dives of a video are scored.
#
# Whatever is wrong with a clip becomes an outcome too; nothing here raises for it.


@dataclass(frozen=True, slots=True)
class ReadJob:
    """A dive of a job as it was read, or why there is none.

    Attributes:
        job: The job.
        dive: What was read of it, or what went wrong.
        started: When reading began, by ``time.perf_counter``.
        index: Which of the dives in the video it is, from 1, where all are scored.
        count: How many there are.
    """

    job: Job
    dive: DivesRead | Exception
    started: float
    index: int | None = None
    count: int | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a dive.

    Attributes:
        row: Its row.
        result: What the row says in short; an exception if it could not be scored, None if that is not known here.
    """

    row: Row
    result: Assessment | Unscored | Exception | None

    @classmethod
    def of(cls, read: ReadJob, result: Assessment | Unscored | Exception) -> Outcome:
        """Make the row of a result."""
        seconds, job = time.perf_counter() - read.started, read.job
        if isinstance(result, Exception):
            log_unforeseen(result)
            row = failed_row(job, result, seconds=seconds)
        elif isinstance(result, Unscored):
            row = unscored_row(job, result, seconds=seconds)
        else:
            row = scored_row(job, result)
        if read.index is not None:
            row = row.model_copy(update={"dive_index": read.index, "dives_found": read.count})
        return cls(row, result)


def log_unforeseen(error: Exception) -> None:
    """Log where an exception was raised that nobody foresaw: its row has no more than its last line."""
    if not isinstance(error, FinecausalError):
        logger.debug("an error of this program", exc_info=error)


class JobScorer:
    """A scorer and one reading process; what an actor of a cluster holds.

    Close it, or use it as a context manager: the reading process ends with it.

    Args:
        scorer: Scores.
        timeout_s: Most seconds that reading one clip may take without any progress.
        ahead: Has begun to read a file.
    """

    def __init__(self, scorer: Scorer, *, timeout_s: float = TIMEOUT_S, ahead: ReadAhead | None = None) -> None:
        self._scorer = scorer
        self._timeout_s = timeout_s
        self._ahead = ahead
        self._process = reading_process()

    def __enter__(self) -> JobScorer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def score(self, job: Job) -> Iterator[Outcome]:
        """Read and score one dive, or all dives of a video. Never raises for a bad clip."""
        for read in self._read(job):
            yield from score_reads(self._scorer, [read])

    def rows(self, jobs: Sequence[Job]) -> list[tuple[Row, ...]]:
        """Read videos one after the other and score them together; the rows of each, in the order of the jobs."""
        if any(job.item.options.all_dives for job in jobs):  # however many they are: one at a time
            return [tuple(outcome.row for outcome in self.score(job)) for job in jobs]
        reads = [next(iter(self._read(job))) for job in jobs]
        return [(outcome.row,) for outcome in score_reads(self._scorer, reads)]

    def _read(self, job: Job) -> Iterator[ReadJob]:
        return read_job(self._process, job, self._scorer.viewing, self._timeout_s, self._ahead)

    def close(self) -> None:
        """End the reading process."""
        self._process.close()


def read_job(
    process: WorkerProcess, job: Job, viewing: Viewing, timeout_s: float, ahead: ReadAhead | None = None
) -> Iterator[ReadJob]:
    """Find and read the dives of a job in another process, one or all of them. Never raises for a bad clip."""
    started = time.perf_counter()
    item = job.item
    if item.problem is not None:
        yield ReadJob(job, item.problem, started)
        return
    index = count = None
    try:
        if not item.options.all_dives:
            read = None if ahead is None else ahead.result(item.path, item.options.wanted, viewing)
            read = read or read_dives(item.path, item.options.wanted, viewing, process=process, timeout_s=timeout_s)
            yield ReadJob(job, read, started)
            return
        each = read_each(item.path, item.options.wanted, viewing, process=process, timeout_s=timeout_s)
        for index, read in enumerate(each, start=1):
            count = max(1, len(read.search.dives))
            yield ReadJob(job, read, started, index, count)
            started = time.perf_counter()
    except Exception as error:
        yield ReadJob(job, error, started, None if index is None else index + 1, count)


class BatchLimit:
    """Most dives in one pass; halved whenever memory runs out.

    Args:
        size: How many to begin with, 1 or more.
    """

    def __init__(self, size: int) -> None:
        self.size = size

    def halve(self, tried: int) -> None:
        """Take note that ``tried`` dives were too many."""
        self.size = min(self.size, max(1, tried // 2))
        logger.warning("out of memory with %d dives in one pass: going on with %d", tried, self.size)


def score_reads(scorer: Scorer, reads: Sequence[ReadJob], limit: BatchLimit | None = None) -> list[Outcome]:
    """Score dives together; an outcome for each, in their order. Never raises for a bad clip.

    Args:
        scorer: Scores.
        reads: The dives.
        limit: Most of them in one pass; it is lowered if memory runs out. None scores all in one, if it can.
    """
    limit = limit or BatchLimit(max(1, len(reads)))
    prepared = [_prepare(scorer, read) for read in reads]
    ready = [(read, dive) for read, dive in zip(reads, prepared, strict=True) if isinstance(dive, PreparedDive)]
    scored = iter(_score_within(scorer, ready, limit))
    return [
        Outcome.of(read, next(scored) if isinstance(dive, PreparedDive) else dive)
        for read, dive in zip(reads, prepared, strict=True)
    ]


def _prepare(scorer: Scorer, read: ReadJob) -> PreparedDive | Unscored | Exception:
    """Return what there is to score, or why there is nothing."""
    item = read.job.item
    if isinstance(read.dive, Exception):
        return read.dive
    try:
        return prepare_dive(read.dive, item.options, scorer.reader, source=item.path, notes=item.notes)
    except Exception as error:
        return error


def _score_within(
    scorer: Scorer, ready: Sequence[tuple[ReadJob, PreparedDive]], limit: BatchLimit
) -> list[Assessment | Unscored | Exception]:
    """Score dives so many at a time as memory allows."""
    results: list[Assessment | Unscored | Exception] = []
    while len(results) < len(ready):
        part = ready[len(results) : len(results) + limit.size]
        try:
            results += _score_together(scorer, part)
        except torch.OutOfMemoryError as error:
            torch.cuda.empty_cache()
            if len(part) > 1:
                limit.halve(len(part))
            else:
                results.append(error)
    return results


def _score_together(
    scorer: Scorer, ready: Sequence[tuple[ReadJob, PreparedDive]]
) -> Sequence[Assessment | Unscored | Exception]:
    """Score dives together; should that raise, one by one."""
    if not ready:
        return []
    reads, dives = zip(*ready, strict=True)
    try:
        return scorer.score_prepared(
            dives, [read.job.item.options for read in reads], started=[read.started for read in reads]
        )
    except torch.OutOfMemoryError:
        raise
    except Exception as error:
        if len(ready) == 1:
            return [error]
        return [result for one in ready for result in _score_together(scorer, [one])]


# Jobs -> outcomes on this machine: clips are read ahead in processes of their own while others are scored.
#
# Memory stays flat: no more clips wait than are scored at once. Rows come as they are ready, so one slow clip holds
# back no other; what a row says does not depend on its neighbours.

T = TypeVar("T")

_MOST_WORKERS = 16
_MOST_SCORERS = 4
_GPU_SCORERS = 2
"""Threads that score on a GPU: while it computes for one, the other prepares dives and reads results."""

_POLL_S = 0.2
"""How often a waiting thread looks whether it should stop."""


def score_jobs(
    scorer: Scorer, jobs: Iterable[Job], config: BatchConfig | None = None, *, ahead: ReadAhead | None = None
) -> Iterator[Outcome]:
    """Score dives and give what becomes of each as it is ready, in any order.

    Close the iterator when it is not run to its end: reading processes are ended, what is under way is dropped.

    Args:
        scorer: Scores.
        jobs: The dives; drawn no faster than they are read.
        config: How to use this machine: ``workers``, ``batch_size`` and ``timeout_s``. Nothing of it changes a number
            by more than 1e-4.
        ahead: Has begun to read the file of an only job.
    """
    config, jobs = config or BatchConfig(), iter(jobs)
    first = list(islice(jobs, 2))
    if len(first) == 1:  # one dive needs no queues, and all threads
        with JobScorer(scorer, timeout_s=config.timeout_s, ahead=ahead) as job_scorer:
            yield from job_scorer.score(first[0])
        return
    limit = BatchLimit(config.batch_size or (scorer.fitting_batch() if first else 1))
    finish = partial(score_reads, scorer, limit=limit)
    is_cpu = scorer.device.type == "cpu"
    yield from run_jobs(chain(first, jobs), scorer.viewing, finish, config, is_cpu=is_cpu, limit=limit)


def run_jobs(
    jobs: Iterator[Job],
    viewing: Viewing,
    finish: Callable[[Sequence[ReadJob]], Sequence[T]],
    config: BatchConfig,
    *,
    is_cpu: bool,
    limit: BatchLimit | None = None,
) -> Iterator[T]:
    """Read dives in processes of their own, and finish several at a time; close the iterator to end them.

    Args:
        jobs: The dives; drawn no faster than they are read.
        viewing: How clips are to be shown.
        finish: Makes a result of each dive that was read; never raises for a bad clip.
        config: How to use this machine.
        is_cpu: Whether ``finish`` computes on the CPU.
        limit: Most dives that are finished in one pass; one when absent.
    """
    pipeline = _Pipeline(jobs, viewing, finish, config, is_cpu=is_cpu, limit=limit or BatchLimit(1))
    try:
        yield from pipeline.run()
    finally:
        pipeline.stop()


class _Pipeline(Generic[T]):
    """Reading threads, then scoring threads, with a short queue between them."""

    def __init__(
        self,
        jobs: Iterator[Job],
        viewing: Viewing,
        finish: Callable[[Sequence[ReadJob]], Sequence[T]],
        config: BatchConfig,
        *,
        is_cpu: bool,
        limit: BatchLimit,
    ) -> None:
        self._scorers: Final = min(available_cores(), _MOST_SCORERS) if is_cpu else _GPU_SCORERS
        # Also where scoring needs the cores as well: reading a clip may take longer than scoring it with a small
        # network, and a reader that is ahead waits.
        self._workers: Final = config.workers or min(available_cores(), _MOST_WORKERS)
        self._limit: Final = limit
        self._timeout_s: Final = config.timeout_s
        self._finish = finish
        self._viewing = viewing
        self._jobs = jobs
        self._jobs_lock = Lock()
        self._reads: queue.Queue[ReadJob | None] = queue.Queue(self._scorers * limit.size + 1)
        self._outcomes: queue.Queue[T | BaseException | None] = queue.Queue(4 * _MOST_WORKERS)
        self._stopping = Event()
        self._processes = [reading_process() for _ in range(self._workers)]
        self._readers_left = self._workers
        self._threads: list[Thread] = []
        # Threads of one pass wait for each other; passes side by side do not.
        self._threads_before: Final = torch.get_num_threads()
        self._threads_each: Final = max(1, self._threads_before // self._scorers)

    def run(self) -> Iterator[T]:
        torch.set_num_threads(self._threads_each)
        bodies: list[Callable[[], None]] = [partial(self._read, process) for process in self._processes]
        bodies += [self._score] * self._scorers
        self._threads = [Thread(target=self._guarded, args=(body,), daemon=True) for body in bodies]
        for thread in self._threads:
            thread.start()
        scorers_left = self._scorers
        while scorers_left:
            outcome = self._outcomes.get()
            if isinstance(outcome, BaseException):
                raise outcome
            if outcome is None:
                scorers_left -= 1
            else:
                yield outcome

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
        except BaseException as error:  # raised in the thread that takes the outcomes
            self._put(self._outcomes, error)

    def _read(self, process: WorkerProcess) -> None:
        while not self._stopping.is_set():
            with self._jobs_lock:
                job = next(self._jobs, None)
            if job is None:
                break
            for read in read_job(process, job, self._viewing, self._timeout_s):
                if isinstance(read.dive, Exception) or not read.dive.clips:
                    for outcome in self._finish([read]):
                        self._put(self._outcomes, outcome)
                else:
                    self._put(self._reads, read)
                if self._stopping.is_set():
                    break
        with self._jobs_lock:
            self._readers_left -= 1
            is_last = not self._readers_left
        if is_last:
            for _ in range(self._scorers):
                self._put(self._reads, None)

    def _score(self) -> None:
        is_over = False
        while not is_over and not self._stopping.is_set():
            batch = self._next_batch()
            is_over = batch[-1:] == [None]
            for outcome in self._finish([read for read in batch if read is not None]):
                self._put(self._outcomes, outcome)
        self._put(self._outcomes, None)

    def _next_batch(self) -> list[ReadJob | None]:
        """Wait for a clip, then take those that are ready as well, up to a batch; None says that there are no more."""
        batch: list[ReadJob | None] = []
        while not self._stopping.is_set() and not batch:
            with suppress(queue.Empty):
                batch.append(self._reads.get(timeout=_POLL_S))
        while batch and batch[-1] is not None and len(batch) < self._limit.size:
            try:
                batch.append(self._reads.get_nowait())
            except queue.Empty:
                break
        return batch

    def _put(self, into: queue.Queue[Any], item: object) -> None:
        while not self._stopping.is_set():
            try:
                into.put(item, timeout=_POLL_S)
            except queue.Full:
                continue
            return
