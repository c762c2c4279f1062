from __future__ import annotations

import contextlib
import gzip
import json
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from journeykit import (
    Customer,
    Goal,
    Journey,
    JourneyKit,
    PainPoint,
    Rule,
    Settings,
    Stage,
    hookimpl,
)
from journeykit.delivery.file import FileSettings, FileSink
from journeykit.delivery.sink import Batch, ErasureResult
from journeykit.erasing import ErasureReport
from journeykit.exceptions import DeliveryError
from journeykit.store.protocol import Store

MakeSettings = Callable[..., Settings]
WaitUntil = Callable[..., None]

USER, COOKIE = "ada.lövelace@example.org", "cookie-5f2c-of-ada"
NAME, CARD, QUOTED = "Ada Lövelace-King", "4111 1111 1111 1111", 'Ada "the Countess" Byron'

SHOP = Journey(
    key="shop",
    version=1,
    stages=[
        Stage(key="look", enter=[Rule("Product Viewed")], stall=timedelta(hours=1)),
        Stage(key="buy", enter=[Rule("Order Completed")]),
    ],
    goal=Goal("Order Completed", value="revenue"),
    timeout=timedelta(days=30),
)

#: Everything that State has by customers, and what adds them up.
SPACES = (
    "instance",
    "checkpoint",
    "timer",
    "link",
    "members",
    "customer",
    "pains",
    "figures",
    "total",
)


@hookimpl
def detect_pain_points(event: Any) -> Iterable[PainPoint]:
    """Find that a refusal hurts."""
    if event.name == "Payment Refused":
        yield PainPoint("payment.refused")


class Plugin:
    """Finds that a refusal hurts."""

    detect_pain_points = staticmethod(detect_pain_points)


class Remote:
    """A sink that keeps what it gets by customer, and can be down."""

    def __init__(self, name: str = "crm") -> None:
        self.name = name
        self.down = False
        self.calls: list[tuple[str, str | None]] = []
        self.events: list[tuple[str | None, str]] = []

    def deliver(self, batch: Batch) -> None:
        """Keep the names of events."""
        if self.down:
            raise DeliveryError("down")
        for event in batch:
            self.calls.append(("deliver", event.name))
            self.events.append((event.customer.user_id, event.name))

    def erase(self, customer: Customer) -> ErasureResult:
        """Forget a customer."""
        if self.down:
            raise DeliveryError("down")
        self.calls.append(("erase", customer.user_id))
        self.events = [each for each in self.events if each[0] != customer.user_id]
        return ErasureResult("erased")

    def close(self) -> None:
        """Do nothing."""


def place(found: ErasureReport, name: str) -> Any:
    """Return one place of a report."""
    return next(place for place in found.places if place.name == name)


def state(store: Store) -> dict[str, dict[str, bytes]]:
    """Return State."""
    return {space: dict(store.scan(space)) for space in SPACES}


def secrets() -> list[bytes]:
    """Return every form in which a file may have what is known of the person."""
    forms: set[bytes] = set()
    for text in (USER, COOKIE, NAME, CARD, QUOTED):
        forms |= {text.encode(), text.encode("utf-16-le")}
        forms |= {json.dumps(text, ensure_ascii=each)[1:-1].encode() for each in (True, False)}
    return sorted(forms)


def left(directory: Path) -> list[tuple[str, bytes]]:
    """Return which files have something of the person."""
    found = []
    for path in directory.rglob("*"):
        data = path.read_bytes() if path.is_file() else b""
        if path.suffix == ".gz":
            data = gzip.decompress(data)
        found += [(path.name, each) for each in secrets() if each in data]
    return found


