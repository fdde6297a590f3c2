from pathlib import Path

import pytest
import torch

from finecausal_cli.data.dive import Dive
from finecausal_cli.model.config import ModelConfig
from finecausal_cli.model.outputs import Encoding
from finecausal_cli.training.heads import HeadOptions, train_heads

CONFIG = ModelConfig(preset="compact", width=1 / 16, shared_trunk=True, frame_size=32)
OPTIONS = HeadOptions(epochs=8, group=3, groups_per_batch=4, lr=2e-3)


@pytest.fixture(scope="module")
def lesson():
    """Dives whose features tell what each stage cost, a third of the snippets each."""
    rng = torch.Generator().manual_seed(0)
    cost = torch.rand(48, 3, generator=rng)
    directions = torch.randn(3, CONFIG.features, generator=rng)
    features = 0.3 * torch.randn(48, 9, CONFIG.features, generator=rng)
    features += torch.einsum("ug,gd->ugd", cost, directions).repeat_interleave(3, dim=1)
    dives = [
        Dive(
            key=f"{place}.mp4",
            video=Path("none.mp4"),
            score=3.0 * (30 - 3 * sum(points)),
            difficulty=3.0,
            number="107B",
            deductions=tuple(points),
        )
        for place, points in enumerate(cost.tolist())
    ]
    encodings = Encoding(video=features, mask=torch.zeros_like(features), frames=None, foreground=None)
    return dives, encodings, [(30, 60)] * len(dives)


@pytest.mark.slow
def test_heads_learn_what_each_stage_cost(lesson):
    dives, encodings, transitions = lesson
    model = train_heads(CONFIG, dives[:40], encodings.select(slice(0, 40)), transitions[:40], OPTIONS)
    with torch.inference_mode():
        fresh = encodings.select(slice(40, 48))
        gated = Encoding(video=fresh.video, mask=model.parser.project(fresh.video), frames=None, foreground=None)
        cut = torch.tensor([30, 60]).expand(56, 2, 2)
        query, exemplar = zip(*((a, b) for a in range(8) for b in range(8) if a != b), strict=True)
        pairs = model.compare(gated.select(list(query)), gated.select(list(exemplar)), transitions=cut)
    execution = torch.tensor([dive.execution for dive in dives[40:]])
    truth = execution[list(query)] - execution[list(exemplar)]
    assert torch.corrcoef(torch.stack([pairs.delta[:, 0], truth]))[0, 1] > 0.8


def test_the_same_seed_gives_the_same_heads_and_the_trunk_learns_nothing(lesson):
    dives, encodings, transitions = lesson
    short = HeadOptions(epochs=1, seed=3)
    dives, encodings, transitions = dives[:8], encodings.select(slice(0, 8)), transitions[:8]
    once, again = (train_heads(CONFIG, dives, encodings, transitions, short) for _ in range(2))
    for name, tensor in once.state_dict().items():
        torch.testing.assert_close(tensor, again.state_dict()[name], atol=0, rtol=0, msg=name)
    torch.manual_seed(3)
    untouched = type(once)(CONFIG)
    for name, tensor in untouched.video_trunk.state_dict().items():
        torch.testing.assert_close(once.video_trunk.state_dict()[name], tensor, atol=0, rtol=0, msg=name)
    assert not torch.equal(once.parser.project.weight, untouched.parser.project.weight)


def test_the_gate_stays_where_it_shall(lesson):
    dives, encodings, transitions = lesson
    few = slice(0, 4)
    options = HeadOptions(epochs=1, seed=5, gate=False)
    model = train_heads(CONFIG, dives[few], encodings.select(few), transitions[few], options)
    torch.manual_seed(5)
    assert torch.equal(model.parser.project.weight, type(model)(CONFIG).parser.project.weight)
