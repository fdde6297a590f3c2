"""Files of a batch and of an evaluation: CSV, JSON, pages, figures."""

from __future__ import annotations

import csv
import io
import os
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal, get_args

from finecausal_cli.atomic import atomic_write, is_stream
from finecausal_cli.batch import RESULTS_NAME
from finecausal_cli.batch.inputs import MANIFEST_SUFFIXES
from finecausal_cli.batch.records import COLUMNS, Journal, Row, merge_journals, read_result_rows, to_line
from finecausal_cli.batch.runner import BatchRunner, Reporter
from finecausal_cli.errors import FinecausalError, OutputError, UsageError
from finecausal_cli.evaluation.ablation import describe_ablation
from finecausal_cli.evaluation.run import write_evaluation, write_json
from finecausal_cli.report.batch import BatchReporter, caveats_of, print_dry_run, print_figures, summarise_rows
from finecausal_cli.report.console import open_console, printable, searching, working
from finecausal_cli.report.evaluation import ablation_json, evaluation_json, print_ablation, print_evaluation
from finecausal_cli.report.output import check_targets, deliver, journal_beside, resolve_format
from finecausal_cli.report.pages import batch_page, evaluation_page
from finecausal_cli.report.score import exit_code, print_first_lines, print_result

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import pyarrow as pa

    from finecausal_cli.batch import BatchConfig, BatchFormat
    from finecausal_cli.batch.inputs import Inputs, Item
    from finecausal_cli.batch.pipeline import Outcome
    from finecausal_cli.evaluation.ablation import VariantResult
    from finecausal_cli.evaluation.run import Evaluation
    from finecausal_cli.scoring.dive_reading import ReadAhead
    from finecausal_cli.scoring.results import Assessment, Unscored


# Where the results of a batch go: one file, a folder of files, a pipe or device, or standard output.

FileFormat = Literal["json", "jsonl", "csv", "parquet", "html"]

_FORMATS: dict[str, FileFormat] = {f".{name}": name for name in get_args(FileFormat)}
_ENDINGS = ", ".join(_FORMATS)

TABLE_NAME = "results.csv"
PAGE_NAME = "report.html"


@dataclass(frozen=True, slots=True)
class BatchTarget:
    """Where results go.

    Attributes:
        output: What the user named; None for standard output.
        journal: The file to which rows are added as they come; it alone is read when a run is repeated. None where
            nothing is kept: standard output, a pipe, a device.
        files: What is made of the journal at the end, by format.
        stream: Format of the rows that go to standard output, a pipe or a device as they come; None for lines of text.
    """

    output: Path | None = None
    journal: Path | None = None
    files: tuple[tuple[FileFormat, Path], ...] = ()
    stream: Literal["json", "jsonl", "csv"] | None = None


def is_whole_result(config: BatchConfig) -> bool:
    """Tell whether the whole assessment of a single dive is wanted, as a table or as JSON, and not its row.

    Raises:
        UsageError: The name of the output does not say its format.
    """
    if config.asks_for_rows or config.output_format not in (None, "table", "json"):
        return False
    output = config.output
    if output is None:
        return True
    if is_folder(output, config.output_format) or Path(output).suffix.lower() in set(_FORMATS) - {".json"}:
        return False
    resolve_format(Path(output), config.output_format)  # refuses other endings
    return True


def is_folder(output: str | os.PathLike[str], requested: BatchFormat | None = None) -> bool:
    """Tell whether a name means a folder: it is one, ends in a slash, or has no ending and no format is given."""
    name = os.fspath(output)
    if name.endswith(("/", os.sep)) or Path(name).is_dir():
        return True
    return not Path(name).suffix and requested is None and not is_stream(name)


def plan_target(output: str | os.PathLike[str] | None, requested: BatchFormat | None = None) -> BatchTarget:
    """Tell what the rows of a batch are written to.

    Args:
        output: A folder, a file, a pipe or a device; None for standard output.
        requested: Format; the ending decides when absent.

    Raises:
        UsageError: The ending is none that is known, or the format and the ending differ.
    """
    if output is None:
        if requested == "parquet":
            raise UsageError("Parquet cannot be printed", where="--format parquet", hint="add -o FILE.parquet")
        return BatchTarget(stream=None if requested is None or requested == "table" else requested)
    path = Path(output)
    if is_folder(output, requested):
        if requested not in (None, "table"):
            hint = "name a file, or leave out --format: a folder gets jsonl, csv and html"
            raise UsageError(f"-o is a folder, and --format {requested} is one file", where=output, hint=hint)
        files: tuple[tuple[FileFormat, Path], ...] = (("csv", path / TABLE_NAME), ("html", path / PAGE_NAME))
        return BatchTarget(path, path / RESULTS_NAME, files)
    chosen = _file_format(path, requested)
    if is_stream(output):
        if chosen not in ("json", "jsonl", "csv"):
            hint = "add --format jsonl, csv or json"
            raise UsageError("-o is a pipe or a device, and rows go there as they come", where=output, hint=hint)
        return BatchTarget(path, stream=chosen)
    if chosen is None:
        hint = f"let it end in one of {_ENDINGS}, or name a folder"
        raise UsageError("the name of -o does not say its format", where=output, hint=hint)
    if chosen == "jsonl":
        return BatchTarget(path, path)
    return BatchTarget(path, journal_beside(path), ((chosen, path),))


