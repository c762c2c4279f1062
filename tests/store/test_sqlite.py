from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from journeykit.exceptions import Outdated, StoreBusy, StoreError
from journeykit.model.event import PUBLICATION, PUBLISHED, Entry
from journeykit.store import database as module
from journeykit.store import rows, versions
from journeykit.store.protocol import PROJECTOR, Commit, Parking, Projection
from journeykit.store.sqlite import SQLiteStore
from journeykit.store.versions import PERSON_VERSION, SCHEMA_VERSION

MakeEntry = Callable[..., Entry]

#: The schema of a version that is not there yet.
NEWER = SCHEMA_VERSION + 1


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return where the store is to be."""
    return tmp_path / "var" / "store.db"


@pytest.fixture
def open_store(path: Path) -> Iterator[Callable[..., SQLiteStore]]:
    """Return a function that opens stores, all of which are closed at the end."""
    stores = []

    def open_store(where: Path = path) -> SQLiteStore:
        stores.append(SQLiteStore(where))
        return stores[-1]

    yield open_store
    for store in stores:
        store.close()


OpenStore = Callable[..., SQLiteStore]


def python(script: str, *arguments: object) -> subprocess.Popen[str]:
    """Start *script* in a process of its own."""
    command = [sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def in_child(action: Callable[[], object]) -> int:
    """Run *action* in a forked child and return 0 if it went well."""
    child = os.fork()
    if not child:
        code = 1
        try:
            action()
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def query(path: Path, statement: str) -> object:
    """Return the first value that *statement* yields on a connection of its own."""
    with contextlib.closing(sqlite3.connect(path)) as db:
        return db.execute(statement).fetchone()[0]


# The file


def test_constructing_touches_nothing(path: Path) -> None:
    """A store that was only built has made no file and no directory."""
    SQLiteStore(path)

    assert not path.parent.exists()


def test_files_belong_to_their_owner_alone(
    path: Path, open_store: OpenStore, make_entry: MakeEntry
) -> None:
    """The file, what SQLite puts beside it and the locks can be read by their owner only."""
    open_store().commit(Commit([make_entry()]), 1)

    modes = {item: stat.S_IMODE(item.stat().st_mode) for item in path.parent.rglob("*")}

    assert modes.pop(path.with_name("store.db-locks")) == 0o700
    assert {path, path.with_name("store.db-wal"), path.with_name("store.db-shm")} < modes.keys()
    assert set(modes.values()) == {0o600}
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_commits_are_on_the_disk(path: Path, open_store: OpenStore, make_entry: MakeEntry) -> None:
    """Each connection writes ahead and waits for the disk, so that a power cut loses nothing."""
    store = open_store()
    store.commit(Commit([make_entry()]), 1)

    assert query(path, "PRAGMA journal_mode") == "wal"
    with store._read() as db:
        assert db.execute("PRAGMA synchronous").fetchone()[0] == 2


def test_content_outlives_the_store(
    open_store: OpenStore, make_entry: MakeEntry, path: Path
) -> None:
    """What was committed is there for the next process."""
    first = open_store()
    entry = make_entry()
    first.commit(Commit([entry], [Parking("sink:x", entry, "r")], {"c": 1}), 5)
    position = first.read(None, 1)[0].position
    first.project(Projection(PROJECTOR, None, position, {("s", "k"): b"v"}), 6)
    first.close()

    second = open_store()

    assert second.read(None, 5)[0].entry == entry
    assert second.cursor(PROJECTOR) == position
    assert second.state(("s", "k")) == b"v"
    assert [item.reason for item in second.parked()] == ["r"]
    assert second.counters() == {"events": 1, "c": 1}
    assert second.name == str(path)


def test_failed_commit_writes_nothing(open_store: OpenStore, make_entry: MakeEntry) -> None:
    """A commit of which one part cannot be written leaves no other part behind."""
    store = open_store()
    store.commit(Commit(parked=[Parking("plugin:x", make_entry(), "r")]), 1)
    number = store.parked()[0].number
    broken = make_entry()._replace(body=object())

    with pytest.raises(StoreError):
        store.commit(
            Commit([make_entry()], [Parking("plugin:x", broken, "r")], {"c": 1}, [number]), 1
        )

    assert store.read(None, 5) == []
    assert [item.number for item in store.parked()] == [number]
    assert store.counters() == {"events": 0}
    store.commit(Commit([make_entry()]), 1)
    assert len(store.read(None, 5)) == 1


def test_failed_projection_and_advance_write_nothing(
    open_store: OpenStore, make_entry: MakeEntry
) -> None:
    """A projection or a step of a reader that cannot be written as a whole moves no cursor."""
    store = open_store()
    store.commit(Commit([make_entry()]), 1)
    position = store.read(None, 1)[0].position
    broken = make_entry()._replace(body=object())

    with pytest.raises(StoreError):
        store.project(
            Projection(PROJECTOR, None, position, {("s", "k"): b"1"}, (), [broken], {"c": 1}), 1
        )
    with pytest.raises(StoreError):
        store.advance("sink:x", position, [Parking("sink:x", broken, "r")], 1)

    assert store.state(("s", "k")) is None
    assert store.cursor(PROJECTOR) is None
    assert store.cursor("sink:x") is None
    assert store.counters() == {"events": 1}


# What may be wrong with it

_UNPRIVILEGED = """
import os, sys
from journeykit.exceptions import StoreError
from journeykit.store.sqlite import SQLiteStore
os.chdir(sys.argv[1])
if os.getuid() == 0:  # root may write anywhere
    os.setgid(65534)
    os.setuid(65534)
