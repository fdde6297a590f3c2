"""I3D, the reference encoder, its folding for inference, and equal forms of its convolutions."""

from __future__ import annotations

import copy
import itertools
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

if TYPE_CHECKING:
    from collections.abc import Iterator

    from finecausal_cli.device import ExecutionPlan


# Inflated Inception: a snippet of 16 frames to one feature vector.
#
# Source: Carreira and Zisserman, "Quo vadis, action recognition?", CVPR 2017, the RGB stream without its classifier.
# Padding follows TensorFlow's SAME rule, as the published Kinetics weights expect. Every width is scaled by the
# configuration's multiplier.

TAPS = ("conv_1a", "conv_2c", "mixed_3c", "mixed_4f")
"""Layers that the foreground parser reads, shallow to deep."""


class MixedWidths(NamedTuple):
    """Channels of one Inception block, branch by branch."""

    point: int
    reduce_a: int
    spread_a: int
    reduce_b: int
    spread_b: int
    pooled: int

    @property
    def outputs(self) -> int:
        """Channels of the concatenated branches."""
        return self.point + self.spread_a + self.spread_b + self.pooled


_MIXED_WIDTHS = {
    "mixed_3b": MixedWidths(64, 96, 128, 16, 32, 32),
    "mixed_3c": MixedWidths(128, 128, 192, 32, 96, 64),
    "mixed_4b": MixedWidths(192, 96, 208, 16, 48, 64),
    "mixed_4c": MixedWidths(160, 112, 224, 24, 64, 64),
    "mixed_4d": MixedWidths(128, 128, 256, 24, 64, 64),
    "mixed_4e": MixedWidths(112, 144, 288, 32, 64, 64),
    "mixed_4f": MixedWidths(256, 160, 320, 32, 128, 128),
    "mixed_5b": MixedWidths(256, 160, 320, 32, 128, 128),
    "mixed_5c": MixedWidths(384, 192, 384, 48, 128, 128),
}
_CHANNEL_STEP = 4


def _scale(channels: int, width: float) -> int:
    """Scale a channel count to the nearest multiple of four, at least four; exact at width 1."""
    return max(_CHANNEL_STEP, round(channels * width / _CHANNEL_STEP) * _CHANNEL_STEP)


def mixed_widths(name: str, width: float) -> MixedWidths:
    """Return the scaled channels of a block; the last block's branches sum to D = 1024 * width exactly."""
    scaled = MixedWidths(*(_scale(channels, width) for channels in _MIXED_WIDTHS[name]))
    if name == "mixed_5c":
        scaled = scaled._replace(point=scaled.point + round(1024 * width) - scaled.outputs)
    return scaled


class ConvUnit(nn.Module):
    """Convolution, batch norm, ReLU.

    SAME padding adds ``kernel - stride`` zeros an axis, the smaller half in front, whatever the input's size.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int = 1, stride: int = 1) -> None:
        super().__init__()
        total = max(kernel - stride, 0)
        before, after = total // 2, total - total // 2
        self.pad = (before, after) * 3 if before != after else None
        self.conv = nn.Conv3d(inputs, outputs, kernel, stride, padding=0 if self.pad else before, bias=False)
        self.norm = nn.BatchNorm3d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, inputs, t, h, w] to [B, outputs, t / stride, h / stride, w / stride]."""
        if self.pad is not None:
            x = functional.pad(x, self.pad)
        return functional.relu(self.norm(self.conv(x)), inplace=True)


