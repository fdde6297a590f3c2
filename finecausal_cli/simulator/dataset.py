"""Simulate a dataset with several workers; the layout of FineDiving; a preview."""

from __future__ import annotations

import json
import os
import pickle
import pickletools
import shutil
import signal
from collections import defaultdict
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from functools import partial
from multiprocessing import get_context, parent_process
from multiprocessing.connection import wait
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from finecausal_cli.atomic import atomic_write
from finecausal_cli.diving import parse_dive_number
from finecausal_cli.errors import OutputError, UsageError
from finecausal_cli.simulator.camera import HEIGHT
from finecausal_cli.simulator.dive import SUB_ACTIONS, divide_into_steps, flight_labels
from finecausal_cli.simulator.recording import (
    BodiesLayout,
    DatasetPlan,
    ManifestLayout,
    Recording,
    plan_dataset,
    tracks,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
    from os import PathLike

    from finecausal_cli.simulator import LayoutName
    from finecausal_cli.simulator.dive import SimulatedDive
    from finecausal_cli.simulator.recording import DatasetWriter


# Processes that render: they stop when they are told to, and when whoever started them is gone.

Item = TypeVar("Item")


def for_each(work: Callable[[Item], object], items: Sequence[Item], workers: int) -> Generator[None, None, None]:
    """Do ``work`` on every item, in any order, and yield after each.

    Close the iterator when it is not run to its end: the work not yet begun is dropped, that under way is awaited.

    Args:
        work: Can be pickled, and its items too.
        items: What to work on.
        workers: Processes; with one, the work is done in this process.

    Raises:
        OutputError: When a worker process is ended from outside. Exceptions of ``work`` pass through.
    """
    workers = min(workers, len(items))
    if workers <= 1:
        for item in items:
            work(item)
            yield
        return
    pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_start_worker)
    try:
        with _interrupt_held_back():
            jobs = [pool.submit(work, item) for item in items]
        for job in as_completed(jobs):
            job.result()
            yield
    except BrokenProcessPool as error:
        hint = "run again with fewer workers: what is finished is kept"
        raise OutputError("a worker process was ended from outside, as when memory runs out", hint=hint) from error
    finally:
        # Not by the pool's own `with`: that would wait for the work not yet begun as well.
        pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def _interrupt_held_back() -> Iterator[None]:
    """Start processes that never see Ctrl-C, which a terminal sends to all: stopping them is the parent's business."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _start_worker() -> None:
    cv2.setNumThreads(1)
    Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """Wait for the parent's end. A killed parent tells nobody, and the pool's queues would wait for ever."""
    parent = parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


# Pickle as an old NumPy did, so that our copy of a published layout is read by what reads the original.

_PROTOCOL = 3
"""Of the published files. Without frames and with numbered memo entries, it survives a change of names."""

_NEW_HOME, _OLD_HOME = b"numpy._core.", b"numpy.core."


def old_pickle(data: object) -> bytes:
    """Return ``data`` pickled with protocol 3 and the module names of NumPy 1.

    NumPy 2 moved its core to ``numpy._core``; in protocol 3 every name is an opcode of its own (``c``, two lines of
    text), and only those are rewritten: text in the data that looks like a module stays as it is.
    """
    written = pickle.dumps(data, protocol=_PROTOCOL)
    pieces, copied = [], 0
    for opcode, _, position in pickletools.genops(written):
        if opcode.name == "GLOBAL" and position is not None and written.startswith(_NEW_HOME, position + 1):
            pieces += [written[copied : position + 1], _OLD_HOME]
            copied = position + 1 + len(_NEW_HOME)
    return b"".join([*pieces, written[copied:]])


# The layout of FineDiving-HM: folders of JPEG frames and masks, and pickled annotations.
#
#     OUT/FineDiving/<competition>/<index>/<frame>.jpg       frames of 455 x 256 pixels
#     OUT/FineDiving_HM/<competition>/<index>/<frame>.jpg    masks of the same names, white = athlete
#     OUT/Annotations/*.pkl                                  six files, as its authors name them
#
# The published data set mixes competitions called by a number with ones called by a name, numbers its frames as in
# the untrimmed recording, gives twisting dives more than two transitions, leaves a few dives without the label of the
# entry, and puts dive numbers into the test split that the training split has never seen. So does this one.
#
# The folder of a dive follows from its index in the plan and the dive itself, never from other dives: a data set can be
# written in any order, and be made longer later.

Key = tuple[str, int]
"""Competition and the dive's number in it."""

FRAMES, MASKS, ANNOTATIONS = "FineDiving", "FineDiving_HM", "Annotations"

