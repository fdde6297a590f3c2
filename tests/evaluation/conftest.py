from pathlib import Path

import numpy as np
import pytest
import torch

from finecausal_cli.data import Dive
from finecausal_cli.model.config import ModelConfig
from finecausal_cli.model.finecausal import FineCausal
from finecausal_cli.model.outputs import Encoding
from finecausal_cli.retrieval.bank import EncodedDives
from finecausal_cli.video.writer import write_mask_video, write_video

FEATURES = 32


def _encoded(numbers: list[str | None], *, seed: int, transitions: tuple[int, int] | None = (30, 70)) -> EncodedDives:
    generator = torch.Generator().manual_seed(seed)
    dives = tuple(
        Dive(
            key=f"{seed}-{index:03d}",
            video=Path("none.mp4"),
            score=40.0 + 3 * index,
            difficulty=2.0 + 0.1 * index,
            number=number,
        )
        for index, number in enumerate(numbers)
    )
    video, mask = torch.randn(2, len(dives), 9, FEATURES, generator=generator)
    return EncodedDives(dives, Encoding(video, mask), (transitions,) * len(dives), (None,) * len(dives))


@pytest.fixture(scope="session")
def make_encoded():
    """Make encoded dives that nobody filmed."""
    return _encoded


@pytest.fixture(scope="session")
def tiny_model():
    """The smallest real network, its weights large enough that pairs differ by execution units and not by rounding."""
    torch.manual_seed(0)
    model = FineCausal(ModelConfig(preset="compact", width=1 / 32, shared_trunk=True, frame_size=32))
    for module in model.modules():
        if isinstance(module, torch.nn.Linear | torch.nn.Conv1d):
            torch.nn.init.normal_(module.weight, std=2 / module.weight[0].numel() ** 0.5)
    return model.eval()


@pytest.fixture(scope="session")
def dataset(tmp_path_factory):
    """A dataset of 11 dives on disk, with masks and stages: 6 to train, 4 to test, 1 to validate; one has no score."""
    folder = tmp_path_factory.mktemp("dataset")
    rows = ["video,score,difficulty,dive,twist_start,entry_start,mask,split"]
    rng = np.random.default_rng(0)
    for index in range(12):
        masks = np.zeros((24, 36, 48), np.uint8)
        masks[:, 6 + index : 16 + index, 12:30] = 1
        frames = rng.integers(0, 100, (24, 36, 48, 3), np.uint8)
        frames[masks == 1] = 160 + 7 * index
        write_video(folder / f"{index}.mp4", frames, 25)
        write_mask_video(folder / f"{index}.mkv", masks, 25)
        score = "" if index == 10 else 45 + 3 * index
        split = "train" if index < 6 else "val" if index == 11 else "test"
        rows.append(f"{index}.mp4,{score},3.0,{('107B', '5253B')[index % 2]},8,18,{index}.mkv,{split}")
    (folder / "dives.csv").write_text("\n".join(rows) + "\n")
    return folder
