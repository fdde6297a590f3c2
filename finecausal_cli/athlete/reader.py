"""Athlete reader: weights on disk -> `AthleteReader` -> joints, outline and their confidence."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import cv2
import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch.nn import functional

from finecausal_cli.athlete import ENDS
from finecausal_cli.athlete.ends import EndNetwork, SplashNetwork, end_looks, read_ends, size_splashes, splash_looks
from finecausal_cli.athlete.network import (
    STRIDE,
    AthleteNetwork,
    NetworkConfig,
    Observations,
    SequenceConfig,
    SequenceNetwork,
    direction_track,
    steps_of,
)
from finecausal_cli.atomic import atomic_write
from finecausal_cli.errors import WeightsError
from finecausal_cli.model.i3d import fold_for_inference

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray
    from torch import Tensor, nn

    from finecausal_cli.athlete import End
    from finecausal_cli.athlete.ends import EndReading

CONFIG_NAME: Final = "reader.json"
"""Not ``config.json``, which marks weights of the scoring network."""

TENSORS_NAME: Final = "reader.safetensors"
FORMAT_VERSION: Final = 1

_SEQUENCE: Final = "sequence."
_SPLASH: Final = "splash."
"""What the names of the tensors of the other networks begin with in the file."""

_SHORTEST_MOTION: Final = 5
_AT_ONCE: Final = 32
_PEAK_CELLS: Final = 2
"""A joint's position is the mean of its distribution within so many cells of its peak: the mean over all of it would
lie between the left and the right joint."""

_NEAR: Final = 0.06
"""A joint's confidence is the probability that it is within this share of the window's side (half a trunk's length in
a window of usual size), by the error that the network expects."""

SQUARE_OVER_WINDOW: Final = 2
WHOLE_SIDE: Final = 224
"""Long side that whole frames are brought to, pixels."""

_ROOM: Final = 1.4
"""Side of a window over the extent of the outline in it."""

_CLOSEST: Final = 0.27
"""Least side of a closer window, as a share of the square's: 0.8 m of 3 m, a tucked body."""

_MIN_SEEN: Final = 0.4
_SLOWING: Final = 0.8
"""Pace of a body that is followed and not seen, over that of the frame before."""

_SMALLEST_SHARE: Final = 6 / 32**2
"""Least part of a window that an athlete's outline covers."""

_AVERAGED: Final = 0.7
"""Scale below which a picture is reduced by averaging."""

_PACKAGE = Path(__file__).resolve().parent.parent
_FOLDERS = (_PACKAGE / "bundled" / "weights" / "athlete", _PACKAGE.parent / "weights" / "athlete")


@dataclass(frozen=True, slots=True)
class BodyReading:
    """Joints and outlines in N windows of S x S pixels.

    Attributes:
        joints: float32 [N, J, 2], x and y in pixels of the window, in the order of ``skeleton.JOINTS``.
        confidence: float32 [N, J], 0..1, probability that the joint is near its estimate.
        outline: float32 [N, S/O, S/O], probability of athlete; O is the network's ``outline_stride``.
        seen: float32 [N], probability that an athlete is there.
        recognised: float32 [N], the same by the pictures alone: what moves may be a ball.
        direction: float32 [N, A], distribution of the trunk's direction over the bins of ``network.DIRECTIONS``.
        windows: float32 [N, 3], centre x, centre y and side of the squares that ``outline`` covers, in pixels of the
            input pictures, as ``joints`` are.
    """

    joints: NDArray[np.float32]
    confidence: NDArray[np.float32]
    outline: NDArray[np.float32]
    seen: NDArray[np.float32]
    direction: NDArray[np.float32]
    windows: NDArray[np.float32]
    recognised: NDArray[np.float32]