WIDTH = 455
"""Columns of a frame; the last one or two of ours are dropped."""

_QUALITY = 90
_ROUND_DIVES = 100
"""Dives after which the next round of competitions, and the next recording, begins."""

_SLOT_FRAMES = 900
"""Frames of recording from one dive to the next; a clip lies anywhere in its slot."""

_NUMBERED_EVERY = 4
"""One dive in so many is from a competition that is called by a number."""

_TEST_SHARE = 0.25
_WITHOUT_ENTRY = 0.005

_PLACE_STREAM, _ENTRY_STREAM, _SPLIT_STREAM = 6, 7, 8
"""Random streams of a plan's seed that no other part draws from."""


class FineDivingLayout:
    """Frames and masks as JPEG files, annotations as pickles."""

    folders: tuple[str, ...] = (FRAMES, MASKS, ANNOTATIONS)
    leftovers: tuple[str, ...] = (f"{FRAMES}/*/.*.part", f"{MASKS}/*/.*.part", f"{ANNOTATIONS}/.*.part")

    def check(self, plan: DatasetPlan) -> None:
        """Refuse a plan with dives that FineDiving has no labels for.

        Raises:
            UsageError: Names the dive.
        """
        if plan.world != "clean":
            raise UsageError("the layout of FineDiving holds clean clips only", where="world")
        for text in plan.dives:
            flight_labels(parse_dive_number(text))

    def write_pictures(self, root: Path, recording: Recording) -> dict[str, Any]:
        """Write the dive's frames and masks; return its key, its index in the recording and its steps."""
        simulated = recording.simulated
        competition, number = key_of(recording.index, simulated)
        first = first_frame(recording.seed, recording.index, simulated.frames)
        frames, masks = (f"{name}/{competition}/{number}" for name in (FRAMES, MASKS))
        write_frames(root / frames, root / masks, first, recording.pictures())
        steps = divide_into_steps(simulated, marks_entry=not lacks_entry(recording.seed, recording.index))
        return {
            "key": [competition, number],
            "frames_folder": frames,
            "masks_folder": masks,
            "start_frame": first,
            "end_frame": first + simulated.frames - 1,
            "transitions": list(steps.transitions),
            "steps": list(steps.labels),
        }

    def finish(self, root: Path, records: Sequence[Mapping[str, Any]]) -> Path:
        """Write the six annotation files and return the data set's folder."""
        train, test = split_keys({_key(record): record["dive"] for record in records}, records[0]["seed"])
        contents: dict[str, object] = {
            "fine-grained_annotation_aqa": {_key(record): _annotation(record) for record in records},
            "FineDiving_coarse_annotation": {_key(record): _coarse(record) for record in records},
            "FineDiving_fine-grained_annotation": {_key(record): _fine_grained(record) for record in records},
            "Sub_action_Types_Table": SUB_ACTIONS,
            "train_split": train,
            "test_split": test,
        }
        for name, content in contents.items():
            with atomic_write(root / ANNOTATIONS / f"{name}.pkl", "the annotations") as part:
                part.write_bytes(old_pickle(content))
        return root


def key_of(index: int, simulated: SimulatedDive) -> Key:
    """Return competition and number of the dive at an index of the plan.

    A quarter of the dives are from competitions called '01', '02', ...; the others from ones called by the event, such
    as 'SimulatedDivingCup2026_Women10m_final_r1'. An event's numbers have gaps where other events dived.
    """
    round_, position = divmod(index, _ROUND_DIVES)
    if position % _NUMBERED_EVERY == 0:
        return f"{round_ + 1:02d}", position // _NUMBERED_EVERY + 1
    who = "Women" if simulated.motion.athlete.sex == "female" else "Men"
    return f"SimulatedDivingCup2026_{who}{simulated.height_m:g}m_final_r{round_ + 1}", position


def first_frame(seed: int, index: int, frames: int) -> int:
    """Return the number, in the untrimmed recording, of a clip's first frame.

    Raises:
        ValueError: When the clip is too long for its slot.
    """
    room = _SLOT_FRAMES - frames
    if room <= 0:
        raise ValueError(f"A clip of {frames} frames is longer than the {_SLOT_FRAMES} between two dives.")
    rng = np.random.default_rng(np.random.SeedSequence((seed, index, _PLACE_STREAM)))
    return index % _ROUND_DIVES * _SLOT_FRAMES + int(rng.random() * room)


