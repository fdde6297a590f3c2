"""Training: its options, and which parameters stay as they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeVar

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator
from torch.nn.modules.batchnorm import _BatchNorm

from finecausal_cli.errors import TrainingError, UsageError
from finecausal_cli.model.config import PRESETS, ModelConfig

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from torch import nn

    from finecausal_cli.model.finecausal import FineCausal


# What a training run is asked to do, as one value that refuses contradictions.

Precision = Literal["fp32", "bf16", "fp16"]

AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}
"""What trunks compute in below fp32."""

Options = TypeVar("Options", bound=BaseModel)

KINETICS = "kinetics:"
"""What stands before the name of a file of I3D weights in ``init``."""

TRUNK = "trunk:"
"""What stands before weights in ``init`` of which trunk and foreground alone are taken, the rest drawn at random."""

PRETRAINED_BACKBONE_LR = 1e-4
"""The paper's rate of trunks that come pretrained; from scratch they take that of the rest."""


class TrainOptions(BaseModel):
    """Options of a training run.

    Attributes:
        epochs: Times every training dive is seen.
        group: Dives of one number in a group; every two of them are a pair.
        groups_per_batch: Groups in the batch of an optimiser step, whatever the number of processes that share it.
        accumulate: Parts in which each process takes its share of a batch, one after the other, where memory is short.
        lr: Peak learning rate (Adam; paper section 4.2).
        backbone_lr: Peak learning rate of the trunks. The paper's 1e-4 suits pretrained ones, and is the default with
            ``init``; from scratch they need the full rate.
        warmup: Share of the steps over which the rate rises linearly; then it falls as a cosine to zero.
        weight_decay: Decoupled weight decay.
        freeze_backbone: Leave the trunks (and the ResNet) as they are and train the rest.
        views: Encode every dive once in so many views, one as it is and the others augmented, and learn from these;
            for a frozen trunk alone. 0 encodes anew in every step. The foreground stays as it is, too.
        swap_backgrounds: Share of the augmented dives that are shown before another one's background, up to the entry
            (ours, not the paper's); needs dives with masks and stages.
        freeze_batchnorm: Normalisations that keep their statistics, scale and shift: those of the pretrained trunks,
            all or none.
        clip_norm: Largest norm of the gradient.
        stage_supervision: Hold every stage to its own share of the score where a dataset knows it (ours, not the
            paper's). Without such labels it makes no difference.
        ema: Share that a running mean of the weights keeps at each step; the mean is validated and kept instead of the
            weights themselves. 0 is off.
        patience: Validations without a better one after which the run ends; None never ends it early.
        precision: ``bf16`` and ``fp16`` encode in autocast; fp16 scales the loss.
        init: What the network starts from: a folder of weights or the name of bundled ones, the same after ``trunk:``
            for their trunk and foreground alone, or ``kinetics:FILE``; None for weights drawn at random.
        split: Which dives are held out: those of the ``dataset``'s own split (or a drawn one if it has none), or whole
            ``events``.
        seed: Fixes initial weights, order, augmentation and dropout.
        workers: Processes that load clips ahead; 0 loads them in between. The numbers are the same.
        trackers: Where curves are drawn beside TensorBoard: names that accelerate knows, such as ``wandb``.
        save_every: Steps between checkpoints within an epoch.
        validate_every: Epochs between validations.
        bank_per_number: Training dives of each number that vote in validation.
        voters: Most exemplars a dive in validation.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    epochs: int = Field(default=20, ge=1)
    group: int = Field(default=4, ge=2)
    groups_per_batch: int = Field(default=2, ge=1)
    accumulate: int = Field(default=1, ge=1)
    lr: float = Field(default=1e-3, gt=0)
    backbone_lr: float = Field(default=1e-3, gt=0)
    warmup: float = Field(default=0.05, ge=0, lt=1)
    weight_decay: float = Field(default=1e-2, ge=0)
    freeze_backbone: bool = False
    views: int = Field(default=0, ge=0)
    swap_backgrounds: float = Field(default=0, ge=0, le=1)
    freeze_batchnorm: Literal["none", "trunks", "all"] = "none"
    clip_norm: float = Field(default=5.0, gt=0)
    stage_supervision: bool = True
    ema: float = Field(default=0, ge=0, lt=1)
    patience: int | None = Field(default=None, ge=1)
    precision: Precision = "fp32"
    init: str | None = None
    split: Literal["dataset", "events"] = "dataset"
    seed: int = Field(default=0, ge=0)
    workers: int = Field(default=0, ge=0)
    trackers: tuple[str, ...] = ()
    save_every: int = Field(default=100, ge=1)
    validate_every: int = Field(default=1, ge=1)
    bank_per_number: int = Field(default=5, ge=1)
    voters: int = Field(default=5, ge=1)

    @field_validator("accumulate")
    @classmethod
    def _parts_are_not_empty(cls, accumulate: int, info: ValidationInfo) -> int:
        groups = info.data.get("groups_per_batch", accumulate)
        if accumulate > groups:
            raise ValueError(f"{accumulate} parts of a batch of {groups} groups (--groups-per-batch)")
        return accumulate

    @field_validator("views")
    @classmethod
    def _views_are_of_a_trunk_that_rests(cls, views: int, info: ValidationInfo) -> int:
        if views and not info.data.get("freeze_backbone"):
            raise ValueError("a trunk that learns sees every dive anew: --views needs --freeze-backbone")
        return views

    @field_validator("init")
    @classmethod
    def _kinetics_weights_have_a_file(cls, init: str | None) -> str | None:
        if init is not None and not init.removeprefix(KINETICS).removeprefix(TRUNK).strip():
            raise ValueError(f"{init!r} names nothing: a folder of weights, trunk:FOLDER or kinetics:FILE is meant")
        return init


def build_options(**given: Any) -> TrainOptions:
    """Make options from what the user gave; what is None counts as not given.

    Raises:
        UsageError: A value is out of range; names its option.
    """
    if given.get("init") is not None and given.get("backbone_lr") is None:
        given["backbone_lr"] = PRETRAINED_BACKBONE_LR
    return make_options(TrainOptions, given)


def make_options(kind: type[Options], given: Mapping[str, Any]) -> Options:
    """Make options of a kind from what the user gave; what is None counts as not given.

    Raises:
        UsageError: A value is out of range; names its option.
    """
    try:
        return kind(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        first = error.errors()[0]
        where = "--" + str(first["loc"][0]).replace("_", "-")
        ours = first.get("ctx", {}).get("error")
        what = f"{first['msg']}, not {first['input']!r}" if ours is None else str(ours)
        raise UsageError(what, where=where) from None


def check_precision(precision: Precision, config: ModelConfig, device: torch.device) -> None:
    """Refuse to learn in a precision whose gradients are wrong.

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
    # What recognises dive numbers knows the trunk as it was: it is learned last.
    return (base or PRESETS[preset]).model_copy(update=dict.fromkeys((*left_out, "recognises"), False))


