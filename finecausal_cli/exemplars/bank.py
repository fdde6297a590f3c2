"""A bank of exemplars: judged dives, encoded once.

On disk a bank is a folder: ``bank.json`` (what each exemplar is), ``encodings-*.safetensors`` (what the network made
of it) and ``thumbnails/``. Encodings only mean something to the weights that made them, so a bank names those. The
file of encodings is named by its content and the index is replaced last, so an interrupted build leaves the old bank.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load as parse_tensors
from safetensors.torch import save as serialise_tensors
from torch import Tensor

from finecausal_cli.errors import BankError
from finecausal_cli.model.outputs import Encoding
from finecausal_cli.whole_file import whole_file

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

FORMAT_VERSION: Final = 1

THUMBNAILS: Final = "thumbnails"
"""Folder of the exemplars' pictures in that of the bank."""

INDEX_NAME = "bank.json"


class Exemplar(BaseModel):
    """A judged dive that others are measured against."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    id: str = Field(min_length=1)
    dive: str | None = Field(description="Dive number.")
    height_m: float | None
    difficulty: float = Field(gt=0)
    execution: float = Field(ge=0, le=30, description="Final score / difficulty.")
    thumbnail: str | None = Field(default=None, description="Picture, relative to the bank's folder.")
    origin: str = Field(default="", description="Where the dive comes from, in words.")


class BankIndex(BaseModel):
    """What a bank holds, without the encodings: the content of ``bank.json``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format_version: Literal[1] = FORMAT_VERSION
    weights_digest: str
    encodings_sha256: str = Field(pattern="^[0-9a-f]{64}$")
    exemplars: tuple[Exemplar, ...]

    @property
    def encodings_name(self) -> str:
        """Name of the file that holds the encodings."""
        return f"encodings-{self.encodings_sha256[:16]}.safetensors"

    def find(self, exemplar_id: str, bank: str) -> Exemplar:
        """Return the exemplar of that name.

        Raises:
            BankError: There is none; names the bank.
        """
        for exemplar in self.exemplars:
            if exemplar.id == exemplar_id:
                return exemplar
        raise BankError(f"no exemplar {exemplar_id!r}", where=bank, hint="see: finecausal exemplars list")


@dataclass(frozen=True)
class Bank:
    """Exemplars and their encodings, in one order.

    Attributes:
        name: Name or folder, for people.
        exemplars: What each one is.
        encodings: Their encodings, stacked: video and mask [exemplars, 9, D].
        weights_digest: Digest of the weights that encoded them.
        digest: Digest of the bank itself.
    """

    name: str
    exemplars: tuple[Exemplar, ...]
    encodings: Encoding
    weights_digest: str
    digest: str = "in memory"

    def __post_init__(self) -> None:
        if len(self.exemplars) != len(self.encodings):
            raise BankError(
                f"{len(self.exemplars)} exemplars and {len(self.encodings)} encodings",
                where=self.name,
                hint="rebuild it",
            )
        repeated = [name for name, count in Counter(one.id for one in self.exemplars).items() if count > 1]
        if repeated:
            raise BankError(f"two exemplars of the name {repeated[0]!r}", where=self.name, hint="rebuild it")

    def place(self, exemplar_id: str) -> int:
        """Return the place of an exemplar.

        Raises:
            BankError: There is none of that name.
        """
        for place, exemplar in enumerate(self.exemplars):
            if exemplar.id == exemplar_id:
                return place
        what = f"no exemplar {exemplar_id!r}"
        raise BankError(what, where=self.name, hint="see: finecausal exemplars list", kind="no_exemplar")

    def of_dive(self, dive: str) -> tuple[int, ...]:
        """Return the places of all exemplars of one dive number."""
        return tuple(place for place, exemplar in enumerate(self.exemplars) if exemplar.dive == dive)


