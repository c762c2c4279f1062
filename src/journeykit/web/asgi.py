"""
ASGI: `JourneyKitMiddleware`, for FastAPI, Starlette, and every other application of the protocol.

It is plain ASGI, so that what it binds is bound in the endpoint too.
Each request knows its customer, as with Flask: the id that *user_id* returns, and the visitor of
journeykit's own cookie; neither is looked up before the first event.
Requests below the mount point are answered here and never reach the application.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, MutableMapping
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl

from journeykit.web.endpoints import Endpoints
from journeykit.web.http import Request
from journeykit.web.visitor import COOKIE, MAX_AGE
from journeykit.web.visits import Visit, Visits, check_purposes

if TYPE_CHECKING:
    from journeykit.kit import JourneyKit

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

#: How much of a body that is too large is read and thrown away.
_MOST_DISCARDED: Final = 16 * 2**20

_visit: ContextVar[Visit | None] = ContextVar("journeykit_visit", default=None)


class JourneyKitMiddleware:
    """
    Lets an ASGI application use a kit.

    In FastAPI and Starlette, `app.add_middleware(JourneyKitMiddleware, kit=kit, user_id=…)`; add a
    middleware for sessions behind it, so that *user_id* finds the session in the scope.

    Args:
        app: The application.

        kit: The kit.

        user_id: Called with the scope; returns the id of the person who is signed in, or None.

        purposes: Called with the scope; returns all purposes that the visitor has agreed to, such
            as `{"analytics"}`, or None where nobody was asked.

        prefix: Where journeykit's own pages, scripts and endpoints are mounted; `[web] mount` if
            not given.

    Raises:
        ConfigError: Consent is `"opt_in"`, and there is nothing to ask for *purposes*.
    """

    def __init__(
        self,
        app: Application,
        kit: JourneyKit,
        *,
        user_id: Callable[[Scope], object] | None = None,
        purposes: Callable[[Scope], Iterable[str] | bool | None] | None = None,
        prefix: str | None = None,
    ) -> None:
        check_purposes(kit, purposes, "JourneyKitMiddleware")
        self._app = app
        self._user_id = user_id
        self._purposes = purposes
        self._visits = Visits(kit.settings.consent)
        self.endpoints = Endpoints(kit, mount=prefix)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Bind the visitor of a request while the application answers it."""
        if scope["type"] != "http" or "journeykit" in scope:
            # A second middleware around the same application has nothing to add.
            await self._app(scope, receive, send)
            return
        headers = _headers(scope)
        visit = Visit(
            self._visits,
            lambda: _cookie(headers.get("cookie", "")),
            self._user_id and functools.partial(self._user_id, scope),
        )
        purposes = self._purposes and functools.partial(self._purposes, scope)
        bound = visit.begin(purposes, headers.get("sec-gpc"))
        bound.context = _Context(scope)
        scope["journeykit"] = self.endpoints
        token = _visit.set(visit)
        try:
            with_cookie = functools.partial(_send, visit, scope, headers, send)
            path = self._below_mount(scope)
            if path is None:
                await self._app(scope, receive, with_cookie)
            else:
                await self._answer(path, scope, headers, receive, with_cookie)
        finally:
            _visit.reset(token)
            visit.end()

    def _below_mount(self, scope: Scope) -> str | None:
        start = f"{self.endpoints.mount}/"
        path = _path(scope)
        return path.removeprefix(start) if self.endpoints and path.startswith(start) else None

    async def _answer(
        self, path: str, scope: Scope, headers: Mapping[str, str], receive: Receive, send: Send
    ) -> None:
        body = await _body(receive, self.endpoints.most_bytes(path))
        request = _request(scope, headers, path, body)
        # It reads and writes a database: not in the loop.
        answer = await asyncio.to_thread(self.endpoints.handle, request)
        given = [(name.encode(), value.encode("latin-1")) for name, value in answer.headers.items()]
        given.append((b"content-length", str(len(answer.body)).encode()))
        await send({"type": "http.response.start", "status": answer.status, "headers": given})
        shown = b"" if scope["method"] == "HEAD" else answer.body
        await send({"type": "http.response.body", "body": shown})


