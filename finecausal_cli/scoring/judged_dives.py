"""Judged dives become exemplars of one's own: one clip, every row of a manifest, or a bank anew for other weights.

A clip is searched, read and refused as ``Scorer.score`` does it, and encoded by the same weights. Each exemplar is
stored as soon as it is encoded, so that whatever interrupts loses one clip at most.
"""

from __future__ import annotations

import hashlib
import math
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from finecausal_cli.data.manifest import read_manifest
from finecausal_cli.diving import MAX_EXECUTION, final_score, parse_dive_number
from finecausal_cli.diving import difficulty as listed_difficulty
from finecausal_cli.errors import BankError, FinecausalError, RefusedError, UsageError
from finecausal_cli.retrieval import JudgedOptions
from finecausal_cli.retrieval.bank import Exemplar, JudgedClip, slug
from finecausal_cli.scoring import ScoreOptions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy as np
    from numpy.typing import NDArray

    from finecausal_cli.data import Dive, Problem
    from finecausal_cli.model.outputs import Encoding
    from finecausal_cli.retrieval.own_bank import OwnBank
    from finecausal_cli.scoring.prepared_dive import PreparedDive
    from finecausal_cli.scoring.scorer import Scorer

Outcome = Literal["added", "updated", "kept", "removed", "skipped", "refused", "failed"]
"""``kept``: it is in the bank already; ``skipped``: not judged, or without a dive number; ``refused``: no dive is found
in it; ``failed``: it cannot be read, or its row is wrong."""

_ORIGIN: Final = "judged dive of one's own"

_CHUNK: Final = 1 << 20

_SCORE_ROUNDING: Final = 0.05
"""Points by which a score may differ from its marks; more is a deduction, or a mistake."""


@dataclass(frozen=True, slots=True)
class JudgedLabels:
    """What is known of a judged dive without looking at it.

    Attributes:
        dive: Canonical dive number.
        height_m: Height; None if unknown.
        difficulty: Degree of difficulty.
        score: Final score, points.
        notes: What a person should know of them.
    """

    dive: str
    height_m: float | None
    difficulty: float
    score: float
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, options: ScoreOptions, judged: JudgedOptions) -> JudgedLabels:
        """Check and complete what a user says of a dive.

        Raises:
            UsageError: The dive number, its difficulty or its score is missing or impossible.
        """
        if options.dive is None:
            raise UsageError("a judged dive needs its number", where="--dive", hint="e.g. --dive 107B")
        number = parse_dive_number(options.dive)
        degree = options.difficulty
        if degree is None:
            if options.height_m is None:
                hint = "give --height, or --difficulty"
                raise UsageError("a judged dive needs its difficulty", where="--height", hint=hint)
            degree = listed_difficulty(number, options.height_m)
        if degree is None:
            what = f"{number} has no listed difficulty at {options.height_m:g} m"
            raise UsageError(what, where="--height", hint="give --difficulty")
        score, notes = judged.score, tuple[str, ...]()
        if judged.judges:
            by_marks = final_score(judged.judges, degree)
            if score is None:
                score = by_marks
            elif abs(score - by_marks) > _SCORE_ROUNDING:
                notes = (f"the marks make {by_marks:.2f} points at difficulty {degree:g}; {score:.2f} is kept",)
        if score is None:
            raise UsageError("a judged dive needs its score", where="--score", hint="or the marks, with --judges")
        if score > degree * MAX_EXECUTION + _SCORE_ROUNDING:
            what = f"{score:g} points are more than judges can give at difficulty {degree:g}"
            raise UsageError(what, where="--score", hint=f"{degree * MAX_EXECUTION:g} at most")
        return cls(str(number), options.height_m, degree, score, notes)

    @property
    def execution(self) -> float:
        """Score / difficulty, 0 to 30."""
        return min(MAX_EXECUTION, round(self.score / self.difficulty, 9))


@dataclass(frozen=True, slots=True)
class JudgedRow:
    """What became of one judged dive.

    Attributes:
        source: The clip, or manifest and row where that names none.
        outcome: See ``Outcome``.
        exemplar: Identifier in the bank; None without one.
        dive: Dive number, if known.
        score: Final score as judged, points, if known.
        reason: Why it is not in the bank, or a note on it; empty without any.
    """

    source: str
    outcome: Outcome
    exemplar: str | None = None
    dive: str | None = None
    score: float | None = None
    reason: str = ""

    @property
    def is_in_bank(self) -> bool:
        """Whether there is an exemplar of it now."""
        return self.outcome in ("added", "updated", "kept")


