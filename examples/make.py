"""Regenerate the example dives and the example dataset: ``python examples/make.py``.

The seeds are used nowhere else, so none of these dives is in the training data or the bank of the bundled weights.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

from PIL import Image

from finecausal_cli.simulator.dataset import draw_preview, write_dataset, write_dive
from finecausal_cli.simulator.recording import plan_dataset

HERE = Path(__file__).resolve().parent

DIVES_SEED = 2026
DIVES = {
    "626C-10m-excellent": 34,
    "107B-10m-good": 21,
    "107B-10m-poor": 20,
    "5253B-3m-good": 328,
    "305C-3m-middling": 90,
    "301B-3m-failed": 738,
}
"""Name of each example and its index in the plan."""

DATASET_SEED = 7
DATASET_NUMBERS = ("107B", "405C")
DATASET_DIVES = 8

SHEET_DIVES = 8


def main() -> None:
    """Write everything below this folder."""
    plan = plan_dataset(DIVES_SEED, draw="classic")
    (HERE / "dives").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        for part in ("videos", "masks", "meta"):
            (Path(folder) / part).mkdir()
        for name, index in DIVES.items():
            write_dive(Path(folder), plan, index)
            shutil.copy(Path(folder) / "videos" / f"{index:05d}.mp4", HERE / "dives" / f"{name}.mp4")
            record = json.loads((Path(folder) / "meta" / f"{index:05d}.json").read_text(encoding="utf-8"))
            record |= {"video": f"{name}.mp4"}
            del record["mask"]
            text = json.dumps(record, indent=1) + "\n"
            (HERE / "dives" / f"{name}.json").write_text(text, encoding="utf-8")
    write_dataset(HERE / "dataset", DATASET_DIVES, DATASET_SEED, dives=DATASET_NUMBERS, height_m=3.0, draw="classic")
    sheet = Image.fromarray(draw_preview(plan_dataset(DATASET_SEED, draw="classic"), SHEET_DIVES))
    sheet.save(HERE / "contact-sheet.jpg", quality=85)


if __name__ == "__main__":
    main()
