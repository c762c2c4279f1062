from __future__ import annotations

import contextlib
import os
import random
import resource
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from journeykit import Journey, JourneyKit, Settings
from journeykit.delivery import Batch
from journeykit.erasing import fact
from journeykit.exceptions import StoreDamaged, StoreError, StoreReplaced
from journeykit.model import jsonbytes
from journeykit.model.event import Entry, Kind
from journeykit.store import repair as module
from journeykit.store.erasure import Resolved
from journeykit.store.kept import Kept
from journeykit.store.protocol import PROJECTOR, REBUILDING, Commit, Parking, Projection
from journeykit.store.schema import LOST, SALVAGED
from journeykit.store.sqlite import SQLiteStore
from journeykit.store.versions import SCHEMA_VERSION

MakeEntry = Callable[..., Entry]

#: Events in the store that is damaged, all of them with State, cursors and counters beside them.
COUNT = 2_000
NOW = 1_770_000_000_000_000
PAGE = 4096

#: The page at which the Log begins in every file of ours.
LOG_ROOT = 2


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return where the store is."""
    return tmp_path / "store.db"


@pytest.fixture
def open_store(path: Path) -> Iterator[Callable[[], SQLiteStore]]:
    """Return a function that opens the store as another process would; all are closed."""
    stores = []

    def open_store() -> SQLiteStore:
        stores.append(SQLiteStore(path))
        return stores[-1]

    yield open_store
    for store in stores:
        store.close()


OpenStore = Callable[[], SQLiteStore]


@pytest.fixture
def filled(open_store: OpenStore, make_entry: MakeEntry) -> list[str]:
    """Fill the store, close it, and return the ids of the Log."""
    store = open_store()
    entries = [make_entry(id=f"event-{number}") for number in range(COUNT)]
    for start in range(0, COUNT, 100):
        store.commit(Commit(entries[start : start + 100], counts={"withheld:x": 1}), start)
    position = store.read(None, COUNT)[1499].position
    derived = [make_entry(id=f"derived-{number}", kind=Kind.DERIVED) for number in range(50)]
    state = {("s", f"k{n}"): b"v" * 300 for n in range(200)}
    store.project(Projection(PROJECTOR, None, position, state, [("u", 1)], derived), COUNT)
    store.advance("sink:a", position - 100, [Parking("sink:a", entries[3], "refused")], COUNT)
    store.advance("sink:b", position + 100, [], COUNT)
    store.commit(Commit(watermarks=[("1-1.seg", 77)]), COUNT)
    Kept(store, "sink:a").put("hook", b"https://hooks.example/1")
    store.close()
    return [f"event-{number}" for number in range(COUNT)] + [e.id for e in derived]


def whole_log(store: SQLiteStore) -> list[tuple[int, str]]:
    """Return the positions and ids of the Log."""
    return [(item.position, item.entry.id) for item in store.read(None, 10**6)]


def mended(store: SQLiteStore) -> bool:
    """Meet the damage as a reader does, and mend it as the committer does."""
    try:
        whole_log(store)
        store.cursor("sink:a")
        store.counters()
    except StoreDamaged:
        return store.mend(NOW)
    return False


def scramble(path: Path, start: int, length: int) -> None:
    """Overwrite a part of a file."""
    descriptor = os.open(path, os.O_RDWR)
    os.pwrite(descriptor, random.Random(start).randbytes(length), start)
    os.close(descriptor)


def root_of(path: Path, table: str) -> int:
    """Return the page at which a table begins."""
    with contextlib.closing(sqlite3.connect(path)) as db:
        query = "SELECT rootpage FROM sqlite_master WHERE name = ?"
        root: int = db.execute(query, (table,)).fetchone()[0]
    return root


def set_aside(path: Path) -> list[Path]:
    """Return the damaged databases that were set aside."""
    found = path.parent.glob(f"{path.name}.damaged-*")
    return sorted(each for each in found if not each.name.endswith(("-wal", "-shm")))


# What is kept of it


@pytest.mark.usefixtures("filled")
def test_nothing_is_repaired_that_is_whole(path: Path, open_store: OpenStore) -> None:
    """A store without damage is read, mended and written as ever."""
    store = open_store()
    assert not mended(store)
    assert not store.mend(NOW)
    assert set_aside(path) == []


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: scramble(path, 0, 100),
        lambda path: scramble(path, 0, PAGE),
        lambda path: scramble(path, (root_of(path, "log") - 1) * PAGE, PAGE),
        lambda path: scramble(path, (root_of(path, "sqlite_autoindex_log_1") - 1) * PAGE, PAGE),
        lambda path: scramble(path, (root_of(path, "sqlite_sequence") - 1) * PAGE, PAGE),
    ],
    ids=["header", "first page", "root of the Log", "root of the ids", "sequences"],
)
def test_what_leads_to_rows_is_not_needed(
    path: Path, open_store: OpenStore, filled: list[str], damage: Callable[[Path], None]
) -> None:
    """Where only what leads to the rows is gone, no event, cursor or counter is lost."""
    damage(path)
    store = open_store()

    assert mended(store) or store.mend(NOW) or _by_writing(store)

    assert whole_log(store) == list(enumerate(filled, start=1))
    assert store.counters() == {
        "events": COUNT,
        "withheld:x": COUNT // 100,
        SALVAGED: COUNT,
        LOST: 0,
        f"damaged:{set_aside(path)[0].name}": 0,
    }
    assert (store.cursor("sink:a"), store.cursor("sink:b")) == (1400, 1600)
    assert store.watermark("1-1.seg") == 77
    assert Kept(store, "sink:a").all() == {"hook": b"https://hooks.example/1"}
    assert [(item.number, item.entry.id, item.reason) for item in store.parked()] == [
        (1, "event-3", "refused")
    ]


def _by_writing(store: SQLiteStore) -> bool:
    """Meet the damage where only a writer does."""
    with pytest.raises(StoreDamaged):
        store.commit(Commit([Entry("x", Kind.FACT, "n", "u", None, None, 0, 0, b"{}")]), NOW)
    return store.mend(NOW)


@pytest.mark.parametrize("pages", [1, 3, 40])
def test_damaged_pages_cost_what_was_on_them(
    path: Path, open_store: OpenStore, filled: list[str], pages: int
) -> None:
    """Pages that are overwritten cost their events, which are counted; positions stay."""
    count = path.stat().st_size // PAGE
    for number in random.Random(pages).sample(range(count // 3, count), pages):
        scramble(path, number * PAGE, PAGE)
    store = open_store()
    if not mended(store):
        store.close()
        with contextlib.suppress(StoreDamaged):
            store.project(Projection(PROJECTOR, 1500, 1500, {("s", "k1"): b""}), 1)
        pytest.skip("it hit nothing that is read")

    kept = whole_log(store)

    assert set(kept) <= set(enumerate(filled, start=1))
    tracked = [event for _, event in kept if event.startswith("event-")]
    assert COUNT - 12 * pages <= len(tracked) <= COUNT
    counters = store.counters()
    assert counters[LOST] == COUNT - len(tracked)
    assert counters["events"] == counters[SALVAGED] == len(tracked)


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: os.truncate(path, 0),
        lambda path: path.write_bytes(random.Random(1).randbytes(path.stat().st_size)),
        lambda path: path.write_bytes(b"nothing of a database " * 300),
        lambda path: _replace(path, b"garbage" * 9_999),
        lambda path: path.write_bytes(bytes(path.stat().st_size)),
    ],
    ids=["emptied", "garbage", "text", "another file", "zeros"],
)
def test_destroyed_file_is_counted_and_begun_anew(
    path: Path, open_store: OpenStore, make_entry: MakeEntry, damage: Callable[[Path], None]
) -> None:
    """Of a file that is gone altogether, what it held is counted; no position is given twice."""
    first = open_store()
    first.commit(Commit([make_entry() for _ in range(30)]), 1)
    first.close()
    damage(path)
    left = path.read_bytes()
    store = open_store()

    assert mended(store)

    assert whole_log(store) == []
    assert store.counters()[LOST] == 30
    store.commit(Commit([make_entry(id="next")]), 1)
    assert whole_log(store) == [(31, "next")]
    assert set_aside(path)[0].read_bytes() == left


def _replace(path: Path, content: bytes) -> None:
    other = path.with_suffix(".other")
    other.write_bytes(content)
    other.replace(path)


@pytest.mark.parametrize("part", [0.25, 0.5, 0.9])
def test_truncated_file_keeps_what_is_left(
    path: Path, open_store: OpenStore, filled: list[str], part: float
) -> None:
    """A file that ends too early keeps the events that are in it, and the rest is counted."""
    os.truncate(path, int(path.stat().st_size * part) // PAGE * PAGE)
    store = open_store()

    assert mended(store)

    kept = whole_log(store)
    assert set(kept) <= set(enumerate(filled, start=1))
    tracked = [event for _, event in kept if event.startswith("event-")]
    assert len(tracked) > part * 0.5 * COUNT
    assert store.counters()[LOST] == COUNT - len(tracked)
    assert store.cursor("sink:a") == 1400


@pytest.mark.parametrize("place", ["header", "frame", "last commit"])
def test_damaged_write_ahead_log_is_noticed(
    path: Path, tmp_path: Path, open_store: OpenStore, make_entry: MakeEntry, place: str
) -> None:
    """A write-ahead log that SQLite would cut off in silence costs at most what was overwritten."""
    store = open_store()
    for start in range(0, 200, 10):
        entries = [make_entry(id=f"event-{number}") for number in range(start, start + 10)]
        store.commit(Commit(entries), 1)
    copied = copy_of(tmp_path)
    wal = copied.with_name("store.db-wal")
    frame = 24 + PAGE
    last = (wal.stat().st_size - 32) // frame - 1
    offset = {"header": 0, "frame": 32 + last // 3 * frame + 900, "last commit": 32 + last * frame}
    scramble(wal, offset[place], 200)
    killed = SQLiteStore(copied)

    assert mended(killed)

    kept = [event for _, event in whole_log(killed)]
    assert len(kept) >= 180
    assert killed.counters()[LOST] == 200 - len(kept)
    killed.close()


def erase(store: SQLiteStore, *ids: tuple[str, str], until: str) -> None:
    """Erase somebody, as far as it is to come."""
    if not store.erasing.pending():
        store.erasing.begin(fact("customer", "asked", {}, NOW), ids, (), NOW)
    (erasure,) = store.erasing.pending()
    if until == "begun":
        return
    store.erasing.resolve(Resolved(erasure.event, ids))
    while not (erasure := store.erasing.pending()[0]).swept:
        store.erasing.sweep(erasure)
    if until != "swept":
        store.erasing.clear(erasure.number)


@pytest.mark.parametrize("place", ["header", "root", "frame"])
@pytest.mark.parametrize("until", ["begun", "swept", "cleared"])
def test_who_was_erased_does_not_come_back(
    tmp_path: Path, open_store: OpenStore, make_entry: MakeEntry, place: str, until: str
) -> None:
    """Old versions of pages, from before somebody was erased, bring none of their events back."""
    store = open_store()
    for start in range(0, 200, 10):
        entries = [make_entry(id=f"event-{number}") for number in range(start, start + 8)]
        # One of them from the future: all goes that was there.
        at = 0 if start == 100 else -40 * 86_400
        entries.append(make_entry(id=f"ada-{start}", user_id="ada", anonymous_id="v", at=at))
        entries.append(make_entry(id=f"event-bob-{start}", user_id="bob", anonymous_id="v"))
        parked = [Parking("plugin:p", entries[-2], "no")]
        store.commit(Commit(entries, parked if start else ()), 1)
    ids = ("user", "ada"), ("anonymous", "v")
    erase(store, *ids, until=until)
    copied = copy_of(tmp_path)
    wal = copied.with_name("store.db-wal")
    if place == "frame":
        scramble(wal, 32 + (wal.stat().st_size // (24 + PAGE)) // 3 * (24 + PAGE) + 900, 200)
    else:
        # In the database itself, with an older version of each page in the write-ahead log still.
        scramble(copied, 0 if place == "header" else PAGE, PAGE)
        scramble(wal, 0, 32)
    killed = SQLiteStore(copied)

    assert mended(killed)

    kept = killed.read(None, 1_000)
    assert not [each.id for each in kept if each.entry.user_id == "ada"]
    assert not [each.id for each in kept if each.entry.anonymous_id]
    assert len([each for each in kept if each.id.startswith("event")]) == 180
    assert killed.parked() == []
    assert killed.counters()["events"] == 181
    assert killed.counters()[LOST] == 0
    erase(killed, *ids, until="cleared")
    assert killed.erasing.purge()
    assert killed.erasing.pending() == []
    killed.close()
    assert b"ada-" not in copied.read_bytes()


@pytest.mark.parametrize("place", ["header", "root"])
def test_what_a_late_event_told_is_taken_over(
    tmp_path: Path, open_store: OpenStore, make_entry: MakeEntry, place: str
) -> None:
    """An erasure that follows another still does, for alone it would take more."""
    store = open_store()
    erase(store, ("user", "ada"), until="cleared")
    assert store.erasing.purge()
    old = -40 * 86_400
    store.commit(Commit([make_entry(user_id="ada", anonymous_id="v", at=old)]), NOW)
    (before,) = store.erasing.pending()
    copied = copy_of(tmp_path)
    scramble(copied, 0 if place == "header" else PAGE, PAGE)
    scramble(copied.with_name("store.db-wal"), 0, 32)
    killed = SQLiteStore(copied)

    assert mended(killed)

    (after,) = [each for each in killed.erasing.pending() if each.follows]
    assert (after.event, after.follows, after.ids) == (before.event, before.follows, before.ids)
    assert before.follows is not None
    assert len(killed.erasing.recent(9)) == 1
    killed.close()


# What follows from it


def test_state_is_left_to_the_projector(
    path: Path, open_store: OpenStore, filled: list[str]
) -> None:
    """State, trails and the projector's cursor are made again, up to where it was without news."""
    scramble(path, 0, 100)
    store = open_store()
    assert mended(store)

    assert store.cursor(PROJECTOR) is None
    assert list(store.scan("s")) == []
    assert store.trail("u") == []
    assert jsonbytes.loads(store.state(REBUILDING) or b"") == 1500


