"""A whole training run: from a dataset to weights with their held-out figures and their interval."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from finecausal_cli import __version__
from finecausal_cli.data.cache import ClipCache
from finecausal_cli.data.open import read_dataset
from finecausal_cli.data.splits import assign_splits
from finecausal_cli.errors import TrainingError
from finecausal_cli.evaluation.predict import Prediction, Summary, bank_of, mean_execution, predict, summarise
from finecausal_cli.exemplars.encode import encode_dives
from finecausal_cli.exemplars.select import spread_exemplars
from finecausal_cli.model.config import ModelConfig
from finecausal_cli.model.finecausal import FineCausal
from finecausal_cli.training.checkpoint import Progress
from finecausal_cli.training.options import TrainOptions
from finecausal_cli.training.trainer import LAST_NAME, Trainer
from finecausal_cli.weights.info import StoredInterval, WeightsInfo
from finecausal_cli.weights.store import load_weights, save_weights
from finecausal_cli.whole_file import whole_file

if TYPE_CHECKING:
    from pathlib import Path

    from finecausal_cli.data.dive import Dive

RUN_NAME = "run.json"
BEST_NAME = "best"
INTERVAL_LEVEL = 0.9

Report = Callable[[Progress, dict[str, float]], object]


def _nobody(*_: object) -> None:
    """Tell nobody."""


@dataclass(frozen=True)
class Watch:
    """How a run tells somebody what it does; every field may stay as it is.

    Attributes:
        data: Called once with the number of training and validation dives and of optimiser steps.
        decoded: Called after each clip that is made ready.
        step: Called after each optimiser step with the losses.
        validated: Called after each validation.
    """

    data: Callable[[int, int, int], object] = _nobody
    decoded: Callable[[], object] = _nobody
    step: Report = _nobody
    validated: Callable[[Summary], object] = _nobody


def train(
    dataset: Path,
    folder: Path,
    *,
    config: ModelConfig,
    options: TrainOptions,
    cache: Path,
    device: torch.device,
    resume: bool = False,
    watch: Watch | None = None,
) -> Path:
    """Train a network and keep the one that does best on the validation set.

    Args:
        dataset: A manifest or its folder; dives without a score are left out.
        folder: The run's folder. Without ``resume`` it must not hold a run yet.
        config: The network.
        options: The run. With ``resume`` the run's own options and network are used.
        cache: Folder of decoded clips.
        device: Where to compute.
        resume: Go on with the run in ``folder``.
        watch: Who is told of progress.

    Returns:
        The folder of the best weights.

    Raises:
        TrainingError: The run cannot start or be resumed.
        DatasetError: The dataset is wrong.
    """
    watch = watch or Watch()
    labels = None
    if resume:
        config, options, labels = _read_run(folder)
    elif (folder / RUN_NAME).exists():
        raise TrainingError("a run is already here", where=folder, hint="add --resume, or name another folder")
    dives = assign_splits([dive for dive in read_dataset(dataset) if dive.score is not None])
    if labels not in (None, _labels_digest(dives)):
        raise TrainingError("the run was started on other dives or labels", where=dataset, hint="start anew elsewhere")
    training_dives = [dive for dive in dives if dive.split == "train"]
    validation = [dive for dive in dives if dive.split == "val"]
    if len(validation) < 2:
        raise TrainingError(
            f"{len(training_dives)} training and {len(validation)} validation dives with a score",
            where=dataset,
            hint="more dives, or a split column",
        )
    torch.manual_seed(options.seed)
    model = FineCausal(config)
    clips = ClipCache(cache, geometry=config.geometry, frame_size=config.frame_size)
    trainer = Trainer(model, training_dives, clips, options, folder, device)
    if resume:
        if (folder / LAST_NAME).exists():
            trainer.resume()
    else:
        _write_run(folder, config, options, dataset, dives)
    watch.data(len(training_dives), len(validation), trainer.steps)
    for dive in (*training_dives, *validation):
        clips.load(dive)
        watch.decoded()

    def validate(current: FineCausal) -> Summary:
        summary = summarise(*_held_out(current, training_dives, validation, clips, options))
        watch.validated(summary)
        return summary

    def keep(current: FineCausal, summary: Summary, progress: Progress) -> None:
        training = {"epoch": progress.epoch + 1, "validation": summary.figures(), **_describe(dataset, dives, options)}
        note = f"trained on {len(training_dives)} dives of the dataset {dataset.resolve().name}"
        save_weights(folder / BEST_NAME, current, WeightsInfo(note=note, training=training).facts())

    trainer.fit(report=watch.step, validate=validate, keep=keep)
    calibrate(folder / BEST_NAME, training_dives, validation, clips, options, device)
    return folder / BEST_NAME


def _held_out(
    model: FineCausal, training: Sequence[Dive], held_out: Sequence[Dive], clips: ClipCache, options: TrainOptions
) -> tuple[list[Prediction], Sequence[Any]]:
    voters = spread_exemplars(training, options.bank_per_number)
    bank = bank_of(encode_dives(model, voters, clips), name="training dives", weights_digest="in training")
    queries = encode_dives(model, held_out, clips, foreground=True)
    baseline = mean_execution((dive.number, dive.execution) for dive in training)
    predictions = predict(model, queries, bank, baseline=baseline, voters=options.voters)
    return predictions, queries.foreground


def calibrate(
    best: Path,
    training: Sequence[Dive],
    validation: Sequence[Dive],
    clips: ClipCache,
    options: TrainOptions,
    device: torch.device,
) -> None:
    """Store the half-width, in execution units, that covers the stated share of validation dives."""
    loaded = load_weights(best, device=device)
    predictions, _ = _held_out(loaded.model, training, validation, clips, options)
    errors = [abs(one.predicted - one.score) / one.difficulty for one in predictions]
    interval = StoredInterval(level=INTERVAL_LEVEL, execution_half_width=conformal_half_width(errors, INTERVAL_LEVEL))
    info = WeightsInfo.read(loaded.info, best).model_copy(update={"interval": interval})
    save_weights(best, loaded.model, info.facts())


def conformal_half_width(errors: Sequence[float], level: float) -> float:
    """Return the split-conformal half-width: the ceil((n + 1) level)-th smallest absolute error.

    With fewer errors than the level needs, the largest one is returned, which covers a little less than stated.

    Args:
        errors: Absolute errors on dives that took no part in fitting.
        level: Stated coverage, 0..1.
    """
    rank = int(np.ceil((len(errors) + 1) * level))
    return float(np.sort(np.asarray(errors))[min(rank, len(errors)) - 1])


def _describe(dataset: Path, dives: Sequence[Dive], options: TrainOptions) -> dict[str, Any]:
    return {
        "dataset": dataset.resolve().name,
        "dives": {split: sum(dive.split == split for dive in dives) for split in ("train", "val", "test")},
        "labels_sha256": _labels_digest(dives),
        "options": options.model_dump(),
    }


def _labels_digest(dives: Sequence[Dive]) -> str:
    labels = [
        [dive.key, dive.score, dive.difficulty, dive.number, dive.twist_start, dive.entry_start, dive.split]
        for dive in dives
    ]
    return hashlib.sha256(json.dumps(labels).encode()).hexdigest()


def _write_run(folder: Path, config: ModelConfig, options: TrainOptions, dataset: Path, dives: Sequence[Dive]) -> None:
    run = {
        "config": config.model_dump(),
        **_describe(dataset, dives, options),
        "versions": {
            "finecausal": __version__,
            "torch": torch.__version__,
            "numpy": np.__version__,
            "python": platform.python_version(),
        },
    }
    with whole_file(folder / RUN_NAME, "the run's description") as part:
        part.write_text(json.dumps(run, indent=1) + "\n", encoding="utf-8")


def _read_run(folder: Path) -> tuple[ModelConfig, TrainOptions, str]:
    """Read what a run was started with: network, options and the digest of its dives and labels."""
    path = folder / RUN_NAME
    try:
        run = json.loads(path.read_text(encoding="utf-8"))
        labels = str(run["labels_sha256"])
        return ModelConfig.model_validate(run["config"]), TrainOptions.model_validate(run["options"]), labels
    except FileNotFoundError:
        raise TrainingError("no run to resume", where=folder, hint="start one without --resume") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TrainingError(f"a damaged run description: {error}", where=path, hint="start anew elsewhere") from None
