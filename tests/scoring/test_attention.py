import numpy as np
import pytest
import torch

from finecausal_cli.model.outputs import Encoding
from finecausal_cli.retrieval.voting import compare_with_exemplars
from finecausal_cli.scoring.assessment import build_attention
from finecausal_cli.scoring.explain import (
    describe_graph,
    describe_stage_attention,
    frames_by_stage,
    snippet_shares,
    stage_preference,
    view_graph,
)


@pytest.fixture(scope="module")
def votes(tiny_model, tiny_bank):
    query = Encoding(*torch.rand(2, 1, 9, 32, generator=torch.Generator().manual_seed(5)))
    return compare_with_exemplars(tiny_model, [query], tiny_bank, [range(6)], attention=True)[0]


def test_a_view_is_of_one_layer_and_head_or_the_mean(votes):
    nodes = votes.pairs.node_attention  # [V, layer, source, target, head]
    assert np.allclose(view_graph(votes, 2, 3), nodes[:, 1, :, :, 2].mean(0), atol=1e-6)
    assert np.allclose(view_graph(votes, 1, None), nodes[:, 0].mean((0, -1)), atol=1e-6)
    assert np.allclose(view_graph(votes, None, 4), nodes[..., 3].mean((0, 1)), atol=1e-6)
    assert not np.allclose(view_graph(votes, 1, None), view_graph(votes, 2, None), atol=1e-4)


@pytest.mark.parametrize(("layer", "head"), [(None, None), (1, 2)])
def test_every_target_gives_out_one(votes, layer, head):
    graph = view_graph(votes, layer, head)
    assert graph.shape == (36, 36)
    assert graph.sum(0) == pytest.approx(np.ones(36), abs=1e-5)
    assert np.diag(graph) == pytest.approx(np.zeros(36))


def test_shares_are_of_what_the_querys_nodes_receive():
    """Every target looks at the query's fourth snippet: a quarter at its video, three quarters at its fused node."""
    graph = np.zeros((36, 36))
    graph[3], graph[18 + 3] = 0.25, 0.75
    assert snippet_shares(graph).tolist() == [0, 0, 0, 1, 0, 0, 0, 0, 0]
    graph[9:18] = 5  # what the exemplar gets plays no part
    graph[5] = 1
    assert snippet_shares(graph).tolist() == [0, 0, 0, 0.5, 0, 0.5, 0, 0, 0]


def test_a_snippets_frames_are_shared_out_to_the_stages():
    rows = frames_by_stage((0, 24, 80, 96))
    assert rows[0].tolist() == [1, 0, 0]
    assert rows[1].tolist() == [14 / 16, 2 / 16, 0]  # frames 10..25
    assert rows[2].tolist() == [4 / 16, 12 / 16, 0]  # frames 20..35
    assert rows[7].tolist() == [0, 10 / 16, 6 / 16]  # frames 70..85
    assert rows[8].tolist() == [0, 0, 1]
    assert rows.sum(1) == pytest.approx(np.ones(9))


def test_even_attention_prefers_no_stage_however_long():
    assert stage_preference(np.full(9, 1 / 9), frames_by_stage((0, 24, 80, 96))) == pytest.approx(np.ones(3))


def test_a_stage_with_all_attention_is_preferred_by_its_rarity():
    shares = np.zeros(9)
    shares[8] = 1  # all of it entry; the entry holds 16 + 6 of 9 * 16 frames
    assert stage_preference(shares, frames_by_stage((0, 24, 80, 96))) == pytest.approx((0, 0, 9 * 16 / 22))


def test_a_stage_without_frames_gets_nothing():
    assert stage_preference(np.full(9, 1 / 9), frames_by_stage((0, 0, 80, 96)))[0] == 0


def test_the_last_layer_agrees_with_the_table_of_the_verdict(votes, make_stages):
    told = build_attention(votes)
    found = describe_graph(votes, make_stages(30, 70), 2, None)
    assert np.allclose(found.node_types, told.node_types, atol=1e-6)
    assert (found.layers, found.heads, found.uniform) == (2, 4, pytest.approx(1 / 35))
    assert np.allclose(describe_stage_attention(votes).mean, told.stages, atol=1e-6)


def test_stage_attention_by_layer_is_lower_triangular(votes):
    matrices = np.asarray(describe_stage_attention(votes).matrices)
    assert matrices.shape == (2, 1, 3, 3)
    assert np.triu(matrices, 1) == pytest.approx(np.zeros((2, 1, 3, 3)))
    assert matrices.sum(-1) == pytest.approx(np.ones((2, 1, 3)), abs=1e-5)


def test_without_modules_there_is_nothing_to_tell(make_model, tiny_bank, make_stages):
    query = Encoding(*torch.rand(2, 1, 9, 32))
    bare = compare_with_exemplars(make_model(gat=False, tca=False), [query], tiny_bank, [(0, 1)], attention=True)[0]
    assert view_graph(bare, None, None) is None
    assert describe_graph(bare, make_stages(30, 70), None, None) is None
    assert describe_stage_attention(bare) is None
