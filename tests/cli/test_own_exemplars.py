"""A bank of one's own as a user meets it: what is printed, what goes wrong, and what a score makes of it."""

import csv
import json
import shutil
from pathlib import Path

import jsonschema
import pytest
import torch

from finecausal_cli.model.outputs import Encoding
from finecausal_cli.retrieval.bank import Exemplar, JudgedClip, save_bank

EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "dives"
GOOD = EXAMPLES / "107B-10m-good.mp4"
OF_107B = ("--dive", "107B", "--height", "10")


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))
    return tmp_path / "home" / "finecausal" / "banks"


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("add", "a.mp4", *OF_107B), 2, "--score: a judged dive needs its score"),
        (("add", "-", *OF_107B, "--score", "60"), 2, "PATH: standard input cannot be an exemplar"),
        (("add", "a.mp4", "--score", "60"), 2, "--dive: a judged dive needs its number"),
        (("add", "a.mp4", *OF_107B, "--judges", "7,8,12"), 2, "--judges: 12 is no mark: 0 to 10 in half points"),
        (("add", "a.mp4", *OF_107B, "--score", "60", "--bank", "bundled"), 2, "'bundled' is not one bank of your own"),
        (("list", "--bank", "mine"), 1, "no such bank"),
        (
            ("remove", "107B-a"),
            1,
            "mine: no such bank (banks of your own: none; add to it with: finecausal exemplars add",
        ),
        (("rebuild", "--bank", "club"), 1, "club: no such bank"),
    ],
)
def test_what_is_wrong_is_one_line(finecausal, home, arguments, code, says):
    done = finecausal("exemplars", *arguments)
    assert (done.returncode, done.stdout) == (code, "")
    assert len(done.stderr.splitlines()) == 1
    assert says in done.stderr
    assert not home.exists()


def test_the_help_of_an_exemplar_does_not_offer_standard_input(finecausal):
    said = finecausal("exemplars", "add", "--help").stdout.replace("│", " ").split()
    assert "folder of frames; it is read again." in " ".join(said)
    assert "standard input" not in " ".join(said)


@pytest.mark.parametrize("command", ["add", "remove", "import", "rebuild"])
def test_the_help_of_what_changes_a_bank_says_which_one(finecausal, command):
    said = " ".join(finecausal("exemplars", command, "--help").stdout.replace("│", " ").split())
    assert "mine (default)" in said
    assert "bundled (default)" not in said
    assert "recognised" not in said


def test_an_exemplar_of_ones_own_is_shown_without_naming_its_bank(finecausal, home):
    clip = JudgedClip(path="/meet.mp4")
    exemplar = Exemplar(id="107B-meet", dive="107B", height_m=3.0, difficulty=3.1, execution=20.0, clip=clip)
    save_bank(home / "mine", [exemplar], Encoding(*torch.zeros(2, 1, 9, 4)), weights_digest="w" * 64)
    done = finecausal("exemplars", "show", "107B-meet")
    assert (done.returncode, done.stderr) == (0, "")
    assert "/meet.mp4" in done.stdout
    assert "1 more exemplar of your own: exemplars list --bank mine" in finecausal("exemplars", "list").stdout
    done = finecausal("exemplars", "show", "nobody")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("finecausal: bundled: no exemplar 'nobody'")
    none = finecausal("exemplars", "list", "--dive", "109A")
    assert (none.returncode, none.stdout.splitlines()) == (0, ["bundled: no exemplar of 109A"])


def test_the_help_names_banks_and_the_flag(finecausal):
    done = finecausal("score", "--help")
    assert "mine+bundled" in done.stdout
    assert "--no-calibration" in done.stdout


@pytest.mark.thorough
def test_a_judged_dive_votes_beside_the_bundled_ones(finecausal, home, tmp_path):
    clip = Path(shutil.copy(GOOD, tmp_path / "meet.mp4"))
    done = finecausal("exemplars", "add", clip, *OF_107B, "--judges", "7.5,8,8,8,8.5", "--diver", "A. Diver")
    assert (done.returncode, done.stderr) == (0, "")
    assert "added: 107B-meet, 107B, 72.00 points, in mine" in done.stdout
    assert "For a calibration 5 judged dives are needed; there are 1." in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80

    listed = finecausal("exemplars", "list", "--bank", "mine").stdout
    assert "107B-meet" in listed
    assert "predicted" in listed
    shown = finecausal("exemplars", "show", "107B-meet", "--bank", "mine+bundled").stdout
    assert str(clip) in shown
    assert "A. Diver" in shown

    poor = EXAMPLES / "107B-10m-poor.mp4"
    said = json.loads(finecausal("score", poor, *OF_107B, "--bank", "mine+bundled", "--format", "json").stdout)
    jsonschema.validate(said, json.loads(finecausal("schema", "score").stdout))
    assert [vote["bank"] for vote in said["votes"]] == ["mine"] + ["bundled"] * 8
    assert said["provenance"]["bank"] == "mine+bundled"
    assert said["provenance"]["calibration"] is None
    assert "not calibrated: 1 judged dive of your own, 5 are needed" in said["notes"]

    # The clip itself is not asked about itself.
    said = json.loads(finecausal("score", clip, *OF_107B, "--bank", "mine+bundled", "--format", "json").stdout)
    assert {vote["bank"] for vote in said["votes"]} == {"bundled"}

    done = finecausal("exemplars", "remove", "107B-meet")
    assert (done.returncode, done.stdout) == (0, "107B-meet is no longer in mine\n")
    assert clip.exists()


@pytest.mark.thorough
def test_an_imported_manifest_is_reported_row_by_row(finecausal, home, tmp_path):
    shutil.copy(GOOD, tmp_path / "a.mp4")
    (tmp_path / "b.mp4").write_text("no video")
    (tmp_path / "dives.csv").write_text("video,score,dive,height_m\na.mp4,72,107B,10\nb.mp4,50,107B,10\n")
    report = tmp_path / "report.csv"
    done = finecausal("exemplars", "import", tmp_path, "--bank", tmp_path / "bank", "-o", report)
    assert done.returncode == 1
    assert "bank: 1 added, 1 failed" in done.stdout
    with report.open(newline="") as file:
        rows = {Path(row["source"]).name: row for row in csv.DictReader(file)}
    assert (rows["a.mp4"]["outcome"], rows["a.mp4"]["exemplar"]) == ("added", "107B-a")
    assert (rows["b.mp4"]["outcome"], rows["b.mp4"]["exemplar"]) == ("failed", "")
    done = finecausal("exemplars", "import", tmp_path, "--bank", tmp_path / "bank")
    assert "bank: 1 kept, 1 failed" in done.stdout
