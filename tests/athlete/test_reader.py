import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from finecausal_cli.athlete.network import AthleteNetwork, NetworkConfig, SequenceConfig, SequenceNetwork
from finecausal_cli.athlete.reader import (
    CONFIG_NAME,
    TENSORS_NAME,
    AthleteReader,
    BodyReading,
    closer_windows,
    cut_window,
    load_network,
    local_soft_argmax,
    outline_in,
    save_network,
)
from finecausal_cli.errors import WeightsError

SIZES = NetworkConfig(window_size=64, width=8, embedding=8)


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    made = AthleteNetwork(SIZES).train()
    with torch.no_grad():  # statistics that are not those of a fresh norm
        made(torch.randint(0, 255, (4, 3, 64, 64), dtype=torch.uint8))
    return made.eval()


@pytest.fixture
def folder(network, tmp_path):
    save_network(tmp_path / "reader", SIZES, network.state_dict(), {"source": "a test"})
    return tmp_path / "reader"


def windows(count):
    return np.random.default_rng(0).integers(0, 255, (count, 64, 64, 3), np.uint8)


def test_a_window_reads_the_same_alone_and_among_others(network):
    reader, many = AthleteReader(network), windows(5)
    together, alone = reader.read(many), reader.read(many[3:4])
    np.testing.assert_allclose(together.joints[3], alone.joints[0], atol=1e-3)
    np.testing.assert_allclose(together.confidence[3], alone.confidence[0], atol=1e-5)


def test_folded_for_reading_it_is_the_network_that_was_taught(network):
    with torch.inference_mode():
        maps = network(torch.from_numpy(windows(2)).permute(0, 3, 1, 2))
    read = AthleteReader(network).read(windows(2))
    np.testing.assert_allclose(read.outline, maps.outline.sigmoid().numpy(), atol=1e-5)
    np.testing.assert_allclose(read.direction.sum(axis=1), 1, atol=1e-5)


def test_no_windows_give_empty_readings(network):
    read = AthleteReader(network).read(windows(0))
    assert read.joints.shape == (0, 15, 2)
    assert read.seen.shape == (0,)


def test_whole_frames_of_any_shape_get_a_cell_for_four_pixels(network):
    found = AthleteReader(network).predict_mask(np.zeros((3, 108, 192, 3), np.uint8))
    assert found.shape == (3, 27, 48)
    assert ((found >= 0) & (found <= 1)).all()


def test_a_joint_between_two_peaks_lies_at_the_higher_one():
    heat = torch.full((1, 1, 32, 32), -20.0)
    heat[0, 0, 8, 8], heat[0, 0, 24, 24] = 10.0, 9.0
    np.testing.assert_allclose(local_soft_argmax(heat)[0, 0].numpy(), [8.5 / 32, 8.5 / 32], atol=1e-3)


def test_saved_weights_read_as_before_to_half_precision(network, folder):
    before, after = AthleteReader(network).read(windows(3)), AthleteReader.load(folder).read(windows(3))
    np.testing.assert_allclose(after.outline, before.outline, atol=5e-3)
    assert AthleteReader.load(folder).window_size == 64


def test_changed_weights_are_refused(folder):
    content = bytearray((folder / TENSORS_NAME).read_bytes())
    content[-1] ^= 1
    (folder / TENSORS_NAME).write_bytes(content)
    with pytest.raises(WeightsError, match="not those of the configuration"):
        load_network(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format_version": 99}, "format 99"),
        ({"network": {"sides": 3}}, "not the configuration"),
        ({"digest": None}, "not those"),
    ],
)
def test_a_configuration_that_does_not_fit_is_refused(folder, change, message):
    config = json.loads((folder / CONFIG_NAME).read_text())
    (folder / CONFIG_NAME).write_text(json.dumps({**config, **change}))
    with pytest.raises(WeightsError, match=message):
        load_network(folder)


def test_missing_weights_are_named(tmp_path):
    with pytest.raises(WeightsError, match="cannot be read"):
        AthleteReader.load(tmp_path / "nothing")


def test_a_motion_is_kept_and_read_again_with_its_weights(network, tmp_path):
    torch.manual_seed(1)
    sequence = SequenceNetwork(SequenceConfig(width=16, dilations=(1, 2)))
    torch.nn.init.normal_(sequence.leave.weight, std=0.1)
    save_network(tmp_path, SIZES, network.state_dict(), {}, sequence)
    times, reader = np.arange(8) / 25, AthleteReader.load(tmp_path)
    frames, motion = reader.read(windows(8)), reader.read_motion(windows(8), times)
    assert np.abs(frames.joints - motion.joints).max() > 0.1
    expected = AthleteReader(network, sequence).read_motion(windows(8), times)
    np.testing.assert_allclose(motion.joints, expected.joints, atol=0.2)
    np.testing.assert_allclose(motion.outline, frames.outline)


def test_without_a_sequence_network_frames_stay_as_they_are_read(network):
    reader = AthleteReader(network)
    motion, closer = reader.read_motion(windows(8), np.arange(8.0)), reader.read_closer(windows(8))
    np.testing.assert_array_equal(motion.joints, closer.joints)


