from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finecausal_cli.diving import (
    MAX_EXECUTION,
    execution_from_marks,
    execution_from_synchro_marks,
    final_score,
)
from finecausal_cli.errors import UsageError

MARK = st.integers(0, 20).map(lambda halves: halves / 2)
DIFFICULTY = st.integers(12, 48).map(lambda tenths: tenths / 10)


def test_407c_with_seven_judges_scores_88() -> None:
    marks = [9.5, 9, 9.5, 9, 8.5, 9.5, 8.5]
    assert execution_from_marks(marks) == 27.5
    assert final_score(marks, 3.2) == 88.0


def test_five_counting_synchro_marks_score_81_18() -> None:
    marks = [7.5, 9.0, 8.0, 8.0, 8.5]
    assert execution_from_synchro_marks(marks) == 24.6
    assert final_score(marks, 3.3, synchro=True) == 81.18


def test_eleven_synchro_judges_drop_high_and_low_of_each_panel() -> None:
    first_diver, second_diver, together = [7.0, 8.0, 6.5], [9.0, 8.5, 8.5], [8.0, 9.5, 8.5, 8.0, 7.0]
    assert execution_from_synchro_marks(first_diver + second_diver + together) == pytest.approx(
        (7.0 + 8.5 + 8.0 + 8.5 + 8.0) * 0.6
    )


def test_three_and_five_judges() -> None:
    assert execution_from_marks([6.0, 7.5, 8.0]) == 21.5
    assert execution_from_marks([6.0, 7.5, 8.0, 5.0, 9.5]) == 21.5


@given(st.lists(MARK, min_size=7, max_size=7), st.randoms())
def test_seven_judges_count_the_middle_three_in_any_order(marks: list[float], random: object) -> None:
    assert execution_from_marks(marks) == sum(sorted(marks)[2:5])
    random.shuffle(marks)  # type: ignore[attr-defined]
    assert execution_from_marks(marks) == sum(sorted(marks)[2:5])


@given(MARK, st.sampled_from([3, 5, 7]))
def test_judges_who_agree_give_three_times_their_mark(mark: float, judges: int) -> None:
    assert execution_from_marks([mark] * judges) == 3 * mark
    assert execution_from_synchro_marks([mark] * 5) == execution_from_synchro_marks([mark] * 11) == 3 * mark


@given(st.lists(MARK, min_size=5, max_size=5), DIFFICULTY)
def test_scores_are_exact_to_a_hundredth(marks: list[float], difficulty: float) -> None:
    tenths, halves = round(difficulty * 10), [round(2 * mark) for mark in marks]
    exact = Fraction(sum(sorted(halves)[1:4]), 2) * Fraction(tenths, 10)
    assert final_score(marks, difficulty) == float(exact)
    synchro = Fraction(sum(halves), 2) * Fraction(6, 10) * Fraction(tenths, 10)
    assert final_score(marks, difficulty, synchro=True) == float(synchro)


def test_the_bounds_of_execution() -> None:
    assert execution_from_marks([10] * 7) == MAX_EXECUTION == execution_from_synchro_marks([10] * 11)
    assert execution_from_marks([0] * 3) == 0.0
    assert final_score([0, 0, 0], 3.0) == 0.0


@pytest.mark.parametrize("mark", [-0.5, 10.5, 7.25, float("nan"), float("inf")])
def test_an_impossible_mark_is_refused(mark: float) -> None:
    with pytest.raises(UsageError, match="half points"):
        execution_from_marks([7.0, mark, 8.0])


@pytest.mark.parametrize("judges", [0, 1, 2, 4, 6, 8, 11])
def test_an_impossible_panel_is_refused(judges: int) -> None:
    with pytest.raises(UsageError, match=f"^--judges: {judges} marks.*3, 5 or 7"):
        execution_from_marks([7.0] * judges)


@pytest.mark.parametrize("judges", [3, 7, 9, 10])
def test_an_impossible_synchro_panel_is_refused(judges: int) -> None:
    with pytest.raises(UsageError, match="5 counting marks or all 11"):
        execution_from_synchro_marks([7.0] * judges)


@pytest.mark.parametrize("difficulty", [0.0, -1.0, float("nan"), float("inf")])
def test_an_impossible_difficulty_is_refused(difficulty: float) -> None:
    with pytest.raises(UsageError, match="difficulty"):
        final_score([7.0, 7.0, 7.0], difficulty)
