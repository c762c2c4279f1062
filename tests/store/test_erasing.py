from __future__ import annotations

import functools
import json
import random
import sqlite3
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from journeykit.erasing import fact
from journeykit.exceptions import StoreError
from journeykit.model import Customer, Entry, Kind
from journeykit.model.event import ERASURE
from journeykit.store import free_space, wipe
from journeykit.store.erasure import Erasure, Resolved
from journeykit.store.protocol import PROJECTOR, Commit, Parking, Projection, Store
from journeykit.store.sqlite import SQLiteStore

NOON = 1_772_452_800_000_000
LATER = NOON + 60_000_000

ADA = ("user", "ada@example.org")
COOKIE = ("anonymous", "cookie-of-ada")

MakeEntry = Callable[..., Entry]


def begin(store: Store, *ids: tuple[str, str], at: int = LATER, sinks: Any = ()) -> Erasure:
    """Begin to erase somebody at the instant *at*."""
    stated = fact("customer", "asked", {"app": "tests"}, at)
    store.erasing.begin(stated, ids, sinks, at)
    return found(store, stated.id)


def found(store: Store, event: str) -> Erasure:
    """Return an erasure as it is now."""
    erasure = store.erasing.find(event)
    assert erasure is not None
    return erasure


def sweep(store: Store, erasure: Erasure, *ids: tuple[str, str]) -> Erasure:
    """Let it be known who the customer is, and delete all they have."""
    store.erasing.resolve(Resolved(erasure.event, ids or erasure.ids))
    while not (erasure := found(store, erasure.event)).swept:
        store.erasing.sweep(erasure)
    return erasure


def names(store: Store) -> list[str]:
    """Return the names of the events in the Log."""
    return [stored.entry.name for stored in store.read(None, 10_000)]


@pytest.fixture
def person(make_entry: MakeEntry) -> Callable[..., Entry]:
    """Return a factory of Ada's events."""
    return functools.partial(make_entry, user_id=ADA[1], anonymous_id=COOKIE[1])


def test_fact_names_nobody(store: Store, person: MakeEntry) -> None:
    """What stays in the Log are the hashes of the ids, who asked and why: no id."""
    store.commit(Commit([person()]), NOON)

    sweep(store, begin(store, ADA), ADA, COOKIE)

    (stored,) = store.read(None, 10)
    wire = json.loads(stored.entry.body)
    assert (stored.entry.name, stored.entry.kind) == ("customer.erased", Kind.FACT)
    assert stored.entry.flags & ERASURE
    assert (wire["actor"], wire["reason"]) == ("customer", "asked")
    assert not any(wire["customer"].values())
    assert len(wire["properties"]["ids"]) == 2
    assert ADA[1] not in str(wire)
    assert COOKIE[1] not in str(wire)


def test_hashes_are_those_of_this_store(
    tmp_path: Path, store: Store, person: MakeEntry, make_entry: MakeEntry
) -> None:
    """Two stores hash the same id differently, so that nobody can look one up in a table."""
    other = SQLiteStore(tmp_path / "other.db")
    bodies = []
    for each in (store, other):
        begin(each, ADA)
        bodies.append(json.loads(each.read(None, 1)[0].entry.body)["properties"]["ids"])
    other.close()
    assert bodies[0] != bodies[1]


def test_key_of_the_hashes_is_the_owners(tmp_path: Path) -> None:
    """The key is beside the database, for its owner only, and nothing else stays there."""
    store = SQLiteStore(tmp_path / "store.db")
    begin(store, ADA)
    store.close()
    assert stat.S_IMODE((tmp_path / "store.db-key").stat().st_mode) == 0o600
    assert len(list(tmp_path.glob("store.db-key*"))) == 1


def test_everything_of_the_person_is_deleted(
    store: Store, person: MakeEntry, make_entry: MakeEntry
) -> None:
    """All events up to the fact go, known or anonymous, observed or derived; others' stay."""
    store.commit(
        Commit(
            [
                person("Mine"),
                make_entry("Anonymous", user_id=None, anonymous_id=COOKIE[1]),
                person("Of Tomorrow", at=86_400),
                make_entry("Other's", user_id="bob"),
                make_entry("Nobody's", user_id=None, anonymous_id="other"),
            ]
        ),
        NOON,
    )
    derived = [person("stage.entered", kind=Kind.DERIVED, at=120)]
    store.project(Projection(PROJECTOR, None, None, derived=derived), NOON)
    erasure = sweep(store, begin(store, ADA), ADA, COOKIE)

    assert names(store) == ["Other's", "Nobody's", "customer.erased"]
    assert erasure.counts["log"] == 4
    assert store.counters()["events"] == 3