class MixedBlock(nn.Module):
    """An Inception block of four branches: 1 x 1 x 1, two of 3 x 3 x 3, and max pooling."""

    def __init__(self, inputs: int, widths: MixedWidths) -> None:
        super().__init__()
        self.point = ConvUnit(inputs, widths.point)
        self.reduce_a = ConvUnit(inputs, widths.reduce_a)
        self.spread_a = ConvUnit(widths.reduce_a, widths.spread_a, kernel=3)
        self.reduce_b = ConvUnit(inputs, widths.reduce_b)
        self.spread_b = ConvUnit(widths.reduce_b, widths.spread_b, kernel=3)
        self.pool = nn.MaxPool3d(3, stride=1, padding=1)
        self.pooled = ConvUnit(inputs, widths.pooled)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, inputs, t, h, w] to [B, outputs, t, h, w]."""
        branches = (
            self.point(x),
            self.spread_a(self.reduce_a(x)),
            self.spread_b(self.reduce_b(x)),
            self.pooled(self.pool(x)),
        )
        return torch.cat(branches, dim=1)


def _pool(kernel: tuple[int, int, int], stride: tuple[int, int, int]) -> nn.MaxPool3d:
    """Build a SAME max pool.

    The rule pads one zero behind each even axis. Inputs are rectified, so that equals letting the last window
    hang over the edge, which is what ceil mode does without a copy.
    """
    return nn.MaxPool3d(kernel, stride, ceil_mode=True)


class I3D(nn.Module):
    """Encode snippets.

    Args:
        width: Multiplier of every channel count; the output has ``1024 * width`` features.
    """

    def __init__(self, width: float = 1.0) -> None:
        super().__init__()
        stem, wide = _scale(64, width), _scale(192, width)
        widths = {name: mixed_widths(name, width) for name in _MIXED_WIDTHS}
        layers: dict[str, nn.Module] = {
            "conv_1a": ConvUnit(3, stem, kernel=7, stride=2),
            "pool_2a": _pool((1, 3, 3), (1, 2, 2)),
            "conv_2b": ConvUnit(stem, stem),
            "conv_2c": ConvUnit(stem, wide, kernel=3),
            "pool_3a": _pool((1, 3, 3), (1, 2, 2)),
        }
        pools = {"mixed_3c": ("pool_4a", (3, 3, 3)), "mixed_4f": ("pool_5a", (2, 2, 2))}
        channels = wide
        for name, block in widths.items():
            layers[name] = MixedBlock(channels, block)
            channels = block.outputs
            if name in pools:
                pool_name, kernel = pools[name]
                layers[pool_name] = _pool(kernel, (2, 2, 2))
        self.layers = nn.ModuleDict(layers)
        self.features = channels
        self.tap_channels = (stem, wide, widths["mixed_3c"].outputs, widths["mixed_4f"].outputs)
        for module in self.modules():
            if isinstance(module, nn.Conv3d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")

    def walk(self, snippets: Tensor) -> Iterator[tuple[str, Tensor]]:
        """Yield the name and output [B, c, t, h, w] of every layer in order, for snippets [B, 3, 16, H, W]."""
        x = snippets
        for name, layer in self.layers.items():
            x = layer(x)
            yield name, x

    def forward(self, snippets: Tensor, *, taps: bool = False) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Encode snippets [B, 3, 16, H, W] as features [B, D]; with `taps`, return the outputs at `TAPS` too."""
        kept = []
        x = snippets
        for name, x in self.walk(snippets):
            if taps and name in TAPS:
                kept.append(x)
        return x.mean(dim=(2, 3, 4)), tuple(kept)


# Folding for inference: a faster copy of equal results.
#
# Batch norms are folded into the convolutions before them, the point-wise convolutions of an Inception block that
# read the same input are merged, and kernels are laid out channels-last.

NetworkKind = TypeVar("NetworkKind", bound=nn.Module)

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_CHANNELS_LAST = {4: torch.channels_last, 5: torch.channels_last_3d}
"""Memory format of kernels by their number of axes."""

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
    """Return an equal copy in evaluation mode: norms folded into convolutions, kernels channels-last.

    Its tensors have other names, so it can be neither trained nor saved.
    """
    folded = copy.deepcopy(model).eval()
    for module in folded.modules():
        _fold_norms(module)
    for parent in list(folded.modules()):
        for name, child in parent.named_children():
            if isinstance(child, MixedBlock):
                parent.add_module(name, MergedMixedBlock(child))
    for parameter in folded.parameters():
        parameter.requires_grad_(False)
    return to_channels_last(folded)


