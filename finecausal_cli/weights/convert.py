"""Turn a released checkpoint (a pickle) into weights of ours, running none of its code.

The pickle is read by torch's restricted unpickler. Every tensor must be known by name and have the right shape.
"""

from __future__ import annotations

import pickle
import re
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy._core.multiarray import scalar as _numpy_scalar
from torch import Tensor

from finecausal_cli.errors import OutputError, WeightsError
from finecausal_cli.model.config import PRESETS
from finecausal_cli.model.finecausal import FineCausal
from finecausal_cli.weights import reference_names as names
from finecausal_cli.weights.info import WeightsInfo
from finecausal_cli.weights.manifest import CONFIG_NAME
from finecausal_cli.weights.store import require_none, save_weights

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pydantic import JsonValue

_ALLOWED: list[Callable[..., Any] | tuple[Callable[..., Any], str]] = [
    (_numpy_scalar, "numpy._core.multiarray.scalar"),
    (_numpy_scalar, "numpy.core.multiarray.scalar"),
    np.dtype,
    type(np.dtype(np.float64)),
]
"""What a checkpoint may hold beside tensors and plain values: its best metrics are NumPy numbers."""

_DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64)
_UNTRAINED_SPREAD = 0.0015  # side convolutions start with a standard deviation of 0.001


def convert_checkpoint(path: Path, out: Path, *, overwrite: bool = False) -> WeightsInfo:
    """Convert a released checkpoint to a weights folder of the ``reference`` preset.

    Args:
        path: The ``.pth`` file.
        out: The folder to write.
        overwrite: Replace the weights that are there.

    Returns:
        The facts stored beside the weights: what a user must know, the checkpoint's own figures, tensors left out.

    Raises:
        WeightsError: The file is no checkpoint, wants to run code, or a tensor is missing, unknown or misshapen.
        OutputError: The folder cannot be written or holds weights already.
    """
    if (out / CONFIG_NAME).exists() and not overwrite:
        raise OutputError("holds weights already", where=out, hint="choose another folder or give --overwrite")
    checkpoint = read_checkpoint(path)
    foreign = flatten_checkpoint(checkpoint, path)
    with torch.device("meta"):
        model = FineCausal(PRESETS["reference"])
    state, left_out = map_tensors(foreign, model.state_dict(), path)
    model.load_state_dict(state, assign=True)
    training: dict[str, JsonValue] = {"checkpoint": path.name, "left_out": [*left_out]}
    figures = {key: checkpoint[key] for key in names.BOOKKEEPING if key in checkpoint}
    training.update({key: float(value) for key, value in figures.items() if isinstance(value, int | float | np.number)})
    info = WeightsInfo(note=_note(foreign), training=training)
    save_weights(out, model, info.facts())
    return info


def read_checkpoint(path: Path) -> dict[str, object]:
    """Unpickle tensors and plain values; refuse everything else.

    Raises:
        WeightsError: The file cannot be read, is no PyTorch checkpoint, or asks for anything that could run code.
    """
    try:
        with torch.serialization.safe_globals(_ALLOWED):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise WeightsError(f"cannot be read: {error.strerror or error}", where=path) from error
    except pickle.UnpicklingError as error:
        raise WeightsError(
            f"refused, and nothing in it was run: it {_describe_refusal(str(error))}",
            where=path,
            hint="a checkpoint holds only tensors and plain values",
        ) from error
    except Exception as error:  # a damaged archive or pickle fails in many ways, none of them ours
        raise WeightsError("is not a readable PyTorch checkpoint", where=path) from error
    if not isinstance(content, dict):
        raise WeightsError("is not a checkpoint of the released code: it holds no named parts", where=path)
    return {str(key): value for key, value in content.items()}


def _describe_refusal(message: str) -> str:
    found = re.search(r"GLOBAL ([\w.]+)", message)
    return f"wants to use {found[1]}" if found else "is not plain data"


def flatten_checkpoint(checkpoint: dict[str, object], path: Path) -> dict[str, Tensor]:
    """Name every tensor ``part.tensor``, without the ``module.`` that training on several GPUs leaves.

    Raises:
        WeightsError: A part is unknown or is not a table of tensors.
    """
    unknown = [key for key in checkpoint if key not in names.STATE_DICTS and key not in names.BOOKKEEPING]
    require_none(unknown, "not a part of the released code's checkpoints:", path)
    flat: dict[str, Tensor] = {}
    for part in names.STATE_DICTS:
        table = checkpoint.get(part, {})
        if not isinstance(table, dict):
            raise WeightsError(f"{part} is not a table of tensors", where=path)
        for key, tensor in table.items():
            name = f"{part}.{str(key).replace('module.', '')}"
            if not (isinstance(tensor, Tensor) and tensor.layout == torch.strided and tensor.dtype in _DTYPES):
                raise WeightsError(f"{name} is not a plain tensor", where=path)
            if name in flat:
                raise WeightsError(f"{name} occurs twice", where=path)
            flat[name] = tensor
    return flat


