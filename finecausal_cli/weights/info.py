"""What is known of weights besides their numbers; travels in their ``config.json``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from finecausal_cli.errors import WeightsError

if TYPE_CHECKING:
    from pathlib import Path


class StoredInterval(BaseModel):
    """A split-conformal interval: the score lies within difficulty * half-width of the prediction."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    level: float = Field(gt=0, lt=1, description="Stated coverage.")
    execution_half_width: float = Field(ge=0, description="Half-width in execution units.")


class WeightsInfo(BaseModel):
    """What is known of weights.

    Attributes:
        note: What the weights know and do not know, in one sentence for a person.
        interval: The interval of their predictions; None if nobody measured it.
        training: How they came about: data, options, validation figures.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    note: str = "weights of unstated origin"
    interval: StoredInterval | None = None
    training: dict[str, JsonValue] = Field(default_factory=dict)

    @classmethod
    def read(cls, info: dict[str, JsonValue], where: Path) -> WeightsInfo:
        """Check the facts stored with weights.

        Raises:
            WeightsError: They are not of this form; names the weights and the key.
        """
        try:
            return cls.model_validate(info)
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(str(part) for part in first["loc"])
            raise WeightsError(f"info.{key}: {first['msg']}", where=where) from None

    def facts(self) -> dict[str, JsonValue]:
        """Return the facts as ``save_weights`` stores them."""
        return self.model_dump(mode="json")
