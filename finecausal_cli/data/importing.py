"""Import published datasets, in whatever layout they are delivered, into one manifest that every command reads.

FineDiving-HM and MTL-AQA are read by ``published``. The layout of FineDiving on the Hugging Face Hub (tables of labels,
one or one for each split; clips as videos, often FFV1, or as pictures in ``frames.zip``) is not specified anywhere, so
it is recognised by what is there: columns by the names that such tables use, clips by the parts of their paths. What is
not recognised is named.
"""

from __future__ import annotations

import csv
import io
import json
import os
import re
import zipfile
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Final

from finecausal_cli.atomic import atomic_write
from finecausal_cli.data import Problem, frame_names
from finecausal_cli.data.datasets import find_layout, read_dataset
from finecausal_cli.data.manifest import MANIFEST_NAMES, read_rows
from finecausal_cli.data.published import LABELS_NAME, MTL_AQA_LABELS_NAME, height_in
from finecausal_cli.diving import heights_for, parse_dive_number
from finecausal_cli.errors import DatasetError, FinecausalError, UsageError
from finecausal_cli.video.source import ASSUMED_FPS, PICTURE_SUFFIXES, VIDEO_SUFFIXES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from finecausal_cli.data import Dive, Report

COLUMNS: Final = (
    "video", "score", "difficulty", "dive", "height_m", "twist_start", "entry_start", "mask", "judges", "split",
    "start_s", "end_s",
)  # fmt: skip
"""Columns of the manifest that is written."""

_NAMES: Final = {
    "clip": "video video_path video_file file_name filename file path clip clip_path frames frames_path frame_dir",
    "key": "key id clip_id instance_id sample_id uid name video_id",
    "event": "competition event match video_name folder",
    "index": "index idx instance clip_index number_in_video action_id",
    "dive": "action_type dive_number dive dive_no action_name",
    "score": "dive_score score final_score overall_score",
    "difficulty": "difficulty dd degree_of_difficulty",
    "judges": "judge_scores judges judge_score marks",
    "steps": "steps_transit_frames step_transit_frames transitions steps boundaries",
    "split": "split subset partition",
}
"""What tables of labels call their columns."""

_KNOWN_UNUSED: Final = "sub-action_types sub_action_types frames_labels start_frame end_frame position armstand"
_SPLITS: Final = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val",
                  "dev": "val", "test": "test", "testing": "test"}  # fmt: skip
_TABLES: Final = (".csv", ".jsonl", ".json", ".parquet")
_HUB: Final = "tables and clips"
_DEPTH: Final = 4
_MOST_PICTURE_BYTES: Final = 64 * 2**20
"""Largest picture that is taken out of an archive: a bomb is larger."""


@dataclass(frozen=True, slots=True)
class Imported:
    """What was imported.

    Attributes:
        manifest: The file that was written.
        layouts: Layout of each source.
        dives: Rows written.
        splits: Rows of each split, ``""`` for those without.
        problems: What could not be read, or was not recognised.
    """

    manifest: Path
    layouts: tuple[str, ...]
    dives: int
    splits: Mapping[str, int]
    problems: tuple[Problem, ...]


