"""One job -> one row. Whatever is wrong with a clip becomes a row too; nothing here raises for it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from finecausal_cli.assess.batch.row import Row, failed_row, scored_row
from finecausal_cli.errors import FinecausalError
from finecausal_cli.video.child import ReadingProcess
from finecausal_cli.video.sampling import check_range

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from finecausal_cli.assess.batch.identity import Job
    from finecausal_cli.assess.scorer import Scorer
    from finecausal_cli.video.clip import Clip

TIMEOUT_S = 120.0
"""A clip that takes longer to read hangs its decoder."""


@dataclass(frozen=True, slots=True)
class ReadJob:
    """A job whose clip was read, or why it was not.

    Attributes:
        job: The job.
        clip: Its clip, or what went wrong.
        started: When reading began, by ``time.perf_counter``.
    """

    job: Job
    clip: Clip | Exception
    started: float


class JobScorer:
    """A scorer and one reading process, ready to turn jobs into rows; what an actor of a cluster holds.

    Close it, or use it as a context manager: the reading process ends with it.

    Args:
        scorer: Judges.
        timeout_s: Most seconds that reading one clip may take.
    """

    def __init__(self, scorer: Scorer, *, timeout_s: float = TIMEOUT_S) -> None:
        self._scorer = scorer
        self._timeout_s = timeout_s
        self._process = ReadingProcess()

    def __enter__(self) -> JobScorer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def row(self, job: Job) -> Row:
        """Read and judge one dive. Never raises for a bad clip."""
        return self.rows([job])[0]

    def rows(self, jobs: Sequence[Job]) -> list[Row]:
        """Read dives one after the other and judge them together; rows in the order of the jobs."""
        shape = reading_options(self._scorer)
        return judge_jobs(self._scorer, [read_job(self._process, job, shape, self._timeout_s) for job in jobs])

    def close(self) -> None:
        """End the reading process."""
        self._process.close()


def reading_options(scorer: Scorer) -> dict[str, Any]:
    """Return how a scorer wants its clips read: arguments of ``read_clip``."""
    config = scorer.model.config
    return {"geometry": config.geometry, "frame_size": config.frame_size}


def read_job(process: ReadingProcess, job: Job, shape: dict[str, Any], timeout_s: float) -> ReadJob:
    """Read the clip of a job in another process. Never raises for a bad clip."""
    started = time.perf_counter()
    if job.item.problem is not None:
        return ReadJob(job, job.item.problem, started)
    options = job.item.options
    try:
        check_range(options.start_s, options.end_s)
        times = {"start_s": options.start_s, "end_s": options.end_s}
        clip: Clip | Exception = process.read(job.item.path, {**shape, **times}, timeout_s=timeout_s)
    except Exception as error:
        clip = error
    return ReadJob(job, clip, started)


def judge_jobs(scorer: Scorer, read: Sequence[ReadJob]) -> list[Row]:
    """Judge clips together; rows in their order. Never raises for a bad clip."""
    rows: dict[int, Row] = {}
    places = []
    for place, one in enumerate(read):
        if isinstance(one.clip, Exception):
            rows[place] = failed_row(one.job, one.clip, seconds=time.perf_counter() - one.started)
        else:
            places.append(place)
    try:
        rows.update(zip(places, _judge_together(scorer, [read[place] for place in places]), strict=True))
    except Exception as error:
        if len(places) == 1:
            only = read[places[0]]
            rows[places[0]] = failed_row(only.job, error, seconds=time.perf_counter() - only.started)
        else:
            rows.update((place, judge_jobs(scorer, [read[place]])[0]) for place in places)
    return [rows[place] for place in range(len(read))]


def _judge_together(scorer: Scorer, read: Sequence[ReadJob]) -> list[Row]:
    if not read:
        return []
    clips = [one.clip for one in read if not isinstance(one.clip, Exception)]
    found = scorer.judge(clips, [one.job.item.options for one in read], started=[one.started for one in read])
    return [
        failed_row(one.job, verdict, seconds=time.perf_counter() - one.started)
        if isinstance(verdict, FinecausalError)
        else scored_row(one.job, verdict)
        for one, verdict in zip(read, found, strict=True)
    ]
