"""From declared options to a command: flags, help, and values from a configuration file."""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from importlib import import_module
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, ClassVar, Literal, Union, get_args, get_origin, get_type_hints

import typer
from typer.core import TyperCommand

from finecausal_cli.config import OptionGroup, OptionInfo, check_value, flag_of, hints_of, info_of, option
from finecausal_cli.errors import UsageError

_CONTEXT, _CONFIG = "context", "config"
_ROOMS = {
    "BankOptions": "retrieval",
    "BatchConfig": "batch",
    "ClassifierOptions": "training",
    "CompareOptions": "scoring",
    "EndOptions": "training",
    "EvaluateOptions": "evaluation",
    "ExplainOptions": "scoring",
    "JudgedOptions": "retrieval",
    "LayoutOptions": "data",
    "MeasureConfig": "batch",
    "NetworkOptions": "training",
    "PretrainNetworkOptions": "training",
    "PretrainOptions": "training",
    "ReaderOptions": "training",
    "ScoreOptions": "scoring",
    "SkeletonOptions": "training",
    "ServeOptions": "report",
    "SimulateOptions": "simulator",
    "TrainOptions": "training",
    "VideoOptions": "report",
}
"""Where the options of commands are declared. They are imported when a command is called: ``finecausal --help`` would
take half as long again with them."""
_CONFIG_HELP = "Options from a TOML file; flags win over it. See docs/configuration.md."


class Without:
    """Fields of a dataclass that a command does not offer: ``Annotated[ScoreOptions, Without("all_dives")]``."""

    def __init__(self, *names: str) -> None:
        self.names = names


class Said:
    """Other help of some fields in a command: ``Annotated[ScoreOptions, Said(dive="Dive number, e.g. 107B.")]``."""

    def __init__(self, **help_of: str) -> None:
        self.help_of = help_of


class Given(frozenset[str]):
    """Names of the options that the user gave, by a flag or in a file. A command may have a parameter of this type."""

    __slots__ = ()


def add_command(
    app: typer.Typer, function: Callable[..., None], *, name: str | None = None, panel: str | None = None
) -> None:
    """Add a command; each of its parameters that is a dataclass of options arrives as one value.

    Flags are derived when the command is called, not before: ``finecausal --help`` needs none of them.
    """

    def stub() -> None: ...

    stub.__name__, stub.__doc__ = function.__name__, function.__doc__
    stub.function = function  # type: ignore[attr-defined]
    app.command(name, cls=_DerivedCommand, rich_help_panel=panel)(stub)


class _RoomTypes(dict[str, Any]):
    """Namespace that imports a class of options when an annotation names it."""

    def __missing__(self, name: str) -> Any:
        return getattr(import_module(f"finecausal_cli.{_ROOMS[name]}"), name)


class _DerivedCommand(TyperCommand):
    """A command that derives its parameters from its function when it is called."""

    def make_context(self, *args: Any, **kwargs: Any) -> Any:
        function = getattr(self.callback, "function", None)
        if function is not None:
            app = typer.Typer(add_completion=False)
            app.command()(options_from_fields(function))
            derived = typer.main.get_command(app)
            self.params, self.callback = derived.params, derived.callback
        return super().make_context(*args, **kwargs)


@dataclass(frozen=True)
class _Group:
    """The fields that a command offers of a dataclass."""

    kind: type[Any]
    fields: dict[str, Field[Any]]
    help_of: dict[str, str]

    @classmethod
    def of(cls, kind: type[Any], marks: Sequence[Any]) -> _Group:
        left_out = [name for mark in marks if isinstance(mark, Without) for name in mark.names]
        offered = (each for each in fields(kind) if info_of(each) is not None and each.name not in left_out)
        help_of = {name: text for mark in marks if isinstance(mark, Said) for name, text in mark.help_of.items()}
        return cls(kind, {each.name: each for each in offered}, help_of)

    def parameters(self) -> list[inspect.Parameter]:
        """Return the fields that have a flag as parameters that typer reads."""
        shown = (each for each in self.fields.values() if not _info(each).file_only)
        return [_parameter(self.kind, each, self.help_of.get(each.name)) for each in shown]

    def build(self, values: Mapping[str, Any]) -> Any:
        """Build the options; None leaves the default of the field."""
        given = {name: value for name, value in values.items() if value is not None}
        for name, value in given.items():
            declared = self.fields[name]
            try:
                given[name] = check_value(self.kind, declared, value)
            except ValueError as error:
                raise UsageError(str(error), where=flag_of(declared)) from None
            check_path(given[name], flag_of(declared), is_path=_info(declared).is_path)
        return self.kind(**given)