def import_datasets(
    sources: Sequence[Path],
    manifest: Path,
    *,
    annotations: Path | None = None,
    frames: str | None = None,
    start: Callable[[int], object] = lambda clips: None,  # noqa: ARG005
    advance: Callable[[], object] = lambda: None,
) -> Imported:
    """Write one manifest of all dives of some datasets. Pictures in an archive are unpacked beside the manifest.

    Args:
        sources: Folders of FineDiving-HM, of MTL-AQA, or of FineDiving as on the Hugging Face Hub.
        manifest: A ``.csv`` to write.
        annotations: Folder of the pickled annotations, if it is elsewhere.
        frames: Pattern of MTL-AQA's frames.
        start: Called with the number of clips to unpack.
        advance: Called after each of them.

    Raises:
        DatasetError: A source is of no layout that is recognised; says what was looked for and what is there.
        OutputError: The manifest cannot be written.
        UsageError: The manifest is no ``.csv``.
    """
    if manifest.suffix.lower() != ".csv":
        raise UsageError("the manifest is a .csv", where=manifest, hint="-o FOLDER/dives.csv")
    problems: list[Problem] = []
    rows: list[dict[str, str]] = []
    layouts = []
    for source in sources:
        if source.is_file() and _is_manifest(source):
            raise _manifest_already(source)
        if not source.is_dir():
            raise DatasetError("no such folder", where=source, hint="name the folder of a dataset")
        labels = _published_labels(source) if annotations is None else annotations
        layouts.append(_HUB if labels is None else find_layout(source, labels).name)
        if labels is None:
            rows += _Hub(source, manifest, problems.append).rows(start, advance)
            continue
        options: dict[str, Any] = {"frames": frames} if frames else {}
        dives = read_dataset(source, annotations=labels, report=problems.append, **options)
        rows += [_row_of(dive, manifest.parent) for dive in dives]
    if not rows:
        raise DatasetError("no dive can be imported", where=sources[0], hint=problems[0].what if problems else None)
    table = io.StringIO()
    writer = csv.DictWriter(table, COLUMNS, lineterminator="\n", restval="")
    writer.writeheader()
    writer.writerows(rows)
    with atomic_write(manifest, "the manifest") as part:
        part.write_text(table.getvalue(), encoding="utf-8")
    splits = {split: sum(row.get("split", "") == split for row in rows) for split in ("train", "val", "test", "")}
    return Imported(manifest, tuple(layouts), len(rows), splits, tuple(problems))


def _is_manifest(path: Path) -> bool:
    """Tell whether a file is a manifest of this program: called as manifests are, and with the column ``video``."""
    if path.name not in MANIFEST_NAMES or not path.is_file():
        return False
    try:
        return "video" in next(iter(read_rows(path))).texts
    except (DatasetError, StopIteration):
        return False


def _manifest_already(path: Path) -> DatasetError:
    return DatasetError("this is a manifest already", where=path, hint="dataset check reads it, as every command does")


def _published_labels(source: Path) -> Path | None:
    """Return the folder of the pickled annotations, here or one folder below; a manifest here does not matter."""
    folders = [source, *sorted(entry for entry in source.iterdir() if entry.is_dir())]
    return next(
        (each for each in folders for name in (LABELS_NAME, MTL_AQA_LABELS_NAME) if (each / name).is_file()), None
    )


def _row_of(dive: Dive, folder: Path) -> dict[str, str]:
    row = {
        "video": _relative(dive.video, folder),
        "score": _number(dive.score),
        "difficulty": _number(dive.difficulty),
        "dive": dive.number or "",
        "height_m": _number(dive.height_m),
        "twist_start": _number(dive.twist_start),
        "entry_start": _number(dive.entry_start),
        "mask": "" if dive.mask is None else _relative(dive.mask, folder),
        "judges": " ".join(map(_number, dive.judges)),
        "split": dive.split or "",
        "start_s": _number(dive.start_s),
        "end_s": _number(dive.end_s),
    }
    if dive.frames is not None:  # a part of a longer folder of pictures: its times, a quarter of a frame around
        names = [int(number.group()) for name in frame_names(dive.video) if (number := re.search(r"\d+", name))]
        first = dive.frames.first - min(names)
        row["start_s"] = f"{max(0.0, (first - 0.25) / ASSUMED_FPS):.4f}"
        row["end_s"] = f"{(first + len(dive.frames) - 1 + 0.25) / ASSUMED_FPS:.4f}"
    return row


def _relative(path: Path, folder: Path) -> str:
    return Path(os.path.relpath(path.resolve(), folder.resolve())).as_posix()


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:g}"


# FineDiving as tables of labels and clips beside them.


