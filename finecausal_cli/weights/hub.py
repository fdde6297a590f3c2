"""Find weights by name: bundled, in a folder, or fetched from the Hugging Face Hub."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import platformdirs

from finecausal_cli.atomic import atomic_write
from finecausal_cli.config import DEFAULT_WEIGHTS
from finecausal_cli.errors import OutputError, UsageError, WeightsError
from finecausal_cli.weights import CONFIG_NAME

if TYPE_CHECKING:
    from collections.abc import Iterator


# Weights from a model hub: ``hf://owner/repo@revision``.
#
# A repository on the hub is a folder of weights as `save_weights` writes it, with its bank beside it. It is fetched
# at one commit, checked against the digests in its ``config.json``, and only then put where it will be found without
# a network. Nothing else of this package uses the network.

SCHEME = "hf://"

OFFLINE = "HF_HUB_OFFLINE"
"""Environment variable that forbids the network; ``--offline`` sets it."""

_PATTERN = re.compile(r"(?P<owner>[\w.-]+)/(?P<repo>[\w.-]+)(?:@(?P<revision>[\w./-]+))?")
_USUAL_REVISION = "main"
_WANTED = (CONFIG_NAME, "*.safetensors", "*.json", "*.md", "bank/*")
_REFUSED = re.compile(r"[^\w.-]")


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
        found = _PATTERN.fullmatch(text.removeprefix(SCHEME))
        parts = [] if found is None else [found["owner"], found["repo"], found["revision"] or _USUAL_REVISION]
        if not parts or any(part in (".", "..") or ".." in part.split("/") for part in parts):
            raise UsageError("not the name of weights on a hub", where=text, hint="hf://owner/repo@revision")
        return cls(*parts)

    def __str__(self) -> str:
        return f"{SCHEME}{self.owner}/{self.repo}@{self.revision}"

    @property
    def shelf(self) -> Path:
        """Folder of all that is kept of the repository: ``commits``, and ``refs``, what revisions meant."""
        return store() / self.owner / self.repo

    @property
    def note(self) -> Path:
        """File that says which commit the revision was when it was last fetched."""
        return self.shelf / "refs" / _REFUSED.sub("--", self.revision)


def store() -> Path:
    """Return the folder of weights that were fetched."""
    return Path(platformdirs.user_data_dir("finecausal", appauthor=False)) / "hub"


def is_offline() -> bool:
    """Tell whether the network is forbidden."""
    return os.environ.get(OFFLINE, "").strip().lower() in ("1", "true", "yes", "on")


def resolve_hub(text: str) -> Path:
    """Return the folder of weights on a hub, fetching them if they are not here yet.

    What was fetched before is used as it is, without asking the hub: `pull` brings what a branch has become since.

    Raises:
        WeightsError: They are not here and cannot be fetched, or are damaged.
        UsageError: The name is written wrongly.
    """
    name = HubName.parse(text)
    known = _cached_snapshot(name)
    if known is not None:
        return known
    if is_offline():
        raise WeightsError("not here, and the network is forbidden", where=str(name), hint="fetch it without --offline")
    return pull(text)


def pull(text: str) -> Path:
    """Fetch weights from a hub at what the revision is now.

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
    folder = name.shelf / "commits" / commit
    if not (folder / CONFIG_NAME).is_file():
        _fetch(name, commit, folder)
    with atomic_write(name.note, "what was fetched") as part:
        part.write_text(f"{commit}\n", encoding="utf-8")
    return folder


def list_fetched() -> dict[str, Path]:
    """Return the fetched weights by name."""
    return dict(sorted(_notes()))


def _notes() -> Iterator[tuple[str, Path]]:
    for note in store().glob("*/*/refs/*"):
        shelf = note.parent.parent
        folder = shelf / "commits" / note.read_text(encoding="utf-8").strip()
        if not note.name.startswith(".") and (folder / CONFIG_NAME).is_file():
            yield f"{SCHEME}{shelf.parent.name}/{shelf.name}@{note.name}", folder


def _cached_snapshot(name: HubName) -> Path | None:
    commits = name.shelf / "commits"
    try:
        commit = name.note.read_text(encoding="utf-8").strip()
    except OSError:
        commit = name.revision
    folder = commits / commit
    return folder if (folder / CONFIG_NAME).is_file() else None


