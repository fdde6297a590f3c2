"""Exemplar banks: select, encode, store and load."""

from __future__ import annotations

import hashlib
import logging
from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
import torch
from PIL import Image, ImageDraw
from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, ValidationError, model_serializer
from safetensors import SafetensorError
from safetensors.torch import load as parse_tensors
from safetensors.torch import save as serialise_tensors
from torch import Tensor

from finecausal_cli.athlete import BONES
from finecausal_cli.atomic import atomic_write
from finecausal_cli.data.batch import network_input
from finecausal_cli.data.cache import NO_TRANSITION, ClipArrays, DiveInputs
from finecausal_cli.errors import BankError, NoTrackError
from finecausal_cli.model.outputs import Encoding
from finecausal_cli.video import SNIPPET_FRAMES, SNIPPET_STARTS, crop

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from finecausal_cli.athlete.track import BodyTrack
    from finecausal_cli.data import Dive
    from finecausal_cli.model.finecausal import FineCausal
    from finecausal_cli.retrieval import BankOptions
    from finecausal_cli.retrieval.calibration import Calibration

logger = logging.getLogger(__name__)


# A bank of exemplars: judged dives, encoded once.
#
# On disk a bank is a folder: ``bank.json`` (what each exemplar is), ``encodings-*.safetensors`` (what the network
# made of it) and ``thumbnails/``. Encodings only mean something to the weights that made them, so a bank names those.
# The file of encodings is named by its content and the index is replaced last, so an interrupted build leaves the old
# bank.

FORMAT_VERSION: Final = 1

THUMBNAILS: Final = "thumbnails"
"""Folder of the exemplars' pictures in that of the bank."""

INDEX_NAME = "bank.json"


class JudgedClip(BaseModel):
    """The video of an exemplar of one's own: what it takes to encode it again, and what else is known of the dive.

    Times are seconds of the file.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    path: str = Field(min_length=1, description="Absolute path of the video file or folder of frames.")
    start_s: float | None = Field(default=None, description="Where the part begins that was asked for.")
    end_s: float | None = Field(default=None, description="Where it ends.")
    takeoff_s: float | None = Field(default=None, description="When the athlete leaves the board.")
    entry_s: float | None = Field(default=None, description="When the athlete first touches the water.")
    athlete: str | None = Field(default=None, description="Who it is, as --athlete takes it.")
    force: bool = Field(default=False, description="Whether it was encoded though it would be refused.")
    sha256: str | None = Field(default=None, description="Digest of the file; None for a folder of frames.")
    judges: tuple[float, ...] = Field(default=(), description="The judges' marks.")
    diver: str | None = None
    date: str | None = None

    @property
    def key(self) -> tuple[str, float | None, float | None]:
        """Which part of which video it is."""
        return self.path, self.start_s, self.end_s


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
    clip: JudgedClip | None = Field(default=None, description="Its video; None for an exemplar of a built bank.")

    @property
    def score(self) -> float:
        """Final score as judged, points."""
        return self.execution * self.difficulty

    @model_serializer(mode="wrap")
    def _leave_out_no_clip(self, serialise: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Write what banks had before clips were kept, so that the digest of such a bank stays the same."""
        content: dict[str, Any] = serialise(self)
        return {name: value for name, value in content.items() if name != "clip" or value is not None}


