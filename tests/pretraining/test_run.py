import json
import shutil

import pytest
import torch

from finecausal_cli.errors import DatasetError, TrainingError
from finecausal_cli.model.config import ModelConfig
from finecausal_cli.model.finecausal import FineCausal
from finecausal_cli.pretraining.run import CHECKPOINT_NAME, RUN_NAME, Watch, pretrain
from finecausal_cli.training.begin import begin
from finecausal_cli.training.checkpoint import load_checkpoint
from finecausal_cli.training.log import LOG_NAME
from finecausal_cli.training.options import TrainOptions
from finecausal_cli.weights.info import WeightsInfo
from finecausal_cli.weights.store import load_weights

CPU = torch.device("cpu")


class PulledPlugError(Exception):
    """Somebody pulled the plug."""


@pytest.fixture(scope="session")
def teach(simulated, config, make_options, tmp_path_factory):
    cache = tmp_path_factory.mktemp("clips")

    def call(folder, *, resume=False, stop_after=None, net=config, dataset=simulated, watch=None, **given):
        def stop(done, _):
            if done == stop_after:
                raise PulledPlugError

        return pretrain(
            dataset,
            folder,
            config=net,
            options=make_options(**given),
            cache=cache,
            device=CPU,
            resume=resume,
            watch=watch or Watch(step=stop),
        )

    return call


def state_of(folder):
    return load_weights(folder).model.state_dict()


def test_a_trunk_learns_what_it_is_shown(teach, tmp_path):
    told, found = [], []
    watch = Watch(step=lambda _, losses: told.append(losses), examined=found.append)
    teach(tmp_path / "run", steps=30, save_every=30, dives=4, lr=1e-2, watch=watch)
    assert [*told[0]] == ["motion", "stage", "seen", "seen_by_frame", "foreground"]
    early, late = ({name: sum(one[name] for one in part) for name in told[0]} for part in (told[:5], told[-5:]))
    assert late["stage"] < 0.8 * early["stage"]
    assert late["foreground"] < 0.8 * early["foreground"]
    assert len(found) == 1


def test_its_weights_are_taken_as_a_trunk(teach, tmp_path):
    folder = teach(tmp_path / "run")
    loaded = load_weights(folder)
    info = WeightsInfo.read(loaded.info, folder)
    assert "no scores yet" in info.note
    assert info.training["step"] == 4
    assert info.training["understood"].keys() >= {"stage", "foreground_iou", "splash"}
    model, begun = begin(loaded.config, TrainOptions(init=f"trunk:{folder}", seed=9))
    for name, tensor in model.state_dict().items():
        if name.startswith(("video_trunk", "parser")):
            torch.testing.assert_close(tensor, loaded.model.state_dict()[name], atol=0, rtol=0)
    assert begun["from"] != "random"


def test_only_trunk_and_foreground_are_taught(teach, config, tmp_path):
    torch.manual_seed(5)
    before = FineCausal(config).state_dict()
    after = state_of(teach(tmp_path / "run"))
    changed = {name for name, tensor in after.items() if not torch.equal(tensor, before[name])}
    assert changed
    assert all(name.startswith(("video_trunk", "parser.heads")) for name in changed)
    assert "video_trunk.stem.0.weight" in changed


@pytest.mark.parametrize("workers", [0, 1])
def test_a_run_that_was_stopped_and_resumed_equals_one_that_was_not(teach, tmp_path, workers):
    whole = teach(tmp_path / "whole")
    with pytest.raises(PulledPlugError):
        teach(tmp_path / "part", stop_after=3, workers=workers)
    _, progress = load_checkpoint(tmp_path / "part" / CHECKPOINT_NAME)
    assert progress.step == 2
    part = teach(tmp_path / "part", resume=True, steps=99)  # the run's own options count
    log = [json.loads(line) for line in (part / LOG_NAME).read_text().splitlines()]
    assert [line["step"] for line in log] == [2, 4]
    assert (part / LOG_NAME).read_text() == (whole / LOG_NAME).read_text()
    assert {name: tensor.tolist() for name, tensor in state_of(part).items()} == {
        name: tensor.tolist() for name, tensor in state_of(whole).items()
    }


