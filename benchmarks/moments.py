"""Train the networks that read take-off and entry: ``python -m benchmarks.moments OUT FOLDER...``.

Each FOLDER is a simulated dataset (``simulate --world wild``) with ``meta`` and ``joints``. Every dive is searched for,
and the path that lies on its athlete is cut to strips as the search does: as it was found and as laid anew through
bounds that are off by some hundredths of a second. The networks differ in their seed. The shipped ones were trained
on 290 and 410 files, for 24 and 18 epochs.
"""

from __future__ import annotations

import argparse
import json
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors.numpy import save_file
from torch import nn
from torch.nn import functional

from finecausal_cli.tracking.ballistic import BallisticSearch, Paths, apex
from finecausal_cli.tracking.camera import chain, measure_steps
from finecausal_cli.tracking.flights import MOST_FPS, SIDE
from finecausal_cli.tracking.motion import motion_heat
from finecausal_cli.tracking.transitions import CELL_S, CHANNELS, DOWN_M, MOMENTS_S, strip_along
from finecausal_cli.video.decoders import Scanner

if TYPE_CHECKING:
    from numpy.typing import NDArray

TRIES, JITTER_S, SIGMA_S = 3, 0.05, 0.03
"""Times a path is laid anew, how far its bounds are off, and breadth of the target, standard deviations in seconds."""

NEAR_M = 0.8
"""Most median distance of a path from the middle of the joints."""


