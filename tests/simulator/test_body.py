from __future__ import annotations

import numpy as np
import pytest

from finecausal_cli.simulator import athlete as poses
from finecausal_cli.simulator.athlete import JOINT, JOINTS, SEGMENTS, Athlete, Faults

MAN = Athlete("male", 1.741, 73.0)
WOMAN = Athlete("female", 1.735, 61.9)


def centre_and_inertia(athlete: Athlete, pose: object) -> tuple[np.ndarray, float]:
    points, mass = athlete.masses(athlete.joints(poses.vector(pose)))  # type: ignore[arg-type]
    centre = mass @ points / mass.sum()
    return centre, float(mass @ ((points - centre)[:, ::2] ** 2).sum(axis=1))


def test_sixteen_segments_carry_the_whole_mass():
    assert len(SEGMENTS) == 16
    for athlete in (MAN, WOMAN):
        assert sum(s.mass[athlete.column] for s in SEGMENTS) == pytest.approx(1.0, abs=0.002)
        _, mass = athlete.masses(athlete.joints(poses.vector(poses.stand())))
        assert mass.sum() == pytest.approx(athlete.mass_kg)


@pytest.mark.parametrize("athlete", [MAN, WOMAN], ids=lambda a: a.sex)
def test_standing_height_is_the_stature(athlete: Athlete):
    joints = athlete.joints(poses.vector(poses.stand()))
    height = joints[JOINT["vertex"], 2] - joints[JOINT["heel_l"], 2]
    assert height == pytest.approx(athlete.stature_m, rel=0.02)


@pytest.mark.parametrize(("athlete", "share"), [(MAN, 0.57), (WOMAN, 0.56)], ids=["male", "female"])
def test_centre_of_mass_stands_where_anatomy_books_put_it(athlete: Athlete, share: float):
    joints = athlete.joints(poses.vector(poses.stand()))
    centre, _ = centre_and_inertia(athlete, poses.stand())
    floor, top = joints[JOINT["heel_l"], 2], joints[JOINT["vertex"], 2]
    height = (centre[2] - floor) / (top - floor)
    assert height == pytest.approx(share, abs=0.02)


def test_inertia_of_the_positions_matches_published_values():
    # Layout with the arms at the sides about 11-14 kg m^2, tuck about 3-4.5, pike in between (Hay 1993, table 7).
    none = Faults()
    _, straight = centre_and_inertia(MAN, poses.stand()._replace(ankle=0.3))
    _, tuck = centre_and_inertia(MAN, poses.tuck(none))
    _, pike = centre_and_inertia(MAN, poses.pike(none))
    assert 10.5 < straight < 14.0
    assert 2.5 < tuck < 4.5
    assert tuck < pike < 0.6 * straight


def test_a_segment_keeps_its_centre_and_radius_of_gyration():
    joints = MAN.joints(poses.vector(poses.stand()))
    points, mass = MAN.masses(joints)
    thigh = next(k for k, s in enumerate(SEGMENTS) if (s.start, s.end) == ("hip_l", "knee_l"))
    pair, weight = points[[thigh, thigh + len(SEGMENTS)]], mass[[thigh, thigh + len(SEGMENTS)]]
    length = np.linalg.norm(joints[JOINT["knee_l"]] - joints[JOINT["hip_l"]])
    centre = pair.mean(axis=0)
    assert weight.sum() == pytest.approx(73.0 * 0.1416, rel=1e-3)
    assert np.linalg.norm(centre - joints[JOINT["hip_l"]]) == pytest.approx(0.4095 * length)
    inertia = (weight * ((pair - centre) ** 2).sum(axis=1)).sum()
    assert inertia == pytest.approx(weight.sum() * (0.329 * length) ** 2)


def test_limbs_keep_their_length_in_every_pose():
    rng = np.random.default_rng(0)
    rows = rng.uniform(-1.0, 2.0, (40, len(poses.stand())))
    joints = MAN.joints(rows)
    assert joints.shape == (40, len(JOINTS), 3)
    for start, end, length in (
        ("hip_l", "knee_l", 0.4222),
        ("knee_r", "ankle_r", 0.4403),
        ("elbow_l", "wrist_l", 0.2689),
    ):
        found = np.linalg.norm(joints[:, JOINT[end]] - joints[:, JOINT[start]], axis=-1)
        np.testing.assert_allclose(found, length, rtol=1e-6)


def test_loose_positions_are_slower_to_turn():
    for shape in (poses.tuck, poses.pike):
        _, tight = centre_and_inertia(MAN, shape(Faults()))
        _, loose = centre_and_inertia(MAN, shape(Faults(loose_position=1.0)))
        assert loose > 1.3 * tight
