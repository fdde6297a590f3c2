"""Whether an explanation is consistent: with the score, with itself, and with what the network does when disturbed."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import TYPE_CHECKING

import torch

from finecausal_cli.assess.explanation import JITTER_FRAMES, TOLERANCE, Checks, Deletion, Jitter
from finecausal_cli.assess.interventions import StageFeatures, regress_with
from finecausal_cli.model.config import STAGES
from finecausal_cli.model.finecausal import weigh_stages
from finecausal_cli.video.clip import CLIP_FRAMES, SNIPPET_FRAMES, SNIPPET_STARTS, SNIPPETS

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from finecausal_cli.assess.assessment import Assessment
    from finecausal_cli.assess.hearing import Hearing
    from finecausal_cli.model.outputs import Encoding


def check(hearing: Hearing, assessment: Assessment, shares: NDArray[np.float64] | None) -> Checks:
    """Run every check.

    Args:
        hearing: The dive and its voters.
        assessment: The verdict that came of it.
        shares: [9], share of the attention on each snippet; None in a network without graph attention.
    """
    total = assessment.exemplar_score + sum(stage.contribution for stage in assessment.stages)
    decomposition = abs(total - assessment.score)
    own, difference = compare_with_itself(hearing)
    return Checks(
        tolerance=TOLERANCE,
        decomposition_error=decomposition,
        self_error=own,
        self_difference=difference,
        holds=max(decomposition, own) <= TOLERANCE,
        jitter=shift_borders(hearing),
        deletion=None if shares is None else delete_snippets(hearing, int(shares.argmax())),
    )


def compare_with_itself(hearing: Hearing) -> tuple[float, float]:
    """Give the dive all three stages of each voter, and hold that against the voter compared with itself.

    Returns:
        Largest distance between the two differences over voters and stages, and the largest difference of a voter
        against itself; points.
    """
    stages = StageFeatures.of_exemplars(hearing)
    found = regress_with(hearing, stages, range(len(STAGES)))
    twins = stages.tokens[:, None].expand(-1, 2, -1, -1, -1)
    static = None if stages.static_tokens is None else stages.static_tokens[:, None].expand(-1, 2, -1, -1, -1)
    with torch.inference_mode():
        itself = hearing.model.regress(twins, static).stage_deltas[:, 0].cpu().double()
    error = float((found - itself).abs().max()) * hearing.difficulty
    return error, float(weigh_stages(itself).abs().max()) * hearing.difficulty


def shift_borders(hearing: Hearing, frames: int = JITTER_FRAMES) -> Jitter:
    """Shift the transitions of both dives of every pair alike, and compare again.

    Each transition moves by minus, nought or plus so many frames, in all eight combinations that move something; the
    first stays in the first half of the clip and the last in the second, as predicted ones do.
    """
    half = CLIP_FRAMES // 2
    shifts = [shift for shift in product((-frames, 0, frames), repeat=2) if any(shift)]
    before, changes = hearing.ballot.pairs.transitions, []
    for shift in shifts:
        first, last = (before + before.new_tensor(shift)).unbind(-1)
        moved = torch.stack((first.clamp(0, half - 1), last.clamp(half, CLIP_FRAMES - 1)), dim=-1)
        changes.append(abs(hearing.score_again(hearing.query, moved) - hearing.score))
    return Jitter(frames=frames, shifts=len(shifts), mean=sum(changes) / len(changes), largest=max(changes))


def delete_snippets(hearing: Hearing, snippet: int) -> Deletion:
    """Take each snippet away in turn, the stages cut where they were.

    Args:
        hearing: The dive and its voters.
        snippet: The one with most attention.
    """
    transitions = hearing.ballot.pairs.transitions
    changes = [
        hearing.score_again(without_snippet(hearing.query, place), transitions) - hearing.score
        for place in range(SNIPPETS)
    ]
    others = [abs(change) for place, change in enumerate(changes) if place != snippet]
    return Deletion(snippet=snippet, change=changes[snippet], others=sum(others) / len(others), changes=tuple(changes))


def without_snippet(query: Encoding, snippet: int) -> Encoding:
    """Replace a snippet's video and mask features, so its fused ones too, by the means of the dive's other snippets.

    Where the network also reads single frames, the snippet's frames become the mean of the others.
    """
    frames = query.frames
    if frames is not None:
        start = SNIPPET_STARTS[snippet]
        frames = _fill(frames, slice(start, start + SNIPPET_FRAMES))
    one = slice(snippet, snippet + 1)
    return replace(query, video=_fill(query.video, one), mask=_fill(query.mask, one), frames=frames)


def _fill(features: torch.Tensor, span: slice) -> torch.Tensor:
    """Put the mean of the other rows in place of some rows of [1, rows, D]."""
    kept = torch.ones(features.shape[1], dtype=torch.bool, device=features.device)
    kept[span] = False
    filled = features.clone()
    filled[:, span] = features[:, kept].mean(1, keepdim=True)
    return filled
