from __future__ import annotations

import json
import subprocess
import sys

import pytest
import typer
from typer.testing import CliRunner

from finecausal_cli.cli.assets import dive
from finecausal_cli.errors import DiveNumberError, UsageError

APP = typer.Typer()
APP.command()(dive)


def test_a_number_is_explained_digit_by_digit_with_its_difficulty() -> None:
    result = CliRunner().invoke(APP, ["5253b", "--height", "10"])
    assert result.exit_code == 0
    assert [line.split() for line in result.stdout.splitlines()] == [
        ["5253B", "back", "2½", "somersaults", "1½", "twists", "pike"],
        ["5", "group", "twisting"],
        ["2", "direction", "back"],
        ["5", "half-somersaults", "2½", "somersaults"],
        ["3", "half-twists", "1½", "twists"],
        ["B", "position", "pike:", "bent", "at", "the", "hips,", "legs", "straight"],
        ["difficulty"],
        ["10", "m", "platform", "3.2"],
        "5253B in competition (209 dives): mean mark 7.21, 90% from 5.7 to 8.5".split(),  # noqa: SIM905
    ]


def test_what_was_counted_in_competition_is_part_of_the_json() -> None:
    counted, few, never = (
        json.loads(CliRunner().invoke(APP, [number, "--format", "json"]).stdout)["competition"]
        for number in ("107B", "109B", "101A")
    )
    assert (counted["dives"], counted["mean_mark"], counted["central_90"]) == (324, 7.039, [4.86, 8.5])
    assert counted["mark_quantiles"]["0.5"] == 7.33
    assert "FineDiving" in counted["source"]
    assert (few["dives"], few["mean_mark"], few["central_90"], few["mark_quantiles"]) == (1, None, None, None)
    assert never is None


def test_a_number_that_was_never_counted_has_no_line_about_competition() -> None:
    assert "competition" not in CliRunner().invoke(APP, ["101A"]).stdout


def test_blanks_may_split_the_number_into_words() -> None:
    spaced, plain = (CliRunner().invoke(APP, words).stdout for words in (["107", "b"], ["107B"]))
    assert spaced == plain


def test_without_a_height_every_listed_one_is_shown() -> None:
    document = json.loads(CliRunner().invoke(APP, ["107B", "--format", "json"]).stdout)
    assert document["description"] == "forward 3½ somersaults pike"
    assert [(entry["height_m"], entry["difficulty"]) for entry in document["difficulty"]] == [
        (1.0, 3.3),
        (3.0, 3.1),
        (7.5, 3.1),
        (10.0, 3.0),
    ]


@pytest.mark.parametrize(
    ("arguments", "expected"), [(["807B"], DiveNumberError), (["107B", "--height", "4"], UsageError)]
)
def test_a_wrong_request_is_a_usage_error_and_prints_nothing(arguments: list[str], expected: type[UsageError]) -> None:
    result = CliRunner().invoke(APP, arguments)
    assert isinstance(result.exception, expected)
    assert result.stdout == ""


def test_importing_the_command_loads_nothing_heavy() -> None:
    code = (
        "import sys, finecausal_cli.cli.assets; print([m for m in ('torch', 'numpy', 'pydantic') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