def lacks_entry(seed: int, index: int) -> bool:
    """Tell whether a dive is one of the few whose entry is not labelled."""
    rng = np.random.default_rng(np.random.SeedSequence((seed, index, _ENTRY_STREAM)))
    return bool(rng.random() < _WITHOUT_ENTRY)


def split_keys(numbers: Mapping[Key, str], seed: int) -> tuple[list[Key], list[Key]]:
    """Divide the dives into three quarters for training and one for the test, number by number.

    What rounding owes is carried to the next number, so the shares hold over the whole. Of the numbers with a single
    dive one in four is in the test split, where it has no exemplar; every other number has dives to train on.

    Args:
        numbers: Dive number of every key.
        seed: Seed of the draw.
    """
    by_number: dict[str, list[Key]] = defaultdict(list)
    for key, number in numbers.items():
        by_number[number].append(key)
    rng = np.random.default_rng(np.random.SeedSequence((seed, _SPLIT_STREAM)))
    test: set[Key] = set()
    owed = 0.0
    for index in rng.permutation(len(by_number)):
        keys = by_number[sorted(by_number)[index]]
        owed += _TEST_SHARE * len(keys)
        test |= {keys[i] for i in rng.permutation(len(keys))[: int(owed)]}
        owed -= int(owed)
    return [key for key in numbers if key not in test], [key for key in numbers if key in test]


def write_frames(
    frames: Path, masks: Path, first: int, pictures: Iterable[tuple[NDArray[np.uint8], NDArray[np.uint8]]]
) -> None:
    """Write a folder of frames and one of masks, numbered from ``first``; each appears whole or not at all.

    Raises:
        OutputError: When they cannot be written.
    """
    with ExitStack() as stack:
        parts = [stack.enter_context(whole_folder(folder, "the dive's pictures")) for folder in (frames, masks)]
        for number, (frame, mask) in enumerate(pictures, start=first):
            for part, picture in zip(parts, (frame[:, :WIDTH, ::-1], mask[:, :WIDTH]), strict=True):
                encoded, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
                if not encoded:
                    raise OutputError("a picture cannot be encoded", where=frames)
                with (part / f"{number:05d}.jpg").open("wb") as stream:
                    stream.write(data.tobytes())
                    stream.flush()
                    os.fsync(stream.fileno())