def test_rebuild_ends_where_an_event_is_left(
    path: Path, open_store: OpenStore, filled: list[str]
) -> None:
    """Where the event at the projector's cursor is lost, what is derived behind it is news."""
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("DELETE FROM log WHERE position BETWEEN 1490 AND 1510")
        db.commit()
    scramble(path, 0, 100)
    store = open_store()
    assert mended(store)

    assert jsonbytes.loads(store.state(REBUILDING) or b"") == 1489
    assert store.counters()[LOST] == 21


def test_rebuild_ends_at_no_derived_event(
    path: Path, open_store: OpenStore, filled: list[str]
) -> None:
    """The projector, which passes over derived events, is told of the last one before them."""
    store = open_store()
    store.project(Projection(PROJECTOR, 1500, len(filled)), NOW)
    store.close()
    scramble(path, 0, 100)
    assert mended(store)

    assert jsonbytes.loads(store.state(REBUILDING) or b"") == COUNT


def test_what_readers_told_is_taken_over(
    path: Path, open_store: OpenStore, filled: list[str]
) -> None:
    """What a sink's relay said last, and the indexes of what is parked, are in the new file."""
    store = open_store()
    store.tell_status("sink:a", b"well")
    store.close()
    # The page of one table only, so that SQLite reads the others.
    scramble(path, (root_of(path, "cursor") - 1) * PAGE, PAGE)
    assert mended(store)

    assert store.told_status("sink:a") == b"well"
    assert store.with_parked("sink:a", [("user", "u1")]) == {("user", "u1")}
    assert root_of(path, "parked_user")
    assert root_of(path, "parked_visitor")