def follow_plan(network: nn.Module, plan: ExecutionPlan) -> None:
    """Bring a folded backbone into the form of an execution plan, in place; inputs must be of the plan's type."""
    if plan.convolutions != "volumes":
        for parent in list(network.modules()):
            for name, child in parent.named_children():
                form = _point_form(child) if plan.convolutions == "points" else _plane_form(child)
                if form is not None:
                    parent.add_module(name, form)
    network.to(plan.dtype)
    if plan.layout == "contiguous":
        for parameter in network.parameters():
            parameter.data = parameter.data.contiguous()


def to_channels_last(model: NetworkKind) -> NetworkKind:
    """Convert kernels to channels-last, in place: convolutions run fastest so, up to three times on a CPU."""
    for parameter in model.parameters():
        if parameter.ndim in _CHANNELS_LAST:
            parameter.data = parameter.data.contiguous(memory_format=_CHANNELS_LAST[parameter.ndim])
    return model


def _fold_norms(parent: nn.Module) -> None:
    """Fold every norm among a module's children into the convolution right before it."""
    children = list(parent.named_children())
    for (conv_name, conv), (norm_name, norm) in itertools.pairwise(children):
        if isinstance(conv, _CONVOLUTIONS) and isinstance(norm, _NORMS):
            parent.add_module(conv_name, fuse_conv_bn_eval(conv, norm))
            parent.add_module(norm_name, nn.Identity())


# Other forms of 3-D convolutions, equal to rounding.
#
# GPUs multiply matrices and convolve in 2-D several times faster than in 3-D, above all below fp32. With the channels
# innermost, a frame of a map of volumes is a map of a picture: what follows only looks at the same numbers otherwise,
# but for the copies of a frame to its neighbours in time.


def _frames_of(x: Tensor) -> Tensor:
    """Show volumes [B, c, t, h, w] as pictures [B * t, c, h, w]; a view where channels are innermost."""
    return x.transpose(1, 2).flatten(0, 1)


def _volumes_of(frames: Tensor, t: int) -> Tensor:
    """Show pictures [B * t, c, h, w] as volumes [B, c, t, h, w]."""
    return frames.reshape(-1, t, *frames.shape[1:]).transpose(1, 2)


