"""What a loss of power leaves, on a simulated disk; `tools/powercut.py` does it longer."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

POWERCUT = Path(__file__).parent.parent / "tools" / "powercut.py"


def figures(*arguments: str) -> dict[str, Any]:
    """Run `tools/powercut.py`, and return its figures."""
    command = [sys.executable, str(POWERCUT), "--json", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.stdout, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    if "skipped" in found:
        pytest.skip(found["skipped"])
    assert (done.returncode != 0) is bool(found["wrong"])
    return found


def test_power_cuts_lose_nothing_that_was_committed() -> None:
    """What 100 cuts leave is sound, has all that was committed or delivered, and goes on exactly."""
    found = figures("--cuts", "100", "--every", "20")
    assert found["wrong"] == [], found
    assert (found["cuts"], found["cuts taken over"]) == (100, 5)
    # It is no proof where nothing was promised.
    assert min(found["committed"], found["durable"], found["delivered"]) > 1000


@pytest.mark.parametrize("synchronous", ["OFF", "NORMAL"])
def test_a_store_that_does_not_wait_for_the_disk_is_found_out(synchronous: str) -> None:
    """The same cuts show losses where commits do not wait for the disk, or corruption."""
    found = figures("--cuts", "20", "--every", "100", "--synchronous", synchronous)
    assert "committed lost" in found["wrong"], found
