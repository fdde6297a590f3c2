"""Score a dive: read, encode, compare with exemplars, build the assessment."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np
import torch

from finecausal_cli.athlete.track import track_features
from finecausal_cli.athlete.turns import count_turns
from finecausal_cli.config import DEFAULT_WEIGHTS, Precision, __version__
from finecausal_cli.data.batch import normalise
from finecausal_cli.device import ExecutionPlan, PlannedEncoder, choose_plan, one_thread, resolve_device
from finecausal_cli.errors import FinecausalError, UsageError, WeightsError
from finecausal_cli.model.skeleton_encoder import TRACK_CHANNELS
from finecausal_cli.retrieval.own_bank import BankNames, calibrated, leave_one_out, load_banks, resolve_banks
from finecausal_cli.retrieval.voting import (
    Choice,
    VotingContext,
    choose_voters,
    compare_with_exemplars,
)
from finecausal_cli.scoring import ExplainOptions, ScoreOptions, with_corrections
from finecausal_cli.scoring.assessment import (
    build_assessment,
    build_interval,
    is_number_sure,
    resolve_degree,
    tell_height,
)
from finecausal_cli.scoring.background import gather_evidence, merge_snippets, read_foreground
from finecausal_cli.scoring.dive_reading import Viewing, read_dives, read_each, viewing_of
from finecausal_cli.scoring.explain import build_explanation, freeze_flight
from finecausal_cli.scoring.measurements import CountRecogniser, ReadDive
from finecausal_cli.scoring.prepared_dive import PreparedDive, prepare_dive, refused_error
from finecausal_cli.scoring.results import Assessment, Familiarity, Provenance, Unscored
from finecausal_cli.video import CLIP_FRAMES, crop
from finecausal_cli.video.pictures import sampled_like
from finecausal_cli.weights import WeightsInfo
from finecausal_cli.weights.hub import resolve_weights
from finecausal_cli.weights.store import load_weights

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import Tensor

    from finecausal_cli.athlete.reader import AthleteReader
    from finecausal_cli.athlete.track import BodyTrack
    from finecausal_cli.model.finecausal import FineCausal
    from finecausal_cli.model.outputs import Encoding
    from finecausal_cli.retrieval.bank import Bank
    from finecausal_cli.retrieval.calibration import LeaveOneOut
    from finecausal_cli.retrieval.voting import ExemplarVotes
    from finecausal_cli.scoring.background import Evidence
    from finecausal_cli.scoring.dive_reading import ReadAhead
    from finecausal_cli.scoring.dives import LocatedDive
    from finecausal_cli.scoring.results import Explanation
    from finecausal_cli.video import Clip


_MOST_TOGETHER: Final = 16
"""Most clips in one pass on a GPU."""


# Score a clip: one object that the command line and a library user call alike.


@dataclass(frozen=True)
class ScoredClip:
    """An assessment with everything it came from.

    Attributes:
        context: Query encoding, exemplars and their votes.
        assessment: The result.
        foreground: Logits [S, 16, H, W] of the athlete; None unless asked for.
    """

    context: VotingContext
    assessment: Assessment
    foreground: Tensor | None = None


def load_reader(device: torch.device | str = "cpu") -> AthleteReader | None:
    """Load the athlete reader that comes with the package; None if it comes without."""
    from finecausal_cli.athlete.reader import AthleteReader

    try:
        return AthleteReader.load(device=device)
    except WeightsError:
        return None


class Scorer:
    """Weights and an exemplar bank, ready to score.

    Args:
        model: The network, in evaluation mode.
        bank: Exemplars encoded by the same weights.
        info: What is known of the weights.
        weights_name: Their name, for people.
        weights_digest: Their digest.
        device: Where to compute.
        plan: How the backbones of ``model`` compute; fp32 unless it was made for another one.
        bank_folder: Where the bank's thumbnails lie; None if nowhere, or if several banks vote.
        reader: Reads joints and outline of athletes; None if there is none.
        judged: How well exemplars of one's own are predicted; None without any.
    """

    def __init__(
        self,
        model: FineCausal,
        bank: Bank,
        *,
        info: WeightsInfo,
        weights_name: str,
        weights_digest: str,
        device: torch.device,
        plan: ExecutionPlan | None = None,
        bank_folder: Path | None = None,
        reader: AthleteReader | None = None,
        judged: LeaveOneOut | None = None,
    ) -> None:
        self._reader = reader
        self._judged = judged
        self._model = model
        self._bank = bank
        self._info = info
        self._weights_name = weights_name
        self._weights_digest = weights_digest
        self._device = device
        self._encode = PlannedEncoder(model.encode, plan or ExecutionPlan(), device)
        self._bank_folder = bank_folder

    def __repr__(self) -> str:
        bank = f"{len(self._bank.exemplars)} exemplars of {self._bank.name!r}"
        return f"Scorer({self._weights_name!r}, {bank}, {self._device}, {self.precision})"

    @classmethod
    def load(
        cls,
        weights: str | os.PathLike[str] = DEFAULT_WEIGHTS,
        *,
        bank: BankNames = None,
        device: str = "auto",
        precision: str = "auto",
        calibrate: bool = True,
    ) -> Scorer:
        """Load weights and the bank that belongs to them, or other banks.

        Args:
            weights: Name of bundled weights, or a folder.
            bank: Another bank, made with the same weights: its name or folder, several joined by ``+``, or a tuple of
                them. Exemplars of the first one vote first; ``bundled`` is the weights' own. With an empty tuple
                nobody votes: dives are located and encoded only.
            device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
            precision: ``auto``, ``fp32``, ``bf16`` or ``fp16``.
            calibrate: Correct votes by the judged dives of a bank of one's own, where there are enough.

        Raises:
            WeightsError: The weights are missing or cannot be trusted.
            BankError: The bank is missing, damaged or of other weights.
            UsageError: The device or precision is not to be had.
        """
        resolved = resolve_device(device)
        folder = resolve_weights(os.fspath(weights))
        banks = resolve_banks(bank, folder)
        with one_thread():
            loaded = load_weights(folder, device=resolved)
            plan = choose_plan(precision, resolved, loaded.config.trunk)
            model, exemplars = loaded.model.for_inference(plan), load_banks(banks, weights_digest=loaded.digest)
            reader = load_reader(resolved)
        judged = leave_one_out(model, exemplars, device=resolved, calibrate=calibrate)
        return cls(
            model,
            exemplars if judged is None else calibrated(exemplars, judged),
            info=WeightsInfo.read(loaded.info, folder),
            weights_name=folder.name,
            weights_digest=loaded.digest,
            device=resolved,
            plan=plan,
            bank_folder=banks[0][1] if len(banks) == 1 else None,
            reader=reader,
            judged=judged,
        )

    @property
    def bank(self) -> Bank:
        """The exemplars."""
        return self._bank

    @property
    def bank_folder(self) -> Path | None:
        """Where the bank's thumbnails lie; None if nowhere."""
        return self._bank_folder

    @property
    def judged(self) -> LeaveOneOut | None:
        """How well exemplars of one's own are predicted, each by the others; None without any."""
        return self._judged

    @property
    def model(self) -> FineCausal:
        """The network."""
        return self._model

    @property
    def info(self) -> WeightsInfo:
        """What is known of the weights."""
        return self._info

    @property
    def weights(self) -> tuple[str, str]:
        """Name and digest of the weights."""
        return self._weights_name, self._weights_digest

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self._device

    @property
    def precision(self) -> Precision:
        """How exactly the backbones compute."""
        return self._encode.plan.precision

    @property
    def frame_size(self) -> int:
        """Side, in pixels, of the square that the network sees."""
        return self._model.config.frame_size

    @property
    def reader(self) -> AthleteReader | None:
        """Reads athletes; None where its weights are not installed."""
        return self._reader

    @property
    def viewing(self) -> Viewing:
        """How the network, and the reader of athletes, want their clips."""
        return viewing_of(self._model.config, None if self._reader is None else self._reader.square_size)

    def score(self, path: str | os.PathLike[str], options: ScoreOptions | None = None) -> Assessment:
        """Score one dive.

        Args:
            path: A video file or a folder of frames.
            options: How.

        Raises:
            RefusedError: It shows no dive, or not enough of one for points; its ``found`` says what there is.
            VideoError: The clip cannot be read.
            BankError: The named exemplar does not exist.
            UsageError: Dive number or height is wrong, or no difficulty is to be had.
        """
        result = self.assess(path, options)[0]
        if isinstance(result, Unscored):
            raise refused_error(result)
        return result

    def assess(self, path: str | os.PathLike[str], options: ScoreOptions | None = None) -> list[Assessment | Unscored]:
        """Score the surest dive of a file, or all of them with ``all_dives``; raises as ``score`` does.

        Returns:
            One for each dive, in the order of the file; without points where there is no dive, or not enough of one.
        """
        options = options or ScoreOptions()
        return [
            dive
            if isinstance(dive, Unscored)
            else dive.complete(self._score_one(dive, options).assessment, force=options.force)
            if self.sees(dive)
            else dive.withheld()
            for dive in self._find(os.fspath(path), options)
        ]

    def explain(
        self,
        path: str | os.PathLike[str],
        options: ScoreOptions | None = None,
        explain: ExplainOptions | None = None,
        *,
        ahead: ReadAhead | None = None,
    ) -> tuple[Explanation, Evidence]:
        """Score one dive and explain the score; raises as ``score`` does.

        Args:
            path: A video file or a folder of frames.
            options: How to score; ``attention`` and ``all_dives`` are of no account.
            explain: What to explain.
            ahead: Has begun to read the file already.

        Returns:
            The explanation, and the pictures behind it.
        """
        options = replace(options or ScoreOptions(), attention=True, all_dives=False)
        explain = explain or ExplainOptions()
        prepared = self.locate(path, options, ahead=ahead)
        if not self.sees(prepared):
            raise refused_error(prepared.withheld())
        scored = self._score_one(prepared, options, foreground=True)
        assessment = prepared.complete(scored.assessment, force=options.force)
        if isinstance(assessment, Unscored):
            raise refused_error(assessment)
        clip = prepared.dive_clip.clip
        probabilities = self.foreground(prepared, scored.foreground)
        explanation = build_explanation(
            scored.context,
            assessment,
            clip,
            probabilities,
            explain,
            encode=None if self.reads_bodies else self.encode,
            bank_folder=self._bank_folder,
            athlete=prepared.track.frames,
            measurements=ReadDive.of(
                prepared.dive_clip.dive,
                prepared.body_track,
                options.height_m,
                CountRecogniser(self._model) if self.reads_bodies and self._model.recogniser is not None else None,
            ).measure(),
            frozen=self._encode_frozen(prepared),
        )
        size, pictures = explain.picture_size, None
        if size is not None:
            process = None if ahead is None else ahead.process
            pictures = sampled_like(path, clip, size, timeout_s=options.timeout_s, process=process)
        return explanation, gather_evidence(clip, probabilities, pictures, prepared.track)

    def _encode_frozen(self, prepared: PreparedDive) -> tuple[Encoding, int] | None:
        """Encode a dive with its flight frozen; also return how many frames that are. None without a flight."""
        dive, clip, track = prepared.dive_clip.dive, prepared.dive_clip.clip, prepared.body_track
        if self.reads_bodies:
            frames = 0 if track is None else int(track.in_flight.sum())
            return (self.encode(clip, track=track.frozen()), frames) if track is not None and frames else None
        if dive.takeoff_s is None or dive.entry_s is None:
            return None
        frozen, frames = freeze_flight(clip, dive.takeoff_s, dive.entry_s)
        return (self.encode(frozen), frames) if frames else None

    def locate(
        self, path: str | os.PathLike[str], options: ScoreOptions | None = None, *, ahead: ReadAhead | None = None
    ) -> PreparedDive:
        """Find and read one dive, and read its athlete, without scoring it.

        Raises:
            RefusedError: It shows no dive; its ``found`` says what there is.
            VideoError: The clip cannot be read.
            UsageError: The times or the athlete make no sense.
        """
        prepared = next(self._find(os.fspath(path), replace(options or ScoreOptions(), all_dives=False), ahead))
        if isinstance(prepared, Unscored):
            raise refused_error(prepared)
        return prepared

    def _find(
        self, path: str, options: ScoreOptions, ahead: ReadAhead | None = None
    ) -> Iterator[PreparedDive | Unscored]:
        known, notes = with_corrections(path, options)
        wanted, viewing, limit_s = known.wanted, self.viewing, options.timeout_s
        if options.all_dives:
            for read in read_each(path, wanted, viewing, timeout_s=limit_s):
                yield prepare_dive(read, known, self._reader, source=path, notes=notes)
            return
        ready = None if ahead is None else ahead.result(path, wanted, viewing)
        read = ready or read_dives(path, wanted, viewing, timeout_s=limit_s)
        yield prepare_dive(read, known, self._reader, source=path, notes=notes)

    def score_clips(
        self, clips: Sequence[Clip], options: Sequence[ScoreOptions], *, started: Sequence[float] | None = None
    ) -> list[Assessment | FinecausalError]:
        """Score clips that are read already, all of them in one pass; none's numbers depend on the others, to 1e-4.

        Args:
            clips: Read with this network's geometry and frame size.
            options: How to score each of them; times and the time limit are of no account any more.
            started: When work on each clip began, by ``time.perf_counter``, for the provenance; now when absent.

        Returns:
            For each clip its assessment, or why it has none: a wrong dive number, height or exemplar, or no difficulty.
        """
        return [
            scored.assessment if isinstance(scored, ScoredClip) else scored
            for scored in self._score(clips, options, started)
        ]

    def score_prepared(
        self, dives: Sequence[PreparedDive], options: Sequence[ScoreOptions], *, started: Sequence[float] | None = None
    ) -> list[Assessment | Unscored | FinecausalError]:
        """Score dives that are found and read already, all of them in one pass; see ``score_clips``."""
        started = started or [time.perf_counter()] * len(dives)
        chosen = [index for index, prepared in enumerate(dives) if self.sees(prepared)]
        scored = self._score(
            [dives[index].dive_clip.clip for index in chosen],
            [options[index] for index in chosen],
            [started[index] for index in chosen],
            dives=[dives[index] for index in chosen],
        )
        by_index = dict(zip(chosen, scored, strict=True))
        results: list[Assessment | Unscored | FinecausalError] = []
        for index, (prepared, option) in enumerate(zip(dives, options, strict=True)):
            result = by_index.get(index)
            if result is None:
                results.append(prepared.withheld())
            elif isinstance(result, FinecausalError):
                results.append(result)
            else:
                results.append(prepared.complete(result.assessment, force=option.force))
        return results

    def foreground(self, prepared: PreparedDive, logits: Tensor | None) -> NDArray[np.float32]:
        """Return where the athlete is in the centre crop: predicted, or as the reader sees it; float32 [96, S, S].

        Args:
            prepared: The dive.
            logits: [snippets, 16, S, S], by the network; None of a network that sees no picture.
        """
        if logits is not None:
            return merge_snippets(logits)
        return read_foreground(prepared.dive_clip.clip, prepared.track, self.frame_size)

    def sees(self, prepared: PreparedDive) -> bool:
        """Tell whether there is of a dive what the network looks at."""
        return prepared.body_track is not None or not self.reads_bodies

    @property
    def reads_bodies(self) -> bool:
        """Whether the network reads tracks of bodies; otherwise it reads pictures."""
        return self._model.config.trunk == "skeleton"

    def encode(self, clip: Clip, *, track: BodyTrack | None = None, foreground: bool = False) -> Encoding:
        """Encode a clip; see ``encode_clips``."""
        return self.encode_clips([clip], tracks=[track], foreground=foreground)

    def encode_dive(self, prepared: PreparedDive, *, foreground: bool = False) -> Encoding:
        """Encode a dive that is found and read; see ``encode_clips``."""
        return self.encode(prepared.dive_clip.clip, track=prepared.body_track, foreground=foreground)

    def encode_clips(
        self,
        clips: Sequence[Clip],
        *,
        tracks: Sequence[BodyTrack | None] | None = None,
        foreground: bool = False,
    ) -> Encoding:
        """Encode clips with the centre crop, in one pass; with ``foreground``, also tell where the athletes are.

        Args:
            clips: Read with this network's geometry and frame size.
            tracks: The athlete of each clip, which is all that a network that reads bodies looks at.
            foreground: Also tell where the athletes are, if the network sees pictures.

        Raises:
            UsageError: The network reads bodies, and a track is missing.
        """
        if self.reads_bodies:
            inputs = torch.stack([torch.from_numpy(track_features(track)) for track in self._known(clips, tracks)])
            inputs = inputs.to(self._device)
        else:
            frames = np.stack([crop(clip.frames, self._model.config.frame_size) for clip in clips])
            inputs = normalise(torch.from_numpy(frames).to(self._device))
        return self._encode(inputs, foreground="fused") if foreground else self._encode(inputs)

    def fitting_batch(self) -> int:
        """Return how many clips to score in one pass: 1 on a CPU; on a GPU as many as its free memory holds."""
        size = self.frame_size
        shape = (1, TRACK_CHANNELS, CLIP_FRAMES) if self.reads_bodies else (1, 3, CLIP_FRAMES, size, size)
        return self._encode.fitting_batch(torch.zeros(shape, device=self._device), _MOST_TOGETHER)

    def _known(self, clips: Sequence[Clip], tracks: Sequence[BodyTrack | None] | None) -> list[BodyTrack]:
        known = [track for track in tracks or () if track is not None]
        if len(known) != len(clips):
            missing = clips[0] if tracks is None else clips[[track is None for track in tracks].index(True)]
            raise UsageError(
                "these weights judge the athlete's body, and no flight with both ends is found",
                where=missing.source,
                hint="give --takeoff and --entry, or weights that read pictures",
            )
        return known

    def vote(
        self,
        queries: Sequence[Encoding],
        options: Sequence[ScoreOptions],
        tracks: Sequence[BodyTrack | None] | None = None,
    ) -> list[tuple[Choice, ExemplarVotes] | FinecausalError]:
        """Choose the voters of each dive and compare it with them, all pairs in one pass.

        Args:
            queries: One encoding a dive, each of length 1.
            options: How to score each of them.
            tracks: The athlete of each dive, whose turns rule out dive numbers; None rules out none.

        Returns:
            For each dive its voters and their votes, or why it has none.
        """
        known = tracks or [None] * len(queries)
        chosen = [self._choose(*each) for each in zip(queries, options, known, strict=True)]
        ready = [(query, each) for query, each in zip(queries, chosen, strict=True) if isinstance(each, Choice)]
        votes = iter(
            compare_with_exemplars(
                self._model,
                [query for query, _ in ready],
                self._bank,
                [choice.indices for _, choice in ready],
                attention=any(option.attention for option in options),
            )
        )
        return [each if isinstance(each, FinecausalError) else (each, next(votes)) for each in chosen]

    def recognise(self, query: Encoding, track: BodyTrack | None) -> str | None:
        """Return the number of an encoded dive, of length 1, if it is sure enough for points; None otherwise."""
        choice, (familiarity,) = self._choose(query, ScoreOptions(), track), self._familiarities(query)
        return choice.dive if isinstance(choice, Choice) and is_number_sure(choice, familiarity) else None

    def _choose(self, query: Encoding, options: ScoreOptions, track: BodyTrack | None) -> Choice | FinecausalError:
        own = self._judged
        turns = None if track is None or options.dive is not None else count_turns(track)
        try:
            options = options.with_canonical_number()
            choice = choose_voters(
                self._bank,
                query,
                exemplar=options.exemplar,
                dive=options.dive,
                voters=options.voters,
                seed=options.seed,
                evidence=None if turns is None else turns.log_evidence,
            )
            return choice if own is None else replace(choice, caveats=(*choice.caveats, own.note))
        except FinecausalError as error:
            return error

    def _score_one(self, prepared: PreparedDive, options: ScoreOptions, *, foreground: bool = False) -> ScoredClip:
        clips = [prepared.dive_clip.clip]
        (scored,) = self._score(clips, [options], foreground=foreground, dives=[prepared])
        if isinstance(scored, FinecausalError):
            raise scored
        return scored

    def _score(
        self,
        clips: Sequence[Clip],
        options: Sequence[ScoreOptions],
        started: Sequence[float] | None = None,
        *,
        foreground: bool = False,
        dives: Sequence[PreparedDive] | None = None,
    ) -> list[ScoredClip | FinecausalError]:
        started = started or [time.perf_counter()] * len(clips)
        if not clips:
            return []
        tracks = None if dives is None else [prepared.body_track for prepared in dives]
        encodings = self.encode_clips(clips, tracks=tracks, foreground=foreground)
        seen = None if encodings.foreground is None else encodings.foreground[-1]
        encodings = replace(encodings, foreground=None)
        queries = [encodings.select(index) for index in range(len(clips))]
        familiarities = self._familiarities(encodings)
        results: list[ScoredClip | FinecausalError] = []
        for index, each in enumerate(self.vote(queries, options, tracks)):
            if isinstance(each, FinecausalError):
                results.append(each)
                continue
            choice, votes = each
            dive = None if dives is None else dives[index].dive_clip.dive
            try:
                scored = self._assess(
                    clips[index],
                    queries[index],
                    options[index],
                    choice,
                    votes,
                    dive,
                    started[index],
                    familiarities[index],
                )
            except FinecausalError as error:
                results.append(error)
            else:
                results.append(replace(scored, foreground=None if seen is None else seen[index]))
        return results

    def _familiarities(self, encodings: Encoding) -> list[Familiarity | None]:
        """Return how far each dive lies from the calibration dives; None where the weights do not know."""
        distances, stored = self._model.unfamiliarity(encodings), self._info.familiarity
        if distances is None or stored is None:
            return [None] * len(encodings)
        return [
            Familiarity(distance=distance, limit=stored.limit, factor=stored.factor) for distance in distances.tolist()
        ]

    def _assess(
        self,
        clip: Clip,
        query: Encoding,
        options: ScoreOptions,
        choice: Choice,
        votes: ExemplarVotes,
        dive: LocatedDive | None,
        started: float,
        familiarity: Familiarity | None = None,
    ) -> ScoredClip:
        own, options = self._judged, options.with_canonical_number()
        is_sure = is_number_sure(choice, familiarity)
        height = tell_height(options.height_m, choice.dive if is_sure else None, dive)
        degree = resolve_degree(self._bank, choice, options, height, is_sure=is_sure)
        context = VotingContext(self._model, self._bank, choice.indices, query, votes, degree.difficulty)
        assessment = build_assessment(
            clip,
            choice,
            context,
            options,
            self._provenance(clip, choice, started),
            degree=degree,
            height=height,
            stored=self._info.interval,
            familiarity=familiarity,
        )
        if own is not None:  # measured on one's own footage, however far that is from the calibration dives
            execution, value = assessment.execution, degree.difficulty
            interval, _, factor = build_interval(own.interval, execution, value, bounds=degree.bounds)
            facts = {"interval": interval, "interval_withheld": own.interval_withheld, "interval_factor": factor}
            assessment = assessment.model_copy(update=facts)
        return ScoredClip(context, assessment)

    def _provenance(self, clip: Clip, choice: Choice, started: float) -> Provenance:
        return Provenance(
            version=__version__,
            weights=self._weights_name,
            weights_digest=self._weights_digest,
            weights_note=self._info.note,
            trained_on=self._info.trained_on,
            bank=self._bank.name,
            bank_digest=self._bank.digest,
            exemplars_chosen=choice.how,
            calibration=None if self._judged is None else self._judged.in_words,
            device=str(self._device),
            precision=self.precision,
            decoder=clip.decoder,
            seconds=time.perf_counter() - started,
        )
