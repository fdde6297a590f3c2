import json
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from finecausal_cli.athlete.reader import AthleteReader
from finecausal_cli.model.config import ModelConfig
from finecausal_cli.model.finecausal import FineCausal
from finecausal_cli.model.outputs import Encoding
from finecausal_cli.retrieval.bank import Bank, Exemplar
from finecausal_cli.scoring.results import Stage
from finecausal_cli.scoring.scorer import Scorer
from finecausal_cli.video import worker
from finecausal_cli.video.worker import WorkerProcess
from finecausal_cli.video.writer import write_video
from finecausal_cli.weights import WeightsInfo
from tests.browser import CHROMIUM, Browser

FEATURES = 32


def _model(**switches) -> FineCausal:
    torch.manual_seed(0)
    model = FineCausal(ModelConfig(preset="compact", width=1 / 32, shared_trunk=True, frame_size=32, **switches))
    for module in model.modules():
        if isinstance(module, torch.nn.Linear | torch.nn.Conv1d):
            torch.nn.init.normal_(module.weight, std=2 / module.weight[0].numel() ** 0.5)
    return model.eval()


@pytest.fixture(scope="session")
def make_model():
    """Make the smallest real network, its weights large enough that pairs differ by execution units."""
    return _model


@pytest.fixture(scope="session")
def tiny_model():
    return _model()


@pytest.fixture(scope="session")
def tiny_bank() -> Bank:
    generator = torch.Generator().manual_seed(1)
    exemplars = tuple(
        Exemplar(
            id=f"e{place}",
            dive="107B" if place < 4 else "5253B",
            height_m=10.0,
            difficulty=3.0 + 0.1 * place,
            execution=14.0 + 2 * place,
        )
        for place in range(6)
    )
    return Bank("small", exemplars, Encoding(*torch.rand(2, 6, 9, FEATURES, generator=generator)), "w" * 64, "b" * 64)


@pytest.fixture(scope="session")
def make_scorer(tiny_bank):
    def make(model: FineCausal, reader=None, **info) -> Scorer:
        return Scorer(
            model,
            tiny_bank,
            info=WeightsInfo(**info),
            weights_name="tiny",
            weights_digest="w" * 64,
            device=torch.device("cpu"),
            reader=reader,
        )

    return make


