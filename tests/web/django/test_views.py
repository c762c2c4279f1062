from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.handlers.wsgi import WSGIHandler
from django.test import Client, RequestFactory
from django.urls import set_script_prefix

from journeykit import Endpoint, JourneyKit, hookimpl
from journeykit.web import Request, Response
from journeykit.web.django.views import endpoint

Project = Callable[..., JourneyKit]
Events = Callable[[JourneyKit], list[Any]]

MOUNT = "/own/journeykit"
ORIGIN = {"Sec-Fetch-Site": "same-origin", "User-Agent": "Mozilla/5.0"}

FRICTION = "[web]\nfriction = true\n"
PROMPT = """
[[prompts]]
key = "after"
kind = "csat"
when = { event = "Bought" }
ask = { always = true }
text = "How was it?"
[[touchpoints]]
name = "Bought"
"""


def _beacon(*names: str) -> str:
    return json.dumps({"events": [{"name": name, "properties": {}} for name in names]})


def test_a_prompt_is_asked_and_answered(project: Project, events: Events, browser: Any) -> None:
    """A page asks for its prompt, shows it, and the answer comes to the Log, without a CSRF token."""
    kit = project(PROMPT)
    browser.get("track/Bought")
    assert kit.flush()

    asked = browser.get(f"{MOUNT}/v1/prompt?path=/thanks&lang=en", **ORIGIN)
    offer = asked.json()
    where = f"{MOUNT}/v1/impressions/{offer['impression']}"

    def report(**said: Any) -> int:
        body = json.dumps({"token": offer["token"], **said})
        answer = browser.post(where, body, content_type="application/json", headers=ORIGIN)
        return int(answer.status_code)

    assert report(event="shown", seq=0) == 204
    assert report(event="answer", seq=1, answers={"score": 4}) == 204
    assert report(event="completed", seq=2, answers={"score": 4}) == 204

    names = [each.name for each in events(kit) if each.name.startswith("prompt.")]
    assert names[0] == "prompt.shown"
    assert "prompt.answered" in names
    assert asked["Cache-Control"] == "no-store"


def test_strict_csrf_checks_do_not_hinder_beacons(
    project: Project, events: Events, database: object
) -> None:
    """Where Django enforces CSRF tokens, a beacon of the page's own origin comes in, and a foreign one does not."""
    kit = project(FRICTION)
    client = Client(enforce_csrf_checks=True)
    client.get("/s/track/Seen")

    def send(**headers: str) -> int:
        body = _beacon("Rage Clicked")
        given = {"User-Agent": "Mozilla/5.0", **headers}
        answer = client.post(f"{MOUNT}/v1/events", body, content_type="text/plain", headers=given)
        return int(answer.status_code)

    assert send(**{"Sec-Fetch-Site": "same-origin"}) == 204
    assert send(**{"Sec-Fetch-Site": "cross-site"}) == 403
    assert send(Origin="https://evil.test") == 403
    assert [each.name for each in events(kit)].count("Rage Clicked") == 1


def test_scripts_are_served(project: Project, browser: Any) -> None:
    """The tag's script is there, with a type and for long."""
    project(PROMPT)

    page = browser.get("/tag/journeykit_prompts").content.decode()
    source = page.partition('src="')[2].partition('"')[0]
    script = browser.get(source)

    assert source.startswith(f"{MOUNT}/static/")
    assert script.status_code == 200
    assert "javascript" in script["Content-Type"]


@pytest.mark.parametrize("method", ["get", "post"])
def test_what_is_not_there_is_said(project: Project, browser: Any, method: str) -> None:
    """An address below the mount point that nothing answers is a 404 of ours, and no page of the shop."""
    project()

    answer = browser._ask(method, f"{MOUNT}/v1/nonsense")

    assert answer.status_code == 404
    assert answer.json() == {"code": "not_found"}


