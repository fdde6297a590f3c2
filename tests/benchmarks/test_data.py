import hashlib
import json

import cv2
import numpy as np
import pytest

from benchmarks import data
from benchmarks.data import CHECKSUMS, PARTS, main
from finecausal_cli.simulator.negatives import KINDS

DIVES, NOTHING = b"video\n0.mp4\n1.mp4\n", b"video,kind,fps,frames\n"


@pytest.fixture
def asked(monkeypatch, tmp_path):
    """What is asked to be written, in place of writing it; labels of the small benchmark are known."""
    seen = {}

    def dives(folder, count, seed, **options):
        del options["progress"]
        seen[folder.name] = {"count": count, "seed": seed, **options}
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "dives.csv").write_bytes(DIVES)
        return folder / "dives.csv"

    def negatives(folder, kinds, count, seed, photos):
        seen[folder.name] = {"kinds": kinds, "count": count, "seed": seed, "photos": photos}
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "negatives.csv").write_bytes(NOTHING)
        return folder / "negatives.csv"

    sums = {"wild": hashlib.sha256(DIVES).hexdigest(), "negatives": hashlib.sha256(NOTHING).hexdigest()}
    known = tmp_path / "labels.json"
    known.write_text(json.dumps({"full": {"wild": "0" * 64}, "small": sums}))
    monkeypatch.setattr(data, "write_dataset", dives)
    monkeypatch.setattr(data, "write_negatives", negatives)
    monkeypatch.setattr(data, "CHECKSUMS", known)
    return seen


def test_every_part_has_the_checksum_of_its_labels_in_both_sizes():
    known = json.loads(CHECKSUMS.read_text())
    for labels in (known, known["classic"]):
        for size in ("full", "small"):
            assert list(labels[size]) == [part.folder for part in PARTS]
            assert all(len(bytes.fromhex(digest)) == 32 for digest in labels[size].values())
            assert labels[size]["test"] == labels[size]["shift"] != labels[size]["train"]
    assert known["full"]["negatives"] == known["classic"]["full"]["negatives"]
    assert not set(known["small"].values()) & (set(known["classic"]["small"].values()) - {known["small"]["negatives"]})


def test_filmed_dives_are_a_tenth_in_the_small_benchmark_and_negatives_as_many(asked, tmp_path, capsys):
    main([str(tmp_path), "--size", "small", "--only", "wild,negatives"])
    assert asked["wild"]["world"] == "wild"
    assert (asked["wild"]["count"], asked["wild"]["photos"]) == (20, ())
    assert asked["negatives"] == {"kinds": ["all"], "count": 2, "seed": data.NEGATIVES_SEED, "photos": ()}
    told = capsys.readouterr().out.splitlines()
    assert [line.split()[:3] for line in told] == [["wild", "20", "clips"], ["negatives", f"{2 * len(KINDS)}", "clips"]]
    assert all(line.endswith("as expected") for line in told)


def test_other_labels_than_those_registered_are_a_failure(asked, tmp_path, capsys):
    with pytest.raises(SystemExit) as stopped:
        main([str(tmp_path), "--only", "wild"])
    assert stopped.value.code == 1
    assert "DIFFERENT" in capsys.readouterr().out


def test_photographs_stand_behind_wild_dives_alone_and_are_not_compared(asked, tmp_path, capsys):
    photos = tmp_path / "photos"
    photos.mkdir()
    cv2.imwrite(str(photos / "a.png"), np.zeros((4, 4, 3), np.uint8))
    main([str(tmp_path / "out"), "--only", "test,wild,negatives", "--backgrounds", str(photos)])
    for name in ("wild", "negatives"):
        assert asked[name]["photos"] == (str(photos / "a.png"),)
    assert (asked["test"]["world"], asked["test"]["photos"]) == ("clean", ())
    assert capsys.readouterr().out.count("not compared") == 3


def test_a_folder_without_photographs_and_an_unknown_part_are_refused(asked, tmp_path, capsys):
    for wrong in (["--backgrounds", str(tmp_path / "none")], ["--only", "unicorns"]):
        with pytest.raises(SystemExit) as stopped:
            main([str(tmp_path), *wrong])
        assert stopped.value.code == 2
    assert not asked
    said = capsys.readouterr().err
    assert "no picture in" in said
    assert "unicorns" in said


def test_a_part_says_the_command_that_writes_it():
    commands = {part.folder: part.command("small") for part in PARTS}
    assert commands["wild"] == f"finecausal simulate OUT/wild --count 20 --seed {data.WILD_SEED} --world wild"
    assert commands["negatives"].endswith(f"--negatives all --count 2 --seed {data.NEGATIVES_SEED}")
    assert "--world" not in commands["test"]
    assert {part.folder: part.command("small", "classic") for part in PARTS[:-1]}["wild"].endswith("--draw classic")


def test_the_benchmark_can_be_written_as_it_was_before(asked, tmp_path, capsys):
    known = json.loads(data.CHECKSUMS.read_text())
    data.CHECKSUMS.write_text(json.dumps({**known, "classic": {"small": known["small"]}}))
    main([str(tmp_path), "--size", "small", "--only", "wild", "--draw", "classic"])
    assert asked["wild"]["draw"] == "classic"
    assert capsys.readouterr().out.strip().endswith("as expected")
