import torch

from finecausal_cli.model.temporal import ContrastiveRegression


def test_swapping_the_dives_swaps_the_differences():
    regression = ContrastiveRegression().eval()
    tokens = torch.randn(3, 2, 3, 12, 64)
    torch.testing.assert_close(regression(tokens.flip(1)), regression(tokens).flip(1))


def test_a_stage_depends_on_itself_alone():
    regression = ContrastiveRegression().eval()
    tokens = torch.randn(1, 2, 3, 12, 64)
    before = regression(tokens)
    changed = tokens.clone()
    changed[:, :, 1] += 1
    after = regression(changed)
    assert torch.equal(before[..., [0, 2]], after[..., [0, 2]])
    assert (before[..., 1] != after[..., 1]).all()


def test_stages_in_the_air_share_a_decoder_and_the_entry_has_its_own():
    regression = ContrastiveRegression().eval()
    same = torch.randn(1, 2, 1, 12, 64).expand(1, 2, 3, 12, 64)
    deltas = regression(same)
    torch.testing.assert_close(deltas[..., 0], deltas[..., 1])
    assert (deltas[..., 1] - deltas[..., 2]).abs().min() > 1e-5


def test_equal_tokens_are_as_good_as_one():
    regression = ContrastiveRegression().eval()
    one = torch.randn(2, 2, 3, 1, 64)
    torch.testing.assert_close(regression(one.expand(2, 2, 3, 12, 64)), regression(one), atol=1e-6, rtol=1e-5)
