"""``finecausal schema``: the published schemas of the JSON output."""

from __future__ import annotations

from enum import Enum
from typing import Annotated

import typer


class Of(str, Enum):
    """Commands that print JSON with a schema."""

    SCORE = "score"
    EXPLAIN = "explain"
    COMPARE = "compare"


def schema(
    command: Annotated[Of, typer.Argument(metavar="COMMAND", help="score, explain or compare.")] = Of.SCORE,
) -> None:
    """Print the JSON Schema of a command's ``--format json``."""
    from finecausal_cli.report.document import assessment_schema, comparison_schema, explanation_schema

    schemas = {Of.SCORE: assessment_schema, Of.EXPLAIN: explanation_schema, Of.COMPARE: comparison_schema}
    typer.echo(schemas[command]())
