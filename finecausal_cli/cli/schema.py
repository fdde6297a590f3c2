"""``finecausal schema``: the published schema of the JSON output."""

from __future__ import annotations

import typer


def schema() -> None:
    """Print the JSON Schema of ``score --format json``."""
    from finecausal_cli.report.document import assessment_schema

    typer.echo(assessment_schema())
