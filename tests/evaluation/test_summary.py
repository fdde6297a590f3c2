import json

import pytest
from scipy import stats

from finecausal_cli.evaluation.predict import (
    Prediction,
    bootstrap_interval,
    bootstrap_l2_interval,
    relative_l2,
    share_interval,
    summarise,
)
from finecausal_cli.retrieval.bank import ForegroundCounts


def prediction(score, predicted, baseline, overlap=None, reference=None):
    return Prediction("k", "107B", score, predicted, baseline, 3.0, (30, 70), overlap, 5, reference_iou=reference)


MADE_UP = [
    prediction(50, 54, 60, 0.4, 0.5),
    prediction(60, 60, 50, 0.6, 0.45),
    prediction(80, 72, 80, None),
    prediction(90, 92, 90, 0.8, 0.75),
]
TRUE, PREDICTED, BASELINE = [50, 60, 80, 90], [54, 60, 72, 92], [60, 50, 80, 90]


def test_a_summary_gathers_the_metrics():
    found = summarise(MADE_UP, [ForegroundCounts(10, 10, 5), None, ForegroundCounts(10, 10, 10)])
    assert (found.dives, found.rho, found.relative_l2) == (4, 1.0, pytest.approx(1.3125))
    assert (found.rho_low, found.rho_high) == bootstrap_interval(TRUE, PREDICTED)
    assert (found.relative_l2_low, found.relative_l2_high) == bootstrap_l2_interval(TRUE, PREDICTED)
    assert found.baseline_rho == pytest.approx(stats.spearmanr(TRUE, BASELINE).statistic)
    assert found.baseline_relative_l2 == relative_l2(TRUE, BASELINE)
    assert (found.mean_absolute_error, found.baseline_mean_absolute_error) == ((4 + 0 + 8 + 2) / 4, 20 / 4)
    assert found.foreground_iou == pytest.approx(15 / 25)
    assert found.foreground_f1 == pytest.approx(2 * 15 / 40)


def test_overlaps_are_counted_among_the_dives_that_have_them():
    found = summarise(MADE_UP)
    assert (found.aiou_50, found.aiou_75) == (pytest.approx(2 / 3), pytest.approx(1 / 3))
    assert (found.aiou_50_low, found.aiou_50_high) == share_interval(2, 3)
    assert (found.aiou_75_low, found.aiou_75_high) == share_interval(1, 3)
    assert (found.reference_aiou_50, found.reference_aiou_75) == (pytest.approx(2 / 3), pytest.approx(1 / 3))


def test_what_nobody_labelled_is_not_measured():
    found = summarise([prediction(50, 54, 60), prediction(60, 61, 50)])
    assert (found.aiou_50, found.aiou_75, found.aiou_50_low, found.reference_aiou_75) == (None, None, None, None)
    assert (found.foreground_iou, found.foreground_f1) == (None, None)


def test_figures_that_do_not_exist_are_null_and_not_invalid_json():
    figures = summarise([prediction(60, 54, 60), prediction(60, 61, 60)]).figures()
    known = {
        name: value for name, value in json.loads(json.dumps(figures, allow_nan=False)).items() if value is not None
    }
    assert known == {
        "dives": 2,
        "mean_absolute_error": 3.5,
        "baseline_mean_absolute_error": 0,
        "difficulty_mean_absolute_error": pytest.approx(9 * 7.133 - 60),
        "number_mean_absolute_error": pytest.approx(9 * 7.039 - 60),
    }


def test_what_difficulty_and_dive_number_are_worth_without_a_look_stands_beside():
    dives = [
        Prediction("a", "107B", 60, 61, 62, 3.1, (30, 70), None, 5),
        Prediction("b", "201B", 50, 52, 48, 2.0, (30, 70), None, 5),
        Prediction("c", "207C", 55, 51, 60, 3.3, (30, 70), None, 5),
        Prediction("d", "no number", 45, 44, 44, 2.4, (30, 70), None, 5),
        Prediction("e", None, 70, 66, 64, 3.2, (30, 70), None, 5),
    ]
    true = [dive.score for dive in dives]
    by_difficulty = [3 * 7.133 * dive.difficulty for dive in dives]
    by_number = [
        3 * mark * dive.difficulty for mark, dive in zip((7.039, 7.893, 6.622, 7.133, 7.133), dives, strict=True)
    ]
    found = summarise(dives)
    assert found.difficulty_rho == pytest.approx(stats.spearmanr(true, by_difficulty).statistic)
    assert found.number_rho == pytest.approx(stats.spearmanr(true, by_number).statistic)
    assert found.difficulty_relative_l2 == pytest.approx(relative_l2(true, by_difficulty))
    assert found.number_relative_l2 == pytest.approx(relative_l2(true, by_number))
    assert found.number_rho != found.difficulty_rho
