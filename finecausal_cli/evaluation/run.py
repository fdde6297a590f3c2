"""Evaluate weights on a dataset."""

from __future__ import annotations

import csv
import io
import json
import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finecausal_cli.atomic import atomic_write
from finecausal_cli.data.datasets import assign_splits, read_dataset, split_by_event
from finecausal_cli.device import resolve_device
from finecausal_cli.errors import DatasetError, WeightsError
from finecausal_cli.evaluation import EvaluateOptions
from finecausal_cli.evaluation.predict import (
    bank_of,
    group_by_difficulty,
    group_by_number,
    is_covered,
    mean_execution,
    predict,
    share_interval,
    summarise,
)
from finecausal_cli.retrieval.bank import encode_dives, load_bank
from finecausal_cli.scoring.tracks import inputs_for
from finecausal_cli.weights import CONFIG_NAME, WeightsInfo
from finecausal_cli.weights.hub import bank_folder, resolve_weights
from finecausal_cli.weights.store import load_weights

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import torch

    from finecausal_cli.data import Dive
    from finecausal_cli.evaluation.predict import ErrorSummary, Prediction
    from finecausal_cli.retrieval.bank import Bank, EncodedDives
    from finecausal_cli.weights import StoredInterval


@dataclass(frozen=True, slots=True)
class Protocol:
    """How the exemplars of a dive are chosen.

    Attributes:
        voters: Most exemplars per dive.
        dive_given: Whether they are chosen by the dive number.
    """

    voters: int = 10
    dive_given: bool = True


PROTOCOLS = (Protocol(10), Protocol(1), Protocol(10, dive_given=False), Protocol(1, dive_given=False))
"""Protocols to compare: many exemplars or one, with the dive number or without."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """Result of one protocol on one set of dives.

    Attributes:
        protocol: How exemplars were chosen.
        summary: The metrics.
        predictions: One per test dive.
        coverage: Share of dives whose true score lies in the stated interval; None if the weights state none.
        recognised: Share of the dives with a known number whose number was recognised; None if it was given.
    """

    protocol: Protocol
    summary: ErrorSummary
    predictions: tuple[Prediction, ...]
    coverage: float | None
    recognised: float | None


@dataclass(frozen=True, slots=True)
class EvaluationSettings:
    """What was evaluated.

    Attributes:
        dataset: Name of the dataset's folder or file.
        split: Which of its dives were scored.
        exemplars: Where exemplars come from: ``train`` or ``bank``.
        seed: Seed of the exemplars' order.
        weights: Name of the weights.
        weights_digest: Digest of the weights.
        gat: Whether the network has the causal intervention.
        tca: Whether it has temporal causal attention.
    """

    dataset: str
    split: str
    exemplars: str
    seed: int
    weights: str
    weights_digest: str
    gat: bool
    tca: bool


@dataclass(frozen=True)
class Evaluation:
    """The outcome of an evaluation.

    Attributes:
        setting: What was evaluated.
        main: The outcome of the main protocol.
        others: The same dives under other protocols; may be empty.
        shifted: The shifted dives under the main protocol; None without.
        interval_level: Share of dives that the stated interval is meant to cover; None if the weights state none.
        interval_half_width: Its half-width in execution units.
        interval_width: Its mean width, points.
        caveats: Limits of these metrics, one sentence each.
    """

    setting: EvaluationSettings
    main: Outcome
    others: tuple[Outcome, ...]
    interval_level: float | None
    interval_half_width: float | None
    interval_width: float | None
    caveats: tuple[str, ...] = ()
    shifted: Outcome | None = None

    @property
    def summary(self) -> ErrorSummary:
        """The metrics of the main outcome."""
        return self.main.summary

    @property
    def predictions(self) -> tuple[Prediction, ...]:
        """The predictions of the main outcome, one a test dive."""
        return self.main.predictions

    @property
    def coverage(self) -> float | None:
        """Share of dives inside the stated interval; None if the weights state none."""
        return self.main.coverage


# Weights of training runs.

BEST = "best"
"""Weights of the epoch that did best on the validation dives."""

LAST = "last"
"""Weights of the last epoch."""


def weights_of_run(folder: Path) -> dict[str, Path]:
    """Return the best and the last weights of a run's folder by name; empty if the folder is none."""
    if (folder / CONFIG_NAME).is_file():
        return {}
    return {name: folder / name for name in (BEST, LAST) if (folder / name / CONFIG_NAME).is_file()}


