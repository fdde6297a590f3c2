"""A bank of one's own: where it lies, how it changes, how banks vote together, and how well it predicts itself.

A bank of one's own is a bank whose exemplars say which video they are of, so that other weights can encode them again.
It has a name and lies in the user's data folder, or it lies in a folder that is named. ``mine+bundled`` joins banks:
exemplars of the first one vote first.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import platformdirs
import torch

from finecausal_cli.atomic import atomic_write
from finecausal_cli.errors import BankError, OutputError, UsageError
from finecausal_cli.model.outputs import Encoding
from finecausal_cli.retrieval import BUNDLED, OWN_BANK
from finecausal_cli.retrieval.bank import (
    INDEX_NAME,
    THUMBNAILS,
    Bank,
    BankIndex,
    Exemplar,
    JudgedClip,
    load_bank,
    read_index,
    save_bank,
    write_thumbnail,
)
from finecausal_cli.retrieval.calibration import FEWEST, Calibration, LeaveOneOut, fit_calibration, fit_without_each
from finecausal_cli.retrieval.voting import choose_voters, compare_with_exemplars
from finecausal_cli.video import SNIPPETS
from finecausal_cli.weights.hub import bank_folder

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from finecausal_cli.model.finecausal import FineCausal

# Names of banks, and what ``--bank`` means.

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")

BankNames = str | os.PathLike[str] | tuple[str | os.PathLike[str], ...] | None
"""A name, a folder, several of them joined by ``+``, or a tuple of them; None is the weights' own."""


def banks_folder() -> Path:
    """Return the folder of the banks of one's own."""
    return Path(platformdirs.user_data_dir("finecausal", appauthor=False)) / "banks"


def list_own_banks() -> dict[str, Path]:
    """Return the banks in the user's data folder by name."""
    return {path.parent.name: path.parent for path in sorted(banks_folder().glob(f"*/{INDEX_NAME}"))}


def resolve_bank(name_or_folder: str, weights: Path | None = None) -> tuple[str, Path]:
    """Find one bank; it need not exist yet.

    Args:
        name_or_folder: ``bundled``; the name of a bank in the user's data folder; or a folder. A name takes precedence
            over a folder of that name in the working directory, once there is a bank of it: write ``./mine`` for that.
        weights: Folder of the weights, whose bank ``bundled`` is; None where that bank is not meant.

    Returns:
        Its name, for people, and its folder.

    Raises:
        UsageError: It is no name and no folder.
    """
    if name_or_folder == BUNDLED and weights is not None:
        return BUNDLED, bank_folder(weights)
    named = banks_folder() / name_or_folder
    is_name = _NAME.fullmatch(name_or_folder) is not None and name_or_folder != BUNDLED
    folder = Path(name_or_folder).expanduser()
    if is_name and ((named / INDEX_NAME).is_file() or not folder.is_dir()):
        return name_or_folder, named
    if not name_or_folder.strip():
        raise UsageError("no name of a bank", where="--bank", hint="e.g. mine, mine+bundled or a folder")
    return folder.resolve().name or str(folder), folder


def resolve_banks(banks: BankNames, weights: Path) -> tuple[tuple[str, Path], ...]:
    """Find the banks that vote, in their order.

    Args:
        banks: Which ones; see ``BankNames``. A folder whose name has a ``+`` in it is one bank.
        weights: Folder of the weights.

    Raises:
        UsageError: One of them is named twice, or not at all.
    """
    if banks is None:
        return ((BUNDLED, bank_folder(weights)),)
    if isinstance(banks, tuple):
        named = [os.fspath(bank) for bank in banks]
    elif isinstance(banks, str) and not (Path(banks) / INDEX_NAME).is_file():
        named = banks.split("+")
    else:
        named = [os.fspath(banks)]
    found = tuple(resolve_bank(each, weights) for each in named)
    folders = [folder.resolve() for _, folder in found]
    repeated = [name for (name, folder), path in zip(found, folders, strict=True) if folders.count(path) > 1]
    if repeated:
        raise UsageError(f"bank {repeated[0]!r} is named twice", where="--bank", hint="name each bank once")
    return found