def test_only_frames_in_flight_are_changed_by_their_neighbours(network):
    torch.manual_seed(1)
    sequence = SequenceNetwork(SequenceConfig(width=16, dilations=(1,)))
    torch.nn.init.normal_(sequence.leave.weight, std=0.1)
    reader, flying = AthleteReader(network, sequence), np.arange(9) > 2
    motion, closer = reader.read_motion(windows(9), np.arange(9.0), flying), reader.read_closer(windows(9))
    np.testing.assert_array_equal(motion.joints[~flying], closer.joints[~flying])
    assert (np.abs(motion.joints - closer.joints).max(axis=(1, 2))[flying] > 0).all()


def reading(outline, size=100.0):
    count = len(outline)
    whole = np.tile(np.array([size / 2, size / 2, size], np.float32), (count, 1))
    blank = np.zeros((count, 1), np.float32)
    return BodyReading(blank, blank, outline, np.ones(count, np.float32), blank, whole, np.ones(count, np.float32))


def test_a_closer_window_lies_about_the_outline_and_ignores_a_frame_that_errs():
    outline = np.zeros((11, 20, 20), np.float32)
    outline[:, 12:16, 4:8] = 1  # 20 of 100 pixels wide, about (30, 70)
    outline[5] = np.roll(outline[5], 8, axis=1)
    windows = closer_windows(reading(outline), 100)
    np.testing.assert_allclose(windows[:, :2], np.tile([30.0, 70.0], (11, 1)), atol=1e-4)
    np.testing.assert_allclose(windows[:, 2], 1.4 * 20, atol=1e-4)


def test_where_no_body_is_found_the_window_stays():
    seen = reading(np.zeros((3, 20, 20), np.float32))
    np.testing.assert_array_equal(closer_windows(seen, 100), seen.windows)


def test_an_outline_is_put_back_where_it_was_read():
    outline = np.zeros((1, 16, 16), np.float32)
    outline[0, 4:12, 4:12] = 1
    part = replace(reading(outline), windows=np.array([[32.0, 16.0, 32.0]], np.float32))
    rows, columns = np.nonzero(outline_in(part, 0, 64) > 0.5)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (8, 23, 24, 39)


def test_a_cut_window_shows_what_lies_in_it():
    picture = np.zeros((60, 80, 3), np.uint8)
    picture[20:30, 40:50] = 200
    cut = cut_window(picture, np.array([45.0, 25.0, 20.0]), 40)
    rows, columns = np.nonzero(cut[..., 0] > 100)
    np.testing.assert_allclose((rows.min(), rows.max(), columns.min(), columns.max()), (10, 29, 10, 29), atol=1)
    small = cut_window(picture, np.array([45.0, 25.0, 40.0]), 10)
    assert small[5, 5, 0] > 150
    assert small[0, 0, 0] == 0


def test_the_body_is_followed_where_it_is_seen_and_goes_on_as_it_went_where_not(network, monkeypatch):
    """A bright square goes down by six pixels a frame and is not shown in frames 5 to 7."""
    side, steps = 128, 12
    pictures = np.zeros((steps, side, side, 3), np.uint8)
    truth = np.stack([np.full(steps, 60.0), 40.0 + 6 * np.arange(steps)], axis=1)
    hidden = (np.arange(steps) >= 5) & (np.arange(steps) < 8)
    for index in np.flatnonzero(~hidden).tolist():
        x, y = truth[index].astype(int).tolist()
        pictures[index, y - 8 : y + 8, x - 8 : x + 8] = 255

    def bright(_, many, where):
        cuts = [cut_window(many[0], where[0], 64)]
        outline = np.stack(cuts)[..., 0].astype(np.float32) / 255
        empty = np.zeros((1, 16, 2), np.float32)
        seen = outline.max(axis=(1, 2))
        return BodyReading(empty, empty[..., 0], outline, seen, np.zeros((1, 8), np.float32), where, seen)

    monkeypatch.setattr(AthleteReader, "_read_in", bright)
    places = AthleteReader(network).follow(pictures, 0.04 * np.arange(steps), np.array([60.0, 40.0]))
    assert places[~hidden] == pytest.approx(truth[~hidden], abs=1.0)
    assert np.abs(places[hidden] - truth[hidden]).max() < 8  # ever slower, but still near
    assert (np.diff(places[:, 1]) > 0).all()


def test_what_moves_is_cut_and_read_as_the_pictures_are(tmp_path):
    torch.manual_seed(0)
    sizes = NetworkConfig(window_size=64, width=8, embedding=8, movement=True)
    made = AthleteNetwork(sizes).eval()
    for layer in made.movement.add:
        torch.nn.init.normal_(layer.weight)
    save_network(tmp_path / "reader", sizes, made.state_dict(), {"source": "a test"})
    reader = AthleteReader.load(tmp_path / "reader")
    moved = np.random.default_rng(1).integers(0, 255, (3, 64, 64, 4), np.uint8)
    with torch.inference_mode():
        planes = (torch.from_numpy(each).permute(0, 3, 1, 2) for each in (windows(3), moved))
        maps = made(*planes)
    np.testing.assert_allclose(reader.read(windows(3), moved).outline, maps.outline.sigmoid(), atol=2e-2)
    squares, larger = (each.repeat(2, axis=1).repeat(2, axis=2) for each in (windows(3), moved))
    seen, alone = reader.read_closer(squares, larger), reader.read_closer(squares)
    assert not np.allclose(seen.joints, alone.joints, atol=1)


def test_a_network_that_knows_no_movement_reads_without(network):
    moved = np.full((2, 64, 64, 4), 255, np.uint8)
    reader = AthleteReader(network)
    np.testing.assert_array_equal(reader.read_closer(windows(2), moved).joints, reader.read_closer(windows(2)).joints)