def test_one_that_was_stopped_before_its_first_checkpoint_begins_again(teach, tmp_path):
    first = teach(tmp_path / "first", seed=1)
    whole = teach(tmp_path / "whole", init=str(first))
    with pytest.raises(PulledPlugError):
        teach(tmp_path / "part", init=str(first), stop_after=1)
    part = teach(tmp_path / "part", resume=True)
    assert torch.equal(state_of(part)["video_trunk.stem.0.weight"], state_of(whole)["video_trunk.stem.0.weight"])


def test_a_resumed_run_no_longer_needs_what_it_began_with(teach, tmp_path):
    first = teach(tmp_path / "first", seed=1)
    with pytest.raises(PulledPlugError):
        teach(tmp_path / "part", init=str(first), stop_after=3)
    shutil.rmtree(first)
    assert teach(tmp_path / "part", resume=True) == tmp_path / "part"


def test_two_trunks_are_taught_both(teach, config, tmp_path):
    two = config.model_copy(update={"shared_trunk": False})
    torch.manual_seed(5)
    before = FineCausal(two).state_dict()
    after = state_of(teach(tmp_path / "run", net=two))
    for name in ("video_trunk.stem.0.weight", "parser.trunk.stem.0.weight", "parser.heads.draw.0.weight"):
        assert not torch.equal(after[name], before[name])
    first = "stem.0.weight"
    assert not torch.equal(after[f"video_trunk.{first}"], after[f"parser.trunk.{first}"])


def test_nothing_is_overwritten(teach, tmp_path):
    folder = teach(tmp_path / "run")
    for _ in range(2):
        with pytest.raises(TrainingError, match=r"already here.*--resume"):
            teach(folder)
        (folder / RUN_NAME).unlink(missing_ok=True)  # weights alone are kept too
    with pytest.raises(TrainingError, match="no run to resume"):
        teach(folder, resume=True)


def test_other_dives_are_refused_and_damage_is_named(teach, simulated, tmp_path):
    folder = teach(tmp_path / "run")
    other = tmp_path / "other"
    shutil.copytree(simulated, other)
    rows = (other / "dives.csv").read_text().splitlines()
    (other / "dives.csv").write_text("\n".join(rows[:-1]) + "\n")
    with pytest.raises(TrainingError, match="other dives"):
        teach(folder, resume=True, dataset=other)
    run = json.loads((folder / RUN_NAME).read_text())
    (folder / RUN_NAME).write_text(json.dumps({**run, "options": {"steps": "many"}}))
    with pytest.raises(TrainingError, match="damaged run description"):
        teach(folder, resume=True)


def test_a_network_of_another_kind_is_refused(teach, config, tmp_path):
    first = teach(tmp_path / "first", steps=1, save_every=1)
    with pytest.raises(TrainingError, match="trunks of another kind"):
        teach(tmp_path / "run", net=config.model_copy(update={"shared_trunk": False}), init=str(first))
    i3d = ModelConfig(preset="compact", width=1 / 32, shared_trunk=True, frame_size=32)
    with pytest.raises(TrainingError, match="bf16 gradients are wrong"):
        teach(tmp_path / "i3d", net=i3d, precision="bf16")
    assert not (tmp_path / "run").exists()
    assert not (tmp_path / "i3d").exists()


def test_dives_that_were_filmed_are_refused(teach, simulated, tmp_path):
    filmed = tmp_path / "filmed"
    shutil.copytree(simulated, filmed, ignore=shutil.ignore_patterns("tracks"))
    with pytest.raises(DatasetError, match="finecausal simulate"):
        teach(tmp_path / "run", dataset=filmed)
    assert not (tmp_path / "run").exists()


def test_several_processes_do_not_write_over_each_other(teach, tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(TrainingError, match="without torchrun"):
        teach(tmp_path / "run")


def test_a_loss_that_is_not_finite_stops_the_run(teach, tmp_path):
    with pytest.raises(TrainingError, match=r"the loss is .* at step .*--lr"):
        teach(tmp_path / "run", lr=1e12, steps=300)
