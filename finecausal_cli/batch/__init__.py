"""Batch: many dives, a row each, that can be interrupted and resumed. Here: its configuration; imports no torch."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Any, ClassVar, Final, Literal

from finecausal_cli.config import RuntimeConfig, option
from finecausal_cli.errors import UsageError
from finecausal_cli.scoring import ScoreOptions

TIMEOUT_S: Final = 120.0
"""Seconds without progress after which reading a clip is given up: its decoder hangs."""

RESULTS_NAME: Final = "results.jsonl"
"""The rows in a folder of results."""

BatchFormat = Literal["table", "json", "jsonl", "csv", "parquet"]

_HOW: Final = "Many dives: processing"


@dataclass(frozen=True, slots=True)
class BatchConfig:
    """What to score, how, and where the results go: every option of ``finecausal score``.

    Attributes:
        paths: Videos, folders of videos or of frames, patterns, manifests.
        score: How to score each dive; a manifest may say more of each.
        runtime: Weights, bank and device.
        output_format: Format of the results; None lets the ending of ``output`` decide, else a table.
        output: File, folder (a trailing slash says so) or device for the results; None prints them.
    """

    panel: ClassVar[str] = "Many dives: inputs"

    paths: tuple[str, ...] = ()
    score: ScoreOptions = field(default_factory=ScoreOptions)
    runtime: RuntimeConfig = field(default_factory=RuntimeConfig)
    output_format: BatchFormat | None = option(
        None,
        "table (default), json, jsonl, csv or parquet; -o FILE says it by its ending.",
        flag="--format",
        metavar="FORMAT",
        panel="Options",
    )
    output: str | None = option(
        None,
        "Write the result to a file; many also to a folder, and a rerun scores what is missing.",
        flag="-o,--output",
        metavar="FILE|DIR",
        is_path=True,
        panel="Options",
    )

    all_dives: bool = option(False, "Score every dive of a video, not only the most certain one.")
    recursive: bool = option(False, "Include sub-folders.", flag="--recursive,-r")
    from_file: str | None = option(
        None, "Read more paths from a file, one a line; - is standard input.", metavar="LIST|-", is_path=True
    )
    allow_outside: bool = option(False, "Accept a manifest's paths that lead out of its folder.")
    shard: str | None = option(None, "Score the I-th of N equal shares; join them with merge.", metavar="I/N")
    dry_run: bool = option(False, "Print the plan and exit.")
    workers: int | None = option(None, "Processes that read clips; one a core by default.", min=1, panel=_HOW)
    batch_size: int | None = option(
        None, "Most dives in one pass: 1 on a CPU; on a GPU by its memory.", min=1, panel=_HOW
    )
    timeout_s: float = option(
        TIMEOUT_S, "Time limit for reading a clip without progress, seconds.", flag="--timeout", metavar="S", panel=_HOW
    )
    overwrite: bool = option(False, "Score dives that have a result again.", panel=_HOW)
    retry_failed: bool = option(False, "Score failed dives again.", panel=_HOW)
    fail_fast: bool = option(False, "Stop at the first dive that fails.", panel=_HOW)
    cluster: str | None = option(None, "Score on a Ray cluster; see docs/batch.md.", metavar="auto|ADDRESS", panel=_HOW)
    watch: bool = option(False, "Keep scoring new files until Ctrl-C.", panel=_HOW)

    def __post_init__(self) -> None:
        for flag, value in (("--workers", self.workers), ("--batch-size", self.batch_size)):
            if value is not None and value < 1:
                raise UsageError(f"{value} is too few", where=flag, hint="1 or more")
        if not self.timeout_s > 0:
            raise UsageError(f"a time limit of {self.timeout_s:g} s", where="--timeout", hint="more than 0")
        if self.watch and self.cluster is not None:
            raise UsageError(
                "--watch is for one machine", where="--cluster", hint="run it again for what has come since"
            )
        if self.watch and self.dry_run:
            raise UsageError("--dry-run does nothing, and --watch goes on", where="--watch", hint="give one of them")
        if self.overwrite and self.retry_failed:
            raise UsageError("--overwrite scores everything again", where="--retry-failed", hint="give one of them")
        if self.cluster is not None and self.runtime.device not in ("auto", "cpu", "cuda"):
            what = f"device {self.runtime.device!r} on a cluster"
            raise UsageError(what, where="--device", hint="auto, cpu or cuda; Ray chooses which GPU")
        _ = self.options  # refuses a correction of one dive beside --all-dives

    @property
    def options(self) -> ScoreOptions:
        """How to score each dive, with what is an option of the whole batch."""
        all_dives = self.all_dives or self.score.all_dives
        return replace(self.score, all_dives=all_dives, timeout_s=self.timeout_s)

    @property
    def scorer_arguments(self) -> dict[str, Any]:
        """Arguments of ``Scorer.load`` in this process; with a cluster its scorer only identifies rows, on the CPU."""
        return {**asdict(self.runtime), "device": self.runtime.device if self.cluster is None else "cpu"}

    @property
    def asks_for_rows(self) -> bool:
        """Whether an option is given that has a meaning for rows only, though a single dive may be named."""
        flags = self.overwrite, self.retry_failed, self.dry_run, self.watch, self.fail_fast, self.options.all_dives
        return any(flags) or self.shard is not None or self.cluster is not None


@dataclass(frozen=True, slots=True)
class MeasureConfig:
    """What to measure, how, and where the results go: every option of ``finecausal measure``.

    Attributes:
        paths: Videos, folders of videos or of frames, patterns, manifests.
        dive: Which dive of a clip, and its height.
        output_format: Format of the results; None lets the ending of ``output`` decide, else a table.
        output: File for the results; None prints them.
    """

    panel: ClassVar[str] = "Many dives: inputs"

    paths: tuple[str, ...] = ()
    dive: ScoreOptions = field(default_factory=ScoreOptions)
    output_format: BatchFormat | None = option(
        None,
        "table (default), json, jsonl, csv or parquet; -o FILE says it by its ending.",
        flag="--format",
        metavar="FORMAT",
        panel="Options",
    )
    output: str | None = option(
        None,
        "Write the result to a file; of many, a rerun measures what is missing.",
        flag="-o,--output",
        metavar="FILE",
        is_path=True,
        panel="Options",
    )
    joints: str | None = option(
        None,
        "Write the body frame by frame: .csv, .parquet, or .trc and .mot for OpenSim.",
        metavar="FILE",
        is_path=True,
        panel="Options",
    )
    device: str = option("auto", "auto, cpu, cuda, cuda:N or mps.", panel="Options")

    all_dives: bool = option(False, "Measure every dive of a video, not only the most certain one.")
    recursive: bool = option(False, "Include sub-folders.", flag="--recursive,-r")
    from_file: str | None = option(
        None, "Read more paths from a file, one a line; - is standard input.", metavar="LIST|-", is_path=True
    )
    allow_outside: bool = option(False, "Accept a manifest's paths that lead out of its folder.")
    workers: int | None = option(None, "Processes that read clips; one a core by default.", min=1, panel=_HOW)
    timeout_s: float = option(
        TIMEOUT_S, "Time limit for reading a clip without progress, seconds.", flag="--timeout", metavar="S", panel=_HOW
    )
    overwrite: bool = option(False, "Measure dives that have a result again.", panel=_HOW)

    def __post_init__(self) -> None:
        if self.workers is not None and self.workers < 1:
            raise UsageError(f"{self.workers} is too few", where="--workers", hint="1 or more")
        if not self.timeout_s > 0:
            raise UsageError(f"a time limit of {self.timeout_s:g} s", where="--timeout", hint="more than 0")
        _ = self.options  # refuses a correction of one dive beside --all-dives

    @property
    def options(self) -> ScoreOptions:
        """What is measured of each clip."""
        return replace(self.dive, all_dives=self.all_dives or self.dive.all_dives, attention=False)
