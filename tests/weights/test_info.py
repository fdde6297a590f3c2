from __future__ import annotations

import json
from pathlib import Path

import pytest

from finecausal_cli.errors import WeightsError
from finecausal_cli.weights import SIMULATED_ONLY, WeightsInfo, caveat_of

BUNDLED = Path(__file__).resolve().parents[2] / "weights" / "compact" / "config.json"


def test_the_bundled_weights_say_that_they_were_trained_on_simulated_dives():
    info = WeightsInfo.read(json.loads(BUNDLED.read_text(encoding="utf-8"))["info"], BUNDLED)
    assert info.trained_on == "simulated"
    assert caveat_of(info.trained_on) == SIMULATED_ONLY


@pytest.mark.parametrize(
    ("stored", "trained_on"),
    [
        ({"note": "trained on simulated dives only; not calibrated for filmed ones"}, "simulated"),
        ({"note": "trained on simulated dives only", "trained_on": "filmed"}, "filmed"),
        ({"note": "trained on 40 dives of the dataset mine"}, "unknown"),
        ({}, "unknown"),
    ],
)
def test_what_weights_were_trained_on_is_read_from_their_info_or_an_older_note(stored, trained_on):
    info = WeightsInfo.read(stored, BUNDLED)
    assert info.trained_on == trained_on
    assert WeightsInfo.read(info.facts(), BUNDLED) == info
    assert (caveat_of(trained_on) is None) is (trained_on != "simulated")


def test_what_nobody_can_be_trained_on_is_refused():
    with pytest.raises(WeightsError, match="trained_on"):
        WeightsInfo.read({"trained_on": "hearsay"}, BUNDLED)
