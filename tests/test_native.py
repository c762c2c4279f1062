from __future__ import annotations

import os
import threading
import time

import pytest

from journeykit import native


@pytest.fixture(autouse=True)
def _a_gate_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give each test a gate that nobody is in; it does not wait long."""
    monkeypatch.setattr(native, "_gate", native._Gate())
    monkeypatch.setattr(native, "_FORK_SECONDS", 0.2)


def fork() -> float:
    """Fork, see that the child can go in, and return how long the fork took."""
    started = time.monotonic()
    pid = os.fork()
    if not pid:
        try:
            with native.unforked():
                os._exit(0)
        finally:
            os._exit(1)
    took = time.monotonic() - started
    assert os.waitpid(pid, 0)[1] == 0
    return took


def test_a_signal_wakes_once() -> None:
    """A signal that was set, once or often, ends one wait; without one the wait times out."""
    woken = native.Signal()
    assert not woken.wait(0.001)
    woken.set()
    woken.set()
    assert woken.wait()
    assert not woken.wait(0.001)
    woken.set()
    woken.clear()
    assert not woken.wait(0.001)


def test_a_signal_that_many_set_at_once() -> None:
    """Threads that set a signal while another waits for it disturb nobody."""
    woken, count = native.Signal(), 0
    stop = threading.Event()

    def set_it() -> None:
        while not stop.is_set():
            woken.set()

    threads = [threading.Thread(target=set_it) for _ in range(3)]
    for thread in threads:
        thread.start()
    while count < 30:
        assert woken.wait(10)
        count += 1
    stop.set()
    for thread in threads:
        thread.join()


def test_a_thread_has_its_name_and_keeps_nobody() -> None:
    """Where nobody has replaced threads, ours are the standard library's, and daemons."""
    release = threading.Event()
    thread = native.start("journeykit-test", release.wait, 10)
    found = [one for one in threading.enumerate() if one.name == "journeykit-test"]
    assert [one.daemon for one in found] == [True]
    assert thread.ident == found[0].ident != native.ident()
    release.set()
    thread.join(10)
    assert not thread.is_alive()


def test_a_fork_waits_for_who_is_inside() -> None:
    """No fork happens while another thread is in the middle of something."""
    inside, done = threading.Event(), []

    def work() -> None:
        with native.unforked():
            inside.set()
            time.sleep(0.05)
            done.append(True)

    thread = threading.Thread(target=work)
    thread.start()
    assert inside.wait(10)
    fork()
    assert done
    thread.join()


def test_a_fork_does_not_wait_for_ever() -> None:
    """Whoever stays inside for long delays a fork, and does not prevent it."""
    release, inside = threading.Event(), threading.Event()

    def work() -> None:
        with native.unforked():
            inside.set()
            release.wait(10)

    thread = threading.Thread(target=work)
    thread.start()
    assert inside.wait(10)
    assert 0.2 <= fork() < 5
    release.set()
    thread.join()
    assert fork() < 0.2


def test_a_thread_may_fork_from_inside() -> None:
    """The thread that forks does not wait for itself, and may go in again while it is in."""
    with native.unforked(), native.unforked():
        assert fork() < 0.2
    assert fork() < 0.2


def test_who_is_left_in_another_thread_is_out() -> None:
    """What one thread has begun and another ends, a forgotten iterator say, is over."""
    inside = native.unforked()
    thread = threading.Thread(target=inside.__enter__)
    thread.start()
    thread.join()
    inside.__exit__(None, None, None)
    assert fork() < 0.2


@pytest.mark.parametrize("kernel_wipes", [True, False])
def test_a_life_mark_tells_a_child_from_its_parent(
    monkeypatch: pytest.MonkeyPatch, *, kernel_wipes: bool
) -> None:
    """A forked process sees that the mark is not its own, whether or not the kernel helps."""
    if not kernel_wipes:
        monkeypatch.setattr(native, "_WIPE_ON_FORK", 10**6)
    mark = native.life_mark()
    child = os.fork()
    if not child:
        os._exit(mark[0])
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert mark[0] == 1
