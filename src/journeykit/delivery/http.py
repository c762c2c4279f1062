"""The base class of sinks that speak HTTP."""

from __future__ import annotations

import email.utils
import time
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Final

import attrs
import httpx

from journeykit.exceptions import DeliveryError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from journeykit.delivery.sink import Batch, Rejection

#: Statuses that pass by themselves, besides 5xx: a timeout, a lock, too early, too many.
_NOT_NOW: Final = frozenset({408, 423, 425, 429})

#: Statuses of an address or of credentials, which refuse every event alike.
_ALL_ALIKE: Final = frozenset({401, 403, 404, 405, 407, 410})


@attrs.frozen(kw_only=True)
class HttpTimeouts:
    """
    How long one request may take, in seconds.

    Args:
        connect: Until the connection stands.

        read: Between two pieces of the answer.
    """

    connect: float = attrs.field(default=5.0, validator=attrs.validators.gt(0))
    read: float = attrs.field(default=15.0, validator=attrs.validators.gt(0))


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

        now: The clock for dates in `Retry-After`, in seconds since the epoch.
    """

    def __init__(
        self,
        name: str,
        *,
        timeouts: HttpTimeouts | None = None,
        client: httpx.Client | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.name = name
        self._timeouts = timeouts or HttpTimeouts()
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
        client = self._open()
        rejections: list[Rejection] = []
        for request in self.requests(batch, client):
            rejections += self.read_response(batch, self.send(request))
        return rejections

    def send(self, request: httpx.Request) -> httpx.Response:
        """
        Send one request and return its answer, read.

        Raises:
            DeliveryError: No answer, or one that is no success.
        """
        try:
            response = self._open().send(request, follow_redirects=False)
        except httpx.HTTPError as error:
            msg = f"{request.method} {_place(request)}: {type(error).__name__}"
            raise DeliveryError(msg) from error
        if response.is_success:
            return response
        status = response.status_code
        msg = f"{request.method} {_place(request)}: HTTP {status}"
        retryable = status >= 500 or status in _NOT_NOW or self.refuses_all(response)
        wait = retry_after(response.headers.get("retry-after"), self._now())
        raise DeliveryError(msg, retryable=retryable, retry_after=wait)

    def refuses_all(self, response: httpx.Response) -> bool:
        """Return whether *response*, which is no success, would be the same for any event."""
        return not response.is_error or response.status_code in _ALL_ALIKE

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

    def _open(self) -> httpx.Client:
        if self._client is None:
            limits = self._timeouts
            self._client = httpx.Client(
                timeout=httpx.Timeout(limits.read, connect=limits.connect),
                headers={"User-Agent": "journeykit"},
                trust_env=False,
            )
        return self._client


def retry_after(value: str | None, now: float) -> float | None:
    """Return the seconds that a `Retry-After` header asks for, whether a number or a date."""
    if not value:
        return None
    if value.strip().isdecimal():
        return float(value)
    try:
        moment = email.utils.parsedate_to_datetime(value)
    except (TypeError, ValueError):
        return None
    return max(0.0, moment.timestamp() - now)


def _place(request: httpx.Request) -> str:
    # Without path and query: hook addresses carry their secret there.
    return f"{request.url.scheme}://{request.url.netloc.decode('ascii', 'replace')}"
