"""
Kill processes that use journeykit, and count what is lost.

    python tools/torture.py --seconds 60

Four processes track events as fast as asked, each noting an event's id in a file of its own once it
has the receipt; one of them is killed with -9 every quarter of a second. All share a store, a file
sink, and a sink that fails now and then. Then a fresh process empties what is left, and what was
noted is compared with what is there. Exits with 1 if anything was lost or is there twice, or if
State is not what the Log adds up to.

    python tools/torture.py --damage --seconds 60

Instead of killing processes, this damages the database under them, in every way there is. What is
lost must be what the store says it has lost.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from journeykit import Consent, Core, DeliveryError, Journey, JourneyKit, Settings
from journeykit.delivery import Batch
from journeykit.delivery.file import FileSettings, FileSink
from journeykit.exceptions import StoreError
from journeykit.journeys.templates import ECOMMERCE
from journeykit.pipeline import Pipeline
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
        time.sleep(max(0.0, began + number / rate - time.monotonic()))


def kill(base: Path, seconds: float, rate: float) -> int:
    """Start workers and kill them for so many seconds; returns how many were killed."""
    kills = 0
    running: list[subprocess.Popen[bytes]] = []
    end = time.monotonic() + seconds

    def start() -> None:
        command = [sys.executable, __file__, "--work", f"worker{kills + len(running)}"]
        command += ["--base", str(base), "--rate", str(rate)]
        running.append(subprocess.Popen(command))

    for _ in range(WORKERS):
        start()
    while time.monotonic() < end:
        time.sleep(random.uniform(0.5, 1.5) * PAUSE)
        victim = running.pop(random.randrange(WORKERS))
        victim.kill()
        victim.wait()
        kills += 1
        start()
    for worker in running:
        worker.kill()
        worker.wait()
    return kills + len(running)


def damage(base: Path, seconds: float, rate: float) -> dict[str, int]:
    """Start workers and damage what they write to; returns how often, in which way."""
    running = []
    for number in range(WORKERS):
        command = [sys.executable, __file__, "--work", f"worker{number}"]
        command += ["--base", str(base), "--rate", str(rate)]
        running.append(subprocess.Popen(command))
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
    for worker in running:
        worker.kill()
        worker.wait()
    return dict(done)


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
                if _rows(base, "PRAGMA integrity_check(1)") == [("ok",)] and kit.flush(timeout):
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
    log = [each for (each,) in _rows(base, "SELECT id FROM log")]
    tracked = Counter(each for each in log if each.startswith("worker"))
    counters = dict(_rows(base, "SELECT name, value FROM counter"))
    counted = counters["events"]
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
        **rebuild(base, timeout),
    }


def rebuild(base: Path, timeout: float) -> dict[str, Any]:
    """Make State again from the Log, and return what is different then."""
    sizes = [path.stat().st_size for path in (base / "archive.jsonl", base / "flaky.txt")]
    before, length = _state(base), _rows(base, "SELECT count(*) FROM log")
    with make_kit(base, failures=0.0) as kit:
        figures = kit.report().journeys
        Pipeline(kit._parts).projector.rebuild()  # noqa: SLF001 - there is no command for it yet
        rebuilt = kit.flush(timeout)
        again = kit.report().journeys
    after = _state(base)
    return {
        "State exact": rebuilt and figures == again and before == after,
        "State differs in": sum(before.get(k) != after.get(k) for k in {*before, *after}),
        "rebuild delivered": sum(
            path.stat().st_size - size
            for path, size in zip((base / "archive.jsonl", base / "flaky.txt"), sizes, strict=True)
        ),
        "rebuild added": _rows(base, "SELECT count(*) FROM log")[0][0] - length[0][0],
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
    }
    return [name for name, value in must.items() if figures[name] != value]


def _state(base: Path) -> dict[tuple[Any, ...], Any]:
    pieces = _rows(base, "SELECT space, key, data FROM state WHERE space <> 'projector'")
    trails = _rows(base, "SELECT customer, position FROM trail")
    return {**{row[:2]: row[2] for row in pieces}, **dict.fromkeys(trails, b"")}


def _rows(base: Path, query: str) -> list[tuple[Any, ...]]:
    db = sqlite3.connect(base / "store.db")
    try:
        return db.execute(query).fetchall()
    finally:
        db.close()


def _append(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)


def main() -> None:
    """Torture, print the figures, and exit with 1 if one is not as it must be."""
    parser = argparse.ArgumentParser(description="Kill processes, and count what is lost.")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long to kill")
    parser.add_argument("--rate", type=float, default=250.0, help="events a second of a process")
    parser.add_argument("--damage", action="store_true", help="damage the database instead")
    parser.add_argument("--seed", type=int, default=None, help="for the order of kills")
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
        if arguments.damage:
            done: dict[str, Any] = damage(base, arguments.seconds, arguments.rate)
            done = {"damages": done, "whole": make_whole(base, timeout=600.0)}
        else:
            done = {"kills": kill(base, arguments.seconds, arguments.rate)}
        killed = time.monotonic()
        figures = {**done, **account(base, timeout=600.0)}
        figures["seconds"] = [round(killed - began, 1), round(time.monotonic() - killed, 1)]
    wrong = failed(figures)
    if arguments.json:
        print(json.dumps({**figures, "wrong": wrong}))
    else:
        for key, value in figures.items():
            print(f"{key:24} {value}{'   <- wrong' if key in wrong else ''}")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
