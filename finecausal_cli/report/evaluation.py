"""Training and evaluation in the terminal."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from rich.filesize import decimal
from rich.text import Text

from finecausal_cli.evaluation.ablation import PAPER, describe_ablation
from finecausal_cli.evaluation.predict import group_by_difficulty, group_by_number
from finecausal_cli.evaluation.run import coverage_interval, describe_evaluation
from finecausal_cli.report.console import (
    BarDisplay,
    Row,
    Section,
    add_row,
    new_table,
    page_columns,
    print_heading,
    print_section,
    print_table,
    printable,
    signed,
    words,
)
from finecausal_cli.retrieval.calibration import FEWEST_FOR_INTERVAL
from finecausal_cli.training.motion_snippets import SEEN
from finecausal_cli.training.trainer import Callbacks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console
    from rich.table import Table

    from finecausal_cli.data.cache import CacheSize
    from finecausal_cli.evaluation.ablation import VariantResult
    from finecausal_cli.evaluation.predict import ErrorSummary, Group
    from finecausal_cli.evaluation.run import Evaluation, Outcome
    from finecausal_cli.training.checkpoint import Progress
    from finecausal_cli.training.motion_pretraining import ValidationMetrics


# Sections of an evaluation, shared by terminal and page.

_GROUP_HEADINGS: Row = ("dives", "rho", "R-l2", "mean error", "bias", "tIoU", "inside")

BY_NUMBER = "number"

BASELINES = (("DD", "difficulty"), ("number", "number"), ("train", "baseline"))
"""Name of each baseline, and how its metrics in `ErrorSummary` begin."""

_NO_BASELINE = ("",) * len(BASELINES)

_MAIN = (
    ("Spearman's rho", "rho", 4),
    ("R-l2 (x100)", "relative_l2", 4),
    ("mean error, points", "mean_absolute_error", 2),
    ("AIoU@0.5", "aiou_50", 4),
    ("AIoU@0.75", "aiou_75", 4),
    ("foreground IoU", "foreground_iou", 4),
)
"""Name, attribute of `Summary` and digits of the metrics that compare two evaluations."""

SHIFT_CAPTION = (
    "The same dives with venue, light and audience drawn anew, whatever the quality. A model that scores the dive and "
    "not the venue loses nothing."
)


def figure(value: float | None, digits: int = 4) -> str:
    """Format a metric; ``-`` where it is unknown or undefined."""
    return "-" if value is None or value != value else f"{value:.{digits}f}"


def share(value: float | None) -> str:
    """Format a share in percent."""
    return "-" if value is None else f"{value:.1%}"


def setting_sentence(evaluation: Evaluation) -> str:
    """Describe dives, exemplars and baseline in words."""
    setting, protocol = evaluation.setting, evaluation.main.protocol
    whom = "training dives" if setting.exemplars == "train" else "exemplars of the weights' bank"
    chosen = "of the same number" if protocol.dive_given else "chosen without the dive number"
    exemplars = f"up to {protocol.voters} {whom}" if protocol.voters > 1 else f"one of the {whom}"
    return (
        f"{evaluation.summary.dives} dives (split: {setting.split}), each against {exemplars} {chosen}. "
        "Baselines: the difficulty times the mean mark of all dives in competition (DD), of the dive number there "
        "(number), of its training dives (train)."
    )


def metrics_section(evaluation: Evaluation) -> Section:
    """Every metric of the main outcome, beside those of the baseline."""
    summary = evaluation.summary
    is_enough = summary.dives >= FEWEST_FOR_INTERVAL
    rows: list[Row] = [
        (
            "Spearman's rho",
            figure(summary.rho),
            _span(summary.rho_low, summary.rho_high) if is_enough else "",
            *_baselines(summary, "rho", 4),
        ),
        (
            "R-l2 (x100)",
            figure(summary.relative_l2),
            _span(summary.relative_l2_low, summary.relative_l2_high) if is_enough else "",
            *_baselines(summary, "relative_l2", 4),
        ),
        (
            "mean error, points",
            figure(summary.mean_absolute_error, 2),
            "",
            *_baselines(summary, "mean_absolute_error", 2),
        ),
        ("AIoU@0.5", figure(summary.aiou_50), _span(summary.aiou_50_low, summary.aiou_50_high), *_NO_BASELINE),
        ("AIoU@0.75", figure(summary.aiou_75), _span(summary.aiou_75_low, summary.aiou_75_high), *_NO_BASELINE),
        ("  0.5, reference protocol", figure(summary.reference_aiou_50), "", *_NO_BASELINE),
        ("  0.75, reference protocol", figure(summary.reference_aiou_75), "", *_NO_BASELINE),
        ("foreground IoU", figure(summary.foreground_iou), "", *_NO_BASELINE),
        ("foreground F1", figure(summary.foreground_f1), "", *_NO_BASELINE),
    ]
    low, high = coverage_interval(evaluation)
    if low is not None and high is not None:
        reach = f"{low:.1%} .. {high:.1%}"
        rows.append(
            (f"inside the {evaluation.interval_level:.0%} interval", share(evaluation.coverage), reach, *_NO_BASELINE)
        )
        rows.append(("  its mean width, points", figure(evaluation.interval_width, 1), "", *_NO_BASELINE))
    if evaluation.main.recognised is not None:
        rows.append(("dive number recognised", share(evaluation.main.recognised), "", *_NO_BASELINE))
    columns = ("", "model", "95% interval", *(name for name, _ in BASELINES))
    return Section("Held-out dives", setting_sentence(evaluation), columns, rows)


def _baselines(summary: ErrorSummary, metric: str, digits: int) -> list[str]:
    return [figure(getattr(summary, f"{prefix}_{metric}"), digits) for _, prefix in BASELINES]


def epochs_section(best: Evaluation, last: Evaluation) -> Section:
    """The main metrics of a run's best and last epoch."""
    return Section(
        "Best and last epoch",
        "The best epoch was chosen on the validation dives, never on the test dives.",
        ("", "best", "last"),
        [
            (name, *(figure(getattr(evaluation.summary, attribute), digits) for evaluation in (best, last)))
            for name, attribute, digits in _MAIN
        ],
    )


