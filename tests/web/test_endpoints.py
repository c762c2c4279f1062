from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import flask
import pytest
from flask.testing import FlaskClient
from tests.web import shop

from journeykit import Customer, JourneyKit
from journeykit.exceptions import StoreError
from journeykit.model.extension import Endpoint
from journeykit.model.impression import Outcome, OutcomeStatus
from journeykit.web import Request
from journeykit.web import endpoints as module
from journeykit.web.endpoints import MOST_BYTES, Endpoints
from journeykit.web.static_files import static_file

AGENT = "Mozilla/5.0 (X11; Linux x86_64) Chrome/156"
SAME = {"Sec-Fetch-Site": "same-origin", "User-Agent": AGENT}


@pytest.fixture
def kit() -> Iterator[JourneyKit]:
    """Return a kit with a prompt of every kind, which lets browsers track two things."""
    with shop.make_kit(events=["Video Played"], friction=True) as kit:
        yield kit


class Visitor:
    """Somebody in a browser, as the endpoints see them."""

    def __init__(self, client: FlaskClient) -> None:
        self.client = client

    def ask(self, prompt: str = "nps", headers: dict[str, str] | None = None) -> Any:
        """Ask for a prompt on the page of that prompt."""
        query = {"path": f"/ask/{prompt}", "lang": "en"}
        return self.client.get("/journeykit/v1/prompt", query_string=query, headers=headers or SAME)

    def tell(self, offer: dict[str, Any], event: str, **more: Any) -> Any:
        """Report something of the offer."""
        headers = more.pop("headers", SAME)
        body = {"token": offer["token"], "event": event, "seq": 1, **more}
        url = f"/journeykit/v1/impressions/{offer['impression']}"
        return self.client.post(url, json=body, headers=headers)


@pytest.fixture
def app(kit: JourneyKit) -> flask.Flask:
    """Return a shop that uses the kit."""
    return shop.make_shop(kit)


@pytest.fixture
def visitor(app: flask.Flask) -> Visitor:
    """Return somebody who has just come in."""
    return Visitor(app.test_client())


@pytest.fixture
def another(app: flask.Flask) -> Visitor:
    """Return somebody else."""
    return Visitor(app.test_client())


def answers(kit: JourneyKit) -> list[Any]:
    """Return what was answered."""
    return [
        each.properties["answers"] for each in shop.facts(kit) if each.name == "prompt.answered"
    ]


def test_an_offer_says_what_to_ask_and_nothing_of_whom(visitor: Visitor) -> None:
    """The wire has the question, a token and the words, and no id of the customer."""
    response = visitor.ask("nps-plus")

    offer = response.json
    [cookie] = visitor.client._cookies.values()
    anonymous_id, session_id = cookie.value.split(".")[:2]
    assert response.status_code == 200
    assert response.headers["Cache-Control"] == "no-store"
    assert [step["id"] for step in offer["steps"]] == [
        "score", "why_low", "why_mid", "why_high", "more",
    ]  # fmt: skip
    assert offer["steps"][1]["to"] == 6
    assert (offer["v"], offer["lang"], offer["dir"], offer["delay_ms"]) == (1, "en", "ltr", 0)
    assert offer["expires_in"] > 0
    assert anonymous_id not in response.text
    assert session_id not in response.text


def test_nothing_to_ask_is_no_content(kit: JourneyKit, visitor: Visitor) -> None:
    """Where nothing is to be asked the answer is empty."""
    response = visitor.ask("no-such-prompt")

    assert (response.status_code, response.data) == (204, b"")
    assert kit.requests == {"nothing_to_ask": 1}


def test_an_answer_is_stored(kit: JourneyKit, visitor: Visitor) -> None:
    """Shown, answered step by step, completed: the last answers stand, each said once."""
    offer = visitor.ask().json

    told = [
        visitor.tell(offer, "shown"),
        visitor.tell(offer, "started", seq=2),
        visitor.tell(offer, "answer", seq=3, answers={"score": 9}),
        visitor.tell(offer, "completed", seq=4, answers={"score": 9, "more": "x"}, elapsed_ms=900),
    ]

    assert [each.status_code for each in told] == [204] * 4
    assert answers(kit) == [{"score": 9}, {"score": 9, "more": "x"}]
    assert kit.requests["completed_ok"] == 1


