"""What goes out is read and verified by packages that we did not write."""

from __future__ import annotations

import json
import string
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import standardwebhooks
import svix
from cloudevents.core.bindings.http import HTTPMessage, from_http_event
from hypothesis import given
from hypothesis import strategies as st

from journeykit.model import Entry, Kind
from journeykit.model.event import Stored
from journeykit.testing import Delivering, FaultyServer, Received, make_entry
from journeykit.testing.strategies import entries
from journeykit_webhook.envelopes import Envelopes, message_id, type_of
from journeykit_webhook.settings import Format
from journeykit_webhook.signing import Signer, key_of
from journeykit_webhook.sink import WebhookSink

MakeSink = Callable[..., WebhookSink]
VECTORS = json.loads((Path(__file__).parent / "webhooks.json").read_text(encoding="utf-8"))
OTHER_SECRET = "whsec_" + "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="

EVENTS = [
    make_entry("Order Completed", {"revenue": 12.5, "note": "Müsli – 20 €"}),
    make_entry("stage.entered", {"stage": "purchase"}, kind=Kind.DERIVED, stage="purchase"),
    make_entry("Größe gewählt", {}, user_id=None, anonymous_id="c1", id="shop/4711.2 ü"),
]


@pytest.fixture
def requests(request: pytest.FixtureRequest, make_sink: MakeSink) -> list[Received]:
    """Return the requests by which the events went out, with the settings in the parameter."""
    with FaultyServer() as server:
        sink = make_sink(server.url, connections=1, now=time.time, **request.param)
        Delivering(sink).add(*EVENTS).run()
        return server.taken


@pytest.mark.parametrize("requests", [{}, {"format": "cloudevents"}], indirect=True)
@pytest.mark.parametrize("package", [standardwebhooks, svix])
def test_public_verifiers_accept_what_is_sent(
    requests: list[Received], package: Any, secret: str
) -> None:
    """The packages by which receivers verify take each request, and give its body back."""
    assert len(requests) == 3
    for each in requests:
        package.Webhook(secret).verify(each.body, dict(each.headers))


@pytest.mark.parametrize("requests", [{}], indirect=True)
@pytest.mark.parametrize("package", [standardwebhooks, svix])
def test_public_verifiers_refuse_what_was_changed(
    requests: list[Received], package: Any, secret: str
) -> None:
    """A request with another body, id, time or secret is refused: the signature covers all."""
    first = requests[0]
    head = dict(first.headers)
    earlier = str(int(head["webhook-timestamp"]) - 1)
    changes = [
        (secret, first.body + b" ", head),
        (secret, first.body, {**head, "webhook-id": "other"}),
        (secret, first.body, {**head, "webhook-timestamp": earlier}),
        (OTHER_SECRET, first.body, head),
    ]
    for key, body, changed in changes:
        with pytest.raises(standardwebhooks.WebhookVerificationError, match="signature"):
            package.Webhook(key).verify(body, changed)


@pytest.mark.parametrize("requests", [{"rotate": True}], indirect=True)
@pytest.mark.parametrize("package", [standardwebhooks, svix])
def test_while_a_secret_is_changed_either_verifies(
    requests: list[Received], package: Any, secret: str, old_secret: str
) -> None:
    """With old_secrets, who has the new secret and who still has the old one accept the same."""
    for key in (secret, old_secret):
        package.Webhook(key).verify(requests[0].body, dict(requests[0].headers))
    assert requests[0].headers["webhook-signature"].count("v1,") == 2


@pytest.mark.parametrize("requests", [{}], indirect=True)
def test_standard_body(requests: list[Received]) -> None:
    """The body is type, the event's time, and the event in its wire form."""
    first, derived, odd = (each.json() for each in requests)

    assert list(first) == ["type", "timestamp", "data"]
    assert first["type"] == "touchpoint.order_completed"
    assert first["timestamp"] == first["data"]["occurred_at"]
    assert first["data"]["name"] == "Order Completed"
    assert first["data"]["properties"]["note"] == "Müsli – 20 €"
    assert derived["type"] == "stage.entered"
    assert odd["type"] == "touchpoint.grosse_gewahlt"
    assert requests[0].headers["content-type"] == "application/json"
    assert requests[0].headers["webhook-id"] == first["data"]["id"]
    assert requests[2].headers["webhook-id"] == message_id("shop/4711.2 ü")


