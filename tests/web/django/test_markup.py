from __future__ import annotations

import re
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from django.http import HttpResponse, StreamingHttpResponse
from django.test import Client, RequestFactory
from django.utils import translation

from journeykit import JourneyKit
from journeykit.web.django.inject import inject
from journeykit.web.django.project import get_project
from journeykit.web.django.visit import RequestVisit

Project = Callable[..., JourneyKit]

PROMPT = """
[[touchpoints]]
name = "Bought"
[[prompts]]
key = "after"
kind = "csat"
when = { event = "Bought" }
ask = { always = true }
text = { en = "How was it?", ar = "كيف كان؟" }
"""


@pytest.mark.parametrize("tag", ["journeykit_prompts", "journeykit_prompt"])
def test_the_tag_lets_the_page_ask(project: Project, browser: Any, tag: str) -> None:
    """Both names of the tag render the element and its script, with the name of the page's view."""
    project(PROMPT)

    page = browser.get(f"/tag/{tag}").content.decode()

    assert "<journeykit-prompt></journeykit-prompt><script" in page
    assert 'data-page="templated"' in page
    assert "nonce" not in page


def test_without_prompts_the_tag_is_nothing(project: Project, browser: Any) -> None:
    """What is not declared is not on the page."""
    project()

    assert b"<script" not in browser.get("/tag/journeykit_prompts").content


def test_outside_a_request_the_tags_are_nothing(project: Project) -> None:
    """A template that is rendered for a mail renders, without us."""
    from django.template import engines

    project(PROMPT)
    source = "{% load journeykit %}[{% journeykit_prompts %}{% journeykit_form %}]"

    assert engines["django"].from_string(source).render({}, None) == "[]"


def test_the_form_is_the_visitors_own(project: Project, browser: Any) -> None:
    """The form asks what may be asked now, in the page's language, and no cache gives the page to others."""
    kit = project(PROMPT)
    browser.get("track/Bought")
    assert kit.flush()

    with translation.override("ar"):
        response = browser.get("/tag/journeykit_form", **{"User-Agent": "Mozilla/5.0"})

    page = response.content.decode()
    assert "كيف كان؟" in page
    assert 'action="/own/journeykit/v1/impressions/' in page
    assert "Cookie" in response["Vary"]


@pytest.mark.parametrize("name", ["csp_nonce", "_csp_nonce"])
def test_scripts_have_the_pages_nonce(project: Project, name: str, database: object) -> None:
    """Where a policy for content makes a nonce, the script has it; django-csp's, and that of Django 6."""
    project(PROMPT, INJECT=True)
    request = RequestFactory().get("/")
    setattr(request, name, 'a"b')
    response = _injected(request, "<html><body></body></html>")

    assert ' nonce="a&quot;b"' in response.content.decode()


def _injected(request: Any, body: Any, **more: Any) -> Any:
    given = dict(more)
    streaming = given.pop("streaming", False)
    headers = given.pop("headers", {})
    response = (StreamingHttpResponse if streaming else HttpResponse)(body, **given)
    for key, value in headers.items():
        response[key] = value
    inject(RequestVisit(get_project(), request), response)
    return response


@pytest.mark.parametrize(
    ("body", "more", "changed"),
    [
        ("<body>x</body></html>", {}, True),
        ("<body>x</BODY >", {}, False),
        ("<body>x</BoDy>", {}, True),
        ("<p>a part of a page</p>", {}, False),
        ("<body></body>", {"content_type": "application/json"}, False),
        ("<body></body>", {"content_type": "text/html; charset=utf-16"}, False),
        ("<body></body>", {"content_type": "TEXT/HTML"}, True),
        ("<body></body>", {"headers": {"Content-Encoding": "gzip"}}, False),
        ("<body></body>", {"headers": {"Content-Disposition": "attachment; x"}}, False),
        (["<body></body>"], {"streaming": True}, False),
    ],
)
def test_only_whole_pages_are_changed(
    project: Project, database: object, body: Any, more: Any, changed: bool
) -> None:
    """Injection touches HTML that is neither encoded nor streamed nor a part, and no more."""
    project(PROMPT, INJECT=True)

    response = _injected(RequestFactory().get("/"), body, **more)

    content = b"".join(response) if response.streaming else response.content
    assert ("<journeykit-prompt>" in content.decode(response.charset)) is changed


def test_it_goes_to_the_last_end_of_the_body(project: Project, database: object) -> None:
    """A page that quotes `</body>` in its text keeps it, and the length is told right."""
    project(PROMPT, INJECT=True)
    body = "<body><code>&lt;/body></code><!-- </body> --><p>é</p></body></html>"

    response = _injected(RequestFactory().get("/"), body, headers={"Content-Length": "3"})

    text = response.content.decode()
    assert re.search(r"<p>é</p><journeykit-prompt>.*</script></body></html>$", text)
    assert int(response["Content-Length"]) == len(response.content)


def test_the_admin_is_left_alone(project: Project, database: object) -> None:
    """Colleagues at work in the admin are asked nothing."""
    project(PROMPT, INJECT=True)
    request = RequestFactory().get("/admin/")
    request.resolver_match = SimpleNamespace(app_names=["admin"], view_name="admin:index")

    assert b"<script" not in _injected(request, "<body></body>").content


def test_injection_is_asked_for(project: Project, database: object) -> None:
    """Without `INJECT` no page is changed; with it, one that has the tag is not changed twice."""
    project(PROMPT)
    assert b"<script" not in Client().get("/quiet").content

    project(PROMPT, INJECT=True)
    assert Client().get("/quiet").content.count(b"<journeykit-prompt>") == 1
    assert Client().get("/tag/journeykit_prompts").content.count(b"<journeykit-prompt>") == 1
