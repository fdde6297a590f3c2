"""``finecausal serve``: a page on this machine to drop videos on. Python's own HTTP server, no further package.

Nothing leaves the machine: the pages load nothing from elsewhere, and their policy forbids it. Only this machine is
listened to unless another host is asked for. A page of another site cannot use the server: names that point here are
refused (``Host``), and so are requests that another origin sends (``Origin``, and a header of our own, for which a
browser would have to ask first). There is no cross-origin permission.
"""

from __future__ import annotations

import ipaddress
import json
import logging
import secrets
import shutil
import signal
import socket
import threading
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs, urlsplit

from finecausal_cli.config import __version__
from finecausal_cli.diving import parse_dive_number
from finecausal_cli.errors import FinecausalError, OutputError
from finecausal_cli.report.output import render_page
from finecausal_cli.report.upload_queue import PrivateFolder, UploadQueue, list_banks
from finecausal_cli.scoring import ScoreOptions
from finecausal_cli.video.source import VIDEO_SUFFIXES
from finecausal_cli.weights import caveat_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import FrameType, TracebackType

    from finecausal_cli.config import RuntimeConfig
    from finecausal_cli.report import ServeOptions
    from finecausal_cli.report.upload_queue import Upload
    from finecausal_cli.weights import TrainedOn

logger = logging.getLogger(__name__)

OWN_HEADER: Final = "X-Finecausal"
"""Sent by our page with whatever changes something. A page of another site would need a permission for it."""

_CHUNK: Final = 1 << 16
_SPARE_BYTES: Final = 256 * 2**20
"""Free space that an upload must leave on the disk."""

_DRAIN_BYTES: Final = 8 * 2**20
"""What is read of a body that is refused, so that a browser shows the answer and not a broken connection."""

_MOST_CONNECTIONS: Final = 32
_LOOK_S: Final = 0.5
_LONGEST_NAME: Final = 100
_PAGE_POLICY: Final = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'nonce-{nonce}'; connect-src 'self'; img-src data:; "
    "form-action 'none'; frame-ancestors 'none'; base-uri 'none'"
)
_RESULT_POLICY: Final = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data: blob:; "
    "media-src data: blob:; connect-src 'none'; form-action 'none'; frame-ancestors 'none'; base-uri 'none'"
)
"""The page of a result is a file that works alone: its script and style are in it, and it asks for nothing."""


class RequestRefusedError(Exception):
    """A request is refused: status and why."""

    def __init__(self, status: HTTPStatus, why: str) -> None:
        self.status, self.why = status, why
        super().__init__(why)


class UploadServer(ThreadingHTTPServer):
    """Listens, and hands uploads to the queue.

    Args:
        options: Where, and what is taken.
        uploads: The queue.
        banks: Names of banks that the form offers.
        trained_on: Which dives the weights were trained on, for the page's first line.
    """

    daemon_threads = True
    request_queue_size = _MOST_CONNECTIONS

    def __init__(
        self, options: ServeOptions, uploads: UploadQueue, *, banks: Sequence[str], trained_on: TrainedOn
    ) -> None:
        self.uploads, self.banks, self.trained_on = uploads, banks, trained_on
        self.most_bytes: Final = options.max_mb * 10**6
        self.is_local: Final = is_loopback(options.host)
        self._slots = threading.BoundedSemaphore(_MOST_CONNECTIONS)
        if ":" in options.host:
            self.address_family = socket.AF_INET6
        try:
            super().__init__((options.host, options.port), _Handler)
        except (OSError, OverflowError) as error:
            what = f"cannot listen: {getattr(error, 'strerror', None) or error}"
            hint = "--port 0 takes a free port" if _is_taken(error) else "check --host and --port"
            raise OutputError(what, where=f"{options.host}:{options.port}", hint=hint) from None
        self._names = {options.host, "localhost"} if self.is_local else {options.host, socket.gethostname()}

    @property
    def url(self) -> str:
        """The address of the page."""
        host, port = str(self.server_address[0]), self.server_address[1]
        return f"http://{f'[{host}]' if ':' in host else host}:{port}/"

    def knows(self, host: str | None) -> bool:
        """Tell whether a ``Host`` header names this server: a name of another site that points here does not."""
        if host is None:
            return False
        name = urlsplit(f"//{host}")
        try:
            port, hostname = name.port, name.hostname
        except ValueError:
            return False
        if port not in (None, self.server_address[1]) or hostname is None:
            return False
        if hostname in {each.lower() for each in self._names}:
            return True
        # An address, which no name server can turn into another; of this machine alone, if it listens there alone.
        return is_loopback(hostname) if self.is_local else _is_address(hostname)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Handle a connection in a thread of its own; too many at once are closed."""
        if not self._slots.acquire(timeout=1):
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Handle a connection, then let another one in."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._slots.release()

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - of the standard library
        """Log what went wrong with a connection: browsers close them as they like."""
        logger.debug("a connection failed", exc_info=True)


def is_loopback(host: str) -> bool:
    """Tell whether an address or name is of this machine alone."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _is_taken(error: BaseException) -> bool:
    return getattr(error, "errno", None) in (48, 98, 10048)