def load_banks(banks: Sequence[tuple[str, Path]], *, weights_digest: str) -> Bank:
    """Load banks and join them; the first one votes first. Without any the bank is empty.

    Raises:
        BankError: One is missing, damaged, or made by other weights.
    """
    if not banks:
        return Bank("none", (), Encoding(*torch.zeros(2, 0, SNIPPETS, 1)), weights_digest)
    for name, folder in banks:
        require_bank(name, folder)
    return Bank.join([load_bank(folder, weights_digest=weights_digest, name=name) for name, folder in banks])


def require_bank(name: str, folder: Path) -> None:
    """Refuse a name that no bank of one's own has; a folder is refused where it is read.

    Raises:
        BankError: There is no bank of that name.
    """
    if folder.parent == banks_folder() and not (folder / INDEX_NAME).is_file():
        there = ", ".join(list_own_banks()) or "none"
        hint = f"banks of your own: {there}; add to it with: finecausal exemplars add CLIP --bank {name}"
        raise BankError("no such bank", where=name, hint=hint)


# Change a bank of one's own. Whatever interrupts it leaves the bank before or the bank after.

_LOCK_NAME = ".lock"


@dataclass(frozen=True, slots=True)
class OwnBank:
    """A bank of one's own, to be changed.

    Attributes:
        name: Its name, for people.
        folder: Where it lies, or will lie.
    """

    name: str
    folder: Path

    @classmethod
    def open(cls, bank: str | os.PathLike[str] | None = None) -> OwnBank:
        """Find a bank to change; ``mine`` when none is named. It need not exist yet.

        Raises:
            UsageError: The bank is not one's own.
            BankError: It was built from a dataset, or is damaged.
        """
        text = OWN_BANK if bank is None else os.fspath(bank)
        if text == BUNDLED or ("+" in text and not Path(text).is_dir()):
            hint = f"name one of your own, e.g. {OWN_BANK}, or a folder"
            raise UsageError(f"{text!r} is not one bank of your own", where="--bank", hint=hint)
        own = cls(*resolve_bank(text))
        if own.exists and any(exemplar.clip is None for exemplar in own.index.exemplars):
            hint = "name another one; it votes beside this one with --bank NAME+FOLDER"
            raise BankError("built from a dataset, not a bank of your own", where=own.folder, hint=hint)
        return own

    @property
    def exists(self) -> bool:
        """Whether there is a bank."""
        return (self.folder / INDEX_NAME).is_file()

    @property
    def index(self) -> BankIndex:
        """What it holds.

        Raises:
            BankError: It is missing, damaged or of a newer format.
        """
        require_bank(self.name, self.folder)
        return read_index(self.folder)

    def require_weights(self, weights_digest: str) -> None:
        """Refuse weights that did not encode it, before a clip is read for nothing.

        Raises:
            BankError: Other weights made it, or it is damaged.
        """
        if self.exists:
            load_bank(self.folder, weights_digest=weights_digest, name=self.name)

    def find_clip(self, clip: JudgedClip) -> Exemplar | None:
        """Return the exemplar of the same part of the same video; None if there is none.

        A video is the same by its path or, where ``clip`` has a digest, by its content.
        """
        if not self.exists:
            return None
        index = self.index
        there = (*index.exemplars, *index.waiting)
        of_path = next((each for each in there if _is_of(each, clip)), None)
        return of_path or next((each for each in there if _is_copy_of(each, clip)), None)

    def free_id(self, wanted: str, clip: JudgedClip | None) -> str:
        """Return an identifier that no exemplar of another clip has: the wanted one, or one with a number behind it."""
        taken: set[str] = set()
        if self.exists:
            index = self.index
            others = [each for each in (*index.exemplars, *index.waiting) if clip is None or not _is_of(each, clip)]
            taken = {exemplar.id for exemplar in others}
        candidates = (wanted, *(f"{wanted}-{number}" for number in range(2, len(taken) + 3)))
        return next(each for each in candidates if each not in taken)

    def put(
        self,
        exemplar: Exemplar,
        encoding: Encoding,
        picture: NDArray[np.uint8],
        *,
        weights_digest: str,
        rebuild: bool = False,
    ) -> Exemplar:
        """Add an exemplar, or replace the one of the same part of the same video.

        Args:
            exemplar: What it is, with its clip.
            encoding: Its encoding, length 1.
            picture: Its picture, uint8 [height, width, 3].
            weights_digest: Digest of the weights that encoded it.
            rebuild: Replace the one of the same identifier, and let the exemplars that other weights encoded wait,
                rather than refuse to mix them.

        Returns:
            What is stored: with its picture, and with another identifier if another video has it.

        Raises:
            BankError: Other weights made the bank.
            OutputError: It cannot be written, or another process changes it for a minute.
        """
        encoding = _kept_parts(encoding)
        with self._locked():
            if not rebuild and self.exists:
                exemplar = exemplar.model_copy(update={"id": self.free_id(exemplar.id, exemplar.clip)})
            thumbnail = f"{THUMBNAILS}/{exemplar.id}.jpg"
            exemplar = exemplar.model_copy(update={"thumbnail": thumbnail})
            exemplars: tuple[Exemplar, ...] = ()
            waiting: tuple[Exemplar, ...] = ()
            encodings = encoding
            if self.exists:
                index = self.index
                kept = tuple(place for place, each in enumerate(index.exemplars) if not _is_replaced(each, exemplar))
                if index.weights_digest == weights_digest or not rebuild:
                    bank = load_bank(self.folder, weights_digest=weights_digest, name=self.name).select(kept)
                    exemplars, encodings = bank.exemplars, Encoding.concat([bank.encodings, encoding])
                    waiting = index.waiting
                else:
                    waiting = (*(index.exemplars[place] for place in kept), *index.waiting)
            waiting = tuple(each for each in waiting if not _is_replaced(each, exemplar))
            write_thumbnail(picture, self.folder / thumbnail)
            save_bank(self.folder, (*exemplars, exemplar), encodings, weights_digest=weights_digest, waiting=waiting)
        return exemplar

    def relabel(self, exemplar: Exemplar) -> None:
        """Replace what is known of an exemplar; its encoding stays.

        Raises:
            BankError: There is none of that identifier.
            OutputError: As for ``put``.
        """
        with self._locked():
            index = self.index
            index.find(exemplar.id, self.name)
            changed = tuple(exemplar if each.id == exemplar.id else each for each in index.exemplars)
            self._save(index, range(len(index.exemplars)), replaced=changed)

    def remove(self, exemplar_id: str) -> Exemplar:
        """Remove an exemplar and return it.

        Raises:
            BankError: There is none of that identifier.
            OutputError: As for ``put``.
        """
        _ = self.index  # there is none to lock
        with self._locked():
            index = self.index
            found = next((each for each in (*index.exemplars, *index.waiting) if each.id == exemplar_id), None)
            if found is None:
                hint = f"see: finecausal exemplars list --bank {self.name}"
                raise BankError(f"no exemplar {exemplar_id!r}", where=self.name, hint=hint, kind="no_exemplar")
            self._save(index, [place for place, each in enumerate(index.exemplars) if each is not found], left=found)
            return found

    def _save(
        self,
        index: BankIndex,
        kept: Sequence[int],
        *,
        replaced: Sequence[Exemplar] | None = None,
        left: Exemplar | None = None,
    ) -> None:
        bank = load_bank(self.folder, weights_digest=index.weights_digest, name=self.name).select(list(kept))
        save_bank(
            self.folder,
            replaced or bank.exemplars,
            bank.encodings,
            weights_digest=index.weights_digest,
            waiting=[each for each in index.waiting if each is not left],
        )

    @contextmanager
    def _locked(self) -> Iterator[None]:
        from filelock import FileLock, Timeout

        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with FileLock(self.folder / _LOCK_NAME, timeout=60):
                yield
        except Timeout:
            raise OutputError("another process is changing the bank", where=self.folder, hint="try again") from None
        except OSError as error:
            what = f"the bank cannot be changed: {error.strerror or error}"
            raise OutputError(what, where=self.folder, hint="check the folder and its rights") from None


