"""What a layout of a data set does, whichever it is: put one dive's pictures in place, and speak of all dives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from finecausal_cli.simulator.render import render

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from finecausal_cli.simulator.dataset_plan import DatasetPlan
    from finecausal_cli.simulator.dive import SimulatedDive
    from finecausal_cli.simulator.render import Setting


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
    setting: Setting

    @classmethod
    def of(cls, plan: DatasetPlan, index: int) -> Take:
        """Draw the dive at a place in the plan."""
        simulated = plan.dive(index)
        return cls(plan.seed, index, simulated, plan.setting(index, simulated))

    def pictures(self) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.uint8]]]:
        """Yield frame (RGB) and mask (0 or 255) in turn."""
        return render(self.simulated, self.setting)


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
