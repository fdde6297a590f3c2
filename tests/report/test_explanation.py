from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING

import pytest
from rich.cells import cell_len
from rich.console import Console

from finecausal_cli.report.explanation import print_explanation

if TYPE_CHECKING:
    from collections.abc import Callable

    from finecausal_cli.scoring.results import Assessment, Explanation

TITLES = (
    "In short",
    "Measured facts",
    "Interventions: the exemplars' stage",
    "Interventions: the bank's mean stage",
    "Interventions: the bank's best stage",
    "Stages against the exemplars",
    "Timeline",
    "Background interventions",
    "Consistency",
    "Exemplars",
    "Snippets by attention",
    "Graph attention by kind of node",
    "Stage attention of the query",
    "Limits",
)


def printed(explanation: Explanation, width: int = 80, encoding: str = "utf-8") -> str:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding=encoding, write_through=True)
    print_explanation(
        explanation, Console(file=stream, width=width, color_system=None, highlight=False, emoji=False, markup=False)
    )
    return raw.getvalue().decode(encoding)


def test_the_reasons_come_in_order_and_every_note_once(explanation: Explanation) -> None:
    page = printed(explanation)
    places = [page.index(f"\n{title}\n") for title in TITLES]
    assert places == sorted(places)
    flat = " ".join(page.split())
    for note in (*explanation.assessment.notes, *explanation.notes):
        assert flat.count(note) == 1
    assert "Most lost at flight: -1.99 points" in flat


def test_what_is_not_there_is_left_out(make_explanation: Callable[..., Explanation]) -> None:
    page = printed(make_explanation(graph=False, tca=False, bank_mean=False, backgrounds=False))
    assert not any(f"\n{title}\n" in page for title in (*TITLES[3:5], TITLES[7], *TITLES[10:13]))


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
@pytest.mark.parametrize("width", [40, 80, 140])
def test_no_line_is_wider_than_the_page(
    width: int, encoding: str, make_assessment: Callable[..., Assessment], make_explanation: Callable[..., Explanation]
) -> None:
    dive = make_assessment([(0.3, -9.1, -2.2)] * 10, [24.0] * 10, source="跳水\n\x1b[31m" * 9 + ".mp4", start_s=7200.0)
    page = printed(make_explanation(dive, heads=2), width, encoding)
    assert max(cell_len(line) for line in page.splitlines()) <= min(width, 80)
    assert "\x1b" not in page
    assert (encoding == "utf-8") is ("─" in page)


def test_at_80_columns_no_number_is_broken_over_lines(
    make_assessment: Callable[..., Assessment], make_explanation: Callable[..., Explanation]
) -> None:
    dive = make_assessment([(0.3, -9.1, -12.2)] * 10, [24.0] * 10, start_s=7200.0)
    page = printed(make_explanation(dive))
    for title in (*TITLES[2:5], *TITLES[10:12]):
        lines = page.split(f"\n{title}\n")[1].split("─\n")[1].split("\n\n")[0].splitlines()
        assert len({len(re.split(r"\s{2,}", line.strip())) for line in lines}) == 1
    assert "2:00:00.00   2:00:01.37" in page


def test_what_comes_from_outside_is_shown_not_obeyed(make_explanation: Callable[..., Explanation]) -> None:
    page = printed(make_explanation(text="[red]\x1b[2J"))
    assert page.count("[red]\\x1b[2J") >= 3
    assert "\x1b" not in page


def test_colour_carries_nothing_that_the_words_do_not(explanation: Explanation) -> None:
    stream = io.StringIO()
    print_explanation(explanation, Console(file=stream, width=80, force_terminal=True, color_system="truecolor"))
    assert "\x1b[" in stream.getvalue()
    assert re.sub(r"\x1b\[[0-9;]*m", "", stream.getvalue()) == printed(explanation)


def test_the_time_of_a_run_is_that_of_the_whole_explanation(explanation: Explanation) -> None:
    assert "decoded by decord, 20.4 s" in " ".join(printed(explanation.timed(20.4)).split())
