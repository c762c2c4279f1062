"""The middleware with FastAPI and Starlette, as an application has them, and behind uvicorn."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Iterator
from typing import Any

import fastapi
import httpx
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, StreamingResponse
from starlette.routing import Mount, Route
from tests.web import shop

from journeykit import JourneyKit
from journeykit.config.settings import Consent, Core, Settings
from journeykit.exceptions import ConfigError
from journeykit.web.asgi import JourneyKitMiddleware, form, prompts, sign_out
from journeykit.web.visitor import COOKIE

AGENT = {"User-Agent": "Mozilla/5.0 (X11; Linux x86_64) Chrome/156"}
SAME = {"Sec-Fetch-Site": "same-origin", **AGENT}


@pytest.fixture
def kit() -> Iterator[JourneyKit]:
    """Return a kit with a prompt of every kind."""
    with shop.make_kit() as kit:
        yield kit


def fastapi_shop(kit: JourneyKit) -> Any:
    """Return a shop in FastAPI, with a session."""
    app = fastapi.FastAPI()

    @app.get("/ask/{key}", response_class=HTMLResponse)
    def ask(request: Request, key: str) -> str:
        return f"<!doctype html><title>{key}</title>{prompts(request.scope)}"

    @app.get("/form/{key}", response_class=HTMLResponse)
    def put_form(request: Request, key: str) -> str:
        return f"<!doctype html><title>{key}</title>{form(request.scope)}"

    @app.get("/track")
    async def track(request: Request) -> dict[str, Any]:
        return {"accepted": bool(kit.track("Product Viewed"))}

    @app.get("/track-in-a-thread")
    def track_in_a_thread() -> dict[str, Any]:
        return {"accepted": bool(kit.track("Product Viewed"))}

    @app.get("/sign-in/{name}")
    async def sign_in(request: Request, name: str) -> str:
        request.session["user"] = name
        return name

    @app.get("/sign-out")
    async def leave(request: Request) -> str:
        request.session.clear()
        sign_out()
        return ""

    app.add_middleware(JourneyKitMiddleware, kit=kit, user_id=_user)
    app.add_middleware(SessionMiddleware, secret_key="only for this test")
    return app


def starlette_shop(kit: JourneyKit) -> Any:
    """Return a shop in Starlette, with a session, mounted below a path."""

    async def track(request: Request) -> HTMLResponse:
        return HTMLResponse(str(bool(kit.track("Product Viewed"))))

    def ask(request: Request) -> HTMLResponse:
        return HTMLResponse(f"<!doctype html><title>x</title>{prompts(request.scope)}")

    async def stream(request: Request) -> StreamingResponse:
        async def pieces() -> Any:
            for _ in range(2):
                yield str(bool(kit.track("Piece Sent")))

        return StreamingResponse(pieces())

    routes = [
        Route("/track", track, name="tracking"),
        Route("/ask/{key}", ask),
        Route("/stream", stream),
    ]
    middleware = [
        Middleware(SessionMiddleware, secret_key="only for this test"),
        Middleware(JourneyKitMiddleware, kit=kit, user_id=_user),
    ]
    return Starlette(routes=routes, middleware=middleware)


def _user(scope: Any) -> Any:
    return scope["session"].get("user")


@contextlib.contextmanager
def serving(app: Any, **options: Any) -> Iterator[str]:
    """Serve *app* with uvicorn on a free port, and yield its address."""
    config = uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error", **options)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 20
    while not server.started:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    try:
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(20)


@pytest.fixture(params=[fastapi_shop, starlette_shop], ids=["fastapi", "starlette"])
def client(kit: JourneyKit, request: pytest.FixtureRequest) -> Iterator[httpx.Client]:
    """Return somebody in a browser of a shop in either framework, behind uvicorn."""
    with serving(request.param(kit)) as address, httpx.Client(base_url=address) as client:
        client.headers.update(AGENT)
        yield client


def test_an_event_knows_its_visitor_and_its_page(kit: JourneyKit, client: httpx.Client) -> None:
    """Two requests of a browser are one visitor, and the page has the name of its route."""
    first, second = client.get("/track"), client.get("/track")

    events = shop.events(kit)
    assert "true" in first.text.lower()
    assert len({each.customer.anonymous_id for each in events}) == 1
    assert {each.context["page"]["name"] for each in events} <= {"track", "tracking"}
    assert {each.channel for each in events} == {"web"}
    cookie = first.headers["set-cookie"]
    assert cookie.startswith(f"{COOKIE}=")
    assert all(
        part in cookie for part in ("HttpOnly", "SameSite=Lax", "Path=/", "Max-Age=31536000")
    )
    assert COOKIE not in second.headers.get("set-cookie", "")


def test_a_page_without_an_event_sets_no_cookie(client: httpx.Client) -> None:
    """Whoever is not recorded gets no cookie."""
    assert "set-cookie" not in client.get("/ask/nps").headers


def test_a_prompt_is_asked_and_answered(kit: JourneyKit, client: httpx.Client) -> None:
    """The script is served, and the wire is the same as with Flask."""
    page = client.get("/ask/nps").text
    script = client.get(page.split('src="')[1].split('"')[0])
    offer = client.get("/journeykit/v1/prompt?path=/ask/nps", headers=SAME).json()
    url = f"/journeykit/v1/impressions/{offer['impression']}"
    body = {"token": offer["token"], "seq": 1, "answers": {"score": 10}}

    told = [client.post(url, json={**body, "event": event}, headers=SAME).status_code
            for event in ("shown", "completed")]  # fmt: skip

    assert script.headers["content-type"].startswith("text/javascript")
    assert "journeykit-prompt" in script.text
    assert told == [204, 204]
    assert shop.facts(kit)[-1].properties["answers"] == {"score": 10}


def test_what_is_refused(kit: JourneyKit, client: httpx.Client) -> None:
    """Posts of other sites, large bodies in one piece and in many, and what is not there."""
    client.get("/track")
    url = "/journeykit/v1/impressions/x"
    many = (b"x" * 100_000 for _ in range(100))

    assert client.post(url, json={}, headers={"Origin": "https://evil.example"}).status_code == 403
    assert client.post(url, content=b"x" * 10_000_000, headers=SAME).status_code == 413
    assert client.post(url, content=many, headers=SAME).status_code == 413
    assert client.get("/journeykit/v1/nothing").status_code == 404
    assert client.head("/journeykit/static/prompt.js").text == ""
    assert kit.requests["too_large"] == 2


def test_a_large_body_is_read_to_its_end(client: httpx.Client) -> None:
    """Behind a body that was too large the connection goes on."""
    big = client.post("/journeykit/v1/impressions/x", content=b"x" * 3_000_000, headers=SAME)

    assert big.status_code == 413
    assert client.get("/track").status_code == 200


def test_somebody_signs_in_and_out(kit: JourneyKit) -> None:
    """The session says who it is, in coroutines and in threads; after a sign-out it is another."""
    with serving(fastapi_shop(kit)) as address, httpx.Client(base_url=address) as client:
        for path in ("/track", "/sign-in/ada", "/track-in-a-thread", "/sign-out", "/track"):
            assert client.get(path).status_code == 200

    tracked = [each for each in shop.events(kit) if each.name == "Product Viewed"]
    before, known, after = [each.customer for each in tracked]
    assert (before.user_id, known.user_id, after.user_id) == (None, "ada", None)
    assert before.anonymous_id == known.anonymous_id != after.anonymous_id


def test_a_form_is_in_the_page(kit: JourneyKit) -> None:
    """The form that works without a script is rendered by an endpoint that is no coroutine."""
    with serving(fastapi_shop(kit)) as address, httpx.Client(base_url=address) as client:
        client.headers.update(AGENT)
        page = client.get("/form/ces")

    assert '<form method="post" action="/journeykit/v1/impressions/' in page.text
    assert [each.name for each in shop.facts(kit)] == ["prompt.shown"]


def test_a_stream_knows_its_customer(kit: JourneyKit) -> None:
    """What a streamed response tracks belongs to the visitor of its request."""
    with serving(starlette_shop(kit)) as address:
        assert httpx.get(f"{address}/stream").text == "TrueTrue"

    assert len({each.customer.anonymous_id for each in shop.events(kit)}) == 1


def test_requests_at_the_same_time_do_not_mix(kit: JourneyKit) -> None:
    """Many visitors at once are each their own."""
    with serving(fastapi_shop(kit)) as address:

        def visit() -> None:
            with httpx.Client(base_url=address) as client:
                for path in ("/track", "/track-in-a-thread", "/track"):
                    client.get(path)

        threads = [threading.Thread(target=visit) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    counts: dict[Any, int] = {}
    for each in shop.events(kit):
        counts[each.customer.anonymous_id] = counts.get(each.customer.anonymous_id, 0) + 1
    assert list(counts.values()) == [3] * 8


def test_other_protocols_pass_through(kit: JourneyKit) -> None:
    """What begins and ends the application, and web sockets, are the application's."""
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append((scope["type"], await receive()))

    async def receive() -> dict[str, str]:
        return {"type": "begin"}

    async def send(_: Any) -> None:
        raise AssertionError

    wrapped = JourneyKitMiddleware(app, kit)
    for kind in ("lifespan", "websocket"):
        asyncio.run(wrapped({"type": kind}, receive, send))
    assert seen == [("lifespan", {"type": "begin"}), ("websocket", {"type": "begin"})]


