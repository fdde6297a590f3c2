"""Causal modules of the paper: graph-attention causal intervention (GAT) and temporal causal attention (TCA)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from finecausal_cli.model.config import SNIPPETS, TOKEN_FEATURES

if TYPE_CHECKING:
    from finecausal_cli.model.outputs import Encoding


# Causal intervention: deconfound the features of a pair by attention over a graph (paper eq. 2-6).
#
# Each pair is one complete graph without self-loops. Its 36 nodes are the nine snippets of four kinds: query video,
# exemplar video, query fused, exemplar fused. A batch is a disjoint union of such graphs: pairs are independent.

NODE_KINDS = ("query video", "exemplar video", "query fused", "exemplar fused")
"""Kinds of node in their order in the graph, nine nodes each."""

NODES = len(NODE_KINDS) * SNIPPETS
HEADS = 4
_DROPOUT = 0.1


class GraphAttention(nn.Module):
    """The parameters of a GATv2 layer (Brody et al., ICLR 2022), by the names of PyTorch Geometric's ``GATv2Conv``.

    Names, initial values and the order of initialisation are that class's, so weights are interchangeable. Importing
    the library would add two seconds to every start.

    Args:
        inputs: Features of a node.
        channels: Features of a head's result.
    """

    def __init__(self, inputs: int, channels: int) -> None:
        super().__init__()
        self.heads, self.out_channels = HEADS, channels
        self.negative_slope, self.dropout = 0.2, _DROPOUT
        self.lin_l, self.lin_r = (_EmptyLinear(inputs, HEADS * channels) for _ in range(2))
        self.att = nn.Parameter(torch.empty(1, HEADS, channels))
        self.bias = nn.Parameter(torch.zeros(HEADS * channels))
        for _ in range(2):  # GATv2Conv initialises twice: in its constructor, and in reset_parameters
            for linear in (self.lin_l, self.lin_r):
                nn.init.xavier_uniform_(linear.weight)
                nn.init.uniform_(linear.bias, -1 / math.sqrt(inputs), 1 / math.sqrt(inputs))
        bound = math.sqrt(6 / (HEADS + channels))
        nn.init.uniform_(self.att, -bound, bound)


class _EmptyLinear(nn.Linear):
    """A linear map that is not initialised. ``nn.utils.skip_init`` would import SymPy, half a second of each start."""

    def reset_parameters(self) -> None:
        """No-op."""


class CausalIntervention(nn.Module):
    """Pass messages between the snippets of a query and an exemplar.

    Two GATv2 layers (eq. 4 is GATv2's form of attention) of 4 heads, a linear map with LayerNorm and ReLU, and a
    residual connection with a learnt weight.

    Args:
        features: D, length of a node's features.
        readout: Kind of nodes returned: ``o`` video, ``f`` fused.
        residual_start: Initial value of the weight of the residual connection.
    """

    def __init__(self, features: int, readout: Literal["o", "f"], *, residual_start: float = 1.0) -> None:
        super().__init__()
        wide = 2 * features
        self.attend = GraphAttention(features, wide // HEADS)
        self.refine = GraphAttention(wide, features // HEADS)
        self.output = nn.Sequential(nn.Linear(features, features), nn.LayerNorm(features), nn.ReLU())
        self.residual_weight = nn.Parameter(torch.full((1,), residual_start))
        start = 0 if readout == "o" else NODES // 2
        self.kept = slice(start, start + NODES // 2)

    def forward(self, query: Encoding, exemplar: Encoding, *, attention: bool = False) -> tuple[Tensor, Tensor | None]:
        """Deconfound B pairs.

        Args:
            query: B encodings.
            exemplar: B encodings, partner by partner.
            attention: Return the attention of both layers too.

        Returns:
            Features [B, 2, S, D]; attention [B, 2, N, N, heads] (layer, source, target), zero on the diagonal, or None.
        """
        nodes = torch.cat((query.video, exemplar.video, query.fused, exemplar.fused), dim=1)
        hidden, first = _attend(self.attend, nodes, slice(None))
        hidden, second = _attend(self.refine, functional.elu(hidden), slice(None) if attention else self.kept)
        kept = hidden[:, self.kept] if attention else hidden
        result = self.output(kept) + self.residual_weight * nodes[:, self.kept]
        weights = torch.stack((first, second), dim=1).permute(0, 1, 4, 3, 2) if attention else None
        return result.reshape(len(nodes), 2, SNIPPETS, -1), weights


def _attend(layer: GraphAttention, nodes: Tensor, targets: slice) -> tuple[Tensor, Tensor]:
    """Run a GATv2 layer over complete graphs without self-loops, in which attention is a full matrix.

    LeakyReLU(x) = m x + (1 - m) |x| with m = (1 + slope) / 2. So the energy of an edge is the sum of a source term, a
    target term (which cancels in the softmax over sources) and a weighted L1 distance. No tensor of N x N x features
    is made: forward and backward take a sixth of the time of message passing over an edge list.

    Args:
        layer: Its parameters.
        nodes: [B, N, features].
        targets: The M nodes to compute.

    Returns:
        Features [B, M, heads * channels], and attention [B, heads, M, N] (target, source), after dropout.
    """
    slope = (1 + layer.negative_slope) / 2
    source, target = (
        linear(each).unflatten(-1, (layer.heads, -1)).transpose(1, 2)
        for linear, each in ((layer.lin_l, nodes), (layer.lin_r, nodes[:, targets]))
    )
    weight = layer.att[0][:, None]
    distance = [
        torch.cdist(target * part, -source * part, p=1) for part in (weight.clamp(min=0), weight.clamp(max=0).neg())
    ]
    energy = slope * (source * weight).sum(dim=-1)[:, :, None] + (1 - slope) * (distance[0] - distance[1])
    own = torch.eye(nodes.shape[1], dtype=torch.bool, device=nodes.device)[targets]
    attention = energy.masked_fill(own, -torch.inf).softmax(dim=-1)
    attention = functional.dropout(attention, layer.dropout, training=layer.training)
    return (attention @ source).transpose(1, 2).flatten(-2) + layer.bias, attention


# Summaries of attention.

UNIFORM_ATTENTION = 1 / (NODES - 1)
"""Attention of every edge if a target attends to its sources uniformly: 1/35."""


def node_type_attention_by_head(layer_attention: Tensor) -> Tensor:
    """Average one layer's attention over all edges between two kinds of node.

    A target's attention sums to 1 over its 35 sources, so every cell lies near `UNIFORM_ATTENTION`; read the difference
    from it.

    Args:
        layer_attention: [..., N, N, heads] (source, target) with a zero diagonal.

    Returns:
        [..., heads, 4, 4], kind of the source in rows, of the target in columns, kinds as in `NODE_KINDS`.
    """
    kinds = len(NODE_KINDS)
    *batch, _, _, heads = layer_attention.shape
    blocks = layer_attention.reshape(*batch, kinds, SNIPPETS, kinds, SNIPPETS, heads)
    edges = SNIPPETS * (SNIPPETS - torch.eye(kinds, device=blocks.device))
    return (blocks.sum(dim=(-4, -2)) / edges[..., None]).movedim(-1, -3)


def node_type_attention(layer_attention: Tensor) -> Tensor:
    """Average one layer's attention [..., N, N, heads] over heads and over edges between two kinds: [..., 4, 4]."""
    return node_type_attention_by_head(layer_attention).mean(dim=-3)


# Temporal causal attention (TCA): a stage attends to itself and to earlier stages (paper eq. 7-9).

LAYERS = 2


class CausalLayer(nn.Module):
    """One post-norm transformer layer with a single head and a causal mask over the stages."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.query = nn.Linear(features, features)
        self.key = nn.Linear(features, features)
        self.value = nn.Linear(features, features)
        self.output = nn.Linear(features, features)
        self.attention_norm = nn.LayerNorm(features)
        self.widen = nn.Linear(features, 4 * features)
        self.narrow = nn.Linear(4 * features, features)
        self.narrow_norm = nn.LayerNorm(features)
        self.gelu = nn.GELU()

    def forward(self, stages: Tensor) -> tuple[Tensor, Tensor]:
        """Map stages [..., G, 64] to refined stages [..., G, 64] and attention [..., G, G] (row attends to column)."""
        count, features = stages.shape[-2:]
        later = torch.ones(count, count, dtype=torch.bool, device=stages.device).triu(diagonal=1)
        energy = self.query(stages) @ self.key(stages).transpose(-1, -2) / math.sqrt(features)
        attention = energy.masked_fill(later, -math.inf).softmax(dim=-1)
        x = self.attention_norm(stages + self.output(attention @ self.value(stages)))
        return self.narrow_norm(x + self.narrow(self.gelu(self.widen(x)))), attention


class TemporalCausalAttention(nn.Module):
    """Refine the mean token of each stage."""

    def __init__(self, features: int = TOKEN_FEATURES) -> None:
        super().__init__()
        self.layers = nn.ModuleList(CausalLayer(features) for _ in range(LAYERS))
        self.norm = nn.LayerNorm(features)

    def forward(self, stages: Tensor) -> tuple[Tensor, Tensor]:
        """Map stage means [..., G, 64] to refined ones [..., G, 64] and attention [..., layers, G, G].

        A row of the attention is a stage, its columns the stages it attends to: lower triangular, rows sum to 1.
        """
        attentions = []
        for layer in self.layers:
            stages, attention = layer(stages)
            attentions.append(attention)
        return self.norm(stages), torch.stack(attentions, dim=-3)
