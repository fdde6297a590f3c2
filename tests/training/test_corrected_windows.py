"""Windows of filmed clips with corrections: they say where an athlete is, and nothing of joints and outline."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from finecausal_cli.athlete.network import AthleteNetwork, NetworkConfig
from finecausal_cli.errors import DatasetError
from finecausal_cli.scoring import Corrections, write_corrections
from finecausal_cli.training.athlete_reader import window_losses
from finecausal_cli.training.athlete_windows import CutConfig, WindowSet, cut_corrected

DIVE = Path(__file__).resolve().parents[2] / "examples" / "dives" / "107B-10m-good.mp4"
CONFIG = CutConfig(window_size=64, per_clip=8)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("filmed")
    for name in ("corrected.mp4", "as-found.mp4"):
        shutil.copy(DIVE, folder / name)
    write_corrections(folder / "corrected.mp4", Corrections(takeoff_s=0.9, entry_s=2.55))
    return cut_corrected(folder, folder / "windows", CONFIG)


def test_only_corrected_clips_are_cut_and_half_of_the_windows_are_beside_the_athlete(files: list[Path]) -> None:
    assert [path.name for path in files] == ["corrected.mp4.npz"]
    with np.load(files[0]) as stored:
        assert stored["window_seen"].tolist() == [True, False] * 4
        assert stored["window_labelled"].tolist() == [False, True] * 4
        assert not stored["window_visible"].any()
        assert stored["window_pictures"].shape == (8, CONFIG.stored_size, CONFIG.stored_size, 3)


def test_a_window_of_a_correction_teaches_that_somebody_is_there_and_nothing_else(files: list[Path]) -> None:
    batch = WindowSet(files, 64).plain(0, 8)
    assert batch.seen.tolist() == [True, False] * 4
    network = AthleteNetwork(NetworkConfig(window_size=64, width=8, embedding=8)).eval()
    maps = network(torch.from_numpy(batch.pictures).permute(0, 3, 1, 2))
    for value in maps:
        value.retain_grad()
    torch.stack(list(window_losses(maps, batch, torch.device("cpu")).values())).sum().backward()
    unlabelled = ~torch.from_numpy(batch.labelled)
    assert maps.outline.grad is not None
    assert maps.seen.grad is not None
    assert maps.outline.grad[unlabelled].abs().max() == 0
    assert maps.outline.grad[~unlabelled].abs().min() > 0
    assert (maps.seen.grad[unlabelled] < 0).all()
    for other in (maps.heat, maps.spread, maps.direction):
        assert other.grad is None or other.grad.abs().max() == 0


def test_a_folder_without_corrections_is_refused(tmp_path: Path) -> None:
    (tmp_path / "dive.mp4").write_bytes(b"")
    with pytest.raises(DatasetError, match="no clip with a correction"):
        cut_corrected(tmp_path, tmp_path / "out", CONFIG)
