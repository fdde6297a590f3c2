"""The layout of a data set of one's own: ``videos/00000.mp4``, ``masks/00000.mkv`` and the manifest ``dives.csv``."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any

import numpy as np

from finecausal_cli.video.write import write_mask_video, write_video
from finecausal_cli.whole_file import whole_file

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

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

    folders: tuple[str, ...] = ("videos", "masks", "joints")
    leftovers: tuple[str, ...] = ("videos/.*.part", "masks/.*.part", "joints/.*.part", ".dives.csv.*.part")

    def check(self, plan: DatasetPlan) -> None:
        """Accept every plan."""

    def write_pictures(self, root: Path, take: Take) -> dict[str, Any]:
        """Write the clip and its masks as videos and the joints as arrays; return where the videos are."""
        packed: list[NDArray[np.uint8]] = []
        truth, (width, height) = take.truth(), take.setting.camera.size

        def frames() -> Iterator[NDArray[np.uint8]]:
            for frame, mask in take.pictures_with_truth(truth):
                packed.append(np.packbits(mask > 0))
                yield frame

        timing, name = take.timing, f"{take.index:05d}"
        video, mask_file = f"videos/{name}.mp4", f"masks/{name}.mkv"
        times_s = timing.times_s if timing.variable else None
        write_video(root / video, frames(), timing.fps, crf=take.crf, preset=PRESET, times_s=times_s)
        masks = (np.unpackbits(bits, count=height * width).reshape(height, width) for bits in packed)
        write_mask_video(root / mask_file, masks, timing.fps)
        truth.write(root / f"joints/{name}.npz")
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
