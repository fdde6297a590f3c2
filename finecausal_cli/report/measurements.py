"""Measured dives as tables, CSV, JSON and Parquet."""

from __future__ import annotations

import csv
import io
import json
import logging
from contextlib import ExitStack, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

from rich.text import Text

from finecausal_cli.atomic import atomic_write, is_stream
from finecausal_cli.batch.measuring import (
    Measured,
    MeasuredDive,
    Measurer,
    find_clips,
    keep_given_corrections,
    measure_many,
)
from finecausal_cli.batch.records import to_line
from finecausal_cli.errors import UsageError
from finecausal_cli.report.console import (
    BarDisplay,
    facts_grid,
    is_quiet,
    open_console,
    page_columns,
    print_panel,
    print_section,
    printable,
    searching,
    shorten,
)
from finecausal_cli.report.explanation import fact_in_words, measured_section
from finecausal_cli.report.joints import JointWriter
from finecausal_cli.report.output import journal_beside, to_json
from finecausal_cli.scoring.dives import SLOW_FROM
from finecausal_cli.scoring.measurements import UNITS
from finecausal_cli.video import CLIP_FRAMES
from finecausal_cli.video.source import STANDARD_INPUT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from rich.console import Console

    from finecausal_cli.batch import MeasureConfig
    from finecausal_cli.batch.inputs import Inputs, Item
    from finecausal_cli.scoring.dive_reading import ReadAhead
    from finecausal_cli.scoring.results import MeasurementName

logger = logging.getLogger(__name__)

EXIT_NOT_ALL: Final = 1

_SUFFIXES: Final = {"s": "s", "m": "m", "m/s": "m_s", "deg": "deg", "deg/s": "deg_s"}


def print_measured(dive: MeasuredDive, console: Console) -> None:
    """Print one dive: where it is in its file, then every fact."""
    if dive.status != "measured":
        headline = Text.assemble((dive.status.upper(), "bold red"), f"  {printable(dive.error or '', console)}")
        print_panel(dive.source, headline, facts_grid(_notes(dive), console), console)
        return
    air = dive.of("air_time")
    seconds = None if air is None or air.value is None else f"{air.value:.2f} s"
    headline = Text.assemble((seconds or "part of a dive", "bold green"), " in the air" if seconds else "")
    if dive.forced is not None:
        headline = Text.assemble((f"MEASURED BY FORCE, though {printable(dive.forced, console)}", "bold red"))
    facts: list[tuple[str | Text, str | Text]] = [("flight", _flight(dive))]
    if dive.height_from:
        height = "" if dive.height_m is None else f"{dive.height_m:g} m, "
        facts.append(("height", f"{height}{dive.height_from}"))
    if dive.athlete_seen is not None:
        facts.append(("athlete", f"seen in {dive.athlete_seen} of {CLIP_FRAMES} frames"))
    print_panel(dive.source, headline, facts_grid([*facts, *_notes(dive)], console), console)
    print_section(measured_section(dive.measurements), console)


def _flight(dive: MeasuredDive) -> str:
    named = (("take-off", dive.flight_start_s), ("entry", dive.entry_start_s))
    known = ", ".join(f"{name} at {time:.2f} s" for name, time in named if time is not None)
    slow = dive.time_scale if dive.time_scale is not None and dive.time_scale >= SLOW_FROM else None
    return (known or "not known") + ("" if slow is None else f", {slow:.1f} times slow motion")


def _notes(dive: MeasuredDive) -> list[tuple[str | Text, str | Text]]:
    return [] if is_quiet() else [(Text("note", style="yellow"), note) for note in dive.notes]


_LINE: Final[tuple[MeasurementName, ...]] = ("air_time", "rise", "total_turn", "entry_angle")
_HEADINGS: Final = ("air", "rise", "turn", "entry")
_CELL: Final = 9
_LEAST_NAME: Final = 12


def print_line(dive: MeasuredDive, console: Console) -> None:
    """Print one dive of many in one line: time in the air, rise, total turn, angle at the entry, and its name."""
    name = printable(dive.source, console) + (f" #{dive.dive_index}" if dive.dives_found > 1 else "")
    if dive.status == "measured":
        shown = _LINE if page_columns(console) > _CELL * len(_LINE) + _LEAST_NAME else _LINE[:2]
        facts = [dive.of(each) for each in shown]
        head = Text("".join(f"{fact_in_words(fact)[0] if fact else '-':>{_CELL}}" for fact in facts))
    else:
        head = Text(f"{dive.status:>{_CELL}}", style="bold red" if dive.status == "failed" else "bold yellow")
        head.append(f"  {dive.error_kind}:", style="not bold red")
    head.append("  " + shorten(name, max(_LEAST_NAME, page_columns(console) - len(head.plain) - 2)), style="default")
    console.print(head, soft_wrap=True)


