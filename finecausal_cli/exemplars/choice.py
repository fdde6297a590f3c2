"""Choose the exemplars that vote on a dive: by name, by dive number, or by likeness."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from finecausal_cli.diving.number import DiveNumber, parse_dive_number
from finecausal_cli.errors import BankError, DiveNumberError
from finecausal_cli.model.recogniser import log_chances

if TYPE_CHECKING:
    from collections.abc import Mapping

    from finecausal_cli.exemplars.bank import Bank
    from finecausal_cli.model.outputs import Encoding


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
        if query.opinions is not None and (known := _numbers(bank)):
            return _recognised(bank, likeness, query.opinions, known, voters=voters, seed=seed)
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
    chances = log_chances(opinions, [*known.values()])[0].exp().tolist()
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
