import pytest
import torch
from torch import nn
from torch.nn import functional

from finecausal_cli.device import ExecutionPlan, PlannedEncoder
from finecausal_cli.model import FineCausal, ModelConfig
from finecausal_cli.model.i3d import HalvingPlaneConvolution, PlaneConvolution, PlanePool, PointConvolution
from finecausal_cli.model.outputs import Encoding


def trained(**changes):
    """Build a small network whose norms are not the identity they start as."""
    torch.manual_seed(1)
    model = FineCausal(ModelConfig(**{"preset": "compact", "width": 1 / 8, "frame_size": 32, **changes}))
    for name, tensor in model.state_dict().items():
        if name.endswith("running_mean"):
            tensor.normal_(0, 0.1)
        elif name.endswith("running_var"):
            tensor.uniform_(0.5, 2)
    return model.eval()


@pytest.mark.parametrize(
    "changes", [{}, {"shared_trunk": True}, {"static_branch": True, "readout": "o"}, {"gat": False}]
)
def test_gives_the_same_numbers(changes):
    model = trained(**changes)
    fast = model.for_inference()
    clips = torch.randn(2, 3, 96, 32, 32)
    with torch.inference_mode():
        plain, folded = (each.encode(clips, foreground="all") for each in (model, fast))
        for a, b in zip(
            (plain.video, plain.mask, *plain.foreground), (folded.video, folded.mask, *folded.foreground), strict=True
        ):
            torch.testing.assert_close(b, a, atol=1e-5, rtol=1e-4)
        first, second = plain.select(0), plain.select([1, 0, 1])
        for attention in (False, True):
            expected, result = (each.compare(first, second, attention=attention) for each in (model, fast))
            assert torch.equal(result.transitions, expected.transitions)
            for name in ("frame_logits", "tokens", "stage_deltas", "delta", "node_attention", "stage_attention"):
                a, b = getattr(expected, name), getattr(result, name)
                assert (a is None) == (b is None)
                if a is not None:
                    torch.testing.assert_close(b, a, atol=1e-5, rtol=1e-4)


def test_leaves_the_original_as_it_was():
    model = trained()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    fast = model.train().for_inference()
    assert model.training
    assert not fast.training
    after = model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert not any("norm" in name and "running" in name for name in fast.state_dict())


def test_sharp_attention_survives():
    model = trained()
    torch.nn.init.normal_(model.intervention.attend.att, std=3)
    torch.nn.init.normal_(model.intervention.refine.att, std=3)
    query, exemplar = (Encoding(torch.rand(4, 9, 128) * 5, torch.randn(4, 9, 128)) for _ in range(2))
    with torch.inference_mode():
        expected, expected_attention = model.intervention(query, exemplar, attention=True)
        result, attention = model.for_inference().intervention(query, exemplar, attention=True)
    assert expected_attention.max() > 0.9
    torch.testing.assert_close(attention, expected_attention, atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(result, expected, atol=1e-3, rtol=1e-3)


# Execution plans: other forms, layouts and types of the same network.


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last_3d])
def test_forms_of_a_convolution_give_what_it_gives(layout):
    torch.manual_seed(0)
    clip = torch.randn(2, 3, 6, 10, 12).contiguous(memory_format=layout)
    point, cube, halving = nn.Conv3d(3, 5, 1), nn.Conv3d(3, 5, 3, padding=1), nn.Conv3d(3, 5, 7, stride=2)
    same = functional.pad(clip, (2, 3) * 3)
    for form, expected in (
        (PointConvolution(point), point(clip)),
        (PlaneConvolution(cube.weight, cube.bias, (1, 1)), cube(clip)),
        (HalvingPlaneConvolution(halving), halving(same)),
    ):
        torch.testing.assert_close(form(clip), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("kernel", "stride", "padding"), [((1, 3, 3), (1, 2, 2), 0), (3, 2, 0), (2, 2, 0), (3, 1, 1)])
@pytest.mark.parametrize("frames", [4, 8])
def test_a_pool_of_pictures_then_of_time_is_the_pool_of_volumes(kernel, stride, padding, frames):
    maps = torch.rand(2, 3, frames, 9, 8)
    pool = nn.MaxPool3d(kernel, stride, padding, ceil_mode=padding == 0)
    assert torch.equal(PlanePool(pool)(maps), pool(maps))


PLANS = [
    ExecutionPlan(layout="contiguous"),
    ExecutionPlan(convolutions="points"),
    ExecutionPlan(convolutions="planes"),
    ExecutionPlan("bf16", cast_once=True),
    ExecutionPlan("bf16", convolutions="planes", cast_once=True),
    pytest.param(
        ExecutionPlan(convolutions="planes", compiled=True),
        marks=[
            pytest.mark.slow,
            pytest.mark.filterwarnings("ignore:`torch.jit.script_method`:DeprecationWarning"),  # of its own compiler
        ],
    ),
]


@pytest.fixture(scope="module", params=["i3d", "frames"])
def network(request):
    """A small network, a clip, and what plain passes encode it as, by precision."""
    changes = {"trunk": "frames", "foreground": "top_down", "recognises": True} if request.param == "frames" else {}
    model = trained(width=1 / 32, shared_trunk=True, **changes)
    clips = torch.randn(1, 3, 96, 32, 32)

    def encode(plan, network):
        return PlannedEncoder(network.encode, plan, torch.device("cpu"))(clips, foreground="fused")

    return model, encode, {precision: encode(ExecutionPlan(precision), model) for precision in ("fp32", "bf16")}


@pytest.mark.parametrize("plan", PLANS, ids=str)
def test_every_plan_encodes_what_the_plain_path_does(plan, network):
    model, encode, plain = network
    made = encode(plan, model.for_inference(plan))
    for name in ("video", "mask", "number_logits"):
        exact, rounded, result = (getattr(each, name) for each in (plain["fp32"], plain["bf16"], made))
        if exact is None:
            continue
        assert result.dtype == torch.float32
        # Below fp32 a plan rounds elsewhere than autocast does, but not more.
        allowed = 1e-5 if plan.precision == "fp32" else 2 * (rounded - exact).norm() / exact.norm()
        assert (result - exact).norm() / exact.norm() < allowed
    tolerance = 1e-4 if plan.precision == "fp32" else 0.2
    torch.testing.assert_close(made.foreground[0], plain["fp32"].foreground[0], atol=tolerance, rtol=0)
