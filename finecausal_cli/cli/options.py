"""Options that several commands share."""

from __future__ import annotations

import inspect
from copy import copy
from dataclasses import MISSING, asdict, dataclass, fields, is_dataclass
from enum import Enum
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, get_type_hints

import typer
from typer.models import ParameterInfo

if TYPE_CHECKING:
    from collections.abc import Callable


# Let several commands share a group of options, written once as a dataclass.


def options_from_fields(command: Callable[..., None]) -> Callable[..., None]:
    """Turn each parameter of a command that is a dataclass into one option a field.

    A field is annotated and has its default as an option of a command would. Help shows the group's options together
    under its class variable ``panel``.
    """
    hints = get_type_hints(command, include_extras=True)
    groups: dict[str, type[Any]] = {}
    parameters: list[inspect.Parameter] = []
    for name, parameter in inspect.signature(command).parameters.items():
        kind = hints[name]
        if isinstance(kind, type) and is_dataclass(kind):
            groups[name] = kind
            parameters += _options(kind)
        else:
            parameters.append(parameter.replace(kind=parameter.KEYWORD_ONLY, annotation=kind))

    @wraps(command)
    def run(**given: Any) -> None:
        for name, group in groups.items():
            given[name] = group(**{field.name: given.pop(field.name) for field in fields(group)})
        command(**given)

    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run


def _options(group: type[Any]) -> list[inspect.Parameter]:
    hints = get_type_hints(group, include_extras=True)
    return [
        inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=inspect.Parameter.empty if field.default is MISSING else field.default,
            annotation=_in_panel(hints[field.name], group.panel),
        )
        for field in fields(group)
    ]


def _in_panel(annotation: Any, panel: str) -> Any:
    marks = [copy(mark) if isinstance(mark, ParameterInfo) else mark for mark in annotation.__metadata__]
    for mark in marks:
        if isinstance(mark, ParameterInfo):
            mark.rich_help_panel = panel
    return Annotated[(annotation.__origin__, *marks)]


# Options that several commands share, so that they read the same everywhere.


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
class LayoutArgs:
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
        from finecausal_cli.data.cache import default_cache

        return None if self.no_cache else self.cache or default_cache()


@dataclass(frozen=True)
class QueryArgs:
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
class RuntimeArgs:
    """What computes; fields are the arguments of ``Scorer.load``."""

    panel: ClassVar[str] = "Computing"

    weights: Weights = WEIGHTS_DEFAULT
    bank: BankFolder = None
    device: Device = "auto"
    precision: Precision = "auto"

    def arguments(self) -> dict[str, Any]:
        """Return the arguments of ``Scorer.load``."""
        return asdict(self)