class BankIndex(BaseModel):
    """What a bank holds, without the encodings: the content of ``bank.json``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format_version: Literal[1] = FORMAT_VERSION
    weights_digest: str
    encodings_sha256: str = Field(pattern="^[0-9a-f]{64}$")
    exemplars: tuple[Exemplar, ...]
    waiting: tuple[Exemplar, ...] = Field(
        default=(), description="Exemplars of one's own that these weights have not encoded yet; they do not vote."
    )

    @model_serializer(mode="wrap")
    def _leave_out_none_waiting(self, serialise: SerializerFunctionWrapHandler) -> dict[str, Any]:
        content: dict[str, Any] = serialise(self)
        return {name: value for name, value in content.items() if name != "waiting" or value}

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


@dataclass(frozen=True, slots=True)
class BankPart:
    """One of the banks that vote together.

    Attributes:
        name: Its name, for people.
        count: How many exemplars it has.
        folder: Where its thumbnails lie; None if nowhere.
        calibration: How the votes of its exemplars are corrected; None leaves them as they are.
    """

    name: str
    count: int
    folder: Path | None = None
    calibration: Calibration | None = None


@dataclass(frozen=True, repr=False)
class Bank:
    """Exemplars and their encodings, in one order.

    Attributes:
        name: Name or folder, for people.
        exemplars: What each one is.
        encodings: Their encodings, stacked: video and mask [exemplars, 9, D].
        weights_digest: Digest of the weights that encoded them.
        digest: Digest of the bank itself.
        parts: The banks that it was joined from, in the order in which they vote; itself unless it was joined.
    """

    name: str
    exemplars: tuple[Exemplar, ...]
    encodings: Encoding
    weights_digest: str
    digest: str = "in memory"
    parts: tuple[BankPart, ...] = ()

    def __post_init__(self) -> None:
        if not self.parts:
            object.__setattr__(self, "parts", (BankPart(self.name, len(self.exemplars)),))
        if len(self.exemplars) != len(self.encodings):
            raise BankError(
                f"{len(self.exemplars)} exemplars and {len(self.encodings)} encodings",
                where=self.name,
                hint="rebuild it",
            )
        repeated = [name for name, count in Counter(exemplar.id for exemplar in self.exemplars).items() if count > 1]
        if repeated:
            raise BankError(f"two exemplars of the name {repeated[0]!r}", where=self.name, hint="rebuild it")

    def __repr__(self) -> str:
        return f"Bank({self.name!r}, {len(self.exemplars)} exemplars, weights {self.weights_digest[:12]})"

    def index(self, exemplar_id: str) -> int:
        """Return the index of an exemplar.

        Raises:
            BankError: There is none of that name.
        """
        for index, exemplar in enumerate(self.exemplars):
            if exemplar.id == exemplar_id:
                return index
        what = f"no exemplar {exemplar_id!r}"
        raise BankError(what, where=self.name, hint="see: finecausal exemplars list", kind="no_exemplar")

    def of_dive(self, dive: str) -> tuple[int, ...]:
        """Return the indices of all exemplars of one dive number."""
        return tuple(index for index, exemplar in enumerate(self.exemplars) if exemplar.dive == dive)

    def select(self, indices: Sequence[int]) -> Bank:
        """Return some of the exemplars as a bank, in the order of the bank; it may be empty."""
        parts = [self.part_index(index) for index in indices]
        return replace(
            self,
            exemplars=tuple(self.exemplars[index] for index in indices),
            encodings=self.encodings.select(list(indices)),
            parts=tuple(replace(part, count=parts.count(place)) for place, part in enumerate(self.parts)),
        )

    @property
    def own(self) -> tuple[int, ...]:
        """Indices of the exemplars of one's own: those whose video is known."""
        return tuple(index for index, exemplar in enumerate(self.exemplars) if exemplar.clip is not None)

    def part_index(self, index: int) -> int:
        """Return which of the parts an exemplar is in."""
        for place, part in enumerate(self.parts):
            if index < part.count:
                return place
            index -= part.count
        raise IndexError(index)

    def part_of(self, index: int) -> BankPart:
        """Return the part that an exemplar is in."""
        return self.parts[self.part_index(index)]

    @classmethod
    def join(cls, banks: Sequence[Bank]) -> Bank:
        """Return banks as one; exemplars of the first one come first. An identifier that two use gets the bank's name.

        Args:
            banks: One or more, encoded by the same weights.
        """
        if len(banks) == 1:
            return banks[0]
        taken: set[str] = set()
        exemplars: list[Exemplar] = []
        for bank in banks:
            for exemplar in bank.exemplars:
                name = exemplar.id if exemplar.id not in taken else f"{bank.name}/{exemplar.id}"
                taken.add(name)
                exemplars.append(exemplar if name == exemplar.id else exemplar.model_copy(update={"id": name}))
        return cls(
            "+".join(bank.name for bank in banks),
            tuple(exemplars),
            Encoding.concat([bank.encodings for bank in banks]),
            banks[0].weights_digest,
            hashlib.sha256("+".join(bank.digest for bank in banks).encode()).hexdigest(),
            tuple(part for bank in banks for part in bank.parts),
        )


