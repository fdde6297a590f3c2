"""The commands train and pretrain."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from finecausal_cli.cli.options import DEVICE_HELP, CacheOptions, Dataset
from finecausal_cli.config import OptionGroup, option

if TYPE_CHECKING:
    from finecausal_cli.data import LayoutOptions
    from finecausal_cli.model.config import ModelConfig
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

    init, base = _locate(options.init, run, network.preset)
    with TrainingDisplay(quiet=not is_main_process()) as display:
        best = run_training(
            dataset,
            run.output,
            config=network.build(base),
            options=replace(options, init=init),
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
    init, base = _locate(init, run, network.preset)
    with PretrainingDisplay() as display:
        folder = run_pretraining(
            dataset,
            run.output,
            config=network.build(base),
            options=replace(options, init=init),
            cache=cache.folder,
            device=resolve_device(run.device),
            resume=run.resume,
            command=sys.argv,
            callbacks=display.callbacks,
        )
    typer.echo(folder)


def _locate(init: str | None, run: RunOptions, preset: str | None) -> tuple[str | None, ModelConfig | None]:
    """Return the initial weights with their path in full, and the network they are of unless a preset is given."""
    from finecausal_cli.training.run import config_of, locate_init

    if init is None or run.resume:
        return None, None
    return locate_init(init), None if preset is not None else config_of(init)