class PointConvolution(nn.Module):
    """A 1 x 1 x 1 convolution as a matrix product."""

    def __init__(self, conv: nn.Conv3d) -> None:
        super().__init__()
        self.weight = nn.Parameter(conv.weight.flatten(1).clone(), requires_grad=False)
        self.bias = conv.bias

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, inputs, t, h, w] to [B, outputs, t, h, w]."""
        return functional.linear(x.movedim(1, -1), self.weight, self.bias).movedim(-1, 1)


class PlaneConvolution(nn.Module):
    """A convolution with a cubic kernel k and stride 1 as a 2-D one: each frame has its k neighbours as channels.

    Args:
        weight: [outputs, inputs, k, k, k].
        bias: [outputs] or None.
        pads: Zeros in front and behind, on every axis; they add to k - 1.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None, pads: tuple[int, int]) -> None:
        super().__init__()
        stacked = weight.transpose(1, 2).flatten(1, 2).contiguous(memory_format=torch.channels_last)
        self.weight = nn.Parameter(stacked, requires_grad=False)
        self.bias = bias
        self.kernel, (self.before, self.after) = weight.shape[2], pads

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, inputs, t, h, w] to [B, outputs, t, h, w]."""
        t = x.shape[2]
        if self.before != self.after:
            x = functional.pad(x, (self.before, self.after) * 2)
        batch, channels, _, h, w = x.shape
        stacked = x.new_empty(batch, t, h, w, self.kernel * channels).movedim(-1, 1)
        for index in range(self.kernel):
            shift = index - self.before
            first, last = max(0, -shift), t - max(0, shift)
            part = stacked[:, index * channels : (index + 1) * channels]
            part[:, :, first:last] = x[:, :, first + shift : last + shift]
            part[:, :, :first] = 0
            part[:, :, last:] = 0
        padding = self.before if self.before == self.after else 0
        return _volumes_of(functional.conv2d(_frames_of(stacked), self.weight, self.bias, padding=padding), t)


class HalvingPlaneConvolution(nn.Module):
    """The 7 x 7 x 7 convolution of stride 2: one of 4 x 4 x 4 and stride 1 on blocks of 2 x 2 x 2 as channels.

    Three channels become 24, which fill the tiles of a matrix unit.
    """

    def __init__(self, conv: nn.Conv3d) -> None:
        super().__init__()
        outputs, inputs = conv.weight.shape[:2]
        kernel = functional.pad(conv.weight, (0, 1) * 3).reshape(outputs, inputs, 4, 2, 4, 2, 4, 2)
        blocks = kernel.permute(0, 1, 3, 5, 7, 2, 4, 6).flatten(1, 4)
        self.planes = PlaneConvolution(blocks, conv.bias, (1, 2))

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, inputs, t, h, w], all even, to [B, outputs, t / 2, h / 2, w / 2]."""
        batch, channels, t, h, w = x.shape
        halves = x.reshape(batch, channels, t // 2, 2, h // 2, 2, w // 2, 2)
        blocks = halves.permute(0, 2, 4, 6, 1, 3, 5, 7).flatten(4).movedim(-1, 1)
        convolved: Tensor = self.planes(blocks)
        return convolved


class PlanePool(nn.Module):
    """A max pool, first over pictures, then over time."""

    def __init__(self, pool: nn.MaxPool3d) -> None:
        super().__init__()
        kernel, stride, padding = (
            (value,) * 3 if isinstance(value, int) else tuple(value)
            for value in (pool.kernel_size, pool.stride, pool.padding)
        )
        self.over_time = kernel[0], stride[0], padding[0]
        self.over_pictures = nn.MaxPool2d(kernel[1:], stride[1:], padding[1:], ceil_mode=pool.ceil_mode)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, c, t, h, w], t a multiple of the stride, to [B, c, t / stride, h / stride, w / stride]."""
        t = x.shape[2]
        pooled = _volumes_of(self.over_pictures(_frames_of(x)), t)
        kernel, stride, padding = self.over_time
        if kernel == stride == 1:
            return pooled
        out = pooled[:, :, ::stride].clone(memory_format=torch.preserve_format)  # the frame at the pads' end
        for offset in range(-padding, kernel - padding):
            first = -(offset // stride) if offset < 0 else 0
            seen = pooled[:, :, first * stride + offset :: stride]
            count = min(seen.shape[2], out.shape[2] - first)
            part = out[:, :, first : first + count]
            torch.maximum(part, seen[:, :, :count], out=part)
        return out


def _point_form(module: nn.Module) -> nn.Module | None:
    """Return the equal form of a 1 x 1 x 1 convolution; None of other modules."""
    if isinstance(module, nn.Conv3d) and module.kernel_size == (1, 1, 1):
        return PointConvolution(module)
    return None


def _plane_form(module: nn.Module) -> nn.Module | None:
    """Return the equal form without 3-D operations; None of modules that have none."""
    if isinstance(module, ConvUnit) and module.conv.kernel_size == (7, 7, 7):
        return nn.Sequential(HalvingPlaneConvolution(module.conv), module.norm, nn.ReLU(inplace=True))
    if isinstance(module, nn.Conv3d) and module.kernel_size == (3, 3, 3) and module.stride == (1, 1, 1):
        return PlaneConvolution(module.weight, module.bias, (1, 1))
    if isinstance(module, nn.MaxPool3d):
        return PlanePool(module)
    return _point_form(module)
