"""What a rerun of ``measure`` measures again, and which rows it leaves."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
import torch

from finecausal_cli.batch import MeasureConfig, measuring
from finecausal_cli.batch.inputs import Item
from finecausal_cli.batch.measuring import Measured, MeasuredDive, Measurer, measure_many
from finecausal_cli.batch.pipeline import ReadJob
from finecausal_cli.batch.records import identify, read_rows_of
from finecausal_cli.scoring.measurements import CountRecogniser
from finecausal_cli.scoring.results import Unscored

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from finecausal_cli.batch.records import Job

READER = SimpleNamespace(digest="r" * 16)


@pytest.fixture
def measure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[tuple[object, ...]]]:
    """Measure parts of one file into one journal, each part giving rows of these states; return all rows in short."""
    monkeypatch.setattr(Measurer, "viewing", None)
    path = tmp_path / "m.mp4"
    path.write_bytes(b"a video")

    def run(*states: str, parts: tuple[tuple[float, float] | None, ...] = (None,), found: int = 3, **how: object):
        config = MeasureConfig(**{"all_dives": True, **how})
        measured = []

        def run_jobs(jobs: Iterator[Job], *_: object, **__: object) -> Iterator[Measured]:
            for job in jobs:
                measured.append(job)
                for index, status in enumerate(states, start=1):
                    of_all = 0 if status == "failed" else found
                    facts = {"dive_index": index, "dives_found": of_all, **measuring._identity(job, 0.0)}
                    yield Measured(MeasuredDive(**facts, status=status))

        monkeypatch.setattr(measuring, "run_jobs", run_jobs)
        times = [{} if part is None else {"start_s": part[0], "end_s": part[1]} for part in parts]
        items = [Item("m.mp4", str(path), replace(config.options, **each)) for each in times]
        journal = tmp_path / "m.jsonl"
        rows = measure_many(Measurer(READER, torch.device("cpu")), items, config, journal=journal)
        assert sorted(map(repr, rows)) == sorted(map(repr, read_rows_of(MeasuredDive, journal)))
        return len(measured), [(row.start_s, row.dive_index, row.status) for row in rows]

    return run


@pytest.mark.parametrize(
    "before",
    [
        ("measured", "failed", "measured"),
        ("failed",),
        ("measured", "failed"),
        ("measured", "measured"),  # the run was stopped
        ("refused",),
    ],
)
def test_a_video_with_a_dive_that_failed_or_is_missing_is_measured_again_as_a_whole(
    measure: Callable[..., object], before: tuple[str, ...]
) -> None:
    measure(*before)
    whole = [(None, index, "measured") for index in (1, 2, 3)]
    assert measure("measured", "measured", "measured") == (1, whole)
    assert measure("failed") == (0, whole)  # now nothing is left to do


def test_a_dive_that_is_refused_is_not_measured_again(measure: Callable[..., object]) -> None:
    _, rows = measure("measured", "refused", "measured")
    assert measure("failed") == (0, rows)
    _, alone = measure("measured", found=3, all_dives=False)  # other options: the rows are replaced
    assert alone == [(None, 1, "measured")]
    assert measure("failed", all_dives=False) == (0, alone)


def test_rows_of_other_parts_of_a_video_stay(measure: Callable[..., object]) -> None:
    measure("measured", parts=((0.0, 10.0),), found=1)
    assert measure("measured", parts=((20.0, 30.0),), found=1) == (1, [(0.0, 1, "measured"), (20.0, 1, "measured")])
    count, rows = measure("refused", parts=((0.0, 10.0),), found=1, overwrite=True)
    assert (count, rows) == (1, [(0.0, 1, "refused"), (20.0, 1, "measured")])


def test_a_mistake_of_ours_is_a_row_and_where_it_was_made_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG", "finecausal_cli")
    error = IndexError("of ours")
    job = identify(Item("m.mp4", "m.mp4", MeasureConfig().options), None)
    (result,) = Measurer(READER, torch.device("cpu")).finish([ReadJob(job, error, 0.0)])
    assert (result.dive.status, result.dive.error_kind) == ("failed", "unexpected")
    assert [record.exc_info[1] for record in caplog.records if record.exc_info] == [error]


def test_a_refused_dive_of_several_says_which_it_is_and_how_many_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    unknown = dict.fromkeys(("flight_start_s", "entry_start_s", "time_scale"))
    refused = Unscored(source="m.mp4", status="refused", reason="no_dive", message="no dive", version="0", **unknown)
    monkeypatch.setattr(measuring, "prepare_dive", lambda *_, **__: refused)
    job = identify(Item("m.mp4", "m.mp4", MeasureConfig(all_dives=True).options), None)
    read = ReadJob(job, SimpleNamespace(search=SimpleNamespace(dives=(1, 2, 3))), 0.0, 2, 3)
    (result,) = Measurer(READER, torch.device("cpu")).finish([read])
    assert (result.dive.status, result.dive.dive_index, result.dive.dives_found) == ("refused", 2, 3)


def test_rows_of_another_recogniser_are_measured_again() -> None:
    settings = [
        Measurer(READER, torch.device("cpu"), CountRecogniser(None, digest)).settings for digest in ("a" * 64, "b" * 64)
    ]
    assert settings[0] != settings[1]


def test_the_recogniser_that_comes_with_the_package_is_part_of_the_key() -> None:
    from finecausal_cli.weights import read_manifest
    from finecausal_cli.weights.hub import resolve_weights

    assert Measurer.load("cpu").settings.weights_digest == read_manifest(resolve_weights()).digest
