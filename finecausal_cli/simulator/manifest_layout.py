"""The layout of a data set of one's own: ``videos/00000.mp4``, ``masks/00000.mkv`` and the manifest ``dives.csv``."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any

from finecausal_cli.simulator.dive import FPS
from finecausal_cli.video.write import write_mask_video, write_video
from finecausal_cli.whole_file import whole_file

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from finecausal_cli.simulator.dataset_plan import DatasetPlan
    from finecausal_cli.simulator.layout import Take

COLUMNS = (
    "video",
    "score",
    "difficulty",
    "dive",
    "height_m",
    "twist_start",
    "entry_start",
    "mask",
    "judges",
    "deductions",
)

_STAGES = ("takeoff", "flight", "entry")
PRESET = "ultrafast"
"""Half the time of x264's next preset; the files grow by half."""


class ManifestLayout:
    """Clips and masks as videos, one row a dive."""

    folders: tuple[str, ...] = ("videos", "masks")
    leftovers: tuple[str, ...] = ("videos/.*.part", "masks/.*.part", ".dives.csv.*.part")

    def check(self, plan: DatasetPlan) -> None:
        """Accept every plan."""

    def write_pictures(self, root: Path, take: Take) -> dict[str, Any]:
        """Write the clip and its masks as videos; return where they are."""
        masks: list[NDArray[np.uint8]] = []

        def frames() -> Iterator[NDArray[np.uint8]]:
            for frame, mask in take.pictures():
                masks.append(mask)
                yield frame

        video, mask_file = f"videos/{take.index:05d}.mp4", f"masks/{take.index:05d}.mkv"
        write_video(root / video, frames(), FPS, crf=take.setting.crf, preset=PRESET)
        write_mask_video(root / mask_file, masks, FPS)
        return {"video": video, "mask": mask_file}

    def finish(self, root: Path, records: Sequence[Mapping[str, Any]]) -> Path:
        """Write the manifest and return its path."""
        table = io.StringIO()
        writer = csv.writer(table, lineterminator="\n")
        writer.writerow(COLUMNS)
        for record in records:
            deductions = [record["deductions"][stage] for stage in _STAGES]
            row = {**record, "judges": _joined(record["judges"]), "deductions": _joined(deductions)}
            writer.writerow([row[column] for column in COLUMNS])
        path = root / "dives.csv"
        with whole_file(path, "the manifest") as part:
            part.write_text(table.getvalue(), encoding="utf-8")
        return path


def _joined(numbers: Sequence[float]) -> str:
    return " ".join(f"{number:g}" for number in numbers)
