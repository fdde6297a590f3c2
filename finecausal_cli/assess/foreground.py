"""Where the network sees the athlete: masks of every sampled frame, and how much of the picture they take."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import cv2
import numpy as np

from finecausal_cli.assess.explanation import Evidence, Foreground
from finecausal_cli.video.clip import CLIP_FRAMES, SNIPPET_FRAMES, SNIPPET_STARTS
from finecausal_cli.video.picture import working_size
from finecausal_cli.video.reader import probe
from finecausal_cli.video.transform import centre_offset

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from finecausal_cli.assess.assessment import Stage
    from finecausal_cli.video.clip import Clip

THRESHOLD = 0.5
"""Probability from which on a pixel counts as athlete."""

_FIT_SHORT_SIDE = 128 / 112


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


def measure_foreground(probabilities: NDArray[np.float32], stages: Sequence[Stage]) -> Foreground:
    """Measure how much of the square that the network sees is athlete, by frame and by stage."""
    shares = (probabilities > THRESHOLD).mean(axis=(1, 2))
    borders = [stages[0].start_frame, *(stage.end_frame for stage in stages)]
    takeoff, flight, entry = (
        float(shares[start:end].mean()) if end > start else 0.0 for start, end in pairwise(borders)
    )
    return Foreground(stages=(takeoff, flight, entry), frames=tuple(shares.tolist()))


def gather_evidence(clip: Clip, probabilities: NDArray[np.float32], pictures: Clip) -> Evidence:
    """Lay the predicted athlete over pictures of the clip.

    Args:
        clip: The clip as the network reads it, before the crop.
        probabilities: [96, size, size], of the crop in its centre.
        pictures: The same sampled frames at any size.
    """
    size = probabilities.shape[1]
    height, width = clip.frames.shape[1:3]
    top, left = centre_offset(height, width, size)
    tall, wide = pictures.frames.shape[1:3]
    above, below = (round(edge * tall / height) for edge in (top, top + size))
    before, after = (round(edge * wide / width) for edge in (left, left + size))
    masks = np.zeros((len(probabilities), tall, wide), np.uint8)
    for mask, probability in zip(masks, probabilities, strict=True):
        # Probabilities are scaled, not decisions, so that outlines are smooth in a larger picture.
        scaled = cv2.resize(probability, (after - before, below - above), interpolation=cv2.INTER_LINEAR)
        mask[above:below, before:after] = scaled > THRESHOLD
    return Evidence(
        frames=pictures.frames,
        masks=masks,
        crop=(above, before, below - above, after - before),
        source_frames=clip.source_frames,
        fps=clip.fps,
    )


def picture_frame_size(path: str, short_side: int) -> int:
    """Return the ``frame_size`` with which ``read_clip`` gives pictures of a short side, or of the source's if less."""
    short = min(short_side, *probe(path).upright_size)
    size = int(short / _FIT_SHORT_SIDE)
    return size if min(working_size(short, short, "fit", size)) <= short else size - 1