@pytest.mark.parametrize("where", ["header", "cursor"])
def test_who_may_write_is_taken_over(
    path: Path, open_store: OpenStore, filled: list[str], where: str
) -> None:
    """A version that is shut out is still shut out of the new file."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("UPDATE meta SET value = ? WHERE key = 'min_writer'", (SCHEMA_VERSION,))
    start = 0 if where == "header" else (root_of(path, where) - 1) * PAGE
    scramble(path, start, 100)
    assert mended(open_store())

    with contextlib.closing(sqlite3.connect(path)) as db:
        assert db.execute("SELECT * FROM meta").fetchall() == [("min_writer", SCHEMA_VERSION)]


@pytest.mark.usefixtures("filled")
def test_a_newer_versions_store_is_left_to_that(
    path: Path, open_store: OpenStore, make_entry: MakeEntry
) -> None:
    """An older version, which may write to it, does not know what all is to be taken over."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    store = open_store()
    store.commit(Commit([make_entry(id="new")]), NOW)
    store.close()
    scramble(path, 0, 100)

    with pytest.raises(StoreDamaged, match="a newer journeykit's; upgrade this one"):
        mended(open_store())
    assert set_aside(path) == []


def test_where_nothing_can_be_read_readers_tell_anew(
    path: Path, open_store: OpenStore, filled: list[str]
) -> None:
    """A new file has the table of what readers tell, also where that of the old one is lost."""
    store = open_store()
    store.tell_status("sink:a", b"well")
    store.close()
    scramble(path, 0, 100)
    assert mended(store)

    store.tell_status("sink:a", b"again")
    assert store.told_status("sink:a") == b"again"


