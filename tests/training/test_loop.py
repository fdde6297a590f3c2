import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from finecausal_cli.errors import TrainingError
from finecausal_cli.training.loop import LOG, LoopConfig, Trainer

CONFIG = LoopConfig(steps=30, lr=0.05, warmup=3, validate_every=10, checkpoint_every=10, average=0.9, weight_decay=0.0)
TRUE = torch.tensor([[2.0, -1.0, 0.5]])


class Line:
    """Learn a line through noise; a batch follows from its step."""

    def __init__(self, breaks_at=None):
        torch.manual_seed(0)
        self.network = nn.Sequential(nn.Linear(3, 1), nn.Dropout(0.1))
        self.breaks_at = breaks_at

    def batch(self, step):
        inputs = torch.from_numpy(np.random.default_rng(step).normal(size=(64, 3)).astype(np.float32))
        return inputs, inputs @ TRUE.T

    def loss(self, network, batch, device):
        inputs, wanted = (part.to(device) for part in batch)
        loss = (network(inputs) - wanted).square().mean()
        return loss, {"squared": float(loss.detach())}

    def validate(self, network, device):
        return {"error": float((network[0].weight - 0.9 * TRUE).abs().max())}  # a tenth of the outputs is dropped


class StopError(Exception):
    pass


def trained(tmp_path, name, config=CONFIG):
    trainer = Trainer(Line(), config, tmp_path / name, device="cpu")
    trainer.run()
    return trainer


def test_it_learns_and_logs_every_validation(tmp_path):
    trained(
        tmp_path, "run", LoopConfig(steps=300, lr=0.05, warmup=3, validate_every=100, average=0.9, weight_decay=0.0)
    )
    lines = [json.loads(line) for line in (tmp_path / "run" / LOG).read_text().splitlines()]
    assert [line["step"] for line in lines] == [100, 200, 300]
    assert lines[-1]["error"] < 0.08


def test_a_resumed_run_equals_one_that_was_never_stopped(tmp_path):
    whole = trained(tmp_path, "whole").averaged()

    def stop(step, figures):
        if step == 17:
            raise StopError

    with pytest.raises(StopError):
        Trainer(Line(), CONFIG, tmp_path / "parts", device="cpu").run(stop)
    again = Trainer(Line(), CONFIG, tmp_path / "parts", device="cpu")
    assert again.resume()
    assert again.progress.step == 10
    again.run()
    assert all(torch.equal(value, whole[name]) for name, value in again.averaged().items())


def test_a_folder_without_a_run_is_not_resumed(tmp_path):
    assert not Trainer(Line(), CONFIG, tmp_path / "none", device="cpu").resume()


def test_other_settings_are_refused_by_name(tmp_path):
    trained(tmp_path, "run")
    other = replace(CONFIG, lr=0.01)
    with pytest.raises(TrainingError, match=r"another .*lr"):
        Trainer(Line(), other, tmp_path / "run", device="cpu").resume()


def test_a_loss_that_is_no_number_stops_the_run_in_one_line(tmp_path):
    task = Line()
    task.loss = lambda network, batch, device: (network(batch[0]).sum() * float("nan"), {})
    with pytest.raises(TrainingError, match="the loss is nan"):
        Trainer(task, CONFIG, tmp_path / "run", device="cpu").run()


def test_the_backbone_learns_at_its_own_rate(tmp_path):
    class Parts(Line):
        def __init__(self):
            super().__init__()
            self.network = nn.ModuleDict({"backbone": nn.Linear(3, 3), "head": nn.Linear(3, 1)})

    trainer = Trainer(Parts(), LoopConfig(lr=0.1, backbone_lr=0.2, warmup=1), tmp_path, device="cpu")
    assert [group["initial_lr"] for group in trainer.optimizer.param_groups] == [pytest.approx(0.02), 0.1]
