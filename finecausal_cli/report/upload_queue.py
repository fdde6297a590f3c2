"""The queue of ``finecausal serve``: uploads in, explanations out, one at a time by one scorer that stays loaded."""

from __future__ import annotations

import logging
import os
import secrets
import shutil
import threading
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import platformdirs
from filelock import FileLock, Timeout

from finecausal_cli.batch import TIMEOUT_S
from finecausal_cli.errors import FinecausalError, OutputError, RefusedError
from finecausal_cli.report.output import to_json
from finecausal_cli.report.pages import write_page
from finecausal_cli.scoring import ExplainOptions, ScoreOptions
from finecausal_cli.scoring.dive_reading import ReadAhead, reading_process
from finecausal_cli.scoring.results import Unscored
from finecausal_cli.scoring.scorer import Scorer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType

    from finecausal_cli.config import RuntimeConfig

logger = logging.getLogger(__name__)

State = Literal["waiting", "reading", "scoring", "done", "refused", "failed"]
"""``refused``: the video can be read and shows no dive to judge."""

MOST_WAITING: Final = 100
"""Uploads that may wait; a further one is refused."""

MOST_KEPT: Final = 50
"""Results that are kept; the oldest goes first, so that memory and disk do not grow."""

_LOCK_NAME: Final = ".lock"
_FINISHED: Final = ("done", "refused", "failed")


# A private folder that goes when the process ends; one that a crash has left goes at the next start.


def default_folder() -> Path:
    """Return where the private folders of running servers lie."""
    return Path(platformdirs.user_cache_dir("finecausal", appauthor=False)) / "serve"


class PrivateFolder:
    """A folder that only this user may enter, locked while the process lives. Use it as a context manager.

    Args:
        parent: Where it is made; folders in it whose process is gone are removed.
    """

    def __init__(self, parent: Path | None = None) -> None:
        self._parent = parent or default_folder()
        self.path = self._parent / f"{os.getpid()}-{secrets.token_hex(4)}"
        self._lock = FileLock(self.path / _LOCK_NAME)

    def __enter__(self) -> PrivateFolder:
        """Make the folder, and remove those of servers that crashed.

        Raises:
            OutputError: It cannot be made.
        """
        try:
            self._parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._remove_leftovers()
            self.path.mkdir(mode=0o700)
            self._lock.acquire(blocking=False)
        except OSError as error:
            what = f"no folder for uploads can be made: {error.strerror or error}"
            raise OutputError(what, where=self.path, hint="check the folder, its rights and the free space") from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.release()
        shutil.rmtree(self.path, ignore_errors=True)

    def _remove_leftovers(self) -> None:
        for folder in self._parent.iterdir():
            lock = FileLock(folder / _LOCK_NAME)
            try:
                lock.acquire(blocking=False)
            except (Timeout, OSError):
                continue
            lock.release()
            shutil.rmtree(folder, ignore_errors=True)


# Uploads.


@dataclass(slots=True)
class Upload:
    """One video, from its upload to its result.

    Attributes:
        id: Cannot be guessed.
        name: Of the file, for people.
        options: What the form says of the dive.
        bank: Exemplar banks by name; None for those of the command.
        folder: Of its own; the video is in it until it is scored, then the result.
        state: How far it is.
        progress: Share of the dive search that is done, 0 to 1.
        message: Why there is no result, or no points.
        facts: Of the result, for the list.
    """

    id: str
    name: str
    options: ScoreOptions
    bank: str | None
    folder: Path
    state: State = "waiting"
    progress: float = 0.0
    message: str = ""
    facts: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def video(self) -> Path:
        """The uploaded file."""
        return self.folder / self.name

    @property
    def page(self) -> Path:
        """The page of its explanation."""
        return self.folder / "result.html"

    @property
    def result(self) -> Path:
        """The explanation, or the refusal, as JSON."""
        return self.folder / "result.json"

    def describe(self, place: int | None) -> dict[str, Any]:
        """Return what the list shows of it; ``place`` counts from 1 where it waits."""
        shown = ("id", "name", "state", "message", "facts")
        return {name: getattr(self, name) for name in shown} | {
            "progress": round(self.progress, 3),
            "seconds": round(self.seconds, 1),
            "place": place,
            "has_page": self.state == "done",
        }