def test_lost_cursors_begin_anew(path: Path, open_store: OpenStore, filled: list[str]) -> None:
    """A reader whose cursor is lost gets everything again, rather than miss something."""
    scramble(path, (root_of(path, "cursor") - 1) * PAGE, PAGE)
    store = open_store()
    assert mended(store)

    assert store.cursor("sink:a") is None
    assert store.state(REBUILDING) is None
    assert whole_log(store) == list(enumerate(filled, start=1))


def test_damaged_file_stays_as_it_was(path: Path, open_store: OpenStore, filled: list[str]) -> None:
    """The damaged file is set aside as it is, for its owner only; a second repair keeps both."""
    scramble(path, (root_of(path, "log") - 1) * PAGE, PAGE)
    left = path.read_bytes()
    store = open_store()
    assert mended(store)
    (first,) = set_aside(path)
    assert first.read_bytes() == left
    assert first.name == "store.db.damaged-20260202T024000.000000Z"
    assert stat.S_IMODE(first.stat().st_mode) == stat.S_IMODE(path.stat().st_mode) == 0o600
    store.counters()
    store.close()

    scramble(path, 0, 100)
    with pytest.raises(StoreDamaged):
        store.counters()
    with pytest.raises(StoreDamaged, match="the disk may be failing; the next repair is 1 s after"):
        store.mend(NOW + 500_000)
    assert store.mend(NOW + 2_000_000)
    assert len(set_aside(path)) == 2
    assert first.read_bytes() == left
    assert store.counters()[LOST] == 0


