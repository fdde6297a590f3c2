"""``finecausal score`` from its request to its exit code: one dive or many."""

from __future__ import annotations

import signal
import sys
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from itertools import takewhile
from pathlib import Path
from threading import Event, current_thread, main_thread
from typing import TYPE_CHECKING, Any

from finecausal_cli.batch.inputs import Inputs, find_inputs, read_list, watch
from finecausal_cli.batch.pipeline import PipelineOptions, score_jobs
from finecausal_cli.batch.records import Journal, RunSettings, Shard, read_result_rows
from finecausal_cli.batch.runner import BatchStats, Plan, RowMaker, plan_batch, run_batch
from finecausal_cli.errors import UsageError
from finecausal_cli.report.batch import BatchProgress, print_dry_run, print_failures, print_summary
from finecausal_cli.report.console import error_console, open_console, printable, searching, working
from finecausal_cli.report.files import (
    BatchFormat,
    BatchTarget,
    JsonLinesWriter,
    check_batch_target,
    plan_target,
    row_writer,
    write_files,
)
from finecausal_cli.report.output import check_targets, deliver
from finecausal_cli.report.score import exit_code, keep, print_finding
from finecausal_cli.scoring import ScoreOptions
from finecausal_cli.scoring.scorer import Scorer
from finecausal_cli.weights.hub import DEFAULT_WEIGHTS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from rich.console import Console

    from finecausal_cli.batch.inputs import Item
    from finecausal_cli.batch.ray_backend import Cluster
    from finecausal_cli.batch.records import Job, Row
    from finecausal_cli.scoring.dive_reading import ReadAhead

EXIT_INTERRUPTED = 130

_MANY_ENDINGS = {".jsonl", ".csv", ".parquet", ".html"}
"""Names of -o that ask for rows, even of a single dive."""


@dataclass(frozen=True, slots=True)
class BatchRequest:
    """What the command line asks for; see its help for each option."""

    paths: tuple[str, ...]
    options: dict[str, Any] = field(default_factory=dict)
    engine: dict[str, Any] = field(default_factory=dict)
    recursive: bool = False
    from_file: str | None = None
    allow_outside: bool = False
    shard: str | None = None
    dry_run: bool = False
    workers: int | None = None
    batch_size: int | None = None
    timeout_s: float = 120.0
    overwrite: bool = False
    retry_failed: bool = False
    fail_fast: bool = False
    watch: bool = False
    cluster: str | None = None
    output_format: BatchFormat | None = None
    output: Path | None = None

    @property
    def loading(self) -> dict[str, Any]:
        """Arguments of ``Scorer.load`` here; for a cluster, the one that only tells what its actors judge with."""
        return self.engine if self.cluster is None else {**self.engine, "device": "cpu"}

    @property
    def wants_rows(self) -> bool:
        """Whether only a batch can give what is asked for, though a single dive is named."""
        of_many = self.overwrite or self.retry_failed or self.dry_run or self.watch or self.fail_fast
        of_many = of_many or bool(self.options.get("all_dives"))
        by_name = self.output is not None and (self.output.is_dir() or self.output.suffix.lower() in _MANY_ENDINGS)
        as_rows = self.output_format in ("jsonl", "csv", "parquet")
        ends_otherwise = self.output_format in (None, "table", "json") and not by_name
        return of_many or self.shard is not None or self.cluster is not None or as_rows or not ends_otherwise


def score_dives(request: BatchRequest, ahead: ReadAhead | None = None) -> int:
    """Score one dive or many, and return the exit code.

    Args:
        request: What is asked for.
        ahead: Has begun to read the file, if it is only one.

    Raises:
        FinecausalError: Nothing can be scored: wrong usage, no weights, results that cannot be written.
    """
    pipeline = PipelineOptions(request.workers, request.batch_size, request.timeout_s)
    options = ScoreOptions(**request.options)
    shard = None if request.shard is None else Shard.parse(request.shard)
    listed = _read_listed(request.from_file)
    if not request.paths and request.from_file is None:
        raise UsageError("Missing argument PATH", hint="name a video, a folder of them, a manifest, or --from-file")

    def find() -> Inputs:
        # Attention is for one dive that somebody looks at; a row does not show it.
        return find_inputs(
            request.paths,
            replace(options, attention=False),
            recursive=request.recursive,
            listed=listed,
            allow_outside=request.allow_outside,
            may_be_empty=request.watch or (request.from_file is not None and not listed and not request.paths),
        )

    if request.cluster is not None and request.watch:
        raise UsageError("--watch is for one machine", where="--cluster", hint="run it again for what has come since")
    inputs = find()
    if inputs.is_one_dive and not request.wants_rows:
        return _score_one(request, options, ahead)
    if options.corrections:
        if len(inputs.items) != 1:
            what = "--takeoff, --entry and --athlete are of one dive"
            raise UsageError(what, where=f"{len(inputs.items)} dives", hint="give one video")
        if not request.dry_run:
            keep(inputs.items[0].path, options)
    batch = _Batch(request, pipeline, shard, inputs)
    if request.dry_run:
        return batch.show_plan()
    return batch.watch(find) if request.watch else batch.run()


