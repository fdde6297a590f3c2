"""Read a dataset, whichever of the known layouts it has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from finecausal_cli.data import finediving, mtl_aqa
from finecausal_cli.data.finediving import read_finediving
from finecausal_cli.data.manifest import MANIFEST_NAMES, find_manifest, read_manifest
from finecausal_cli.data.mtl_aqa import FRAMES_PATTERN, read_mtl_aqa
from finecausal_cli.data.problem import refuse
from finecausal_cli.errors import DatasetError

if TYPE_CHECKING:
    from pathlib import Path

    from finecausal_cli.data.dive import Dive
    from finecausal_cli.data.problem import Report

LayoutName = Literal["manifest", "FineDiving-HM", "MTL-AQA"]

_LABELS: dict[str, LayoutName] = {finediving.LABELS_NAME: "FineDiving-HM", mtl_aqa.LABELS_NAME: "MTL-AQA"}


@dataclass(frozen=True, slots=True)
class Layout:
    """How a dataset is laid out, and where its labels are.

    Attributes:
        name: Which of the known layouts.
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
        report: Told of every problem. By default the first one that stops a run is raised; with another function the
            dive it concerns is left out, or read without what is wrong, and reading goes on.

    Raises:
        DatasetError: The dataset is missing or wrong; names the file and the place in it.
        UsageError: The pattern of the frames is none.
    """
    layout = find_layout(path, annotations)
    if layout.name == "manifest":
        return read_manifest(layout.labels, allow_outside=allow_outside, report=report)
    if layout.name == "MTL-AQA":
        return read_mtl_aqa(path, layout.labels, frames=frames, report=report)
    return read_finediving(path, layout.labels, report=report)


def find_layout(path: Path, annotations: Path | None = None) -> Layout:
    """Tell the layout of a dataset by the files that only it has.

    A manifest comes first: it is what somebody wrote to say what the folder holds.

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
        return Layout("manifest", path)
    folders = [annotations] if annotations is not None else _here_and_below(path)
    manifest = find_manifest(path) if annotations is None else None
    if manifest is not None:
        return Layout("manifest", manifest)
    found = [Layout(name, folder) for folder in folders for file, name in _LABELS.items() if (folder / file).is_file()]
    if len(found) > 1:
        both = f"{found[0].name} in {found[0].labels.name} and {found[1].name} in {found[1].labels.name}"
        raise DatasetError(f"annotations of {both}", where=path, hint="name one folder of annotations")
    if not found:
        looked = f"looked for {', '.join(MANIFEST_NAMES)}; here and one folder below for {' and '.join(_LABELS)}"
        raise DatasetError("no dataset of a known layout", where=annotations or path, hint=looked)
    return found[0]


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError as error:
        raise DatasetError(f"cannot be looked at: {error.strerror}", where=path) from None


def _here_and_below(path: Path) -> list[Path]:
    try:
        return [path, *sorted(one for one in path.iterdir() if one.is_dir())]
    except OSError as error:
        raise DatasetError(f"cannot be listed: {error.strerror}", where=path) from None
