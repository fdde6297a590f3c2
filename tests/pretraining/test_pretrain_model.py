from dataclasses import replace

import numpy as np
import pytest
import torch

from finecausal_cli.model.config import ModelConfig
from finecausal_cli.model.finecausal import FineCausal
from finecausal_cli.training.motion_pretraining import HeadOutputs, MaskPrediction, PretrainModel, masked_error
from finecausal_cli.training.motion_snippets import SEEN, collate_snippets

from .conftest import SIDE

EVERYTHING = torch.ones(len(SEEN))


@pytest.fixture(scope="module")
def batch(shelf):
    return collate_snippets(
        [*shelf.crop_snippets(0, [0, 40], None), *shelf.crop_snippets(1, [70], None)], shelf.scale(), None
    ).prepare()


@pytest.fixture(scope="module")
def nets(config):
    torch.manual_seed(0)
    i3d = ModelConfig(preset="compact", width=1 / 32, shared_trunk=True, frame_size=SIDE)
    return {
        "frames": config,
        "two": config.model_copy(update={"shared_trunk": False}),
        "i3d": i3d,
        "two i3d": i3d.model_copy(update={"shared_trunk": False}),
    }


def model_of(config, batch):
    torch.manual_seed(1)
    network = FineCausal(config)
    return network, PretrainModel(network, batch.motion.shape[2], len(SEEN))


def test_the_error_is_the_mean_square_of_what_is_shown():
    found = torch.tensor([[1.0, 5.0], [3.0, 7.0]])
    truth = torch.zeros(2, 2)
    shown = torch.tensor([[True, False], [True, True]])
    assert masked_error(found, truth, shown, torch.ones(2)).item() == pytest.approx(((1 + 9) / 2 + 49) / 2)
    assert masked_error(found, truth, shown, torch.tensor([2.0, 0.0])).item() == pytest.approx(5.0)
    assert masked_error(found, truth, torch.zeros(2, 2, dtype=torch.bool), torch.ones(2)).item() == 0


def test_what_is_not_shown_has_no_gradient():
    found = torch.tensor([[7.0, 1.0]], requires_grad=True)
    error = masked_error(found, torch.zeros(1, 2), torch.tensor([[False, True]]), torch.ones(2))
    error.backward()
    assert error.item() == pytest.approx(0.5)
    assert found.grad.tolist() == [[0.0, 1.0]]


def test_a_step_waits_for_no_number(shelf, config, never_waits):
    rng = np.random.default_rng(0)
    cuts = [cut for index in (0, 1, 2) for cut in shelf.crop_snippets(index, [0, 60], rng)]
    batch = collate_snippets(cuts, shelf.scale(), rng)
    assert 0 < len(batch.mirrored) < len(cuts)
    model = PretrainModel(FineCausal(config), batch.motion.shape[2], len(SEEN))
    with never_waits():
        losses = model.losses(batch.prepare(), torch.ones(len(SEEN)))
        torch.stack([*losses.values()]).sum().backward()
    assert all(torch.isfinite(loss) for loss in losses.values())


def test_perfect_predictions_have_no_loss(batch):
    sure = 40 * (torch.nn.functional.one_hot(batch.stage, 3) - 0.5)
    outputs = HeadOutputs(batch.motion, sure, batch.seen, batch.seen[:, None].expand(-1, 16, -1))
    assert {name: round(loss.item(), 5) for name, loss in outputs.losses(batch, EVERYTHING).items()} == {
        "motion": 0,
        "stage": 0,
        "seen": 0,
        "seen_by_frame": 0,
    }
    assert MaskPrediction(40 * (batch.mask - 0.5), batch.mask).loss().item() == pytest.approx(0, abs=1e-2)
    wrong = replace(outputs, motion=batch.motion + 1, seen=batch.seen + 1).losses(batch, EVERYTHING)
    assert wrong["motion"].item() == pytest.approx(2 * (1 - 0.2 / 2))  # |x| - beta / 2, twice
    assert 0 < wrong["seen"].item() <= 1


def test_motion_under_water_has_no_loss(batch):
    hidden = replace(batch, visible=(torch.arange(16) < 3).expand(3, -1))
    moved = batch.motion.clone()
    moved[:, 3:] += 9
    outputs = HeadOutputs(moved, torch.zeros(*batch.stage.shape, 3), batch.seen, None)
    assert outputs.losses(hidden, EVERYTHING)["motion"].item() == 0
    seen = outputs.losses(replace(batch, visible=(torch.arange(16) < 4).expand(3, -1)), EVERYTHING)["motion"].item()
    assert seen == pytest.approx(2 * (9 - 0.1) / 4, rel=1e-5)  # one frame of four is nine off


def test_a_batch_that_is_all_under_water_trains_the_rest(batch):
    outputs = HeadOutputs(batch.motion + 1, torch.zeros(*batch.stage.shape, 3), batch.seen, None)
    losses = outputs.losses(replace(batch, visible=torch.zeros_like(batch.visible)), EVERYTHING)
    assert losses["motion"].item() == 0
    assert losses["stage"].isfinite()


@pytest.mark.parametrize("kind", ["frames", "two", "i3d", "two i3d"])
def test_every_kind_of_network_predicts_every_target(kind, nets, batch):
    network, model = model_of(nets[kind], batch)
    outputs, foreground = model(batch, 1)
    assert len(outputs) == (1 if network.config.shared_trunk else 2)
    for one in outputs:
        assert one.motion.shape == batch.motion.shape
        assert one.stage.shape == (3, 16, 3)
        assert one.seen.shape == (3, len(SEEN))
        assert (one.seen_by_frame is None) == (network.config.trunk == "i3d")
    assert foreground.logits.shape == foreground.mask.shape
    assert foreground.mask.numel() == batch.mask.numel()
    _, some = model(batch, 2)
    assert len(some.mask) == -(-len(foreground.mask) // 2)


@pytest.mark.parametrize("kind", ["frames", "two", "i3d", "two i3d"])
def test_every_target_trains_backbones_and_heads(kind, nets, batch):
    network, model = model_of(nets[kind], batch)
    sum(model.losses(batch, EVERYTHING).values()).backward()
    silent = [name for name, one in model.named_parameters() if one.grad is None]
    silent = [name for name in silent if not name.startswith(("parser.project", "parser.heads.sides"))]
    assert silent == []
    trained = [name for name, one in network.named_parameters() if one.grad is not None]
    assert not [name for name in trained if not name.startswith(("video_trunk", "parser"))]


def test_of_two_backbones_the_foreground_trains_the_second_alone(nets, batch):
    network, model = model_of(nets["two"], batch)
    model.losses(batch, EVERYTHING)["foreground"].backward()
    assert all(one.grad is None for one in network.video_trunk.parameters())
    assert network.parser.trunk.stem[0].weight.grad.abs().max() > 0


def test_of_one_backbone_it_trains_that(nets, batch):
    network, model = model_of(nets["frames"], batch)
    model.losses(batch, EVERYTHING)["foreground"].backward()
    assert network.video_trunk.stem[0].weight.grad.abs().max() > 0
