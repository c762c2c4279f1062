"""The base class of sinks that speak HTTP."""

from __future__ import annotations

import contextlib
import logging
import time
from abc import ABC, abstractmethod
from contextvars import ContextVar
from typing import TYPE_CHECKING, ClassVar, Final

import attrs
import httpx

from journeykit.delivery.answers import ALL_ALIKE, NOT_NOW, retry_after, told, unanswered
from journeykit.exceptions import DeliveryError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from journeykit.delivery.guard import Guard
    from journeykit.delivery.sink import Batch, Rejection

#: Whether a sink of ours is sending here and now.
_sending: Final = ContextVar("journeykit_sending", default=False)


@attrs.frozen(kw_only=True)
class HttpTimeouts:
    """
    How long one request may take, in seconds.

    Args:
        connect: Until the connection stands.

        read: Between two pieces of the answer.

        whole: Until the answer has come to its end.
    """

    connect: float = attrs.field(default=5.0, validator=attrs.validators.gt(0))
    read: float = attrs.field(default=15.0, validator=attrs.validators.gt(0))
    whole: float = attrs.field(default=60.0, validator=attrs.validators.gt(0))


class HttpSink(ABC):
    """
    Delivers by HTTP requests over connections that stay open.

    A subclass turns a batch into requests and, if it likes, reads the answers.
    What becomes of the events depends on the answer:

    - 2xx: they were taken, but for what `read_response` says.
    - No answer, 5xx, 408, 423, 425, 429: an outage, which is waited out however long it lasts.
    - 401, 403, 404, 405, 407, 410 and redirects (none is followed): every event would be refused
      alike, since the address or the credentials are wrong; parking them one by one would empty the
      Log into the parked events. An outage too: nothing is lost until somebody has put it right.
      A subclass whose addresses name single records says otherwise in `refuses_all`.
    - Any other 4xx: the batch is halved until the event at fault is found, and that one is parked.

    Args:
        name: The sink's name.

        timeouts: How long a request may take.

        client: An `httpx.Client` of your own; it is not closed here.

        guard: Where connections may lead, if the address is not the shop's own choice; not for a
            client of your own.

        now: The clock for dates in `Retry-After`, in seconds since the epoch.
    """

    #: An answer that is longer is no answer; 8 MiB is far more than any says.
    most_answer_bytes: ClassVar[int] = 8 * 2**20

    def __init__(
        self,
        name: str,
        *,
        timeouts: HttpTimeouts | None = None,
        client: httpx.Client | None = None,
        guard: Guard | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.name = name
        self._timeouts = timeouts or HttpTimeouts()
        self._guard = guard
        self._given = client
        self._client: httpx.Client | None = client
        self._inherited: list[httpx.Client] = []
        self._now = now

    @abstractmethod
    def requests(self, batch: Batch, client: httpx.Client) -> Iterable[httpx.Request]:
        """Return the requests that deliver *batch*; build them with `client.build_request`."""

    def read_response(self, batch: Batch, response: httpx.Response) -> Iterable[Rejection]:
        """Return what the other side did not take of *batch*; by default all was taken."""
        return ()

    def deliver(self, batch: Batch) -> list[Rejection]:
        """
        Send the requests for *batch* in order.

        Raises:
            DeliveryError: One of them failed.
        """
        rejections: list[Rejection] = []
        for request in self.requests(batch, self.client):
            rejections += self.read_response(batch, self.send(request))
        return rejections

    def send(self, request: httpx.Request) -> httpx.Response:
        """
        Send one request and return its answer, read.

        Raises:
            DeliveryError: No answer, or one that is no success.
        """
        response = self.exchange(request)
        if not response.is_success:
            raise self.failure(response)
        return response

    def exchange(self, request: httpx.Request) -> httpx.Response:
        """
        Send one request and return its answer, read, whatever it says.

        Raises:
            DeliveryError: No answer.
        """
        try:
            with _unlogged():
                response = self.client.send(request, stream=True, follow_redirects=False)
            with contextlib.closing(response):
                self._read(response)
        except httpx.HTTPError as error:
            msg = f"{request.method} {_place(request)}: {unanswered(_why(error))}"
            raise DeliveryError(msg) from error
        return response

    def failure(self, response: httpx.Response) -> DeliveryError:
        """Return what *response*, which is no success, means for all that it answers."""
        status, request = response.status_code, response.request
        msg = f"{request.method} {_place(request)}: {told(status)}"
        retryable = status >= 500 or status in NOT_NOW or self.refuses_all(response)
        wait = retry_after(response.headers.get("retry-after"), self._now())
        return DeliveryError(msg, retryable=retryable, retry_after=wait)

    def _read(self, response: httpx.Response) -> None:
        if isinstance(response.stream, httpx.SyncByteStream):
            ends = time.monotonic() + self._timeouts.whole
            response.stream = _Bounded(response.stream, self.most_answer_bytes, ends)
        response.read()

    def refuses_all(self, response: httpx.Response) -> bool:
        """Return whether *response*, which is no success, would be the same for any event."""
        return not response.is_error or response.status_code in ALL_ALIKE

    def reset_after_fork(self) -> None:
        """Forget, without closing, connections that the parent process goes on using."""
        if self._client is not None and self._client is not self._given:
            self._inherited.append(self._client)
            self._client = None

    def close(self) -> None:
        """Close the connections, unless the client was given."""
        client, self._client = self._client, self._given
        if client is not None and client is not self._given:
            client.close()

    @property
    def client(self) -> httpx.Client:
        """The connections, opened when they are first used."""
        if self._client is None:
            limits = self._timeouts
            self._client = httpx.Client(
                timeout=httpx.Timeout(limits.read, connect=limits.connect),
                # What is packed may unpack to any size.
                headers={"User-Agent": "journeykit", "Accept-Encoding": "identity"},
                transport=_guarded(self._guard) if self._guard is not None else None,
                trust_env=False,
            )
        return self._client


class _Bounded(httpx.SyncByteStream):
    """A stream that ends, whatever the other side does."""

    def __init__(self, inner: httpx.SyncByteStream, most: int, ends: float) -> None:
        self._inner = inner
        self._most = most
        self._ends = ends

    def __iter__(self) -> Iterator[bytes]:
        left = self._most
        for piece in self._inner:
            left -= len(piece)
            if left < 0:
                raise httpx.ReadError(f"its answer has more than {self._most:,} bytes")
            if time.monotonic() > self._ends:
                raise httpx.ReadTimeout("its answer did not come to an end")
            yield piece

    def close(self) -> None:
        self._inner.close()


def _guarded(guard: Guard) -> httpx.BaseTransport:
    from journeykit.delivery.guarded import GuardedTransport

    return GuardedTransport(guard)


@contextlib.contextmanager
def _unlogged() -> Iterator[None]:
    """Keep httpx from logging the address, whose path may be a secret, while the block lasts."""
    logging.getLogger("httpx").addFilter(_is_not_ours)
    token = _sending.set(True)
    try:
        yield
    finally:
        _sending.reset(token)


def _is_not_ours(_: logging.LogRecord) -> bool:
    return not _sending.get()


def _why(error: httpx.HTTPError) -> str:
    """Return what kept an answer from coming, in words that hold nothing of what was sent."""
    name = type(error).__name__
    text = str(error)
    # Others, such as errors about headers, tell what stood there.
    tells = isinstance(error, httpx.ConnectError | httpx.ReadError | httpx.ReadTimeout)
    return f"{name}: {text}" if tells and text and text != "timed out" else name


def _place(request: httpx.Request) -> str:
    # Without path and query: hook addresses carry their secret there.
    return f"{request.url.scheme}://{request.url.netloc.decode('ascii', 'replace')}"
