"""Datasets, weights, exemplars, dive numbers and diagnostics in the terminal."""

from __future__ import annotations

import csv
import json
from collections import defaultdict
from dataclasses import asdict, astuple, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from finecausal_cli.atomic import atomic_write
from finecausal_cli.data import group_problems
from finecausal_cli.diving import COUNTING_MARKS, apparatus, describe_dive, difficulty, explain_dive, heights_for
from finecausal_cli.diving.competition import competition_marks, competition_statistics, describe_competition
from finecausal_cli.report.console import (
    BarDisplay,
    add_row,
    is_quiet,
    new_table,
    page_columns,
    print_heading,
    print_table,
    printable,
    table_width,
    words,
)
from finecausal_cli.retrieval.calibration import FEWEST, FEWEST_FOR_INTERVAL
from finecausal_cli.weights import WeightsInfo

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.console import Console
    from rich.progress import TaskID

    from finecausal_cli.data import Problem
    from finecausal_cli.data.datasets import DatasetCheck, DatasetSummary, Quantiles
    from finecausal_cli.data.importing import Imported
    from finecausal_cli.diving import DiveNumber
    from finecausal_cli.model.config import ModelConfig
    from finecausal_cli.retrieval.bank import BankIndex, Exemplar, JudgedClip
    from finecausal_cli.retrieval.calibration import LeaveOneOut
    from finecausal_cli.retrieval.own_bank import OwnBank
    from finecausal_cli.scoring.doctor import Diagnostics
    from finecausal_cli.scoring.judged_dives import JudgedRow
    from finecausal_cli.training.dive_classifier import ClassifierMetrics
    from finecausal_cli.weights import Manifest
    from finecausal_cli.weights.store import LoadedWeights


# Diagnostics of ``finecausal doctor``.


def print_diagnostics(diagnostics: Diagnostics, console: Console) -> None:
    """Print one row per check, and whether all passed."""
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for check in diagnostics.findings:
        mark = Text("ok", style="green") if check.well else Text("!!", style="bold red")
        table.add_row(mark, check.subject, Text(printable(check.finding, console)))
    console.print(table, width=page_columns(console))
    console.print("All checks passed." if diagnostics.healthy else "A check failed: see the lines marked !!")


def diagnostics_json(diagnostics: Diagnostics) -> str:
    """Return the checks as JSON."""
    return json.dumps(
        {"healthy": diagnostics.healthy, "findings": [asdict(check) for check in diagnostics.findings]}, indent=2
    )


# Contents and problems of a dataset.

_FORMAT = 1
"""Version of the JSON."""

_MOST_NUMBERS = 12
"""Dive numbers that the table names; JSON names them all."""


_EXAMPLES = 3
"""Problems of one kind that are shown; the rest is counted."""


def print_dataset(check: DatasetCheck, console: Console, *, every: bool = False) -> None:
    """Print the problems, grouped by what they concern, and the figures of what can be read.

    Args:
        check: The result of a check.
        console: Where to print.
        every: Print each problem; otherwise those that say the same of many dives are one line with three of them.
    """
    print_problems(check.problems, check.path, console, every=every)
    _print_summary(check, console)
    count = len(check.problems)
    if count:
        console.print(Text("1 problem." if count == 1 else f"{count} problems.", style="bold red"))
    else:
        console.print(Text("No problems.", style="green"))


def print_problems(problems: Sequence[Problem], root: Path, console: Console, *, every: bool = False) -> None:
    """Print problems by kind; see ``print_dataset``."""
    by_kind: dict[str, list[Problem]] = defaultdict(list)
    for problem in problems:
        by_kind[problem.kind].append(problem)
    for kind, of_kind in by_kind.items():
        console.print(Text(f"{kind} ({len(of_kind)})", style="bold"))
        for group in [(problem,) for problem in of_kind] if every else group_problems(of_kind):
            if len(group) <= _EXAMPLES:
                for problem in group:
                    _print_problem(problem, root, console)
                continue
            shown = "; ".join(problem.what for problem in group[:_EXAMPLES])
            what = f"{len(group)} times, for example: {shown}; and {len(group) - _EXAMPLES} more"
            _print_problem(replace(group[0], what=what), root, console)
        console.print()


