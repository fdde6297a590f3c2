"""Run a batch: find the dives, plan what is left to do, score it, and say how it ended."""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field, replace
from itertools import takewhile
from pathlib import Path
from threading import Event, current_thread, main_thread
from typing import TYPE_CHECKING, cast

from finecausal_cli.batch import BatchConfig
from finecausal_cli.batch.inputs import Inputs, Shard, find_inputs, read_listed, watch
from finecausal_cli.batch.pipeline import Outcome, score_jobs
from finecausal_cli.batch.records import (
    ClipKey,
    Job,
    Journal,
    Row,
    RunSettings,
    identify,
    labels_of,
    read_result_rows,
)
from finecausal_cli.errors import UsageError
from finecausal_cli.scoring import ScoreOptions, keep_corrections
from finecausal_cli.scoring.scorer import Scorer
from finecausal_cli.video.source import STANDARD_INPUT

if TYPE_CHECKING:
    from collections.abc import Generator
    from types import FrameType

    from finecausal_cli.batch.inputs import Item
    from finecausal_cli.batch.ray_backend import Cluster
    from finecausal_cli.scoring.dive_reading import ReadAhead
    from finecausal_cli.weights import WeightsInfo

EXIT_INTERRUPTED = 130
EXIT_TERMINATED = 143

logger = logging.getLogger(__name__)


# What is known already, what is left to do, and the count of it all.

RowKey = tuple[ClipKey, str]
"""A row within a batch: its clip, and the digest of content, weights, bank and options. A manifest may name one clip
twice with different options: these are two rows."""

OutcomeSource = Callable[[Iterable[Job]], Iterator[Outcome]]
"""Scores jobs and gives what became of each dive, in any order; closing the iterator stops the work."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done for a list of dives.

    Attributes:
        jobs: Dives to score.
        copies: Dives whose content was scored under another name.
        done: Rows that stand already, without their assessments.
        keys: Every dive of the batch, in the order of the inputs.
        is_stale: Whether there are rows of these clips that are of another content or of other options.
    """

    jobs: tuple[Job, ...]
    copies: tuple[Job, ...]
    done: tuple[Row, ...]
    keys: tuple[RowKey, ...]
    is_stale: bool = False


@dataclass(slots=True)
class BatchStats:
    """What has become of a batch so far; it may be read at any time, also after an interruption.

    Attributes:
        keys: Every dive of the batch, in the order of the inputs.
        scored: Dives scored by this run.
        failed: Dives that this run could not score.
        refused: Clips of this run that show no dive to judge.
        known: Rows that stood already, or were copied from a dive of the same content.
        seconds: How long the run took.
        stopped: Why it ended before its end; None if it did not.
        exit_signal: Exit code after a signal; 0 without one.
    """

    keys: list[RowKey] = field(default_factory=list)
    scored: int = 0
    failed: int = 0
    refused: int = 0
    known: int = 0
    seconds: float = 0.0
    stopped: str | None = None
    exit_signal: int = 0
    _rows: dict[RowKey, list[Row]] = field(default_factory=dict)

    def plan(self, plan: Plan) -> None:
        """Take note of dives to come and of rows that stand already."""
        clips, planned = {clip for clip, _ in plan.keys}, set(plan.keys)
        # A watched file that has changed has a new key: its old row gives way.
        self.keys = [key for key in self.keys if key[0] not in clips or key in planned]
        known = set(self.keys)
        self.keys += [key for key in dict.fromkeys(plan.keys) if key not in known]
        self._rows = {key: rows for key, rows in self._rows.items() if key in known}
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
        key = row.clip_key, row.key
        others = [other for other in self._rows.get(key, ()) if _is_beside(other, row)]
        self._rows[key] = [*others, row]

    @property
    def rows(self) -> list[Row]:
        """Rows of the batch that exist, in the order of the inputs, without their assessments."""
        return [row for key in self.keys for row in self._rows.get(key, ())]

    @property
    def missing(self) -> int:
        """Dives without a row: the run was interrupted, or stopped at a failure."""
        return len(self.keys) - len(self._rows)

    @property
    def exit_code(self) -> int:
        """0 if every dive has a score, 1 if one has none, 130 or 143 after a signal."""
        is_whole = not self.missing and all(row.is_scored for row in self.rows)
        return self.exit_signal or (0 if is_whole else 1)


