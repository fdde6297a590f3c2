"""What the released checkpoints call each tensor. Foreign names occur here and nowhere else.

A module's tensors keep the names of their leaves (``weight``, ``running_mean``, ...), so one row a module suffices.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Rows = tuple[tuple[str, str], ...]
"""(foreign module or tensor, ours), both relative to the place the table is used at."""

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
"""Prefixes of tensors that have no place here, and why. They may be absent."""

FUSE_WEIGHT = "segmenter.fuse.weight"
UPSAMPLE_WEIGHT = "segmenter.upsample{depth}.weight"
FUSED_KERNEL = "parser.heads.sides.{position}.fused_kernel"
"""One kernel of ours for each upsampling kernel (16 to 16 channels) and its share of the fusing weights (64 to 1)."""

POINTWISE_CONVOLUTIONS = ("temporal_causal_attn.encoder.attn_layers.", ".conv1.weight", ".conv2.weight")
"""Prefix and suffixes of linear maps stored as convolutions of kernel 1: their last axis is dropped."""


def _below(foreign: str, ours: str, rows: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """Use a table at a place: a prefix before both columns."""
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
_TRUNK: Rows = tuple(row for foreign, ours in _UNITS for row in _below(foreign, ours, _UNIT))

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
        *_below("base_model.backbone", "video_trunk.layers", _TRUNK),
        *_below("segmenter", "parser.trunk.layers", _TRUNK),
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
