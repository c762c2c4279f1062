"""Sinks that break one promise each; run by test_sinks.py, which wants to see them fail."""

from __future__ import annotations

import http.client
import json
import logging
import random
import time
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from journeykit.delivery import Batch, Rejection
from journeykit.delivery.answers import retry_after
from journeykit.delivery.sink import ErasureResult
from journeykit.exceptions import DeliveryError
from journeykit.testing import FaultyServer, HttpSinkContract

_log = logging.getLogger("broken")


class Sound:
    """Posts batches as JSON arrays, and does everything right."""

    #: The promise that a kind of it breaks.
    breaks = ""

    def __init__(self, url: str) -> None:
        self.name = "sound"
        self.url = url
        self.key = "t0k3n"
        self.connection: http.client.HTTPConnection | None = None
        self.parents: list[http.client.HTTPConnection] = []

    def deliver(self, batch: Batch) -> Iterable[Rejection] | None:
        """Post *batch*."""
        if len(batch):
            self.judge(batch, *self.post(self.body(batch)))
        return None

    def body(self, batch: Batch) -> bytes:
        """Return what to send."""
        return b"[" + b",".join(batch.lines) + b"]"

    def post(self, body: bytes, path: str = "/hook") -> tuple[int, dict[str, str], bytes]:
        """Return status, headers and body of the answer."""
        ends = time.monotonic() + 1.0
        try:
            if self.connection is None:
                self.connection = self.connect()
            self.connection.request("POST", path, body, {"Authorization": f"Bearer {self.key}"})
            answer = self.connection.getresponse()
            text = b""
            while piece := answer.read1(65536):
                text += piece
                if len(text) > 2**20 or time.monotonic() > ends:
                    raise TimeoutError("no end")
            if answer.length:
                raise http.client.IncompleteRead(text)
            answer.close()
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise DeliveryError(type(error).__name__) from error
        headers = {name.lower(): value for name, value in answer.getheaders()}
        return answer.status, headers, text

    def connect(self) -> http.client.HTTPConnection:
        """Return a connection."""
        return http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=0.3)

    def judge(self, batch: Batch, status: int, headers: dict[str, str], text: bytes) -> None:
        """Raise what the answer means."""
        if not 200 <= status < 300:
            retryable = status not in (400, 413, 422)
            wait = retry_after(headers.get("retry-after"), time.time())
            raise DeliveryError(f"HTTP {status}", retryable=retryable, retry_after=wait)

    def erase(self, customer: Any) -> ErasureResult:
        """Say that nothing was there."""
        return ErasureResult("erased")

    def reset_after_fork(self) -> None:
        """Forget the connection."""
        if self.connection is not None:
            self.parents.append(self.connection)
            self.connection = None

    def close(self) -> None:
        """Close the connection."""
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.close()


class Name(Sound):
    breaks = "test_contract_sink_has_what_a_sink_has"

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.name = ""


class LosesLast(Sound):
    breaks = "test_contract_every_event_arrives"

    def body(self, batch: Batch) -> bytes:
        return b"[" + b",".join(batch.lines[:-1]) + b"]"


class Order(Sound):
    breaks = "test_contract_a_customers_events_arrive_in_order"

    def body(self, batch: Batch) -> bytes:
        return b"[" + b",".join(reversed(batch.lines)) + b"]"


class Small(Sound):
    breaks = "test_contract_many_batches_arrive"

    def deliver(self, batch: Batch) -> Iterable[Rejection] | None:
        if len(batch) > 100:
            raise DeliveryError("too many", retryable=False)
        return super().deliver(batch)

    def body(self, batch: Batch) -> bytes:
        return b"[" + b",".join(batch.lines[:50]) + b"]"


class Picky(Sound):
    breaks = "test_contract_no_event_holds_up_others"

    def body(self, batch: Batch) -> bytes:
        return b"\n".join(line.decode().encode("latin-1") for line in batch.lines)


class Empty(Sound):
    breaks = "test_contract_an_empty_batch_is_harmless"

    def deliver(self, batch: Batch) -> Iterable[Rejection] | None:
        _ = batch[0]
        return super().deliver(batch)


class Outage(Sound):
    breaks = "test_contract_an_outage_is_waited_out"

    def deliver(self, batch: Batch) -> Iterable[Rejection] | None:
        try:
            return super().deliver(batch)
        except DeliveryError as error:
            return [Rejection(event, str(error)) for event in batch.ids]


