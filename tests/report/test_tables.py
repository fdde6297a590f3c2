from __future__ import annotations

import io
import logging
import re
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from finecausal_cli.report.score import print_assessment
from finecausal_cli.scoring.results import Competition, Familiarity
from finecausal_cli.weights import SIMULATED_ONLY

if TYPE_CHECKING:
    from collections.abc import Callable

    from finecausal_cli.scoring.results import Assessment

    Make = Callable[..., Assessment]

RATED = Competition(dives=324, mean_mark=7.0, marks=(4.9, 8.5), better_than=0.7, text="107B in competition")

DIFFERENCE = st.floats(-8, 8).map(lambda value: round(value, 6))
VOTER = st.tuples(st.tuples(DIFFERENCE, DIFFERENCE, DIFFERENCE), st.floats(0, 30))


def printed(assessment: Assessment, *, width: int = 80, encoding: str = "utf-8") -> str:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding=encoding, write_through=True)
    console = Console(file=stream, width=width, color_system=None, highlight=False, emoji=False, markup=False)
    print_assessment(assessment, console)
    return raw.getvalue().decode(encoding)


def rows(page: str, title: str) -> list[list[str]]:
    """Return the cells of the rows that follow a heading, up to the next blank line."""
    section = page.split(f"\n{title}\n")[1].split("\n\n")[0]
    return [re.split(r"\s{2,}", line.strip()) for line in section.splitlines()]


def hundredths(cell: str) -> int:
    return round(float(cell) * 100)


def in_stage_table(page: str, column: int) -> tuple[int, list[int], int]:
    """Return the exemplars' value, the three stages' and the dive's of a column (marks, points), in hundredths."""
    table = {row[0]: row for row in rows(page, "Stages against the exemplars")}
    start = next(row for name, row in table.items() if name.endswith(("exemplars", "exemplar")) and len(row) < 4)
    stages = [hundredths(table[name][2 + column]) for name in ("take-off", "flight", "entry")]
    return hundredths(start[1 + column]), stages, hundredths(table["the dive"][1 + column])


@settings(max_examples=40, deadline=None)
@given(voters=st.lists(VOTER, min_size=1, max_size=12), difficulty=st.integers(12, 48))
def test_the_shown_points_add_up_to_the_shown_score(
    voters: list[tuple[tuple[float, float, float], float]], difficulty: int, make_assessment: Make
) -> None:
    differences, executions = zip(*voters, strict=True)
    assessment = make_assessment(list(differences), list(executions), difficulty=difficulty / 10)
    page = printed(assessment)
    start, contributions, score = in_stage_table(page, 1)
    assert start + sum(contributions) == score == round(assessment.score * 100)
    start, marks, mark = in_stage_table(page, 0)
    assert start + sum(marks) == mark == round(assessment.mark * 100)
    assert f"{assessment.score:.2f} points" in page


def test_stage_rows_show_time_marks_and_points(make_assessment: Make) -> None:
    page = printed(make_assessment([(1.0, -2.0, 0.5)], [25.0], difficulty=3.0))
    table = {row[0]: row[1:4] for row in rows(page, "Stages against the exemplars")}
    assert table["take-off"] == ["0.00-1.37", "+0.10", "+0.90"]
    assert table["flight"] == ["1.37-2.57", "-0.33", "-3.00"]
    assert table["entry"] == ["2.57-3.20", "+0.03", "+0.30"]
    assert in_stage_table(page, 0) == (833, [10, -33, 3], 813)
    assert in_stage_table(page, 1) == (7500, [90, -300, 30], 7320)


def test_no_stage_is_shown_on_a_scale_that_judges_do_not_have(make_assessment: Make) -> None:
    page = printed(make_assessment([(33.93, 0.0, 0.0)], [10.0], difficulty=3.0))
    assert "33.93" not in page
    assert in_stage_table(page, 0) == (334, [339, 0, 0], 673)


def test_the_first_line_says_that_the_weights_come_from_simulated_dives(make_assessment: Make) -> None:
    assessment = make_assessment([(0, 0, 0)], [20.0])
    made = assessment.provenance.model_copy(update={"trained_on": "simulated"})
    simulated = assessment.model_copy(update={"provenance": made, "notes": (SIMULATED_ONLY, *assessment.notes)})
    lines = printed(simulated).splitlines()
    assert lines[0] == SIMULATED_ONLY
    assert "simulated dives only: not" not in "\n".join(lines[1:])
    forced = simulated.model_copy(update={"forced": "nothing moves in it"})
    text = " ".join(printed(forced).split())
    assert text.startswith(
        "SCORED BY FORCE, though nothing moves in it: these points may mean nothing. " + SIMULATED_ONLY
    )
    assert "simulated dives only" not in printed(assessment).splitlines()[0]


