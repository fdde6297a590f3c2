"""Choose exemplars for a dive, compare with them, and combine their votes."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from functools import cached_property
from math import isfinite
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from finecausal_cli.diving import COUNTING_MARKS, MAX_EXECUTION, DiveNumber, parse_dive_number
from finecausal_cli.diving.competition import competition_statistics
from finecausal_cli.errors import BankError, DiveNumberError
from finecausal_cli.model.config import STAGE_WEIGHTS
from finecausal_cli.model.frame_encoder import log_probs
from finecausal_cli.model.outputs import Encoding
from finecausal_cli.retrieval import BUNDLED, NOT_SURE, RECOGNISED
from finecausal_cli.video import CLIP_FRAMES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from finecausal_cli.model.finecausal import FineCausal
    from finecausal_cli.model.outputs import PairOutput
    from finecausal_cli.retrieval.bank import Bank
    from finecausal_cli.retrieval.calibration import Calibration


# Choose the exemplars that vote on a dive: by name, by dive number, or by likeness.

_SURE = 0.5
"""A number is recognised where it is likelier than all others together."""

SURE_NUMBER = 0.65
"""Confidence from which on a recognised number is sure enough for points: 95% of those of wild films are right then.

Measured with ``skeleton``, network and turns together, among the numbers of its bank and of competitions. 294 wild
films drawn as competitions are: 232 numbers have it, 221 are right. 65 wild films of every listed number: 37, of which
34 are right. The same 294 cut at the take-off: 200, 184 right.
"""

_COUNTED_TEMPERATURE = 1.6
"""Divides the logits where turns were counted: both together are too sure otherwise. On these films 83%, 69% and 75% of
the numbers are right, with a mean confidence of 83%, 70% and 75%."""

_COUNTED_POWER = 0.25
"""Weight of the counted turns beside what the network recognises: both look at the same joints and err alike. In full,
they turned the likeliest number of two of four filmed dives into another one, and of the wild films 82% were right."""

_COMMON_POWER, _AS_LISTED = 0.25, 0.5
"""Weight of how common a number is in competition, and the part of all numbers alike in that: not everybody competes.
The network says direction, turns and position each for itself, so even 106C, which nobody dives, gets a share. Without,
82% of the wild films were right; with 0.5 no more, and a filmed 405C was taken for 407C, which is commoner."""

_WRONGLY_COUNTED = 0.05
"""Probability that the turns were counted wrongly: another count is never less likely than this beside the one that
fits best."""

_RULED_OUT = 0.02
"""The same of a number that the turns rule out. It is never named; but where the network sees little else, nothing that
is left is sure."""

_LIKELIEST = 3
"""Numbers that are named where none is sure."""

_LEAST_LIKELY = 0.005
"""Probability below which a number is not worth naming: it would be printed as 0%."""

_SAME_ENCODING = 0.05
"""Largest difference, relative to the largest feature, of two encodings that count as of one clip: another device or
precision rounds otherwise. Of 33 dives no two are nearer than 0.42 (``compact``)."""


@dataclass(frozen=True, slots=True)
class Choice:
    """The voters on one dive and why they were chosen.

    Attributes:
        indices: Their indices in the bank, in voting order.
        similarities: Likeness of each to the query, -1..1.
        how: How they were chosen, in words.
        dive: Dive number that the choice rests on or suggests; None if unknown.
        dive_from: Where that number comes from, in words.
        caveats: What a reader should know.
        is_sure: Whether the number is given, or recognised surely enough for points.
        candidates: The likeliest numbers with their probabilities, likeliest first; empty where the number is given.
    """

    indices: tuple[int, ...]
    similarities: tuple[float, ...]
    how: str
    dive: str | None
    dive_from: str
    caveats: tuple[str, ...] = ()
    is_sure: bool = True
    candidates: tuple[tuple[str, float], ...] = ()


def choose_voters(
    bank: Bank,
    query: Encoding,
    *,
    exemplar: str | None = None,
    dive: str | None = None,
    voters: int = 10,
    seed: int = 0,
    evidence: Callable[[DiveNumber], float] | None = None,
) -> Choice:
    """Choose who votes.

    A named exemplar votes alone. With a dive number, up to ``voters`` exemplars of it vote, those of the bank's first
    part first, in an order that depends on the seed and their names only. Otherwise those of the number that is
    recognised vote, or, where the network recognises none, the nearest by encoding. An exemplar of one's own does not
    vote on the clip that it was made from.

    Args:
        bank: The exemplars.
        query: Encoding of the dive, length 1.
        exemplar: Identifier of the one exemplar to use.
        dive: Canonical dive number.
        voters: Most exemplars to use, 1 or more.
        seed: Seed of the order among exemplars of one number.
        evidence: Log likelihood of a dive number by the turns that were counted, whatever its zero; those that they
            rule out have minus infinity, and are never named. None if nothing was counted.

    Raises:
        BankError: The bank is empty, holds nothing but the dive itself, or has no exemplar of that name.
    """
    if not bank.exemplars:
        how = "build" if bank.name == BUNDLED else "add"
        raise BankError("an empty bank", where=bank.name, hint=f"add exemplars: finecausal exemplars {how}")
    likeness = similarities(query, bank.encodings)
    if exemplar is not None:
        index = bank.index(exemplar)
        return _choice(
            (index,),
            likeness,
            "named by you",
            dive or bank.exemplars[index].dive,
            "given" if dive else f"that of exemplar {exemplar}",
        )
    if echoes := _echoes(bank, query):
        kept = [index for index in range(len(bank.exemplars)) if index not in echoes]
        if not kept:
            hint = "add other judged dives: finecausal exemplars add; or let others vote too: --bank mine+bundled"
            raise BankError("its only exemplar is this dive itself", where=bank.name, hint=hint)
        choice = choose_voters(bank.select(kept), query, dive=dive, voters=voters, seed=seed, evidence=evidence)
        return replace(choice, indices=tuple(kept[index] for index in choice.indices))
    if dive is None:
        if query.number_logits is not None and (known := _numbers(bank)):
            return _recognised(bank, likeness, query.number_logits, known, evidence, voters=voters, seed=seed)
        nearest = _nearest(bank, likeness, voters)
        possible = {name for name, number in _numbers(bank).items() if evidence is None or isfinite(evidence(number))}
        return replace(nearest, candidates=tuple(each for each in nearest.candidates if each[0] in possible))
    same = _of_number(bank, dive, seed)
    if not same:
        nearest = _nearest(bank, likeness, voters)
        caveat = f"the bank has no exemplar of {dive}: the nearest by encoding vote instead, so trust the score less"
        return _choice(nearest.indices, likeness, "nearest by encoding", dive, "given", (caveat,))
    chosen = tuple(same[:voters])
    return _choice(chosen, likeness, _how(bank, chosen, same, dive), dive, "given")


def _echoes(bank: Bank, query: Encoding) -> set[int]:
    """Return the exemplars of one's own that are the dive itself: the same encoding, but for rounding."""
    own = list(bank.own)
    if not own:
        return set()
    video = query.video.to(bank.encodings.video.device)
    apart = (bank.encodings.video[own] - video).flatten(1).abs().amax(1)
    same = apart <= _SAME_ENCODING * video.abs().amax().clamp(min=1e-6)
    return {index for index, is_same in zip(own, same.tolist(), strict=True) if is_same}


