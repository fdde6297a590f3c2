"""Options declared once: as fields of frozen dataclasses whose metadata is the help text of the command line.

A field that a person may set is made with ``option``. ``cli`` turns such fields into options and passes the dataclass
on whole; fields without it are for programs only. Nothing heavy is imported here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path  # noqa: TC003 - the command line reads the types of the fields
from typing import Any, ClassVar

DEFAULT_WEIGHTS = "compact"
"""The bundled weights that are used unless others are named."""


def option(default: Any, help: str, **metadata: Any) -> Any:  # noqa: A002 - the word of every command line library
    """Declare a field that is an option of a command.

    Args:
        default: Value of the field when the option is not given.
        help: Help text of the option.
        metadata: ``flag`` (``--name``, where the field's name does not say it; ``-r`` may follow after a comma),
            ``metavar``, ``min``, and ``panel`` where it is not the ``panel`` of the dataclass.
    """
    return field(default=default, metadata={"help": help, **metadata})


@dataclass(frozen=True, slots=True)
class RuntimeConfig:
    """Weights, exemplar bank and device: the arguments of ``Scorer.load``."""

    panel: ClassVar[str] = "Computing"

    weights: str = option(DEFAULT_WEIGHTS, "Bundled weights by name, a folder, or hf://owner/repo@revision.")
    bank: Path | None = option(None, "Exemplar bank; the weights' own by default.")
    device: str = option("auto", "auto, cpu, cuda, cuda:N or mps.")
    precision: str = option("auto", "auto, fp32, bf16 or fp16.")
