from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from math import pi, radians
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from finecausal_cli.athlete import JOINT, MIRRORED
from finecausal_cli.data.manifest import read_manifest
from finecausal_cli.errors import UsageError
from finecausal_cli.simulator.athlete import JOINT as BODY_JOINT
from finecausal_cli.simulator.dataset import write_dataset
from finecausal_cli.simulator.dive import Timing
from finecausal_cli.simulator.footage import Overlay
from finecausal_cli.simulator.recording import DatasetPlan, Recording, Truth, box_of, find_photos
from finecausal_cli.simulator.wild import render_wild

SIZE = (320, 240)
COUNT = 2


recorded = cache(Recording.of)
"""A dive of a plan and its scene, drawn once: tests look at the same few from many sides."""


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(3)
    for name in ("a.jpg", "b.png"):
        picture = cv2.resize(rng.integers(0, 255, (12, 16, 3), np.uint8), (640, 480), interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(folder / name), picture)
    return folder


@pytest.fixture(scope="module")
def plan(photos: Path) -> Iterator[DatasetPlan]:
    yield DatasetPlan(seed=11, world="wild", photos=find_photos(photos))
    recorded.cache_clear()


@pytest.fixture(scope="module")
def recordings(plan: DatasetPlan) -> list[Recording]:
    return [recorded(plan, index) for index in range(40)]


def plain_recording(plan: DatasetPlan, index: int, **camera: object) -> Recording:
    """A dive in a small picture without graphics, in full view of a camera that is led."""
    recording = recorded(plan, index)
    clear = Overlay.draw(np.random.default_rng(0), SIZE, SIZE)
    while clear.kinds:
        clear = Overlay.draw(np.random.default_rng(clear.ink.sum() + 1), SIZE, SIZE)
    how = {"size": SIZE, "inner": SIZE, "guidance": "follow", "fill": 0.6, "quickness": 12.0, "zoom": 1.0} | camera
    config = replace(recording.config, camera=replace(recording.config.camera, **how), overlay=clear, intro_s=0.0)
    return replace(recording, config=config)


def flight(recording: Recording, count: int = 6) -> list[int]:
    """Frames that are spread over the dry part of the flight."""
    motion, timing = recording.simulated.motion, recording.timing
    return (
        np.linspace(timing.first_at(motion.leave_s), timing.first_at(motion.contact_s) - 2, count).astype(int).tolist()
    )


def seen(recording: Recording, frames: list[int]) -> tuple[list[np.ndarray], Truth]:
    truth = recording.truth(frames)
    return [mask for _, mask in recording.pictures_with_truth(truth, frames)], truth


@pytest.mark.parametrize("azimuth_deg", [0, 60, 90, 150, 180, -120, -90, -30])
@pytest.mark.parametrize("elevation_deg", [-12, 30])
def test_from_every_side_the_joints_lie_on_the_mask(plan, azimuth_deg, elevation_deg):
    recording = plain_recording(
        plan, abs(azimuth_deg) % 4, azimuth=radians(azimuth_deg), elevation=radians(elevation_deg)
    )
    masks, truth = seen(recording, flight(recording))
    trunk = [
        JOINT[name] for name in ("pelvis", "neck", "hip_l", "hip_r", "shoulder_l", "shoulder_r", "knee_l", "knee_r")
    ]
    on, of = 0, 0
    for mask, joints, visible in zip(masks, truth.joints, truth.visible, strict=True):
        wide = cv2.dilate(mask, np.ones((5, 5), np.uint8))
        for joint in trunk:
            if visible[joint]:
                x, y = joints[joint].astype(int)
                on, of = on + bool(wide[y, x]), of + 1
    assert of > 20
    assert on / of > 0.97


def test_the_box_is_that_of_the_mask(plan):
    recording = plain_recording(plan, 1)
    masks, truth = seen(recording, flight(recording, 2))
    rows, columns = masks[0].nonzero()
    assert truth.box[0].tolist() == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    assert np.isnan(box_of(np.zeros((4, 5), np.uint8))).all()


def test_a_mirrored_picture_shows_the_mirrored_joints(plan):
    recording = plain_recording(plan, 2, mirrored=False, shake=0.0, roll=0.0, framing=(0.0, 0.0))
    other = plain_recording(plan, 2, mirrored=True, shake=0.0, roll=0.0, framing=(0.0, 0.0))
    frames = flight(recording, 3)
    _, truth = seen(recording, frames)
    _, mirrored = seen(other, frames)
    expected = truth.joints[:, list(MIRRORED)]
    expected[..., 0] = SIZE[0] - expected[..., 0]
    np.testing.assert_allclose(mirrored.joints, expected, atol=1e-3)


