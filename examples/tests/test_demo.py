"""The demos, run as a person runs them: both shops let in the same people."""

import json
import random
import re
import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from journeykit import Event, JourneyKit
from shoppers import personas
from shoppers.personas import PERSONAS

KINDS = ("flask", "django")
REPORT = [sys.executable, "-m", "journeykit", "report", "--json"]

#: Two endpoints of Flask, for the page of a form and for what takes it, are one view of Django.
ONE_VIEW = {
    "account.create": "account.sign_up",
    "account.enter": "account.sign_in",
    "account.leave": "account.sign_out",
    "checkout.keep_address": "checkout.address",
    "checkout.pay": "checkout.payment",
    "reviews.write": "reviews.form",
    "reviews.share": "reviews.link",
}
#: What differs between two runs of the same shop.
ITS_OWN = ("cart_id", "checkout_id", "order_id", "review_id")


@dataclass(frozen=True)
class Told:
    """What a demo has shown and left behind."""

    out: str
    err: str
    code: int
    toml: Path
    report: Mapping[str, Any]
    events: list[Event]


@pytest.fixture(scope="session")
def told(
    demo: Callable[..., list[str]], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Told]:
    """Return a function that runs the demo of a shop, once."""

    @cache
    def told(kind: str) -> Told:
        folder = tmp_path_factory.mktemp(kind)
        toml = folder / "journeykit.toml"
        run = subprocess.run(
            demo(kind, "--exit", "--data", str(folder)),
            capture_output=True, text=True, timeout=180, check=False,
        )  # fmt: skip
        with JourneyKit.from_toml(toml) as kit:
            kit.store.open()
            events = [stored.event() for stored in kit.store.read(None, 100_000)]
        report = json.loads(printed(*REPORT, "-c", str(toml)))
        return Told(run.stdout, run.stderr, run.returncode, toml, report, events)

    return told


def printed(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout


def test_every_persona_has_its_share():
    """Any number of shoppers is divided as the shares say, to within one."""
    total = sum(share for _, share in PERSONAS)
    for count in (0, 1, 7, 60, 120):
        chosen = Counter(personas(count, random.Random(1)))
        assert chosen.total() == count
        assert all(abs(chosen[p] - count * share / total) < 1 for p, share in PERSONAS)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_the_demo_fills_every_stage(told, kind):
    """Sixty shoppers leave figures in each of the five stages, and nobody has trouble."""
    demo = told(kind)
    assert (demo.code, demo.err) == (0, "")
    assert "60 customers" in demo.out
    assert "/behind-the-counter" in demo.out
    [shop] = demo.report["journeys"]
    furthest = {stage["key"]: stage["furthest"] for stage in shop["stages"]}
    assert furthest == {
        "awareness": 8,
        "consideration": 30,
        "purchase": 14,
        "retention": 4,
        "advocacy": 4,
    }


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_the_demo_shows_where_it_hurts(told, kind):
    """The report ranks what the shoppers met, each with events of the Log that prove it."""
    demo = told(kind)
    text = printed(*REPORT[:-1], "-c", str(demo.toml))
    names = {event.id: event.name for event in demo.events}
    points = {point["code"]: point for point in demo.report["pain_points"]}
    proof = {
        "payment.declined": {"Payment Declined"},
        "search.no_results": {"Products Searched"},
        "cart.abandoned": {"Product Added", "Cart Viewed"},
        "checkout.abandoned": {"Checkout Started"},
    }
    assert points.keys() == proof.keys()
    # Few are asked in so small a crowd, and fewer are cross.
    assert {point["code"] for point in demo.report["held_back"]} <= {"score.low"}
    for code, events in proof.items():
        point = points[code]
        assert point["customers"] >= 5
        assert point["evidence"]
        assert {names[each] for each in point["evidence"]} <= events
        assert f"{code} in {point['stage']}, everybody" in text
        assert point["evidence"][0] in text
        assert code in demo.out


@pytest.mark.slow
def test_both_shops_tell_the_same(told):
    """The same shoppers leave the same events in either shop: names, pages, properties, answers."""
    flask, django = (Counter(map(comparable, told(kind).events)) for kind in KINDS)
    assert flask - django == Counter()
    assert django - flask == Counter()
    assert flask.total() > 800


@pytest.mark.slow
def test_both_shops_show_the_same_figures(told):
    """Stages, money, pain points and scores are the same in either shop."""
    flask, django = (figures(told(kind).report) for kind in KINDS)
    assert flask == django
    assert flask["pains"]
    assert flask["scores"]


def comparable(event: Event) -> tuple[str, str, str, str]:
    """What has to be the same of an event in either shop."""
    page = str((event.context.get("page") or {}).get("name") or "").replace(":", ".")
    said = without(event.properties, *ITS_OWN)
    if event.kind != "touchpoint":
        # The rest is ids and times.
        kept = ("prompt", "score", "answers", "code", "rule", "owner", "journey", "stage", "text")
        said = {key: value for key, value in said.items() if key in kept}
    return event.kind, event.name, ONE_VIEW.get(page, page), json.dumps(said, sort_keys=True)


def figures(report: Mapping[str, Any]) -> dict[str, Any]:
    [journey] = report["journeys"]
    counts = ("key", "entered", "current", "furthest", "observed", "inferred")
    points = [*report["pain_points"], *report["held_back"]]
    return {
        "customers": report["customers"],
        "events": report["events"],
        "money": (journey["completed"], journey["value"]),
        "stages": [{key: stage.get(key) for key in counts} for stage in journey["stages"]],
        "pains": sorted((p["code"], p["stage"], p["customers"]) for p in points),
        "scores": [without(score, "first", "last") for score in report["scores"]],
    }


def without(table: Mapping[str, Any], *keys: str) -> dict[str, Any]:
    return {key: value for key, value in table.items() if key not in keys}


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_the_demo_takes_another_port_and_ends_cleanly(demo, kind, tmp_path):
    """A taken port is no obstacle, and Ctrl-C closes the shop without a traceback."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        command = demo(kind, "--port", str(port), "--shoppers", "2", "--data", str(tmp_path))
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        with process:
            assert process.stdout is not None
            lines = iter(process.stdout.readline, "")
            shown = [next(lines)]
            while "Ctrl-C" not in shown[-1]:
                shown.append(next(lines))
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=30)
    assert re.match(f"Port {port} can't be used", shown[0])
    assert "The shop is closed." in out
    assert err == ""
    assert process.returncode == 0
