from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import attrs
import flask
import httpx
import pytest
from werkzeug.serving import make_server

from journeykit import ConfigError, Consent, Endpoint, Event, JourneyKit, hookimpl
from journeykit.capture.context import current
from journeykit.web import Request, Response
from journeykit.web import visits as module
from journeykit.web.flask import init_app, sign_out
from journeykit.web.visitor import COOKIE

MakeKit = Callable[..., JourneyKit]
MakeApp = Callable[..., flask.Flask]


@pytest.fixture
def make_kit(make_settings: Callable[..., Any]) -> Iterator[MakeKit]:
    """Return a factory of kits with a store in memory, which are closed at the end."""
    kits = []

    def make_kit(consent: str = "opt_out", *, plugins: Any = (), **core: Any) -> JourneyKit:
        kits.append(JourneyKit(make_settings(consent, core), plugins=plugins))
        return kits[-1]

    yield make_kit
    for kit in kits:
        kit.close()


@pytest.fixture
def kit(make_kit: MakeKit) -> JourneyKit:
    """Return a kit where consent is opt-out."""
    return make_kit()


@pytest.fixture
def make_app() -> MakeApp:
    """Return a factory of apps that track what their URL says; arguments go to `init_app`."""

    def make_app(kit: JourneyKit, name: str = "dawdle", **options: Any) -> flask.Flask:
        app = flask.Flask(name)
        app.secret_key = "tests"
        app.testing = True
        init_app(app, kit, **options)

        @app.get("/quiet")
        def quiet() -> str:
            return "nothing happened"

        @app.get("/track/<name>")
        def track(name: str) -> str:
            receipt = kit.track(name)
            return receipt.id or f"{receipt.reason}"

        return app

    return make_app


def _events(kit: JourneyKit) -> list[Event]:
    assert kit.flush()
    return [stored.event() for stored in kit.store.read(None, 1000)]


def _cookie(client: Any) -> str | None:
    cookie = client.get_cookie(COOKIE)
    return None if cookie is None else cookie.value


def test_an_event_knows_its_visitor_and_its_page(kit: JourneyKit, make_app: MakeApp) -> None:
    """The first event of a visitor sets the cookie; later ones are the same visitor's."""
    client = make_app(kit).test_client()

    first = client.get("/track/home")
    second = client.get("/track/cart")

    one, two = _events(kit)
    anonymous_id, session_id, _ = (_cookie(client) or "").split(".")
    assert one.customer == two.customer
    assert (one.customer.anonymous_id, one.customer.session_id) == (anonymous_id, session_id)
    assert one.customer.user_id is None
    assert one.channel == "web"
    assert one.context["page"] == {"name": "track"}
    assert len(first.headers.getlist("Set-Cookie")) == 1
    assert second.headers.getlist("Set-Cookie") == []


def test_a_request_without_an_event_sets_no_cookie(kit: JourneyKit, make_app: MakeApp) -> None:
    """Who is not recorded gets no cookie, no session, and no header that hinders caches."""
    response = make_app(kit).test_client().get("/quiet")

    assert "Set-Cookie" not in response.headers
    assert "Vary" not in response.headers


def test_no_session_is_forced_on_anybody(kit: JourneyKit, make_app: MakeApp) -> None:
    """An event sets our own cookie only, even if the shop looks into its session for the user."""
    app = make_app(kit, user_id=lambda: flask.session.get("user_id"))

    (header,) = app.test_client().get("/track/home").headers.getlist("Set-Cookie")

    assert header.startswith(f"{COOKIE}=")


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_the_cookie_is_as_closed_as_it_can_be(
    kit: JourneyKit, make_app: MakeApp, scheme: str
) -> None:
    """Scripts and other sites do not get the cookie, and neither does plain HTTP if the shop has TLS."""
    client = make_app(kit).test_client()

    header = client.get("/track/home", base_url=f"{scheme}://shop.test").headers["Set-Cookie"]

    attributes = {part.strip().partition("=")[0]: part for part in header.split(";")[1:]}
    assert {"HttpOnly", "SameSite", "Path", "Max-Age"} <= {name.strip() for name in attributes}
    assert "SameSite=Lax" in header
    assert "Path=/;" in f"{header};"
    assert "Domain" not in header
    assert f"Max-Age={365 * 86400}" in header
    assert ("Secure" in attributes) is (scheme == "https")


