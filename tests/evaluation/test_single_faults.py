from dataclasses import asdict

import numpy as np
import pytest
import torch

from benchmarks.single_faults import STAGES, FaultRanking, Naming, draw_planted, plant_fault, rank_single_faults
from finecausal_cli.diving import parse_dive_number
from finecausal_cli.evaluation.predict import bank_of
from finecausal_cli.scoring.scorer import Scorer
from finecausal_cli.simulator.athlete import STAGE_FAULTS
from finecausal_cli.simulator.judging import deductions
from finecausal_cli.simulator.recording import plan_dataset
from finecausal_cli.weights import WeightsInfo


def naming(planted, named, *, costliest=None, contributions=(0.0, 0.0, 0.0)):
    return Naming(0, "107B", planted, costliest or planted, contributions, {"do(exemplar)": named})


@pytest.fixture(scope="module")
def scorer(tiny_model, make_encoded):
    encoded = make_encoded(["107B", "107B", "5253B"], seed=1)
    return Scorer(
        tiny_model,
        bank_of(encoded, name="made", weights_digest="w" * 64),
        info=WeightsInfo(),
        weights_name="tiny",
        weights_digest="w" * 64,
        device=torch.device("cpu"),
    )


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("number", ["107B", "5253B"])
def test_only_the_planted_stage_has_faults_worth_naming(stage, number):
    dive = parse_dive_number(number)
    for seed in range(20):
        rng = np.random.default_rng(seed)
        faults = draw_planted(rng, dive, stage, "all").as_dict()
        one = draw_planted(rng, dive, stage, "one").as_dict()
        gross = draw_planted(rng, dive, stage, "one gross").as_dict()
        own = STAGE_FAULTS[stage]
        assert all(0.6 <= faults[name] <= 0.78 or faults[name] == 0 for name in own)
        assert sum(faults[name] > 0 for name in own) >= 3
        assert all(value <= 0.11 for name, value in faults.items() if name not in own)
        assert sum(value > 0.11 for value in one.values()) == 1
        assert sum(one[name] > 0.11 for name in own) == 1
        assert [value for value in gross.values() if value > 0.11] == [1.0]
        assert sum(gross[name] == 1.0 for name in own) == 1
        for pair in (("leaning_takeoff", "close_to_board"), ("short_rotation", "over_rotation")):
            assert min(faults[name] for name in pair) == 0
        assert dive.half_twists or faults["crossed_twist"] == 0


def test_the_stages_take_turns_and_no_dive_fails():
    plan = plan_dataset(5, dives=["107B", "5253B"])
    planted = [plant_fault(plan, index, "all") for index in range(12)]
    assert [one.stage for one in planted] == [*STAGES] * 4
    assert not any(one.simulated.seen.failed for one in planted)
    for one in planted:
        cost = deductions(one.simulated.seen)
        assert one.costliest == max(cost, key=lambda stage: cost[stage])
    again = plant_fault(plan, 4, "all").simulated
    assert asdict(again.faults) == asdict(planted[4].simulated.faults)


def test_hits_are_counted_by_hand():
    ranking = FaultRanking(
        "all",
        (
            naming("takeoff", "takeoff"),
            naming("takeoff", "entry", costliest="entry"),
            naming("flight", "flight"),
            naming("entry", "entry"),
        ),
    )
    assert ranking.hits("do(exemplar)") == (3, 4)
    assert ranking.hits("do(exemplar)", planted="takeoff") == (1, 2)
    assert ranking.hits("do(exemplar)", costliest=True) == (4, 4)
    row = ranking.figures()["do(exemplar)"]
    assert (row["first"], row["dives"], row["first_entry"], row["first_costliest"]) == (3, 4, 1, 4)
    # Wilson's interval of 3 in 4, worked by hand: centre (3 + 1.92) / (4 + 3.84), half-width 0.328.
    assert (row["low"], row["high"]) == (pytest.approx(0.3006, abs=1e-3), pytest.approx(0.9544, abs=1e-3))


def test_a_method_counts_only_where_it_could_always_name():
    both = Naming(0, "107B", "entry", "entry", (0, 0, 0), {"do(exemplar)": "entry", "do(bank mean)": "entry"})
    assert FaultRanking("all", (both, naming("entry", "entry"))).methods == ("do(exemplar)",)


def test_separation_is_the_share_of_pairs_in_the_right_order():
    contributions = [("takeoff", -2.0), ("takeoff", 0.0), ("flight", 0.0), ("entry", 1.0)]
    ranking = FaultRanking("all", tuple(naming(stage, stage, contributions=(x, 0, 0)) for stage, x in contributions))
    # -2 is below both, 0 ties with one and is below the other: 3.5 of 4.
    assert ranking.separation("takeoff") == pytest.approx(3.5 / 4)
    # A stage that is never read separates nothing, however often it is named by default.
    assert ranking.separation("flight") == pytest.approx(0.5)


@pytest.mark.thorough
def test_a_measurement_names_a_stage_by_every_method(scorer):
    seen = []
    ranking = rank_single_faults(scorer, 3, raised="one", seed=9, advance=lambda: seen.append(1))
    assert len(seen) == 3
    assert [one.planted for one in ranking.namings] == [*STAGES]
    assert set(ranking.methods) == {
        "do(exemplar)",
        "do(bank mean)",
        "do(bank best)",
        "contribution",
        "graph attention",
        "stage attention",
    }
    for one in ranking.namings:
        assert one.number in {"107B", "5253B"}
        assert one.named["contribution"] == STAGES[int(np.argmin(one.contributions))]
    assert rank_single_faults(scorer, 3, raised="one", seed=9) == ranking
