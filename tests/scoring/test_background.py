from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from finecausal_cli.retrieval.voting import VotingContext
from finecausal_cli.scoring.background import change_backgrounds, find_backgrounds
from finecausal_cli.video import Clip, crop

SIZE = 32
ATHLETE, PLACE = 200, 40


@pytest.fixture(scope="module")
def clip():
    """A bright square that moves to the right before a dark place."""
    frames = np.full((96, 36, 64, 3), PLACE, np.uint8)
    for index in range(96):
        frames[index, 10:20, 20 + index // 8 : 26 + index // 8] = ATHLETE
    return Clip(frames, np.arange(96), 25.0, "made", "none")


@pytest.fixture(scope="module")
def probabilities(clip):
    return (crop(clip.frames, SIZE)[..., 0] == ATHLETE).astype(np.float32)


@pytest.fixture(scope="module")
def scorer(tiny_model, make_scorer):
    return make_scorer(tiny_model)


@pytest.fixture(scope="module")
def context(scorer, clip):
    return VotingContext.build(scorer.model, scorer.encode(clip), scorer.bank, (0, 1), difficulty=3.0)


@pytest.fixture
def pictured(context, tmp_path):
    """The same bank with two thumbnails: one red, one blue and twice as large."""
    exemplars = []
    for place, exemplar in enumerate(context.bank.exemplars):
        colour, scale = ((240, 0, 0), 1) if place == 0 else ((0, 0, 80), 2)
        Image.new("RGB", (64 * scale, 36 * scale), colour).save(tmp_path / f"{place}.png")
        exemplars.append(exemplar.model_copy(update={"thumbnail": f"{place}.png"}))
    return replace(context, bank=replace(context.bank, exemplars=tuple(exemplars)))


def test_with_pictures_the_voters_mean_and_the_first_voters_own(pictured, clip, probabilities, tmp_path):
    found, missing = find_backgrounds(pictured, clip, probabilities, tmp_path)
    assert missing == []
    assert [(one.kind, one.exemplar) for one in found] == [("bank_mean", None), ("exemplar", "e0")]
    assert (found[0].picture == (120, 0, 40)).all()
    assert (found[1].picture == (240, 0, 0)).all()
    assert {one.picture.shape for one in found} == {(36, 64, 3)}


def test_without_pictures_the_clips_own_without_its_athlete(context, clip, probabilities):
    found, missing = find_backgrounds(context, clip, probabilities, None)
    assert [one.kind for one in found] == ["own_mean", "own_colour"]
    assert "no pictures" in missing[0]
    for one in found:
        assert (one.picture == PLACE).all()  # not a trace of the athlete


def test_pictures_outside_the_bank_or_broken_are_not_read(pictured, clip, probabilities, tmp_path):
    Image.new("RGB", (64, 36), (9, 9, 9)).save(tmp_path / "outside.png")
    folder = tmp_path / "bank"
    folder.mkdir()
    (folder / "broken.png").write_bytes(b"nothing")
    names = ["../outside.png", "broken.png"]
    exemplars = tuple(
        one.model_copy(update={"thumbnail": names[place]}) if place < 2 else one
        for place, one in enumerate(pictured.bank.exemplars)
    )
    other = replace(pictured, bank=replace(pictured.bank, exemplars=exemplars))
    found, missing = find_backgrounds(other, clip, probabilities, folder)
    assert missing
    assert found[0].kind == "own_mean"


def test_the_athlete_stays_and_everything_else_goes(pictured, clip, probabilities, tmp_path, scorer):
    backgrounds, _ = find_backgrounds(pictured, clip, probabilities, tmp_path)
    shown = []

    def encode(changed):
        shown.append(changed.frames)
        return scorer.encode(changed)

    found = change_backgrounds(pictured, clip, probabilities, backgrounds, encode, 70)
    assert [(one.background, one.end_frame) for one in found] == [
        ("bank_mean", 96),
        ("bank_mean", 70),
        ("exemplar", 96),
        ("exemplar", 70),
    ]
    athlete = clip.frames[..., 0] == ATHLETE
    for frames, one in zip(shown, found, strict=True):
        assert (frames[athlete] == ATHLETE).all()
        assert (frames[one.end_frame :] == clip.frames[one.end_frame :]).all()
        far = frames[: one.end_frame, :, 60]
        assert (far == (120, 0, 40) if one.background == "bank_mean" else far == (240, 0, 0)).all()
        assert one.change == pytest.approx(one.score - pictured.score)
        assert one.description.endswith("before the entry only") == (one.end_frame == 70)
    assert len({round(one.score, 6) for one in found}) == 4


def test_the_true_background_changes_nothing(context, clip, probabilities, scorer):
    """Without the athlete's margin the clip's own background is put back, pixel by pixel."""
    backgrounds, _ = find_backgrounds(context, clip, probabilities, None)
    found = change_backgrounds(context, clip, probabilities, backgrounds, scorer.encode, 70)
    assert [one.change for one in found] == pytest.approx([0] * 4, abs=1e-4)
