"""Weights from a model hub: ``hf://owner/repo@revision``.

A repository on the hub is a folder of weights as `save_weights` writes it, with its bank beside it. It is fetched at
one commit, checked against the digests in its ``config.json``, and only then put where it will be found without a
network. Nothing else of this package uses the network.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import platformdirs

from finecausal_cli.errors import OutputError, UsageError, WeightsError
from finecausal_cli.weights.manifest import CONFIG_NAME
from finecausal_cli.whole_file import whole_file

if TYPE_CHECKING:
    from collections.abc import Iterator

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


def fetched(text: str) -> Path:
    """Return the folder of weights on a hub, fetching them if they are not here yet.

    What was fetched before is used as it is, without asking the hub: `pull` brings what a branch has become since.

    Raises:
        WeightsError: They are not here and cannot be fetched, or are damaged.
        UsageError: The name is written wrongly.
    """
    name = HubName.parse(text)
    known = _kept(name)
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
    with whole_file(name.note, "what was fetched") as part:
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


def _kept(name: HubName) -> Path | None:
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
