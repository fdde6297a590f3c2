"""Two processes over gloo on a CPU, started by torchrun as a user starts them."""

import json
import os
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from finecausal_cli.errors import TrainingError
from finecausal_cli.evaluation.run import BEST, LAST
from finecausal_cli.training import is_main_process
from finecausal_cli.training.checkpoint import LOG_NAME, RUN_NAME
from finecausal_cli.training.pairs import LAST_NAME
from finecausal_cli.training.trainer import BOARD_NAME, all_reduce, barrier, broadcast, start_accelerator
from finecausal_cli.weights.store import load_weights

SCRIPT = """
import json
import sys
from pathlib import Path
import torch
from finecausal_cli.errors import FinecausalError
from finecausal_cli.model.config import ModelConfig
from finecausal_cli.training import TrainOptions
from finecausal_cli.training.run import train
from finecausal_cli.training.trainer import Callbacks

dataset, folder, cache = map(Path, sys.argv[1:4])
options = TrainOptions.from_dict(json.loads(sys.argv[4]))
gat = options.freeze_batchnorm == "none"
config = ModelConfig(preset="compact", width=1 / 32, shared_trunk=True, frame_size=32, gat=gat)
callbacks = Callbacks(step=lambda progress, losses: print("step", progress.step, losses["total"], flush=True))
try:
    train(dataset, folder, config=config, options=options, cache=cache, device=torch.device("cpu"), callbacks=callbacks)
except FinecausalError as error:
    print("finecausal:", error, file=sys.stderr, flush=True)
    sys.exit(error.exit_code)
"""


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """Train in so many processes; return the outcome."""
    folder = tmp_path_factory.mktemp("runs")
    script = folder / "train.py"
    script.write_text(SCRIPT)

    def run(count, name, dataset, options):
        command = [sys.executable]
        if count > 1:
            command += ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(count)]
        return folder / name, subprocess.run(
            [
                *command,
                str(script),
                str(dataset),
                str(folder / name),
                str(folder / "cache"),
                json.dumps(options.to_dict()),
            ],
            capture_output=True,
            text=True,
            timeout=600,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            check=False,
        )

    return run


def totals(outcome):
    lines = [line.split() for line in outcome.stdout.splitlines() if line.startswith("step")]
    assert [int(step) for _, step, _ in lines] == list(range(1, len(lines) + 1))  # told once, by one process
    return [float(total) for *_, total in lines]


@pytest.fixture(scope="module")
def frozen(make_options):
    """Two groups a batch, nothing normalised over it and nothing dropped out (that goes with the graph)."""
    return make_options(epochs=3, group=2, groups_per_batch=2, freeze_batchnorm="all", save_every=99)


@pytest.fixture(scope="module")
def pair(start, small_dataset, frozen):
    return start(2, "pair", small_dataset, frozen)


def assert_same_curves(one, other):
    (folder, first), (other_folder, second) = one, other
    assert first.returncode == 0, first.stderr
    assert second.returncode == 0, second.stderr
    assert len(totals(first)) == 3
    assert totals(second) == pytest.approx(totals(first), rel=1e-4)
    logs = (
        [json.loads(line) for line in (each / LOG_NAME).read_text().splitlines()] for each in (folder, other_folder)
    )
    for mine, yours in zip(*logs, strict=True):
        assert mine["relative_l2"] == pytest.approx(yours["relative_l2"], rel=1e-2)


@pytest.mark.thorough
def test_two_processes_learn_what_one_does(start, pair, small_dataset, frozen):
    """The same batch of two groups, once whole and once a group to each process."""
    assert_same_curves(start(1, "alone", small_dataset, frozen), pair)


@pytest.mark.slow
def test_two_processes_learn_what_one_does_in_two_parts(start, small_dataset, frozen):
    """With normalisation over each part and attention dropped out: part by part the same is computed and drawn."""
    options = replace(frozen, freeze_batchnorm="none", validate_every=99, epochs=3)
    one = start(1, "parts", small_dataset, replace(options, accumulate=2))
    two = start(2, "shared", small_dataset, options)
    assert one[1].returncode == two[1].returncode == 0, one[1].stderr + two[1].stderr
    assert totals(two[1]) == pytest.approx(totals(one[1]), rel=1e-4)


@pytest.mark.slow
def test_only_the_first_process_writes(pair):
    folder, outcome = pair
    assert outcome.returncode == 0, outcome.stderr
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        [BEST, LAST, RUN_NAME, LOG_NAME, LAST_NAME, BOARD_NAME]
    )
    assert json.loads((folder / RUN_NAME).read_text())["processes"] == 2
    assert len((folder / LOG_NAME).read_text().splitlines()) == 3
    assert len(list((folder / BOARD_NAME).iterdir())) == 1
    curves = EventAccumulator(str(folder / BOARD_NAME)).Reload()
    assert [point.step for point in curves.Scalars("training/total")] == [1, 2, 3]
    assert load_weights(folder / BEST).config.frame_size == 32


@pytest.mark.slow
def test_every_process_stops_when_one_cannot_go_on(start, small_dataset, frozen, tmp_path):
    """A clip of the second process's share breaks; nobody is left waiting and no weights are written."""
    rows = (small_dataset / "dives.csv").read_text().splitlines()
    training = [row for row in rows[1:] if row.endswith("train") and ",," not in row]
    broken = training[1].replace(training[1].split(",")[0], "broken.mp4")
    manifest = small_dataset / "broken.csv"
    kept = [row for row in rows if row not in training and not row.startswith("broken")]
    manifest.write_text("\n".join([kept[0], training[0], broken, *training[2:], *kept[1:]]) + "\n")
    folder, outcome = start(2, "broken", manifest, frozen)
    assert outcome.returncode != 0
    told = [line for line in outcome.stderr.splitlines() if line.startswith("finecausal:")]
    assert any("broken.mp4" in line for line in told)
    assert not (folder / BEST).exists()


def test_one_process_is_the_main_one_and_waits_for_nobody():
    alone = start_accelerator(torch.device("cpu"))
    assert (alone.process_index, alone.num_processes, alone.is_main_process) == (0, 1, True)
    barrier(alone)
    assert broadcast(alone, "word") == "word"
    assert all_reduce(alone, torch.tensor([2, 3])).tolist() == [2, 3]


@pytest.mark.parametrize(
    ("world", "rank", "is_main"), [(None, None, True), ("1", "0", True), ("2", "1", False), ("2", "0", True)]
)
def test_the_main_process_is_known_from_the_environment(monkeypatch, world, rank, is_main):
    for name, value in (("WORLD_SIZE", world), ("RANK", rank)):
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)
    assert is_main_process() == is_main


def test_a_device_that_cannot_be_shared_is_refused(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(TrainingError, match="--device: several processes cannot share mps"):
        start_accelerator(torch.device("mps"))


def test_runs_of_other_precision_may_follow_each_other_in_a_program():
    for precision in ("fp32", "bf16", "fp32"):
        accelerator = start_accelerator(torch.device("cpu"), precision)
        assert accelerator.mixed_precision == ("no" if precision == "fp32" else precision)
        with accelerator.autocast():
            assert torch.is_autocast_enabled("cpu") == (precision == "bf16")
