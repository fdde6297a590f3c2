import json
import weakref
from collections import Counter
from functools import partial

import pytest
import torch

from finecausal_cli.data.cache import ClipArrays
from finecausal_cli.errors import TrainingError
from finecausal_cli.evaluation.predict import ErrorSummary
from finecausal_cli.evaluation.run import BEST
from finecausal_cli.model.finecausal import FineCausal
from finecausal_cli.training.checkpoint import LOG_NAME
from finecausal_cli.training.pairs import LAST_NAME
from finecausal_cli.training.trainer import Callbacks, linear_cosine


class StoppedError(Exception):
    """The run is interrupted."""


def summary(rho: float) -> ErrorSummary:
    return ErrorSummary(4, rho, rho, rho, 1.0, None, None, None, 0.1, 2.0)


class Run:
    """One training run and what became of it."""

    def __init__(self, make_trainer, folder, film, config, options, *, rhos=(0.1,) * 99, seed=0, device="cpu"):
        torch.manual_seed(seed)
        folder.mkdir(exist_ok=True)
        self.folder = folder
        self.reports, self.kept, self.modes = [], [], []

        def evaluate(model):
            self.modes.append(model.training)
            torch.rand(7)  # a validation may draw at random, and training must not notice
            return summary(rhos[len(self.modes) - 1])

        def save(name, model, metrics, progress):
            if name == BEST:
                self.kept.append((progress, metrics["rho"]))

        self.trainer = make_trainer(
            FineCausal(config), film, options, folder, device=device, evaluate=evaluate, save=save
        )

    def __call__(self, *, stop_at=None):
        def report(progress, losses):
            if progress.step == stop_at:
                raise StoppedError
            self.reports.append((progress, losses))

        self.trainer.fit(Callbacks(step=report))
        return self

    def losses(self):
        return [losses for _, losses in self.reports]

    def state(self):
        return {
            f"{part}.{name}": tensor
            for part, owner in (("model", self.trainer.network), ("weights", self.trainer.task.weights))
            for name, tensor in owner.state_dict().items()
        }

    def optimizer(self):
        return self.trainer.optimizer.state_dict()["state"]


@pytest.fixture(scope="module")
def start(make_trainer):
    """Make a run: of a folder, the dives, a network's configuration and options."""
    return partial(Run, make_trainer)


def assert_equal(one: Run, other: Run):
    assert one.trainer.progress == other.trainer.progress
    for name, tensor in one.state().items():
        assert torch.equal(tensor, other.state()[name]), name
    for place, moments in one.optimizer().items():
        for name, tensor in moments.items():
            assert torch.equal(tensor, other.optimizer()[place][name]), (place, name)


@pytest.fixture(scope="module")
def options(make_options):
    return make_options(epochs=3, save_every=3)  # 4 dives in groups of two: 2 batches an epoch, 6 steps


@pytest.fixture(scope="module")
def uninterrupted(start, tmp_path_factory, film, config, options):
    return start(tmp_path_factory.mktemp("whole"), film, config, options)()


def test_every_step_is_reported_with_its_losses(uninterrupted):
    assert [(at.epoch, at.batch, at.step) for at, _ in uninterrupted.reports] == [
        (0, 1, 1),
        (0, 2, 2),
        (1, 1, 3),
        (1, 2, 4),
        (2, 1, 5),
        (2, 2, 6),
    ]
    assert uninterrupted.trainer.config.steps == 6
    for losses in uninterrupted.losses():
        assert set(losses) == {"total", "gradient", "regression", "foreground", "transitions"}
        assert losses["gradient"] > 0
    # The first total has all scales at one: half of each loss, and ln 2 three times.
    first = uninterrupted.losses()[0]
    parts = first["regression"] + first["foreground"] + first["transitions"]
    assert first["total"] == pytest.approx(parts / 2 + 3 * 0.693147, rel=1e-5)


def test_every_part_learns(start, uninterrupted, film, config, options, tmp_path):
    before = start(tmp_path, film, config, options).state()
    moved = {
        name.split(".")[1] for name, tensor in uninterrupted.state().items() if not torch.equal(tensor, before[name])
    }
    assert moved == {
        "video_trunk",
        "parser",
        "intervention",
        "transition_parser",
        "stages",
        "tca",
        "regression",
        "scale",
    }


