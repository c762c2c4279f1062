from __future__ import annotations

import email.utils
import json
import random
import socket
import ssl
import threading
from collections.abc import Callable, Iterable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

import httpx
import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st

from journeykit.delivery import Batch, Rejection, Relay
from journeykit.delivery.answers import retry_after, told, unanswered
from journeykit.delivery.http import HttpSink, HttpTimeouts
from journeykit.exceptions import DeliveryError
from journeykit.model import Entry
from journeykit.plugins import Plugins
from journeykit.store.memory import MemoryStore
from journeykit.store.protocol import Commit
from journeykit.testing import FaultyServer, Reply

MakeEntry = Callable[..., Entry]

#: When the sink believes it is, in seconds since the epoch.
NOW: Final = 1_700_000_000.0

SECRET: Final = "/hooks/s3cr3t?token=t0k3n"


class Receiver(ThreadingHTTPServer):
    """A server on this host that answers as it is told to, then takes everything."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.script: list[Any] = []
        self.taken: list[str] = []
        self.requests: list[dict[str, Any]] = []
        self.agents: set[str | None] = set()
        self.connections = 0
        self.hold = threading.Event()

    @property
    def url(self) -> str:
        """Where it listens, with a secret in the path."""
        return f"http://someone:pa55@127.0.0.1:{self.server_address[1]}{SECRET}"

    def finish_request(self, *arguments: Any) -> None:
        """Count connections."""
        self.connections += 1
        super().finish_request(*arguments)

    def handle_error(self, *_: Any) -> None:
        """Keep quiet about clients that have gone."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Receiver

    def do_POST(self) -> None:
        """Answer by the script."""
        events = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.agents.add(self.headers["user-agent"])
        self.server.requests.append({"path": self.path, "ids": [event["id"] for event in events]})
        step = self.server.script.pop(0) if self.server.script else 200
        if step == "hang":
            self.server.hold.wait(20)
            self.close_connection = True
            return
        if step == "drop":
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        status, headers = step if isinstance(step, tuple) else (step, {})
        if callable(status):
            status = status(events)
        if status < 300:
            self.server.taken += [event["id"] for event in events]
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


