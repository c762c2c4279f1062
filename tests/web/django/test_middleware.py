from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

from journeykit import ConfigError, JourneyKit
from journeykit.capture.context import current
from journeykit.model import Kind
from journeykit.web.django.visit import current_visit
from journeykit.web.visitor import COOKIE

Project = Callable[..., JourneyKit]
Events = Callable[[JourneyKit], list[Any]]

OURS = "journeykit.web.django.middleware.JourneyKitMiddleware"
SESSIONS = "django.contrib.sessions.middleware.SessionMiddleware"
PEOPLE = "django.contrib.auth.middleware.AuthenticationMiddleware"

#: Without a journey nobody works out who is the same person.
JOURNEY = """
[[journeys]]
key = "shop"
version = 1
extends = "ecommerce"
"""


def test_an_event_knows_its_visitor_and_its_page(
    project: Project, events: Events, browser: Any
) -> None:
    """The first event sets the cookie, the next is the same visitor's, and the page is the view's name."""
    kit = project()

    first = browser.get("track/Secret-Path-17")
    second = browser.get("track/Again")

    one, two = events(kit)
    anonymous_id, session_id, _ = browser.cookie.split(".")
    assert one.customer == two.customer
    assert (one.customer.anonymous_id, one.customer.session_id) == (anonymous_id, session_id)
    assert one.customer.user_id is None
    assert one.channel == "web"
    assert one.context["page"] == {"name": "track"}
    assert first.cookies[COOKIE]["httponly"]
    assert first.cookies[COOKIE]["samesite"] == "Lax"
    assert first.cookies[COOKIE]["path"] == "/"
    assert not first.cookies[COOKIE]["secure"]
    assert COOKIE not in second.cookies


def test_a_request_without_an_event_changes_nothing(project: Project, browser: Any) -> None:
    """Who is not recorded gets no cookie, no session, and no header that hinders caches."""
    project()

    response = browser.get("/quiet")

    assert not response.cookies
    assert not response.has_header("Vary")


def test_no_session_is_forced_on_anybody(project: Project, browser: Any) -> None:
    """An event of somebody who has no session sets our cookie only, and makes no row of a session."""
    from django.contrib.sessions.models import Session

    project()
    before = Session.objects.count()

    response = browser.get("track/Seen")

    assert set(response.cookies) == {COOKIE}
    assert Session.objects.count() == before


def test_a_cache_never_gives_the_cookie_to_others(project: Project, browser: Any) -> None:
    """An answer with the cookie varies by cookies, so that a cache of whole pages keeps it apart."""
    project(
        settings={
            "MIDDLEWARE": [
                "django.middleware.cache.UpdateCacheMiddleware",
                SESSIONS,
                PEOPLE,
                OURS,
                "django.middleware.cache.FetchFromCacheMiddleware",
            ]
        }
    )
    first = browser.get("track/Cached")
    browser.client.cookies.clear()

    second = browser.get("track/Cached")

    assert "Cookie" in first["Vary"]
    assert first.cookies[COOKIE].value.split(".")[0] != second.cookies[COOKIE].value.split(".")[0]


@pytest.mark.parametrize(
    ("settings", "options", "secure"),
    [
        ({}, {}, False),
        ({"SESSION_COOKIE_SECURE": True}, {}, True),
        ({"SESSION_COOKIE_SECURE": True}, {"COOKIE_SECURE": False}, False),
        ({}, {"COOKIE_SECURE": True}, True),
    ],
)
def test_the_cookie_is_as_closed_as_the_sessions(
    project: Project, make_browser: Any, settings: Any, options: Any, secure: bool
) -> None:
    """Behind a proxy that ends TLS the cookie is for HTTPS only where the session's is, or the setting says so."""
    project(settings=settings, **options)

    response = make_browser("wsgi").get("track/Seen")

    assert bool(response.cookies[COOKIE]["secure"]) is secure


def test_over_tls_the_cookie_is_secure(project: Project, make_browser: Any) -> None:
    """A request over HTTPS gets a cookie that never goes over plain HTTP."""
    project()
    browser = make_browser("wsgi")

    response = browser.client.get("/s/track/Seen", secure=True)

    assert response.cookies[COOKIE]["secure"]


