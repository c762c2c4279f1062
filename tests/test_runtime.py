from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import attrs
import pytest

from journeykit import runtime
from journeykit.exceptions import Superseded
from journeykit.runtime import Call, Ticker, Worker, watched

Wait = Callable[..., None]


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the ticker look often, and a failed step come again soon."""
    monkeypatch.setattr(runtime, "TICK", 0.005)
    monkeypatch.setattr(runtime, "FIRST_PAUSE", 0.001)
    monkeypatch.setattr(runtime, "LAST_PAUSE", 0.004)


@attrs.define
class Team:
    """Starts workers and tickers, and ends them."""

    started: list[Worker | Ticker] = attrs.field(factory=list)

    def worker(self, step: Callable[[], float | None], name: str = "stage") -> Worker:
        """Return a running worker."""
        worker = Worker(name, step)
        self.started.append(worker)
        worker.start()
        return worker

    def ticker(self, *workers: Worker, timeout: float = 0.05, **more: Any) -> Ticker:
        """Return a running ticker."""
        arguments = {"tripped": lambda *_: None, "tick": lambda: None, **more}
        ticker = Ticker(workers, timeout=timeout, **arguments)
        self.started.append(ticker)
        ticker.start()
        return ticker


@pytest.fixture
def team() -> Iterator[Team]:
    """Return a team, and end it."""
    team = Team()
    yield team
    for one in team.started:
        one.stop()
    for one in team.started:
        thread = one._thread
        if thread is not None:
            thread.join(5)
            assert not thread.is_alive()


def threads(name: str) -> list[threading.Thread]:
    """Return the living threads of this name."""
    return [thread for thread in threading.enumerate() if thread.name == name]


# A worker.


def test_a_step_is_called_again_at_once(team: Team, wait_until: Wait) -> None:
    """A step that returns 0 has more to do and is called again."""
    left = [3, 2, 1]

    def step() -> float | None:
        left.pop()
        return 0 if left else None

    team.worker(step)
    wait_until(lambda: not left)


def test_a_step_is_called_when_woken(team: Team, wait_until: Wait) -> None:
    """A step that returns None sleeps until somebody wakes it."""
    calls: list[int] = []
    worker = team.worker(lambda: calls.append(1))
    wait_until(lambda: len(calls) == 1)
    worker.wake()
    wait_until(lambda: len(calls) == 2)


def test_a_step_is_called_after_its_delay(team: Team, wait_until: Wait) -> None:
    """A step that returns seconds is called after them, and not before."""
    times: list[float] = []

    def step() -> float | None:
        times.append(time.monotonic())
        return 0.03 if len(times) == 1 else None

    team.worker(step)
    wait_until(lambda: len(times) == 2)
    assert times[1] - times[0] >= 0.03


def test_being_woken_during_a_step_is_not_lost(team: Team, wait_until: Wait) -> None:
    """Work that arrives while a step runs is looked for right after it."""
    calls: list[int] = []

    def step() -> None:
        calls.append(1)
        if len(calls) == 1:
            worker.wake()

    worker = Worker("stage", step)
    team.started.append(worker)
    worker.start()
    wait_until(lambda: len(calls) == 2)


def test_a_nudge_wakes_who_waits_for_work(team: Team, wait_until: Wait) -> None:
    """A nudge is enough for a worker that sleeps until there is work, also in its last moment."""
    calls: list[int] = []

    def step() -> None:
        calls.append(1)
        if len(calls) == 2:
            worker.nudge()

    worker = Worker("stage", step)
    team.started.append(worker)
    worker.start()
    wait_until(lambda: len(calls) == 1 and worker._idle)
    worker.nudge()
    wait_until(lambda: len(calls) == 3)


def test_a_nudge_disturbs_nobody_who_waits_for_a_time(team: Team, wait_until: Wait) -> None:
    """A worker that wants to be called after some time is not called earlier for a nudge."""
    calls: list[float] = []

    def step() -> float:
        calls.append(time.monotonic())
        return 0.2

    worker = team.worker(step)
    wait_until(lambda: len(calls) == 1)
    worker.nudge()
    wait_until(lambda: len(calls) == 2)
    assert calls[1] - calls[0] >= 0.2


def test_starting_twice_starts_one_thread(team: Team) -> None:
    """A second start does nothing."""
    worker = team.worker(lambda: None, "only")
    worker.start()
    assert len(threads("journeykit-only")) == 1


@pytest.mark.parametrize(
    "error", [ValueError("no"), SystemExit(1), asyncio.CancelledError(), MemoryError()]
)
def test_a_step_that_raises_is_tried_again(
    team: Team, wait_until: Wait, caplog: pytest.LogCaptureFixture, error: BaseException
) -> None:
    """Whatever a step raises, its thread lives on and tries again, and logs ever more rarely."""
    caplog.set_level(logging.WARNING, "journeykit")
    calls: list[int] = []

    def step() -> None:
        calls.append(1)
        if len(calls) <= 4:
            raise error

    worker = team.worker(step)
    wait_until(lambda: len(calls) == 5)
    assert worker._thread is not None
    assert worker._thread.is_alive()
    assert [record.message for record in caplog.records] == ["journeykit.stage_failed"] * 3
    assert [record.failures for record in caplog.records] == [1, 2, 4]
    assert [record.retry for record in caplog.records] == [0.001, 0.002, 0.004]
    assert {record.error for record in caplog.records} == {type(error).__name__}


def test_a_good_step_shortens_the_pause_again(
    team: Team, wait_until: Wait, caplog: pytest.LogCaptureFixture
) -> None:
    """After a step that went well, the next failure begins with the first pause."""
    caplog.set_level(logging.WARNING, "journeykit")
    course = iter([True, True, False, True, False])
    done = threading.Event()

    def step() -> float | None:
        fails = next(course, None)
        if fails is None:
            done.set()
            return None
        if fails:
            raise ValueError
        return 0

    team.worker(step)
    assert done.wait(5)
    assert [record.retry for record in caplog.records] == [0.001, 0.002, 0.001]


def test_being_superseded_is_no_failure(
    team: Team, wait_until: Wait, caplog: pytest.LogCaptureFixture
) -> None:
    """A step whose work somebody else has done looks again at once, without a word."""
    calls: list[int] = []

    def step() -> None:
        calls.append(1)
        if len(calls) == 1:
            raise Superseded("somebody else did this")

    team.worker(step)
    wait_until(lambda: len(calls) == 2)
    assert not caplog.records


def test_stop_and_join(wait_until: Wait) -> None:
    """A stopped worker ends after its present step, and is not started again."""
    entered, release, calls = threading.Event(), threading.Event(), []

    def step() -> float:
        calls.append(1)
        entered.set()
        release.wait(5)
        return 0

    worker = Worker("stage", step)
    worker.start()
    assert entered.wait(5)
    worker.stop()
    worker.join(0.01)
    assert worker._thread is not None
    assert worker._thread.is_alive()
    release.set()
    worker.join(5)
    assert not worker._thread.is_alive()
    assert len(calls) == 1
    worker.start()
    assert len(calls) == 1


def test_stopping_wakes_a_sleeping_worker() -> None:
    """A worker that waits for work ends at once when it is stopped."""
    worker = Worker("stage", lambda: None)
    worker.start()
    worker.stop()
    worker.join(5)
    assert worker._thread is not None
    assert not worker._thread.is_alive()


def test_a_worker_that_was_stopped_before_never_starts() -> None:
    """A worker that is stopped before its start has no thread."""
    worker = Worker("stage", lambda: None)
    worker.stop()
    worker.start()
    worker.join(0)
    assert worker._thread is None


def test_a_worker_does_not_wait_for_itself(team: Team) -> None:
    """`join` from within the worker's own step returns."""
    done = threading.Event()

    def step() -> None:
        worker.join(60)
        done.set()

    worker = Worker("stage", step)
    team.started.append(worker)
    worker.start()
    assert done.wait(5)