def options_from_fields(function: Callable[..., None]) -> Callable[..., None]:
    """Return the function with one parameter an option in place of each parameter that is a dataclass.

    With at least one of these the command takes ``--config FILE``, too.
    """
    groups: dict[str, _Group] = {}
    given_name: str | None = None
    parameters = [inspect.Parameter(_CONTEXT, inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)]
    hints = get_type_hints(function, localns=_RoomTypes(), include_extras=True)
    for name, parameter in inspect.signature(function).parameters.items():
        kind, *marks = get_args(hints[name]) if get_origin(hints[name]) is Annotated else (hints[name],)
        if kind is Given:
            given_name = name
        elif isinstance(kind, type) and is_dataclass(kind):
            groups[name] = _Group.of(kind, marks)
            parameters += groups[name].parameters()
        else:
            parameters.append(parameter.replace(kind=parameter.KEYWORD_ONLY, annotation=hints[name]))
    if groups:
        parameters.append(_config_parameter(list(groups.values())))

    negative = [name for group in groups.values() for name, each in group.fields.items() if _info(each).is_negative]

    def run(**values: Any) -> None:
        context: typer.Context = values.pop(_CONTEXT)
        values.pop(_CONFIG, None)
        stored: Mapping[str, Any] = context.meta.get(_CONFIG, {})
        typed = {name for name in values if _is_typed(context, name)}
        values |= {name: not values[name] for name in negative}
        values |= {name: value for name, value in stored.items() if name not in typed}
        for name, group in groups.items():
            values[name] = group.build({field: values.pop(field) for field in group.fields if field in values})
        if given_name is not None:
            values[given_name] = Given(typed | stored.keys())
        function(**values)

    run.__name__, run.__doc__ = function.__name__, function.__doc__
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run


def check_path(value: Any, where: str, *, is_path: bool = False) -> None:
    """Refuse a path that the system refuses, as one line now and not as a traceback later.

    Args:
        value: Anything; paths, and tuples and lists of them, are checked.
        where: The option.
        is_path: Whether text is a path, perhaps behind a prefix such as ``trunk:``.

    Raises:
        UsageError: The path is too long, a loop of links, or in a folder that may not be entered.
    """
    for path in value if isinstance(value, tuple | list) else (value,):
        if isinstance(path, Path) or (is_path and isinstance(path, str) and "://" not in path):
            try:
                os.stat(str(path).rpartition(":")[2] if is_path else path)  # noqa: PTH116 - pathlib hides some errors
            except (FileNotFoundError, NotADirectoryError):
                pass
            except (OSError, ValueError) as error:
                raise UsageError(getattr(error, "strerror", None) or str(error), where=f"{where} {path}") from None


def _info(declared: Field[Any]) -> OptionInfo:
    info = info_of(declared)
    assert info is not None  # noqa: S101 - only such fields are offered
    return info


