from importlib import import_module

import pytest


@pytest.mark.parametrize(
    "name",
    [
        "backbones",
        "causal",
        "choices",
        "data",
        "execution",
        "explanations",
        "feeding",
        "gpu",
        "own_exemplars",
        "perturbations",
        "reader",
        "search",
    ],
)
def test_every_benchmark_that_the_docs_name_is_a_command(name, capsys, monkeypatch):
    monkeypatch.setattr("sys.argv", [name, "--help"])
    with pytest.raises(SystemExit, match="0"):
        import_module(f"benchmarks.{name}").main()
    assert f"python -m benchmarks.{name}" in capsys.readouterr().out
