import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from scipy import stats

from finecausal_cli.evaluation.predict import (
    average_iou_at,
    bootstrap_interval,
    bootstrap_l2_interval,
    foreground_scores,
    reference_temporal_iou,
    relative_l2,
    share_interval,
    spearman,
    temporal_iou,
)
from finecausal_cli.retrieval.bank import ForegroundCounts

pairs = some.lists(some.tuples(some.integers(0, 9), some.integers(0, 9)), min_size=3, max_size=40)


def test_rho_of_five_dives_by_hand():
    # Ranks 1 2 3 4 5 against 2 1 4 3 5: d^2 sum to 4, and 1 - 6 * 4 / (5 * 24) = 0.8.
    assert spearman([50, 60, 70, 80, 90], [61, 60, 75, 71, 99]) == pytest.approx(0.8)


@settings(max_examples=100, deadline=None)
@given(pairs)
def test_rho_is_the_correlation_of_mean_ranks_however_many_ties(both):
    true, predicted = np.array(both, float).T
    if np.ptp(true) == 0 or np.ptp(predicted) == 0:
        assert np.isnan(spearman(true, predicted))
    else:
        ranks = np.corrcoef(stats.rankdata(true), stats.rankdata(predicted))[0, 1]
        assert spearman(true, predicted) == pytest.approx(ranks, abs=1e-12)


def test_rho_sees_order_alone():
    true = np.random.default_rng(0).normal(size=50)
    assert spearman(true, np.exp(true)) == pytest.approx(1)
    assert spearman(true, -(true**3)) == pytest.approx(-1)


def test_relative_l2_by_hand():
    # Range 40; errors 4, 0, -8, 2 are 0.1, 0, 0.2, 0.05 of it; squares 0.01, 0, 0.04, 0.0025 have the mean 0.013125.
    assert relative_l2([50, 60, 80, 90], [54, 60, 72, 92]) == pytest.approx(1.3125)


def test_relative_l2_knows_no_unit_and_divides_by_the_true_range():
    true, predicted = np.array([50.0, 60, 80, 90]), np.array([54.0, 60, 72, 92])
    assert relative_l2(3 * true + 7, 3 * predicted + 7) == pytest.approx(relative_l2(true, predicted))
    assert relative_l2(predicted, true) != pytest.approx(relative_l2(true, predicted))
    assert relative_l2(true, true) == 0


def test_relative_l2_of_a_part_may_be_told_the_range_of_the_whole():
    true, predicted = np.array([50.0, 60, 80, 90]), np.array([54.0, 60, 72, 92])
    parts = [relative_l2(true[part], predicted[part], spread=40) for part in (slice(0, 2), slice(2, 4))]
    assert np.mean(parts) == pytest.approx(relative_l2(true, predicted))


def test_a_constant_side_has_no_rho_and_equal_true_scores_no_relative_l2():
    assert np.isnan(spearman([1, 2, 3], [5, 5, 5]))
    assert np.isnan(spearman([5, 5, 5], [1, 2, 3]))
    assert np.isnan(relative_l2([5, 5, 5], [1, 2, 3]))
    assert np.isfinite(relative_l2([1, 2, 3], [5, 5, 5]))


@pytest.mark.parametrize("metric", [spearman, relative_l2, bootstrap_interval, bootstrap_l2_interval])
def test_lists_of_unequal_length_are_refused(metric):
    with pytest.raises(ValueError, match="two lists of equal length"):
        metric([1, 2, 3], [1, 2])


@pytest.mark.parametrize(
    ("true", "predicted", "overlap"),
    [
        ((30, 70), (30, 70), 1),
        ((30, 70), (40, 70), 30 / 40),
        ((30, 70), (20, 60), 30 / 50),
        ((30, 70), (40, 60), 20 / 40),
        ((30, 70), (0, 95), 40 / 95),
        ((30, 50), (50, 70), 0),
        ((30, 40), (60, 70), 0),
        ((30, 70), (50, 50), 0),
        ((50, 50), (50, 50), 0),
        ((30, 70), (70, 30), 0),
    ],
)
def test_temporal_iou(true, predicted, overlap):
    assert temporal_iou(true, predicted) == pytest.approx(overlap)
    assert temporal_iou(predicted, true) == pytest.approx(overlap)


@settings(max_examples=100, deadline=None)
@given(*(some.tuples(some.integers(0, 95), some.integers(0, 95)).map(sorted).map(tuple) for _ in range(2)))
def test_temporal_iou_counts_frames(true, predicted):
    a, b = set(range(*true)), set(range(*predicted))
    assert temporal_iou(true, predicted) == pytest.approx(len(a & b) / len(a | b) if a | b else 0)


def test_the_reference_protocol_with_two_voters_by_hand():
    # True flight 30..70, 40 frames. Voter 1 sees 10..70: 40 of 60 frames, 2/3. Voter 2 sees 50..70: 20 of 40, 1/2.
    # Their mean is 7/12 = 0.583: a hit at 0.5, a miss at 0.75. Their mean prediction is 30..70 itself: a hit at both.
    true, voters = (30, 70), [(10, 70), (50, 70)]
    overlap = reference_temporal_iou(true, voters)
    assert overlap == pytest.approx(7 / 12)
    assert [average_iou_at([overlap], threshold) for threshold in (0.5, 0.75)] == [1, 0]
    together = temporal_iou(true, tuple(np.mean(voters, axis=0)))
    assert [average_iou_at([together], threshold) for threshold in (0.5, 0.75)] == [1, 1]
    assert reference_temporal_iou(true, voters[:1]) == temporal_iou(true, voters[0])


