"""Evaluate weights on a dataset's test dives."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from finecausal_cli.data.cache import ClipCache
from finecausal_cli.data.open import read_dataset
from finecausal_cli.data.splits import assign_splits
from finecausal_cli.errors import DatasetError
from finecausal_cli.evaluation.predict import Prediction, Summary, bank_of, mean_execution, predict, summarise
from finecausal_cli.exemplars.encode import encode_dives
from finecausal_cli.weights.info import WeightsInfo
from finecausal_cli.weights.store import load_weights
from finecausal_cli.whole_file import whole_file

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import torch

    from finecausal_cli.exemplars.bank import Bank

METRICS_NAME = "metrics.json"
PREDICTIONS_NAME = "predictions.csv"


@dataclass(frozen=True)
class Evaluation:
    """The outcome of an evaluation.

    Attributes:
        summary: The metrics.
        predictions: One a test dive.
        coverage: Share of dives whose true score lies in the stated interval; None if the weights state none.
        interval_level: The stated share.
        interval_width: Mean width of the interval, points.
    """

    summary: Summary
    predictions: tuple[Prediction, ...]
    coverage: float | None
    interval_level: float | None
    interval_width: float | None


def evaluate(
    dataset: Path,
    weights: Path,
    *,
    cache: Path,
    device: torch.device,
    bank: Callable[[str], Bank] | None = None,
    split: str = "test",
    voters: int = 10,
    seed: int = 0,
    start: Callable[[int], object] = lambda total: None,  # noqa: ARG005
    advance: Callable[[], object] = lambda: None,
) -> Evaluation:
    """Score the dives of one split and measure.

    Args:
        dataset: A manifest or its folder.
        weights: Folder of weights.
        cache: Folder of decoded clips.
        device: Where to compute.
        bank: Gives the exemplars for a digest of weights; by default they are the dataset's own training dives.
        split: ``test``, ``val`` or ``all``.
        voters: Most exemplars a dive.
        seed: Seed of the voters' order.
        start: Called once with the number of dives to encode.
        advance: Called after each encoded dive.

    Raises:
        DatasetError: The split holds fewer than two dives, or there are no training dives to compare with.
    """
    loaded = load_weights(weights, device=device)
    model = loaded.model.eval()
    clips = ClipCache(cache, geometry=model.config.geometry, frame_size=model.config.frame_size)
    dives = assign_splits([dive for dive in read_dataset(dataset) if dive.score is not None])
    held_out = [dive for dive in dives if split in ("all", dive.split)]
    training = [dive for dive in dives if dive.split == "train"] if split != "all" else []
    if len(held_out) < 2:
        raise DatasetError(f"{len(held_out)} dives with a score in split {split!r}", where=dataset, hint="two or more")
    if bank is None and not training:
        raise DatasetError("no training dives to compare with", where=dataset, hint="use --exemplars bank")
    start(len(held_out) + (len(training) if bank is None else 0))
    if bank is None:
        exemplars = bank_of(
            encode_dives(model, training, clips, advance=advance),
            name=dataset.resolve().name,
            weights_digest=loaded.digest,
        )
    else:
        exemplars = bank(loaded.digest)
    queries = encode_dives(model, held_out, clips, foreground=True, advance=advance)
    judged = [(dive.number, dive.execution) for dive in training]
    baseline = mean_execution(judged or [(one.dive, one.execution) for one in exemplars.exemplars])
    predictions = predict(model, queries, exemplars, baseline=baseline, voters=voters, seed=seed)
    interval = WeightsInfo.read(loaded.info, weights).interval
    covered = width = level = None
    if interval is not None:
        half, level = interval.execution_half_width, interval.level
        inside = [abs(one.predicted - one.score) <= half * one.difficulty for one in predictions]
        covered = sum(inside) / len(inside)
        width = sum(2 * half * one.difficulty for one in predictions) / len(predictions)
    return Evaluation(summarise(predictions, queries.foreground), tuple(predictions), covered, level, width)


def metrics(evaluation: Evaluation) -> dict[str, float | int | None]:
    """Return every figure of an evaluation by name."""
    return {
        **evaluation.summary.figures(),
        "coverage": evaluation.coverage,
        "interval_level": evaluation.interval_level,
        "interval_width": evaluation.interval_width,
    }


def write_evaluation(folder: Path, evaluation: Evaluation) -> None:
    """Write ``metrics.json`` and ``predictions.csv``.

    Raises:
        OutputError: The folder cannot be written.
    """
    with whole_file(folder / METRICS_NAME, "the metrics") as part:
        part.write_text(json.dumps(metrics(evaluation), indent=1) + "\n", encoding="utf-8")
    with whole_file(folder / PREDICTIONS_NAME, "the predictions") as part:
        part.write_text(_csv(evaluation.predictions), encoding="utf-8")


def _csv(predictions: Sequence[Prediction]) -> str:
    text = io.StringIO()
    columns = list(Prediction.__slots__)
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*columns[: columns.index("transitions")], "flight_start", "entry_start", "temporal_iou", "voters"])
    for one in predictions:
        writer.writerow(
            [
                one.key,
                one.number,
                one.score,
                one.predicted,
                one.baseline,
                one.difficulty,
                *one.transitions,
                one.temporal_iou,
                one.voters,
            ]
        )
    return text.getvalue()
