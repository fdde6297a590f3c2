import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from finecausal_cli.errors import TrainingError
from finecausal_cli.training.checkpoint import Progress
from finecausal_cli.training.processes import BOARD_NAME, MetricLogger


def drawn(folder, name):
    curves = EventAccumulator(str(folder / BOARD_NAME)).Reload()
    return [(point.step, pytest.approx(point.value)) for point in curves.Scalars(name)]


def draw(folder, options, steps, *, first=0):
    curves = MetricLogger(folder, options, first=first)
    for step in steps:
        curves.step(Progress(step=step), {"total": 10.0 - step, "regression": 0.5}, 0.25)
    curves.validation(Progress(step=steps[-1]), {"rho": 0.1 * steps[-1], "aiou_50": None, "dives": 4})
    curves.close()


def test_losses_and_figures_are_drawn_over_the_steps(tmp_path, make_options):
    draw(tmp_path, make_options(), [1, 2, 3])
    assert drawn(tmp_path, "training/total") == [(1, 9.0), (2, 8.0), (3, 7.0)]
    assert drawn(tmp_path, "time/waiting_for_data") == [(1, 0.25), (2, 0.25), (3, 0.25)]
    assert drawn(tmp_path, "validation/rho") == [(3, 0.3)]
    assert drawn(tmp_path, "validation/dives") == [(3, 4)]
    tags = EventAccumulator(str(tmp_path / BOARD_NAME)).Reload().Tags()["scalars"]
    assert "validation/aiou_50" not in tags


def test_a_resumed_run_draws_no_step_twice(tmp_path, make_options):
    draw(tmp_path, make_options(), [1, 2, 3, 4])
    draw(tmp_path, make_options(), [3, 4, 5], first=2)
    assert [step for step, _ in drawn(tmp_path, "training/total")] == [1, 2, 3, 4, 5]


def test_an_unknown_tracker_and_one_that_is_not_installed_are_named(tmp_path, make_options):
    with pytest.raises(TrainingError, match=r"--track: no tracker 'paper' \(accelerate knows .*wandb"):
        MetricLogger(tmp_path, make_options(trackers=("paper",)), first=0)
    with pytest.raises(TrainingError, match=r"--track: swanlab is not installed \(pip install swanlab\)"):
        MetricLogger(tmp_path, make_options(trackers=("swanlab",)), first=0)
    assert not (tmp_path / BOARD_NAME).exists()


def test_trackers_of_accelerate_get_the_same_curves(tmp_path, make_options):
    """Its own writer for TensorBoard stands for those that need an account."""
    draw(tmp_path, make_options(trackers=("tensorboard",)), [1, 2])
    found = EventAccumulator(str(tmp_path / "finecausal")).Reload().Scalars("training/total")
    assert [(point.step, point.value) for point in found] == [(1, 9.0), (2, 8.0)]
    (told,) = (tmp_path / "finecausal").rglob("hparams.yml")
    assert "lr: 0.001" in told.read_text()
