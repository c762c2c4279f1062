"""
A process that the kernel has stopped, and that holds what others may want.

It stops itself at a chosen place, so that it is certain what it holds.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from journeykit import Journey, JourneyKit, Settings
from journeykit.delivery import Batch
from journeykit.model.event import PUBLICATION
from tools.accounting import rebuild

MakeSettings = Callable[..., Settings]
WaitUntil = Callable[..., None]

_PRELUDE = """
import signal, sys, threading, time
from pathlib import Path
from journeykit import JourneyKit, Settings, Consent, Core, Journey, hookimpl
from journeykit.store import rows

class Seen:
    name = "seen"
    def deliver(self, batch):
        with open("seen", "a") as file:
            file.write("".join(each + "\\n" for each in batch.ids))
    def close(self):
        pass

def make_kit(*plugins, sinks=(), **core):
    return JourneyKit(
        Settings(
            consent=Consent("opt_out"),
            base=Path(sys.argv[1]),
            core=Core(store="sqlite:///store.db", **core),
            journeys=[Journey(key="shop", version=1, extends="ecommerce")],
        ),
        sinks=sinks or [Seen()],
        plugins=plugins,
    )

def track(kit, name, count=50):
    for number in range(count):
        receipt = kit.track("Product Viewed", customer=name, id=f"{name}-{number}")
        assert receipt, receipt

def stop():
    # This thread, which stops the process here: another one could take a moment.
    signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)
"""

#: Where to stop: what runs before the events, given a function `stop`.
_PLACES = {
    "a commit": """
append = rows.append
def stopping(db, entries, last, now):
    added = append(db, entries, last, now)
    if any(entry.id == "leader-49" for entry in entries):
        rows.append = append
        stop()
    return added
rows.append = stopping
kit = make_kit()
""",
    "a fold": """
class Stopping:
    @hookimpl
    def detect_pain_points(self, event, customer):
        if event.id == "leader-20":
            stop()
            time.sleep(0.7)
kit = make_kit(Stopping(), plugin_timeout=timedelta(seconds=2))
""",
    "a delivery": """
class Stopping(Seen):
    stopped = False
    def deliver(self, batch):
        if not self.stopped:
            self.stopped = True
            stop()
        super().deliver(batch)
kit = make_kit(sinks=[Stopping()])
""",
    "an opening of the database": """
from threading import Thread
from journeykit.store.sqlite import SQLiteStore
connect = SQLiteStore._connect
def stopping(store):
    SQLiteStore._connect = connect
    stop()
    return connect(store)
class Stopping(Seen):
    stopped = False
    def deliver(self, batch):
        if not self.stopped:
            self.stopped = True
            SQLiteStore._connect = stopping
            looking = Thread(target=kit.store.counters)
            looking.start()
            looking.join()
        super().deliver(batch)
kit = make_kit(sinks=[Stopping()])
""",
}

_LEAD = """
while not kit.start().leads:
    time.sleep(0.01)
track(kit, "leader")
assert kit.flush(20)
print(kit.start().trips, flush=True)
"""

#: How long a process is stopped, in seconds: longer than a plugin may take in it.
_STOPPED = 2.5


class Seen:
    """The sink of the other processes, in this one."""

    name = "seen"

    def __init__(self, base: Path) -> None:
        self._path = base / "seen"

    def deliver(self, batch: Batch) -> None:
        """Note the ids."""
        with self._path.open("a") as file:
            file.write("".join(f"{each}\n" for each in batch.ids))

    def close(self) -> None:
        """Do nothing."""


class Shop:
    """A directory of a shop, and processes that use it."""

    def __init__(self, base: Path, make_settings: MakeSettings) -> None:
        self.base = base
        self.processes: list[subprocess.Popen[str]] = []
        self._make_settings = make_settings

    def start(self, script: str) -> subprocess.Popen[str]:
        """Start *script* behind the prelude."""
        path = self.base / f"script{len(self.processes)}.py"
        path.write_text(f"from datetime import timedelta\n{_PRELUDE}{script}", encoding="utf-8")
        process = subprocess.Popen(
            [sys.executable, str(path), str(self.base)],
            cwd=self.base,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.processes.append(process)
        return process

    def leader(self, place: str) -> subprocess.Popen[str]:
        """Start a process that leads, and return it when it has stopped at *place*."""
        process = self.start(_PLACES[place] + _LEAD)
        _, status = os.waitpid(process.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status), process.communicate()
        return process

    def kit(self, **core: object) -> JourneyKit:
        """Return a kit of this process."""
        return JourneyKit(
            self._make_settings(
                core={"store": "sqlite:///store.db", "strict": False, **core},
                journeys=[Journey(key="shop", version=1, extends="ecommerce")],
                base=self.base,
            ),
            sinks=[Seen(self.base)],
        )

    def check(self, *expected: str) -> None:
        """See that everybody's events are in the Log once, in State, and at the sink."""
        with self.kit() as kit:
            assert kit.flush(20)
            log = [item.entry for item in kit.store.read(None, 100_000)]
        seen = self.base / "seen"
        assert Counter(entry.id for entry in log if entry.kind == "touchpoint") == Counter(expected)
        sent = {entry.id for entry in log if not entry.flags & PUBLICATION}
        assert sent == set(seen.read_text().split())
        found = rebuild(self.base, self.kit, lambda: seen.stat().st_size, 20)
        assert found == {
            "State exact": True,
            "State differs in": 0,
            "rebuild delivered": 0,
            "rebuild added": 0,
        }


@pytest.fixture
def shop(tmp_path: Path, make_settings: MakeSettings) -> Iterator[Shop]:
    """Return a shop, and end its processes."""
    shop = Shop(tmp_path, make_settings)
    yield shop
    for process in shop.processes:
        process.kill()
        process.communicate()


def ids(name: str, count: int = 50) -> list[str]:
    """Return the ids that `track` gives."""
    return [f"{name}-{number}" for number in range(count)]


@pytest.mark.parametrize("end", ["goes on", "is killed"])
@pytest.mark.parametrize("place", _PLACES)
def test_a_stopped_leader_holds_up_nobody(
    shop: Shop, place: str, end: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others accept, start and end while a leader is stopped; then everything is there once."""
    monkeypatch.setattr("journeykit.kit._DURABLE_SECONDS", 0.3)
    leader = shop.leader(place)
    began = time.monotonic()
    kit = shop.kit()
    for event in ids("here", 1000):
        assert kit.track("Product Viewed", customer="here", id=event)
    durable = kit.track("Product Viewed", customer="here", id="durable", durable=True)
    assert durable
    # A leadership is the process's as long as it lives, whatever the clock says.
    assert kit.store.lead("projector") is None
    assert kit.store.lead("sink:seen") is None
    assert not kit.status()["leads"]
    other = shop.start("kit = make_kit()\ntrack(kit, 'other')\nprint('tracked', flush=True)\n")
    assert other.communicate(timeout=20) == ("tracked\n", None)
    if place == "a commit":
        assert (durable.reason, kit.waiting) == ("pending", 1001)
    assert leader.poll() is None

    if (place, end) == ("a fold", "goes on"):
        time.sleep(max(0.0, began + _STOPPED - time.monotonic()))
    if end == "goes on":
        leader.send_signal(signal.SIGCONT)
        # No plugin has hung only because the process was stopped in it.
        assert leader.communicate(timeout=30) == ("[]\n", None)
        assert leader.returncode == 0
    else:
        leader.kill()
        leader.communicate()
    assert kit.close(20)
    shop.check(*ids("leader"), *ids("here", 1000), "durable", *ids("other"))
