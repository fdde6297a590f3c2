"""What is simulated, and a recording of it: clip, masks, joints, manifest."""

from __future__ import annotations

import csv
import hashlib
import io
from dataclasses import asdict, dataclass, replace
from functools import lru_cache, partial
from math import exp
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from finecausal_cli.athlete import ENDS, MIRRORED
from finecausal_cli.athlete import JOINTS as READ_JOINTS
from finecausal_cli.athlete.track import BodyMotion
from finecausal_cli.athlete.turns import body_axis
from finecausal_cli.atomic import atomic_write
from finecausal_cli.diving import HEIGHTS_M, DiveNumber, heights_for, listed_dives, parse_dive_number
from finecausal_cli.diving.competition import competition_statistics
from finecausal_cli.errors import UsageError
from finecausal_cli.simulator import ALL_DIVES, DIVES, PlanOptions
from finecausal_cli.simulator.athlete import JOINT, STAGE_FAULTS, Pose, varied
from finecausal_cli.simulator.competition import COMPETITION_HEIGHTS_M, counted_heights, counted_numbers
from finecausal_cli.simulator.dive import FPS, SimulatedDive, Timing, draw_dive_faults, draw_lead, simulate_dive
from finecausal_cli.simulator.render import SceneConfig, render
from finecausal_cli.simulator.venue import STYLES
from finecausal_cli.simulator.wild import WildSceneConfig, render_wild
from finecausal_cli.video.writer import write_mask_video, write_video

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from os import PathLike

    from numpy.typing import NDArray

    from finecausal_cli.athlete import End
    from finecausal_cli.simulator import DrawName
    from finecausal_cli.simulator.athlete import Array
    from finecausal_cli.simulator.camera import Projection, WildCamera
    from finecausal_cli.simulator.motion import Motion


# The plan of a dataset: dive numbers, heights, and confounding of the venue by quality.

_TRAINING_HEIGHT_SHARE = 0.1
"""Relative frequency of dives at other heights."""

_COMMON_DIFFICULTY = 3.2
"""Difficulty from which a dive number is as common as any; easier ones are rarer, for competitors choose hard dives."""

_LEAST_SHARE = 0.12

_EASY_DIFFICULTY, _DIFFICULTY_STEP = 1.2, 0.6
"""In practice, a number of difficulty 1.8 is dived 1/e as often as one of 1.2, and so on; nobody has counted it."""

_PRACTISED_ARMSTANDS = 0.3
"""How much rarer an armstand dive is in practice than another one of its difficulty."""

_OPTIONAL_SEEDS = ("venue_seed", "entry_seed")

_PHOTO_ENDINGS = (".jpg", ".jpeg", ".png", ".webp")

_EXECUTION_QUANTILES: dict[DrawName, tuple[float, ...]] = {
    "classic": (14.5, 17.4, 18.6, 20.0, 20.9, 21.6, 22.6, 23.4, 24.1, 25.5),
    "competition": (13.5, 17.5, 19.5, 21.0, 21.5, 22.5, 23.0, 24.0, 25.0, 26.5),
    "practice": (13.5, 17.5, 19.5, 21.0, 21.5, 22.5, 23.0, 24.0, 25.0, 26.5),
}
"""Execution that 5, 15, ... 95 % of 1,000 simulated dives (competition: 1,400) stay below."""


