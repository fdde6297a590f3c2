"""The figures of an evaluation: files for a paper, and drawings for a page that follow its light or dark."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure

from finecausal_cli.evaluation.groups import group_by_number, is_covered
from finecausal_cli.report.drawing import BLUE, INK, STYLE, VERMILION, draw_for_page, plain, save_figures

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from matplotlib.axes import Axes

    from finecausal_cli.evaluation.outcome import Evaluation
    from finecausal_cli.evaluation.predict import Prediction

_WIDTH_IN = 4.8
_LINE_IN = 0.2
_MARGIN_IN = 1.1
_BARS = 40


def write_figures(folder: Path, evaluation: Evaluation) -> None:
    """Write every figure as PNG and as SVG.

    Raises:
        OutputError: The folder cannot be written.
    """
    with rc_context(STYLE):
        save_figures(folder, _figures(evaluation))


def draw_figures(evaluation: Evaluation) -> dict[str, str]:
    """Return every figure as an SVG element for a page, by name; ink takes the colour of the text around it."""
    with rc_context(STYLE):
        return draw_for_page(_figures(evaluation))


def _figures(evaluation: Evaluation) -> dict[str, Figure]:
    drawn = {
        "scores": _scores(evaluation),
        "transition-errors": _transition_errors(evaluation),
        "residuals-by-number": _residuals(evaluation),
    }
    return {name: figure for name, figure in drawn.items() if figure is not None}


def _scores(evaluation: Evaluation) -> Figure:
    """Predicted against true score, with the stated interval of every dive."""
    figure, axes = _axes(_WIDTH_IN * 0.95)
    half_width = evaluation.interval_half_width
    inside = [one for one in evaluation.predictions if half_width is None or is_covered(one, half_width)]
    outside = [one for one in evaluation.predictions if half_width is not None and not is_covered(one, half_width)]
    words = "dives" if half_width is None else f"inside the {evaluation.interval_level:.0%} interval"
    for dives, colour, marker, label in (
        (inside, BLUE, "o", words),
        (outside, VERMILION, "x", "outside"),
    ):
        if not dives:
            continue
        true, predicted = _scores_of(dives)
        if half_width is not None:
            reach = [half_width * one.difficulty for one in dives]
            axes.vlines(true, np.subtract(predicted, reach), np.add(predicted, reach), color=colour, alpha=0.2, lw=1)
        axes.scatter(
            true, predicted, s=14, color=colour, marker=marker, alpha=0.8, lw=1, label=f"{label} ({len(dives)})"
        )
    ends = [min(axes.get_xlim()[0], axes.get_ylim()[0]), max(axes.get_xlim()[1], axes.get_ylim()[1])]
    axes.plot(ends, ends, color=INK, lw=0.8, ls=":", zorder=0)
    axes.set(xlabel="true score", ylabel="predicted score", xlim=ends, ylim=ends)
    axes.set_aspect("equal")
    axes.legend(loc="upper left", handletextpad=0.2)
    return figure


def _residuals(evaluation: Evaluation) -> Figure:
    """Predicted minus true score of every dive, by dive number; the bar is the mean."""
    groups = group_by_number(evaluation.predictions)
    figure, axes = _axes(_MARGIN_IN + _LINE_IN * max(len(groups), 4))
    for place, group in enumerate(groups):
        dives = [one for one in evaluation.predictions if (one.number or "unknown") == group.name]
        errors = [one.predicted - one.score for one in dives]
        axes.scatter(errors, np.full(len(errors), place), s=9, color=BLUE, alpha=0.6, lw=0)
        axes.plot([group.bias, group.bias], [place - 0.35, place + 0.35], color=VERMILION, lw=2)
    axes.axvline(0, color=INK, lw=0.8, ls=":", zorder=0)
    axes.set_yticks(range(len(groups)), [plain(f"{group.name} ({group.dives})") for group in groups], fontsize=9)
    axes.set(xlabel="predicted minus true score, points (bar: mean)", ylim=(len(groups) - 0.4, -0.6))
    return figure


def _transition_errors(evaluation: Evaluation) -> Figure | None:
    """Predicted minus true sampled frame of both transitions; None if no dive has true ones."""
    known = [(one.transitions, one.true_transitions) for one in evaluation.predictions if one.true_transitions]
    if not known:
        return None
    errors = np.array([np.subtract(predicted, true) for predicted, true in known])
    reach = max(3, int(np.abs(errors).max()))
    step = max(1, (2 * reach + 1) // _BARS)
    edges = np.arange(-reach - 0.5, reach + 0.5 + step, step)
    figure = Figure(figsize=(_WIDTH_IN, 3.8), layout="constrained")
    axes_of = figure.subplots(2, 1, sharex=True, sharey=True)
    for axes, column, name, colour in zip(
        axes_of, (0, 1), ("flight begins", "entry begins"), (BLUE, VERMILION), strict=True
    ):
        axes.hist(errors[:, column], bins=edges, color=colour, alpha=0.85)
        axes.axvline(0, color=INK, lw=0.8, ls=":")
        mean = float(np.abs(errors[:, column]).mean())
        axes.set_title(f"{name}: mean error {mean:.1f} frames", fontsize=10, loc="left")
        axes.set_ylabel("dives")
        axes.yaxis.get_major_locator().set_params(integer=True)
    axes_of[1].set_xlabel("predicted minus true, sampled frames of 96")
    return figure


def _axes(height_in: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(_WIDTH_IN, height_in), layout="constrained")
    return figure, figure.subplots()


def _scores_of(dives: Sequence[Prediction]) -> tuple[list[float], list[float]]:
    return [one.score for one in dives], [one.predicted for one in dives]
