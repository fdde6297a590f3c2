from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from finecausal_cli.simulator.backdrop import STYLES
from finecausal_cli.simulator.camera import HEIGHT, WIDTH, Camera
from finecausal_cli.simulator.render import Scene
from finecausal_cli.simulator.venue import build, draw_venue

ABOVE_WATER = np.array([1.0, 0.4, 72.0])


@pytest.fixture(scope="module")
def camera():
    return Camera(0.0, 0.1, 0.6, 10.0, 0.75, (0.0, 0.0), 0.0, False, 0.0, (0.0, 0.0, 0.0))


@pytest.fixture(scope="module")
def venue():
    return draw_venue(np.random.default_rng(3), 0)


def at_the_board(height_m):
    return np.array([0.0, height_m, 72.0])


@pytest.mark.parametrize("style", range(len(STYLES)))
def test_the_platform_lies_under_the_feet_and_ends_at_the_tip(camera, style):
    venue = draw_venue(np.random.default_rng(3), style)
    scene = Scene(venue, camera, 10.0, False)
    picture = scene.paint(at_the_board(10.0), 0.0, 0.0)
    front = picture[HEIGHT // 2 + 20, WIDTH // 2 - 60 : WIDTH // 2 - 40].astype(int)
    beyond = picture[HEIGHT // 2 + 20, WIDTH // 2 + 8].astype(int)
    assert np.ptp(front, axis=0).max() == 0
    assert np.abs(front[0] - beyond).max() > 8


def test_a_springboard_dips(camera, venue):
    scene = Scene(venue, camera, 3.0, True)
    still, bent = (scene.paint(at_the_board(3.0), 0.0, dip).astype(int) for dip in (0.0, -0.4))
    changed = np.nonzero(np.abs(still - bent).max(axis=-1) > 10)
    assert changed[1].max() < WIDTH / 2 + 3
    assert changed[0].max() > HEIGHT / 2 + 0.3 * 72


def test_a_mirrored_camera_shows_the_scene_mirrored(camera, venue):
    scene = Scene(venue, camera, 10.0, False)
    other = Scene(venue, replace(camera, mirrored=True), 10.0, False)
    here, there = (one.paint(at_the_board(10.0), 0.4, 0.0).astype(int) for one in (scene, other))
    assert np.abs(here - there[:, ::-1]).mean() < 3


def test_the_water_moves_and_the_hall_does_not(camera, venue):
    scene = Scene(venue, camera, 10.0, False)
    first, second = (scene.paint(ABOVE_WATER, time, 0.0).astype(int) for time in (0.0, 1.0))
    edge = int(HEIGHT / 2 - (venue.edge_m - ABOVE_WATER[1]) * ABOVE_WATER[2])
    moved = np.abs(first - second).max(axis=-1)
    assert moved[: edge - 2].max() == 0
    assert (moved[edge + 2 :, WIDTH // 2 :] > 2).mean() > 0.5


def test_the_board_is_shaded_under_the_feet_and_not_once_they_are_gone(camera, venue):
    scene = Scene(venue, camera, 10.0, False)
    view = at_the_board(10.0)
    plain = scene.paint(view, 0.0, 0.0)
    darker = []
    for lowest in ((-0.3, 0.0, 10.0), (-0.3, 0.0, 10.7), (-0.3, 0.0, 12.0), (0.8, 0.0, 10.2)):
        picture = plain.copy()
        scene.shade(picture, view, np.array(lowest), 0.0)
        darker.append(plain.astype(int).sum() - picture.astype(int).sum())
    assert darker[0] > 1000
    assert darker[0] > 0.5 * darker[1] > 0
    assert darker[2] == darker[3] == 0


def test_other_platforms_stand_only_where_the_venue_shows_them(venue):
    shown, hidden = (len(build(replace(venue, others=others), 10.0, springboard=False)) for others in (True, False))
    assert shown > hidden > 5


def test_faces_are_flat(venue):
    for style in range(len(STYLES)):
        for face in build(replace(venue, style=STYLES[style]), 10.0, springboard=False):
            edges = face.corners[1:] - face.corners[0]
            assert abs(np.linalg.det(edges)) < 1e-9