@dataclass(frozen=True)
class DatasetPlan(PlanOptions):
    """The plan of a dataset; every dive is determined by it and an index.

    Attributes:
        seed: Seed of the whole data set.
        dives: Dive numbers to draw from, as often as they are dived in competition.
        confounding: 0..1, share of dives whose venue is determined by their quality.
        height_m: The only height, or None for any height at which a number is listed.
        venue_seed: Seed of the venues; None for that of the dives. The same dives elsewhere: a shift.
        entry_seed: Seed of the faults of the entry; None for that of the dives. The same dives with other entries.
        world: How the dives are seen: as broadcast from the side, or as people film them.
        photos: Paths of photographs that may stand behind them.
        draw: As counted in competition (numbers, heights, marks, lengths); the same with easy numbers more often and
            every height; or as they were drawn before.
        failed: Whether to draw failed dives only, which get 0.
        varied_poses: Whether poses are randomised; marks stay those of the dive.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.dives:
            raise UsageError("no dive number to simulate", where="--dives")
        if self.failed and self.draw == "classic":
            raise UsageError(
                "the classic draw has no failed dives to choose", where="--failed", hint="use --draw competition"
            )
        for text in self.dives:
            self.heights(parse_dive_number(text))

    def heights(self, dive: DiveNumber) -> list[float]:
        """Return the heights the dive may be drawn at.

        Raises:
            UsageError: When there is none.
        """
        return _heights(dive, self.height_m)

    def dive(self, index: int) -> SimulatedDive:
        """Simulate dive ``index``."""
        simulated = self._listed_dive(index)
        if not self.varied_poses:
            return simulated
        rng = np.random.default_rng(np.random.SeedSequence((self.seed, index, 14)))
        motion = simulated.motion
        return replace(simulated, motion=replace(motion, pose=varied(rng, motion.times, motion.pose)))

    def _listed_dive(self, index: int) -> SimulatedDive:
        rng = np.random.default_rng(np.random.SeedSequence((self.seed, index, 4)))
        numbers, shares = _NUMBERS[self.draw](self.dives, self.height_m)
        number = numbers[_pick(rng, shares)]
        heights = self.heights(number)
        if self.draw == "classic":
            by_height = [1.0 if h in COMPETITION_HEIGHTS_M else _TRAINING_HEIGHT_SHARE for h in heights]
        elif self.draw == "practice":
            by_height = [1.0] * len(heights)
        else:
            by_height = counted_heights(number, heights)
        height_m = heights[_pick(rng, by_height)]
        more_s = self._part(index)[1:]
        failed = self.failed
        if self.draw != "classic":
            failed |= bool(rng.random() < competition_statistics().failed_share)
        draw = partial(simulate_dive, number, height_m, (self.seed, index), more_s=more_s, draw=self.draw)
        drawn = draw(failed=failed)
        if self.entry_seed is None:
            return drawn
        other = np.random.default_rng(np.random.SeedSequence((self.entry_seed, index, 6)))
        _, redrawn = draw_dive_faults(other, number, height_m, self.draw)
        entry = {name: getattr(redrawn, name) for name in STAGE_FAULTS["entry"]}
        return draw(replace(drawn.faults, **entry))

    def _part(self, index: int) -> tuple[str, float, float]:
        """Return which part of dive ``index`` is shown, and how much more than its clip before and after."""
        if self.world == "clean":
            return "plain", 0.0, 0.0
        return draw_lead(np.random.default_rng(np.random.SeedSequence((self._scene_seed, index, 9))))

    def scene_config(self, index: int, simulated: SimulatedDive) -> SceneConfig:
        """Draw the venue of dive ``index``, tied to quality as far as the plan confounds them."""
        return SceneConfig.draw((self._scene_seed, index), self._style(index, simulated))

    def wild_config(self, index: int, simulated: SimulatedDive) -> WildSceneConfig:
        """Draw how dive ``index`` is filmed; the style of a venue is confounded as in ``setting``."""
        part, style = self._part(index)[0], self._style(index, simulated)
        shown = simulated.motion, simulated.duration_s
        return WildSceneConfig.draw((self._scene_seed, index), shown, part, self.photos, style)

    @property
    def _scene_seed(self) -> int:
        return self.seed if self.venue_seed is None else self.venue_seed

    def _style(self, index: int, simulated: SimulatedDive) -> int | None:
        rng = np.random.default_rng(np.random.SeedSequence((self._scene_seed, index, 5)))
        return confounded_style(simulated, self.draw) if rng.random() < self.confounding else None

    def stamp(self) -> dict[str, Any]:
        """Return the plan as plain data, without what early releases did not know when it is as they had it."""
        stamp = {name: value for name, value in asdict(self).items() if not (name in _OPTIONAL_SEEDS and value is None)}
        photos = stamp.pop("photos")
        for name in ("varied_poses", "failed"):
            if not stamp[name]:
                del stamp[name]
        if stamp["draw"] == "classic":
            del stamp["draw"]
        if stamp["world"] == "clean":
            del stamp["world"]
        else:
            names = "\n".join(Path(photo).name for photo in photos)
            stamp["photos"] = [len(photos), hashlib.sha256(names.encode()).hexdigest()[:16]]
        return stamp


def _heights(dive: DiveNumber, height_m: float | None) -> list[float]:
    listed = [h for h in heights_for(dive) if height_m in (None, h)]
    if height_m is not None and height_m not in HEIGHTS_M:
        *others, last = (f"{height:g}" for height in HEIGHTS_M)
        hint = f"metres: {', '.join(others)} or {last}"
        raise UsageError(f"no board or platform is {height_m:g} m high", where="--height", hint=hint)
    if not listed:
        at = "any height" if height_m is None else f"{height_m:g} m"
        raise UsageError(f"{dive} is not listed at {at}", where="dives")
    return listed


@lru_cache(maxsize=8)
def _commonness(dives: tuple[str, ...], height_m: float | None) -> tuple[tuple[DiveNumber, ...], tuple[float, ...]]:
    """Return the numbers and how often the classic draw has each, relative to the hard ones."""
    numbers = tuple(parse_dive_number(text) for text in dives)
    hardest = [max(heights_for(dive)[height] for height in _heights(dive, height_m)) for dive in numbers]
    return numbers, tuple(max(min(value / _COMMON_DIFFICULTY, 1.0) ** 3, _LEAST_SHARE) for value in hardest)


@lru_cache(maxsize=8)
def _practised(dives: tuple[str, ...], height_m: float | None) -> tuple[tuple[DiveNumber, ...], tuple[float, ...]]:
    """Return the numbers and how often each is dived in practice, relative to a forward dive: the harder, the less."""
    numbers = tuple(parse_dive_number(text) for text in dives)
    easiest = [min(heights_for(dive)[height] for height in _heights(dive, height_m)) for dive in numbers]
    shares = [exp(-(value - _EASY_DIFFICULTY) / _DIFFICULTY_STEP) for value in easiest]
    rarer = [_PRACTISED_ARMSTANDS if dive.armstand else 1.0 for dive in numbers]
    return numbers, tuple(share * less for share, less in zip(shares, rarer, strict=True))


_NUMBERS: dict[DrawName, Callable[..., tuple[tuple[DiveNumber, ...], tuple[float, ...]]]] = {
    "competition": counted_numbers,
    "practice": _practised,
    "classic": _commonness,
}


def find_photos(folder: str | PathLike[str]) -> tuple[str, ...]:
    """Return the pictures below a folder, by name.

    Raises:
        UsageError: When there is none.
    """
    photos = sorted(str(path) for path in Path(folder).rglob("*") if path.suffix.lower() in _PHOTO_ENDINGS)
    if not photos:
        raise UsageError(f"no picture in {folder}", where="backgrounds", hint="name a folder with JPEG or PNG files")
    return tuple(photos)


def _pick(rng: np.random.Generator, shares: Sequence[float]) -> int:
    """Draw an index with these relative frequencies."""
    edges = np.cumsum(shares)
    return int(np.searchsorted(edges, rng.random() * edges[-1], side="right"))


def confounded_style(simulated: SimulatedDive, draw: DrawName = "competition") -> int:
    """Return the venue that confounding gives to a dive: the better the execution, the later in the list."""
    quantiles = _EXECUTION_QUANTILES[draw]
    shares = np.linspace(0.05, 0.95, len(quantiles))
    cuts = np.interp(np.arange(1, len(STYLES)) / len(STYLES), shares, quantiles)
    return int(np.searchsorted(cuts, simulated.execution))


def plan_dataset(seed: int, *, dives: Sequence[str] = DIVES, **options: Any) -> DatasetPlan:
    """Return the plan for dive numbers in any spelling; ``options`` are further fields of the plan.

    With ``ALL_DIVES`` they are all that are listed, at the one height if there is one, but for flying dives.

    Raises:
        UsageError: When the options make no sense.
    """
    numbers = [parse_dive_number(text) for text in dives] if tuple(dives) != (ALL_DIVES,) else _all(**options)
    return DatasetPlan(seed, tuple(str(number) for number in numbers), **options)


def _all(height_m: float | None = None, **_: Any) -> list[DiveNumber]:
    listed = [dive for dive in listed_dives() if not dive.flying]
    return [dive for dive in listed if height_m is None or height_m in heights_for(dive)]


# The athlete's motion frame by frame, as plain data: targets of a pose estimator or a backbone.

_DEGREE_DIGITS, _METRE_DIGITS = 1, 3


def tracks(simulated: SimulatedDive, times: Array | None = None) -> dict[str, Any]:
    """Read the motion at ``times`` [frames] of the dive; None takes those of a clean clip's frames.

    Returns:
        ``somersault_deg``, ``twist_deg`` and ``tilt_deg``: [frames], as in ``Motion``; ``centre_m``: [frames][3], the
        centre of mass, x outwards, y away from the camera, z above the water; ``pose_deg``: the joint angles by name,
        [frames] each.
    """
    motion = simulated.motion
    times = np.arange(simulated.frames) / FPS if times is None else times
    pose = np.degrees(motion.track(motion.pose, times))
    angles = {"somersault_deg": motion.somersault, "twist_deg": motion.twist, "tilt_deg": motion.tilt}
    values: dict[str, Any] = {
        name: np.round(np.degrees(motion.track(angle, times)), _DEGREE_DIGITS).tolist()
        for name, angle in angles.items()
    }
    values["centre_m"] = np.round(motion.track(motion.centre, times), _METRE_DIGITS).tolist()
    values["pose_deg"] = {
        name: np.round(column, _DEGREE_DIGITS).tolist() for name, column in zip(Pose._fields, pose.T, strict=True)
    }
    return values


# Where the athlete's joints are in every picture of a clip, when it is shown and how the camera stood.

_NAMED_OTHERWISE = {"head": "vertex"}
_READ = [JOINT[_NAMED_OTHERWISE.get(name, name)] for name in READ_JOINTS]
"""Index in the simulator's joints of every joint that an athlete reader names."""


