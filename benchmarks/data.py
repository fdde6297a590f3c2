"""Make the named benchmark: ``python -m benchmarks.data OUT [--size small]``. Commands and seeds alone define it.

| folder | dives (full) | what it is |
| --- | --- | --- |
| ``train`` | 2,000 + 250 to validate | venues independent of quality |
| ``confounded`` | 2,000 + 250 | the same dives; four in five in the venue that goes with their quality |
| ``test`` | 500 | other dives, venues independent of quality |
| ``shift`` | 500 | the dives of ``test`` in other venues |
| ``pairs/here`` | 200 | dives to be changed in one thing |
| ``pairs/elsewhere`` | 200 | the same dives in other venues: their scores should stay |
| ``pairs/other-entry`` | 200 | the same dives and venues with other entries: their scores should follow |

``small`` is a tenth of it. Every folder is what ``finecausal simulate`` writes for the options below; a run that was
stopped goes on. ``train`` and ``confounded`` get a column ``split``. At the end the labels' checksums are compared with
those in ``benchmarks/labels.json``.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rich.console import Console
from rich.progress import Progress

from finecausal_cli.simulator.dataset import write_dataset
from finecausal_cli.whole_file import whole_file

Size = Literal["full", "small"]

CHECKSUMS = Path(__file__).resolve().parent / "labels.json"

TRAIN_SEED, TEST_SEED, PAIRS_SEED = 23911, 23912, 23913
"""Where dives come from. The number is that of the paper, arXiv 2503.23911."""

ELSEWHERE, OTHER_ENTRY = 90_001, 90_002
"""What is added to a seed for that of other venues, or other entries."""

SMALL = 10
"""The small benchmark is one in so many."""


@dataclass(frozen=True)
class Part:
    """One data set of the benchmark.

    Attributes:
        folder: Its place.
        dives: How many.
        seed: Seed of the dives.
        validation: Of these, the last so many are to validate on, and all others to train on; 0 says nothing.
        confounding: As for ``finecausal simulate``.
        venue_seed: As for ``finecausal simulate``.
        entry_seed: As for ``finecausal simulate``.
    """

    folder: str
    dives: int
    seed: int
    validation: int = 0
    confounding: float = 0.0
    venue_seed: int | None = None
    entry_seed: int | None = None

    def command(self, size: Size) -> str:
        """Return the command that writes it."""
        words = [f"finecausal simulate OUT/{self.folder} --count {self.count(size)} --seed {self.seed}"]
        words += [f"--confounding {self.confounding:g}"] if self.confounding else []
        words += [f"--venue-seed {self.venue_seed}"] if self.venue_seed is not None else []
        words += [f"--entry-seed {self.entry_seed}"] if self.entry_seed is not None else []
        return " ".join(words)

    def count(self, size: Size) -> int:
        """Return how many dives it has."""
        return self.dives if size == "full" else self.dives // SMALL


PARTS = (
    Part("train", 2250, TRAIN_SEED, validation=250),
    Part("confounded", 2250, TRAIN_SEED, validation=250, confounding=0.8),
    Part("test", 500, TEST_SEED),
    Part("shift", 500, TEST_SEED, venue_seed=TEST_SEED + ELSEWHERE),
    Part("pairs/here", 200, PAIRS_SEED),
    Part("pairs/elsewhere", 200, PAIRS_SEED, venue_seed=PAIRS_SEED + ELSEWHERE),
    Part("pairs/other-entry", 200, PAIRS_SEED, entry_seed=PAIRS_SEED + OTHER_ENTRY),
)


def write_part(root: Path, part: Part, size: Size, *, workers: int, progress: Progress) -> str:
    """Write a part of the benchmark and return the SHA-256 (hex) of its labels."""
    count = part.count(size)
    task = progress.add_task(part.folder, total=count)
    labels = write_dataset(
        root / part.folder,
        count,
        part.seed,
        workers=workers,
        confounding=part.confounding,
        venue_seed=part.venue_seed,
        entry_seed=part.entry_seed,
        progress=lambda done, total: progress.update(task, completed=done, total=total),
    )
    if part.validation:
        validation = part.validation if size == "full" else part.validation // SMALL
        set_split(labels, count - validation)
    return hashlib.sha256(labels.read_bytes()).hexdigest()


def set_split(labels: Path, training: int) -> None:
    """Write the column ``split``: the first so many rows train, the others validate."""
    with labels.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for place, row in enumerate(rows):
        row["split"] = "train" if place < training else "val"
    with whole_file(labels, "the labels") as part, part.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def main() -> None:
    """Write all parts and compare their labels."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.data", description="Make the named benchmark.")
    parser.add_argument("out", type=Path)
    parser.add_argument("--size", choices=("full", "small"), default="full")
    parser.add_argument("--only", help="parts, separated by commas")
    parser.add_argument("--workers", type=int, default=2)
    asked = parser.parse_args()
    wanted = set(asked.only.split(",")) if asked.only else {part.folder for part in PARTS}
    expected = json.loads(CHECKSUMS.read_text(encoding="utf-8"))[asked.size]
    console = Console(soft_wrap=True, highlight=False)
    differs = []
    with Progress(console=Console(stderr=True)) as progress:
        for part in PARTS:
            if part.folder not in wanted:
                continue
            found = write_part(asked.out, part, asked.size, workers=asked.workers, progress=progress)
            known = expected.get(part.folder)
            differs += [part.folder] if known not in (None, found) else []
            told = (
                "as expected" if known == found else "nothing to compare with" if known is None else "OTHERS EXPECTED"
            )
            console.print(f"{part.folder}  {part.count(asked.size)} dives  labels {found}  {told}")
    if differs:
        console.print(f"other labels than those of benchmarks/labels.json: {', '.join(differs)}")
        raise SystemExit(1)


if __name__ == "__main__":
    main()
