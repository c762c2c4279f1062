"""
Cut the power of a simulated disk, and count what is lost.

    python tools/powercut.py --cuts 150

A process with two kits on one store tracks events on a disk that notes what was synced (`disk.py`).
At random moments what a cut would leave is written aside, with what had been promised by then. A
fresh process looks at each of these afterwards: the database must be sound and hold every event
whose commit had returned, and nothing that a sink has may be missing from it. Every so many cuts, a
fresh kit takes over, and everything that `torture.py` compares is compared. Exits with 1 if
anything is not as it must be.

`--synchronous OFF` or `NORMAL` breaks the store on purpose, to show that this would be seen.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

from accounting import rebuild, rows
from disk import Disk, Unreachable

from journeykit import Consent, Core, Journey, JourneyKit, Settings, hookimpl
from journeykit.capture import segment, spool
from journeykit.delivery import Batch
from journeykit.journeys.templates import ECOMMERCE
from journeykit.store import Commit
from journeykit.store.protocol import Committed
from journeykit.store.sqlite import SQLiteStore

NAMES = [rule.event for stage in ECOMMERCE.stages for rule in stage.enter]

#: What the withholding plugin withholds.
WITHHELD = "Withheld"

#: Small enough that segments come to their end and are deleted while we look.
SEGMENT_BYTES = 16 * 1024

#: The share of the disk's operations that a cut follows.
CHANCE = 0.05

MUST_BE_0 = (
    "corrupt",
    "committed lost",
    "durable lost",
    "delivered lost",
    "invented",
    "torn",
    "cursors ahead",
    "watermarks wrong",
    "not drained",
    "twice",
    "State differs in",
    "missing at the sink",
    "rebuild delivered",
    "rebuild added",
    "repaired",
)


class Withholding:
    """A plugin that keeps some events out of the Log."""

    @hookimpl
    def accept_event(self, event: Any) -> bool:
        """Refuse one name."""
        return bool(event.name != WITHHELD)


class Promises:
    """What the running process has told others, in order; a cut remembers how much there was."""

    def __init__(self) -> None:
        self.committed: list[str] = []
        self.durable: list[str] = []
        self.delivered: list[str] = []
        self.tracked: list[str] = []

    def lengths(self) -> dict[str, int]:
        """Return how much there is."""
        return {name: len(noted) for name, noted in vars(self).items()}


class NotingStore(SQLiteStore):
    """Notes what was committed; *synchronous* may break it."""

    def __init__(self, path: Path, promises: Promises, synchronous: str) -> None:
        super().__init__(path)
        self._promises = promises
        self._synchronous = synchronous

    def commit(self, commit: Commit, now: int) -> Committed:
        """Commit, and note it."""
        done = super().commit(commit, now)
        self._promises.committed += [entry.id for entry in commit.entries]
        return done

    def _connect(self) -> sqlite3.Connection:
        connection = super()._connect()
        if self._synchronous != "FULL":
            connection.execute(f"PRAGMA synchronous = {self._synchronous}")
        return connection


class ListSink:
    """Notes ids in a list."""

    name = "list"

    def __init__(self, delivered: list[str]) -> None:
        self.delivered = delivered

    def deliver(self, batch: Batch) -> None:
        """Take *batch*."""
        self.delivered += batch.ids

    def close(self) -> None:
        """Do nothing."""


def make_kit(base: Path, delivered: list[str], store: SQLiteStore | None = None) -> JourneyKit:
    """Return a kit on the store below *base*."""
    settings = Settings(
        consent=Consent("opt_out"),
        base=base,
        core=Core(store="sqlite:///store.db"),
        journeys=[Journey(key="shop", version=1, extends="ecommerce")],
    )
    sinks = [ListSink(delivered)]
    return JourneyKit(settings, sinks=sinks, plugins=[Withholding()], store=store)


# The process that is cut


def work(base: Path, cuts: int, seed: int, synchronous: str) -> None:
    """Track events until so many cuts were made; say what was promised."""
    luck, promises = random.Random(seed), Promises()
    made: list[dict[str, Any]] = []

    def noted(disk: Disk) -> None:
        if len(made) < cuts and luck.random() < CHANCE:
            made.append(promises.lengths())
            image = base / f"cut-{len(made):04d}"
            disk.cut(image, luck)
            copy_tally(run, image)

    spool.SEGMENT_BYTES = SEGMENT_BYTES
    run = base / "run"
    run.mkdir()
    try:
        disk = Disk(run, mapped=".seg", noted=noted)
    except Unreachable as reason:
        _leave(base, {"skipped": str(reason)})
    threads = [
        threading.Thread(target=track, args=(run, promises, f"kit{n}", synchronous, made, cuts))
        for n in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(300)
    if not disk.watches:
        _leave(base, {"skipped": "the sqlite3 module does not use the SQLite library found"})
    _leave(base, {"cuts": made, "errors": disk.errors, **vars(promises)})


def copy_tally(run: Path, image: Path) -> None:
    """Add what is noted of the database: nothing syncs it, but the disk may have it already."""
    tally = run / "store.db-locks" / "tally"
    if tally.exists():
        (image / "store.db-locks").mkdir()
        shutil.copy(tally, image / "store.db-locks")


def track(
    run: Path, promises: Promises, name: str, synchronous: str, made: list[Any], cuts: int
) -> None:
    """Track with one kit after another while cuts are wanted."""
    luck = random.Random(name)
    number, generation = 0, 0
    deadline = time.monotonic() + 240
    while len(made) < cuts and time.monotonic() < deadline:
        generation += 1
        store = NotingStore(run / "store.db", promises, synchronous)
        kit = make_kit(run, promises.delivered, store)
        for _ in range(luck.randrange(200, 1500)):
            number += 1
            event_id = f"{name}-{number}"
            event = WITHHELD if number % 20 == 0 else luck.choice(NAMES)
            durable = number % 50 == 1
            promises.tracked.append(event_id)
            receipt = kit.track(
                event,
                {"product_id": number, "note": "x" * luck.randrange(400)},
                customer=f"customer-{luck.randrange(40)}",
                id=event_id,
                durable=durable,
            )
            if durable and receipt and receipt.reason is None:
                promises.durable.append(event_id)
            time.sleep(luck.choice((0, 0, 0.0005)))
            if len(made) >= cuts:
                break
        kit.close(0.0 if luck.random() < 0.5 else 5.0)


def _leave(base: Path, said: dict[str, Any]) -> None:
    (base / "promises.json").write_text(json.dumps(said), encoding="utf-8")
    # Callbacks from SQLite into an interpreter that ends would crash it.
    os._exit(0)


# The one that looks


def look(base: Path, promised: dict[str, Any], *, every: int) -> Counter[str]:
    """Return what is wrong with the cuts, and how many there were."""
    found: Counter[str] = Counter(dict.fromkeys(MUST_BE_0, 0))
    tracked = set(promised["tracked"])
    for number, lengths in enumerate(promised["cuts"], start=1):
        image = base / f"cut-{number:04d}"
        promises = {name: promised[name][:length] for name, length in lengths.items()}
        copy = base / "copy"
        shutil.copytree(image, copy)
        try:
            found.update(look_at_database(copy, promises, tracked))
            shutil.rmtree(copy)
            if number % every == 0:
                found["cuts taken over"] += 1
                found.update(take_over(image, promises))
        except (sqlite3.Error, OSError) as error:
            found["corrupt"] += 1
            found[f"error: {error}"] += 1
        shutil.rmtree(copy, ignore_errors=True)
        shutil.rmtree(image)
    found["cuts"] = len(promised["cuts"])
    for name in ("committed", "durable", "delivered"):
        found[name] = sum(lengths[name] for lengths in promised["cuts"])
    return found


def look_at_database(base: Path, promises: dict[str, Any], tracked: set[str]) -> Counter[str]:
    """Return what is wrong with what a cut has left, as it lies there."""
    found: Counter[str] = Counter()
    if not (base / "store.db").exists() or not rows(base, "SELECT 1 FROM sqlite_master"):
        found["committed lost"] += len(promises["committed"])
        return found
    if rows(base, "PRAGMA integrity_check") != [("ok",)]:
        found["corrupt"] += 1
        return found
    log = {
        row[0]: row[1:]
        for row in rows(base, "SELECT id, position, kind, CAST(body AS TEXT) FROM log")
    }
    found["committed lost"] += len(set(promises["committed"]) - log.keys())
    found["durable lost"] += len(set(promises["durable"]) - log.keys())
    found["delivered lost"] += len(set(promises["delivered"]) - log.keys())
    own = {event_id for event_id in log if event_id.startswith("kit")}
    found["invented"] += len(own - tracked)
    found["torn"] += sum(json.loads(row[2])["id"] != event_id for event_id, row in log.items())
    last = max((row[0] for row in log.values()), default=0)
    found["cursors ahead"] += sum(
        (position or 0) > last for (position,) in rows(base, "SELECT position FROM cursor")
    )
    found["watermarks wrong"] += _disagreeing(base, log.keys())
    return found


def _disagreeing(base: Path, log: Any) -> int:
    """Return how many records that are in the Log lie behind their segment's watermark."""
    marks = dict(rows(base, "SELECT file, place FROM watermark"))
    wrong = 0
    for path in (base / "store.db-spool").glob("*.seg"):
        orphan = segment.adopt(path)
        if orphan is not None:
            entries, _ = orphan.take(marks.get(path.name), 10**6)
            orphan.segment.let_go()
            wrong += sum(entry.id in log for entry in entries)
    return wrong


