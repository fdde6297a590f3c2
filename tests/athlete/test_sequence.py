import numpy as np
import pytest
import torch

from finecausal_cli.athlete import JOINT, JOINTS
from finecausal_cli.athlete.network import DIRECTIONS, Observations, direction_track, mirrored, steps_of, turned

STEP_S = 1 / 25


def distributions(angles, sure=0.9):
    """What a reader says that sees these directions, radians."""
    bins = np.arange(DIRECTIONS) * 2 * np.pi / DIRECTIONS
    bumps = np.exp(8 * (np.cos(np.asarray(angles)[:, None] - bins) - 1))
    bumps /= bumps.sum(axis=1, keepdims=True)
    return (sure * bumps + (1 - sure) / DIRECTIONS).astype(np.float32)


def off_deg(track, truth):
    return np.abs((np.degrees(track - truth) + 180) % 360 - 180)


def steps(frames):
    return np.r_[0.0, np.full(frames - 1, STEP_S)]


@pytest.mark.parametrize("speed", [0.0, 6.0, -11.0])
def test_the_track_is_the_turn_itself_where_every_frame_is_read_right(speed):
    truth = 0.7 + speed * STEP_S * np.arange(30)
    assert off_deg(direction_track(distributions(truth), steps(30)), truth).max() < 10


def test_a_stretch_that_was_read_upside_down_does_not_turn_the_track():
    truth = 1.0 + 9.0 * STEP_S * np.arange(34)
    read = truth.copy()
    read[3:11] += np.pi
    read[25] += np.pi
    assert off_deg(direction_track(distributions(read), steps(34)), truth).max() < 20


def test_a_body_that_opens_turns_slower_and_the_track_with_it():
    speed = np.where(np.arange(40) < 22, 11.0, 4.0)
    truth = np.cumsum(speed * STEP_S)
    read = truth + np.where(np.random.default_rng(1).random(40) < 0.2, np.pi, 0)
    assert off_deg(direction_track(distributions(read), steps(40)), truth).max() < 25


def test_the_same_turn_in_more_frames_has_the_same_track():
    fine = np.cumsum(np.full(60, 3.5 * STEP_S))
    fine_steps = np.r_[0.0, np.full(59, STEP_S / 3)]
    assert off_deg(direction_track(distributions(fine), fine_steps), fine).max() < 10
    assert len(direction_track(distributions(fine[:1]), steps(1))) == 1


def one(joints, angle):
    direction = torch.from_numpy(distributions([angle]))[None]
    track = torch.tensor([[[np.cos(angle), np.sin(angle)]]], dtype=torch.float32)
    ones = torch.ones(1, 1)
    return Observations(joints, torch.ones(1, 1, len(JOINTS)), direction, track, ones, 0 * ones, ones)


def body(angle):
    joints = torch.zeros(1, 1, len(JOINTS), 2)
    joints[0, 0, JOINT["neck"]] = 0.3 * torch.tensor([np.cos(angle), np.sin(angle)])
    joints[0, 0, JOINT["wrist_l"], 0] = 0.1
    return joints


def test_the_mirror_image_of_a_reading_points_the_other_way_with_its_sides_exchanged():
    seen = mirrored(one(body(0.4), 0.4))
    angle = np.pi - 0.4
    torch.testing.assert_close(seen.joints[0, 0, JOINT["neck"]], body(angle)[0, 0, JOINT["neck"]], atol=1e-6, rtol=0)
    assert seen.joints[0, 0, JOINT["wrist_r"], 0] == pytest.approx(-0.1)
    torch.testing.assert_close(seen.track, one(body(0), angle).track, atol=1e-6, rtol=0)
    assert off_deg(seen.direction[0, 0].argmax().item() * 2 * np.pi / DIRECTIONS, angle) <= 5


def test_turning_turns_joints_and_direction_alike():
    joints, direction = turned(body(0.0), torch.from_numpy(distributions([0.0])), 9)
    torch.testing.assert_close(joints[0, 0, JOINT["neck"]], torch.tensor([0.0, 0.3]), atol=1e-6, rtol=0)
    assert direction[0].argmax() == 9


def test_steps_are_the_times_between_frames():
    torch.testing.assert_close(steps_of([0.5, 0.54, 0.6]), torch.tensor([0.0, 0.04, 0.06]))
    assert steps_of([]).shape == (0,)
