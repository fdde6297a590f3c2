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
    ROW = "row"
    UNSCORED = "unscored"


def schema(
    command: Annotated[
        Of,
        typer.Argument(
            metavar="COMMAND",
            help="score, explain or compare; row for a line of many; unscored for a clip without points.",
        ),
    ] = Of.SCORE,
) -> None:
    """Print the JSON Schema of a command's ``--format json``, or of a row of ``score`` with many dives."""
    from finecausal_cli.report.document import (
        assessment_schema,
        comparison_schema,
        explanation_schema,
        row_schema,
        unscored_schema,
    )

    schemas = {
        Of.SCORE: assessment_schema,
        Of.EXPLAIN: explanation_schema,
        Of.COMPARE: comparison_schema,
        Of.ROW: row_schema,
        Of.UNSCORED: unscored_schema,
    }
    typer.echo(schemas[command]())
