from dataclasses import replace

import pytest
import torch

from finecausal_cli.model.config import STAGE_WEIGHTS
from finecausal_cli.model.outputs import Encoding
from finecausal_cli.retrieval.voting import VotingContext
from finecausal_cli.scoring.explain import StageVectors, bank_stages, intervene, rank, regress_with, replace_stages

DIFFICULTY = 3.2
STAGES = ("takeoff", "flight", "entry")


@pytest.fixture(scope="module")
def query():
    return Encoding(*torch.rand(2, 1, 9, 32, generator=torch.Generator().manual_seed(5)))


@pytest.fixture(scope="module")
def hear(tiny_bank, query):
    """Let exemplars vote on a dive."""

    def hear(model, dive=query, places=range(6), difficulty=DIFFICULTY) -> VotingContext:
        return VotingContext.build(model, dive, tiny_bank, places, difficulty=difficulty)

    return hear


@pytest.fixture(scope="module")
def context(hear, tiny_model) -> VotingContext:
    return hear(tiny_model)


def by_exemplar(context):
    return replace_stages(context, StageVectors.of_exemplars(context), "exemplar")


def regress(model, tokens):
    with torch.inference_mode():
        return model.regress(tokens).stage_deltas[:, 0].double()


def points(stage_deltas):
    return (stage_deltas.mean(0) * torch.tensor(STAGE_WEIGHTS, dtype=torch.float64) * DIFFICULTY).tolist()


def test_sums_hold(context):
    for one in intervene(context, "107B")[0]:
        assert sum(one.stage_changes) == pytest.approx(one.change, abs=1e-9)
        assert context.votes.execution * DIFFICULTY + one.change == pytest.approx(one.score, abs=1e-9)
        assert abs(one.change) > 1e-3


@pytest.mark.parametrize("place", [0, 1, 2])
def test_the_dive_gets_the_voters_own_stage_and_keeps_the_others(tiny_model, context, place):
    tokens = context.votes.pairs.tokens
    parts = [[tokens[:, dive, stage] for stage in range(3)] for dive in range(2)]
    parts[0][place] = parts[1][place]
    after = regress(tiny_model, torch.stack([torch.stack(stages, 1) for stages in parts], 1))
    changed = after - context.votes.pairs.stage_deltas[:, 0].double()
    found = by_exemplar(context)[place]
    assert (found.stage, found.replaced_by) == (STAGES[place], "exemplar")
    assert found.stage_changes == pytest.approx(points(changed), abs=1e-4)
    weighted = (changed * torch.tensor(STAGE_WEIGHTS)).sum(1)
    assert found.voters_gaining == int((weighted > 0).sum())


def test_the_bank_mean_is_that_of_its_dives_each_read_beside_the_voter(tiny_model, tiny_bank, context):
    """One pair at a time, by hand: exemplars 4 and 5 are the bank's 5253B."""
    mean = StageVectors.of_bank(context, (4, 5)).tokens
    for voter in range(6):
        partner = tiny_bank.encodings.select(voter)
        with torch.inference_mode():
            beside = [tiny_model.compare(tiny_bank.encodings.select(one), partner).tokens[0, 0] for one in (4, 5)]
        assert torch.allclose(mean[voter], (beside[0] + beside[1]) / 2, atol=1e-5)


def test_every_replacement_is_told_where_the_bank_knows_the_number(context):
    found, taken = intervene(context, "107B")
    assert [(one.stage, one.replaced_by) for one in found] == [
        (stage, replaced_by) for replaced_by in ("exemplar", "bank_mean", "bank_best") for stage in STAGES
    ]
    assert {name: (one.dive, one.exemplars) for name, one in taken.items()} == {
        "bank_mean": ("107B", 4),
        "bank_best": ("107B", 1),
    }


def test_the_bank_best_are_the_quarter_of_most_execution(context, tiny_bank):
    executions = [24.0, 21.0, 27.0, 9.0, 27.0, 12.0, 18.0, 15.0]
    dives = [
        tiny_bank.exemplars[0].model_copy(update={"id": f"{place}", "dive": "107B", "execution": execution})
        for place, execution in enumerate(executions)
    ]
    encodings = tiny_bank.encodings.select([0] * len(dives))
    bank = replace(tiny_bank, exemplars=tuple(dives), encodings=encodings)
    assert bank_stages(bank, "107B") == {"bank_mean": tuple(range(8)), "bank_best": (2, 4)}
    assert bank_stages(bank, "101A") == bank_stages(bank, None) == {}
    alone = replace(tiny_bank, exemplars=tuple(dives[:1]), encodings=tiny_bank.encodings.select([0]))
    assert bank_stages(alone, "107B") == {"bank_mean": (0,)}