class AthleteReader:
    """A trained athlete network for inference.

    Args:
        network: The network of single frames, in evaluation mode; a copy of it is folded for speed.
        sequence: The network that smooths joints over time; None leaves single frames.
        splash: The network that sizes splashes; None leaves them unknown.
        ends: The networks that tell the ends of a flight; without one, its end stays as the search found it.
        digest: Digest of its weights, for provenance.
        device: Device of the networks.
    """

    def __init__(
        self,
        network: AthleteNetwork,
        sequence: SequenceNetwork | None = None,
        splash: SplashNetwork | None = None,
        *,
        ends: Mapping[End, EndNetwork] | None = None,
        digest: str = "",
        device: str | torch.device = "cpu",
    ) -> None:
        self.config = network.config
        self.digest = digest
        self._device = torch.device(device)
        self._network = fold_for_inference(network).to(self._device)
        self._sequence = None if sequence is None else sequence.eval().to(self._device)
        self._splash = None if splash is None else splash.eval().to(self._device)
        self._ends = {end: fold_for_inference(network).to(self._device) for end, network in (ends or {}).items()}

    def __repr__(self) -> str:
        return f"AthleteReader({self.digest or 'unsaved'}, window {self.window_size} px, {self._device})"

    @property
    def window_size(self) -> int:
        """Side of the windows it reads, pixels."""
        return self.config.window_size

    @property
    def square_size(self) -> int:
        """Best side of the squares of ``read_motion``, pixels: a closer window is cut from them."""
        return SQUARE_OVER_WINDOW * self.config.window_size

    @classmethod
    def load(cls, folder: Path | None = None, device: str | torch.device = "cpu") -> AthleteReader:
        """Load the reader that comes with the package, or that of a folder.

        Raises:
            WeightsError: There is none, or it cannot be trusted.
        """
        weights = folder or next((path for path in _FOLDERS if (path / CONFIG_NAME).is_file()), None)
        if weights is None:
            raise WeightsError("the athlete reader's weights are missing", hint="install the package again")
        stored = load_network(weights)
        networks = stored.network, stored.sequence, stored.splash
        return cls(*networks, ends=stored.ends, digest=str(stored.config["digest"]), device=device)

    def read_motion(
        self,
        pictures: NDArray[np.uint8],
        real_times_s: Sequence[float],
        in_flight: NDArray[np.bool_] | None = None,
        moved: NDArray[np.uint8] | None = None,
    ) -> BodyReading:
        """Read one flight: detect the body in every picture, read a closer window, and smooth the joints over time.

        Args:
            pictures: uint8 [N, R, R, 3], RGB, squares of about 3 m around the athlete in order of time, which move
                smoothly; R best the reader's ``square_size``.
            real_times_s: When each was, in real time (file time over the slow-motion factor), rising.
            in_flight: bool [N], frames of the flight, which alone are smoothed. None for all.
            moved: uint8 [N, R, R, 4], what moves in the pictures (``movement.read_movement``); None where that is not
                known.
        """
        size = pictures.shape[1]
        read = self.read_closer(pictures, moved)
        if not len(pictures):
            return read
        flying = np.flatnonzero(np.ones(len(pictures), bool) if in_flight is None else in_flight)
        if self._sequence is None or len(flying) < _SHORTEST_MOTION:
            return read
        steps = steps_of(np.asarray(real_times_s, np.float64)[flying].tolist())
        angle = direction_track(read.direction[flying], steps.numpy().astype(np.float64))
        track = np.stack([np.cos(angle), np.sin(angle)], axis=-1).astype(np.float32)
        joints, confidence = read.joints[flying] / size - 0.5, read.confidence[flying]
        arrays = (joints, confidence, read.direction[flying], track, read.seen[flying])
        tensors = [*map(torch.as_tensor, arrays), steps, torch.ones(len(flying))]
        fields = [tensor[None].to(self._device) for tensor in tensors]
        with torch.inference_mode():
            motion = self._sequence(Observations(*fields))
            smoothed = 1 - torch.exp(-_NEAR / motion.spread[0].exp())
        joints, confidence = read.joints.copy(), read.confidence.copy()
        joints[flying] = (motion.joints[0].cpu().numpy() + 0.5) * size
        confidence[flying] = smoothed.cpu().numpy()
        return replace(read, joints=joints, confidence=confidence)

    def read_closer(self, pictures: NDArray[np.uint8], moved: NDArray[np.uint8] | None = None) -> BodyReading:
        """Read squares as ``read_motion`` does, but without smoothing: the training input of the sequence network."""
        size = pictures.shape[1]
        whole = np.tile(np.array([size / 2, size / 2, size], np.float32), (len(pictures), 1))
        first = self._read_in(pictures, whole, moved)
        return self._read_in(pictures, closer_windows(first, size), moved) if len(pictures) else first

    def follow(
        self, pictures: NDArray[np.uint8], real_times_s: NDArray[np.float64], place: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Follow the body from frame to frame.

        Where no body is seen it goes on as it went, ever slower.

        Args:
            pictures: uint8 [N, 2R, 2R, 3], RGB, twice as wide as those of ``read_motion``.
            real_times_s: float64 [N], when each was, rising.
            place: float64 [2], x and y of its middle in the first picture, pixels.

        Returns:
            float64 [N, 2], x and y of the middle of its outline, pixels of the pictures.
        """
        pace, places = np.zeros(2), np.zeros((len(pictures), 2))
        for index, step_s in enumerate(np.diff(real_times_s, prepend=real_times_s[:1]).tolist()):
            expected = place + pace * step_s
            window = np.array([[*expected, pictures.shape[1] / 2]], np.float32)
            read = self._read_in(pictures[index : index + 1], window)
            bounds = np.array(_bounds(read.outline[0], window[0]))
            if np.isfinite(bounds).all() and read.seen[0] > _MIN_SEEN:
                there = (bounds[:2] + bounds[2:]) / 2
                pace = (pace + (there - place) / step_s) / 2 if step_s > 0 else pace
                place = there
            else:
                place, pace = expected, _SLOWING * pace
            places[index] = place
        return places

    def _read_in(
        self, pictures: NDArray[np.uint8], windows: NDArray[np.float32], moved: NDArray[np.uint8] | None = None
    ) -> BodyReading:
        """Read a window of each picture; joints are returned in pixels of the picture."""
        side = self.window_size
        moving = None
        if moved is not None and self.config.movement:
            moving = _cut_each(moved, windows, side, cv2.BORDER_CONSTANT)
        read = self.read(_cut_each(pictures, windows, side), moving)
        scale = windows[:, None, 2:] / side
        joints = (read.joints - side / 2) * scale + windows[:, None, :2]
        return replace(read, joints=joints.astype(np.float32), windows=windows)

    def read(self, windows: NDArray[np.uint8], moved: NDArray[np.uint8] | None = None) -> BodyReading:
        """Read windows around the athlete independently.

        Args:
            windows: uint8 [N, S, S, 3], RGB, S the reader's ``window_size``.
            moved: uint8 [N, S, S, 4], what moves in them (``movement.read_movement``); None where that is not known.
        """
        side = self.window_size
        padded = windows if len(windows) else np.zeros((1, side, side, 3), np.uint8)
        moving = moved if len(windows) else None
        parts = [
            self._read(padded[first : first + _AT_ONCE], None if moving is None else moving[first : first + _AT_ONCE])
            for first in range(0, len(padded), _AT_ONCE)
        ]
        joints, confidence, outline, seen, direction, recognised = (
            np.concatenate(rows)[: len(windows)] for rows in zip(*parts, strict=True)
        )
        whole = np.tile(np.array([side / 2, side / 2, side], np.float32), (len(windows), 1))
        return BodyReading(joints, confidence, outline, seen, direction, whole, recognised)

    def size_splash(
        self, pictures: NDArray[np.uint8], since_entry_s: NDArray[np.float64]
    ) -> tuple[float, float] | None:
        """Return the size of the splash, 0 (rip) to 1, and the standard deviation of the error expected of it.

        None where the water is not seen long enough.

        Args:
            pictures: uint8 [N, R, R, 3], RGB, squares around the place of the entry (``splash_window``).
            since_entry_s: float64 [N], real seconds since the entry, rising.
        """
        looks = None if self._splash is None or not len(pictures) else splash_looks(pictures, since_entry_s)
        if looks is None or self._splash is None:
            return None
        shown, known = (torch.from_numpy(each)[None].to(self._device) for each in looks)
        with torch.inference_mode():
            predicted = size_splashes(self._splash, shown, known)
        return float(predicted.size[0]), float(predicted.log_spread[0].exp())

    def read_end(self, end: End, pictures: NDArray[np.uint8], since_s: NDArray[np.float64]) -> EndReading | None:
        """Return when an end of the flight is, and how the body leans then; None where too few pictures show it.

        Args:
            end: Which end.
            pictures: uint8 [N, R, R, 3], the squares of ``read_motion``.
            since_s: float64 [N], real seconds since the end as the search found it.
        """
        network = self._ends.get(end)
        looks = None if network is None else end_looks(end, pictures, since_s)
        if looks is None or network is None:
            return None
        shown, known, times = (torch.from_numpy(each)[None].to(self._device) for each in looks)
        with torch.inference_mode():
            return read_ends(network, (shown, known, times))[0]

    def predict_mask(self, frames: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the probability of athlete over whole frames, float32 [N, H/4, W/4].

        Args:
            frames: uint8 [N, H, W, 3], RGB, at about 192 pixels on the longer side; H and W multiples of 4.
        """
        height, width = frames.shape[1:3]
        pads = (-height % 32, -width % 32)
        masks = []
        for first in range(0, len(frames), _AT_ONCE):
            padded = np.pad(frames[first : first + _AT_ONCE], ((0, 0), (0, pads[0]), (0, pads[1]), (0, 0)))
            with torch.inference_mode():
                maps = self._network(torch.from_numpy(padded).to(self._device).permute(0, 3, 1, 2))
            outline = maps.outline.float().sigmoid()[:, None]
            coarse = functional.avg_pool2d(outline, STRIDE // self.config.outline_stride)[:, 0]
            masks.append(coarse.cpu().numpy()[:, : height // STRIDE, : width // STRIDE])
        return np.concatenate(masks) if masks else np.zeros((0, height // STRIDE, width // STRIDE), np.float32)

    def likely(self, frames: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the probability of athlete at every pixel of whole frames of any size, float32 [N, H, W].

        Args:
            frames: uint8 [N, H, W, 3], RGB.
        """
        height, width = frames.shape[1:3]
        scale = WHOLE_SIDE / max(height, width)
        size = (max(round(width * scale / STRIDE), 1) * STRIDE, max(round(height * scale / STRIDE), 1) * STRIDE)
        out = np.zeros(frames.shape[:3], np.float32)
        for first in range(0, len(frames), _AT_ONCE):
            part = frames[first : first + _AT_ONCE]
            small = np.stack([cv2.resize(frame, size, interpolation=cv2.INTER_AREA) for frame in part])
            for index, mask in enumerate(self.predict_mask(small)):
                out[first + index] = cv2.resize(mask, (width, height), interpolation=cv2.INTER_LINEAR)
        return out

    def _read(self, windows: NDArray[np.uint8], moved: NDArray[np.uint8] | None) -> tuple[NDArray[np.float32], ...]:
        with torch.inference_mode():
            maps = self._network(self._planes(windows), None if moved is None else self._planes(moved))
            joints = local_soft_argmax(maps.heat.float()) * windows.shape[1]
            confidence = 1 - torch.exp(-_NEAR / maps.spread.float().exp())
            seen, recognised = maps.seen.sigmoid(), maps.recognised.sigmoid()
            values = (joints, confidence, maps.outline.sigmoid(), seen, maps.direction.softmax(-1), recognised)
        return tuple(np.asarray(value.float().cpu().numpy(), np.float32) for value in values)

    def _planes(self, pictures: NDArray[np.uint8]) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(pictures)).to(self._device).permute(0, 3, 1, 2)


def local_soft_argmax(heat: Tensor) -> Tensor:
    """Return the mean position [N, J, 2] (sides of the picture) around the peak of each map of logits [N, J, H, W]."""
    height, width = heat.shape[-2:]
    probability = heat.flatten(-2).softmax(-1).reshape(heat.shape)
    smooth = functional.avg_pool2d(probability, 3, stride=1, padding=1)
    top = smooth.flatten(-2).argmax(-1)
    row, column = top // width, top % width
    rows, columns = torch.arange(height, device=heat.device), torch.arange(width, device=heat.device)
    near_row = (rows - row[..., None]).abs() <= _PEAK_CELLS
    near_column = (columns - column[..., None]).abs() <= _PEAK_CELLS
    near = probability * near_row[..., :, None] * near_column[..., None, :]
    near = near / near.sum((-2, -1), keepdim=True).clamp(min=1e-12)
    x = (near.sum(-2) * (columns + 0.5)).sum(-1) / width
    y = (near.sum(-1) * (rows + 0.5)).sum(-1) / height
    return torch.stack([x, y], dim=-1)


def closer_windows(read: BodyReading, size: int) -> NDArray[np.float32]:
    """Return windows [N, 3] around the bodies in squares of a side of ``size`` pixels.

    A window has the margin of those in training, is smoothed over time, and is interpolated where no body is detected.
    """
    from scipy.ndimage import gaussian_filter1d, maximum_filter1d, median_filter

    boxes = np.array([_bounds(outline, window) for outline, window in zip(read.outline, read.windows, strict=True)])
    detected = np.isfinite(boxes).all(axis=1) & (read.seen > _MIN_SEEN)
    if not detected.any():
        return read.windows
    index = np.arange(len(boxes))
    boxes = np.stack([np.interp(index, index[detected], column[detected]) for column in boxes.T], axis=1)
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    extents = (boxes[:, 2:] - boxes[:, :2]).max(axis=1)
    centres = gaussian_filter1d(median_filter(centres, (5, 1), mode="nearest"), 1.0, axis=0, mode="nearest")
    steady = maximum_filter1d(median_filter(extents, 5, mode="nearest"), 3, mode="nearest")
    sides = np.clip(_ROOM * gaussian_filter1d(steady, 1.5, mode="nearest"), _CLOSEST * size, size)
    return np.column_stack([centres, sides]).astype(np.float32)


def _bounds(outline: NDArray[np.float32], window: NDArray[np.float32]) -> tuple[float, float, float, float]:
    """Return the box of the largest part of an outline in pixels of the picture; not-a-number without any."""
    count, _, facts, _ = cv2.connectedComponentsWithStats((outline > 0.5).astype(np.uint8), connectivity=8)
    if count < 2 or facts[1:, cv2.CC_STAT_AREA].max() < _SMALLEST_SHARE * outline.size:
        return (np.nan,) * 4
    left, top, width, height, _ = facts[1 + int(facts[1:, cv2.CC_STAT_AREA].argmax())].tolist()
    unit = float(window[2]) / outline.shape[0]
    x, y = (float(window[axis]) - float(window[2]) / 2 for axis in (0, 1))
    return x + left * unit, y + top * unit, x + (left + width) * unit, y + (top + height) * unit


def outline_in(read: BodyReading, index: int, size: int) -> NDArray[np.float32]:
    """Return the outline in a picture of ``size`` pixels, float32 [size, size], 0 outside of its window."""
    x, y, side = read.windows[index].tolist()
    outline = read.outline[index]
    scale = side / outline.shape[0]
    # The centre of the first cell lies half a cell inside of the window, that of the first pixel half a pixel.
    shift = [centre - side / 2 + scale / 2 - 0.5 for centre in (x, y)]
    there = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]])
    return np.asarray(cv2.warpAffine(outline, there, (size, size), flags=cv2.INTER_LINEAR), np.float32)


def _cut_each(
    pictures: NDArray[np.uint8], windows: NDArray[np.float32], size: int, border: int = cv2.BORDER_REPLICATE
) -> NDArray[np.uint8]:
    """Cut a window of each picture [N, R, R, C]: [N, size, size, C]."""
    cut = [cut_window(picture, window, size, border) for picture, window in zip(pictures, windows, strict=True)]
    return np.stack(cut) if cut else np.zeros((0, size, size, pictures.shape[-1]), np.uint8)


def cut_window(
    picture: NDArray[np.uint8], window: NDArray[Any], size: int, border: int = cv2.BORDER_REPLICATE
) -> NDArray[np.uint8]:
    """Cut a square (centre x, centre y, side) out of a picture or mask and bring it to ``size`` pixels.

    Args:
        picture: uint8 [H, W, 3] or [H, W].
        window: The square, pixels of the picture; it may reach outside.
        size: Side to bring it to.
        border: What OpenCV puts beyond the picture's edge.
    """
    x, y, side = window.tolist()
    scale = size / side
    matrix = np.array([[scale, 0, size / 2 - scale * x], [0, scale, size / 2 - scale * y]])
    if scale < _AVERAGED:  # warpAffine does not average
        picture = np.asarray(cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)
        matrix = np.array([[1.0, 0, matrix[0, 2]], [0, 1.0, matrix[1, 2]]])
    cut = cv2.warpAffine(picture, matrix, (size, size), flags=cv2.INTER_LINEAR, borderMode=border)
    return np.asarray(cut, np.uint8)


def save_network(
    folder: Path,
    config: NetworkConfig,
    tensors: Mapping[str, Tensor],
    facts: Mapping[str, Any],
    sequence: SequenceNetwork | None = None,
    splash: SplashNetwork | None = None,
    ends: Mapping[End, EndNetwork] | None = None,
) -> None:
    """Write a reader's weights in half precision, with its configuration and metadata.

    Args:
        folder: Created if missing.
        config: Its configuration.
        tensors: Its state dict.
        facts: Metadata: source, licence, training, metrics.
        sequence: The network that smooths joints over time.
        splash: The network that sizes splashes.
        ends: The networks that tell the ends of a flight.
    """
    import hashlib

    folder.mkdir(parents=True, exist_ok=True)
    if sequence is not None:
        tensors = {**tensors, **{f"{_SEQUENCE}{name}": value for name, value in sequence.state_dict().items()}}
        facts = {"sequence": sequence.config.as_dict(), **facts}
    for prefix, network in ((_SPLASH, splash), *((f"{end}.", network) for end, network in (ends or {}).items())):
        if network is not None:
            tensors = {**tensors, **{f"{prefix}{name}": value for name, value in network.state_dict().items()}}
            facts = {**facts, prefix[:-1]: True}
    kept = {
        name: (value.half() if value.is_floating_point() else value).contiguous().cpu()
        for name, value in tensors.items()
        if not name.endswith("num_batches_tracked")
    }
    with atomic_write(folder / TENSORS_NAME, "the reader's weights") as part:
        save_file(kept, part)
        digest = hashlib.sha256(part.read_bytes()).hexdigest()[:16]
    described = {"format_version": FORMAT_VERSION, "digest": digest, "network": config.as_dict(), **facts}
    with atomic_write(folder / CONFIG_NAME, "the reader's configuration") as part:
        part.write_text(json.dumps(described, indent=1) + "\n", encoding="utf-8")


class StoredReader(NamedTuple):
    """A reader's networks, in evaluation mode, and its configuration."""

    network: AthleteNetwork
    sequence: SequenceNetwork | None
    splash: SplashNetwork | None
    ends: dict[End, EndNetwork]
    config: dict[str, Any]

    @property
    def facts(self) -> dict[str, Any]:
        """Its metadata, which ``save_network`` is given again with other networks."""
        derived = {"format_version", "digest", "network", "sequence"}
        return {name: value for name, value in self.config.items() if name not in derived}


def load_network(folder: Path) -> StoredReader:
    """Load a reader's networks and its configuration.

    Raises:
        WeightsError: A file is missing, damaged, of another version or does not belong.
    """
    import hashlib

    try:
        config = json.loads((folder / CONFIG_NAME).read_text(encoding="utf-8"))
        version, digest = config["format_version"], config["digest"]
        sizes = NetworkConfig(**{"outline_stride": STRIDE, **config["network"]})  # the first readers did not say
        stored_sequence = config.get("sequence")
        sequence = (
            None
            if stored_sequence is None
            else SequenceNetwork(SequenceConfig(stored_sequence["width"], tuple(stored_sequence["dilations"])))
        )
        content = (folder / TENSORS_NAME).read_bytes()
    except OSError as error:
        raise WeightsError(f"cannot be read: {error.strerror}", where=error.filename or folder) from error
    except (ValueError, KeyError, TypeError) as error:
        raise WeightsError("not the configuration of an athlete reader", where=folder / CONFIG_NAME) from error
    if version != FORMAT_VERSION:
        raise WeightsError(f"format {version} is not known", where=folder, hint="install a newer version")
    if hashlib.sha256(content).hexdigest()[:16] != digest:
        raise WeightsError("the weights are not those of the configuration", where=folder / TENSORS_NAME)
    try:
        stored = {name: value.float() for name, value in load_file(folder / TENSORS_NAME).items()}
    except (SafetensorError, OSError) as error:
        raise WeightsError("the weights are damaged", where=folder / TENSORS_NAME) from error
    splash = SplashNetwork() if config.get("splash") else None
    ends = {end: EndNetwork() for end in ENDS if config.get(end)}
    network = AthleteNetwork(sizes)
    try:
        others = {_SEQUENCE: sequence, _SPLASH: splash, **{f"{end}.": ends.get(end) for end in ENDS}}
        _fill(network, {name: value for name, value in stored.items() if not name.startswith(tuple(others))})
        for prefix, part in others.items():
            _fill(part, {name.removeprefix(prefix): stored[name] for name in stored if name.startswith(prefix)})
    except RuntimeError as error:
        raise WeightsError("the weights do not fit the network", where=folder / TENSORS_NAME) from error
    return StoredReader(network, sequence, splash, ends, config)


def _fill(network: nn.Module | None, tensors: Mapping[str, Tensor]) -> None:
    """Give a network its tensors, all but the counters of batches, which are not stored."""
    if network is None:
        return
    counters = {name: value for name, value in network.state_dict().items() if name.endswith("num_batches_tracked")}
    network.load_state_dict({**tensors, **counters})
    network.eval()
