"""Teach a trunk the motion of simulated dives: ``python weights/pretrain.py DATASET OUT [--init WEIGHTS]``.

A pair of dives says of three hundred frames only which was the better one, and a trunk trained on that learns what is
seen at a glance, the splash, long before it learns what costs points in the air. The simulator knows the motion at
every frame (``tracks``) and what the judges saw (``meta``). Here single snippets are held to that: the joint angles,
where the body is and how it is turned, which stage it is in, the foreground, and the faults of the stages that the
snippet shows. A trunk that reads single frames is asked all of this of every frame too. Then
``finecausal train --init trunk:OUT`` goes on as on any data set.

What maps features to these targets is thrown away: the result is an ordinary network whose trunk and foreground know
dives and whose other modules know nothing. Resumes from ``OUT/pretrain.pt``; validates on the data set's validation
dives.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from rich.console import Console
from torch import Tensor, nn
from torch.nn import functional

from finecausal_cli.assess.device import resolve_device
from finecausal_cli.data.cache import ClipCache
from finecausal_cli.data.open import read_dataset
from finecausal_cli.data.places import default_cache
from finecausal_cli.data.splits import assign_splits
from finecausal_cli.model.config import PRESETS
from finecausal_cli.model.finecausal import FineCausal
from finecausal_cli.model.fold import lay_out
from finecausal_cli.model.frames import FRAME_FEATURES, FrameTrunk, cut_frames
from finecausal_cli.training.options import build_config
from finecausal_cli.video.clip import SNIPPET_FRAMES
from finecausal_cli.video.sampling import sample_indices
from finecausal_cli.video.transform import normalise
from finecausal_cli.weights.registry import resolve_weights
from finecausal_cli.weights.store import load_weights, save_weights
from finecausal_cli.whole_file import whole_file

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from finecausal_cli.data.dive import Dive

CONSOLE = Console(highlight=False, soft_wrap=True)

HIDDEN = 256
"""Values that everything asked of one frame is read from."""

SEEN = {
    "rise": "crouch",
    "lean_deg": "leaving",
    "clearance": "leaving",
    "steadiness": "stance",
    "openness": "flight",
    "legs_apart": "flight",
    "feet": "flight",
    "crossed": "flight",
    "late_s": "flight",
    "entry_deg": "entry",
    "twist_deg": "entry",
    "arch": "entry",
    "arms": "entry",
    "splash": "entry",
}
"""What the judges see, and the stretch of the dive in which it shows."""

CROUCH, LEAVING, ENTERING = (-10, 0), (-3, 10), (-8, 10)
"""Frames around a transition that show how it went. How high a dive rises shows in how deep it is begun."""

LEAST_SHOWN = {"stance": 6, "crouch": 8, "leaving": 6, "flight": 8, "entry": 1}
"""Frames of a stretch that a snippet must show to be asked what shows in it."""

BEFORE_LEAVING = (4, 22)
"""Frames before the board is left at which a snippet starts that is cut to show the take-off."""

SHARP = 0.2
"""Errors of the motion, in its standard deviations, from which on they count as they are and not squared."""

FOREGROUND_EVERY = 8
"""One frame in so many (of an I3D, one snippet) is asked for its foreground, which costs as much as the trunk."""


@dataclass(frozen=True)
class Targets:
    """What is known of one dive.

    Attributes:
        motion: [96, M], joint angles and place of the body.
        visible: [96], False under water.
        stage: [96] 0 before, 1 in, 2 after the flight.
        seen: [K] what the judges saw.
        transitions: Sampled frames at which flight and entry begin.
    """

    motion: NDArray[np.float32]
    visible: NDArray[np.bool_]
    stage: NDArray[np.int64]
    seen: NDArray[np.float32]
    transitions: tuple[int, int]

    def stretches(self) -> NDArray[np.int64]:
        """Return first frame and end of the stretch in which each of `SEEN` shows: [K, 2]."""
        leave, enter = self.transitions
        found = {
            "stance": (0, leave),
            "crouch": (leave + CROUCH[0], leave + CROUCH[1]),
            "leaving": (leave + LEAVING[0], leave + LEAVING[1]),
            "flight": (leave, enter),
            "entry": (enter + ENTERING[0], enter + ENTERING[1]),
        }
        return np.array([found[stretch] for stretch in SEEN.values()])

    def shown_by_frame(self) -> NDArray[np.bool_]:
        """Tell which frames show what of `SEEN`: [96, K]."""
        first, end = self.stretches().T
        frame = np.arange(len(self.motion))[:, None]
        return (frame >= first) & (frame < end)

    def shown_by_snippet(self, start: int) -> NDArray[np.bool_]:
        """Tell what of `SEEN` the snippet from frame ``start`` shows: [K]."""
        first, end = self.stretches().T
        overlap = np.minimum(end, start + SNIPPET_FRAMES) - np.maximum(first, start)
        return overlap >= np.array([LEAST_SHOWN[stretch] for stretch in SEEN.values()])


def read_targets(dive: Dive) -> Targets:
    """Read what the simulator wrote beside a dive."""
    root, name = dive.video.parent.parent, dive.video.with_suffix(".json").name
    record = json.loads((root / "meta" / name).read_text(encoding="utf-8"))
    track = json.loads((root / "tracks" / name).read_text(encoding="utf-8"))
    frames = sample_indices(0, record["frames"] - 1)
    turn, twist = (np.radians(np.array(track[key]))[frames] for key in ("somersault_deg", "twist_deg"))
    height = np.array(track["centre_m"])[frames, 2]
    after = np.searchsorted(frames, [record["twist_start"], record["entry_start"]])
    stage = (np.arange(len(frames))[:, None] >= after).sum(1)
    # Mirrored pictures show the same dive: only what a mirror leaves alone is asked for.
    place = [np.cos(turn), np.abs(np.sin(turn)), np.cos(2 * twist), height - height[min(after[0], 95)], height]
    place.append(np.gradient(height))
    angles = [np.radians(np.abs(np.array(track["pose_deg"][key]))[frames]) for key in track["pose_deg"]]
    seen = [abs(float(record["seen"][key])) for key in SEEN]
    return Targets(
        motion=np.stack([*place, *angles], axis=1).astype(np.float32),
        visible=frames < record["entry_start"] + 3,
        stage=stage,
        seen=np.array(seen, np.float32),
        transitions=(int(after[0]), int(after[1])),
    )


@dataclass(frozen=True)
class Snippets:
    """Snippets with what they are held to; B of them.

    Attributes:
        pictures: float [B, 3, 16, S, S], normalised.
        mask: float [B, 16, S, S].
        motion: [B, 16, M], standardised.
        visible: bool [B, 16].
        stage: int64 [B, 16].
        seen: [B, K], standardised.
        shown: bool [B, K], what the snippet shows.
        shown_by_frame: bool [B, 16, K], what each of its frames shows.
    """

    pictures: Tensor
    mask: Tensor
    motion: Tensor
    visible: Tensor
    stage: Tensor
    seen: Tensor
    shown: Tensor
    shown_by_frame: Tensor

    def to(self, device: torch.device) -> Snippets:
        """Return them on another device."""
        return Snippets(*(getattr(self, one.name).to(device, non_blocking=True) for one in fields(self)))


class Shelf:
    """The dives of one split with their targets.

    Args:
        dives: Simulated dives.
        cache: Their clips.
        size: Side of the crop, pixels.
    """

    def __init__(self, dives: list[Dive], cache: ClipCache, size: int) -> None:
        self._dives, self._cache, self._size = dives, cache, size
        self.targets = [read_targets(dive) for dive in dives]

    def __len__(self) -> int:
        return len(self._dives)

    def scale(self) -> tuple[Tensor, Tensor]:
        """Return mean and spread of motion and of what was seen, as [2, M] and [2, K]."""
        motion = np.concatenate([one.motion[one.visible] for one in self.targets])
        seen = np.stack([one.seen for one in self.targets])
        return tuple(torch.tensor(np.stack([x.mean(0), x.std(0) + 1e-3])) for x in (motion, seen))  # type: ignore[return-value]

    def draw(self, place: int, count: int, rng: np.random.Generator, at_takeoff: float) -> list[int]:
        """Draw where snippets of a dive start: a share shortly before the board is left, the others anywhere."""
        last = len(self.targets[place].motion) - SNIPPET_FRAMES
        anywhere = rng.integers(0, last + 1, count)
        before = self.targets[place].transitions[0] - rng.integers(*BEFORE_LEAVING, count)
        starts: list[int] = np.where(rng.random(count) < at_takeoff, np.clip(before, 0, last), anywhere).tolist()
        return starts

    def cut(self, place: int, starts: list[int], rng: np.random.Generator | None) -> list[tuple[NDArray, ...]]:
        """Cut snippets out of a dive, at random places and mirrored at random if there is chance."""
        clip, target, size = self._cache.load(self._dives[place]), self.targets[place], self._size
        free = np.array(clip.frames.shape[1:3]) - size
        top, left = free // 2 if rng is None else rng.integers(free + 1)
        step = -1 if rng is not None and rng.random() < 0.5 else 1
        assert clip.mask is not None  # noqa: S101 -- simulated dives have masks
        cuts = []
        for start in starts:
            window = np.s_[start : start + SNIPPET_FRAMES, top : top + size, left : left + size]
            frames, mask = clip.frames[window][:, :, ::step], clip.mask[window][:, :, ::step]
            asked = slice(start, start + SNIPPET_FRAMES)
            motion, visible, stage = target.motion[asked], target.visible[asked], target.stage[asked]
            shown, by_frame = target.shown_by_snippet(start), target.shown_by_frame()[asked]
            pictures = np.ascontiguousarray(frames)
            cuts.append((pictures, mask.copy(), motion, visible, stage, target.seen, shown, by_frame))
        return cuts


def put_together(
    cuts: list[tuple[NDArray, ...]], scale: tuple[Tensor, Tensor], light: np.random.Generator | None
) -> Snippets:
    """Make a batch; ``light`` changes brightness and contrast a little."""
    frames, mask, *facts = zip(*cuts, strict=True)
    pictures = torch.stack([normalise(each) for each in frames])
    if light is not None:
        gain, shift = (torch.tensor(light.normal(m, 0.15, (len(cuts), 1, 1, 1, 1))).float() for m in (1.0, 0.0))
        pictures = pictures * gain + shift
    motion, visible, stage, seen, shown, by_frame = (torch.from_numpy(np.stack(each)) for each in facts)
    (mean, spread), (seen_mean, seen_spread) = scale
    return Snippets(
        pictures=pictures,
        mask=torch.from_numpy(np.stack(mask)).float(),
        motion=(motion - mean) / spread,
        visible=visible,
        stage=stage,
        seen=(seen - seen_mean) / seen_spread,
        shown=shown,
        shown_by_frame=by_frame,
    )


@dataclass(frozen=True)
class Answers:
    """What a pupil says of B snippets.

    Attributes:
        motion: [B, 16, M].
        stage: Logits [B, 16, 3].
        seen: [B, K], of the whole snippet.
        seen_by_frame: [B, 16, K], of single frames; None where the trunk does not read such.
        foreground: Logits of a part of the frames.
        mask: What they should show.
    """

    motion: Tensor
    stage: Tensor
    seen: Tensor
    seen_by_frame: Tensor | None
    foreground: Tensor
    mask: Tensor


class Pupil(nn.Module):
    """A network's trunk and foreground, and what reads the targets off the features.

    Args:
        network: The network; only its trunk and its parser are trained.
        motion: M, values of motion a frame.
        seen: K, things judges see.
        foreground_apart: Let the foreground read the trunk's depths without shaping them.
    """

    def __init__(self, network: FineCausal, motion: int, seen: int, *, foreground_apart: bool = False) -> None:
        super().__init__()
        self.trunk, self.parser = network.video_trunk, network.parser
        self._foreground_apart = foreground_apart
        features = network.config.features
        by_frame = isinstance(self.trunk, FrameTrunk)
        self.shared = nn.Linear(FRAME_FEATURES, HIDDEN) if by_frame else nn.Linear(features, SNIPPET_FRAMES * HIDDEN)
        self.motion = nn.Linear(HIDDEN, motion)
        self.stage = nn.Linear(HIDDEN, 3)
        self.seen_by_frame = nn.Linear(HIDDEN, seen) if by_frame else None
        self.seen = nn.Sequential(nn.Linear(features, features), nn.ReLU(), nn.Dropout(0.2), nn.Linear(features, seen))

    def forward(self, batch: Snippets, every: int) -> Answers:
        """Answer everything, of the foreground only one frame in ``every``."""
        if isinstance(self.trunk, FrameTrunk):
            frames = cut_frames(batch.pictures)
            vectors, taps = self.trunk.read_frames(frames, taps=True)
            vectors = vectors.unflatten(0, batch.motion.shape[:2])
            features, hidden = self.trunk.join(vectors), self.shared(vectors)
            foreground = self.parser.heads(self._some(taps, every), frames[::every])
            mask = batch.mask.flatten(0, 1)[::every]
        else:
            features, taps = self.trunk(batch.pictures, taps=True)
            hidden = self.shared(features).unflatten(1, (SNIPPET_FRAMES, HIDDEN))
            foreground = self.parser.find(self._some(taps, every), batch.pictures[::every], sides=False)[-1]
            mask = batch.mask[::every]
        hidden = functional.relu(hidden)
        by_frame = None if self.seen_by_frame is None else self.seen_by_frame(hidden)
        return Answers(self.motion(hidden), self.stage(hidden), self.seen(features), by_frame, foreground, mask)

    def _some(self, taps: tuple[Tensor, ...], every: int) -> tuple[Tensor, ...]:
        some = tuple(tap[::every] for tap in taps)
        return tuple(tap.detach() for tap in some) if self._foreground_apart else some

    def losses(self, batch: Snippets, counts: Tensor) -> dict[str, Tensor]:
        """Return the losses of a batch by name; ``counts`` [K] as for `error_of_shown`."""
        found = self(batch, FOREGROUND_EVERY)
        foreground, mask = found.foreground.float(), found.mask
        chance = foreground.sigmoid()
        overlap = 2 * (chance * mask).sum() / (chance.sum() + mask.sum() + 1)
        losses = {
            "motion": 2
            * functional.smooth_l1_loss(found.motion[batch.visible].float(), batch.motion[batch.visible], beta=SHARP),
            "stage": functional.cross_entropy(found.stage.float().flatten(0, 1), batch.stage.flatten()),
            "seen": error_of_shown(found.seen, batch.seen, batch.shown, counts),
            "foreground": 4 * functional.binary_cross_entropy_with_logits(foreground, mask) + 1 - overlap,
        }
        if found.seen_by_frame is not None:
            losses["seen_by_frame"] = error_of_shown(
                found.seen_by_frame, batch.seen[:, None], batch.shown_by_frame, counts
            )
        return losses


def read_counts(text: str) -> list[float]:
    """Read how much an error counts in some stretches, ``crouch=3,flight=2``, as a number for each of `SEEN`.

    Raises:
        ValueError: There is no such stretch, or no number.
    """
    given = {name.strip(): float(count) for name, _, count in (part.partition("=") for part in text.split(",") if part)}
    unknown = given.keys() - set(SEEN.values())
    if unknown:
        raise ValueError(f"no stretch {sorted(unknown)[0]!r}")
    return [given.get(stretch, 1.0) for stretch in SEEN.values()]


def error_of_shown(found: Tensor, truth: Tensor, shown: Tensor, counts: Tensor) -> Tensor:
    """Return the mean squared error of what is shown, [..., K], each of `SEEN` counting so much, [K]."""
    squared = (found.float() - truth).square().where(shown, 0).flatten(0, -2).sum(0)
    return (squared / shown.flatten(0, -2).sum(0).clamp(min=1) * counts).mean()


@torch.no_grad()
def validate(
    pupil: Pupil, shelf: Shelf, scale: tuple[Tensor, Tensor], dives: int, device: torch.device
) -> dict[str, float]:
    """Measure on whole dives: correlations of what was seen, shares of right stages, IoU of the foreground."""
    pupil.eval()
    found, truth, right, total, both, either = [], [], 0, 0, 0.0, 0.0
    for place in range(min(dives, len(shelf))):
        batch = put_together(shelf.cut(place, list(range(0, 81, 10)), None), scale, None).to(device)
        said = pupil(batch, 1)
        right, total = right + int((said.stage.argmax(2) == batch.stage).sum()), total + batch.stage.numel()
        both += float(((said.foreground > 0) & (said.mask > 0)).sum())
        either += float(((said.foreground > 0) | (said.mask > 0)).sum())
        shown = batch.shown.float()
        found.append(((said.seen * shown).sum(0) / shown.sum(0).clamp(min=1)).cpu().numpy())
        truth.append(batch.seen[0].cpu().numpy())
    pairs = zip(SEEN, np.array(found).T, np.array(truth).T, strict=True)
    figures = {name: float(np.corrcoef(left, other)[0, 1]) for name, left, other in pairs}
    return {"stage": right / total, "foreground_iou": both / max(either, 1.0), **figures}


def main() -> None:
    """Train, validate, save."""
    parser = argparse.ArgumentParser(prog="python weights/pretrain.py", description="Teach a trunk simulated motion.")
    parser.add_argument("dataset", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--preset", choices=sorted(PRESETS), default="compact")
    parser.add_argument("--init", help="weights whose trunk and foreground to begin with")
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--dives", type=int, default=16, help="dives in a batch")
    parser.add_argument("--snippets", type=int, default=1, help="snippets of each")
    parser.add_argument("--at-takeoff", type=float, default=0.3, help="share of the snippets cut to show the take-off")
    parser.add_argument(
        "--counts",
        type=read_counts,
        default="",
        help="how much an error counts by stretch, e.g. crouch=3,flight=2; 1 where not said",
    )
    parser.add_argument(
        "--foreground-apart",
        action="store_true",
        help="let the foreground read the trunk without shaping it; for a network with a second trunk for it",
    )
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--lr", type=float, default=1.5e-3)
    parser.add_argument("--every", type=int, default=500, help="steps between checkpoints")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cache", type=Path, default=default_cache())
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)

    torch.manual_seed(asked.seed)
    config = build_config(asked.preset)
    network = lay_out(FineCausal(config))
    if asked.init:
        known = load_weights(resolve_weights(asked.init)).model
        network.video_trunk.load_state_dict(known.video_trunk.state_dict())
        network.parser.load_state_dict(known.parser.state_dict())
    cache = ClipCache(asked.cache, geometry=config.geometry, frame_size=config.frame_size)
    dives = assign_splits(list(read_dataset(asked.dataset)))
    training, held_out = (
        Shelf([dive for dive in dives if dive.split == split], cache, config.frame_size) for split in ("train", "val")
    )
    scale = training.scale()
    device = resolve_device(asked.device)
    counts = torch.tensor(asked.counts, device=device)
    if asked.precision == "bf16" and device.type == "cpu" and config.trunk != "frames":
        parser.error("gradients of 3-D convolutions in bf16 are wrong on a CPU")
    motion, seen = training.targets[0].motion.shape[1], len(training.targets[0].seen)
    pupil = Pupil(network, motion, seen, foreground_apart=asked.foreground_apart).to(device)
    optimizer = torch.optim.AdamW(pupil.parameters(), asked.lr, weight_decay=1e-2)
    first, checkpoint = 0, asked.out / "pretrain.pt"
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True, map_location=device)
        pupil.load_state_dict(state["pupil"])
        optimizer.load_state_dict(state["optimizer"])
        first = int(state["step"])
    started = time.monotonic()
    for step in range(first, asked.steps):
        rate = min(1.0, (step + 1) / 100) * 0.5 * (1 + math.cos(math.pi * step / asked.steps))
        for group in optimizer.param_groups:
            group["lr"] = asked.lr * rate
        rng = np.random.default_rng((asked.seed, step))
        torch.manual_seed(asked.seed * 1_000_003 + step)
        chosen = rng.choice(len(training), min(asked.dives, len(training)), replace=False)
        cuts = [
            one
            for place in chosen
            for one in training.cut(int(place), training.draw(int(place), asked.snippets, rng, asked.at_takeoff), rng)
        ]
        pupil.train()
        with torch.autocast(device.type, torch.bfloat16, enabled=asked.precision == "bf16"):
            losses = pupil.losses(put_together(cuts, scale, rng).to(device), counts)
        optimizer.zero_grad()
        sum(losses.values()).backward()  # type: ignore[union-attr]
        nn.utils.clip_grad_norm_(pupil.parameters(), 5.0)
        optimizer.step()
        if step % 50 == 0:
            told = "  ".join(f"{name} {loss.item():.3f}" for name, loss in losses.items())
            CONSOLE.print(f"step {step}  {told}  {time.monotonic() - started:.0f} s")
        if (step + 1) % asked.every == 0 or step + 1 == asked.steps:
            figures = validate(pupil, held_out, scale, 40 if step + 1 < asked.steps else len(held_out), device)
            CONSOLE.print("  ".join(f"{name} {value:.2f}" for name, value in figures.items()))
            with whole_file(checkpoint, "the checkpoint") as part:
                torch.save({"pupil": pupil.state_dict(), "optimizer": optimizer.state_dict(), "step": step + 1}, part)
            told = {"step": step + 1, "dataset": asked.dataset.name, **figures}
            save_weights(asked.out, network, {"pretrained": told})


if __name__ == "__main__":
    main()