store = SQLiteStore("new/store.db" if sys.argv[2] == "directory" else "store.db")
store._path = store._path.relative_to(os.getcwd())
try:
    store.open()
    store.count({"c": 1})
except StoreError as error:
    print(error)
store.close()
"""


@pytest.mark.parametrize("what", ["directory", "file"])
def test_readonly_place_is_named(
    tmp_path: Path, open_store: OpenStore, make_entry: MakeEntry, what: str
) -> None:
    """A directory or a file that may not be written is told in one line, with what to do."""
    place = tmp_path / "readonly"
    store = open_store(place / "store.db")
    store.commit(Commit([make_entry()]), 1)
    store.close()
    (place / "store.db").chmod(0o444)
    place.chmod(0o555)

    answer, _ = python(_UNPRIVILEGED, place, what).communicate(timeout=30)

    assert answer.startswith("store ")
    assert "writable for this user" in answer
    assert "name another place" in answer
    assert answer.count("\n") == 1


def test_locked_database_is_busy(
    monkeypatch: pytest.MonkeyPatch, path: Path, open_store: OpenStore, make_entry: MakeEntry
) -> None:
    """A program that locks the file is waited for, then told of; readers read, and it recovers."""
    monkeypatch.setattr(module, "_BUSY_TIMEOUT", 0.05)
    store = open_store()
    store.commit(Commit([make_entry(id="a")]), 1)

    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StoreBusy) as caught:
            store.commit(Commit([make_entry(id="b")]), 1)
        assert [item.entry.id for item in store.read(None, 5)] == ["a"]
        other.execute("ROLLBACK")

    text = f"store {path}: another process has locked it; end that, or try again"
    assert str(caught.value) == text
    store.commit(Commit([make_entry(id="c")]), 1)
    assert [item.entry.id for item in store.read(None, 5)] == ["a", "c"]


def test_new_database_that_is_locked_is_busy(
    monkeypatch: pytest.MonkeyPatch, path: Path, open_store: OpenStore
) -> None:
    """A store that cannot make its tables because of a lock is busy, and opens later."""
    monkeypatch.setattr(module, "_BUSY_TIMEOUT", 0.05)
    path.parent.mkdir()
    store = open_store()
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StoreBusy, match="another process has locked it"):
            store.open()

    store.open()
    assert store.counters() == {"events": 0}


def test_other_files_are_refused(path: Path, open_store: OpenStore) -> None:
    """A file that is no SQLite database is told of and left as it is."""
    path.parent.mkdir()
    content = b"These are the shop's notes, and no database.\n" * 99
    path.write_bytes(content)

    with pytest.raises(StoreError, match="it is damaged or no SQLite file; move it away"):
        open_store().open()

    assert path.read_bytes() == content


def test_directory_is_refused(tmp_path: Path, open_store: OpenStore) -> None:
    """A path that is a directory is told of."""
    with pytest.raises(StoreError, match="Is a directory"):
        open_store(tmp_path).open()


@pytest.mark.parametrize("version", [0, SCHEMA_VERSION, 99])
def test_database_of_another_program_is_left_alone(
    path: Path, open_store: OpenStore, version: int
) -> None:
    """Another program's database is told of, and nothing in it changes."""
    path.parent.mkdir()
    with contextlib.closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE orders (id INTEGER)")
        other.execute(f"PRAGMA user_version = {version}")
    content = path.read_bytes()

    with pytest.raises(StoreError, match="it is another program's database; name another file"):
        open_store().open()

    assert path.read_bytes() == content