def print_import(imported: Imported, console: Console) -> None:
    """Print what was imported, and what was not recognised."""
    print_problems(imported.problems, imported.manifest.parent, console)
    splits = ", ".join(f"{split or 'no split'} {count}" for split, count in imported.splits.items() if count)
    layouts = ", ".join(dict.fromkeys(imported.layouts))
    console.print(Text(printable(f"{imported.dives} dives ({splits}) of {layouts}", console), style="bold"))


def dataset_json(check: DatasetCheck) -> str:
    """Return every problem and the figures as JSON."""
    content = {
        "format": _FORMAT,
        "path": str(check.path),
        "layout": check.layout,
        "clean": not check.problems,
        "problems": [asdict(problem) for problem in check.problems],
        "summary": asdict(check.summary),
    }
    return json.dumps(content, indent=2)


def _print_problem(problem: Problem, root: Path, console: Console) -> None:
    hint = f" ({problem.hint})" if problem.hint else ""
    text = Text(words(printable(f"{_relative(problem.where, root)}: {problem.what}{hint}", console), console))
    if console.is_terminal:
        console.print(Padding(text, (0, 0, 0, 2)), width=page_columns(console))
    else:
        console.print(text, soft_wrap=True)  # one line a problem, for grep


def _relative(where: str, root: Path) -> str:
    """Name a file as seen from the dataset's folder."""
    folder = root if root.is_dir() else root.parent
    for base in (folder, folder.resolve()):
        if Path(where).is_relative_to(base) and where != str(base):
            return str(Path(where).relative_to(base))
    return where


def _print_summary(check: DatasetCheck, console: Console) -> None:
    summary = check.summary
    facts = {
        "dataset": f"{check.path}, {check.layout}",
        "dives": f"{summary.dives} that can be read",
        "splits": _counts(summary.splits) + ("" if summary.splits_given else " (drawn; the dataset names none)"),
        "dive numbers": _numbers(summary.numbers),
        "heights": _counts({f"{height} m" if height else "unknown": n for height, n in summary.heights_m.items()}),
        "scores": f"{_of(summary.scored, summary)}{_spread(summary.scores)}",
        "judges' marks": _of(summary.judged, summary),
        "lengths": f"in frames{_spread(summary.frames)}" if summary.frames else "unknown",
        "masks": _of(summary.masked, summary),
        "transitions": f"flight {_of(summary.flights, summary)}, entry {_of(summary.entries, summary)}",
        "deductions": _of(summary.deductions, summary),
    }
    lines = Table.grid(padding=(0, 2))
    lines.add_column(style="dim", no_wrap=True)
    lines.add_column(overflow="fold")
    for name, value in facts.items():
        add_row(lines, name, words(printable(value, console), console))
    console.print(lines, width=page_columns(console))


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items()) or "none"


def _of(count: int, summary: DatasetSummary) -> str:
    return "all" if count == summary.dives and count else f"{count} of {summary.dives}" if count else "none"


def _numbers(numbers: Mapping[str, int]) -> str:
    named = {number or "unknown": count for number, count in numbers.items()}
    shown = dict(list(named.items())[:_MOST_NUMBERS])
    more = f", and {len(named) - len(shown)} more" if len(named) > len(shown) else ""
    return f"{len(numbers) - ('' in numbers)}: {_counts(shown)}{more}"


def _spread(spread: Quantiles | None) -> str:
    if spread is None:
        return ""
    values = (spread.least, spread.lower_quartile, spread.median, spread.upper_quartile, spread.most)
    least, lower, median, upper, most = (f"{round(value, 2):g}" for value in values)
    return f", {least} to {most}, half of them {lower} to {upper}, median {median}"


class CheckProgress(BarDisplay):
    """Progress bar on standard error while files are checked; hidden without a terminal."""

    def __init__(self) -> None:
        super().__init__()
        self._task: TaskID | None = None

    def start(self, dives: int) -> None:
        """Set the number of dives."""
        self._task = self._bar.add_task("checking dives", total=dives)

    def advance(self) -> None:
        """Count one dive."""
        if self._task is not None:
            self._bar.advance(self._task)


# Meaning and difficulty of a dive number, as text and JSON.

DIVE_SCHEMA_VERSION = 1
"""Raised whenever a reader of an older JSON could misread a newer one."""


