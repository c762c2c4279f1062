"""From `track` to a local HTTP sink: how fast, at what cost, how much of it arrives."""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import adapters, measure
from benchmarks.sink import Sink

if TYPE_CHECKING:
    from benchmarks.adapters import Client

#: Calls between two flushes; below the smallest queue of the peers (2,048).
GROUP = 1000

#: After how many seconds without a request what has not arrived is lost.
_PATIENCE = 12


def drain(client: Client, sink: Sink, calls: int) -> dict[str, float]:
    """Deliver *calls* events, flushed each thousand; only what arrived counts."""
    given = [adapters.properties(number) for number in range(calls)]
    client.track(adapters.properties(calls))
    client.flush()
    cpu, wall, caller = time.process_time(), time.monotonic(), time.thread_time()
    before = _threads()
    tracking = 0.0
    for first in range(0, calls, GROUP):
        started = time.thread_time()
        for properties in given[first : first + GROUP]:
            client.track(properties)
        tracking += time.thread_time() - started
        client.flush()
    cpu = time.process_time() - cpu
    flushing = time.thread_time() - caller - tracking
    arrived = sink.wait_for(calls + 1, _PATIENCE)
    shares = {name: used - before.get(name, 0.0) for name, used in _threads().items()}
    shares.update({"track": tracking, "flush": flushing})
    return {
        "rate": calls / (arrived["last"] - wall),
        "cpu": cpu / calls * 1e6,
        "lost": calls + 1 - arrived["events"],
        "again": arrived["again"],
        "requests": arrived["requests"],
        "bytes": arrived["bytes"] / calls,
        **{f"part {name}": used / calls * 1e6 for name, used in shares.items()},
    }


def flood(client: Client, sink: Sink, calls: int) -> dict[str, float]:
    """Call without a pause while the sink takes its time; tells what was refused or never came."""
    refused = sum(client.track(adapters.properties(number)) in _REFUSED for number in range(calls))
    closing = threading.Thread(target=_close, args=(client,), daemon=True)
    closing.start()
    arrived = sink.wait_for(calls, _PATIENCE)
    return {"refused": refused, "lost": calls - arrived["events"], "again": arrived["again"]}


#: Peers say nothing at all; ours is falsy, segment's a tuple.
_REFUSED = (False, (False, None))


def _close(client: Client) -> None:
    client.flush()
    client.close()


def _threads() -> dict[str, float]:
    """Return the CPU seconds of each of our background threads, by its name."""
    if not hasattr(time, "pthread_getcpuclockid"):
        return {}
    return {
        thread.name.removeprefix("journeykit-"): time.clock_gettime(
            time.pthread_getcpuclockid(thread.ident)
        )
        for thread in threading.enumerate()
        if thread.name.startswith("journeykit-") and thread.ident is not None
    }


def main(directory: str, what: str, subject: str, port: str, calls: str) -> None:
    sink = Sink(int(port))
    client = adapters.BUILD[subject](sink.url, Path(directory))
    sink.reset()
    measure.answer({"drain": drain, "flood": flood}[what](client, sink, int(calls)))


if __name__ == "__main__":
    main(*sys.argv[1:])
