"""What is burnt into the picture stays in its pixels while the camera moves, and is not what falls."""

from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest

from finecausal_cli.tracking.camera import chain, measure_steps
from finecausal_cli.tracking.motion import SHRINK, motion_heat

from .conftest import FPS, film


def heat_of(frames: list[np.ndarray]) -> np.ndarray:
    pictures = np.stack(frames)
    with ThreadPoolExecutor(2) as pool:
        camera = chain(np.arange(len(frames)) / FPS, measure_steps(pictures, pool))
        return motion_heat(pictures, camera, pool).raw


def lettered(frame: np.ndarray, index: int) -> np.ndarray:
    """Draw a flat panel, of which only letters and edges are seen to stay, and a clock in tenths."""
    shown = frame.copy()
    cv2.rectangle(shown, (20, 196), (150, 230), (20, 60, 160), -1)
    cv2.putText(shown, "ATHLETE", (26, 220), cv2.FONT_HERSHEY_SIMPLEX, 0.6, (250, 250, 250), 1)
    cv2.putText(shown, f"0:0{index / FPS:.1f}", (222, 30), cv2.FONT_HERSHEY_SIMPLEX, 0.6, (250, 250, 250), 1)
    return shown


@pytest.mark.parametrize("pan", [90.0, 200.0])
def test_a_panel_and_a_clock_do_not_fall_when_the_camera_moves(pan: float) -> None:
    panned = film(seconds=2.0, pan=pan)
    panel = np.s_[:, 190 // SHRINK :, 14 // SHRINK : 156 // SHRINK]
    clock = np.s_[:, 10 // SHRINK : 36 // SHRINK, 218 // SHRINK :]
    heat = heat_of([lettered(frame, index) for index, frame in enumerate(panned.frames)])
    middle = len(heat) // 2
    assert heat[panel].max() == 0
    assert heat[clock].max(axis=0).mean() < 2
    x, y = (panned.centres[middle] / SHRINK).astype(int)
    around = np.s_[middle, max(0, y - 8) : y + 8, max(0, x - 8) : x + 8]
    assert heat[around].max() > 20  # the athlete is still seen to move


def test_without_motion_of_the_camera_nothing_is_taken_for_a_panel() -> None:
    still = film(seconds=2.0, pan=0.0)
    frames = [lettered(frame, index) for index, frame in enumerate(still.frames)]
    clock = np.s_[:, 10 // SHRINK : 36 // SHRINK, 218 // SHRINK :]
    assert heat_of(frames)[clock].max() > 0
