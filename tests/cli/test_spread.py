from dataclasses import dataclass
from typing import Annotated, ClassVar

import pytest
import typer
from typer.testing import CliRunner

from finecausal_cli.cli import options as given
from finecausal_cli.cli.spread import spread


@dataclass(frozen=True)
class Group:
    panel: ClassVar[str] = "Together"

    size: Annotated[int, typer.Option("--size", min=1, help="How large.")] = 3
    name: Annotated[str | None, typer.Option(help="What it is called.")] = None


@pytest.fixture
def command():
    calls = []

    @spread
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
    spread(_with_engine)
    assert given.Weights.__metadata__[0].rich_help_panel == before != given.Engine.panel


def _with_engine(engine: given.Engine) -> None:
    """Compute."""


def test_groups_hold_what_the_objects_behind_them_take():
    import inspect

    from finecausal_cli.assess.comparison import CompareOptions
    from finecausal_cli.assess.score_options import ScoreOptions
    from finecausal_cli.assess.scorer import Scorer
    from finecausal_cli.cli.compare import Pair

    assert ScoreOptions(**given.Asked().options()) == ScoreOptions(timeout_s=given.DECODE_LIMIT_S)
    assert CompareOptions(**Pair().options()) == CompareOptions(timeout_s=given.DECODE_LIMIT_S)
    assert set(given.Engine().arguments()) == set(inspect.signature(Scorer.load).parameters)
