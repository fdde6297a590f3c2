"""Training: its options, and which parameters stay as they are."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, TypeVar

from finecausal_cli.config import REQUIRED, OptionGroup, Precision, option
from finecausal_cli.errors import TrainingError, UsageError
from finecausal_cli.model.config import PRESETS

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch
    from torch import nn

    from finecausal_cli.model.config import ModelConfig
    from finecausal_cli.model.finecausal import FineCausal


# The options of a run, each as one value that refuses contradictions. They are read without torch, for the help.


Options = TypeVar("Options", bound=OptionGroup)

KINETICS = "kinetics:"
"""Prefix of ``init`` for a file of I3D weights."""

TRUNK = "trunk:"
"""Prefix of ``init`` for weights of which the backbone and the foreground alone are loaded."""

BACKBONE_LR = 1e-3
PRETRAINED_BACKBONE_LR = 1e-4
"""The paper's learning rate of pretrained backbones; from scratch they take that of the rest."""

NETWORK_PANEL, OPTIMISATION_PANEL, RUN_PANEL = "Network", "Optimisation", "Running"


def _preset_help(*left_out: str) -> str:
    *others, last = sorted(PRESETS.keys() - set(left_out))
    return f"{', '.join(others)} or {last}; compact, or that of --init."


@dataclass(frozen=True)
class NetworkOptions(OptionGroup):
    """Which network is trained."""

    panel: ClassVar[str] = NETWORK_PANEL

    preset: str | None = option(None, _preset_help())
    ablate: str = option("", "Modules to leave out: gat, tca or gat,tca.")

    def build(self, base: ModelConfig | None = None) -> ModelConfig:
        """Return the network's configuration: the preset, else ``base`` (that of the initial weights), else compact."""
        return build_config(self.preset or "compact", ablate=self.ablate, base=None if self.preset else base)


@dataclass(frozen=True)
class TrainOptions(OptionGroup):
    """Options of a training run.

    Attributes:
        groups_per_batch: Groups in the batch of an optimiser step, whatever the number of processes that share it.
        lr: Peak learning rate (Adam; paper section 4.2).
        backbone_lr: None takes `BACKBONE_LR`, or `PRETRAINED_BACKBONE_LR` with ``init``.
        swap_backgrounds: Ours, not the paper's; needs dives with masks and stages.
        stage_supervision: Ours, not the paper's; without such labels it makes no difference.
        precision: ``bf16`` and ``fp16`` encode in autocast; fp16 scales the loss.
        init: A folder of weights or the name of bundled ones, the same after ``trunk:`` for the backbone and the
            foreground alone, or ``kinetics:FILE``; None for weights drawn at random.
        workers: The numbers are the same with any.
        trackers: Names that accelerate knows, beside TensorBoard.
    """

    panel: ClassVar[str] = OPTIMISATION_PANEL
    changeable: ClassVar[tuple[str, ...]] = ("epochs", "patience", "workers", "trackers")

    split: Literal["dataset", "events"] = option(
        "dataset", "Hold out the dives of the dataset's own split, or whole events.", panel=OptionGroup.panel
    )
    init: str | None = option(
        None,
        "Start from weights (a folder, or a bundled name), from their backbone alone (trunk:WEIGHTS), or from I3D "
        "backbones (kinetics:FILE).",
        metavar="WEIGHTS",
        is_path=True,
        panel=NETWORK_PANEL,
    )
    freeze_backbone: bool = option(False, "Do not train the backbones.", panel=NETWORK_PANEL)
    views: int = option(
        0,
        "With --freeze-backbone: encode each dive once, in N augmented views, and train on these.",
        min=0,
        metavar="N",
        panel=NETWORK_PANEL,
    )
    freeze_batchnorm: Literal["none", "trunks", "all"] = option(
        "none", "Batch normalisations that keep their statistics: those of the backbones, or all.", panel=NETWORK_PANEL
    )
    swap_backgrounds: float = option(
        0.0,
        "Share of the dives shown in front of another dive's background, up to the entry; needs masks and stages.",
        min=0,
        max=1,
        metavar="SHARE",
    )
    epochs: int = option(20, "Passes over the training dives.", min=1, metavar="N")
    group: int = option(4, "Dives of one number in a group; every two of them are a pair.", min=2, metavar="N")
    groups_per_batch: int = option(2, "Groups in a batch, over all processes.", min=1, metavar="N")
    accumulate: int = option(1, "Split a batch into so many micro-batches, to save memory.", min=1, metavar="N")
    lr: float = option(1e-3, "Peak learning rate.", above=0, metavar="X")
    backbone_lr: float = option(
        None, "Peak learning rate of the backbones: 1e-3, or 1e-4 with --init.", above=0, metavar="X"
    )
    warmup: float = option(
        0.05, "Share of the steps of linear warm-up, before the cosine decay.", min=0, below=1, file_only=True
    )
    weight_decay: float = option(1e-2, "Decoupled weight decay.", min=0, metavar="X")
    clip_norm: float = option(5.0, "Largest norm of the gradient.", above=0, file_only=True)
    ema: float = option(
        0.0, "Decay of a moving average of the weights, e.g. 0.999; 0 is off.", min=0, below=1, metavar="SHARE"
    )
    stage_supervision: bool = option(
        True,
        "Do not train on the points each stage cost, which is done (not in the paper) where simulated dives know them.",
        flag="/--no-stage-supervision",
    )
    validate_every: int = option(1, "Epochs between validations.", min=1, metavar="N")
    patience: int | None = option(None, "Stop after N validations without improvement.", min=1, metavar="N")
    save_every: int = option(100, "Steps between checkpoints within an epoch.", min=1, file_only=True)
    bank_per_number: int = option(5, "Training dives of each number that vote in validation.", min=1, file_only=True)
    voters: int = option(5, "Most exemplars a dive in validation.", min=1, file_only=True)
    seed: int = option(0, "Random seed.", min=0, panel=OptionGroup.panel)
    precision: Precision = option("fp32", "fp16 needs a GPU, and so does bf16 but for compact.", panel=RUN_PANEL)
    workers: int = option(
        0, "Processes that load clips ahead; with a GPU, one for each core.", min=0, metavar="N", panel=RUN_PANEL
    )
    trackers: tuple[str, ...] = option(
        (), "Log curves there too (wandb, mlflow, ...); may be repeated.", flag="--track", panel=RUN_PANEL
    )

    def __post_init__(self) -> None:
        if self.backbone_lr is None:
            rate = BACKBONE_LR if self.init is None else PRETRAINED_BACKBONE_LR
            object.__setattr__(self, "backbone_lr", rate)
        super().__post_init__()
        if self.accumulate > self.groups_per_batch:
            what = f"{self.accumulate} parts of a batch of {self.groups_per_batch} groups (--groups-per-batch)"
            raise UsageError(what, where="--accumulate")
        if self.views and not self.freeze_backbone:
            raise UsageError("fixed views are for a frozen backbone: --views needs --freeze-backbone", where="--views")
        if self.init is not None and not self.init.removeprefix(KINETICS).removeprefix(TRUNK).strip():
            what = f"{self.init!r} names nothing: a folder of weights, trunk:FOLDER or kinetics:FILE is meant"
            raise UsageError(what, where="--init")