def test_others_event_from_the_same_browser_loses_its_cookie(
    store: Store, make_entry: MakeEntry
) -> None:
    """An event of somebody else from the person's browser stays, without the browser's id."""
    store.commit(Commit([make_entry("Bob's", user_id="bob", anonymous_id=COOKIE[1])]), NOON)

    sweep(store, begin(store, ADA), ADA, COOKIE)

    entry = store.read(None, 1)[0].entry
    assert (entry.user_id, entry.anonymous_id) == ("bob", None)
    assert json.loads(entry.body)["customer"] == {
        "user_id": "bob",
        "anonymous_id": None,
        "session_id": None,
    }


def test_late_events_are_left_out(store: Store, person: MakeEntry, make_entry: MakeEntry) -> None:
    """What comes behind the fact and is older than it never comes to the Log, under no id."""
    sweep(store, begin(store, ADA), ADA, COOKIE)

    committed = store.commit(
        Commit(
            [
                person("Late"),
                make_entry("Late too", user_id=None, anonymous_id=COOKIE[1]),
                make_entry("Bob's", user_id="bob", anonymous_id=COOKIE[1]),
                make_entry("Carol's", user_id="carol"),
            ]
        ),
        LATER + 1,
    )

    assert committed == (2, 0, 2, True)
    assert names(store) == ["customer.erased", "Bob's", "Carol's"]
    assert store.read(None, 10)[1].entry.anonymous_id is None
    assert store.counters()["erased"] == 2


def test_later_events_begin_a_new_customer(store: Store, person: MakeEntry) -> None:
    """Events of after the fact are kept, also those that come before the sweep."""
    erasure = begin(store, ADA)
    store.commit(Commit([person("New", at=61)]), LATER + 2_000_000)
    sweep(store, erasure, ADA, COOKIE)
    store.commit(Commit([person("Newer", at=62)]), LATER + 3_000_000)
    assert names(store) == ["customer.erased", "New", "Newer"]


def test_late_events_under_an_id_not_yet_known_are_deleted(
    store: Store, make_entry: MakeEntry
) -> None:
    """What slipped in before it was known who the customer is, goes with the sweep."""
    erasure = begin(store, ADA)
    late = make_entry("Late", user_id=None, anonymous_id=COOKIE[1])
    new = make_entry("New", user_id=None, anonymous_id=COOKIE[1], at=100)
    store.commit(Commit([late, new]), LATER)

    sweep(store, erasure, ADA, COOKIE)

    assert names(store) == ["customer.erased", "New"]


def test_parked_events_go_too(store: Store, person: MakeEntry, make_entry: MakeEntry) -> None:
    """What any owner has parked of the person is deleted, and nothing of others."""
    mine, bobs = person(), make_entry(user_id="bob", anonymous_id=COOKIE[1])
    parked = [Parking("sink:crm", mine, "no"), Parking("plugin:p", mine, "no")]
    store.commit(Commit([], [*parked, Parking("sink:crm", bobs, "no")]), NOON)

    erasure = sweep(store, begin(store, ADA), ADA, COOKIE)

    assert [(item.entry.id, item.entry.anonymous_id) for item in store.parked()] == [
        (bobs.id, None)
    ]
    assert erasure.counts["parked"] == 2


def test_nothing_of_them_is_parked_later(store: Store, person: MakeEntry) -> None:
    """What a plugin or a sink parks behind the fact, and is older, is left out."""
    sweep(store, begin(store, ADA))
    store.commit(Commit([], [Parking("plugin:p", person(), "no")]), LATER + 1)
    store.advance("sink:crm", None, [Parking("sink:crm", person(), "no")], LATER + 1)
    assert store.parked() == []