def _file_format(path: Path, requested: BatchFormat | None) -> FileFormat | None:
    by_ending = _FORMATS.get(path.suffix.lower())
    if requested == "table":
        hint = f"leave out --format and let the name end in one of {_ENDINGS}, or name a folder"
        raise UsageError("--format table is for the screen", where=path, hint=hint)
    if requested is not None and by_ending not in (None, requested):
        raise UsageError(f"--format {requested} and a name that says otherwise", where=path, hint="leave out --format")
    return requested or by_ending


def find_journal(given: Path) -> Path:
    """Return the journal that a user means: of a folder of results, of a table, or the file itself.

    Raises:
        UsageError: There is none.
    """
    if given.is_dir():
        results = given / RESULTS_NAME
    elif given.suffix.lower() == ".jsonl":
        results = given
    else:
        results = journal_beside(given)
    if not results.is_file():
        hint = "name a folder of results, a .jsonl of results, or a table beside its journal"
        raise UsageError(f"no results here: {results.name} is missing", where=given, hint=hint)
    return results


def check_batch_target(target: BatchTarget, items: Sequence[Item], named: Iterable[str]) -> None:
    """Refuse to write over what is read, before anything is computed.

    Args:
        target: Where results go.
        items: What is read.
        named: The arguments: manifests and lists among them are read too.

    Raises:
        UsageError: A file of the results is a dive, lies among the frames of one, or is a manifest.
    """
    writes = [path for path in (target.journal, *(path for _, path in target.files)) if path is not None]
    sources = {os.path.realpath(item.path) for item in items}
    for path in writes:
        real = os.path.realpath(path)
        if real in sources:
            raise UsageError("-o would write over a dive that is read", where=path)
        if os.path.dirname(real) in sources:  # noqa: PTH120 - names that are no valid text
            raise UsageError("-o would write among the frames that are read", where=path)
        if path.exists() and any(
            Path(one).suffix.lower() in MANIFEST_SUFFIXES and os.path.realpath(one) == real for one in named
        ):
            raise UsageError("-o would write over the manifest that is read", where=path)
        if path.is_dir():
            raise UsageError("-o needs a file, and this is a folder", where=path)


# The rows of a batch as files: JSON Lines, JSON, CSV, Parquet. One row at a time, however many there are.

_ROW_GROUP = 1000


def write_files(target: BatchTarget) -> None:
    """Make the files of a batch out of its journal, sorted by name, each whole or not at all.

    Raises:
        OutputError: A file cannot be written.
    """
    assert target.journal is not None  # noqa: S101 - rows that are not kept have no files
    for file_format, path in target.files:
        rows = read_result_rows(target.journal)
        write_file(path, file_format, sort_rows(rows if file_format == "json" else (row.light() for row in rows)))


def sort_rows(rows: Iterable[Row]) -> list[Row]:
    """Return rows by name of the source: the same order whoever was ready first."""
    return sorted(rows, key=lambda row: (row.source, row.start_s or 0.0, row.end_s or 0.0, row.dive_index or 0))


def write_file(path: Path, file_format: FileFormat, rows: Iterable[Row]) -> None:
    """Write rows in one format.

    Raises:
        OutputError: The file cannot be written.
    """
    with atomic_write(path, "the results") as part:
        if file_format == "parquet":
            _write_parquet(part, rows)
            return
        with part.open("wb") as stream:
            if file_format == "html":
                pages = {page.name for page in path.parent.glob("*.html")}
                stream.write(batch_page([row.light() for row in rows], pages).encode("utf-8", "replace"))
                return
            writer = row_writer(file_format, stream)
            for row in rows:
                writer.add(row)
            writer.close()


