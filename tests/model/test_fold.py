import pytest
import torch

from finecausal_cli.model import FineCausal, ModelConfig
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
