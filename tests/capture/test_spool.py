"""What only the spool does; `test_tail.py` has what it shares with the tail in memory."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from journeykit import JourneyKit, Settings, hookimpl
from journeykit.capture import Spool
from journeykit.capture import spool as module
from journeykit.capture.records import pack, unpack
from journeykit.capture.segment import FORM, OrphanSegment
from journeykit.exceptions import StoreError
from journeykit.model import Entry, Kind
from journeykit.plugins import Plugins
from journeykit.store.committer import Committer
from journeykit.store.memory import MemoryStore
from journeykit.store.sqlite import SQLiteStore

MakeEntry = Callable[..., Entry]
MakeSettings = Callable[..., Settings]
WaitUntil = Callable[..., None]

LIMIT = 2**26


def entry(number: int, size: int = 20) -> Entry:
    """Return an entry with a body of *size* bytes."""
    return Entry(str(number), Kind.TOUCHPOINT, "A", "u1", None, None, 0, 0, b"x" * size)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Return where the spool is to be."""
    return tmp_path / "var" / "spool"


@pytest.fixture
def make_spool(directory: Path) -> Iterator[Callable[..., Spool]]:
    """Return a function that makes spools, all of which are closed at the end."""
    made: list[Spool] = []

    def make_spool(where: Path = directory, *, limit: int = LIMIT, drop_old: bool = False) -> Spool:
        made.append(Spool(where, limit, drop_old=drop_old))
        return made[-1]

    yield make_spool
    for spool in made:
        spool.close()


MakeSpool = Callable[..., Spool]


def adopted(spool: Spool, limit: int = 7) -> list[str]:
    """Adopt everything, and return the ids."""
    ids: list[str] = []
    for orphan in spool.orphans():
        place: int | None = None
        entries, place = orphan.take(place, limit)
        while entries:
            ids += [found.id for found in entries]
            entries, place = orphan.take(place, limit)
        spool.settle(orphan)
    return ids


_CHILD = """
import os, sys, time
from pathlib import Path
from journeykit.capture import Spool
from journeykit.capture.records import pack
from journeykit.capture import spool as module
from journeykit.model import Entry, Kind

def entry(name, size=20):
    return Entry(name, Kind.TOUCHPOINT, "A", "u1", None, None, 0, 0, b"x" * size)

spool = Spool(Path(sys.argv[1]), 2**26)
"""


@contextlib.contextmanager
def process(script: str, directory: Path) -> Iterator[subprocess.Popen[str]]:
    """Run *script* behind the prelude in a process of its own, killed at the end."""
    command = [sys.executable, "-c", _CHILD + script, str(directory)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        try:
            yield child
        finally:
            child.kill()


def line(child: subprocess.Popen[str]) -> str:
    """Return the next line that *child* prints."""
    assert child.stdout is not None
    return child.stdout.readline().strip()


# Records

texts = st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=200)


@given(
    id=texts.map(lambda text: text or ""),
    kind=st.sampled_from(Kind),
    name=texts.map(lambda text: text or ""),
    user_id=texts,
    anonymous_id=texts,
    session_id=texts,
    occurred_at=st.integers(-(2**63), 2**63 - 1),
    flags=st.integers(0, 255),
    body=st.binary(max_size=100),
)
@example(
    id="",
    kind=Kind.FACT,
    name="\0",
    user_id="x" * 0xFFFE,
    anonymous_id="y" * 0xFFFF,
    session_id="€" * 0xFFFF,
    occurred_at=0,
    flags=0,
    body=b"",
)
def test_a_record_gives_back_its_entry(**columns: Any) -> None:
    """Whatever texts an entry has, and however long they are, it comes back as it was."""
    packed = Entry(**columns)
    assert unpack(pack(packed)) == packed


def test_an_entry_may_be_larger_than_a_segment(
    monkeypatch: pytest.MonkeyPatch, make_spool: MakeSpool
) -> None:
    """An entry that no segment has room for gets one of its size, in its place in the order."""
    monkeypatch.setattr(module, "SEGMENT_BYTES", 200)
    spool = make_spool()
    sizes = [100, 20_000, 1, 190, 250, 3]
    for number, size in enumerate(sizes):
        assert spool.append(pack(entry(number, size))) is None
        spool.tend()
    assert [len(found.body) for found in spool.take(100).entries] == sizes
    spool.close()
    assert adopted(make_spool()) == [str(number) for number in range(len(sizes))]