@pytest.mark.parametrize("dive", [None, "101A"])
def test_without_dives_of_the_number_there_is_no_bank_mean(context, dive):
    found, taken = intervene(context, dive)
    assert not taken
    assert {one.replaced_by for one in found} == {"exemplar"}


def test_a_bank_mean_of_the_voter_alone_is_the_voter_beside_itself(hear, tiny_model, tiny_bank):
    """A dive that is its voter, whose stages are replaced by the mean over that voter: nothing changes."""
    twin = hear(tiny_model, tiny_bank.encodings.select([2]), (2,))
    for one in replace_stages(twin, StageVectors.of_bank(twin, (2,)), "bank_mean"):
        assert one.stage_changes == pytest.approx((0, 0, 0), abs=1e-4)


def test_stages_are_ranked_by_what_they_would_gain(context):
    found, _ = intervene(context, "107B")
    for kind in ("exemplar", "bank_mean", "bank_best"):
        ranking = rank(found, kind)
        changes = {one.stage: one.change for one in found if one.replaced_by == kind}
        assert ranking.changes == tuple(sorted(changes.values(), reverse=True))
        assert [changes[stage] for stage in ranking.stages] == list(ranking.changes)


def test_of_equal_gains_the_earlier_stage_comes_first(context):
    equal = [one.model_copy(update={"change": 1.0}) for one in by_exemplar(context)]
    assert rank(equal[::-1], "exemplar").stages == STAGES


def test_with_all_stages_replaced_it_is_the_voter_against_itself(tiny_model, context):
    """Replacing stage after stage, each on top of the last, ends where an exemplar meets its own copy."""
    twins = context.votes.pairs.tokens[:, 1:].expand(-1, 2, -1, -1, -1)
    itself = regress(tiny_model, twins)
    stages = StageVectors.of_exemplars(context)
    assert torch.allclose(regress_with(context, stages, (0, 1, 2)), itself, atol=1e-4)
    assert not torch.allclose(regress_with(context, stages, (0, 1)), itself, atol=1e-2)


def test_a_dive_that_is_the_exemplar_itself_changes_nothing(hear, tiny_model, tiny_bank):
    for one in by_exemplar(hear(tiny_model, tiny_bank.encodings.select([2]), (2,))):
        assert one.stage_changes == pytest.approx((0, 0, 0), abs=1e-4)


def test_no_stage_changes_an_earlier_one_but_later_ones_follow(context):
    for found in (by_exemplar(context), intervene(context, "107B")[0][3:6]):
        takeoff, flight, entry = found
        assert flight.stage_changes[0] == pytest.approx(0, abs=1e-4)
        assert entry.stage_changes[:2] == pytest.approx((0, 0), abs=1e-4)
        assert min(abs(takeoff.stage_changes[1]), abs(takeoff.stage_changes[2]), abs(flight.stage_changes[2])) > 1e-3


def test_without_the_causal_attention_each_stage_stands_alone(make_model, hear):
    for place, one in enumerate(by_exemplar(hear(make_model(tca=False)))):
        others = [change for stage, change in enumerate(one.stage_changes) if stage != place]
        assert others == pytest.approx([0, 0], abs=1e-4)
        assert abs(one.stage_changes[place]) > 1e-3


def test_points_grow_with_the_difficulty(hear, tiny_model):
    once, twice = (by_exemplar(hear(tiny_model, difficulty=difficulty)) for difficulty in (1.6, 3.2))
    assert [2 * one.change for one in once] == pytest.approx([one.change for one in twice], abs=1e-4)


def test_the_votes_is_left_as_it_was(context):
    before = context.votes.pairs.tokens.clone()
    intervene(context, "107B")
    assert torch.equal(context.votes.pairs.tokens, before)


def test_single_frames_of_a_stage_are_replaced_with_it(make_model, tiny_bank, query):
    """Otherwise the path from single frames to the score would keep the old stage."""
    model = make_model(static_branch=True)
    frames = torch.rand(7, 96, 512, generator=torch.Generator().manual_seed(2))
    bank = replace(tiny_bank, encodings=replace(tiny_bank.encodings, frames=frames[:6]))
    context = VotingContext.build(model, replace(query, frames=frames[6:]), bank, range(6), difficulty=DIFFICULTY)
    stages = StageVectors.of_exemplars(context)
    assert regress_with(context, stages, (0, 1, 2)).abs().max() < 1e-4
    kept = replace(stages, static_tokens=None)
    assert regress_with(context, kept, (0, 1, 2)).abs().max() > 1e-3
