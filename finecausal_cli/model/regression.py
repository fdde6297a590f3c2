"""Fine-grained contrastive regression: how much better one dive is than another, stage by stage (paper section 3.5)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from finecausal_cli.model.config import TOKEN_FEATURES

HEADS = 8
BLOCKS = 3


class CrossAttentionBlock(nn.Module):
    """Let the tokens of one dive read those of the other, then think for themselves."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.own_norm = nn.LayerNorm(features)
        self.other_norm = nn.LayerNorm(features)
        self.query = nn.Linear(features, features, bias=False)
        self.key = nn.Linear(features, features, bias=False)
        self.value = nn.Linear(features, features, bias=False)
        self.output = nn.Linear(features, features)
        self.think_norm = nn.LayerNorm(features)
        self.think = nn.Sequential(
            nn.Linear(features, 4 * features),
            nn.GELU(),
            nn.Linear(4 * features, features),
        )

    def forward(self, own: Tensor, other: Tensor) -> Tensor:
        """Map own tokens [..., T, 64], with the other dive's [..., T', 64], to [..., T, 64]."""
        other = self.other_norm(other)
        query, key, value = (
            x.reshape(*x.shape[:-1], HEADS, -1).transpose(-3, -2)
            for x in (self.query(self.own_norm(own)), self.key(other), self.value(other))
        )
        seen = functional.scaled_dot_product_attention(query, key, value)
        own = own + self.output(seen.transpose(-3, -2).flatten(-2))
        result: Tensor = own + self.think(self.think_norm(own))
        return result


class CrossAttentionDecoder(nn.Module):
    """Compare the tokens of a stage with the other dive's, in three blocks that all read the same other tokens."""

    def __init__(self, features: int = TOKEN_FEATURES) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(CrossAttentionBlock(features) for _ in range(BLOCKS))

    def forward(self, own: Tensor, other: Tensor) -> Tensor:
        """Map own tokens [..., T, 64], with the other dive's [..., T', 64], to [..., T, 64]."""
        for block in self.blocks:
            own = block(own, other)
        return own


class ContrastiveRegression(nn.Module):
    """Estimate the difference of each stage in both directions.

    One decoder serves the two stages in the air, another the entry; one perceptron reads every token.
    """

    def __init__(self, features: int = TOKEN_FEATURES) -> None:
        super().__init__()
        self.air_decoder = CrossAttentionDecoder(features)
        self.entry_decoder = CrossAttentionDecoder(features)
        self.judge = nn.Sequential(
            nn.Linear(features, 256),
            nn.ReLU(inplace=True),
            nn.Linear(256, 64),
            nn.ReLU(inplace=True),
            nn.Linear(64, 1),
        )

    def decode(self, tokens: Tensor) -> Tensor:
        """Compare tokens [B, 2, G, T, 64] with their partners'; same shape."""
        other = tokens.flip(1)
        air = self.air_decoder(tokens[:, :, :2], other[:, :, :2])
        entry = self.entry_decoder(tokens[:, :, 2:], other[:, :, 2:])
        return torch.cat((air, entry), dim=2)

    def forward(self, tokens: Tensor) -> Tensor:
        """Map tokens [B, 2, G, T, 64] to stage differences [B, 2, G], this dive minus the other, in execution units."""
        per_token: Tensor = self.judge(self.decode(tokens))
        return per_token.mean(dim=(-2, -1))
