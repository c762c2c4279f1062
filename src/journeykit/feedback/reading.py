"""Reads what State knows of a customer who is on a page: a handful of rows, by their keys."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from journeykit.feedback.around import Around
from journeykit.feedback.complaints import Complaint, complaint_of, no_complaint
from journeykit.feedback.history import ANSWERS, PROMPTS, History
from journeykit.feedback.overrides import SETTINGS, Overlaid, overlay
from journeykit.feedback.prompts import PromptFold
from journeykit.feedback.routes import asks_for, stages_asked_for
from journeykit.feedback.standing import Known
from journeykit.journeys.identity import LINKS, MEMBERS
from journeykit.journeys.run import NOWHERE, Run
from journeykit.journeys.stages import INSTANCES, Place
from journeykit.model import jsonbytes
from journeykit.model.customer import customer_key
from journeykit.store.protocol import PROJECTOR

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from journeykit.feedback.asking import Asking
    from journeykit.journeys.plan import Plan
    from journeykit.model.customer import Customer
    from journeykit.model.event import Stored
    from journeykit.store.protocol import Store

#: The devices of one person whose claims are looked at, the last ones.
_DEVICES: Final = 20


#: The events that are looked at which are not folded yet: a page comes a second behind the event
#: that arms its prompt, and the projector may be in another process.
_AHEAD: Final = 200


def keys_of(customer: Customer) -> list[str]:
    """Return the keys that a customer's own ids make."""
    users = [customer_key(customer.user_id, None)] if customer.user_id else []
    visitors = [customer_key(None, customer.anonymous_id)] if customer.anonymous_id else []
    return users + visitors


class Reader:
    """
    Reads the State of *store* for prompts.

    Args:
        asks: What is declared.

        plans: Returns the plans of the journeys that are folded; the same object as long as these
            are the same.

        complaint: Returns what the closed loop says of a customer, by their key; if not given,
            what their cases say.
    """

    def __init__(
        self,
        store: Store,
        asks: Asking,
        plans: Callable[[], Sequence[Plan]],
        *,
        complaint: Callable[[Store, str], Complaint] | None = None,
    ) -> None:
        self._store = store
        self._asks = asks
        self._find_plans = plans
        #: What surrounds a prompt when it is shown.
        self.around = Around(store, asks, plans)
        self._found: Sequence[Plan] | None = None
        self._plans: list[Plan] = []
        self._fold: PromptFold | None = None
        if complaint is None:
            complaint = no_complaint if asks.wire is None else complaint_of
        self._complaint = complaint
        #: The prompts as they are declared.
        self.declared = Overlaid(asks.prompts, asks.feedback, cases=asks.cases)
        self._overlaid: tuple[Any, Overlaid] = (None, self.declared)

    def overlaid(self) -> Overlaid:
        """Return the prompts as they are now."""
        settings = list(self._store.scan(SETTINGS))
        known, overlaid = self._overlaid
        if known != settings:
            asks = self._asks
            overlaid = overlay(asks.prompts, asks.feedback, settings, asks.cases)
            self._overlaid = settings, overlaid
        return overlaid

    def overlaid_without(self, paths: Collection[str]) -> Overlaid:
        """Return the prompts as they are now but for what was changed at *paths*."""
        asks = self._asks
        others = [row for row in self._store.scan(SETTINGS) if row[0] not in paths]
        return overlay(asks.prompts, asks.feedback, others, asks.cases)

    def read(self, customer: Customer, *, consents: bool | None) -> tuple[Known, list[str]]:
        """Return what is known of a customer, and every key that claims of theirs may have."""
        self._follow_plans()
        # Before State, so that nothing falls between the two.
        ahead = self._ahead()
        person = self._person(customer)
        devices = self._piece(MEMBERS, person) or []
        overlaid = self.overlaid()
        history = self._history(person)
        limited = [prompt.key for prompt in overlaid.prompts if prompt.ask.limit is not None]
        answers = self._store.states({ANSWERS: limited})[ANSWERS] if limited else {}
        complaint = self._complaint(self._store, person)
        known = Known(
            overlaid=overlaid,
            history=history,
            consents=consents,
            bucket=devices[0] if devices else person,
            stages=frozenset(self._stages(person, history)),
            answers={key: jsonbytes.loads(data) for key, data in answers.items()},
            has_open_case=complaint.is_open,
            case_closed_at=complaint.closed_at,
            recovery=complaint.recovery,
        )
        keys = [person, *keys_of(customer), *devices[-_DEVICES:]]
        for stored in ahead:
            if self._fold is not None and stored.entry.customer_key in keys:
                self._fold.foresee(history, stored)
        return known, list(dict.fromkeys(keys))

    def _follow_plans(self) -> None:
        """Compile what depends on the journeys, where another version of one was published."""
        plans = self._find_plans()
        if plans is self._found:
            return
        stages = set(stages_asked_for(self._asks.prompts, self._asks.feedback))
        self._plans = [plan for plan in plans if asks_for(plan, stages)]
        routes = self._asks.routes(plans)
        self._fold = None if routes is None else PromptFold(routes)
        self._found = plans

    def _ahead(self) -> Sequence[Stored]:
        """Return the first events that are in the Log and not in State."""
        if self._fold is None:
            return ()
        return self._store.read(self._store.cursor(PROJECTOR), _AHEAD, derived=False)

    def _person(self, customer: Customer) -> str:
        if customer.user_id or not customer.anonymous_id:
            return customer.key
        return self._piece(LINKS, customer.key) or customer.key

    def _history(self, person: str) -> History:
        data = self._store.state((PROMPTS, person))
        return History() if data is None else History.decode(data)

    def _piece(self, space: str, key: str) -> Any:
        data = self._store.state((space, key))
        return None if data is None else jsonbytes.loads(data)

    def _stages(self, person: str, history: History) -> Iterator[str]:
        """Yield the stages that somebody is in, as far as a prompt or `[feedback]` names them."""
        for plan in self._plans:
            value = ""
            if plan.journey.instance_by is not None:
                _, _, value = history.instances.get(plan.label, (0, "", ""))
            data = self._store.state((INSTANCES, Place(plan.label, person, value).key))
            run = None if data is None else Run.decode(data)
            if run is None or run.current == NOWHERE or run.ended_at is not None:
                continue
            if run.completed_at is not None and run.since < run.completed_at:
                # They have left the stage by reaching the goal.
                continue
            stage = plan.keys[run.current]
            yield from (stage, f"{plan.journey.key}.{stage}")
