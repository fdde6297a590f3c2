import pytest
import torch

from finecausal_cli.model.causal import UNIFORM_ATTENTION, node_type_attention, node_type_attention_by_head


def test_no_preference_is_one_in_35_everywhere():
    uniform = (torch.ones(36, 36) - torch.eye(36))[..., None].expand(36, 36, 4) * UNIFORM_ATTENTION
    torch.testing.assert_close(node_type_attention(uniform), torch.full((4, 4), 1 / 35))


def test_averages_over_the_edges_between_two_kinds():
    attention = torch.zeros(2, 36, 36, 4)
    attention[1, 0, 1, 2] = 0.72  # query video to itself: 9 * 8 edges, head 2
    attention[1, 8, 35, :] = 0.81  # query video to exemplar fused: 81 edges
    by_head = node_type_attention_by_head(attention)
    assert by_head.shape == (2, 4, 4, 4)
    assert by_head[1, 2, 0, 0] == pytest.approx(0.01)
    assert by_head[1, :, 0, 3].tolist() == pytest.approx([0.01] * 4)
    mean = node_type_attention(attention)
    assert mean[1, 0, 0] == pytest.approx(0.0025)
    assert not mean[0].any()
    assert int((mean[1] > 0).sum()) == 2
