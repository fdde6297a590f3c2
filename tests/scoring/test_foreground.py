import numpy as np
import pytest
import torch

from finecausal_cli.scoring.background import cut_square, gather_evidence, measure_foreground, merge_snippets
from finecausal_cli.video import Clip


def clip_of(height, width):
    frames = np.random.default_rng(0).integers(0, 255, (96, height, width, 3), np.uint8)
    return Clip(frames, np.arange(96) * 2, 50.0, "made", "none")


def test_where_two_snippets_show_a_frame_their_probabilities_are_averaged():
    logits = torch.full((9, 16, 1, 1), -50.0)
    logits[0] = 50.0
    found = merge_snippets(logits)[:, 0, 0]
    assert found[:10] == pytest.approx(np.ones(10))
    assert found[10:16] == pytest.approx(np.full(6, 0.5))  # frames 10..15 belong to snippet 1 too
    assert found[16:] == pytest.approx(np.zeros(80))
    assert len(found) == 96


def test_shares_are_of_the_square_by_frame_and_stage(make_stages):
    probabilities = np.zeros((96, 4, 4), np.float32)
    probabilities[:20, 0] = 0.6  # a quarter of the take-off's pictures
    probabilities[20, :2] = 0.6
    found = measure_foreground(probabilities, make_stages(20, 22))
    assert found.stages == pytest.approx((0.25, 0.25, 0))
    assert found.frames[:22] == pytest.approx((0.25,) * 20 + (0.5, 0))


def test_the_mask_lies_where_the_network_looked():
    clip, pictures = clip_of(36, 64), clip_of(72, 128)
    probabilities = np.zeros((96, 32, 32), np.float32)
    probabilities[5, 8:16, 4:12] = 1
    found = gather_evidence(clip, probabilities, pictures.frames)
    assert found.crop == (4, 32, 64, 64)  # twice (36 - 32) / 2 and (64 - 32) / 2
    assert found.frames is pictures.frames
    assert found.masks.shape == (96, 72, 128)
    rows, columns = np.nonzero(found.masks[5])
    assert (rows.min(), rows.max() + 1) == (4 + 16, 4 + 32)
    assert (columns.min(), columns.max() + 1) == (32 + 8, 32 + 24)
    assert found.masks.sum() == 16 * 16
    assert found.source_frames.tolist() == clip.source_frames.tolist()
    assert found.fps == 50.0


def test_a_squeezed_clip_is_laid_over_upright_pictures():
    """The square of 32 in the middle of a strip of 57 x 32 is all of a picture's width."""
    found = gather_evidence(clip_of(57, 32), np.ones((96, 32, 32), np.float32), clip_of(90, 160).frames)
    top, left, height, width = found.crop
    assert (left, width) == (0, 160)
    assert (top, height) == (round(12 * 90 / 57), round(44 * 90 / 57) - round(12 * 90 / 57))
    assert found.masks[:, top : top + height].all()


def test_the_mask_follows_a_virtual_camera_and_stays_in_the_picture():
    windows = np.tile([50.0, 40.0, 32 * 128 / 112], (96, 1))
    windows[7, :2] = 4, 40  # the athlete is at the left edge
    frames = np.zeros((96, 37, 37, 3), np.uint8)
    clip = Clip(frames, np.arange(96), 25.0, "made", "none", windows=windows, source_size=(80, 100))
    found = gather_evidence(clip, np.ones((96, 32, 32), np.float32), np.zeros((96, 160, 200, 3), np.uint8))
    top, left, height, width = found.square(0)
    assert (top + height / 2, left + width / 2) == pytest.approx((80, 100), abs=1)
    assert (height, width) == pytest.approx((2 * 32 * 128 / 112 * 32 / 37,) * 2, abs=1)
    assert found.masks[0].sum() == height * width
    assert found.square(7)[1] < 0
    assert 0 < found.masks[7].sum() < height * width
    assert cut_square(found.frames[7], found.square(7)).shape == (height, width, 3)
