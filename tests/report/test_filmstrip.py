from __future__ import annotations

import base64
import io
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from finecausal_cli.report.overlay import KeyFrameStrip, key_frames, outline

if TYPE_CHECKING:
    from finecausal_cli.scoring.background import Evidence
    from finecausal_cli.scoring.results import Explanation


def yellow(picture: np.ndarray) -> np.ndarray:
    """Tell where the line is; nothing else in the picture has any colour."""
    red, green, blue = np.moveaxis(picture.astype(int), -1, 0)
    return (red > 180) & (green > 160) & (blue < 60)


def test_each_stage_gives_its_first_frame_and_three_more(explanation: Explanation, evidence: Evidence) -> None:
    strips = key_frames(KeyFrameStrip.of(explanation.assessment, evidence), side=112)
    assert {stage: [one.frame for one in frames] for stage, frames in strips.items()} == {
        "takeoff": [0, 10, 20, 30],
        "flight": [41, 50, 59, 68],
        "entry": [77, 81, 86, 91],
    }
    assert strips["flight"][0].time_s == pytest.approx(41 / 30)  # every other frame of 60 a second
    assert {one.picture.shape for frames in strips.values() for one in frames} == {(112, 112, 3)}


def test_the_athlete_is_outlined_where_it_is_predicted(evidence: Evidence) -> None:
    (first, *_) = key_frames(KeyFrameStrip("dive", evidence, (30, 60, 80, 96)), side=112)["takeoff"]
    # The square that falls lies at rows 40..51 and columns 94..105; the crop begins at row 4 and column 44.
    rows, columns = np.nonzero(yellow(first.picture))
    assert 34 <= rows.min() <= 36
    assert 47 <= rows.max() <= 49
    assert 48 <= columns.min() <= 50
    assert 61 <= columns.max() <= 63
    assert tuple(first.picture[42, 56]) == (255, 255, 255)  # the inside is left as it is
    assert first.athlete == pytest.approx(144 / 112**2)
    assert "athlete outlined, 1.1% of the picture" in first.caption


def test_where_no_athlete_is_predicted_nothing_is_outlined(explanation: Explanation, evidence: Evidence) -> None:
    last = key_frames(KeyFrameStrip.of(explanation.assessment, evidence), side=112)["entry"][-1]
    assert yellow(last.picture).any()
    gone = replace(evidence, masks=np.zeros_like(evidence.masks))
    assert not any(
        yellow(one.picture).any() for one in key_frames(KeyFrameStrip("dive", gone, (0, 41, 77, 96)))["entry"]
    )


def test_a_short_stage_repeats_and_an_empty_one_shows_nothing(evidence: Evidence) -> None:
    strips = key_frames(KeyFrameStrip("dive", evidence, (0, 0, 94, 96)), side=64)
    assert strips["takeoff"] == []
    assert [one.frame for one in strips["entry"]] == [94, 94, 95, 95]


def test_outlining_changes_a_copy(evidence: Evidence) -> None:
    before = evidence.frames[20].copy()
    drawn = outline(evidence.frames[20], evidence.masks[20])
    assert (evidence.frames[20] == before).all()
    assert yellow(drawn).any()


def test_a_page_can_carry_the_picture(evidence: Evidence) -> None:
    frame = key_frames(KeyFrameStrip("dive", evidence, (0, 41, 77, 96)), side=96)["takeoff"][0]
    kind, content = frame.data_uri().split(",")
    assert kind == "data:image/jpeg;base64"
    decoded = np.asarray(Image.open(io.BytesIO(base64.b64decode(content, validate=True))))
    assert decoded.shape == (96, 96, 3)
    assert np.abs(decoded.astype(int) - frame.picture).mean() < 4