def add_exemplar(
    scorer: Scorer,
    bank: OwnBank,
    path: str | os.PathLike[str],
    options: ScoreOptions,
    judged: JudgedOptions,
) -> JudgedRow:
    """Add a judged dive to a bank; another one of the same part of the same video is replaced.

    Args:
        scorer: Finds, reads and encodes it.
        bank: The bank.
        path: A video file or a folder of frames.
        options: What is known of the dive, and where it is in the video.
        judged: What judges gave it.

    Raises:
        RefusedError: It shows no dive, or lacks the take-off or the entry.
        VideoError: The clip cannot be read.
        UsageError: Number, difficulty or score is missing or impossible.
        BankError: Other weights made the bank, or a copy of the video is in it, judged otherwise.
        OutputError: The bank cannot be written.
    """
    labels = JudgedLabels.of(options, judged)
    bank.require_weights(scorer.weights[1])
    clip = JudgedClip(
        path=os.path.abspath(path),  # noqa: PTH100 - keeps links as they are
        start_s=options.start_s,
        end_s=options.end_s,
        athlete=options.athlete,
        force=options.force,
        sha256=_digest_for(bank, os.fspath(path)),
        judges=judged.judges,
        diver=judged.diver,
        date=judged.date,
    )
    known, notes = bank.find_clip(clip), labels.notes
    if known is not None and known.clip is not None and _is_copy(known, clip):
        if not _is_judged_alike(known, labels):
            hint = f"remove that one first: finecausal exemplars remove {known.id}"
            raise BankError(_judged_otherwise(known), where=bank.name, hint=hint)
        notes = (*notes, f"the same video as {known.clip.path}, which it replaces")
    seen = _look(scorer, clip.path, options)
    return _store(scorer, bank, _exemplar(bank, clip, labels, known), seen, known is not None, notes)


def import_exemplars(
    scorer: Scorer,
    bank: OwnBank,
    manifest: Path,
    *,
    allow_outside: bool = False,
    timeout_s: float | None = None,
    total: Callable[[int], object] = lambda _: None,
) -> Iterator[JudgedRow]:
    """Add every judged dive of a manifest, one after the other; run it again to go on after a stop.

    A dive that is in the bank with the same file and labels is kept as it is; with other labels it is only relabelled.

    Args:
        scorer: Finds, reads and encodes them.
        bank: The bank.
        manifest: The manifest, or its folder.
        allow_outside: Accept paths that lead out of the manifest's folder.
        timeout_s: As in ``ScoreOptions``.
        total: Told how many dives there are.

    Yields:
        A row for each dive of the manifest; first those whose row is wrong.

    Raises:
        DatasetError: The manifest is missing, unreadable or empty.
        BankError: Other weights made the bank.
        OutputError: The bank cannot be written.
    """
    bank.require_weights(scorer.weights[1])
    problems: list[Problem] = []
    dives = read_manifest(manifest, allow_outside=allow_outside, report=problems.append)
    total(len(dives))
    for problem in problems:
        reason = problem.what if problem.hint is None else f"{problem.what} ({problem.hint})"
        yield JudgedRow(problem.dive or problem.where, "failed" if problem.stops else "skipped", reason=reason)
    for dive in dives:
        yield _import(scorer, bank, dive, timeout_s)


def rebuild_bank(
    scorer: Scorer,
    bank: OwnBank,
    *,
    clips: Path | None = None,
    timeout_s: float | None = None,
    total: Callable[[int], object] = lambda _: None,
) -> Iterator[JudgedRow]:
    """Encode the exemplars of a bank again, with other weights; run it again to go on after a stop.

    What cannot be encoded stays in the bank, without a vote, until it can.

    Args:
        scorer: Finds, reads and encodes them.
        bank: The bank.
        clips: A folder to look in for clips that have moved, by the names of their files.
        timeout_s: As in ``ScoreOptions``.
        total: Told how many exemplars there are to encode.

    Yields:
        A row for each exemplar that these weights had not encoded.

    Raises:
        BankError: There is no such bank, or it is damaged.
        OutputError: The bank cannot be written.
    """
    index = bank.index
    todo = (*(index.exemplars if index.weights_digest != scorer.weights[1] else ()), *index.waiting)
    total(len(todo))
    for exemplar in todo:
        yield _encode_again(scorer, bank, exemplar, clips, timeout_s)