def test_projector_ends_the_trail(store: Store, person: MakeEntry) -> None:
    """The projection that says who was erased deletes their trail, but not that of later events."""
    store.commit(Commit([person("Mine")]), NOON)
    erasure = begin(store, ADA)
    store.commit(Commit([person("New", at=100)]), LATER)
    mine, _, new = store.read(None, 10)
    store.project(
        Projection(PROJECTOR, None, mine.position, {}, [("u:ada@example.org", mine.position)]),
        LATER,
    )
    assert store.trail("u:ada@example.org") == [mine.position]

    store.project(
        Projection(
            PROJECTOR,
            mine.position,
            new.position,
            trail=[("u:ada@example.org", new.position)],
            erased=[Resolved(erasure.event, {ADA, COOKIE}, 3)],
        ),
        LATER,
    )

    assert store.trail("u:ada@example.org") == [new.position]
    now = found(store, erasure.event)
    assert now.ids == {ADA, COOKIE}
    assert now.counts == {"state": 3, "trail": 1}
    assert now.until == new.position


def test_derived_events_of_what_was_erased_are_left_out(store: Store, person: MakeEntry) -> None:
    """What a projector derives that has not come to the fact yet, is not written."""
    begin(store, ADA)
    derived = person("stage.entered", kind=Kind.DERIVED)
    store.project(Projection(PROJECTOR, None, None, derived=[derived]), LATER)
    assert names(store) == ["customer.erased"]


def test_sinks_are_those_named_and_those_that_have_read(store: Store, person: MakeEntry) -> None:
    """Asked are the sinks that are declared, and all that have ever had something."""
    store.commit(Commit([person()]), NOON)
    store.advance("sink:old", store.read(None, 1)[0].position, [], NOON)
    erasure = begin(store, ADA, sinks=["crm"])
    assert erasure.sinks == {"crm": ("queued", ""), "old": ("queued", "")}
    assert not erasure.answered

    for sink in ("crm", "old"):
        store.erasing.answer(erasure.number, sink, "erased", "all")

    assert found(store, erasure.event).answered


def test_ids_go_at_the_end(store: Store) -> None:
    """Once all have answered the ids are forgotten, and late events are still known."""
    erasure = sweep(store, begin(store, ADA))
    store.erasing.clear(erasure.number)
    assert found(store, erasure.event).ids == frozenset()
    assert store.erasing.purge()
    assert found(store, erasure.event).finished
    assert store.erasing.pending() == []
    assert [each.event for each in store.erasing.recent(5)] == [erasure.event]


def test_erasures_are_numbered(store: Store) -> None:
    """A number tells that somebody is to be erased, and that it is known who that is."""
    assert store.erasing.progress() == 0
    first = begin(store, ADA)
    begin(store, COOKIE)
    assert store.erasing.progress() == 2
    assert [each.ids for each in store.erasing.pending()] == [{ADA}, {COOKIE}]
    store.erasing.resolve(Resolved(first.event, first.ids))
    assert store.erasing.progress() == 3


def test_find_looks_at_all_keys(store: Store) -> None:
    """Keys of State are found by any part of them."""
    state: Any = {("timer", "1 a ada"): b"1", ("timer", "2 b"): b"2", ("other", "a ada"): b"3"}
    store.project(Projection(PROJECTOR, None, None, state), NOON)
    assert store.find("timer", "a ada") == ["1 a ada"]
    assert store.find("timer", "nobody") == []


def test_events_that_were_deleted_are_passed_over(store: Store, make_entry: MakeEntry) -> None:
    """Fetching and reading go on beside the holes, and no position is given twice."""
    store.commit(Commit([make_entry("a"), make_entry("b", user_id=ADA[1]), make_entry("c")]), NOON)
    before = [stored.position for stored in store.read(None, 10)]
    sweep(store, begin(store, ADA))
    store.commit(Commit([make_entry("d", at=100)]), LATER)

    assert [stored.entry.name for stored in store.fetch(before)] == ["a", "c"]
    assert [stored.entry.name for stored in store.read(before[0], 2)] == ["c", "customer.erased"]
    assert store.read(None, 10)[-1].position not in before


# What late events tell