def test_first_schema_is_brought_up_to_date(
    path: Path, open_store: OpenStore, make_entry: MakeEntry
) -> None:
    """A store of the first schema keeps what it has, and gets what later ones have added."""
    store = open_store()
    store.commit(Commit([make_entry(id="a")]), 1)
    store.close()
    with contextlib.closing(sqlite3.connect(path)) as other:
        other.executescript("DROP TABLE meta; DROP TABLE erasure; PRAGMA user_version = 1;")

    again = open_store()
    again.commit(Commit([make_entry(id="b")]), 1)

    assert [item.entry.id for item in again.read(None, 5)] == ["a", "b"]
    assert query(path, "PRAGMA user_version") == SCHEMA_VERSION
    assert query(path, "SELECT value FROM meta WHERE key = 'min_writer'") == PERSON_VERSION


def test_newer_schema_that_only_adds_is_written_to(
    path: Path, open_store: OpenStore, make_entry: MakeEntry
) -> None:
    """A store that a newer journeykit has added to goes on, and stays the newer one's."""
    store = open_store()
    store.commit(Commit([make_entry(id="a")]), 1)
    with contextlib.closing(sqlite3.connect(path)) as other:
        other.executescript(f"ALTER TABLE log ADD COLUMN x; PRAGMA user_version = {NEWER};")

    store.commit(Commit([make_entry(id="b")]), 1)
    again = open_store()
    again.commit(Commit([make_entry(id="c")]), 1)

    assert [item.entry.id for item in again.read(None, 5)] == ["a", "b", "c"]
    assert query(path, "PRAGMA user_version") == NEWER


def test_newer_schema_that_is_not_to_be_written_to(
    path: Path, open_store: OpenStore, make_entry: MakeEntry
) -> None:
    """Whatever writes says so, at once and with both versions, and all that reads goes on."""
    store = open_store()
    store.commit(Commit([make_entry(id="a")]), 1)
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("UPDATE meta SET value = ? WHERE key = 'min_writer'", (NEWER,))

    for each in (store, open_store()):
        for write in (
            each.check_writer,
            lambda store=each: store.commit(Commit([make_entry()]), 1),
            lambda store=each: store.advance("sink:x", 1, [], 1),
            lambda store=each: store.project(Projection(PROJECTOR, None, 1), 1),
        ):
            with pytest.raises(Outdated) as caught:
                write()
            assert f"it asks for schema {NEWER}, this one writes {SCHEMA_VERSION}" in str(
                caught.value
            )
            assert "upgrade journeykit" in str(caught.value)
        assert [item.entry.id for item in each.read(None, 5)] == ["a"]
        assert each.cursor("sink:x") is None


