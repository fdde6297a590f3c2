"""Score a clip: one object that the command line and a library user call alike."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from finecausal_cli import __version__
from finecausal_cli.assess.assessment import (
    NODE_TYPES,
    Assessment,
    Attention,
    Interval,
    Provenance,
    Stage,
    Vote,
)
from finecausal_cli.assess.device import Precision, computing, resolve_device, resolve_precision
from finecausal_cli.assess.interventions import replace_stages
from finecausal_cli.diving.difficulty import difficulty as listed_difficulty
from finecausal_cli.diving.number import parse_dive_number
from finecausal_cli.errors import UsageError
from finecausal_cli.exemplars.bank import Bank, load_bank
from finecausal_cli.exemplars.choice import Choice, choose_voters
from finecausal_cli.exemplars.vote import Ballot, cast_votes
from finecausal_cli.model.attention import node_type_attention
from finecausal_cli.model.config import STAGE_WEIGHTS, STAGES
from finecausal_cli.video.clip import CLIP_FRAMES, Clip
from finecausal_cli.video.reader import read_clip
from finecausal_cli.video.transform import crop, normalise
from finecausal_cli.weights.info import WeightsInfo
from finecausal_cli.weights.registry import DEFAULT_WEIGHTS, bank_folder, resolve_weights
from finecausal_cli.weights.store import load_weights

if TYPE_CHECKING:
    from pathlib import Path

    from finecausal_cli.model.finecausal import FineCausal
    from finecausal_cli.model.outputs import Encoding

MAX_EXECUTION = 30.0
"""Three counting judges of ten."""


@dataclass(frozen=True, slots=True)
class ScoreOptions:
    """How to score one dive. Every field may stay as it is.

    Attributes:
        exemplar: Identifier of the one exemplar to compare with.
        dive: Dive number, e.g. ``107B``.
        height_m: Height of the board or platform, metres.
        difficulty: Degree of difficulty; wins over every other source.
        voters: Most exemplars to compare with.
        start_s: Where the dive starts in the source, seconds.
        end_s: Where it ends, seconds.
        attention: Tell where the model looked.
        interventions: Tell what the score would be with each stage replaced by the exemplars'.
        seed: Seed of the choice among exemplars of one number.
        timeout_s: Most seconds that reading the clip may take, in a process that can be killed; None sets no limit.
    """

    exemplar: str | None = None
    dive: str | None = None
    height_m: float | None = None
    difficulty: float | None = None
    voters: int = 10
    start_s: float | None = None
    end_s: float | None = None
    attention: bool = True
    interventions: bool = False
    seed: int = 0
    timeout_s: float | None = None

    def __post_init__(self) -> None:
        if self.voters < 1:
            raise UsageError(f"{self.voters} voters", where="--voters", hint="1 or more")
        if self.difficulty is not None and not 0 < self.difficulty < 10:
            raise UsageError(f"difficulty {self.difficulty:g}", where="--difficulty", hint="real ones run from 1 to 5")
        if self.exemplar is not None and self.voters != type(self)().voters and self.voters != 1:
            raise UsageError("--exemplar names one voter and --voters asks for more", where="--voters")


class Scorer:
    """Weights and an exemplar bank, ready to score.

    Args:
        model: The network, in evaluation mode.
        bank: Exemplars encoded by the same weights.
        info: What is known of the weights.
        weights_name: Their name, for people.
        weights_digest: Their digest.
        device: Where to compute.
        precision: How exactly the backbones compute.
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
        precision: Precision,
    ) -> None:
        self._model = model
        self._bank = bank
        self._info = info
        self._weights_name = weights_name
        self._weights_digest = weights_digest
        self._device = device
        self._precision: Precision = precision

    @classmethod
    def load(
        cls,
        weights: str = DEFAULT_WEIGHTS,
        *,
        bank: Path | None = None,
        device: str = "auto",
        precision: str = "auto",
    ) -> Scorer:
        """Load weights and the bank that belongs to them.

        Args:
            weights: Name of bundled weights, or a folder.
            bank: Another bank, made with the same weights.
            device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
            precision: ``auto``, ``fp32``, ``bf16`` or ``fp16``.

        Raises:
            WeightsError: The weights are missing or cannot be trusted.
            BankError: The bank is missing, damaged or of other weights.
            UsageError: The device or precision is not to be had.
        """
        where = resolve_device(device)
        folder = resolve_weights(weights)
        loaded = load_weights(folder, device=where)
        return cls(
            loaded.model.for_inference(),
            load_bank(bank or bank_folder(folder), weights_digest=loaded.digest),
            info=WeightsInfo.read(loaded.info, folder),
            weights_name=folder.name,
            weights_digest=loaded.digest,
            device=where,
            precision=resolve_precision(precision, where),
        )

    @property
    def bank(self) -> Bank:
        """The exemplars."""
        return self._bank

    @property
    def model(self) -> FineCausal:
        """The network."""
        return self._model

    @property
    def frame_size(self) -> int:
        """Side, in pixels, of the square that the network sees."""
        return self._model.config.frame_size

    def score(self, path: str, options: ScoreOptions | None = None) -> Assessment:
        """Score one dive.

        Args:
            path: A video file or a folder of frames.
            options: How.

        Raises:
            VideoError: The clip cannot be read.
            BankError: The named exemplar does not exist.
            UsageError: Dive number or height is wrong, or no difficulty is to be had.
        """
        started = time.perf_counter()
        options = options or ScoreOptions()
        config = self._model.config
        number = None if options.dive is None else str(parse_dive_number(options.dive))
        clip = read_clip(
            path,
            geometry=config.geometry,
            frame_size=config.frame_size,
            start_s=options.start_s,
            end_s=options.end_s,
            timeout_s=options.timeout_s,
        )
        query = self.encode(clip)
        choice = choose_voters(
            self._bank, query, exemplar=options.exemplar, dive=number, voters=options.voters, seed=options.seed
        )
        options = replace(options, dive=number)
        difficulty, difficulty_from = self._difficulty(choice, options)
        ballot = cast_votes(self._model, query, self._bank, choice.places, attention=options.attention)
        return self._assessment(clip, choice, ballot, options, (difficulty, difficulty_from), started)

    def encode(self, clip: Clip) -> Encoding:
        """Encode a clip with the centre crop."""
        pixels = normalise(crop(clip.frames, self._model.config.frame_size)).unsqueeze(0).to(self._device)
        with torch.inference_mode(), computing(self._precision, self._device):
            encoding = self._model.encode(pixels)
        return replace(encoding, video=encoding.video.float(), mask=encoding.mask.float())

    def _difficulty(self, choice: Choice, options: ScoreOptions) -> tuple[float, str]:
        if options.difficulty is not None:
            return options.difficulty, "given"
        if options.dive is not None and options.height_m is not None:
            listed = listed_difficulty(parse_dive_number(options.dive), options.height_m)
            if listed is None:
                raise UsageError(
                    f"{options.dive} has no listed difficulty at {options.height_m:g} m",
                    where="--height",
                    hint="give --difficulty",
                )
            return listed, f"listed for {options.dive} at {options.height_m:g} m"
        nearest = max(zip(choice.similarities, choice.places, strict=True))[1]
        exemplar = self._bank.exemplars[nearest]
        return exemplar.difficulty, f"that of the most similar voter, {exemplar.id}"

    def _assessment(
        self,
        clip: Clip,
        choice: Choice,
        ballot: Ballot,
        options: ScoreOptions,
        difficulty: tuple[float, str],
        started: float,
    ) -> Assessment:
        degree, degree_from = difficulty
        execution = ballot.execution
        score = execution * degree
        notes = [*choice.caveats, *clip.notes]
        if not 0 <= execution <= MAX_EXECUTION:
            notes.append(
                f"execution {execution:.1f} lies outside the 0..30 that judges can give: the model is guessing"
            )
        return Assessment(
            source=clip.source,
            score=score,
            execution=execution,
            difficulty=degree,
            difficulty_from=degree_from,
            dive=choice.dive,
            dive_from=choice.dive_from,
            height_m=options.height_m,
            exemplar_score=float(ballot.exemplar_executions.mean()) * degree,
            interval=self._interval(score, degree),
            stages=_stages(clip, ballot, degree),
            votes=self._votes(choice, ballot, degree),
            attention=_attention(ballot) if options.attention else None,
            interventions=replace_stages(self._model, ballot, degree) if options.interventions else (),
            provenance=Provenance(
                version=__version__,
                weights=self._weights_name,
                weights_digest=self._weights_digest,
                weights_note=self._info.note,
                bank=self._bank.name,
                bank_digest=self._bank.digest,
                exemplars_chosen=choice.how,
                device=str(self._device),
                precision=self._precision,
                decoder=clip.decoder,
                seconds=time.perf_counter() - started,
            ),
            notes=tuple(notes),
        )

    def _interval(self, score: float, difficulty: float) -> Interval | None:
        stored = self._info.interval
        if stored is None:
            return None
        half = stored.execution_half_width * difficulty
        low, high = (min(max(0.0, end), MAX_EXECUTION * difficulty) for end in (score - half, score + half))
        return Interval(low=low, high=high, level=stored.level)

    def _votes(self, choice: Choice, ballot: Ballot, difficulty: float) -> tuple[Vote, ...]:
        rows = zip(
            choice.places,
            choice.similarities,
            ballot.pairs.stage_deltas[:, 0].cpu().double().tolist(),
            ballot.pairs.delta[:, 0].cpu().double().tolist(),
            ballot.executions.tolist(),
            strict=True,
        )
        return tuple(
            Vote(
                exemplar=self._bank.exemplars[place].id,
                dive=self._bank.exemplars[place].dive or "unknown",
                execution=self._bank.exemplars[place].execution,
                similarity=similarity,
                stage_differences=(stages[0], stages[1], stages[2]),
                difference=difference,
                score=execution * difficulty,
            )
            for place, similarity, stages, difference, execution in rows
        )


