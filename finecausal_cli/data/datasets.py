"""Open a dataset, whatever its layout; split, summarise and check it."""

from __future__ import annotations

import hashlib
import re
from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from finecausal_cli.data import Problem, frame_names, refuse
from finecausal_cli.data.cache import read_dive
from finecausal_cli.data.manifest import MANIFEST_NAMES, find_manifest, read_manifest
from finecausal_cli.data.published import (
    FRAMES_PATTERN,
    LABELS_NAME,
    MTL_AQA_LABELS_NAME,
    read_finediving,
    read_mtl_aqa,
)
from finecausal_cli.diving import heights_for, parse_dive_number
from finecausal_cli.errors import DatasetError, VideoError
from finecausal_cli.video import check_enough, sample_indices
from finecausal_cli.video.reader import probe

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from finecausal_cli.data import Dive, FrameRange, Kind, Report, Split


# Splits: training, validation and test sets.

_LEAST_VALIDATION = 2
"""Least number of validation dives: a rank correlation needs two."""


_ROUNDING = 1e-9
"""Shares such as 1/3 of 4 and 1/3 of 2 add up to a little less than 2."""


def assign_splits(dives: Sequence[Dive], *, seed: int = 0, val_share: float = 0.1) -> list[Dive]:
    """Give every dive a split.

    A split named by the dataset is kept. If no dive has one, a quarter of each dive number goes to the test set.
    If none is ``val``, ``val_share`` of each dive number's training dives becomes the validation set, so that
    a choice of checkpoint never looks at the test set.

    Args:
        dives: The dataset.
        seed: Same seed, same split, whatever the order of the rows. Training and evaluation must agree on it, or dives
            trained on are tested on: it is not the seed of a run.
        val_share: Share of the training dives to validate on, 0..1; but two dives at least unless it is 0.

    Returns:
        The dives in their order, with ``split`` set.
    """
    splits: dict[str, Split] = {dive.key: dive.split or "train" for dive in dives}
    if all(dive.split is None for dive in dives):
        _move(dives, splits, "test", 0.25, seed)
    if "val" not in splits.values() and val_share > 0:
        training = sum(split == "train" for split in splits.values())
        _move(dives, splits, "val", max(val_share, _LEAST_VALIDATION / max(training, 1)), seed + 1)
    return [replace(dive, split=splits[dive.key]) for dive in dives]


def _move(dives: Sequence[Dive], splits: dict[str, Split], target: Split, share: float, seed: int) -> None:
    """Move a share of the training dives of each number to another split, and leave one at least.

    The remainder of rounding is carried over to the next number, one dive at most: many numbers of a single dive must
    not empty the first number that has more.
    """
    by_number: dict[str, list[str]] = defaultdict(list)
    for dive in dives:
        if splits[dive.key] == "train":
            by_number[dive.number or ""].append(dive.key)
    rng = np.random.default_rng(seed)
    remainder = 0.0
    for _, keys in sorted(by_number.items()):
        shuffled = [sorted(keys)[index] for index in rng.permutation(len(keys))]
        remainder += share * len(keys)
        take = min(int(remainder + _ROUNDING), len(keys) - 1)
        remainder = min(remainder - take, 1.0)
        for key in shuffled[:take]:
            splits[key] = target


# Opening a dataset of any known layout.

LayoutName = Literal["manifest", "FineDiving-HM", "MTL-AQA"]

_LABELS: dict[str, LayoutName] = {LABELS_NAME: "FineDiving-HM", MTL_AQA_LABELS_NAME: "MTL-AQA"}


@dataclass(frozen=True, slots=True)
class DatasetLayout:
    """Layout of a dataset, and its labels.

    Attributes:
        name: The layout.
        labels: The manifest, or the folder of the annotations.
    """

    name: LayoutName
    labels: Path


def read_dataset(
    path: Path,
    *,
    annotations: Path | None = None,
    frames: str = FRAMES_PATTERN,
    allow_outside: bool = False,
    report: Report = refuse,
) -> list[Dive]:
    """Read the dives of a dataset.

    Args:
        path: A manifest, the folder of one, or the folder of FineDiving-HM or MTL-AQA.
        annotations: Folder of the pickled annotations, if it is elsewhere.
        frames: Where MTL-AQA's frames lie below ``path``, with ``{video}`` and ``{frame}``.
        allow_outside: Accept paths in a manifest that lead out of its folder.
        report: Called with every problem. By default the first one that stops a run is raised; otherwise the dive is
            left out, or read without what is wrong.

    Raises:
        DatasetError: The dataset is missing or wrong; names the file and the position in it.
        UsageError: The pattern of the frames is none.
    """
    layout = find_layout(path, annotations)
    if layout.name == "manifest":
        return read_manifest(layout.labels, allow_outside=allow_outside, report=report)
    if layout.name == "MTL-AQA":
        return read_mtl_aqa(path, layout.labels, frames=frames, report=report)
    return read_finediving(path, layout.labels, report=report)


