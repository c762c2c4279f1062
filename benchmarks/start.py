"""What it costs to import an SDK, and to get to the first call; each in a fresh interpreter."""

from __future__ import annotations

import statistics
import sys
import tempfile
from pathlib import Path

from benchmarks import measure

#: Fresh interpreters for one figure.
TIMES = 5

_TIMED = """
import os, sys, time
cpu, wall = time.process_time(), time.perf_counter()
{body}
cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
print('{{"cpu": %f, "wall": %f}}' % (cpu * 1000, wall * 1000), flush=True)
os._exit(0)
"""

_DECLARATION = """
[journeykit]
store = "sqlite:///shop.db"

[consent]
mode = "opt_out"

[[journeys]]
key = "shop"
version = 1
extends = "ecommerce"

[sinks.archive]
type = "file"
path = "events.jsonl"
"""

_IMPORTS = {
    "journeykit": "import journeykit",
    "base": "import sqlite3, json, attrs",
}

_FIRST_CALLS = {
    "journeykit": """
from journeykit import JourneyKit
kit = JourneyKit.from_toml(sys.argv[1])
assert kit.track("Product Added", {"price": 12.5, "quantity": 2}, customer="u1")
""",
    "segment": """
from segment.analytics.client import Client
client = Client("key", host="http://127.0.0.1:9")
assert client.track("u1", "Product Added", {"price": 12.5, "quantity": 2})
""",
}


def importing(subject: str) -> float:
    """Return the CPU milliseconds of the import."""
    return _median(_IMPORTS[subject], "cpu")


def first_call(subject: str) -> float:
    """Return the milliseconds until the first call has returned."""
    return _median(_FIRST_CALLS[subject], "wall")


def _median(body: str, figure: str) -> float:
    return statistics.median(_once(body)[figure] for _ in range(TIMES))


def _once(body: str) -> dict[str, float]:
    with tempfile.TemporaryDirectory(prefix="journeykit-bench-") as directory:
        declaration = Path(directory, "journeykit.toml")
        declaration.write_text(_DECLARATION)
        return measure.last_line(["-c", _TIMED.format(body=body), str(declaration)])


if __name__ == "__main__":
    print({subject: importing(subject) for subject in _IMPORTS}, file=sys.stderr)
