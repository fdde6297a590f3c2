import json
import shutil

import pytest
import torch

from finecausal_cli.errors import TrainingError, VideoError
from finecausal_cli.evaluation import EvaluateOptions
from finecausal_cli.evaluation.run import BEST, LAST, evaluate
from finecausal_cli.training.checkpoint import LOG_NAME, RUN_NAME
from finecausal_cli.training.pairs import LAST_NAME
from finecausal_cli.training.run import train
from finecausal_cli.training.trainer import BOARD_NAME, Callbacks
from finecausal_cli.weights import WeightsInfo
from finecausal_cli.weights.store import load_weights

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def dataset(small_dataset):
    return small_dataset


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def run(dataset, config, make_options, cache):
    def start(folder, **given):
        settings = {
            "config": config,
            "options": make_options(epochs=2, group=4, save_every=1),
            "cache": cache,
            "device": CPU,
            **given,
        }
        return train(settings.pop("dataset", dataset), folder, **settings)

    return start


class Log:
    """Everything a run tells."""

    def __init__(self, *, stop_at=None):
        self.data, self.decoded, self.steps, self.validated, self.cached = [], 0, [], [], []
        self._stop_at = stop_at
        self.callbacks = Callbacks(
            data=lambda *counts: self.data.append(counts),
            decoded=self._decoded,
            cached=self.cached.append,
            step=self._step,
            validated=self.validated.append,
        )

    def _decoded(self):
        self.decoded += 1

    def _step(self, progress, losses):
        if progress.step == self._stop_at:
            raise KeyboardInterrupt
        self.steps.append(progress.step)


@pytest.fixture(scope="module")
def finished(run, tmp_path_factory):
    folder, log = tmp_path_factory.mktemp("runs") / "run", Log()
    assert run(folder, callbacks=log.callbacks) == folder / BEST
    return folder, log


def test_a_run_tells_what_it_does(finished):
    _, log = finished
    assert log.data == [(4, 3, 2)]
    assert log.decoded == 7  # neither the test dive, which cannot be read, nor the one without a score
    assert [size.clips for size in log.cached] == [7]
    assert log.steps == [1, 2]
    assert [summary.dives for summary in log.validated] == [3, 3]


def test_the_weights_say_where_they_come_from(finished, dataset, config):
    folder, log = finished
    loaded = load_weights(folder / BEST)
    assert loaded.config == config
    info = WeightsInfo.read(loaded.info, folder)
    assert info.note == f"trained on 4 dives of the dataset {dataset.name}"
    assert info.training["dives"] == {"train": 4, "val": 3, "test": 1}
    epoch = info.training["epoch"]
    assert info.training["validation"] == log.validated[epoch - 1].figures()
    best = [summary.rho for summary in log.validated]
    assert best[epoch - 1] == max(best)


def test_the_interval_covers_the_validation_dives(finished, dataset, cache):
    folder, _ = finished
    loaded = load_weights(folder / BEST)
    interval = WeightsInfo.read(loaded.info, folder).interval
    found = evaluate(dataset, folder / BEST, EvaluateOptions(split="val", voters=5), cache=cache, device=CPU)
    errors = [abs(one.predicted - one.score) / one.difficulty for one in found.predictions]
    # ceil((3 + 1) * 0.9) = 4 is more than there are: the largest.
    assert interval.level == 0.9
    assert interval.execution_half_width == pytest.approx(max(errors), abs=1e-4)


def test_the_folder_holds_the_run_its_log_and_its_checkpoint(finished, config, make_options):
    folder, _ = finished
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        [BEST, LAST, RUN_NAME, LOG_NAME, LAST_NAME, BOARD_NAME]
    )
    description = json.loads((folder / RUN_NAME).read_text())
    assert description["config"] == config.model_dump()
    assert description["options"] == make_options(epochs=2, group=4, save_every=1).to_dict()
    assert description["versions"]["torch"] == torch.__version__
    assert len((folder / LOG_NAME).read_text().splitlines()) == 2


def test_a_run_is_not_started_over_another(finished, run):
    folder, _ = finished
    before = (folder / LAST_NAME).read_bytes()
    with pytest.raises(TrainingError, match="a run is already here"):
        run(folder)
    assert (folder / LAST_NAME).read_bytes() == before


