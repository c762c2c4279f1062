"""What one `track` costs its caller: in bursts, and beside a thread that needs the CPU."""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import adapters, measure

if TYPE_CHECKING:
    from benchmarks.adapters import Client

#: Calls between two flushes; below the smallest queue of the peers (2,048).
GROUP = 1000

#: Between two calls beside the busy thread, in seconds.
PAUSE = 0.002


def burst(client: Client, calls: int) -> dict[str, float]:
    """Call in bursts, drained in between; the first one warms up and is not counted."""
    _timed(client, 0, GROUP)
    client.flush()
    took: list[int] = []
    cpu = 0.0
    for first in range(GROUP, GROUP + calls, GROUP):
        started = time.thread_time()
        took += _timed(client, first, GROUP)
        cpu += time.thread_time() - started
        client.flush()
    return {"cpu": cpu / calls * 1e6, **_percentiles(took)}


def _timed(client: Client, first: int, calls: int) -> list[int]:
    given = [adapters.properties(number) for number in range(first, first + calls)]
    took = [0] * calls
    for number in range(calls):
        before = time.perf_counter_ns()
        client.track(given[number])
        took[number] = time.perf_counter_ns() - before
    return took


def beside(client: Client, calls: int) -> dict[str, float]:
    """Call now and then, while another thread never lets go of the interpreter by itself."""
    burst(client, GROUP)
    busy = threading.Event()
    busy.set()
    thread = threading.Thread(target=_spin, args=(busy,), daemon=True)
    thread.start()
    took = []
    for number in range(calls):
        time.sleep(PAUSE)
        given = adapters.properties(number)
        before = time.perf_counter_ns()
        client.track(given)
        took.append(time.perf_counter_ns() - before)
    busy.clear()
    thread.join()
    return _percentiles(took)


def _spin(busy: threading.Event) -> None:
    number = 0
    while busy.is_set():
        for _ in range(1000):
            number = number * 3 % 1_000_003


def _percentiles(nanos: list[int]) -> dict[str, float]:
    return {f"p{at}": measure.percentile(nanos, at) / 1000 for at in (50, 99)}


def main(directory: str, what: str, subject: str, url: str, calls: str) -> None:
    client = adapters.BUILD[subject](url, Path(directory))
    measure.answer({"burst": burst, "beside": beside}[what](client, int(calls)))


if __name__ == "__main__":
    main(*sys.argv[1:])