def test_who_signs_in_is_identified(project: Project, events: Events, browser: Any) -> None:
    """By Django's own signal what the visitor did before becomes the person's, and the request goes on as them."""
    from django.contrib.auth.models import User

    kit = project(JOURNEY)
    browser.get("track/First")
    browser.get("in/ada")
    browser.get("track/Later")

    told = [each for each in events(kit) if each.kind is not Kind.DERIVED and each.customer]
    first, before, fact, signed_in, later = told
    ada = str(User.objects.get(username="ada").pk)
    assert fact.name == "customer.identified"
    assert [each.customer.user_id for each in (first, before)] == [None, None]
    assert [each.customer.user_id for each in (fact, signed_in, later)] == [ada] * 3
    assert len({each.customer.anonymous_id for each in told}) == 1
    assert kit.merged_with(first.customer.anonymous_id) == ada


def test_who_signs_out_leaves_an_unknown_visitor(
    project: Project, events: Events, browser: Any
) -> None:
    """The rest of that request is still theirs, the cookie goes, and the next request is another visitor's."""
    kit = project()
    browser.get("in/ada")
    before = browser.cookie.split(".")[0]

    response = browser.get("out")
    gone = browser.cookie
    browser.get("track/Next")

    *_, out, following = events(kit)
    assert response.cookies[COOKIE].value == ""
    assert gone is None
    assert (out.name, out.customer.anonymous_id) == ("Signed Out", before)
    assert out.customer.user_id is not None
    assert following.customer.user_id is None
    assert following.customer.anonymous_id != before


def test_another_person_on_the_same_device_is_another_visitor(
    project: Project, events: Events, browser: Any
) -> None:
    """Who signs in where somebody else was signed in gets a cookie of their own, and no fact joins the two."""
    kit = project(JOURNEY)
    browser.get("in/ada")
    ada = browser.cookie.split(".")[0]

    browser.get("in/bob")
    browser.get("track/Later")

    *_, later = [each for each in events(kit) if each.name == "Later"]
    assert browser.cookie.split(".")[0] != ada
    assert later.customer.anonymous_id == browser.cookie.split(".")[0]
    assert not [each for each in events(kit) if each.name == "customer.merge_refused"]


def test_a_signal_without_a_request_knows_the_visitor(
    project: Project, events: Events, browser: Any
) -> None:
    """Code that has no request, as receivers of a shop's own signals, tracks for the visitor of the request."""
    from django.dispatch import Signal

    kit = project()
    placed = Signal()

    def receive(**_: Any) -> None:
        kit.track("Order Completed")

    placed.connect(receive)
    from django.contrib.auth.signals import user_logged_in

    def signed_in(**_: Any) -> None:
        placed.send(sender=None)

    user_logged_in.connect(signed_in)
    try:
        browser.get("in/ada")
    finally:
        user_logged_in.disconnect(signed_in)

    (order,) = [each for each in events(kit) if each.name == "Order Completed"]
    assert order.customer.anonymous_id == browser.cookie.split(".")[0]
    assert order.context["page"] == {"name": "sign_in"}


def test_streams_know_their_visitor(project: Project, events: Events, browser: Any) -> None:
    """What happens while the pieces of a stream are made, after the request, is the same visitor's."""
    kit = project()

    response = browser.get("stream")

    assert response.getvalue() == b"one True"
    before, streamed = events(kit)
    assert before.customer == streamed.customer


def test_nothing_stays_bound(project: Project, browser: Any) -> None:
    """After a request no customer is bound, and none after one that failed."""
    project()
    browser.get("track/Seen")
    browser.get("/nowhere")

    assert current() is None
    assert current_visit() is None


def test_listed_twice_it_works_once(project: Project, events: Events, browser: Any) -> None:
    """A second middleware does nothing: one visitor, one cookie, one question to the shop."""
    asked = []

    def purposes(request: Any) -> None:
        asked.append(request)

    kit = project(PURPOSES=purposes, settings={"MIDDLEWARE": [SESSIONS, PEOPLE, OURS, OURS]})

    browser.get("track/Seen")

    (event,) = events(kit)
    assert event.customer.anonymous_id == browser.cookie.split(".")[0]
    assert len(asked) == 1


def test_without_the_middleware_the_shop_goes_on(project: Project, browser: Any) -> None:
    """Where it is missing, events are refused with their reason, and pages come as ever."""
    project(strict=False, settings={"MIDDLEWARE": [SESSIONS, PEOPLE]})

    assert browser.get("track/Seen").content == b"no_customer"
    assert browser.get("in/ada").content == b"in"
    assert browser.get("/tag/journeykit_prompts").status_code == 200


def test_before_authentication_the_shop_goes_on(
    project: Project, events: Events, browser: Any
) -> None:
    """In the wrong place it still tells visitors apart, and pages come as ever."""
    kit = project(settings={"MIDDLEWARE": [OURS, SESSIONS, PEOPLE]})

    browser.get("in/ada")

    assert browser.get("track/Seen").status_code == 200
    assert events(kit)[-1].customer.anonymous_id == browser.cookie.split(".")[0]


