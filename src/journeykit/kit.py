"""`JourneyKit`, which an app holds: builds the parts and joins them."""

from __future__ import annotations

import atexit
import contextlib
import functools
import hashlib
import logging
import os
import socket
import time
import weakref
from collections import Counter
from typing import TYPE_CHECKING, Any, Final, Self

import attrs

from journeykit import native
from journeykit.capture import Bound, MemoryTail, Spool, Tail, Tracker
from journeykit.capture import bind_customer as _bind_customer
from journeykit.capture.context import current
from journeykit.config import loader
from journeykit.config.settings import ConsentMode, Settings
from journeykit.delivery import builtin
from journeykit.delivery.relay import NO_STATUS
from journeykit.exceptions import ConfigError, EventRejected
from journeykit.insight import CustomerStage, Report, customers, report
from journeykit.journeys import FOLD_VERSION, Declared, declare, folds, plans
from journeykit.model.customer import Customer
from journeykit.model.event import DELIVER, HISTORICAL, Kind
from journeykit.model.receipt import Receipt
from journeykit.pipeline import Parts, Pipeline
from journeykit.plugins import Plugins, load_file
from journeykit.store import open_store
from journeykit.store.protocol import PROJECTOR

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from contextlib import AbstractContextManager
    from datetime import datetime
    from pathlib import Path

    from journeykit.delivery.sink import Sink
    from journeykit.model.extension import Endpoint
    from journeykit.model.journey import Journey
    from journeykit.store.protocol import Parked, Store

_log = logging.getLogger("journeykit")