def test_quiet_leaves_out_the_notes(assessment: Assessment, monkeypatch: pytest.MonkeyPatch) -> None:
    noted = assessment.model_copy(update={"notes": ("the clip is short",)})
    assert "the clip is short" in printed(noted)
    monkeypatch.setattr(logging.getLogger("finecausal_cli"), "level", logging.ERROR)
    assert "the clip is short" not in printed(noted)
    assert "weights" in printed(noted)


def test_older_results_are_read_with_their_marks(assessment: Assessment) -> None:
    older = assessment.model_dump(mode="json")
    for name in ("mark", "exemplar_mark"):
        del older[name]
    for stage in older["stages"]:
        del stage["marks"]
    read = type(assessment).model_validate(older)
    assert read.mark == pytest.approx(assessment.execution / 3)
    assert read.exemplar_mark + sum(stage.marks for stage in read.stages) == pytest.approx(read.mark)


def test_the_panel_says_what_the_score_is_made_of(assessment: Assessment) -> None:
    panel = printed(assessment).split("\n\n")[0]
    low, high = assessment.score - 4.2, assessment.score + 4.2
    assert f"90% interval {low:.2f} to {high:.2f}" in panel
    assert "5253B  back 2½ somersaults 1½ twists pike, 10 m" in panel
    assert "recognised from the video, 94% sure" in panel
    assert f"{assessment.mark:.2f} of 10 a judge (execution {assessment.execution:.2f} of 30)" in panel
    assert "3.3, listed for 5253B at 10 m" in panel


def test_a_dive_that_is_not_known_is_said_to_be_so(make_assessment: Make) -> None:
    assert "not known" in printed(make_assessment([(0, 0, 0)], [20.0], dive=None))
    assert "XYZ  (not a dive number)" in printed(make_assessment([(0, 0, 0)], [20.0], dive="XYZ"))


def test_voters_average_to_the_score(assessment: Assessment) -> None:
    table = rows(printed(assessment), "Exemplars")
    votes = [row for row in table if row[0].startswith("sim-")]
    mean = next(row for row in table if row[0] == "mean")
    assert [row[1] for row in votes] == ["5253B", "5253B"]
    assert float(mean[1]) == 24.75 / 3
    assert sum(float(row[5]) for row in votes) / 2 == pytest.approx(float(mean[3]), abs=0.011)
    assert mean[3] == f"{assessment.score:.2f}"
    assert "Chosen: 2 of 48 with the same dive number" in " ".join(printed(assessment).split())


def test_node_attention_is_shown_against_no_preference(assessment: Assessment) -> None:
    table = rows(printed(assessment), "Graph attention by kind of node")
    query = next(row for row in table if row[0] == "query")
    assert query == ["query", "2.86 (+0.00)", "3.10 (+0.24)", "2.50 (-0.36)", "3.01 (+0.15)"]
    assert [row[0] for row in table[-4:]] == ["query", "exemplar", "query fused", "exemplar fused"]


def test_stage_attention_shares_a_hundred_percent_and_never_looks_ahead(assessment: Assessment) -> None:
    table = rows(printed(assessment), "Stage attention of the query")[-3:]
    assert table == [
        ["take-off", "100.0", "-", "-"],
        ["flight", "40.0", "60.0", "-"],
        ["entry", "20.0", "33.0", "47.0"],
    ]


def test_provenance_and_caveats_are_there(assessment: Assessment) -> None:
    page = " ".join(printed(assessment).split())
    assert "weights bundled (3f2a3f2a3f2a): Trained on simulated dives only;" in page
    assert "bank bundled (ab12ab12ab12)" in page
    assert "cpu, fp32, decoded by decord, 3.2 s, finecausal 0.1.0" in page
    assert "note only 71 distinct frames" in page


