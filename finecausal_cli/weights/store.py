"""Weights on disk: a folder with ``config.json`` and a few safetensors shards, validated strictly.

``config.json`` holds the network's configuration, so that building it needs no flag, and the SHA-256 of every shard.
Shards are named by their content and the configuration is replaced last, so an interrupted save leaves the previous
weights whole.
"""

from __future__ import annotations

import hashlib
import logging
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load as parse_tensors
from safetensors.torch import save as serialise_tensors

from finecausal_cli.errors import OutputError, WeightsError
from finecausal_cli.model.finecausal import FineCausal
from finecausal_cli.weights import CONFIG_NAME, Manifest, read_manifest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pydantic import JsonValue
    from torch import Tensor

    from finecausal_cli.model.config import ModelConfig

logger = logging.getLogger(__name__)

SHARD_BYTES = 16 * 2**20
"""Largest shard, unless a single tensor is larger."""

_LISTED = 3  # names in an error before "and n more"


@dataclass(frozen=True, slots=True)
class LoadedWeights:
    """A network in evaluation mode, with its metadata.

    Attributes:
        model: The network, in evaluation mode.
        config: Its configuration.
        info: Its metadata: origin, training data, metrics.
        digest: SHA-256 (hex) over configuration and tensors; equal digests mean equal weights.
    """

    model: FineCausal
    config: ModelConfig
    info: dict[str, JsonValue]
    digest: str


def save_weights(
    folder: Path, model: FineCausal, info: dict[str, JsonValue], *, dtype: Literal["float32", "float16"] = "float32"
) -> str:
    """Write a network; an interruption leaves either the old or the new weights.

    Args:
        folder: Created if missing. Shards of earlier weights in it are removed at the end.
        model: The network.
        info: JSON-compatible metadata.
        dtype: ``float16`` halves the size by rounding every tensor of two or more axes.

    Returns:
        The digest that `load_weights` will report.

    Raises:
        WeightsError: A tensor is not finite or does not fit float16, or the network is a copy made for inference.
        OutputError: The folder cannot be written.
    """
    tensors = {name: _to_disk(tensor, dtype) for name, tensor in model.state_dict().items()}
    _require_match(tensors, _blank(model.config).state_dict(), folder)  # refuses copies made for inference
    _require_finite(tensors, folder)
    shards = {}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for group in _grouped(tensors):
            data = serialise_tensors(group)
            digest = hashlib.sha256(data).hexdigest()
            name = f"model-{digest[:16]}.safetensors"
            _write_whole(folder / name, data)
            shards[name] = digest
        manifest = Manifest(model=model.config, info=info, shards=shards)
        _write_whole(folder / CONFIG_NAME, (manifest.model_dump_json(indent=2) + "\n").encode())
        for stale in folder.glob("model-*.safetensors"):
            if stale.name not in shards:
                stale.unlink()
    except OSError as error:
        raise OutputError(f"cannot save weights: {error.strerror or error}", where=folder) from error
    return manifest.digest


def load_weights(folder: Path, device: torch.device | str = "cpu") -> LoadedWeights:
    """Read a network; refuse anything that is not exactly what was saved.

    Args:
        folder: A folder written by `save_weights`.
        device: Device of the network.

    Returns:
        The network in evaluation mode, float32, with its configuration.

    Raises:
        WeightsError: Something is missing, damaged, misshapen, not finite, or of a newer format.
    """
    manifest = read_manifest(folder)
    tensors: dict[str, Tensor] = {}
    for name, digest in manifest.shards.items():
        tensors.update(_read_shard(folder / name, digest))
    model = _blank(manifest.model)
    _require_match(tensors, model.state_dict(), folder)
    _require_finite(tensors, folder)
    tensors = {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}
    model.load_state_dict(tensors, assign=True)
    logger.info("weights: %s, digest %s", folder, manifest.digest[:12])
    return LoadedWeights(model.to(device).eval(), manifest.model, manifest.info, manifest.digest)


def _blank(config: ModelConfig) -> FineCausal:
    """Build a network on the meta device: shapes without values."""
    with torch.device("meta"):
        return FineCausal(config)


def _read_shard(path: Path, digest: str) -> dict[str, Tensor]:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise WeightsError(f"shard cannot be read: {error.strerror}", where=path) from error
    if hashlib.sha256(data).hexdigest() != digest:
        raise WeightsError("shard is damaged or incomplete", where=path, hint="get the weights again")
    try:
        return parse_tensors(data)
    except (SafetensorError, ValueError) as error:
        raise WeightsError(f"is not a safetensors file: {error}", where=path) from error


def _require_match(tensors: dict[str, Tensor], expected: dict[str, Tensor], folder: Path) -> None:
    missing = [name for name in expected if name not in tensors]
    extra = [name for name in tensors if name not in expected]
    misshapen = [
        f"{name} (is {list(tensor.shape)}, must be {list(expected[name].shape)})"
        for name, tensor in tensors.items()
        if name in expected and tensor.shape != expected[name].shape
    ]
    require_none(missing, "missing tensor", folder)
    require_none(extra, "unknown tensor", folder)
    require_none(misshapen, "misshapen tensor", folder)


def _require_finite(tensors: dict[str, Tensor], folder: Path) -> None:
    require_none([name for name, each in tensors.items() if not each.isfinite().all()], "not finite:", folder)


def require_none(names: list[str], problem: str, where: Path) -> None:
    """Raise a WeightsError that names the first few tensors of a list, unless the list is empty."""
    if names:
        more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
        raise WeightsError(f"{problem} {', '.join(names[:_LISTED])}{more}", where=where)


def _to_disk(tensor: Tensor, dtype: Literal["float32", "float16"]) -> Tensor:
    rounded = dtype == "float16" and tensor.is_floating_point() and tensor.ndim > 1
    return tensor.detach().to("cpu", torch.float16 if rounded else tensor.dtype).contiguous()


def _grouped(tensors: dict[str, Tensor]) -> Iterator[dict[str, Tensor]]:
    """Split tensors into groups of at most `SHARD_BYTES`, in order."""
    group: dict[str, Tensor] = {}
    size = 0
    for name, tensor in tensors.items():
        if group and size + tensor.nbytes > SHARD_BYTES:
            yield group
            group, size = {}, 0
        group[name] = tensor
        size += tensor.nbytes
    yield group


def _write_whole(path: Path, data: bytes) -> None:
    """Write a file under a temporary name, flush it to the disk and rename it."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
