"""
The fold that finds the stage of every instance.

Events fold in the order in which they occurred, not in which they arrived.
One that arrives behind a newer one has its instance folded again, from a checkpoint that is older
than the journey's late window; one that is older than that window changes nothing any more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from journeykit.journeys.advance import advance, expire, follow
from journeykit.journeys.checkpoint import (
    CHECKPOINTS,
    TOGETHER,
    Checkpoint,
    History,
    Instance,
    is_due,
    is_near,
    move_checkpoint,
)
from journeykit.journeys.corrections import (
    Refolded,
    cause_of,
    completion,
    correction,
    derived,
    stage_key,
)
from journeykit.journeys.derived import Cause
from journeykit.journeys.figures import recount, recount_move
from journeykit.journeys.identity import members
from journeykit.journeys.meaning import EVERY, OPTED_OUT_FACT, Meaning
from journeykit.journeys.run import Run
from journeykit.journeys.stalls import note_stall
from journeykit.journeys.timers import Timer, set_timer
from journeykit.journeys.whole import Whole
from journeykit.model import journey as declared
from journeykit.model import jsonbytes
from journeykit.model.consent import encoded_stamp
from journeykit.model.customer import Customer
from journeykit.model.event import HISTORICAL, Kind
from journeykit.model.times import to_datetime
from journeykit.store.view import BEHIND_TIME, TIMERS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from journeykit.journeys.plan import Plan
    from journeykit.journeys.run import Moment, Standing
    from journeykit.model.event import Entry, Stored
    from journeykit.plugins import Plugins
    from journeykit.store.projector import Step
    from journeykit.store.view import View

#: Customer, `journey@version` and instance value → the run.
INSTANCES: Final = "instance"

#: Customer → the keys of journeys that they have ever opted out of; and whether anybody has.
OPTED_OUT_OF: Final = "opted_out"
_ANYBODY: Final = ""

_SEPARATOR: Final = "\x1f"


class Place(NamedTuple):
    """Which instance: the journey's label, the customer's key, the value that tells it apart."""

    label: str
    customer: str
    value: str

    @property
    def key(self) -> str:
        """The key that its run is kept under."""
        # The customer first: what a store has of one customer lies together.
        return f"{self[1]}{_SEPARATOR}{self[0]}{_SEPARATOR}{self[2]}"

    @classmethod
    def of(cls, key: str) -> Place:
        """Return the place that is kept under *key*."""
        customer, label, value = key.split(_SEPARATOR)
        return cls(label, customer, value)


#: An instance that an event concerns, by its value and its key; `EVERY` stands for all.
_Way = tuple[Meaning, str, str]


class StageFold:
    """
    Folds events into the runs of *plans*.

    Args:
        plugins: Asked for a stage before the declared rules are, if one of them wants to be.
    """

    def __init__(self, plans: Sequence[Plan], plugins: Plugins) -> None:
        self._plans = tuple(plans)
        self._labels = {plan.label: plan for plan in self._plans}
        self._detector = plugins if plugins.implements("detect_stage") else None
        self._meanings = [Meaning(plan, asks=self._detector is not None) for plan in self._plans]
        self._every = [_with_infix(meaning) for meaning in self._meanings]
        self._by_name = _by_name(self._meanings)
        self.sets_timers = any(plan.has_deadlines for plan in self._plans)

    def wants(self, view: View, steps: Sequence[Step]) -> Iterator[tuple[str, list[str]]]:
        """Yield what folding *steps* will read, as far as it can be told before."""
        keys: list[str] = []
        for step in steps:
            ways = self._route(view, step.stored, step.person)
            keys += [key for _, value, key in ways if value is not EVERY]
        yield INSTANCES, keys

    def wants_of_timers(self, keys: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
        """Yield what timers of these keys will read."""
        yield INSTANCES, list(keys)

    def _route(self, view: View, stored: Stored, customer: str) -> Sequence[_Way]:
        """Return which instances of *customer* an event concerns."""
        # Who asks plugins asks them about everything; a fact may be about any journey.
        if self._detector is not None or stored.entry.kind is Kind.FACT:
            concerned: Sequence[tuple[Meaning, str]] = self._every
        else:
            concerned = self._by_name.get(stored.entry.name, ())
        ways: list[_Way] = []
        for meaning, infix in concerned:
            value = meaning.instance_value(view, stored)
            if value is not None:
                ways.append((meaning, value, f"{customer}{infix}{value}"))
        return ways

    def __call__(self, view: View, step: Step) -> Iterable[Entry]:
        """Fold one event; derives what has become of the runs that it concerns."""
        if step.joined or step.stored.entry.kind is Kind.FACT:
            self._note_opting_out(view, step)
        if step.joined or step.parted is not None:
            return [
                entry for meaning in self._meanings for entry in self._regroup(view, step, meaning)
            ]
        found: list[Entry] = []
        for meaning, value, key in self._route(view, step.stored, step.customer):
            if value is EVERY:
                for each in view.keys(INSTANCES, key.removesuffix(EVERY)):
                    found += self._into(view, step, meaning, each)
                continue
            news = self._follow(view, step, meaning, value, key)
            found += self._into(view, step, meaning, key) if news is None else news
        return found

    def expire(self, view: View, timer: Timer) -> Iterable[Entry]:
        """Let a deadline pass; derives what has become of the run that waited for it."""
        place = Place.of(timer.key)
        plan = self._labels.get(place.label)
        run = view.get(INSTANCES, timer.key, Run.decode) if plan is not None else None
        if plan is None or run is None or run.deadline(plan) != timer.deadline:
            return ()
        before = run.standing()
        signals = expire(plan, run, timer.deadline)
        self._keep(view, plan, place, before, run)
        self._wait(view, plan, place, run, timer)
        cause = cause_of(place.customer, timer.flags, timer.stamp)
        return derived(plan, place.value, cause, signals)

    def forget(self, view: View, customers: Sequence[str]) -> int:
        """Remove what is kept of *customers*; returns how many pieces that were."""
        pieces = 0
        for customer in customers:
            for plan in self._plans:
                for key in view.keys(INSTANCES, Place(plan.label, customer, "").key):
                    pieces += 1 + (view.get(CHECKPOINTS, key, Checkpoint.decode) is not None)
                    self._forget(view, plan, key)
            part = f"{BEHIND_TIME}{customer}{_SEPARATOR}"
            for key in view.find(TIMERS, part) if self.sets_timers else ():
                view.put(TIMERS, key, None, jsonbytes.dumps)
                pieces += 1
        return pieces + _forget_opting_out(view, customers)

    def _follow(
        self, view: View, step: Step, meaning: Meaning, value: str, key: str
    ) -> Iterable[Entry] | None:
        """
        Put an event behind the others of a run that is under way, if it can but lead to one stage.

        Most events are such; for these, nothing else has to be known. Returns None for others.
        """
        plan, place = meaning.plan, meaning.only(step.stored)
        # A plugin may see it otherwise, and a deadline may have passed.
        if place is None or self._detector is not None or plan.has_deadlines:
            return None
        run = view.get(INSTANCES, key, Run.decode)
        if run is None:
            return None
        before, is_first = (run.current, run.furthest), not run.visits[place[1]]
        signals = follow(plan, run, place)
        if signals is None:
            return None
        run.count += 1
        if is_due(plan.late, run):
            self._move_checkpoints(view, step, meaning, Place.of(key), run)
        view.put(INSTANCES, key, run, Run.encode)
        if run.current != before[0]:
            recount_move(view, plan.label, before, run, is_first=is_first)
        return derived(plan, value, Cause.of(step.stored), signals) if signals else ()

    def _into(self, view: View, step: Step, meaning: Meaning, key: str) -> Iterable[Entry]:
        plan, moment, place = meaning.plan, meaning.moment(view, step.stored), Place.of(key)
        if moment is None:
            return ()
        run = view.get(INSTANCES, key, Run.decode)
        if run is None:
            if self._concerns_new(view, step, meaning, place):
                return self._refold(view, step, meaning, place)
            run = Run.empty(len(plan.keys))
            run.begun = (step.stored.position, moment.at)
        elif run.newest is not None and moment[:3] < run.newest:
            if moment.at < run.highest - plan.late and not step.stored.entry.flags & HISTORICAL:
                view.counts["late"] += 1
                return ()
            return self._refold(view, step, meaning, place)
        return self._advance(view, step, meaning, place, run, moment)

    def _advance(
        self, view: View, step: Step, meaning: Meaning, place: Place, run: Run, moment: Moment
    ) -> Iterable[Entry]:
        plan, stored = meaning.plan, step.stored
        before, waited = run.standing(), run.deadline(plan) if plan.has_deadlines else None
        vote = self._vote(plan, stored, place.value) if self._detector is not None else None
        signals = advance(plan, run, moment, vote)
        run.count += 1
        if is_due(plan.late, run):
            self._move_checkpoints(view, step, meaning, place, run)
        self._keep(view, plan, place, before, run)
        if plan.has_deadlines and run.deadline(plan) != waited:
            self._wait(view, plan, place, run, stored)
        return derived(plan, place.value, Cause.of(stored), signals) if signals else ()

    def _move_checkpoints(
        self, view: View, step: Step, meaning: Meaning, place: Place, run: Run
    ) -> None:
        """Move the checkpoint of *run*, and with it those that the same history is read for."""
        runs = {place: run, **self._near(view, meaning, place)}
        read = [_instance(view, each, its) for each, its in runs.items()]
        owners = members(view, step.customer)
        histories = History.read_all(view, meaning, owners, read)
        for each, its in runs.items():
            voter = self._voter(meaning.plan, each.value)
            move_checkpoint(view, meaning.plan, each.key, its, histories[each.value], voter)
            if each != place:
                view.put(INSTANCES, each.key, its, Run.encode)

    @staticmethod
    def _near(view: View, meaning: Meaning, place: Place) -> dict[Place, Run]:
        if meaning.plan.journey.instance_by is None:
            return {}
        near: dict[Place, Run] = {}
        for key in view.keys(INSTANCES, place._replace(value="").key):
            run = view.get(INSTANCES, key, Run.decode)
            if key != place.key and len(near) < TOGETHER - 1 and is_near(run):
                near[Place.of(key)] = run
        return near

    def _concerns_new(self, view: View, step: Step, meaning: Meaning, place: Place) -> bool:
        """Return whether what concerns every instance came before this one was heard of."""
        if not meaning.ends_all and not has_opted_out(view, step.customer, meaning.plan):
            return False
        return len(self._history(view, step, meaning, place).moments) > 1

    @staticmethod
    def _note_opting_out(view: View, step: Step) -> None:
        """Keep of whom it is worth while to ask what concerns instances that do not exist yet."""
        known = set(view.get(OPTED_OUT_OF, step.customer, jsonbytes.loads) or ())
        found = {
            journey
            for customer in (*step.joined, step.parted or step.customer)
            for journey in view.get(OPTED_OUT_OF, customer, jsonbytes.loads) or ()
        }
        entry = step.stored.entry
        if entry.kind is Kind.FACT and entry.name == OPTED_OUT_FACT:
            found.add(str(view.properties(step.stored).get("journey")))
        if not found <= known:
            view.put(OPTED_OUT_OF, step.customer, sorted(known | found), jsonbytes.dumps)
            view.put(OPTED_OUT_OF, _ANYBODY, 1, jsonbytes.dumps)

    def _regroup(self, view: View, step: Step, meaning: Meaning) -> Iterator[Entry]:
        """Fold all of those again who turned out to be one person, or not to be."""
        parted = [] if step.parted is None else [step.parted]
        owners = [step.customer, *parted]
        wholes = [Whole(view, meaning, members(view, owner)) for owner in owners]
        values = sorted({value for whole in wholes for value in whole.values})
        for value in values:
            places = [
                Place(meaning.plan.label, customer, value) for customer in (*owners, *step.joined)
            ]
            was = [view.get(INSTANCES, place.key, Run.decode) for place in places]
            for place in places[len(owners) :]:
                self._forget(view, meaning.plan, place.key)
            # What one of them has completed is no news of the other.
            told = any(run is not None and run.completed_at is not None for run in was)
            for place, whole in zip(places, wholes, strict=False):
                yield from self._from_whole(view, step, meaning, place, whole, told=told)

    def _from_whole(
        self, view: View, step: Step, meaning: Meaning, place: Place, whole: Whole, *, told: bool
    ) -> Iterator[Entry]:
        plan, stored = meaning.plan, step.stored
        before = view.get(INSTANCES, place.key, Run.decode)
        was = before.standing() if before is not None else None
        cause, subject = Cause.of(stored), "refold"
        if place.customer == step.parted:
            # It is about the person, whom the fact does not name.
            user_id, subject = place.customer[2:], "parted"
            cause = cause._replace(user_id=user_id, anonymous_id=None, session_id=None)
        about = Refolded(plan, place.value, cause, stored.entry.occurred_at)
        if not whole.has(place.value):
            self._forget(view, plan, place.key)
            yield from correction(about, was, Run.empty(len(plan.keys)), subject)
            return
        after, checkpoint, completed_by = whole.fold(place.value, self._voter(plan, place.value))
        expire(plan, after, stored.recorded_at)
        self._keep(view, plan, place, was, after)
        view.put(CHECKPOINTS, place.key, checkpoint, Checkpoint.encode)
        if plan.has_deadlines:
            self._wait(view, plan, place, after, stored)
        yield from correction(about, was, after, subject)
        if completed_by is not None and after.completed_at is not None and not told:
            # By the event that met the goal, so that another merge does not tell it again.
            cause = Cause.of(completed_by)
            yield from completion(about._replace(cause=cause, at=after.completed_at), after)

    @staticmethod
    def _forget(view: View, plan: Plan, key: str) -> None:
        run = view.get(INSTANCES, key, Run.decode)
        if run is None:
            return
        view.put(INSTANCES, key, None, Run.encode)
        view.put(CHECKPOINTS, key, None, Checkpoint.encode)
        recount(view, plan.label, run.standing(), None)
        if plan.has_deadlines:
            place = Place.of(key)
            note_stall(view, plan, place.customer, place.value, None)

    def _refold(self, view: View, step: Step, meaning: Meaning, place: Place) -> Iterator[Entry]:
        """Fold an instance again from its checkpoint, or from its beginning."""
        plan, stored = meaning.plan, step.stored
        step.refolded = True
        before = view.get(INSTANCES, place.key, Run.decode)
        whole = bool(stored.entry.flags & HISTORICAL)
        history = self._history(view, step, meaning, place, whole=whole)
        if history.overflows:
            view.counts["late_overflow"] += 1
            return
        after = history.begin(len(plan.keys))
        vote = self._voter(plan, place.value)
        for moment, each in history.in_order():
            advance(plan, after, moment, vote(each) if vote is not None else None)
        expire(plan, after, stored.recorded_at)
        after.count, after.look = len(history.moments), before.look if before is not None else 0
        after.begun = before.begun if before is not None else None
        was = before.standing() if before is not None else None
        self._keep(view, plan, place, was, after)
        if whole and view.get(CHECKPOINTS, place.key, Checkpoint.decode) is not None:
            # It may belong before the checkpoint, which knows nothing of it.
            view.put(CHECKPOINTS, place.key, None, Checkpoint.encode)
        if plan.has_deadlines:
            self._wait(view, plan, place, after, stored)
        about = Refolded(plan, place.value, Cause.of(stored), stored.entry.occurred_at)
        yield from correction(about, was, after)
        if after.completed_at is not None and (was is None or was.completed_at is None):
            yield from completion(about, after)

    @staticmethod
    def _history(
        view: View, step: Step, meaning: Meaning, place: Place, *, whole: bool = False
    ) -> History:
        run = view.get(INSTANCES, place.key, Run.decode)
        instance = _instance(view, place, run)
        if whole:
            instance = instance._replace(checkpoint=None)
        return History.read(view, meaning, members(view, step.customer), instance)

    def _voter(self, plan: Plan, value: str) -> Callable[[Stored], Any] | None:
        if self._detector is None:
            return None
        return lambda stored: self._vote(plan, stored, value)

    def _vote(self, plan: Plan, stored: Stored, value: str) -> Callable[[Run], int | None] | None:
        """Return what asks the plugins for a stage, once a run has come to the event."""
        detector, entry = self._detector, stored.entry
        if detector is None:
            return None

        def vote(run: Run) -> int | None:
            instance = declared.Instance(
                journey=plan.journey.key,
                version=plan.journey.version,
                customer=Customer(entry.user_id, entry.anonymous_id, entry.session_id),
                value=value,
                stage=stage_key(plan, run.current),
                furthest=stage_key(plan, run.furthest),
                started_at=None if run.started_at is None else to_datetime(run.started_at),
            )
            stage = detector.detect_stage(stored.event(), plan.journey, instance)
            return None if stage is None else plan.keys.index(stage)

        return vote

    @staticmethod
    def _keep(view: View, plan: Plan, place: Place, before: Standing | None, run: Run) -> None:
        view.put(INSTANCES, place.key, run, Run.encode)
        recount(view, plan.label, before, run.standing())
        if plan.has_deadlines:
            note_stall(view, plan, place.customer, place.value, run)

    @staticmethod
    def _wait(view: View, plan: Plan, place: Place, run: Run, since: Stored | Timer) -> None:
        """Set the timer of what *run* waits for, after an event or another deadline."""
        deadline = run.deadline(plan)
        if deadline is None:
            return
        if isinstance(since, Timer):
            timer = since._replace(deadline=deadline)
        else:
            flags, body = since.entry.flags, since.entry.body
            stamp = encoded_stamp(flags, body).decode()
            timer = Timer(place.key, deadline, since.recorded_at, flags, stamp)
        set_timer(view, timer)


def _instance(view: View, place: Place, run: Run | None) -> Instance:
    checkpoint = view.get(CHECKPOINTS, place.key, Checkpoint.decode)
    begin = run.begun[0] if run is not None and run.begun is not None else None
    return Instance(place.value, checkpoint, begin)


def _with_infix(meaning: Meaning) -> tuple[Meaning, str]:
    """Return *meaning* with what stands between customer and value in the keys of its runs."""
    return meaning, f"{_SEPARATOR}{meaning.plan.label}{_SEPARATOR}"


def _by_name(meanings: Sequence[Meaning]) -> Mapping[str, Sequence[tuple[Meaning, str]]]:
    found: dict[str, list[tuple[Meaning, str]]] = {}
    for meaning in meanings:
        for name in meaning.plan.routes:
            found.setdefault(name, []).append(_with_infix(meaning))
    return found


def has_opted_out(view: View, customer: str, plan: Plan) -> bool:
    """Return whether a customer has ever opted out of a journey."""
    # One look for all, in a shop where nobody ever has.
    if not view.get(OPTED_OUT_OF, _ANYBODY, jsonbytes.loads):
        return False
    return plan.journey.key in (view.get(OPTED_OUT_OF, customer, jsonbytes.loads) or ())


def _forget_opting_out(view: View, customers: Sequence[str]) -> int:
    kept = [key for key in customers if view.get(OPTED_OUT_OF, key, jsonbytes.loads) is not None]
    for key in kept:
        view.put(OPTED_OUT_OF, key, None, jsonbytes.dumps)
    if kept and not any(view.find(OPTED_OUT_OF, ":")):
        view.put(OPTED_OUT_OF, _ANYBODY, None, jsonbytes.dumps)
    return len(kept)
