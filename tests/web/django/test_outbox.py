from __future__ import annotations

import contextlib
import random
import signal
import time
import unittest
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import DatabaseError, IntegrityError, connection, transaction
from django.test import TestCase
from tests.web.django.processes import Shop

from journeykit import JourneyKit
from journeykit.web.django import track_in_transaction
from journeykit.web.django.project import get_project

Project = Callable[..., JourneyKit]
Events = Callable[[JourneyKit], list[Any]]


@pytest.fixture
def rows(database: Path) -> Iterator[Callable[[], list[str]]]:
    """Return a function that returns the ids of the events that wait; none are left behind."""
    from journeykit.web.django.models import OutboxEvent

    yield lambda: [row.event_id for row in OutboxEvent.objects.order_by("pk")]
    OutboxEvent.objects.all().delete()


def _names(events: list[Any]) -> list[str]:
    return [each.name for each in events]


@contextlib.contextmanager
def _rolled_back() -> Iterator[None]:
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


# One process


def test_a_committed_event_is_recorded_and_its_row_goes(
    project: Project, events: Events, rows: Any, wait_until: Any
) -> None:
    """In a transaction an event waits in its table; the commit hands it over, and the row goes when the Log has it."""
    kit = project()
    with transaction.atomic():
        receipt = track_in_transaction("Order Completed", {"total": 5}, customer="ada")
        assert receipt
        assert receipt.reason is None
        assert rows() == [receipt.id]
        assert events(kit) == []

    (event,) = events(kit)
    outbox = get_project().outbox
    wait_until(lambda: outbox.settle() or not rows())
    assert (event.id, event.customer.user_id, event.properties) == (receipt.id, "ada", {"total": 5})


@pytest.mark.parametrize("surrounded", [True, False])
def test_a_durable_event_is_in_the_log_behind_the_commit(
    project: Project, rows: Any, surrounded: bool
) -> None:
    """Whoever comes behind the commit finds a durable event in the Log, in whichever process."""
    kit = project()
    for _ in range(5):
        with transaction.atomic() if surrounded else contextlib.nullcontext():
            receipt = track_in_transaction("Order Completed", customer="ada", durable=True)
        assert receipt.id in {each.entry.id for each in kit.store.read(None, 100)}


