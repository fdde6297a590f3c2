import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from finecausal_cli.athlete import JOINT, JOINTS
from finecausal_cli.athlete.network import (
    DIRECTIONS,
    AthleteMaps,
    AthleteNetwork,
    NetworkConfig,
    Observations,
    SequenceConfig,
    SequenceNetwork,
)
from finecausal_cli.athlete.reader import AthleteReader, load_network, save_network
from finecausal_cli.errors import DatasetError, TrainingError, UsageError, WeightsError
from finecausal_cli.simulator.dataset import write_dataset
from finecausal_cli.training import ReaderOptions
from finecausal_cli.training.athlete_reader import AthleteTask, measure, train_athlete_reader, window_losses
from finecausal_cli.training.athlete_sequence import SequenceTask
from finecausal_cli.training.athlete_windows import CutConfig, WindowSet, cut_dataset, degrade
from finecausal_cli.training.trainer import TrainerConfig

CPU = torch.device("cpu")
CUT = CutConfig(window_size=64, per_clip=8, whole_per_clip=1)


@pytest.fixture(scope="module")
def dives(tmp_path_factory):
    root = tmp_path_factory.mktemp("dives")
    write_dataset(root, 2, 5)
    return root


@pytest.fixture(scope="module")
def windows(dives, tmp_path_factory):
    return WindowSet(cut_dataset(dives, tmp_path_factory.mktemp("windows"), CUT), CUT.window_size)


def test_joints_lie_on_the_athlete_in_every_cut_and_turned_window(windows):
    plain, drawn = windows.plain(0, len(windows)), windows.draw(np.random.default_rng(3), 40)
    for batch in (plain, drawn):
        on, all_of_them = 0, 0
        for mask, joints, visible in zip(batch.masks, batch.joints, batch.visible, strict=True):
            rows, columns = np.mgrid[:64, :64]
            for x, y in joints[visible] * 64:
                near = (columns + 0.5 - x) ** 2 + (rows + 0.5 - y) ** 2 < 3**2
                on += mask[near].max() > 100
                all_of_them += 1
        assert all_of_them > 100
        assert on / all_of_them > 0.97


