"""
One connection that stays open, to an address that the guard has judged.

`http.client` and not httpx: a webhook is one small request for each event, and httpx takes five
times the processor time for one.
"""

from __future__ import annotations

import http.client
import socket
import ssl
import time
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import urlsplit

from journeykit.delivery.answers import unanswered
from journeykit.exceptions import DeliveryError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from journeykit.delivery.guard import Guard

#: How much of an answer is read, and for how long, so that the connection can be used again; what
#: it says beyond its status is of no interest.
_MOST_BYTES: Final = 65_536
_MOST_SECONDS: Final = 2.0

#: What a connection is like that the other side has closed since its last use.
_GONE: Final = (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError)


class Answer(NamedTuple):
    """What came back."""

    status: int
    retry_after: str | None


class Target(NamedTuple):
    """Where to post."""

    scheme: str
    host: str
    port: int
    path: str

    @classmethod
    def of(cls, url: str, *, plain: bool) -> Target:
        """
        Return what *url* says.

        Args:
            plain: Whether `http://` will do.

        Raises:
            ValueError: It is no address to post to; the message does not show it.
        """
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            raise ValueError("url is no address") from None
        if parts.scheme != "https" and not (plain and parts.scheme == "http"):
            hint = "http:// only goes to what `allow` names"
            raise ValueError(f"url must begin with https:// ({hint})")
        if not parts.hostname or not url.isascii() or any(each <= " " for each in url):
            raise ValueError("url is no address: it names no host, or is not percent-encoded")
        try:
            parts.hostname.encode("idna")
        except UnicodeError:
            raise ValueError("url is no address: a part of its host is empty or too long") from None
        if parts.username is not None or parts.fragment:
            raise ValueError("url may hold neither a user nor a fragment; see `headers`")
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        port = port or (443 if parts.scheme == "https" else 80)
        return cls(parts.scheme, parts.hostname, port, path)

    def __str__(self) -> str:
        """Without path and query, where secrets may be."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        usual = self.port == (443 if self.scheme == "https" else 80)
        return f"{self.scheme}://{host}" if usual else f"{self.scheme}://{host}:{self.port}"


class Line:
    """
    Posts to *target*, one request after the other.

    Args:
        timeout: How long the other side may take to connect, and to say something.

        tls: Makes the settings of TLS, when they are needed.
    """

    def __init__(
        self, target: Target, guard: Guard, *, timeout: float, tls: Callable[[], ssl.SSLContext]
    ) -> None:
        self._target = target
        self._guard = guard
        self._timeout = timeout
        self._tls = tls
        self._connection: http.client.HTTPConnection | None = None

    def post(self, body: bytes, headers: Mapping[str, str]) -> Answer:
        """
        Post *body*; returns the answer, whatever it is.

        Raises:
            DeliveryError: There was none.
        """
        again = self._connection is not None
        try:
            try:
                return self._post(body, headers)
            except _GONE:
                self.close()
                if not again:
                    raise
                return self._post(body, headers)
        except (OSError, http.client.HTTPException) as error:
            self.close()
            msg = f"POST {self._target}: {unanswered(_why(error))}"
            raise DeliveryError(msg) from error

    def close(self) -> None:
        """Close the connection; the next request opens another."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _post(self, body: bytes, headers: Mapping[str, str]) -> Answer:
        if self._connection is None:
            self._connection = self._connect()
        self._connection.request("POST", self._target.path, body, headers)
        response = self._connection.getresponse()
        answer = Answer(response.status, response.getheader("retry-after"))
        if not _read(response):
            self.close()
        return answer

    def _connect(self) -> http.client.HTTPConnection:
        target = self._target
        connected = self._guard.connect(target.host, target.port, self._timeout)
        try:
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if target.scheme == "https":
                connected = self._tls().wrap_socket(connected, server_hostname=target.host)
        except BaseException:
            connected.close()
            raise
        connection = http.client.HTTPConnection(target.host, target.port, timeout=self._timeout)
        # Connected above: only an address that was judged is ever connected to.
        connection.auto_open = 0
        connection.sock = connected
        return connection


def _read(response: http.client.HTTPResponse) -> bool:
    """Read what is left of an answer; returns whether that was all of it."""
    left, ends = _MOST_BYTES, time.monotonic() + _MOST_SECONDS
    try:
        while piece := response.read1(16_384):
            left -= len(piece)
            if left < 0 or time.monotonic() > ends:
                return False
    except (OSError, http.client.HTTPException):
        return False
    done = not response.length
    response.close()
    return done and not response.will_close


def _why(error: Exception) -> str:
    """Return what kept an answer from coming, in words that hold nothing of what was sent."""
    # Those of http.client may quote what the other side said.
    tells = isinstance(error, OSError) and not isinstance(error, http.client.HTTPException)
    return f"{type(error).__name__}: {error}" if tells and str(error) else type(error).__name__
