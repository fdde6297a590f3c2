import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from finecausal_cli.atomic import atomic_write
from finecausal_cli.errors import BankError, UsageError
from finecausal_cli.retrieval.bank import Bank, BankPart, Exemplar, JudgedClip, load_bank, read_index, save_bank
from finecausal_cli.retrieval.calibration import Calibration, fit_calibration
from finecausal_cli.retrieval.own_bank import OwnBank, calibrated, leave_one_out, load_banks, resolve_banks
from finecausal_cli.retrieval.voting import VotingContext, choose_voters, compare_with_exemplars

DIGEST, OTHER = "d" * 64, "e" * 64
PICTURE = np.full((20, 30, 3), 90, np.uint8)
COMPACT = Path(__file__).resolve().parents[2] / "weights" / "compact"


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "home" / "finecausal" / "banks"


def own_exemplar(name="107B-a", path="/clips/a.mp4", **more):
    facts = {"dive": "107B", "height_m": 3.0, "difficulty": 3.0, "execution": 20.0, **more}
    return Exemplar(id=name, clip=JudgedClip(path=path, takeoff_s=1.5, judges=(6.5, 7.0, 6.5)), **facts)


def fill(bank, make_encodings, count=3, **more):
    for place in range(count):
        exemplar = own_exemplar(f"107B-{place}", f"/clips/{place}.mp4", execution=18.0 + place)
        bank.put(exemplar, make_encodings(1, seed=50 + place), PICTURE, weights_digest=DIGEST, **more)
    return bank


# Names


def test_banks_are_named_or_folders_and_vote_in_the_order_of_their_names(home, make_encodings, tmp_path):
    mine = fill(OwnBank.open(), make_encodings)
    assert (mine.name, mine.folder) == ("mine", home / "mine")
    weights = tmp_path / "weights"
    assert resolve_banks(None, weights) == (("bundled", weights / "bank"),)
    assert resolve_banks("mine+bundled", weights) == (("mine", home / "mine"), ("bundled", weights / "bank"))
    assert resolve_banks(("bundled", home / "mine"), weights) == (
        ("bundled", weights / "bank"),
        ("mine", home / "mine"),
    )
    with pytest.raises(UsageError, match="bank 'mine' is named twice"):
        resolve_banks("mine+mine", weights)
    with pytest.raises(UsageError, match="no name of a bank"):
        resolve_banks("mine+", weights)


def test_a_folder_with_a_plus_in_its_name_is_one_bank(tmp_path, make_exemplars, make_encodings):
    folder = tmp_path / "a+b"
    save_bank(folder, make_exemplars(["107B"]), make_encodings(1), weights_digest=DIGEST)
    assert resolve_banks(str(folder), tmp_path) == (("a+b", folder),)


def test_a_folder_of_the_working_directory_is_meant_until_there_is_a_bank_of_that_name(tmp_path, make_encodings):
    (tmp_path / "club").mkdir()
    assert OwnBank.open("club").folder == Path("club")
    (tmp_path / "club").rmdir()
    fill(OwnBank.open("club"), make_encodings, 1)
    (tmp_path / "club").mkdir()
    assert OwnBank.open("club").folder.is_absolute()
    assert OwnBank.open("./club").folder == Path("club")


def test_a_bank_that_is_not_there_is_refused_with_what_to_do():
    with pytest.raises(BankError, match=r"mine: no such bank \(banks of your own: none; .*exemplars add CLIP"):
        load_banks(resolve_banks("mine", COMPACT), weights_digest=DIGEST)
    with pytest.raises(BankError, match="exemplars add CLIP --bank mine"):
        _ = OwnBank.open().index


@pytest.mark.parametrize("name", ["bundled", "mine+bundled"])
def test_only_a_bank_of_ones_own_is_changed(name):
    with pytest.raises(UsageError, match="not one bank of your own"):
        OwnBank.open(name)


def test_a_bank_built_from_a_dataset_is_not_changed(tmp_path, make_exemplars, make_encodings):
    save_bank(tmp_path / "built", make_exemplars(["107B"]), make_encodings(1), weights_digest=DIGEST)
    with pytest.raises(BankError, match="built from a dataset"):
        OwnBank.open(tmp_path / "built")


# Changing it


def test_what_is_put_is_loaded_with_its_clip_and_its_picture(make_encodings, home):
    mine = fill(OwnBank.open(), make_encodings)
    bank = load_bank(mine.folder, weights_digest=DIGEST, name="mine")
    assert [one.id for one in bank.exemplars] == ["107B-0", "107B-1", "107B-2"]
    assert bank.exemplars[1].clip.path == "/clips/1.mp4"
    assert torch.equal(bank.encodings.video[1], make_encodings(1, seed=51).video[0])
    assert all((mine.folder / one.thumbnail).is_file() for one in bank.exemplars)
    assert bank.own == (0, 1, 2)


