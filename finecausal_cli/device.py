"""Where the network computes, and in which precision."""

from __future__ import annotations

import logging
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING

import torch

from finecausal_cli.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from finecausal_cli.config import Precision

logger = logging.getLogger(__name__)

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


def resolve_precision(name: str, device: torch.device) -> Precision:
    """Turn ``auto`` into the precision that is proven on the device: fp32, except bf16 on a GPU that has it.

    Raises:
        UsageError: No such precision, or fp16 on a CPU.
    """
    if name == "auto":
        return "bf16" if device.type == "cuda" and torch.cuda.is_bf16_supported() else "fp32"
    known: dict[str, Precision] = {"fp32": "fp32", "bf16": "bf16"}
    if device.type != "cpu":
        known["fp16"] = "fp16"
    if name in known:
        return known[name]
    where = "--precision"
    raise UsageError(f"no precision {name!r} on {device.type}", where=where, hint="auto, fp32, bf16; fp16 on a GPU")


def computing(precision: Precision, device: torch.device) -> AbstractContextManager[object]:
    """Return the context in which the backbones run at a precision."""
    if precision == "fp32":
        return nullcontext()
    return torch.autocast(device.type, AUTOCAST[precision])


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
