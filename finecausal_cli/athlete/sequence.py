"""What single frames leave open, time decides: joints of a flight, read frame by frame, brought into one motion.

A body in flight turns with constant angular momentum, so a frame that was read upside down, or a limb that was lost
for some frames, does not fit its neighbours. A small convolutional network over time, taught on simulated flights with
the errors of the reader, says what does. It sees joints, how sure they are and the distribution of the trunk's
direction; never a picture.

Shapes: B sequences, T frames, J joints, A bins of direction.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import torch
from torch import Tensor, nn

from finecausal_cli.athlete.network import DIRECTIONS
from finecausal_cli.athlete.skeleton import JOINTS, MIRRORED

if TYPE_CHECKING:
    from collections.abc import Sequence

_USUAL_STEP_S: Final = 1 / 30
_LONGEST_STEP_S: Final = 0.2
_FINEST: Final = 1e-4


class Observations(NamedTuple):
    """What was read frame by frame in windows that move smoothly.

    Attributes:
        joints: [B, T, J, 2], sides of the window from its middle, -0.5..0.5.
        confidence: [B, T, J], 0..1.
        direction: [B, T, A], distribution of the trunk's direction.
        seen: [B, T], 0..1.
        step_s: [B, T], real time since the frame before, seconds; 0 for the first.
        there: [B, T], 1 for a frame, 0 for padding.
    """

    joints: Tensor
    confidence: Tensor
    direction: Tensor
    seen: Tensor
    step_s: Tensor
    there: Tensor


class Motion(NamedTuple):
    """Joints in one motion.

    Attributes:
        joints: [B, T, J, 2], as in ``Observations``.
        spread: [B, T, J], log of the scale (Laplace) of the error expected, sides of the window.
    """

    joints: Tensor
    spread: Tensor


@dataclass(frozen=True, slots=True)
class SequenceConfig:
    """Sizes of the sequence network.

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
        self.enter = nn.Conv1d(3 * joints + DIRECTIONS + 3, width, 1)
        self.layers = nn.ModuleList(_Layer(width, dilation) for dilation in self.config.dilations)
        self.leave = nn.Conv1d(width, 3 * joints, 1)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)  # type: ignore[arg-type]

    def forward(self, seen: Observations) -> Motion:
        """Return the motion that explains what was read."""
        joints = seen.joints.shape[2]
        there = seen.there[:, None]
        step = seen.step_s.clamp(0, _LONGEST_STEP_S) / _USUAL_STEP_S
        read = torch.cat(
            [
                4 * seen.joints.clamp(-1, 1).flatten(2),
                2 * seen.confidence - 1,
                (seen.direction + 0.01).log() / 4 + 0.5,
                (2 * seen.seen - 1)[..., None],
                step[..., None] - 1,
                seen.there[..., None],
            ],
            dim=-1,
        )
        features = self.enter(read.transpose(1, 2) * there)
        for layer in self.layers:
            features = layer(features, there)
        out = self.leave(features).transpose(1, 2).unflatten(2, (joints, 3))
        moved = seen.joints + 0.25 * out[..., :2]
        return Motion(moved, (out[..., 2] - 3.0).clamp(-6.0, 0.0))


def mirrored(seen: Observations) -> Observations:
    """Return what the mirror image would have been read as."""
    order = list(MIRRORED)
    joints = seen.joints[:, :, order] * torch.tensor([-1.0, 1.0], device=seen.joints.device)
    bins = [(DIRECTIONS // 2 - number) % DIRECTIONS for number in range(DIRECTIONS)]
    return seen._replace(joints=joints, confidence=seen.confidence[:, :, order], direction=seen.direction[:, :, bins])


def turned(joints: Tensor, direction: Tensor, bins: int) -> tuple[Tensor, Tensor]:
    """Turn joints [..., J, 2] and direction [..., A] about the window's middle by so many bins."""
    angle = torch.tensor(2 * torch.pi * bins / DIRECTIONS)
    cos, sin = torch.cos(angle), torch.sin(angle)
    matrix = torch.stack([torch.stack([cos, sin]), torch.stack([-sin, cos])]).to(joints)
    return joints @ matrix, torch.roll(direction, bins, dims=-1)


def steps_of(times_s: Sequence[float]) -> Tensor:
    """Return the time since the frame before [T] for rising times."""
    times = torch.as_tensor(times_s, dtype=torch.float32)
    return torch.cat([torch.zeros(1), times.diff().clamp(min=_FINEST)]) if len(times) else times
