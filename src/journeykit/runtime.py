"""
The background threads of one process.

A stage of the path runs in a `Worker`: one thread that calls one step again and again.
A plugin that hangs inside a step cannot be stopped, so its thread is abandoned: the worker starts
another, and the abandoned one has lost the right to commit.
One ticker looks after all workers; it is the only thread that wakes while nothing happens.
"""

from __future__ import annotations

import contextlib
import logging
import math
import time
from typing import TYPE_CHECKING, TypeVar

import attrs

from journeykit import native
from journeykit.exceptions import JourneykitError, Superseded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: How often the ticker looks, in seconds: the design lets an idle process wake twice a second.
TICK = 0.5

#: After an unexpected error a step is tried again after this many seconds, doubled up to the last.
FIRST_PAUSE, LAST_PAUSE = 0.1, 5.0

_T = TypeVar("_T")

_log = logging.getLogger("journeykit")


@attrs.frozen(eq=False)
class Call:
    """One plugin call: whose, which hook, since when."""

    plugin: str
    hook: str
    since: float


@attrs.define(eq=False)
class Watched:
    """Where a worker's thread notes the plugin call that it is in, for the ticker to see."""

    call: Call | None = None


_thread = native.local()


def watched() -> Watched | None:
    """Return where this thread notes its plugin calls; None outside a worker."""
    return getattr(_thread, "watched", None)


def within(seconds: float, run: Callable[[], _T]) -> tuple[_T | None, Call | None]:
    """
    Return what *run* returns, if it does within *seconds*; else None and the plugin that hangs.

    It runs in a thread of its own, which is left to itself where it hangs.
    What it raises is raised here.
    """
    noted, ended = Watched(), native.Signal()
    answers: list[_T] = []
    errors: list[BaseException] = []

    def call() -> None:
        _thread.watched = noted
        try:
            answers.append(run())
        except BaseException as error:  # noqa: BLE001 - raised below, in the thread that waits
            errors.append(error)
        finally:
            ended.set()

    native.start("journeykit-plugin", call)
    if not ended.wait(seconds):
        return None, noted.call
    if errors:
        raise errors[0]
    return answers[0], None


