"""Measure a GPU at work, one phase a run: ``python -m benchmarks.gpu PHASE DATASET``; ``benchmarks/gpu.sh`` runs all.

| phase | what is measured, on simulated dives (``finecausal simulate``) |
| --- | --- |
| ``pretrain`` | steps a second of pretraining, 16 snippets a step, and the share of time in which the GPU is busy |
| ``views`` | views a second of a frozen backbone, as ``train --freeze-backbone --views 2`` makes them |
| ``folder`` | clips a second of ``finecausal score FOLDER``, and the share of time in which the GPU is busy |
| ``cpu`` | on a CPU, encoding a clip by its execution plan over calling the network as it is |

A GPU is busy while a kernel runs, as ``nvidia-smi`` says up to five times a second; without a GPU, nothing is sampled.
Networks of the preset are untrained and the folder's exemplars made up: their arithmetic is that of trained ones.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import tempfile
import time
from bisect import bisect_right
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread
from typing import TYPE_CHECKING, Final

import torch
from rich.console import Console

from finecausal_cli.batch import BatchConfig
from finecausal_cli.batch.inputs import find_inputs
from finecausal_cli.batch.pipeline import score_jobs
from finecausal_cli.batch.records import RunSettings, identify
from finecausal_cli.data.cache import ClipCache
from finecausal_cli.data.datasets import read_dataset
from finecausal_cli.device import PlannedEncoder, available_cores, choose_plan, resolve_device
from finecausal_cli.model.config import FRAMES, PRESETS, SNIPPETS, ModelConfig
from finecausal_cli.model.finecausal import FineCausal
from finecausal_cli.model.outputs import Encoding
from finecausal_cli.retrieval.bank import Bank, Exemplar
from finecausal_cli.scoring import ScoreOptions
from finecausal_cli.scoring.scorer import Scorer, load_reader
from finecausal_cli.training import PretrainOptions
from finecausal_cli.training.batches import Views
from finecausal_cli.training.motion_pretraining import pretrain
from finecausal_cli.training.trainer import Callbacks
from finecausal_cli.weights import WeightsInfo

if TYPE_CHECKING:
    from collections.abc import Iterator

    from finecausal_cli.config import Precision

SAMPLE_S: Final = 0.2
FOLDER_S: Final = 12.0
"""Seconds after which no more of a folder is scored."""

WARM_STEPS: Final = 10
"""Steps of pretraining before the clock is started: kernels are chosen and processes started in them."""


@dataclass
class Busy:
    """What was sampled while a block ran.

    Attributes:
        percent: Samples of the GPU's utilisation, 0..100.
    """

    percent: list[int] = field(default_factory=list)

    def __str__(self) -> str:
        return f"GPU busy {sum(self.percent) / len(self.percent):.0f}%" if self.percent else "no GPU was sampled"


@contextmanager
def sampled(device: torch.device) -> Iterator[Busy]:
    """Sample how busy the GPU is while a block runs; clear ``percent`` to start anew."""
    busy, program = Busy(), shutil.which("nvidia-smi")
    if device.type != "cuda" or program is None:
        yield busy
        return
    query = [program, "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits", f"--id={device.index or 0}"]
    over = Event()

    def sample() -> None:
        while not over.wait(SAMPLE_S):
            told = subprocess.run(query, capture_output=True, text=True, check=False).stdout.strip()
            busy.percent += [int(told)] if told.isdigit() else []

    thread = Thread(target=sample)
    thread.start()
    try:
        yield busy
    finally:
        over.set()
        thread.join()


@dataclass(frozen=True)
class Setup:
    """What every phase needs.

    Attributes:
        dataset: Simulated dives.
        config: The network.
        device: Where it computes.
        precision: Of pretraining and views.
        steps: Steps of pretraining.
        workers: Processes that cut snippets.
    """

    dataset: Path
    config: ModelConfig
    device: torch.device
    precision: Precision
    steps: int
    workers: int


def measure_pretraining(setup: Setup, cache: Path) -> str:
    """Pretrain for some steps on a cache that is filled before."""
    marks: list[float] = []

    def step(*_: object) -> None:
        marks.append(time.perf_counter())
        if len(marks) == WARM_STEPS:
            busy.percent.clear()

    options = PretrainOptions(
        steps=setup.steps,
        dives=8,
        snippets=2,
        at_takeoff=0.4,
        save_every=setup.steps,
        precision="fp32" if setup.precision == "fp32" else "bf16",
        workers=setup.workers,
    )
    with sampled(setup.device) as busy, tempfile.TemporaryDirectory() as folder:
        pretrain(
            setup.dataset,
            Path(folder) / "run",
            config=setup.config,
            options=options,
            cache=cache,
            device=setup.device,
            callbacks=Callbacks(step=step),
        )
        # A GPU's steps are reported many at a time: the clock starts with the last of such.
        first = bisect_right(marks, marks[WARM_STEPS - 1 if len(marks) > WARM_STEPS else 0] + 1e-3) - 1
        rate = (len(marks) - 1 - first) / (marks[-1] - marks[first])
        return f"{rate:.1f} steps/s of 16 snippets in {setup.precision}, {setup.workers} workers, {busy}"


def measure_views(setup: Setup, cache: Path) -> str:
    """Make two views of every dive; clips are cached before."""
    clips = ClipCache(cache, geometry=setup.config.geometry, frame_size=setup.config.frame_size)
    dives = [dive for dive in read_dataset(setup.dataset) if dive.split != "test"]
    for dive in dives:
        clips.load(dive)
    model = FineCausal(setup.config).to(setup.device).eval()
    with sampled(setup.device) as busy:
        views = Views(model, clips, None, 2, setup.precision)
        started = time.perf_counter()
        for _ in views.make(dives):
            pass
        rate = 2 * len(dives) / (time.perf_counter() - started)
        return f"{rate:.0f} views/s in {setup.precision}, {len(dives)} dives, {busy}"


def made_up_scorer(config: ModelConfig, device: torch.device) -> Scorer:
    """Return a scorer with an untrained network and ten exemplars of noise."""
    torch.manual_seed(0)
    plan = choose_plan("auto", device, config.trunk)
    exemplars = tuple(
        Exemplar(id=f"e{index}", dive="107B", height_m=10.0, difficulty=3.0, execution=20.0 + index / 2)
        for index in range(10)
    )
    stored = Encoding(*torch.rand(2, 10, SNIPPETS, config.features))
    return Scorer(
        FineCausal(config).to(device).eval().for_inference(plan),
        Bank("made up", exemplars, stored, "w" * 64, "b" * 64),
        info=WeightsInfo(),
        weights_name="untrained",
        weights_digest="w" * 64,
        device=device,
        plan=plan,
        reader=load_reader(device),
    )


def measure_folder(setup: Setup, weights: str | None) -> str:
    """Score the videos of the dataset, once its processes run."""
    device = setup.device
    scorer = made_up_scorer(setup.config, device) if weights is None else Scorer.load(weights, device=str(device))
    items = find_inputs(
        [str(setup.dataset / "videos")], ScoreOptions(attention=False, dive="107B", height_m=10.0)
    ).items
    jobs = [identify(item, RunSettings.of(scorer)) for item in items]
    with sampled(device) as busy:
        rows = score_jobs(scorer, jobs, BatchConfig())
        next(rows)
        busy.percent.clear()
        started = time.perf_counter()
        kinds = []
        for outcome in rows:
            kinds.append(outcome.row.status)
            if time.perf_counter() - started > FOLDER_S:
                break
        rate = len(kinds) / (time.perf_counter() - started)
        rows.close()  # type: ignore[attr-defined]
        name, scored = weights or setup.config.preset, kinds.count("scored")
        return f"{name}: {rate:.1f} clips/s, {scored} of {len(kinds)} scored, {available_cores()} cores, {busy}"


def measure_cpu(setup: Setup, repeats: int = 12) -> str:
    """Compare the processor time of encoding by the plan and of calling the network, by turns; the shortest of each."""
    cpu, size = torch.device("cpu"), setup.config.frame_size
    model = FineCausal(setup.config).eval()
    folded = model.for_inference()
    plan = choose_plan("auto", cpu, setup.config.trunk)
    encoder = PlannedEncoder(model.for_inference(plan).encode, plan, cpu)
    clip = torch.rand(1, 3, FRAMES, size, size)

    def seconds(planned: bool) -> float:
        started = time.process_time()
        with torch.inference_mode():
            (encoder if planned else folded.encode)(clip)
        return time.process_time() - started

    times = [(seconds(False), seconds(True)) for _ in range(repeats + 1)][1:]
    plain, planned = (min(each) for each in zip(*times, strict=True))
    return (
        f"{setup.config.preset} on {torch.get_num_threads()} threads: {planned:.3f} s a clip, {planned / plain:.3f} x"
    )


def main() -> None:
    """Measure a phase and print it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__.splitlines()[0])
    parser.add_argument("phase", choices=("pretrain", "views", "folder", "cpu"))
    parser.add_argument("dataset", type=Path, help="simulated dives")
    parser.add_argument("--preset", default="finecausal", choices=[*PRESETS])
    parser.add_argument("--weights", help="trained weights for the folder, in place of an untrained preset")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="fp32", choices=("fp32", "bf16"))
    parser.add_argument("--steps", type=int, default=400, help="of pretraining")
    parser.add_argument("--cache", type=Path, help="clip cache; a new one by default")
    parser.add_argument("--toy", action="store_true", help="a small network of this kind, for a rehearsal")
    args = parser.parse_args()
    config = PRESETS[args.preset]
    if args.toy:
        config = config.model_copy(update={"width": 1 / 32, "frame_size": 32, "shared_trunk": True})
    device = resolve_device(args.device)
    workers = max(1, available_cores() - 2) if device.type == "cuda" else 0
    setup = Setup(args.dataset, config, device, args.precision, args.steps, workers)
    with tempfile.TemporaryDirectory() as folder:
        cache = args.cache or Path(folder)
        measures = {
            "pretrain": lambda: measure_pretraining(setup, cache),
            "views": lambda: measure_views(setup, cache),
            "folder": lambda: measure_folder(setup, args.weights),
            "cpu": lambda: measure_cpu(setup),
        }
        Console(width=140).print(f"{args.phase}: {measures[args.phase]()}")


if __name__ == "__main__":
    main()
