import csv
import json

import pytest

from finecausal_cli.errors import OutputError
from finecausal_cli.evaluation.predict import Prediction, summarise
from finecausal_cli.evaluation.run import (
    METRICS_NAME,
    PREDICTIONS_NAME,
    PROTOCOLS,
    Evaluation,
    EvaluationSettings,
    Outcome,
    Protocol,
    describe_evaluation,
    metrics,
    prediction_row,
    write_evaluation,
)

PREDICTIONS = (
    Prediction("a/1.mp4", "107B", 60.0, 63.0, 66.0, 3.0, (30, 70), 0.8, 5, (32, 70), 0.75, "107B"),
    Prediction('b,"2".mp4', None, 45.0, 41.0, 40.0, 2.0, (30, 70), None, 3),
)


def outcome(protocol):
    return Outcome(protocol, summarise(PREDICTIONS), PREDICTIONS, 0.5, None if protocol.dive_given else 0.25)


@pytest.fixture
def evaluation():
    return Evaluation(
        setting=EvaluationSettings("dives", "test", "train", 0, "mine/best", "d" * 64, gat=True, tca=False),
        main=outcome(Protocol()),
        others=tuple(outcome(protocol) for protocol in PROTOCOLS[1:]),
        interval_level=0.9,
        interval_half_width=1.5,
        interval_width=7.5,
        caveats=("mind the gap",),
    )


def test_the_document_holds_everything_and_is_json(evaluation):
    document = json.loads(json.dumps(describe_evaluation(evaluation, predictions=True), allow_nan=False))
    assert document["figures"] == json.loads(json.dumps(metrics(evaluation)))
    assert document["setting"]["weights"] == "mine/best"
    assert document["protocol"] == {"voters": 10, "dive_given": True}
    assert document["interval"] == {"level": 0.9, "execution_half_width": 1.5}
    assert [one["protocol"]["voters"] for one in document["other_protocols"]] == [1, 10, 1]
    assert [one["recognised"] for one in document["other_protocols"]] == [None, 0.25, 0.25]
    assert [group["name"] for group in document["by_number"]] == ["107B", "unknown"]
    assert [group["coverage"] for group in document["by_difficulty"]] == [0, 1]
    assert document["caveats"] == ["mind the gap"]
    assert [row["key"] for row in document["predictions"]] == ["a/1.mp4", 'b,"2".mp4']
    assert "predictions" not in describe_evaluation(evaluation)


def test_a_row_has_the_interval_of_its_dive():
    row = prediction_row(PREDICTIONS[0], 1.5)
    assert (row["interval_low"], row["interval_high"]) == (63 - 4.5, 63 + 4.5)
    assert prediction_row(PREDICTIONS[0], None)["interval_low"] is None


def test_the_files_say_what_was_found(evaluation, tmp_path):
    write_evaluation(tmp_path / "out", evaluation)
    written = json.loads((tmp_path / "out" / METRICS_NAME).read_text())
    assert written == json.loads(json.dumps(describe_evaluation(evaluation)))
    with (tmp_path / "out" / PREDICTIONS_NAME).open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["key"] for row in rows] == ["a/1.mp4", 'b,"2".mp4']
    first, second = rows
    assert (float(first["score"]), float(first["predicted"]), float(first["baseline"])) == (60, 63, 66)
    assert (first["flight_start"], first["entry_start"]) == ("30", "70")
    assert (first["true_flight_start"], first["true_entry_start"]) == ("32", "70")
    assert (first["temporal_iou"], first["reference_temporal_iou"], first["recognised"]) == ("0.8", "0.75", "107B")
    assert (second["number"], second["true_flight_start"], second["temporal_iou"]) == ("", "", "")


def test_a_folder_that_cannot_be_is_named(evaluation, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="the metrics cannot be written"):
        write_evaluation(tmp_path / "file", evaluation)
