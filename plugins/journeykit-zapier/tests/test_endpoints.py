from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from journeykit import JourneyKit
from journeykit.testing import FaultyServer
from journeykit.web import Request, Response
from journeykit.web.endpoints import Endpoints

TOML = """
[journeykit]
store = "sqlite:///shop.db"

[consent]
mode = "{mode}"

[sinks.zapier]
type = "zapier"
key = {{ env = "ZAPIER_API_KEY" }}
events = ["Order *", "stage.entered"]
record = ["Support Ticket Closed"]
allow = ["127.0.0.1"]
hosts = ["127.0.0.1", "hooks.zapier.com"]
{more}
"""

HOOK = "https://hooks.zapier.com/hooks/standard/1/t0k3n/"


@pytest.fixture
def make_kit(tmp_path: Path) -> Iterator[Callable[..., JourneyKit]]:
    """Return a function that makes kits with a sink for Zapier, and one store."""
    made = []

    def make_kit(more: str = "", mode: str = "opt_out") -> JourneyKit:
        path = tmp_path / "journeykit.toml"
        path.write_text(TOML.format(more=more, mode=mode))
        made.append(JourneyKit.from_toml(path))
        return made[-1]

    yield make_kit
    for kit in made:
        kit.close()


class Zapier:
    """What Zapier does: it calls, with its key."""

    def __init__(self, kit: JourneyKit, key: str) -> None:
        self._endpoints = Endpoints(kit)
        self._key = key

    def __call__(
        self, method: str, path: str, body: Any = None, *, raw: bytes | None = None, **headers: str
    ) -> Response:
        """Send a request to `zapier/PATH`."""
        path, _, query = path.partition("?")
        sent = raw if raw is not None else b"" if body is None else json.dumps(body).encode()
        given = {"x-api-key": self._key, **headers}
        return self._endpoints.handle(
            Request(
                method=method,
                path=f"zapier/{path}",
                query=dict(part.split("=") for part in query.split("&") if part),
                headers={name: value for name, value in given.items() if value},
                body=sent,
            )
        )

    def json(self, *given: Any, **more: Any) -> Any:
        """Send a request that is answered by JSON."""
        return json.loads(self(*given, **more).body)


@pytest.fixture
def kit(make_kit: Callable[..., JourneyKit]) -> JourneyKit:
    """Return a kit with a sink for Zapier."""
    return make_kit()


@pytest.fixture
def zapier(kit: JourneyKit, key: str) -> Zapier:
    """Return Zapier, which calls that kit."""
    return Zapier(kit, key)


def test_the_key_is_tested(zapier: Zapier) -> None:
    """The right key is told whose it is, in either header."""
    answer = zapier("GET", "me")
    assert answer.status == 200
    assert json.loads(answer.body)["sink"] == "zapier"
    assert answer.headers["cache-control"] == "no-store"
    bearer = {"x-api-key": "", "authorization": f"Bearer {zapier._key}"}
    assert zapier("GET", "me", **bearer).status == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "me"),
        ("POST", "hooks"),
        ("DELETE", "hooks?id=x"),
        ("GET", "samples?event=Order Completed"),
        ("POST", "events"),
    ],
)
@pytest.mark.parametrize("wrong", ["", "wrong", "ключ"])
def test_nobody_gets_in_without_the_key(zapier: Zapier, method: str, path: str, wrong: str) -> None:
    """Every endpoint asks for the key, and says no more than that it is wrong."""
    answer = zapier(method, path, {}, **{"x-api-key": wrong})
    assert answer.status == 401
    assert json.loads(answer.body) == {"message": "the API key is wrong"}


def test_guessing_is_slow(zapier: Zapier) -> None:
    """After a few wrong keys it is 429, with a time to wait; the right key still gets in."""
    for _ in range(20):
        assert zapier("GET", "me", **{"x-api-key": "guess"}).status == 401
    answer = zapier("GET", "me", **{"x-api-key": "guess"})
    assert answer.status == 429
    assert int(answer.headers["retry-after"]) >= 1
    assert zapier("GET", "me").status == 200


def test_too_many_requests(zapier: Zapier) -> None:
    """Whoever has the key may not ask without end either."""
    answers = [zapier("GET", "me").status for _ in range(130)]
    assert 429 in answers
    assert answers[:100] == [200] * 100


def test_a_subscription_is_made_once(zapier: Zapier, kit: JourneyKit) -> None:
    """Subscribing answers 201 with an id, the same when it is done again."""
    first = zapier("POST", "hooks", {"hookUrl": HOOK, "event": "Order Completed"})
    again = zapier("POST", "hooks", {"targetUrl": HOOK, "event": "Order Completed"})
    other = zapier("POST", "hooks", {"target_url": HOOK, "event": "stage.entered"})

    assert (first.status, again.status, other.status) == (201, 201, 201)
    assert json.loads(first.body) == json.loads(again.body)
    assert json.loads(first.body)["event"] == "Order Completed"
    assert json.loads(other.body)["id"] != json.loads(first.body)["id"]