def test_what_was_not_asked_for_is_left_out(assessment: Assessment) -> None:
    bare = assessment.model_copy(update={"attention": None, "interventions": (), "interval": None})
    page = printed(bare)
    assert not any(word in page for word in ("attention", "Interventions", "interval"))


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "latin-1"])
@pytest.mark.parametrize("width", [40, 60, 80, 200])
@pytest.mark.parametrize(
    "source", ["a.mp4", "folder/" * 30 + "dive.mp4", "跳水\n\x1b[31m" * 9 + ".mp4", "bad\udcff.mp4"]
)
def test_no_line_is_wider_than_the_page(source: str, width: int, encoding: str, make_assessment: Make) -> None:
    assessment = make_assessment([(0.3, -9.1, 2.2)] * 10, [24.0] * 10, source=source, start_s=7200.0)
    page = printed(assessment, width=width, encoding=encoding)
    assert max(cell_len(line) for line in page.splitlines()) <= min(width, 80)
    assert "\x1b" not in page
    assert (encoding == "utf-8") is ("─" in page)


def test_at_80_columns_no_number_is_broken_over_lines(make_assessment: Make) -> None:
    assessment = make_assessment([(0.3, -9.1, 2.2)] * 10, [24.0] * 10, start_s=7200.0)
    page = printed(assessment)
    for title in ("Exemplars", "Graph attention by kind of node"):
        body = [row for row in rows(page, title) if len(row) > 3]
        assert len({len(row) for row in body if row[0] != "mean"}) == 1
    assert "7200.00-7201.37" in page


def test_colour_carries_nothing_that_the_words_do_not(assessment: Assessment) -> None:
    stream = io.StringIO()
    print_assessment(assessment, Console(file=stream, width=80, force_terminal=True, color_system="truecolor"))
    coloured = stream.getvalue()
    assert "\x1b[" in coloured
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == printed(assessment)


def test_markup_in_names_from_outside_is_shown_not_obeyed(make_assessment: Make) -> None:
    assessment = make_assessment([(0, 0, 0)], [20.0], source="[bold]a[/bold].mp4")
    votes = tuple(vote.model_copy(update={"exemplar": "[red]b[/nothing]"}) for vote in assessment.votes)
    marked = assessment.model_copy(update={"votes": votes, "notes": ("[/] :smile:",)})
    stream = io.StringIO()
    print_assessment(marked, Console(file=stream, width=80))
    assert all(name in stream.getvalue() for name in ("[bold]a[/bold].mp4", "[red]b[/nothing]", "[/] :smile:"))


def test_without_points_there_are_marks_and_what_the_likeliest_numbers_would_give(
    assessment: Assessment, without_points: Callable[[Assessment], Assessment]
) -> None:
    page = printed(without_points(assessment))
    text = " ".join(page.split())
    assert f"{assessment.mark:.2f} marks of 10, no points" in text
    assert "90% interval 7.10 to 8.90" in text
    assert "no points the dive number is not sure: name it with --dive" in " ".join(text.replace("│", " ").split())
    assert "height not sure: 10 m, or 7.5 m by the 1.66 s in the air" in " ".join(text.replace("│", " ").split())
    table = rows(page, "Likeliest dive numbers")[-3:]
    assert table == [
        ["5253B", "55%", "3.2", "80.00"],
        ["5251B", "30%", "2.2 to 2.6", "55.00 to 65.00"],
        ["109A", "1%", "not listed", "-"],
    ]
    start, marks, mark = in_stage_table(page, 0)
    assert start + sum(marks) == mark == round(assessment.mark * 100)
    assert not any(line.rstrip().endswith("points") for line in page.splitlines() if line.startswith("stage"))
    votes = [row for row in rows(page, "Exemplars") if row[0].startswith("sim-")]
    alone = [(vote.execution + vote.difference) / 3 for vote in assessment.votes]
    assert [float(row[5]) for row in votes] == pytest.approx(alone, abs=0.005)
    assert max(map(len, page.splitlines())) <= 80


@pytest.mark.parametrize(
    ("known", "says"),
    [
        ({"interval": None, "interval_withheld": "the clip is far"}, "interval withheld: the clip is far"),
        (
            {"interval_factor": 1.6, "familiarity": Familiarity(distance=1.4, limit=2, factor=1.6)},
            "1.6 times wider: the clip is 1.4 times farther",
        ),
        ({"points_range": (61.2, 70.4)}, "61.20 to 70.40 points by the heights"),
        ({"height_from": "told from the 1.71 s in the air"}, "height 10 m, told from the 1.71 s in the air"),
        ({"competition": RATED}, "others 107B in competition; this one is better than 70% of them"),
        ({"competition": RATED.model_copy(update={"better_than": None})}, "others 107B in competition"),
    ],
)
def test_the_panel_says_what_is_known_and_what_is_not(
    known: dict[str, object], says: str, assessment: Assessment
) -> None:
    panel = printed(assessment.model_copy(update=known)).split("\n\n")[0]
    assert says in " ".join(panel.replace("│", " ").split())
