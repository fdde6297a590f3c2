"""What moves in the squares that go with a body."""

import numpy as np
import pytest

from finecausal_cli.athlete.movement import moved_between, neighbours, read_movement, to_square
from finecausal_cli.tracking import crop_window

WORLD = np.random.default_rng(3).integers(0, 256, (40, 60, 3)).repeat(8, axis=0).repeat(8, axis=1).astype(np.uint8)
"""A still world of patches, 320 x 480 pixels."""

FRAMES, SIDE, SIZE = 6, 120.0, 96


def film(*, falls: bool) -> tuple[np.ndarray, ...]:
    """Pictures of a camera that pans by 5 pixels a frame, and squares that go down by 24; with or without a body."""
    pictures, windows, cameras = [], [], []
    for frame in range(FRAMES):
        world = WORLD.copy()
        if falls:
            world[60 + 30 * frame : 85 + 30 * frame, 200:225] = (250, 10, 200)
        pan = 5 * frame
        picture = world[:, pan : pan + 400]
        window = np.array([212.0 - pan, 77.0 + 24 * frame, SIDE])
        pictures.append(crop_window(picture, window, SIZE))
        windows.append(window)
        cameras.append(np.array([[1, 0, -pan], [0, 1, 0], [0, 0, 1.0]]))
    return np.stack(pictures), np.stack(windows), np.stack(cameras), np.arange(FRAMES) / 15


def test_a_still_world_does_not_move_however_the_camera_and_the_squares_do():
    moved = read_movement(*film(falls=False))
    assert moved.shape == (FRAMES, SIZE, SIZE, 4)
    assert moved[1:-1, ..., 2:].mean() > 0.75 * 255  # most of a square is in its neighbours
    assert np.quantile(moved[..., :2], 0.99) < 8  # patches' edges, between pixels


def test_a_body_that_falls_is_seen_where_it_is():
    pictures, windows, cameras, times_s = film(falls=True)
    moved = read_movement(pictures, windows, cameras, times_s)
    is_body = (pictures == (250, 10, 200)).all(axis=-1)
    both = moved[1:-1, ..., :2].min(axis=-1)
    # Its place is another one in the pictures before and after.
    inside, outside = both[is_body[1:-1]], both[~is_body[1:-1]]
    assert np.median(inside) > 60
    assert (outside > 30).mean() < 0.02


def test_nothing_is_known_where_the_other_picture_does_not_show_the_place():
    pictures, windows, cameras, times_s = film(falls=True)
    far = windows.copy()
    far[::2, 0] += 400
    moved = read_movement(pictures, far, cameras, times_s)
    assert not moved.any()


@pytest.mark.parametrize(("fps", "before"), [(15, 1), (25, 2), (30, 2), (100, 7), (240, 17)])
def test_pictures_are_compared_with_those_of_about_0_07_s_before_and_after(fps, before):
    found = neighbours(np.arange(60) / fps)
    assert found[30].tolist() == [30 - before, 30 + before]
    assert found[0].tolist() == [-1, before]
    assert found[59].tolist() == [59 - before, -1]


def test_pictures_far_apart_are_not_compared():
    assert (neighbours(np.arange(5) / 5) == -1).all()
    assert neighbours(np.zeros(0)).shape == (0, 2)


def test_the_map_of_a_square_is_that_of_the_cut():
    picture = np.zeros((200, 300, 3), np.uint8)
    picture[120, 170] = 255
    window = np.array([180.0, 110.0, 60.0])
    square = crop_window(picture, window, 240)
    y, x = (axis.mean() for axis in np.nonzero(square[..., 0] > 128))
    assert to_square(window, 240) @ (170, 120, 1) == pytest.approx((x, y, 1), abs=0.51)


def test_what_differs_by_the_neighbouring_pixels_is_still():
    here = np.tile(np.arange(0, 240, 4, dtype=np.uint8), (60, 1))[..., None].repeat(3, axis=2)
    differs, known = moved_between(here, np.roll(here, 1, axis=1), np.eye(3))
    assert not differs[:, 2:-2].any()
    assert (known == 255).all()