class _Handler(BaseHTTPRequestHandler):
    """One connection."""

    server: UploadServer
    server_version = "finecausal"
    sys_version = ""
    timeout = 60  # seconds without a byte
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer(self._get)

    def do_POST(self) -> None:
        self._answer(self._post)

    def do_DELETE(self) -> None:
        self._answer(self._delete)

    def log_message(self, format: str, *values: Any) -> None:  # noqa: A002 - of the standard library
        logger.debug(format, *values)

    def _answer(self, work: Callable[[str], None]) -> None:
        path, announced = urlsplit(self.path).path, self.headers.get("Content-Length", "")
        self._unread = int(announced) if announced.isascii() and announced.isdigit() else 0
        try:
            if not self.server.knows(self.headers.get("Host")):
                raise RequestRefusedError(HTTPStatus.MISDIRECTED_REQUEST, "this server is not known by that name")
            if self.command != "GET":
                self._check_origin()
            work(path)
        except RequestRefusedError as refusal:
            self.close_connection = True
            self._send_json({"error": refusal.why}, refusal.status)
            self._drain()

    def _check_origin(self) -> None:
        """Refuse what a page of another site sends."""
        origin = self.headers.get("Origin")
        is_ours = origin is None or self.server.knows(urlsplit(origin).netloc)
        if not is_ours or self.headers.get(OWN_HEADER) is None:
            raise RequestRefusedError(HTTPStatus.FORBIDDEN, "only the page of this server may do that")

    def _get(self, path: str) -> None:
        if path == "/":
            nonce = secrets.token_urlsafe(12)
            page = serve_page(self.server, nonce).encode()
            self._send(page, "text/html; charset=utf-8", policy=_PAGE_POLICY.format(nonce=nonce))
        elif path == "/uploads":
            self._send_json({"uploads": self.server.uploads.describe()})
        elif path.startswith("/results/"):
            self._send_result(path.removeprefix("/results/"))
        else:
            raise RequestRefusedError(HTTPStatus.NOT_FOUND, "there is no such page")

    def _send_result(self, name: str) -> None:
        upload_id, _, ending = name.partition(".")
        upload = self.server.uploads.find(upload_id)
        file = None if upload is None else {"": upload.page, "json": upload.result}.get(ending)
        try:
            content = None if file is None else file.read_bytes()
        except OSError:
            content = None
        if content is None:
            raise RequestRefusedError(
                HTTPStatus.NOT_FOUND, "there is no such result, or it has made room for newer ones"
            )
        kind = "application/json" if ending else "text/html"
        self._send(content, f"{kind}; charset=utf-8", policy=_RESULT_POLICY)

    def _delete(self, path: str) -> None:
        if not self.server.uploads.remove(path.removeprefix("/uploads/")):
            raise RequestRefusedError(HTTPStatus.NOT_FOUND, "there is no such upload, or it is being scored")
        self._send_json({})

    def _post(self, path: str) -> None:
        if path != "/uploads":
            raise RequestRefusedError(HTTPStatus.NOT_FOUND, "there is no such page")
        fields = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
        size = self._announced_size()
        name = safe_name(fields.get("name", ""))
        upload = self.server.uploads.prepare(name, score_options(fields), self._bank(fields.get("bank", "")))
        if upload is None:
            raise RequestRefusedError(
                HTTPStatus.SERVICE_UNAVAILABLE, "too many videos wait: try again when some are done"
            )
        try:
            self._receive(upload, size)
        except BaseException:
            self.server.uploads.abandon(upload)
            raise
        self.server.uploads.add(upload)
        self._send_json({"id": upload.id}, HTTPStatus.CREATED)

    def _announced_size(self) -> int:
        text = self.headers.get("Content-Length", "")
        if not (text.isascii() and text.isdigit()) or self.headers.get("Transfer-Encoding"):
            raise RequestRefusedError(HTTPStatus.LENGTH_REQUIRED, "the size of the video must be announced")
        size, most = int(text), self.server.most_bytes
        if size > most:
            raise RequestRefusedError(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"larger than {most / 10**6:g} MB: see --max-mb"
            )
        if size == 0:
            raise RequestRefusedError(HTTPStatus.BAD_REQUEST, "the file is empty")
        return size

    def _bank(self, bank: str) -> str | None:
        if bank and bank not in self.server.banks:  # a name of the form, never a path
            raise RequestRefusedError(HTTPStatus.BAD_REQUEST, f"there is no exemplar bank {bank!r}")
        return bank or None

    def _receive(self, upload: Upload, size: int) -> None:
        """Write the body into the upload's file, piece by piece, if the disk has room for what was announced."""
        if shutil.disk_usage(upload.folder).free < size + _SPARE_BYTES:
            raise RequestRefusedError(HTTPStatus.INSUFFICIENT_STORAGE, "the disk of this machine is too full for it")
        left = size
        try:
            with upload.video.open("wb") as file:
                while left:
                    chunk = self.rfile.read(min(left, _CHUNK))
                    if not chunk:
                        raise RequestRefusedError(HTTPStatus.BAD_REQUEST, "the upload was cut short")
                    file.write(chunk)
                    left -= len(chunk)
                    self._unread = left
        except TimeoutError:
            raise RequestRefusedError(HTTPStatus.REQUEST_TIMEOUT, "the upload stopped") from None
        except OSError as error:
            if isinstance(error, ConnectionError):
                raise RequestRefusedError(HTTPStatus.BAD_REQUEST, "the upload was cut short") from None
            raise RequestRefusedError(
                HTTPStatus.INSUFFICIENT_STORAGE, f"it cannot be stored: {error.strerror}"
            ) from None

    def _drain(self) -> None:
        """Read some of a body that nobody wants."""
        left = min(self._unread, _DRAIN_BYTES)
        with suppress(OSError):
            self.connection.settimeout(2)
            while left > 0 and (chunk := self.rfile.read(min(left, _CHUNK))):
                left -= len(chunk)

    def _send_json(self, content: dict[str, Any], status: HTTPStatus = HTTPStatus.OK) -> None:
        text = json.dumps(content, ensure_ascii=False).encode("utf-8", "replace")
        self._send(text, "application/json; charset=utf-8", status=status)

    def _send(
        self, content: bytes, kind: str, *, status: HTTPStatus = HTTPStatus.OK, policy: str = "default-src 'none'"
    ) -> None:
        self.send_response(status)
        for name, value in (
            ("Content-Type", kind),
            ("Content-Length", str(len(content))),
            ("Content-Security-Policy", policy),
            ("Cache-Control", "no-store"),
            ("X-Content-Type-Options", "nosniff"),
            ("X-Frame-Options", "DENY"),
            ("Referrer-Policy", "no-referrer"),
            ("Cross-Origin-Opener-Policy", "same-origin"),
            ("Cross-Origin-Resource-Policy", "same-origin"),
            *((("Connection", "close"),) if self.close_connection else ()),
        ):
            self.send_header(name, value)
        with suppress(ConnectionError):  # the browser has gone
            self.end_headers()
            self.wfile.write(content)
            self.wfile.flush()