def map_tensors(
    foreign: dict[str, Tensor], expected: dict[str, Tensor], path: Path
) -> tuple[dict[str, Tensor], list[str]]:
    """Rename and compose the tensors of a checkpoint.

    Args:
        foreign: Tensors as `flatten_checkpoint` names them.
        expected: Tensors of ours whose names and shapes are to be met.
        path: The checkpoint, for messages.

    Returns:
        Our tensors, and what was left out with the reason.

    Raises:
        WeightsError: A tensor is missing, unknown or misshapen; it is called by its foreign name.
    """
    sources, composed = _sources(expected)
    wanted = {**sources, **composed, names.FUSE_WEIGHT: ""}
    require_none([name for name in wanted if name not in foreign], "missing tensor", path)
    require_none(
        [name for name in foreign if name not in wanted and not name.startswith(tuple(names.UNUSED))],
        "unknown tensor",
        path,
    )
    shapes = {name: _foreign_shape(name, expected[ours]) for name, ours in sources.items()}
    shapes |= {name: _upsample_shape(expected[ours]) for name, ours in composed.items()}
    shapes[names.FUSE_WEIGHT] = [1, sum(shapes[name][1] for name in composed), 1, 1, 1]
    misshapen = [
        f"{name} (is {list(foreign[name].shape)}, must be {shape})"
        for name, shape in shapes.items()
        if list(foreign[name].shape) != shape
    ]
    require_none(misshapen, "misshapen tensor", path)
    state = {
        ours: foreign[name].reshape(expected[ours].shape).to(expected[ours].dtype) for name, ours in sources.items()
    }
    shares = foreign[names.FUSE_WEIGHT].float().flatten().chunk(len(composed))
    for (name, ours), share in zip(composed.items(), shares, strict=True):
        state[ours] = torch.einsum("ioabc,o->iabc", foreign[name].float(), share)[:, None]
    left_out = [
        f"{prefix}* ({reason})"
        for prefix, reason in names.UNUSED.items()
        if any(name.startswith(prefix) for name in foreign)
    ]
    return state, left_out


def _sources(expected: dict[str, Tensor]) -> tuple[dict[str, str], dict[str, str]]:
    """Return foreign name -> ours for tensors taken as they are, and for upsampling kernels to be composed."""
    composed = {
        names.UPSAMPLE_WEIGHT.format(depth=position + 1): names.FUSED_KERNEL.format(position=position)
        for position in range(4)
    }
    theirs = {ours: foreign for foreign, ours in names.MODULES.items()}
    plain = {}
    for ours in expected:
        if ours in composed.values():
            continue
        stem, leaf = ours, ""
        while stem not in theirs:
            stem, _, last = stem.rpartition(".")
            leaf = f".{last}{leaf}"
        plain[theirs[stem] + leaf] = ours
    return plain, composed


def _foreign_shape(name: str, ours: Tensor) -> list[int]:
    prefix, *suffixes = names.POINTWISE_CONVOLUTIONS
    pointwise = name.startswith(prefix) and name.endswith(tuple(suffixes))
    return [*ours.shape, 1] if pointwise else list(ours.shape)


def _upsample_shape(ours: Tensor) -> list[int]:
    channels, _, *kernel = ours.shape
    return [channels, channels, *kernel]


def _note(foreign: dict[str, Tensor]) -> str:
    """Say what a user of the weights must know."""
    note = "converted from a checkpoint of the released code; it reads frames squeezed to 112 x 200, and gets them so"
    preparing = [foreign[f"segmenter.side_prep{depth}.weight"] for depth in range(1, 5)]
    biases = [foreign[f"segmenter.score_dsn{depth}.bias"] for depth in range(1, 5)] + [foreign["segmenter.fuse.bias"]]
    if all(each.std() < _UNTRAINED_SPREAD for each in preparing) and not any(each.any() for each in biases):
        note += "; its foreground head was never trained, so its masks mean nothing"
    return note
