"""The commands train and pretrain."""

from __future__ import annotations

import sys
from enum import Enum
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from finecausal_cli.cli import options as given
from finecausal_cli.cli.options import options_from_fields

# ``finecausal train``: weights from a dataset of one's own.

_NETWORK = "Network"
_LEARNING = "Learning"
_RUN = "Running"


class Precision(str, Enum):
    """Numbers that the network computes in."""

    FP32 = "fp32"
    BF16 = "bf16"
    FP16 = "fp16"


class FrozenNorms(str, Enum):
    """Batch normalisations that keep what they are."""

    NONE = "none"
    TRUNKS = "trunks"
    ALL = "all"


class HeldOut(str, Enum):
    """Which dives are held out."""

    DATASET = "dataset"
    EVENTS = "events"


@options_from_fields
def train(
    dataset: given.Dataset,
    layout: given.LayoutArgs,
    clips: given.Clips,
    output: Annotated[Path, typer.Option("-o", "--output", help="The run's folder.")] = Path("runs/train"),
    resume: given.Resume = False,
    split: Annotated[
        HeldOut, typer.Option(help="Hold out the dives that the dataset says, or whole events.")
    ] = HeldOut.DATASET,
    preset: Annotated[
        str | None,
        typer.Option(
            help="compact, finecausal or reference; compact, or that of --init.",
            rich_help_panel=_NETWORK,
            show_default=False,
        ),
    ] = None,
    ablate: Annotated[
        str, typer.Option(help="Modules to leave out: gat, tca or gat,tca.", rich_help_panel=_NETWORK)
    ] = "",
    init: Annotated[
        str | None,
        typer.Option(
            metavar="WEIGHTS",
            help="Start from weights (a folder, or a bundled name), from their trunk alone (trunk:WEIGHTS), or from "
            "I3D trunks (kinetics:FILE).",
            rich_help_panel=_NETWORK,
            show_default=False,
        ),
    ] = None,
    freeze_backbone: Annotated[
        bool, typer.Option("--freeze-backbone", help="Keep the trunks as they are.", rich_help_panel=_NETWORK)
    ] = False,
    views: Annotated[
        int,
        typer.Option(
            min=0,
            metavar="N",
            help="With --freeze-backbone: encode each dive once, in N views, and learn from these.",
            rich_help_panel=_NETWORK,
        ),
    ] = 0,
    swap_backgrounds: Annotated[
        float,
        typer.Option(
            min=0,
            max=1,
            metavar="SHARE",
            help="Show so many dives before another dive's background, up to the entry; needs masks and stages.",
            rich_help_panel=_LEARNING,
        ),
    ] = 0.0,
    freeze_batchnorm: Annotated[
        FrozenNorms,
        typer.Option(help="Batch normalisations that keep their statistics.", rich_help_panel=_NETWORK),
    ] = FrozenNorms.NONE,
    epochs: Annotated[
        int, typer.Option(min=1, metavar="N", help="Times every dive is seen.", rich_help_panel=_LEARNING)
    ] = 20,
    group: Annotated[
        int,
        typer.Option(
            min=2,
            metavar="N",
            help="Dives of one number that meet in a batch, all against all.",
            rich_help_panel=_LEARNING,
        ),
    ] = 4,
    groups_per_batch: Annotated[
        int, typer.Option(min=1, metavar="N", help="Groups in a batch, over all processes.", rich_help_panel=_LEARNING)
    ] = 2,
    accumulate: Annotated[
        int,
        typer.Option(
            min=1, metavar="N", help="Take a batch in so many parts, to save memory.", rich_help_panel=_LEARNING
        ),
    ] = 1,
    lr: Annotated[float, typer.Option(metavar="X", help="Peak learning rate.", rich_help_panel=_LEARNING)] = 1e-3,
    backbone_lr: Annotated[
        float | None,
        typer.Option(
            metavar="X",
            help="Peak learning rate of the trunks: 1e-3, or 1e-4 with --init.",
            rich_help_panel=_LEARNING,
            show_default=False,
        ),
    ] = None,
    weight_decay: Annotated[
        float, typer.Option(min=0, metavar="X", help="Weight decay.", rich_help_panel=_LEARNING)
    ] = 1e-2,
    ema: Annotated[
        float,
        typer.Option(
            min=0,
            metavar="SHARE",
            help="Keep a running mean of the weights, e.g. 0.999; 0 is off.",
            rich_help_panel=_LEARNING,
        ),
    ] = 0.0,
    no_stage_supervision: Annotated[
        bool,
        typer.Option(
            "--no-stage-supervision",
            help="Do not learn what each stage cost, as is done (not in the paper) where simulated dives know it.",
            rich_help_panel=_LEARNING,
        ),
    ] = False,
    validate_every: Annotated[
        int, typer.Option(min=1, metavar="N", help="Epochs between validations.", rich_help_panel=_LEARNING)
    ] = 1,
    patience: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="End after so many validations without a better one.",
            rich_help_panel=_LEARNING,
            show_default=False,
        ),
    ] = None,
    seed: given.Seed = 0,
    precision: Annotated[
        Precision, typer.Option(help="fp16 needs a GPU, and so does bf16 but for compact.", rich_help_panel=_RUN)
    ] = Precision.FP32,
    device: given.Device = "auto",
    workers: Annotated[
        int, typer.Option(min=0, metavar="N", help="Processes that load clips ahead.", rich_help_panel=_RUN)
    ] = 0,
    track: Annotated[
        list[str] | None,
        typer.Option(
            help="Draw curves there too (wandb, mlflow, ...); may be repeated.",
            rich_help_panel=_RUN,
            show_default=False,
        ),
    ] = None,
) -> None:
    """Train on a dataset and keep the weights that do best on its validation dives.

    Its folder gets the best and the last weights, run.json, log.jsonl, curves for TensorBoard, and a checkpoint.

    On two GPUs: torchrun --nproc-per-node 2 -m finecausal_cli train DATASET
    """
    from finecausal_cli.data.datasets import read_dataset
    from finecausal_cli.device import resolve_device
    from finecausal_cli.report.evaluation import TrainingDisplay
    from finecausal_cli.training import build_config, build_options
    from finecausal_cli.training.processes import is_main_process
    from finecausal_cli.training.run import config_of, locate_init
    from finecausal_cli.training.run import train as run_training

    options = build_options(
        epochs=epochs,
        group=group,
        groups_per_batch=groups_per_batch,
        accumulate=accumulate,
        lr=lr,
        backbone_lr=backbone_lr,
        weight_decay=weight_decay,
        ema=ema,
        stage_supervision=not no_stage_supervision,
        freeze_backbone=freeze_backbone,
        views=views,
        swap_backgrounds=swap_backgrounds,
        freeze_batchnorm=freeze_batchnorm.value,
        validate_every=validate_every,
        patience=patience,
        precision=precision.value,
        init=None if init is None or resume else locate_init(init),
        split=split.value,
        seed=seed,
        workers=workers,
        trackers=tuple(track or ()),
    )
    started_as = None if init is None or preset is not None or resume else config_of(init)
    with TrainingDisplay(quiet=not is_main_process()) as display:
        best = run_training(
            dataset,
            output,
            config=build_config(preset or "compact", ablate=ablate, base=started_as),
            options=options,
            cache=clips.folder(),
            device=resolve_device(device),
            resume=resume,
            read=partial(read_dataset, **layout.arguments()),
            command=sys.argv,
            watch=display.watch,
        )
    if is_main_process():
        typer.echo(best)


# ``finecausal pretrain``: a trunk that knows what is to be seen in dives.


class PretrainPrecision(str, Enum):
    """Numbers that trunks compute in."""

    FP32 = "fp32"
    BF16 = "bf16"


class Geometry(str, Enum):
    """How pictures are brought to size."""

    FIT = "fit"
    SQUEEZE = "squeeze"


@options_from_fields
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
        PretrainPrecision, typer.Option(help="bf16 needs a GPU but for compact.", rich_help_panel=_RUN)
    ] = PretrainPrecision.FP32,
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
    from finecausal_cli.device import resolve_device
    from finecausal_cli.report.evaluation import PretrainingDisplay
    from finecausal_cli.training import KINETICS, TRUNK, build_config
    from finecausal_cli.training.motion_pretraining import build_pretrain_options
    from finecausal_cli.training.motion_pretraining import pretrain as run_pretraining
    from finecausal_cli.training.run import config_of, locate_init

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
