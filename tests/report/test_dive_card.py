from __future__ import annotations

import io
import json

import pytest
from rich.console import Console

from finecausal_cli.diving import listed_dives, parse_dive_number
from finecausal_cli.errors import UsageError
from finecausal_cli.report.assets import dive_json, print_dive


def printed(number: str, height_m: float | None = None) -> list[str]:
    stream = io.StringIO()
    print_dive(parse_dive_number(number), height_m, Console(file=stream, width=80, color_system=None))
    return stream.getvalue().splitlines()


def test_every_height_of_a_dive_is_listed() -> None:
    lines = printed("107B")
    assert "107B in competition (324 dives)" in lines[-1]
    assert [line.split() for line in lines[lines.index("difficulty") + 1 : -1]] == [
        ["1", "m", "springboard", "3.3"],
        ["3", "m", "springboard", "3.1"],
        ["7.5", "m", "platform", "3.1"],
        ["10", "m", "platform", "3.0"],
    ]


def test_a_dive_that_is_not_listed_says_what_to_do() -> None:
    assert "not listed: give --difficulty" in "\n".join(printed("626C", 3.0))
    assert "not listed at any height: give --difficulty" in "\n".join(printed("1011B"))


def test_a_height_without_a_list_prints_nothing() -> None:
    stream = io.StringIO()
    with pytest.raises(UsageError):
        print_dive(parse_dive_number("107B"), 4.0, Console(file=stream))
    assert stream.getvalue() == ""


def test_every_card_fits_80_columns_without_trailing_blanks() -> None:
    for dive in listed_dives():
        lines = printed(str(dive))
        assert max(map(len, lines)) <= 80
        assert all(line == line.rstrip() for line in lines)


def test_json_tells_the_parts_and_an_unlisted_height_as_null() -> None:
    document = json.loads(dive_json(parse_dive_number("6245D"), 3.0))
    told = {key: document[key] for key in ("dive", "armstand", "direction", "half_somersaults", "half_twists")}
    assert told == {"dive": "6245D", "armstand": True, "direction": 2, "half_somersaults": 4, "half_twists": 5}
    assert document["difficulty"] == [{"height_m": 3.0, "apparatus": "springboard", "difficulty": None}]
    assert "".join(part["symbol"] for part in document["parts"]) == "6245D"