def test_other_stores_go_on_in_the_new_file(
    path: Path, open_store: OpenStore, make_entry: MakeEntry
) -> None:
    """Whoever had the damaged file open writes nothing more into it, and hears of it once."""
    mender, other = open_store(), open_store()
    for store in (mender, other):
        store.commit(Commit([make_entry() for _ in range(100)]), 1)
    aside_before = path.stat().st_ino
    scramble_by_child(path, (root_of(path, "log") - 1) * PAGE, PAGE)
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    scramble_by_child(path, (LOG_ROOT - 1) * PAGE, PAGE)
    mender._damaged("said so")
    assert mender.mend(NOW)
    assert path.stat().st_ino != aside_before

    with pytest.raises(StoreReplaced):
        other.commit(Commit([make_entry(id="after")]), 1)
    other.commit(Commit([make_entry(id="after")]), 1)

    assert "after" in [event for _, event in whole_log(mender)]
    assert whole_log(mender) == whole_log(other)
    with pytest.raises(StoreReplaced):
        mender.advance("sink:a", 5, [], 1)
    mender.advance("sink:a", 5, [], 1)
    assert other.cursor("sink:a") == 5


def scramble_by_child(path: Path, start: int, length: int) -> None:
    """Overwrite a part of a file from another process: to close it here would free its locks."""
    child = os.fork()
    if not child:
        scramble(path, start, length)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0


# What goes wrong meanwhile


def die(*_: object) -> None:
    """Do what a killed process does: no more."""
    raise KeyboardInterrupt


def test_interrupted_repair_is_finished(
    monkeypatch: pytest.MonkeyPatch, path: Path, open_store: OpenStore, filled: list[str]
) -> None:
    """Whoever comes after a process that died in the middle of a repair ends what it began."""
    scramble(path, 0, 100)
    dying = open_store()
    with pytest.raises(StoreDamaged):
        dying.counters()
    with monkeypatch.context() as patch:
        patch.setattr(module.Repair, "finish", die)
        with pytest.raises(KeyboardInterrupt):
            dying.mend(NOW)
    assert not path.exists()

    store = open_store()

    assert whole_log(store) == list(enumerate(filled, start=1))
    assert len(set_aside(path)) == 1
    assert not list(path.parent.glob("*.salvag*"))


