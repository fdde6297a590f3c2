"""Write a data set of simulated dives: pictures, masks, motion and record of each, and what readers of the layout need.

A dive is finished when its record, ``meta/00000.json``, exists, which is written last; a second run with the same
plan goes on where the first one stopped. What is written depends on the plan and the dive's index alone, never on
the number of workers or on interruptions.
"""

from __future__ import annotations

import json
import os
import shutil
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from finecausal_cli.errors import OutputError, UsageError
from finecausal_cli.simulator.dataset_plan import DatasetPlan, plan_dataset
from finecausal_cli.simulator.finediving_layout import FineDivingLayout
from finecausal_cli.simulator.layout import Take
from finecausal_cli.simulator.manifest_layout import ManifestLayout
from finecausal_cli.simulator.tracks import tracks
from finecausal_cli.simulator.workers import for_each
from finecausal_cli.whole_file import whole_file

try:
    import fcntl
except ImportError:  # where there is no such lock, as on Windows, two runs at once are the user's care
    fcntl = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from finecausal_cli.simulator.layout import Layout

LayoutName = Literal["manifest", "finediving"]


LAYOUTS: dict[LayoutName, Layout] = {"manifest": ManifestLayout(), "finediving": FineDivingLayout()}

_PLAN_NAME = "plan.json"
_LEFTOVERS = (f".{_PLAN_NAME}.*.part", "meta/.*.part", "tracks/.*.part")


def write_dataset(
    out: str | os.PathLike[str],
    count: int,
    seed: int,
    *,
    layout: LayoutName = "manifest",
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
    **options: Any,
) -> Path:
    """Write ``count`` simulated dives and their labels.

    Args:
        out: Folder to write into; made when missing. Finished dives in it are kept.
        count: Number of dives.
        seed: Same seed, same dives.
        layout: Of a data set of one's own (manifest), or of FineDiving-HM.
        workers: Processes that render.
        progress: Called with (finished, count) at the start and after every dive.
        options: Further fields of ``DatasetPlan``: ``dives``, ``confounding``, ``venue_seed`` and so on.

    Returns:
        The path to hand to a reader: of ``dives.csv``, or the folder in the layout of FineDiving-HM.

    Raises:
        UsageError: When the options make no sense.
        OutputError: When the folder cannot be written, holds dives of another plan or is being written to.
    """
    if count < 1 or workers < 1:
        raise UsageError("count and workers must be at least 1", where="count" if count < 1 else "workers")
    plan = plan_dataset(seed, **options)
    LAYOUTS[layout].check(plan)
    root = Path(out)
    tell = progress or (lambda *_: None)
    with _sole_writer(root):
        _prepare(root, plan, layout)
        missing = [index for index in range(count) if not _record_path(root, index).exists()]
        done = count - len(missing)
        tell(done, count)
        with closing(for_each(partial(write_dive, root, plan, layout=layout), missing, workers)) as written:
            for _ in written:
                done += 1
                tell(done, count)
        return LAYOUTS[layout].finish(root, [_read_record(root, index) for index in range(count)])


def write_dive(root: Path, plan: DatasetPlan, index: int, layout: LayoutName = "manifest") -> None:
    """Render and write one dive; its record comes last."""
    take = Take.of(plan, index)
    record = {"index": index, "seed": plan.seed} | LAYOUTS[layout].write_pictures(root, take)
    record |= take.record() | {"confounding": plan.confounding}
    with whole_file(root / "tracks" / f"{index:05d}.json", "the dive's motion") as part:
        part.write_text(json.dumps(tracks(take.simulated, take.timing.real_s), separators=(",", ":")), encoding="utf-8")
    with whole_file(_record_path(root, index), "the dive's record") as part:
        part.write_text(json.dumps(record, indent=1), encoding="utf-8")


def _record_path(root: Path, index: int) -> Path:
    return root / "meta" / f"{index:05d}.json"


def _read_record(root: Path, index: int) -> dict[str, Any]:
    path = _record_path(root, index)
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise OutputError(
            "not the record of a dive", where=path, hint="delete it and run again: the dive is written anew"
        ) from error
    return dict(record)


@contextmanager
def _sole_writer(root: Path) -> Iterator[None]:
    """Make the data set's folder and keep a second run out of it; the lock goes with its holder, however that ends.

    Raises:
        OutputError: When another run is writing to the folder, or it cannot be used.
    """
    try:
        root.mkdir(parents=True, exist_ok=True)
        descriptor = None if fcntl is None else os.open(root, os.O_RDONLY)
    except OSError as error:
        raise _unusable(root, error) from error
    if descriptor is None:
        yield
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise OutputError("another run is writing to the folder", where=root, hint="wait for it or stop it") from None
    except OSError:  # a file system without locks
        pass
    try:
        yield
    finally:
        os.close(descriptor)


def _prepare(root: Path, plan: DatasetPlan, layout: LayoutName) -> None:
    """Refuse a folder that holds dives of another plan, make its folders and clear up after killed writers."""
    stamp = json.dumps({"format": layout} | plan.stamp())
    path = root / _PLAN_NAME
    try:
        found = path.read_text(encoding="utf-8") if path.exists() else None
        if found not in (None, stamp):
            raise OutputError("the folder holds dives of another plan", where=root, hint="choose another folder")
        for name in (*LAYOUTS[layout].folders, "meta", "tracks"):
            (root / name).mkdir(exist_ok=True)
        for pattern in (*_LEFTOVERS, *LAYOUTS[layout].leftovers):
            for leftover in list(root.glob(pattern)):
                if leftover.is_dir():
                    shutil.rmtree(leftover)
                else:
                    leftover.unlink()
    except OSError as error:
        raise _unusable(root, error) from error
    if found is None:
        with whole_file(path, "the plan") as part:
            part.write_text(stamp, encoding="utf-8")


def _unusable(root: Path, error: OSError) -> OutputError:
    hint = "name a folder that can be written"
    return OutputError(f"the folder cannot be used: {error.strerror}", where=root, hint=hint)