def test_the_rate_rises_in_a_line_and_falls_to_zero():
    rates = [linear_cosine(step, 40, 10) for step in range(41)]  # 10 of 40 steps are rising
    assert rates[:10] == pytest.approx([0.1 * (step + 1) for step in range(10)])
    assert rates[10] == pytest.approx(1)
    assert rates[25] == pytest.approx(0.5)
    assert rates[40] == pytest.approx(0, abs=1e-12)
    assert rates[10:] == sorted(rates[10:], reverse=True)


def test_trunks_and_uncertainties_have_rates_of_their_own(start, film, config, make_options, tmp_path):
    run = start(tmp_path, film, config, make_options(lr=1e-3, backbone_lr=1e-4, warmup=0, weight_decay=0.1))
    trunk, heads, scales = run.trainer.optimizer.param_groups
    assert [group["initial_lr"] for group in (trunk, heads, scales)] == pytest.approx([1e-4, 1e-3, 1e-2])
    assert [group["weight_decay"] for group in (trunk, heads, scales)] == [0.1, 0.1, 0.0]
    model = run.trainer.network
    assert {id(one) for one in trunk["params"]} == {id(one) for one in model.video_trunk.parameters()}
    assert len(trunk["params"]) + len(heads["params"]) == len(list(model.parameters()))


def test_a_resumed_run_equals_an_uninterrupted_one_bit_for_bit(start, uninterrupted, film, config, options, tmp_path):
    first = start(tmp_path, film, config, options)
    with pytest.raises(StoppedError):
        first(stop_at=4)  # the last checkpoint is that of step 3, in the middle of an epoch
    second = start(tmp_path, film, config, options, seed=77)  # neither initial weights nor chance may matter
    second.trainer.resume()
    at = second.trainer.progress
    assert (at.epoch, at.batch, at.step) == (1, 1, 3)
    second()
    assert_equal(uninterrupted, second)
    assert second.losses() == uninterrupted.losses()[3:]


def test_resuming_a_finished_run_trains_no_more(start, uninterrupted, film, config, options):
    again = start(uninterrupted.folder, film, config, options, seed=77)
    again.trainer.resume()
    again()
    assert again.reports == []
    assert_equal(uninterrupted, again)


def test_a_checkpoint_that_is_missing_damaged_or_of_another_network_is_named(
    start, uninterrupted, film, config, options, tmp_path
):
    run = start(tmp_path, film, config, options)
    path = tmp_path / LAST_NAME
    with pytest.raises(TrainingError, match=r"last\.pt: no checkpoint to resume"):
        run.trainer.resume()
    whole = (uninterrupted.folder / LAST_NAME).read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(TrainingError, match=r"last\.pt: a damaged checkpoint"):
        run.trainer.resume()
    path.write_bytes(whole)
    other = start(tmp_path, film, config.model_copy(update={"gat": False}), options)
    with pytest.raises(TrainingError, match=r"last\.pt: a checkpoint of another network or version"):
        other.trainer.resume()


@pytest.fixture(scope="module")
def frozen(make_options):
    """Options of a run that shows its bookkeeping at the least cost."""
    return make_options(epochs=5, validate_every=2, group=4)


@pytest.fixture(scope="module")
def scored(start, tmp_path_factory, film, config, frozen):
    return start(tmp_path_factory.mktemp("scored"), film, config, frozen, rhos=(0.2, 0.1, 0.3))()


def test_it_is_validated_every_so_often_and_at_the_end(scored):
    log = [json.loads(line) for line in (scored.folder / LOG_NAME).read_text().splitlines()]
    assert [(line["epoch"], line["step"], line["rho"]) for line in log] == [(2, 2, 0.2), (4, 4, 0.1), (5, 5, 0.3)]
    assert scored.modes == [False] * 3  # in evaluation mode


def test_a_network_is_kept_when_it_is_the_best_so_far(scored):
    assert [(progress.epoch, rho) for progress, rho in scored.kept] == [(1, 0.2), (4, 0.3)]
    assert scored.trainer.progress.best == 0.3


def test_a_network_whose_rho_is_undefined_is_better_than_none(start, film, config, make_options, tmp_path):
    run = start(tmp_path, film, config, make_options(epochs=2, group=4), rhos=(float("nan"), -0.5))()
    assert [progress.epoch for progress, _ in run.kept] == [0, 1]
    assert json.loads((tmp_path / LOG_NAME).read_text().splitlines()[0])["rho"] is None


