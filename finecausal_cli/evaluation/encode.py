"""Encode the dives of a dataset, each once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from finecausal_cli.data.cache import NO_TRANSITION, ClipArrays, ClipCache
from finecausal_cli.data.dive import Dive
from finecausal_cli.evaluation.metrics import foreground_scores
from finecausal_cli.model.finecausal import FineCausal
from finecausal_cli.model.outputs import Encoding
from finecausal_cli.video.clip import SNIPPET_FRAMES, SNIPPET_STARTS
from finecausal_cli.video.transform import crop, normalise


@dataclass(frozen=True)
class EncodedDives:
    """Dives with their encodings and their true transitions.

    Attributes:
        dives: The dives.
        encodings: Stacked in the same order.
        transitions: True sampled frames of flight and entry; None where unknown.
        foreground_iou: IoU of each dive's predicted foreground; None where there is no mask or nobody asked.
    """

    dives: tuple[Dive, ...]
    encodings: Encoding
    transitions: tuple[tuple[int, int] | None, ...]
    foreground_iou: tuple[float | None, ...]


def encode_dives(
    model: FineCausal,
    dives: Sequence[Dive],
    cache: ClipCache,
    *,
    foreground: bool = False,
    advance: Callable[[], object] = lambda: None,
) -> EncodedDives:
    """Encode dives one by one with the centre crop of inference.

    Args:
        model: The network, in evaluation mode.
        dives: What to encode.
        cache: Where their clips come from.
        foreground: Also measure the predicted foreground against the masks.
        advance: Called after each dive.
    """
    encodings: list[Encoding] = []
    transitions: list[tuple[int, int] | None] = []
    overlaps: list[float | None] = []
    device = next(model.parameters()).device
    for dive in dives:
        arrays = cache.load(dive)
        pixels = crop(arrays.frames, model.config.frame_size)
        with torch.inference_mode():
            encoding = model.encode(
                normalise(pixels).unsqueeze(0).to(device),
                foreground="fused" if foreground and arrays.mask is not None else "none",
            )
        overlaps.append(_overlap(encoding, arrays, model.config.frame_size))
        encodings.append(replace(encoding, foreground=None))
        transitions.append(None if NO_TRANSITION in arrays.transitions else arrays.transitions)
        advance()
    return EncodedDives(tuple(dives), Encoding.concat(encodings), tuple(transitions), tuple(overlaps))


def _overlap(encoding: Encoding, arrays: ClipArrays, frame_size: int) -> float | None:
    if encoding.foreground is None or arrays.mask is None:
        return None
    mask: NDArray[np.uint8] = crop(arrays.mask, frame_size)
    true = np.stack([mask[start : start + SNIPPET_FRAMES] for start in SNIPPET_STARTS]).astype(bool)
    predicted = (encoding.foreground[-1][0] > 0).cpu().numpy()
    return foreground_scores(true, predicted)[0]
