"""Score a batch on a Ray cluster."""

from __future__ import annotations

import logging
import os
import pickle
import socket
import tempfile
import warnings
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import torch

from finecausal_cli.batch.pipeline import JobScorer, Outcome
from finecausal_cli.batch.records import RunSettings, failed_row
from finecausal_cli.config import __version__
from finecausal_cli.errors import FinecausalError, UsageError
from finecausal_cli.retrieval.bank import INDEX_NAME, read_index
from finecausal_cli.retrieval.own_bank import resolve_banks
from finecausal_cli.scoring.scorer import Scorer
from finecausal_cli.weights import CONFIG_NAME, read_manifest
from finecausal_cli.weights.hub import resolve_weights

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator

    from finecausal_cli.batch import BatchConfig
    from finecausal_cli.batch.records import Job, Row
    from finecausal_cli.retrieval.own_bank import BankNames


# Weights and their bank as bytes, to be loaded where there is no common disk.


@dataclass(frozen=True, slots=True)
class ModelBundle:
    """Everything that scoring needs, and nothing else: no thumbnails, no model card.

    Attributes:
        weights_name: Name of the folder of weights: rows carry it.
        weights: Its files by name.
        banks: Name and files by name of each bank that votes, in their order: rows carry their names too.
        calibrate: Whether votes are corrected by the dives of a bank of one's own.
    """

    weights_name: str
    weights: dict[str, bytes]
    banks: tuple[tuple[str, dict[str, bytes]], ...]
    calibrate: bool = True

    @classmethod
    def pack(cls, weights: str, banks: BankNames = None, *, calibrate: bool = True) -> ModelBundle:
        """Read the files of weights and bank; they are checked where they are unpacked.

        Args:
            weights: Name of bundled weights, or a folder.
            banks: The banks, as for ``Scorer.load``; the weights' own when absent.
            calibrate: As for ``Scorer.load``.

        Raises:
            WeightsError: There are no such weights.
            BankError: There is no such bank.
            FinecausalError: A file cannot be read.
        """
        folder = resolve_weights(weights)
        return cls(
            folder.name,
            _read(folder, [CONFIG_NAME, *read_manifest(folder).shards]),
            tuple(
                (name, _read(bank, [INDEX_NAME, read_index(bank).encodings_name]))
                for name, bank in resolve_banks(banks, folder)
            ),
            calibrate,
        )

    def unpack(self, *, device: str, precision: str) -> Scorer:
        """Load what was packed; the files are on the disk only meanwhile.

        Raises:
            WeightsError: The weights cannot be trusted.
            BankError: The bank is damaged or of other weights.
            UsageError: The device or precision is not to be had.
        """
        with tempfile.TemporaryDirectory(prefix="finecausal-") as folder:
            weights = _write(Path(folder, "weights"), self.weights_name, self.weights)
            banks = tuple(
                _write(Path(folder, "banks", str(place)), name, files) for place, (name, files) in enumerate(self.banks)
            )
            return Scorer.load(str(weights), bank=banks, device=device, precision=precision, calibrate=self.calibrate)


def _read(folder: Path, names: list[str]) -> dict[str, bytes]:
    try:
        return {name: (folder / name).read_bytes() for name in names}
    except OSError as error:
        raise FinecausalError(f"cannot be read: {error.strerror}", where=error.filename) from None


def _write(parent: Path, name: str, files: dict[str, bytes]) -> Path:
    # A folder given as "." or ".." has no name of its own.
    folder = parent / (name if name not in ("", "..") else "here")
    folder.mkdir(parents=True)
    for file, content in files.items():
        (folder / file).write_bytes(content)
    return folder


# How many actors of a cluster score dives, and what each of them has.

_GPU_BATCH = 8
_MOST_PER_GPU = 4
"""Actors that share a GPU: one scores while others wait for their clips to be read."""


@dataclass(frozen=True, slots=True)
class Pool:
    """The actors of a run.

    Attributes:
        size: How many at most, each with one process that reads; one a core, or up to four a GPU, unless it is given.
        device: Where they compute.
        gpus_each: Share of a GPU that one takes.
        batch_size: Dives that one scores together.
    """

    size: int
    device: str
    gpus_each: float
    batch_size: int