def _how(bank: Bank, chosen: Sequence[int], same: Sequence[int], dive: str) -> str:
    """Say how many exemplars of a number vote, of each part of the bank."""
    counts = [[bank.part_index(index) for index in indices] for indices in (chosen, same)]
    shares = [(part.name, *(each.count(place) for each in counts)) for place, part in enumerate(bank.parts)]
    if len(shares) == 1:
        return f"{len(chosen)} of {len(same)} exemplars of {dive}"
    voting = [f"{some} of {there} in {name}" for name, some, there in shares if there]
    return f"exemplars of {dive}: {', '.join(voting)}"


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
    features = query.fused.flatten(1).to(stored.device)
    return torch.nn.functional.cosine_similarity(features - centre, stored - centre)


def _nearest(bank: Bank, likeness: Tensor, voters: int) -> Choice:
    order = torch.argsort(likeness, descending=True, stable=True)[:voters].tolist()
    shares: dict[str | None, int] = defaultdict(int)
    for index in order:
        shares[bank.exemplars[index].dive] += 1
    dive = max(shares, key=lambda number: shares[number])
    if 2 * shares[dive] > len(order):
        dive_from = f"recognised: {shares[dive]} of the {len(order)} nearest exemplars are {dive}"
        caveat = NOT_SURE
    else:
        dive, most = None, shares[dive]
        dive_from = f"not recognised: no more than {most} of the {len(order)} nearest exemplars share a number"
        caveat = "the dive number is not known, so dives of other numbers vote: name it with --dive"
    choice = _choice(tuple(order), likeness, f"the {len(order)} nearest by encoding", dive, dive_from, (caveat,))
    # What the neighbours share is no calibrated probability, so no number is sure by it.
    most_first = sorted(shares.items(), key=lambda share: -share[1])[:_LIKELIEST]
    candidates = tuple((number, count / len(order)) for number, count in most_first if number is not None)
    return replace(choice, is_sure=False, candidates=candidates)


