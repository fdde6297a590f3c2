"""Show an evaluation: its progress, its tables, its JSON."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from rich.text import Text

from finecausal_cli.evaluation.files import describe_evaluation
from finecausal_cli.evaluation.groups import group_by_difficulty, group_by_number
from finecausal_cli.report import evaluation_rows as rows
from finecausal_cli.report.layout import add_row, new_table, page_columns, print_section, print_table
from finecausal_cli.report.progress import BarDisplay
from finecausal_cli.report.terminal import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from finecausal_cli.evaluation.outcome import Evaluation

BY_NUMBER = "number"


class EvaluationProgress(BarDisplay):
    """A bar over the dives to encode, on standard error."""

    def __init__(self) -> None:
        super().__init__()
        self._task = self._bar.add_task("encoding dives", total=None)

    def name(self, name: str) -> None:
        """Say which weights come next."""
        self._bar.update(self._task, description=f"encoding dives: {printable(name, self._bar.console)}")

    def start(self, total: int) -> None:
        """Say how many dives there are."""
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
    print_section("Held-out dives", rows.setting_sentence(evaluation), console)
    _print_rows(rows.FIGURE_HEADINGS, rows.figure_rows(evaluation), console)
    if last is not None:
        print_section("Best and last epoch", rows.EPOCHS_SAY, console)
        _print_rows(rows.EPOCH_HEADINGS, rows.epoch_rows(evaluation, last), console)
    if evaluation.shifted is not None:
        print_section("Shift", rows.SHIFT_SAY, console)
        _print_rows(rows.SHIFT_HEADINGS, rows.shift_rows(evaluation), console)
    if evaluation.others:
        print_section("Choices of voters", rows.PROTOCOLS_SAY, console)
        _print_rows(rows.PROTOCOL_HEADINGS, rows.protocol_rows(evaluation), console)
    if by is not None:
        group = group_by_number if by == BY_NUMBER else group_by_difficulty
        groups = group(evaluation.predictions, evaluation.interval_half_width)
        print_section(f"By {'dive number' if by == BY_NUMBER else by}", rows.GROUPS_SAY, console)
        _print_rows((by, *rows.GROUP_HEADINGS), [rows.group_row(one) for one in groups], console)
    print_caveats(evaluation.caveats, console)


def evaluation_json(evaluation: Evaluation, *, last: Evaluation | None = None) -> str:
    """Return everything that was found as JSON, every prediction included."""
    document = describe_evaluation(evaluation, predictions=True)
    if last is not None:
        document["last_epoch"] = describe_evaluation(last, predictions=True)
    return json.dumps(document, indent=2, allow_nan=False)


def print_caveats(caveats: Sequence[str], console: Console) -> None:
    """Print what a reader of the figures should know."""
    for caveat in caveats:
        console.print()
        console.print(Text(f"note: {printable(caveat, console)}", style="yellow"), width=page_columns(console))


def _print_rows(headings: rows.Row, cells: Sequence[rows.Row], console: Console) -> None:
    table = new_table(*headings)
    for row in cells:
        add_row(table, *(printable(cell, console) for cell in row))
    print_table(table, console)
