"""``finecausal weights``: what there is, what it is, whether it is whole; the hub; foreign checkpoints."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

import typer

from finecausal_cli.cli import options as given
from finecausal_cli.cli.spread import spread

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.progress import TaskID

app = typer.Typer(help="List, describe, check, fetch, convert and teach weights.", no_args_is_help=True)

Name = Annotated[
    str, typer.Argument(metavar="WEIGHTS", help="Bundled weights by name, a folder, or hf://owner/repo@revision.")
]


@dataclass(frozen=True)
class ReaderData:
    """What the athlete reader is taught from; fields are those of ``ReaderRun``."""

    panel: ClassVar[str] = "Data"

    train: Annotated[
        list[Path], typer.Option("--train", metavar="DIR", help="Simulated clips with joints; may be given again.")
    ]
    validation: Annotated[
        list[Path], typer.Option("--validation", metavar="DIR", help="Others, held out; may be given again.")
    ]
    out: Annotated[Path, typer.Option("-o", "--output", metavar="DIR", help="Folder of the run.")]
    backgrounds: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Photographs to put behind some of the athletes.")
    ] = None
    imagenet: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="EfficientNet-Lite0's weights (.pth); without it from nothing."),
    ] = None


@dataclass(frozen=True)
class ReaderLearning:
    """How long and how; fields are those of ``ReaderRun``."""

    panel: ClassVar[str] = "Learning"

    steps: Annotated[int, typer.Option(min=1, metavar="N", help="Steps of the network of single frames.")] = 6000
    sequence_steps: Annotated[int, typer.Option(min=0, metavar="N", help="Steps of the network over time.")] = 3000
    batch_size: Annotated[int, typer.Option(min=4, metavar="N", help="Windows a step.")] = 32
    lr: Annotated[float, typer.Option("--lr", min=0, help="Highest learning rate.")] = 1.5e-3
    frozen_stages: Annotated[int, typer.Option(min=0, max=7, help="Backbone stages left as they are.")] = 3
    per_clip: Annotated[int, typer.Option(min=1, metavar="N", help="Windows cut from a clip.")] = 16
    workers: Annotated[int, typer.Option(min=1, metavar="N", help="Processes that cut windows.")] = 1
    seed: given.Seed = 0
    device: given.Device = "auto"


@app.command("list")
def list_weights() -> None:
    """List the bundled weights, and those that were fetched from a hub."""
    from finecausal_cli.report.terminal import open_console
    from finecausal_cli.report.weights import print_weights_list
    from finecausal_cli.weights.hub import list_fetched
    from finecausal_cli.weights.manifest import read_manifest
    from finecausal_cli.weights.registry import list_bundled

    found = {**list_bundled(), **list_fetched()}
    print_weights_list({name: read_manifest(folder) for name, folder in found.items()}, open_console())


@app.command()
def info(
    weights: Name = given.WEIGHTS_DEFAULT,
    as_json: Annotated[bool, typer.Option("--json", help="Print what is stored, as JSON.")] = False,
) -> None:
    """Say what weights are, where they come from and what they know."""
    from finecausal_cli.report.terminal import open_console
    from finecausal_cli.report.weights import print_weights
    from finecausal_cli.weights.manifest import read_manifest
    from finecausal_cli.weights.registry import resolve_weights

    folder = resolve_weights(weights)
    manifest = read_manifest(folder)
    if as_json:
        typer.echo(manifest.model_dump_json(indent=2))
    else:
        print_weights(folder, manifest, open_console())


@app.command()
def verify(weights: Name = given.WEIGHTS_DEFAULT) -> None:
    """Read weights completely and refuse anything missing, damaged or not finite."""
    from finecausal_cli.report.terminal import open_console
    from finecausal_cli.report.weights import print_verified
    from finecausal_cli.weights.registry import resolve_weights
    from finecausal_cli.weights.store import load_weights

    folder = resolve_weights(weights)
    print_verified(folder, load_weights(folder), open_console())


@app.command()
def pull(
    weights: Annotated[str, typer.Argument(metavar="hf://OWNER/REPO@REVISION", help="Weights on the hub.")],
) -> None:
    """Fetch weights from the hub, check them and keep them: at a commit, at a tag, or at what a branch is now."""
    from finecausal_cli.report.terminal import open_console
    from finecausal_cli.report.weights import print_weights
    from finecausal_cli.weights.hub import pull as pull_weights
    from finecausal_cli.weights.manifest import read_manifest

    folder = pull_weights(weights)
    print_weights(folder, read_manifest(folder), open_console())


@app.command()
def recogniser(
    dataset: given.Dataset,
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder to write.", show_default=False)],
    weights: Annotated[
        str, typer.Option("--weights", help="Weights whose trunk reads single frames, as that of compact does.")
    ] = given.WEIGHTS_DEFAULT,
    steps: Annotated[int, typer.Option(min=1, metavar="N", help="Optimiser steps.")] = 3000,
    cache: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder of decoded clips; the user's cache by default.", show_default=False),
    ] = None,
    seed: given.Seed = 0,
    device: given.Device = "auto",
) -> None:
    """Teach weights to recognise the dive number, from dives whose number is known; their scores stay as they are.

    Their exemplars are to be encoded again: finecausal exemplars build
    """
    from finecausal_cli.assess.device import resolve_device
    from finecausal_cli.data.places import default_cache
    from finecausal_cli.report.progress import error_console, progress_bar
    from finecausal_cli.report.weights import print_recognition
    from finecausal_cli.training.recognition import teach_numbers
    from finecausal_cli.weights.registry import resolve_weights

    with progress_bar(error_console()) as bar:
        task = bar.add_task("reading dives, then learning", total=None)
        found = teach_numbers(
            resolve_weights(weights),
            dataset,
            output,
            cache=cache or default_cache(),
            device=resolve_device(device),
            steps=steps,
            seed=seed,
            total=lambda count: bar.update(task, total=count),
            advance=lambda: bar.advance(task),
        )
    print_recognition(found, error_console())
    typer.echo(output)


@app.command()
@spread
def reader(dataset: ReaderData, learning: ReaderLearning) -> None:
    """Teach the athlete reader (outline, joints, motion) from simulated clips; a run that was stopped goes on."""
    from finecausal_cli.report.progress import error_console, progress_bar
    from finecausal_cli.training.athlete_run import ReaderRun, train_athlete_reader

    with progress_bar(error_console()) as bar:
        tasks: dict[str, TaskID] = {}

        def show(phase: str, done: int, of: int, figures: Mapping[str, float]) -> None:
            if phase not in tasks:
                tasks[phase] = bar.add_task(phase, total=of)
            loss = f"  loss {figures['loss']:.3f}" if "loss" in figures else ""
            bar.update(tasks[phase], completed=done, total=of, description=phase + loss)

        folders = {"train": tuple(dataset.train), "validation": tuple(dataset.validation)}
        written = train_athlete_reader(ReaderRun(**{**asdict(dataset), **folders, **asdict(learning)}), show)
    typer.echo(written)


@app.command()
def convert(
    checkpoint: Annotated[Path, typer.Argument(help="A .pth file of the released code; none of its code is run.")],
    output: Annotated[Path, typer.Argument(help="Folder to write.")],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace weights that are there.")] = False,
) -> None:
    """Convert a checkpoint of the released code to weights of the reference preset."""
    from finecausal_cli.report.terminal import open_console
    from finecausal_cli.report.weights import print_weights
    from finecausal_cli.weights.convert import convert_checkpoint
    from finecausal_cli.weights.manifest import read_manifest

    convert_checkpoint(checkpoint, output, overwrite=overwrite)
    print_weights(output, read_manifest(output), open_console())
