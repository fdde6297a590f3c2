"""The player of a page: an excerpt of the video, the joints to draw on it, and the curves of what was measured."""

from __future__ import annotations

import base64
import json
import tempfile
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from finecausal_cli.athlete import BONES, JOINTS
from finecausal_cli.athlete.turns import count_turns
from finecausal_cli.report.console import STAGE_WORDS, hundredths_that_add_up, signed
from finecausal_cli.report.explanation import MEASURED, fact_in_words
from finecausal_cli.report.overlay import STAGE_COLOURS
from finecausal_cli.scoring.athlete_track import SEEN
from finecausal_cli.scoring.measurements import Kinematics
from finecausal_cli.video.pictures import write_excerpt

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from finecausal_cli.athlete.track import BodyTrack
    from finecausal_cli.scoring.background import Evidence
    from finecausal_cli.scoring.results import Assessment, Explanation
    from finecausal_cli.video.worker import WorkerProcess

    Array = NDArray[np.float64]


# The excerpt: the clip that was judged.


@dataclass(frozen=True, slots=True)
class ClipExcerpt:
    """The judged part of a video.

    Attributes:
        video: The MP4 file.
        times_s: float64 [frames + 1], rising from 0: when each frame is shown, and when the last one ends.
        first_s: When the first frame is shown in the source, seconds.
        size: Height and width of the source, pixels.
        aspect: Width over height, as it is to be seen.
    """

    video: bytes
    times_s: Array
    first_s: float
    size: tuple[int, int]
    aspect: float

    @property
    def uri(self) -> str:
        """The video as a data URI."""
        return f"data:video/mp4;base64,{base64.b64encode(self.video).decode('ascii')}"


def cut_excerpt(
    assessment: Assessment,
    evidence: Evidence,
    *,
    timeout_s: float | None = None,
    process: WorkerProcess | None = None,
) -> ClipExcerpt:
    """Encode the clip that was judged, every frame at its own time, shrunk until it can be embedded.

    Args:
        assessment: Names the video and the part of it.
        evidence: The sampled frames, which tell when the first one is shown.
        timeout_s: Most seconds without any progress; None works in this process and sets no limit.
        process: A process to do it in, as ``write_excerpt`` takes it; one is made where a time limit needs it.

    Raises:
        VideoError: A frame cannot be decoded, or it took too long (kind ``timeout``), or the decoder crashed; or that
            process has no room for a temporary file (kind ``failed``).
        OutputError: There is no room for a temporary file.
    """
    begin_s, end_s = assessment.clip_start_s, assessment.clip_end_s
    with tempfile.TemporaryDirectory(prefix="finecausal-") as folder:
        path = Path(folder) / "excerpt.mp4"
        made = write_excerpt(path, assessment.source, begin_s, end_s, timeout_s=timeout_s, process=process)
        video = path.read_bytes()
    sampled = min(max(0, int(evidence.source_frames[0]) - made.first), len(made.times_s) - 2)
    first_s = evidence.time_s(0) - float(made.times_s[sampled])
    return ClipExcerpt(video, made.times_s, first_s, made.size, made.aspect)


# Curves of what was measured, a value for each sampled frame.

_READ_S: Final = (-0.45, 0.03)
"""Real time before the take-off and after the entry between which the curves go on: a run-up begins outside of the
window around the athlete, and in the water, which slows it down and hides it, the body is misread."""

_FEWEST: Final = 8
"""Frames from which on a curve says something."""

_SPEED_OVER_S: Final = 0.12
"""Real time over which a speed is fitted: shorter, errors of the joints show; longer, the entry is blurred."""


class Curve(NamedTuple):
    """One curve; its values are None where the clip cannot tell.

    Attributes:
        name: What it shows.
        unit: Of its values.
        values: One for each sampled frame.
        digits: Decimals to show.
    """

    name: str
    unit: str
    values: tuple[float | None, ...]
    digits: int

    @property
    def span(self) -> tuple[float, float]:
        """Least and largest value; apart from each other."""
        known = [value for value in self.values if value is not None]
        low, high = min(known), max(known)
        return (low, high) if high - low > 1e-6 else (low - 1, high + 1)


