"""
Harm processes that use journeykit, and count what is lost.

    python tools/torture.py --seconds 60 --harm kills

Four processes track events as fast as asked, each noting an event's id in a file of its own once it
has the receipt. `kills`: one of them is killed with -9 every quarter of a second. `stops`: the one
that folds is stopped by the kernel, and goes on later or is killed. All share a store, a file sink,
and a sink that fails now and then. Then a fresh process empties what is left, and what was noted is
compared with what is there. `damage`: nobody is harmed but the database under them, in every way
there is; what is lost must be what the store says it has lost. Exits with 1 if anything else was
lost or is there twice, or if State is not what the Log adds up to.

`powercut.py` beside this one cuts the power.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from accounting import rebuild, rows

from journeykit import Consent, Core, DeliveryError, Journey, JourneyKit, Settings
from journeykit.delivery import Batch
from journeykit.delivery.file import FileSettings, FileSink
from journeykit.exceptions import StoreError
from journeykit.journeys.templates import ECOMMERCE
from journeykit.store.locks import LockDirectory
from journeykit.store.schema import LOST

WORKERS = 4
PAUSE = 0.25
NAMES = [rule.event for stage in ECOMMERCE.stages for rule in stage.enter]


class FlakySink:
    """Notes ids in a file; one batch in ten is refused, and one in ten taken but not confirmed."""

    name = "flaky"

    def __init__(self, path: Path, failures: float) -> None:
        self._path = path
        self._failures = failures

    def deliver(self, batch: Batch) -> None:
        """Take *batch*, mostly."""
        luck = random.random()
        if luck < self._failures:
            raise DeliveryError("refused")
        _append(self._path, "".join(f"{each}\n" for each in batch.ids))
        if luck < 2 * self._failures:
            raise DeliveryError("the answer was lost")

    def close(self) -> None:
        """Do nothing."""


def make_kit(base: Path, failures: float = 0.1) -> JourneyKit:
    """Return the kit that all processes use."""
    return JourneyKit(
        Settings(
            consent=Consent("opt_out"),
            base=base,
            core=Core(store="sqlite:///store.db"),
            journeys=[Journey(key="shop", version=1, extends="ecommerce")],
        ),
        sinks=[
            FileSink("archive", FileSettings(base / "archive.jsonl", rotate_bytes=2**40)),
            FlakySink(base / "flaky.txt", failures),
        ],
    )


def work(base: Path, name: str, rate: float) -> None:
    """Track *rate* events a second until killed, and note those that were accepted."""
    kit = make_kit(base)
    number = 0
    leads = False
    began = time.monotonic()
    while True:
        event_id = f"{name}-{number}"
        customer = f"customer-{random.randrange(200)}"
        receipt = kit.track(
            random.choice(NAMES), {"product_id": number}, customer=customer, id=event_id
        )
        if receipt:
            _append(base / f"{name}.accepted", f"{event_id}\n")
        else:
            _append(base / "refused.txt", f"{receipt.reason}\n")
        number += 1
        if kit.start().leads and not leads:
            leads = True
            (base / "leader").write_text(name)
        time.sleep(max(0.0, began + number / rate - time.monotonic()))


class Workers:
    """Processes that track, which are harmed."""

    def __init__(self, base: Path, rate: float) -> None:
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self._base = base
        self._rate = rate
        self._started = 0
        for _ in range(WORKERS):
            self.start()
        deadline = time.monotonic() + 60.0
        while not self.tracking() and time.monotonic() < deadline:
            time.sleep(0.01)

    def start(self) -> None:
        """Start another one."""
        name = f"worker{self._started}"
        self._started += 1
        command = [sys.executable, __file__, "--work", name]
        command += ["--base", str(self._base), "--rate", str(self._rate)]
        self.running[name] = subprocess.Popen(command)

    def kill(self, name: str) -> None:
        """Kill one."""
        victim = self.running.pop(name)
        victim.kill()
        victim.wait()

    def end(self) -> int:
        """Kill all; returns how many were running."""
        count = len(self.running)
        for name in list(self.running):
            self.kill(name)
        return count

    def leader(self) -> str:
        """Return who folds, or anybody if that cannot be told."""
        said = self._base / "leader"
        name = said.read_text() if said.exists() else ""
        return name if name in self.running else random.choice(list(self.running))

    def tracking(self) -> int:
        """Return how many have begun."""
        return sum((self._base / f"{name}.accepted").exists() for name in self.running)

    def accepted(self, but: str) -> int:
        """Return how much others than one have accepted, as bytes of what they noted."""
        paths = [self._base / f"{name}.accepted" for name in self.running if name != but]
        return sum(path.stat().st_size for path in paths if path.exists())


def kill(base: Path, seconds: float, rate: float) -> dict[str, int]:
    """Start workers and kill them for so many seconds; returns how many were killed."""
    kills = 0
    workers = Workers(base, rate)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(random.uniform(0.5, 1.5) * PAUSE)
        # On a busy machine they take long to begin, and there would be nothing to lose.
        if workers.tracking() < WORKERS // 2:
            continue
        workers.kill(random.choice(list(workers.running)))
        kills += 1
        workers.start()
    return {"kills": kills + workers.end()}


def stop(base: Path, seconds: float, rate: float) -> dict[str, int]:
    """
    Stop the leader for a while, again and again; every third time it is killed while it is stopped.

    What others do meanwhile is counted: none may lead, and all must go on accepting.
    """
    found = Counter({"stops": 0, "stopped in a commit": 0, "stood still": 0, "led twice": 0})
    workers = Workers(base, rate)
    locks = LockDirectory(base / "store.db-locks")
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(random.uniform(0.5, 3) * PAUSE)
        if workers.tracking() < WORKERS:
            continue
        victim = workers.leader()
        process = workers.running[victim]
        process.send_signal(signal.SIGSTOP)
        found["stops"] += 1
        found["stopped in a commit"] += not _free(locks, "commit", tries=50)
        before = workers.accepted(victim)
        time.sleep(random.uniform(2, 8) * PAUSE)
        found["stood still"] += workers.accepted(victim) == before
        found["led twice"] += _free(locks, "lead-projector", tries=1)
        if found["stops"] % 3 == 0:
            workers.kill(victim)
            workers.start()
        else:
            process.send_signal(signal.SIGCONT)
    workers.end()
    return dict(found)


def _free(locks: LockDirectory, role: str, tries: int) -> bool:
    """Return whether a lock could be had in one of some tries."""
    for _ in range(tries):
        try:
            lease = locks.lease(role)
        except FileNotFoundError:
            # Nobody has made the directory yet.
            return False
        if lease is not None:
            lease.release()
            return True
        time.sleep(0.002)
    return False


def damage(base: Path, seconds: float, rate: float) -> dict[str, Any]:
    """Damage what workers write to; returns how often, in which way, and if it is whole again."""
    workers = Workers(base, rate)
    done: Counter[str] = Counter()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        # Longer each time, for a disk that fails all the time is left alone for longer.
        before = len(list(base.glob("store.db.damaged-*Z")))
        time.sleep(1.5 + random.random() + 2 ** min(before, 5) / 2)
        way = random.choice(sorted(WAYS))
        try:
            WAYS[way](base / "store.db")
        except FileNotFoundError:
            continue
        done[way] += 1
    workers.end()
    return {"damages": dict(done), "whole": make_whole(base, timeout=600.0)}


def _scramble(path: Path, page: int, count: int = 1) -> None:
    with path.open("r+b") as file:
        file.seek(page * 4096)
        file.write(random.randbytes(4096 * count))


def _pages(path: Path) -> None:
    for _ in range(random.randrange(1, 5)):
        _scramble(path, random.randrange(1, path.stat().st_size // 4096))


def _write_ahead_log(path: Path) -> None:
    wal = path.with_name(f"{path.name}-wal")
    _scramble(wal, random.randrange(max(1, wal.stat().st_size // 4096 - 1)))


def _replaced(path: Path) -> None:
    other = path.with_suffix(".other")
    other.write_bytes(b"This is no database.\n" * 999)
    other.replace(path)


#: Everything that may happen to a file. Its -shm is mapped into memory: who truncates that kills.
WAYS = {
    "pages": _pages,
    "header": lambda path: _scramble(path, 0),
    "write-ahead log": _write_ahead_log,
    "truncated": lambda path: os.truncate(path, path.stat().st_size // 8192 * 4096),
    "emptied": lambda path: os.truncate(path, 0),
    "overwritten": lambda path: _scramble(path, 0, path.stat().st_size // 4096),
    "replaced": _replaced,
}


def make_whole(base: Path, timeout: float) -> bool:
    """Have the store repaired where it is damaged and nobody has noticed yet."""
    deadline = time.monotonic() + timeout
    with make_kit(base, failures=0.0) as kit:
        kit.start()
        while time.monotonic() < deadline:
            try:
                kit.store.counters()
                if rows(base, "PRAGMA integrity_check(1)") == [("ok",)] and kit.flush(timeout):
                    return True
            except (StoreError, sqlite3.Error):
                pass
            kit.store._damaged("said so")  # noqa: SLF001 - nobody else needs to say so
            time.sleep(0.5)
    return False


def account(base: Path, timeout: float) -> dict[str, Any]:
    """Empty what is left, and return what became of what was accepted."""
    accepted: Counter[str] = Counter()
    for path in base.glob("*.accepted"):
        accepted.update(path.read_text().split())
    with make_kit(base, failures=0.0) as kit:
        drained = kit.flush(timeout)
    # What concerns no customer goes to no sink.
    query = "SELECT id FROM log WHERE name <> 'journey.published'"
    log = [each for (each,) in rows(base, query)]
    tracked = Counter(each for each in log if each.startswith("worker"))
    counters = dict(rows(base, "SELECT name, value FROM counter"))
    counted = counters.get("events", 0)
    sinks = {
        "archive": Counter(
            json.loads(line)["id"] for line in (base / "archive.jsonl").read_text().splitlines()
        ),
        "flaky": Counter((base / "flaky.txt").read_text().split()),
    }
    refused = base / "refused.txt"
    return {
        "accepted": len(accepted),
        "refused": len(refused.read_text().split()) if refused.exists() else 0,
        "in the Log": len(log),
        "drained": drained,
        "lost": len(accepted.keys() - tracked.keys()),
        "reported lost": counters.get(LOST, 0),
        "twice": sum(count - 1 for count in tracked.values()) + abs(counted - tracked.total()),
        "kept without a receipt": len(tracked.keys() - accepted.keys()),
        "missing at sinks": sum(len(set(log) - got.keys()) for got in sinks.values()),
        "duplicates at sinks": {name: got.total() - len(got) for name, got in sinks.items()},
        "damaged segments": len(list(base.glob("store.db-spool/*.damaged"))),
        "segments left": len(list(base.glob("store.db-spool/*"))),
        **rebuild(
            base,
            lambda: make_kit(base, failures=0.0),
            lambda: sum((base / name).stat().st_size for name in ("archive.jsonl", "flaky.txt")),
            timeout,
        ),
    }


def failed(figures: dict[str, Any]) -> list[str]:
    """Return which figures are not as they must be."""
    must = {
        "refused": 0,
        "drained": True,
        "lost": figures["reported lost"],
        "twice": 0,
        "missing at sinks": 0,
        "damaged segments": 0,
        "segments left": 0,
        "State exact": True,
        "rebuild delivered": 0,
        "rebuild added": 0,
        "stood still": 0,
        "led twice": 0,
    }
    return [name for name, value in must.items() if figures.get(name, value) != value]


def _append(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)


HARMS: dict[str, Callable[[Path, float, float], dict[str, Any]]] = {
    "kills": kill,
    "stops": stop,
    "damage": damage,
}


def main() -> None:
    """Torture, print the figures, and exit with 1 if one is not as it must be."""
    # What processes say of the harm that is done to them is no result.
    logging.getLogger("journeykit").addHandler(logging.NullHandler())
    parser = argparse.ArgumentParser(description="Kill processes, and count what is lost.")
    parser.add_argument("--harm", choices=sorted(HARMS), default="kills", help="what to do")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long to do it")
    parser.add_argument("--rate", type=float, default=250.0, help="events a second of a process")
    parser.add_argument("--seed", type=int, default=None, help="for the order of harm")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument("--work", help=argparse.SUPPRESS)
    parser.add_argument("--base", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.work:
        work(arguments.base, arguments.work, arguments.rate)
    random.seed(arguments.seed)

    with tempfile.TemporaryDirectory() as name:
        base = Path(name)
        began = time.monotonic()
        harmed = HARMS[arguments.harm](base, arguments.seconds, arguments.rate)
        ended = time.monotonic()
        figures = {**harmed, **account(base, timeout=600.0)}
        figures["seconds"] = [round(ended - began, 1), round(time.monotonic() - ended, 1)]
    wrong = failed(figures)
    if arguments.json:
        print(json.dumps({**figures, "wrong": wrong}))
    else:
        for key, value in figures.items():
            print(f"{key:24} {value}{'   <- wrong' if key in wrong else ''}")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