@dataclass(frozen=True, slots=True)
class Truth:
    """Ground truth of a clip's pictures.

    Attributes:
        joints: float32 [frames, joints, 2] pixels of the picture, in the order of ``athlete.JOINTS``; in a
            mirrored picture left and right are those that the picture shows.
        visible: bool [frames, joints] inside the picture, above the water and not behind the tower; hidden by the
            athlete's own body counts as visible.
        box: float32 [frames, 4] left, top, right, bottom of the mask, NaN where it is empty.
        times_s: float64 [frames] when each frame of the file is shown.
        real_time_s: float64 [frames] the same moments on the clock of the dive.
        px_per_m: float32 [frames] scale at the athlete.
        camera: float32 [frames, 2, 3] from metres of the still plane across the view (right, up) to the picture; NaN
            where another shot is shown.
    """

    joints: NDArray[np.float32]
    visible: NDArray[np.bool_]
    box: NDArray[np.float32]
    times_s: Array
    real_time_s: Array
    px_per_m: NDArray[np.float32]
    camera: NDArray[np.float32]

    @classmethod
    def of(
        cls, body: Array, camera: Projection, views: Array, times: tuple[Array, Array], size: tuple[int, int]
    ) -> Truth:
        """Project a body into pictures; what is to be seen of it is told by ``see``, frame by frame.

        Args:
            body: [frames, joints, 3] of the simulator in the world.
            camera: The projection.
            views: [frames, 2, 3] from its screen metres to the picture.
            times: Presentation times and the same on the clock of the dive, [frames] each.
            size: Width and height of the pictures.
        """
        is_mirrored = len(views) > 0 and np.linalg.det(views[0, :, :2]) > 0
        chosen = body[:, _READ][:, list(MIRRORED)] if is_mirrored else body[:, _READ]
        screen = camera.screen(chosen)[..., :2]
        joints = np.einsum("nij,nkj->nki", views[:, :, :2], screen) + views[:, None, :, 2]
        return cls(
            joints.astype(np.float32),
            ((joints >= 0) & (joints < size)).all(axis=-1) & (chosen[..., 2] > 0),
            np.full((len(body), 4), np.nan, np.float32),
            *times,
            np.hypot(views[:, 0, 0], views[:, 1, 0]).astype(np.float32),
            views.astype(np.float32),
        )

    def see(self, frame: int, mask: NDArray[np.uint8], hidden: NDArray[np.uint8] | None) -> None:
        """Note what a frame shows: the athlete's mask, and what something before the athlete covers (not 0)."""
        self.box[frame] = box_of(mask)
        if hidden is None:
            return
        height, width = mask.shape
        x, y = np.clip(self.joints[frame], 0, (width - 1, height - 1)).astype(int).T
        self.visible[frame] &= hidden[y, x] == 0
        if hidden.all():
            self.camera[frame] = np.nan

    def write(self, path: Path) -> None:
        """Write the arrays under their names as one npz file."""
        with atomic_write(path, "the joints") as part, part.open("wb") as stream:
            np.savez(stream, allow_pickle=False, **{name: getattr(self, name) for name in self.__slots__})