def _stages(clip: Clip, ballot: Ballot, difficulty: float) -> tuple[Stage, Stage, Stage]:
    flight, entry = (round(frame) for frame in ballot.transitions.double().mean(0).tolist())
    borders = (0, flight, entry, CLIP_FRAMES)
    times = [clip.time_s(frame) for frame in borders[:-1]]
    times.append((float(clip.source_frames[-1]) + 1) / clip.fps)
    differences = ballot.pairs.stage_deltas[:, 0].cpu().double().mean(0).tolist()
    first, second, third = (
        Stage(
            name=name,
            start_frame=borders[place],
            end_frame=borders[place + 1],
            start_s=times[place],
            end_s=times[place + 1],
            difference=differences[place],
            weight=STAGE_WEIGHTS[place],
            contribution=differences[place] * STAGE_WEIGHTS[place] * difficulty,
        )
        for place, name in enumerate(STAGES)
    )
    return first, second, third


def _attention(ballot: Ballot) -> Attention | None:
    nodes, stages = ballot.pairs.node_attention, ballot.pairs.stage_attention
    if nodes is None or stages is None:
        return None
    types = node_type_attention(nodes[:, -1]).mean(0).cpu().double().tolist()
    between_stages = stages[:, 0].mean((0, 1)).cpu().double().tolist()
    return Attention(
        node_types=tuple(tuple(row) for row in types),
        node_uniform=1 / (len(NODE_TYPES) * 9 - 1),
        stages=tuple(tuple(row) for row in between_stages),
    )
