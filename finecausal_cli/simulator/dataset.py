"""Write a data set of simulated dives: clips, masks, one record a dive, and the manifest.

Layout: ``videos/00000.mp4``, ``masks/00000.mkv``, ``meta/00000.json`` and, at the end, ``dives.csv``. A dive is
finished when its record exists, which is written last; a second run with the same seed goes on where the first one
stopped. Frames depend on (seed, index) alone, never on the number of workers.
"""

from __future__ import annotations

import csv
import io
import json
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from finecausal_cli.diving.difficulty import heights_for
from finecausal_cli.diving.number import DiveNumber, parse_dive_number
from finecausal_cli.errors import OutputError, UsageError
from finecausal_cli.simulator.dive import FPS, SimulatedDive, simulate_dive
from finecausal_cli.simulator.render import Setting, render
from finecausal_cli.video.write import write_mask_video, write_video
from finecausal_cli.whole_file import whole_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from os import PathLike

    from numpy.typing import NDArray

# fmt: off
DIVES = (
    "103B", "105B", "107B", "107C", "109C", "205B", "205C", "207C",
    "303C", "305C", "307C", "403B", "405C", "407C", "207B", "5132D",
    "5152B", "5154B", "5253B", "5255B", "5337D", "614B", "626C", "6243D",
)
# fmt: on
"""Dive numbers of a data set unless others are asked for: all six groups; pike, tuck and free."""

COLUMNS = ("video", "score", "difficulty", "dive", "height_m", "twist_start", "entry_start", "mask", "judges")
_CRF = 20


@dataclass(frozen=True, slots=True)
class DatasetPlan:
    """What a data set is made of; every dive follows from it and an index.

    Attributes:
        seed: Seed of the whole data set.
        dives: Dive numbers to draw from, evenly.
        confounding: 0..1, share of dives whose venue follows from their quality.
        height_m: The only height, or None for any height at which a number is listed.
    """

    seed: int
    dives: tuple[str, ...] = DIVES
    confounding: float = 0.0
    height_m: float | None = None

    def __post_init__(self) -> None:
        if not self.dives:
            raise UsageError("no dive number to simulate", where="dives")
        if not 0 <= self.confounding <= 1:
            raise UsageError(f"confounding is {self.confounding}", where="confounding", hint="it is 0 to 1")
        for text in self.dives:
            self.heights(parse_dive_number(text))

    def heights(self, dive: DiveNumber) -> list[float]:
        """Return the heights the dive may be drawn at.

        Raises:
            UsageError: When there is none.
        """
        listed = [h for h in heights_for(dive) if self.height_m in (None, h)]
        if not listed:
            at = "any height" if self.height_m is None else f"{self.height_m:g} m"
            raise UsageError(f"{dive} is not listed at {at}", where="dives")
        return listed

    def dive(self, index: int) -> SimulatedDive:
        """Simulate dive ``index``."""
        rng = np.random.default_rng(np.random.SeedSequence((self.seed, index, 4)))
        number = parse_dive_number(self.dives[int(rng.integers(len(self.dives)))])
        heights = self.heights(number)
        return simulate_dive(number, heights[int(rng.integers(len(heights)))], (self.seed, index))

    def setting(self, index: int, simulated: SimulatedDive) -> Setting:
        """Draw the venue of dive ``index``, tied to quality as far as the plan confounds them."""
        rng = np.random.default_rng(np.random.SeedSequence((self.seed, index, 5)))
        style = None
        if rng.random() < self.confounding:
            style = confounded_style(simulated)
        return Setting.draw((self.seed, index), style)


def confounded_style(simulated: SimulatedDive) -> int:
    """Return the venue that confounding gives to a dive: the better the execution, the later in the list."""
    return int(np.searchsorted((15.0, 18.75, 21.0, 23.0, 25.5), simulated.execution))


def plan_dataset(
    seed: int, *, dives: Sequence[str] = DIVES, confounding: float = 0.0, height_m: float | None = None
) -> DatasetPlan:
    """Return the plan that `write_dataset` follows for the same arguments.

    Raises:
        UsageError: When the options make no sense.
    """
    return DatasetPlan(seed, tuple(str(parse_dive_number(text)) for text in dives), confounding, height_m)


