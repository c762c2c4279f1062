"""Every kind of tail does the same: these tests are the measure for `MemoryTail` and `Spool`."""

from __future__ import annotations

import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from journeykit.capture import spool
from journeykit.capture.spool import Spool, pack
from journeykit.capture.tail import _OVERHEAD, MemoryTail, Tail, Taken
from journeykit.model import Entry, Kind

LIMIT = 5_000

#: Small enough that a few entries fill a segment, and that some are larger than one.
SEGMENT_BYTES = 1_000


def entry(number: int, size: int) -> Entry:
    """Return an entry with a body of *size* bytes."""
    return Entry(str(number), Kind.TOUCHPOINT, "A", "u1", None, None, 0, 0, b"x" * size)


class TailMachine(RuleBasedStateMachine):
    """
    A tail behaves like a list of what was appended and not released.

    `left` is what an earlier life of the tail has left for others; `watermarks` is what a store
    would know, if it commits at each release.
    """

    def __init__(self) -> None:
        super().__init__()
        self.tail = self.begin()
        self.model: list[Entry] = []
        self.left: list[Entry] = []
        self.count = 0
        self.released = 0
        self.taken: list[tuple[Taken, int]] = []
        self.watermarks: dict[str, int] = {}

    def begin(self) -> Tail:
        """Return an empty tail of `LIMIT` bytes."""
        raise NotImplementedError

    def size(self, entry: Entry) -> int:
        """Return how many bytes the tail counts for *entry*."""
        raise NotImplementedError

    @rule(size=st.integers(0, 60) | st.integers(0, LIMIT))
    def append(self, size: int) -> None:
        """Append what fits, and see the rest refused."""
        self.count += 1
        new = entry(self.count, size)
        fits = sum(map(self.size, [*self.model, new])) <= LIMIT
        assert self.tail.append(new) == (None if fits else "full")
        if fits:
            self.model.append(new)

    @rule(limit=st.integers(0, 5))
    def take(self, limit: int) -> None:
        """Take the oldest, which stay."""
        taken = self.tail.take(limit)
        assert list(taken.entries) == self.model[:limit]
        assert self.tail.take(limit) == taken
        self.taken.append((taken, self.released + len(taken.entries)))

    @precondition(lambda self: self.taken)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        """Release something taken, perhaps for the second time, perhaps out of order."""
        taken, count = data.draw(st.sampled_from(self.taken))
        for file, place in taken.watermarks:
            if place is None:
                self.watermarks.pop(file, None)
            else:
                self.watermarks[file] = max(place, self.watermarks.get(file, 0))
        self.tail.release(taken.mark)
        gone = max(0, count - self.released)
        self.released += gone
        del self.model[:gone]

    @rule()
    def tend(self) -> None:
        """Prepare for what comes, which nobody notices."""
        self.tail.tend()

    @rule()
    def fork(self) -> None:
        """Forget everything, as a child process does."""
        self.tail.reset_after_fork()
        self.end()

    def end(self) -> None:
        """Leave everything, and begin anew."""
        self.left += self.model
        self.model.clear()
        self.taken.clear()
        self.released = 0

    @invariant()
    def holds_the_model(self) -> None:
        """The tail holds what the model holds, and counts it."""
        assert len(self.tail) == len(self.model) == self.tail.appended - self.tail.released
        assert self.tail.released == self.released
        assert list(self.tail.take(1_000).entries) == self.model


class MemoryMachine(TailMachine):
    """A tail in memory; what it leaves is gone."""

    def begin(self) -> Tail:
        """Return an empty tail."""
        return MemoryTail(LIMIT)

    def size(self, entry: Entry) -> int:
        """Return what the tail counts."""
        return len(entry.body) + _OVERHEAD


