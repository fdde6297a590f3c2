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
    str | None,
    typer.Option(
        "--dive", help="Dive number, e.g. 107B. Without it, it is recognised, or the nearest exemplars are taken."
    ),
]
Height = Annotated[float | None, typer.Option("--height", help="Height in metres: 1, 3, 5, 7.5 or 10.")]
Difficulty = Annotated[float | None, typer.Option("--difficulty", help="Degree of difficulty; wins over every other.")]
Exemplar = Annotated[str | None, typer.Option("--exemplar", help="Compare with this one exemplar.")]
Voters = Annotated[int, typer.Option("--voters", min=1, help="Most exemplars to compare with.")]
Start = Annotated[float | None, typer.Option("--start", help="Where the dive starts in the video, seconds.")]
End = Annotated[float | None, typer.Option("--end", help="Where the dive ends in the video, seconds.")]
Takeoff = Annotated[
    float | None,
    typer.Option("--takeoff", metavar="S", help="When the athlete leaves the board, seconds; kept beside the clip."),
]
Entry = Annotated[
    float | None,
    typer.Option("--entry", metavar="S", help="When the athlete touches the water, seconds; kept beside the clip."),
]
Athlete = Annotated[
    str | None,
    typer.Option(
        "--athlete",
        metavar="X,Y[,S]|left|right",
        help="A point on the athlete, pixels, and when; or which of two in the air; kept beside the clip.",
    ),
]
Force = Annotated[bool, typer.Option("--force", help="Score what would be refused, too; that is said first.")]
Seed = Annotated[int, typer.Option("--seed", help="Seed of whatever is drawn by chance.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with the run in the folder, as it was begun.")]
Weights = Annotated[
    str, typer.Option("--weights", help="Bundled weights by name, a folder, or hf://owner/repo@revision.")
]
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


@dataclass(frozen=True)
class Layout:
    """Where a dataset keeps its parts; fields are the arguments of ``read_dataset``."""

    panel: ClassVar[str] = "Reading the dataset"

    annotations: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Folder of the pickled annotations, if not in or just below the dataset.",
            show_default=False,
        ),
    ] = None
    frames: Annotated[
        str | None,
        typer.Option(
            metavar="PATTERN", help="Where MTL-AQA's frames lie, with {video} and {frame}.", show_default=False
        ),
    ] = None
    allow_outside: Annotated[
        bool, typer.Option("--allow-outside", help="Accept a manifest's paths that lead out of its folder.")
    ] = False

    def arguments(self) -> dict[str, Any]:
        """Return the arguments of ``read_dataset``."""
        return {name: value for name, value in asdict(self).items() if value is not None}


@dataclass(frozen=True)
class Clips:
    """Where decoded clips are kept."""

    panel: ClassVar[str] = "Reading the dataset"

    cache: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder of decoded clips; the user's cache by default.", show_default=False),
    ] = None
    no_cache: Annotated[bool, typer.Option("--no-cache", help="Decode clips every time they are needed.")] = False

    def folder(self) -> Path | None:
        """Return the folder, or None where nothing is kept."""
        from finecausal_cli.data.places import default_cache

        return None if self.no_cache else self.cache or default_cache()


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
    takeoff_s: Takeoff = None
    entry_s: Entry = None
    athlete: Athlete = None
    force: Force = False
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
