import pytest
import torch

from finecausal_cli.model import PRESETS, STAGE_WEIGHTS, FineCausal, ModelConfig
from finecausal_cli.model.finecausal import cut_snippets
from finecausal_cli.model.outputs import Encoding

TINY = ModelConfig(preset="compact", width=1 / 16, frame_size=32)


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def build(**changes):
    return FineCausal(ModelConfig(**{**TINY.model_dump(), **changes})).eval()


def clips(count, size=32):
    return torch.randn(count, 3, 96, size, size)


def encodings(count, model):
    features = model.config.features
    frames = torch.rand(count, 96, 512) if model.config.static_branch else None
    return Encoding(torch.rand(count, 9, features) * 3, torch.randn(count, 9, features), frames)


VARIANTS = [
    {},
    {"shared_trunk": True},
    {"gat": False},
    {"tca": False},
    {"readout": "o"},
    {"tca_mode": "replace"},
    {"static_branch": True},
]


def test_snippets_overlap_by_six_frames():
    frames = torch.arange(96.0)[None, None, :, None, None].expand(2, 3, 96, 1, 1)
    snippets = cut_snippets(frames)
    assert snippets.shape == (18, 3, 16, 1, 1)
    assert snippets[0, 0, :, 0, 0].tolist() == list(range(16))
    assert snippets[9 + 8, 2, :, 0, 0].tolist() == list(range(80, 96))


@pytest.mark.parametrize("size", [32, 48, 80])
def test_encodes_pictures_of_any_size(size):
    model = build(frame_size=size)
    with torch.inference_mode():
        encoding = model.encode(clips(1, size), foreground="all")
    assert encoding.video.shape == encoding.mask.shape == (1, 9, 64)
    assert [tuple(each.shape) for each in encoding.foreground] == [(1, 9, 16, size, size)] * 5


@pytest.mark.parametrize("changes", [{}, {"shared_trunk": True}])
def test_foreground_is_given_on_request_and_changes_nothing_else(changes):
    model, batch = build(**changes), clips(1)
    with torch.inference_mode():
        none, fused, everything = (model.encode(batch, foreground=request) for request in ("none", "fused", "all"))
    assert none.foreground is None
    assert (len(fused.foreground), len(everything.foreground)) == (1, 5)
    torch.testing.assert_close(fused.foreground[0], everything.foreground[-1])
    for encoding in (fused, everything):
        assert torch.equal(encoding.video, none.video)
        assert torch.equal(encoding.mask, none.mask)


