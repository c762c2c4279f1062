"""An HTTP server on this host that fails in the ways in which servers fail."""

from __future__ import annotations

import contextlib
import gzip
import socket
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from enum import Enum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Final, Self

import attrs

from journeykit.model import jsonbytes

if TYPE_CHECKING:
    import ssl

#: How long a request that is kept waiting waits at most, in seconds: longer than any test.
_FOR_EVER: Final = 60.0

#: How long a byte of a trickling answer takes, in seconds.
_DRIP: Final = 0.02


@attrs.frozen
class Received:
    """
    A request as it came, decompressed.

    Args:
        path: With the query.

        headers: Names in lower case.
    """

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """Return the body as JSON; raises `ValueError` if it is none."""
        return jsonbytes.loads(self.body)

    @property
    def text(self) -> bytes:
        """Path, headers and body in one: whatever was sent is in it."""
        head = "".join(f"{name}: {value}\n" for name, value in self.headers.items())
        return f"{self.method} {self.path}\n{head}\n".encode() + self.body


@attrs.frozen
class Reply:
    """
    An answer.

    Args:
        delay: Seconds until it is sent.
    """

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = attrs.field(factory=dict)
    delay: float = attrs.field(default=0.0, kw_only=True)

    @classmethod
    def of_json(cls, value: object, status: int = 200) -> Self:
        """Return *value* as JSON."""
        return cls(status, jsonbytes.dumps(value), {"Content-Type": "application/json"})


class Fault(Enum):
    """What a server can do to a request besides answering it."""

    #: It never answers.
    HANG = "hang"
    #: It closes the connection, and has not taken what it was sent.
    DROP = "drop"
    #: It takes what it was sent, and closes the connection before it answers.
    LOSE = "lose"
    #: It closes the connection in the middle of its answer.
    CUT = "cut"
    #: Its answer comes a byte at a time, and does not end.
    TRICKLE = "trickle"
    #: Its answer does not end.
    ENDLESS = "endless"


#: What a request meets: an answer, a status, a fault, or what a function of the request returns;
#: None for the ordinary answer.
Trouble = Reply | int | Fault | None | Callable[[Received], "Reply | int | Fault | None"]


class FaultyServer:
    """
    A server that answers 200, but for what it is told to do.

    Args:
        answer: Makes the ordinary answer; give one to stand for a system that says more than 200.

        tls: The certificate, for `https://`.
    """

    def __init__(
        self,
        answer: Callable[[Received], Reply] = lambda _: Reply(),
        *,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.answer = answer
        #: Every request that came, and those that were answered by success, or would have been.
        self.requests: list[Received] = []
        self.taken: list[Received] = []
        self.connections = 0
        self._tls = tls
        self._troubles: list[Trouble] = []
        self._lasting: Trouble = None
        self._lock = threading.Lock()
        self._port = 0
        self._listener: _Listener | None = None
        self.start()

    def __enter__(self) -> Self:
        """Return the running server."""
        return self

    def __exit__(self, *_: object) -> None:
        """Stop it."""
        self.stop()

    @property
    def url(self) -> str:
        """Where it listens, without a slash at the end."""
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self._port}"

    def then(self, *troubles: Trouble) -> None:
        """Let the next requests meet *troubles*, one each."""
        with self._lock:
            self._troubles += troubles

    @contextlib.contextmanager
    def doing(self, trouble: Trouble) -> Iterator[None]:
        """Let every request meet *trouble* while the block lasts."""
        before, self._lasting = self._lasting, trouble
        try:
            yield
        finally:
            self._lasting = before
            if self._listener is not None:
                self._listener.release()

    @contextlib.contextmanager
    def away(self) -> Iterator[None]:
        """Have nobody listen while the block lasts."""
        self.stop()
        try:
            yield
        finally:
            self.start()

    def start(self) -> None:
        """Listen, at the same port as before."""
        self._listener = _Listener(self, self._port, self._tls)
        self._port = self._listener.server_port

    def stop(self) -> None:
        """Close the connections, and listen no more."""
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.stop()

    def meet(self, request: Received) -> Reply | Fault:
        """Note *request*, and return what becomes of it."""
        with self._lock:
            self.requests.append(request)
            trouble = self._troubles.pop(0) if self._troubles else self._lasting
        if callable(trouble):
            trouble = trouble(request)
        if isinstance(trouble, int):
            trouble = Reply(trouble)
        if trouble is None:
            trouble = self.answer(request)
        lost = trouble in (Fault.LOSE, Fault.CUT, Fault.TRICKLE, Fault.ENDLESS)
        if lost or (isinstance(trouble, Reply) and trouble.status < 300):
            with self._lock:
                self.taken.append(request)
        return trouble