def test_subscriptions_survive_restart_rebuild_and_unsubscribing_of_others(
    make_kit: Callable[..., JourneyKit], key: str
) -> None:
    """They are in the store: another process has them, and so has a rebuilt one."""
    kit = make_kit()
    mine = Zapier(kit, key).json("POST", "hooks", {"hookUrl": HOOK, "event": "Order Completed"})
    other = Zapier(kit, key).json("POST", "hooks", {"hookUrl": HOOK, "event": "stage.entered"})
    kit.store.forget_state({})
    kit.close()

    again = make_kit()
    assert Zapier(again, key)("DELETE", f"hooks?id={other['id']}").status == 204
    kept = again.store.kept("kept:sink:zapier")
    assert [name.endswith(mine["id"]) for name in kept] == [True]


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"event": "Order Completed"}, "hookUrl: expected an address"),
        ({"hookUrl": 5, "event": "Order Completed"}, "hookUrl: expected an address"),
        ({"hookUrl": "https://evil.example/x", "event": "Order Completed"}, "may lead to"),
        ({"hookUrl": "https://hooks.zapier.com.evil.example/", "event": "Order Completed"}, "lead"),
        ({"hookUrl": "ftp://hooks.zapier.com/", "event": "Order Completed"}, "https://"),
        ({"hookUrl": "https://a@hooks.zapier.com/", "event": "Order Completed"}, "user"),
        ({"hookUrl": HOOK}, "event: expected the name"),
        ({"hookUrl": HOOK, "event": ""}, "event: expected the name"),
        ({"hookUrl": HOOK, "event": ["x"]}, "event: expected the name"),
        ({"hookUrl": HOOK, "event": "customer.identified"}, "may not subscribe"),
    ],
)
def test_wrong_subscriptions(zapier: Zapier, kit: JourneyKit, body: Any, says: str) -> None:
    """What cannot be subscribed to is told in a line, which has nothing of the address."""
    answer = zapier("POST", "hooks", body)
    assert answer.status == 422
    message = json.loads(answer.body)["message"]
    assert says in message
    assert "evil" not in message
    assert kit.store.kept("kept:") == {}


@pytest.mark.parametrize("raw", [b"", b"<html>", b"[1]", b'{"hookUrl": ', b"\xff", b"[" * 9999])
def test_bodies_that_are_none(zapier: Zapier, raw: bytes) -> None:
    """What is no JSON object is a 400."""
    assert zapier("POST", "hooks", raw=raw).status == 400
    assert zapier("POST", "events", raw=raw).status == 400


def test_a_body_that_is_too_large(zapier: Zapier) -> None:
    """More than 64 KB are not read."""
    assert zapier("POST", "events", raw=b" " * 70_000).status == 413


def test_there_is_a_most(make_kit: Callable[..., JourneyKit], key: str) -> None:
    """More subscriptions than `most` are refused, and those that are there stay."""
    zapier = Zapier(make_kit("most = 2"), key)
    statuses = [
        zapier("POST", "hooks", {"hookUrl": f"{HOOK}{number}", "event": "Order Completed"}).status
        for number in (1, 2, 3, 2)
    ]
    assert statuses == [201, 201, 409, 201]


def test_unsubscribing(zapier: Zapier, kit: JourneyKit) -> None:
    """An id is forgotten, by query or body; one that is not known is no failure; none is."""
    made = zapier.json("POST", "hooks", {"hookUrl": HOOK, "event": "Order Completed"})
    assert zapier("DELETE", "hooks", {"id": made["id"]}).status == 204
    assert kit.store.kept("kept:") == {}
    assert zapier("DELETE", f"hooks?id={made['id']}").status == 204
    assert zapier("DELETE", "hooks").status == 422


def test_samples_are_like_what_hooks_get(
    zapier: Zapier, kit: JourneyKit, server: FaultyServer
) -> None:
    """Samples are events of the Log, in the form in which hooks get them."""
    zapier("POST", "hooks", {"hookUrl": f"{server.url}/b", "event": "Order Completed"})
    kit.track("Order Completed", {"revenue": 5}, customer="ada")
    kit.track("Product Viewed", customer="ada")
    assert kit.flush()

    (sample,) = zapier.json("GET", "samples?event=Order Completed")
    (posted,) = [each.json() for each in server.taken]
    assert sample == posted
    assert sample["properties"] == {"revenue": 5}


def test_samples_without_events_are_made_up(zapier: Zapier, kit: JourneyKit) -> None:
    """Where the Log has none, one is made up with the same keys; it is in no Log."""
    (sample,) = zapier.json("GET", "samples?event=Order Refunded")
    kit.track("Order Completed", customer="ada")
    assert kit.flush()
    (real,) = zapier.json("GET", "samples?event=Order Completed")

    assert sample.keys() == real.keys()
    assert sample["name"] == "Order Refunded"
    assert zapier("GET", "samples?event=secret.event").status == 422
    assert zapier("GET", "samples").status == 422


