from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st

from journeykit import ConfigError, DeliveryError, JourneyKit, StoreError
from journeykit.delivery.answers import told
from journeykit.model import Entry
from journeykit.store.kept import Kept
from journeykit.testing import (
    Delivering,
    Fault,
    FaultyServer,
    Received,
    Reply,
    make_batch,
    make_entry,
)
from journeykit_webhook.envelopes import Message
from journeykit_webhook.gone import Gone
from journeykit_webhook.lanes import lanes
from journeykit_webhook.sink import WebhookSink

MakeSink = Callable[..., WebhookSink]


def people(count: int, each: int = 1) -> list[Entry]:
    """Return events of *count* customers in turn."""
    return [make_entry(user_id=f"u{one}", at=turn) for turn in range(each) for one in range(count)]


def ids(server: FaultyServer) -> list[str]:
    """Return the ids of what the server has taken, in order."""
    return [each.headers["webhook-id"] for each in server.taken]


def without(entry: Entry) -> Callable[[Received], int | None]:
    """Return what a server does that never takes *entry*."""
    return lambda request: 422 if request.headers["webhook-id"] == entry.id else None


# What answers mean.


def test_gone_endpoint_is_left_alone(faulty_server: FaultyServer, make_sink: MakeSink) -> None:
    """After a 410 nothing more is sent, nothing is lost, and the reason says what to do."""
    bench = Delivering(make_sink(faulty_server.url, connections=1)).add(*people(3))
    faulty_server.then(None, 410)
    bench.run(most_waits=4)

    assert len(faulty_server.requests) == 2
    assert bench.parked == {}
    assert not bench.done
    port = faulty_server.url.rpartition(":")[2]
    line = (
        f"POST http://127.0.0.1:{port}: HTTP 410; what was there has been taken away; give another "
        "address, or remove the sink; nothing is sent there until then, or until "
        "`journeykit webhook enable partner`"
    )
    assert set(bench.errors) == {line}


def restart(bench: Delivering, sink: WebhookSink) -> None:
    """Let another process deliver from the same store."""
    sink.keep_in(Kept(bench.store, "sink:partner"))
    bench.sink = bench.relay.sink = sink


def test_gone_endpoint_is_left_alone_after_a_restart(
    faulty_server: FaultyServer, make_sink: MakeSink
) -> None:
    """A 410 is kept in the store: a new process asks nobody, until the endpoint is enabled."""
    bench = Delivering(make_sink(faulty_server.url)).add(*people(3))
    with faulty_server.doing(410):
        bench.run(most_waits=1)
    before = len(faulty_server.requests)
    restart(bench, make_sink(faulty_server.url))
    bench.run(most_waits=4)
    assert len(faulty_server.requests) == before
    assert "webhook enable partner" in bench.errors[-1]
    # What is kept tells nothing of the address.
    assert faulty_server.url not in repr(bench.store.kept("kept:"))

    gone = Gone(faulty_server.url)
    gone.keep_in(Kept(bench.store, "sink:partner"))
    assert gone.since() == "2026-03-02T12:00:00.000000Z"
    gone.forget()
    bench.run()

    assert bench.parked == {}
    assert len(faulty_server.taken) == 3
    assert bench.store.kept("kept:") == {}


def test_another_address_is_another_endpoint(
    faulty_server: FaultyServer, make_sink: MakeSink
) -> None:
    """With another address in the configuration the sink goes on where it was."""
    bench = Delivering(make_sink(f"{faulty_server.url}/old")).add(*people(3))
    with faulty_server.doing(410):
        bench.run(most_waits=2)
    restart(bench, make_sink(f"{faulty_server.url}/new"))
    bench.run()

    assert bench.done
    assert [each.path for each in faulty_server.taken] == ["/new"] * 3


