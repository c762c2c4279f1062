"""State as folds see it while a batch lasts."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from journeykit.model import jsonbytes
from journeykit.store import view as module
from journeykit.store.memory import MemoryStore
from journeykit.store.protocol import PROJECTOR, Projection, by_space
from journeykit.store.view import Alarm, Cache, View

keys = st.sampled_from(["a", "ab", "abc", "b", "bc"])
spaces = st.sampled_from(["run", "timer"])
numbers = st.integers(-99, 99)
pieces = st.none() | numbers | st.lists(numbers, max_size=3)
steps = st.one_of(
    st.tuples(st.just("put"), spaces, keys, pieces),
    st.tuples(st.just("get"), spaces, keys, st.none()),
    st.tuples(st.just("prefetch"), spaces, keys, st.none()),
    st.tuples(st.just("keys"), spaces, keys, st.none()),
    st.tuples(st.just("find"), spaces, keys, st.none()),
    st.tuples(st.just("pack"), spaces, keys, st.none()),
    st.tuples(st.just("write"), spaces, keys, st.none()),
)


class Written:
    """A store with a cache in front, and a view of both."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.cache = Cache()
        self.view = View(self.store, self.cache, Alarm())

    def write(self) -> None:
        """Write what has changed, and begin the next batch."""
        state = self.view.changes()
        at = self.store.cursor(PROJECTOR)
        self.store.project(Projection(PROJECTOR, at, (at or 0) + 1, state), 0)
        self.cache.update(state)
        self.view = View(self.store, self.cache, Alarm())


@given(st.lists(steps, max_size=40), st.integers(0, 3), st.integers(0, 3))
def test_view_is_a_dictionary(
    taken: list[tuple[str, str, str, Any]], decoded: int, cached: int
) -> None:
    """Whatever is packed, cached and written between two looks, a piece is what was put last."""
    expected: dict[tuple[str, str], Any] = {}
    written = Written()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "DECODED_PIECES", decoded)
        patch.setattr(module, "CACHED_PIECES", cached)
        for action, space, key, piece in taken:
            view = written.view
            there = sorted(
                k for (s, k), value in expected.items() if s == space and value is not None
            )
            if action == "put":
                view.put(space, key, piece, jsonbytes.dumps)
                expected[space, key] = piece
            elif action == "get":
                assert view.get(space, key, jsonbytes.loads) == expected.get((space, key))
            elif action == "prefetch":
                view.prefetch(space, [key, "zz"])
            elif action == "keys":
                assert view.keys(space, key) == [k for k in there if k.startswith(key)]
            elif action == "find":
                assert view.find(space, key) == [k for k in there if key in k]
            elif action == "pack":
                view.pack()
            else:
                written.write()
                assert len(written.cache) <= cached
        written.write()
    kept = {(s, k): v for s in ("run", "timer") for k, v in written.store.scan(s)}
    assert kept == {k: jsonbytes.dumps(v) for k, v in expected.items() if v is not None}


def test_wanted_pieces_are_read_in_one_go(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first look at any of them reads those of all spaces, whether they are there or not."""
    written = Written()
    written.view.put("run", "a", 1, jsonbytes.dumps)
    written.view.put("timer", "b", 2, jsonbytes.dumps)
    written.write()
    written.cache = Cache()
    view = View(written.store, written.cache, Alarm())
    looks: list[Any] = []
    read = written.store.states
    monkeypatch.setattr(
        written.store, "states", lambda wanted: looks.append(wanted) or read(wanted)
    )
    monkeypatch.setattr(written.store, "state", looks.append)

    view.prefetch("run", ["a", "none"])
    view.prefetch("timer", ["b"])
    assert looks == []
    found = [view.get(*each, jsonbytes.loads) for each in (("run", "none"), ("run", "a"))]

    assert [*found, view.get("timer", "b", jsonbytes.loads)] == [None, 1, 2]
    assert looks == [{"run": {"a", "none"}, "timer": {"b"}}]


def test_timers_that_are_coming_are_read_with_what_they_are() -> None:
    """Those that go off in time are named, in order and no more than asked for; nothing is lost."""
    written = Written()
    for at in (30, 10, 20, 40):
        written.view.put_timer(at, f"u:{at}\x1fshop@1\x1f", (f"u:{at}", at))
    written.write()
    alarm = Alarm()
    view = View(written.store, Cache(), alarm)
    assert view.coming(30, 10) == []
    assert view.next_timer(5) is None

    assert view.coming(9, 10) == []
    assert view.coming(30, 10) == [f"u:{at}\x1fshop@1\x1f" for at in (10, 20, 30)]
    assert view.coming(30, 2) == [f"u:{at}\x1fshop@1\x1f" for at in (10, 20)]

    found = [view.next_timer(35) for _ in range(4)]
    assert found == [["u:10", 10], ["u:20", 20], ["u:30", 30], None]
    assert alarm.at == 40


def test_what_changes_is_told_by_spaces() -> None:
    """Changes are a mapping of spaces and keys, whichever way they are looked at."""
    view = View(MemoryStore(), Cache(), Alarm())
    view.get("seen", "a", jsonbytes.loads)
    view.put("run", "a", 1, jsonbytes.dumps)
    view.put("run", "b", None, jsonbytes.dumps)
    view.put("timer", "a", [2], jsonbytes.dumps)
    changes = view.changes()
    plain = {("run", "a"): b"1", ("run", "b"): None, ("timer", "a"): b"[2]"}

    assert dict(changes) == plain
    assert len(changes) == len(plain)
    assert by_space(changes) == by_space(plain)
    changes.set(("more", "c"), b"3")
    assert changes["more", "c"] == b"3"
    assert ("more", "c") in changes


def test_what_is_written_again_and_again_stays_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """A piece of every batch is not read again, however many others come and go."""
    monkeypatch.setattr(module, "CACHED_PIECES", 8)
    written = Written()
    for batch in range(20):
        for key in ("often", f"once-{batch}", f"too-{batch}"):
            written.view.put("run", key, batch, jsonbytes.dumps)
        written.write()
    reads: list[Any] = []
    monkeypatch.setattr(written.store, "state", reads.append)

    assert written.view.get("run", "often", jsonbytes.loads) == 19
    assert reads == []
    assert written.view.get("run", "once-0", jsonbytes.loads) is None
    assert reads == [("run", "once-0")]


def test_timers_that_went_off_in_a_batch_are_not_named_as_coming() -> None:
    """A page of those that come next has none of those before, though the store still has them."""
    written = Written()
    for at in range(10, 60, 10):
        written.view.put_timer(at, f"u:{at}\x1fshop@1\x1f", (f"u:{at}", at))
    written.write()
    view = View(written.store, Cache(), Alarm())
    for _ in range(3):
        view.next_timer(30)

    assert view.next_timer(30) is None
    assert view.coming(50, 2) == ["u:40\x1fshop@1\x1f", "u:50\x1fshop@1\x1f"]
