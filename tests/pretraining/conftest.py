import numpy as np
import pytest

from finecausal_cli.data.cache import ClipArrays, ClipCache
from finecausal_cli.data.datasets import read_dataset
from finecausal_cli.model.config import ModelConfig
from finecausal_cli.simulator.dataset import write_dataset
from finecausal_cli.training import PretrainOptions
from finecausal_cli.training.motion_snippets import SnippetDataset

SIDE = 32


@pytest.fixture(scope="session")
def simulated(tmp_path_factory):
    """Eight dives of one number, as the simulator writes them: its folder."""
    folder = tmp_path_factory.mktemp("simulated")
    write_dataset(folder, 8, 3, dives=["101B"], height_m=1.0)
    return folder


@pytest.fixture(scope="session")
def clips(tmp_path_factory):
    return ClipCache(tmp_path_factory.mktemp("cache"), geometry="fit", frame_size=SIDE)


@pytest.fixture(scope="session")
def shelf(simulated, clips):
    return SnippetDataset(read_dataset(simulated), clips)


@pytest.fixture(scope="session")
def config():
    return ModelConfig(
        preset="compact", trunk="frames", width=1 / 16, shared_trunk=True, foreground="top_down", frame_size=SIDE
    )


@pytest.fixture(scope="session")
def make_options():
    def make(**given) -> PretrainOptions:
        return PretrainOptions(**{"steps": 4, "dives": 2, "save_every": 2, "seed": 5, **given})

    return make


class Gradient:
    """Stands for the clip cache: every frame is brighter than the last and darker to the right, and so is its mask."""

    frame_size = SIDE

    def __init__(self) -> None:
        frames = np.zeros((96, SIDE + 8, SIDE + 8, 3), np.uint8)
        frames += np.arange(96, dtype=np.uint8)[:, None, None, None]
        frames += np.arange(SIDE + 8, 0, -1, dtype=np.uint8)[None, None, :, None]
        self.clip = ClipArrays(frames, frames[..., 0].copy(), (30, 70))

    def load(self, _):
        return self.clip


@pytest.fixture(scope="session")
def gradient():
    return Gradient()
