"""One optimiser step: what the parts of a batch give adds up to what the batch gives."""

import pytest
import torch

from finecausal_cli.data.batch import collate
from finecausal_cli.model.config import ModelConfig
from finecausal_cli.model.finecausal import FineCausal
from finecausal_cli.training.batches import Part, split_groups
from finecausal_cli.training.checkpoint import Progress
from finecausal_cli.training.trainer import average_weights

GROUPS = [(0, 1), (2, 3), (4, 5, 6)]


@pytest.fixture(scope="module")
def config():
    """The smallest I3D: the paper's backbone learns, too."""
    return ModelConfig(preset="compact", width=1 / 32, shared_trunk=True, frame_size=32)


def parts_of(film, count) -> list[Part]:
    dealt = split_groups(GROUPS, count)
    return [
        Part(collate(groups, film.dives, film.load, frame_size=32, seed=1, epoch=0), spare) for groups, spare in dealt
    ]


def train_step(trainer, parts, at) -> dict[str, float]:
    """Take a step of a run in training mode."""
    trainer.task.train_mode()
    trainer.progress = Progress(step=at)
    return {name: float(value) for name, value in trainer.train_step(parts).items()}


@pytest.fixture(scope="module")
def seven(film):
    """Seven dives; some lack a mask, some a transition, and some know what their stages cost."""
    dives = type(film)(count=7, deductions=True)
    dives.forget(masks=(1, 4), transitions=(3,), deductions=(2,))
    return dives


@pytest.fixture(scope="module")
def step(seven, config, make_options, make_trainer):
    """Take some steps over the same batch in so many parts, and return losses and network."""

    def take(parts, *, steps=2, seed=0, **given):
        options = make_options(groups_per_batch=9, freeze_batchnorm="all", **given)
        torch.manual_seed(seed)
        # Attention is dropped out by chance that differs between parts; the graph is left out.
        trainer = make_trainer(FineCausal(config.model_copy(update={"gat": False})), seven, options)
        return [train_step(trainer, parts_of(seven, parts), at) for at in range(steps)], trainer

    return take


@pytest.fixture(scope="module")
def undivided(step):
    """Two steps over the whole batch; to look at."""
    return step(1)


@pytest.mark.parametrize("parts", [2, 3, 5])
def test_parts_of_a_batch_learn_what_the_batch_does(step, undivided, parts):
    """Where nothing is normalised over the batch. Five parts of three groups: two of them are spare."""
    whole, one = undivided
    divided, other = step(parts)
    assert set(whole[0]) == {"total", "gradient", "foreground", "transitions", "regression", "stages"}
    for before, after in zip(whole, divided, strict=True):
        assert after == pytest.approx(before, rel=2e-4)
    assert whole[1]["total"] != whole[0]["total"]
    # The gradients of the second step: Adam's first steps are of one size whatever the gradient.
    grads = [torch.cat([each.grad.flatten() for each in trainer._parameters]) for trainer in (one, other)]
    assert (grads[0] - grads[1]).norm() < 1e-3 * grads[0].norm()


def test_every_loss_is_the_mean_over_the_whole_batch(step, seven):
    """Three pairs of one group and one of each other: the parts count by their pairs, not alike."""
    (losses,), _ = step(3, steps=1)
    _, fresh = step(3, steps=0)
    fresh.task.train_mode()
    each = [fresh.task.losses(part.batch, wants_foreground=True)["regression"].item() for part in parts_of(seven, 3)]
    assert losses["regression"] == pytest.approx((each[0] + each[1] + 3 * each[2]) / 5, rel=1e-5)


def test_the_stage_loss_can_be_switched_off(step):
    (losses,), _ = step(1, steps=1, stage_supervision=False)
    assert "stages" not in losses


def test_a_step_waits_for_no_number(seven, make_options, make_trainer, never_waits):
    """Some masks, transitions and stages are unknown; what is known was counted before the batch was moved."""
    config = ModelConfig(trunk="frames", width=1 / 16, shared_trunk=True, foreground="top_down", frame_size=32)
    trainer = make_trainer(FineCausal(config), seven, make_options(groups_per_batch=9))
    trainer.task.train_mode()
    parts = parts_of(seven, 1)
    with never_waits():
        losses = trainer._forward_backward(parts, 0)
    assert set(losses) == {"total", "foreground", "transitions", "regression", "stages"}
    assert all(torch.isfinite(value) for value in losses.values())


