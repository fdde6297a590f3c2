import numpy as np
import pytest

from finecausal_cli.retrieval.bank import spread_exemplars


def of(make_dive, executions, number="107B", first=0):
    return [make_dive(first + place, number, score=3.0 * one) for place, one in enumerate(executions)]


def executions(dives):
    return [dive.execution for dive in dives]


@pytest.mark.parametrize(
    ("count", "chosen"),
    [
        (1, [14]),
        (2, [12, 16]),
        (3, [11, 14, 17]),
        (5, [10, 12, 14, 16, 18]),
        (9, [*range(10, 19)]),
        (20, [*range(10, 19)]),
    ],
)
def test_they_are_the_middles_of_equal_parts_by_rank(make_dive, count, chosen):
    assert executions(spread_exemplars(of(make_dive, range(10, 19)), count)) == chosen


def test_ranks_count_and_not_distances(make_dive):
    assert executions(spread_exemplars(of(make_dive, [1, 2, 3, 4, 29]), 3)) == [1, 3, 29]


def test_each_number_has_its_own_in_the_order_of_numbers(make_dive):
    dives = [*of(make_dive, [12, 11, 10], "5253B"), *of(make_dive, [20], "107B", 10), *of(make_dive, [9, 8], None, 20)]
    chosen = spread_exemplars(dives, 2)
    assert [(dive.number, dive.execution) for dive in chosen] == [
        (None, 8),
        (None, 9),
        ("107B", 20),
        ("5253B", 10),
        ("5253B", 12),
    ]


def test_the_order_of_the_dives_does_not_matter(make_dive):
    dives = of(make_dive, [15, 15, 15, 15, 12, 12, 18])
    expected = spread_exemplars(dives, 4)
    for seed in range(10):
        np.random.default_rng(seed).shuffle(dives)
        assert spread_exemplars(dives, 4) == expected


def test_no_dive_is_chosen_twice(make_dive):
    for size in range(1, 12):
        for count in range(1, 14):
            chosen = spread_exemplars(of(make_dive, range(size)), count)
            assert len({dive.key for dive in chosen}) == len(chosen) == min(size, count)


def test_no_dives_no_exemplars():
    assert spread_exemplars([], 5) == []
