"""``finecausal pretrain``: a trunk that knows what is to be seen in dives."""

from __future__ import annotations

import sys
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from finecausal_cli.cli import options as given
from finecausal_cli.cli.spread import spread

_NETWORK = "Network"
_LEARNING = "Learning"
_RUN = "Running"


class Precision(str, Enum):
    """Numbers that trunks compute in."""

    FP32 = "fp32"
    BF16 = "bf16"


class Geometry(str, Enum):
    """How pictures are brought to size."""

    FIT = "fit"
    SQUEEZE = "squeeze"


@spread
def pretrain(
    dataset: Annotated[
        Path,
        typer.Argument(metavar="DATASET", help="Dives that finecausal simulate wrote.", show_default=False),
    ],
    clips: given.Clips,
    output: Annotated[Path, typer.Option("-o", "--output", help="The run's folder, and that of the weights.")] = Path(
        "runs/pretrain"
    ),
    resume: given.Resume = False,
    preset: Annotated[
        str | None,
        typer.Option(
            help="compact, finecausal or reference; compact, or that of --init.",
            rich_help_panel=_NETWORK,
            show_default=False,
        ),
    ] = None,
    two_trunks: Annotated[
        bool,
        typer.Option(
            "--two-trunks",
            help="One trunk for the features and one for the foreground, where the preset shares one.",
            rich_help_panel=_NETWORK,
        ),
    ] = False,
    geometry: Annotated[
        Geometry | None,
        typer.Option(
            help="How pictures are brought to size; as the preset or --init says.",
            rich_help_panel=_NETWORK,
            show_default=False,
        ),
    ] = None,
    init: Annotated[
        str | None,
        typer.Option(
            metavar="WEIGHTS",
            help="Start from the trunks and the foreground of weights, or from I3D trunks (kinetics:FILE).",
            rich_help_panel=_NETWORK,
            show_default=False,
        ),
    ] = None,
    steps: Annotated[int, typer.Option(min=1, metavar="N", help="Optimiser steps.", rich_help_panel=_LEARNING)] = 4000,
    dives: Annotated[int, typer.Option(min=1, metavar="N", help="Dives in a batch.", rich_help_panel=_LEARNING)] = 12,
    snippets: Annotated[int, typer.Option(min=1, metavar="N", help="Snippets of each.", rich_help_panel=_LEARNING)] = 1,
    at_takeoff: Annotated[
        float,
        typer.Option(
            min=0,
            max=1,
            metavar="SHARE",
            help="Share of the snippets that are cut to show the take-off.",
            rich_help_panel=_LEARNING,
        ),
    ] = 0.3,
    counts: Annotated[
        str,
        typer.Option(
            metavar="LIST",
            help="How much an error counts by the stretch where it shows: stance, crouch, leaving, flight, entry; "
            "e.g. crouch=3,flight=2.",
            rich_help_panel=_LEARNING,
        ),
    ] = "",
    lr: Annotated[float, typer.Option(metavar="X", help="Peak learning rate.", rich_help_panel=_LEARNING)] = 2e-3,
    weight_decay: Annotated[
        float, typer.Option(min=0, metavar="X", help="Weight decay.", rich_help_panel=_LEARNING)
    ] = 1e-2,
    seed: given.Seed = 0,
    precision: Annotated[
        Precision, typer.Option(help="bf16 needs a GPU but for compact.", rich_help_panel=_RUN)
    ] = Precision.FP32,
    device: given.Device = "auto",
    workers: Annotated[
        int, typer.Option(min=0, metavar="N", help="Processes that cut snippets ahead.", rich_help_panel=_RUN)
    ] = 0,
    save_every: Annotated[
        int,
        typer.Option(
            min=1,
            metavar="N",
            help="Steps between checkpoints, with a look at validation dives.",
            rich_help_panel=_RUN,
        ),
    ] = 500,
) -> None:
    """Teach a trunk the motion of simulated dives, before it meets pairs of them.

    The simulator knows at every frame how the body is held and turned, and of every dive what the judges saw. Go on
    with: finecausal train DATASET --init trunk:FOLDER
    """
    from finecausal_cli.assess.device import resolve_device
    from finecausal_cli.pretraining.options import build_pretrain_options
    from finecausal_cli.pretraining.run import pretrain as run_pretraining
    from finecausal_cli.report.pretraining import PretrainingDisplay
    from finecausal_cli.training.begin import config_of, locate_init
    from finecausal_cli.training.options import KINETICS, TRUNK, build_config

    if init is not None and not init.startswith((TRUNK, KINETICS)):
        init = TRUNK + init
    options = build_pretrain_options(
        steps=steps,
        dives=dives,
        snippets=snippets,
        at_takeoff=at_takeoff,
        counts=counts,
        lr=lr,
        weight_decay=weight_decay,
        precision=precision.value,
        init=None if init is None or resume else locate_init(init),
        seed=seed,
        workers=workers,
        save_every=save_every,
    )
    started_as = None if init is None or preset is not None or resume else config_of(init)
    config = build_config(preset or "compact", base=started_as)
    if two_trunks:
        config = config.model_copy(update={"shared_trunk": False})
    if geometry is not None:
        config = config.model_copy(update={"geometry": geometry.value})
    with PretrainingDisplay() as display:
        folder = run_pretraining(
            dataset,
            output,
            config=config,
            options=options,
            cache=clips.folder(),
            device=resolve_device(device),
            resume=resume,
            command=sys.argv,
            watch=display.watch,
        )
    typer.echo(folder)
