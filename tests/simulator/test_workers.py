from __future__ import annotations

import os
import signal
from functools import partial
from operator import truediv
from pathlib import Path

import pytest

from finecausal_cli.errors import OutputError
from finecausal_cli.simulator.dataset import for_each


@pytest.mark.parametrize("workers", [1, 2])
def test_every_item_is_worked_on_once(tmp_path: Path, workers: int):
    paths = [tmp_path / str(number) for number in range(5)]
    assert len(list(for_each(Path.mkdir, paths, workers))) == 5
    assert sorted(tmp_path.iterdir()) == paths


@pytest.mark.parametrize("workers", [1, 2])
def test_the_error_of_the_work_comes_through(workers: int):
    with pytest.raises(ZeroDivisionError):
        list(for_each(partial(truediv, 1), [1, 2, 0, 4], workers))


def test_no_items_start_no_processes():
    assert list(for_each(os.kill, [], 4)) == []


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no such signal here")
def test_a_worker_that_is_killed_is_an_error_in_one_line():
    with pytest.raises(OutputError, match="fewer workers"):
        list(for_each(signal.raise_signal, [signal.SIGKILL, signal.SIGKILL], 2))