def take_over(base: Path, promises: dict[str, Any]) -> Counter[str]:
    """Let a fresh kit go on with what a cut has left, and return what is wrong then."""
    found: Counter[str] = Counter()
    delivered = list(promises["delivered"])
    with make_kit(base, delivered) as kit:
        found["not drained"] += not kit.flush(60)
    # What concerns no customer goes to no sink.
    query = "SELECT id FROM log WHERE name <> 'journey.published'"
    ids = [event_id for (event_id,) in rows(base, query)]
    own = sum(event_id.startswith("kit") for event_id in ids)
    counted = dict(rows(base, "SELECT name, value FROM counter"))
    found["committed lost"] += len(set(promises["committed"]) - set(ids))
    found["twice"] += len(ids) - len(set(ids)) + abs(counted.get("events", 0) - own)
    found["missing at the sink"] += len(set(ids) - set(delivered))
    again = rebuild(base, lambda: make_kit(base, delivered), lambda: len(delivered), 60)
    found["State differs in"] += again["State differs in"] + (not again["State exact"])
    for name in ("rebuild delivered", "rebuild added"):
        found[name] += abs(again[name])
    found["repaired"] += len(list(base.glob("store.db.damaged-*")))
    found["damaged segments"] += len(list(base.glob("store.db-spool/*.damaged")))
    return found