def test_the_same_part_of_a_video_is_replaced(make_encodings):
    mine = fill(OwnBank.open(), make_encodings)
    again = own_exemplar("205B-1", "/clips/1.mp4", dive="205B")
    mine.put(again, make_encodings(1, seed=9), PICTURE, weights_digest=DIGEST)
    assert [one.id for one in mine.index.exemplars] == ["107B-0", "107B-2", "205B-1"]
    assert not (mine.folder / "thumbnails" / "107B-1.jpg").exists()
    assert mine.find_clip(again.clip).dive == "205B"


def test_a_name_that_another_clip_has_gets_a_number(make_encodings):
    mine = fill(OwnBank.open(), make_encodings, 1)
    other = own_exemplar("107B-0", "/elsewhere/0.mp4")
    stored = mine.put(other, make_encodings(1, seed=9), PICTURE, weights_digest=DIGEST)
    assert (stored.id, stored.thumbnail) == ("107B-0-2", "thumbnails/107B-0-2.jpg")
    assert [one.id for one in mine.index.exemplars] == ["107B-0", "107B-0-2"]


def test_a_removed_exemplar_leaves_nothing(make_encodings):
    mine = fill(OwnBank.open(), make_encodings)
    mine.remove("107B-0")
    bank = load_bank(mine.folder, weights_digest=DIGEST)
    assert [one.id for one in bank.exemplars] == ["107B-1", "107B-2"]
    assert torch.equal(bank.encodings.video[0], make_encodings(1, seed=51).video[0])
    with pytest.raises(BankError, match=r"no exemplar '107B-0' \(see: finecausal exemplars list --bank mine\)"):
        mine.remove("107B-0")
    mine.remove("107B-1")
    mine.remove("107B-2")
    assert mine.index.exemplars == ()
    assert len(fill(mine, make_encodings, 1).index.exemplars) == 1


def test_a_label_changes_and_the_encoding_stays(make_encodings):
    mine = fill(OwnBank.open(), make_encodings)
    before = load_bank(mine.folder, weights_digest=DIGEST)
    mine.relabel(before.exemplars[1].model_copy(update={"execution": 25.0}))
    after = load_bank(mine.folder, weights_digest=DIGEST)
    assert [one.execution for one in after.exemplars] == [18.0, 25.0, 20.0]
    assert torch.equal(after.encodings.video, before.encodings.video)
    assert after.digest != before.digest


@pytest.mark.parametrize("written", [0, 1])
def test_an_interrupted_addition_leaves_the_bank_before(make_encodings, monkeypatch, written):
    mine = fill(OwnBank.open(), make_encodings)
    before, names = load_bank(mine.folder, weights_digest=DIGEST), iter(range(written + 1))

    def stop(path, what):
        if next(names) == written:
            raise KeyboardInterrupt
        return atomic_write(path, what)

    monkeypatch.setattr("finecausal_cli.retrieval.bank.atomic_write", stop)
    with pytest.raises(KeyboardInterrupt):
        mine.put(own_exemplar(), make_encodings(1, seed=9), PICTURE, weights_digest=DIGEST)
    after = load_bank(mine.folder, weights_digest=DIGEST)
    assert (after.digest, len(after.exemplars)) == (before.digest, 3)
    assert torch.equal(after.encodings.video, before.encodings.video)


def test_other_weights_are_told_to_rebuild_it_and_then_wait_for_the_rest(make_encodings):
    mine = fill(OwnBank.open(), make_encodings)
    with pytest.raises(BankError, match="made by other weights") as caught:
        mine.require_weights(OTHER)
    assert "finecausal exemplars rebuild --bank mine" in caught.value.hint
    with pytest.raises(BankError, match="made by other weights"):
        mine.put(own_exemplar(), make_encodings(1), PICTURE, weights_digest=OTHER)
    assert len(mine.index.exemplars) == 3
    mine.put(mine.index.exemplars[1], make_encodings(1), PICTURE, weights_digest=OTHER, rebuild=True)
    index = mine.index
    assert [one.id for one in index.exemplars] == ["107B-1"]
    assert [one.id for one in index.waiting] == ["107B-0", "107B-2"]
    assert all((mine.folder / one.thumbnail).is_file() for one in (*index.exemplars, *index.waiting))
    mine.remove("107B-0")
    assert [one.id for one in mine.index.waiting] == ["107B-2"]


