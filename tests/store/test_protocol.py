from __future__ import annotations

import contextlib
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from journeykit.exceptions import Superseded
from journeykit.model.event import PUBLICATION, PUBLISHED, Entry, Kind, Stored
from journeykit.store.memory import MemoryStore
from journeykit.store.protocol import PROJECTOR, Commit, Committed, Parking, Projection, Store
from journeykit.store.sqlite import SQLiteStore

MakeEntry = Callable[..., Entry]


def ids(stored: Sequence[Stored]) -> list[str]:
    """Return the ids in a piece of the Log."""
    return [item.entry.id for item in stored]


def whole_log(store: Store) -> list[Stored]:
    """Return the Log, read in small pieces."""
    log: list[Stored] = []
    while piece := store.read(log[-1].position if log else None, 2):
        log += piece
    return log


#: A space that a store keeps by itself, and one whose pieces it keeps with their customer's others.
SPACES = pytest.mark.parametrize("space", ["s", "instance"])

#: Keys in the order of which a customer's come one after the other.
KEYS = [
    *("a", "a%1", "a_1", "ab", "é1", "z", "\x1fx", "A", "\U0001f600", "\uffff", "a b"),
    *("a\x1f", "a\x1fshop", "a\x1fshop\x1f", "a\x1fshop\x1f1", "ab\x1fshop", "a b\x1fs"),
]