def name_of(weights: Path) -> str:
    """Return the name of a folder of weights, with the run's name if it is the best or last of a run."""
    folder = weights.resolve()
    return f"{folder.parent.name}/{folder.name}" if folder.name in (BEST, LAST) else folder.name


def find_weights(folder: Path) -> list[Path]:
    """Return the folders of weights at and below a folder; of a run with best and last weights, the best.

    Raises:
        WeightsError: There is none.
    """
    folders = sorted(path.parent for path in folder.rglob(CONFIG_NAME))
    weights = [path for path in folders if not (path.name == LAST and path.with_name(BEST) in folders)]
    if not weights:
        raise WeightsError(
            "no weights in or below the folder", where=folder, hint="train some: finecausal train --ablate gat -o ..."
        )
    return weights


# Evaluation on a dataset's test dives.

EVENTS = "events"
"""The split that holds whole events out."""


def evaluate(
    dataset: str | os.PathLike[str],
    weights: str | os.PathLike[str],
    options: EvaluateOptions | None = None,
    *,
    cache: str | os.PathLike[str] | None = None,
    device: str | torch.device = "auto",
    read: Callable[[Path], list[Dive]] = read_dataset,
    bank: Callable[[str], Bank] | None = None,
    start: Callable[[int], object] = lambda total: None,  # noqa: ARG005
    advance: Callable[[], object] = lambda: None,
) -> Evaluation:
    """Score the dives of one split and measure.

    Args:
        dataset: A dataset in any known layout.
        weights: Folder of weights, or a bundled name.
        options: Split, exemplars and protocols.
        cache: Folder of decoded clips; None decodes every time.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
        read: Reads the dataset.
        bank: Returns the exemplars for a digest of weights; by default by the options.
        start: Called once with the number of dives to encode.
        advance: Called after each encoded dive.

    Raises:
        DatasetError: The split holds fewer than two dives, there are no training dives to compare with, or the
            shifted dataset is not of the same dives.
    """
    dataset, folder = Path(dataset), resolve_weights(os.fspath(weights))
    device = resolve_device(str(device))
    options = options or EvaluateOptions()
    if bank is None and options.exemplars == "bank":
        bank = own_bank(folder)
    training, held_out = _choose_dives(read, dataset, options.split, needs_training=bank is None)
    shifted = [] if options.shifted is None else _same_dives(held_out, read(options.shifted), options.shifted)
    loaded = load_weights(folder, device=device)
    info = WeightsInfo.read(loaded.info, folder)
    model = loaded.model.for_inference()
    refused: list[str] = []
    clips = inputs_for(model, None if cache is None else Path(cache))
    start(len(held_out) + len(shifted) + (len(training) if bank is None else 0))
    if bank is None:
        exemplars = bank_of(
            encode_dives(model, training, clips, advance=advance),
            name=dataset.resolve().name,
            weights_digest=loaded.digest,
        )
    else:
        exemplars = bank(loaded.digest)
    queries = encode_dives(model, held_out, clips, foreground=True, advance=advance, refused=refused)
    executions = [(dive.number, dive.execution) for dive in training]
    baseline = mean_execution(executions or [(item.dive, item.execution) for item in exemplars.exemplars])

    def measure(protocol: Protocol, dives: EncodedDives) -> Outcome:
        predictions = predict(
            model,
            dives,
            exemplars,
            baseline=baseline,
            voters=protocol.voters,
            dive_given=protocol.dive_given,
            seed=options.seed,
        )
        return Outcome(
            protocol,
            summarise(predictions, dives.foreground),
            tuple(predictions),
            _coverage(predictions, info.interval),
            None if protocol.dive_given else _recognised(predictions),
        )

    main = measure(Protocol(options.voters, options.dive_given), queries)
    protocols = PROTOCOLS if options.protocols else ()
    others = tuple(measure(protocol, queries) for protocol in protocols if protocol != main.protocol)
    elsewhere = None
    if shifted:
        moved = encode_dives(model, shifted, clips, foreground=True, advance=advance, refused=refused)
        elsewhere = measure(main.protocol, moved)
    interval = info.interval
    setting = EvaluationSettings(
        dataset=dataset.resolve().name,
        split=options.split,
        exemplars="train" if bank is None else "bank",
        seed=options.seed,
        weights=name_of(folder),
        weights_digest=loaded.digest,
        gat=model.config.gat,
        tca=model.config.tca,
    )
    return Evaluation(
        setting=setting,
        main=main,
        others=others,
        interval_level=interval.level if interval else None,
        interval_half_width=interval.execution_half_width if interval else None,
        interval_width=_mean_width(main.predictions, interval),
        caveats=(*_caveats(setting, main, exemplars, info), *_of_refused(refused)),
        shifted=elsewhere,
    )