def write_dataset(
    out: str | PathLike[str],
    count: int,
    seed: int,
    *,
    workers: int = 1,
    dives: Sequence[str] = DIVES,
    confounding: float = 0.0,
    height_m: float | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write ``count`` simulated dives and their manifest.

    Args:
        out: Folder to write into; made when missing. Finished dives in it are kept.
        count: Number of dives.
        seed: Same seed, same dives.
        workers: Processes that render.
        dives: Dive numbers to draw from.
        confounding: 0 draws venues independently of quality, 1 lets quality decide the venue.
        height_m: Restrict to one height.
        progress: Called with (finished, count) after every dive.

    Returns:
        Path of ``dives.csv``.

    Raises:
        UsageError: When the options make no sense.
        OutputError: When the folder cannot be written or holds dives of another plan.
    """
    if count < 1 or workers < 1:
        raise UsageError("count and workers must be at least 1", where="count" if count < 1 else "workers")
    plan = plan_dataset(seed, dives=dives, confounding=confounding, height_m=height_m)
    root = Path(out)
    _prepare(root, plan)
    missing = [index for index in range(count) if not _record_path(root, index).exists()]
    done = count - len(missing)
    if progress:
        progress(done, count)
    for _ in _each_written(root, plan, missing, workers):
        done += 1
        if progress:
            progress(done, count)
    return _write_manifest(root, count)


def _each_written(root: Path, plan: DatasetPlan, missing: Sequence[int], workers: int) -> Iterator[int]:
    """Write the missing dives and yield each index when it is done."""
    if workers == 1 or len(missing) < 2:
        for index in missing:
            yield write_dive(root, plan, index)
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_single_thread) as pool:
        jobs = [pool.submit(write_dive, root, plan, index) for index in missing]
        try:
            for job in as_completed(jobs):
                yield job.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _single_thread() -> None:
    cv2.setNumThreads(1)


def write_dive(root: Path, plan: DatasetPlan, index: int) -> int:
    """Render and write one dive; its record comes last. Returns ``index``."""
    simulated = plan.dive(index)
    setting = plan.setting(index, simulated)
    masks: list[NDArray[np.uint8]] = []

    def frames() -> Iterator[NDArray[np.uint8]]:
        for frame, mask in render(simulated, setting):
            masks.append(mask)
            yield frame

    video, mask_file = _media_paths(index)
    write_video(root / video, frames(), FPS, crf=_CRF)
    write_mask_video(root / mask_file, masks, FPS)
    record = {"index": index, "seed": plan.seed, "video": video, "mask": mask_file}
    record |= simulated.record() | setting.record() | {"confounding": plan.confounding}
    with whole_file(_record_path(root, index), "the dive's record") as part:
        part.write_text(json.dumps(record, indent=1), encoding="utf-8")
    return index


def _media_paths(index: int) -> tuple[str, str]:
    return f"videos/{index:05d}.mp4", f"masks/{index:05d}.mkv"


def _record_path(root: Path, index: int) -> Path:
    return root / "meta" / f"{index:05d}.json"


def _prepare(root: Path, plan: DatasetPlan) -> None:
    """Make the folders and refuse a folder that holds dives of another plan."""
    stamp = json.dumps(
        {"seed": plan.seed, "dives": plan.dives, "confounding": plan.confounding, "height_m": plan.height_m}
    )
    path = root / "plan.json"
    try:
        for name in ("videos", "masks", "meta"):
            (root / name).mkdir(parents=True, exist_ok=True)
        found = path.read_text(encoding="utf-8") if path.exists() else None
    except OSError as error:
        hint = "name a folder that can be written"
        raise OutputError(f"the folder cannot be used: {error.strerror}", where=root, hint=hint) from error
    if found is None:
        with whole_file(path, "the plan") as part:
            part.write_text(stamp, encoding="utf-8")
    elif found != stamp:
        raise OutputError("the folder holds dives of another plan", where=root, hint="choose another folder")


def _write_manifest(root: Path, count: int) -> Path:
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(COLUMNS)
    for index in range(count):
        record = json.loads(_record_path(root, index).read_text(encoding="utf-8"))
        row = {**record, "judges": " ".join(f"{mark:g}" for mark in record["judges"])}
        writer.writerow([row[column] for column in COLUMNS])
    path = root / "dives.csv"
    with whole_file(path, "the manifest") as part:
        part.write_text(table.getvalue(), encoding="utf-8")
    return path
