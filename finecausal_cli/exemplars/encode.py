"""Encode the dives of a dataset, each once."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from finecausal_cli.data.cache import NO_TRANSITION, ClipArrays, ClipCache
from finecausal_cli.model.outputs import Encoding
from finecausal_cli.video.clip import SNIPPET_FRAMES, SNIPPET_STARTS
from finecausal_cli.video.transform import crop, normalise

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from finecausal_cli.data.dive import Dive
    from finecausal_cli.model.finecausal import FineCausal


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
        foreground: How each predicted foreground meets the mask; None where there is none or nobody asked.
    """

    dives: tuple[Dive, ...]
    encodings: Encoding
    transitions: tuple[tuple[int, int] | None, ...]
    foreground: tuple[ForegroundCounts | None, ...]


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
    counts: list[ForegroundCounts | None] = []
    device = next(model.parameters()).device
    for dive in dives:
        arrays = cache.load(dive)
        pixels = crop(arrays.frames, model.config.frame_size)
        with torch.inference_mode():
            encoding = model.encode(
                normalise(pixels).unsqueeze(0).to(device),
                foreground="fused" if foreground and arrays.mask is not None else "none",
            )
        counts.append(_count(encoding, arrays, model.config.frame_size))
        encodings.append(replace(encoding, foreground=None))
        transitions.append(None if NO_TRANSITION in arrays.transitions else arrays.transitions)
        advance()
    return EncodedDives(tuple(dives), Encoding.concat(encodings), tuple(transitions), tuple(counts))


def _count(encoding: Encoding, arrays: ClipArrays, frame_size: int) -> ForegroundCounts | None:
    if encoding.foreground is None or arrays.mask is None:
        return None
    mask: NDArray[np.uint8] = crop(arrays.mask, frame_size)
    true = np.stack([mask[start : start + SNIPPET_FRAMES] for start in SNIPPET_STARTS]).astype(bool)
    predicted = (encoding.foreground[-1][0] > 0).cpu().numpy()
    return ForegroundCounts(int(true.sum()), int(predicted.sum()), int((true & predicted).sum()))