@dataclass(slots=True)
class _Hub:
    """Reads one folder."""

    root: Path
    manifest: Path
    report: Report
    clips: dict[str, list[Path | tuple[Path, str]]] = field(default_factory=dict)

    def rows(self, start: Callable[[int], object], advance: Callable[[], object]) -> list[dict[str, str]]:
        """Return the rows of the manifest, and unpack the clips that lie in an archive."""
        mine = self.manifest.resolve()  # of an earlier import
        manifest = next((self.root / name for name in MANIFEST_NAMES if _is_manifest(self.root / name)), None)
        tables = [path for path in _walk(self.root) if path.suffix.lower() in _TABLES]
        tables = [path for path in tables if path != manifest and path.resolve() != mine]
        labelled = [(path, records) for path in tables if (records := self._labels(path))]
        if not labelled and manifest is not None:
            raise _manifest_already(manifest)
        if not labelled:
            there = ", ".join(sorted(entry.name for entry in self.root.iterdir())[:8]) or "nothing"
            hint = f"looked for a .csv, .json, .jsonl or .parquet with columns such as action_type; there is: {there}"
            raise DatasetError("no labels of a known layout", where=self.root, hint=hint)
        self._find_clips()
        found: list[tuple[dict[str, str], Path | tuple[Path, str]]] = []
        unnamed: list[str] = []
        for path, records in labelled:
            for number, record in enumerate(records, start=1):
                try:
                    row = self._row(path, record)
                    clip = self._clip(record)
                except (ValueError, FinecausalError) as error:
                    what = f"row {number}: {getattr(error, 'what', error)}"
                    self.report(Problem("annotation", str(path), what, dive=str(number)))
                    continue
                if clip is None:
                    unnamed.append(_key(record))
                else:
                    found.append((row, clip))
        for key in unnamed:
            self.report(Problem("video", str(self.root), f"{key!r}: no clip of this name is here", dive=key))
        packed = [clip for _, clip in found if isinstance(clip, tuple)]
        start(len(packed))
        unpacked = _unpack(packed, self.manifest.parent, advance)
        return [
            {**row, "video": _relative(unpacked[clip] if isinstance(clip, tuple) else clip, self.manifest.parent)}
            for row, clip in found
        ]

    def _labels(self, path: Path) -> list[dict[str, Any]]:
        """Return the rows of a table of dives; none of any other table. Names columns that are not recognised."""
        records = [record for record in _read_table(path, self.report) if isinstance(record, dict)]
        columns = dict.fromkeys(str(name) for record in records for name in record)
        if not ({"dive", "score"} & {meant for name in columns if (meant := _meaning(name))}):
            return []
        split = next((_SPLITS[part] for part in re.split(r"[^a-z]+", path.stem.lower()) if part in _SPLITS), None)
        other = [name for name in columns if _meaning(name) is None and name.lower() not in _KNOWN_UNUSED.split()]
        if other:
            what = f"columns that are not recognised: {', '.join(other[:12])}"
            self.report(Problem("manifest", str(path), what, stops=False))
        return [
            {**({"split": split} if split else {}), **{m: v for n, v in record.items() if (m := _meaning(str(n)))}}
            for record in records
        ]

    def _row(self, path: Path, record: Mapping[str, Any]) -> dict[str, str]:
        number = None if _is_empty(record.get("dive")) else parse_dive_number(str(record["dive"]))
        difficulty = _float(record, "difficulty")
        event = str(record.get("event") or record.get("key") or record.get("clip") or "")
        height_m = height_in(event)
        if height_m is None and number is not None and difficulty is not None:
            # The listed height that has this difficulty, where it is the only one.
            heights = [height for height, listed in heights_for(number).items() if abs(listed - difficulty) < 0.01]
            height_m = heights[0] if len(heights) == 1 else None
        steps = _list(record.get("steps"))
        named = str(record.get("split") or "").strip().lower()
        if named and named not in _SPLITS:
            self.report(Problem("split", str(path), f"split {named!r} is not known", "train, val or test", stops=False))
        return {
            "score": _number(_float(record, "score")),
            "difficulty": _number(difficulty),
            "dive": "" if number is None else str(number),
            "height_m": _number(height_m),
            "twist_start": _number(steps[0]) if len(steps) > 1 else "",
            "entry_start": _number(steps[-1]) if len(steps) > 1 else "",
            "judges": " ".join(map(_number, _list(record.get("judges")))),
            "split": _SPLITS.get(named, ""),
        }

    def _find_clips(self) -> None:
        """List videos, folders of pictures, and those in archives, each by every name that it may be called."""
        unpacked = set()
        for path in _walk(self.root):
            suffix = path.suffix.lower()
            if suffix in VIDEO_SUFFIXES or suffix in (".nut", ".y4m"):
                self._add(path.relative_to(self.root).with_suffix("").parts, path)
            elif suffix == ".zip":
                for folder in _picture_folders(path):
                    self._add(PurePosixPath(folder).parts, (path, folder))
                    unpacked.add(_unpacked(self.manifest.parent, path, folder))
        for folder, _, files in os.walk(self.root):
            if any(Path(name).suffix.lower() in PICTURE_SUFFIXES for name in files) and Path(folder) not in unpacked:
                self._add(Path(folder).relative_to(self.root).parts, Path(folder))

    def _add(self, parts: Sequence[str], clip: Path | tuple[Path, str]) -> None:
        for count in (1, 2, 3):
            if len(parts) >= count:
                self.clips.setdefault(_plain("/".join(parts[-count:])), []).append(clip)

    def _clip(self, record: Mapping[str, Any]) -> Path | tuple[Path, str] | None:
        """Find the clip of a row: the longest of its names that only one clip has."""
        names = [_without_suffix(str(record["clip"]))] if not _is_empty(record.get("clip")) else []
        if not _is_empty(record.get("event")) and not _is_empty(record.get("index")):
            names.append(f"{record['event']}/{record['index']}")
        key = record.get("key")
        if isinstance(key, (list, tuple)):
            names.append("/".join(map(str, key)))
        elif not _is_empty(key):
            names.append(_without_suffix(str(key)))
        for name in names:
            parts = [part for part in re.split(r"[/\\]", name) if part]
            for count in (3, 2, 1):
                if len(parts) >= count:
                    clips = self.clips.get(_plain("/".join(parts[-count:])), [])
                    if len(clips) == 1:
                        return clips[0]
        return None


