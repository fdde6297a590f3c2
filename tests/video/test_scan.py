from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from finecausal_cli.video.decoders import INTERLACED_NOTE, Scanner

from .conftest import HEIGHT, WIDTH, encode, number_of, paint


def numbers(scanner: Scanner) -> list[int]:
    return [number_of(frame.picture) for frame in scanner.frames()]


@pytest.fixture
def film(tmp_path: Path) -> Path:
    return encode(tmp_path / "film.mp4", (paint(number) for number in range(50)))


def test_all_frames_come_in_order_with_their_times(film: Path) -> None:
    scanner = Scanner(film, side=256, most_fps=60)
    frames = list(scanner.frames())
    assert [number_of(frame.picture) for frame in frames] == list(range(50))
    assert [frame.time_s for frame in frames] == pytest.approx(np.arange(50) / 25)
    assert scanner.duration_s == pytest.approx(2.0)


def test_frames_beyond_the_rate_are_passed_over(film: Path) -> None:
    assert numbers(Scanner(film, side=256, most_fps=12.5)) == list(range(0, 50, 2))


def test_a_large_picture_is_shrunk(film: Path) -> None:
    scanner = Scanner(film, side=48, most_fps=60)
    (height, width) = next(iter(scanner.frames())).picture.shape[:2]
    assert (height, width) == scanner.size == (32, 48)
    assert scanner.to_full == (WIDTH / 48, HEIGHT / 32)


def test_only_the_times_asked_for_are_decoded(film: Path) -> None:
    assert numbers(Scanner(film, side=256, most_fps=60, start_s=0.6, end_s=1.0)) == list(range(15, 26))


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_pictures_stand_upright(tmp_path: Path, rotation: int) -> None:
    turned = (np.ascontiguousarray(np.rot90(paint(number), -rotation // 90)) for number in range(6))
    path = encode(tmp_path / "turned.mp4", turned, rotation=rotation)
    assert numbers(Scanner(path, side=256, most_fps=60)) == list(range(6))


def test_pixels_are_made_square(tmp_path: Path) -> None:
    path = encode(tmp_path / "wide.mp4", (paint(number) for number in range(4)), sample_aspect=Fraction(4, 3))
    scanner = Scanner(path, side=256, most_fps=60)
    assert scanner.size == (HEIGHT * 3 // 4, WIDTH)
    assert scanner.to_full == pytest.approx((1.0, 4 / 3))


def test_interlaced_frames_are_deinterlaced_and_said(tmp_path: Path) -> None:
    options = {"flags": "+ilme+ildct", "qscale": "2"}
    path = encode(tmp_path / "laced.mpg", (paint(number) for number in range(12)), codec="mpeg2video", options=options)
    scanner = Scanner(path, side=256, most_fps=60)
    assert len(numbers(scanner)) == 12
    assert INTERLACED_NOTE in scanner.notes


def test_deinterlaced_frames_keep_their_times(tmp_path: Path) -> None:
    options = {"flags": "+ilme+ildct", "x264-params": "tff=1"}
    path = encode(tmp_path / "laced.mp4", (paint(number) for number in range(12)), codec="libx264", options=options)
    scanner = Scanner(path, side=256, most_fps=60)
    assert [frame.time_s for frame in scanner.frames()] == pytest.approx(np.arange(12) / 25)
    assert INTERLACED_NOTE in scanner.notes


def test_a_folder_of_frames_is_scanned(tmp_path: Path) -> None:
    for number in range(20):
        Image.fromarray(paint(number)).save(tmp_path / f"{number:03}.png")
    assert numbers(Scanner(tmp_path, side=256, most_fps=60)) == list(range(20))
