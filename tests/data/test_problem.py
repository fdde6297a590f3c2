import pytest

from finecausal_cli.data import Problem, refuse
from finecausal_cli.errors import DatasetError


def test_only_what_stops_a_run_is_raised():
    refuse(Problem("masks", "a/b", "gone", stops=False))
    with pytest.raises(DatasetError, match=r"^a/b: gone \(look for them\)$"):
        refuse(Problem("masks", "a/b", "gone", "look for them"))
