import json

import pytest

from finecausal_cli.errors import TrainingError
from finecausal_cli.training.checkpoint import LOG_NAME, RunLog


def test_lines_after_a_checkpoint_are_forgotten_torn_ones_too(tmp_path):
    log = RunLog(tmp_path, "step")
    for step in (1, 2, 3):
        log.append({"step": step, "rho": step / 10})
    with (tmp_path / LOG_NAME).open("a") as stream:
        stream.write('{"step": 4, "rh')
    log.forget_after(2)
    kept = [json.loads(line) for line in (tmp_path / LOG_NAME).read_text().splitlines()]
    assert kept == [{"step": 1, "rho": 0.1}, {"step": 2, "rho": 0.2}]
    log.append({"step": 3})
    assert len((tmp_path / LOG_NAME).read_text().splitlines()) == 3


def test_the_log_of_something_else_is_not_touched(tmp_path):
    RunLog(tmp_path, "step").append({"step": 1})
    with pytest.raises(TrainingError, match="not the log of this run"):
        RunLog(tmp_path, "epoch").forget_after(0)
    assert (tmp_path / LOG_NAME).read_text() == '{"step": 1}\n'


def test_where_nothing_was_logged_nothing_is_forgotten(tmp_path):
    RunLog(tmp_path, "epoch").forget_after(0)
    assert [*tmp_path.iterdir()] == []
