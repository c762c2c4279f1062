"""
Whoever erases dies at every moment that is told from the one before by what is on the disk.

One process does the work of all stages, in an order that is drawn, and is killed at its first moment,
at its second, and so on; then another does what is left.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import attrs
import pytest

from journeykit import Goal, Journey, Rule, Stage
from journeykit.capture import segment
from journeykit.capture.records import pack
from journeykit.capture.spool import Spool
from journeykit.delivery import Relay
from journeykit.delivery.file import FileSettings, FileSink
from journeykit.erasing import fact
from journeykit.journeys import Rulebook, declare, folds, plans
from journeykit.model import Entry
from journeykit.plugins import Plugins
from journeykit.store import wipe
from journeykit.store.claims import Claim
from journeykit.store.committer import Committer
from journeykit.store.eraser import Eraser
from journeykit.store.projector import Projector
from journeykit.store.protocol import Commit, Parking
from journeykit.store.sqlite import SQLiteStore

MakeEntry = Callable[..., Entry]

NOON = 1_772_452_800_000_000
REQUEST = NOON + 1_000_000_000

SHOP = Journey(
    key="shop",
    version=1,
    stages=[
        Stage(key="look", enter=[Rule("Product Viewed")], stall=timedelta(hours=1)),
        Stage(key="buy", enter=[Rule("Order Completed")]),
    ],
    goal=Goal("Order Completed", value="revenue"),
)

#: Before which statements it dies; in front of what else, `_deadly` says.
STATEMENTS = ("BEGIN IMMEDIATE", "COMMIT", "PRAGMA wal_checkpoint", "DELETE FROM log")

#: In how many orders the stages work.
ORDERS = 3

#: Everything that has this is the person's.
SECRET = "of-ada"
USER, KNOWN, LATE = f"user-{SECRET}", f"known-{SECRET}", f"late-{SECRET}"


@attrs.define
class Process:
    """All stages of one process, of which one step is done at a time."""

    store: SQLiteStore
    spool: Spool
    steps: list[Callable[[], Any]]

    @classmethod
    def start(cls, base: Path) -> Process:
        """Start a process on the files in *base*."""
        store = SQLiteStore(base / "shop.db")
        spool = Spool(store.spool, 10**8)
        none = Plugins(installed=False)
        declared, _ = declare([SHOP], (), {})
        folding = folds(plans(declared), none, Rulebook.of([], declared.vocabulary))
        committer = Committer(store, spool, none, now=lambda: REQUEST)
        committer.hurry = True
        projector = Projector(store, folding, now=lambda: REQUEST)
        sink = FileSink("archive", FileSettings(base / "out.jsonl"))
        relay = Relay(store, sink, none, now=lambda: REQUEST)
        eraser = Eraser(store, projected=True)
        return cls(store, spool, [committer.step, projector.step, relay.step, eraser.step])

    def run(self, order: random.Random) -> None:
        """Work until nothing is left to do."""
        working = True
        while working or self.store.erasing.pending():
            while order.choice(self.steps)() == 0.0:
                pass
            working = any(step() == 0.0 for step in self.steps)

    def erase(self) -> None:
        """Begin to erase the person, unless somebody has."""
        if not self.store.erasing.recent(1):
            stated = fact("customer", "asked", {"app": "tests"}, REQUEST)
            self.store.erasing.begin(stated, [("user", USER)], ["archive"], REQUEST)

    def close(self) -> None:
        """End as a process does that has the time."""
        self.spool.close()
        self.store.close()


def events(make_entry: MakeEntry, prefix: str, visitor: str) -> Iterator[Entry]:
    """Yield what the person did in one browser, before and after signing in, and others beside."""
    for number in range(30):
        note = {"note": f"{number} {SECRET}"}
        user = None if number < 20 else USER
        yield make_entry(
            properties=note, user_id=user, anonymous_id=visitor, at=number, id=f"{prefix}-{number}"
        )
        yield make_entry(user_id=f"bob{number % 7}", at=number, id=f"{prefix}-bob-{number}")
    yield make_entry("Order Completed", {"revenue": 2.5}, user_id=USER, at=40, id=f"{prefix}-end")
    yield make_entry(user_id="bob1", anonymous_id=visitor, at=41, id=f"{prefix}-bob-end")


@pytest.fixture
def shop(tmp_path: Path, make_entry: MakeEntry) -> Path:
    """Return a shop in which the person is known, and more of them waits in the spool."""
    base = tmp_path / "shop"
    base.mkdir()
    process = Process.start(base)
    parked = [Parking("plugin:p", next(events(make_entry, "parked", KNOWN)), "no")]
    process.store.commit(Commit(list(events(make_entry, "known", KNOWN)), parked), NOON)
    process.store.claims.take(
        Claim("i", f"u:{USER}", "q", None, "en", NOON, NOON, NOON), [f"u:{USER}"], []
    )
    process.run(random.Random(0))
    for entry in events(make_entry, "late", LATE):
        process.spool.append(pack(entry))
    process.close()
    assert left(base)
    return base


def left(base: Path) -> list[str]:
    """Return which files have something of the person."""
    files = [path for path in base.rglob("*") if path.is_file()]
    return [path.name for path in files if SECRET.encode() in path.read_bytes()]


def _deadly(moment: int) -> None:
    """Let this process die at the moment of that number."""
    moments = iter(range(moment))

    def pass_by(*_: object) -> None:
        if next(moments, None) is None:
            os.kill(os.getpid(), signal.SIGKILL)

    def around(owner: Any, name: str) -> None:
        plain = getattr(owner, name)

        def deadly(*given: Any) -> Any:
            pass_by()
            result = plain(*given)
            pass_by()
            return result

        setattr(owner, name, deadly)

    around(wipe, "wipe")
    around(segment.Segment, "remove")
    around(segment.OrphanSegment, "settle")
    around(FileSink, "erase")
    connect = SQLiteStore._connect

    def traced(self: SQLiteStore) -> Any:
        connection = connect(self)
        connection.set_trace_callback(
            lambda statement: pass_by() if statement.startswith(STATEMENTS) else None
        )
        return connection

    SQLiteStore._connect = traced  # type: ignore[method-assign]


def die_at(base: Path, moment: int, seed: int) -> bool:
    """Erase the person in a process that dies at a moment; returns whether it did."""
    child = os.fork()
    if child == 0:
        try:
            _deadly(moment)
            process = Process.start(base)
            process.erase()
            process.run(random.Random(seed))
            process.close()
            os._exit(0)
        except BaseException:
            traceback.print_exc(file=sys.__stderr__)
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert status in (0, signal.SIGKILL)
    return status != 0


def state(store: SQLiteStore) -> dict[str, dict[str, bytes]]:
    """Return State."""
    with store._read() as db:
        spaces = [row[0] for row in db.execute("SELECT DISTINCT space FROM state")]
    return {space: dict(store.scan(space)) for space in spaces if space != "projector"}


def finish(base: Path, order: random.Random) -> set[str]:
    """Let another process do what is left, and then one that makes State again; returns the ids."""
    process = Process.start(base)
    process.erase()
    process.run(order)
    kept = state(process.store)
    found = left(base)
    ids = {stored.id for stored in process.store.read(None, 10_000)}
    process.store.forget_state({})
    process.close()
    process = Process.start(base)
    process.run(order)
    assert state(process.store) == kept
    process.close()
    assert (found, left(base)) == ([], [])
    return ids


def test_erasure_ends_whenever_its_process_dies(shop: Path, tmp_path: Path) -> None:
    """After each death another process comes to the end, and nothing of others is lost."""
    theirs = {f"{name}-bob-{n}" for name in ("known", "late") for n in (*range(30), "end")}
    died: list[bool] = []
    while not died or any(died[-ORDERS:]):
        moment = len(died)
        base = tmp_path / f"dies at {moment}"
        shutil.copytree(shop, base)
        died.append(die_at(base, moment, moment % ORDERS))
        assert theirs <= finish(base, random.Random(moment))
        shutil.rmtree(base)
    assert died.count(True) > 30
