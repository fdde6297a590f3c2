import numpy as np
import pytest

from finecausal_cli.evaluation.predict import (
    Prediction,
    group_by_difficulty,
    group_by_number,
    is_covered,
    relative_l2,
    spearman,
)


def prediction(number, difficulty, score, predicted, overlap=None):
    return Prediction("k", number, score, predicted, score, difficulty, (30, 70), overlap, 5)


DIVES = [
    prediction("107B", 3.0, 60, 66, 0.8),
    prediction("107B", 3.0, 90, 88, 0.6),
    prediction("107B", 2.9999999999, 70, 70),
    prediction("101A", 1.5, 30, 33),
    prediction(None, 1.9, 40, 34),
]


def test_by_number_the_commonest_first_and_by_hand():
    groups = group_by_number(DIVES, 2.0)
    assert [(group.name, group.dives) for group in groups] == [("107B", 3), ("101A", 1), ("unknown", 1)]
    first = groups[0]
    assert first.mean_absolute_error == pytest.approx(8 / 3)
    assert first.bias == pytest.approx(4 / 3)
    assert first.relative_l2 == pytest.approx(100 * (36 + 4) / 60**2 / 3)  # the range of all: 30 to 90
    assert first.temporal_iou == pytest.approx(0.7)
    assert groups[1].temporal_iou is None
    # Errors 6, 2, 0 against a reach of 6; 3 against 3; 6 against 3.8.
    assert [group.coverage for group in groups] == [1, 1, 0]
    assert [group.coverage for group in group_by_number(DIVES)] == [None] * 3


def test_bands_of_difficulty_hold_what_their_name_says_whatever_the_last_bit():
    groups = group_by_difficulty(DIVES)
    assert [(group.name, group.dives) for group in groups] == [("1.5-1.9", 2), ("3.0-3.4", 3)]
    edges = [prediction("1", value, 50, 50) for value in (10.0, 2.4, 2.5, 0.1 + 2.8)]
    assert [group.name for group in group_by_difficulty(edges)] == ["2.0-2.4", "2.5-2.9", "10.0-10.4"]


def test_groups_make_up_the_whole():
    rng = np.random.default_rng(0)
    dives = [prediction("ABCDE"[index % 5], 1.5 + index % 7 / 2, *rng.uniform(20, 90, 2)) for index in range(60)]
    whole = relative_l2([one.score for one in dives], [one.predicted for one in dives])
    for groups in (group_by_number(dives), group_by_difficulty(dives)):
        assert np.average([group.relative_l2 for group in groups], weights=[group.dives for group in groups]) == (
            pytest.approx(whole)
        )


def test_a_few_dives_have_no_rho():
    rng = np.random.default_rng(1)
    scores = rng.uniform(20, 90, (9, 2))
    dives = [prediction("5" if index < 5 else "4", 3.0, *pair) for index, pair in enumerate(scores)]
    five, four = group_by_number(dives)
    assert five.rho == pytest.approx(spearman(*scores[:5].T))
    assert four.rho is None


def test_equal_scores_have_neither_and_no_dives_no_groups():
    (group,) = group_by_number([prediction("1", 3.0, 50, 50 + index) for index in range(6)])
    assert (group.rho, group.relative_l2) == (None, None)
    assert group_by_number([]) == group_by_difficulty([]) == ()


def test_the_edge_of_the_interval_is_inside():
    assert is_covered(prediction("1", 3.0, 60, 66), 2.0)
    assert not is_covered(prediction("1", 3.0, 60, 66.01), 2.0)