def _endpoint() -> str | None:
    return os.environ.get("HF_ENDPOINT") or None


def _commit(name: HubName) -> str:
    """Ask the hub which commit the revision is."""
    from huggingface_hub import HfApi  # half a second, and only needed here

    try:
        found = HfApi(endpoint=_endpoint()).model_info(f"{name.owner}/{name.repo}", revision=name.revision).sha
    except Exception as error:
        raise _explained(error, name) from error
    if not found or _REFUSED.search(found):
        raise WeightsError("the hub names no commit", where=str(name))
    return str(found)


def _fetch(name: HubName, commit: str, folder: Path) -> None:
    """Download a commit beside its place, check it, and move it there."""
    from huggingface_hub import snapshot_download

    from finecausal_cli.weights.store import load_weights

    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".") as place:
            part = Path(place) / "weights"
            try:
                snapshot_download(
                    f"{name.owner}/{name.repo}",
                    revision=commit,
                    local_dir=part,
                    allow_patterns=list(_WANTED),
                    endpoint=_endpoint(),
                )
            except OSError as error:
                if error.errno is not None and not hasattr(error, "response"):
                    raise
                raise _explained(error, name) from error
            except Exception as error:
                raise _explained(error, name) from error
            shutil.rmtree(part / ".cache", ignore_errors=True)
            if not (part / CONFIG_NAME).is_file():
                raise WeightsError(f"the repository holds no {CONFIG_NAME}", where=str(name))
            try:
                load_weights(part)
            except WeightsError as error:
                raise WeightsError(error.what, where=str(name), hint="tell who published them") from None
            if not folder.exists():
                part.replace(folder)
    except OSError as error:
        raise OutputError(
            f"the weights cannot be kept: {error.strerror or error}",
            where=folder,
            hint="check the folder, its rights and the free space",
        ) from error


def _explained(error: Exception, name: HubName) -> WeightsError:
    """Say in one line why the hub gives nothing."""
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
"""Folder, inside a folder of weights, of the exemplars that those weights encoded."""

READER_NAME = "athlete"
READER_CONFIG_NAME = "reader.json"
"""Folder of the athlete reader beside the weights, and what tells that it is there."""

_PACKAGE = Path(__file__).resolve().parent.parent


def _shelves() -> tuple[Path, ...]:
    """Folders that may hold bundled weights: of an installed wheel, then of a checkout."""
    return _PACKAGE / "bundled" / "weights", _PACKAGE.parent / "weights"


def list_readers() -> list[Path]:
    """Return the folders of athlete readers that come with the package, the one that counts first."""
    return [shelf / READER_NAME for shelf in _shelves() if (shelf / READER_NAME / READER_CONFIG_NAME).is_file()]


def list_bundled() -> dict[str, Path]:
    """Return the bundled weights by name, sorted; the installed ones win over a checkout's."""
    found: dict[str, Path] = {}
    for shelf in _shelves():
        for config in shelf.glob(f"*/{CONFIG_NAME}"):
            found.setdefault(config.parent.name, config.parent)
    return dict(sorted(found.items()))


def resolve_weights(name_or_folder: str | Path = DEFAULT_WEIGHTS) -> Path:
    """Find the folder that a user means.

    Args:
        name_or_folder: The name of bundled weights, the path of a folder, or ``hf://owner/repo@revision``, which is
            fetched unless it was before. A name wins over a folder of the same name in the working directory, so that
            a command means the same everywhere; write ``./compact`` for the folder.

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
    known = f"bundled weights: {', '.join(bundled) or 'none'}; or give a folder, or hf://owner/repo@revision"
    folder = Path(text).expanduser()
    if not folder.is_dir():
        raise WeightsError("no such weights", where=text, hint=known)
    if not (folder / CONFIG_NAME).is_file():
        raise WeightsError(f"the folder holds no {CONFIG_NAME}", where=text, hint=known)
    return folder


def bank_folder(weights: Path) -> Path:
    """Return the folder of the bank that belongs to a folder of weights; it need not exist yet."""
    return weights / BANK_NAME
