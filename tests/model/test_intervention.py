import warnings

import pytest
import torch
from torch.nn import functional

from finecausal_cli.model import FineCausal
from finecausal_cli.model.causal import CausalIntervention, GraphAttention
from finecausal_cli.model.config import PRESETS
from finecausal_cli.model.outputs import Encoding


def complete_edges(nodes):
    """All ordered pairs of different nodes, source by source: int64 [2, nodes * (nodes - 1)], (source, target)."""
    return torch.nonzero(~torch.eye(nodes, dtype=torch.bool)).T


def encodings(count, features=16, seed=0):
    generator = torch.Generator().manual_seed(seed)
    video, mask = torch.randn(2, count, 9, features, generator=generator)
    return Encoding(video.relu(), mask)


def geometric(inputs, channels):
    """The layer of PyTorch Geometric, whose import uses a part of torch that torch has deprecated."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        from torch_geometric.nn import GATv2Conv
    return GATv2Conv(inputs, channels, heads=4, dropout=0.1, add_self_loops=False)


def by_hand(layer, nodes):
    """GATv2 on one complete graph, from its formula (paper eq. 4)."""
    heads, width = layer.heads, layer.out_channels
    left, right = (linear(nodes).reshape(36, heads, width) for linear in (layer.lin_l, layer.lin_r))
    joint = functional.leaky_relu(left[:, None] + right[None], 0.2)  # source, target
    energy = (joint * layer.att[0]).sum(-1)
    energy[torch.arange(36), torch.arange(36)] = -torch.inf
    attention = energy.softmax(dim=0)
    return torch.einsum("jih,jhc->ihc", attention, left).reshape(36, -1) + layer.bias, attention


def test_graph_is_complete_without_loops():
    edges = complete_edges(4)
    assert edges.T.tolist() == [[i, j] for i in range(4) for j in range(4) if i != j]


def test_names_and_first_values_are_those_of_the_layer_of_pytorch_geometric():
    torch.manual_seed(3)
    theirs = geometric(16, 8).state_dict()
    torch.manual_seed(3)
    ours = GraphAttention(16, 8).state_dict()
    assert list(ours) == list(theirs)
    for name, tensor in theirs.items():
        assert torch.equal(ours[name], tensor), name


def test_numbers_and_gradients_are_those_of_the_layers_on_a_list_of_edges():
    torch.manual_seed(0)
    module = CausalIntervention(16, "f").eval().double()
    query, exemplar = (encodings(2, seed=seed).map(lambda tensor: tensor.double()) for seed in (1, 2))
    result, attention = module(query, exemplar, attention=True)
    (result * torch.arange(result.numel()).reshape(result.shape)).sum().backward()
    found = {name: one.grad.clone() for name, one in module.named_parameters()}
    module.zero_grad()

    nodes = torch.cat((query.video, exemplar.video, query.fused, exemplar.fused), dim=1)
    one = complete_edges(36)
    edges = torch.cat([one, one + 36], dim=1)
    attend, refine = geometric(16, 8).eval(), geometric(32, 4).eval()
    for theirs, ours in ((attend, module.attend), (refine, module.refine)):
        for name, _ in ours.named_parameters():  # shared, so that gradients arrive where they are read
            owner, _, leaf = name.rpartition(".")
            setattr(theirs.get_submodule(owner), leaf, ours.get_parameter(name))
    hidden, (_, weights) = attend(nodes.flatten(0, 1), edges, return_attention_weights=True)
    hidden = refine(functional.elu(hidden), edges).reshape(2, 36, 16)
    expected = module.output(hidden[:, 18:]) + module.residual_weight * nodes[:, 18:]
    (expected.flatten() * torch.arange(expected.numel())).sum().backward()
    torch.testing.assert_close(result.flatten(), expected.flatten(), atol=1e-5, rtol=1e-5)
    by_edge = attention[:, 0, one[0], one[1]]
    torch.testing.assert_close(by_edge.flatten(0, 1), weights, atol=1e-6, rtol=1e-5)
    for name, parameter in module.named_parameters():
        scale = parameter.grad.abs().max()
        torch.testing.assert_close(found[name] / scale, parameter.grad / scale, atol=1e-4, rtol=1e-3, msg=name)


def test_training_drops_attention_and_scoring_does_not():
    module = CausalIntervention(16, "f")
    query, exemplar = encodings(8, seed=1), encodings(8, seed=2)
    with torch.no_grad():
        torch.manual_seed(0)
        _, attention = module.train()(query, exemplar, attention=True)
        kept = module.eval()(query, exemplar, attention=True)[1]
    apart = ~torch.eye(36, dtype=torch.bool)
    dropped = (attention == 0).permute(0, 1, 4, 2, 3)[..., apart]
    assert 0.09 < dropped.float().mean() < 0.11
    assert not (kept == 0).permute(0, 1, 4, 2, 3)[..., apart].any()
    first = attention[:, 0]
    torch.testing.assert_close(first[first > 0], (kept[:, 0] / 0.9)[first > 0], atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(("readout", "first"), [("o", 0), ("f", 18)])
def test_follows_the_formula(readout, first):
    module = CausalIntervention(16, readout).eval()
    query, exemplar = encodings(1, seed=1), encodings(1, seed=2)
    nodes = torch.cat((query.video, exemplar.video, query.fused, exemplar.fused), dim=1)[0]
    with torch.inference_mode():
        hidden, attention_1 = by_hand(module.attend, nodes)
        hidden, attention_2 = by_hand(module.refine, functional.elu(hidden))
        expected = module.output(hidden) + module.residual_weight * nodes
        result, attention = module(query, exemplar, attention=True)
    torch.testing.assert_close(result[0].flatten(0, 1), expected[first : first + 18], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(attention[0], torch.stack((attention_1, attention_2)), atol=1e-6, rtol=1e-5)


def test_attention_of_a_target_sums_to_one_over_the_others():
    module = CausalIntervention(16, "f").eval()
    with torch.inference_mode():
        _, attention = module(encodings(3), encodings(3, seed=5), attention=True)
    assert attention.shape == (3, 2, 36, 36, 4)
    torch.testing.assert_close(attention.sum(dim=2), torch.ones(3, 2, 36, 4))
    assert not attention.diagonal(dim1=2, dim2=3).any()


def test_no_pair_sees_another():
    module = CausalIntervention(16, "f").eval()
    query, exemplar = encodings(5), encodings(5, seed=7)
    with torch.inference_mode():
        together, _ = module(query, exemplar)
        alone = torch.cat([module(query.select(i), exemplar.select(i))[0] for i in range(5)])
    torch.testing.assert_close(together, alone, atol=1e-6, rtol=1e-5)


def test_no_gradient_flows_between_pairs():
    module = CausalIntervention(16, "f")
    query = Encoding(torch.randn(2, 9, 16, requires_grad=True), torch.randn(2, 9, 16))
    result, _ = module(query, encodings(2))
    result[0].sum().backward()
    assert query.video.grad[0].any()
    assert not query.video.grad[1].any()


def test_the_input_starts_with_its_full_weight_in_our_presets_and_a_tenth_in_the_released_codes():
    def start(preset: str) -> float:
        small = PRESETS[preset].model_copy(update={"width": 1 / 16, "static_branch": False})
        return FineCausal(small).intervention.residual_weight.item()

    assert start("finecausal") == start("compact") == 1.0
    assert start("reference") == pytest.approx(0.1)