@pytest.mark.parametrize("requests", [{"format": "cloudevents"}], indirect=True)
def test_public_reader_reads_cloudevents(requests: list[Received]) -> None:
    """The package `cloudevents` reads each request as an event with its attributes and data."""
    for sent, each in zip(EVENTS, requests, strict=True):
        event = from_http_event(HTTPMessage(dict(each.headers), each.body))
        assert event.get_specversion() == "1.0"
        assert event.get_id() == sent.id
        assert event.get_source() == "/journeykit/tests"
        assert event.get_type().startswith("io.journeykit.")
        assert event.get_time().isoformat() == "2026-03-02T12:00:00+00:00"
        assert event.get_data()["name"] == sent.name
    assert requests[0].headers["content-type"] == "application/cloudevents+json; charset=utf-8"


@pytest.mark.parametrize(
    "requests",
    [{"format": "cloudevents", "source": "https://shop.example/", "secret": None}],
    indirect=True,
)
def test_cloudevents_need_no_secret(requests: list[Received]) -> None:
    """A CloudEvent may go out unsigned, under the source that was configured."""
    assert "webhook-signature" not in requests[0].headers
    assert requests[0].json()["source"] == "https://shop.example/"


@pytest.mark.parametrize("vector", VECTORS["valid"], ids=lambda vector: vector["name"])
def test_signatures_are_those_of_the_specification(vector: dict[str, Any]) -> None:
    """Id, time and body give the signatures that others have computed."""
    secrets = vector.get("secrets") or [vector["secret"]]
    headers = Signer(map(key_of, secrets)).headers(
        vector["webhook-id"], vector["webhook-timestamp"], vector["body"].encode()
    )
    known = [one for one in vector["webhook-signature"].split() if one.startswith("v1,")]

    assert headers["webhook-signature"].split() == known


@pytest.mark.parametrize("vector", VECTORS["invalid"], ids=lambda vector: vector["name"])
def test_other_content_has_another_signature(vector: dict[str, Any]) -> None:
    """Where one byte differs the signature differs."""
    headers = Signer([key_of(vector["secret"])]).headers(
        vector["webhook-id"], vector["webhook-timestamp"], vector["body"].encode()
    )

    assert headers["webhook-signature"] != vector["webhook-signature"]


@pytest.mark.parametrize(
    "wrong", ["", "whsec_", "whsec_!!!", "whsec_c2hvcnQ=", "whsec_" + "A" * 96]
)
def test_wrong_secrets_are_told_without_showing_them(wrong: str) -> None:
    """What is no secret of Standard Webhooks is refused with what is asked for."""
    with pytest.raises(ValueError, match="base64 of 24 to 64 random bytes") as refused:
        key_of(wrong)
    assert len(wrong) < 7 or wrong[6:] not in str(refused.value)


@given(st.sampled_from(list(Kind)), st.text(max_size=40))
def test_types_are_dotted_identifiers(kind: Kind, name: str) -> None:
    """Whatever an event is called, its type is made of what Standard Webhooks allows."""
    parts = type_of(kind.value, name).split(".")

    assert all(parts)
    assert set("".join(parts)) <= {*string.ascii_lowercase, *string.digits, "_"}
    assert (parts[0] == "touchpoint") or kind is not Kind.TOUCHPOINT


@given(st.text(min_size=1, max_size=200))
def test_message_ids_can_be_signed(event_id: str) -> None:
    """Whatever id a shop gives, what is sent has no full stop and fits into a header."""
    sent = message_id(event_id)

    assert sent.isascii()
    assert "." not in sent
    assert sent.isprintable()
    assert message_id(event_id) == sent


@given(entries(), st.sampled_from(list(Format)))
def test_bodies_are_json_around_the_wire_form(entry: Entry, format: Format) -> None:
    """Whatever the event, what is sent is JSON that holds it unchanged."""
    line = Stored(1, entry.occurred_at, entry).wire()
    message = Envelopes(format, (), None).message(line)
    assert message is not None

    assert json.loads(message.body)["data"] == json.loads(line)


@pytest.mark.parametrize(
    ("names", "wanted"),
    [
        ((), "Order Completed,stage.entered,stage.corrected,Orders"),
        (("Order Completed",), "Order Completed"),
        (("stage.*",), "stage.entered,stage.corrected"),
        (("Order*", "stage.entered"), "Order Completed,stage.entered,Orders"),
        (("*",), "Order Completed,stage.entered,stage.corrected,Orders"),
        (("order completed", "stage"), ""),
    ],
)
def test_filters(names: tuple[str, ...], wanted: str) -> None:
    """Only events whose names are listed go out, with `*` for anything."""
    envelopes = Envelopes(Format.STANDARD, names, None)
    found = [
        name
        for name in ("Order Completed", "stage.entered", "stage.corrected", "Orders")
        if envelopes.message(Stored(1, 1, make_entry(name)).wire())
    ]

    assert ",".join(found) == wanted
