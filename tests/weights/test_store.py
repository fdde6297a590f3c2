import json
import signal
import subprocess
import sys
import textwrap

import pytest
import torch
from safetensors.torch import load_file, save

from finecausal_cli.errors import OutputError, WeightsError
from finecausal_cli.model import FineCausal, ModelConfig
from finecausal_cli.model.config import Framing
from finecausal_cli.weights import Manifest, store
from finecausal_cli.weights.store import load_weights, save_weights

TINY = ModelConfig(preset="compact", width=1 / 16, frame_size=32, readout="o", tca_mode="replace")


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(3)
    return FineCausal(TINY)


@pytest.fixture
def folder(model, tmp_path):
    save_weights(tmp_path / "tiny", model, {"note": "of a test"})
    return tmp_path / "tiny"


def resave(folder, change):
    """Change the tensors of a folder behind the loader's back, with right checksums."""
    manifest = json.loads((folder / "config.json").read_text())
    tensors = {}
    for name in manifest["shards"]:
        tensors.update(load_file(folder / name))
        (folder / name).unlink()
    change(tensors)
    data = save(tensors)
    (folder / "all.safetensors").write_bytes(data)
    manifest["shards"] = {"all.safetensors": store.hashlib.sha256(data).hexdigest()}
    (folder / "config.json").write_text(json.dumps(manifest))


def edit(folder, change):
    path = folder / "config.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def test_weights_come_back_exactly_with_their_configuration(model, folder):
    loaded = load_weights(folder)
    assert loaded.config == TINY
    assert loaded.info == {"note": "of a test"}
    assert not loaded.model.training
    before, after = model.state_dict(), loaded.model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())
    assert all(parameter.requires_grad for parameter in loaded.model.parameters())


def test_digest_names_the_numbers_and_the_configuration_not_the_facts(model, tmp_path):
    first = save_weights(tmp_path / "a", model, {"note": "one"})
    assert load_weights(tmp_path / "a").digest == first
    assert save_weights(tmp_path / "b", model, {"note": "two"}) == first
    other = FineCausal(TINY.model_copy(update={"readout": "f"}))
    other.load_state_dict(model.state_dict())
    assert save_weights(tmp_path / "c", other, {}) != first
    with torch.no_grad():
        other.intervention.residual_weight += 1
    assert save_weights(tmp_path / "d", other, {}) != first


def test_shards_hold_at_most_their_limit(model, tmp_path, monkeypatch):
    monkeypatch.setattr(store, "SHARD_BYTES", 200_000)
    save_weights(tmp_path, model, {})
    shards = list(tmp_path.glob("*.safetensors"))
    assert len(shards) > 3
    largest = max(tensor.nbytes for tensor in model.state_dict().values())
    header = 50_000
    assert max(shard.stat().st_size for shard in shards) < max(200_000, largest) + header
    loaded = load_weights(tmp_path).model.state_dict()
    assert all(torch.equal(tensor, loaded[name]) for name, tensor in model.state_dict().items())


def test_half_precision_halves_the_size_and_keeps_vectors(model, tmp_path):
    save_weights(tmp_path / "full", model, {})
    save_weights(tmp_path / "half", model, {}, dtype="float16")
    full, half = (sum(p.stat().st_size for p in (tmp_path / each).glob("*.safetensors")) for each in ("full", "half"))
    assert half < 0.6 * full
    loaded = load_weights(tmp_path / "half").model.state_dict()
    for name, tensor in model.state_dict().items():
        again = loaded[name]
        assert again.dtype == tensor.dtype
        if tensor.ndim > 1:
            assert torch.equal(again, tensor.half().float())
        else:
            assert torch.equal(again, tensor)


def test_saving_again_leaves_only_the_new_shards(model, folder):
    old = set(folder.glob("*.safetensors"))
    with torch.no_grad():
        changed = FineCausal(TINY)
    save_weights(folder, changed, {})
    assert old.isdisjoint(folder.glob("*.safetensors"))
    assert torch.equal(
        load_weights(folder).model.stages.reducers["entry"].reduce[0].weight,
        changed.stages.reducers["entry"].reduce[0].weight,
    )
    assert not list(folder.glob(".*"))


@pytest.mark.thorough
def test_killed_while_saving_the_old_weights_stay_whole(folder):
    digest = load_weights(folder).digest
    script = textwrap.dedent(f"""
        import os, pathlib, signal
        import torch
        from finecausal_cli.model import FineCausal
        from finecausal_cli.weights import store
        store.SHARD_BYTES = 200_000
        real, done = pathlib.Path.replace, []
        def replace(self, target):
            if len(done) == 2:
                os.kill(os.getpid(), signal.SIGKILL)
            done.append(target)
            return real(self, target)
        pathlib.Path.replace = replace
        loaded = store.load_weights(pathlib.Path({str(folder)!r}))
        with torch.no_grad():
            loaded.model.intervention.residual_weight += 1
        store.save_weights(pathlib.Path({str(folder)!r}), loaded.model, {{}})
    """)
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", script], check=False)
    assert done.returncode == -signal.SIGKILL
    assert load_weights(folder).digest == digest


def test_names_a_missing_tensor(folder):
    resave(folder, lambda tensors: tensors.pop("tca.norm.weight"))
    with pytest.raises(WeightsError, match=r"missing tensor tca\.norm\.weight"):
        load_weights(folder)


def test_names_an_unknown_tensor(folder):
    resave(folder, lambda tensors: tensors.update({"tca.surprise": torch.ones(1)}))
    with pytest.raises(WeightsError, match=r"unknown tensor tca\.surprise"):
        load_weights(folder)