def _recognised(
    bank: Bank,
    likeness: Tensor,
    logits: Tensor,
    known: Mapping[str, DiveNumber],
    evidence: Callable[[DiveNumber], float] | None,
    *,
    voters: int,
    seed: int,
) -> Choice:
    """Choose the number that is likeliest by what the network recognises and by the turns that were counted.

    A small bank does not make its numbers surer, so those of competitions count too.
    """
    ranked = likeliest = _ranked(logits, known)
    favourite = ranked[0][1]
    fits: dict[str, float] = {}
    if evidence is not None:
        common = {str(number): number for number in competition_statistics().numbers}
        every = {**common, **known}
        fits = {name: evidence(number) for name, number in every.items()}
        counted = _ranked(logits / _COUNTED_TEMPERATURE, every, fits)
        likeliest = [each for each in counted if each[1] in known and isfinite(fits[each[1]])]
    named = [each for each in likeliest[:_LIKELIEST] if each[0] >= _LEAST_LIKELY]
    most, dive = (likeliest or ranked)[0]
    caveats: tuple[str, ...] = ()
    if not likeliest:
        caveats = ("no dive number of the bank fits the turns counted",)
    elif favourite != dive:
        how_well = f"fits the turns counted less well than {dive}"
        if not isfinite(fits[favourite]):
            how_well = "does not fit the turns counted"
        caveats = (f"the number that the body looks most like, {favourite}, {how_well}",)
    same = _of_number(bank, dive, seed)
    chosen = tuple(same[:voters])
    how = _how(bank, chosen, same, dive)
    candidates = tuple((number, probability) for probability, number in named)
    if most > _SURE and likeliest:
        is_sure, dive_from = most >= SURE_NUMBER, f"recognised from the video, {most:.0%} sure"
        choice = _choice(chosen, likeness, how, dive, dive_from, (RECOGNISED if is_sure else NOT_SURE, *caveats))
        return replace(choice, is_sure=is_sure, candidates=candidates)
    perhaps = ", ".join(f"{number} {probability:.0%}" for probability, number in named)
    nothing = "what it looks like does not fit the turns counted" if likeliest else "no number fits the turns counted"
    dive_from = f"not recognised: {f'perhaps {perhaps}' if perhaps else nothing}"
    caveat = f"the dive number is not known, so exemplars of {dive}, the likeliest, vote: name it with --dive"
    choice = _choice(chosen, likeness, how, None, dive_from, (caveat, *caveats))
    return replace(choice, is_sure=False, candidates=candidates)


def _ranked(
    logits: Tensor, numbers: Mapping[str, DiveNumber], fits: Mapping[str, float] | None = None
) -> list[tuple[float, str]]:
    """Return the probability of each number, if it is one of them, and its name, likeliest first."""
    likely = log_probs(logits, [*numbers.values()])[0].double().cpu()
    if fits is not None:
        likely = likely + _COMMON_POWER * _how_common([*numbers.values()]).log()
        fit = torch.tensor([fits[name] for name in numbers], dtype=torch.float64)
        counted = (1 - _WRONGLY_COUNTED) * (_COUNTED_POWER * fit).exp() + _WRONGLY_COUNTED
        likely = likely + torch.where(fit.isinf(), _RULED_OUT, counted).log()
    return sorted(zip(likely.softmax(0).tolist(), numbers, strict=True), reverse=True)


def _how_common(numbers: Sequence[DiveNumber]) -> Tensor:
    """Return how common numbers are, float64 [N], which add up to 1 or a little less."""
    marks = competition_statistics().numbers
    dives = torch.tensor([marks[number].dives if number in marks else 0 for number in numbers], dtype=torch.float64)
    return (1 - _AS_LISTED) * dives / sum(each.dives for each in marks.values()) + _AS_LISTED / len(numbers)


def _numbers(bank: Bank) -> dict[str, DiveNumber]:
    """Return the dive numbers of a bank; what somebody called a dive otherwise is none."""
    numbers = {}
    for name in sorted({exemplar.dive for exemplar in bank.exemplars if exemplar.dive is not None}):
        with suppress(DiveNumberError):
            numbers[name] = parse_dive_number(name)
    return numbers


