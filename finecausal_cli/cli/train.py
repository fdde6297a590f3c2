"""``finecausal train``: weights from a dataset of one's own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from finecausal_cli.cli import options as given


def train(
    dataset: given.Dataset,
    output: Annotated[Path, typer.Option("-o", "--output", help="The run's folder.")] = Path("runs/train"),
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in the folder.")] = False,
    preset: Annotated[str, typer.Option(help="Network: compact, finecausal or reference.")] = "compact",
    epochs: Annotated[int, typer.Option(min=1, help="Times every dive is seen.")] = 20,
    group: Annotated[int, typer.Option(min=2, help="Dives of one number that meet in a batch, all against all.")] = 4,
    groups_per_batch: Annotated[int, typer.Option(min=1, help="Groups in a batch.")] = 2,
    lr: Annotated[float, typer.Option(help="Peak learning rate.")] = 1e-3,
    backbone_lr: Annotated[float, typer.Option(help="Peak learning rate of the I3D trunks.")] = 1e-3,
    ablate: Annotated[str, typer.Option(help="Modules to leave out: gat, tca or gat,tca.")] = "",
    validate_every: Annotated[int, typer.Option(min=1, help="Epochs between validations.")] = 1,
    precision: Annotated[str, typer.Option(help="fp32 or bf16.")] = "fp32",
    seed: given.Seed = 0,
    device: given.Device = "auto",
    cache: given.Cache = None,
) -> None:
    """Train on the dives of a manifest and keep the weights that do best on its validation dives."""
    from finecausal_cli.assess.device import resolve_device
    from finecausal_cli.data.places import default_cache
    from finecausal_cli.report.training import TrainingDisplay
    from finecausal_cli.training.options import build_config, build_options
    from finecausal_cli.training.run import train as run_training

    options = build_options(
        epochs=epochs,
        group=group,
        groups_per_batch=groups_per_batch,
        lr=lr,
        backbone_lr=backbone_lr,
        validate_every=validate_every,
        precision=precision,
        seed=seed,
    )
    with TrainingDisplay() as display:
        best = run_training(
            dataset,
            output,
            config=build_config(preset, ablate=ablate),
            options=options,
            cache=cache or default_cache(),
            device=resolve_device(device),
            resume=resume,
            watch=display.watch,
        )
    typer.echo(best)
