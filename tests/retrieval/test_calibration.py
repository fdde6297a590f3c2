import numpy as np
import pytest

from finecausal_cli.retrieval.calibration import (
    LeaveOneOut,
    conformal_interval,
    fit_calibration,
    fit_without_each,
)

PREDICTED = np.array([18.0, 20.0, 21.0, 23.0, 25.0])


def draw(count, seed=0, *, scale=1.0, bias=0.0, noise=1.0):
    """Make judged and predicted executions: judged = 21 + scale * (predicted - 21) + bias + noise."""
    rng = np.random.default_rng(seed)
    predicted = rng.normal(21, 3, count)
    return predicted, 21 + scale * (predicted - 21) + bias + rng.normal(0, noise, count)


def test_a_constant_difference_becomes_a_shift_shrunk_by_one_dive():
    found = fit_calibration(PREDICTED, PREDICTED + 3.0)
    assert (found.scale, found.dives) == (1.0, 5)
    assert found.shift == pytest.approx(3.0 * 5 / 6)
    assert found.apply(PREDICTED) == pytest.approx(PREDICTED + 2.5)
    assert found.in_words() == "+0.83 marks by 5 judged dives"


def test_no_difference_changes_nothing():
    found = fit_calibration(PREDICTED, PREDICTED)
    assert found.apply(PREDICTED) == pytest.approx(PREDICTED)


def test_one_wrong_score_moves_the_shift_little():
    judged = PREDICTED + np.array([0.9, 1.1, 1.0, 1.2, -15.0])
    assert 0.3 < fit_calibration(PREDICTED, judged).shift < 1.0


def test_below_eight_dives_there_is_no_scale():
    judged = 21 + 2 * (PREDICTED - 21)
    assert fit_calibration(PREDICTED, judged).scale == 1.0


def test_with_many_dives_the_scale_is_found_and_drawn_towards_one():
    predicted, judged = draw(60, scale=1.4, bias=-1.0)
    found = fit_calibration(predicted, judged)
    assert 1.2 < found.scale < 1.4
    few = fit_calibration(predicted[:8], judged[:8])
    assert 1.0 < few.scale < found.scale
    assert found.shift == pytest.approx(np.mean(judged - predicted), abs=0.3)


def test_each_is_left_out_of_its_own_calibration():
    judged = PREDICTED + 1.0
    before = fit_without_each(PREDICTED, judged)
    judged[2] += 9.0
    after = fit_without_each(PREDICTED, judged)
    assert after[2] == before[2]
    assert after[1] != before[1]
    assert fit_without_each(PREDICTED[:4], judged[:4]) == [None] * 4


@pytest.mark.parametrize(("dives", "half"), [(10, 10.0), (19, 18.0), (30, 28.0)])
def test_the_half_width_is_the_error_of_the_stated_rank(dives, half):
    errors = np.arange(1.0, dives + 1) * np.where(np.arange(dives) % 2, 1, -1)
    found = conformal_interval(errors)
    assert (found.level, found.execution_half_width) == (0.9, half)


def test_with_fewer_than_ten_errors_there_is_no_interval():
    assert conformal_interval(np.ones(9)) is None


def test_intervals_from_twelve_dives_cover_nine_in_ten_others():
    covered = []
    for seed in range(200):
        predicted, judged = draw(112, seed, bias=2.0, noise=2.0)
        own = slice(0, 12)
        errors = [
            each.apply(predicted[[row]])[0] - judged[row]
            for row, each in enumerate(fit_without_each(predicted[own], judged[own]))
        ]
        half = conformal_interval(np.array(errors)).execution_half_width
        new = fit_calibration(predicted[own], judged[own]).apply(predicted[12:])
        covered.append(np.mean(np.abs(new - judged[12:]) <= half))
    assert 0.87 <= np.mean(covered) <= 0.95


def of_own(count, *, is_wanted=True):
    executions = np.linspace(15, 25, count)
    calibration = fit_calibration(executions - 1, executions) if is_wanted and count >= 5 else None
    return LeaveOneOut(
        ids=tuple(map(str, range(count))),
        difficulties=np.full(count, 3.0),
        judged=executions,
        before=executions - 1.0,
        after=executions - (0.25 if calibration else 1.0),
        parts=("mine", "bundled"),
        calibrations=(None, calibration),
        is_wanted=is_wanted,
    )


def test_errors_are_in_points():
    judged = of_own(6)
    assert (judged.error_before, judged.error_after) == (pytest.approx(3.0), pytest.approx(0.75))


def test_notes_say_what_is_done_and_what_is_lacking():
    assert of_own(3).note == "not calibrated: 3 judged dives of your own, 5 are needed"
    assert of_own(3).interval_withheld == "3 judged dives of your own, 10 are needed for one"
    assert of_own(6).note == (
        "calibrated: votes of bundled +0.29 marks by 6 judged dives; mean error of each by the others 3.0 -> 0.8 points"
    )
    assert of_own(10).interval_withheld is None
    assert of_own(6, is_wanted=False).note.startswith("not calibrated, as asked; 6 judged dives of your own")
    assert of_own(6, is_wanted=False).in_words is None
