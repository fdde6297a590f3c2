"""A training run: from a dataset to weights."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from finecausal_cli.data.batch import BackgroundSwap
from finecausal_cli.data.cache import fill
from finecausal_cli.data.datasets import assign_splits, read_dataset, split_by_event
from finecausal_cli.device import available_cores, resolve_device
from finecausal_cli.errors import DatasetError, TrainingError
from finecausal_cli.evaluation.run import BEST, LAST
from finecausal_cli.model.finecausal import FineCausal
from finecausal_cli.scoring.tracks import inputs_for
from finecausal_cli.training import KINETICS, TRUNK, TrainOptions, check_precision
from finecausal_cli.training.batches import Views
from finecausal_cli.training.checkpoint import describe_data, ensure_new_run_dir, read_run, record_options, write_run
from finecausal_cli.training.pairs import LAST_NAME, PairsTask, calibrate, validate
from finecausal_cli.training.trainer import Callbacks, Trainer, barrier, start_accelerator, start_trackers
from finecausal_cli.weights import WeightsInfo, read_manifest
from finecausal_cli.weights.convert import load_kinetics
from finecausal_cli.weights.hub import resolve_weights
from finecausal_cli.weights.store import load_weights, save_weights

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from accelerate import Accelerator

    from finecausal_cli.data import Dive
    from finecausal_cli.data.cache import DiveInputs
    from finecausal_cli.evaluation.predict import ErrorSummary
    from finecausal_cli.model.config import ModelConfig
    from finecausal_cli.training.checkpoint import Progress
    from finecausal_cli.weights import TrainedOn


logger = logging.getLogger(__name__)


# Initial weights: random, those of an I3D from Kinetics, or those of an earlier run.

_SHOWN = 3  # names listed in an error before "and n more"
_OPTIONAL = ("intervention.", "tca.", "recogniser.")
"""Modules that an ablation may leave out, and the classifier, which is trained last."""

_CLIP_MODULES = ("video_trunk.", "parser.")
"""Modules that see one clip alone: backbones and foreground."""


def locate_init(init: str) -> str:
    """Return ``init`` with its path in full, so that a run can be resumed from another folder.

    Raises:
        WeightsError: There are no such weights.
    """
    if init.startswith(KINETICS):
        return KINETICS + str(Path(init.removeprefix(KINETICS)).expanduser().resolve())
    if init.startswith(TRUNK):
        return TRUNK + str(resolve_weights(init.removeprefix(TRUNK)).resolve())
    return str(resolve_weights(init).resolve())


def config_of(init: str) -> ModelConfig | None:
    """Return the network that the initial weights are of; None for those of an I3D.

    Raises:
        WeightsError: The weights are missing or damaged.
    """
    return None if init.startswith(KINETICS) else read_manifest(resolve_weights(init.removeprefix(TRUNK))).model


def init_model(config: ModelConfig, *, init: str | None, seed: int) -> tuple[FineCausal, dict[str, Any]]:
    """Build the network of a run.

    Args:
        config: What it is made of.
        init: Weights, ``trunk:`` and weights, or ``kinetics:`` and a file; None draws everything at random.
        seed: Seed of what is not loaded.

    Returns:
        The network, and where its weights come from, for the record.

    Raises:
        WeightsError: The weights cannot be trusted or do not fit.
        TrainingError: They are of another network.
    """
    torch.manual_seed(seed)
    model = FineCausal(config)
    if init is None:
        return model, {"from": "random"}
    if init.startswith(KINETICS):
        report = load_kinetics(Path(init.removeprefix(KINETICS)), model)
        return model, {
            "from": "kinetics",
            "layout": report.layout,
            "trunks": list(report.backbones),
            "loaded": len(report.loaded),
            "skipped": list(report.skipped),
        }
    if init.startswith(TRUNK):
        loaded = _load_pretrained(Path(init.removeprefix(TRUNK)), model, modules=_CLIP_MODULES)
        return model, {**loaded, "from": "trunk"}
    return model, _load_pretrained(Path(init), model)


def _load_pretrained(folder: Path, model: FineCausal, modules: tuple[str, ...] = ("",)) -> dict[str, Any]:
    """Load weights of the same network, whatever modules an ablation leaves out.

    Args:
        folder: The weights.
        model: The network.
        modules: Prefixes of the names that are loaded.
    """
    loaded = load_weights(folder)
    theirs, ours = loaded.model.state_dict(), model.state_dict()
    misfits = [
        name
        for name in sorted(theirs.keys() | ours.keys())
        if name.startswith(modules)
        and not name.startswith(_OPTIONAL)
        and (name not in theirs or name not in ours or theirs[name].shape != ours[name].shape)
    ]
    if misfits:
        more = f" and {len(misfits) - _SHOWN} more" if len(misfits) > _SHOWN else ""
        raise TrainingError(
            f"weights of another network: {', '.join(misfits[:_SHOWN])}{more} do not fit",
            where=folder,
            hint="leave out --preset to train the network that they are of",
        )
    shared = {name: tensor for name, tensor in theirs.items() if name in ours and name.startswith(modules)}
    model.load_state_dict(shared, strict=False)
    return {
        "from": "weights",
        "digest": loaded.digest,
        "loaded": len(shared),
        "skipped": _modules_of(theirs.keys() - shared),
        "drawn": _modules_of(ours.keys() - shared),
    }


def _modules_of(names: Iterable[str]) -> list[str]:
    return sorted({name.partition(".")[0] for name in names})


# A whole run: from a dataset to weights with their validation metrics and their interval.


def train(
    dataset: str | os.PathLike[str],
    folder: str | os.PathLike[str],
    *,
    config: ModelConfig,
    options: TrainOptions,
    cache: str | os.PathLike[str] | None = None,
    device: str | torch.device = "auto",
    resume: bool = False,
    changes: Mapping[str, Any] | None = None,
    read: Callable[[Path], list[Dive]] = read_dataset,
    command: Sequence[str] = (),
    callbacks: Callbacks | None = None,
) -> Path:
    """Train a network; keep the best on the validation set, and the last.

    Under ``torchrun`` every process calls this with the same arguments; they share each batch.

    Args:
        dataset: Where the dives are; those without a score are left out.
        folder: The run's folder. Without ``resume`` it must not hold a run yet.
        config: The network.
        options: The run. With ``resume`` the run's own options and network are used.
        cache: Folder of decoded clips; None decodes every time.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
        resume: Go on with the run in ``folder``.
        changes: With ``resume``: options of the run that change, such as ``epochs``.
        read: Reads the dataset.
        command: The command line, to be recorded.
        callbacks: Called as the run goes on.

    Returns:
        The folder of the best weights.

    Raises:
        TrainingError: The run cannot start or be resumed.
        DatasetError: The dataset is wrong.
        WeightsError: The weights to start from cannot be trusted or do not fit.
        VideoError: A clip cannot be read.
    """
    dataset, folder, device = Path(dataset), Path(folder), resolve_device(str(device))
    cache = None if cache is None else Path(cache)
    labels = None
    if resume:
        started = read_run(folder, TrainOptions)
        config, options, labels = started.config, replace(started.options, **(changes or {})), started.labels_sha256
    else:
        ensure_new_run_dir(folder)
    check_precision(options.precision, config, device)
    if config.trunk == "skeleton" and (options.swap_backgrounds or options.views):
        hint = "leave --swap-backgrounds and --views out"
        raise TrainingError("a skeleton network reads tracks: it has no background and no cached views", hint=hint)
    dives = _split([dive for dive in read(dataset) if dive.score is not None], options, dataset)
    # What a checkpoint goes on from has been loaded long ago, and may be gone.
    is_begun = resume and (folder / LAST_NAME).exists()
    model, begun = init_model(config, init=None if is_begun else options.init, seed=options.seed)
    data = _Data(dataset, dives, inputs_for(model, cache), cache)
    data.check(labels, options)
    accelerator = start_accelerator(device, options.precision)
    barrier(accelerator)  # until all have seen that the folder holds no run
    calls = (callbacks or Callbacks()) if accelerator.is_main_process else Callbacks()

    if changes and accelerator.is_main_process:
        record_options(folder, options)

    def record() -> None:
        write_run(
            folder, config, options, dataset, dives,
            begun=begun, processes=accelerator.num_processes, command=command,
        )  # fmt: skip

    try:
        _Run(data, folder, options, accelerator, calls)(model, resume=resume, record=record)
    finally:
        for tracker in accelerator.trackers:
            tracker.finish()
    barrier(accelerator)
    accelerator.end_training()
    return folder / BEST


def _split(dives: Sequence[Dive], options: TrainOptions, dataset: Path) -> list[Dive]:
    try:
        return split_by_event(dives) if options.split == "events" else assign_splits(dives)
    except DatasetError as error:
        raise DatasetError(error.what, where=dataset, hint=error.hint) from None


class _Data:
    """The dives of a run and their clips."""

    def __init__(self, dataset: Path, dives: Sequence[Dive], clips: DiveInputs, cache: Path | None) -> None:
        self.dataset = dataset
        self.dives = dives
        self.clips = clips
        self.cache = cache
        self.training = [dive for dive in dives if dive.split == "train"]
        self.validation = [dive for dive in dives if dive.split == "val"]

    def swap(self, options: TrainOptions) -> BackgroundSwap | None:
        """Return the augmentation that swaps backgrounds, if the options have it.

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
    """A run on its data: what it validates on, saves and reports."""

    def __init__(
        self, data: _Data, folder: Path, options: TrainOptions, accelerator: Accelerator, calls: Callbacks
    ) -> None:
        self._data, self._folder, self._options = data, folder, options
        self._accelerator, self._calls = accelerator, calls
        self._views: Views | None = None

    def __call__(self, model: FineCausal, *, resume: bool, record: Callable[[], object]) -> None:
        data, options, accelerator = self._data, self._options, self._accelerator
        swap = data.swap(options)
        if options.views:
            model = model.to(accelerator.device)
            self._views = Views(model, data.clips, data.cache, options.views, options.precision, swap)
        task = PairsTask(
            model, data.training, data.clips, options, accelerator,
            evaluate=self._evaluate, save=self._save, views=self._views, swap=swap,
        )  # fmt: skip
        trainer = Trainer(task, task.config(), accelerator, self._folder, checkpoint_name=LAST_NAME)
        if resume and trainer.resume(missing_ok=True) and trainer.is_done:
            logger.warning("note: the run has ended: --epochs or --patience lets it go on")
        self._calls.data(len(data.training), len(data.validation), trainer.config.steps)
        if data.cache is not None or self._views is not None:
            self._make_ready()
        start_trackers(accelerator, self._folder, options.trackers, options.to_dict(), first=trainer.progress.step)
        if accelerator.is_main_process and not resume:
            record()  # only now: a run that could not begin may be begun again
        trainer.fit(self._calls)
        if accelerator.is_main_process:
            for name in (BEST, LAST):
                calibrate(
                    self._folder / name,
                    data.training,
                    data.validation,
                    data.clips,
                    options,
                    accelerator.device,
                    self._views,
                )

    def _make_ready(self) -> None:
        """Decode every clip once, and encode it where the backbone is frozen, each process its share, on all cores."""
        count, rank = self._accelerator.num_processes, self._accelerator.process_index
        dives = [*self._data.training, *self._data.validation]
        mine, cores = dives[rank::count], max(1, available_cores() // count)
        made = fill(self._data.clips, mine, cores=cores) if self._views is None else self._views.make(mine, cores=cores)
        for _ in made:
            self._calls.decoded()
        for _ in range(len(dives) - len(mine)):  # those of the other processes
            self._calls.decoded()
        barrier(self._accelerator)
        if self._data.cache is not None:
            self._calls.cached(self._data.clips.size())

    def _evaluate(self, model: FineCausal) -> ErrorSummary:
        data = self._data
        summary = validate(model, data.training, data.validation, data.clips, self._options, self._views)
        self._calls.validated(summary)
        return summary

    def _save(self, name: str, model: FineCausal, metrics: Mapping[str, Any], progress: Progress) -> None:
        data = self._data
        facts = describe_data(data.dataset, data.dives, self._options)
        training = {"epoch": progress.epoch + 1, "validation": metrics, **facts}
        note = f"trained on {len(data.training)} dives of the dataset {data.dataset.resolve().name}"
        save_weights(
            self._folder / name,
            model,
            WeightsInfo(note=note, training=training, trained_on=describe_origin(data.training)).facts(),
        )


def describe_origin(dives: Sequence[Dive]) -> TrainedOn:
    """Tell what weights are trained on: simulated dives have what filmed ones never have, deductions by stage."""
    simulated = sum(dive.deductions is not None for dive in dives)
    return "simulated" if simulated == len(dives) else "both" if simulated else "unknown"
