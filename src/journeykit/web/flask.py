"""
Flask: `init_app(app, kit, user_id=…)`, and `sign_out()` where somebody signs out.

Each request knows its customer: the id that *user_id* returns, and the visitor of journeykit's own
cookie.
Neither is looked up before the first event of the request, and the cookie is set only if there was
one: a visitor whom nobody records gets none, and no session is forced on anybody.
Who withdraws consent loses the cookie with the next answer.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final

import flask

from journeykit.capture.context import Bound, bind, unbind
from journeykit.config.settings import Consent, ConsentMode
from journeykit.exceptions import ConfigError
from journeykit.model.consent import ANALYTICS
from journeykit.model.customer import Customer, is_junk
from journeykit.web.consent import denied_by
from journeykit.web.http import Request, Response
from journeykit.web.visitor import COOKIE, MAX_AGE, Visitor, known_visitor, read_visitor, seen_with

if TYPE_CHECKING:
    from contextvars import Token

    from journeykit.kit import JourneyKit
    from journeykit.model.extension import Endpoint

EXTENSION: Final = "journeykit"

_log = logging.getLogger("journeykit")


def init_app(
    app: flask.Flask,
    kit: JourneyKit,
    *,
    user_id: Callable[[], object] | None = None,
    purposes: Callable[[], Iterable[str] | bool | None] | None = None,
    prefix: str = "/journeykit",
) -> None:
    """
    Let *app* use *kit*.

    `app.extensions["journeykit"]` is the kit, and `flask journeykit …` is its command line.

    Args:
        user_id: Returns the id of the person who is signed in, or None; called inside a request.

        purposes: Returns all purposes that the visitor has agreed to, such as `{"analytics"}`, or
            None where nobody was asked; called at the beginning of each request.

        prefix: Where the endpoints of plugins are mounted.

    Raises:
        ConfigError: Consent is `"opt_in"`, and there is nothing to ask for *purposes*; or *app* has
            a kit.
    """
    if EXTENSION in app.extensions:
        problem = f"the Flask app {app.name!r} has a kit already; call init_app once for each app"
        raise ConfigError([problem], source=kit.settings.origin)
    if purposes is None and kit.settings.consent.mode is ConsentMode.OPT_IN:
        problem = (
            'consent.mode is "opt_in", so init_app needs purposes=, a function that returns what '
            "the visitor has agreed to; without it nothing would ever be recorded"
        )
        raise ConfigError([problem], source=kit.settings.origin)
    app.extensions[EXTENSION] = kit
    requests = _Requests(user_id, purposes, kit.settings.consent)
    app.before_request(requests.begin)
    app.after_request(requests.answer)
    app.teardown_request(requests.end)
    if kit.endpoints:
        _mount(app, kit.endpoints, prefix)


def sign_out() -> None:
    """
    Let whoever comes next in this browser be another visitor.

    Call it where somebody signs out, when your session knows nobody any more, and behind the event
    that says so.
    The cookie goes with the answer; what is tracked in the rest of the request is the next
    visitor's.
    Outside a request it does nothing.
    """
    state: _State | None = flask.g.get("_journeykit") if flask.has_request_context() else None
    if state is None or state.bound is None:
        return
    state.signed_out, state.visitor = True, None
    state.bound.renew()


class _Requests:
    """Binds the customer while a request lasts."""

    def __init__(
        self,
        user_id: Callable[[], object] | None,
        purposes: Callable[[], Iterable[str] | bool | None] | None,
        consent: Consent,
    ) -> None:
        self._user_id = user_id
        self._purposes = purposes
        self._gpc = consent.gpc
        self._unasked = consent.mode is ConsentMode.OPT_OUT
        #: Whether it was told that *user_id* returns what names nobody.
        self._told_junk = False

    def begin(self) -> None:
        state = _State()
        bound = Bound(
            lambda: self._customer(state),
            channel="web",
            context={"page": {"name": flask.request.endpoint}},
            purposes=self._granted(state),
            denied=denied_by(flask.request.headers.get("Sec-GPC"), self._gpc),
        )
        state.bound = bound
        state.token = bind(bound)
        flask.g._journeykit = state  # noqa: SLF001 - the one name that we take in g

    def answer(self, response: flask.Response) -> flask.Response:
        state: _State | None = flask.g.get("_journeykit")
        if state is not None:
            self._answer_cookie(state, response)
        if state is not None and response.is_streamed and not response.direct_passthrough:
            # The pieces are made when the request has been torn down.
            response.response = _Streamed(response.response, state.bound)
        return response

    def _answer_cookie(self, state: _State, response: flask.Response) -> None:
        closed: Any = {
            "secure": flask.request.is_secure,
            "httponly": True,
            "samesite": "Lax",
        }
        if not self._agreed(state):
            goes = state.signed_out or not state.failed
        elif state.visitor is not None and state.visitor.is_stale:
            response.set_cookie(COOKIE, state.visitor.cookie, max_age=MAX_AGE, **closed)
            return
        else:
            goes = state.signed_out
        if goes and COOKIE in flask.request.cookies:
            response.delete_cookie(COOKIE, **closed)

    def _agreed(self, state: _State) -> bool:
        """Return whether the visitor may be recorded, as things are now."""
        bound = state.bound
        return bound is not None and bound.stamp.allows(ANALYTICS, unasked=self._unasked)

    @staticmethod
    def end(_: BaseException | None) -> None:
        state: _State | None = flask.g.pop("_journeykit", None)
        if state is not None and state.token is not None:
            unbind(state.token)

    def _customer(self, state: _State) -> Customer:
        if not flask.has_request_context():
            return Customer()
        cookie = None if state.signed_out else flask.request.cookies.get(COOKIE)
        user_id, now = self._user(), int(time.time())
        if not self._agreed(state):
            # Who withdraws is told by the cookie that they have, and gets none.
            known = known_visitor(cookie, now)
            return Customer(user_id, known.anonymous_id if known is not None else None)
        visitor = state.visitor = seen_with(read_visitor(cookie, now), user_id, now)
        return Customer(user_id, visitor.anonymous_id, visitor.session_id)

    def _user(self) -> str | None:
        if self._user_id is None:
            return None
        try:
            found = _as_user(self._user_id())
        except Exception as error:  # noqa: BLE001 - the shop's own function; its page goes on
            _warn("user_id", error)
            return None
        if found is None or not is_junk(found):
            return found
        if not self._told_junk:
            self._told_junk = True
            _log.warning("journeykit.junk_user_id", extra={"callable": "user_id"})
        return None

    def _granted(self, state: _State) -> frozenset[str] | None:
        if self._purposes is None:
            return None
        try:
            return _as_purposes(self._purposes())
        except Exception as error:  # noqa: BLE001 - as above
            _warn("purposes", error)
            # Who cannot be asked has not agreed, and has not withdrawn what they agreed to.
            state.failed = True
            return frozenset()


def _warn(what: str, error: Exception) -> None:
    _log.warning(
        "journeykit.callable_failed", extra={"callable": what, "error": type(error).__name__}
    )


def _as_user(value: object) -> str | None:
    return str(value) if value not in (None, "", False) else None


def _as_purposes(value: Any) -> frozenset[str] | None:
    if isinstance(value, bool):
        return frozenset([ANALYTICS] if value else [])
    if isinstance(value, str):
        return frozenset([value])
    return None if value is None else frozenset(value)


class _State:
    __slots__ = ("bound", "failed", "signed_out", "token", "visitor")

    def __init__(self) -> None:
        #: Whether the rest of the request is somebody else's.
        self.signed_out = False
        #: Whether the shop could not say what the visitor has agreed to.
        self.failed = False
        self.bound: Bound | None = None
        self.token: Token[Bound | None] | None = None
        self.visitor: Visitor | None = None


class _Streamed:
    """Makes each piece of a streamed response with the customer of its request bound."""

    def __init__(self, pieces: Iterable[Any], bound: Bound | None) -> None:
        self._pieces = iter(pieces)
        self._original = pieces
        self._bound = bound

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        token = bind(self._bound)
        try:
            return next(self._pieces)
        finally:
            unbind(token)

    def close(self) -> None:
        close = getattr(self._original, "close", None)
        if close is not None:
            close()


def _mount(app: flask.Flask, endpoints: Iterable[Endpoint], prefix: str) -> None:
    blueprint = flask.Blueprint(EXTENSION, __name__, url_prefix=prefix)
    for number, endpoint in enumerate(endpoints):
        blueprint.add_url_rule(
            f"/{endpoint.path}",
            f"endpoint{number}",
            _view(endpoint),
            methods=list(endpoint.methods),
        )
    app.register_blueprint(blueprint)
    # Callers are programs without the shop's pages, so they cannot hold its CSRF token.
    # The extension may come before or after us: exempt now, and again when all is set up.
    _exempt(app, blueprint)
    app.before_request(lambda: _exempt(app, blueprint))


def _exempt(app: flask.Flask, blueprint: flask.Blueprint) -> None:
    protection = app.extensions.get("csrf")
    if protection is not None and hasattr(protection, "exempt"):
        protection.exempt(blueprint)


def _view(endpoint: Endpoint) -> Callable[..., flask.Response]:
    def view(**_: object) -> flask.Response:
        request = flask.request
        answer: Response = endpoint.handle(
            Request(
                method=request.method,
                path=endpoint.path,
                query={key: values[-1] for key, values in request.args.lists()},
                headers={name.lower(): value for name, value in request.headers.items()},
                body=request.get_data(),
            )
        )
        return flask.Response(answer.body, answer.status, dict(answer.headers))

    return view
