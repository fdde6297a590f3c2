"""What travels faster than a diver is no dive."""

from __future__ import annotations

import numpy as np
import pytest

from finecausal_cli.tracking.camera import Camera
from finecausal_cli.tracking.flights import Flight


def flight(forward_m_s: float, *, time_scale: float = 1.0, pan_px_s: float = 0.0) -> Flight:
    """A flight of 1.4 s of real time at 100 pixels a metre, filmed by a camera that pans."""
    times_s = np.arange(0, 1.4 * time_scale, 0.04)
    pan = np.tile(np.eye(3), (len(times_s), 1, 1))
    pan[:, 0, 2] = -pan_px_s * times_s
    x = 300 + 100 * forward_m_s * times_s / time_scale - pan_px_s * times_s
    centres = np.stack([x, 200 + 490 * (times_s / time_scale) ** 2], axis=1)
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
        centres=centres,
        px_per_m=even,
        sizes=even,
        camera=Camera(times_s, pan, np.zeros(len(times_s), np.int64)),
    )


@pytest.mark.parametrize("time_scale", [1.0, 4.0])
@pytest.mark.parametrize("pan_px_s", [0.0, 120.0])
def test_the_forward_speed_is_that_of_real_time_and_of_the_static_scene(time_scale, pan_px_s):
    assert flight(1.5, time_scale=time_scale, pan_px_s=pan_px_s).forward_m_s == pytest.approx(1.5, abs=0.02)
