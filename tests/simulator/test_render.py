from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from finecausal_cli.simulator.camera import HEIGHT, WIDTH
from finecausal_cli.simulator.recording import DatasetPlan
from finecausal_cli.simulator.render import Scene, SceneConfig, render
from finecausal_cli.simulator.venue import STYLES

CLEAN_VENUE = 2


def quiet(config: SceneConfig) -> SceneConfig:
    """The config without picture noise and with true colours, so that pictures can be compared."""
    return replace(config, venue=replace(config.venue, noise=0.0, gain=(1.0, 1.0, 1.0)))


@pytest.fixture(scope="module")
def rendered(simulate):
    dive = simulate("5253B", 10.0)
    config = quiet(SceneConfig.draw((3, 1), CLEAN_VENUE))
    return dive, config, list(render(dive, config))


def test_frames_and_masks_have_one_size_and_two_mask_values(rendered):
    dive, _, pictures = rendered
    assert len(pictures) == dive.frames
    for frame, mask in pictures:
        assert frame.shape == (HEIGHT, WIDTH, 3)
        assert frame.dtype == mask.dtype == np.uint8
        assert mask.shape == (HEIGHT, WIDTH)
        assert set(np.unique(mask)) <= {0, 255}


def test_the_picture_differs_from_the_empty_scene_where_the_mask_says(rendered):
    dive, config, pictures = rendered
    views = config.camera.follow(dive.motion, np.arange(dive.frames) / 25)
    scene = Scene(config.venue, config.camera, dive.height_m, False)
    for number in range(dive.twist_start, dive.entry_start - 1, 3):
        frame, mask = pictures[number]
        empty = scene.paint(views[number], number / 25, 0.0)
        changed = np.abs(frame.astype(int) - empty).max(axis=-1)
        near = cv2.dilate(mask, np.ones((5, 5), np.uint8))
        blurred = changed[(near == 0)] > 0
        assert blurred.sum() < 0.5 * (mask > 0).sum()
        assert (changed[cv2.erode(mask, np.ones((3, 3), np.uint8)) > 0] > 8).mean() > 0.9


def test_the_mask_lies_on_the_projected_joints(rendered):
    dive, config, pictures = rendered
    times = np.arange(dive.frames) / 25
    views = config.camera.follow(dive.motion, times)
    for number in range(0, dive.entry_start - 1, 4):
        joints = config.camera.screen(dive.motion.body(times[number : number + 1])[0])
        x, y = config.camera.pixels(joints, views[number]).T
        rows, columns = np.nonzero(pictures[number][1])
        assert abs(rows.mean() - y.mean()) < 12
        assert abs(columns.mean() - x.mean()) < 12
        assert rows.min() > y.min() - 12
        assert rows.max() < y.max() + 12


def test_the_athlete_disappears_in_the_water_and_the_splash_is_no_athlete(rendered):
    dive, _, pictures = rendered
    assert (pictures[dive.entry_start - 1][1] > 0).sum() > 500
    assert (pictures[dive.entry_start + 8][1] > 0).sum() == 0


def test_the_athlete_fills_the_picture_and_stays_in_its_middle():
    plan = DatasetPlan(seed=23)
    for index in range(3):
        dive = plan.dive(index)
        config = plan.scene_config(index, dive)
        masks = [mask for _, mask in render(dive, config)][: dive.entry_start]
        spans = [np.ptp(np.nonzero(mask)[0]) / HEIGHT for mask in masks]
        assert 0.4 < max(spans) < 0.85
        assert np.median(spans) > 0.22
        for mask in masks:
            columns = np.nonzero(mask)[1]
            assert ((columns > 100) & (columns < 356)).mean() > 0.9


def test_another_venue_shows_the_same_dive_in_other_pixels(simulate):
    dive = simulate("403B", 3.0)
    configs = [SceneConfig.draw(seed) for seed in ((8, 0), (8, 1))]
    pictures = [next(iter(render(dive, config)))[0].astype(int) for config in configs]
    assert np.abs(pictures[0] - pictures[1]).mean() > 5
    assert configs[0].record()["venue_seed"] != configs[1].record()["venue_seed"]


def test_a_big_splash_is_seen(simulate):
    config = quiet(SceneConfig.draw((3, 1), CLEAN_VENUE))
    white = []
    for size in (0.0, 1.0):
        dive = simulate("403B", 10.0, big_splash=size)
        frames = [frame for frame, _ in render(dive, config)]
        tail = np.stack(frames[dive.entry_start + 4 : dive.entry_start + 10]).astype(int)
        white.append((tail.min(axis=-1) > 205)[:, 60:].sum())
    assert white[1] > white[0] + 2000


def test_rendering_is_deterministic(simulate):
    dive, config = simulate("614B", 5.0), SceneConfig.draw((2, 2))
    first, second = (next(iter(render(dive, config))) for _ in range(2))
    np.testing.assert_array_equal(first[0], second[0])


@pytest.mark.parametrize("style", range(len(STYLES)))
def test_every_kind_of_venue_can_be_asked_for(style):
    assert SceneConfig.draw((1,), style).venue.style is STYLES[style]
