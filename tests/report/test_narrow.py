"""Every table on narrow terminals: no word of a heading is split, nothing is wider than the terminal."""

import io
import re
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
from rich.cells import cell_len
from rich.console import Console

from finecausal_cli.data.datasets import check_dataset
from finecausal_cli.evaluation.ablation import Variant, VariantResult
from finecausal_cli.report import assets, batch
from finecausal_cli.report.console import add_row, new_table, print_section, print_table
from finecausal_cli.report.evaluation import evaluation_sections, print_ablation
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
        ("dives", "no points", "refused", "failed", "mean mark", "mean points", "median", "best", "worst"),
        lambda console: batch.print_figures(summary, console),
    )
    assert_whole(("no score", "why"), lambda console: batch.print_failures(rows, console))


def test_tables_of_ablations(make_evaluation):
    results = [
        VariantResult(Variant(gat=gat, tca=tca), (make_evaluation(), make_evaluation()))
        for gat, tca in ((False, False), (True, True))
    ]
    headings = ("network", "GAT", "TCA", "seeds", "rho", "R-l2", "AIoU@0.5", "AIoU@0.75")
    assert_whole(headings, lambda console: print_ablation(results, console))


def test_tables_of_exemplars():
    facts = {"dive": "107B", "height_m": 3.0, "difficulty": 3.1, "execution": 21.5, "score": 66.65}
    exemplars = [SimpleNamespace(id=f"meet-in-a-long-name-{number}", **facts) for number in range(3)]
    index = SimpleNamespace(exemplars=exemplars, waiting=())
    assert_whole(
        ("exemplar", "dive", "height, m", "difficulty", "execution", "score"),
        lambda console: assets.print_exemplars(index, "mine", None, console),
    )
    judged = SimpleNamespace(
        ids=tuple(exemplar.id for exemplar in exemplars),
        after=np.array([20.0, 21.0, 22.0]),
        difficulties=np.full(3, 3.1),
    )
    for width in (80, 40):  # a name is copied into other commands
        text = printed(lambda console: assets.print_exemplars(index, "mine", None, console, judged), width)
        assert "meet-in-a-long-name-2" in text.split()
        assert "predicted" in text


def test_the_check_of_a_dataset(tmp_path):
    rows = []
    for number, dive in enumerate(("107B", "5253B", "407C", "626C", "205B", "305C", "107C", "103B")):
        (tmp_path / f"{number}.mp4").write_bytes(b"a video")
        rows.append(f"{number}.mp4,{dive},10,{60 + number}.00\n")
    (tmp_path / "dives.csv").write_text("video,dive,height_m,score\n" + "".join(rows), encoding="utf-8")
    check = replace(check_dataset(tmp_path / "dives.csv"), problems=())
    assert check.summary.dives
    assert_whole(("dataset", "dives", "splits", "dive numbers"), lambda console: assets.print_dataset(check, console))


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
