"""Stages of a dive: their transitions, their features (section 3.3) and the regression of deltas (section 3.5)."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from finecausal_cli.model.config import FRAMES, SNIPPET_STRIDE, SNIPPETS, STAGE_TOKENS, STAGES, TOKEN_FEATURES

# 1-d building blocks of the transition parser and the stage reducers.


def double_conv(inputs: int, outputs: int) -> nn.Sequential:
    """Build two rounds of 1-d convolution (kernel 3, same length), batch norm and ReLU."""
    return nn.Sequential(
        nn.Conv1d(inputs, outputs, 3, padding=1),
        nn.BatchNorm1d(outputs),
        nn.ReLU(inplace=True),
        nn.Conv1d(outputs, outputs, 3, padding=1),
        nn.BatchNorm1d(outputs),
        nn.ReLU(inplace=True),
    )


def halving_convs(widths: tuple[int, ...]) -> nn.Sequential:
    """Build double convolutions through `widths`, with the length halved before each but the first."""
    layers: list[nn.Module] = [double_conv(widths[0], widths[1])]
    for inputs, outputs in pairwise(widths[1:]):
        layers += [nn.MaxPool1d(2), double_conv(inputs, outputs)]
    return nn.Sequential(*layers)


# Temporal action parser: the frames of the two transitions between stages (paper section 3.3).

_WIDTHS = (SNIPPETS, 12, 24, 48, 96, FRAMES)
_HALVINGS = len(_WIDTHS) - 2


class TemporalActionParser(nn.Module):
    """Predict for every frame the log-odds of being the first and the last transition.

    The snippets are channels and the convolutions run along the features, as in the released code. The last
    layer's 96 channels are the frames.

    Args:
        features: D, length of a snippet's features.
    """

    def __init__(self, features: int) -> None:
        super().__init__()
        row = features >> _HALVINGS
        self.convs = halving_convs(_WIDTHS)
        last = nn.Linear(row, 2)
        nn.init.constant_(last.bias, -math.log(FRAMES - 1))  # prior: one frame in 96 is a transition
        self.classify = nn.Sequential(
            nn.Linear(row, 2 * row), nn.ReLU(inplace=True), nn.Linear(2 * row, row), nn.ReLU(inplace=True), last
        )

    def forward(self, features: Tensor) -> Tensor:
        """Map features [B, S, D] to logits [B, F, 2] for (first, last) transition."""
        logits: Tensor = self.classify(self.convs(features))
        return logits


def locate_transitions(logits: Tensor) -> Tensor:
    """Pick the most likely frames.

    Args:
        logits: [..., F, 2].

    Returns:
        int64 [..., 2], zero-based: the first transition in the first half of the clip, the last one in the second half.
    """
    half = FRAMES // 2
    first = logits[..., :half, 0].argmax(dim=-1)
    last = logits[..., half:, 1].argmax(dim=-1) + half
    return torch.stack((first, last), dim=-1)


# Stage features: a dive is cut at its transitions and each stage reduced to 12 tokens (paper section 3.3).

SAMPLES = 4
"""Steps that a stage of any length is resampled to."""


def resample(sequence: Tensor, start: Tensor, end: Tensor, samples: int) -> Tensor:
    """Cut a span from every sequence and interpolate it linearly, ends included.

    Spans are clipped to the sequence and hold one element at least; a span of one element is repeated.

    Args:
        sequence: [B, length, c].
        start: int64 [B], first element.
        end: int64 [B], exclusive.
        samples: Elements in the result.

    Returns:
        [B, samples, c].
    """
    batch, length, _ = sequence.shape
    start = start.clamp(0, length - 1)
    end = torch.maximum(end.clamp(max=length), start + 1)
    spacing = (end - start - 1).to(sequence.dtype) / (samples - 1)
    position = spacing[:, None] * torch.arange(samples, device=sequence.device)
    below = position.long()
    share = (position - below)[..., None]
    below = below + start[:, None]
    above = torch.minimum(below + 1, end[:, None] - 1)
    rows = torch.arange(batch, device=sequence.device)[:, None]
    return torch.lerp(sequence[rows, below], sequence[rows, above], share)


def stage_spans(transitions: Tensor) -> tuple[tuple[Tensor, Tensor], ...]:
    """Return the snippets of each stage, by the mean transitions of both dives of a pair.

    Args:
        transitions: int64 [B, 2, 2], frames of (first, last) transition for query and exemplar.

    Returns:
        (start, end) for each stage, int64 [B], neighbours overlapping by one or two snippets.
    """
    first, last = torch.div(transitions.sum(dim=1), 2 * SNIPPET_STRIDE, rounding_mode="floor").unbind(dim=-1)
    return (torch.zeros_like(first), first + 1), (first, last + 1), (last - 1, torch.full_like(last, SNIPPETS))


class StageReducer(nn.Module):
    """Reduce one stage of 4 steps of D features to 12 tokens of 64."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.convs = nn.Sequential(double_conv(SAMPLES, 8), double_conv(8, STAGE_TOKENS))
        self.reduce = nn.Sequential(
            nn.Linear(features, features // 2),
            nn.ReLU(inplace=True),
            nn.Linear(features // 2, features // 4),
            nn.ReLU(inplace=True),
            nn.Linear(features // 4, TOKEN_FEATURES),
            nn.ReLU(inplace=True),
        )

    def forward(self, stage: Tensor) -> Tensor:
        """Map [B, 4, D] to tokens [B, T, 64]."""
        tokens: Tensor = self.reduce(self.convs(stage))
        return tokens


class StageFeatures(nn.Module):
    """Features of the three stages of both dives, with one reducer a stage."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.reducers = nn.ModuleDict({stage: StageReducer(features) for stage in STAGES})

    def pool(self, features: Tensor, transitions: Tensor) -> Tensor:
        """Cut and resample: features [B, 2, S, D] and transitions int64 [B, 2, 2] to [B, 2, G, 4, D]."""
        flat = features.flatten(0, 1)
        stages = [
            resample(flat, start.repeat_interleave(2), end.repeat_interleave(2), SAMPLES)
            for start, end in stage_spans(transitions)
        ]
        return torch.stack(stages, dim=1).reshape(-1, 2, len(STAGES), *stages[0].shape[1:])

    def forward(self, features: Tensor, transitions: Tensor) -> Tensor:
        """Map features [B, 2, S, D], cut at transitions int64 [B, 2, 2], to tokens [B, 2, G, T, 64]."""
        pooled = self.pool(features, transitions)
        tokens = [
            reducer(stage.flatten(0, 1))
            for reducer, stage in zip(self.reducers.values(), pooled.unbind(dim=2), strict=True)
        ]
        return torch.stack(tokens, dim=1).reshape(-1, 2, len(STAGES), STAGE_TOKENS, TOKEN_FEATURES)


# Fine-grained contrastive regression: the difference between two dives, stage by stage (paper section 3.5).

HEADS = 8
BLOCKS = 3


class CrossAttentionBlock(nn.Module):
    """Cross-attention to the partner's tokens, then an MLP, both pre-norm with a residual connection."""

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
        attended = functional.scaled_dot_product_attention(query, key, value)
        own = own + self.output(attended.transpose(-3, -2).flatten(-2))
        result: Tensor = own + self.think(self.think_norm(own))
        return result


class CrossAttentionDecoder(nn.Module):
    """Three cross-attention blocks; all attend to the same tokens of the other dive."""

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

    One decoder serves the two stages in the air, another the entry; one MLP maps every token to a number.
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
        """Decode tokens [B, 2, G, T, 64] against their partners'; same shape."""
        other = tokens.flip(1)
        air = self.air_decoder(tokens[:, :, :2], other[:, :, :2])
        entry = self.entry_decoder(tokens[:, :, 2:], other[:, :, 2:])
        return torch.cat((air, entry), dim=2)

    def forward(self, tokens: Tensor) -> Tensor:
        """Map tokens [B, 2, G, T, 64] to stage differences [B, 2, G], this dive minus the other, in execution units."""
        per_token: Tensor = self.judge(self.decode(tokens))
        return per_token.mean(dim=(-2, -1))
