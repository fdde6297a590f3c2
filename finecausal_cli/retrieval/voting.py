"""Choose exemplars for a dive, compare with them, and combine their votes."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from finecausal_cli.diving import DiveNumber, parse_dive_number
from finecausal_cli.errors import BankError, DiveNumberError
from finecausal_cli.model.config import STAGE_WEIGHTS
from finecausal_cli.model.frame_encoder import log_probs
from finecausal_cli.model.outputs import Encoding
from finecausal_cli.video import CLIP_FRAMES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from finecausal_cli.model.finecausal import FineCausal
    from finecausal_cli.model.outputs import PairOutput
    from finecausal_cli.retrieval.bank import Bank


# Choose the exemplars that vote on a dive: by name, by dive number, or by likeness.

_SURE = 0.5
"""A number is recognised where it is likelier than all others together."""

_LIKELIEST = 3
"""Numbers that are named where none is recognised."""


@dataclass(frozen=True, slots=True)
class Choice:
    """The voters on one dive and why they were chosen.

    Attributes:
        places: Their places in the bank, in voting order.
        similarities: Likeness of each to the query, -1..1.
        how: How they were chosen, in words.
        dive: Dive number that the choice rests on or suggests; None if unknown.
        dive_from: Where that number comes from, in words.
        caveats: What a reader should know.
    """

    places: tuple[int, ...]
    similarities: tuple[float, ...]
    how: str
    dive: str | None
    dive_from: str
    caveats: tuple[str, ...] = ()


def choose_voters(
    bank: Bank,
    query: Encoding,
    *,
    exemplar: str | None = None,
    dive: str | None = None,
    voters: int = 10,
    seed: int = 0,
) -> Choice:
    """Choose who votes.

    A named exemplar votes alone. With a dive number, up to ``voters`` exemplars of it vote, in an order that depends
    on the seed and their names only. Otherwise those of the number that is recognised vote, or, where the network
    recognises none, the nearest by encoding.

    Args:
        bank: The exemplars.
        query: Encoding of the dive, length 1.
        exemplar: Identifier of the one exemplar to use.
        dive: Canonical dive number.
        voters: Most exemplars to use, 1 or more.
        seed: Seed of the order among exemplars of one number.

    Raises:
        BankError: The bank is empty or has no exemplar of that name.
    """
    if not bank.exemplars:
        raise BankError("an empty bank", where=bank.name, hint="add exemplars: finecausal exemplars build")
    likeness = similarities(query, bank.encodings)
    if exemplar is not None:
        place = bank.place(exemplar)
        return _choice(
            (place,),
            likeness,
            "named by you",
            dive or bank.exemplars[place].dive,
            "given" if dive else f"that of exemplar {exemplar}",
        )
    if dive is None:
        if query.number_logits is not None and (known := _numbers(bank)):
            return _recognised(bank, likeness, query.number_logits, known, voters=voters, seed=seed)
        return _nearest(bank, likeness, voters)
    same = _of_number(bank, dive, seed)
    if not same:
        nearest = _nearest(bank, likeness, voters)
        caveat = f"the bank has no exemplar of {dive}: the nearest by encoding vote instead, so trust the score less"
        return _choice(nearest.places, likeness, "nearest by encoding", dive, "given", (caveat,))
    chosen = tuple(same[:voters])
    how = f"{len(chosen)} of {len(same)} exemplars of {dive}"
    return _choice(chosen, likeness, how, dive, "given")


def similarities(query: Encoding, exemplars: Encoding) -> Tensor:
    """Compare a dive with every exemplar: cosine of the fused features about the bank's mean.

    Args:
        query: Length 1, on any device.
        exemplars: Length N.

    Returns:
        [N], -1..1, on the exemplars' device.
    """
    stored = exemplars.fused.flatten(1)
    centre = stored.mean(0, keepdim=True) if len(exemplars) > 1 else torch.zeros_like(stored[:1])
    asked = query.fused.flatten(1).to(stored.device)
    return torch.nn.functional.cosine_similarity(asked - centre, stored - centre)


def _nearest(bank: Bank, likeness: Tensor, voters: int) -> Choice:
    order = torch.argsort(likeness, descending=True, stable=True)[:voters].tolist()
    shares: dict[str | None, int] = defaultdict(int)
    for place in order:
        shares[bank.exemplars[place].dive] += 1
    dive = max(shares, key=lambda number: shares[number])
    if 2 * shares[dive] > len(order):
        dive_from = f"recognised: {shares[dive]} of the {len(order)} nearest exemplars are {dive}"
        caveat = "the dive number was recognised, not given: name it with --dive to be sure"
    else:
        dive, most = None, shares[dive]
        dive_from = f"not recognised: no more than {most} of the {len(order)} nearest exemplars share a number"
        caveat = "the dive number is not known, so dives of other numbers vote: name it with --dive"
    return _choice(tuple(order), likeness, f"the {len(order)} nearest by encoding", dive, dive_from, (caveat,))


def _recognised(
    bank: Bank, likeness: Tensor, opinions: Tensor, known: Mapping[str, DiveNumber], *, voters: int, seed: int
) -> Choice:
    chances = log_probs(opinions, [*known.values()])[0].exp().tolist()
    likeliest = sorted(zip(chances, known, strict=True), reverse=True)[:_LIKELIEST]
    most, dive = likeliest[0]
    same = _of_number(bank, dive, seed)
    chosen = tuple(same[:voters])
    how = f"{len(chosen)} of {len(same)} exemplars of {dive}"
    if most > _SURE:
        caveat = "the dive number was recognised, not given: name it with --dive to be sure"
        return _choice(chosen, likeness, how, dive, f"recognised from the video, {most:.0%} sure", (caveat,))
    perhaps = ", ".join(f"{number} {chance:.0%}" for chance, number in likeliest)
    caveat = f"the dive number is not known, so exemplars of {dive}, the likeliest, vote: name it with --dive"
    return _choice(chosen, likeness, how, None, f"not recognised: perhaps {perhaps}", (caveat,))


def _numbers(bank: Bank) -> dict[str, DiveNumber]:
    """Return the dive numbers of a bank; what somebody called a dive otherwise is none."""
    numbers = {}
    for name in sorted({one.dive for one in bank.exemplars if one.dive is not None}):
        with suppress(DiveNumberError):
            numbers[name] = parse_dive_number(name)
    return numbers


def _of_number(bank: Bank, dive: str, seed: int) -> list[int]:
    return sorted(bank.of_dive(dive), key=lambda place: _drawn(bank.exemplars[place].id, seed))


def _drawn(exemplar_id: str, seed: int) -> str:
    """Order exemplars by chance, the same chance on every machine and in every order of the bank."""
    return hashlib.sha256(f"{seed}:{exemplar_id}".encode()).hexdigest()


def _choice(
    places: tuple[int, ...],
    likeness: Tensor,
    how: str,
    dive: str | None,
    dive_from: str,
    caveats: tuple[str, ...] = (),
) -> Choice:
    return Choice(places, tuple(float(likeness[place]) for place in places), how, dive, dive_from, caveats)


# Let exemplars vote on a dive: the arithmetic of the score, in one place (model.md step 10).


@dataclass(frozen=True)
class ExemplarVotes:
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


def compare_with_exemplars(
    model: FineCausal, query: Encoding, bank: Bank, places: Sequence[int], *, attention: bool = False
) -> ExemplarVotes:
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
    return ExemplarVotes(pairs, executions)


# Let exemplars vote on several dives at once: one comparison for all pairs, then a ballot a dive.


def compare_with_exemplars_batched(
    model: FineCausal,
    queries: Sequence[Encoding],
    bank: Bank,
    places: Sequence[Sequence[int]],
    *,
    attention: bool = False,
) -> list[ExemplarVotes]:
    """Compare each dive with its own voters, all pairs in one pass.

    Args:
        model: The network, in evaluation mode.
        queries: One encoding a dive, each of length 1, on the network's device.
        bank: The exemplars.
        places: Places of each dive's voters.
        attention: Keep the attention of the graph and of the stages.

    Returns:
        A ballot a dive: what ``cast_votes`` gives for it alone, for a pair's numbers do not depend on other pairs.
    """
    if not queries:
        return []
    device = queries[0].video.device
    counts = [len(each) for each in places]
    chosen = bank.encodings.select([place for each in places for place in each]).to(device)
    asked = Encoding.concat([query.expand(count) for query, count in zip(queries, counts, strict=True)])
    with torch.inference_mode():
        pairs = model.compare(asked, chosen, attention=attention)
    ballots, first = [], 0
    for each in places:
        executions = torch.tensor([bank.exemplars[place].execution for place in each], dtype=torch.float64)
        ballots.append(ExemplarVotes(_rows(pairs, slice(first, first + len(each))), executions))
        first += len(each)
    return ballots


def _rows(pairs: PairOutput, some: slice) -> PairOutput:
    parts = {field.name: getattr(pairs, field.name) for field in fields(pairs)}
    return replace(pairs, **{name: tensor[some] for name, tensor in parts.items() if tensor is not None})


# A dive before its voters, ready to be heard again with something changed.


@dataclass(frozen=True)
class VotingContext:
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
    ballot: ExemplarVotes
    difficulty: float

    @classmethod
    def hold(
        cls, model: FineCausal, query: Encoding, bank: Bank, places: Sequence[int], *, difficulty: float
    ) -> VotingContext:
        """Let the voters vote."""
        ballot = compare_with_exemplars(model, query, bank, places, attention=True)
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
        return ExemplarVotes(pairs, self.ballot.exemplar_executions).execution * self.difficulty