def test_store_that_is_away_loses_nothing_of_a_410(
    faulty_server: FaultyServer, make_sink: MakeSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where it cannot be kept that the endpoint is gone, it is asked again, and nothing is lost."""
    bench = Delivering(make_sink(faulty_server.url, connections=1)).add(*people(3))

    def keep(*_: Any) -> None:
        raise StoreError("the database is locked")

    monkeypatch.setattr(bench.store, "keep", keep)
    faulty_server.then(None, 410, 410)
    bench.run()

    assert bench.parked == {}
    assert ids(faulty_server) == [entry.id for entry in bench_entries(bench)]


def bench_entries(bench: Delivering) -> list[Entry]:
    """Return the events of the Log."""
    return [stored.entry for stored in bench.store.read(None, 100)]


@pytest.mark.parametrize("connections", [1, 4])
def test_mistake_of_ours_is_an_outage(
    faulty_server: FaultyServer,
    make_sink: MakeSink,
    monkeypatch: pytest.MonkeyPatch,
    connections: int,
) -> None:
    """What nobody expects, in whichever thread, is tried again and takes no event along."""
    sink = make_sink(faulty_server.url, connections=connections)
    bench = Delivering(sink).add(*people(12))
    post, left = sink._post, [3]

    def fail(*given: Any) -> Any:
        left[0] -= 1
        if left[0] == 0:
            raise LookupError("s3cr3t")
        return post(*given)

    monkeypatch.setattr(sink, "_post", fail)
    bench.run()

    assert bench.done
    assert bench.parked == {}
    assert len(faulty_server.taken) == 12
    (line,) = bench.errors
    assert line.startswith(f"POST {sink._target}: LookupError (test_sink.py, line ")
    assert "s3cr3t" not in line


@pytest.mark.parametrize("status", [429, 502, 504])
def test_throttled_endpoint_goes_on_where_it_was(
    faulty_server: FaultyServer, make_sink: MakeSink, status: int
) -> None:
    """An endpoint that takes a few at a time gets each event once, and no sooner than it asks."""
    entries = people(20)
    faulty_server.then(*[*[None] * 7, Reply(status, b"", {"Retry-After": "30"})] * 2)
    bench = Delivering(make_sink(faulty_server.url, connections=1)).add(*entries).run()

    assert ids(faulty_server) == [entry.id for entry in entries]
    assert bench.waits == [30.0, 30.0]


def test_only_what_failed_comes_again(faulty_server: FaultyServer, make_sink: MakeSink) -> None:
    """An outage in the middle of a batch, over several connections, repeats next to nothing."""
    entries = people(60)
    faulty_server.then(*[None] * 30, 500)
    bench = Delivering(make_sink(faulty_server.url, connections=4)).add(*entries).run()

    assert bench.done
    assert len(faulty_server.taken) == 60
    assert {*ids(faulty_server)} == {entry.id for entry in entries}


@pytest.mark.parametrize("status", [400, 402, 409, 422])
def test_refused_event_holds_back_only_its_customer(
    faulty_server: FaultyServer, make_sink: MakeSink, status: int
) -> None:
    """A 4xx is tried again; later events of its customer wait, and all others go out."""
    entries = people(3, each=3)
    bad = entries[1]
    bench = Delivering(make_sink(faulty_server.url)).add(*entries)
    with faulty_server.doing(without(bad)):
        bench.run(most_waits=3)
    assert bench.relay.status()["held_back"] == 3
    assert {*ids(faulty_server)} == {one.id for one in entries if one.user_id != bad.user_id}
    bench.run()

    assert bench.parked == {}
    assert ids(faulty_server)[-3:] == [one.id for one in entries if one.user_id == bad.user_id]


def test_one_event_in_200_that_is_refused_is_parked_alone(
    faulty_server: FaultyServer, make_sink: MakeSink
) -> None:
    """Of 200 events the one that is never taken is parked, with what to do about it."""
    entries = people(200)
    bad = entries[77]
    bench = Delivering(make_sink(faulty_server.url)).add(*entries)
    with faulty_server.doing(without(bad)):
        for number in range(30):
            bench.run()
            bench.add(make_entry(user_id=f"later-{number}"))
        bench.run()

    assert list(bench.parked) == [bad.id]
    assert bench.parked[bad.id].endswith(told(422))
    assert len({*ids(faulty_server)} & {entry.id for entry in entries}) == 199


def test_event_that_is_too_large_is_parked(
    faulty_server: FaultyServer, make_sink: MakeSink
) -> None:
    """A 413 is final: no waiting makes the event smaller."""
    entries = people(3)
    faulty_server.then(None, 413)
    bench = Delivering(make_sink(faulty_server.url, connections=1)).add(*entries).run()

    assert list(bench.parked) == [entries[1].id]
    assert "the event is too large for it" in bench.parked[entries[1].id]
    assert bench.waits == []


@pytest.mark.parametrize("status", [301, 302, 307, 308, 401, 403, 404, 415])
def test_what_would_refuse_everything_is_waited_out(
    faulty_server: FaultyServer, make_sink: MakeSink, status: int
) -> None:
    """A wrong address, key or format parks nothing, and says what to look at."""
    bench = Delivering(make_sink(faulty_server.url, connections=1)).add(*people(3))
    faulty_server.then(Reply(status, b"", {"Location": f"{faulty_server.url}/elsewhere"}))
    bench.run()

    assert bench.parked == {}
    assert len(bench.waits) == 1
    assert f"HTTP {status}; " in bench.errors[0]
    assert {request.path for request in faulty_server.requests} == {"/"}


def test_answer_is_its_status(faulty_server: FaultyServer, make_sink: MakeSink) -> None:
    """Once the status is there, what follows it (nothing, half, or no end) changes nothing."""
    sink = make_sink(faulty_server.url, connections=1)
    for fault in (Fault.CUT, Fault.ENDLESS, Reply(200, b"<html>"), Reply(204), Reply(202, b"ok")):
        faulty_server.then(fault)
        assert sink.deliver(make_batch(*people(1))) == []
    assert len(faulty_server.requests) == 5


@pytest.mark.parametrize("late", [Reply(200, delay=0.6), Reply(400, delay=0.6)], ids=str)
def test_answer_that_comes_too_late_is_nobodys(
    faulty_server: FaultyServer, make_sink: MakeSink, late: Reply
) -> None:
    """A reply after the timeout is not taken for the answer to the next request."""
    sink = make_sink(faulty_server.url, connections=1, timeout=timedelta(seconds=0.2))
    entries = people(3)
    faulty_server.then(late)
    bench = Delivering(sink).add(*entries).run()

    assert bench.parked == {}
    assert "it takes too long" in bench.errors[0]
    # A busy machine may be late once more.
    assert list(dict.fromkeys(ids(faulty_server))) == [entry.id for entry in entries]
    assert [each.headers["webhook-id"] for each in faulty_server.requests[:2]] == [
        entries[0].id
    ] * 2


@pytest.mark.parametrize("status", [400, 414, 431, 500, 502])
def test_every_failure_says_what_to_do(
    faulty_server: FaultyServer, make_sink: MakeSink, status: int
) -> None:
    """The one line that an operator sees has more than a number."""
    bench = Delivering(make_sink(faulty_server.url)).add(*people(2))
    with faulty_server.doing(status):
        bench.run(most_waits=2)

    assert bench.parked == {}
    assert bench.errors[-1].endswith(told(status))


def test_each_attempt_is_signed_anew(faulty_server: FaultyServer, make_sink: MakeSink) -> None:
    """The timestamp is that of the attempt, and the id that of the event."""
    times = iter([100.4, 100.9, 200.0, 200.0])
    faulty_server.then(400)
    bench = Delivering(make_sink(faulty_server.url, now=lambda: next(times))).add(*people(1)).run()

    assert bench.done
    first, second = faulty_server.requests
    assert (first.headers["webhook-timestamp"], second.headers["webhook-timestamp"]) == (
        "100",
        "100",
    )
    assert first.headers["webhook-id"] == second.headers["webhook-id"]


# Connections.


def test_connections_stay_open(faulty_server: FaultyServer, make_sink: MakeSink) -> None:
    """Batch after batch goes over the same connections, as many as are allowed and needed."""
    sink = make_sink(faulty_server.url, connections=3)
    for _ in range(5):
        sink.deliver(make_batch(*people(10)))

    assert faulty_server.connections == 3
    sink.deliver(make_batch(*people(1, each=10)))
    assert faulty_server.connections == 3


def test_connection_that_was_closed_meanwhile_is_opened_again(
    faulty_server: FaultyServer, make_sink: MakeSink
) -> None:
    """A server that has closed an idle connection causes no outage."""
    sink = make_sink(faulty_server.url)
    sink.deliver(make_batch(*people(1)))
    faulty_server.stop()
    faulty_server.start()

    assert sink.deliver(make_batch(*people(1))) == []
    assert len(faulty_server.taken) == 2


def test_requests_go_beside_each_other(make_sink: MakeSink) -> None:
    """As many requests are under way at a time as there are connections, if customers differ."""
    together = threading.Barrier(4, timeout=10)

    def answer(_: Received) -> Reply:
        together.wait()
        return Reply()

    with FaultyServer(answer) as server:
        make_sink(server.url, connections=4).deliver(make_batch(*people(8)))

        assert len(server.taken) == 8


@given(
    st.lists(
        st.lists(st.sampled_from("abcdefgh"), max_size=2, unique=True).map(tuple), max_size=30
    ),
    st.integers(1, 5),
)
def test_lanes_have_no_customer_in_common(customers: list[tuple[str, ...]], most: int) -> None:
    """Whoever is linked by whatever ids stays in one lane, in order, and nothing is left out."""
    messages = [Message(f"e{n}", "", whose, b"") for n, whose in enumerate(customers)]
    found = lanes(messages, most)

    assert len(found) <= most
    assert sorted(m.event_id for lane in found for m in lane) == sorted(
        m.event_id for m in messages
    )
    owners: dict[str, int] = {}
    for number, lane in enumerate(found):
        for message in lane:
            assert all(owners.setdefault(one, number) == number for one in message.customers)
        for one in {each for message in lane for each in message.customers}:
            places = [int(m.event_id[1:]) for m in lane if one in m.customers]
            assert places == sorted(places)


def test_lanes_are_about_as_long() -> None:
    """The work is shared, as far as customers allow."""
    messages = [Message(f"e{n}", "", (f"u{n}",), b"") for n in range(40)]

    assert [len(lane) for lane in lanes(messages, 4)] == [10] * 4


def test_tls_with_a_certificate_that_is_known(authority: trustme.CA, make_sink: MakeSink) -> None:
    """Over TLS, the host's certificate is asked for by the name in the address."""
    ours, theirs = ssl.create_default_context(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.configure_trust(ours)
    authority.issue_cert("localhost").configure_cert(theirs)
    with FaultyServer(tls=theirs) as server:
        url = server.url.replace("127.0.0.1", "localhost")
        sink = make_sink(f"{url}/hook", tls=ours, allow=["127.0.0.1", "::1"])
        assert sink.deliver(make_batch(*people(1))) == []
        assert server.taken[0].path == "/hook"


@pytest.mark.parametrize("known", [True, False])
def test_tls_failure_is_an_outage(
    authority: trustme.CA, make_sink: MakeSink, *, known: bool
) -> None:
    """A certificate of nobody known, or for another name, is told in one line and waited out."""
    ours, theirs = ssl.create_default_context(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    if known:
        authority.configure_trust(ours)
    authority.issue_cert("other.example").configure_cert(theirs)
    with FaultyServer(tls=theirs) as server:
        bench = Delivering(make_sink(f"{server.url}/hook", tls=ours)).add(*people(1))
        bench.run(most_waits=2)

        assert server.requests == []
    assert "CERTIFICATE_VERIFY_FAILED" in bench.errors[0]
    assert bench.parked == {}


# Where requests may go.


def test_this_host_is_refused_unless_allowed(
    faulty_server: FaultyServer, make_sink: MakeSink
) -> None:
    """Without `allow`, an address that leads to this host is not even connected to."""
    url = faulty_server.url.replace("http:", "https:")
    bench = Delivering(make_sink(url, allow=[])).add(*people(1)).run(most_waits=2)

    assert faulty_server.connections == 0
    assert "it leads to 127.0.0.1 (this host)" in bench.errors[0]
    assert bench.parked == {}


def test_name_that_begins_to_lead_inside_is_refused(
    monkeypatch: pytest.MonkeyPatch, faulty_server: FaultyServer, make_sink: MakeSink
) -> None:
    """Each connection is judged anew by where the name leads then (DNS rebinding)."""
    resolve, where = socket.getaddrinfo, ["127.0.0.1"]
    monkeypatch.setattr(
        socket, "getaddrinfo", lambda host, *more, **options: resolve(where[0], *more, **options)
    )
    port = faulty_server.url.rpartition(":")[2]
    sink = make_sink(f"http://hooks.example:{port}/")
    sink.deliver(make_batch(*people(1)))
    where[0] = "169.254.169.254"
    sink.close()

    with pytest.raises(DeliveryError, match="where clouds keep their metadata"):
        sink.deliver(make_batch(*people(1)))
    assert faulty_server.taken[0].headers["host"] == f"hooks.example:{port}"


def test_redirect_to_this_host_is_not_followed(make_sink: MakeSink) -> None:
    """A redirect to an address inside is a failure, as any other."""
    with FaultyServer() as inside, FaultyServer() as outside:
        outside.then(Reply(302, b"", {"Location": f"{inside.url}/admin"}))
        bench = Delivering(make_sink(outside.url)).add(*people(1)).run()

        assert inside.connections == 0
    assert "redirects are not followed" in bench.errors[0]


@pytest.mark.parametrize(
    "url",
    [
        "http://partner.example/",
        "ftp://partner.example/",
        "partner.example",
        "https://",
        "https://user:pa55@partner.example/",
        "https://partner.example/#part",
        "https://partner.example:99999/",
        "https://partner..example/",
        "https://partner.example/a b",
        "https://pärtner.example/",
        "https://partner.example/\r\nX: 1",
    ],
)
def test_addresses_are_checked_at_the_start(make_sink: MakeSink, url: str) -> None:
    """What is no address to post to is refused, and not shown, for it may be a secret."""
    with pytest.raises(ValueError, match="url ") as refused:
        make_sink(url, allow=[])
    assert "pa55" not in str(refused.value)


# The configuration.

TOML = """
[consent]
mode = "opt_out"

[journeykit]
store = "memory://"

[sinks.partner]
type = "webhook"
"""


def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, secret: str, rest: str) -> JourneyKit:
    """Return the kit of a journeykit.toml whose sink has these keys."""
    monkeypatch.setenv("PARTNER", secret)
    monkeypatch.setenv("PARTNER_URL", "https://partner.example/hooks/s3cr3t")
    path = tmp_path / "journeykit.toml"
    path.write_text(TOML + rest)
    return JourneyKit.from_toml(path)


def test_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, secret: str) -> None:
    """A sink is declared by an address and a secret; everything else has a default."""
    rest = """
url = { env = "PARTNER_URL" }
secret = { env = "PARTNER" }
old_secrets = [{ env = "PARTNER" }]
events = ["Order Completed"]
headers = { "X-Shop" = "dawdle", "Authorization" = { env = "PARTNER_URL" } }
timeout = "20s"
purpose = "marketing"
"""
    with load(tmp_path, monkeypatch, secret, rest) as kit:
        (sink,) = kit.sinks
        assert sink.name == "partner"
        assert kit.gates["partner"].third_party
        assert "s3cr3t" not in repr(kit.settings.sinks)


@pytest.mark.parametrize(
    ("rest", "said"),
    [
        ('secret = { env = "PARTNER" }', "sinks.partner.url: is missing"),
        ('url = "https://a.example"', "secret is missing: Standard Webhooks are signed"),
        (
            'url = "https://a.example"\nsecret = "whsec_x"',
            'sinks.partner.secret: expected a reference such as { env = "NAME" }, got str',
        ),
        (
            'url = "https://a.example"\nsecret = { env = "NOT_SET" }',
            "environment variable NOT_SET is not set",
        ),
        ('url = 7\nsecret = { env = "PARTNER" }', "sinks.partner.url: expected"),
        (
            'url = "https://a.example"\nsecret = { env = "PARTNER" }\nallow = ["intranet"]',
            'expected an address or a network such as "10.1.0.0/16"',
        ),
        (
            'url = "https://a.example"\nsecret = { env = "PARTNER" }\nformat = "xml"',
            'expected one of "standard", "cloudevents"',
        ),
        (
            'url = "https://a.example"\nsecret = { env = "PARTNER" }\nevents = "Order"',
            "sinks.partner.events: expected a list",
        ),
        (
            'url = "https://a.example"\nsecret = { env = "PARTNER" }\nconnections = 0',
            "sinks.partner: 'connections' must be >= 1",
        ),
        (
            'url = "https://a.example"\nformat = "cloudevents"\nold_secrets = [{ env = "A" }]',
            "old_secrets without a secret",
        ),
        (
            'url = "https://a.example"\nsecret = { env = "A" }\nheaders = { a = { env = "LF" } }',
            "characters that no header may have",
        ),
    ],
)
def test_mistakes_stop_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, secret: str, rest: str, said: str
) -> None:
    """Each mistake is told with its place, and no secret is."""
    monkeypatch.setenv("LF", "a\nb")
    monkeypatch.setenv("A", secret)
    with pytest.raises(ConfigError) as refused:
        load(tmp_path, monkeypatch, secret, rest)

    assert said in str(refused.value)
    assert secret[6:] not in str(refused.value)


