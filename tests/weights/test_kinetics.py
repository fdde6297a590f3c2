"""I3D weights of the two public layouts, made up: the same numbers under either's names."""

import pickle

import pytest
import torch
from torch.nn import functional

from finecausal_cli.data.batch import normalise
from finecausal_cli.errors import WeightsError
from finecausal_cli.model.config import PRESETS, ModelConfig
from finecausal_cli.model.finecausal import FineCausal
from finecausal_cli.model.i3d import I3D
from finecausal_cli.weights.convert import load_kinetics

PORT_EPSILON = 1e-3

# Written out from the two ports' own state dicts, independently of the table under test.
PIERGIAJ = (
    "Conv3d_1a_7x7",
    "Conv3d_2b_1x1",
    "Conv3d_2c_3x3",
    "Mixed_3b.b0",
    "Mixed_3b.b1a",
    "Mixed_3b.b1b",
    "Mixed_3b.b2a",
    "Mixed_3b.b2b",
    "Mixed_3b.b3b",
)
HASSONY = (
    "conv3d_1a_7x7",
    "conv3d_2b_1x1",
    "conv3d_2c_3x3",
    "mixed_3b.branch_0",
    "mixed_3b.branch_1.0",
    "mixed_3b.branch_1.1",
    "mixed_3b.branch_2.0",
    "mixed_3b.branch_2.1",
    "mixed_3b.branch_3.1",
)
OURS = (
    "conv_1a",
    "conv_2b",
    "conv_2c",
    "mixed_3b.point",
    "mixed_3b.reduce_a",
    "mixed_3b.spread_a",
    "mixed_3b.reduce_b",
    "mixed_3b.spread_b",
    "mixed_3b.pooled",
)
LAYERS = {
    "piergiaj": (PIERGIAJ, "Mixed_", "bn", "logits.conv3d", 57),
    "hassony2": (HASSONY, "mixed_", "batch3d", "conv3d_0c_1x1.conv3d", 57),
}
BLOCKS = ("3c", "4b", "4c", "4d", "4e", "4f", "5b", "5c")


def units(layout):
    """Pair every unit of ours with the layout's."""
    first, prefix, *_ = LAYERS[layout]
    for ours, theirs in zip(OURS, first, strict=True):
        yield ours, theirs
        if ours.startswith("mixed"):
            for block in BLOCKS:
                yield ours.replace("mixed_3b", f"mixed_{block}"), theirs.replace(f"{prefix}3b", f"{prefix}{block}")


@pytest.fixture(scope="module")
def trunk():
    """A trunk with the ports' epsilon and numbers of every kind; it reads pixels from -1 to 1."""
    torch.manual_seed(0)
    made = I3D(1.0)
    for module in made.modules():
        if isinstance(module, torch.nn.BatchNorm3d):
            module.eps = PORT_EPSILON
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.bias, std=0.1)
            torch.nn.init.normal_(module.running_mean, std=0.1)
            torch.nn.init.uniform_(module.running_var, 1e-4, 1.0)
    return made.eval()


def foreign(trunk, layout, *, counters=False):
    table, state = {}, trunk.state_dict()
    norm, classifier = LAYERS[layout][2:4]
    for ours, theirs in units(layout):
        table[f"{theirs}.conv3d.weight"] = state[f"layers.{ours}.conv.weight"].clone()
        for leaf in ("weight", "bias", "running_mean", "running_var"):
            table[f"{theirs}.{norm}.{leaf}"] = state[f"layers.{ours}.norm.{leaf}"].clone()
        if counters:
            table[f"{theirs}.{norm}.num_batches_tracked"] = torch.tensor(0)
    table[f"{classifier}.weight"] = torch.zeros(400, 1024, 1, 1, 1)
    table[f"{classifier}.bias"] = torch.zeros(400)
    return table


@pytest.fixture
def write(tmp_path):
    def save(table):
        torch.save(table, tmp_path / "rgb.pt")
        return tmp_path / "rgb.pt"

    return save


@pytest.fixture(scope="module")
def network():
    """A network of full width, with small pictures so that it is quick."""
    return FineCausal(ModelConfig(frame_size=32))


@pytest.mark.parametrize("layout", LAYERS)
def test_both_layouts_fill_every_tensor_of_both_trunks(trunk, network, write, layout):
    table = foreign(trunk, layout, counters=layout == "piergiaj")
    report = load_kinetics(write(table), network)
    assert report.layout.startswith(layout)
    assert report.backbones == ("video_trunk", "parser.trunk")
    assert len(report.loaded) == 5 * LAYERS[layout][4]
    assert set(report.skipped) == {f"{LAYERS[layout][3]}.weight", f"{LAYERS[layout][3]}.bias"}
    ours, given = network.video_trunk.state_dict(), trunk.state_dict()
    for unit, _ in units(layout):
        assert torch.equal(ours[f"layers.{unit}.norm.weight"], given[f"layers.{unit}.norm.weight"])
        if unit != "conv_1a":
            assert torch.equal(ours[f"layers.{unit}.conv.weight"], given[f"layers.{unit}.conv.weight"])
    for name, tensor in network.parser.trunk.state_dict().items():
        assert torch.equal(tensor, ours[name])


