"""Write results: JSON, pages and pictures, to a file or standard output."""

from __future__ import annotations

import io
import json
import re
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from finecausal_cli.atomic import atomic_write, is_stream
from finecausal_cli.batch.records import ROW_VERSION, Row
from finecausal_cli.errors import UsageError
from finecausal_cli.report.console import open_console
from finecausal_cli.scoring.comparison_results import COMPARISON_SCHEMA_VERSION, Comparison
from finecausal_cli.scoring.results import EXPLANATION_SCHEMA_VERSION, SCHEMA_VERSION, Assessment, Explanation, Unscored

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from matplotlib.figure import Figure
    from rich.console import Console

    from finecausal_cli.scoring.results import Value


# Output paths.

_FLAGS = {"output": "-o"}

_FORMATS = {".json": "json", ".txt": "table", "": None}
"""Endings of a single result."""


def check_targets(sources: Sequence[str], **targets: Path | None) -> None:
    """Check output paths before anything is computed.

    Args:
        sources: Videos or folders of frames that are inputs.
        targets: Output paths by the name of their option; ``figures`` is a folder, the others are files.

    Raises:
        UsageError: A target is one of the sources or lies among their frames, is a folder where a file is meant or the
            other way round, has the wrong suffix, or is named twice.
    """
    flags: dict[Path, str] = {}
    for name, target in targets.items():
        if target is None:
            continue
        flag = _FLAGS.get(name, f"--{name}")
        resolved = target.resolve()
        for source in (Path(source).resolve() for source in sources):
            if resolved == source or (target.exists() and source.exists() and target.samefile(source)):
                raise UsageError(f"{flag} would write over the dive that is read", where=target)
            if source.is_dir() and resolved.parent == source:
                raise UsageError(f"{flag} would write among the frames that are read", where=target)
        _check_kind(flag, name, target)
        if resolved in flags:
            raise UsageError(f"{flags[resolved]} and {flag} name the same file", where=target)
        flags[resolved] = flag
    resolve_format(targets.get("output"), None)


def resolve_format(output: Path | None, requested: str | None) -> str:
    """Return the format of a single result: ``json`` or ``table``.

    The ending of ``output`` decides, ``.json`` or ``.txt``; otherwise, and for a pipe or a device, ``requested``.

    Args:
        output: A file; None for standard output.
        requested: Value of ``--format``.

    Raises:
        UsageError: The ending is another one.
    """
    ending = "" if output is None or is_stream(output) else output.suffix.lower()
    if ending not in _FORMATS:
        hint = f"let it end in {' or '.join(filter(None, _FORMATS))}"
        raise UsageError("the name of -o does not say its format", where=output, hint=hint)
    return _FORMATS[ending] or requested or "table"


def _check_kind(flag: str, name: str, target: Path) -> None:
    if name == "figures":
        if target.exists() and not target.is_dir():
            raise UsageError(f"{flag} needs a folder, and this is a file", where=target)
        return
    if target.is_dir():
        raise UsageError(f"{flag} needs a file, and this is a folder", where=target)
    if name in ("overlay", "video") and target.suffix.lower() != ".mp4":
        raise UsageError(f"{flag} writes MP4", where=target, hint="end the name in .mp4")
    if name == "html" and target.suffix.lower() not in ("", ".html", ".htm"):
        raise UsageError(f"{flag} writes HTML", where=target, hint="end the name in .html")


_JOURNAL_ENDING = ".journal.jsonl"


def journal_beside(output: Path) -> Path:
    """Return where the rows of a table are kept as they come."""
    return output.with_name(output.name + _JOURNAL_ENDING)


# Self-contained HTML pages: no network, no script; for light and dark screens and for print.


