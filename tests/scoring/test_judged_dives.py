"""Judged dives become exemplars: labels, one clip, a manifest, other weights. The clips hold no dive and are forced."""

import shutil
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from finecausal_cli.errors import BankError, DatasetError, RefusedError, UsageError, VideoError
from finecausal_cli.retrieval import JudgedOptions, parse_marks
from finecausal_cli.retrieval.bank import load_bank
from finecausal_cli.retrieval.own_bank import OwnBank
from finecausal_cli.scoring import ScoreOptions
from finecausal_cli.scoring.judged_dives import JudgedLabels, add_exemplar, import_exemplars, rebuild_bank
from finecausal_cli.scoring.scorer import Scorer
from finecausal_cli.weights import StoredInterval

OF_107B = ScoreOptions(dive="107b", height_m=3.0, force=True)


class FindsDives(Scorer):
    """Reads any clip as a dive from 0.5 to 1.5 s; refuses what is called ``empty.mp4``."""

    located = ()

    def locate(self, path, options=None, **more):
        self.located = (*self.located, (str(path), options))
        if str(path).endswith("empty.mp4"):
            raise RefusedError("no dive is found in it", where=path, hint="say when")
        prepared = super().locate(path, replace(options, force=True, takeoff_s=None, entry_s=None), **more)
        start = 0.5 if options.takeoff_s is None else options.takeoff_s
        dive = replace(prepared.dive_clip.dive, takeoff_s=start, entry_s=1.5)
        return replace(prepared, dive_clip=replace(prepared.dive_clip, dive=dive))


@pytest.fixture
def make(make_scorer, make_model):
    def finder(model=None, digest="w" * 64):
        scorer = make_scorer(model or make_model())
        scorer.__class__ = FindsDives
        scorer._weights_digest = digest
        return scorer

    return finder


@pytest.fixture
def finder(make):
    return make()


@pytest.fixture
def clips(tmp_path, film):
    folder = tmp_path / "clips"
    folder.mkdir()
    for index, name in enumerate(("a.mp4", "b.mp4", "c.mp4", "empty.mp4")):
        shutil.copy(film, folder / name)
        with (folder / name).open("ab") as file:
            file.write(bytes(index))  # other files with the same pictures
    return folder


@pytest.fixture
def bank(tmp_path):
    return OwnBank.open(tmp_path / "mine")


def manifest(folder, *rows):
    path = folder / "dives.csv"
    path.write_text("\n".join(("video,score,dive,height_m,judges", *rows)) + "\n")
    return path


# Labels


@pytest.mark.parametrize(
    ("options", "judged", "says"),
    [
        ({"dive": None}, {"score": 50.0}, "--dive: a judged dive needs its number"),
        ({"height_m": None}, {"score": 50.0}, "--height: a judged dive needs its difficulty"),
        ({"dive": "6245D"}, {"score": 50.0}, "6245D has no listed difficulty at 3 m"),
        ({}, {}, "--score: a judged dive needs its score"),
        ({}, {"score": 100.0}, "--score: 100 points are more than judges can give at difficulty 3.1 (93 at most)"),
        ({}, {"judges": (7.0, 7.0)}, "2 marks"),
    ],
)
def test_what_is_missing_or_impossible_is_said(options, judged, says):
    with pytest.raises(UsageError) as caught:
        JudgedLabels.of(replace(OF_107B, **options), JudgedOptions(**judged))
    assert says in str(caught.value)


def test_the_marks_make_the_score_unless_it_is_given():
    labels = JudgedLabels.of(OF_107B, JudgedOptions(judges=(6.5, 7.0, 7.0, 7.5, 8.0)))
    assert (labels.dive, labels.difficulty, labels.score, labels.notes) == ("107B", 3.1, 66.65, ())
    assert labels.execution == pytest.approx(21.5)
    kept = JudgedLabels.of(OF_107B, JudgedOptions(judges=(6.5, 7.0, 7.0), score=60.0))
    assert (kept.score, kept.notes) == (60.0, ("the marks make 63.55 points at difficulty 3.1; 60.00 is kept",))


def test_marks_are_read_with_commas_or_blanks():
    assert parse_marks("6.5,7,7") == parse_marks("6.5 7  7") == (6.5, 7.0, 7.0)
    for text, says in (("6.5;7", "not a list of marks"), ("6.3,7", "6.3 is no mark"), ("11", "11 is no mark")):
        with pytest.raises(ValueError, match=says):
            parse_marks(text)


