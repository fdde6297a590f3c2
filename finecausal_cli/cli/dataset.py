"""``finecausal dataset``: what is in a dataset, and what is wrong with it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from finecausal_cli.cli import options as given
from finecausal_cli.cli.spread import spread

app = typer.Typer(help="Check a dataset before it is trained on.", no_args_is_help=True)


@app.callback()
def group() -> None:
    """Check a dataset before it is trained on."""


@app.command()
@spread
def check(
    path: Annotated[
        Path,
        typer.Argument(
            metavar="PATH",
            help="A manifest or its folder, or the folder of FineDiving-HM or MTL-AQA.",
            show_default=False,
        ),
    ],
    layout: given.Layout,
    decode: Annotated[bool, typer.Option("--decode", help="Decode every clip and its masks; slow, and surer.")] = False,
    output_format: given.Format = given.OutputFormat.TABLE,
) -> None:
    """List everything that is wrong with a dataset, file by file, and what it holds.

    Exits with 0 if nothing is wrong and with 1 otherwise.
    """
    from finecausal_cli.data.check import check_dataset
    from finecausal_cli.report.dataset import CheckProgress, dataset_json, print_dataset
    from finecausal_cli.report.terminal import open_console

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
