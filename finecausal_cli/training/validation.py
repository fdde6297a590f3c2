"""Measure a network on the validation dives, during training and for its interval."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from finecausal_cli.evaluation.predict import Prediction, Summary, bank_of, mean_execution, predict, summarise
from finecausal_cli.exemplars.encode import encode_dives
from finecausal_cli.exemplars.select import spread_exemplars
from finecausal_cli.weights.info import StoredInterval, WeightsInfo
from finecausal_cli.weights.store import load_weights, save_weights

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import torch

    from finecausal_cli.data.cache import ClipCache
    from finecausal_cli.data.dive import Dive
    from finecausal_cli.exemplars.encode import ForegroundCounts
    from finecausal_cli.model.finecausal import FineCausal
    from finecausal_cli.training.options import TrainOptions
    from finecausal_cli.training.views import Views

INTERVAL_LEVEL = 0.9


def validate(
    model: FineCausal,
    training: Sequence[Dive],
    validation: Sequence[Dive],
    clips: ClipCache,
    options: TrainOptions,
    views: Views | None = None,
) -> Summary:
    """Score the validation dives against some training dives of each number, and measure.

    Args:
        model: The network, in evaluation mode.
        training: Where the voters are taken from.
        validation: What is scored.
        clips: Where the clips come from.
        options: How many voters.
        views: What the network's frozen trunk makes of the dives; their clips are not read then.
    """
    return summarise(*_predict(model, training, validation, clips, options, views))


def calibrate(
    weights: Path,
    training: Sequence[Dive],
    validation: Sequence[Dive],
    clips: ClipCache,
    options: TrainOptions,
    device: torch.device,
    views: Views | None = None,
) -> None:
    """Store with weights the half-width, in execution units, that covers the stated share of validation dives."""
    loaded = load_weights(weights, device=device)
    predictions, _ = _predict(loaded.model, training, validation, clips, options, views)
    errors = [abs(one.predicted - one.score) / one.difficulty for one in predictions]
    interval = StoredInterval(level=INTERVAL_LEVEL, execution_half_width=conformal_half_width(errors, INTERVAL_LEVEL))
    info = WeightsInfo.read(loaded.info, weights).model_copy(update={"interval": interval})
    save_weights(weights, loaded.model, info.facts())


def conformal_half_width(errors: Sequence[float], level: float) -> float:
    """Return the split-conformal half-width: the ceil((n + 1) level)-th smallest absolute error.

    With fewer errors than the level needs, the largest one is returned, which covers a little less than stated.

    Args:
        errors: Absolute errors on dives that took no part in fitting.
        level: Stated coverage, 0..1.
    """
    rank = int(np.ceil((len(errors) + 1) * level))
    return float(np.sort(np.asarray(errors))[min(rank, len(errors)) - 1])


def _predict(
    model: FineCausal,
    training: Sequence[Dive],
    held_out: Sequence[Dive],
    clips: ClipCache,
    options: TrainOptions,
    views: Views | None,
) -> tuple[list[Prediction], Sequence[ForegroundCounts | None]]:
    voters = spread_exemplars(training, options.bank_per_number)
    if views is None:
        shelf = encode_dives(model, voters, clips)
        queries = encode_dives(model, held_out, clips, foreground=True)
    else:
        shelf, queries = views.encoded(model, voters), views.encoded(model, held_out)
    bank = bank_of(shelf, name="training dives", weights_digest="in training")
    baseline = mean_execution((dive.number, dive.execution) for dive in training)
    predictions = predict(model, queries, bank, baseline=baseline, voters=options.voters)
    return predictions, queries.foreground
