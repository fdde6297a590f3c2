"""``finecausal train`` as a user meets it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

DATASET = Path(__file__).resolve().parents[2] / "examples" / "dataset"


@pytest.mark.parametrize(
    ("command", "options"),
    [
        ("train", ("--groups-per-batch", "--no-stage-supervision", "--freeze-batchnorm", "--init", "--track")),
        ("pretrain", ("--two-trunks", "--at-takeoff", "--counts", "--geometry", "--save-every")),
    ],
)
def test_help_names_every_option_in_full_at_80_columns(command, options):
    """In a process of its own: typer reads the width of the terminal once, when it is imported."""
    done = subprocess.run(
        [sys.executable, "-m", "finecausal_cli", command, "--help"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "COLUMNS": "80"},
    )
    assert done.returncode == 0
    assert "…" not in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80
    for option in options:
        assert f" {option} " in done.stdout


@pytest.mark.thorough
def test_an_epoch_of_the_example_dataset(finecausal, tmp_path):
    """Fine-tuning, which keeps what the weights know, with the options that change the network."""
    done = finecausal(
        "train", DATASET, "--epochs", 1, "-o", tmp_path / "run", "--cache", tmp_path / "cache", "--init", "compact",
        "--ablate", "tca", "--freeze-backbone", "--ema", 0.9, "--accumulate", 2,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{tmp_path / 'run' / 'best'}\n"
    assert "4 training dives, 2 validation dives, 1 steps" in done.stderr
    assert "clip cache: 6 clips" in done.stderr
    assert "waited for data" in done.stderr
    run = json.loads((tmp_path / "run" / "run.json").read_text())
    assert run["config"]["tca"] is False
    assert run["config"]["width"] == 0.25  # that of the weights
    assert run["init"]["skipped"] == ["recogniser", "tca"]
    assert run["options"]["backbone_lr"] == 1e-4
    assert (run["options"]["ema"], run["options"]["accumulate"]) == (0.9, 2)
    assert "--freeze-backbone" in run["command"]


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["--accumulate", 3], 2, "--accumulate: 3 parts of a batch of 2 groups"),
        (
            ["--precision", "bf16", "--device", "cpu", "--epochs", 1, "--preset", "finecausal"],
            1,
            "--precision: bf16 gradients are wrong on a CPU",
        ),
        (["--init", f"kinetics:{DATASET / 'dives.csv'}", "--preset", "finecausal"], 1, "dives.csv: refused"),
        (["--split", "events"], 1, "dives are of one event"),
    ],
)
def test_what_cannot_be_is_one_line_and_leaves_nothing(finecausal, tmp_path, arguments, code, says):
    done = finecausal("train", DATASET, "-o", tmp_path / "run", "--cache", tmp_path / "cache", *arguments)
    assert (done.returncode, done.stdout) == (code, "")
    assert says in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "run").exists()


@pytest.mark.thorough
def test_a_run_is_resumed_with_more_epochs_and_refuses_what_may_not_change(finecausal, tmp_path):
    folder = tmp_path / "run"
    arguments = (
        "train",
        DATASET,
        "-o",
        folder,
        "--cache",
        tmp_path / "cache",
        "--init",
        "compact",
        "--freeze-backbone",
    )
    assert finecausal(*arguments, "--epochs", 1).returncode == 0
    for flags, says in (
        (("--lr", "0.01"), "--lr: the run was started with 0.001, not with 0.01"),
        (("--seed", "3"), "--seed: the run was started with 0, not with 3"),
        (("--ablate", "tca"), "--ablate: the run was started with tca True, not False"),
        (("--preset", "finecausal"), "--preset: the run was started with preset compact, not finecausal"),
    ):
        done = finecausal(*arguments, "--resume", *flags)
        assert (done.returncode, done.stdout) == (2, "")
        assert says in done.stderr
        assert done.stderr.count("\n") == 1
    ended = finecausal(*arguments, "--resume")
    assert ended.returncode == 0
    assert "note: the run has ended: --epochs or --patience lets it go on" in ended.stderr
    more = finecausal(*arguments, "--resume", "--epochs", 2, "--patience", 5, "--workers", 0)
    assert (more.returncode, more.stdout) == (0, f"{folder / 'best'}\n")
    assert "the run has ended" not in more.stderr
    options = json.loads((folder / "run.json").read_text())["options"]
    assert (options["epochs"], options["patience"]) == (2, 5)
    assert [json.loads(line)["epoch"] for line in (folder / "log.jsonl").read_text().splitlines()][-1] == 2
