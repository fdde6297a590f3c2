"""What a pupil has understood of dives that it was not taught."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from finecausal_cli.model.config import FRAMES, SNIPPET_FRAMES, SNIPPET_STRIDE
from finecausal_cli.pretraining.snippets import put_together
from finecausal_cli.pretraining.targets import SEEN

if TYPE_CHECKING:
    from finecausal_cli.pretraining.pupil import Pupil
    from finecausal_cli.pretraining.snippets import Scale, Shelf

STARTS = range(0, FRAMES - SNIPPET_FRAMES + 1, SNIPPET_STRIDE)
"""Snippets of a whole dive, as the network cuts them."""


@dataclass(frozen=True)
class Understood:
    """What is understood of some dives.

    Attributes:
        stage: Share of the frames whose stage is told right, 0..1.
        foreground_iou: IoU of all their foreground pixels together, 0..1.
        seen: Pearson's correlation of what is read off the snippets that show a thing, averaged over a dive, with what
            the judges saw, by its name in `SEEN`; None where either is the same in all dives.
    """

    stage: float
    foreground_iou: float
    seen: dict[str, float | None]

    def figures(self) -> dict[str, Any]:
        """Return all of them by name."""
        return {"stage": self.stage, "foreground_iou": self.foreground_iou, **self.seen}


@torch.no_grad()
def examine(pupil: Pupil, shelf: Shelf, scale: Scale, dives: int, device: torch.device) -> Understood:
    """Look at the first dives of a shelf, whole and as they are.

    Args:
        pupil: Who is asked; of two trunks, the video features' one.
        shelf: The dives.
        scale: How targets are standardised.
        dives: Most dives to look at.
        device: Where the pupil is.

    Raises:
        VideoError: A clip cannot be read.
    """
    was_training = pupil.training
    pupil.eval()
    found, truth, right, total, both, either = [], [], 0, 0, 0, 0
    for place in range(min(dives, len(shelf))):
        batch = put_together(shelf.cut(place, STARTS, None), scale, None).to(device)
        (said, *_), outline = pupil(batch, 1)
        right, total = right + int((said.stage.argmax(2) == batch.stage).sum()), total + batch.stage.numel()
        drawn, mask = outline.logits > 0, outline.mask > 0
        both, either = both + int((drawn & mask).sum()), either + int((drawn | mask).sum())
        shown = batch.shown.float()
        found.append(((said.seen * shown).sum(0) / shown.sum(0).clamp(min=1)).cpu().numpy())
        truth.append(batch.seen[0].cpu().numpy())
    pupil.train(was_training)
    pairs = zip(SEEN, np.array(found).T, np.array(truth).T, strict=True)
    return Understood(
        stage=right / total,
        foreground_iou=both / max(either, 1),
        seen={name: correlation(guessed, true) for name, guessed, true in pairs},
    )


def correlation(left: np.ndarray[Any, Any], right: np.ndarray[Any, Any]) -> float | None:
    """Return Pearson's correlation of two rows of numbers; None where one of them does not vary."""
    with np.errstate(invalid="ignore", divide="ignore"):
        r = float(np.corrcoef(left, right)[0, 1]) if len(left) > 1 else math.nan
    return r if math.isfinite(r) else None
