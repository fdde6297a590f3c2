"""A faster, equal network for scoring.

Batch norms are folded into the convolutions before them, the point-wise convolutions of an Inception block that read
the same input are merged, and kernels are laid out channels-last.
"""

from __future__ import annotations

import copy
import itertools
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from finecausal_cli.model.i3d import MixedBlock

NetworkKind = TypeVar("NetworkKind", bound=nn.Module)

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_CHANNELS_LAST = {4: torch.channels_last, 5: torch.channels_last_3d}
"""How kernels of so many axes are laid out."""

_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


class MergedMixedBlock(nn.Module):
    """An Inception block whose three point-wise convolutions of its input run as one."""

    def __init__(self, block: MixedBlock) -> None:
        super().__init__()
        merged = [unit.conv for unit in (block.point, block.reduce_a, block.reduce_b)]
        self.widths = [conv.out_channels for conv in merged]
        self.points = nn.Conv3d(merged[0].in_channels, sum(self.widths), 1)
        self.points.weight = nn.Parameter(torch.cat([conv.weight for conv in merged]))
        self.points.bias = nn.Parameter(torch.cat([conv.bias for conv in merged if conv.bias is not None]))
        self.spread_a, self.spread_b = block.spread_a, block.spread_b
        self.pool, self.pooled = block.pool, block.pooled

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, inputs, t, h, w] to [B, outputs, t, h, w]."""
        point, a, b = torch.split_with_sizes(functional.relu(self.points(x), inplace=True), self.widths, dim=1)
        return torch.cat((point, self.spread_a(a), self.spread_b(b), self.pooled(self.pool(x))), dim=1)


def fold_for_inference(model: NetworkKind) -> NetworkKind:
    """Return an equal copy in evaluation mode. Its tensors have other names: it can be neither trained nor saved."""
    folded = copy.deepcopy(model).eval()
    for module in folded.modules():
        _fold_norms(module)
    for parent in list(folded.modules()):
        for name, child in parent.named_children():
            if isinstance(child, MixedBlock):
                parent.add_module(name, MergedMixedBlock(child))
    for parameter in folded.parameters():
        parameter.requires_grad_(False)
    return lay_out(folded)


def lay_out(model: NetworkKind) -> NetworkKind:
    """Lay kernels out channels last, in place, on which convolutions run fastest, forward and backward."""
    for parameter in model.parameters():
        if parameter.ndim in _CHANNELS_LAST:
            parameter.data = parameter.data.contiguous(memory_format=_CHANNELS_LAST[parameter.ndim])
    return model


def _fold_norms(parent: nn.Module) -> None:
    """Fold every norm among a module's children into the convolution that stands right before it."""
    children = list(parent.named_children())
    for (conv_name, conv), (norm_name, norm) in itertools.pairwise(children):
        if isinstance(conv, _CONVOLUTIONS) and isinstance(norm, _NORMS):
            parent.add_module(conv_name, fuse_conv_bn_eval(conv, norm))
            parent.add_module(norm_name, nn.Identity())
