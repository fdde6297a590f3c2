import pytest


def test_execution_is_score_by_difficulty(make_dive):
    assert make_dive(0, score=90.0, difficulty=3.6).execution == 25.0


@pytest.mark.parametrize("difficulty", [1.4, 2.3, 2.8, 4.1, 4.6])
def test_three_tens_are_thirty_and_not_a_hair_more(make_dive, difficulty):
    assert round(30 * difficulty, 2) / difficulty > 30  # what the plain quotient says
    assert make_dive(0, score=round(30 * difficulty, 2), difficulty=difficulty).execution == 30.0


def test_execution_of_an_unknown_score_is_refused_by_name(make_dive):
    with pytest.raises(ValueError, match=r"007\.mp4 has no score"):
        _ = make_dive(7, score=None).execution
