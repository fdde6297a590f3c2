"""Run a batch: what is left to do, its rows and statistics."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

from finecausal_cli.batch.inputs import find_inputs
from finecausal_cli.batch.pipeline import PipelineOptions, score_jobs
from finecausal_cli.batch.records import ClipKey, Job, Journal, Row, RunSettings, identify, read_result_rows
from finecausal_cli.scoring import ScoreOptions

if TYPE_CHECKING:
    from collections.abc import Generator

    from finecausal_cli.batch.inputs import Item
    from finecausal_cli.scoring.scorer import Scorer


# A batch from its inputs to its rows: what is known already, what is left to do, and the count of it all.

RowMaker = Callable[[Iterable[Job]], Iterator[tuple[Row, ...]]]
"""Scores jobs and gives the rows of each in any order; closing the iterator stops the work."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done for a list of dives.

    Attributes:
        jobs: Dives to score.
        copies: Dives whose content was scored under another name: the job, and the key of that row.
        done: Rows that stand already, without their verdicts.
        places: Every dive of the batch, in the order of the inputs.
    """

    jobs: tuple[Job, ...]
    copies: tuple[Job, ...]
    done: tuple[Row, ...]
    places: tuple[ClipKey, ...]


@dataclass(slots=True)
class BatchStats:
    """What has become of a batch so far; it may be read at any time, also after an interruption.

    Attributes:
        places: Every dive of the batch, in the order of the inputs.
        scored: Dives scored by this run.
        failed: Dives that this run could not score.
        refused: Clips of this run that show no dive to judge.
        known: Rows that stood already, or were copied from a dive of the same content.
    """

    places: list[ClipKey] = field(default_factory=list)
    scored: int = 0
    failed: int = 0
    refused: int = 0
    known: int = 0
    _rows: dict[ClipKey, list[Row]] = field(default_factory=dict)

    def plan(self, plan: Plan) -> None:
        """Take note of dives to come and of rows that stand already."""
        known = set(self.places)
        self.places += [place for place in plan.places if place not in known]
        for row in plan.done:
            self._keep(row)
            self.known += 1

    def add(self, row: Row, *, is_copy: bool = False) -> None:
        """Count a row of this run."""
        self._keep(row.light())
        if is_copy:
            self.known += 1
        elif row.is_scored:
            self.scored += 1
        elif row.status == "refused":
            self.refused += 1
        else:
            self.failed += 1

    def _keep(self, row: Row) -> None:
        """Keep a row beside those of the other dives of its video; it replaces an older one of its dive."""
        others = [one for one in self._rows.get(row.place, ()) if _is_beside(one, row)]
        self._rows[row.place] = [*others, row]

    @property
    def rows(self) -> list[Row]:
        """Rows of the batch that exist, in the order of the inputs, without their verdicts."""
        return [row for place in self.places for row in self._rows.get(place, ())]

    @property
    def missing(self) -> int:
        """Dives without a row: the run was interrupted, or stopped at a failure."""
        return len(self.places) - len(self._rows)

    @property
    def exit_code(self) -> int:
        """0 if every dive has a score, else 1."""
        return 0 if not self.missing and all(row.is_scored for row in self.rows) else 1


def plan_batch(
    items: Sequence[Item],
    setting: RunSettings,
    known: Iterable[Row] = (),
    *,
    overwrite: bool = False,
    retry_failed: bool = False,
    advance: Callable[[], object] = lambda: None,
) -> Plan:
    """Tell which dives are scored already, by the content of their files, the weights, the bank and the options.

    Args:
        items: The dives.
        setting: What judges.
        known: Rows of earlier runs.
        overwrite: Score everything again.
        retry_failed: Try again what failed.
        advance: Called after each dive.
    """
    there: dict[ClipKey, list[Row]] = {}
    scored: set[str] = set()
    if not overwrite:
        for row in known:
            there[row.place] = [*(one for one in there.get(row.place, ()) if _is_beside(one, row)), row.light()]
            if row.is_scored and row.dive_index is None:
                scored.add(row.key)
    jobs, copies, done, places = [], [], [], []
    for item in items:
        job = identify(item, setting)
        place = _place(job)
        places.append(place)
        rows = there.get(place, [])
        if _are_whole(rows, job) and (not retry_failed or not any(row.status == "failed" for row in rows)):
            done += rows
        elif job.key in scored:
            copies.append(job)
        else:
            jobs.append(job)
        advance()
    return Plan(tuple(jobs), tuple(copies), tuple(done), tuple(places))


def _is_beside(one: Row, other: Row) -> bool:
    """Tell whether two rows of one place are of two dives there, found together."""
    return one.key == other.key and one.dive_index is not None and one.dive_index != other.dive_index


def _are_whole(rows: Sequence[Row], job: Job) -> bool:
    """Tell whether all rows of a job are there: one, or one for each dive of its video."""
    return bool(rows) and all(row.key == job.key for row in rows) and len(rows) == (rows[0].dives_found or 1)


def run_batch(
    plan: Plan,
    make_rows: RowMaker,
    tally: BatchStats,
    *,
    journal: Journal | None = None,
    fail_fast: bool = False,
    on_row: Callable[[Row], object] = lambda _: None,
) -> None:
    """Score what a plan says, each row on the disk before it is shown.

    Args:
        plan: What to do.
        make_rows: ``pipeline.score_jobs`` for this machine, or a cluster.
        tally: Counts; the caller keeps it, so that an interruption loses no count.
        journal: Where rows go, open; None keeps none.
        fail_fast: Stop at the first dive that fails.
        on_row: Told of every new row.

    Raises:
        OutputError: A row cannot be written.
    """
    tally.plan(plan)
    if journal is not None:
        # What is scored anew makes room first, so that the file never holds two rows of one dive.
        stale = {_place(job) for job in (*plan.jobs, *plan.copies)}
        copies = list(_copies(plan, journal))
        journal.drop(lambda row: row.place in stale)
        for row in copies:
            journal.append(row)
            tally.add(row, is_copy=True)
            on_row(row)
    if not plan.jobs:
        return
    with closing(cast("Generator[tuple[Row, ...]]", make_rows(plan.jobs))) as rows:
        for of_one_job in rows:
            for row in of_one_job:
                if journal is not None:
                    journal.append(row)
                tally.add(row)
                on_row(row)
            if fail_fast and any(row.status == "failed" for row in of_one_job):
                return


def _copies(plan: Plan, journal: Journal) -> Iterator[Row]:
    """Give the rows of dives whose content has one under another name."""
    wanted = {job.key for job in plan.copies}
    if not wanted:
        return
    found = {
        row.key: row
        for row in read_result_rows(journal.path)
        if row.is_scored and row.key in wanted and row.dive_index is None
    }
    for job in plan.copies:
        row = found[job.key]
        verdict = row.assessment and row.assessment.model_copy(update={"source": job.item.source})
        yield row.model_copy(update={"source": job.item.source, "assessment": verdict})


def _place(job: Job) -> ClipKey:
    return job.item.source, job.item.options.start_s, job.item.options.end_s


# Score many dives from a program: what ``finecausal score`` does with a folder, without the screen.


def score_many(
    scorer: Scorer,
    paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    options: ScoreOptions | None = None,
    *,
    recursive: bool = False,
    results: str | os.PathLike[str] | None = None,
    retry_failed: bool = False,
    pipeline: PipelineOptions | None = None,
    on_row: Callable[[Row], object] = lambda _: None,
) -> list[Row]:
    """Score videos, folders of them, patterns or manifests; one row a dive, in the order of the inputs.

    A clip that cannot be scored is a row with ``error_kind`` and ``error``; it stops nothing.

    Args:
        scorer: Judges.
        paths: One or several.
        options: How to score; a manifest may say more of each dive. Where the model looked is left out.
        recursive: Look into the folders of folders too.
        results: A ``.jsonl`` to which rows are added as they come. A call that names it again scores only what is
            missing: what is there is known by the content of the file, the weights, the bank and the options.
        retry_failed: Try again what failed.
        pipeline: How to use this machine.
        on_row: Told of every new row as it comes, with the whole verdict in ``row.assessment``.

    Returns:
        The rows, without their verdicts.

    Raises:
        UsageError: There is nothing to score.
        DatasetError: A manifest cannot be read, or ``results`` is something else.
        OutputError: ``results`` cannot be written, or another run writes to it.
    """
    named = [paths] if isinstance(paths, (str, os.PathLike)) else paths
    # Attention is for one dive that somebody looks at; a row does not show it.
    rowwise = replace(options or ScoreOptions(), attention=False)
    inputs = find_inputs([os.fspath(path) for path in named], rowwise, recursive=recursive)
    tally = BatchStats()
    with ExitStack() as stack:
        journal = None if results is None else stack.enter_context(Journal(Path(results)))
        known = () if journal is None else read_result_rows(journal.path)
        plan = plan_batch(inputs.items, RunSettings.of(scorer), known, retry_failed=retry_failed)
        run_batch(plan, lambda jobs: score_jobs(scorer, jobs, pipeline), tally, journal=journal, on_row=on_row)
    return tally.rows
