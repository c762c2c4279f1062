from __future__ import annotations

import fcntl
import os
import stat
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from journeykit.exceptions import StoreError
from journeykit.store import locks as module
from journeykit.store.locks import LockDirectory


@pytest.fixture
def locks(tmp_path: Path) -> Iterator[LockDirectory]:
    """Return an open directory of locks."""
    locks = LockDirectory(tmp_path / "locks")
    locks.open()
    yield locks
    locks.close()


def test_names_become_files_in_the_directory(locks: LockDirectory, tmp_path: Path) -> None:
    """Whatever a role is called, its lock is a file in the directory, for its owner only."""
    lease = locks.lease("sink:a/../../b")
    assert lease is not None
    lease.release()
    with locks.hold("commit"):
        pass

    (one, two) = sorted((tmp_path / "locks").iterdir())
    assert (one.name, two.name) == ("commit", "sink%3Aa%2F..%2F..%2Fb")
    assert stat.S_IMODE(one.stat().st_mode) == stat.S_IMODE(two.stat().st_mode) == 0o600


def test_one_thread_at_a_time_holds_a_lock(locks: LockDirectory) -> None:
    """A second thread waits until the first lets go."""
    order: list[str] = []
    inside = threading.Event()

    def second() -> None:
        inside.wait()
        with locks.hold("commit"):
            order.append("second")

    thread = threading.Thread(target=second)
    thread.start()
    with locks.hold("commit"):
        inside.set()
        thread.join(0.05)
        order.append("first")
    thread.join()

    assert order == ["first", "second"]


def test_closing_leaves_a_waiting_thread_its_lock(locks: LockDirectory, tmp_path: Path) -> None:
    """Who waits while the locks are closed holds its lock then, and unlocks no other file."""
    other = LockDirectory(tmp_path / "locks")
    lease = other.lease("commit")
    assert lease is not None
    held: list[bool] = []

    def wait() -> None:
        with locks.hold("commit"):
            held.append(other.lease("commit") is None)

    thread = threading.Thread(target=wait)
    thread.start()
    while not locks._threads.locked():
        time.sleep(0.001)
    time.sleep(0.05)
    locks.close()
    with (tmp_path / "own").open("w") as own:
        # What the shop opens next, and locks, may get the number of a closed file.
        fcntl.flock(own, fcntl.LOCK_EX)
        lease.release()
        thread.join(10)
        assert held == [True]
        with (tmp_path / "own").open() as second, pytest.raises(BlockingIOError):
            fcntl.flock(second, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_lock_is_free_after_an_error(locks: LockDirectory) -> None:
    """What fails while it holds a lock lets go of it."""
    with pytest.raises(KeyError), locks.hold("commit"):
        raise KeyError
    with locks.hold("commit"):
        pass


def test_lease_keeps_others_out(locks: LockDirectory, tmp_path: Path) -> None:
    """A lease keeps out this and other objects until it is released, which can be repeated."""
    other = LockDirectory(tmp_path / "locks")
    lease = locks.lease("lead")
    assert lease is not None
    assert locks.lease("lead") is None
    assert other.lease("lead") is None

    lease.release()
    theirs = other.lease("lead")
    assert theirs is not None
    lease.release()
    assert locks.lease("lead") is None
    theirs.release()


def test_refused_lease_leaves_nothing_open(locks: LockDirectory) -> None:
    """Asking again and again while somebody leads opens no more and more files."""
    lease = locks.lease("lead")
    assert lease is not None
    before = len([*Path("/dev/fd").iterdir()])
    for _ in range(5):
        assert locks.lease("lead") is None
    # Fewer, where what other tests have left is collected meanwhile.
    assert len([*Path("/dev/fd").iterdir()]) <= before
    lease.release()


def test_platform_without_flock_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Where two processes cannot be kept apart, the store says so, and what to use instead."""
    monkeypatch.setattr(module, "fcntl", None)

    with pytest.raises(StoreError, match="no flock"):
        LockDirectory(tmp_path)


def test_forked_child_gives_the_lease_back(locks: LockDirectory, tmp_path: Path) -> None:
    """A child has no copy of its parent's lease: the lock is free when the parent lets go."""
    lease = locks.lease("lead")
    assert lease is not None
    assert lease.held
    ready, done = os.pipe(), os.pipe()
    child = os.fork()
    if not child:
        locks.reset_after_fork()
        os.write(ready[1], b"x")
        os.read(done[0], 1)
        os._exit(0)
    os.read(ready[0], 1)
    other = LockDirectory(tmp_path / "locks")
    assert other.lease("lead") is None
    lease.release()
    assert not lease.held
    theirs = other.lease("lead")
    assert theirs is not None
    theirs.release()
    os.write(done[1], b"x")
    os.waitpid(child, 0)
    for end in (*ready, *done):
        os.close(end)
