"""Where the network computes, and how: the device, and the execution plan that was measured to be its fastest."""

from __future__ import annotations

import json
import logging
import os
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, Final, Generic, Literal, Protocol, TypeVar

import torch

from finecausal_cli.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from finecausal_cli.config import Precision

logger = logging.getLogger(__name__)


class _Tensors(Protocol):
    """A record of tensors, such as ``Encoding``."""

    def map(self, function: Callable[[torch.Tensor], torch.Tensor]) -> Any: ...


Recorded = TypeVar("Recorded", bound=_Tensors)

AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}
"""What backbones compute in below fp32."""


def resolve_device(name: str) -> torch.device:
    """Turn ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps`` into a device that is there.

    Raises:
        UsageError: No such device, or it is not available here.
    """
    if name == "auto":
        has_mps = torch.backends.mps.is_available()
        name = "cuda" if torch.cuda.is_available() else "mps" if has_mps else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UsageError(f"no device {name!r}", where="--device", hint="auto, cpu, cuda, cuda:N or mps") from None
    is_there = {
        "cpu": True,
        "cuda": torch.cuda.is_available() and (device.index or 0) < torch.cuda.device_count(),
        "mps": torch.backends.mps.is_available(),
    }
    if not is_there.get(device.type, False):
        raise UsageError(f"device {name!r} is not available here", where="--device", hint="see: finecausal doctor")
    logger.info("device: %s", device)
    return device


@dataclass(frozen=True, slots=True)
class ExecutionPlan:
    """How backbones compute on a device. Every plan computes the same function, to the rounding of its precision.

    Attributes:
        precision: What they compute in.
        tf32: Multiply fp32 numbers in TF32 (10 bits of mantissa, fp32 sums), on GPUs that have it.
        convolutions: Form of 3-D convolutions: ``volumes`` as they are; ``points``, those of 1 x 1 x 1 as matrix
            products; ``planes``, the others too, as 2-D convolutions over frames stacked with their neighbours.
        layout: Memory layout of kernels and maps.
        cast_once: Convert weights when they are loaded; otherwise autocast converts them in every pass.
        compiled: Compile the backbones with ``torch.compile``, once for each size of batch.
        replayed: Record the kernels of small batches and launch them as one.
    """

    precision: Precision = "fp32"
    tf32: bool = False
    convolutions: Literal["volumes", "points", "planes"] = "volumes"
    layout: Literal["channels_last", "contiguous"] = "channels_last"
    cast_once: bool = False
    compiled: bool = False
    replayed: bool = False

    def __str__(self) -> str:
        flags = {"cast once": self.cast_once, "compiled": self.compiled, "replayed": self.replayed}
        words = [self.convolutions, self.layout, *(name for name, is_set in flags.items() if is_set)]
        return f"{self.precision}{' (TF32)' if self.tf32 else ''}, {', '.join(words)}"

    def apply(self, device: torch.device) -> None:
        """Set the flags of this program that belong to the plan: TF32, and the search for the fastest kernels."""
        if device.type == "cuda":
            torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = self.tf32
            torch.backends.cudnn.benchmark = True

    @property
    def dtype(self) -> torch.dtype:
        """Type of the weights of backbones: below fp32 only if they are cast once."""
        return AUTOCAST.get(self.precision, torch.float32) if self.cast_once else torch.float32


TABLE: Final = Path(__file__).with_name("execution.json")
"""Plans as ``python -m benchmarks.execution`` measured them: for each kind of GPU, by a part of its name, and kind of
backbone."""

MOST_DIFFERENCE: Final = 0.1
"""Points by which no score of 200 dives may differ from fp32 for ``auto`` to take another precision."""

SMALL_BATCH: Final = 4
"""Most clips whose kernels are recorded: in larger batches a GPU computes longer than launching takes, and each
recorded size keeps memory of its own."""

MOST_STARTUP_S: Final = 10.0
"""Seconds that a plan may take before its first clip: a command that scores one dive takes about three."""