def _of_refused(refused: Sequence[str]) -> tuple[str, ...]:
    if not refused:
        return ()
    few = ", ".join(refused[:3]) + (", ..." if len(refused) > 3 else "")
    return (f"{len(refused)} dives are refused or show no whole flight, and are in no figure: {few}",)


def own_bank(weights: Path) -> Callable[[str], Bank]:
    """Return a function that loads the bank beside weights, for `evaluate`."""
    return lambda digest: load_bank(bank_folder(weights), weights_digest=digest)


def metrics(evaluation: Evaluation) -> dict[str, float | int | None]:
    """Return every metric of an evaluation by name."""
    low, high = coverage_interval(evaluation)
    return {
        **evaluation.summary.figures(),
        "coverage": evaluation.coverage,
        "coverage_low": low,
        "coverage_high": high,
        "interval_level": evaluation.interval_level,
        "interval_width": evaluation.interval_width,
    }


def coverage_interval(evaluation: Evaluation) -> tuple[float, float] | tuple[None, None]:
    """Return Wilson's 95% interval of the coverage; None twice if the weights state no interval."""
    if evaluation.coverage is None:
        return None, None
    dives = len(evaluation.predictions)
    return share_interval(round(evaluation.coverage * dives), dives)


def _choose_dives(
    read: Callable[[Path], list[Dive]], dataset: Path, split: str, *, needs_training: bool
) -> tuple[list[Dive], list[Dive]]:
    """Return training dives and the dives to score; with ``all`` there are no training dives."""
    dives = [dive for dive in read(dataset) if dive.score is not None]
    try:
        dives = split_by_event(dives) if split == EVENTS else assign_splits(dives)
    except DatasetError as error:
        raise DatasetError(error.what, where=dataset, hint=error.hint) from None
    wanted = "test" if split == EVENTS else split
    held_out = [dive for dive in dives if wanted in ("all", dive.split)]
    training = [dive for dive in dives if dive.split == "train"] if split != "all" else []
    if len(held_out) < 2:
        hint = "two or more are needed" if split == "all" else "two or more are needed: --split all takes every dive"
        raise DatasetError(f"{len(held_out)} dives with a score in split {split!r}", where=dataset, hint=hint)
    if needs_training and not training:
        raise DatasetError("no training dives to compare with", where=dataset, hint="use --exemplars bank")
    return training, held_out


def _same_dives(dives: Sequence[Dive], others: Sequence[Dive], where: Path) -> list[Dive]:
    """Return the counterparts of dives in another dataset, in their order.

    Raises:
        DatasetError: One is missing there, or was judged anew.
    """
    by_key = {dive.key: dive for dive in others}
    counterparts: list[Dive] = []
    for dive in dives:
        other = by_key.get(dive.key)
        if other is None or (other.score, other.difficulty, other.number) != (dive.score, dive.difficulty, dive.number):
            what = "is not in it" if other is None else "has another score, difficulty or number in it"
            raise DatasetError(
                f"not of the same dives: {dive.key} {what}",
                where=where,
                hint="a shifted dataset changes the pictures and nothing else",
            )
        counterparts.append(other)
    return counterparts


def _coverage(predictions: Sequence[Prediction], interval: StoredInterval | None) -> float | None:
    if interval is None:
        return None
    return sum(is_covered(prediction, interval.execution_half_width) for prediction in predictions) / len(predictions)


def _mean_width(predictions: Sequence[Prediction], interval: StoredInterval | None) -> float | None:
    if interval is None:
        return None
    return sum(2 * interval.execution_half_width * prediction.difficulty for prediction in predictions) / len(
        predictions
    )