def _is_typed(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def _parameter(kind: type[Any], declared: Field[Any], help_text: str | None = None) -> inspect.Parameter:
    """Return a field as a parameter that typer reads."""
    info, hint = _info(declared), _typer_type(hints_of(kind)[declared.name], _info(declared))
    default = declared.default
    is_required = default is MISSING and declared.default_factory is MISSING
    if info.is_negative:
        default = not default
    elif default is MISSING or get_origin(hint) is list or info.parse is not None:
        default = None  # `_Group.build` leaves it to the dataclass
    panel = info.panel or kind.panel
    mark = typer.Option(
        *(info.flags or [flag_of(declared)]),
        help=help_text or info.help,
        metavar=info.metavar,
        min=info.min,
        max=info.max,
        rich_help_panel=None if panel == OptionGroup.panel else panel,
        show_default=info.show_default and default is not None,
    )
    return inspect.Parameter(
        declared.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=inspect.Parameter.empty if is_required else default,
        annotation=Annotated[hint if is_required or default is not None else hint | None, mark],
    )


def _typer_type(hint: Any, info: OptionInfo) -> Any:
    if info.parse is not None:
        return str
    if get_origin(hint) in (Union, UnionType):
        (hint,) = (part for part in get_args(hint) if part is not type(None))
    return list[get_args(hint)[0]] if get_origin(hint) is tuple else hint  # type: ignore[misc]


# ``--config FILE``: keys are the names of the fields; flags win over the file.


def _config_parameter(groups: Sequence[_Group]) -> inspect.Parameter:
    required = {name for group in groups for name, each in group.fields.items() if each.default is MISSING}

    def read(context: typer.Context, path: Path | None) -> Path | None:
        if path is not None and not context.resilient_parsing:
            stored = context.meta[_CONFIG] = read_config(path, groups)
            # What must be given may stand in the file.
            context.default_map = {
                name: [str(item) for item in value] if isinstance(value, tuple) else str(value)
                for name, value in stored.items()
                if name in required
            }
        return path

    mark = typer.Option("--config", metavar="FILE", help=_CONFIG_HELP, callback=read, is_eager=True)
    return inspect.Parameter(
        _CONFIG, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[Path | None, mark]
    )


def read_config(path: Path, groups: Sequence[_Group]) -> dict[str, Any]:
    """Read and check the options in a TOML file, by the names of their fields.

    Raises:
        UsageError: The file cannot be read, a key is unknown or a value is wrong.
    """
    known = {name: (group.kind, each) for group in groups for name, each in group.fields.items()}
    values = _read_toml(path)
    for name, value in values.items():
        if name not in known:
            raise UsageError(f"no option {name!r}", where=path, hint=_suggestion(name, sorted(known)))
        try:
            values[name] = check_value(*known[name], value)
        except ValueError as error:
            raise UsageError(f"{name}: {error}", where=path) from None
    return values


def _read_toml(path: Path) -> dict[str, Any]:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"cannot be read: {error.strerror}", where=f"--config {path}") from None
    except ValueError as error:  # not UTF-8, or not TOML
        raise UsageError(f"not a TOML file: {error}", where=f"--config {path}") from None


def _suggestion(name: str, known: list[str]) -> str:
    from difflib import get_close_matches

    nearest = [each for each in known if each.startswith(name)] or get_close_matches(name, known, n=1, cutoff=0.0)
    return f"did you mean {nearest[0]!r}?"


# What several commands share.

OutputFormat = Literal["table", "json"]
DEVICE_HELP = "auto, cpu, cuda, cuda:N or mps."

Clip = Annotated[
    str,
    typer.Argument(
        metavar="PATH", help="A video file, a folder of frames, or - for standard input.", show_default=False
    ),
]
Dataset = Annotated[
    Path,
    typer.Argument(
        metavar="DATASET", help="A manifest, its folder, or the folder of FineDiving-HM or MTL-AQA.", show_default=False
    ),
]
Weights = Annotated[
    str, typer.Argument(metavar="WEIGHTS", help="Bundled weights by name, a folder, or hf://owner/repo@revision.")
]


@dataclass(frozen=True)
class ResultOptions(OptionGroup):
    """How a result is printed, and where."""

    output_format: OutputFormat = option("table", "How to print the result.", flag="--format")
    output: Path | None = option(None, "Write the result to a file.", flag="-o,--output")


@dataclass(frozen=True)
class FormatOptions(OptionGroup):
    """How a result is printed."""

    output_format: OutputFormat = option("table", "How to print the result.", flag="--format")


@dataclass(frozen=True)
class PageOptions(OptionGroup):
    """Further forms of a result."""

    html: Path | None = option(None, "Write a report as one self-contained HTML file.", metavar="FILE")
    figures: Path | None = option(None, "Write the figures as PNG and SVG.", metavar="DIR")


@dataclass(frozen=True)
class DeviceOptions(OptionGroup):
    """What computes."""

    device: str = option("auto", DEVICE_HELP, panel="Computing")


@dataclass(frozen=True)
class CacheOptions(OptionGroup):
    """Where decoded clips are kept."""

    panel: ClassVar[str] = "Reading the dataset"

    cache: Path | None = option(None, "Folder of decoded clips; the user's cache by default.", metavar="DIR")
    no_cache: bool = option(False, "Decode clips every time they are needed.")

    @property
    def folder(self) -> Path | None:
        """The folder, or None where nothing is kept."""
        from finecausal_cli.data.cache import default_cache

        return None if self.no_cache else self.cache or default_cache()
