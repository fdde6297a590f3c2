"""Options that several commands share, so that they read the same everywhere."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, ClassVar

import typer


class OutputFormat(str, Enum):
    """How to print a verdict."""

    TABLE = "table"
    JSON = "json"


Clip = Annotated[str, typer.Argument(metavar="PATH", help="A video file, or a folder of frames.", show_default=False)]
DiveNumber = Annotated[
    str | None, typer.Option("--dive", help="Dive number, e.g. 107B. Without it, the nearest exemplars are taken.")
]
Height = Annotated[float | None, typer.Option("--height", help="Height in metres: 1, 3, 5, 7.5 or 10.")]
Difficulty = Annotated[float | None, typer.Option("--difficulty", help="Degree of difficulty; wins over every other.")]
Exemplar = Annotated[str | None, typer.Option("--exemplar", help="Compare with this one exemplar.")]
Voters = Annotated[int, typer.Option("--voters", min=1, help="Most exemplars to compare with.")]
Start = Annotated[float | None, typer.Option("--start", help="Where the dive starts in the video, seconds.")]
End = Annotated[float | None, typer.Option("--end", help="Where the dive ends in the video, seconds.")]
Seed = Annotated[int, typer.Option("--seed", help="Seed of whatever is drawn by chance.")]
Weights = Annotated[str, typer.Option("--weights", help="Bundled weights by name, or a folder.")]
BankFolder = Annotated[Path | None, typer.Option("--bank", help="Exemplar bank; the weights' own by default.")]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:N or mps.")]
Precision = Annotated[str, typer.Option("--precision", help="auto, fp32, bf16 or fp16.")]
Format = Annotated[OutputFormat, typer.Option("--format", help="How to print the result.")]
Output = Annotated[Path | None, typer.Option("-o", "--output", help="Write the result to a file.", show_default=False)]
Html = Annotated[
    Path | None,
    typer.Option("--html", metavar="FILE", help="Write a page that needs nothing else.", show_default=False),
]
Figures = Annotated[
    Path | None,
    typer.Option("--figures", metavar="DIR", help="Write the figures as PNG and SVG.", show_default=False),
]

WEIGHTS_DEFAULT = "compact"

DECODE_LIMIT_S = 120.0
"""A clip that takes longer to read hangs its decoder."""

Dataset = Annotated[
    Path,
    typer.Argument(
        metavar="DATASET", help="A manifest, or a folder: of one, of FineDiving-HM or MTL-AQA.", show_default=False
    ),
]
Cache = Annotated[
    Path | None,
    typer.Option("--cache", help="Folder of decoded clips; the user's cache by default.", show_default=False),
]


@dataclass(frozen=True)
class Asked:
    """Which dive to score, and against whom; fields are those of ``ScoreOptions``."""

    panel: ClassVar[str] = "The dive"

    dive: DiveNumber = None
    height_m: Height = None
    difficulty: Difficulty = None
    exemplar: Exemplar = None
    voters: Voters = 10
    start_s: Start = None
    end_s: End = None
    seed: Seed = 0

    def options(self) -> dict[str, Any]:
        """Return the arguments of ``ScoreOptions``."""
        return {**asdict(self), "timeout_s": DECODE_LIMIT_S}


@dataclass(frozen=True)
class Engine:
    """What computes; fields are the arguments of ``Scorer.load``."""

    panel: ClassVar[str] = "Computing"

    weights: Weights = WEIGHTS_DEFAULT
    bank: BankFolder = None
    device: Device = "auto"
    precision: Precision = "auto"

    def arguments(self) -> dict[str, Any]:
        """Return the arguments of ``Scorer.load``."""
        return asdict(self)
