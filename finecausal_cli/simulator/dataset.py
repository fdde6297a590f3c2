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
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

import cv2

from finecausal_cli.errors import OutputError, UsageError
from finecausal_cli.simulator.dataset_plan import DIVES, DatasetPlan, plan_dataset
from finecausal_cli.simulator.dive import FPS
from finecausal_cli.simulator.render import render
from finecausal_cli.video.write import write_mask_video, write_video
from finecausal_cli.whole_file import whole_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from os import PathLike

    import numpy as np
    from numpy.typing import NDArray

COLUMNS = ("video", "score", "difficulty", "dive", "height_m", "twist_start", "entry_start", "mask", "judges")
_CRF = 20


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
