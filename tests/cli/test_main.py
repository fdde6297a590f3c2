"""The command as a user meets it: its streams and its exit code.

Most run within this process; ``process`` starts one of its own, for each promise that only a process can break.
"""

import json
import logging
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "dives"
DIVE = EXAMPLES / "107B-10m-good.mp4"


def process(*arguments, **environment):
    return subprocess.run(
        [sys.executable, "-m", "finecausal_cli", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "COLUMNS": "80", **environment},
    )


def test_help_does_not_import_torch():
    code = (
        "import sys\n"
        "from finecausal_cli.cli import app\n"
        "def load(heavy, *arguments):\n"
        "    try:\n        app(arguments)\n    except SystemExit:\n        pass\n"
        "    heavy &= set(sys.modules)\n"
        "    sys.exit(f'{arguments} imported {heavy}') if heavy else None\n"
        "load({'torch', 'torch_geometric', 'cv2', 'av', 'decord', 'scipy', 'numpy'}, '--help')\n"
        "load({'torch', 'scipy'}, 'dive', '5253B')\n"
        "load({'torch', 'scipy'}, 'weights', 'info', '--json')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def test_version():
    done = process("--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, "finecausal 0.1.0\n", "")


def test_a_process_exits_with_2_for_wrong_usage_and_with_1_for_what_is_not_there(tmp_path):
    usage = process("score")
    assert (usage.returncode, usage.stdout) == (2, "")
    assert "Missing argument" in usage.stderr
    failed = process("weights", "info", tmp_path)
    assert (failed.returncode, failed.stdout) == (1, "")
    assert failed.stderr.startswith("finecausal: ")
    assert failed.stderr.count("\n") == 1


@pytest.mark.thorough
def test_a_process_writes_json_alone_on_standard_output():
    done = process("score", DIVE, "--dive", "107B", "--height", "10", "--format", "json")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["dive"] == "107B"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["score"], "Missing argument"),
        (["score", DIVE, "--most-exemplars", "0"], "--most-exemplars"),
        (["score", DIVE, "--dive", "987Z"], "987Z"),
        (["score", DIVE, "--device", "toaster"], "toaster"),
        (["score", DIVE, "--nonsense"], "--nonsense"),
        (["explain", DIVE, "--layer", "3"], "--layer"),
        (["explain", DIVE, "--head", "0"], "--head"),
        (["explain", DIVE, "--overlay", DIVE], "over the dive that is read"),
        (["explain", DIVE, "--overlay", "o.avi"], "--overlay"),
        (["compare", DIVE], "Missing argument"),
        (["compare", DIVE, DIVE, "--execution", "20", "--ask-bank"], "--ask-bank"),
        (["compare", DIVE, DIVE, "--score", "60"], "difficulty"),
        (["schema", "nonsense"], "nonsense"),
        (["simulate", "out", "--negatives", "screen", "--workers", "2"], "--workers: --negatives writes"),
    ],
)
def test_wrong_usage_exits_with_2(finecausal, arguments, says):
    done = finecausal(*arguments)
    assert done.returncode == 2
    assert says in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["score", DIVE, "--nonsense"], "No such option: --nonsense"),
        (["compare", DIVE, DIVE, "--slow", "0"], "--slow: "),
        (["schema", "nonsense"], "COMMAND: 'nonsense' is not one of"),
        (["score", DIVE, "--start", "9", "--end", "3"], "--end: The end at 3 s"),
        (["score", DIVE, "--start", "-1"], "--start: "),
        (["dive", "107B", "--height", "4"], "--height: no difficulty list for 4 m"),
        (["nonsense"], "No such command 'nonsense'"),
    ],
)
def test_wrong_usage_is_one_line_that_names_the_option(finecausal, arguments, says):
    done = finecausal(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"finecausal: {says}")
    assert done.stderr.count("\n") == 1


def test_a_group_without_a_command_is_its_help(finecausal):
    done = finecausal("exemplars")
    assert done.returncode == 2
    assert "Usage: finecausal exemplars" in done.stdout
    assert done.stderr == ""


@pytest.mark.parametrize("command", ["score", "evaluate", "simulate", "measure", "compare"])
def test_no_word_of_the_help_is_cut_or_broken(finecausal, command):
    lines = finecausal(command, "--help").stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert not [line for line in lines if "…" in line]
    assert not [line for line in lines if re.search(r"<\w+\|[^>]*$", line)]  # choices over two lines