# Damage

COUNT = 12

#: Bytes of the header that tell nothing, and the one that tells a newer form.
SILENT = set(range(7, 16))


def changes() -> st.SearchStrategy[tuple[str, float, float]]:
    """Yield kinds of damage, with where it begins and how long it is, as shares of what is used."""
    share = st.floats(0, 1, exclude_max=True)
    return st.tuples(st.sampled_from(["truncated", "zeroed", "flipped"]), share, share)


def damage(data: bytes, change: tuple[str, float, float], used: int) -> tuple[bytes, range]:
    """Return *data* with *change*, and the bytes that it touched."""
    kind, start, length = change
    first = int(start * used)
    last = first + 1 + int(length**4 * (used - first))
    if kind == "truncated":
        return data[:first], range(first, len(data))
    if kind == "zeroed":
        return data[:first] + bytes(last - first) + data[last:], range(first, last)
    flipped = bytearray(data)
    for place in {*range(first, last)} - SILENT:
        flipped[place] ^= 0x55
    return bytes(flipped), range(first, last)


@given(change=changes(), limit=st.integers(1, 5))
@example(("zeroed", 0.3, 0.9), 2)
@example(("zeroed", 0.0, 0.0), 2)
@example(("truncated", 0.7, 0.0), 3)
def test_what_was_written_before_the_damage_is_kept(
    change: tuple[str, float, float], limit: int
) -> None:
    """A damaged segment gives all entries before the damage, once; the file is set aside."""
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "SEGMENT_BYTES", 4096)
        directory = Path(name)
        spool = Spool(directory, LIMIT)
        ends = []
        for number in range(COUNT):
            assert spool.append(pack(entry(number, 10 * number))) is None
            ends.append(spool._segments[-1].end)
        spool.close()
        checksum = range(ends[-2] + 4, ends[-2] + 8)
        (path,) = directory.iterdir()
        whole = path.read_bytes()
        data, touched = damage(whole, change, ends[-1])
        path.write_bytes(data)

        spool = Spool(directory, LIMIT)
        found = adopted(spool, limit)
        spool.close()

        # Behind a header that is damaged everything else is whole.
        before = COUNT if touched[-1] < 16 else sum(end <= touched[0] for end in ends)
        assert found[:before] == [str(number) for number in range(before)]
        assert found == [str(number) for number in range(len(found))]
        aside = list(directory.glob("*.damaged"))
        if data == whole:
            assert (len(found), aside) == (COUNT, [])
        elif change[0] == "flipped":
            assert len(aside) == 1 or set(touched) <= SILENT
        elif len(found) < COUNT and not aside:
            # Nothing tells it from what was never written, or only half.
            assert len(data) < 16 or set(checksum) <= set(touched)
        for file in aside:
            assert file.read_bytes() == data
        assert not list(directory.glob("*.seg"))


