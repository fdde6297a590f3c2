"""Conversion refuses by name; that a conversion is right is what tests/model/test_parity.py proves."""

import gzip
import json
import os
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from finecausal_cli.errors import OutputError, WeightsError
from finecausal_cli.model import PRESETS, FineCausal
from finecausal_cli.weights import convert as reference_names
from finecausal_cli.weights.convert import convert_checkpoint, flatten_checkpoint, map_tensors, read_checkpoint

PATH = Path("best.pth")
SHAPES = Path(__file__).parent.parent / "data" / "parity" / "reference_shapes.json.gz"


def blank(shape):
    """A tensor of any shape that takes no memory."""
    return torch.zeros(()).expand(shape)


@pytest.fixture
def foreign():
    """Every tensor of a released checkpoint."""
    shapes = json.loads(gzip.decompress(SHAPES.read_bytes()))
    return {name: blank(shape) for name, shape in shapes.items()}


@pytest.fixture(scope="module")
def expected():
    with torch.device("meta"):
        return FineCausal(PRESETS["reference"]).state_dict()


def test_every_released_tensor_has_its_place(foreign, expected):
    state, left_out = map_tensors(foreign, expected, PATH)
    assert state.keys() == expected.keys()
    assert all(state[name].shape == tensor.shape for name, tensor in expected.items())
    assert [each.split("*")[0] for each in left_out] == list(reference_names.UNUSED)


def test_no_two_of_our_modules_share_a_foreign_one():
    assert len(set(reference_names.MODULES.values())) == len(reference_names.MODULES)


def test_upsampling_and_fusing_become_one_kernel(foreign, expected):
    kernel, fuse = torch.randn(16, 16, 4, 8, 8), torch.randn(1, 64, 1, 1, 1)
    foreign["segmenter.upsample2.weight"], foreign["segmenter.fuse.weight"] = kernel, fuse
    state, _ = map_tensors(foreign, expected, PATH)
    by_hand = sum(kernel[3, o] * fuse[0, 16 + o, 0, 0, 0] for o in range(16))
    torch.testing.assert_close(state["parser.heads.sides.1.fused_kernel"][3, 0], by_hand)


def test_a_missing_tensor_is_named(foreign, expected):
    del foreign["decoder4.model.2.attn.proj.bias"]
    with pytest.raises(WeightsError, match=r"best\.pth: missing tensor decoder4\.model\.2\.attn\.proj\.bias"):
        map_tensors(foreign, expected, PATH)
    del foreign["segmenter.upsample1.weight"], foreign["segmenter.fuse.weight"], foreign["psnet_model.tas.layer1.bias"]
    with pytest.raises(WeightsError, match=r"missing tensor .* and 1 more"):
        map_tensors(foreign, expected, PATH)


def test_an_unknown_tensor_is_named(foreign, expected):
    foreign["segmenter.upsample5.weight"] = blank([16, 16, 4, 4, 4])
    with pytest.raises(WeightsError, match=r"unknown tensor segmenter\.upsample5\.weight"):
        map_tensors(foreign, expected, PATH)


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("causal_intervention.gat1.att", [1, 4, 256]),
        ("segmenter.upsample3.weight", [16, 8, 4, 16, 16]),
        ("segmenter.fuse.weight", [1, 80, 1, 1, 1]),
        ("temporal_causal_attn.encoder.attn_layers.1.conv2.weight", [64, 256]),
        ("video_encoder.down13.mpconv.1.conv.0.weight", [12, 4, 3]),
    ],
)
def test_a_misshapen_tensor_is_named_with_both_shapes(foreign, expected, name, shape):
    right = str(list(foreign[name].shape))
    foreign[name] = blank(shape)
    with pytest.raises(WeightsError) as refused:
        map_tensors(foreign, expected, PATH)
    assert refused.value.what == f"misshapen tensor {name} (is {shape}, must be {right})"


def test_what_is_never_used_may_be_missing(foreign, expected):
    slim = {name: tensor for name, tensor in foreign.items() if not name.startswith(("awl.", "regressor_delta3."))}
    _, left_out = map_tensors(slim, expected, PATH)
    assert left_out == ["video_encoder.backbone.fc.* (the ImageNet classifier of the ResNet, never called)"]


