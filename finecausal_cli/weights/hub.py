"""Find weights by name: bundled, in a folder, or fetched from the Hugging Face Hub."""

from __future__ import annotations

import logging
import os
import re
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from finecausal_cli.atomic import atomic_write
from finecausal_cli.config import DEFAULT_WEIGHTS
from finecausal_cli.errors import OutputError, UsageError, WeightsError
from finecausal_cli.weights import CONFIG_NAME

logger = logging.getLogger(__name__)

# Weights from a model hub: ``hf://owner/repo@revision``.
#
# A repository on the hub is a folder of weights as `save_weights` writes it, with its bank beside it. It is downloaded
# at one commit, verified against the digests in its ``config.json``, and only then moved into the store, from where it
# loads offline. Nothing else of this package uses the network. huggingface_hub's own cache is not used: its snapshots
# appear file by file, before they are verified.

SCHEME = "hf://"

OFFLINE = "HF_HUB_OFFLINE"
"""Environment variable that forbids the network; ``--offline`` sets it."""

_PATTERN = re.compile(r"(?P<owner>[\w.-]+)/(?P<repo>[\w.-]+)(?:@(?P<revision>[\w./-]+))?")
_DEFAULT_REVISION = "main"
_FILES = (CONFIG_NAME, "*.safetensors", "*.json", "*.md", "bank/*")
_UNSAFE = re.compile(r"[^\w.-]")


@dataclass(frozen=True, slots=True)
class HubName:
    """A repository at a revision.

    Attributes:
        owner: User or organisation.
        repo: Name of the repository.
        revision: Branch, tag or commit.
    """

    owner: str
    repo: str
    revision: str

    @classmethod
    def parse(cls, text: str) -> HubName:
        """Read ``hf://owner/repo@revision``; without a revision it is ``main``.

        Raises:
            UsageError: It is written otherwise.
        """
        match = _PATTERN.fullmatch(text.removeprefix(SCHEME))
        parts = [] if match is None else [match["owner"], match["repo"], match["revision"] or _DEFAULT_REVISION]
        if not parts or any(part in (".", "..") or ".." in part.split("/") for part in parts):
            raise UsageError("not the name of weights on a hub", where=text, hint="hf://owner/repo@revision")
        return cls(*parts)

    def __str__(self) -> str:
        return f"{SCHEME}{self.owner}/{self.repo}@{self.revision}"

    @property
    def repo_dir(self) -> Path:
        """Folder of the repository in the store: ``commits``, and ``refs`` from revisions to commits."""
        return store() / self.owner / self.repo

    @property
    def ref_file(self) -> Path:
        """File with the commit of the revision when it was last downloaded."""
        return self.repo_dir / "refs" / _UNSAFE.sub("--", self.revision)


def store() -> Path:
    """Return the folder of downloaded weights."""
    return Path(platformdirs.user_data_dir("finecausal", appauthor=False)) / "hub"


def is_offline() -> bool:
    """Tell whether the network is forbidden."""
    return os.environ.get(OFFLINE, "").strip().lower() in ("1", "true", "yes", "on")


def resolve_hub(text: str) -> Path:
    """Return the folder of weights of a hub; download them unless they are in the store.

    Weights in the store are used without asking the hub; `pull` updates a branch.

    Raises:
        WeightsError: They are not here and cannot be fetched, or are damaged.
        UsageError: The name is written wrongly.
    """
    name = HubName.parse(text)
    cached = _cached_snapshot(name)
    if cached is not None:
        return cached
    if is_offline():
        raise WeightsError("not here, and the network is forbidden", where=str(name), hint="fetch it without --offline")
    return pull(text)


def pull(text: str) -> Path:
    """Download the present commit of a revision.

    Returns:
        Their folder.

    Raises:
        WeightsError: The hub cannot be reached, has no such weights or refuses them; or they are damaged.
        OutputError: They cannot be written.
        UsageError: The name is written wrongly, or the network is forbidden.
    """
    name = HubName.parse(text)
    if is_offline():
        raise UsageError("fetching weights needs the network", where=str(name), hint="leave out --offline")
    commit = _commit(name)
    folder = name.repo_dir / "commits" / commit
    if not (folder / CONFIG_NAME).is_file():
        _download(name, commit, folder)
    with atomic_write(name.ref_file, "what was fetched") as part:
        part.write_text(f"{commit}\n", encoding="utf-8")
    return folder


def list_fetched() -> dict[str, Path]:
    """Return the downloaded weights by name."""
    snapshots = {}
    for ref_file in sorted(store().glob("*/*/refs/[!.]*")):
        repo_dir = ref_file.parent.parent
        folder = repo_dir / "commits" / ref_file.read_text(encoding="utf-8").strip()
        if (folder / CONFIG_NAME).is_file():
            snapshots[f"{SCHEME}{repo_dir.parent.name}/{repo_dir.name}@{ref_file.name}"] = folder
    return dict(sorted(snapshots.items()))


def _cached_snapshot(name: HubName) -> Path | None:
    try:
        commit = name.ref_file.read_text(encoding="utf-8").strip()
    except OSError:
        commit = name.revision
    folder = name.repo_dir / "commits" / commit
    return folder if (folder / CONFIG_NAME).is_file() else None


def _endpoint() -> str | None:
    return os.environ.get("HF_ENDPOINT") or None


