from dataclasses import replace

import numpy as np
import pytest
import torch

from finecausal_cli.data.batch import MAX_SHIFT, augment, collate, mirror_rows, rows_of, stage_execution
from finecausal_cli.data.cache import ClipArrays

SIZE = 32


@pytest.fixture
def coded():
    """A clip whose every pixel says where it is: red = row, green = column, blue = frame; the mask repeats a bit."""
    frame, row, column = np.meshgrid(np.arange(96), np.arange(40), np.arange(50), indexing="ij")
    frames = np.stack([row, column, frame], -1).astype(np.uint8)
    mask = ((row + 2 * column + 3 * frame) % 5 == 0).astype(np.uint8)
    return ClipArrays(frames, mask, (33, 70))


def augmented(clip, seed):
    """Augment a clip, mirrored as the device does."""
    found, is_mirrored = augment(clip, frame_size=SIZE, rng=np.random.default_rng(seed))
    if not is_mirrored:
        return found
    mask = None if found.mask is None else mirrored(found.mask)
    return replace(found, frames=mirrored(found.frames.transpose(0, 3, 1, 2)).transpose(0, 2, 3, 1), mask=mask)


def mirrored(planes):
    return mirror_rows(torch.from_numpy(planes.copy())[None], torch.tensor([0]))[0].numpy()


@pytest.mark.parametrize("seed", range(12))
def test_frames_mask_and_transitions_stay_together(coded, seed):
    found = augmented(coded, seed)
    assert found.frames.shape == (96, SIZE, SIZE, 3)
    row, column, frame = (found.frames[..., channel].astype(int) for channel in range(3))
    # Every pixel of the mask belongs to the very pixel of the picture that lies under it.
    assert np.array_equal(found.mask, (row + 2 * column + 3 * frame) % 5 == 0)
    # One crop and one flip for the whole clip, whole rows and columns of it.
    assert np.array_equal(np.unique(np.diff(row, axis=1)), [1])
    assert np.unique(np.diff(column, axis=2)).tolist() in ([1], [-1])
    sampled = frame[:, 0, 0]
    assert np.array_equal(frame, np.broadcast_to(sampled[:, None, None], frame.shape))
    assert sampled[0] == 0
    assert 95 - MAX_SHIFT <= sampled[-1] <= 95
    for before, after in zip(coded.transitions, found.transitions, strict=True):
        assert sampled[after] >= before > sampled[after - 1]


def test_chance_reaches_every_shift_crop_and_both_directions(coded):
    lasts, tops, lefts, flips = set(), set(), set(), set()
    for seed in range(300):
        found = augmented(coded, seed).frames
        lasts.add(int(found[-1, 0, 0, 2]))
        tops.add(int(found[0, 0, 0, 0]))
        lefts.add(int(found[0, 0, :, 1].min()))
        flips.add(bool(found[0, 0, 0, 1] > found[0, 0, 1, 1]))
    assert lasts == set(range(92, 96))
    assert tops == set(range(40 - SIZE + 1))
    assert lefts == set(range(50 - SIZE + 1))
    assert flips == {False, True}


def test_an_unknown_transition_stays_unknown_and_a_late_one_stays_in_the_clip(coded):
    for seed in range(20):
        found = augmented(ClipArrays(coded.frames, None, (-1, 95)), seed)
        assert found.mask is None
        assert found.transitions[0] == -1
        assert 92 <= found.transitions[1] <= 95


@pytest.fixture
def dives(make_dive):
    return [make_dive(index, score=30.0 + 3 * index, difficulty=3.0) for index in range(6)]


@pytest.fixture
def load(coded):
    """Give each dive its own clip; dive 2 has no mask, dive 3 no entry."""

    def give(dive):
        index = int(dive.key[:3])
        frames = coded.frames + np.uint8(index)
        return ClipArrays(frames, None if index == 2 else coded.mask, (33, -1 if index == 3 else 70))

    return give


def batch(groups, dives, load, *, seed=1, epoch=2):
    return collate(groups, dives, load, frame_size=SIZE, seed=seed, epoch=epoch)


