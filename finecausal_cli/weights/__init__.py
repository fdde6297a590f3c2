"""Weights of the network: their manifest and their metadata."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, model_validator

from finecausal_cli.errors import WeightsError
from finecausal_cli.model.config import FORMAT_VERSION, LATER_FIELDS, STARTING_VALUES, VIEWING_VALUES, ModelConfig

# Metadata of weights, stored in their ``config.json``.


TrainedOn = Literal["simulated", "filmed", "both", "unknown"]
"""Which dives weights were trained on."""

SIMULATED_ONLY: Final = "Weights trained on simulated dives only: not calibrated for filmed dives."
"""First line and first note of every result of such weights."""


def caveat_of(trained_on: TrainedOn) -> str | None:
    """Return the first line of every result of weights; None where there is nothing to say."""
    return SIMULATED_ONLY if trained_on == "simulated" else None


class StoredInterval(BaseModel):
    """A split-conformal interval: the score lies within difficulty * half-width of the prediction."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    level: float = Field(gt=0, lt=1, description="Stated coverage.")
    execution_half_width: float = Field(ge=0, description="Half-width in execution units.")


class StoredFamiliarity(BaseModel):
    """How far dives may lie from the calibration dives, and what that does to the errors.

    Attributes:
        limit: Distance beyond which no interval is stated; 1 is farther than 95% of the calibration dives.
        factor: How many times wider the interval is from distance 1 to the limit.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    limit: float = Field(gt=1)
    factor: float = Field(ge=1)


class WeightsInfo(BaseModel):
    """Metadata of weights.

    Attributes:
        note: What the weights are good for, and what not, in one sentence.
        interval: The interval of their predictions; None if it was not measured.
        training: Their training: data, options, validation metrics.
        trained_on: Which dives they were trained on; read from the note where older weights do not say it.
        familiarity: How far from the calibration dives the interval holds; None if it was not measured.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    note: str = "weights of unstated origin"
    interval: StoredInterval | None = None
    training: dict[str, JsonValue] = Field(default_factory=dict)
    trained_on: TrainedOn = "unknown"
    familiarity: StoredFamiliarity | None = None

    @model_validator(mode="before")
    @classmethod
    def _trained_on_by_the_note(cls, content: Any) -> Any:
        """Weights written before this field say "trained on simulated dives only" in their note."""
        if (
            isinstance(content, dict)
            and "trained_on" not in content
            and "simulated dives only" in str(content.get("note"))
        ):
            return {**content, "trained_on": "simulated"}
        return content

    @classmethod
    def read(cls, info: dict[str, JsonValue], where: Path) -> WeightsInfo:
        """Validate the metadata of weights.

        Raises:
            WeightsError: It is invalid; names the weights and the key.
        """
        try:
            return cls.model_validate(info)
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(str(part) for part in first["loc"])
            raise WeightsError(f"info.{key}: {first['msg']}", where=where) from None

    def facts(self) -> dict[str, JsonValue]:
        """Return the metadata as ``save_weights`` stores it."""
        return self.model_dump(mode="json")


# The ``config.json`` of a folder of weights: configuration, facts and checksums. Reading it needs no torch.

CONFIG_NAME = "config.json"


class Manifest(BaseModel):
    """The content of ``config.json``.

    Attributes:
        model: Architecture of the network.
        info: Metadata of the weights, see `WeightsInfo`.
        shards: SHA-256 (hex) of each shard by file name.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: ModelConfig
    info: dict[str, JsonValue]
    shards: dict[str, str]

    @property
    def digest(self) -> str:
        """SHA-256 (hex) over tensors and architecture; equal digests mean equal weights."""
        omitted = {name for name, before in LATER_FIELDS.items() if getattr(self.model, name) == before}
        model = self.model.model_dump(mode="json", exclude=set(STARTING_VALUES | VIEWING_VALUES) | omitted)
        facts = {"model": model, "shards": sorted(self.shards.values())}
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def read_manifest(folder: Path) -> Manifest:
    """Read and check ``config.json`` alone.

    Raises:
        WeightsError: It is missing, malformed, of a newer format, or names a shard outside the folder.
    """
    path = folder / CONFIG_NAME
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        hint = f"a weights folder holds {CONFIG_NAME} and *.safetensors"
        raise WeightsError(f"cannot be read: {error.strerror}", where=path, hint=hint) from error
    except (ValueError, RecursionError) as error:
        raise WeightsError("is not JSON", where=path, hint="the file is damaged; get the weights again") from error
    _require_known_format(content, path)
    try:
        manifest = Manifest.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "the top level"
        raise WeightsError(f"{key}: {first['msg']}", where=path, hint="the file is damaged or was edited") from error
    for name in manifest.shards:
        if Path(name).name != name or not name.endswith(".safetensors"):
            raise WeightsError(f"{name!r} is not the name of a shard", where=path)
    return manifest


def _require_known_format(content: object, path: Path) -> None:
    model = content.get("model") if isinstance(content, dict) else None
    version = model.get("format_version") if isinstance(model, dict) else None
    if isinstance(version, int) and version > FORMAT_VERSION:
        raise WeightsError(
            f"format {version} is newer than this program reads ({FORMAT_VERSION})",
            where=path,
            hint="update finecausal",
        )