def _commit(name: HubName) -> str:
    """Ask the hub which commit the revision is."""
    from huggingface_hub import HfApi  # half a second, and only needed here

    try:
        commit = HfApi(endpoint=_endpoint()).model_info(f"{name.owner}/{name.repo}", revision=name.revision).sha
    except Exception as error:
        raise _hub_error(error, name) from error
    if not commit or _UNSAFE.search(commit):
        raise WeightsError("the hub names no commit", where=str(name))
    return str(commit)


def _download(name: HubName, commit: str, folder: Path) -> None:
    """Download a commit into a folder beside its own, verify it and move it. An interrupted download is resumed."""
    from filelock import FileLock
    from huggingface_hub import snapshot_download
    from huggingface_hub.utils.tqdm import disable_progress_bars

    from finecausal_cli.weights.store import load_weights

    if not sys.stderr.isatty() or not logger.isEnabledFor(logging.WARNING):
        disable_progress_bars()
    part = folder.with_name(f".{commit}.part")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{part}.lock"):
            if folder.exists():  # by another process meanwhile
                return
            try:
                snapshot_download(
                    f"{name.owner}/{name.repo}",
                    revision=commit,
                    local_dir=part,
                    allow_patterns=list(_FILES),
                    endpoint=_endpoint(),
                )
            except OSError as error:
                if error.errno is not None and not hasattr(error, "response"):
                    raise
                raise _hub_error(error, name) from error
            except Exception as error:
                raise _hub_error(error, name) from error
            try:
                if not (part / CONFIG_NAME).is_file():
                    raise WeightsError(f"the repository holds no {CONFIG_NAME}")
                load_weights(part)
            except WeightsError as error:
                shutil.rmtree(part, ignore_errors=True)
                raise WeightsError(error.what, where=str(name), hint="tell who published them") from None
            shutil.rmtree(part / ".cache", ignore_errors=True)
            part.replace(folder)
    except OSError as error:
        raise OutputError(
            f"the weights cannot be kept: {error.strerror or error}",
            where=folder,
            hint="check the folder, its rights and the free space",
        ) from error


def _hub_error(error: Exception, name: HubName) -> WeightsError:
    """Return the error of one line for an error of the hub."""
    from huggingface_hub import errors

    where = str(name)
    if isinstance(error, errors.GatedRepoError):
        return WeightsError("the hub asks for consent first", where=where, hint="accept its terms there, then HF_TOKEN")
    if isinstance(error, errors.RepositoryNotFoundError):
        hint = "check the name; private ones need HF_TOKEN"
        return WeightsError("no such repository on the hub", where=where, hint=hint)
    if isinstance(error, errors.RevisionNotFoundError):
        return WeightsError(f"the repository has no revision {name.revision!r}", where=where)
    if isinstance(error, errors.HFValidationError):
        return WeightsError("not a name that the hub accepts", where=where, hint="hf://owner/repo@revision")
    if isinstance(error, errors.HfHubHTTPError):
        return WeightsError(f"the hub refuses: {_first_line(error)}", where=where)
    return WeightsError(
        f"the hub cannot be reached: {_first_line(error)}", where=where, hint="check the network, or HF_ENDPOINT"
    )


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__


# Find weights by name or folder.

BANK_NAME = "bank"
"""Folder of the exemplar bank inside a folder of weights."""

READER_NAME = "athlete"
READER_CONFIG_NAME = "reader.json"
"""Folder of the athlete reader beside the weights, and the file that identifies it."""

_PACKAGE = Path(__file__).resolve().parent.parent


def _bundled_folders() -> tuple[Path, ...]:
    """Folders of bundled weights: of an installed wheel, then of a checkout."""
    return _PACKAGE / "bundled" / "weights", _PACKAGE.parent / "weights"


def list_readers() -> list[Path]:
    """Return the bundled athlete readers, the one in use first."""
    readers = [folder / READER_NAME for folder in _bundled_folders()]
    return [folder for folder in readers if (folder / READER_CONFIG_NAME).is_file()]


def list_bundled() -> dict[str, Path]:
    """Return the bundled weights by name, sorted; those of a wheel take precedence over a checkout's."""
    bundled: dict[str, Path] = {}
    for folder in _bundled_folders():
        for config in folder.glob(f"*/{CONFIG_NAME}"):
            bundled.setdefault(config.parent.name, config.parent)
    return dict(sorted(bundled.items()))


def resolve_weights(name_or_folder: str | Path = DEFAULT_WEIGHTS) -> Path:
    """Find a folder of weights.

    Args:
        name_or_folder: The name of bundled weights, the path of a folder, or ``hf://owner/repo@revision``, which is
            downloaded unless it is in the store. A name takes precedence over a folder of that name in the working
            directory, so that a command means the same everywhere; write ``./compact`` for the folder.

    Returns:
        A folder that holds a ``config.json``.

    Raises:
        WeightsError: Nothing of that name exists, or the folder holds no weights.
        UsageError: The name of weights on a hub is written wrongly.
    """
    bundled = list_bundled()
    text = str(name_or_folder)
    if text.startswith(SCHEME):
        return resolve_hub(text)
    if text in bundled:
        return bundled[text]
    hint = f"bundled weights: {', '.join(bundled) or 'none'}; or give a folder, or hf://owner/repo@revision"
    folder = Path(text).expanduser()
    if not folder.is_dir():
        raise WeightsError("no such weights", where=text, hint=hint)
    if not (folder / CONFIG_NAME).is_file():
        raise WeightsError(f"the folder holds no {CONFIG_NAME}", where=text, hint=hint)
    return folder


def bank_folder(weights: Path) -> Path:
    """Return the folder of the bank of a folder of weights; it need not exist."""
    return weights / BANK_NAME
