import numpy as np
import pytest

from finecausal_cli.report.overlay import OVERLAY_COLOURS, WHITE, ScoreOverlay

SIZES = [(256, 456), (1080, 1920), (456, 256), (2160, 3840), (96, 160)]


def draw(assessment, size, frame=50, frames=100):
    hud = ScoreOverlay(assessment, (0, 43, 80, frames), size)
    strip = np.zeros((hud.height, size[1], 3), np.uint8)
    hud.draw(strip, frame, frame / 25)
    return hud, strip


def columns_of(strip, colour):
    return np.flatnonzero((strip == colour).all(-1).any(0))


@pytest.mark.parametrize("size", SIZES)
def test_the_strip_hides_little_of_the_dive(assessment, size):
    hud, strip = draw(assessment, size)
    assert hud.height <= 0.3 * size[0]
    assert strip.any()


@pytest.mark.parametrize(("size", "least"), [((256, 456), 9), ((1080, 1920), 17)])
def test_letters_are_high_enough_to_read(assessment, size, least):
    hud, strip = draw(assessment, size)
    text = (strip[: hud.height // 2] == WHITE).all(-1).any(1)
    assert text.sum() >= least * 0.6
    assert (strip[:, size[1] // 2 :] > 200).all(-1).any()


def test_a_stage_begins_at_its_border(assessment):
    hud, _ = draw(assessment, (256, 456))
    assert [hud.stage_at(frame) for frame in (0, 42, 43, 79, 80, 99, 500)] == [0, 0, 1, 1, 2, 2, 2]


def test_a_stage_without_frames_is_never_shown(assessment):
    hud = ScoreOverlay(assessment, (0, 40, 40, 100), (256, 456))
    assert [hud.stage_at(frame) for frame in (39, 40)] == [0, 2]
    strip = np.zeros((hud.height, 456, 3), np.uint8)
    hud.draw(strip, 60, 1.0)
    timeline = strip[:, : int(456 * 0.55)]
    assert not len(columns_of(timeline, OVERLAY_COLOURS[1]))


def test_the_played_part_of_the_timeline_grows_with_time(assessment):
    reach = []
    for frame in (10, 30, 42):
        _, strip = draw(assessment, (256, 456), frame)
        bar = strip[-8:-4, : int(456 * 0.55)]  # below the text, left of the points
        reach.append(columns_of(bar, OVERLAY_COLOURS[0]).max())
    assert reach == sorted(set(reach))


@pytest.mark.parametrize(("frame", "stages"), [(10, 1), (50, 2), (90, 3)])
def test_each_stage_adds_its_points_when_it_begins(assessment, frame, stages):
    _, strip = draw(assessment, (1080, 1920), frame)
    points = strip[-30:, int(1920 * 0.605) :]
    shown = [len(columns_of(points, colour)) > 0 for colour in OVERLAY_COLOURS]
    assert shown == [place < stages for place in range(3)]


def test_bars_of_points_are_as_long_as_the_points(assessment):
    _, strip = draw(assessment, (1080, 1920), 90)
    points = strip[-30:, int(1920 * 0.605) :]
    lengths = [len(columns_of(points, colour)) for colour in OVERLAY_COLOURS]
    contributions = [abs(stage.contribution) for stage in assessment.stages]
    for stage in range(3):
        assert lengths[stage] / lengths[1] == pytest.approx(contributions[stage] / contributions[1], abs=0.03)


def test_a_picture_without_room_goes_without_text(assessment):
    hud, _ = draw(assessment, (48, 64))
    assert hud.height <= 48 * 0.4