# The stretches of a dive by whose targets a pretraining may weigh its loss.

STRETCHES = ("stance", "crouch", "leaving", "flight", "entry")


def read_counts(text: str) -> dict[str, float]:
    """Read loss weights by stretch, as in ``crouch=3,flight=2``.

    Raises:
        ValueError: It is not of this form.
    """
    counts = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        stretch, _, count = part.partition("=")
        try:
            counts[stretch.strip()] = float(count)
        except ValueError:
            raise ValueError(f"{part!r} is not of the form crouch=3") from None
    return counts


@dataclass(frozen=True)
class PretrainNetworkOptions(OptionGroup):
    """Which network is pretrained."""

    panel: ClassVar[str] = NETWORK_PANEL

    preset: str | None = option(None, _preset_help("skeleton"))  # it reads tracks, no pictures
    two_trunks: bool = option(
        False, "Separate backbones for the features and the foreground, where the preset shares one."
    )
    geometry: Literal["fit", "squeeze"] | None = option(
        None, "How frames are brought to size; as the preset or --init says."
    )

    def build(self, base: ModelConfig | None = None) -> ModelConfig:
        """Return the network's configuration: the preset, else ``base`` (that of the initial weights), else compact."""
        config = build_config(self.preset or "compact", base=None if self.preset else base)
        if self.two_trunks:
            config = config.model_copy(update={"shared_trunk": False})
        return config if self.geometry is None else config.model_copy(update={"geometry": self.geometry})