def erased_before(store: Store, *ids: tuple[str, str], at: int = LATER) -> Erasure:
    """Erase somebody, and come to the end of it."""
    erasure = sweep(store, begin(store, *ids, at=at))
    store.erasing.clear(erasure.number)
    assert store.erasing.purge()
    return found(store, erasure.event)


def follower(store: Store, erasure: Erasure) -> Erasure:
    """Return the only erasure that follows another."""
    (following,) = store.erasing.following(erasure.event)
    return following


def test_late_event_tells_one_more_id(
    store: Store, person: MakeEntry, make_entry: MakeEntry
) -> None:
    """What was done under an id that only a late event tells is erased as well, however it came."""
    anonymous = functools.partial(make_entry, user_id=None, anonymous_id=COOKIE[1])
    store.commit(Commit([anonymous("Before"), person("Known", anonymous_id=None)]), NOON)
    erasure = erased_before(store, ADA)
    store.commit(Commit([anonymous("Between"), make_entry("Bob's", user_id="bob")]), LATER)
    store.commit(Commit([anonymous("With it"), person("Late")]), LATER)
    store.commit(Commit([anonymous("Behind")]), LATER)

    following = follower(store, erasure)
    assert following.ids == {ADA, COOKIE}
    assert (following.erased_at, following.until) == (LATER, None)
    sweep(store, following)

    assert names(store) == ["customer.erased", "Bob's", "customer.erased"]
    store.commit(Commit([anonymous("Later still")]), LATER)
    assert names(store)[3:] == []
    assert [each.event for each in store.erasing.recent(9)] == [erasure.event]


def test_fact_that_follows_names_nobody(store: Store, person: MakeEntry) -> None:
    """It tells which request it belongs to, and the hashes of whom it is about once that is known."""
    erasure = erased_before(store, ADA)
    store.commit(Commit([person("Late")]), LATER)
    wires = [json.loads(each.entry.body) for each in store.read(None, 9)]
    assert wires[1]["properties"]["follows"] == erasure.event
    assert wires[1]["properties"]["ids"] == wires[0]["properties"]["ids"]
    assert wires[1]["occurred_at"] == wires[0]["occurred_at"]

    sweep(store, follower(store, erasure))

    wire = json.loads(store.read(None, 9)[1].entry.body)
    assert len(wire["properties"]["ids"]) == 2
    assert COOKIE[1] not in str(wire)


def test_what_is_new_under_an_id_told_late_stays(
    store: Store, person: MakeEntry, make_entry: MakeEntry
) -> None:
    """Only what occurred before the request goes: the new customer keeps what is theirs."""
    erasure = erased_before(store, ADA)
    new = make_entry("New", user_id=None, anonymous_id=COOKIE[1], at=100)
    old = make_entry("Old", user_id=None, anonymous_id=COOKIE[1])
    store.commit(Commit([new, old]), LATER)
    position = store.read(None, 9)[1].position
    derived = [
        person("stage.entered", kind=Kind.DERIVED, user_id=None, at=100, caused_by=each.id)
        for each in (new, old)
    ]
    trail = [(f"a:{COOKIE[1]}", each.position) for each in store.read(None, 9)[1:]]
    store.project(Projection(PROJECTOR, None, position, {}, trail, derived), LATER)
    store.commit(Commit([person("Late"), person("Newer", at=101)]), LATER)

    sweep(store, follower(store, erasure))

    kept = [each for each in store.read(None, 9) if not each.entry.flags]
    assert [each.entry.name for each in kept] == ["New", "stage.entered", "Newer"]
    assert kept[1].id == derived[0].id
    assert store.trail(f"a:{COOKIE[1]}") == [position]


def test_one_more_id_that_is_anothers_stays_theirs(
    store: Store, person: MakeEntry, make_entry: MakeEntry
) -> None:
    """Where it turns out that the id was another person's, nothing goes, and nobody asks again."""
    erasure = erased_before(store, ADA)
    store.commit(Commit([make_entry("Bob's", user_id="bob", anonymous_id=COOKIE[1])]), LATER)
    store.commit(Commit([person("Late")]), LATER)

    sweep(store, follower(store, erasure), ADA)

    store.commit(Commit([person("Late again")]), LATER)
    assert [name for name in names(store) if name != "customer.erased"] == ["Bob's"]
    assert store.read(None, 9)[1].entry.anonymous_id == COOKIE[1]
    assert len(store.erasing.following(erasure.event)) == 1
    store.commit(Commit([person("customer.identified", kind=Kind.FACT)]), LATER)
    assert len(store.erasing.following(erasure.event)) == 2