def test_damage_is_told(
    make_spool: MakeSpool, directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A damaged segment is logged with its file, once, and is not looked at again."""
    spool = make_spool()
    for number in range(3):
        spool.append(pack(entry(number)))
    end = spool._segments[-1].end
    spool.close()
    (path,) = directory.iterdir()
    with path.open("r+b") as file:
        file.seek(end - 1)
        file.write(b"y")

    assert adopted(make_spool()) == ["0", "1"]
    assert adopted(make_spool()) == []
    (record,) = [record for record in caplog.records if record.levelname == "ERROR"]
    assert record.message == "journeykit.segment_damaged"
    assert vars(record)["file"] == str(path.with_suffix(".damaged"))
    assert list(directory.iterdir()) == [path.with_suffix(".damaged")]


def test_half_a_record_is_none(make_spool: MakeSpool, directory: Path) -> None:
    """What a process was writing when it died is left out, and is no damage."""
    data = pack(entry(1))
    for written in range(len(data) + 1):
        spool = make_spool()
        spool.append(pack(entry(0)))
        segment = spool._segments[-1]
        start = segment.end + 8
        segment.write(data)
        segment.map[start - 4 : start] = bytes(4)
        segment.map[start + written : start + len(data)] = bytes(len(data) - written)
        spool.close()

        assert adopted(make_spool()) == ["0"]
        assert list(directory.iterdir()) == []


# Files of others


def test_orphans_may_be_left_to_others(make_spool: MakeSpool) -> None:
    """A spool that may not adopt unlocks what it had adopted, and takes it again when it may."""
    writer, first, second = make_spool(), make_spool(), make_spool()
    writer.append(pack(entry(1)))
    writer.close()
    assert len(first.orphans()) == 1
    assert not second.orphaned()

    first.adopt(allowed=False)
    assert not first.orphaned()
    assert len(second.orphans()) == 1

    second.adopt(allowed=False)
    first.adopt(allowed=True)
    assert [orphan.take(None, 9)[0] for orphan in first.orphans()] == [[entry(1)]]


def test_a_deleted_segment_is_forgotten_only_when_the_disk_knows(
    make_spool: MakeSpool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its watermark goes once its directory was synced: a power cut could bring the file back."""
    monkeypatch.setattr(module, "SEGMENT_BYTES", 200)
    spool = make_spool()
    for number in range(3):
        assert spool.append(pack(entry(number, 120))) is None
    names = [segment.name for segment in spool._segments]

    def refuse(descriptor: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", refuse)
        spool.release(spool.take(2).mark)
    assert (names[0], None) not in spool.take(9).watermarks

    spool.release(spool.take(9).mark)
    assert (names[1], None) in spool.take(9).watermarks


def test_what_is_no_dead_segment_is_left_alone(make_spool: MakeSpool, directory: Path) -> None:
    """A segment of a newer form, and files that are none, stay; what was never one goes."""
    spool = make_spool()
    spool.append(pack(entry(1)))
    spool.close()
    (path,) = directory.iterdir()
    newer = bytearray(path.read_bytes())
    newer[7] = FORM + 1
    path.write_bytes(newer)
    (directory / "notes.txt").write_text("mine")
    (directory / "1.damaged").write_text("set aside")
    (directory / "1.new").write_bytes(bytes(4096))
    (directory / "2.new").write_bytes(b"")
    (directory / "3.seg").write_bytes(b"")
    (directory / "4.seg").mkdir()

    assert adopted(make_spool()) == []
    left = {found.name for found in directory.iterdir()}
    assert left == {path.name, "notes.txt", "1.damaged", "4.seg"}
    assert path.read_bytes() == newer


def test_a_living_process_keeps_its_segments(
    make_spool: MakeSpool, directory: Path, wait_until: WaitUntil
) -> None:
    """Nothing of a living process is touched; when it is killed, all of it is adopted."""
    script = """
for number in range(100):
    assert spool.append(pack(entry(str(number)))) is None
print("ready", flush=True)
time.sleep(60)
"""
    with process(script, directory) as child:
        assert line(child) == "ready"
        spool = make_spool()
        for _ in range(20):
            assert not spool.orphaned()
        child.send_signal(signal.SIGSTOP)
        assert not spool.orphaned()
        child.kill()
        wait_until(spool.orphaned)
        # One adopts; for another it is somebody's now.
        assert not make_spool().orphaned()
        assert adopted(spool) == [str(number) for number in range(100)]
    assert list(directory.iterdir()) == []


def test_adoption_does_not_disturb_processes_that_start(
    make_spool: MakeSpool, directory: Path
) -> None:
    """While others create segments as fast as they can, a looking process takes none of them."""
    script = """
module.SEGMENT_BYTES = 4096
for number in range(400):
    refused = spool.append(pack(entry(f"{os.getpid()}-{number}", 3000)))
    assert refused is None, refused
print(os.getpid(), flush=True)
sys.stdin.readline()
os._exit(0)
"""
    spool = make_spool()
    found: list[str] = []
    with (
        process(script, directory) as one,
        process(script, directory) as two,
        process(script, directory) as three,
    ):
        children = (one, two, three)
        numbers: list[str] = []
        answers = threading.Thread(target=lambda: numbers.extend(line(each) for each in children))
        answers.start()
        while answers.is_alive():
            found += adopted(spool)
        assert found == []
        for child in children:
            child.communicate("go\n")
            assert child.returncode == 0
    found = adopted(spool)
    for child_number in numbers:
        own = [name for name in found if name.startswith(f"{child_number}-")]
        assert own == [f"{child_number}-{number}" for number in range(400)]
    assert len(found) == 1_200
    assert list(directory.iterdir()) == []


def test_a_new_file_that_was_taken_is_made_again(
    monkeypatch: pytest.MonkeyPatch, make_spool: MakeSpool
) -> None:
    """A process that looks between creation and locking deletes the file; nothing is refused."""
    looker, taken = make_spool(), []
    flock = module.fcntl.flock

    def late(descriptor: int, how: int) -> None:
        if how == module.fcntl.LOCK_EX and len(taken) < 2:
            taken.append(descriptor)
            looker.orphans()
        flock(descriptor, how)

    monkeypatch.setattr(module.fcntl, "flock", late)
    assert make_spool().append(pack(entry(1))) is None
    assert len(taken) == 2


def test_a_file_that_cannot_be_deleted_is_settled_once(
    monkeypatch: pytest.MonkeyPatch, make_spool: MakeSpool, make_entry: MakeEntry
) -> None:
    """Where an adopted file stays, its events are committed once, and nobody tries again."""

    def fails(self: OrphanSegment) -> None:
        raise PermissionError

    dead, spool = make_spool(), make_spool()
    dead.append(pack(make_entry(id="a")))
    dead.close()
    monkeypatch.setattr(OrphanSegment, "settle", fails)
    store = MemoryStore()
    committer = Committer(store, spool, Plugins(installed=False), now=lambda: 1)
    committer.hurry = True
    steps = 0
    while committer.step() is not None:
        steps += 1
        assert steps < 10
    assert store.counters()["events"] == 1
    assert not spool.orphaned()
    assert not make_spool().orphaned()


# Fork


def test_a_forked_child_leaves_its_parent_alone(make_spool: MakeSpool, directory: Path) -> None:
    """A child has none of its parent's entries, and the parent's locks survive its end."""
    spool = make_spool()
    spool.append(pack(entry(1)))
    child = os.fork()
    if not child:
        code = 1
        try:
            spool.reset_after_fork()
            assert len(spool) == 0
            assert not spool.orphaned()
            assert spool.append(pack(entry(2))) is None
            assert [found.id for found in spool.take(9).entries] == ["2"]
            code = 0
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0

    assert adopted(make_spool()) == ["2"]
    assert spool.append(pack(entry(3))) is None
    assert [found.id for found in spool.take(9).entries] == ["1", "3"]


def test_a_killed_parent_is_adopted_while_its_child_lives(
    make_spool: MakeSpool, directory: Path, wait_until: WaitUntil
) -> None:
    """A child keeps no lock of its parent: what the parent left is adopted at once."""
    script = """
spool.append(pack(entry("parent")))
dead = Spool(Path(sys.argv[1]), 2**26)
dead.append(pack(entry("adopted by the parent")))
dead.close()
assert spool.orphaned()
if not os.fork():
    spool.reset_after_fork()
    spool.append(pack(entry("child")))
    print(os.getpid(), flush=True)
    time.sleep(60)
    os._exit(0)
time.sleep(60)
"""
    with process(script, directory) as parent:
        child = int(line(parent))
        spool = make_spool()
        try:
            assert not spool.orphaned()
            parent.kill()
            parent.wait()
            assert sorted(adopted(spool)) == ["adopted by the parent", "parent"]
        finally:
            os.kill(child, signal.SIGKILL)
        wait_until(spool.orphaned)
        assert adopted(spool) == ["child"]


# Close


def test_closing_leaves_what_waits(
    monkeypatch: pytest.MonkeyPatch, make_spool: MakeSpool, directory: Path
) -> None:
    """What was not released is there for the next process; what was read to its end is deleted."""
    monkeypatch.setattr(module, "SEGMENT_BYTES", 1_000)
    spool = make_spool()
    for number in range(30):
        spool.append(pack(entry(number)))
        spool.tend()
    assert len(list(directory.iterdir())) > 2
    marks = spool.take(29)
    spool.release(marks.mark)
    assert len(list(directory.iterdir())) <= 2
    spool.close()
    spool.close()
    (path,) = directory.iterdir()

    other = make_spool()
    (orphan,) = other.orphans()
    place = dict(marks.watermarks)[orphan.name]
    assert orphan.name == path.name
    assert [found.id for found in orphan.take(place, 9)[0]] == ["29"]
    assert other.settle(orphan)
    assert list(directory.iterdir()) == []
    assert not spool.orphaned()


def test_files_are_private(make_spool: MakeSpool, directory: Path) -> None:
    """Nobody but the owner may read what waits."""
    make_spool().append(pack(entry(1)))
    (path,) = directory.iterdir()
    assert directory.stat().st_mode & 0o777 == 0o700
    assert path.stat().st_mode & 0o777 == 0o600


def test_deleted_files_are_forgotten_by_the_store(
    monkeypatch: pytest.MonkeyPatch,
    make_spool: MakeSpool,
    make_entry: MakeEntry,
    directory: Path,
    tmp_path: Path,
) -> None:
    """The store keeps a watermark for each file that is there, and for no other."""
    monkeypatch.setattr(module, "SEGMENT_BYTES", 4_096)
    dead, spool = make_spool(), make_spool()
    for _ in range(30):
        dead.append(pack(make_entry()))
        spool.append(pack(make_entry()))
    dead.close()
    store = SQLiteStore(tmp_path / "store.db")
    committer = Committer(store, spool, Plugins(installed=False), now=lambda: 1)
    committer.hurry = True
    while committer.step() is not None:
        pass
    spool.append(pack(make_entry()))
    while committer.step() is not None:
        pass
    with store._read() as db:
        known = {row[0] for row in db.execute("SELECT file FROM watermark")}
    store.close()
    # The file that was deleted last is forgotten with the next commit.
    assert len(known - {path.name for path in directory.glob("*.seg")}) <= 1
    assert committer.added == 61


def test_turned_file_goes_once_it_is_read(make_spool: MakeSpool, directory: Path) -> None:
    """A file that takes nothing more is deleted with its last event, also if nothing follows."""
    spool = make_spool()
    spool.append(pack(entry(1)))
    spool.append(pack(entry(2)))
    spool.turn()
    spool.release(spool.take(1).mark)
    assert len(list(directory.glob("*.seg"))) == 1

    spool.release(spool.take(9).mark)

    assert list(directory.glob("*.seg")) == []
    assert len(spool) == 0
    spool.append(pack(entry(3)))
    assert [each.id for each in spool.take(9).entries] == ["3"]


# Adoption by a committer


class Failing:
    """A store that cannot tell a watermark."""

    def __init__(self) -> None:
        self._store = MemoryStore()

    def __getattr__(self, name: str) -> Any:
        if name == "watermark":
            raise StoreError("no watermark")
        return getattr(self._store, name)


def test_an_orphan_that_fails_keeps_nobody_waiting(
    make_spool: MakeSpool, make_entry: MakeEntry
) -> None:
    """Where adoption fails, this process's own events are committed all the same."""
    dead, spool = make_spool(), make_spool()
    dead.append(pack(make_entry(id="dead")))
    dead.close()
    store: Any = Failing()
    committer = Committer(store, spool, Plugins(installed=False), now=lambda: 1)
    spool.append(pack(make_entry(id="own")))
    with pytest.raises(StoreError):
        committer.step()
    while committer.step() != 0.0:
        time.sleep(0.005)
    assert [item.entry.id for item in store.read(None, 9)] == ["own"]


def test_own_events_do_not_wait_behind_a_backlog(
    monkeypatch: pytest.MonkeyPatch, make_spool: MakeSpool, make_entry: MakeEntry
) -> None:
    """Adoption takes turns with this process's own events."""
    monkeypatch.setattr("journeykit.store.committer.GROUP_EVENTS", 2)
    dead, spool = make_spool(), make_spool()
    for number in range(10):
        dead.append(pack(make_entry(id=f"dead{number}")))
    dead.close()
    store = MemoryStore()
    committer = Committer(store, spool, Plugins(installed=False), now=lambda: 1)
    committer.hurry = True
    for number in range(4):
        spool.append(pack(make_entry(id=f"own{number}")))
    while committer.step() is not None:
        pass
    ids = [item.entry.id for item in store.read(None, 100)]
    assert sorted(ids) == sorted([f"dead{n}" for n in range(10)] + [f"own{n}" for n in range(4)])
    assert ids.index("own3") < ids.index("dead9")


def test_a_plugin_that_hangs_during_adoption_costs_nothing(
    tmp_path: Path, make_settings: MakeSettings, make_entry: MakeEntry, wait_until: WaitUntil
) -> None:
    """The abandoned thread and the new one share a segment: each event enters the Log once."""
    release, hung = threading.Event(), threading.Event()

    class Hangs:
        name = "hangs"

        @hookimpl
        def enrich_event(self, event: Any) -> dict[str, Any]:
            if event.id == "600":
                hung.set()
                release.wait(30)
            return {"seen": True}

    core = {
        "store": "sqlite:///store.db",
        "strict": False,
        "plugin_timeout": timedelta(seconds=0.3),
    }
    kit = JourneyKit(make_settings(core=core), plugins=[Hangs()])
    assert isinstance(kit._tail, Spool)
    dead = Spool(tmp_path / "store.db-spool", LIMIT)
    for number in range(1_200):
        dead.append(pack(make_entry(id=str(number))))
    dead.close()
    try:
        kit.start().look()
        assert hung.wait(10)
        assert kit.flush(20)
        assert kit.status()["tripped"]
        release.set()
        assert kit.track("Late", customer="ada", id="late")
        assert kit.flush(20)
        found = [item.entry.id for item in kit.store.read(None, 10_000)]
        assert found == [*map(str, range(1_200)), "late"]
        assert kit.store.counters()["events"] == 1_201
        assert len(list((tmp_path / "store.db-spool").iterdir())) == 1
    finally:
        release.set()
        kit.close(10)


def test_appending_does_not_wait_for_adoption(make_spool: MakeSpool) -> None:
    """While this process looks through the directory, its requests go on."""
    spool = make_spool()
    with spool._adopting:
        appending = threading.Thread(target=spool.append, args=(pack(entry(1)),), daemon=True)
        appending.start()
        appending.join(10)
        assert len(spool) == 1


def test_a_mark_of_before_the_fork_releases_nothing(make_spool: MakeSpool) -> None:
    """What was taken before a fork or an end does not count in what came afterwards."""
    spool = make_spool()
    spool.append(pack(entry(1)))
    mark = spool.take(9).mark
    spool.reset_after_fork()
    spool.append(pack(entry(2)))
    spool.release(mark)
    assert [found.id for found in spool.take(9).entries] == ["2"]


# A disk, or a platform, that cannot


@contextlib.contextmanager
def mounted(path: Path, options: str) -> Iterator[Path]:
    """Mount a small file system in memory at *path*; skips the test where that is not allowed."""
    path.mkdir()
    mount = shutil.which("mount")
    if mount is None or os.geteuid() != 0:
        pytest.skip("only root may mount")
    command = [mount, "-t", "tmpfs", "-o", options, "tmpfs", str(path)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        yield path
    finally:
        subprocess.run(["umount", "-l", str(path)], check=True)


def test_full_disk_refuses_and_recovers(
    tmp_path: Path, make_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a full disk the host goes on, refusals are counted, and with room events are accepted."""
    monkeypatch.setattr(module, "_RETRY_SECONDS", 0.05)
    with mounted(tmp_path / "disk", "size=6m") as disk:
        kit = JourneyKit(
            make_settings(core={"store": "sqlite:///disk/store.db", "strict": False}),
        )
        try:
            # The store is kept from emptying the tail: a reader of its lock.
            kit.store.open()
            (disk / "ballast").write_bytes(b"x" * 2**20)
            with SQLiteStore(disk / "store.db")._locks.hold("commit"):
                text = "x" * 10_000
                refused = accepted = 0
                while refused < 100:
                    receipt = kit.track("Viewed", {"text": text}, customer="ada")
                    accepted += bool(receipt)
                    if not receipt:
                        refused += 1
                        assert receipt.reason == "disk_full"
                assert 0 < accepted < 1_000
                assert kit.status()["receipts"] == {"accepted": accepted, "disk_full": 100}
                (disk / "ballast").unlink()
                shutil.copytree(disk, tmp_path / "copy")
            assert shutil.disk_usage(disk).total < 7 * 2**20
            subprocess.run(
                ["mount", "-o", "remount,size=64m", str(disk)], check=True, capture_output=True
            )
            deadline = time.monotonic() + 10
            while not kit.track("Viewed", {"text": text}, customer="ada", id="again"):
                assert time.monotonic() < deadline
                time.sleep(0.01)
            assert kit.flush(20)
            ids = [item.entry.id for item in kit.store.read(None, 10_000)]
            assert len(ids) == accepted + 1
            assert "again" in ids
        finally:
            kit.close(10)


def test_directory_that_cannot_be_written_refuses(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Where the directory cannot be made, events are refused, with one line in the log."""
    (tmp_path / "file").write_text("not a directory")
    spool = Spool(tmp_path / "file" / "spool", LIMIT)
    assert [spool.append(pack(entry(number))) for number in range(50)] == ["disk_full"] * 50
    spool.tend()
    assert not spool.orphaned()
    assert len(spool) == 0
    assert spool.take(9).entries == []
    spool.close()
    assert [record.message for record in caplog.records] == ["journeykit.spool_refused"]


def test_read_only_disk_refuses(tmp_path: Path) -> None:
    """On a disk that was mounted read-only, events are refused and nothing is raised."""
    with mounted(tmp_path / "disk", "size=6m") as disk:
        dead = Spool(disk / "spool", LIMIT)
        dead.append(pack(entry(1)))
        dead.close()
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True, capture_output=True)
        spool = Spool(disk / "spool", LIMIT)
        assert spool.append(pack(entry(2))) == "disk_full"
        # Opening for writing is refused too: what waits there waits on.
        assert not spool.orphaned()
        spool.close()


def _cannot(*_: object) -> None:
    raise OSError(errno.EOPNOTSUPP, "not supported")


@pytest.mark.parametrize("how", ["absent", "not supported"])
def test_without_posix_fallocate_zeros_are_written(
    monkeypatch: pytest.MonkeyPatch, make_spool: MakeSpool, directory: Path, how: str
) -> None:
    """A segment has real blocks, also where the platform or the file system cannot allocate."""
    if how == "absent":
        monkeypatch.delattr(os, "posix_fallocate", raising=False)
    else:
        monkeypatch.setattr(os, "posix_fallocate", _cannot, raising=False)
    spool = make_spool()
    assert spool.append(pack(entry(1))) is None
    (path,) = directory.iterdir()
    assert path.stat().st_size == module.SEGMENT_BYTES
    assert path.stat().st_blocks * 512 >= module.SEGMENT_BYTES
    spool.close()
    assert adopted(make_spool()) == ["1"]


@pytest.mark.parametrize("how", ["absent", "not supported"])
def test_without_posix_fallocate_a_full_disk_is_no_signal(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, how: str
) -> None:
    """Writing zeros finds a full disk before anything is mapped."""
    if how == "absent":
        monkeypatch.delattr(os, "posix_fallocate", raising=False)
    else:
        monkeypatch.setattr(os, "posix_fallocate", _cannot, raising=False)
    with mounted(tmp_path / "disk", "size=2m") as disk:
        spool = Spool(disk, LIMIT)
        assert spool.append(pack(entry(1))) == "disk_full"
        assert list(disk.iterdir()) == []
        spool.close()


def test_platform_without_flock_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without `flock` the start fails, and says what to use instead."""
    monkeypatch.setattr(module, "fcntl", None)
    with pytest.raises(StoreError, match="no flock; use"):
        Spool(tmp_path, LIMIT)


# Going back


def test_rewinding_gives_again_what_is_still_there(make_spool: MakeSpool) -> None:
    """What was released comes once more, marked and not mixed with what is new."""
    spool = make_spool()
    for number in range(6):
        assert spool.append(pack(entry(number))) is None
    spool.release(spool.take(4).mark)
    assert (spool.released, len(spool)) == (4, 2)

    spool.rewind()

    assert (spool.released, len(spool)) == (0, 6)
    again = spool.take(100)
    assert ([each.id for each in again.entries], again.again) == (["0", "1", "2", "3"], True)
    spool.release(again.mark)
    new = spool.take(100)
    assert ([each.id for each in new.entries], new.again) == (["4", "5"], False)
    spool.release(new.mark)
    assert (spool.released, len(spool)) == (6, 0)


def test_rewinding_an_empty_spool_does_nothing(make_spool: MakeSpool) -> None:
    """Where nothing was read, there is nothing to go back to."""
    spool = make_spool()
    spool.rewind()
    assert spool.append(pack(entry(1))) is None
    spool.rewind()
    taken = spool.take(5)
    assert ([each.id for each in taken.entries], taken.again) == (["1"], False)


def test_rewinding_leaves_out_what_was_dropped(make_spool: MakeSpool) -> None:
    """What gave way to newer entries is gone, was counted, and is not counted again."""
    record = len(pack(entry(0))) + 8
    spool = make_spool(limit=6 * record, drop_old=True)
    for number in range(6):
        assert spool.append(pack(entry(number))) is None
    spool.release(spool.take(2).mark)
    for number in range(6, 9):
        assert spool.append(pack(entry(number))) is None
    assert (spool.dropped.count, len(spool)) == (1, 6)
    spool.release(spool.take(2).mark)

    spool.rewind()

    again = spool.take(100)
    assert ([each.id for each in again.entries], again.again) == (["3", "4"], True)
    spool.release(again.mark)
    assert [each.id for each in spool.take(100).entries] == ["5", "6", "7", "8"]
    assert (spool.dropped.count, spool.released, len(spool)) == (1, 5, 4)


def test_what_comes_again_gives_way_uncounted(make_spool: MakeSpool) -> None:
    """What came to the store once is dropped for new entries first, and is not counted as lost."""
    record = len(pack(entry(0))) + 8
    spool = make_spool(limit=6 * record, drop_old=True)
    for number in range(6):
        assert spool.append(pack(entry(number))) is None
    spool.release(spool.take(2).mark)
    failing = spool.take(2)
    spool.rewind()

    for number in range(6, 9):
        assert spool.append(pack(entry(number))) is None

    assert failing.entries
    assert (spool.dropped.count, spool.released, len(spool)) == (1, 3, 6)
    taken = spool.take(100)
    assert ([each.id for each in taken.entries], taken.again) == (list("345678"), False)


def test_what_a_process_still_has_is_not_lost_with_the_store(
    tmp_path: Path, make_settings: MakeSettings, wait_until: WaitUntil
) -> None:
    """When the database is destroyed under a running app, what its spool still has comes back."""
    path = tmp_path / "store.db"
    with JourneyKit(make_settings(core={"store": "sqlite:///store.db"})) as kit:
        for number in range(300):
            assert kit.track("Viewed", customer="u", id=f"before-{number}")
        assert kit.flush(10)
        with contextlib.closing(sqlite3.connect(path)) as db:
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        other = tmp_path / "other"
        other.write_bytes(b"no database " * 999)
        other.replace(path)
        assert kit.track("Viewed", customer="u", id="after")

        wait_until(lambda: list(tmp_path.glob("store.db.damaged-*")))
        wait_until(lambda: kit.flush(1))

        ids = [item.entry.id for item in kit.store.read(None, 1000)]
        assert sorted(ids) == sorted([*(f"before-{number}" for number in range(300)), "after"])
        assert kit.status()["damage"]["lost"] == 0
        assert kit.store_error is None


def test_a_turned_spool_leaves_no_bytes_of_what_was_released(
    tmp_path: Path, make_entry: MakeEntry
) -> None:
    """Files of before are deleted as soon as they are read, also the one made ready ahead."""
    spool = Spool(tmp_path / "spool", 2**24)
    for number in range(4):
        spool.append(pack(make_entry(f"Secret {number}")))
    spool.release(spool.take(2).mark)
    before = set((tmp_path / "spool").iterdir())

    spool.turn()
    spool.append(pack(make_entry("New")))
    taken = spool.take(10)

    assert [entry.name for entry in taken.entries] == ["Secret 2", "Secret 3", "New"]
    spool.release(taken.mark)
    left = set((tmp_path / "spool").iterdir())
    assert not left & before
    assert all(b"Secret" not in path.read_bytes() for path in left)
    spool.append(pack(make_entry("Last")))
    assert [entry.name for entry in spool.take(10).entries] == ["Last"]
    spool.close()


def test_turning_a_spool_that_is_read_deletes_it_at_once(
    tmp_path: Path, make_entry: MakeEntry
) -> None:
    """Where nothing waits, no file stays, and the next watermarks tell the store so."""
    spool = Spool(tmp_path / "spool", 2**24)
    spool.append(pack(make_entry("Secret")))
    taken = spool.take(10)
    spool.release(taken.mark)
    spool.turn()
    assert list((tmp_path / "spool").iterdir()) == []
    spool.append(pack(make_entry("New")))
    assert (taken.watermarks[0][0], None) in spool.take(10).watermarks
    spool.close()