def _recognised(predictions: Sequence[Prediction]) -> float | None:
    known = [prediction for prediction in predictions if prediction.number is not None]
    return sum(prediction.recognised == prediction.number for prediction in known) / len(known) if known else None


def _caveats(setting: EvaluationSettings, main: Outcome, exemplars: Bank, info: WeightsInfo) -> list[str]:
    caveats: list[str] = []
    numbers = {exemplar.dive for exemplar in exemplars.exemplars}
    unmatched = sorted(
        {
            prediction.number
            for prediction in main.predictions
            if prediction.number is not None and prediction.number not in numbers
        }
    )
    if unmatched and main.protocol.dive_given:
        dives = sum(prediction.number in unmatched for prediction in main.predictions)
        caveats.append(
            f"{dives} of {len(main.predictions)} dives have a number without an exemplar ({', '.join(unmatched)}): "
            "they are compared with the nearest by encoding"
        )
    if setting.split == EVENTS and _trained_split(info) != EVENTS:
        caveats.append(
            "these weights were not trained with this split: they may have seen dives of the held-out events "
            "(finecausal train --split events)"
        )
    return caveats


def _trained_split(info: WeightsInfo) -> object:
    """Return the split that weights were trained on, if recorded."""
    options = info.training.get("options")
    inside = options.get("split") if isinstance(options, dict) else None
    return info.training.get("split", inside)


def rename(evaluation: Evaluation, weights: str) -> Evaluation:
    """Return the evaluation with another name of its weights."""
    return replace(evaluation, setting=replace(evaluation.setting, weights=weights))


# JSON and CSV.

METRICS_NAME = "metrics.json"
PREDICTIONS_NAME = "predictions.csv"

SCHEMA_VERSION = 1
"""Raised whenever a reader of an older document could misread a newer one."""


def describe_evaluation(evaluation: Evaluation, *, predictions: bool = False) -> dict[str, Any]:
    """Return an evaluation as plain data for JSON, without NaN.

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
        document["predictions"] = [prediction_row(prediction, half_width) for prediction in evaluation.predictions]
    return document


def prediction_row(prediction: Prediction, half_width: float | None) -> dict[str, str | float | int | None]:
    """Return the CSV row of a prediction.

    Args:
        prediction: The prediction.
        half_width: Half-width of the stated interval in execution units; None if there is none.
    """
    reach = None if half_width is None else half_width * prediction.difficulty
    true_flight, true_entry = prediction.true_transitions or (None, None)
    return {
        "key": prediction.key,
        "number": prediction.number,
        "score": prediction.score,
        "predicted": prediction.predicted,
        "baseline": prediction.baseline,
        "difficulty": prediction.difficulty,
        "interval_low": None if reach is None else prediction.predicted - reach,
        "interval_high": None if reach is None else prediction.predicted + reach,
        "flight_start": prediction.transitions[0],
        "entry_start": prediction.transitions[1],
        "true_flight_start": true_flight,
        "true_entry_start": true_entry,
        "temporal_iou": prediction.temporal_iou,
        "reference_temporal_iou": prediction.reference_iou,
        "voters": prediction.voters,
        "recognised": prediction.recognised,
    }


def write_evaluation(folder: Path, evaluation: Evaluation) -> None:
    """Write ``metrics.json`` and ``predictions.csv``.

    Raises:
        OutputError: The folder cannot be written.
    """
    write_json(folder / METRICS_NAME, describe_evaluation(evaluation))
    with atomic_write(folder / PREDICTIONS_NAME, "the predictions") as part:
        part.write_text(_csv(evaluation.predictions, evaluation.interval_half_width), encoding="utf-8")


def write_json(path: Path, document: dict[str, Any]) -> None:
    """Write figures as JSON, whole or not at all.

    Raises:
        OutputError: The file cannot be written.
    """
    with atomic_write(path, "the metrics") as part:
        part.write_text(json.dumps(document, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def _outcome(outcome: Outcome) -> dict[str, Any]:
    return {
        "protocol": asdict(outcome.protocol),
        "figures": {**outcome.summary.figures(), "coverage": outcome.coverage},
        "recognised": outcome.recognised,
    }


def _csv(predictions: Sequence[Prediction], half_width: float | None) -> str:
    text = io.StringIO()
    rows = [prediction_row(prediction, half_width) for prediction in predictions]
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
