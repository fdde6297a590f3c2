import json

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from finecausal_cli.cli.assets import weights_app
from finecausal_cli.errors import WeightsError
from finecausal_cli.model import FineCausal, ModelConfig
from finecausal_cli.weights import StoredInterval, WeightsInfo
from finecausal_cli.weights import hub as registry
from finecausal_cli.weights.store import load_weights, save_weights


@pytest.fixture(scope="module")
def shelf(tmp_path_factory):
    site = tmp_path_factory.mktemp("site")
    torch.manual_seed(0)
    info = WeightsInfo(
        note="trained on [bold]simulated[/bold] dives",
        interval=StoredInterval(level=0.9, execution_half_width=1.25),
        training={"dives": 300},
    )
    config = ModelConfig(preset="compact", width=1 / 16, frame_size=32)
    save_weights(site / "weights" / "tiny", FineCausal(config), info.facts())
    return site


@pytest.fixture
def call(shelf, monkeypatch):
    monkeypatch.setattr(registry, "_PACKAGE", shelf / "finecausal_cli")
    monkeypatch.setenv("COLUMNS", "80")

    def invoke(*arguments):
        return CliRunner().invoke(weights_app, [str(argument) for argument in arguments])

    return invoke


def test_lists_what_is_bundled(call):
    result = call("list")
    assert result.exit_code == 0
    (line,) = (line for line in result.stdout.splitlines() if line.startswith("tiny"))
    assert line.split()[1:4] == ["compact", "64", "32"]
    assert "[bold]" in result.stdout, "text from outside is shown, not obeyed"


def test_info_says_what_weights_know(call, shelf):
    result = call("info", "tiny")
    facts = dict(line.split(None, 1) for line in result.stdout.splitlines())
    assert facts["note"] == "trained on [bold]simulated[/bold] dives"
    assert facts["interval"] == "execution +/- 1.25 at 90%"
    assert facts["dives"] == "300"
    assert facts["digest"] == load_weights(shelf / "weights" / "tiny").digest
    stored = json.loads(call("info", "tiny", "--json").stdout)
    assert stored["model"]["width"] == 1 / 16


def test_verify_reads_everything(call, shelf, tmp_path):
    result = call("verify", "tiny")
    assert result.exit_code == 0
    assert "complete" in result.stdout
    copy = tmp_path / "copy"
    copy.mkdir()
    for file in (shelf / "weights" / "tiny").iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    shard = next(copy.glob("*.safetensors"))
    shard.write_bytes(shard.read_bytes()[:-1])
    refused = call("verify", copy)
    assert isinstance(refused.exception, WeightsError)
    assert "damaged" in str(refused.exception)


def test_convert_refuses_a_checkpoint_that_lacks_tensors(call, tmp_path):
    torch.save({"rho_best": np.float64(0.9), "awl": {"params": torch.ones(3)}}, tmp_path / "part.pth")
    refused = call("convert", tmp_path / "part.pth", tmp_path / "out")
    assert isinstance(refused.exception, WeightsError)
    assert "missing tensor base_model." in str(refused.exception)
    assert not (tmp_path / "out").exists()
