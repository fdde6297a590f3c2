from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from finecausal_cli.video import resize, scale_frame, working_size


@pytest.mark.parametrize(
    ("height", "width", "sample_aspect", "expected"),
    [
        (256, 455, 1.0, (128, 228)),  # 128 * 455 / 256 = 227.5, to the even neighbour
        (1080, 1920, 1.0, (128, 228)),
        (1920, 1080, 1.0, (228, 128)),
        (720, 720, 1.0, (128, 128)),
        (1, 1, 1.0, (128, 128)),
        (576, 720, 64 / 45, (128, 228)),  # PAL widescreen: stored 5:4, shown 16:9
        (480, 720, 8 / 9, (128, 171)),  # NTSC: stored 3:2, shown 4:3
    ],
)
def test_fit_keeps_the_aspect_of_the_scene(
    height: int, width: int, sample_aspect: float, expected: tuple[int, int]
) -> None:
    assert working_size(height, width, "fit", 112, sample_aspect) == expected


@pytest.mark.parametrize("size", [(256, 455), (1920, 1080), (10, 10)])
def test_squeeze_gives_112_by_200_whatever_the_aspect(size: tuple[int, int]) -> None:
    assert working_size(*size, "squeeze") == (200, 112)


def test_both_grow_with_the_crop() -> None:
    assert working_size(256, 455, "fit", 224) == (256, 455)
    assert working_size(256, 455, "squeeze", 224) == (400, 224)
    assert working_size(100, 100, "fit", 64) == (73, 73)
    assert working_size(100, 100, "squeeze", 64) == (114, 64)


def test_squeeze_is_pillows_bilinear_as_in_the_released_code() -> None:
    frame = np.random.default_rng(0).integers(0, 256, (256, 455, 3), dtype=np.uint8)
    expected = np.asarray(Image.fromarray(frame).resize((112, 200), Image.Resampling.BILINEAR))
    assert np.array_equal(scale_frame(frame, "squeeze"), expected)


def test_shrinking_averages_instead_of_skipping() -> None:
    stripes = np.zeros((1280, 1280, 3), dtype=np.uint8)
    stripes[:, ::2] = 255
    scaled = scale_frame(stripes, "fit")
    assert scaled.shape == (128, 128, 3)
    assert np.abs(scaled.astype(int) - 127.5).max() < 5


@pytest.mark.parametrize("channels", [(), (3,)])
def test_fit_takes_the_mean_of_what_a_pixel_covers(channels: tuple[int, ...]) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (256, 456, *channels), dtype=np.uint8)
    mean = picture.reshape(128, 2, 228, 2, *channels).mean(axis=(1, 3))
    assert np.array_equal(resize(picture, (128, 228), "fit"), np.floor(mean + 0.5).astype(np.uint8))
    thirds = resize(picture[:255], (85, 152), "fit").astype(float)
    assert np.abs(thirds - picture[:255].reshape(85, 3, 152, 3, *channels).mean(axis=(1, 3))).max() <= 0.5


def test_fit_enlarges_smoothly_and_keeps_a_plain_picture() -> None:
    ramp = np.repeat(np.array([[0, 255]], dtype=np.uint8), 2, axis=0)
    larger = resize(ramp, (4, 8), "fit")
    assert (np.diff(larger.astype(int), axis=1) >= 0).all()
    assert len(np.unique(larger)) > 3
    assert (resize(np.full((7, 5), 200, np.uint8), (128, 91), "fit") == 200).all()
