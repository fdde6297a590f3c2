"""Options are declared once; flags, help and the keys of a configuration file follow from the field."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import pytest
import typer
from typer.testing import CliRunner

from finecausal_cli.cli.options import Clip, Given, Without, add_command, options_from_fields
from finecausal_cli.config import REQUIRED, OptionGroup, RuntimeConfig, option
from finecausal_cli.errors import UsageError


def _pairs(text):
    return {name: float(value) for name, value in (pair.split("=") for pair in text.split(","))}


@dataclass(frozen=True)
class Group(OptionGroup):
    panel: ClassVar[str] = "Together"

    size: int = option(3, "How large.", min=1, flag="-s,--size")
    share: float = option(0.5, "How much.", above=0, max=1)
    name: str | None = option(None, "What it is called.")
    kind: Literal["round", "square"] = option("round", "Its shape.")
    paint: bool = option(True, "Leave it bare.", flag="/--no-paint")
    draw: bool = option(True, "Draw it.", flag="--draw/--no-draw")
    parts: tuple[Path, ...] = option((), "Its parts.", flag="--part")
    weights: dict[str, float] = option({}, "By part.", parse=_pairs)
    tolerance: float = option(0.1, "A key of files alone.", file_only=True)
    program_only: int = 7


@dataclass(frozen=True)
class Required(OptionGroup):
    sources: tuple[Path, ...] = option(REQUIRED, "Where from.", flag="--source")


def make(function):
    app = typer.Typer()
    add_command(app, function)
    app.command("other")(lambda: None)
    return lambda *arguments: CliRunner().invoke(app, [function.__name__, *map(str, arguments)])


@pytest.fixture
def command():
    calls = []

    def run(path: Clip, group: Group, given: Given, loud: Annotated[bool, typer.Option("--loud")] = False) -> None:
        """Do it."""
        calls.append((path, group, loud, given))

    return make(run), calls


def test_a_group_arrives_as_one_value_with_the_names_of_what_was_given(command):
    call, calls = command
    assert call("a.mp4", "-s", "4", "--loud").exit_code == 0
    flags = ("--no-paint", "--no-draw", "--part", "x", "--part", "y", "--kind", "square", "--weights", "a=1,b=2")
    assert call("b.mp4", "--name", "n", *flags).exit_code == 0
    assert calls[0] == ("a.mp4", Group(size=4), True, {"path", "size", "loud"})
    parts = (Path("x"), Path("y"))
    expected = Group(name="n", paint=False, draw=False, parts=parts, kind="square", weights={"a": 1.0, "b": 2.0})
    assert calls[1][1] == expected


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--size", "0"), "--size"),
        (("--size", "many"), "--size"),
        (("--share", "1.5"), "--share"),
        (("--kind", "flat"), "--kind"),
        (("--tolerance", "1"), "--tolerance"),
        (("--program-only", "1"), "--program-only"),
    ],
)
def test_limits_and_choices_hold(command, arguments, says):
    call, calls = command
    done = call("a.mp4", *arguments)
    assert done.exit_code == 2
    assert says in done.output
    assert not calls


def test_a_bound_that_is_excluded_and_a_text_that_cannot_be_read_name_the_flag(command):
    call, _ = command
    for arguments, where in ((("--share", "0"), "--share"), (("--weights", "a"), "--weights")):
        error = call("a.mp4", *arguments).exception
        assert isinstance(error, UsageError)
        assert error.where == where


def test_help_shows_the_group_together_with_its_texts_ranges_and_defaults(command):
    shown = command[0]("--help").output
    assert "Do it." in shown
    assert shown.index("Together") < shown.index("--size") < shown.index("--name")
    for text in ("How large.", "x>=1", "[default: 3]", "<round|square>", "--no-paint", "--draw", "--config"):
        assert text in shown
    assert "A key of files alone." not in shown


def test_the_help_of_the_tree_derives_no_flags(monkeypatch):
    monkeypatch.setattr("finecausal_cli.cli.options.options_from_fields", lambda function: pytest.fail(str(function)))
    from finecausal_cli.cli import app

    assert "explain" in CliRunner().invoke(app, ["--help"]).output


def test_a_command_may_leave_options_out():
    seen = []

    def run(group: Annotated[Group, Without("size", "name")]) -> None:
        seen.append(group)

    call = make(run)
    assert call().exit_code == 0
    assert seen == [Group()]
    assert call("--size", "4").exit_code == 2


def test_a_configuration_file_gives_options_and_flags_win_over_it(command, tmp_path):
    call, calls = command
    path = tmp_path / "config.toml"
    path.write_text('size = 5\nname = "n"\ntolerance = 0.2\nparts = ["x"]\npaint = false\nweights = {a = 1}\n')
    assert call("a.mp4", "--config", path).exit_code == 0
    assert calls[0][1] == Group(size=5, name="n", tolerance=0.2, parts=(Path("x"),), paint=False, weights={"a": 1})
    assert calls[0][3] == {"path", "size", "name", "tolerance", "parts", "paint", "weights"}
    assert call("a.mp4", "--size", 3, "--config", path, "--no-paint").exit_code == 0
    assert calls[1][1] == Group(size=3, name="n", tolerance=0.2, parts=(Path("x"),), paint=False, weights={"a": 1})


def test_what_must_be_given_may_stand_in_the_file(tmp_path):
    seen = []

    def run(group: Required) -> None:
        seen.append(group)

    call = make(run)
    assert call().exit_code == 2
    path = tmp_path / "config.toml"
    path.write_text('sources = ["a", "b"]\n')
    assert call("--config", path).exit_code == 0
    assert call("--config", path, "--source", "c").exit_code == 0
    assert seen == [Required((Path("a"), Path("b"))), Required((Path("c"),))]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("siez = 5", "no option 'siez' (did you mean 'size'?)"),
        ("program_only = 5", "no option 'program_only'"),
        ("size = 0", "size: must be at least 1, not 0"),
        ("size = 2.5", "size: must be a whole number (integer), not 2.5"),
        ('size = "5"', "size: must be a whole number (integer), not '5'"),
        ("size = true", "size: must be a whole number"),
        ("size = [1, 2]", "size: must be a whole number"),
        ("share = nan", "share: must be finite"),
        ("share = 0", "share: must be greater than 0"),
        ("paint = 1", "paint: must be true or false"),
        ('kind = "flat"', "kind: must be 'round' or 'square', not 'flat'"),
        ('parts = "x"', "parts: must be a list"),
        ("parts = [1]", "parts: must be a path"),
        ("weights = 3", "weights: must be a table"),
        ("size 5", "not a TOML file"),
    ],
)
def test_a_wrong_file_is_one_line_that_names_file_and_key(command, tmp_path, text, says):
    call, calls = command
    path = tmp_path / "config.toml"
    path.write_text(text)
    error = call("a.mp4", "--config", path).exception
    assert isinstance(error, UsageError)
    assert error.exit_code == 2
    assert str(path) in str(error)
    assert says in str(error)
    assert "\n" not in str(error)
    assert not calls


def test_a_file_that_cannot_be_read_is_named(command, tmp_path):
    call, _ = command
    (tmp_path / "latin.toml").write_bytes('name = "é"'.encode("latin-1"))
    for path in (tmp_path / "missing.toml", tmp_path, tmp_path / "latin.toml", tmp_path / ("x" * 300)):
        error = call("a.mp4", "--config", path).exception
        assert isinstance(error, UsageError)
        assert error.where == f"--config {path}"


def test_options_survive_the_way_through_json():
    group = Group(size=4, parts=(Path("x"),), weights={"a": 1.0})
    assert group.to_dict()["parts"] == ["x"]
    assert Group.from_dict(group.to_dict()) == group
    with pytest.raises(UsageError, match="--colour: no such option"):
        Group.from_dict({"colour": "red"})


def _commands():
    from finecausal_cli.cli import assets, score
    from finecausal_cli.cli import research as data
    from finecausal_cli.cli import research as train

    return [
        score.score, score.explain, score.compare, train.train, train.pretrain, data.simulate, data.evaluate,
        data.check, assets.recogniser, assets.reader, assets.build, assets.list_exemplars, assets.show, assets.doctor,
    ]  # fmt: skip


@pytest.mark.parametrize("function", _commands(), ids=lambda function: function.__name__)
def test_every_command_with_options_reads_a_configuration_file(function):
    derived = options_from_fields(function)
    assert "config" in derived.__annotations__


def test_runtime_options_are_the_arguments_of_the_scorer():
    import inspect

    from finecausal_cli.scoring.scorer import Scorer

    assert {field.name for field in fields(RuntimeConfig)} == set(inspect.signature(Scorer.load).parameters)