def test_one_more_id_is_told_once(store: Store, person: MakeEntry) -> None:
    """While nobody knows yet whose it is, another late event adds only an id that is new."""
    erasure = erased_before(store, ADA)
    for visitor in (COOKIE[1], COOKIE[1], "another"):
        store.commit(Commit([person("Late", anonymous_id=visitor)]), LATER)
    following = store.erasing.following(erasure.event)
    assert [each.ids - {ADA} for each in following] == [{COOKIE}, {("anonymous", "another")}]


def test_what_is_parked_late_tells_too(store: Store, person: MakeEntry) -> None:
    """An event that a plugin has failed on is left out, and tells what the others tell."""
    erasure = erased_before(store, ADA)
    store.commit(Commit([], [Parking("plugin:p", person("Late"), "no")]), LATER)
    assert store.parked() == []
    assert follower(store, erasure).ids == {ADA, COOKIE}


def test_what_was_taken_apart_is_not_told(store: Store, person: MakeEntry) -> None:
    """A late event that takes the two apart tells the opposite; a sign-in behind it does not."""
    erasure = erased_before(store, ADA)
    apart = person("customer.unmerged", kind=Kind.FACT)
    store.commit(Commit([person("Late"), apart, person("Late too")]), LATER)
    store.commit(Commit([person("Late as well")]), LATER)
    assert store.erasing.following(erasure.event) == []

    store.commit(Commit([apart, person("customer.identified", kind=Kind.FACT)]), LATER)

    assert follower(store, erasure).ids == {ADA, COOKIE}


def test_what_was_taken_apart_before_is_not_told(store: Store, person: MakeEntry) -> None:
    """Who was taken apart from the person before the request is not erased by a late event."""
    store.commit(Commit([person("customer.unmerged", kind=Kind.FACT)]), NOON)
    erasure = erased_before(store, ADA)
    store.commit(Commit([person("Late")]), LATER)
    assert names(store) == ["customer.erased"]
    assert store.erasing.following(erasure.event) == []


def test_sinks_are_asked_about_what_was_told(store: Store, person: MakeEntry) -> None:
    """Sinks of the request are asked again, about the new id only: who is new has the old one."""
    erasure = begin(store, ADA, sinks=["crm"])
    sweep(store, erasure)
    store.commit(Commit([person("Late")]), LATER)
    following = follower(store, erasure)
    assert following.sinks == {"crm": ("queued", "")}
    assert following.customers() == [Customer(anonymous_id=COOKIE[1])]


# SQLite only


def test_no_byte_is_left_in_the_database(tmp_path: Path, make_entry: MakeEntry) -> None:
    """After much else was written, moved and deleted, free pages and the log ahead have nothing."""
    store = SQLiteStore(tmp_path / "store.db")
    position = None
    for batch in range(60):
        entries = [
            make_entry(
                properties={"note": f"{number * 7919 % 5003} secret-of-ada" * (1 + number % 9)},
                user_id=f"ada@{number % 7}" if number % 5 == 0 else f"user{number * 7919 % 5003}",
                id=f"{number * 7919 % 5003}-{batch}-{number}",
            )
            for number in range(100)
        ]
        store.commit(Commit(entries), NOON)
        log = store.read(position, 100)
        state: Any = {
            ("instance", f"{stored.id}{stored.entry.user_id}"): b"x" * (50 + 37 * index % 900)
            for index, stored in enumerate(log)
        }
        trail = [(f"u:{stored.entry.user_id}", stored.position) for stored in log]
        store.project(Projection(PROJECTOR, position, log[-1].position, state, trail), NOON)
        position = log[-1].position
    gone: Any = {("instance", key): None for key in store.find("instance", "ada@")}
    store.project(Projection(PROJECTOR, position, position, gone), NOON)
    ids = [("user", f"ada@{number}") for number in range(7)]
    everybody = {("user", stored.entry.user_id) for stored in store.read(None, 10_000)}

    erasure = sweep(store, begin(store, *ids), *ids, *everybody)
    store.erasing.clear(erasure.number)
    assert store.erasing.purge()

    with sqlite3.connect(tmp_path / "store.db") as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    for file in tmp_path.rglob("store.db*"):
        data = file.read_bytes() if file.is_file() else b""
        assert (file.name, data.count(b"ada@")) == (file.name, 0)
        assert (file.name, data.count(b"secret-of-ada")) == (file.name, 0)
    store.close()


