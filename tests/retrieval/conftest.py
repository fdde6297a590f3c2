from pathlib import Path

import numpy as np
import pytest
import torch

from finecausal_cli.data import Dive
from finecausal_cli.data.cache import ClipArrays
from finecausal_cli.model.config import ModelConfig
from finecausal_cli.model.finecausal import FineCausal
from finecausal_cli.model.outputs import Encoding
from finecausal_cli.retrieval.bank import Bank, Exemplar

FEATURES = 32


def _encodings(count: int, seed: int = 0) -> Encoding:
    generator = torch.Generator().manual_seed(seed)
    return Encoding(*(torch.randn(count, 9, FEATURES, generator=generator) for _ in range(2)))


def _exemplars(numbers: list[str | None]) -> tuple[Exemplar, ...]:
    return tuple(
        Exemplar(
            id=f"{number}-{place:03d}",
            dive=number,
            height_m=10.0,
            difficulty=3.0,
            execution=15.0 + place,
            origin="made up",
        )
        for place, number in enumerate(numbers)
    )


def _bank(numbers: list[str | None], seed: int = 0) -> Bank:
    return Bank("test bank", _exemplars(numbers), _encodings(len(numbers), seed), "w" * 64)


def _dive(index: int, number: str | None = "107B", **facts) -> Dive:
    given = {"key": f"{index:03d}.mp4", "video": Path(f"{index:03d}.mp4"), "score": 45.0, "difficulty": 3.0, **facts}
    return Dive(number=number, **given)


@pytest.fixture(scope="session")
def make_encodings():
    return _encodings


@pytest.fixture(scope="session")
def make_exemplars():
    return _exemplars


@pytest.fixture(scope="session")
def make_bank():
    return _bank


@pytest.fixture(scope="session")
def make_dive():
    return _dive


class _StoredClips:
    """Stands for the cache: gives each dive the clip it was made with."""

    def __init__(self, clips: dict[str, ClipArrays]) -> None:
        self._clips = clips

    def load(self, dive: Dive) -> ClipArrays:
        return self._clips[dive.key]


@pytest.fixture(scope="session")
def filmed():
    """Make dives and a cache that holds a clip of 36 x 40 of each: noise with a bright square, its mask, its stages."""

    def film(dives: list[Dive], *, masks: bool = True) -> _StoredClips:
        clips = {}
        for place, dive in enumerate(dives):
            frames = np.random.default_rng(place).integers(0, 120, (96, 36, 40, 3), np.uint8)
            mask = np.zeros((96, 36, 40), np.uint8)
            mask[:, 8 + place : 20 + place, 10:20] = 1
            frames[mask == 1] = 240
            clips[dive.key] = ClipArrays(
                frames, mask if masks else None, (30 + place, 70 + place) if masks else (-1, 70)
            )
        return _StoredClips(clips)

    return film


@pytest.fixture(scope="session")
def tiny_model():
    """The smallest real network, its weights large enough that pairs differ by execution units and not by rounding."""
    torch.manual_seed(0)
    model = FineCausal(ModelConfig(preset="compact", width=1 / 32, shared_trunk=True, frame_size=32))
    for module in model.modules():
        if isinstance(module, torch.nn.Linear | torch.nn.Conv1d):
            torch.nn.init.normal_(module.weight, std=2 / module.weight[0].numel() ** 0.5)
    return model.eval()
