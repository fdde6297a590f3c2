import json
import shutil

import pytest
import torch

from finecausal_cli.errors import DatasetError, TrainingError, VideoError
from finecausal_cli.model.config import ModelConfig
from finecausal_cli.model.finecausal import FineCausal
from finecausal_cli.training.checkpoint import LOG_NAME, PRETRAINING_NAME, RUN_NAME, load_checkpoint
from finecausal_cli.training.motion_pretraining import CHECKPOINT_NAME, pretrain
from finecausal_cli.training.run import init_model
from finecausal_cli.training.trainer import Callbacks
from finecausal_cli.weights import WeightsInfo
from finecausal_cli.weights.store import load_weights

CPU = torch.device("cpu")


class PulledPlugError(Exception):
    """Somebody pulled the plug."""


@pytest.fixture(scope="session")
def start(simulated, config, make_options, tmp_path_factory):
    cache = tmp_path_factory.mktemp("clips")

    def call(folder, *, resume=False, stop_after=None, net=config, dataset=simulated, callbacks=None, **given):
        def stop(progress, _):
            if progress.step == stop_after:
                raise PulledPlugError

        return pretrain(
            dataset,
            folder,
            config=net,
            options=make_options(**given),
            cache=cache,
            device=CPU,
            resume=resume,
            callbacks=callbacks or Callbacks(step=stop),
        )

    return call


@pytest.fixture(scope="session")
def finished(start, tmp_path_factory):
    """A run of the usual options, to look at; who changes it takes a copy."""
    return start(tmp_path_factory.mktemp("finished") / "run")


@pytest.fixture(scope="session")
def first(start, tmp_path_factory):
    """A run that others may go on from."""
    return start(tmp_path_factory.mktemp("first") / "run", seed=1)


def state_of(folder):
    return load_weights(folder).model.state_dict()


def test_a_backbone_learns_what_it_is_shown(start, tmp_path):
    told, found = [], []
    callbacks = Callbacks(step=lambda _, losses: told.append(losses), validated=found.append)
    start(tmp_path / "run", steps=40, save_every=40, dives=4, lr=1e-2, callbacks=callbacks)
    assert [*told[0]] == ["total", "gradient", "motion", "stage", "seen", "seen_by_frame", "foreground"]
    early, late = ({name: sum(one[name] for one in part) for name in told[0]} for part in (told[:5], told[-5:]))
    assert late["stage"] < 0.8 * early["stage"]
    assert late["foreground"] < 0.8 * early["foreground"]
    assert len(found) == 1


def test_its_weights_are_loaded_as_a_backbone(finished):
    loaded = load_weights(finished)
    info = WeightsInfo.read(loaded.info, finished)
    assert "no scores yet" in info.note
    assert info.training["step"] == 4
    assert info.training["understood"].keys() >= {"stage", "foreground_iou", "splash"}
    model, begun = init_model(loaded.config, init=f"trunk:{finished}", seed=9)
    for name, tensor in model.state_dict().items():
        if name.startswith(("video_trunk", "parser")):
            torch.testing.assert_close(tensor, loaded.model.state_dict()[name], atol=0, rtol=0)
    assert begun["from"] == "trunk"
    assert not {"video_trunk", "parser"} & set(begun["drawn"])


def test_only_backbone_and_foreground_are_trained(finished, config):
    torch.manual_seed(5)
    before = FineCausal(config).state_dict()
    after = state_of(finished)
    changed = {name for name, tensor in after.items() if not torch.equal(tensor, before[name])}
    assert changed
    assert all(name.startswith(("video_trunk", "parser.heads")) for name in changed)
    assert "video_trunk.stem.0.weight" in changed


@pytest.mark.parametrize("workers", [0, 1])
def test_a_run_that_was_stopped_and_resumed_equals_one_that_was_not(start, finished, tmp_path, workers):
    with pytest.raises(PulledPlugError):
        start(tmp_path / "part", stop_after=3, workers=workers)
    _, progress = load_checkpoint(tmp_path / "part" / CHECKPOINT_NAME)
    assert progress.step == 2
    part = start(tmp_path / "part", resume=True, steps=99)  # the run's own options count
    log = [json.loads(line) for line in (part / LOG_NAME).read_text().splitlines()]
    assert [line["step"] for line in log] == [2, 4]
    assert (part / LOG_NAME).read_text() == (finished / LOG_NAME).read_text()
    assert {name: tensor.tolist() for name, tensor in state_of(part).items()} == {
        name: tensor.tolist() for name, tensor in state_of(finished).items()
    }


def test_one_that_was_stopped_before_its_first_checkpoint_begins_again(start, first, tmp_path):
    whole = start(tmp_path / "whole", init=f"trunk:{first}")
    with pytest.raises(PulledPlugError):
        start(tmp_path / "part", init=f"trunk:{first}", stop_after=1)
    part = start(tmp_path / "part", resume=True)
    assert torch.equal(state_of(part)["video_trunk.stem.0.weight"], state_of(whole)["video_trunk.stem.0.weight"])


def test_a_resumed_run_no_longer_needs_what_it_began_with(start, first, tmp_path):
    begun_with = shutil.copytree(first, tmp_path / "first")
    with pytest.raises(PulledPlugError):
        start(tmp_path / "part", init=f"trunk:{begun_with}", stop_after=3)
    shutil.rmtree(begun_with)
    assert start(tmp_path / "part", resume=True) == tmp_path / "part"


