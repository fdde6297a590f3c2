from collections.abc import Callable
from dataclasses import replace
from math import inf

import pytest
import torch

from finecausal_cli.diving import DiveNumber, parse_dive_number
from finecausal_cli.errors import BankError
from finecausal_cli.model.frame_encoder import PARTS, values_of
from finecausal_cli.model.outputs import Encoding
from finecausal_cli.retrieval import NOT_SURE
from finecausal_cli.retrieval.bank import Bank
from finecausal_cli.retrieval.voting import SURE_NUMBER, choose_voters, similarities

NUMBERS = ["107B"] * 12 + ["5253B"] * 3 + ["626C"]


@pytest.fixture
def bank(make_bank):
    return make_bank(NUMBERS)


@pytest.fixture
def query(make_encodings):
    return make_encodings(1, seed=9)


def ids(bank, choice):
    return [bank.exemplars[place].id for place in choice.indices]


def shuffled(bank, seed):
    order = torch.randperm(len(bank.exemplars), generator=torch.Generator().manual_seed(seed)).tolist()
    return Bank(bank.name, tuple(bank.exemplars[place] for place in order), bank.encodings.select(order), "w")


def near(bank, place, distance=0.05):
    """Return a query close to one exemplar of a bank."""
    one = bank.encodings.select([place])
    return Encoding(one.video + distance * torch.randn(one.video.shape), one.mask)


def test_a_named_exemplar_votes_alone(bank, query):
    choice = choose_voters(bank, query, exemplar="5253B-013", voters=5)
    assert ids(bank, choice) == ["5253B-013"]
    assert (choice.dive, choice.dive_from, choice.how) == ("5253B", "that of exemplar 5253B-013", "named by you")
    assert choice.caveats == ()


def test_a_given_dive_number_stands_beside_a_named_exemplar(bank, query):
    choice = choose_voters(bank, query, exemplar="5253B-013", dive="107B")
    assert ids(bank, choice) == ["5253B-013"]
    assert (choice.dive, choice.dive_from) == ("107B", "given")


def test_an_unknown_exemplar_is_refused(bank, query):
    with pytest.raises(BankError, match="test bank: no exemplar '107B-99'"):
        choose_voters(bank, query, exemplar="107B-99")


def test_exemplars_of_the_dive_number_vote_and_no_others(bank, query):
    choice = choose_voters(bank, query, dive="107B", voters=10)
    assert len(set(choice.indices)) == 10
    assert {bank.exemplars[place].dive for place in choice.indices} == {"107B"}
    assert choice.how == "10 of 12 exemplars of 107B"
    assert (choice.dive, choice.dive_from, choice.caveats) == ("107B", "given", ())


def test_their_order_depends_on_seed_and_names_alone(bank, query):
    expected = ids(bank, choose_voters(bank, query, dive="107B", seed=4))
    for seed in range(5):
        other = shuffled(bank, seed)
        assert ids(other, choose_voters(other, query, dive="107B", seed=4)) == expected
    assert ids(bank, choose_voters(bank, near(bank, 3), dive="107B", seed=4)) == expected
    assert ids(bank, choose_voters(bank, query, dive="107B", seed=5)) != expected


def test_fewer_voters_are_the_first_of_more(bank, query):
    ten = ids(bank, choose_voters(bank, query, dive="107B", voters=10))
    assert ids(bank, choose_voters(bank, query, dive="107B", voters=4)) == ten[:4]


def test_over_the_seeds_every_exemplar_votes_first(bank, query):
    firsts = {choose_voters(bank, query, dive="107B", voters=1, seed=seed).indices[0] for seed in range(100)}
    assert firsts == set(range(12))


def test_fewer_exemplars_than_asked_for_all_vote(bank, query):
    choice = choose_voters(bank, query, dive="5253B", voters=10)
    assert sorted(choice.indices) == [12, 13, 14]
    assert choice.how == "3 of 3 exemplars of 5253B"


def test_a_number_the_bank_lacks_is_voted_on_by_the_nearest_with_a_caveat(bank):
    choice = choose_voters(bank, near(bank, 15), dive="301A", voters=3)
    assert choice.indices[0] == 15
    assert len(choice.indices) == 3
    assert (choice.dive, choice.dive_from, choice.how) == ("301A", "given", "nearest by encoding")
    (caveat,) = choice.caveats
    assert "no exemplar of 301A" in caveat


def test_without_a_number_the_nearest_vote_and_the_number_is_recognised(bank):
    choice = choose_voters(bank, near(bank, 13), voters=1)
    assert ids(bank, choice) == ["5253B-013"]
    assert (choice.dive, choice.dive_from) == ("5253B", "recognised: 1 of the 1 nearest exemplars are 5253B")
    assert choice.how == "the 1 nearest by encoding"
    assert choice.caveats == (NOT_SURE,)
    assert not choice.is_sure
    assert choice.candidates == (("5253B", 1.0),)