def shift_section(evaluation: Evaluation, shifted: Outcome) -> Section:
    """Metrics of the same dives with other venues, light and audience."""
    rows: list[Row] = []
    for name, attribute, digits in _MAIN:
        here, there = getattr(evaluation.summary, attribute), getattr(shifted.summary, attribute)
        both = figure(here, digits), figure(there, digits)
        rows.append((name, *both, "-" if "-" in both else signed(there - here, digits)))
    return Section("Shift", SHIFT_CAPTION, ("", "original", "shifted", "change"), rows)


def protocols_section(evaluation: Evaluation) -> Section:
    """Metrics of each way to choose exemplars."""
    rows = [
        (
            str(outcome.protocol.voters),
            "given" if outcome.protocol.dive_given else "open",
            figure(outcome.summary.rho),
            figure(outcome.summary.relative_l2),
            figure(outcome.summary.mean_absolute_error, 2),
            figure(outcome.summary.aiou_75),
            share(outcome.coverage),
            share(outcome.recognised),
        )
        for outcome in (evaluation.main, *evaluation.others)
    ]
    return Section(
        "Choices of exemplars",
        "Exemplars: at most. Number given: they share the dive's number; open: the number that the weights recognise, "
        "or the nearest by encoding. Recognised: share of dives whose number is recognised correctly. Error: mean "
        "absolute, points.",
        ("exemplars", "number", "rho", "R-l2", "error", "AIoU@0.75", "inside", "recognised"),
        rows,
    )


