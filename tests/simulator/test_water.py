from __future__ import annotations

import numpy as np
import pytest

from finecausal_cli.simulator.camera import HEIGHT, WIDTH, Camera
from finecausal_cli.simulator.render import Splash

VIEW = np.array([0.0, 0.6, 72.0])
BLUE = (20, 80, 140)


@pytest.fixture
def camera():
    return Camera(0.0, 0.1, 0.6, 10.0, 0.75, (0.0, 0.0), 0.0, False, 0.0, (0.0, 0.0, 0.0))


def splash(size, seed=1, colour=(240, 245, 250)):
    return Splash.of(np.random.default_rng(seed), np.zeros(3), size, 0.0, colour)


def painted(camera, size, since, **how):
    picture = np.empty((HEIGHT, WIDTH, 3), np.uint8)
    picture[:] = BLUE
    splash(size, **how).paint(picture, camera, VIEW, since)
    return picture


def whitened(picture):
    return np.abs(picture.astype(int) - BLUE).sum(axis=-1)


def test_nothing_is_seen_before_the_contact(camera):
    assert whitened(painted(camera, 1.0, -0.01)).max() == 0


def test_a_bigger_splash_whitens_more(camera):
    amounts = [whitened(painted(camera, size, 0.3)).sum() for size in (0.0, 0.3, 0.6, 1.0)]
    assert amounts == sorted(amounts)
    assert amounts[-1] > 5 * amounts[0]


def test_a_bigger_splash_rises_higher(camera):
    tops = [np.nonzero(whitened(painted(camera, size, 0.45)) > 60)[0].min() for size in (0.1, 0.5, 1.0)]
    assert tops[0] > tops[1] > tops[2]


def test_drops_fall_back_and_foam_dissolves_within_four_seconds(camera):
    amounts = [whitened(painted(camera, 1.0, since)).sum() for since in (0.4, 1.0, 1.6, 2.5, 4.0)]
    assert amounts == sorted(amounts, reverse=True)
    assert 0 < amounts[-1] < 0.2 * amounts[0]
    highest = np.nonzero(whitened(painted(camera, 1.0, 2.5)) > 40)[0]
    middle = camera.pixels(camera.screen(np.zeros(3)), VIEW)[1]
    assert highest.size == 0 or highest.min() > middle - 60


def test_rings_spread(camera):
    widths = []
    for since in (0.3, 0.8, 1.4):
        columns = np.nonzero((whitened(painted(camera, 0.1, since)) > 12).any(axis=0))[0]
        widths.append(np.ptp(columns))
    assert widths[0] < widths[1] < widths[2]


def test_foam_takes_the_colour_of_the_light(camera):
    warm = painted(camera, 1.0, 0.3, colour=(250, 200, 150))
    whitest = warm[whitened(warm) > 250]
    assert (whitest[:, 0] > whitest[:, 2]).mean() > 0.9


def test_a_splash_out_of_the_picture_leaves_it_alone(camera):
    picture = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    splash(1.0).paint(picture, camera, np.array([0.0, 30.0, 72.0]), 0.3)
    assert picture.max() == 0