def test_a_row_goes_when_the_log_has_its_event(
    project: Project, events: Events, rows: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before that it stays; where the event was dropped for newer ones, a sweep hands it over once more."""
    kit = project()
    outbox = get_project().outbox
    with transaction.atomic():
        track_in_transaction("Order Completed", customer="ada")
    assert kit.flush()

    with monkeypatch.context() as patch:
        patch.setattr(kit.handover, "is_kept", lambda _: False)
        outbox.settle()
        assert len(rows()) == 1
        patch.setattr(kit.handover, "is_kept", lambda _: None)
        outbox.settle()
        assert len(rows()) == 1
    outbox.settle()
    assert len(rows()) == 1

    assert outbox.sweep("default") == 1
    assert rows() == []


def test_a_rollback_records_nothing(project: Project, events: Events, rows: Any) -> None:
    """What is rolled back never was: neither a row nor an event; an outer transaction goes on without it."""
    kit = project()
    with transaction.atomic():
        with _rolled_back():
            track_in_transaction("Order Completed", customer="ada")
        track_in_transaction("Order Cancelled", customer="ada")
    with _rolled_back():
        track_in_transaction("Order Completed", customer="ada")

    assert _names(events(kit)) == ["Order Cancelled"]
    assert len(rows()) == 1


def test_outside_a_transaction_it_is_track(project: Project, events: Events, rows: Any) -> None:
    """Without a transaction around it the event is recorded at once, and no row is written."""
    kit = project()

    assert track_in_transaction("Order Completed", customer="ada")

    assert rows() == []
    assert _names(events(kit)) == ["Order Completed"]


def test_without_autocommit_the_row_waits_for_the_commit(
    project: Project, events: Events, rows: Any
) -> None:
    """Where the project commits by hand, nothing is recorded before; a sweep finds the row after it."""
    kit = project()
    transaction.set_autocommit(False)
    try:
        assert track_in_transaction("Order Completed", customer="ada")
        transaction.rollback()
        assert track_in_transaction("Order Cancelled", customer="ada")
        assert events(kit) == []
        transaction.commit()
    finally:
        transaction.set_autocommit(True)

    assert get_project().outbox.sweep("default") == 1
    assert _names(events(kit)) == ["Order Cancelled"]
    assert rows() == []


def test_a_refused_event_writes_nothing(project: Project, rows: Any) -> None:
    """An event that `track` would refuse is refused with the same reason, in the transaction."""
    project(strict=False)
    with transaction.atomic():
        receipt = track_in_transaction("Order Completed")
        assert (bool(receipt), receipt.reason) == (False, "no_customer")
        assert rows() == []


def test_a_double_move_is_recorded_once(project: Project, events: Events, rows: Any) -> None:
    """Two processes that hand over the same row put one event into the Log."""
    kit = project()
    with transaction.atomic():
        track_in_transaction("Order Completed", customer="ada")
    outbox = get_project().outbox
    outbox._waiting.clear()

    assert outbox.sweep("default") == 1
    assert _names(events(kit)) == ["Order Completed"]
    assert rows() == []


def test_a_sweep_leaves_what_is_on_its_way(project: Project, rows: Any) -> None:
    """A row whose event this process has handed over already is not handed over again."""
    project()
    with transaction.atomic():
        track_in_transaction("Order Completed", customer="ada")

    assert get_project().outbox.sweep("default") == 0
    assert len(rows()) == 1


def test_a_sweep_takes_many(project: Project, events: Events, rows: Any) -> None:
    """More rows than go at once are all taken, in their order; damaged ones and those of newer versions stay."""
    from journeykit.web.django.models import OutboxEvent

    kit = project(strict=False)
    with transaction.atomic():
        for number in range(1_203):
            track_in_transaction("Order Completed", {"n": number}, customer="ada")
    outbox = get_project().outbox
    outbox._waiting.clear()
    assert len(events(kit)) == 1_203
    OutboxEvent.objects.create(event_id="damaged", form=1, record=b"nonsense")
    newer = kit.handover.prepare("Order Completed", customer="ada").record
    OutboxEvent.objects.create(event_id="newer", form=200, record=newer)

    assert outbox.sweep("default") == 1_203

    assert [each.properties["n"] for each in events(kit)] == list(range(1_203))
    assert rows() == ["damaged", "newer"]


def test_where_the_log_has_no_room_rows_wait(
    project: Project, events: Events, rows: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the kit takes nothing, rows stay; once it does, a sweep records them."""
    kit = project()
    with monkeypatch.context() as patch:
        patch.setattr(kit.handover, "take", lambda _, **__: None)
        with transaction.atomic():
            track_in_transaction("Order Completed", customer="ada")
        assert get_project().outbox.sweep("default") == 0
    assert len(rows()) == 1

    assert get_project().outbox.sweep("default") == 1
    assert _names(events(kit)) == ["Order Completed"]


@pytest.fixture
def no_table(database: Path) -> Iterator[None]:
    """Take our table away, as where its migration is missing."""
    with connection.schema_editor() as editor:
        editor.execute("ALTER TABLE journeykit_outbox RENAME TO elsewhere")
    yield
    with connection.schema_editor() as editor:
        editor.execute("ALTER TABLE elsewhere RENAME TO journeykit_outbox")


def test_without_its_table_the_shop_goes_on(
    project: Project, events: Events, no_table: None, caplog: pytest.LogCaptureFixture
) -> None:
    """Where the migration is missing, the order is taken, the event comes with its commit, and one line says what to do."""
    kit = project(strict=False)
    receipts = []
    for _ in range(2):
        with transaction.atomic():
            receipts.append(track_in_transaction("Order Completed", customer="ada"))
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1")
    with _rolled_back():
        track_in_transaction("Order Cancelled", customer="ada")

    assert [(bool(each), each.reason) for each in receipts] == [(True, "pending")] * 2
    assert _names(events(kit)) == ["Order Completed"] * 2
    told = [each for each in caplog.records if each.message == "journeykit.outbox_failed"]
    assert len(told) == 1
    assert "migrate" in told[0].detail
    assert get_project().outbox.sweep("default") == 0


def test_strict_raises_without_its_table(project: Project, no_table: None) -> None:
    """In tests of the shop a missing migration is an error, and the transaction is not broken by it."""
    project(strict=True)
    with transaction.atomic():
        with pytest.raises(DatabaseError):
            track_in_transaction("Order Completed", customer="ada")
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")


def test_a_database_that_is_not_listed_has_no_outbox(
    project: Project, events: Events, rows: Any
) -> None:
    """Without `OUTBOX` no table is touched, and the event comes with the commit."""
    kit = project(OUTBOX=[])
    with transaction.atomic():
        receipt = track_in_transaction("Order Completed", customer="ada")
        assert rows() == []

    assert (bool(receipt), receipt.reason) == (True, "pending")
    assert "OUTBOX" in (receipt.detail or "")
    assert _names(events(kit)) == ["Order Completed"]


def test_a_broken_transaction_stays_the_shops_own(
    project: Project, events: Events, rows: Any
) -> None:
    """After an error of the shop's own, what is tracked is rolled back with the rest, and raises nothing new."""
    kit = project(strict=False)
    with transaction.atomic():
        with contextlib.suppress(IntegrityError), transaction.atomic(savepoint=False):
            raise IntegrityError
        assert track_in_transaction("Order Completed", customer="ada").reason == "pending"

    assert events(kit) == []
    assert rows() == []


def test_the_visitor_of_the_request_is_known(project: Project, events: Events, rows: Any) -> None:
    """The event is about whoever is bound when it happens, not when it is committed."""
    kit = project()
    with transaction.atomic(), kit.bind_customer("ada", channel="web"):
        track_in_transaction("Order Completed")

    (event,) = events(kit)
    assert (event.customer.user_id, event.channel) == ("ada", "web")


def test_djangos_own_tests_see_what_they_commit(
    project: Project, events: Events, rows: Any
) -> None:
    """In a `TestCase`, whose transactions end in a rollback, captured commits record, and no thread starts."""
    kit = project()

    class Shop(TestCase):
        databases = frozenset({"default"})

        def test_order(self) -> None:
            with self.captureOnCommitCallbacks(execute=True), transaction.atomic():
                track_in_transaction("Order Completed", customer="ada")

    result = unittest.TestResult()
    unittest.TestSuite([Shop("test_order")]).run(result)

    assert result.wasSuccessful(), [*result.errors, *result.failures]
    assert _names(events(kit)) == ["Order Completed"]
    assert rows() == []
    assert not get_project().outbox._started


# Real processes, and databases


@pytest.mark.slow
def test_an_order_is_recorded_once_though_the_worker_dies_right_after(shop: Shop) -> None:
    """Of orders that are committed, rolled back, and committed by a process that is killed at that moment, the Log has those that are there."""
    assert shop.run("take", "committed")[0] == 0
    assert shop.run("take", "withdrawn", "rollback")[0] == 0
    assert shop.run("take", "orphaned", "die")[0] == -signal.SIGKILL

    assert shop.orders() == ["committed", "orphaned"]
    assert shop.recorded() == ["committed", "orphaned"]


@pytest.mark.slow
def test_without_its_table_no_order_is_lost(shop: Shop) -> None:
    """Where the migration is missing, the shop's transaction goes on, and the event comes with its commit."""
    assert shop.run("take", "first", "untable")[0] == 0

    assert shop.orders() == ["first"]
    assert shop.run("prepare-again")[0] == 0
    assert shop.recorded() == ["first"]


@pytest.mark.slow
def test_killed_workers_lose_no_order_and_repeat_none(shop: Shop, wait_until: Any) -> None:
    """Of workers that are killed again and again in the midst of orders, the Log has each order once."""
    chance = random.Random(8)
    names = [f"w{number}" for number in range(6)]
    running = [(name, shop.start("orders", name)) for name in names[:2]]
    for following in [*names[2:], None, None]:
        name, worker = running.pop(0)
        wait_until((shop.directory / f"{name}.began").exists, 30)
        time.sleep(chance.uniform(0.05, 0.4))
        worker.kill()
        worker.wait()
        if following is not None:
            running.append((following, shop.start("orders", following)))

    orders = shop.orders()
    assert len(orders) > 20
    assert not [each for each in orders if int(each.partition("-")[2]) % 3 == 0]
    assert shop.recorded() == orders