class Worker:
    """
    Calls *step* in a thread of its own.

    Args:
        name: Names the thread.

        step: Does a slice of work.
            Returns the seconds until it wants to be called again: 0 at once, None when woken.

        ended: Called at the end, in the thread: what the step has used may be closed.
    """

    def __init__(
        self,
        name: str,
        step: Callable[[], float | None],
        *,
        ended: Callable[[], None] = lambda: None,
    ) -> None:
        self.name = name
        self._step = step
        self._ended = ended
        self._right = native.lock()
        self._generation = 0
        self._revoked = False
        self._watched = Watched()
        self._wake = native.Signal()
        self._idle = self._nudged = False
        self._stopping = False
        self._thread: native.Thread | None = None

    def start(self) -> None:
        """Start the thread; a second call does nothing."""
        if self._thread is None and not self._stopping:
            self._spawn()

    def wake(self) -> None:
        """Make the thread look for work now."""
        self._wake.set()

    def nudge(self) -> None:
        """Say that there is work: wakes the thread only if it waits for nothing else."""
        # In this order, and in the other one in the thread, so that one of the two sees it.
        self._nudged = True
        if self._idle:
            self._wake.set()

    def stop(self) -> None:
        """Ask the thread to end after its present step; does not wait."""
        self._stopping = True
        self._wake.set()

    def join(self, timeout: float) -> None:
        """Wait for the thread to end, for *timeout* seconds at most."""
        _join(self._thread, timeout)

    def revoke(self) -> None:
        """Take the right to commit away: a thread that comes back late changes nothing more."""
        self._revoked = True

    @contextlib.contextmanager
    def right_to_commit(self) -> Iterator[None]:
        """
        Hold the worker's right to commit.

        Raises:
            Superseded: This thread was abandoned, or its right was revoked.
        """
        with self._right:
            mine = getattr(_thread, "generation", None)
            if mine is not None and (mine != self._generation or self._revoked):
                msg = f"this thread of {self.name} was abandoned"
                raise Superseded(msg)
            yield

    def overdue(self, now: float, timeout: float) -> Call | None:
        """Return the plugin call that has lasted longer than *timeout* seconds, if there is one."""
        call = self._watched.call
        return call if call is not None and now - call.since > timeout else None

    def abandon(self, call: Call) -> bool:
        """Leave the thread that is in *call* to itself and start another; False if it came back."""
        with self._right:
            if call is not self._watched.call:
                return False
            self._generation += 1
            self._spawn()
        return True

    def _spawn(self) -> None:
        self._watched = Watched()
        self._thread = native.start(
            f"journeykit-{self.name}", self._run, self._generation, self._watched
        )

    def _run(self, generation: int, watched: Watched) -> None:
        _thread.generation, _thread.watched = generation, watched
        pause, failures = FIRST_PAUSE, 0
        while not self._stopping and generation == self._generation:
            self._wake.clear()
            self._nudged = False
            try:
                delay = self._step()
                pause, failures = FIRST_PAUSE, 0
            except Superseded:
                delay = 0.0
            # Also what is no `Exception`: a sink's cancelled task, or a library's exit.
            except BaseException as error:  # noqa: BLE001 - a stage never dies, whatever is wrong
                failures += 1
                self._report(error, failures, pause)
                delay, pause = pause, min(pause * 2, LAST_PAUSE)
            if delay is None:
                self._idle = True
                if not self._nudged:
                    self._wake.wait()
                self._idle = False
            elif delay > 0:
                self._wake.wait(delay)
        if generation == self._generation:
            self._ended()

    def _report(self, error: BaseException, failures: int, retry: float) -> None:
        """Log the first failure in a row, the second, the fourth, and so on."""
        if failures & (failures - 1) == 0:
            # Our own messages name places and remedies; those of others may hold personal data.
            detail = str(error) if isinstance(error, JourneykitError) else None
            _log.warning(
                "journeykit.stage_failed",
                extra={
                    "stage": self.name,
                    "error": type(error).__name__,
                    "detail": detail,
                    "failures": failures,
                    "retry": retry,
                },
            )


class Ticker:
    """
    Looks after the workers of a process, every half second.

    Args:
        workers: Whom to look after.

        timeout: The seconds that a plugin call may last.

        tripped: Called with the plugin's name, the hook and the worker's name when a call was
            abandoned, before the new thread does any work with that plugin.

        tick: Called on each look.
    """

    def __init__(
        self,
        workers: tuple[Worker, ...],
        *,
        timeout: float,
        tripped: Callable[[str, str, str], None],
        tick: Callable[[], None],
    ) -> None:
        self._workers = workers
        self._timeout = timeout
        self._tripped = tripped
        self._tick = tick
        self._stop = native.Signal()
        self._thread: native.Thread | None = None
        self._resumed = -math.inf

    def start(self) -> None:
        """Start looking."""
        self._thread = native.start("journeykit-ticker", self._run)

    def stop(self) -> None:
        """Stop looking; does not wait."""
        self._stop.set()

    def join(self, timeout: float) -> None:
        """Wait for the last look to end, for *timeout* seconds at most."""
        _join(self._thread, timeout)

    def _run(self) -> None:
        last = time.monotonic()
        while not self._stop.wait(TICK):
            began, last = last, time.monotonic()
            if last - began > 2 * TICK:
                # The process itself was stopped meanwhile, and no plugin has had the time.
                self._resumed = last
            try:
                for worker in self._workers:
                    self._look(worker)
                self._tick()
            except Exception as error:  # noqa: BLE001 - the next look may go well
                _log.warning("journeykit.tick_failed", extra={"error": type(error).__name__})

    def _look(self, worker: Worker) -> None:
        now = time.monotonic()
        if now - self._resumed < self._timeout:
            return
        call = worker.overdue(now, self._timeout)
        if call is not None:
            self._tripped(call.plugin, call.hook, worker.name)
            worker.abandon(call)


def _join(thread: native.Thread | None, timeout: float) -> None:
    if thread is not None and thread.ident != native.ident():
        thread.join(timeout)