def save_bank(
    folder: Path,
    exemplars: Sequence[Exemplar],
    encodings: Encoding,
    *,
    weights_digest: str,
) -> None:
    """Write a bank; an interruption leaves either the old one or the new one.

    Raises:
        OutputError: The folder cannot be written.
    """
    data = serialise_tensors({name: tensor.contiguous().cpu() for name, tensor in _tensors(encodings).items()})
    digest = hashlib.sha256(data).hexdigest()
    index = BankIndex(weights_digest=weights_digest, encodings_sha256=digest, exemplars=tuple(exemplars))
    with whole_file(folder / index.encodings_name, "the bank") as part:
        part.write_bytes(data)
    with whole_file(folder / INDEX_NAME, "the bank") as part:
        part.write_text(index.model_dump_json(indent=1) + "\n", encoding="utf-8")
    named = {index.encodings_name, *(one.thumbnail for one in exemplars)}
    for stale in (*folder.glob("encodings-*.safetensors"), *folder.glob(f"{THUMBNAILS}/*.jpg")):
        if stale.relative_to(folder).as_posix() not in named:
            stale.unlink(missing_ok=True)


def load_bank(folder: Path, *, weights_digest: str) -> Bank:
    """Read a bank and refuse one that other weights made.

    Args:
        folder: The bank.
        weights_digest: Digest of the weights that will compare against it.

    Raises:
        BankError: It is missing, damaged, of a newer format, or made by other weights.
    """
    index = read_index(folder)
    tensors_path = folder / index.encodings_name
    try:
        raw = tensors_path.read_bytes()
        if hashlib.sha256(raw).hexdigest() != index.encodings_sha256:
            raise ValueError("not what the index was written for")
        encodings = _encoding(parse_tensors(raw))
    except (SafetensorError, ValueError) as error:
        raise BankError(f"damaged encodings: {error}", where=tensors_path, hint="rebuild it") from None
    except OSError as error:
        raise BankError(f"cannot be read: {error.strerror}", where=tensors_path) from None
    if index.weights_digest != weights_digest:
        raise BankError(
            f"made by other weights ({index.weights_digest[:12]}, these are {weights_digest[:12]})",
            where=folder,
            hint="rebuild the bank with these weights: finecausal exemplars build",
        )
    if not all(bool(torch.isfinite(tensor).all()) for tensor in _tensors(encodings).values()):
        raise BankError("encodings that are not finite numbers", where=tensors_path, hint="rebuild it")
    digest = hashlib.sha256(index.model_dump_json().encode()).hexdigest()
    return Bank(folder.name, index.exemplars, encodings, index.weights_digest, digest)


def read_index(folder: Path) -> BankIndex:
    """Read what a bank holds, without its encodings.

    Raises:
        BankError: It is missing, damaged or of a newer format.
    """
    path = folder / INDEX_NAME
    try:
        return BankIndex.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise BankError(_first_problem(error), where=path, hint="rebuild it") from None
    except OSError as error:
        raise BankError(
            f"no bank to read: {error.strerror}", where=path, hint="make one with: finecausal exemplars build"
        ) from None


def _tensors(encodings: Encoding) -> dict[str, Tensor]:
    tensors = {"video": encodings.video, "mask": encodings.mask}
    return tensors if encodings.frames is None else {**tensors, "frames": encodings.frames}


def _encoding(tensors: dict[str, Tensor]) -> Encoding:
    """Check names and shapes against each other; the digest of the weights vouches for the rest."""
    odd = {"video", "mask"}.difference(tensors) or set(tensors).difference({"video", "mask", "frames"})
    if odd:
        raise ValueError(f"{'missing' if odd.isdisjoint(tensors) else 'unknown'} tensor {min(odd)!r}")
    video, mask = tensors["video"], tensors["mask"]
    if video.ndim != 3 or video.shape != mask.shape:
        raise ValueError(f"video is {list(video.shape)} and mask {list(mask.shape)}, not both [exemplars, 9, D]")
    frames = tensors.get("frames")
    if frames is not None and (frames.ndim != 3 or len(frames) != len(video)):
        raise ValueError(f"frames is {list(frames.shape)}, not [{len(video)}, 96, 512]")
    return Encoding(video=video, mask=mask, frames=frames)


def _first_problem(error: ValidationError) -> str:
    first = error.errors()[0]
    return f"{'.'.join(str(part) for part in first['loc']) or 'index'}: {first['msg']}"