class Ids(Sound):
    breaks = "test_contract_an_event_that_comes_again_has_its_id"

    seen: set[str]

    def body(self, batch: Batch) -> bytes:
        body = super().body(batch)
        self.seen = getattr(self, "seen", set())
        for event in set(batch.ids) & self.seen:
            body = body.replace(event.encode(), f"{random.getrandbits(64):016x}".encode())
        self.seen |= set(batch.ids)
        return body


class Close(Sound):
    breaks = "test_contract_a_closed_sink_opens_again"

    closed = False

    def connect(self) -> http.client.HTTPConnection:
        if self.closed:
            raise DeliveryError("closed")
        return super().connect()

    def close(self) -> None:
        self.closed = True
        super().close()


class Fork(Sound):
    breaks = "test_contract_parent_and_forked_child_do_not_mix"

    def reset_after_fork(self) -> None:
        if self.connection is not None and self.connection.sock is not None:
            self.connection.sock.shutdown(2)
        raise RuntimeError("shut the parent's connection")


class Erase(Sound):
    breaks = "test_contract_erasing_says_what_became_of_it"

    def erase(self, customer: Any) -> ErasureResult:
        return None  # type: ignore[return-value]


class Repr(Sound):
    breaks = "test_contract_nothing_private_shows"

    def __repr__(self) -> str:
        return f"<Sink {self.key}>"


class Eager(Sound):
    breaks = "test_contract_building_connects_to_nobody"

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.connection = self.connect()
        self.connection.connect()
        time.sleep(0.05)


class Trouble(Sound):
    breaks = "test_contract_trouble_that_passes_parks_nothing"

    def judge(self, batch: Batch, status: int, *more: Any) -> None:
        if status == 429:
            raise DeliveryError("HTTP 429", retryable=False)
        super().judge(batch, status, *more)


class Credentials(Sound):
    breaks = "test_contract_wrong_credentials_park_nothing"

    def judge(self, batch: Batch, status: int, *more: Any) -> None:
        if status in (401, 403):
            raise DeliveryError(f"HTTP {status}", retryable=False)
        super().judge(batch, status, *more)


class Redirect(Sound):
    breaks = "test_contract_redirects_are_not_followed"

    def post(self, body: bytes, path: str = "/hook") -> tuple[int, dict[str, str], bytes]:
        answer = super().post(body, path)
        if "location" in answer[1]:
            return super().post(body, urlsplit(answer[1]["location"]).path)
        return answer


class RetryAfter(Sound):
    breaks = "test_contract_retry_after_is_honoured"

    def judge(self, batch: Batch, status: int, headers: dict[str, str], text: bytes) -> None:
        super().judge(batch, status, {}, text)


class All(Sound):
    breaks = "test_contract_a_refused_event_is_set_aside_alone"

    def judge(self, batch: Batch, status: int, *more: Any) -> None:
        if status == 400:
            raise DeliveryError("HTTP 400")
        super().judge(batch, status, *more)


class Hope(Sound):
    breaks = "test_contract_what_may_have_arrived_comes_again"

    def deliver(self, batch: Batch) -> Iterable[Rejection] | None:
        try:
            return super().deliver(batch)
        except DeliveryError as error:
            if "RemoteDisconnected" in str(error):
                return None
            raise


class Patience(Sound):
    breaks = "test_contract_deliver_ends_whatever_the_server_does"

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=30)


class Haste(Sound):
    breaks = "test_contract_a_slow_answer_is_an_answer"

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=0.02)


class Reader(Sound):
    breaks = "test_contract_rubbish_for_an_answer_loses_nothing"

    def deliver(self, batch: Batch) -> Iterable[Rejection] | None:
        if not len(batch):
            return None
        status, headers, text = self.post(self.body(batch))
        self.judge(batch, status, headers, text)
        try:
            json.loads(text or b"{}")
        except ValueError:
            return [Rejection(event, "no JSON came back") for event in batch.ids]
        return None


class Talker(Sound):
    breaks = "test_contract_nothing_private_shows_in_trouble"

    def judge(self, batch: Batch, status: int, headers: dict[str, str], text: bytes) -> None:
        if status == 400:
            _log.warning("refused: %s", text)
        super().judge(batch, status, headers, text)


class _Contract(HttpSinkContract):
    """The contract for a sink of `kind`."""

    secrets = ("t0k3n",)
    patience = 2.0
    kind: type[Sound] = Sound

    @pytest.fixture
    def sink(self, server: FaultyServer) -> Iterator[Sound]:
        """Return the sink."""
        sink = self.kind(server.url)
        yield sink
        sink.close()


for each in (Sound, *Sound.__subclasses__()):
    globals()[f"Test{each.__name__}"] = type(f"Test{each.__name__}", (_Contract,), {"kind": each})
