"""Splashes: which pictures are read, what the network takes, and a training of a few steps."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from finecausal_cli.athlete.network import AthleteNetwork, NetworkConfig
from finecausal_cli.athlete.reader import AthleteReader, load_network, save_network
from finecausal_cli.athlete.splash import (
    FEWEST_LOOKS,
    LOOKS_S,
    WINDOW_M,
    WINDOW_PX,
    SplashNetwork,
    looks_at,
    splash_loss,
)
from finecausal_cli.cli import app
from finecausal_cli.simulator.dataset import write_dataset
from finecausal_cli.simulator.recording import plan_dataset
from finecausal_cli.training.splash import EntrySet, cut_entries, cut_entry, read_entries

K = len(LOOKS_S)


def crops(times: np.ndarray) -> np.ndarray:
    """Return crops whose grey value counts them."""
    return np.broadcast_to(np.arange(len(times), dtype=np.uint8)[:, None, None, None], (len(times), 80, 80, 3)).copy()


def test_the_pictures_nearest_to_the_looks_are_chosen() -> None:
    times = np.arange(-0.5, 0.9, 0.02)
    chosen = looks_at(crops(times), times)
    assert chosen is not None
    pictures, known = chosen
    assert pictures.shape == (K, WINDOW_PX, WINDOW_PX, 3)
    assert known.all()
    assert times[pictures[:, 0, 0, 0]] == pytest.approx(LOOKS_S, abs=0.011)


def test_a_clip_that_ends_in_the_splash_lacks_the_later_looks() -> None:
    times = np.arange(-0.5, 0.34, 0.02)
    chosen = looks_at(crops(times), times)
    assert chosen is not None
    assert chosen[1].tolist() == [look < 0.38 for look in LOOKS_S]


def test_without_the_first_looks_there_is_no_size() -> None:
    times = np.arange(-0.5, 0.1, 0.02)
    assert looks_at(crops(times), times) is None


def test_what_is_not_known_does_not_change_the_size() -> None:
    torch.manual_seed(0)
    network = SplashNetwork().eval()
    pictures = torch.randint(0, 255, (2, K, WINDOW_PX, WINDOW_PX, 3), dtype=torch.uint8)
    known = torch.ones(2, K, dtype=torch.bool)
    known[:, FEWEST_LOOKS:] = False
    other = pictures.clone()
    other[:, FEWEST_LOOKS:] = 7
    with torch.inference_mode():
        assert torch.equal(network(pictures, known).size, network(other, known).size)
        assert not torch.equal(network(pictures, known).size, network(pictures, torch.ones_like(known)).size)


def test_the_loss_is_least_at_the_truth() -> None:
    network, known = SplashNetwork().eval(), torch.ones(1, K, dtype=torch.bool)
    told = network(torch.zeros(1, K, WINDOW_PX, WINDOW_PX, 3, dtype=torch.uint8), known)
    assert splash_loss(told, told.size.detach()) < splash_loss(told, told.size.detach() + 0.3)


def test_a_reader_keeps_its_splash_network(tmp_path: Path) -> None:
    torch.manual_seed(1)
    sizes, splash = NetworkConfig(width=16, embedding=16), SplashNetwork().eval()
    save_network(tmp_path, sizes, AthleteNetwork(sizes).state_dict(), {}, None, splash)
    stored = load_network(tmp_path)
    assert stored.splash is not None
    times = np.arange(-0.5, 0.9, 0.02)
    rng = np.random.default_rng(2)
    pictures = rng.integers(0, 255, (len(times), 96, 96, 3), dtype=np.uint8)
    told = AthleteReader(stored.network, None, stored.splash).size_splash(pictures, times)
    looks = looks_at(pictures, times)
    assert looks is not None
    with torch.inference_mode():
        expected = splash(*(torch.from_numpy(each)[None] for each in looks))
    spread = float(expected.log_spread.exp())
    assert told == pytest.approx((float(expected.size), spread), abs=4e-3)  # stored in half precision
    assert AthleteReader(stored.network).size_splash(pictures, times) is None


def test_entries_are_cut_from_the_dive_that_the_plan_draws(tmp_path: Path) -> None:
    plan = plan_dataset(31, world="wild")
    files = cut_entries(plan, 3, tmp_path)
    entries, alone = EntrySet(files), [each for each in (cut_entry(plan, index) for index in range(3)) if each]
    assert len(entries) == len(alone) > 0
    assert np.array_equal(entries.pictures[0], alone[0]["pictures"])
    stamp = files[0].stat().st_mtime_ns
    assert cut_entries(plan, 3, tmp_path)[0].stat().st_mtime_ns == stamp  # kept
    drawn = [entries.draw(np.random.default_rng(4), 5) for _ in range(2)]
    assert all(np.array_equal(one, other) for one, other in zip(*drawn, strict=True))
    pictures, known, sizes = drawn[0]
    assert pictures.shape == (5, K, WINDOW_PX, WINDOW_PX, 3)
    assert known[:, :FEWEST_LOOKS].all()
    assert ((sizes >= 0) & (sizes <= 1)).all()


def test_the_command_adds_a_splash_network_to_a_reader(tmp_path: Path) -> None:
    sizes = NetworkConfig(width=16, embedding=16)
    network = AthleteNetwork(sizes)
    save_network(tmp_path / "old", sizes, network.state_dict(), {"source": "a test", "licence": "MIT"})
    arguments = ["weights", "splash", "--reader", str(tmp_path / "old"), "-o", str(tmp_path / "run")]
    done = CliRunner().invoke(app, [*arguments, "--dives", "4", "--held-out", "2", "--steps", "2", "--device", "cpu"])
    assert done.exit_code == 0, done.output
    stored = load_network(tmp_path / "run" / "reader")
    assert stored.splash is not None
    kept, known = (each.state_dict()["backbone.stem.0.weight"] for each in (stored.network, network))
    assert torch.allclose(kept, known, atol=1e-3)
    facts = json.loads((tmp_path / "run" / "reader" / "reader.json").read_text())
    assert facts["source"] == "a test"
    assert {"splash_rmse", "splash_sd"} <= facts["splash_held_out_simulated"].keys()


def test_entries_are_found_in_films_with_the_errors_of_the_search(tmp_path: Path) -> None:
    write_dataset(tmp_path / "films", 2, 11, world="clean")
    reader = AthleteReader.load()
    file = read_entries(tmp_path / "films", reader, tmp_path)
    entries = EntrySet([file], WINDOW_M, 0.0)
    truth = [json.loads(each.read_text())["seen"]["splash"] for each in sorted((tmp_path / "films/meta").glob("*"))]
    assert entries.sizes.tolist() == pytest.approx(truth)
    assert entries.pictures.shape == (2, K, WINDOW_PX, WINDOW_PX, 3)
    assert np.array_equal(entries.plain(0, 2)[0], entries.pictures)  # they are what is read
    stamp = file.stat().st_mtime_ns
    assert read_entries(tmp_path / "films", reader, tmp_path).stat().st_mtime_ns == stamp
