"""The released code's second branch: single frames through a ResNet-34 (He et al., CVPR 2016).

It is not part of the paper's causal graph and leads from pixels to the score around the stage features. It exists so
that the authors' checkpoints give the authors' numbers.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from finecausal_cli.model.config import FRAMES, STAGES
from finecausal_cli.model.double_conv import halving_convs
from finecausal_cli.model.regression import ContrastiveRegression
from finecausal_cli.model.stages import resample

FRAME_FEATURES = 512
STATIC_TOKENS = 4
"""Tokens that describe one stage in this branch."""

_OVERLAP = 5  # frames a stage reaches beyond its transitions
_STAGE_SAMPLES = dict(zip(STAGES, (36, 60, 48), strict=True))
_DEPTHS = ((64, 3), (128, 4), (256, 6), (512, 3))


class ResidualBlock(nn.Module):
    """Two 3 x 3 convolutions around a shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv_a = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.norm_a = nn.BatchNorm2d(outputs)
        self.conv_b = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.norm_b = nn.BatchNorm2d(outputs)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, inputs, h, w] to [B, outputs, h / stride, w / stride]."""
        y = functional.relu(self.norm_a(self.conv_a(x)), inplace=True)
        return functional.relu(self.norm_b(self.conv_b(y)) + self.shortcut(x), inplace=True)


class ResNet34(nn.Module):
    """Describe single pictures by 512 numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
        self.norm = nn.BatchNorm2d(64)
        self.pool = nn.MaxPool2d(3, stride=2, padding=1)
        blocks, inputs = [], 64
        for depth, (outputs, count) in enumerate(_DEPTHS):
            for position in range(count):
                blocks.append(ResidualBlock(inputs, outputs, stride=2 if depth and not position else 1))
                inputs = outputs
        self.blocks = nn.Sequential(*blocks)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")

    def forward(self, pictures: Tensor) -> Tensor:
        """Map pictures [B, 3, H, W] to features [B, 512]."""
        x = self.pool(functional.relu(self.norm(self.conv(pictures)), inplace=True))
        features: Tensor = self.blocks(x).mean(dim=(2, 3))
        return features


class StaticBranch(nn.Module):
    """Compare two dives by their single frames."""

    def __init__(self) -> None:
        super().__init__()
        self.resnet = ResNet34()
        self.reducers = nn.ModuleDict(
            {stage: halving_convs((samples, 48, 24, 12, STATIC_TOKENS)) for stage, samples in _STAGE_SAMPLES.items()}
        )
        self.regression = ContrastiveRegression()

    def encode(self, clips: Tensor) -> Tensor:
        """Describe every frame of clips [B, 3, F, H, W] by itself: [B, F, 512]."""
        features: Tensor = self.resnet(clips.transpose(1, 2).flatten(0, 1))
        return features.reshape(-1, FRAMES, FRAME_FEATURES)

    def tokens(self, frames: Tensor, transitions: Tensor) -> Tensor:
        """Cut frame features [B, 2, F, 512] at each dive's own transitions, int64 [B, 2, 2]: [B, 2, G, 4, 64]."""
        flat = frames.flatten(0, 1)
        first, last = transitions.flatten(0, 1).unbind(dim=-1)
        spans = (
            (torch.zeros_like(first), first + _OVERLAP),
            (first - _OVERLAP, last + _OVERLAP),
            (last - _OVERLAP, torch.full_like(last, FRAMES)),
        )
        stages = [
            self.reducers[stage](resample(flat, start, end, samples))
            for (stage, samples), (start, end) in zip(_STAGE_SAMPLES.items(), spans, strict=True)
        ]
        return torch.stack(stages, dim=1).reshape(-1, 2, len(STAGES), *stages[0].shape[1:])
