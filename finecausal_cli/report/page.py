"""A page that needs nothing else: no network, no script, light and dark, screen and paper."""

from __future__ import annotations

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined


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
    return environment.get_template(template).render(content)
