import pytest
import torch
from torch import nn

from finecausal_cli.errors import WeightsError
from finecausal_cli.model.config import PRESETS, ModelConfig
from finecausal_cli.model.finecausal import FineCausal, cut_snippets
from finecausal_cli.model.frame_encoder import FRAME_FEATURES, FrameBackbone, by_snippet, cut_frames
from finecausal_cli.weights.convert import load_kinetics

CONFIG = ModelConfig(
    preset="compact", trunk="frames", width=1 / 16, shared_trunk=True, foreground="top_down", frame_size=32
)


def shaken(model):
    """Give batch norms statistics of their own, so that folding and modes make a difference where they should not."""
    generator = torch.Generator().manual_seed(1)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d):
            module.running_mean.normal_(generator=generator)
            module.running_var.uniform_(0.5, 2.0, generator=generator)
    return model.eval()


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return shaken(FineCausal(CONFIG))


@pytest.fixture(scope="module")
def clips():
    return torch.randn(2, 3, 96, 32, 32, generator=torch.Generator().manual_seed(2))


def test_compact_reads_frames_and_the_others_the_papers_i3d():
    assert {name: config.trunk for name, config in PRESETS.items()} == {
        "reference": "i3d",
        "finecausal": "i3d",
        "compact": "frames",
        "skeleton": "skeleton",
    }


def test_its_depths_are_not_added_up_as_an_i3ds_are():
    with pytest.raises(ValueError, match="frames"):
        ModelConfig(**{**CONFIG.model_dump(), "foreground": "linear"})


def test_frames_and_snippets_are_cut_where_they_lie():
    clip = torch.arange(96.0).reshape(1, 1, 96, 1, 1).expand(1, 3, 96, 2, 2)
    assert cut_frames(clip)[:, 0, 0, 0].tolist() == [*range(96)]
    snippets = by_snippet(cut_frames(clip).unflatten(0, (1, 96)))
    assert snippets.shape == (1, 9, 16, 3, 2, 2)
    assert snippets[0, :, :, 0, 0, 0].tolist() == [[*range(start, start + 16)] for start in range(0, 81, 10)]


def test_a_clip_read_frame_by_frame_is_its_snippets_read_one_by_one(network, clips):
    with torch.inference_mode():
        whole = network.encode(clips, foreground="fused")
        video, taps = network.video_trunk(cut_snippets(clips), taps=True)
        drawn = network.parser.heads(taps, cut_frames(cut_snippets(clips)))
        mask = network.parser.project(whole.video)
    torch.testing.assert_close(whole.video, video.reshape(2, 9, -1), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(whole.mask, mask)
    assert whole.foreground[0].shape == (2, 9, 16, 32, 32)
    torch.testing.assert_close(whole.foreground[0].reshape(-1, 32, 32), drawn, atol=1e-4, rtol=1e-4)


def test_a_snippet_depends_on_its_own_frames_and_on_their_order(network, clips):
    changed = clips.clone()
    changed[:, :, 47:] += 1
    backwards = clips.clone()
    backwards[:, :, 40:56] = clips[:, :, 40:56].flip(2)
    with torch.inference_mode():
        before, after, turned = (network.encode(each).video for each in (clips, changed, backwards))
    torch.testing.assert_close(before[:, :4], after[:, :4], atol=0, rtol=0)
    assert (before[:, 4:] - after[:, 4:]).abs().amax(dim=(0, 2)).min() > 1e-6
    assert (before[:, 4] - turned[:, 4]).abs().max() > 1e-6


def test_a_second_trunk_finds_the_athlete_and_gives_the_mask_features(clips):
    torch.manual_seed(6)
    network = shaken(FineCausal(CONFIG.model_copy(update={"shared_trunk": False})))
    assert network.parser.project is None
    with torch.inference_mode():
        whole = network.encode(clips, foreground="fused")
        video, _ = network.video_trunk(cut_snippets(clips))
        mask, taps = network.parser.trunk(cut_snippets(clips), taps=True)
        drawn = network.parser.heads(taps, cut_frames(cut_snippets(clips)))
    torch.testing.assert_close(whole.video, video.reshape(2, 9, -1), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(whole.mask, mask.reshape(2, 9, -1), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(whole.foreground[0].reshape(-1, 32, 32), drawn, atol=1e-4, rtol=1e-4)
    assert (whole.video - whole.mask).abs().max() > 1e-3
    assert network.project_mask_features(whole) is whole


def test_the_static_branch_sees_the_clips_too(clips):
    network = FineCausal(CONFIG.model_copy(update={"static_branch": True})).eval()
    with torch.inference_mode():
        whole = network.encode(clips)
        torch.testing.assert_close(whole.frames, network.static.encode(clips), atol=1e-5, rtol=1e-4)
        assert network.compare(whole.select([0]), whole.select([1])).delta.isfinite().all()


def test_where_something_is_tells(network):
    """An I3D takes the mean over the picture; here the same spot elsewhere gives another vector."""
    frames = torch.zeros(2, 3, 32, 32)
    frames[0, :, 4:8, 4:8] = frames[1, :, 24:28, 20:24] = 3
    with torch.inference_mode():
        vectors, taps = network.video_trunk.read_frames(frames)
    assert vectors.shape == (2, FRAME_FEATURES)
    assert taps == ()
    assert (vectors[0] - vectors[1]).abs().max() > 1e-3


def test_many_frames_at_once_are_read_in_parts_to_the_same_result(network):
    frames = torch.randn(70, 3, 32, 32, generator=torch.Generator().manual_seed(3))
    with torch.inference_mode():
        together, taps = network.video_trunk.read_frames(frames, taps=True)
        alone = [network.video_trunk.read_frames(frame[None], taps=True) for frame in frames]
    torch.testing.assert_close(together, torch.cat([vectors for vectors, _ in alone]), atol=1e-5, rtol=1e-4)
    for depth, tap in enumerate(taps):
        torch.testing.assert_close(tap, torch.cat([maps[depth] for _, maps in alone]), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("shared", [True, False])
def test_a_folded_copy_gives_the_same_numbers(clips, shared):
    torch.manual_seed(0)
    network = shaken(FineCausal(CONFIG.model_copy(update={"shared_trunk": shared})))
    folded = network.for_inference()
    with torch.inference_mode():
        expected, found = (one.encode(clips, foreground="fused") for one in (network, folded))
        pairs = [one.compare(found.select([0]), found.select([1])).delta for one in (network, folded)]
    torch.testing.assert_close(found.video, expected.video, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(found.foreground[0], expected.foreground[0], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(*pairs, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("shared", [True, False])
def test_everything_before_the_pairs_learns_from_score_and_mask(clips, shared):
    torch.manual_seed(0)
    network = FineCausal(CONFIG.model_copy(update={"shared_trunk": shared})).train()
    encoding = network.encode(clips, foreground="all")
    delta = network.compare(encoding.select([0]), encoding.select([1])).delta
    (delta.sum() + encoding.foreground[0].mean()).backward()
    silent = [
        name for name, one in network.named_parameters() if name.startswith(("video", "parser")) and one.grad is None
    ]
    assert silent == []


def test_it_has_no_i3d_to_fill(tmp_path):
    torch.save({"x": torch.zeros(1)}, tmp_path / "i3d.pt")
    with pytest.raises(WeightsError):
        load_kinetics(tmp_path / "i3d.pt", FineCausal(CONFIG))


def test_width_scales_everything_but_a_frames_vector():
    assert FrameBackbone(0.25).tap_channels == (16, 48, 96, 160)
    assert FrameBackbone(0.25).features == 256
