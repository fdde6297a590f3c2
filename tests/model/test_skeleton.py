"""The network that reads tracks of bodies."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from finecausal_cli.athlete import JOINTS
from finecausal_cli.athlete.track import BodyTrack, track_features
from finecausal_cli.diving import MAX_EXECUTION
from finecausal_cli.model.config import PRESETS, STAGE_WEIGHTS
from finecausal_cli.model.finecausal import FineCausal, bound_stages
from finecausal_cli.model.skeleton_encoder import TRACK_CHANNELS, mirror_tracks

CONFIG = PRESETS["skeleton"].model_copy(update={"width": 1 / 32})


@pytest.fixture(scope="module")
def network() -> FineCausal:
    torch.manual_seed(3)
    return FineCausal(CONFIG).eval()


def tracks(count: int) -> torch.Tensor:
    return torch.randn(count, TRACK_CHANNELS, 96, generator=torch.Generator().manual_seed(count))


def any_track() -> BodyTrack:
    rng, shape = np.random.default_rng(4), (96, len(JOINTS))
    return BodyTrack(
        times_s=np.linspace(-0.5, 2.2, 96),
        joints_m=rng.normal(0, 0.5, (*shape, 2)).astype(np.float32),
        confidence=rng.random(shape).astype(np.float32),
        seen=rng.random(96).astype(np.float32),
        path_m=rng.normal(0, 2, (96, 2)).astype(np.float32),
        area_m2=rng.random(96).astype(np.float32),
        air_s=1.4,
        splash=0.4,
        splash_error=0.1,
        leans_deg=np.array([[5.0, 4.0], [-12.0, 5.0]], np.float32),
    )


def test_a_track_is_encoded_alone_as_in_a_batch(network: FineCausal) -> None:
    batch = tracks(3)
    with torch.inference_mode():
        together, alone = network.encode(batch), network.encode(batch[1:2])
    torch.testing.assert_close(together.video[1:2], alone.video, atol=1e-5, rtol=1e-4)
    assert together.video.shape == (3, 9, 32)
    assert together.foreground is None
    assert together.number_logits is not None


def test_the_mirrored_picture_is_encoded_alike(network: FineCausal) -> None:
    body = any_track()
    shown, mirrored = (torch.from_numpy(track_features(each))[None] for each in (body, body.mirrored()))
    torch.testing.assert_close(mirror_tracks(shown), mirrored, atol=1e-6, rtol=0)
    assert (shown - mirrored).abs().max() > 0.1
    with torch.inference_mode():
        one, other = network.encode(shown), network.encode(mirrored)
        alone = network.encode_tracks(shown)[0]
    torch.testing.assert_close(one.video, other.video, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(one.number_logits, other.number_logits, atol=1e-5, rtol=1e-4)
    assert (alone.video - one.video).abs().max() > 1e-3


def test_pairs_are_compared_both_ways_with_opposite_signs(network: FineCausal) -> None:
    with torch.inference_mode():
        encoding = network.encode(tracks(2))
        pair = network.compare(encoding.select(0), encoding.select(1))
    assert pair.delta[0, 0].item() == pytest.approx(-pair.delta[0, 1].item(), abs=1e-6)


def test_a_stage_cannot_cost_more_than_judges_can_give() -> None:
    weights = torch.tensor(STAGE_WEIGHTS)
    bounded = bound_stages(torch.tensor([[1e4, -1e4, 1e4], [0.5, -0.5, 0.1]]))
    assert ((bounded * weights).abs() <= MAX_EXECUTION + 1e-4).all()
    torch.testing.assert_close(bounded[1], torch.tensor([0.5, -0.5, 0.1]), rtol=1e-3, atol=0)


def test_pictures_are_no_tracks(network: FineCausal) -> None:
    with pytest.raises(ValueError, match="tracks must be"):
        network.encode(torch.zeros(1, 3, 96, 112, 112))


def test_folding_for_inference_changes_nothing(network: FineCausal) -> None:
    batch = tracks(2)
    with torch.inference_mode():
        torch.testing.assert_close(network.for_inference().encode(batch).video, network.encode(batch).video)
