"""``finecausal pretrain`` as a user meets it."""

from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "dataset"


@pytest.mark.thorough
def test_dives_are_simulated_and_a_trunk_is_taught(finecausal, tmp_path):
    done = finecausal("simulate", tmp_path / "dives", "--count", 8, "--dives", "101B", "--height", 1)
    assert done.returncode == 0, done.stderr
    taught = tmp_path / "taught"
    arguments = ("--cache", tmp_path / "cache", "--steps", 2, "--dives", 2, "--precision", "bf16")
    done = finecausal("pretrain", tmp_path / "dives", "-o", taught, *arguments)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{taught}\n"
    assert "training dives, " in done.stderr
    assert "foreground IoU 0." in done.stderr
    assert "flight   openness " in done.stderr
    done = finecausal("weights", "info", taught)
    assert done.returncode == 0, done.stderr
    assert "no scores yet" in done.stdout
    done = finecausal("pretrain", tmp_path / "dives", "-o", taught, *arguments)
    assert done.returncode == 1
    assert "already here" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["--counts", "crouch"], 2, "--counts: 'crouch' is not of the form crouch=3"),
        (["--preset", "huge"], 2, "--preset: no preset 'huge'"),
        (["--init", "nothing-here"], 1, "nothing-here"),
        ([], 1, "needs dives that finecausal simulate wrote"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(finecausal, tmp_path, arguments, code, says):
    done = finecausal("pretrain", EXAMPLES, "-o", tmp_path / "run", *arguments)
    assert done.returncode == code
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "run").exists()