def test_repair_that_died_before_it_counted_is_begun_anew(
    monkeypatch: pytest.MonkeyPatch, path: Path, open_store: OpenStore, filled: list[str]
) -> None:
    """A new database that never took its place is thrown away, for others have written since."""
    scramble(path, (root_of(path, "log") - 1) * PAGE, PAGE)
    store = open_store()
    with pytest.raises(StoreDamaged):
        whole_log(store)
    with monkeypatch.context() as patch:
        patch.setattr(module.Repair, "_lock", die)
        with pytest.raises(KeyboardInterrupt):
            store.mend(NOW)
    assert len(list(path.parent.glob("*.salvaged-*"))) == 1
    assert set_aside(path) == []
    store.count({"since": 1})

    assert store.mend(NOW)

    assert store.counters()["since"] == 1
    assert whole_log(store) == list(enumerate(filled, start=1))
    assert not list(path.parent.glob("*.salvag*"))


def test_full_disk_delays_the_repair(path: Path, open_store: OpenStore, filled: list[str]) -> None:
    """Where the new database has no room, the damaged one stays in its place, and nothing else."""
    scramble(path, (root_of(path, "log") - 1) * PAGE, PAGE)
    left = path.read_bytes()
    child = os.fork()
    if not child:
        code = 1
        try:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
            store = SQLiteStore(path)
            try:
                whole_log(store)
            except StoreDamaged:
                try:
                    store.mend(NOW)
                except StoreDamaged:
                    code = 2
                except StoreError:
                    code = 0
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert path.read_bytes() == left
    assert not list(path.parent.glob("*.salvag*"))
    assert set_aside(path) == []

    assert mended(open_store())


@pytest.mark.parametrize(
    "error",
    ["SQLITE_IOERR_READ", "SQLITE_FULL", "SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_BUSY"],
)
def test_other_errors_are_no_damage(open_store: OpenStore, filled: list[str], error: str) -> None:
    """A disk that is full, read-only or does not answer is told of, and nothing is set aside."""
    store = open_store()
    raised = sqlite3.OperationalError(error)
    raised.sqlite_errorname = error

    with pytest.raises(StoreError) as caught, store._read():
        raise raised

    assert not isinstance(caught.value, StoreDamaged)
    assert not store.mend(NOW)


def test_false_alarm_repairs_only_when_it_comes_again(
    path: Path, open_store: OpenStore, filled: list[str]
) -> None:
    """A file that turns out to be whole stays; if errors go on all the same, it is replaced."""
    store = open_store()
    store.counters()
    store._damaged("said so")
    assert not store.mend(NOW)
    assert whole_log(store) == list(enumerate(filled, start=1))
    assert set_aside(path) == []

    store._damaged("said so")
    assert store.mend(NOW)
    assert whole_log(store) == list(enumerate(filled, start=1))
    assert store.counters()[LOST] == 0


@pytest.mark.parametrize("owner", [0, 4711])
def test_database_of_another_program_is_refused(
    path: Path, open_store: OpenStore, filled: list[str], owner: int
) -> None:
    """Another program's database that has come into the place of ours is told of, not repaired."""
    store = open_store()
    store.counters()
    other = path.with_suffix(".other")
    with contextlib.closing(sqlite3.connect(other)) as db:
        db.execute("CREATE TABLE orders (id INTEGER)")
        db.execute(f"PRAGMA application_id = {owner}")
    content = other.read_bytes()
    other.replace(path)

    for each in (store, open_store()):
        with pytest.raises(StoreError, match="another program's database"):
            each.counters()
        with pytest.raises(StoreError, match="another program's database"):
            each.commit(Commit(), 1)
        each._damaged("said so")
        assert not each.mend(NOW)

    assert path.read_bytes() == content
    assert set_aside(path) == []


