"""
What State keeps of one case, and what that adds up to.

Kept is what has happened: the complaints and the changes, in order of when they occurred.
Status, owner and clocks follow from these whenever somebody asks, so a change that arrives late
counts where it belongs.
"""

from __future__ import annotations

from bisect import insort
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import attrs

from journeykit.feedback.hours import hours_of
from journeykit.journeys.derived import About
from journeykit.model import jsonbytes
from journeykit.model.casework import CaseStatus

if TYPE_CHECKING:
    from collections.abc import Container, Iterator

    from journeykit.feedback.hours import Span

#: Case → what is kept of it, as long as it may change; and of those that are closed.
CASES: Final = "case"
CLOSED: Final = "case_closed"

#: Customer → their cases.
FILES: Final = "case_file"

#: The most changes of one case, and the most complaints: the first and the newest.
MOST_CHANGES: Final = 500
MOST_EVIDENCE: Final = 20

FIRST_RESPONSE: Final = "first_response"
RESOLUTION: Final = "resolution"

#: What can happen to a case.
ASSIGNED: Final = "assigned"
ACKNOWLEDGED: Final = "acknowledged"
WAITING: Final = "waiting"
RESUMED: Final = "resumed"
NOTED: Final = "noted"
RESOLVED: Final = "resolved"
REOPENED: Final = "reopened"
COMPLAINED: Final = "complained"

_OVER: Final = frozenset((CaseStatus.RESOLVED, CaseStatus.CLOSED))


class Change(NamedTuple):
    """Something that has happened to a case; `at` is in microseconds, `id` an event's."""

    at: int
    id: str
    what: str
    actor: str | None = None
    reason: str | None = None
    more: dict[str, Any] = {}  # noqa: RUF012 - never changed

    @property
    def place(self) -> tuple[int, str]:
        """Where it belongs in the history."""
        return self.at, self.id


class Terms(NamedTuple):
    """What a case was opened under; lengths are in microseconds of its business hours."""

    first_response: int
    resolution: int
    reopen: int
    hours: tuple[str, ...] = ()
    zone: str = "UTC"
    recovery: str | None = None
    recovery_at_most: int | None = None


class Opened(NamedTuple):
    """
    How a case began, which never changes.

    `recorded_for` is the key of the customer that the complaint names; `about` are the journey as
    derived events carry it, the stage and the instance; `flags` and `stamp` tell the consent.
    """

    at: int
    rule: str
    title: str
    subject: str
    user_id: str | None
    anonymous_id: str | None
    recorded_for: str
    owner: str | None
    journey: str | None
    about: tuple[str, str | None, str | None]
    touchpoint: str | None
    flags: int
    stamp: str
    terms: Terms

    @property
    def place(self) -> About:
        """What derived events of the case are about."""
        journey, stage, instance = self.about
        return About(journey.encode(), stage, instance)

    @property
    def identity(self) -> tuple[str, int]:
        """What tells it apart from other cases with the same cause, and when it begins."""
        return f"{self.rule}\x1f{self.subject}", self.at


class Clock(NamedTuple):
    """One clock: which, of which round, and when it began, runs out, and was stopped."""

    name: str
    round: int
    started: int
    due: int | None
    stopped: int | None

    @property
    def label(self) -> str:
        """What tells it apart from the other clocks of its case."""
        return f"{self.name}:{self.round}"

    def is_breached(self, until: int) -> bool:
        """Return whether it had run out when it was stopped, or has by the instant *until*."""
        if self.due is None:
            return False
        return self.due <= until if self.stopped is None else self.due < self.stopped