def print_dive(dive: DiveNumber, height_m: float | None, console: Console) -> None:
    """Print what each symbol of a dive number means and its difficulty.

    Args:
        dive: The dive.
        height_m: Height in metres, or None for every height where the dive is listed.
        console: Where to print.

    Raises:
        UsageError: When no difficulty list exists for that height.
    """
    rows = _difficulty_rows(dive, height_m)
    console.print(Text.assemble((str(dive), "bold cyan"), "  ", words(describe_dive(dive), console)))
    for part in explain_dive(dive):
        meaning = words(part.meaning, console)
        console.print(Text.assemble((f"  {part.symbol:<2}", "cyan"), (f"  {part.name:<16}  ", "dim"), meaning))
    console.print(Text("difficulty", style="bold"))
    for row in rows:
        console.print(Text(f"  {row}"))
    counted = describe_competition(dive)
    if counted is not None:
        console.print(Text(counted), soft_wrap=True)


def dive_json(dive: DiveNumber, height_m: float | None) -> str:
    """Return the same as a JSON document; ``difficulty`` is a list of ``{height_m, apparatus, difficulty}``.

    ``competition`` says how the number was marked (dives, mean mark, quantiles, source); null if it was not counted.

    Args:
        dive: The dive.
        height_m: Height in metres, or None for every height where the dive is listed. A dive that is not listed
            at the height has difficulty null there.

    Raises:
        UsageError: When no difficulty list exists for that height.
    """
    document = {
        "schema_version": DIVE_SCHEMA_VERSION,
        "dive": str(dive),
        "description": describe_dive(dive),
        "group": dive.group,
        "flying": dive.flying,
        "armstand": dive.armstand,
        "direction": dive.direction,
        "half_somersaults": dive.half_somersaults,
        "half_twists": dive.half_twists,
        "position": dive.position,
        "parts": [{"symbol": part.symbol, "name": part.name, "meaning": part.meaning} for part in explain_dive(dive)],
        "difficulty": [
            {"height_m": height, "apparatus": apparatus(height), "difficulty": value}
            for height, value in _difficulties(dive, height_m).items()
        ],
        "competition": _competition(dive),
    }
    return json.dumps(document, ensure_ascii=False, indent=2, allow_nan=False)


def _competition(dive: DiveNumber) -> dict[str, Any] | None:
    counted = competition_marks(dive)
    if counted is None:
        return None
    central = counted.central()
    return {
        "dives": counted.dives,
        "mean_mark": counted.mean if counted.is_own_mean else None,
        "central_90": None if central is None else list(central),
        "mark_quantiles": None
        if counted.marks is None
        else {f"{share:g}": value for share, value in zip(counted.marks.shares, counted.marks.values, strict=True)},
        "source": competition_statistics().source,
    }


def _difficulties(dive: DiveNumber, height_m: float | None) -> dict[float, float] | dict[float, float | None]:
    return heights_for(dive) if height_m is None else {height_m: difficulty(dive, height_m)}


def _difficulty_rows(dive: DiveNumber, height_m: float | None) -> list[str]:
    difficulties = _difficulties(dive, height_m)
    if not difficulties:
        return ["not listed at any height: give --difficulty to score it"]
    return [
        f"{f'{height:g} m':<5}  {apparatus(height):<11}  "
        + ("not listed: give --difficulty to score it" if value is None else f"{value:.1f}")
        for height, value in difficulties.items()
    ]


# Exemplars of a bank.

_EXECUTION: Final = 4
"""Column of a table of exemplars that a page too narrow for whole names leaves out: it is score / difficulty."""


def print_exemplars(
    index: BankIndex, name: str, number: str | None, console: Console, judged: LeaveOneOut | None = None
) -> None:
    """Print one line per exemplar.

    Args:
        index: The bank.
        name: Its name.
        number: Only the exemplars of this dive number; None for all.
        console: Where to print.
        judged: What the others predict of each exemplar of one's own; None without any.
    """
    from finecausal_cli.report.score import difficulty_in_digits  # it reads athletes, which `dive` has no use for

    predicted = dict(zip(judged.ids, judged.after * judged.difficulties, strict=True)) if judged is not None else {}
    headings = ["exemplar", "dive", "height, m", "difficulty", "execution", "score", *["predicted"][: len(predicted)]]
    shown = [each for each in (*index.exemplars, *index.waiting) if number in (None, each.dive)]
    if not shown:
        what = "no exemplars" if number is None else f"no exemplar of {number}"
        console.print(f"{printable(name, console)}: {what}", soft_wrap=True)
        return
    rows = [
        [
            printable(exemplar.id, console),
            exemplar.dive or "-",
            "-" if exemplar.height_m is None else f"{exemplar.height_m:g}",
            difficulty_in_digits(exemplar.difficulty),
            f"{exemplar.execution:.2f}",
            f"{exemplar.score:.2f}",
            *([f"{predicted[exemplar.id]:.2f}" if exemplar.id in predicted else "-"] if predicted else []),
        ]
        for exemplar in shown
    ]
    narrow = [row[:_EXECUTION] + row[_EXECUTION + 1 :] for row in (headings, *rows)]
    if table_width([headings, *rows]) > page_columns(console) >= table_width(narrow):
        headings, *rows = narrow
    table = new_table(*headings)
    table.columns[0].no_wrap = True  # it is copied into other commands
    for row in rows:
        add_row(table, *row)
    print_table(table, console)
    if index.waiting:
        waiting = ", ".join(printable(exemplar.id, console) for exemplar in index.waiting)
        text = f"Not encoded by these weights, so not compared with: {waiting} (exemplars rebuild --bank {name})"
        console.print(text, soft_wrap=True)