class Hook(HttpSink):
    """Posts each batch as a JSON array."""

    def __init__(self, url: str, **more: Any) -> None:
        super().__init__("hook", now=lambda: NOW, **more)
        self.url = url

    def requests(self, batch: Batch, client: httpx.Client) -> Iterable[httpx.Request]:
        """Return one request."""
        body = b"[" + b",".join(batch.lines) + b"]"
        yield client.build_request("POST", self.url, content=body)

    def read_response(self, batch: Batch, response: httpx.Response) -> Iterable[Rejection]:
        """Reject what the answer's header names."""
        names = response.headers.get("x-rejected", "")
        return [Rejection(event, "not wanted") for event in names.split()]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """Return a running receiver."""
    server = Receiver()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.hold.set()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def tls() -> ssl.SSLContext:
    """Return a certificate for this host, of an authority that nobody knows."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    return context


@pytest.fixture
def hook(receiver: Receiver) -> Iterator[Hook]:
    """Return a sink for the receiver that does not wait long."""
    hook = Hook(receiver.url, timeouts=HttpTimeouts(connect=2, read=0.2))
    yield hook
    hook.close()


class Bench:
    """A store and a relay whose time flies when it waits."""

    def __init__(self, sink: HttpSink, *entries: Entry) -> None:
        self.store = MemoryStore()
        self.store.commit(Commit(entries), 1)
        self.time = 0.0
        self.waits: list[float] = []
        self.errors: list[str] = []
        self.relay = Relay(
            self.store,
            sink,
            Plugins(installed=False),
            now=lambda: 1,
            randomness=random.Random(1),
            monotonic=lambda: self.time,
        )

    def run(self) -> Bench:
        """Deliver until nothing is left."""
        while (wait := self.relay.step()) is not None:
            if wait > 0:
                self.waits.append(wait)
                self.errors.append(self.relay.last_error or "")
                self.time += wait
        return self

    @property
    def parked(self) -> list[tuple[str, str]]:
        """What was parked, and why."""
        return [(item.entry.id, item.reason) for item in self.store.parked()]


def make(make_entry: MakeEntry, ids: str) -> list[Entry]:
    """Return entries with these one-letter ids."""
    return [make_entry(id=event) for event in ids]


def test_delivers_over_one_connection(
    receiver: Receiver, hook: Hook, make_entry: MakeEntry
) -> None:
    """Batches are posted in order over a connection that stays open."""
    bench = Bench(hook, *make(make_entry, "ab")).run()
    bench.store.commit(Commit(make(make_entry, "c")), 1)
    bench.run()

    assert [request["ids"] for request in receiver.requests] == [["a", "b"], ["c"]]
    assert receiver.requests[0]["path"] == SECRET
    assert receiver.connections == 1
    assert receiver.agents == {"journeykit"}


def _date(seconds: float) -> str:
    return email.utils.formatdate(NOW + seconds, usegmt=True)


@pytest.mark.parametrize(
    ("step", "said", "at_least"),
    [
        (500, told(500), 0),
        (503, told(503), 0),
        ((503, {"Retry-After": "120"}), told(503), 120),
        ((429, {"Retry-After": "7"}), told(429), 7),
        ((429, {"Retry-After": _date(90)}), told(429), 90),
        ((429, {"Retry-After": _date(-90)}), told(429), 0),
        ((429, {"Retry-After": "soon"}), told(429), 0),
        (408, told(408), 0),
        *[(status, told(status), 0) for status in (401, 403, 404, 405, 407, 410)],
        *[((status, {"Location": "/elsewhere"}), told(status), 0) for status in (301, 308)],
        ("hang", unanswered("ReadTimeout"), 0),
        ("drop", unanswered("RemoteProtocolError"), 0),
    ],
    ids=str,
)
def test_outage_is_waited_out(
    receiver: Receiver,
    hook: Hook,
    make_entry: MakeEntry,
    step: object,
    said: str,
    at_least: float,
) -> None:
    """What may pass is tried again, no sooner than asked, in order, and names no path or secret."""
    receiver.script = [step]
    bench = Bench(hook, *make(make_entry, "abc")).run()

    assert receiver.taken == ["a", "b", "c"]
    assert bench.parked == []
    (wait,) = bench.waits
    assert max(0.5, at_least) <= wait <= max(1.0, at_least)
    port = receiver.server_address[1]
    assert bench.errors == [f"POST http://127.0.0.1:{port}: {said}"]


def test_refused_connection_is_waited_out(make_entry: MakeEntry) -> None:
    """A receiver that is not there is tried again until it is."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        hook = Hook(f"http://127.0.0.1:{port}{SECRET}")
        bench = Bench(hook, *make(make_entry, "a"))
        for number in range(1, 4):
            wait = bench.relay.step()
            assert wait is not None
            bench.time += wait
            assert bench.relay.failures == number
    assert bench.relay.last_error is not None
    assert bench.relay.last_error.startswith(f"POST http://127.0.0.1:{port}: ConnectError: ")
    assert "refused" in bench.relay.last_error
    assert bench.store.cursor("sink:hook") is None
    hook.close()


def test_poison_is_parked_alone(receiver: Receiver, hook: Hook, make_entry: MakeEntry) -> None:
    """A 400 for one event parks that event, and every other one arrives in order."""

    def pick(events: list[dict[str, Any]]) -> int:
        return 400 if any(event["id"] == "x" for event in events) else 200

    receiver.script = [(pick, {})] * 50
    bench = Bench(hook, *make(make_entry, "abcxdefgh")).run()

    assert receiver.taken == list("abcdefgh")
    port = receiver.server_address[1]
    assert bench.parked == [("x", f"POST http://127.0.0.1:{port}: {told(400)}")]
    assert bench.waits == []