def box_of(mask: NDArray[np.uint8]) -> tuple[float, float, float, float]:
    """Return left, top, right, bottom of what is not 0; right and bottom are outside."""
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    if not len(rows):
        return (np.nan,) * 4
    return float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)


# Layouts of a dataset: the files of one dive, and the labels of all.


@dataclass(frozen=True, slots=True)
class Recording:
    """A dive and the scene in which it is recorded.

    Attributes:
        seed: Seed of the data set.
        index: The dive's index in the plan.
        simulated: The dive.
        config: Venue and camera.
    """

    seed: int
    index: int
    simulated: SimulatedDive
    config: SceneConfig | WildSceneConfig

    @classmethod
    def of(cls, plan: DatasetPlan, index: int) -> Recording:
        """Draw the dive at an index of the plan."""
        simulated = plan.dive(index)
        config = plan.wild_config(index, simulated) if plan.world == "wild" else plan.scene_config(index, simulated)
        return cls(plan.seed, index, simulated, config)

    @property
    def timing(self) -> Timing:
        """Times of the frames in the file and in the dive."""
        if isinstance(self.config, SceneConfig):
            return Timing.even(FPS, self.simulated.frames)
        return self.config.timing

    @property
    def crf(self) -> int:
        """Constant rate factor of the video."""
        return self.config.crf if isinstance(self.config, SceneConfig) else self.config.footage.crf

    def pictures(self, frames: Sequence[int] | None = None) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.uint8]]]:
        """Yield frame (RGB) and mask (0 or 255) in turn; ``frames`` are the frames to yield, None for all."""
        for frame, mask, _ in self._shots(frames):
            yield frame, mask

    def pictures_with_truth(
        self, truth: Truth, frames: Sequence[int] | None = None
    ) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.uint8]]]:
        """Yield frame and mask in turn, and update ``truth`` (of the same frames) by what is visible."""
        for number, (frame, mask, hidden) in enumerate(self._shots(frames)):
            truth.see(number, mask, hidden)
            yield frame, mask

    def truth(self, frames: Sequence[int] | None = None) -> Truth:
        """Return the joints in the frames, before occlusion."""
        camera, motion, timing = self.config.camera, self.simulated.motion, self.timing
        chosen = np.arange(timing.frames) if frames is None else np.asarray(frames)
        file_s, real_s = timing.times_s[chosen], timing.real_s[chosen]
        views = camera.views(motion, timing.real_s)[chosen]
        return Truth.of(motion.body(real_s), camera, views, (file_s, real_s), camera.size)

    def record(self) -> dict[str, Any]:
        """Return the metadata of dive, scene and file as plain data."""
        values = self.simulated.record() | self.config.record()
        if isinstance(self.config, SceneConfig):
            return values
        motion, timing = self.simulated.motion, self.timing
        return values | {
            "frames": timing.frames,
            "fps": timing.fps,
            "twist_start": timing.first_at(motion.leave_s),
            "entry_start": timing.first_at(motion.contact_s),
            "flight_start_s": round(timing.in_file(motion.leave_s), 6),
            "entry_start_s": round(timing.in_file(motion.contact_s), 6),
            "lean_deg": {end: round(lean_in_picture_deg(end, motion, self.config.camera), 3) for end in ENDS},
            **timing.record(),
        }

    def _shots(
        self, frames: Sequence[int] | None
    ) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8] | None]]:
        if isinstance(self.config, SceneConfig):
            for frame, mask in render(self.simulated, self.config, frames):
                yield frame, mask, None
        else:
            for shot in render_wild(self.simulated, self.config, frames):
                yield shot.frame, shot.mask, shot.hidden


