"""A whole training run: from a dataset to weights with their held-out figures and their interval."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from finecausal_cli.data.cache import ClipCache
from finecausal_cli.data.events import split_by_event
from finecausal_cli.data.open import read_dataset
from finecausal_cli.data.splits import assign_splits
from finecausal_cli.data.swap import BackgroundSwap
from finecausal_cli.errors import DatasetError, TrainingError
from finecausal_cli.evaluation.run_folder import BEST, LAST
from finecausal_cli.training.begin import begin
from finecausal_cli.training.checkpoint import Progress
from finecausal_cli.training.options import TrainOptions, check_precision
from finecausal_cli.training.processes import join, leave
from finecausal_cli.training.record import check_is_free, describe_data, read_run, write_run
from finecausal_cli.training.tracking import Curves
from finecausal_cli.training.trainer import LAST_NAME, Trainer
from finecausal_cli.training.validation import calibrate, validate
from finecausal_cli.training.views import Views
from finecausal_cli.weights.info import WeightsInfo
from finecausal_cli.weights.store import save_weights

if TYPE_CHECKING:
    from pathlib import Path

    import torch

    from finecausal_cli.data.cache import CacheSize
    from finecausal_cli.data.dive import Dive
    from finecausal_cli.evaluation.predict import Summary
    from finecausal_cli.model.config import ModelConfig
    from finecausal_cli.model.finecausal import FineCausal
    from finecausal_cli.training.processes import Processes

Report = Callable[[Progress, dict[str, float]], object]


def _nobody(*_: object) -> None:
    """Tell nobody."""


@dataclass(frozen=True)
class Watch:
    """How a run tells somebody what it does; every field may stay as it is. The main process alone tells.

    Attributes:
        data: Called once with the number of training and validation dives and of optimiser steps.
        decoded: Called after each clip that is made ready.
        cached: Called once with what the clip cache holds then; not at all without a cache.
        step: Called after each optimiser step with the losses.
        waited: Called before each validation with the share of the epoch's time that went by waiting for data.
        validated: Called after each validation.
    """

    data: Callable[[int, int, int], object] = _nobody
    decoded: Callable[[], object] = _nobody
    cached: Callable[[CacheSize], object] = _nobody
    step: Report = _nobody
    waited: Callable[[float], object] = _nobody
    validated: Callable[[Summary], object] = _nobody


def train(
    dataset: Path,
    folder: Path,
    *,
    config: ModelConfig,
    options: TrainOptions,
    cache: Path | None,
    device: torch.device,
    resume: bool = False,
    read: Callable[[Path], list[Dive]] = read_dataset,
    command: Sequence[str] = (),
    watch: Watch | None = None,
) -> Path:
    """Train a network and keep the one that does best on the validation set, and the last one.

    Under ``torchrun`` every process calls this with the same arguments; they share each batch.

    Args:
        dataset: Where the dives are; those without a score are left out.
        folder: The run's folder. Without ``resume`` it must not hold a run yet.
        config: The network.
        options: The run. With ``resume`` the run's own options and network are used.
        cache: Folder of decoded clips; None decodes every time.
        device: Where to compute.
        resume: Go on with the run in ``folder``.
        read: Reads the dataset.
        command: The command line, to be recorded.
        watch: Who is told of progress.

    Returns:
        The folder of the best weights.

    Raises:
        TrainingError: The run cannot start or be resumed.
        DatasetError: The dataset is wrong.
        WeightsError: The weights to start from cannot be trusted or do not fit.
        VideoError: A clip cannot be read.
    """
    labels = None
    if resume:
        started = read_run(folder, TrainOptions)
        config, options, labels = started.config, started.options, started.labels_sha256
    else:
        check_is_free(folder)
    check_precision(options.precision, config, device)
    dives = _split([dive for dive in read(dataset) if dive.score is not None], options, dataset)
    clips = ClipCache(cache, geometry=config.geometry, frame_size=config.frame_size)
    data = _Data(dataset, dives, clips, cache)
    data.check(labels, options)
    # What a checkpoint goes on from has been loaded long ago, and may be gone.
    is_begun = resume and (folder / LAST_NAME).exists()
    model, begun = begin(config, init=None if is_begun else options.init, seed=options.seed)
    processes = join(device)
    processes.wait()  # until all have seen that the folder holds no run
    run = _Run(data, folder, options, processes, (watch or Watch()) if processes.is_main else Watch())

    def record() -> None:
        write_run(folder, config, options, dataset, dives, begun=begun, processes=processes.count, command=command)

    run(model, resume=resume, record=record)
    leave(processes)
    return folder / BEST


def _split(dives: Sequence[Dive], options: TrainOptions, dataset: Path) -> list[Dive]:
    try:
        return split_by_event(dives) if options.split == "events" else assign_splits(dives)
    except DatasetError as error:
        raise DatasetError(error.what, where=dataset, hint=error.hint) from None


class _Data:
    """The dives of a run and their clips."""

    def __init__(self, dataset: Path, dives: Sequence[Dive], clips: ClipCache, cache: Path | None) -> None:
        self.dataset = dataset
        self.dives = dives
        self.clips = clips
        self.cache = cache
        self.training = [dive for dive in dives if dive.split == "train"]
        self.validation = [dive for dive in dives if dive.split == "val"]

    def swap(self, options: TrainOptions) -> BackgroundSwap | None:
        """Return what shows training dives before other backgrounds, if that is asked for.

        Raises:
            DatasetError: No training dive has a mask and stages.
        """
        if not options.swap_backgrounds:
            return None
        try:
            return BackgroundSwap(self.training, self.clips, options.swap_backgrounds)
        except DatasetError as error:
            raise DatasetError(error.what, where=self.dataset, hint=error.hint) from None

    def check(self, labels: str | None, options: TrainOptions) -> None:
        """Refuse to resume on other labels, and to train without dives to validate on."""
        if labels not in (None, describe_data(self.dataset, self.dives, options)["labels_sha256"]):
            raise TrainingError(
                "the run was started on other dives or labels", where=self.dataset, hint="start anew elsewhere"
            )
        if len(self.validation) < 2:
            raise TrainingError(
                f"{len(self.training)} training and {len(self.validation)} validation dives with a score",
                where=self.dataset,
                hint="more dives, or a split column",
            )


class _Run:
    def __init__(self, data: _Data, folder: Path, options: TrainOptions, processes: Processes, watch: Watch) -> None:
        self._data = data
        self._folder = folder
        self._options = options
        self._processes = processes
        self._watch = watch
        self._curves: Curves | None = None
        self._views: Views | None = None

    def __call__(self, model: FineCausal, *, resume: bool, record: Callable[[], object]) -> None:
        data, swap = self._data, self._data.swap(self._options)
        if self._options.views:
            model = model.to(self._processes.device)
            self._views = Views(model, data.clips, data.cache, self._options.views, self._options.precision, swap)
        trainer = Trainer(
            model,
            data.training,
            data.clips,
            self._options,
            self._folder,
            self._processes,
            views=self._views,
            swap=swap,
        )
        if resume and (self._folder / LAST_NAME).exists():
            trainer.resume()
        self._watch.data(len(data.training), len(data.validation), trainer.steps)
        if data.cache is not None or self._views is not None:
            self._make_ready()
        if self._processes.is_main:
            self._curves = Curves(self._folder, self._options, first=trainer.progress.step)
            if not resume:
                record()  # only now: a run that could not begin may be begun again
        try:
            trainer.fit(
                report=lambda progress, losses: self._report(trainer, progress, losses),
                validate=lambda current: self._validate(trainer, current),
                keep=lambda current, summary, progress: self._save(BEST, current, summary, progress),
            )
        finally:
            if self._curves is not None:
                self._curves.close()
        if self._processes.is_main:
            for name in (BEST, LAST):
                calibrate(
                    self._folder / name,
                    data.training,
                    data.validation,
                    data.clips,
                    self._options,
                    self._processes.device,
                    self._views,
                )
        self._processes.wait()

    def _make_ready(self) -> None:
        """Decode every clip once, and encode it where the trunk is frozen, each process its share."""
        load = self._data.clips.load if self._views is None else self._views.load
        for place, dive in enumerate((*self._data.training, *self._data.validation)):
            if place % self._processes.count == self._processes.rank:
                load(dive)
            self._watch.decoded()
        self._processes.wait()
        if self._data.cache is not None:
            self._watch.cached(self._data.clips.size())

    def _report(self, trainer: Trainer, progress: Progress, losses: dict[str, float]) -> None:
        if self._curves is not None:
            self._curves.step(progress, losses, trainer.waiting_share)
        self._watch.step(progress, losses)

    def _validate(self, trainer: Trainer, model: FineCausal) -> Summary:
        self._watch.waited(trainer.waiting_share)
        data = self._data
        summary = validate(model, data.training, data.validation, data.clips, self._options, self._views)
        self._save(LAST, model, summary, trainer.progress)
        if self._curves is not None:
            self._curves.validation(trainer.progress, summary.figures())
        self._watch.validated(summary)
        return summary

    def _save(self, name: str, model: FineCausal, summary: Summary, progress: Progress) -> None:
        data = self._data
        facts = describe_data(data.dataset, data.dives, self._options)
        training = {"epoch": progress.epoch + 1, "validation": summary.figures(), **facts}
        note = f"trained on {len(data.training)} dives of the dataset {data.dataset.resolve().name}"
        save_weights(self._folder / name, model, WeightsInfo(note=note, training=training).facts())