@pytest.mark.parametrize("stop_at", [1, 2])  # before the first checkpoint, and after it
def test_an_interrupted_and_resumed_run_gives_the_same_weights(finished, run, make_options, tmp_path, stop_at):
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "run", callbacks=Log(stop_at=stop_at).callbacks)
    assert (tmp_path / "run" / LAST_NAME).exists() == (stop_at == 2)
    log = Log()
    # A resumed run takes its own options and network, not those it is given.
    best = run(tmp_path / "run", resume=True, callbacks=log.callbacks, options=make_options(epochs=50, seed=99))
    assert log.steps == [1, 2][stop_at - 1 :]
    expected, found = load_weights(finished[0] / BEST), load_weights(best)
    assert found.digest == expected.digest
    assert found.info == expected.info
    assert (tmp_path / "run" / LOG_NAME).read_text() == (finished[0] / LOG_NAME).read_text()


def test_a_finished_run_resumed_stays_as_it_is(finished, run):
    folder, _ = finished
    before = load_weights(folder / BEST)
    log = Log()
    run(folder, resume=True, callbacks=log.callbacks)
    after = load_weights(folder / BEST)
    assert (log.steps, after.digest, after.info) == ([], before.digest, before.info)


def test_a_run_is_not_resumed_on_other_labels(finished, run, dataset):
    folder, _ = finished
    text = (dataset / "dives.csv").read_text()
    other = dataset / "other.csv"
    for changed in (text.replace("0.mp4,45,", "0.mp4,46,"), text.replace("2.mp4,53,3.0", "2.mp4,53,3.1")):
        assert changed != text
        other.write_text(changed)
        with pytest.raises(TrainingError, match="the run was started on other dives or labels"):
            run(folder, resume=True, dataset=other)


def test_there_must_be_a_run_to_resume(run, tmp_path):
    with pytest.raises(TrainingError, match="no run to resume"):
        run(tmp_path / "none", resume=True)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"config": {}, "options": {"epochs": 0}, "labels_sha256": "x"}']
)
def test_a_damaged_description_is_refused(run, tmp_path, text):
    (tmp_path / RUN_NAME).write_text(text)
    with pytest.raises(TrainingError, match=r"run\.json: a damaged run description"):
        run(tmp_path, resume=True)


def test_a_run_that_could_not_begin_may_be_begun_again(run, dataset, tmp_path, make_options):
    """Nothing is left behind that says that a run is here."""
    broken = dataset / "unreadable.csv"
    rows = (
        (dataset / "dives.csv").read_text().replace("broken.mp4,60,3.0,107B,,,,test", "broken.mp4,60,3.0,107B,,,,train")
    )
    broken.write_text(rows)
    with pytest.raises(VideoError, match=r"broken\.mp4"):
        run(tmp_path / "run", dataset=broken)
    with pytest.raises(TrainingError, match="no tracker 'paper'"):
        run(tmp_path / "run", options=make_options(trackers=("paper",)))
    assert not (tmp_path / "run" / RUN_NAME).exists()


@pytest.mark.thorough
def test_without_a_cache_nothing_is_kept_and_the_numbers_are_the_same(finished, run, tmp_path, make_options):
    log = Log()
    best = run(tmp_path / "run", cache=None, callbacks=log.callbacks)
    assert load_weights(best).digest == load_weights(finished[0] / BEST).digest
    assert (log.decoded, log.cached) == (0, [])


def test_what_a_run_began_from_may_be_gone_when_it_is_resumed(finished, run, make_options, tmp_path):
    """The checkpoint holds all that the weights to start from gave."""
    shutil.copytree(finished[0] / BEST, tmp_path / "first")
    options = make_options(epochs=2, group=4, save_every=1, init=str(tmp_path / "first"))
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "run", options=options, callbacks=Log(stop_at=2).callbacks)
    assert json.loads((tmp_path / "run" / RUN_NAME).read_text())["init"]["from"] == "weights"
    shutil.rmtree(tmp_path / "first")
    log = Log()
    run(tmp_path / "run", resume=True, callbacks=log.callbacks)
    assert log.steps == [2]


def test_dives_to_validate_with_are_needed(run, dataset, tmp_path):
    few = dataset / "few.csv"
    few.write_text("video,score,difficulty,split\n0.mp4,50,3,train\n1.mp4,51,3,train\n2.mp4,52,3,val\n")
    with pytest.raises(TrainingError, match="2 training and 1 validation dives with a score"):
        run(tmp_path / "run", dataset=few)
    assert not (tmp_path / "run").exists()
