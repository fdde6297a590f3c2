from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finecausal_cli.report.console import hundredths_that_add_up, signed


def test_the_part_that_lost_most_gets_the_hundredth_back() -> None:
    assert hundredths_that_add_up([1.004, 1.004, 1.003], 3.011) == [1.01, 1.0, 1.0]
    assert hundredths_that_add_up([79.206, -0.443, 2.333], 81.096) == [79.21, -0.44, 2.33]


@given(st.lists(st.floats(-200, 200), min_size=1, max_size=6))
def test_rounded_parts_add_up_to_the_rounded_total(parts: list[float]) -> None:
    total = math.fsum(parts)
    shown = hundredths_that_add_up(parts, total)
    assert round(math.fsum(shown) * 100) == round(total * 100)
    assert all(abs(rounded - part) < 0.0201 for rounded, part in zip(shown, parts, strict=True))


@given(st.lists(st.floats(-50, 50), min_size=1, max_size=4), st.floats(-0.005, 0.005))
def test_the_total_may_itself_be_rounded(parts: list[float], error: float) -> None:
    total = math.fsum(parts) + error
    assert round(math.fsum(hundredths_that_add_up(parts, total)) * 100) == round(total * 100)


def test_parts_that_are_already_hundredths_stay() -> None:
    assert hundredths_that_add_up([0.1, 0.2, -0.29], 0.01) == [0.1, 0.2, -0.29]


def test_parts_that_do_not_add_up_are_refused() -> None:
    with pytest.raises(ValueError, match="not to 4"):
        hundredths_that_add_up([1.0, 2.0], 4.0)


def test_a_change_shows_its_sign_and_zero_no_minus() -> None:
    assert [signed(value) for value in (1.005, -2.5, -0.001, 0.0)] == ["+1.00", "-2.50", "+0.00", "+0.00"]