class StoreContract:
    """What every store has to do; a subclass says which one."""

    @pytest.fixture
    def store(self) -> Iterator[Store]:
        """Return an empty store."""
        raise NotImplementedError

    def test_this_version_may_write(self, store: Store) -> None:
        """A store that no newer version has changed lets this one write."""
        store.check_writer()

    # The Log

    def test_new_store_is_empty(self, store: Store) -> None:
        """A new store has no events, no State, no cursor and nothing parked."""
        assert store.read(None, 10) == []
        assert store.fetch([]) == []
        assert store.state(("space", "key")) is None
        assert list(store.scan("space")) == []
        assert store.trail("u:ada") == []
        assert store.cursor("sink:archive") is None
        assert store.parked() == []
        assert store.counters() == {"events": 0}

    def test_log_keeps_the_order_of_commits(self, store: Store, make_entry: MakeEntry) -> None:
        """Events are read in the order in which they were committed, in pieces of any size."""
        entries = [make_entry() for _ in range(7)]
        store.commit(Commit(entries[:3]), 1)
        store.commit(Commit(entries[3:]), 2)

        assert [item.entry for item in whole_log(store)] == entries
        assert [item.entry for item in store.read(None, 100)] == entries

    def test_reading_goes_on_behind_a_position(self, store: Store, make_entry: MakeEntry) -> None:
        """A position that was read leads to the event behind it, also when that comes later."""
        store.commit(Commit([make_entry(id="a"), make_entry(id="b")]), 1)
        first, second = store.read(None, 2)
        assert store.read(second.position, 10) == []

        store.commit(Commit([make_entry(id="c")]), 2)

        assert ids(store.read(first.position, 10)) == ["b", "c"]
        assert ids(store.read(first.position, 1)) == ["b"]
        assert ids(store.read(second.position, 10)) == ["c"]

    def test_entries_come_back_as_they_went_in(self, store: Store) -> None:
        """Every column of an entry, and its body, survive the store."""
        entries = [
            Entry("1", Kind.TOUCHPOINT, "Näme", "u", "a", "s", -5, 0, b'{"id":"1"}'),
            Entry("2", Kind.FACT, "customer.identified", None, "a", None, 0, 1, b"{}"),
            Entry("3", Kind.DERIVED, "stage.entered", "u", None, None, 2**60, 3, b'{"\xc3\xa9":0}'),
        ]
        store.commit(Commit(entries), 77)

        read = store.read(None, 10)

        assert [item.entry for item in read] == entries
        assert [type(item.entry.kind) for item in read] == [Kind, Kind, Kind]
        assert {item.recorded_at for item in read} == {77}

    def test_derived_events_keep_log_time_too(self, store: Store, make_entry: MakeEntry) -> None:
        """A projection whose clock is behind records its derived events at the Log's time."""
        store.commit(Commit([make_entry()]), 100)
        store.project(Projection(PROJECTOR, None, None, derived=[make_entry(kind=Kind.DERIVED)]), 5)

        assert [item.recorded_at for item in store.read(None, 10)] == [100, 100]

    def test_same_id_is_kept_once(self, store: Store, make_entry: MakeEntry) -> None:
        """The first event with an id stays; later ones, in this commit or another, are left out."""
        first = make_entry("First", id="x")
        answer = store.commit(Commit([first, make_entry("Second", id="x"), make_entry(id="y")]), 1)
        again = store.commit(Commit([make_entry("Third", id="x"), make_entry(id="z")]), 2)

        assert answer == Committed(added=2, repeated=1)
        assert again == Committed(added=1, repeated=1)
        assert ids(store.read(None, 10)) == ["x", "y", "z"]
        assert store.read(None, 1)[0].entry == first
        assert store.counters()["events"] == 3

    def test_fetch_returns_log_order(self, store: Store, make_entry: MakeEntry) -> None:
        """Events fetched by their positions come in Log order, however they were asked for."""
        store.commit(Commit([make_entry() for _ in range(5)]), 1)
        log = store.read(None, 10)
        wanted = [log[3], log[0], log[4]]

        assert store.fetch([item.position for item in wanted]) == [log[0], log[3], log[4]]

    def test_publications_are_found_among_the_events(
        self, store: Store, make_entry: MakeEntry
    ) -> None:
        """Facts that versions are published are in the Log, found at once, and not counted."""
        assert store.published() == store.peek_published() == []
        store.commit(Commit([make_entry(id="a")]), 5)
        facts = [
            make_entry(
                PUBLISHED,
                flags=PUBLICATION,
                id=name,
                user_id=None,
                kind=Kind.FACT,
                actor="configuration",
            )
            for name in ("p", "q")
        ]
        made = [store.publish(fact, now) for fact, now in zip(facts, (3, 9), strict=True)]
        store.commit(Commit([make_entry(id="b")]), 10)

        assert [(stored.entry, stored.recorded_at) for stored in made] == [
            (facts[0], 5),
            (facts[1], 9),
        ]
        assert store.published() == store.peek_published() == made
        assert ids(store.read(None, 9, derived=False)) == ["a", "p", "q", "b"]
        assert store.counters()["events"] == 2

    def test_signal_changes_with_the_log(self, store: Store, make_entry: MakeEntry) -> None:
        """The signal stays while nothing happens and changes when another thread commits."""
        before = store.signal()
        assert store.signal() == before
        writer = threading.Thread(target=store.commit, args=(Commit([make_entry()]), 1))
        writer.start()
        writer.join()

        assert store.signal() != before

    def test_threads_commit_at_once(self, store: Store, make_entry: MakeEntry) -> None:
        """Threads that commit at the same time lose nothing, and each keeps its own order."""
        work = [[make_entry(id=f"{thread}-{i}") for i in range(20)] for thread in range(4)]

        def run(entries: list[Entry]) -> None:
            for entry in entries:
                store.commit(Commit([entry], counts={"seen": 1}), 1)

        threads = [threading.Thread(target=run, args=(entries,)) for entries in work]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        log = ids(store.read(None, 1000))
        for thread_number, entries in enumerate(work):
            mine = [event for event in log if event.startswith(f"{thread_number}-")]
            assert mine == [entry.id for entry in entries]
        assert store.counters() == {"events": 80, "seen": 80}

    # Parked events and counters

    def test_commit_parks_and_counts(self, store: Store, make_entry: MakeEntry) -> None:
        """One commit writes events, parks others with their reason, and adds to the counters."""
        bad = make_entry(id="bad", flags=3)
        store.commit(
            Commit([make_entry()], [Parking("plugin:filter", bad, "no")], {"withheld:x": 2}), 9
        )
        store.commit(Commit(counts={"withheld:x": 1}), 10)

        (parked,) = store.parked()
        assert (parked.owner, parked.entry, parked.reason) == ("plugin:filter", bad, "no")
        assert (parked.parked_at, parked.replay) == (9, False)
        assert store.counters() == {"events": 1, "withheld:x": 3}
        assert len(store.read(None, 10)) == 1

    def test_count_adds(self, store: Store) -> None:
        """Counters add up, each by its name."""
        store.count({"a": 1, "b": 5})
        store.count({"a": 2})

        assert store.counters() == {"events": 0, "a": 3, "b": 5}

    def test_parked_is_filtered_and_limited(self, store: Store, make_entry: MakeEntry) -> None:
        """Parked events are listed oldest first, by owner and up to a limit."""
        for number, owner in enumerate(["sink:a", "sink:b", "sink:a", "sink:a"]):
            store.commit(Commit(parked=[Parking(owner, make_entry(id=str(number)), "r")]), number)

        assert [item.entry.id for item in store.parked()] == ["0", "1", "2", "3"]
        assert [item.entry.id for item in store.parked("sink:a", limit=2)] == ["0", "2"]
        assert store.parked("sink:none") == []

    def test_replay_marks_and_settle_removes(self, store: Store, make_entry: MakeEntry) -> None:
        """Replayed events wait for their owner, who removes them or gives a new reason."""
        parkings = [Parking("sink:a", make_entry(id=event), "old") for event in "pqr"]
        store.commit(Commit(parked=[*parkings, Parking("sink:b", make_entry(id="s"), "old")]), 1)

        assert store.replay("sink:a") == 3
        assert store.replay("sink:a") == 0
        assert [item.entry.id for item in store.parked(replay=True)] == ["p", "q", "r"]
        assert [item.entry.id for item in store.parked(replay=False)] == ["s"]

        p, q, r = store.parked("sink:a")
        store.settle([p.number], {q.number: "new"})

        left = [(item.entry.id, item.reason, item.replay) for item in store.parked()]
        assert left == [("q", "new", False), ("r", "old", True), ("s", "old", False)]
        assert store.replay() == 2
        store.settle([r.number], {})
        assert [item.entry.id for item in store.parked()] == ["q", "s"]

    def test_commit_settles_what_it_replays(self, store: Store, make_entry: MakeEntry) -> None:
        """A commit removes the parked events that it takes up, and no others."""
        one, two = make_entry(id="one"), make_entry(id="two")
        store.commit(
            Commit(parked=[Parking("plugin:x", one, "r"), Parking("plugin:x", two, "r")]), 1
        )
        store.commit(Commit([one], unparked=[store.parked()[0].number]), 2)

        assert ids(store.read(None, 10)) == ["one"]
        assert [item.entry.id for item in store.parked()] == ["two"]

    def test_numbers_of_parked_events_are_not_used_again(
        self, store: Store, make_entry: MakeEntry
    ) -> None:
        """A number that named a parked event once never names another."""
        store.commit(Commit(parked=[Parking("sink:a", make_entry(), "r")]), 1)
        number = store.parked()[0].number
        store.settle([number], {})
        store.commit(Commit(parked=[Parking("sink:a", make_entry(), "r")]), 1)

        assert store.parked()[0].number != number

    def test_parked_events_know_when_they_were_recorded(
        self, store: Store, make_entry: MakeEntry
    ) -> None:
        """A parked event has the time the Log gave it; one that is not in the Log has none."""
        known, unknown = make_entry(id="known"), make_entry(id="unknown")
        store.commit(Commit([known]), 5)
        store.commit(Commit(parked=[Parking("sink:a", known, "r")]), 9)
        store.commit(Commit(parked=[Parking("plugin:b", unknown, "r")]), 9)

        assert [item.recorded_at for item in store.parked()] == [5, None]
        store.commit(Commit([unknown]), 11)
        assert [item.recorded_at for item in store.parked()] == [5, 11]

    def test_parked_events_are_read_in_pages(self, store: Store, make_entry: MakeEntry) -> None:
        """Reading goes on behind a number, with the same owner."""
        for number, owner in enumerate(["a", "b", "a", "a"]):
            store.commit(Commit(parked=[Parking(owner, make_entry(id=str(number)), "r")]), 1)
        (first,) = store.parked("a", limit=1)

        behind = store.parked("a", after=first.number, limit=1)
        assert [item.entry.id for item in behind] == ["2"]
        assert store.parked("a", after=store.parked()[-1].number) == []

    def test_customers_with_parked_events_are_found(
        self, store: Store, make_entry: MakeEntry
    ) -> None:
        """Of the customers asked for, those are told of whom this owner has parked an event."""
        one = make_entry(user_id="ada", anonymous_id="x")
        two = make_entry(user_id=None, anonymous_id="bob")
        store.commit(Commit(parked=[Parking("sink:a", one, "r"), Parking("sink:b", two, "r")]), 1)
        asked = {("user", "ada"), ("anonymous", "ada"), ("user", "x"), ("anonymous", "x")}

        assert store.with_parked("sink:a", asked) == {("user", "ada"), ("anonymous", "x")}
        assert store.with_parked("sink:a", {("anonymous", "bob")}) == set()
        assert store.with_parked("sink:b", {("anonymous", "bob")}) == {("anonymous", "bob")}
        assert store.with_parked("sink:a", set()) == set()

    def test_dropped_and_replayed_events_are_counted(
        self, store: Store, make_entry: MakeEntry
    ) -> None:
        """Dropping removes what there is and says how many; it and replaying are counted."""
        for event in "pq":
            store.commit(Commit(parked=[Parking("sink:a", make_entry(id=event), "r")]), 1)
        first, _ = store.parked()
        assert store.replay("sink:none") == 0
        assert store.drop([]) == 0
        assert store.counters() == {"events": 0}

        assert store.drop([first.number, first.number, 999]) == 1
        assert store.replay() == 1
        assert [item.entry.id for item in store.parked()] == ["q"]
        assert store.counters() == {"events": 0, "dropped": 1, "replayed": 1}

    # Readers

    def test_relays_read_what_the_log_has(self, store: Store, make_entry: MakeEntry) -> None:
        """What a relay reads has the Log's order and values, and the same wire form."""
        entries = [
            make_entry(id="a", user_id="Zoë", anonymous_id=None, flags=1),
            make_entry(id='"\\\x00', user_id=None, anonymous_id="x\n")._replace(body=b"{\xff\x00}"),
            make_entry(id="c")._replace(body=b""),
        ]
        store.commit(Commit(entries[:2]), 5)
        store.commit(Commit(entries[2:]), 6)
        log = store.read(None, 10)

        assert store.outgoing(None, 10) == [item.outgoing() for item in log]
        assert [item.wire() for item in store.outgoing(None, 2)] == [
            item.wire() for item in log[:2]
        ]
        assert [item.id for item in store.outgoing(log[0].position, 1)] == ['"\\\x00']
        assert store.outgoing(log[2].position, 10) == []

    def test_readers_tell_how_they_are(self, store: Store) -> None:
        """What a reader has said of itself last is there for everybody, each by its name."""
        assert store.told_status("sink:a") is None
        store.tell_status("sink:a", b"1")
        store.tell_status("sink:b", b"2")
        store.tell_status("sink:a", b"3")
        store.close()

        assert (store.told_status("sink:a"), store.told_status("sink:b")) == (b"3", b"2")

    def test_cursors_are_kept_by_name(self, store: Store, make_entry: MakeEntry) -> None:
        """Each reader has a cursor of its own, and parks in the step that moves it."""
        store.commit(Commit([make_entry(), make_entry()]), 1)
        first, second = store.read(None, 2)
        store.advance("sink:a", first.position, [], 2)
        store.advance("sink:b", second.position, [Parking("sink:b", second.entry, "400")], 3)

        assert store.cursor("sink:a") == first.position
        assert store.cursor("sink:b") == second.position
        assert store.cursor("sink:c") is None
        assert [(item.owner, item.entry.id) for item in store.parked()] == [
            ("sink:b", second.entry.id)
        ]

    def test_lead_is_exclusive_until_released(self, store: Store) -> None:
        """One role has one leader; another may lead once it is released, which can be repeated."""
        lease = store.lead("projector")
        assert lease is not None
        assert store.lead("projector") is None
        other = store.lead("sink:a/../b")
        assert other is not None

        lease.release()
        again = store.lead("projector")
        assert again is not None
        lease.release()
        assert store.lead("projector") is None
        again.release()
        other.release()

    # State

    def test_projection_writes_everything(self, store: Store, make_entry: MakeEntry) -> None:
        """A projection sets and removes State, fills trails, derives events, counts and moves."""
        store.commit(
            Commit([make_entry(id="a", user_id="ada"), make_entry(id="b", user_id="bob")]), 1
        )
        a, b = store.read(None, 2)
        derived = make_entry("stage.entered", id="d", kind=Kind.DERIVED)
        store.project(
            Projection(
                PROJECTOR,
                None,
                a.position,
                {("s", "k"): b"1", ("s", "gone"): b"2"},
                [("u:ada", a.position)],
                [derived],
                {"folded": 1},
            ),
            5,
        )
        store.project(
            Projection(
                PROJECTOR,
                a.position,
                b.position,
                {("s", "k"): b"3", ("s", "gone"): None, ("s", "never"): None},
                [("u:bob", b.position), ("u:ada", b.position)],
            ),
            6,
        )

        assert store.state(("s", "k")) == b"3"
        assert store.state(("s", "gone")) is None
        assert list(store.scan("s")) == [("k", b"3")]
        assert store.trail("u:ada") == [a.position, b.position]
        assert store.trail("u:bob") == [b.position]
        assert store.cursor(PROJECTOR) == b.position
        assert ids(store.read(None, 10)) == ["a", "b", "d"]
        assert store.counters() == {"events": 2, "folded": 1}

    def test_superseded_projection_writes_nothing(
        self, store: Store, make_entry: MakeEntry
    ) -> None:
        """A projection that expects the cursor elsewhere is refused as a whole."""
        store.commit(Commit([make_entry(id="a"), make_entry(id="b")]), 1)
        a, b = store.read(None, 2)
        store.project(Projection(PROJECTOR, None, a.position, {("s", "k"): b"1"}), 1)

        for expected in (None, b.position):
            stale = Projection(
                PROJECTOR,
                expected,
                b.position,
                {("s", "k"): b"2", ("s", "new"): b"2"},
                [("u:ada", b.position)],
                [make_entry(id="d", kind=Kind.DERIVED)],
                {"folded": 1},
            )
            with pytest.raises(Superseded):
                store.project(stale, 2)

        assert store.state(("s", "k")) == b"1"
        assert store.state(("s", "new")) is None
        assert store.trail("u:ada") == []
        assert store.cursor(PROJECTOR) == a.position
        assert ids(store.read(None, 10)) == ["a", "b"]
        assert store.counters() == {"events": 2}

    def test_derived_events_are_written_once(self, store: Store, make_entry: MakeEntry) -> None:
        """A derived event whose id is in the Log already is not written again."""
        derived = make_entry(id="d", kind=Kind.DERIVED)
        store.project(Projection(PROJECTOR, None, None, derived=[derived, derived]), 1)
        store.project(Projection(PROJECTOR, None, None, derived=[derived]), 2)

        assert ids(store.read(None, 10)) == ["d"]
        assert store.counters()["events"] == 0

    @SPACES
    @pytest.mark.parametrize(
        ("begin", "form"),
        [("a", "a{:04d}"), ("a", "a{:04d}\x1fshop\x1f"), ("a\x1f", "a\x1f{:04d}")],
    )
    def test_scan_goes_on_while_state_changes(
        self, store: Store, space: str, begin: str, form: str
    ) -> None:
        """A long scan yields every key once, and others may write meanwhile."""
        keys = [form.format(number) for number in range(1200)]
        state = {(space, key): b"1" for key in keys}
        state |= {(space, "b"): b"1", ("t", begin): b"1", ("customer", begin): b"1"}
        store.project(Projection(PROJECTOR, None, None, state), 1)
        found = []
        for key, _ in store.scan(space, begin):
            found.append(key)
            if len(found) % 400 == 0:
                change: dict[tuple[str, str], bytes | None] = {(space, key): b"2"}
                store.project(Projection(PROJECTOR, None, None, change), 1)

        assert found == keys

    @SPACES
    @pytest.mark.parametrize(
        "prefix", ["", "a", "a_", "a%", "é", "\x1f", "b", "a\x1f", "a\x1fs", "a\x1fz", "ab\x1f"]
    )
    def test_scan_finds_a_prefix(
        self, store: Store, make_entry: MakeEntry, space: str, prefix: str
    ) -> None:
        """A scan yields exactly the keys of one space that begin with the prefix, in order."""
        state: dict[tuple[str, str], bytes | None] = {(space, key): key.encode() for key in KEYS}
        others: dict[tuple[str, str], bytes | None] = {
            (other, key): b"other" for other in ("t", "customer", "link") for key in KEYS
        }
        store.commit(Commit([make_entry()]), 1)
        trail = [(key, store.read(None, 1)[0].position) for key in KEYS]
        store.project(Projection(PROJECTOR, None, None, {**state, **others}, trail), 1)

        expected = sorted(key for key in KEYS if key.startswith(prefix))

        assert list(store.scan(space, prefix)) == [(key, key.encode()) for key in expected]

    @SPACES
    @pytest.mark.parametrize("after", ["", "a", "a\x1f", "a\x1fshop", "ab", "zz"])
    def test_pages_follow_each_other(self, store: Store, space: str, after: str) -> None:
        """A page has the keys behind another one in order, as many as were asked for."""
        state: dict[tuple[str, str], bytes | None] = {(space, key): key.encode() for key in KEYS}
        store.project(Projection(PROJECTOR, None, None, {**state, ("link", "aa"): b"other"}), 1)

        behind = sorted(key for key in KEYS if key > after)

        for limit in (1, 3, 100):
            page = store.page(space, after, limit)
            assert page == [(key, key.encode()) for key in behind[:limit]]

    @SPACES
    @pytest.mark.parametrize("before", ["", "a", "a\x1f", "a\x1fshop", "ab", "zz", "\U0010ffff"])
    def test_pages_go_backwards(self, store: Store, space: str, before: str) -> None:
        """A page backwards has the keys before another one, the last one first."""
        state: dict[tuple[str, str], bytes | None] = {(space, key): key.encode() for key in KEYS}
        store.project(Projection(PROJECTOR, None, None, {**state, ("link", "aa"): b"other"}), 1)

        there = sorted((key for key in KEYS if key < before), reverse=True)

        for limit in (1, 3, 100):
            page = store.page(space, before, limit, backwards=True)
            assert page == [(key, key.encode()) for key in there[:limit]]

    def test_events_are_found_by_their_ids(self, store: Store, make_entry: MakeEntry) -> None:
        """The events with given ids come in the order of the Log; an unknown id is left out."""
        entries = [make_entry(f"Event {number}") for number in range(4)]
        store.commit(Commit(entries), 1)

        found = store.named([entries[2].id, "nobody", entries[0].id])

        assert [each.entry for each in found] == [entries[0], entries[2]]
        assert store.named([]) == []

    def test_chosen_parked_events_are_tried_again(
        self, store: Store, make_entry: MakeEntry
    ) -> None:
        """Only the numbers that were chosen are marked, and only those of their owner."""
        owners = ("sink:a", "sink:a", "sink:b")
        parked = [Parking(owner, make_entry(), "no") for owner in owners]
        store.commit(Commit(parked=parked), 1)
        first, _, last = [each.number for each in store.parked()]

        assert store.replay("sink:a", [first, last, 999]) == 1
        assert store.replay(None, []) == 0
        assert [each.replay for each in store.parked()] == [True, False, False]
        assert store.replay(numbers=[first, last]) == 1

    @SPACES
    @pytest.mark.parametrize("part", ["a", "\x1fs", "é1", "a\x1f", "zz"])
    def test_keys_are_found_by_a_part(self, store: Store, space: str, part: str) -> None:
        """The keys of one space that contain a text are found, wherever in the key it is."""
        state: dict[tuple[str, str], bytes | None] = {(space, key): b"1" for key in KEYS}
        store.project(Projection(PROJECTOR, None, None, {**state, ("link", "xax"): b"other"}), 1)

        assert store.find(space, part) == sorted(key for key in KEYS if part in key)

    def test_pieces_of_several_spaces_are_read_at_once(self, store: Store) -> None:
        """Of the keys that are asked for of each space, those that are there are returned."""
        spaces = ("s", "t", "instance", "customer")
        state: dict[tuple[str, str], bytes | None] = {
            (space, key): f"{space} {key}".encode() for space in spaces for key in KEYS
        }
        store.project(Projection(PROJECTOR, None, None, state), 1)
        # More than go into one statement.
        wanted = {space: {*KEYS[1:], *map(str, range(150))} for space in (*spaces[1:], "none")}

        found = store.states(wanted)

        expected = {
            space: {key: f"{space} {key}".encode() for key in KEYS[1:]} for space in spaces[1:]
        }
        assert found == {**expected, "none": {}}
        assert store.states({}) == {}

    @SPACES
    def test_pieces_are_replaced_and_removed(self, store: Store, space: str) -> None:
        """What is written anew is there once, what is removed is not, and others stay."""
        state: dict[tuple[str, str], bytes | None] = {(space, key): b"1" for key in KEYS}
        store.project(Projection(PROJECTOR, None, None, state), 1)
        changed: dict[tuple[str, str], bytes | None] = {
            (space, "a"): b"22",
            (space, "a\x1fshop"): None,
            (space, "never"): None,
        }
        store.project(Projection(PROJECTOR, None, None, changed), 1)

        assert store.state((space, "a")) == b"22"
        assert store.state((space, "a\x1fshop")) is None
        assert store.state(("other", "a")) is None
        left = {key: b"1" for key in KEYS if key != "a\x1fshop"}
        assert dict(store.scan(space)) == {**left, "a": b"22"}

    def test_forget_state_keeps_the_log(self, store: Store, make_entry: MakeEntry) -> None:
        """Forgetting leaves the Log, the other readers and what was parked, and what is to stay."""
        store.commit(Commit([make_entry(id="a")], [Parking("sink:x", make_entry(), "r")]), 1)
        (a,) = store.read(None, 1)
        store.project(
            Projection(
                PROJECTOR,
                None,
                a.position,
                {("s", "k"): b"1", ("instance", "u:ada\x1fk"): b"1"},
                [("u:ada", a.position)],
            ),
            1,
        )
        store.advance("sink:x", a.position, [], 1)

        store.forget_state({("meta", "declaration"): b"new"})

        assert store.state(("s", "k")) is None
        assert list(store.scan("instance")) == []
        assert list(store.scan("meta")) == [("declaration", b"new")]
        assert store.trail("u:ada") == []
        assert store.cursor(PROJECTOR) is None
        assert store.cursor("sink:x") == a.position
        assert ids(store.read(None, 10)) == ["a"]
        assert len(store.parked()) == 1
        assert store.counters() == {"events": 1}

    # Watermarks

    def test_watermark_tells_how_far_a_file_was_read(
        self, store: Store, make_entry: MakeEntry
    ) -> None:
        """A watermark is kept for each file, never moves back, and is forgotten with the file."""
        assert store.watermark("a") is None
        store.commit(Commit([make_entry(id="x")], watermarks=[("a", 30), ("b", 7)]), 1)
        store.commit(Commit(watermarks=[("a", 20)]), 1)
        assert (store.watermark("a"), store.watermark("b")) == (30, 7)
        store.commit(Commit(watermarks=[("a", 40), ("b", None), ("c", None)]), 1)
        store.close()

        assert (store.watermark("a"), store.watermark("b")) == (40, None)
        assert ids(store.read(None, 10)) == ["x"]

    def test_watermark_moves_with_its_events(self, store: Store, make_entry: MakeEntry) -> None:
        """A commit that fails moves no watermark, so that its events are read again."""
        store.commit(Commit([make_entry(id="x")], watermarks=[("a", 30)]), 1)
        broken = make_entry(id="y")._replace(kind="no kind")
        with contextlib.suppress(Exception):
            store.commit(Commit([broken], counts={"n": object()}, watermarks=[("a", 60)]), 1)  # type: ignore[dict-item]

        assert store.watermark("a") == 30

    def test_sizes_are_bytes(self, store: Store, make_entry: MakeEntry) -> None:
        """A store says how many bytes it takes, part by part, also before anything is in it."""
        assert all(size >= 0 for size in store.sizes().values())
        store.commit(Commit([make_entry()]), 1)

        assert all(size > 0 for size in store.sizes().values())

    def test_opening_and_closing_twice_is_harmless(
        self, store: Store, make_entry: MakeEntry
    ) -> None:
        """A store can be opened twice, closed twice, and used again."""
        store.open()
        store.open()
        store.commit(Commit([make_entry(id="a")]), 1)
        store.close()
        store.close()

        assert ids(store.read(None, 10)) == ["a"]


