"""
Events in the shop's own transactions: a row there, until the Log has the event.

Who commits hands the event over at once.
Where that process does not come to it, any other one finds the row: each looks every ten seconds.
Both may hand over the same event, whose id comes to the Log once.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import random
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from django.db import DEFAULT_DB_ALIAS, DatabaseError, connections, transaction

from journeykit import native
from journeykit.capture.segment import FORM
from journeykit.model.receipt import Receipt
from journeykit.web.django.models import OutboxEvent
from journeykit.web.django.options import is_test

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from contextlib import AbstractContextManager

    from journeykit.handover import Handed, Prepared
    from journeykit.kit import JourneyKit

_log = logging.getLogger("journeykit")

#: How often a process looks for rows that others have left, and by how much that varies, so that
#: the processes of a host do not look at once, in seconds.
SWEEP_SECONDS: Final = 10.0
_SPREAD: Final = 0.1

#: For so long rows gather that can go, so that they go together, in seconds.
_GATHER_SECONDS: Final = 0.5

#: How long a sweep waits for the Log, and how often it looks, in seconds.
_LOG_SECONDS, _LOOK_SECONDS = 5.0, 0.02

#: The most rows to take, and to delete, at once.
_ROWS: Final = 500

#: Beyond so many rows that wait to go they are left to the sweep.
_MOST_WAITING: Final = 10_000


class Waiting(NamedTuple):
    """A row whose event this process has handed over."""

    alias: str
    row: int
    handed: Handed


class Outbox:
    """
    The rows of one project.

    Args:
        kit: Takes the events.

        aliases: The databases to look at.
    """

    def __init__(self, kit: JourneyKit, aliases: Sequence[str]) -> None:
        self._kit = kit
        self._aliases = tuple(aliases)
        self._told: set[str] = set()
        self._reset()

    def _reset(self) -> None:
        """Begin anew, in a process that was forked from another."""
        self._mark = native.life_mark()
        self._lock = native.rlock()
        self._signal = native.Signal()
        self._waiting: deque[Waiting] = deque(maxlen=_MOST_WAITING)
        self._started = self._stopping = False

    # In the request

    def track(
        self,
        name: str,
        properties: Mapping[str, Any] | None,
        given: Mapping[str, Any],
        *,
        durable: bool,
        using: str | None,
    ) -> Receipt:
        """Record an event with the transaction that surrounds it; see `track_in_transaction`."""
        alias = using or DEFAULT_DB_ALIAS
        connection = transaction.get_connection(alias)
        if not _in_transaction(connection):
            return self._kit.track(name, properties, **given, durable=durable)
        made = self._kit.handover.prepare(name, properties, **given)
        if not made.receipt:
            return made.receipt
        row = self._insert(alias, made)
        if connection.in_atomic_block:
            then = functools.partial(self._committed, alias, row, made.record, durable=durable)
            transaction.on_commit(then, using=alias, robust=True)
        if row is not None:
            return made.receipt
        why = "could not be written" if alias in self._aliases else "is not used: see OUTBOX"
        detail = f"the table journeykit_outbox of database {alias!r} {why}"
        if connection.in_atomic_block:
            return Receipt(made.receipt.id, "pending", f"{detail}; it is recorded at the commit")
        return Receipt(None, "failed", detail)

    def _insert(self, alias: str, made: Prepared) -> int | None:
        """Write the row; None where that is not possible, which the transaction survives."""
        if alias not in self._aliases:
            return None
        row = OutboxEvent(event_id=made.receipt.id, form=made.form, record=made.record)
        try:
            with _savepoint(alias):
                row.save(using=alias, force_insert=True)
        except DatabaseError as error:
            if self._kit.settings.core.strict:
                raise
            self._tell(alias, error)
            return None
        number: int = row.pk
        return number

    def _committed(self, alias: str, row: int | None, record: bytes, *, durable: bool) -> None:
        """Hand over what was committed just now; what has no room is found by a sweep."""
        # First: what waits in the process that this one was forked from is not ours.
        self.begin()
        handed = self._kit.handover.take(record, durable=durable)
        if handed is not None and row is not None:
            self._waiting.append(Waiting(alias, row, handed))
            self._signal.set()

    # In the background

    def begin(self) -> None:
        """Start the thread of this process, if it is not there; costs next to nothing."""
        if not self._mark[0]:
            self._reset()
        if self._started or not self._aliases:
            return
        if is_test():
            # Tests have transactions that are never committed, and databases that come and go: a
            # thread could find the one that is not for tests.
            return
        with self._lock:
            if not self._started:
                self._started = True
                native.start("journeykit-outbox", self._run)

    def stop(self) -> None:
        """End the thread, soon."""
        self._stopping = True
        self._signal.set()

    def _run(self) -> None:
        next_sweep = time.monotonic() + random.random()
        while not self._stopping:
            self._signal.wait(max(0.0, next_sweep - time.monotonic()))
            if self._waiting:
                native.sleep(_GATHER_SECONDS)
            try:
                self.settle()
                if time.monotonic() >= next_sweep:
                    next_sweep = time.monotonic() + _spread(SWEEP_SECONDS)
                    for alias in self._aliases:
                        self.sweep(alias)
            except Exception as error:  # noqa: BLE001 - the next look may go well
                _log.warning("journeykit.outbox_failed", extra={"error": type(error).__name__})
            finally:
                with native.unforked():
                    for alias in self._aliases:
                        connections[alias].close()

    def settle(self) -> None:
        """Delete the rows whose events the Log has."""
        gone: dict[str, list[int]] = {}
        again: list[Waiting] = []
        for _ in range(len(self._waiting)):
            each = self._waiting.popleft()
            kept = self._kit.handover.is_kept(each.handed)
            if kept:
                gone.setdefault(each.alias, []).append(each.row)
            elif kept is False:
                again.append(each)
        self._waiting.extend(again)
        for alias, rows in gone.items():
            self._delete(alias, rows)

    def sweep(self, alias: str) -> int:
        """Hand over what processes have left that have ended; returns how many events."""
        behind, count = 0, 0
        while not self._stopping:
            found = self._rows(alias, behind)
            if not found:
                return count
            behind = found[-1][0]
            handed = self._take(alias, found)
            if handed is None:
                return count
            self._delete(alias, handed)
            count += len(handed)
        return count

    def _rows(self, alias: str, behind: int) -> list[tuple[int, bytes]]:
        mine = {each.row for each in list(self._waiting) if each.alias == alias}
        rows = OutboxEvent.objects.using(alias).filter(pk__gt=behind, form__lte=FORM).order_by("pk")
        try:
            with native.unforked():
                found = list(rows.values_list("pk", "record")[:_ROWS])
        except DatabaseError as error:
            self._tell(alias, error)
            return []
        return [(row, b"" if row in mine else bytes(record)) for row, record in found]

    def _take(self, alias: str, found: Iterable[tuple[int, bytes]]) -> list[int] | None:
        """Return which rows may go; None where the Log does not take them now."""
        rows: list[int] = []
        taken: Handed | None = None
        for row, record in found:
            if not record:
                continue
            try:
                handed = self._kit.handover.take(record)
            except ValueError:
                extra = {"database": alias, "row": row}
                _log.error("journeykit.outbox_row_damaged", extra=extra)
                continue
            if handed is None:
                return None
            rows.append(row)
            # Kept if all are: up to the last one, and none of them was dropped.
            taken = handed if taken is None else taken._replace(number=handed.number)
        return rows if taken is None or self._wait(taken) else None

    def _wait(self, handed: Handed) -> bool:
        deadline = time.monotonic() + _LOG_SECONDS
        while not self._stopping and time.monotonic() < deadline:
            kept = self._kit.handover.is_kept(handed)
            if kept is not False:
                return bool(kept)
            native.sleep(_LOOK_SECONDS)
        return False

    def _delete(self, alias: str, rows: Sequence[int]) -> None:
        objects = OutboxEvent.objects.using(alias)
        try:
            for begin in range(0, len(rows), _ROWS):
                with native.unforked():
                    objects.filter(pk__in=rows[begin : begin + _ROWS]).delete()
        except DatabaseError as error:
            # A later sweep hands them over once more, which the Log does not mind.
            self._tell(alias, error)

    def _tell(self, alias: str, error: Exception) -> None:
        """Log the first failure with each database."""
        if alias not in self._told:
            self._told.add(alias)
            _log.warning(
                "journeykit.outbox_failed",
                extra={
                    "database": alias,
                    "error": type(error).__name__,
                    "detail": f"run `manage.py migrate --database {alias}`, or see check "
                    f"--database {alias}",
                },
            )


def _in_transaction(connection: Any) -> bool:
    if connection.in_atomic_block:
        return True
    if connection.connection is None:
        return not connection.settings_dict["AUTOCOMMIT"]
    return not connection.autocommit


def _savepoint(alias: str) -> AbstractContextManager[None]:
    connection = transaction.get_connection(alias)
    if not connection.in_atomic_block and connection.vendor == "sqlite":
        # To release a savepoint would commit there; and an error leaves the transaction as it is.
        return contextlib.nullcontext()
    whole: AbstractContextManager[None] = transaction.atomic(using=alias)
    return whole


def _spread(seconds: float) -> float:
    return seconds * random.uniform(1 - _SPREAD, 1 + _SPREAD)
