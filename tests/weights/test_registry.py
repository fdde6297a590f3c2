import pytest

from finecausal_cli.errors import WeightsError
from finecausal_cli.weights import hub as registry
from finecausal_cli.weights.hub import bank_folder, list_bundled, resolve_weights


@pytest.fixture
def shelves(tmp_path, monkeypatch):
    package = tmp_path / "site" / "finecausal_cli"
    monkeypatch.setattr(registry, "_PACKAGE", package)
    installed, checkout = package / "bundled" / "weights", tmp_path / "site" / "weights"

    def put(shelf, name):
        (shelf / name).mkdir(parents=True)
        (shelf / name / "config.json").write_text("{}")
        return shelf / name

    return put, installed, checkout


def test_finds_the_weights_of_a_wheel_and_of_a_checkout(shelves):
    put, installed, checkout = shelves
    both, _ = put(installed, "skeleton"), put(checkout, "skeleton")
    other = put(checkout, "large")
    (checkout / "notes").mkdir()
    assert list_bundled() == {"skeleton": both, "large": other}
    assert resolve_weights() == both
    assert resolve_weights("large") == other
    assert bank_folder(other) == other / "bank"


def test_a_folder_is_taken_as_it_is_and_a_name_wins(shelves, tmp_path, monkeypatch):
    put, installed, _ = shelves
    bundled = put(installed, "compact")
    own = put(tmp_path / "cwd", "compact")
    monkeypatch.chdir(tmp_path / "cwd")
    assert resolve_weights("compact") == bundled
    assert resolve_weights("./compact").resolve() == own
    assert resolve_weights(own) == own


def test_an_error_lists_what_there_is(shelves, tmp_path):
    put, installed, checkout = shelves
    with pytest.raises(WeightsError, match=r"skeleton: no such weights .*bundled weights: none"):
        resolve_weights()
    put(installed, "compact")
    put(checkout, "large")
    with pytest.raises(WeightsError, match=r"huge: no such weights .*compact, large"):
        resolve_weights("huge")
    with pytest.raises(WeightsError, match=r"no config\.json"):
        resolve_weights(tmp_path)
