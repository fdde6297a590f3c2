"""A run that is killed outright, again and again, ends as one that is left alone."""

import json
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

from finecausal_cli.evaluation.run import BEST, LAST
from finecausal_cli.training.checkpoint import LOG_NAME, load_checkpoint
from finecausal_cli.training.pairs import LAST_NAME
from finecausal_cli.weights.store import load_weights

SCRIPT = """
import sys, time
from pathlib import Path
import torch
from finecausal_cli.model.config import ModelConfig
from finecausal_cli.training import TrainOptions
from finecausal_cli.training.run import train
from finecausal_cli.training.trainer import Callbacks

torch.set_num_threads(1)
dataset, folder, cache = map(Path, sys.argv[1:])
options = TrainOptions(
    epochs=4, group=2, groups_per_batch=1, save_every=1, seed=5, ema=0.5, accumulate=1, workers=1
)
callbacks = Callbacks(step=lambda progress, losses: print(progress.step, flush=True))
config = ModelConfig(preset="compact", width=1 / 32, shared_trunk=True, frame_size=32)
resume = (folder / "run.json").exists()
cpu = torch.device("cpu")
train(dataset, folder, config=config, options=options, cache=cache, device=cpu, resume=resume, callbacks=callbacks)
"""


def start(*arguments):
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", SCRIPT, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(*arguments):
    run = start(*arguments)
    output, errors = run.communicate(timeout=600)
    assert run.returncode == 0, errors
    return [int(line) for line in output.split()]


def same(one, other):
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


@pytest.mark.slow
def test_a_run_killed_at_random_steps_and_resumed_equals_an_uninterrupted_one(small_dataset, tmp_path):
    """Bit for bit: weights, running mean, moments, log and the interval; and no step twice that was saved."""
    cache = tmp_path / "cache"
    steps = finish(small_dataset, tmp_path / "whole", cache)
    assert steps == list(range(1, 9))
    chance = np.random.default_rng()  # another place each time
    kills = 0
    while True:
        at = int(chance.integers(1, 3))
        with start(small_dataset, tmp_path / "killed", cache) as run:
            for seen, _ in enumerate(run.stdout, 1):
                if seen == at and kills < 3:
                    time.sleep(chance.uniform(0, 0.2))
                    run.send_signal(signal.SIGKILL)
                    kills += 1
                    break
            _, errors = run.communicate(timeout=600)
        if run.returncode == 0:
            break
        assert run.returncode == -signal.SIGKILL, errors
    assert kills >= 2
    (one, at_one), (other, at_other) = (load_checkpoint(tmp_path / name / LAST_NAME) for name in ("whole", "killed"))
    assert at_one == at_other
    assert same(one, other)
    for weights in (BEST, LAST):
        whole, killed = (load_weights(tmp_path / name / weights) for name in ("whole", "killed"))
        assert (whole.digest, whole.info) == (killed.digest, killed.info)
    logs = [(tmp_path / name / LOG_NAME).read_text() for name in ("whole", "killed")]
    assert logs[0] == logs[1]
    assert [json.loads(line)["epoch"] for line in logs[0].splitlines()] == [1, 2, 3, 4]
    assert not list((tmp_path / "killed").glob(".*part"))