def test_names_a_misshapen_tensor(folder):
    resave(folder, lambda tensors: tensors.update({"tca.norm.weight": torch.ones(32)}))
    with pytest.raises(WeightsError, match=r"misshapen tensor tca\.norm\.weight \(is \[32\], must be \[64\]\)"):
        load_weights(folder)


@pytest.mark.parametrize("poison", [float("nan"), float("inf")])
def test_names_a_tensor_that_is_not_finite(folder, poison):
    resave(folder, lambda tensors: tensors["tca.norm.weight"].__setitem__(5, poison))
    with pytest.raises(WeightsError, match=r"not finite: tca\.norm\.weight"):
        load_weights(folder)


def test_refuses_to_save_what_is_not_finite(model, tmp_path):
    broken = FineCausal(TINY)
    broken.tca.norm.weight.data[0] = float("nan")
    with pytest.raises(WeightsError, match=r"tca\.norm\.weight"):
        save_weights(tmp_path / "out", broken, {})
    assert not (tmp_path / "out").exists()
    broken.tca.norm.weight.data[0] = 1
    broken.tca.layers[0].widen.weight.data[0, 0] = 1e6  # beyond float16
    with pytest.raises(WeightsError, match=r"tca\.layers\.0\.widen\.weight"):
        save_weights(tmp_path / "out", broken, {}, dtype="float16")


def test_refuses_to_save_a_copy_made_for_inference(model, tmp_path):
    with pytest.raises(WeightsError, match="tensor"):
        save_weights(tmp_path, model.for_inference(), {})


def test_a_truncated_shard_is_refused_by_name(folder):
    shard = next(folder.glob("*.safetensors"))
    shard.write_bytes(shard.read_bytes()[:-100])
    with pytest.raises(WeightsError, match="damaged") as refused:
        load_weights(folder)
    assert refused.value.where == str(shard)


def test_a_flipped_bit_is_refused(folder):
    shard = next(folder.glob("*.safetensors"))
    data = bytearray(shard.read_bytes())
    data[-7] ^= 4
    shard.write_bytes(data)
    with pytest.raises(WeightsError, match="damaged"):
        load_weights(folder)


def test_a_shard_that_is_no_safetensors_is_refused(folder):
    data = b"not tensors at all"
    (folder / "model-x.safetensors").write_bytes(data)
    edit(folder, lambda content: content.update(shards={"model-x.safetensors": store.hashlib.sha256(data).hexdigest()}))
    with pytest.raises(WeightsError, match="not a safetensors file"):
        load_weights(folder)


def test_a_missing_shard_is_refused_by_name(folder):
    shard = next(folder.glob("*.safetensors"))
    shard.unlink()
    with pytest.raises(WeightsError, match=shard.name):
        load_weights(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda content: content["model"].update(tcaa=True), r"model\.tcaa"),
        (lambda content: content["model"].update(width=0.3), r"model\.width"),
        (lambda content: content["model"].update(format_version=2), "newer"),
        (lambda content: content["model"].update(format_version=0), r"model\.format_version"),
        (lambda content: content.pop("shards"), "shards"),
        (lambda content: content.update(extra=1), "extra"),
        (lambda content: content.update(shards={"../elsewhere.safetensors": "0"}), "not the name of a shard"),
        (lambda content: content.update(shards={"weights.pth": "0"}), "not the name of a shard"),
        (lambda content: content.update(model=[]), "model"),
    ],
)
def test_a_wrong_configuration_is_refused_by_key(folder, change, message):
    edit(folder, change)
    with pytest.raises(WeightsError, match=message):
        load_weights(folder)


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "\x00", "[1]", "null"])
def test_a_configuration_that_is_no_json_object_is_refused(folder, text):
    (folder / "config.json").write_text(text)
    with pytest.raises(WeightsError, match=r"config\.json"):
        load_weights(folder)


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(WeightsError, match=r"config\.json.*No such file"):
        load_weights(tmp_path)


def test_a_place_that_cannot_be_written_is_named(model, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="file"):
        save_weights(tmp_path / "file" / "weights", model, {})
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_where_training_started_does_not_change_what_weights_are(tmp_path):
    config = ModelConfig(width=1 / 32, shared_trunk=True, frame_size=32)
    manifests = [
        Manifest(model=config.model_copy(update={"residual_start": start}), info={}, shards={"a.safetensors": "00"})
        for start in (0.1, 1.0)
    ]
    assert manifests[0].digest == manifests[1].digest
    other = manifests[0].model_copy(update={"model": config.model_copy(update={"tca": False})})
    assert other.digest != manifests[0].digest


def test_a_field_that_came_later_leaves_the_digest_of_older_weights_as_it_was(tmp_path):
    config = ModelConfig(width=1 / 32, shared_trunk=True, frame_size=32)
    shards = {"a.safetensors": "00"}
    came_later = {"residual_start", "foreground", "trunk", "recognises", "framing", "bounded"}
    before = config.model_dump(mode="json", exclude=came_later)
    facts = {"model": before, "shards": ["00"]}
    expected = store.hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
    assert Manifest(model=config, info={}, shards=shards).digest == expected
    later = config.model_copy(update={"foreground": "top_down", "trunk": "frames"})
    assert Manifest(model=later, info={}, shards=shards).digest != expected
    # What a network is shown of a filmed clip changes nothing that it computes: banks stay valid.
    framed = config.model_copy(update={"framing": Framing(reach=0.6, least=0.5, most=0.7)})
    assert Manifest(model=framed, info={}, shards=shards).digest == expected
