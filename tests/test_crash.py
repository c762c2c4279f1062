"""Processes that end in every way there is, with nothing lost; `tools/torture.py` does it longer."""

from __future__ import annotations

import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from journeykit import JourneyKit, Settings

MakeSettings = Callable[..., Settings]
WaitUntil = Callable[..., None]

TORTURE = Path(__file__).parent.parent / "tools" / "torture.py"

_PRELUDE = """
import multiprocessing, os, signal, sys, time
from pathlib import Path
from journeykit import JourneyKit, Settings, Consent, Core

def make_kit(base, *sinks):
    return JourneyKit(
        Settings(consent=Consent("opt_out"), base=Path(base), core=Core(store="sqlite:///store.db")),
        sinks=sinks,
    )

def track(kit, name, count=50):
    for number in range(count):
        assert kit.track("Viewed", customer=name, id=f"{name}-{number}")
"""


def python(tmp_path: Path, script: str) -> list[str]:
    """Return the command that runs *script* behind the prelude, from a file: spawn needs one."""
    path = tmp_path / "script.py"
    path.write_text(_PRELUDE + script, encoding="utf-8")
    return [sys.executable, str(path), str(tmp_path)]


def drained(tmp_path: Path, make_settings: MakeSettings) -> list[str]:
    """Let this process empty what others have left, and return the ids in the Log."""
    core = {"store": "sqlite:///store.db"}
    with JourneyKit(make_settings(core=core)) as kit:
        assert kit.flush(20)
        assert not list(tmp_path.glob("store.db-spool/*"))
        return [item.entry.id for item in kit.store.read(None, 100_000)]


def ids(name: str, count: int = 50) -> list[str]:
    """Return the ids that `track` gives."""
    return [f"{name}-{number}" for number in range(count)]


