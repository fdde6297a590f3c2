"""Make the pictures of the README again: ``python examples/pictures.py``. The page's needs Chromium."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

import av
from PIL import Image

from finecausal_cli.report.overlay import overlay_clip
from finecausal_cli.report.pages import write_page
from finecausal_cli.scoring import ExplainOptions, ScoreOptions
from finecausal_cli.scoring.scorer import Scorer

HERE = Path(__file__).resolve().parent
FIGURES = HERE.parent / "docs" / "figures"
DIVE, NUMBER, HEIGHT_M = "107B-10m-good", "107B", 10.0

SHOWN_S = 0.5
"""Which moment is shown, seconds after the take-off: in the air, folded."""

SIZE = 860, 1290
"""Of the browser's window, pixels: the player and its curves."""

QUALITY = 80


def main() -> None:
    """Write the pictures."""
    video = HERE / "dives" / f"{DIVE}.mp4"
    options = ScoreOptions(dive=NUMBER, height_m=HEIGHT_M)
    explanation, evidence = Scorer.load().explain(video, options, ExplainOptions(backgrounds=False))
    with tempfile.TemporaryDirectory() as folder:
        overlay = Path(folder) / "overlay.mp4"
        overlay_clip(overlay, explanation.assessment, evidence)
        shown_s = (explanation.flight_start_s or 0.0) + SHOWN_S
        save(frame_at(overlay, shown_s - (explanation.assessment.clip_start_s or 0.0)), "overlay")
        page = Path(folder) / "page.html"
        write_page(page, explanation, evidence, source=video.name)
        if (picture := screenshot(page, Path(folder) / "page.png", shown_s)) is not None:
            save(picture, "page")


def frame_at(video: Path, time_s: float) -> Image.Image:
    """Return the frame of a video that is shown at a time."""
    with av.open(str(video)) as container:
        for frame in container.decode(video=0):
            if frame.time is not None and frame.time >= time_s:
                break
        return Image.fromarray(frame.to_ndarray(format="rgb24"))


def screenshot(page: Path, target: Path, time_s: float) -> Image.Image | None:
    """Return a picture of a page, opened at a moment of the dive, in headless Chromium; None where there is none."""
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None:
        print("no Chromium: the picture of the page is left as it is")  # noqa: T201 - a script
        return None
    wide, high = SIZE
    arguments = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--virtual-time-budget=5000"]
    arguments += [f"--window-size={wide},{high}", f"--screenshot={target}", f"{page.as_uri()}#t={time_s:.2f}"]
    subprocess.run([chromium, *arguments], check=True, stderr=subprocess.DEVNULL)  # noqa: S603 - our own page
    return Image.open(target)


def save(picture: Image.Image, name: str) -> None:
    """Write a picture of the documentation."""
    FIGURES.mkdir(exist_ok=True)
    picture.convert("RGB").save(FIGURES / f"{name}.webp", quality=QUALITY, method=6)


if __name__ == "__main__":
    main()
