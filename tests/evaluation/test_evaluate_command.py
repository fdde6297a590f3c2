import json

import pytest
import torch
from typer.testing import CliRunner

from finecausal_cli.cli import app
from finecausal_cli.data.cache import ClipCache
from finecausal_cli.data.datasets import read_dataset
from finecausal_cli.errors import DatasetError, UsageError
from finecausal_cli.evaluation import EvaluateOptions
from finecausal_cli.evaluation.predict import bank_of
from finecausal_cli.evaluation.run import evaluate
from finecausal_cli.model.finecausal import FineCausal
from finecausal_cli.retrieval.bank import encode_dives, save_bank
from finecausal_cli.weights.store import load_weights, save_weights


@pytest.fixture(scope="module")
def run_folder(tiny_model, tmp_path_factory):
    """A run whose best and last epochs are two networks."""
    folder = tmp_path_factory.mktemp("runs") / "mine"
    save_weights(folder / "best", tiny_model, {})
    torch.manual_seed(5)
    save_weights(folder / "last", FineCausal(tiny_model.config).eval(), {})
    return folder


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


def call(*arguments):
    result = CliRunner().invoke(app, ["evaluate", *map(str, arguments)], catch_exceptions=True)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0
    return result.stdout


def test_a_run_shows_its_best_and_its_last_epoch(dataset, run_folder, cache, tmp_path):
    text = call(dataset, "--weights", run_folder, "--cache", cache, "-o", tmp_path, "--by", "number", "--protocols")
    assert text.index("Held-out dives") < text.index("Best and last epoch") < text.index("Choices of exemplars")
    assert text.index("Choices of exemplars") < text.index("By dive number")
    best = json.loads((tmp_path / "metrics.json").read_text())
    last = json.loads((tmp_path / "last-epoch" / "metrics.json").read_text())
    assert (best["setting"]["weights"], last["setting"]["weights"]) == ("mine/best", "mine/last")
    assert best["figures"]["mean_absolute_error"] != last["figures"]["mean_absolute_error"]
    assert len(best["other_protocols"]) == 3
    assert "mine/best" in (tmp_path / "report.html").read_text()
    assert (tmp_path / "figures" / "scores.png").exists()


def test_json_is_what_the_library_finds(dataset, run_folder, cache):
    options = ("--no-dive", "--most-exemplars", 2, "--seed", 3, "--no-cache", "--format", "json")
    document = json.loads(call(dataset, "--weights", run_folder / "best", *options))
    found = evaluate(
        dataset,
        run_folder / "best",
        EvaluateOptions(voters=2, dive_given=False, seed=3),
        cache=cache,
        device=torch.device("cpu"),
    )
    assert [row["predicted"] for row in document["predictions"]] == [one.predicted for one in found.predictions]
    assert document["protocol"] == {"voters": 2, "dive_given": False}
    assert "last_epoch" not in document


def test_no_figures_are_drawn_for_who_wants_none(dataset, run_folder, cache, tmp_path):
    call(dataset, "--weights", run_folder / "best", "--cache", cache, "-o", tmp_path, "--no-figures")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["metrics.json", "predictions.csv", "report.html"]


def test_the_bank_of_the_weights_may_vote(dataset, run_folder, cache, tiny_model):
    best = run_folder / "best"
    clips = ClipCache(cache, geometry="fit", frame_size=32)
    encoded = encode_dives(tiny_model, read_dataset(dataset)[:2], clips)
    digest = load_weights(best).digest
    bank = bank_of(encoded, name="bank", weights_digest=digest)
    save_bank(best / "bank", bank.exemplars, bank.encodings, weights_digest=digest)
    options = ("--exemplars", "bank", "--split", "all", "--cache", cache, "--format", "json")
    document = json.loads(call(dataset, "--weights", best, *options))
    assert document["setting"]["exemplars"] == "bank"
    assert {row["voters"] for row in document["predictions"]} == {1}
    assert len(document["predictions"]) == 11


@pytest.mark.thorough
def test_an_ablation_writes_everything_it_found(dataset, tiny_model, cache, tmp_path):
    for name, gat in (("a", True), ("b", False)):
        config = tiny_model.config.model_copy(update={"gat": gat})
        save_weights(tmp_path / "runs" / name, FineCausal(config).eval(), {})
    options = ("--variants", tmp_path / "runs", "--ablate", "gat", "--cache", cache)
    text = call(dataset, *options, "-o", tmp_path / "out")
    assert text.index("no GAT") < text.index("full")
    document = json.loads((tmp_path / "out" / "ablation.json").read_text())
    assert [one["name"] for one in document["variants"]] == ["no GAT", "full"]
    assert (tmp_path / "out" / "b" / "predictions.csv").exists()
    assert json.loads(call(dataset, *options, "--format", "json")) == document


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        (("--ablate", "gat"), UsageError, "go together"),
        (("--ablate", "dog", "--variants", "."), UsageError, "'dog' is no module"),
        (("--split", "all"), DatasetError, "no training dives to compare with"),
        (("--annotations", "nowhere"), DatasetError, "nowhere"),
    ],
)
def test_what_cannot_be_is_said(dataset, run_folder, arguments, error, says):
    with pytest.raises(error, match=says):
        call(dataset, "--weights", run_folder / "best", *arguments)
