"""Every kind of tail does the same: these tests are the measure for `MemoryTail` and `Spool`."""

from __future__ import annotations

import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from journeykit.capture import segment, spool
from journeykit.capture.records import pack, unpack
from journeykit.capture.spool import Spool
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
    would know, if it commits at each release; `dropped` is what went for newer entries.
    """

    drop_old = False

    def __init__(self) -> None:
        super().__init__()
        self.tail = self.begin()
        self.model: list[Entry] = []
        self.left: list[Entry] = []
        self.count = 0
        self.released = 0
        self.taken: list[tuple[Taken, int]] = []
        self.dropped: list[Entry] = []
        self.watermarks: dict[str, int] = {}

    def begin(self) -> Tail:
        """Return an empty tail of `LIMIT` bytes."""
        raise NotImplementedError

    def size(self, entry: Entry) -> int:
        """Return how many bytes the tail counts for *entry*."""
        raise NotImplementedError

    @rule(size=st.integers(0, 60) | st.integers(0, LIMIT))
    def append(self, size: int) -> None:
        """Append what fits, or what is made to fit, and see the rest refused."""
        self.count += 1
        new = entry(self.count, size)
        while self.drop_old and self.model and sum(map(self.size, [*self.model, new])) > LIMIT:
            self.dropped.append(self.model.pop(0))
            self.released += 1
        fits = sum(map(self.size, [*self.model, new])) <= LIMIT
        assert self.tail.append(pack(new)) == (None if fits else "full")
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
        assert self.tail.dropped.count <= len(self.dropped)
        assert list(self.tail.take(1_000).entries) == self.model


class MemoryMachine(TailMachine):
    """A tail in memory; what it leaves is gone."""

    def begin(self) -> Tail:
        """Return an empty tail."""
        return MemoryTail(LIMIT, drop_old=self.drop_old)

    def size(self, entry: Entry) -> int:
        """Return what the tail counts."""
        return len(pack(entry)) + _OVERHEAD


class SpoolMachine(TailMachine):
    """A tail in files; what it leaves is adopted."""

    def begin(self) -> Tail:
        """Return an empty tail."""
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(spool, "SEGMENT_BYTES", SEGMENT_BYTES)
        self.directory = Path(tempfile.mkdtemp())
        return self.spool()

    def spool(self) -> Spool:
        """Return a spool in the same directory."""
        return Spool(self.directory / "spool", LIMIT, drop_old=self.drop_old)

    def size(self, entry: Entry) -> int:
        """Return what the tail counts."""
        return len(pack(entry)) + 8

    @rule()
    def restart(self) -> None:
        """End the process, and begin another."""
        self.tail.close()
        self.end()
        self.tail = self.spool()

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
        # What was dropped may be there still, where its process died before it let go of the file.
        assert [each for each in found if each not in self.dropped] == self.left
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


class DroppingMemoryMachine(MemoryMachine):
    """A tail in memory that lets the oldest go."""

    drop_old = True


class DroppingSpoolMachine(SpoolMachine):
    """A tail in files that lets the oldest go."""

    drop_old = True


TestMemoryTail = MemoryMachine.TestCase
TestSpool = SpoolMachine.TestCase
TestDroppingMemoryTail = DroppingMemoryMachine.TestCase
TestDroppingSpool = DroppingSpoolMachine.TestCase
for case in (TestMemoryTail, TestSpool):
    case.__doc__ = "Whatever is done to a tail, it stays within its bytes and loses nothing."
    case.settings = settings(max_examples=100, stateful_step_count=40)
for case in (TestDroppingMemoryTail, TestDroppingSpool):
    case.__doc__ = "A tail that drops loses the oldest only, and only to stay within its bytes."
    case.settings = settings(max_examples=100, stateful_step_count=40)
del case


@pytest.fixture(params=["memory", "spool"])
def make_tail(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[MakeTail]:
    """Return a function that makes empty tails of so many bytes."""
    made: list[Any] = []

    def make_tail(limit: int, **more: bool) -> Tail:
        if request.param == "memory":
            made.append(MemoryTail(limit, **more))
        else:
            made.append(Spool(tmp_path, limit, **more))
        return made[-1]

    yield make_tail
    for tail in made:
        tail.close()


MakeTail = Callable[..., Tail]


def test_a_release_makes_room(make_tail: MakeTail) -> None:
    """A full tail takes new entries again once old ones are released."""
    tail = make_tail(2 * (_OVERHEAD + len(pack(entry(1_001, 10)))))
    numbers = iter(range(1_000))
    while tail.append(pack(entry(next(numbers), 10))) is None:
        pass
    waiting = len(tail)
    tail.release(tail.take(1).mark)
    assert tail.append(pack(entry(1_001, 10))) is None
    assert tail.append(pack(entry(1_002, 10))) == "full"
    kept = [kept.id for kept in tail.take(1_000).entries]
    assert kept == [*map(str, range(1, waiting)), "1001"]


def test_a_mark_released_late_counts_nothing_twice(make_tail: MakeTail) -> None:
    """Marks of overlapping takes may be released in any order, each more than once."""
    tail = make_tail(2**20)
    for number in range(5):
        tail.append(pack(entry(number, 10)))
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
            target=lambda start=start: [tail.append(pack(entry(start + n, 1))) for n in range(500)]
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
    tail.append(pack(entry(1, 1)))
    tail._lock.acquire()  # type: ignore[attr-defined]
    tail.reset_after_fork()
    assert tail.append(pack(entry(2, 1))) is None
    assert [kept.id for kept in tail.take(9).entries] == ["2"]


def test_memory_leaves_nothing() -> None:
    """A tail in memory has no orphans, and settles none."""
    tail = MemoryTail(LIMIT)
    tail.append(pack(entry(1, 1)))
    tail.close()
    assert not tail.orphaned()
    assert tail.orphans() == ()


@pytest.mark.parametrize(("is_committed", "dropped"), [(True, 0), (False, 3)])
def test_what_is_dropped_while_it_is_committed(
    make_tail: MakeTail, *, is_committed: bool, dropped: int
) -> None:
    """An entry that made room while it was being committed is lost only if that failed."""
    tail = make_tail(4_000, drop_old=True)
    for number in range(3):
        assert tail.append(pack(entry(number, 1_000))) is None
    taken = tail.take(10)
    for number in range(3, 6):
        assert tail.append(pack(entry(number, 1_000))) is None
    if is_committed:
        tail.release(taken.mark)
    assert [each.id for each in tail.take(10).entries] == ["3", "4", "5"]
    assert (tail.dropped.count, len(tail)) == (dropped, 3)


def test_an_entry_larger_than_everything_is_refused(make_tail: MakeTail) -> None:
    """What cannot fit however much is dropped is refused."""
    tail = make_tail(1_000, drop_old=True)
    assert tail.append(pack(entry(1, 100))) is None
    assert tail.append(pack(entry(2, 5_000))) == "full"


def test_a_signal_handler_may_append(make_tail: MakeTail) -> None:
    """A handler that interrupts an append appends too, again and again, and nothing is lost."""
    tail = make_tail(10**7)
    handled = 0

    def handler(*_: object) -> None:
        nonlocal handled
        assert tail.append(pack(entry(10**6 + handled, 10))) is None
        handled += 1
        signal.setitimer(signal.ITIMER_REAL, 0.0005)

    before = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.0005)
    try:
        count = 0
        deadline = time.monotonic() + 5
        while handled < 50 and time.monotonic() < deadline:
            assert tail.append(pack(entry(count, 10))) is None
            count += 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert handled >= 50
    ids = [int(each.id) for each in tail.take(10**7).entries]
    assert sorted(ids) == [*range(count), *range(10**6, 10**6 + handled)]


def test_a_signal_handler_may_append_in_the_middle_of_a_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a handler appends while a record is half written leaves that record alone."""
    tail = Spool(tmp_path, 10**7)
    write = segment.Segment.write

    def interrupted(self: segment.Segment, data: bytes) -> None:
        if unpack(data).id == "0":
            assert tail.append(pack(entry(1, 10))) is None
            assert tail.append(pack(entry(2, 10))) is None
        write(self, data)

    monkeypatch.setattr(segment.Segment, "write", interrupted)
    assert tail.append(pack(entry(0, 10))) is None
    assert tail.append(pack(entry(3, 10))) is None
    taken = tail.take(10)
    assert sorted(each.id for each in taken.entries) == ["0", "1", "2", "3"]
    tail.release(taken.mark)
    assert len(tail) == 0
    tail.close()
