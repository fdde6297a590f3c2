"""Ends of flights: which pictures are read, what the networks take, and a training of a few steps."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from finecausal_cli.athlete import ENDS, End
from finecausal_cli.athlete.ends import (
    END_BINS_S,
    END_LOOKS_S,
    END_PX,
    FEWEST_LOOKS,
    LEAN_UNIT_DEG,
    SPLASH_LOOKS_S,
    WINDOW_M,
    WINDOW_PX,
    EndNetwork,
    EndOutputs,
    SplashNetwork,
    end_looks,
    end_loss,
    end_readings,
    read_ends,
    size_splashes,
    splash_looks,
    splash_loss,
)
from finecausal_cli.athlete.network import AthleteNetwork, NetworkConfig
from finecausal_cli.athlete.reader import AthleteReader, load_network, save_network
from finecausal_cli.cli import app
from finecausal_cli.errors import DatasetError, UsageError
from finecausal_cli.simulator.athlete import JOINT
from finecausal_cli.simulator.dataset import write_dataset
from finecausal_cli.simulator.negatives import write_negatives
from finecausal_cli.simulator.recording import lean_in_picture_deg, plan_dataset
from finecausal_cli.training.end_windows import (
    CUT_PX,
    WindowSet,
    _filmed,
    cut_end,
    cut_splash,
    cut_windows,
    negative_windows,
    read_films,
    read_negatives,
)
from finecausal_cli.training.ends import KINDS

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


def test_a_splash_is_as_large_in_the_mirrored_picture() -> None:
    torch.manual_seed(0)
    network, known = SplashNetwork().eval(), torch.ones(1, K, dtype=torch.bool)
    pictures = torch.randint(0, 255, (1, K, WINDOW_PX, WINDOW_PX, 3), dtype=torch.uint8)
    with torch.inference_mode():
        sizes = [size_splashes(network, each, known) for each in (pictures, pictures.flip(3))]
        assert torch.allclose(sizes[0].size, sizes[1].size)
        assert not torch.allclose(network(pictures, known).size, network(pictures.flip(3), known).size)


def test_the_loss_is_least_at_the_truth() -> None:
    network, known = SplashNetwork().eval(), torch.ones(1, K, dtype=torch.bool)
    told = network(torch.zeros(1, K, WINDOW_PX, WINDOW_PX, 3, dtype=torch.uint8), known)
    assert splash_loss(told, told.size.detach()) < splash_loss(told, told.size.detach() + 0.3)


@pytest.mark.parametrize("end", ENDS)
def test_pictures_about_an_end_are_chosen_with_their_times(end: End) -> None:
    times = np.arange(-0.9, 0.9, 0.02)
    chosen = end_looks(end, crops(times), times)
    assert chosen is not None
    pictures, known, since = chosen
    assert known.all()
    assert since == pytest.approx(END_LOOKS_S[end], abs=0.011)
    assert times[pictures[:, 0, 0, 0]] == pytest.approx(since, abs=1e-6)
    short = times < 0.09 if end == "contact" else times > -0.09  # of what lies outside of the flight
    cut = end_looks(end, crops(times)[short], times[short])
    assert cut is not None
    inwards = np.array(END_LOOKS_S[end]) * (1 if end == "contact" else -1)
    assert cut[1].tolist() == (inwards <= 0.1).tolist()
    lost = times < -0.14 if end == "contact" else times > 0.14
    assert end_looks(end, crops(times)[lost], times[lost]) is None


def test_the_moment_lies_between_the_bins() -> None:
    truth = torch.tensor([-0.127, 0.004, 0.2])
    bins = torch.as_tensor(END_BINS_S, dtype=torch.float32)
    leans, errors = torch.tensor([0.5, 0.0, -1.0]), torch.tensor([-2.0, -1.0, 0.0])
    axes = torch.tensor([[[0.0, 1.0], [-1.0, 0.0]]]).repeat(3, 1, 1)
    flat, there = torch.tensor([-5.0, -5.0, -5.0]), torch.tensor([4.0, 4.0, -4.0])
    outputs = EndOutputs(-0.5 * ((bins - truth[:, None]) / 0.015) ** 2, leans, errors, flat, there, axes)
    read = end_readings(outputs)
    assert [each.moment_s for each in read] == pytest.approx(truth.tolist(), abs=1e-3)
    assert [each.moment_sd_s for each in read] == pytest.approx([0.015] * 3, abs=2e-3)
    assert [each.lean_deg for each in read] == pytest.approx((leans * LEAN_UNIT_DEG).tolist())
    assert [each.lean_error_deg for each in read] == pytest.approx((errors.exp() * LEAN_UNIT_DEG).tolist())
    assert [each.probability for each in read] == pytest.approx([0.982, 0.982, 0.018], abs=1e-3)
    assert end_readings(outputs._replace(logits=torch.zeros(3, len(bins))))[0].moment_sd_s > 0.15
    seen = torch.tensor([[45.0, 90.0], [45.0, torch.nan], [-135.0, 270.0]])  # an axis has no ends
    right = torch.cat([truth[:, None], leans[:, None] * LEAN_UNIT_DEG, seen], dim=1)
    wrong = (right + torch.tensor(off) for off in ([0.02, 0.0, 0, 0], [0.0, 3.0, 0, 0], [0.0, 0.0, 9, 0]))
    assert all(end_loss(outputs, right) < end_loss(outputs, each) for each in wrong)
    fallen = end_readings(outputs._replace(flat=torch.tensor([5.0, -5.0, 5.0])))
    assert [each.lean_deg for each in fallen] == pytest.approx([95.0, 0.0, -95.0])
    belly = right.clone()
    belly[2, 1] = -110.0
    assert end_loss(outputs._replace(flat=-outputs.flat * torch.tensor([-1.0, -1.0, 1.0])), belly) < end_loss(
        outputs, belly
    )
    none = right.clone()
    none[2] = torch.nan  # where there is no such end, nothing else is learnt
    assert end_loss(outputs, none) < end_loss(outputs, right)
    assert end_loss(outputs, none) == end_loss(outputs._replace(lean=leans + torch.tensor([0.0, 0.0, 5.0])), none)


def test_what_is_not_known_does_not_change_the_end() -> None:
    torch.manual_seed(0)
    network, looks = EndNetwork().eval(), END_LOOKS_S["contact"]
    pictures = torch.randint(0, 255, (1, len(looks), END_PX, END_PX, 3), dtype=torch.uint8)
    known, since = torch.ones(1, len(looks), dtype=torch.bool), torch.tensor([looks])
    known[:, 7:] = False
    other, later = pictures.clone(), since.clone()
    other[:, 7:], later[:, 7:] = 7, 0.9
    with torch.inference_mode():
        assert torch.equal(network(pictures, known, since).logits, network(other, known, later).logits)
        assert not torch.equal(network(pictures, known, since).logits, network(pictures, known, since + 0.02).logits)


def test_the_mirrored_picture_leans_the_other_way_at_the_same_moment() -> None:
    torch.manual_seed(3)
    network, looks = EndNetwork().eval(), END_LOOKS_S["takeoff"]
    pictures = torch.randint(0, 255, (2, len(looks), END_PX, END_PX, 3), dtype=torch.uint8)
    known, since = torch.ones(2, len(looks), dtype=torch.bool), torch.tensor([looks, looks])
    with torch.inference_mode():
        seen, mirrored = (read_ends(network, (each, known, since)) for each in (pictures, pictures.flip(3)))
    for one, other in zip(seen, mirrored, strict=True):
        assert other == pytest.approx(one._replace(lean_deg=-one.lean_deg), rel=1e-4, abs=1e-5)


def test_the_frozen_stages_see_the_same_beforehand_and_do_not_learn() -> None:
    torch.manual_seed(4)
    network, looks = EndNetwork().train(), END_LOOKS_S["contact"]
    pictures = torch.randint(0, 255, (2, len(looks), END_PX, END_PX, 3), dtype=torch.uint8)
    known, since = torch.ones(2, len(looks), dtype=torch.bool), torch.tensor([looks, looks])
    before = {name: value.clone() for name, value in network.backbone.state_dict().items()}
    network(pictures, known, since).logits.sum().backward()
    assert all(torch.equal(value, before[name]) for name, value in network.backbone.state_dict().items())
    assert all(each.grad is None for each in network.backbone.parameters())
    network.eval()
    with torch.inference_mode():
        features = network.features(pictures)
        assert features.shape == (2, len(looks), 112, 8, 8)
        given = network(pictures, known, since, features)
        assert torch.equal(given.logits, network(pictures, known, since).logits)
        assert not torch.equal(given.logits, network(pictures, known, since, 0 * features).logits)


def test_a_reader_keeps_the_networks_of_the_ends(tmp_path: Path) -> None:
    torch.manual_seed(1)
    sizes, contact = NetworkConfig(width=16, embedding=16), EndNetwork().eval()
    save_network(tmp_path, sizes, AthleteNetwork(sizes).state_dict(), {}, ends={"contact": contact})
    stored = load_network(tmp_path)
    assert stored.splash is None
    assert list(stored.ends) == ["contact"]
    times = np.arange(-0.5, 0.9, 0.02)
    pictures = np.random.default_rng(2).integers(0, 255, (len(times), 96, 96, 3), dtype=np.uint8)
    looks = end_looks("contact", pictures, times)
    assert looks is not None
    shown, known, since = (torch.from_numpy(each)[None] for each in looks)
    with torch.inference_mode():
        expected = read_ends(contact, (shown, known, since))[0]
    reader = AthleteReader(stored.network, ends=stored.ends)
    read = reader.read_end("contact", pictures, times)
    assert read is not None
    assert read[:2] == pytest.approx(expected[:2], abs=2e-3)  # stored in half precision
    assert read[2:] == pytest.approx(expected[2:], abs=0.1)
    assert reader.read_end("takeoff", pictures, times) is None


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
        expected = size_splashes(splash, *(torch.from_numpy(each)[None] for each in looks))
    spread = float(expected.log_spread.exp())
    assert told == pytest.approx((float(expected.size), spread), abs=4e-3)  # stored in half precision
    assert AthleteReader(stored.network).size_splash(pictures, times) is None


def test_windows_are_cut_from_the_dive_that_the_plan_draws(tmp_path: Path) -> None:
    plan = plan_dataset(31, world="wild")
    files = cut_windows("splash", plan, 2, tmp_path)
    entries, alone = WindowSet(files), [each for each in (cut_splash(plan, index) for index in range(2)) if each]
    assert len(entries) == len(alone) > 0
    assert np.array_equal(entries.pictures[0], alone[0]["pictures"])
    stamp = files[0].stat().st_mtime_ns
    assert cut_windows("splash", plan, 2, tmp_path)[0].stat().st_mtime_ns == stamp  # kept
    drawn = [entries.draw(np.random.default_rng(4), 5) for _ in range(2)]
    assert all(np.array_equal(one, other) for one, other in zip(*drawn, strict=True))
    pictures, known, sizes = drawn[0]
    assert pictures.shape == (5, K, WINDOW_PX, WINDOW_PX, 3)
    assert known[:, :FEWEST_LOOKS].all()
    assert ((sizes >= 0) & (sizes <= 1)).all()


@pytest.mark.parametrize("end", ENDS)
def test_the_truth_of_an_end_is_told_from_where_the_search_might_find_it(tmp_path: Path, end: End) -> None:
    plan = plan_dataset(31, world="wild")
    windows = [each for each in (cut_end(end, plan, index) for index in range(2)) if each]
    assert windows
    for each in windows:
        assert abs(float(each["truth"][0])) <= 0.28
        assert each["since"][each["known"]] == pytest.approx(np.array(END_LOOKS_S[end])[each["known"]], abs=0.07)
    looks = len(END_LOOKS_S[end])
    drawn = WindowSet(cut_windows(end, plan, 2, tmp_path), end=end).draw(np.random.default_rng(4), 6)
    assert drawn[0].shape == (6, looks, END_PX, END_PX, 3)
    assert drawn[-1].shape == (6, 2 + looks)


def test_what_is_drawn_leans_as_its_pictures_do(tmp_path: Path) -> None:
    """A bar at 70 degrees, mirrored, turned, shifted, scaled, relit and compressed, lies where the truth says."""
    looks, middle = len(END_LOOKS_S["contact"]), CUT_PX["contact"] / 2
    side = CUT_PX["contact"]
    along = 50 * np.array([np.cos(np.radians(70)), -np.sin(np.radians(70))])
    picture = np.zeros((side, side, 3), np.uint8)
    ends = [tuple(np.rint(middle + sign * along).astype(int).tolist()) for sign in (-1, 1)]
    cv2.line(picture, *ends, (255, 255, 255), 8)
    entry = {
        "pictures": np.tile(picture, (looks, 1, 1, 1)),
        "known": np.ones(looks, bool),
        "since": np.array(END_LOOKS_S["contact"], np.float32),
        "truth": np.array([0.0, -20.0, *[70.0] * looks], np.float32),
    }
    np.savez(tmp_path / "entries.npz", **{name: value[None] for name, value in entry.items()})
    pictures, _, _, truth = WindowSet([tmp_path / "entries.npz"]).draw(np.random.default_rng(3), 24)
    seen = []
    for each in pictures:
        bright = each[0].astype(float).mean(axis=2)
        rows, columns = np.nonzero(bright > (bright.min() + bright.max()) / 2)
        right, up = columns - columns.mean(), rows.mean() - rows
        seen.append(np.degrees(np.arctan2(2 * (right * up).mean(), (right**2).mean() - (up**2).mean()) / 2) % 180)
    assert truth[:, 2] % 180 == pytest.approx(np.array(seen), abs=3)
    assert truth[:, 1] % 180 == pytest.approx((np.array(seen) - 90) % 180, abs=3)
    assert np.ptp(truth[:, 1]) > 30


def test_leaning_bodies_are_drawn_more_often(tmp_path: Path) -> None:
    count, looks = 40, len(END_LOOKS_S["contact"])
    leans = np.where(np.arange(count) < count // 2, 0.0, 36.0)
    np.savez(
        tmp_path / "entries.npz",
        pictures=np.zeros((count, looks, 8, 8, 3), np.uint8),
        known=np.ones((count, looks), bool),
        since=np.tile(np.array(END_LOOKS_S["contact"], np.float32), (count, 1)),
        truth=np.column_stack([np.zeros(count), leans, np.zeros((count, looks))]).astype(np.float32),
    )
    drawn = WindowSet([tmp_path / "entries.npz"]).draw(np.random.default_rng(0), 600)[-1]
    turned = drawn[:, 2:].mean(axis=1)  # of axes that lay level
    leant = np.abs(np.abs(drawn[:, 1] - turned) - 36) < 1
    assert leant.mean() == pytest.approx(4 / 5, abs=0.06)  # 1 + 36 / 12 against 1


def test_the_lean_in_the_picture_is_that_of_the_body_seen_from_the_side() -> None:
    """Of dives seen nearly from the side, the line from pelvis to neck turns as the lean does."""
    compared = 0
    for index in range(24):
        plan = plan_dataset(5, world="wild")
        simulated = plan.dive(index)
        motion, camera = simulated.motion, plan.wild_config(index, simulated).camera
        if abs(np.cos(camera.azimuth)) < 0.5 or abs(simulated.seen.entry_deg) < 12 or simulated.dive.half_twists:
            continue
        at = np.array([motion.contact_s])
        body, view = motion.body(at)[0], camera.views(motion, at)[0]
        pelvis, neck = (camera.pixels(camera.screen(body[JOINT[name]]), view) for name in ("pelvis", "neck"))
        trunk = (neck - pelvis) * np.array([1, -1])
        upright = -1.0 if motion.head_first else 1.0
        seen = np.degrees(np.arctan2(-trunk[0] * upright, trunk[1] * upright))
        assert np.sign(seen) == np.sign(lean_in_picture_deg("contact", motion, camera))
        compared += 1
    assert compared >= 4


@pytest.mark.parametrize(
    ("what", "figures"), [("splash", "splash_rmse"), ("contact", "moment_median_s"), ("takeoff", "lean_median_deg")]
)
def test_the_command_adds_a_network_to_a_reader(tmp_path: Path, what: str, figures: str) -> None:
    sizes = NetworkConfig(width=16, embedding=16)
    network = AthleteNetwork(sizes)
    save_network(tmp_path / "old", sizes, network.state_dict(), {"source": "a test", "licence": "MIT"})
    arguments = ["weights", what, "--reader", str(tmp_path / "old"), "-o", str(tmp_path / "run")]
    done = CliRunner().invoke(app, [*arguments, "--dives", "3", "--held-out", "2", "--steps", "2", "--device", "cpu"])
    assert done.exit_code == 0, done.output
    stored = load_network(tmp_path / "run" / "reader")
    assert isinstance(stored.splash if what == "splash" else stored.ends[what], type(KINDS[what].network()))
    kept, known = (each.state_dict()["backbone.stem.0.weight"] for each in (stored.network, network))
    assert torch.allclose(kept, known, atol=1e-3)
    if what != "splash":  # it looks through what the reader had learnt
        looked = stored.ends[what].backbone.state_dict()["0.0.weight"]
        assert torch.equal(looked, kept)
    facts = json.loads((tmp_path / "run" / "reader" / "reader.json").read_text())
    assert facts["source"] == "a test"
    assert figures in facts[f"{what}_held_out_simulated"]


def test_a_network_is_trained_further_from_where_it_is(tmp_path: Path) -> None:
    sizes = NetworkConfig(width=16, embedding=16)
    torch.manual_seed(4)
    own = EndNetwork()
    save_network(tmp_path / "old", sizes, AthleteNetwork(sizes).state_dict(), {}, ends={"contact": own})
    few = ["--dives", "3", "--held-out", "2", "--steps", "1", "--lr", "1e-9", "--device", "cpu", "--further"]
    for what in ("contact", "takeoff"):
        arguments = ["weights", what, "--reader", str(tmp_path / "old"), "-o", str(tmp_path / what)]
        done = CliRunner().invoke(app, [*arguments, *few])
        assert done.exit_code == (0 if what == "contact" else 1), done.output
    assert "no takeoff network" in str(done.exception)
    kept = load_network(tmp_path / "contact" / "reader").ends["contact"]
    assert torch.allclose(kept.judge[4].weight, own.judge[4].weight, atol=1e-3)  # stored in half precision


@pytest.mark.parametrize("what", ["splash", "takeoff", "contact"])
def test_clips_that_are_no_dive_are_for_contacts_beside_films(tmp_path: Path, what: str) -> None:
    arguments = ["weights", what, "--reader", str(tmp_path), "-o", str(tmp_path / "run"), "--device", "cpu"]
    films = [] if what == "contact" else ["--films", str(tmp_path)]
    done = CliRunner().invoke(app, [*arguments, *films, "--negatives", str(tmp_path)])
    assert isinstance(done.exception, UsageError)
    assert "beside --films" in str(done.exception)


def test_entries_are_found_in_films_with_the_errors_of_the_search(tmp_path: Path) -> None:
    write_dataset(tmp_path / "films", 2, 11, world="clean", dives=["101B"], height_m=1.0)
    reader = AthleteReader.load()
    file = read_films("splash", tmp_path / "films", reader, tmp_path)
    entries = WindowSet([file], WINDOW_M, 0.0)
    truth = [json.loads(each.read_text())["seen"]["splash"] for each in sorted((tmp_path / "films/meta").glob("*"))]
    assert entries.truth.tolist() == pytest.approx(truth)
    assert entries.pictures.shape == (2, K, WINDOW_PX, WINDOW_PX, 3)
    assert np.array_equal(entries.plain(0, 2)[0], entries.pictures)  # they are what is read
    stamp = file.stat().st_mtime_ns
    assert read_films("splash", tmp_path / "films", reader, tmp_path).stat().st_mtime_ns == stamp


@pytest.mark.parametrize(("end", "name"), [("takeoff", "flight_start_s"), ("contact", "entry_start_s")])
def test_a_film_gives_the_error_of_the_search_and_the_lean_in_its_picture(end: End, name: str) -> None:
    times = np.arange(-0.9, 0.9, 0.02)
    recorder = SimpleNamespace(splash=None, ends={end: (crops(times), times)})
    stored = SimpleNamespace(takeoff_s=1.0, entry_s=3.0, time_scale=2.0)
    late = {name: {"takeoff": 1.1, "contact": 3.1}[end], "lean_deg": {end: -7.0}}

    def filmed(truth: dict[str, object]) -> list[dict[str, np.ndarray]]:
        return _filmed(end, recorder, truth, stored, np.random.default_rng(3))  # type: ignore[arg-type]

    windows = filmed(late)
    windows, none = windows[:4], windows[4:]
    assert len(none) == (2 if end == "takeoff" else 0)  # too early and too late to see it
    assert all(np.isnan(window["truth"]).all() for window in none)
    truth = np.stack([window["truth"] for window in windows])
    assert truth[0, 0] == pytest.approx(0.05)  # real seconds
    assert np.ptp(truth[:, 0]) > 0.1  # and from where the search might have found it
    assert np.abs(truth[:, 0]).max() <= 0.28
    assert truth[:, 1].tolist() == [-7.0] * 4
    assert truth.shape[1] == 2 + len(END_LOOKS_S[end])
    assert np.isnan(truth[:, 2:]).all()
    for window in windows:  # crops are numbered by their times
        taken = times[window["pictures"][:, 0, 0, 0]] - 0.05 + window["truth"][0]
        assert taken[window["known"]] == pytest.approx(window["since"][window["known"]], abs=1e-6)
    assert filmed({name: late[name]}) == []  # simulated before leans were kept
    assert filmed({**late, name: 9.0}) == []  # far off: nothing of it is shown


def test_a_flight_that_is_no_dive_gives_windows_without_an_end() -> None:
    times = np.arange(-0.9, 0.9, 0.02)
    windows = negative_windows("contact", crops(times), times, np.random.default_rng(0))
    assert len(windows) == 4
    assert all(np.isnan(window["truth"]).all() for window in windows)
    assert len({window["since"].tobytes() for window in windows}) > 1


def test_clips_that_are_no_dive_are_read_by_their_table(tmp_path: Path) -> None:
    clips, reader = write_negatives(tmp_path / "clips", ["trampoline"], 1, seed=61).parent, AthleteReader.load()
    file = read_negatives("contact", clips, reader, tmp_path)
    windows = WindowSet([file], WINDOW_M, 0.0)
    assert len(windows) > 0
    assert np.isnan(windows.truth).all()
    drawn = windows.draw(np.random.default_rng(1), 8)
    assert np.isnan(drawn[-1]).all()
    assert drawn[1].any(axis=1).all()  # cut short, something is left
    with pytest.raises(DatasetError, match=r"negatives\.csv"):
        read_negatives("contact", tmp_path, reader, tmp_path)
