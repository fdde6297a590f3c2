"""Checkpoints, logs and the record of a run."""

from __future__ import annotations

import hashlib
import io
import json
import pickle
import platform
import shlex
import shutil
import subprocess
from dataclasses import asdict, dataclass, fields
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Protocol

import torch

import finecausal_cli
from finecausal_cli.atomic import atomic_write
from finecausal_cli.config import flag_of
from finecausal_cli.errors import TrainingError, UsageError
from finecausal_cli.model.config import ModelConfig
from finecausal_cli.training import KINETICS, TRUNK, Options
from finecausal_cli.weights import CONFIG_NAME

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from finecausal_cli.config import OptionGroup
    from finecausal_cli.data import Dive


# The log of a run: one JSON line a validation, each once, however often the run was stopped.

LOG_NAME = "log.jsonl"


class RunLog:
    """The log in a run's folder.

    Args:
        folder: The run's folder.
        key: What of a line says when it was written: a number that grows.
    """

    def __init__(self, folder: Path, key: str) -> None:
        self._path, self._key = folder / LOG_NAME, key

    def append(self, line: dict[str, Any]) -> None:
        """Append one line."""
        with self._path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(line) + "\n")

    def last(self) -> dict[str, Any]:
        """Return the last line; empty where there is none."""
        lines = self._path.read_text(encoding="utf-8").splitlines() if self._path.exists() else []
        line: dict[str, Any] = json.loads(lines[-1]) if lines else {}
        return line

    def forget_after(self, last: int) -> None:
        """Drop what was logged after the checkpoint, whole or torn: it is going to be logged again.

        Raises:
            TrainingError: It is the log of something else.
        """
        if not self._path.exists():
            return
        whole = self._path.read_text(encoding="utf-8").splitlines(keepends=True)
        try:
            kept = [line for line in whole if line.endswith("\n") and json.loads(line)[self._key] <= last]
        except (ValueError, KeyError, TypeError):
            raise TrainingError("not the log of this run", where=self._path, hint="start anew elsewhere") from None
        if kept != whole:
            with atomic_write(self._path, "the log") as part:
                part.write_text("".join(kept), encoding="utf-8")


# Checkpoints of a run.
#
# A checkpoint is one file: a SHA-256, then what ``torch.save`` makes of the state. A damaged archive without a digest
# fails in a dozen ways or gives other numbers. Accelerate's ``save_state`` writes a folder without digests, replaces it
# file by file, and loads registered objects as pickles that may run code; that is why it is not used.

FORMAT = 2
"""Raised whenever an older checkpoint cannot be resumed. Format 2 brought the fourth loss, that of the stages, and
random numbers that follow from the step."""


