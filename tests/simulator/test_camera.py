from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from finecausal_cli.simulator.camera import HEIGHT, WIDTH, Camera


@pytest.fixture
def camera():
    """Exactly side-on and level, not mirrored, without shake."""
    return Camera(
        azimuth=0.0,
        elevation=0.0,
        fill=0.6,
        quickness=10.0,
        foresight=0.75,
        framing=(0.0, 0.0),
        shake_m=0.0,
        mirrored=False,
        zoom=0.0,
        phases=(0.0, 0.0, 0.0),
    )


def test_a_level_camera_sees_x_to_the_right_z_up_and_y_away(camera):
    points = np.eye(3)
    np.testing.assert_allclose(camera.screen(points), [[1, 0, 0], [0, 0, -1], [0, 1, 0]], atol=1e-12)


def test_axes_are_orthonormal_wherever_the_camera_stands(camera):
    axes = replace(camera, azimuth=0.3, elevation=0.15).axes
    np.testing.assert_allclose(axes @ axes.T, np.eye(3), atol=1e-12)


def test_looking_down_shows_far_water_higher(camera):
    down = replace(camera, elevation=0.1).screen(np.array([[0.0, 0.0, 0.0], [0.0, 5.0, 0.0]]))
    assert down[1, 1] - down[0, 1] == pytest.approx(5 * np.sin(0.1))


def test_the_middle_of_the_view_is_the_middle_of_the_picture_and_scale_is_pixels_per_metre(camera):
    view = np.array([2.0, 3.0, 70.0])
    screen = np.array([[2.0, 3.0, 0.0], [3.0, 4.0, 0.0]])
    np.testing.assert_allclose(
        camera.pixels(screen, view), [[WIDTH / 2, HEIGHT / 2], [WIDTH / 2 + 70, HEIGHT / 2 - 70]]
    )
    mirrored = replace(camera, mirrored=True).pixels(screen, view)
    np.testing.assert_allclose(mirrored, [[WIDTH / 2, HEIGHT / 2], [WIDTH / 2 - 70, HEIGHT / 2 - 70]])


def test_a_quicker_camera_stays_nearer_to_the_athlete(camera, simulate):
    dive = simulate("107B", 10.0)
    times = np.arange(dive.twist_start, dive.entry_start) / 25
    centre = camera.screen(dive.motion.track(dive.motion.centre, times))[:, :2]
    lag = [
        np.linalg.norm(replace(camera, quickness=speed).follow(dive.motion, times)[:, :2] - centre, axis=1).mean()
        for speed in (7.0, 10.0, 14.0)
    ]
    assert lag[0] > lag[1] > lag[2] > 0


def test_zoom_goes_from_the_board_to_the_water(camera, simulate):
    dive = simulate("107B", 10.0)
    times = np.array([dive.motion.leave_s, dive.motion.contact_s])
    flat = camera.follow(dive.motion, times)[:, 2]
    wide = replace(camera, zoom=-0.2).follow(dive.motion, times)[:, 2]
    assert wide[0] == pytest.approx(flat[0])
    assert wide[1] / flat[1] == pytest.approx(0.8, abs=0.01)


def test_shake_is_as_large_as_asked(camera, simulate):
    dive = simulate("107B", 10.0)
    times = np.arange(dive.frames) / 25
    still = camera.follow(dive.motion, times)
    moved = replace(camera, shake_m=0.02, phases=(1.0, 2.0, 0.0)).follow(dive.motion, times)
    away = np.abs(moved - still)[:, :2]
    assert 0.02 < away.max() <= 0.02 * 1.75


def test_cameras_differ(simulate):
    drawn = [Camera.draw(np.random.default_rng(seed)) for seed in range(60)]
    assert {camera.mirrored for camera in drawn} == {True, False}
    assert sum(camera.shake_m > 0.01 for camera in drawn) in range(6, 28)
    assert np.ptp([camera.azimuth for camera in drawn]) > 0.5
    assert min(camera.zoom for camera in drawn) < -0.1 < 0.05 < max(camera.zoom for camera in drawn)