@dataclass(frozen=True)
class PretrainOptions(OptionGroup):
    """Options of a pretraining.

    Attributes:
        counts: Loss weights by stretch; 1 where nothing is said.
        lr: Peak learning rate (AdamW): it rises over the first hundred steps and falls as a cosine to zero.
        init: What backbone and foreground start from: ``trunk:`` and weights, or ``kinetics:`` and a file; None draws
            them at random.
    """

    panel: ClassVar[str] = OPTIMISATION_PANEL
    changeable: ClassVar[tuple[str, ...]] = ("steps", "workers")

    init: str | None = option(
        None,
        "Start from the backbones and the foreground of weights, or from I3D backbones (kinetics:FILE).",
        metavar="WEIGHTS",
        is_path=True,
        panel=NETWORK_PANEL,
    )
    steps: int = option(4000, "Optimiser steps.", min=1, metavar="N")
    dives: int = option(12, "Dives in a batch.", min=1, metavar="N")
    snippets: int = option(1, "Snippets of each dive in a batch.", min=1, metavar="N")
    at_takeoff: float = option(
        0.3, "Share of the snippets that are cropped around the take-off.", min=0, max=1, metavar="SHARE"
    )
    counts: dict[str, float] = option(
        {},
        "Loss weights by the stretch that shows the error: stance, crouch, leaving, flight, entry; e.g. "
        "crouch=3,flight=2.",
        metavar="LIST",
        parse=read_counts,
    )
    lr: float = option(2e-3, "Peak learning rate.", above=0, metavar="X")
    weight_decay: float = option(1e-2, "Decoupled weight decay.", min=0, metavar="X")
    clip_norm: float = option(5.0, "Largest norm of the gradient.", above=0, file_only=True)
    seed: int = option(0, "Random seed.", min=0, panel=OptionGroup.panel)
    precision: Literal["fp32", "bf16"] = option("fp32", "bf16 needs a GPU but for compact.", panel=RUN_PANEL)
    workers: int = option(
        0, "Processes that crop snippets ahead; with a GPU, one for each core.", min=0, metavar="N", panel=RUN_PANEL
    )
    save_every: int = option(500, "Steps between checkpoints and validations.", min=1, metavar="N", panel=RUN_PANEL)

    def __post_init__(self) -> None:
        super().__post_init__()
        for stretch, count in self.counts.items():
            if stretch not in STRETCHES:
                what = f"no stretch {stretch!r}: one of {', '.join(STRETCHES)} is meant"
                raise UsageError(what, where="--counts")
            if not 0 <= count < float("inf"):
                raise UsageError(f"{stretch}={count:g}: a number of 0 or more is meant", where="--counts")


@dataclass(frozen=True)
class ClassifierOptions(OptionGroup):
    """Options of the training of a dive-number classifier."""

    panel: ClassVar[str] = OPTIMISATION_PANEL

    steps: int = option(3000, "Optimiser steps.", min=1, metavar="N")
    seed: int = option(0, "Random seed.", min=0)


@dataclass(frozen=True)
class ReaderOptions(OptionGroup):
    """Data and options of the training of an athlete reader.

    Attributes:
        train: Folders of simulated clips with joints.
        filmed: Folders of videos with ``<clip>.finecausal.json`` beside them.
        out: Folder of the run; the reader is written to ``out/reader``.
        imagenet: State dict (.pth) of EfficientNet-Lite0.
        start: Folder of a reader whose networks are trained further; its splash and ends stay.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
    """

    panel: ClassVar[str] = OPTIMISATION_PANEL

    train: tuple[Path, ...] = option(
        REQUIRED, "Simulated clips with joints; may be repeated.", metavar="DIR", panel="Data"
    )
    validation: tuple[Path, ...] = option(
        REQUIRED, "Held-out clips of the same kind; may be repeated.", metavar="DIR", panel="Data"
    )
    out: Path = option(REQUIRED, "Folder of the run.", flag="-o,--output", metavar="DIR", panel="Data")
    filmed: tuple[Path, ...] = option(
        (), "Filmed clips with corrections beside them, as labels; may be repeated.", metavar="DIR", panel="Data"
    )
    backgrounds: Path | None = option(
        None, "Photographs to put behind some of the athletes.", metavar="DIR", panel="Data"
    )
    imagenet: Path | None = option(
        None,
        "EfficientNet-Lite0's weights (.pth); without them training starts from scratch.",
        metavar="FILE",
        panel="Data",
    )
    start: Path | None = option(
        None, "Athlete reader to train further, instead of ImageNet's weights.", metavar="DIR", panel="Data"
    )
    steps: int = option(6000, "Optimiser steps of the frame network.", min=1, metavar="N")
    sequence_steps: int = option(3000, "Optimiser steps of the sequence network; 0 leaves it out.", min=0, metavar="N")
    batch_size: int = option(32, "Windows in a batch.", min=4, metavar="N")
    lr: float = option(1.5e-3, "Peak learning rate.", above=0)
    width: int = option(64, "Channels of the pyramid and of the heads.", min=8, metavar="N")
    frozen_stages: int = option(3, "Backbone stages that are not trained; 3 covers strides 2 to 8.", min=0, max=7)
    per_clip: int = option(16, "Windows cropped from a clip.", min=1, metavar="N")
    workers: int = option(1, "Processes that crop windows, and augment them ahead of time.", min=1, metavar="N")
    seed: int = option(0, "Random seed.")
    device: str = option("auto", "auto, cpu, cuda, cuda:N or mps.")

    def sources(self) -> list[tuple[str, str, Path]]:
        """Return what each folder of clips is for, a name for what is made of it, and the folder."""
        named = (("train", self.train), ("validation", self.validation))
        return [(name, f"{name}-{number}", path) for name, paths in named for number, path in enumerate(paths)]