def test_a_batch_follows_from_its_seed(windows):
    one, two, other = (windows.draw(np.random.default_rng(seed), 6) for seed in (1, 1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(one, two, strict=True))
    assert not np.array_equal(one.pictures, other.pictures)


def test_windows_without_the_athlete_are_said_to_be_empty(windows):
    drawn = windows.draw(np.random.default_rng(0), 200)
    assert 0.02 < 1 - drawn.seen.mean() < 0.5
    assert (drawn.visible.sum(axis=1)[drawn.seen] >= 3).all()


def test_what_moves_in_a_window_is_the_athlete_and_is_turned_and_left_out_with_it(windows):
    plain, drawn = windows.plain(0, len(windows)), windows.draw(np.random.default_rng(3), 60)
    for batch in (plain, drawn):
        both = batch.moved[..., :2].min(axis=-1).astype(float)
        known = (batch.moved[..., 2:] > 0).all(axis=-1)
        is_athlete = batch.masks > 200
        assert both[known & is_athlete].mean() > 3 * both[known & (batch.masks < 5)].mean()
    is_left_out = ~drawn.moved.any(axis=(1, 2, 3))
    assert 0.1 < is_left_out.mean() < 0.6  # a fifth, and those that are not compared with any
    assert windows.draw_whole(np.random.default_rng(0), 2).moved.size == 0


def test_degrading_keeps_shape_and_range_and_changes_most_pictures():
    picture = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    seen = [degrade(np.random.default_rng(seed), picture) for seed in range(30)]
    assert {(one.shape, one.dtype) for one in seen} == {(picture.shape, picture.dtype)}
    assert sum(not np.array_equal(one, picture) for one in seen) >= 25


def test_cutting_again_keeps_what_is_there_and_refuses_another_way(dives, tmp_path):
    first = cut_dataset(dives, tmp_path, CUT)
    before = [path.stat().st_mtime_ns for path in first]
    assert [path.stat().st_mtime_ns for path in cut_dataset(dives, tmp_path, CUT)] == before
    with pytest.raises(DatasetError, match="cut otherwise"):
        cut_dataset(dives, tmp_path, CutConfig(window_size=64, per_clip=9))


@pytest.mark.thorough
def test_a_reader_of_before_is_trained_further_with_what_moves(dives, tmp_path):
    sizes = NetworkConfig(window_size=128, width=8, embedding=8)
    torch.manual_seed(0)
    save_network(tmp_path / "before", sizes, AthleteNetwork(sizes).state_dict(), {"source": "a test"})
    options = {"start": tmp_path / "before", "width": 8, "batch_size": 4, "per_clip": 4}
    run = ReaderOptions((dives,), (dives,), tmp_path / "run", steps=2, sequence_steps=0, **options)
    stored = load_network(train_athlete_reader(run))
    assert stored.network.config.movement
    assert any(layer.weight.any() for layer in stored.network.movement.add)


def test_a_dataset_without_joints_is_named(tmp_path):
    with pytest.raises(DatasetError, match="no clip with joints"):
        cut_dataset(tmp_path, tmp_path / "out", CUT)


def perfect(batch):
    """Maps of a network that knows everything."""
    cells = 16
    centres = (np.arange(cells) + 0.5) / cells
    off = (batch.joints[:, :, 1, None, None] - centres[:, None]) ** 2 + (
        batch.joints[:, :, 0, None, None] - centres
    ) ** 2
    trunk = batch.joints[:, JOINT["neck"]] - batch.joints[:, JOINT["pelvis"]]
    bins = np.arange(DIRECTIONS) * 2 * np.pi / DIRECTIONS
    angle = np.arctan2(trunk[:, 1], trunk[:, 0])[:, None]
    mask = torch.from_numpy(batch.masks).float().div(255)[:, None]
    outline = torch.nn.functional.adaptive_avg_pool2d(mask, cells)[:, 0]
    return AthleteMaps(
        outline=torch.logit(outline, 1e-3),
        heat=torch.from_numpy(-off / (2 * (0.9 / cells) ** 2)).float(),
        spread=torch.full((len(batch.seen), len(JOINTS)), -6.0),
        direction=torch.from_numpy(20 * np.cos(angle - bins)).float(),
        seen=(seen := torch.from_numpy(np.where(batch.seen, 8.0, -8.0)).float()),
        recognised=seen,
    )


def test_the_loss_is_least_and_every_measure_best_for_a_network_that_knows(windows):
    batch = windows.plain(0, 8)
    right = perfect(batch)
    turned_over = right._replace(direction=right.direction.roll(DIRECTIONS // 2, 1), heat=right.heat.flip(-1))
    good, bad = (window_losses(maps, batch, CPU) for maps in (right, turned_over))
    assert good["place"] < 0.2 < bad["place"]
    assert good["direction"] < bad["direction"]
    assert good["outline"] < 0.4

    class Knows(torch.nn.Module):
        first = 0

        def forward(self, pictures, moved):
            assert moved.shape == (len(pictures), 4, *pictures.shape[2:])
            start, self.first = self.first, self.first + len(pictures)
            return perfect(windows.plain(start, self.first))

    held_out = [windows.plain(first, min(first + 8, len(windows))) for first in range(0, len(windows), 8)]
    figures = measure(Knows(), held_out, CPU)
    assert figures["pck"] == 1.0
    assert figures["trunk_within_15"] == 1.0
    assert figures["turned_over"] == 0.0
    assert figures["outline_iou"] > 0.6  # as good as 16 x 16 cells of a 64 pixel window can be
    assert figures["seen_accuracy"] == 1.0


def test_a_few_steps_lower_the_loss(windows):
    torch.manual_seed(0)
    network = AthleteNetwork(NetworkConfig(window_size=64, width=16, embedding=16)).train()
    task = AthleteTask(network, windows, windows, batch_size=8)
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3)
    losses = []
    for _ in range(25):
        loss, _ = task.loss(network, task.batch(1), CPU)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]


def test_the_backbone_is_trained_at_a_lower_rate(windows):
    network = AthleteNetwork(NetworkConfig(window_size=64, width=16, embedding=16))
    groups = AthleteTask(network, windows, windows).parameter_groups(TrainerConfig(steps=1, lr=0.1))
    assert [group["lr"] for group in groups] == [pytest.approx(0.025), 0.1]
    assert len(groups[0]["params"]) == len(list(network.backbone.parameters()))


def test_a_run_of_an_older_version_is_refused(dives, tmp_path):
    (tmp_path / "frames" / "state").mkdir(parents=True)
    with pytest.raises(TrainingError, match="a run of an older version"):
        train_athlete_reader(ReaderOptions((dives,), (dives,), tmp_path, steps=1, batch_size=4, per_clip=6))


def test_padding_of_a_batch_changes_no_motion():
    torch.manual_seed(0)
    network = SequenceNetwork(SequenceConfig(width=16, dilations=(1, 2))).eval()
    torch.nn.init.normal_(network.leave.weight)
    shapes = ((len(JOINTS), 2), (len(JOINTS),), (DIRECTIONS,), (2,), (), ())
    fields = [torch.rand(1, 6, *shape) for shape in shapes]
    short = Observations(*fields, torch.ones(1, 6))
    long = Observations(*(torch.cat([values, values.new_zeros(1, 5, *values.shape[2:])], 1) for values in short))
    torch.testing.assert_close(network(long).joints[:, :6], network(short).joints)


def stored_flights(folder, count, wrong):
    """Flights of a stiff body that turns steadily, some frames read upside down."""
    rng = np.random.default_rng(0)
    for number in range(count):
        frames = 30
        angle = rng.uniform(0, 6) + rng.uniform(-0.3, 0.3) * np.arange(frames)
        body = np.linspace(-0.3, 0.3, len(JOINTS))
        body[JOINT["pelvis"]], body[JOINT["neck"]] = -0.1, 0.2
        along = np.stack([np.cos(angle), np.sin(angle)], -1)
        truth = body[None, :, None] * along[:, None]
        turned = rng.random(frames) < wrong
        read = np.where(turned[:, None, None], -truth, truth)
        bins = np.round((angle + np.pi * turned) / (2 * np.pi) * DIRECTIONS).astype(int) % DIRECTIONS
        arrays = {
            "joints": read,
            "truth": truth,
            "confidence": np.full((frames, len(JOINTS)), 0.8),
            "direction": 0.9 * np.eye(DIRECTIONS)[bins] + 0.1 / DIRECTIONS,
            "seen": np.ones(frames),
            "known": np.ones((frames, len(JOINTS)), bool),
            "times_s": np.arange(frames) / 25,
        }
        np.savez(
            folder / f"{number}.npz",
            **{name: value if value.dtype == bool else value.astype(np.float32) for name, value in arrays.items()},
        )
    return sorted(folder.glob("*.npz"))


def test_neighbours_put_frames_right_that_were_read_upside_down(tmp_path):
    torch.manual_seed(0)
    files = stored_flights(tmp_path, 24, wrong=0.15)
    network = SequenceNetwork(SequenceConfig(width=32, dilations=(1, 2, 4)))
    task = SequenceTask(network, files[:20], files[20:], batch_size=16)
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3)
    for step in range(120):
        loss, _ = task.loss(network, task.batch(step), CPU)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.inference_mode():
        figures = task.validate(network.eval(), CPU)
    assert figures["frames_turned_over"] > 0.08
    assert figures["motion_turned_over"] < 0.5 * figures["frames_turned_over"]


