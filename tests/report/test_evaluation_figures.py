from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from PIL import Image

from finecausal_cli.errors import UsageError
from finecausal_cli.report import output as drawing
from finecausal_cli.report.figures import draw_figures, write_evaluation_figures
from finecausal_cli.report.files import deliver_evaluation
from finecausal_cli.report.output import require_figures

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from finecausal_cli.evaluation.run import Evaluation

NAMES = ("residuals-by-number", "scores", "transition-errors")
SVG = "{http://www.w3.org/2000/svg}"


def test_every_figure_is_a_picture_and_a_drawing(make_evaluation: Callable[..., Evaluation], tmp_path: Path) -> None:
    write_evaluation_figures(tmp_path, make_evaluation())
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        f"{name}.{suffix}" for name in NAMES for suffix in ("png", "svg")
    ]
    for name in NAMES:
        pixels = np.asarray(Image.open(tmp_path / f"{name}.png").convert("RGB"))
        assert pixels.shape[1] == 960
        assert (pixels[0, 0] == 255).all()
        assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 20
        ET.parse(tmp_path / f"{name}.svg")  # noqa: S314 - our own file


def test_the_same_evaluation_draws_the_same(make_evaluation: Callable[..., Evaluation]) -> None:
    assert draw_figures(make_evaluation()) == draw_figures(make_evaluation())


def test_every_dive_is_a_mark(make_evaluation: Callable[..., Evaluation]) -> None:
    drawing = ET.fromstring(draw_figures(make_evaluation(dives=20))["scores"])  # noqa: S314 - our own drawing
    marks = [use for use in drawing.iter(f"{SVG}use") if any("PathCollection" in one for one in _above(drawing, use))]
    legend = 2  # one mark for each kind: inside and outside
    assert len(marks) == 20 + legend


def test_without_true_transitions_there_is_no_figure_of_them(make_evaluation: Callable[..., Evaluation]) -> None:
    assert sorted(draw_figures(make_evaluation(staged=False, interval=False))) == list(NAMES[:2])


def test_a_number_is_never_a_formula(make_evaluation: Callable[..., Evaluation]) -> None:
    evaluation = make_evaluation(dives=3)
    odd = tuple(replace(one, number="$\\frac$") for one in evaluation.predictions)
    assert len(draw_figures(replace(evaluation, main=replace(evaluation.main, predictions=odd)))) == 3


def test_a_run_with_output_writes_all_its_files(
    make_evaluation: Callable[..., Evaluation], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    deliver_evaluation([make_evaluation(), make_evaluation()], "table", tmp_path, by=None, figures=True)
    written = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    figures = {f"figures/{name}.{suffix}" for name in NAMES for suffix in ("png", "svg")}
    numbers = {"metrics.json", "predictions.csv", "last-epoch/metrics.json", "last-epoch/predictions.csv"}
    assert written == figures | numbers | {"report.html"}
    assert "Best and last epoch" in capsys.readouterr().out


def test_without_matplotlib_the_user_is_told_before_anything_is_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    require_figures("add --no-figures")
    monkeypatch.setattr(drawing, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"figures need matplotlib .*finecausal-cli\[report\].*--no-figures"):
        require_figures("add --no-figures")


def _above(root: ET.Element, wanted: ET.Element) -> list[str]:
    """Return the names of the groups around an element."""
    parents = {child: parent for parent in root.iter() for child in parent}
    names: list[str] = []
    while wanted in parents:
        wanted = parents[wanted]
        names.append(wanted.get("id", ""))
    return names
