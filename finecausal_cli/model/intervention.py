"""Causal intervention: deconfound the features of a pair by attention over a graph (paper eq. 2-6).

One complete graph a pair, without self-loops. Its 36 nodes are the nine snippets of four kinds: query video, exemplar
video, query fused, exemplar fused. A batch is a disjoint union of such graphs, so a pair never sees another one.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from finecausal_cli.model.config import SNIPPETS

if TYPE_CHECKING:
    from finecausal_cli.model.outputs import Encoding

NODE_KINDS = ("query video", "exemplar video", "query fused", "exemplar fused")
"""Kinds of node in their order in the graph, nine nodes each."""

NODES = len(NODE_KINDS) * SNIPPETS
HEADS = 4
_DROPOUT = 0.1


def complete_edges(nodes: int, device: torch.device | None = None) -> Tensor:
    """List all ordered pairs of different nodes, source by source: int64 [2, nodes * (nodes - 1)], (source, target)."""
    source, target = torch.meshgrid(
        torch.arange(nodes, device=device), torch.arange(nodes, device=device), indexing="ij"
    )
    apart = source != target
    return torch.stack((source[apart], target[apart]))


class CausalIntervention(nn.Module):
    """Pass messages between the snippets of a query and an exemplar.

    Two GATv2 layers (eq. 4 is GATv2's form of attention) of 4 heads, a linear map with LayerNorm and ReLU, and the
    input added with a learnt weight.

    Args:
        features: D, length of a node's features.
        readout: Kind of nodes returned: ``o`` video, ``f`` fused.
        residual_start: First value of the learnt weight of the input.
    """

    def __init__(self, features: int, readout: Literal["o", "f"], *, residual_start: float = 1.0) -> None:
        super().__init__()
        with warnings.catch_warnings():  # importing it uses a part of torch that torch has deprecated
            warnings.simplefilter("ignore", DeprecationWarning)
            from torch_geometric.nn import GATv2Conv  # two seconds to import, and only needed here

        wide = 2 * features
        self.attend = GATv2Conv(features, wide // HEADS, heads=HEADS, dropout=_DROPOUT, add_self_loops=False)
        self.refine = GATv2Conv(wide, features // HEADS, heads=HEADS, dropout=_DROPOUT, add_self_loops=False)
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
        pairs, _, features = nodes.shape
        one = complete_edges(NODES, nodes.device)
        edges = (one[:, None] + NODES * torch.arange(pairs, device=nodes.device)[:, None]).reshape(2, -1)
        flat = nodes.reshape(pairs * NODES, features)
        hidden, (_, first) = self.attend(flat, edges, return_attention_weights=True)
        hidden, (_, second) = self.refine(functional.elu(hidden), edges, return_attention_weights=True)
        kept = hidden.reshape(pairs, NODES, features)[:, self.kept]
        result = self.output(kept) + self.residual_weight * nodes[:, self.kept]
        weights = torch.stack((_square(first, one), _square(second, one)), dim=1) if attention else None
        return result.reshape(pairs, 2, SNIPPETS, features), weights


def _square(weights: Tensor, edges: Tensor) -> Tensor:
    """Arrange a layer's edge weights [B * E, heads] as [B, N, N, heads]."""
    by_pair = weights.reshape(-1, edges.shape[1], HEADS)
    square = weights.new_zeros(len(by_pair), NODES, NODES, HEADS)
    square[:, edges[0], edges[1]] = by_pair
    return square