EndPart = Literal["takeoff", "contact", "splash"]
"""What a network reads about an end of a flight."""


@dataclass(frozen=True)
class EndOptions(OptionGroup):
    """Data and options of the training of a network that reads an end of flights, or the splash.

    Attributes:
        reader: Folder of the athlete reader whose other networks are kept.
        out: Folder of the run; the reader is written to ``out/reader``.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
    """

    panel: ClassVar[str] = OPTIMISATION_PANEL

    reader: Path = option(REQUIRED, "Athlete reader whose other networks are kept.", metavar="DIR", panel="Data")
    out: Path = option(REQUIRED, "Folder of the run.", flag="-o,--output", metavar="DIR", panel="Data")
    backgrounds: Path | None = option(
        None, "Photographs to put behind some of the athletes.", metavar="DIR", panel="Data"
    )
    films: tuple[Path, ...] = option(
        (), "Simulated films in which the ends are found; may be repeated.", metavar="DIR", panel="Data"
    )
    negatives: tuple[Path, ...] = option(
        (),
        "Clips that are no dive (simulate --negatives), beside --films; may be repeated.",
        metavar="DIR",
        panel="Data",
    )
    dives: int = option(6000, "Simulated dives whose ends are rendered.", min=1, metavar="N")
    held_out: int = option(300, "Dives to validate on.", min=1, metavar="N")
    steps: int = option(2400, "Optimiser steps.", min=1, metavar="N")
    lr: float = option(2e-3, "Peak learning rate.", above=0)
    further: bool = option(False, "Train the network further that the reader has, in place of a new one.")
    workers: int = option(1, "Processes that render.", min=1, metavar="N")
    seed: int = option(0, "Random seed.")
    device: str = option("auto", "auto, cpu, cuda, cuda:N or mps.")


@dataclass(frozen=True)
class SkeletonOptions(OptionGroup):
    """Data and options of the training of a network that reads bodies.

    Attributes:
        bodies: Simulated bodies (``finecausal simulate --format bodies``).
        films: Simulated films (``--world wild``): the reader's errors are measured on them.
        validation: Held-out films.
        out: Folder of the run; the weights are written to ``out/best``.
        cache: Folder of the tracks that are read from films; None reads them every time.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
    """

    panel: ClassVar[str] = OPTIMISATION_PANEL

    bodies: tuple[Path, ...] = option(
        REQUIRED, "Simulated bodies, with judges' marks; may be repeated.", metavar="DIR", panel="Data"
    )
    films: tuple[Path, ...] = option(
        REQUIRED, "Simulated films, to measure the reader's errors on; may be repeated.", metavar="DIR", panel="Data"
    )
    validation: tuple[Path, ...] = option(
        REQUIRED, "Held-out films of the same kind; may be repeated.", metavar="DIR", panel="Data"
    )
    out: Path = option(REQUIRED, "Folder of the run.", flag="-o,--output", metavar="DIR", panel="Data")
    cache: Path | None = option(None, "Where tracks read from films are kept.", metavar="DIR", panel="Data")
    init: str | None = option(None, "Weights to start from, of the same preset.", metavar="WEIGHTS", panel="Data")
    ablate: str = option("", "Modules to leave out: gat, tca or gat,tca.")
    width: float = option(0.25, "Features of a snippet over 1024, a multiple of 1/64.", min=1 / 32, max=1)
    alone_steps: int = option(3000, "Optimiser steps on single dives.", min=0, metavar="N")
    pair_steps: int = option(2500, "Optimiser steps on pairs of dives.", min=1, metavar="N")
    lr: float = option(2e-3, "Peak learning rate on single dives.", above=0)
    pair_lr: float = option(6e-4, "Peak learning rate on pairs.", above=0)
    filmed: float = option(0.3, "Share of films among the dives, where a number has any.", min=0, max=1)
    lost: float = option(0.08, "Share of flights that are frozen, shuffled, reversed or another dive's.", min=0, max=1)
    exemplars: int = option(6, "Simulated exemplars of a number at validation.", min=1, metavar="N")
    validate_every: int = option(500, "Steps between validations and checkpoints.", min=1, metavar="N")
    seed: int = option(0, "Random seed.", min=0)
    device: str = option("auto", "auto, cpu, cuda, cuda:N or mps.")

    def network(self) -> ModelConfig:
        """Return the network's configuration.

        Raises:
            UsageError: There is no network of this width.
        """
        if self.width * 64 % 1:
            raise UsageError(f"{self.width:g} is no multiple of 1/64", where="--width", hint="0.25 or 0.5")
        config = build_config("skeleton", ablate=self.ablate)
        return type(config).model_validate(config.model_dump() | {"recognises": True, "width": self.width})