def bad_files(folder):
    def missing():
        return folder / "missing.mp4"

    def text_named_mp4():
        (folder / "text.mp4").write_text("This is not a video.\n" * 50)
        return folder / "text.mp4"

    def empty_folder():
        (folder / "empty").mkdir()
        return folder / "empty"

    def truncated():
        (folder / "truncated.mp4").write_bytes(DIVE.read_bytes()[:20_000])
        return folder / "truncated.mp4"

    return [missing, text_named_mp4, empty_folder, truncated]


@pytest.mark.parametrize("place", range(4))
def test_a_bad_file_is_one_line_that_names_it(finecausal, tmp_path, place):
    path = bad_files(tmp_path)[place]()
    done = finecausal("score", path, "--dive", "107B", "--height", "10")
    assert done.returncode == 1, done.stdout
    assert done.stdout == ""
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    assert path.name in lines[0]
    assert "Traceback" not in done.stderr


def piped(*arguments, reader="head -1"):
    """Run a command whose output another process stops reading."""
    command = (
        f'{sys.executable} -m finecausal_cli {" ".join(map(str, arguments))} | {reader}; echo "${{PIPESTATUS[0]}}"'
    )
    return subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, timeout=120, check=False,
        env={**os.environ, "COLUMNS": "80"},
    )  # fmt: skip


@pytest.mark.parametrize(
    "arguments",
    [("--help",), ("explain", "--help"), ("dive", "5253B"), ("schema", "explain"), ("weights", "info", "--json")],
    ids=" ".join,
)
def test_a_closed_pipe_ends_quietly_with_0(arguments):
    done = piped(*arguments, reader="true")
    assert (done.stdout, done.stderr) == ("0\n", "")
    assert piped(*arguments).stdout.endswith("\n0\n")


@pytest.mark.thorough
def test_results_written_elsewhere_are_whole_though_nobody_reads_standard_output(tmp_path):
    page = tmp_path / "page.html"
    options = ("--dive", "107B", "--height", "10", "--no-backgrounds", "--html", page)
    assert piped("explain", DIVE, *options, reader="true").stdout == "0\n"
    assert page.read_text().rstrip().endswith("</html>")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("arguments", [("--help",), ("dive", "5253B"), ("schema",)], ids=" ".join)