def _score_one(request: BatchRequest, options: ScoreOptions, ahead: ReadAhead | None) -> int:
    (path,) = request.paths
    check_targets([path], output=request.output)
    keep(path, options)
    with searching("scoring", ahead):
        found = Scorer.load(**request.engine).assess(path, options, ahead=ahead)[0]
    deliver(found, request.output_format or "table", request.output, print_finding)
    return exit_code(found)


def _read_listed(name: str | None) -> list[str]:
    if name is None:
        return []
    if name == "-":
        return read_list(sys.stdin.buffer)
    try:
        with Path(name).open("rb") as stream:
            return read_list(stream)
    except OSError as error:
        raise UsageError(f"the list cannot be read: {error.strerror}", where=name, hint="--from-file LIST") from None


class _Batch:
    """Many dives, their results and what is shown of them meanwhile."""

    def __init__(self, request: BatchRequest, options: PipelineOptions, shard: Shard | None, inputs: Inputs) -> None:
        self._request = request
        self._options = options
        self._shard = shard
        self._notes = inputs.notes
        self._items = self._mine(inputs.items)
        self._target = _plan_target(request)
        if self._target is not None:
            named = [*request.paths, *(path for path in (request.from_file,) if path not in (None, "-") and path)]
            check_batch_target(self._target, inputs.items, named)
        self._tally = BatchStats()
        self._cluster: Cluster | None = None
        self._stop = Event()

    def show_plan(self) -> int:
        """Print what would be done."""
        with working("looking"):
            scorer = Scorer.load(**self._request.loading)
            plan = self._plan(scorer, self._items, self._known())
        print_dry_run(plan, self._items, scorer.bank, open_console())
        return 0

    def run(self) -> int:
        """Score what is there."""
        return self._work(lambda scorer, journal, screen: self._score(scorer, self._items, journal, screen))

    def watch(self, find: Any) -> int:
        """Score what appears, until Ctrl-C."""

        def keep_looking(scorer: Scorer, journal: Journal | None, screen: _Screen) -> None:
            where = ", ".join(self._request.paths)
            _say(f"watching {where}; Ctrl-C ends it", error_console())
            with self._stopped_by_interrupt():
                watch(
                    lambda: self._mine(find().items),
                    lambda items: self._score(scorer, items, journal, screen),
                    self._stop,
                )

        return self._work(keep_looking)

    def _work(self, work: Any) -> int:
        begun = time.monotonic()
        stopped: str | None = None
        with ExitStack() as stack:
            for note in self._notes:
                _say(f"note: {note}", error_console())
            journal = None if self._target is None else stack.enter_context(Journal(self._target.journal))
            self._join(stack)
            with working("loading the weights"):
                scorer = Scorer.load(**self._request.loading)
            screen = stack.enter_context(_Screen(self._request, self._target))
            try:
                work(scorer, journal, screen)
            except KeyboardInterrupt:
                stopped = "interrupted"
            screen.close()
            if stopped is None and self._tally.missing and self._request.fail_fast:
                stopped = "stopped at the first failure"
            if self._target is not None and self._target.journal.exists():
                with working("writing the results"):
                    write_files(self._target)
        self._report(screen.summary_console, time.monotonic() - begun, stopped)
        return EXIT_INTERRUPTED if stopped == "interrupted" else self._tally.exit_code

    def _score(self, scorer: Scorer, items: Sequence[Item], journal: Journal | None, screen: _Screen) -> None:
        screen.progress.start("looking", len(items))
        known = () if journal is None or not journal.path.exists() else read_result_rows(journal.path)
        plan = self._plan(scorer, items, known, advance=screen.progress.advance)
        screen.progress.start("scoring", len(plan.jobs) + len(plan.copies))
        run_batch(
            plan,
            self._maker(scorer),
            self._tally,
            journal=journal,
            fail_fast=self._request.fail_fast,
            on_row=screen.show,
        )

    def _join(self, stack: ExitStack) -> None:
        """Join the cluster that is asked for, before anything that takes long."""
        if self._request.cluster is None:
            return
        from finecausal_cli.batch.ray_backend import connect

        with working("joining the cluster"):
            self._cluster = stack.enter_context(connect(self._request.cluster))

    def _maker(self, scorer: Scorer) -> RowMaker:
        if self._cluster is not None:
            return self._cluster_maker(scorer, self._cluster)

        def make(jobs: Iterable[Job]) -> Iterator[tuple[Row, ...]]:
            return score_jobs(scorer, takewhile(lambda _: not self._stop.is_set(), jobs), self._options)

        return make

    def _cluster_maker(self, scorer: Scorer, cluster: Cluster) -> RowMaker:
        from finecausal_cli.batch.ray_backend import ClusterOptions, ModelBundle

        request = self._request
        options = ClusterOptions(
            request.workers, request.batch_size, request.timeout_s, request.engine.get("device", "auto")
        )
        parcel = ModelBundle.pack(request.engine.get("weights", DEFAULT_WEIGHTS), scorer.bank_folder)
        return lambda jobs: cluster.score_jobs(parcel, RunSettings.of(scorer), jobs, options)

    def _plan(self, scorer: Scorer, items: Sequence[Item], known: Iterable[Row], **more: Any) -> Plan:
        request = self._request
        return plan_batch(
            items, RunSettings.of(scorer), known, overwrite=request.overwrite, retry_failed=request.retry_failed, **more
        )

    def _known(self) -> Iterable[Row]:
        return (
            read_result_rows(self._target.journal) if self._target is not None and self._target.journal.exists() else ()
        )

    def _mine(self, items: Iterable[Item]) -> list[Item]:
        return [item for item in items if self._shard is None or self._shard.holds(item)]

    @contextmanager
    def _stopped_by_interrupt(self) -> Iterator[None]:
        """Let the first Ctrl-C end the watch after the dives under way; a second one interrupts."""
        if current_thread() is not main_thread():
            yield
            return
        before = signal.getsignal(signal.SIGINT)

        def stop(*_: object) -> None:
            self._stop.set()
            signal.signal(signal.SIGINT, before)

        signal.signal(signal.SIGINT, stop)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    def _report(self, console: Console, seconds: float, stopped: str | None) -> None:
        print_failures(self._tally.rows, console)
        print_summary(self._tally, console, seconds=seconds, stopped=stopped)
        if self._target is not None:
            paths = [path for _, path in self._target.files]
            files = ", ".join(str(path) for path in [*paths, self._target.journal])
            _say(f"written: {files}", console)


