from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from finecausal_cli.data import Dive
from finecausal_cli.data.cache import ClipArrays
from finecausal_cli.evaluation.predict import ErrorSummary
from finecausal_cli.model.config import ModelConfig
from finecausal_cli.training import TrainOptions
from finecausal_cli.training.pairs import PairsTask
from finecausal_cli.training.trainer import Trainer, start_accelerator
from finecausal_cli.video.writer import write_mask_video, write_video

SIDE = 34


class Film:
    """Stands for the clip cache: four dives whose picture tells their score, in memory.

    The brighter the square, the better the dive; it moves faster in the flight, and masks say where it is.
    """

    def __init__(self, *, masks: bool = True, count: int = 4, deductions: bool = False) -> None:
        self.dives = [
            Dive(
                key=f"{index}.mp4",
                video=Path("none.mp4"),
                score=min(30.0 + 15 * index, 90.0),
                difficulty=3.0,
                number="107B",
                deductions=(0.1 * index, 1.5 - 0.2 * index, 1.0) if deductions else None,
            )
            for index in range(count)
        ]
        self._clips = {}
        for index, dive in enumerate(self.dives):
            frames = np.random.default_rng(index).integers(0, 40, (96, SIDE, SIDE, 3), np.uint8)
            mask = np.zeros((96, SIDE, SIDE), np.uint8)
            for frame in range(96):
                top = 4 + frame // 8
                mask[frame, top : top + 8, 8:26] = 1
            frames[mask == 1] = 60 + min(45 * index, 190)
            self._clips[dive.key] = ClipArrays(frames, mask if masks else None, (30, 70))

    def forget(self, *, masks=(), transitions=(), deductions=()) -> None:
        """Take labels from some dives."""
        for index, dive in enumerate(self.dives):
            clip = self._clips[dive.key]
            known = (clip.transitions[0], -1) if index in transitions else clip.transitions
            self._clips[dive.key] = ClipArrays(clip.frames, None if index in masks else clip.mask, known)
            if index in deductions:
                self.dives[index] = replace(dive, deductions=None)

    def load(self, dive: Dive) -> ClipArrays:
        return self._clips[dive.key]


@pytest.fixture(scope="session")
def film():
    return Film()


@pytest.fixture(scope="session")
def config():
    """The smallest backbone over single frames: it takes two thirds of the time of the smallest I3D."""
    return ModelConfig(
        preset="compact", width=1 / 32, shared_trunk=True, frame_size=32, trunk="frames", foreground="top_down"
    )


@pytest.fixture(scope="session")
def make_options():
    def make(**given) -> TrainOptions:
        return TrainOptions(**{"epochs": 3, "group": 2, "groups_per_batch": 1, "save_every": 2, "seed": 5, **given})

    return make


@pytest.fixture(scope="session")
def make_trainer():
    """Make the trainer of a network on pairs of dives; what it is measured as, and who saves it, may be given."""

    def make(model, film, options, folder=None, *, dives=None, device="cpu", evaluate=None, save=None, **given):
        accelerator = start_accelerator(torch.device(device), options.precision)
        zeros = ErrorSummary(*(0.0,) * len(ErrorSummary.__slots__))
        task = PairsTask(
            model, film.dives if dives is None else dives, film, options, accelerator,
            evaluate=evaluate or (lambda _: zeros), save=save or (lambda *_: None), **given,
        )  # fmt: skip
        return Trainer(task, task.config(), accelerator, folder)

    return make


@pytest.fixture(scope="session")
def small_dataset(tmp_path_factory):
    """Four dives to train on, three to validate with, one without a score, and a test dive that cannot be read."""
    folder = tmp_path_factory.mktemp("dataset")
    rows = ["video,score,difficulty,dive,twist_start,entry_start,mask,split"]
    rng = np.random.default_rng(0)
    for index in range(8):
        masks = np.zeros((20, 36, 40), np.uint8)
        masks[:, 8 + index : 18 + index, 10:24] = 1
        frames = rng.integers(0, 100, (20, 36, 40, 3), np.uint8)
        frames[masks == 1] = 120 + 15 * index
        write_video(folder / f"{index}.mp4", frames, 25)
        write_mask_video(folder / f"{index}.mkv", masks, 25)
        score, split = "" if index == 7 else 45 + 4 * index, "train" if index in (0, 2, 4, 6, 7) else "val"
        rows.append(f"{index}.mp4,{score},3.0,107B,6,15,{index}.mkv,{split}")
    (folder / "broken.mp4").write_text("not a video")
    rows.append("broken.mp4,60,3.0,107B,,,,test")
    (folder / "dives.csv").write_text("\n".join(rows) + "\n")
    return folder
