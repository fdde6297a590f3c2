"""How every figure looks, and how figures become files and parts of a page."""

from __future__ import annotations

import io
import re
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

from finecausal_cli.errors import UsageError
from finecausal_cli.whole_file import whole_file

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from matplotlib.figure import Figure

# After Okabe and Ito's blue and vermilion: told apart by everybody, on white and black alike; shape tells them too.
BLUE: Final = "#1a80c4"
VERMILION: Final = "#d55e00"

INK: Final = "#010203"
"""Stands for the page's own text colour until a drawing is put into a page."""

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
"""Give it to ``rc_context`` around both the making and the saving of a figure."""


def require_figures(hint: str) -> None:
    """Refuse to begin what would end without its figures.

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
            with whole_file(path, "a figure") as part:
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
    """Keep text from outside from being read as a formula."""
    return text.replace("$", r"\$")


def _for_page(svg: str, name: str) -> str:
    """Make an SVG file part of a page: no prologue, names of its own, ink in the colour of the text."""
    element = svg[svg.index("<svg") :].replace(INK, "currentColor")
    element = re.sub(r"<metadata>.*?</metadata>", "", element, flags=re.DOTALL)
    element = re.sub(r'\bid="', f'id="{name}-', element)
    element = re.sub(r'href="#', f'href="#{name}-', element)
    element = element.replace("url(#", f"url(#{name}-")
    for size in ("width", "height"):  # the page says how wide; the view box keeps the shape
        element = re.sub(rf'(<svg\b[^>]*?) {size}="[^"]*"', r"\1", element, count=1)
    return element