def test_wrong_secret_stops_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A secret that is none is told at the start, without being shown."""
    rest = 'url = "https://a.example"\nsecret = { env = "PARTNER" }'
    with pytest.raises(ConfigError, match="base64 of 24 to 64 random bytes") as refused:
        load(tmp_path, monkeypatch, "hunter2-hunter2", rest)
    assert "hunter2" not in str(refused.value)


def test_each_endpoint_has_its_own_place(
    monkeypatch: pytest.MonkeyPatch, make_kit: Callable[..., JourneyKit], make_sink: MakeSink
) -> None:
    """An endpoint that is down holds up no other, and gets its events when it is back."""
    with FaultyServer() as one, FaultyServer() as two:
        first, second = make_sink(one.url), make_sink(two.url, events=["Order Completed"])
        second.name = "orders"
        kit = make_kit(core={"strict": False}, sinks=[first, second])
        with two.away():
            kit.track("Product Viewed", customer="ada")
            kit.track("Order Completed", customer="ada")
            kit.flush(1.0)
            assert [json.loads(each.body)["type"] for each in one.taken] == [
                "touchpoint.product_viewed",
                "touchpoint.order_completed",
            ]
            states: dict[str, Any] = {each["name"]: each for each in kit.status()["sinks"]}
            assert states["orders"]["failures"] > 0
            assert states["partner"]["failures"] == 0
        assert kit.flush(10.0)
        assert [json.loads(each.body)["type"] for each in two.taken] == [
            "touchpoint.order_completed"
        ]