def test_the_still_world_moves_as_the_camera_is_said_to(plan):
    """The backdrop of one frame, warped by the two frames' cameras, is that of the other."""
    recording = plain_recording(plan, 1, fill=0.4)
    footage = replace(recording.config.footage, grain=0.0, shutter=0.01, breathing=(0.0, 0.0), falloff=0.0, jpeg=None)
    recording = replace(recording, config=replace(recording.config, footage=footage))
    first = flight(recording)[4]
    frames = [first, first + 1]
    one, other = (shot.frame.astype(np.float32) for shot in render_wild(recording.simulated, recording.config, frames))
    _, truth = seen(recording, frames)
    whole = [np.vstack([camera, [0, 0, 1]]).astype(float) for camera in truth.camera]
    moved = cv2.warpAffine(one, (whole[1] @ np.linalg.inv(whole[0]))[:2], SIZE)
    part = np.s_[40:100, 40:-40]
    still, warped = (float(np.median(np.abs(picture[part] - other[part]))) for picture in (one, moved))
    assert warped < 0.4 * still


def test_joints_under_water_are_not_visible(plan):
    recording = plain_recording(plan, 0, fill=0.3)
    motion, timing = recording.simulated.motion, recording.timing
    around = [timing.first_at(motion.contact_s + late) for late in (0.1, 0.2)]
    _, truth = seen(recording, around)
    points = [BODY_JOINT[name] for name in ("ankle_l", "wrist_l", "pelvis")]
    dry = motion.body(timing.real_s[around])[:, points, 2] > 0
    wet = ~dry
    assert wet.any()
    names = [JOINT[name] for name in ("ankle_l", "wrist_l", "pelvis")]
    if recording.config.camera.mirrored:
        names = [MIRRORED[name] for name in names]
    assert not truth.visible[:, names][wet].any()


def test_what_stands_before_the_athlete_hides_it(plan):
    """Seen from behind the tower, the platform is before the athlete who falls on its other side."""
    for index in range(40):
        recording = plain_recording(plan, index, azimuth=-pi / 2, elevation=radians(20), fill=0.3)
        if recording.simulated.height_m < 5:
            continue
        frames = flight(recording, 12)
        shots = list(render_wild(recording.simulated, recording.config, frames))
        hidden = [shot for shot in shots if shot.hidden is not None and shot.hidden.any()]
        if not hidden:
            continue
        assert all(not (shot.mask & shot.hidden).any() for shot in hidden)
        _, truth = seen(recording, frames)
        if not truth.visible.all():
            return
    raise AssertionError("no platform ever hid a joint")


def test_graphics_hide_the_athlete(plan):
    recording = plain_recording(plan, 1)
    width, height = SIZE
    ink = np.zeros((height, width, 3), np.uint8)
    overlay = Overlay(ink, ink, None, None, SIZE, False, ("bug",))
    covered = replace(recording, config=replace(recording.config, overlay=overlay))
    masks, truth = seen(covered, flight(recording, 2))
    assert not np.any(masks)
    assert not truth.visible.any()


def test_bars_leave_the_middle(plan):
    rng, inner = np.random.default_rng(0), (180, 240)
    overlay = replace(Overlay.draw(rng, SIZE, inner), kinds=("bars",), ticker=None, clock=None, blurred=False)
    picture = overlay.paint(np.full((240, 320, 3), 200, np.uint8), 0.0)
    assert (picture[:, 70:250] == 200).all()
    assert not picture[:, :70].any()
    assert not picture[:, 250:].any()


def test_slow_motion_stretches_the_file_not_the_dive(plan):
    motion = recorded(plan, 0).simulated.motion
    timing = Timing(25.0, 4.0, 1.0, np.arange(401) / 25, False, "whole")
    flight_s = motion.contact_s - motion.leave_s
    assert timing.in_file(motion.contact_s) - timing.in_file(motion.leave_s) == pytest.approx(4 * flight_s)
    assert np.diff(timing.real_s) == pytest.approx(1 / 100)
    assert timing.real_s[0] == 1.0


