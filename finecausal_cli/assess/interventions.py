"""What the score would be, had a stage been each exemplar's own, the bank's mean or the mean of the bank's best."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from finecausal_cli.assess.explanation import BankMean, Ranking, StageIntervention
from finecausal_cli.model.config import STAGE_WEIGHTS, STAGES

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from torch import Tensor

    from finecausal_cli.assess.assessment import StageName
    from finecausal_cli.assess.explanation import Replacement
    from finecausal_cli.assess.hearing import Hearing
    from finecausal_cli.exemplars.bank import Bank

_STAGES: tuple[StageName, StageName, StageName] = ("takeoff", "flight", "entry")

_ONE_IN = 4
"""The bank's best are one in so many of its dives of a number, one at least."""


@dataclass(frozen=True)
class StageFeatures:
    """The stages of one dive as the network describes them, once for each voter.

    Attributes:
        tokens: [V, G, T, 64].
        static_tokens: [V, G, 4, 64] from single frames; only with the static branch.
    """

    tokens: Tensor
    static_tokens: Tensor | None

    @classmethod
    def of_exemplars(cls, hearing: Hearing) -> StageFeatures:
        """Return each voter's own stages."""
        pairs = hearing.ballot.pairs
        return cls(pairs.tokens[:, 1], None if pairs.static_tokens is None else pairs.static_tokens[:, 1])

    @classmethod
    def of_bank(cls, hearing: Hearing, places: Sequence[int]) -> StageFeatures:
        """Return the mean stages of some of the bank's dives, each of them read beside each voter.

        A dive's stages depend on the dive it is compared with, so the mean is taken anew for every voter.

        Args:
            hearing: The dive and its voters.
            places: Places of the dives in the bank, one or more.
        """
        members = hearing.bank.encodings.select(list(places)).to(hearing.query.video.device)
        tokens, static = [], []
        for voter in range(len(hearing.places)):
            partner = hearing.voters.select(slice(voter, voter + 1)).expand(len(members))
            with torch.inference_mode():
                pairs = hearing.model.compare(members, partner)
            tokens.append(pairs.tokens[:, 0].mean(0))
            if pairs.static_tokens is not None:
                static.append(pairs.static_tokens[:, 0].mean(0))
        return cls(torch.stack(tokens), torch.stack(static) if static else None)


def regress_with(hearing: Hearing, stages: StageFeatures, replaced: Iterable[int]) -> Tensor:
    """Give the dive other stages and read the differences again, from the temporal causal attention on.

    Args:
        hearing: The dive and its voters.
        stages: Where the stages come from.
        replaced: Which stages to replace, 0..2.

    Returns:
        Stage differences float64 [V, G], execution units.
    """
    pairs, chosen = hearing.ballot.pairs, list(replaced)
    tokens = pairs.tokens.clone()
    tokens[:, 0, chosen] = stages.tokens[:, chosen]
    static = pairs.static_tokens
    if static is not None and stages.static_tokens is not None:
        static = static.clone()
        static[:, 0, chosen] = stages.static_tokens[:, chosen]
    with torch.inference_mode():
        return hearing.model.regress(tokens, static).stage_deltas[:, 0].cpu().double()


def replace_stages(hearing: Hearing, stages: StageFeatures, replaced_by: Replacement) -> tuple[StageIntervention, ...]:
    """Replace one stage at a time and let the later stages follow.

    A replaced take-off also changes how flight and entry are read; no stage changes an earlier one.

    Returns:
        One intervention a stage, in the order of the stages.
    """
    before = hearing.ballot.pairs.stage_deltas[:, 0].cpu().double()

    def intervene(place: int) -> StageIntervention:
        changed = regress_with(hearing, stages, [place]) - before
        takeoff, flight, entry = hearing.points(changed)
        per_voter = changed @ torch.tensor(STAGE_WEIGHTS, dtype=torch.float64)
        return StageIntervention(
            stage=_STAGES[place],
            replaced_by=replaced_by,
            score=hearing.score + takeoff + flight + entry,
            change=takeoff + flight + entry,
            stage_changes=(takeoff, flight, entry),
            voters_gaining=int((per_voter > 0).sum()),
        )

    return intervene(0), intervene(1), intervene(2)


def rank(interventions: Sequence[StageIntervention], replaced_by: Replacement) -> Ranking:
    """Order the stages by what their replacement gains, best first; the earlier stage first where two gain the same."""
    ordered = sorted(
        (one for one in interventions if one.replaced_by == replaced_by),
        key=lambda one: (-one.change, STAGES.index(one.stage)),
    )
    first, second, third = ordered
    return Ranking(
        replaced_by=replaced_by,
        stages=(first.stage, second.stage, third.stage),
        changes=(first.change, second.change, third.change),
    )


def bank_stages(bank: Bank, dive: str | None) -> dict[Replacement, tuple[int, ...]]:
    """Return the places of the dives whose mean stages replace those of a dive of this number.

    The best are those of most execution. Of a single dive there is a mean and no best.
    """
    places = () if dive is None else bank.of_dive(dive)
    by_execution = sorted(places, key=lambda place: (-bank.exemplars[place].execution, place))
    best = tuple(by_execution[: max(1, len(places) // _ONE_IN)])
    found: dict[Replacement, tuple[int, ...]] = {"bank_mean": places, "bank_best": best if len(places) > 1 else ()}
    return {replaced_by: chosen for replaced_by, chosen in found.items() if chosen}


def intervene(hearing: Hearing, dive: str | None) -> tuple[tuple[StageIntervention, ...], dict[Replacement, BankMean]]:
    """Replace every stage by each voter's own and, where the bank knows the dive, by the mean and best of its number.

    Args:
        hearing: The dive and its voters.
        dive: Its dive number; None if unknown.

    Returns:
        The interventions, replacement by replacement, and what the means were taken over.
    """
    found = replace_stages(hearing, StageFeatures.of_exemplars(hearing), "exemplar")
    taken: dict[Replacement, BankMean] = {}
    for replaced_by, places in bank_stages(hearing.bank, dive).items():
        found += replace_stages(hearing, StageFeatures.of_bank(hearing, places), replaced_by)
        taken[replaced_by] = BankMean(dive=str(dive), exemplars=len(places))
    return found, taken
