"""Runs one thing in a process of its own, and tells what it cost."""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

#: The longest that a scenario may take, in seconds.
_TIMEOUT = 120


class Cost(NamedTuple):
    """CPU and wall time in seconds, peak memory in MB."""

    cpu: float
    wall: float
    peak: float


def run(arguments: Sequence[str]) -> Cost:
    """Run this Python with *arguments*, on one core where that can be chosen."""
    started = time.perf_counter()
    with one_core():
        process = subprocess.Popen([sys.executable, *arguments], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"benchmark failed: {' '.join(arguments)}")
    # ru_maxrss is in kilobytes, except on macOS.
    unit = 2**20 if sys.platform == "darwin" else 2**10
    wall = time.perf_counter() - started
    return Cost(usage.ru_utime + usage.ru_stime, wall, usage.ru_maxrss / unit)


def scenario(module: str, *arguments: object) -> dict[str, Any]:
    """Run `benchmarks.MODULE` in a fresh process and directory; returns what it printed."""
    words = [str(argument) for argument in arguments]
    with tempfile.TemporaryDirectory(prefix="journeykit-bench-") as directory:
        return last_line(["-m", f"benchmarks.{module}", directory, *words])


def last_line(arguments: Sequence[str]) -> dict[str, Any]:
    """Run this Python with *arguments*; returns the JSON of the last line that it printed."""
    # Some peers write to stderr for each request: to a file, so that nobody has to read it.
    with tempfile.TemporaryFile("w+") as errors:
        ended = subprocess.run(
            [sys.executable, *arguments],
            check=False,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            timeout=_TIMEOUT,
        )
        if ended.returncode:
            errors.seek(0)
            raise SystemExit(f"benchmark failed: {' '.join(arguments)}\n{errors.read()[-4000:]}")
    found: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    return found


def answer(found: dict[str, Any]) -> None:
    """Print a scenario's figures and end its process, whatever threads an SDK left running."""
    print(json.dumps(found), flush=True)
    os._exit(0)


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the value that *percent* of *values* do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


def spread(values: Sequence[float]) -> float:
    """Return how far apart *values* are, as a share of their median."""
    return (max(values) - min(values)) / statistics.median(values)


@contextlib.contextmanager
def one_core() -> Iterator[None]:
    """Let processes that are started in the block have one core, where that can be chosen."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)