def groups_section(evaluation: Evaluation, by: str) -> Section:
    """The metrics by dive ``number`` or by ``difficulty``."""
    group = group_by_number if by == BY_NUMBER else group_by_difficulty
    return Section(
        f"By {'dive number' if by == BY_NUMBER else by}",
        "R-l2 is relative to the range of all test scores. Bias: predicted minus true score, points; above 0 the model "
        "scores too high. Inside: share of dives inside the stated interval.",
        (by, *_GROUP_HEADINGS),
        [_group_row(row) for row in group(evaluation.predictions, evaluation.interval_half_width)],
    )


def evaluation_sections(evaluation: Evaluation, *, last: Evaluation | None, by: Sequence[str]) -> list[Section]:
    """Return every section, in reading order.

    Args:
        evaluation: What to show.
        last: The same run's last epoch, to be compared with its best.
        by: Also group by dive ``number``, by ``difficulty``.
    """
    return [
        metrics_section(evaluation),
        *([] if last is None else [epochs_section(evaluation, last)]),
        *([] if evaluation.shifted is None else [shift_section(evaluation, evaluation.shifted)]),
        *([protocols_section(evaluation)] if evaluation.others else []),
        *(groups_section(evaluation, name) for name in by),
    ]


def _group_row(group: Group) -> Row:
    return (
        group.name,
        str(group.dives),
        figure(group.rho, 3),
        figure(group.relative_l2, 3),
        figure(group.mean_absolute_error, 2),
        signed(group.bias),
        figure(group.temporal_iou, 3),
        share(group.coverage),
    )


def _span(low: float | None, high: float | None) -> str:
    """Format an interval; empty where it is unknown or undefined."""
    return "" if low is None or high is None or low != low else f"{low:.3f} .. {high:.3f}"


# Progress, tables and JSON of an evaluation.


class EvaluationProgress(BarDisplay):
    """Progress bar over the dives to encode, on standard error."""

    def __init__(self) -> None:
        super().__init__()
        self._task = self._bar.add_task("encoding dives", total=None)

    def name(self, name: str) -> None:
        """Set the name of the current weights."""
        self._bar.update(self._task, description=f"encoding dives: {printable(name, self._bar.console)}")

    def start(self, total: int) -> None:
        """Set the number of dives."""
        self._bar.reset(self._task, total=total)

    def advance(self) -> None:
        """Count one dive."""
        self._bar.advance(self._task)


def print_evaluation(
    evaluation: Evaluation, console: Console, *, by: str | None = None, last: Evaluation | None = None
) -> None:
    """Print the metrics of the model beside those of the baseline.

    Args:
        evaluation: What to print.
        console: Where to print.
        by: Also print a table by dive ``number`` or by ``difficulty``.
        last: The same run's last epoch, to be compared with its best.
    """
    for section in evaluation_sections(evaluation, last=last, by=() if by is None else (by,)):
        print_section(section, console)
    print_caveats(evaluation.caveats, console)


def evaluation_json(evaluation: Evaluation, *, last: Evaluation | None = None) -> str:
    """Return the evaluation with every prediction as JSON."""
    document = describe_evaluation(evaluation, predictions=True)
    if last is not None:
        document["last_epoch"] = describe_evaluation(last, predictions=True)
    return json.dumps(document, indent=2, allow_nan=False)


def print_caveats(caveats: Sequence[str], console: Console) -> None:
    """Print the caveats of an evaluation."""
    for caveat in caveats:
        console.print()
        console.print(Text(f"note: {printable(caveat, console)}", style="yellow"), width=page_columns(console))


# An ablation in the layout of the paper's Table 2, with the paper's figures below.

_FIGURES = ("rho", "relative_l2", "reference_aiou_50", "reference_aiou_75")
_BASELINE_ROWS = (("difficulty", "difficulty"), ("number", "x number's mark"), ("baseline", "mean per number"))


