import pytest
import torch

from finecausal_cli.model.outputs import PairOutput
from finecausal_cli.retrieval.voting import ExemplarVotes, compare_with_exemplars, hold_within

NUMBERS = ["107B"] * 6


@pytest.fixture
def query(make_encodings):
    return make_encodings(1, seed=9)


def test_execution_is_the_mean_of_exemplar_plus_difference():
    deltas = torch.tensor([[1.5, -1.0], [-0.5, 0.25]])
    transitions = torch.tensor([[[30, 70], [31, 71]], [[33, 72], [34, 73]]])
    pairs = PairOutput(torch.zeros(2, 2, 96, 2), transitions, torch.zeros(2), torch.zeros(2, 2, 3), deltas)
    votes = ExemplarVotes(pairs, torch.tensor([20.0, 24.0], dtype=torch.float64))
    # 20 + 1.5 = 21.5 and 24 - 0.5 = 23.5, whose mean is 22.5.
    assert votes.executions.tolist() == [21.5, 23.5]
    assert votes.execution == 22.5
    assert votes.transitions.tolist() == [[30, 70], [33, 72]]


@pytest.mark.parametrize(("shift", "end"), [(-30.0, 0.0), (30.0, 30.0)])
def test_differences_that_lead_beyond_what_judges_can_give_are_scaled_to_end_there(shift, end):
    stages = torch.tensor([[[-3.0, 0.0, 0.0]], [[0.0, 4.0, -5.0]]]) + shift
    deltas = (stages * torch.tensor([0.3, 0.5, 0.2])).sum(-1)
    pairs = PairOutput(torch.zeros(2, 2, 96, 2), torch.zeros(2, 2, 2, dtype=torch.long), torch.zeros(2), stages, deltas)
    votes = hold_within(ExemplarVotes(pairs, torch.tensor([20.0, 24.0], dtype=torch.float64)))
    assert votes.is_held
    assert votes.execution == pytest.approx(end, abs=1e-5)
    weighted = votes.stage_differences.mean(0) @ torch.tensor([0.3, 0.5, 0.2], dtype=torch.float64)
    assert 22.0 + float(weighted) == pytest.approx(end, abs=1e-5)


def test_differences_within_the_scale_stay_as_they_are():
    pairs = PairOutput(
        torch.zeros(1, 2, 96, 2),
        torch.zeros(1, 2, 2, dtype=torch.long),
        torch.zeros(1),
        torch.zeros(1, 2, 3),
        torch.tensor([[-4.0, 0.0]]),
    )
    votes = ExemplarVotes(pairs, torch.tensor([20.0], dtype=torch.float64))
    assert hold_within(votes) is votes


def test_a_vote_is_what_the_network_says_of_the_pair(make_bank, tiny_model, query):
    bank = make_bank(NUMBERS)
    votes = compare_with_exemplars(tiny_model, [query], bank, [(4, 1, 2)])[0]
    for row, place in enumerate((4, 1, 2)):
        with torch.inference_mode():
            alone = tiny_model.compare(query, bank.encodings.select([place]))
        expected = bank.exemplars[place].execution + float(alone.delta[0, 0])
        assert float(votes.executions[row]) == pytest.approx(expected, abs=1e-4)
        assert torch.equal(votes.transitions[row], alone.transitions[0, 0])
    assert votes.execution == pytest.approx(float(votes.executions.mean()))


def test_the_difference_is_the_weighted_sum_of_its_stages(make_bank, tiny_model, query):
    pairs = compare_with_exemplars(tiny_model, [query], make_bank(NUMBERS), [range(6)])[0].pairs
    by_hand = pairs.stage_deltas[:, 0].double() @ torch.tensor([0.3, 0.5, 0.2], dtype=torch.float64)
    assert torch.allclose(pairs.delta[:, 0].double(), by_hand, atol=1e-5)


def test_the_mean_does_not_depend_on_the_order_of_the_voters(make_bank, tiny_model, query):
    bank = make_bank(NUMBERS)
    orders = ((0, 1, 2, 3), (3, 1, 0, 2))
    first, second = compare_with_exemplars(tiny_model, [query, query], bank, orders)
    assert first.execution == pytest.approx(second.execution, abs=1e-4)


def test_voters_differ(make_bank, tiny_model, query):
    """The other tests would mean little if the network gave every pair the same."""
    deltas = compare_with_exemplars(tiny_model, [query], make_bank(NUMBERS), [range(6)])[0].pairs.delta[:, 0]
    assert len(set(deltas.tolist())) == 6
    assert 0.1 < float(deltas.std()) < 10


def test_attention_comes_when_asked_for(make_bank, tiny_model, query):
    bank = make_bank(NUMBERS)
    silent, telling = (
        compare_with_exemplars(tiny_model, [query], bank, [(0, 1)], attention=kept)[0].pairs for kept in (False, True)
    )
    assert silent.node_attention is None
    assert silent.stage_attention is None
    assert telling.node_attention.shape == (2, 2, 36, 36, 4)
    assert telling.stage_attention.shape == (2, 2, 2, 3, 3)
    assert torch.allclose(silent.delta, telling.delta, atol=1e-5)


def test_a_pairs_numbers_do_not_depend_on_its_batch(make_bank, tiny_model, make_encodings):
    bank, queries = make_bank(NUMBERS), make_encodings(3, seed=9)
    voters = [(0, 1, 2), (5,), (3, 0)]
    together = compare_with_exemplars(tiny_model, [queries.select(index) for index in range(3)], bank, voters)
    for index, (votes, indices) in enumerate(zip(together, voters, strict=True)):
        assert len(votes.executions) == len(indices)
        for row, voter in enumerate(indices):
            (alone,) = compare_with_exemplars(tiny_model, [queries.select(index)], bank, [[voter]])
            assert torch.equal(votes.transitions[row], alone.transitions[0])
            # Float32 sums in another order: up to 1e-4 of 7 units of execution on processors with AMX.
            assert torch.allclose(votes.pairs.stage_deltas[row], alone.pairs.stage_deltas[0], atol=5e-4)
            assert float(votes.executions[row]) == pytest.approx(alone.execution, abs=5e-4)


def test_no_dives_have_no_votes(make_bank, tiny_model):
    assert compare_with_exemplars(tiny_model, [], make_bank(NUMBERS), []) == []
