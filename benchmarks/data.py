"""Write the named benchmark: ``python -m benchmarks.data OUT [--size small]``. Commands and seeds define it.

| folder | dives (full) | what it is |
| --- | --- | --- |
| ``train`` | 2,000 + 250 to validate | venues independent of quality |
| ``confounded`` | 2,000 + 250 | the same dives; four in five in the venue that goes with their quality |
| ``test`` | 500 | other dives, venues independent of quality |
| ``shift`` | 500 | the dives of ``test`` in other venues |
| ``pairs/here`` | 200 | dives to be changed in one factor |
| ``pairs/elsewhere`` | 200 | the same dives in other venues: their scores should stay |
| ``pairs/other-entry`` | 200 | the same dives and venues with other entries: their scores should follow |
| ``wild`` | 200 | uncut files, as people film dives, with the athlete's joints |
| ``negatives`` | 2 of each kind | clips without a dive |

``small`` is a tenth of it, with as many negatives. ``finecausal simulate`` writes every folder with the options below.
A stopped run resumes (``negatives`` restarts). ``train`` and ``confounded`` get a column ``split``. At the end the
labels' checksums are compared with those in ``benchmarks/labels.json``.

Dives are drawn as competitions have them. ``--draw classic`` writes the benchmark as it was before, in which the
figures of the bundled ``compact`` weights were measured.

``wild`` and ``negatives`` have painted backgrounds. With ``--backgrounds FOLDER`` most have photographs; then
their checksums depend on the folder and are not compared.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from rich.console import Console
from rich.progress import Progress

from finecausal_cli.atomic import atomic_write
from finecausal_cli.errors import FinecausalError
from finecausal_cli.simulator.dataset import write_dataset
from finecausal_cli.simulator.negatives import KINDS, write_negatives
from finecausal_cli.simulator.recording import find_photos

if TYPE_CHECKING:
    from collections.abc import Sequence

    from finecausal_cli.simulator import DrawName, World

Size = Literal["full", "small"]

CHECKSUMS = Path(__file__).resolve().parent / "labels.json"

TRAIN_SEED, TEST_SEED, PAIRS_SEED, WILD_SEED, NEGATIVES_SEED = 23911, 23912, 23913, 23914, 23915
"""Seeds of the dives. The number is that of the paper, arXiv 2503.23911."""

ELSEWHERE, OTHER_ENTRY = 90_001, 90_002
"""Offset of the seed of other venues, and of other entries."""

SMALL = 10
"""Reduction of the small benchmark."""


@dataclass(frozen=True)
class Part:
    """One data set of the benchmark.

    Attributes:
        folder: Its folder.
        dives: How many.
        seed: Seed of the dives.
        validation: Number of validation dives, the last ones; the others are training dives. 0: no split.
        confounding: As for ``finecausal simulate``.
        venue_seed: As for ``finecausal simulate``.
        entry_seed: As for ``finecausal simulate``.
        world: As for ``finecausal simulate``.
    """

    folder: str
    dives: int
    seed: int
    validation: int = 0
    confounding: float = 0.0
    venue_seed: int | None = None
    entry_seed: int | None = None
    world: World = "clean"

    @property
    def takes_photos(self) -> bool:
        """Whether its dives may have photographs as background."""
        return self.world == "wild"

    def command(self, size: Size, draw: DrawName = "competition") -> str:
        """Return the command that writes it."""
        words = [f"finecausal simulate OUT/{self.folder} --count {self.count(size)} --seed {self.seed}"]
        words += [f"--confounding {self.confounding:g}"] if self.confounding else []
        words += [f"--venue-seed {self.venue_seed}"] if self.venue_seed is not None else []
        words += [f"--entry-seed {self.entry_seed}"] if self.entry_seed is not None else []
        words += [f"--world {self.world}"] if self.world != "clean" else []
        words += [f"--draw {draw}"] if draw != "competition" else []
        return " ".join(words)

    def count(self, size: Size) -> int:
        """Return how many dives it has."""
        return self.dives if size == "full" else self.dives // SMALL


@dataclass(frozen=True)
class Negatives:
    """The clips of the benchmark that are no dive.

    Attributes:
        folder: Their folder.
        each: How many of each kind.
        seed: Seed of the clips.
    """

    folder: str
    each: int
    seed: int

    takes_photos = True

    def command(self, size: Size) -> str:  # noqa: ARG002 - as many in both
        """Return the command that writes them."""
        return f"finecausal simulate OUT/{self.folder} --negatives all --count {self.each} --seed {self.seed}"

    def count(self, size: Size) -> int:  # noqa: ARG002 - as many in both
        """Return how many clips there are."""
        return self.each * len(KINDS)


PARTS: tuple[Part | Negatives, ...] = (
    Part("train", 2250, TRAIN_SEED, validation=250),
    Part("confounded", 2250, TRAIN_SEED, validation=250, confounding=0.8),
    Part("test", 500, TEST_SEED),
    Part("shift", 500, TEST_SEED, venue_seed=TEST_SEED + ELSEWHERE),
    Part("pairs/here", 200, PAIRS_SEED),
    Part("pairs/elsewhere", 200, PAIRS_SEED, venue_seed=PAIRS_SEED + ELSEWHERE),
    Part("pairs/other-entry", 200, PAIRS_SEED, entry_seed=PAIRS_SEED + OTHER_ENTRY),
    Part("wild", 200, WILD_SEED, world="wild"),
    Negatives("negatives", 2, NEGATIVES_SEED),
)


def write_part(
    root: Path,
    part: Part | Negatives,
    size: Size,
    *,
    workers: int,
    progress: Progress,
    photos: Sequence[str] = (),
    draw: DrawName = "competition",
) -> str:
    """Write a part of the benchmark and return the SHA-256 (hex) of its labels; ``photos`` are possible backgrounds."""
    count = part.count(size)
    task = progress.add_task(part.folder, total=count)
    if isinstance(part, Negatives):
        table = write_negatives(root / part.folder, ["all"], part.each, part.seed, photos)
        progress.update(task, completed=count)
        return hashlib.sha256(table.read_bytes()).hexdigest()
    labels = write_dataset(
        root / part.folder,
        count,
        part.seed,
        workers=workers,
        confounding=part.confounding,
        venue_seed=part.venue_seed,
        entry_seed=part.entry_seed,
        world=part.world,
        draw=draw,
        photos=tuple(photos) if part.takes_photos else (),
        progress=lambda done, total: progress.update(task, completed=done, total=total),
    )
    if part.validation:
        validation = part.validation if size == "full" else part.validation // SMALL
        set_split(labels, count - validation)
    return hashlib.sha256(labels.read_bytes()).hexdigest()


def set_split(labels: Path, training: int) -> None:
    """Write the column ``split``: ``train`` for the first rows, then ``val``."""
    with labels.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for index, row in enumerate(rows):
        row["split"] = "train" if index < training else "val"
    with atomic_write(labels, "the labels") as part, part.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def main(arguments: Sequence[str] | None = None) -> None:
    """Write all parts and compare their checksums."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.data", description="Make the named benchmark.")
    parser.add_argument("out", type=Path)
    parser.add_argument("--size", choices=("full", "small"), default="full")
    parser.add_argument("--only", help="parts, separated by commas")
    parser.add_argument("--backgrounds", type=Path, metavar="FOLDER", help="photographs for wild and negatives")
    parser.add_argument("--draw", choices=("competition", "classic"), default="competition", help="how dives are drawn")
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args(arguments)
    folders = {part.folder for part in PARTS}
    selected = set(args.only.split(",")) if args.only else folders
    if selected - folders:
        parser.error(f"no such part: {', '.join(sorted(selected - folders))}")
    try:
        photos = () if args.backgrounds is None else find_photos(args.backgrounds)
    except FinecausalError as error:
        parser.error(str(error))
    known_labels = json.loads(CHECKSUMS.read_text(encoding="utf-8"))
    expected = (known_labels["classic"] if args.draw == "classic" else known_labels)[args.size]
    console = Console(soft_wrap=True, highlight=False)
    differs = []
    with Progress(console=Console(stderr=True)) as progress:
        for part in PARTS:
            if part.folder not in selected:
                continue
            digest = write_part(
                args.out, part, args.size, workers=args.workers, progress=progress, photos=photos, draw=args.draw
            )
            known = None if photos and part.takes_photos else expected.get(part.folder)
            differs += [part.folder] if known not in (None, digest) else []
            status = "not compared" if known is None else "as expected" if known == digest else "DIFFERENT"
            console.print(f"{part.folder}  {part.count(args.size)} clips  labels {digest}  {status}")
    if differs:
        console.print(f"labels differ from benchmarks/labels.json: {', '.join(differs)}")
        raise SystemExit(1)


if __name__ == "__main__":
    main()