class _Screen:
    """What is shown while rows come: lines and a bar, or the rows themselves on standard output."""

    def __init__(self, request: BatchRequest, target: BatchTarget | None) -> None:
        rows_on_stdout = target is None and request.output_format not in (None, "table")
        self._writer: JsonLinesWriter | None = None
        if rows_on_stdout and request.output_format in ("json", "jsonl", "csv"):
            self._writer = row_writer(request.output_format, sys.stdout.buffer)
        self.summary_console = error_console() if rows_on_stdout else open_console()
        self.progress = BatchProgress(lines=not rows_on_stdout)

    def __enter__(self) -> _Screen:
        self.progress.__enter__()
        return self

    def __exit__(self, *how: Any) -> None:
        self.progress.__exit__(*how)

    def show(self, row: Row) -> None:
        """Show a row."""
        if self._writer is not None:
            self._writer.add(row)
        self.progress.show(row)

    def close(self) -> None:
        """End what is on standard output, and take the bar away before anything else is shown."""
        self.progress.__exit__(None, None, None)
        if self._writer is not None:
            self._writer.close()


def _plan_target(request: BatchRequest) -> BatchTarget | None:
    if request.output is not None:
        return plan_target(request.output, request.output_format)
    if request.output_format == "parquet":
        raise UsageError("Parquet cannot be printed", where="--format parquet", hint="add -o FILE.parquet")
    for flag, is_given in (("--overwrite", request.overwrite), ("--retry-failed", request.retry_failed)):
        if is_given:
            raise UsageError(f"{flag} needs results to go on from", where=flag, hint="name them with -o")
    return None


def _say(text: str, console: Console) -> None:
    console.print(printable(text, console), soft_wrap=True, style="dim")