def test_a_bank_without_clips_is_written_as_before(tmp_path, make_exemplars, make_encodings):
    save_bank(tmp_path / "bank", make_exemplars(["107B"]), make_encodings(1), weights_digest=DIGEST)
    content = json.loads((tmp_path / "bank" / "bank.json").read_text())
    assert set(content) == {"format_version", "weights_digest", "encodings_sha256", "exemplars"}
    known = {"id", "dive", "height_m", "difficulty", "execution", "thumbnail", "origin"}
    assert set(content["exemplars"][0]) == known


# Voting together


@pytest.fixture
def joined(make_encodings, make_exemplars):
    """Six dives of one's own of 107B, and a built bank of three of 107B and two of 5253B; one name is in both."""
    own = tuple(own_exemplar(f"107B-{place:03d}", f"/c/{place}", execution=17.0 + place) for place in range(6))
    mine = Bank("mine", own, make_encodings(6, seed=1), DIGEST, "m")
    bundled = Bank("bundled", make_exemplars(["107B"] * 3 + ["5253B"] * 2), make_encodings(5, seed=2), DIGEST, "b")
    return Bank.join([mine, bundled])


def test_exemplars_of_the_first_bank_vote_first(joined, make_encodings):
    assert (joined.name, [part.count for part in joined.parts]) == ("mine+bundled", [6, 5])
    assert joined.exemplars[6].id == "bundled/107B-000"
    query = make_encodings(1, seed=7)
    choice = choose_voters(joined, query, dive="107B", voters=8)
    assert set(choice.indices[:6]) == set(range(6))
    assert set(choice.indices[6:]) < {6, 7, 8}
    assert choice.how == "exemplars of 107B: 6 of 6 in mine, 2 of 3 in bundled"
    assert choose_voters(joined, query, dive="5253B").how == "exemplars of 5253B: 2 of 2 in bundled"
    assert [joined.part_of(index).name for index in (5, 6)] == ["mine", "bundled"]


def test_a_dive_of_ones_own_does_not_vote_on_itself(joined):
    query = joined.encodings.select(3)
    assert 3 not in choose_voters(joined, query, dive="107B").indices
    assert len(choose_voters(joined, query, dive="107B").indices) == 8
    assert choose_voters(joined, query, exemplar="107B-003").indices == (3,)
    built = joined.encodings.select(7)
    assert 7 in choose_voters(joined, built, dive="107B").indices


def test_the_only_dive_of_ones_own_says_that_it_is_alone(joined):
    alone = replace(joined.select([3]), parts=(BankPart("mine", 1, None),))
    with pytest.raises(BankError, match=r"only exemplar is this dive itself .*exemplars add.*mine\+bundled"):
        choose_voters(alone, joined.encodings.select(3), dive="107B")
    for name, how in (("mine", "add"), ("bundled", "build")):
        with pytest.raises(BankError, match=f"{name}: an empty bank .*finecausal exemplars {how}"):
            choose_voters(replace(joined.select([]), name=name), joined.encodings.select(3), dive="107B")


def test_calibrated_votes_are_corrected_whole_and_still_add_up(joined, tiny_model, make_encodings):
    query = make_encodings(1, seed=7)
    plain = VotingContext.build(tiny_model, query, joined, (0, 6, 7), difficulty=3.0)
    calibration = Calibration(1.25, -4.0, 1.0, 9)
    bank = replace(joined, parts=(joined.parts[0], replace(joined.parts[1], calibration=calibration)))
    found = VotingContext.build(tiny_model, query, bank, (0, 6, 7), difficulty=3.0)
    raw = plain.votes.executions.tolist()
    assert found.votes.executions.tolist() == pytest.approx([raw[0], 1.25 * raw[1] - 4, 1.25 * raw[2] - 4])
    start = float(found.votes.exemplar_executions.mean()) * 3.0
    assert start + sum(found.points(found.votes.pairs.stage_deltas[:, 0])) == pytest.approx(found.score, abs=1e-4)
    assert found.rescore(query) == pytest.approx(found.score, abs=1e-4)


# Leave one out


def test_each_is_predicted_without_itself_and_foreign_votes_are_calibrated(joined, tiny_model):
    judged = leave_one_out(tiny_model, joined)
    assert judged.ids == tuple(f"107B-{place:03d}" for place in range(6))
    for index in range(6):
        others = [other for other in range(9) if other != index]
        (votes,) = compare_with_exemplars(tiny_model, [joined.encodings.select(index)], joined, [others])
        assert judged.before[index] == pytest.approx(votes.execution, abs=1e-4)
    own, foreign = judged.calibrations
    assert own is None
    alone = []
    for index in range(6):
        (votes,) = compare_with_exemplars(tiny_model, [joined.encodings.select(index)], joined, [[6, 7, 8]])
        alone.append(votes.execution)
    expected = fit_calibration(np.array(alone), judged.judged)
    assert (foreign.shift, foreign.dives) == (pytest.approx(expected.shift, abs=1e-4), 6)
    bank = calibrated(joined, judged)
    assert [part.calibration for part in bank.parts] == [None, foreign]
    assert bank.digest != joined.digest


