"""
The stages of the path in one process: committer, projector, a relay for each sink.

What is not declared does not run: without journeys no projector, without sinks no relay.
Projector and relays run in one process of a host at a time, the one that holds their lock.
"""

from __future__ import annotations

import functools
import logging
import time
from typing import TYPE_CHECKING, Any, Final

import attrs

from journeykit import native
from journeykit.capture.redaction import Redactor
from journeykit.delivery.relay import Relay
from journeykit.exceptions import Outdated, StoreError, VersionChanged
from journeykit.insight.watcher import Watcher
from journeykit.model.extension import SinkOptions
from journeykit.runtime import Ticker, Worker
from journeykit.store.committer import Committer
from journeykit.store.eraser import ERASER, Eraser
from journeykit.store.projector import Projector
from journeykit.store.protocol import PROJECTOR, WATCHER
from journeykit.store.view import next_deadline

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from journeykit.capture.tail import Tail
    from journeykit.delivery.gate import Gate
    from journeykit.delivery.sink import Sink
    from journeykit.insight import Watch
    from journeykit.journeys import Publisher
    from journeykit.plugins import Plugins
    from journeykit.store.protocol import Lease, Position, Store

#: How often `flush` wakes stages that wait after a failure, in seconds.
_PATIENCE: Final = 0.25

#: How often a durable `track` looks whether it is committed, in seconds.
_WAIT: Final = 0.001

#: How often `flush` looks whether all is done, besides after each step of this process, in seconds.
_LOOK: Final = 0.005

#: How long a led stage rests after it has done what there was, in seconds: what comes meanwhile is
#: done together, for a transaction costs more than ten events.
#: The first event after a quiet time does not wait, nor does anything while somebody flushes.
_REST: Final = 0.05

_log = logging.getLogger("journeykit")


@attrs.frozen
class Parts:
    """What a pipeline is made of."""

    store: Store
    tail: Tail
    plugins: Plugins
    publisher: Publisher | None
    sinks: Sequence[Sink]
    plugin_timeout: float
    now: Callable[[], int]
    options: Mapping[str, SinkOptions] = attrs.field(factory=dict)
    gates: Mapping[str, Gate] = attrs.field(factory=dict)
    redactor: Redactor = attrs.field(factory=Redactor)
    #: Returns what is watched; None where nothing is.
    watch: Callable[[], Watch] | None = None
    #: Whether what is left of customers who were erased is deleted here; and whether a projector,
    #: wherever it runs, finds out who they are.
    erases: bool = True
    projected: bool = False


@attrs.frozen
class Trip:
    """
    A plugin that hung.

    Args:
        plugin, hook: Who, and where.

        stage: The worker that was waiting for it.

        position: From which place in the Log on the plugin is not asked; None where it hung before
            the Log.
    """

    plugin: str
    hook: str
    stage: str
    position: Position = None


class Led:
    """
    A stage that runs only while this process leads it.

    Args:
        began: Called when this process begins to lead.

        hurry: Whether somebody waits, so that the stage does not rest.

        rest: How long the stage wants to rest after what it has just done, in seconds.
    """

    def __init__(
        self,
        store: Store,
        role: str,
        stage: Projector | Relay | Eraser | Watcher,
        began: Callable[[], None],
        hurry: Callable[[], bool] = lambda: True,
        *,
        rest: Callable[[], float] = lambda: _REST,
    ) -> None:
        self._store = store
        self._role = role
        self._stage = stage
        self._began = began
        self._hurry = hurry
        self._rest = rest
        self._rests_until = 0.0
        self._lease: Lease | None = None

    @property
    def leads(self) -> bool:
        """Whether this process leads."""
        return self._lease is not None

    def step(self) -> float | None:
        """Do a slice of work, if this process leads or can begin to."""
        try:
            if self._lease is None:
                self._store.check_writer()
                self._lease = self._store.lead(self._role)
                if self._lease is None:
                    return None
                self._began()
            return self._slice()
        except Outdated:
            self.release()
            raise

    def _slice(self) -> float | None:
        rest = self._rests_until - time.monotonic()
        if rest > 0 and not self._hurry():
            return rest
        delay = self._stage.step()
        if delay is None or (delay == 0 and not self._stage.filled):
            rest = max(_REST, self._rest())
            self._rests_until = time.monotonic() + rest
            return delay if delay is None or self._hurry() else rest
        return delay

    def free(self) -> bool:
        """Return whether nobody leads."""
        lease = self._store.lead(self._role)
        if lease is not None:
            lease.release()
        return lease is not None

    def release(self) -> None:
        """Let another process lead."""
        lease, self._lease = self._lease, None
        if lease is not None:
            lease.release()


