"""`kit.cases`: shows cases to those who work them, and records what they do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from journeykit.capture.context import bind_customer
from journeykit.feedback import case_state as state
from journeykit.feedback.case_checks import is_address
from journeykit.feedback.case_figures import figures_of
from journeykit.feedback.case_state import CASES, CLOSED, FILES, CaseFile, Record
from journeykit.feedback.case_view import SEVERITIES, case_of
from journeykit.journeys.identity import LINKS
from journeykit.model import jsonbytes
from journeykit.model.casework import REFERENCE_LENGTH, CaseStatus
from journeykit.model.consent import Stamp
from journeykit.model.customer import Customer
from journeykit.model.event import Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from journeykit.feedback.case_figures import CaseFigures
    from journeykit.feedback.impressions import Record as Recorder
    from journeykit.model.case import Cases
    from journeykit.model.casework import Case
    from journeykit.model.receipt import Receipt
    from journeykit.store.protocol import Store

#: What cases are called by at the least.
_SHORTEST: Final = 4

#: The longest text that is noted.
_TEXT_LENGTH: Final = 2000


class Casework:
    """
    Cases, as those who work them use them: `kit.cases`.

    What is done to a case is a fact, and shows as soon as it is folded, within a second.

    Args:
        declared: Returns the table `[cases]` as it is now.

        record: Records a fact.

        now: The clock, in microseconds.

        redacts: Whether e-mail addresses are taken out of facts.
    """

    def __init__(
        self,
        store: Store,
        declared: Callable[[], Cases],
        record: Recorder,
        now: Callable[[], int],
        *,
        redacts: bool,
    ) -> None:
        self._store = store
        self._declared = declared
        self._record = record
        self._now = now
        self._redacts = redacts

    # What there is

    def list(
        self,
        *,
        owner: str | None = None,
        rule: str | None = None,
        overdue: bool = False,
        customer: Customer | str | None = None,
        everything: bool = False,
    ) -> Sequence[Case]:
        """
        Return the open cases, the overdue ones and then the next that are due first.

        Args:
            owner, rule, customer: Only theirs; an owner of `""` stands for nobody.

            overdue: Only those that are overdue.

            everything: Also those that are resolved or closed.

        Raises:
            StoreError: State cannot be read.
        """
        now = self._now()
        records = self._all(closed=everything) if customer is None else self._of(customer)
        cases = [case_of(record, now) for record in records]
        found = [
            case
            for case in cases
            if (everything or case.is_open)
            and owner in (None, case.owner or "")
            and rule in (None, case.rule)
            and (case.is_overdue or not overdue)
        ]
        return sorted(found, key=_urgency)

    def resolved(self, *, owner: str | None = None, rule: str | None = None) -> Sequence[Case]:
        """
        Return the cases that are resolved and may be reopened, those that were opened last first.

        Args:
            owner, rule: Only theirs; an owner of `""` stands for nobody.

        Raises:
            StoreError: State cannot be read.
        """
        now = self._now()
        cases = [case_of(record, now) for record in self._all(closed=False)]
        found = [
            case
            for case in cases
            if case.status is CaseStatus.RESOLVED
            and owner in (None, case.owner or "")
            and rule in (None, case.rule)
        ]
        return sorted(found, key=lambda case: case.opened_at, reverse=True)

    def closed(self, *, before: str | None = None, limit: int = 50) -> Sequence[Case]:
        """
        Return up to *limit* closed cases, those that were opened last first.

        Args:
            before: Only those in front of the case with this id.

        Raises:
            StoreError: State cannot be read.
        """
        now = self._now()
        page = self._store.page(CLOSED, before or "\U0010ffff", limit, backwards=True)
        return [case_of(Record.decode(data), now) for _, data in page]

    def get(self, case: str) -> Case:
        """
        Return one case.

        Args:
            case: Its id, or the end of it, 4 letters at least.

        Raises:
            LookupError: There is none, or there are several.

            StoreError: State cannot be read.
        """
        return case_of(self._find(case), self._now())

    def figures(self) -> CaseFigures:
        """
        Return all cases in numbers.

        Raises:
            StoreError: State cannot be read.
        """
        return figures_of(self._all(closed=True), self._now())

    def causes_of(self, case: str) -> tuple[str, ...]:
        """Return the root causes to choose from for a case; none for anything."""
        return self._declared().causes_of(self._find(case).opened.rule)

    def actions_of(self, case: str) -> tuple[str, ...]:
        """Return the actions to choose from for a case; none for anything."""
        return self._declared().actions_of(self._find(case).opened.rule)

    # What people do

    def assign(self, case: str, owner: str, *, actor: str, reason: str = "assigned") -> Receipt:
        """
        Give a case to somebody.

        Args:
            owner: The name of a person, a team or a queue.

            actor, reason: Who does it, and why; likewise of the other methods.

        Raises:
            LookupError: There is no such case.

            ValueError: It cannot be done now, or something is missing; likewise below.
        """
        found = self._open(case, but_resolved=True)
        _check_text("owner", owner, 200)
        self.check_owner(owner)
        known = case_of(found, self._now())
        more = {"owner": owner, "from": known.owner}
        return self._state(found, state.ASSIGNED, more, actor, reason)

    def acknowledge(self, case: str, *, actor: str, reason: str = "answered") -> Receipt:
        """Record that the customer has had a first answer."""
        found = self._open(case)
        known = case_of(found, self._now())
        if known.status is CaseStatus.ACKNOWLEDGED:
            raise _cannot(known, "is acknowledged already")
        return self._state(found, state.ACKNOWLEDGED, {}, actor, reason)

    def wait(self, case: str, *, actor: str, reason: str) -> Receipt:
        """Record that it is the customer's turn: clocks stand still until `resume()`."""
        found = self._open(case)
        known = case_of(found, self._now())
        if known.status is CaseStatus.WAITING:
            raise _cannot(known, "waits already")
        return self._state(found, state.WAITING, {}, actor, reason)

    def resume(
        self, case: str, *, actor: str, reason: str = "the customer has answered"
    ) -> Receipt:
        """Record that it is the shop's turn again."""
        found = self._open(case)
        known = case_of(found, self._now())
        if known.status is not CaseStatus.WAITING:
            raise _cannot(known, f"does not wait for the customer; it is {known.status}")
        return self._state(found, state.RESUMED, {}, actor, reason)

    def note(self, case: str, text: str, *, actor: str) -> Receipt:
        """Add a note for those who work it, whatever has become of it."""
        _check_text("note", text, _TEXT_LENGTH)
        return self._state(self._find(case), state.NOTED, {"note": text}, actor, "noted")

    def resolve(
        self, case: str, *, cause: str, action: str, actor: str, reason: str = "resolved"
    ) -> Receipt:
        """
        Record that a case is resolved.

        Args:
            cause: What lay behind it.

            action: What was done.
        """
        found = self._open(case)
        rule, declared = found.opened.rule, self._declared()
        _check_choice("cause", cause, declared.causes_of(rule))
        _check_choice("action", action, declared.actions_of(rule))
        more = {"cause": cause, "action": action, "recovery": found.opened.terms.recovery}
        return self._state(found, state.RESOLVED, more, actor, reason)

    def reopen(self, case: str, *, actor: str, reason: str) -> Receipt:
        """Record that a case is not resolved after all."""
        found = self._find(case)
        known = case_of(found, self._now())
        if known.status is CaseStatus.CLOSED:
            raise _cannot(known, "is closed; the next complaint opens another one")
        if known.is_open:
            raise _cannot(known, f"is not resolved; it is {known.status}")
        return self._state(found, state.REOPENED, {}, actor, reason)

    # How

    def check_owner(self, owner: object) -> None:
        """Raise `ValueError` if nobody would find the name of *owner* in the Log."""
        if self._redacts and is_address(owner):
            msg = (
                f"owner: {owner!r} looks like an e-mail address, which is taken out of the Log; "
                f"write the name of a person, a team or a queue"
            )
            raise ValueError(msg)

    def _state(
        self, found: Record, what: str, more: dict[str, Any], actor: str, reason: str
    ) -> Receipt:
        for name, text in (("actor", actor), ("reason", reason)):
            _check_text(name, text, _TEXT_LENGTH)
        opened = found.opened
        properties = {
            "case": found.id,
            "rule": opened.rule,
            "severity": SEVERITIES[found.severity].value,
            **{name: value for name, value in more.items() if value is not None},
        }
        # It concerns the customer who has complained, and goes where their complaint may go.
        stamp = Stamp.from_context(opened.flags, jsonbytes.loads(opened.stamp.encode()))
        with bind_customer(
            Customer(opened.user_id, opened.anonymous_id),
            purposes=stamp.granted,
            denied=stamp.denied,
        ):
            return self._record(
                f"case.{what}",
                properties,
                kind=Kind.FACT,
                actor=actor,
                reason=reason,
                anyway=True,
            )

    def _open(self, case: str, *, but_resolved: bool = False) -> Record:
        """Return a case that something can be done about."""
        found = self._find(case)
        known = case_of(found, self._now())
        if known.status is CaseStatus.CLOSED:
            raise _cannot(known, "is closed; the next complaint opens another one")
        if known.status is CaseStatus.RESOLVED and not but_resolved:
            raise _cannot(known, "is resolved; reopen it first")
        return found

    def _find(self, case: str) -> Record:
        for space in (CASES, CLOSED):
            data = self._store.state((space, case))
            if data is not None:
                return Record.decode(data)
        ending = case.lower().lstrip("…#")
        if len(ending) < _SHORTEST:
            msg = f"there is no case {case!r}; write its id, or its last {REFERENCE_LENGTH} letters"
            raise LookupError(msg)
        found = [record for record in self._all(closed=True) if record.id.endswith(ending)]
        if len(found) != 1:
            which = ", ".join(record.id for record in found)
            msg = f"there is no case {case!r}" if not found else f"{case!r} may mean {which}"
            raise LookupError(f"{msg}; write its id, or its last {REFERENCE_LENGTH} letters")
        return found[0]

    def _all(self, *, closed: bool) -> Iterator[Record]:
        for space in (CASES, CLOSED) if closed else (CASES,):
            for _, data in self._store.scan(space):
                yield Record.decode(data)

    def _of(self, customer: Customer | str) -> Iterator[Record]:
        key = Customer.of(customer).key
        linked = self._store.state((LINKS, key))
        data = self._store.state((FILES, jsonbytes.loads(linked) if linked else key))
        file = CaseFile() if data is None else CaseFile.decode(data)
        for space, cases in ((CASES, file.open), (CLOSED, file.closed)):
            found = self._store.states({space: cases})[space] if cases else {}
            yield from (Record.decode(found[case]) for case in cases if case in found)


def _urgency(case: Case) -> tuple[Any, ...]:
    due = case.due or case.opened_at
    return not case.is_open, not case.is_overdue, case.due is None, due, case.id


def _cannot(case: Case, why: str) -> ValueError:
    return ValueError(f"case {case.reference} {why}")


def _check_text(name: str, text: object, most: int) -> None:
    if not isinstance(text, str) or not text.strip():
        msg = f"{name}: is missing; it stays in the Log for those who read it later"
        raise ValueError(msg)
    if len(text) > most:
        msg = f"{name}: has {len(text):,} characters; {most:,} is the most"
        raise ValueError(msg)


def _check_choice(name: str, text: object, options: Sequence[str]) -> None:
    _check_text(name, text, _TEXT_LENGTH)
    if options and text not in options:
        known = ", ".join(repr(option) for option in options)
        msg = f"{name}: {text!r} is none of those to choose from: {known}"
        raise ValueError(msg)
