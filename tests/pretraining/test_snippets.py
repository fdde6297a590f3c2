import numpy as np
import pytest
import torch

from finecausal_cli.data.batch import normalise
from finecausal_cli.data.cache import ClipArrays
from finecausal_cli.data.datasets import read_dataset
from finecausal_cli.errors import DatasetError
from finecausal_cli.training.motion_snippets import BEFORE_LEAVING, SnippetDataset, collate_snippets
from finecausal_cli.video import MEAN, STD

from .conftest import SIDE


def test_a_share_of_the_snippets_starts_before_the_board_is_left(shelf):
    leave = shelf.targets[0].transitions[0]
    rng = np.random.default_rng(0)
    before = np.array(shelf.draw(0, 400, rng, 1.0))
    assert before.min() >= max(leave - BEFORE_LEAVING[1] + 1, 0)
    assert before.max() <= leave - BEFORE_LEAVING[0]
    anywhere = np.array(shelf.draw(0, 400, rng, 0.0))
    assert (anywhere.min(), anywhere.max()) == (0, 80)
    half = np.array(shelf.draw(0, 400, np.random.default_rng(1), 0.5))
    assert 0.4 < np.isin(half, np.unique(before)).mean() < 0.8
    assert half.tolist() == shelf.draw(0, 400, np.random.default_rng(1), 0.5)


def test_without_chance_the_middle_is_cut(simulated, gradient):
    shelf = SnippetDataset(read_dataset(simulated)[:1], gradient)
    first, second = shelf.crop_snippets(0, [0, 80], None)
    np.testing.assert_array_equal(first.frames, gradient.clip.frames[:16, 4:-4, 4:-4])
    np.testing.assert_array_equal(second.mask, gradient.clip.mask[80:96, 4:-4, 4:-4])
    target = shelf.targets[0]
    np.testing.assert_array_equal(second.motion, target.motion[80:96])
    np.testing.assert_array_equal(second.stage, target.stage[80:96])
    np.testing.assert_array_equal(second.shown, target.shown_by_snippet(80))
    np.testing.assert_array_equal(second.shown_by_frame, target.shown_by_frame()[80:96])


def test_by_chance_any_place_mirrored_or_not_and_the_mask_alike(simulated, gradient):
    shelf = SnippetDataset(read_dataset(simulated)[:1], gradient)
    mirrored, places = set(), set()
    for seed in range(30):
        (cut,) = shelf.crop_snippets(0, [10], np.random.default_rng(seed))
        np.testing.assert_array_equal(cut.frames[..., 0], cut.mask)
        seen = collate_snippets([cut], shelf.scale(), None).prepare()
        torch.testing.assert_close(seen.frames[0, 0] * STD[0] + MEAN[0], seen.mask[0] / 255)
        slope = int(seen.mask[0, 0, 0, 1]) - int(seen.mask[0, 0, 0, 0])
        assert abs(slope) == 1
        mirrored.add(slope > 0)
        places.add(int(cut.mask[0].max()))
    assert mirrored == {True, False}
    assert len(places) > 3


def test_a_clip_without_masks_is_refused(simulated, gradient):
    class Bare:
        def load(self, _):
            return ClipArrays(gradient.clip.frames, None, (30, 70))

    shelf = SnippetDataset(read_dataset(simulated)[:1], Bare())
    with pytest.raises(DatasetError, match="no masks"):
        shelf.make_ready(lambda: None)


def test_every_clip_is_decoded_once_and_reported(simulated, gradient):
    asked, told = [], []

    class Counting:
        def load(self, dive):
            asked.append(dive.key)
            return gradient.clip

    dives = read_dataset(simulated)
    SnippetDataset(dives, Counting()).make_ready(lambda: told.append(1))
    assert asked == [dive.key for dive in dives]
    assert len(told) == len(dives)


def test_a_batch_is_standardised_and_can_be_taken_back(shelf):
    scale = shelf.scale()
    cuts = [*shelf.crop_snippets(0, [0, 40], None), *shelf.crop_snippets(1, [80], None)]
    cut = collate_snippets(cuts, scale, None)
    assert cut.frames.dtype == cut.mask.dtype == torch.uint8
    batch = cut.prepare()
    assert batch.frames.shape == (3, 3, 16, SIDE, SIDE)
    torch.testing.assert_close(batch.frames[1], normalise(cuts[1].frames))
    motion = batch.motion * scale.motion[1] + scale.motion[0]
    torch.testing.assert_close(motion[2], torch.from_numpy(shelf.targets[1].motion[80:96]), atol=1e-4, rtol=1e-4)
    seen = batch.seen * scale.seen[1] + scale.seen[0]
    torch.testing.assert_close(seen[0], torch.from_numpy(shelf.targets[0].seen), atol=1e-4, rtol=1e-4)
    every = torch.stack([torch.from_numpy(one.seen) for one in shelf.targets])
    torch.testing.assert_close(scale.seen[0], every.mean(0), atol=1e-5, rtol=1e-5)
    assert batch.mask.unique().tolist() == [0.0, 1.0]


def test_light_changes_the_frames_alone(shelf):
    scale, cuts = shelf.scale(), shelf.crop_snippets(0, [40], None)
    plain, lit = (collate_snippets(cuts, scale, rng).prepare() for rng in (None, np.random.default_rng(0)))
    before, after = (one.frames[0, 0, 0] - one.frames[0, 0, 0].mean() for one in (plain, lit))
    gain = (after / before)[before.abs() > 0.1]
    assert gain.std() < 1e-2
    assert 0.4 < float(gain.mean()) < 1.6
    assert not torch.allclose(lit.frames, plain.frames)
    torch.testing.assert_close(lit.motion, plain.motion)
    torch.testing.assert_close(lit.mask, plain.mask)
