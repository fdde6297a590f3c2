"""How clips that begin late or end early are measured."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from benchmarks.cut_clips import CUTS, judge
from finecausal_cli.athlete.track import AFTER_S, BEFORE_S
from finecausal_cli.scoring.scorer import Scorer
from finecausal_cli.simulator.dataset import write_dataset
from finecausal_cli.training.body_film import BodyFilm
from finecausal_cli.training.track_errors import LeanErrors, SplashErrors, read_bodies
from tests.training.test_skeleton import no_errors

if TYPE_CHECKING:
    from pathlib import Path

DIVES = 8


def test_every_cut_is_judged_and_whole_clips_well(tmp_path: Path) -> None:
    write_dataset(tmp_path, DIVES, 5, layout="bodies")
    film = BodyFilm(
        no_errors(), SplashErrors(*[np.linspace(0, 1, 50)] * 2, np.zeros(50)), LeanErrors(*np.zeros((3, 0)))
    )
    bodies = read_bodies(tmp_path)
    tracks = [film(body.motion, body.number.position, np.random.default_rng(3), whole=True) for body in bodies]  # type: ignore[arg-type]
    scorer = Scorer.load()
    judged = {cut.name: judge(scorer, [body.dive for body in bodies], [cut(each) for each in tracks]) for cut in CUTS}
    begins = [cut(tracks[0]).times_s[0] for cut in CUTS]
    assert begins == pytest.approx([-BEFORE_S, -0.2, 0.0, -BEFORE_S], abs=0.1)
    ends = [cut(tracks[0]).times_s[-1] - tracks[0].air_s for cut in CUTS]
    assert ends == pytest.approx([AFTER_S, AFTER_S, AFTER_S, 0.2], abs=0.1)
    assert CUTS[-1](tracks[0]).splash is None
    whole = judged["whole"]
    assert len(whole.true) == DIVES
    assert sum(whole.right) >= DIVES / 2  # bodies that are read without an error
    assert np.corrcoef(whole.true, whole.points)[0, 1] > 0.6
    assert all(len(each.row()) == 7 for each in judged.values())
    assert whole.row()[0] == str(DIVES)