def test_file_that_is_taken_away_is_made_anew(
    path: Path, open_store: OpenStore, filled: list[str], make_entry: MakeEntry
) -> None:
    """Where somebody has moved the file away, what comes goes into a new one, not after it."""
    store = open_store()
    store.counters()
    moved = path.with_suffix(".moved")
    path.rename(moved)

    with pytest.raises(StoreReplaced):
        store.commit(Commit([make_entry(id="new")]), 1)
    store.commit(Commit([make_entry(id="new")]), 1)

    assert whole_log(store) == [(1, "new")]
    with contextlib.closing(sqlite3.connect(moved)) as db:
        assert db.execute("SELECT count(*) FROM log").fetchone()[0] == len(filled)


def test_older_copy_is_noticed(
    path: Path, open_store: OpenStore, filled: list[str], make_entry: MakeEntry
) -> None:
    """A file that was replaced by an older copy is taken over, with what is missing counted."""
    copy = path.read_bytes()
    first = open_store()
    first.commit(Commit([make_entry() for _ in range(7)]), 1)
    first.close()
    path.write_bytes(copy)
    store = open_store()

    assert mended(store)

    assert whole_log(store) == list(enumerate(filled, start=1))
    assert store.counters()[LOST] == 7
    store.commit(Commit([make_entry(id="next")]), 1)
    assert whole_log(store)[-1] == (len(filled) + 8, "next")


def test_what_comes_back_is_no_longer_lost(
    path: Path, open_store: OpenStore, filled: list[str], make_entry: MakeEntry
) -> None:
    """Events that a spool still had are taken off the number of those that were lost."""
    copy = path.read_bytes()
    lost = [make_entry() for _ in range(7)]
    first = open_store()
    first.commit(Commit(lost), 1)
    first.close()
    path.write_bytes(copy)
    store = open_store()
    assert mended(store)
    assert store.watermark("1-1.seg") is None

    store.commit(Commit([make_entry()]), 1)
    store.commit(Commit(lost[:3], again=True), 1)
    assert store.counters()[LOST] == 4
    store.commit(Commit(lost[:5], again=True), 1)
    store.commit(Commit(lost, again=True), 1)
    store.commit(Commit([make_entry()], again=True), 1)
    assert store.counters()[LOST] == 0
    assert store.counters()["events"] == COUNT + 9


def test_looking_takes_nothing_away(path: Path, tmp_path: Path, make_entry: MakeEntry) -> None:
    """Whoever only looks at a store with a damaged write-ahead log leaves all of it there."""
    store = SQLiteStore(path)
    for number in range(20):
        store.commit(Commit([make_entry(id=f"event-{number}")]), 1)
    copied = copy_of(tmp_path)
    store.close()
    wal = copied.with_name("store.db-wal")
    scramble(wal, 32 + 30 * (24 + PAGE) + 900, 200)
    left = wal.read_bytes()

    looking = SQLiteStore(copied)
    with pytest.raises(StoreDamaged, match="it has less than it had"):
        looking.counters()
    looking.close()

    assert wal.read_bytes() == left
    mending = SQLiteStore(copied)
    assert mended(mending)
    assert len(whole_log(mending)) >= 15
    mending.close()


def copy_of(base: Path) -> Path:
    """Copy a store that is open, as it would be after the death of all its processes."""
    copied = base / "copy"
    copied.mkdir()
    for each in base.glob("store.db*"):
        if each.is_dir():
            shutil.copytree(each, copied / each.name)
        elif not each.name.endswith("-shm"):
            shutil.copy(each, copied / each.name)
    return copied / "store.db"


_WRITER = """
import sys, time
from pathlib import Path
from journeykit.exceptions import StoreDamaged, StoreError, StoreReplaced
from journeykit.model.event import Entry, Kind
from journeykit.store.protocol import Commit
from journeykit.store.sqlite import SQLiteStore
path, name = Path(sys.argv[1]), sys.argv[2]
store = SQLiteStore(path)
done = path.with_name(f"{name}.done").open("a")
number = 0
while not path.with_name("stop").exists():
    ids = [f"{name}-{number + each}" for each in range(5)]
    body = b'{"id":"%s","pad":"' + b"x" * 400 + b'"}'
    entries = [
        Entry(id, Kind.TOUCHPOINT, "N", "u", None, None, 0, 0, body % id.encode()) for id in ids
    ]
    try:
        store.mend(time.time_ns() // 1000)
        store.commit(Commit(entries), 1)
    except StoreError:
        time.sleep(0.01)
        continue
    done.write("".join(f"{id}\\n" for id in ids))
    done.flush()
    number += 5
    time.sleep(0.002)
"""


