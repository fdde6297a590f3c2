"""What the score would be, had a stage been another's: do(stage := the exemplar's)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from finecausal_cli.assess.assessment import Intervention
from finecausal_cli.model.config import STAGE_WEIGHTS, STAGES

if TYPE_CHECKING:
    from finecausal_cli.exemplars.vote import Ballot
    from finecausal_cli.model.finecausal import FineCausal


def replace_stages(model: FineCausal, ballot: Ballot, difficulty: float) -> tuple[Intervention, ...]:
    """Give the dive each voter's own stage in turn and let the later stages follow.

    The stage tokens are replaced and everything from the temporal causal attention on is computed again, so a
    replaced take-off also changes how flight and entry are read.

    Args:
        model: The network, in evaluation mode.
        ballot: The votes to explain.
        difficulty: The dive's difficulty: turns execution into points.

    Returns:
        One intervention a stage, in the order of the stages.
    """
    before = ballot.pairs.stage_deltas[:, 0].cpu().double()
    weights = torch.tensor(STAGE_WEIGHTS, dtype=torch.float64)
    score = ballot.execution * difficulty
    found: list[Intervention] = []
    for place, stage in enumerate(STAGES):
        tokens = ballot.pairs.tokens.clone()
        tokens[:, 0, place] = tokens[:, 1, place]
        with torch.inference_mode():
            after = model.regress(tokens, ballot.pairs.static_tokens).stage_deltas[:, 0].cpu().double()
        changes = ((after - before).mean(0) * weights * difficulty).tolist()
        found.append(
            Intervention(
                stage=stage,
                replaced_by="exemplar",
                score=score + sum(changes),
                change=sum(changes),
                stage_changes=(changes[0], changes[1], changes[2]),
            )
        )
    return tuple(found)
