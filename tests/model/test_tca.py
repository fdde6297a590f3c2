import torch

from finecausal_cli.model.causal import TemporalCausalAttention


def test_a_stage_sees_itself_and_earlier_stages_only():
    module = TemporalCausalAttention().eval()
    stages = torch.randn(2, 3, 64)
    with torch.inference_mode():
        before, attention = module(stages)
        for changed in range(3):
            other = stages.clone()
            other[:, changed] += 1
            after, _ = module(other)
            moved = [(before[:, k] - after[:, k]).abs().max() > 1e-4 for k in range(3)]
            assert moved == [k >= changed for k in range(3)]
    assert attention.shape == (2, 2, 3, 3)
    assert not attention.triu(1).any()
    torch.testing.assert_close(attention.sum(-1), torch.ones(2, 2, 3))


def test_the_takeoff_attends_to_itself_alone():
    _, attention = TemporalCausalAttention().eval()(torch.randn(4, 2, 3, 64))
    torch.testing.assert_close(attention[..., 0, :], torch.tensor([1.0, 0, 0]).expand(4, 2, 2, 3))
