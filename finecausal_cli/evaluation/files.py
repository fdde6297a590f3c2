"""An evaluation as JSON and as a table of predictions."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from finecausal_cli.evaluation.groups import group_by_difficulty, group_by_number
from finecausal_cli.evaluation.run import metrics
from finecausal_cli.whole_file import whole_file

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from finecausal_cli.evaluation.outcome import Evaluation, Outcome
    from finecausal_cli.evaluation.predict import Prediction

METRICS_NAME = "metrics.json"
PREDICTIONS_NAME = "predictions.csv"

SCHEMA_VERSION = 1
"""Raised whenever a reader of an older document could misread a newer one."""


def describe_evaluation(evaluation: Evaluation, *, predictions: bool = False) -> dict[str, Any]:
    """Return everything that an evaluation found, ready for JSON: no NaN.

    Args:
        evaluation: What to describe.
        predictions: Include the prediction of every dive.
    """
    half_width = evaluation.interval_half_width
    document: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "setting": asdict(evaluation.setting),
        "protocol": asdict(evaluation.main.protocol),
        "figures": metrics(evaluation),
        "recognised": evaluation.main.recognised,
        "interval": None
        if half_width is None
        else {"level": evaluation.interval_level, "execution_half_width": half_width},
        "shifted": None if evaluation.shifted is None else _outcome(evaluation.shifted),
        "other_protocols": [_outcome(outcome) for outcome in evaluation.others],
        "by_number": [group.figures() for group in group_by_number(evaluation.predictions, half_width)],
        "by_difficulty": [group.figures() for group in group_by_difficulty(evaluation.predictions, half_width)],
        "caveats": list(evaluation.caveats),
    }
    if predictions:
        document["predictions"] = [prediction_row(one, half_width) for one in evaluation.predictions]
    return document


def prediction_row(one: Prediction, half_width: float | None) -> dict[str, str | float | int | None]:
    """Return what is known of one prediction by column.

    Args:
        one: The prediction.
        half_width: Half-width of the stated interval in execution units; None if there is none.
    """
    reach = None if half_width is None else half_width * one.difficulty
    true_flight, true_entry = one.true_transitions or (None, None)
    return {
        "key": one.key,
        "number": one.number,
        "score": one.score,
        "predicted": one.predicted,
        "baseline": one.baseline,
        "difficulty": one.difficulty,
        "interval_low": None if reach is None else one.predicted - reach,
        "interval_high": None if reach is None else one.predicted + reach,
        "flight_start": one.transitions[0],
        "entry_start": one.transitions[1],
        "true_flight_start": true_flight,
        "true_entry_start": true_entry,
        "temporal_iou": one.temporal_iou,
        "reference_temporal_iou": one.reference_iou,
        "voters": one.voters,
        "recognised": one.recognised,
    }


def write_evaluation(folder: Path, evaluation: Evaluation) -> None:
    """Write ``metrics.json`` and ``predictions.csv``.

    Raises:
        OutputError: The folder cannot be written.
    """
    write_json(folder / METRICS_NAME, describe_evaluation(evaluation))
    with whole_file(folder / PREDICTIONS_NAME, "the predictions") as part:
        part.write_text(_csv(evaluation.predictions, evaluation.interval_half_width), encoding="utf-8")


def write_json(path: Path, document: dict[str, Any]) -> None:
    """Write figures as JSON, whole or not at all.

    Raises:
        OutputError: The file cannot be written.
    """
    with whole_file(path, "the metrics") as part:
        part.write_text(json.dumps(document, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def _outcome(outcome: Outcome) -> dict[str, Any]:
    return {
        "protocol": asdict(outcome.protocol),
        "figures": {**outcome.summary.figures(), "coverage": outcome.coverage},
        "recognised": outcome.recognised,
    }


def _csv(predictions: Sequence[Prediction], half_width: float | None) -> str:
    text = io.StringIO()
    rows = [prediction_row(one, half_width) for one in predictions]
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