def _of_number(bank: Bank, dive: str, seed: int) -> list[int]:
    return sorted(
        bank.of_dive(dive), key=lambda index: (bank.part_index(index), _shuffle_key(bank.exemplars[index].id, seed))
    )


def _shuffle_key(exemplar_id: str, seed: int) -> str:
    """Return what to sort by for a random order that is the same on every machine and in every order of the bank."""
    return hashlib.sha256(f"{seed}:{exemplar_id}".encode()).hexdigest()


def _choice(
    indices: tuple[int, ...],
    likeness: Tensor,
    how: str,
    dive: str | None,
    dive_from: str,
    caveats: tuple[str, ...] = (),
) -> Choice:
    return Choice(indices, tuple(float(likeness[index]) for index in indices), how, dive, dive_from, caveats)


# Compare dives with their exemplars: the arithmetic of the score, in one place (model.md step 10).


@dataclass(frozen=True)
class ExemplarVotes:
    """What V exemplars say of one dive.

    Attributes:
        pairs: The network's output for the V pairs (dive, exemplar).
        exemplar_executions: float64 [V], the exemplars' own executions; calibrated, if their part of the bank is.
        scales: float64 [V], calibration of the differences; None leaves them as they are.
        is_held: Whether they were scaled to end at what judges can give.
    """

    pairs: PairOutput
    exemplar_executions: Tensor
    scales: Tensor | None = None
    is_held: bool = False

    @property
    def differences(self) -> Tensor:
        """Dive minus exemplar, float64 [V], execution units, calibrated."""
        return self._scaled(self.pairs.delta[:, 0])

    @property
    def executions(self) -> Tensor:
        """The dive's execution by each exemplar alone, float64 [V]: its own plus the difference."""
        return self.exemplar_executions + self.differences

    @property
    def execution(self) -> float:
        """The dive's execution: the mean over the exemplars."""
        mean = float(self.executions.mean())
        return min(max(mean, 0.0), MAX_EXECUTION) if self.is_held else mean  # but for rounding it is there already

    @property
    def stage_differences(self) -> Tensor:
        """Dive minus exemplar by stage, float64 [V, G], execution units, calibrated."""
        return self._scaled(self.pairs.stage_deltas[:, 0])

    def _scaled(self, differences: Tensor) -> Tensor:
        """Calibrate differences [V, ...] of the network."""
        exact = differences.cpu().double()
        return exact if self.scales is None else exact * self.scales.view(-1, *(1,) * (exact.ndim - 1))

    @property
    def transitions(self) -> Tensor:
        """The dive's transitions beside each exemplar, int64 [V, 2]."""
        return self.pairs.transitions[:, 0].cpu()

    @property
    def borders(self) -> tuple[int, int, int, int]:
        """Borders of the stages, sampled frames: the mean of the transitions over the exemplars."""
        flight, entry = (round(frame) for frame in self.transitions.double().mean(0).tolist())
        return 0, flight, entry, CLIP_FRAMES


def compare_with_exemplars(
    model: FineCausal,
    queries: Sequence[Encoding],
    bank: Bank,
    voters: Sequence[Sequence[int]],
    *,
    attention: bool = False,
    hold: bool = True,
) -> list[ExemplarVotes]:
    """Compare each dive with its own voters, all pairs in one pass; a pair's numbers do not depend on other pairs.

    Args:
        model: The network, in evaluation mode.
        queries: One encoding a dive, each of length 1, on the network's device.
        bank: The exemplars.
        voters: Indices, in the bank, of each dive's voters.
        attention: Keep the attention of the graph and of the stages.
        hold: Let no execution lead beyond what judges can give (`hold_within`).
    """
    if not queries:
        return []
    counts = [len(indices) for indices in voters]
    exemplars = bank.encodings.select([index for indices in voters for index in indices]).to(queries[0].video.device)
    repeated = Encoding.concat([query.expand(count) for query, count in zip(queries, counts, strict=True)])
    with torch.inference_mode():
        pairs = model.compare(repeated, exemplars, attention=attention)
    votes, first = [], 0
    for indices in voters:
        executions = torch.tensor([bank.exemplars[index].execution for index in indices], dtype=torch.float64)
        rows = _rows(pairs, slice(first, first + len(indices)))
        counted = _calibrated(rows, executions, [bank.part_of(index).calibration for index in indices])
        votes.append(hold_within(counted) if hold else counted)
        first += len(indices)
    return votes


