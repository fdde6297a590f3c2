"""Measure the throughput of scoring a folder, relative to the model alone on decoded clips, and its bound.

Run it alone, on an idle machine: ``python -m benchmarks.folder``.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from rich.console import Console
from rich.table import Table

from finecausal_cli.batch import TIMEOUT_S
from finecausal_cli.batch.inputs import find_inputs
from finecausal_cli.batch.pipeline import ReadJob, read_job, score_jobs, score_reads
from finecausal_cli.batch.records import RunSettings, identify
from finecausal_cli.device import available_cores
from finecausal_cli.scoring import ScoreOptions
from finecausal_cli.scoring.dive_reading import reading_process
from finecausal_cli.scoring.scorer import Scorer

if TYPE_CHECKING:
    from collections.abc import Callable

    from finecausal_cli.batch.records import Job

CLIPS = Path(__file__).resolve().parent.parent / "examples" / "dives"
TIMES = 8
ROUNDS = 3


@dataclass(frozen=True)
class Rates:
    """Clips per second, the best of the rounds.

    Attributes:
        model_one_pass: The model alone, one clip after the other, on all cores.
        model_side_by_side: The model alone, a clip a core.
        reading: Reading alone, a process a core.
        folder: Both, as ``finecausal score FOLDER`` does it, once its processes run.
    """

    model_one_pass: float
    model_side_by_side: float
    reading: float
    folder: float

    @property
    def model(self) -> float:
        """The model alone, the faster way."""
        return max(self.model_one_pass, self.model_side_by_side)

    @property
    def bound(self) -> float:
        """Upper bound where reading and model share the cores."""
        return 1 / (1 / self.model + 1 / self.reading)


def measure(times: int = TIMES, rounds: int = ROUNDS) -> tuple[Rates, int]:
    """Return the best rates of several rounds, and the clips of a round."""
    scorer = Scorer.load("compact", device="cpu", precision="fp32")
    setting = RunSettings.of(scorer)
    items = find_inputs([str(CLIPS)], ScoreOptions(attention=False)).items
    jobs = [identify(item, setting) for item in items] * times
    with reading_process() as process:
        reads = {job.key: next(iter(read_job(process, job, scorer.viewing, TIMEOUT_S))) for job in jobs[: len(items)]}
    read = [reads[job.key] for job in jobs]
    best = [0.0] * 4
    for _ in range(rounds):
        rates = [_one_pass(scorer, read), _side_by_side(scorer, read), _reading(scorer, jobs), _folder(scorer, jobs)]
        best = [max(pair) for pair in zip(best, rates, strict=True)]
    return Rates(*best), len(jobs)


def table(rates: Rates, clips: int) -> Table:
    """Return the rates and how the folder compares."""
    out = Table(
        "scoring a folder", "clips a minute", "of the model alone", title=f"{available_cores()} cores, {clips} clips"
    )
    rows = [
        ("model alone, clip after clip", rates.model_one_pass),
        ("model alone, side by side", rates.model_side_by_side),
        ("reading alone", rates.reading),
        ("folder, as finecausal score", rates.folder),
        ("bound: both on these cores", rates.bound),
    ]
    for name, rate in rows:
        out.add_row(name, f"{60 * rate:.0f}", f"{rate / rates.model:.0%}")
    out.caption = f"the folder reaches {rates.folder / rates.bound:.0%} of what the cores allow"
    return out


def _rate(count: int, work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return count / (time.perf_counter() - started)


def _one_pass(scorer: Scorer, read: list[ReadJob]) -> float:
    return _rate(len(read), lambda: [score_reads(scorer, [job]) for job in read])


def _side_by_side(scorer: Scorer, read: list[ReadJob]) -> float:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with ThreadPoolExecutor(available_cores()) as pool:
            return _rate(len(read), lambda: list(pool.map(lambda job: score_reads(scorer, [job]), read)))
    finally:
        torch.set_num_threads(before)


def _reading(scorer: Scorer, jobs: list[Job]) -> float:
    shape = scorer.viewing
    processes = [reading_process() for _ in range(available_cores())]
    shares = [jobs[index :: len(processes)] for index in range(len(processes))]

    def read(index: int) -> None:
        for job in shares[index]:
            list(read_job(processes[index], job, shape, TIMEOUT_S))

    try:
        for process in processes:  # started before the clock is
            list(read_job(process, jobs[0], shape, TIMEOUT_S))
        with ThreadPoolExecutor(len(processes)) as pool:
            return _rate(len(jobs), lambda: list(pool.map(read, range(len(processes)))))
    finally:
        for process in processes:
            process.close()


def _folder(scorer: Scorer, jobs: list[Job]) -> float:
    rows = score_jobs(scorer, jobs)
    next(rows)  # the processes run
    return _rate(len(jobs) - 1, lambda: list(rows))


if __name__ == "__main__":
    Console(width=80).print(table(*measure()))