# What is refused, or stored once


def test_a_replayed_answer_is_stored_once(kit: JourneyKit, visitor: Visitor) -> None:
    """The same report twice is one fact, and the second reply is as good as the first."""
    offer = visitor.ask().json
    visitor.tell(offer, "shown")

    twice = [visitor.tell(offer, "completed", seq=2, answers={"score": 3}) for _ in range(2)]

    assert [each.status_code for each in twice] == [204, 204]
    assert answers(kit) == [{"score": 3}]


def test_another_answer_behind_the_end_is_closed(kit: JourneyKit, visitor: Visitor) -> None:
    """What was completed stays as it is."""
    offer = visitor.ask().json
    visitor.tell(offer, "shown")
    visitor.tell(offer, "completed", seq=2, answers={"score": 3})

    later = visitor.tell(offer, "completed", seq=9, answers={"score": 10})

    assert (later.status_code, later.json) == (409, {"code": "closed"})
    assert answers(kit) == [{"score": 3}]


def test_an_expired_token_is_gone(
    kit: JourneyKit, visitor: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A day later the answer is refused as expired."""
    offer = visitor.ask().json
    visitor.tell(offer, "shown")
    now = module.time.time()
    monkeypatch.setattr(module.time, "time", lambda: now + 86_401)

    response = visitor.tell(offer, "completed", answers={"score": 3})

    assert (response.status_code, response.json) == (410, {"code": "expired"})
    assert kit.requests["completed_expired"] == 1
    assert answers(kit) == []


@pytest.mark.parametrize("change", ["token", "impression", "visitor", "none", "number", "version"])
def test_a_token_is_good_for_one_impression_and_one_visitor(
    kit: JourneyKit, visitor: Visitor, another: Visitor, change: str
) -> None:
    """A token that was changed, of another impression, or of another visitor is refused."""
    offer, other = visitor.ask().json, another.ask().json
    visitor.tell(offer, "shown")
    teller, told = visitor, dict(offer)
    if change == "visitor":
        teller = another
    elif change == "impression":
        told["impression"] = other["impression"]
    else:
        first, version, mac = offer["token"].split(".")
        told["token"] = {
            "token": f"{first}.{version}.{mac[::-1]}",
            "none": "",
            "number": 7,
            "version": f"{first}.{version}x.{mac}",
        }[change]

    response = teller.tell(told, "completed", answers={"score": 3})

    assert response.status_code in (400, 403)
    assert response.json["code"] in ("foreign_token", "no_token")
    assert answers(kit) == []


def test_who_signs_in_meanwhile_may_answer(kit: JourneyKit) -> None:
    """A token outlives the sign-in of the visitor that it was made for."""
    user: list[str] = []
    app = shop.make_shop(kit, user_id=lambda: user[-1] if user else None)
    visitor = Visitor(app.test_client())
    offer = visitor.ask().json
    visitor.tell(offer, "shown")
    user.append("ada")

    assert visitor.tell(offer, "completed", seq=2, answers={"score": 8}).status_code == 204
    assert answers(kit) == [{"score": 8}]


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "none"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost.evil.example"},
        {},
    ],
)
@pytest.mark.parametrize("path", ["impressions/x", "events", "prompts"])
def test_posts_of_other_sites_are_refused(
    kit: JourneyKit, visitor: Visitor, headers: dict[str, str], path: str
) -> None:
    """Only pages of the shop may post; a browser that does not say where from may not."""
    response = visitor.client.post(f"/journeykit/v1/{path}", json={"events": []}, headers=headers)

    assert (response.status_code, response.json) == (403, {"code": "cross_site"})
    assert kit.requests == {"cross_site": 1}
    assert shop.facts(kit) == []


def test_an_origin_will_do(visitor: Visitor) -> None:
    """Where a browser sends no Sec-Fetch-Site, the Origin of the shop will do."""
    headers = {"Origin": "http://localhost", "User-Agent": AGENT}
    offer = visitor.ask(headers=headers).json

    assert visitor.tell(offer, "shown", headers=headers).status_code == 204


@pytest.mark.parametrize("path", ["impressions/x", "events"])
def test_a_body_of_10_mb_is_too_large(kit: JourneyKit, visitor: Visitor, path: str) -> None:
    """A large body is refused as such, and not kept in memory."""
    response = visitor.client.post(
        f"/journeykit/v1/{path}",
        data=b"x" * 10_000_000,
        headers=SAME,
        content_type="application/json",
    )

    assert (response.status_code, response.json) == (413, {"code": "too_large"})
    assert kit.requests == {"too_large": 1}


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (11, "out_of_range"),
        (-1, "out_of_range"),
        (9.5, "wrong_type"),
        (True, "wrong_type"),
        ([9], "wrong_type"),
        ({"a": 1}, "wrong_type"),
        (None, "required"),
    ],
)
def test_a_score_that_is_none(kit: JourneyKit, visitor: Visitor, answer: Any, code: str) -> None:
    """A score of 11, and whatever else is none, is refused with its reason, and not stored."""
    offer = visitor.ask().json
    visitor.tell(offer, "shown")

    response = visitor.tell(offer, "completed", seq=2, answers={"score": answer})

    assert response.status_code == 422
    assert response.json["errors"]["score"] == code
    assert answers(kit) == []
    assert kit.requests["completed_invalid"] == 1


def test_a_script_in_a_comment_is_a_text(kit: JourneyKit, visitor: Visitor) -> None:
    """A comment is kept as it was typed, and is nothing but a text."""
    comment = "</script><script>alert('x')</script>\x00\u202e{{ 7 * 7 }}"
    offer = visitor.ask().json
    visitor.tell(offer, "shown")

    told = visitor.tell(offer, "completed", seq=2, answers={"score": 1, "more": comment})

    assert told.status_code == 204
    assert answers(kit)[-1]["more"].startswith("</script><script>alert")


def test_two_tabs_at_once_show_one(kit: JourneyKit, visitor: Visitor) -> None:
    """Of two offers to one visitor one is shown, and the other is told that it is closed."""
    offers = [visitor.ask() for _ in range(2)]

    shown = [visitor.tell(each.json, "shown").status_code for each in offers if each.data]

    assert shown.count(204) == 1
    assert [each.name for each in shop.facts(kit)].count("prompt.shown") == 1


def test_a_customer_erased_between_shown_and_answered(kit: JourneyKit, visitor: Visitor) -> None:
    """Whoever was erased meanwhile answers nothing, and nothing of them comes back."""
    offer = visitor.ask().json
    visitor.tell(offer, "shown")
    [shown] = shop.facts(kit)
    kit.erase(
        Customer(anonymous_id=shown.customer.anonymous_id), reason="asked for it", actor="customer"
    )

    response = visitor.tell(offer, "completed", seq=2, answers={"score": 3})

    assert response.status_code in (404, 409, 410)
    assert answers(kit) == []


@pytest.mark.parametrize(
    ("body", "type", "status"),
    [
        (b"", "application/json", 400),
        (b"{", "application/json", 400),
        (b"[]", "application/json", 400),
        (b"\xff\xfe", "application/json", 400),
        (b"[" * 60_000, "application/json", 400),
        (b'{"token": "x"}', "application/json", 400),
        (b'{"token": "x", "event": "exploded"}', "application/json", 400),
        (b'{"token": "x", "event": "shown", "seq": -1}', "application/json", 400),
        (b'{"token": "x", "event": "shown", "seq": true}', "application/json", 400),
        (b'{"token": "x", "event": "shown", "seq": 1e999}', "application/json", 400),
        (b'{"token": "x", "event": "shown", "answers": []}', "application/json", 400),
        (b'{"token": "x", "event": "shown"}', "application/json", 403),
        (b'{"token": "\\ud800", "event": "shown"}', "text/plain", 403),
        (b"token=x", "application/x-www-form-urlencoded", 400),
        (b"token=x&event=shown&seq=1e9", "application/x-www-form-urlencoded", 400),
        (b"%ff=%ff&&&=" + b"&a=b" * 500, "application/x-www-form-urlencoded", 400),
        (b"token=x&event=answer", "application/x-www-form-urlencoded", 403),
        (b"<x/>", "text/xml", 415),
        (b"x", "multipart/form-data; boundary=x", 415),
        (b"x", "", 415),
    ],
)
def test_bodies_that_are_no_report(
    kit: JourneyKit, visitor: Visitor, body: bytes, type: str, status: int
) -> None:
    """Whatever is sent gets a clear status, is counted, and is never a 500."""
    visitor.ask()
    url = "/journeykit/v1/impressions/abc"
    response = visitor.client.post(url, data=body, content_type=type, headers=SAME)

    assert response.status_code == status
    assert sum(kit.requests.values()) == 2


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "", 404),
        ("GET", "v1/nothing", 404),
        ("GET", "v1/impressions/../x", 404),
        ("POST", "v1/impressions/a b", 404),
        ("PUT", "v1/prompt", 405),
        ("GET", "v1/impressions/x", 405),
        ("OPTIONS", "v1/events", 405),
        ("GET", "static/other.js", 404),
        ("GET", "static/../endpoints.py", 404),
        ("GET", "static/types.d.ts", 404),
        ("POST", "static/prompt.js", 405),
    ],
)
def test_what_is_not_there(visitor: Visitor, method: str, path: str, status: int) -> None:
    """Other paths and methods get the status that says so."""
    response = visitor.client.open(f"/journeykit/{path}", method=method, headers=SAME)

    assert response.status_code == status


def test_somebody_who_does_not_stop_is_told_to_wait(kit: JourneyKit, visitor: Visitor) -> None:
    """After many requests at once one visitor has to wait, and others do not."""
    visitor.client.get("/")
    statuses = [visitor.ask("none").status_code for _ in range(70)]

    assert statuses.count(204) < 70
    assert visitor.ask().headers["Retry-After"] == "1"
    assert visitor.ask().json == {"code": "too_many"}


@pytest.mark.parametrize(
    "headers",
    [
        {"User-Agent": "Mozilla/5.0 (compatible; Googlebot/2.1)"},
        {"User-Agent": ""},
        {"Sec-Purpose": "prefetch;prerender", "User-Agent": AGENT},
        {"Purpose": "prefetch", "User-Agent": AGENT},
    ],
)
def test_nobody_asks_programs(visitor: Visitor, headers: dict[str, str]) -> None:
    """Bots, and pages that nobody looks at yet, are offered nothing."""
    assert visitor.ask(headers=headers).status_code == 204


def test_opting_out(kit: JourneyKit, visitor: Visitor) -> None:
    """Who wants no questions gets none from then on, by a script or by a form."""
    visitor.client.get("/")
    assert visitor.ask().status_code == 200
    assert visitor.client.delete("/journeykit/v1/prompts", headers=SAME).status_code == 204
    assert kit.flush()

    assert visitor.ask("ces").status_code == 204
    page = visitor.client.post("/journeykit/v1/prompts", headers=SAME)
    assert "We will not ask you again" in page.text


@pytest.mark.parametrize(
    "failure", [StoreError("it is away"), RuntimeError("unexpected"), RecursionError()]
)
def test_what_goes_wrong_is_no_500(failure: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that is away, and a mistake of ours, are a 503, and the shop's pages go on."""
    with shop.make_kit(strict=False) as kit:
        visitor = Visitor(shop.make_shop(kit).test_client())
        offer = visitor.ask().json

        def fail(*_: object, **__: object) -> None:
            raise failure

        monkeypatch.setattr(kit.feedback, "ask", fail)
        monkeypatch.setattr(kit.feedback, "report", fail)
        responses = [visitor.ask(), visitor.tell(offer, "shown")]

        assert [each.status_code for each in responses] == [503, 503]
        assert kit.requests["failed"] == 2
        assert visitor.client.get("/form/nps").status_code == 200


def test_what_cannot_be_stored_now_may_be_sent_again(
    kit: JourneyKit, visitor: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the store is away or full, the page is told so, and not that all is over."""
    offer = visitor.ask().json
    monkeypatch.setattr(
        kit.feedback, "report", lambda *_, **__: Outcome(OutcomeStatus.CLOSED, {"": "full"})
    )

    response = visitor.tell(offer, "completed", answers={"score": 1})

    assert (response.status_code, response.json) == (503, {"code": "unavailable"})


# The plain form


@pytest.mark.parametrize(
    ("back", "goes"),
    [
        ("/orders?page=2", "/orders?page=2"),
        ("//evil.example", "/"),
        ("/\\evil.example", "/"),
        ("https://evil.example", "/"),
        ("javascript:alert(1)", "/"),
        ("/\tx", "/"),
        ("", "/"),
    ],
)
def test_a_form_leads_back_to_this_shop_only(visitor: Visitor, back: str, goes: str) -> None:
    """The way back is a path of this shop, whatever the form says."""
    offer = visitor.ask("ces").json
    visitor.tell(offer, "shown")
    fields = {
        "token": offer["token"], "event": "answer", "seq": "2", "step": "score", "prompt": "ces",
        "lang": "en", "return": back, "answer.score": "5",
    }  # fmt: skip
    url = f"/journeykit/v1/impressions/{offer['impression']}"

    done = visitor.client.post(url, data=fields, headers=SAME)

    assert done.status_code == 303
    thanks = visitor.client.get(done.headers["Location"])
    assert f'<a href="{goes}">' in thanks.text
    assert "default-src 'none'" in thanks.headers["Content-Security-Policy"]


@pytest.mark.parametrize("score", ["", "99", "x", "<b>"])
def test_a_form_that_is_filled_in_wrongly_says_so(visitor: Visitor, score: str) -> None:
    """A page says what is wrong, in the language of the form, and holds nothing of what was sent."""
    offer = visitor.ask("ces").json
    visitor.tell(offer, "shown")
    fields = {
        "token": offer["token"], "event": "answer", "seq": "2", "step": "score", "prompt": "ces",
        "lang": "de", "answer.score": score,
    }  # fmt: skip
    url = f"/journeykit/v1/impressions/{offer['impression']}"

    response = visitor.client.post(url, data=fields, headers=SAME)

    assert response.status_code == 422
    assert "Das ist keine Antwort auf diese Frage." in response.text
    assert "<b>" not in response.text


# What browsers track


def test_browsers_track_what_is_allowed(kit: JourneyKit, visitor: Visitor) -> None:
    """Names of the list with their own properties come in; others, texts and addresses do not."""
    given = [
        {"name": "Video Played", "page": "product", "title": "secret", "ago_ms": 2000},
        {"name": "Rage Clicked", "element": "button#pay", "text": "Ada"},
        {"name": "Rage Clicked", "element": "Ada Lovelace, 12 Main Street"},
        {"name": "Rage Clicked", "element": "tr#order-1234567"},
        {"name": "Order Completed", "revenue": 1_000_000},
        {"name": ["Video Played"]},
        "Video Played",
    ]
    response = visitor.client.post(
        "/journeykit/v1/events",
        data=json.dumps({"events": given}),
        content_type="text/plain;charset=UTF-8",
        headers=SAME,
    )

    events = shop.events(kit)
    assert response.status_code == 204
    assert [(each.name, each.properties) for each in events] == [
        ("Video Played", {"page": "product"}),
        ("Rage Clicked", {"element": "button#pay"}),
        ("Rage Clicked", {}),
        ("Rage Clicked", {"element": "tr#order-*"}),
    ]
    assert kit.requests == {"events": 4, "events_not_allowed": 3}


@pytest.mark.parametrize("body", [{}, {"events": 1}, {"events": {"name": "x"}}])
def test_no_list_of_events_is_refused(visitor: Visitor, body: Any) -> None:
    """A body without a list is a 400."""
    response = visitor.client.post("/journeykit/v1/events", json=body, headers=SAME)

    assert (response.status_code, response.json) == (400, {"code": "bad_events"})


# What is served besides


def test_scripts_are_kept_by_browsers(visitor: Visitor) -> None:
    """The name that pages hold may be kept for a year; an old one leads to the script of now."""
    file = static_file("prompt.js")
    now = visitor.client.get(f"/journeykit/static/{file.name}", headers={"Accept-Encoding": "gzip"})
    old = visitor.client.get("/journeykit/static/prompt.000000000000.js")

    assert f'src="/journeykit/static/{file.name}"' in visitor.client.get("/").text
    assert now.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert now.headers["Content-Encoding"] == "gzip"
    assert len(now.data) == len(file.packed)
    assert old.headers["Cache-Control"] == "no-cache"
    assert old.data == file.body


@pytest.mark.parametrize(("name", "most"), [("prompt.js", 5 * 1024), ("friction.js", 3 * 1024)])
def test_scripts_are_small(name: str, most: int) -> None:
    """A page loads 5 KB for the prompt, and 3 KB where friction is looked for."""
    assert len(static_file(name).packed) <= most


def test_nothing_is_served_where_nothing_is_declared() -> None:
    """Without prompts, browser events and plugins there are no endpoints, and tags are empty."""
    from journeykit.config.settings import Consent, Core, Settings

    settings = Settings(consent=Consent("opt_out"), core=Core(store="memory://"))
    with JourneyKit(settings) as kit:
        client = shop.make_shop(kit).test_client()

        assert not Endpoints(kit)
        assert client.get("/journeykit/v1/prompt").status_code == 404
        assert "journeykit" not in client.get("/").text


def test_endpoints_of_plugins_are_served_by_the_same_core(kit: JourneyKit) -> None:
    """A plugin's endpoint has its path and its methods, and decides about origins by itself."""
    seen: list[Request] = []

    def handle(request: Request) -> Any:
        seen.append(request)
        return module.Response(status=201)

    kit.endpoints.append(Endpoint("zapier/subscribe", ["POST"], handle))
    endpoints = Endpoints(kit)

    assert endpoints.handle(Request(method="POST", path="zapier/subscribe")).status == 201
    assert endpoints.handle(Request(method="GET", path="zapier/subscribe")).status == 405
    assert endpoints.most_bytes("zapier/subscribe") is None
    assert endpoints.most_bytes("v1/events") == MOST_BYTES
    assert len(seen) == 1


def test_an_endpoint_of_a_plugin_that_fails_harms_nobody(
    make_settings: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    """What it raises is answered with 503, counted and named, and the shop goes on."""

    def handle(_: Request) -> Any:
        msg = "ada@example.com"
        raise RuntimeError(msg)

    with JourneyKit(make_settings(core={"strict": False})) as kit:
        kit.endpoints.append(Endpoint("zapier/subscribe", ["POST"], handle))
        answer = Endpoints(kit).handle(Request(method="POST", path="zapier/subscribe"))

    assert answer.status == 503
    assert kit.requests == {"plugin_failed": 1}
    [record] = [each for each in caplog.records if each.message == "journeykit.request_failed"]
    assert vars(record)["endpoint"] == "zapier/subscribe"
    assert "ada" not in str(vars(record))


def test_the_status_tells_what_became_of_requests(kit: JourneyKit, visitor: Visitor) -> None:
    """`kit.status()` has the counts."""
    visitor.ask()

    assert kit.status()["requests"] == {"offered": 1}
