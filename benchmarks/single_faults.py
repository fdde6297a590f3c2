"""Does an explanation find the fault? Dives with a planted fault in one stage, and what names that stage first."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from finecausal_cli.errors import BankError
from finecausal_cli.evaluation.predict import share_interval
from finecausal_cli.retrieval.voting import VotingContext, choose_voters
from finecausal_cli.scoring.explain import (
    frames_by_stage,
    intervene,
    rank,
    snippet_shares,
    stage_preference,
    view_graph,
)
from finecausal_cli.simulator.athlete import STAGE_FAULTS, Faults
from finecausal_cli.simulator.dive import FPS, SimulatedDive, deductions, simulate_dive
from finecausal_cli.simulator.recording import PRESET, plan_dataset
from finecausal_cli.simulator.render import render
from finecausal_cli.video.reader import read_clip
from finecausal_cli.video.writer import write_video

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from finecausal_cli.diving import DiveNumber
    from finecausal_cli.scoring.results import Replacement
    from finecausal_cli.scoring.scorer import Scorer
    from finecausal_cli.simulator.recording import DatasetPlan
    from finecausal_cli.simulator.render import SceneConfig
    from finecausal_cli.video import Clip

STAGES = tuple(STAGE_FAULTS)

Raised = Literal["all", "one", "one gross"]
"""Which faults of the planted stage are raised: all that a dive can have at once; one drawn by chance; one drawn by
chance, to the most that the simulator knows."""

Method = Literal["do(exemplar)", "do(bank mean)", "do(bank best)", "contribution", "graph attention", "stage attention"]
"""What names a stage: the replacement that gains most; the contribution that loses most; the stage that gets most of
the attention given to the query's snippets, or to its stages, each against what it would get without preference."""

_BY_BANK: Mapping[Replacement, Method] = {"bank_mean": "do(bank mean)", "bank_best": "do(bank best)"}

HELD_OUT_SEED = 777_000_001
"""No data set of the project is drawn from it."""

_SMALL = 0.11
"""The other faults: the least that simulated dives have."""

_HIGH, _GROSS = (0.6, 0.78), 1.0
"""Range of the raised faults: the top of what simulated dives have; and what no drawn dive has, the worst there is."""

_EVEN_CAUSAL = np.array([1 + 1 / 2 + 1 / 3, 1 / 2 + 1 / 3, 1 / 3])
"""Attention that each stage gets from itself and later ones where they attend evenly to all they may see."""

_ALTERNATIVES = (("leaning_takeoff", "close_to_board"), ("short_rotation", "over_rotation"))
"""Faults of which a dive has one at most."""


@dataclass(frozen=True, slots=True)
class PlantedDive:
    """A dive with a fault planted in one stage.

    Attributes:
        stage: That stage.
        simulated: The dive.
        setting: Where it is filmed.
    """

    stage: str
    simulated: SimulatedDive
    setting: SceneConfig

    @property
    def costliest(self) -> str:
        """The stage that costs most points: not always the planted one, for a low take-off spoils the entry too."""
        cost = deductions(self.simulated.seen)
        return max(STAGES, key=lambda stage: cost[stage])


@dataclass(frozen=True, slots=True)
class Naming:
    """Which stage each method names for one planted dive.

    Attributes:
        index: The dive.
        number: Its dive number.
        planted: The stage of the planted fault.
        costliest: The stage that cost most points.
        contributions: What each stage wins or loses against the voters, execution units.
        named: Stage by method.
    """

    index: int
    number: str
    planted: str
    costliest: str
    contributions: tuple[float, float, float]
    named: dict[Method, str]


@dataclass(frozen=True)
class FaultRanking:
    """How often each method names the right stage first.

    Attributes:
        raised: Which faults of a stage were raised.
        namings: One a dive.
    """

    raised: Raised
    namings: tuple[Naming, ...]

    @property
    def methods(self) -> tuple[Method, ...]:
        """The methods that could name a stage in every dive."""
        first = self.namings[0].named
        return tuple(method for method in first if all(method in one.named for one in self.namings))

    def hits(self, method: Method, *, planted: str | None = None, costliest: bool = False) -> tuple[int, int]:
        """Count the dives in which a method names the right stage first, and all of them.

        Args:
            method: What names the stage.
            planted: Only dives with the fault in this stage; None counts all.
            costliest: Take the stage that cost most points for the right one, not the planted one.
        """
        counted = [one for one in self.namings if planted in (None, one.planted)]
        right = sum(one.named[method] == (one.costliest if costliest else one.planted) for one in counted)
        return right, len(counted)

    def separation(self, stage: str) -> float:
        """Return how surely a fault in a stage lowers the contribution of that stage: 1 always does, 1/2 is chance.

        Of all pairs of a dive with the fault in this stage and one with it elsewhere, the share in which the first has
        the lower contribution there (ties count half). A stage that is never read gives about one half, even where it
        is named by default because the other stages gain. NaN where one of the two kinds is missing.
        """
        place = STAGES.index(stage)
        here = np.array([one.contributions[place] for one in self.namings if one.planted == stage])
        elsewhere = np.array([one.contributions[place] for one in self.namings if one.planted != stage])
        if not len(here) or not len(elsewhere):
            return float("nan")
        apart = elsewhere[None] - here[:, None]
        return float(((apart > 0) + 0.5 * (apart == 0)).mean())

    def figures(self) -> dict[str, dict[str, float | int]]:
        """Return the counts of every method, with Wilson's 95% interval of the share, as plain data."""
        found: dict[str, dict[str, float | int]] = {}
        for method in self.methods:
            right, dives = self.hits(method)
            low, high = share_interval(right, dives)
            row: dict[str, float | int] = {"first": right, "dives": dives, "low": low, "high": high}
            for stage in STAGES:
                row[f"first_{stage}"], row[f"dives_{stage}"] = self.hits(method, planted=stage)
            row["first_costliest"] = self.hits(method, costliest=True)[0]
            found[method] = row
        return found