def test_processes_under_load_lose_what_is_reported_and_nothing_else(path: Path) -> None:
    """While several processes write, damage costs what was hit: no commit goes to the old file."""
    writers = [subprocess.Popen([sys.executable, "-c", _WRITER, str(path), name]) for name in "abc"]
    luck = random.Random(7)
    deadline = time.monotonic() + 60
    try:
        while len(set_aside(path)) < 3 and time.monotonic() < deadline:
            time.sleep(0.5)
            # A file that is just being replaced is left alone.
            with contextlib.suppress(FileNotFoundError):
                pages = path.stat().st_size // PAGE
                if not pages:
                    # One that was just begun has no page yet.
                    continue
                scramble(path, luck.randrange(pages // 2, pages) * PAGE, PAGE)
                scramble(path, luck.choice([0, LOG_ROOT - 1]) * PAGE, PAGE)
    finally:
        path.with_name("stop").touch()
        codes = [writer.wait(60) for writer in writers]
    assert codes == [0, 0, 0]

    store = SQLiteStore(path)
    while mended(store):
        pass
    accepted = "".join(path.with_name(f"{name}.done").read_text() for name in "abc").split()
    log = [event for _, event in whole_log(store)]
    assert len(set_aside(path)) >= 3
    assert len(set(log)) == len(log)
    lost = set(accepted) - set(log)
    unnoted = set(log) - set(accepted)
    assert len(lost) <= store.counters()[LOST] <= len(lost) + 15
    assert len(unnoted) <= 15
    store.close()


def test_ranges_are_halved_around_what_cannot_be_read(
    monkeypatch: pytest.MonkeyPatch, path: Path, open_store: OpenStore, filled: list[str]
) -> None:
    """What SQLite can still reach is read by it, on both sides of a page that is gone."""
    monkeypatch.setattr("journeykit.store.salvage.Salvage._search_pages", lambda _: None)
    with contextlib.closing(sqlite3.connect(path)) as db:
        query = "SELECT pageno FROM dbstat WHERE name = 'log' AND pagetype = 'leaf'"
        try:
            leaves = [number for (number,) in db.execute(query)]
        except sqlite3.OperationalError:
            pytest.skip("this SQLite does not tell where its pages are")
    scramble(path, (leaves[len(leaves) // 2] - 1) * PAGE, PAGE)
    store = open_store()

    assert mended(store)

    kept = dict(whole_log(store))
    assert COUNT - 20 < store.counters()["events"] < COUNT
    assert kept[1] == filled[0]
    assert kept[len(filled)] == filled[-1]


def test_state_comes_back_without_any_new_event(
    tmp_path: Path, make_settings: Callable[..., Settings], wait_until: Callable[..., None]
) -> None:
    """A projector that has nothing to do notices that State is to be made again."""
    sink = RecordingSink()
    journeys = [Journey(key="shop", version=1, extends="ecommerce")]
    core = {"store": "sqlite:///store.db"}
    with JourneyKit(make_settings(core=core, journeys=journeys), sinks=[sink]) as kit:
        for number in range(20):
            assert kit.track("Product Viewed", customer=f"u{number}")
        assert kit.flush(20)
        before, delivered = kit.report(), list(sink.ids)
        with contextlib.closing(sqlite3.connect(tmp_path / "store.db")) as db:
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        scramble_by_child(tmp_path / "store.db", 0, 100)
        wait_until(lambda: _reads_damage(kit))
        wait_until(lambda: set_aside(tmp_path / "store.db"))

        wait_until(lambda: kit.flush(1))

        assert kit.report() == before
        assert sink.ids == delivered
        assert kit.status()["damage"]["lost"] == 0


class RecordingSink:
    """Keeps the ids that it was given."""

    name = "recording"

    def __init__(self) -> None:
        self.ids: list[str] = []

    def deliver(self, batch: Batch) -> None:
        """Take *batch*."""
        self.ids += batch.ids

    def close(self) -> None:
        """Do nothing."""


def _reads_damage(kit: JourneyKit) -> bool:
    """Read what no connection remembers, in a thread of its own."""
    found = []

    def read() -> None:
        try:
            kit.store.counters()
        except StoreDamaged:
            found.append(True)

    thread = threading.Thread(target=read)
    thread.start()
    thread.join()
    return bool(found)