def render_page(template: str, **content: object) -> str:
    """Fill a template of this folder. Everything but ``Markup`` is escaped; a name without a value is an error.

    Args:
        template: Name of a template that extends ``page.html``.
        content: Its values.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent, encoding="utf-8"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["whole"] = keep_whole
    return environment.get_template(template).render(content)


_INSEPARABLE = re.compile(
    r"(\S*(?:--[a-z]|take-off)\S*"  # flags, and the take-off
    r"|(?<![\w.])\d+(?:\.\d+)? (?:m|s|deg)\b(?!/)"  # a number and its unit
    r"|(?<!\S)[-+] \w+)"  # a sign and what it stands for
)
_WHOLE = Markup('<span class="whole">{}</span>')
_LONGEST_WHOLE = 24
"""Longer words may be broken, so that a narrow page is never too narrow."""


def keep_whole(text: object) -> Markup:
    """Escape text for a page; no line ends within a flag or the take-off, before a unit or after a sign."""
    words = _INSEPARABLE.split(str(text))
    return Markup("").join(
        _WHOLE.format(word) if place % 2 and len(word) <= _LONGEST_WHOLE else escape(word)
        for place, word in enumerate(words)
    )


# JSON of results, and its schemas.

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


def to_json(result: Value, *, indent: int | None = 2) -> str:
    """Return a result as JSON by its schema; without NaN or infinity.

    Args:
        result: An assessment, an explanation, a comparison, or what stands in its place.
        indent: Blanks for each level, or None for one line (JSON Lines).
    """
    text = json.dumps(result.model_dump(mode="json"), ensure_ascii=False, allow_nan=False, indent=indent)
    return _LONE_SURROGATE.sub(lambda match: f"\\u{ord(match.group()):04x}", text)


def assessment_schema() -> str:
    """Return the JSON Schema of an assessment, versioned like its ``schema_version``; every field is always there."""
    return schema_of(Assessment, "assessment", SCHEMA_VERSION)


def unscored_schema() -> str:
    """Return the JSON Schema of a result without points."""
    return schema_of(Unscored, "unscored", SCHEMA_VERSION)


def explanation_schema() -> str:
    """Return the JSON Schema of an explanation."""
    return schema_of(Explanation, "explanation", EXPLANATION_SCHEMA_VERSION)


def comparison_schema() -> str:
    """Return the JSON Schema of a comparison."""
    return schema_of(Comparison, "comparison", COMPARISON_SCHEMA_VERSION)


def measured_schema() -> str:
    """Return the JSON Schema of a measured dive."""
    from finecausal_cli.batch.measuring import MEASURED_VERSION, MeasuredDive  # it reads athletes, with torch

    return schema_of(MeasuredDive, "measured", MEASURED_VERSION)


def row_schema() -> str:
    """Return the JSON Schema of a row: one dive of many, scored, refused or failed."""
    return schema_of(Row, "row", ROW_VERSION)


def schema_of(kind: type[Value], name: str, version: int) -> str:
    """Return the JSON Schema of a result; every field is required, for each is written."""
    schema = kind.model_json_schema(mode="serialization")
    for definition in (schema, *schema.get("$defs", {}).values()):
        if "properties" in definition:
            definition["required"] = list(definition["properties"])
    header = {"$schema": _DIALECT, "$id": f"urn:finecausal:{name}:{version}"}
    return json.dumps(header | schema, ensure_ascii=False, indent=2)


# Write one result as a table or JSON, to standard output or a file.

T = TypeVar("T", bound="Value")


def deliver(
    value: T,
    output_format: str,
    output: Path | None,
    print_table: Callable[[T, Console], None],
) -> None:
    """Write a result to a file or standard output.

    Args:
        value: The result.
        output_format: ``table`` or ``json``; the ending of ``output`` wins.
        output: A file, or None for standard output.
        print_table: Prints it as text.

    Raises:
        UsageError: The ending of the file is neither ``.json`` nor ``.txt``.
        OutputError: The file cannot be written.
    """
    output_format = resolve_format(output, output_format)
    if output is None:
        console = open_console()
        if output_format == "json":
            console.file.write(to_json(value) + "\n")
        else:
            print_table(value, console)
        return
    with atomic_write(output, "the result") as part, part.open("w", encoding="utf-8") as stream:
        if output_format == "json":
            stream.write(to_json(value) + "\n")
        else:
            print_table(value, open_console(stream))


# Style of figures; figures as files and as parts of a page.

# Okabe and Ito's blue and vermilion, safe for colour blindness on white and black; markers differ too.
BLUE: Final = "#1a80c4"
VERMILION: Final = "#d55e00"

INK: Final = "#010203"
"""Placeholder that a page replaces by its text colour."""

STYLE: Final[dict[Any, Any]] = {
    "font.size": 10,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "svg.hashsalt": "finecausal",
}
"""For ``rc_context`` around both drawing and saving of a figure."""


def require_figures(hint: str) -> None:
    """Check that matplotlib is installed.

    Args:
        hint: What to do instead of installing it, e.g. ``add --no-figures``.

    Raises:
        UsageError: matplotlib is not installed.
    """
    if find_spec("matplotlib") is None:
        raise UsageError("figures need matplotlib", hint=f"pip install 'finecausal-cli[report]', or {hint}")


def save_figures(folder: Path, figures: Mapping[str, Figure]) -> list[Path]:
    """Write every figure, by name, as PNG and as SVG; return the files.

    Raises:
        OutputError: The folder cannot be written.
    """
    written: list[Path] = []
    for name, figure in figures.items():
        for suffix, metadata in (("png", None), ("svg", {"Date": None})):
            path = folder / f"{name}.{suffix}"
            with atomic_write(path, "a figure") as part:
                figure.savefig(part, format=suffix, dpi=200, facecolor="white", metadata=metadata)
            written.append(path)
    return written


def draw_for_page(figures: Mapping[str, Figure]) -> dict[str, str]:
    """Return every figure as an SVG element for a page, by name; ink takes the colour of the text around it."""
    drawings: dict[str, str] = {}
    for name, figure in figures.items():
        stream = io.StringIO()
        figure.savefig(stream, format="svg", transparent=True, metadata={"Date": None})
        drawings[name] = _for_page(stream.getvalue(), name)
    return drawings


def plain(text: str) -> str:
    """Escape dollar signs, which matplotlib would read as a formula."""
    return text.replace("$", r"\$")


def _for_page(svg: str, name: str) -> str:
    """Make an SVG file an element of a page: no prologue, unique ids, ink in the text colour."""
    element = svg[svg.index("<svg") :].replace(INK, "currentColor")
    element = re.sub(r"<metadata>.*?</metadata>", "", element, flags=re.DOTALL)
    element = re.sub(r'\bid="', f'id="{name}-', element)
    element = re.sub(r'href="#', f'href="#{name}-', element)
    element = element.replace("url(#", f"url(#{name}-")
    for size in ("width", "height"):  # the page sets the width; the view box keeps the shape
        element = re.sub(rf'(<svg\b[^>]*?) {size}="[^"]*"', r"\1", element, count=1)
    return element
