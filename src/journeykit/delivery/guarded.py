"""httpx over connections that a guard has judged."""

from __future__ import annotations

import contextlib
import ssl
from typing import TYPE_CHECKING, Any

import httpcore
import httpx

from journeykit.delivery.guard import Refused

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from journeykit.delivery.guard import Guard


class GuardedTransport(httpx.BaseTransport):
    """
    Sends requests to the addresses that *guard* does not object to.

    Host name and certificate are those of the address that was asked for.
    """

    def __init__(self, guard: Guard, tls: ssl.SSLContext | None = None) -> None:
        self._pool = httpcore.ConnectionPool(
            ssl_context=tls or ssl.create_default_context(), network_backend=_Backend(guard)
        )

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request."""
        url = httpcore.URL(
            scheme=request.url.raw_scheme,
            host=request.url.raw_host,
            port=request.url.port,
            target=request.url.raw_path,
        )
        sent = httpcore.Request(
            request.method,
            url,
            headers=request.headers.raw,
            content=request.stream,
            extensions=request.extensions,
        )
        with _as_httpx():
            answer = self._pool.handle_request(sent)
        stream = _Stream(answer.stream)  # type: ignore[arg-type]
        headers, extensions = answer.headers, answer.extensions
        return httpx.Response(answer.status, headers=headers, stream=stream, extensions=extensions)

    def close(self) -> None:
        """Close the connections."""
        self._pool.close()


class _Backend(httpcore.NetworkBackend):
    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._inner = httpcore.SyncBackend()

    def connect_tcp(
        self, host: str, port: int, timeout: float | None = None, *more: Any, **options: Any
    ) -> httpcore.NetworkStream:
        failure: Exception | None = None
        try:
            addresses = self._guard.addresses(host, port)
        except OSError as error:
            raise httpcore.ConnectError(str(error)) from error
        for address in addresses:
            try:
                stream = self._inner.connect_tcp(address, port, timeout, *more, **options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
                continue
            try:
                self._guard.check(stream.get_extra_info("server_addr")[0])
            except Refused as error:
                stream.close()
                raise httpcore.ConnectError(str(error)) from error
            return stream
        raise failure or httpcore.ConnectError(f"{host} leads nowhere")


class _Stream(httpx.SyncByteStream):
    def __init__(self, inner: Iterable[bytes]) -> None:
        self._inner = inner

    def __iter__(self) -> Iterator[bytes]:
        with _as_httpx():
            yield from self._inner

    def close(self) -> None:
        close = getattr(self._inner, "close", None)
        if close is not None:
            close()


@contextlib.contextmanager
def _as_httpx() -> Iterator[None]:
    """Raise httpcore's exceptions as those of httpx, which have the same names."""
    try:
        yield
    except Exception as error:
        known = getattr(httpx, type(error).__name__, None)
        if not type(error).__module__.startswith("httpcore") or known is None:
            raise
        raise known(str(error)) from error