def visit(kit: JourneyKit, others: int = 20) -> None:
    """Let the person do all that leaves traces, among others."""
    visitor = Customer(None, COOKIE)
    person = Customer(USER, COOKIE, "session-1")
    for number in range(others):
        other = Customer(f"user{number}", f"browser{number}")
        kit.track("Product Viewed", {"number": number}, customer=other)
        kit.track("Order Completed", {"revenue": 1.5}, customer=other)
        kit.track("Product Viewed", {"search": NAME, "note": QUOTED}, customer=visitor)
    with kit.bind_customer(person, context={"page": {"url": f"/?mail={USER}"}}):
        kit.track("Product Viewed", {NAME: [QUOTED, {"card": CARD}]})
        kit.track("Payment Refused", {"card": CARD})
        kit.track("Order Completed", {"revenue": 20.25, "name": NAME})
    kit.track("Payment Refused", customer="user1")
    kit.track("Product Viewed", customer=Customer("user2", COOKIE))


@pytest.fixture
def make_kit(
    tmp_path: Path, make_settings: MakeSettings, request: pytest.FixtureRequest
) -> Callable[..., JourneyKit]:
    """Return a factory of kits that share a database."""

    def make_kit(*sinks: Any, **core: Any) -> JourneyKit:
        given = {"store": "sqlite:///var/shop.db", **core}
        settings = make_settings(core=given, base=tmp_path, journeys=(SHOP,))
        kit = JourneyKit(settings, sinks=sinks, plugins=[Plugin()])
        request.addfinalizer(lambda: kit.close(0.1))
        return kit

    return make_kit


def test_no_byte_of_the_person_is_left(tmp_path: Path, make_kit: Callable[..., JourneyKit]) -> None:
    """Name, card number, e-mail address and cookie are nowhere, while the app goes on running."""
    archive = FileSink("archive", FileSettings(tmp_path / "var" / "out.jsonl", rotate_bytes=4096))
    kit = make_kit(archive)
    visit(kit)
    assert kit.flush(10)
    packed = tmp_path / "var" / "out.jsonl-20260101.gz"
    packed.write_bytes(gzip.compress((tmp_path / "var" / "out.jsonl.1").read_bytes()))
    assert len({name for name, _ in left(tmp_path)}) >= 4

    found = kit.erase(USER, reason="asked for it", actor="customer")

    assert left(tmp_path) == []
    assert found.done, found
    assert {place.name: place.status for place in found.places} == {
        "log": "erased",
        "state": "erased",
        "trail": "erased",
        "parked": "erased",
        "claims": "erased",
        "free_space": "erased",
        "spool": "erased",
        "set_aside": "nothing",
        "sink:archive": "erased",
    }
    assert place(found, "log").count >= 23
    assert USER not in str(found)
    kit.close()
    assert left(tmp_path) == []
    assert len((tmp_path / "var" / "out.jsonl").read_text().splitlines()) > 0


def test_figures_fall_and_a_rebuild_agrees(make_kit: Callable[..., JourneyKit]) -> None:
    """State is as if the person had never been, before a rebuild and after it."""
    kit = make_kit()
    visit(kit)
    assert kit.flush(10)
    before = kit.report()
    assert (before.customers, before.journeys[0].completed) == (21, 21)

    kit.erase(Customer(anonymous_id=COOKIE), reason="asked", actor="customer")

    after = kit.report()
    assert (after.customers, after.journeys[0].completed, after.journeys[0].value) == (20, 20, 30)
    assert after.events == 20 * 2 + 2 + 1
    kept = state(kit.store)
    assert len(kept["pains"]) == 1
    kit.close()
    kit = make_kit()
    assert kit.rebuild(10)
    assert state(kit.store) == kept
    assert kit.report() == after


def test_late_events_do_not_bring_them_back(make_kit: Callable[..., JourneyKit]) -> None:
    """What is imported or spooled from before is left out and counted; what is new counts."""
    kit = make_kit()
    visit(kit, others=1)
    kit.erase(USER, reason="asked", actor="customer")
    old = datetime(2020, 1, 1, tzinfo=UTC)
    kit.track("Product Viewed", customer=USER, at=old)
    kit.track_history("Product Viewed", customer=Customer(None, COOKIE), at=old, id="import-1")
    assert kit.flush(10)
    assert kit.store.counters()["erased"] == 2
    assert kit.report().customers == 3
    assert kit.committed["erased"] == 2

    kit.track("Product Viewed", customer=Customer(None, COOKIE))
    assert kit.flush(10)

    (stage,) = [each for each in kit.customers("shop") if each.customer == COOKIE]
    assert (stage.known, stage.stage) == (False, "look")
    assert kit.report().customers == 4


