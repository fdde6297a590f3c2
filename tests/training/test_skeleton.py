"""Training of a network that reads bodies: the reader's errors, and runs of a few steps."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from finecausal_cli.athlete import JOINTS
from finecausal_cli.athlete.track import AFTER_S, BEFORE_S, BodyMotion, BodyTrack, project
from finecausal_cli.errors import DatasetError
from finecausal_cli.scoring.tracks import StoredTrack
from finecausal_cli.simulator.camera import axes_of
from finecausal_cli.simulator.dataset import write_dataset
from finecausal_cli.training import SkeletonOptions, skeleton
from finecausal_cli.training.body_film import LOSSES, BodyFilm, contact_lean_deg
from finecausal_cli.training.skeleton import train_skeleton
from finecausal_cli.training.skeleton_calibration import encode_exemplars, encode_tracks, spread_bodies
from finecausal_cli.training.track_errors import (
    CONTACT_LEAN,
    PHASES,
    JudgedBody,
    LeanErrors,
    SplashErrors,
    TrackErrors,
    measure,
    read_bodies,
)
from finecausal_cli.weights.store import load_weights

if TYPE_CHECKING:
    from collections.abc import Iterator

AZIMUTH, ELEVATION = 20.0, 5.0
BODIES = 10
EXACT_SPLASHES = SplashErrors(np.linspace(0, 1, 50), np.linspace(0, 1, 50), np.zeros(50))
EXACT_LEANS = LeanErrors(np.linspace(0, 60, 30), np.zeros(30), np.zeros(30))


@pytest.fixture(scope="module")
def bodies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bodies")
    write_dataset(folder, BODIES, 5, layout="bodies", dives=("107B", "305C"))
    return folder


def no_errors(count: int = 2) -> TrackErrors:
    zeros = np.zeros(count)
    return TrackErrors.stack(
        [
            {
                "residual": np.zeros((PHASES, len(JOINTS), 2)),
                "turned_over": np.zeros(PHASES),
                "swapped": np.zeros(PHASES),
                "confidence": np.full((PHASES, len(JOINTS)), 0.9),
                "seen": np.ones(PHASES),
                "area_m2": np.full(PHASES, 0.4),
                "path": np.zeros((PHASES, 2)),
                "scale": 1.0,
                "takeoff_s": zero,
                "entry_s": zero,
                "time_scale": 1.0,
                "fps": 60.0,
                "azimuth": np.radians(AZIMUTH),
                "elevation": np.radians(ELEVATION),
                "position": ord("B"),
            }
            for zero in zeros
        ]
    )


def filmed(body: JudgedBody, *, shift: float = 0.0) -> tuple[StoredTrack, dict[str, object], dict[str, np.ndarray]]:
    """Return a body as a perfect reader would read it, and what is known of the film; ``shift`` moves its joints."""
    motion = body.motion
    assert motion is not None
    axes = np.asarray(axes_of(np.radians(AZIMUTH), np.radians(ELEVATION)))
    times = np.arange(-0.6, motion.air_s + 0.9, 1 / 40)[:96]
    screen = project(motion.at(times), axes)
    px_per_m = 100.0
    views = np.tile(np.array([[px_per_m, 0, 300], [0, -px_per_m, 900]]), (len(times), 1, 1))
    pixels = np.einsum("nij,nkj->nki", views[:, :, :2], screen) + views[:, None, :, 2]
    about = screen - screen[:, :1]
    about[:, 1:, 0] += shift
    path = screen[:, 0] - screen[np.argmin(np.abs(times)), 0]
    sure, ones = np.full(about.shape[:2], 0.8, np.float32), np.ones(len(times), np.float32)
    track = BodyTrack(times, about.astype(np.float32), sure, ones, path.astype(np.float32), 0.4 * ones, motion.air_s)
    stored = StoredTrack(track, np.arange(len(times)), 0.6, 0.6 + motion.air_s, 1.0)
    record = {
        "flight_start_s": 0.6,
        "entry_start_s": 0.6 + motion.air_s,
        "time_scale": 1.0,
        "fps": 40.0,
        "camera": {"azimuth_deg": AZIMUTH, "elevation_deg": ELEVATION},
        "dive": str(body.number),
    }
    truth = {
        "joints": pixels.astype(np.float32),
        "px_per_m": np.full(len(times), px_per_m, np.float32),
        "camera": views.astype(np.float32),
        "times_s": times + 0.6,
    }
    return stored, record, truth


def test_bodies_are_simulated_without_pictures_and_read_again(bodies: Path) -> None:
    read = read_bodies(bodies)
    assert len(read) == BODIES
    assert {str(body.number) for body in read} == {"107B", "305C"}
    assert not (bodies / "videos").exists()
    for body in read:
        assert body.motion is not None
        assert body.motion.splash == pytest.approx(body.seen["splash"], abs=1e-6)
        # The centre of a body in the air falls by half g t^2; the pelvis stays near it.
        air = np.linspace(0, body.motion.air_s, 30)
        fall = np.polyfit(air, body.motion.at(air)[:, 0, 2], 2)[0]
        assert fall == pytest.approx(-4.905, rel=0.2)


def test_another_file_is_no_body(tmp_path: Path) -> None:
    (tmp_path / "a.npz").write_bytes(b"no body")
    with pytest.raises(DatasetError, match="not the motion of a simulated body"):
        BodyMotion.read(tmp_path / "a.npz")


def test_a_perfect_reading_has_no_errors_and_a_shifted_one_its_shift(bodies: Path) -> None:
    body = read_bodies(bodies)[0]
    perfect, shifted = (measure(*filmed(body, shift=shift)) for shift in (0.0, 0.1))
    assert perfect is not None
    assert shifted is not None
    in_air = slice(20, 70)
    assert np.abs(perfect["residual"][in_air]).max() < 0.05  # phases lie between frames
    assert not perfect["turned_over"].any()
    assert perfect["scale"] == pytest.approx(1, abs=0.01)
    assert np.abs(perfect["path"][in_air]).max() < 0.02
    assert np.linalg.norm(shifted["residual"][in_air, 1:], axis=-1).mean() == pytest.approx(0.1, abs=0.03)
    assert perfect["takeoff_s"] == perfect["entry_s"] == 0


def test_errors_survive_being_written(tmp_path: Path) -> None:
    errors = no_errors()
    errors.write(tmp_path / "errors.npz")
    read = TrackErrors.read(tmp_path / "errors.npz")
    assert np.array_equal(read.residual, errors.residual)
    assert len(read) == 2
    with pytest.raises(DatasetError, match="no simulated film"):
        TrackErrors.stack([])


def test_a_film_without_errors_shows_the_body_as_the_camera_does(bodies: Path) -> None:
    body = read_bodies(bodies)[0]
    assert body.motion is not None
    track = BodyFilm(no_errors(), EXACT_SPLASHES, EXACT_LEANS)(body.motion, "B", np.random.default_rng(0))
    lengths = np.linalg.norm(body.motion.joints_m[:, 1] - body.motion.joints_m[:, 0], axis=-1)
    seen = np.linalg.norm(track.joints_m[track.in_flight, 1] - track.joints_m[track.in_flight, 0], axis=-1)
    assert seen.max() <= lengths.max() * 1.25  # a trunk never looks longer than it is; its scale varies by some percent
    assert track.air_s == pytest.approx(body.motion.air_s, abs=0.1)
    assert len(track.times_s) == 96


def test_clips_begin_late_and_end_early_as_those_that_people_cut(bodies: Path) -> None:
    body = read_bodies(bodies)[0]
    assert body.motion is not None
    film, motion = BodyFilm(no_errors(), EXACT_SPLASHES, EXACT_LEANS), body.motion
    shown = [film(motion, "B", np.random.default_rng(seed)) for seed in range(120)]
    begins = np.array([track.times_s[0] for track in shown])
    ends = np.array([track.times_s[-1] - track.air_s for track in shown])
    assert np.mean(begins > -BEFORE_S + 0.05) == pytest.approx(0.23, abs=0.1)
    assert np.mean(ends < AFTER_S - 0.05) == pytest.approx(0.14, abs=0.1)
    assert begins.max() < 0.1
    assert ends.min() > 0.0
    assert all(np.all(np.diff(track.times_s) >= 0) for track in shown)
    assert all(track.splash is None for track, end in zip(shown, ends, strict=True) if end < 0.15)
    for seed in range(40):
        whole = film(motion, "B", np.random.default_rng(seed), whole=True)
        assert whole.times_s[0] == pytest.approx(-BEFORE_S, abs=0.1)
        assert whole.times_s[-1] == pytest.approx(whole.air_s + AFTER_S, abs=0.1)


def test_a_film_is_read_again_as_a_shorter_clip_of_it(bodies: Path) -> None:
    body = read_bodies(bodies)[0]
    stored, _, _ = filmed(body)
    film = BodyFilm(no_errors(), EXACT_SPLASHES, EXACT_LEANS)
    judged = replace(body, motion=None, read=stored)
    again = [film.reread(judged, np.random.default_rng(seed)) for seed in range(40)]
    assert {len(track.times_s) for track in again} == {len(stored.track.times_s)}
    assert any(track.times_s[0] > stored.track.times_s[0] + 0.1 for track in again)
    assert any(track.times_s[0] == stored.track.times_s[0] for track in again)


@pytest.mark.parametrize("loss", LOSSES)
def test_a_flight_that_is_taken_away_is_another_one(bodies: Path, loss: str) -> None:
    body, other, *_ = read_bodies(bodies)
    assert body.motion is not None
    film = BodyFilm(no_errors(), EXACT_SPLASHES, EXACT_LEANS)
    whole = film(body.motion, "B", np.random.default_rng(4))
    lost = film(body.motion, "B", np.random.default_rng(4), loss=loss, other=other.motion)  # type: ignore[arg-type]
    assert not np.allclose(whole.joints_m[whole.in_flight], lost.joints_m[whole.in_flight], atol=0.2)
    if loss == "frozen":
        assert np.ptp(lost.joints_m[lost.in_flight], axis=0).max() < 0.3


def test_a_splash_is_shown_with_the_error_of_a_film_whose_splash_is_alike() -> None:
    true = np.linspace(0, 1, 200)
    read = np.where(true < 0.5, true + 0.2, true - 0.3)
    splashes = SplashErrors(true, read, np.full(200, 0.25))
    rng = np.random.default_rng(0)
    small = [each for _ in range(200) if (each := splashes.draw(0.2, rng)) is not None]
    large = [each for _ in range(200) if (each := splashes.draw(0.9, rng)) is not None]
    assert np.mean([size for size, _ in small]) == pytest.approx(0.4, abs=0.02)
    assert np.mean([size for size, _ in large]) == pytest.approx(0.6, abs=0.02)
    assert np.mean([error for _, error in small]) == pytest.approx(0.25, abs=0.01)
    assert 150 < len(small) < 200  # now and then it is not seen
    assert splashes.rmse() == pytest.approx(np.sqrt((0.2**2 + 0.3**2) / 2), rel=0.02)


def test_a_lean_is_that_of_the_body_at_the_contact(bodies: Path) -> None:
    """As the record of the dive has it, and in the picture of a camera at the side; mirrored, the other way."""
    film = BodyFilm(no_errors(), EXACT_SPLASHES, EXACT_LEANS)
    for body in read_bodies(bodies):
        assert body.motion is not None
        lean = contact_lean_deg(body.motion)
        assert abs(lean) == pytest.approx(abs(body.seen["entry_deg"]), abs=5)  # of a body that is not quite straight
        shown = [film(body.motion, "B", np.random.default_rng(seed)) for seed in range(12)]
        read = np.array([track.leans_deg[1, 0] for track in shown if track.leans_deg is not None])
        assert np.abs(read) == pytest.approx(abs(lean), abs=4.5)  # a degree of noise
        if abs(lean) > 9:
            assert {-1.0, 1.0} == set(np.sign(read))


def test_a_lean_is_read_with_the_error_of_a_film_that_leans_alike(bodies: Path) -> None:
    body = read_bodies(bodies)[0]
    stored, _, _ = filmed(body)

    def film(true: float, read: float, expected: float = 4.0) -> JudgedBody:
        leans = np.array([(np.nan, np.nan), (read, expected)], np.float32)
        track = replace(stored.track, leans_deg=leans)
        return replace(body, seen={CONTACT_LEAN: true}, motion=None, read=replace(stored, track=track))

    errors = LeanErrors.of([film(-30, -20), film(2, 5), film(31, 20), film(8, np.nan)])
    assert errors.true.tolist() == [2, 8, 30, 31]
    assert errors.off[[0, 2, 3]].tolist() == [3, -10, -11]
    assert np.isnan(errors.off[1])
    alike = LeanErrors(np.full(5, 30.0), np.full(5, -10.0), np.full(5, 4.0))
    drawn = [alike.draw(-30.0, np.random.default_rng(seed)) for seed in range(40)]
    read = np.array([leans[1] for leans in drawn if leans is not None])
    assert read[:, 0].mean() == pytest.approx(-20, abs=1.5)  # too near to vertical, on its side
    assert read[:, 1] == pytest.approx(4.0, rel=0.21)
    assert LeanErrors(*np.zeros((3, 0))).draw(10.0, np.random.default_rng(0)) is None


def test_a_body_that_leans_as_none_that_was_filmed_is_read_as_any_of_them() -> None:
    films = LeanErrors(np.array([0.0, 10.0, 20.0]), np.array([1.0, 0.0, -5.0]), np.array([4.0, 5.0, 6.0]))
    rng = np.random.default_rng(1)
    drawn = [films.draw(150.0, rng) for _ in range(60)]
    leans = {(round(float(each[1, 0])), round(float(each[1, 1]))) for each in drawn if each is not None}
    assert leans == {(1, 4), (-1, 4), (10, 5), (-10, 5), (15, 6), (-15, 6)}


def test_a_splash_that_no_film_shows_is_unknown() -> None:
    nothing = SplashErrors(np.zeros(0), np.zeros(0), np.zeros(0))
    assert nothing.draw(0.5, np.random.default_rng(0)) is None
    assert nothing.rmse() is None


@pytest.fixture(scope="module")
def options(bodies: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SkeletonOptions]:
    """Give options of a run of a few steps on few bodies, whose films are bodies read perfectly."""
    films = [replace(body, motion=None, read=filmed(body)[0]) for body in read_bodies(bodies)[:6]]
    folder = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(skeleton, "read_films", lambda *_: films)
        patch.setattr(skeleton, "measure_errors", lambda _: no_errors())
        patch.setattr(skeleton, "_BODIES_A_BATCH", 8)
        patch.setattr(skeleton, "_GROUPS", 2)
        yield SkeletonOptions(
            bodies=(bodies,),
            films=(bodies,),
            validation=(bodies,),
            out=folder / "run",
            alone_steps=2,
            pair_steps=2,
            validate_every=2,
            exemplars=2,
        )


@pytest.fixture(scope="module")
def trained(options: SkeletonOptions) -> Path:
    return train_skeleton(options, None, torch.device("cpu"))  # type: ignore[arg-type]


def test_a_run_leaves_weights_that_say_what_they_are_made_of(options: SkeletonOptions, trained: Path) -> None:
    loaded = load_weights(trained)
    assert loaded.config.trunk == "skeleton"
    assert loaded.model.recogniser is not None
    facts = json.loads((trained / "config.json").read_text())["info"]
    assert "simulated dives only" in facts["note"]
    assert facts["training"]["bodies"] == BODIES
    assert (options.out / "errors.npz").is_file()


def test_a_number_that_hardly_anybody_dives_has_few_exemplars(bodies: Path) -> None:
    body = read_bodies(bodies)[0]
    assert [len(spread_bodies([body] * count, 8)) for count in (1, 3, 9, 40)] == [1, 1, 2, 8]


def test_an_exemplar_is_the_mean_of_what_is_read_of_it(bodies: Path, trained: Path) -> None:
    model, cpu = load_weights(trained).model.eval(), torch.device("cpu")
    chosen = (read_bodies(bodies) * 2)[:17]  # more than are encoded at once
    shown: list[BodyTrack] = []

    def show(body: JudgedBody, rng: np.random.Generator) -> BodyTrack:
        shown.append(filmed(body)[0].track.varied(rng))
        return shown[-1]

    encoded = encode_exemplars(model, chosen, show, cpu)
    views = len(shown) // len(chosen)
    assert (len(encoded), len(shown)) == (17, 17 * views)
    assert views > 1
    for index in (0, 16):
        alone = encode_tracks(model, shown[index * views : (index + 1) * views], cpu)
        assert torch.allclose(encoded.video[index], alone.video.mean(0), atol=1e-5)
    assert not torch.equal(alone.video[0], alone.video[1])


def test_a_resumed_run_equals_an_uninterrupted_one(
    options: SkeletonOptions, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = load_weights(trained)
    stopped = replace(options, out=tmp_path / "stopped")
    steps = skeleton.SkeletonTask.loss
    taken = []

    def interrupt(self: skeleton.SkeletonTask, *args: object) -> object:
        if len(taken) == 3:
            raise KeyboardInterrupt
        taken.append(1)
        return steps(self, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(skeleton.SkeletonTask, "loss", interrupt)
    with pytest.raises(KeyboardInterrupt):
        train_skeleton(stopped, None, torch.device("cpu"))  # type: ignore[arg-type]
    monkeypatch.setattr(skeleton.SkeletonTask, "loss", steps)
    resumed = load_weights(train_skeleton(stopped, None, torch.device("cpu")))  # type: ignore[arg-type]
    for name, tensor in whole.model.state_dict().items():
        assert torch.equal(tensor, resumed.model.state_dict()[name]), name
