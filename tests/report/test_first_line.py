"""What must be read before any number stands first in every form of a result."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from finecausal_cli.report import batch as batch_module
from finecausal_cli.report.batch import BatchReporter
from finecausal_cli.report.drawing import Caption
from finecausal_cli.report.pages import batch_page, explanation_page
from finecausal_cli.weights import SIMULATED_ONLY, WeightsInfo

if TYPE_CHECKING:
    from collections.abc import Callable

    from finecausal_cli.batch.records import Row
    from finecausal_cli.scoring.background import Evidence
    from finecausal_cli.scoring.results import Explanation


def test_the_page_of_an_explanation_begins_with_it(explanation: Explanation, evidence: Evidence) -> None:
    made = explanation.assessment.provenance.model_copy(update={"trained_on": "simulated"})
    assessment = explanation.assessment.model_copy(update={"provenance": made, "forced": "it is <still>"})
    page = explanation_page(explanation.model_copy(update={"assessment": assessment}), evidence, {})
    body = page[page.index("<body") :]
    assert body.index("SCORED BY FORCE, though it is &lt;still&gt;") < body.index(SIMULATED_ONLY) < body.index("<h1>")
    assert SIMULATED_ONLY not in explanation_page(explanation, evidence, {})


def test_the_page_of_a_batch_begins_with_it(make_batch_row: Callable[..., Row]) -> None:
    page = batch_page([make_batch_row("a"), make_batch_row("b", 70.0, trained_on="simulated")])
    assert page.index(SIMULATED_ONLY) < page.index("<h1>")
    assert SIMULATED_ONLY not in batch_page([make_batch_row("a")])


@pytest.mark.parametrize("trained_on", ["simulated", "filmed"])
def test_the_lines_of_a_batch_begin_with_it(
    trained_on: str, capsys: pytest.CaptureFixture[str], make_batch_row: Callable[..., Row]
) -> None:
    reporter = BatchReporter()
    reporter.begin(WeightsInfo.model_validate({"trained_on": trained_on}))
    batch_module.print_line(make_batch_row(), reporter._console)
    lines = capsys.readouterr().out.splitlines()
    assert (lines[0] == SIMULATED_ONLY) is (trained_on == "simulated")
    assert "60.00" in lines[-1]


@pytest.mark.parametrize("size", [(1080, 1920), (480, 640), (240, 320), (320, 180)])
def test_a_caption_is_legible_and_leaves_the_picture(size: tuple[int, int]) -> None:
    picture = np.full((*size, 3), 120, np.uint8)
    Caption(["SCORED BY FORCE, though nothing moves in it.", SIMULATED_ONLY], size).draw(picture, at_top=True)
    changed = np.flatnonzero((picture != 120).any((1, 2)))
    assert changed[0] == 0
    assert len(changed) <= 0.25 * size[0]
    assert picture.max() > 200  # white letters on a darkened picture
    assert picture[0].max() < 60
    plain = np.full((*size, 3), 120, np.uint8)
    Caption([], size).draw(plain, at_top=True)
    assert (plain == 120).all()