@pytest.mark.thorough
def test_a_reader_is_taught_written_and_gone_on_with(dives, tmp_path):
    run = ReaderOptions((dives,), (dives,), tmp_path, steps=2, sequence_steps=2, batch_size=4, per_clip=6, width=16)
    phases = []
    folder = train_athlete_reader(run, lambda phase, done, of, figures: phases.append(phase))
    assert list(dict.fromkeys(phases)) == [
        "cutting train",
        "cutting validation",
        "training frames",
        "reading train",
        "reading validation",
        "training motion",
    ]
    read = AthleteReader.load(folder).read_motion(np.zeros((6, 128, 128, 3), np.uint8), np.arange(6) / 25)
    assert read.joints.shape == (6, len(JOINTS), 2)
    described = json.loads((folder / "reader.json").read_text())
    assert described["source"].startswith("From nothing")
    assert described["network"]["width"] == described["network"]["embedding"] == 16
    before = described["digest"]
    train_athlete_reader(run)
    assert json.loads((folder / "reader.json").read_text())["digest"] == before

    further = replace(run, out=tmp_path / "further", start=folder, steps=1, sequence_steps=0)
    stored, taught = (load_network(each) for each in (folder, train_athlete_reader(further)))
    assert taught.config["source"] == described["source"]
    assert taught.config["taught_further"] == {"steps": 1, "sequence_steps": 0, "seed": 0}
    first, then = (each.network.heat.weight for each in (stored, taught))
    assert 0 < (first - then).abs().max() < 0.1  # a step from where it was
    torch.testing.assert_close(dict(stored.sequence.named_parameters()), dict(taught.sequence.named_parameters()))


def test_a_reader_is_trained_further_as_it_is(dives, tmp_path):
    network = AthleteNetwork(NetworkConfig(width=16, embedding=16))
    save_network(tmp_path / "reader", network.config, network.state_dict(), {})
    run = ReaderOptions((dives,), (dives,), tmp_path / "run", start=tmp_path / "reader", per_clip=6)
    with pytest.raises(UsageError, match="--width is not the 16 of the reader"):
        train_athlete_reader(run)
    with pytest.raises(UsageError, match="--start and --imagenet exclude each other"):
        train_athlete_reader(replace(run, imagenet=tmp_path / "lite0.pth"))


def test_other_weights_than_efficientnets_are_refused(dives, tmp_path):
    wrong = tmp_path / "wrong.pth"
    torch.save({"layer": torch.zeros(2)}, wrong)
    with pytest.raises(WeightsError, match="not the weights of EfficientNet-Lite0"):
        train_athlete_reader(ReaderOptions((dives,), (dives,), tmp_path / "run", imagenet=wrong, per_clip=6))