def lean_in_picture_deg(end: End, motion: Motion, camera: WildCamera) -> float:
    """Return how far a body has turned beyond the vertical at an end, degrees, counter-clockwise in the picture.

    It is the angle in the plane of the dive; the picture tells its sense alone. Where the body is to be vertical is
    upright at the take-off (on its hands: upside down), and as the dive's half somersaults have it at the contact.
    """
    if end == "contact":
        turned = motion.entry_error * motion.sense
    else:
        pitch = float(np.interp(motion.leave_s, motion.times, motion.somersault))
        turned = pitch - np.pi * round(pitch / np.pi)
    view = camera.views(motion, np.array([motion.contact_s if end == "contact" else motion.leave_s]))[0]
    x, z = (view[:, :2] @ camera.screen(axis)[:2] for axis in np.eye(3)[[0, 2]])
    # A positive pitch brings the head from z to x; y of a picture grows downwards.
    return float(np.degrees(turned)) * float(np.sign(x[0] * z[1] - x[1] * z[0]))


def axes_in_picture_deg(motion: Motion, camera: WildCamera, times_s: Array) -> Array:
    """Return the direction of the body's long axis in the picture [N], degrees, counter-clockwise from the right.

    It has no ends, so it lies in 0..180. NaN from when the pelvis is under water.
    """
    body = motion.body(times_s)[:, _READ]
    views = camera.views(motion, times_s)
    seen = np.stack([camera.pixels(camera.screen(joints), view) for joints, view in zip(body, views, strict=True)])
    axes = np.degrees(body_axis(seen * np.array([1.0, -1.0])))
    return np.where(body[:, READ_JOINTS.index("pelvis"), 2] > 0, axes, np.nan)


