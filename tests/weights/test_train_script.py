"""``weights/train.sh``: everything from simulated dives to weights, at toy size."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from finecausal_cli.retrieval.bank import load_bank
from finecausal_cli.simulator.dataset import write_dataset
from finecausal_cli.weights import WeightsInfo
from finecausal_cli.weights.store import load_weights

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_from_dives_to_weights_in_one_command_that_may_be_said_again(tmp_path):
    data = tmp_path / "data"
    for part, count, seed in (("train", 24, 1), ("test", 6, 2), ("calibration", 12, 3)):
        write_dataset(data / part, count, seed, dives=["101B", "403B"])
    facts = {
        "DATA": data, "CACHE": tmp_path / "cache", "STEPS": 2, "EPOCHS": 2, "VIEWS": 2, "NUMBERS": 9,
        "OMP_NUM_THREADS": 1, "PYTHON": sys.executable,
    }  # fmt: skip

    def train():
        return subprocess.run(
            [ROOT / "weights" / "train.sh", tmp_path / "out"],
            env={**os.environ, **{name: str(value) for name, value in facts.items()}},
            capture_output=True,
            text=True,
            check=False,
        )

    done = train()
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "out" / "weights"
    loaded = load_weights(folder)
    info = WeightsInfo.read(loaded.info, folder)
    assert info.interval is not None
    assert loaded.config.recognises
    assert "simulated dives only" in info.note
    assert {one.dive for one in load_bank(folder / "bank", weights_digest=loaded.digest).exemplars} == {
        "101B",
        "403B",
    }
    assert (folder / "heldout.json").exists()
    assert (folder / "self_test.json").exists()
    assert "verdict whole" in done.stdout
    again = train()
    assert again.returncode == 0, again.stderr
    assert load_weights(folder).digest == loaded.digest