@pytest.mark.parametrize("status", [401, 403, 404, 405, 407, 410, 301, 302, 307])
def test_wrong_address_parks_nothing(
    receiver: Receiver, hook: Hook, make_entry: MakeEntry, status: int
) -> None:
    """What would refuse every event alike parks none, and goes on where somebody puts it right."""
    receiver.script = [(status, {"Location": "/elsewhere"})] * 20
    bench = Bench(hook, *make(make_entry, "abcdefgh")).run()

    assert bench.parked == []
    assert len(bench.waits) == 20
    assert receiver.taken == list("abcdefgh")


def test_subclass_says_what_refuses_all(receiver: Receiver, make_entry: MakeEntry) -> None:
    """A sink whose addresses name single records parks the event that has none."""

    class Records(Hook):
        def refuses_all(self, response: httpx.Response) -> bool:
            return response.status_code != 404 and super().refuses_all(response)

    receiver.script = [404]
    records = Records(receiver.url)
    bench = Bench(records, *make(make_entry, "a")).run()
    records.close()

    assert [event for event, _ in bench.parked] == ["a"]
    assert bench.waits == []


def test_forked_child_leaves_the_connection_alone(
    receiver: Receiver, hook: Hook, make_entry: MakeEntry
) -> None:
    """After a fork the child connects anew, and its parent goes on over the old connection."""
    hook.deliver(Batch([]))
    parents = hook._client
    hook.reset_after_fork()
    hook.deliver(Batch([]))

    assert receiver.connections == 2
    assert hook._client is not parents
    assert parents is not None
    assert not parents.is_closed
    parents.close()


@pytest.mark.parametrize("status", [400, 413, 422])
def test_refusals_for_good(
    receiver: Receiver, hook: Hook, make_entry: MakeEntry, status: int
) -> None:
    """An event that no waiting makes acceptable is parked and not tried again."""
    receiver.script = [status]
    bench = Bench(hook, *make(make_entry, "a")).run()

    assert [event for event, _ in bench.parked] == ["a"]
    assert len(receiver.requests) == 1
    assert "s3cr3t" not in bench.parked[0][1]


def test_answers_may_reject(receiver: Receiver, hook: Hook, make_entry: MakeEntry) -> None:
    """A sink that reads rejections out of the answer has these events parked."""
    receiver.script = [(200, {"X-Rejected": "b"})]
    bench = Bench(hook, *make(make_entry, "abc")).run()

    assert bench.parked == [("b", "not wanted")]


def test_failing_request_stops_the_batch(receiver: Receiver, make_entry: MakeEntry) -> None:
    """Of several requests for a batch those behind the one that failed are not sent."""

    class Each(Hook):
        def requests(self, batch: Batch, client: httpx.Client) -> Iterable[httpx.Request]:
            for line in batch.lines:
                yield client.build_request("POST", self.url, content=b"[" + line + b"]")

    each = Each(receiver.url)
    receiver.script = [200, 503]
    bench = Bench(each, *make(make_entry, "abc")).run()

    assert [request["ids"] for request in receiver.requests] == [[x] for x in "ababc"]
    assert len(bench.waits) == 1
    each.close()


def test_given_client_stays_open(receiver: Receiver, make_entry: MakeEntry) -> None:
    """A client of one's own is used, and closed by nobody but oneself."""
    with httpx.Client(headers={"User-Agent": "shop"}, trust_env=False) as client:
        hook = Hook(receiver.url, client=client)
        Bench(hook, *make(make_entry, "a")).run()
        hook.close()
        Bench(hook, *make(make_entry, "b")).run()

    assert receiver.taken == ["a", "b"]
    assert receiver.agents == {"shop"}


def test_closed_sink_opens_again(receiver: Receiver, hook: Hook, make_entry: MakeEntry) -> None:
    """After closing, the next batch opens a new connection."""
    Bench(hook, *make(make_entry, "a")).run()
    hook.close()
    hook.close()
    Bench(hook, *make(make_entry, "b")).run()

    assert receiver.taken == ["a", "b"]
    assert receiver.connections == 2


