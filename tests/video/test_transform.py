from __future__ import annotations

import numpy as np
import pytest
import torch

from finecausal_cli.data.batch import normalise
from finecausal_cli.video import centre_offset, crop, mirror, random_offset


@pytest.fixture
def frames() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (96, 20, 24, 3), dtype=np.uint8)


def test_the_released_code_crops_from_row_44() -> None:
    assert centre_offset(200, 112, 112) == (44, 0)
    assert centre_offset(128, 228, 112) == (8, 58)


def test_crop_cuts_frames_and_masks_alike(frames: np.ndarray) -> None:
    masks = frames[..., 0]
    assert np.array_equal(crop(frames, 16), frames[:, 2:18, 4:20])
    assert np.array_equal(crop(masks, 16, (1, 5)), masks[:, 1:17, 5:21])
    assert np.array_equal(crop(frames, 16, (1, 5))[..., 0], crop(masks, 16, (1, 5)))


def test_a_random_crop_repeats_with_its_seed_and_reaches_every_offset(frames: np.ndarray) -> None:
    first, again = (crop(frames, 16, np.random.default_rng(7)) for _ in range(2))
    assert np.array_equal(first, again)
    rng = np.random.default_rng(0)
    offsets = {random_offset(20, 24, 16, rng) for _ in range(2000)}
    assert offsets == {(top, left) for top in range(5) for left in range(9)}


@pytest.mark.parametrize("offset", [(5, 0), (0, 9), (-1, 0), "middle"])
def test_a_crop_must_lie_in_the_picture(frames: np.ndarray, offset: object) -> None:
    with pytest.raises(ValueError, match="crop"):
        crop(frames, 16, offset)  # type: ignore[arg-type]


def test_a_crop_larger_than_the_picture_is_refused(frames: np.ndarray) -> None:
    with pytest.raises(ValueError, match="does not fit"):
        crop(frames, 21)


def test_mirror_swaps_left_and_right_only(frames: np.ndarray) -> None:
    assert np.array_equal(mirror(frames)[:, :, 0], frames[:, :, -1])
    assert np.array_equal(mirror(mirror(frames)), frames)
    assert np.array_equal(mirror(frames[..., 0]), mirror(frames)[..., 0])


def test_normalise_by_hand(frames: np.ndarray) -> None:
    frames[3, 4, 5] = (0, 255, 128)
    tensor = normalise(frames)
    assert tensor.shape == (3, 96, 20, 24)
    assert tensor.dtype == torch.float32
    assert tensor.is_contiguous()
    expected = [-0.485 / 0.229, (1 - 0.456) / 0.224, (128 / 255 - 0.406) / 0.225]
    assert tensor[:, 3, 4, 5].tolist() == pytest.approx(expected, abs=1e-6)


def test_normalise_takes_batches_tensors_and_mirrored_views(frames: np.ndarray) -> None:
    plain = normalise(frames)
    batch = normalise(torch.from_numpy(np.stack([frames, mirror(frames)])))
    assert batch.shape == (2, 3, 96, 20, 24)
    assert torch.equal(batch[0], plain)
    assert torch.equal(batch[1], plain.flip(-1))
    assert torch.equal(normalise(mirror(frames)), plain.flip(-1))


def test_normalise_leaves_its_input_alone_and_refuses_floats(frames: np.ndarray) -> None:
    before = frames.copy()
    frames.flags.writeable = False
    normalise(frames)
    assert np.array_equal(frames, before)
    with pytest.raises(ValueError, match="uint8"):
        normalise(torch.zeros(96, 4, 4, 3))
