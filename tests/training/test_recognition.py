import numpy as np
import pytest
import torch

from finecausal_cli.data.batch import normalise
from finecausal_cli.data.cache import ClipArrays
from finecausal_cli.diving import parse_dive_number
from finecausal_cli.errors import TrainingError
from finecausal_cli.model.config import ModelConfig
from finecausal_cli.model.finecausal import FineCausal
from finecausal_cli.model.frame_encoder import log_probs
from finecausal_cli.training import ClassifierOptions, build_config
from finecausal_cli.training import dive_classifier as recognition
from finecausal_cli.training.dive_classifier import train_dive_classifier
from finecausal_cli.training.run import init_model
from finecausal_cli.weights import WeightsInfo
from finecausal_cli.weights.store import load_weights, save_weights

CPU = torch.device("cpu")
CONFIG = ModelConfig(
    preset="compact", trunk="frames", width=1 / 16, shared_trunk=True, foreground="top_down", frame_size=32
)
NUMBERS = ("107B", "205C", "5253B")


def clip_of(place, seed):
    """A clip whose number shows in how often it grows bright."""
    times = np.sin(np.linspace(0, 2 * np.pi * (1 + 2 * place), 96))
    noise = np.random.default_rng(seed).integers(0, 30, (96, 36, 36, 3))
    return ClipArrays((100 + 80 * times[:, None, None, None] + noise).astype(np.uint8), None, (30, 70))


class Clips:
    """Stands for the clip cache."""

    def __init__(self, folder, *, geometry, frame_size):
        self.frame_size = frame_size

    def load(self, dive):
        return clip_of(NUMBERS.index(dive.number), int(dive.key.partition(".")[0]))


@pytest.fixture
def trained(tmp_path):
    torch.manual_seed(0)
    save_weights(tmp_path / "trained", FineCausal(CONFIG), {"note": "for a test", "training": {"epoch": 3}})
    return tmp_path / "trained"


@pytest.fixture
def dives(tmp_path, monkeypatch):
    folder = tmp_path / "dives"
    folder.mkdir()
    rows = ["video,score,difficulty,dive,split"]
    for index in range(24):
        (folder / f"{index}.mp4").touch()
        number = NUMBERS[index % 3] if index < 21 else ""
        rows.append(f"{index}.mp4,60,3.0,{number},{'val' if index % 5 == 4 else 'train'}")
    (folder / "dives.csv").write_text("\n".join(rows) + "\n")
    monkeypatch.setattr(recognition, "ClipCache", Clips)
    return folder


@pytest.mark.thorough
def test_numbers_are_recognised_and_scores_stay_as_they_are(trained, dives, tmp_path):
    counted = []
    found = train_dive_classifier(
        trained, dives, tmp_path / "out", cache=None, device=CPU, options=ClassifierOptions(steps=60),
        total=counted.append, advance=lambda: counted.append(1),
    )  # fmt: skip
    assert counted[0] == sum(counted[1:]) == 21 + 60
    assert found.dives == 4
    assert (found.top1, found.top3) == (1.0, 1.0)
    assert 1 / 3 < found.confidence <= 1
    before, after = load_weights(trained), load_weights(tmp_path / "out")
    assert after.config == before.config.model_copy(update={"recognises": True})
    for name, tensor in before.model.state_dict().items():
        assert torch.equal(after.model.state_dict()[name], tensor)
    info = WeightsInfo.read(after.info, tmp_path / "out")
    assert info.training["epoch"] == 3
    assert info.training["recognition"]["right"] == 1.0
    clip = normalise(clip_of(2, 99).frames[:, 2:34, 2:34])[None]
    with torch.inference_mode():
        opinions = after.model.encode(clip).number_logits
    assert log_probs(opinions, [parse_dive_number(number) for number in NUMBERS]).argmax().item() == 2


def test_the_same_seed_teaches_the_same_and_a_second_time_begins_anew(trained, dives, tmp_path):
    for name, weights in (("one", trained), ("two", trained), ("again", tmp_path / "one")):
        train_dive_classifier(
            weights, dives, tmp_path / name, cache=None, device=CPU, options=ClassifierOptions(steps=3)
        )
    one, two, again = (load_weights(tmp_path / name).digest for name in ("one", "two", "again"))
    assert one == two == again


def test_training_goes_on_without_it_for_it_knows_the_trunk_as_it_was(trained, dives, tmp_path):
    train_dive_classifier(trained, dives, tmp_path / "out", cache=None, device=CPU, options=ClassifierOptions(steps=2))
    config = build_config("compact", base=load_weights(tmp_path / "out").config)
    assert not config.recognises
    model, begun = init_model(config, init=str(tmp_path / "out"), seed=0)
    assert model.recogniser is None
    assert begun["skipped"] == ["recogniser"]


def test_other_trunks_and_dives_without_numbers_are_refused(trained, dives, tmp_path):
    save_weights(tmp_path / "i3d", FineCausal(ModelConfig(width=1 / 32, shared_trunk=True, frame_size=32)), {})
    with pytest.raises(TrainingError, match="reads no single frames"):
        train_dive_classifier(tmp_path / "i3d", dives, tmp_path / "out", cache=None, device=CPU)
    rows = (dives / "dives.csv").read_text()
    for number in NUMBERS:
        rows = rows.replace(number, "")
    (dives / "dives.csv").write_text(rows)
    with pytest.raises(TrainingError, match="0 training and 0 validation dives with a number"):
        train_dive_classifier(trained, dives, tmp_path / "out", cache=None, device=CPU)
    assert not (tmp_path / "out").exists()
