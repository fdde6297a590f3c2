from collections import Counter
from itertools import chain

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from finecausal_cli.data.batch import pairs_of, plan_epoch

NUMBERS = ["107B"] * 9 + ["5253B"] * 4 + ["626C"] + [None] * 3


def groups_of(plan):
    return list(chain.from_iterable(plan))


@settings(max_examples=60, deadline=None)
@given(
    numbers=some.lists(some.sampled_from(["107B", "5253B", "626C", "", None]), min_size=2, max_size=30),
    group=some.integers(2, 6),
    groups_per_batch=some.integers(1, 4),
    epoch=some.integers(0, 50),
)
def test_every_dive_meets_another_in_every_epoch(numbers, group, groups_per_batch, epoch):
    plan = plan_epoch(numbers, group=group, groups_per_batch=groups_per_batch, seed=1, epoch=epoch)
    groups = groups_of(plan)
    assert set(chain.from_iterable(groups)) == set(range(len(numbers)))
    assert all(2 <= len(one) <= group and len(set(one)) == len(one) for one in groups)
    assert all(len(batch) == groups_per_batch for batch in plan[:-1])
    assert 1 <= len(plan[-1]) <= groups_per_batch
    count = Counter(number or "" for number in numbers)
    for one in groups:
        meet = {numbers[index] or "" for index in one}
        # Numbers mix only where a dive would otherwise be alone with its number.
        assert len(meet) == 1 or (len(one) == 2 and count[numbers[one[0]] or ""] == 1)


def test_the_plan_follows_from_seed_and_epoch_alone():
    def plan(seed, epoch):
        return plan_epoch(NUMBERS, group=4, groups_per_batch=2, seed=seed, epoch=epoch)

    assert plan(3, 5) == plan(3, 5)
    assert len({str(plan(seed, epoch)) for seed in range(3) for epoch in range(4)}) == 12


def test_a_dive_occurs_twice_only_as_the_partner_of_a_lone_one():
    groups = groups_of(plan_epoch(NUMBERS, group=4, groups_per_batch=2, seed=0, epoch=0))
    # 9 = 4 + 4 + 1 and 1: two lone dives, so two dives occur twice.
    assert Counter(Counter(chain.from_iterable(groups)).values()) == {1: len(NUMBERS) - 2, 2: 2}
    lone = next(one for one in groups if NUMBERS[one[0]] == "626C")
    assert len(lone) == 2
    left_over = [one for one in groups if len(one) == 2 and NUMBERS[one[0]] == "107B"]
    assert [NUMBERS[index] for index in left_over[0]] == ["107B", "107B"]


def test_every_epoch_has_as_many_batches():
    lengths = {len(plan_epoch(NUMBERS, group=4, groups_per_batch=2, seed=0, epoch=epoch)) for epoch in range(20)}
    assert lengths == {3}  # 3 + 1 + 1 + 1 groups in twos


def test_over_the_epochs_a_dive_meets_all_others_of_its_number():
    met = set()
    for epoch in range(60):
        for one in groups_of(plan_epoch(["107B"] * 8, group=4, groups_per_batch=1, seed=0, epoch=epoch)):
            met |= {frozenset((a, b)) for a in one for b in one if a != b}
    assert len(met) == 8 * 7 / 2


@pytest.mark.parametrize(("numbers", "group"), [(["107B"], 2), ([], 2), (["107B", "107B"], 1)])
def test_pairs_need_two(numbers, group):
    with pytest.raises(ValueError, match="two"):
        plan_epoch(numbers, group=group, groups_per_batch=1, seed=0, epoch=0)


def test_all_pairs_of_a_group_and_none_between_groups():
    assert pairs_of([(7, 3, 9), (5, 2)]) == [(0, 1), (0, 2), (1, 2), (3, 4)]
    assert pairs_of([]) == []