def plan_batch(
    items: Sequence[Item],
    settings: RunSettings,
    known: Iterable[Row] = (),
    *,
    overwrite: bool = False,
    retry_failed: bool = False,
    advance: Callable[[], object] = lambda: None,
) -> Plan:
    """Tell which dives are scored already, by the content of their files, the weights, the bank and the options.

    Args:
        items: The dives.
        settings: What their rows depend on besides content and options.
        known: Rows of earlier runs.
        overwrite: Score everything again.
        retry_failed: Try again what failed.
        advance: Called after each dive.
    """
    by_key: dict[RowKey, list[Row]] = {}
    scored: set[str] = set()
    for row in () if overwrite else known:
        key = row.clip_key, row.key
        by_key[key] = [*(other for other in by_key.get(key, ()) if _is_beside(other, row)), row.light()]
        if row.is_scored and row.dive_index is None:
            scored.add(row.key)
    jobs, copies, done, keys = [], [], [], []
    for item in items:
        job = identify(item, settings)
        keys.append(job.row_key)
        rows = by_key.get(job.row_key, [])
        # All rows of a job: one, or one for each dive of its video.
        is_whole = bool(rows) and len(rows) == (rows[0].dives_found or 1)
        given = {name: value for name, value in labels_of(item).items() if value is not None}
        is_whole = is_whole and all(getattr(row, name) == value for row in rows for name, value in given.items())
        if is_whole and not (retry_failed and any(row.status == "failed" for row in rows)):
            done += rows
        elif job.key in scored:
            copies.append(job)
        else:
            jobs.append(job)
        advance()
    clips, standing = {clip for clip, _ in keys}, {(row.clip_key, row.key) for row in done}
    is_stale = overwrite or any(key[0] in clips and key not in standing for key in by_key)
    return Plan(tuple(jobs), tuple(copies), tuple(done), tuple(keys), is_stale)


def _is_beside(row: Row, other: Row) -> bool:
    """Tell whether two rows of one key are of two dives of a video."""
    return row.dive_index is not None and row.dive_index != other.dive_index


class Reporter:
    """Progress and outcomes of a batch while it runs; this reporter ignores them."""

    def begin(self, weights: WeightsInfo) -> None:
        """The weights are loaded."""

    def start(self, task: str, total: int | None) -> None:
        """A part of the work begins, with so many steps; None if nobody knows."""

    def advance(self) -> None:
        """A step is done that has no row."""

    def show(self, outcome: Outcome) -> None:
        """A dive is done; its row is on the disk if it is kept."""

    def finish(self, stats: BatchStats) -> None:
        """The run has ended, whole or not; its journal is still locked."""


def run_plan(
    plan: Plan,
    score: OutcomeSource,
    stats: BatchStats,
    *,
    journal: Journal | None = None,
    fail_fast: bool = False,
    reporter: Reporter | None = None,
) -> None:
    """Score what a plan says, each row on the disk before it is shown.

    Args:
        plan: What to do.
        score: Scores the jobs, here or on a cluster.
        stats: Counts; the caller keeps it, so that an interruption loses no count.
        journal: Where rows go, open; None keeps none.
        fail_fast: Stop at the first dive that fails.
        reporter: Told of every new row.

    Raises:
        OutputError: A row cannot be written.
    """
    reporter = reporter or Reporter()
    stats.plan(plan)
    if journal is not None:
        # What is scored anew makes room first, so that the file never holds two rows of one dive.
        clips = {clip for clip, _ in plan.keys}
        standing = {(row.clip_key, row.key) for row in plan.done}
        copies = list(_copies(plan, journal))
        if plan.is_stale:
            journal.drop(lambda row: row.clip_key in clips and (row.clip_key, row.key) not in standing)
        for row in copies:
            journal.append(row)
            stats.add(row, is_copy=True)
            reporter.show(Outcome(row, row.assessment))
    if not plan.jobs:
        return
    with closing(cast("Generator[Outcome]", score(plan.jobs))) as outcomes:
        for outcome in outcomes:
            if journal is not None:
                journal.append(outcome.row)
            stats.add(outcome.row)
            reporter.show(outcome)
            if fail_fast and outcome.row.status == "failed":
                if stats.missing:
                    stats.stopped = "stopped at the first failure"
                return


def _copies(plan: Plan, journal: Journal) -> Iterator[Row]:
    """Give the rows of dives whose content has one under another name."""
    wanted = {job.key for job in plan.copies}
    if not wanted:
        return
    rows = {
        row.key: row
        for row in read_result_rows(journal.path)
        if row.is_scored and row.key in wanted and row.dive_index is None
    }
    for job in plan.copies:
        row = rows[job.key]
        assessment = row.assessment and row.assessment.model_copy(update={"source": job.item.source})
        labels = {**labels_of(job.item), "file_time": job.file_time}
        yield row.model_copy(update={"source": job.item.source, "assessment": assessment, **labels})


# The controller: inputs, shard, journal, cluster, weights, watch, signals.


class _Terminated(KeyboardInterrupt):
    """SIGTERM: the limit of a queue, or a container that is stopped."""


