"""Localisation of planted faults: how often each explanation method ranks the faulty stage first."""

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
from finecausal_cli.simulator.dive import FPS, SimulatedDive, simulate_dive
from finecausal_cli.simulator.judging import deductions
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
"""Which faults of the planted stage are raised: all that a dive can have at once; a random one; a random one to the
simulator's maximum."""

Method = Literal["do(exemplar)", "do(bank mean)", "do(bank best)", "contribution", "graph attention", "stage attention"]
"""Methods that rank stages: by the gain of a replacement; by the lowest contribution; by the attention to the query's
snippets or to its stages, relative to no preference."""

_BY_BANK: Mapping[Replacement, Method] = {"bank_mean": "do(bank mean)", "bank_best": "do(bank best)"}

HELD_OUT_SEED = 777_000_001
"""Used for no dataset of the project."""

_SMALL = 0.11
"""Size of the other faults: the minimum of simulated dives."""

_HIGH, _GROSS = (0.6, 0.78), 1.0
"""Size of the raised faults: the upper range of simulated dives; and the maximum, beyond any of them."""

_EVEN_CAUSAL = np.array([1 + 1 / 2 + 1 / 3, 1 / 2 + 1 / 3, 1 / 3])
"""Attention that each stage receives where every stage attends evenly to itself and earlier stages."""

_ALTERNATIVES = (("leaning_takeoff", "close_to_board"), ("short_rotation", "over_rotation"))
"""Mutually exclusive faults."""


@dataclass(frozen=True, slots=True)
class PlantedDive:
    """A dive with a fault planted in one stage.

    Attributes:
        stage: The stage.
        simulated: The dive.
        config: Venue and camera.
    """

    stage: str
    simulated: SimulatedDive
    config: SceneConfig

    @property
    def costliest(self) -> str:
        """The stage that costs most points; not always the planted one, as a low take-off affects the entry."""
        cost = deductions(self.simulated.seen)
        return max(STAGES, key=lambda stage: cost[stage])


@dataclass(frozen=True, slots=True)
class Naming:
    """The stage that each method ranks first for one planted dive.

    Attributes:
        index: The dive.
        number: Its dive number.
        planted: The stage of the planted fault.
        costliest: The stage that cost most points.
        contributions: Of each stage against the exemplars, execution units.
        named: First-ranked stage by method.
    """

    index: int
    number: str
    planted: str
    costliest: str
    contributions: tuple[float, float, float]
    named: dict[Method, str]


@dataclass(frozen=True)
class FaultRanking:
    """How often each method ranks the right stage first.

    Attributes:
        raised: Which faults of a stage were raised.
        namings: One per dive.
    """

    raised: Raised
    namings: tuple[Naming, ...]

    @property
    def methods(self) -> tuple[Method, ...]:
        """The methods that rank stages in every dive."""
        first = self.namings[0].named
        return tuple(method for method in first if all(method in naming.named for naming in self.namings))

    def hits(self, method: Method, *, planted: str | None = None, costliest: bool = False) -> tuple[int, int]:
        """Return in how many dives a method ranks the right stage first, and the number of dives.

        Args:
            method: The method.
            planted: Only dives with the fault in this stage; None counts all.
            costliest: Take the stage that cost most points for the right one, not the planted one.
        """
        counted = [naming for naming in self.namings if planted in (None, naming.planted)]
        right = sum(naming.named[method] == (naming.costliest if costliest else naming.planted) for naming in counted)
        return right, len(counted)

    def separation(self, stage: str) -> float:
        """Return the ROC AUC of a stage's contribution for a fault in that stage: 1 is perfect, 1/2 is chance.

        Of all pairs of a dive with the fault in this stage and one with it in another, the share in which the first has
        the lower contribution (ties count half). NaN where one of the two kinds is missing.
        """
        index = STAGES.index(stage)
        here = np.array([naming.contributions[index] for naming in self.namings if naming.planted == stage])
        elsewhere = np.array([naming.contributions[index] for naming in self.namings if naming.planted != stage])
        if not len(here) or not len(elsewhere):
            return float("nan")
        apart = elsewhere[None] - here[:, None]
        return float(((apart > 0) + 0.5 * (apart == 0)).mean())

    def figures(self) -> dict[str, dict[str, float | int]]:
        """Return the counts of every method, with Wilson's 95% interval of the share, as plain data."""
        rows: dict[str, dict[str, float | int]] = {}
        for method in self.methods:
            right, dives = self.hits(method)
            low, high = share_interval(right, dives)
            row: dict[str, float | int] = {"first": right, "dives": dives, "low": low, "high": high}
            for stage in STAGES:
                row[f"first_{stage}"], row[f"dives_{stage}"] = self.hits(method, planted=stage)
            row["first_costliest"] = self.hits(method, costliest=True)[0]
            rows[method] = row
        return rows


