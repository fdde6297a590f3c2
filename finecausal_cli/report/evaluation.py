"""Show an evaluation: its progress, its table, its JSON."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from finecausal_cli.evaluation.run import metrics
from finecausal_cli.report.layout import add_row, new_table, print_section, print_table
from finecausal_cli.report.progress import error_console, progress_bar

if TYPE_CHECKING:
    from types import TracebackType

    from rich.console import Console

    from finecausal_cli.evaluation.run import Evaluation


class EvaluationProgress:
    """A bar over the dives to encode, on standard error."""

    def __init__(self) -> None:
        self._bar = progress_bar(error_console())
        self._task = self._bar.add_task("encoding dives", total=None)

    def __enter__(self) -> EvaluationProgress:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def start(self, total: int) -> None:
        """Say how many dives there are."""
        self._bar.update(self._task, total=total)

    def advance(self) -> None:
        """Count one dive."""
        self._bar.advance(self._task)


def print_evaluation(evaluation: Evaluation, console: Console) -> None:
    """Print the metrics of the model beside those of the baseline."""
    summary = evaluation.summary
    print_section(
        "Held-out dives",
        f"{summary.dives} dives. The baseline is the mean execution of each dive number, times the difficulty.",
        console,
    )
    table = new_table("", "model", "baseline")
    add_row(table, "Spearman's rho", f"{summary.rho:.4f}", f"{summary.baseline_rho:.4f}")
    add_row(table, "  95% interval", f"{summary.rho_low:.3f} .. {summary.rho_high:.3f}", "")
    add_row(table, "R-l2 (x100)", f"{summary.relative_l2:.4f}", f"{summary.baseline_relative_l2:.4f}")
    for name, value in (
        ("AIoU@0.5", summary.aiou_50),
        ("AIoU@0.75", summary.aiou_75),
        ("foreground IoU", summary.foreground_iou),
    ):
        add_row(table, name, "-" if value is None else f"{value:.4f}", "")
    if evaluation.coverage is not None and evaluation.interval_level is not None:
        add_row(table, f"covered by the {evaluation.interval_level:.0%} interval", f"{evaluation.coverage:.1%}", "")
        add_row(table, "  its mean width, points", f"{evaluation.interval_width:.1f}", "")
    print_table(table, console)


def evaluation_json(evaluation: Evaluation) -> str:
    """Return the metrics as JSON."""
    return json.dumps(metrics(evaluation), indent=2)
