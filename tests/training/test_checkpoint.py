import hashlib
import io
import os
import pickle

import numpy as np
import pytest
import torch

from finecausal_cli.errors import OutputError, TrainingError
from finecausal_cli.training.checkpoint import FORMAT, Progress, load_checkpoint, save_checkpoint

resource = pytest.importorskip("resource")  # not on Windows

PROGRESS = Progress(epoch=3, batch=7, step=65, best=0.42)


@pytest.fixture
def state():
    torch.manual_seed(0)
    layer = torch.nn.Linear(8, 8)
    optimizer = torch.optim.AdamW(layer.parameters())
    layer(torch.randn(2, 8)).sum().backward()
    optimizer.step()
    return {"model": layer.state_dict(), "optimizer": optimizer.state_dict()}


@pytest.fixture
def path(tmp_path, state):
    save_checkpoint(tmp_path / "last.pt", state, PROGRESS)
    return tmp_path / "last.pt"


def refused(path, says):
    with pytest.raises(TrainingError) as caught:
        load_checkpoint(path)
    assert caught.value.where == str(path)
    assert says in caught.value.what


def test_what_is_saved_is_loaded_bit_for_bit(path, state):
    found, progress = load_checkpoint(path)
    assert progress == PROGRESS
    assert set(found) == {"model", "optimizer"}
    assert all(torch.equal(found["model"][name], tensor) for name, tensor in state["model"].items())
    for place, moments in state["optimizer"]["state"].items():
        assert all(torch.equal(found["optimizer"]["state"][place][name], each) for name, each in moments.items())


def test_a_run_without_a_validation_yet(tmp_path):
    save_checkpoint(tmp_path / "a.pt", {}, Progress())
    assert load_checkpoint(tmp_path / "a.pt") == ({}, Progress(0, 0, 0, None))


def test_a_checkpoint_of_another_version_says_so(path):
    content = torch.load(io.BytesIO(path.read_bytes()[32:]), weights_only=True)
    for older in (
        {**content, "format": FORMAT - 1},
        {name: part for name, part in content.items() if name != "format"},
    ):
        packed = io.BytesIO()
        torch.save(older, packed)
        path.write_bytes(hashlib.sha256(packed.getvalue()).digest() + packed.getvalue())
        refused(path, "a checkpoint of another version")


def test_an_absent_checkpoint_is_named(tmp_path):
    refused(tmp_path / "last.pt", "no checkpoint to resume")


@pytest.mark.parametrize("kept", [0, 1, 31, 32, 40, 500, -1])
def test_a_truncated_checkpoint_is_refused(path, kept):
    path.write_bytes(path.read_bytes()[:kept])
    refused(path, "a damaged checkpoint")


def test_a_flipped_bit_anywhere_is_refused(path):
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    for place in rng.integers(len(whole), size=60).tolist():
        damaged = bytearray(whole)
        damaged[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        refused(path, "a damaged checkpoint")


class _Malice:
    def __reduce__(self):
        return os.mkdir, ("harm",)


def test_a_foreign_pickle_runs_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "last.pt"
    path.write_bytes(pickle.dumps(_Malice()))
    refused(path, "a damaged checkpoint")
    save_checkpoint(path, {"model": _Malice()}, PROGRESS)  # with a digest that is right
    refused(path, "a damaged checkpoint")
    assert not (tmp_path / "harm").exists()


def test_a_disk_that_takes_no_more_leaves_the_old_checkpoint(path, state):
    before = path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(OutputError, match=r"last\.pt: the checkpoint cannot be written"):
            save_checkpoint(path, state, Progress())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == before


def test_a_checkpoint_that_calls_the_best_value_rho_is_read(path, state):
    content = torch.load(io.BytesIO(path.read_bytes()[32:]), weights_only=True)
    content["progress"]["best_rho"] = content["progress"].pop("best")
    packed = io.BytesIO()
    torch.save(content, packed)
    path.write_bytes(hashlib.sha256(packed.getvalue()).digest() + packed.getvalue())
    assert load_checkpoint(path)[1] == PROGRESS
