from __future__ import annotations

import json
from typing import TYPE_CHECKING

import jsonschema
import pytest

from finecausal_cli.report.output import assessment_schema, explanation_schema, to_json
from finecausal_cli.scoring.results import EXPLANATION_SCHEMA_VERSION, SCHEMA_VERSION, Assessment, Explanation

if TYPE_CHECKING:
    from collections.abc import Callable

    Make = Callable[..., Assessment]


def test_the_document_keeps_to_the_published_schema(assessment: Assessment) -> None:
    schema = json.loads(assessment_schema())
    jsonschema.Draft202012Validator.check_schema(schema)
    document = json.loads(to_json(assessment))
    jsonschema.validate(document, schema)
    assert document["schema_version"] == SCHEMA_VERSION
    assert schema["$id"].endswith(f":{SCHEMA_VERSION}")


def test_an_explanation_keeps_to_its_own_schema(explanation: Explanation) -> None:
    schema = json.loads(explanation_schema())
    jsonschema.Draft202012Validator.check_schema(schema)
    document = json.loads(to_json(explanation))
    jsonschema.validate(document, schema)
    assert document["schema_version"] == EXPLANATION_SCHEMA_VERSION
    assert Explanation.model_validate_json(to_json(explanation)) == explanation
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(document["assessment"], schema)


@pytest.mark.parametrize("change", [{"score": "high"}, {"schema_version": 99}, {"stages": []}, {"extra": 1}])
def test_the_schema_refuses_another_document(assessment: Assessment, change: dict[str, object]) -> None:
    document = json.loads(to_json(assessment)) | change
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(document, json.loads(assessment_schema()))


def test_nothing_is_lost_on_the_way_to_json_and_back(assessment: Assessment) -> None:
    for indent in (2, None):
        assert Assessment.model_validate_json(to_json(assessment, indent=indent)) == assessment


def test_a_reader_may_rely_on_every_field_being_there() -> None:
    schema = json.loads(assessment_schema())
    for definition in (schema, *schema["$defs"].values()):
        assert set(definition["required"]) == set(definition["properties"])


def test_a_single_line_for_json_lines_whatever_the_name(make_assessment: Make) -> None:
    document = to_json(make_assessment([(0, 0, 0)], [20.0], source="two\nlines\u2028.mp4"), indent=None)
    assert "\n" not in document
    assert json.loads(document)["source"] == "two\nlines\u2028.mp4"


def test_a_name_that_is_not_utf8_can_be_written_and_read_back(make_assessment: Make) -> None:
    document = to_json(make_assessment([(0, 0, 0)], [20.0], source="bad\udcff é.mp4"))
    assert json.loads(document.encode("utf-8"))["source"] == "bad\udcff é.mp4"


def test_numbers_that_json_lacks_cannot_get_in(assessment: Assessment) -> None:
    broken = assessment.model_copy(update={"score": float("nan")})
    with pytest.raises(ValueError, match="not JSON compliant"):
        to_json(broken)
