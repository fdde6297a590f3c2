"""Verdicts as JSON, for programs, and the schemas that they keep to."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from finecausal_cli.assess.assessment import SCHEMA_VERSION, Assessment, Unscored
from finecausal_cli.assess.batch.row import ROW_VERSION, Row
from finecausal_cli.assess.comparison import COMPARISON_SCHEMA_VERSION, Comparison
from finecausal_cli.assess.explanation import EXPLANATION_SCHEMA_VERSION, Explanation

if TYPE_CHECKING:
    from finecausal_cli.assess.assessment import Value

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


def to_json(verdict: Value, *, indent: int | None = 2) -> str:
    """Return everything the tables show and more, keeping to the verdict's schema; never NaN or infinity.

    Args:
        verdict: An assessment, an explanation, a comparison, or what stands in its place.
        indent: Blanks for each level, or None for one line (JSON Lines).
    """
    text = json.dumps(verdict.model_dump(mode="json"), ensure_ascii=False, allow_nan=False, indent=indent)
    return _LONE_SURROGATE.sub(lambda match: f"\\u{ord(match.group()):04x}", text)


def assessment_schema() -> str:
    """Return the JSON Schema of an assessment, versioned like its ``schema_version``; every field is always there."""
    return _schema(Assessment, "assessment", SCHEMA_VERSION)


def unscored_schema() -> str:
    """Return the JSON Schema of what stands in place of a verdict where there are no points."""
    return _schema(Unscored, "unscored", SCHEMA_VERSION)


def explanation_schema() -> str:
    """Return the JSON Schema of an explanation."""
    return _schema(Explanation, "explanation", EXPLANATION_SCHEMA_VERSION)


def comparison_schema() -> str:
    """Return the JSON Schema of a comparison."""
    return _schema(Comparison, "comparison", COMPARISON_SCHEMA_VERSION)


def row_schema() -> str:
    """Return the JSON Schema of a row: one dive of many, scored, refused or failed."""
    return _schema(Row, "row", ROW_VERSION)


def _schema(kind: type[Value], name: str, version: int) -> str:
    schema = kind.model_json_schema(mode="serialization")
    schema["required"] = list(schema["properties"])
    header = {"$schema": _DIALECT, "$id": f"urn:finecausal:{name}:{version}"}
    return json.dumps(header | schema, ensure_ascii=False, indent=2)