class BatchRunner:
    """Score the dives of a batch, and resume an earlier run of it.

    Args:
        config: What to score and how.
        scorer: Scores; loaded as the configuration says when absent.
        ahead: Has begun to read the only file.
    """

    def __init__(self, config: BatchConfig, *, scorer: Scorer | None = None, ahead: ReadAhead | None = None) -> None:
        self._config = config
        self._scorer = scorer
        self._ahead = ahead
        self._shard = None if config.shard is None else Shard.parse(config.shard)
        self._listed = read_listed(config.from_file)
        self._stop = Event()

    def find(self) -> Inputs:
        """Find the dives of this shard.

        Raises:
            UsageError: Nothing is named, or there is nothing to score.
            DatasetError: A manifest cannot be read.
        """
        config = self._config
        if not config.paths and config.from_file is None:
            raise UsageError("Missing argument PATH", hint="name a video, a folder of them, a manifest, or --from-file")
        is_empty_list = config.from_file is not None and not self._listed and not config.paths
        # A row does not show attention.
        inputs = find_inputs(
            config.paths,
            replace(config.options, attention=False),
            recursive=config.recursive,
            listed=self._listed,
            allow_outside=config.allow_outside,
            may_be_empty=config.watch or is_empty_list,
        )
        if config.options.corrections and len(inputs.items) != 1:
            what = "--takeoff, --entry and --athlete are of one dive"
            raise UsageError(what, where=f"{len(inputs.items)} dives", hint="give one video")
        shard = self._shard
        mine = inputs.items if shard is None else tuple(item for item in inputs.items if shard.holds(item))
        return replace(inputs, items=mine)

    def plan(self, inputs: Inputs, *, journal: Path | None = None) -> tuple[Plan, Scorer]:
        """Tell what a run would do, and with which scorer; do nothing."""
        scorer = self._load()
        return self._plan(scorer, inputs.items, _known(journal), Reporter()), scorer

    def run(
        self,
        inputs: Inputs,
        reporter: Reporter | None = None,
        *,
        journal: Path | None = None,
        whole: bool = False,
    ) -> BatchStats:
        """Score what is missing; with ``watch``, go on with what appears.

        Args:
            inputs: The dives, as ``find`` gives them.
            reporter: Told how it goes.
            journal: File, JSON Lines, to which rows are added as they come and from which a rerun resumes; None keeps
                none.
            whole: Of a single dive, attention included: without a digest of its file, which only rows need.

        Returns:
            What has become of each dive; also after Ctrl-C or SIGTERM, whose exit code it carries.

        Raises:
            FinecausalError: No weights, no cluster, or results that cannot be written.
        """
        reporter, started, stats = reporter or Reporter(), time.monotonic(), BatchStats()
        for note in inputs.notes:
            logger.warning("note: %s", note)
        if whole:
            items = (
                replace(
                    item,
                    path=item.path if item.source == STANDARD_INPUT else item.source,
                    options=self._config.options,
                )
                for item in inputs.items
            )
            inputs = replace(inputs, items=tuple(items))
        with ExitStack() as stack:
            rows = None if journal is None else stack.enter_context(Journal(journal))
            cluster = self._join(stack, reporter)
            reporter.start("loading the weights", None)
            source = self._outcomes(self._load(), cluster)
            reporter.begin(self._load().info)

            def score(items: Sequence[Item]) -> None:
                reporter.start("looking", len(items))
                plan = _plan_alone(items) if whole else self._plan(self._load(), items, _known(journal), reporter)
                reporter.start("scoring", len(plan.jobs) + len(plan.copies))
                run_plan(plan, source, stats, journal=rows, fail_fast=self._config.fail_fast, reporter=reporter)
                if self._config.fail_fast and stats.failed:
                    self._stop.set()

            try:
                with _terminated_as_interrupted():
                    self._keep_on(score) if self._config.watch else score(inputs.items)
            except KeyboardInterrupt as error:
                is_term = isinstance(error, _Terminated)
                stats.stopped = "terminated" if is_term else "interrupted"
                stats.exit_signal = EXIT_TERMINATED if is_term else EXIT_INTERRUPTED
            stats.seconds = time.monotonic() - started
            self._keep_corrections(inputs, stats)
            reporter.finish(stats)
        return stats

    def _keep_on(self, score: Callable[[Sequence[Item]], None]) -> None:
        """Score what appears; the first Ctrl-C ends that after the dives under way, a second one interrupts them."""

        def stop(*_: object) -> None:
            self._stop.set()
            signal.signal(signal.SIGINT, signal.default_int_handler)

        logger.warning("watching %s; Ctrl-C ends it", ", ".join(self._config.paths))
        with _handled(signal.SIGINT, stop):
            watch(lambda: self.find().items, score, self._stop)

    def _plan(self, scorer: Scorer, items: Sequence[Item], known: Iterable[Row], reporter: Reporter) -> Plan:
        config, settings = self._config, RunSettings.of(scorer)
        how = {"overwrite": config.overwrite, "retry_failed": config.retry_failed}
        return plan_batch(items, settings, known, **how, advance=reporter.advance)

    def _keep_corrections(self, inputs: Inputs, stats: BatchStats) -> None:
        """Keep corrections that a dive was not refused with for the next run; log if that is not possible."""
        options = self._config.options
        if not options.corrections or not inputs.items:  # they are of another shard's dive
            return
        if any(row.status in ("refused", "failed") for row in stats.rows) or not stats.rows:
            return
        for note in keep_corrections(inputs.items[0].path, options.corrections, options.start_s, options.end_s):
            logger.warning("note: %s", note)

    def _load(self) -> Scorer:
        if self._scorer is None:
            self._scorer = Scorer.load(**self._config.scorer_arguments)
        return self._scorer

    def _join(self, stack: ExitStack, reporter: Reporter) -> Cluster | None:
        """Join the configured cluster, before anything that takes long."""
        if self._config.cluster is None:
            return None
        from finecausal_cli.batch.ray_backend import connect

        reporter.start("joining the cluster", None)
        return stack.enter_context(connect(self._config.cluster))

    def _outcomes(self, scorer: Scorer, cluster: Cluster | None) -> OutcomeSource:
        config = self._config
        if cluster is None:
            return lambda jobs: score_jobs(
                scorer, takewhile(lambda _: not self._stop.is_set(), jobs), config, ahead=self._ahead
            )
        from finecausal_cli.batch.ray_backend import ModelBundle

        runtime = config.runtime
        bundle = ModelBundle.pack(runtime.weights, runtime.bank, calibrate=runtime.calibrate)
        return lambda jobs: cluster.score_jobs(bundle, RunSettings.of(scorer), jobs, config)