def _number(request: Any) -> str | None:
    return f"customer-{request.user.username}" if request.user.is_authenticated else None


async def _anumber(request: Any) -> str | None:
    user = await request.auser()
    return f"customer-{user.username}" if user.is_authenticated else None


@pytest.mark.parametrize("function", [_number, _anumber])
def test_the_users_id_may_be_the_shops_own(
    project: Project, events: Events, browser: Any, function: Any
) -> None:
    """`USER_ID` says who is signed in: a function of the request, or a coroutine function, on any server."""
    kit = project(USER_ID=function)

    browser.get("in/ada")
    browser.get("track/Later")

    before, *others = events(kit)
    assert before.customer.user_id is None
    assert [each.customer.user_id for each in others] == ["customer-ada"] * 3


def test_a_function_that_fails_hurts_nobody(
    project: Project, events: Events, browser: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """A `USER_ID` that raises is logged, and the event is the anonymous visitor's."""

    def broken(request: Any) -> str:
        raise LookupError

    kit = project(USER_ID=broken)

    assert browser.get("track/Seen").status_code == 200

    (event,) = events(kit)
    assert event.customer.user_id is None
    assert "journeykit.callable_failed" in caplog.messages


def test_consent_is_asked_of_the_shop(project: Project, events: Events, browser: Any) -> None:
    """`PURPOSES` decides: who has agreed is recorded and gets the cookie, who has not is not and does not."""
    granted: list[Any] = [set()]

    def purposes(request: Any) -> Any:
        return granted[0]

    kit = project(consent="opt_in", strict=False, PURPOSES=purposes)

    refused = browser.get("track/Refused")
    granted[0] = {"analytics"}
    accepted = browser.get("track/Accepted")
    granted[0] = set()
    withdrawn = browser.get("track/Refused")

    (event,) = events(kit)
    assert refused.content == b"no_consent"
    assert COOKIE not in refused.cookies
    assert (event.name, COOKIE in accepted.cookies) == ("Accepted", True)
    assert withdrawn.cookies[COOKIE].value == ""


def test_consent_that_cannot_be_asked_is_none(
    project: Project, browser: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """A `PURPOSES` that raises records nobody, and leaves the cookie that somebody has."""

    def broken(request: Any) -> Any:
        raise LookupError

    project(strict=False, PURPOSES=broken)
    browser.client.cookies[COOKIE] = f"{'a' * 32}.{'b' * 16}.1"

    response = browser.get("track/Seen")

    assert response.content == b"no_consent"
    assert COOKIE not in response.cookies
    assert "journeykit.callable_failed" in caplog.messages


def test_gpc_is_heard(project: Project, events: Events, browser: Any) -> None:
    """A browser with Global Privacy Control denies exports, and that is stamped on the event."""
    kit = project()

    browser._ask("get", "track/Seen", headers={"Sec-GPC": "1"})

    (event,) = events(kit)
    assert event.context["denied"] == ["export:*"]


def test_mistakes_stop_the_start(project: Project, make_browser: Any) -> None:
    """A server whose declarations have mistakes does not start, and names every one of them."""
    with pytest.raises(ConfigError) as caught:
        project('[[journeys]]\nkey = "x"\n[nonsense]\n')
    assert len(caught.value.problems) >= 2

    with pytest.raises(ConfigError):
        make_browser("wsgi").get("/quiet")


def test_an_app_that_is_not_installed_is_named(project: Project, make_browser: Any) -> None:
    """A middleware whose app is missing says which line to add, when the server starts."""
    project()
    apps = ["django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions"]

    with (
        override_settings(INSTALLED_APPS=apps),
        pytest.raises(ImproperlyConfigured, match=r'"journeykit\.web\.django" is not in INSTALLED'),
    ):
        make_browser("wsgi").get("/quiet")


def test_an_app_by_the_name_of_the_package_is_named(project: Project, make_browser: Any) -> None:
    """Who lists `journeykit` as the app is told its name, when the server starts."""
    project()
    apps = ["django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions"]
    wrong = r"INSTALLED_APPS has 'journeykit'; write \"journeykit\.web\.django\" instead"

    with (
        override_settings(INSTALLED_APPS=[*apps, "journeykit"]),
        pytest.raises(ImproperlyConfigured, match=wrong),
    ):
        make_browser("wsgi").get("/quiet")
