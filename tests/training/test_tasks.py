import json
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from finecausal_cli.errors import TrainingError
from finecausal_cli.training.checkpoint import LOG_NAME
from finecausal_cli.training.trainer import Callbacks, Task, Trainer, TrainerConfig, linear_cosine, start_accelerator

CONFIG = TrainerConfig(steps=30, lr=0.05, validate_every=10, checkpoint_every=10, ema=0.9, weight_decay=0.0)
TRUE = torch.tensor([[2.0, -1.0, 0.5]])


class Line(Task):
    """Learn a line through noise; a batch follows from its step."""

    def __init__(self):
        torch.manual_seed(0)
        self.network = nn.Sequential(nn.Linear(3, 1), nn.Dropout(0.1))

    def batch(self, step):
        inputs = torch.from_numpy(np.random.default_rng(step).normal(size=(64, 3)).astype(np.float32))
        return inputs, inputs @ TRUE.T

    def loss(self, network, batch, device):
        inputs, wanted = (part.to(device) for part in batch)
        loss = (network(inputs) - wanted).square().mean()
        return loss, {"squared": loss}

    def lr_factor(self, step, steps):
        return linear_cosine(step, steps, 3)

    def validate(self, network, device, *, is_last, held_out):
        return {"error": float((network[0].weight - 0.9 * TRUE).abs().max())}  # a tenth of the outputs is dropped


class StopError(Exception):
    pass


def trainer_in(folder, config=CONFIG, task=None):
    folder.mkdir(exist_ok=True)
    return Trainer(task or Line(), config, start_accelerator(torch.device("cpu")), folder)


def trained(folder, config=CONFIG):
    trainer = trainer_in(folder, config)
    trainer.fit()
    return trainer


def test_it_learns_and_logs_every_validation(tmp_path):
    trained(tmp_path / "run", replace(CONFIG, steps=300, validate_every=100, log_losses=True))
    lines = [json.loads(line) for line in (tmp_path / "run" / LOG_NAME).read_text().splitlines()]
    assert lines[0].keys() == {"step", "total", "gradient", "squared", "error"}
    assert [line["step"] for line in lines] == [100, 200, 300]
    assert lines[-1]["error"] < 0.08


def test_a_resumed_run_equals_one_that_was_never_stopped(tmp_path):
    whole = trained(tmp_path / "whole").best_network.state_dict()

    def stop(progress, losses):
        if progress.step == 17:
            raise StopError

    with pytest.raises(StopError):
        trainer_in(tmp_path / "parts").fit(Callbacks(step=stop))
    again = trainer_in(tmp_path / "parts")
    assert again.resume()
    assert again.progress.step == 10
    again.fit()
    assert all(torch.equal(value, whole[name]) for name, value in again.best_network.state_dict().items())


def test_a_finished_run_returns_what_was_logged_last(tmp_path):
    first = trainer_in(tmp_path / "run").fit()
    again = trainer_in(tmp_path / "run")
    again.resume()
    assert again.fit() == first
    assert first["step"] == 30


def test_a_folder_without_a_run_is_not_resumed(tmp_path):
    assert not trainer_in(tmp_path / "none").resume(missing_ok=True)


def test_other_settings_are_refused_by_name(tmp_path):
    trained(tmp_path / "run")
    with pytest.raises(TrainingError, match=r"another .*lr"):
        trainer_in(tmp_path / "run", replace(CONFIG, lr=0.01)).resume()
    assert trainer_in(tmp_path / "run", replace(CONFIG, workers=2)).resume()  # the numbers are the same


def test_a_loss_that_is_no_number_stops_the_run_in_one_line(tmp_path):
    task = Line()
    task.loss = lambda network, batch, device: (network(batch[0]).sum() * float("nan"), {})
    with pytest.raises(TrainingError, match="the loss is nan"):
        trainer_in(tmp_path / "run", task=task).fit()


class Watched(Line):
    """Writes down which batches were made, and reads held-out ones that come with the feed."""

    def __init__(self, folder):
        super().__init__()
        self.folder = folder
        self.found = []

    def batch(self, step):
        (self.folder / f"made-{step}").touch()
        return super().batch(step)

    def held_out_batch(self, index):
        return super().batch(1000 + index)

    def held_out_count(self, *, is_last):
        return 5 if is_last else 2

    def validate(self, network, device, *, is_last, held_out):
        errors = [float((network(inputs) - wanted).abs().max()) for inputs, wanted in held_out]
        self.found.append(len(errors))
        return {"error": max(errors)}


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_neither_processes_nor_when_losses_are_read_change_anything(tmp_path):
    runs = []
    for name, given in (("plain", {}), ("ahead", {"workers": 2, "read_every": 7})):
        (tmp_path / name).mkdir()
        task, told = Watched(tmp_path / name), []
        config = replace(CONFIG, validate_every=10, log_losses=True, **given)
        trainer = trainer_in(tmp_path / name, config, task)
        trainer.fit(Callbacks(step=lambda progress, losses, told=told: told.append((progress, losses))))
        weights = {key: value.tolist() for key, value in trainer.best_network.state_dict().items()}
        runs.append((told, task.found, (tmp_path / name / LOG_NAME).read_text(), weights))
    assert runs[0] == runs[1]
    assert [progress.step for progress, _ in runs[1][0]] == list(range(1, 31))
    assert runs[1][1] == [2, 2, 5]


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_steps_are_made_ready_while_a_network_is_validated(tmp_path):
    class Patient(Watched):
        def validate(self, network, device, *, is_last, held_out):
            """Read nothing before the batches of the next two steps are there."""
            until = time.monotonic() + 60
            while not is_last and not (self.folder / "made-11").exists() and time.monotonic() < until:
                time.sleep(0.01)
            self.ready = getattr(self, "ready", False) or (self.folder / "made-11").exists()
            return super().validate(network, device, is_last=is_last, held_out=iter([next(held_out)]))

    task = Patient(tmp_path)
    trainer_in(tmp_path, replace(CONFIG, steps=12, validate_every=10, workers=2), task).fit()
    assert task.ready
    assert task.found == [1, 1]  # what a validation leaves is no step


def test_losses_that_are_read_late_are_still_no_checkpoint(tmp_path):
    """The loss of step 3 is no number; the run is at step 5 when it is read, before a checkpoint is written."""
    task = Line()
    task.loss = lambda network, batch, device: (network(batch[0]).square().mean() * batch[2], {})
    task.batch = lambda step: (*Line.batch(task, step), float("nan") if step == 3 else 1.0)
    told = []
    with pytest.raises(TrainingError, match="the loss is nan at step 3"):
        trainer_in(tmp_path, replace(CONFIG, steps=9, checkpoint_every=5, read_every=99), task).fit(
            Callbacks(step=lambda progress, losses: told.append(progress.step))
        )
    assert told == [1, 2, 3]
    assert not (tmp_path / "last.pt").exists()
