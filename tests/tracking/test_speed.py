"""What travels faster than a diver is no dive; how long a body rises and falls tells how deep the fall is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from finecausal_cli.tracking.camera import Camera
from finecausal_cli.tracking.flights import Flight


def flight(
    forward_m_s: float = 1.5, *, up_m_s: float = 0.0, time_scale: float = 1.0, pan_px_s: float = 0.0, tilt_px_s=0.0
) -> Flight:
    """A flight of 1.4 s of real time at 100 pixels a metre, filmed by a camera that pans and tilts."""
    times_s = np.arange(0, 1.4 * time_scale, 0.04)
    real_s = times_s / time_scale
    moved = np.tile(np.eye(3), (len(times_s), 1, 1))
    moved[:, 0, 2], moved[:, 1, 2] = -pan_px_s * times_s, -tilt_px_s * times_s
    x = 300 + 100 * forward_m_s * real_s - pan_px_s * times_s
    y = 200 - 100 * up_m_s * real_s + 490.5 * real_s**2 - tilt_px_s * times_s
    even = np.full(len(times_s), 100.0)
    return Flight(
        takeoff_s=0.0,
        entry_s=float(times_s[-1]),
        first_s=0.0,
        last_s=float(times_s[-1]),
        time_scale=time_scale,
        confidence=1.0,
        shot=0,
        times_s=times_s,
        centres=np.stack([x, y], axis=1),
        px_per_m=even,
        sizes=even,
        camera=Camera(times_s, moved, np.zeros(len(times_s), np.int64)),
    )


@pytest.mark.parametrize("time_scale", [1.0, 4.0])
@pytest.mark.parametrize("pan_px_s", [0.0, 120.0])
def test_the_forward_speed_is_that_of_real_time_and_of_the_static_scene(time_scale, pan_px_s):
    assert flight(1.5, time_scale=time_scale, pan_px_s=pan_px_s).forward_m_s == pytest.approx(1.5, abs=0.02)


@pytest.mark.parametrize("time_scale", [1.0, 4.0])
@pytest.mark.parametrize("tilt_px_s", [0.0, 150.0])
def test_the_depth_of_a_fall_needs_no_scale_of_the_picture(time_scale, tilt_px_s):
    seen = flight(up_m_s=4.5, time_scale=time_scale, tilt_px_s=tilt_px_s)
    wrong_scale = replace(seen, px_per_m=3 * seen.px_per_m)
    fall_m = 9.81 * 1.4**2 / 2 - 4.5 * 1.4
    assert seen.drop_m(0.0, 1.4 * time_scale) == pytest.approx(fall_m, abs=0.01)
    assert wrong_scale.drop_m(0.0, 1.4 * time_scale) == seen.drop_m(0.0, 1.4 * time_scale)


def test_a_path_that_does_not_cover_the_flight_or_does_not_fall_tells_no_depth():
    seen = flight(up_m_s=2.0)
    assert seen.drop_m(0.0, 3.0) is None
    assert seen.drop_m(1.3, 1.4) is None
    assert replace(seen, centres=seen.centres * [1, -1]).drop_m(0.0, 1.4) is None