# Hold parts of a network still while the rest learns.


def trunks(model: FineCausal) -> Iterator[nn.Module]:
    """Yield what comes pretrained: the trunks (the paper's I3D), and the ResNet of the static branch."""
    yield model.video_trunk
    if model.parser.trunk is not None:
        yield model.parser.trunk
    if model.static is not None:
        yield model.static.resnet


def freeze(model: FineCausal, options: TrainOptions) -> None:
    """Take the gradient from what shall stay as it is: trunks, and scale and shift of frozen normalisations."""
    still = [*_frozen_norms(model, options), *(trunks(model) if options.freeze_backbone else ())]
    if options.views:
        still.append(model.parser.heads)  # they read the trunk's maps, which are not kept
    for module in still:
        module.requires_grad_(requires_grad=False)


def set_training(model: FineCausal, options: TrainOptions) -> None:
    """Switch to training mode, except what is frozen: that keeps its running statistics and normalises by them."""
    model.train()
    for module in (*_frozen_norms(model, options), *(trunks(model) if options.freeze_backbone else ())):
        module.eval()
    if options.views:
        model.parser.heads.eval()


def _frozen_norms(model: FineCausal, options: TrainOptions) -> Iterator[nn.Module]:
    places: dict[str, list[nn.Module]] = {"none": [], "trunks": [*trunks(model)], "all": [model]}
    for place in places[options.freeze_batchnorm]:
        yield from (module for module in place.modules() if isinstance(module, _BatchNorm))