def plan_pool(resources: dict[str, float], config: BatchConfig) -> Pool:
    """Decide how many actors there are and what each has.

    Args:
        resources: What the cluster has in all, as Ray counts it: ``CPU`` and ``GPU``.
        config: ``workers``, ``batch_size`` and the device: ``auto`` for GPUs if the cluster has any.

    Raises:
        UsageError: GPUs are required, and there are none.
    """
    cpus, gpus = (int(resources.get(name, 0)) for name in ("CPU", "GPU"))
    device, workers = config.runtime.device, config.workers
    if device == "cuda" and not gpus:
        raise UsageError("the cluster has no GPU", where="--device cuda", hint="--device auto or cpu")
    if device == "cpu" or not gpus:
        return Pool(workers or max(1, cpus), "cpu", 0.0, config.batch_size or 1)
    each = min(max(1, cpus // gpus), _MOST_PER_GPU) if workers is None else -(-workers // gpus)
    # Ray counts in ten-thousandths: rounded down, so that the last actor still fits.
    return Pool(workers or each * gpus, "cuda", 10_000 // each / 10_000, config.batch_size or _GPU_BATCH)


# Score on a Ray cluster: actors hold the model, videos are shared out among them, and their rows come back.
#
# What a row says, the journal, resuming and exit codes are those of one machine: this is one more source of outcomes
# (``batch.runner.OutcomeSource``). Weights and bank travel through Ray's object store, once to each machine; of a
# video only the path does, so every machine must see the videos under the same paths.

INSTALL_HINT = "pip install 'finecausal-cli[ray]', here and on every machine of the cluster"

_CONNECT_S = 5.0
"""Most seconds that the cluster's first machine may take to answer."""

_RETRIES = 2
"""How often a dive is tried again whose actor died. One that kills its actor each time must not do so for ever."""

_GO_ON = "what is scored is kept: run it again"


def check_address(address: str) -> tuple[str, int] | None:
    """Take the address of a cluster apart.

    Returns:
        Host and port; None for ``auto``, which leaves finding it to Ray.

    Raises:
        UsageError: It is neither ``auto`` nor HOST:PORT.
    """
    if address == "auto":
        return None
    host, _, port = address.rpartition(":")
    if "/" in address or not host or not port.isdecimal() or not 0 < int(port) < 2**16:
        hint = "auto, or HOST:PORT of its head; run this on a machine of the cluster"
        raise UsageError(f"{address!r} is no address of a cluster", where="--cluster", hint=hint)
    return host.removeprefix("[").removesuffix("]"), int(port)


@contextmanager
def connect(address: str) -> Iterator[Cluster]:
    """Join a running cluster from one of its machines, and leave it at the end.

    Args:
        address: ``auto``, or HOST:PORT of its head.

    Raises:
        UsageError: That is no address, or Ray is not installed.
        FinecausalError: No cluster answers there.
    """
    endpoint = check_address(address)
    ray = _import_ray()
    if ray.is_initialized():  # a program that uses Ray itself
        yield Cluster(ray)
        return
    hint = "start one with: ray start --head; and run this on one of its machines"
    try:
        if endpoint is not None:
            socket.create_connection(endpoint, _CONNECT_S).close()  # Ray itself would try for a minute
        with _hushed():
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except Exception as error:
        raise FinecausalError(
            f"no cluster to be reached: {_first_line(error)}", where=f"--cluster {address}", hint=hint
        ) from error
    try:
        yield Cluster(ray)
    finally:
        ray.shutdown()


class Cluster:
    """A cluster that this process has joined; see `connect`.

    Args:
        ray: The module, connected.
    """

    def __init__(self, ray: Any) -> None:
        self._ray = ray

    def score_jobs(
        self, bundle: ModelBundle, settings: RunSettings, jobs: Iterable[Job], config: BatchConfig
    ) -> Iterator[Outcome]:
        """Score dives and give what becomes of each as it comes, in any order.

        An actor that dies is replaced and its dives are tried again; what it takes with it each time becomes a failed
        row. Close the iterator when it is not run to its end.

        Args:
            bundle: Weights and bank.
            settings: What the jobs' keys were made with; every actor must score with just that.
            jobs: The dives.
            config: How to use the cluster.

        Raises:
            UsageError: GPUs are required, and there are none.
            FinecausalError: The cluster is gone, or its machines cannot score alike.
        """
        pool = plan_pool(self._ray.cluster_resources(), config)
        start = {
            "bundle": self._ray.put(bundle),
            "settings": settings,
            "version": __version__,
            "device": pool.device,
            "timeout_s": config.timeout_s,
        }
        left = dict(enumerate(jobs))
        # One that kills its actor takes its batch with it: those are tried once more, each alone.
        for size in sorted({pool.batch_size, 1}, reverse=True):
            if left:
                for row in self._pass(left, pool, size, start):
                    yield Outcome(row, row.assessment)
        for job in left.values():
            died = FinecausalError(f"the process that scored it died {_RETRIES + 1} times", kind="crashed")
            yield Outcome(failed_row(job, died), died)

    def _pass(self, left: dict[int, Job], pool: Pool, size: int, start: dict[str, Any]) -> Iterator[Row]:
        """Give rows, and take their jobs from those left; a job whose actor died too often stays."""
        with closing(self._answers(dict(left), pool, size, start)) as answers:
            for index, answer in answers:
                if isinstance(answer, FinecausalError):
                    raise answer
                if left.pop(index, None) is not None:  # what was tried again may come twice
                    yield from answer

    def _answers(
        self, jobs: dict[int, Job], pool: Pool, size: int, start: dict[str, Any]
    ) -> Generator[tuple[int, tuple[Row, ...] | FinecausalError]]:
        data = _quiet_data()
        # A block is what an actor takes at once, and its rows come when it is done: as small as a batch.
        dataset = data.from_items(
            [{"index": index, "job": pickle.dumps(job)} for index, job in jobs.items()],
            override_num_blocks=-(-len(jobs) // size),
        ).map_batches(
            ScoringActor,
            fn_constructor_kwargs=start,
            batch_size=None,
            batch_format="pyarrow",
            # A second dive waiting at an actor would share the blame for its death.
            compute=data.ActorPoolStrategy(
                min_size=1, max_size=pool.size, initial_size=pool.size, max_tasks_in_flight_per_actor=1
            ),
            num_cpus=1,
            num_gpus=pool.gpus_each,
            max_restarts=-1,
            max_task_retries=_RETRIES,
        )
        try:
            for batch in dataset.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
                for index, answer in zip(batch["index"].to_pylist(), batch["answer"].to_pylist(), strict=True):
                    # S301: written by our own actors; whoever could forge it runs code on the cluster anyway.
                    yield index, pickle.loads(answer)  # noqa: S301
        except Exception as error:
            raise FinecausalError(f"the cluster failed: {_first_line(error)}", hint=_GO_ON) from error


class ScoringActor:
    """An actor: a scorer with its reading process. Never raises: what is wrong with it is its answer.

    Args:
        bundle: Reference to weights and bank in the object store.
        settings: What it must score with.
        version: Version of finecausal that sent the work.
        device: ``cpu`` or ``cuda``.
        timeout_s: Most seconds that reading one clip may take.
    """

    def __init__(self, bundle: Any, settings: RunSettings, version: str, device: str, timeout_s: float) -> None:
        self._problem: FinecausalError | None = None
        try:
            if version != __version__:
                what = f"finecausal {__version__}, and {version} sent the work"
                raise FinecausalError(what, hint="install the same version on every machine")
            torch.set_num_threads(1)
            scorer = _import_ray().get(bundle).unpack(device=device, precision=settings.precision)
            if RunSettings.of(scorer) != settings:
                raise FinecausalError("weights or bank changed while they were sent", hint="run it again")
            self._scorer = JobScorer(scorer, timeout_s=timeout_s)
        except Exception as error:
            cause = error if isinstance(error, FinecausalError) else FinecausalError(_first_line(error))
            where = f"worker {socket.gethostname()}"
            self._problem = FinecausalError(f"cannot score: {cause}", where=where)

    def __call__(self, batch: pa.Table) -> pa.Table:
        """Turn jobs into rows: columns ``index`` and ``job`` into ``index`` and ``answer``, pickled."""
        indices = batch["index"].to_pylist()
        if self._problem is not None:
            answers: list[Any] = [self._problem] * len(indices)
        else:
            # S301: written by the process that started this one.
            answers = list(self._scorer.rows([pickle.loads(job) for job in batch["job"].to_pylist()]))  # noqa: S301
        return pa.table({"index": indices, "answer": [pickle.dumps(answer) for answer in answers]})


def _import_ray() -> Any:
    """Return the module.

    Raises:
        UsageError: It is not installed.
    """
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # what fails is ours to say, in one line
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise UsageError(f"a cluster needs Ray: {_first_line(error)}", where="--cluster", hint=INSTALL_HINT) from None
    return ray


@contextmanager
def _hushed() -> Iterator[None]:
    """Keep the file of standard error shut: Ray's core greets there, whatever its log level, and raises what fails."""
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(nowhere)
        os.close(kept)


def _quiet_data() -> Any:
    """Return ``ray.data``, set to leave the screen alone and to outlive actors that die."""
    data = _import_ray().data
    context = data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.max_errored_blocks = -1
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    # Ray 2.60 says so of the number of retries and names nothing in its place.
    warnings.filterwarnings("ignore", message="`ray_remote_args` is deprecated")
    return data


def _first_line(error: Exception) -> str:
    """Return what an error says, without the traceback that Ray adds: the last line of it says most."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    return lines[-1] if "Traceback" in str(error) else lines[0]
