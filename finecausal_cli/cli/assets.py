"""The commands weights, exemplars, schema, doctor and dive."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

import typer

from finecausal_cli.cli import options as given
from finecausal_cli.cli.options import options_from_fields

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.progress import TaskID


# ``finecausal weights``: what there is, what it is, whether it is whole; the hub; foreign checkpoints.

weights_app = typer.Typer(help="List, describe, check, fetch, convert and teach weights.", no_args_is_help=True)

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


@weights_app.command("list")
def list_weights() -> None:
    """List the bundled weights, and those that were fetched from a hub."""
    from finecausal_cli.report.assets import print_weights_list
    from finecausal_cli.report.console import open_console
    from finecausal_cli.weights import read_manifest
    from finecausal_cli.weights.hub import list_bundled, list_fetched

    found = {**list_bundled(), **list_fetched()}
    print_weights_list({name: read_manifest(folder) for name, folder in found.items()}, open_console())


@weights_app.command()
def info(
    weights: Name = given.WEIGHTS_DEFAULT,
    as_json: Annotated[bool, typer.Option("--json", help="Print what is stored, as JSON.")] = False,
) -> None:
    """Say what weights are, where they come from and what they know."""
    from finecausal_cli.report.assets import print_weights
    from finecausal_cli.report.console import open_console
    from finecausal_cli.weights import read_manifest
    from finecausal_cli.weights.hub import resolve_weights

    folder = resolve_weights(weights)
    manifest = read_manifest(folder)
    if as_json:
        typer.echo(manifest.model_dump_json(indent=2))
    else:
        print_weights(folder, manifest, open_console())


@weights_app.command()
def verify(weights: Name = given.WEIGHTS_DEFAULT) -> None:
    """Read weights completely and refuse anything missing, damaged or not finite."""
    from finecausal_cli.report.assets import print_verified
    from finecausal_cli.report.console import open_console
    from finecausal_cli.weights.hub import resolve_weights
    from finecausal_cli.weights.store import load_weights

    folder = resolve_weights(weights)
    print_verified(folder, load_weights(folder), open_console())


@weights_app.command()
def pull(
    weights: Annotated[str, typer.Argument(metavar="hf://OWNER/REPO@REVISION", help="Weights on the hub.")],
) -> None:
    """Fetch weights from the hub, check them and keep them: at a commit, at a tag, or at what a branch is now."""
    from finecausal_cli.report.assets import print_weights
    from finecausal_cli.report.console import open_console
    from finecausal_cli.weights import read_manifest
    from finecausal_cli.weights.hub import pull as pull_weights

    folder = pull_weights(weights)
    print_weights(folder, read_manifest(folder), open_console())


@weights_app.command()
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
    from finecausal_cli.data.cache import default_cache
    from finecausal_cli.device import resolve_device
    from finecausal_cli.report.assets import print_recognition
    from finecausal_cli.report.console import error_console, progress_bar
    from finecausal_cli.training.dive_classifier import train_dive_classifier
    from finecausal_cli.weights.hub import resolve_weights

    with progress_bar(error_console()) as bar:
        task = bar.add_task("reading dives, then learning", total=None)
        found = train_dive_classifier(
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


@weights_app.command()
@options_from_fields
def reader(dataset: ReaderData, learning: ReaderLearning) -> None:
    """Teach the athlete reader (outline, joints, motion) from simulated clips; a run that was stopped goes on."""
    from finecausal_cli.report.console import error_console, progress_bar
    from finecausal_cli.training.athlete_reader import ReaderRun, train_athlete_reader

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


@weights_app.command()
def convert(
    checkpoint: Annotated[Path, typer.Argument(help="A .pth file of the released code; none of its code is run.")],
    output: Annotated[Path, typer.Argument(help="Folder to write.")],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace weights that are there.")] = False,
) -> None:
    """Convert a checkpoint of the released code to weights of the reference preset."""
    from finecausal_cli.report.assets import print_weights
    from finecausal_cli.report.console import open_console
    from finecausal_cli.weights import read_manifest
    from finecausal_cli.weights.convert import convert_checkpoint

    convert_checkpoint(checkpoint, output, overwrite=overwrite)
    print_weights(output, read_manifest(output), open_console())


# ``finecausal exemplars``: the bank that dives are compared with.

exemplars_app = typer.Typer(
    help="List, show and build the exemplars that dives are compared with.", no_args_is_help=True
)


@exemplars_app.command("list")
def list_exemplars(
    dive: given.DiveNumber = None,
    weights: given.Weights = given.WEIGHTS_DEFAULT,
    bank: given.BankFolder = None,
) -> None:
    """List the exemplars of a bank."""
    from finecausal_cli.diving import parse_dive_number
    from finecausal_cli.report.assets import print_exemplars
    from finecausal_cli.report.console import open_console
    from finecausal_cli.retrieval.bank import read_index
    from finecausal_cli.weights.hub import bank_folder, resolve_weights

    number = None if dive is None else str(parse_dive_number(dive))
    exemplars = read_index(bank or bank_folder(resolve_weights(weights))).exemplars
    print_exemplars([one for one in exemplars if number in (None, one.dive)], open_console())


@exemplars_app.command()
def show(
    exemplar: Annotated[str, typer.Argument(help="Identifier, as listed.")],
    weights: given.Weights = given.WEIGHTS_DEFAULT,
    bank: given.BankFolder = None,
) -> None:
    """Show one exemplar."""
    from finecausal_cli.report.assets import print_exemplar
    from finecausal_cli.report.console import open_console
    from finecausal_cli.retrieval.bank import read_index
    from finecausal_cli.weights.hub import bank_folder, resolve_weights

    folder = bank or bank_folder(resolve_weights(weights))
    print_exemplar(read_index(folder).find(exemplar, folder.name), folder, open_console())


@exemplars_app.command()
@options_from_fields
def build(
    dataset: given.Dataset,
    layout: given.LayoutArgs,
    clips: given.Clips,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Folder of the bank; inside the weights by default.")
    ] = None,
    weights: given.Weights = given.WEIGHTS_DEFAULT,
    per_number: Annotated[int, typer.Option(min=1, help="Most exemplars of one dive number.")] = 5,
    origin: Annotated[str, typer.Option(help="Where the dives come from, kept with each exemplar.")] = "",
    device: given.Device = "auto",
) -> None:
    """Build a bank from a dataset's training dives, spread over the range of execution."""
    from finecausal_cli.data.cache import ClipCache
    from finecausal_cli.data.datasets import assign_splits, read_dataset
    from finecausal_cli.device import resolve_device
    from finecausal_cli.report.console import working
    from finecausal_cli.retrieval.bank import build_bank
    from finecausal_cli.weights.hub import bank_folder, resolve_weights
    from finecausal_cli.weights.store import load_weights

    folder = resolve_weights(weights)
    loaded = load_weights(folder, device=resolve_device(device))
    scored = [dive for dive in read_dataset(dataset, **layout.arguments()) if dive.score is not None]
    dives = [dive for dive in assign_splits(scored) if dive.split == "train"]
    cache = ClipCache(clips.folder(), geometry=loaded.config.geometry, frame_size=loaded.config.frame_size)
    with working("encoding exemplars"):
        bank = build_bank(
            dives,
            output or bank_folder(folder),
            model=loaded.model,
            weights_digest=loaded.digest,
            cache=cache,
            per_number=per_number,
            origin=origin,
        )
    typer.echo(f"{len(bank.exemplars)} exemplars of {len({one.dive for one in bank.exemplars})} dive numbers")