class Pipeline:
    """Builds the stages from *parts* and runs them."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self.trips: list[Trip] = []
        #: What the store said last, while it does not work.
        self.store_error: str | None = None
        #: Why nothing is folded, which other stages that go well do not change.
        self._unfolded: str | None = None
        self._shut_out = False
        self._signal: object = None
        self._failure: BaseException | None = None
        self._moved = native.Signal()
        self.committer = Committer(
            parts.store,
            parts.tail,
            parts.plugins,
            now=parts.now,
            redactor=parts.redactor,
            committed=self._committed,
        )
        self.projector = Projector(
            parts.store,
            prepare=parts.publisher.prepare if parts.publisher is not None else None,
            now=parts.now,
            projected=self._wake_relays,
            costs=parts.plugins.costs,
        )
        self.relays = [self._relay(sink) for sink in parts.sinks]
        self._led: list[tuple[Led, Worker]] = []
        self._commit = Worker("committer", self._guarded(self.committer.step))
        self.committer.right = self._commit.right_to_commit
        if parts.publisher:
            self._project = self._lead(PROJECTOR, self.projector, began=self.projector.forget)
        self.watcher: Watcher | None = None
        if parts.publisher and parts.watch:
            self.watcher = Watcher(parts.store, parts.watch, now=parts.now, told=self._wake_relays)
            self._lead(WATCHER, self.watcher, began=self.watcher.forget)
        self._relay_workers = [
            self._lead(
                relay.owner,
                relay,
                ended=functools.partial(_close, relay.sink),
                rest=functools.partial(getattr, relay, "rest"),
            )
            for relay in self.relays
        ]
        self.eraser = Eraser(parts.store, projected=parts.projected or parts.publisher is not None)
        self._erase = self._lead(ERASER, self.eraser) if parts.erases else None
        #: How far erasures had come when this process last left no bytes behind.
        self._progress = 0
        self._workers = (self._commit, *(worker for _, worker in self._led))
        self._ticker = Ticker(
            self._workers, timeout=parts.plugin_timeout, tripped=self._tripped, tick=self._tick
        )

    def start(self) -> None:
        """Start the threads."""
        for worker in self._workers:
            # That one begins when there is something to do.
            if worker is not self._erase:
                worker.start()
        self._ticker.start()

    def erase(self) -> None:
        """Begin what was requested to be erased."""
        self._look_for_erasures()
        self.look()

    def wake(self) -> None:
        """Tell the committer that the tail has something."""
        self._commit.nudge()

    def look(self) -> None:
        """Let every stage look for work now."""
        for worker in self._workers:
            worker.wake()

    def wait_committed(self, count: int, timeout: float) -> bool:
        """Wait until *count* entries of this process are in the Log."""
        deadline = time.monotonic() + timeout
        self.committer.hurry = True
        next_look = 0.0
        try:
            while self._parts.tail.released < count:
                if time.monotonic() >= next_look:
                    self._commit.wake()
                    next_look = time.monotonic() + _PATIENCE
                if time.monotonic() >= deadline:
                    return False
                time.sleep(_WAIT)
        finally:
            self.committer.hurry = False
        return True

    def flush(self, timeout: float, *, delivered: bool = True) -> bool:
        """
        Wait until everything accepted so far is committed and folded, and *delivered* if asked.

        Deadlines that are due by now have passed then, too.
        If the plugins are strict, an error of theirs that stopped a stage is raised here.
        """
        deadline, now = time.monotonic() + timeout, self._parts.now()
        self.committer.hurry = True
        next_look = 0.0
        try:
            while not self._settled(now, delivered=delivered):
                if time.monotonic() >= next_look:
                    self.look()
                    next_look = time.monotonic() + _PATIENCE
                failure, self._failure = self._failure, None
                if failure is not None and self._parts.plugins.strict:
                    raise failure
                if time.monotonic() >= deadline:
                    return False
                native.pause(self._moved, _LOOK)
        finally:
            self.committer.hurry = False
        return True

    def watch(self, timeout: float) -> bool:
        """
        Have what is watched come up to the Log, unless another process sees to that.

        Returns whether it has.
        """
        if self.watcher is None:
            return True
        deadline = time.monotonic() + timeout
        led = next(led for led, worker in self._led if worker.name == WATCHER)
        rest, next_look, self.watcher.asked = native.Signal(), 0.0, True
        while self.watcher.asked and time.monotonic() < deadline:
            if time.monotonic() >= next_look:
                if not led.leads and not led.free() and not led.leads:
                    break
                self.look()
                next_look = time.monotonic() + _PATIENCE
            native.pause(rest, _LOOK)
        done, self.watcher.asked = not self.watcher.asked, False
        return done

    def stop(self, timeout: float) -> None:
        """End the threads after what they are doing; waits *timeout* seconds at most."""
        deadline = time.monotonic() + timeout
        self._ticker.stop()
        for worker in self._workers:
            worker.stop()
        for worker in self._workers:
            worker.join(max(0.0, deadline - time.monotonic()))
        self._ticker.join(max(0.0, deadline - time.monotonic()))
        for worker in self._workers:
            worker.revoke()
        for led, _ in self._led:
            led.release()

    def sink_status(self) -> dict[str, dict[str, Any]]:
        """Return how each sink is doing that this process delivers to."""
        leads = {worker.name: led.leads for led, worker in self._led}
        pairs = zip(self.relays, self._relay_workers, strict=True)
        return {relay.sink.name: relay.status() for relay, worker in pairs if leads[worker.name]}

    @property
    def leads(self) -> bool:
        """Whether this process runs the projector."""
        return self._parts.publisher is not None and self._led[0][0].leads

    def _relay(self, sink: Sink) -> Relay:
        parts = self._parts
        options = parts.options.get(sink.name, SinkOptions())
        return Relay(
            parts.store,
            sink,
            parts.plugins,
            now=parts.now,
            ordering=options.ordering,
            gate=parts.gates.get(sink.name),
            delivered=self._moved.set,
        )

    def _lead(
        self,
        role: str,
        stage: Projector | Relay | Eraser | Watcher,
        *,
        began: Callable[[], None] = lambda: None,
        ended: Callable[[], None] = lambda: None,
        rest: Callable[[], float] = lambda: _REST,
    ) -> Worker:
        led = Led(
            self._parts.store, role, stage, began, hurry=lambda: self.committer.hurry, rest=rest
        )
        # Closed by the thread that has used it: one that hangs in the sink holds up nobody.
        worker = Worker(role.replace(":", "-"), self._guarded(led.step), ended=ended)
        stage.right = worker.right_to_commit
        self._led.append((led, worker))
        return worker

    def _guarded(self, step: Callable[[], float | None]) -> Callable[[], float | None]:
        def guarded() -> float | None:
            try:
                delay = step()
            except VersionChanged as error:
                self.store_error = self._unfolded = str(error)
                raise
            except StoreError as error:
                self.store_error = str(error)
                self._shut_out = self._shut_out or isinstance(error, Outdated)
                raise
            except BaseException as error:
                self._failure = error
                raise
            self._worked()
            return delay

        return guarded

    def _worked(self) -> None:
        # Steps that write nothing go well also where a newer version shuts this one out.
        if self._shut_out:
            try:
                self._parts.store.check_writer()
            except StoreError:
                return
            self._shut_out = False
        self.store_error = self._unfolded

    def _settled(self, now: int, *, delivered: bool) -> bool:
        if len(self._parts.tail):
            return False
        try:
            if not self._all_read(now, delivered=delivered):
                return False
            # After that, for it opens the files of all living processes.
            if self._parts.tail.orphaned():
                return False
            # What was orphaned a moment ago may have come to the Log meanwhile.
            return self._all_read(now, delivered=delivered)
        except StoreError as error:
            self.store_error = str(error)
            return False

    def _all_read(self, now: int, *, delivered: bool) -> bool:
        store = self._parts.store
        if self._parts.publisher:
            if store.read(store.cursor(PROJECTOR), 1, derived=False):
                return False
            first = next_deadline(store)
            if first is not None and first <= now:
                return False
        owners = [relay.owner for relay in self.relays] if delivered else []
        return not any(store.read(store.cursor(owner), 1) for owner in owners)

    def _committed(self) -> None:
        if self._parts.publisher:
            self._project.wake()
        self._wake_relays()

    def _wake_relays(self) -> None:
        self._moved.set()
        for worker in self._relay_workers:
            worker.wake()

    def _tick(self) -> None:
        try:
            signal = self._parts.store.signal()
        except StoreError as error:
            self.store_error = str(error)
            return
        changed, self._signal = signal != self._signal, signal
        if changed or self._parts.tail.orphaned():
            self._commit.wake()
        for led, worker in self._led:
            if changed if led.leads else led.free():
                worker.wake()
        if changed:
            # After all else: a store that is damaged is mended by who was woken.
            try:
                self._look_for_erasures()
            except StoreError as error:
                self.store_error = str(error)

    def _look_for_erasures(self) -> None:
        erasing = self._parts.store.erasing
        progress = erasing.progress()
        if progress == self._progress:
            return
        if self._erase is not None and erasing.pending():
            self._erase.start()
            self._erase.wake()
        self._progress = progress
        self.committer.turn = True
        self._commit.wake()

    def _tripped(self, plugin: str, hook: str, stage: str) -> None:
        loaded = self._parts.plugins.named(plugin)
        if loaded is None or loaded.tripped is not None:
            return
        loaded.tripped = hook
        position = self.projector.reading if stage == PROJECTOR else None
        self.trips.append(Trip(plugin, hook, stage, position))
        _log.error("journeykit.plugin_tripped", extra={"plugin": plugin, "hook": hook})
        try:
            self._parts.store.count({f"tripped:{plugin}:{hook}": 1})
        except StoreError as error:
            self.store_error = str(error)


def _close(sink: Sink) -> None:
    try:
        sink.close()
    except Exception as error:  # noqa: BLE001 - a sink that cannot close keeps nobody
        _log.warning(
            "journeykit.sink_not_closed", extra={"sink": sink.name, "error": type(error).__name__}
        )
