"""``finecausal simulate``: dives of our own, with scores, stages and masks."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer

from finecausal_cli.cli import options as given

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
    from finecausal_cli.report.progress import error_console, progress_bar, working
    from finecausal_cli.simulator.dataset import write_dataset
    from finecausal_cli.simulator.dataset_plan import DIVES, find_photos, plan_dataset
    from finecausal_cli.simulator.preview import draw_preview, save_picture

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
