"""Read MTL-AQA: annotations pickled by (video, index), and the frames of whole competitions, one picture a frame.

Layout and entries follow the MTL-AQA release (Parmar and Morris, CVPR 2019). Where the frames lie is up to whoever
extracted them, so their path is a pattern. Boundaries between stages and masks are not annotated.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from finecausal_cli.data.annotation import (
    WrongEntryError,
    difficulty_of,
    frame_of,
    marks_of,
    number_of,
    read_annotation,
    read_entries,
    read_splits,
    score_of,
)
from finecausal_cli.data.dive import Dive, FrameRange, Split
from finecausal_cli.data.problem import refuse
from finecausal_cli.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from finecausal_cli.data.problem import Report

LABELS_NAME = "final_annotations_dict_with_dive_number.pkl"
_SPLIT_NAMES: dict[Split, str] = {"train": "train_split_0.pkl", "test": "test_split_0.pkl"}

FRAMES_PATTERN = "{video:02d}/{frame:06d}.jpg"
"""Where a frame lies below the dataset's folder, unless another pattern is given."""


def read_mtl_aqa(path: Path, annotations: Path, *, frames: str = FRAMES_PATTERN, report: Report = refuse) -> list[Dive]:
    """Read the dives of MTL-AQA.

    A clip goes from its start frame to its end frame, both inclusive.

    Args:
        path: Folder that the pattern starts from.
        annotations: Folder of the pickles.
        frames: Path of a frame, with ``{video}`` and ``{frame}`` for their numbers.
        report: Told of every problem; by default the first one that stops a run is raised.

    Returns:
        The dives that are in a split, in the order of the annotations; keys are ``<video>/<index>``.

    Raises:
        DatasetError: A file is missing, refused or wrong.
        UsageError: The pattern is none.
    """
    pattern = _FramesPattern.read(frames)
    labels = annotations / LABELS_NAME
    entries = read_annotation(labels)
    splits = read_splits({split: annotations / name for split, name in _SPLIT_NAMES.items()}, entries, report)

    def dive(key: Any, entry: Any) -> Dive:
        if type(key) is not tuple or len(key) != 2:
            raise WrongEntryError("annotation", "the key is not a video and an index")
        if not isinstance(entry, dict):
            raise WrongEntryError("annotation", f"a {type(entry).__name__}, and a dictionary is meant")
        video, index = frame_of(key[0], "the video"), frame_of(key[1], "the index")
        difficulty = difficulty_of(_part(entry, "difficulty"))
        return Dive(
            key=f"{video:02d}/{index:02d}",
            video=path / pattern.folder.format(video=video),
            score=score_of(_part(entry, "final_score"), difficulty),
            difficulty=difficulty,
            number=number_of(_part(entry, "dive_number")),
            judges=marks_of(entry.get("judge_scores", ())),
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
    first = frame_of(_part(entry, "start_frame"), "start_frame")
    last = frame_of(_part(entry, "end_frame"), "end_frame")
    if last <= first:
        raise WrongEntryError("boundaries", f"the clip goes from frame {first} to {last}")
    found = FrameRange(pattern.name, first, last)
    for index in (0, len(found) - 1):
        picture = found.picture(folder, index)
        if not picture.is_file():
            raise WrongEntryError("frames", f"no picture {picture}", "check the pattern of the frames")
    return found


def _part(entry: Mapping[Any, Any], name: str) -> object:
    if name not in entry:
        raise WrongEntryError("annotation", f"no {name}")
    return entry[name]