def _import(scorer: Scorer, bank: OwnBank, dive: Dive, timeout_s: float | None) -> JudgedRow:
    row = JudgedRow(os.fspath(dive.video), "skipped", dive=dive.number, score=dive.score)
    if dive.number is None or (dive.score is None and not dive.judges):
        missing = "dive number" if dive.number is None else "score"
        return replace(row, reason=f"no {missing} in the manifest")
    path = os.path.abspath(dive.video)  # noqa: PTH100 - keeps links as they are
    clip = JudgedClip(path=path, start_s=dive.start_s, end_s=dive.end_s, sha256=_digest_for(bank, path))
    known = bank.find_clip(clip)
    copied = known is not None and _is_copy(known, clip)
    if known is not None and known.clip is not None:
        clip = known.clip.model_copy(update={"path": path})
    clip = _relabelled(clip, dive)
    try:
        options = ScoreOptions(
            dive=dive.number,
            height_m=dive.height_m,
            difficulty=dive.difficulty,
            start_s=dive.start_s,
            end_s=dive.end_s,
            athlete=clip.athlete,
            force=clip.force,
            timeout_s=timeout_s,
        )
        marks = dive.judges if dive.score is None else ()
        labels = JudgedLabels.of(options, JudgedOptions(score=dive.score, judges=marks))
        if known is not None and known.clip is not None and copied and Path(known.clip.path).exists():
            if not _is_judged_alike(known, labels):
                return replace(row, outcome="failed", reason=_judged_otherwise(known))
            return replace(row, outcome="kept", exemplar=known.id, reason=f"the same video as {known.clip.path}")
        if known is not None and known in bank.index.exemplars and _is_same_file(known, path):
            return _relabel(bank, known, labels, clip)
        seen = _look(scorer, path, options)
    except RefusedError as error:
        return replace(row, outcome="refused", reason=_reason(error))
    except FinecausalError as error:
        return replace(row, outcome="failed", reason=_reason(error))
    return _store(scorer, bank, _exemplar(bank, clip, labels, known), seen, known is not None, labels.notes)


def _encode_again(
    scorer: Scorer, bank: OwnBank, exemplar: Exemplar, clips: Path | None, timeout_s: float | None
) -> JudgedRow:
    clip = exemplar.clip
    row = JudgedRow(exemplar.id, "failed", exemplar.id, exemplar.dive, exemplar.score)
    if clip is None:
        return replace(row, reason="its video is not known")
    if clips is not None and not Path(clip.path).exists():
        clip = clip.model_copy(update={"path": os.path.abspath(clips / Path(clip.path).name)})  # noqa: PTH100
    row = replace(row, source=clip.path)
    if not Path(clip.path).exists():
        return replace(row, reason="its video is not there any more (say where with --clips FOLDER)")
    exemplar = exemplar.model_copy(update={"clip": clip})
    if not _is_same_file(exemplar):
        return replace(row, reason="the file has changed since (add it again with exemplars add)")
    options = ScoreOptions(
        start_s=clip.start_s,
        end_s=clip.end_s,
        takeoff_s=clip.takeoff_s,
        entry_s=clip.entry_s,
        athlete=clip.athlete,
        force=clip.force,
        timeout_s=timeout_s,
    )
    try:
        seen = _look(scorer, clip.path, options)
    except RefusedError as error:
        return replace(row, outcome="refused", reason=_reason(error))
    except FinecausalError as error:
        return replace(row, reason=_reason(error))
    return _store(scorer, bank, exemplar, seen, is_known=True, notes=())


def _look(scorer: Scorer, path: str, options: ScoreOptions) -> tuple[PreparedDive, Encoding]:
    """Find, read and encode a dive; refuse one without take-off or entry, which would get no points."""
    prepared = scorer.locate(path, options)
    dive = prepared.dive_clip.dive
    if not dive.is_whole and not options.force:
        lacks = dive.missing[:1] if dive.takeoff_s is None else dive.missing[-1:]
        raise RefusedError(
            lacks[0] if lacks else "take-off or entry is not in the clip",
            where=path,
            hint="give more of the video, or --takeoff and --entry",
            kind="no_takeoff" if dive.takeoff_s is None else "no_entry",
        )
    return prepared, scorer.encode_dive(prepared)


def _exemplar(bank: OwnBank, clip: JudgedClip, labels: JudgedLabels, known: Exemplar | None) -> Exemplar:
    name = f"{labels.dive}-{slug(Path(clip.path).name) or 'dive'}"
    is_kept = known is not None and known.dive == labels.dive
    return Exemplar(
        id=known.id if known is not None and is_kept else bank.free_id(name, clip),
        dive=labels.dive,
        height_m=labels.height_m,
        difficulty=labels.difficulty,
        execution=labels.execution,
        origin=_ORIGIN,
        clip=clip,
    )


