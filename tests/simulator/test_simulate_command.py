from __future__ import annotations

import json
from pathlib import Path

import cv2
import pytest
import typer
from typer.testing import CliRunner

from finecausal_cli.cli.options import add_command
from finecausal_cli.cli.research import simulate
from finecausal_cli.errors import UsageError


@pytest.fixture
def command() -> typer.Typer:
    app = typer.Typer()
    add_command(app, simulate)
    return app


def test_it_writes_the_dives_asked_for_and_prints_the_manifest(command, tmp_path: Path):
    out = tmp_path / "dives"
    result = CliRunner().invoke(
        command, [str(out), "--count", "1", "--seed", "3", "--dives", "107b, 5253B", "--preview"]
    )
    assert result.exit_code == 0, result.output
    assert result.stdout.strip() == str(out / "dives.csv")
    lines = (out / "dives.csv").read_text().splitlines()
    assert len(lines) == 2
    assert any(number in lines[1] for number in ("107B", "5253B"))
    sheet = cv2.imread(str(out / "preview.png"))
    assert sheet.shape == (256, 1920, 3)


def test_the_layout_of_finediving_is_written_on_request(command, tmp_path: Path):
    out = tmp_path / "dives"
    arguments = [str(out), "--count", "1", "--dives", "401B", "--height", "3", "--format", "finediving"]
    result = CliRunner().invoke(command, arguments)
    assert result.exit_code == 0, result.output
    assert result.stdout.strip() == str(out)
    assert (out / "Annotations" / "train_split.pkl").is_file()
    (clip,) = (out / "FineDiving" / "01").iterdir()
    record = json.loads((out / "meta" / "00000.json").read_text())
    assert len(list(clip.iterdir())) == record["frames"]


def test_an_unknown_format_is_an_error_of_usage(command, tmp_path: Path):
    result = CliRunner().invoke(command, [str(tmp_path / "out"), "--format", "coco"])
    assert result.exit_code == 2
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("given", "flags"),
    [
        ("--workers 2 --preview --format bodies --dives 107B", "--dives --format --workers --preview"),
        ("--height 3", "--height"),
        ("--failed --draw practice --varied-poses", "--draw --failed --varied-poses"),
        ("--world wild --venue-seed 1 --entry-seed 2", "--venue-seed --entry-seed --world"),
    ],
)
def test_options_of_dives_are_refused_beside_negatives(command, tmp_path: Path, given: str, flags: str):
    out = tmp_path / "out"
    result = CliRunner().invoke(command, [str(out), "--negatives", "screen", "--count", "1", *given.split()])
    assert isinstance(result.exception, UsageError)
    assert result.exception.where == flags
    assert not out.exists()


def test_a_wrong_dive_number_is_an_error_of_usage(command, tmp_path: Path):
    result = CliRunner().invoke(command, [str(tmp_path / "out"), "--dives", "907B"])
    assert result.exit_code != 0
    assert "group" in str(result.exception)
