"""FineDiving and MTL-AQA as they are published."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from finecausal_cli.data import Dive, FrameRange, Problem, Split, frame_names, refuse
from finecausal_cli.data.annotation import (
    WrongEntryError,
    parse_decimal,
    parse_difficulty,
    parse_folder_name,
    parse_frame,
    parse_frames,
    parse_marks,
    parse_number,
    parse_score,
    read_annotation,
    read_entries,
    read_splits,
    show,
)
from finecausal_cli.errors import DatasetError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from finecausal_cli.data import Report


# Read FineDiving-HM as its authors deliver it: folders of frames and masks, and pickled annotations.
#
# Layout and entries follow the FineDiving release (Xu et al., CVPR 2022) and its human masks (FineDiving-HM, Xu et
# al., CVPR 2024):
#
#     FineDiving/<competition>/<index>/<frame>.jpg        frames, numbered as in the untrimmed video
#     FineDiving_HM/<competition>/<index>/<frame>.jpg     masks of the same names, the athlete white
#     Annotations/fine-grained_annotation_aqa.pkl         (competition, index) -> [dive number, score, difficulty,
#                                                         step transitions, label of each frame]
#     Annotations/train_split.pkl, test_split.pkl         lists of keys
#     Annotations/FineDiving_coarse_annotation.pkl        judges' marks, and where the clip was cut; may be missing

FRAMES_NAME = "FineDiving"
MASKS_NAME = "FineDiving_HM"
LABELS_NAME = "fine-grained_annotation_aqa.pkl"
COARSE_NAME = "FineDiving_coarse_annotation.pkl"
_SPLIT_NAMES: dict[Split, str] = {"train": "train_split.pkl", "test": "test_split.pkl"}

ENTRY_LABEL = 36
"""The sub-action ``Entry`` in the authors' table."""

_SAME_SCORE = 0.005
"""Scores are given to hundredths."""

_HEIGHT = re.compile(r"(?<![\d.])(10|7\.5|5|3|1)m(?![a-z])")
"""A height in the name of a competition, such as ``..._Men3m_final_r1``; ``10min`` is none."""


def read_finediving(path: Path, annotations: Path, *, report: Report = refuse) -> list[Dive]:
    """Read the dives of FineDiving-HM.

    Flight begins at the first transition and entry at the last, whatever lies between. A dive none of whose frames is
    labelled ``Entry`` ends before the water: its last transition is a step of the flight, so its entry is unknown.
    The height is known where the competition's name says it. A dive without a mask for each of its frames has
    none, since masks are read by index.

    Args:
        path: Folder of ``FineDiving`` and, if there are masks, ``FineDiving_HM``.
        annotations: Folder of the pickles.
        report: Called with every problem; by default the first one that stops a run is raised.

    Returns:
        The dives that are in a split, in the order of the annotations; keys are ``<competition>/<index>``.

    Raises:
        DatasetError: A file is missing, refused or wrong.
    """
    labels = annotations / LABELS_NAME
    entries = read_annotation(labels)
    splits = read_splits({split: annotations / name for split, name in _SPLIT_NAMES.items()}, entries, report)
    names = [f"{key[0]}/{key[1]}" for key in splits if type(key) is tuple and len(key) == 2]
    frames = _folder_of_clips(path, FRAMES_NAME, names)
    if frames is None:
        where = f"{FRAMES_NAME}/{names[0] if names else '<competition>/<index>'}"
        there = ", ".join(sorted(entry.name for entry in path.iterdir())[:8]) or "nothing"
        what = f"no folder {FRAMES_NAME} with the frames of the dives, such as {where}"
        raise DatasetError(what, where=path, hint=f"name the folder that holds it and {MASKS_NAME}; there is: {there}")
    masks = _folder_of_clips(path, MASKS_NAME, names)
    if masks is None:
        what = f"no folder {MASKS_NAME}: no dive has masks"
        report(Problem("masks", str(path), what, "training goes on without them", stops=False))
    for name, folder in ((FRAMES_NAME, frames), (MASKS_NAME, masks)):
        if folder not in (None, path / name):
            report(Problem("frames", str(path), f"{name} is read from {folder.relative_to(path)}", stops=False))
    coarse = annotations / COARSE_NAME
    marks = read_annotation(coarse) if coarse.exists() else {}
    reader = _Reader(frames, masks, splits, _Coarse(coarse, marks, report), report)
    return read_entries(labels, entries, splits, reader.dive, report)


