"""Entries: which pictures are read, what the networks take, and a training of a few steps."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from finecausal_cli.athlete.entry import (
    CONTACT_BINS_S,
    CONTACT_LOOKS_S,
    FEWEST_LOOKS,
    SPLASH_LOOKS_S,
    WINDOW_M,
    WINDOW_PX,
    ContactNetwork,
    SplashNetwork,
    contact_looks,
    contact_loss,
    contact_moment,
    splash_looks,
    splash_loss,
)
from finecausal_cli.athlete.network import AthleteNetwork, NetworkConfig
from finecausal_cli.athlete.reader import AthleteReader, load_network, save_network
from finecausal_cli.cli import app
from finecausal_cli.simulator.dataset import write_dataset
from finecausal_cli.simulator.recording import plan_dataset
from finecausal_cli.training.entry import KINDS, EntrySet, cut_contact, cut_entries, cut_splash, read_entries

K = len(SPLASH_LOOKS_S)


def crops(times: np.ndarray) -> np.ndarray:
    """Return crops whose grey value counts them."""
    return np.broadcast_to(np.arange(len(times), dtype=np.uint8)[:, None, None, None], (len(times), 80, 80, 3)).copy()


def test_the_pictures_nearest_to_the_looks_are_chosen() -> None:
    times = np.arange(-0.5, 0.9, 0.02)
    chosen = splash_looks(crops(times), times)
    assert chosen is not None
    pictures, known = chosen
    assert pictures.shape == (K, WINDOW_PX, WINDOW_PX, 3)
    assert known.all()
    assert times[pictures[:, 0, 0, 0]] == pytest.approx(SPLASH_LOOKS_S, abs=0.011)


def test_a_clip_that_ends_in_the_splash_lacks_the_later_looks() -> None:
    times = np.arange(-0.5, 0.34, 0.02)
    chosen = splash_looks(crops(times), times)
    assert chosen is not None
    assert chosen[1].tolist() == [look < 0.38 for look in SPLASH_LOOKS_S]


def test_without_the_first_looks_there_is_no_size() -> None:
    times = np.arange(-0.5, 0.1, 0.02)
    assert splash_looks(crops(times), times) is None


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


def test_pictures_about_the_contact_are_chosen_with_their_times() -> None:
    times = np.arange(-0.5, 0.9, 0.02)
    chosen = contact_looks(crops(times), times)
    assert chosen is not None
    pictures, known, since = chosen
    assert known.all()
    assert since == pytest.approx(CONTACT_LOOKS_S, abs=0.011)
    assert times[pictures[:, 0, 0, 0]] == pytest.approx(since, abs=1e-6)
    late = contact_looks(crops(times)[:30], times[:30])  # the film ends 0.08 s after the entry
    assert late is not None
    assert late[1].tolist() == [look <= 0.1 for look in CONTACT_LOOKS_S]
    assert contact_looks(crops(times)[:20], times[:20]) is None  # it ends before


def test_the_moment_of_contact_lies_between_the_bins() -> None:
    truth = torch.tensor([-0.127, 0.004, 0.2])
    bins = torch.as_tensor(CONTACT_BINS_S, dtype=torch.float32)
    logits = -0.5 * ((bins - truth[:, None]) / 0.015) ** 2
    moment, spread = contact_moment(logits)
    assert moment == pytest.approx(truth.numpy(), abs=1e-3)
    assert spread == pytest.approx([0.015] * 3, abs=2e-3)
    assert contact_moment(torch.zeros(1, len(bins)))[1] > 0.15
    assert contact_loss(logits, truth) < contact_loss(logits, truth + 0.02)


def test_what_is_not_known_does_not_change_the_contact() -> None:
    torch.manual_seed(0)
    network, count = ContactNetwork().eval(), len(CONTACT_LOOKS_S)
    pictures = torch.randint(0, 255, (1, count, WINDOW_PX, WINDOW_PX, 3), dtype=torch.uint8)
    known, since = torch.ones(1, count, dtype=torch.bool), torch.tensor([CONTACT_LOOKS_S])
    known[:, 7:] = False
    other, later = pictures.clone(), since.clone()
    other[:, 7:], later[:, 7:] = 7, 0.9
    with torch.inference_mode():
        assert torch.equal(network(pictures, known, since), network(other, known, later))
        assert not torch.equal(network(pictures, known, since), network(pictures, known, since + 0.02))


def test_a_reader_keeps_its_contact_network(tmp_path: Path) -> None:
    torch.manual_seed(1)
    sizes, contact = NetworkConfig(width=16, embedding=16), ContactNetwork().eval()
    save_network(tmp_path, sizes, AthleteNetwork(sizes).state_dict(), {}, contact=contact)
    stored = load_network(tmp_path)
    assert stored.splash is None
    assert stored.contact is not None
    times = np.arange(-0.5, 0.9, 0.02)
    pictures = np.random.default_rng(2).integers(0, 255, (len(times), 96, 96, 3), dtype=np.uint8)
    looks = contact_looks(pictures, times)
    assert looks is not None
    with torch.inference_mode():
        expected = contact_moment(contact(*(torch.from_numpy(each)[None] for each in looks)))
    told = AthleteReader(stored.network, contact=stored.contact).find_contact(pictures, times)
    assert told == pytest.approx([float(each[0]) for each in expected], abs=2e-3)  # stored in half precision
    assert AthleteReader(stored.network).find_contact(pictures, times) is None


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
    looks = splash_looks(pictures, times)
    assert looks is not None
    with torch.inference_mode():
        expected = splash(*(torch.from_numpy(each)[None] for each in looks))
    spread = float(expected.log_spread.exp())
    assert told == pytest.approx((float(expected.size), spread), abs=4e-3)  # stored in half precision
    assert AthleteReader(stored.network).size_splash(pictures, times) is None


def test_entries_are_cut_from_the_dive_that_the_plan_draws(tmp_path: Path) -> None:
    plan = plan_dataset(31, world="wild")
    files = cut_entries("splash", plan, 2, tmp_path)
    entries, alone = EntrySet(files), [each for each in (cut_splash(plan, index) for index in range(2)) if each]
    assert len(entries) == len(alone) > 0
    assert np.array_equal(entries.pictures[0], alone[0]["pictures"])
    stamp = files[0].stat().st_mtime_ns
    assert cut_entries("splash", plan, 2, tmp_path)[0].stat().st_mtime_ns == stamp  # kept
    drawn = [entries.draw(np.random.default_rng(4), 5) for _ in range(2)]
    assert all(np.array_equal(one, other) for one, other in zip(*drawn, strict=True))
    pictures, known, sizes = drawn[0]
    assert pictures.shape == (5, K, WINDOW_PX, WINDOW_PX, 3)
    assert known[:, :FEWEST_LOOKS].all()
    assert ((sizes >= 0) & (sizes <= 1)).all()


def test_the_truth_of_a_contact_is_told_from_where_the_search_might_find_it() -> None:
    plan = plan_dataset(31, world="wild")
    entries = [each for each in (cut_contact(plan, index) for index in range(2)) if each]
    assert entries
    for each in entries:
        assert abs(float(each["truth"])) <= 0.16
        assert each["since"][each["known"]] == pytest.approx(np.array(CONTACT_LOOKS_S)[each["known"]], abs=0.07)


@pytest.mark.parametrize(("what", "figures"), [("splash", "splash_rmse"), ("contact", "contact_median_s")])
def test_the_command_adds_a_network_to_a_reader(tmp_path: Path, what: str, figures: str) -> None:
    sizes = NetworkConfig(width=16, embedding=16)
    network = AthleteNetwork(sizes)
    save_network(tmp_path / "old", sizes, network.state_dict(), {"source": "a test", "licence": "MIT"})
    arguments = ["weights", what, "--reader", str(tmp_path / "old"), "-o", str(tmp_path / "run")]
    done = CliRunner().invoke(app, [*arguments, "--dives", "3", "--held-out", "2", "--steps", "2", "--device", "cpu"])
    assert done.exit_code == 0, done.output
    stored = load_network(tmp_path / "run" / "reader")
    assert isinstance(getattr(stored, what), type(KINDS[what].network()))
    kept, known = (each.state_dict()["backbone.stem.0.weight"] for each in (stored.network, network))
    assert torch.allclose(kept, known, atol=1e-3)
    facts = json.loads((tmp_path / "run" / "reader" / "reader.json").read_text())
    assert facts["source"] == "a test"
    assert figures in facts[f"{what}_held_out_simulated"]


def test_entries_are_found_in_films_with_the_errors_of_the_search(tmp_path: Path) -> None:
    write_dataset(tmp_path / "films", 2, 11, world="clean", dives=["101B"], height_m=1.0)
    reader = AthleteReader.load()
    file = read_entries("splash", tmp_path / "films", reader, tmp_path)
    entries = EntrySet([file], WINDOW_M, 0.0)
    truth = [json.loads(each.read_text())["seen"]["splash"] for each in sorted((tmp_path / "films/meta").glob("*"))]
    assert entries.truth.tolist() == pytest.approx(truth)
    assert entries.pictures.shape == (2, K, WINDOW_PX, WINDOW_PX, 3)
    assert np.array_equal(entries.plain(0, 2)[0], entries.pictures)  # they are what is read
    stamp = file.stat().st_mtime_ns
    assert read_entries("splash", tmp_path / "films", reader, tmp_path).stat().st_mtime_ns == stamp