def print_ablation(results: Sequence[VariantResult], console: Console) -> None:
    """Print every variant: the mean over its seeds, their standard deviation, and the paper's row."""
    first = results[0].evaluations[0]
    print_heading(
        "With and without the causal modules",
        f"{first.summary.dives} dives of {first.setting.dataset}. R-l2 times 100; AIoU in the reference protocol. "
        "The paper's rows (Han et al. 2025, Table 2; its row without both modules is FineParser) are of FineDiving-HM, "
        "another data set: they show the order of the variants there, not a target here.",
        console,
    )
    table = new_table("network", "GAT", "TCA", "seeds", "rho", "R-l2", "AIoU@0.5", "AIoU@0.75")
    for result in results:
        _add_variant(table, result, console)
    for name, words_of_it in _BASELINE_ROWS:
        metrics = (getattr(first.summary, f"{name}_{metric}") for metric in ("rho", "relative_l2"))
        add_row(table, words_of_it, "", "", "", *map(figure, metrics), "", "")
    print_table(table, console)
    if first.shifted is not None:
        _print_shift(results, console)
    notes = dict.fromkeys(
        note for result in results for evaluation in result.evaluations for note in evaluation.caveats
    )
    print_caveats(tuple(notes), console)


def ablation_json(results: Sequence[VariantResult]) -> str:
    """Return the ablation as JSON."""
    return json.dumps(describe_ablation(results), indent=2, allow_nan=False)


def _print_shift(results: Sequence[VariantResult], console: Console) -> None:
    rows: list[Row] = []
    for result in results:
        cells: list[str] = []
        for name, sign in (("rho", -1), ("relative_l2", 1)):
            here, there = result.spread(name), result.spread(name, shifted=True)
            cells += [figure(here.mean if here else None), figure(there.mean if there else None)]
            cells.append(signed(sign * (there.mean - here.mean), 4) if here and there else "-")
        rows.append((result.variant.name, *cells))
    headings = ("network", "rho", "shifted", "drop", "R-l2", "shifted", "change")
    caption = f"{SHIFT_CAPTION} Means over seeds; drop: what rho loses."
    print_section(Section("Shift", caption, headings, rows), console)


def _add_variant(table: Table, result: VariantResult, console: Console) -> None:
    variant = result.variant
    spreads = [result.spread(name) for name in _FIGURES]
    add_row(
        table,
        variant.name,
        "yes" if variant.gat else "-",
        "yes" if variant.tca else "-",
        str(len(result.evaluations)),
        *(figure(spread.mean if spread else None) for spread in spreads),
    )
    if len(result.evaluations) > 1:
        cells = [figure(spread.deviation if spread else None) for spread in spreads]
        add_row(table, words("  ± over seeds", console), "", "", "", *cells)
    published = PAPER[variant]
    cells = [figure(getattr(published, name)) for name in _FIGURES]
    add_row(table, *(Text(cell, style="dim") for cell in ("  paper", "", "", "", *cells)))


# Progress of a training run on standard error: a bar on a terminal, lines in a log.

_LINE_EVERY = 50
"""Steps between lines of a log."""

_SMOOTHING = 0.95
"""Share of the running mean that the shown losses keep at each step."""