@dataclass(frozen=True, slots=True)
class _Coarse:
    """The second annotation file, of which only the marks are used."""

    path: Path
    entries: Mapping[Any, Any]
    report: Report

    def judges(self, key: Any, score: float) -> tuple[float, ...]:
        if not self.entries:
            return ()
        entry = self.entries.get(key)
        try:
            if not isinstance(entry, dict):
                raise WrongEntryError("annotation", f"{show(entry)}, and a dictionary is meant")
            self._compare(entry, score)
            return parse_marks(entry["judge_scores"]) if "judge_scores" in entry else ()
        except WrongEntryError as wrong:
            what = f"entry {show(key)}: {wrong.what}"
            self.report(Problem(wrong.kind, str(self.path), what, wrong.hint, dive=show(key), stops=False))
            return ()

    def _compare(self, entry: dict[Any, Any], score: float) -> None:
        other = entry.get("dive_score", score)
        number = parse_decimal(other)
        if number is None or abs(number - score) > _SAME_SCORE:
            raise WrongEntryError("score", f"the score is {show(other)}, and {score:g} in {LABELS_NAME}")


def _folder_of_clips(path: Path, name: str, clips: Sequence[str]) -> Path | None:
    """Find the folder that holds the clips: as published, or one level off, as archives unpack.

    Args:
        path: The dataset.
        name: What the folder is called.
        clips: ``<competition>/<index>`` of each dive.

    Returns:
        The first folder that holds one of the clips; else the one of that name, where there is none of the clips.
    """
    published = path / name
    places = [published, published / name, *sorted(path.glob(f"*/{name}")), *sorted(published.glob("*"))]
    if name == FRAMES_NAME:
        places.append(path)
    sample = clips[:: max(1, len(clips) // 20)]
    found = (place for place in places if any(os.path.isdir(place / clip) for clip in sample))  # noqa: PTH112
    return next(found, published if published.is_dir() and not any(published.iterdir()) else None)


@dataclass(frozen=True, slots=True)
class _Reader:
    frames: Path
    masks: Path | None
    splits: Mapping[Any, Split]
    coarse: _Coarse
    report: Report

    def dive(self, key: Any, entry: Any) -> Dive:
        if type(key) is not tuple or len(key) != 2:
            raise WrongEntryError("annotation", "the key is not a competition and an index")
        competition, index = parse_folder_name(key[0]), parse_frame(key[1], "the index")
        if not isinstance(entry, (list, tuple)) or len(entry) != 5:
            count = f" of {len(entry)}" if isinstance(entry, (list, tuple)) else ""
            raise WrongEntryError("annotation", f"a {type(entry).__name__}{count}, and five values are meant")
        name = f"{competition}/{index}"
        difficulty = parse_difficulty(entry[2])
        score = parse_score(entry[1], difficulty)
        steps = parse_frames(entry[3], "the transitions")
        labels = parse_frames(entry[4], "the frames' labels")
        twist_start, entry_start = _boundaries(steps, labels)
        return Dive(
            key=name,
            video=self._frames(name, len(labels)),
            score=score,
            difficulty=difficulty,
            number=parse_number(entry[0]),
            height_m=height_in(competition),
            twist_start=twist_start,
            entry_start=entry_start,
            mask=self._masks(name),
            judges=self.coarse.judges(key, score),
            split=self.splits[key],
        )

    def _frames(self, name: str, labelled: int) -> Path:
        folder = self.frames / name
        if not folder.is_dir():
            raise WrongEntryError("frames", f"no folder of frames {folder}")
        frames = len(frame_names(folder))
        if frames != labelled:
            what = f"{frames} frames, and {labelled} are labelled"
            self.report(Problem("frames", str(folder), what, dive=name, stops=False))
        return folder

    def _masks(self, name: str) -> Path | None:
        if self.masks is None:
            return None
        folder = self.masks / name
        frames = frame_names(self.frames / name)
        masks = frame_names(folder) if folder.is_dir() else set()
        if frames == masks:
            return folder
        lacking, surplus = sorted(frames - masks), sorted(masks - frames)
        what = "no folder of masks" if not folder.is_dir() else _difference(lacking, surplus, len(frames))
        self.report(Problem("masks", str(folder), what, "the dive is read without masks", dive=name, stops=False))
        return None


def _difference(lacking: list[str], surplus: list[str], frames: int) -> str:
    if lacking:
        return f"{len(lacking)} of {frames} frames have no mask, the first {lacking[0]}"
    return f"{len(surplus)} masks have no frame, the first {surplus[0]}"


def _boundaries(steps: list[int], labels: list[int]) -> tuple[int, int | None]:
    if len(steps) < 2:
        raise WrongEntryError("boundaries", f"{len(steps)} transitions", "two or more are meant")
    rising = all(before < after for before, after in pairwise(steps))
    if not rising or steps[0] < 0 or steps[-1] >= len(labels):
        listed = ", ".join(map(str, steps[:6]))
        raise WrongEntryError("boundaries", f"transitions {listed} in a clip of {len(labels)} frames")
    return steps[0], steps[-1] if ENTRY_LABEL in labels else None


def height_in(competition: str) -> float | None:
    """Return the height in metres that the name of a competition says, or None."""
    match = _HEIGHT.search(competition)
    return float(match[1]) if match else None


# Read MTL-AQA: annotations pickled by (video, index), and the frames of whole competitions, one picture a frame.
#
# Layout and entries follow the MTL-AQA release (Parmar and Morris, CVPR 2019). Where the frames lie is up to whoever
# extracted them, so their path is a pattern. Boundaries between stages and masks are not annotated.

MTL_AQA_LABELS_NAME = "final_annotations_dict_with_dive_number.pkl"
_MTL_AQA_SPLIT_NAMES: dict[Split, str] = {"train": "train_split_0.pkl", "test": "test_split_0.pkl"}

FRAMES_PATTERN = "{video:02d}/{frame:06d}.jpg"
"""Where a frame lies below the dataset's folder, unless another pattern is given."""


def read_mtl_aqa(path: Path, annotations: Path, *, frames: str = FRAMES_PATTERN, report: Report = refuse) -> list[Dive]:
    """Read the dives of MTL-AQA.

    A clip goes from its start frame to its end frame, both inclusive.

    Args:
        path: Folder that the pattern starts from.
        annotations: Folder of the pickles.
        frames: Path of a frame, with ``{video}`` and ``{frame}`` for their numbers.
        report: Called with every problem; by default the first one that stops a run is raised.

    Returns:
        The dives that are in a split, in the order of the annotations; keys are ``<video>/<index>``.

    Raises:
        DatasetError: A file is missing, refused or wrong.
        UsageError: The pattern is none.
    """
    pattern = _FramesPattern.read(frames)
    labels = annotations / MTL_AQA_LABELS_NAME
    entries = read_annotation(labels)
    splits = read_splits({split: annotations / name for split, name in _MTL_AQA_SPLIT_NAMES.items()}, entries, report)

    def dive(key: Any, entry: Any) -> Dive:
        if type(key) is not tuple or len(key) != 2:
            raise WrongEntryError("annotation", "the key is not a video and an index")
        if not isinstance(entry, dict):
            raise WrongEntryError("annotation", f"a {type(entry).__name__}, and a dictionary is meant")
        video, index = parse_frame(key[0], "the video"), parse_frame(key[1], "the index")
        difficulty = parse_difficulty(_part(entry, "difficulty"))
        return Dive(
            key=f"{video:02d}/{index:02d}",
            video=path / pattern.folder.format(video=video),
            score=parse_score(_part(entry, "final_score"), difficulty),
            difficulty=difficulty,
            number=parse_number(_part(entry, "dive_number")),
            judges=parse_marks(entry.get("judge_scores", ())),
            split=splits[key],
            frames=_range(entry, pattern, path / pattern.folder.format(video=video)),
        )

    return read_entries(labels, entries, splits, dive, report)


@dataclass(frozen=True, slots=True)
class _FramesPattern:
    folder: str
    name: str

    @classmethod
    def read(cls, text: str) -> _FramesPattern:
        """Divide a pattern into a folder that the video's number names and a picture that the frame's number names."""
        folder, _, name = text.rpartition("/")
        try:
            fits = folder.format(video=1) != folder.format(video=2) and name.format(frame=1) != name.format(frame=2)
        except (LookupError, ValueError, AttributeError, TypeError) as error:
            fits, why = False, f": {error}"
        else:
            why = ""
        if not fits:
            hint = f"write it like {FRAMES_PATTERN}, the folder by video and the picture by frame"
            raise UsageError(f"no pattern of frames{why}", where=text, hint=hint)
        return cls(folder, name)


def _range(entry: Mapping[Any, Any], pattern: _FramesPattern, folder: Path) -> FrameRange:
    first = parse_frame(_part(entry, "start_frame"), "start_frame")
    last = parse_frame(_part(entry, "end_frame"), "end_frame")
    if last <= first:
        raise WrongEntryError("boundaries", f"the clip goes from frame {first} to {last}")
    frames = FrameRange(pattern.name, first, last)
    for index in (0, len(frames) - 1):
        picture = frames.picture(folder, index)
        if not picture.is_file():
            raise WrongEntryError("frames", f"no picture {picture}", "check the pattern of the frames")
    return frames


def _part(entry: Mapping[Any, Any], name: str) -> object:
    if name not in entry:
        raise WrongEntryError("annotation", f"no {name}")
    return entry[name]