@attrs.define
class Record:
    """
    What is kept of a case.

    Args:
        customer: The key of whom it is about.

        severity: The rank of its severity.

        evidence: What it rests on, as JSON values.

        changes: What has happened, in order.

        told: Label of a clock → when it ran out, of the breaches that were told.

        reading: What plugins have read out of the answers.

        timer: The instant that a timer is set for, or 0.

        dropped: How much evidence was let go of.
    """

    id: str
    customer: str
    opened: Opened
    severity: int
    evidence: list[dict[str, Any]] = attrs.field(factory=list)
    changes: list[Change] = attrs.field(factory=list)
    told: dict[str, int] = attrs.field(factory=dict)
    reading: dict[str, Any] = attrs.field(factory=dict)
    timer: int = 0
    dropped: int = 0

    def add(self, change: Change) -> bool:
        """Put a change where it belongs; returns False for one that is there, or is too many."""
        if len(self.changes) >= MOST_CHANGES or any(each.id == change.id for each in self.changes):
            return False
        # Nothing happens to a case before it is there: clocks of machines differ.
        change = change._replace(at=max(change.at, self.opened.at))
        insort(self.changes, change, key=lambda each: each.place)
        return True

    def add_evidence(self, found: dict[str, Any]) -> None:
        """Add a complaint; of many, the first and the newest are kept."""
        insort(self.evidence, found, key=lambda each: (each["at"], each["event"]))
        if len(self.evidence) > MOST_EVIDENCE:
            del self.evidence[1]
            self.dropped += 1

    def answer(self, impression: str) -> dict[str, Any] | None:
        """Return the evidence that is the answer to an impression."""
        return next((each for each in self.evidence if each.get("impression") == impression), None)

    def encode(self) -> bytes:
        """Return it as State keeps it."""
        opened = [*self.opened[:-1], list(self.opened.terms)]
        changes = [list(change) for change in self.changes]
        told = dict(sorted(self.told.items()))
        parts = [self.id, self.customer, opened, self.severity, self.evidence, changes]
        return jsonbytes.dumps([*parts, told, self.reading, self.timer, self.dropped])

    @classmethod
    def decode(cls, data: bytes) -> Record:
        """Return what `encode` has written."""
        case_id, customer, opened, severity, evidence, changes, *rest = jsonbytes.loads(data)
        first_response, resolution, reopen, hours, *recovery = opened[-1]
        terms = Terms(first_response, resolution, reopen, tuple(hours), *recovery)
        named = dict(zip(Opened._fields, opened, strict=True))
        begun = Opened(**{**named, "about": tuple(named["about"]), "terms": terms})
        kept = [Change(*each) for each in changes]
        return cls(case_id, customer, begun, severity, evidence, kept, *rest)


class Round(NamedTuple):
    """One time that a case was open, from when to when."""

    started: int
    ended: int | None = None


@attrs.define
class Standing:
    """What a case has come to by some instant."""

    record: Record
    status: CaseStatus = CaseStatus.NEW
    owner: str | None = None
    cause: str | None = None
    action: str | None = None
    responded_at: int | None = None
    #: When it was resolved, if it is.
    resolved_at: int | None = None
    #: When it was, or will be, closed, if it is resolved.
    closes_at: int | None = None
    rounds: list[Round] = attrs.field(factory=list)
    pauses: list[Span] = attrs.field(factory=list)
    #: Of the changes that had no effect, the ids.
    void: set[str] = attrs.field(factory=set)

    @property
    def is_closed(self) -> bool:
        """Whether nothing can happen to it any more."""
        return self.status is CaseStatus.CLOSED

    @property
    def is_open(self) -> bool:
        """Whether there is something to do."""
        return self.status not in _OVER

    # How a change moves it

    def take(self, change: Change) -> bool:
        """Let a change have its effect; returns whether it has one."""
        if change.what == NOTED:
            return True
        if change.what == ASSIGNED:
            return self._assign(change)
        if change.what in (REOPENED, COMPLAINED) and self.status is CaseStatus.RESOLVED:
            self._reopen(change.at)
            return True
        if change.what == COMPLAINED:
            # The customer has spoken, so it is not their turn.
            self._resume(change.at)
            return self.is_open
        if not self.is_open:
            return False
        return self._work(change)

    def _assign(self, change: Change) -> bool:
        self.owner = change.more.get("owner")
        if self.status in (CaseStatus.NEW, CaseStatus.REOPENED):
            self.status = CaseStatus.ASSIGNED
        return not self.is_closed

    def _work(self, change: Change) -> bool:
        what, at = change.what, change.at
        if what == RESUMED:
            return self._resume(at)
        if what not in (ACKNOWLEDGED, WAITING, RESOLVED):
            return False
        if self.responded_at is None:
            # Whoever waits for a customer has asked them something.
            self.responded_at = at
        if what == ACKNOWLEDGED and self.status is not CaseStatus.WAITING:
            self.status = CaseStatus.ACKNOWLEDGED
        elif what == WAITING and self.status is not CaseStatus.WAITING:
            self.status = CaseStatus.WAITING
            self.pauses.append((at, None))
        elif what == RESOLVED:
            self._resolve(change)
        return True

    def _resume(self, at: int) -> bool:
        if self.status is not CaseStatus.WAITING:
            return False
        self.pauses[-1] = (self.pauses[-1][0], at)
        self.status = CaseStatus.ACKNOWLEDGED
        return True

    def _resolve(self, change: Change) -> None:
        self._resume(change.at)
        self.status, self.resolved_at = CaseStatus.RESOLVED, change.at
        self.closes_at = change.at + self.record.opened.terms.reopen
        self.cause, self.action = change.more.get("cause"), change.more.get("action")
        self.rounds[-1] = Round(self.rounds[-1].started, change.at)

    def _reopen(self, at: int) -> None:
        self.status, self.resolved_at, self.closes_at = CaseStatus.REOPENED, None, None
        self.cause = self.action = None
        self.rounds.append(Round(at))

    def let_close(self, until: int) -> None:
        """Close it, if it was resolved for so long that nobody may reopen it."""
        if self.status is CaseStatus.RESOLVED and (self.closes_at or 0) <= until:
            self.status = CaseStatus.CLOSED

    # Its clocks

    def clocks(self) -> Iterator[Clock]:
        """Yield its clocks, in the order in which they began."""
        terms = self.record.opened.terms
        hours = hours_of(terms.hours, terms.zone)
        first = self.record.opened.at
        # It never stands still: to wait for the customer is to have answered.
        due = hours.due(first, terms.first_response)
        yield Clock(FIRST_RESPONSE, 0, first, due, self.responded_at)
        for number, (started, ended) in enumerate(self.rounds):
            pauses = [pause for pause in self.pauses if pause[0] >= started]
            due = hours.due(started, terms.resolution, pauses)
            yield Clock(RESOLUTION, number, started, due, ended)