class DatasetWriter(Protocol):
    """Where a data set's pictures and labels go.

    Attributes:
        folders: Folders of the data set besides that of the records.
        leftovers: Patterns of what a killed writer leaves behind.
    """

    folders: tuple[str, ...]
    leftovers: tuple[str, ...]

    def check(self, plan: DatasetPlan) -> None:
        """Raise a `UsageError` when the layout cannot hold the plan's dives."""

    def write_pictures(self, root: Path, recording: Recording) -> dict[str, Any]:
        """Write frames and masks of one dive and return what its record must know of them."""

    def finish(self, root: Path, records: Sequence[Mapping[str, Any]]) -> Path:
        """Write what speaks of all dives and return the path to hand to a reader."""


# The layout of a data set of one's own: ``videos/00000.mp4``, ``masks/00000.mkv`` and the manifest ``dives.csv``.

COLUMNS = (
    "video",
    "score",
    "difficulty",
    "dive",
    "height_m",
    "twist_start",
    "entry_start",
    "mask",
    "judges",
    "deductions",
)

_STAGES = ("takeoff", "flight", "entry")
PRESET = "ultrafast"
"""Half the time of x264's next preset; the files grow by half."""


class ManifestLayout:
    """Clips and masks as videos, one row a dive."""

    folders: tuple[str, ...] = ("videos", "masks", "joints")
    leftovers: tuple[str, ...] = ("videos/.*.part", "masks/.*.part", "joints/.*.part", ".dives.csv.*.part")

    def check(self, plan: DatasetPlan) -> None:
        """Accept every plan."""

    def write_pictures(self, root: Path, recording: Recording) -> dict[str, Any]:
        """Write the clip and its masks as videos and the joints as arrays; return where the videos are."""
        packed: list[NDArray[np.uint8]] = []
        truth, (width, height) = recording.truth(), recording.config.camera.size

        def frames() -> Iterator[NDArray[np.uint8]]:
            for frame, mask in recording.pictures_with_truth(truth):
                packed.append(np.packbits(mask > 0))
                yield frame

        timing, name = recording.timing, f"{recording.index:05d}"
        video, mask_file = f"videos/{name}.mp4", f"masks/{name}.mkv"
        times_s = timing.times_s if timing.variable else None
        write_video(root / video, frames(), timing.fps, crf=recording.crf, preset=PRESET, times_s=times_s)
        masks = (np.unpackbits(bits, count=height * width).reshape(height, width) for bits in packed)
        write_mask_video(root / mask_file, masks, timing.fps)
        truth.write(root / f"joints/{name}.npz")
        return {"video": video, "mask": mask_file}

    def finish(self, root: Path, records: Sequence[Mapping[str, Any]]) -> Path:
        """Write the manifest and return its path."""
        table = io.StringIO()
        writer = csv.writer(table, lineterminator="\n")
        writer.writerow(COLUMNS)
        for record in records:
            deductions = [record["deductions"][stage] for stage in _STAGES]
            row = {**record, "judges": _joined(record["judges"]), "deductions": _joined(deductions)}
            writer.writerow([row[column] for column in COLUMNS])
        path = root / "dives.csv"
        with atomic_write(path, "the manifest") as part:
            part.write_text(table.getvalue(), encoding="utf-8")
        return path