@pytest.mark.gpu
def test_a_step_on_a_gpu_waits_for_nothing(seven, config, make_options, make_trainer):
    trainer = make_trainer(FineCausal(config), seven, make_options(groups_per_batch=9), device="cuda")
    trainer.task.train_mode()
    parts = [part.pin_memory() for part in parts_of(seven, 1)]
    trainer.train_step(parts)  # what is made in the first step stays
    torch.cuda.set_sync_debug_mode("error")
    try:
        losses = trainer.train_step(parts)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert losses["total"].device.type == "cuda"


def test_dropout_follows_from_seed_step_and_part(seven, config, make_options, make_trainer):
    """With attention dropped out: the same step gives the same numbers whatever was drawn before."""

    def total(seed, step):
        torch.manual_seed(0)
        trainer = make_trainer(FineCausal(config), seven, make_options(seed=seed))
        torch.rand(seed + step)
        return train_step(trainer, parts_of(seven, 1), step)["total"]

    assert total(1, 4) == total(1, 4)
    assert len({total(1, 4), total(1, 5), total(2, 4)}) == 3


def test_a_frozen_backbone_stays_as_it_is_to_the_last_bit(seven, config, make_options, make_trainer):
    options = make_options(freeze_backbone=True, weight_decay=0.5)
    trainer = make_trainer(FineCausal(config), seven, options)
    before = {name: tensor.clone() for name, tensor in trainer.network.state_dict().items()}
    for at in range(2):
        train_step(trainer, parts_of(seven, 1), at)
    after = trainer.network.state_dict()
    moved = {name.split(".")[0] for name, tensor in after.items() if not torch.equal(tensor, before[name])}
    assert moved == {"parser", "intervention", "transition_parser", "stages", "tca", "regression"}
    assert len(trainer.optimizer.param_groups) == 2  # the rest and the learned weights of the losses


@pytest.mark.parametrize(
    ("frozen", "still"), [("none", ()), ("trunks", ("video_trunk",)), ("all", ("video_trunk", ""))]
)
def test_frozen_normalisations_keep_statistics_scale_and_shift(
    seven, config, make_options, make_trainer, frozen, still
):
    options = make_options(freeze_batchnorm=frozen)
    trainer = make_trainer(FineCausal(config), seven, options)
    norms = {
        name: {key: tensor.clone() for key, tensor in module.state_dict().items()}
        for name, module in trainer.network.named_modules()
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm)
    }
    train_step(trainer, parts_of(seven, 1), 0)
    for name, before in norms.items():
        after = trainer.network.get_submodule(name).state_dict()
        equal = all(torch.equal(after[key], before[key]) for key in before)
        assert equal == name.startswith(still), name


def test_the_running_mean_by_hand():
    """(1 + n) / (10 + n) of the old is kept after n updates, 0.5 at most: 2/11 and 3/12, then 0.5."""
    network = torch.nn.BatchNorm1d(1)
    mean = average_weights(network, 0.5)
    expected = None
    for done, value in enumerate([1.0, 2.0, 4.0, 8.0]):
        with torch.no_grad():
            network.weight.fill_(value)
            network.running_mean.fill_(-value)
            network.num_batches_tracked.fill_(done)
        mean.update_parameters(network)
        kept = min(0.5, (1 + done) / (10 + done))
        expected = value if expected is None else kept * expected + (1 - kept) * value
        assert mean.module.weight.item() == pytest.approx(expected)
        assert mean.module.running_mean.item() == pytest.approx(-expected)
        assert mean.module.num_batches_tracked.item() == done
    assert expected == pytest.approx(8 * 9 / 13 + 4 / 13 * (4 * 9 / 12 + 3 / 12 * (2 * 9 / 11 + 1 * 2 / 11)))


def test_the_running_mean_is_what_is_kept(step, undivided):
    _, plain = undivided
    _, mean = step(1, ema=0.9)
    assert plain.best_network is plain.network
    assert mean.best_network is mean.average.module
    assert set(mean._state()) == {*plain._state(), "average"}
    one, two = plain.network.state_dict(), mean.network.state_dict()
    assert all(torch.equal(one[name], two[name]) for name in one)  # it follows and does not lead
    name = "regression.judge.0.weight"
    assert not torch.equal(mean.best_network.state_dict()[name], two[name])
