"""The benchmark of exemplars of one's own, on differences whose gain is known."""

import pytest
import torch

from benchmarks.own_exemplars import WAYS, measure, table
from finecausal_cli.model.outputs import Encoding
from finecausal_cli.retrieval.bank import Bank, Exemplar, JudgedClip

DIVES = 9
BIAS = 3.0


@pytest.fixture
def mine():
    generator = torch.Generator().manual_seed(3)
    exemplars = tuple(
        Exemplar(
            id=f"own{place}",
            dive="107B",
            height_m=3.0,
            difficulty=3.0,
            execution=15.0 + place,
            clip=JudgedClip(path=f"/{place}"),
        )
        for place in range(DIVES)
    )
    return Bank("mine", exemplars, Encoding(*torch.rand(2, DIVES, 9, 32, generator=generator)), "w" * 64)


def test_a_constant_bias_of_foreign_votes_is_taken_off_but_for_the_shrinkage(mine, make_scorer, tiny_model):
    scorer = make_scorer(tiny_model)
    deltas = {
        (dive.id, voter.id): dive.execution - voter.execution - (0.0 if voter.clip else BIAS)
        for dive in mine.exemplars
        for voter in (*mine.exemplars, *scorer.bank.exemplars)
    }
    gains = measure(scorer, mine, deltas, 5, 4, 0, same=False)
    assert gains.errors["bundled"] == pytest.approx([BIAS * 3.0] * 4)
    assert gains.errors["mine"] == pytest.approx([0.0] * 4, abs=1e-9)
    # Five own votes without a bias, then four bundled ones of 107B.
    assert gains.errors[WAYS[2]] == pytest.approx([BIAS * 3.0 * 4 / 9] * 4)
    assert gains.errors[WAYS[3]] == pytest.approx([BIAS * 3.0 * 4 / 9 / 6] * 4)
    gain, spread = gains.gain(WAYS[3])
    assert (gain, spread) == (pytest.approx(1 - 4 / 9 / 6), pytest.approx(0.0, abs=1e-9))
    assert table([gains], "").row_count == len(WAYS)
