"""Evaluate weights on a dataset's test dives."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from finecausal_cli.data.cache import ClipCache
from finecausal_cli.data.events import split_by_event
from finecausal_cli.data.open import read_dataset
from finecausal_cli.data.splits import assign_splits
from finecausal_cli.errors import DatasetError
from finecausal_cli.evaluation.groups import is_covered
from finecausal_cli.evaluation.metrics import share_interval
from finecausal_cli.evaluation.outcome import Evaluation, Outcome, Protocol, Setting
from finecausal_cli.evaluation.predict import bank_of, mean_execution, predict, summarise
from finecausal_cli.evaluation.run_folder import name_of
from finecausal_cli.exemplars.bank import load_bank
from finecausal_cli.exemplars.encode import encode_dives
from finecausal_cli.weights.info import WeightsInfo
from finecausal_cli.weights.registry import bank_folder
from finecausal_cli.weights.store import load_weights

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import torch

    from finecausal_cli.data.dive import Dive
    from finecausal_cli.evaluation.predict import Prediction
    from finecausal_cli.exemplars.bank import Bank
    from finecausal_cli.exemplars.encode import EncodedDives
    from finecausal_cli.weights.info import StoredInterval

EVENTS = "events"
"""The split that holds whole events out."""


def evaluate(
    dataset: Path,
    weights: Path,
    *,
    cache: Path | None,
    device: torch.device,
    read: Callable[[Path], list[Dive]] = read_dataset,
    bank: Callable[[str], Bank] | None = None,
    split: str = "test",
    voters: int = 10,
    dive_given: bool = True,
    also: Sequence[Protocol] = (),
    shifted: Path | None = None,
    seed: int = 0,
    start: Callable[[int], object] = lambda total: None,  # noqa: ARG005
    advance: Callable[[], object] = lambda: None,
) -> Evaluation:
    """Score the dives of one split and measure.

    Args:
        dataset: A dataset in any known layout.
        weights: Folder of weights.
        cache: Folder of decoded clips; None decodes every time.
        device: Where to compute.
        read: Reads the dataset.
        bank: Gives the exemplars for a digest of weights; by default they are the dataset's own training dives.
        split: ``test``, ``val``, ``all``, or ``events``: the test dives of a split that holds whole events out.
        voters: Most exemplars a dive.
        dive_given: Whether the choice of voters is told the dive number.
        also: Other protocols to measure on the same encodings.
        shifted: A dataset of the same dives with venue, light and audience drawn anew, to measure what that costs.
        seed: Seed of the voters' order.
        start: Called once with the number of dives to encode.
        advance: Called after each encoded dive.

    Raises:
        DatasetError: The split holds fewer than two dives, there are no training dives to compare with, or the
            shifted dataset is not of the same dives.
    """
    training, held_out = _choose_dives(read, dataset, split, needs_training=bank is None)
    moved = [] if shifted is None else _same_dives(held_out, read(shifted), shifted)
    loaded = load_weights(weights, device=device)
    info = WeightsInfo.read(loaded.info, weights)
    model = loaded.model.for_inference()
    clips = ClipCache(cache, geometry=model.config.geometry, frame_size=model.config.frame_size)
    start(len(held_out) + len(moved) + (len(training) if bank is None else 0))
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

    def measure(protocol: Protocol, dives: EncodedDives) -> Outcome:
        predictions = predict(
            model,
            dives,
            exemplars,
            baseline=baseline,
            voters=protocol.voters,
            dive_given=protocol.dive_given,
            seed=seed,
        )
        return Outcome(
            protocol,
            summarise(predictions, dives.foreground),
            tuple(predictions),
            _coverage(predictions, info.interval),
            None if protocol.dive_given else _recognised(predictions),
        )

    main = measure(Protocol(voters, dive_given), queries)
    others = tuple(measure(protocol, queries) for protocol in also if protocol != main.protocol)
    interval = info.interval
    setting = Setting(
        dataset=dataset.resolve().name,
        split=split,
        exemplars="train" if bank is None else "bank",
        seed=seed,
        weights=name_of(weights),
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
        caveats=tuple(_caveats(setting, main, exemplars, info)),
        shifted=measure(main.protocol, encode_dives(model, moved, clips, foreground=True, advance=advance))
        if moved
        else None,
    )


def own_bank(weights: Path) -> Callable[[str], Bank]:
    """Return what gives the bank that lies beside weights, for `evaluate`."""
    return lambda digest: load_bank(bank_folder(weights), weights_digest=digest)


def metrics(evaluation: Evaluation) -> dict[str, float | int | None]:
    """Return every figure of an evaluation by name."""
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
        raise DatasetError(f"{len(held_out)} dives with a score in split {split!r}", where=dataset, hint="two or more")
    if needs_training and not training:
        raise DatasetError("no training dives to compare with", where=dataset, hint="use --exemplars bank")
    return training, held_out


def _same_dives(dives: Sequence[Dive], others: Sequence[Dive], where: Path) -> list[Dive]:
    """Return the counterparts of dives in another dataset, in their order.

    Raises:
        DatasetError: One is missing there, or was judged anew.
    """
    by_key = {dive.key: dive for dive in others}
    found: list[Dive] = []
    for dive in dives:
        other = by_key.get(dive.key)
        if other is None or (other.score, other.difficulty, other.number) != (dive.score, dive.difficulty, dive.number):
            what = "is not in it" if other is None else "has another score, difficulty or number in it"
            raise DatasetError(
                f"not of the same dives: {dive.key} {what}",
                where=where,
                hint="a shifted dataset changes the pictures and nothing else",
            )
        found.append(other)
    return found


def _coverage(predictions: Sequence[Prediction], interval: StoredInterval | None) -> float | None:
    if interval is None:
        return None
    return sum(is_covered(one, interval.execution_half_width) for one in predictions) / len(predictions)


def _mean_width(predictions: Sequence[Prediction], interval: StoredInterval | None) -> float | None:
    if interval is None:
        return None
    return sum(2 * interval.execution_half_width * one.difficulty for one in predictions) / len(predictions)


def _recognised(predictions: Sequence[Prediction]) -> float | None:
    known = [one for one in predictions if one.number is not None]
    return sum(one.recognised == one.number for one in known) / len(known) if known else None


def _caveats(setting: Setting, main: Outcome, exemplars: Bank, info: WeightsInfo) -> list[str]:
    found: list[str] = []
    numbers = {one.dive for one in exemplars.exemplars}
    alone = sorted({one.number for one in main.predictions if one.number is not None and one.number not in numbers})
    if alone and main.protocol.dive_given:
        dives = sum(one.number in alone for one in main.predictions)
        found.append(
            f"{dives} of {len(main.predictions)} dives have a number without an exemplar ({', '.join(alone)}): "
            "the nearest by encoding vote on them"
        )
    if setting.split == EVENTS and _trained_split(info) != EVENTS:
        found.append(
            "these weights were not trained with this split: they may have seen dives of the held-out events "
            "(finecausal train --split events)"
        )
    return found


def _trained_split(info: WeightsInfo) -> object:
    """Return the split that weights were trained on, if they say it."""
    options = info.training.get("options")
    inside = options.get("split") if isinstance(options, dict) else None
    return info.training.get("split", inside)


def rename(evaluation: Evaluation, weights: str) -> Evaluation:
    """Return the evaluation under another name for its weights."""
    return replace(evaluation, setting=replace(evaluation.setting, weights=weights))
