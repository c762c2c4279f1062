"""What State has of customers, a page at a time: for those who look at it on a screen."""

from __future__ import annotations

from itertools import groupby, islice
from statistics import median
from typing import TYPE_CHECKING, Final

import attrs

from journeykit.insight.report import report
from journeykit.journeys.identity import CUSTOMERS, LINKS, MEMBERS
from journeykit.journeys.run import NOWHERE, Run
from journeykit.journeys.stages import INSTANCES, Place
from journeykit.model import jsonbytes
from journeykit.model.customer import Customer, from_key
from journeykit.model.times import to_datetime

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from journeykit.insight.report import Report
    from journeykit.journeys.plan import Plan
    from journeykit.model.event import Event
    from journeykit.store.protocol import Store

_SEPARATOR: Final = "\x1f"

#: What keys of known people begin with, and those of visitors.
_KNOWN, _VISITOR = "u:", "a:"

#: How many runs are read at once, and how many are looked at for one page, where most are left out.
_SLICE: Final = 500
_MOST_LOOKED_AT: Final = 10_000

#: How many runs of people, and as many of visitors, a journey's times are taken from.
_MOST_TIMED: Final = 1_000

#: The most runs of one customer that are told, and that are looked at for it: a till has more.
_MOST_RUNS: Final = 20
_MOST_OF_ONE: Final = 1_000


@attrs.frozen(kw_only=True)
class CustomerRun:
    """
    One run of a customer through a journey.

    Args:
        stage, furthest: Keys of the present stage and of the highest one reached.

        outcome: How it ended; None while it goes on.

        last_seen: When its latest event occurred.
    """

    journey: str
    version: int
    instance: str
    stage: str | None
    furthest: str | None
    completed: bool
    outcome: str | None
    last_seen: datetime


@attrs.frozen(kw_only=True)
class CustomerRuns:
    """A customer, and where they are: the latest runs first, 20 at most."""

    customer: Customer
    runs: tuple[CustomerRun, ...]

    @property
    def last_seen(self) -> datetime | None:
        """When the latest event of a run occurred; None without a run."""
        return max((run.last_seen for run in self.runs), default=None)


@attrs.frozen(kw_only=True)
class CustomerPage:
    """
    Some customers, in order of their ids.

    Args:
        after: Where to go on; None where there are no more.
    """

    customers: tuple[CustomerRuns, ...]
    after: str | None


@attrs.frozen(kw_only=True)
class Times:
    """
    How long it takes, by the runs that were looked at.

    Args:
        looked_at: How many runs that were.

        stages: Stage → the median of the seconds from the beginning until it was entered first.

        goal: The same until the goal; None where nobody has met it.
    """

    looked_at: int
    stages: Mapping[str, float]
    goal: float | None