def test_two_backbones_are_both_trained(start, config, tmp_path):
    two = config.model_copy(update={"shared_trunk": False})
    torch.manual_seed(5)
    before = FineCausal(two).state_dict()
    after = state_of(start(tmp_path / "run", net=two))
    for name in ("video_trunk.stem.0.weight", "parser.trunk.stem.0.weight", "parser.heads.draw.0.weight"):
        assert not torch.equal(after[name], before[name])
    first = "stem.0.weight"
    assert not torch.equal(after[f"video_trunk.{first}"], after[f"parser.trunk.{first}"])


def test_nothing_is_overwritten(start, finished, tmp_path):
    folder = shutil.copytree(finished, tmp_path / "run")
    with pytest.raises(TrainingError, match=r"a run is already here.*--resume"):
        start(folder)
    (folder / PRETRAINING_NAME).unlink()
    with pytest.raises(TrainingError, match=r"weights are already here \(name another folder\)"):
        start(folder)
    with pytest.raises(TrainingError, match="no run to resume"):
        start(folder, resume=True)
    (tmp_path / "trained").mkdir()
    (tmp_path / "trained" / RUN_NAME).write_text("{}")
    with pytest.raises(TrainingError, match="a run is already here"):
        start(tmp_path / "trained")


def test_a_run_that_could_not_begin_may_be_begun_again(start, simulated, tmp_path):
    """Every clip is read before the run is written down, those that are only looked at in the end too."""
    broken = tmp_path / "broken"
    shutil.copytree(simulated, broken)
    video = broken / "videos" / "00007.mp4"
    whole = video.read_bytes()
    video.write_bytes(b"no video")
    with pytest.raises(VideoError, match=r"00007\.mp4"):
        start(tmp_path / "run", dataset=broken)
    assert not (tmp_path / "run").exists()
    video.write_bytes(whole)
    assert start(tmp_path / "run", dataset=broken) == tmp_path / "run"


def test_a_run_that_goes_on_from_another_does_not_see_its_snippets_again(start, tmp_path):
    first = start(tmp_path / "first", steps=1)
    losses = []
    callbacks = Callbacks(step=lambda _, found: losses.append(found["stage"]))
    start(tmp_path / "again", steps=1, lr=1e-12, init=f"trunk:{first}", callbacks=callbacks)
    start(tmp_path / "once more", steps=1, lr=1e-12, init=f"trunk:{tmp_path / 'again'}", callbacks=callbacks)
    assert losses[0] != losses[1]  # the same trunk, but for nothing


def test_other_dives_are_refused_and_damage_is_named(start, finished, simulated, tmp_path):
    folder = shutil.copytree(finished, tmp_path / "run")
    other = tmp_path / "other"
    shutil.copytree(simulated, other)
    rows = (other / "dives.csv").read_text().splitlines()
    (other / "dives.csv").write_text("\n".join(rows[:-1]) + "\n")
    with pytest.raises(TrainingError, match="other dives"):
        start(folder, resume=True, dataset=other)
    run = json.loads((folder / PRETRAINING_NAME).read_text())
    (folder / PRETRAINING_NAME).write_text(json.dumps({**run, "options": {"steps": "many"}}))
    with pytest.raises(TrainingError, match="damaged run description"):
        start(folder, resume=True)


def test_a_network_of_another_kind_is_refused(start, first, config, tmp_path):
    with pytest.raises(TrainingError, match=r"weights of another network: parser\."):
        start(tmp_path / "run", net=config.model_copy(update={"shared_trunk": False}), init=f"trunk:{first}")
    i3d = ModelConfig(preset="compact", width=1 / 32, shared_trunk=True, frame_size=32)
    with pytest.raises(TrainingError, match="bf16 gradients are wrong"):
        start(tmp_path / "i3d", net=i3d, precision="bf16")
    assert not (tmp_path / "run").exists()
    assert not (tmp_path / "i3d").exists()


def test_dives_that_were_filmed_are_refused(start, simulated, tmp_path):
    filmed = tmp_path / "filmed"
    shutil.copytree(simulated, filmed, ignore=shutil.ignore_patterns("tracks"))
    with pytest.raises(DatasetError, match="finecausal simulate"):
        start(tmp_path / "run", dataset=filmed)
    assert not (tmp_path / "run").exists()


def test_several_processes_do_not_write_over_each_other(start, tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(TrainingError, match="without torchrun"):
        start(tmp_path / "run")


def test_a_loss_that_is_not_finite_stops_the_run(start, tmp_path):
    with pytest.raises(TrainingError, match=r"the loss is .* at step .*--lr"):
        start(tmp_path / "run", lr=1e12, steps=300)


@pytest.mark.gpu
def test_on_a_gpu_a_run_is_stopped_and_goes_on(simulated, config, make_options, tmp_path):
    cuda = torch.device("cuda")
    given = {"config": config, "cache": tmp_path / "cache", "device": cuda}

    def stop(progress, _):
        if progress.step == 3:
            raise PulledPlugError

    options = make_options(precision="bf16", workers=1)
    with pytest.raises(PulledPlugError):
        pretrain(simulated, tmp_path / "run", options=options, callbacks=Callbacks(step=stop), **given)
    losses = []
    callbacks = Callbacks(step=lambda progress, found: losses.append((progress.step, found["total"])))
    pretrain(simulated, tmp_path / "run", options=options, resume=True, callbacks=callbacks, **given)
    assert [done for done, _ in losses] == [3, 4]
    assert all(0 < loss < 100 for _, loss in losses)
