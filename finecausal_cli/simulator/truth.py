"""Where the athlete's joints are in every picture of a clip, when it is shown and how the camera stood."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from finecausal_cli.athlete.skeleton import JOINTS as READ_JOINTS
from finecausal_cli.athlete.skeleton import MIRRORED
from finecausal_cli.simulator.body import JOINT
from finecausal_cli.whole_file import whole_file

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from finecausal_cli.simulator.body import Array
    from finecausal_cli.simulator.camera import Projection

_NAMED_OTHERWISE = {"head": "vertex"}
_READ = [JOINT[_NAMED_OTHERWISE.get(name, name)] for name in READ_JOINTS]
"""Index in the simulator's joints of every joint that an athlete reader names."""


@dataclass(frozen=True, slots=True)
class Truth:
    """What the simulator knows of a clip's pictures.

    Attributes:
        joints: float32 [frames, joints, 2] pixels of the picture, in the order of ``athlete.skeleton.JOINTS``; in a
            mirrored picture left and right are those that the picture shows.
        visible: bool [frames, joints] inside the picture, above the water and not behind the tower; hidden by the
            athlete's own body counts as visible.
        box: float32 [frames, 4] left, top, right, bottom of the mask, NaN where it is empty.
        times_s: float64 [frames] when each frame of the file is shown.
        real_time_s: float64 [frames] the same moments on the clock of the dive.
        px_per_m: float32 [frames] scale at the athlete.
        camera: float32 [frames, 2, 3] from metres of the still plane across the view (right, up) to the picture; NaN
            where another shot is shown.
    """

    joints: NDArray[np.float32]
    visible: NDArray[np.bool_]
    box: NDArray[np.float32]
    times_s: Array
    real_time_s: Array
    px_per_m: NDArray[np.float32]
    camera: NDArray[np.float32]

    @classmethod
    def of(
        cls, body: Array, camera: Projection, views: Array, times: tuple[Array, Array], size: tuple[int, int]
    ) -> Truth:
        """Project a body into pictures; what is to be seen of it is told by ``see``, frame by frame.

        Args:
            body: [frames, joints, 3] of the simulator in the world.
            camera: The projection.
            views: [frames, 2, 3] from its screen metres to the picture.
            times: Presentation times and the same on the clock of the dive, [frames] each.
            size: Width and height of the pictures.
        """
        is_mirrored = len(views) > 0 and np.linalg.det(views[0, :, :2]) > 0
        chosen = body[:, _READ][:, list(MIRRORED)] if is_mirrored else body[:, _READ]
        screen = camera.screen(chosen)[..., :2]
        joints = np.einsum("nij,nkj->nki", views[:, :, :2], screen) + views[:, None, :, 2]
        return cls(
            joints.astype(np.float32),
            ((joints >= 0) & (joints < size)).all(axis=-1) & (chosen[..., 2] > 0),
            np.full((len(body), 4), np.nan, np.float32),
            *times,
            np.hypot(views[:, 0, 0], views[:, 1, 0]).astype(np.float32),
            views.astype(np.float32),
        )

    def see(self, frame: int, mask: NDArray[np.uint8], hidden: NDArray[np.uint8] | None) -> None:
        """Note what a frame shows: the athlete's mask, and what something before the athlete covers (not 0)."""
        self.box[frame] = box_of(mask)
        if hidden is None:
            return
        height, width = mask.shape
        x, y = np.clip(self.joints[frame], 0, (width - 1, height - 1)).astype(int).T
        self.visible[frame] &= hidden[y, x] == 0
        if hidden.all():
            self.camera[frame] = np.nan

    def write(self, path: Path) -> None:
        """Write the arrays under their names as one npz file."""
        with whole_file(path, "the joints") as part, part.open("wb") as stream:
            np.savez(stream, allow_pickle=False, **{name: getattr(self, name) for name in self.__slots__})


def box_of(mask: NDArray[np.uint8]) -> tuple[float, float, float, float]:
    """Return left, top, right, bottom of what is not 0; right and bottom are outside."""
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    if not len(rows):
        return (np.nan,) * 4
    return float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)
