import pytest
import torch
from torch.nn import functional

from finecausal_cli.model import FineCausal
from finecausal_cli.model.config import PRESETS
from finecausal_cli.model.intervention import CausalIntervention, complete_edges
from finecausal_cli.model.outputs import Encoding


def encodings(count, features=16, seed=0):
    generator = torch.Generator().manual_seed(seed)
    video, mask = torch.randn(2, count, 9, features, generator=generator)
    return Encoding(video.relu(), mask)


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
