"""How many actors of a cluster score dives, and what each of them has."""

from __future__ import annotations

from dataclasses import dataclass

from finecausal_cli.assess.batch.judging import TIMEOUT_S
from finecausal_cli.errors import UsageError

_GPU_BATCH = 8
_MOST_PER_GPU = 4
"""Actors that share a GPU: one judges while others wait for their clips to be read."""


@dataclass(frozen=True, slots=True)
class ClusterOptions:
    """How to use a cluster.

    Attributes:
        workers: Actors in all, each with one process that reads; None for one a core, or up to four a GPU.
        batch_size: Dives judged in one pass; None for 1 on a CPU and 8 on a GPU.
        timeout_s: Most seconds that reading one clip may take.
        device: ``auto`` for GPUs if the cluster has any; ``cpu`` or ``cuda``.
    """

    workers: int | None = None
    batch_size: int | None = None
    timeout_s: float = TIMEOUT_S
    device: str = "auto"

    def __post_init__(self) -> None:
        if self.device not in ("auto", "cpu", "cuda"):
            what = f"device {self.device!r} on a cluster"
            raise UsageError(what, where="--device", hint="auto, cpu or cuda; Ray chooses which GPU")


@dataclass(frozen=True, slots=True)
class Pool:
    """The actors of a run.

    Attributes:
        size: How many at most.
        device: Where they compute.
        gpus_each: Share of a GPU that one takes.
        batch_size: Dives that one judges together.
    """

    size: int
    device: str
    gpus_each: float
    batch_size: int


def plan_pool(resources: dict[str, float], options: ClusterOptions) -> Pool:
    """Decide how many actors there are and what each has.

    Args:
        resources: What the cluster has in all, as Ray counts it: ``CPU`` and ``GPU``.
        options: What was asked for.

    Raises:
        UsageError: GPUs were asked for, and there are none.
    """
    cpus, gpus = (int(resources.get(name, 0)) for name in ("CPU", "GPU"))
    if options.device == "cuda" and not gpus:
        raise UsageError("the cluster has no GPU", where="--device cuda", hint="--device auto or cpu")
    if options.device == "cpu" or not gpus:
        return Pool(options.workers or max(1, cpus), "cpu", 0.0, options.batch_size or 1)
    each = min(max(1, cpus // gpus), _MOST_PER_GPU) if options.workers is None else -(-options.workers // gpus)
    size = options.workers or each * gpus
    # Ray counts in ten-thousandths: rounded down, so that the last actor still fits.
    return Pool(size, "cuda", 10_000 // each / 10_000, options.batch_size or _GPU_BATCH)