class UploadQueue:
    """Explains uploads one after the other in a thread of its own, from ``start`` to ``stop``.

    Args:
        runtime: Weights, bank and device.
        folder: A private folder.
        load: Loads a scorer; ``Scorer.load`` when absent.
        options: How to explain.
    """

    def __init__(
        self,
        runtime: RuntimeConfig,
        folder: Path,
        *,
        load: Callable[[RuntimeConfig], Scorer] | None = None,
        options: ExplainOptions | None = None,
    ) -> None:
        self._runtime, self._folder = runtime, folder
        self._load = load or (lambda config: Scorer.load(**asdict(config)))
        self._options = options or ExplainOptions()
        self._scorer: tuple[str | None, Scorer] | None = None
        self._uploads: dict[str, Upload] = {}
        self._receiving: set[str] = set()
        self._lock = threading.Condition()  # for both, and for the state of an upload while it waits
        self._is_stopping = False
        self._process = reading_process()
        self._thread = threading.Thread(target=self._work, name="scoring", daemon=True)

    def load(self) -> Scorer:
        """Load the weights, so that what is wrong with them is said before anybody uploads."""
        return self._scorer_of(self._runtime.bank)

    def start(self) -> None:
        """Begin to work."""
        self._process.start()
        self._thread.start()

    def stop(self, timeout_s: float = 20.0) -> bool:
        """End the upload under way and forget the others; return whether the thread has ended in time."""
        with self._lock:
            self._is_stopping = True
            self._lock.notify_all()
        self._process.close()
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def prepare(self, name: str, options: ScoreOptions, bank: str | None) -> Upload | None:
        """Make the folder of an upload, whose video the caller then writes before it adds or abandons it.

        Returns:
            The upload; None where as many wait, or are being received, as may.
        """
        upload_id = secrets.token_urlsafe(12)
        upload = Upload(upload_id, name, options, bank, self._folder / upload_id)
        with self._lock:
            waiting = sum(each.state == "waiting" for each in self._uploads.values())
            if waiting + len(self._receiving) >= MOST_WAITING:
                return None
            upload.folder.mkdir(mode=0o700)
            self._receiving.add(upload_id)
        return upload

    def abandon(self, upload: Upload) -> None:
        """Forget an upload whose video has not arrived."""
        with self._lock:
            self._receiving.discard(upload.id)
        shutil.rmtree(upload.folder, ignore_errors=True)

    def add(self, upload: Upload) -> None:
        """Put an upload whose video is complete into the queue."""
        with self._lock:
            self._receiving.discard(upload.id)
            self._uploads[upload.id] = upload
            self._lock.notify_all()
            finished = [each for each in self._uploads.values() if each.state in _FINISHED]
            for oldest in finished[: max(0, len(finished) - MOST_KEPT)]:
                del self._uploads[oldest.id]
                shutil.rmtree(oldest.folder, ignore_errors=True)

    def remove(self, upload_id: str) -> bool:
        """Forget an upload that is finished or waits; False where there is none such."""
        with self._lock:
            upload = self._uploads.get(upload_id)
            if upload is None or upload.state not in (*_FINISHED, "waiting"):
                return False
            del self._uploads[upload_id]
        shutil.rmtree(upload.folder, ignore_errors=True)
        return True

    def find(self, upload_id: str) -> Upload | None:
        """Return an upload; None where there is none."""
        return self._uploads.get(upload_id)

    def describe(self) -> list[dict[str, Any]]:
        """Return what the list shows, the newest upload first."""
        with self._lock:
            uploads = list(self._uploads.values())
        waiting = [upload.id for upload in uploads if upload.state == "waiting"]
        places = {upload_id: place for place, upload_id in enumerate(waiting, start=1)}
        return [upload.describe(places.get(upload.id)) for upload in reversed(uploads)]

    def _claim(self) -> Upload | None:
        """Wait for an upload and take it, so that nobody can remove it any more; None says that it is over."""
        with self._lock:
            while not self._is_stopping:
                upload = next((each for each in self._uploads.values() if each.state == "waiting"), None)
                if upload is not None:
                    upload.state = "reading"
                    return upload
                self._lock.wait()
        return None

    def _work(self) -> None:
        while (upload := self._claim()) is not None:
            started = time.monotonic()
            try:
                upload.state, upload.message = self._explain(upload)
            except FinecausalError as error:
                where = None if error.where == str(upload.video) else error.where
                what = " ".join(filter(None, (where and f"{where}:", error.what)))
                upload.message = what if error.hint is None else f"{what} ({error.hint})"
                upload.state = "failed"
            except Exception as error:
                why = f"{type(error).__name__}: {' '.join(str(error).split())}"
                logger.error("an upload could not be scored: %s", why)
                logger.debug("where that happened", exc_info=True)
                upload.state, upload.message = "failed", f"an error of this program: {why}"
            upload.seconds = time.monotonic() - started
            with suppress(OSError):
                upload.video.unlink()

    def _explain(self, upload: Upload) -> tuple[State, str]:
        scorer, path = self._scorer_of(upload.bank), str(upload.video)
        options = replace(upload.options, timeout_s=TIMEOUT_S)
        with self._read_ahead(upload, scorer, options) as ahead:
            try:
                explanation, evidence = scorer.explain(path, options, self._options, ahead=ahead)
            except RefusedError as error:
                if not isinstance(error.found, Unscored):
                    raise
                refusal = error.found.renamed(path, upload.name)
                upload.result.write_text(to_json(refusal), encoding="utf-8")
                return "refused", refusal.message
        write_page(upload.page, explanation, evidence, source=upload.name, timeout_s=TIMEOUT_S, process=self._process)
        explanation = explanation.renamed(path, upload.name)
        upload.result.write_text(to_json(explanation), encoding="utf-8")
        assessment = explanation.assessment
        upload.facts = {
            "score": assessment.score,
            "mark": round(assessment.mark, 2),
            "dive": assessment.dive,
            "height_m": assessment.height_m,
        }
        return "done", "" if assessment.score is not None else assessment.points_withheld or ""

    def _read_ahead(self, upload: Upload, scorer: Scorer, options: ScoreOptions) -> ReadAhead:
        def show(share: float) -> None:
            upload.progress = share
            if share >= 1:
                upload.state = "scoring"

        ahead = ReadAhead(str(upload.video), options.wanted, scorer.viewing, timeout_s=TIMEOUT_S, process=self._process)
        ahead.progress = show
        return ahead

    def _scorer_of(self, bank: str | None) -> Scorer:
        """Return the scorer of a bank; one is kept, and another bank replaces it."""
        bank = bank or self._runtime.bank
        if self._scorer is None or self._scorer[0] != bank:
            self._scorer = None  # first, so that there are never two in memory
            self._scorer = bank, self._load(replace(self._runtime, bank=bank))
        return self._scorer[1]


def list_banks(runtime: RuntimeConfig) -> Sequence[str]:
    """Return the banks that the form offers: those of the weights, and of one's own where there is one."""
    from finecausal_cli.retrieval import BUNDLED
    from finecausal_cli.retrieval.own_bank import OwnBank

    own = OwnBank.open("mine")
    others = [own.name, f"{own.name}+{BUNDLED}"] if own.exists else []
    return list(dict.fromkeys([runtime.bank or BUNDLED, BUNDLED, *others]))
