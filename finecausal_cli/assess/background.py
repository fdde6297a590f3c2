"""The same athlete before another background: does the score follow the dive or the place?"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from finecausal_cli.assess.explanation import BackgroundChange
from finecausal_cli.assess.foreground import THRESHOLD
from finecausal_cli.video.masks import widen
from finecausal_cli.video.picture import resize
from finecausal_cli.video.transform import crop

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from finecausal_cli.assess.explanation import BackgroundKind
    from finecausal_cli.assess.hearing import Hearing
    from finecausal_cli.exemplars.bank import Exemplar
    from finecausal_cli.model.outputs import Encoding
    from finecausal_cli.video.clip import Clip


@dataclass(frozen=True)
class Background:
    """A picture to put the athlete before.

    Attributes:
        kind: Where it comes from.
        description: That, in words.
        picture: uint8 [height, width, 3] of the clip's working size, RGB.
        exemplar: Whose thumbnail it is; None if nobody's.
    """

    kind: BackgroundKind
    description: str
    picture: NDArray[np.uint8]
    exemplar: str | None = None


def change_backgrounds(
    hearing: Hearing,
    clip: Clip,
    probabilities: NDArray[np.float32],
    backgrounds: Sequence[Background],
    encode: Callable[[Clip], Encoding],
    entry_frame: int,
) -> tuple[BackgroundChange, ...]:
    """Put the predicted athlete before each background in turn, encode again and let the same voters vote.

    Twice each: in the whole clip, which wipes out the splash too, and in the frames before the entry only.

    Args:
        hearing: The dive and its voters.
        clip: The clip.
        probabilities: [96, size, size], the athlete in the crop in its centre.
        backgrounds: What to put behind.
        encode: Encodes a clip.
        entry_frame: Sampled frame at which the entry starts.
    """
    athlete = widen(probabilities > THRESHOLD)
    found = []
    for background, end_frame in product(backgrounds, dict.fromkeys((len(clip.frames), entry_frame))):
        changed = _place_before(clip, athlete, background.picture, end_frame)
        score = hearing.score_again(encode(changed))
        words = background.description
        found.append(
            BackgroundChange(
                background=background.kind,
                description=words if end_frame == len(clip.frames) else f"{words}, before the entry only",
                exemplar=background.exemplar,
                score=score,
                change=score - hearing.score,
                end_frame=end_frame,
            )
        )
    return tuple(found)


def find_backgrounds(
    hearing: Hearing, clip: Clip, probabilities: NDArray[np.float32], bank_folder: Path | None
) -> tuple[list[Background], list[str]]:
    """Gather the backgrounds that are to be had, and say which are not.

    Args:
        hearing: The dive and its voters.
        clip: The clip.
        probabilities: [96, size, size], the athlete in the crop in its centre.
        bank_folder: Where the bank's thumbnails lie; None if nowhere.
    """
    size = clip.frames.shape[1:3]
    voters = [hearing.bank.exemplars[place] for place in hearing.places]
    read = [(one, _thumbnail(bank_folder, one, (size[0], size[1]))) for one in voters]
    pictures = [(one, picture) for one, picture in read if picture is not None]
    found, missing = [], []
    if pictures:
        mean = np.stack([picture for _, picture in pictures]).mean(axis=0).round().astype(np.uint8)
        words = (
            "mean picture of the voter's thumbnail"
            if len(pictures) == 1
            else (f"mean picture of {len(pictures)} voters' thumbnails")
        )
        found.append(Background("bank_mean", words, mean))
        exemplar, picture = pictures[0]
        words = f"thumbnail of exemplar {exemplar.id}, its athlete still in it"
        found.append(Background("exemplar", words, picture, exemplar.id))
    else:
        own, colour = _without_athlete(clip, widen(probabilities > THRESHOLD))
        plain = np.broadcast_to(colour, own.shape)
        found.append(Background("own_mean", "the clip's own mean picture without the athlete, held still", own))
        found.append(Background("own_colour", "the mean colour of the clip's own background", plain))
        missing.append("the bank has no pictures of the voters: the background is replaced by the clip's own only")
    return found, missing


def _place_before(clip: Clip, athlete: NDArray[np.bool_], picture: NDArray[np.uint8], end_frame: int) -> Clip:
    """Put the athlete before a picture in the frames up to ``end_frame``."""
    frames = clip.frames.copy()
    frames[:end_frame] = picture
    size = athlete.shape[1]
    np.copyto(crop(frames, size), crop(clip.frames, size), where=athlete[..., None])
    return replace(clip, frames=frames)


def _without_athlete(clip: Clip, athlete: NDArray[np.bool_]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return the mean picture and the mean colour of a clip's background.

    Both are of the square that the network sees, whatever more of the picture was kept. Outside it, and where the
    athlete never leaves, the picture has the mean colour.
    """
    free = np.zeros(clip.frames.shape[:3], np.float64)
    crop(free, athlete.shape[1])[:] = ~athlete
    seen = free.sum(axis=0)[..., None]
    total = np.einsum("fhw,fhwc->hwc", free, clip.frames.astype(np.float64))
    colour = total.sum(axis=(0, 1)) / max(float(seen.sum()), 1.0)
    mean = np.where(seen > 0, total / np.maximum(seen, 1), colour)
    return mean.round().astype(np.uint8), colour.round().astype(np.uint8)


def _thumbnail(folder: Path | None, exemplar: Exemplar, size: tuple[int, int]) -> NDArray[np.uint8] | None:
    """Read an exemplar's picture at a clip's working size; None where there is none to read inside the bank."""
    if folder is None or exemplar.thumbnail is None:
        return None
    path = (folder / exemplar.thumbnail).resolve()
    if not path.is_relative_to(folder.resolve()):
        return None
    try:
        with Image.open(path) as image:
            return _cover(np.asarray(image.convert("RGB")), size)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return None


def _cover(picture: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Scale a picture until it covers a size, its aspect kept, and cut the middle."""
    height, width = picture.shape[:2]
    scale = max(size[0] / height, size[1] / width)
    tall, wide = max(size[0], round(height * scale)), max(size[1], round(width * scale))
    top, left = (tall - size[0]) // 2, (wide - size[1]) // 2
    return resize(picture, (tall, wide), "fit")[top : top + size[0], left : left + size[1]]