def test_two_erasers_leave_nothing_between_them(
    tmp_path: Path, make_entry: MakeEntry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What one process had overwritten is looked at again when another has deleted meanwhile."""
    first, second = SQLiteStore(tmp_path / "store.db"), SQLiteStore(tmp_path / "store.db")
    monkeypatch.setattr(free_space, "_LOOK", 1)
    first.commit(Commit([make_entry(user_id="bob"), make_entry(user_id="ada")]), NOON)
    chance = random.Random(1)
    whose = ["secret-of-ada", "other", "other"] * 1_000
    keys = [f"{chance.getrandbits(64):016x} {each}" for each in whose]
    for start in range(0, 3_000, 100):
        pieces: Any = {
            ("instance", key): b"x" * chance.randrange(900) for key in keys[start:][:100]
        }
        first.project(Projection(PROJECTOR, None, None, pieces), NOON)
    sweep(first, begin(first, ("user", "bob")))
    with monkeypatch.context() as patch:
        finish = iter([True, False])
        patch.setattr(free_space, "_empty_wal", lambda db: next(finish, True))
        patch.setattr(wipe, "dirty", lambda *_: iter(()))
        assert not first.erasing.purge()

    gone: Any = {("instance", key): None for key in keys[::3]}
    second.project(Projection(PROJECTOR, None, None, gone), NOON)
    erasure = sweep(second, begin(second, ("user", "ada")))
    second.erasing.clear(erasure.number)
    assert first.erasing.purge()

    assert found(first, erasure.event).finished
    for file in tmp_path.glob("store.db*"):
        assert not file.is_file() or b"secret-of-ada" not in file.read_bytes()
    first.close()
    second.close()


def test_purge_waits_for_readers(tmp_path: Path, make_entry: MakeEntry) -> None:
    """While somebody reads what the write-ahead log has, the purge says that it must wait."""
    store = SQLiteStore(tmp_path / "store.db")
    store.commit(Commit([make_entry(user_id=ADA[1])]), NOON)
    reader = sqlite3.connect(tmp_path / "store.db", isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM log").fetchone()
    erasure = sweep(store, begin(store, ADA))
    store.erasing.clear(erasure.number)

    assert not store.erasing.purge()
    assert not found(store, erasure.event).finished
    reader.close()
    assert store.erasing.purge()
    assert found(store, erasure.event).finished
    store.close()


def test_database_of_before_gets_the_tables(tmp_path: Path, make_entry: MakeEntry) -> None:
    """A database without the tables of erasures gets them when it is opened."""
    store = SQLiteStore(tmp_path / "store.db")
    store.commit(Commit([make_entry(user_id=ADA[1])]), NOON)
    store.close()
    with sqlite3.connect(tmp_path / "store.db") as db:
        db.executescript("DROP TABLE erasure; DROP TABLE erased; PRAGMA user_version = 2;")
    db.close()
    store = SQLiteStore(tmp_path / "store.db")
    sweep(store, begin(store, ADA))
    assert names(store) == ["customer.erased"]
    store.close()


def test_refused_request_erases_nothing(tmp_path: Path, make_entry: MakeEntry) -> None:
    """Where the database takes no fact, nothing is noted, and late events are kept."""
    store = SQLiteStore(tmp_path / "store.db")
    store.commit(Commit([make_entry(user_id=ADA[1])]), NOON)
    with sqlite3.connect(tmp_path / "store.db") as db:
        db.execute("CREATE TRIGGER no BEFORE INSERT ON erased BEGIN SELECT RAISE(ABORT, 'no'); END")
    db.close()
    with pytest.raises(StoreError):
        begin(store, ADA)
    assert store.erasing.pending() == []
    assert len(names(store)) == 1
    store.close()
