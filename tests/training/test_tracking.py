import re

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from finecausal_cli.errors import TrainingError
from finecausal_cli.evaluation.predict import ErrorSummary
from finecausal_cli.model.finecausal import FineCausal
from finecausal_cli.training.trainer import BOARD_NAME, Callbacks, start_accelerator, start_trackers


def drawn(folder, name):
    curves = EventAccumulator(str(folder / BOARD_NAME)).Reload()
    return [(point.step, pytest.approx(point.value)) for point in curves.Scalars(name)]


def draw(folder, options, steps, *, first=0):
    accelerator = start(folder, options, first=first)
    for step in steps:
        accelerator.log({"training/total": 10.0 - step, "training/regression": 0.5}, step=step)
    accelerator.end_training()


def start(folder, options, *, first=0):
    accelerator = start_accelerator(torch.device("cpu"))
    start_trackers(accelerator, folder, options.trackers, options.to_dict(), first=first)
    return accelerator


def test_losses_and_metrics_are_drawn_over_the_steps(tmp_path, make_trainer, make_options, film, config):
    """Metrics that are no numbers are left out."""
    summary = ErrorSummary(4, 0.3, 0.3, 0.3, 1.0, None, None, None, 0.1, 2.0)
    options = make_options(epochs=1)
    trainer = make_trainer(FineCausal(config), film, options, tmp_path, evaluate=lambda _: summary)
    start_trackers(trainer.accelerator, tmp_path, (), {}, first=0)
    losses = []
    trainer.fit(Callbacks(step=lambda progress, found: losses.append((progress.step, found["total"]))))
    trainer.accelerator.end_training()
    assert drawn(tmp_path, "training/total") == [(step, pytest.approx(total, rel=1e-6)) for step, total in losses]
    assert [step for step, _ in drawn(tmp_path, "time/waiting_for_data")] == [1, 2]
    assert drawn(tmp_path, "validation/rho") == [(2, 0.3)]
    assert drawn(tmp_path, "validation/dives") == [(2, 4)]
    tags = EventAccumulator(str(tmp_path / BOARD_NAME)).Reload().Tags()["scalars"]
    assert "validation/aiou_50" not in tags


def age(folder):
    """The files of a run that is resumed were written in an earlier second.

    TensorBoard reads a folder's files in the order of their names, which hold the second and a counter: within
    one second file 10 is read before file 9.
    """
    for path in list((folder / BOARD_NAME).rglob("events.out.tfevents.*")):
        _, second, rest = re.split(r"tfevents\.(\d+)", path.name)
        path.rename(path.with_name(f"events.out.tfevents.{int(second) - 60}{rest}"))


def test_a_resumed_run_draws_no_step_twice(tmp_path, make_options):
    draw(tmp_path, make_options(), [1, 2, 3, 4])
    age(tmp_path)
    draw(tmp_path, make_options(), [3, 4, 5], first=2)
    assert [step for step, _ in drawn(tmp_path, "training/total")] == [1, 2, 3, 4, 5]


def test_an_unknown_tracker_and_one_that_is_not_installed_are_named(tmp_path, make_options):
    with pytest.raises(TrainingError, match=r"--track: no tracker 'paper' \(accelerate knows .*wandb"):
        start(tmp_path, make_options(trackers=("paper",)))
    with pytest.raises(TrainingError, match=r"--track: swanlab is not installed \(pip install swanlab\)"):
        start(tmp_path, make_options(trackers=("swanlab",)))
    assert not (tmp_path / BOARD_NAME).exists()


def test_trackers_of_accelerate_get_the_same_curves(tmp_path, make_options):
    """Its own writer for TensorBoard stands for those that need an account."""
    draw(tmp_path, make_options(trackers=("tensorboard",)), [1, 2])
    found = EventAccumulator(str(tmp_path / "finecausal")).Reload().Scalars("training/total")
    assert [(point.step, point.value) for point in found] == [(1, 9.0), (2, 8.0)]
    (told,) = (tmp_path / "finecausal").rglob("hparams.yml")
    assert "lr: 0.001" in told.read_text()