def test_standard_output_on_a_full_disk_is_one_line(arguments):
    done = subprocess.run(
        ["bash", "-c", f"{sys.executable} -m finecausal_cli {' '.join(arguments)} > /dev/full"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (1, "finecausal: standard output: No space left on device\n")


def refused_paths(folder):
    (folder / "loop").symlink_to(folder / "loop")
    return [folder / ("x" * 300), folder / "loop"]


@pytest.mark.parametrize("number", range(2), ids=["too long", "a loop of links"])
@pytest.mark.parametrize(
    ("arguments", "flag"),
    [
        (["score", DIVE, "--weights"], "--weights"),
        (["score", DIVE, "--bank"], "--bank"),
        (["score", DIVE, "-o"], "--output"),
        (["score", "--from-file"], "--from-file"),
        (["explain", DIVE, "--overlay"], "--overlay"),
        (["compare", DIVE, DIVE, "--html"], "--html"),
        (["compare", DIVE, DIVE, "--figures"], "--figures"),
        (["train", EXAMPLES.parent / "dataset", "--cache"], "--cache"),
        (["train", EXAMPLES.parent / "dataset", "--init"], "--init"),
        (["train", EXAMPLES.parent / "dataset", "-o"], "--output"),
        (["dataset", "check", EXAMPLES.parent / "dataset", "--annotations"], "--annotations"),
        (["exemplars", "list", "--bank"], "--bank"),
        (["weights", "reader", "-o", "run", "--validation", "a", "--train"], "--train"),
        (["score", DIVE, "--config"], "--config"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_path_that_the_system_refuses_is_one_line_with_its_option(finecausal, tmp_path, number, arguments, flag):
    path = refused_paths(tmp_path)[number]
    done = finecausal(*arguments, path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"finecausal: {flag} {path}: ")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("number", range(2), ids=["too long", "a loop of links"])
@pytest.mark.parametrize(
    "arguments",
    [("score",), ("explain",), ("train",), ("dataset", "check"), ("weights", "info"), ("weights", "verify")],
)
def test_an_argument_that_the_system_refuses_is_one_line(finecausal, tmp_path, number, arguments):
    path = refused_paths(tmp_path)[number]
    done = finecausal(*arguments, path)
    assert done.returncode in (1, 2)
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert path.name[:20] in done.stderr


def test_quiet_and_verbose_stand_anywhere_on_the_line(finecausal, log_level, monkeypatch):
    from finecausal_cli.cli import assets

    def show(number: str) -> None:
        logger = logging.getLogger("finecausal_cli.some.module")
        for level in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR):
            logger.log(level, "said at %d", level)

    def lines(*arguments):
        monkeypatch.setattr(next(c for c in app.registered_commands if c.callback.__name__ == "dive").callback,
                            "function", show)  # fmt: skip
        done = finecausal(*arguments)
        assert (done.returncode, done.stdout) == (0, "")
        return done.stderr.splitlines()

    from finecausal_cli.cli import app

    assert assets.dive is not None
    usual, error = ["said at 30", "said at 40"], ["said at 40"]
    assert lines("dive", "107B") == usual
    assert lines("-v", "dive", "107B") == lines("dive", "107B", "--verbose") == ["said at 20", *usual]
    debug = ["finecausal_cli.some.module: said at 10", "said at 20", *usual]
    assert lines("dive", "-vv", "107B") == lines("-v", "dive", "107B", "-v") == debug
    assert lines("-q", "dive", "107B") == lines("dive", "107B", "--quiet") == error


def test_the_traceback_of_what_is_logged_shows_at_the_highest_verbosity_alone(finecausal, log_level, monkeypatch):
    from finecausal_cli.cli import app

    def stumble(number: str) -> None:
        logger = logging.getLogger("finecausal_cli.some.module")
        try:
            int(number)
        except ValueError:
            logger.error("said short", exc_info=True)
            logger.debug("said in full", exc_info=True)

    monkeypatch.setattr(next(c for c in app.registered_commands if c.callback.__name__ == "dive").callback,
                        "function", stumble)  # fmt: skip
    assert finecausal("dive", "107B").stderr.splitlines() == ["said short"]
    lines = finecausal("dive", "107B", "-vv").stderr.splitlines()
    assert lines[:3] == ["said short", "finecausal_cli.some.module: said in full", "Traceback (most recent call last):"]
    assert lines[-1] == "ValueError: invalid literal for int() with base 10: '107B'"


def test_quiet_and_verbose_contradict_each_other(finecausal, log_level):
    done = finecausal("dive", "107B", "-v", "-q")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)


def test_behind_two_dashes_there_are_no_flags(finecausal, log_level):
    done = finecausal("dive", "--", "-q")
    assert done.returncode == 2
    assert "-Q" in done.stderr or "-q" in done.stderr


@pytest.mark.thorough
def test_quiet_keeps_the_result_and_drops_notes(finecausal, log_level, tmp_path):
    clip = tmp_path / DIVE.name
    clip.write_bytes(DIVE.read_bytes())
    (tmp_path / f"{DIVE.name}.finecausal.json").write_text("something else")
    arguments = ("score", clip, "--dive", "107B", "--height", "10", "--takeoff", "0.5", "--format", "json")
    usual, quiet = finecausal(*arguments), finecausal("-q", *arguments)
    assert "note: " in usual.stderr
    assert (quiet.stderr, quiet.returncode) == ("", usual.returncode)
    assert json.loads(quiet.stdout)["dive"] == json.loads(usual.stdout)["dive"]
    failed = finecausal("-q", "score", tmp_path / "missing.mp4")
    assert failed.returncode == 1
    assert "missing.mp4" in failed.stderr


def test_debug_shows_the_traceback():
    """The interpreter prints it, so a process must; one that needs no torch."""
    quiet, loud = process("dive", "987Z"), process("dive", "987Z", "--debug")
    assert (quiet.returncode, quiet.stdout) == (2, "")
    assert "Traceback" not in quiet.stderr
    assert (loud.returncode, loud.stdout) == (1, "")
    assert "Traceback" in loud.stderr
    assert "DiveNumberError" in loud.stderr


def test_json_is_alone_on_standard_output_and_follows_the_schema(finecausal):
    import jsonschema

    done = finecausal("score", DIVE, "--dive", "107b", "--height", "10", "--format", "json")
    assert done.returncode == 0, done.stderr
    verdict = json.loads(done.stdout)
    schema = json.loads(finecausal("schema").stdout)
    jsonschema.validate(verdict, schema)
    contributions = sum(stage["contribution"] for stage in verdict["stages"])
    assert verdict["exemplar_score"] + contributions == pytest.approx(verdict["score"], abs=1e-4)


@pytest.mark.thorough
def test_the_table_fits_80_columns_and_has_no_escapes_in_a_pipe(finecausal):
    done = finecausal("explain", DIVE, "--dive", "107B", "--height", "10")
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout
    assert max(len(line) for line in done.stdout.splitlines()) <= 80


def test_doctor_finds_the_expected_score(finecausal):
    done = finecausal("doctor", "--format", "json")
    assert done.returncode == 0, done.stdout
    findings = {one["subject"]: one for one in json.loads(done.stdout)["findings"]}
    assert findings["self-test"]["well"]
    assert "expected" in findings["self-test"]["finding"]


def test_a_folder_of_videos_is_called_one(finecausal):
    done = finecausal("explain", EXAMPLES.parent)
    assert done.returncode == 1
    assert "This is a folder of" in done.stderr
    assert ".mp4" in done.stderr


def test_help_reads_well_at_80_columns():
    for command in ("score", "explain", "compare"):
        done = process(command, "--help", TERMINAL_WIDTH="80")
        assert done.returncode == 0
        assert max(map(len, done.stdout.splitlines())) <= 80
        assert done.stdout.index("Options") < done.stdout.index("Computing")


@pytest.mark.thorough
def test_explain_writes_everything_that_is_asked_for(finecausal, tmp_path):
    import av
    import jsonschema

    names = ["why.json", "why.html", "why.mp4", "figures"]
    verdict, page, overlay, figures = (tmp_path / name for name in names)
    arguments = ["--dive", "107B", "--height", "10", "--no-backgrounds", "--layer", "1", "--head", "2"]
    targets = ["-o", verdict, "--format", "json", "--html", page, "--overlay", overlay, "--figures", figures]
    done = finecausal("explain", DIVE, *arguments, *targets)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    explained = json.loads(verdict.read_text())
    jsonschema.validate(explained, json.loads(finecausal("schema", "explain").stdout))
    assert (explained["graph_attention"]["layer"], explained["graph_attention"]["head"]) == (1, 2)
    judged_s = explained["assessment"]["clip_end_s"] - explained["assessment"]["clip_start_s"]
    with av.open(str(overlay)) as ours, av.open(str(DIVE)) as theirs:
        rate = theirs.streams.video[0].average_rate
        assert ours.streams.video[0].average_rate == rate
        assert ours.streams.video[0].frames == pytest.approx(judged_s * rate, abs=1.5)
    assert "data:video/mp4;base64," in page.read_text()
    assert (figures / "filmstrip.png").stat().st_size > 0
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)


@pytest.mark.thorough
def test_compare_prints_a_table_and_the_negated_numbers_the_other_way_round(finecausal):
    import jsonschema

    other = EXAMPLES / "107B-10m-poor.mp4"
    done = finecausal("compare", DIVE, other, "--dive", "107B", "--height", "10", "--score", "50")
    assert done.returncode == 0, done.stderr
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert "\x1b" not in done.stdout
    both = [
        json.loads(finecausal("compare", a, b, "--format", "json").stdout) for a, b in ((DIVE, other), (other, DIVE))
    ]
    jsonschema.validate(both[0], json.loads(finecausal("schema", "compare").stdout))
    assert both[0]["difference"] == pytest.approx(-both[1]["difference"], abs=1e-4)
    for ours, theirs in zip(both[0]["stages"], both[1]["stages"], strict=True):
        assert ours["difference"] == pytest.approx(-theirs["difference"], abs=1e-4)
    assert both[0]["difficulty"] is None


def test_output_goes_to_a_file(finecausal, tmp_path):
    target = tmp_path / "out" / "verdict.json"
    done = finecausal("score", DIVE, "--dive", "107B", "--height", "10", "--format", "json", "-o", target)
    assert (done.returncode, done.stdout) == (0, "")
    assert json.loads(target.read_text())["dive"] == "107B"


@pytest.mark.parametrize(
    ("line", "words"),
    [("finecausal hi", ["history"]), ("finecausal history --format ", ["table", "json", "csv"])],
)
def test_the_shell_completes_commands_and_the_values_of_their_options(finecausal, monkeypatch, line, words):
    monkeypatch.setenv("_FINECAUSAL_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", line)
    monkeypatch.setenv("COMP_CWORD", str(len(line.split(" ")) - 1))
    assert finecausal().stdout.split() == words


@pytest.mark.thorough
def test_a_command_that_the_system_ends_says_so_and_exits_with_143(tmp_path):
    command = [sys.executable, "-m", "finecausal_cli", "simulate", str(tmp_path / "d"), "--count", "500"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as run:
        while not list(tmp_path.glob("d/videos/*.mp4")):
            time.sleep(0.1)
        run.terminate()
        out, said = run.communicate(timeout=60)
    assert (run.returncode, out, said) == (143, "", "finecausal: terminated\n")
    assert list(tmp_path.rglob("*.part")) == []