def process_count() -> int:
    """Return how many processes share the work, as ``torchrun`` says."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_main_process() -> bool:
    """Return whether this is the process that writes and prints, before anything heavy is loaded."""
    return process_count() == 1 or os.environ.get("RANK", "0") == "0"


def require_one_process(work: str) -> None:
    """Refuse several processes for what one does alone.

    Raises:
        TrainingError: There are several.
    """
    if process_count() > 1:
        raise TrainingError(f"{work} is the work of one process", hint="start it without torchrun")


def check_precision(precision: Precision, config: ModelConfig, device: torch.device) -> None:
    """Refuse to train in a precision whose gradients are wrong.

    Measured with torch 2.13: gradients of 3-D convolutions in bf16 on a CPU hold garbage of size 1e14.

    Raises:
        TrainingError: They are, for this network on this device.
    """
    is_plane = config.trunk == "frames" and precision == "bf16"
    if precision != "fp32" and device.type == "cpu" and not is_plane:
        raise TrainingError(f"{precision} gradients are wrong on a CPU", where="--precision", hint="train in fp32")


def build_config(preset: str, *, ablate: str = "", base: ModelConfig | None = None) -> ModelConfig:
    """Make a network's configuration from a preset and the modules to leave out.

    Args:
        preset: Name of a preset.
        ablate: ``gat``, ``tca``, both separated by a comma, or nothing.
        base: A configuration to take in place of the preset's.

    Raises:
        UsageError: There is no such preset or module.
    """
    if preset not in PRESETS:
        raise UsageError(f"no preset {preset!r}", where="--preset", hint=f"one of {', '.join(PRESETS)}")
    left_out = [module.strip() for module in ablate.split(",") if module.strip()]
    unknown = [module for module in left_out if module not in ("gat", "tca")]
    if unknown:
        raise UsageError(f"{unknown[0]!r} cannot be left out", where="--ablate", hint="gat, tca or gat,tca")
    # The dive-number classifier fits only the backbone that it was trained on: it is trained last.
    return (base or PRESETS[preset]).model_copy(update=dict.fromkeys((*left_out, "recognises"), False))


# Frozen parts of a network.


def backbones(model: FineCausal) -> Iterator[nn.Module]:
    """Yield the backbones (the paper's I3D), and the ResNet of the static branch."""
    yield model.video_trunk
    if model.parser.trunk is not None:
        yield model.parser.trunk
    if model.static is not None:
        yield model.static.resnet


def freeze(model: FineCausal, options: TrainOptions) -> None:
    """Take the gradient from frozen backbones, and from scale and shift of frozen normalisations."""
    frozen = [*_frozen_norms(model, options), *(backbones(model) if options.freeze_backbone else ())]
    if options.views and model.parser.heads is not None:
        frozen.append(model.parser.heads)  # they read intermediate maps of the backbone, which are not cached
    for module in frozen:
        module.requires_grad_(requires_grad=False)


def set_training(model: FineCausal, options: TrainOptions) -> None:
    """Switch to training mode, except what is frozen: that keeps its running statistics and normalises by them."""
    model.train()
    for module in (*_frozen_norms(model, options), *(backbones(model) if options.freeze_backbone else ())):
        module.eval()
    if options.views and model.parser.heads is not None:
        model.parser.heads.eval()


def _frozen_norms(model: FineCausal, options: TrainOptions) -> Iterator[nn.Module]:
    from torch.nn.modules.batchnorm import _BatchNorm

    modules: dict[str, list[nn.Module]] = {"none": [], "trunks": [*backbones(model)], "all": [model]}
    for module in modules[options.freeze_batchnorm]:
        yield from (each for each in module.modules() if isinstance(each, _BatchNorm))
