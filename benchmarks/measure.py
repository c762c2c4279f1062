"""Runs one thing in a process of its own, and tells what it cost."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


class Cost(NamedTuple):
    """CPU and wall time in seconds, peak memory in MB."""

    cpu: float
    wall: float
    peak: float


def run(arguments: Sequence[str]) -> Cost:
    """Run this Python with *arguments*, on one core where that can be chosen."""
    started = time.perf_counter()
    with _one_core():
        process = subprocess.Popen([sys.executable, *arguments], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"benchmark failed: {' '.join(arguments)}")
    # ru_maxrss is in kilobytes, except on macOS.
    unit = 2**20 if sys.platform == "darwin" else 2**10
    wall = time.perf_counter() - started
    return Cost(usage.ru_utime + usage.ru_stime, wall, usage.ru_maxrss / unit)


@contextlib.contextmanager
def _one_core() -> Iterator[None]:
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
