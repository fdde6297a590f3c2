from dataclasses import dataclass
from typing import Annotated, ClassVar

import pytest
import typer
from typer.testing import CliRunner

from finecausal_cli.cli import options as given
from finecausal_cli.cli.options import options_from_fields


@dataclass(frozen=True)
class Group:
    panel: ClassVar[str] = "Together"

    size: Annotated[int, typer.Option("--size", min=1, help="How large.")] = 3
    name: Annotated[str | None, typer.Option(help="What it is called.")] = None


@pytest.fixture
def command():
    calls = []

    @options_from_fields
    def run(path: given.Clip, group: Group, loud: Annotated[bool, typer.Option("--loud")] = False) -> None:
        """Do it."""
        calls.append((path, group, loud))

    app = typer.Typer()
    app.command()(run)
    return app, calls


def test_a_group_arrives_as_one_value(command):
    app, calls = command
    assert CliRunner().invoke(app, ["a.mp4", "--size", "4", "--loud"]).exit_code == 0
    assert CliRunner().invoke(app, ["b.mp4", "--name", "x"]).exit_code == 0
    assert calls == [("a.mp4", Group(size=4), True), ("b.mp4", Group(name="x"), False)]


def test_limits_hold_and_help_shows_the_group_together(command):
    app, calls = command
    assert CliRunner().invoke(app, ["a.mp4", "--size", "0"]).exit_code == 2
    assert not calls
    shown = CliRunner().invoke(app, ["--help"]).output
    assert "Do it." in shown
    assert shown.index("Together") < shown.index("--size") < shown.index("--name")


def test_the_shared_option_itself_keeps_its_place():
    before = given.Weights.__metadata__[0].rich_help_panel
    options_from_fields(_with_engine)
    assert given.Weights.__metadata__[0].rich_help_panel == before != given.RuntimeArgs.panel


def _with_engine(engine: given.RuntimeArgs) -> None:
    """Compute."""


def test_groups_hold_what_the_objects_behind_them_take():
    import inspect

    from finecausal_cli.cli.score import Pair
    from finecausal_cli.scoring import ScoreOptions
    from finecausal_cli.scoring.results import CompareOptions
    from finecausal_cli.scoring.scorer import Scorer

    assert ScoreOptions(**given.QueryArgs().options()) == ScoreOptions(timeout_s=given.DECODE_LIMIT_S)
    assert CompareOptions(**Pair().options()) == CompareOptions(timeout_s=given.DECODE_LIMIT_S)
    assert set(given.RuntimeArgs().arguments()) == set(inspect.signature(Scorer.load).parameters)
