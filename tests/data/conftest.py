import pickle
import shutil
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from finecausal_cli.data import Dive


def _dive(index: int, number: str | None = "107B", **facts) -> Dive:
    given = {"video": Path(f"{index:03d}.mp4"), "score": 40.0 + index % 37, "difficulty": 3.0, **facts}
    return Dive(key=f"{index:03d}.mp4", number=number, **given)


@pytest.fixture(scope="session")
def make_dive():
    """Make dive number ``index`` of a dataset."""
    return _dive


@pytest.fixture
def rng():
    return np.random.default_rng(20)


@dataclass
class FineDivingTree:
    """A tiny FineDiving-HM, made by hand; change what it holds and ``write`` the annotations again."""

    root: Path
    labels: dict
    coarse: dict
    train: list
    test: list = field(default_factory=list)

    @property
    def annotations(self) -> Path:
        return self.root / "Annotations"

    def write(self) -> None:
        contents = {
            "fine-grained_annotation_aqa": self.labels,
            "FineDiving_coarse_annotation": self.coarse,
            "train_split": self.train,
            "test_split": self.test,
        }
        for name, content in contents.items():
            (self.annotations / f"{name}.pkl").write_bytes(pickle.dumps(content, 3))


EVENT = "FINADivingWorldCup2021_Men3m_final_r1"
FRAMES = 20


KEYS = ((EVENT, 0), ("01", 1), ("01", 2), ("01", 3), ("01", 4))


@pytest.fixture(scope="session")
def pictures(tmp_path_factory) -> Path:
    """The pictures of a tree, to be copied."""
    root = tmp_path_factory.mktemp("pictures")
    for place, (event, index) in enumerate(KEYS):
        _write_pictures(root, event, index, first=489 if event == EVENT else 1000 * index, shade=place)
    return root


@pytest.fixture
def finediving(pictures, tmp_path) -> FineDivingTree:
    """Five dives of 20 frames: one of an event that has a name, four of one that has a number."""
    root = shutil.copytree(pictures, tmp_path / "finediving")
    steps = np.repeat([5, 24, 36], [2, 12, 6])
    labels = {
        (EVENT, 0): ["407c", np.float64(88.0), 3.2, np.array([2, 14]), steps],
        ("01", 1): ["5253b", 60.0, 3.0, np.array([3, 9, 15]), np.repeat([5, 30, 24, 36], [3, 6, 6, 5])],
        **{("01", k): ["407c", 50.0 + k, 3.0, np.array([2, 14]), steps] for k in (2, 3, 4)},
    }
    coarse = {
        key: {
            "action_type": entry[0],
            "start_frame": 489,
            "end_frame": 508,
            "dive_score": float(entry[1]),
            "difficulty": entry[2],
            "judge_scores": [9.0, 9.0, 9.5],
        }
        for key, entry in labels.items()
    }
    (root / "Annotations").mkdir()
    tree = FineDivingTree(root, labels, coarse, [key for key in labels if key != ("01", 4)], [("01", 4)])
    tree.write()
    return tree


def _write_pictures(root: Path, event: str, index: int, *, first: int, shade: int) -> None:
    """Frame k is of the grey 10 k, its mask white from column k on; one corner tells the dives apart."""
    frames, masks = (root / name / event / str(index) for name in ("FineDiving", "FineDiving_HM"))
    frames.mkdir(parents=True)
    masks.mkdir(parents=True)
    for k in range(FRAMES):
        picture = np.full((32, 48, 3), 10 * k, np.uint8)
        picture[:4, :4] = 60 * shade
        mask = np.zeros((32, 48), np.uint8)
        mask[:, k:] = 255
        Image.fromarray(picture).save(frames / f"{first + k:05d}.jpg", quality=95)
        Image.fromarray(mask).save(masks / f"{first + k:05d}.jpg", quality=95)