def save_bank(
    folder: Path,
    exemplars: Sequence[Exemplar],
    encodings: Encoding,
    *,
    weights_digest: str,
    waiting: Sequence[Exemplar] = (),
) -> None:
    """Write a bank; an interruption leaves either the old one or the new one.

    Args:
        folder: The bank.
        exemplars: What it holds.
        encodings: Their encodings, in the same order.
        weights_digest: Digest of the weights that made them.
        waiting: Exemplars of one's own without an encoding.

    Raises:
        OutputError: The folder cannot be written.
    """
    data = serialise_tensors({name: tensor.contiguous().cpu() for name, tensor in _tensors(encodings).items()})
    digest = hashlib.sha256(data).hexdigest()
    index = BankIndex(
        weights_digest=weights_digest, encodings_sha256=digest, exemplars=tuple(exemplars), waiting=tuple(waiting)
    )
    with atomic_write(folder / index.encodings_name, "the bank") as part:
        part.write_bytes(data)
    with atomic_write(folder / INDEX_NAME, "the bank") as part:
        part.write_text(index.model_dump_json(indent=1) + "\n", encoding="utf-8")
    named = {index.encodings_name, *(exemplar.thumbnail for exemplar in (*exemplars, *waiting))}
    for stale in (*folder.glob("encodings-*.safetensors"), *folder.glob(f"{THUMBNAILS}/*.jpg")):
        if stale.relative_to(folder).as_posix() not in named:
            stale.unlink(missing_ok=True)