# One clip


def test_a_clip_is_added_as_the_network_sees_it(finder, bank, clips):
    row = add_exemplar(finder, bank, clips / "a.mp4", OF_107B, JudgedOptions(score=62.0, diver="A", date="2026"))
    assert (row.outcome, row.exemplar, row.dive, row.score) == ("added", "107B-a", "107B", pytest.approx(62.0))
    (exemplar,) = (found := load_bank(bank.folder, weights_digest="w" * 64)).exemplars
    assert (exemplar.execution, exemplar.difficulty, exemplar.height_m) == (20.0, 3.1, 3.0)
    clip = exemplar.clip
    assert (clip.path, clip.takeoff_s, clip.entry_s, clip.diver) == (str(clips / "a.mp4"), 0.5, 1.5, "A")
    expected = finder.encode_dive(finder.locate(clips / "a.mp4", OF_107B))
    assert torch.allclose(found.encodings.video, expected.video, atol=1e-6)
    assert (bank.folder / exemplar.thumbnail).stat().st_size > 0


def test_the_same_clip_is_replaced_and_another_part_of_it_is_not(finder, bank, clips):
    for options, score in ((OF_107B, 62.0), (replace(OF_107B, start_s=0.2), 50.0), (OF_107B, 55.8)):
        row = add_exemplar(finder, bank, clips / "a.mp4", options, JudgedOptions(score=score))
    assert (row.outcome, row.exemplar) == ("updated", "107B-a")
    assert {one.id: round(one.score, 2) for one in bank.index.exemplars} == {"107B-a": 55.8, "107B-a-2": 50.0}


def test_a_copy_of_a_clip_is_no_second_exemplar(finder, bank, clips):
    add_exemplar(finder, bank, clips / "a.mp4", OF_107B, JudgedOptions(score=62.0))
    copy = shutil.copy(clips / "a.mp4", clips / "copy.mp4")
    with pytest.raises(BankError, match=r"same video is in the bank as 107B-a, judged otherwise: 107B, 62\.00 points"):
        add_exemplar(finder, bank, copy, OF_107B, JudgedOptions(score=50.0))
    row = add_exemplar(finder, bank, copy, OF_107B, JudgedOptions(score=62.0))
    assert (row.outcome, row.exemplar) == ("updated", "107B-a")
    assert "the same video as" in row.reason
    assert [one.clip.path for one in bank.index.exemplars] == [str(copy)]
    add_exemplar(finder, bank, copy, replace(OF_107B, start_s=0.2), JudgedOptions(score=50.0))  # another part of it
    assert len(bank.index.exemplars) == 2


def test_a_copy_in_a_manifest_is_kept_as_the_one_exemplar_or_fails(finder, bank, clips):
    for name in ("b.mp4", "c.mp4"):
        shutil.copy(clips / "a.mp4", clips / name)
    path = manifest(clips, "a.mp4,62,107B,3,", "b.mp4,62,107B,3,", "c.mp4,50,107B,3,")
    for outcome in ("added", "kept"):
        rows = list(import_exemplars(finder, bank, path))
        assert [row.outcome for row in rows] == [outcome, "kept", "failed"]
    assert rows[1].reason == f"the same video as {clips / 'a.mp4'}"
    assert "judged otherwise" in rows[2].reason
    (clips / "a.mp4").unlink()
    moved = list(import_exemplars(finder, bank, manifest(clips, "b.mp4,62,107B,3,")))
    assert [row.outcome for row in moved] == ["updated"]
    assert [one.clip.path for one in bank.index.exemplars] == [str(clips / "b.mp4")]


def test_refused_unreadable_and_incomplete_clips_leave_the_bank_alone(finder, make_scorer, make_model, bank, clips):
    judged = JudgedOptions(score=62.0)
    with pytest.raises(RefusedError, match="no dive is found"):
        add_exemplar(finder, bank, clips / "empty.mp4", OF_107B, judged)
    (clips / "bad.mp4").write_text("no video")
    with pytest.raises(VideoError):
        add_exemplar(finder, bank, clips / "bad.mp4", OF_107B, judged)
    plain = make_scorer(make_model())
    with pytest.raises(RefusedError):
        add_exemplar(plain, bank, clips / "a.mp4", replace(OF_107B, force=False), judged)
    assert not bank.exists