def print_beside(index: BankIndex, name: str, number: str | None, console: Console) -> None:
    """Print that another bank has exemplars, too; nothing if it has none of the number."""
    count = sum(number in (None, each.dive) for each in (*index.exemplars, *index.waiting))
    if count:
        what = f"{count} more {'exemplar' if count == 1 else 'exemplars'} of your own: exemplars list --bank {name}"
        console.print(what, soft_wrap=True, style="dim")


def print_leave_one_out(judged: Sequence[LeaveOneOut], console: Console) -> None:
    """Print how well exemplars of one's own are predicted, each by the bank without itself; one line a bank."""
    if not judged:
        return
    caption = "Mean error of your own exemplars, points; each is predicted by the bank without itself."
    print_heading("Leave-one-out", caption, console)
    table = new_table("bank", "dives", "as it is", "calibrated", "90% interval, marks")
    for each in judged:
        interval = each.interval
        add_row(
            table,
            printable("+".join(each.parts), console),
            str(len(each)),
            f"{each.error_before:.2f}",
            f"{each.error_after:.2f}" if each.is_calibrated else "-",
            "-" if interval is None else words(f"± {interval.execution_half_width / COUNTING_MARKS:.2f}", console),
        )
    print_table(table, console)
    best = judged[-1]
    if best.in_words is not None:
        console.print(f"Calibration: {best.in_words}.", soft_wrap=True)
    for need, what in ((FEWEST, "a calibration"), (FEWEST_FOR_INTERVAL, "an interval")):
        if len(best) < need:
            console.print(f"For {what} {need} judged dives are needed; there are {len(best)}.", soft_wrap=True)


def print_added(row: JudgedRow, bank: OwnBank, console: Console) -> None:
    """Print that a judged dive is in a bank now."""
    score = "" if row.score is None else f", {row.dive}, {row.score:.2f} points"
    console.print(f"{row.outcome}: {printable(row.exemplar or '', console)}{score}, in {bank.name}", soft_wrap=True)
    if row.reason and not is_quiet():
        console.print(f"note: {printable(row.reason, console)}", soft_wrap=True)


def print_judged_rows(rows: Sequence[JudgedRow], name: str, console: Console) -> None:
    """Print what became of judged dives: a line for each that is not in the bank, and the counts."""
    for row in rows:
        if not row.is_in_bank:
            console.print(f"{row.outcome}: {printable(f'{row.source}: {row.reason}', console)}", soft_wrap=True)
    counts: dict[str, int] = defaultdict(int)
    for row in rows:
        counts[row.outcome] += 1
    summary = ", ".join(f"{count} {outcome}" for outcome, count in counts.items()) or "nothing to do"
    console.print(f"{name}: {summary}", soft_wrap=True)


def write_judged_rows(path: Path, rows: Sequence[JudgedRow]) -> None:
    """Write what became of judged dives as CSV.

    Raises:
        OutputError: The file cannot be written.
    """
    from finecausal_cli.scoring.judged_dives import JudgedRow  # imports torch, which `dive` has no use for

    with atomic_write(path, "the report") as part, part.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(field.name for field in fields(JudgedRow))
        writer.writerows(astuple(row) for row in rows)


