"""An evaluation as one page that needs nothing else: no network, no script, light and dark, screen and paper."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from markupsafe import Markup

from finecausal_cli.evaluation.groups import group_by_difficulty, group_by_number, is_covered
from finecausal_cli.report import evaluation_rows as rows
from finecausal_cli.report.page import render_page
from finecausal_cli.report.rounding import signed
from finecausal_cli.version import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping

    from finecausal_cli.evaluation.outcome import Evaluation
    from finecausal_cli.evaluation.predict import Prediction

_TEMPLATE = "evaluation_page.html"
_FARTHEST = 20
_FARTHEST_HEADINGS: rows.Row = ("dive", "number", "difficulty", "true", "predicted", "error", "inside", "tIoU")

_CAPTIONS: Final = {
    "scores": "Predicted against true score. Each thin line is the stated interval of a dive; on the dotted line the "
    "prediction is right.",
    "residuals-by-number": "How far the prediction of each dive is off, by dive number (dives). Right of the dotted "
    "line the model is too kind.",
    "transition-errors": "How far the predicted beginnings of flight and entry are off, in sampled frames.",
}


def evaluation_page(evaluation: Evaluation, drawings: Mapping[str, str], *, last: Evaluation | None = None) -> str:
    """Return the page. Everything from outside is escaped.

    Args:
        evaluation: What to show.
        drawings: SVG elements by name, made by ``draw_figures``; the page shows them as they are.
        last: The same run's last epoch, to be compared with its best.
    """
    half_width = evaluation.interval_half_width
    by_difficulty = group_by_difficulty(evaluation.predictions, half_width)
    by_number = group_by_number(evaluation.predictions, half_width)
    tables = [
        ("Figures", "", rows.FIGURE_HEADINGS, rows.figure_rows(evaluation)),
        (
            "Best and last epoch",
            rows.EPOCHS_SAY,
            rows.EPOCH_HEADINGS,
            [] if last is None else rows.epoch_rows(evaluation, last),
        ),
        ("Shift", rows.SHIFT_SAY, rows.SHIFT_HEADINGS, rows.shift_rows(evaluation)),
        ("Choices of voters", rows.PROTOCOLS_SAY, rows.PROTOCOL_HEADINGS, rows.protocol_rows(evaluation)),
        (
            "By difficulty",
            rows.GROUPS_SAY,
            ("difficulty", *rows.GROUP_HEADINGS),
            [rows.group_row(group) for group in by_difficulty],
        ),
        ("By dive number", "", ("number", *rows.GROUP_HEADINGS), [rows.group_row(group) for group in by_number]),
        (
            "Farthest off",
            f"The {_FARTHEST} dives with the largest error; predictions.csv has them all.",
            _FARTHEST_HEADINGS,
            _farthest(evaluation),
        ),
    ]
    return render_page(
        _TEMPLATE,
        version=__version__,
        setting=evaluation.setting,
        sentence=rows.setting_sentence(evaluation),
        caveats=evaluation.caveats,
        cards=_cards(evaluation),
        tables=[table for table in tables if table[3]],
        drawings=[
            (name, Markup(svg), _CAPTIONS[name])  # noqa: S704 - our own drawing, its words escaped by matplotlib
            for name, svg in drawings.items()
        ],
    )


def _cards(evaluation: Evaluation) -> list[rows.Row]:
    """Return the figures that come first: name, value, what to hold it against."""
    one = evaluation.summary
    cards: list[rows.Row] = [
        ("Spearman's rho", rows.figure(one.rho), f"baseline {rows.figure(one.baseline_rho)}"),
        ("R-l2 (x100)", rows.figure(one.relative_l2), f"baseline {rows.figure(one.baseline_relative_l2)}"),
        (
            "mean error",
            rows.figure(one.mean_absolute_error, 2),
            f"points; baseline {rows.figure(one.baseline_mean_absolute_error, 2)}",
        ),
    ]
    if one.aiou_75 is not None:
        cards.append(("AIoU@0.75", rows.figure(one.aiou_75), f"AIoU@0.5 {rows.figure(one.aiou_50)}"))
    if evaluation.interval_level is not None:
        cards.append(
            ("inside the interval", rows.share(evaluation.coverage), f"stated {evaluation.interval_level:.0%}")
        )
    return cards


def _farthest(evaluation: Evaluation) -> list[rows.Row]:
    by_error = sorted(evaluation.predictions, key=lambda one: (-abs(one.predicted - one.score), one.key))
    return [_dive(one, evaluation.interval_half_width) for one in by_error[:_FARTHEST]]


def _dive(one: Prediction, half_width: float | None) -> rows.Row:
    inside = "-" if half_width is None else "yes" if is_covered(one, half_width) else "no"
    return (
        one.key,
        one.number or "-",
        f"{one.difficulty:g}",
        f"{one.score:.2f}",
        f"{one.predicted:.2f}",
        signed(one.predicted - one.score),
        inside,
        rows.figure(one.temporal_iou, 3),
    )