def _calibrated(pairs: PairOutput, executions: Tensor, calibrations: Sequence[Calibration | None]) -> ExemplarVotes:
    """Correct each vote: both what the exemplar has and what the dive has more."""
    if not any(calibrations):
        return ExemplarVotes(pairs, executions)
    scales = torch.tensor([1.0 if each is None else each.scale for each in calibrations], dtype=torch.float64)
    offsets = torch.tensor([0.0 if each is None else each.offset for each in calibrations], dtype=torch.float64)
    return ExemplarVotes(pairs, scales * executions + offsets, scales)


def hold_within(votes: ExemplarVotes) -> ExemplarVotes:
    """Return votes whose mean is an execution that judges can give, 0..30.

    Where the differences lead beyond an end, as for a failed dive, all of them are scaled by what leads just to it: the
    stages still add up to the score.
    """
    start, reached = float(votes.exemplar_executions.mean()), votes.execution
    end = min(max(reached, 0.0), MAX_EXECUTION)
    if end == reached or not 0 <= start <= MAX_EXECUTION:
        return votes
    share = (end - start) / (reached - start)
    scales = torch.ones_like(votes.exemplar_executions) if votes.scales is None else votes.scales
    return replace(votes, scales=scales * share, is_held=True)


def _rows(pairs: PairOutput, rows: slice) -> PairOutput:
    tensors = {field.name: getattr(pairs, field.name) for field in fields(pairs)}
    return replace(pairs, **{name: tensor[rows] for name, tensor in tensors.items() if tensor is not None})


@dataclass(frozen=True)
class VotingContext:
    """Query encoding, exemplars and pairwise outputs of one dive, to recompute its score after an intervention.

    Attributes:
        model: The network, in evaluation mode.
        bank: The exemplars.
        indices: Indices of the V voters in the bank.
        query: Encoding of the dive, length 1, on the network's device.
        votes: What the voters say; with the attention kept where it is to be explained.
        difficulty: The dive's difficulty: turns execution into points. None where it is not known; then everything
            that is called points or a score is in marks of a judge (execution / 3).
        hold: Whether no execution leads beyond what judges can give.
    """

    model: FineCausal
    bank: Bank
    indices: tuple[int, ...]
    query: Encoding
    votes: ExemplarVotes
    difficulty: float | None
    hold: bool = True

    @classmethod
    def build(
        cls,
        model: FineCausal,
        query: Encoding,
        bank: Bank,
        indices: Sequence[int],
        *,
        difficulty: float | None,
        hold: bool = True,
    ) -> VotingContext:
        """Compare a dive with its voters, the attention kept."""
        (votes,) = compare_with_exemplars(model, [query], bank, [indices], attention=True, hold=hold)
        return cls(model, bank, tuple(indices), query, votes, difficulty, hold)

    @property
    def scale(self) -> float:
        """What turns execution into points or, without a difficulty, into marks."""
        return 1 / COUNTING_MARKS if self.difficulty is None else self.difficulty

    @property
    def score(self) -> float:
        """The dive's score, points; its mark without a difficulty."""
        return self.votes.execution * self.scale

    @cached_property
    def voters(self) -> Encoding:
        """Encodings of the voters, length V, on the network's device."""
        return self.bank.encodings.select(list(self.indices)).to(self.query.video.device)

    def points(self, stage_differences: Tensor) -> list[float]:
        """Turn stage differences [V, G] of the network, execution units, into points a stage, mean over the voters."""
        weights = torch.tensor(STAGE_WEIGHTS, dtype=torch.float64)
        exact = stage_differences.cpu().double()
        if self.votes.scales is not None:
            exact = exact * self.votes.scales[:, None]
        points: list[float] = (exact.mean(0) * weights * self.scale).tolist()
        return points

    def rescore(self, query: Encoding, transitions: Tensor | None = None) -> float:
        """Return the score, points, by the same voters for another encoding or with the stages cut elsewhere.

        Args:
            query: Length 1, on the network's device.
            transitions: int64 [V, 2, 2], as for ``FineCausal.compare``; None lets the network find them.
        """
        with torch.inference_mode():
            pairs = self.model.compare(query, self.voters, transitions=transitions)
        votes = ExemplarVotes(pairs, self.votes.exemplar_executions, self.votes.scales)
        return (hold_within(votes) if self.hold else votes).execution * self.scale