def test_the_end_is_told_in_the_thread() -> None:
    """When a worker has ended, whoever gave the step is told, in the thread that ran it."""
    told: list[int] = []
    worker = Worker("stage", lambda: None, ended=lambda: told.append(threading.get_ident()))
    worker.start()
    assert worker._thread is not None
    number = worker._thread.ident
    worker.stop()
    worker.join(5)
    assert told == [number]


def test_a_thread_without_the_right_changes_nothing(team: Team, wait_until: Wait) -> None:
    """Once its right is revoked, a step that comes back late commits nothing; others still may."""
    release, refused = threading.Event(), threading.Event()

    def step() -> None:
        release.wait(10)
        try:
            with worker.right_to_commit():
                pass
        except Superseded:
            refused.set()

    worker = Worker("stage", step)
    team.started.append(worker)
    worker.start()
    worker.stop()
    worker.revoke()
    release.set()
    assert refused.wait(5)
    with worker.right_to_commit():
        pass


# Hanging plugin calls.


@attrs.define
class Hanging:
    """A step whose first call hangs in a plugin until it is released."""

    entered: threading.Event = attrs.field(factory=threading.Event)
    release: threading.Event = attrs.field(factory=threading.Event)
    after: threading.Event = attrs.field(factory=threading.Event)
    worker: Worker | None = None
    threads: list[int] = attrs.field(factory=list)
    commits: list[int] = attrs.field(factory=list)
    refused: list[int] = attrs.field(factory=list)

    def step(self) -> None:
        """Ask the plugin, and commit."""
        me = threading.get_ident()
        self.threads.append(me)
        watch = watched()
        assert watch is not None
        if len(self.threads) == 1:
            watch.call = Call("slow", "detect_stage", time.monotonic())
            self.entered.set()
            self.release.wait(10)
            watch.call = None
        assert self.worker is not None
        try:
            with self.worker.right_to_commit():
                self.commits.append(me)
        except Superseded:
            self.refused.append(me)
            raise
        finally:
            if len(self.threads) > 1 and me == self.threads[0]:
                self.after.set()


