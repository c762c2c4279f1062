"""
The fold that opens cases, and follows what becomes of them.

A case opens once, in the order of the Log, and is never taken back: somebody works on it.
What happens to it counts by when it occurred.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from journeykit.feedback import case_state as state
from journeykit.feedback import facts
from journeykit.feedback.case_complaint import (
    Complaint,
    answer_evidence,
    pain_evidence,
    read_with,
)
from journeykit.feedback.case_desk import (
    ADDED,
    LABEL,
    REOPENED,
    Desk,
    case_of_timer,
    opening_id,
    tell,
    tell_opening,
)
from journeykit.feedback.case_routing import Routing
from journeykit.feedback.case_state import Change, Opened, Record, stand
from journeykit.feedback.casebook import is_bad
from journeykit.feedback.history import PROMPTS, History
from journeykit.feedback.overrides import fold_setting
from journeykit.journeys.decisions import DECIDED, MUTED, Decision
from journeykit.journeys.identity import LINKS, person
from journeykit.model import jsonbytes
from journeykit.model.casework import CaseStatus
from journeykit.model.consent import encoded_stamp
from journeykit.model.event import HISTORICAL, Kind

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from journeykit.feedback.case_routing import Placed
    from journeykit.feedback.case_state import Standing
    from journeykit.feedback.casebook import Casebook, RuleInForce
    from journeykit.journeys.plan import Plan
    from journeykit.journeys.timers import Timer
    from journeykit.model.event import Entry, Stored
    from journeykit.plugins import Plugins
    from journeykit.store.projector import Step
    from journeykit.store.view import View

_PREFIX: Final = "case."
_DETECTED: Final = "pain_point.detected"

#: What is derived of a pain point that was found → what becomes of the evidence.
_AFTERWARDS: Final = {"pain_point.recovered": "recovered", "pain_point.withdrawn": "withdrawn"}

#: What people state about a case, by the fact's name.
STATED: Final = {
    f"{_PREFIX}{what}": what
    for what in (
        state.ASSIGNED,
        state.ACKNOWLEDGED,
        state.WAITING,
        state.RESUMED,
        state.NOTED,
        state.RESOLVED,
        state.REOPENED,
    )
}

#: Of a fact, what its history line keeps besides who and why.
_KEPT: Final = ("owner", "from", "note", "cause", "action")

#: The most cases of one customer: whoever has more is a program, or a till.
MOST_CASES: Final = 500

_SEPARATOR: Final = "\x1f"


class CaseFold:
    """
    Keeps cases.

    Args:
        books: The rules, from which instant on each was in force, the latest last.

        plans: The journeys, whose stages have owners.

        settings: Whether it keeps what was changed without a deployment; another fold may.
    """

    #: It wants to know what was derived from the same event.
    hears = True

    #: What its timers are kept under.
    label = LABEL

    def __init__(
        self,
        books: Sequence[tuple[int, Casebook]],
        plans: Sequence[Plan],
        plugins: Plugins,
        *,
        settings: bool,
    ) -> None:
        self._books = tuple(books)
        self._routing = Routing(plans, plugins)
        self._plugins = plugins
        self._settings = {facts.CHANGED} if settings else set()
        self._names = frozenset((facts.ANSWERED, *STATED, *self._settings))

    def wants(self, view: View, steps: Sequence[Step]) -> Iterator[tuple[str, list[str]]]:
        """Yield what folding *steps* will read, as far as it can be told before."""
        names = self._names
        yield state.FILES, [person(view, step) for step in steps if step.stored.entry.name in names]

    def __call__(self, view: View, step: Step) -> Iterable[Entry]:
        """Fold one event; derives which cases it opens, and what else follows for cases."""
        derived: list[Entry] = []
        if step.joined or step.parted is not None:
            self._regroup(view, step)
        stored = step.stored
        if stored.entry.name in self._names and stored.entry.kind is Kind.FACT:
            derived += self._fold(view, step)
        if len(step.news) > step.told:
            for entry in tuple(step.derived):
                name = stored.entry.name
                derived += self._hear(view, step.customer, entry, stored.recorded_at, name)
        return derived

    def _fold(self, view: View, step: Step) -> Iterable[Entry]:
        stored = step.stored
        if stored.entry.name in self._settings:
            fold_setting(view, stored)
        elif stored.entry.name == facts.ANSWERED:
            return self._answer(view, step)
        elif stored.entry.name in STATED:
            return self._state(view, stored)
        return ()

    # What people state

    def _state(self, view: View, stored: Stored) -> Iterable[Entry]:
        """Fold what somebody has done to a case."""
        wire = jsonbytes.loads(stored.entry.body)
        properties, desk = wire["properties"], Desk(view)
        record = desk.find(str(properties.get("case")))
        if record is None:
            # It was erased with its customer, or its events are lost.
            return ()
        before = stand(record, stored.recorded_at)
        change = Change(
            min(stored.entry.occurred_at, stored.recorded_at),
            stored.entry.id,
            STATED[stored.entry.name],
            wire.get("actor"),
            wire.get("reason"),
            {key: properties[key] for key in _KEPT if properties.get(key) is not None},
        )
        if not record.add(change):
            view.counts["case_overflow"] += len(record.changes) >= state.MOST_CHANGES
            return ()
        return desk.settle(record, before, stored.recorded_at)

    # Complaints

    def _answer(self, view: View, step: Step) -> Iterable[Entry]:
        """Fold an answer: to a recovery question, as a complaint, or as more of one."""
        stored = step.stored
        if stored.entry.flags & HISTORICAL:
            return ()
        properties, desk = view.properties(stored), Desk(view)
        impression = properties.get("impression")
        if not isinstance(impression, str) or _is_outdated(view, step.customer, properties):
            return ()
        at = min(stored.entry.occurred_at, stored.recorded_at)
        evidence = answer_evidence(stored.entry.id, at, properties)
        file = desk.file(step.customer)
        known = file.impressions.get(impression) if file is not None else None
        record = desk.find(known) if known is not None else None
        if record is not None:
            return self._more(view, record, Complaint(stored, evidence))
        record = self._to_recover(desk, step.customer, properties, stored.recorded_at)
        if record is not None:
            evidence["kind"] = "recovery"
            desk.note_impression(record, impression)
            return self._recover(view, record, Complaint(stored, evidence))
        book = self._book(stored.recorded_at)
        rule = book.rule_for_answer(properties) if book is not None else None
        if book is None or rule is None:
            return ()
        place = self._routing.of_answer(view, book, properties, step.customer, at)
        complaint = Complaint(stored, evidence, rule.subject_of(properties))
        return self._complain(view, step.customer, (book, rule), complaint, place)

    def _hear(
        self, view: View, customer: str, entry: Entry, now: int, touchpoint: str | None
    ) -> Iterable[Entry]:
        """Take note of a pain point that was found, or is none any more."""
        if entry.flags & HISTORICAL:
            return ()
        if entry.name in _AFTERWARDS:
            return self._afterwards(view, customer, entry, now)
        book = self._book(now) if entry.name == _DETECTED else None
        if book is None:
            return ()
        wire = jsonbytes.loads(entry.body)
        properties = wire["properties"]
        rule = book.rule_for_pain(properties)
        if rule is None or _is_muted(view, str(properties.get("code"))):
            return ()
        at = min(entry.occurred_at, now)
        stored = Complaint.stored_of(entry, now)
        evidence = pain_evidence(entry.id, at, properties)
        complaint = Complaint(stored, evidence, rule.subject_of(properties))
        place = self._routing.of_pain(view, wire, customer, at, touchpoint)
        return self._complain(view, customer, (book, rule), complaint, place)

    def _book(self, at: int) -> Casebook | None:
        """Return the rules that were in force at the instant *at*."""
        found = [book for since, book in self._books if since <= at]
        return found[-1] if found else None

    def _complain(
        self,
        view: View,
        customer: str,
        force: tuple[Casebook, RuleInForce],
        complaint: Complaint,
        place: Placed,
    ) -> Iterable[Entry]:
        """Open a case for a complaint, or add it to the one that there is."""
        _, rule = force
        desk, now = Desk(view), complaint.stored.recorded_at
        file = desk.file(customer)
        for record in desk.open_ones(customer):
            opened = record.opened
            if (opened.rule, opened.subject) == (rule.key, complaint.subject):
                desk.note_impression(record, complaint.evidence.get("impression"))
                return self._add(view, record, complaint, rule.severity)
        if file is not None and len(file.open) + len(file.closed) >= MOST_CASES:
            view.counts["case_overflow"] += 1
            return ()
        record = self._open(view, customer, force, complaint, place)
        desk.begin(record)
        desk.note_impression(record, complaint.evidence.get("impression"))
        standing = stand(record, now)
        opening = tell_opening(record, standing, complaint.cause, complaint.told)
        return [opening, *desk.settle(record, standing, now)]

    def _open(
        self,
        view: View,
        customer: str,
        force: tuple[Casebook, RuleInForce],
        complaint: Complaint,
        place: Placed,
    ) -> Record:
        book, rule = force
        stored, entry = complaint.stored, complaint.stored.entry
        at = stored.recorded_at
        owner = self._routing.owner(view, book, rule, place.place)
        opened = Opened(
            at=at,
            rule=rule.key,
            title=rule.title,
            subject=complaint.subject,
            user_id=entry.user_id,
            # Of somebody known no browser: it may be another's, who is erased while the case stays.
            anonymous_id=None if entry.user_id else entry.anonymous_id,
            recorded_for=entry.customer_key,
            owner=owner,
            journey=place.place.journey,
            about=place.about,
            touchpoint=place.place.touchpoint,
            flags=entry.flags,
            stamp=encoded_stamp(entry.flags, entry.body).decode(),
            terms=rule.terms,
        )
        severity = max(rule.severity, complaint.severity)
        case = opening_id(opened, complaint.cause)
        record = Record(case, customer, opened, severity, [complaint.evidence])
        read_with(self._plugins, record, complaint)
        routed = self._routing.ask(record, at)
        if routed is not None:
            record.opened = opened._replace(owner=routed)
        return record

    def _add(
        self, view: View, record: Record, complaint: Complaint, severity: int
    ) -> Iterable[Entry]:
        """Add another complaint to a case; one that was resolved is open again."""
        now = complaint.stored.recorded_at
        before = stand(record, now)
        record.add_evidence(complaint.evidence)
        record.severity = max(record.severity, severity, complaint.severity)
        record.add(Change(complaint.evidence["at"], complaint.id, state.COMPLAINED))
        read_with(self._plugins, record, complaint)
        return self._follow(view, record, before, complaint, "complaint")

    def _more(self, view: View, record: Record, complaint: Complaint) -> Iterable[Entry]:
        """Add the rest of an answer to the complaint that it belongs to."""
        known = record.answer(complaint.evidence["impression"])
        if known is None or known["seq"] >= complaint.evidence["seq"]:
            return ()
        now, kind = complaint.stored.recorded_at, known["kind"]
        before = stand(record, now)
        # It stays where it was when it was given first.
        known.update(
            {**complaint.evidence, "kind": kind, "at": known["at"], "event": known["event"]}
        )
        complaint.evidence["kind"] = kind
        read_with(self._plugins, record, complaint)
        if kind == "recovery":
            self._judge(record, complaint)
        return self._follow(view, record, before, complaint, "recovery_score")

    def _to_recover(
        self, desk: Desk, customer: str, properties: dict[str, Any], now: int
    ) -> Record | None:
        """Return the case that was resolved last whose recovery question this answers."""
        found: list[tuple[int, Record]] = []
        for record in desk.open_ones(customer):
            if record.opened.terms.recovery == properties.get("prompt"):
                standing = stand(record, now)
                if standing.status is CaseStatus.RESOLVED:
                    found.append((standing.resolved_at or 0, record))
        return max(found, key=lambda each: each[0])[1] if found else None

    def _recover(self, view: View, record: Record, complaint: Complaint) -> Iterable[Entry]:
        before = stand(record, complaint.stored.recorded_at)
        record.add_evidence(complaint.evidence)
        read_with(self._plugins, record, complaint)
        self._judge(record, complaint)
        return self._follow(view, record, before, complaint, "recovery_score")

    def _judge(self, record: Record, complaint: Complaint) -> None:
        """Reopen a case whose customer says that all is not well; once an impression."""
        given = complaint.evidence
        if is_bad(record.opened.terms, given["prompt_kind"], given["score"]):
            identity = f"{given['impression']}{_SEPARATOR}{state.REOPENED}"
            at = min(complaint.stored.entry.occurred_at, complaint.stored.recorded_at)
            told = Change(at, identity, state.REOPENED, "customer", "recovery_score")
            record.add(told)

    def _follow(
        self, view: View, record: Record, before: Standing, complaint: Complaint, why: str
    ) -> Iterable[Entry]:
        """Keep a case with its new evidence; derives that, and whether it is open again."""
        now = complaint.stored.recorded_at
        standing = stand(record, now)
        told = {"evidence": complaint.told}
        at, subject = complaint.at, complaint.id
        derived = [tell(record, standing, ADDED, (subject, at), told, complaint.cause)]
        if standing.is_open and before.status is CaseStatus.RESOLVED:
            known = {**told, "because": why}
            derived.append(tell(record, standing, REOPENED, (subject, at), known, complaint.cause))
        return [*derived, *Desk(view).settle(record, before, now)]

    def _afterwards(self, view: View, customer: str, entry: Entry, now: int) -> Iterable[Entry]:
        """Note at the evidence that a pain point has recovered, or was none."""
        properties = jsonbytes.loads(entry.body)["properties"]
        what = properties.get("code"), properties.get("target")
        status, desk = _AFTERWARDS[entry.name], Desk(view)
        derived: list[Entry] = []
        if properties.get("recovery"):
            # It has not recovered after all.
            status = ""
        for record in desk.open_ones(customer):
            found = [each for each in record.evidence if _what(each) == what]
            if not found or found[-1].get("status", "") == status:
                continue
            before = stand(record, now)
            found[-1]["status"] = status or None
            complaint = Complaint(Complaint.stored_of(entry, now), found[-1])
            told = {"evidence": complaint.told}
            at = min(entry.occurred_at, now)
            derived.append(tell(record, before, ADDED, (entry.id, at), told, complaint.cause))
            derived += desk.settle(record, before, now)
        return derived

    # Time alone

    def hear(self, view: View, entry: Entry, until: int) -> Iterable[Entry]:
        """Take note of what was derived because time has passed, until then."""
        if entry.name != _DETECTED and entry.name not in _AFTERWARDS:
            return ()
        key = entry.customer_key
        customer = key if entry.user_id else view.get(LINKS, key, jsonbytes.loads) or key
        # At its own instant, which is the same when the Log is folded again.
        return self._hear(view, customer, entry, min(entry.occurred_at, until), None)

    def expire(self, view: View, timer: Timer) -> Iterable[Entry]:
        """Let the clocks of a case run out that *timer* was set for."""
        desk = Desk(view)
        record = desk.find(case_of_timer(timer.key))
        if record is None or record.timer != timer.deadline:
            return ()
        record.timer = 0
        # Not closed yet, if it is to be closed now.
        before = stand(record, timer.deadline - 1)
        return desk.settle(record, before, timer.goes_off)

    def wants_of_timers(self, keys: Sequence[str]) -> Iterable[tuple[str, list[str]]]:
        """Return what timers of these keys will read."""
        return [(state.CASES, list(map(case_of_timer, keys)))]

    # Who is who

    def _regroup(self, view: View, step: Step) -> None:
        """Give cases to those whose they are, as far as is known now."""
        desk = Desk(view)
        for key in step.joined:
            desk.move(key, step.customer, lambda _: True)
        if step.parted is not None:
            # What was complained of under their own key is theirs.
            desk.move(
                step.parted,
                step.customer,
                lambda record: record.opened.recorded_for == step.customer,
            )

    def forget(self, view: View, customers: Iterable[str]) -> int:
        """Remove what is kept of *customers*; returns how many pieces that were."""
        desk, pieces = Desk(view), 0
        for customer in customers:
            file = desk.file(customer)
            if file is not None:
                pieces += 1 + sum(desk.remove(case) for case in (*file.open, *file.closed))
                desk.put_file(customer, None)
        return pieces


def _is_outdated(view: View, customer: str, properties: Mapping[str, Any]) -> bool:
    """Return whether a later answer of the same impression was folded before."""
    history = view.get(PROMPTS, customer, History.decode)
    known = history.impressions.get(properties["impression"]) if history is not None else None
    seq = properties.get("seq")
    return known is not None and type(seq) is int and known.seq > seq + 1


def _is_muted(view: View, code: str) -> bool:
    decision = view.get(DECIDED, f"{code}{_SEPARATOR}{MUTED}", jsonbytes.loads)
    return decision is not None and Decision(*decision).holds


def _what(evidence: Mapping[str, Any]) -> tuple[Any, Any]:
    """Return which pain point of which target is evidence."""
    return evidence.get("code"), evidence.get("target")
