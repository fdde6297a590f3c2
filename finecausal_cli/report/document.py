"""The verdict as JSON, for programs, and the schema that it keeps to."""

from __future__ import annotations

import json
import re

from finecausal_cli.assess.assessment import SCHEMA_VERSION, Assessment

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


def to_json(assessment: Assessment, *, indent: int | None = 2) -> str:
    """Return everything the tables show and more, keeping to ``assessment_schema``; never NaN or infinity.

    Args:
        assessment: The verdict.
        indent: Blanks for each level, or None for one line (JSON Lines).
    """
    text = json.dumps(assessment.model_dump(mode="json"), ensure_ascii=False, allow_nan=False, indent=indent)
    return _LONE_SURROGATE.sub(lambda match: f"\\u{ord(match.group()):04x}", text)


def assessment_schema() -> str:
    """Return the JSON Schema of ``to_json``, versioned like its ``schema_version``; every field is always there."""
    schema = Assessment.model_json_schema(mode="serialization")
    schema["required"] = list(schema["properties"])
    header = {"$schema": _DIALECT, "$id": f"urn:finecausal:assessment:{SCHEMA_VERSION}"}
    return json.dumps(header | schema, ensure_ascii=False, indent=2)