def test_failed_upgrade_changes_nothing(
    path: Path, open_store: OpenStore, monkeypatch: pytest.MonkeyPatch, make_entry: MakeEntry
) -> None:
    """An upgrade that fails in the middle leaves the store as it was, for another try."""
    store = open_store()
    store.commit(Commit([make_entry(id="a")]), 1)
    store.close()
    monkeypatch.setattr(versions, "SCHEMA_VERSION", NEWER)
    broken = "CREATE TABLE added (x); CREATE TABLE log (x);"
    monkeypatch.setattr(versions, "UPGRADES", {NEWER: broken})

    newer = open_store()
    for _ in range(2):
        with pytest.raises(StoreError, match="table log already exists"):
            newer.open()

    assert query(path, "PRAGMA user_version") == SCHEMA_VERSION
    assert query(path, "SELECT count(*) FROM sqlite_master WHERE name = 'added'") == 0
    monkeypatch.setattr(versions, "UPGRADES", {NEWER: "CREATE TABLE added (x);"})
    newer.commit(Commit([make_entry(id="b")]), 1)
    assert query(path, "PRAGMA user_version") == NEWER


def test_full_disk_is_named(
    monkeypatch: pytest.MonkeyPatch, open_store: OpenStore, make_entry: MakeEntry
) -> None:
    """A file that cannot grow is told of as a full disk, and takes events again when it can."""
    store = open_store()
    store.commit(Commit([make_entry()]), 1)
    with store._read() as db:
        pages = db.execute("PRAGMA page_count").fetchone()[0]
        db.execute(f"PRAGMA max_page_count = {pages}")

    with pytest.raises(StoreError, match="the disk is full; make room"):
        store.commit(Commit([make_entry(properties={"text": "x" * 30_000})]), 1)

    with store._read() as db:
        db.execute("PRAGMA max_page_count = 100000")
    store.commit(Commit([make_entry(properties={"text": "x" * 30_000})]), 1)
    assert len(store.read(None, 5)) == 2


# Several processes

_WRITER = """
import sys
from journeykit.model.event import Entry, Kind
from journeykit.store.protocol import Commit
from journeykit.store.sqlite import SQLiteStore
store = SQLiteStore(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
for number in range(60):
    id = f"{sys.argv[2]}-{number}"
    entry = Entry(id, Kind.TOUCHPOINT, "N", "u", None, None, 0, 0, b"{}")
    store.commit(Commit([entry], counts={"writes": 1}), 1)
store.close()
"""


_VISITOR = """
import sqlite3, sys
db = sqlite3.connect(sys.argv[1])
print(db.execute("SELECT count(*) FROM log").fetchone()[0])
db.close()
"""


def test_a_second_store_leaves_the_first_its_locks(
    path: Path, open_store: OpenStore, make_entry: MakeEntry
) -> None:
    """Another store of the same file in this process costs no commit when other processes end."""
    first = open_store()
    first.commit(Commit([make_entry(id="a")]), 1)
    open_store().open()
    # A process that thinks it is the last one tidies up, and deletes what the others write to.
    for count in (1, 2):
        visitor = python(_VISITOR, path)
        assert visitor.communicate(timeout=30)[0] == f"{count}\n"
        first.commit(Commit([make_entry(id=f"b{count}")]), 1)

    assert python(_VISITOR, path).communicate(timeout=30)[0] == "3\n"


def test_processes_commit_at_once(path: Path, open_store: OpenStore) -> None:
    """Two processes that create the file and commit at the same time lose nothing."""
    writers = [python(_WRITER, path, name) for name in "ab"]
    for writer in writers:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write("\n")
        writer.stdin.flush()
    for writer in writers:
        writer.communicate(timeout=30)
        assert writer.returncode == 0

    store = open_store()
    log = [item.entry.id for item in store.read(None, 1000)]
    for name in "ab":
        mine = [event for event in log if event.startswith(name)]
        assert mine == [f"{name}-{number}" for number in range(60)]
    assert store.counters() == {"events": 120, "writes": 120}


_LEADER = """
import sys
from journeykit.store.sqlite import SQLiteStore
store = SQLiteStore(sys.argv[1])
lease = store.lead("projector")
print("leads" if lease else "waits", flush=True)
sys.stdin.readline()
"""