def _walk(root: Path) -> Iterator[Path]:
    """Yield the files of a folder and of those below it; pictures are not listed one by one."""
    for folder, folders, files in os.walk(root):
        if len(Path(folder).relative_to(root).parts) >= _DEPTH:
            folders.clear()
        folders[:] = sorted(name for name in folders if name[0] != ".")
        for name in sorted(files):
            if name[0] != "." and Path(name).suffix.lower() not in PICTURE_SUFFIXES:
                yield Path(folder) / name


def _read_table(path: Path, report: Report) -> list[Any]:
    """Read a table as records; a report instead of those that cannot be read."""
    try:
        if path.suffix.lower() == ".parquet":
            import pyarrow.parquet as pq

            with pq.ParquetFile(path) as file:
                names = [name for name in file.schema_arrow.names if _meaning(name) or name in _KNOWN_UNUSED]
                return list(file.read(columns=names or None, use_threads=False).to_pylist())
        text = path.read_text(encoding="utf-8-sig")
        if path.suffix.lower() == ".csv":
            return list(csv.DictReader(io.StringIO(text, newline="")))
        if path.suffix.lower() == ".jsonl":
            return [json.loads(line) for line in text.splitlines() if line.strip()]
        content = json.loads(text)
    except (OSError, ValueError, csv.Error, RecursionError) as error:
        report(Problem("annotation", str(path), f"cannot be read: {' '.join(str(error).split())[:120]}", stops=False))
        return []
    if isinstance(content, dict) and all(isinstance(value, dict) for value in content.values()):
        return [{"key": key, **value} for key, value in content.items()]
    return content if isinstance(content, list) else []


def _meaning(column: str) -> str | None:
    name = column.strip().lower().replace(" ", "_")
    return next((meant for meant, names in _NAMES.items() if name in names.split()), None)


def _is_empty(value: object) -> bool:
    return value is None or value == "" or value == []


