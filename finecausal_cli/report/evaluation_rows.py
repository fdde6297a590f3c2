"""The rows of an evaluation's tables as text, the same on a terminal and on a page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from finecausal_cli.evaluation.run import coverage_interval
from finecausal_cli.report.rounding import signed

if TYPE_CHECKING:
    from finecausal_cli.evaluation.groups import Group
    from finecausal_cli.evaluation.outcome import Evaluation

Row = tuple[str, ...]

FIGURE_HEADINGS: Row = ("", "model", "95% interval", "baseline")
EPOCH_HEADINGS: Row = ("", "best", "last")
PROTOCOL_HEADINGS: Row = ("voters", "number", "rho", "R-l2", "error", "AIoU@0.75", "inside", "recognised")
SHIFT_HEADINGS: Row = ("", "these pictures", "shifted", "change")
GROUP_HEADINGS: Row = ("dives", "rho", "R-l2", "mean error", "bias", "tIoU", "inside")

_MAIN = (
    ("Spearman's rho", "rho", 4),
    ("R-l2 (x100)", "relative_l2", 4),
    ("mean error, points", "mean_absolute_error", 2),
    ("AIoU@0.5", "aiou_50", 4),
    ("AIoU@0.75", "aiou_75", 4),
    ("foreground IoU", "foreground_iou", 4),
)
"""Name, attribute of `Summary` and digits of the figures that two evaluations are compared by."""

EPOCHS_SAY = "The best epoch was chosen on the validation dives, never on the test dives."
PROTOCOLS_SAY = (
    "So many voters at most. They share the dive's number where it is given; where it is open, the number that the "
    "weights recognise, or they are the nearest by encoding. 'recognised' is the share of dives where that is right. "
    "Error: mean, points."
)
SHIFT_SAY = (
    "The same dives with venue, light and audience drawn anew, whatever the quality. A model that scores the dive and "
    "not the place loses nothing."
)
GROUPS_SAY = (
    "R-l2 is relative to the range of all test scores. Bias: predicted minus true score, points; above 0 the model is "
    "too kind. Inside: share of dives inside the stated interval."
)


def figure(value: float | None, digits: int = 4) -> str:
    """Return a figure as the tables show it: ``-`` for one that is not known or not defined."""
    return "-" if value is None or value != value else f"{value:.{digits}f}"


def share(value: float | None) -> str:
    """Return a share in per cent."""
    return "-" if value is None else f"{value:.1%}"


def setting_sentence(evaluation: Evaluation) -> str:
    """Return in words what was compared with what."""
    setting, protocol = evaluation.setting, evaluation.main.protocol
    whom = "training dives" if setting.exemplars == "train" else "exemplars of the weights' bank"
    chosen = "of the same number" if protocol.dive_given else "chosen without being told the dive number"
    exemplars = f"up to {protocol.voters} {whom}" if protocol.voters > 1 else f"one of the {whom}"
    return (
        f"{evaluation.summary.dives} dives (split: {setting.split}), each against {exemplars} {chosen}. "
        "The baseline is the mean execution of each dive number, times the difficulty."
    )


def figure_rows(evaluation: Evaluation) -> list[Row]:
    """Return every figure of the main outcome, below `FIGURE_HEADINGS`."""
    one = evaluation.summary
    rows: list[Row] = [
        ("Spearman's rho", figure(one.rho), _span(one.rho_low, one.rho_high), figure(one.baseline_rho)),
        (
            "R-l2 (x100)",
            figure(one.relative_l2),
            _span(one.relative_l2_low, one.relative_l2_high),
            figure(one.baseline_relative_l2),
        ),
        ("mean error, points", figure(one.mean_absolute_error, 2), "", figure(one.baseline_mean_absolute_error, 2)),
        ("AIoU@0.5", figure(one.aiou_50), _span(one.aiou_50_low, one.aiou_50_high), ""),
        ("AIoU@0.75", figure(one.aiou_75), _span(one.aiou_75_low, one.aiou_75_high), ""),
        ("  0.5, reference protocol", figure(one.reference_aiou_50), "", ""),
        ("  0.75, reference protocol", figure(one.reference_aiou_75), "", ""),
        ("foreground IoU", figure(one.foreground_iou), "", ""),
        ("foreground F1", figure(one.foreground_f1), "", ""),
    ]
    low, high = coverage_interval(evaluation)
    if low is not None and high is not None:
        reach = f"{low:.1%} .. {high:.1%}"
        rows.append((f"inside the {evaluation.interval_level:.0%} interval", share(evaluation.coverage), reach, ""))
        rows.append(("  its mean width, points", figure(evaluation.interval_width, 1), "", ""))
    if evaluation.main.recognised is not None:
        rows.append(("dive number recognised", share(evaluation.main.recognised), "", ""))
    return rows


def epoch_rows(best: Evaluation, last: Evaluation) -> list[Row]:
    """Return the main figures of two epochs, below `EPOCH_HEADINGS`."""
    return [
        (name, *(figure(getattr(one.summary, attribute), digits) for one in (best, last)))
        for name, attribute, digits in _MAIN
    ]


def shift_rows(evaluation: Evaluation) -> list[Row]:
    """Return what other pictures of the same dives cost, below `SHIFT_HEADINGS`; empty if nobody measured it."""
    if evaluation.shifted is None:
        return []
    rows: list[Row] = []
    for name, attribute, digits in _MAIN:
        here, there = getattr(evaluation.summary, attribute), getattr(evaluation.shifted.summary, attribute)
        both = figure(here, digits), figure(there, digits)
        rows.append((name, *both, "-" if "-" in both else signed(there - here, digits)))
    return rows


def protocol_rows(evaluation: Evaluation) -> list[Row]:
    """Return what every way of choosing voters gives, below `PROTOCOL_HEADINGS`; empty if only one was measured."""
    if not evaluation.others:
        return []
    return [
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


def group_row(group: Group) -> Row:
    """Return the name and the figures of a group; its figures stand below `GROUP_HEADINGS`."""
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
    """Return an interval; empty for one that is not known or not defined."""
    return "" if low is None or high is None or low != low else f"{low:.3f} .. {high:.3f}"
