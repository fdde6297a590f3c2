"""Temporal causal attention: a stage is read in the light of the stages before it (paper eq. 7-9)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from finecausal_cli.model.config import TOKEN_FEATURES

LAYERS = 2


class CausalLayer(nn.Module):
    """One post-norm transformer layer with a single head in which no stage sees a later one."""

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
