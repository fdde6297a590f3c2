"""Weights and their bank as bytes, to be loaded where there is no common disk."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from finecausal_cli.assess.scorer import Scorer
from finecausal_cli.errors import FinecausalError
from finecausal_cli.exemplars.bank import INDEX_NAME, read_index
from finecausal_cli.weights.manifest import CONFIG_NAME, read_manifest
from finecausal_cli.weights.registry import bank_folder, resolve_weights


@dataclass(frozen=True, slots=True)
class Parcel:
    """Everything that judging needs, and nothing else: no thumbnails, no model card.

    Attributes:
        weights_name: Name of the folder of weights: rows carry it.
        weights: Its files by name.
        bank_name: Name of the bank's folder: rows carry it too.
        bank: Its files by name.
    """

    weights_name: str
    weights: dict[str, bytes]
    bank_name: str
    bank: dict[str, bytes]

    @classmethod
    def pack(cls, weights: str, bank: Path | None = None) -> Parcel:
        """Read the files of weights and bank; they are checked where they are unpacked.

        Args:
            weights: Name of bundled weights, or a folder.
            bank: Another bank; the weights' own when absent.

        Raises:
            WeightsError: There are no such weights.
            BankError: There is no such bank.
            FinecausalError: A file cannot be read.
        """
        folder = resolve_weights(weights)
        shelf = bank or bank_folder(folder)
        return cls(
            folder.name,
            _read(folder, [CONFIG_NAME, *read_manifest(folder).shards]),
            shelf.name,
            _read(shelf, [INDEX_NAME, read_index(shelf).encodings_name]),
        )

    def unpack(self, *, device: str, precision: str) -> Scorer:
        """Load what was packed; the files are on the disk only meanwhile.

        Raises:
            WeightsError: The weights cannot be trusted.
            BankError: The bank is damaged or of other weights.
            UsageError: The device or precision is not to be had.
        """
        with tempfile.TemporaryDirectory(prefix="finecausal-") as place:
            weights = _write(Path(place, "weights"), self.weights_name, self.weights)
            bank = _write(Path(place, "bank"), self.bank_name, self.bank)
            return Scorer.load(str(weights), bank=bank, device=device, precision=precision)


def _read(folder: Path, names: list[str]) -> dict[str, bytes]:
    try:
        return {name: (folder / name).read_bytes() for name in names}
    except OSError as error:
        raise FinecausalError(f"cannot be read: {error.strerror}", where=error.filename) from None


def _write(parent: Path, name: str, files: dict[str, bytes]) -> Path:
    # A folder given as "." or ".." has no name of its own.
    folder = parent / (name if name not in ("", "..") else "here")
    folder.mkdir(parents=True)
    for file, content in files.items():
        (folder / file).write_bytes(content)
    return folder
