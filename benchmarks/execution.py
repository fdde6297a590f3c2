"""Measure execution plans on this machine: ``python -m benchmarks.execution --preset finecausal --device cuda``.

Each plan encodes the same batch of clips. Printed: milliseconds a clip, arithmetic a second and its share of what a
matrix product of that precision reaches here, seconds before the first batch, and how far encodings are from fp32.
With ``--weights`` and ``--dives``, the largest difference of a score from fp32 over these dives is measured too:
``--precision auto`` takes the fastest plan that keeps scores within 0.1 points. ``--write`` enters the plans of a GPU
into the table that it reads (``finecausal_cli/execution.json``), for example:

    finecausal simulate runs/dives --count 200
    python -m benchmarks.execution --weights compact --dives runs/dives/dives.csv --device cuda --write
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Literal

import torch
from rich.console import Console
from rich.table import Table
from torch.utils.flop_counter import FlopCounterMode

from finecausal_cli.atomic import atomic_write
from finecausal_cli.batch import BatchConfig
from finecausal_cli.batch.inputs import find_inputs
from finecausal_cli.batch.pipeline import ReadJob, run_jobs
from finecausal_cli.batch.records import RunSettings, identify
from finecausal_cli.device import (
    AUTOCAST,
    TABLE,
    ExecutionPlan,
    MeasuredPlan,
    PlannedEncoder,
    read_table,
    resolve_device,
)
from finecausal_cli.model.config import FRAMES, PRESETS
from finecausal_cli.model.finecausal import FineCausal
from finecausal_cli.scoring import ScoreOptions
from finecausal_cli.scoring.scorer import Scorer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from finecausal_cli.config import Precision
    from finecausal_cli.video import Clip

MATRIX: Final = {"cpu": 512, "cuda": 8192}
"""Side of the matrices whose product is the limit, by the kind of device."""

Form = Literal["volumes", "points", "planes"]

PLAIN: Final = ExecutionPlan()
BELOW: Final = ExecutionPlan("bf16", cast_once=True)


def candidates(device: torch.device, backbone: str, *, compiled: bool) -> list[ExecutionPlan]:
    """Return the plans to measure of a kind of backbone, the plain one first."""
    is_gpu, has_volumes = device.type == "cuda", backbone == "i3d"
    full = replace(PLAIN, tf32=is_gpu)
    if compiled:
        form: Form = "planes" if has_volumes else "volumes"
        return [PLAIN, *(replace(plan, compiled=True, convolutions=form) for plan in (BELOW, full))]
    plans = [PLAIN, full, ExecutionPlan("bf16"), BELOW]
    if has_volumes:
        forms: tuple[Form, ...] = ("planes", "points")
        plans += [replace(plan, convolutions=each) for each in forms for plan in (BELOW, full)]
    plans += [replace(plan, layout="contiguous") for plan in (BELOW, full)]
    if is_gpu:
        plans += [replace(plan, replayed=True) for plan in plans[3:6]]
    return list(dict.fromkeys(plans))


@dataclass(frozen=True)
class Measured:
    """A plan on one network.

    Attributes:
        plan: The plan.
        startup_s: Seconds of the first batch: choosing kernels, compiling, recording.
        batch_s: Seconds of a batch.
        single_s: Seconds of a single clip.
        error: Norm of the difference of the encodings from those of the plain plan, over their norm.
        score_difference: Largest difference of a score from the plain plan's, points; None where none was measured.
    """

    plan: ExecutionPlan
    startup_s: float
    batch_s: float
    single_s: float
    error: float
    score_difference: float | None = None


def _seconds(work: Callable[[], object], device: torch.device, least_s: float = 0.3) -> float:
    """Return the time of a call: the mean over at least so many seconds."""

    def finish() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    work()
    finish()
    started, calls = time.perf_counter(), 0
    while time.perf_counter() - started < least_s:
        work()
        calls += 1
        finish()
    return (time.perf_counter() - started) / calls


def matrix_limit(precision: Precision, device: torch.device, *, tf32: bool) -> float:
    """Return the operations a second of a product of large square matrices."""
    side = MATRIX["cuda" if device.type == "cuda" else "cpu"]
    ExecutionPlan(precision, tf32=tf32).apply(device)
    dtype = AUTOCAST.get(precision, torch.float32)
    a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    return 2 * side**3 / _seconds(lambda: a @ b, device)


def operations(model: FineCausal) -> int:
    """Return the additions and multiplications of encoding one clip."""
    size = model.config.frame_size
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        model.encode(torch.zeros(1, 3, FRAMES, size, size, device=next(model.parameters()).device))
    return int(counter.get_total_flops())


def measure(
    model: FineCausal,
    plans: Sequence[ExecutionPlan],
    batch: int,
    device: torch.device,
    differs: Callable[[ExecutionPlan], float] | None = None,
) -> Iterator[Measured]:
    """Measure plans one after the other; the first one is what encodings are compared with.

    Args:
        model: The network, on the device, in evaluation mode.
        plans: The plans.
        batch: Clips a batch.
        device: Where it computes.
        differs: Returns the largest difference of a score under a plan.
    """
    size = model.config.frame_size
    clips = torch.randn(batch, 3, FRAMES, size, size, device=device, generator=torch.Generator(device).manual_seed(0))
    expected: torch.Tensor | None = None
    for plan in plans:
        plan.apply(device)
        encoder = PlannedEncoder(model.for_inference(plan).encode, plan, device)
        started = time.perf_counter()
        video = encoder(clips).video
        startup_s = time.perf_counter() - started if device.type == "cpu" else _until(started, device)
        expected = video if expected is None else expected
        error = float((video - expected).norm() / expected.norm())
        batch_s = _seconds(lambda encoder=encoder: encoder(clips), device)  # type: ignore[misc]
        single_s = _seconds(lambda encoder=encoder: encoder(clips[:1]), device)  # type: ignore[misc]
        difference = None if differs is None else differs(plan)
        yield Measured(plan, startup_s, batch_s, single_s, error, difference)
        del encoder
        if device.type == "cuda":
            torch.cuda.empty_cache()


def _until(started: float, device: torch.device) -> float:
    torch.cuda.synchronize(device)
    return time.perf_counter() - started


class ScoredDives:
    """Dives that were read once, to be scored under one plan after the other.

    Args:
        weights: Name or folder of weights that read pictures.
        dives: A manifest or a folder of videos.
        limit: Most dives.
        device: Where to compute.
    """

    def __init__(self, weights: str, dives: str, limit: int, device: torch.device) -> None:
        self._scorer = Scorer.load(weights, device=str(device), precision="fp32")
        if self._scorer.reads_bodies:
            raise SystemExit(f"{weights} read bodies; their backbone takes no time")
        items = find_inputs([dives], ScoreOptions(attention=False, force=True)).items[:limit]
        jobs = [identify(item, RunSettings.of(self._scorer)) for item in items]
        viewing = replace(self._scorer.viewing, window_size=None)
        found = run_jobs(iter(jobs), viewing, _clips_of, BatchConfig(), is_cpu=device.type == "cpu")
        self._dives = [each for each in found if each is not None]
        self._expected = self.scores(PLAIN)

    @property
    def model(self) -> FineCausal:
        """The network, as it is on the disk."""
        from finecausal_cli.weights.hub import resolve_weights
        from finecausal_cli.weights.store import load_weights

        return load_weights(resolve_weights(self._scorer.weights[0]), device=self._scorer.device).model.eval()

    def __len__(self) -> int:
        return len(self._dives)

    def scores(self, plan: ExecutionPlan) -> list[float]:
        """Return the value of every dive, points or marks."""
        plan.apply(self._scorer.device)
        name, digest = self._scorer.weights
        scorer = Scorer(
            self.model.for_inference(plan),
            self._scorer.bank,
            info=self._scorer.info,
            weights_name=name,
            weights_digest=digest,
            device=self._scorer.device,
            plan=plan,
        )
        results = []
        for first in range(0, len(self._dives), 16):
            clips, options = zip(*self._dives[first : first + 16], strict=True)
            results += [each.value for each in scorer.score_clips(clips, options) if not isinstance(each, Exception)]
        return results

    def difference(self, plan: ExecutionPlan) -> float:
        """Return the largest difference of a score from fp32, points."""
        return max(abs(a - b) for a, b in zip(self.scores(plan), self._expected, strict=True))


def _clips_of(reads: Sequence[ReadJob]) -> list[tuple[Clip, ScoreOptions] | None]:
    return [
        None
        if isinstance(read.dive, Exception) or not read.dive.clips
        else (read.dive.clips[0].clip, read.job.item.options)
        for read in reads
    ]


def table(
    rows: Sequence[Measured], batch: int, flops: int, limits: Mapping[tuple[Precision, bool], float], title: str
) -> Table:
    """Return the measurement as a table."""
    shown = Table(
        "plan", "ms a clip", "TFLOP/s", "of matrix", "alone, ms", "first batch, s", "error", "points", title=title
    )
    for row in rows:
        rate = flops * batch / row.batch_s
        points = "" if row.score_difference is None else f"{row.score_difference:.4f}"
        shown.add_row(
            str(row.plan),
            f"{1000 * row.batch_s / batch:.2f}",
            f"{rate / 1e12:.3g}",
            f"{rate / limits[row.plan.precision, row.plan.tf32]:.0%}",
            f"{1000 * row.single_s:.2f}",
            f"{row.startup_s:.1f}",
            f"{row.error:.1e}",
            points,
        )
    return shown


def choice(rows: Sequence[MeasuredPlan]) -> tuple[str, float]:
    """Return what ``auto`` takes in words, and its time over that of the fastest other precision."""
    safe = [row for row in rows if row.is_safe]
    taken = min(safe, key=lambda row: row.ms_per_clip)
    others = [row.ms_per_clip for row in rows if row.plan.precision != taken.plan.precision]
    return f"{taken.plan}: {taken.ms_per_clip:.2f} ms a clip", taken.ms_per_clip / min(
        others, default=taken.ms_per_clip
    )


def write(gpu: str, backbone: str, rows: Sequence[MeasuredPlan]) -> None:
    """Replace the plans of a GPU and backbone in the table."""
    known = {name: {kind: [*each] for kind, each in kinds.items()} for name, kinds in read_table().items()}
    known.setdefault(gpu, {})[backbone] = list(rows)
    lines = [
        f' "{name}": {{\n'
        + ",\n".join(
            f'  "{kind}": [\n' + ",\n".join(f"   {json.dumps(row.to_dict())}" for row in each) + "\n  ]"
            for kind, each in kinds.items()
        )
        + "\n }"
        for name, kinds in known.items()
    ]
    with atomic_write(TABLE, "the table of plans") as part:
        part.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


def main() -> None:
    """Measure, print, and write the table if told to."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.execution", description=__doc__.splitlines()[0])
    parser.add_argument("--preset", default="finecausal", choices=[*PRESETS], help="untrained network to measure")
    parser.add_argument("--weights", help="measure these weights instead, with --dives also their scores")
    parser.add_argument("--dives", help="manifest or folder of videos to score under every plan")
    parser.add_argument("--limit", type=int, default=200, help="most dives")
    parser.add_argument("--batch", type=int, default=16, help="clips a batch")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--compiled", action="store_true", help="measure compiled plans, and no others")
    parser.add_argument("--seconds", type=float, help="begin no further plan after so long")
    parser.add_argument("--toy", action="store_true", help="a small network, or of weights few plans: a rehearsal")
    parser.add_argument("--write", action="store_true", help="enter the plans into the table of this GPU")
    args = parser.parse_args()
    device = resolve_device(args.device)
    gpu = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    dives = None if args.weights is None else ScoredDives(args.weights, args.dives, args.limit, device)
    if dives is None:
        torch.manual_seed(0)
        config = PRESETS[args.preset]
        config = (
            config.model_copy(update={"width": 1 / 32, "frame_size": 32, "shared_trunk": True}) if args.toy else config
        )
        model = FineCausal(config).to(device).eval()
    else:
        model = dives.model
    flops, plans = operations(model), candidates(device, model.config.trunk, compiled=args.compiled)
    plans = plans[:3] if args.toy and dives is not None else plans
    pairs = dict.fromkeys((plan.precision, plan.tf32) for plan in plans)
    limits = {(name, tf32): matrix_limit(name, device, tf32=tf32) for name, tf32 in pairs}
    console, rows, started = Console(width=140), [], time.perf_counter()
    for row in measure(model, plans, args.batch, device, None if dives is None else dives.difference):
        rows.append(row)
        console.print(f"{row.plan}: {1000 * row.batch_s / args.batch:.2f} ms a clip", highlight=False)
        if args.seconds is not None and time.perf_counter() - started > args.seconds:
            console.print(f"out of time: {len(plans) - len(rows)} plans are not measured")
            break
    title = f"{gpu}: {args.weights or args.preset}, {flops / 1e9:.3g} GFLOP a clip, batches of {args.batch}"
    console.print(table(rows, args.batch, flops, limits, title))
    for (name, tf32), limit in limits.items():
        console.print(f"matrix product, {name}{' (TF32)' if tf32 else ''}: {limit / 1e12:.3g} TFLOP/s")
    measured = [
        MeasuredPlan(row.plan, round(1000 * row.batch_s / args.batch, 3), row.score_difference, round(row.startup_s, 1))
        for row in rows
    ]
    if device.type == "cuda":
        words, ratio = choice(measured)
        console.print(f"auto by this measurement: {words}, {ratio:.2f} x the fastest of another precision")
    else:
        console.print("auto on a CPU: fp32, whatever is faster")
    if dives is not None:
        console.print(f"scores: {len(dives)} dives")
    if args.write:
        if device.type != "cuda":
            parser.error("a CPU computes in fp32 whatever is faster, so that scores do not depend on the machine")
        write(gpu, model.config.trunk, measured)


if __name__ == "__main__":
    main()
