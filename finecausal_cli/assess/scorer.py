"""Score a clip: one object that the command line and a library user call alike."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from finecausal_cli import __version__
from finecausal_cli.assess.assessment import Assessment, Provenance
from finecausal_cli.assess.device import Precision, computing, resolve_device, resolve_precision
from finecausal_cli.assess.interventions import replace_stages
from finecausal_cli.assess.verdict import attention_of, interval_of, stages_of, votes_of
from finecausal_cli.diving.difficulty import difficulty as listed_difficulty
from finecausal_cli.diving.judging import MAX_EXECUTION
from finecausal_cli.diving.number import parse_dive_number
from finecausal_cli.errors import UsageError
from finecausal_cli.exemplars.bank import Bank, load_bank
from finecausal_cli.exemplars.choice import Choice, choose_voters
from finecausal_cli.exemplars.vote import Ballot, cast_votes
from finecausal_cli.video.reader import read_clip
from finecausal_cli.video.transform import crop, normalise
from finecausal_cli.weights.info import WeightsInfo
from finecausal_cli.weights.registry import DEFAULT_WEIGHTS, bank_folder, resolve_weights
from finecausal_cli.weights.store import load_weights

if TYPE_CHECKING:
    from pathlib import Path

    from finecausal_cli.model.finecausal import FineCausal
    from finecausal_cli.model.outputs import Encoding
    from finecausal_cli.video.clip import Clip


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
            interval=interval_of(self._info.interval, score, degree),
            stages=stages_of(clip, ballot, degree),
            votes=votes_of(self._bank, choice, ballot, degree),
            attention=attention_of(ballot) if options.attention else None,
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
