import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from finecausal_cli.training.pairs import conformal_half_width


@pytest.mark.parametrize(
    ("count", "level", "rank"),
    # ceil((n + 1) level), at most n.
    [(9, 0.9, 9), (19, 0.9, 18), (10, 0.9, 10), (99, 0.9, 90), (100, 0.9, 91), (3, 0.5, 2), (5, 0.9, 5), (1, 0.9, 1)],
)
def test_the_rank_of_the_half_width_by_hand(count, level, rank):
    errors = np.random.default_rng(0).permutation(np.arange(1.0, count + 1))
    assert conformal_half_width(errors.tolist(), level) == rank


@settings(max_examples=50, deadline=None)
@given(some.lists(some.floats(0, 30), min_size=1, max_size=60))
def test_the_half_width_covers_its_own_share(errors):
    half = conformal_half_width(errors, 0.9)
    assert half in errors
    assert np.mean(np.asarray(errors) <= half) >= 0.9


@pytest.mark.parametrize("count", [20, 99])
def test_new_dives_are_covered_as_stated(count):
    """Split-conformal coverage lies between 0.9 and 0.9 + 1 / (n + 1), whatever the errors' distribution."""
    rng = np.random.default_rng(1)
    covered = []
    for _ in range(400):
        seen, new = np.split(np.abs(rng.standard_t(3, count + 100)), [count])
        covered.append(np.mean(new <= conformal_half_width(seen.tolist(), 0.9)))
    assert 0.9 - 0.01 < np.mean(covered) < 0.9 + 1 / (count + 1) + 0.01