def _float(record: Mapping[str, Any], name: str) -> float | None:
    value = record.get(name)
    if _is_empty(value):
        return None
    try:
        return float(str(value).replace(",", "."))
    except ValueError:
        raise ValueError(f"{name} is {value!r}, and a number is meant") from None


def _list(value: object) -> list[float]:
    """Read a list of numbers, of a table or as the text of one."""
    if isinstance(value, (list, tuple)):
        return [float(part) for part in value]
    return [float(part) for part in re.findall(r"-?\d+(?:\.\d+)?", str(value))] if value else []


def _plain(name: str) -> str:
    """Return a name in lower case, its parts divided alike: ``01/1``, ``01_1`` and ``01-1`` are one; ``01/01`` too."""
    parts = [part for part in re.split(r"[^a-z0-9.]+", name.lower()) if part]
    return "/".join(part.lstrip("0") or "0" if part.isdigit() else part for part in parts)


def _without_suffix(name: str) -> str:
    stem, suffix = os.path.splitext(name)  # noqa: PTH122 - a name of another system
    return stem if suffix.lower() in {*VIDEO_SUFFIXES, ".nut", ".y4m"} else name


def _key(record: Mapping[str, Any]) -> str:
    parts = [str(record[name]) for name in ("clip", "event", "index", "key") if not _is_empty(record.get(name))]
    return "/".join(parts[:2]) or "a row without a name"


# Pictures in an archive.


def _picture_folders(archive: Path) -> list[str]:
    try:
        with zipfile.ZipFile(archive) as content:
            names = [PurePosixPath(name) for name in content.namelist()]
    except (OSError, zipfile.BadZipFile) as error:
        raise DatasetError(f"the archive cannot be read: {error}", where=archive, hint="download it again") from None
    return sorted({str(name.parent) for name in names if name.suffix.lower() in PICTURE_SUFFIXES})


def _unpacked(out: Path, archive: Path, folder: str) -> Path:
    """Return where a folder of an archive goes: where a person would unpack it, and nowhere else."""
    parts = [part for part in PurePosixPath(folder).parts if part not in ("/", "..", ".")]
    return out.joinpath(archive.stem, *parts[parts[:1] == [archive.stem] :])


def _unpack(
    clips: Sequence[Path | tuple[Path, str]], out: Path, advance: Callable[[], object]
) -> dict[Path | tuple[Path, str], Path]:
    """Write the pictures of clips, each into a folder of its own; what is there already, and whole, stays."""
    unpacked: dict[Path | tuple[Path, str], Path] = {}
    by_archive: dict[Path, list[str]] = {}
    for clip in dict.fromkeys(clips):
        if isinstance(clip, tuple):
            by_archive.setdefault(clip[0], []).append(clip[1])
    for archive, folders in by_archive.items():
        with zipfile.ZipFile(archive) as content:
            members: dict[str, list[zipfile.ZipInfo]] = {}
            for info in content.infolist():
                name = PurePosixPath(info.filename)
                if name.suffix.lower() in PICTURE_SUFFIXES:
                    members.setdefault(str(name.parent), []).append(info)
            for folder in folders:
                target = _unpacked(out, archive, folder)
                for info in members[folder]:
                    _extract(content, info, target / PurePosixPath(info.filename).name, archive)
                unpacked[archive, folder] = target
                advance()
    return unpacked


def _extract(content: zipfile.ZipFile, info: zipfile.ZipInfo, target: Path, archive: Path) -> None:
    if info.file_size > _MOST_PICTURE_BYTES:
        raise DatasetError(f"{info.filename} is a picture of {info.file_size} bytes", where=archive)
    if target.is_file() and target.stat().st_size == info.file_size:
        return
    try:
        with content.open(info) as source, atomic_write(target, "a picture of the archive") as part:
            part.write_bytes(source.read(_MOST_PICTURE_BYTES))
    except (zipfile.BadZipFile, RuntimeError, NotImplementedError) as error:
        raise DatasetError(f"{info.filename} cannot be unpacked: {error}", where=archive) from None
