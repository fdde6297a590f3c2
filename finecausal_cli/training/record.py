"""What a run writes down of itself: what it was asked to do, on which data, by which versions."""

from __future__ import annotations

import hashlib
import json
import platform
import shlex
import shutil
import subprocess
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic

import finecausal_cli
from finecausal_cli.errors import TrainingError
from finecausal_cli.model.config import ModelConfig
from finecausal_cli.training.options import KINETICS, TRUNK, Options
from finecausal_cli.weights.manifest import CONFIG_NAME
from finecausal_cli.whole_file import whole_file

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydantic import BaseModel

    from finecausal_cli.data.dive import Dive

RUN_NAME = "run.json"
PRETRAINING_NAME = "pretraining.json"
"""Its name in the folder of a pretraining."""

_PACKAGES = ("torch", "torch-geometric", "numpy", "scipy", "av", "decord", "opencv-python-headless", "accelerate")
_GIT_LIMIT_S = 10


def describe_data(dataset: Path, dives: Sequence[Dive], options: BaseModel) -> dict[str, Any]:
    """Return what weights tell of their training: the dataset, its dives by split, and the options.

    Of the weights that a run began from it tells the name alone: where they lay is nobody's business elsewhere.
    """
    told = options.model_dump(mode="json")
    if told["init"] is not None:
        scheme = next((known for known in (TRUNK, KINETICS) if told["init"].startswith(known)), "")
        told["init"] = scheme + Path(told["init"].removeprefix(scheme)).name
    return {
        "dataset": dataset.resolve().name,
        "dives": {split: sum(dive.split == split for dive in dives) for split in ("train", "val", "test")},
        "labels_sha256": digest_labels(dives),
        "options": told,
    }


def write_run(
    folder: Path,
    config: ModelConfig,
    options: BaseModel,
    dataset: Path,
    dives: Sequence[Dive],
    *,
    begun: dict[str, Any],
    processes: int,
    command: Sequence[str],
    name: str = RUN_NAME,
) -> None:
    """Write down what a run is asked to do.

    Args:
        folder: The run's folder.
        config: The network.
        options: The run.
        dataset: Where the dives were read.
        dives: All of them, with their splits.
        begun: What the network started from.
        processes: How many share the run.
        command: The command line; empty if there was none.
        name: Name of the file.

    Raises:
        OutputError: The folder cannot be written.
    """
    run = {
        "config": config.model_dump(),
        **describe_data(dataset, dives, options),
        "options": options.model_dump(mode="json"),  # in full: a run is resumed from them
        "files_sha256": digest_files(dives),
        "init": begun,
        "processes": processes,
        "command": shlex.join(command),
        "versions": _versions(),
        "git": _git_state(),
    }
    with whole_file(folder / name, "the run's description") as part:
        part.write_text(json.dumps(run, indent=1) + "\n", encoding="utf-8")


@dataclass(frozen=True)
class Started(Generic[Options]):
    """What a run was started with.

    Attributes:
        config: The network.
        options: What it was asked to do.
        labels_sha256: Digest of its dives and labels.
        begun: What the network started from.
    """

    config: ModelConfig
    options: Options
    labels_sha256: str
    begun: dict[str, Any]


def check_is_free(folder: Path) -> None:
    """Refuse a folder that holds a run of any kind, or weights.

    Raises:
        TrainingError: It does.
    """
    if any((folder / name).exists() for name in (RUN_NAME, PRETRAINING_NAME)):
        raise TrainingError("a run is already here", where=folder, hint="add --resume, or name another folder")
    if (folder / CONFIG_NAME).exists():
        raise TrainingError("weights are already here", where=folder, hint="name another folder")


def read_run(folder: Path, kind: type[Options], name: str = RUN_NAME) -> Started[Options]:
    """Read what a run was started with.

    Args:
        folder: The run's folder.
        kind: What its options are.
        name: Name of the file.

    Raises:
        TrainingError: There is no run, or its description is damaged.
    """
    path = folder / name
    try:
        run = json.loads(path.read_text(encoding="utf-8"))
        return Started(
            config=ModelConfig.model_validate(run["config"]),
            options=kind.model_validate(run["options"]),
            labels_sha256=str(run["labels_sha256"]),
            begun=dict(run["init"]),
        )
    except FileNotFoundError:
        raise TrainingError("no run to resume", where=folder, hint="start one without --resume") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TrainingError(f"a damaged run description: {error}", where=path, hint="start anew elsewhere") from None


def digest_labels(dives: Sequence[Dive]) -> str:
    """Return the SHA-256 (hex) of everything that training reads of the dives besides their pictures."""
    labels = [
        [
            dive.key,
            dive.score,
            dive.difficulty,
            dive.number,
            dive.twist_start,
            dive.entry_start,
            dive.deductions,
            dive.split,
        ]
        for dive in dives
    ]
    return hashlib.sha256(json.dumps(labels).encode()).hexdigest()


def digest_files(dives: Sequence[Dive]) -> str:
    """Return the SHA-256 (hex) of name and size of every video, mask and frame, without reading them."""
    facts = [[dive.key, _sizes(dive.video), None if dive.mask is None else _sizes(dive.mask)] for dive in dives]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def _sizes(path: Path) -> list[tuple[str, int]]:
    try:
        files = sorted(path.iterdir()) if path.is_dir() else [path]
        return [(file.name, file.stat().st_size) for file in files]
    except OSError:
        return []  # who reads it will say what is wrong


def _versions() -> dict[str, str]:
    found = {"finecausal": finecausal_cli.__version__, "python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _git_state() -> dict[str, Any] | None:
    """Return the commit of the checkout that this code runs from; None if it is installed, or there is no git."""
    git, package = shutil.which("git"), Path(finecausal_cli.__file__).parent
    if git is None or not (package.parent / ".git").exists():
        return None
    try:
        commit, changes = (
            subprocess.run(  # noqa: S603 -- git, on our own folder
                [git, "-C", str(package.parent), *command],
                capture_output=True,
                text=True,
                check=True,
                timeout=_GIT_LIMIT_S,
            ).stdout.strip()
            for command in (["rev-parse", "HEAD"], ["status", "--porcelain", "--untracked-files=no"])
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return {"commit": commit, "is_changed": bool(changes)}
