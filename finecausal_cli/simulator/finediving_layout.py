"""The layout of FineDiving-HM: folders of JPEG frames and masks, and pickled annotations.

    OUT/FineDiving/<competition>/<index>/<frame>.jpg       frames of 455 x 256 pixels
    OUT/FineDiving_HM/<competition>/<index>/<frame>.jpg    masks of the same names, white = athlete
    OUT/Annotations/*.pkl                                  six files, as its authors name them

The published data set mixes competitions called by a number with ones called by a name, numbers its frames as in the
untrimmed recording, gives twisting dives more than two transitions, leaves a few dives without the label of the
entry, and puts dive numbers into the test split that the training split has never seen. So does this one.

Where a dive goes follows from its place in the plan and the dive itself, never from other dives: a data set can be
written in any order, and be made longer later.
"""

from __future__ import annotations

import os
import shutil
from collections import defaultdict
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from finecausal_cli.diving.number import parse_dive_number
from finecausal_cli.errors import OutputError, UsageError
from finecausal_cli.simulator.old_pickle import old_pickle
from finecausal_cli.simulator.sub_actions import SUB_ACTIONS, divide_into_steps, flight_labels
from finecausal_cli.whole_file import whole_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from finecausal_cli.simulator.dataset_plan import DatasetPlan
    from finecausal_cli.simulator.dive import SimulatedDive
    from finecausal_cli.simulator.layout import Take

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

    def write_pictures(self, root: Path, take: Take) -> dict[str, Any]:
        """Write the dive's frames and masks; return its key, its place in the recording and its steps."""
        simulated = take.simulated
        competition, number = key_of(take.index, simulated)
        first = first_frame(take.seed, take.index, simulated.frames)
        frames, masks = (f"{name}/{competition}/{number}" for name in (FRAMES, MASKS))
        write_frames(root / frames, root / masks, first, take.pictures())
        steps = divide_into_steps(simulated, marks_entry=not lacks_entry(take.seed, take.index))
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
            with whole_file(root / ANNOTATIONS / f"{name}.pkl", "the annotations") as part:
                part.write_bytes(old_pickle(content))
        return root


def key_of(index: int, simulated: SimulatedDive) -> Key:
    """Return competition and number of the dive at a place in the plan.

    A quarter of the dives are from competitions called '01', '02', ...; the others from ones called by the event, such
    as 'SimulatedDivingCup2026_Women10m_final_r1'. An event's numbers have gaps where other events dived.
    """
    round_, place = divmod(index, _ROUND_DIVES)
    if place % _NUMBERED_EVERY == 0:
        return f"{round_ + 1:02d}", place // _NUMBERED_EVERY + 1
    who = "Women" if simulated.motion.athlete.sex == "female" else "Men"
    return f"SimulatedDivingCup2026_{who}{simulated.height_m:g}m_final_r{round_ + 1}", place


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
    for place in rng.permutation(len(by_number)):
        keys = by_number[sorted(by_number)[place]]
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
