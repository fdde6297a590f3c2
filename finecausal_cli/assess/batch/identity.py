"""What a dive's row belongs to: the content of its file, the weights, the bank and the options that matter."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from finecausal_cli.assess.batch.row import ROW_VERSION
from finecausal_cli.assess.corrections import resolve_corrections
from finecausal_cli.diving.number import parse_dive_number
from finecausal_cli.errors import DiveNumberError
from finecausal_cli.video.folder_source import PICTURE_SUFFIXES

if TYPE_CHECKING:
    from finecausal_cli.assess.batch.inputs import Item
    from finecausal_cli.assess.score_options import ScoreOptions
    from finecausal_cli.assess.scorer import Scorer

_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Setting:
    """What judges: whoever changes it gets other numbers.

    Attributes:
        weights_digest: Digest of the weights.
        bank_digest: Digest of the bank.
        precision: How exactly the backbones compute.
        reader_digest: Digest of the athlete reader's weights; empty without one.
        framing: How large athletes are shown to the network; empty for whole pictures.
    """

    weights_digest: str
    bank_digest: str
    precision: str
    reader_digest: str = ""
    framing: str = ""

    @classmethod
    def of(cls, scorer: Scorer) -> Setting:
        """Return what a scorer judges with."""
        framing = scorer.model.config.framing
        return cls(
            scorer.weights[1],
            scorer.bank.digest,
            scorer.computes[1],
            "" if scorer.reader is None else scorer.reader.digest,
            "" if framing is None else framing.model_dump_json(),
        )


@dataclass(frozen=True, slots=True)
class Job:
    """A dive to score, and what its row will be known by. Small and picklable: it travels between machines.

    Attributes:
        item: The dive.
        sha256: Digest of its content; None if that cannot be read.
        key: Digest of content, weights, bank and options: equal keys mean equal rows.
    """

    item: Item
    sha256: str | None
    key: str


def identify(item: Item, setting: Setting) -> Job:
    """Read a dive's file once and tell what its row will be known by. Never raises for a bad file."""
    item = _corrected(item)
    sha256 = None if item.problem is not None else digest_content(item.path)
    facts = {
        "row": ROW_VERSION,
        # What cannot be read has no content: then the name stands for it, until it can.
        "content": sha256 or f"unread:{item.path}",
        **asdict(setting),
        "options": options_that_matter(item.options),
    }
    if item.problem is not None:
        facts["problem"] = str(item.problem)
    key = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
    return Job(item, sha256, key)


def _corrected(item: Item) -> Item:
    """Add what a person said of the dive in an earlier run; it is part of what the row is known by."""
    options = item.options
    if item.problem is not None or options.all_dives:
        return item
    corrections, notes = resolve_corrections(item.path, options.corrections, options.start_s, options.end_s)
    if corrections == options.corrections and not notes:
        return item
    return replace(item, options=options.corrected(corrections), notes=notes)


def options_that_matter(options: ScoreOptions) -> dict[str, object]:
    """Return the options on which the numbers depend, a dive number in its canonical form."""
    known = asdict(options)
    for name in ("timeout_s", "attention"):
        del known[name]
    if options.dive is not None:
        try:
            known["dive"] = str(parse_dive_number(options.dive))
        except DiveNumberError:
            known["dive"] = options.dive
    return known


def digest_content(path: str) -> str | None:
    """Return the SHA-256 of a file, or of a folder's pictures with their names.

    Nothing but regular files is opened: a pipe would block.

    Returns:
        64 hexadecimal digits, or None if it is missing, forbidden or no file.
    """
    try:
        status = os.stat(path)  # noqa: PTH116 - Path.stat would refuse names that are no valid text
        if stat.S_ISREG(status.st_mode):
            return _digest_file(path)
        if not stat.S_ISDIR(status.st_mode):
            return None
        whole = hashlib.sha256()
        for file in sorted(Path(path).iterdir(), key=lambda one: os.fsencode(one.name)):
            if file.suffix.lower() in PICTURE_SUFFIXES and file.name[0] != "." and file.is_file():
                whole.update(os.fsencode(file.name) + b"\0" + _digest_file(file).encode() + b"\0")
        return whole.hexdigest()
    except (OSError, ValueError):
        return None


def _digest_file(path: str | os.PathLike[str]) -> str:
    digest = hashlib.sha256()
    with open(path, "rb", buffering=0) as stream:  # noqa: PTH123 - as above
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