@pytest.mark.parametrize(
    "value",
    ["", ".", "a.b.c", "x" * 5000, "0" * 32, f"{'g' * 32}.{'0' * 16}.1", "é", '"; Path=/x', "\x01"],
)
def test_a_hostile_cookie_is_a_new_visitor(kit: JourneyKit, make_app: MakeApp, value: str) -> None:
    """A cookie that we did not write is replaced, and nothing of it is kept."""
    client = make_app(kit).test_client(use_cookies=False)

    response = client.get("/track/home", headers={"Cookie": f"{COOKIE}={value}"})

    (event,) = _events(kit)
    assert response.status_code == 200
    assert f"{COOKIE}={event.customer.anonymous_id}." in response.headers["Set-Cookie"]
    assert len(event.customer.anonymous_id or "") == 32


def test_a_visit_ends_after_half_an_hour(
    kit: JourneyKit, make_app: MakeApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After half an hour without an event the visitor is the same, and the visit another."""
    now = [1_772_452_800.0]
    monkeypatch.setattr(module.time, "time", lambda: now[-1])
    client = make_app(kit).test_client()
    for idle in (0, 1700, 1700, 1801):
        now.append(now[-1] + idle)
        client.get("/track/home")

    customers = [event.customer for event in _events(kit)]

    assert len({customer.anonymous_id for customer in customers}) == 1
    visits = [customer.session_id for customer in customers]
    assert visits[0] == visits[1] == visits[2] != visits[3]


def test_the_user_is_asked_for_at_the_first_event_only(kit: JourneyKit, make_app: MakeApp) -> None:
    """A request without events does not look the user up, and one with several does so once."""
    asked = []

    def user_id() -> int:
        asked.append(flask.request.path)
        return 7

    app = make_app(kit, user_id=user_id)

    @app.get("/twice")
    def twice() -> str:
        kit.track("one")
        kit.track("two")
        return ""

    client = app.test_client()
    client.get("/quiet")
    client.get("/twice")

    assert asked == ["/twice"]
    assert [event.customer.user_id for event in _events(kit)] == ["7", "7"]


@pytest.mark.parametrize("nobody", [None, "", False])
def test_a_visitor_who_is_not_signed_in_is_anonymous(
    kit: JourneyKit, make_app: MakeApp, nobody: object
) -> None:
    """What shops return for nobody is nobody."""
    make_app(kit, user_id=lambda: nobody).test_client().get("/track/home")

    (event,) = _events(kit)
    assert event.customer.user_id is None
    assert event.customer.anonymous_id


def test_somebody_who_signs_in_during_a_request(kit: JourneyKit, make_app: MakeApp) -> None:
    """Events before the sign-in are the visitor's, `identify` joins the two, later ones are the user's."""
    app = make_app(kit, user_id=lambda: flask.session.get("user_id"))

    @app.post("/login")
    def login() -> str:
        kit.track("Login Viewed")
        flask.session["user_id"] = "u1"
        kit.identify("u1")
        kit.track("Signed In")
        return ""

    client = app.test_client()
    client.post("/login")
    client.get("/track/home")

    before, fact, after, later = _events(kit)
    assert before.customer.user_id is None
    assert [one.customer.user_id for one in (fact, after, later)] == ["u1"] * 3
    assert (fact.name, fact.kind) == ("customer.identified", "fact")
    assert len({one.customer.anonymous_id for one in (before, fact, after, later)}) == 1
    assert before.customer.anonymous_id


def test_a_user_id_that_cannot_be_found_breaks_nothing(
    kit: JourneyKit, make_app: MakeApp, caplog: pytest.LogCaptureFixture
) -> None:
    """When the shop's own function raises, the event is the anonymous visitor's, and a log says so."""

    def user_id() -> str:
        raise LookupError("secret")

    with caplog.at_level(logging.WARNING, "journeykit"):
        response = make_app(kit, user_id=user_id).test_client().get("/track/home")

    (event,) = _events(kit)
    assert (response.status_code, event.customer.user_id) == (200, None)
    (record,) = [one for one in caplog.records if one.message == "journeykit.callable_failed"]
    assert vars(record)["callable"] == "user_id"
    assert "secret" not in caplog.text


def _login_app(kit: JourneyKit, make_app: MakeApp, **options: Any) -> flask.Flask:
    app = make_app(kit, user_id=lambda: flask.session.get("user_id"), **options)

    @app.post("/login/<user_id>")
    def login(user_id: str) -> str:
        flask.session["user_id"] = user_id
        return kit.identify(user_id).id or ""

    @app.post("/logout")
    def logout() -> str:
        if "quiet" not in flask.request.args:
            kit.track("Signed Out")
        flask.session.clear()
        sign_out()
        if "after" in flask.request.args:
            kit.track("Home Viewed")
        return ""

    return app


@pytest.mark.parametrize("how", ["", "?quiet=1", "?after=1"])
def test_a_sign_out_makes_the_next_visitor_another(
    kit: JourneyKit, make_app: MakeApp, how: str
) -> None:
    """Behind a sign-out the same browser is somebody else, also for the rest of that request."""
    client = _login_app(kit, make_app).test_client()
    client.post("/login/ada")
    before = _cookie(client)
    client.post(f"/logout{how}")

    assert _cookie(client) != before
    assert (_cookie(client) is None) is (how != "?after=1")
    client.get("/track/home")
    events = [event for event in _events(kit) if event.kind != "derived"]
    hers = {event.customer.anonymous_id for event in events if event.customer.user_id}
    others = {event.customer.anonymous_id for event in events if not event.customer.user_id}
    assert len(hers) == len(others) == 1
    assert hers != others
    signed_out = [event for event in events if event.name == "Signed Out"]
    assert all(event.customer.user_id == "ada" for event in signed_out)
    sessions = {event.customer.session_id for event in events}
    assert len(sessions) == 2


def test_a_sign_out_of_nobody_sets_nothing(kit: JourneyKit, make_app: MakeApp) -> None:
    """Without a cookie, and outside a request, signing out does nothing."""
    response = _login_app(kit, make_app).test_client().post("/logout?quiet=1")

    assert COOKIE not in str(response.headers)
    sign_out()


def test_a_session_that_ends_by_itself_is_no_sign_out(kit: JourneyKit, make_app: MakeApp) -> None:
    """Who is not signed in any more, and did not sign out, is still the same visitor."""
    client = _login_app(kit, make_app).test_client()
    client.post("/login/ada")
    client.get("/track/home")
    client.delete_cookie("session")
    client.get("/track/home")

    assert len({event.customer.anonymous_id for event in _events(kit)}) == 1


def test_the_next_who_signs_in_is_another_visitor(kit: JourneyKit, make_app: MakeApp) -> None:
    """Where a shop tells no sign-out, somebody else who signs in gets a cookie of their own."""
    client = _login_app(kit, make_app).test_client()
    client.post("/login/ada")
    client.get("/track/home")
    client.delete_cookie("session")
    client.post("/login/bob")
    client.get("/track/home")
    client.get("/track/home")

    last = [event.customer for event in _events(kit) if event.name == "home"]
    assert [customer.user_id for customer in last] == ["ada", "bob", "bob"]
    assert last[0].anonymous_id != last[1].anonymous_id == last[2].anonymous_id


@pytest.mark.parametrize("junk", ["undefined", " Null ", "[object Object]"])
def test_a_user_id_that_names_nobody_is_none(
    kit: JourneyKit, make_app: MakeApp, caplog: pytest.LogCaptureFixture, junk: str
) -> None:
    """What the shop returns for nobody by mistake is nobody, which is logged once, without it."""
    client = make_app(kit, user_id=lambda: junk).test_client()
    with caplog.at_level(logging.WARNING, "journeykit"):
        client.get("/track/home")
        client.get("/track/home")

    assert [event.customer.user_id for event in _events(kit)] == [None, None]
    (told,) = [one for one in caplog.records if one.message == "journeykit.junk_user_id"]
    assert junk not in str(vars(told))


def _raise() -> Any:
    raise LookupError


@pytest.mark.parametrize(
    ("mode", "answer", "recorded"),
    [
        ("opt_out", None, True),
        ("opt_out", ["analytics"], True),
        ("opt_out", "analytics", True),
        ("opt_out", True, True),
        ("opt_out", [], False),
        ("opt_out", False, False),
        ("opt_out", ["marketing"], False),
        ("opt_out", 7, False),
        ("opt_in", None, False),
        ("opt_in", [], False),
        ("opt_in", False, False),
        ("opt_in", True, True),
        ("opt_in", {"analytics", "marketing"}, True),
    ],
)
def test_only_who_may_be_recorded_is(
    make_kit: MakeKit, make_app: MakeApp, mode: str, answer: Any, recorded: bool
) -> None:
    """Without consent there is no event and no cookie, also if the shop signs the visitor in."""
    kit = make_kit(mode, strict=False)
    app = make_app(kit, purposes=lambda: iter(answer) if isinstance(answer, list) else answer)

    @app.get("/login")
    def login() -> str:
        kit.identify("u1")
        return ""

    client = app.test_client()
    text = client.get("/track/home").text
    client.get("/login")

    assert (len(_events(kit)), _cookie(client) is not None) == (2 * recorded, recorded)
    assert (text == "no_consent") is not recorded


@pytest.mark.parametrize("mode", ["opt_out", "opt_in"])
def test_who_cannot_be_asked_has_not_agreed(
    make_kit: MakeKit, make_app: MakeApp, mode: str
) -> None:
    """When the shop's consent function raises, nothing is recorded and the page goes on."""
    kit = make_kit(mode, strict=False)
    client = make_app(kit, purposes=_raise).test_client()

    assert client.get("/track/home").text == "no_consent"
    assert (_events(kit), _cookie(client)) == ([], None)


def test_opt_in_without_a_question_is_a_mistake(make_kit: MakeKit, make_app: MakeApp) -> None:
    """Where only who agreed may be recorded, the app must say how it asks."""
    with pytest.raises(ConfigError, match="so init_app needs purposes=, a function"):
        make_app(make_kit("opt_in"))


def test_an_app_has_one_kit(kit: JourneyKit, make_kit: MakeKit, make_app: MakeApp) -> None:
    """A second `init_app` of one app is a mistake, and the first kit stays."""
    app = make_app(kit)

    with pytest.raises(ConfigError, match="the Flask app 'dawdle' has a kit already"):
        init_app(app, make_kit())
    assert app.extensions["journeykit"] is kit


def test_several_apps_with_one_kit_and_with_their_own(make_kit: MakeKit, make_app: MakeApp) -> None:
    """Apps in one process share a kit or have their own; nobody's events go astray."""
    shared, own = make_kit(), make_kit()
    apps = [make_app(shared, "a"), make_app(shared, "b"), make_app(own, "c")]

    for app in apps:
        app.test_client().get(f"/track/{app.name}")

    assert [event.name for event in _events(shared)] == ["a", "b"]
    assert [event.name for event in _events(own)] == ["c"]


def test_an_app_that_calls_another_one(make_kit: MakeKit, make_app: MakeApp) -> None:
    """A request inside a request has its own customer, and the outer one gets its own back."""
    kit = make_kit()
    inner = make_app(kit, "inner", user_id=lambda: "inner-user")
    outer = make_app(kit, "outer", user_id=lambda: "outer-user")

    @outer.get("/both")
    def both() -> str:
        inner.test_client().get("/track/inside")
        kit.track("outside")
        return ""

    outer.test_client().get("/both")

    found = {event.name: event.customer.user_id for event in _events(kit)}
    assert found == {"inside": "inner-user", "outside": "outer-user"}


def test_nothing_is_bound_behind_a_request(kit: JourneyKit, make_app: MakeApp) -> None:
    """After a request, after one that failed, and after one that was cut short, nobody is bound."""
    app = make_app(kit)
    app.testing = False

    @app.get("/fail")
    def fail() -> str:
        kit.track("before")
        raise ZeroDivisionError

    @app.before_request
    def closed() -> str | None:
        return "closed" if flask.request.args.get("closed") else None

    client = app.test_client()
    for path in ("/quiet", "/fail", "/quiet?closed=1", "/nowhere"):
        client.get(path)
        assert current() is None


def test_a_view_that_fails_keeps_its_events(kit: JourneyKit, make_app: MakeApp) -> None:
    """An event before the failure is kept, and the error page carries the cookie."""
    app = make_app(kit)
    app.testing = False

    @app.get("/fail")
    def fail() -> str:
        kit.track("before")
        raise ZeroDivisionError

    client = app.test_client()
    response = client.get("/fail")

    assert response.status_code == 500
    assert [event.name for event in _events(kit)] == ["before"]
    assert _cookie(client)


def test_a_response_that_streams_knows_its_customer(kit: JourneyKit, make_app: MakeApp) -> None:
    """Inside `stream_with_context` the customer is bound until the last piece, and not beyond."""
    app = make_app(kit, user_id=lambda: "u1")

    @app.get("/stream")
    def stream() -> flask.Response:
        def pieces() -> Iterator[str]:
            for number in range(3):
                kit.track(f"piece {number}")
                yield "x"

        return flask.Response(flask.stream_with_context(pieces()))

    response = app.test_client().get("/stream")

    assert response.text == "xxx"
    assert [event.customer.user_id for event in _events(kit)] == ["u1"] * 3
    assert current() is None


def test_a_stream_without_the_request_goes_on_as_whom_it_knew(
    kit: JourneyKit, make_app: MakeApp
) -> None:
    """Without `stream_with_context` a customer found before is still known; files pass untouched."""
    app = make_app(kit, user_id=lambda: "u1")

    @app.get("/stream")
    def stream() -> flask.Response:
        kit.track("begun")
        return flask.Response(kit.track("piece").id or "" for _ in range(2))

    @app.get("/file")
    def file() -> flask.Response:
        return flask.send_file(__file__)

    client = app.test_client()
    with client.get("/stream") as response:
        assert response.text
    with client.get("/file") as response:
        assert response.text.startswith("from __future__")
    assert [event.customer.user_id for event in _events(kit)] == ["u1"] * 3


def test_a_stream_that_knows_nobody_records_nothing(make_kit: MakeKit, make_app: MakeApp) -> None:
    """Without `stream_with_context` and without an event before, there is nobody to record."""
    kit = make_kit(strict=False)
    app = make_app(kit, user_id=lambda: "u1")

    @app.get("/stream")
    def stream() -> flask.Response:
        return flask.Response(f"{kit.track('piece').reason}" for _ in range(2))

    assert app.test_client().get("/stream").text == "no_customer" * 2
    assert _events(kit) == []


def test_requests_at_the_same_time_do_not_mix(kit: JourneyKit, make_app: MakeApp) -> None:
    """In a server with threads every event is that of the user who made the request."""
    together = threading.Barrier(8)
    app = make_app(kit, user_id=lambda: flask.request.args["user"])

    @app.get("/meet")
    def meet() -> str:
        kit.track("arrived", {"user": flask.request.args["user"]})
        together.wait(10)
        kit.track("left", {"user": flask.request.args["user"]})
        return ""

    server = make_server("127.0.0.1", 0, app, threaded=True)
    serving = threading.Thread(target=server.serve_forever)
    serving.start()
    try:
        url = f"http://127.0.0.1:{server.server_port}/meet"
        with httpx.Client() as client, ThreadPoolExecutor(8) as pool:
            codes = list(
                pool.map(lambda n: client.get(url, params={"user": n}).status_code, range(1, 41))
            )
    finally:
        server.shutdown()
        serving.join()
        server.server_close()

    events = _events(kit)
    assert codes == [200] * 40
    assert len(events) == 80
    assert all(event.customer.user_id == event.properties["user"] for event in events)


class Echo:
    """A plugin with endpoints."""

    name = "echo"

    @hookimpl
    def register_endpoints(self, settings: Any) -> list[Endpoint]:
        """Return an endpoint that tells what it got, one that fails, and one in JSON."""
        return [
            Endpoint("echo/request", ("GET", "POST"), self.echo),
            Endpoint(
                "echo/json", ("POST",), lambda request: Response.of_json([request.json()], 201)
            ),
            Endpoint("echo/fail", ("GET",), lambda request: 1 / 0),
        ]

    @staticmethod
    def echo(request: Request) -> Response:
        """Tell what came."""
        value = {
            "method": request.method,
            "path": request.path,
            "query": dict(request.query),
            "mark": request.headers.get("x-mark"),
            "body": request.body.decode(),
        }
        return Response.of_json(value)


def test_endpoints_of_plugins_are_served_below_the_prefix(
    make_kit: MakeKit, make_app: MakeApp
) -> None:
    """An endpoint gets the request as it is, in the framework-neutral form."""
    client = make_app(make_kit(plugins=[Echo()]), prefix="/hooks").test_client()

    response = client.post("/hooks/echo/request?a=1&a=2&b=", data=b"hello", headers={"X-Mark": "m"})

    assert response.json == {
        "method": "POST",
        "path": "echo/request",
        "query": {"a": "2", "b": ""},
        "mark": "m",
        "body": "hello",
    }
    assert client.get("/journeykit/echo/request").status_code == 404
    assert client.put("/hooks/echo/request").status_code == 405


def test_endpoints_speak_json(make_kit: MakeKit, make_app: MakeApp) -> None:
    """JSON in and out, with a status; the default prefix is /journeykit."""
    client = make_app(make_kit(plugins=[Echo()])).test_client()

    response = client.post("/journeykit/echo/json", json={"a": "ü"})

    assert (response.status_code, response.json) == (201, [{"a": "ü"}])
    assert response.content_type == "application/json"


def test_an_endpoint_that_fails_is_the_apps_error_page(
    make_kit: MakeKit, make_app: MakeApp
) -> None:
    """A plugin's failure in a request is handled like a view's."""
    app = make_app(make_kit(plugins=[Echo()]))
    app.testing = False

    assert app.test_client().get("/journeykit/echo/fail").status_code == 500


class Protection:
    """Refuses every POST without a token, as CSRF extensions do, except to exempted blueprints."""

    def __init__(self) -> None:
        self.exempted: set[str] = set()

    def init_app(self, app: flask.Flask) -> None:
        """Protect *app*."""
        app.extensions["csrf"] = self

        @app.before_request
        def protect() -> None:
            if flask.request.method == "POST" and flask.request.blueprint not in self.exempted:
                flask.abort(400)

    def exempt(self, blueprint: flask.Blueprint) -> None:
        """Let *blueprint* alone."""
        self.exempted.add(blueprint.name)


@pytest.mark.parametrize("first", ["protection", "kit"])
def test_endpoints_are_exempt_from_csrf_protection(make_kit: MakeKit, first: str) -> None:
    """Programs call endpoints without a token, in whichever order the extensions were set up."""
    kit = make_kit(plugins=[Echo()])
    app = flask.Flask("dawdle")
    steps = {"protection": lambda: Protection().init_app(app), "kit": lambda: init_app(app, kit)}
    for name in sorted(steps, key=lambda name: name != first):
        steps[name]()
    app.add_url_rule("/cart", view_func=lambda: "", methods=["POST"], endpoint="cart")

    client = app.test_client()

    assert client.post("/journeykit/echo/json", json=1).status_code == 201
    assert client.post("/cart").status_code == 400


# Withdrawal and Global Privacy Control


def _consenting(kit: JourneyKit, make_app: MakeApp, **options: Any) -> flask.Flask:
    """Return an app whose session remembers what the visitor has chosen."""
    app = make_app(kit, purposes=lambda: flask.session.get("purposes"), **options)

    @app.get("/choose/<purposes>")
    def choose(purposes: str) -> str:
        granted = {name for name in purposes.split(",") if name != "none"}
        flask.session["purposes"] = sorted(granted)
        denied = {"analytics"} - granted
        receipt = kit.consent(granted=granted, denied=denied, policy="v1")
        after = kit.track("After")
        return f"{receipt.reason} {after.reason}"

    return app


@pytest.mark.parametrize("mode", ["opt_out", "opt_in"])
def test_agreeing_and_withdrawing(make_kit: MakeKit, make_app: MakeApp, mode: str) -> None:
    """The cookie comes with consent and goes with it, and both are facts of the same visitor."""
    kit = make_kit(mode, strict=False)
    client = _consenting(kit, make_app).test_client()

    assert client.get("/choose/analytics").text == "None None"
    given = _cookie(client)
    assert given is not None
    response = client.get("/choose/none")
    assert response.text == "None no_consent"
    assert _cookie(client) is None
    (header,) = [line for line in response.headers.getlist("Set-Cookie") if line.startswith(COOKIE)]
    assert "HttpOnly" in header
    assert "SameSite=Lax" in header
    assert client.get("/track/home").text == "no_consent"
    assert _cookie(client) is None

    anonymous_id = given.split(".")[0]
    found = _events(kit)
    assert [event.name for event in found] == ["customer.consented", "After", "customer.consented"]
    assert {event.customer.anonymous_id for event in found} == {anonymous_id}
    assert found[2].properties == {"granted": [], "denied": ["analytics"], "policy": "v1"}


@pytest.mark.parametrize("mode", ["opt_out", "opt_in"])
def test_who_refuses_without_a_cookie_gets_none(
    make_kit: MakeKit, make_app: MakeApp, mode: str
) -> None:
    """Nobody gets an id only to prove that they want none."""
    kit = make_kit(mode, strict=False)
    client = _consenting(kit, make_app).test_client()

    assert client.get("/choose/none").text == "no_customer no_consent"
    assert (_events(kit), _cookie(client)) == ([], None)


@pytest.mark.parametrize(
    ("mode", "answer"), [("opt_out", set()), ("opt_in", None), ("opt_in", {"marketing"})]
)
def test_a_cookie_without_consent_is_deleted(
    make_kit: MakeKit, make_app: MakeApp, mode: str, answer: Any
) -> None:
    """A visitor who has not agreed loses an old cookie with the next page, event or not."""
    client = make_app(make_kit(mode), purposes=lambda: answer).test_client()
    client.set_cookie(COOKIE, f"{'a' * 32}.{'b' * 16}.1")

    client.get("/quiet")

    assert _cookie(client) is None


def test_a_failing_question_deletes_no_cookie(make_kit: MakeKit, make_app: MakeApp) -> None:
    """Where the shop cannot say what a visitor chose, the visitor has not withdrawn."""
    client = make_app(make_kit(strict=False), purposes=_raise).test_client()
    client.set_cookie(COOKIE, f"{'a' * 32}.{'b' * 16}.1")

    assert client.get("/track/home").text == "no_consent"
    assert _cookie(client) is not None


@pytest.mark.parametrize(
    ("gpc", "header", "denied", "recorded"),
    [
        ("export", "1", ["export:*"], True),
        ("export", "0", None, True),
        ("export", "true", None, True),
        ("export", None, None, True),
        ("all", "1", None, False),
        ("all", None, None, True),
        ("ignore", "1", None, True),
    ],
)
@pytest.mark.parametrize("mode", ["opt_out", "opt_in"])
def test_global_privacy_control(  # noqa: PLR0917
    make_settings: Callable[..., Any],
    make_app: MakeApp,
    mode: str,
    gpc: str,
    header: str | None,
    denied: list[str] | None,
    recorded: bool,
) -> None:
    """The signal denies export, or all, or nothing, as configured; only its one value counts."""
    settings = attrs.evolve(make_settings(core={"strict": False}), consent=Consent(mode, gpc=gpc))
    with JourneyKit(settings) as kit:
        client = make_app(kit, purposes=lambda: {"analytics"}).test_client()
        client.get("/track/home", headers={"Sec-GPC": header} if header else {})

        found = _events(kit)
        assert [event.context.get("denied") for event in found] == [denied] * recorded
        assert (_cookie(client) is not None) is recorded


def test_the_signal_keeps_events_from_third_parties(
    make_settings: Callable[..., Any], make_app: MakeApp
) -> None:
    """A third party's sink does not get what a visitor with the signal does; the shop's own does."""
    ours, theirs = Recorder("ours"), Recorder("theirs")
    ours.third_party = False
    with JourneyKit(make_settings(), sinks=[ours, theirs]) as kit:
        client = make_app(kit).test_client()
        client.get("/track/One", headers={"Sec-GPC": "1"})
        client.get("/track/Two")
        assert kit.flush()

        assert ours.names == ["One", "Two"]
        assert theirs.names == ["Two"]
        assert kit.status()["counters"]["unconsented:theirs"] == 1


class Recorder:
    """A sink that remembers the names of events."""

    third_party = True

    def __init__(self, name: str) -> None:
        self.name = name
        self.names: list[str] = []

    def deliver(self, batch: Any) -> None:
        """Take all."""
        self.names += [event.name for event in batch]

    def close(self) -> None:
        """Do nothing."""
