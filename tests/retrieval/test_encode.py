import numpy as np
import pytest
import torch

from finecausal_cli.retrieval.bank import encode_dives
from finecausal_cli.video import MEAN, STD


@pytest.fixture
def dives(make_dive):
    return [make_dive(index) for index in range(3)]


def test_a_dive_is_encoded_from_its_centre_crop(tiny_model, dives, filmed):
    cache = filmed(dives)
    encoded = encode_dives(tiny_model, dives, cache)
    for place, dive in enumerate(dives):
        # 36 x 40 pictures, a crop of 32: two rows above, four columns on the left.
        pixels = cache.load(dive).frames[:, 2:34, 4:36].astype(np.float32) / 255
        pixels = (pixels - np.float32(MEAN)) / np.float32(STD)
        with torch.inference_mode():
            alone = tiny_model.encode(torch.from_numpy(pixels).permute(3, 0, 1, 2)[None])
        assert torch.allclose(encoded.encodings.video[place], alone.video[0], atol=1e-5)
        assert torch.allclose(encoded.encodings.mask[place], alone.mask[0], atol=1e-5)
    assert encoded.dives == tuple(dives)
    assert len(encoded.encodings) == 3


def test_two_dives_have_two_encodings(tiny_model, dives, filmed):
    video = encode_dives(tiny_model, dives, filmed(dives)).encodings.video
    assert float((video[0] - video[1]).abs().max()) > 1e-4


def test_transitions_are_told_only_where_both_are_known(tiny_model, dives, filmed):
    assert encode_dives(tiny_model, dives, filmed(dives)).transitions == ((30, 70), (31, 71), (32, 72))
    assert encode_dives(tiny_model, dives, filmed(dives, masks=False)).transitions == (None, None, None)


def test_foreground_is_counted_over_the_pixels_of_all_snippets(tiny_model, dives, filmed):
    (first, *_) = encode_dives(tiny_model, dives, filmed(dives), foreground=True).foreground
    # The square of 12 x 10 lies wholly inside the crop, in 16 frames of 9 snippets.
    assert first.true == 12 * 10 * 16 * 9
    assert 0 <= first.both <= min(first.true, first.predicted) <= 32 * 32 * 16 * 9


def test_the_prediction_that_is_counted_is_the_fused_foreground_above_one_half(tiny_model, dives, filmed, monkeypatch):
    asked = []
    encode = tiny_model.encode

    def spy(clips, **options):
        encoding = encode(clips, **options)
        asked.append((options["foreground"], encoding))
        return encoding

    monkeypatch.setattr(tiny_model, "encode", spy)
    (counts,) = encode_dives(tiny_model, dives[:1], filmed(dives), foreground=True).foreground
    ((request, encoding),) = asked
    assert request == "fused"
    assert counts.predicted == int((encoding.foreground[0].sigmoid() > 0.5).sum())


@pytest.mark.parametrize(("masks", "asked"), [(True, False), (False, True)])
def test_no_count_without_masks_or_unasked(tiny_model, dives, filmed, masks, asked):
    encoded = encode_dives(tiny_model, dives, filmed(dives, masks=masks), foreground=asked)
    assert encoded.foreground == (None, None, None)
    assert encoded.encodings.foreground is None


def test_progress_is_told_once_a_dive(tiny_model, dives, filmed):
    ticks = []
    encode_dives(tiny_model, dives, filmed(dives), advance=lambda: ticks.append(1))
    assert len(ticks) == 3
