import io
import json
import logging
import re

import jsonschema
import pytest
from rich.console import Console

from finecausal_cli.report import comparison as rows
from finecausal_cli.report.comparison import comparison_page, print_comparison, strips_of, write_comparison_page
from finecausal_cli.report.output import comparison_schema, to_json
from finecausal_cli.scoring.comparison_results import (
    ComparedDive,
    ComparedStage,
    Comparison,
    ComparisonProvenance,
    Exchange,
    PairAttention,
)
from finecausal_cli.scoring.results import StageSpan
from finecausal_cli.weights import SIMULATED_ONLY

NAMES = ("takeoff", "flight", "entry")
WEIGHTS = (0.3, 0.5, 0.2)


def compare(differences=(0.5, -1.11, 4.3), difficulty=3.3, execution=20.0, a="a.mp4", b="b.mp4", attention=True):
    """A made-up comparison whose parts follow from the stage differences."""
    parts = [weight * each for weight, each in zip(WEIGHTS, differences, strict=True)]
    total = sum(parts)

    def points(value):
        return None if difficulty is None or value is None else value * difficulty

    def dive(source, borders, executed):
        spans = tuple(
            StageSpan(
                name=NAMES[k],
                start_frame=borders[k],
                end_frame=borders[k + 1],
                start_s=borders[k] / 25,
                end_s=borders[k + 1] / 25,
            )
            for k in range(3)
        )
        return ComparedDive(
            source=source, decoder="pyav", stages=spans, execution=executed, score=points(executed), notes=()
        )

    exchanges = []
    for given_to in ("query", "exemplar"):
        for k in range(3):
            changes = tuple(0.0 if place < k else -parts[k] if place == k else 0.01 for place in range(3))
            exchanges.append(
                Exchange(
                    stage=NAMES[k],
                    given_to=given_to,
                    difference=total + sum(changes),
                    change=sum(changes),
                    stage_changes=changes,
                )
            )
    causal = ((1.0, 0.0, 0.0), (0.4, 0.6, 0.0), (0.2, 0.3, 0.5))
    return Comparison(
        query=dive(a, (0, 41, 77, 96), None if execution is None else execution + total),
        exemplar=dive(b, (0, 40, 70, 96), execution),
        dive="5253B",
        height_m=10.0,
        difficulty=difficulty,
        difficulty_from="given",
        execution_from="given",
        difference=total,
        points=points(total),
        stages=tuple(
            ComparedStage(
                name=NAMES[k],
                difference=differences[k],
                weight=WEIGHTS[k],
                contribution=parts[k],
                points=points(parts[k]),
            )
            for k in range(3)
        ),
        exchanges=tuple(exchanges),
        attention=PairAttention(
            node_types=((0.03, 0.02, 0.03, 0.03),) * 4, node_uniform=1 / 35, query_stages=causal, exemplar_stages=causal
        )
        if attention
        else None,
        antisymmetric=True,
        reversal_error=1e-6,
        provenance=ComparisonProvenance(
            version="0.1.0",
            weights="compact",
            weights_digest="3f" * 32,
            weights_note="made up",
            device="cpu",
            precision="fp32",
            seconds=1.2,
        ),
        notes=(),
    )


def shown(comparison, width=80):
    stream = io.StringIO()
    print_comparison(comparison, Console(file=stream, width=width, color_system=None))
    return stream.getvalue()


def test_the_shown_points_add_up_to_the_shown_difference():
    section = rows.contributions(compare())
    *parts, (_, *totals) = section.rows
    assert section.headings == ("stage", "marks", "points")
    for column, total in enumerate(totals, 1):
        assert sum(round(100 * float(row[column])) for row in parts) == round(100 * float(total))
    # 0.3 * 0.5 - 0.5 * 1.11 + 0.2 * 4.3 = 0.455 of execution: a third of it in marks, 3.3 times in points.
    assert totals == ["+0.15", "+1.50"]


def test_both_forms_say_first_that_the_weights_come_from_simulated_dives():
    comparison = compare()
    made = comparison.provenance.model_copy(update={"trained_on": "simulated"})
    simulated = comparison.model_copy(update={"provenance": made, "notes": (SIMULATED_ONLY,)})
    text = shown(simulated)
    assert text.splitlines()[0] == SIMULATED_ONLY
    assert text.count("simulated dives only") == 1
    assert rows.first_lines(comparison) == []


@pytest.mark.parametrize(
    ("differences", "says"),
    [
        ((0.5, -1.11, 4.3), "A is 1.50 points above B"),
        ((-0.5, 1.11, -4.3), "A is 1.50 points below B"),
        ((0.0, 0.0, 0.0), "A and B are equal to 0.01"),
    ],
)
def test_who_is_better_stands_first(differences, says):
    assert rows.standing(compare(differences)) == says
    assert says in shown(compare(differences)).splitlines()[1]


def test_quiet_leaves_out_the_notes(monkeypatch):
    noted = compare().model_copy(update={"notes": ("the clip is short",)})
    assert "the clip is short" in shown(noted)
    monkeypatch.setattr(logging.getLogger("finecausal_cli"), "level", logging.ERROR)
    assert "note" not in shown(noted)


def test_without_a_difficulty_nothing_is_called_points():
    comparison = compare((1.0, 1.0, 1.0), difficulty=None, execution=None)
    assert rows.standing(comparison) == "A is 0.33 marks above B"
    assert "points" not in shown(comparison)