def test_who_is_erased_twice_is_erased_twice(make_kit: Callable[..., JourneyKit]) -> None:
    """Somebody who came back after an erasure can be erased again."""
    kit = make_kit()
    for _ in range(2):
        kit.track("Product Viewed", customer=USER)
        assert kit.flush(10)
        found = kit.erase(USER, reason="asked", actor="customer")
        assert place(found, "log").count == 2
    assert kit.report().customers == 0
    assert len(kit.erasures()) == 2
    assert all(each.done for each in kit.erasures())


def test_nobody_is_erased_without_trace(make_kit: Callable[..., JourneyKit]) -> None:
    """An erasure of somebody who is not known is a fact too, and finds nothing."""
    kit = make_kit()
    found = kit.erase("nobody", reason="asked", actor="customer")
    assert (found.done, place(found, "log").count, found.reason) == (True, 0, "asked")
    names = [each.entry.name for each in kit.store.read(None, 5)]
    assert sorted(names) == ["customer.erased", "journey.published"]
    assert kit.report().customers == 0


@pytest.mark.parametrize(
    ("customer", "reason", "actor"),
    [
        (Customer(), "asked", "customer"),
        (USER, f"{USER} asked", "customer"),
        (USER, "asked", USER),
        (USER, "", "customer"),
        (USER, "asked", ""),
    ],
)
def test_a_request_without_id_or_with_a_name_in_it_is_refused(
    make_kit: Callable[..., JourneyKit], customer: Any, reason: str, actor: str
) -> None:
    """Nothing is written where nobody is named, or where the fact would name them."""
    kit = make_kit()
    with pytest.raises(ValueError, match=r"Log|no customer"):
        kit.erase(customer, reason=reason, actor=actor)
    assert kit.erasures() == []


def test_sink_is_asked_between_what_was_and_what_is_new(
    make_kit: Callable[..., JourneyKit],
) -> None:
    """The sink gets all that came before, is asked then, and gets what is new after that."""
    remote = Remote()
    kit = make_kit(remote)
    kit.track("Product Viewed", customer="bob")
    kit.track("Product Viewed", customer=USER)
    kit.erase(USER, reason="asked", actor="customer")
    kit.track("Order Completed", customer=USER)
    assert kit.flush(10)
    asked = remote.calls.index(("erase", USER))
    assert ("deliver", "Order Completed") not in remote.calls[:asked]
    assert (USER, "Order Completed") in remote.events
    assert (USER, "Product Viewed") not in remote.events
    assert "customer.erased" not in {name for _, name in remote.events}


def test_sink_that_is_down_is_asked_later(
    make_kit: Callable[..., JourneyKit], wait_until: WaitUntil
) -> None:
    """A sink's erasure waits in the store, also over a restart, until the sink has answered."""
    remote = Remote()
    remote.down = True
    kit = make_kit(remote)
    kit.track("Product Viewed", customer=USER)
    found = kit.erase(USER, reason="asked", actor="customer", timeout=0.5)
    assert not found.done
    assert place(found, "sink:crm").status == "queued"
    assert place(found, "log").status == "erased"
    kit.close(0.2)

    remote.down = False
    kit = make_kit(remote)
    kit.track("Product Viewed", customer="bob")

    wait_until(lambda: kit.erasures()[0].done)
    assert place(kit.erasures()[0], "sink:crm").status == "erased"
    assert ("erase", USER) in remote.calls
    assert remote.events == [("bob", "Product Viewed"), ("bob", "stage.entered")]


def test_sinks_without_a_way_to_erase_say_so(make_kit: Callable[..., JourneyKit]) -> None:
    """A sink that has no `erase` is reported as such, and holds nothing up."""

    class Plain:
        name = "plain"

        def deliver(self, batch: Batch) -> None:
            pass

        def close(self) -> None:
            pass

    kit = make_kit(Plain())
    kit.track("Product Viewed", customer=USER)
    found = kit.erase(USER, reason="asked", actor="customer")
    assert (found.done, place(found, "sink:plain").status) == (True, "unsupported")


