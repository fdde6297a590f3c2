import json
import re
from functools import partial

import pytest

from finecausal_cli.retrieval.bank import save_bank
from finecausal_cli.scoring import ScoreOptions
from finecausal_cli.scoring import doctor as checkup
from finecausal_cli.scoring.doctor import SELF_TEST_NAME, Check, Diagnostics, diagnose
from finecausal_cli.weights import WeightsInfo
from finecausal_cli.weights.store import save_weights

ASKED = {"clip": "dive.mp4", "dive": "107B", "height_m": 10.0}


@pytest.fixture(scope="module")
def weights(tiny_model, tiny_bank, tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights")
    digest = save_weights(folder, tiny_model, WeightsInfo().facts())
    save_bank(folder / "bank", tiny_bank.exemplars, tiny_bank.encodings, weights_digest=digest)
    return folder


@pytest.fixture
def self_test(weights, film, monkeypatch):
    """Write a self-test, run it and return what was found."""
    monkeypatch.setattr(checkup, "_example", lambda name: film.parent / name if name == film.name else None)

    def run(text):
        (weights / SELF_TEST_NAME).write_text(text if isinstance(text, str) else json.dumps(text))
        found = diagnose(str(weights), device="cpu").findings[-1]
        assert found.subject == "self-test"
        return found

    yield run
    (weights / SELF_TEST_NAME).unlink(missing_ok=True)


def test_an_installation_is_healthy_if_every_finding_is():
    well, ill = Check("a", "here"), Check("b", "gone", well=False)
    assert Diagnostics((well, well)).healthy
    assert not Diagnostics((well, ill)).healthy


def test_whole_weights_are_found_whole(weights):
    findings = {one.subject: one for one in diagnose(str(weights), device="cpu", self_test=False).findings}
    assert findings["weights"] == Check("weights", f"{weights}: whole; bank of 6 exemplars, 2 dive numbers")
    assert "self-test" not in findings
    assert findings["decoder av"].well
    assert "torch 2" in findings["libraries"].finding


def test_broken_weights_are_a_finding_and_not_a_crash(tmp_path):
    found = diagnose(str(tmp_path / "none"), device="cpu")
    by_subject = {one.subject: one for one in found.findings}
    assert not found.healthy
    assert not by_subject["weights"].well
    assert not by_subject["self-test"].well
    assert "no such weights" in by_subject["weights"].finding


def test_a_device_that_is_not_there_is_a_finding(weights):
    by_subject = {one.subject: one for one in diagnose(str(weights), device="toaster").findings}
    assert "no device 'toaster'" in by_subject["weights"].finding
    assert not by_subject["weights"].well


@pytest.mark.thorough
def test_the_self_test_compares_the_score(self_test, make_scorer, tiny_model, film, monkeypatch):
    monkeypatch.setattr(checkup, "ScoreOptions", partial(ScoreOptions, force=True))  # the film shows no dive
    expected = make_scorer(tiny_model).score(str(film), checkup.ScoreOptions(dive="107B", height_m=10.0)).score
    assert self_test({**ASKED, "score": expected}).well
    wrong = self_test({**ASKED, "score": expected + 1})
    assert not wrong.well
    said = re.fullmatch(r"dive\.mp4 scores (\d+\.\d{4}), expected (\d+\.\d{4})", wrong.finding)
    assert said, wrong.finding
    assert said[2] == f"{expected + 1:.4f}"
    # The last digit is rounding's: the same pair differs by as much in another batch or with other threads.
    assert float(said[1]) == pytest.approx(expected, abs=2e-4)


def test_weights_without_a_self_test_are_no_fault(weights):
    found = diagnose(str(weights), device="cpu").findings[-1]
    assert found.well
    assert "bring none" in found.finding


def test_a_missing_example_and_a_damaged_self_test_are_findings(self_test):
    assert self_test({**ASKED, "clip": "gone.mp4", "score": 50}) == Check(
        "self-test", "the example gone.mp4 is not installed", well=False
    )
    for text in ("", "[]", "{}", {**ASKED, "score": "much"}, {**ASKED, "score": None}):
        found = self_test(text)
        assert not found.well
        assert SELF_TEST_NAME in found.finding


def test_a_library_that_cannot_be_loaded_is_a_finding(monkeypatch):
    def refuse(name):
        raise OSError("no shared library")

    monkeypatch.setattr("builtins.__import__", refuse)
    findings = checkup._decoders()
    monkeypatch.undo()
    assert [(one.subject, one.well) for one in findings] == [("decoder av", False), ("decoder decord", True)]
    assert "no shared library" in findings[0].finding


@pytest.mark.parametrize(("threads", "said"), [(1, "cpu (1 thread)"), (4, "cpu (4 threads)")])
def test_one_thread_is_one(monkeypatch, threads, said):
    monkeypatch.setattr(checkup.torch, "get_num_threads", lambda: threads)
    assert checkup._devices()[0] == said
