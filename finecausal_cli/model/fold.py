"""A faster, equal network for scoring.

Batch norms are folded into the convolutions before them, the point-wise convolutions of an Inception block that read
the same input are merged, and kernels are laid out channels-last.
"""

from __future__ import annotations

import copy
import itertools
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from finecausal_cli.model.config import SNIPPETS
from finecausal_cli.model.i3d import MixedBlock

if TYPE_CHECKING:
    from torch_geometric.nn import GATv2Conv

    from finecausal_cli.model.finecausal import FineCausal
    from finecausal_cli.model.intervention import CausalIntervention
    from finecausal_cli.model.outputs import Encoding

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


class DenseIntervention(nn.Module):
    """The causal intervention without a list of edges: in a complete graph attention is a full matrix.

    LeakyReLU(x) = m x + (1 - m) |x| with m = (1 + slope) / 2. So a layer's energies are a sum of one term of the
    source, one of the target (which the softmax over sources cancels) and a weighted L1 distance, and no tensor of
    N x N x features is ever made.
    """

    def __init__(self, intervention: CausalIntervention) -> None:
        super().__init__()
        self.attend, self.refine = intervention.attend, intervention.refine
        self.output, self.residual_weight = intervention.output, intervention.residual_weight
        self.kept = intervention.kept

    def forward(self, query: Encoding, exemplar: Encoding, *, attention: bool = False) -> tuple[Tensor, Tensor | None]:
        """Do what `CausalIntervention` does, with the same arguments and results."""
        nodes = torch.cat((query.video, exemplar.video, query.fused, exemplar.fused), dim=1)
        hidden, first = _attend_densely(self.attend, nodes, slice(None))
        targets = slice(None) if attention else self.kept
        hidden, second = _attend_densely(self.refine, functional.elu(hidden), targets)
        kept = hidden[:, self.kept] if attention else hidden
        result = self.output(kept) + self.residual_weight * nodes[:, self.kept]
        weights = torch.stack((first, second), dim=1).permute(0, 1, 4, 3, 2) if attention else None
        return result.reshape(len(nodes), 2, SNIPPETS, -1), weights


def _attend_densely(layer: GATv2Conv, nodes: Tensor, targets: slice) -> tuple[Tensor, Tensor]:
    """Run a GATv2 layer over complete graphs without self-loops.

    Args:
        layer: Its parameters.
        nodes: [B, N, features].
        targets: Nodes whose result is wanted, M of them.

    Returns:
        Features [B, M, heads * channels], and attention [B, heads, M, N] (target, source).
    """
    straight = (1 + layer.negative_slope) / 2
    source, target = (
        linear(each).unflatten(-1, (layer.heads, -1)).transpose(1, 2)
        for linear, each in ((layer.lin_l, nodes), (layer.lin_r, nodes[:, targets]))
    )
    weight = layer.att[0][:, None]
    distance = [
        torch.cdist(target * part, -source * part, p=1) for part in (weight.clamp(min=0), weight.clamp(max=0).neg())
    ]
    energy = straight * (source * weight).sum(dim=-1)[:, :, None] + (1 - straight) * (distance[0] - distance[1])
    own = torch.eye(nodes.shape[1], dtype=torch.bool, device=nodes.device)[targets]
    attention = energy.masked_fill(own, -torch.inf).softmax(dim=-1)
    return (attention @ source).transpose(1, 2).flatten(-2) + layer.bias, attention


def fold_for_inference(model: FineCausal) -> FineCausal:
    """Return an equal copy in evaluation mode. Its tensors have other names: it can be neither trained nor saved."""
    folded = copy.deepcopy(model).eval()
    for module in folded.modules():
        _fold_norms(module)
    for parent in list(folded.modules()):
        for name, child in parent.named_children():
            if isinstance(child, MixedBlock):
                parent.add_module(name, MergedMixedBlock(child))
    if folded.intervention is not None:
        folded.add_module("intervention", DenseIntervention(folded.intervention))
    for parameter in folded.parameters():
        parameter.requires_grad_(False)
    return lay_out(folded)


def lay_out(model: FineCausal) -> FineCausal:
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
