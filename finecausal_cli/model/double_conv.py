"""The 1-d building block that the transition parser and the stage reducers share."""

from __future__ import annotations

from itertools import pairwise

from torch import nn


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