def print_end(dives: Sequence[MeasuredDive], console: Console, *, known: int = 0) -> None:
    """Print how many were measured, how many of them before this run, and why others were not."""
    counts = [
        f"{sum(dive.status == status for dive in dives)} {status}" for status in ("measured", "refused", "failed")
    ]
    console.print()
    before = f"; {known} known from before" if known else ""
    console.print(Text(", ".join(counts) + before, style="bold"), width=page_columns(console))
    for dive in dives:
        if dive.status != "measured":
            line = f"{shorten(dive.source, page_columns(console) // 2)}: {dive.error}"
            console.print(Text(printable(line, console)), width=page_columns(console))


# Files.


def columns() -> tuple[str, ...]:
    """Return the columns of a table of measured dives; units stand in the names."""
    plain = [name for name in MeasuredDive.model_fields if name not in ("measurements", "notes")]
    facts = [each for name in UNITS for each in (column_of(name), f"{name}_error", f"{name}_reason")]
    sure = [f"{name}_probability" for name in ("total_turn", "half_somersaults")]
    return (*plain[:10], *facts, *sure, *plain[10:], "notes")


def column_of(name: MeasurementName) -> str:
    """Return the column of a fact's value, e.g. ``rise_m``."""
    suffix = _SUFFIXES.get(UNITS[name])
    return name if suffix is None else f"{name}_{suffix}"


def cells(dive: MeasuredDive) -> dict[str, Any]:
    """Return the row of a dive by column; None where nothing is known."""
    row: dict[str, Any] = dict.fromkeys(columns())
    row |= {name: getattr(dive, name) for name in MeasuredDive.model_fields if name in row}
    row["notes"] = " | ".join(dive.notes) or None
    for fact in dive.measurements:
        row |= {column_of(fact.name): fact.value, f"{fact.name}_error": fact.error, f"{fact.name}_reason": fact.reason}
        if f"{fact.name}_probability" in row:
            row[f"{fact.name}_probability"] = fact.probability
    return {
        name: value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value
        for name, value in row.items()
    }


def _write_csv(dives: Iterable[MeasuredDive], stream: IO[bytes]) -> None:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns(), lineterminator="\n")
    writer.writeheader()
    writer.writerows(cells(dive) for dive in dives)
    stream.write(text.getvalue().encode())


def _write_json(dives: Iterable[MeasuredDive], stream: IO[bytes]) -> None:
    content = [dive.model_dump(mode="json") for dive in dives]
    stream.write((json.dumps(content, allow_nan=False, indent=2) + "\n").encode())


def _write_lines(dives: Iterable[MeasuredDive], stream: IO[bytes]) -> None:
    stream.writelines(to_line(dive) for dive in dives)