def test_a_clip_does_not_depend_on_its_batch():
    model, batch = build(static_branch=True), clips(3)
    with torch.inference_mode():
        together = model.encode(batch)
        alone = model.encode(batch[1:2])
    for ours, theirs in ((together.video, alone.video), (together.mask, alone.mask), (together.frames, alone.frames)):
        torch.testing.assert_close(ours[1:2], theirs, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("changes", VARIANTS)
def test_a_pair_does_not_depend_on_its_batch(changes):
    model = build(**changes)
    queries, exemplars = encodings(6, model), encodings(6, model)
    with torch.inference_mode():
        together = model.compare(queries, exemplars, attention=True)
        for i in range(6):
            alone = model.compare(queries.select(i), exemplars.select(i), attention=True)
            assert torch.equal(alone.transitions[0], together.transitions[i])
            for name in ("frame_logits", "tokens", "stage_deltas", "delta", "node_attention", "stage_attention"):
                ours, theirs = getattr(together, name), getattr(alone, name)
                assert (ours is None) == (theirs is None)
                if ours is not None:
                    torch.testing.assert_close(ours[i], theirs[0], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("changes", VARIANTS)
def test_the_stages_add_up_and_either_direction_is_the_other_s_mirror(changes):
    model = build(**changes)
    query, exemplars = encodings(1, model), encodings(4, model)
    with torch.inference_mode():
        result = model.compare(query, exemplars)
        mirrored = model.compare(exemplars, Encoding.concat([query] * 4))
    assert result.delta.shape == (4, 2)
    torch.testing.assert_close(result.stage_deltas @ torch.tensor(STAGE_WEIGHTS), result.delta)
    torch.testing.assert_close(mirrored.delta.flip(1), result.delta, atol=1e-5, rtol=1e-4)


def test_attention_only_on_request():
    model = build()
    query, exemplar = encodings(2, model), encodings(2, model)
    with torch.inference_mode():
        plain, seen = model.compare(query, exemplar), model.compare(query, exemplar, attention=True)
    assert plain.node_attention is plain.stage_attention is None
    assert seen.node_attention.shape == (2, 2, 36, 36, 4)
    assert seen.stage_attention.shape == (2, 2, 2, 3, 3)
    torch.testing.assert_close(plain.frame_logits, seen.frame_logits)


def test_without_graph_attention_the_fused_features_pass_on():
    model = build(gat=False)
    query, exemplar = encodings(1, model), encodings(1, model)
    with torch.inference_mode():
        result = model.compare(query, exemplar, attention=True)
        expected = model.transition_parser(torch.cat((query.fused, exemplar.fused)))
    torch.testing.assert_close(result.frame_logits[0], expected)
    assert result.node_attention is None


def test_without_causal_attention_the_tokens_pass_on():
    model = build(tca=False)
    tokens = torch.randn(2, 2, 3, 12, 64)
    refined, attention = model.apply_tca(tokens)
    assert refined is tokens
    assert attention is None


def test_causal_attention_replaces_or_adds():
    tokens = torch.randn(1, 2, 3, 12, 64)
    replacing, adding = build(tca_mode="replace"), build(tca_mode="residual")
    adding.load_state_dict(replacing.state_dict())
    one, _ = replacing.apply_tca(tokens)
    many, _ = adding.apply_tca(tokens)
    assert one.shape == (1, 2, 3, 1, 64)
    torch.testing.assert_close(many - tokens, one.expand_as(tokens), atol=1e-5, rtol=1e-5)


def test_given_transitions_cut_the_stages():
    model = build()
    query, exemplar = encodings(1, model), encodings(1, model)
    with torch.inference_mode():
        free = model.compare(query, exemplar)
        same = model.compare(query, exemplar, transitions=free.transitions)
        given = torch.tensor([[[5, 94], [5, 94]]])
        forced = model.compare(query, exemplar, transitions=given)
    assert torch.equal(same.tokens, free.tokens)
    assert torch.equal(forced.transitions, given)
    assert torch.equal(forced.frame_logits, free.frame_logits)
    assert not torch.allclose(forced.tokens, free.tokens)


@pytest.mark.parametrize("changes", [{}, {"static_branch": True}])
def test_replacing_a_stage_moves_it_and_later_stages_only(changes):
    model = build(**changes)
    with torch.inference_mode():
        result = model.compare(encodings(1, model), encodings(1, model))
        again = model.regress(result.tokens, result.static_tokens)
        torch.testing.assert_close(again.delta, result.delta)
        tokens = result.tokens.clone()
        tokens[:, 0, 1] = tokens[:, 1, 1] + 1  # do(flight := another one)
        done = model.regress(tokens, result.static_tokens)
    change = (done.stage_deltas - result.stage_deltas).abs()[0, 0]
    assert change[0] < 1e-6
    assert change[1] > 1e-4
    assert change[2] > 1e-6


@pytest.mark.parametrize("changes", VARIANTS)
def test_every_parameter_learns(changes):
    model = build(**changes).train()
    encoding, result = model(clips(1), clips(1), foreground="all")
    assert len(encoding) == 2
    losses = [each.square().mean() for each in (*encoding.foreground, result.delta, result.frame_logits)]
    sum(losses).backward()
    idle = [name for name, parameter in model.named_parameters() if parameter.grad is None]
    assert idle == []


def test_forward_is_encode_then_compare():
    model, query, exemplar = build(), clips(2), clips(2)
    transitions = torch.tensor([[[20, 60], [25, 70]]] * 2)
    with torch.inference_mode():
        encoding, result = model(query, exemplar, transitions=transitions)
        expected = model.compare(model.encode(query), model.encode(exemplar), transitions=transitions)
    assert len(encoding) == 4
    torch.testing.assert_close(result.delta, expected.delta, atol=1e-5, rtol=1e-5)


def test_refuses_what_does_not_fit():
    model = build(static_branch=True)
    with pytest.raises(ValueError, match="32, 32"):
        model.encode(clips(1, 48))
    with pytest.raises(ValueError, match="cannot be paired"):
        model.compare(encodings(2, model), encodings(3, model))
    lacking = Encoding(torch.rand(1, 9, 64), torch.rand(1, 9, 64))
    with pytest.raises(ValueError, match="single frames"):
        model.compare(lacking, lacking)
    with pytest.raises(ValueError, match="single frames"):
        model.regress(torch.rand(1, 2, 3, 12, 64))


def test_sizes_are_those_of_the_design():
    with torch.device("meta"):
        models = {name: FineCausal(config) for name, config in PRESETS.items()}

    def millions(module):
        return sum(parameter.numel() for parameter in module.parameters()) / 1e6

    reference = models["reference"]
    assert millions(reference.video_trunk) == pytest.approx(12.3, abs=0.05)
    assert millions(reference.intervention) == pytest.approx(9.5, abs=0.05)
    assert millions(reference.static) == pytest.approx(21.9, abs=0.5)
    assert millions(models["compact"]) < 3.1