def test_a_bank_of_other_weights_is_refused_before_the_clip_is_read(make, bank, clips):
    add_exemplar(make(), bank, clips / "a.mp4", OF_107B, JudgedOptions(score=62.0))
    other = make(digest="v" * 64)
    with pytest.raises(BankError, match="made by other weights"):
        add_exemplar(other, bank, clips / "b.mp4", OF_107B, JudgedOptions(score=62.0))
    assert other.located == ()


# A manifest


def test_every_row_of_a_manifest_is_accounted_for(finder, bank, clips):
    path = manifest(
        clips, "a.mp4,62,107B,3,", "b.mp4,,107B,3,7 7 7", "empty.mp4,50,107B,3,", "c.mp4,,107B,3,", "none.mp4,5,107B,3,"
    )
    rows = {row.source.rpartition("/")[2]: row for row in import_exemplars(finder, bank, path)}
    assert {name: row.outcome for name, row in rows.items()} == {
        "a.mp4": "added",
        "b.mp4": "added",
        "empty.mp4": "refused",
        "c.mp4": "skipped",
        "none.mp4": "failed",
    }
    assert rows["empty.mp4"].reason == "no dive is found in it (say when)"
    assert rows["c.mp4"].reason == "no score in the manifest"
    assert [(one.id, round(one.score, 2)) for one in bank.index.exemplars] == [("107B-a", 62.0), ("107B-b", 65.1)]


def test_an_import_goes_on_where_it_stopped_and_takes_over_new_labels(finder, bank, clips):
    path = manifest(clips, "a.mp4,62,107B,3,", "b.mp4,50,107B,3,", "c.mp4,40,205B,3,")
    stopped = import_exemplars(finder, bank, path)
    next(stopped), next(stopped)
    stopped.close()
    manifest(clips, "a.mp4,62,107B,3,", "b.mp4,55.8,107B,3,", "c.mp4,40,205B,3,")
    finder.located = ()
    assert [row.outcome for row in import_exemplars(finder, bank, path)] == ["kept", "updated", "added"]
    assert [each.rpartition("/")[2] for each, _ in finder.located] == ["c.mp4"]
    assert [round(one.score, 2) for one in bank.index.exemplars] == [62.0, 55.8, 40.0]


def test_a_file_that_has_changed_is_read_again(finder, bank, clips):
    path = manifest(clips, "a.mp4,62,107B,3,")
    list(import_exemplars(finder, bank, path))
    with (clips / "a.mp4").open("ab") as file:
        file.write(b"\0")
    assert [row.outcome for row in import_exemplars(finder, bank, path)] == ["updated"]


def test_who_dives_and_when_come_from_the_manifest_and_stay_where_it_does_not_say(finder, bank, clips):
    heading, path = "video,score,dive,height_m,diver,date", clips / "dives.csv"
    path.write_text(f"{heading}\na.mp4,62,107B,3,Anna,31.05.2026\n")
    list(import_exemplars(finder, bank, path))
    judged = JudgedOptions(score=50.0, diver="Ben", date="2026")
    add_exemplar(finder, bank, clips / "b.mp4", replace(OF_107B, athlete="0.5,0.5"), judged)
    clip = {one.id: one.clip for one in bank.index.exemplars}
    assert (clip["107B-a"].diver, clip["107B-a"].date) == ("Anna", "2026-05-31")

    path.write_text(f"{heading}\na.mp4,62,107B,3,Anne,\nb.mp4,51,107B,3,,\n")
    assert [row.outcome for row in import_exemplars(finder, bank, path)] == ["updated", "updated"]
    clip = {one.id: one.clip for one in bank.index.exemplars}
    assert (clip["107B-a"].diver, clip["107B-a"].date) == ("Anne", "2026-05-31")
    with (clips / "b.mp4").open("ab") as file:
        file.write(b"\0")
    finder.located = ()
    assert [row.outcome for row in import_exemplars(finder, bank, path)] == ["kept", "updated"]
    ((_, options),) = finder.located
    assert (options.athlete, options.force) == ("0.5,0.5", True)
    clip = {one.id: one.clip for one in bank.index.exemplars}["107B-b"]
    assert (clip.diver, clip.date, clip.athlete, clip.force) == ("Ben", "2026", "0.5,0.5", True)


