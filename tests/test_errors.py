import inspect
import pickle
from pathlib import Path
from typing import get_args

import pytest

from finecausal_cli import errors
from finecausal_cli.errors import DatasetError, DiveNumberError, FinecausalError, UsageError

EVERY = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, FinecausalError)]


def test_the_message_says_where_then_what_then_how_to_help():
    assert str(FinecausalError("no such clip")) == "no such clip"
    assert str(FinecausalError("no such clip", where="a.mp4")) == "a.mp4: no such clip"
    assert str(FinecausalError("no such clip", where="a.mp4", hint="look")) == "a.mp4: no such clip (look)"


def test_a_path_is_kept_as_text():
    error = DatasetError("odd", where=Path("a") / "b.csv")
    assert error.where == "a/b.csv"


@pytest.mark.parametrize("kind", EVERY)
def test_only_wrong_usage_exits_with_two(kind):
    assert kind("x").exit_code == (2 if kind in (UsageError, DiveNumberError) else 1)


@pytest.mark.parametrize("kind", EVERY)
@pytest.mark.parametrize("parts", [{}, {"where": "row 3"}, {"where": "row 3", "hint": "see above"}])
def test_every_error_crosses_between_processes_whole(kind, parts):
    error = kind("wrong", **parts)
    other = pickle.loads(pickle.dumps(error))  # noqa: S301
    assert type(other) is kind
    assert (other.what, other.where, other.hint, str(other)) == (error.what, error.where, error.hint, str(error))
    assert other.kind == error.kind


@pytest.mark.parametrize("kind", EVERY)
def test_the_kind_is_one_of_the_list_and_crosses_too(kind):
    assert kind("x").kind in get_args(errors.ErrorKind)
    assert pickle.loads(pickle.dumps(kind("x", kind="timeout"))).kind == "timeout"  # noqa: S301


def test_usual_kinds():
    kinds = {kind.__name__: kind("x").kind for kind in EVERY}
    assert (kinds["VideoError"], kinds["UsageError"], kinds["DiveNumberError"]) == (
        "unreadable",
        "bad_option",
        "bad_option",
    )
    assert kinds["BankError"] == "failed"


def test_the_docstring_draws_every_error():
    drawn = errors.__doc__
    assert all(kind.__name__ in drawn for kind in EVERY)