class JsonLinesWriter:
    """One object a line."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream

    def add(self, row: Row) -> None:
        """Write a row."""
        self._stream.write(to_line(row))
        self._stream.flush()

    def close(self) -> None:
        """Write the end."""


class JsonWriter(JsonLinesWriter):
    """One array of objects."""

    def __init__(self, stream: IO[bytes]) -> None:
        super().__init__(stream)
        self._is_first = True

    def add(self, row: Row) -> None:
        """Write a row."""
        self._stream.write((b"[\n" if self._is_first else b",\n") + to_line(row).rstrip(b"\n"))
        self._is_first = False

    def close(self) -> None:
        """Write the end."""
        self._stream.write(b"[]\n" if self._is_first else b"\n]\n")
        self._stream.flush()


class CsvWriter(JsonLinesWriter):
    """A table in UTF-8: a header, then a line a row; empty where nothing is known."""

    def __init__(self, stream: IO[bytes]) -> None:
        super().__init__(stream)
        self._write(COLUMNS)

    def add(self, row: Row) -> None:
        """Write a row."""
        self._write([cell for _, cell in _cells(row)])
        self._stream.flush()

    def _write(self, cells: Iterable[object]) -> None:
        line = io.StringIO(newline="")
        csv.writer(line, lineterminator="\n").writerow(cells)
        self._stream.write(line.getvalue().encode("utf-8", "backslashreplace"))


def row_writer(file_format: FileFormat, stream: IO[bytes]) -> JsonLinesWriter:
    """Return what writes rows to a stream as they come."""
    kinds = {"jsonl": JsonLinesWriter, "json": JsonWriter, "csv": CsvWriter}
    return kinds[file_format](stream)


def _write_parquet(path: Path, rows: Iterable[Row]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = _schema()
    remaining = iter(rows)
    try:
        with pq.ParquetWriter(path, schema) as writer:
            while group := [dict(_cells(row)) for row in islice(remaining, _ROW_GROUP)]:
                writer.write_table(pa.Table.from_pylist(group, schema=schema))
    except pa.ArrowException as error:
        raise OutputError(f"the results cannot be written as Parquet: {error}", where=path) from error


def _schema() -> pa.Schema:
    import pyarrow as pa

    kinds = {int: pa.int64(), float: pa.float64()}
    fields = []
    for name in COLUMNS:
        annotation = Row.model_fields[name].annotation
        alternatives = set(get_args(annotation)) or {annotation}
        kind = next((kinds[each] for each in kinds if each in alternatives), pa.string())
        fields.append((name, pa.int64() if name == "row_version" else kind))
    return pa.schema(fields)


def _cells(row: Row) -> list[tuple[str, Any]]:
    """Return the columns of a row; text that is no valid Unicode is written with escapes."""
    values = [(name, getattr(row, name)) for name in COLUMNS]
    return [
        (name, value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value)
        for name, value in values
    ]


# Score a batch and hand its results over.


class _WholeReporter(Reporter):
    """Keeps the result of the only dive."""

    result: Assessment | Unscored

    def show(self, outcome: Outcome) -> None:
        if outcome.result is None or isinstance(outcome.result, Exception):
            raise outcome.result or FinecausalError(outcome.row.error or "not scored")
        self.result = outcome.result


def deliver_batch(config: BatchConfig, ahead: ReadAhead | None = None) -> int:
    """Score one dive or many, and write the results where the configuration says.

    Args:
        config: The batch: inputs, options, output.
        ahead: Has begun to read the file, if it is only one.

    Returns:
        The exit code: 0 if every dive has a score.

    Raises:
        FinecausalError: Nothing can be scored: wrong usage, no weights, results that cannot be written.
    """
    runner = BatchRunner(config, ahead=ahead)
    inputs = runner.find()
    if inputs.is_one_dive and is_whole_result(config):
        return _deliver_whole(config, runner, inputs, ahead)
    return _deliver_rows(config, runner, inputs, plan_target(config.output, config.output_format))


def _deliver_whole(config: BatchConfig, runner: BatchRunner, inputs: Inputs, ahead: ReadAhead | None) -> int:
    output = None if config.output is None else Path(config.output)
    check_targets(list(config.paths), output=output)
    reporter = _WholeReporter()
    with searching("scoring", ahead):
        stats = runner.run(inputs, reporter, whole=True)
    if stats.exit_signal:
        return stats.exit_signal
    (item,) = inputs.items
    deliver(reporter.result.renamed(item.path, item.source), config.output_format or "table", output, print_result)
    return exit_code(reporter.result)


def _deliver_rows(config: BatchConfig, runner: BatchRunner, inputs: Inputs, target: BatchTarget) -> int:
    if target.journal is None:
        for flag, is_given in (("--overwrite", config.overwrite), ("--retry-failed", config.retry_failed)):
            if is_given:
                raise UsageError(f"{flag} needs results to go on from", where=flag, hint="name them with -o FILE")
    check_batch_target(target, inputs.items, [*config.paths, *filter(None, [config.from_file])])
    if config.dry_run:
        with working("looking"):
            plan, scorer = runner.plan(inputs, journal=target.journal)
        print_dry_run(plan, inputs.items, scorer.bank, open_console())
        return 1 if any(item.problem is not None for item in inputs.items) else 0

    def write() -> list[Path]:
        if target.journal is None or not target.journal.exists():
            return []
        write_files(target)
        return [*(path for _, path in target.files), target.journal]

    with ExitStack() as stack:
        writer = None
        if target.stream is not None:
            stream = sys.stdout.buffer if target.output is None else stack.enter_context(_open(target.output))
            writer = row_writer(target.stream, stream)
        reporter = stack.enter_context(BatchReporter(writer=writer, write_files=write))
        stats = runner.run(inputs, reporter, journal=target.journal)
    return stats.exit_code


def _open(path: Path) -> IO[bytes]:
    """Open a pipe or a device to write into."""
    try:
        return path.open("wb", buffering=0)
    except OSError as error:
        raise OutputError(f"the results cannot be written: {error.strerror}", where=path) from error


# Hand an evaluation over: on the screen, as JSON, and as a folder of files.

FIGURES_NAME = "figures"
ABLATION_NAME = "ablation.json"
LAST_NAME = "last-epoch"


def deliver_evaluation(
    evaluations: Sequence[Evaluation], output_format: str, output: Path | None, *, by: str | None, figures: bool
) -> None:
    """Print an evaluation, then write its files: a full disk must not take the figures along.

    Args:
        evaluations: One, or the best and the last epoch of a run.
        output_format: ``table`` or ``json``.
        output: Folder for the files, or None for none.
        by: Also print a table by ``number`` or by ``difficulty``.
        figures: Draw figures.

    Raises:
        OutputError: A file cannot be written.
    """
    best, last = evaluations[0], evaluations[1] if len(evaluations) > 1 else None
    console = open_console()
    try:
        if output_format == "json":
            console.file.write(evaluation_json(best, last=last) + "\n")
        else:
            print_evaluation(best, console, by=by, last=last)
    finally:  # also where nobody reads standard output to its end
        if output is not None:
            with working("writing the report"):
                _write_files(output, best, last, figures=figures)


def deliver_ablation(results: Sequence[VariantResult], output_format: str, output: Path | None) -> None:
    """Print an ablation, then write its files: everything in one JSON, and the predictions of every network.

    Raises:
        OutputError: A file cannot be written.
    """
    console = open_console()
    try:
        if output_format == "json":
            console.file.write(ablation_json(results) + "\n")
        else:
            print_ablation(results, console)
    finally:  # also where nobody reads standard output to its end
        if output is not None:
            write_json(output / ABLATION_NAME, describe_ablation(results))
            for evaluation in (evaluation for result in results for evaluation in result.evaluations):
                write_evaluation(output / evaluation.setting.weights, evaluation)


def _write_files(folder: Path, best: Evaluation, last: Evaluation | None, *, figures: bool) -> None:
    write_evaluation(folder, best)
    if last is not None:
        write_evaluation(folder / LAST_NAME, last)
    drawings: dict[str, str] = {}
    if figures:
        from finecausal_cli.report.figures import draw_figures, write_evaluation_figures

        write_evaluation_figures(folder / FIGURES_NAME, best)
        drawings = draw_figures(best)
    with atomic_write(folder / PAGE_NAME, "the report") as part:
        part.write_text(evaluation_page(best, drawings, last=last), encoding="utf-8")


# Join results and write them as one.


def merge_results(output: str | os.PathLike[str], results: Sequence[Path]) -> None:
    """Write the rows of several runs, and of ``output`` if it is there already, to ``output``.

    Raises:
        UsageError: The name of ``output`` does not say its format, or one of the results is missing.
        DatasetError: One of them holds something that is no row of results.
        OutputError: ``output`` cannot be written, or another run writes to it.
    """
    target = plan_target(output)
    if target.journal is None:
        raise UsageError("OUT is a pipe or a device", where=output, hint="name a file or a folder")
    journals = [find_journal(each) for each in results]
    with working("merging"), Journal(target.journal):
        if target.journal.resolve() not in {journal.resolve() for journal in journals}:
            journals.insert(0, target.journal)
        merged = merge_journals([journal for journal in journals if journal.exists()])
        light = []
        with atomic_write(target.journal, "the results") as part, part.open("wb") as stream:
            for row in merged.rows():
                stream.write(to_line(row))
                light.append(row.light())
        write_files(target)
    console = open_console()
    print_first_lines(caveats_of(light), console)
    print_figures(summarise_rows(light), console)
    rows, files_read = ("row" if len(light) == 1 else "rows"), ("file" if len(results) == 1 else "files")
    summary = f"{len(light)} {rows} from {len(results)} {files_read}"
    if merged.replaced:
        summary += f"; {merged.replaced} gave way to another row of the same dive"
    files = ", ".join(str(path) for path in [*(path for _, path in target.files), target.journal])
    console.print(printable(summary, console), soft_wrap=True)
    console.print(printable(f"written: {files}", console), soft_wrap=True, style="dim")
