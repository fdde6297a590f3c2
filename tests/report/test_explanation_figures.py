from __future__ import annotations

from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from PIL import Image

from finecausal_cli.report.figures import draw_charts, write_explanation_figures, write_side_by_side
from finecausal_cli.report.overlay import KeyFrameStrip

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from finecausal_cli.scoring.background import Evidence
    from finecausal_cli.scoring.results import Explanation

NAMES = ("filmstrip", "contributions", "interventions", "graph-attention", "stage-attention")
SVG = "{http://www.w3.org/2000/svg}"


def words(drawing: str) -> str:
    """Return the comments in which matplotlib notes the text whose letters it draws."""
    parser = ET.XMLParser(target=ET.TreeBuilder(insert_comments=True))  # noqa: S314 - our own drawing
    root = ET.fromstring(drawing, parser)  # noqa: S314 - our own drawing
    return "\n".join((one.text or "").strip() for one in root.iter(ET.Comment))


@pytest.mark.thorough
def test_every_figure_is_a_picture_and_a_drawing(explanation: Explanation, evidence: Evidence, tmp_path: Path) -> None:
    written = write_explanation_figures(tmp_path, explanation, evidence)
    assert [path.name for path in written] == [f"{name}.{suffix}" for name in NAMES for suffix in ("png", "svg")]
    assert sorted(written) == sorted(tmp_path.iterdir())
    for name in NAMES:
        pixels = np.asarray(Image.open(tmp_path / f"{name}.png").convert("RGB"))
        assert (pixels[0, 0] == 255).all()
        assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 20
    strip = ET.parse(tmp_path / "filmstrip.svg")  # noqa: S314 - our own file
    assert len(list(strip.iter(f"{SVG}image"))) == 12


def test_drawings_show_the_numbers_of_the_tables(explanation: Explanation) -> None:
    drawn = draw_charts(explanation)
    assert drawn == draw_charts(explanation)
    assert all(number in words(drawn["contributions"]) for number in ("81.67", "+0.40", "-1.99", "78.89"))
    assert all(number in words(drawn["interventions"]) for number in ("+2.19", "+1.10", "(±0.30)"))
    assert all(number in words(drawn["graph-attention"]) for number in ("2.27", "4.55", "no preference 2.86"))
    for drawing in drawn.values():
        assert "currentColor" in drawing
        assert "#010203" not in drawing


def test_what_the_network_lacks_is_not_drawn(make_explanation: Callable[..., Explanation]) -> None:
    assert list(draw_charts(make_explanation(graph=False, tca=False, bank_mean=False))) == list(NAMES[1:3])


def test_a_name_is_never_a_formula_nor_a_box(
    make_explanation: Callable[..., Explanation], evidence: Evidence, tmp_path: Path
) -> None:
    odd = make_explanation(text="$\\frac$\x07\ud800.mp4", graph=False, tca=False)
    assert len(write_explanation_figures(tmp_path, odd, evidence)) == 6


def test_two_dives_stand_side_by_side_stage_by_stage(
    explanation: Explanation, evidence: Evidence, tmp_path: Path
) -> None:
    other = KeyFrameStrip("other.mp4", evidence, (0, 30, 60, 96))
    png, svg = write_side_by_side(tmp_path, [KeyFrameStrip.of(explanation.assessment, evidence), other])
    assert (png.name, svg.name) == ("side-by-side.png", "side-by-side.svg")
    drawing = svg.read_text(encoding="utf-8")
    assert len(list(ET.fromstring(drawing).iter(f"{SVG}image"))) == 24  # noqa: S314 - our own file
    said = words(drawing).splitlines()
    labels = ["take-off, A", "take-off, B", "flight, A", "flight, B", "entry, A", "entry, B"]
    assert [line for line in said if line in labels] == labels
    assert "B: other.mp4" in said