def _write_parquet(dives: Iterable[MeasuredDive], stream: IO[bytes]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    texts = {"source", "status", "height_from", "forced", "error_kind", "error", "key", "version", "notes"}
    whole = {"measured_version", "dive_index", "dives_found", "athlete_seen"}

    def kind(name: str) -> pa.DataType:
        if name in texts or name.endswith("_reason"):
            return pa.string()
        return pa.int64() if name in whole else pa.float64()

    schema = pa.schema([(name, kind(name)) for name in columns()])
    pq.write_table(pa.Table.from_pylist([cells(dive) for dive in dives], schema=schema), stream)


def _write_table(dives: Iterable[MeasuredDive], stream: IO[bytes]) -> None:
    text = io.TextIOWrapper(stream, encoding="utf-8", write_through=True)
    for dive in dives:
        print_measured(dive, open_console(text))
    text.detach()


_WRITERS: Final[dict[str, Callable[[Iterable[MeasuredDive], IO[bytes]], None]]] = {
    "csv": _write_csv,
    "json": _write_json,
    "jsonl": _write_lines,
    "parquet": _write_parquet,
    "table": _write_table,
}
_ENDINGS: Final = {".csv": "csv", ".json": "json", ".jsonl": "jsonl", ".parquet": "parquet", ".txt": "table"}


def format_of(config: MeasureConfig) -> str:
    """Return the format of the results.

    Raises:
        UsageError: The name of the output does not say it, or says another; or Parquet would go to the screen.
    """
    asked = config.output_format
    if config.output is None:
        if asked == "parquet":
            raise UsageError("Parquet cannot be printed", where="--format parquet", hint="add -o FILE.parquet")
        return asked or "table"
    ending = Path(config.output).suffix.lower()
    by_name = _ENDINGS.get(ending)
    if Path(config.output).is_dir() or config.output.endswith("/"):
        raise UsageError("-o needs a file, and this is a folder", where=config.output, hint="name FILE.csv")
    if by_name is None and (asked is None or (ending and not is_stream(config.output))):
        hint = f"let it end in one of {', '.join(_ENDINGS)}"
        raise UsageError("the name of -o does not say its format", where=config.output, hint=hint)
    if asked is not None and by_name not in (None, asked):
        raise UsageError(f"--format {asked} and a name that says otherwise", where=config.output)
    return by_name or asked or "table"


# The command.


def deliver_measured(config: MeasureConfig, ahead: ReadAhead | None = None) -> int:
    """Measure one dive or many, and write the results where the configuration says.

    Args:
        config: Inputs, options, output.
        ahead: Has begun to read the file, if it is only one.

    Returns:
        The exit code: 0 if every dive was measured.

    Raises:
        FinecausalError: Wrong usage, no athlete reader, results that cannot be written; of a single clip, that it
            cannot be read.
    """
    chosen, inputs = format_of(config), find_clips(config)
    _check_targets(config, inputs)
    for note in inputs.notes:
        logger.warning("note: %s", note)
    with ExitStack() as stack:
        joints = stack.enter_context(nullcontext() if config.joints is None else JointWriter(Path(config.joints)))
        if inputs.is_one_dive:
            dives = _measure_one(config, inputs.items[0], ahead, joints)
            _hand_over(dives, chosen, config, one=not config.options.all_dives)
        else:
            dives = _measure_all(config, inputs, chosen, joints)
    for note in keep_given_corrections(inputs, config.options, dives):
        logger.warning("note: %s", note)
    return 0 if all(dive.status == "measured" for dive in dives) else EXIT_NOT_ALL


def _measure_one(
    config: MeasureConfig, item: Item, ahead: ReadAhead | None, joints: JointWriter | None
) -> list[MeasuredDive]:
    dives = []
    # Read ahead is the file under the name that was given; of standard input there is a copy.
    item = item if item.source == STANDARD_INPUT else replace(item, path=item.source)
    with searching("measuring", ahead):
        measurer = Measurer.load(config.device)
        for found in measurer.run(item, ahead, config.timeout_s):
            dives.append(found.dive)
            if joints is not None:
                joints.add(found)
    return dives


def _measure_all(config: MeasureConfig, inputs: Inputs, chosen: str, joints: JointWriter | None) -> list[MeasuredDive]:
    output = None if config.output is None or is_stream(config.output) else Path(config.output)
    keeps = output is not None and chosen != "table" and joints is None
    journal = None if output is None or not keeps else output if chosen == "jsonl" else journal_beside(output)
    console = open_console()
    lines = chosen == "table" and config.output is None
    if lines:
        short = _HEADINGS if page_columns(console) > _CELL * len(_LINE) + _LEAST_NAME else _HEADINGS[:2]
        console.print(Text("".join(f"{heading:>{_CELL}}" for heading in short) + "  dive", style="dim"))
    with BarDisplay() as display:
        bar = display.bar
        task = bar.add_task("measuring", total=None)

        new: list[str] = []

        def show(found: Measured) -> None:
            new.append(found.dive.source)
            bar.advance(task)
            if joints is not None:
                joints.add(found)
            if lines:
                print_line(found.dive, console)

        dives = measure_many(
            Measurer.load(config.device),
            inputs.items,
            config,
            journal=journal,
            show=show,
            begin=lambda count: bar.update(task, total=count),
        )
    if not lines and (chosen != "jsonl" or journal is None):
        _hand_over(dives, chosen, config, one=False)
    end = console if lines or output is not None else open_console(_standard_error())
    print_end(dives, end, known=len(dives) - len(new))
    return dives


def _standard_error() -> IO[str]:
    import sys

    return sys.stderr


def _hand_over(dives: Sequence[MeasuredDive], chosen: str, config: MeasureConfig, *, one: bool) -> None:
    if config.output is not None:
        with atomic_write(config.output, "the results") as part, part.open("wb") as stream:
            if one and chosen == "json":
                stream.write((to_json(dives[0]) + "\n").encode())
            else:
                _WRITERS[chosen](dives, stream)
        return
    console = open_console()
    if chosen == "table":
        for dive in dives:
            print_measured(dive, console)
    elif one and chosen == "json":
        console.file.write(to_json(dives[0]) + "\n")
    else:
        printed = io.BytesIO()
        _WRITERS[chosen](dives, printed)
        console.file.write(printed.getvalue().decode())


def _check_targets(config: MeasureConfig, inputs: Inputs) -> None:
    sources = {Path(item.path).resolve() for item in inputs.items}
    targets = [(flag, Path(path)) for flag, path in (("-o", config.output), ("--joints", config.joints)) if path]
    for flag, target in targets:
        if target.resolve() in sources:
            raise UsageError(f"{flag} would write over the dive that is read", where=target)
        if target.resolve().parent in sources:
            raise UsageError(f"{flag} would write among the frames that are read", where=target)
    if len(targets) > 1 and targets[0][1].resolve() == targets[1][1].resolve():
        raise UsageError("-o and --joints name the same file", where=targets[0][1])
    if config.joints is not None:
        JointWriter.check(Path(config.joints), dives=None if config.options.all_dives else len(inputs.items))
