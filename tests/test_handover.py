from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from journeykit import EventRejected, JourneyKit


@pytest.fixture
def make_kit(make_settings: Callable[..., Any]) -> Iterator[Callable[..., JourneyKit]]:
    """Return a factory of kits with a store in memory; arguments go to `Core`."""
    kits = []

    def make_kit(**core: Any) -> JourneyKit:
        kits.append(JourneyKit(make_settings("opt_out", {"strict": False, **core})))
        return kits[-1]

    yield make_kit
    for kit in kits:
        kit.close()


def _names(kit: JourneyKit) -> list[str]:
    assert kit.flush()
    return [stored.event().name for stored in kit.store.read(None, 1000)]


def _asleep(kit: JourneyKit) -> JourneyKit:
    """Return *kit* without its threads, as where no thread can be started."""

    def start(**_: Any) -> Any:
        raise RuntimeError

    kit.start = start  # type: ignore[method-assign]
    return kit


def test_what_is_prepared_counts_for_nothing_until_it_is_taken(
    make_kit: Callable[..., JourneyKit], wait_until: Callable[..., None]
) -> None:
    """A prepared event is an event as ever, made then, and in the Log once however often it is taken."""
    kit = make_kit()
    with kit.bind_customer("ada", channel="web"):
        receipt, record, _ = kit.handover.prepare("Order Completed", {"password": "x", "total": 2})

    assert receipt
    assert _names(kit) == []

    handed = [kit.handover.take(record) for _ in range(2)]

    wait_until(lambda: all(each and kit.handover.is_kept(each) for each in handed))
    assert _names(kit) == ["Order Completed"]
    (event,) = [stored.event() for stored in kit.store.read(None, 10)]
    assert (event.id, event.customer.user_id, event.channel) == (receipt.id, "ada", "web")
    assert event.properties == {"password": "[redacted]", "total": 2}


def test_what_is_refused_is_refused_when_it_is_prepared(
    make_kit: Callable[..., JourneyKit],
) -> None:
    """An event that `track` would refuse has no record, and is counted; a strict kit raises."""
    kit = make_kit()

    receipt, record, _ = kit.handover.prepare("", customer="ada")

    assert (bool(receipt), receipt.reason, record) == (False, "bad_name", b"")
    assert kit.receipts["bad_name"] == 1
    with pytest.raises(EventRejected):
        make_kit(strict=True).handover.prepare("", customer="ada")


def test_where_there_is_no_room_it_is_not_taken(make_kit: Callable[..., JourneyKit]) -> None:
    """A full tail takes no record now, and neither does a kit that was closed."""
    small = _asleep(make_kit(buffer_bytes=2**16))
    record = small.handover.prepare("Order Completed", customer="ada").record
    while small.track("Product Viewed", customer="ada"):
        pass

    assert small.handover.take(record) is None

    closed = make_kit()
    closed.close()
    assert closed.handover.take(record) is None
    assert closed.handover.prepare("Order Completed", customer="ada").receipt.reason == "closed"


def test_bytes_that_are_no_record_are_refused(make_kit: Callable[..., JourneyKit]) -> None:
    """What would stop the committer never comes to it."""
    kit = make_kit()
    record = kit.handover.prepare("Order Completed", customer="ada").record

    for wrong in (b"", b"x", record[:20], b"\xff" * 200):
        with pytest.raises(ValueError, match="no record"):
            kit.handover.take(wrong)
    assert _names(kit) == []


def test_what_went_for_newer_events_is_told(make_kit: Callable[..., JourneyKit]) -> None:
    """Where the oldest make room, who handed one of them over learns that it may be gone."""
    kit = _asleep(make_kit(buffer_bytes=2**16, when_full="drop_old"))
    record = kit.handover.prepare("Order Completed", customer="ada").record
    handed = kit.handover.take(record)
    assert handed is not None
    assert kit.handover.is_kept(handed) is False

    for _ in range(100):
        assert kit.track("Product Viewed", {"text": "x" * 1_000}, customer="ada")

    assert kit.handover.is_kept(handed) is None
