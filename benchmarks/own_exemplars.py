"""Measure what a few judged dives of one's own are worth: ``python -m benchmarks.own_exemplars FOLDER``.

FOLDER is a data set with judged dives in another style than the bank of the weights, such as the part ``wild`` of
``make benchmark-data``. From its dives a few are drawn as a bank of one's own, many times. The others are scored, with
their dive number and height given, by the bundled bank alone and in the ways that ``--bank`` offers. Errors are in
points. The gain is what is taken off the mean error of the bundled bank on the same dives: mean and spread over draws.

Each dive is found and encoded once (``--cache``), and each pair compared once, so that draws cost nothing.
"""

from __future__ import annotations

import argparse
import hashlib
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table
from safetensors.torch import load_file, save_file

from finecausal_cli.config import DEFAULT_WEIGHTS
from finecausal_cli.data.manifest import read_manifest
from finecausal_cli.errors import FinecausalError
from finecausal_cli.model.outputs import Encoding
from finecausal_cli.retrieval.bank import Bank, Exemplar, JudgedClip
from finecausal_cli.retrieval.own_bank import PairDifferences, calibrated, leave_one_out
from finecausal_cli.retrieval.voting import choose_voters
from finecausal_cli.scoring import ScoreOptions
from finecausal_cli.scoring.scorer import Scorer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from finecausal_cli.data import Dive

    Floats = NDArray[np.float64]

WAYS = ("bundled", "mine", "mine+bundled, not calibrated", "mine+bundled")
SIZES = (5, 10, 20)
"""Dives in the bank of one's own."""


@dataclass(frozen=True)
class Gains:
    """Errors over the draws of one size.

    Attributes:
        size: Dives in the bank of one's own.
        errors: Mean absolute error of the other dives, points, by draw, for each of ``WAYS``.
        covered: Share of the other dives within the interval of ``mine+bundled``; NaN where it is withheld.
    """

    size: int
    errors: dict[str, list[float]]
    covered: list[float]

    def gain(self, way: str) -> tuple[float, float]:
        """Return the share taken off the error of the bundled bank: mean and standard deviation over the draws."""
        shares = 1 - np.array(self.errors[way]) / np.array(self.errors["bundled"])
        return float(shares.mean()), float(shares.std())


class KnownPairs(PairDifferences):
    """Differences of pairs that were all computed before, by identifier."""

    def __init__(self, deltas: dict[tuple[str, str], float], bank: Bank) -> None:
        self._deltas, self._ids = deltas, [exemplar.id for exemplar in bank.exemplars]

    def delta(self, index: int, voter: int) -> float:
        """Return how much better one exemplar is than another."""
        return self._deltas[self._ids[index], self._ids[voter]]

    def compute(self, wanted: dict[int, set[int]]) -> None:
        """Nothing is missing."""


def encode(scorer: Scorer, dives: Sequence[Dive], cache: Path) -> Bank:
    """Return dives as a bank of one's own; those that ``score`` refuses are left out."""
    cache.mkdir(parents=True, exist_ok=True)
    exemplars, encodings = [], []
    for dive in track(dives, "finding and encoding dives", console=Console(stderr=True)):
        name = hashlib.sha256(f"{scorer.weights[1]} {dive.video.resolve()} {dive.video.stat().st_mtime_ns}".encode())
        stored = cache / f"{name.hexdigest()[:24]}.safetensors"
        if not stored.exists():
            options = ScoreOptions(dive=dive.number, height_m=dive.height_m, difficulty=dive.difficulty)
            try:
                prepared = scorer.locate(dive.video, options)
                found = scorer.encode_dive(prepared) if prepared.dive_clip.dive.is_whole else None
            except FinecausalError:
                found = None
            save_file({} if found is None else {"video": found.video.cpu(), "mask": found.mask.cpu()}, stored)
        parts = load_file(stored)
        if parts:
            clip = JudgedClip(path=str(dive.video.resolve()))
            exemplars.append(
                Exemplar(
                    id=dive.key,
                    dive=dive.number,
                    height_m=dive.height_m,
                    difficulty=dive.difficulty,
                    execution=dive.execution,
                    clip=clip,
                )
            )
            encodings.append(Encoding(parts["video"], parts["mask"]))
    return Bank("mine", tuple(exemplars), Encoding.concat(encodings), scorer.weights[1])


def compare_all(scorer: Scorer, mine: Bank, bundled: Bank) -> dict[tuple[str, str], float]:
    """Compare every dive with every other one, and with those of the bundled bank that may vote on it."""
    joined = Bank.join([mine, bundled])
    pairs = PairDifferences(scorer.model, joined, scorer.device)
    own = range(len(mine.exemplars))
    wanted = {}
    for index in own:
        elsewhere = choose_voters(bundled, mine.encodings.select(index), dive=mine.exemplars[index].dive)
        wanted[index] = {other for other in own if other != index} | {len(own) + other for other in elsewhere.indices}
    pairs.compute(wanted)
    names = [exemplar.id for exemplar in joined.exemplars]
    return {
        (names[index], names[voter]): pairs.delta(index, voter) for index, voters in wanted.items() for voter in voters
    }


