"""`JourneyKit`, which an app holds: builds the parts and joins them."""

from __future__ import annotations

import atexit
import contextlib
import functools
import logging
import os
import time
import weakref
from typing import TYPE_CHECKING, Any, Final, Self

import attrs

from journeykit import native
from journeykit.assembly import assemble, load_plugins, rules_by_name
from journeykit.capture import Bound
from journeykit.capture import bind_customer as _bind_customer
from journeykit.capture.consent import CONSENTED, Choice
from journeykit.capture.context import current, current_customer
from journeykit.config import loader
from journeykit.config.settings import ConsentMode, Pattern, StagesIn
from journeykit.delivery.health import told
from journeykit.erasing import check, fact
from journeykit.erasing import report as erasure_report
from journeykit.exceptions import EventRejected, StoreError
from journeykit.feedback import Casework, Feedback
from journeykit.feedback.reading import Reader
from journeykit.handover import Handover
from journeykit.insight import (
    Browsing,
    CustomerStage,
    Explanation,
    PainPointCase,
    PainPointFigures,
    Report,
    cases,
    customers,
    explain,
    pain_points,
    report,
    watching,
)
from journeykit.journeys.decisions import MUTED, RESOLVED
from journeykit.journeys.findings import findings
from journeykit.journeys.identity import linked_to
from journeykit.journeys.meaning import OPTED_OUT_FACT, TRANSFERRED_FACT
from journeykit.metrics import observe
from journeykit.model.customer import NOBODY, Customer
from journeykit.model.event import DELIVER, HISTORICAL, UNMERGED, Kind
from journeykit.model.receipt import Receipt
from journeykit.pipeline import Pipeline
from journeykit.store.erasure import QUEUED, ids_of, key_of
from journeykit.store.protocol import PROJECTOR
from journeykit.store.schema import damage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from contextlib import AbstractContextManager
    from datetime import datetime
    from pathlib import Path

    from journeykit.config.settings import Settings
    from journeykit.delivery.gate import Gate
    from journeykit.delivery.sink import Sink
    from journeykit.erasing import ErasureReport
    from journeykit.insight import FoundWhere
    from journeykit.journeys import Plan
    from journeykit.model.journey import Journey
    from journeykit.model.rule import PainPointRule
    from journeykit.pipeline import Parts
    from journeykit.plugins import Plugins
    from journeykit.store.protocol import Parked, Store

_log = logging.getLogger("journeykit")

#: How long a durable event waits for the Log, in seconds.
_DURABLE_SECONDS: Final = 5.0

#: How long an erasure waits for what this process has accepted, and how often it looks how far it
#: has come, in seconds.
_BEFORE_ERASING: Final = 2.0
_LOOK_SECONDS: Final = 0.01

#: At exit, how long to wait for what is under way, in seconds.
_EXIT_SECONDS: Final = 0.8

#: How long threads have at least to end what they are doing, in seconds.
_STOP_SECONDS: Final = 0.1


def _now() -> int:
    return time.time_ns() // 1000


