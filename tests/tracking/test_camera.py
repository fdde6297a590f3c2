from concurrent.futures import ThreadPoolExecutor

import numpy as np

from finecausal_cli.tracking.camera import Camera, chain, find_cuts, live_area, measure_steps

from .conftest import FPS, Film, film


def camera_of(frames: list[np.ndarray]) -> Camera:
    with ThreadPoolExecutor(2) as pool:
        steps = measure_steps(np.stack(frames), pool)
    return chain(np.arange(len(frames)) / FPS, steps)


def test_the_chain_follows_a_pan_to_a_pixel(dive: Film) -> None:
    camera = camera_of(dive.frames)
    # The world pans 12 pixels a second to the left and 6 up.
    moved = camera.to_picture[-1, :2, 2]
    seconds = camera.times_s[-1]
    assert np.allclose(moved, [-12.0 * seconds, -6.0 * seconds], atol=1.5)
    assert np.allclose(camera.zoom, 1.0, atol=0.02)
    assert camera.shots.max() == 0


def test_places_of_the_world_are_mapped_between_frames(dive: Film) -> None:
    camera = camera_of(dive.frames)
    there = camera.moved(np.array([[100.0, 100.0]]), 1.0, 3.0)
    assert np.allclose(there, [[100 - 24.0, 100 - 12.0]], atol=1.0)


def test_a_shot_change_is_found_where_it_is(dive: Film) -> None:
    other = film(seed=7, seconds=1.0).frames
    frames = [*dive.frames[:30], *other]
    camera = camera_of(frames)
    assert np.flatnonzero(np.diff(camera.shots)).tolist() == [29]


def test_a_pan_is_no_shot_change() -> None:
    frames = film(seconds=1.5, pan=150.0).frames
    with ThreadPoolExecutor(2) as pool:
        assert not find_cuts(measure_steps(np.stack(frames), pool)).any()


def test_black_bars_are_no_part_of_the_world(dive: Film) -> None:
    frames = np.stack(dive.frames[:10])
    frames[:, :, :50] = 0
    frames[:, :, -40:] = 12
    rows, columns = live_area(frames)
    assert (rows.start, rows.stop) == (0, frames.shape[1])
    assert (columns.start, columns.stop) == (50, frames.shape[2] - 40)


def test_a_black_film_has_no_bars() -> None:
    frames = np.zeros((4, 40, 60, 3), np.uint8)
    assert live_area(frames) == (slice(0, 40), slice(0, 60))


def test_graphics_that_keep_their_pixels_are_no_world() -> None:
    panned = film(seconds=1.0, pan=150.0)
    frames = np.stack(panned.frames)
    board = np.random.default_rng(3).integers(0, 255, (60, 150, 3), dtype=np.uint8)
    frames[:, 20:80, 20:170] = np.kron(board[::6, ::6], np.ones((6, 6, 1), np.uint8))
    camera = camera_of(list(frames))
    moved = camera.to_picture[-1, :2, 2]
    assert np.allclose(moved, [-150.0 * camera.times_s[-1], -75.0 * camera.times_s[-1]], atol=5)