@dataclass(frozen=True, slots=True)
class MeasuredPlan:
    """A plan as it was measured.

    Attributes:
        plan: The plan.
        ms_per_clip: Milliseconds to encode a clip, in batches.
        score_difference: Largest difference of a score from that of fp32, points; None if it was not measured.
        startup_s: Seconds before the first clip; None if they were not measured.
    """

    plan: ExecutionPlan
    ms_per_clip: float
    score_difference: float | None = None
    startup_s: float | None = None

    @property
    def is_safe(self) -> bool:
        """Whether ``auto`` may take it: fp32, or scores that were measured to be the same; and it starts soon."""
        is_near = self.score_difference is not None and self.score_difference < MOST_DIFFERENCE
        is_unknown_fp32 = self.score_difference is None and self.plan.precision == "fp32"
        return (is_near or is_unknown_fp32) and (self.startup_s or 0.0) <= MOST_STARTUP_S

    def to_dict(self) -> dict[str, Any]:
        """Return it as ``read_table`` reads it."""
        return asdict(self)


def read_table(path: Path = TABLE) -> dict[str, dict[str, list[MeasuredPlan]]]:
    """Return the measured plans by kind of GPU and of backbone."""
    stored = json.loads(path.read_text(encoding="utf-8"))
    return {
        gpu: {
            backbone: [MeasuredPlan(**{**row, "plan": ExecutionPlan(**row["plan"])}) for row in rows]
            for backbone, rows in backbones.items()
        }
        for gpu, backbones in stored.items()
    }


def choose_plan(name: str, device: torch.device, backbone: str) -> ExecutionPlan:
    """Return the plan of a precision that was measured to be the fastest on a device, and set its flags.

    ``auto`` takes the fastest precision whose scores are those of fp32. On CPUs it is fp32, so that scores do not
    depend on the machine; on a GPU that was not measured too, without TF32.

    Args:
        name: ``auto``, ``fp32``, ``bf16`` or ``fp16``.
        device: The device.
        backbone: ``ModelConfig.trunk``.

    Raises:
        UsageError: No such precision, or fp16 on a CPU.
    """
    allowed: tuple[Precision, ...] = ("fp32", "bf16") if device.type == "cpu" else ("fp32", "bf16", "fp16")
    precision = next((each for each in allowed if each == name), None)
    if precision is None and name != "auto":
        where = "--precision"
        raise UsageError(f"no precision {name!r} on {device.type}", where=where, hint="auto, fp32, bf16; fp16 on a GPU")
    plan = ExecutionPlan(precision or "fp32")
    if device.type == "cuda":
        measured = [
            row
            for row in _measured(device, backbone)
            if row.plan.precision == precision or (not precision and row.is_safe)
        ]
        if measured:
            plan = min(measured, key=lambda row: row.ms_per_clip).plan
        else:
            gpu = torch.cuda.get_device_name(device)
            logger.info("%s is not in the table of %s backbones: python -m benchmarks.execution adds it", gpu, backbone)
    logger.info("execution: %s", plan)
    plan.apply(device)
    return plan


def fast_precision(device: torch.device) -> Precision:
    """Return bf16 where a device multiplies it natively, else fp32: a CPU that emulates it is ten times slower."""
    is_native = device.type == "cuda" or (device.type == "cpu" and torch.cpu._is_avx512_bf16_supported())
    return "bf16" if is_native else "fp32"


def _measured(device: torch.device, backbone: str) -> Sequence[MeasuredPlan]:
    name = torch.cuda.get_device_name(device)
    return next((rows.get(backbone, []) for gpu, rows in read_table().items() if gpu in name), [])


def computing(plan: ExecutionPlan, device: torch.device) -> AbstractContextManager[object]:
    """Return the context in which the backbones of a plan run: autocast, unless their weights are of its precision."""
    if plan.precision == "fp32" or plan.cast_once:
        return nullcontext()
    return torch.autocast(device.type, AUTOCAST[plan.precision])