def test_below_another_path(kit: JourneyKit) -> None:
    """An application that is mounted below a path has the endpoints there too."""
    inner = starlette_shop(kit)
    app = Starlette(routes=[Mount("/shop", inner)])
    with serving(app) as address, httpx.Client(base_url=address, headers=SAME) as client:
        assert client.get("/shop/journeykit/v1/prompt?path=/ask/nps").status_code == 200
        page = client.get("/shop/ask/nps").text
        script = page.split('src="')[1].split('"')[0]
        assert script.startswith("/shop/journeykit/static/")
        assert client.get(script).status_code == 200


def test_two_middlewares_are_one(kit: JourneyKit) -> None:
    """Wrapped twice, an application has one visitor: that of the outer middleware."""
    app = JourneyKitMiddleware(fastapi_shop(kit), kit, user_id=lambda scope: "outer")
    with serving(app) as address:
        response = httpx.get(f"{address}/track")

    assert len(response.headers.get_list("set-cookie")) == 1
    assert {each.customer.user_id for each in shop.events(kit)} == {"outer"}


def test_opt_in_without_a_question_is_a_mistake() -> None:
    """Where only who has agreed is recorded, there must be something to ask."""
    settings = Settings(consent=Consent("opt_in"), core=Core(store="memory://"))
    with JourneyKit(settings) as kit:
        with pytest.raises(ConfigError, match="JourneyKitMiddleware needs purposes"):
            JourneyKitMiddleware(fastapi_shop, kit)  # type: ignore[arg-type]

        async def app(scope: Any, receive: Any, send: Any) -> None:
            assert not kit.track("Product Viewed")
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b""})

        refusing = JourneyKitMiddleware(app, kit, purposes=lambda scope: False)
        with serving(refusing) as address:
            answer = httpx.get(address, headers={"Cookie": f"{COOKIE}={'a' * 32}.{'b' * 16}.1"})
        assert "Max-Age=0" in answer.headers["set-cookie"]
