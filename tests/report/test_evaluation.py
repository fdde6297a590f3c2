from __future__ import annotations

import io
import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from rich.cells import cell_len

from finecausal_cli.report.console import open_console
from finecausal_cli.report.evaluation import evaluation_json, figure, metrics_section, print_evaluation

if TYPE_CHECKING:
    from collections.abc import Callable

    from finecausal_cli.evaluation.run import Evaluation


def _printed(evaluation: Evaluation, **options: object) -> str:
    stream = io.StringIO()
    print_evaluation(evaluation, open_console(stream), **options)  # type: ignore[arg-type]
    return stream.getvalue()


def _row(text: str, name: str) -> list[str]:
    lines = (line.strip() for line in text.splitlines())
    return next(line for line in lines if line.startswith(name))[len(name) :].split()


def test_the_figures_stand_beside_the_baseline(make_evaluation: Callable[..., Evaluation]) -> None:
    evaluation = make_evaluation()
    text, summary = _printed(evaluation), evaluation.summary
    assert _row(text, "Spearman's rho")[:1] == [f"{summary.rho:.4f}"]
    baselines = (summary.difficulty_rho, summary.number_rho, summary.baseline_rho)
    assert _row(text, "Spearman's rho")[-3:] == [figure(rho) for rho in baselines]
    l2 = (summary.difficulty_relative_l2, summary.number_relative_l2, summary.baseline_relative_l2)
    assert _row(text, "R-l2 (x100)")[-3:] == [figure(error) for error in l2]
    assert _row(text, "mean error, points")[0] == "2.40"
    # 30..70 against 32..69: 37 of 40 frames.
    assert _row(text, "AIoU@0.75") == ["1.0000", "0.839", "..", "1.000"]
    assert _row(text, "0.75, reference protocol") == ["1.0000"]
    assert _row(text, "inside the 90% interval") == ["60.0%", "38.7%", "..", "78.1%"]
    assert "20 dives (split: test), each against up to 10 training dives of the same" in text


def test_few_dives_have_no_interval(make_evaluation: Callable[..., Evaluation]) -> None:
    evaluation = make_evaluation()
    few = replace(evaluation.main, summary=replace(evaluation.summary, dives=9))
    assert " .. " in metrics_section(evaluation).rows[0][2]
    assert [row[2] for row in metrics_section(replace(evaluation, main=few)).rows[:2]] == ["", ""]


def test_what_was_not_measured_is_a_dash_or_no_row(make_evaluation: Callable[..., Evaluation]) -> None:
    text = _printed(make_evaluation(interval=False, staged=False))
    assert _row(text, "AIoU@0.5") == ["-"]
    assert _row(text, "foreground IoU") == ["-"]
    assert "inside" not in text
    assert "nan" not in text.lower()


def test_the_default_screen_is_short_and_the_rest_is_asked_for(make_evaluation: Callable[..., Evaluation]) -> None:
    evaluation = make_evaluation(protocols=True)
    assert len(_printed(make_evaluation()).splitlines()) <= 20
    assert "recognised" in _printed(evaluation)
    by_number = _printed(evaluation, by="number")
    assert _row(by_number, "107B") == ["4", "-", "0.709", "4.00", "-4.00", "0.925", "0.0%"]
    assert "5253B" not in _printed(evaluation, by="difficulty")
    assert _row(_printed(evaluation, by="difficulty"), "1.5-1.9")[0] == "4"
    last = _printed(evaluation, last=make_evaluation(lift=3.0))
    assert _row(last[last.index("Best and last") :], "mean error, points") == ["2.40", "3.40"]


def test_the_shift_is_a_difference(make_evaluation: Callable[..., Evaluation]) -> None:
    text = _printed(make_evaluation(shifted=True, interval=False))
    below = text[text.index("Shift") :]
    assert _row(below, "mean error, points") == ["2.40", "3.40", "+1.00"]
    assert _row(below, "foreground IoU") == ["-", "-", "-"]


@pytest.mark.parametrize("columns", ["80", "140"])
def test_no_line_is_wider_than_a_page(
    columns: str, make_evaluation: Callable[..., Evaluation], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    evaluation = make_evaluation(protocols=True, shifted=True, caveats=("a long note " * 20,))
    for by in ("number", "difficulty"):
        text = _printed(evaluation, by=by, last=make_evaluation())
        assert max(map(cell_len, text.splitlines())) <= 80
        assert "\x1b" not in text
        assert "Choices of exemplars" in text


def test_a_name_cannot_drive_the_terminal(make_evaluation: Callable[..., Evaluation]) -> None:
    assert "\x1b" not in _printed(make_evaluation(caveats=("evil \x1b[2J",)), by="number")


def test_json_carries_everything(make_evaluation: Callable[..., Evaluation]) -> None:
    evaluation = make_evaluation(protocols=True)
    document = json.loads(evaluation_json(evaluation, last=make_evaluation(lift=1.0)))
    assert document["figures"]["rho"] == evaluation.summary.rho
    assert len(document["predictions"]) == len(document["last_epoch"]["predictions"]) == 20
    assert document["last_epoch"]["predictions"][0]["predicted"] == document["predictions"][0]["predicted"] + 1
    assert "NaN" not in evaluation_json(make_evaluation(dives=2, interval=False, staged=False))