def test_sink_that_is_no_more_can_be_given_up(make_kit: Callable[..., JourneyKit]) -> None:
    """An erasure waits for a sink that nobody delivers to, until somebody says not to."""
    kit = make_kit(Remote("old"))
    kit.track("Product Viewed", customer=USER)
    kit.close()
    kit = make_kit()
    found = kit.erase(USER, reason="asked", actor="customer", timeout=0.5)
    assert (found.done, place(found, "sink:old").status) == (False, "queued")

    assert kit.give_up_erasing("old") == 1

    deadline = time.monotonic() + 5
    while not kit.erasures()[0].done:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert place(kit.erasures()[0], "sink:old").status == "failed"


def test_a_shop_without_journeys_finds_out_by_itself(
    tmp_path: Path, make_settings: MakeSettings
) -> None:
    """Where nothing is folded, what belongs together is read from the Log: the first link counts."""
    core = {"store": "sqlite:///var/shop.db"}
    kit = JourneyKit(make_settings(core=core, base=tmp_path))
    with kit:
        kit.track("First", customer=Customer(None, COOKIE))
        kit.track("Second", customer=Customer(USER, COOKIE))
        kit.track("Third", customer=Customer(None, "second browser"))
        kit.track("Fourth", customer=Customer(USER, "second browser"))
        kit.track("Fifth", customer=Customer("bob", "bobs browser"))
        kit.track("Sixth", customer=Customer(USER, "bobs browser"))
        kit.track("Seventh", customer=Customer(None, "bobs browser"))
        found = kit.erase(Customer(None, COOKIE), reason="asked", actor="customer")
        assert found.done
        names = [each.entry.name for each in kit.store.read(None, 20)]
        assert names == ["Fifth", "Seventh", "customer.erased"]


def test_segments_that_were_set_aside_are_listed(
    tmp_path: Path, make_kit: Callable[..., JourneyKit]
) -> None:
    """Damaged segments and databases are named, for nobody can take a person out of them."""
    kit = make_kit()
    kit.store.open()
    spool = tmp_path / "var" / "shop.db-spool"
    spool.mkdir()
    (spool / "1-2-3.damaged").touch()
    (tmp_path / "var" / "shop.db.damaged-20260101T000000.000000Z").touch()
    found = place(kit.erase(USER, reason="asked", actor="customer"), "set_aside")
    assert found.status == "listed"
    assert "1-2-3.damaged" in found.detail
    assert "shop.db.damaged-" in found.detail


# Several processes, and their deaths

_SCRIPT = """
import sys, threading, time
from datetime import timedelta
from pathlib import Path
from journeykit import *

def make_kit(base):
    stages = [Stage(key="look", enter=[Rule("Product Viewed")], stall=timedelta(hours=1))]
    shop = Journey(key="shop", version=1, stages=stages)
    core = Core(store="sqlite:///var/shop.db", strict=True)
    return JourneyKit(
        Settings(consent=Consent("opt_out"), base=Path(base), core=core, journeys=(shop,))
    )

base, name, user, cookie, secret = sys.argv[1:]
kit = make_kit(base)
number = 0
while True:
    assert kit.track("Product Viewed", customer=f"other{number % 7}", id=f"{name}-{number}")
    if name == "eraser" and number == 40:
        def erase():
            while not (Path(base) / "stopped").exists():
                time.sleep(0.001)
            kit.erase(user, reason="asked", actor="customer", timeout=60)
        threading.Thread(target=erase, daemon=True).start()
    elif name != "eraser" and (Path(base) / "stop").exists():
        (Path(base) / "stopped").touch()
    elif name != "eraser":
        kit.track("Product Viewed", {"name": secret}, customer=Customer(user, cookie))
        kit.track("Product Viewed", {"name": secret}, customer=Customer(None, cookie))
    print(number, flush=True)
    number += 1
    time.sleep(0.001)
"""