class _Listener(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, owner: FaultyServer, port: int, tls: ssl.SSLContext | None) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.owner = owner
        self._tls = tls
        self._open: set[socket.socket] = set()
        self._released = threading.Event()
        self._thread = threading.Thread(
            target=self.serve_forever, kwargs={"poll_interval": 0.005}, daemon=True
        )
        self._thread.start()

    def release(self) -> None:
        """Let go of the requests that are kept waiting."""
        released, self._released = self._released, threading.Event()
        released.set()

    def keep_waiting(self, seconds: float = _FOR_EVER) -> bool:
        """Wait; returns whether to wait no more."""
        return self._released.wait(seconds)

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Serve one connection."""
        self.owner.connections += 1
        if self._tls is not None:
            request = self._tls.wrap_socket(request, server_side=True)
        self._open.add(request)
        try:
            super().finish_request(request, client_address)
        finally:
            self._open.discard(request)
            if self._tls is not None:
                request.close()

    def handle_error(self, *_: Any) -> None:
        """Keep quiet about clients that have gone."""

    def stop(self) -> None:
        """Close everything."""
        self.release()
        self.shutdown()
        self._thread.join()
        for connection in list(self._open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Listener
    # The head and the body go out apart; without this the second waits for the first's arrival.
    disable_nagle_algorithm = True

    def _serve(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = Received(self.command, self.path, headers, self._body())
        outcome = self.server.owner.meet(request)
        if isinstance(outcome, Reply):
            self._reply(outcome)
        else:
            self._fail(outcome)

    do_DELETE = do_GET = do_HEAD = do_OPTIONS = do_PATCH = do_POST = do_PUT = _serve  # noqa: N815 - the names that http.server looks for

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        packed = self.headers.get("Content-Encoding", "").lower()
        if packed == "gzip":
            return gzip.decompress(body)
        return zlib.decompress(body) if packed == "deflate" else body

    def _reply(self, reply: Reply) -> None:
        if reply.delay:
            self.server.keep_waiting(reply.delay)
        self._head(reply.status, {**reply.headers, "Content-Length": str(len(reply.body))})
        if self.command != "HEAD":
            self.wfile.write(reply.body)

    def _head(self, status: int, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def _fail(self, fault: Fault) -> None:
        self.close_connection = True
        if fault is Fault.HANG:
            self.server.keep_waiting()
        elif fault is Fault.CUT:
            self._head(200, {"Content-Length": "1000", "Content-Type": "application/json"})
            self.wfile.write(b'{"half": "of an ans')
        elif fault in (Fault.TRICKLE, Fault.ENDLESS):
            self._never_end(drip=fault is Fault.TRICKLE)
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def _never_end(self, *, drip: bool) -> None:
        self._head(200, {"Content-Length": str(2**40), "Content-Type": "application/json"})
        piece, pause = (b" ", _DRIP) if drip else (b" " * 65536, 0.0)
        ends = time.monotonic() + _FOR_EVER
        with contextlib.suppress(OSError):
            while time.monotonic() < ends and not self.server.keep_waiting(pause):
                self.wfile.write(piece)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""