def _is_of(exemplar: Exemplar, clip: JudgedClip) -> bool:
    return exemplar.clip is not None and exemplar.clip.key == clip.key


def _is_copy_of(exemplar: Exemplar, clip: JudgedClip) -> bool:
    known = exemplar.clip
    return (
        known is not None and clip.sha256 is not None and (known.sha256, *known.key[1:]) == (clip.sha256, *clip.key[1:])
    )


def _is_replaced(exemplar: Exemplar, by: Exemplar) -> bool:
    return exemplar.id == by.id or (by.clip is not None and _is_of(exemplar, by.clip))


def _kept_parts(encoding: Encoding) -> Encoding:
    """Return the parts of an encoding that a bank keeps, as float32 on the CPU."""
    kept = Encoding(video=encoding.video, mask=encoding.mask, frames=encoding.frames)
    return kept.map(lambda tensor: tensor.detach().float().cpu())


# How well one's own exemplars are predicted, each by the bank without itself, and the calibration that follows.

_PAIRS_NAME: Final = "leave-one-out.json"
"""Differences of pairs that were computed before: ten pairs take about 0.1 s on a core."""

_TOGETHER: Final = 8
"""Dives that are compared in one pass."""


def leave_one_out(
    model: FineCausal,
    bank: Bank,
    *,
    device: torch.device | str = "cpu",
    calibrate: bool = True,
    pairs: PairDifferences | None = None,
) -> LeaveOneOut | None:
    """Predict each exemplar of one's own by the bank without itself, and calibrate votes by the errors.

    Votes of exemplars from elsewhere are calibrated, by what their bank predicts of one's own dives; one's own votes
    are at home already.

    Args:
        model: The network, in evaluation mode.
        bank: The exemplars, not calibrated yet.
        device: Where to compute.
        calibrate: Fit calibrations; otherwise the errors stay those of the votes as they are.
        pairs: Differences of pairs of this bank; by default they are computed and kept beside the first bank of one's
            own.

    Returns:
        None without exemplars of one's own.
    """
    own = bank.own
    if not own:
        return None
    pairs = pairs or PairDifferences(model, bank, device)
    executions = np.array([exemplar.execution for exemplar in bank.exemplars])
    home = {bank.part_index(index) for index in own}
    foreign = [place for place, part in enumerate(bank.parts) if place not in home and part.count]
    voters = {index: _voters(bank, index) for index in own}
    own = tuple(index for index in own if voters[index])
    if not own:
        return None
    alone = {place: {index: _voters(bank, index, place) for index in own} for place in foreign}
    pairs.compute({index: {*voters[index], *(j for part in alone.values() for j in part[index])} for index in own})

    def vote(index: int, chosen: Sequence[int]) -> NDArray[np.float64]:
        return executions[list(chosen)] + [pairs.delta(index, voter) for voter in chosen]

    judged = executions[list(own)]
    before = np.array([vote(index, voters[index]).mean() for index in own])
    calibrations: dict[int, Calibration] = {}
    without: dict[int, list[Calibration | None]] = {}
    if calibrate and len(own) >= FEWEST:
        for place in foreign:
            predicted = np.array([vote(index, alone[place][index]).mean() for index in own])
            calibrations[place] = fit_calibration(predicted, judged)
            without[place] = fit_without_each(predicted, judged)

    def corrected(row: int, index: int) -> float:
        votes = vote(index, voters[index])
        for column, voter in enumerate(voters[index]):
            calibration = without.get(bank.part_index(voter), [None] * len(own))[row]
            if calibration is not None:
                votes[column] = calibration.scale * votes[column] + calibration.offset
        return float(votes.mean())

    return LeaveOneOut(
        ids=tuple(bank.exemplars[index].id for index in own),
        difficulties=np.array([bank.exemplars[index].difficulty for index in own]),
        judged=judged,
        before=before,
        after=np.array([corrected(row, index) for row, index in enumerate(own)]),
        parts=tuple(part.name for part in bank.parts),
        calibrations=tuple(calibrations.get(place) for place in range(len(bank.parts))),
        is_wanted=calibrate,
        is_alone=not foreign,
    )