@pytest.fixture
def hanging() -> Iterator[Hanging]:
    """Return a hanging step, and let go of it."""
    hanging = Hanging()
    yield hanging
    hanging.release.set()


def _start(team: Team, hanging: Hanging) -> Worker:
    worker = Worker("stage", hanging.step)
    hanging.worker = worker
    team.started.append(worker)
    worker.start()
    assert hanging.entered.wait(5)
    return worker


def test_a_hanging_call_is_abandoned(team: Team, hanging: Hanging, wait_until: Wait) -> None:
    """The plugin is told first, then a new thread goes on, and the old one cannot commit."""
    told: list[tuple[str, str, str, int]] = []
    worker = _start(team, hanging)
    team.ticker(worker, tripped=lambda *who: told.append((*who, len(hanging.threads))))
    wait_until(lambda: hanging.commits)
    assert told == [("slow", "detect_stage", "stage", 1)]
    old, new = hanging.threads
    assert hanging.commits == [new] != [old]
    hanging.release.set()
    assert hanging.after.wait(5)
    assert hanging.refused == [old]
    assert hanging.commits == [new]


def test_an_abandoned_thread_ends(team: Team, hanging: Hanging, wait_until: Wait) -> None:
    """Once the plugin lets go of it, the abandoned thread does nothing more and ends."""
    worker = _start(team, hanging)
    call = worker.overdue(time.monotonic() + 10, 2.0)
    assert call is not None
    assert worker.abandon(call)
    wait_until(lambda: hanging.commits)
    assert len(threads("journeykit-stage")) == 2
    hanging.release.set()
    wait_until(lambda: len(threads("journeykit-stage")) == 1)
    assert len(hanging.threads) == 2


def test_only_a_long_call_is_overdue(team: Team, hanging: Hanging) -> None:
    """A call is overdue when it has lasted longer than allowed, and not before."""
    worker = _start(team, hanging)
    call = worker._watched.call
    assert call is not None
    assert worker.overdue(call.since + 2.0, 2.0) is None
    assert worker.overdue(call.since + 2.1, 2.0) is call
    assert (call.plugin, call.hook) == ("slow", "detect_stage")


def test_a_call_that_came_back_is_not_abandoned(
    team: Team, hanging: Hanging, wait_until: Wait
) -> None:
    """A plugin that answers just before it would be abandoned keeps its thread."""
    worker = _start(team, hanging)
    call = worker.overdue(time.monotonic() + 10, 2.0)
    assert call is not None
    hanging.release.set()
    wait_until(lambda: hanging.commits)
    assert not worker.abandon(call)
    assert hanging.commits == [hanging.threads[0]]
    assert len(threads("journeykit-stage")) == 1


def test_the_next_call_is_not_abandoned_for_the_last(team: Team, hanging: Hanging) -> None:
    """A thread that is in another call by now is not abandoned for the one that was overdue."""
    worker = _start(team, hanging)
    late = worker.overdue(time.monotonic() + 10, 2.0)
    assert late is not None
    worker._watched.call = Call("quick", "detect_stage", time.monotonic())
    assert not worker.abandon(late)


def test_a_worker_without_a_call_is_never_overdue(team: Team) -> None:
    """A step that is slow by itself, in no plugin, is left alone."""
    worker = team.worker(lambda: None)
    assert worker.overdue(time.monotonic() + 1e6, 2.0) is None


def test_other_threads_may_commit() -> None:
    """Whoever is no worker's thread, a test or a command, has the right to commit."""
    assert watched() is None
    with Worker("stage", lambda: None).right_to_commit():
        pass


# The ticker.


def test_the_ticker_survives_what_it_looks_after(
    team: Team, hanging: Hanging, wait_until: Wait, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither a tick nor a report that raises keeps the ticker from looking again."""
    ticks: list[int] = []
    reports: list[int] = []

    def tick() -> None:
        ticks.append(1)
        raise ValueError

    def tripped(*_: str) -> None:
        reports.append(1)
        if len(reports) == 1:
            raise OSError

    worker = _start(team, hanging)
    team.ticker(worker, tripped=tripped, tick=tick)
    wait_until(lambda: len(hanging.threads) == 2 and len(ticks) >= 2)
    assert len(reports) == 2
    assert {record.message for record in caplog.records} == {"journeykit.tick_failed"}


def test_a_stopped_ticker_ends(team: Team) -> None:
    """A stopped ticker looks no more."""
    ticker = team.ticker()
    ticker.stop()
    ticker._thread.join(5)
    assert not ticker._thread.is_alive()
