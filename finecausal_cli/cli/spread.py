"""Let several commands share a group of options, written once as a dataclass."""

from __future__ import annotations

import inspect
from copy import copy
from dataclasses import MISSING, fields, is_dataclass
from functools import wraps
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

from typer.models import ParameterInfo

if TYPE_CHECKING:
    from collections.abc import Callable


def spread(command: Callable[..., None]) -> Callable[..., None]:
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
