import pytest

from finecausal_cli.errors import WeightsError
from finecausal_cli.evaluation.run import find_weights, name_of, weights_of_run


def make(folder, *names):
    for name in names:
        (folder / name).mkdir(parents=True)
        (folder / name / "config.json").write_text("{}")


def test_a_run_has_its_best_and_its_last(tmp_path):
    make(tmp_path, "run/best", "run/last", "old/best", "plain")
    assert weights_of_run(tmp_path / "run") == {"best": tmp_path / "run/best", "last": tmp_path / "run/last"}
    assert list(weights_of_run(tmp_path / "old")) == ["best"]
    assert weights_of_run(tmp_path / "plain") == {}
    assert weights_of_run(tmp_path / "nowhere") == {}


def test_weights_are_found_at_any_depth_and_the_last_only_without_a_best(tmp_path):
    make(tmp_path, "a/best", "a/last", "b/seed-1/best", "c/last", "d")
    found = [one.relative_to(tmp_path).as_posix() for one in find_weights(tmp_path)]
    assert found == ["a/best", "b/seed-1/best", "c/last", "d"]
    assert find_weights(tmp_path / "d") == [tmp_path / "d"]


def test_a_folder_without_weights_is_named(tmp_path):
    with pytest.raises(WeightsError, match="no weights in or below") as error:
        find_weights(tmp_path)
    assert error.value.where == str(tmp_path)


def test_the_weights_of_a_run_are_called_after_it(tmp_path):
    assert name_of(tmp_path / "mine" / "best") == "mine/best"
    assert name_of(tmp_path / "compact") == "compact"
