from __future__ import annotations

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finecausal_cli.diving import DiveNumber, listed_dives, parse_dive_number
from finecausal_cli.errors import DiveNumberError, UsageError

LISTED = listed_dives()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("107B", DiveNumber(1, False, 1, 7, 0, "B")),
        ("1011C", DiveNumber(1, False, 1, 11, 0, "C")),
        ("113C", DiveNumber(1, True, 1, 3, 0, "C")),
        ("201A", DiveNumber(2, False, 2, 1, 0, "A")),
        ("407C", DiveNumber(4, False, 4, 7, 0, "C")),
        ("5253B", DiveNumber(5, False, 2, 5, 3, "B")),
        ("5337D", DiveNumber(5, False, 3, 3, 7, "D")),
        ("600A", DiveNumber(6, False, 0, 0, 0, "A")),
        ("626C", DiveNumber(6, False, 2, 6, 0, "C")),
        ("6245D", DiveNumber(6, False, 2, 4, 5, "D")),
    ],
)
def test_reads_each_kind_of_number(text: str, expected: DiveNumber) -> None:
    assert parse_dive_number(text) == expected
    assert str(expected) == text


def test_every_listed_dive_has_one_canonical_number() -> None:
    assert len(LISTED) == 254
    assert len({str(dive) for dive in LISTED}) == 254
    assert all(parse_dive_number(str(dive)) == dive for dive in LISTED)


@given(dive=st.sampled_from(LISTED), data=st.data())
def test_case_and_blanks_do_not_matter(dive: DiveNumber, data: st.DataObject) -> None:
    blanks = st.text(" \t\u00a0\n", max_size=2)
    typed = data.draw(blanks) + "".join(symbol + data.draw(blanks) for symbol in str(dive))
    assert parse_dive_number(typed.lower()) == parse_dive_number(typed) == dive


@given(
    group=st.integers(1, 6),
    flying=st.booleans(),
    direction=st.integers(0, 4),
    half_somersaults=st.integers(0, 12),
    half_twists=st.integers(0, 10),
    position=st.sampled_from("ABCD"),
)
def test_a_number_that_can_be_made_can_be_read_back(
    group: int, flying: bool, direction: int, half_somersaults: int, half_twists: int, position: str
) -> None:
    try:
        dive = DiveNumber(group, flying, direction, half_somersaults, half_twists, position)  # type: ignore[arg-type]
    except DiveNumberError:
        return
    assert parse_dive_number(str(dive)) == dive


@given(st.text(max_size=8) | st.text("0123456789ABCDEd ", max_size=7))
def test_any_text_is_read_canonically_or_refused(text: str) -> None:
    try:
        dive = parse_dive_number(text)
    except DiveNumberError:
        return
    assert "".join(text.split()).upper() == str(dive)


@pytest.mark.parametrize(
    ("text", "what", "hint"),
    [
        ("807B", "digit 1 (group) is 8", "1 forward, 2 back, 3 reverse, 4 inward, 5 twisting or 6 armstand"),
        ("007B", "digit 1 (group) is 0", "1 to 6"),
        ("127B", "digit 2 (flying) is 2", "0, or 1 for a flying dive"),
        ("5553B", "digit 2 (direction) is 5", "1 forward, 2 back, 3 reverse or 4 inward"),
        ("5053B", "digit 2 (direction) is 0", "1 forward"),
        ("644C", "digit 2 (direction) is 4", "0 none, 1 forward, 2 back or 3 reverse"),
        ("100A", "digit 3 (half-somersaults) is 0", "1 to 9"),
        ("5203B", "digit 3 (half-somersaults) is 0", "1 to 9"),
        ("620B", "digit 3 (half-somersaults) is 0", "1 to 9"),
        ("601A", "digit 3 (half-somersaults) is 1", "without direction"),
        ("5250B", "digit 4 (half-twists) is 0", "without a twist the dive is 205"),
        ("6240C", "digit 4 (half-twists) is 0", "leave it out"),
        ("107D", "the position letter is D", "only twisting dives are free"),
        ("624D", "the position letter is D", "only twisting dives are free"),
        ("107E", "the position letter is 'E'", "A straight, B pike, C tuck or D free"),
        ("107", "the position letter is missing", "A straight, B pike, C tuck or D free"),
        ("1071B", "4 digits, but groups 1 to 4 have three", "107B"),
        ("2011C", "4 digits, but groups 1 to 4 have three", "107B"),
        ("525B", "3 digits, but group 5 has four", "5253B"),
        ("62451D", "5 digits, but group 6 has three, or four", "626C"),
        ("1B", "1 digit, but", "107B"),
        ("", "three or four digits and a letter", "107B"),
        ("B107", "three or four digits and a letter", "107B"),
        ("-107B", "three or four digits and a letter", "107B"),
        ("１０７B", "three or four digits and a letter", "107B"),
    ],
)
def test_a_wrong_number_is_refused_by_digit_and_reason(text: str, what: str, hint: str) -> None:
    with pytest.raises(DiveNumberError) as caught:
        parse_dive_number(text)
    assert what in caught.value.what
    assert hint in (caught.value.hint or "")
    assert caught.value.where
    assert isinstance(caught.value, UsageError)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    "parts",
    [
        (1, False, 2, 3, 0, "B"),
        (1, True, 1, 11, 0, "C"),
        (2, False, 2, 11, 0, "C"),
        (2, False, 2, 3, 1, "B"),
        (5, True, 2, 5, 3, "B"),
        (6, True, 2, 4, 0, "B"),
        (6, False, 2, 4, 10, "D"),
        (6, False, 2, 4, -1, "D"),
        (7, False, 2, 4, 0, "B"),
        (1, False, 1, 3, 0, "X"),
    ],
)
def test_parts_that_make_no_number_cannot_be_put_together(parts: tuple[object, ...]) -> None:
    with pytest.raises(DiveNumberError):
        DiveNumber(*parts)  # type: ignore[arg-type]


def test_armstand_and_twisting_are_told_from_the_number() -> None:
    told = {text: (parse_dive_number(text).armstand, parse_dive_number(text).twisting) for text in ("107B", "5253B")}
    assert told == {"107B": (False, False), "5253B": (False, True)}
    assert (parse_dive_number("626C").armstand, parse_dive_number("626C").twisting) == (True, False)
    assert (parse_dive_number("6245D").armstand, parse_dive_number("6245D").twisting) == (True, True)


def test_an_error_survives_the_trip_between_processes() -> None:
    with pytest.raises(DiveNumberError) as caught:
        parse_dive_number("807B")
    copy = pickle.loads(pickle.dumps(caught.value))  # noqa: S301
    assert str(copy) == str(caught.value)
