"""
The fold that finds out which prompts are armed for whom, and what was shown and answered.

It derives nothing: what may be shown is decided when a page asks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from journeykit.feedback import facts, history
from journeykit.feedback.history import ANSWERS, PROMPTS, History, Impression, Tally
from journeykit.feedback.overrides import SETTINGS, fold_setting
from journeykit.feedback.routes import ARMS, CANCELS, Way, rank
from journeykit.journeys.identity import LINKS, members, person
from journeykit.journeys.plan import matches
from journeykit.model import jsonbytes
from journeykit.model.consent import names
from journeykit.model.event import HISTORICAL, Kind

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from journeykit.feedback.routes import Routes
    from journeykit.model.event import Entry, Stored
    from journeykit.store.projector import Step
    from journeykit.store.view import View

_CONSENTED: Final = "customer.consented"
_STAGES: Final = ("stage.entered", "stage.corrected", "journey.completed")
_ENTERED: Final = "stage.entered"
_PAIN: Final = "pain_point.detected"

#: What a fact says of its impression.
_RANKS: Final[Mapping[str, int]] = {
    facts.SHOWN: history.SHOWN,
    facts.STARTED: history.STARTED,
    facts.ANSWERED: history.ANSWERED,
    facts.ABANDONED: history.ABANDONED,
    facts.EXPIRED: history.EXPIRED,
    facts.DISMISSED: history.DISMISSED,
}


class PromptFold:
    """Keeps each customer's `History`, and what was changed without a deployment."""

    #: It wants to know what was derived from the same event.
    hears = True

    def __init__(self, routes: Routes) -> None:
        self._routes = routes
        self._names = frozenset((*routes.by_event, *_RANKS, facts.CHANGED, _CONSENTED))
        stages = _STAGES if routes.by_stage or routes.instances else ()
        self._derived = frozenset((_PAIN, *stages))

    def wants(self, view: View, steps: Sequence[Step]) -> Iterator[tuple[str, list[str]]]:
        """Yield what folding *steps* will read, as far as it can be told before."""
        names = self._names
        yield PROMPTS, [person(view, step) for step in steps if step.stored.entry.name in names]

    def __call__(self, view: View, step: Step) -> Iterable[Entry]:
        """Fold one event; derives nothing."""
        if step.joined or step.parted is not None:
            self._regroup(view, step)
        if step.stored.entry.name in self._names:
            self._fold(view, step)
        if len(step.news) > step.told:
            self._hear(view, step.customer, step.derived, step.stored.recorded_at)
        return ()

    # What the customer, or the page, has done

    def _fold(self, view: View, step: Step) -> None:
        entry = step.stored.entry
        if entry.kind is Kind.FACT and entry.name == facts.CHANGED:
            fold_setting(view, step.stored)
            return
        known = view.get(PROMPTS, step.customer, History.decode) or History()
        if self._note(view, known, step.stored, count=True):
            view.put(PROMPTS, step.customer, known, History.encode)

    def _note(self, view: View, known: History, stored: Stored, *, count: bool) -> bool:
        """Add what an event tells; returns whether it told anything."""
        entry = stored.entry
        if entry.kind is not Kind.FACT:
            return self._note_touchpoint(view, known, stored)
        if entry.name in _RANKS:
            return self._note_impression(view, known, stored, count=count)
        return entry.name == _CONSENTED and _note_consent(view, known, stored)

    def _note_touchpoint(self, view: View | _Bare, known: History, stored: Stored) -> bool:
        entry, told = stored.entry, False
        if entry.flags & HISTORICAL:
            return False
        place = min(entry.occurred_at, stored.recorded_at), entry.id
        for way in self._routes.by_event.get(entry.name, ()):
            if way.what == ARMS:
                where = way.when.where
                if where and not matches(where, view.properties(stored)):
                    continue
                known.note(known.triggers, way.prompt, place)
            elif way.what == CANCELS:
                known.note(known.cancels, way.prompt, place)
            else:
                known.note(known.befores, way.prompt, place)
            told = True
        return told

    def _note_impression(self, view: View, known: History, stored: Stored, *, count: bool) -> bool:
        entry, properties = stored.entry, view.properties(stored)
        prompt, impression = properties.get("prompt"), properties.get("impression")
        if not (isinstance(prompt, str) and isinstance(impression, str)):
            return False
        if prompt not in self._routes.keys:
            # It is declared no more.
            return False
        at, shown = entry.occurred_at, entry.name == facts.SHOWN
        told = Impression(
            impression,
            prompt,
            at if shown else None,
            entry.session_id,
            _rank(entry.name, properties),
            _number(properties) if entry.name == facts.ANSWERED else 0,
            bool(properties.get("answers")),
        )
        if shown:
            known.count(prompt, Tally(1, at))
        first = known.note_impression(told)
        if told.answered:
            known.count(prompt, Tally(answers=int(first), last_answered=at))
        if first and count:
            _count_answers(view, prompt, 1)
        return True

    def foresee(self, known: History, stored: Stored) -> None:
        """
        Add to *known* what an event tells that is not folded yet, for whoever cannot wait.

        Only what may be told twice: the event may be folded by the time that State is read.
        """
        entry = stored.entry
        if entry.kind is not Kind.FACT:
            self._note_touchpoint(_Bare(), known, stored)
        elif entry.name == _CONSENTED:
            _note_consent(_Bare(), known, stored)

    # What was derived

    def hear(self, view: View, entry: Entry, until: int) -> None:
        """Note what was derived because time has passed, until then."""
        key = entry.customer_key
        customer = key if entry.user_id else view.get(LINKS, key, jsonbytes.loads) or key
        self._hear(view, customer, (entry,), until)

    def _hear(self, view: View, customer: str, derived: Iterable[Entry], until: int) -> None:
        known, told = None, False
        for entry in derived:
            if entry.name not in self._derived or entry.flags & HISTORICAL:
                continue
            known = known or view.get(PROMPTS, customer, History.decode) or History()
            wire, at = jsonbytes.loads(entry.body), min(entry.occurred_at, until)
            if entry.name == _PAIN:
                told |= self._note_pain(known, at, entry.id, wire["properties"])
            else:
                told |= self._note_stage(known, at, entry, wire)
        if told:
            view.put(PROMPTS, customer, known, History.encode)

    def _note_pain(
        self, known: History, at: int, event: str, properties: Mapping[str, Any]
    ) -> bool:
        code, severity = str(properties.get("code")), rank(str(properties.get("severity")))
        told = severity >= self._routes.severe
        if told:
            known.note_pain(at)
        for way in self._routes.by_pain:
            if _is_pain(way, code, severity, properties):
                known.note(known.triggers, way.prompt, (at, event))
                told = True
        return told

    def _note_stage(self, known: History, at: int, entry: Entry, wire: Mapping[str, Any]) -> bool:
        label, told = f"{wire['journey']}@{wire['version']}", False
        if label in self._routes.instances:
            known.note_instance(label, at, entry.id, str(wire["instance"]))
            told = True
        if entry.name == _ENTERED:
            for way in self._routes.by_stage.get(wire["stage"], ()):
                if way.when.journey in (None, wire["journey"]):
                    known.note(known.triggers, way.prompt, (at, entry.id))
                    told = True
        return told

    # Who is who

    def _regroup(self, view: View, step: Step) -> None:
        """Keep together what turned out to be one person's, or apart what was not."""
        if step.joined:
            known = view.get(PROMPTS, step.customer, History.decode) or History()
            for key in step.joined:
                other = view.get(PROMPTS, key, History.decode)
                if other is not None:
                    known.merge(other)
                    view.put(PROMPTS, key, None, History.encode)
                    view.put(PROMPTS, step.customer, known, History.encode)
        if step.parted is not None:
            together = view.get(PROMPTS, step.parted, History.decode)
            for customer in (step.customer, step.parted) if together is not None else ():
                self._part(view, customer, together)

    def _part(self, view: View, customer: str, together: History) -> None:
        """Fold what *customer* did without the other; what was derived is not told apart."""
        own = History()
        for stored in view.history(members(view, customer)):
            if stored.entry.name in self._names:
                self._note(view, own, stored, count=False)
        # Whoever it was that was hurt: both are left in peace.
        own.pained = together.pained
        own.instances = dict(together.instances)
        view.put(PROMPTS, customer, own, History.encode)

    def forget(self, view: View, customers: Iterable[str]) -> int:
        """Remove what is kept of *customers*; returns how many pieces that were."""
        pieces = 0
        for customer in customers:
            known = view.get(PROMPTS, customer, History.decode)
            if known is None:
                continue
            for prompt, tally in known.tallies.items():
                _count_answers(view, prompt, -tally.answers)
            view.put(PROMPTS, customer, None, History.encode)
            pieces += 1
        return pieces


