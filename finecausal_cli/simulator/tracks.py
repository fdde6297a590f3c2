"""The athlete's motion frame by frame, as plain data: what a pose estimator or a trunk may be held to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from finecausal_cli.simulator.body import Pose
from finecausal_cli.simulator.dive import FPS

if TYPE_CHECKING:
    from finecausal_cli.simulator.body import Array
    from finecausal_cli.simulator.dive import SimulatedDive

_DEGREE_DIGITS, _METRE_DIGITS = 1, 3


def tracks(simulated: SimulatedDive, times: Array | None = None) -> dict[str, Any]:
    """Read the motion at ``times`` [frames] of the dive; None takes those of a clean clip's frames.

    Returns:
        ``somersault_deg``, ``twist_deg`` and ``tilt_deg``: [frames], as in ``Motion``; ``centre_m``: [frames][3], the
        centre of mass, x outwards, y away from the camera, z above the water; ``pose_deg``: the joint angles by name,
        [frames] each.
    """
    motion = simulated.motion
    times = np.arange(simulated.frames) / FPS if times is None else times
    pose = np.degrees(motion.track(motion.pose, times))
    angles = {"somersault_deg": motion.somersault, "twist_deg": motion.twist, "tilt_deg": motion.tilt}
    found: dict[str, Any] = {
        name: np.round(np.degrees(motion.track(angle, times)), _DEGREE_DIGITS).tolist()
        for name, angle in angles.items()
    }
    found["centre_m"] = np.round(motion.track(motion.centre, times), _METRE_DIGITS).tolist()
    found["pose_deg"] = {
        name: np.round(column, _DEGREE_DIGITS).tolist() for name, column in zip(Pose._fields, pose.T, strict=True)
    }
    return found
