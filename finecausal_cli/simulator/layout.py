"""What a layout of a data set does, whichever it is: put one dive's pictures in place, and speak of all dives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from finecausal_cli.simulator.dive import FPS
from finecausal_cli.simulator.render import Setting, render
from finecausal_cli.simulator.timing import Timing
from finecausal_cli.simulator.truth import Truth
from finecausal_cli.simulator.wild import render_wild

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from finecausal_cli.simulator.dataset_plan import DatasetPlan
    from finecausal_cli.simulator.dive import SimulatedDive
    from finecausal_cli.simulator.wild import WildSetting


@dataclass(frozen=True, slots=True)
class Take:
    """One dive as it is recorded.

    Attributes:
        seed: Seed of the data set.
        index: The dive's place in the plan.
        simulated: The dive.
        setting: Where and how it is seen.
    """

    seed: int
    index: int
    simulated: SimulatedDive
    setting: Setting | WildSetting

    @classmethod
    def of(cls, plan: DatasetPlan, index: int) -> Take:
        """Draw the dive at a place in the plan."""
        simulated = plan.dive(index)
        setting = plan.wild_setting(index, simulated) if plan.world == "wild" else plan.setting(index, simulated)
        return cls(plan.seed, index, simulated, setting)

    @property
    def timing(self) -> Timing:
        """When the frames are shown, and which moments of the dive they show."""
        if isinstance(self.setting, Setting):
            return Timing.even(FPS, self.simulated.frames)
        return self.setting.timing

    @property
    def crf(self) -> int:
        """Constant rate factor of the video."""
        return self.setting.crf if isinstance(self.setting, Setting) else self.setting.footage.crf

    def pictures(self, frames: Sequence[int] | None = None) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.uint8]]]:
        """Yield frame (RGB) and mask (0 or 255) in turn; ``frames`` are the numbers of those wanted, None for all."""
        for frame, mask, _ in self._shots(frames):
            yield frame, mask

    def pictures_with_truth(
        self, truth: Truth, frames: Sequence[int] | None = None
    ) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.uint8]]]:
        """Yield frame and mask in turn, and note in ``truth`` (that of the same frames) what they show."""
        for number, (frame, mask, hidden) in enumerate(self._shots(frames)):
            truth.see(number, mask, hidden)
            yield frame, mask

    def truth(self, frames: Sequence[int] | None = None) -> Truth:
        """Return where the joints are in the frames, before anything is known of what hides them."""
        camera, motion, timing = self.setting.camera, self.simulated.motion, self.timing
        chosen = np.arange(timing.frames) if frames is None else np.asarray(frames)
        file_s, real_s = timing.times_s[chosen], timing.real_s[chosen]
        views = camera.views(motion, timing.real_s)[chosen]
        return Truth.of(motion.body(real_s), camera, views, (file_s, real_s), camera.size)

    def record(self) -> dict[str, Any]:
        """Return what is known of dive, setting and file as plain data."""
        found = self.simulated.record() | self.setting.record()
        if isinstance(self.setting, Setting):
            return found
        motion, timing = self.simulated.motion, self.timing
        return found | {
            "frames": timing.frames,
            "fps": timing.fps,
            "twist_start": timing.first_at(motion.leave_s),
            "entry_start": timing.first_at(motion.contact_s),
            "flight_start_s": round(timing.in_file(motion.leave_s), 6),
            "entry_start_s": round(timing.in_file(motion.contact_s), 6),
            **timing.record(),
        }

    def _shots(
        self, frames: Sequence[int] | None
    ) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8] | None]]:
        if isinstance(self.setting, Setting):
            for frame, mask in render(self.simulated, self.setting, frames):
                yield frame, mask, None
        else:
            for shot in render_wild(self.simulated, self.setting, frames):
                yield shot.frame, shot.mask, shot.hidden


class Layout(Protocol):
    """Where a data set's pictures and labels go.

    Attributes:
        folders: Folders of the data set besides that of the records.
        leftovers: Patterns of what a killed writer leaves behind.
    """

    folders: tuple[str, ...]
    leftovers: tuple[str, ...]

    def check(self, plan: DatasetPlan) -> None:
        """Raise a `UsageError` when the layout cannot hold the plan's dives."""

    def write_pictures(self, root: Path, take: Take) -> dict[str, Any]:
        """Write frames and masks of one dive and return what its record must know of them."""

    def finish(self, root: Path, records: Sequence[Mapping[str, Any]]) -> Path:
        """Write what speaks of all dives and return the path to hand to a reader."""