def find_layout(path: Path, annotations: Path | None = None) -> DatasetLayout:
    """Recognise the layout of a dataset by its files; a manifest takes precedence.

    Args:
        path: A manifest or the dataset's folder.
        annotations: Folder of the pickled annotations, if it is not ``path`` or one level below.

    Raises:
        DatasetError: No layout fits, or several do.
    """
    if not _exists(path):
        hint = f"name a dataset's folder, or one of {', '.join(MANIFEST_NAMES)}"
        raise DatasetError("no such file or folder", where=path, hint=hint)
    if annotations is None and not path.is_dir():
        return DatasetLayout("manifest", path)
    folders = [annotations] if annotations is not None else _here_and_below(path)
    manifest = find_manifest(path) if annotations is None else None
    if manifest is not None:
        return DatasetLayout("manifest", manifest)
    layouts = [
        DatasetLayout(name, folder) for folder in folders for file, name in _LABELS.items() if (folder / file).is_file()
    ]
    if len(layouts) > 1:
        both = " and ".join(f"{layout.name} in {layout.labels.name}" for layout in layouts[:2])
        raise DatasetError(f"annotations of {both}", where=path, hint="name one folder of annotations")
    if not layouts:
        looked = f"looked for {', '.join(MANIFEST_NAMES)}; here and one folder below for {' and '.join(_LABELS)}"
        raise DatasetError("no dataset of a known layout", where=annotations or path, hint=looked)
    return layouts[0]


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError as error:
        raise DatasetError(f"cannot be looked at: {error.strerror}", where=path) from None


def _here_and_below(path: Path) -> list[Path]:
    try:
        return [path, *sorted(entry for entry in path.iterdir() if entry.is_dir())]
    except OSError as error:
        raise DatasetError(f"cannot be listed: {error.strerror}", where=path) from None


# Split by events: test on competitions without a training dive.
#
# A random split puts dives of one final, with its pool, cameras and judges, on both sides. A network that has learned
# the venue rather than the dive does well there, and badly at a new competition.

TEST_SHARE = 0.25
"""Target share of dives in held-out events: FineDiving's own split has 749 of 3000."""

_ROUND = re.compile(r"_r\d+$")


def event_of(key: str) -> str:
    """Return the event of a dive: its key without the last part and without the round.

    In FineDiving a key is ``<competition>/<index>`` and the rounds of one final are competitions of their own
    (``FINADivingWorldCup2021_Men3m_final_r1``): they share pool, cameras and divers, so they stay together.
    In a manifest the event is the folder of the video. A key without a folder has the empty event.
    """
    return _ROUND.sub("", key.rpartition("/")[0])


def split_by_event(dives: Sequence[Dive], *, seed: int = 0, test_share: float = TEST_SHARE) -> list[Dive]:
    """Give every dive a split such that no event is on both sides.

    Events are held out in random order, each if it brings the test set closer to its share. The rest is divided into
    training and validation by `assign_splits`. Splits named by the dataset are ignored.

    Args:
        dives: The dataset.
        seed: Same seed, same split, whatever the order of the rows; not the seed of a run.
        test_share: Target share of test dives, 0..1.

    Returns:
        The dives in their order, with ``split`` set.

    Raises:
        DatasetError: All dives are of one event.
    """
    sizes: dict[str, int] = defaultdict(int)
    for dive in dives:
        sizes[event_of(dive.key)] += 1
    if len(sizes) < 2:
        raise DatasetError(
            f"all {len(dives)} dives are of one event",
            hint="a split by events needs two: FineDiving's competitions, or one folder of videos for each event",
        )
    held_out = _choose(sizes, seed, test_share)
    rest = [replace(dive, split="train") for dive in dives if event_of(dive.key) not in held_out]
    splits = {dive.key: dive.split for dive in assign_splits(rest)}
    return [replace(dive, split=splits.get(dive.key, "test")) for dive in dives]


def _choose(sizes: dict[str, int], seed: int, test_share: float) -> set[str]:
    names = sorted(sizes)
    order = [names[index] for index in np.random.default_rng(seed).permutation(len(names))]
    target = test_share * sum(sizes.values())
    held_out: set[str] = set()
    count = 0
    for name in order:
        closer = abs(count + sizes[name] - target) < abs(count - target)
        if closer and len(held_out) < len(names) - 1:
            held_out.add(name)
            count += sizes[name]
    return held_out or {min(order, key=lambda name: (sizes[name], order.index(name)))}


# Summary and check of a dataset.


@dataclass(frozen=True, slots=True)
class Quantiles:
    """Minimum, quartiles and maximum of some values."""

    least: float
    lower_quartile: float
    median: float
    upper_quartile: float
    most: float


@dataclass(frozen=True, slots=True)
class DatasetSummary:
    """A dataset in figures; they count the dives that can be read.

    Attributes:
        dives: All of them.
        splits: Dives in each split, as training and evaluation divide them.
        splits_given: Whether the dataset names its splits.
        numbers: Dives of each dive number, most frequent first; ``""`` where it is unknown.
        heights_m: Dives at each height, lowest first; ``""`` where it is unknown.
        scored: Dives with a score.
        scores: Quantiles of the final scores; None without any.
        frames: Quantiles of the clips' lengths, frames; None if no clip can be read.
        judged: Dives with judges' marks.
        masked: Dives with foreground masks.
        flights: Dives whose start of the flight is known.
        entries: Dives whose start of the entry is known.
        deductions: Dives whose stages' deductions are known.
    """

    dives: int
    splits: Mapping[str, int]
    splits_given: bool
    numbers: Mapping[str, int]
    heights_m: Mapping[str, int]
    scored: int
    scores: Quantiles | None
    frames: Quantiles | None
    judged: int
    masked: int
    flights: int
    entries: int
    deductions: int


