"""Jobs -> rows on this machine: clips are read ahead in processes of their own while others are judged.

Memory stays flat: no more clips wait than the judges take at once. Rows come as they are ready, so one slow clip holds
back nobody; what a row says does not depend on its neighbours.
"""

from __future__ import annotations

import os
import queue
from dataclasses import dataclass
from functools import partial
from threading import Event, Lock, Thread
from typing import TYPE_CHECKING, Final, TypeVar

import torch

from finecausal_cli.assess.batch.judging import TIMEOUT_S, ReadJob, judge_jobs, read_job
from finecausal_cli.assess.dive_reading import reading_process
from finecausal_cli.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from finecausal_cli.assess.batch.identity import Job
    from finecausal_cli.assess.batch.row import Row
    from finecausal_cli.assess.scorer import Scorer
    from finecausal_cli.video.child import WorkerProcess

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
    line = _Line(scorer, iter(jobs), options or PipelineOptions())
    try:
        yield from line.run()
    finally:
        line.stop()


class _Line:
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