def run(tmp_path: Path, name: str) -> subprocess.Popen[str]:
    """Start a process that tracks until it is killed."""
    script = tmp_path / "script.py"
    script.write_text(_SCRIPT, encoding="utf-8")
    command = [sys.executable, str(script), str(tmp_path / "shop"), name, USER, COOKIE, NAME]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def begun(database: Path) -> bool:
    """Return whether an erasure was begun."""
    with contextlib.closing(sqlite3.connect(database)) as db:
        return bool(db.execute("SELECT count(*) FROM erasure").fetchone()[0])


def kill(process: subprocess.Popen[str]) -> int:
    """Kill a process; returns how many events it had accepted at least."""
    process.send_signal(signal.SIGKILL)
    lines = process.communicate(timeout=20)[0].split()
    return int(lines[-1]) + 1 if lines else 0


def finish(tmp_path: Path, make_settings: MakeSettings) -> list[str]:
    """Let another process do what is left, and return the ids in the Log."""
    stages = [Stage(key="look", enter=[Rule("Product Viewed")], stall=timedelta(hours=1))]
    shop = Journey(key="shop", version=1, stages=stages)
    core = {"store": "sqlite:///var/shop.db"}
    with JourneyKit(make_settings(core=core, base=tmp_path / "shop", journeys=(shop,))) as kit:
        assert kit.flush(20)
        deadline = time.monotonic() + 20
        while not all(each.done for each in kit.erasures()):
            assert time.monotonic() < deadline, kit.erasures()
            time.sleep(0.02)
        kept = state(kit.store)
        found = [stored.entry.id for stored in kit.store.read(None, 100_000)]
    with JourneyKit(make_settings(core=core, base=tmp_path / "shop", journeys=(shop,))) as kit:
        assert kit.rebuild(20)
        assert state(kit.store) == kept
    return found


@pytest.mark.parametrize("seed", range(6))
def test_killed_at_any_moment_it_is_completed(
    tmp_path: Path, make_settings: MakeSettings, wait_until: WaitUntil, seed: int
) -> None:
    """Whenever the erasing process dies, another one ends it, and nothing of others is lost."""
    (tmp_path / "shop").mkdir()
    chance = random.Random(seed)
    worker = run(tmp_path, "worker")
    eraser = run(tmp_path, "eraser")
    assert eraser.stdout is not None
    for line in eraser.stdout:
        if line.strip() == "41":
            break
    (tmp_path / "shop" / "stop").touch()
    wait_until((tmp_path / "shop" / "stopped").exists)
    wait_until(lambda: begun(tmp_path / "shop" / "var" / "shop.db"))
    time.sleep(chance.random() * 0.1)
    accepted = {"eraser": kill(eraser), "worker": kill(worker)}

    found = set(finish(tmp_path, make_settings))

    assert left(tmp_path / "shop") == []
    for name, count in accepted.items():
        assert not {f"{name}-{number}" for number in range(count)} - found


def test_a_live_worker_lets_go_too(
    tmp_path: Path, make_settings: MakeSettings, wait_until: WaitUntil
) -> None:
    """While another process leads and tracks, an erasure reaches its spool and its State."""
    (tmp_path / "shop").mkdir()
    worker = run(tmp_path, "worker")
    assert worker.stdout is not None
    for line in worker.stdout:
        if line.strip() == "100":
            break
    (tmp_path / "shop" / "stop").touch()
    wait_until((tmp_path / "shop" / "stopped").exists)
    stages = [Stage(key="look", enter=[Rule("Product Viewed")], stall=timedelta(hours=1))]
    shop = Journey(key="shop", version=1, stages=stages)
    core = {"store": "sqlite:///var/shop.db"}
    kit = JourneyKit(make_settings(core=core, base=tmp_path / "shop", journeys=(shop,)))
    with kit:
        found = kit.erase(USER, reason="asked", actor="customer", timeout=20)
        assert found.done, found
        assert left(tmp_path / "shop") == []
        assert place(found, "state").count > 0
    kill(worker)
    assert finish(tmp_path, make_settings)
    assert left(tmp_path / "shop") == []