def _store(
    scorer: Scorer,
    bank: OwnBank,
    exemplar: Exemplar,
    seen: tuple[PreparedDive, Encoding],
    is_known: bool,
    notes: tuple[str, ...],
) -> JudgedRow:
    """Put a dive into the bank, with the times at which it was found."""
    prepared, encoding = seen
    clip, dive = exemplar.clip, prepared.dive_clip.dive
    assert clip is not None  # noqa: S101 - one's own
    found = {"takeoff_s": dive.takeoff_s, "entry_s": dive.entry_s, "sha256": digest_file(clip.path)}
    exemplar = exemplar.model_copy(update={"clip": clip.model_copy(update=found)})
    digest = scorer.weights[1]
    exemplar = bank.put(exemplar, encoding, _picture(prepared), weights_digest=digest, rebuild=is_known)
    reason = "; ".join((*notes, *dive.missing, *prepared.notes))
    outcome: Outcome = "updated" if is_known else "added"
    return JudgedRow(clip.path, outcome, exemplar.id, exemplar.dive, exemplar.score, reason)


def _relabelled(clip: JudgedClip, dive: Dive) -> JudgedClip:
    """Take over what a manifest says of a dive; who dives and when stay where it does not say."""
    said = {"diver": dive.diver or clip.diver, "date": dive.date or clip.date}
    return clip.model_copy(update={"judges": dive.judges, **said})


def _relabel(bank: OwnBank, known: Exemplar, labels: JudgedLabels, clip: JudgedClip) -> JudgedRow:
    """Keep the encoding of a dive that is in the bank, and take over what is said of it now."""
    wanted = known.model_copy(
        update={
            "dive": labels.dive,
            "height_m": labels.height_m,
            "difficulty": labels.difficulty,
            "execution": labels.execution,
            "clip": clip,
        }
    )
    row = JudgedRow(clip.path, "kept", known.id, labels.dive, labels.score)
    if wanted == known:
        return row
    bank.relabel(wanted)
    return replace(row, outcome="updated", reason="its labels have changed")


def _picture(prepared: PreparedDive) -> NDArray[np.uint8]:
    """Return the picture in the middle of the flight, or of the clip where the flight is not known."""
    clip, dive = prepared.dive_clip.clip, prepared.dive_clip.dive
    middle_s = (clip.time_s(0) + clip.end_s) / 2
    if dive.takeoff_s is not None and dive.entry_s is not None:
        middle_s = (dive.takeoff_s + dive.entry_s) / 2
    times_s = [clip.time_s(frame) for frame in range(len(clip.frames))]
    picture: NDArray[np.uint8] = clip.frames[min(range(len(times_s)), key=lambda frame: abs(times_s[frame] - middle_s))]
    return picture


def _reason(error: FinecausalError) -> str:
    return error.what if error.hint is None else f"{error.what} ({error.hint})"


def _is_same_file(exemplar: Exemplar, path: str | None = None) -> bool:
    """Tell whether the video, or the one at a path, is the one that was encoded; a folder of frames is taken to be."""
    clip = exemplar.clip
    return clip is not None and (clip.sha256 is None or digest_file(path or clip.path) == clip.sha256)


def _digest_for(bank: OwnBank, path: str) -> str | None:
    """Return the digest by which a bank knows a copy of a video; None where there is no bank yet."""
    return digest_file(path) if bank.exists else None


def _is_copy(known: Exemplar, clip: JudgedClip) -> bool:
    """Tell whether an exemplar is of the same content under another path."""
    return known.clip is not None and known.clip.path != clip.path


def _is_judged_alike(known: Exemplar, labels: JudgedLabels) -> bool:
    values = ((known.difficulty, labels.difficulty), (known.execution, labels.execution))
    return known.dive == labels.dive and all(math.isclose(first, second, abs_tol=1e-6) for first, second in values)


def _judged_otherwise(known: Exemplar) -> str:
    return f"the same video is in the bank as {known.id}, judged otherwise: {known.dive}, {known.score:.2f} points"


def digest_file(path: str) -> str | None:
    """Return the SHA-256 (hex) of a file; None for a folder and for what cannot be read."""
    whole = hashlib.sha256()
    try:
        with Path(path).open("rb") as stream:
            while chunk := stream.read(_CHUNK):
                whole.update(chunk)
    except OSError:
        return None
    return whole.hexdigest()
