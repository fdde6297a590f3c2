"""Find everything that is wrong with a dataset, dive by dive, without stopping at the first problem."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from finecausal_cli.data.clip_reader import read_dive
from finecausal_cli.data.mtl_aqa import FRAMES_PATTERN
from finecausal_cli.data.open import LayoutName, find_layout, read_dataset
from finecausal_cli.data.pictures import frame_names
from finecausal_cli.data.problem import Problem
from finecausal_cli.data.splits import assign_splits
from finecausal_cli.data.summary import Summary, summarise
from finecausal_cli.diving.difficulty import heights_for
from finecausal_cli.diving.number import parse_dive_number
from finecausal_cli.errors import VideoError
from finecausal_cli.video.reader import probe
from finecausal_cli.video.sampling import check_enough, sample_indices

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from finecausal_cli.data.dive import Dive, FrameRange
    from finecausal_cli.data.problem import Kind, Report

_DECODE_LIMIT_S = 120.0
"""A clip that takes longer to decode hangs its decoder."""

_PROBE_SIZE = 32
"""Side of the picture that decoding makes, pixels: what is read is the same, and scaling costs less."""


@dataclass(frozen=True, slots=True)
class DatasetCheck:
    """The outcome of a check.

    Attributes:
        path: The dataset.
        layout: Which layout it has.
        problems: Everything that is wrong, in the order of the dives.
        summary: The dives that can be read, in figures.
    """

    path: Path
    layout: LayoutName
    problems: tuple[Problem, ...]
    summary: Summary


def check_dataset(
    path: Path,
    *,
    annotations: Path | None = None,
    frames: str = FRAMES_PATTERN,
    allow_outside: bool = False,
    decode: bool = False,
    start: Callable[[int], object] = lambda dives: None,  # noqa: ARG005
    advance: Callable[[], object] = lambda: None,
) -> DatasetCheck:
    """Look at every label, every file and every clip of a dataset.

    Args:
        path: As for ``read_dataset``, like the three options that follow.
        annotations: Folder of the pickled annotations, if it is elsewhere.
        frames: Where MTL-AQA's frames lie.
        allow_outside: Accept paths in a manifest that lead out of its folder.
        decode: Decode every clip and its masks, as training would; otherwise they are only looked into.
        start: Called once with the number of dives whose files are looked at.
        advance: Called after each of them.

    Raises:
        DatasetError: There is no dataset, or its labels cannot be read at all.
    """
    problems: list[Problem] = []
    layout = find_layout(path, annotations)
    dives = read_dataset(
        path, annotations=annotations, frames=frames, allow_outside=allow_outside, report=problems.append
    )
    start(len(dives))
    lengths = []
    for dive in dives:
        lengths.append(_Examination(dive, problems.append).run(decode=decode))
        advance()
    _find_duplicates(dives, problems.append)
    _find_unlisted(dives, layout.labels, problems.append)
    _find_without_exemplars(dives, layout.labels, problems.append)
    known = [length for length in lengths if length is not None]
    return DatasetCheck(path, layout.name, tuple(problems), summarise(dives, known))


@dataclass(frozen=True, slots=True)
class _Examination:
    """The look at the files of one dive."""

    dive: Dive
    report: Report

    def run(self, *, decode: bool) -> int | None:
        """Return the length of the clip in frames, or None where that cannot be told."""
        frames = self._pictures(self.dive.video, "frames" if self.dive.video.is_dir() else "video", self.dive.frames)
        if frames is None:
            return None
        try:
            check_enough(sample_indices(0, frames - 1), str(self.dive.video))
        except VideoError as error:
            self._problem("frames", error)
            return frames
        self._boundaries(frames)
        if self.dive.mask is not None:
            masks = self._pictures(self.dive.mask, "masks")
            if masks is not None and masks != frames:
                self._say("masks", self.dive.mask, f"{masks} masks for {frames} frames", "one a frame is meant")
        if decode:
            self._decode()
        return frames

    def _pictures(self, path: Path, kind: Kind, part: FrameRange | None = None) -> int | None:
        """Count frames or masks, and report gaps."""
        try:
            if part is not None:
                lost = [index for index in range(len(part)) if not part.picture(path, index).is_file()]
                total = len(part)
            else:
                total = probe(path).frames
                lost = list(range(total - len(frame_names(path)))) if path.is_dir() else []
        except VideoError as error:
            self._problem(kind, error)
            return None
        if lost:
            called = "masks" if kind == "masks" else "frames"
            self._say("masks" if kind == "masks" else "frames", path, f"{len(lost)} of {total} {called} are missing")
        return total

    def _boundaries(self, frames: int) -> None:
        for name in ("twist_start", "entry_start"):
            begin: int | None = getattr(self.dive, name)
            if begin is not None and begin >= frames:
                self._say("boundaries", self.dive.video, f"{name} is {begin} in a clip of {frames} frames")

    def _decode(self) -> None:
        limit = None if self.dive.video.is_dir() else _DECODE_LIMIT_S  # pictures hang nobody
        try:
            clip, _ = read_dive(self.dive, geometry="fit", frame_size=_PROBE_SIZE, timeout_s=limit)
        except VideoError as error:
            of_mask = self.dive.mask is not None and str(error.where).startswith(str(self.dive.mask))
            self._problem("masks" if of_mask else "video", error)
            return
        expected = {check_enough(clip.source_frames, clip.source)}
        if self.dive.frames is None:
            expected |= set(probe(self.dive.video).notes)
        for note in clip.notes:
            if note not in expected:
                self._say("video", self.dive.video, note)

    def _problem(self, kind: Kind, error: VideoError) -> None:
        self._say(kind, error.where or self.dive.video, error.what, error.hint)

    def _say(self, kind: Kind, where: str | Path, what: str, hint: str | None = None) -> None:
        self.report(Problem(kind, str(where), what, hint, dive=self.dive.key))


def _find_duplicates(dives: Sequence[Dive], report: Report) -> None:
    """Report clips of the same content; only those of the same size are read to tell."""
    alike: dict[object, list[Dive]] = defaultdict(list)
    for dive in dives:
        sizes = _sizes(dive)
        if sizes:
            alike[sizes].append(dive)
    for group in alike.values():
        first_of: dict[str, Dive] = {}
        for dive in group if len(group) > 1 else ():
            first = first_of.setdefault(_content(dive), dive)
            if first is not dive:
                what = f"the same pictures as {first.key}"
                report(Problem("duplicate", str(dive.video), what, "keep one of them", dive=dive.key, stops=False))


def _files(dive: Dive) -> list[Path]:
    if dive.frames is not None:
        return [dive.frames.picture(dive.video, index) for index in range(len(dive.frames))]
    return sorted(dive.video.iterdir()) if dive.video.is_dir() else [dive.video]


def _sizes(dive: Dive) -> tuple[int, ...]:
    """Return the sizes of a dive's files; nothing where they cannot be looked at, which is reported elsewhere."""
    try:
        return tuple(file.stat().st_size for file in _files(dive))
    except OSError:
        return ()


def _content(dive: Dive) -> str:
    digest = hashlib.blake2b(digest_size=16)
    try:
        for file in _files(dive):
            with file.open("rb") as stream:
                for block in iter(lambda: stream.read(1 << 20), b""):
                    digest.update(block)
    except OSError:
        return dive.key  # like no other
    return digest.hexdigest()


def _find_unlisted(dives: Iterable[Dive], labels: Path, report: Report) -> None:
    for dive in dives:
        if dive.number is not None and not heights_for(parse_dive_number(dive.number)):
            what = f"{dive.key}: {dive.number} is in no list of difficulties"
            report(Problem("dive number", str(labels), what, "a slip of the pen?", dive=dive.key, stops=False))


def _find_without_exemplars(dives: Sequence[Dive], labels: Path, report: Report) -> None:
    divided = assign_splits([dive for dive in dives if dive.score is not None])
    trained = {dive.number for dive in divided if dive.split == "train"}
    for dive in divided:
        if dive.split != "train" and dive.number is not None and dive.number not in trained:
            what = f"{dive.key}: no training dive of {dive.number} to compare this {dive.split} dive with"
            hint = "its exemplars are chosen by likeness"
            report(Problem("exemplars", str(labels), what, hint, dive=dive.key, stops=False))
