import numpy as np
import pytest
import torch
from PIL import Image

from finecausal_cli.errors import BankError
from finecausal_cli.retrieval import BankOptions
from finecausal_cli.retrieval.bank import build_bank, encode_dives

DIGEST = "d" * 64


@pytest.fixture
def dives(make_dive):
    numbers = ["107B"] * 5 + ["5253B"] * 2
    return [make_dive(index, number, score=30.0 + 3 * index) for index, number in enumerate(numbers)]


@pytest.fixture
def build(tmp_path, tiny_model, filmed):
    def run(dives, per_number=3):
        return build_bank(
            dives,
            tmp_path / "bank",
            BankOptions(per_number=per_number, origin="made up"),
            model=tiny_model,
            weights_digest=DIGEST,
            cache=filmed(dives),
        )

    return run


def test_a_bank_holds_the_spread_of_each_number_as_the_network_sees_it(build, dives, tiny_model, filmed, tmp_path):
    bank = build(dives)
    assert [(one.dive, one.execution) for one in bank.exemplars] == [
        ("107B", 10.0),
        ("107B", 12.0),
        ("107B", 14.0),
        ("5253B", 15.0),
        ("5253B", 16.0),
    ]
    assert {(one.difficulty, one.origin) for one in bank.exemplars} == {(3.0, "made up")}
    expected = encode_dives(tiny_model, [dives[index] for index in (0, 2, 4, 5, 6)], filmed(dives))
    assert torch.equal(bank.encodings.video, expected.encodings.video)
    assert bank.weights_digest == DIGEST


def test_the_picture_shows_the_middle_of_the_flight(build, dives, filmed, tmp_path):
    bank = build(dives[:1])
    picture = np.asarray(Image.open(tmp_path / "bank" / bank.exemplars[0].thumbnail)).astype(int)
    frames = filmed(dives).load(dives[0]).frames.astype(int)
    distance = np.abs(frames - picture).mean(axis=(1, 2, 3))
    assert int(distance.argmin()) == (30 + 70) // 2


def test_dives_without_score_or_number_are_passed_over(build, dives, make_dive):
    others = [make_dive(90, "107B", score=None), make_dive(91, None)]
    assert len(build([*dives, *others], per_number=9).exemplars) == len(dives)
    with pytest.raises(BankError, match="no dive with a score and a dive number"):
        build(others)


def test_names_suit_a_file_and_a_command_line(build, make_dive, tmp_path):
    bank = build([make_dive(0, key="finals 2024/ü & round<3>.mp4")])
    (exemplar,) = bank.exemplars
    assert exemplar.id == "107B-finals-2024-----round-3"
    assert (tmp_path / "bank" / "thumbnails" / f"{exemplar.id}.jpg").exists()


def test_keys_that_a_name_cannot_tell_apart_are_told_apart(build, make_dive, tmp_path):
    keys = ["飛び込み.mp4", "прыжок.mp4", "a/b.mp4", "a-b.mp4", "c.mp4"]
    bank = build([make_dive(index, key=key, score=30.0 + index) for index, key in enumerate(keys)], per_number=9)
    assert len({one.id for one in bank.exemplars}) == len({one.thumbnail for one in bank.exemplars}) == 5
    assert bank.exemplars[-1].id == "107B-c"
    assert len(list((tmp_path / "bank" / "thumbnails").iterdir())) == 5


def test_a_bank_built_anew_leaves_no_pictures_of_the_one_before(build, dives, make_dive, tmp_path):
    build(dives, per_number=9)
    bank = build([make_dive(0, key="other.mp4")])
    left = {path.relative_to(tmp_path / "bank").as_posix() for path in (tmp_path / "bank" / "thumbnails").iterdir()}
    assert left == {bank.exemplars[0].thumbnail}
    assert len([*(tmp_path / "bank").glob("encodings-*.safetensors")]) == 1
