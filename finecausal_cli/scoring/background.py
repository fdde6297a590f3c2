"""Foreground and background: mask of the athlete, and interventions on what lies behind."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise, product
from typing import TYPE_CHECKING

import cv2
import numpy as np
from PIL import Image

from finecausal_cli.scoring.results import BackgroundChange, Foreground
from finecausal_cli.video import CLIP_FRAMES, SNIPPET_FRAMES, SNIPPET_STARTS, centre_offset, crop, dilate, resize

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import Tensor

    from finecausal_cli.model.outputs import Encoding
    from finecausal_cli.retrieval.bank import Exemplar
    from finecausal_cli.retrieval.voting import VotingContext
    from finecausal_cli.scoring.athlete_track import AthleteTrack
    from finecausal_cli.scoring.results import BackgroundKind, Stage
    from finecausal_cli.video import Clip


# Where the network sees the athlete: masks of every sampled frame, and how much of the picture they take.

THRESHOLD = 0.5
"""Probability from which on a pixel counts as athlete."""


@dataclass(frozen=True)
class Evidence:
    """The pictures behind an explanation; kept in memory, never in the JSON.

    Attributes:
        frames: uint8 [96, height, width, 3], RGB, the sampled frames as they are before the crop.
        masks: uint8 [96, height, width], 1 where the athlete is predicted; 0 outside the square that the network sees.
        crop: Top, left, height and width of that square within ``frames``, in pixels; of the first frame where it
            moves.
        source_frames: int64 [96], frame index in the source of each sampled frame.
        fps: Frames a second of the source.
        times_s: float64 [96], when each sampled frame is shown, seconds; at an even pace when absent.
        squares: int64 [96, 4], that square in each frame, where a virtual camera moves it; it may leave the picture.
            None where it rests.
        track: The athlete as read; None where nobody looked.
        source_size: Height and width of the source's upright picture, pixels; None if ``frames`` do not show all of it.
    """

    frames: NDArray[np.uint8]
    masks: NDArray[np.uint8]
    crop: tuple[int, int, int, int]
    source_frames: NDArray[np.int64]
    fps: float
    times_s: NDArray[np.float64] | None = None
    squares: NDArray[np.int64] | None = None
    track: AthleteTrack | None = None
    source_size: tuple[int, int] | None = None

    def time_s(self, frame: int) -> float:
        """Return when a sampled frame is shown in the source, seconds."""
        return float(self.source_frames[frame]) / self.fps if self.times_s is None else float(self.times_s[frame])

    def square(self, frame: int) -> tuple[int, int, int, int]:
        """Return top, left, height and width of what the network sees of a frame, pixels of ``frames``."""
        if self.squares is None:
            return self.crop
        top, left, height, width = self.squares[frame].tolist()
        return top, left, height, width


def merge_snippets(logits: Tensor) -> NDArray[np.float32]:
    """Turn the foreground of overlapping snippets into one of frames: the mean probability where two show a frame.

    Args:
        logits: [S, 16, size, size].

    Returns:
        Probabilities float32 [96, size, size].
    """
    probabilities = logits.float().sigmoid().cpu().numpy()
    total = np.zeros((CLIP_FRAMES, *probabilities.shape[2:]), np.float32)
    seen = np.zeros((CLIP_FRAMES, 1, 1), np.float32)
    for start, snippet in zip(SNIPPET_STARTS, probabilities, strict=True):
        total[start : start + SNIPPET_FRAMES] += snippet
        seen[start : start + SNIPPET_FRAMES] += 1
    return np.asarray(total / seen, np.float32)


def read_foreground(clip: Clip, track: AthleteTrack, size: int) -> NDArray[np.float32]:
    """Return where the athlete reader sees the athlete in the centre crop, float32 [96, size, size], probabilities.

    For networks that read bodies and predict no foreground of their own.
    """
    probabilities = np.zeros((CLIP_FRAMES, size, size), np.float32)
    if track.outlines is None or track.windows is None or clip.source_size is None:
        return probabilities
    height, width = clip.frames.shape[1:3]
    scale = height / clip.source_size[0]
    top, left = centre_offset(height, width, size)
    for frame, (outline, (x, y, side)) in enumerate(zip(track.outlines, track.windows.tolist(), strict=True)):
        cells = outline.shape[0] / side
        # From pixels of the crop to cells of the outline, both counted from their middles.
        matrix = np.array(
            [
                [cells / scale, 0, (0.5 + left) * cells / scale - (x - side / 2) * cells - 0.5],
                [0, cells / scale, (0.5 + top) * cells / scale - (y - side / 2) * cells - 0.5],
            ]
        )
        probabilities[frame] = cv2.warpAffine(
            outline, matrix, (size, size), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        )
    return probabilities


def measure_foreground(probabilities: NDArray[np.float32], stages: Sequence[Stage]) -> Foreground:
    """Measure how much of the square that the network sees is athlete, by frame and by stage."""
    shares = (probabilities > THRESHOLD).mean(axis=(1, 2))
    borders = [stages[0].start_frame, *(stage.end_frame for stage in stages)]
    takeoff, flight, entry = (
        float(shares[start:end].mean()) if end > start else 0.0 for start, end in pairwise(borders)
    )
    return Foreground(stages=(takeoff, flight, entry), frames=tuple(shares.tolist()))


def gather_evidence(
    clip: Clip,
    probabilities: NDArray[np.float32],
    pictures: NDArray[np.uint8] | None = None,
    track: AthleteTrack | None = None,
) -> Evidence:
    """Lay the athlete, as the scoring network predicts it, over pictures of the clip.

    Args:
        clip: The clip as the network reads it, before the crop.
        probabilities: [96, size, size], of the crop in its centre.
        pictures: uint8 [96, height, width, 3], the whole pictures of the sampled frames at any size, as
            ``sampled_like`` gives them; None takes what the network is shown.
        track: The athlete as the reader sees it.
    """
    size = probabilities.shape[1]
    is_whole = pictures is not None
    pictures = clip.frames if pictures is None else pictures
    squares = _squares(clip, size, pictures.shape[1:3], whole=is_whole)
    masks = np.zeros(pictures.shape[:3], np.uint8)
    for mask, probability, (top, left, height, width) in zip(masks, probabilities, squares.tolist(), strict=True):
        # Probabilities are scaled, not decisions, so that outlines are smooth in a larger picture.
        scaled = cv2.resize(probability, (width, height), interpolation=cv2.INTER_LINEAR) > THRESHOLD
        above, before = max(0, -top), max(0, -left)
        rows, columns = slice(top + above, top + height), slice(left + before, left + width)
        part = mask[rows, columns]
        part[:] = scaled[above : above + part.shape[0], before : before + part.shape[1]]
    top, left, height, width = squares[0].tolist()
    return Evidence(
        frames=pictures,
        masks=masks,
        crop=(top, left, height, width),
        source_frames=clip.source_frames,
        fps=clip.fps,
        times_s=clip.times_s,
        squares=squares if is_whole and clip.windows is not None else None,
        track=track,
        source_size=clip.source_size if is_whole else None,
    )


def _squares(clip: Clip, size: int, shape: Sequence[int], *, whole: bool) -> NDArray[np.int64]:
    """Return top, left, height and width, in pixels of the pictures, of what the network sees of each: int64 [96, 4].

    Args:
        clip: The clip.
        size: Side in pixels of the square that the network sees.
        shape: Height and width of the pictures.
        whole: Whether they show the whole picture of the source, not what a virtual camera shows of it.
    """
    tall, wide = shape
    height, width = clip.frames.shape[1:3]
    if clip.windows is None or not whole or clip.source_size is None:
        top, left = centre_offset(height, width, size)
        above, below = (round(edge * tall / height) for edge in (top, top + size))
        before, after = (round(edge * wide / width) for edge in (left, left + size))
        return np.tile(np.array([above, before, below - above, after - before], np.int64), (len(clip.frames), 1))
    down, along = tall / clip.source_size[0], wide / clip.source_size[1]
    x, y, side = clip.windows.T
    side = side * size / height
    corners = np.stack([(y - side / 2) * down, (x - side / 2) * along, side * down, side * along], axis=1)
    squares = np.rint(corners).astype(np.int64)
    # A window that has lost the picture altogether would leave nothing to look at.
    squares[:, 0] = np.clip(squares[:, 0], 1 - squares[:, 2], tall - 1)
    squares[:, 1] = np.clip(squares[:, 1], 1 - squares[:, 3], wide - 1)
    return np.asarray(squares, np.int64)


def cut_square(picture: NDArray[np.uint8], square: tuple[int, int, int, int]) -> NDArray[np.uint8]:
    """Cut a square from a picture; what lies outside of it repeats its edge.

    Args:
        picture: uint8 [height, width] or [height, width, 3].
        square: Top, left, height and width; part of it lies in the picture.
    """
    top, left, height, width = square
    tall, wide = picture.shape[:2]
    rows = np.clip(np.arange(top, top + height), 0, tall - 1)
    columns = np.clip(np.arange(left, left + width), 0, wide - 1)
    return picture[rows][:, columns]


# The same athlete before another background: does the score follow the dive or the venue?


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
    context: VotingContext,
    clip: Clip,
    probabilities: NDArray[np.float32],
    backgrounds: Sequence[Background],
    encode: Callable[[Clip], Encoding],
    entry_frame: int,
) -> tuple[BackgroundChange, ...]:
    """Put the predicted athlete before each background in turn, encode again and compare with the same exemplars.

    Twice each: in the whole clip, which wipes out the splash too, and in the frames before the entry only.

    Args:
        context: The dive and its voters.
        clip: The clip.
        probabilities: [96, size, size], the athlete in the crop in its centre.
        backgrounds: What to put behind.
        encode: Encodes a clip.
        entry_frame: Sampled frame at which the entry starts.
    """
    athlete = dilate(probabilities > THRESHOLD)
    changes = []
    for background, end_frame in product(backgrounds, dict.fromkeys((len(clip.frames), entry_frame))):
        changed = _place_before(clip, athlete, background.picture, end_frame)
        score = context.rescore(encode(changed))
        words = background.description
        changes.append(
            BackgroundChange(
                background=background.kind,
                description=words if end_frame == len(clip.frames) else f"{words}, before the entry only",
                exemplar=background.exemplar,
                score=score,
                change=score - context.score,
                end_frame=end_frame,
            )
        )
    return tuple(changes)


def find_backgrounds(
    context: VotingContext, clip: Clip, probabilities: NDArray[np.float32], bank_folder: Path | None
) -> tuple[list[Background], list[str]]:
    """Gather the backgrounds that are to be had, and say which are not.

    Args:
        context: The dive and its voters.
        clip: The clip.
        probabilities: [96, size, size], the athlete in the crop in its centre.
        bank_folder: Where the bank's thumbnails lie; None if nowhere.
    """
    size = clip.frames.shape[1:3]
    voters = [(context.bank.exemplars[index], context.bank.part_of(index).folder) for index in context.indices]
    read = [(exemplar, _thumbnail(folder or bank_folder, exemplar, (size[0], size[1]))) for exemplar, folder in voters]
    pictures = [(exemplar, picture) for exemplar, picture in read if picture is not None]
    backgrounds, missing = [], []
    if pictures:
        mean = np.stack([picture for _, picture in pictures]).mean(axis=0).round().astype(np.uint8)
        words = (
            "mean picture of the voter's thumbnail"
            if len(pictures) == 1
            else (f"mean picture of {len(pictures)} voters' thumbnails")
        )
        backgrounds.append(Background("bank_mean", words, mean))
        exemplar, picture = pictures[0]
        words = f"thumbnail of exemplar {exemplar.id}, its athlete still in it"
        backgrounds.append(Background("exemplar", words, picture, exemplar.id))
    else:
        own, colour = _without_athlete(clip, dilate(probabilities > THRESHOLD))
        plain = np.broadcast_to(colour, own.shape)
        backgrounds.append(Background("own_mean", "the clip's own mean picture without the athlete, held still", own))
        backgrounds.append(Background("own_colour", "the mean colour of the clip's own background", plain))
        missing.append("the bank has no pictures of the voters: the background is replaced by the clip's own only")
    return backgrounds, missing


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