def rank_single_faults(
    scorer: Scorer,
    dives: int = 100,
    *,
    raised: Raised = "all",
    voters: int = 10,
    seed: int = HELD_OUT_SEED,
    advance: Callable[[], object] = lambda: None,
) -> FaultRanking:
    """Plant a fault in one stage of held-out simulated dives, and rank the stages by every method.

    The stages take turns. Dive numbers are those of the bank; each dive is rendered, compressed and decoded as in a
    dataset. The dive number is given, as the bank's mean needs it.

    Args:
        scorer: Weights and bank.
        dives: How many dives.
        raised: Which faults of the planted stage to raise.
        voters: Most exemplars per dive.
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
        indices = choose_voters(scorer.bank, query, dive=number, voters=voters).indices
        context = VotingContext.build(
            scorer.model, query, scorer.bank, indices, difficulty=planted.simulated.difficulty
        )
        takeoff, flight, entry = context.points(context.votes.pairs.stage_deltas[:, 0] / context.scale)
        namings.append(
            Naming(
                index=index,
                number=number,
                planted=planted.stage,
                costliest=planted.costliest,
                contributions=(takeoff, flight, entry),
                named=name_stages(context, number),
            )
        )
        advance()
    return FaultRanking(raised, tuple(namings))


def plant_fault(plan: DatasetPlan, index: int, raised: Raised) -> PlantedDive:
    """Simulate dive ``index`` of a plan with faults of one stage and minimal others; no failed dive.

    A failed dive scores 0 whatever its faults, so its faults are resampled.
    """
    stage = STAGES[index % len(STAGES)]
    drawn = plan.dive(index)
    for attempt in count():
        rng = np.random.default_rng(np.random.SeedSequence((plan.seed, index, attempt, 6)))
        faults = draw_planted(rng, drawn.dive, stage, raised)
        simulated = simulate_dive(drawn.dive, drawn.height_m, drawn.seed, faults, draw=plan.draw)
        if not simulated.seen.failed:
            return PlantedDive(stage, simulated, plan.scene_config(index, simulated))
    raise AssertionError("count never ends")


def draw_planted(rng: np.random.Generator, dive: DiveNumber, stage: str, raised: Raised) -> Faults:
    """Draw the faults of a dive with one faulty stage."""
    values = {name: _SMALL for names in STAGE_FAULTS.values() for name in names}
    if not dive.half_twists:
        values["crossed_twist"] = 0.0
    for pair in _ALTERNATIVES:
        values[pair[int(rng.integers(2))]] = 0.0
    possible = [name for name in STAGE_FAULTS[stage] if values[name] > 0]
    chosen = possible if raised == "all" else [possible[int(rng.integers(len(possible)))]]
    raised_to = {name: _GROSS if raised == "one gross" else float(rng.uniform(*_HIGH)) for name in chosen}
    return Faults(**{**values, **raised_to})


def name_stages(context: VotingContext, number: str | None) -> dict[Method, str]:
    """Return the stage that each method ranks first."""
    interventions, banks = intervene(context, number)
    contributions = context.points(context.votes.pairs.stage_deltas[:, 0])
    stages_named: dict[Method, str] = {"do(exemplar)": rank(interventions, "exemplar").stages[0]}
    for replaced_by, method in _BY_BANK.items():
        if replaced_by in banks:
            stages_named[method] = rank(interventions, replaced_by).stages[0]
    stages_named["contribution"] = STAGES[int(np.argmin(contributions))]
    graph, stages = view_graph(context.votes, None, None), context.votes.pairs.stage_attention
    if graph is not None:
        preference = stage_preference(snippet_shares(graph), frames_by_stage(context.votes.borders))
        stages_named["graph attention"] = STAGES[int(preference.argmax())]
    if stages is not None:
        received = stages[:, 0].mean((0, 1)).sum(0).cpu().double().numpy()
        stages_named["stage attention"] = STAGES[int((received / _EVEN_CAUSAL).argmax())]
    return stages_named


def _film(planted: PlantedDive, scorer: Scorer) -> Clip:
    """Render a dive to a video and read it, as a user's clip."""
    pictures = (frame for frame, _ in render(planted.simulated, planted.config))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "dive.mp4"
        write_video(path, pictures, FPS, crf=planted.config.crf, preset=PRESET)
        config = scorer.model.config
        return read_clip(path, geometry=config.geometry, frame_size=config.frame_size)
