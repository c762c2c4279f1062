"""
Two versions of the library on one database, at the same time.

The newer one is this one with other constants: it adds to every table when it starts.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

WaitUntil = Callable[..., None]

_APP = """
import json, os, sys
from pathlib import Path

import journeykit.kit
from journeykit import Consent, Core, Journey, JourneyKit, Settings
from journeykit.capture import segment
from journeykit.store import committer, versions

journeykit.kit._DURABLE_SECONDS = 0.3
BASE = Path(sys.argv[1])


class Seen:
    name = "seen"

    def deliver(self, batch):
        with open(BASE / "seen", "a") as file:
            file.write("".join(each + "\\n" for each in batch.ids))

    def close(self):
        pass


def become(version, min_writer):
    tables = ["log", "state", "person", "trail", "cursor", "parked", "watermark", "counter", "status", "meta"]
    added = [f"ALTER TABLE {table} ADD COLUMN added{version} TEXT;" for table in tables]
    added.append(f"UPDATE meta SET value = max(value, {min_writer}) WHERE key = 'min_writer';")
    versions.UPGRADES = {**versions.UPGRADES, version: "".join(added)}
    versions.SCHEMA_VERSION = version


def serve():
    kit = JourneyKit(
        Settings(
            consent=Consent("opt_out"),
            base=BASE,
            core=Core(store="sqlite:///store.db"),
            journeys=[Journey(key="shop", version=1, extends="ecommerce")],
        ),
        sinks=[Seen()],
    )
    for line in sys.stdin:
        command, *arguments = line.split()
        if command == "track":
            name, count = arguments
            made = [
                kit.track("Product Viewed", customer=name, id=f"{name}-{number}")
                for number in range(int(count))
            ]
            answer = sum(map(bool, made))
        elif command == "flush":
            answer = kit.flush(float(arguments[0]))
        elif command == "durable":
            answer = kit.track("Product Viewed", customer="x", id=arguments[0], durable=True).reason
        elif command == "close":
            answer = kit.close(1)
        else:
            answer = kit.status()
        print(json.dumps(answer), flush=True)
"""

#: What makes the app a newer version.
_ADDS = "become(versions.SCHEMA_VERSION + 1, 1)\n"
_SHUTS_OUT = "become(versions.SCHEMA_VERSION + 1, versions.SCHEMA_VERSION + 1)\n"
_OTHER_FORM = "segment.FORM += 1\n"
_NEVER_COMMITS = "committer.Committer.step = lambda self: None\n"


class App:
    """A process of some version, which does what it is told."""

    def __init__(self, base: Path, *changes: str) -> None:
        script = _APP + "".join(changes) + "serve()\n"
        self.process = subprocess.Popen(
            [sys.executable, "-c", script, str(base)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __call__(self, command: str) -> Any:
        """Give a command, and return the answer."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def kill(self) -> None:
        """End the process as a crash does."""
        self.process.kill()
        self.process.communicate()


StartApp = Callable[..., App]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[StartApp]:
    """Return a function that starts an app, with changes that make it another version."""
    apps: list[App] = []

    def start(*changes: str) -> App:
        apps.append(App(tmp_path, *changes))
        return apps[-1]

    yield start
    for app in apps:
        app.kill()


def ids(name: str, count: int) -> list[str]:
    """Return the ids that the command `track` gives."""
    return [f"{name}-{number}" for number in range(count)]


def delivered(base: Path) -> Counter[str]:
    """Return which tracked events the sink got, and how often."""
    return Counter(each for each in (base / "seen").read_text().split() if "-" in each[:8])


def test_versions_write_beside_each_other(tmp_path: Path, start: StartApp) -> None:
    """What a newer version only adds to the tables, an older one that runs or starts passes over."""
    older = start()
    assert older("track old 30") == 30
    assert older("flush 20") is True
    newer = start(_ADDS)
    assert newer("track new 30") == 30
    assert newer("flush 20") is True
    assert older("track late 30") == 30
    assert older("flush 20") is True
    again = start()
    assert again("track again 30") == 30
    assert again("flush 20") is True
    assert (older("status")["store_error"], newer("status")["store_error"]) == (None, None)
    assert newer("status")["counters"]["events"] == 120
    expected = ids("old", 30) + ids("new", 30) + ids("late", 30) + ids("again", 30)
    assert delivered(tmp_path) == Counter(expected)


def test_a_version_that_is_shut_out_goes_on_accepting(
    tmp_path: Path, start: StartApp, wait_until: WaitUntil
) -> None:
    """A newer version may shut an older one out while that runs, and takes over what it accepts."""
    older, dying = start(), start()
    assert older("track old 30") == 30
    assert older("flush 20") is True
    assert older("status")["leads"]
    newer = start(_SHUTS_OUT)
    assert newer("track new 30") == 30
    wait_until(lambda: newer("status")["counters"]["events"] == 60)

    # Accepted, and nothing else any more.
    assert older("track late 30") == 30
    assert dying("track dying 30") == 30
    wait_until(lambda: older("status")["store_error"])
    wait_until(lambda: not older("status")["leads"])
    status = older("status")
    assert "a newer journeykit has changed it" in status["store_error"]
    assert (status["waiting"], status["receipts"]) == (30, {"accepted": 60})
    assert older("flush 0.3") is False
    assert older("durable kept") == "pending"

    # The newer one leads, and nobody else keeps what a dead one has left.
    dying.kill()
    wait_until(lambda: newer("status")["leads"])
    wait_until(lambda: newer("status")["counters"]["events"] == 90, timeout=20)
    assert newer("flush 20") is True
    assert delivered(tmp_path) == Counter(ids("old", 30) + ids("new", 30) + ids("dying", 30))

    # An older one that comes later only accepts, too.
    last = start()
    assert last("track last 30") == 30
    assert last("close") is False
    older.kill()
    wait_until(lambda: newer("status")["counters"]["events"] == 151, timeout=20)
    assert newer("flush 20") is True
    assert newer("status")["store_error"] is None
    expected = [
        event for name in ("old", "new", "dying", "late", "last") for event in ids(name, 30)
    ]
    assert delivered(tmp_path) == Counter(expected)
    assert "kept" in (tmp_path / "seen").read_text().split()


def test_segments_of_a_newer_form_wait_for_a_newer_version(tmp_path: Path, start: StartApp) -> None:
    """What a newer version left in a form of its own stays until a newer version is there."""
    writer = start(_OTHER_FORM, _NEVER_COMMITS)
    assert writer("track new 30") == 30
    writer.kill()

    older = start()
    assert older("track old 30") == 30
    assert older("flush 20") is True
    assert older("status")["counters"]["events"] == 30

    newer = start(_OTHER_FORM)
    assert newer("flush 20") is True
    assert newer("status")["counters"]["events"] == 60
    assert delivered(tmp_path) == Counter(ids("old", 30) + ids("new", 30))