def safe_name(name: str) -> str:
    """Return the name of an uploaded file without its folders, as it may be written here.

    Raises:
        RequestRefusedError: It is not the name of a video.
    """
    base = name.replace("\\", "/").rpartition("/")[2]
    base = "".join(char for char in base if char.isprintable()).strip().lstrip(".")
    stem, suffix = Path(base).stem, Path(base).suffix.lower()
    if suffix not in VIDEO_SUFFIXES:
        kinds = ", ".join(sorted(VIDEO_SUFFIXES))
        raise RequestRefusedError(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"{base or 'this'} is not a video: {kinds} are taken"
        )
    while len((stem + suffix).encode()) > _LONGEST_NAME:
        stem = stem[:-1]
    return stem + suffix


def score_options(fields: dict[str, str]) -> ScoreOptions:
    """Return what the form says of a dive.

    Raises:
        RequestRefusedError: The dive number, the height or the difficulty is wrong.
    """
    try:
        number = parse_dive_number(fields["dive"]) if fields.get("dive") else None
        height_m = float(fields["height"].replace(",", ".")) if fields.get("height") else None
        return ScoreOptions(dive=None if number is None else str(number), height_m=height_m)
    except ValueError:
        raise RequestRefusedError(HTTPStatus.BAD_REQUEST, f"{fields['height']!r} is not a height in metres") from None
    except FinecausalError as error:
        raise RequestRefusedError(
            HTTPStatus.BAD_REQUEST, f"{error.what}" + (f" ({error.hint})" if error.hint else "")
        ) from None