@pytest.fixture(scope="session")
def film(tmp_path_factory) -> Path:
    """A clip of two seconds, 50 frames, in which a square falls."""
    frames = np.random.default_rng(0).integers(0, 90, (50, 36, 64, 3), np.uint8)
    for index in range(50):
        frames[index, index // 2 : index // 2 + 10, 26:38] = 240
    path = tmp_path_factory.mktemp("film") / "dive.mp4"
    write_video(path, frames, 25)
    return path


@pytest.fixture(scope="session")
def make_stages():
    """Make the stages of a verdict from the frames at which flight and entry start."""

    def make(flight: int, entry: int) -> tuple[Stage, ...]:
        borders = (0, flight, entry, 96)
        return tuple(
            Stage(
                name=name,
                start_frame=borders[place],
                end_frame=borders[place + 1],
                start_s=borders[place] / 25,
                end_s=borders[place + 1] / 25,
                difference=0.0,
                weight=(0.3, 0.5, 0.2)[place],
                contribution=0.0,
            )
            for place, name in enumerate(("takeoff", "flight", "entry"))
        )

    return make


class StillCamera:
    """A camera that does not move."""

    times_s = agreement = np.zeros(0)

    def at_times(self, times_s):
        return np.tile(np.eye(3), (len(times_s), 1, 1))

    def at(self, time_s):
        return np.eye(3)


@pytest.fixture(scope="session")
def make_flight():
    """Make a flight as the search gives it, in a picture of 320 x 180: 40 pixels a metre unless said."""

    def make(takeoff_s=2.0, entry_s=3.4, *, first_s=None, last_s=None, x=160.0, px_per_m=40.0, **more):
        first = takeoff_s if first_s is None else first_s
        last = entry_s if last_s is None else last_s
        times = np.linspace(first, last, 30)
        along = np.linspace(0, 1, 30)
        known = {
            "takeoff_s": takeoff_s,
            "entry_s": entry_s,
            "first_s": first,
            "last_s": last,
            "time_scale": 1.0,
            "confidence": 0.9,
            "shot": 0,
            "times_s": times,
            "centres": np.stack([x + 20 * along, 70 + 50 * along**2], axis=1),
            "px_per_m": np.full(30, px_per_m),
            "sizes": np.full(30, 60.0),
            "camera": StillCamera(),
            "drop_m": lambda takeoff_s, entry_s: None,
        }
        return SimpleNamespace(**{**known, **more})

    return make


@pytest.fixture(scope="session")
def make_search():
    """Make what a search gives."""

    def make(*flights, duration_s=6.0, shots=None, reason=None, notes=(), size=(180, 320)):
        return SimpleNamespace(
            flights=flights,
            shots=shots or ((0.0, duration_s),),
            duration_s=duration_s,
            size=size,
            reason=reason or (None if flights else "no_dive"),
            notes=notes,
        )

    return make


_ANSWERS = {}


@pytest.fixture
def read_once(monkeypatch):
    """Read a clip once a session: the same file, asked the same, has the same answer.

    Kept are the answers of reading processes, by content and options, and those of the network that reads bodies, by
    its weights and pictures; whatever comes before and after them is done every time. Errors are not kept.
    """
    run, read = WorkerProcess.run, AthleteReader._read

    def run_once(self, path, options, **how):
        if not Path(path).is_file():
            return run(self, path, options, **how)
        key = self._module, sha256(Path(path).read_bytes()).digest(), json.dumps(options, sort_keys=True)
        if key not in _ANSWERS:
            _ANSWERS[key] = run(self, path, options, **how)
        return _ANSWERS[key]

    def read_windows_once(self, windows, moved):
        shown = [each for each in (windows, moved) if each is not None]
        key = self.digest, windows.shape, *(sha256(np.ascontiguousarray(each)).digest() for each in shown)
        if not self.digest or key not in _ANSWERS:
            _ANSWERS[key] = read(self, windows, moved)
        return _ANSWERS[key]

    monkeypatch.setattr(WorkerProcess, "run", run_once)
    monkeypatch.setattr(AthleteReader, "_read", read_windows_once)


_BREAKS_AGAIN = """
import importlib, json, os, sys, time
from pathlib import Path
sys.path[:] = json.loads(sys.argv[1])
from finecausal_cli.video import pictures
deeds = {"hang": lambda: time.sleep(600), "crash": lambda: os.kill(os.getpid(), 11)}
def breaking(work):
    return lambda path, *how: deeds.get(Path(path).stem, lambda: None)() or work(path, *how)
pictures.open_source, pictures.open_footage = breaking(pictures.open_source), breaking(pictures.open_footage)
importlib.import_module(sys.argv[2]).serve()
"""


@pytest.fixture
def breaks_again(monkeypatch):
    """In a process, a file named ``hang`` or ``crash`` does so when it is decoded again for people, not before."""
    monkeypatch.setattr(worker, "_START", _BREAKS_AGAIN)


class NeverWaits(TorchDispatchMode):
    """Refuses what would make a program wait for a GPU: reading a number, and shapes that follow from values."""

    READS = ("aten._local_scalar_dense", "aten.nonzero.", "aten.masked_select", "aten._unique", "aten.unique")
    PICKS = ("aten.index.Tensor", "aten.index_put", "aten._index_put")

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        picks = str(func).startswith(self.PICKS) and any(
            each is not None and each.dtype == torch.bool for each in args[1]
        )
        if picks or str(func).startswith(self.READS):
            raise AssertionError(f"{func} waits for the device")
        return func(*args, **(kwargs or {}))


@pytest.fixture
def never_waits():
    """A context in which nothing may wait for the device that computes."""
    with pytest.raises(AssertionError, match="waits"), NeverWaits():
        torch.ones(2).sum().item()
    return NeverWaits


@pytest.fixture
def browser():
    """A headless Chromium; the test is skipped where there is none."""
    if CHROMIUM is None:
        pytest.skip("there is no Chromium")
    with Browser() as running:
        yield running
