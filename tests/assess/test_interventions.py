import pytest
import torch

from finecausal_cli.assess.interventions import replace_stages
from finecausal_cli.exemplars.vote import Ballot, cast_votes
from finecausal_cli.model.config import STAGE_WEIGHTS
from finecausal_cli.model.outputs import Encoding

DIFFICULTY = 3.2


@pytest.fixture(scope="module")
def query():
    return Encoding(*torch.rand(2, 1, 9, 32, generator=torch.Generator().manual_seed(5)))


@pytest.fixture(scope="module")
def ballot(tiny_model, tiny_bank, query) -> Ballot:
    return cast_votes(tiny_model, query, tiny_bank, range(6))


def regress(model, tokens):
    with torch.inference_mode():
        return model.regress(tokens).stage_deltas[:, 0].double()


def points(stage_deltas):
    return (stage_deltas.mean(0) * torch.tensor(STAGE_WEIGHTS, dtype=torch.float64) * DIFFICULTY).tolist()


def test_sums_hold(tiny_model, ballot):
    for one in replace_stages(tiny_model, ballot, DIFFICULTY):
        assert sum(one.stage_changes) == pytest.approx(one.change, abs=1e-9)
        assert ballot.execution * DIFFICULTY + one.change == pytest.approx(one.score, abs=1e-9)
        assert abs(one.change) > 1e-3


@pytest.mark.parametrize("place", [0, 1, 2])
def test_the_dive_gets_the_voters_own_stage_and_keeps_the_others(tiny_model, ballot, place):
    tokens = ballot.pairs.tokens
    parts = [[tokens[:, dive, stage] for stage in range(3)] for dive in range(2)]
    parts[0][place] = parts[1][place]
    after = regress(tiny_model, torch.stack([torch.stack(stages, 1) for stages in parts], 1))
    before = ballot.pairs.stage_deltas[:, 0].double()
    found = replace_stages(tiny_model, ballot, DIFFICULTY)[place]
    assert (found.stage, found.replaced_by) == (("takeoff", "flight", "entry")[place], "exemplar")
    assert found.stage_changes == pytest.approx(points(after - before), abs=1e-4)


def test_with_all_stages_replaced_it_is_the_voter_against_itself(tiny_model, ballot):
    """Replacing stage after stage, each on top of the last, ends where an exemplar meets its own copy."""
    tokens = ballot.pairs.tokens.clone()
    deltas, steps = ballot.pairs.stage_deltas[:, 0].double(), []
    for place in range(3):
        tokens[:, 0, place] = tokens[:, 1, place]
        after = regress(tiny_model, tokens)
        steps.append([a - b for a, b in zip(points(after), points(deltas), strict=True)])
        deltas = after
    twins = ballot.pairs.tokens[:, 1:].expand(-1, 2, -1, -1, -1)
    itself = regress(tiny_model, twins)
    assert torch.allclose(deltas, itself, atol=1e-4)
    start = points(ballot.pairs.stage_deltas[:, 0].double())
    assert [sum(column) for column in zip(*steps, strict=True)] == pytest.approx(
        [end - begin for end, begin in zip(points(itself), start, strict=True)], abs=1e-4
    )
    # The first of the steps is the intervention on the take-off.
    assert replace_stages(tiny_model, ballot, DIFFICULTY)[0].stage_changes == pytest.approx(steps[0], abs=1e-4)


def test_a_dive_that_is_the_exemplar_itself_changes_nothing(tiny_model, tiny_bank):
    twin = cast_votes(tiny_model, tiny_bank.encodings.select([2]), tiny_bank, (2,))
    for one in replace_stages(tiny_model, twin, DIFFICULTY):
        assert one.stage_changes == pytest.approx((0, 0, 0), abs=1e-4)


def test_no_stage_changes_an_earlier_one_but_later_ones_follow(tiny_model, ballot):
    takeoff, flight, entry = replace_stages(tiny_model, ballot, DIFFICULTY)
    assert flight.stage_changes[0] == pytest.approx(0, abs=1e-4)
    assert entry.stage_changes[:2] == pytest.approx((0, 0), abs=1e-4)
    assert min(abs(takeoff.stage_changes[1]), abs(takeoff.stage_changes[2]), abs(flight.stage_changes[2])) > 1e-3


def test_without_the_causal_attention_each_stage_stands_alone(make_model, tiny_bank, query):
    model = make_model(tca=False)
    for place, one in enumerate(replace_stages(model, cast_votes(model, query, tiny_bank, range(6)), DIFFICULTY)):
        others = [change for stage, change in enumerate(one.stage_changes) if stage != place]
        assert others == pytest.approx([0, 0], abs=1e-4)
        assert abs(one.stage_changes[place]) > 1e-3


def test_points_grow_with_the_difficulty(tiny_model, ballot):
    once, twice = (replace_stages(tiny_model, ballot, difficulty) for difficulty in (1.6, 3.2))
    assert [2 * one.change for one in once] == pytest.approx([one.change for one in twice], abs=1e-4)


def test_the_ballot_is_left_as_it_was(tiny_model, ballot):
    before = ballot.pairs.tokens.clone()
    replace_stages(tiny_model, ballot, DIFFICULTY)
    assert torch.equal(ballot.pairs.tokens, before)