def summarise_dataset(dives: Sequence[Dive], frames: Iterable[int]) -> DatasetSummary:
    """Count.

    Args:
        dives: The dives that can be read.
        frames: Known lengths of their clips.
    """
    splits = Counter(str(dive.split) for dive in assign_splits(dives))
    numbers = Counter(dive.number or "" for dive in dives)
    heights = Counter(dive.height_m for dive in dives)
    known_heights = sorted(height for height in heights if height is not None)
    scores = [dive.score for dive in dives if dive.score is not None]
    return DatasetSummary(
        dives=len(dives),
        splits={split: splits[split] for split in ("train", "val", "test")},
        splits_given=any(dive.split is not None for dive in dives),
        numbers=dict(sorted(numbers.items(), key=lambda item: (-item[1], item[0]))),
        heights_m={f"{height:g}": heights[height] for height in known_heights}
        | ({"": heights[None]} if None in heights else {}),
        scored=len(scores),
        scores=_quantiles(scores),
        frames=_quantiles(list(frames)),
        judged=sum(bool(dive.judges) for dive in dives),
        masked=sum(dive.mask is not None for dive in dives),
        flights=sum(dive.twist_start is not None for dive in dives),
        entries=sum(dive.entry_start is not None for dive in dives),
        deductions=sum(dive.deductions is not None for dive in dives),
    )


def _quantiles(values: Sequence[float]) -> Quantiles | None:
    if not values:
        return None
    return Quantiles(*(float(value) for value in np.quantile(np.asarray(values, np.float64), (0, 0.25, 0.5, 0.75, 1))))


_DECODE_LIMIT_S = 120.0
"""Time limit of decoding one clip."""

_PROBE_SIZE = 32
"""Side of decoded pictures, pixels: scaling to a small size is cheap."""


@dataclass(frozen=True, slots=True)
class DatasetCheck:
    """Result of a check.

    Attributes:
        path: The dataset.
        layout: Its layout.
        problems: All problems, in the order of the dives.
        summary: The dives that can be read, in figures.
    """

    path: Path
    layout: LayoutName
    problems: tuple[Problem, ...]
    summary: DatasetSummary


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
    """Check every label, every file and every clip of a dataset.

    Args:
        path: As for ``read_dataset``, like the three options that follow.
        annotations: Folder of the pickled annotations, if it is elsewhere.
        frames: Where MTL-AQA's frames lie.
        allow_outside: Accept paths in a manifest that lead out of its folder.
        decode: Decode every clip and its masks, as training would; otherwise they are only probed.
        start: Called once with the number of dives.
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
        lengths.append(_FileCheck(dive, problems.append).run(decode=decode))
        advance()
    _find_duplicates(dives, problems.append)
    _find_unlisted(dives, layout.labels, problems.append)
    _find_without_exemplars(dives, layout.labels, problems.append)
    frames_known = [length for length in lengths if length is not None]
    return DatasetCheck(path, layout.name, tuple(problems), summarise_dataset(dives, frames_known))


@dataclass(frozen=True, slots=True)
class _FileCheck:
    """Checks the files of one dive."""

    dive: Dive
    report: Report

    def run(self, *, decode: bool) -> int | None:
        """Return the length of the clip in frames, or None if it is unknown."""
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
                self._report("masks", self.dive.mask, f"{masks} masks for {frames} frames", "one a frame is meant")
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
            self._report("masks" if kind == "masks" else "frames", path, f"{len(lost)} of {total} {called} are missing")
        return total

    def _boundaries(self, frames: int) -> None:
        for name in ("twist_start", "entry_start"):
            begin: int | None = getattr(self.dive, name)
            if begin is not None and begin >= frames:
                self._report("boundaries", self.dive.video, f"{name} is {begin} in a clip of {frames} frames")

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
                self._report("video", self.dive.video, note)

    def _problem(self, kind: Kind, error: VideoError) -> None:
        self._report(kind, error.where or self.dive.video, error.what, error.hint)

    def _report(self, kind: Kind, where: str | Path, what: str, hint: str | None = None) -> None:
        self.report(Problem(kind, str(where), what, hint, dive=self.dive.key))


def _find_duplicates(dives: Sequence[Dive], report: Report) -> None:
    """Report clips of the same content; only files of the same size are compared."""
    alike: dict[object, list[Dive]] = defaultdict(list)
    for dive in dives:
        sizes = _sizes(dive)
        if sizes:
            alike[sizes, dive.start_s, dive.end_s].append(dive)
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
    """Return the sizes of a dive's files; empty if they cannot be read, which is reported elsewhere."""
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
        return dive.key  # unique
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
