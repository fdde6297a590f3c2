from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from finecausal_cli.report import explanation as attention_rows
from finecausal_cli.report import explanation as explanation_rows
from finecausal_cli.report.explanation import time_code

if TYPE_CHECKING:
    from collections.abc import Callable

    from finecausal_cli.scoring.results import Assessment, Explanation


def hundredths(cell: str) -> int:
    return round(float(cell) * 100)


@pytest.mark.parametrize(
    ("seconds", "code"),
    [(0, "0:00.00"), (1.64, "0:01.64"), (59.999, "1:00.00"), (125.5, "2:05.50"), (3723.456, "1:02:03.46")],
)
def test_a_time_code_counts_minutes_and_hours(seconds: float, code: str) -> None:
    assert time_code(seconds) == code


def test_the_timeline_follows_the_stages(explanation: Explanation) -> None:
    assert explanation_rows.timeline(explanation).rows == (
        ("take-off", "0:00.00", "0:01.37", "0-40", "3.1%", "0.90"),
        ("flight", "0:01.37", "0:02.57", "41-76", "2.2%", "1.00"),
        ("entry", "0:02.57", "0:03.20", "77-95", "0.8%", "1.20"),
    )


def test_without_a_graph_there_is_no_column_of_attention(make_explanation: Callable[..., Explanation]) -> None:
    section = explanation_rows.timeline(make_explanation(graph=False))
    assert section.headings[-1] == "athlete"
    assert "ttention" not in section.caption
    assert {len(row) for row in section.rows} == {len(section.headings)}


def test_contributions_add_up_as_shown(assessment: Assessment) -> None:
    start, *stages, score = explanation_rows.contributions(assessment).rows
    assert hundredths(start[-1]) + sum(hundredths(row[-1]) for row in stages) == hundredths(score[-1])
    assert hundredths(score[-1]) == round(assessment.score * 100)


def test_interventions_come_best_first_and_add_up_as_shown(explanation: Explanation) -> None:
    # Contributions: 0.4, -1.205 and -1.8 in execution, weighted 3:5:2, times 3.3: the flight has cost most.
    exemplar, bank, best = explanation_rows.interventions(explanation)
    assert [row[0] for row in exemplar.rows] == ["flight", "entry", "take-off"]
    before = round(explanation.assessment.score * 100)
    for _, score, change, *parts, gain in (*exemplar.rows, *bank.rows, *best.rows):
        assert hundredths(score) - before == hundredths(change) == sum(hundredths(part) for part in parts)
        assert gain == ("2/2" if hundredths(change) > 0 else "0/2")
    flight = exemplar.rows[0]
    assert flight[3] == "+0.00"  # never earlier
    assert flight[4:6] == ("+1.99", "+0.20")  # 1.205 x 0.5 x 3.3, and a tenth of it downstream
    assert hundredths(bank.rows[0][2]) == pytest.approx(hundredths(flight[2]) / 2, abs=1)
    assert "the mean of the bank's 7 dives of 5253B" in bank.caption
    assert "the bank's best dive of 5253B" in best.caption


def test_a_check_that_fails_is_said_to(make_explanation: Callable[..., Explanation]) -> None:
    explanation = make_explanation()
    sound = [row[-1] for row in explanation_rows.checks(explanation).rows]
    assert sound[:2] == ["holds (limit 0.0001)"] * 2
    broken = explanation.checks.model_copy(update={"self_error": 0.2, "holds": False})
    section = explanation_rows.checks(explanation.model_copy(update={"checks": broken}))
    assert section.rows[1][1:] == ("off by 0.200000", "FAILS (limit 0.0001)")


def test_snippets_come_by_attention_with_what_they_move(explanation: Explanation) -> None:
    rows = attention_rows.snippets(explanation, 2).rows
    assert rows == (
        ("6", "0:02.00", "0:02.53", "flight", "20.0%", "-1.20"),
        ("5", "0:01.67", "0:02.20", "flight", "13.0%", "-0.60"),
    )
    everything = attention_rows.snippets(explanation)
    assert sorted(row[0] for row in everything.rows) == [str(index) for index in range(9)]
    assert next(row for row in everything.rows if row[0] == "3")[3] == "take-off 69%"  # frames 30..40 of 30..45


def test_node_attention_is_held_against_no_preference(make_explanation: Callable[..., Explanation]) -> None:
    graph = make_explanation(layer=2).graph_attention
    assert graph is not None
    section = attention_rows.node_attention(graph)
    assert section.caption.startswith("Layer 2 of 2, mean of 4 heads.")
    # A query node shares 1 among 26 others and 9 exemplar nodes that count twice: 1/44 and 2/44.
    assert section.rows[0][1] == "2.27 (-0.58)"
    assert section.rows[1][1] == "4.55 (+1.69)"


@pytest.mark.parametrize(("heads", "first"), [(1, "layer 1: take-off"), (2, "layer 1, head 1: take-off")])
def test_stage_attention_never_looks_ahead(
    heads: int, first: str, make_explanation: Callable[..., Explanation]
) -> None:
    section = attention_rows.stage_attention(make_explanation(heads=heads))
    assert section is not None
    assert len(section.rows) == 3 * (2 * heads + 1)
    assert section.rows[0] == (first, "100.0", "-", "-")
    assert section.rows[-1] == ("mean: entry", "30.0", "40.0", "30.0")
    assert attention_rows.stage_attention(make_explanation(tca=False)) is None