def sign_out() -> None:
    """
    Let whoever comes next in this browser be another visitor.

    Call it where somebody signs out, when your session knows nobody any more, and behind the event
    that says so.
    Outside a request it does nothing.
    """
    visit = _visit.get()
    if visit is not None:
        visit.sign_out()


def prompts(scope: Scope) -> str:
    """Return the markup that lets a page ask for prompts; put it at the end of the body."""
    endpoints: Endpoints | None = scope.get("journeykit")
    return "" if endpoints is None else endpoints.scripts(_page(scope), _root(scope))


def form(scope: Scope) -> str:
    """
    Return the prompt of the moment as markup for the page, which works where no script runs.

    It reads the database: call it where waiting for a disk is allowed, such as an endpoint that is
    no coroutine.
    """
    endpoints: Endpoints | None = scope.get("journeykit")
    if endpoints is None:
        return ""
    query = scope.get("query_string", b"").decode("latin-1")
    here = _path(scope) + (f"?{query}" if query else "")
    return endpoints.form(_request(scope, _headers(scope), "", b""), here)


class _Context(Mapping[str, Any]):
    """What events carry about their page, whose name is known once the request was routed."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope

    def __getitem__(self, key: str) -> Any:
        return {"page": {"name": _page(self._scope)}}[key]

    def __iter__(self) -> Iterator[str]:
        return iter(("page",))

    def __len__(self) -> int:
        return 1


def _page(scope: Scope) -> str | None:
    for part in (scope.get("route"), scope.get("endpoint")):
        name = getattr(part, "name", None) or getattr(part, "__name__", None)
        if isinstance(name, str):
            return name
    return None


def _path(scope: Scope) -> str:
    path, root = str(scope["path"]), _root(scope)
    return path.removeprefix(root) if root and path.startswith(f"{root}/") else path


def _root(scope: Scope) -> str:
    return str(scope.get("root_path", "")).rstrip("/")


def _headers(scope: Scope) -> dict[str, str]:
    found: dict[str, str] = {}
    for raw_name, raw_value in scope["headers"]:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        joined = "; " if name == "cookie" else ", "
        found[name] = f"{found[name]}{joined}{value}" if name in found else value
    return found


def _request(scope: Scope, headers: Mapping[str, str], path: str, body: bytes) -> Request:
    query = scope.get("query_string", b"").decode("latin-1")
    return Request(
        method=scope["method"],
        path=path,
        query=dict(parse_qsl(query, keep_blank_values=True, max_num_fields=100))
        if query.count("&") < 100
        else {},
        headers=headers,
        body=body,
        root=_root(scope),
    )


async def _body(receive: Receive, most: int | None) -> bytes:
    """Return a body, or a little more than *most* of one that is too large."""
    pieces, size, discarded = [], 0, 0
    while True:
        message = await receive()
        piece = message.get("body", b"")
        if most is None or size <= most:
            pieces.append(piece)
            size += len(piece)
        else:
            discarded += len(piece)
        over = message["type"] == "http.disconnect" or discarded > _MOST_DISCARDED
        if over or not message.get("more_body", False):
            return b"".join(pieces)


def _cookie(header: str) -> str | None:
    for part in header.split(";"):
        name, _, value = part.strip().partition("=")
        if name == COOKIE:
            return value
    return None


async def _send(
    visit: Visit, scope: Scope, headers: Mapping[str, str], send: Send, message: Message
) -> None:
    """Send *message*, with the visitor's cookie if it begins the answer."""
    if message["type"] == "http.response.start":
        value = visit.cookie(lambda: _cookie(headers.get("cookie", "")) is not None)
        if value is not None:
            age = MAX_AGE if value else 0
            closed = "; Secure" if scope.get("scheme") == "https" else ""
            cookie = f"{COOKIE}={value}; Max-Age={age}; Path=/; HttpOnly; SameSite=Lax{closed}"
            message = {
                **message,
                "headers": [*message.get("headers", ()), (b"set-cookie", cookie.encode())],
            }
    await send(message)