def test_shapes_types_and_targets(dives, load):
    found = batch([(4, 2, 0), (3, 1)], dives, load)
    assert (found.clips.shape, found.clips.dtype) == ((5, 96, SIZE, SIZE, 3), torch.uint8)
    assert (found.masks.shape, found.masks.dtype) == ((5, 96, SIZE, SIZE), torch.uint8)
    assert found.has_mask.tolist() == [True, False, True, True, True]
    assert not found.masks[1].any()
    assert found.masks[0].any()
    assert (found.transitions.shape, found.transitions.dtype) == ((5, 2), torch.int64)
    assert (found.transitions == -1).nonzero().tolist() == [[3, 1]]
    assert found.execution.dtype == torch.float32
    assert found.execution.tolist() == [14.0, 12.0, 10.0, 13.0, 11.0]
    assert list(zip(found.query.tolist(), found.exemplar.tolist(), strict=True)) == [(0, 1), (0, 2), (1, 2), (3, 4)]


def test_a_deduction_costs_three_times_its_points(make_dive):
    assert stage_execution(make_dive(0, deductions=(0.5, 1.0, 0.25))) == (-1.5, -3.0, -0.75)
    assert stage_execution(make_dive(0, deductions=(0.0, 0.0, 0.0))) == (0, 0, 0)


def test_the_stages_of_filmed_and_of_failed_dives_are_unknown(make_dive, load):
    told = {"deductions": (0.5, 1.0, 0.25), "difficulty": 3.0}
    dives = [make_dive(0, score=60.0, **told), make_dive(1, score=0.0, **told), make_dive(2, score=60.0)]
    found = batch([(2, 0, 1)], dives, load).stage_execution
    assert found.dtype == torch.float32
    assert found[1].tolist() == [-1.5, -3.0, -0.75]
    assert found[[0, 2]].isnan().all()


def test_a_dive_looks_the_same_in_every_batch_of_an_epoch(dives, load):
    alone = batch([(4, 2)], dives, load)
    crowd = batch([(0, 1), (5, 4, 3, 2)], dives, load)
    assert torch.equal(alone.clips[0], crowd.clips[3])
    assert torch.equal(alone.masks[0], crowd.masks[3])
    assert torch.equal(alone.transitions[1], crowd.transitions[5])


def test_another_epoch_or_seed_shows_it_otherwise(dives, load):
    looks = [batch([(4, 2)], dives, load, seed=seed, epoch=epoch).clips for seed, epoch in ((1, 2), (1, 3), (2, 2))]
    assert not any(torch.equal(looks[a], looks[b]) for a, b in ((0, 1), (0, 2), (1, 2)))


def test_two_dives_are_not_augmented_alike(dives, load):
    found = batch([(0, 1, 2, 3, 4, 5)], dives, load).clips
    corners = {tuple((clip[0, 0, :2].int() - index).flatten().tolist()) for index, clip in enumerate(found)}
    assert len(corners) > 1


def test_moving_a_batch_keeps_every_field(dives, load):
    found = batch([(0, 1)], dives, load)
    moved = found.to(torch.device("meta"))
    assert found.encoding is None
    assert moved.encoding is None
    fields = [name for name in found.__slots__ if name not in ("encoding", "counts")]
    assert all(getattr(moved, name).shape == getattr(found, name).shape for name in fields)
    assert all(getattr(moved, name).device.type == "meta" for name in fields)
    assert moved.counts == found.counts


def test_some_pictures_are_mirrored_and_the_others_stay():
    pictures = torch.arange(24).view(4, 2, 3)
    before = pictures.clone()
    found = mirror_rows(pictures, rows_of([False, True, False, True]))
    assert torch.equal(found[[0, 2]], before[[0, 2]])
    assert found[1].tolist() == [[8, 7, 6], [11, 10, 9]]
    assert torch.equal(found[3], before[3].flip(-1))
    assert torch.equal(mirror_rows(found.clone(), rows_of([False] * 4)), found)