class Network(nn.Module):
    """the network of ``tracking.transitions``, for training: float32 [batch, channels, heights, moments] to logits."""

    pos: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        rows = ((len(DOWN_M) - 5) // 2 + 1 - 5) // 2 + 1
        self.c1 = nn.Conv2d(CHANNELS, 12, 5, stride=(2, 1), padding=(0, 2))
        self.c2 = nn.Conv2d(12, 16, 5, stride=(2, 1), dilation=(1, 2), padding=(0, 4))
        self.c3 = nn.Conv2d(16, 32, (rows, 1))
        self.c4 = nn.Conv1d(42, 32, 9, padding=8, dilation=2)
        self.c5 = nn.Conv1d(32, 32, 9, padding=8, dilation=2)
        self.c6 = nn.Conv1d(32, 2, 1)
        bumps = np.exp(-0.5 * ((MOMENTS_S - np.linspace(-0.9, 1.8, 10)[:, None]) / 0.25) ** 2)
        self.register_buffer("pos", torch.tensor(bumps, dtype=torch.float32))

    def forward(self, strips: torch.Tensor) -> torch.Tensor:
        """Return logits of take-off and entry, float32 [batch, 2, moments]."""
        row = self.c3(self.c2(self.c1(strips).relu()).relu()).relu()[:, :, 0]
        row = functional.dropout(row, 0.2, self.training)
        row = self.c4(torch.cat([row, self.pos.expand(len(row), -1, -1)], 1)).relu()
        logits: torch.Tensor = self.c6(self.c5(functional.dropout(row, 0.2, self.training)).relu())
        return logits


def strips_of(folder: Path, number: str, rng: np.random.Generator) -> list[tuple[NDArray[np.float32], list[float]]]:
    """Cut the strips of one simulated file, each with its take-off and entry from the highest point."""
    meta = json.loads((folder / "meta" / f"{number}.json").read_text())
    scanner = Scanner(folder / "videos" / f"{number}.mp4", side=SIDE, most_fps=MOST_FPS)
    frames = list(scanner.frames())
    pictures = np.stack([frame.picture for frame in frames])
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        camera = chain(np.array([frame.time_s for frame in frames]), measure_steps(pictures, pool))
        search = BallisticSearch(motion_heat(pictures, camera, pool))
    slow = float(meta["time_scale"]) if meta["time_scale"] > 1.2 else 1.0
    ends_s = np.array([meta["flight_start_s"], meta["entry_start_s"]])
    to_heat = np.array(search.heat.raw.shape[:0:-1]) / scanner.info.upright_size[::-1]
    with np.load(folder / "joints" / f"{number}.npz") as known:
        times, joints, scale = known["times_s"] - known["times_s"][0], known["joints"], known["px_per_m"]
    index = np.flatnonzero((search.times > ends_s[0] + 0.1 * slow) & (search.times < ends_s[1] - 0.1 * slow))
    centre = [np.interp(search.times[index], times, joints[..., a].mean(axis=1)) * to_heat[a] for a in (0, 1)]
    metre = np.interp(search.times[index], times, scale) * to_heat[1]

    def is_near(path: Paths) -> bool:
        x, y = search.picture(index, *(one[0] for one in search.position(path, index[None])))
        return bool(np.median(np.hypot(x - centre[0], y - centre[1]) / metre) < NEAR_M)

    found: list[tuple[NDArray[np.float32], list[float]]] = []
    paths = search.find()
    for row in range(min(len(paths), 12)) if len(index) > 2 else ():
        path = replace(paths.take(np.array([row])), slow=np.array([slow]))
        if not is_near(path):
            continue
        bounds = ends_s + rng.normal(0, JITTER_S * slow, (TRIES, 2))
        for one in (path, *(search.fit(path, *map(float, pair)) for pair in bounds)):
            if one is not None and is_near(one):
                highest_s = float(search.times[one.middle[0]] + apex(one)[0])
                found.append((strip_along(search, one), ((ends_s - highest_s) / slow).tolist()))
        break
    return found


def augmented(strip: NDArray[np.float32], ends: NDArray[np.float64], rng: np.random.Generator) -> Any:
    """Shift, mirror, hide, blot and dull one strip; its two moments move along."""
    strip, shift = strip.copy(), int(rng.integers(-3, 4))
    strip = np.roll(strip, (int(rng.integers(-2, 3)), shift), axis=(1, 2))
    ends = ends + shift * CELL_S
    if rng.random() < 0.5:
        strip[:5] = strip[4::-1]
    if rng.random() < 0.3:
        # A low frame rate shows the same for several moments.
        step = int(rng.integers(2, 4))
        strip = strip[:, :, np.minimum(np.arange(len(MOMENTS_S)) // step * step + step // 2, len(MOMENTS_S) - 1)]
    if rng.random() < 0.4:
        row, column, band = (int(rng.integers(0, most)) for most in (36, len(MOMENTS_S) - 20, 5))
        strip[band : band + 2, row : row + 4, column : column + 12] += 0.6 * rng.random()
    strip[:6] = np.clip(
        strip[:6] ** rng.uniform(0.7, 1.3) + 0.06 * rng.random() * rng.normal(size=strip[:6].shape), 0, 1
    )
    for end, at in enumerate(ends):
        if rng.random() < 0.15:
            cut = int(np.clip((at + rng.uniform(-0.35, 0.45) - MOMENTS_S[0]) / CELL_S, 0, len(MOMENTS_S)))
            strip[:, :, slice(cut) if end == 0 else slice(cut, None)] = 0
    return strip, ends


def train(data: list[tuple[NDArray[np.float32], list[float]]], epochs: int, seed: int) -> Network:
    """Train one network."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    network = Network()
    batches = max(1, len(data) // 32)
    optimizer = torch.optim.AdamW(network.parameters(), 2e-3, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=epochs * batches + 1)
    for _ in range(epochs):
        for batch in np.array_split(rng.permutation(len(data)), batches):
            some = [augmented(data[one][0], np.array(data[one][1]), rng) for one in batch]
            target = np.exp(-0.5 * ((MOMENTS_S - np.stack([ends for _, ends in some])[..., None]) / SIGMA_S) ** 2)
            target /= np.maximum(target.sum(axis=2, keepdims=True), 1e-6)
            logits = network(torch.tensor(np.stack([strip for strip, _ in some]), dtype=torch.float32))
            loss = functional.cross_entropy(
                logits.flatten(0, 1), torch.tensor(target, dtype=torch.float32).flatten(0, 1)
            )
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
    return network


def main() -> None:
    """Train two networks and write their weights to one file."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.moments", description=__doc__)
    parser.add_argument("out", type=Path, help="such as finecausal_cli/tracking/moments.safetensors")
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--epochs", type=int, default=18)
    args = parser.parse_args()
    rng = np.random.default_rng(0)
    files = [(folder, file.stem) for folder in args.folders for file in sorted((folder / "meta").glob("*.json"))]
    data = [one for folder, number in files for one in strips_of(folder, number, rng)]
    weights = {
        f"{seed}.{name}": value.numpy().astype(np.float16)
        for seed in range(2)
        for name, value in train(data, args.epochs, seed).state_dict().items()
    }
    save_file(weights, args.out)


if __name__ == "__main__":
    main()