def test_proxy_variables_are_not_followed(
    monkeypatch: pytest.MonkeyPatch, receiver: Receiver, hook: Hook, make_entry: MakeEntry
) -> None:
    """A proxy that the environment names gets nothing that was not configured."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    Bench(hook, *make(make_entry, "a")).run()

    assert receiver.taken == ["a"]


def test_delivery_error_carries_what_was_asked(
    receiver: Receiver, hook: Hook, make_entry: MakeEntry
) -> None:
    """The error of a refused request says whether trying again helps, and when."""
    receiver.script = [(429, {"Retry-After": "7"}), 400]
    batch = Batch([])
    with pytest.raises(DeliveryError) as later:
        hook.deliver(batch)
    with pytest.raises(DeliveryError) as never:
        hook.deliver(batch)

    assert (later.value.retryable, later.value.retry_after) == (True, 7.0)
    assert (never.value.retryable, never.value.retry_after) == (False, None)


@given(st.integers(0, 10**6))
def test_retry_after_reads_seconds_and_dates(seconds: int) -> None:
    """A number of seconds and a date that far away mean the same."""
    assert retry_after(str(seconds), NOW) == seconds
    assert retry_after(_date(seconds), NOW) == seconds
    assert retry_after(_date(-1 - seconds), NOW) == 0.0


@given(st.text(st.characters(max_codepoint=255), max_size=40))
def test_retry_after_survives_anything(text: str) -> None:
    """Whatever a receiver writes into the header, the answer is a wait or none."""
    wait = retry_after(text, NOW)

    assert wait is None or wait >= 0


@pytest.mark.parametrize("text", [None, "", "²", "-5", "Wed, 99 Foo 2025", "1.5"])
def test_odd_retry_after_is_none(text: str | None) -> None:
    """What is neither a number nor a date asks for nothing."""
    assert retry_after(text, NOW) is None


@pytest.mark.parametrize("wrong", [{"connect": 0}, {"read": -1}])
def test_timeouts_are_positive(wrong: dict[str, float]) -> None:
    """A sink without a limit could hang for ever, so there is no way to set none."""
    with pytest.raises(ValueError, match="must be > 0"):
        HttpTimeouts(**wrong)


def test_address_is_not_logged(
    receiver: Receiver, hook: Hook, make_entry: MakeEntry, caplog: pytest.LogCaptureFixture
) -> None:
    """httpx logs each address, where secrets may be; not while a sink sends, but for others."""
    with caplog.at_level("DEBUG"):
        Bench(hook, *make(make_entry, "a")).run()
        assert "s3cr3t" not in caplog.text
        with httpx.Client(trust_env=False) as client:
            client.post(receiver.url, content=b"[]")
        assert "s3cr3t" in caplog.text


def test_error_about_a_header_does_not_tell_it() -> None:
    """An error that would show what stood in a header is told by its name alone."""

    class Odd(Hook):
        def requests(self, batch: Batch, client: httpx.Client) -> Iterable[httpx.Request]:
            headers = [(b"Authorization", b"Bearer t0k3n\n")]
            yield client.build_request("POST", self.url, headers=headers)

    with FaultyServer() as server:
        odd = Odd(server.url)
        with pytest.raises(DeliveryError) as failed:
            odd.deliver(Batch([]))
        odd.close()

    assert str(failed.value).endswith(f": {unanswered('LocalProtocolError')}")


def test_answer_has_a_most(receiver: Receiver) -> None:
    """An answer that is too long is given up on, with the reason."""

    class Small(Hook):
        most_answer_bytes = 10

    with FaultyServer(lambda _: Reply(200, b"x" * 11)) as server:
        small = Small(server.url)
        with pytest.raises(DeliveryError, match="ReadError: its answer has more than 10 bytes"):
            small.deliver(Batch([]))
        small.close()


def test_tls_failure_is_told(tls: ssl.SSLContext) -> None:
    """A certificate that nobody has vouched for is an outage, told in one line."""
    with FaultyServer(tls=tls) as server:
        hook = Hook(server.url)
        with pytest.raises(DeliveryError, match="CERTIFICATE_VERIFY_FAILED") as failed:
            hook.deliver(Batch([]))
        hook.close()

    assert failed.value.retryable
    assert "\n" not in str(failed.value)
