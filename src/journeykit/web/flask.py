"""
Flask: `init_app(app, kit, user_id=…)`, and `sign_out()` where somebody signs out.

Each request knows its customer: the id that *user_id* returns, and the visitor of journeykit's own
cookie.
Neither is looked up before the first event of the request, and the cookie is set only if there was
one: a visitor whom nobody records gets none, and no session is forced on anybody.
Who withdraws consent loses the cookie with the next answer.

Templates have `{{ journeykit_prompts() }}`, which lets a page ask for prompts, and
`{{ journeykit_form() }}`, which puts the prompt of the moment into the page, also where no script
runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final

import flask
from markupsafe import Markup

from journeykit.capture.context import Bound, bind, unbind
from journeykit.exceptions import ConfigError
from journeykit.model.customer import Customer
from journeykit.web.endpoints import Endpoints
from journeykit.web.http import Request
from journeykit.web.visitor import COOKIE, MAX_AGE
from journeykit.web.visits import Visit, Visits, check_purposes

if TYPE_CHECKING:
    from journeykit.kit import JourneyKit

EXTENSION: Final = "journeykit"

#: How much of a body that is too large is read and thrown away, and how much of it at a time.
_MOST_DISCARDED, _PIECE = 16 * 2**20, 65_536

_METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


def init_app(
    app: flask.Flask,
    kit: JourneyKit,
    *,
    user_id: Callable[[], object] | None = None,
    purposes: Callable[[], Iterable[str] | bool | None] | None = None,
    prefix: str | None = None,
) -> None:
    """
    Let *app* use *kit*.

    `app.extensions["journeykit"]` is the kit, and `flask journeykit …` is its command line.

    Args:
        user_id: Returns the id of the person who is signed in, or None; called inside a request.

        purposes: Returns all purposes that the visitor has agreed to, such as `{"analytics"}`, or
            None where nobody was asked; called at the beginning of each request.

        prefix: Where journeykit's own pages, scripts and endpoints are mounted; `[web] mount` if
            not given.

    Raises:
        ConfigError: Consent is `"opt_in"`, and there is nothing to ask for *purposes*; or *app* has
            a kit.
    """
    if EXTENSION in app.extensions:
        problem = f"the Flask app {app.name!r} has a kit already; call init_app once for each app"
        raise ConfigError([problem], source=kit.settings.origin)
    check_purposes(kit, purposes, "init_app")
    app.extensions[EXTENSION] = kit
    requests = _Requests(user_id, purposes, Visits(kit.settings.consent))
    app.before_request(requests.begin)
    app.after_request(requests.answer)
    app.teardown_request(requests.end)
    endpoints = Endpoints(kit, mount=prefix)
    if endpoints:
        _mount(app, endpoints)
    _add_tags(app, endpoints)


def sign_out() -> None:
    """
    Let whoever comes next in this browser be another visitor.

    Call it where somebody signs out, when your session knows nobody any more, and behind the event
    that says so.
    The cookie goes with the answer; what is tracked in the rest of the request is the next
    visitor's.
    Outside a request it does nothing.
    """
    visit: Visit | None = flask.g.get("_journeykit") if flask.has_request_context() else None
    if visit is not None:
        visit.sign_out()


class _FlaskVisit(Visit):
    """A visit of which nothing can be found out behind the request, as in a stream."""

    __slots__ = ()

    def customer(self) -> Customer:
        return super().customer() if flask.has_request_context() else Customer()


class _Requests:
    """Binds the customer while a request lasts."""

    def __init__(
        self,
        user_id: Callable[[], object] | None,
        purposes: Callable[[], Iterable[str] | bool | None] | None,
        visits: Visits,
    ) -> None:
        self._user_id = user_id
        self._purposes = purposes
        self._visits = visits

    def begin(self) -> None:
        visit = _FlaskVisit(self._visits, _cookie, self._user_id)
        visit.begin(self._purposes, flask.request.headers.get("Sec-GPC"), flask.request.endpoint)
        flask.g._journeykit = visit  # noqa: SLF001 - the one name that we take in g

    def answer(self, response: flask.Response) -> flask.Response:
        visit: Visit | None = flask.g.get("_journeykit")
        if visit is None:
            return response
        self._answer_cookie(visit, response)
        if response.is_streamed and not response.direct_passthrough:
            # The pieces are made when the request has been torn down.
            response.response = _Streamed(response.response, visit.bound)
        return response

    def _answer_cookie(self, visit: Visit, response: flask.Response) -> None:
        closed: Any = {
            "secure": flask.request.is_secure,
            "httponly": True,
            "samesite": "Lax",
        }
        value = visit.cookie(lambda: COOKIE in flask.request.cookies)
        if value:
            response.set_cookie(COOKIE, value, max_age=MAX_AGE, **closed)
        elif value is not None:
            response.delete_cookie(COOKIE, **closed)

    @staticmethod
    def end(_: BaseException | None) -> None:
        visit: Visit | None = flask.g.pop("_journeykit", None)
        if visit is not None:
            visit.end()


def _cookie() -> str | None:
    return flask.request.cookies.get(COOKIE)


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


def _mount(app: flask.Flask, endpoints: Endpoints) -> None:
    blueprint = flask.Blueprint(EXTENSION, __name__, url_prefix=endpoints.mount)

    def view(path: str) -> flask.Response:
        answer = endpoints.handle(_request(path, _body(endpoints.most_bytes(path))))
        return flask.Response(answer.body, answer.status, dict(answer.headers))

    # The core knows which methods there are, and answers for the others.
    blueprint.add_url_rule(
        "/<path:path>", "endpoint", view, methods=_METHODS, provide_automatic_options=False
    )
    app.register_blueprint(blueprint)
    # Callers hold no CSRF token: programs have no pages, and a page may be older than its session.
    # The core asks for the origin instead.
    # The extension may come before or after us: exempt now, and again when all is set up.
    _exempt(app, blueprint)
    app.before_request(lambda: _exempt(app, blueprint))


def _request(path: str, body: bytes = b"") -> Request:
    request = flask.request
    return Request(
        method=request.method,
        path=path,
        query={key: values[-1] for key, values in request.args.lists()},
        headers={name.lower(): value for name, value in request.headers.items()},
        body=body,
        root=request.script_root,
    )


def _body(most: int | None) -> bytes:
    request = flask.request
    if most is None:
        return request.get_data()
    body: bytes = request.stream.read(most + 1)
    if len(body) > most:
        _discard(request.stream)
    return body


def _discard(stream: Any) -> None:
    """Take the rest of a body that is too large, so that the caller gets to read the answer."""
    for _ in range(_MOST_DISCARDED // _PIECE):
        if not stream.read(_PIECE):
            return


def _exempt(app: flask.Flask, blueprint: flask.Blueprint) -> None:
    protection = app.extensions.get("csrf")
    if protection is not None and hasattr(protection, "exempt"):
        protection.exempt(blueprint)


def _add_tags(app: flask.Flask, endpoints: Endpoints) -> None:
    def prompts() -> Markup:
        return Markup(endpoints.scripts(flask.request.endpoint, flask.request.script_root))  # noqa: S704 - escaped there

    def form() -> Markup:
        here = flask.request.full_path.removesuffix("?")
        return Markup(endpoints.form(_request(""), here))  # noqa: S704 - escaped there

    app.add_template_global(prompts, "journeykit_prompts")
    app.add_template_global(form, "journeykit_form")