class TrainingDisplay(BarDisplay):
    """A context that draws a run; give its ``callbacks`` to the run.

    Args:
        quiet: Show nothing; for all processes of a run but the first.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        super().__init__(quiet=quiet)
        self._decoding = self._bar.add_task("reading clips", total=None)
        self._steps = self._bar.add_task("training", total=None, visible=False)
        self._smooth: dict[str, float] = {}
        self.callbacks = Callbacks(
            data=self._data,
            decoded=self._decoded,
            cached=self._cached,
            step=self._step,
            waited=self._waited,
            validated=self._validated,
        )

    def _data(self, train: int, val: int, steps: int) -> None:
        self._console.print(f"{train} training dives, {val} validation dives, {steps} steps")
        self._bar.update(self._decoding, total=train + val)
        self._bar.update(self._steps, total=steps)

    def _decoded(self) -> None:
        self._bar.advance(self._decoding)

    def _step(self, progress: Progress, losses: dict[str, float]) -> None:
        self._bar.update(self._decoding, visible=False)
        for name, loss in losses.items():
            self._smooth[name] = _SMOOTHING * self._smooth.get(name, loss) + (1 - _SMOOTHING) * loss
        shown = f"epoch {progress.epoch + 1}  regression {self._smooth['regression']:.3f}"
        self._bar.update(self._steps, completed=progress.step, description=shown, visible=True)
        if not self._console.is_terminal and progress.step % _LINE_EVERY == 0:
            losses_shown = "  ".join(f"{name} {loss:.4f}" for name, loss in self._smooth.items())
            self._console.print(f"epoch {progress.epoch + 1}  step {progress.step}  {losses_shown}", soft_wrap=True)

    def _cached(self, size: CacheSize) -> None:
        self._console.print(f"clip cache: {size.clips} clips, {decimal(size.bytes)}")

    def _waited(self, share: float) -> None:
        self._console.print(f"waited for data {share:.0%} of the epoch")

    def _validated(self, summary: ErrorSummary) -> None:
        self._console.print(
            f"validation: rho {summary.rho:.4f}  R-l2 {summary.relative_l2:.3f}  "
            f"AIoU@0.5 {_share(summary.aiou_50)}  AIoU@0.75 {_share(summary.aiou_75)}",
            soft_wrap=True,
        )
        self._console.print(
            f"  mean per number: rho {summary.baseline_rho:.4f}  R-l2 {summary.baseline_relative_l2:.3f}; "
            f"difficulty: rho {figure(summary.difficulty_rho)}  R-l2 {figure(summary.difficulty_relative_l2, 3)}; "
            f"x number's mark: rho {figure(summary.number_rho)}  R-l2 {figure(summary.number_relative_l2, 3)}",
            soft_wrap=True,
        )


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


# Progress of pretraining on standard error.

_UNITS = ("_deg", "_s")


class PretrainingDisplay(BarDisplay):
    """A context that draws a pretraining; give its ``callbacks`` to it."""

    def __init__(self) -> None:
        super().__init__()
        self._reading = self._bar.add_task("reading clips", total=None)
        self._steps = self._bar.add_task("pretraining", total=None, visible=False)
        self.callbacks = Callbacks(data=self._data, decoded=self._decoded, step=self._step, validated=self._validated)

    def _data(self, train: int, val: int, steps: int) -> None:
        self._console.print(f"{train} training dives, {val} validation dives, {steps} steps")
        self._bar.update(self._reading, total=train + val)
        self._bar.update(self._steps, total=steps)

    def _decoded(self) -> None:
        self._bar.advance(self._reading)

    def _step(self, progress: Progress, losses: dict[str, float]) -> None:
        self._bar.update(self._reading, visible=False)
        shown = f"pretraining  loss {losses['total']:.2f}"
        self._bar.update(self._steps, completed=progress.step, visible=True, description=shown)
        if not self._console.is_terminal and progress.step % _LINE_EVERY == 0:
            losses_shown = "  ".join(f"{name} {loss:.3f}" for name, loss in losses.items())
            self._console.print(f"step {progress.step}  {losses_shown}", soft_wrap=True)

    def _validated(self, metrics: ValidationMetrics) -> None:
        self._console.print(
            f"validation: stage recognised {metrics.stage:.1%}  foreground IoU {metrics.foreground_iou:.3f}",
            soft_wrap=True,
        )
        self._console.print("  correlation with the judged quantities:")
        for stretch in dict.fromkeys(SEEN.values()):
            text = "  ".join(
                f"{_label(name)} {'-' if r is None else f'{r:.2f}'}"
                for name, r in metrics.seen.items()
                if SEEN[name] == stretch
            )
            self._console.print(f"  {stretch:<8} {text}", soft_wrap=True)


def _label(name: str) -> str:
    for unit in _UNITS:
        name = name.removesuffix(unit)
    return name.replace("_", " ")
