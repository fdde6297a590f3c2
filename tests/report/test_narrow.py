"""Every table on narrow terminals: no word of a heading is split, nothing is wider than the terminal."""

import io
import re
from types import SimpleNamespace

from rich.cells import cell_len
from rich.console import Console

from finecausal_cli.report import assets, batch
from finecausal_cli.report.console import add_row, new_table, print_section, print_table
from finecausal_cli.report.evaluation import evaluation_sections
from finecausal_cli.report.explanation import explanation_sections
from finecausal_cli.report.score import attention_sections, candidates

WIDTHS = (80, 40, 32)


def printed(show, width):
    stream = io.StringIO()
    show(Console(file=stream, width=width, color_system=None, highlight=False, emoji=False, markup=False))
    return stream.getvalue()


def assert_whole(headings, show):
    for width in WIDTHS:
        text = printed(show, width)
        for word in {word for heading in headings for word in heading.split()}:
            assert re.search(rf"(?<!\S){re.escape(word)}(?![^\s:])", text), (
                f"{word!r} is split at {width} columns:\n{text}"
            )
        assert max(cell_len(line.rstrip()) for line in text.splitlines()) <= width, text


def test_sections_of_a_score_an_explanation_and_an_evaluation(
    make_explanation, make_evaluation, assessment, without_points
):
    explanation = make_explanation()
    sections = [
        *explanation_sections(explanation),
        *evaluation_sections(make_evaluation(), last=None, by=("difficulty", "number")),
    ]
    sections += attention_sections(assessment, assessment.attention) if assessment.attention else []
    sections.append(candidates(without_points(assessment)))
    assert len(sections) > 12
    for section in sections:
        assert_whole(section.headings, lambda console, section=section: print_section(section, console))


def test_tables_of_weights_banks_batches_and_their_plans(make_batch_row):
    config = SimpleNamespace(preset="compact", features=256, frame_size=112)
    manifests = {"skeleton": SimpleNamespace(info={"note": "trained on simulated dives"}, model=config)}
    assert_whole(
        ("weights", "preset", "features", "picture", "trained", "on"),
        lambda console: assets.print_weights_list(manifests, console),
    )
    rows = [make_batch_row("/a/long/folder/of/meets/dive-1.mp4", 61.25), make_batch_row("b.mp4", None)]
    summary = batch.summarise_rows(rows)
    assert_whole(
        ("dives", "refused", "failed", "mean mark", "median", "best", "worst"),
        lambda console: batch.print_figures(summary, console),
    )
    assert_whole(("no score", "why"), lambda console: batch.print_failures(rows, console))


def test_rows_that_do_not_fit_side_by_side_become_lists():
    table = new_table("fact", "measured value", "usual error", "how certain")
    add_row(table, "time in the air", "1.42 s", "0.04 s", "")
    add_row(table, "rise", "0.9 m", "none", "hardly")
    text = printed(lambda console: print_table(table, console), 30)
    assert [line.rstrip() for line in text.splitlines()] == [
        "fact:",
        "time in the air",
        "  measured value  1.42 s",
        "  usual error     0.04 s",
        "rise",
        "  measured value  0.9 m",
        "  usual error     none",
        "  how certain     hardly",
    ]
    assert "time in the air           1.42 s" in printed(lambda console: print_table(table, console), 80)
