import json
import statistics

import pytest
import torch

from finecausal_cli.errors import UsageError, WeightsError
from finecausal_cli.evaluation import EvaluateOptions
from finecausal_cli.evaluation.ablation import (
    Variant,
    describe_ablation,
    evaluate_variants,
    find_variants,
    parse_variants,
)
from finecausal_cli.evaluation.run import evaluate
from finecausal_cli.model.finecausal import FineCausal
from finecausal_cli.weights.store import save_weights

FULL, NO_GAT, NO_TCA, NEITHER = Variant(True, True), Variant(False, True), Variant(True, False), Variant(False, False)


@pytest.fixture(scope="module")
def variants(tiny_model, tmp_path_factory):
    """Two seeds of the full network and one of every other, untrained, under names that say nothing."""
    folder = tmp_path_factory.mktemp("variants")
    for place, (gat, tca, seed) in enumerate([(1, 1, 0), (1, 1, 1), (0, 1, 0), (1, 0, 0), (0, 0, 0)]):
        torch.manual_seed(seed)
        config = tiny_model.config.model_copy(update={"gat": bool(gat), "tca": bool(tca)})
        for epoch in ("best", "last"):
            save_weights(folder / f"run{place}" / epoch, FineCausal(config).eval(), {})
    return folder


@pytest.mark.parametrize(
    ("ablate", "expected"),
    [("gat", [NO_GAT, FULL]), ("tca", [NO_TCA, FULL]), (" tca, gat", [NEITHER, NO_TCA, NO_GAT, FULL])],
)
def test_an_ablation_is_every_combination_of_what_it_names(ablate, expected):
    assert list(parse_variants(ablate)) == expected


@pytest.mark.parametrize("ablate", ["", "gta", "gat,static", ","])
def test_what_is_no_module_is_refused(ablate):
    with pytest.raises(UsageError, match="is no module to leave out"):
        parse_variants(ablate)


def test_a_variant_is_named_after_what_it_lacks():
    assert [(one.name, one.left_out) for one in (FULL, NO_GAT, NO_TCA, NEITHER)] == [
        ("full", ""),
        ("no GAT", "gat"),
        ("no TCA", "tca"),
        ("neither", "gat,tca"),
    ]


def test_the_configuration_says_which_variant_weights_are(variants):
    found = find_variants(variants, parse_variants("gat,tca"))
    assert {variant: [one.relative_to(variants).as_posix() for one in seeds] for variant, seeds in found.items()} == {
        NEITHER: ["run4/best"],
        NO_TCA: ["run3/best"],
        NO_GAT: ["run2/best"],
        FULL: ["run0/best", "run1/best"],
    }


def test_a_missing_variant_is_named_with_the_command_that_trains_it(variants):
    with pytest.raises(WeightsError, match="no weights of the variant 'no TCA'") as error:
        find_variants(variants / "run0", parse_variants("tca"))
    assert "finecausal train DATASET --ablate tca -o" in error.value.hint


def test_every_seed_is_evaluated_on_the_same_dives(variants, dataset, tmp_path_factory):
    cache = tmp_path_factory.mktemp("cache")
    names = []
    found = find_variants(variants, parse_variants("gat"))
    results = evaluate_variants(
        dataset, variants, found, EvaluateOptions(voters=2), watch=names.append, cache=cache, device=torch.device("cpu")
    )
    assert names == ["run2/best", "run0/best", "run1/best"]
    assert [result.variant for result in results] == [NO_GAT, FULL]
    for result in results:
        for evaluation in result.evaluations:
            assert (evaluation.setting.gat, evaluation.setting.tca) == (result.variant.gat, True)
    alone = evaluate(
        dataset, variants / "run1/best", EvaluateOptions(voters=2), cache=cache, device=torch.device("cpu")
    )
    assert results[1].evaluations[1].predictions == alone.predictions
    errors = [one.summary.mean_absolute_error for one in results[1].evaluations]
    spread = results[1].spread("mean_absolute_error")
    assert (spread.mean, spread.deviation) == (statistics.mean(errors), statistics.stdev(errors))
    assert results[0].spread("mean_absolute_error").deviation is None

    document = json.loads(json.dumps(describe_ablation(results), allow_nan=False))
    assert [(one["name"], one["seeds"]) for one in document["variants"]] == [("no GAT", 1), ("full", 2)]
    assert document["variants"][1]["over_seeds"]["mean_absolute_error"]["deviation"] == spread.deviation
    assert document["variants"][1]["paper"]["dataset"] == "FineDiving-HM"
    assert len(document["variants"][1]["evaluations"]) == 2
