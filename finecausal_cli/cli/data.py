"""The commands simulate, dataset and evaluate."""

from __future__ import annotations

from enum import Enum
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from finecausal_cli.cli import options as given
from finecausal_cli.cli.options import options_from_fields

# ``finecausal simulate``: dives of our own, with scores, stages and masks.

PREVIEW_NAME = "preview.png"
PREVIEW_DIVES = 8


class DatasetFormat(str, Enum):
    """Layouts that a data set can be written in."""

    MANIFEST = "manifest"
    FINEDIVING = "finediving"


class World(str, Enum):
    """How dives are seen."""

    CLEAN = "clean"
    WILD = "wild"


def simulate(
    out: Annotated[
        Path, typer.Argument(metavar="OUT", help="Folder of the dataset; dives in it are kept.", show_default=False)
    ],
    count: Annotated[int, typer.Option("--count", min=1, help="Number of dives.")] = 100,
    seed: given.Seed = 0,
    dataset_format: Annotated[
        DatasetFormat,
        typer.Option("--format", help="Videos and dives.csv, or the folders and pickles of FineDiving-HM."),
    ] = DatasetFormat.MANIFEST,
    dives: Annotated[
        str | None, typer.Option("--dives", help="Dive numbers to draw from, e.g. 107B,5253B.", show_default=False)
    ] = None,
    height: Annotated[
        float | None, typer.Option("--height", help="Only this height in metres; any listed one by default.")
    ] = None,
    confounding: Annotated[
        float, typer.Option("--confounding", min=0, max=1, help="How far quality decides the venue, 0 to 1.")
    ] = 0.0,
    varied_poses: Annotated[
        bool,
        typer.Option("--varied-poses", help="Other poses than the dive has: for teaching the athlete reader."),
    ] = False,
    venue_seed: Annotated[
        int | None,
        typer.Option(help="Show the dives of --seed in the venues of another seed.", show_default=False),
    ] = None,
    entry_seed: Annotated[
        int | None,
        typer.Option(help="Give the dives of --seed the faults of another seed's entries.", show_default=False),
    ] = None,
    world: Annotated[
        World, typer.Option("--world", help="As broadcast from the side (clean), or as people film dives (wild).")
    ] = World.CLEAN,
    backgrounds: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="Photographs to stand behind the dives of --world wild.", show_default=False
        ),
    ] = None,
    negatives: Annotated[
        str | None,
        typer.Option(
            metavar="KIND,...",
            help="Write --count clips each of what is no dive instead, e.g. ball,splash; all for every kind.",
            show_default=False,
        ),
    ] = None,
    workers: Annotated[int, typer.Option("--workers", min=1, help="Processes that draw pictures.")] = 1,
    preview: Annotated[bool, typer.Option("--preview", help=f"Also draw a contact sheet, OUT/{PREVIEW_NAME}.")] = False,
) -> None:
    """Simulate dives: clips, exact masks, judges' marks and their causes. A second run goes on where one stopped."""
    from finecausal_cli.report.console import error_console, progress_bar, working
    from finecausal_cli.simulator.dataset import draw_preview, save_picture, write_dataset
    from finecausal_cli.simulator.recording import DIVES, find_photos, plan_dataset

    photos = () if backgrounds is None else find_photos(backgrounds)
    if negatives is not None:
        from finecausal_cli.simulator.negatives import write_negatives

        kinds = [kind.strip() for kind in negatives.split(",") if kind.strip()]
        with working("simulating what is no dive"):
            table = write_negatives(out, kinds, count, seed, photos)
        typer.echo(table)
        return
    numbers = DIVES if dives is None else [number for number in dives.split(",") if number.strip()]
    what: dict[str, Any] = {
        "dives": numbers,
        "confounding": confounding,
        "height_m": height,
        "venue_seed": venue_seed,
        "varied_poses": varied_poses,
        "entry_seed": entry_seed,
        "world": world.value,
        "photos": photos,
    }
    plan = plan_dataset(seed, **what)
    with progress_bar(error_console()) as bar:
        task = bar.add_task("simulating dives", total=count)
        written = write_dataset(
            out,
            count,
            seed,
            layout=dataset_format.value,
            workers=workers,
            **what,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    if preview:
        with working("drawing the contact sheet"):
            save_picture(out / PREVIEW_NAME, draw_preview(plan, min(count, PREVIEW_DIVES)))
    typer.echo(written)


# ``finecausal dataset``: what is in a dataset, and what is wrong with it.

dataset_app = typer.Typer(help="Check a dataset before it is trained on.", no_args_is_help=True)


@dataset_app.callback()
def group() -> None:
    """Check a dataset before it is trained on."""


@dataset_app.command()
@options_from_fields
def check(
    path: Annotated[
        Path,
        typer.Argument(
            metavar="PATH",
            help="A manifest or its folder, or the folder of FineDiving-HM or MTL-AQA.",
            show_default=False,
        ),
    ],
    layout: given.LayoutArgs,
    decode: Annotated[bool, typer.Option("--decode", help="Decode every clip and its masks; slow, and surer.")] = False,
    output_format: given.Format = given.OutputFormat.TABLE,
) -> None:
    """List everything that is wrong with a dataset, file by file, and what it holds.

    Exits with 0 if nothing is wrong and with 1 otherwise.
    """
    from finecausal_cli.data.datasets import check_dataset
    from finecausal_cli.report.assets import CheckProgress, dataset_json, print_dataset
    from finecausal_cli.report.console import open_console

    with CheckProgress() as progress:
        found = check_dataset(
            path,
            **layout.arguments(),
            decode=decode,
            start=progress.start,
            advance=progress.advance,
        )
    if output_format is given.OutputFormat.JSON:
        typer.echo(dataset_json(found))
    else:
        print_dataset(found, open_console())
    if found.problems:
        raise typer.Exit(1)


# ``finecausal evaluate``: metrics on a dataset's held-out dives.

_VOTERS = "Voters"
_ABLATION = "Ablation"


class Exemplars(str, Enum):
    """Whom the dives are compared with."""

    TRAIN = "train"
    BANK = "bank"


class Split(str, Enum):
    """Which dives are scored."""

    TEST = "test"
    VAL = "val"
    ALL = "all"
    EVENTS = "events"


class By(str, Enum):
    """What a table of groups goes by."""

    NUMBER = "number"
    DIFFICULTY = "difficulty"


@options_from_fields
def evaluate(
    dataset: given.Dataset,
    layout: given.LayoutArgs,
    clips: given.Clips,
    weights: Annotated[
        str, typer.Option("--weights", help="Bundled weights by name, a folder, or a run: its best and last epoch.")
    ] = given.WEIGHTS_DEFAULT,
    split: Annotated[
        Split,
        typer.Option(help="Which dives to score; 'all' goes with --exemplars bank, 'events' leaves whole events out."),
    ] = Split.TEST,
    by: Annotated[
        By | None, typer.Option(help="Also print a table by number or difficulty.", show_default=False)
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            help="Folder for metrics.json, predictions.csv, figures and report.html.",
            show_default=False,
        ),
    ] = None,
    figures: Annotated[bool, typer.Option("--figures/--no-figures", help="With -o: draw figures.")] = True,
    output_format: given.Format = given.OutputFormat.TABLE,
    exemplars: Annotated[
        Exemplars,
        typer.Option(
            help="Compare with the dataset's training dives, or with the weights' bank.", rich_help_panel=_VOTERS
        ),
    ] = Exemplars.TRAIN,
    voters: Annotated[
        int, typer.Option("--voters", min=1, help="Most exemplars to compare with.", rich_help_panel=_VOTERS)
    ] = 10,
    dive_given: Annotated[
        bool,
        typer.Option(
            "--dive-given/--no-dive",
            help="Choose voters by the dive's number, or as for a user who does not know it.",
            rich_help_panel=_VOTERS,
        ),
    ] = True,
    protocols: Annotated[
        bool,
        typer.Option(
            "--protocols",
            help="Also measure 1 and 10 voters, with and without the dive number.",
            rich_help_panel=_VOTERS,
        ),
    ] = False,
    shifted: Annotated[
        Path | None,
        typer.Option(
            metavar="DATASET",
            help="The same dives with venue, light and audience drawn anew: show what that costs.",
            show_default=False,
        ),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the order among voters.", rich_help_panel=_VOTERS)] = 0,
    ablate: Annotated[
        str | None,
        typer.Option(
            metavar="MODULES",
            help="Compare networks without gat, tca or gat,tca: the paper's Table 2.",
            rich_help_panel=_ABLATION,
            show_default=False,
        ),
    ] = None,
    variants: Annotated[
        Path | None,
        typer.Option(
            help="Folder of the runs of 'train --ablate ...', any seeds and names.",
            rich_help_panel=_ABLATION,
            show_default=False,
        ),
    ] = None,
    device: given.Device = "auto",
) -> None:
    """Score a dataset's test dives and print the field's metrics, with the mean of each dive number beside them."""
    from finecausal_cli.data.datasets import read_dataset
    from finecausal_cli.device import resolve_device
    from finecausal_cli.errors import UsageError
    from finecausal_cli.evaluation.ablation import evaluate_variants, find_variants, parse_variants
    from finecausal_cli.evaluation.run import PROTOCOLS, own_bank, weights_of_run
    from finecausal_cli.evaluation.run import evaluate as run_evaluation
    from finecausal_cli.report.evaluation import EvaluationProgress
    from finecausal_cli.report.files import deliver_ablation, deliver_evaluation, require_figures
    from finecausal_cli.weights.hub import resolve_weights

    if (ablate is None) != (variants is None):
        raise UsageError("--ablate and --variants go together", hint="--ablate gat,tca --variants FOLDER")
    if output is not None and figures:
        require_figures()
    bank = own_bank if exemplars is Exemplars.BANK else None
    with EvaluationProgress() as progress:
        options: dict[str, Any] = {
            "cache": clips.folder(),
            "read": partial(read_dataset, **layout.arguments()),
            "device": resolve_device(device),
            "split": split.value,
            "voters": voters,
            "dive_given": dive_given,
            "also": PROTOCOLS if protocols else (),
            "shifted": shifted,
            "seed": seed,
            "start": progress.start,
            "advance": progress.advance,
        }
        if ablate is not None and variants is not None:
            found = find_variants(variants, parse_variants(ablate))
            results = evaluate_variants(dataset, variants, found, bank=bank, watch=progress.name, **options)
        else:
            folders = list(weights_of_run(Path(weights)).values()) or [resolve_weights(weights)]
            evaluations = [run_evaluation(dataset, folder, bank=bank and bank(folder), **options) for folder in folders]
    if ablate is not None:
        deliver_ablation(results, output_format.value, output)
    else:
        deliver_evaluation(evaluations, output_format.value, output, by=by and by.value, figures=figures)
