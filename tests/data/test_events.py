from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from finecausal_cli.data import Dive
from finecausal_cli.data.datasets import event_of, split_by_event
from finecausal_cli.errors import DatasetError


def dives_of(sizes, split=None):
    return [
        Dive(f"{event}/{index}", Path("none.mp4"), 50.0, 3.0, number="107B", split=split)
        for event, size in sizes.items()
        for index in range(size)
    ]


@pytest.mark.parametrize(
    ("key", "event"),
    [
        ("FINADivingWorldCup2021_Men3m_final_r1/0", "FINADivingWorldCup2021_Men3m_final"),
        ("FINADivingWorldCup2021_Men3m_final_r12/7", "FINADivingWorldCup2021_Men3m_final"),
        ("01/1", "01"),
        ("videos/rome/00001.mp4", "videos/rome"),
        ("00001.mp4", ""),
    ],
)
def test_the_event_is_the_competition_without_its_round(key, event):
    assert event_of(key) == event


@settings(max_examples=60, deadline=None)
@given(some.dictionaries(some.sampled_from("ABCDEFGH"), some.integers(1, 30), min_size=2), some.integers(0, 3))
def test_no_event_is_on_both_sides_and_both_sides_hold_one(sizes, seed):
    dives = split_by_event(dives_of(sizes), seed=seed)
    sides = {True: set(), False: set()}
    for dive in dives:
        sides[dive.split == "test"].add(event_of(dive.key))
    assert sides[True]
    assert sides[False]
    assert not sides[True] & sides[False]


def test_many_events_come_close_to_the_share():
    dives = split_by_event(dives_of({f"event{index}_final_r1": 20 for index in range(20)}))
    assert sum(dive.split == "test" for dive in dives) == 100
    assert sum(dive.split == "val" for dive in dives) == 30
    assert sum(dive.split == "train" for dive in dives) == 270


def test_rounds_stay_together():
    dives = split_by_event(dives_of({f"{name}_r{place}": 5 for name in "ABCD" for place in (1, 2, 3)}))
    for name in "ABCD":
        assert len({dive.split == "test" for dive in dives if dive.key.startswith(name)}) == 1


def test_the_split_is_everybodys():
    dives = dives_of({name: 4 + place for place, name in enumerate("ABCDEF")})
    first = {dive.key: dive.split for dive in split_by_event(dives)}
    assert {dive.key: dive.split for dive in split_by_event(dives[::-1])} == first
    assert {tuple(sorted(d.key for d in split_by_event(dives, seed=s) if d.split == "test")) for s in range(9)} != {
        tuple(sorted(key for key, split in first.items() if split == "test"))
    }


def test_a_split_that_the_dataset_names_does_not_count():
    dives = split_by_event(dives_of({"A": 5, "B": 5}, split="test"))
    assert {dive.split for dive in dives if dive.key.startswith(("A", "B"))} == {"train", "val", "test"}


def test_one_event_cannot_be_left_out():
    with pytest.raises(DatasetError, match="all 3 dives are of one event"):
        split_by_event(dives_of({"A_r1": 2, "A_r2": 1}))
