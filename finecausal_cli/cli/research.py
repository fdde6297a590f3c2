"""The commands simulate, dataset, pretrain, train and evaluate."""

from __future__ import annotations

import sys
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from finecausal_cli.cli.options import (
    DEVICE_HELP,
    CacheOptions,
    Dataset,
    DeviceOptions,
    FormatOptions,
    Given,
    OutputFormat,
    Without,
    add_command,
)
from finecausal_cli.config import DEFAULT_WEIGHTS, OptionGroup, option

if TYPE_CHECKING:
    from collections.abc import Sequence

    from finecausal_cli.data import LayoutOptions
    from finecausal_cli.evaluation import EvaluateOptions
    from finecausal_cli.simulator import SimulateOptions
    from finecausal_cli.training import NetworkOptions, PretrainNetworkOptions, PretrainOptions, TrainOptions


# The commands simulate, dataset and evaluate.

# ``finecausal simulate``: dives of our own, with scores, stages and masks.

PREVIEW_NAME = "preview.png"
PREVIEW_DIVES = 8


def simulate(
    out: Annotated[
        Path, typer.Argument(metavar="OUT", help="Folder of the dataset; dives in it are kept.", show_default=False)
    ],
    options: SimulateOptions,
    given: Given,
) -> None:
    """Simulate dives: clips, exact masks, judges' marks and their causes.

    A second run continues a stopped one; with --negatives it writes all clips again.
    """
    from finecausal_cli.report.console import progress_bar, working
    from finecausal_cli.simulator.dataset import draw_preview, save_picture, write_dataset
    from finecausal_cli.simulator.recording import find_photos, plan_dataset

    if options.negatives:
        _refuse_beside_negatives(given)
    photos = () if options.backgrounds is None else find_photos(options.backgrounds)
    if options.negatives:
        typer.echo(_write_negatives(out, options, photos))
        return
    what: dict[str, Any] = {**options.plan_fields(), "photos": photos}
    plan = plan_dataset(**what)
    with progress_bar() as bar:
        task = bar.add_task("simulating dives", total=options.count)
        written = write_dataset(
            out,
            options.count,
            layout=options.layout,
            workers=options.workers,
            **what,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    if options.preview:
        with working("drawing the contact sheet"):
            save_picture(out / PREVIEW_NAME, draw_preview(plan, min(options.count, PREVIEW_DIVES)))
    typer.echo(written)


_OF_NEGATIVES = ("negatives", "count", "seed", "backgrounds")
"""Options that say something of clips without a dive."""


def _refuse_beside_negatives(given: Given) -> None:
    from finecausal_cli.config import flag_of, info_of
    from finecausal_cli.errors import UsageError
    from finecausal_cli.simulator import SimulateOptions

    of_dives = [each for each in fields(SimulateOptions) if info_of(each) and each.name not in _OF_NEGATIVES]
    flags = [flag_of(each) for each in of_dives if each.name in given]
    if flags:
        hint = f"leave out {'it' if len(flags) == 1 else 'them'}, or --negatives"
        raise UsageError("--negatives writes clips without a dive", where=" ".join(flags), hint=hint)


def _write_negatives(out: Path, options: SimulateOptions, photos: Sequence[str]) -> Path:
    from finecausal_cli.report.console import progress_bar
    from finecausal_cli.simulator.negatives import write_negatives

    with progress_bar() as bar:
        task = bar.add_task("simulating clips without a dive", total=None)

        def show(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        return write_negatives(out, options.negatives, options.count, options.seed, photos, progress=show)


# ``finecausal dataset``: what is in a dataset, and what is wrong with it.

dataset_app = typer.Typer(help="Import a published dataset, and check one before training on it.", no_args_is_help=True)


@dataset_app.callback()
def group() -> None:
    """Import a published dataset, and check one before training on it."""


@dataclass(frozen=True)
class CheckOptions(FormatOptions):
    """How a dataset is checked."""

    decode: bool = option(False, "Decode every clip and its masks: slow, but finds damaged files.")
    every: bool = option(False, "Print every problem; by default many of one kind are one line.", flag="--all")


def check(
    path: Annotated[
        Path,
        typer.Argument(
            metavar="PATH",
            help="A manifest or its folder, or the folder of FineDiving-HM or MTL-AQA.",
            show_default=False,
        ),
    ],
    layout: LayoutOptions,
    options: CheckOptions,
) -> None:
    """List everything that is wrong with a dataset, file by file, and what it contains.

    Exits with 0 if nothing is wrong and with 1 otherwise.
    """
    from finecausal_cli.data.datasets import check_dataset
    from finecausal_cli.report.assets import CheckProgress, dataset_json, print_dataset
    from finecausal_cli.report.console import open_console

    with CheckProgress() as progress:
        checked = check_dataset(
            path,
            **layout.arguments(),
            decode=options.decode,
            start=progress.start,
            advance=progress.advance,
        )
    if options.output_format == "json":
        typer.echo(dataset_json(checked))
    else:
        print_dataset(checked, open_console(), every=options.every)
    if checked.problems:
        raise typer.Exit(1)


add_command(dataset_app, check)


@dataclass(frozen=True)
class ImportOptions(OptionGroup):
    """Where the manifest goes."""

    output: Path | None = option(
        None, "The manifest to write, a .csv; dives.csv in SOURCE by default.", flag="-o,--output", metavar="FILE"
    )


def import_(
    sources: Annotated[
        list[Path],
        typer.Argument(
            metavar="SOURCE...",
            help="Folders of FineDiving-HM, MTL-AQA, or FineDiving as tables and clips (Hugging Face).",
            show_default=False,
        ),
    ],
    options: ImportOptions,
    layout: Annotated[LayoutOptions, Without("allow_outside")],
) -> None:
    """Write one manifest of the dives of published datasets; pictures in frames.zip are unpacked beside it.

    What is not recognised is named. Check the result with:
    finecausal dataset check MANIFEST
    """
    from finecausal_cli.data.importing import import_datasets
    from finecausal_cli.data.manifest import MANIFEST_NAME
    from finecausal_cli.errors import UsageError
    from finecausal_cli.report.assets import print_import
    from finecausal_cli.report.console import error_console, progress_bar

    if options.output is None and len(sources) > 1:
        raise UsageError("several sources make one manifest", where="-o", hint="-o FOLDER/dives.csv")
    manifest = options.output or sources[0] / MANIFEST_NAME
    with progress_bar() as bar:
        task = bar.add_task("reading the labels", total=None)
        imported = import_datasets(
            sources,
            manifest,
            annotations=layout.annotations,
            frames=layout.frames,
            start=lambda clips: bar.reset(task, total=clips, description="unpacking clips"),
            advance=lambda: bar.advance(task),
        )
    print_import(imported, error_console())
    if any(Path(source).resolve() != manifest.parent.resolve() for source in sources):
        error_console().print("clips lie outside of the manifest's folder: read it with --allow-outside", style="dim")
    typer.echo(imported.manifest)
    if any(problem.stops for problem in imported.problems):
        raise typer.Exit(1)


add_command(dataset_app, import_, name="import")


# ``finecausal evaluate``: metrics on a dataset's held-out dives.


@dataclass(frozen=True)
class EvaluationOutput(OptionGroup):
    """Which weights are evaluated, and where the result goes."""

    weights: str = option(
        DEFAULT_WEIGHTS, "Bundled weights by name, a folder, or a run: its best and last epoch.", is_path=True
    )
    by: Literal["number", "difficulty"] | None = option(None, "Also print a table by number or difficulty.")
    output: Path | None = option(
        None, "Folder for metrics.json, predictions.csv, figures and report.html.", flag="-o,--output"
    )
    figures: bool = option(True, "With -o: draw figures.", flag="--figures/--no-figures")
    output_format: OutputFormat = option("table", "How to print the result.", flag="--format")


@dataclass(frozen=True)
class AblationOptions(OptionGroup):
    """Which variants of a network are compared."""

    ablate: str | None = option(
        None,
        "Compare networks without gat, tca or gat,tca: the paper's Table 2.",
        metavar="MODULES",
        panel="Ablation",
    )
    variants: Path | None = option(
        None, "Folder of the runs of 'train --ablate ...', any seeds and names.", panel="Ablation"
    )


def evaluate(
    dataset: Dataset,
    target: EvaluationOutput,
    options: EvaluateOptions,
    ablation: AblationOptions,
    layout: LayoutOptions,
    cache: CacheOptions,
    computing: DeviceOptions,
) -> None:
    """Score a dataset's test dives and print the field's metrics, beside those of each dive number's mean."""
    from finecausal_cli.data.datasets import read_dataset
    from finecausal_cli.device import resolve_device
    from finecausal_cli.errors import UsageError
    from finecausal_cli.evaluation.ablation import evaluate_variants, find_variants, parse_variants
    from finecausal_cli.evaluation.run import evaluate as run_evaluation
    from finecausal_cli.evaluation.run import weights_of_run
    from finecausal_cli.report.evaluation import EvaluationProgress
    from finecausal_cli.report.files import deliver_ablation, deliver_evaluation
    from finecausal_cli.report.output import require_figures
    from finecausal_cli.weights.hub import resolve_weights

    ablate, variants = ablation.ablate, ablation.variants
    if (ablate is None) != (variants is None):
        raise UsageError("--ablate and --variants go together", hint="--ablate gat,tca --variants FOLDER")
    if target.output is not None and target.figures:
        require_figures("add --no-figures")
    with EvaluationProgress() as progress:
        more: dict[str, Any] = {
            "cache": cache.folder,
            "read": partial(read_dataset, **layout.arguments()),
            "device": resolve_device(computing.device),
            "start": progress.start,
            "advance": progress.advance,
        }
        if ablate is not None and variants is not None:
            runs = find_variants(variants, parse_variants(ablate))
            results = evaluate_variants(dataset, variants, runs, options, watch=progress.name, **more)
        else:
            folders = list(weights_of_run(Path(target.weights)).values()) or [resolve_weights(target.weights)]
            evaluations = [run_evaluation(dataset, folder, options, **more) for folder in folders]
    if ablate is not None:
        deliver_ablation(results, target.output_format, target.output)
    else:
        deliver_evaluation(evaluations, target.output_format, target.output, by=target.by, figures=target.figures)


# The commands train and pretrain.


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