class TestMemoryStore(StoreContract):
    """The store in memory keeps the contract."""

    @pytest.fixture
    def store(self) -> Iterator[Store]:
        """Return an empty store in memory."""
        store = MemoryStore()
        yield store
        store.close()


class TestSQLiteStore(StoreContract):
    """The store in a file keeps the contract."""

    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[Store]:
        """Return an empty store in a file."""
        store = SQLiteStore(tmp_path / "store.db")
        yield store
        store.close()


@pytest.fixture(scope="module", params=["memory", "sqlite"])
def shared_store(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Store]:
    """Return a store that the examples of a property share."""
    in_memory = request.param == "memory"
    store = MemoryStore() if in_memory else SQLiteStore(tmp_path_factory.mktemp("s") / "store.db")
    yield store
    store.close()


@given(clock=st.lists(st.integers(min_value=0, max_value=2**60), max_size=6))
def test_recorded_at_never_falls(
    shared_store: Store, make_entry: MakeEntry, clock: list[int]
) -> None:
    """Log time does not go back when the clock does, and is the clock's when that goes on."""
    log = shared_store.read(None, 10_000)
    latest = log[-1].recorded_at if log else 0
    for now in clock:
        shared_store.commit(Commit([make_entry()]), now)

    added = shared_store.read(log[-1].position if log else None, 10_000)

    expected = [max(latest, *clock[: index + 1]) for index in range(len(clock))]
    assert [item.recorded_at for item in added] == expected