def choose(bank: Bank, mine: Bank, dives: Sequence[int]) -> dict[int, tuple[int, ...]]:
    """Return who in a bank votes on each dive."""
    return {
        index: choose_voters(bank, mine.encodings.select(index), dive=mine.exemplars[index].dive).indices
        for index in dives
    }


def errors_of(
    bank: Bank, mine: Bank, voters: dict[int, tuple[int, ...]], deltas: dict[tuple[str, str], float]
) -> Floats:
    """Return the errors of execution of dives by a bank, each vote calibrated if its part of the bank is."""
    found = []
    for index, chosen in voters.items():
        dive, votes = mine.exemplars[index], []
        for voter in chosen:
            execution = bank.exemplars[voter].execution + deltas[dive.id, bank.exemplars[voter].id]
            calibration = bank.part_of(voter).calibration
            votes.append(execution if calibration is None else calibration.scale * execution + calibration.offset)
        found.append(abs(float(np.mean(votes)) - dive.execution))
    return np.array(found)


def measure(
    scorer: Scorer, mine: Bank, deltas: dict[tuple[str, str], float], size: int, draws: int, seed: int, *, same: bool
) -> Gains:
    """Draw banks of one's own, and score the dives that are not in them.

    Args:
        scorer: Has the bundled bank.
        mine: All dives.
        deltas: From ``compare_all``.
        size: Dives in a bank of one's own.
        draws: How many banks.
        seed: Random seed.
        same: Draw dives of one number, and score the others of it.
    """
    rng = np.random.default_rng(seed)
    numbers = np.array([exemplar.dive or "" for exemplar in mine.exemplars])
    often = [number for number, count in Counter(numbers.tolist()).items() if count > size]
    bundled = choose(scorer.bank, mine, range(len(mine.exemplars)))
    difficulties = np.array([exemplar.difficulty for exemplar in mine.exemplars])
    gains = Gains(size, {way: [] for way in WAYS}, [])
    for _ in range(draws):
        members = np.flatnonzero(numbers == rng.choice(often)) if same else np.arange(len(numbers))
        order = rng.permutation(members)
        own, others = sorted(order[:size].tolist()), order[size:].tolist()
        alone = mine.select(own)
        joined = Bank.join([alone, scorer.bank])
        one_out = leave_one_out(scorer.model, joined, pairs=KnownPairs(deltas, joined))
        assert one_out is not None  # noqa: S101 - there are dives of one's own
        together = choose(joined, mine, others)
        ways = (
            (scorer.bank, {index: bundled[index] for index in others}),
            (alone, choose(alone, mine, others)),
            (joined, together),
            (calibrated(joined, one_out), together),
        )
        for way, (bank, voters) in zip(WAYS, ways, strict=True):
            errors = errors_of(bank, mine, voters, deltas)
            gains.errors[way].append(float((errors * difficulties[others]).mean()))
        interval = one_out.interval
        gains.covered.append(
            float("nan") if interval is None else float((errors <= interval.execution_half_width).mean())
        )
    return gains


def table(results: Sequence[Gains], title: str) -> Table:
    """Return a row for each size of bank and way to use it."""
    shown = Table("own dives", "--bank", "mean error", "spread", "gain", "spread", "covered", title=title)
    for gains in results:
        for way in WAYS:
            errors, (gain, spread) = np.array(gains.errors[way]), gains.gain(way)
            covered = np.array(gains.covered)
            is_shown = way == WAYS[-1] and not np.isnan(covered).any()
            shown.add_row(
                str(gains.size),
                way,
                f"{errors.mean():.2f}",
                f"{errors.std():.2f}",
                f"{gain:+.1%}",
                f"{spread:.1%}",
                f"{covered.mean():.1%}" if is_shown else "",
            )
    return shown


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.own_exemplars", description=__doc__)
    parser.add_argument("folder", type=Path, help="a data set with dives.csv")
    parser.add_argument("--weights", default=DEFAULT_WEIGHTS)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="dives in a bank of one's own")
    parser.add_argument("--draws", type=int, default=40, help="banks of one's own that are drawn")
    parser.add_argument("--limit", type=int, help="only the first dives of the folder")
    parser.add_argument("--same-number", action="store_true", help="draw dives of one number, score others of it")
    parser.add_argument("--cache", type=Path, default=Path("runs/own_exemplars"), help="folder of encodings")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(arguments)
    scorer = Scorer.load(args.weights, device=args.device)
    scored = [dive for dive in read_manifest(args.folder) if dive.score is not None][: args.limit]
    with torch.inference_mode():
        mine = encode(scorer, scored, args.cache)
        deltas = compare_all(scorer, mine, replace(scorer.bank, name="bundled"))
    counts = Counter(exemplar.dive for exemplar in mine.exemplars)
    most = max(counts.values()) if args.same_number else len(mine.exemplars)
    results = [
        measure(scorer, mine, deltas, size, args.draws, args.seed, same=args.same_number)
        for size in args.sizes
        if size < most
    ]
    title = f"{len(mine.exemplars)} of {len(scored)} dives found, {len(counts)} numbers, {args.weights}"
    Console(width=100).print(table(results, title))


if __name__ == "__main__":
    main()
