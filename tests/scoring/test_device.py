import json
import logging
from dataclasses import replace

import pytest
import torch

from finecausal_cli import device as device_module
from finecausal_cli.device import (
    MOST_DIFFERENCE,
    ExecutionPlan,
    MeasuredPlan,
    PlannedEncoder,
    choose_plan,
    clips_that_fit,
    computing,
    fast_precision,
    one_thread,
    read_table,
    resolve_device,
)
from finecausal_cli.errors import UsageError
from finecausal_cli.model.outputs import Encoding

CPU, GPU = torch.device("cpu"), torch.device("cuda")


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


@pytest.fixture
def flags():
    """Give the flags of PyTorch back as they were."""
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32, cudnn.allow_tf32, cudnn.benchmark
    yield lambda: (matmul.allow_tf32, cudnn.allow_tf32, cudnn.benchmark)
    matmul.allow_tf32, cudnn.allow_tf32, cudnn.benchmark = before


@pytest.fixture
def gpu(monkeypatch, flags):
    """Pretend that a GPU has a name, and that plans were measured on it."""

    def pretend(name, table=None):
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: name)
        if table is not None:
            monkeypatch.setattr(device_module, "read_table", lambda: table)

    return pretend


def test_a_cpu_computes_in_fp32_unless_told_otherwise(flags):
    before = flags()
    assert choose_plan("auto", CPU, "i3d") == ExecutionPlan()
    assert choose_plan("bf16", CPU, "i3d") == ExecutionPlan("bf16")
    assert choose_plan("auto", torch.device("mps"), "i3d") == ExecutionPlan()
    assert flags() == before


def test_the_gpu_that_was_measured_computes_in_what_was_faster(gpu, flags):
    gpu("NVIDIA H100 80GB HBM3")
    assert choose_plan("auto", GPU, "i3d") == ExecutionPlan("fp32", tf32=True)
    assert flags() == (True, True, True)
    assert choose_plan("bf16", GPU, "i3d").precision == "bf16"
    assert flags() == (False, False, True)


@pytest.mark.parametrize(("name", "backbone"), [("NVIDIA Unheard-of", "i3d"), ("NVIDIA H100 PCIe", "frames")])
def test_a_gpu_that_was_not_measured_computes_as_a_cpu_does_and_says_so(gpu, flags, caplog, name, backbone):
    gpu(name)
    with caplog.at_level(logging.INFO, logger="finecausal_cli"):  # the command line may have set its level before
        assert choose_plan("auto", GPU, backbone) == ExecutionPlan()
    assert flags() == (False, False, True)
    assert f"{name} is not in the table of {backbone} backbones" in caplog.text


SLOW = MeasuredPlan(ExecutionPlan("fp32", tf32=True), 4.0, 0.002)


@pytest.mark.parametrize(
    ("other", "is_taken"),
    [
        (MeasuredPlan(ExecutionPlan("bf16", cast_once=True), 2.0, 0.04, 1.0), True),
        (MeasuredPlan(ExecutionPlan("bf16", cast_once=True), 4.1, 0.04, 1.0), False),
        (MeasuredPlan(ExecutionPlan("bf16", cast_once=True), 2.0, MOST_DIFFERENCE, 1.0), False),
        (MeasuredPlan(ExecutionPlan("bf16", cast_once=True), 2.0, None, 1.0), False),
        (MeasuredPlan(ExecutionPlan("bf16", compiled=True), 2.0, 0.04, 40.0), False),
        (MeasuredPlan(ExecutionPlan("fp32", convolutions="planes"), 2.0), True),
    ],
)
def test_auto_takes_the_fastest_plan_whose_scores_are_those_of_fp32(gpu, other, is_taken):
    gpu("Some GPU 80GB", {"Some GPU": {"i3d": [SLOW, other]}})
    assert choose_plan("auto", GPU, "i3d") == (other if is_taken else SLOW).plan
    assert choose_plan(other.plan.precision, GPU, "i3d").precision == other.plan.precision


def test_the_table_that_comes_with_the_package_can_be_read_and_written(tmp_path):
    table = read_table()
    written = {
        gpu: {kind: [row.to_dict() for row in rows] for kind, rows in each.items()} for gpu, each in table.items()
    }
    (tmp_path / "table.json").write_text(json.dumps(written))
    assert read_table(tmp_path / "table.json") == table
    assert min(row.ms_per_clip for row in table["H100"]["i3d"]) == 4.1


@pytest.mark.parametrize(
    ("free", "each", "most", "clips"),
    [(80 << 30, 1 << 30, 16, 16), (24 << 30, 1 << 30, 16, 4), (2 << 30, 3 << 30, 16, 1), (8 << 30, 0, 70, 64)],
)
def test_batches_are_of_what_half_of_the_free_memory_holds(free, each, most, clips):
    assert clips_that_fit(free, each, most) == clips


def test_a_precision_is_what_the_network_computes_in():
    layer = torch.nn.Linear(4, 4)
    for precision, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        plan = ExecutionPlan(precision)
        with torch.inference_mode(), computing(plan, CPU):
            assert layer(torch.ones(1, 4)).dtype == dtype
        with computing(replace(plan, cast_once=True), CPU):
            assert not torch.is_autocast_enabled("cpu")


def test_an_encoder_gives_fp32_of_what_it_computed_in_the_precision_of_its_plan():
    given = []

    def encode(inputs, *, foreground="none"):
        given.append((inputs.dtype, foreground))
        return Encoding(inputs, inputs + 1)

    encoder = PlannedEncoder(encode, ExecutionPlan("bf16", cast_once=True), CPU)
    made = encoder(torch.tensor([[1 + 2**-9]]), foreground="fused")
    assert given == [(torch.bfloat16, "fused")]
    assert made.video.dtype == torch.float32
    assert (made.video.item(), made.mask.item()) == (1.0, 2.0)
    assert encoder.fitting_batch(torch.zeros(1, 1), 32) == 1


@pytest.mark.gpu
@pytest.mark.parametrize("replayed", [False, True])
def test_on_a_gpu_a_batch_of_any_size_is_encoded_whole(replayed):
    layer = torch.nn.Linear(4, 4).cuda()
    encoder = PlannedEncoder(lambda x: Encoding(layer(x), x), ExecutionPlan(replayed=replayed), GPU)
    inputs = torch.randn(3, 4, device="cuda")
    first = encoder(inputs)
    encoder(torch.zeros(3, 4, device="cuda"))
    assert first.video.shape == (3, 4)
    torch.testing.assert_close(first.video, layer(inputs), atol=1e-2, rtol=1e-2)
    assert torch.equal(first.mask, inputs)


def test_one_thread_holds_for_the_block_alone():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with one_thread():
            inside = torch.get_num_threads()
        assert (inside, torch.get_num_threads()) == (1, 2)
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(("native", "precision"), [(True, "bf16"), (False, "fp32")])
def test_a_cpu_trains_in_bf16_only_where_it_multiplies_it_natively(monkeypatch, native, precision):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: native)
    assert fast_precision(torch.device("cpu")) == precision
    assert fast_precision(torch.device("cuda")) == "bf16"