def rank_single_faults(
    scorer: Scorer,
    dives: int = 100,
    *,
    raised: Raised = "all",
    voters: int = 10,
    seed: int = HELD_OUT_SEED,
    advance: Callable[[], object] = lambda: None,
) -> FaultRanking:
    """Plant a fault in one stage of simulated dives that nobody trained on, and see what names that stage first.

    The stages take turns. The numbers are those that the bank knows, and each dive is filmed as a data set's dives
    are: rendered, compressed, read. The dive number is told, as the bank's mean needs it.

    Args:
        scorer: Weights and bank.
        dives: How many dives.
        raised: Which faults of the planted stage to raise.
        voters: Most exemplars a dive.
        seed: Seed of the dives and venues.
        advance: Called after each dive.

    Raises:
        BankError: The bank names no dive number.
    """
    numbers = sorted({one.dive for one in scorer.bank.exemplars if one.dive is not None})
    if not numbers:
        raise BankError("no exemplar with a dive number to simulate", where=scorer.bank.name)
    plan = plan_dataset(seed, dives=numbers)
    namings = []
    for index in range(dives):
        planted = plant_fault(plan, index, raised)
        clip = _film(planted, scorer)
        query = scorer.encode(clip)
        number = str(planted.simulated.dive)
        places = choose_voters(scorer.bank, query, dive=number, voters=voters).places
        hearing = VotingContext.hold(scorer.model, query, scorer.bank, places, difficulty=planted.simulated.difficulty)
        takeoff, flight, entry = hearing.points(hearing.ballot.pairs.stage_deltas[:, 0] / hearing.difficulty)
        namings.append(
            Naming(
                index=index,
                number=number,
                planted=planted.stage,
                costliest=planted.costliest,
                contributions=(takeoff, flight, entry),
                named=name_stages(hearing, number),
            )
        )
        advance()
    return FaultRanking(raised, tuple(namings))


def plant_fault(plan: DatasetPlan, index: int, raised: Raised) -> PlantedDive:
    """Simulate dive ``index`` of a plan with faults of one stage and hardly any others; no dive that fails.

    A failed dive scores 0 whatever its faults, so its faults are drawn again.
    """
    stage = STAGES[index % len(STAGES)]
    drawn = plan.dive(index)
    for attempt in count():
        rng = np.random.default_rng(np.random.SeedSequence((plan.seed, index, attempt, 6)))
        faults = draw_planted(rng, drawn.dive, stage, raised)
        simulated = simulate_dive(drawn.dive, drawn.height_m, drawn.seed, faults)
        if not simulated.seen.failed:
            return PlantedDive(stage, simulated, plan.setting(index, simulated))
    raise AssertionError("count never ends")


def draw_planted(rng: np.random.Generator, dive: DiveNumber, stage: str, raised: Raised) -> Faults:
    """Draw the faults of a dive whose one bad stage is given."""
    values = {name: _SMALL for names in STAGE_FAULTS.values() for name in names}
    if not dive.half_twists:
        values["crossed_twist"] = 0.0
    for pair in _ALTERNATIVES:
        values[pair[int(rng.integers(2))]] = 0.0
    possible = [name for name in STAGE_FAULTS[stage] if values[name] > 0]
    chosen = possible if raised == "all" else [possible[int(rng.integers(len(possible)))]]
    raised_to = {name: _GROSS if raised == "one gross" else float(rng.uniform(*_HIGH)) for name in chosen}
    return Faults(**{**values, **raised_to})


def name_stages(hearing: VotingContext, number: str | None) -> dict[Method, str]:
    """Return the stage that each method names first."""
    interventions, taken = intervene(hearing, number)
    contributions = hearing.points(hearing.ballot.pairs.stage_deltas[:, 0])
    found: dict[Method, str] = {"do(exemplar)": rank(interventions, "exemplar").stages[0]}
    for replaced_by, method in _BY_BANK.items():
        if replaced_by in taken:
            found[method] = rank(interventions, replaced_by).stages[0]
    found["contribution"] = STAGES[int(np.argmin(contributions))]
    graph, stages = view_graph(hearing.ballot, None, None), hearing.ballot.pairs.stage_attention
    if graph is not None:
        preference = stage_preference(snippet_shares(graph), frames_by_stage(hearing.borders))
        found["graph attention"] = STAGES[int(preference.argmax())]
    if stages is not None:
        received = stages[:, 0].mean((0, 1)).sum(0).cpu().double().numpy()
        found["stage attention"] = STAGES[int((received / _EVEN_CAUSAL).argmax())]
    return found


def _film(planted: PlantedDive, scorer: Scorer) -> Clip:
    """Render a dive, store it as a video and read that, as a user's clip would be."""
    pictures = (frame for frame, _ in render(planted.simulated, planted.setting))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "dive.mp4"
        write_video(path, pictures, FPS, crf=planted.setting.crf, preset=PRESET)
        config = scorer.model.config
        return read_clip(path, geometry=config.geometry, frame_size=config.frame_size)
