"""Checkpoints of a run: all that is needed to go on as if nothing had happened.

A checkpoint is the SHA-256 of what follows, then what ``torch.save`` makes of the state: reading a damaged archive
would at best fail in a dozen ways and at worst give other numbers.
"""

from __future__ import annotations

import hashlib
import io
import pickle
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import torch

from finecausal_cli.errors import TrainingError
from finecausal_cli.whole_file import whole_file

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


FORMAT = 2
"""Raised whenever an older checkpoint cannot be gone on with. Format 2 brought the fourth loss, that of the stages, and
chance that is drawn from the step."""


class HasState(Protocol):
    """What a checkpoint is made of: networks, optimisers and the like."""

    def load_state_dict(self, state: Any, /) -> object:
        """Take over a state."""


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a run stands.

    Attributes:
        epoch: Current epoch, zero-based.
        batch: Batches of it already done.
        step: Optimiser steps done since the start.
        best_rho: Best validation rho so far; None before the first validation.
        stale: Validations since then.
    """

    epoch: int = 0
    batch: int = 0
    step: int = 0
    best_rho: float | None = None
    stale: int = 0


def save_checkpoint(path: Path, state: dict[str, Any], progress: Progress) -> None:
    """Write a checkpoint, whole or not at all.

    Args:
        path: The file; an older checkpoint there is replaced.
        state: State dicts by name.
        progress: Where the run stands.

    Raises:
        OutputError: It cannot be written.
    """
    where = {name: getattr(progress, name) for name in Progress.__slots__}
    content = {"format": FORMAT, **state, "progress": where}
    packed = io.BytesIO()
    torch.save(content, packed)
    with whole_file(path, "the checkpoint") as part, part.open("wb") as stream:
        stream.write(hashlib.sha256(packed.getbuffer()).digest())
        stream.write(packed.getbuffer())


def restore(path: Path, parts: Mapping[str, HasState]) -> Progress:
    """Bring the parts of a run back to a checkpoint.

    Args:
        path: The checkpoint.
        parts: What it was saved from, by name.

    Returns:
        Where the run stands.

    Raises:
        TrainingError: It is missing, damaged, of another version or of another network.
    """
    state, progress = load_checkpoint(path)
    try:
        for name, part in parts.items():
            part.load_state_dict(state[name])
    except (KeyError, RuntimeError, ValueError) as error:
        told = " ".join(line.strip() for line in str(error).splitlines()[:2])
        raise TrainingError(
            f"a checkpoint of another network or version: {told}", where=path, hint="start anew elsewhere"
        ) from None
    return progress


def load_checkpoint(path: Path) -> tuple[dict[str, Any], Progress]:
    """Read a checkpoint.

    Raises:
        TrainingError: It is missing, damaged or of another version.
    """
    try:
        with path.open("rb") as stream:
            digest, packed = stream.read(hashlib.sha256().digest_size), stream.read()
        if hashlib.sha256(packed).digest() != digest:
            raise ValueError("its digest does not match")
        content: dict[str, Any] = torch.load(io.BytesIO(packed), map_location="cpu", weights_only=True)
        if content.pop("format", 1) != FORMAT:
            raise TrainingError(
                "a checkpoint of another version",
                where=path,
                hint="finish the run with the version that began it, or start anew",
            )
        progress = Progress(**content.pop("progress"))
    except FileNotFoundError:
        raise TrainingError("no checkpoint to resume", where=path, hint="start without --resume") from None
    except (OSError, RuntimeError, KeyError, TypeError, ValueError, pickle.UnpicklingError) as error:
        raise TrainingError(f"a damaged checkpoint: {error}", where=path, hint="start anew in another folder") from None
    return content, progress
