import csv
import json

import pytest
import torch

from finecausal_cli.data.cache import ClipCache
from finecausal_cli.data.open import read_dataset
from finecausal_cli.errors import BankError, DatasetError
from finecausal_cli.evaluation.predict import bank_of
from finecausal_cli.evaluation.run import METRICS_NAME, PREDICTIONS_NAME, evaluate, metrics, write_evaluation
from finecausal_cli.exemplars.encode import encode_dives
from finecausal_cli.weights.info import StoredInterval, WeightsInfo
from finecausal_cli.weights.store import save_weights

CPU = torch.device("cpu")
HALF_WIDTH = 2.0


@pytest.fixture(scope="module")
def weights(tiny_model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights")
    info = WeightsInfo(interval=StoredInterval(level=0.9, execution_half_width=HALF_WIDTH))
    save_weights(folder, tiny_model, info.facts())
    return folder


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def evaluation(dataset, weights, cache):
    return evaluate(dataset, weights, cache=cache, device=CPU)


def test_test_dives_with_scores_are_compared_with_training_dives(evaluation, dataset, tiny_model, cache):
    assert [one.key for one in evaluation.predictions] == ["6.mp4", "7.mp4", "8.mp4", "9.mp4"]
    dives = read_dataset(dataset)
    clips = ClipCache(cache, geometry="fit", frame_size=32)
    bank = bank_of(encode_dives(tiny_model, dives[:6], clips), name="b", weights_digest="w")
    query = encode_dives(tiny_model, dives[6:7], clips).encodings
    with torch.inference_mode():
        pairs = tiny_model.compare(query, bank.encodings.select([0, 2, 4]))  # 107B, as the query
    by_hand = [bank.exemplars[place].execution for place in (0, 2, 4)]
    expected = 3.0 * float((torch.tensor(by_hand) + pairs.delta[:, 0]).mean())
    assert evaluation.predictions[0].predicted == pytest.approx(expected, abs=1e-4)
    assert evaluation.predictions[0].voters == 3


def test_the_baseline_is_the_mean_of_the_training_dives(evaluation):
    # 107B: scores 45, 51, 57; 5253B: 48, 54, 60; one difficulty.
    assert [one.baseline for one in evaluation.predictions] == pytest.approx([51, 54, 51, 54])


def test_masks_and_stages_are_measured(evaluation):
    assert 0 <= evaluation.summary.foreground_iou <= 1
    assert 0 <= evaluation.summary.aiou_75 <= evaluation.summary.aiou_50 <= 1
    assert evaluation.summary.dives == 4


def test_coverage_is_the_share_inside_the_stated_interval(evaluation):
    inside = [abs(one.score - one.predicted) <= HALF_WIDTH * one.difficulty for one in evaluation.predictions]
    assert evaluation.coverage == sum(inside) / 4
    assert (evaluation.interval_level, evaluation.interval_width) == (0.9, pytest.approx(2 * HALF_WIDTH * 3.0))


def test_weights_that_state_no_interval_are_not_judged_by_it(dataset, tiny_model, cache, tmp_path):
    save_weights(tmp_path, tiny_model, {})
    found = evaluate(dataset, tmp_path, cache=cache, device=CPU)
    assert (found.coverage, found.interval_level, found.interval_width) == (None, None, None)


def test_a_second_run_says_the_same(evaluation, dataset, weights, cache):
    assert evaluate(dataset, weights, cache=cache, device=CPU).predictions == evaluation.predictions


def test_the_seed_moves_the_voters_and_not_the_split(dataset, weights, cache, tmp_path):
    rows = (dataset / "dives.csv").read_text().splitlines()
    plain = [row.rsplit(",", 1)[0] for row in rows]  # without the split column
    (dataset / "no_split.csv").write_text("\n".join(plain) + "\n")
    found = [
        evaluate(dataset / "no_split.csv", weights, cache=cache, device=CPU, voters=1, seed=seed) for seed in range(4)
    ]
    assert len({tuple(one.key for one in each.predictions) for each in found}) == 1
    assert len({tuple(one.predicted for one in each.predictions) for each in found}) > 1


def test_a_bank_may_stand_in_for_the_training_dives(dataset, weights, cache, tiny_model, evaluation):
    asked = []
    clips = ClipCache(cache, geometry="fit", frame_size=32)
    bank = bank_of(encode_dives(tiny_model, read_dataset(dataset)[:2], clips), name="b", weights_digest="w")

    def give(digest):
        asked.append(digest)
        return bank

    found = evaluate(dataset, weights, cache=cache, device=CPU, bank=give, split="all")
    assert [len(digest) for digest in asked] == [64]
    assert [one.voters for one in found.predictions] == [1] * 11  # the unscored dive is left out
    # Without training dives the baseline comes from the bank: executions 45 / 3 and 48 / 3.
    assert [one.baseline for one in found.predictions[:2]] == pytest.approx([45, 48])


def test_a_bank_that_is_refused_is_refused(dataset, weights, cache):
    def refuse(digest):
        raise BankError("made by other weights")

    with pytest.raises(BankError):
        evaluate(dataset, weights, cache=cache, device=CPU, bank=refuse)


def test_a_split_without_dives_is_named(dataset, weights, cache):
    (dataset / "train_only.csv").write_text("video,score,difficulty,split\n0.mp4,50,3,train\n1.mp4,51,3,test\n")
    with pytest.raises(DatasetError, match="1 dives with a score in split 'test'"):
        evaluate(dataset / "train_only.csv", weights, cache=cache, device=CPU)
    with pytest.raises(DatasetError, match="no training dives to compare with"):
        evaluate(dataset, weights, cache=cache, device=CPU, split="all")


def test_progress_is_told(dataset, weights, cache):
    totals, ticks = [], []
    evaluate(dataset, weights, cache=cache, device=CPU, start=totals.append, advance=lambda: ticks.append(1))
    assert totals == [len(ticks)] == [10]


def test_the_files_say_what_was_found(evaluation, tmp_path):
    write_evaluation(tmp_path / "out", evaluation)
    assert json.loads((tmp_path / "out" / METRICS_NAME).read_text()) == json.loads(json.dumps(metrics(evaluation)))
    with (tmp_path / "out" / PREDICTIONS_NAME).open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert list(rows[0]) == [
        "key",
        "number",
        "score",
        "predicted",
        "baseline",
        "difficulty",
        "flight_start",
        "entry_start",
        "temporal_iou",
        "voters",
    ]
    for row, one in zip(rows, evaluation.predictions, strict=True):
        assert (row["key"], row["number"]) == (one.key, one.number)
        assert (float(row["score"]), float(row["predicted"])) == (one.score, one.predicted)
        assert (int(row["flight_start"]), int(row["entry_start"])) == one.transitions
        assert float(row["temporal_iou"]) == one.temporal_iou
        assert int(row["voters"]) == one.voters
