"""A dive before its voters, ready to be heard again with something changed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import torch

from finecausal_cli.exemplars.vote import Ballot, cast_votes
from finecausal_cli.model.config import STAGE_WEIGHTS
from finecausal_cli.video.clip import CLIP_FRAMES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from finecausal_cli.exemplars.bank import Bank
    from finecausal_cli.model.finecausal import FineCausal
    from finecausal_cli.model.outputs import Encoding


@dataclass(frozen=True)
class Hearing:
    """The votes on one dive and all that cast them.

    Attributes:
        model: The network, in evaluation mode.
        bank: The exemplars.
        places: Places of the V voters in the bank.
        query: Encoding of the dive, length 1, on the network's device.
        ballot: The votes, with the attention kept.
        difficulty: The dive's difficulty: turns execution into points.
    """

    model: FineCausal
    bank: Bank
    places: tuple[int, ...]
    query: Encoding
    ballot: Ballot
    difficulty: float

    @classmethod
    def hold(
        cls, model: FineCausal, query: Encoding, bank: Bank, places: Sequence[int], *, difficulty: float
    ) -> Hearing:
        """Let the voters vote."""
        ballot = cast_votes(model, query, bank, places, attention=True)
        return cls(model, bank, tuple(places), query, ballot, difficulty)

    @property
    def borders(self) -> tuple[int, int, int, int]:
        """Borders of the stages, sampled frames: the mean over the voters of the query's transitions."""
        flight, entry = (round(frame) for frame in self.ballot.transitions.double().mean(0).tolist())
        return 0, flight, entry, CLIP_FRAMES

    @property
    def score(self) -> float:
        """The dive's score, points."""
        return self.ballot.execution * self.difficulty

    @cached_property
    def voters(self) -> Encoding:
        """Encodings of the voters, length V, on the network's device."""
        return self.bank.encodings.select(list(self.places)).to(self.query.video.device)

    def points(self, stage_differences: Tensor) -> list[float]:
        """Turn stage differences [V, G], execution units, into points a stage, averaged over the voters."""
        weights = torch.tensor(STAGE_WEIGHTS, dtype=torch.float64)
        found: list[float] = (stage_differences.cpu().double().mean(0) * weights * self.difficulty).tolist()
        return found

    def score_again(self, query: Encoding, transitions: Tensor | None = None) -> float:
        """Return the score, points, that the same voters give to another encoding or with the stages cut elsewhere.

        Args:
            query: Length 1, on the network's device.
            transitions: int64 [V, 2, 2], as for ``FineCausal.compare``; None lets the network find them.
        """
        with torch.inference_mode():
            pairs = self.model.compare(query, self.voters, transitions=transitions)
        return Ballot(pairs, self.ballot.exemplar_executions).execution * self.difficulty
