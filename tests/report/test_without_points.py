"""A dive whose number is not sure: every form of its result gives marks in place of points."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING

import pytest
from jsonschema import validate
from rich.console import Console

from finecausal_cli.batch.inputs import Item
from finecausal_cli.batch.records import Job, Row, scored_row
from finecausal_cli.report.batch import print_failures, print_line, summarise_rows
from finecausal_cli.report.explanation import print_explanation, summarise_explanation
from finecausal_cli.report.output import assessment_schema, explanation_schema, to_json
from finecausal_cli.report.overlay import ScoreOverlay
from finecausal_cli.report.pages import batch_page, explanation_page
from finecausal_cli.scoring import ScoreOptions
from finecausal_cli.scoring.results import Assessment

if TYPE_CHECKING:
    from collections.abc import Callable

    from finecausal_cli.scoring.background import Evidence
    from finecausal_cli.scoring.results import Explanation


@pytest.fixture
def unsure(assessment: Assessment, without_points: Callable[[Assessment], Assessment]) -> Assessment:
    return without_points(assessment)


@pytest.fixture
def explained(unsure: Assessment, make_explanation: Callable[..., Explanation]) -> Explanation:
    return make_explanation(unsure, bank_mean=False)


@pytest.fixture
def row(unsure: Assessment) -> Row:
    return scored_row(Job(Item(unsure.source, unsure.source, ScoreOptions()), "s" * 64, "k"), unsure)


def test_json_keeps_to_its_schema_and_is_read_again(unsure: Assessment, explained: Explanation) -> None:
    validate(json.loads(to_json(unsure)), json.loads(assessment_schema()))
    validate(json.loads(to_json(explained)), json.loads(explanation_schema()))
    assert Assessment.model_validate(json.loads(to_json(unsure))) == unsure


def test_an_explanation_is_in_marks(explained: Explanation) -> None:
    stream = io.StringIO()
    print_explanation(explained, Console(file=stream, width=80, color_system=None))
    first, *others = summarise_explanation(explained)
    assert first.startswith(f"The dive gets {explained.assessment.mark:.2f} marks, ")
    assert not any("points" in sentence for sentence in others)
    assert "Likeliest dive numbers" in stream.getvalue()


def test_the_page_says_why_there_are_no_points(explained: Explanation, evidence: Evidence) -> None:
    page = explanation_page(explained, evidence, {})
    assert "<b>none</b>" in page
    assert 'the dive number is not sure: name it with <span class="whole">--dive' in page
    heights = ", or ".join(f'<span class="whole">{metres} m</span>' for metres in ("10", "7.5"))
    assert f"Height: not sure: {heights}" in page


def test_the_overlay_counts_marks(unsure: Assessment) -> None:
    overlay = ScoreOverlay(unsure, (0, 40, 76, 96), (480, 640))
    assert overlay._sums[-1] == pytest.approx(round(unsure.mark, 2))


def test_the_row_has_a_reason_and_the_candidates(row: Row, unsure: Assessment) -> None:
    assert (row.score, row.status, row.error_kind, row.interval_low) == (None, "scored", "no_number", None)
    assert row.candidates == "5253B 0.55 3.2 80.00 | 5251B 0.30 2.2-2.6 55.00-65.00 | 109A 0.01"
    assert row.mark == unsure.mark
    assert row.takeoff_points is None
    assert row.takeoff_marks == unsure.stages[0].marks
    assert row.height_candidates == "10 7.5"
    assert row.given == (None, None, None)
    assert Row.model_validate(json.loads(row.model_dump_json())) == row


def test_a_batch_counts_it_and_says_its_mark(row: Row, make_batch_row: Callable[..., Row]) -> None:
    page = Console(file=io.StringIO(), width=80, highlight=False, markup=False, emoji=False)
    print_line(row, page)
    print_failures([row, make_batch_row()], page)
    text = page.file.getvalue()  # type: ignore[attr-defined]
    assert f"mark {row.mark:.2f}, no_number: " in text.splitlines()[0]
    assert "no points are given" in text
    summary = summarise_rows([row, make_batch_row()])
    assert (summary.scored, summary.refused, summary.failed, summary.failures) == (1, 0, 0, (("no_number", 1),))
    assert summary.mean_mark == row.mark
    page_of_rows = batch_page([row, make_batch_row()])
    assert "no_number" in page_of_rows
    assert "points need a sure dive number" in page_of_rows
    assert "points need a sure dive number" not in batch_page([make_batch_row()])
