"""What an event means to a journey: which instance it belongs to, and what the rules say of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from journeykit.capture.tracker import ID_LENGTH
from journeykit.journeys.plan import matches
from journeykit.journeys.run import NOWHERE, OPTED_OUT, TRANSFERRED, Moment
from journeykit.model.event import Kind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from journeykit.journeys.plan import Plan, Route
    from journeykit.model.event import Entry, Stored
    from journeykit.store.view import View

#: What an event belongs to that ends every instance of its customer.
EVERY: Final = "\x1fevery"

#: What people state about a customer's journeys.
OPTED_OUT_FACT: Final = "customer.opted_out"
TRANSFERRED_FACT: Final = "journey.transferred"
FACTS: Final = frozenset((OPTED_OUT_FACT, TRANSFERRED_FACT))

#: Properties from outside may hold any number; more than this is a mistake.
_MOST_WORTH: Final = 1e15


class Meaning:
    """
    Reads events for one journey.

    Args:
        asks: Whether plugins name stages, so that events without a rule matter too.
    """

    def __init__(self, plan: Plan, *, asks: bool) -> None:
        self.plan = plan
        self._asks = asks
        self._by = plan.journey.instance_by
        self._routes = plan.routes
        #: Whether some event ends every instance of its customer.
        self.ends_all = any(route.ends_all for route in plan.routes.values())
        #: What an event of a name means whatever its properties: all but its time and its id.
        self._always = {
            name: (moment.order, moment[3:])
            for name, route in plan.routes.items()
            if not route.needs_properties
            if (moment := self._moment("", 0, route, {})) is not None
        }
        #: The stage, for names whose events can do nothing but lead to it.
        self._only = {
            name: order
            for name, (order, _) in self._always.items()
            if _only_enters(plan.routes[name])
        }

    def instance_value(self, view: View, stored: Stored) -> str | None:
        """Return which instance an event belongs to; None if it does not concern the journey."""
        entry = stored.entry
        if entry.kind is Kind.FACT and entry.name in FACTS:
            return self._fact_value(entry.name, view.properties(stored))
        route = self._routes.get(entry.name)
        if route is None and not self._asks:
            return None
        if self._by is None:
            return ""
        value = view.properties(stored).get(self._by)
        text = value if type(value) is str else str(value) if isinstance(value, str | int) else ""
        if 0 < len(text) <= ID_LENGTH and text.isprintable():
            return text
        return EVERY if route is not None and route.ends_all and value is None else None

    def moment(self, view: View, stored: Stored) -> Moment | None:
        """Return what the declared rules say about an event; None if it means nothing."""
        entry = stored.entry
        # A date in the future folds at the time of the Log.
        at = min(entry.occurred_at, stored.recorded_at)
        if entry.kind is Kind.FACT and entry.name in FACTS:
            return self._fact_moment(entry, at, view.properties(stored))
        always = self._always.get(entry.name)
        if always is None:
            route = self.plan.routes.get(entry.name)
            if route is None:
                return Moment(at, NOWHERE, entry.id) if self._asks else None
            return self._moment(entry.id, at, route, view.properties(stored))
        order, rest = always
        return tuple.__new__(Moment, (at, order, entry.id, *rest))

    def only(self, stored: Stored) -> tuple[int, int, str] | None:
        """Return the place of an event in fold order, if all it can do is to lead to one stage."""
        entry = stored.entry
        stage = self._only.get(entry.name)
        if stage is None:
            return None
        return min(entry.occurred_at, stored.recorded_at), stage, entry.id

    def _moment(
        self, event: str, at: int, route: Route, properties: Mapping[str, Any]
    ) -> Moment | None:
        candidates = tuple(
            rule for rule in route.candidates if not rule.where or matches(rule.where, properties)
        )
        begins = any(matches(way.where, properties) for way in route.entries)
        ends = (way.outcome for way in route.exits if matches(way.where, properties))
        outcome = next(ends, None)
        value = self._worth(properties) if route.is_goal else 0.0
        if not (candidates or route.marks or route.is_goal or begins or outcome or self._asks):
            return None
        order = min((rule.stage for rule in candidates), default=NOWHERE)
        moment = Moment(at, order, event, candidates, route.marks, None, route.is_goal)
        return moment._replace(value=value, begins=begins, outcome=outcome)

    def _fact_value(self, name: str, properties: dict[str, Any]) -> str | None:
        key = self.plan.journey.key
        if name == OPTED_OUT_FACT:
            return EVERY if properties.get("journey") == key else None
        if properties.get("from") == key:
            return str(properties.get("from_instance") or "")
        if properties.get("to") == key:
            return str(properties.get("to_instance") or "")
        return None

    def _fact_moment(self, entry: Entry, at: int, properties: dict[str, Any]) -> Moment | None:
        moment = Moment(at, NOWHERE, entry.id)
        if entry.name == OPTED_OUT_FACT:
            revoked = bool(properties.get("revoked"))
            return moment._replace(outcome=None if revoked else OPTED_OUT, allows_again=revoked)
        if properties.get("from") == self.plan.journey.key:
            return moment._replace(outcome=TRANSFERRED)
        stage = properties.get("stage")
        if stage not in self.plan.keys:
            return None
        return moment._replace(target=self.plan.keys.index(stage))

    def _worth(self, properties: Mapping[str, Any]) -> float:
        goal = self.plan.journey.goal
        value = properties.get(goal.value) if goal is not None and goal.value is not None else None
        try:
            worth = float(value) if value is not None and not isinstance(value, bool) else 0.0
        except (TypeError, ValueError, OverflowError):
            return 0.0
        return worth if abs(worth) <= _MOST_WORTH else 0.0


def _only_enters(route: Route) -> bool:
    """Return whether all that an event of *route* can do is to lead to one stage."""
    if len(route.candidates) != 1 or route.candidates[0].after is not None:
        return False
    return not (route.marks or route.is_goal or route.exits)