@pytest.mark.parametrize(("harm", "at_least"), [("kills", 6), ("stops", 2)])
def test_torture(harm: str, at_least: int) -> None:
    """Workers killed or stopped at random lose nothing, store nothing twice, leave State exact."""
    command = [sys.executable, str(TORTURE), "--harm", harm, "--seconds", "5", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert done.stdout, done.stderr
    figures = json.loads(done.stdout)
    assert (figures["wrong"], done.returncode) == ([], 0), figures
    assert figures[harm] >= at_least
    assert figures["accepted"] > 100


def test_torture_by_damage() -> None:
    """A database that is damaged under load costs what is reported, and all the rest is right."""
    command = [sys.executable, str(TORTURE), "--harm", "damage", "--seconds", "6", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    assert done.stdout, done.stderr
    figures = json.loads(done.stdout)
    assert (figures["wrong"], done.returncode) == ([], 0), figures
    assert figures["whole"]
    assert sum(figures["damages"].values()) >= 1
    assert figures["accepted"] > 100


# Every way to end

_ENDS = {
    "plain exit": "",
    "sys.exit": "sys.exit(3)",
    "an error": "raise RuntimeError",
    "os._exit": "os._exit(0)",
    "SIGTERM": "os.kill(os.getpid(), signal.SIGTERM)",
    "SIGKILL": "os.kill(os.getpid(), signal.SIGKILL)",
    "abort": "os.abort()",
}


@pytest.mark.parametrize("end", _ENDS)
def test_no_end_loses_anything(tmp_path: Path, make_settings: MakeSettings, end: str) -> None:
    """Whichever way a process ends, the next one has everything that it accepted, once."""
    script = f"""
kit = make_kit(sys.argv[1])
track(kit, "a")
{_ENDS[end]}
"""
    done = subprocess.run(
        python(tmp_path, script), capture_output=True, timeout=60, check=False, cwd=tmp_path
    )
    assert b"AssertionError" not in done.stderr
    assert drained(tmp_path, make_settings) == ids("a")


@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.parametrize("end", ["", "os._exit(0)"])
def test_children_of_multiprocessing_lose_nothing(
    tmp_path: Path, make_settings: MakeSettings, method: str, end: str
) -> None:
    """What children accept is kept, and what their parent accepted stays the parent's."""
    script = f"""
kit = make_kit(sys.argv[1])

def child(name):
    track(kit, name)
    {end or "pass"}

if __name__ == "__main__":
    track(kit, "parent")
    context = multiprocessing.get_context("{method}")
    children = [context.Process(target=child, args=(f"child{{n}}",)) for n in range(3)]
    for each in children:
        each.start()
    track(kit, "late")
    for each in children:
        each.join()
        assert each.exitcode == 0, each.exitcode
    os._exit(0)
"""
    done = subprocess.run(
        python(tmp_path, script), capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    expected = [
        event for name in ("parent", "late", "child0", "child1", "child2") for event in ids(name)
    ]
    assert Counter(drained(tmp_path, make_settings)) == Counter(expected)


def test_exit_takes_less_than_a_second(tmp_path: Path, make_settings: MakeSettings) -> None:
    """A sink that hangs, and a store that is locked, keep no process from ending."""
    script = """
class Hangs:
    name = "hangs"
    def deliver(self, batch):
        print("hanging", flush=True)
        time.sleep(60)
    def close(self):
        pass

kit = make_kit(sys.argv[1], Hangs())
track(kit, "a")
"""
    with subprocess.Popen(
        [*python(tmp_path, script + "sys.stdin.readline()\ntrack(kit, 'b')\n")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == "hanging\n"
        process.stdin.write("go\n")
        process.stdin.flush()
        began = time.monotonic()
        assert process.wait(20) == 0
        # Python itself takes some of it.
        assert time.monotonic() - began < 1.2
    assert Counter(drained(tmp_path, make_settings)) == Counter([*ids("a"), *ids("b")])


def test_leadership_of_a_killed_parent_is_free(
    tmp_path: Path, make_settings: MakeSettings, wait_until: WaitUntil
) -> None:
    """A child that was forked while its parent led does not keep the leadership."""
    script = """
class Quiet:
    name = "quiet"
    def deliver(self, batch):
        pass
    def close(self):
        pass

kit = make_kit(sys.argv[1], Quiet())
track(kit, "a")
assert kit.flush(20)
if not os.fork():
    time.sleep(60)
    os._exit(0)
print("forked", flush=True)
time.sleep(60)
"""
    with subprocess.Popen(
        python(tmp_path, script), stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "forked\n"
        core = {"store": "sqlite:///store.db"}
        try:
            with JourneyKit(make_settings(core=core)) as kit:
                assert kit.store.lead("sink:quiet") is None
                process.kill()
                process.wait()
                wait_until(lambda: kit.store.lead("sink:quiet") is not None)
        finally:
            os.killpg(process.pid, signal.SIGKILL)


# Durable


@pytest.fixture
def kit(make_settings: MakeSettings) -> Iterator[JourneyKit]:
    """Return a kit with a store in a file."""
    kit = JourneyKit(make_settings(core={"store": "sqlite:///store.db", "strict": False}))
    yield kit
    kit.close(10)


def test_durable_event_is_in_the_log(kit: JourneyKit, tmp_path: Path) -> None:
    """When a durable `track` returns, another process reads the event in the Log."""
    reader = (
        "import sqlite3, sys\n"
        "for line in sys.stdin:\n"
        "    db = sqlite3.connect(sys.argv[1])\n"
        "    print(db.execute('SELECT count(*) FROM log WHERE id = ?', (line.strip(),))"
        ".fetchone()[0], flush=True)\n"
        "    db.close()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", reader, str(tmp_path / "store.db")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for number in range(20):
            kit.track("Viewed", customer="ada")
            receipt = kit.track("Paid", customer="ada", id=f"paid-{number}", durable=True)
            assert receipt == (f"paid-{number}", None, None)
            process.stdin.write(f"paid-{number}\n")
            process.stdin.flush()
            assert process.stdout.readline() == "1\n"
        process.stdin.close()


def test_durable_event_that_cannot_be_committed_is_pending(
    kit: JourneyKit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a locked database a durable `track` gives up waiting, and the event is kept."""
    monkeypatch.setattr("journeykit.kit._DURABLE_SECONDS", 0.5)
    assert kit.track("Viewed", customer="ada", durable=True)
    locker = sqlite3.connect(tmp_path / "store.db", isolation_level=None)
    locker.execute("BEGIN IMMEDIATE")
    try:
        answers = []
        waiting = threading.Thread(
            target=lambda: answers.append(kit.track("Paid", customer="ada", id="x", durable=True))
        )
        waiting.start()
        worst = 0.0
        while waiting.is_alive():
            began = time.perf_counter()
            assert kit.track("Viewed", customer="bob")
            worst = max(worst, time.perf_counter() - began)
            time.sleep(0.001)
        (receipt,) = answers
        assert receipt
        assert (receipt.id, receipt.reason) == ("x", "pending")
        assert worst < 0.3
        # Nor is a durable one waited for by those that are not.
        assert kit.waiting > 1
    finally:
        locker.execute("ROLLBACK")
        locker.close()
    assert kit.flush(30)
    assert [item.entry.id for item in kit.store.read(None, 100_000)].count("x") == 1


# A real server

_SHOP = """
import os, threading
from pathlib import Path
from journeykit import JourneyKit, Settings, Consent, Core

base = Path(os.environ["SHOP"])
kit = JourneyKit(
    Settings(consent=Consent("opt_out"), base=base, core=Core(store="sqlite:///store.db"))
)
# A shop may track while it is loaded: then threads run, and a segment is there, before the fork.
assert kit.track("Loaded", customer="shop", id="loaded")

def app(environ, start_response):
    name = environ["PATH_INFO"].strip("/")
    receipt = kit.track("Viewed", customer="ada", id=name)
    start_response("200 OK" if receipt else "503 No", [("Content-Type", "text/plain")])
    return [f"{os.getpid()}".encode()]
"""

_CUSTOMER = """
import http.client, sys, urllib.request
number = 0
while True:
    name = f"{sys.argv[2]}-{number}"
    number += 1
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{sys.argv[1]}/{name}", timeout=5) as answer:
            worker = answer.read().decode()
    except (OSError, http.client.HTTPException):
        continue  # its worker was killed: nobody was told that it was accepted
    print(name, worker, flush=True)
"""


def test_killed_gunicorn_workers_lose_nothing(
    tmp_path: Path, make_settings: MakeSettings, wait_until: WaitUntil
) -> None:
    """Under gunicorn with --preload, workers killed in turn under load lose no event."""
    if find_spec("gunicorn") is None:
        pytest.skip("gunicorn is not installed")
    (tmp_path / "shop.py").write_text(_SHOP, encoding="utf-8")
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(64)
        port = listener.getsockname()[1]
        command = [sys.executable, "-m", "gunicorn", "--preload", "--workers", "4"]
        command += ["--bind", f"fd://{listener.fileno()}", "--chdir", str(tmp_path), "shop:app"]
        command += [
            "--log-level",
            "critical",
            "--worker-tmp-dir",
            str(tmp_path),
            "--no-control-socket",
        ]
        server = subprocess.Popen(
            command,
            env={**os.environ, "SHOP": str(tmp_path)},
            pass_fds=[listener.fileno()],
            start_new_session=True,
        )
    accepted: list[str] = []
    workers: Counter[int] = Counter()
    customers = [
        subprocess.Popen(
            [sys.executable, "-c", _CUSTOMER, str(port), f"c{number}"],
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(2)
    ]

    def listen(customer: subprocess.Popen[str]) -> None:
        assert customer.stdout is not None
        with customer.stdout as lines:
            for line in lines:
                # A customer who is killed may have written half a line.
                if not line.endswith("\n"):
                    break
                name, worker = line.split()
                accepted.append(name)
                workers[int(worker)] += 1

    listeners = [threading.Thread(target=listen, args=(customer,)) for customer in customers]
    for thread in listeners:
        thread.start()
    killed: set[int] = set()
    try:
        wait_until(lambda: len(accepted) > 50, timeout=30)
        for _ in range(6):
            served = len(accepted)
            victim = max(set(workers) - killed)
            os.kill(victim, signal.SIGKILL)
            killed.add(victim)
            wait_until(lambda served=served: len(accepted) > served + 150, timeout=30)
            wait_until(lambda: set(workers) - killed, timeout=30)
    finally:
        for customer in customers:
            customer.kill()
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()
        for customer in customers:
            customer.wait()
        for thread in listeners:
            thread.join()
    found = Counter(drained(tmp_path, make_settings))
    assert {"loaded", *accepted} <= found.keys()
    assert set(found.values()) == {1}
    # What is there besides is what a worker accepted, and was killed before it could say so.
    asked = max(int(name.split("-")[1]) for name in accepted) + 2
    assert found.keys() <= {
        "loaded",
        *(f"c{n}-{count}" for n in range(2) for count in range(asked)),
    }
    assert len(found) - len(accepted) - 1 <= len(killed) + len(customers)
    assert len(killed) == 6