def curves_of(track: BodyTrack | None) -> list[Curve]:
    """Return how far the trunk has turned, the bends of hips and knees, height and speed of the body's middle.

    Angles are degrees: the trunk's from where it stands before the take-off, growing the way that the dive turns; bends
    from straight, 0, to folded, 180. The height is that of the centre of mass above its place at the take-off, metres;
    the speed is in metres a second of real time, across the picture and up.

    Args:
        track: What is read of the dive; without it, or where its turns cannot be counted, there is no curve.
    """
    turns = None if track is None else count_turns(track)
    if track is None or turns is None:
        return []
    body = Kinematics.of(track, turns)
    read = (body.times_s >= _READ_S[0]) & (body.times_s <= track.air_s + _READ_S[1])
    read &= np.asarray(track.seen)[body.rows] >= SEEN
    if read.sum() < _FEWEST:
        return []
    rows, at, centre = body.rows[read], body.times_s[read], body.centre_m[read]
    speed = np.hypot(_slope(at, centre[:, 0]), _slope(at, centre[:, 1]))
    found = (
        ("turn of the trunk", "°", body.trunk_deg[read] - body.start_deg, 0),
        ("bend of the hips", "°", body.hips_deg[read].mean(axis=1), 0),
        ("bend of the knees", "°", body.knees_deg[read].mean(axis=1), 0),
        ("height of the body's middle", "m", centre[:, 1] - float(np.interp(0.0, at, centre[:, 1])), 2),
        ("speed of the body's middle", "m/s", speed, 1),
    )
    count = len(track.times_s)
    return [Curve(name, unit, _at_rows(values, rows, count, digits), digits) for name, unit, values, digits in found]


def _slope(times: Array, values: Array) -> Array:
    """Return the slope [T] of a line fitted to the values about each time."""
    slopes = np.zeros(len(times))
    for index, time in enumerate(times):
        near = np.flatnonzero(np.abs(times - time) <= _SPEED_OVER_S / 2)
        if len(near) < 3:
            near = np.argsort(np.abs(times - time))[:3]
        about = times[near] - times[near].mean()
        slopes[index] = float((about * values[near]).sum() / max(float((about**2).sum()), 1e-9))
    return slopes


def _at_rows(values: Array, rows: NDArray[np.int64], count: int, digits: int) -> tuple[float | None, ...]:
    """Spread values over all samples; a repeated frame has the value of the one that it repeats."""
    spread: list[float | None] = [None] * count
    for place, (row, value) in enumerate(zip(rows.tolist(), values.tolist(), strict=True)):
        following = rows[place + 1] if place + 1 < len(rows) else row + 1
        shown = round(value, digits + 1) + 0.0
        for index in range(row, following if following - row <= 4 else row + 1):
            spread[index] = shown
    return tuple(spread)


# What the page is given: text for people, numbers for its script.

_WIDTH, _HEIGHT = 1000.0, 100.0
"""Of the drawing of a curve, in its own units."""

_SCRIPT: Final = "player.js"


class Seek(NamedTuple):
    """Something to click on.

    Attributes:
        label: What happens then.
        value: What was measured or judged of it.
        time_s: When, seconds of the excerpt.
        is_loss: Whether points are lost there.
    """

    label: str
    value: str
    time_s: float
    is_loss: bool = False


@dataclass(frozen=True, slots=True)
class Player:
    """Everything that the template of the player shows.

    Attributes:
        excerpt: The video; None shows the curves alone.
        stages: Name, share of the width, colour, and what clicking on it seeks.
        losses: Stages in which points are lost, most first.
        moments: Measured facts that belong to a moment.
        curves: What is drawn below the video: the curve, its points as an SVG path, least and largest value.
        span_s: When the curves begin and end, seconds of the file.
        data: For the script, JSON that is safe within HTML.
    """

    excerpt: ClipExcerpt | None
    stages: Sequence[tuple[str, float, str, Seek]]
    losses: Sequence[Seek]
    moments: Sequence[Seek]
    curves: Sequence[tuple[Curve, str, str, str]]
    span_s: tuple[float, float]
    data: str


def build_player(explanation: Explanation, evidence: Evidence, excerpt: ClipExcerpt | None) -> Player:
    """Return the player of an explained dive.

    Args:
        explanation: The explanation.
        evidence: What is read of its athlete.
        excerpt: The video; None leaves it out.
    """
    assessment, track = explanation.assessment, evidence.track
    samples = np.array([evidence.time_s(index) for index in range(len(evidence.source_frames))])
    first_s = float(samples[0]) if excerpt is None else excerpt.first_s
    end_s = float(samples[-1] - first_s) if excerpt is None else float(excerpt.times_s[-1])
    at = np.clip(samples - first_s, 0, max(end_s, 1e-3))
    curves = curves_of(None if track is None else track.body_track)
    drawn = [(curve, _path(curve, at / max(end_s, 1e-3)), *_ends(curve)) for curve in curves]
    stages = _stages(assessment, first_s, end_s)
    data: dict[str, Any] = {
        "end": end_s,
        "offset": first_s,
        "samples": np.round(at, 4).tolist(),
        "stages": [[name, seek.time_s] for name, _, _, seek in stages],
        "curves": [{"values": curve.values, "unit": curve.unit, "digits": curve.digits} for curve in curves],
        "bones": _bones(),
    }
    if excerpt is not None:
        data |= {"times": np.round(excerpt.times_s[:-1], 4).tolist(), "joints": _joints(evidence, excerpt.size)}
    return Player(
        excerpt=excerpt,
        stages=stages,
        losses=_losses(stages, assessment.unit),
        moments=_moments(explanation, first_s, end_s, curves, at),
        curves=drawn,
        span_s=(first_s, first_s + end_s),
        data=json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c"),
    )