def test_average_iou_counts_the_dives_that_reach_the_threshold():
    overlaps = [0.2, 0.5, 0.7, 0.75, 1.0]
    assert average_iou_at(overlaps, 0.5) == 0.8
    assert average_iou_at(overlaps, 0.75) == 0.4
    assert average_iou_at(overlaps, 0.0) == 1.0


def test_foreground_is_averaged_over_pixels_and_not_over_dives():
    counts = [ForegroundCounts(true=100, predicted=80, both=60), ForegroundCounts(true=10, predicted=10, both=0)]
    iou, f1 = foreground_scores(counts)
    assert iou == pytest.approx(60 / (110 + 90 - 60))
    precision, recall = 60 / 90, 60 / 110
    assert f1 == pytest.approx(2 * precision * recall / (precision + recall))
    assert f1 == pytest.approx(2 * iou / (1 + iou))


def test_foreground_of_nothing():
    assert foreground_scores([]) == (1.0, 1.0)
    assert foreground_scores([ForegroundCounts(0, 0, 0)]) == (1.0, 1.0)
    assert foreground_scores([ForegroundCounts(0, 5, 0)]) == (0.0, 0.0)
    assert foreground_scores([ForegroundCounts(5, 0, 0)]) == (0.0, 0.0)


@pytest.fixture(scope="module")
def noisy():
    rng = np.random.default_rng(5)
    true = rng.normal(size=200)
    return true, true + rng.normal(size=200)


def test_the_interval_is_the_same_every_time_and_holds_rho(noisy):
    low, high = bootstrap_interval(*noisy, seed=1, resamples=300)
    assert bootstrap_interval(*noisy, seed=1, resamples=300) == (low, high)
    assert bootstrap_interval(*noisy, seed=2, resamples=300) != (low, high)
    assert low < spearman(*noisy) < high


def test_it_is_made_of_the_rhos_of_resampled_dives():
    rng = np.random.default_rng(8)
    true, predicted = rng.integers(0, 5, (2, 12)).astype(float)  # with many ties
    draws = np.random.default_rng(3).integers(12, size=(200, 12))
    rhos = [spearman(true[draw], predicted[draw]) for draw in draws]
    expected = np.percentile(rhos, [2.5, 97.5])
    assert bootstrap_interval(true, predicted, seed=3, resamples=200) == pytest.approx(expected)


def test_more_dives_and_less_coverage_make_it_narrower(noisy):
    def width(count, level):
        low, high = bootstrap_interval(noisy[0][:count], noisy[1][:count], resamples=300, level=level)
        return high - low

    assert width(200, 0.5) < width(200, 0.95) < width(30, 0.95)


def test_its_width_is_about_that_of_the_large_sample_formula(noisy):
    low, high = bootstrap_interval(*noisy, resamples=400)
    rho = spearman(*noisy)
    # Bonett and Wright 2000: the standard error of atanh(rho) is sqrt((1 + rho^2 / 2) / (n - 3)).
    error = np.sqrt((1 + rho**2 / 2) / 197)
    expected = np.tanh(np.arctanh(rho) + 1.96 * error) - np.tanh(np.arctanh(rho) - 1.96 * error)
    assert high - low == pytest.approx(expected, rel=0.25)


def test_equal_scores_have_no_interval_and_two_dives_a_wide_one():
    assert np.isnan(bootstrap_interval([5, 5, 5], [1, 2, 3])).all()
    assert bootstrap_interval([1, 2], [1, 2]) == (pytest.approx(1), pytest.approx(1))


def test_the_interval_of_relative_l2_is_made_of_resampled_squares_and_one_range():
    rng = np.random.default_rng(8)
    true, predicted = rng.normal(60, 10, (2, 12))
    draws = np.random.default_rng(3).integers(12, size=(200, 12))
    spread = true.max() - true.min()
    expected = np.percentile([relative_l2(true[draw], predicted[draw], spread=spread) for draw in draws], [2.5, 97.5])
    assert bootstrap_l2_interval(true, predicted, seed=3, resamples=200) == pytest.approx(expected)


def test_the_interval_of_relative_l2_agrees_with_the_standard_error_of_a_mean(noisy):
    true, predicted = noisy
    low, high = bootstrap_l2_interval(true, predicted)
    squares = 100 * ((predicted - true) / np.ptp(true)) ** 2
    assert low < relative_l2(true, predicted) < high
    assert high - low == pytest.approx(2 * 1.96 * stats.sem(squares), rel=0.15)
    assert np.isnan(bootstrap_l2_interval([5, 5, 5], [1, 2, 3])).all()


def test_the_interval_of_a_share_by_hand():
    # Wilson with z = 1.96 for 8 of 10: centre (0.8 + z^2 / 20) / (1 + z^2 / 10) = 0.7167,
    # reach z / (1 + z^2 / 10) * sqrt(0.8 * 0.2 / 10 + z^2 / 400) = 0.2266.
    assert share_interval(8, 10) == pytest.approx((0.4901, 0.9433), abs=1e-4)
    low, high = share_interval(8, 8)  # z^2 / (8 + z^2) may yet miss
    assert (low, high) == (pytest.approx(8 / (8 + 1.96**2), abs=1e-4), pytest.approx(1))