def _plan_alone(items: Sequence[Item]) -> Plan:
    jobs = tuple(identify(item, None) for item in items)
    return Plan(jobs, (), (), tuple(job.row_key for job in jobs))


def _known(journal: Path | None) -> Iterable[Row]:
    return read_result_rows(journal) if journal is not None and journal.exists() else ()


@contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    """Turn SIGTERM into an exception, so that what is scored is written as after Ctrl-C."""

    def terminate(*_: object) -> None:
        raise _Terminated

    with _handled(signal.SIGTERM, terminate):
        yield


@contextmanager
def _handled(number: signal.Signals, handler: Callable[[int, FrameType | None], object]) -> Iterator[None]:
    """Handle a signal another way meanwhile; only the main thread can."""
    if current_thread() is not main_thread():
        yield
        return
    before = signal.signal(number, handler)
    try:
        yield
    finally:
        signal.signal(number, before)


class _CallOnRow(Reporter):
    def __init__(self, on_row: Callable[[Row], object]) -> None:
        self._on_row = on_row

    def show(self, outcome: Outcome) -> None:
        self._on_row(outcome.row)


def score_many(
    scorer: Scorer,
    paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    options: ScoreOptions | None = None,
    *,
    config: BatchConfig | None = None,
    results: str | os.PathLike[str] | None = None,
    on_row: Callable[[Row], object] = lambda _: None,
) -> list[Row]:
    """Score videos, folders of them, patterns or manifests; one row a dive, in the order of the inputs.

    A clip that cannot be scored is a row with ``error_kind`` and ``error``; it stops nothing.

    Args:
        scorer: Scores.
        paths: One or several.
        options: How to score; a manifest may say more of each dive. Attention is left out.
        config: Everything else, e.g. ``BatchConfig(recursive=True, workers=2)``.
        results: A ``.jsonl`` to which rows are added as they come. A call that names it again scores only what is
            missing: what is there is known by the content of the file, the weights, the bank and the options.
        on_row: Called with every new row as it comes, its whole assessment in ``row.assessment``.

    Returns:
        The rows, without their assessments.

    Raises:
        UsageError: There is nothing to score.
        DatasetError: A manifest cannot be read, or ``results`` is something else.
        OutputError: ``results`` cannot be written, or another run writes to it.
        KeyboardInterrupt: After Ctrl-C; the rows that were ready are in ``results``.
    """
    named = [paths] if isinstance(paths, (str, os.PathLike)) else paths
    config = replace(config or BatchConfig(), paths=tuple(os.fspath(path) for path in named))
    if options is not None:
        config = replace(config, score=options)
    runner = BatchRunner(config, scorer=scorer)
    stats = runner.run(runner.find(), _CallOnRow(on_row), journal=None if results is None else Path(results))
    if stats.exit_signal:
        raise KeyboardInterrupt
    return stats.rows
