"""The commands train and pretrain."""

from __future__ import annotations

import sys
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from finecausal_cli.cli.options import DEVICE_HELP, CacheOptions, Dataset, Given
from finecausal_cli.config import OptionGroup, option

if TYPE_CHECKING:
    from finecausal_cli.data import LayoutOptions
    from finecausal_cli.training import NetworkOptions, PretrainNetworkOptions, PretrainOptions, TrainOptions


@dataclass(frozen=True)
class RunOptions(OptionGroup):
    """Where a run is, and what computes it."""

    output: Path = option(Path("runs/train"), "The run's folder.", flag="-o,--output")
    resume: bool = option(False, "Continue the run in the folder from its last checkpoint.")
    device: str = option("auto", DEVICE_HELP)


@dataclass(frozen=True)
class PretrainRunOptions(RunOptions):
    """The same of a pretraining."""

    output: Path = option(Path("runs/pretrain"), "The run's folder, and that of the weights.", flag="-o,--output")


def train(
    dataset: Dataset,
    run: RunOptions,
    network: NetworkOptions,
    options: TrainOptions,
    layout: LayoutOptions,
    cache: CacheOptions,
    given: Given,
) -> None:
    """Train on a dataset and keep the weights that do best on its validation dives.

    The run's folder gets the best and the last weights, run.json, log.jsonl, curves for TensorBoard, and a checkpoint.

    On two GPUs: torchrun --nproc-per-node 2 -m finecausal_cli train DATASET
    """
    from finecausal_cli.data.datasets import read_dataset
    from finecausal_cli.device import resolve_device
    from finecausal_cli.report.evaluation import TrainingDisplay
    from finecausal_cli.training import is_main_process
    from finecausal_cli.training.run import train as run_training

    start = _begin(run, network, options, given)
    with TrainingDisplay(quiet=not is_main_process()) as display:
        best = run_training(
            dataset,
            run.output,
            **start,
            cache=cache.folder,
            device=resolve_device(run.device),
            resume=run.resume,
            read=partial(read_dataset, **layout.arguments()),
            command=sys.argv,
            callbacks=display.callbacks,
        )
    if is_main_process():
        typer.echo(best)


def pretrain(
    dataset: Annotated[
        Path,
        typer.Argument(metavar="DATASET", help="Dives that finecausal simulate wrote.", show_default=False),
    ],
    run: PretrainRunOptions,
    network: PretrainNetworkOptions,
    options: PretrainOptions,
    cache: CacheOptions,
    given: Given,
) -> None:
    """Pretrain a backbone to predict the motion of simulated dives.

    The targets, which the simulator knows: pose and rotation in every frame, and what the judges saw of each dive.
    Continue with: finecausal train DATASET --init trunk:FOLDER
    """
    from finecausal_cli.device import resolve_device
    from finecausal_cli.report.evaluation import PretrainingDisplay
    from finecausal_cli.training import KINETICS, TRUNK
    from finecausal_cli.training.motion_pretraining import pretrain as run_pretraining

    init = options.init
    if init is not None and not init.startswith((TRUNK, KINETICS)):
        init = TRUNK + init
    start = _begin(run, network, replace(options, init=init), given)
    with PretrainingDisplay() as display:
        folder = run_pretraining(
            dataset,
            run.output,
            **start,
            cache=cache.folder,
            device=resolve_device(run.device),
            resume=run.resume,
            command=sys.argv,
            callbacks=display.callbacks,
        )
    typer.echo(folder)


def _begin(
    run: RunOptions, network: NetworkOptions | PretrainNetworkOptions, options: Any, given: Given
) -> dict[str, Any]:
    """Return the arguments ``config`` and ``options`` of a new run, or ``changes`` of one that is resumed."""
    from finecausal_cli.errors import WeightsError
    from finecausal_cli.training import TrainOptions
    from finecausal_cli.training.checkpoint import PRETRAINING_NAME, RUN_NAME, read_run
    from finecausal_cli.training.run import config_of, locate_init

    if not run.resume:
        if options.init is None:
            return {"config": network.build(), "options": options}
        options = replace(options, init=locate_init(options.init))
        return {"config": network.build(config_of(options.init)), "options": options}
    started = read_run(run.output, type(options), RUN_NAME if isinstance(options, TrainOptions) else PRETRAINING_NAME)
    if options.init is not None:
        with suppress(WeightsError):  # what a run began from may be gone
            options = replace(options, init=locate_init(options.init))
    named = given & {field.name for field in (*fields(options), *fields(network))}
    changes = started.changes(network.build(started.config), options, named)
    return {"config": started.config, "options": started.options, "changes": changes}
