"""Hand an evaluation over: on the screen, as JSON, and as a folder of files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from finecausal_cli.evaluation.ablation import describe_ablation
from finecausal_cli.evaluation.files import write_evaluation, write_json
from finecausal_cli.report import drawing
from finecausal_cli.report.evaluation import evaluation_json, print_evaluation
from finecausal_cli.report.evaluation_ablation import ablation_json, print_ablation
from finecausal_cli.report.evaluation_page import evaluation_page
from finecausal_cli.report.progress import working
from finecausal_cli.report.terminal import open_console
from finecausal_cli.whole_file import whole_file

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from finecausal_cli.evaluation.ablation import VariantResult
    from finecausal_cli.evaluation.outcome import Evaluation

PAGE_NAME = "report.html"
FIGURES_NAME = "figures"
ABLATION_NAME = "ablation.json"
LAST_NAME = "last-epoch"


def require_figures() -> None:
    """Refuse to begin what would end without its figures.

    Raises:
        UsageError: matplotlib is not installed.
    """
    drawing.require_figures("add --no-figures")


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
    if output_format == "json":
        console.file.write(evaluation_json(best, last=last) + "\n")
    else:
        print_evaluation(best, console, by=by, last=last)
    if output is not None:
        with working("writing the report"):
            _write_files(output, best, last, figures=figures)


def deliver_ablation(results: Sequence[VariantResult], output_format: str, output: Path | None) -> None:
    """Print an ablation, then write its files: everything in one JSON, and the predictions of every network.

    Raises:
        OutputError: A file cannot be written.
    """
    console = open_console()
    if output_format == "json":
        console.file.write(ablation_json(results) + "\n")
    else:
        print_ablation(results, console)
    if output is not None:
        write_json(output / ABLATION_NAME, describe_ablation(results))
        for result in results:
            for evaluation in result.evaluations:
                write_evaluation(output / evaluation.setting.weights, evaluation)


def _write_files(folder: Path, best: Evaluation, last: Evaluation | None, *, figures: bool) -> None:
    write_evaluation(folder, best)
    if last is not None:
        write_evaluation(folder / LAST_NAME, last)
    drawings: dict[str, str] = {}
    if figures:
        from finecausal_cli.report.evaluation_figures import draw_figures, write_figures

        write_figures(folder / FIGURES_NAME, best)
        drawings = draw_figures(best)
    with whole_file(folder / PAGE_NAME, "the report") as part:
        part.write_text(evaluation_page(best, drawings, last=last), encoding="utf-8")