def test_it_ends_early_when_validation_gets_no_better(start, film, config, make_options, tmp_path):
    """Better, two that are not, and better again; then three that are not."""
    options = make_options(epochs=20, group=4, patience=3)
    rhos = (0.1, 0.05, 0.1, 0.2, 0.1, 0.2, 0.0, 0.9)
    run = start(tmp_path, film, config, options, rhos=rhos)()
    assert [found for _, found in run.kept] == [0.1, 0.2]
    assert (run.trainer.progress.epoch, run.trainer.progress.stale) == (7, 3)
    again = start(tmp_path, film, config, options, rhos=rhos)
    again.trainer.resume()
    again()
    assert (again.reports, again.modes) == ([], [])  # a run that has ended goes no further


def test_what_was_logged_after_the_checkpoint_is_logged_again(start, film, config, make_options, tmp_path):
    """A run may be killed between a line of the log and the checkpoint, or within the line."""
    options = make_options(epochs=2, group=4)
    start(tmp_path, film, config, options)()
    whole = (tmp_path / LOG_NAME).read_text()
    for rest in ('{"epoch": 3, "step": 3}\n', '{"epoch": 3, "st'):
        (tmp_path / LOG_NAME).write_text(whole + rest)
        start(tmp_path, film, config, options).trainer.resume()
        assert (tmp_path / LOG_NAME).read_text() == whole


@pytest.mark.thorough
def test_it_learns_the_dives_by_heart(start, film, config, make_options, tmp_path):
    """Without the graph, which learns too slowly for a quick test; three dives whose brightness is their score."""
    few = type(film)(masks=False, count=3)
    options = make_options(epochs=30, group=3, lr=3e-3, backbone_lr=3e-3, save_every=99, validate_every=99)
    run = start(tmp_path, few, config.model_copy(update={"gat": False}), options)()
    errors = [losses["regression"] for losses in run.losses()]
    # Executions 10, 15 and 20: differences of one, one and two units of 5, so knowing nothing costs (1 + 1 + 4) / 3.
    assert errors[0] == pytest.approx(2.0, abs=0.1)
    assert sum(errors[-5:]) / 5 < 1.0
    assert all("foreground" not in losses for losses in run.losses())


class Counting:
    """A cache that knows how many of its clips are in use."""

    def __init__(self, film):
        self.dives, self._film, self._given = film.dives, film, []
        self.most, self.asked = 0, Counter()

    def load(self, dive):
        self.asked[dive.key] += 1
        arrays = self._film.load(dive)
        frames = arrays.frames.copy()
        self._given.append(weakref.ref(frames))
        self.most = max(self.most, sum(one() is not None for one in self._given))
        return ClipArrays(frames, arrays.mask, arrays.transitions)


def test_clips_are_held_only_while_their_turn_lasts(start, film, config, make_options, tmp_path):
    """A clip in use holds a file open; thousands of training dives must not."""
    cache = Counting(film)
    start(tmp_path, cache, config, make_options(epochs=1))()
    assert cache.most <= 2
    assert set(cache.asked.values()) == {1}


def test_a_loss_that_is_no_number_stops_the_run(start, film, config, make_options, tmp_path):
    run = start(tmp_path, film, config, make_options(epochs=1))
    with torch.no_grad():
        next(run.trainer.network.regression.judge.parameters()).fill_(float("nan"))
    with pytest.raises(TrainingError, match=r"the loss is nan at step 0 \(lower --lr, or use fp32\)"):
        run()


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_learns_what_full_precision_does(start, film, config, make_options, tmp_path, precision):
    runs = []
    for name in ("fp32", precision):
        torch.manual_seed(0)
        (tmp_path / name).mkdir()
        run = start(tmp_path / name, film, config, make_options(precision=name, epochs=4), device="cuda")()
        runs.append([losses["total"] for losses in run.losses()])
    assert runs[1] == pytest.approx(runs[0], rel=0.05)


def test_pairs_need_two_dives(make_trainer, film, config, options):
    with pytest.raises(TrainingError, match="fewer than two training dives"):
        make_trainer(FineCausal(config), film, options, dives=film.dives[:1])
