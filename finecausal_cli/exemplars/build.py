"""Build a bank from judged dives: choose, encode, take a picture, save."""

from __future__ import annotations

import hashlib
from collections import Counter
from typing import TYPE_CHECKING

from PIL import Image

from finecausal_cli.errors import BankError
from finecausal_cli.exemplars.bank import THUMBNAILS, Bank, Exemplar, load_bank, save_bank
from finecausal_cli.exemplars.encode import encode_dives
from finecausal_cli.exemplars.select import spread_exemplars
from finecausal_cli.whole_file import whole_file

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from finecausal_cli.data.cache import ClipCache
    from finecausal_cli.data.dive import Dive
    from finecausal_cli.model.finecausal import FineCausal

_THUMBNAIL_QUALITY = 80


def build_bank(
    dives: Sequence[Dive],
    folder: Path,
    *,
    model: FineCausal,
    weights_digest: str,
    cache: ClipCache,
    per_number: int,
    origin: str,
    advance: Callable[[], object] = lambda: None,
) -> Bank:
    """Make a bank of a few dives of each number.

    Args:
        dives: Judged dives to choose from; those without a score or a number are passed over.
        folder: Where the bank goes.
        model: The network, in evaluation mode.
        weights_digest: Digest of its weights.
        cache: Where the clips come from.
        per_number: Most exemplars of one number.
        origin: Where the dives come from, in words; kept with each exemplar.
        advance: Called after each encoded dive.

    Raises:
        BankError: No dive has both a score and a number.
        OutputError: The folder cannot be written.
    """
    chosen = spread_exemplars([dive for dive in dives if dive.score is not None and dive.number], per_number)
    if not chosen:
        raise BankError("no dive with a score and a dive number to build from", where=folder)
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
                origin=origin,
            )
        )
    save_bank(folder, exemplars, encoded.encodings, weights_digest=weights_digest)
    return load_bank(folder, weights_digest=weights_digest)


def _take_thumbnail(dive: Dive, cache: ClipCache, path: Path) -> None:
    """Take the picture in the middle of the flight, or of the clip where the flight is not known."""
    arrays = cache.load(dive)
    flight, entry = arrays.transitions
    frame = (flight + entry) // 2 if flight >= 0 and entry >= 0 else len(arrays.frames) // 2
    with whole_file(path, "a thumbnail") as part:
        Image.fromarray(arrays.frames[frame]).save(part, format="JPEG", quality=_THUMBNAIL_QUALITY)


def _names(dives: Sequence[Dive]) -> list[str]:
    """Name the exemplars; keys that differ only in what a name cannot hold are told apart by a digest."""
    names = [f"{dive.number}-{_slug(dive.key)}" for dive in dives]
    taken = Counter(names)
    return [
        name if taken[name] == 1 else f"{name}-{hashlib.sha256(dive.key.encode()).hexdigest()[:8]}"
        for name, dive in zip(names, dives, strict=True)
    ]


def _slug(key: str) -> str:
    """Turn a dive's key into a name that suits a file and a command line."""
    stem = key.rsplit(".", 1)[0]
    return "".join(char if char.isascii() and char.isalnum() else "-" for char in stem).strip("-")
