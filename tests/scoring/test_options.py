import pytest
import torch

from finecausal_cli.device import choose_plan, resolve_device
from finecausal_cli.errors import UsageError
from finecausal_cli.scoring import ScoreOptions


def test_no_voters_is_refused():
    with pytest.raises(UsageError, match="--most-exemplars"):
        ScoreOptions(voters=0)


@pytest.mark.parametrize("difficulty", [0.0, -1.0, 12.0])
def test_an_impossible_difficulty_is_refused(difficulty):
    with pytest.raises(UsageError, match="--difficulty"):
        ScoreOptions(difficulty=difficulty)


@pytest.mark.parametrize("height_m", [-4.0, 0.0, 4.0, float("nan"), float("inf")])
def test_a_height_that_no_board_has_is_refused(height_m):
    with pytest.raises(UsageError, match=r"--height: no board or platform .* \(metres: 1, 3, 5, 7.5 or 10\)"):
        ScoreOptions(height_m=height_m)


def test_one_exemplar_and_many_voters_contradict_each_other():
    with pytest.raises(UsageError, match="names one dive"):
        ScoreOptions(exemplar="a", voters=3)


def test_a_device_that_does_not_exist_is_refused():
    with pytest.raises(UsageError, match="no device 'toaster'"):
        resolve_device("toaster")


def test_the_cpu_is_always_there():
    assert resolve_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_a_precision_that_a_cpu_lacks_is_refused(precision):
    with pytest.raises(UsageError, match="--precision"):
        choose_plan(precision, torch.device("cpu"), "i3d")