def calibrated(bank: Bank, judged: LeaveOneOut) -> Bank:
    """Return a bank whose votes are corrected."""
    if not judged.is_calibrated:
        return bank
    parts = tuple(replace(part, calibration=each) for part, each in zip(bank.parts, judged.calibrations, strict=True))
    return replace(bank, parts=parts, digest=hashlib.sha256(f"{bank.digest} calibrated".encode()).hexdigest())


def _voters(bank: Bank, index: int, place: int | None = None) -> tuple[int, ...]:
    """Return who votes on an exemplar: all other exemplars of the bank, or of one part; nobody if there are none."""
    members = [
        other
        for other in range(len(bank.exemplars))
        if other != index and (place is None or bank.part_index(other) == place)
    ]
    try:
        choice = choose_voters(bank.select(members), bank.encodings.select(index), dive=bank.exemplars[index].dive)
    except BankError:
        return ()
    return tuple(members[other] for other in choice.indices)


class PairDifferences:
    """Differences of pairs of exemplars, execution units; kept beside the first bank of one's own.

    Args:
        model: The network, in evaluation mode.
        bank: The exemplars.
        device: Where to compute.
    """

    def __init__(self, model: FineCausal, bank: Bank, device: torch.device | str) -> None:
        self._model, self._bank, self._device = model, bank, device
        folder = bank.part_of(bank.own[0]).folder
        self._file = None if folder is None else folder / _PAIRS_NAME
        self._names: dict[int, str] = {}
        self._known = {} if self._file is None else _read_pairs(self._file, bank.weights_digest)

    def name(self, index: int) -> str:
        """Name an encoding by its content."""
        if index not in self._names:
            encoding = self._bank.encodings.select(index)
            content = b"".join(part.contiguous().numpy().tobytes() for part in (encoding.video, encoding.mask))
            self._names[index] = hashlib.sha256(content).hexdigest()[:20]
        return self._names[index]

    def delta(self, index: int, voter: int) -> float:
        """Return how much better one exemplar is than another."""
        return float(self._known[self.name(index)][self.name(voter)])

    def compute(self, wanted: dict[int, set[int]]) -> None:
        """Compare what was not compared before, and keep it."""
        missing = {
            index: sorted(voter for voter in voters if self.name(voter) not in self._known.get(self.name(index), {}))
            for index, voters in wanted.items()
        }
        todo = [index for index, voters in missing.items() if voters]
        for first in range(0, len(todo), _TOGETHER):
            batch = todo[first : first + _TOGETHER]
            queries = [self._bank.encodings.select(index).to(self._device) for index in batch]
            voted = compare_with_exemplars(self._model, queries, self._bank, [missing[index] for index in batch])
            for index, votes in zip(batch, voted, strict=True):
                row = self._known.setdefault(self.name(index), {})
                for voter, delta in zip(missing[index], votes.pairs.delta[:, 0].tolist(), strict=True):
                    row[self.name(voter)] = float(delta)
        if todo:
            self._keep()

    def _keep(self) -> None:
        """Keep the pairs of exemplars that are still there; a folder that cannot be written to is left as it is."""
        if self._file is None:
            return
        present = {self.name(index) for index in self._bank.own}
        gone = self._known.keys() - present  # voters of a bank that does not vote now are not among them
        pairs = {
            name: {voter: delta for voter, delta in row.items() if voter not in gone}
            for name, row in self._known.items()
            if name in present
        }
        with suppress(OutputError), atomic_write(self._file, "the differences of pairs") as part:
            part.write_text(json.dumps({"weights": self._bank.weights_digest, "pairs": pairs}) + "\n", encoding="utf-8")


def _read_pairs(file: Path, weights_digest: str) -> dict[str, dict[str, float]]:
    """Read differences of pairs by the names of their encodings; none where they are damaged or of other weights."""
    try:
        stored = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    if not isinstance(stored, dict) or stored.get("weights") != weights_digest:
        return {}
    pairs = stored.get("pairs")
    if not isinstance(pairs, dict) or not all(isinstance(row, dict) for row in pairs.values()):
        return {}
    deltas = [delta for row in pairs.values() for delta in row.values()]
    return pairs if all(isinstance(delta, float) and math.isfinite(delta) for delta in deltas) else {}
