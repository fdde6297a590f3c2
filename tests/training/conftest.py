from pathlib import Path

import numpy as np
import pytest

from finecausal_cli.data.cache import ClipArrays
from finecausal_cli.data.dive import Dive
from finecausal_cli.model.config import ModelConfig
from finecausal_cli.training.options import TrainOptions

SIDE = 34


class Film:
    """Stands for the clip cache: four dives whose picture tells their score, in memory.

    The brighter the square, the better the dive; it moves faster in the flight, and masks say where it is.
    """

    def __init__(self, *, masks: bool = True, count: int = 4) -> None:
        self.dives = [
            Dive(key=f"{index}.mp4", video=Path("none.mp4"), score=30.0 + 15 * index, difficulty=3.0, number="107B")
            for index in range(count)
        ]
        self._clips = {}
        for index, dive in enumerate(self.dives):
            frames = np.random.default_rng(index).integers(0, 40, (96, SIDE, SIDE, 3), np.uint8)
            mask = np.zeros((96, SIDE, SIDE), np.uint8)
            for frame in range(96):
                top = 4 + frame // 8
                mask[frame, top : top + 8, 8:26] = 1
            frames[mask == 1] = 60 + 45 * index
            self._clips[dive.key] = ClipArrays(frames, mask if masks else None, (30, 70))

    def load(self, dive: Dive) -> ClipArrays:
        return self._clips[dive.key]


@pytest.fixture(scope="session")
def film():
    return Film()


@pytest.fixture(scope="session")
def config():
    return ModelConfig(preset="compact", width=1 / 32, shared_trunk=True, frame_size=32)


@pytest.fixture(scope="session")
def make_options():
    def make(**given) -> TrainOptions:
        return TrainOptions(**{"epochs": 3, "group": 2, "groups_per_batch": 1, "save_every": 2, "seed": 5, **given})

    return make