# ``finecausal schema``: the published schemas of the JSON output.


class Of(str, Enum):
    """Commands that print JSON with a schema."""

    SCORE = "score"
    EXPLAIN = "explain"
    COMPARE = "compare"
    ROW = "row"
    UNSCORED = "unscored"


def schema(
    command: Annotated[
        Of,
        typer.Argument(
            metavar="COMMAND",
            help="score, explain or compare; row for a line of many; unscored for a clip without points.",
        ),
    ] = Of.SCORE,
) -> None:
    """Print the JSON Schema of a command's ``--format json``, or of a row of ``score`` with many dives."""
    from finecausal_cli.report.output import (
        assessment_schema,
        comparison_schema,
        explanation_schema,
        row_schema,
        unscored_schema,
    )

    schemas = {
        Of.SCORE: assessment_schema,
        Of.EXPLAIN: explanation_schema,
        Of.COMPARE: comparison_schema,
        Of.ROW: row_schema,
        Of.UNSCORED: unscored_schema,
    }
    typer.echo(schemas[command]())


# ``finecausal doctor``: is everything here that scoring needs, and does it give the numbers it should?


def doctor(
    weights: given.Weights = given.WEIGHTS_DEFAULT,
    device: given.Device = "auto",
    output_format: given.Format = given.OutputFormat.TABLE,
    self_test: Annotated[bool, typer.Option("--self-test/--no-self-test", help="Score a bundled clip.")] = True,
) -> None:
    """Check versions, devices, decoders and weights, and score a bundled clip against the expected number."""
    from finecausal_cli.report.assets import diagnostics_json, print_diagnostics
    from finecausal_cli.report.console import open_console, working
    from finecausal_cli.scoring.doctor import diagnose

    with working("examining"):
        checkup = diagnose(weights, device=device, self_test=self_test)
    if output_format is given.OutputFormat.JSON:
        typer.echo(diagnostics_json(checkup))
    else:
        print_diagnostics(checkup, open_console())
    if not checkup.healthy:
        raise typer.Exit(1)


# ``finecausal dive``: what a dive number means and how difficult it is.


class DiveFormat(str, Enum):
    """How to print a dive."""

    TABLE = "table"
    JSON = "json"


def dive(
    number: Annotated[list[str], typer.Argument(help="Dive number such as 5253B; any case, blanks allowed.")],
    height: Annotated[
        float | None, typer.Option(help="Height in metres: 1, 3, 5, 7.5 or 10. Without it, every listed height.")
    ] = None,
    output_format: Annotated[DiveFormat, typer.Option("--format", help="How to print it.")] = DiveFormat.TABLE,
) -> None:
    """Say what a dive number means, digit by digit, and its degree of difficulty."""
    from finecausal_cli.diving import parse_dive_number
    from finecausal_cli.report.assets import dive_json, print_dive
    from finecausal_cli.report.console import open_console

    parsed = parse_dive_number(" ".join(number))
    if output_format is DiveFormat.JSON:
        typer.echo(dive_json(parsed, height))
    else:
        print_dive(parsed, height, open_console())
