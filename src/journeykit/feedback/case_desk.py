"""Keeps cases in State, and derives what follows from what has happened to them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from journeykit.feedback.case_state import (
    CASES,
    CLOSED,
    FILES,
    CaseFile,
    Record,
    Standing,
    stand,
)
from journeykit.feedback.case_view import SEVERITIES
from journeykit.journeys.derived import Cause, derive, derived_id
from journeykit.journeys.timers import Timer, set_timer
from journeykit.model import jsonbytes
from journeykit.model.casework import CaseStatus
from journeykit.model.times import to_rfc3339
from journeykit.store.view import TIMERS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from journeykit.feedback.case_state import Clock, Opened
    from journeykit.model.event import Entry
    from journeykit.store.view import View

#: What is derived where a case begins, and where it is open again.
OPENED: Final = "case.opened"
ADDED: Final = "case.evidence_added"
REOPENED: Final = "case.reopened"

#: What the timers of cases are kept under.
LABEL: Final = "cases"

#: The answers of one customer whose case is known, the newest.
_MOST_IMPRESSIONS: Final = 50

_SEPARATOR: Final = "\x1f"


class Desk:
    """The cases of State, as a fold changes them while it folds one event."""

    def __init__(self, view: View) -> None:
        self._view = view

    # What is kept

    def file(self, customer: str) -> CaseFile | None:
        """Return the cases of a customer."""
        file: CaseFile | None = self._view.get(FILES, customer, CaseFile.decode)
        return file

    def put_file(self, customer: str, file: CaseFile | None) -> None:
        """Replace the cases of a customer."""
        self._view.put(FILES, customer, file, CaseFile.encode)

    def find(self, case: str) -> Record | None:
        """Return what is kept of a case."""
        found: Record | None = self._view.get(CASES, case, Record.decode)
        return found if found is not None else self._view.get(CLOSED, case, Record.decode)

    def open_ones(self, customer: str) -> Iterator[Record]:
        """Yield the cases of a customer that may change, the oldest first."""
        file = self.file(customer)
        for case in file.open if file is not None else ():
            record = self.find(case)
            if record is not None:
                yield record

    def begin(self, record: Record) -> None:
        """Add a new case to those of its customer."""
        file = self.file(record.customer) or CaseFile()
        file.open.append(record.id)
        self.put_file(record.customer, file)

    def note_impression(self, record: Record, impression: str | None) -> None:
        """Keep which case the answers of an impression belong to, if it is about one."""
        if impression is None:
            return
        file = self.file(record.customer) or CaseFile()
        file.impressions.pop(impression, None)
        file.impressions[impression] = record.id
        while len(file.impressions) > _MOST_IMPRESSIONS:
            del file.impressions[next(iter(file.impressions))]
        self.put_file(record.customer, file)

    def remove(self, case: str) -> int:
        """Remove a case; returns how many pieces of State that were."""
        pieces, part = 0, f"{LABEL}{_SEPARATOR}{case}"
        for space in (CASES, CLOSED):
            if self._view.get(space, case, Record.decode) is not None:
                self._view.put(space, case, None, Record.encode)
                pieces += 1
        for key in self._view.find(TIMERS, part):
            self._view.put(TIMERS, key, None, jsonbytes.dumps)
            pieces += 1
        return pieces

    # Who is who

    def move(self, source: str, target: str, moves: Callable[[Record], bool]) -> None:
        """Give those cases of *source* that *moves* chooses to *target*."""
        left = self.file(source)
        found = [self.find(case) for case in (*left.open, *left.closed)] if left else []
        moved = {each.id: each for each in found if each is not None and moves(each)}
        if left is None or not moved:
            return
        for record in moved.values():
            record.customer = target
            is_open = record.id in left.open
            self._view.put(CASES if is_open else CLOSED, record.id, record, Record.encode)
        given, kept = left.split(moved)
        self.put_file(target, given.with_(self.file(target)))
        self.put_file(source, kept)

    # What follows

    def settle(self, record: Record, before: Standing, now: int) -> list[Entry]:
        """
        Keep a case that something has happened to by the instant *now*.

        Derives what that means: clocks that have run out or have not after all, and its end.
        """
        after = stand(record, now)
        clocks = list(after.clocks())
        derived = list(self._withdraw(record, after, clocks))
        derived += self._breach(record, after, clocks, now)
        if after.is_closed and not before.is_closed:
            at = after.closes_at or now
            derived.append(tell(record, after, "case.closed", (str(at), at), {}))
        self._file(record, after, before)
        self._wait(record, after, clocks, now)
        space, other = (CLOSED, CASES) if after.is_closed else (CASES, CLOSED)
        if self._view.get(other, record.id, Record.decode) is not None:
            self._view.put(other, record.id, None, Record.encode)
        self._view.put(space, record.id, record, Record.encode)
        return derived

    def _breach(
        self, record: Record, standing: Standing, clocks: list[Clock], now: int
    ) -> Iterator[Entry]:
        for clock in clocks:
            if clock.label in record.told or clock.due is None or not clock.is_breached(now):
                continue
            record.told[clock.label] = clock.due
            subject = f"{clock.label}{_SEPARATOR}{clock.due}"
            identity = subject, clock.due
            yield tell(record, standing, "case.breached", identity, _about(clock))

    def _withdraw(self, record: Record, standing: Standing, clocks: list[Clock]) -> Iterator[Entry]:
        """Take back what was told of clocks, where something that came late has stopped them."""
        known = {clock.label: clock for clock in clocks}
        for label, due in list(record.told.items()):
            clock = known.get(label)
            if clock is not None and clock.due == due and clock.is_breached(due):
                continue
            del record.told[label]
            subject = f"{label}{_SEPARATOR}{due}"
            about = {"clock": label.partition(":")[0], "due": to_rfc3339(due)}
            yield tell(record, standing, "case.breach_withdrawn", (subject, due), about)

    def _file(self, record: Record, after: Standing, before: Standing) -> None:
        if after.is_closed == before.is_closed:
            return
        file = self.file(record.customer) or CaseFile()
        there, here = (file.closed, file.open) if after.is_closed else (file.open, file.closed)
        if record.id in here:
            here.remove(record.id)
        there.append(record.id)
        if after.is_closed:
            file.closed_at = max(file.closed_at or 0, after.closes_at or 0)
        self.put_file(record.customer, file)

    def _wait(self, record: Record, standing: Standing, clocks: list[Clock], now: int) -> None:
        wakes = [
            clock.due
            for clock in clocks
            if clock.due is not None and clock.stopped is None and clock.label not in record.told
        ]
        if standing.status is CaseStatus.RESOLVED and standing.closes_at is not None:
            wakes.append(standing.closes_at)
        wake = min(wakes, default=0)
        if wake and wake != record.timer:
            opened = record.opened
            key = f"{LABEL}{_SEPARATOR}{record.id}"
            set_timer(self._view, Timer(key, wake, now, opened.flags, opened.stamp))
        record.timer = wake


def case_of_timer(key: str) -> str:
    """Return the id of the case that a timer of this key was set for."""
    return key.partition(_SEPARATOR)[2]


def tell(
    record: Record,
    standing: Standing,
    name: str,
    identity: tuple[str, int],
    properties: Mapping[str, Any],
    cause: Cause | None = None,
) -> Entry:
    """
    Return a derived event about a case, with what is known of it.

    Args:
        identity: What tells it apart from others of its name and its case, and when it occurred.
    """
    opened, (subject, at) = record.opened, identity
    if cause is None:
        ids = opened.user_id, opened.anonymous_id, None
        cause = Cause(record.id, *ids, opened.flags, opened.stamp.encode())
    known: dict[str, Any] = {
        "case": record.id,
        "rule": opened.rule,
        "title": opened.title,
        "status": standing.status.value,
        "severity": SEVERITIES[record.severity].value,
        "owner": standing.owner,
    }
    if opened.subject:
        known["subject"] = opened.subject
    whole = f"{record.id}{_SEPARATOR}{subject}"
    if name == REOPENED:
        known |= _dues(standing)
    return derive(cause, name, whole, at, {**known, **properties}, opened.place)


def tell_opening(record: Record, standing: Standing, cause: Cause, evidence: Any) -> Entry:
    """Return the event that opens a case, whose id is the case's."""
    opened = record.opened
    known: dict[str, Any] = {
        "case": record.id,
        "rule": opened.rule,
        "title": opened.title,
        "status": standing.status.value,
        "severity": SEVERITIES[record.severity].value,
        "owner": standing.owner,
        "subject": opened.subject,
        "touchpoint": opened.touchpoint,
        **_dues(standing),
        "evidence": evidence,
    }
    return derive(cause, OPENED, *opened.identity, known, opened.place)


def opening_id(opened: Opened, cause: Cause) -> str:
    """Return the id of the case, which is that of the event that opens it."""
    return derived_id(cause, OPENED, *opened.identity, opened.place)


def _about(clock: Clock) -> dict[str, Any]:
    due = None if clock.due is None else to_rfc3339(clock.due)
    return {"clock": clock.name, "due": due}


def _dues(standing: Standing) -> dict[str, str]:
    """Return when the clocks of a case run out, for those who are told of it."""
    return {
        f"{clock.name}_due": to_rfc3339(clock.due)
        for clock in standing.clocks()
        if clock.due is not None and clock.stopped is None
    }