_IDS = st.sampled_from([f"e{number}" for number in range(12)])
_KEYS = st.sampled_from(["a", "ab", "b", "é", "u:u", "u:u\x1fshop", "u:u\x1f", "u:u!"])
_SPACES = ("s", "instance", "customer")
_OWNERS = st.sampled_from(["sink:a", "plugin:p"])
_NAMES = st.sampled_from([PROJECTOR, "sink:a"])
_NOW = st.integers(min_value=0, max_value=20)


class StoresAgree(RuleBasedStateMachine):
    """Does the same to both stores; whatever can be seen of them is the same."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = tempfile.mkdtemp(prefix="journeykit-test-")
        self.memory = MemoryStore()
        self.sqlite = SQLiteStore(Path(self.directory) / "store.db")
        self.stores: tuple[Store, Store] = (self.memory, self.sqlite)
        self.parked_numbers: list[int] = []

    @initialize()
    def _open(self) -> None:
        for store in self.stores:
            store.open()

    def teardown(self) -> None:
        """Close and remove the stores."""
        self.sqlite.close()
        shutil.rmtree(self.directory)

    def _entry(self, id: str, kind: Kind = Kind.TOUCHPOINT) -> Entry:
        return Entry(id, kind, "Name", "u", None, None, 0, 0, f'{{"id":"{id}"}}'.encode())

    def _position(self, store: Store, index: int | None) -> Any:
        log = store.read(None, 1000)
        return None if index is None or not log else log[index % len(log)].position

    @rule(
        ids=st.lists(_IDS, max_size=4),
        parked=st.lists(st.tuples(_OWNERS, _IDS), max_size=2),
        now=_NOW,
    )
    def commit(self, ids: list[str], parked: list[tuple[str, str]], now: int) -> None:
        """Commit events, some of them known, and park some."""
        parkings = [Parking(owner, self._entry(event), "r") for owner, event in parked]
        commit = Commit([self._entry(event) for event in ids], parkings, {"c": 1})
        answers = {store.commit(commit, now) for store in self.stores}
        assert len(answers) == 1

    @rule(
        index=st.none() | st.integers(0, 20),
        stale=st.booleans(),
        state=st.dictionaries(
            st.tuples(st.sampled_from(_SPACES), _KEYS),
            st.none() | st.binary(max_size=2),
            max_size=3,
        ),
        derived=st.lists(_IDS, max_size=2),
        now=_NOW,
    )
    def project(
        self,
        index: int | None,
        stale: bool,
        state: dict[tuple[str, str], bytes | None],
        derived: list[str],
        now: int,
    ) -> None:
        """Project from where the cursor stands, or from where it does not."""
        refused = []
        for store in self.stores:
            there = self._position(store, index)
            projection = Projection(
                PROJECTOR,
                "elsewhere" if stale else store.cursor(PROJECTOR),
                there,
                state,
                [] if there is None else [("u:u", there)],
                [self._entry(event, Kind.DERIVED) for event in derived],
                {"folded": 1},
            )
            try:
                store.project(projection, now)
                refused.append(False)
            except Superseded:
                refused.append(True)
        assert refused == [stale, stale]

    @rule(
        name=_NAMES,
        index=st.none() | st.integers(0, 20),
        parked=st.lists(_IDS, max_size=2),
        now=_NOW,
    )
    def advance(self, name: str, index: int | None, parked: list[str], now: int) -> None:
        """Move a reader and park what it could not deliver."""
        for store in self.stores:
            parkings = [Parking("sink:a", self._entry(event), "no") for event in parked]
            store.advance(name, self._position(store, index), parkings, now)

    @rule(owner=st.none() | _OWNERS)
    def replay(self, owner: str | None) -> None:
        """Mark parked events for another try."""
        assert self.memory.replay(owner) == self.sqlite.replay(owner)

    @precondition(lambda self: bool(self.memory.parked()))
    @rule(pick=st.integers(0, 20), succeeds=st.booleans())
    def settle(self, pick: int, succeeds: bool) -> None:
        """Settle one parked event, for good or with a new reason."""
        parked = self.memory.parked()
        number = parked[pick % len(parked)].number
        for store in self.stores:
            store.settle([number] if succeeds else [], {} if succeeds else {number: "again"})

    @rule(keep=st.dictionaries(_KEYS, st.binary(max_size=2), max_size=2))
    def forget(self, keep: dict[str, bytes]) -> None:
        """Forget State but for a few pieces."""
        for store in self.stores:
            store.forget_state({("s", key): data for key, data in keep.items()})

    @rule()
    def reopen(self) -> None:
        """Close the stores and go on with what they kept."""
        for store in self.stores:
            store.close()

    def _seen(self, store: Store) -> tuple[object, ...]:
        log = store.read(None, 1000)
        index = {item.position: number for number, item in enumerate(log)} | {None: None}
        return (
            [(item.recorded_at, item.entry) for item in log],
            [list(store.scan(space)) for space in _SPACES],
            [list(store.scan(space, begin)) for space in _SPACES for begin in ("a", "u:u\x1f")],
            [store.page(space, after, 2) for space in _SPACES for after in ("ab", "u:u\x1f")],
            [store.find(space, "u") for space in _SPACES],
            store.states({space: ["a", "u:u\x1fshop"] for space in _SPACES}),
            [index[position] for position in store.trail("u:u")],
            [index[store.cursor(name)] for name in (PROJECTOR, "sink:a")],
            store.parked(),
            store.parked("sink:a", replay=True),
            store.counters(),
        )

    @invariant()
    def agree(self) -> None:
        """Log, State, trails, cursors, parked events and counters are the same."""
        assert self._seen(self.memory) == self._seen(self.sqlite)


class TestStoresAgree(StoresAgree.TestCase):
    """Any history of commits, projections and readers leaves both stores with the same content."""

    settings = settings(max_examples=25, stateful_step_count=20, deadline=None)