def test_files_show_dives_anywhere_slowly_and_at_every_rate(recordings):
    starts = np.array([recording.timing.in_file(recording.simulated.motion.leave_s) for recording in recordings])
    shares = starts / [recording.timing.times_s[-1] for recording in recordings]
    assert shares.min() < 0.2
    assert shares.max() > 0.6
    assert 0.02 < np.mean([recording.timing.time_scale > 1.5 for recording in recordings]) < 0.3
    assert len({round(recording.timing.fps, 2) for recording in recordings}) >= 7
    assert max(recording.timing.frames for recording in recordings) <= 420
    for recording in recordings:
        record = recording.record()
        assert 0 < record["twist_start"] < record["entry_start"] < record["frames"]
        at = recording.timing.times_s[record["entry_start"]]
        assert 0 <= at - record["entry_start_s"] < 1.5 / record["fps"]


def test_cameras_look_from_all_sides(recordings):
    cameras = [recording.config.camera for recording in recordings]
    quarters = {int(np.degrees(camera.azimuth) // 90) for camera in cameras}
    assert quarters == {-2, -1, 0, 1}
    assert min(camera.elevation for camera in cameras) < 0 < radians(20) < max(camera.elevation for camera in cameras)
    assert {camera.guidance for camera in cameras} == {"follow", "zoom", "fixed"}
    assert len({camera.size for camera in cameras}) > 6


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory, photos: Path) -> Path:
    out = tmp_path_factory.mktemp("wild")
    return write_dataset(out, COUNT, 11, world="wild", photos=find_photos(photos), dives=("101B",), height_m=1.0)


def test_the_written_times_are_those_of_the_file(written):
    for index in range(COUNT):
        truth = np.load(written.parent / f"joints/{index:05d}.npz")
        record = json.loads((written.parent / f"meta/{index:05d}.json").read_text())
        with av.open(str(written.parent / f"videos/{index:05d}.mp4")) as video:
            frames = [(frame.time, frame.width, frame.height) for frame in video.decode(video=0)]
        assert truth["times_s"] == pytest.approx([time for time, _, _ in frames], abs=1e-5)
        assert truth["real_time_s"] == pytest.approx(
            record["start_s"] + truth["times_s"] / record["time_scale"], abs=1e-5
        )
        assert frames[0][1:] == (record["camera"]["width"], record["camera"]["height"])
        count = len(frames)
        assert {name: array.shape for name, array in truth.items()} == {
            "joints": (count, 15, 2),
            "visible": (count, 15),
            "box": (count, 4),
            "times_s": (count,),
            "real_time_s": (count,),
            "px_per_m": (count,),
            "camera": (count, 2, 3),
        }


def test_the_manifest_is_read_as_that_of_a_clean_world(written):
    dives = read_manifest(written)
    assert len(dives) == COUNT
    assert all(dive.mask is not None for dive in dives)


def test_the_bytes_do_not_depend_on_the_number_of_workers(written, tmp_path, photos):
    again = write_dataset(
        tmp_path / "again", 2, 11, workers=2, world="wild", photos=find_photos(photos), dives=("101B",), height_m=1.0
    )
    for name in ("videos/00000.mp4", "videos/00001.mp4", "masks/00001.mkv", "joints/00001.npz", "meta/00001.json"):
        assert (again.parent / name).read_bytes() == (written.parent / name).read_bytes(), name


def test_a_clean_plan_says_nothing_of_worlds():
    stamp = DatasetPlan(seed=1).stamp()
    assert "world" not in stamp
    assert "photos" not in stamp


def test_a_wild_plan_remembers_its_photographs_by_name_alone(plan):
    stamp = plan.stamp()
    assert stamp["world"] == "wild"
    assert stamp["photos"][0] == 2
    assert str(Path(plan.photos[0]).parent) not in json.dumps(stamp)


def test_a_folder_without_pictures_is_refused(tmp_path):
    with pytest.raises(UsageError, match="no picture"):
        find_photos(tmp_path)


def test_the_layout_of_finediving_has_no_wild_clips(tmp_path):
    with pytest.raises(UsageError, match="clean"):
        write_dataset(tmp_path / "out", 1, 1, layout="finediving", world="wild")
    assert not (tmp_path / "out").exists()


def test_clean_clips_have_joints_on_their_masks_too():
    recording = Recording.of(DatasetPlan(seed=5), 0)
    frames = flight(recording, 5)
    masks, truth = seen(recording, frames)
    x, y = truth.joints[:, JOINT["pelvis"]].astype(int).T
    assert all(mask[row, column] for mask, row, column in zip(masks, y, x, strict=True))
