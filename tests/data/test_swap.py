from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from finecausal_cli.data.batch import BackgroundSwap, augment, collate, swap_background
from finecausal_cli.data.cache import ClipArrays
from finecausal_cli.errors import DatasetError

OWN, OTHER = (20, 60), (40, 80)


def plain(colour: int, athlete: int, transitions: tuple[int, int], rows: slice, size: int = 40) -> ClipArrays:
    """A clip of one colour that brightens frame by frame, with an athlete of another in some rows."""
    frames = np.full((96, size, size, 3), colour, np.uint8) + np.arange(96, dtype=np.uint8)[:, None, None, None]
    mask = np.zeros((96, size, size), np.uint8)
    mask[:, rows, 10:20] = 1
    frames[mask > 0] = athlete
    return ClipArrays(frames, mask, transitions)


class Shelf:
    """Stands for the clip cache: three dives in memory, each in a place of its own."""

    def __init__(self, make_dive) -> None:
        facts = {"mask": Path("mask.mkv"), "twist_start": 20, "entry_start": 60}
        self.dives = [make_dive(index, **facts) for index in range(3)]

    def load(self, dive) -> ClipArrays:
        index = self.dives.index(dive)
        return plain(20 + 40 * index, 250 - index, (20 + index, 60 + index), slice(5 + 8 * index, 15 + 8 * index))

    def digest(self, dive) -> str:
        return dive.key


@pytest.fixture
def shelf(make_dive):
    return Shelf(make_dive)


@pytest.fixture
def own():
    return plain(20, 250, OWN, slice(5, 15))


@pytest.fixture
def other():
    return plain(120, 5, OTHER, slice(25, 35))


def test_the_athlete_stays_and_the_place_is_the_other_dives(own, other):
    changed = swap_background(own, other).frames
    athlete = own.mask > 0
    assert (changed[athlete] == 250).all()
    # Frame 10 is half-way to the take-off, which the other dive is at frame 20; its athlete is painted over.
    np.testing.assert_allclose(changed[10][~athlete[10]], 140, atol=2)
    # Frame 30 is a quarter of the flight in: the other dive is there at frame 50.
    np.testing.assert_allclose(changed[30][~athlete[30]], 170, atol=2)


def test_from_the_entry_on_the_dive_is_as_it_was(own, other):
    changed = swap_background(own, other)
    np.testing.assert_array_equal(changed.frames[60:], own.frames[60:])
    assert changed.transitions == own.transitions
    np.testing.assert_array_equal(changed.mask, own.mask)
    assert (own.frames[:60, 0, 0, 0] == 20 + np.arange(60)).all(), "the clip in the cache is untouched"


def test_a_margin_keeps_a_rim_of_the_true_place(own, other):
    exact, rim = (swap_background(own, other, margin=margin).frames[10] for margin in (False, True))
    assert exact[4, 15, 0] == 140
    assert rim[4, 15, 0] == 30
    assert rim[0, 0, 0] == 140


def test_a_place_of_another_size_is_brought_to_size(own):
    changed = swap_background(own, plain(120, 5, OTHER, slice(25, 35), size=60))
    assert changed.frames.shape == own.frames.shape
    assert abs(int(changed.frames[10, 0, 0, 0]) - 140) <= 1


@pytest.mark.parametrize("lacking", [{"mask": None}, {"transitions": (-1, -1)}, {"transitions": (20, -1)}])
def test_what_is_not_known_leaves_the_clip_alone(own, other, lacking):
    assert swap_background(replace(own, **lacking), other).frames is own.frames
    assert swap_background(own, replace(other, **lacking)).frames is own.frames


@pytest.mark.parametrize("transitions", [(0, 0), (0, 95), (95, 95), (50, 20)])
def test_stages_without_a_frame_do_no_harm(own, other, transitions):
    for clip, place in ((replace(own, transitions=transitions), other), (own, replace(other, transitions=transitions))):
        assert swap_background(clip, place, margin=True).frames.shape == own.frames.shape


def test_the_share_of_changed_dives_is_the_one_asked_for(shelf):
    clip = shelf.load(shelf.dives[0])
    swap = BackgroundSwap(shelf.dives[1:], shelf, 0.4)
    changed = [swap(clip, np.random.default_rng(seed)).frames is not clip.frames for seed in range(200)]
    assert 0.3 < np.mean(changed) < 0.5
    once, again = (swap(clip, np.random.default_rng(1)).frames for _ in range(2))
    np.testing.assert_array_equal(once, again)


def test_places_come_from_dives_with_mask_and_stages_only(shelf):
    first, second, third = shelf.dives
    swap = BackgroundSwap([replace(first, mask=None), second, replace(third, entry_start=None)], shelf, 1.0)
    clip = shelf.load(first)
    for seed in range(5):
        assert swap(clip, np.random.default_rng(seed)).frames[0, 0, 0, 0] == 60
    with pytest.raises(DatasetError, match="mask"):
        BackgroundSwap([replace(first, mask=None)], shelf, 0.5)


def test_the_digest_tells_shares_and_dives_apart(shelf):
    swaps = [BackgroundSwap(dives, shelf, share) for dives, share in ((shelf.dives, 0.5), (shelf.dives[:2], 0.5))]
    swaps.append(BackgroundSwap(shelf.dives, shelf, 0.25))
    assert len({swap.digest for swap in swaps}) == 3
    assert BackgroundSwap(shelf.dives, shelf, 0.5).digest == swaps[0].digest


def test_batches_show_the_changed_dives_whatever_the_batch(shelf):
    swap = BackgroundSwap(shelf.dives, shelf, 1.0)
    given = {"frame_size": 32, "seed": 3, "epoch": 1}
    together = collate([(0, 1, 2)], shelf.dives, shelf.load, **given, swap=swap)
    alone = collate([(1, 2)], shelf.dives, shelf.load, **given, swap=swap)
    assert (together.clips[1:] == alone.clips).all()
    assert (together.clips != collate([(0, 1, 2)], shelf.dives, shelf.load, **given).clips).any()
    rng = np.random.default_rng((3, 1, 1))
    one, _ = augment(shelf.load(shelf.dives[1]), frame_size=32, rng=rng, swap=swap)
    assert (together.clips[1].numpy() == one.frames).all()
