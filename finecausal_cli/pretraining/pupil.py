"""The trunks that are taught, what reads the targets off their features, and how wrong that is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from finecausal_cli.model.config import SNIPPET_FRAMES
from finecausal_cli.model.frames import FRAME_FEATURES, FrameParser, FrameTrunk, cut_frames

if TYPE_CHECKING:
    from finecausal_cli.model.finecausal import FineCausal
    from finecausal_cli.model.i3d import I3D
    from finecausal_cli.pretraining.snippets import Snippets

HIDDEN = 256
"""Values that everything asked of one frame is read from."""

SHARP = 0.2
"""Errors of the motion, in its standard deviations, from which on they count as they are and not squared."""

FOREGROUND_EVERY = 8
"""One frame in so many (of an I3D, one snippet) is asked for its foreground, which costs as much as the trunk."""

_DROPOUT = 0.2
_MOTION_WEIGHT, _PIXELS_WEIGHT = 2, 4
"""Weights of the losses of the motion and of the foreground's pixels; those of the others are 1."""


@dataclass(frozen=True)
class Answers:
    """What is read off one trunk's features of B snippets.

    Attributes:
        motion: [B, 16, M].
        stage: Logits [B, 16, 3].
        seen: [B, K], of the whole snippet.
        seen_by_frame: [B, 16, K], of single frames; None where the trunk does not read such.
    """

    motion: Tensor
    stage: Tensor
    seen: Tensor
    seen_by_frame: Tensor | None

    def losses(self, batch: Snippets, counts: Tensor) -> dict[str, Tensor]:
        """Return the losses by name; ``counts`` [K] as for `error_of_shown`."""
        each = functional.smooth_l1_loss(self.motion.float(), batch.motion, beta=SHARP, reduction="none").mean(-1)
        losses = {
            "motion": _MOTION_WEIGHT * (each * batch.visible).sum() / batch.visible.sum().clamp(min=1),
            "stage": functional.cross_entropy(self.stage.float().flatten(0, 1), batch.stage.flatten()),
            "seen": error_of_shown(self.seen, batch.seen, batch.shown, counts),
        }
        if self.seen_by_frame is not None:
            truth = batch.seen[:, None]
            losses["seen_by_frame"] = error_of_shown(self.seen_by_frame, truth, batch.shown_by_frame, counts)
        return losses


@dataclass(frozen=True)
class Outline:
    """The foreground of some frames (of an I3D, of some snippets).

    Attributes:
        logits: [N, ..., H, W].
        mask: What they should show, the same shape.
    """

    logits: Tensor
    mask: Tensor

    def loss(self) -> Tensor:
        """Return cross entropy of the pixels and Dice loss of the whole."""
        logits = self.logits.float()
        chance = logits.sigmoid()
        overlap = 2 * (chance * self.mask).sum() / (chance.sum() + self.mask.sum() + 1)
        return _PIXELS_WEIGHT * functional.binary_cross_entropy_with_logits(logits, self.mask) + 1 - overlap


class Reader(nn.Module):
    """Read everything that is asked off a trunk, which is taught through it.

    Args:
        trunk: The trunk.
        motion: M, values of motion a frame.
        seen: K, things judges see.
    """

    def __init__(self, trunk: I3D | FrameTrunk, motion: int, seen: int) -> None:
        super().__init__()
        self.trunk = trunk
        features = trunk.features
        by_frame = isinstance(trunk, FrameTrunk)
        self.shared = nn.Linear(FRAME_FEATURES, HIDDEN) if by_frame else nn.Linear(features, SNIPPET_FRAMES * HIDDEN)
        self.motion = nn.Linear(HIDDEN, motion)
        self.stage = nn.Linear(HIDDEN, 3)
        self.seen_by_frame = nn.Linear(HIDDEN, seen) if by_frame else None
        self.seen = nn.Sequential(
            nn.Linear(features, features), nn.ReLU(), nn.Dropout(_DROPOUT), nn.Linear(features, seen)
        )

    def forward(self, pictures: Tensor, *, taps: bool) -> tuple[Answers, tuple[Tensor, ...]]:
        """Answer for snippets [B, 3, 16, H, W]; give the trunk's depths too when asked."""
        if isinstance(self.trunk, FrameTrunk):
            vectors, kept = self.trunk.read_frames(cut_frames(pictures), taps=taps)
            vectors = vectors.reshape(len(pictures), SNIPPET_FRAMES, FRAME_FEATURES)
            features = self.trunk.join(vectors)
        else:
            features, kept = self.trunk(pictures, taps=taps)
            vectors = features
        hidden = functional.relu(self.shared(vectors).reshape(len(pictures), SNIPPET_FRAMES, HIDDEN))
        by_frame = None if self.seen_by_frame is None else self.seen_by_frame(hidden)
        return Answers(self.motion(hidden), self.stage(hidden), self.seen(features), by_frame), kept


class Pupil(nn.Module):
    """A network's trunk or trunks and its foreground. Two trunks are asked the same; the second draws the foreground.

    Args:
        network: The network; of its other modules none is touched.
        motion: M, values of motion a frame.
        seen: K, things judges see.
    """

    def __init__(self, network: FineCausal, motion: int, seen: int) -> None:
        super().__init__()
        self.parser = network.parser
        trunks = [network.video_trunk, *(() if self.parser.trunk is None else (self.parser.trunk,))]
        self.readers = nn.ModuleList(Reader(trunk, motion, seen) for trunk in trunks)

    def forward(self, batch: Snippets, every: int) -> tuple[list[Answers], Outline]:
        """Answer for each trunk, the video features' first; of the foreground one frame (or snippet) in ``every``."""
        answers: list[Answers] = []
        taps: tuple[Tensor, ...] = ()
        for reader in self.readers:
            found, taps = reader(batch.pictures, taps=reader is self.readers[-1])
            answers.append(found)
        return answers, self._draw(tuple(tap[::every] for tap in taps), batch, every)

    def _draw(self, taps: tuple[Tensor, ...], batch: Snippets, every: int) -> Outline:
        if isinstance(self.parser, FrameParser):
            return Outline(
                self.parser.heads(taps, cut_frames(batch.pictures)[::every]), batch.mask.flatten(0, 1)[::every]
            )
        return Outline(self.parser.find(taps, batch.pictures[::every], sides=False)[-1], batch.mask[::every])

    def losses(self, batch: Snippets, counts: Tensor) -> dict[str, Tensor]:
        """Return the losses of a batch by name, added up over the trunks; ``counts`` [K] as for `error_of_shown`."""
        answers, outline = self(batch, FOREGROUND_EVERY)
        each = [one.losses(batch, counts) for one in answers]
        told = {name: torch.stack([losses[name] for losses in each]).sum() for name in each[0]}
        return {**told, "foreground": outline.loss()}


def error_of_shown(found: Tensor, truth: Tensor, shown: Tensor, counts: Tensor) -> Tensor:
    """Return the mean squared error of what is shown.

    Args:
        found: [..., K].
        truth: The same, or what broadcasts to it.
        shown: bool [..., K]; what is not shown is not asked.
        counts: [K], how much an error of each counts.
    """
    squared = (found.float() - truth).square().where(shown, torch.zeros((), device=found.device))
    return (squared.flatten(0, -2).sum(0) / shown.flatten(0, -2).sum(0).clamp(min=1) * counts).mean()
