"""Measure how many dives per second one core simulates, renders and writes, and the share of each step.

Run it alone, on an idle machine: ``python -m benchmarks.simulate``.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import cv2
from rich.console import Console
from rich.table import Table

from finecausal_cli.simulator.dive import FPS
from finecausal_cli.simulator.recording import PRESET, plan_dataset
from finecausal_cli.simulator.render import render
from finecausal_cli.video.writer import write_mask_video, write_video

SEED = 2026
DIVES = 24
CLIP = 100
"""Frames of the clip in the last column."""


@dataclass
class Times:
    """CPU seconds, summed over dives."""

    motion: float = 0.0
    venue: float = 0.0
    picture: float = 0.0
    encoding: float = 0.0
    masks: float = 0.0

    @property
    def total(self) -> float:
        """Sum of all steps."""
        return self.motion + self.venue + self.picture + self.encoding + self.masks


def measure(dives: int = DIVES) -> tuple[Times, int]:
    """Return times and number of frames of ``dives`` dives of one plan, after one to warm up."""
    cv2.setNumThreads(1)
    plan = plan_dataset(SEED)
    times, frames = Times(), 0
    with tempfile.TemporaryDirectory() as folder:
        for index in range(dives + 1):
            if index == 1:
                times, frames = Times(), 0
            marks = [time.process_time()]
            simulated = plan.dive(index)
            marks.append(time.process_time())
            config = plan.scene_config(index, simulated)
            marks.append(time.process_time())
            pictures = list(render(simulated, config))
            marks.append(time.process_time())
            clip = (frame for frame, _ in pictures)
            write_video(Path(folder) / "clip.mp4", clip, FPS, crf=config.crf, preset=PRESET)
            marks.append(time.process_time())
            write_mask_video(Path(folder) / "clip.mkv", (mask for _, mask in pictures), FPS)
            marks.append(time.process_time())
            for name, start, stop in zip(vars(times), marks, marks[1:], strict=False):
                setattr(times, name, getattr(times, name) + stop - start)
            frames += len(pictures)
    return times, frames


def table(times: Times, frames: int, dives: int = DIVES) -> Table:
    """Return a row per step, and their sum."""
    out = Table("simulate, one core", "ms a dive", "share", f"ms for {CLIP} frames")
    for name, seconds in (*vars(times).items(), ("all", times.total)):
        row = 1000 * seconds / dives, seconds / times.total, 1000 * seconds / frames * CLIP
        out.add_row(name, f"{row[0]:.0f}", f"{row[1]:.0%}", f"{row[2]:.0f}")
    out.caption = f"{dives / times.total:.2f} dives a second of {frames / dives:.0f} frames; " + (
        f"{frames / CLIP / times.total:.2f} clips of {CLIP} frames"
    )
    return out


if __name__ == "__main__":
    Console(width=80).print(table(*measure()))