def print_exemplar(exemplar: Exemplar, folder: Path, console: Console) -> None:
    """Print the fields of one exemplar."""
    from finecausal_cli.report.score import difficulty_in_digits

    facts = {
        "exemplar": exemplar.id,
        "dive": exemplar.dive or "-",
        "height": "-" if exemplar.height_m is None else f"{exemplar.height_m:g} m",
        "difficulty": difficulty_in_digits(exemplar.difficulty),
        "execution": f"{exemplar.execution:.2f}",
        "score": f"{exemplar.score:.2f}",
        **_clip_facts(exemplar.clip),
        "picture": "-" if exemplar.thumbnail is None else str(folder / exemplar.thumbnail),
        "origin": exemplar.origin or "-",
    }
    for name, value in facts.items():
        console.print(f"{name:<11} {printable(value, console)}", soft_wrap=True)


def _clip_facts(clip: JudgedClip | None) -> dict[str, str]:
    """Return what is known of the video of an exemplar of one's own."""
    if clip is None:
        return {}
    part = [f"{name} {value:g} s" for name, value in (("from", clip.start_s), ("to", clip.end_s)) if value is not None]
    flight = (("take-off", clip.takeoff_s), ("entry", clip.entry_s))
    facts = {
        "video": " ".join((clip.path, *part)),
        "flight": ", ".join(f"{name} {time:.2f} s" for name, time in flight if time is not None),
        "marks": " ".join(f"{mark:g}" for mark in clip.judges),
        "diver": clip.diver or "",
        "date": clip.date or "",
    }
    return {name: value for name, value in facts.items() if value}


# Weights.

_MIB = 2**20


def print_weights_list(bundled: Mapping[str, Manifest], console: Console) -> None:
    """Print one line for each set of bundled weights."""
    table = new_table("weights", "preset", "features", "picture", "trained on")
    for name, manifest in bundled.items():
        note = str(manifest.info.get("note", "-"))
        config = manifest.model
        add_row(
            table,
            printable(name, console),
            config.preset,
            str(config.features),
            f"{config.frame_size} px",
            printable(note, console),
        )
    print_table(table, console)


def print_weights(folder: Path, manifest: Manifest, console: Console) -> None:
    """Print network, size, digest and provenance of weights."""
    info = WeightsInfo.read(manifest.info, folder)
    size = sum((folder / name).stat().st_size for name in manifest.shards if (folder / name).exists())
    interval = info.interval
    facts = {
        "folder": str(folder),
        "size": f"{size / _MIB:.1f} MiB in {len(manifest.shards)} shards",
        "digest": manifest.digest,
        "network": _describe(manifest.model),
        "note": info.note,
        "trained on": info.trained_on,
        "interval": "none"
        if interval is None
        else f"execution +/- {interval.execution_half_width:.2f} at {interval.level:.0%}",
        **{key: str(value) for key, value in info.training.items()},
    }
    _print_facts(facts, console)


def print_recognition(recognition: ClassifierMetrics, console: Console) -> None:
    """Print the accuracy of dive-number recognition."""
    console.print(
        f"{recognition.dives} validation dives: {recognition.top1:.1%} recognised (top 1), "
        f"{recognition.top3:.1%} among the three likeliest; mean confidence {recognition.confidence:.1%}",
        soft_wrap=True,
    )


def print_verified(folder: Path, loaded: LoadedWeights, console: Console) -> None:
    """Print that weights passed verification."""
    parameters = sum(parameter.numel() for parameter in loaded.model.parameters())
    facts = {
        "folder": str(folder),
        "digest": loaded.digest,
        "network": _describe(loaded.config),
        "result": f"complete: {len(loaded.model.state_dict())} tensors, {parameters:,} parameters, all finite",
    }
    _print_facts(facts, console)


def _describe(config: ModelConfig) -> str:
    parts = [
        f"{config.preset}, {config.features} features, {config.frame_size} x {config.frame_size} pixels",
        "one backbone" if config.shared_trunk else "two backbones",
        "static branch" if config.static_branch else "",
        f"graph attention reads out {config.readout}" if config.gat else "no graph attention",
        f"causal attention: {config.tca_mode}" if config.tca else "no causal attention",
        "recognises dive numbers" if config.recognises else "",
    ]
    return ", ".join(part for part in parts if part)


def _print_facts(facts: Mapping[str, str], console: Console) -> None:
    width = max(map(len, facts))
    for name, value in facts.items():
        console.print(f"{printable(name, console):<{width}} {printable(value, console)}", soft_wrap=True)