def serve_page(server: UploadServer, nonce: str) -> str:
    """Return the page on which videos are dropped."""
    caveat = caveat_of(server.trained_on)
    return render_page(
        "serve_page.html",
        version=__version__,
        nonce=nonce,
        caveats=[] if caveat is None else [caveat],
        banks=server.banks,
        suffixes=sorted(VIDEO_SUFFIXES),
        most_mb=server.most_bytes / 10**6,
        header=OWN_HEADER,
        is_local=server.is_local,
    )


# Run it until a signal.


class _EndedError(BaseException):
    """A signal has come while the weights were loaded."""


class _Signals:
    """Takes note of Ctrl-C and SIGTERM. Use it as a context manager.

    Attributes:
        code: Exit code of the signal that has come; 0 before.
        come: Set by the signal.
        interrupts: Whether a signal also interrupts what the main thread does. Not while it waits for one: an exception
            that is raised anywhere may be swallowed there, and the signal would be lost.
    """

    def __init__(self) -> None:
        self.code = 0
        self.come = threading.Event()
        self.interrupts = True

    def __enter__(self) -> _Signals:
        self._before = {each: signal.signal(each, self._handle) for each in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for each, handler in self._before.items():
            signal.signal(each, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 - of the standard library
        if self.code:  # a second one must not leave files behind
            return
        self.code = 128 + number
        self.come.set()
        if self.interrupts:
            raise _EndedError


def run_server(
    options: ServeOptions, runtime: RuntimeConfig, *, ready: Callable[[str], object], folder: Path | None = None
) -> tuple[int, bool]:
    """Serve until Ctrl-C or SIGTERM, then remove every file.

    Args:
        options: Where, and what is taken.
        runtime: Weights, bank and device.
        ready: Called with the address once the weights are loaded.
        folder: Where the private folder is made; the user's cache when absent.

    Returns:
        The exit code, 130 or 143, and whether everything has ended: a computation that goes on must be cut off.

    Raises:
        FinecausalError: The weights or the bank cannot be loaded, or the port is taken.
    """
    has_ended = True
    with _Signals() as signals, suppress(_EndedError), PrivateFolder(folder) as private:
        uploads = UploadQueue(runtime, private.path)
        trained_on = uploads.load().info.trained_on
        with UploadServer(options, uploads, banks=list_banks(runtime), trained_on=trained_on) as server:
            signals.interrupts = False
            uploads.start()
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.2}, daemon=True).start()
            ready(server.url)
            try:
                while not signals.come.wait(_LOOK_S):
                    pass  # the system may give a signal to another thread, and only this one handles it, once it wakes
            finally:
                server.shutdown()
                has_ended = uploads.stop()
    return signals.code, has_ended
