"""The track of a body: features of the judging network, mirrored and frozen."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from finecausal_cli.athlete import JOINT, JOINTS
from finecausal_cli.athlete.track import AFTER_S, BEFORE_S, CHANNELS, BodyTrack, track_features, trunk_angle, turn
from finecausal_cli.model.skeleton_encoder import TRACK_CHANNELS


def somersault(turns: float = 2.0, frames: int = 96) -> BodyTrack:
    """Return a stiff body that turns at an even speed."""
    air_s = 1.4
    times = np.linspace(-BEFORE_S, air_s + AFTER_S, frames)
    shape = np.zeros((len(JOINTS), 2))
    heights = {"neck": 0.5, "head": 0.7, "shoulder": 0.45, "elbow": 0.75, "wrist": 1.0, "hip": 0.0, "knee": -0.45}
    for name, index in JOINT.items():
        part, _, side = name.partition("_")
        shape[index] = ({"l": -0.1, "r": 0.1}.get(side, 0.0), heights.get(part, -0.9 if part == "ankle" else 0.0))
    angle = 2 * np.pi * turns * np.clip(times / air_s, 0, 1)
    joints = np.einsum("tij,kj->tki", turn(angle), shape)
    path = np.stack([np.clip(times, 0, air_s), 2 * times - 4.9 * times**2], -1)
    sure = np.full((frames, len(JOINTS)), 0.8, np.float32)
    ones = np.ones(frames, np.float32)
    return BodyTrack(
        times, joints.astype(np.float32), sure, ones, path.astype(np.float32), 0.4 * ones, air_s, splash=0.3
    )


def test_the_network_takes_as_many_channels_as_a_track_gives() -> None:
    assert track_features(somersault()).shape == (CHANNELS, 96)
    assert CHANNELS == TRACK_CHANNELS


def test_transitions_are_the_first_frames_in_the_air_and_in_the_water() -> None:
    track = somersault()
    first, entry = track.transitions
    assert track.times_s[first - 1] < 0 <= track.times_s[first]
    assert track.times_s[entry - 1] < track.air_s <= track.times_s[entry]
    assert track.in_flight.sum() == entry - first


def test_a_body_that_turns_stays_upright_about_its_own_trunk() -> None:
    features = track_features(somersault())
    air = somersault().in_flight
    upright = features[2 * len(JOINTS) : 4 * len(JOINTS), air]
    assert np.ptp(upright, axis=1).max() < 1e-5
    assert np.ptp(features[: 2 * len(JOINTS), air], axis=1).max() > 0.5


def test_the_spin_is_that_of_the_body() -> None:
    track = somersault(turns=2.0)
    spin = track_features(track)[5 * len(JOINTS) + 2] * 20
    first, entry = track.transitions
    expected = 4 * np.pi / 1.4
    assert spin[first + 3 : entry - 3] == pytest.approx(expected, rel=1e-3)


def test_joints_before_the_last_step_and_under_water_are_not_read() -> None:
    track = somersault()
    features = track_features(track)
    outside = (track.times_s < -0.5) | (track.times_s > track.air_s + 0.2)
    assert (features[: 4 * len(JOINTS), outside] == 0).all()
    assert (features[: 4 * len(JOINTS), track.in_flight] != 0).any()


def test_mirroring_twice_gives_the_track_again() -> None:
    track = somersault()
    twice = track.mirrored().mirrored()
    assert np.array_equal(twice.joints_m, track.joints_m)
    assert np.array_equal(twice.path_m, track.path_m)
    once = track.mirrored()
    assert once.joints_m[5, JOINT["wrist_l"], 0] == -track.joints_m[5, JOINT["wrist_r"], 0]


def test_a_clip_that_shows_less_has_as_many_samples_of_what_it_shows() -> None:
    track = somersault()
    first_s, last_s = 0.3, 0.9
    part = track.within(first_s, last_s)
    assert len(part.times_s) == len(part.joints_m) == len(track.times_s)
    assert part.times_s[0] >= first_s
    assert part.times_s[-1] <= last_s
    assert set(part.times_s) == {each for each in track.times_s if first_s <= each <= last_s}
    row = int(np.flatnonzero(track.times_s == part.times_s[40])[0])
    assert np.array_equal(part.joints_m[40], track.joints_m[row])
    assert part.air_s == track.air_s
    assert track.within(-9, 9) is track
    assert track.within(50, 60) is track  # nothing of it is shown


def test_a_frozen_flight_does_not_turn_but_falls() -> None:
    track = somersault()
    frozen = track.frozen()
    assert np.ptp(trunk_angle(frozen.joints_m)[track.in_flight]) == 0
    assert np.array_equal(frozen.path_m, track.path_m)


def test_a_splash_that_is_not_known_is_told_from_none_at_all() -> None:
    track = somersault()
    from dataclasses import replace

    unknown, none, big = (track_features(replace(track, splash=splash))[-5:-3, -1] for splash in (None, 0.0, 1.0))
    assert unknown.tolist() == [0, 0]
    assert none.tolist() == [0, 1]
    assert big.tolist() == [1, 1]


def test_a_lean_counts_by_the_error_that_is_expected_of_it() -> None:
    def lean(*read: float) -> list[float]:
        leans = np.array([(9.0, 1.0), read], np.float32)
        return track_features(replace(somersault(), leans_deg=leans))[-3:, -1].tolist()

    assert lean(-10.0, 0.0) == pytest.approx([0.5, -0.5, 1.0])
    assert lean(10.0, 6.0) == pytest.approx([0.25, 0.25, 0.5])
    assert lean(10.0, 20.0) == [0.0, 0.0, 0.0]
    assert lean(np.nan, np.nan) == [0.0, 0.0, 0.0]
    assert track_features(somersault())[-3:].any() == np.False_
    track = replace(somersault(), leans_deg=np.array([(9.0, 1.0), (10.0, 0.0)], np.float32))
    assert track_features(track.mirrored())[-3:, -1].tolist() == pytest.approx([0.5, -0.5, 1.0])


def test_a_splash_of_which_nothing_is_certain_says_little() -> None:
    wet = slice(-5, -3)
    sure, unsure, unknown = (
        track_features(replace(somersault(), splash=splash, splash_error=error))[wet, -1].tolist()
        for splash, error in ((0.3, 0.0), (0.3, 0.14), (None, 0.0))
    )
    assert sure == pytest.approx([0.3, 1.0])
    assert unsure == pytest.approx([0.3, 0.5])
    assert unknown == [0.0, 0.0]
