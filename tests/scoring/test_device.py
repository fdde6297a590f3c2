import pytest
import torch

from finecausal_cli.device import computing, one_thread, resolve_device, resolve_precision
from finecausal_cli.errors import UsageError


@pytest.fixture
def machine(monkeypatch):
    """Pretend to be another machine."""

    def pretend(*, gpus=0, mps=False, bf16=True):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: bf16)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)

    return pretend


@pytest.mark.parametrize(
    ("what", "name", "found"),
    [
        ({}, "auto", "cpu"),
        ({"mps": True}, "auto", "mps"),
        ({"gpus": 1}, "auto", "cuda"),
        ({"gpus": 1, "mps": True}, "auto", "cuda"),
        ({"gpus": 2}, "cpu", "cpu"),
        ({"gpus": 2}, "cuda", "cuda"),
        ({"gpus": 2}, "cuda:1", "cuda:1"),
        ({"mps": True}, "mps", "mps"),
    ],
)
def test_a_device_that_is_there(machine, what, name, found):
    machine(**what)
    assert resolve_device(name) == torch.device(found)


@pytest.mark.parametrize(
    ("what", "name", "says"),
    [
        ({}, "cuda", "not available here"),
        ({}, "mps", "not available here"),
        ({"gpus": 2}, "cuda:2", "device 'cuda:2' is not available here"),
        ({"gpus": 1}, "meta", "not available here"),
        ({"gpus": 1}, "gpu", "no device 'gpu'"),
        ({"gpus": 1}, "cuda:-1", "no device 'cuda:-1'"),
        ({"gpus": 1}, "", "no device ''"),
    ],
)
def test_a_device_that_is_not(machine, what, name, says):
    machine(**what)
    with pytest.raises(UsageError) as caught:
        resolve_device(name)
    assert caught.value.where == "--device"
    assert says in caught.value.what


@pytest.mark.parametrize(
    ("name", "device", "bf16", "found"),
    [
        ("auto", "cpu", True, "fp32"),
        ("auto", "mps", True, "fp32"),
        ("auto", "cuda", True, "bf16"),
        ("auto", "cuda", False, "fp32"),
        ("fp32", "cuda", True, "fp32"),
        ("bf16", "cpu", True, "bf16"),
        ("fp16", "cuda", True, "fp16"),
    ],
)
def test_precision_follows_the_device(machine, name, device, bf16, found):
    machine(gpus=1, bf16=bf16)
    assert resolve_precision(name, torch.device(device)) == found


def test_a_precision_is_what_the_network_computes_in():
    layer, cpu = torch.nn.Linear(4, 4), torch.device("cpu")
    for precision, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        with torch.inference_mode(), computing(precision, cpu):
            assert layer(torch.ones(1, 4)).dtype == dtype


def test_one_thread_holds_for_the_block_alone():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with one_thread():
            inside = torch.get_num_threads()
        assert (inside, torch.get_num_threads()) == (1, 2)
    finally:
        torch.set_num_threads(before)
