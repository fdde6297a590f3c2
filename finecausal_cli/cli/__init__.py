"""The command ``finecausal``: its sub-commands, and the one place where errors become a line and an exit code."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from finecausal_cli.cli import assets, data, score, train
from finecausal_cli.cli.options import add_command
from finecausal_cli.errors import FinecausalError
from finecausal_cli.version import __version__

EXIT_INTERRUPTED = 130

ANYWHERE = ("--debug", "--offline")
"""Flags that may stand before or behind the name of a command."""

app = typer.Typer(
    name="finecausal",
    help="Score diving videos and explain the score.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for _panel, _commands in {
    "Score": (score.score, score.merge, score.explain, score.compare, assets.dive),
    "Research": (data.simulate, train.pretrain, train.train, data.evaluate),
}.items():
    for _command in _commands:
        add_command(app, _command, panel=_panel)
app.add_typer(data.dataset_app, name="dataset", rich_help_panel="Research")
app.add_typer(assets.exemplars_app, name="exemplars", rich_help_panel="Weights and exemplars")
app.add_typer(assets.weights_app, name="weights", rich_help_panel="Weights and exemplars")
add_command(app, assets.schema, panel="Weights and exemplars")
add_command(app, assets.doctor, panel="Weights and exemplars")


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"finecausal {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an error; may stand anywhere on the line.")
    ] = False,
    offline: Annotated[
        bool, typer.Option("--offline", help="Never touch the network; may stand anywhere on the line.")
    ] = False,
) -> None:
    """Score diving videos and explain the score."""


def run() -> None:
    """Run the command line and exit with its code: 0 done, 1 failed, 2 wrong usage, 130 interrupted."""
    arguments = sys.argv[1:]
    debug = "--debug" in arguments
    if "--offline" in arguments:
        from finecausal_cli.weights.hub import OFFLINE

        os.environ[OFFLINE] = "1"  # the hub's own library obeys it, too
    try:
        app([argument for argument in arguments if argument not in ANYWHERE], prog_name="finecausal")
    except FinecausalError as error:
        if debug:
            raise
        typer.echo(f"finecausal: {_one_line(str(error))}", err=True)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(EXIT_INTERRUPTED)
    except BrokenPipeError:
        # The reader went away (| head): stop quietly, and keep the interpreter from flushing into the closed pipe.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


def _one_line(text: str) -> str:
    """Keep a file name with a line break or an escape sequence in it from breaking the line."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text)