def test_a_number_that_half_of_the_nearest_share_is_not_recognised(make_bank):
    choice = choose_voters(bank := make_bank(["626C", "107B", "107B", "5253B"]), near(bank, 0), voters=4)
    assert choice.dive is None
    assert choice.dive_from == "not recognised: no more than 2 of the 4 nearest exemplars share a number"
    assert "name it with --dive" in choice.caveats[0]


def test_the_number_of_most_of_the_nearest_is_recognised(make_bank):
    bank = make_bank(["626C", "107B", "107B", "107B"])
    query = near(bank, 0)
    choice = choose_voters(bank, query, voters=4)
    assert choice.indices[0] == 0
    assert (choice.dive, choice.dive_from) == ("107B", "recognised: 3 of the 4 nearest exemplars are 107B")


def test_the_nearest_come_in_order_of_likeness(bank, query):
    choice = choose_voters(bank, query, voters=16)
    assert sorted(choice.indices) == list(range(16))
    assert list(choice.similarities) == sorted(choice.similarities, reverse=True)
    by_hand = similarities(query, bank.encodings)
    assert choice.similarities == pytest.approx([float(by_hand[place]) for place in choice.indices])


def test_an_empty_bank_is_refused(make_encodings):
    empty = Bank("nothing", (), make_encodings(1).select([]), "w")
    with pytest.raises(BankError, match="nothing: an empty bank"):
        choose_voters(empty, make_encodings(1))


def test_likeness_is_the_cosine_about_the_mean_of_the_bank():
    # Masks of plus infinity let everything through, so the fused features are the video features.
    full = torch.full((3, 1, 2), float("inf"))
    stored = Encoding(torch.tensor([[[3.0, 1.0]], [[1.0, 3.0]], [[2.0, 2.0]]]), full)  # mean (2, 2)
    query = Encoding(torch.tensor([[[4.0, 2.0]]]), full[:1])  # (2, 0) from the mean
    found = similarities(query, stored)
    assert found[:2].tolist() == pytest.approx([2**-0.5, -(2**-0.5)])
    assert found[2] == 0  # it is the mean itself: like nothing in particular


def test_a_lone_exemplar_is_compared_about_the_origin():
    full = torch.full((1, 1, 2), float("inf"))
    stored, query = Encoding(torch.tensor([[[1.0, 0.0]]]), full), Encoding(torch.tensor([[[1.0, 1.0]]]), full)
    assert similarities(query, stored).tolist() == pytest.approx([2**-0.5])


def test_a_dive_is_most_like_itself(bank):
    for place in range(len(NUMBERS)):
        found = similarities(bank.encodings.select([place]), bank.encodings)
        assert int(found.argmax()) == place
        assert float(found[place]) == pytest.approx(1)


def opinion(number, sureness):
    """What a recogniser says that is sure of every part of a number."""
    said = [torch.zeros(values) for values in PARTS.values()]
    for part, value in zip(said, values_of(parse_dive_number(number)), strict=True):
        part[value] = sureness
    return torch.cat(said)[None]


def test_exemplars_of_the_recognised_number_vote(bank, query):
    choice = choose_voters(bank, replace(query, number_logits=opinion("5253B", 9.0)), voters=2)
    assert [bank.exemplars[place].dive for place in choice.indices] == ["5253B"] * 2
    assert (choice.dive, choice.dive_from) == ("5253B", "recognised from the video, 100% sure")
    assert choice.how == "2 of 3 exemplars of 5253B"
    assert "recognised, not given" in choice.caveats[0]
    given = choose_voters(bank, query, dive="5253B", voters=2)
    assert choice.indices == given.indices


def test_a_number_that_is_not_sure_enough_for_points_is_not_noted_as_recognised(bank, query):
    sure, most = 0.0, 0.0
    while most < 0.6:
        sure += 0.05
        choice = choose_voters(bank, replace(query, number_logits=opinion("5253B", sure)))
        most = choice.candidates[0][1]
    assert most < SURE_NUMBER
    assert (choice.dive, choice.is_sure, choice.caveats) == ("5253B", False, (NOT_SURE,))


def test_a_number_that_is_not_likelier_than_the_others_together_is_not_recognised(bank, query):
    choice = choose_voters(bank, replace(query, number_logits=opinion("107B", 0.05)))
    assert choice.dive is None
    assert choice.dive_from.startswith("not recognised: perhaps 107B 3")
    assert choice.dive_from.count("%") == 3
    assert {bank.exemplars[place].dive for place in choice.indices} == {"107B"}
    assert "exemplars of 107B, the likeliest, vote" in choice.caveats[0]


