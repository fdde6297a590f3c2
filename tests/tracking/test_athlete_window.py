import numpy as np
import pytest

from finecausal_cli.tracking import athlete_window, crop_window, splash_window
from finecausal_cli.tracking.camera import Camera
from finecausal_cli.tracking.flights import Flight


@pytest.fixture
def flight() -> Flight:
    """A second of fall; the camera pans 100 pixels a second to the right all the time."""
    times = np.arange(26) / 25 + 1.0
    around = np.arange(76) / 25
    to_picture = np.repeat(np.eye(3)[None], len(around), axis=0)
    to_picture[:, 0, 2] = -100 * around
    return Flight(
        takeoff_s=1.0,
        entry_s=2.0,
        first_s=1.0,
        last_s=2.0,
        time_scale=1.0,
        confidence=1.0,
        shot=0,
        times_s=times,
        centres=np.stack([300 - 100 * times, 100 + 40 * (times - 1) ** 2], axis=1),
        px_per_m=np.full(26, 20.0),
        sizes=np.full(26, 30.0),
        camera=Camera(around, to_picture, np.zeros(76, np.int64)),
    )


def test_the_window_has_the_athlete_in_its_middle(flight: Flight) -> None:
    window = athlete_window(flight, flight.times_s, (240, 320))
    assert np.allclose(window[:, :2], flight.centres)
    assert np.allclose(window[:, 2], 20.0 * 2.4 * 1.25)


def test_before_the_flight_the_window_stays_in_the_world(flight: Flight) -> None:
    (window,) = athlete_window(flight, np.array([0.4]), (240, 320))
    # The world has moved by 60 pixels since then.
    assert window == pytest.approx([200 + 60, 100, 60])


def test_the_window_around_a_splash_stays_where_the_athlete_met_the_water(flight: Flight) -> None:
    windows = splash_window(flight, 1.8, np.array([1.8, 2.3, 2.8]), (240, 320))
    # There the body's middle was at (120, 125.6), 0.4 m (8 pixels) above the window's; the camera goes on panning.
    assert windows[:, 0] == pytest.approx([120, 70, 20])
    assert windows[:, 1] == pytest.approx(133.6)
    assert windows[:, 2] == pytest.approx(60)


def test_a_window_beyond_the_picture_repeats_its_edge() -> None:
    frame = np.zeros((40, 40, 3), np.uint8)
    frame[:, :20] = 200
    cut = crop_window(frame, np.array([0.0, 20.0, 40.0]), 40)
    assert cut.shape == (40, 40, 3)
    assert (cut == 200).all()


def test_a_window_of_the_picture_is_the_picture() -> None:
    frame = np.random.default_rng(0).integers(0, 255, (32, 32, 3), dtype=np.uint8)
    assert (crop_window(frame, np.array([16.0, 16.0, 32.0]), 32) == frame).all()


def test_a_shrunken_window_is_the_mean_of_what_falls_together() -> None:
    frame = np.zeros((64, 64, 3), np.uint8)
    frame[::2] = 200
    cut = crop_window(frame, np.array([32.0, 32.0, 64.0]), 16)
    assert np.abs(cut.astype(int) - 100).max() <= 1


@pytest.mark.parametrize("window", [(300.0, 200.0, 300.0), (20.0, 350.0, 420.0), (-90.0, 900.0, 260.0), (310, 9, 999)])
def test_a_shrunk_window_is_that_of_the_picture_shrunk_as_a_whole(window: tuple[float, float, float]) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (360, 640, 3), dtype=np.uint8)
    step = int(window[2] / 64)
    rows, columns = (length // step * step for length in picture.shape[:2])
    picture = picture[:rows, :columns]
    means = picture.reshape(rows // step, step, columns // step, step, 3).mean(axis=(1, 3))
    expected = crop_window(np.rint(means).astype(np.uint8), np.array(window) / step, 64)
    found = crop_window(picture, np.array(window), 64)
    assert np.abs(found.astype(int) - expected).max() <= 1