def load_bank(folder: Path, *, weights_digest: str, name: str | None = None) -> Bank:
    """Read a bank and refuse one that other weights made.

    Args:
        folder: The bank.
        weights_digest: Digest of the weights that will compare against it.
        name: What to call it; the name of the folder when absent.

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
        is_own = any(exemplar.clip is not None for exemplar in (*index.exemplars, *index.waiting))
        command = f"finecausal exemplars {f'rebuild --bank {name or folder}' if is_own else 'build'}"
        raise BankError(
            f"made by other weights ({index.weights_digest[:12]}, these are {weights_digest[:12]})",
            where=folder,
            hint=f"rebuild the bank with these weights: {command}",
        )
    if not all(bool(torch.isfinite(tensor).all()) for tensor in _tensors(encodings).values()):
        raise BankError("encodings that are not finite numbers", where=tensors_path, hint="rebuild it")
    digest = hashlib.sha256(index.model_dump_json().encode()).hexdigest()
    logger.info("bank: %s, %d exemplars", folder, len(index.exemplars))
    name = name or folder.name
    if index.waiting:
        what = "note: %d exemplars of %s are not encoded by these weights: finecausal exemplars rebuild --bank %s"
        logger.warning(what, len(index.waiting), name, name)
    part = BankPart(name, len(index.exemplars), folder)
    return Bank(name, index.exemplars, encodings, index.weights_digest, digest, (part,))


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
    return Encoding(video=video, mask=mask, frames=frames).map(lambda tensor: tensor.float())


def _first_problem(error: ValidationError) -> str:
    first = error.errors()[0]
    return f"{'.'.join(str(part) for part in first['loc']) or 'index'}: {first['msg']}"


# Pick which judged dives become exemplars: a few of each number, spread over the range of execution.


def spread_exemplars(dives: Sequence[Dive], per_number: int) -> list[Dive]:
    """Choose up to ``per_number`` dives of each number: the middle one of as many equal parts by rank of execution.

    So among many dives the extremes are not chosen: a failed dive, say, whose 0 tells nothing of what was done well.

    Args:
        dives: Dives with scores.
        per_number: Most dives of one number, 1 or more.

    Returns:
        The chosen dives, by number, then by execution.
    """
    by_number: dict[str, list[Dive]] = defaultdict(list)
    for dive in dives:
        by_number[dive.number or ""].append(dive)
    chosen: list[Dive] = []
    for _, members in sorted(by_number.items()):
        ranked = sorted(members, key=lambda dive: (dive.execution, dive.key))
        count = min(per_number, len(ranked))
        ranks = [int((part + 0.5) * len(ranked) / count) for part in range(count)]
        chosen += [ranked[rank] for rank in ranks]
    return chosen


# Encode the dives of a dataset, each once.


@dataclass(frozen=True, slots=True)
class ForegroundCounts:
    """Pixels of the athlete in all snippets of one dive.

    Attributes:
        true: In the mask.
        predicted: In the prediction (probability above one half).
        both: In both.
    """

    true: int
    predicted: int
    both: int


@dataclass(frozen=True)
class EncodedDives:
    """Dives with their encodings and their true transitions.

    Attributes:
        dives: The dives.
        encodings: Stacked in the same order.
        transitions: True sampled frames of flight and entry; None where unknown.
        foreground: Overlap of each predicted foreground with its mask; None without a mask or unless requested.
    """

    dives: tuple[Dive, ...]
    encodings: Encoding
    transitions: tuple[tuple[int, int] | None, ...]
    foreground: tuple[ForegroundCounts | None, ...]


def encode_dives(
    model: FineCausal,
    dives: Sequence[Dive],
    cache: DiveInputs,
    *,
    foreground: bool = False,
    advance: Callable[[], object] = lambda: None,
    refused: list[str] | None = None,
) -> EncodedDives:
    """Encode dives one by one with the centre crop of inference.

    Args:
        model: The network, in evaluation mode.
        dives: What to encode.
        cache: Where their clips come from.
        foreground: Also measure the predicted foreground against the masks.
        advance: Called after each dive.
        refused: Takes the keys of dives in which a network that reads bodies is shown no whole dive; they are left
            out. Without it, the first one ends all.

    Raises:
        VideoError: A dive cannot be read.
    """
    encodings: list[Encoding] = []
    transitions: list[tuple[int, int] | None] = []
    counts: list[ForegroundCounts | None] = []
    device = next(model.parameters()).device
    kept: list[Dive] = []
    for dive in dives:
        try:
            arrays = cache.load(dive)
        except NoTrackError:
            if refused is None:
                raise
            refused.append(dive.key)
            advance()
            continue
        kept.append(dive)
        with torch.inference_mode():
            encoding = model.encode(
                network_input(arrays, model.config.frame_size).to(device),
                foreground="fused" if foreground and arrays.mask is not None else "none",
            )
        counts.append(_count(encoding, arrays, model.config.frame_size))
        encodings.append(replace(encoding, foreground=None))
        transitions.append(None if NO_TRANSITION in arrays.transitions else arrays.transitions)
        advance()
    if not kept:
        raise BankError("no dive could be read", hint="finecausal score says why of each")
    return EncodedDives(tuple(kept), Encoding.concat(encodings), tuple(transitions), tuple(counts))


def _count(encoding: Encoding, arrays: ClipArrays, frame_size: int) -> ForegroundCounts | None:
    if encoding.foreground is None or arrays.mask is None:
        return None
    mask: NDArray[np.uint8] = crop(arrays.mask, frame_size)
    true = np.stack([mask[start : start + SNIPPET_FRAMES] for start in SNIPPET_STARTS]).astype(bool)
    predicted = (encoding.foreground[-1][0] > 0).cpu().numpy()
    return ForegroundCounts(int(true.sum()), int(predicted.sum()), int((true & predicted).sum()))


# Build a bank from judged dives: choose, encode, take a picture, save.

_THUMBNAIL_QUALITY = 80


def build_bank(
    dives: Sequence[Dive],
    folder: Path,
    options: BankOptions,
    *,
    model: FineCausal,
    weights_digest: str,
    cache: DiveInputs,
    total: Callable[[int], object] = lambda count: None,  # noqa: ARG005
    advance: Callable[[], object] = lambda: None,
) -> Bank:
    """Make a bank of a few dives of each number.

    Args:
        dives: Judged dives to choose from; those without a score or a number are passed over.
        folder: Where the bank goes.
        options: How many exemplars, and where the dives come from.
        model: The network, in evaluation mode.
        weights_digest: Digest of its weights.
        cache: Where the clips come from.
        total: Called once with the number of exemplars.
        advance: Called after each encoded dive.

    Raises:
        BankError: No dive has both a score and a number.
        OutputError: The folder cannot be written.
    """
    chosen = spread_exemplars([dive for dive in dives if dive.score is not None and dive.number], options.per_number)
    if not chosen:
        raise BankError("no dive with a score and a dive number to build from", where=folder)
    total(len(chosen))
    encoded = encode_dives(model, chosen, cache, advance=advance)
    exemplars = []
    for dive, exemplar_id in zip(chosen, _names(chosen), strict=True):
        thumbnail = f"{THUMBNAILS}/{exemplar_id}.jpg"
        _take_thumbnail(dive, cache, folder / thumbnail)
        exemplars.append(
            Exemplar(
                id=exemplar_id,
                dive=dive.number,
                height_m=dive.height_m,
                difficulty=dive.difficulty,
                execution=dive.execution,
                thumbnail=thumbnail,
                origin=options.origin,
            )
        )
    save_bank(folder, exemplars, encoded.encodings, weights_digest=weights_digest)
    return load_bank(folder, weights_digest=weights_digest)


def _take_thumbnail(dive: Dive, cache: DiveInputs, path: Path) -> None:
    """Take the picture in the middle of the flight, or of the clip where the flight is not known."""
    arrays = cache.load(dive)
    flight, entry = arrays.transitions
    if arrays.track is not None:
        with atomic_write(path, "a thumbnail") as part:
            draw_body(arrays.track, (flight + entry) // 2).save(part, format="JPEG", quality=_THUMBNAIL_QUALITY)
        return
    frame = (flight + entry) // 2 if flight >= 0 and entry >= 0 else len(arrays.frames) // 2
    write_thumbnail(arrays.frames[frame], path)


def write_thumbnail(picture: NDArray[np.uint8], path: Path) -> None:
    """Write the picture of an exemplar, uint8 [height, width, 3], as JPEG."""
    with atomic_write(path, "a thumbnail") as part:
        Image.fromarray(picture).save(part, format="JPEG", quality=_THUMBNAIL_QUALITY)


def draw_body(track: BodyTrack, frame: int, side: int = 112) -> Image.Image:
    """Draw the joints of one frame as a figure of lines, in a square of 2.4 m."""
    picture = Image.new("RGB", (side, side), (18, 42, 66))
    pen = ImageDraw.Draw(picture)
    middle = track.joints_m[frame].mean(axis=0)
    points = (track.joints_m[frame] - middle) * np.array([1, -1]) * side / 2.4 + side / 2
    for first, last in BONES:
        pen.line([tuple(points[first].tolist()), tuple(points[last].tolist())], fill=(240, 240, 235), width=3)
    return picture


def _names(dives: Sequence[Dive]) -> list[str]:
    """Name the exemplars; keys that differ only in what a name cannot hold are told apart by a digest."""
    names = [f"{dive.number}-{slug(dive.key)}" for dive in dives]
    counts = Counter(names)
    return [
        name if counts[name] == 1 else f"{name}-{hashlib.sha256(dive.key.encode()).hexdigest()[:8]}"
        for name, dive in zip(names, dives, strict=True)
    ]


def slug(key: str) -> str:
    """Turn a dive's key into a name that suits a file and a command line."""
    stem = key.rsplit(".", 1)[0]
    return "".join(char if char.isascii() and char.isalnum() else "-" for char in stem).strip("-")