def test_leadership_dies_with_its_process(path: Path, open_store: OpenStore) -> None:
    """While another process leads nobody else can; once it was killed, at once somebody can."""
    store = open_store()
    leader = python(_LEADER, path)
    assert leader.stdout is not None
    assert leader.stdout.readline() == "leads\n"
    assert store.lead("projector") is None
    other_role = store.lead("sink:archive")
    assert other_role is not None
    other_role.release()

    leader.send_signal(signal.SIGKILL)
    leader.communicate(timeout=30)

    lease = store.lead("projector")
    assert lease is not None
    lease.release()


def test_forked_child_leaves_the_parents_store_whole(
    open_store: OpenStore, make_entry: MakeEntry
) -> None:
    """A child that begins anew can commit, close and die; the parent goes on as before."""
    store = open_store()
    store.commit(Commit([make_entry(id="before")]), 1)
    lease = store.lead("projector")
    assert lease is not None

    def child() -> None:
        store.reset_after_fork()
        assert store.lead("projector") is None
        assert [item.entry.id for item in store.read(None, 5)] == ["before"]
        store.commit(Commit([make_entry(id="child")]), 1)
        lease.release()
        store.close()

    assert in_child(child) == 0
    assert open_store().lead("projector") is None

    store.commit(Commit([make_entry(id="after")]), 1)
    assert [item.entry.id for item in store.read(None, 5)] == ["before", "child", "after"]
    lease.release()


def test_fork_while_another_thread_commits(open_store: OpenStore, make_entry: MakeEntry) -> None:
    """A child that was forked in the middle of a commit does not wait for the parent's thread."""
    store = open_store()
    store.open()
    inside, go_on = threading.Event(), threading.Event()

    def hold() -> None:
        with store._locks.hold("commit"):
            inside.set()
            go_on.wait(30)

    holder = threading.Thread(target=hold)
    holder.start()
    assert inside.wait(30)
    done_read, done_write = os.pipe()
    child = os.fork()
    if not child:
        store.reset_after_fork()
        os.write(done_write, b"r")
        store.commit(Commit([make_entry(id="child")]), 1)
        os._exit(0)
    # The child has come past its locks and waits only for the file lock, which we hold.
    assert os.read(done_read, 1) == b"r"
    go_on.set()
    holder.join()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    os.close(done_read)
    os.close(done_write)

    assert [item.entry.id for item in store.read(None, 5)] == ["child"]


_CLOSING = """
import sys, threading, time
from journeykit.exceptions import StoreError
from journeykit.store.sqlite import SQLiteStore

store = SQLiteStore(sys.argv[1])
stopping = threading.Event()

def work():
    while not stopping.is_set():
        try:
            store.count({"a": 1})
            store.fetch(range(200))
        except StoreError:
            pass

threads = [threading.Thread(target=work) for _ in range(3)]
for thread in threads:
    thread.start()
for _ in range(300):
    time.sleep(0.002)
    store.close()
stopping.set()
for thread in threads:
    thread.join()
store.close()
print("alive")
"""