class SpoolMachine(TailMachine):
    """A tail in files; what it leaves is adopted."""

    def begin(self) -> Tail:
        """Return an empty tail."""
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(spool, "SEGMENT_BYTES", SEGMENT_BYTES)
        self.directory = Path(tempfile.mkdtemp())
        return Spool(self.directory / "spool", LIMIT)

    def size(self, entry: Entry) -> int:
        """Return what the tail counts."""
        return len(pack(entry)) + 8

    @rule()
    def restart(self) -> None:
        """End the process, and begin another."""
        self.tail.close()
        self.end()
        self.tail = Spool(self.directory / "spool", LIMIT)

    @rule(limit=st.integers(1, 5))
    def adopt(self, limit: int) -> None:
        """Adopt what earlier lives have left: all of it, nothing else, in order."""
        found: list[Entry] = []
        for orphan in self.tail.orphans():
            place = self.watermarks.get(orphan.name)
            while taken := orphan.take(place, limit):
                entries, place = taken
                if not entries:
                    break
                found += entries
            assert self.tail.settle(orphan)
            assert not self.tail.settle(orphan)
            self.watermarks.pop(orphan.name, None)
        assert found == self.left
        assert not self.tail.orphaned()
        self.left.clear()

    def teardown(self) -> None:
        """Clean up; with nothing to adopt, a file a segment of this tail is all there is."""
        self.adopt(100)
        self.tail.close()
        files = list(self.directory.glob("spool/*"))
        assert {file.suffix for file in files} <= {".seg"}
        assert len(files) <= len(self.model)
        shutil.rmtree(self.directory)
        self.patch.undo()


TestMemoryTail = MemoryMachine.TestCase
TestSpool = SpoolMachine.TestCase
TestMemoryTail.__doc__ = TestSpool.__doc__ = (
    "Whatever is done to a tail, it stays within its bytes and loses nothing."
)
TestMemoryTail.settings = TestSpool.settings = settings(max_examples=100, stateful_step_count=40)


@pytest.fixture(params=["memory", "spool"])
def make_tail(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[int], Tail]]:
    """Return a function that makes empty tails of so many bytes."""
    made: list[Any] = []

    def make_tail(limit: int) -> Tail:
        made.append(MemoryTail(limit) if request.param == "memory" else Spool(tmp_path, limit))
        return made[-1]

    yield make_tail
    for tail in made:
        tail.close()


MakeTail = Callable[[int], Tail]


def test_a_release_makes_room(make_tail: MakeTail) -> None:
    """A full tail takes new entries again once old ones are released."""
    tail = make_tail(2 * (_OVERHEAD + 10))
    numbers = iter(range(1_000))
    while tail.append(entry(next(numbers), 10)) is None:
        pass
    waiting = len(tail)
    tail.release(tail.take(1).mark)
    assert tail.append(entry(1_001, 10)) is None
    assert tail.append(entry(1_002, 10)) == "full"
    kept = [kept.id for kept in tail.take(1_000).entries]
    assert kept == [*map(str, range(1, waiting)), "1001"]


def test_a_mark_released_late_counts_nothing_twice(make_tail: MakeTail) -> None:
    """Marks of overlapping takes may be released in any order, each more than once."""
    tail = make_tail(2**20)
    for number in range(5):
        tail.append(entry(number, 10))
    one, three, two = (tail.take(limit).mark for limit in (1, 3, 2))
    for mark in (three, one, two, three):
        tail.release(mark)
        assert [kept.id for kept in tail.take(9).entries] == ["3", "4"]
        assert (len(tail), tail.released) == (2, 3)


def test_threads_lose_nothing(make_tail: MakeTail, wait_until: Callable[..., None]) -> None:
    """While many threads append, a reader gets every entry once, each thread's in order."""
    tail = make_tail(10**9)
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


def test_a_child_does_not_wait_for_the_parents_lock(make_tail: MakeTail) -> None:
    """A child whose parent forked while the lock was held has a lock of its own."""
    tail = make_tail(LIMIT)
    tail.append(entry(1, 1))
    tail._lock.acquire()  # type: ignore[attr-defined]
    tail.reset_after_fork()
    assert tail.append(entry(2, 1)) is None
    assert [kept.id for kept in tail.take(9).entries] == ["2"]


def test_memory_leaves_nothing() -> None:
    """A tail in memory has no orphans, and settles none."""
    tail = MemoryTail(LIMIT)
    tail.append(entry(1, 1))
    tail.close()
    assert not tail.orphaned()
    assert tail.orphans() == ()