def cut(cuts: int, seed: int, synchronous: str, every: int) -> dict[str, Any]:
    """Run a process, cut it so often, and return the figures."""
    with tempfile.TemporaryDirectory() as name:
        base = Path(name).resolve()
        command = [sys.executable, __file__, "--work", str(base), "--cuts", str(cuts)]
        command += ["--seed", str(seed), "--synchronous", synchronous]
        done = subprocess.run(command, check=False)
        said = base / "promises.json"
        if not said.exists():
            return {"crashed": done.returncode}
        promised = json.loads(said.read_text(encoding="utf-8"))
        if "skipped" in promised:
            return {"skipped": promised["skipped"]}
        return {**look(base, promised, every=every), "errors": promised["errors"]}


def failed(figures: dict[str, Any]) -> list[str]:
    """Return which figures are not as they must be."""
    wrong = [name for name in MUST_BE_0 if figures.get(name)]
    return wrong + [name for name in ("crashed", "errors") if figures.get(name)]


def main() -> None:
    """Cut, print the figures, and exit with 1 if one is not as it must be."""
    parser = argparse.ArgumentParser(description="Cut a simulated disk's power.")
    parser.add_argument("--cuts", type=int, default=150, help="how often")
    parser.add_argument("--every", type=int, default=1, help="take over every so many cuts")
    parser.add_argument("--seed", type=int, default=None, help="for the moments and the sectors")
    parser.add_argument("--synchronous", choices=["OFF", "NORMAL", "FULL"], default="FULL")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    seed = random.randrange(10**9) if arguments.seed is None else arguments.seed
    if arguments.work:
        work(arguments.work, arguments.cuts, seed, arguments.synchronous)
    figures = {
        "seed": seed,
        **cut(arguments.cuts, seed, arguments.synchronous, arguments.every),
    }
    wrong = failed(figures)
    if arguments.json:
        print(json.dumps({**figures, "wrong": wrong}))
    else:
        for key, value in figures.items():
            print(f"{key:24} {value}{'   <- wrong' if key in wrong else ''}")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
