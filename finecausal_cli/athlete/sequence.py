"""What single frames leave open, time decides: joints of a flight, read frame by frame, brought into one motion.

A body in flight turns with constant angular momentum, so a frame that was read upside down, or a limb that was lost
for some frames, does not fit its neighbours. Two steps say what does. First the trunk: the likeliest track of its
direction, by the Viterbi algorithm over angle and turning speed, where changes of speed cost. Then the joints: a small
convolutional network over time, taught on simulated flights with the errors of the reader, which sees that track, the
joints as they were read and how sure they are; never a picture.

Measured on a filmed flight of 34 frames whose joints others had labelled: trunk within 30 degrees in 71% of the frames
read singly, in 47% after a network without the track (it turned over whole stretches that hold together), in all of
them by the track.

Shapes: B sequences, T frames, J joints, A bins of direction.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from finecausal_cli.athlete import JOINTS, MIRRORED
from finecausal_cli.athlete.network import DIRECTIONS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_ANGLES: Final = 72
_SPEEDS: Final = 33
_FASTEST: Final = 16.0
"""Fastest turn of the trunk in a picture, radians a second: two and a half somersaults a second."""

_CHANGES: Final = (0, -1, 1, -2, 2, -3, 3)
"""Steps of speed that may be taken from one frame to the next."""

_PUSH: Final = 0.004
"""Cost of a change of speed, (radians a second) squared over the time it takes. From 0.0008 to 0.016 the track of a
filmed flight is the same."""

_TURNED_OVER: Final = 0.15
_NOWHERE: Final = 0.15
"""Shares of a reading that are taken to be turned over, and to say nothing."""

_USUAL_STEP_S: Final = 1 / 30
_LONGEST_STEP_S: Final = 0.2
_FINEST: Final = 1e-4


class Observations(NamedTuple):
    """What was read frame by frame in windows that move smoothly.

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
        self.enter = nn.Conv1d(5 * joints + DIRECTIONS + 5, width, 1)
        self.layers = nn.ModuleList(_Layer(width, dilation) for dilation in self.config.dilations)
        self.leave = nn.Conv1d(width, 3 * joints, 1)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)  # type: ignore[arg-type]

    def forward(self, seen: Observations) -> Motion:
        """Return the motion that explains what was read."""
        joints = seen.joints.shape[2]
        there = seen.there[:, None]
        step = seen.step_s.clamp(0, _LONGEST_STEP_S) / _USUAL_STEP_S
        # The joints as they lie about the trunk that the track says, too: upright if it is right.
        cos, sin = seen.track[..., 0, None], seen.track[..., 1, None]
        about = seen.joints - seen.joints[:, :, :1]
        upright = torch.stack(
            [cos * about[..., 0] + sin * about[..., 1], cos * about[..., 1] - sin * about[..., 0]], -1
        )
        read = torch.cat(
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
    """Return the likeliest track of the trunk's direction through a flight, radians [T].

    Args:
        direction: [T, A], distribution of the direction in each frame; some of its mass is taken to be the mirror
            image's, since bodies are read upside down.
        step_s: [T], real time since the frame before.
    """
    frames = len(direction)
    angles = np.arange(_ANGLES) * 2 * np.pi / _ANGLES
    known = np.linspace(0, 2 * np.pi, DIRECTIONS + 1)
    fine = np.stack([np.interp(angles, known, np.append(row, row[0])) for row in direction])
    fine /= fine.sum(axis=1, keepdims=True)
    turned_over = np.roll(fine, _ANGLES // 2, axis=1)
    likely = np.log((1 - _TURNED_OVER - _NOWHERE) * fine + _TURNED_OVER * turned_over + _NOWHERE / _ANGLES)

    speeds = np.linspace(-_FASTEST, _FASTEST, _SPEEDS)
    state, row = np.arange(_SPEEDS), np.arange(_ANGLES)[:, None]
    cost, trail = np.repeat(likely[0][:, None], _SPEEDS, axis=1), []
    for frame in range(1, frames):
        step = max(float(step_s[frame]), 1e-3)
        before = (row - np.rint(speeds * step / (2 * np.pi / _ANGLES)).astype(int)) % _ANGLES
        tried = []
        for change in _CHANGES:
            other = np.clip(state + change, 0, _SPEEDS - 1)
            change_cost = _PUSH * (change * (speeds[1] - speeds[0])) ** 2 / step
            tried.append(cost[before, other[None]] - change_cost)
        best = np.argmax(tried, axis=0)
        cost = np.max(tried, axis=0) + likely[frame][:, None]
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