@pytest.mark.parametrize("layout", LAYERS)
def test_the_trunk_computes_what_the_port_does(trunk, network, write, layout):
    """On pixels that this network normalises its way and the port from -1 to 1.

    Past the edge the port sees grey and this network the mean picture, so the first layer is compared inside.
    """
    load_kinetics(write(foreign(trunk, layout)), network)
    loaded = network.video_trunk.eval()
    pixels = torch.randint(0, 256, (16, 32, 32, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    ours = normalise(pixels)[None]
    theirs = pixels.permute(3, 0, 1, 2)[None].float() / 127.5 - 1
    with torch.inference_mode():
        first = loaded.layers["conv_1a"](ours)
        expected = trunk.layers["conv_1a"](theirs)
        inside = (..., slice(1, -2), slice(1, -2), slice(1, -2))
        assert torch.allclose(first[inside], expected[inside], rtol=1e-3, atol=1e-4)
        assert expected[inside].std() > 0.1
        # From there on the two are given the same.
        for name, layer in list(trunk.layers.items())[1:]:
            expected, first = layer(expected), loaded.layers[name](expected)
            assert (first - expected).abs().max() < 1e-5 * expected.abs().max(), name


def test_the_epsilon_is_the_ports(trunk, network, write):
    """A variance of 0.0001 with an epsilon of 0.001: without it the network would be three times too loud."""
    table = foreign(trunk, "hassony2")
    table["conv3d_2b_1x1.batch3d.running_var"].fill_(1e-4)
    load_kinetics(write(table), network)
    norm = network.video_trunk.layers["conv_2b"].norm.eval()
    x = torch.ones(1, 64, 1, 1, 1)
    mean, weight, bias = (table[f"conv3d_2b_1x1.batch3d.{leaf}"] for leaf in ("running_mean", "weight", "bias"))
    expected = (1 - mean) / (1e-4 + PORT_EPSILON) ** 0.5 * weight + bias
    assert torch.allclose(norm(x).flatten(), expected, rtol=1e-4)


def test_tables_may_be_nested_and_named_by_data_parallel(trunk, network, write):
    table = {f"module.{name}": tensor for name, tensor in foreign(trunk, "piergiaj").items()}
    report = load_kinetics(write({"state_dict": table, "epoch": 3}), network)
    assert len(report.loaded) == 285


def refused(path, network, says):
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    with pytest.raises(WeightsError) as caught:
        load_kinetics(path, network)
    assert caught.value.where == str(path)
    assert says in caught.value.what
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


def test_a_narrow_network_refuses_by_name(trunk, write):
    path = write(foreign(trunk, "piergiaj"))
    narrow = FineCausal(PRESETS["finecausal"].model_copy(update={"width": 0.25}))
    refused(path, narrow, "Conv3d_1a_7x7.conv3d.weight is [64, 3, 7, 7, 7], and this network's is [16, 3, 7, 7, 7]")
    with pytest.raises(WeightsError, match="--preset finecausal or reference"):
        load_kinetics(path, narrow)


def test_a_network_without_an_i3d_refuses(trunk, write):
    path = write(foreign(trunk, "piergiaj"))
    with pytest.raises(WeightsError, match=r"this network has none \(--preset finecausal or reference\)"):
        load_kinetics(path, FineCausal(PRESETS["compact"]))


def test_the_flow_stream_is_refused(trunk, network, write):
    table = foreign(trunk, "hassony2")
    table["conv3d_1a_7x7.conv3d.weight"] = torch.zeros(64, 2, 7, 7, 7)
    refused(write(table), network, "conv3d_1a_7x7.conv3d.weight is [64, 2, 7, 7, 7]")


def test_what_is_missing_unknown_or_not_finite_is_named(trunk, network, write):
    table = foreign(trunk, "hassony2")
    del table["mixed_4c.branch_2.1.batch3d.running_var"]
    refused(write(table), network, "missing tensor mixed_4c.branch_2.1.batch3d.running_var")
    table = foreign(trunk, "piergiaj")
    refused(write({**table, "Mixed_6a.b0.conv3d.weight": torch.zeros(1)}), network, "unknown tensor Mixed_6a.b0")
    table["Mixed_5b.b3b.bn.bias"][3] = float("nan")
    refused(write(table), network, "not finite: Mixed_5b.b3b.bn.bias")


def test_other_files_are_refused(network, write, tmp_path):
    refused(write({"fc.weight": torch.zeros(3, 3)}), network, "not I3D weights of a known layout")
    refused(write({"Conv3d_1a_7x7.conv3d.weight": "text"}), network, "not a tensor: Conv3d_1a_7x7.conv3d.weight")
    (tmp_path / "text.pt").write_text("no checkpoint")
    refused(tmp_path / "text.pt", network, "")
    refused(tmp_path / "none.pt", network, "cannot be read")


class _Malice:
    def __init__(self, path):
        self._path = path

    def __reduce__(self):
        import os

        return os.mkdir, (self._path,)


def test_a_malicious_file_runs_nothing(network, tmp_path):
    path, harm = tmp_path / "rgb.pt", tmp_path / "harm"
    torch.save({"Conv3d_1a_7x7.conv3d.weight": _Malice(str(harm))}, path)
    refused(path, network, "nothing in it was run")
    path.write_bytes(pickle.dumps(_Malice(str(harm))))
    refused(path, network, "")
    assert not harm.exists()


def test_convolution_of_the_constant_is_what_comes_off_the_mean():
    """By hand in one dimension: 2 p - 1 of p = std x + mean is 2 std x + (2 mean - 1)."""
    x, std, mean, kernel = torch.tensor([[[0.3, -1.2]]]), 0.25, 0.4, torch.tensor([[[2.0, -0.5]]])
    port = functional.conv1d(2 * (std * x + mean) - 1, kernel)
    ours = functional.conv1d(x, kernel * 2 * std) + kernel.sum() * (2 * mean - 1)
    assert torch.allclose(port, ours)
