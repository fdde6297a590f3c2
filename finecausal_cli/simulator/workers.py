"""Processes that render: they stop when they are told to, and when whoever started them is gone."""

from __future__ import annotations

import os
import signal
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context, parent_process
from multiprocessing.connection import wait
from threading import Thread
from typing import TYPE_CHECKING, TypeVar

import cv2

from finecausal_cli.errors import OutputError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence

Item = TypeVar("Item")


def for_each(work: Callable[[Item], object], items: Sequence[Item], workers: int) -> Generator[None, None, None]:
    """Do ``work`` on every item, in any order, and yield after each.

    Close the iterator when it is not run to its end: the work not yet begun is dropped, that under way is awaited.

    Args:
        work: Can be pickled, and its items too.
        items: What to work on.
        workers: Processes; with one, the work is done in this process.

    Raises:
        OutputError: When a worker process is ended from outside. Exceptions of ``work`` pass through.
    """
    workers = min(workers, len(items))
    if workers <= 1:
        for item in items:
            work(item)
            yield
        return
    pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_start_worker)
    try:
        with _interrupt_held_back():
            jobs = [pool.submit(work, item) for item in items]
        for job in as_completed(jobs):
            job.result()
            yield
    except BrokenProcessPool as error:
        hint = "run again with fewer workers: what is finished is kept"
        raise OutputError("a worker process was ended from outside, as when memory runs out", hint=hint) from error
    finally:
        # Not by the pool's own `with`: that would wait for the work not yet begun as well.
        pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def _interrupt_held_back() -> Iterator[None]:
    """Start processes that never see Ctrl-C, which a terminal sends to all: stopping them is the parent's business."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _start_worker() -> None:
    cv2.setNumThreads(1)
    Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """Wait for the parent's end. A killed parent tells nobody, and the pool's queues would wait for ever."""
    parent = parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