def stand(record: Record, until: int) -> Standing:
    """Return what a case has come to by the instant *until*."""
    standing = Standing(record, owner=record.opened.owner, rounds=[Round(record.opened.at)])
    for change in record.changes:
        standing.let_close(change.at)
        if not standing.take(change):
            standing.void.add(change.id)
    standing.let_close(until)
    return standing


@attrs.define
class CaseFile:
    """
    The cases of one customer.

    Args:
        open: Ids of those that may change, the oldest first.

        closed: Ids of the others.

        closed_at: When the last one was closed.

        impressions: Impression → the case that its answer belongs to, the newest ones.
    """

    open: list[str] = attrs.field(factory=list)
    closed: list[str] = attrs.field(factory=list)
    closed_at: int | None = None
    impressions: dict[str, str] = attrs.field(factory=dict)

    def split(self, cases: Container[str]) -> tuple[CaseFile, CaseFile | None]:
        """Return one file with those of *cases*, and one with the rest, if there is any."""
        given = CaseFile(
            [case for case in self.open if case in cases],
            [case for case in self.closed if case in cases],
            self.closed_at,
            {key: case for key, case in self.impressions.items() if case in cases},
        )
        kept = CaseFile(
            [case for case in self.open if case not in cases],
            [case for case in self.closed if case not in cases],
            self.closed_at,
            {key: case for key, case in self.impressions.items() if case not in cases},
        )
        return given, kept if kept.open or kept.closed else None

    def with_(self, other: CaseFile | None) -> CaseFile:
        """Return one file with the cases of both, in the order in which they began."""
        if other is None:
            return self
        ends = [at for at in (self.closed_at, other.closed_at) if at is not None]
        return CaseFile(
            sorted({*self.open, *other.open}),
            sorted({*self.closed, *other.closed}),
            max(ends, default=None),
            {**other.impressions, **self.impressions},
        )

    def encode(self) -> bytes:
        """Return it as State keeps it."""
        return jsonbytes.dumps([self.open, self.closed, self.closed_at, self.impressions])

    @classmethod
    def decode(cls, data: bytes) -> CaseFile:
        """Return what `encode` has written."""
        return cls(*jsonbytes.loads(data))
