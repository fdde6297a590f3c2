from __future__ import annotations

import pytest

from finecausal_cli.diving import Part, describe_dive, explain_dive, listed_dives, parse_dive_number


@pytest.mark.parametrize(
    ("number", "words"),
    [
        ("107B", "forward 3½ somersaults pike"),
        ("5253B", "back 2½ somersaults 1½ twists pike"),
        ("1011C", "forward 5½ somersaults tuck"),
        ("401B", "inward dive pike"),
        ("202A", "back somersault straight"),
        ("113C", "flying forward 1½ somersaults tuck"),
        ("5111A", "forward dive ½ twist straight"),
        ("5122D", "forward somersault 1 twist free"),
        ("5337D", "reverse 1½ somersaults 3½ twists free"),
        ("600A", "armstand dive straight"),
        ("611B", "armstand forward ½ somersault pike"),
        ("632C", "armstand reverse somersault tuck"),
        ("6245D", "armstand back 2 somersaults 2½ twists free"),
    ],
)
def test_a_dive_is_named_as_announcers_name_it(number: str, words: str) -> None:
    assert describe_dive(parse_dive_number(number)) == words


def test_no_two_listed_dives_share_a_name() -> None:
    names = [describe_dive(dive) for dive in listed_dives()]
    assert len(set(names)) == len(names)


def test_each_symbol_is_explained_in_writing_order() -> None:
    assert explain_dive(parse_dive_number("5253B")) == (
        Part("5", "group", "twisting"),
        Part("2", "direction", "back"),
        Part("5", "half-somersaults", "2½ somersaults"),
        Part("3", "half-twists", "1½ twists"),
        Part("B", "position", "pike: bent at the hips, legs straight"),
    )


def test_the_symbols_spell_the_number_for_every_listed_dive() -> None:
    for dive in listed_dives():
        assert "".join(part.symbol for part in explain_dive(dive)) == str(dive)