@contextmanager
def whole_folder(path: Path, what: str) -> Iterator[Path]:
    """Give a temporary folder beside ``path`` that takes its place only when the block ends well.

    Raises:
        OutputError: When something in it cannot be written.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.mkdir(parents=True)
        yield part
        if path.exists():
            shutil.rmtree(path)
        part.replace(path)
    except OSError as error:
        raise OutputError(
            f"{what} cannot be written: {error.strerror or error}",
            where=path,
            hint="check the folder, its rights and the free space",
        ) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _key(record: Mapping[str, Any]) -> Key:
    competition, number = record["key"]
    return competition, number


def _action(record: Mapping[str, Any]) -> str:
    return str(record["dive"]).lower()


def _frame_labels(record: Mapping[str, Any]) -> NDArray[np.int64]:
    """Return one label a frame [frames]."""
    lengths = np.diff([0, *record["transitions"], record["frames"]])
    return np.repeat(np.array(record["steps"], np.int64), lengths)


def _annotation(record: Mapping[str, Any]) -> list[object]:
    transitions = np.array(record["transitions"], np.int64)
    score = np.float64(record["score"])
    return [_action(record), score, float(record["difficulty"]), transitions, _frame_labels(record)]


def _coarse(record: Mapping[str, Any]) -> dict[str, object]:
    return {
        "action_type": _action(record),
        "start_frame": record["start_frame"],
        "end_frame": record["end_frame"],
        "dive_score": float(record["score"]),
        "difficulty": float(record["difficulty"]),
        "judge_scores": [float(mark) for mark in record["judges"]],
    }


def _fine_grained(record: Mapping[str, Any]) -> dict[str, object]:
    return {
        "action_type": _action(record),
        "dive_score": float(record["score"]),
        "difficulty": float(record["difficulty"]),
        "steps_transit_frames": np.array(record["transitions"], np.int64),
        "frames_labels": _frame_labels(record),
        "sub-action_types": {label: SUB_ACTIONS[label] for label in record["steps"]},
    }


# A contact sheet, so that a person can look at dives.

Frame = NDArray[np.uint8]

_COLUMNS = 10
_BEFORE_S, _AFTER_S = 0.24, 0.32
"""Time that is shown before the take-off and after the first contact with the water."""

_TILE = 192
"""Columns around the middle that are shown of each frame."""


def draw_preview(plan: DatasetPlan, dives: int) -> Frame:
    """Return a contact sheet of the first dives of a plan, one row each, from just before take-off to the splash."""
    rows = []
    for index in range(dives):
        recording = Recording.of(plan, index)
        simulated, timing = recording.simulated, recording.timing
        first = timing.first_at(simulated.motion.leave_s - _BEFORE_S)
        last = min(timing.first_at(simulated.motion.contact_s + _AFTER_S), timing.frames - 1)
        chosen = np.linspace(first, last, _COLUMNS).astype(int).tolist()
        frames = [frame for frame, _ in recording.pictures(chosen)]
        rows.append((f"{simulated.dive} {simulated.height_m:g} m  {simulated.score:.1f}", frames))
    return contact_sheet(rows)


def contact_sheet(rows: Sequence[tuple[str, Sequence[Frame]]]) -> Frame:
    """Return a picture with one row of frames for each (caption, frames); rows are equally long."""
    strips = []
    for caption, frames in rows:
        tiles = [_middle(frame) for frame in frames]
        strip = np.ascontiguousarray(np.concatenate(tiles, axis=1))
        for colour, width in (((0, 0, 0), 3), ((255, 255, 255), 1)):
            cv2.putText(strip, caption, (6, 18), cv2.FONT_HERSHEY_SIMPLEX, 0.5, colour, width, cv2.LINE_AA)
        strips.append(strip)
    return np.concatenate(strips, axis=0)


def _middle(frame: Frame) -> Frame:
    width = round(frame.shape[1] * HEIGHT / frame.shape[0])
    if frame.shape[0] != HEIGHT:
        frame = np.asarray(cv2.resize(frame, (width, HEIGHT), interpolation=cv2.INTER_AREA), np.uint8)
    if width < _TILE:
        spare = _TILE - width
        frame = np.pad(frame, ((0, 0), (spare // 2, spare - spare // 2), (0, 0)))
    left = (frame.shape[1] - _TILE) // 2
    return np.asarray(frame[:, left : left + _TILE], np.uint8)


def save_picture(path: str | PathLike[str], picture: Frame) -> None:
    """Write an RGB picture as PNG.

    Raises:
        OutputError: When it cannot be written.
    """
    encoded, data = cv2.imencode(".png", picture[..., ::-1])
    if not encoded:
        raise OutputError("the picture cannot be encoded", where=path)
    with atomic_write(path, "the contact sheet") as part:
        part.write_bytes(data.tobytes())


# Write a data set of simulated dives: pictures, masks, motion and record of each, and what readers of the layout
# need.
#
# A dive is finished when its record, ``meta/00000.json``, exists, which is written last; a second run with the same
# plan goes on where the first one stopped. What is written depends on the plan and the dive's index alone, never on
# the number of workers or on interruptions.

try:
    import fcntl
except ImportError:  # where there is no such lock, as on Windows, two runs at once are the user's care
    fcntl = None  # type: ignore[assignment]


LAYOUTS: dict[LayoutName, DatasetWriter] = {
    "manifest": ManifestLayout(),
    "finediving": FineDivingLayout(),
    "bodies": BodiesLayout(),
}

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
    recording = Recording.of(plan, index)
    record = {"index": index, "seed": plan.seed} | LAYOUTS[layout].write_pictures(root, recording)
    record |= recording.record() | {"confounding": plan.confounding}
    if layout != "bodies":
        motion = json.dumps(tracks(recording.simulated, recording.timing.real_s), separators=(",", ":"))
        with atomic_write(root / "tracks" / f"{index:05d}.json", "the dive's motion") as part:
            part.write_text(motion, encoding="utf-8")
    with atomic_write(_record_path(root, index), "the dive's record") as part:
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
        stored = path.read_text(encoding="utf-8") if path.exists() else None
        if stored not in (None, stamp):
            raise OutputError("the folder holds dives of another plan", where=root, hint=_hint(stored, plan, layout))
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
    if stored is None:
        with atomic_write(path, "the plan") as part:
            part.write_text(stamp, encoding="utf-8")


def _hint(stored: str | None, plan: DatasetPlan, layout: LayoutName) -> str:
    """Say how to go on with a folder of another plan."""
    if not plan.failed and stored == json.dumps({"format": layout} | replace(plan, draw="classic").stamp()):
        return "its dives were drawn as before: add --draw classic, or choose another folder"
    return "choose another folder"


def _unusable(root: Path, error: OSError) -> OutputError:
    hint = "name a folder that can be written"
    return OutputError(f"the folder cannot be used: {error.strerror}", where=root, hint=hint)
