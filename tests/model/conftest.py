"""The released computation's golden numbers and the rule that fills its checkpoint and its clips."""

import gzip
import json
import math
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch

DATA = Path(__file__).parent.parent / "data" / "parity"


def fill_tensor(name: str, shape: list[int]) -> np.ndarray:
    """Fill a tensor of the released checkpoint from its name and shape alone (zero-sum kernels, norms near one)."""
    leaf = name.rsplit(".", 1)[-1]
    if leaf == "num_batches_tracked":
        return np.zeros(shape, np.int64)
    noise = np.random.Generator(np.random.PCG64(zlib.crc32(name.encode()))).standard_normal(shape, dtype=np.float32)
    if leaf == "running_mean":
        return np.float32(0.1) * noise
    if leaf == "running_var":
        return np.float32(1) + np.float32(0.1) * np.abs(noise)
    if len(shape) == 1:
        centre, spread = {"weight": (1.0, 0.1), "bias": (0.0, 0.05)}.get(leaf, (0.5, 0.1))
        return np.float32(centre) + np.float32(spread) * noise
    noise = noise - noise.mean(axis=tuple(range(1, len(shape))), keepdims=True)
    fan_in = 8 * shape[0] if ".upsample" in name else math.prod(shape[1:])
    gain = 1.5 if ".backbone.layer" in name else 100.0 if leaf == "att" else 3.0
    return noise * np.float32(math.sqrt(gain / fan_in))


def make_clip(seed: int) -> np.ndarray:
    """Make the already normalised clip [3, 96, 112, 112] of a seed: coarse blobs and fine noise."""
    generator = np.random.Generator(np.random.PCG64(seed))
    coarse = generator.standard_normal((3, 12, 7, 7), dtype=np.float32)
    fine = generator.standard_normal((3, 96, 112, 112), dtype=np.float32)
    return coarse.repeat(8, axis=1).repeat(16, axis=2).repeat(16, axis=3) + np.float32(0.25) * fine


@pytest.fixture(scope="session")
def reference_shapes() -> dict[str, list[int]]:
    return json.loads(gzip.decompress((DATA / "reference_shapes.json.gz").read_bytes()))


@pytest.fixture(scope="session")
def checksums() -> dict[str, dict]:
    return json.loads((DATA / "checksums.json").read_text())


@pytest.fixture(scope="session")
def goldens() -> dict[str, dict[str, np.ndarray]]:
    loaded = {}
    for case in ("a", "b", "voters"):
        with np.load(DATA / f"golden_{case}.npz") as arrays:
            loaded[case] = dict(arrays)
    return loaded


@pytest.fixture(scope="session")
def filled_tensors(reference_shapes) -> dict[str, np.ndarray]:
    return {name: fill_tensor(name, shape) for name, shape in reference_shapes.items()}


@pytest.fixture(scope="session")
def clip_of():
    def build(seed: int) -> torch.Tensor:
        return torch.from_numpy(make_clip(seed))

    return build


@pytest.fixture(scope="session")
def reference_model(filled_tensors, tmp_path_factory):
    """The released checkpoint as its training saved it, converted, stored and read again."""
    from finecausal_cli.weights.convert import convert_checkpoint
    from finecausal_cli.weights.store import load_weights

    folder = tmp_path_factory.mktemp("reference")
    checkpoint: dict[str, object] = {
        "epoch": 3,
        "rho_best": np.float64(0.5),
        "L2_min": np.float64(30.0),
        "optimizer": {},
    }
    for name, array in filled_tensors.items():
        part, key = name.split(".", 1)
        checkpoint.setdefault(part, {})[f"module.{key}"] = torch.from_numpy(array)
    torch.save(checkpoint, folder / "best.pth")
    convert_checkpoint(folder / "best.pth", folder / "weights")
    return load_weights(folder / "weights").model
