"""
The fold that finds the stage of every instance.

Events fold in the order in which they occurred, not in which they arrived.
One that arrives behind a newer one has its instance folded again from the customer's trail.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from journeykit.capture.tracker import ID_LENGTH
from journeykit.journeys.derived import derive
from journeykit.journeys.figures import FIGURES, Figures
from journeykit.journeys.identity import CUSTOMERS, Presence, members
from journeykit.journeys.plan import Plan, Route, matches
from journeykit.journeys.run import NOWHERE, Moment, Run
from journeykit.model import jsonbytes
from journeykit.model.customer import Customer
from journeykit.model.event import Kind
from journeykit.model.journey import Instance
from journeykit.model.times import to_datetime

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from journeykit.model.event import Entry, Stored
    from journeykit.plugins import Plugins
    from journeykit.store.projector import Step, View

#: `journey@version`, customer and instance value → the run.
INSTANCES: Final = "instance"

_SEPARATOR: Final = "\x1f"

#: A late event of a customer with more events than this folds in its order of arrival instead.
REFOLDED_EVENTS: Final = 2_000

#: Beyond this a value is a mistake: sums of such numbers would lose the cents of the others.
_MOST_WORTH: Final = 1e12
_NO_ROUTE: Final = Route((), (), is_goal=False, needs_properties=False)


class Place(NamedTuple):
    """Which instance: the key of its run in State."""

    label: str
    customer: str
    value: str

    @property
    def key(self) -> str:
        """The key in State."""
        return _SEPARATOR.join(self)

    @classmethod
    def of(cls, key: str) -> Place:
        """Return the place that *key* stands for."""
        return cls(*key.split(_SEPARATOR, 2))


class StageFold:
    """
    Folds events into the runs of *plans*.

    Args:
        plugins: Asked for a stage before the declared rules are, if one of them wants to be.
    """

    def __init__(self, plans: Sequence[Plan], plugins: Plugins) -> None:
        self._plans = tuple(plans)
        self._detector = plugins if plugins.implements("detect_stage") else None

    def __call__(self, view: View, step: Step) -> Iterator[Entry]:
        """Fold one event; derives stages entered and corrected, and journeys completed."""
        for plan in self._plans:
            if step.joined:
                yield from self._join(view, step, plan)
            else:
                yield from self._fold(view, step, plan)

    def _fold(self, view: View, step: Step, plan: Plan) -> Iterator[Entry]:
        value = self._instance_value(step.stored.entry, plan)
        if value is None:
            return
        place = Place(plan.label, step.customer, value)
        before = view.get(INSTANCES, place.key, Run.decode)
        moment = self._moment(step.stored, plan)
        if moment is None:
            return
        run = before or Run.empty(len(plan.keys))
        is_late = run.newest is not None and moment.place < run.newest
        if is_late and not self._has_long_history(view, step):
            yield from self._refold(view, step, plan, place)
            return
        after = run.after(self._voted(moment, step.stored, plan, run, value), plan)
        if is_late:
            after = after._replace(newest=run.newest)
        self._keep(view, plan, place, before, after)
        yield from _conclusions(step.stored, plan, value, before, after)

    @staticmethod
    def _has_long_history(view: View, step: Step) -> bool:
        """Return, and count, whether folding everything again would hold up all others."""
        presence = view.get(CUSTOMERS, step.customer, Presence.decode)
        if presence is None or presence.events <= REFOLDED_EVENTS:
            return False
        view.counts["late_overflow"] += 1
        return True

    def _join(self, view: View, step: Step, plan: Plan) -> Iterator[Entry]:
        """Move the runs of the joined customers to the one whom they turned out to be."""
        values = set()
        for customer in (*step.joined, step.customer):
            prefix = Place(plan.label, customer, "").key
            for key in view.keys(INSTANCES, prefix):
                values.add(Place.of(key).value)
                if customer != step.customer:
                    before = view.get(INSTANCES, key, Run.decode)
                    self._keep(view, plan, Place.of(key), before, None)
        own = self._instance_value(step.stored.entry, plan)
        if own is not None:
            values.add(own)
        for value in sorted(values):
            yield from self._refold(view, step, plan, Place(plan.label, step.customer, value))

    def _refold(self, view: View, step: Step, plan: Plan, place: Place) -> Iterator[Entry]:
        before = view.get(INSTANCES, place.key, Run.decode)
        moments = [
            (moment, stored)
            for stored in view.history(members(view, step.customer))
            if stored.entry.kind is not Kind.DERIVED
            and self._instance_value(stored.entry, plan) == place.value
            and (moment := self._moment(stored, plan)) is not None
        ]
        after = Run.empty(len(plan.keys))
        for moment, stored in sorted(moments, key=lambda pair: pair[0].place):
            after = after.after(self._voted(moment, stored, plan, after, place.value), plan)
        self._keep(view, plan, place, before, after)
        yield from _correction(step.stored, plan, place.value, before, after)

    def _instance_value(self, entry: Entry, plan: Plan) -> str | None:
        """Return which instance an event belongs to; None if it does not concern the journey."""
        if entry.name not in plan.routes and self._detector is None:
            return None
        name = plan.journey.instance_by
        if name is None:
            return ""
        value = _properties(entry).get(name)
        text = str(value) if isinstance(value, str | int) else ""
        return text if 0 < len(text) <= ID_LENGTH and text.isprintable() else None

    def _moment(self, stored: Stored, plan: Plan) -> Moment | None:
        """Return what the declared rules say about an event; None if it means nothing."""
        entry = stored.entry
        route = plan.routes.get(entry.name, _NO_ROUTE)
        properties = _properties(entry) if route.needs_properties else {}
        candidates = tuple(
            rule for rule in route.candidates if not rule.where or matches(rule.where, properties)
        )
        means_something = candidates or route.marks or route.is_goal or self._detector is not None
        if not means_something:
            return None
        return Moment(
            entry.occurred_at,
            min((rule.stage for rule in candidates), default=NOWHERE),
            entry.id,
            candidates,
            route.marks,
            None,
            route.is_goal,
            _worth(plan, properties) if route.is_goal else 0.0,
        )

    def _voted(self, moment: Moment, stored: Stored, plan: Plan, run: Run, value: str) -> Moment:
        """Return *moment* with the stage that a plugin names for it, where *run* has come to it."""
        if self._detector is None:
            return moment
        entry = stored.entry
        instance = Instance(
            journey=plan.journey.key,
            version=plan.journey.version,
            customer=Customer(entry.user_id, entry.anonymous_id, entry.session_id),
            value=value,
            stage=_key(plan, run.current),
            furthest=_key(plan, run.furthest),
            started_at=None if run.started_at is None else to_datetime(run.started_at),
        )
        stage = self._detector.detect_stage(stored.event(), plan.journey, instance)
        return moment if stage is None else moment._replace(vote=plan.keys.index(stage))

    @staticmethod
    def _keep(view: View, plan: Plan, place: Place, before: Run | None, after: Run | None) -> None:
        view.put(INSTANCES, place.key, after, Run.encode)
        if _counts_alike(before, after) and _worth_alike(before, after):
            return
        figures = view.get(FIGURES, plan.label, Figures.decode) or Figures.empty(len(plan.keys))
        view.put(FIGURES, plan.label, figures.changed(before, after), jsonbytes.dumps_row)


def _counts_alike(before: Run | None, after: Run | None) -> bool:
    if before is None or after is None:
        return before is after
    return (before.current, before.furthest, before.observed, before.completed_at) == (
        after.current,
        after.furthest,
        after.observed,
        after.completed_at,
    )


def _worth_alike(before: Run | None, after: Run | None) -> bool:
    return before is None or after is None or before.value == after.value


def _conclusions(
    cause: Stored, plan: Plan, value: str, before: Run | None, after: Run
) -> Iterator[Entry]:
    was = before.current if before is not None else NOWHERE
    if after.current != was:
        key, visit = plan.keys[after.current], after.visits[after.current]
        yield derive(
            cause,
            "stage.entered",
            f"{key}:{visit}",
            {"stage": key, "from": _key(plan, was), "visit": visit},
            journey=plan.journey,
            stage=key,
            instance=value,
        )
    yield from _completion(cause, plan, value, before, after)


def _completion(
    cause: Stored, plan: Plan, value: str, before: Run | None, after: Run
) -> Iterator[Entry]:
    was_open = before is None or before.completed_at is None
    if after.completed_at is not None and was_open:
        yield derive(
            cause,
            "journey.completed",
            "goal",
            {"value": after.value},
            journey=plan.journey,
            stage=_key(plan, after.current),
            instance=value,
        )


def _correction(
    cause: Stored, plan: Plan, value: str, before: Run | None, after: Run
) -> Iterator[Entry]:
    if not _counts_alike(before, after) and after.has_stage:
        key = _key(plan, after.current)
        was = _key(plan, before.current) if before is not None else None
        properties: dict[str, Any] = {
            "stage": key,
            "from": was,
            "furthest": _key(plan, after.furthest),
            "entered": [name for name, seen in zip(plan.keys, after.observed, strict=True) if seen],
        }
        yield derive(
            cause,
            "stage.corrected",
            "refold",
            properties,
            journey=plan.journey,
            stage=key,
            instance=value,
        )
    yield from _completion(cause, plan, value, before, after)


def _key(plan: Plan, stage: int) -> str | None:
    return None if stage == NOWHERE else plan.keys[stage]


def _properties(entry: Entry) -> dict[str, Any]:
    properties: dict[str, Any] = jsonbytes.loads(entry.body)["properties"]
    return properties


def _worth(plan: Plan, properties: dict[str, Any]) -> float:
    goal = plan.journey.goal
    value = properties.get(goal.value) if goal is not None and goal.value is not None else None
    try:
        worth = float(value) if value is not None and not isinstance(value, bool) else 0.0
    except (TypeError, ValueError, OverflowError):
        return 0.0
    return worth if abs(worth) <= _MOST_WORTH else 0.0