def test_closing_under_busy_threads_does_not_end_the_process(tmp_path: Path) -> None:
    """A store that is closed while other threads are in the middle of something harms nobody."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", _CLOSING, str(tmp_path / "busy.db")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (done.returncode, done.stdout, done.stderr) == (0, "alive\n", "")


def test_threads_that_end_leave_no_connection(tmp_path: Path) -> None:
    """A server with a thread for each request does not run out of descriptors."""
    store = SQLiteStore(tmp_path / "store.db")
    store.counters()

    def descriptors() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    before = descriptors()
    for _ in range(30):
        thread = threading.Thread(target=store.counters)
        thread.start()
        thread.join()
    assert descriptors() <= before + 3
    store.close()


def test_a_batch_takes_few_steps(open_store: OpenStore, make_entry: MakeEntry) -> None:
    """Hundreds of events are written and read in few statements, and read in one row."""
    store = open_store()
    store.open()
    statements: list[str] = []
    with store._read() as db:
        db.set_trace_callback(statements.append)
    entries = [make_entry(id=str(number)) for number in range(500)]

    store.commit(Commit(entries), 1)
    inserts = [text for text in statements if text.startswith("INSERT INTO log")]
    assert 1 <= len(inserts) <= 10
    statements.clear()
    assert [item.entry for item in store.read(None, 500)] == entries
    assert len(store.outgoing(None, 500)) == 500
    positions = [item.position for item in store.read(None, 500)]
    assert [item.entry for item in store.fetch(positions)] == entries
    assert len(statements) == 4


def test_a_store_of_an_older_version_gets_what_was_added(
    path: Path, open_store: OpenStore, make_entry: MakeEntry
) -> None:
    """A file that was made before readers told of themselves is completed when it is opened."""
    store = open_store()
    store.commit(Commit([make_entry()]), 1)
    store.close()
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.executescript("DROP TABLE status; DROP INDEX parked_user; DROP INDEX parked_visitor;")
        db.executescript("DROP TABLE meta; DROP TABLE erasure; PRAGMA user_version = 1;")

    again = open_store()
    again.tell_status("sink:a", b"1")
    assert again.told_status("sink:a") == b"1"
    assert len(again.read(None, 5)) == 1
    names = "SELECT count(*) FROM sqlite_master WHERE name IN ('parked_user', 'parked_visitor')"
    assert query(path, names) == 2


def test_customers_with_parked_events_are_found_by_an_index(open_store: OpenStore) -> None:
    """How many events are parked does not matter to a strict sink's step."""
    store = open_store()
    store.open()
    with store._read() as db:
        for statement in rows._WITH_PARKED.values():
            plan = db.execute(f"EXPLAIN QUERY PLAN {statement}", ("[]", "sink:a")).fetchall()
            parked = [row[3] for row in plan if "parked" in row[3]]
            assert parked
            assert all("USING COVERING INDEX" in text for text in parked)


# A look at what was published


def publish(store: SQLiteStore, make_entry: MakeEntry) -> None:
    """Publish something."""
    store.publish(make_entry(PUBLISHED, flags=PUBLICATION, id="p", user_id=None), 1)


def open_files() -> int:
    """Return how many files this process has open."""
    return len(list(Path("/proc/self/fd").iterdir()))


def test_look_at_what_was_published_leaves_no_trace(
    path: Path, open_store: OpenStore, make_entry: MakeEntry
) -> None:
    """A look at a file that nobody has open makes no other files, and holds none."""
    publish(store := open_store(), make_entry)
    store.close()
    before = sorted(path.parent.rglob("*"))
    files = open_files()

    looking = SQLiteStore(path)
    assert [stored.id for stored in looking.peek_published()] == ["p"]

    assert sorted(path.parent.rglob("*")) == before
    assert open_files() == files
    assert in_child(lambda: looking.peek_published() or os._exit(9)) == 0


def test_look_sees_what_a_living_process_has_written(
    path: Path, open_store: OpenStore, make_entry: MakeEntry
) -> None:
    """While another has the file open, or is writing to it, the look finds what is committed."""
    publish(open_store(), make_entry)
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("BEGIN IMMEDIATE")
        assert [stored.id for stored in SQLiteStore(path).peek_published()] == ["p"]


@pytest.mark.parametrize("what", ["nothing", "empty", "text", "damage", "directory", "older"])
def test_look_at_something_else_finds_nothing(
    path: Path, open_store: OpenStore, make_entry: MakeEntry, what: str
) -> None:
    """What is missing, damaged, of an older version or no store at all stops nobody."""
    path.parent.mkdir(exist_ok=True)
    if what in {"damage", "older"}:
        publish(store := open_store(), make_entry)
        store.close()
    if what == "damage":
        data = path.read_bytes()
        path.write_bytes(data[:100] + b"\xff" * (len(data) - 100))
    elif what == "older":
        with contextlib.closing(sqlite3.connect(path)) as db:
            db.execute("DROP INDEX log_published")
    elif what == "directory":
        path.mkdir()
    elif what != "nothing":
        path.write_bytes(b"" if what == "empty" else b"no database at all" * 100)
    before = sorted(path.parent.iterdir())

    assert SQLiteStore(path).peek_published() == []
    assert sorted(path.parent.iterdir()) == before