class _Bare:
    """Reads events where there is no view of State."""

    @staticmethod
    def properties(stored: Stored) -> dict[str, Any]:
        """Return an event's properties."""
        properties: dict[str, Any] = jsonbytes.loads(stored.entry.body)["properties"]
        return properties


def _rank(name: str, properties: Mapping[str, Any]) -> int:
    if name == facts.ANSWERED and properties.get("complete") is True:
        return history.COMPLETED
    return _RANKS[name]


def _number(properties: Mapping[str, Any]) -> int:
    """Return the number of an answer; the first is 1, for 0 is none."""
    seq = properties.get("seq")
    return seq + 1 if type(seq) is int else 1


def _is_pain(way: Way, code: str, severity: int, properties: Mapping[str, Any]) -> bool:
    when, wanted = way.when, way.when.pain_point or ""
    same = code.startswith(wanted[:-1]) if wanted.endswith(".*") else code == wanted
    enough = when.severity is None or severity >= rank(when.severity)
    return same and enough and matches(when.where, properties)


def _note_consent(view: View | _Bare, known: History, stored: Stored) -> bool:
    properties, entry = view.properties(stored), stored.entry
    for said, refuses in (("denied", True), ("granted", False)):
        purposes = properties.get(said)
        if isinstance(purposes, list) and names(purposes, facts.FEEDBACK):
            known.note_refusal(entry.occurred_at, entry.id, refuses=refuses)
            return True
    return False


def _count_answers(view: View, prompt: str, change: int) -> None:
    if change:
        count = (view.get(ANSWERS, prompt, jsonbytes.loads) or 0) + change
        # None is none, however it came to that.
        view.put(ANSWERS, prompt, count or None, jsonbytes.dumps)


__all__ = ["PROMPTS", "SETTINGS", "PromptFold"]
