"""Figures, drawn with matplotlib."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from matplotlib import rc_context
from matplotlib.colors import LinearSegmentedColormap, TwoSlopeNorm
from matplotlib.figure import Figure

from finecausal_cli.evaluation.predict import group_by_number, is_covered
from finecausal_cli.report.console import STAGE_WORDS, hundredths_that_add_up, signed
from finecausal_cli.report.explanation import REPLACED_BY, shown_change, which_attention
from finecausal_cli.report.output import BLUE, INK, STYLE, VERMILION, draw_for_page, plain, save_figures
from finecausal_cli.report.overlay import FRAMES_OF_STAGE, STAGE_COLOURS, KeyFrameStrip, key_frames
from finecausal_cli.report.score import exemplars_in_words
from finecausal_cli.scoring.results import NODE_TYPES

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from matplotlib.axes import Axes

    from finecausal_cli.evaluation.predict import Prediction
    from finecausal_cli.evaluation.run import Evaluation
    from finecausal_cli.scoring.background import Evidence
    from finecausal_cli.scoring.results import Assessment, Explanation, GraphAttention, Replacement, StageAttention


# Figures of an evaluation: PNG and SVG files, and SVG elements of a page.

_WIDTH_IN = 4.8
_LINE_IN = 0.2
_MARGIN_IN = 1.1
_BARS = 40


def write_evaluation_figures(folder: Path, evaluation: Evaluation) -> None:
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
    inside: list[Prediction] = []
    outside: list[Prediction] = []
    for dive in evaluation.predictions:
        (inside if half_width is None or is_covered(dive, half_width) else outside).append(dive)
    name = "dives" if half_width is None else f"inside the {evaluation.interval_level:.0%} interval"
    for dives, colour, marker, label in (
        (inside, BLUE, "o", name),
        (outside, VERMILION, "x", "outside"),
    ):
        if not dives:
            continue
        true, predicted = [dive.score for dive in dives], [dive.predicted for dive in dives]
        if half_width is not None:
            reach = [half_width * dive.difficulty for dive in dives]
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
    for row, group in enumerate(groups):
        dives = [dive for dive in evaluation.predictions if (dive.number or "unknown") == group.name]
        errors = [dive.predicted - dive.score for dive in dives]
        axes.scatter(errors, np.full(len(errors), row), s=9, color=BLUE, alpha=0.6, lw=0)
        axes.plot([group.bias, group.bias], [row - 0.35, row + 0.35], color=VERMILION, lw=2)
    axes.axvline(0, color=INK, lw=0.8, ls=":", zorder=0)
    axes.set_yticks(range(len(groups)), [plain(f"{group.name} ({group.dives})") for group in groups], fontsize=9)
    axes.set(xlabel="predicted minus true score, points (bar: mean)", ylim=(len(groups) - 0.4, -0.6))
    return figure


def _transition_errors(evaluation: Evaluation) -> Figure | None:
    """Predicted minus true sampled frame of both transitions; None if no dive has true ones."""
    known = [(dive.transitions, dive.true_transitions) for dive in evaluation.predictions if dive.true_transitions]
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


# Figures of an explanation.

_HATCHES: Final[dict[Replacement, str | None]] = {"exemplar": None, "bank_mean": "///", "bank_best": "..."}

_TILE_IN = 1.5
_PERCENT = 100.0
_SNIPPETS = 9
_FAINT: Final = "#8a949e"
_LEAST_REACH = 1e-6

_NOTHING: Final = "#c8ccd1"
_BELOW_ABOVE = LinearSegmentedColormap.from_list("below-above", [VERMILION, "#ffffff", BLUE]).with_extremes(
    bad=_NOTHING
)
_SHARE = LinearSegmentedColormap.from_list("share", ["#ffffff", BLUE]).with_extremes(bad=_NOTHING)


def write_explanation_figures(folder: Path, explanation: Explanation, evidence: Evidence) -> list[Path]:
    """Write every figure as PNG and as SVG.

    Returns:
        The files: ``filmstrip``, ``contributions``, ``interventions``, and ``graph-attention`` and
        ``stage-attention`` where the network has them.

    Raises:
        OutputError: The folder cannot be written.
    """
    with rc_context(STYLE):
        figures = {
            "filmstrip": _filmstrip([KeyFrameStrip.of(explanation.assessment, evidence)]),
            **_charts(explanation),
        }
        return save_figures(folder, figures)


def write_side_by_side(folder: Path, strips: Sequence[KeyFrameStrip]) -> list[Path]:
    """Write the key frames of two dives, aligned by stage, as ``side-by-side.png`` and ``.svg``.

    Raises:
        OutputError: The folder cannot be written.
    """
    with rc_context(STYLE):
        return save_figures(folder, {"side-by-side": _filmstrip(strips)})


def draw_charts(explanation: Explanation) -> dict[str, str]:
    """Return every figure but the filmstrip as an SVG element for a page, by name."""
    with rc_context(STYLE):
        return draw_for_page(_charts(explanation))


def _charts(explanation: Explanation) -> dict[str, Figure]:
    drawn = {
        "contributions": _contributions(explanation.assessment),
        "interventions": _interventions(explanation),
    }
    if explanation.graph_attention is not None:
        drawn["graph-attention"] = _graph_attention(explanation.graph_attention)
    if explanation.stage_attention is not None:
        drawn["stage-attention"] = _stage_attention(explanation.stage_attention, explanation.assessment)
    return drawn


def _filmstrip(strips: Sequence[KeyFrameStrip]) -> Figure:
    """Key frames, a line a stage and dive; the frame around a picture has the colour of its stage."""
    frames_of_dives = [key_frames(strip) for strip in strips]
    lines = [(stage, index, frames[stage]) for stage in STAGE_COLOURS for index, frames in enumerate(frames_of_dives)]
    figure = Figure(
        figsize=(_TILE_IN * FRAMES_OF_STAGE + 0.4, (_TILE_IN + 0.25) * len(lines) + 0.4), layout="constrained"
    )
    grid = figure.subplots(len(lines), FRAMES_OF_STAGE, squeeze=False)
    for line, (stage, index, frames) in zip(grid, lines, strict=True):
        for axes in line:
            axes.set(xticks=[], yticks=[])
            for spine in axes.spines.values():
                spine.set(visible=True, color=STAGE_COLOURS[stage], linewidth=3)
        for axes, frame in zip(line, frames, strict=False):
            axes.imshow(frame.picture)
            axes.set_xlabel(f"{frame.time_s:.2f} s", fontsize=9, labelpad=3)
        if not frames:
            line[0].set_xlabel("no frame", fontsize=9)
        name = STAGE_WORDS[stage] if len(strips) == 1 else f"{STAGE_WORDS[stage]}, {'AB'[index]}"
        line[0].set_ylabel(name, fontsize=10, fontweight="bold")
    names = [strip.name for strip in strips]
    title = names[0] if len(names) == 1 else "\n".join(f"{'AB'[index]}: {name}" for index, name in enumerate(names))
    figure.suptitle(plain(_printable(title)), fontsize=10)
    return figure


def _contributions(assessment: Assessment) -> Figure:
    """A waterfall from the exemplars' score to the dive's."""
    values = (assessment.exemplar_value, *assessment.stage_values)
    start, *shown = hundredths_that_add_up(values, assessment.value)
    figure = Figure(figsize=(_WIDTH_IN, 2.5), layout="constrained")
    axes = figure.subplots()
    levels = [start, *(start + sum(shown[: row + 1]) for row in range(len(shown)))]
    low, high = min(levels), max(levels)
    reach = max(high - low, 1.0)
    for row, value in enumerate(shown, 1):
        axes.barh(row, value, left=levels[row - 1], height=0.55, color=_colour(value))
        _label(axes, max(levels[row - 1], levels[row]), row, signed(value), reach)
        axes.plot([levels[row]] * 2, [row - 0.28, row + 1.28], color=_FAINT, lw=0.8)
    axes.plot([start] * 2, [-0.28, 1.28], color=_FAINT, lw=0.8)
    for row, level in ((0, levels[0]), (len(levels), levels[-1])):
        axes.plot([level] * 2, [row - 0.28, row + 0.28], color=INK, lw=3)
        _label(axes, level, row, f"{level:.2f}", reach)
    stages = [STAGE_WORDS[stage.name] for stage in assessment.stages]
    names = [_printable(exemplars_in_words(assessment)), *stages, assessment.value_name]
    axes.set_yticks(range(len(names)), [plain(_shortened(name)) for name in names])
    axes.set(xlabel=assessment.unit, ylim=(len(names) - 0.5, -0.5), xlim=(low - 0.08 * reach, high + 0.25 * reach))
    return figure


def _interventions(explanation: Explanation) -> Figure:
    """Change of the score with each stage replaced; the band shows the effect of shifted stage borders."""
    stages = [stage.name for stage in explanation.assessment.stages if not stage.is_empty]
    kinds = [ranking.replaced_by for ranking in explanation.rankings]
    change = {
        (item.stage, item.replaced_by): shown_change(explanation, item.score)
        for item in explanation.interventions
        if item.stage in stages
    }
    figure = Figure(figsize=(_WIDTH_IN, 1.1 + 0.4 * len(stages) * len(kinds)), layout="constrained")
    axes = figure.subplots()
    jitter = explanation.checks.jitter
    reach = max(*(abs(value) for value in change.values()), jitter.largest, _LEAST_REACH)
    height = 0.8 / len(kinds)
    axes.axvspan(
        -jitter.largest,
        jitter.largest,
        color=_FAINT,
        alpha=0.25,
        lw=0,
        label=f"borders moved by {jitter.frames} frames (±{jitter.largest:.2f})",
    )
    for group, kind in enumerate(kinds):
        for row, stage in enumerate(stages):
            value = change[stage, kind]
            y = row - 0.4 + height * (group + 0.5)
            axes.barh(
                y,
                value,
                height=0.85 * height,
                color=_colour(value),
                alpha=1.0 if kind == "exemplar" else 0.55,
                hatch=_HATCHES[kind],
                edgecolor="white" if kind == "exemplar" else INK,
                lw=0,
            )
            _label(axes, max(value, 0.0), y, signed(value), reach)
    axes.axvline(0, color=INK, lw=0.8)
    for kind in kinds:
        axes.bar(0, 0, color=_FAINT, hatch=_HATCHES[kind], edgecolor=INK, lw=0, label=REPLACED_BY[kind])
    axes.set_yticks(range(len(stages)), [STAGE_WORDS[stage] for stage in stages])
    low = min(0.0, -jitter.largest, *change.values())
    high = max(0.0, jitter.largest, *change.values())
    axes.set(
        xlabel=f"change of the {explanation.assessment.value_name}, {explanation.unit}",
        ylim=(len(stages) - 0.5, -0.5),
        xlim=(low - 0.1 * reach, high + 0.3 * reach),
    )
    figure.legend(loc="outside lower left", ncols=1, fontsize=8)
    return figure


def _graph_attention(graph: GraphAttention) -> Figure:
    """Attention between the 36 nodes relative to no preference, and its mean over the 4 x 4 kinds of node."""
    figure = Figure(figsize=(_WIDTH_IN, 4.9), layout="constrained")
    axes = figure.subplots()
    cells = _PERCENT * np.array(graph.nodes, dtype=float)
    np.fill_diagonal(cells, np.nan)
    uniform = _PERCENT * graph.uniform
    most = max(float(np.nanmax(cells)), 2 * uniform)
    image = axes.imshow(cells, cmap=_BELOW_ABOVE, norm=TwoSlopeNorm(uniform, 0, most))
    for border in range(_SNIPPETS, len(cells), _SNIPPETS):
        axes.axhline(border - 0.5, color=INK, lw=0.8)
        axes.axvline(border - 0.5, color=INK, lw=0.8)
    middles = [_SNIPPETS * kind + (_SNIPPETS - 1) / 2 for kind in range(len(NODE_TYPES))]
    names = [name.replace("_", "\n") for name in NODE_TYPES]
    axes.set_xticks(middles, names)
    axes.set_yticks(middles, names, rotation=90, va="center", multialignment="center")
    axes.tick_params(length=0)
    axes.set(xlabel="attends (nine snippets each, 0 to 8)", ylabel="is attended to")
    for kind_from, row in enumerate(graph.node_types):
        for kind_to, cell in enumerate(row):
            axes.text(
                middles[kind_to],
                middles[kind_from],
                f"{_PERCENT * cell:.2f}",
                ha="center",
                va="center",
                fontsize=9,
                color="black",
                bbox={"boxstyle": "round,pad=0.2", "facecolor": "white", "alpha": 0.75, "linewidth": 0},
            )
    bar = figure.colorbar(image, ax=axes, location="bottom", shrink=0.8, aspect=35, pad=0.02)
    bar.set_ticks([0, uniform, most], labels=["0", f"{uniform:.2f}", f"{most:.1f}"])
    bar.ax.minorticks_off()
    bar.set_label(f"attention, percent; no preference {uniform:.2f}\n{which_attention(graph)}", fontsize=9)
    return figure


def _stage_attention(attention: StageAttention, assessment: Assessment) -> Figure:
    """3 x 3 for each layer and head: a stage sees itself and earlier ones."""
    names = [STAGE_WORDS[stage.name] for stage in assessment.stages]
    layers, heads = len(attention.matrices), len(attention.matrices[0])
    figure = Figure(figsize=(_WIDTH_IN, 0.4 + 2.3 * heads), layout="constrained")
    grid = figure.subplots(heads, layers, squeeze=False)
    for column, layer in enumerate(attention.matrices):
        for head, matrix in enumerate(layer):
            axes = grid[head][column]
            cells = _PERCENT * np.array(matrix, dtype=float)
            ahead = np.triu(np.ones_like(cells, dtype=bool), 1) & (cells == 0)
            axes.imshow(np.ma.masked_where(ahead, cells), cmap=_SHARE, vmin=0, vmax=_PERCENT)
            for row, column in zip(*np.nonzero(~ahead), strict=True):
                axes.text(column, row, f"{cells[row, column]:.0f}", ha="center", va="center", color="black")
            axes.set_xticks(range(len(names)), names)
            axes.set_yticks(range(len(names)), names if column == 0 else [])
            axes.tick_params(length=0)
            title = f"layer {column + 1}" if heads == 1 else f"layer {column + 1}, head {head + 1}"
            axes.set_title(title, fontsize=10)
    figure.supxlabel("attends to, percent of the row", fontsize=10)
    return figure


def _label(axes: Axes, x: float, y: float, words: str, reach: float) -> None:
    axes.text(x + 0.02 * reach, y, words, ha="left", va="center", fontsize=9)


def _colour(value: float) -> str:
    return BLUE if value >= 0 else VERMILION


def _printable(text: str) -> str:
    """Replace characters that a font cannot draw."""
    return "".join(char if char.isprintable() or char == "\n" else "?" for char in text)


def _shortened(name: str, most: int = 26) -> str:
    return name if len(name) <= most else f"...{name[3 - most :]}"