class Browsing:
    """
    Where customers are, a page at a time: `kit.browse`.

    Nothing here reads all that there is.

    Args:
        plans: Returns the plans of every version that was declared or published.
    """

    def __init__(self, store: Store, plans: Callable[[], Sequence[Plan]]) -> None:
        self._store = store
        self._plans = plans

    def journeys(self) -> Report:
        """Return the figures of all journeys, without pain points and scores: a row a version."""
        return report(self._store, self._plans())

    def customers(
        self,
        *,
        known: bool = True,
        journey: str | None = None,
        stage: str | None = None,
        after: str | None = None,
        limit: int = 50,
    ) -> CustomerPage:
        """
        Return up to *limit* customers, in order of their ids.

        There are fewer, and yet more behind them, where too many had to be looked at.

        Args:
            known: People who have signed in, or else visitors.

            journey: Only with a run through this journey.

            stage: Only with a run that is in this stage at present.

            after: Behind this place, which an earlier page has named.
        """
        begin = _KNOWN if known else _VISITOR
        place = begin if after is None else after
        if journey is None:
            return self._everybody(begin, place, limit)
        found: list[CustomerRuns] = []
        looked_at = 0
        for key, pieces in self._by_customer(place):
            if not key.startswith(begin):
                break
            if len(found) == limit or looked_at >= _MOST_LOOKED_AT:
                return CustomerPage(customers=tuple(found), after=place)
            place = _behind(key)
            looked_at += len(pieces)
            each = CustomerRuns(customer=from_key(key), runs=self._runs(pieces, journey))
            if any(stage in (None, run.stage) for run in each.runs):
                found.append(each)
        return CustomerPage(customers=tuple(found), after=None)

    def customer(self, customer: Customer) -> CustomerRuns | None:
        """Return one customer under the id of the person that they are; None if nobody was seen."""
        link = self._store.state((LINKS, customer.key))
        key = customer.key if link is None else jsonbytes.loads(link)
        if self._store.state((CUSTOMERS, key)) is None:
            return None
        return self._one(key)

    def times(self, journey: str) -> Times:
        """Return how long a journey takes, by some 2,000 runs of people and of visitors."""
        begun: dict[str, list[float]] = {}
        goal: list[float] = []
        count = 0
        plans = {plan.label: plan for plan in self._plans() if plan.journey.key == journey}
        for begin in (_KNOWN, _VISITOR):
            for key, data in islice(self._pieces(begin), _MOST_TIMED):
                plan = plans.get(Place.of(key).label) if key.startswith(begin) else None
                run = None if plan is None else Run.decode(data)
                if plan is None or run is None or run.started_at is None:
                    continue
                if not run.has_stage or len(run.visits) != len(plan.keys):
                    continue
                count += 1
                for stage, at in zip(plan.keys, run.entered_at, strict=True):
                    if at is not None:
                        begun.setdefault(stage, []).append((at - run.started_at) / 1e6)
                if run.completed_at is not None:
                    goal.append((run.completed_at - run.started_at) / 1e6)
        medians = {stage: median(found) for stage, found in begun.items()}
        return Times(looked_at=count, stages=medians, goal=median(goal) if goal else None)

    def events(self, customer: Customer, limit: int = 50) -> list[Event]:
        """Return the last events of a customer, under each of their ids, the newest first."""
        link = self._store.state((LINKS, customer.key))
        person = customer.key if link is None else jsonbytes.loads(link)
        members = self._store.state((MEMBERS, person))
        keys = [person, *(jsonbytes.loads(members) if members else ())]
        # Positions only compare; the last of all are among the last of each.
        last = sorted(place for key in keys for place in self._store.trail(key)[-limit:])[-limit:]
        return [stored.event() for stored in reversed(self._store.fetch(last))]

    def evidence(self, ids: Iterable[str]) -> list[Event]:
        """Return the events with these ids, as far as they are in the Log."""
        return [stored.event() for stored in self._store.named(list(ids))]

    # How

    def _everybody(self, begin: str, place: str, limit: int) -> CustomerPage:
        page = self._store.page(CUSTOMERS, place, limit + 1)
        keys = [key for key, _ in page if key.startswith(begin)]
        found = tuple(self._one(key) for key in keys[:limit])
        return CustomerPage(customers=found, after=keys[limit - 1] if len(keys) > limit else None)

    def _one(self, key: str) -> CustomerRuns:
        pieces = islice(self._store.scan(INSTANCES, f"{key}{_SEPARATOR}"), _MOST_OF_ONE)
        return CustomerRuns(customer=from_key(key), runs=self._runs(pieces, None))

    def _by_customer(self, place: str) -> Iterator[tuple[str, list[tuple[str, bytes]]]]:
        """Yield customers behind *place*, each with what is kept of their runs."""
        following: str | None = place
        while following is not None:
            pieces, following = self._pieces(following), None
            for key, found in groupby(pieces, lambda piece: piece[0].partition(_SEPARATOR)[0]):
                some = list(islice(found, _MOST_OF_ONE))
                yield key, some
                if len(some) == _MOST_OF_ONE:
                    # There may be any number more of them.
                    following = _behind(key)
                    break

    def _pieces(self, place: str) -> Iterator[tuple[str, bytes]]:
        while page := self._store.page(INSTANCES, place, _SLICE):
            yield from page
            place = page[-1][0]

    def _runs(
        self, pieces: Iterable[tuple[str, bytes]], journey: str | None
    ) -> tuple[CustomerRun, ...]:
        """Return runs, each as the newest version that it has come to tells it."""
        plans = {plan.label: plan for plan in self._plans()}
        newest: dict[tuple[str, str], CustomerRun] = {}
        for key, data in pieces:
            place = Place.of(key)
            plan = plans.get(place.label)
            if plan is None or journey not in (None, plan.journey.key):
                continue
            run, which = Run.decode(data), (plan.journey.key, place.value)
            if not run.has_stage or len(run.visits) != len(plan.keys):
                continue
            known = newest.get(which)
            if known is None or known.version < plan.journey.version:
                newest[which] = _told(plan, place.value, run)
        found = sorted(newest.values(), key=lambda run: run.last_seen, reverse=True)
        return tuple(found[:_MOST_RUNS])


def _behind(key: str) -> str:
    """Return the place behind all that is kept of a customer."""
    return f"{key}{_SEPARATOR}\U0010ffff"


def _told(plan: Plan, instance: str, run: Run) -> CustomerRun:
    return CustomerRun(
        journey=plan.journey.key,
        version=plan.journey.version,
        instance=instance,
        stage=None if run.current == NOWHERE else plan.keys[run.current],
        furthest=None if run.furthest == NOWHERE else plan.keys[run.furthest],
        completed=run.completed_at is not None,
        outcome=run.outcome,
        last_seen=to_datetime(run.highest),
    )
