"""``finecausal exemplars``: the bank that dives are compared with."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from finecausal_cli.cli import options as given
from finecausal_cli.cli.spread import spread

app = typer.Typer(help="List, show and build the exemplars that dives are compared with.", no_args_is_help=True)


@app.command("list")
def list_exemplars(
    dive: given.DiveNumber = None,
    weights: given.Weights = given.WEIGHTS_DEFAULT,
    bank: given.BankFolder = None,
) -> None:
    """List the exemplars of a bank."""
    from finecausal_cli.diving.number import parse_dive_number
    from finecausal_cli.exemplars.bank import read_index
    from finecausal_cli.report.exemplars import print_exemplars
    from finecausal_cli.report.terminal import open_console
    from finecausal_cli.weights.registry import bank_folder, resolve_weights

    number = None if dive is None else str(parse_dive_number(dive))
    exemplars = read_index(bank or bank_folder(resolve_weights(weights))).exemplars
    print_exemplars([one for one in exemplars if number in (None, one.dive)], open_console())


@app.command()
def show(
    exemplar: Annotated[str, typer.Argument(help="Identifier, as listed.")],
    weights: given.Weights = given.WEIGHTS_DEFAULT,
    bank: given.BankFolder = None,
) -> None:
    """Show one exemplar."""
    from finecausal_cli.exemplars.bank import read_index
    from finecausal_cli.report.exemplars import print_exemplar
    from finecausal_cli.report.terminal import open_console
    from finecausal_cli.weights.registry import bank_folder, resolve_weights

    folder = bank or bank_folder(resolve_weights(weights))
    print_exemplar(read_index(folder).find(exemplar, folder.name), folder, open_console())


@app.command()
@spread
def build(
    dataset: given.Dataset,
    layout: given.Layout,
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
    from finecausal_cli.assess.device import resolve_device
    from finecausal_cli.data.cache import ClipCache
    from finecausal_cli.data.open import read_dataset
    from finecausal_cli.data.splits import assign_splits
    from finecausal_cli.exemplars.build import build_bank
    from finecausal_cli.report.progress import working
    from finecausal_cli.weights.registry import bank_folder, resolve_weights
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
