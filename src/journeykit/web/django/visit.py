"""The visitor of a Django request."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final

from asgiref.sync import async_to_sync, iscoroutinefunction, sync_to_async
from django.conf import settings
from django.utils.cache import patch_vary_headers

from journeykit.capture.context import Bound, bind, unbind
from journeykit.web.visitor import COOKIE, MAX_AGE
from journeykit.web.visits import Visit

if TYPE_CHECKING:
    from contextvars import Token

    from journeykit.web.django.project import Project

_UNTOLD: Final = object()

_visit: ContextVar[RequestVisit | None] = ContextVar("journeykit_django_visit", default=None)


def current_visit() -> RequestVisit | None:
    """Return the visit of the request that is answered here."""
    return _visit.get()


class RequestVisit(Visit):
    """
    One request's visitor, and what its answer needs.

    Args:
        project: The project.

        request: Django's request.
    """

    __slots__ = ("_previous", "_told", "leaving", "personal", "project", "request", "tagged")

    def __init__(self, project: Project, request: Any) -> None:
        super().__init__(project.visits, lambda: request.COOKIES.get(COOKIE), self._user)
        self.project = project
        self.request = request
        #: Whether somebody has signed out in this request.
        self.leaving = False
        #: Whether the page asks for prompts already, and whether it shows one of this visitor's.
        self.tagged = self.personal = False
        self._told: object = _UNTOLD
        self._previous: Token[RequestVisit | None] | None = None

    # Begin and end

    def open(self) -> None:
        """Bind the visitor, in code that may wait for a database."""
        ask = self.project.options.purposes
        self._open(None if ask is None else lambda: call(ask, self.request))

    async def aopen(self) -> None:
        """Bind the visitor, in a loop: what may wait for a database is asked before."""
        options, request = self.project.options, self.request
        purposes = options.purposes
        if purposes is not None:
            try:
                granted = await acall(purposes, request)
            except Exception as error:  # noqa: BLE001 - raised where it is counted
                self._open(_raises(error))
            else:
                self._open(lambda: granted)
        else:
            self._open(None)
        try:
            if options.user_id is not None:
                self._told = await acall(options.user_id, request)
            elif settings.SESSION_COOKIE_NAME not in request.COOKIES:
                self._told = None
            elif hasattr(request, "auser"):
                self._told = _key(await request.auser())
        except Exception as error:  # noqa: BLE001 - as above
            self._told = error

    def _open(self, purposes: Any) -> None:
        self.begin(purposes, self.request.headers.get("Sec-GPC"))
        assert self.bound is not None  # noqa: S101 - begun just now
        self.bound.context = _Context(self.request)
        self._previous = _visit.set(self)

    def close(self) -> None:
        """Bind whoever was bound before."""
        self.end()
        if self._previous is not None:
            try:
                _visit.reset(self._previous)
            except ValueError:
                # A server may end a request in another context than it began in.
                _visit.set(None)

    # Who it is

    def _user(self) -> object:
        if self._told is not _UNTOLD:
            if isinstance(self._told, Exception):
                raise self._told
            return self._told
        ask = self.project.options.user_id
        if ask is not None:
            return call(ask, self.request)
        return _key(getattr(self.request, "user", None))

    def signed_in(self, user: Any) -> None:
        """Go on as the person who has signed in just now, and record that it is them."""
        if self.leaving:
            self.sign_out()
            self.leaving = False
        # Django keeps who `auser()` found before the sign-in.
        vars(self.request).pop("_acached_user", None)
        self._told = _key(user) if self.project.options.user_id is None else _UNTOLD
        user_id = self._told = self.project.visits.user(self._user)
        if self.bound is None or user_id is None:
            return
        # Whoever signed in here before may be somebody else, and so another visitor.
        self.bound.renew()
        if self.project.visits.allows(self.bound):
            self.project.kit.identify(user_id)

    def signing_out(self) -> None:
        """Let the next request be another visitor's; the rest of this one is still theirs."""
        if self.bound is not None and not self.leaving:
            self.leaving = True
            # Found out while the session still knows.
            _ = self.bound.customer

    # The answer

    def finish(self, response: Any) -> None:
        """Add to the answer what the visitor needs for the next request."""
        if self.leaving:
            self.sign_out()
        if self.personal:
            patch_vary_headers(response, ("Cookie",))
        self._answer_cookie(response)
        if response.streaming:
            # The pieces are made when the request is over.
            stream = _astreamed if response.is_async else _streamed
            response.streaming_content = stream(response.streaming_content, self.bound)

    def _answer_cookie(self, response: Any) -> None:
        request = self.request
        value = self.cookie(lambda: COOKIE in request.COOKIES)
        if value is None:
            return
        if value:
            secure = self.project.is_secure or request.is_secure()
            closed = {"secure": secure, "httponly": True, "samesite": "Lax"}
            response.set_cookie(COOKIE, value, max_age=MAX_AGE, **closed)
        else:
            response.delete_cookie(COOKIE, samesite="Lax")
        # A cache in front of the project must not give one visitor's cookie to another.
        patch_vary_headers(response, ("Cookie",))


def call(function: Any, request: Any) -> Any:
    """Return what the project's own function says, where it may wait."""
    if iscoroutinefunction(function):
        return async_to_sync(function)(request)
    return function(request)


async def acall(function: Any, request: Any) -> Any:
    """Return what the project's own function says, in a loop."""
    if iscoroutinefunction(function):
        return await function(request)
    return await sync_to_async(function, thread_sensitive=True)(request)


def _key(user: Any) -> object:
    """Return the id of one of Django's users; None for nobody."""
    if user is None or not user.is_authenticated:
        return None
    return user.pk


def _raises(error: Exception) -> Any:
    def ask() -> None:
        raise error

    return ask


class _Context(Mapping[str, Any]):
    """What events carry about their page, whose name is known once the request was routed."""

    def __init__(self, request: Any) -> None:
        self._request = request

    def __getitem__(self, key: str) -> Any:
        return {"page": {"name": page_of(self._request)}}[key]

    def __iter__(self) -> Iterator[str]:
        return iter(("page",))

    def __len__(self) -> int:
        return 1


def page_of(request: Any) -> str | None:
    """Return the name of a request's view; its path may hold secrets, and is never told."""
    match = request.resolver_match
    return None if match is None else match.view_name or None


def _streamed(pieces: Iterable[bytes], bound: Bound | None) -> Iterator[bytes]:
    """Make each piece with the visitor of its request bound."""
    iterator = iter(pieces)
    while True:
        token = bind(bound)
        try:
            piece = next(iterator)
        except StopIteration:
            return
        finally:
            unbind(token)
        yield piece


async def _astreamed(pieces: AsyncIterator[bytes], bound: Bound | None) -> AsyncIterator[bytes]:
    iterator = aiter(pieces)
    while True:
        token = bind(bound)
        try:
            piece = await anext(iterator)
        except StopAsyncIteration:
            return
        finally:
            unbind(token)
        yield piece