#: How long a durable event waits for the Log, in seconds.
_DURABLE_SECONDS: Final = 5.0

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
        core = settings.core
        if not isinstance(plugins, Plugins):
            own = [*plugins, *map(load_file, settings.plugins.files)]
            plugins = Plugins(own, builtin=[builtin], disabled=settings.plugins.disabled)
        plugins.strict = core.strict
        plugins.register_rules()
        journeys = (*settings.journeys, *plugins.register_journeys())
        declared, mistakes = declare(journeys, settings.touchpoints, settings.names)
        built, unbuilt = _build_sinks(settings, sinks)
        store, unopened = _store(settings, store)
        found = [*problems, *mistakes, *unbuilt, *unopened]
        if found or store is None:
            raise ConfigError(found, source=settings.origin)
        self.settings = settings
        self.plugins = plugins
        self.endpoints: list[Endpoint] = plugins.register_endpoints(settings)
        self.store = store
        self._plans = plans(declared)
        self._tail = _tail(store, core.buffer_bytes)
        self._tracker = Tracker(
            self._tail,
            source={"app": core.app or settings.base.name, "host": socket.gethostname()},
            channels=declared.channels,
            opt_in=settings.consent.mode is ConsentMode.OPT_IN,
            strict=core.strict,
            now=now,
        )
        self._parts = Parts(
            store=store,
            tail=self._tail,
            plugins=plugins,
            folds=folds(self._plans, plugins),
            declaration=_fingerprint(declared, settings, plugins),
            sinks=built,
            plugin_timeout=core.plugin_timeout.total_seconds(),
            now=now,
            options={name: declared.options for name, declared in settings.sinks.items()},
        )
        self._pipeline: Pipeline | None = None
        self._starting = native.lock()
        self._closed = False
        self._at_exit = functools.partial(self.close, _EXIT_SECONDS)
        _after_fork(self)

    @classmethod
    def from_toml(
        cls,
        path: str | Path,
        *,
        plugins: Iterable[object] = (),
        sinks: Iterable[Sink] = (),
        strict: bool | None = None,
    ) -> JourneyKit:
        """
        Return the kit that the file at *path* declares.

        Args:
            plugins: The app's own plugins.

            sinks: Sinks built in Python, besides those of the file.

            strict: Overrides `[journeykit] strict`.

        Raises:
            ConfigError: The file has mistakes; it names all of them.

            PluginError: A plugin failed while it was asked what it adds.
        """
        document = loader.parse(path)
        own = [*plugins, *map(load_file, document.plugin_files)]
        loaded = Plugins(own, builtin=[builtin], disabled=document.disabled)
        settings, problems = loader.structure(
            document, loaded.register_sinks(), loaded.register_sources()
        )
        if strict is not None:
            settings = attrs.evolve(settings, core=attrs.evolve(settings.core, strict=strict))
        return cls(settings, plugins=loaded, sinks=sinks, problems=problems)

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
        receipt = self._record(name, properties, customer=customer, at=at, id=id)
        if durable and receipt:
            count = self._tail.appended
            if not self.start().wait_committed(count, _DURABLE_SECONDS):
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
        person = attrs.evolve(_customer_of(bound), user_id=str(user_id))
        receipt = self._record(
            "customer.identified",
            None,
            customer=person,
            kind=Kind.FACT,
            actor="customer",
            reason=reason,
        )
        if bound is not None:
            bound.rebind(person)
        return receipt

    def bind_customer(
        self,
        customer: Customer | str,
        *,
        channel: str | None = None,
        context: Mapping[str, Any] | None = None,
        purposes: Iterable[str] | None = None,
    ) -> AbstractContextManager[Bound]:
        """Let every `track()` in a `with` block be about *customer*; see `bind_customer`."""
        return _bind_customer(customer, channel=channel, context=context, purposes=purposes)

    def _record(self, name: str, properties: Mapping[str, Any] | None, **more: Any) -> Receipt:
        if self._closed:
            if self.settings.core.strict:
                raise EventRejected(name, "closed: this kit was closed")
            return Receipt(None, "closed", "this kit was closed")
        receipt = self._tracker.track(name, properties, **more)
        if receipt:
            self._wake()
        return receipt

    def _wake(self) -> None:
        try:
            (self._pipeline or self.start()).wake()
        except RuntimeError:
            # No thread can be started while the interpreter shuts down; the event stays accepted.
            _log.warning("journeykit.not_started")

    # The stages of this process

    def start(self) -> Pipeline:
        """Start the background threads of this process; the first `track()` does it by itself."""
        with self._starting:
            if self._pipeline is None:
                self._pipeline = Pipeline(self._parts)
                self._pipeline.start()
                # Keeps the kit: what it has accepted is kept also where nobody holds it any more.
                atexit.register(self._at_exit)
            return self._pipeline

    def flush(self, timeout: float = 5.0) -> bool:
        """
        Wait until everything accepted so far is in the Log, folded, and delivered.

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
        self._starting = native.lock()
        self._pipeline = None
        parts = (self._tail, self._tracker, self.store, *self._parts.sinks)
        for part in parts:
            # What one of them cannot let go of must not leave the others with locked locks.
            with contextlib.suppress(Exception):
                getattr(part, "reset_after_fork", _nothing)()

    # What it adds up to

    def catch_up(self, timeout: float = 10.0) -> bool:
        """
        Fold what is in the Log and not yet in State, if no other process is doing so.

        Delivers nothing.
        State that was made with other hooks stays as it is: this process may lack plugins that the
        app has.

        Returns:
            Whether State is as far as the Log, and made by these declarations.
        """
        if not self._parts.folds:
            return True
        own = self._parts.declaration
        pipeline = self._pipeline or Pipeline(attrs.evolve(self._parts, sinks=()))
        made_by = pipeline.projector.made_by()
        if made_by is not None and _hooks_of(made_by) != _hooks_of(own):
            return False
        if pipeline is self._pipeline:
            folded = pipeline.flush(timeout, delivered=False)
        else:
            pipeline.start()
            folded = pipeline.flush(timeout, delivered=False)
            pipeline.stop(timeout)
        return folded and pipeline.projector.made_by() == own

    def report(self) -> Report:
        """Return the figures of all journeys, as far as events have been folded."""
        return report(self.store, self._plans)

    @property
    def journeys(self) -> tuple[Journey, ...]:
        """The declared journeys, complete with what their templates give them."""
        return tuple(plan.journey for plan in self._plans)

    @property
    def sinks(self) -> tuple[Sink, ...]:
        """The sinks."""
        return tuple(self._parts.sinks)

    @property
    def committed(self) -> dict[str, int]:
        """What became of the events that this process accepted and has dealt with."""
        committer = self.start().committer
        return {
            "added": committer.added,
            "already_there": committer.repeated,
            "parked": committer.parked,
            "withheld": committer.withheld,
        }

    @property
    def waiting(self) -> int:
        """How many events this process has accepted and not yet committed."""
        return len(self._tail)

    @property
    def store_error(self) -> str | None:
        """What the store said last, while it does not work."""
        return self._pipeline.store_error if self._pipeline else None

    def customers(self, journey: str, limit: int = 50) -> list[CustomerStage]:
        """
        Return which stage each customer of a journey is in, the latest seen first.

        Args:
            journey: The journey's key; of several versions the highest.

        Raises:
            LookupError: There is no such journey.
        """
        found = [plan for plan in self._plans if plan.journey.key == journey]
        if not found:
            known = ", ".join(sorted({plan.journey.key for plan in self._plans})) or "none"
            msg = f"there is no journey {journey!r}; there are: {known}"
            raise LookupError(msg)
        plan = max(found, key=lambda plan: plan.journey.version)
        return customers(self.store, plan, limit)

    def status(self) -> dict[str, Any]:
        """Return what a person who runs the shop wants to know, as JSON values."""
        pipeline = self._pipeline
        sinks = pipeline.sink_status() if pipeline else {}
        parked = Counter(item.owner for item in self.store.parked(limit=100_000))
        return {
            "store": self.store.name,
            "store_error": pipeline.store_error if pipeline else None,
            "process": os.getpid(),
            "started": pipeline is not None,
            "leads": pipeline is not None and pipeline.leads,
            "waiting": len(self._tail),
            "receipts": dict(self._tracker.counts),
            "counters": self.store.counters(),
            "parked": dict(parked),
            "sinks": [
                {
                    "name": sink.name,
                    **sinks.get(sink.name, NO_STATUS),
                    "behind": bool(self.store.read(self.store.cursor(f"sink:{sink.name}"), 1)),
                }
                for sink in self._parts.sinks
            ],
            "tripped": [attrs.asdict(trip) for trip in pipeline.trips] if pipeline else [],
            "behind": self._is_behind(),
        }

    def _is_behind(self) -> bool:
        """Return whether the Log has events that were not folded."""
        if not self._parts.folds:
            return False
        return bool(self.store.read(self.store.cursor(PROJECTOR), 1))

    # Parked events

    def parked(self, owner: str | None = None, *, limit: int = 100) -> list[Parked]:
        """
        Return events that were set aside, oldest first.

        Args:
            owner: `"sink:NAME"` or `"plugin:NAME"`; None for all.
        """
        return self.store.parked(owner, limit=limit)

    def replay_parked(self, owner: str | None = None) -> int:
        """Try parked events once more, in the background; returns how many."""
        count = self.store.replay(owner)
        self.start().look()
        return count


def _nothing() -> None:
    pass


def _customer_of(bound: Bound | None) -> Customer:
    try:
        return bound.customer if bound is not None else Customer()
    except Exception:  # noqa: BLE001 - the app's own function; its page goes on
        return Customer()


def _tail(store: Store, limit_bytes: int) -> Tail:
    return MemoryTail(limit_bytes) if store.spool is None else Spool(store.spool, limit_bytes)


def _store(settings: Settings, store: Store | None) -> tuple[Store | None, list[str]]:
    if store is not None:
        return store, []
    try:
        return open_store(settings.core.store, str(settings.base)), []
    except ConfigError as error:
        return None, list(error.problems)


def _build_sinks(settings: Settings, given: Iterable[Sink]) -> tuple[list[Sink], list[str]]:
    sinks, problems = list(given), []
    for name, declared in settings.sinks.items():
        try:
            sinks.append(declared.type.build(name, declared.settings))
        except Exception as error:  # noqa: BLE001 - a plugin's own code; told with its key path
            problems.append(f"sinks.{name}: {type(error).__name__}: {error}")
    problems += [
        f"sinks: {sink!r} is no sink; it needs a name and deliver(batch)"
        for sink in sinks
        if not isinstance(getattr(sink, "name", None), str) or not hasattr(sink, "deliver")
    ]
    for name, count in Counter(getattr(sink, "name", "") for sink in sinks).items():
        if count > 1:
            problems.append(f"sinks: {name!r} is declared {count} times; give each its own name")
    return sinks, problems


def _fingerprint(declared: Declared, settings: Settings, plugins: Plugins) -> str:
    """Return what changes when the same Log would fold to another State: a hash, and the hooks."""
    parts = repr((FOLD_VERSION, declared.journeys, sorted(settings.names.items())))
    digest = hashlib.blake2b(parts.encode(), digest_size=16).hexdigest()
    hooks = [hook for hook in ("detect_stage", "detect_pain_points") if plugins.implements(hook)]
    return f"{digest}:{','.join(hooks)}"


def _hooks_of(fingerprint: str) -> str:
    return fingerprint.partition(":")[2]


def _after_fork(kit: JourneyKit) -> None:
    """Let a forked child begin anew: other ids, no threads, none of its parent's events."""
    reference = weakref.ref(kit)

    def reset() -> None:
        alive = reference()
        if alive is not None:
            alive._reset_after_fork()  # noqa: SLF001 - our own

    os.register_at_fork(after_in_child=reset)