def test_a_missing_manifest_is_one_error(finder, bank, clips):
    with pytest.raises(DatasetError, match="no such manifest"):
        list(import_exemplars(finder, bank, clips / "none.csv"))


# Other weights


@pytest.mark.thorough
def test_other_weights_encode_a_bank_again_and_nothing_is_lost(make, make_model, bank, clips, tmp_path):
    first = make()
    for name, score in (("a", 62.0), ("b", 50.0), ("c", 40.0)):
        add_exemplar(first, bank, clips / f"{name}.mp4", OF_107B, JudgedOptions(score=score))
    assert list(rebuild_bank(first, bank)) == []
    before = load_bank(bank.folder, weights_digest="w" * 64)
    shutil.move(clips / "b.mp4", tmp_path / "b.mp4")
    (clips / "c.mp4").write_bytes((clips / "a.mp4").read_bytes())
    other = make(make_model(gat=False), digest="v" * 64)
    rows = list(rebuild_bank(other, bank))
    assert [(row.exemplar, row.outcome) for row in rows] == [
        ("107B-a", "updated"),
        ("107B-b", "failed"),
        ("107B-c", "failed"),
    ]
    assert "--clips" in rows[1].reason
    assert "has changed" in rows[2].reason
    assert [one.id for one in bank.index.waiting] == ["107B-b", "107B-c"]
    rows = list(rebuild_bank(other, bank, clips=tmp_path))
    assert [(row.exemplar, row.outcome) for row in rows] == [("107B-b", "updated"), ("107B-c", "failed")]
    after = load_bank(bank.folder, weights_digest="v" * 64)
    assert [(one.id, one.execution) for one in after.exemplars] == [
        (one.id, one.execution) for one in before.exemplars[:2]
    ]
    assert after.exemplars[1].clip.path == str(tmp_path / "b.mp4")
    assert other.located[-1][1].takeoff_s == 0.5


def test_the_times_at_which_a_dive_was_found_are_those_at_which_it_is_encoded_again(make, bank, clips):
    first = make()
    add_exemplar(first, bank, clips / "a.mp4", replace(OF_107B, takeoff_s=0.7), JudgedOptions(score=62.0))
    again = make(digest="v" * 64)
    list(rebuild_bank(again, bank))
    ((_, options),) = again.located
    assert (options.takeoff_s, options.entry_s, options.force) == (0.7, 1.5, True)


# Scoring with it


def test_the_scorer_tells_whose_votes_they_are_and_how_they_are_calibrated(finder, bank, clips, monkeypatch):
    for name in "abc":
        add_exemplar(finder, bank, clips / f"{name}.mp4", OF_107B, JudgedOptions(score=62.0))
    from finecausal_cli.retrieval.bank import Bank
    from finecausal_cli.retrieval.own_bank import leave_one_out

    mine = load_bank(bank.folder, weights_digest="w" * 64, name="mine")
    joined = Bank.join([mine, finder.bank])
    judged = leave_one_out(finder.model, joined)
    finder._bank, finder._judged = joined, judged
    found = finder.score(str(clips / "empty.mp4").replace("empty", "b"), replace(OF_107B, start_s=0.4))
    assert [vote.bank for vote in found.votes] == ["mine"] * 3 + ["small"] * 4
    assert any(note.startswith("not calibrated: 3 judged dives") for note in found.notes)
    assert (found.interval, found.interval_withheld) == (None, "3 judged dives of your own, 10 are needed for one")
    total = sum(stage.contribution for stage in found.stages)
    assert found.exemplar_score + total == pytest.approx(found.score, abs=1e-4)


def test_the_interval_of_calibrated_dives_covers_the_heights_that_are_possible(finder, clips):
    stored = StoredInterval(level=0.9, execution_half_width=2.0)
    finder._judged = SimpleNamespace(interval=stored, interval_withheld=None, note="calibrated", in_words="calibrated")
    found = finder.score(clips / "a.mp4", replace(OF_107B, height_m=None))
    least, most = (points / found.execution for points in found.points_range)
    assert least < most
    low, high = max(found.execution - 2, 0), min(found.execution + 2, 30)
    assert (found.interval.low, found.interval.high) == pytest.approx((low * least, high * most))
