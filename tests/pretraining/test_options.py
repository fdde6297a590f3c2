import json

import pytest

from finecausal_cli.errors import UsageError
from finecausal_cli.training import STRETCHES, PretrainOptions, read_counts
from finecausal_cli.training.motion_pretraining import counts_of_seen
from finecausal_cli.training.motion_snippets import LEAST_SHOWN, SEEN


def test_errors_count_by_stretch():
    assert read_counts(" crouch=3, flight = 0.5,") == {"crouch": 3.0, "flight": 0.5}
    options = PretrainOptions(counts="crouch=3,flight=0.5")
    counts = dict(zip(SEEN, counts_of_seen(options), strict=True))
    assert (counts["rise"], counts["feet"], counts["splash"]) == (3.0, 0.5, 1.0)
    assert PretrainOptions.from_dict(json.loads(json.dumps(options.to_dict()))) == options


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"counts": "crouch"}, "--counts: 'crouch' is not of the form"),
        ({"counts": "crouch=much"}, "--counts: 'crouch=much' is not of the form"),
        ({"counts": "somewhere=1"}, "--counts: no stretch 'somewhere': one of stance, crouch"),
        ({"counts": "flight=-1"}, "--counts: flight=-1: a number of 0 or more"),
        ({"counts": "flight=nan"}, "--counts"),
        ({"at_takeoff": 2}, "--at-takeoff"),
        ({"steps": 0}, "--steps"),
        ({"lr": 0}, "--lr"),
        ({"lr": float("inf")}, "--lr"),
    ],
)
def test_what_makes_no_sense_is_refused_by_its_option(given, says):
    with pytest.raises(UsageError) as caught:
        PretrainOptions(**given)
    assert says in str(caught.value)


def test_every_stretch_has_a_least_number_of_frames():
    assert set(STRETCHES) == set(LEAST_SHOWN) == set(SEEN.values())