def test_traces_of_training_on_several_gpus_are_removed():
    tensors = flatten_checkpoint({"awl": {"module.params": blank([3])}, "epoch": 7}, PATH)
    assert list(tensors) == ["awl.params"]


@pytest.mark.parametrize(
    ("checkpoint", "message"),
    [
        ({"generator": {}}, "generator"),
        ({"awl": blank([3])}, "awl is not a table"),
        ({"awl": {"params": [1.0]}}, r"awl\.params is not a plain tensor"),
        ({"awl": {"params": torch.eye(3).to_sparse()}}, r"awl\.params is not a plain tensor"),
        ({"awl": {"params": torch.zeros(3, dtype=torch.complex64)}}, r"awl\.params is not a plain tensor"),
        ({"awl": {"params": blank([3]), "module.params": blank([3])}}, r"awl\.params occurs twice"),
    ],
)
def test_a_checkpoint_of_another_make_is_refused(checkpoint, message):
    with pytest.raises(WeightsError, match=message):
        flatten_checkpoint(checkpoint, PATH)


def test_metrics_saved_as_numpy_numbers_are_read(tmp_path):
    saved = {"rho_best": np.float64(0.94), "epoch": 3, "awl": {"params": torch.ones(3)}, "optimizer": {"state": {}}}
    torch.save(saved, tmp_path / "new.pth")
    torch.save(saved, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    for name in ("new.pth", "old.pth"):
        content = read_checkpoint(tmp_path / name)
        assert float(content["rho_best"]) == 0.94
        assert content["epoch"] == 3


def test_metrics_pickled_by_an_older_numpy_are_read(tmp_path):
    torch.save({"rho_best": np.float64(0.94)}, tmp_path / "new.pth")
    with zipfile.ZipFile(tmp_path / "new.pth") as new, zipfile.ZipFile(tmp_path / "old.pth", "w") as old:
        for entry in new.namelist():
            old.writestr(entry, new.read(entry).replace(b"numpy._core.multiarray", b"numpy.core.multiarray"))
    assert float(read_checkpoint(tmp_path / "old.pth")["rho_best"]) == 0.94


class Malicious:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker),)


@pytest.mark.parametrize("new_format", [True, False])
def test_a_malicious_pickle_runs_nothing_and_is_named(tmp_path, new_format):
    path, marker = tmp_path / "evil.pth", tmp_path / "it-ran"
    torch.save({"epoch": Malicious(marker)}, path, _use_new_zipfile_serialization=new_format)
    with pytest.raises(WeightsError, match=r"evil\.pth: refused.*mkdir") as refused:
        convert_checkpoint(path, tmp_path / "out")
    assert not marker.exists()
    assert not (tmp_path / "out").exists()
    assert "\n" not in str(refused.value)
    pickle.loads(pickle.dumps(Malicious(marker)))  # noqa: S301
    assert marker.exists(), "the trap does work when it is sprung"


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04 half an archive", b"\x80\x02", b"just text\n"])
def test_a_file_that_is_no_checkpoint_is_refused(tmp_path, data):
    (tmp_path / "broken.pth").write_bytes(data)
    with pytest.raises(WeightsError, match=r"broken\.pth"):
        read_checkpoint(tmp_path / "broken.pth")


def test_a_missing_file_or_a_folder_is_refused(tmp_path):
    with pytest.raises(WeightsError, match="No such file"):
        read_checkpoint(tmp_path / "none.pth")
    with pytest.raises(WeightsError, match="directory"):
        read_checkpoint(tmp_path)


def test_a_checkpoint_without_parts_is_refused(tmp_path):
    torch.save([torch.ones(1)], tmp_path / "list.pth")
    with pytest.raises(WeightsError, match="no named parts"):
        read_checkpoint(tmp_path / "list.pth")


def test_weights_are_not_overwritten_unasked(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(OutputError, match="holds weights already"):
        convert_checkpoint(tmp_path / "any.pth", tmp_path)
