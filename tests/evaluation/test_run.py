import shutil

import pytest
import torch

from finecausal_cli.data.cache import ClipCache
from finecausal_cli.data.datasets import read_dataset
from finecausal_cli.errors import BankError, DatasetError
from finecausal_cli.evaluation import EvaluateOptions
from finecausal_cli.evaluation.predict import bank_of, share_interval
from finecausal_cli.evaluation.run import PROTOCOLS, Protocol, evaluate, metrics
from finecausal_cli.retrieval.bank import encode_dives
from finecausal_cli.video.reader import read_clip
from finecausal_cli.video.writer import write_video
from finecausal_cli.weights import StoredInterval, WeightsInfo
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
        evaluate(dataset / "no_split.csv", weights, EvaluateOptions(voters=1, seed=seed), cache=cache, device=CPU)
        for seed in range(4)
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

    found = evaluate(dataset, weights, EvaluateOptions(split="all"), cache=cache, device=CPU, bank=give)
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
    with pytest.raises(DatasetError, match=r"1 dives with a score in split 'test'.*--split all takes every dive"):
        evaluate(dataset / "train_only.csv", weights, cache=cache, device=CPU)
    with pytest.raises(DatasetError, match="no training dives to compare with"):
        evaluate(dataset, weights, EvaluateOptions(split="all"), cache=cache, device=CPU)


def test_progress_is_told(dataset, weights, cache):
    totals, ticks = [], []
    evaluate(dataset, weights, cache=cache, device=CPU, start=totals.append, advance=lambda: ticks.append(1))
    assert totals == [len(ticks)] == [10]


def test_other_protocols_are_measured_on_the_same_dives(dataset, weights, cache, evaluation):
    found = evaluate(dataset, weights, EvaluateOptions(protocols=True), cache=cache, device=CPU)
    assert found.main == evaluation.main
    assert [one.protocol for one in found.others] == [one for one in PROTOCOLS if one != Protocol(10)]
    for outcome in found.others:
        alone = evaluate(
            dataset,
            weights,
            EvaluateOptions(voters=outcome.protocol.voters, dive_given=outcome.protocol.dive_given),
            cache=cache,
            device=CPU,
        )
        assert alone.main == outcome
        assert {one.voters for one in outcome.predictions} <= {1} or outcome.protocol.voters > 1
    right = [one.recognised == one.number for one in found.others[-1].predictions]
    assert found.others[-1].recognised == sum(right) / 4
    assert [one.recognised is None for one in (found.main, *found.others)] == [True, True, False, False]


def test_the_setting_names_what_was_evaluated(evaluation, dataset, weights):
    setting = evaluation.setting
    assert (setting.dataset, setting.weights) == (dataset.name, weights.name)
    assert (setting.split, setting.exemplars, setting.gat, setting.tca) == ("test", "train", True, True)
    assert evaluation.caveats == ()


def test_a_number_without_an_exemplar_is_a_caveat(dataset, weights, cache, tmp_path):
    rows = (dataset / "dives.csv").read_text().splitlines()
    (dataset / "alone.csv").write_text("\n".join(rows[:7] + [row.replace("107B", "626C") for row in rows[7:]]) + "\n")
    (caveat,) = evaluate(dataset / "alone.csv", weights, cache=cache, device=CPU).caveats
    assert caveat.startswith("2 of 4 dives have a number without an exemplar (626C)")


@pytest.fixture(scope="module")
def events(dataset, tmp_path_factory):
    """Ten dives of two events, one of them in two rounds."""
    folder = tmp_path_factory.mktemp("events")
    rows = ["video,score,difficulty,dive"]
    for index in range(10):
        event = ("rome_r1", "rome_r2", "oslo")[index % 3]
        (folder / event).mkdir(exist_ok=True)
        shutil.copy(dataset / f"{index}.mp4", folder / event)
        rows.append(f"{event}/{index}.mp4,{50 + index},3.0,107B")
    (folder / "dives.csv").write_text("\n".join(rows) + "\n")
    return folder


def test_whole_events_are_left_out(events, weights, cache):
    found = evaluate(events, weights, EvaluateOptions(split="events"), cache=cache, device=CPU)
    assert {one.key.split("/")[0] for one in found.predictions} == {"oslo"}
    (caveat,) = found.caveats
    assert "not trained with this split" in caveat


def test_weights_that_were_trained_with_the_split_have_no_caveat(events, tiny_model, cache, tmp_path):
    save_weights(tmp_path, tiny_model, WeightsInfo(training={"options": {"split": "events"}}).facts())
    assert evaluate(events, tmp_path, EvaluateOptions(split="events"), cache=cache, device=CPU).caveats == ()


def test_one_event_cannot_be_left_out(dataset, weights, cache):
    with pytest.raises(DatasetError, match="of one event") as error:
        evaluate(dataset, weights, EvaluateOptions(split="events"), cache=cache, device=CPU)
    assert error.value.where == str(dataset)


@pytest.fixture(scope="module")
def other_pictures(dataset, tmp_path_factory):
    """The same dives, filmed upside down."""
    folder = tmp_path_factory.mktemp("shifted")
    shutil.copy(dataset / "dives.csv", folder)
    for index in range(12):
        shutil.copy(dataset / f"{index}.mkv", folder)
        frames = read_clip(dataset / f"{index}.mp4", geometry="fit", frame_size=32).frames
        write_video(folder / f"{index}.mp4", frames[::4, ::-1].copy(), 25)
    return folder


def test_the_shift_is_measured_against_the_same_exemplars(dataset, other_pictures, weights, cache, evaluation):
    found = evaluate(dataset, weights, EvaluateOptions(shifted=other_pictures), cache=cache, device=CPU)
    assert found.main == evaluation.main
    assert [(one.key, one.score, one.baseline) for one in found.shifted.predictions] == [
        (one.key, one.score, one.baseline) for one in found.predictions
    ]
    assert [one.predicted for one in found.shifted.predictions] != [one.predicted for one in found.predictions]
    itself = evaluate(dataset, weights, EvaluateOptions(shifted=dataset), cache=cache, device=CPU)
    assert itself.shifted == itself.main


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda rows: rows[:9] + rows[10:], "8.mp4 is not in it"),
        (lambda rows: [row.replace("8.mp4,69,", "8.mp4,70,") for row in rows], "8.mp4 has another score"),
    ],
)
def test_other_dives_are_no_shift(dataset, other_pictures, weights, cache, change, says):
    rows = (dataset / "dives.csv").read_text().splitlines()
    manifest = other_pictures / "others.csv"
    manifest.write_text("\n".join(change(rows)) + "\n")
    with pytest.raises(DatasetError, match=f"not of the same dives: {says}") as error:
        evaluate(dataset, weights, EvaluateOptions(shifted=manifest), cache=cache, device=CPU)
    assert error.value.where == str(manifest)


def test_every_figure_has_a_name(evaluation):
    figures = metrics(evaluation)
    assert set(evaluation.summary.figures()) < set(figures)
    assert (figures["coverage_low"], figures["coverage_high"]) == share_interval(round(4 * evaluation.coverage), 4)