def test_an_event_is_recorded(zapier: Zapier, kit: JourneyKit) -> None:
    """The action records an event about the customer that it names, once for each id."""
    body = {"event": "Support Ticket Closed", "user_id": "ada", "properties": {"ticket": 7}}
    first = zapier("POST", "events", {**body, "id": "ticket-7"})
    again = zapier("POST", "events", {**body, "id": "ticket-7"})
    assert (first.status, again.status) == (201, 201)
    assert kit.flush()

    (stored,) = kit.store.read(None, 10)
    event = stored.event()
    assert (event.id, event.name, event.customer.user_id) == (
        "ticket-7",
        "Support Ticket Closed",
        "ada",
    )
    assert event.properties == {"ticket": 7}


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"user_id": "ada"}, "may not record"),
        ({"event": "Order Completed", "user_id": "ada"}, "may not record"),
        ({"event": "Support Ticket Closed"}, "say whom"),
        ({"event": "Support Ticket Closed", "user_id": 7}, "expected a text"),
        ({"event": "Support Ticket Closed", "user_id": ""}, "expected a text"),
        ({"event": "Support Ticket Closed", "user_id": "a", "properties": [1]}, "an object"),
        ({"event": "Support Ticket Closed", "user_id": "a", "id": 5}, "id: expected"),
        ({"event": "Support Ticket Closed", "user_id": "null"}, "bad_customer"),
        (
            {"event": "Support Ticket Closed", "user_id": "a", "properties": {"a": "x" * 40_000}},
            "too_large",
        ),
    ],
)
def test_events_that_are_not_recorded(
    zapier: Zapier, kit: JourneyKit, body: Any, says: str
) -> None:
    """What is not recorded is told with the reason, and nothing comes to the Log."""
    answer = zapier("POST", "events", body)
    assert answer.status == 422
    assert says in json.loads(answer.body)["message"]
    kit.flush()
    assert kit.store.read(None, 10) == []


def test_consent_of_recorded_events(make_kit: Callable[..., JourneyKit], key: str) -> None:
    """Where consent is asked for, an event needs `purposes`, which say what was agreed to."""
    body = {"event": "Support Ticket Closed", "user_id": "ada"}
    refused = Zapier(make_kit(mode="opt_in"), key)("POST", "events", body)
    taken = Zapier(make_kit('purposes = ["analytics"]', mode="opt_in"), key)("POST", "events", body)

    assert (refused.status, taken.status) == (422, 201)
    assert "no_consent" in json.loads(refused.body)["message"]


def test_without_a_key_nothing_is_served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sink with catch hooks alone has no endpoints."""
    monkeypatch.setenv("ZAP", HOOK)
    path = tmp_path / "journeykit.toml"
    path.write_text(
        '[journeykit]\nstore = "memory://"\n[consent]\nmode = "opt_out"\n'
        '[sinks.zapier]\ntype = "zapier"\nhooks = [{ url = { env = "ZAP" } }]\n'
    )
    kit = JourneyKit.from_toml(path)
    try:
        assert kit.endpoints == []
    finally:
        kit.close()


def test_a_store_that_is_away_is_for_now(zapier: Zapier, kit: JourneyKit, tmp_path: Path) -> None:
    """Where the store cannot be opened Zapier is told to come again."""
    (tmp_path / "shop.db").mkdir()
    answer = zapier("POST", "hooks", {"hookUrl": HOOK, "event": "Order Completed"})
    assert answer.status == 503
    assert "retry-after" in answer.headers


def test_the_way_through_an_app(
    make_kit: Callable[..., JourneyKit], key: str, server: FaultyServer
) -> None:
    """In a Flask app: Zapier subscribes, the shop sells, the Zap starts, and is switched off."""
    flask = pytest.importorskip("flask")
    from journeykit.web.flask import init_app

    app = flask.Flask("shop")
    app.secret_key = "k"
    kit = make_kit()
    init_app(app, kit)
    client, headers = app.test_client(), {"X-API-Key": key}
    base = "/journeykit/zapier"
    assert client.get(f"{base}/me", headers=headers).status_code == 200
    assert client.get(f"{base}/me").status_code == 401
    body = {"hookUrl": f"{server.url}/zap", "event": "Order Completed"}
    made = client.post(f"{base}/hooks", json=body, headers=headers)
    assert made.status_code == 201
    kit.track("Order Completed", {"revenue": 5}, customer="ada")
    assert kit.flush()
    assert [each.path for each in server.taken] == ["/zap"]
    gone = client.delete(f"{base}/hooks?id={made.json['id']}", headers=headers)
    assert gone.status_code == 204
    kit.track("Order Completed", {"revenue": 6}, customer="ada")
    assert kit.flush()
    assert len(server.taken) == 1
