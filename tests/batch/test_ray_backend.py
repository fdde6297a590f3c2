"""What of a cluster needs no cluster: addresses, how many actors, the bundle, an actor's answers."""

from __future__ import annotations

import pickle
import shutil
import sys
from pathlib import Path

import pyarrow as pa
import pytest

from finecausal_cli import __version__
from finecausal_cli.batch import BatchConfig
from finecausal_cli.batch.inputs import Item
from finecausal_cli.batch.ray_backend import ModelBundle, ScoringActor, check_address, connect, plan_pool
from finecausal_cli.batch.records import RunSettings, identify
from finecausal_cli.config import RuntimeConfig
from finecausal_cli.errors import FinecausalError, UsageError, WeightsError
from finecausal_cli.scoring import ScoreOptions
from finecausal_cli.scoring.scorer import Scorer

ROOT = Path(__file__).resolve().parents[2]
COMPACT = ROOT / "weights" / "compact"


@pytest.mark.parametrize(
    ("address", "endpoint"),
    [("auto", None), ("head:6379", ("head", 6379)), ("10.0.0.1:1", ("10.0.0.1", 1)), ("[::1]:6379", ("::1", 6379))],
)
def test_an_address_is_auto_or_host_and_port(address, endpoint):
    assert check_address(address) == endpoint


@pytest.mark.parametrize(
    "address", ["", "head", ":6379", "head:", "head:x", "head:0", "head:65536", "ray://head:10001"]
)
def test_any_other_address_is_wrong_usage(address):
    with pytest.raises(UsageError, match="--cluster"):
        check_address(address)


@pytest.mark.parametrize(
    ("resources", "options", "size", "device", "gpus_each", "batch_size"),
    [
        ({"CPU": 6.0}, {}, 6, "cpu", 0.0, 1),
        ({"CPU": 6.0}, {"workers": 2, "batch_size": 3}, 2, "cpu", 0.0, 3),
        ({"CPU": 32.0, "GPU": 2.0}, {}, 8, "cuda", 0.25, 8),
        ({"CPU": 6.0, "GPU": 2.0}, {}, 6, "cuda", 0.3333, 8),
        ({"CPU": 1.0, "GPU": 2.0}, {}, 2, "cuda", 1.0, 8),
        ({"CPU": 32.0, "GPU": 2.0}, {"workers": 3}, 3, "cuda", 0.5, 8),
        ({"CPU": 32.0, "GPU": 2.0}, {"device": "cpu"}, 32, "cpu", 0.0, 1),
    ],
)
def test_actors_take_the_gpus_if_there_are_any(resources, options, size, device, gpus_each, batch_size):
    runtime = RuntimeConfig(device=options.pop("device", "auto"))
    pool = plan_pool(resources, BatchConfig(runtime=runtime, **options))
    assert (pool.size, pool.device, pool.gpus_each, pool.batch_size) == (size, device, gpus_each, batch_size)
    assert pool.size * pool.gpus_each <= resources.get("GPU", 0.0)


def test_gpus_that_are_not_there_and_a_certain_gpu_are_wrong_usage():
    with pytest.raises(UsageError, match="no GPU"):
        plan_pool({"CPU": 4.0}, BatchConfig(runtime=RuntimeConfig(device="cuda")))
    with pytest.raises(UsageError, match="--device"):
        BatchConfig(cluster="auto", runtime=RuntimeConfig(device="cuda:1"))


def test_without_ray_one_line_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UsageError, match=r"pip install 'finecausal-cli\[ray\]'") as caught, connect("127.0.0.1:6379"):
        pass
    assert caught.value.exit_code == 2


@pytest.fixture(scope="module")
def bundle():
    return ModelBundle.pack("compact")


@pytest.fixture(scope="module")
def here():
    return Scorer.load("compact", device="cpu")


def test_a_bundle_holds_what_judging_needs_and_no_more(bundle):
    assert set(bundle.weights) == {"config.json", *(file.name for file in COMPACT.glob("*.safetensors"))}
    ((name, files),) = bundle.banks
    assert name == "bundled"
    assert set(files) == {"bank.json", *(file.name for file in (COMPACT / "bank").glob("*.safetensors"))}
    assert all(content == (COMPACT / name).read_bytes() for name, content in bundle.weights.items())


def test_what_is_unpacked_judges_with_the_same_and_under_the_same_names(bundle, here):
    there = bundle.unpack(device="cpu", precision="fp32")
    assert RunSettings.of(there) == RunSettings.of(here)
    assert (there.weights, there.bank.name) == (here.weights, here.bank.name)
    assert not there.bank_folder.exists()


def test_a_folder_without_a_name_of_its_own_is_packed_too(tmp_path, monkeypatch):
    shutil.copytree(COMPACT, tmp_path / "w")
    monkeypatch.chdir(tmp_path / "w")
    packed = ModelBundle.pack(".")
    assert RunSettings.of(packed.unpack(device="cpu", precision="fp32")).weights_digest
    with pytest.raises(WeightsError):
        ModelBundle.pack("nowhere")


class _Store:
    """Stands in for the object store: an actor asks it for the bundle."""

    def __init__(self, monkeypatch):
        monkeypatch.setattr("finecausal_cli.batch.ray_backend._import_ray", lambda: self)

    @staticmethod
    def get(reference):
        return reference


def asked(job):
    return pa.table({"index": [7], "job": [pickle.dumps(job)]})


def received(answer):
    return pickle.loads(answer["answer"][0].as_py())  # noqa: S301 - of our own making


@pytest.mark.thorough
def test_an_actor_answers_with_rows_and_never_raises_for_a_clip(bundle, here, monkeypatch, tmp_path):
    _Store(monkeypatch)
    setting = RunSettings.of(here)
    actor = ScoringActor(bundle, setting, __version__, "cpu", 60.0)
    good = str(ROOT / "examples" / "dives" / "107B-10m-good.mp4")
    options = ScoreOptions(dive="107B", height_m=10.0, attention=False)
    answer = actor(asked(identify(Item("name", good, options), setting)))
    assert answer["index"].to_pylist() == [7]
    (row,) = received(answer)
    assert (row.source, row.status) == ("name", "scored")
    assert row.score == pytest.approx(here.score(good, options).score, abs=1e-4)
    gone = str(tmp_path / "gone.mp4")
    (row,) = received(actor(asked(identify(Item(gone, gone, options), setting))))
    assert (row.status, row.error_kind) == ("failed", "missing")
    actor._scorer.close()


@pytest.mark.parametrize(
    ("version", "digest", "says"),
    [("0.0.0", None, "0.0.0 sent the work"), (__version__, "0" * 64, "changed while they were sent")],
)
def test_an_actor_that_would_judge_otherwise_says_so_instead_of_rows(bundle, here, monkeypatch, version, digest, says):
    _Store(monkeypatch)
    setting = RunSettings.of(here)
    actor = ScoringActor(
        bundle, RunSettings(digest or setting.weights_digest, setting.bank_digest, "fp32"), version, "cpu", 9.0
    )
    problem = received(actor(asked(None)))
    assert isinstance(problem, FinecausalError)
    assert says in str(problem)