def _joined(numbers: Sequence[float]) -> str:
    return " ".join(f"{number:g}" for number in numbers)


class BodiesLayout(ManifestLayout):
    """Bodies in space in place of pictures, for networks that read tracks of them: a dive takes milliseconds."""

    folders: tuple[str, ...] = ("bodies",)
    leftovers: tuple[str, ...] = ("bodies/.*.part", ".dives.csv.*.part")

    def write_pictures(self, root: Path, recording: Recording) -> dict[str, Any]:
        """Write the body's motion; return where it is."""
        name = f"bodies/{recording.index:05d}.npz"
        body_motion(recording.simulated).write(root / name)
        return {"video": name, "mask": ""}


_BODY_HZ, _BODY_BEFORE_S, _BODY_AFTER_S = 90, 0.75, 0.3


def body_motion(simulated: SimulatedDive) -> BodyMotion:
    """Return the joints that an athlete reader names, from before the take-off until after the entry."""
    motion = simulated.motion
    since = np.arange(-_BODY_BEFORE_S, motion.contact_s - motion.leave_s + _BODY_AFTER_S, 1 / _BODY_HZ)
    body = motion.body(np.clip(motion.leave_s + since, 0, None))[:, _READ]
    return BodyMotion(
        since.astype(np.float32),
        body.astype(np.float32),
        float(motion.contact_s - motion.leave_s),
        float(simulated.seen.splash),
    )
