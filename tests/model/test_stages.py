import pytest
import torch
from torch.nn import functional

from finecausal_cli.model.temporal import StageFeatures, resample, stage_spans


@pytest.mark.parametrize(
    ("start", "end", "samples"), [(0, 4, 4), (3, 9, 4), (0, 9, 4), (2, 4, 4), (8, 9, 4), (0, 7, 36)]
)
def test_resampling_is_linear_interpolation_of_the_slice(start, end, samples):
    sequence = torch.randn(2, 9, 5)
    expected = functional.interpolate(
        sequence[:, start:end].transpose(1, 2), size=samples, mode="linear", align_corners=True
    ).transpose(1, 2)
    bounds = torch.tensor([start, start]), torch.tensor([end, end])
    torch.testing.assert_close(resample(sequence, *bounds, samples), expected, atol=1e-6, rtol=1e-6)


def test_spans_differ_within_a_batch_and_are_clipped():
    ramp = torch.arange(9.0)[None, :, None].expand(4, 9, 1)
    start, end = torch.tensor([-3, 5, 8, 12]), torch.tensor([4, 20, 8, 13])
    result = resample(ramp, start, end, 4)[..., 0]
    expected = [[0, 1, 2, 3], [5, 6, 7, 8], [8, 8, 8, 8], [8, 8, 8, 8]]
    torch.testing.assert_close(result, torch.tensor(expected, dtype=torch.float))


@pytest.mark.parametrize(
    ("query", "exemplar", "first", "last"),
    [((30, 81), (38, 87), 3, 8), ((20, 54), (30, 48), 2, 5), ((47, 95), (47, 95), 4, 9), ((0, 48), (9, 50), 0, 4)],
)
def test_a_pair_is_cut_at_its_mean_transitions(query, exemplar, first, last):
    spans = stage_spans(torch.tensor([[query, exemplar]]))
    bounds = [(int(start), int(end)) for start, end in spans]
    assert bounds == [(0, first + 1), (first, last + 1), (last - 1, 9)]


def test_stages_follow_the_order_of_the_dive():
    stages = StageFeatures(16)
    ramp = torch.arange(9.0)[:, None].expand(1, 2, 9, 16)
    transitions = torch.tensor([[[30, 60], [30, 60]]])
    pooled = stages.pool(ramp, transitions)
    assert pooled.shape == (1, 2, 3, 4, 16)
    torch.testing.assert_close(
        pooled[0, 1, :, :, 0], torch.tensor([[0.0, 1, 2, 3], [3, 4, 5, 6], [5, 6, 7, 8]]), atol=1e-6, rtol=0
    )


def test_each_stage_has_a_reducer_of_its_own():
    stages = StageFeatures(16).eval()
    features, transitions = torch.randn(2, 2, 9, 16), torch.tensor([[30, 60], [31, 61]]).expand(2, 2, 2)
    before = stages(features, transitions)
    torch.nn.init.zeros_(stages.reducers["entry"].reduce[-2].weight)
    torch.nn.init.ones_(stages.reducers["entry"].reduce[-2].bias)
    after = stages(features, transitions)
    assert torch.equal(before[:, :, :2], after[:, :, :2])
    assert torch.equal(after[:, :, 2], torch.ones(2, 2, 12, 64))
