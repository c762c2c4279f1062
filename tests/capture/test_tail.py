from __future__ import annotations

import threading
from collections.abc import Callable

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from journeykit.capture.tail import _OVERHEAD, MemoryTail, Taken
from journeykit.model import Entry, Kind

LIMIT = 5_000


def entry(number: int, size: int) -> Entry:
    """Return an entry with a body of *size* bytes."""
    return Entry(str(number), Kind.TOUCHPOINT, "A", "u1", None, None, 0, 0, b"x" * size)


class TailMachine(RuleBasedStateMachine):
    """A `MemoryTail` behaves like a list of what was appended and not released."""

    def __init__(self) -> None:
        super().__init__()
        self.tail = MemoryTail(LIMIT)
        self.model: list[Entry] = []
        self.count = 0
        self.released = 0
        self.taken: list[Taken] = []

    @property
    def used(self) -> int:
        """The bytes that the model holds."""
        return sum(len(entry.body) + _OVERHEAD for entry in self.model)

    @rule(size=st.integers(0, LIMIT))
    def append(self, size: int) -> None:
        """Append what fits, and see the rest refused."""
        self.count += 1
        new = entry(self.count, size)
        fits = self.used + size + _OVERHEAD <= LIMIT
        assert self.tail.append(new) == (None if fits else "full")
        if fits:
            self.model.append(new)

    @rule(limit=st.integers(0, 5))
    def take(self, limit: int) -> None:
        """Take the oldest, which stay."""
        taken = self.tail.take(limit)
        assert list(taken.entries) == self.model[:limit]
        assert self.tail.take(limit) == taken
        self.taken.append(taken)

    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        """Release something taken, perhaps for the second time, perhaps out of order."""
        if not self.taken:
            return
        taken = data.draw(st.sampled_from(self.taken))
        self.tail.release(taken.mark)
        gone = max(0, taken.mark - self.released)
        self.released += gone
        del self.model[:gone]

    @rule()
    def fork(self) -> None:
        """Forget everything, as a child process does."""
        self.tail.reset_after_fork()
        self.model.clear()
        self.taken.clear()
        self.released = 0

    @invariant()
    def holds_the_model(self) -> None:
        """The tail holds what the model holds, and counts it."""
        assert len(self.tail) == len(self.model)
        assert list(self.tail.take(1_000).entries) == self.model


TestTail = TailMachine.TestCase
TestTail.__doc__ = "Whatever is done to a tail, it stays within its bytes and loses nothing."
TestTail.settings = settings(max_examples=40, stateful_step_count=30)


def test_a_release_makes_room() -> None:
    """A full tail takes new entries again once old ones are released."""
    tail = MemoryTail(2 * (_OVERHEAD + 10))
    assert [tail.append(entry(number, 10)) for number in range(3)] == [None, None, "full"]
    tail.release(tail.take(1).mark)
    assert tail.append(entry(4, 10)) is None
    assert [kept.id for kept in tail.take(9).entries] == ["1", "4"]


def test_threads_lose_nothing(wait_until: Callable[..., None]) -> None:
    """While many threads append, a reader gets every entry once, each thread's in order."""
    tail = MemoryTail(10**9)
    writers = [
        threading.Thread(
            target=lambda start=start: [tail.append(entry(start + n, 1)) for n in range(500)]
        )
        for start in range(0, 4_000, 1_000)
    ]
    for thread in writers:
        thread.start()
    seen: list[int] = []

    def all_seen() -> bool:
        taken = tail.take(100)
        tail.release(taken.mark)
        seen.extend(int(found.id) for found in taken.entries)
        return len(seen) >= 2_000

    wait_until(all_seen)
    for thread in writers:
        thread.join()
    assert sorted(seen) == [start + n for start in range(0, 4_000, 1_000) for n in range(500)]
    for start in range(0, 4_000, 1_000):
        own = [number for number in seen if start <= number < start + 1_000]
        assert own == sorted(own)


def test_a_child_does_not_wait_for_the_parents_lock() -> None:
    """A child whose parent forked while the lock was held has a lock of its own."""
    tail = MemoryTail(LIMIT)
    tail.append(entry(1, 1))
    tail._lock.acquire()
    tail.reset_after_fork()
    assert tail.append(entry(2, 1)) is None
    assert [kept.id for kept in tail.take(9).entries] == ["2"]