def test_a_body_that_is_too_large_is_refused(project: Project, browser: Any) -> None:
    """More than 64 KB are not read into memory, and the answer says so."""
    project(FRICTION)

    answer = browser.post(
        f"{MOUNT}/v1/events", "x" * 200_000, content_type="text/plain", headers=ORIGIN
    )

    assert (answer.status_code, answer.json()) == (413, {"code": "too_large"})


class _Hooks:
    name = "hooks"

    @hookimpl
    def register_endpoints(self, settings: Any) -> list[Endpoint]:
        """Return an endpoint that says what it got."""

        def handle(request: Request) -> Response:
            return Response.of_json(
                {"body": request.body.decode(), "query": dict(request.query), "root": request.root}
            )

        return [Endpoint(path="hook", handle=handle, methods=("POST",))]


def test_endpoints_of_plugins_are_served(project: Project, browser: Any) -> None:
    """An endpoint of a plugin gets the body as it came, the query, and the path of the project."""
    project(PLUGINS=[_Hooks()])

    answer = browser.post(f"{MOUNT}/hook?a=1&a=2", "raw bytes", content_type="text/plain")

    assert answer.json() == {"body": "raw bytes", "query": {"a": "2"}, "root": ""}


def test_below_another_path_everything_is_there(project: Project, database: object) -> None:
    """Where a server mounts the whole project below a path, scripts and endpoints are below it too."""
    project(PROMPT)
    serve = WSGIHandler()
    began: list[str] = []

    def get(path: str) -> str:
        environ = RequestFactory().get(path).environ
        answer = serve({**environ, "SCRIPT_NAME": "/shop"}, lambda status, _: began.append(status))
        return b"".join(answer).decode()

    try:
        page = get("/tag/journeykit_prompts")
        source = page.partition('src="')[2].partition('"')[0]
        get(source.removeprefix("/shop"))
    finally:
        set_script_prefix("/")

    assert source.startswith(f"/shop{MOUNT}/static/")
    assert f'data-endpoint="/shop{MOUNT}/v1"' in page
    assert began == ["200 OK", "200 OK"]


def test_no_more_is_read_than_is_taken(project: Project, database: object) -> None:
    """Of a body that is too large, no more than the most and one byte is ever held."""
    project(FRICTION)
    request = RequestFactory().post("/x", "x" * 200_000, content_type="text/plain")
    read, sizes = request.read, []

    def noted(size: int) -> bytes:
        sizes.append(size)
        return bytes(read(size))

    request.read = noted

    assert endpoint(request, "v1/events").status_code == 403
    assert max(sizes) == 65_537


def test_who_needs_a_sign_in_everywhere_does_not_for_us(project: Project, database: object) -> None:
    """With `LoginRequiredMiddleware`, visitors who are not signed in are asked all the same."""
    project(
        PROMPT,
        settings={
            "MIDDLEWARE": [
                "django.contrib.sessions.middleware.SessionMiddleware",
                "django.contrib.auth.middleware.AuthenticationMiddleware",
                "django.contrib.auth.middleware.LoginRequiredMiddleware",
                "journeykit.web.django.middleware.JourneyKitMiddleware",
            ]
        },
    )

    assert Client().get("/quiet").status_code == 302
    assert Client().get(f"{MOUNT}/v1/prompt", headers=ORIGIN).status_code == 204


def test_tests_record_nothing_where_the_shop_does(
    project: Callable[..., JourneyKit], tmp_path: Path
) -> None:
    """In Django's test environment a kit begins with an empty store, and delivers nothing."""
    sink = '[sinks.file]\ntype = "file"\npath = "events.jsonl"\n'
    for _ in range(2):
        kit = project(sink)
        assert kit.track("Product Viewed", customer="1", id="order-1")
        assert kit.flush()
        assert kit.committed["added"] == 1
    assert kit.sinks == ()
    assert [path.name for path in tmp_path.iterdir()] == ["journeykit.toml"]
