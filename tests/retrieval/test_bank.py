import hashlib
import json

import pytest
import torch
from safetensors.torch import load_file
from safetensors.torch import save as serialise

from finecausal_cli.atomic import atomic_write
from finecausal_cli.errors import BankError, OutputError
from finecausal_cli.model.outputs import Encoding
from finecausal_cli.retrieval.bank import INDEX_NAME, Bank, Exemplar, load_bank, read_index, save_bank

NUMBERS = ["107B", "107B", "5253B"]
DIGEST = "d" * 64


@pytest.fixture
def folder(tmp_path, make_exemplars, make_encodings):
    save_bank(tmp_path / "bank", make_exemplars(NUMBERS), make_encodings(3), weights_digest=DIGEST)
    return tmp_path / "bank"


def load(folder, digest=DIGEST):
    return load_bank(folder, weights_digest=digest)


def edit(folder, change):
    path = folder / INDEX_NAME
    index = json.loads(path.read_text())
    change(index)
    path.write_text(json.dumps(index))


def stored(folder):
    (path,) = folder.glob("encodings-*.safetensors")
    return path


def forge(folder, tensors):
    """Replace the encodings and make the index agree, as whoever builds banks by hand would."""
    stored(folder).unlink()
    data = serialise(tensors)
    digest = hashlib.sha256(data).hexdigest()
    (folder / f"encodings-{digest[:16]}.safetensors").write_bytes(data)
    edit(folder, lambda index: index.update(encodings_sha256=digest))


def refused(folder, name, says):
    with pytest.raises(BankError) as caught:
        load(folder)
    assert caught.value.where == str(folder / name)
    assert says in caught.value.what


@pytest.mark.parametrize("frames", [None, torch.arange(3 * 96 * 4.0).reshape(3, 96, 4)])
def test_what_is_saved_is_loaded_bit_for_bit(tmp_path, make_exemplars, make_encodings, frames):
    encodings = Encoding(make_encodings(3).video, make_encodings(3).mask, frames)
    save_bank(tmp_path, make_exemplars(NUMBERS), encodings, weights_digest=DIGEST)
    bank = load(tmp_path)
    assert bank.exemplars == make_exemplars(NUMBERS)
    assert torch.equal(bank.encodings.video, encodings.video)
    assert torch.equal(bank.encodings.mask, encodings.mask)
    assert (bank.encodings.frames is None) if frames is None else torch.equal(bank.encodings.frames, frames)
    assert (bank.weights_digest, bank.name) == (DIGEST, tmp_path.name)


def test_the_digest_tells_banks_apart(folder, tmp_path, make_exemplars, make_encodings):
    first = load(folder).digest
    assert load(folder).digest == first
    save_bank(tmp_path / "b", make_exemplars(NUMBERS), make_encodings(3, seed=1), weights_digest=DIGEST)
    edit(folder, lambda index: index["exemplars"][0].update(execution=15.5))
    assert len({first, load(folder).digest, load(tmp_path / "b").digest}) == 3


def test_the_index_is_read_without_the_encodings(folder, make_exemplars):
    stored(folder).unlink()
    index = read_index(folder)
    assert index.exemplars == make_exemplars(NUMBERS)
    assert index.find("5253B-002", "a bank").execution == 17.0
    with pytest.raises(BankError, match="a bank: no exemplar '5253B-009'"):
        index.find("5253B-009", "a bank")


def test_places_are_found_by_name_and_by_dive_number(folder):
    bank = load(folder)
    assert bank.index("107B-001") == 1
    assert bank.of_dive("107B") == (0, 1)
    assert bank.of_dive("101A") == ()
    with pytest.raises(BankError, match="no exemplar '107B-1'"):
        bank.index("107B-1")


def test_a_bank_of_other_weights_is_refused(folder):
    with pytest.raises(BankError, match=r"made by other weights \(dddddddddddd, these are eeeeeeeeeeee\)") as caught:
        load(folder, "e" * 64)
    assert "exemplars build" in caught.value.hint


def test_an_absent_bank_is_refused(tmp_path):
    refused(tmp_path / "none", INDEX_NAME, "no bank to read")


def test_absent_encodings_are_refused(folder):
    path = stored(folder)
    path.unlink()
    refused(folder, path.name, "cannot be read")


@pytest.mark.parametrize("kept", [0, 7, 20, 300, -1])
def test_truncated_encodings_are_refused(folder, kept):
    path = stored(folder)
    path.write_bytes(path.read_bytes()[:kept])
    refused(folder, path.name, "damaged encodings")


def test_a_flipped_bit_is_refused(folder):
    path = stored(folder)
    data = bytearray(path.read_bytes())
    data[-7] ^= 4
    path.write_bytes(data)
    refused(folder, path.name, "not what the index was written for")


def test_something_else_than_tensors_is_refused(folder):
    path = stored(folder)
    path.write_bytes(b"text")
    edit(folder, lambda index: index.update(encodings_sha256=hashlib.sha256(b"text").hexdigest()))
    path = path.rename(folder / f"encodings-{hashlib.sha256(b'text').hexdigest()[:16]}.safetensors")
    refused(folder, path.name, "damaged encodings")


@pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
@pytest.mark.parametrize("name", ["video", "mask"])
def test_encodings_that_are_not_numbers_are_refused(folder, name, wrong):
    tensors = load_file(stored(folder))
    tensors[name][1, 2, 3] = wrong
    forge(folder, tensors)
    refused(folder, stored(folder).name, "not finite")


@pytest.mark.parametrize(
    ("tensors", "says"),
    [
        ({"video": (3, 9, 32)}, "missing tensor 'mask'"),
        ({"mask": (3, 9, 32)}, "missing tensor 'video'"),
        ({"video": (3, 9, 32), "mask": (3, 9, 32), "sound": (3, 9, 32)}, "unknown tensor 'sound'"),
        ({"video": (3, 9, 32), "mask": (2, 9, 32)}, "mask [2, 9, 32]"),
        ({"video": (3, 9, 32), "mask": (3, 9, 16)}, "mask [3, 9, 16]"),
        ({"video": (3, 32), "mask": (3, 32)}, "video is [3, 32]"),
        ({"video": (3, 9, 32), "mask": (3, 9, 32), "frames": (2, 96, 4)}, "frames is [2, 96, 4]"),
    ],
)
def test_missing_unknown_and_misshapen_tensors_are_refused(folder, tensors, says):
    forge(folder, {name: torch.zeros(shape) for name, shape in tensors.items()})
    refused(folder, stored(folder).name, says)


@pytest.mark.parametrize("count", [2, 4])
def test_as_many_exemplars_as_encodings(folder, make_encodings, count):
    forge(folder, {"video": make_encodings(count).video, "mask": make_encodings(count).mask})
    with pytest.raises(BankError, match=f"bank: 3 exemplars and {count} encodings"):
        load(folder)


def test_two_exemplars_of_one_name_are_refused(folder):
    edit(folder, lambda index: index["exemplars"][0].update(id="5253B-002"))
    with pytest.raises(BankError, match="two exemplars of the name '5253B-002'"):
        load(folder)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda index: index.update(format_version=2), "format_version: Input should be 1"),
        (lambda index: index.update(colour="red"), "colour: Extra inputs"),
        (lambda index: index.update(encodings_sha256="../../other"), "encodings_sha256: String should match"),
        (lambda index: index.pop("weights_digest"), "weights_digest: Field required"),
        (lambda index: index["exemplars"][1].update(colour="red"), "exemplars.1.colour: Extra inputs"),
        (lambda index: index["exemplars"][1].pop("execution"), "exemplars.1.execution: Field required"),
        (lambda index: index["exemplars"][1].update(execution=30.5), "exemplars.1.execution"),
        (lambda index: index["exemplars"][1].update(execution=-0.5), "exemplars.1.execution"),
        (lambda index: index["exemplars"][1].update(execution=float("nan")), "exemplars.1.execution"),
        (lambda index: index["exemplars"][1].update(difficulty=0), "exemplars.1.difficulty"),
        (lambda index: index["exemplars"][1].update(id=""), "exemplars.1.id"),
    ],
)
def test_an_index_of_another_form_is_refused_by_its_key(folder, change, says):
    edit(folder, change)
    refused(folder, INDEX_NAME, says)


@pytest.mark.parametrize("text", ["", "[", "[]", "null", "\x00"])
def test_an_index_that_is_not_an_index_is_refused(folder, text):
    (folder / INDEX_NAME).write_text(text)
    refused(folder, INDEX_NAME, "index: ")


@pytest.mark.parametrize("written", [0, 1])
def test_an_interrupted_save_leaves_the_old_bank(folder, make_exemplars, make_encodings, monkeypatch, written):
    before = load(folder)
    names = iter(range(written + 1))

    def stop(path, what):
        if next(names) == written:
            raise KeyboardInterrupt
        return atomic_write(path, what)

    monkeypatch.setattr("finecausal_cli.retrieval.bank.atomic_write", stop)
    with pytest.raises(KeyboardInterrupt):
        save_bank(folder, make_exemplars(NUMBERS), make_encodings(3, seed=1), weights_digest=DIGEST)
    after = load(folder)
    assert after.digest == before.digest
    assert torch.equal(after.encodings.video, before.encodings.video)
    monkeypatch.undo()
    save_bank(folder, make_exemplars(NUMBERS), make_encodings(3, seed=1), weights_digest=DIGEST)
    assert torch.equal(load(folder).encodings.video, make_encodings(3, seed=1).video)
    assert sorted(path.name for path in folder.iterdir()) == [INDEX_NAME, stored(folder).name]


def test_a_folder_that_cannot_be_written_is_named(tmp_path, make_exemplars, make_encodings):
    (tmp_path / "plain").write_text("")
    with pytest.raises(OutputError, match="the bank cannot be written"):
        save_bank(tmp_path / "plain", make_exemplars(NUMBERS), make_encodings(3), weights_digest=DIGEST)


def test_a_bank_in_memory_must_be_whole(make_exemplars, make_encodings):
    with pytest.raises(BankError, match="2 exemplars and 3 encodings"):
        Bank("b", make_exemplars(["107B", "107B"]), make_encodings(3), DIGEST)


def test_an_exemplar_is_a_value():
    exemplar = Exemplar(id="a", dive=None, height_m=None, difficulty=3.0, execution=30.0)
    with pytest.raises(ValueError, match="frozen"):
        exemplar.execution = 20.0
