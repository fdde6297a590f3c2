"""Summaries of attention for people."""

from __future__ import annotations

import torch
from torch import Tensor

from finecausal_cli.model.config import SNIPPETS
from finecausal_cli.model.intervention import NODE_KINDS, NODES

UNIFORM_ATTENTION = 1 / (NODES - 1)
"""Attention of every edge if a target had no preference among its sources: 1/35."""


def node_type_attention_by_head(layer_attention: Tensor) -> Tensor:
    """Average one layer's attention over all edges between two kinds of node.

    A target's attention sums to 1 over its 35 sources, so every cell lies near `UNIFORM_ATTENTION`; what says something
    is the difference from it.

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