class JourneyKit:
    """
    The one object that an app holds.

    Building it reads declarations and opens nothing; the first `track()` starts the background
    threads, in each process for itself.

    Args:
        settings: What is declared.

        plugins: The app's own plugins: modules or objects with `@hookimpl` functions.

        sinks: Sinks built in Python, besides those that *settings* declare.

        store: A store of your own, instead of the one that *settings* name.

        now: The clock, in microseconds since the epoch, for tests.

        problems: Mistakes that were found already, to be told together with those found here.

    Raises:
        ConfigError: The declarations have mistakes; it names all of them.

        PluginError: A plugin failed while it was asked what it adds.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        plugins: Plugins | Iterable[object] = (),
        sinks: Iterable[Sink] = (),
        store: Store | None = None,
        now: Callable[[], int] = _now,
        problems: Sequence[str] = (),
    ) -> None:
        built = assemble(
            settings,
            plugins=plugins,
            sinks=sinks,
            store=store,
            now=now,
            problems=problems,
            kit=self,
        )
        self.settings = settings
        self.plugins = built.parts.plugins
        self.endpoints = built.endpoints
        #: What became of browsers' requests to journeykit's own endpoints in this process.
        self.requests: dict[str, int] = {}
        self.store = built.parts.store
        self._parts = built.parts
        self._journeys = built.journeys
        self._watch = built.watch
        self._rules = built.rules
        self._unfed = built.unfed
        self._asks = built.asks
        #: The plans of so many publications.
        self._planned: tuple[int, tuple[Plan, ...]] = (-1, ())
        self._tail = built.parts.tail
        self._tracker = built.tracker
        #: Takes events that something else has kept before, such as a transaction of the shop's.
        self.handover = Handover(
            built.tracker,
            built.parts.tail,
            refused=self._refused,
            wake=self._wake,
            wait=self._wait_committed,
        )
        self._feedback: Feedback | None = None
        self._pipeline: Pipeline | None = None
        self._starting = native.lock()
        self._closed = False
        self._mark = native.life_mark()
        self._at_exit = functools.partial(self.close, _EXIT_SECONDS)
        _after_fork(self)

    @classmethod
    def from_toml(  # noqa: PLR0913 - what is declared, and what is not
        cls,
        path: str | Path,
        *,
        plugins: Iterable[object] = (),
        sinks: Iterable[Sink] = (),
        store: Store | None = None,
        delivers: bool = True,
        strict: bool | None = None,
        now: Callable[[], int] = _now,
    ) -> JourneyKit:
        """
        Return the kit that the file at *path* declares.

        Args:
            plugins: The app's own plugins.

            sinks: Sinks built in Python, besides those of the file.

            store: A store of your own, instead of the one that the file names.

            delivers: Whether to have the sinks of the file; False for tests.

            strict: Overrides `[journeykit] strict`.

            now: The clock, in microseconds since the epoch, for tests.

        Raises:
            ConfigError: The file has mistakes; it names all of them.

            PluginError: A plugin failed while it was asked what it adds.
        """
        document = loader.parse(path)
        loaded = load_plugins(plugins, document.plugin_files, document.disabled)
        settings, problems = loader.structure(
            document,
            loaded.register_sinks(),
            loaded.register_sources(),
            rules_by_name(loaded),
        )
        if not delivers:
            settings = attrs.evolve(settings, sinks={})
        if strict is not None:
            settings = attrs.evolve(settings, core=attrs.evolve(settings.core, strict=strict))
        return cls(settings, plugins=loaded, sinks=sinks, store=store, now=now, problems=problems)

    @property
    def feedback(self) -> Feedback:
        """Prompts: which one to show to whom, what became of it, and why not another."""
        if self._feedback is None:
            settings = self.settings
            self._feedback = Feedback(
                self.store,
                Reader(self.store, self._asks, self._plans),
                self.plugins,
                mode=settings.consent.mode,
                record=self._record,
                refuse=self.consent,
                now=self._parts.now,
                redacts=Pattern.EMAIL in settings.redaction.patterns,
            )
        return self._feedback

    @property
    def cases(self) -> Casework:
        """Complaints that somebody follows up: whose they are, by when, and what was done."""
        return self.feedback.cases

    @property
    def browse(self) -> Browsing:
        """What there is of customers, a page at a time."""
        return Browsing(self.store, self._plans)

    # Capture

    def track(
        self,
        name: str,
        properties: Mapping[str, Any] | None = None,
        *,
        customer: Customer | str | None = None,
        at: datetime | None = None,
        id: str | None = None,
        durable: bool = False,
    ) -> Receipt:
        """
        Record that a customer met the company.

        Costs microseconds and waits for nobody.

        Args:
            name: What happened: a standard name such as `"Product Added"`, or one of your own.

            properties: What else to know about it; anything with a JSON form.

            customer: Whom it happened to, as a `Customer` or a user id; the bound customer if not
                given.

            at: When it happened; now if not given.

            id: An id of your own; a second event with the same id is left out.

            durable: Wait until the event is in the Log, for five seconds at most, so that not even
                the loss of power takes it.

        Returns:
            A receipt, truthy if the event was accepted, else with the reason.

        Raises:
            EventRejected: Only if the kit is strict.
        """
        receipt = self._record(name, properties, customer, at, id)
        if durable and receipt and not self._wait_committed(self._tail.appended):
            return Receipt(receipt.id, "pending", "it is kept, and not in the Log yet")
        return receipt

    def track_history(
        self,
        name: str,
        properties: Mapping[str, Any] | None = None,
        *,
        customer: Customer | str,
        at: datetime,
        id: str,
        deliver: bool = False,
    ) -> Receipt:
        """
        Record something that happened before journeykit was there.

        It counts like any event, but is no news: it goes to no sink unless *deliver* is true.
        The arguments are those of `track()`.
        """
        flags = HISTORICAL | DELIVER if deliver else HISTORICAL
        return self._record(name, properties, customer=customer, at=at, id=id, flags=flags)

    def identify(self, user_id: str, *, reason: str = "signed in") -> Receipt:
        """
        Record that the bound customer is the person *user_id*, and go on as that person.

        What the anonymous customer did before becomes theirs.
        Call it where somebody signs up or signs in, before the event that says so.
        """
        if not user_id:
            return self._tracker.refuse(
                "customer.identified", "bad_customer", "there is no user id"
            )
        bound = current()
        person = attrs.evolve(current_customer(), user_id=str(user_id))
        receipt = self._record(
            "customer.identified",
            None,
            customer=person,
            kind=Kind.FACT,
            actor="customer",
            reason=reason,
        )
        if bound is not None and receipt.reason != "bad_customer":
            bound.rebind(person)
        return receipt

    def unmerge(self, anonymous_id: str, *, reason: str, actor: str = "shop") -> Receipt:
        """
        Record that an anonymous customer is not the person whom they were taken for.

        Both histories are folded again: each keeps its own events.
        Only another `identify()` makes the two one again; an event that names both does not.

        Args:
            anonymous_id: The anonymous id, as `customer.merged` names it.

            reason: Why, for those who read it later.

            actor: Who says so.
        """
        # Whoever is bound here is who decides it, not whom it is about.
        with self.bind_customer(Customer(anonymous_id=anonymous_id)):
            return self._record(
                UNMERGED, None, kind=Kind.FACT, actor=actor, reason=reason, anyway=True
            )

    def merged_with(self, anonymous_id: str) -> str | None:
        """Return the user id of the person whom an anonymous customer is, as far as is known."""
        return linked_to(self.store, anonymous_id)

    def opt_out(
        self,
        journey: str,
        *,
        customer: Customer | str | None = None,
        reason: str,
        actor: str = "customer",
        revoke: bool = False,
    ) -> Receipt:
        """
        Record that a customer wants no part in a journey any more.

        Their runs through it end, and no other begins until somebody revokes it.

        Args:
            journey: The journey's key.

            customer: Who; the bound customer if not given.

            actor: Who decided it: `"customer"`, or a member of the staff.

            revoke: Take it back: from now on runs may begin again.

        Raises:
            LookupError: There is no such journey.
        """
        self._declared(journey)
        properties = {"journey": journey, **({"revoked": True} if revoke else {})}
        return self._record(
            OPTED_OUT_FACT, properties, customer, kind=Kind.FACT, actor=actor, reason=reason
        )

    def transfer(  # noqa: PLR0913 - who, from where, to where, and why
        self,
        source: str,
        target: str,
        stage: str,
        *,
        customer: Customer | str | None = None,
        source_instance: str = "",
        target_instance: str = "",
        reason: str,
        actor: str,
    ) -> Receipt:
        """
        Move a customer from one journey into a stage of another.

        The run through *source* ends as `transferred`, and one through *target* goes on, or begins,
        at *stage*, whatever the journeys' rules say; both name the fact as their cause.

        Args:
            source, target: The journeys' keys.

            stage: The key of the stage in *target*.

            customer: Who; the bound customer if not given.

            source_instance, target_instance: Which runs, where journeys have several a customer.

            actor: Who decided it.

        Raises:
            LookupError: There is no such journey or stage, or both journeys are the same.
        """
        self._declared(source)
        stages = [each.key for each in self._declared(target).stages]
        if stage not in stages:
            msg = f"journey {target!r} has no stage {stage!r}; it has {', '.join(stages)}"
            raise LookupError(msg)
        if source == target:
            msg = f"both journeys are {source!r}; name another one to move to"
            raise LookupError(msg)
        properties = {
            "from": source,
            "to": target,
            "stage": stage,
            "from_instance": source_instance,
            "to_instance": target_instance,
        }
        return self._record(
            TRANSFERRED_FACT, properties, customer, kind=Kind.FACT, actor=actor, reason=reason
        )

    def consent(
        self,
        *,
        granted: Iterable[str] = (),
        denied: Iterable[str] = (),
        customer: Customer | str | None = None,
        policy: str | None = None,
        actor: str = "customer",
        reason: str = "chosen",
    ) -> Receipt:
        """
        Record what a customer has agreed to and refused, also where nothing else may be recorded.

        The rest of the request goes on with it.
        To remember it for the next request is yours, or your consent tool's.

        Args:
            granted, denied: Purposes, such as `{"analytics", "marketing", "export:crm"}`.

            customer: Whose consent it is; the bound customer's if not given.

            policy: The version of the text that they were shown.

            actor: Who says so, where it is not the customer.

            reason: Why, or where.
        """
        choice = Choice(granted, denied)
        if choice.problem is not None:
            return self._tracker.refuse(CONSENTED, "bad_purpose", choice.problem)
        opt_in = self.settings.consent.mode is ConsentMode.OPT_IN
        with choice.said(customer, policy, opt_in=opt_in) as properties:
            return self._record(
                CONSENTED, properties, kind=Kind.FACT, actor=actor, reason=reason, anyway=True
            )

    def bind_customer(
        self,
        customer: Customer | str,
        *,
        channel: str | None = None,
        context: Mapping[str, Any] | None = None,
        purposes: Iterable[str] | None = None,
        denied: Iterable[str] = (),
    ) -> AbstractContextManager[Bound]:
        """Let every `track()` in a `with` block be about *customer*; see `bind_customer`."""
        return _bind_customer(
            customer, channel=channel, context=context, purposes=purposes, denied=denied
        )

    def _record(
        self,
        name: str,
        properties: Mapping[str, Any] | None,
        customer: Customer | str | None = None,
        at: datetime | None = None,
        id: str | None = None,
        **more: Any,
    ) -> Receipt:
        refused = self._refused(name)
        if refused is not None:
            return refused
        receipt = self._tracker.track(name, properties, customer, at, id, **more)
        if receipt.id is not None:
            self._wake()
        return receipt

    def _refused(self, name: str) -> Receipt | None:
        """Return the receipt of events that are too late for this kit."""
        if not self._mark[0]:
            # A fork that Python was not told of, as servers written in C do.
            native.reset_after_fork()
            self._reset_after_fork()
        if self._closed:
            if self.settings.core.strict:
                raise EventRejected(name, "closed: this kit was closed")
            return Receipt(None, "closed", "this kit was closed")
        return None

    def _wake(self) -> None:
        try:
            (self._pipeline or self.start()).wake()
        except RuntimeError:
            # No thread can be started while the interpreter shuts down; the event stays accepted.
            _log.warning("journeykit.not_started")

    def _wait_committed(self, count: int) -> bool:
        return self.start().wait_committed(count, _DURABLE_SECONDS)

    # The stages of this process

    def start(self, *, worker: bool = False, commits_only: bool = False) -> Pipeline:
        """
        Start the background threads of this process; the first `track()` does it by itself.

        Args:
            worker: Fold and deliver here, also where the settings leave that to workers.

            commits_only: Leave that to other processes, whatever the settings say.
        """
        with self._starting:
            if self._pipeline is None:
                leave = self.settings.core.stages is StagesIn.WORKER and not worker
                leave |= commits_only
                parts = self._left_to_worker() if leave else self._parts
                self._pipeline = Pipeline(parts)
                self._pipeline.start()
                observe(self)
                # Keeps the kit: what it has accepted is kept also where nobody holds it any more.
                atexit.register(self._at_exit)
            return self._pipeline

    def _left_to_worker(self) -> Parts:
        projected = self._parts.publisher is not None
        left: dict[str, Any] = {"publisher": None, "sinks": (), "erases": False}
        return attrs.evolve(self._parts, **left, projected=projected)

    def flush(self, timeout: float = 5.0) -> bool:
        """
        Wait until everything accepted so far is in the Log, folded, and delivered.

        What time alone brings about by now, such as a basket that was left, is found then, too.

        Returns:
            False if *timeout* seconds were not enough; nothing is lost by that.
        """
        return True if self._closed else self.start().flush(timeout)

    def close(self, timeout: float = 5.0) -> bool:
        """
        Flush, then end the background threads and close the store.

        Events tracked afterwards are refused as `closed`.
        Returns whether the flush came to its end.
        """
        with self._starting:
            pipeline, self._pipeline = self._pipeline, None
            self._closed = True
        flushed = True
        if pipeline is not None:
            deadline = time.monotonic() + timeout
            flushed = pipeline.flush(timeout)
            pipeline.stop(max(_STOP_SECONDS, deadline - time.monotonic()))
        self._tail.close()
        self.store.close()
        atexit.unregister(self._at_exit)
        return flushed

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _reset_after_fork(self) -> None:
        self._mark = native.life_mark()
        self._starting = native.lock()
        self._pipeline = None
        own = (self._tail, self._tracker, self.store, self._feedback, self.plugins.costs)
        parts = (*own, *self._parts.sinks)
        for part in parts:
            # What one of them cannot let go of must not leave the others with locked locks.
            with contextlib.suppress(Exception):
                getattr(part, "reset_after_fork", _nothing)()

    # What it adds up to

    def catch_up(self, timeout: float = 10.0, *, watch: float = 0.0) -> bool:
        """
        Fold what is in the Log and not yet in State, if no other process is doing so.

        Delivers nothing.
        State that was made with other hooks stays as it is: this process may lack plugins that the
        app has.
        So does the State of a journey with a new version: who only looks publishes none.

        Args:
            watch: Also look for steps that began to fail, for so many seconds at most.

        Returns:
            Whether State is as far as the Log, and made by these declarations.
        """
        publisher = self._parts.publisher
        if publisher is None:
            return True
        parts = attrs.evolve(self._parts, sinks=(), erases=False)
        parts = parts if watch else attrs.evolve(parts, watch=None)
        pipeline = self._pipeline or Pipeline(parts)
        if not publisher.may_look(self.store.published(), pipeline.projector.made_by()):
            return False
        if pipeline is self._pipeline:
            folded = pipeline.flush(timeout, delivered=False)
            if watch:
                pipeline.watch(watch)
        else:
            pipeline.start()
            folded = pipeline.flush(timeout, delivered=False)
            if watch:
                pipeline.watch(watch)
            pipeline.stop(timeout)
        made_by = pipeline.projector.made_by()
        return folded and publisher.has_made(self.store.published(), made_by)

    def rebuild(self, timeout: float = 3600.0) -> bool:
        """
        Make State again from the Log; delivers nothing, and derives nothing a second time.

        Returns:
            Whether State is as far as the Log.

        Raises:
            StoreError: Another process is folding.
        """
        lease = self.store.lead(PROJECTOR)
        if lease is None:
            msg = f"store {self.store.name}: another process folds its events; end that one first"
            raise StoreError(msg)
        try:
            Pipeline(self._parts).projector.rebuild()
        finally:
            lease.release()
        return self.catch_up(timeout)

    def report(self) -> Report:
        """
        Return the figures of all journeys, the scores, and where customers hurt, the worst first.

        It reads a row a version, and one an instance where rules have found something.
        Steps that began to fail are those of the last day that was over; `watch()` has it look now.
        """
        plans = self._plans()
        found = report(self.store, plans, self._watch(plans))
        return attrs.evolve(found, scores=self.feedback.scores())

    def watch(self, timeout: float = 600.0) -> bool:
        """
        Look for steps that began to fail now, which is else done when a day is over.

        Returns:
            Whether it was done; else another process does so, or *timeout* seconds were not enough.
        """
        return self.start().watch(timeout)

    def explain(self, customer: Customer | str, most: int | None = None) -> Explanation | None:
        """
        Return a customer's path through every journey, with the rule behind each step.

        Stages that plugins named are told as the declared rules have them.
        Returns None if no event of theirs was folded.

        Args:
            most: How many instances to tell, those with the latest events; None for all.
        """
        who = Customer.of(customer)
        return explain(self.store, self._plans(), who.user_id, who.anonymous_id, most)

    def pain_points(
        self, *, everything: bool = False, where: FoundWhere | None = None
    ) -> list[PainPointFigures]:
        """
        Return what the rules have found, by code, the most customers first.

        Args:
            everything: Also what is muted, or resolved and not found since.

            where: Only where customers were in that journey or stage, or belong to that segment.
        """
        found = pain_points(self.store, self._causes, where=where)
        return [each for each in found if everything or each.is_open]

    def pain_point(
        self, code: str, limit: int = 20
    ) -> tuple[PainPointFigures | None, list[PainPointCase]]:
        """
        Return one pain point, and for whom and what it was found, the latest first.

        Raises:
            LookupError: No rule finds it, and none has.
        """
        found = pain_points(self.store, self._causes, code)
        if not found:
            self._check_code(code)
            return None, []
        return found[0], cases(self.store, code, limit)

    def mute(self, code: str, *, reason: str, actor: str, undo: bool = False) -> Receipt:
        """
        Record that a pain point is to be left out of lists; it is found as before.

        Args:
            reason: Why, for those who read it later.

            actor: Who says so.

            undo: Take it back.

        Raises:
            LookupError: No rule finds it, and none has.
        """
        properties = {"code": code, **({"revoked": True} if undo else {})}
        return self._decide(MUTED, code, properties, reason, actor)

    def resolve(self, code: str, *, reason: str, actor: str, cause: str | None = None) -> Receipt:
        """
        Record that a pain point is resolved; where it is found again later, it is open again.

        Args:
            reason: What was done, for those who read it later.

            actor: Who says so.

            cause: What lay behind it.

        Raises:
            LookupError: No rule finds it, and none has.
        """
        properties = {"code": code, **({"cause": cause} if cause else {})}
        return self._decide(RESOLVED, code, properties, reason, actor)

    def _decide(
        self, fact: str, code: str, properties: dict[str, Any], reason: str, actor: str
    ) -> Receipt:
        self._check_code(code)
        return self._record(
            fact, properties, NOBODY, kind=Kind.FACT, actor=actor, reason=reason, anyway=True
        )

    def _check_code(self, code: str) -> None:
        codes = {rule.code for rule in self._rules}
        if code not in codes and not any(True for _ in findings(self.store, code)):
            known = ", ".join(sorted(codes)) or "none"
            msg = f"there is no pain point {code!r}; there are: {known}"
            raise LookupError(msg)

    @property
    def _causes(self) -> dict[str, tuple[str, ...]]:
        declared = self.settings.pain_points
        return {
            rule.code: declared[rule.name].options.causes
            for rule in self._rules
            if rule.name in declared
        }

    @property
    def unfed_rules(self) -> tuple[PainPointRule, ...]:
        """The rules that no declared event reaches, as far as that can be told."""
        return tuple(self._unfed)

    @property
    def rules(self) -> tuple[PainPointRule, ...]:
        """The pain-point rules in force."""
        return self._rules

    @property
    def journeys(self) -> tuple[Journey, ...]:
        """The declared journeys, complete with what their templates give them."""
        return self._journeys

    def _plans(self) -> tuple[Plan, ...]:
        """Return the plans of every version that is declared or was published."""
        publisher = self._parts.publisher
        if publisher is None:
            return ()
        facts = self.store.published()
        known, plans = self._planned
        if known != len(facts):
            plans = publisher.plans(facts)
            self._planned = len(facts), plans
        return plans

    @property
    def sinks(self) -> tuple[Sink, ...]:
        """The sinks."""
        return tuple(self._parts.sinks)

    @property
    def gates(self) -> Mapping[str, Gate]:
        """What each sink asks of its events' customers, by the sink's name."""
        return self._parts.gates

    @property
    def committed(self) -> dict[str, int]:
        """What became of the events that this process accepted and has dealt with."""
        committer = self.start().committer
        return {
            "added": committer.added,
            "already_there": committer.repeated,
            "parked": committer.parked,
            "withheld": committer.withheld,
            "erased": committer.erased,
        }

    @property
    def receipts(self) -> dict[str, int]:
        """How many receipts this process gave: `accepted`, and each reason of a refusal."""
        return dict(self._tracker.counts)

    @property
    def waiting(self) -> int:
        """How many events this process has accepted and not yet committed."""
        return len(self._tail)

    @property
    def dropped(self) -> int:
        """How many accepted events went for newer ones, where `when_full` is `"drop_old"`."""
        return self._tail.dropped.count

    @property
    def store_error(self) -> str | None:
        """What the store said last, while it does not work."""
        return self._pipeline.store_error if self._pipeline else None

    def customers(self, journey: str, limit: int = 50) -> list[CustomerStage]:
        """
        Return which stage each customer of a journey is in, the latest seen first.

        Args:
            journey: The journey's key.

        Raises:
            LookupError: There is no such journey.
        """
        return customers(self.store, self._versions(journey), limit)

    def _versions(self, journey: str) -> list[Plan]:
        """Return the versions of a journey, the oldest first."""
        self._declared(journey)
        return [plan for plan in self._plans() if plan.journey.key == journey]

    def _declared(self, journey: str) -> Journey:
        """Return the newest declared version of a journey."""
        found = [each for each in self._journeys if each.key == journey]
        if not found:
            known = ", ".join(sorted({each.key for each in self._journeys})) or "none"
            msg = f"there is no journey {journey!r}; there are: {known}"
            raise LookupError(msg)
        return max(found, key=lambda each: each.version)

    def status(self) -> dict[str, Any]:
        """Return what a person who runs the shop wants to know, as JSON values."""
        pipeline = self._pipeline
        sinks = pipeline.sink_status() if pipeline else {}
        counters = self.store.counters()
        return {
            "store": self.store.name,
            "store_bytes": dict(self.store.sizes()),
            "store_error": pipeline.store_error if pipeline else None,
            "process": os.getpid(),
            "started": pipeline is not None,
            "leads": pipeline is not None and pipeline.leads,
            "waiting": len(self._tail),
            "dropped": self._tail.dropped.count,
            "receipts": self.receipts,
            "requests": dict(self.requests),
            "counters": counters,
            "damage": damage(counters, self.store.name),
            "parked": self.store.parked_counts(),
            "watch": watching(self.store, self.settings.insight.segments),
            "sinks": [
                {
                    "name": sink.name,
                    **(sinks.get(sink.name) or told(self.store, sink.name)),
                    "behind": bool(self.store.read(self.store.cursor(f"sink:{sink.name}"), 1)),
                }
                for sink in self._parts.sinks
            ],
            "tripped": [attrs.asdict(trip) for trip in pipeline.trips] if pipeline else [],
            "behind": self.is_behind,
        }

    @property
    def is_behind(self) -> bool:
        """Whether the Log has events that were not folded."""
        if self._parts.publisher is None:
            return False
        return bool(self.store.read(self.store.cursor(PROJECTOR), 1, derived=False))

    # Customers who want to be forgotten

    def erase(
        self, customer: Customer | str, *, reason: str, actor: str, timeout: float = 10.0
    ) -> ErasureReport:
        """
        Forget a customer: everything up to now, under every id that is known to be theirs.

        What is tracked from now on begins a new customer.
        It is a fact in the Log with a keyed hash of each id, so that events that come late are
        recognised and left out.

        Args:
            customer: A `Customer`, or a user id.

            reason: Why; it stays in the Log, so it must not name the customer.

            actor: Who asked for it: `"customer"`, or what your shop calls the colleague.

            timeout: How many seconds to wait for it to come to its end.

        Returns:
            What was done in each place, and what waits; `erasures()` tells later.

        Raises:
            ValueError: There is no id, or the reason or the actor has it in it.

            StoreError: The store did not take the request; nothing is erased.
        """
        whom = Customer.of(customer)
        check(whom, actor, reason)
        deadline = time.monotonic() + timeout
        pipeline = self.start()
        # What this process knows already belongs to what is erased.
        pipeline.wait_committed(self._tail.appended, min(timeout, _BEFORE_ERASING))
        now = self._parts.now()
        stated = fact(actor, reason, self._tracker.source, now)
        sinks = [sink.name for sink in self._parts.sinks]
        self.store.claims.forget([key_of(one) for one in ids_of(whom)])
        self.store.erasing.begin(stated, ids_of(whom), sinks, now)
        pipeline.erase()
        while True:
            found = self._erasure(stated.id)
            if found.done or time.monotonic() >= deadline:
                return found
            native.sleep(_LOOK_SECONDS)

    def erasures(self, limit: int = 50) -> list[ErasureReport]:
        """Return what became of the last requests to forget a customer, the latest first."""
        return [erasure_report(self.store, each) for each in self.store.erasing.recent(limit)]

    def give_up_erasing(self, sink: str) -> int:
        """
        Wait no longer until *sink* has erased customers, where no process delivers to it any more.

        Returns how many requests waited for it.
        """
        waiting = [
            erasure
            for erasure in self.store.erasing.pending()
            if erasure.sinks.get(sink, ("", ""))[0] == QUEUED
        ]
        for erasure in waiting:
            answer = "failed", "given up: see to it there"
            self.store.erasing.answer(erasure.number, sink, *answer)
        self.start().erase()
        return len(waiting)

    @property
    def knows_all_hooks(self) -> bool:
        """Whether this process has the hooks that State was made with; it may fold if it has."""
        return self._knows(Pipeline(attrs.evolve(self._parts, sinks=())).projector.made_by())

    def _knows(self, made_by: Any) -> bool:
        publisher = self._parts.publisher
        return made_by is None or publisher is None or publisher.knows_hooks_of(made_by)

    def _erasure(self, event: str) -> ErasureReport:
        erasure = self.store.erasing.find(event)
        if erasure is None:
            msg = f"store {self.store.name}: the erasure {event} is not there"
            raise StoreError(msg)
        return erasure_report(self.store, erasure)

    # Parked events

    def parked(self, owner: str | None = None, *, after: int = 0, limit: int = 100) -> list[Parked]:
        """
        Return events that were set aside, oldest first.

        Args:
            owner: `"sink:NAME"` or `"plugin:NAME"`; None for all.

            after: Only those behind this number.
        """
        return self.store.parked(owner, after=after, limit=limit)

    def replay_parked(self, owner: str | None = None, numbers: Sequence[int] | None = None) -> int:
        """Try parked events once more, all or those *numbers*, in the background: how many."""
        count = self.store.replay(owner, numbers)
        self.start().look()
        return count

    def drop_parked(self, numbers: Sequence[int]) -> int:
        """Delete parked events by their numbers, for good; returns how many there were."""
        return self.store.drop(numbers)


def _nothing() -> None:
    pass


def _after_fork(kit: JourneyKit) -> None:
    """Let a forked child begin anew: other ids, no threads, none of its parent's events."""
    reference = weakref.ref(kit)

    def reset() -> None:
        alive = reference()
        if alive is not None:
            alive._reset_after_fork()  # noqa: SLF001 - our own

    os.register_at_fork(after_in_child=reset)