def player_script() -> tuple[str, str]:
    """Return the script of the player and its digest, as a policy of the page names it."""
    text = (Path(__file__).parent / _SCRIPT).read_text(encoding="utf-8")
    return text, script_digest(text)


def script_digest(text: str) -> str:
    """Return the digest by which a page's policy allows one script and no other."""
    return f"'sha256-{base64.b64encode(sha256(text.encode()).digest()).decode('ascii')}'"


def _stages(assessment: Assessment, first_s: float, end_s: float) -> list[tuple[str, float, str, Seek]]:
    _, *values = hundredths_that_add_up((assessment.exemplar_value, *assessment.stage_values), assessment.value)
    shown = []
    for stage, value in zip(assessment.stages, values, strict=True):
        begin, end = (min(max(time - first_s, 0.0), end_s) for time in (stage.start_s, stage.end_s))
        name = STAGE_WORDS[stage.name]
        seek = Seek(name, signed(value), round(begin, 4), value < 0)
        shown.append((name, max(end - begin, 0.0) / max(end_s, 1e-3), STAGE_COLOURS[stage.name], seek))
    return shown


def _losses(stages: Sequence[tuple[str, float, str, Seek]], unit: str) -> list[Seek]:
    lost = sorted((seek for *_, seek in stages if seek.is_loss), key=lambda seek: float(seek.value))
    return [seek._replace(value=f"{seek.value} {unit}") for seek in lost]


def _moments(explanation: Explanation, first_s: float, end_s: float, curves: Sequence[Curve], at: Array) -> list[Seek]:
    """Return the measured facts that belong to a moment, in the order of the dive."""
    begin, entry, scale = explanation.flight_start_s, explanation.entry_start_s, explanation.time_scale or 1.0
    facts = dict(zip((fact.name for fact in explanation.measurements), explanation.measurements, strict=True))
    moments: dict[str, float] = {}
    if begin is not None:
        moments |= dict.fromkeys(("takeoff_lean", "takeoff_velocity"), begin)
    if entry is not None:
        opening = facts.get("opening")
        if opening is not None and opening.value is not None:
            moments["opening"] = entry - opening.value * scale
        moments |= {"entry_velocity": entry, "entry_angle": entry, "splash": entry + 0.3 * scale}
    height = next((curve for curve in curves if curve.name.startswith("height")), None)
    if height is not None:
        moments["rise"] = first_s + float(at[max(range(len(at)), key=lambda i: height.values[i] or -1e9)])
    shown = []
    for fact in explanation.measurements:
        if fact.value is not None and fact.name in moments:
            time_s = min(max(moments[fact.name] - first_s, 0.0), end_s)
            shown.append(Seek(MEASURED[fact.name], fact_in_words(fact)[0], round(time_s, 4)))
    return sorted(shown, key=lambda seek: seek.time_s)


def _path(curve: Curve, shares: Array) -> str:
    """Return a curve as an SVG path; what is not known is a gap."""
    low, high = curve.span
    parts, is_down = [], False
    for share, value in zip(shares.tolist(), curve.values, strict=True):
        if value is None:
            is_down = False
            continue
        x, y = _WIDTH * share, _HEIGHT * (high - value) / (high - low)
        parts.append(f"{'L' if is_down else 'M'}{x:.1f} {y:.1f}")
        is_down = True
    return "".join(parts)


def _ends(curve: Curve) -> tuple[str, str]:
    low, high = (f"{value:.{curve.digits}f} {curve.unit}".replace(" °", "°") for value in curve.span)
    return low, high


def _bones() -> list[list[int]]:
    """Return pairs of joints, and 0 for the trunk, 1 for the left side, 2 for the right."""
    sides = {"_l": 1, "_r": 2}
    return [[begin, end, sides.get(JOINTS[end][-2:], 0)] for begin, end in BONES]


def _joints(evidence: Evidence, size: tuple[int, int]) -> list[list[int]]:
    """Return for each sample x, y (thousandths of the width and the height) and confidence (percent) of every joint."""
    if evidence.track is None:
        return []
    height, width = size
    rows: list[list[int]] = []
    for frame in evidence.track.frames:
        if frame.confidence < SEEN or not frame.joints:
            rows.append([])
            continue
        row: list[int] = []
        for name in JOINTS:
            x, y, sure = frame.joints[name]
            row += [round(1000 * x / width), round(1000 * y / height), round(100 * sure)]
        rows.append(row)
    return rows