def test_only_numbers_of_the_bank_are_recognised(bank, query):
    choice = choose_voters(bank, replace(query, number_logits=opinion("5255B", 9.0)))
    assert choice.dive == "5253B"  # but for two half-twists


def test_a_given_number_or_exemplar_wins_over_what_is_recognised(bank, query):
    sure = replace(query, number_logits=opinion("5253B", 9.0))
    assert choose_voters(bank, sure, dive="107B") == choose_voters(bank, query, dive="107B")
    assert choose_voters(bank, sure, exemplar="626C-015") == choose_voters(bank, query, exemplar="626C-015")


def test_in_a_bank_without_numbers_the_nearest_vote(make_bank, query):
    nameless = make_bank([None, None, None])
    assert (
        choose_voters(nameless, replace(query, number_logits=opinion("107B", 9.0))).how == "the 3 nearest by encoding"
    )


def fits(*groups: int, halves: tuple[int, ...] = ()) -> Callable[[DiveNumber], float]:
    """Return the evidence of turns that rule out all but these groups and counts."""

    def evidence(number: DiveNumber) -> float:
        fit = (number.group in groups or not groups) and (number.half_somersaults in halves or not halves)
        return 0.0 if fit else -inf

    return evidence


def test_a_number_that_the_turns_rule_out_is_never_named(bank, query):
    sure = replace(query, number_logits=opinion("5253B", 9.0))
    choice = choose_voters(bank, sure, evidence=fits(halves=(7,)))
    assert choice.candidates == ()  # of what is left 107B is the likeliest, but that says nothing
    assert choice.dive_from == "not recognised: what it looks like does not fit the turns counted"
    assert not choice.is_sure  # what the network sees and what was counted disagree
    assert choice.caveats[-1] == "the number that the body looks most like, 5253B, does not fit the turns counted"
    assert {bank.exemplars[place].dive for place in choice.indices} == {"107B"}
    unsure = replace(query, number_logits=opinion("5253B", 1.0))
    seen = choose_voters(bank, unsure, evidence=fits(halves=(7,)))
    assert {number for number, _ in seen.candidates} == {"107B"}


def test_a_number_is_as_sure_as_network_and_turns_make_it(bank, query):
    torn = replace(query, number_logits=opinion("107B", 2.0))
    freely, all_left, forward = (choose_voters(bank, torn, evidence=each) for each in (None, fits(), fits(1)))
    sureness = [choice.candidates[0] for choice in (freely, all_left, forward)]
    assert [number for number, _ in sureness] == ["107B"] * 3
    alone, among_all, among_forward = (probability for _, probability in sureness)
    assert among_all < among_forward < 1  # those that are ruled out are not impossible, for turns are misread, too
    assert among_all < alone  # numbers of competitions count that the bank does not hold
    certain = replace(query, number_logits=opinion("107B", 6.0))
    only = choose_voters(bank, certain, evidence=lambda number: 0.0 if str(number) == "107B" else -inf)
    assert only.candidates[0] == ("107B", pytest.approx(1.0, abs=0.01))
    assert only.is_sure


def test_the_counted_turns_decide_between_numbers_that_look_alike(bank, query):
    torn = replace(query, number_logits=opinion("107B", 2.0) + opinion("626C", 2.0))
    counts = {7: 0.0, 6: -6.0}
    seven = choose_voters(bank, torn, evidence=lambda number: counts.get(number.half_somersaults, -9.0))
    six = choose_voters(bank, torn, evidence=lambda number: counts.get(13 - number.half_somersaults, -9.0))
    assert (seven.candidates[0][0], six.candidates[0][0]) == ("107B", "626C")
    assert "the number that the body looks most like, 626C, fits the turns counted less well than 107B" in seven.caveats
    assert seven.candidates[0][1] > choose_voters(bank, torn, evidence=fits()).candidates[0][1]


def test_of_numbers_that_look_alike_the_one_that_people_dive_is_likelier(make_bank, query):
    torn = replace(query, number_logits=opinion("107B", 4.0) + opinion("108B", 4.0))
    choice = choose_voters(make_bank(["107B", "108B"]), torn, evidence=fits())
    (number, common), (other, rare) = choice.candidates[:2]
    assert (number, other) == ("107B", "108B")
    assert common > 1.3 * rare > 0  # nobody dives 108B in competition, which rules it out no more


def test_where_the_turns_rule_out_every_number_none_is_named(bank, query):
    nothing = fits(9)
    choice = choose_voters(bank, replace(query, number_logits=opinion("5253B", 9.0)), evidence=nothing)
    assert choice.candidates == ()
    assert not choice.is_sure
    assert choice.caveats[-1] == "no dive number of the bank fits the turns counted"
    nearest = choose_voters(bank, query, evidence=nothing)
    assert nearest.candidates == ()
    assert not nearest.is_sure
