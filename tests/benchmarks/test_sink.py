from __future__ import annotations

import base64
import gzip
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks import adapters, sink
from benchmarks.marks import marker, markers

CALLS = 25

PEERS = [
    pytest.param(
        subject,
        marks=pytest.mark.skipif(
            subject in adapters.PEERS and adapters.version(subject) is None,
            reason=f"{subject} is not installed here; `make bench` installs it",
        ),
    )
    for subject in adapters.BUILD
    # The floor delivers nothing, and without orjson is for processes of their own.
    if subject not in {"floor", "journeykit-json"}
]


@pytest.fixture(scope="module")
def collector() -> Iterator[sink.Sink]:
    """Run one collector for all tests."""
    with sink.running() as running:
        yield running


def test_every_wire_form_is_counted() -> None:
    """A marker is found in plain text, behind gzip, and in snowplow's base64."""
    plain = f'{{"position": "{marker(7)}"}}'.encode()
    encoded = base64.urlsafe_b64encode(plain).rstrip(b"=")
    assert markers(plain) == [marker(7).encode()]
    assert markers(gzip.compress(plain)) == [marker(7).encode()]
    assert markers(b'{"ue_px": "%b"}' % encoded) == [marker(7).encode()]


def test_an_event_that_comes_twice_is_counted_once() -> None:
    """The same marker again is an event that was delivered twice."""
    received = sink.Received()
    for number in (1, 2, 2):
        received.add(marker(number).encode())
    counted = received.count()
    assert (counted["events"], counted["again"], counted["requests"]) == (2, 1, 3)


@pytest.mark.parametrize("subject", PEERS)
def test_adapters_deliver(subject: str, collector: sink.Sink, tmp_path: Path) -> None:
    """Everything that is tracked through an adapter arrives once it is flushed."""
    collector.reset()
    client = adapters.BUILD[subject](collector.url, tmp_path)
    for number in range(CALLS):
        client.track(adapters.properties(number))
    client.flush()
    counted = collector.wait_for(CALLS, 10)
    client.close()
    assert (counted["events"], counted["again"]) == (CALLS, 0)