class HasState(Protocol):
    """What a checkpoint is made of: networks, optimisers and the like."""

    def state_dict(self) -> Any:
        """Return the state."""

    def load_state_dict(self, state: Any, /) -> object:
        """Take over a state."""


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a run stands.

    Attributes:
        epoch: Current epoch, zero-based.
        batch: Batches of it already done.
        step: Optimiser steps done since the start.
        best: Best value of the metric that is monitored so far; None before the first validation.
        stale: Validations since then.
    """

    epoch: int = 0
    batch: int = 0
    step: int = 0
    best: float | None = None
    stale: int = 0


def save_checkpoint(path: Path, state: dict[str, Any], progress: Progress) -> None:
    """Write a checkpoint, whole or not at all.

    Args:
        path: The file; an older checkpoint there is replaced.
        state: State dicts by name.
        progress: Where the run stands.

    Raises:
        OutputError: It cannot be written.
    """
    content = {"format": FORMAT, **state, "progress": asdict(progress)}
    packed = io.BytesIO()
    torch.save(content, packed)
    with atomic_write(path, "the checkpoint") as part, part.open("wb") as stream:
        stream.write(hashlib.sha256(packed.getbuffer()).digest())
        stream.write(packed.getbuffer())


def restore(path: Path, parts: Mapping[str, HasState], settings: Mapping[str, Any]) -> Progress:
    """Bring the parts of a run back to a checkpoint.

    Args:
        path: The checkpoint.
        parts: What it was saved from, by name.
        settings: Those of the run; the checkpoint's must be the same.

    Returns:
        Where the run stands.

    Raises:
        TrainingError: It is missing, damaged, or of another version, network or other settings.
    """
    state, progress = load_checkpoint(path)
    began = state.get("settings", settings)  # older checkpoints have none
    differing = [name for name, value in settings.items() if began.get(name) != value]
    if differing:
        hint = "give the same settings, or another folder"
        raise TrainingError(f"the run began with another {', '.join(differing)}", where=path, hint=hint)
    try:
        for name, part in parts.items():
            part.load_state_dict(state[name])
    except (KeyError, RuntimeError, ValueError) as error:
        reason = " ".join(line.strip() for line in str(error).splitlines()[:2])
        raise TrainingError(
            f"a checkpoint of another network or version: {reason}", where=path, hint="start anew elsewhere"
        ) from None
    return progress


def load_checkpoint(path: Path) -> tuple[dict[str, Any], Progress]:
    """Read a checkpoint.

    Raises:
        TrainingError: It is missing, damaged or of another version.
    """
    try:
        with path.open("rb") as stream:
            digest, packed = stream.read(hashlib.sha256().digest_size), stream.read()
        if hashlib.sha256(packed).digest() != digest:
            raise ValueError("its digest does not match")
        content: dict[str, Any] = torch.load(io.BytesIO(packed), map_location="cpu", weights_only=True)
        if content.pop("format", 1) != FORMAT:
            raise TrainingError(
                "a checkpoint of another version",
                where=path,
                hint="finish the run with the version that began it, or start anew",
            )
        where = content.pop("progress")
        if "best_rho" in where:  # what it was called once
            where["best"] = where.pop("best_rho")
        progress = Progress(**where)
    except FileNotFoundError:
        raise TrainingError("no checkpoint to resume", where=path, hint="start without --resume") from None
    except (OSError, RuntimeError, KeyError, TypeError, ValueError, pickle.UnpicklingError) as error:
        raise TrainingError(f"a damaged checkpoint: {error}", where=path, hint="start anew in another folder") from None
    return content, progress


# The record of a run: options, data and versions.

RUN_NAME = "run.json"
PRETRAINING_NAME = "pretraining.json"
"""Its name in the folder of a pretraining."""

_PACKAGES = ("torch", "torch-geometric", "numpy", "scipy", "av", "decord", "opencv-python-headless", "accelerate")
_GIT_LIMIT_S = 10


def describe_data(dataset: Path, dives: Sequence[Dive], options: OptionGroup) -> dict[str, Any]:
    """Return what weights record of their training: the dataset, its dives by split, and the options.

    Of the initial weights it has the name alone: their folder says nothing on another machine.
    """
    recorded = options.to_dict()
    if recorded["init"] is not None:
        scheme = next((known for known in (TRUNK, KINETICS) if recorded["init"].startswith(known)), "")
        recorded["init"] = scheme + Path(recorded["init"].removeprefix(scheme)).name
    return {
        "dataset": dataset.resolve().name,
        "dives": {split: sum(dive.split == split for dive in dives) for split in ("train", "val", "test")},
        "labels_sha256": digest_labels(dives),
        "options": recorded,
    }


def write_run(
    folder: Path,
    config: ModelConfig,
    options: OptionGroup,
    dataset: Path,
    dives: Sequence[Dive],
    *,
    begun: dict[str, Any],
    processes: int,
    command: Sequence[str],
    name: str = RUN_NAME,
) -> None:
    """Write the record of a run.

    Args:
        folder: The run's folder.
        config: The network.
        options: The run.
        dataset: Where the dives were read.
        dives: All of them, with their splits.
        begun: Where the initial weights come from.
        processes: How many share the run.
        command: The command line; empty if there was none.
        name: Name of the file.

    Raises:
        OutputError: The folder cannot be written.
    """
    run = {
        "config": config.model_dump(),
        **describe_data(dataset, dives, options),
        "options": options.to_dict(),  # in full: a run is resumed from them
        "files_sha256": digest_files(dives),
        "init": begun,
        "processes": processes,
        "command": shlex.join(command),
        "versions": _versions(),
        "git": _git_state(),
    }
    with atomic_write(folder / name, "the run's description") as part:
        part.write_text(json.dumps(run, indent=1) + "\n", encoding="utf-8")


@dataclass(frozen=True)
class RunMetadata(Generic[Options]):
    """What a run was started with.

    Attributes:
        config: The network.
        options: Those of the run.
        labels_sha256: Digest of its dives and labels.
        begun: Where the initial weights come from.
    """

    config: ModelConfig
    options: Options
    labels_sha256: str
    begun: dict[str, Any]

    def changes(self, config: ModelConfig, options: Options, given: AbstractSet[str]) -> dict[str, Any]:
        """Return the options that change when the run is resumed.

        Args:
            config: The network that is asked for.
            options: The options that are asked for.
            given: Names of what was given of both; the rest is that of the run.

        Raises:
            UsageError: Something was given that differs from the run and may not change; names its flag.
        """
        changes: dict[str, Any] = {}
        for field in fields(options):
            value, before = getattr(options, field.name), getattr(self.options, field.name)
            if field.name in given and value != before:
                if field.name not in options.changeable:
                    raise self._differs(f"{before}, not with {value}", flag_of(field))
                changes[field.name] = value
        names = {field.name for field in fields(options)}
        for name, before in self.config:
            if given - names and getattr(config, name) != before:
                flags = " ".join(f"--{each.replace('_', '-')}" for each in sorted(given - names))
                raise self._differs(f"{name} {before}, not {getattr(config, name)}", flags)
        return changes

    @staticmethod
    def _differs(what: str, where: str) -> UsageError:
        return UsageError(f"the run was started with {what}", where=where, hint="leave it out, or start another run")


def ensure_new_run_dir(folder: Path) -> None:
    """Refuse a folder that holds a run of any kind, or weights.

    Raises:
        TrainingError: It does.
    """
    if any((folder / name).exists() for name in (RUN_NAME, PRETRAINING_NAME)):
        raise TrainingError("a run is already here", where=folder, hint="add --resume, or name another folder")
    if (folder / CONFIG_NAME).exists():
        raise TrainingError("weights are already here", where=folder, hint="name another folder")


def record_options(folder: Path, options: OptionGroup, name: str = RUN_NAME) -> None:
    """Record that a run goes on with other options.

    Raises:
        OutputError: The folder cannot be written.
    """
    run = json.loads((folder / name).read_text(encoding="utf-8"))
    with atomic_write(folder / name, "the run's description") as part:
        part.write_text(json.dumps({**run, "options": options.to_dict()}, indent=1) + "\n", encoding="utf-8")


def read_run(folder: Path, kind: type[Options], name: str = RUN_NAME) -> RunMetadata[Options]:
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
        return RunMetadata(
            config=ModelConfig.model_validate(run["config"]),
            options=kind.from_dict(run["options"]),
            labels_sha256=str(run["labels_sha256"]),
            begun=dict(run["init"]),
        )
    except FileNotFoundError:
        raise TrainingError("no run to resume", where=folder, hint="start one without --resume") from None
    except (OSError, ValueError, KeyError, TypeError, UsageError) as error:
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
    versions = {"finecausal": finecausal_cli.__version__, "python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return versions


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
