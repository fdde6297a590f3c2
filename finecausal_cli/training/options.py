"""What a training run is asked to do, as one value that refuses contradictions."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from finecausal_cli.errors import UsageError
from finecausal_cli.model.config import PRESETS, ModelConfig


class TrainOptions(BaseModel):
    """Options of a training run.

    Attributes:
        epochs: Times every training dive is seen.
        group: Dives of one number in a group; every two of them are a pair.
        groups_per_batch: Groups in a batch.
        lr: Peak learning rate (Adam; paper section 4.2).
        backbone_lr: Peak learning rate of the I3D trunks. The paper's 1e-4 suits trunks pretrained on Kinetics; from
            scratch they need the full rate.
        warmup: Share of the steps over which the rate rises linearly; then it falls as a cosine to zero.
        weight_decay: Decoupled weight decay.
        clip_norm: Largest norm of the gradient.
        precision: ``bf16`` runs the network in autocast.
        seed: Fixes initial weights, order, augmentation and dropout.
        save_every: Steps between checkpoints within an epoch.
        validate_every: Epochs between validations.
        bank_per_number: Training dives of each number that vote in validation.
        voters: Most exemplars a dive in validation.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    epochs: int = Field(default=20, ge=1)
    group: int = Field(default=4, ge=2)
    groups_per_batch: int = Field(default=2, ge=1)
    lr: float = Field(default=1e-3, gt=0)
    backbone_lr: float = Field(default=1e-3, gt=0)
    warmup: float = Field(default=0.05, ge=0, lt=1)
    weight_decay: float = Field(default=1e-2, ge=0)
    clip_norm: float = Field(default=5.0, gt=0)
    precision: Literal["fp32", "bf16"] = "fp32"
    seed: int = 0
    save_every: int = Field(default=100, ge=1)
    validate_every: int = Field(default=1, ge=1)
    bank_per_number: int = Field(default=5, ge=1)
    voters: int = Field(default=5, ge=1)


def build_options(**given: Any) -> TrainOptions:
    """Make options from what the user gave.

    Raises:
        UsageError: A value is out of range; names its option.
    """
    try:
        return TrainOptions(**given)
    except ValidationError as error:
        first = error.errors()[0]
        where = "--" + str(first["loc"][0]).replace("_", "-")
        raise UsageError(f"{first['msg']}, not {first['input']!r}", where=where) from None


def build_config(preset: str, *, ablate: str = "") -> ModelConfig:
    """Make a network's configuration from a preset and the modules to leave out.

    Args:
        preset: Name of a preset.
        ablate: ``gat``, ``tca``, both separated by a comma, or nothing.

    Raises:
        UsageError: There is no such preset or module.
    """
    if preset not in PRESETS:
        raise UsageError(f"no preset {preset!r}", where="--preset", hint=f"one of {', '.join(PRESETS)}")
    left_out = [module.strip() for module in ablate.split(",") if module.strip()]
    unknown = [module for module in left_out if module not in ("gat", "tca")]
    if unknown:
        raise UsageError(f"{unknown[0]!r} cannot be left out", where="--ablate", hint="gat, tca or gat,tca")
    return PRESETS[preset].model_copy(update=dict.fromkeys(left_out, False))
