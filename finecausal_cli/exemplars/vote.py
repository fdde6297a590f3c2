"""Let exemplars vote on a dive: the arithmetic of the score, in one place (model.md step 10)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from finecausal_cli.exemplars.bank import Bank
    from finecausal_cli.model.finecausal import FineCausal
    from finecausal_cli.model.outputs import Encoding, PairOutput


@dataclass(frozen=True)
class Ballot:
    """The votes of V exemplars on one dive.

    Attributes:
        pairs: What the network found, one row a voter.
        exemplar_executions: float64 [V], the voters' own executions.
    """

    pairs: PairOutput
    exemplar_executions: Tensor

    @property
    def executions(self) -> Tensor:
        """Each voter's verdict on the dive's execution, float64 [V]."""
        return self.exemplar_executions + self.pairs.delta[:, 0].cpu().double()

    @property
    def execution(self) -> float:
        """Mean verdict: the dive's execution."""
        return float(self.executions.mean())

    @property
    def transitions(self) -> Tensor:
        """The query's transitions as each voter sees them, int64 [V, 2]."""
        return self.pairs.transitions[:, 0].cpu()


def cast_votes(
    model: FineCausal, query: Encoding, bank: Bank, places: Sequence[int], *, attention: bool = False
) -> Ballot:
    """Compare a dive with the chosen exemplars.

    Args:
        model: The network, in evaluation mode.
        query: Length 1, on the network's device.
        bank: The exemplars.
        places: Places of the voters.
        attention: Keep the attention of the graph and of the stages.
    """
    chosen = bank.encodings.select(torch.as_tensor(list(places))).to(query.video.device)
    with torch.inference_mode():
        pairs = model.compare(query, chosen, attention=attention)
    executions = torch.tensor([bank.exemplars[place].execution for place in places], dtype=torch.float64)
    return Ballot(pairs, executions)