class PlannedEncoder(Generic[Recorded]):
    """A network's encoder as an execution plan runs it; any thread may call it.

    On a GPU a batch is filled up to a power of four, so that kernels are searched, compiled and recorded for few sizes:
    each takes seconds, and batches are smaller only where the GPU waits for them.

    Args:
        encode: Maps inputs [B, ...] to a record of tensors [B, ...]; for a replayed plan it neither waits for the GPU
            nor branches on values. It may take keywords, with which it is not replayed.
        plan: The plan that its network was brought into the form of.
        device: Where it computes.
    """

    def __init__(self, encode: Callable[..., Recorded], plan: ExecutionPlan, device: torch.device) -> None:
        self.plan = plan
        self._encode = encode
        self._device = device
        self._lock = Lock()
        self._kernels: dict[torch.Size, tuple[torch.cuda.CUDAGraph, torch.Tensor, Recorded]] = {}

    def __call__(self, inputs: torch.Tensor, **how: Any) -> Recorded:
        """Return what the encoder makes of inputs, in fp32."""
        count = len(inputs)
        if self._device.type != "cuda":
            return self._finished(self._run(inputs, **how), count)
        missing = (1 << -(-(count - 1).bit_length() // 2) * 2) - count
        if missing:
            inputs = torch.cat((inputs, inputs[-1:].expand(missing, *inputs.shape[1:])))
        with self._lock, torch.inference_mode():
            is_replayed = self.plan.replayed and not how and len(inputs) <= SMALL_BATCH
            return self._finished(self._replay(inputs) if is_replayed else self._run(inputs, **how), count)

    def fitting_batch(self, one: torch.Tensor, most: int) -> int:
        """Return how many inputs like ``one`` [1, ...] to encode at once: 1 on a CPU, else by the free memory."""
        if self._device.type != "cuda":
            return 1 if self._device.type == "cpu" else most
        torch.cuda.reset_peak_memory_stats(self._device)
        before = torch.cuda.memory_allocated(self._device)
        self(one)
        taken = torch.cuda.max_memory_allocated(self._device) - before
        return clips_that_fit(torch.cuda.mem_get_info(self._device)[0], taken, most)

    def _run(self, inputs: torch.Tensor, **how: Any) -> Recorded:
        with torch.inference_mode(), computing(self.plan, self._device):
            return self._encode(inputs.to(self.plan.dtype), **how)

    def _finished(self, made: Recorded, count: int) -> Recorded:
        finished: Recorded = made.map(lambda tensor: tensor[:count].float())
        return finished

    def _replay(self, inputs: torch.Tensor) -> Recorded:
        """Launch the hundreds of kernels of a backbone as one: that takes longer than a GPU computes on one clip."""
        if inputs.shape not in self._kernels:
            self._kernels[inputs.shape] = self._record(inputs.clone())
        graph, given, made = self._kernels[inputs.shape]
        given.copy_(inputs)
        graph.replay()
        copied: Recorded = made.map(torch.clone)  # the next replay writes over what was recorded
        return copied

    def _record(self, given: torch.Tensor) -> tuple[torch.cuda.CUDAGraph, torch.Tensor, Recorded]:
        aside = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]
        aside.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(aside):  # choosing kernels and allocating must not be recorded
            for _ in range(3):
                self._run(given)
        torch.cuda.current_stream(self._device).wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):
            made = self._run(given)
        return graph, given, made


def clips_that_fit(free_bytes: int, bytes_a_clip: int, most: int) -> int:
    """Return how many clips to encode at once: a power of four, 1 to ``most``, in half of the free memory.

    Args:
        free_bytes: Free memory of the device.
        bytes_a_clip: What encoding one clip takes at its peak.
        most: Most clips; larger batches are no faster.
    """
    fitting = max(1, min(most, free_bytes // 2 // max(1, bytes_a_clip)))
    return 1 << (fitting.bit_length() - 1) // 2 * 2


def available_cores() -> int:
    """Return how many processor cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextmanager
def one_thread() -> Iterator[None]:
    """Let PyTorch compute in one thread while a block runs.

    Small operations on several threads wait for each other. While another process decodes on the same two cores,
    loading the weights takes 5.1 s of processor time with two threads and 3.4 s with one.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