def test_votes_of_ones_own_dives_stay_as_they_are(joined, tiny_model):
    mine = replace(joined.select(range(6)), parts=joined.parts[:1])
    judged = leave_one_out(tiny_model, mine)
    assert (len(judged), judged.calibrations) == (6, (None,))
    assert judged.note.startswith("not calibrated, for only dives of your own vote")
    assert calibrated(mine, judged) is mine
    assert leave_one_out(tiny_model, joined, calibrate=False).calibrations == (None, None)


def test_with_few_dives_nothing_is_calibrated(joined, tiny_model):
    judged = leave_one_out(tiny_model, joined.select([0, 1, 2, 3, *range(6, 11)]))
    assert not judged.is_calibrated
    assert judged.after.tolist() == judged.before.tolist()
    assert leave_one_out(tiny_model, joined.select(range(6, 11))) is None
    assert leave_one_out(tiny_model, joined.select([0])) is None


def test_pairs_are_compared_once(make_encodings, joined, tiny_model, tmp_path):
    kept = replace(joined, parts=(BankPart("mine", 6, tmp_path), joined.parts[1]))
    first = leave_one_out(tiny_model, kept)
    again = leave_one_out(None, kept)
    assert again.after.tolist() == first.after.tolist()
    changed = joined.encodings.map(lambda tensor: tensor.clone())
    changed.video[0] += 1
    with pytest.raises(AttributeError):  # the changed encoding is compared anew
        leave_one_out(None, replace(kept, encodings=changed))
    with pytest.raises(AttributeError):  # and so is everything with other weights
        leave_one_out(None, replace(kept, weights_digest=OTHER))
    (tmp_path / "leave-one-out.json").write_text("[")
    assert leave_one_out(tiny_model, kept).after.tolist() == pytest.approx(first.after.tolist(), abs=1e-5)


@pytest.mark.parametrize(
    "damage",
    [
        lambda stored: [],
        lambda stored: {"pairs": stored["pairs"]},
        lambda stored: {"weights": DIGEST},
        lambda stored: {**stored, "pairs": list(stored["pairs"])},
        lambda stored: {**stored, "pairs": {name: [1.0] for name in stored["pairs"]}},
        lambda stored: {**stored, "pairs": {name: dict.fromkeys(row, "1") for name, row in stored["pairs"].items()}},
        lambda stored: {
            **stored,
            "pairs": {name: dict.fromkeys(row, float("nan")) for name, row in stored["pairs"].items()},
        },
    ],
)
def test_damaged_pairs_are_compared_anew(joined, tiny_model, tmp_path, damage):
    kept = replace(joined, parts=(BankPart("mine", 6, tmp_path), joined.parts[1]))
    first, file = leave_one_out(tiny_model, kept), tmp_path / "leave-one-out.json"
    whole = json.loads(file.read_text())
    file.write_text(json.dumps(damage(whole)))
    assert leave_one_out(tiny_model, kept).after.tolist() == pytest.approx(first.after.tolist(), abs=1e-5)
    assert json.loads(file.read_text())["pairs"].keys() == whole["pairs"].keys()


def test_pairs_with_a_voter_that_is_removed_go_and_those_of_a_bank_that_does_not_vote_now_stay(
    joined, tiny_model, make_encodings, tmp_path
):
    kept = replace(joined, parts=(BankPart("mine", 6, tmp_path), joined.parts[1]))
    leave_one_out(tiny_model, kept)
    other = make_encodings(1, seed=9)
    changed = joined.encodings.map(lambda tensor: tensor.clone())
    changed.video[0], changed.mask[0] = other.video[0], other.mask[0]
    alone = replace(kept, encodings=changed).select(range(6))
    alone = replace(alone, parts=(BankPart("mine", 6, tmp_path),))
    leave_one_out(tiny_model, alone)
    pairs = json.loads((tmp_path / "leave-one-out.json").read_text())["pairs"]
    voters = {voter for row in pairs.values() for voter in row}
    assert len(pairs) == 6
    assert len(voters - pairs.keys()) == 3  # the bundled ones of the same number
    assert leave_one_out(None, alone) is not None


def test_the_shipped_bank_reads_and_joins_as_before():
    index = read_index(COMPACT / "bank")
    bank = load_bank(COMPACT / "bank", weights_digest=index.weights_digest)
    assert (bank.own, bank.parts[0].count) == ((), len(bank.exemplars))
    assert Bank.join([bank]) is bank
