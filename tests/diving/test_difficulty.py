from __future__ import annotations

import pytest

from finecausal_cli.diving import HEIGHTS_M, apparatus, difficulty, heights_for, listed_dives, parse_dive_number
from finecausal_cli.errors import UsageError


@pytest.mark.parametrize(
    ("number", "height_m", "expected"),
    [
        ("107B", 3.0, 3.1),
        ("107B", 10, 3.0),
        ("407C", 10.0, 3.2),
        ("5253B", 10.0, 3.2),
        ("6245D", 10.0, 3.6),
        ("1011C", 10.0, 4.7),
        ("109C", 10.0, 3.7),
        ("5152B", 3.0, 3.0),
        ("101C", 1.0, 1.2),
    ],
)
def test_gives_the_published_difficulty(number: str, height_m: float, expected: float) -> None:
    assert difficulty(parse_dive_number(number), height_m) == expected


def test_a_dive_has_no_difficulty_where_it_is_not_listed() -> None:
    assert difficulty(parse_dive_number("626C"), 3.0) is None
    assert difficulty(parse_dive_number("1011B"), 10.0) is None
    assert heights_for(parse_dive_number("1011B")) == {}


def test_lists_a_dive_at_every_height_it_has() -> None:
    assert heights_for(parse_dive_number("107B")) == {1.0: 3.3, 3.0: 3.1, 7.5: 3.1, 10.0: 3.0}


def test_a_caller_cannot_spoil_the_list() -> None:
    dive = parse_dive_number("107B")
    heights_for(dive).clear()
    assert difficulty(dive, 3.0) == 3.1


@pytest.mark.parametrize("height_m", [0.0, 2.0, 27.0, float("nan")])
def test_a_height_without_a_list_is_refused_with_those_that_have_one(height_m: float) -> None:
    with pytest.raises(UsageError, match=r"1, 3, 5, 7\.5, 10"):
        difficulty(parse_dive_number("107B"), height_m)


def test_the_lists_keep_to_the_sport() -> None:
    entries = {(str(dive), height): value for dive in listed_dives() for height, value in heights_for(dive).items()}
    assert len(entries) == 139 + 182 + 181 + 198 + 250
    assert all(1.2 <= value <= 4.8 and round(value, 1) == value for value in entries.values())
    assert all(apparatus(height) == "platform" for number, height in entries if number.startswith("6"))


def test_more_half_somersaults_are_never_easier_on_the_springboard() -> None:
    for height in (1.0, 3.0):
        for start in ("10", "20", "30", "40"):
            for letter in "BC":
                values = [difficulty(parse_dive_number(f"{start}{n}{letter}"), height) for n in (1, 3, 5, 7, 9)]
                listed = [value for value in values if value is not None]
                assert listed == sorted(listed)


def test_springboards_are_low_and_platforms_high() -> None:
    assert [apparatus(height) for height in HEIGHTS_M] == ["springboard"] * 2 + ["platform"] * 3
