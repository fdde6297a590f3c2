from collections import Counter

import pytest

from finecausal_cli.data.datasets import assign_splits

SIZES = {"101B": 40, "107B": 24, "5253B": 12, "626C": 4, "301B": 1}


@pytest.fixture
def dives(make_dive):
    numbers = [number for number, size in SIZES.items() for _ in range(size)]
    return [make_dive(index, number) for index, number in enumerate(numbers)]


def splits_of(dives, **options):
    return {dive.key: dive.split for dive in assign_splits(dives, **options)}


def test_the_split_does_not_depend_on_the_order_of_the_rows(dives, rng):
    expected = splits_of(dives, seed=3)
    for _ in range(5):
        rng.shuffle(dives)
        assert splits_of(dives, seed=3) == expected
        assert [dive.key for dive in assign_splits(dives, seed=3)] == [dive.key for dive in dives]


def test_another_seed_is_another_split(dives):
    assert splits_of(dives, seed=3) != splits_of(dives, seed=4)


def test_a_quarter_of_every_number_is_tested_and_a_tenth_of_the_rest_validated(dives):
    count = Counter((dive.number, dive.split) for dive in assign_splits(dives))
    for number, size in SIZES.items():
        assert abs(count[number, "test"] - size / 4) <= 1
        assert abs(count[number, "val"] - 0.1 * 0.75 * size) <= 1
    total = Counter(split for (_, split), many in count.items() for _ in range(many))
    assert total["test"] == pytest.approx(len(dives) / 4, abs=1)
    assert total["val"] == pytest.approx(0.1 * (len(dives) - total["test"]), abs=1)


def test_the_validation_share_is_as_asked(make_dive):
    dives = [make_dive(index, split="train") for index in range(50)]
    assert Counter(splits_of(dives, val_share=0.2).values()) == {"train": 40, "val": 10}
    assert Counter(splits_of(dives, val_share=0.0).values()) == {"train": 50}


def test_a_small_dataset_keeps_two_dives_to_validate_on(make_dive):
    dives = [make_dive(index, "107B") for index in range(8)]
    assert Counter(splits_of(dives).values()) == {"train": 4, "val": 2, "test": 2}
    uneven = [make_dive(index, "107B" if index < 5 else "405C") for index in range(8)]
    assert Counter(splits_of(uneven).values()) == {"train": 4, "val": 2, "test": 2}


def test_every_number_keeps_a_training_dive(make_dive):
    dives = [make_dive(index, f"10{1 + index % 9}{'ABC'[index // 9 % 3]}") for index in range(60)]
    found = assign_splits(dives, val_share=0.9)
    assert {dive.number for dive in found if dive.split == "train"} == {dive.number for dive in dives}


def test_numbers_of_a_single_dive_do_not_empty_the_next_number(make_dive):
    alone = [make_dive(index, f"10{index % 10}{'ABC'[index // 10]}") for index in range(30)]
    many = [make_dive(100 + index, "5253B") for index in range(20)]
    count = Counter((dive.number, dive.split) for dive in assign_splits([*alone, *many]))
    assert 5 <= count["5253B", "test"] <= 6


def test_named_splits_are_kept(make_dive):
    named = [make_dive(index, split=("train", "val", "test")[index % 3]) for index in range(30)]
    assert splits_of(named) == {dive.key: dive.split for dive in named}


def test_no_test_dive_is_drawn_where_a_dive_names_its_split(make_dive):
    dives = [make_dive(0, split="test"), *(make_dive(index) for index in range(1, 41))]
    found = splits_of(dives)
    assert Counter(found.values()) == {"test": 1, "train": 36, "val": 4}
    assert found["000.mp4"] == "test"


def test_a_validation_set_is_never_drawn_from_test_dives(make_dive):
    dives = [make_dive(index, split="test" if index < 30 else "train") for index in range(40)]
    found = assign_splits(dives, val_share=0.5)
    assert all(dive.split == "test" for dive in found[:30])
    assert Counter(dive.split for dive in found[30:]) == {"train": 5, "val": 5}
