"""
Four processes that commit to one file, FULL, with State folded.

Beside it the least that does the same: a file lock, a transaction of 500 events, and in it State
read, reduced in Python and written back.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import sqlite3
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import adapters, measure

try:
    from orjson import dumps, loads
except ImportError:
    from json import loads

    def dumps(value: Any) -> bytes:
        return json.dumps(value).encode()


if TYPE_CHECKING:
    from collections.abc import Iterator

PROCESSES = 4
GROUP = 500

_TABLES = """
CREATE TABLE IF NOT EXISTS log (
    position INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, name TEXT, customer TEXT, body BLOB
);
CREATE TABLE IF NOT EXISTS state (customer TEXT PRIMARY KEY, data BLOB) WITHOUT ROWID;
"""


def race(directory: Path, subject: str, calls: int) -> dict[str, float]:
    """Let all processes begin at once; returns the events a second until State has them all."""
    command = [sys.executable, "-m", "benchmarks.commit", str(directory), subject]
    processes = [
        subprocess.Popen(
            [*command, str(calls), str(number)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(PROCESSES)
    ]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    started = time.monotonic()
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    ended = [json.loads(process.stdout.readline()) for process in processes]
    for process in processes:
        process.stdin.close()
        process.wait()
        process.stdout.close()
    events = PROCESSES * calls
    seconds = max(one["ended"] for one in ended) - started
    cpu = sum(one["cpu"] for one in ended)
    folded = _folded(directory / "shop.db", subject)
    return {"rate": events / seconds, "cpu": cpu / events * 1e6, "missing": events - folded}


def _folded(database: Path, subject: str) -> int:
    """Return how many events State has seen."""
    if subject == "raw":
        with contextlib.closing(sqlite3.connect(database)) as db:
            return sum(loads(data)["count"] for (data,) in db.execute("SELECT data FROM state"))
    with contextlib.closing(sqlite3.connect(database)) as db:
        derived = 2
        query = "SELECT count(*) FROM log WHERE kind != ? AND position <= "
        query += "(SELECT position FROM cursor WHERE name = 'projector')"
        return int(db.execute(query, (derived,)).fetchone()[0])


def ours(directory: Path, calls: int, number: int) -> Iterator[None]:
    return _ours(directory, calls, number, group=f"{number}-")


def shared(directory: Path, calls: int, number: int) -> Iterator[None]:
    """All processes meet the same customers at once, so that most events come out of order."""
    return _ours(directory, calls, number, group="")


def _ours(directory: Path, calls: int, number: int, *, group: str) -> Iterator[None]:
    client = adapters.JourneyKitClient(
        "http://127.0.0.1:9", directory, journey=True, sink=False, group=group
    )
    yield
    for call in range(calls):
        receipt = client.track(adapters.properties(number * calls + call))
        assert receipt
    assert client.flush()


def raw(directory: Path, calls: int, number: int) -> Iterator[None]:
    lock = os.open(directory / "lock", os.O_RDWR | os.O_CREAT)
    db = sqlite3.connect(directory / "shop.db", isolation_level=None, timeout=60)
    fcntl.flock(lock, fcntl.LOCK_EX)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")
    db.executescript(_TABLES)
    fcntl.flock(lock, fcntl.LOCK_UN)
    yield
    for first in range(0, calls, GROUP):
        events = [_event(call, number) for call in range(first, min(first + GROUP, calls))]
        fcntl.flock(lock, fcntl.LOCK_EX)
        db.execute("BEGIN IMMEDIATE")
        db.executemany("INSERT INTO log (id, name, customer, body) VALUES (?, ?, ?, ?)", events)
        _reduce(db, events)
        db.execute("COMMIT")
        fcntl.flock(lock, fcntl.LOCK_UN)


def _event(call: int, number: int) -> tuple[str, str, str, bytes]:
    turn, who = divmod(call, adapters.CUSTOMERS)
    event = {
        "id": str(uuid.uuid4()),
        "name": f"step {turn % 5}",
        "customer": f"{number}-u{who}",
        "at": time.time_ns() // 1000,
        "properties": adapters.properties(call),
    }
    return event["id"], event["name"], event["customer"], dumps(event)


def _reduce(db: sqlite3.Connection, events: list[tuple[str, str, str, bytes]]) -> None:
    customers = list({event[2] for event in events})
    places = ", ".join("?" * len(customers))
    rows = db.execute(f"SELECT customer, data FROM state WHERE customer IN ({places})", customers)
    states = {customer: loads(data) for customer, data in rows}
    for _, name, customer, body in events:
        event = loads(body)
        state = states.setdefault(customer, {"count": 0, "stages": {}, "last": []})
        state["count"] += 1
        state["stage"] = name
        state["stages"][name] = event["at"]
        state["last"] = [*state["last"][-4:], event["id"]]
    db.executemany(
        "INSERT INTO state VALUES (?, ?) ON CONFLICT DO UPDATE SET data = excluded.data",
        [(customer, dumps(state)) for customer, state in states.items()],
    )


_SUBJECTS = {"journeykit": ours, "journeykit-shared": shared, "raw": raw}


def work(directory: Path, subject: str, calls: int, number: int) -> None:
    """One of the processes: get ready, wait for the word, do it."""
    steps = _SUBJECTS[subject](directory, calls, number)
    next(steps)
    print("ready", flush=True)
    sys.stdin.readline()
    cpu = time.process_time()
    for _ in steps:
        pass
    found = {"ended": time.monotonic(), "cpu": time.process_time() - cpu}
    print(json.dumps(found), flush=True)
    # The others may still need the one that leads.
    sys.stdin.readline()
    os._exit(0)


def main(directory: str, subject: str, calls: str, number: str | None = None) -> None:
    if number is not None:
        work(Path(directory), subject, int(calls), int(number))
    measure.answer(race(Path(directory), subject, int(calls)))


if __name__ == "__main__":
    main(*sys.argv[1:])