def test_the_summary_names_the_largest_stage_and_what_an_exchange_leaves():
    # The entry is worth 3.3 * 0.2 * 4.3 = 2.838; without it 1.5015 - 2.838 = -1.3365 is left.
    assert rows.summarise_comparison(compare()) == [
        "A is 1.50 points above B.",
        "The largest part is the entry: 2.84 points for A.",
        "Had A had B's entry, A minus B would be -1.34.",
        "Had B had A's entry, A minus B would be -1.34.",
    ]


def test_changes_in_the_stages_add_up_to_the_change():
    for row in rows.exchanges(compare()).rows:
        after, change, *parts = (round(100 * float(cell)) for cell in row[1:])
        assert sum(parts) == change
        assert after == 150 + change


def test_scores_are_shown_with_where_they_come_from():
    facts = dict(rows.facts(compare()))
    assert facts["score of B"] == "66.00 points, mark 6.67 (execution 20.00): given"
    assert facts["score of A"].startswith("67.50 points, mark 6.8")
    assert "score of A" not in dict(rows.facts(compare(execution=None)))


def test_borders_of_both_dives_and_how_much_longer_a_stage_lasts():
    assert rows.borders(compare()).rows[1] == ("flight", "0:01.64", "1.44", "0:01.60", "1.20", "+0.24")


def in_slow_motion(a=None, b=None):
    comparison = compare()
    query, exemplar = comparison.query, comparison.exemplar
    sides = {
        "query": query.model_copy(update={"time_scale": a}),
        "exemplar": exemplar.model_copy(update={"time_scale": b}),
    }
    return comparison.model_copy(update=sides)


@pytest.mark.parametrize(
    ("scales", "flight", "says"),
    [
        ((1.0, 1.0), ("1.44", "1.20", "+0.24"), "how many seconds of real time it lasts; how much longer"),
        ((3.0, 1.0), ("0.48", "1.20", "-0.72"), "lasts (A is shown 3.0 times slower);"),
        ((2.0, 1.5), ("0.72", "0.80", "-0.08"), "(A is shown 2.0 times slower, B is shown 1.5 times slower)"),
        ((1.0, None), ("1.44", "1.20", "+0.24"), "(the speed of B is not known: taken as real)"),
    ],
)
def test_how_long_a_stage_lasts_is_in_real_time(scales, flight, says):
    section = rows.borders(in_slow_motion(*scales))
    assert section.title == "When, and how long in real time"
    assert says in section.caption
    _, a_begins, a_lasts, b_begins, b_lasts, longer = section.rows[1]
    assert (a_begins, b_begins) == ("0:01.64", "0:01.60")  # where to find it in its video
    assert (a_lasts, b_lasts, longer) == flight


@pytest.mark.parametrize(
    ("numbers", "says"),
    [
        (("107B", "107B"), None),
        (("107B", "305C"), "A 107B, B 305C: different dives"),
        (("107B", None), "A 107B, B not sure: perhaps different dives"),
    ],
)
def test_numbers_that_differ_stand_beside_the_verdict(numbers, says, evidence):
    comparison = compare().model_copy(update={"dive": None})
    query, exemplar = (
        dive.model_copy(update={"dive": number})
        for dive, number in zip((comparison.query, comparison.exemplar), numbers, strict=True)
    )
    comparison = comparison.model_copy(update={"query": query, "exemplar": exemplar, "notes": ("made-up caveat",)})
    assert dict(rows.facts(comparison)).get("numbers") == says
    for text in (shown(comparison), comparison_page(comparison, (evidence, evidence))):
        assert "made-up caveat" in text
        assert says in text if says else "different dives" not in text


@pytest.mark.parametrize("width", [80, 140])
def test_it_fits_the_page_and_drives_no_terminal(width):
    hostile = "\x1b[31m[bold]" + "long name " * 20 + ".mp4"
    text = shown(compare(a=hostile), width)
    assert max(map(len, text.splitlines())) <= 80
    assert "\x1b" not in text
    assert "[bold]" in text


def test_without_attention_its_tables_are_left_out():
    assert "attention" not in shown(compare(attention=False)).lower()


def test_json_keeps_to_its_schema():
    schema = json.loads(comparison_schema())
    assert schema["$id"] == "urn:finecausal:comparison:2"
    for comparison in (compare(), compare(difficulty=None, execution=None, attention=False)):
        jsonschema.validate(json.loads(to_json(comparison)), schema)


def test_the_page_escapes_what_comes_from_outside_and_asks_for_nothing(evidence, tmp_path):
    hostile = "<img src=x onerror=alert(1)>.mp4"
    write_comparison_page(tmp_path / "c.html", compare(a=hostile, b='"><script>1</script>'), (evidence, evidence))
    page = (tmp_path / "c.html").read_text()
    assert "<img src=x" not in page
    assert "<script" not in page
    assert "&lt;img src=x onerror=alert(1)&gt;.mp4" in page
    sources = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert len(sources) == 2 * 3 * 4
    assert all(source.startswith("data:image/jpeg;base64,") for source in sources)
    assert "http" not in re.sub(r"data:[^\"]*|http-equiv", "", page)


def test_the_page_says_what_the_table_says(evidence):
    page = comparison_page(compare(), (evidence, evidence))
    for section in rows.all_sections(compare()):
        assert section.title in page
    assert "A is 1.50 points above B" in page


def test_both_reels_are_cut_at_their_own_borders(evidence):
    first, second = strips_of(compare(), (evidence, evidence))
    assert (first.borders, second.borders) == ((0, 41, 77, 96), (0, 40, 70, 96))


def test_a_difficulty_has_a_decimal_as_everywhere():
    assert dict(rows.facts(compare(difficulty=3.0)))["difficulty"].startswith("3.0, ")
