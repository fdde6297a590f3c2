from pathlib import Path

import pytest
import torch

from finecausal_cli.data import Dive
from finecausal_cli.errors import TrainingError, WeightsError
from finecausal_cli.model.config import ModelConfig
from finecausal_cli.model.finecausal import FineCausal
from finecausal_cli.training.run import config_of, describe_origin, init_model, locate_init
from finecausal_cli.weights.store import load_weights, save_weights


@pytest.fixture
def trained(tmp_path, config):
    torch.manual_seed(42)
    save_weights(tmp_path / "trained", FineCausal(config), {})
    return tmp_path / "trained"


def test_without_weights_the_seed_draws_them(config):
    one, two, other = (init_model(config, init=None, seed=seed)[0].state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert not torch.equal(one["regression.judge.0.weight"], other["regression.judge.0.weight"])


def test_weights_trained_before_are_taken_over_whole(trained, config):
    model, facts = init_model(config, init=str(trained), seed=5)
    expected = load_weights(trained)
    assert all(torch.equal(tensor, expected.model.state_dict()[name]) for name, tensor in model.state_dict().items())
    assert facts == {
        "from": "weights",
        "digest": expected.digest,
        "loaded": len(model.state_dict()),
        "skipped": [],
        "drawn": [],
    }
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_a_module_may_be_left_out_or_added(trained, config, tmp_path):
    _, without = init_model(config.model_copy(update={"gat": False}), init=str(trained), seed=5)
    assert (without["skipped"], without["drawn"]) == (["intervention"], [])
    save_weights(tmp_path / "bare", FineCausal(config.model_copy(update={"tca": False})), {})
    model, added = init_model(config, init=str(tmp_path / "bare"), seed=5)
    assert (added["skipped"], added["drawn"]) == ([], ["tca"])
    assert model.tca is not None


def test_weights_of_another_width_are_refused_by_name(trained, config):
    wider = config.model_copy(update={"width": 1 / 16})
    with pytest.raises(TrainingError, match=r"trained: weights of another network: .* and \d+ more do not fit"):
        init_model(wider, init=str(trained), seed=5)


def test_kinetics_weights_do_not_fit_a_narrow_network(tmp_path):
    config = ModelConfig(preset="compact", width=1 / 32, shared_trunk=True, frame_size=32)
    torch.save({"conv3d_1a_7x7.conv3d.weight": torch.zeros(64, 3, 7, 7, 7)}, tmp_path / "rgb.pth")
    with pytest.raises(WeightsError, match=r"rgb\.pth: missing tensor conv3d_1a_7x7\.batch3d\.weight"):
        init_model(config, init=f"kinetics:{tmp_path / 'rgb.pth'}", seed=5)


def test_where_to_start_is_found_from_every_folder(trained, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert locate_init("trained") == str(trained.resolve())
    assert locate_init("kinetics:rgb.pth") == f"kinetics:{(tmp_path / 'rgb.pth').resolve()}"
    assert Path(locate_init("compact")).name == "compact"
    with pytest.raises(WeightsError, match="no such weights"):
        locate_init("nowhere")


def test_the_network_of_weights_is_known_before_they_are_read(trained, config):
    assert config_of(str(trained)) == config
    assert config_of("kinetics:rgb.pth") is None
    assert isinstance(config_of("compact"), ModelConfig)


def test_a_trunk_alone_is_taken_over_and_the_rest_is_drawn(trained, config):
    named = locate_init(f"trunk:{trained}")
    assert config_of(named) == config
    model, facts = init_model(config, init=named, seed=3)
    theirs, fresh = load_weights(trained).model.state_dict(), init_model(config, init=None, seed=3)[0].state_dict()
    for name, tensor in model.state_dict().items():
        source = theirs if name.startswith(("video_trunk.", "parser.")) else fresh
        assert torch.equal(tensor, source[name]), name
    assert facts["from"] == "trunk"
    assert facts["drawn"] == ["intervention", "regression", "stages", "tca", "transition_parser"]


def test_weights_are_of_simulated_dives_where_every_dive_has_deductions():
    filmed = Dive("a", Path("a.mp4"), 60.0, 3.0)
    simulated = Dive("b", Path("b.mp4"), 60.0, 3.0, deductions=(0.5, 0.0, 1.0))
    assert describe_origin([simulated, simulated]) == "simulated"
    assert describe_origin([simulated, filmed]) == "both"
    assert describe_origin([filmed]) == "unknown"
